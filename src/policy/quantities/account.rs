//! The account: what counts for one party under one cap, and until when.
//!
//! A sum over a window, and not a bucket that refills: after a charge of the whole budget nothing is left
//! until that charge has ended.

use std::collections::BTreeMap;

use super::amount::Amount;
use crate::model::time::Timestamp;

/// The end of what ends with its call.
const NEVER: Timestamp = Timestamp::from_micros(u64::MAX);

/// What counts, by when it ends. Charges that end at one moment are one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    charged: BTreeMap<Timestamp, Amount>,
    total: Amount,
}

impl Account {
    /// What counts.
    pub const fn total(&self) -> Amount {
        self.total
    }

    /// How many ends there are to remember.
    pub fn len(&self) -> usize {
        self.charged.len()
    }

    /// Whether nothing counts.
    pub fn is_empty(&self) -> bool {
        self.charged.is_empty()
    }

    /// Forgets what has ended at `now`.
    pub fn forget(&mut self, now: Timestamp) {
        while let Some(entry) = self.charged.first_entry()
            && *entry.key() <= now
        {
            self.total = self.total.less(entry.remove());
        }
    }

    /// Whether `amount` fits beside what counts, so that it is no more than `most`.
    pub fn fits(&self, amount: Amount, most: Amount) -> bool {
        self.total.plus(amount).is_some_and(|sum| sum <= most)
    }

    /// When `amount` will fit, if nothing else is charged: `None` where no passing of time does that.
    pub fn fits_at(&self, amount: Amount, most: Amount) -> Option<Timestamp> {
        let mut total = self.total;
        self.charged.iter().filter(|(until, _)| **until < NEVER).find_map(|(until, ended)| {
            total = total.less(*ended);
            total.plus(amount).is_some_and(|sum| sum <= most).then_some(*until)
        })
    }

    /// Adds a charge that counts until then, or until it is taken back. Whether it could be written.
    pub fn charge(&mut self, amount: Amount, until: Option<Timestamp>) -> bool {
        // No part is larger than the whole: where that can be written, so can the part.
        let Some(total) = self.total.plus(amount) else { return false };
        let slot = self.charged.entry(until.unwrap_or(NEVER)).or_default();
        *slot = slot.plus(amount).unwrap_or(total);
        self.total = total;
        true
    }

    /// Takes a charge back, unless it has ended.
    pub fn take_back(&mut self, amount: Amount, until: Option<Timestamp>) {
        let until = until.unwrap_or(NEVER);
        let Some(slot) = self.charged.get_mut(&until) else { return };
        let rest = slot.less(amount);
        self.total = self.total.less(slot.less(rest));
        if rest == Amount::ZERO {
            self.charged.remove(&until);
        } else {
            *slot = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn pol_023_a_budget_is_a_sum_and_does_not_refill() {
        let (mut account, most) = (Account::default(), Amount::whole(500));
        assert!(account.fits(most, most));
        assert!(account.charge(most, Some(at(100))));
        for second in [1, 50, 99] {
            account.forget(Timestamp::from_seconds(second));
            assert!(!account.fits(Amount::ONE, most), "{second}");
        }
        assert_eq!(account.fits_at(Amount::ONE, most), Some(at(100)));
        assert_eq!(account.fits_at(Amount::whole(501), most), None);
        account.forget(Timestamp::from_seconds(100));
        assert!(account.fits(most, most) && account.is_empty());
    }

    #[test]
    fn what_ends_with_its_call_is_freed_by_nothing_else() {
        let mut account = Account::default();
        assert!(account.charge(Amount::ONE, None));
        account.forget(Timestamp::from_micros(u64::MAX - 1));
        assert_eq!(account.fits_at(Amount::ONE, Amount::ONE), None);
        account.take_back(Amount::ONE, None);
        assert!(account.is_empty());
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Charge(u64, u64),
        Forget(u64),
        TakeBack(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (1_u64..20, 1_u64..30).prop_map(|(amount, lasts)| Step::Charge(amount, lasts)),
            (0_u64..10).prop_map(Step::Forget),
            (0_usize..20).prop_map(Step::TakeBack),
        ]
    }

    proptest! {
        /// The account against a plain list of charges.
        #[test]
        fn an_account_counts_as_a_list_of_its_charges(steps in prop::collection::vec(step(), 0..60)) {
            let (mut account, mut list, mut now) = (Account::default(), Vec::new(), 0);
            for step in steps {
                match step {
                    Step::Charge(amount, lasts) => {
                        prop_assert!(account.charge(Amount::whole(amount), Some(at(now + lasts))));
                        list.push((amount, now + lasts));
                    }
                    Step::Forget(passed) => now += passed,
                    Step::TakeBack(n) if n < list.len() => {
                        let (amount, until) = list.swap_remove(n);
                        account.take_back(Amount::whole(amount), Some(at(until)));
                    }
                    Step::TakeBack(_) => {}
                }
                account.forget(Timestamp::from_seconds(now));
                list.retain(|(_, until)| *until > now);
                let sum: u64 = list.iter().map(|(amount, _)| amount).sum();
                prop_assert_eq!(account.total(), Amount::whole(sum));
                prop_assert_eq!(account.is_empty(), list.is_empty());
                let fits = |later: u64| {
                    let counts = list.iter().filter(|(_, until)| *until > later);
                    counts.map(|(amount, _)| amount).sum::<u64>() + 5 <= 60
                };
                prop_assert_eq!(account.fits(Amount::whole(5), Amount::whole(60)), fits(now));
                if let Some(then) = account.fits_at(Amount::whole(5), Amount::whole(60)) {
                    prop_assert!(fits(then.seconds()));
                }
            }
        }
    }
}
