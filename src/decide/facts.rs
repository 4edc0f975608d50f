//! What a decision is told of the world outside, and how it asks for more.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::binding::Answer;
use super::world::World;
use crate::model::need::Need;
use crate::model::reason::{Denial, Reason};
use crate::model::time::Timestamp;
use crate::policy::engine::Evaluation;
use crate::policy::library::{Lack, Library, Long};
use crate::token::feed::Feed;
use crate::token::grant::Grant;
use crate::token::introspection::Introspected;
use crate::token::keys::KeySet;
use crate::token::nonce::NonceKey;
use crate::token::revocation::Set;
use crate::token::status::{Reference, StatusList};
use crate::token::trust::Issuer;

/// Why a step did not finish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It lacks a fact that the world may have.
    Need(Need),
    /// It lacks these of the policies that it must ask.
    Policies(Vec<Lack>),
    /// The call is refused.
    Refuse(Denial),
}

impl From<Denial> for Stop {
    fn from(denial: Denial) -> Self {
        Self::Refuse(denial)
    }
}

impl From<Reason> for Stop {
    fn from(reason: Reason) -> Self {
        Self::Refuse(reason.into())
    }
}

/// What has been fetched so far: an immutable snapshot, replaced whole.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// For each issuer of the world, its newest keys.
    pub keys: Vec<Keys>,
    /// For each issuer of the world, what it said of tokens after it had issued them.
    pub heard: Vec<Heard>,
    /// What is remembered of the proofs that were used.
    pub first_uses: FirstUses,
}

/// What an issuer said of tokens after it had issued them.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// Its status lists by their URI.
    pub lists: Arc<HashMap<Box<str>, Listed>>,
    /// Its newest feed of revocations.
    pub feed: Option<Fed>,
}

/// A status list, and for how long it is good.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The list.
    pub list: Arc<StatusList>,
    /// When it was asked for.
    pub fetched: Timestamp,
    /// Until when it may be used.
    pub until: Timestamp,
}

impl Listed {
    /// Whether it may decide a call that came at `now`: it has not ended, or was asked for since, and
    /// its key still is one of `keys`.
    pub fn is_good(&self, now: Timestamp, keys: Option<&Arc<KeySet>>) -> bool {
        (now < self.until || self.fetched >= now)
            && keys.is_some_and(|keys| self.list.is_signed_by(keys))
    }
}

/// A feed, and when it was last found to be the newest.
#[derive(Clone, Debug)]
pub struct Fed {
    /// The feed.
    pub feed: Arc<Feed>,
    /// When it was asked for.
    pub confirmed: Timestamp,
}

impl Fed {
    /// Whether it may decide a call that came at `now`: it is at most `max_age` old, and its key, if it
    /// was signed, still is one of `keys`.
    pub fn is_good(&self, now: Timestamp, max_age: Duration, keys: Option<&Arc<KeySet>>) -> bool {
        now < self.confirmed.after(max_age) && self.feed.is_signed_by(keys)
    }
}

/// What a step must know of the memory of used proofs.
#[derive(Clone, Debug, Default)]
pub struct FirstUses {
    /// What nonces are made with. Without it none is ever right.
    pub nonces: Option<Arc<NonceKey>>,
    /// Since when the memory is complete, where it does not reach back as far as any proof may: an
    /// earlier process used proofs whose record was lost.
    pub complete_since: Option<Timestamp>,
}

impl FirstUses {
    /// Whether a proof that lives no longer than `lifetime` may have been used without being remembered.
    pub fn may_lack(&self, lifetime: Duration, now: Timestamp) -> bool {
        self.complete_since.is_some_and(|since| now < since.after(lifetime))
    }

    /// Whether `nonce` was given out by this gate, and not long ago.
    pub fn accept(&self, nonce: &str, now: Timestamp) -> bool {
        self.nonces.as_ref().is_some_and(|nonces| nonces.accepts(nonce, now))
    }
}

/// What is known of one issuer's keys.
#[derive(Clone, Debug)]
pub enum Keys {
    /// Never obtained so far.
    Missing,
    /// Obtained.
    Obtained(Arc<KeySet>),
}

/// The facts for one step.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// What the operator configured.
    pub world: &'a World,
    /// What has been fetched.
    pub known: &'a Known,
    /// What the operator has revoked.
    pub revoked: &'a Set,
    /// The time of the call: read once, used for every comparison.
    pub now: Timestamp,
    /// What the issuer said of the presented token.
    pub introspected: Option<&'a Arc<Introspected>>,
    /// The grant that is remembered under the digest of the presented token.
    pub remembered: Option<&'a Arc<Grant>>,
    /// What the binding service of the grant's issuer answered about its agent's identity.
    pub binding: Option<&'a Answer>,
    /// Needs that the world has tried to meet for this call and will not try again.
    pub exhausted: &'a [Need],
    /// What is known of policies.
    pub policies: Policies<'a>,
}

/// What is known of policies, and how they may be asked.
#[derive(Clone, Copy, Debug)]
pub struct Policies<'a> {
    /// Texts, pins, and what is compiled.
    pub library: &'a Library,
    /// What the world has tried to do for this call and will not try again.
    pub tried: &'a [Lack],
    /// What policies said that needed more steps than a thread that serves grants.
    pub answered: &'a [Answered],
    /// A watch, for the records. What it shows decides nothing.
    pub watch: Watch,
}

/// How long something has been running: the difference of two readings is the time between them.
pub type Watch = fn() -> Duration;

/// What a policy said that was given all its steps.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The policy, and what it was told.
    pub long: Long,
    /// What it said.
    pub evaluation: Evaluation,
    /// How long it took.
    pub elapsed: Duration,
}

impl<'a> Policies<'a> {
    /// Those of `library`, of which nothing was tried so far, by a watch that stands still.
    pub const fn of(library: &'a Library) -> Self {
        Self { library, tried: &[], answered: &[], watch: || Duration::ZERO }
    }
}

impl<'a> Facts<'a> {
    /// The issuer with this index.
    pub fn issuer(&self, issuer: usize) -> Result<&'a Arc<Issuer>, Denial> {
        self.world.issuers.get(issuer).ok_or(Reason::IssuerUnknown.into())
    }

    /// The keys of the issuer with this index, if they are there.
    pub fn keys(&self, issuer: usize) -> Option<&'a Arc<KeySet>> {
        match self.known.keys.get(issuer) {
            Some(Keys::Obtained(keys)) => Some(keys),
            Some(Keys::Missing) | None => None,
        }
    }

    /// The status at `reference`: 0 is valid. `None` behind the end of the list.
    pub fn status(&self, issuer: usize, reference: &Reference) -> Result<Option<u8>, Stop> {
        let listed = self.known.heard.get(issuer).and_then(|heard| heard.lists.get(&reference.uri));
        match listed.filter(|listed| listed.is_good(self.now, self.keys(issuer))) {
            Some(listed) => Ok(listed.list.status(reference.index)),
            None => Err(self.ask(
                Need::StatusList(issuer, reference.uri.clone()),
                Denial::about(Reason::StatusUnavailable, "status_list"),
            )),
        }
    }

    /// What the issuer with this index has revoked by its feed, which is at most `max_age` old.
    pub fn feed(&self, issuer: usize, max_age: Duration) -> Result<&'a Set, Stop> {
        let fed = self.known.heard.get(issuer).and_then(|heard| heard.feed.as_ref());
        match fed.filter(|fed| fed.is_good(self.now, max_age, self.keys(issuer))) {
            Some(fed) => Ok(fed.feed.set()),
            None => Err(self.ask(
                Need::Revocations(issuer),
                Denial::about(Reason::RevocationsStale, "revocation_feed"),
            )),
        }
    }

    /// What the issuer with this index says of the presented token.
    pub fn introspection(&self, issuer: usize) -> Result<&'a Introspected, Stop> {
        match self.introspected.filter(|introspected| introspected.holds(self.now)) {
            Some(introspected) => Ok(introspected),
            None => Err(self.ask(
                Need::Introspection(issuer),
                Denial::about(Reason::IntrospectionUnavailable, "introspection"),
            )),
        }
    }

    /// Asks for a fact, or refuses where the world could not get it.
    fn ask(&self, need: Need, without: Denial) -> Stop {
        if self.exhausted.contains(&need) { without.into() } else { Stop::Need(need) }
    }

    /// The issuer with this index and its keys.
    pub fn trusted(&self, issuer: usize) -> Result<(&'a Arc<Issuer>, &'a Arc<KeySet>), Stop> {
        Ok((self.issuer(issuer)?, self.obtained(issuer)?))
    }

    /// The keys with this index: those of the issuers come first, then those of the trust domains.
    pub fn obtained(&self, issuer: usize) -> Result<&'a Arc<KeySet>, Stop> {
        let without = Denial::about(Reason::KeysUnavailable, "jwks");
        self.keys(issuer).ok_or_else(|| self.ask(Need::Keys(issuer), without))
    }

    /// Whether asking for newer keys is of no use any more.
    pub fn keys_are_newest(&self, issuer: usize) -> bool {
        self.exhausted.contains(&Need::NewerKeys(issuer))
    }
}
