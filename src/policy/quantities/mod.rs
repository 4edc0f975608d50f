//! Quantities: how many calls, how many at one time, and how much in all (`policy.md` §8, caps).
//!
//! Pure arithmetic. A [`Cap`] and a call give a [`Charge`]; an [`Account`] holds the charges of one party
//! under one cap. `facts::ledger` keeps the accounts, reserves before a call is recorded, and settles
//! after it.

mod account;
pub mod amount;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

pub use self::account::Account;
use self::amount::Amount;
use crate::model::exact::Json;
use crate::model::hex::hex;
use crate::model::operation::Operation;
use crate::model::reason::{Denial, Reason};
use crate::model::time::Timestamp;
use crate::token::grant::Grant;
use crate::token::parties::Parties;

/// A window is counted in so many steps. A charge ends with the step it falls into, so it counts longer
/// than the window by less than one step, and never shorter.
const STEPS: u64 = 1_024;

/// `[[resource.cap]]`: the most that one party may use of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cap {
    /// `name`: what records and accounts know it by.
    pub name: Box<str>,
    /// `per`: who is counted apart, in their own order.
    pub per: Vec<Party>,
    /// `actions`: what is counted; every operation where there is none.
    pub actions: Vec<Box<str>>,
    /// What a call counts.
    pub measure: Measure,
    /// The most that may count at one time.
    pub most: Amount,
    /// How long a call counts.
    pub lasts: Lasts,
}

/// Who is counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// The agent, as `tokens.md` §9 finds it.
    Agent,
    /// The client that the token was issued to.
    Client,
    /// The token.
    Grant,
    /// Each policy of the token that allowed the call, by the digest of its text: tokens that carry or name
    /// the same text count together, whatever else they carry.
    Policy,
    /// Nobody: all callers of the resource count together.
    Resource,
    /// The person.
    User,
}

/// What a call counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Measure {
    /// One.
    Calls,
    /// The number in its body that this JSON pointer (RFC 6901) names.
    Sum(Box<str>),
}

/// How long a call counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasts {
    /// Until it ends.
    Call,
    /// Until its token does.
    Grant,
    /// For this long, whatever becomes of it.
    Window(Duration),
}

/// What one call counts under one cap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The cap.
    pub cap: Arc<Cap>,
    /// Whose account it goes to: an unambiguous list of names. It may name a person, so it is neither
    /// kept nor written but as a keyed hash.
    pub account: Vec<u8>,
    /// How much.
    pub amount: Amount,
    /// When the token was issued and when it ends.
    pub grant: (Timestamp, Timestamp),
}

impl Cap {
    /// Whether it counts calls of `action`.
    pub fn counts(&self, action: &str) -> bool {
        self.actions.is_empty() || self.actions.iter().any(|own| **own == *action)
    }

    /// Whether it counts something that stands in the body.
    pub const fn reads_body(&self) -> bool {
        matches!(self.measure, Measure::Sum(_))
    }

    /// Whether a token is good for one call under it.
    pub fn is_single_use(&self) -> bool {
        self.lasts == Lasts::Grant && self.measure == Measure::Calls && self.most == Amount::ONE
    }

    /// What a refusal of it is called. What only another token or more time can cure must not read alike.
    pub const fn reason(&self) -> Reason {
        match (&self.measure, self.lasts) {
            (_, Lasts::Call) => Reason::ConcurrencyExceeded,
            (_, Lasts::Grant) => Reason::GrantUsedUp,
            (Measure::Calls, Lasts::Window(_)) => Reason::RateExceeded,
            (Measure::Sum(_), Lasts::Window(_)) => Reason::BudgetExceeded,
        }
    }

    /// What `operation` counts under this cap. Where policies are counted apart, it counts for each that allowed
    /// it: a policy beside another must not be another account.
    pub fn charges(
        self: &Arc<Self>,
        operation: &Operation<'_>,
        grant: &Grant,
        parties: &Parties<'_>,
        policies: &BTreeSet<[u8; 32]>,
    ) -> Result<Vec<Charge>, Denial> {
        let amount = match &self.measure {
            Measure::Calls => Amount::ONE,
            Measure::Sum(pointer) => {
                let value = operation.args().and_then(|args| args.at(pointer));
                read(value).ok_or(Denial::about(Reason::AmountUnreadable, "argument"))?
            }
        };
        let charge = |policy: Option<&[u8; 32]>| Charge {
            cap: Arc::clone(self),
            account: self.account(operation.resource, grant, parties, policy),
            amount,
            grant: (grant.claims().issued, grant.ends()),
        };
        if policies.is_empty() || !self.per.contains(&Party::Policy) {
            return Ok(vec![charge(None)]);
        }
        Ok(policies.iter().map(|policy| charge(Some(policy))).collect())
    }

    /// The names of whose account it is, each behind its length: no two lists read alike. A party that
    /// is not there is one too, so that a token without a person is counted with its like and not at all
    /// excused.
    fn account(
        &self,
        resource: &str,
        grant: &Grant,
        parties: &Parties<'_>,
        policy: Option<&[u8; 32]>,
    ) -> Vec<u8> {
        let mut account = Vec::with_capacity(128);
        let mut add = |name: Option<&str>| {
            account.push(u8::from(name.is_some()));
            let name = name.unwrap_or_default();
            account.extend(name.len().to_be_bytes());
            account.extend(name.as_bytes());
        };
        add(Some(resource));
        add(Some(&self.name));
        for party in &self.per {
            if *party != Party::Resource {
                // Names are their issuer's: two issuers may call two people alike.
                add(Some(&grant.issuer().id));
            }
            match party {
                Party::Agent => add(parties.agent),
                Party::Client => add(parties.client),
                Party::Grant => add(Some(&grant.claims().jwt_id)),
                Party::Policy => add(policy.map(|digest| hex(digest)).as_deref()),
                Party::Resource => {}
                Party::User => {
                    add(parties.user.and_then(|user| user.issuer));
                    add(parties.user.map(|user| user.id));
                }
            }
        }
        account
    }
}

/// A number, or a string that every reader takes for the same number. Many payment APIs write amounts as
/// strings, since a double does not hold them.
fn read(value: Option<&Json>) -> Option<Amount> {
    match value? {
        Json::Number(number) => Amount::parse(number.text()),
        Json::String(text) if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') => {
            Amount::parse(text)
        }
        Json::Array(_) | Json::Bool(_) | Json::Null | Json::Object(_) | Json::String(_) => None,
    }
}

impl Charge {
    /// Until when it counts if it is made at `now`; `None` until its call ends.
    pub fn until(&self, now: Timestamp) -> Option<Timestamp> {
        match self.cap.lasts {
            Lasts::Call => None,
            Lasts::Grant => Some(self.grant.1),
            Lasts::Window(window) => {
                let step = u64::try_from(window.as_micros()).unwrap_or(u64::MAX) / STEPS;
                let (exact, step) = (now.after(window).micros(), step.max(1));
                Some(Timestamp::from_micros(exact.div_ceil(step).saturating_mul(step)))
            }
        }
    }

    /// Since when every charge to its account must be known for its sum to be right.
    pub fn since(&self, now: Timestamp) -> Option<Timestamp> {
        match self.cap.lasts {
            Lasts::Call => None,
            Lasts::Grant => Some(self.grant.0),
            Lasts::Window(window) => Some(now.before(window)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charge(lasts: Lasts) -> Charge {
        let cap = Cap {
            name: "c".into(),
            per: vec![Party::Resource],
            actions: vec!["pay".into()],
            measure: Measure::Calls,
            most: Amount::ONE,
            lasts,
        };
        let grant = (Timestamp::from_seconds(5), Timestamp::from_seconds(50));
        Charge { cap: Arc::new(cap), account: Vec::new(), amount: Amount::ONE, grant }
    }

    #[test]
    fn a_charge_counts_for_its_window_and_less_than_a_step_longer() {
        let window = Duration::from_hours(1);
        let charge = charge(Lasts::Window(window));
        for now in [0, 1, 3_515_624, 3_515_625, 1_790_000_000_123_456] {
            let now = Timestamp::from_micros(now);
            let until = charge.until(now).unwrap();
            assert!(until >= now.after(window));
            assert!(until < now.after(window + window / 1_024));
        }
        assert_eq!(
            charge.since(Timestamp::from_seconds(3_700)),
            Some(Timestamp::from_seconds(100))
        );
    }

    #[test]
    fn a_charge_can_last_as_long_as_its_call_or_its_token() {
        let now = Timestamp::from_seconds(7);
        assert_eq!(charge(Lasts::Call).until(now), None);
        assert_eq!(charge(Lasts::Grant).until(now), Some(Timestamp::from_seconds(50)));
        assert_eq!(charge(Lasts::Grant).since(now), Some(Timestamp::from_seconds(5)));
    }

    #[test]
    fn pol_023_an_amount_is_a_number_or_digits_and_never_less_than_nothing() {
        let read = |json: &str| read(Json::parse(json.as_bytes()).ok().as_ref());
        for (json, expected) in [
            ("10", Some("10")),
            ("1e1", Some("10")),
            ("\"10.50\"", Some("10.5")),
            ("0", Some("0")),
            ("-0.01", None),
            ("\"-1\"", None),
            ("\"1e1\"", None),
            ("\"١\"", None),
            ("\"\"", None),
            ("null", None),
            ("true", None),
            ("[10]", None),
        ] {
            assert_eq!(read(json), expected.and_then(Amount::parse), "{json}");
        }
        assert_eq!(super::read(None), None);
    }

    #[test]
    fn a_cap_counts_the_actions_it_names() {
        let cap = charge(Lasts::Call).cap;
        assert!(cap.counts("pay") && !cap.counts("Pay"));
        assert!(Cap { actions: Vec::new(), ..Cap::clone(&cap) }.counts("anything"));
    }
}
