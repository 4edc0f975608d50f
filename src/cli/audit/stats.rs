//! `opgate audit stats`: what the log comes to, by whom and what, over time.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::filtering::FilterArgs;
use super::{LogArgs, duration, must_exist};
use crate::audit::filter::Filter;
use crate::audit::tally::{By, Count, Frame, Tally};
use crate::cli::Outcome;
use crate::cli::output::{self, Paint, Style};
use crate::journal::search::{self, Query};
use crate::model::date;
use crate::runtime::clock;

/// How many values of each an overview shows.
const FEW: usize = 5;
/// How many are shown of one.
const MANY: usize = 20;
/// Bars, from the lowest.
const BARS: [char; 5] = ['▁', '▂', '▃', '▅', '▇'];

/// `opgate audit stats`
#[derive(Debug, clap::Args)]
pub struct StatsArgs {
    /// By what to count; without it, an overview
    #[arg(long, value_enum, value_name = "NAME")]
    by: Vec<Name>,
    /// How many values of each, the most frequent first
    #[arg(short = 'n', long)]
    lines: Option<usize>,
    #[command(flatten)]
    log: LogArgs,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    filter: FilterArgs,
}

/// What calls can be counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Name {
    /// The action of the operation
    #[value(alias = "operation")]
    Action,
    /// The agent
    Agent,
    /// The client
    Client,
    /// What was decided
    Decision,
    /// The policies that were asked; a call counts for each
    Policy,
    /// Why it was decided so
    Reason,
    /// The resource
    Resource,
    /// The person, as a keyed hash
    User,
}

impl From<Name> for By {
    fn from(name: Name) -> Self {
        match name {
            Name::Action => Self::Action,
            Name::Agent => Self::Agent,
            Name::Client => Self::Client,
            Name::Decision => Self::Decision,
            Name::Policy => Self::Policy,
            Name::Reason => Self::Reason,
            Name::Resource => Self::Resource,
            Name::User => Self::User,
        }
    }
}

/// Counts, and shows what came of it.
pub(super) fn run(args: &StatsArgs) -> anyhow::Result<Outcome> {
    let directory = &args.log.audit;
    must_exist(directory)?;
    let filter = args.filter.filter(directory, clock::now())?;
    let Some(frame) = frame(directory, &filter)? else {
        output::complain("the log has no records");
        return Ok(Outcome::Done);
    };
    let by: Vec<By> = match &*args.by {
        [] => By::OVERVIEW.to_vec(),
        names => names.iter().map(|name| By::from(*name)).collect(),
    };
    let (tally, bad) = counted(directory, &filter, &frame, &by)?;
    let lines = args.lines.unwrap_or(if args.by.is_empty() { FEW } else { MANY });
    let text = if args.json {
        format!("{}\n", as_json(&tally, &frame, lines))
    } else {
        as_text(&tally, &frame, lines, Paint::new(output::is_colored()))
    };
    output::print(&text)?;
    if bad > 0 {
        output::complain(&format!("{bad} lines of the log are no records"));
        return Ok(Outcome::Refused);
    }
    Ok(Outcome::Done)
}

/// The time that is asked for, as far as there are records.
fn frame(directory: &Path, filter: &Filter) -> io::Result<Option<Arc<Frame>>> {
    let asked = |text: Option<&str>| text.and_then(date::rfc3339);
    let Some((first, last)) = search::span(directory)? else { return Ok(None) };
    let first = asked(filter.since()).map_or(first, |since| since.max(first));
    let last = asked(filter.until()).map_or(last, |until| until.min(last));
    Ok(Some(Arc::new(Frame::over(first, last))))
}

fn counted(
    directory: &Path,
    filter: &Filter,
    frame: &Arc<Frame>,
    by: &[By],
) -> io::Result<(Tally, u64)> {
    // Where nothing is asked but about the time, every outcome is of a call that counts, or of one from before.
    let new = || Tally::new(Arc::clone(frame), by, filter.is_of_time_alone());
    let (mut tally, query) = (new(), Query::of_calls(filter, false));
    let seen = search::gather(directory, &query, &new, &Tally::add, &mut |part| tally.join(part))?;
    Ok((tally, seen.bad))
}

fn as_json(tally: &Tally, frame: &Frame, lines: usize) -> Value {
    let all = tally.sorted();
    let by = all.iter().map(|(by, groups)| {
        let values = groups.iter().take(lines).map(|(value, count)| {
            json!({ "value": value, "count": count.total, "over_time": count.bars })
        });
        let told = json!({
            "values": values.collect::<Vec<_>>(),
            "left_out": groups.len().saturating_sub(lines),
        });
        (by.name().to_owned(), told)
    });
    let by: serde_json::Map<String, Value> = by.collect();
    let took = &tally.took;
    json!({
        "calls": tally.calls, "allowed": tally.allowed.total, "refused": tally.refused.total,
        "bar_seconds": frame.width().as_secs(), "bars": frame.begins(),
        "over_time": { "allowed": tally.allowed.bars, "refused": tally.refused.bars },
        "took_us": {
            "calls": took.count, "p50": took.within(500), "p95": took.within(950),
            "p99": took.within(990), "longest": took.longest,
        },
        "by": by,
    })
}

fn as_text(tally: &Tally, frame: &Frame, lines: usize, paint: Paint) -> String {
    let begin = frame.begins().first().and_then(|begin| begin.get(..19)).unwrap_or_default();
    let bar = width(frame.width().as_secs());
    let mut text = format!("{} calls; bars of {bar} from {begin}Z on\n", tally.calls);
    let row = |count: &Count, value: &str| {
        let (digits, share) = (tally.calls.to_string().len(), share(count.total, tally.calls));
        format!("{:>digits$} {share:>5} %  {}  {value}\n", count.total, picture(&count.bars))
    };
    text += &row(&tally.allowed, &paint.paint(Style::Good, "allowed"));
    text += &row(&tally.refused, &paint.paint(Style::Bad, "refused"));
    if tally.took.count > 0 {
        let within = |per_mille| tally.took.within(per_mille).map(duration).unwrap_or_default();
        let (p50, p95, p99) = (within(500), within(950), within(990));
        let longest = duration(tally.took.longest);
        writeln!(text, "took {p50} (p50), {p95} (p95), {p99} (p99), {longest} (longest)")
            .unwrap_or(());
    }
    for (by, groups) in tally.sorted() {
        writeln!(text, "\n{}", paint.paint(Style::Faint, by.name())).unwrap_or(());
        for (value, count) in groups.iter().take(lines) {
            let value = if value.is_empty() { "none".to_owned() } else { output::escaped(value) };
            text += &row(count, &value);
        }
        if groups.len() > lines {
            writeln!(text, "and {} more: see `-n`", groups.len() - lines).unwrap_or(());
        }
    }
    text
}

/// The part that `count` is of `all`, in per cent with one digit behind the point.
fn share(count: u64, all: u64) -> String {
    let per_mille = (u128::from(count) * 1_000 + u128::from(all) / 2) / u128::from(all.max(1));
    format!("{}.{}", per_mille / 10, per_mille % 10)
}

/// A bar for each count, the highest for the largest. Where there is nothing, nothing is drawn.
fn picture(counts: &[u64]) -> String {
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let bar = |count: &u64| {
        // The lowest bar is for one already.
        let level = u128::from(*count) * u128::try_from(BARS.len()).unwrap_or(1);
        let level = level.div_ceil(u128::from(most)).checked_sub(1);
        let level = level.and_then(|level| usize::try_from(level).ok());
        level.and_then(|level| BARS.get(level)).copied().unwrap_or(' ')
    };
    counts.iter().map(bar).collect()
}

/// A width of bars as people read it.
fn width(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "min")];
    let unit = units.into_iter().find(|(unit, _)| seconds.is_multiple_of(*unit));
    let (unit, name) = unit.unwrap_or((1, "s"));
    format!("{} {name}", seconds / unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::outline::Outline;
    use crate::model::time::Timestamp;

    fn record(line: &str, ts: &str) -> Outline<'static> {
        let line = format!(r#"{{"seq":1,"ts":"2026-11-23T14:13:{ts}.000000Z",{line}}}"#);
        Outline::read(Box::leak(line.into_boxed_str()).as_bytes()).unwrap()
    }

    #[test]
    fn a_picture_is_drawn_of_counts_and_shares() {
        assert_eq!(picture(&[0, 1, 20, 21, 50, 100]), " ▁▁▂▃▇");
        assert_eq!((picture(&[]), picture(&[0])), (String::new(), " ".to_owned()));
        for (count, all, expected) in
            [(0, 0, "0.0"), (1, 3, "33.3"), (2, 3, "66.7"), (3, 3, "100.0"), (1, 9_999, "0.0")]
        {
            assert_eq!(share(count, all), expected);
        }
        for (seconds, expected) in
            [(1, "1 s"), (30, "30 s"), (300, "5 min"), (10_800, "3 h"), (604_800, "7 d")]
        {
            assert_eq!(width(seconds), expected);
        }
    }

    #[test]
    fn what_is_shown_is_counted_and_cannot_act_on_a_terminal() {
        let at = |second: u64| Timestamp::from_seconds(1_795_443_200 + second);
        let frame = Arc::new(Frame::over(at(0), at(3)));
        let mut tally = Tally::new(Arc::clone(&frame), &[By::Agent], true);
        for (line, ts) in [
            (r#""type":"decision","decision":"allow","agent":{"id":"a\u001b[2J"}"#, "20"),
            (r#""type":"decision","decision":"allow","agent":{"id":"b"}"#, "22"),
            (r#""type":"decision","decision":"allow","agent":{"id":"b"}"#, "23"),
            (r#""type":"aggregate","decision":"deny","count":5"#, "23"),
            (r#""type":"outcome","of":1,"us":1834"#, "23"),
        ] {
            tally.add(&record(line, ts));
        }
        let text = as_text(&tally, &frame, 2, Paint::new(false));
        assert_eq!(
            text,
            "8 calls; bars of 1 s from 2026-11-23T14:13:20Z on\n\
             3  37.5 %  ▇ ▇▇  allowed\n\
             5  62.5 %     ▇  refused\n\
             took 1834 µs (p50), 1834 µs (p95), 1834 µs (p99), 1834 µs (longest)\n\n\
             agent\n\
             5  62.5 %     ▇  none\n\
             2  25.0 %    ▇▇  b\n\
             and 1 more: see `-n`\n"
        );
        let told = as_json(&tally, &frame, 5);
        assert_eq!(told["by"]["agent"]["values"][2]["value"], "a\u{1b}[2J");
        assert_eq!(told["over_time"]["refused"], json!([0, 0, 0, 5]));
        assert_eq!(told["took_us"]["p99"], 1834);
    }
}
