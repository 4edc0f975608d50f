//! `opgate audit refused`: what was refused, or would have been, grouped so that a person sees what to do
//! about it before a resource goes from `observe` to `enforce`.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::filtering::FilterArgs;
use super::{LogArgs, must_exist};
use crate::audit::filter::Filter;
use crate::audit::outline::Outline;
use crate::cli::Outcome;
use crate::cli::output::{self, Paint, Style};
use crate::journal::search::{self, Query};
use crate::runtime::clock;

/// The most groups that are told apart; what is beyond is counted together.
const MAX_GROUPS: usize = 50_000;

/// `opgate audit refused`
#[derive(Debug, clap::Args)]
pub struct RefusedArgs {
    /// Only calls to resources in mode `observe`, which were forwarded all the same
    #[arg(long)]
    observed: bool,
    /// How many groups, the largest first
    #[arg(short = 'n', long, default_value_t = 50)]
    lines: usize,
    #[command(flatten)]
    log: LogArgs,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    filter: FilterArgs,
}

/// What refusals are counted by. Nothing in it can be chosen without end by whoever has no token.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    reason: String,
    resource: String,
    action: String,
    agent: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Group {
    count: u64,
    first: String,
    last: String,
    /// The latest of them, for `opgate audit show`.
    example: String,
}

/// Everything that was found.
#[derive(Debug, Default)]
struct Report {
    /// The calls that were looked at.
    calls: u64,
    /// Those that were refused, or would have been.
    refused: u64,
    groups: BTreeMap<Key, Group>,
}

/// Reads the log, and says what was refused.
pub(super) fn run(args: &RefusedArgs) -> anyhow::Result<Outcome> {
    let directory = &args.log.audit;
    must_exist(directory)?;
    let filter = args.filter.filter(directory, clock::now())?;
    let (report, bad) = read(directory, args, &filter)?;
    let text = if args.json {
        format!("{}\n", as_json(&report, args))
    } else {
        as_text(&report, args, Paint::new(output::is_colored()))
    };
    output::print(&text)?;
    if bad > 0 {
        output::complain(&format!("{bad} lines of the log are no records"));
        return Ok(Outcome::Refused);
    }
    Ok(Outcome::Done)
}

fn read(directory: &Path, args: &RefusedArgs, filter: &Filter) -> std::io::Result<(Report, u64)> {
    let mut report = Report::default();
    let add = |part: &mut Report, record: &Outline<'_>| part.add(record, args.observed);
    let join = &mut |part| report.join(part);
    let seen = search::gather(directory, &Query::of(filter), &Report::default, &add, join)?;
    Ok((report, seen.bad))
}

impl Report {
    fn add(&mut self, record: &Outline<'_>, observed: bool) {
        let count = match &*record.kind {
            "decision" if !observed || record.mode == "observe" => 1,
            // Refusals of callers without a valid token that were only counted.
            "aggregate" if !observed => record.count.unwrap_or_default(),
            _ => return,
        };
        self.calls += count;
        if record.verdict() == "allow" {
            return;
        }
        self.refused += count;
        let key = Key {
            reason: record.reason.as_ref().to_owned(),
            resource: record.resource.as_ref().to_owned(),
            action: record.op.action.as_ref().to_owned(),
            agent: record.agent.id.as_ref().to_owned(),
        };
        let (ts, id) = (record.ts.as_ref().to_owned(), record.id.as_ref().to_owned());
        self.group(key, Group { count, first: ts.clone(), last: ts, example: id });
    }

    /// Adds what comes later.
    fn group(&mut self, key: Key, later: Group) {
        let is_full = self.groups.len() >= MAX_GROUPS && !self.groups.contains_key(&key);
        let key = if is_full { Key { reason: key.reason, ..Key::default() } } else { key };
        let group = self.groups.entry(key).or_default();
        group.count += later.count;
        if group.first.is_empty() {
            group.first = later.first;
        }
        (group.last, group.example) = (later.last, later.example);
    }

    /// Adds the part of the log that follows.
    fn join(&mut self, next: Self) {
        self.calls += next.calls;
        self.refused += next.refused;
        for (key, group) in next.groups {
            self.group(key, group);
        }
    }

    /// The groups, the largest first.
    fn sorted(&self) -> Vec<(&Key, &Group)> {
        let mut all: Vec<_> = self.groups.iter().collect();
        all.sort_by_key(|(key, group)| (Reverse(group.count), *key));
        all
    }
}

fn as_json(report: &Report, args: &RefusedArgs) -> Value {
    let groups: Vec<Value> = report
        .sorted()
        .into_iter()
        .take(args.lines)
        .map(|(key, group)| {
            json!({
                "count": group.count, "reason": key.reason, "resource": key.resource,
                "action": key.action, "agent": key.agent, "first": group.first,
                "last": group.last, "example": group.example,
            })
        })
        .collect();
    json!({
        "observed": args.observed, "calls": report.calls, "refused": report.refused,
        "groups": groups, "left_out": report.groups.len().saturating_sub(args.lines),
    })
}

fn as_text(report: &Report, args: &RefusedArgs, paint: Paint) -> String {
    let (calls, refused) = (report.calls, report.refused);
    let what = if args.observed { "observed calls would be refused" } else { "calls were refused" };
    let style = if refused == 0 { Style::Good } else { Style::Warn };
    let mut text = paint.paint(style, &format!("{refused} of {calls} {what}"));
    text.push('\n');
    let sorted = report.sorted();
    let or = |text: &str, other: &str| {
        if text.is_empty() { other.to_owned() } else { output::escaped(text) }
    };
    let rows: Vec<[String; 5]> = sorted
        .iter()
        .take(args.lines)
        .map(|(key, group)| {
            [
                group.count.to_string(),
                output::escaped(&key.reason),
                or(&key.action, "no operation"),
                or(&key.agent, "no verified agent"),
                format!(
                    "{}  {}",
                    output::escaped(group.last.get(..19).unwrap_or_default()),
                    output::escaped(&group.example)
                ),
            ]
        })
        .collect();
    let width = |n: usize| rows.iter().filter_map(|row| row.get(n)).map(String::len).max();
    let widths: Vec<usize> = (0..5).map(|n| width(n).unwrap_or_default()).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(n, (cell, width))| match n {
            0 => format!("{cell:>width$}"),
            _ => format!("{cell:<width$}"),
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    if sorted.len() > args.lines {
        let more = (sorted.len() - args.lines).to_string();
        text.extend(["and ", &more, " more groups: see `-n`\n"]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> RefusedArgs {
        RefusedArgs {
            observed: false,
            lines: 50,
            log: LogArgs { audit: "audit".into() },
            json: false,
            filter: FilterArgs::default(),
        }
    }

    fn decision(seq: u64, decision: &str, mode: Option<&str>, agent: &str) -> Value {
        let mut value = json!({
            "seq": seq, "ts": format!("2026-11-24T08:00:0{seq}.000000Z"), "type": "decision",
            "id": format!("id-{seq}"), "decision": decision, "reason": "policy_denied",
            "resource": "r", "op": {"action": "pay"}, "agent": {"id": agent},
        });
        if let Some(mode) = mode {
            value["mode"] = mode.into();
        }
        value
    }

    /// Of records in two parts.
    fn report(args: &RefusedArgs) -> Report {
        let mut report = Report::default();
        let mut part = Report::default();
        let filter = args.filter.filter(Path::new("nowhere"), clock::now()).unwrap();
        for value in [
            decision(1, "deny", Some("observe"), "a"),
            decision(2, "allow", Some("observe"), "a"),
            decision(3, "deny", Some("observe"), "a"),
            decision(4, "deny", None, "b\u{1b}[2J"),
            json!({"seq": 5, "ts": "2026-11-24T08:00:05.000000Z", "type": "aggregate",
                "reason": "token_absent", "count": 40}),
            json!({"seq": 6, "ts": "2026-11-24T08:00:06.000000Z", "type": "outcome", "of": 1}),
        ] {
            let line = value.to_string();
            let outline = Outline::read(line.as_bytes()).unwrap();
            let into = if outline.seq < 3 { &mut report } else { &mut part };
            if filter.wants(&outline, &line) {
                into.add(&outline, args.observed);
            }
        }
        report.join(part);
        report
    }

    #[test]
    fn refusals_are_counted_by_what_can_be_done_about_them() {
        let all = report(&args());
        assert_eq!((all.calls, all.refused), (44, 43));
        let text = as_text(&all, &args(), Paint::new(false));
        assert_eq!(
            text,
            "43 of 44 calls were refused\n\
             40  token_absent   no operation  no verified agent  2026-11-24T08:00:05\n \
             2  policy_denied  pay           a                  2026-11-24T08:00:03  id-3\n \
             1  policy_denied  pay           b\\u{1b}[2J         2026-11-24T08:00:04  id-4\n"
        );
    }

    #[test]
    fn what_would_have_been_refused_is_told_of_observed_calls_alone() {
        let args = RefusedArgs { observed: true, ..args() };
        let observed = report(&args);
        assert_eq!((observed.calls, observed.refused), (3, 2));
        let told = as_json(&observed, &args);
        assert_eq!(told["groups"].as_array().unwrap().len(), 1);
        assert_eq!(
            told["groups"][0],
            json!({"count": 2, "reason": "policy_denied", "resource": "r", "action": "pay",
                "agent": "a", "first": "2026-11-24T08:00:01.000000Z",
                "last": "2026-11-24T08:00:03.000000Z", "example": "id-3"})
        );
        let of_b = FilterArgs { agent: vec!["b".to_owned()], ..FilterArgs::default() };
        let of_b = RefusedArgs { filter: of_b, ..args };
        assert_eq!(report(&of_b).calls, 0);
    }

    #[test]
    fn there_are_never_more_groups_than_fit() {
        let mut all = Report::default();
        for n in 0..MAX_GROUPS + 10 {
            let line = decision(1, "deny", None, &n.to_string()).to_string();
            all.add(&Outline::read(line.as_bytes()).unwrap(), false);
        }
        assert_eq!(all.groups.len(), MAX_GROUPS + 1);
        assert_eq!(all.refused, u64::try_from(MAX_GROUPS + 10).unwrap());
    }
}
