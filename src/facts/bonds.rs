//! With which person and which grant evidence was seen first (`evidence.md` V8): the server's signature
//! names neither, so evidence that comes a second time for somebody else was moved there.
//!
//! Exact under concurrency: of two calls that bring one id for two people, one is the first. Nothing is
//! forgotten before its time, which begins anew with every use. Across a restart the memory is filled from
//! the audit log, which holds the bond of every call that was let through.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
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
}

impl fmt::Debug for Bonds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bonds(at most {})", self.capacity)
    }
}

#[derive(Debug, Default)]
struct Held {
    bonds: HashMap<[u8; 16], (Bond, Timestamp)>,
    swept: Timestamp,
}

/// What came of evidence that is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It is seen for the first time, or was seen with the same.
    Fitting,
    /// It was seen with another person or grant.
    Elsewhere,
    /// There is no room to remember it.
    NoRoom,
}

impl Bonds {
    /// A memory of at most `capacity` bonds, each kept for `lifetime` after its last use.
    pub fn new(capacity: usize, lifetime: Duration, keyed: Keyed) -> Self {
        Self { held: Mutex::default(), keyed, capacity, lifetime }
    }

    /// Remembers what an earlier process has written into the log, the oldest first.
    pub fn recall(&self, seen: &[(Timestamp, Bond)]) {
        for (at, bond) in seen {
            // What it did not fit then was let through and said so; it is not the first.
            let _: Seen = self.hold(bond, *at);
        }
    }

    /// Holds evidence against the first use of it, which this is where there is none.
    pub fn bind(&self, bond: &Bond, now: Timestamp) -> Seen {
        self.hold(&Bond { person: (self.keyed)(&bond.person), ..*bond }, now)
    }

    fn hold(&self, bond: &Bond, now: Timestamp) -> Seen {
        let until = now.after(self.lifetime);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((first, ends)) = held.bonds.get_mut(&bond.evidence)
            && *ends >= now
        {
            if !first.fits(bond) {
                return Seen::Elsewhere;
            }
            first.grant = first.grant.or(bond.grant);
            *ends = until.max(*ends);
            return Seen::Fitting;
        }
        if held.bonds.len() >= self.capacity && now >= held.swept.after(SWEEP) {
            held.swept = now;
            held.bonds.retain(|_, (_, ends)| *ends >= now);
        }
        if held.bonds.len() >= self.capacity && !held.bonds.contains_key(&bond.evidence) {
            return Seen::NoRoom;
        }
        held.bonds.insert(bond.evidence, (*bond, until));
        Seen::Fitting
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
        Bonds::new(capacity, HOUR, Box::new(keyed))
    }

    fn bond(evidence: u8, person: u8, grant: u8) -> Bond {
        let grant = (grant > 0).then_some([grant; 16]);
        Bond { evidence: [evidence; 16], person: [person; 16], grant }
    }

    #[test]
    fn v8_evidence_stays_with_the_person_and_grant_that_it_was_seen_with() {
        let bonds = memory(10);
        for (case, used, expected) in [
            ("first", bond(1, 1, 0), Seen::Fitting),
            ("again", bond(1, 1, 0), Seen::Fitting),
            ("a grant of its own, the first one", bond(1, 1, 1), Seen::Fitting),
            ("delegated on", bond(1, 1, 0), Seen::Fitting),
            ("another grant", bond(1, 1, 2), Seen::Elsewhere),
            ("another person", bond(1, 2, 0), Seen::Elsewhere),
            ("another person with the same grant", bond(1, 2, 1), Seen::Elsewhere),
            ("other evidence", bond(2, 2, 2), Seen::Fitting),
            ("what was refused has changed nothing", bond(1, 1, 1), Seen::Fitting),
        ] {
            assert_eq!(bonds.bind(&used, NOW), expected, "{case}");
        }
    }

    #[test]
    fn v8_a_bond_is_kept_for_its_time_after_each_use_and_no_longer() {
        let bonds = memory(10);
        let later = |minutes: u64| NOW.after(Duration::from_mins(minutes));
        assert_eq!(bonds.bind(&bond(1, 1, 1), NOW), Seen::Fitting);
        assert_eq!(bonds.bind(&bond(1, 1, 1), later(50)), Seen::Fitting);
        assert_eq!(bonds.bind(&bond(1, 2, 1), later(110)), Seen::Elsewhere);
        assert_eq!(bonds.bind(&bond(1, 2, 1), later(111)), Seen::Fitting);
        // A clock that goes back ends nothing early.
        assert_eq!(bonds.bind(&bond(1, 1, 1), NOW), Seen::Elsewhere);
    }

    #[test]
    fn v8_a_full_memory_takes_nothing_new_until_something_has_ended() {
        let bonds = memory(2);
        for evidence in 1..=2 {
            assert_eq!(bonds.bind(&bond(evidence, 1, 1), NOW), Seen::Fitting);
        }
        assert_eq!(bonds.bind(&bond(3, 1, 1), NOW), Seen::NoRoom);
        assert_eq!(bonds.bind(&bond(1, 2, 1), NOW), Seen::Elsewhere);
        let later = NOW.after(HOUR + HOUR);
        assert_eq!(bonds.bind(&bond(3, 1, 1), later), Seen::Fitting);
    }

    #[test]
    fn v8_what_an_earlier_process_saw_first_was_first() {
        let bonds = memory(10);
        let written = |bond: Bond| Bond { person: keyed(&bond.person), ..bond };
        bonds.recall(&[(NOW, written(bond(1, 1, 1))), (NOW, written(bond(1, 2, 2)))]);
        assert_eq!(bonds.bind(&bond(1, 2, 2), NOW), Seen::Elsewhere);
        assert_eq!(bonds.bind(&bond(1, 1, 1), NOW), Seen::Fitting);
    }

    #[test]
    fn v8_of_many_people_at_once_with_one_id_exactly_one_is_the_first() {
        for round in 0..50 {
            let (bonds, barrier) = (memory(10), Barrier::new(16));
            let fits = |person| {
                barrier.wait();
                bonds.bind(&bond(round, person, 1), NOW) == Seen::Fitting
            };
            let fitting = std::thread::scope(|scope| {
                let fits = &fits;
                let calls: Vec<_> = (1..=16).map(|one| scope.spawn(move || fits(one))).collect();
                calls.into_iter().map(|call| call.join().unwrap()).filter(|one| *one).count()
            });
            assert_eq!(fitting, 1);
        }
    }
}
