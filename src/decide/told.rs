//! Evidence that a token only names (`evidence.md` V9): where the operation demands evidence, the issuer
//! that can be asked of the token is asked what it is.
//!
//! It is found out at each call, and not with the grant: what the issuer says is good for a while only.

use super::call::Call;
use super::circle::Circle;
use super::facts::{Facts, Stop};
use super::{finish, revoked};
use crate::model::reason::{Denial, Reason};
use crate::token::evidence::Evidenced;
use crate::token::extract::Credentials;
use crate::token::grant::{Grant, Origin};
use crate::token::introspection::Answer;
use crate::token::verify::Unverified;

/// What the issuer tells of the evidence that the token names; `None` where nobody needs to be asked, or
/// nobody can be.
pub(super) fn find(
    call: &Call<'_>,
    credentials: &Credentials<'_>,
    grant: &Grant,
    facts: &Facts<'_>,
) -> Result<Option<Evidenced>, Stop> {
    let demand = call.confirmation()?;
    let is_told_already = matches!(grant.origin(), Origin::Introspected { .. });
    let can_be_asked = grant.issuer().liveness.introspects && !is_told_already;
    if !can_be_asked || !grant.evidence().is_lacking(demand) {
        return Ok(None);
    }
    let token = Unverified::read(credentials.token, credentials.digest)?;
    if !token.names_evidence(grant) {
        return Ok(None);
    }
    let (issuer, answer) = revoked::answer(call, grant, facts)?;
    let Answer::Active(members) = answer else {
        return Err(Denial::from(Reason::TokenInactive).into());
    };
    let signers = Circle { call, facts, issuer };
    finish(token.told(grant, members, &signers, facts.now), issuer, facts).map(Some)
}
