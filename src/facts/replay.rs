//! The memory of used proofs: each counts once (RFC 9449 §11.1; WIMSE proofs likewise).
//!
//! A proof is used when its call is let through, after the decision and before it is recorded: of calls
//! that present one proof at the same time exactly one gets past `use_once`. A refused call
//! leaves its proof unused. It had no effect, so its repetition is refused again or has its effect for the
//! first time; and callers who are refused cannot fill the memory.
//!
//! Nothing is forgotten before it has ended by itself, and where there is no room, calls are refused.
//! Across a restart the memory is filled from the audit log, which holds the use of every call that was
//! let through ([`crate::facts`] does not read it: it is handed in).

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::bonds::{Bonds, Seen};
use crate::decide::facts::FirstUses;
use crate::model::need::{Bond, FirstUse, Obligation, ProofKind};
use crate::model::reason::{Denial, Reason};
use crate::model::time::Timestamp;
use crate::token::nonce::NonceKey;

/// How many parts there are, each under its own lock.
const SHARDS: usize = 16;
/// Uses that end within the same so many seconds are forgotten together.
const BUCKET: u64 = 30;

/// The memory. One for the process, whatever is reloaded.
pub struct Replay {
    shards: [Mutex<Shard>; SHARDS],
    /// How many uses are remembered in all shards. Only changed under the lock of the shard it is about.
    held: AtomicUsize,
    capacity: usize,
    nonces: Arc<NonceKey>,
    complete_since: Option<Timestamp>,
    /// Whom evidence was seen with.
    bonds: Bonds,
    /// Calls that were refused because there was no room.
    turned_away: AtomicU64,
}

#[derive(Default)]
struct Shard {
    /// By the time at which they end, in units of [`BUCKET`].
    buckets: BTreeMap<u64, HashSet<[u8; 16]>>,
    /// The first bucket that was never forgotten. It does not go back when the clock does.
    first: u64,
}

/// What was done of what a permit owes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fulfilled {
    /// What is suspicious about the call and lets it pass, in a word for its record.
    pub alert: Option<&'static str>,
    /// With whom and what its evidence is used, as its record says it.
    pub bond: Option<Bond>,
    /// No record on the disk says so yet: this one must be there before the call is forwarded, or a crash
    /// would make the evidence new again (`evidence.md` V8).
    pub must_last: bool,
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Replay({} of {})", self.held(), self.capacity)
    }
}

impl Replay {
    /// A memory of at most `capacity` uses, under a fresh `key` for nonces. It is complete since
    /// `complete_since`, or as far back as matters.
    pub fn new(
        capacity: usize,
        key: &[u8; 32],
        complete_since: Option<Timestamp>,
        bonds: Bonds,
    ) -> Self {
        Self {
            shards: Default::default(),
            held: AtomicUsize::new(0),
            capacity,
            nonces: Arc::new(NonceKey::new(key)),
            complete_since,
            bonds,
            turned_away: AtomicU64::new(0),
        }
    }

    /// What a decision must know of it.
    pub fn facts(&self) -> FirstUses {
        FirstUses { nonces: Some(Arc::clone(&self.nonces)), complete_since: self.complete_since }
    }

    /// The nonce to give out at `now`.
    pub fn nonce(&self, now: Timestamp) -> String {
        self.nonces.at(now)
    }

    /// Remembers what an earlier process has used. There is room for all of it: what does not fit leaves
    /// none for anything new.
    pub fn recall(&self, uses: &[FirstUse], now: Timestamp) {
        for seen in uses {
            let mut shard = self.shard(seen);
            let forgotten = shard.forget(now);
            let added = shard.insert(seen) == Some(true);
            drop(shard);
            self.held.fetch_sub(forgotten, Ordering::Relaxed);
            self.held.fetch_add(usize::from(added), Ordering::Relaxed);
        }
    }

    /// Fulfils what a permit owes, or refuses the call.
    pub fn fulfil(&self, obligations: &[Obligation], now: Timestamp) -> Result<Fulfilled, Denial> {
        let mut fulfilled = Fulfilled::default();
        for obligation in obligations {
            match obligation {
                Obligation::Bond { bond, earliest, must_fit } => {
                    match (self.bonds.bind(bond, *earliest, now), must_fit) {
                        (Seen::Fitting { bond, is_recorded }, _) => {
                            fulfilled.bond = Some(bond);
                            fulfilled.must_last = !is_recorded;
                        }
                        (Seen::Elsewhere, false) => fulfilled.alert = Some("evidence_reused"),
                        (Seen::Elsewhere, true) => {
                            return Err(Denial::about(Reason::EvidenceInvalid, "V8"));
                        }
                        // What cannot be looked for is not said to be in order.
                        (Seen::Unknown(_), false) => {
                            fulfilled.alert = Some("evidence_unremembered");
                        }
                        (Seen::Unknown(why), true) => {
                            return Err(Denial::about(Reason::FirstUseUnknown, why));
                        }
                    }
                }
                Obligation::FirstUse(first_use) => self.use_once(first_use, now)?,
            }
        }
        Ok(fulfilled)
    }

    /// The record of a call is on the disk, which says with whom and what its evidence is used.
    pub fn recorded(&self, fulfilled: &Fulfilled) {
        if let Some(bond) = fulfilled.bond.as_ref().filter(|_| fulfilled.must_last) {
            self.bonds.recorded(bond);
        }
    }

    /// Uses a proof up. Of all calls with the same one, exactly one succeeds.
    fn use_once(&self, proof: &FirstUse, now: Timestamp) -> Result<(), Denial> {
        if self.held() >= self.capacity {
            // What has ended elsewhere makes room.
            self.sweep(now);
        }
        let mut shard = self.shard(proof);
        let forgotten = shard.forget(now);
        self.held.fetch_sub(forgotten, Ordering::Relaxed);
        if shard.holds(proof) {
            return Err(replayed(proof.kind));
        }
        if self.held.fetch_add(1, Ordering::Relaxed) >= self.capacity {
            self.held.fetch_sub(1, Ordering::Relaxed);
            self.turned_away.fetch_add(1, Ordering::Relaxed);
            return Err(Denial::about(Reason::FirstUseUnknown, "full"));
        }
        if shard.insert(proof).is_none() {
            // It ends before what is still remembered begins: the clock went back, and whether it was
            // used cannot be told any more.
            self.held.fetch_sub(1, Ordering::Relaxed);
            return Err(replayed(proof.kind));
        }
        Ok(())
    }

    /// Forgets everywhere what has ended.
    fn sweep(&self, now: Timestamp) {
        for shard in &self.shards {
            let forgotten = lock(shard).forget(now);
            self.held.fetch_sub(forgotten, Ordering::Relaxed);
        }
    }

    /// How many uses are remembered.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// How many calls were refused because there was no room.
    pub fn turned_away(&self) -> u64 {
        self.turned_away.load(Ordering::Relaxed)
    }

    fn shard(&self, proof: &FirstUse) -> MutexGuard<'_, Shard> {
        let [.., last] = proof.id;
        let [first, rest @ ..] = &self.shards;
        lock(rest.get(usize::from(last) % SHARDS).unwrap_or(first))
    }
}

/// A lock is poisoned only by a panic, which cannot happen under it.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

const fn replayed(kind: ProofKind) -> Denial {
    match kind {
        ProofKind::Dpop => Denial::about(Reason::DpopProofReplayed, "jti"),
        ProofKind::Workload => Denial::about(Reason::WorkloadProofReplayed, "jti"),
    }
}

impl Shard {
    /// Forgets what has ended at `now`; how many that are.
    fn forget(&mut self, now: Timestamp) -> usize {
        self.first = self.first.max(now.seconds() / BUCKET);
        let mut forgotten = 0;
        while let Some(entry) = self.buckets.first_entry()
            && *entry.key() < self.first
        {
            forgotten += entry.remove().len();
        }
        forgotten
    }

    /// Whether the proof was used. The same `jti` may have come with another end.
    fn holds(&self, proof: &FirstUse) -> bool {
        self.buckets.values().any(|bucket| bucket.contains(&proof.id))
    }

    /// Whether it was new; `None` where it has ended.
    fn insert(&mut self, proof: &FirstUse) -> Option<bool> {
        let bucket = proof.until.seconds() / BUCKET;
        if bucket < self.first {
            return None;
        }
        Some(!self.holds(proof) && self.buckets.entry(bucket).or_default().insert(proof.id))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Barrier;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_790_000_000);

    fn memory(capacity: usize) -> Replay {
        let bonds = Bonds::new(10, Duration::from_hours(1), Box::new(|person| *person), None);
        Replay::new(capacity, &[7; 32], None, bonds)
    }

    fn proof(id: u8, ends_in: u64) -> FirstUse {
        let until = NOW.after(Duration::from_secs(ends_in));
        FirstUse { kind: ProofKind::Dpop, id: [id; 16], until }
    }

    fn reason(result: Result<(), Denial>) -> Option<Reason> {
        result.err().map(|denial| denial.reason)
    }

    #[test]
    fn r_ver_011_of_many_at_once_exactly_one_counts() {
        let (memory, barrier) = (memory(1_000), Barrier::new(64));
        let passes = |round| {
            barrier.wait();
            memory.fulfil(&[Obligation::FirstUse(proof(round, 60))], NOW).is_ok()
        };
        for round in 0..50 {
            let passed: usize = std::thread::scope(|scope| {
                let calls: Vec<_> = (0..64).map(|_| scope.spawn(|| passes(round))).collect();
                calls.into_iter().map(|call| usize::from(call.join().unwrap())).sum()
            });
            assert_eq!(passed, 1);
        }
        assert_eq!(memory.held(), 50);
    }

    #[test]
    fn a_full_memory_refuses_and_forgets_nothing_that_has_not_ended() {
        let memory = memory(3);
        for id in 0..3 {
            memory.use_once(&proof(id, 60), NOW).unwrap();
        }
        assert_eq!(reason(memory.use_once(&proof(3, 60), NOW)), Some(Reason::FirstUseUnknown));
        assert_eq!(reason(memory.use_once(&proof(0, 60), NOW)), Some(Reason::DpopProofReplayed));
        assert_eq!((memory.held(), memory.turned_away()), (3, 1));
        let later = NOW.after(Duration::from_mins(2));
        memory.use_once(&proof(4, 170), later).unwrap();
        assert_eq!(memory.held(), 1);
    }

    #[test]
    fn a_clock_that_goes_back_brings_no_used_proof_back() {
        let memory = memory(10);
        let used = proof(1, 60);
        memory.use_once(&used, NOW).unwrap();
        let later = NOW.after(Duration::from_mins(10));
        memory.sweep(later);
        assert_eq!(memory.held(), 0);
        assert_eq!(reason(memory.use_once(&used, NOW)), Some(Reason::DpopProofReplayed));
    }

    #[test]
    fn the_same_identifier_with_another_end_is_the_same_proof() {
        let memory = memory(10);
        memory.use_once(&proof(1, 60), NOW).unwrap();
        assert_eq!(reason(memory.use_once(&proof(1, 110), NOW)), Some(Reason::DpopProofReplayed));
        let other = FirstUse { kind: ProofKind::Workload, id: [2; 16], until: NOW };
        memory.use_once(&other, NOW).unwrap();
        assert_eq!(reason(memory.use_once(&other, NOW)), Some(Reason::WorkloadProofReplayed));
    }

    #[test]
    fn what_an_earlier_process_used_is_used() {
        let memory = memory(1);
        memory.recall(&[proof(1, 60), proof(1, 60), proof(2, 60)], NOW);
        assert_eq!(memory.held(), 2);
        assert_eq!(reason(memory.use_once(&proof(1, 60), NOW)), Some(Reason::DpopProofReplayed));
        assert_eq!(reason(memory.use_once(&proof(3, 60), NOW)), Some(Reason::FirstUseUnknown));
    }

    proptest! {
        #[test]
        fn it_does_what_a_list_of_all_uses_would(
            steps in prop::collection::vec((0..20_u8, 0..5_u64, 0..130_u64), 1..200)
        ) {
            let memory = memory(1_000);
            let mut used: HashMap<u8, Timestamp> = HashMap::new();
            let mut now = NOW;
            for (id, pause, ahead) in steps {
                now = now.after(Duration::from_secs(pause));
                let until = now.after(Duration::from_secs(ahead));
                let first = memory.use_once(&FirstUse { kind: ProofKind::Dpop, id: [id; 16], until }, now);
                match used.get(&id) {
                    Some(end) if *end >= now => prop_assert!(first.is_err()),
                    // Within a bucket it may be remembered for longer than it must.
                    Some(end) if end.seconds() / BUCKET >= now.seconds() / BUCKET => prop_assert!(first.is_err()),
                    _ => {
                        prop_assert!(first.is_ok());
                        used.insert(id, until);
                    }
                }
            }
        }
    }
}
