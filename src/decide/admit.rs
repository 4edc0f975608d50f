//! Who may use a verified token at this call: what must hold every time, however well the token is
//! remembered (`verification.md` steps 10h to 15).

use super::binding;
use super::call::Call;
use super::facts::{Facts, Stop};
use super::{proofs, revoked, told};
use crate::model::reason::{Denial, Reason};
use crate::token::delegation::presenter::{self, Method};
use crate::token::evidence::Evidenced;
use crate::token::extract::Credentials;
use crate::token::grant::Grant;
use crate::token::presenter::Presenter;

/// Admits the caller who presents `credentials` to the grant that they stand for.
pub fn admit(
    call: &Call<'_>,
    credentials: &Credentials<'_>,
    grant: &Grant,
    facts: &Facts<'_>,
) -> Result<Presenter, Stop> {
    check_audience(call, grant)?;
    revoked::check(grant, facts)?;
    revoked::introspect(call, grant, facts)?;
    let told = check_evidence(call, credentials, grant, facts)?;
    let mut presenter = proofs::prove(call, credentials, grant, facts)?;
    presenter.told = told.map(Box::new);
    revoked::check_agents(grant, presenter.agents(), facts)?;
    binding::check(grant, &presenter, facts)?;
    presenter.delegated = check_delegation(call, grant, &presenter)?;
    Ok(presenter)
}

/// RFC 9068 §4: `aud` holds the identifier of this resource, octet by octet.
fn check_audience(call: &Call<'_>, grant: &Grant) -> Result<(), Denial> {
    let id = call.resource().id.as_ref();
    let is_named = grant.claims().audience.iter().any(|audience| **audience == *id);
    if is_named { Ok(()) } else { Err(Denial::about(Reason::AudienceMismatch, "aud")) }
}

/// Step 17: evidence that is wrong makes the token wrong, wherever evidence is looked at. Gives what the
/// issuer tells of evidence that the token only names.
fn check_evidence(
    call: &Call<'_>,
    credentials: &Credentials<'_>,
    grant: &Grant,
    facts: &Facts<'_>,
) -> Result<Option<Evidenced>, Stop> {
    let (demand, leeway) = (call.confirmation()?, grant.issuer().leeway);
    grant.evidence().check(demand, leeway, facts.now)?;
    let told = told::find(call, credentials, grant, facts)?;
    if let Some(evidence) = &told {
        evidence.check(demand, leeway, facts.now)?;
    }
    Ok(told)
}

/// D17, and that delegation is proven where the resource demands it.
fn check_delegation(
    call: &Call<'_>,
    grant: &Grant,
    presenter: &Presenter,
) -> Result<Option<Method>, Denial> {
    let resource = call.resource();
    let Some(delegation) = grant.delegation() else {
        let is_missing = resource.require_chain && grant.claims().actor.is_some();
        let refused = Denial::about(Reason::DelegationInvalid, "require_chain");
        return if is_missing { Err(refused) } else { Ok(None) };
    };
    let allow_bearer = resource.allow_bearer_delegation;
    // A token with `cnf` comes this far only when what it names was proven.
    let is_confirmed = grant.claims().is_bound;
    presenter::check(delegation, grant.claims(), presenter, is_confirmed, allow_bearer).map(Some)
}
