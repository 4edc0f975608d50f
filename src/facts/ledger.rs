//! The ledger: what every party has used of every cap (`policy.md` §8, `verification.md` step 27).
//!
//! A call reserves what it counts before it is recorded, under one lock for all of its caps, so that of calls
//! that come together no more pass than there is room for. The [`Reservation`] is settled when the call ends:
//! what counts until then is given back; what counts longer stays, unless the upstream was never reached.
//! A reservation that is dropped before its call was recorded is given back whole.
//!
//! Nothing is forgotten before it has ended, a clock that goes back frees nothing, and where there is no room,
//! calls are refused. Across a restart the ledger is filled from the audit log, whose records of permitted
//! calls say what was charged ([`crate::facts`] does not read it: it is handed in).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::hmac;

use crate::model::need::Charged;
use crate::model::reason::{Denial, Reason};
use crate::model::time::Timestamp;
use crate::policy::quantities::amount::Amount;
use crate::policy::quantities::{Account, Cap, Charge};

/// How often at most all accounts are looked through for what has ended.
const SWEEP: Duration = Duration::from_secs(1);

/// The ledger. One for the process, whatever is reloaded.
pub struct Ledger {
    /// Guarded for the arithmetic of one call.
    accounts: Mutex<Accounts>,
    capacity: usize,
    /// Under which the names of parties are hashed: they may be those of people.
    key: hmac::Key,
    /// The last time at which records of charges may have been lost.
    gap: Option<Timestamp>,
    /// Calls that were refused because there was no room.
    turned_away: AtomicU64,
}

#[derive(Default)]
struct Accounts {
    open: HashMap<[u8; 16], Account>,
    /// The ends remembered in all accounts together.
    held: usize,
    /// The latest moment that was seen. It does not go back when the clock does.
    present: Timestamp,
    swept: Timestamp,
}

/// Why a call does not fit, and what would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortfall {
    /// What the refusal is called.
    pub denial: Denial,
    /// The cap.
    pub cap: Arc<Cap>,
    /// What the call would count.
    pub amount: Amount,
    /// What is left, where it is known.
    pub left: Option<Amount>,
    /// How long until the call fits if nothing else is charged; `None` where time alone does not help.
    pub after: Option<Duration>,
}

/// Room that is taken for one call. Only a [`Ledger`] makes one; dropping it settles it.
#[derive(Debug)]
pub struct Reservation {
    ledger: Arc<Ledger>,
    taken: Vec<Taken>,
    recorded: bool,
}

/// What one call has taken of one cap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The cap.
    pub cap: Arc<Cap>,
    /// How much.
    pub amount: Amount,
    /// What is left of it then.
    pub left: Amount,
    account: [u8; 16],
    until: Option<Timestamp>,
}

impl Ledger {
    /// A ledger of at most `capacity` charges, under the `key` that names of parties are hashed with: the
    /// same after a restart, or what was charged before is not found again. Before `gap`, charges may be
    /// missing.
    pub fn new(capacity: usize, key: &[u8], gap: Option<Timestamp>) -> Self {
        Self {
            accounts: Mutex::default(),
            capacity,
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
            gap,
            turned_away: AtomicU64::new(0),
        }
    }

    /// Takes over what earlier processes have charged. There is room for all of it: what does not fit
    /// leaves none for anything new.
    pub fn recall(&self, charges: &[Charged], now: Timestamp) {
        let mut accounts = self.accounts();
        accounts.present = accounts.present.max(now);
        for charge in charges {
            let Some(amount) = Amount::parse(&charge.amount) else { continue };
            accounts.change(charge.account, |account| {
                account.charge(amount, Some(charge.until));
            });
        }
    }

    /// Takes room for `charges`, all or none.
    pub fn reserve(
        self: &Arc<Self>,
        charges: &[Charge],
        now: Timestamp,
    ) -> Result<Reservation, Shortfall> {
        let mut accounts = self.accounts();
        let now = accounts.at(now);
        if accounts.held.saturating_add(charges.len()) > self.capacity {
            accounts.sweep();
        }
        let looked = charges.iter().map(|charge| self.look(charge, &mut accounts, now));
        let taken = looked.collect::<Result<Vec<_>, _>>()?;
        // All of them fit, so each is charged; a reservation that is made before would give back what it
        // never took.
        for taken in &taken {
            accounts.change(taken.account, |account| {
                account.charge(taken.amount, taken.until);
            });
        }
        Ok(Reservation { ledger: Arc::clone(self), taken, recorded: false })
    }

    /// What `charge` takes, where it fits.
    fn look(
        &self,
        charge: &Charge,
        accounts: &mut Accounts,
        now: Timestamp,
    ) -> Result<Taken, Shortfall> {
        let (cap, amount) = (&charge.cap, charge.amount);
        let short =
            |denial, left, after| Shortfall { denial, cap: Arc::clone(cap), amount, left, after };
        let unknown = |about| short(Denial::about(Reason::QuantityUnknown, about), None, None);
        if self.gap.is_some_and(|gap| charge.since(now).is_some_and(|since| since <= gap)) {
            return Err(unknown("gap"));
        }
        let until = charge.until(now);
        if until.is_some_and(|until| until <= now) {
            // The clock went back, and what was charged to this token may be forgotten.
            return Err(unknown("clock"));
        }
        let id = self.account_of(charge);
        accounts.change(id, |account| account.forget(now));
        let none = Account::default();
        let account = accounts.open.get(&id).unwrap_or(&none);
        if !account.fits(amount, cap.most) {
            let left = Some(cap.most.less(account.total()));
            let after = account.fits_at(amount, cap.most).map(|then| then.since(now));
            return Err(short(cap.reason().into(), left, after));
        }
        if accounts.held >= self.capacity {
            self.turned_away.fetch_add(1, Ordering::Relaxed);
            return Err(unknown("full"));
        }
        let left = cap.most.less(account.total()).less(amount);
        Ok(Taken { cap: Arc::clone(cap), amount, left, account: id, until })
    }

    fn account_of(&self, charge: &Charge) -> [u8; 16] {
        let mac = hmac::sign(&self.key, &charge.account);
        mac.as_ref().first_chunk().copied().unwrap_or_default()
    }

    /// How many charges are remembered.
    pub fn held(&self) -> usize {
        self.accounts().held
    }

    /// How many calls were refused because there was no room.
    pub fn turned_away(&self) -> u64 {
        self.turned_away.load(Ordering::Relaxed)
    }

    /// A lock is poisoned only by a panic, which cannot happen under it.
    fn accounts(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ledger({} of {})", self.held(), self.capacity)
    }
}

impl Accounts {
    /// The moment that counts when the clock says `now`.
    fn at(&mut self, now: Timestamp) -> Timestamp {
        self.present = self.present.max(now);
        self.present
    }

    /// Changes one account, and keeps count.
    fn change(&mut self, id: [u8; 16], change: impl FnOnce(&mut Account)) {
        let mut entry = match self.open.entry(id) {
            Entry::Occupied(entry) => entry,
            Entry::Vacant(entry) => entry.insert_entry(Account::default()),
        };
        let before = entry.get().len();
        change(entry.get_mut());
        let after = entry.get().len();
        if after == 0 {
            entry.remove();
        }
        self.held = self.held.saturating_add(after).saturating_sub(before);
    }

    /// Forgets everywhere what has ended; not more often than it is worth.
    fn sweep(&mut self) {
        let present = self.present;
        if present.since(self.swept) < SWEEP {
            return;
        }
        self.swept = present;
        self.open.retain(|_, account| {
            account.forget(present);
            !account.is_empty()
        });
        self.held = self.open.values().map(Account::len).sum();
    }
}

impl Reservation {
    /// What was taken.
    pub fn taken(&self) -> &[Taken] {
        &self.taken
    }

    /// Its call is in the log: what counts longer than the call does so from here on, also if the
    /// process dies.
    #[must_use]
    pub fn recorded(mut self) -> Self {
        self.recorded = true;
        self
    }

    /// Whether the end of the call leaves something that counts on.
    pub fn outlasts_call(&self) -> bool {
        self.taken.iter().any(|taken| taken.until.is_some())
    }

    /// Gives everything back: the call has not reached the upstream, so it had no effect. The record that
    /// says so must be queued before, so that no later call that takes this room stands before it in the log.
    pub fn refund(mut self) {
        self.recorded = false;
    }
}

/// However a call ends, and wherever a caller goes away, this runs.
impl Drop for Reservation {
    fn drop(&mut self) {
        let recorded = self.recorded;
        let mut freed =
            self.taken.iter().filter(|taken| !recorded || taken.until.is_none()).peekable();
        if freed.peek().is_none() {
            return;
        }
        let mut accounts = self.ledger.accounts();
        for taken in freed {
            accounts.change(taken.account, |account| account.take_back(taken.amount, taken.until));
        }
    }
}

impl Taken {
    /// What the log says of it, so that it counts after a restart; `None` where it ends with its call.
    pub fn charged(&self) -> Option<Charged> {
        let until = self.until?;
        Some(Charged { account: self.account, amount: self.amount.to_string().into(), until })
    }
}

#[cfg(test)]
mod tests;
