//! `opgate audit export`: the log in the forms that other tools read.

mod ocsf;
mod table;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::Value;

use self::ocsf::Ocsf;
use self::table::Table;
use super::filtering::{FilterArgs, Wanted};
use super::{LogArgs, must_exist};
use crate::audit::filter::Filter;
use crate::cli::{Outcome, Usage, output};
use crate::journal::reader::{self, Call, Read, Record};
use crate::journal::search::{self, Order, Query};
use crate::runtime::clock;

/// `opgate audit export`
#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// The form of what is written
    #[arg(long, value_enum)]
    format: Format,
    /// The file that is made; without it, standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    filter: FilterArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Every record, as it stands in the log
    Jsonl,
    /// A row for each call, for a spreadsheet (RFC 4180)
    Csv,
    /// An event for each call, for a SIEM: API Activity of OCSF 1.8.0, one a line
    Ocsf,
}

/// What came of it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    /// What was written: records, rows or events.
    written: u64,
    /// Records that have no place in the form.
    left_out: u64,
    /// Lines that are no records.
    bad: Vec<String>,
}

/// How many lines that are no records are told one by one.
const MOST_BAD: usize = 5;

/// Writes the log in the form that is asked for.
pub(super) fn run(args: &ExportArgs) -> anyhow::Result<Outcome> {
    must_exist(&args.log.audit)?;
    let filter = args.filter.filter(&args.log.audit, clock::now())?;
    let told = match &args.output {
        None => written(args, &filter, &mut BufWriter::new(io::stdout().lock()))?,
        Some(path) => beside(path, |file| written(args, &filter, file))?,
    };
    let noun = if args.format == Format::Jsonl { "records" } else { "calls" };
    let written = format!("{} {noun}", told.written);
    output::complain(&match told.left_out {
        0 => written,
        left_out => {
            format!("{written}; {left_out} records are of no call: `--format jsonl` has them")
        }
    });
    for what in &told.bad {
        output::complain(what);
    }
    Ok(if told.bad.is_empty() { Outcome::Done } else { Outcome::Refused })
}

/// Writes a file that is there whole or not at all.
fn beside<T>(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&File>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let name = path.file_name().ok_or_else(|| Usage::error("`--output` is a file"))?;
    let unfinished = directory.unwrap_or(Path::new(".")).join({
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(".unfinished");
        hidden
    });
    let shown = || unfinished.display().to_string();
    let file = File::create(&unfinished).with_context(shown)?;
    let mut into = BufWriter::new(&file);
    let told = write(&mut into).and_then(|told| {
        into.flush()?;
        file.sync_all()?;
        std::fs::rename(&unfinished, path)?;
        Ok(told)
    });
    if told.is_err() {
        // The reason is told; that the rest may stay behind is not worth another.
        std::fs::remove_file(&unfinished).unwrap_or(());
    }
    told.with_context(|| path.display().to_string())
}

fn written(args: &ExportArgs, filter: &Filter, into: &mut dyn Write) -> anyhow::Result<Told> {
    let mut told = Told::default();
    match args.format {
        Format::Jsonl => each(args, filter, &mut told, &mut |record, told| {
            told.written += 1;
            writeln!(into, "{}", record.line)?;
            Ok(())
        })?,
        Format::Csv => {
            let mut table = Table::new(&mut *into)?;
            let mut calls = Calls::default();
            each(args, filter, &mut told, &mut |record, told| {
                calls.hear(record, told, &mut |call| table.row(call))
            })?;
            calls.end(&mut told, &mut |call| table.row(call))?;
            table.end()?;
        }
        Format::Ocsf => {
            let events = Ocsf::of(&args.log.audit);
            let mut calls = Calls::default();
            let mut event = |call: &Call| Ok(writeln!(into, "{}", events.event(call))?);
            each(args, filter, &mut told, &mut |record, told| {
                calls.hear(record, told, &mut event)
            })?;
            calls.end(&mut told, &mut event)?;
        }
    }
    into.flush()?;
    Ok(told)
}

/// What is done with each record that is asked for.
type Take<'a> = dyn FnMut(Record, &mut Told) -> anyhow::Result<()> + 'a;

/// Every record that is asked for, in the order of the log. Outcomes are asked for with their decisions.
fn each(
    args: &ExportArgs,
    filter: &Filter,
    told: &mut Told,
    take: &mut Take<'_>,
) -> anyhow::Result<()> {
    let directory = &args.log.audit;
    if filter.is_everything() {
        return every(directory, told, take);
    }
    // A row for a call has its outcome, whenever that came.
    let is_of_calls = args.format != Format::Jsonl;
    let query = Query::of_calls(filter, is_of_calls);
    let mut wanted = Wanted::new(filter, is_of_calls);
    let mut failed = None;
    let seen = search::search(directory, &query, Order::Oldest, usize::MAX, &mut |hit| {
        if wanted.takes(&hit.line)
            && let Read::Record(record) = reader::read(&hit.file, hit.offset, hit.line.as_bytes())
        {
            failed = take(record, told).err();
        }
        Ok(if failed.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    if seen.bad > 0 {
        told.bad.push(format!("{} lines that were come across are no records", seen.bad));
    }
    failed.map_or(Ok(()), Err)
}

fn every(directory: &Path, told: &mut Told, take: &mut Take<'_>) -> anyhow::Result<()> {
    let mut bad = 0_u64;
    for read in reader::forward(directory)? {
        match read? {
            Read::Record(record) => take(record, told)?,
            Read::Bad { file, line, what, .. } => {
                bad += 1;
                if told.bad.len() < MOST_BAD {
                    let (file, what) = (file.display().to_string(), output::escaped(&what));
                    told.bad.push(format!("{file} line {line}: not a record: {what}"));
                }
            }
        }
    }
    let untold = bad.saturating_sub(u64::try_from(told.bad.len()).unwrap_or(u64::MAX));
    if untold > 0 {
        told.bad.push(format!("{untold} more lines are no records"));
    }
    Ok(())
}

/// Decisions that wait for their outcome, by `seq`.
#[derive(Debug, Default)]
struct Calls {
    open: BTreeMap<u64, Record>,
}

impl Calls {
    /// Gives a call as soon as nothing more is to come of it: in the order in which calls ended.
    fn hear(
        &mut self,
        record: Record,
        told: &mut Told,
        give: &mut dyn FnMut(&Call) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let call = match (record.kind(), record.seq()) {
            ("decision", Some(seq)) if super::show::is_forwarded(&record) => {
                self.open.insert(seq, record);
                return Ok(());
            }
            ("decision" | "aggregate", _) => Call { decision: record, outcome: None },
            ("outcome", _) => {
                // The decision of one without may be from before the time that is asked for.
                let decision = record.number(&["of"]).and_then(|of| self.open.remove(&of));
                let Some(decision) = decision else { return Ok(()) };
                Call { decision, outcome: Some(record) }
            }
            _ => {
                told.left_out += 1;
                return Ok(());
            }
        };
        told.written += 1;
        give(&call)
    }

    /// Gives the calls that have no outcome.
    fn end(
        self,
        told: &mut Told,
        give: &mut dyn FnMut(&Call) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        for decision in self.open.into_values() {
            told.written += 1;
            give(&Call { decision, outcome: None })?;
        }
        Ok(())
    }
}

/// The ids, or the beginnings of the hashes, of the policies that were asked.
fn policies(decision: &Record) -> impl Iterator<Item = &str> {
    let policies = decision.members.get("policies").and_then(Value::as_array);
    policies.into_iter().flatten().filter_map(|one| {
        let of = |name| one.get(name).and_then(Value::as_str);
        of("id").or_else(|| of("sha256"))
    })
}

#[cfg(test)]
mod tests;
