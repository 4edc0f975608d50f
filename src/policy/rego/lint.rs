//! What an author of a policy should look at again, though it is admitted (`policy.md` §5.2, §9).

use std::collections::BTreeSet;

use regorus::Value;
use regorus::unstable::{AssignOp, BoolOp, Expr, Literal, Query, Ref, Rule, RuleHead};

use super::admission::Admitted;
use super::reading::{children, is_named};
use crate::policy::engine::{Advice, Finding};

/// What of the input says which operation it is. A rule that allows without a look at any of it allows
/// every operation.
const OPERATION: &[&str] = &[
    "input.a2a",
    "input.action",
    "input.action_aliases",
    "input.mcp",
    "input.operationType",
    "input.request",
    "input.resource",
    "input.resourceId",
];

/// Everything worth a second look, in the order of the lines.
pub(super) fn lint(admitted: &Admitted, entry_point: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let reached = reached(admitted, entry_point);
    let is_default = |rule: &&Ref<Rule>| matches!(&***rule, Rule::Default { refr, .. } if is_named(refr, entry_point));
    match admitted.module.policy.iter().find(is_default).map(|rule| &**rule) {
        None => {
            findings.push(Finding { line: 1, advice: Advice::NoDefault, what: entry_point.into() });
        }
        Some(Rule::Default { value, span, .. })
            if matches!(&**value, Expr::Bool { value: Value::Bool(true), .. }) =>
        {
            findings.push(Finding {
                line: span.line,
                advice: Advice::DefaultAllow,
                what: entry_point.into(),
            });
        }
        Some(_) => {}
    }
    for (name, rule) in &admitted.rules {
        if !reached.contains(&**name) {
            findings.push(Finding {
                line: rule.line,
                advice: Advice::Unreachable,
                what: name.clone(),
            });
        }
    }
    let aliases: Vec<_> = admitted
        .module
        .imports
        .iter()
        .filter_map(|import| Some((import.r#as.as_ref()?.text(), import.refr.span().text())))
        .collect();
    for rule in &admitted.module.policy {
        let Rule::Spec { head, bodies, span } = &**rule else { continue };
        for body in bodies {
            let mut seen = Seen { aliases: &aliases, ..Seen::default() };
            seen.query(&body.query);
            findings.append(&mut seen.traps);
            let decides =
                matches!(head, RuleHead::Compr { refr, .. } if is_named(refr, entry_point));
            if decides && !is_denial(head, body.assign.as_ref()) && !bounds(admitted, &seen) {
                findings.push(Finding {
                    line: span.line,
                    advice: Advice::Unbounded,
                    what: entry_point.into(),
                });
            }
        }
    }
    findings.sort_by_key(|finding| finding.line);
    findings
}

/// Whether a rule gives `false`, so that it allows nothing.
fn is_denial(head: &RuleHead, of_body: Option<&regorus::unstable::RuleAssign>) -> bool {
    let of_head = match head {
        RuleHead::Compr { assign, .. } => assign.as_ref(),
        RuleHead::Func { .. } | RuleHead::Set { .. } => None,
    };
    let value = of_body.or(of_head).map(|assign| &*assign.value);
    matches!(value, Some(Expr::Bool { value: Value::Bool(false), .. }))
}

/// The rules that the entry point comes to use.
fn reached<'a>(admitted: &'a Admitted, entry_point: &'a str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut left = vec![entry_point];
    while let Some(name) = left.pop() {
        if reached.insert(name)
            && let Some(rule) = admitted.rules.get(name)
        {
            left.extend(rule.uses.keys().map(|used| &**used));
        }
    }
    reached
}

/// Whether what a body uses, itself or through rules, says which operation it is about.
fn bounds(admitted: &Admitted, seen: &Seen<'_>) -> bool {
    let is_operation = |path: &str| {
        OPERATION.iter().any(|known| {
            path.strip_prefix(known)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    };
    if seen.inputs.iter().any(|path| is_operation(path)) {
        return true;
    }
    let used = seen.names.iter().flat_map(|name| reached(admitted, name)).collect::<BTreeSet<_>>();
    admitted.module.policy.iter().any(|rule| {
        let Rule::Spec { head, bodies, .. } = &**rule else { return false };
        let (RuleHead::Compr { refr, .. }
        | RuleHead::Set { refr, .. }
        | RuleHead::Func { refr, .. }) = head;
        let name = refr.span().text().split(['.', '[', '(']).next().unwrap_or_default();
        used.contains(name)
            && bodies.iter().any(|body| {
                let mut inner = Seen { aliases: seen.aliases, ..Seen::default() };
                inner.query(&body.query);
                inner.inputs.iter().any(|path| is_operation(path))
            })
    })
}

/// What a body looks at.
#[derive(Default)]
struct Seen<'a> {
    aliases: &'a [(&'a str, &'a str)],
    /// The parts of the input.
    inputs: BTreeSet<String>,
    /// Every other name.
    names: BTreeSet<String>,
    /// Upper bounds without a lower one.
    traps: Vec<Finding>,
}

impl Seen<'_> {
    fn query(&mut self, query: &Query) {
        let mut bounded = BTreeSet::new();
        let mut capped = Vec::new();
        let mut from_input = BTreeSet::new();
        for statement in &query.stmts {
            match &statement.literal {
                Literal::SomeVars { .. } => {}
                Literal::SomeIn { collection, value, .. } => {
                    self.expression(collection);
                    if self.is_input(collection) {
                        from_input.insert(value.span().text().to_owned());
                    }
                }
                Literal::Expr { expr, .. } => {
                    self.expression(expr);
                    self.comparison(expr, &mut bounded, &mut capped, &mut from_input);
                }
                Literal::NotExpr { expr, .. } => {
                    // All operations but some are also those that nobody has thought of yet.
                    let mut excluded = Seen { aliases: self.aliases, ..Seen::default() };
                    excluded.expression(expr);
                    self.traps.append(&mut excluded.traps);
                }
                Literal::Every { domain, query, .. } => {
                    self.expression(domain);
                    self.query(query);
                }
            }
        }
        for (line, what, text) in capped {
            if !bounded.contains(&what) && (self.is_input_text(&what) || from_input.contains(&what))
            {
                self.traps.push(Finding { line, advice: Advice::NoLowerBound, what: text.into() });
            }
        }
    }

    /// What a statement says of a value: that it is a number, has a lower bound, or only an upper one.
    fn comparison(
        &self,
        expr: &Expr,
        bounded: &mut BTreeSet<String>,
        capped: &mut Vec<(u32, String, String)>,
        from_input: &mut BTreeSet<String>,
    ) {
        let text = |expr: &Expr| expr.span().text().to_owned();
        match expr {
            Expr::BoolExpr { op, lhs, rhs, span, .. } => {
                let (small, large) = match op {
                    BoolOp::Lt | BoolOp::Le => (lhs, rhs),
                    BoolOp::Gt | BoolOp::Ge => (rhs, lhs),
                    BoolOp::Eq | BoolOp::Ne => return,
                };
                bounded.insert(text(large));
                capped.push((span.line, text(small), text(expr)));
            }
            Expr::Call { fcn, params, .. } if is_named(fcn, "is_number") => {
                bounded.extend(params.iter().map(|parameter| text(parameter)));
            }
            Expr::AssignExpr { op: AssignOp::ColEq, lhs, rhs, .. } if self.is_input(rhs) => {
                from_input.insert(text(lhs));
            }
            _ => {}
        }
    }

    fn is_input(&self, expr: &Expr) -> bool {
        matches!(expr, Expr::RefDot { .. } | Expr::RefBrack { .. } | Expr::Var { .. })
            && self.is_input_text(expr.span().text())
    }

    fn is_input_text(&self, text: &str) -> bool {
        let root = text.split(['.', '[']).next().unwrap_or_default();
        root == "input" || self.aliases.iter().any(|(alias, _)| *alias == root)
    }

    fn expression(&mut self, expr: &Expr) {
        match expr {
            Expr::Var { span, .. } => {
                self.names.insert(span.text().to_owned());
                self.input(span.text());
            }
            Expr::RefDot { span, .. } | Expr::RefBrack { span, .. } => self.input(span.text()),
            Expr::Call { fcn, .. } => {
                let name = fcn.span().text();
                self.names.insert(name.split('.').next().unwrap_or_default().to_owned());
            }
            Expr::ArrayCompr { query, .. }
            | Expr::SetCompr { query, .. }
            | Expr::ObjectCompr { query, .. } => self.query(query),
            _ => {}
        }
        for part in children(expr) {
            self.expression(part);
        }
    }

    fn input(&mut self, text: &str) {
        let end = text.find(['.', '[']).unwrap_or(text.len());
        let (root, rest) = text.split_at_checked(end).unwrap_or((text, ""));
        if root == "input" {
            self.inputs.insert(text.to_owned());
        } else if let Some((_, path)) = self.aliases.iter().find(|(alias, _)| *alias == root) {
            self.inputs.insert(format!("{path}{rest}"));
        }
    }
}
