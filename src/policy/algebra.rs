//! The decision algebra (`policy.md` §3): order and combination, and nothing of any language.
//!
//! ```text
//! allow := the overlay does not deny
//!        ∧ required scopes ⊆ token scopes
//!        ∧ the person was authenticated as the operator demands
//!        ∧ every boundary policy is true
//!        ∧ (no grant entries ∨ some applicable entry is true)
//!        ∧ (a grant or a boundary in the token ∨ the resource asks for scopes alone)
//! ```
//!
//! What a policy says is asked of whoever calls: [`Ask`].

#![deny(clippy::wildcard_enum_match_arm)]

use super::engine::Verdict;
use super::record::is_error;
use crate::model::authentication;
use crate::model::operation::Operation;
use crate::model::reason::{Denial, Reason};
use crate::model::time::Timestamp;
use crate::token::details::{Entry, Rule};
use crate::token::grant::{Boundary, Grant};
use crate::token::policies::Policy;

/// The most policies that may bear on one operation (`policy.md` §5).
pub const MAX_POLICIES: usize = 16;

/// What the operator demands for an operation, whatever a token says.
#[derive(Clone, Copy, Debug)]
pub struct Demand<'a> {
    /// Whether the overlay denies it.
    pub denied: bool,
    /// The scopes that are required of every operation of the resource.
    pub resource_scopes: &'a [Box<str>],
    /// The scopes that are required of this operation.
    pub operation_scopes: &'a [Box<str>],
    /// How the person must have been authenticated.
    pub authentication: &'a authentication::Demand,
    /// The time of the call.
    pub now: Timestamp,
    /// Whether the scopes suffice: the resource is `authorization = "scope"`.
    pub scopes_suffice: bool,
    /// How many policies of the operator's own bound the resource.
    pub local_policies: usize,
}

/// Why an operation is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// Every boundary policy of the token was true, and it has no grant entries.
    Boundaries,
    /// A valid token was enough: it sets up a session, or asks what there is.
    Open,
    /// The entry with this index in `authorization_details` applied.
    Entry(usize),
    /// The policy of the entry with this index was true.
    Policy(usize),
    /// The scopes sufficed.
    Scopes,
}

impl Demand<'_> {
    /// Whether the operator lets `grant` come so far that what it says counts.
    fn check(&self, grant: &Grant) -> Result<(), Denial> {
        if self.denied {
            return Err(Reason::OverlayDenied.into());
        }
        let mut required = self.resource_scopes.iter().chain(self.operation_scopes);
        if !required.all(|scope| grant.has_scope(scope)) {
            return Err(Denial::about(Reason::ScopeMissing, "scope"));
        }
        grant.authentication().check(self.authentication, grant.issuer().leeway, self.now)
    }
}

/// The carrier of the operator's own policies.
pub const LOCAL: &str = "local_policy";

/// A policy that is asked.
#[derive(Clone, Copy, Debug)]
pub enum Asked<'a> {
    /// One that the token carries or names as a boundary.
    Boundary(&'a Boundary),
    /// One of an entry that grants something.
    Entry(&'a Entry, &'a Policy),
    /// The operator's own with this place.
    Local(usize),
}

impl Asked<'_> {
    /// What carries it, in records and refusals.
    pub const fn carrier(self) -> &'static str {
        match self {
            Self::Boundary(Boundary::DelegatedPolicy(_)) => "delegated_policy",
            Self::Boundary(Boundary::PolicyId(_)) => "policy_id",
            Self::Boundary(Boundary::PolicyRef(_)) => "policy_ref",
            Self::Entry(..) => "authorization_details",
            Self::Local(_) => LOCAL,
        }
    }
}

/// Whoever knows what policies say.
pub trait Ask {
    /// Why an answer cannot be had now.
    type Stop: From<Denial>;

    /// What the policy says; or a refusal, where it cannot say anything.
    fn ask(&mut self, policy: Asked<'_>) -> Result<Result<Verdict, Denial>, Self::Stop>;
}

/// Decides whether `grant` allows `operation` under `demand`. First failure in the order of the
/// algebra; the first grant entry that is true wins, so the answer is the same each time.
pub fn decide<A: Ask>(
    demand: &Demand<'_>,
    grant: &Grant,
    operation: &Operation<'_>,
    policies: &mut A,
) -> Result<Basis, A::Stop> {
    demand.check(grant)?;
    if operation.is_open {
        return Ok(Basis::Open);
    }
    check_number(demand, grant, operation)?;
    let named = grant.boundaries().iter().map(Asked::Boundary);
    for asked in named.chain((0..demand.local_policies).map(Asked::Local)) {
        if let Some(denial) = denial(policies.ask(asked)?, asked.carrier()) {
            return Err(denial.into());
        }
    }
    match grant.entries() {
        [] if !grant.boundaries().is_empty() => Ok(Basis::Boundaries),
        [] if demand.scopes_suffice => Ok(Basis::Scopes),
        [] => Err(Denial::from(Reason::NoOperationPolicy).into()),
        entries => some_entry(entries, operation, policies),
    }
}

/// `policy.md` §5: what one request may cost. Counted before any policy is asked, so that the answer does
/// not rest on what they say.
fn check_number(
    demand: &Demand<'_>,
    grant: &Grant,
    operation: &Operation<'_>,
) -> Result<(), Denial> {
    let carries_policy =
        |entry: &&Entry| matches!(entry.rule, Rule::Policy(_)) && entry.bounds.hold(operation);
    let carried = grant.entries().iter().filter(carries_policy).count();
    let all = grant.boundaries().len() + demand.local_policies + carried;
    if all > MAX_POLICIES { Err(Reason::PoliciesTooMany.into()) } else { Ok(()) }
}

/// Whether what `operation` says in its body can decide: a policy may look at anything, a list says what
/// it looks at.
pub fn judges_body(grant: &Grant, operation: &Operation<'_>) -> bool {
    let mut entries = grant.entries().iter().filter(|entry| entry.bounds.hold(operation));
    !grant.boundaries().is_empty()
        || entries.any(|entry| match &entry.rule {
            Rule::Operations(allowed) => allowed.iter().any(|one| one.judges_body(operation)),
            Rule::Policy(_) => true,
        })
}

/// Whether the token has anything to say about `operation`, whatever its arguments are: whoever has no
/// right to it does not learn from a refusal what arguments it takes.
pub fn concerns(demand: &Demand<'_>, grant: &Grant, operation: &Operation<'_>) -> bool {
    let names = |entry: &Entry| match &entry.rule {
        Rule::Operations(allowed) => allowed.iter().any(|one| one.names(operation)),
        Rule::Policy(_) => true,
    };
    let is_said = match grant.entries() {
        [] => demand.scopes_suffice || !grant.boundaries().is_empty(),
        entries => entries.iter().any(|entry| entry.bounds.hold(operation) && names(entry)),
    };
    is_said && demand.check(grant).is_ok()
}

/// First true → allow; none true and some failed → the failure; else not allowed.
fn some_entry<A: Ask>(
    entries: &[Entry],
    operation: &Operation<'_>,
    policies: &mut A,
) -> Result<Basis, A::Stop> {
    let (mut worst, mut is_named): (Option<Denial>, bool) = (None, false);
    for entry in entries.iter().filter(|entry| entry.bounds.hold(operation)) {
        match &entry.rule {
            Rule::Operations(allowed) if allowed.iter().any(|one| one.covers(operation)) => {
                return Ok(Basis::Entry(entry.index));
            }
            Rule::Operations(allowed) => {
                is_named |= allowed.iter().any(|one| one.names(operation));
            }
            Rule::Policy(policy) => {
                let asked = Asked::Entry(entry, policy);
                let Some(denial) = denial(policies.ask(asked)?, asked.carrier()) else {
                    return Ok(Basis::Policy(entry.index));
                };
                // A failure is told rather than a no: the no of one entry does not say that the other
                // would not have said yes.
                if worst.is_none_or(|known| rank(known.reason) < rank(denial.reason)) {
                    worst = Some(denial);
                }
            }
        }
    }
    let outside = is_named.then_some(Denial::from(Reason::ArgumentsOutside));
    Err(worst.or(outside).unwrap_or(Reason::NoApplicableGrant.into()).into())
}

/// Among entries that do not allow: an engine's failure (500), then what could not be had (503), then a
/// no (403). Of equals the first.
const fn rank(reason: Reason) -> u8 {
    if is_error(reason) {
        2
    } else if matches!(reason, Reason::PolicyUnavailable) {
        1
    } else {
        0
    }
}

/// Everything but true is a refusal (`policy.md` §5, rule 3).
fn denial(said: Result<Verdict, Denial>, carrier: &'static str) -> Option<Denial> {
    match said {
        Ok(Verdict::True) => None,
        Ok(Verdict::False) => Some(Denial::about(Reason::PolicyDenied, carrier)),
        Ok(Verdict::NonBoolean) => Some(Denial::about(Reason::PolicyNonBoolean, carrier)),
        Ok(Verdict::Undefined) => Some(Denial::about(Reason::PolicyUndefined, carrier)),
        Err(denial) => Some(denial),
    }
}

#[cfg(test)]
mod tests;
