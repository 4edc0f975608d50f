//! The log as a table (RFC 4180): a row for each call, or for many refusals that were counted together.

use std::io::Write;

use super::policies;
use crate::journal::reader::{Call, Record};

/// Where what stands in a column is read.
enum From {
    /// A member of the decision, the first of these that is there.
    Decision(&'static [&'static [&'static str]]),
    /// A member of the outcome.
    Outcome(&'static [&'static str]),
    Policies,
    Count,
}

/// The columns, in their order. It stands in the manual, and is only ever added to at the end.
const COLUMNS: [(&str, From); 34] = [
    ("time", From::Decision(&[&["ts"]])),
    ("log", From::Decision(&[&["log"]])),
    ("seq", From::Decision(&[&["seq"]])),
    ("count", From::Count),
    ("id", From::Decision(&[&["id"]])),
    ("decision", From::Decision(&[&["decision"]])),
    ("mode", From::Decision(&[&["mode"]])),
    ("reason", From::Decision(&[&["reason"]])),
    ("about", From::Decision(&[&["about"], &["place"]])),
    ("agent", From::Decision(&[&["agent", "id"]])),
    ("agent_instance", From::Decision(&[&["agent", "instance"]])),
    ("user", From::Decision(&[&["user", "tag"]])),
    ("client_id", From::Decision(&[&["client_id"]])),
    ("issuer", From::Decision(&[&["iss"]])),
    ("token_id", From::Decision(&[&["jti"]])),
    ("evidence_id", From::Decision(&[&["evidence", "id"]])),
    ("confirmed_at", From::Decision(&[&["evidence", "confirmed_at"]])),
    ("displayed_summary", From::Decision(&[&["evidence", "displayed_summary"]])),
    ("delegation_depth", From::Decision(&[&["delegation", "depth"]])),
    ("policies", From::Policies),
    ("resource", From::Decision(&[&["resource"]])),
    ("protocol", From::Decision(&[&["op", "protocol"]])),
    ("action", From::Decision(&[&["op", "action"]])),
    ("method", From::Decision(&[&["http", "method"]])),
    ("path", From::Decision(&[&["http", "path"]])),
    ("host", From::Decision(&[&["http", "host"]])),
    ("client_address", From::Decision(&[&["client", "address"], &["source"]])),
    ("upstream", From::Decision(&[&["upstream"]])),
    ("trace_id", From::Decision(&[&["trace_id"]])),
    ("decision_us", From::Decision(&[&["us"]])),
    ("result", From::Outcome(&["result"])),
    ("status", From::Outcome(&["http", "status"])),
    ("outcome_us", From::Outcome(&["us"])),
    ("error", From::Outcome(&["error"])),
];

/// A table that is being written.
pub(super) struct Table<W: Write> {
    rows: csv::Writer<W>,
}

impl<W: Write> Table<W> {
    /// The table with its first row, the names of the columns.
    pub(super) fn new(into: W) -> anyhow::Result<Self> {
        let mut rows =
            csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(into);
        rows.write_record(COLUMNS.iter().map(|(name, _)| name))?;
        Ok(Self { rows })
    }

    /// Adds a call.
    pub(super) fn row(&mut self, call: &Call) -> anyhow::Result<()> {
        let cells = COLUMNS.iter().map(|(_, from)| harmless(&cell(call, from)));
        Ok(self.rows.write_record(cells)?)
    }

    /// Hands on what is not written yet.
    pub(super) fn end(mut self) -> anyhow::Result<()> {
        Ok(self.rows.flush()?)
    }
}

fn cell(call: &Call, from: &From) -> String {
    let decision = &call.decision;
    match from {
        From::Decision(paths) => {
            let mut values = paths.iter().map(|path| plain(decision, path));
            values.find(|value| !value.is_empty()).unwrap_or_default()
        }
        From::Outcome(path) => {
            call.outcome.as_ref().map_or_else(String::new, |outcome| plain(outcome, path))
        }
        From::Policies => policies(decision).collect::<Vec<_>>().join(" "),
        From::Count => decision.number(&["count"]).unwrap_or(1).to_string(),
    }
}

fn plain(record: &Record, path: &[&str]) -> String {
    record.number(path).map_or_else(|| record.text(path).to_owned(), |number| number.to_string())
}

/// A spreadsheet takes what begins so for a formula, and an agent may have chosen it: it is told as text by an
/// apostrophe before it.
pub(super) fn harmless(cell: &str) -> String {
    let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    if is_formula { format!("'{cell}") } else { cell.to_owned() }
}
