//! Looking through the log: newest or oldest first, in bounded memory, with no index.
//!
//! What every wanted line must have in it is looked for at the speed of memory, and only lines that have it are
//! read. Segments are passed over by their times. A log is looked through in stretches, two at a time, the
//! first of them short, so that what is near is found at once. A line that is no record is counted where it is
//! come across; whether the log is whole, `journal::verify` says.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fs::File;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::{fmt, io};

use memchr::memmem::Finder;
use memchr::{memchr, memchr_iter, memrchr};

use super::recovery::timestamp;
use super::seek;
use super::seek::{begin_of_line, length, line_from, read_at};
use super::segment::{self, Place};
use crate::audit::filter::Filter;
use crate::audit::line::MAX_LINE;
use crate::audit::outline::Outline;
use crate::model::time::Timestamp;

/// How many stretches are looked through at one time.
const AT_ONCE: usize = 2;
/// The first stretch, and the longest.
const SHORTEST: u64 = 256 * 1024;
const LONGEST: u64 = 16 * 1024 * 1024;
/// So much is in memory of a stretch: little enough for a cache of the processor.
const BLOCK: usize = 512 * 1024;
const _: () = assert!(MAX_LINE < BLOCK / 2, "a block holds the longest line");
/// What stands in the line of every outcome.
const OUTCOME: &str = r#""type":"outcome""#;
/// The length of the time of a record.
const TS: usize = 27;

/// From which end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The latest record first.
    Newest,
    /// The earliest record first.
    Oldest,
}

/// Whether a record is wanted, of which the line is there too.
type Wants<'a> = dyn Fn(&Outline<'_>, &str) -> bool + Sync + 'a;

/// What is looked for.
pub struct Query<'a> {
    needles: Vec<Finder<'static>>,
    /// What stands in lines that need not be read.
    passed_over: Option<Finder<'static>>,
    since: Option<&'a str>,
    until: Option<&'a str>,
    wants: Box<Wants<'a>>,
}

impl<'a> Query<'a> {
    /// The records that `filter` wants.
    pub fn of(filter: &'a Filter) -> Self {
        Self {
            needles: filter.needles().iter().map(|one| Finder::new(&**one).into_owned()).collect(),
            passed_over: (!filter.can_want_outcomes()).then(|| Finder::new(OUTCOME).into_owned()),
            since: filter.since(),
            until: filter.until(),
            wants: Box::new(|record, line| filter.wants(record, line)),
        }
    }

    /// The records with `needle` in their lines that `wants` takes.
    pub fn with(needle: &str, wants: impl Fn(&Outline<'_>) -> bool + Sync + 'a) -> Self {
        Self {
            needles: vec![Finder::new(needle).into_owned()],
            passed_over: None,
            since: None,
            until: None,
            wants: Box::new(move |record, _| wants(record)),
        }
    }

    /// The calls that `filter` wants, and every outcome, whose decision may be one of them; where `later`, also
    /// those after the time that is asked for.
    pub fn of_calls(filter: &'a Filter, later: bool) -> Self {
        let mut query = Self { passed_over: None, ..Self::of(filter) };
        if !query.needles.is_empty() {
            query.needles.push(Finder::new(OUTCOME).into_owned());
        }
        query.until = query.until.filter(|_| !later);
        query.wants = Box::new(move |record, line| {
            let is_outcome = record.kind == "outcome" && (later || filter.spans(&record.ts));
            is_outcome || filter.wants(record, line)
        });
        query
    }

    fn spans(&self, ts: &str) -> bool {
        self.since.is_none_or(|since| ts >= since) && self.until.is_none_or(|until| ts < until)
    }
}

/// A line that was wanted, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The segment.
    pub file: Arc<Path>,
    /// Bytes of the file before the line.
    pub offset: u64,
    /// The line, without its line end.
    pub line: Box<str>,
}

/// What a search came across.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Records that were wanted, given or not.
    pub hits: u64,
    /// Lines that are no records.
    pub bad: u64,
}

/// Gives what is wanted of the log in `directory`, until `give` has enough. At most `most` are given.
pub fn search(
    directory: &Path,
    query: &Query<'_>,
    order: Order,
    most: usize,
    give: &mut dyn FnMut(Hit) -> io::Result<ControlFlow<()>>,
) -> io::Result<Seen> {
    through(Stretches::of(directory, query, order)?, query, most, give)
}

/// How many records of the log in `directory` are wanted.
pub fn count(directory: &Path, query: &Query<'_>) -> io::Result<Seen> {
    gather(directory, query, &|| (), &|(), _| {}, &mut |()| {})
}

/// Gives every record that is wanted to `take`, each stretch of the log to a part of its own that `new` makes, and
/// the parts to `join` in the order of the log.
pub fn gather<T: Send>(
    directory: &Path,
    query: &Query<'_>,
    new: &(dyn Fn() -> T + Sync),
    take: &(dyn Fn(&mut T, &Outline<'_>) + Sync),
    join: &mut dyn FnMut(T),
) -> io::Result<Seen> {
    let mut stretches = Stretches::of(directory, query, Order::Oldest)?;
    let mut seen = Seen::default();
    while let Some(parts) = stretches.look(query, &|_| Part { value: new(), take })? {
        for (part, of_part) in parts {
            seen.add(of_part);
            join(part.value);
        }
    }
    Ok(seen)
}

/// The times of the first and the last record of the log in `directory`; none where there are no records.
pub fn span(directory: &Path) -> io::Result<Option<(Timestamp, Timestamp)>> {
    let places = segment::list(directory)?;
    let (mut first, mut last) = (None, None);
    for place in &places {
        if first.is_none() {
            first = line_from(&File::open(&place.path)?, 0)?.and_then(|line| written_at(&line));
        }
    }
    for place in places.iter().rev() {
        if last.is_none() {
            let line = segment::last_line(&place.path)?;
            last = line.and_then(|(_, line, _)| written_at(&line));
        }
    }
    Ok(first.zip(last))
}

fn written_at(line: &[u8]) -> Option<Timestamp> {
    timestamp(&time(line)?)
}

/// The first record behind the one at `offset` of the segment `file` that is wanted.
pub fn next_after(
    directory: &Path,
    query: &Query<'_>,
    (file, offset): (&Path, u64),
) -> io::Result<Option<Hit>> {
    let mut stretches = Stretches::of(directory, query, Order::Oldest)?;
    stretches.places.retain({
        let mut is_reached = false;
        move |place| {
            is_reached |= place.path == file;
            is_reached
        }
    });
    stretches.begin = offset;
    let mut found = None;
    through(stretches, query, 1, &mut |hit| {
        found = Some(hit);
        Ok(ControlFlow::Break(()))
    })?;
    Ok(found)
}

fn through(
    mut stretches: Stretches<'_>,
    query: &Query<'_>,
    most: usize,
    give: &mut dyn FnMut(Hit) -> io::Result<ControlFlow<()>>,
) -> io::Result<Seen> {
    let (mut seen, mut left) = (Seen::default(), most);
    while left > 0 {
        let order = stretches.order;
        let hits = |stretch: &Stretch| Hits::new(stretch, order, left);
        let Some(found) = stretches.look(query, &hits)? else { break };
        for (hits, of_part) in found {
            seen.add(of_part);
            for hit in hits.sorted().take(left) {
                left -= 1;
                if give(hit)?.is_break() {
                    return Ok(seen);
                }
            }
        }
    }
    Ok(seen)
}

impl Seen {
    fn add(&mut self, other: Self) {
        self.hits = self.hits.saturating_add(other.hits);
        self.bad = self.bad.saturating_add(other.bad);
    }
}

/// The line of `seq` in the log in `directory`, found by the names of the segments and by halves of one.
pub fn at_seq(directory: &Path, seq: u64) -> io::Result<Option<Hit>> {
    let places = segment::list(directory)?;
    let place = places.iter().rev().find(|place| place.first_seq <= seq);
    let Some(place) = place else { return Ok(None) };
    let file = File::open(&place.path)?;
    let end = file.metadata()?.len();
    let is_there = |line: &[u8]| Some(Outline::read(line)?.seq >= seq);
    if let Some(offset) = seek::first(&file, end, &is_there)?
        && let Some(line) = line_from(&file, offset)?
        && Outline::read(&line).is_some_and(|record| record.seq == seq)
        && let Ok(line) = String::from_utf8(line)
    {
        return Ok(Some(Hit { file: place.path.as_path().into(), offset, line: line.into() }));
    }
    // Where the numbers do not follow each other, the line may stand anywhere.
    let query = Query::with(&format!(r#""seq":{seq},"#), |record| record.seq == seq);
    let mut found = None;
    search(directory, &query, Order::Newest, 1, &mut |hit| {
        found = Some(hit);
        Ok(ControlFlow::Break(()))
    })?;
    Ok(found)
}

/// A part of a segment: the lines that begin in it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stretch {
    file: Arc<Path>,
    from: u64,
    to: u64,
}

/// What becomes of the records of a stretch that are wanted.
trait Sink: Send {
    fn take(&mut self, offset: u64, record: &Outline<'_>, line: &str);

    /// Whether the rest of the stretch need not be looked at.
    fn has_enough(&self) -> bool {
        false
    }
}

/// The lines themselves, at most `most` of them: the last, or the first, as the order says.
struct Hits {
    file: Arc<Path>,
    order: Order,
    most: usize,
    lines: VecDeque<Hit>,
}

impl Hits {
    fn new(stretch: &Stretch, order: Order, most: usize) -> Self {
        Self { file: Arc::clone(&stretch.file), order, most, lines: VecDeque::new() }
    }

    /// In the order that is asked for.
    fn sorted(mut self) -> impl Iterator<Item = Hit> {
        if self.order == Order::Newest {
            self.lines.make_contiguous().reverse();
        }
        self.lines.into_iter()
    }
}

impl Sink for Hits {
    fn take(&mut self, offset: u64, _: &Outline<'_>, line: &str) {
        if self.lines.len() >= self.most {
            self.lines.pop_front();
        }
        self.lines.push_back(Hit { file: Arc::clone(&self.file), offset, line: line.into() });
    }

    fn has_enough(&self) -> bool {
        self.order == Order::Oldest && self.lines.len() >= self.most
    }
}

/// What somebody makes of them.
struct Part<'a, T> {
    value: T,
    take: &'a (dyn Fn(&mut T, &Outline<'_>) + Sync),
}

impl<T: Send> Sink for Part<'_, T> {
    fn take(&mut self, _: u64, record: &Outline<'_>, _: &str) {
        (self.take)(&mut self.value, record);
    }
}

/// The stretches of a log, in order.
struct Stretches<'a> {
    /// Segments that are still to be looked through.
    places: VecDeque<Place>,
    /// Where the first of them begins to be of interest.
    begin: u64,
    current: Option<Stretch>,
    length: u64,
    order: Order,
    query: &'a Query<'a>,
}

impl<'a> Stretches<'a> {
    fn of(directory: &Path, query: &'a Query<'a>, order: Order) -> io::Result<Self> {
        let places = segment::list(directory)?.into();
        Ok(Self { places, begin: 0, current: None, length: SHORTEST, order, query })
    }

    /// Looks through the next stretches at one time; none where there is no further.
    fn look<S: Sink>(
        &mut self,
        query: &Query<'_>,
        sink: &(dyn Fn(&Stretch) -> S + Sync),
    ) -> io::Result<Option<Vec<(S, Seen)>>> {
        let mut stretches = Vec::with_capacity(AT_ONCE);
        while stretches.len() < AT_ONCE
            && let Some(stretch) = self.advance()?
        {
            stretches.push(stretch);
        }
        let Some((own, others)) = stretches.split_first() else { return Ok(None) };
        std::thread::scope(|scope| {
            let others: Vec<_> = others
                .iter()
                .map(|stretch| scope.spawn(move || stretch.look(query, sink(stretch))))
                .collect();
            let mut found = vec![own.look(query, sink(own))?];
            for other in others {
                let ended = || io::Error::other("a thread that looked through the log ended early");
                found.push(other.join().map_err(|_panic| ended())??);
            }
            Ok(Some(found))
        })
    }

    fn advance(&mut self) -> io::Result<Option<Stretch>> {
        loop {
            if let Some(rest) = &mut self.current {
                let length = self.length.min(rest.to.saturating_sub(rest.from));
                if length > 0 {
                    self.length = self.length.saturating_mul(2).min(LONGEST);
                    return Ok(Some(rest.take(length, self.order)));
                }
                self.current = None;
            }
            let next = match self.order {
                Order::Newest => self.places.pop_back(),
                Order::Oldest => self.places.pop_front(),
            };
            let Some(place) = next else { return Ok(None) };
            self.current = window(place, self.query)?;
            let begin = std::mem::take(&mut self.begin);
            if let Some(rest) = &mut self.current {
                rest.from = rest.from.max(begin);
            }
        }
    }
}

/// The part of a segment that has the times that are asked for.
///
/// Times do not go back within an epoch. They may from one to the next, so of a segment with several nothing
/// is left out by its times.
fn window(place: Place, query: &Query<'_>) -> io::Result<Option<Stretch>> {
    let file = File::open(&place.path)?;
    let to = file.metadata()?.len();
    let whole = Stretch { file: Arc::from(place.path), from: 0, to };
    if query.since.is_none() && query.until.is_none() {
        return Ok(Some(whole));
    }
    let (Some(first), Some((_, last, true))) =
        (line_from(&file, 0)?, segment::last_line(&whole.file)?)
    else {
        return Ok(Some(whole));
    };
    let (Some(first), Some(last)) = (Outline::read(&first), Outline::read(&last)) else {
        return Ok(Some(whole));
    };
    if first.ep != last.ep || first.ts > last.ts {
        return Ok(Some(whole));
    }
    let bound = |bound: Option<&str>, other: u64| match bound {
        None => Ok(other),
        Some(bound) => {
            let is_there = |line: &[u8]| Some(*time(line)? >= *bound);
            Ok::<_, io::Error>(seek::first(&file, to, &is_there)?.unwrap_or(other))
        }
    };
    let from = match query.since {
        Some(since) if *last.ts < *since => to,
        since => bound(since, 0)?,
    };
    let to = match query.until {
        Some(until) if *first.ts >= *until => 0,
        until => bound(until, to)?,
    };
    Ok((from < to).then_some(Stretch { from, to, ..whole }))
}

/// The time of the record in `line`, without reading more of it where it has the form that the writer gives it.
fn time(line: &[u8]) -> Option<Cow<'_, str>> {
    match quick_time(line) {
        Some(ts) => Some(ts.into()),
        None => Some(Outline::read(line)?.ts),
    }
}

fn quick_time(line: &[u8]) -> Option<&str> {
    let rest = line.strip_prefix(br#"{"v":1,"seq":"#)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let ts = rest.get(digits..)?.strip_prefix(br#","ts":""#)?;
    (ts.get(TS) == Some(&b'"')).then(|| str::from_utf8(ts.get(..TS)?).ok()).flatten()
}

impl Stretch {
    /// Takes so much of it from the end at which one begins.
    fn take(&mut self, length: u64, order: Order) -> Self {
        let mut taken = self.clone();
        match order {
            Order::Newest => {
                taken.from = self.to.saturating_sub(length);
                self.to = taken.from;
            }
            Order::Oldest => {
                taken.to = self.from.saturating_add(length);
                self.from = taken.to;
            }
        }
        taken
    }

    /// Gives what is wanted of it to `sink`.
    fn look<S: Sink>(&self, query: &Query<'_>, sink: S) -> io::Result<(S, Seen)> {
        let file = File::open(&self.file)?;
        let mut look = Look { query, sink, seen: Seen::default() };
        let mut buffer = vec![0; BLOCK];
        let mut at = begin_of_line(&file, self.from, self.to)?;
        while let Some(begin) = at.filter(|at| *at < self.to) {
            let read = read_at(&file, &mut buffer, begin)?;
            let block = buffer.get(..read).unwrap_or_default();
            let Some(end) = memrchr(b'\n', block) else {
                // What is being written; or what is longer than any record.
                if read < BLOCK {
                    break;
                }
                look.seen.bad = look.seen.bad.saturating_add(1);
                at = begin_of_line(&file, begin.saturating_add(length(block)), self.to)?;
                continue;
            };
            // The last line that begins in the stretch ends where it ends.
            let room = usize::try_from(self.to.saturating_sub(begin)).unwrap_or(usize::MAX);
            let last = room.saturating_sub(1);
            let cut = block.get(last..).and_then(|rest| memchr(b'\n', rest));
            let end = cut.map_or(end, |cut| last.saturating_add(cut));
            let lines = block.get(..=end).unwrap_or_default();
            look.block(begin, lines);
            if look.sink.has_enough() {
                break;
            }
            at = Some(begin.saturating_add(length(lines)));
        }
        Ok((look.sink, look.seen))
    }
}

/// A look through the blocks of one stretch.
struct Look<'a, S> {
    query: &'a Query<'a>,
    sink: S,
    seen: Seen,
}

impl<S: Sink> Look<'_, S> {
    /// Looks through whole lines, the first of which begins at `offset` of the file.
    fn block(&mut self, offset: u64, lines: &[u8]) {
        let query = self.query;
        if let [needle] = &*query.needles {
            let mut from = 0;
            while let Some(at) = lines.get(from..).and_then(|rest| needle.find(rest)) {
                let at = from.saturating_add(at);
                let before = lines.get(..at).unwrap_or_default();
                let begin = memrchr(b'\n', before).map_or(0, |end| end.saturating_add(1));
                let behind = lines.get(at..).and_then(|rest| memchr(b'\n', rest));
                let end = behind.map_or(lines.len(), |behind| at.saturating_add(behind));
                self.line(offset, begin, lines.get(begin..end).unwrap_or_default());
                from = end.saturating_add(1);
            }
            return;
        }
        let mut begin = 0;
        for end in memchr_iter(b'\n', lines) {
            let line = lines.get(begin..end).unwrap_or_default();
            let has = |needle: &Finder<'_>| needle.find(line).is_some();
            if query.needles.is_empty() || query.needles.iter().any(has) {
                self.line(offset, begin, line);
            }
            begin = end.saturating_add(1);
        }
    }

    fn line(&mut self, offset: u64, begin: usize, line: &[u8]) {
        let query = self.query;
        if self.sink.has_enough()
            || quick_time(line).is_some_and(|ts| !query.spans(ts))
            || query.passed_over.as_ref().is_some_and(|one| one.find(line).is_some())
        {
            return;
        }
        let record = (line.len() <= MAX_LINE).then(|| Outline::read(line)).flatten();
        let (Some(record), Ok(text)) = (record, str::from_utf8(line)) else {
            self.seen.bad = self.seen.bad.saturating_add(1);
            return;
        };
        if (query.wants)(&record, text) {
            self.seen.hits = self.seen.hits.saturating_add(1);
            let offset = offset.saturating_add(u64::try_from(begin).unwrap_or(u64::MAX));
            self.sink.take(offset, &record, text);
        }
    }
}

impl fmt::Debug for Query<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Query").field("since", &self.since).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
