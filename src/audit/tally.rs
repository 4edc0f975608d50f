//! What records come to: calls counted by what is said of them, over time, and how long they took.
//!
//! Parts of a log are counted apart and put together in their order. What is remembered is bounded, whatever a
//! log says.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::outline::Outline;
use crate::model::time::Timestamp;

/// The most values of one kind that are told apart; what is beyond is counted together.
pub const MOST_GROUPS: usize = 50_000;
/// The most calls whose outcome is waited for.
const MOST_OPEN: usize = 100_000;
/// The most bars of a picture.
const MOST_BARS: u64 = 40;
/// What a bar may stand for, in seconds.
const WIDTHS: [u64; 17] = [
    1, 5, 10, 30, 60, 300, 600, 1_800, 3_600, 10_800, 21_600, 43_200, 86_400, 604_800, 2_592_000,
    7_776_000, 31_536_000,
];

/// What calls can be counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The action of the operation.
    Action,
    /// The agent.
    Agent,
    /// The client.
    Client,
    /// What was decided.
    Decision,
    /// The policies that were asked: a call counts for each.
    Policy,
    /// Why it was decided so.
    Reason,
    /// The resource.
    Resource,
    /// The person, as a keyed hash.
    User,
}

impl By {
    /// What an overview shows, in its order.
    pub const OVERVIEW: [Self; 6] =
        [Self::Decision, Self::Reason, Self::Resource, Self::Action, Self::Agent, Self::Client];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Action => "action",
            Self::Agent => "agent",
            Self::Client => "client",
            Self::Decision => "decision",
            Self::Policy => "policy",
            Self::Reason => "reason",
            Self::Resource => "resource",
            Self::User => "user",
        }
    }

    /// Gives what `record` says of it; an empty text where it says nothing.
    fn each(self, record: &Outline<'_>, give: &mut dyn FnMut(&str)) {
        match self {
            Self::Action => give(&record.op.action),
            Self::Agent => give(&record.agent.id),
            Self::Client => give(&record.client_id),
            Self::Decision => give(record.verdict()),
            Self::Policy if record.policies.is_empty() => give(""),
            Self::Policy => record.policies.iter().for_each(|one| give(&one.id)),
            Self::Reason => give(&record.reason),
            Self::Resource => give(&record.resource),
            Self::User => give(&record.user.tag),
        }
    }
}

/// The time that is looked at, in bars of one width.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    width: Duration,
    /// When each bar begins, in the form of records, where the order of the texts is that of the times.
    begins: Vec<Box<str>>,
}

impl Frame {
    /// The bars from `first` to `last`, of the narrowest round width of which there are not too many.
    pub fn over(first: Timestamp, last: Timestamp) -> Self {
        let last = last.max(first).seconds();
        let bars = |width: u64| last / width - first.seconds() / width + 1;
        let width = WIDTHS.into_iter().find(|width| bars(*width) <= MOST_BARS);
        let width = width.unwrap_or(last.saturating_sub(first.seconds()).div_ceil(MOST_BARS - 1));
        let begin = first.seconds() / width * width;
        let begins = (0..bars(width))
            .map(|bar| Timestamp::from_seconds(begin.saturating_add(bar.saturating_mul(width))));
        let begins = begins.map(|at| at.to_string().into()).collect();
        Self { width: Duration::from_secs(width), begins }
    }

    /// What a bar stands for.
    pub const fn width(&self) -> Duration {
        self.width
    }

    /// When each bar begins.
    pub fn begins(&self) -> &[Box<str>] {
        &self.begins
    }

    /// The bar of a record. What lies outside belongs to the nearest.
    fn bar(&self, ts: &str) -> usize {
        self.begins.partition_point(|begin| **begin <= *ts).saturating_sub(1)
    }
}

/// How many, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// How many.
    pub total: u64,
    /// How many in each bar.
    pub bars: Box<[u64]>,
}

impl Count {
    fn new(frame: &Frame) -> Self {
        Self { total: 0, bars: vec![0; frame.begins.len()].into() }
    }

    fn add(&mut self, bar: usize, count: u64) {
        self.total = self.total.saturating_add(count);
        if let Some(bar) = self.bars.get_mut(bar) {
            *bar = bar.saturating_add(count);
        }
    }

    fn join(&mut self, other: &Self) {
        for (bar, count) in other.bars.iter().enumerate() {
            self.add(bar, *count);
        }
    }
}

/// How long calls took, in steps of at most a thirty-second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latency {
    steps: Box<[u64]>,
    /// How many calls.
    pub count: u64,
    /// The longest, in microseconds.
    pub longest: u64,
}

/// Steps between a power of two and the next.
const STEPS: u64 = 32;

impl Default for Latency {
    fn default() -> Self {
        Self { steps: vec![0; 60 * 32].into(), count: 0, longest: 0 }
    }
}

impl Latency {
    fn add(&mut self, us: u64) {
        self.count = self.count.saturating_add(1);
        self.longest = self.longest.max(us);
        if let Some(step) = usize::try_from(step(us)).ok().and_then(|at| self.steps.get_mut(at)) {
            *step = step.saturating_add(1);
        }
    }

    fn join(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.longest = self.longest.max(other.longest);
        for (own, other) in self.steps.iter_mut().zip(&other.steps) {
            *own = own.saturating_add(*other);
        }
    }

    /// What so many in a thousand did not exceed, in microseconds, a thirty-second too long at the most.
    pub fn within(&self, per_mille: u64) -> Option<u64> {
        let rank = u128::from(self.count) * u128::from(per_mille);
        let rank = u64::try_from(rank.div_ceil(1_000)).unwrap_or(u64::MAX).max(1);
        let mut seen = 0_u64;
        let step = self.steps.iter().position(|count| {
            seen = seen.saturating_add(*count);
            seen >= rank
        });
        step.map(|step| end_of(u64::try_from(step).unwrap_or(0)).min(self.longest))
    }
}

/// The step of a time. Below [`STEPS`] each has its own.
fn step(us: u64) -> u64 {
    let power = u64::from(us.max(1).ilog2());
    if power < 5 {
        return us;
    }
    (power - 4) * STEPS + (us >> (power - 5)) % STEPS
}

/// The longest time of a step.
const fn end_of(step: u64) -> u64 {
    if step < STEPS {
        return step;
    }
    let power = step / STEPS - 1;
    ((STEPS + step % STEPS) << power) + ((1 << power) - 1)
}

/// The count of records, or of a part of them.
#[derive(Clone, Debug)]
pub struct Tally {
    frame: Arc<Frame>,
    /// Every call.
    pub calls: u64,
    /// Calls that were allowed.
    pub allowed: Count,
    /// Calls that were refused, or would have been.
    pub refused: Count,
    /// How long calls took, from the decision to the end.
    pub took: Latency,
    groups: Vec<(By, HashMap<Box<str>, Count>)>,
    /// Calls whose outcome is to come; none where every outcome counts.
    open: Option<HashSet<u64>>,
    /// Outcomes of decisions that are not of this part, and how long they took.
    strangers: Vec<(u64, u64)>,
}

impl Tally {
    /// Nothing counted yet. Where not `every` decision is given, only outcomes of those that are count.
    pub fn new(frame: Arc<Frame>, by: &[By], every: bool) -> Self {
        Self {
            calls: 0,
            allowed: Count::new(&frame),
            refused: Count::new(&frame),
            took: Latency::default(),
            groups: by.iter().map(|by| (*by, HashMap::new())).collect(),
            open: (!every).then(HashSet::new),
            strangers: Vec::new(),
            frame,
        }
    }

    /// Counts a record.
    pub fn add(&mut self, record: &Outline<'_>) {
        let count = match &*record.kind {
            "decision" => 1,
            "aggregate" => record.count.unwrap_or(0),
            "outcome" => return self.ended(record.of, record.us),
            _ => return,
        };
        let bar = self.frame.bar(&record.ts);
        self.calls = self.calls.saturating_add(count);
        let of = if record.verdict() == "allow" { &mut self.allowed } else { &mut self.refused };
        of.add(bar, count);
        for (by, groups) in &mut self.groups {
            let frame = &self.frame;
            by.each(record, &mut |value| {
                count_of(groups, value, frame, |one| one.add(bar, count));
            });
        }
        if let Some(open) = &mut self.open
            && record.is_forwarded()
            && open.len() < MOST_OPEN
        {
            open.insert(record.seq);
        }
    }

    fn ended(&mut self, of: Option<u64>, us: Option<u64>) {
        let Some(us) = us else { return };
        let Some(open) = &mut self.open else { return self.took.add(us) };
        let Some(of) = of else { return };
        if open.remove(&of) {
            self.took.add(us);
        } else {
            self.strangers.push((of, us));
        }
    }

    /// Adds the part of the log that follows.
    pub fn join(&mut self, next: Self) {
        self.calls = self.calls.saturating_add(next.calls);
        self.allowed.join(&next.allowed);
        self.refused.join(&next.refused);
        self.took.join(&next.took);
        for ((_, own), (_, others)) in self.groups.iter_mut().zip(next.groups) {
            for (value, count) in others {
                count_of(own, &value, &self.frame, |one| one.join(&count));
            }
        }
        if let Some(open) = &mut self.open {
            for (of, us) in next.strangers {
                if open.remove(&of) {
                    self.took.add(us);
                }
            }
            let room = MOST_OPEN.saturating_sub(open.len());
            open.extend(next.open.into_iter().flatten().take(room));
        }
    }

    /// What was counted by each, the most frequent first.
    pub fn sorted(&self) -> Vec<(By, Vec<(&str, &Count)>)> {
        let sorted = self.groups.iter().map(|(by, groups)| {
            let mut all: Vec<_> = groups.iter().map(|(value, count)| (&**value, count)).collect();
            all.sort_by_key(|(value, count)| (Reverse(count.total), *value));
            (*by, all)
        });
        sorted.collect()
    }
}

/// What is counted together where there is no room for more values.
pub const OTHERS: &str = "…";

/// Lets `change` change the count of `value`.
fn count_of(
    groups: &mut HashMap<Box<str>, Count>,
    value: &str,
    frame: &Frame,
    change: impl FnOnce(&mut Count),
) {
    if let Some(count) = groups.get_mut(value) {
        return change(count);
    }
    let value = if groups.len() < MOST_GROUPS { value } else { OTHERS };
    change(groups.entry(value.into()).or_insert_with(|| Count::new(frame)));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: u64) -> Timestamp {
        Timestamp::from_seconds(1_795_443_200 + second)
    }

    fn add(tally: &mut Tally, seq: u64, rest: &str) {
        let line = format!(r#"{{"seq":{seq},"ts":"{}",{rest}}}"#, at(seq));
        tally.add(&Outline::read(line.as_bytes()).unwrap());
    }

    #[test]
    fn bars_are_of_a_round_width_and_few() {
        for (seconds, width, bars) in [
            (0, 1, 1),
            (39, 1, 40),
            (40, 5, 9),
            (3_600, 300, 13),
            (86_400, 3_600, 25),
            (31_000_000, 2_592_000, 13),
        ] {
            let frame = Frame::over(at(0), at(seconds));
            assert_eq!((frame.width().as_secs(), frame.begins().len()), (width, bars), "{seconds}");
            assert!(*frame.begins()[0] <= *at(0).to_string());
        }
        let all = Frame::over(Timestamp::default(), Timestamp::from_seconds(253_402_300_799));
        assert!(all.begins().len() <= 41);
        let frame = Frame::over(at(0), at(9));
        let bar = |second| frame.bar(&at(second).to_string());
        assert_eq!((frame.bar("1970"), bar(0), bar(9), bar(99)), (0, 0, 9, 9));
    }

    #[test]
    fn calls_are_counted_by_what_is_said_of_them() {
        let frame = Arc::new(Frame::over(at(0), at(9)));
        let mut tally = Tally::new(frame, &[By::Reason, By::Policy], true);
        add(&mut tally, 0, r#""type":"start""#);
        add(
            &mut tally,
            1,
            r#""type":"decision","decision":"allow","reason":"granted","policies":[{"id":"a"},{"id":"b"}]"#,
        );
        add(
            &mut tally,
            2,
            r#""type":"decision","decision":"deny","mode":"observe","reason":"policy_denied","policies":[{"id":"a"}]"#,
        );
        add(
            &mut tally,
            3,
            r#""type":"aggregate","decision":"deny","reason":"token_absent","count":40"#,
        );
        add(&mut tally, 4, r#""type":"outcome","of":1,"us":100"#);
        assert_eq!((tally.calls, tally.allowed.total, tally.refused.total), (42, 1, 41));
        assert_eq!(&tally.refused.bars[1..4], [0, 1, 40]);
        assert_eq!(tally.took.count, 1);
        let sorted = tally.sorted();
        let found = |n: usize| {
            let groups: &Vec<(&str, &Count)> = &sorted[n].1;
            groups.iter().map(|(value, count)| (*value, count.total)).collect::<Vec<_>>()
        };
        assert_eq!(found(0), [("token_absent", 40), ("granted", 1), ("policy_denied", 1)]);
        assert_eq!(found(1), [("", 40), ("a", 2), ("b", 1)]);
    }

    #[test]
    fn parts_make_the_whole_also_where_an_outcome_is_in_another_part() {
        let frame = Arc::new(Frame::over(at(0), at(9)));
        let new = || Tally::new(Arc::clone(&frame), &[By::Agent], false);
        let lines = [
            r#""type":"decision","decision":"allow","agent":{"id":"a"}"#,
            r#""type":"outcome","of":77,"us":9999"#,
            r#""type":"decision","decision":"allow","agent":{"id":"b"}"#,
            r#""type":"outcome","of":0,"us":10"#,
            r#""type":"outcome","of":2,"us":20"#,
        ];
        for cut in 0..=lines.len() {
            let (mut whole, mut first, mut second) = (new(), new(), new());
            for (seq, line) in (0..).zip(lines) {
                add(&mut whole, seq, line);
                let part = if seq < u64::try_from(cut).unwrap() { &mut first } else { &mut second };
                add(part, seq, line);
            }
            let mut joined = new();
            joined.join(first);
            joined.join(second);
            assert_eq!((joined.calls, &joined.took), (2, &whole.took), "{cut}");
            assert_eq!((joined.took.count, joined.took.longest), (2, 20));
            assert_eq!(joined.sorted(), whole.sorted());
        }
    }

    #[test]
    fn there_are_never_more_groups_than_fit() {
        let mut tally = Tally::new(Arc::new(Frame::over(at(0), at(0))), &[By::Agent], true);
        for n in 0..MOST_GROUPS + 10 {
            add(&mut tally, 0, &format!(r#""type":"decision","agent":{{"id":"{n}"}}"#));
        }
        let sorted = tally.sorted();
        assert_eq!(sorted[0].1.len(), MOST_GROUPS + 1);
        assert_eq!((sorted[0].1[0].0, sorted[0].1[0].1.total), (OTHERS, 10));
    }

    proptest! {
        #[test]
        fn a_time_is_told_a_thirty_second_too_long_at_the_most(us in any::<u64>()) {
            let told = end_of(step(us));
            prop_assert!(told >= us && told - us <= us / 32, "{} {}", us, told);
            prop_assert!(step(us) < 60 * 32);
        }

        #[test]
        fn so_many_are_within_what_is_told(mut all in proptest::collection::vec(0_u64..100_000, 1..200)) {
            let mut took = Latency::default();
            for us in &all {
                took.add(*us);
            }
            all.sort_unstable();
            for per_mille in [500, 950, 990] {
                let rank = (all.len() * per_mille).div_ceil(1_000) - 1;
                let told = took.within(u64::try_from(per_mille).unwrap()).unwrap();
                prop_assert!(told >= all[rank] && told <= all[rank] + all[rank] / 32);
            }
        }
    }
}
