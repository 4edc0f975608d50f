//! Whether a verified token is still good (`verification.md` step 11): asked at every call, and again
//! for every open stream when something was revoked.

use super::call::Call;
use super::facts::{Facts, Stop};
use crate::model::reason::{Denial, Reason};
use crate::token::grant::{Grant, Origin};
use crate::token::introspection::Answer;
use crate::token::revocation::{Hit, Set};

/// Refuses a token that was taken back: by the operator, by its issuer or one of its chain, by name of
/// an ancestor, or by its place in a status list.
pub fn check(grant: &Grant, facts: &Facts<'_>) -> Result<(), Stop> {
    look(grant, facts, |set| set.find(grant.named(), facts.now))?;
    let Some(reference) = grant.status() else { return Ok(()) };
    let issuer = facts.world.issuer_called(&grant.issuer().id);
    let issuer = issuer.ok_or(Denial::about(Reason::IssuerUnknown, "iss"))?;
    match facts.status(issuer, reference)? {
        Some(0) => Ok(()),
        Some(_) => Err(Denial::about(Reason::StatusInvalid, "status").into()),
        None => Err(Denial::about(Reason::StatusInvalid, "idx").into()),
    }
}

/// Refuses an agent that was revoked and is known by its proof alone: the token need not name it.
pub fn check_agents(
    grant: &Grant,
    agents: impl Iterator<Item = impl AsRef<str>>,
    facts: &Facts<'_>,
) -> Result<(), Stop> {
    for agent in agents {
        look(grant, facts, |set| set.find_agent(agent.as_ref(), grant.named(), facts.now))?;
    }
    Ok(())
}

/// Looks into what the operator has revoked, and what each issuer that the token is of has.
fn look(grant: &Grant, facts: &Facts<'_>, find: impl Fn(&Set) -> Option<Hit>) -> Result<(), Stop> {
    if let Some(hit) = find(facts.revoked) {
        return Err(Denial::from(hit).into());
    }
    for (index, issuer) in facts.world.issuers.iter().enumerate() {
        let Some(max_age) = issuer.liveness.feed_max_age else { continue };
        if grant.named().is_of(&issuer.id)
            && let Some(hit) = find(facts.feed(index, max_age)?)
        {
            return Err(Denial::from(hit).into());
        }
    }
    Ok(())
}

/// Whether the call rests on the word of the token's issuer: an opaque token, a resource that asks of
/// every token (`introspection = "always"`), or a chain that is anchored so (D15).
pub fn is_asked_of(call: &Call<'_>, grant: &Grant) -> bool {
    let is_anchored = grant.issuer().delegation.as_ref().is_some_and(|terms| terms.asks_for_root);
    matches!(grant.origin(), Origin::Introspected { .. })
        || call.resource().introspected
        || (is_anchored && grant.delegation().is_some())
}

/// Asks the issuer of a JWT too, where the call rests on its word.
pub fn introspect(call: &Call<'_>, grant: &Grant, facts: &Facts<'_>) -> Result<(), Stop> {
    if !is_asked_of(call, grant) || matches!(grant.origin(), Origin::Introspected { .. }) {
        return Ok(());
    }
    answer(call, grant, facts).map(drop)
}

/// What the issuer of a JWT says of it, and which issuer that is. What is not active, or another token, is
/// refused.
pub fn answer<'f>(
    call: &Call<'_>,
    grant: &Grant,
    facts: &Facts<'f>,
) -> Result<(usize, &'f Answer), Stop> {
    let id = &grant.issuer().id;
    let issuer = call.resource().issuer_named(id, facts.world);
    let issuer = issuer.ok_or(Denial::about(Reason::IssuerUnknown, "iss"))?;
    let claims = grant.claims();
    let answer = &facts.introspection(issuer)?.answer;
    if answer.agrees(id, &claims.subject, &claims.jwt_id) {
        Ok((issuer, answer))
    } else {
        Err(Denial::from(Reason::TokenInactive).into())
    }
}
