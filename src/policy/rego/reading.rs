//! What a rule of a policy uses, found by walking over it.

use std::collections::{BTreeMap, BTreeSet};

use regorus::Value;
use regorus::unstable::{
    ArithOp, AssignOp, BinOp, Expr, Literal, LiteralStmt, Module, Query, Ref, Rule, RuleAssign,
    RuleHead, Span,
};

use super::admission::at;
use crate::policy::engine::{Because, NotAdmitted};

/// The deepest tree that is walked. What is deeper is refused, long before it could exhaust a stack.
const MAX_TREE: u32 = 64;

/// What a rule uses: all rules of one name together.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Where the first of them begins.
    pub(super) line: u32,
    /// The rules and functions of the policy that it refers to, and how often.
    pub(super) uses: BTreeMap<Box<str>, u32>,
    /// The builtins that it calls.
    pub(super) builtins: Vec<Called>,
    /// How deep its expressions and loops nest.
    pub(super) depth: u32,
    /// How many comprehensions stand one inside another.
    pub(super) comprehensions: u32,
    /// Where it combines sets, if it does: the engine copies both and counts one step.
    pub(super) combines: Option<u32>,
    /// The rules and functions that it uses where what they give is collected.
    pub(super) collects: BTreeSet<Box<str>>,
    /// How often it could double a value: once for each expression that holds two others.
    pub(super) growth: u32,
}

/// A call of a builtin.
#[derive(Debug)]
pub(super) struct Called {
    /// Its name.
    pub(super) name: Box<str>,
    /// Where.
    pub(super) line: u32,
    /// The arguments that are written out as text.
    pub(super) literals: Vec<Option<Box<str>>>,
}

/// Reads every rule of `module`.
pub(super) fn read(
    module: &Module,
    package: &[String],
    aliases: &[&str],
    data: &[&str],
) -> Result<BTreeMap<Box<str>, Reading>, NotAdmitted> {
    let mut rules: BTreeMap<Box<str>, Reading> = BTreeMap::new();
    let mut functions = Vec::new();
    for rule in &module.policy {
        let (path, is_function) = head(rule)?;
        let name = path.first().map(String::as_str).unwrap_or_default();
        rules
            .entry(name.into())
            .or_insert_with(|| Reading { line: rule.span().line, ..Reading::default() });
        if is_function {
            functions.push(path.join("."));
        }
    }
    let names: Vec<Box<str>> = rules.keys().cloned().collect();
    for rule in &module.policy {
        let (path, _) = head(rule)?;
        let Some(reading) = path.first().and_then(|name| rules.get_mut(name.as_str())) else {
            continue;
        };
        let mut walk = Walk {
            names: &names,
            functions: &functions,
            package,
            aliases,
            data,
            reading,
            comprehensions: 0,
        };
        walk.rule(rule).map_err(|refused| NotAdmitted {
            rule: path.first().map(|name| name.as_str().into()),
            ..refused
        })?;
    }
    Ok(rules)
}

/// The path of a rule's head, and whether it is a function.
fn head(rule: &Ref<Rule>) -> Result<(Vec<String>, bool), NotAdmitted> {
    let (refr, is_function) = match &**rule {
        Rule::Spec { head: RuleHead::Func { refr, .. }, .. } => (refr, true),
        Rule::Spec { head: RuleHead::Compr { refr, .. } | RuleHead::Set { refr, .. }, .. } => {
            (refr, false)
        }
        Rule::Default { refr, args, .. } => (refr, !args.is_empty()),
    };
    let mut path = Vec::new();
    leading(refr, &mut path);
    if path.is_empty() {
        return Err(at(Because::Syntax, "a rule without a plain name", rule.span()));
    }
    Ok((path, is_function))
}

/// The components of a reference up to the first that is computed.
fn leading(refr: &Expr, path: &mut Vec<String>) {
    let mut chain = Vec::new();
    let mut current = refr;
    loop {
        chain.push(current);
        match current {
            Expr::RefDot { refr, .. } | Expr::RefBrack { refr, .. } => current = refr,
            _ => break,
        }
    }
    for part in chain.into_iter().rev() {
        match part {
            Expr::Var { span, .. } => path.push(span.text().to_owned()),
            Expr::RefDot { field, .. } => path.push(field.0.text().to_owned()),
            Expr::RefBrack { index, .. } => match &**index {
                Expr::String { value: Value::String(text), .. } => path.push((**text).to_owned()),
                _ => return,
            },
            _ => return,
        }
    }
}

/// The components of a reference, where none is computed.
pub(super) fn components(refr: &Expr) -> Option<Vec<String>> {
    let mut path = Vec::new();
    leading(refr, &mut path);
    let mut length = 1_usize;
    let mut current = refr;
    while let Expr::RefDot { refr, .. } | Expr::RefBrack { refr, .. } = current {
        current = refr;
        length = length.saturating_add(1);
    }
    (path.len() == length).then_some(path)
}

/// Whether `refr` is the plain name `name`.
pub(super) fn is_named(refr: &Expr, name: &str) -> bool {
    matches!(refr, Expr::Var { span, .. } if span.text() == name)
}

/// Whether `word` can stand in a path without quotes.
pub(super) fn is_name(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && word.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

type Step = Result<(), NotAdmitted>;

struct Walk<'a> {
    names: &'a [Box<str>],
    functions: &'a [String],
    package: &'a [String],
    aliases: &'a [&'a str],
    /// The members of `data` that the operator put there.
    data: &'a [&'a str],
    reading: &'a mut Reading,
    comprehensions: u32,
}

impl Walk<'_> {
    fn rule(&mut self, rule: &Ref<Rule>) -> Step {
        match &**rule {
            Rule::Spec { head, bodies, .. } => {
                // What the rules of a set or an object give is collected, as in a comprehension.
                let is_collection = match head {
                    RuleHead::Set { .. } => true,
                    RuleHead::Compr { refr, .. } => !matches!(&**refr, Expr::Var { .. }),
                    RuleHead::Func { .. } => false,
                };
                self.comprehensions = u32::from(is_collection);
                self.head(head)?;
                for body in bodies {
                    self.assign(body.assign.as_ref())?;
                    self.query(&body.query, 1)?;
                }
                Ok(())
            }
            Rule::Default { args, value, .. } => {
                args.iter().try_for_each(|argument| self.declares(argument))?;
                self.expression(value, 1)
            }
        }
    }

    fn head(&mut self, head: &RuleHead) -> Step {
        match head {
            RuleHead::Compr { refr, assign, .. } => {
                self.key(refr)?;
                self.assign(assign.as_ref())
            }
            RuleHead::Set { refr, key, .. } => {
                self.key(refr)?;
                self.grow(2);
                key.iter().try_for_each(|key| self.expression(key, 1))
            }
            RuleHead::Func { args, assign, .. } => {
                args.iter().try_for_each(|argument| self.declares(argument))?;
                self.assign(assign.as_ref())
            }
        }
    }

    /// The computed part of a head, as in `rule[x] := y`.
    fn key(&mut self, refr: &Expr) -> Step {
        let mut current = refr;
        while let Expr::RefDot { refr, .. } | Expr::RefBrack { refr, .. } = current {
            if let Expr::RefBrack { index, .. } = current {
                self.grow(2);
                self.expression(index, 1)?;
            }
            current = refr;
        }
        Ok(())
    }

    fn assign(&mut self, assign: Option<&RuleAssign>) -> Step {
        assign.map_or(Ok(()), |assign| self.expression(&assign.value, 1))
    }

    /// The engine evaluates what follows a loop inside of it, so that loops nest like expressions.
    fn query(&mut self, query: &Query, depth: u32) -> Step {
        let mut depth = depth;
        for statement in &query.stmts {
            depth = self.statement(statement, depth)?;
        }
        Ok(())
    }

    /// Returns how deep the next statement is.
    fn statement(&mut self, statement: &LiteralStmt, depth: u32) -> Result<u32, NotAdmitted> {
        if !statement.with_mods.is_empty() {
            return Err(at(Because::With, "with", &statement.span));
        }
        let loops = match &statement.literal {
            Literal::SomeVars { vars, .. } => {
                vars.iter().try_for_each(|name| self.declare(name))?;
                0
            }
            Literal::SomeIn { key, value, collection, .. } => {
                key.iter().chain([value]).try_for_each(|pattern| self.declares(pattern))?;
                self.expression(collection, depth)?;
                1
            }
            Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => {
                self.expression(expr, depth)?;
                loops(expr, 0)
            }
            Literal::Every { key, value, domain, query, .. } => {
                key.iter().chain([value]).try_for_each(|name| self.declare(name))?;
                self.expression(domain, depth)?;
                self.query(query, depth.saturating_add(2))?;
                0
            }
        };
        Ok(depth.saturating_add(loops))
    }

    /// Every name in a pattern is declared by it.
    fn declares(&mut self, pattern: &Expr) -> Step {
        if let Expr::Var { span, .. } = pattern {
            return self.declare(span);
        }
        // Walked first: that refuses what is too deep.
        self.expression(pattern, 1)?;
        children(pattern).into_iter().try_for_each(|part| self.declares(part))
    }

    /// A name that is a rule's as well could hide a call from us.
    fn declare(&mut self, name: &Span) -> Step {
        let text = name.text();
        let is_taken =
            self.is_rule(text) || self.aliases.contains(&text) || matches!(text, "input" | "data");
        if is_taken { Err(at(Because::Shadow, text, name)) } else { Ok(()) }
    }

    fn is_rule(&self, name: &str) -> bool {
        self.names.iter().any(|rule| **rule == *name)
    }

    fn grow(&mut self, by: u32) {
        self.reading.growth = self.reading.growth.saturating_add(by);
    }

    fn uses(&mut self, rule: &str) {
        if self.comprehensions > 0 {
            self.reading.collects.insert(rule.into());
        }
        let times = self.reading.uses.entry(rule.into()).or_insert(0);
        *times = times.saturating_add(1);
    }

    fn expression(&mut self, expr: &Expr, depth: u32) -> Step {
        self.reading.depth = self.reading.depth.max(depth);
        if depth > MAX_TREE {
            return Err(at(Because::Depth, "an expression that nests too deeply", expr.span()));
        }
        let deeper = depth.saturating_add(1);
        if is_combination(expr) {
            if self.comprehensions > 0 {
                return Err(at(
                    Because::Growth,
                    "sets are combined where the results are collected",
                    expr.span(),
                ));
            }
            self.reading.combines = Some(expr.span().line);
        }
        match expr {
            Expr::Var { span, .. } => return self.variable(span),
            Expr::RefDot { .. } | Expr::RefBrack { .. } => return self.reference(expr, deeper),
            Expr::Call { fcn, params, span, .. } => {
                self.call(fcn, params, span)?;
                return params.iter().try_for_each(|parameter| {
                    self.expression(parameter, deeper.saturating_add(1))
                });
            }
            Expr::ArrayCompr { query, .. }
            | Expr::SetCompr { query, .. }
            | Expr::ObjectCompr { query, .. } => {
                self.grow(2);
                self.comprehensions = self.comprehensions.saturating_add(1);
                self.reading.comprehensions = self.reading.comprehensions.max(self.comprehensions);
                self.query(query, deeper)?;
                children(expr).into_iter().try_for_each(|part| self.expression(part, deeper))?;
                self.comprehensions = self.comprehensions.saturating_sub(1);
                return Ok(());
            }
            Expr::Array { .. } | Expr::Set { .. } | Expr::Object { .. } => {
                let parts = children(expr);
                let held = parts.iter().filter(|part| !is_constant(part)).count();
                self.grow(
                    held.checked_ilog2()
                        .map_or(0, |bits| bits.saturating_add(u32::from(!held.is_power_of_two()))),
                );
                return parts.into_iter().try_for_each(|part| self.expression(part, deeper));
            }
            Expr::ArithExpr { op: ArithOp::Mul, .. } | Expr::BinExpr { op: BinOp::Union, .. } => {
                self.grow(1);
            }
            Expr::AssignExpr { op: AssignOp::ColEq, lhs, .. } => self.declares(lhs)?,
            _ => {}
        }
        children(expr).into_iter().try_for_each(|part| self.expression(part, deeper))
    }

    fn variable(&mut self, span: &Span) -> Step {
        let name = span.text();
        if name == "data" {
            return Err(at(Because::Data, "data", span));
        }
        if self.is_rule(name) {
            self.uses(name);
        }
        Ok(())
    }

    /// `data` is empty but for the policy itself and what the operator put there, so a reference into it
    /// must say which rule or member it means.
    fn reference(&mut self, expr: &Expr, depth: u32) -> Step {
        let mut path = Vec::new();
        leading(expr, &mut path);
        if path.first().is_some_and(|root| root == "data") {
            let rest = path.get(1..).and_then(|rest| rest.strip_prefix(self.package));
            match rest.and_then(<[String]>::first) {
                Some(rule) if self.is_rule(rule) => {
                    let rule = rule.clone();
                    self.uses(&rule);
                }
                _ if path.get(1).is_some_and(|name| self.data.contains(&name.as_str())) => {}
                _ => return Err(at(Because::Data, path.join("."), expr.span())),
            }
        }
        let mut current = expr;
        let mut depth = depth;
        while let Expr::RefDot { refr, .. } | Expr::RefBrack { refr, .. } = current {
            if depth > MAX_TREE {
                return Err(at(Because::Depth, "a reference that is too long", expr.span()));
            }
            self.reading.depth = self.reading.depth.max(depth);
            if let Expr::RefBrack { index, .. } = current {
                self.expression(index, depth)?;
            }
            current = refr;
            depth = depth.saturating_add(1);
        }
        match current {
            Expr::Var { span, .. } if span.text() == "data" => Ok(()),
            root => self.expression(root, depth),
        }
    }

    fn call(&mut self, function: &Expr, parameters: &[Ref<Expr>], span: &Span) -> Step {
        let dotted =
            |expr: &Expr| components(expr).filter(|_| !matches!(expr, Expr::RefBrack { .. }));
        let Some(mut path) = dotted(function) else {
            return Err(at(Because::Builtin, "a call of what is computed", span));
        };
        if path.first().is_some_and(|root| root == "data") {
            let own = path.get(1..).and_then(|rest| rest.strip_prefix(self.package));
            path = own.ok_or_else(|| at(Because::Data, path.join("."), span))?.to_vec();
            if !self.functions.contains(&path.join(".")) {
                return Err(at(Because::Data, path.join("."), span));
            }
        }
        let name = path.join(".");
        if let Some(rule) = path.first().filter(|first| self.is_rule(first)) {
            let rule = rule.clone();
            self.uses(&rule);
        }
        if !self.functions.contains(&name) {
            let literals = parameters.iter().map(|parameter| literal(parameter)).collect();
            self.reading.builtins.push(Called { name: name.into(), line: span.line, literals });
        }
        Ok(())
    }
}

/// Whether an expression may combine two sets. A difference with a number written out is arithmetic.
fn is_combination(expr: &Expr) -> bool {
    match expr {
        Expr::BinExpr { .. } => true,
        Expr::ArithExpr { op: ArithOp::Sub, lhs, rhs, .. } => {
            ![lhs, rhs].iter().any(|side| matches!(&***side, Expr::Number { .. }))
        }
        _ => false,
    }
}

/// How many loops an expression opens: one for each index that is not written out.
fn loops(expr: &Expr, depth: u32) -> u32 {
    if depth > MAX_TREE {
        return MAX_TREE;
    }
    let own = match expr {
        Expr::RefBrack { index, .. } => u32::from(!is_constant(index)),
        _ => 0,
    };
    let inner = children(expr).into_iter().map(|part| loops(part, depth.saturating_add(1)));
    inner.fold(own, u32::saturating_add)
}

fn literal(expr: &Expr) -> Option<Box<str>> {
    match expr {
        Expr::String { value: Value::String(text), .. }
        | Expr::RawString { value: Value::String(text), .. } => Some((**text).into()),
        _ => None,
    }
}

/// Whether an expression is written out, and holds nothing.
fn is_constant(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::String { .. }
            | Expr::RawString { .. }
            | Expr::Number { .. }
            | Expr::Bool { .. }
            | Expr::Null { .. }
    )
}

/// The expressions that stand directly in `expr`, but for those in the body of a comprehension.
pub(super) fn children(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::String { .. }
        | Expr::RawString { .. }
        | Expr::Number { .. }
        | Expr::Bool { .. }
        | Expr::Null { .. }
        | Expr::Var { .. } => Vec::new(),
        Expr::Array { items, .. } | Expr::Set { items, .. } => {
            items.iter().map(AsRef::as_ref).collect()
        }
        Expr::Object { fields, .. } => {
            fields.iter().flat_map(|(_, key, value)| [key.as_ref(), value.as_ref()]).collect()
        }
        Expr::ArrayCompr { term, .. } | Expr::SetCompr { term, .. } => vec![term],
        Expr::ObjectCompr { key, value, .. } => vec![key, value],
        Expr::Call { params, .. } => params.iter().map(AsRef::as_ref).collect(),
        Expr::UnaryExpr { expr, .. } => vec![expr],
        Expr::RefDot { refr, .. } => vec![refr],
        Expr::RefBrack { refr, index, .. } => vec![refr, index],
        Expr::BinExpr { lhs, rhs, .. }
        | Expr::BoolExpr { lhs, rhs, .. }
        | Expr::ArithExpr { lhs, rhs, .. }
        | Expr::AssignExpr { lhs, rhs, .. } => vec![lhs, rhs],
        Expr::Membership { key, value, collection, .. } => {
            key.iter().chain([value, collection]).map(AsRef::as_ref).collect()
        }
    }
}
