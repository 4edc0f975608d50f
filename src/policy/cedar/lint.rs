//! What the author of a Cedar policy should look at again (`policy.md` §5.2, §9).

use cedar_policy::{ActionConstraint, Effect};
use serde_json::Value;

use super::admission::Statement;
use crate::policy::engine::{Advice, Finding};

/// In the order of the lines.
pub(super) fn lint(statements: &[Statement]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let has_permit = statements.iter().any(|one| one.policy.effect() == Effect::Permit);
    for statement in statements {
        let mut find = |advice, what: &str| {
            findings.push(Finding { line: statement.line, advice, what: what.into() });
        };
        if statement.policy.effect() == Effect::Forbid {
            if !has_permit {
                find(Advice::NoPermit, "forbid");
            }
            continue;
        }
        let is_any = statement.policy.action_constraint() == ActionConstraint::Any;
        let conditions = statement.tree.get("conditions");
        if is_any && !conditions.is_some_and(|all| mentions(all, "action")) {
            find(Advice::AnyAction, "permit");
        }
        let mut bounds = Bounds::default();
        if let Some(conditions) = conditions {
            bounds.read(conditions);
        }
        for path in bounds.above.iter().filter(|path| !bounds.below.contains(path)) {
            find(Advice::BelowZero, path);
        }
    }
    findings
}

/// Whether the variable stands anywhere in an expression.
fn mentions(tree: &Value, variable: &str) -> bool {
    match tree {
        Value::Object(members) => members.iter().any(|(name, member)| {
            (name == "Var" && member == variable) || mentions(member, variable)
        }),
        Value::Array(items) => items.iter().any(|item| mentions(item, variable)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// The attributes that are held against a number.
#[derive(Debug, Default)]
struct Bounds {
    above: Vec<String>,
    below: Vec<String>,
}

impl Bounds {
    fn read(&mut self, tree: &Value) {
        match tree {
            Value::Object(members) => {
                for (name, member) in members {
                    let side = |side| member.get(side).and_then(path);
                    match name.as_str() {
                        "<" | "<=" => {
                            self.above.extend(side("left"));
                            self.below.extend(side("right"));
                        }
                        ">" | ">=" => {
                            self.below.extend(side("left"));
                            self.above.extend(side("right"));
                        }
                        "lessThan" | "lessThanOrEqual" => self.above.extend(receiver(member)),
                        "greaterThan" | "greaterThanOrEqual" => self.below.extend(receiver(member)),
                        _ => {}
                    }
                    self.read(member);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.read(item)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

/// What a method of a decimal is called on.
fn receiver(arguments: &Value) -> Option<String> {
    path(arguments.as_array()?.first()?)
}

/// `context.args.amount` of the tree of such a selection.
fn path(tree: &Value) -> Option<String> {
    if let Some(variable) = tree.get("Var").and_then(Value::as_str) {
        return Some(variable.to_owned());
    }
    let selection = tree.get(".")?;
    let attribute = selection.get("attr").and_then(Value::as_str)?;
    Some(format!("{}.{attribute}", path(selection.get("left")?)?))
}
