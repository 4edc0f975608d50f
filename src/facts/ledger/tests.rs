use std::sync::Barrier;
use std::thread;

use proptest::prelude::*;

use super::*;
use crate::policy::quantities::{Lasts, Measure, Party};

const NOW: Timestamp = Timestamp::from_seconds(1_790_000_000);
const HOUR: Duration = Duration::from_hours(1);

fn ledger(capacity: usize) -> Arc<Ledger> {
    Arc::new(Ledger::new(capacity, b"k", None))
}

fn cap(measure: Measure, most: u64, lasts: Lasts) -> Arc<Cap> {
    Arc::new(Cap {
        name: "c".into(),
        per: vec![Party::User],
        actions: Vec::new(),
        measure,
        most: Amount::whole(most),
        lasts,
    })
}

fn budget(most: u64) -> Arc<Cap> {
    cap(Measure::Sum("/amount".into()), most, Lasts::Window(HOUR))
}

fn charge(cap: &Arc<Cap>, user: &str, amount: u64) -> Charge {
    let grant = (NOW.before(HOUR), NOW.after(HOUR));
    let account = user.as_bytes().to_vec();
    Charge { cap: Arc::clone(cap), account, amount: Amount::whole(amount), grant }
}

fn code(result: &Result<Reservation, Shortfall>) -> &'static str {
    result.as_ref().map_or_else(|short| short.denial.reason.code(), |_| "reserved")
}

#[test]
fn pol_023_of_calls_that_come_together_exactly_as_many_pass_as_there_is_room_for() {
    let (ledger, budget) = (ledger(1_000), budget(500));
    let barrier = Barrier::new(100);
    let passed = thread::scope(|scope| {
        let calls: Vec<_> = (0..100)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    let taken = ledger.reserve(&[charge(&budget, "alice", 10)], NOW);
                    taken.map(|taken| drop(taken.recorded())).is_ok()
                })
            })
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).filter(|ok| *ok).count()
    });
    assert_eq!(passed, 50);
    let short = ledger.reserve(&[charge(&budget, "alice", 1)], NOW).unwrap_err();
    assert_eq!((short.denial.reason, short.left), (Reason::BudgetExceeded, Some(Amount::ZERO)));
    assert!(short.after.is_some_and(|after| after >= HOUR));
    assert!(ledger.reserve(&[charge(&budget, "bob", 500)], NOW).is_ok());
}

#[test]
fn a_reservation_is_given_back_unless_its_call_was_recorded() {
    let (ledger, budget) = (ledger(1_000), budget(10));
    let all = [charge(&budget, "alice", 10)];
    drop(ledger.reserve(&all, NOW).unwrap());
    ledger.reserve(&all, NOW).unwrap().recorded().refund();
    assert_eq!(ledger.held(), 0);
    drop(ledger.reserve(&all, NOW).unwrap().recorded());
    assert_eq!(code(&ledger.reserve(&all, NOW)), "budget_exceeded");
}

#[test]
fn what_counts_at_one_time_is_given_back_when_the_call_ends() {
    let (ledger, two) = (ledger(1_000), cap(Measure::Calls, 2, Lasts::Call));
    let one = [charge(&two, "alice", 1)];
    let first = ledger.reserve(&one, NOW).unwrap().recorded();
    let second = ledger.reserve(&one, NOW).unwrap().recorded();
    let short = ledger.reserve(&one, NOW).unwrap_err();
    assert_eq!((short.denial.reason, short.after), (Reason::ConcurrencyExceeded, None));
    assert!(!first.outlasts_call());
    drop(first);
    let third = ledger.reserve(&one, NOW).unwrap();
    drop((second, third));
    assert_eq!(ledger.held(), 0);
}

#[test]
fn all_caps_of_a_call_are_charged_or_none() {
    let ledger = ledger(1_000);
    let (wide, narrow) = (budget(100), cap(Measure::Calls, 1, Lasts::Grant));
    let both = [charge(&wide, "wide", 10), charge(&narrow, "narrow", 1)];
    drop(ledger.reserve(&both, NOW).unwrap().recorded());
    let short = ledger.reserve(&both, NOW).unwrap_err();
    assert_eq!(short.denial.reason, Reason::GrantUsedUp);
    let left = |amount| code(&ledger.reserve(&[charge(&wide, "wide", amount)], NOW));
    assert_eq!([left(90), left(91)], ["reserved", "budget_exceeded"]);
}

#[test]
fn pol_023_a_clock_that_goes_back_frees_nothing() {
    let (ledger, budget) = (ledger(1_000), budget(10));
    let all = [charge(&budget, "alice", 10)];
    drop(ledger.reserve(&all, NOW).unwrap().recorded());
    for back in [1, 3_600, 1_000_000] {
        let then = NOW.before(Duration::from_secs(back));
        assert_eq!(code(&ledger.reserve(&all, then)), "budget_exceeded");
    }
    // Charged while the clock was wrong, it counts from the latest moment that was seen.
    let other = [charge(&budget, "bob", 10)];
    drop(ledger.reserve(&other, NOW.before(HOUR)).unwrap().recorded());
    assert_eq!(code(&ledger.reserve(&other, NOW.after(HOUR / 2))), "budget_exceeded");
    // A token that had ended before the clock went back may have been used before.
    let once = [charge(&cap(Measure::Calls, 1, Lasts::Grant), "jti", 1)];
    assert_eq!(code(&ledger.reserve(&once, NOW.after(2 * HOUR))), "quantity_unknown");
    assert_eq!(code(&ledger.reserve(&once, NOW)), "quantity_unknown");
}

#[test]
fn where_there_is_no_room_calls_are_refused_until_something_ends() {
    let (ledger, budget) = (ledger(2), budget(10));
    for user in ["a", "b"] {
        drop(ledger.reserve(&[charge(&budget, user, 1)], NOW).unwrap().recorded());
    }
    let third = [charge(&budget, "c", 1)];
    assert_eq!(code(&ledger.reserve(&third, NOW)), "quantity_unknown");
    assert_eq!(ledger.turned_away(), 1);
    assert_eq!(code(&ledger.reserve(&third, NOW.after(HOUR + HOUR / 512))), "reserved");
}

#[test]
fn pol_023_what_is_recalled_counts_as_if_the_process_had_lived_on() {
    let (old, budget) = (ledger(1_000), budget(500));
    let taken = old.reserve(&[charge(&budget, "alice", 490)], NOW).unwrap().recorded();
    let charges: Vec<_> = taken.taken().iter().filter_map(Taken::charged).collect();
    let fresh = Arc::new(Ledger::new(1_000, b"k", None));
    fresh.recall(&charges, NOW);
    assert_eq!(code(&fresh.reserve(&[charge(&budget, "alice", 11)], NOW)), "budget_exceeded");
    assert_eq!(code(&fresh.reserve(&[charge(&budget, "alice", 10)], NOW)), "reserved");
}

#[test]
fn where_records_may_be_lost_sums_over_that_time_are_unknown() {
    let gap = NOW.before(HOUR / 2);
    let ledger = Arc::new(Ledger::new(1_000, b"k", Some(gap)));
    let (hour, minute) =
        (budget(500), cap(Measure::Calls, 5, Lasts::Window(Duration::from_mins(1))));
    let now = cap(Measure::Calls, 5, Lasts::Call);
    assert_eq!(code(&ledger.reserve(&[charge(&hour, "alice", 1)], NOW)), "quantity_unknown");
    assert_eq!(code(&ledger.reserve(&[charge(&minute, "alice", 1)], NOW)), "reserved");
    assert_eq!(code(&ledger.reserve(&[charge(&now, "alice", 1)], NOW)), "reserved");
    let later = NOW.after(HOUR);
    assert_eq!(code(&ledger.reserve(&[charge(&hour, "alice", 1)], later)), "reserved");
}

proptest! {
    /// The ledger against a plain list: a call passes where the charges of its party that have not ended
    /// leave room, and in no window more passes than the cap says.
    #[test]
    fn the_ledger_decides_as_a_list_of_charges(
        calls in prop::collection::vec((0_u8..3, 1_u64..40, 0_u64..1_500_000_000, 0_u8..4), 1..80),
    ) {
        let (ledger, budget) = (ledger(10_000), budget(100));
        let (mut list, mut now) = (Vec::<(u8, u64, Timestamp, Timestamp)>::new(), NOW);
        for (user, amount, passed, end) in calls {
            now = now.after(Duration::from_micros(passed));
            let asked = charge(&budget, &user.to_string(), amount);
            let counts = |one: &&(u8, u64, Timestamp, Timestamp)| one.0 == user && one.3 > now;
            let sum: u64 = list.iter().filter(counts).map(|one| one.1).sum();
            let until = asked.until(now).unwrap();
            let reserved = ledger.reserve(&[asked], now);
            prop_assert_eq!(reserved.is_ok(), sum + amount <= 100);
            match (reserved, end) {
                (Ok(taken), 0) => drop(taken),
                (Ok(taken), 1) => taken.recorded().refund(),
                (Ok(taken), _) => {
                    drop(taken.recorded());
                    list.push((user, amount, now, until));
                }
                (Err(short), _) => prop_assert_eq!(short.left, Some(Amount::whole(100 - sum))),
            }
            let window = |one: &&(u8, u64, Timestamp, Timestamp)| {
                one.0 == user && one.2 > now.before(HOUR)
            };
            prop_assert!(list.iter().filter(window).map(|one| one.1).sum::<u64>() <= 100);
        }
    }
}
