//! How a policy came to its answer: which of its lines were evaluated, and what they looked at.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use crate::cli::output;
use crate::policy::engine::{Lines, Policy};

/// The most values that are told beside the lines.
const MOST: usize = 12;

/// The lines that have an expression, each with whether it was evaluated; in Cedar those where a statement
/// begins, each with whether it decided.
pub fn lines(policy: &Policy, lines: &Lines) -> String {
    let (done, left) =
        if is_cedar(policy) { ("decided", "had no say") } else { ("evaluated", "not reached") };
    let mut trace = String::new();
    for (number, line) in (1_u32..).zip(policy.text().lines()) {
        let mark = if lines.evaluated.contains(&number) {
            done
        } else if lines.left.contains(&number) {
            left
        } else {
            continue;
        };
        writeln!(
            trace,
            "      {number:>4}  {mark:<11}  {}",
            output::escaped(&line.replace('\t', "    "))
        )
        .unwrap_or(());
    }
    trace
}

/// What the lines that were evaluated name of the input, each with its value: in Rego `input.args.amount`, in
/// Cedar `context.args.amount`. What is not there is told as well.
pub fn values(policy: &Policy, lines: &Lines, input: &Value) -> BTreeMap<String, Option<Value>> {
    let mut found = BTreeMap::new();
    for (number, line) in (1_u32..).zip(policy.text().lines()) {
        // Of a statement in Cedar only the first line is known.
        if !is_cedar(policy) && !lines.evaluated.contains(&number) {
            continue;
        }
        for path in paths(line) {
            if found.len() < MOST {
                let value = input.pointer(&format!("/{}", path.join("/"))).cloned();
                found.insert(path.join("."), value);
            }
        }
    }
    found
}

fn is_cedar(policy: &Policy) -> bool {
    policy.dialect() == "cedar"
}

/// The members of the input that a line names.
fn paths(line: &str) -> Vec<Vec<&str>> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for root in ["input.", "context."] {
        for (at, _) in line.match_indices(root) {
            let before = line.get(..at).and_then(|before| before.chars().next_back());
            if before.is_some_and(|c| is_of_name(c) || c == '.') {
                continue;
            }
            let rest = line.get(at.saturating_add(root.len())..).unwrap_or_default();
            let mut path = Vec::new();
            let mut rest = Some(rest);
            while let Some(text) = rest {
                let end = text.find(|c| !is_of_name(c)).unwrap_or(text.len());
                let (name, after) = text.split_at(end);
                if name.is_empty() || after.starts_with('(') {
                    break;
                }
                path.push(name);
                rest = after.strip_prefix('.');
            }
            if !path.is_empty() {
                found.push(path);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::policy::engine::{self, Class, Language, Source};

    #[test]
    fn the_members_that_evaluated_lines_name_are_told_with_their_values() {
        let text = "package a\nallow if {\n  input.action == \"pay\"\n  input.args.amount <= input.args.limit\n  \
                    input.user.id\n}\nmy_input := input.args.tags\n";
        let source = Source {
            language: Language::RegoV1,
            class: Class::Carried,
            entry_point: "allow",
            text,
        };
        let policy = engine::compile(&source).unwrap();
        let lines = Lines { evaluated: [3, 4, 7].into(), left: [5].into() };
        let input =
            json!({"action": "pay", "args": {"amount": 51, "tags": ["a"]}, "user": {"id": "u"}});
        let expected = [
            ("action", Some(json!("pay"))),
            ("args.amount", Some(json!(51))),
            ("args.limit", None),
            ("args.tags", Some(json!(["a"]))),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value)).into();
        assert_eq!(values(&policy, &lines, &input), expected);
        let told = super::lines(&policy, &lines);
        assert!(told.contains("   5  not reached    input.user.id"), "{told}");
    }

    #[test]
    fn names_that_only_look_like_the_input_are_not_it() {
        for (line, expected) in [
            ("my_input.x && input.a.b", vec![vec!["a", "b"]]),
            ("context.args.tags.contains(\"a\")", vec![vec!["args", "tags"]]),
            ("x.context.y", vec![]),
            ("input[\"a\"]", vec![]),
            ("\u{e9}input.a", vec![vec!["a"]]),
        ] {
            assert_eq!(paths(line), expected, "{line}");
        }
    }
}
