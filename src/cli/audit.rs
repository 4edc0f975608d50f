//! `opgate audit`: reading the log, offline, on a directory or a copy of one.

pub mod export;
pub mod filtering;
pub mod prove;
pub mod refused;
pub mod search;
pub mod show;
pub mod stats;
pub mod verify;

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::Context;

use self::filtering::{FilterArgs, Wanted};
use super::output::{self, Paint, Style};
use super::{Outcome, Usage};
use crate::audit::filter::Filter;
use crate::journal::reader::{self, POLL, Read, Record};
use crate::journal::search::{self as looking, Order, Query};
use crate::journal::verify::own_key;
use crate::journal::{recovery, tag_key};
use crate::runtime::clock;

/// `opgate audit`
#[derive(Debug, clap::Subcommand)]
pub enum AuditCommand {
    /// The log in the form of another tool: JSON lines, a table, events for a SIEM
    #[command(after_help = "Examples:
  opgate audit export --format csv -o calls.csv --since 2026-11-24T00:00:00Z    a row for each call
  opgate audit export --format ocsf | your-shipper                              OCSF 1.8.0 API Activity, one event a line

A cell that a spreadsheet would take for a formula has an apostrophe before it. Exit code 1: the log has lines that
are no records; everything else was written.")]
    Export(export::ExportArgs),
    /// The verifier key of the log: keep it elsewhere, for `verify --key`
    Key(LogArgs),
    /// One record with the proof that it is in the log, for whoever has no copy of it
    #[command(after_help = "Example:
  opgate audit prove 019ab0c4 --audit audit -o refund    the record, its proof (C2SP tlog-proof) and the verifier key")]
    Prove(prove::ProveArgs),
    /// Set a damaged log aside, untouched, and begin a new one that says so
    Recover(LogArgs),
    /// What was refused and why, by operation and agent; with `--observed`, what would have been
    #[command(after_help = "Before a resource goes from `mode = \"observe\"` to `enforce`:
  opgate audit refused --observed                      what would be refused, the most frequent first
  opgate audit refused --observed --agent shop-01      the same for one agent
  opgate audit show ID                                 one of them, by the id at the end of its line
Whoever watches the metrics finds the same as opgate_decisions_total{decision=\"observed\"}, by reason.")]
    Refused(refused::RefusedArgs),
    /// The records that fit, the latest first
    #[command(after_help = "Examples:
  opgate audit search --user alice --action refund --since 7d         what alice's agents did about refunds
  opgate audit search --decision deny --agent 'shop-*' --reason '!token_expired'
  opgate audit search --evidence urn:uuid:92fb… --json | jq .http      everything that was done under one consent
  opgate audit search --decision would-deny --count

Different options must all hold; an option that is given again is an alternative, unless its value begins with `!`. An option
about calls finds records of calls alone. A `\\` before a value takes it as it stands. Nothing is indexed: the log is looked
through, newest first, until there is enough.")]
    Search(search::SearchArgs),
    /// One call's whole story, from who asked to what happened
    #[command(after_help = "Example:
  opgate audit show 019ab0c4 --audit audit    the beginning of a decision id, or a seq, is enough")]
    Show(show::ShowArgs),
    /// What the log comes to: how many calls, when, how long, by whom and what
    #[command(after_help = "Examples:
  opgate audit stats --since 24h                          an overview: decisions, reasons, resources, operations, agents
  opgate audit stats --decision deny --by reason          why calls are refused, and when
  opgate audit stats --agent shop-01 --by operation --by policy

Refusals that came in a flood and were counted together are counted as many as they were. Times are from the decision to the end
of a call, told at most a thirty-second too long.")]
    Stats(stats::StatsArgs),
    /// What stands in the log for a person, or for an agent or client whose id is hashed
    #[command(after_help = "Example:
  grep -F \"$(opgate audit tag alice)\" audit/seg/*.jsonl    the records of what alice's agents did, as `search --user` finds them")]
    Tag(TagArgs),
    /// The latest records, one a line
    #[command(after_help = "Example:
  opgate audit tail --audit audit -n 50 -f          the last 50, then whatever comes
  opgate audit tail -f --decision deny --agent bot    what one agent is refused, live; outcomes come with their decisions")]
    Tail(TailArgs),
    /// Whether the log is what was signed of it, and whole
    #[command(after_help = "Example:
  opgate audit verify --audit copy-of-audit --key 'opgate/1790000000+1a2b3c4d+AY9…'

A copy of `tree/checkpoint` that was kept elsewhere shows that the end was not cut off since:
  opgate audit verify --audit copy-of-audit --key verifier --checkpoint checkpoint-of-monday

Exit code 0: intact. 1: not intact, and where. 2: intact, and incomplete: records that are not signed yet, gaps, calls that
were interrupted. 3: nothing can be said, as of a log that no gate has signed.")]
    Verify(verify::VerifyArgs),
    /// Whether a record is in the log of a key, by its proof
    VerifyProof(prove::VerifyProofArgs),
}

/// Which log.
#[derive(Debug, clap::Args)]
pub struct LogArgs {
    /// The audit directory
    #[arg(long, value_name = "DIR", default_value = "audit")]
    pub audit: PathBuf,
}

/// `opgate audit tag`
#[derive(Debug, clap::Args)]
pub struct TagArgs {
    /// `sub` of the person, or the id
    pub value: String,
    #[command(flatten)]
    log: LogArgs,
    /// The file that `audit.tag_key` names, where the key is not kept with the log
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
}

/// `opgate audit tail`
#[derive(Debug, clap::Args)]
pub struct TailArgs {
    /// How many records
    #[arg(short = 'n', long, default_value_t = 20)]
    pub lines: usize,
    /// Go on with what is written from now on
    #[arg(short, long)]
    pub follow: bool,
    #[command(flatten)]
    log: LogArgs,
    /// The lines as they stand in the log
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    filter: FilterArgs,
}

/// Runs one of the commands.
pub fn run(command: &AuditCommand) -> anyhow::Result<Outcome> {
    match command {
        AuditCommand::Key(args) => {
            let key = own_key(&args.audit)?;
            output::print(&format!("{key}\n"))?;
            Ok(Outcome::Done)
        }
        AuditCommand::Export(args) => export::run(args),
        AuditCommand::Prove(args) => prove::prove(args),
        AuditCommand::Recover(args) => recover(&args.audit),
        AuditCommand::Refused(args) => refused::run(args),
        AuditCommand::Search(args) => search::run(args),
        AuditCommand::Show(args) => show::run(args),
        AuditCommand::Stats(args) => stats::run(args),
        AuditCommand::Tag(args) => tag(args),
        AuditCommand::Tail(args) => tail(args),
        AuditCommand::Verify(args) => verify::run(args),
        AuditCommand::VerifyProof(args) => prove::verify_proof(args),
    }
}

fn recover(directory: &Path) -> anyhow::Result<Outcome> {
    must_exist(directory)?;
    let aside = recovery::quarantine(directory, clock::now())?;
    output::print(&format!(
        "the log was set aside, untouched, as {}\na new log begins with a record that says so\n",
        aside.display()
    ))?;
    Ok(Outcome::Done)
}

fn must_exist(directory: &Path) -> anyhow::Result<()> {
    let lacks = match (directory.is_dir(), directory.join("seg").is_dir()) {
        (true, true) => return Ok(()),
        (true, false) => "has no log in it: no folder `seg`",
        (false, _) => "is no directory",
    };
    Err(Usage::error(format!(
        "`{}` {lacks}; the log is where `audit.directory` of the configuration says",
        directory.display()
    )))
}

fn tag(args: &TagArgs) -> anyhow::Result<Outcome> {
    let tagger = if let Some(path) = &args.key {
        filtering::tagger_in(path)?
    } else {
        must_exist(&args.log.audit)?;
        let key = tag_key::existing(&args.log.audit);
        key.with_context(|| args.log.audit.join("tag.key").display().to_string())?
    };
    output::print(&format!("{}\n", tagger.tag(args.value.as_bytes()).as_str()))?;
    Ok(Outcome::Done)
}

fn tail(args: &TailArgs) -> anyhow::Result<Outcome> {
    let directory = &args.log.audit;
    must_exist(directory)?;
    let filter = args.filter.filter(directory, clock::now())?;
    let mut wanted = Wanted::new(&filter, false);
    let paint = Paint::new(output::is_colored());
    // Opened before the end is read, so that nothing falls between the two.
    let mut following = reader::follow(directory)?;
    for read in &latest(directory, &filter, args.lines)? {
        if let Read::Record(record) = read {
            wanted.takes(&record.line);
        }
        output::print(&line(read, args.json, paint))?;
    }
    if !args.follow {
        return Ok(Outcome::Done);
    }
    loop {
        match following.advance()? {
            Some(Read::Record(record)) if !wanted.takes(&record.line) => {}
            Some(read) => output::print(&line(&read, args.json, paint))?,
            None => std::thread::sleep(POLL),
        }
    }
}

/// The last records that are wanted, the last of them last.
fn latest(directory: &Path, filter: &Filter, lines: usize) -> io::Result<Vec<Read>> {
    let mut latest = Vec::new();
    if filter.is_everything() {
        // What is no record is shown too.
        latest = reader::backward(directory)?.take(lines).collect::<Result<_, _>>()?;
    } else {
        let query = Query::of(filter);
        looking::search(directory, &query, Order::Newest, lines, &mut |hit| {
            latest.push(reader::read(&hit.file, hit.offset, hit.line.as_bytes()));
            Ok(ControlFlow::Continue(()))
        })?;
    }
    latest.reverse();
    Ok(latest)
}

fn line(read: &Read, as_json: bool, paint: Paint) -> String {
    match read {
        Read::Record(record) if as_json => format!("{}\n", record.line),
        Read::Record(record) => format!("{}\n", summary(record, paint)),
        Read::Bad { file, offset, what, .. } => {
            let text = format!(
                "{} at byte {offset}: not a record: {}",
                file.display(),
                output::escaped(what)
            );
            format!("{}\n", paint.paint(Style::Bad, &text))
        }
    }
}

/// One record in one line: when, what, on what, by whom, and which.
pub fn summary(record: &Record, paint: Paint) -> String {
    let text = |path: &[&str]| output::escaped(record.text(path));
    let time = text(&["ts"]);
    let time = paint.paint(Style::Faint, time.get(..23).unwrap_or(&time));
    let seq = record.seq().unwrap_or_default();
    let rest = match record.kind() {
        "decision" => decision(record, paint),
        "outcome" => {
            let result = text(&["result"]);
            let style = if result == "success" { Style::Good } else { Style::Warn };
            let status = record
                .number(&["http", "status"])
                .map_or(String::new(), |status| format!(" {status}"));
            let of = record.number(&["of"]).unwrap_or_default();
            let took =
                record.number(&["us"]).map_or(String::new(), |us| format!(" in {}", duration(us)));
            format!("{}{status}{took}, call {of}", paint.paint(style, &format!("{result:<6}")))
        }
        "aggregate" => {
            let count = record.number(&["count"]).unwrap_or_default();
            let refused = paint.paint(Style::Bad, "DENY  ");
            format!("{refused} {count} more from {}: {}", text(&["source"]), text(&["reason"]))
        }
        "revocation" => revocation(record, paint),
        "tool" => {
            let change = text(&["change"]);
            let style = if change == "first" { Style::Good } else { Style::Bad };
            let word = paint.paint(style, "TOOL  ");
            format!("{word} {change} {} of {}", text(&["tool"]), text(&["resource"]))
        }
        "gap" => {
            paint.paint(Style::Bad, &format!("GAP    records are missing: {}", text(&["why"])))
        }
        kind => {
            let of_config = text(&["config", "sha256"]) + &text(&["new", "sha256"]);
            format!("{:<6} {}", output::escaped(kind), of_config.get(..12).unwrap_or_default())
        }
    };
    format!("{time} {seq:>6} {}", rest.trim_end())
}

fn revocation(record: &Record, paint: Paint) -> String {
    let text = |path: &[&str]| output::escaped(record.text(path));
    let (word, style) = match record.text(&["change"]) {
        "revoke" => ("REVOKE", Style::Bad),
        _ => ("LIFT  ", Style::Warn),
    };
    let name = text(&["revoked", "name"]) + &text(&["revoked", "tag"]);
    let why = text(&["why"]);
    let why = if why.is_empty() { String::new() } else { format!(": {why}") };
    format!(
        "{} {} {name}{why}  {}",
        paint.paint(style, word),
        text(&["revoked", "kind"]),
        text(&["id"])
    )
}

fn decision(record: &Record, paint: Paint) -> String {
    let text = |path: &[&str]| output::escaped(record.text(path));
    let allowed = record.text(&["decision"]) == "allow";
    let verdict = match (allowed, record.text(&["mode"])) {
        (true, _) => paint.paint(Style::Good, "ALLOW "),
        (false, "observe") => paint.paint(Style::Warn, "WOULD "),
        (false, _) => paint.paint(Style::Bad, "DENY  "),
    };
    let agent = text(&["agent", "id"]);
    let by = if agent.is_empty() { String::new() } else { format!(" by {agent}") };
    let why = if allowed { text(&["op", "action"]) } else { text(&["reason"]) };
    let id = text(&["id"]);
    let (method, what) = asked(record);
    format!("{verdict} {method:<6} {what:<32} {why}{by}  {id}")
}

/// Method and path of a request; where what is asked for stands in a message, its protocol, and its method
/// with what it names.
pub(super) fn asked(record: &Record) -> (String, String) {
    let text = |path: &[&str]| output::escaped(record.text(path));
    let (method, name) = (text(&["op", "method"]), text(&["op", "name"]));
    match record.text(&["op", "protocol"]) {
        protocol @ ("a2a" | "mcp") if !method.is_empty() => {
            (protocol.to_uppercase(), format!("{method} {name}").trim_end().to_owned())
        }
        _ => (text(&["http", "method"]), text(&["http", "path"])),
    }
}

/// Microseconds as people read them.
fn duration(us: u64) -> String {
    match us {
        0..10_000 => format!("{us} µs"),
        10_000..10_000_000 => format!("{} ms", us / 1_000),
        _ => format!("{} s", us / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn record(json: &str) -> Record {
        Record {
            file: "audit/seg/000000000000.jsonl".into(),
            offset: 0,
            line: json.into(),
            members: serde_json::from_str(json).unwrap(),
        }
    }

    #[test]
    fn a_decision_is_one_line_that_cannot_act_on_a_terminal() {
        let record = record(
            r#"{"v":1,"seq":7,"ts":"2026-11-23T14:13:20.000989Z","type":"decision","id":"i","decision":"deny","reason":"no_applicable_grant","http":{"method":"GET","path":"/a\u001b[2J"},"agent":{"id":"bot"}}"#,
        );
        let line = summary(&record, Paint::new(false));
        assert_eq!(
            line,
            r"2026-11-23T14:13:20.000      7 DENY   GET    /a\u{1b}[2J                      no_applicable_grant by bot  i"
        );
    }
}
