//! `opgate policy test`: the cases that stand beside a policy, and which of its lines they come to.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use http::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{PolicyArgs, read};
use crate::cli::output::{self, Paint, Style};
use crate::cli::{Outcome, Usage};
use crate::model::operation::Operation;
use crate::policy::engine::{
    self, Data, Evaluation, Failure, Input, Limits, Lines, Policy, Verdict,
};
use crate::token::details::{self, Rule};

/// `opgate policy test`
#[derive(Debug, clap::Args)]
#[command(after_help = "Beside `limit.rego` stands `limit.test.toml`:

  [input]                        # what all cases share
  action = \"pay\"

  [[case]]
  name = \"a payment above the limit\"
  input = { args.amount = 51 }   # put over the shared input, member by member
  expect = \"false\"               # true, false, undefined, non_boolean, error
  reason = \"the person said 50\"  # for whoever sees it fail

Beside nothing stand grants of plain lists: `.json` files with `authorization_details` and `calls`.
Exit code 1 when a case fails, when a policy has none, or with --covered when a line was never reached.")]
pub struct TestArgs {
    #[command(flatten)]
    policies: PolicyArgs,
    /// Fail where no case comes to a line
    #[arg(long)]
    covered: bool,
}

/// The file beside a policy.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Beside {
    #[serde(default)]
    input: Map<String, Value>,
    #[serde(rename = "case", default)]
    cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    input: Map<String, Value>,
    expect: Expect,
    #[serde(default)]
    reason: String,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Expect {
    Error,
    False,
    NonBoolean,
    True,
    Undefined,
}

impl Expect {
    const fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::False => "false",
            Self::NonBoolean => "non_boolean",
            Self::True => "true",
            Self::Undefined => "undefined",
        }
    }

    const fn of(evaluation: &Evaluation) -> Self {
        match evaluation.outcome {
            Ok(Verdict::False) => Self::False,
            Ok(Verdict::NonBoolean) => Self::NonBoolean,
            Ok(Verdict::True) => Self::True,
            Ok(Verdict::Undefined) => Self::Undefined,
            Err(Failure::Budget | Failure::Engine | Failure::Timeout) => Self::Error,
        }
    }
}

/// What became of one policy or grant.
#[derive(Debug, Default)]
struct Report {
    passed: usize,
    failures: Vec<Failed>,
    /// The lines that no case came to.
    unreached: BTreeSet<u32>,
    reached: usize,
}

#[derive(Debug)]
struct Failed {
    case: String,
    reason: String,
    expected: &'static str,
    found: String,
    input: Value,
    trace: String,
}

/// Runs every case below the paths.
pub fn run(args: &TestArgs) -> anyhow::Result<Outcome> {
    let files = args.policies.files(&[".rego", ".json"])?;
    if files.is_empty() {
        return Err(Usage::error(
            "there is nothing to test: no file whose name ends in .rego or .json",
        ));
    }
    let data = args.policies.data()?;
    let mut reports = Vec::new();
    for path in &files {
        let is_list = path.extension().is_some_and(|ending| ending == "json");
        let report = if is_list { list(path) } else { policy(path, &args.policies, data.as_ref()) };
        reports.push((path.as_path(), report?));
    }
    let is_bad = |report: &Report| {
        !report.failures.is_empty()
            || report.passed == 0
            || args.covered && !report.unreached.is_empty()
    };
    let bad = reports.iter().filter(|(_, report)| is_bad(report)).count();
    if args.policies.json {
        let all: Vec<_> = reports.iter().map(|(path, report)| as_json(path, report)).collect();
        output::print(&format!("{}\n", json!({ "passed": bad == 0, "policies": all })))?;
    } else {
        let paint = Paint::new(output::is_colored());
        let mut text: String =
            reports.iter().map(|(path, report)| as_text(path, report, paint)).collect();
        let passed: usize = reports.iter().map(|(_, report)| report.passed).sum();
        let failed: usize = reports.iter().map(|(_, report)| report.failures.len()).sum();
        writeln!(
            text,
            "{passed} passed, {failed} failed, {} of {} policies are well",
            reports.len() - bad,
            reports.len()
        )?;
        output::print(&text)?;
    }
    Ok(if bad == 0 { Outcome::Done } else { Outcome::Refused })
}

/// The cases beside one policy.
fn policy(path: &Path, args: &PolicyArgs, data: Option<&Data>) -> anyhow::Result<Report> {
    let text = read(path)?;
    let beside = path.with_extension("test.toml");
    let beside: Beside = if beside.exists() {
        toml::from_str(&read(&beside)?).with_context(|| format!("in {}", beside.display()))?
    } else {
        Beside { input: Map::new(), cases: Vec::new() }
    };
    let compiled = match engine::compile_with(&args.source(&text), data) {
        Ok(compiled) => compiled,
        Err(refused) => return Err(Usage::error(format!("{}: {refused}", path.display()))),
    };
    let mut report = Report::default();
    let mut lines = Lines::default();
    for case in &beside.cases {
        let (failed, reached) = ask(&compiled, &text, &beside.input, case);
        lines.evaluated.extend(reached.evaluated);
        lines.left.extend(reached.left);
        match failed {
            None => report.passed += 1,
            Some(failed) => report.failures.push(failed),
        }
    }
    report.unreached = lines.left.difference(&lines.evaluated).copied().collect();
    report.reached = lines.evaluated.len();
    Ok(report)
}

fn ask(
    policy: &Arc<Policy>,
    text: &str,
    shared: &Map<String, Value>,
    case: &Case,
) -> (Option<Failed>, Lines) {
    let mut input = Value::Object(shared.clone());
    put_over(&mut input, &Value::Object(case.input.clone()));
    let limits = Limits { steps: Limits::STEPS, stop: None };
    let (evaluation, lines) = policy.traced(&Input::new(input.clone()), &limits);
    let found = Expect::of(&evaluation);
    if found == case.expect {
        return (None, lines);
    }
    let fault = evaluation.fault.map_or(String::new(), |fault| format!(": {fault}"));
    let failed = Failed {
        case: case.name.clone(),
        reason: case.reason.clone(),
        expected: case.expect.word(),
        found: format!("{}{fault}", found.word()),
        input,
        trace: trace(text, &lines),
    };
    (Some(failed), lines)
}

/// Puts the members of `over` in the place of those of `base`, and objects over objects.
fn put_over(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (name, value) in over {
                put_over(base.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}

/// The lines that have an expression, each with whether it was evaluated.
fn trace(text: &str, lines: &Lines) -> String {
    let mut trace = String::new();
    for (number, line) in (1_u32..).zip(text.lines()) {
        let mark = if lines.evaluated.contains(&number) {
            "evaluated"
        } else if lines.left.contains(&number) {
            "not reached"
        } else {
            continue;
        };
        writeln!(trace, "      {number:>4}  {mark:<11}  {}", output::escaped(line)).unwrap_or(());
    }
    trace
}

/// A grant of plain lists: every call is covered by it or is not, as the file says.
fn list(path: &Path) -> anyhow::Result<Report> {
    let problem = |what: &str| Usage::error(format!("{}: {what}", path.display()));
    let sample: Map<String, Value> =
        serde_json::from_str(&read(path)?).with_context(|| format!("in {}", path.display()))?;
    let entries = details::read(&sample)
        .map_err(|_denial| problem("its `authorization_details` are not well formed"))?;
    let calls = sample
        .get("calls")
        .and_then(Value::as_array)
        .ok_or_else(|| problem("it has no `calls`"))?;
    let mut report = Report::default();
    for call in calls {
        let word = |name| call.get(name).and_then(Value::as_str);
        let (Some(method), Some(called), Some(action), Some(allowed)) = (
            word("method"),
            word("path"),
            word("action"),
            call.get("allowed").and_then(Value::as_bool),
        ) else {
            return Err(problem("a call has `method`, `path`, `action` and `allowed`"));
        };
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|_invalid| problem("a method is no method"))?;
        let resource = word("resource").unwrap_or("https://tools.example.com/shop");
        let operation = Operation::bare(action, &method, called, resource);
        let found = entries.iter().any(|entry| {
            let Rule::Operations(rules) = &entry.rule else { return false };
            entry.bounds.hold(&operation) && rules.iter().any(|one| one.covers(&operation))
        });
        if found == allowed {
            report.passed += 1;
        } else {
            report.failures.push(Failed {
                case: format!("{method} {called}"),
                reason: String::new(),
                expected: if allowed { "true" } else { "false" },
                found: found.to_string(),
                input: call.clone(),
                trace: String::new(),
            });
        }
    }
    Ok(report)
}

fn as_json(path: &Path, report: &Report) -> Value {
    let failures: Vec<_> = report
        .failures
        .iter()
        .map(|failed| {
            json!({
                "case": failed.case, "reason": failed.reason, "expected": failed.expected,
                "found": failed.found, "input": failed.input, "trace": failed.trace,
            })
        })
        .collect();
    json!({
        "path": path, "passed": report.passed, "failures": failures,
        "lines_reached": report.reached, "lines_not_reached": report.unreached,
    })
}

fn as_text(path: &Path, report: &Report, paint: Paint) -> String {
    let place = output::escaped(&path.display().to_string());
    let (word, style) = match (report.failures.len(), report.passed) {
        (0, 0) => ("no cases", Style::Warn),
        (0, _) => ("ok", Style::Good),
        _ => ("FAILED", Style::Bad),
    };
    let mut text = format!("{} {place}: {} passed", paint.paint(style, word), report.passed);
    if !report.unreached.is_empty() {
        let lines: Vec<_> = report.unreached.iter().map(ToString::to_string).collect();
        write!(text, ", no case reaches line {}", lines.join(", ")).unwrap_or(());
    }
    text.push('\n');
    for failed in &report.failures {
        let Failed { case, reason, expected, found, input, trace } = failed;
        let reason = if reason.is_empty() {
            String::new()
        } else {
            format!("\n    because:  {}", output::escaped(reason))
        };
        write!(
            text,
            "  {}\n    expected: {expected}{reason}\n    found:    {}\n    input:    {}\n{trace}",
            output::escaped(case),
            output::escaped(found),
            output::escaped(&input.to_string()),
        )
        .unwrap_or(());
    }
    text
}
