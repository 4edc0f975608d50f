//! What a decision is told of the world outside, and how it asks for more.

use std::sync::Arc;

use super::binding::Answer;
use super::world::World;
use crate::model::need::Need;
use crate::model::reason::{Denial, Reason};
use crate::model::time::Timestamp;
use crate::token::grant::Grant;
use crate::token::keys::KeySet;
use crate::token::revocation::Set;
use crate::token::trust::Issuer;

/// Why a step did not finish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It lacks a fact that the world may have.
    Need(Need),
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
    /// The grant that is remembered under the digest of the presented token.
    pub remembered: Option<&'a Arc<Grant>>,
    /// What the binding service of the grant's issuer answered about its agent's identity.
    pub binding: Option<&'a Answer>,
    /// Needs that the world has tried to meet for this call and will not try again.
    pub exhausted: &'a [Need],
}

impl<'a> Facts<'a> {
    /// The issuer with this index.
    pub fn issuer(&self, issuer: usize) -> Result<&'a Arc<Issuer>, Denial> {
        self.world.issuers.get(issuer).ok_or(Reason::IssuerUnknown.into())
    }

    /// The issuer with this index and its keys.
    pub fn trusted(&self, issuer: usize) -> Result<(&'a Arc<Issuer>, &'a Arc<KeySet>), Stop> {
        let trust = self.issuer(issuer)?;
        match self.known.keys.get(issuer) {
            Some(Keys::Obtained(keys)) => Ok((trust, keys)),
            Some(Keys::Missing) | None if self.exhausted.contains(&Need::Keys(issuer)) => {
                Err(Denial::about(Reason::KeysUnavailable, "jwks").into())
            }
            Some(Keys::Missing) | None => Err(Stop::Need(Need::Keys(issuer))),
        }
    }

    /// Whether asking for newer keys is of no use any more.
    pub fn keys_are_newest(&self, issuer: usize) -> bool {
        self.exhausted.contains(&Need::NewerKeys(issuer))
    }
}
