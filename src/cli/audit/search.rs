//! `opgate audit search`: the records that fit, the latest first.

use std::io::{self, ErrorKind, Write as _};
use std::ops::ControlFlow;

use serde_json::json;

use super::filtering::FilterArgs;
use super::{LogArgs, line, must_exist};
use crate::cli::Outcome;
use crate::cli::output::{self, Paint};
use crate::journal::reader;
use crate::journal::search::{self, Order, Query, Seen};
use crate::runtime::clock;

/// `opgate audit search`
#[derive(Debug, clap::Args)]
pub struct SearchArgs {
    /// How many records at most; 0 is all
    #[arg(short = 'n', long, default_value_t = 100)]
    limit: usize,
    /// Begin with the earliest
    #[arg(long)]
    oldest_first: bool,
    /// Only how many there are
    #[arg(long)]
    count: bool,
    #[command(flatten)]
    log: LogArgs,
    /// The lines as they stand in the log
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    filter: FilterArgs,
}

/// Looks through the log, and shows what fits.
pub(super) fn run(args: &SearchArgs) -> anyhow::Result<Outcome> {
    let directory = &args.log.audit;
    must_exist(directory)?;
    let filter = args.filter.filter(directory, clock::now())?;
    let query = Query::of(&filter);
    let seen = if args.count {
        let seen = search::count(directory, &query)?;
        let hits = seen.hits;
        let text = if args.json { json!({ "count": hits }).to_string() } else { hits.to_string() };
        output::print(&format!("{text}\n"))?;
        seen
    } else {
        shown(args, &query)?
    };
    if seen.bad > 0 {
        output::complain(&format!(
            "{} lines that were come across are no records: see `opgate audit verify`",
            seen.bad
        ));
        return Ok(Outcome::Refused);
    }
    Ok(Outcome::Done)
}

fn shown(args: &SearchArgs, query: &Query<'_>) -> io::Result<Seen> {
    let paint = Paint::new(output::is_colored());
    let order = if args.oldest_first { Order::Oldest } else { Order::Newest };
    let limit = if args.limit == 0 { usize::MAX } else { args.limit };
    let (mut shown, mut has_more) = (0, false);
    let mut out = io::stdout().lock();
    // One more than is shown says that there are more.
    let most = limit.saturating_add(1);
    let seen = search::search(&args.log.audit, query, order, most, &mut |hit| {
        if shown == limit {
            has_more = true;
            return Ok(ControlFlow::Break(()));
        }
        shown += 1;
        let read = reader::read(&hit.file, hit.offset, hit.line.as_bytes());
        match out.write_all(line(&read, args.json, paint).as_bytes()) {
            // A reader that has gone away has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
            written => written.map(ControlFlow::Continue),
        }
    })?;
    out.flush().or_else(|error| match error.kind() {
        ErrorKind::BrokenPipe => Ok(()),
        _ => Err(error),
    })?;
    match (shown, has_more) {
        (0, _) => output::complain("no record fits"),
        (_, true) => {
            output::complain(&format!("there are more than these {shown}: see `--limit`"));
        }
        _ => {}
    }
    Ok(seen)
}
