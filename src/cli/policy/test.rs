//! `opgate policy test`: the cases that stand beside a policy, and which of its lines they come to.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{PolicyArgs, read, trace};
use crate::cli::output::{self, Paint, Style};
use crate::cli::{Outcome, Usage};
use crate::model::body::Body;
use crate::model::exact::Json;
use crate::model::operation::Operation;
use crate::model::template::{self, Parameter};
use crate::policy::engine::{
    self, Data, Evaluation, Failure, Input, Limits, Lines, Policy, Verdict,
};
use crate::token::details::{self, Entry, Rule};
use crate::token::hash::sha256;

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

Grants of plain lists need no second file: they are `.json` files with `authorization_details`, and `calls`:

  { \"method\": \"POST\", \"path\": \"/orders\", \"action\": \"create_order\", \"args\": { \"amount\": 50 },
    \"query\": { \"dry\": \"true\" }, \"allowed\": true }

`args` (or `body`) is the JSON body, `query` and `path_params` are names and values.
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
    /// Why it could not be tested at all.
    broken: Option<String>,
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
    let files = args.policies.files(&[".json"])?;
    if files.is_empty() {
        return Err(Usage::error(
            "there is nothing to test: no file whose name ends in .cedar, .rego or .json",
        ));
    }
    let data = args.policies.data()?;
    let mut reports = Vec::new();
    for path in &files {
        let is_list = path.extension().is_some_and(|ending| ending == "json");
        let report = if is_list { list(path) } else { policy(path, &args.policies, data.as_ref()) };
        // One that is broken says nothing of the others.
        let report = report.unwrap_or_else(|error| {
            let broken = Some(format!("{error:#}"));
            Report { broken, ..Report::default() }
        });
        reports.push((path.as_path(), report));
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
    let compiled = match engine::compile_with(&args.source(path, &text), data) {
        Ok(compiled) => compiled,
        Err(refused) => {
            let hint = refused.because.hint();
            let hint = if hint.is_empty() { String::new() } else { format!(" ({hint})") };
            return Err(Usage::error(format!("{refused}{hint}")));
        }
    };
    let mut report = Report::default();
    let mut lines = Lines::default();
    for case in &beside.cases {
        let (failed, reached) = ask(&compiled, &beside.input, case);
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

fn ask(policy: &Arc<Policy>, shared: &Map<String, Value>, case: &Case) -> (Option<Failed>, Lines) {
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
        trace: trace::lines(policy, &lines),
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

/// A grant of plain lists, and calls that it covers or does not.
#[derive(Debug, Deserialize)]
struct Sample {
    calls: Vec<Value>,
    #[serde(flatten)]
    grant: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Called {
    method: String,
    path: String,
    action: String,
    allowed: bool,
    #[serde(default = "shop")]
    resource: String,
    /// The JSON body.
    #[serde(alias = "body")]
    args: Option<Value>,
    #[serde(default)]
    path_params: BTreeMap<String, String>,
    #[serde(default)]
    query: BTreeMap<String, String>,
}

fn shop() -> String {
    "https://tools.example.com/shop".to_owned()
}

/// A grant of plain lists: every call is covered by it or is not, as the file says.
fn list(path: &Path) -> anyhow::Result<Report> {
    let sample: Sample = serde_json::from_str(&read(path)?)?;
    let entries = details::read(&sample.grant)
        .map_err(|_denial| Usage::error("its `authorization_details` are not well formed"))?;
    let mut report = Report::default();
    for (n, call) in sample.calls.into_iter().enumerate() {
        let called = Called::deserialize(&call).with_context(|| format!("call {}", n + 1))?;
        let found = called.is_covered(&entries).with_context(|| format!("call {}", n + 1))?;
        if found == called.allowed {
            report.passed += 1;
        } else {
            report.failures.push(Failed {
                case: format!("{} {}", called.method, called.path),
                reason: String::new(),
                expected: if called.allowed { "true" } else { "false" },
                found: found.to_string(),
                input: call,
                trace: String::new(),
            });
        }
    }
    Ok(report)
}

impl Called {
    fn is_covered(&self, entries: &[Entry]) -> anyhow::Result<bool> {
        let method = Method::from_bytes(self.method.as_bytes())
            .map_err(|_invalid| Usage::error(format!("`{}` is no method", self.method)))?;
        let parameters = self.parameters()?;
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let pairs = self.query.iter().map(|(name, value)| encoded(name) + "=" + &encoded(value));
        let query = pairs.collect::<Vec<_>>().join("&");
        let body = self.args.as_ref().map(body).transpose()?;
        let bare = Operation::bare(&self.action, &method, &self.path, &self.resource);
        let query = Some(query.as_str()).filter(|query| !query.is_empty());
        let operation = Operation { parameters: &parameters, query, body: body.as_ref(), ..bare };
        Ok(entries.iter().any(|entry| {
            let Rule::Operations(rules) = &entry.rule else { return false };
            entry.bounds.hold(&operation) && rules.iter().any(|one| one.covers(&operation))
        }))
    }

    /// The template that gives the path these parameters: each stands for the segment that is its value.
    fn parameters(&self) -> anyhow::Result<Vec<Parameter>> {
        let mut segments: Vec<String> = self.path.split('/').map(str::to_owned).collect();
        for (name, value) in &self.path_params {
            let segment = segments.iter_mut().find(|segment| *segment == value);
            let none = || Usage::error(format!("no segment of `{}` is `{value}`", self.path));
            *segment.ok_or_else(none)? = format!("{{{name}}}");
        }
        Ok(template::parse(&segments.join("/"))?.1)
    }
}

fn body(args: &Value) -> anyhow::Result<Body> {
    let octets = args.to_string();
    let json = Json::parse(octets.as_bytes())
        .map_err(|_malformed| Usage::error("the body is not strict JSON"))?;
    Ok(Body { sha256: sha256(octets.as_bytes()), octets: octets.into(), json })
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
        "broken": report.broken,
    })
}

fn as_text(path: &Path, report: &Report, paint: Paint) -> String {
    let place = output::escaped(&path.display().to_string());
    if let Some(why) = &report.broken {
        let word = paint.paint(Style::Bad, "BROKEN");
        return format!("{word} {place}: {}\n", output::escaped(why));
    }
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
