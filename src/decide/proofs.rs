//! Proof of possession: what the caller proves of itself beside holding the token, held against what the
//! token is bound to and what the resource demands (`verification.md` steps 12 and 13).

use super::call::Call;
use super::facts::{Facts, Stop};
use crate::model::need::Need;
use crate::model::reason::{Denial, Reason};
use crate::token::confirmation::Demands;
use crate::token::extract::{Credentials, Scheme};
use crate::token::grant::Grant;
use crate::token::presenter::Presenter;
use crate::token::target::Target;
use crate::token::trust::Profile;
use crate::token::verify::Halt;
use crate::token::workload::{self, Identity, UnverifiedIdentity};
use crate::token::{dpop, hash};

/// Verifies every proof that the token or the resource calls for. That a proof counts for the first time
/// is left to the permit's obligations.
pub fn prove(
    call: &Call<'_>,
    credentials: &Credentials<'_>,
    grant: &Grant,
    facts: &Facts<'_>,
) -> Result<Presenter, Stop> {
    let demands = call.resource().demands;
    check_scheme(credentials.scheme, grant, demands)?;
    // What was true when the connection was made is no proof now.
    let certificate = credentials.proofs.certificate.filter(|shown| shown.is_current(facts.now));
    let mut presenter = Presenter { certificate: certificate.cloned(), ..Presenter::default() };
    if credentials.scheme == Scheme::Dpop {
        let proof = prove_dpop(call, credentials, facts)?;
        presenter.dpop = Some(proof.thumbprint);
        presenter.dpop_use = Some(proof.first_use);
    }
    if calls_for_workload(credentials, grant, demands, facts) {
        prove_workload(call, credentials, grant, facts, &mut presenter)?;
    }
    if let Some(confirmation) = grant.confirmation() {
        confirmation.check(&presenter)?;
    }
    Ok(presenter)
}

/// RFC 9449 §7.1 and §7.2: a bound token is never taken as a bearer token, nor the other way round; and a
/// resource may take bound tokens only.
fn check_scheme(scheme: Scheme, grant: &Grant, demands: Demands) -> Result<(), Denial> {
    let confirmation = grant.confirmation();
    let is_bound = confirmation.is_some_and(|bound| bound.dpop.is_some());
    let can_be_proven = is_bound || confirmation.is_some_and(|bound| bound.key.is_some());
    match scheme {
        Scheme::Bearer | Scheme::Workload if is_bound => {
            Err(Denial::about(Reason::SchemeMismatch, "jkt"))
        }
        Scheme::Dpop if !can_be_proven => Err(Denial::about(Reason::SchemeMismatch, "cnf")),
        _ if demands.dpop && (!can_be_proven || scheme != Scheme::Dpop) => {
            Err(Denial::about(Reason::ProofRequired, "dpop"))
        }
        _ if demands.certificate
            && confirmation.is_none_or(|bound| bound.certificate.is_none()) =>
        {
            Err(Denial::about(Reason::ProofRequired, "x5t#S256"))
        }
        Scheme::Bearer | Scheme::Dpop | Scheme::Workload => Ok(()),
    }
}

fn prove_dpop(
    call: &Call<'_>,
    credentials: &Credentials<'_>,
    facts: &Facts<'_>,
) -> Result<dpop::Proof, Denial> {
    let presented = credentials.proofs.dpop;
    let presented = presented.ok_or(Denial::about(Reason::DpopProofInvalid, "dpop"))?;
    let proof = dpop::verify(
        presented,
        &dpop::Expected {
            method: call.method().as_str(),
            target: target(call, facts),
            token: &credentials.digest,
            algorithms: &call.resource().dpop_algorithms,
            now: facts.now,
        },
    )?;
    let memory = &facts.known.first_uses;
    // A nonce of this process shows that the proof was made after the start of the memory.
    let must_be_fresh = call.resource().dpop_nonce || memory.may_lack(dpop::LIFETIME, facts.now);
    let is_fresh = proof.nonce.as_deref().is_some_and(|nonce| memory.accept(nonce, facts.now));
    if must_be_fresh && !is_fresh {
        return Err(Denial::about(Reason::DpopNonceRequired, "nonce"));
    }
    Ok(proof)
}

/// A workload that nobody asks for is proven where it can be: what is presented is either true or refused.
fn calls_for_workload(
    credentials: &Credentials<'_>,
    grant: &Grant,
    demands: Demands,
    facts: &Facts<'_>,
) -> bool {
    let proofs = &credentials.proofs;
    let is_presented = proofs.workload.is_some() || proofs.workload_proof.is_some();
    let is_bound = grant.confirmation().is_some_and(|bound| bound.key.is_some());
    demands.workload
        || credentials.scheme == Scheme::Workload
        || grant.issuer().profile == Profile::OpenAgentAuth
        || (is_bound && credentials.scheme != Scheme::Dpop)
        || (is_presented && !facts.world.domains.is_empty())
}

fn prove_workload(
    call: &Call<'_>,
    credentials: &Credentials<'_>,
    grant: &Grant,
    facts: &Facts<'_>,
    presenter: &mut Presenter,
) -> Result<(), Stop> {
    let proofs = &credentials.proofs;
    let identity = identify(proofs.workload.ok_or(Reason::WorkloadIdentityAbsent)?, facts)?;
    let proof = proofs.workload_proof;
    let proof = proof.ok_or(Denial::about(Reason::WorkloadProofInvalid, "wpt"))?;
    let expected = workload::Expected {
        target: target(call, facts),
        token: &credentials.digest,
        token_header: proofs.token_header.map(http::HeaderName::as_str),
        transaction: proofs.transaction.map(|token| hash::sha256(token.as_bytes())),
        is_open_agent_auth: grant.issuer().profile == Profile::OpenAgentAuth,
        now: facts.now,
    };
    let first_use = workload::verify_proof(proof, &identity, &expected)?;
    // There are no nonces for these proofs: until the oldest one has ended, a replay cannot be told.
    if facts.known.first_uses.may_lack(workload::LIFETIME, facts.now) {
        return Err(Denial::about(Reason::FirstUseUnknown, "restart").into());
    }
    presenter.workload = Some(identity.subject);
    presenter.workload_agent = identity.agent;
    presenter.workload_key = Some(identity.thumbprint);
    presenter.workload_use = Some(first_use);
    Ok(())
}

fn identify(token: &str, facts: &Facts<'_>) -> Result<Identity, Stop> {
    let token = UnverifiedIdentity::read(token)?;
    let domain = token.domain(&facts.world.domains)?;
    match token.verify(domain, facts.obtained(domain.keys)?, facts.now) {
        Ok(identity) => Ok(identity),
        Err(Halt::Refuse(denial)) => Err(denial.into()),
        Err(Halt::Need(need)) => Err(Stop::Need(need)),
        Err(Halt::KeyUnknown) if facts.keys_are_newest(domain.keys) => {
            Err(Denial::about(Reason::WorkloadIdentityInvalid, "kid").into())
        }
        Err(Halt::KeyUnknown) => Err(Stop::Need(Need::NewerKeys(domain.keys))),
    }
}

fn target<'a>(call: &Call<'a>, facts: &Facts<'a>) -> Target<'a> {
    Target {
        origin: &facts.world.origin,
        authority: call.authority(),
        path: call.full_path(),
        resource: &call.resource().id,
        below: call.raw_path(),
    }
}
