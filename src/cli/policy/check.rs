//! `opgate policy check`: whether a policy would be admitted, and what its author should look at again.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::{PolicyArgs, read};
use crate::cli::output::{self, Paint, Style};
use crate::cli::{Outcome, Usage};
use crate::policy::engine::{self, Checked, NotAdmitted};

/// `opgate policy check`
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  opgate policy check policies/
  opgate policy check --class local --strict gate/overlay.rego

Exit code 1 when a policy is not admitted; with --strict, when there is a warning too.")]
pub struct CheckArgs {
    #[command(flatten)]
    policies: PolicyArgs,
    /// Count warnings as errors
    #[arg(long)]
    strict: bool,
}

/// What was found in one file.
type Found = Result<Checked, NotAdmitted>;

/// Checks every policy, and says what it found.
pub fn run(args: &CheckArgs) -> anyhow::Result<Outcome> {
    let files = args.policies.files(&[])?;
    if files.is_empty() {
        return Err(Usage::error("there is no policy: a file whose name ends in .cedar or .rego"));
    }
    let data = args.policies.data()?;
    let mut all = Vec::new();
    for path in &files {
        let text = read(path)?;
        all.push((
            path.as_path(),
            engine::check_with(&args.policies.source(path, &text), data.as_ref()),
        ));
    }
    let is_bad = |found: &Found| match found {
        Err(_) => true,
        Ok(checked) => {
            args.strict && checked.findings.iter().any(|finding| finding.advice.is_warning())
        }
    };
    let bad = all.iter().filter(|(_, found)| is_bad(found)).count();
    if args.policies.json {
        let files: Vec<_> = all.iter().map(|(path, found)| as_json(path, found)).collect();
        output::print(&format!("{}\n", json!({ "valid": bad == 0, "policies": files })))?;
    } else {
        let paint = Paint::new(output::is_colored());
        let mut text: String =
            all.iter().map(|(path, found)| as_text(path, found, paint)).collect();
        writeln!(text, "{} policies, {bad} to be mended", all.len())?;
        output::print(&text)?;
    }
    Ok(if bad == 0 { Outcome::Done } else { Outcome::Refused })
}

fn as_json(path: &Path, found: &Found) -> Value {
    match found {
        Err(refused) => json!({
            "path": path, "admitted": false, "problem": refused.to_string(), "line": refused.line,
            "rule": refused.rule, "what": refused.what,
        }),
        Ok(checked) => {
            let findings: Vec<_> = checked
                .findings
                .iter()
                .map(|finding| {
                    json!({
                        "line": finding.line, "code": finding.advice.code(), "message": finding.to_string(),
                        "hint": finding.advice.hint(), "warning": finding.advice.is_warning(),
                    })
                })
                .collect();
            json!({
                "path": path, "admitted": true, "dialect": checked.dialect, "builtins": checked.builtins,
                "findings": findings,
            })
        }
    }
}

fn as_text(path: &Path, found: &Found, paint: Paint) -> String {
    let mut text = String::new();
    let place = output::escaped(&path.display().to_string());
    let mut say = |line: Option<u32>, style, kind: &str, message: &str, hint: &str| {
        let line = line.map_or(String::new(), |line| format!(":{line}"));
        let kind = paint.paint(style, kind);
        writeln!(text, "{place}{line}: {kind}: {}", output::escaped(message)).unwrap_or(());
        if !hint.is_empty() {
            writeln!(text, "    {}", paint.paint(Style::Faint, hint)).unwrap_or(());
        }
    };
    match found {
        Err(refused) => {
            let plain = NotAdmitted { line: None, ..refused.clone() };
            say(
                refused.line,
                Style::Bad,
                "not admitted",
                &plain.to_string(),
                refused.because.hint(),
            );
        }
        Ok(checked) => {
            for finding in &checked.findings {
                let (style, kind) = if finding.advice.is_warning() {
                    (Style::Warn, "warning")
                } else {
                    (Style::Faint, "note")
                };
                say(Some(finding.line), style, kind, &finding.to_string(), finding.advice.hint());
            }
            if checked.findings.is_empty() {
                say(None, Style::Good, "admitted", checked.dialect, "");
            }
        }
    }
    text
}
