//! Refusals that cost their caller nothing: written one by one up to a budget for each source, and
//! counted beyond it, so that garbage cannot fill the disk and thereby stop the service (`audit.md` §2).
//!
//! Without a valid token the source is an address. Calls that a cap refuses have a token, and that is
//! their source: whoever goes on calling when nothing is left spends no budget but that token's.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::audit::record::Aggregate;
use crate::model::hex::hex;
use crate::model::reason::Reason;
use crate::model::time::Timestamp;

/// The most sources that have a budget of their own.
pub const MAX_SOURCES: usize = 10_000;

/// The longest that a count stays unwritten.
pub const WRITE_AFTER: Duration = Duration::from_secs(10);

const WINDOW: Duration = Duration::from_mins(1);

/// How a refusal gets into the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// Counted; its record is the `aggregate` that follows.
    Aggregated,
    /// As a decision of its own.
    OneByOne,
}

/// Refusals that were counted, to be written as one `aggregate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The address, the IPv6 network, `unix`, `token sha256:…` for a valid token, or `other` for all
    /// sources beyond the bound.
    pub source: Box<str>,
    /// Why they were refused.
    pub reason: Reason,
    /// How many.
    pub count: u64,
    /// The first.
    pub start: Timestamp,
    /// The last.
    pub end: Timestamp,
}

impl Counted {
    /// The record of them.
    pub fn record(&self) -> Aggregate<'_> {
        Aggregate {
            reason: self.reason,
            source: &self.source,
            count: self.count,
            start: self.start,
            end: self.end,
        }
    }
}

/// What refused callers may write, by source.
#[derive(Debug)]
pub struct Floods {
    per_minute: u32,
    /// Held for a look-up and an addition; never across I/O.
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    budgets: HashMap<Source, Budget>,
    counts: BTreeMap<(Source, &'static str), Count>,
    /// When full, the table was last searched for budgets of minutes gone by.
    swept: Timestamp,
}

#[derive(Clone, Copy, Debug)]
struct Budget {
    begun: Timestamp,
    used: u32,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    reason: Reason,
    times: u64,
    start: Timestamp,
    end: Timestamp,
}

/// Who shares a budget. Whoever has a /64 has all of its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// An address of IPv4, or a network of IPv6.
    Address(IpAddr),
    /// All that are beyond the bound.
    Other,
    /// A valid token, by the SHA-256 that the records of its calls have.
    Token([u8; 32]),
    /// A caller on a socket of this machine.
    Unix,
}

/// The source that `address` belongs to: of an IPv6 address the network of 64 bits, which is what one
/// customer is given at the least.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl Source {
    /// The source of a caller of whom nothing is known but the `address`.
    pub fn of(address: Option<IpAddr>) -> Self {
        address.map_or(Self::Unix, |address| Self::Address(network(address)))
    }

    fn text(self) -> Box<str> {
        match self {
            Self::Address(IpAddr::V4(v4)) => v4.to_string().into(),
            Self::Address(IpAddr::V6(v6)) => format!("{v6}/64").into(),
            Self::Other => "other".into(),
            Self::Token(sha256) => format!("token sha256:{}", hex(&sha256)).into(),
            Self::Unix => "unix".into(),
        }
    }
}

impl Floods {
    /// Each source may write `per_minute` refusals one by one.
    pub fn new(per_minute: u32) -> Self {
        Self { per_minute, table: Mutex::default() }
    }

    /// Says how a refusal is to be recorded, and counts it if it is not to be written by itself.
    pub fn refused(&self, now: Timestamp, source: Source, reason: Reason) -> Recorded {
        let mut table = self.table();
        let source = match table.budget(source, now) {
            Some(budget) if budget.used < self.per_minute => {
                budget.used = budget.used.saturating_add(1);
                return Recorded::OneByOne;
            }
            Some(_) => source,
            None => Source::Other,
        };
        table.count(source, now, reason);
        Recorded::Aggregated
    }

    /// The counts that have waited long enough, which the caller now writes.
    pub fn due(&self, now: Timestamp) -> Vec<Counted> {
        self.take(|count| now.since(count.start) >= WRITE_AFTER)
    }

    /// All counts, for the end of the log.
    pub fn drain(&self) -> Vec<Counted> {
        self.take(|_| true)
    }

    fn take(&self, is_due: impl Fn(&Count) -> bool) -> Vec<Counted> {
        let due = self.table().counts.extract_if(.., |_, count| is_due(count)).collect::<Vec<_>>();
        due.into_iter()
            .map(|((source, _), Count { reason, times: count, start, end })| Counted {
                source: source.text(),
                reason,
                count,
                start,
                end,
            })
            .collect()
    }

    /// A panic elsewhere leaves the table consistent: each change to it is one step.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// The budget of `source` for the minute that `now` is in; `None` when the table is full.
    fn budget(&mut self, source: Source, now: Timestamp) -> Option<&mut Budget> {
        if self.budgets.len() >= MAX_SOURCES && !self.budgets.contains_key(&source) {
            // Searched once in a second at most: a flood of new sources must stay cheap.
            if now.since(self.swept) < Duration::from_secs(1) {
                return None;
            }
            self.swept = now;
            self.budgets.retain(|_, budget| now.since(budget.begun) < WINDOW);
            if self.budgets.len() >= MAX_SOURCES {
                return None;
            }
        }
        let budget = self.budgets.entry(source).or_insert(Budget { begun: now, used: 0 });
        if now.since(budget.begun) >= WINDOW {
            *budget = Budget { begun: now, used: 0 };
        }
        Some(budget)
    }

    /// At most one count for each source with a budget, `other` and each reason: when there are too many,
    /// a new one goes to `other`.
    fn count(&mut self, source: Source, now: Timestamp, reason: Reason) {
        let full =
            self.counts.len() >= MAX_SOURCES && !self.counts.contains_key(&(source, reason.code()));
        let source = if full { Source::Other } else { source };
        let fresh = Count { reason, times: 0, start: now, end: now };
        let count = self.counts.entry((source, reason.code())).or_insert(fresh);
        count.times = count.times.saturating_add(1);
        count.end = count.end.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REASON: Reason = Reason::TokenAbsent;

    fn at(second: u64) -> Timestamp {
        Timestamp::from_seconds(1_000_000 + second)
    }

    #[test]
    fn a_source_has_its_budget_each_minute() {
        use Recorded::{Aggregated, OneByOne};
        let floods = Floods::new(2);
        for (second, source, expected) in [
            (0, Some("10.0.0.1"), OneByOne),
            (1, Some("::ffff:10.0.0.1"), OneByOne),
            (2, Some("10.0.0.1"), Aggregated),
            (2, Some("10.0.0.2"), OneByOne),
            (3, Some("2001:db8::1"), OneByOne),
            (3, Some("2001:db8::2"), OneByOne),
            (3, Some("2001:db8::3"), Aggregated),
            (3, Some("2001:db8:0:1::3"), OneByOne),
            (4, None, OneByOne),
            (4, None, OneByOne),
            (4, None, Aggregated),
            (59, Some("10.0.0.1"), Aggregated),
            (60, Some("10.0.0.1"), OneByOne),
        ] {
            let source = source.map(|text| text.parse().unwrap());
            let source = Source::of(source);
            assert_eq!(floods.refused(at(second), source, REASON), expected, "{second} {source:?}");
        }
        let drained = floods.drain();
        let texts: Vec<_> = drained.iter().map(|c| (&*c.source, c.count, c.start, c.end)).collect();
        assert_eq!(
            texts,
            [
                ("10.0.0.1", 2, at(2), at(59)),
                ("2001:db8::/64", 1, at(3), at(3)),
                ("unix", 1, at(4), at(4)),
            ]
        );
        assert_eq!(floods.drain(), []);
    }

    #[test]
    fn a_token_has_a_budget_of_its_own_wherever_it_is_used() {
        let floods = Floods::new(1);
        let (one, other) = (Source::Token([0xab; 32]), Source::Token([0; 32]));
        for (source, expected) in [
            (one, Recorded::OneByOne),
            (one, Recorded::Aggregated),
            (other, Recorded::OneByOne),
            (Source::Unix, Recorded::OneByOne),
            (one, Recorded::Aggregated),
        ] {
            assert_eq!(floods.refused(at(0), source, Reason::RateExceeded), expected);
        }
        let counted = floods.drain();
        let source = format!("token sha256:{}", "ab".repeat(32));
        assert_eq!((counted.len(), &*counted[0].source, counted[0].count), (1, &*source, 2));
    }

    #[test]
    fn counts_are_due_after_ten_seconds_and_by_reason() {
        let floods = Floods::new(0);
        floods.refused(at(0), Source::Unix, REASON);
        floods.refused(at(5), Source::Unix, REASON);
        floods.refused(at(5), Source::Unix, Reason::NoRoute);
        assert_eq!(floods.due(at(9)), []);
        let counted =
            Counted { source: "unix".into(), reason: REASON, count: 2, start: at(0), end: at(5) };
        assert_eq!(floods.due(at(10)), [counted]);
        assert_eq!(floods.due(at(15)).len(), 1);
    }

    #[test]
    fn sources_beyond_the_bound_share_one_count_until_others_are_forgotten() {
        let floods = Floods::new(1);
        let source = |n: u32| Source::of(Some(IpAddr::from(n.to_be_bytes())));
        for n in 0..10_000 {
            assert_eq!(floods.refused(at(0), source(n), REASON), Recorded::OneByOne);
        }
        for n in 20_000..20_005 {
            assert_eq!(floods.refused(at(1), source(n), REASON), Recorded::Aggregated);
        }
        let counted = floods.drain();
        assert_eq!((counted.len(), &*counted[0].source, counted[0].count), (1, "other", 5));
        assert_eq!(floods.refused(at(61), source(20_000), REASON), Recorded::OneByOne);
    }
}
