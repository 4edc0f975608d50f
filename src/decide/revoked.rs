//! Whether a verified token is still good (`verification.md` step 11): asked at every call, and again
//! for every open stream when something was revoked.

use super::facts::{Facts, Stop};
use crate::model::reason::Denial;
use crate::token::grant::Grant;

/// Refuses a token that was revoked: by the operator, by its issuer, or by name of an ancestor.
pub fn check(grant: &Grant, facts: &Facts<'_>) -> Result<(), Stop> {
    if let Some(hit) = facts.revoked.find(grant.named(), facts.now) {
        return Err(Denial::from(hit).into());
    }
    Ok(())
}
