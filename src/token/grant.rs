//! The grant: what a verified token authorizes. Only [`super::verify`] can make one.

use std::fmt;
use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value};

use super::aoa::Members;
use super::authentication::Authentication;
use super::claims::Claims;
use super::confirmation::Confirmation;
use super::delegation::Delegation;
use super::details::Entry;
use super::evidence::Evidenced;
use super::keys::{KeySet, Signer};
use super::policies::{Policy, PolicyId, PolicyRef};
use super::revocation::Named;
use super::signers::{Reliance, Signers};
use super::status::Reference;
use super::trust::Issuer;
use super::verify::Halt;
use crate::model::reason::Denial;
use crate::model::time::Timestamp;
use crate::model::written::Written;

/// A verified token: signature, issuer, type, dates and shape have been checked.
pub struct Grant {
    pub(super) issuer: Arc<Issuer>,
    pub(super) origin: Origin,
    pub(super) digest: [u8; 32],
    pub(super) claims: Claims,
    pub(super) confirmation: Option<Box<Confirmation>>,
    pub(super) entries: Box<[Entry]>,
    pub(super) boundaries: Vec<Boundary>,
    /// Apart where there are any: many grants are remembered, and most have none.
    pub(super) members: Option<Box<Members>>,
    pub(super) authentication: Authentication,
    pub(super) named: Named,
    pub(super) status: Option<Reference>,
    pub(super) delegation: Option<Delegation>,
    pub(super) evidence: Evidenced,
    pub(super) context: Option<Map<String, Value>>,
    pub(super) kept: Map<String, Value>,
    /// What was looked up beside the issuer's own keys.
    pub(super) relied: Vec<Reliance>,
    pub(super) written: OnceLock<Written>,
}

/// What a grant rests on.
#[derive(Clone, Debug)]
pub enum Origin {
    /// The issuer said that the token is active, which holds for a while (RFC 7662).
    Introspected {
        /// When it was asked: a later answer is another one.
        asked: Timestamp,
        /// Until when the answer is taken.
        until: Timestamp,
    },
    /// The issuer signed the token with this key.
    Signed(Signer),
}

/// A policy that the token carries or names and that must be true for every operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// `delegated_policy` of the record with this place in the delegation chain.
    DelegatedPolicy(usize),
    /// `agent_operation_authorization.policy_id`: a policy registered at the issuer.
    PolicyId(PolicyId),
    /// One element of `policy_ref`.
    PolicyRef(PolicyRef),
}

impl Grant {
    /// Whether a remembered grant still stands: nothing that it rests on has changed, and its time
    /// has neither ended nor not begun.
    pub fn recheck(
        &self,
        issuer: &Arc<Issuer>,
        keys: Option<&Arc<KeySet>>,
        signers: &impl Signers,
        now: Timestamp,
    ) -> Result<Recheck, Halt> {
        let is_same_trust = Arc::ptr_eq(&self.issuer, issuer) || self.issuer == *issuer;
        let is_same_origin = match &self.origin {
            Origin::Introspected { until, .. } => now < *until,
            Origin::Signed(signer) => keys.is_some_and(|keys| signer.is_from(keys)),
        };
        if !is_same_trust || !is_same_origin {
            return Ok(Recheck::Stale);
        }
        let dates = self.claims.check_current(issuer, now);
        let dates = dates.and_then(|()| self.members().check_current(issuer.leeway, now));
        if let Err(denial) = dates {
            return Ok(Recheck::Ended(denial));
        }
        for reliance in &self.relied {
            if !reliance.holds(signers, now)? {
                return Ok(Recheck::Stale);
            }
        }
        Ok(Recheck::Stands)
    }

    /// The SHA-256 of the token.
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Who issued it.
    pub fn issuer(&self) -> &Arc<Issuer> {
        &self.issuer
    }

    /// Its registered claims.
    pub const fn claims(&self) -> &Claims {
        &self.claims
    }

    /// What it is bound to; `None` for a bearer token.
    pub fn confirmation(&self) -> Option<&Confirmation> {
        self.confirmation.as_deref()
    }

    /// The entries that grant something, in token order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The policies that bound it, in the order of `policy.md` §3.
    pub fn boundaries(&self) -> &[Boundary] {
        &self.boundaries
    }

    /// The policy of the record with this place in its delegation chain.
    pub fn delegated_policy(&self, place: usize) -> Option<&Policy> {
        self.delegation.as_ref()?.hops.get(place)?.policy.as_ref()
    }

    /// `context`: what its client says of the operation.
    pub const fn context(&self) -> Option<&Map<String, Value>> {
        self.context.as_ref()
    }

    /// A claim that some resource shows to policies.
    pub fn kept_claim(&self, name: &str) -> Option<&Value> {
        self.kept.get(name)
    }

    /// What it rests on.
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Where its status is kept.
    pub const fn status(&self) -> Option<&Reference> {
        self.status.as_ref()
    }

    /// Everything that it can be revoked by.
    pub const fn named(&self) -> &Named {
        &self.named
    }

    /// Through whom it was delegated, when it was: every record verified.
    pub const fn delegation(&self) -> Option<&Delegation> {
        self.delegation.as_ref()
    }

    /// What it says of the person's confirmation.
    pub const fn evidence(&self) -> &Evidenced {
        &self.evidence
    }

    /// Whether the token carries the scope.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.claims.scope.iter().any(|own| **own == *scope)
    }

    /// What a record says of this token, which `write` puts together at the first call and every
    /// later call copies.
    pub fn written(&self, write: impl FnOnce(&mut Vec<u8>)) -> &Written {
        self.written.get_or_init(|| Written::by(write))
    }

    /// What it says of its agent, and of what the person was shown.
    pub fn members(&self) -> &Members {
        self.members.as_deref().unwrap_or(&Members::NONE)
    }

    /// How the person was authenticated.
    pub const fn authentication(&self) -> &Authentication {
        &self.authentication
    }

    /// When it ends, or the identity of its agent does; the leeway of its issuer included.
    pub fn ends(&self) -> Timestamp {
        let identity = self.members().identity.as_ref().map(|identity| identity.expires);
        let expires = self.claims.expires;
        identity.map_or(expires, |end| end.min(expires)).after(self.issuer.leeway)
    }
}

/// The answer to [`Grant::recheck`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recheck {
    /// Its time has ended or has not begun: refused without another look.
    Ended(Denial),
    /// What it rests on has changed: the token must be verified anew.
    Stale,
    /// It stands.
    Stands,
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Grant({}, {})", self.issuer.id, self.claims.jwt_id)
    }
}
