//! The decision point: pure functions of (call, token, facts, time).
//!
//! `serve`, `explain`, tests and fuzzers run these same steps. A step that lacks a fact stops with a
//! [`Need`]; the world fetches it and takes the step again.
//!
//! [`Need`]: crate::model::need::Need

#![deny(clippy::wildcard_enum_match_arm)]

pub mod admit;
pub mod binding;
pub mod call;
mod circle;
pub mod consult;
pub mod exchange;
pub mod facts;
pub mod permit;
pub mod proofs;
pub mod revoked;
pub mod spoken;
mod told;
pub mod trace;
pub mod world;

use std::sync::Arc;

use http::header;

use self::call::Call;
use self::circle::Circle;
use self::consult::{Consultation, Question, Told};
use self::facts::{Facts, Stop};
use self::permit::Permit;
use crate::model::body::Body;
use crate::model::consulted::Consulted;
use crate::model::need::{Need, Obligation};
use crate::model::operation::Operation;
use crate::model::reason::{Denial, Reason};
use crate::operation::catalog::BodyUse;
use crate::operation::contract::{Breach, Contract, Misfit, Sent};
use crate::policy::algebra;
use crate::policy::quantities::Charge;
use crate::token::extract::Credentials;
use crate::token::grant::{Grant, Origin, Recheck};
use crate::token::parties::Parties;
use crate::token::presenter::Presenter;
use crate::token::verify::{self, Halt, Unverified};

/// Turns a presented token into a grant (`verification.md` steps 10a to 10h, 14, 16, 17).
///
/// A remembered grant is taken only when all it rests on still holds, so that remembering never
/// changes an answer.
pub fn authenticate(
    call: &Call<'_>,
    credentials: &Credentials<'_>,
    facts: &Facts<'_>,
) -> Result<Arc<Grant>, Stop> {
    if let Some(grant) = remembered(call, facts)? {
        return Ok(grant);
    }
    if let Some(issuer) = opaque_issuer(call, credentials) {
        let answer = facts.introspection(issuer)?;
        let trust = facts.issuer(issuer)?;
        let signers = Circle { call, facts, issuer };
        let grant = verify::introspected(answer, trust, credentials.digest, &signers, facts.now);
        return finish(grant, issuer, facts).map(Arc::new);
    }
    let token = Unverified::read(credentials.token, credentials.digest)?;
    let hint = token.issuer_hint()?;
    let issuer = call.resource().issuer_named(hint, facts.world);
    let index = issuer.ok_or(Denial::about(Reason::IssuerUnknown, "iss"))?;
    // Before keys are asked for: what its header alone refuses must not make the gate fetch any.
    token.check_header(facts.issuer(index)?)?;
    let (trust, keys) = facts.trusted(index)?;
    let signers = Circle { call, facts, issuer: index };
    finish(token.verify(trust, keys, &signers, facts.now), index, facts).map(Arc::new)
}

/// What comes of a verification: what it found, a refusal, or what it lacks.
fn finish<T>(verified: Result<T, Halt>, issuer: usize, facts: &Facts<'_>) -> Result<T, Stop> {
    match verified {
        Ok(found) => Ok(found),
        Err(Halt::Need(need)) => Err(Stop::Need(need)),
        Err(Halt::Refuse(denial)) => Err(denial.into()),
        Err(Halt::KeyUnknown) if facts.keys_are_newest(issuer) => {
            Err(Denial::about(Reason::KeyUnknown, "kid").into())
        }
        Err(Halt::KeyUnknown) => Err(Stop::Need(Need::NewerKeys(issuer))),
    }
}

/// The issuer to ask of a token that is no JWT: an opaque one names none, so a resource takes those of
/// one issuer.
fn opaque_issuer(call: &Call<'_>, credentials: &Credentials<'_>) -> Option<usize> {
    let is_jwt = credentials.token.token().bytes().filter(|byte| *byte == b'.').count() == 2;
    call.resource().opaque_issuer.filter(|_| !is_jwt)
}

fn remembered(call: &Call<'_>, facts: &Facts<'_>) -> Result<Option<Arc<Grant>>, Stop> {
    let Some(grant) = facts.remembered else { return Ok(None) };
    let index = match grant.origin() {
        Origin::Signed(_) => call.resource().issuer_named(&grant.issuer().id, facts.world),
        // Another resource may ask another issuer of the same text.
        Origin::Introspected { .. } => call.resource().opaque_issuer,
    };
    let Some(index) = index else { return Ok(None) };
    let signers = Circle { call, facts, issuer: index };
    match grant.recheck(facts.issuer(index)?, facts.keys(index), &signers, facts.now) {
        Ok(Recheck::Stands) => Ok(Some(Arc::clone(grant))),
        Ok(Recheck::Ended(denial)) | Err(Halt::Refuse(denial)) => Err(denial.into()),
        Err(Halt::Need(need)) => Err(Stop::Need(need)),
        Ok(Recheck::Stale) | Err(Halt::KeyUnknown) => Ok(None),
    }
}

/// Whether the body of the call must be read before [`authorize`] can be asked (`verification.md` step 18).
///
/// Where a policy may look at the body, one that cannot be read is refused, and not left out: a policy
/// would be shown a call without arguments, and the upstream would be sent one with them.
pub fn judges_body(call: &Call<'_>, grant: &Grant) -> bool {
    let Ok(entry) = call.entry() else { return false };
    match entry.body {
        BodyUse::Json => true,
        BodyUse::Stream => false,
        BodyUse::WhenNeeded => {
            !call.resource().local_policies.is_empty()
                || call.resource().caps_on(&entry.action).any(|cap| cap.reads_body())
                || algebra::judges_body(grant, &call.operation(entry, None))
        }
    }
}

/// What a permitted call counts under every cap of the operator's (`verification.md` step 27). Whether there
/// is room for it, the ledger knows.
pub fn charges(
    call: &Call<'_>,
    grant: &Grant,
    presenter: &Presenter,
    body: Option<&Body>,
    consulted: &[Consulted],
) -> Result<Vec<Charge>, Denial> {
    let entry = call.entry()?;
    let mut caps = call.resource().caps_on(call.action()?).peekable();
    // What needs no grant uses none up.
    if caps.peek().is_none() || call.is_open() {
        return Ok(Vec::new());
    }
    let operation = call.operation(entry, body);
    let parties = Parties::of(grant, Some(presenter));
    let of_token = consulted.iter().filter(|one| one.carrier != algebra::LOCAL && one.allowed());
    let policies = of_token.map(|one| one.sha256).collect();
    let mut charges = Vec::new();
    for cap in caps {
        charges.extend(cap.charges(&operation, grant, &parties, &policies)?);
    }
    Ok(charges)
}

/// What a decision came to, and which policies were asked on the way.
#[derive(Debug)]
pub struct Decided {
    /// Whether the call may be forwarded.
    pub verdict: Result<Permit, Denial>,
    /// The policies that were asked, in order.
    pub consulted: Vec<Consulted>,
    /// What they were told.
    pub told: Vec<Told>,
    /// The argument that does not fit, where that is why it may not.
    pub misfit: Option<Misfit>,
}

/// Decides whether the grant allows the operation (`verification.md` stage D, steps 20 to 26).
///
/// What the presenter has proven once is an obligation of the permit: a call that is refused here does
/// not use its proof up.
pub fn authorize(question: &Question<'_>, facts: &Facts<'_>) -> Result<Decided, Stop> {
    let Question { call, grant, presenter, body, .. } = *question;
    let resource = call.resource();
    let entry = call.entry()?;
    let operation = call.operation(entry, body);
    let demand = algebra::Demand {
        denied: call.is_denied(),
        resource_scopes: &resource.scopes,
        operation_scopes: &entry.scopes,
        authentication: &entry.authentication,
        now: facts.now,
        scopes_suffice: resource.scopes_suffice,
        local_policies: resource.local_policies.len(),
    };
    let is_validated = entry.contract.is_some() || question.schema.is_some();
    if is_validated
        && algebra::concerns(&demand, grant, &operation)
        && let Err(breach) = fits(entry.contract.as_deref(), question, &operation)
    {
        return Ok(breach.into());
    }
    let mut policies = Consultation::new(question, &operation, facts);
    let basis = algebra::decide(&demand, grant, &operation, &mut policies);
    // Last, so that whoever is told to ask the person again knows that nothing else is lacking.
    let evidence = presenter.evidence(grant);
    let confirmed = basis.and_then(|basis| {
        evidence.suffices(call.confirmation()?, facts.now)?;
        Ok(basis)
    });
    let verdict = match confirmed {
        Ok(basis) => {
            let confirmation = call.confirmation()?;
            let must_fit = confirmation.refuse_reuse;
            let leeway = grant.issuer().leeway;
            let bound = evidence.bond(confirmation);
            let bond = bound.map(|(bond, confirmed)| Obligation::Bond {
                bond,
                earliest: confirmed.before(leeway),
                must_fit,
            });
            // Evidence comes first: a call that it refuses does not use its proof up.
            let proofs = presenter.first_uses().map(Obligation::FirstUse);
            let obligations = bond.into_iter().chain(proofs).collect();
            Ok(Permit::granted(basis, grant.ends(), obligations))
        }
        Err(Stop::Refuse(denial)) => Err(denial),
        Err(lacking) => return Err(lacking),
    };
    let (consulted, told) = policies.into_log();
    Ok(Decided { verdict, consulted, told, misfit: None })
}

/// Whether the arguments are those that the operation takes, where the operator has them validated: before
/// any policy, so that policies are asked of nothing else, and only where the token is about the operation.
fn fits(
    contract: Option<&Contract>,
    question: &Question<'_>,
    operation: &Operation<'_>,
) -> Result<(), Breach> {
    if let (Some(schema), Some(arguments)) = (question.schema, operation.args()) {
        schema.check(arguments).map_err(Breach::Argument)?;
    }
    let Some(contract) = contract else { return Ok(()) };
    let content_type = question.headers.get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    contract.check(operation, Sent { content_type, is_unread: question.is_unread })
}

impl From<Breach> for Decided {
    fn from(breach: Breach) -> Self {
        let (denial, misfit) = match breach {
            Breach::ContentType => (Denial::about(Reason::BodyTypeRefused, "content-type"), None),
            Breach::Argument(misfit) => {
                (Denial::about(Reason::ArgumentsInvalid, misfit.keyword), Some(misfit))
            }
        };
        Self { verdict: Err(denial), consulted: Vec::new(), told: Vec::new(), misfit }
    }
}
