//! Whether a verified token is still good (`verification.md` step 11): asked at every call, and again
//! for every open stream when something was revoked.

use super::call::Call;
use super::facts::{Facts, Stop};
use crate::model::reason::{Denial, Reason};
use crate::token::grant::{Grant, Origin};

/// Refuses a token that was taken back: by the operator, by its issuer or one of its chain, by name of
/// an ancestor, or by its place in a status list.
pub fn check(grant: &Grant, facts: &Facts<'_>) -> Result<(), Stop> {
    let named = grant.named();
    if let Some(hit) = facts.revoked.find(named, facts.now) {
        return Err(Denial::from(hit).into());
    }
    for (index, issuer) in facts.world.issuers.iter().enumerate() {
        let Some(max_age) = issuer.liveness.feed_max_age else { continue };
        if named.is_of(&issuer.id)
            && let Some(hit) = facts.feed(index, max_age)?.find(named, facts.now)
        {
            return Err(Denial::from(hit).into());
        }
    }
    let Some(reference) = grant.status() else { return Ok(()) };
    let issuer = facts.world.issuer_called(&grant.issuer().id);
    let issuer = issuer.ok_or(Denial::about(Reason::IssuerUnknown, "iss"))?;
    match facts.status(issuer, reference)? {
        Some(0) => Ok(()),
        Some(_) => Err(Denial::about(Reason::StatusInvalid, "status").into()),
        None => Err(Denial::about(Reason::StatusInvalid, "idx").into()),
    }
}

/// Asks the issuer of a JWT too, where the resource demands it (`introspection = "always"`).
pub fn introspect(call: &Call<'_>, grant: &Grant, facts: &Facts<'_>) -> Result<(), Stop> {
    if !call.resource().introspected || matches!(grant.origin(), Origin::Introspected { .. }) {
        return Ok(());
    }
    let id = &grant.issuer().id;
    let issuer = call.resource().issuer_named(id, facts.world);
    let issuer = issuer.ok_or(Denial::about(Reason::IssuerUnknown, "iss"))?;
    let claims = grant.claims();
    if facts.introspection(issuer)?.answer.agrees(id, &claims.subject, &claims.jwt_id) {
        Ok(())
    } else {
        Err(Denial::from(Reason::TokenInactive).into())
    }
}
