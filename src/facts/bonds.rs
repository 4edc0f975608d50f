//! With which person and which grant evidence was seen first (`evidence.md` V8): the server's signature
//! names neither, so evidence that comes a second time for somebody else was moved there.
//!
//! Exact under concurrency: of two calls that bring one id for two people, one is the first. Nothing is
//! forgotten before its time, which begins anew with every use; where there is no room, nothing else is
//! remembered, and that is said. Across a restart the memory is filled from the audit log, which holds the
//! bond of every call that was let through. Whatever the durability, no call is let through before some
//! record with its bond is on the disk, so that no crash makes evidence new again.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::model::need::Bond;
use crate::model::time::Timestamp;

/// How often at most it is looked for what has ended, where there is no room.
const SWEEP: Duration = Duration::from_secs(1);

/// Makes of a person's digest what may stand in the log.
pub type Keyed = Box<dyn Fn(&[u8; 16]) -> [u8; 16] + Send + Sync>;

/// The memory. One for the process, whatever is reloaded.
pub struct Bonds {
    /// Held for a look and a change at a time. Persons are in it as they are in the log.
    held: Mutex<Held>,
    keyed: Keyed,
    capacity: usize,
    lifetime: Duration,
    /// Since when no use is missing, where a part of the log was lost.
    complete_since: Option<Timestamp>,
}

impl fmt::Debug for Bonds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bonds(at most {})", self.capacity)
    }
}

#[derive(Debug, Default)]
struct Held {
    bonds: HashMap<[u8; 16], Entry>,
    swept: Timestamp,
}

#[derive(Debug)]
struct Entry {
    bond: Bond,
    ends: Timestamp,
    /// A record on the disk says so.
    is_recorded: bool,
}

/// What came of evidence that is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It is seen for the first time, or was seen with the same.
    Fitting {
        /// The bond as its record says it.
        bond: Bond,
        /// Whether a record on the disk says so already.
        is_recorded: bool,
    },
    /// It was seen with another person or grant.
    Elsewhere,
    /// Whether it was seen cannot be told: there is no room to remember it (`full`), or it may have been
    /// used when the part of the log was written that was lost (`restart`).
    Unknown(&'static str),
}

impl Bonds {
    /// A memory of at most `capacity` bonds, each kept for `lifetime` after its last use. It is complete
    /// since `complete_since`, or as far back as matters.
    pub fn new(
        capacity: usize,
        lifetime: Duration,
        keyed: Keyed,
        complete_since: Option<Timestamp>,
    ) -> Self {
        Self { held: Mutex::default(), keyed, capacity, lifetime, complete_since }
    }

    /// Remembers what an earlier process has written into the log, the oldest first. There is room for all
    /// of it: what does not fit leaves none for anything new.
    pub fn recall(&self, seen: &[(Timestamp, Bond)]) {
        let mut held = self.held();
        for (at, bond) in seen {
            let until = at.after(self.lifetime);
            if held.again(bond, *at, until).is_none() {
                held.bonds.insert(bond.evidence, Entry::new(*bond, until));
            }
            if let Some(entry) = held.bonds.get_mut(&bond.evidence) {
                entry.is_recorded = true;
            }
        }
    }

    /// Holds evidence against the first use of it, which this is where there is none. It cannot have been
    /// used before `earliest`.
    pub fn bind(&self, bond: &Bond, earliest: Timestamp, now: Timestamp) -> Seen {
        let bond = Bond { person: (self.keyed)(&bond.person), ..*bond };
        let until = now.after(self.lifetime);
        let mut held = self.held();
        if let Some(seen) = held.again(&bond, now, until) {
            return seen;
        }
        let is_complete = self
            .complete_since
            .is_none_or(|since| earliest > since || now > since.after(self.lifetime));
        if !is_complete {
            return Seen::Unknown("restart");
        }
        if held.bonds.len() >= self.capacity && now >= held.swept.after(SWEEP) {
            held.swept = now;
            held.bonds.retain(|_, entry| entry.ends >= now);
        }
        if held.bonds.len() >= self.capacity && !held.bonds.contains_key(&bond.evidence) {
            return Seen::Unknown("full");
        }
        held.bonds.insert(bond.evidence, Entry::new(bond, until));
        Seen::Fitting { bond, is_recorded: false }
    }

    /// A record on the disk says that evidence was used so.
    pub fn recorded(&self, bond: &Bond) {
        if let Some(entry) = self.held().bonds.get_mut(&bond.evidence)
            && entry.bond == *bond
        {
            entry.is_recorded = true;
        }
    }

    /// Each change is one step, so a panic elsewhere leaves it whole.
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// What comes of evidence that was seen before and has not ended at `now`; if it fits, it is kept until
    /// `until`.
    fn again(&mut self, bond: &Bond, now: Timestamp, until: Timestamp) -> Option<Seen> {
        let entry = self.bonds.get_mut(&bond.evidence).filter(|entry| entry.ends >= now)?;
        if !entry.bond.fits(bond) {
            return Some(Seen::Elsewhere);
        }
        if entry.bond.grant.is_none() && bond.grant.is_some() {
            // The first use that says with which grant: no record does so far.
            (entry.bond.grant, entry.is_recorded) = (bond.grant, false);
        }
        entry.ends = until.max(entry.ends);
        Some(Seen::Fitting { bond: *bond, is_recorded: entry.is_recorded })
    }
}

impl Entry {
    const fn new(bond: Bond, ends: Timestamp) -> Self {
        Self { bond, ends, is_recorded: false }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_790_000_000);
    const HOUR: Duration = Duration::from_hours(1);

    /// Stands for the key of the log.
    fn keyed(person: &[u8; 16]) -> [u8; 16] {
        person.map(|byte| !byte)
    }

    fn memory(capacity: usize) -> Bonds {
        Bonds::new(capacity, HOUR, Box::new(keyed), None)
    }

    const FITTING: &str = "fitting";
    const ELSEWHERE: &str = "elsewhere";
    const FULL: &str = "full";

    fn seen(bonds: &Bonds, bond: &Bond, now: Timestamp) -> &'static str {
        match bonds.bind(bond, now, now) {
            Seen::Fitting { .. } => FITTING,
            Seen::Elsewhere => ELSEWHERE,
            Seen::Unknown(why) => why,
        }
    }

    fn bond(evidence: u8, person: u8, grant: u8) -> Bond {
        let grant = (grant > 0).then_some([grant; 16]);
        Bond { evidence: [evidence; 16], person: [person; 16], grant }
    }

    #[test]
    fn v8_evidence_stays_with_the_person_and_grant_that_it_was_seen_with() {
        let bonds = memory(10);
        for (case, used, expected) in [
            ("first", bond(1, 1, 0), FITTING),
            ("again", bond(1, 1, 0), FITTING),
            ("a grant of its own, the first one", bond(1, 1, 1), FITTING),
            ("delegated on", bond(1, 1, 0), FITTING),
            ("another grant", bond(1, 1, 2), ELSEWHERE),
            ("another person", bond(1, 2, 0), ELSEWHERE),
            ("another person with the same grant", bond(1, 2, 1), ELSEWHERE),
            ("other evidence", bond(2, 2, 2), FITTING),
            ("what was refused has changed nothing", bond(1, 1, 1), FITTING),
        ] {
            assert_eq!(seen(&bonds, &used, NOW), expected, "{case}");
        }
    }

    #[test]
    fn v8_a_bond_is_kept_for_its_time_after_each_use_and_no_longer() {
        let bonds = memory(10);
        let later = |minutes: u64| NOW.after(Duration::from_mins(minutes));
        assert_eq!(seen(&bonds, &bond(1, 1, 1), NOW), FITTING);
        assert_eq!(seen(&bonds, &bond(1, 1, 1), later(50)), FITTING);
        assert_eq!(seen(&bonds, &bond(1, 2, 1), later(110)), ELSEWHERE);
        assert_eq!(seen(&bonds, &bond(1, 2, 1), later(111)), FITTING);
        // A clock that goes back ends nothing early.
        assert_eq!(seen(&bonds, &bond(1, 1, 1), NOW), ELSEWHERE);
    }

    #[test]
    fn v8_a_full_memory_takes_nothing_new_until_something_has_ended() {
        let bonds = memory(2);
        for evidence in 1..=2 {
            assert_eq!(seen(&bonds, &bond(evidence, 1, 1), NOW), FITTING);
        }
        assert_eq!(seen(&bonds, &bond(3, 1, 1), NOW), FULL);
        assert_eq!(seen(&bonds, &bond(1, 2, 1), NOW), ELSEWHERE);
        let later = NOW.after(HOUR + HOUR);
        assert_eq!(seen(&bonds, &bond(3, 1, 1), later), FITTING);
    }

    #[test]
    fn v8_what_an_earlier_process_saw_first_was_first() {
        let bonds = memory(10);
        let written = |bond: Bond| Bond { person: keyed(&bond.person), ..bond };
        bonds.recall(&[(NOW, written(bond(1, 1, 1))), (NOW, written(bond(1, 2, 2)))]);
        assert_eq!(seen(&bonds, &bond(1, 2, 2), NOW), ELSEWHERE);
        assert_eq!(seen(&bonds, &bond(1, 1, 1), NOW), FITTING);
    }

    #[test]
    fn v8_of_many_people_at_once_with_one_id_exactly_one_is_the_first() {
        for round in 0..50 {
            let (bonds, barrier) = (memory(10), Barrier::new(16));
            let fits = |person| {
                barrier.wait();
                seen(&bonds, &bond(round, person, 1), NOW) == FITTING
            };
            let fitting = std::thread::scope(|scope| {
                let fits = &fits;
                let calls: Vec<_> = (1..=16).map(|one| scope.spawn(move || fits(one))).collect();
                calls.into_iter().map(|call| call.join().unwrap()).filter(|one| *one).count()
            });
            assert_eq!(fitting, 1);
        }
    }

    #[test]
    fn v8_what_was_recalled_beyond_the_room_leaves_none_and_is_not_forgotten() {
        let bonds = memory(1);
        let written = |one: u8| Bond { person: keyed(&[1; 16]), ..bond(one, 1, 1) };
        bonds.recall(&[(NOW, written(1)), (NOW, written(2))]);
        assert_eq!(seen(&bonds, &bond(2, 2, 1), NOW), ELSEWHERE);
        assert_eq!(seen(&bonds, &bond(3, 1, 1), NOW), FULL);
    }

    #[test]
    fn v8_a_use_counts_as_recorded_when_a_record_of_the_same_is() {
        let bonds = memory(10);
        let is_recorded = |used: &Bond| match bonds.bind(used, NOW, NOW) {
            Seen::Fitting { bond, is_recorded } => (bond, is_recorded),
            other => panic!("{other:?}"),
        };
        let (first, recorded) = is_recorded(&bond(1, 1, 0));
        assert!(!recorded && !is_recorded(&bond(1, 1, 0)).1, "nothing is on the disk so far");
        bonds.recorded(&first);
        assert!(is_recorded(&bond(1, 1, 0)).1);
        // A grant that no record has said of this evidence is one that a crash would forget.
        let (granted, recorded) = is_recorded(&bond(1, 1, 1));
        assert!(!recorded);
        bonds.recorded(&first);
        assert!(!is_recorded(&bond(1, 1, 1)).1, "an earlier record does not name the grant");
        bonds.recorded(&granted);
        assert!(is_recorded(&bond(1, 1, 1)).1 && is_recorded(&bond(1, 1, 0)).1);
        let recalled = memory(10);
        recalled.recall(&[(NOW, granted)]);
        assert_eq!(
            recalled.bind(&bond(1, 1, 1), NOW, NOW),
            Seen::Fitting { bond: granted, is_recorded: true }
        );
    }

    #[test]
    fn v8_where_a_part_of_the_log_was_lost_only_later_evidence_is_surely_new() {
        let bonds = Bonds::new(10, HOUR, Box::new(keyed), Some(NOW));
        let at = |evidence: u8, earliest: Timestamp, now: Timestamp| match bonds.bind(
            &bond(evidence, 1, 1),
            earliest,
            now,
        ) {
            Seen::Fitting { .. } => FITTING,
            Seen::Elsewhere => ELSEWHERE,
            Seen::Unknown(why) => why,
        };
        let later = |minutes: u64| NOW.after(Duration::from_mins(minutes));
        assert_eq!(at(1, NOW, later(1)), "restart");
        assert_eq!(at(1, NOW, later(1)), "restart", "and it is not remembered as the first");
        assert_eq!(at(2, later(1), later(1)), FITTING);
        assert_eq!(at(1, NOW, later(60)), "restart");
        assert_eq!(at(1, NOW, later(61)), FITTING);
    }
}
