//! `opgate audit verify`: whether the log is what was signed of it, and whole.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::LogArgs;
use crate::audit::note::Verifier;
use crate::cli::output::{self, Paint, Rows, Style, escaped};
use crate::cli::{Outcome, Usage};
use crate::journal::verify::{self, Fault, Report};

/// `opgate audit verify`
#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    log: LogArgs,
    /// The verifier key, or a file with it, as `opgate audit key` prints it on the day the log begins
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// A checkpoint that was kept elsewhere, a copy of `tree/checkpoint`: the log must go on from there
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// Answer in JSON
    #[arg(long)]
    pub json: bool,
}

/// How many records are read between two words on the progress.
const STEP: u64 = 200_000;

/// Verifies, and says what that proves and what it does not.
pub fn run(args: &VerifyArgs) -> anyhow::Result<Outcome> {
    super::must_exist(&args.log.audit)?;
    let verifier = match &args.key {
        Some(text) => given(text)?,
        None => verify::own_key(&args.log.audit)?,
    };
    let is_shown = std::io::stderr().is_terminal();
    let mut shown = 0;
    let report =
        verify::verify(&args.log.audit, &verifier, args.checkpoint.as_deref(), &mut |read| {
            if is_shown && read >= shown + STEP {
                shown = read;
                let mut terminal = std::io::stderr().lock();
                write!(terminal, "\r{read} records").and_then(|()| terminal.flush()).unwrap_or(());
            }
        })?;
    if shown > 0 {
        output::complain("");
    }
    let (was_given, is_kept) = (args.key.is_some(), args.checkpoint.is_some());
    let proven = Proven { report, verifier, was_given, is_kept };
    output::print(&if args.json { proven.json() } else { proven.text() })?;
    Ok(proven.outcome())
}

/// A verifier key, or the file that holds one.
pub(super) fn given(text: &str) -> anyhow::Result<Verifier> {
    if let Ok(verifier) = Verifier::parse(text) {
        return Ok(verifier);
    }
    let path = PathBuf::from(text);
    let read = std::fs::read_to_string(&path).with_context(|| {
        format!(
            "`{}` is neither a verifier key (NAME+NUMBER+KEY) nor a file with one",
            escaped(text)
        )
    })?;
    Verifier::parse(&read).map_err(|error| Usage::error(format!("`{}`: {error}", path.display())))
}

/// What was found, and on whose word.
struct Proven {
    report: Report,
    verifier: Verifier,
    was_given: bool,
    /// A checkpoint was kept elsewhere.
    is_kept: bool,
}

impl Proven {
    fn outcome(&self) -> Outcome {
        match &self.report {
            Report { fault: Some(_), .. } => Outcome::Refused,
            _ if self.lacks().is_empty() => Outcome::Done,
            _ => Outcome::Incomplete,
        }
    }

    /// What is right so far and not all there is.
    fn lacks(&self) -> Vec<String> {
        let Report { records, checkpoint, interrupted, open, gaps, torn, .. } = &self.report;
        let unsigned = records.saturating_sub(checkpoint.as_ref().map_or(0, |one| one.size));
        let mut lacks = Vec::new();
        let mut tell = |count: u64, what: &str| {
            if count > 0 {
                lacks.push(format!("{count} {what}"));
            }
        };
        tell(unsigned, "records at the end that are not signed yet");
        tell(*torn, "octets at the end that are no whole record");
        tell(*open, "calls that were let through and have no outcome yet");
        tell(*interrupted, "calls whose outcome nobody knows: the process died");
        tell(
            gaps.0,
            &format!("records of gaps, of at most {} missing records as far as known", gaps.1),
        );
        lacks
    }

    fn text(&self) -> String {
        let Report { records, checkpoint, earlier, times, epochs, fault, .. } = &self.report;
        let paint = Paint::new(output::is_colored());
        let mut rows = Rows::new(paint);
        rows.add("log", escaped(self.verifier.name()));
        let label = if fault.is_some() { "records read" } else { "records" };
        rows.add(label, records.to_string());
        if let Some((first, last)) = times {
            rows.add("from", escaped(first));
            rows.add("to", escaped(last));
        }
        rows.add("starts of the gate", epochs.to_string());
        if let Some(checkpoint) = checkpoint {
            rows.add(
                "signed",
                format!("{} records; {earlier} earlier checkpoints fit", checkpoint.size),
            );
        }
        rows.add_all("incomplete", self.lacks());
        let mut text = rows.text();
        if let Some(fault) = fault {
            text += &paint.paint(Style::Bad, &told(fault));
            text.push('\n');
        } else {
            let word = if self.lacks().is_empty() { "intact" } else { "intact, and incomplete" };
            text += &paint.paint(Style::Good, word);
            text += ": no signed record was changed, taken out, put in or moved, and each call that was let \
                     through is followed to its end as far as is said above\n";
        }
        if !self.was_given {
            text += "not proven: that the key is the gate's. It lies beside the log, and whoever rewrote the log \
                     could have put it there; give `--key` as it was noted elsewhere\n";
        }
        if !self.is_kept {
            text += "not proven: that the latest records were not cut off together with their checkpoint; keep a \
                     copy of `tree/checkpoint` elsewhere and give it with `--checkpoint`\n";
        }
        text
    }

    fn json(&self) -> String {
        let Report {
            records,
            checkpoint,
            earlier,
            times,
            epochs,
            interrupted,
            open,
            gaps,
            torn,
            fault,
        } = &self.report;
        let fault = fault.as_ref().map(|fault| {
            json!({
                "check": fault.check, "file": fault.file, "line": fault.line, "seq": fault.seq,
                "what": fault.what,
            })
        });
        let told = json!({
            "intact": fault.is_none(), "complete": self.lacks().is_empty(), "fault": fault,
            "incomplete": self.lacks(), "log": self.verifier.name(), "records": records,
            "signed": checkpoint.as_ref().map(|one| one.size), "earlier_checkpoints": earlier,
            "from": times.as_ref().map(|times| &times.0), "to": times.as_ref().map(|times| &times.1),
            "starts": epochs, "interrupted": interrupted, "open": open,
            "gaps": { "records": gaps.0, "at_most": gaps.1 }, "torn": torn,
            "key": if self.was_given { Value::from("given") } else { Value::from("beside the log") },
            "checkpoint_kept_elsewhere": self.is_kept,
        });
        format!("{told}\n")
    }
}

/// A fault with its place.
fn told(fault: &Fault) -> String {
    let Fault { check, file, line, seq, what } = fault;
    let line = line.map_or_else(String::new, |line| format!(" line {line}"));
    let seq = seq.map_or_else(String::new, |seq| format!(" (record {seq})"));
    format!(
        "not intact: {check}: `{}`{line}{seq}: {}",
        escaped(&file.display().to_string()),
        escaped(what)
    )
}
