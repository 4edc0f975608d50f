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

#![deny(clippy::wildcard_enum_match_arm)]

use crate::model::authentication;
use crate::model::operation::Operation;
use crate::model::reason::{Denial, Reason};
use crate::model::time::Timestamp;
use crate::token::details::{Entry, Rule};
use crate::token::grant::{Boundary, Grant};

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
}

/// Why an operation is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// Every boundary policy of the token was true, and it has no grant entries.
    Boundaries,
    /// The entry with this index in `authorization_details` applied.
    Entry(usize),
    /// The scopes sufficed.
    Scopes,
}

/// Decides whether `grant` allows `operation` under `demand`. First failure in the order of the
/// algebra; the first grant entry that is true wins, so the answer is the same each time.
pub fn decide(
    demand: &Demand<'_>,
    grant: &Grant,
    operation: &Operation<'_>,
) -> Result<Basis, Denial> {
    if demand.denied {
        return Err(Reason::OverlayDenied.into());
    }
    let mut required = demand.resource_scopes.iter().chain(demand.operation_scopes);
    if !required.all(|scope| grant.has_scope(scope)) {
        return Err(Denial::about(Reason::ScopeMissing, "scope"));
    }
    grant.authentication().check(demand.authentication, grant.issuer().leeway, demand.now)?;
    for boundary in grant.boundaries() {
        evaluate(boundary)?;
    }
    match grant.entries() {
        [] if !grant.boundaries().is_empty() => Ok(Basis::Boundaries),
        [] if demand.scopes_suffice => Ok(Basis::Scopes),
        [] => Err(Reason::NoOperationPolicy.into()),
        entries => some_entry(entries, operation),
    }
}

/// A boundary that cannot be resolved is not true. This is where policies that a token names are
/// evaluated once there is a source for them.
fn evaluate(boundary: &Boundary) -> Result<(), Denial> {
    match boundary {
        Boundary::DelegatedPolicy(_) => {
            Err(Denial::about(Reason::PolicyUnresolvable, "delegated_policy"))
        }
        Boundary::PolicyId(_) => Err(Denial::about(Reason::PolicyUnresolvable, "policy_id")),
        Boundary::PolicyRef(_) => Err(Denial::about(Reason::PolicyUnresolvable, "policy_ref")),
    }
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

/// First true → allow; none true and some failed → the failure; else not allowed.
fn some_entry(entries: &[Entry], operation: &Operation<'_>) -> Result<Basis, Denial> {
    let (mut failure, mut is_named) = (None, false);
    for entry in entries.iter().filter(|entry| entry.bounds.hold(operation)) {
        match &entry.rule {
            Rule::Operations(allowed) if allowed.iter().any(|one| one.covers(operation)) => {
                return Ok(Basis::Entry(entry.index));
            }
            Rule::Operations(allowed) => {
                is_named |= allowed.iter().any(|one| one.names(operation));
            }
            Rule::Policy(_) => {
                failure = Some(Denial::about(Reason::PolicyLanguageUnknown, "language"));
            }
        }
    }
    let outside = is_named.then_some(Denial::from(Reason::ArgumentsOutside));
    Err(failure.or(outside).unwrap_or(Reason::NoApplicableGrant.into()))
}
