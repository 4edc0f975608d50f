//! Whose signatures count inside a token at this call: its issuer, and whom the resource lists beside it.

use super::call::Call;
use super::facts::{Facts, Stop};
use crate::model::need::Need;
use crate::token::signers::{Role, Signers, Trusted};
use crate::token::verify::Halt;

/// The signers of a token that this issuer has issued for the resource of this call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circle<'a> {
    pub(super) call: &'a Call<'a>,
    pub(super) facts: &'a Facts<'a>,
    pub(super) issuer: usize,
}

impl Signers for Circle<'_> {
    fn find(&self, role: Role, name: &str) -> Result<Option<Trusted<'_>>, Halt> {
        match role {
            Role::Agent => Ok(None),
            Role::Authority => self.authority(name),
        }
    }
}

impl Circle<'_> {
    /// D9: the token's issuer, or one of `chain_as`.
    fn authority(&self, name: &str) -> Result<Option<Trusted<'_>>, Halt> {
        let world = self.facts.world;
        let listed = self.call.resource().chain_authorities.iter().copied();
        let is_named =
            |index: &usize| world.issuers.get(*index).is_some_and(|one| *one.id == *name);
        let Some(index) = std::iter::once(self.issuer).chain(listed).find(is_named) else {
            return Ok(None);
        };
        let (issuer, keys) = self.facts.trusted(index).map_err(|stop| match stop {
            Stop::Need(need) => Halt::Need(need),
            Stop::Refuse(denial) => Halt::Refuse(denial),
        })?;
        let newer = (!self.facts.keys_are_newest(index)).then_some(Need::NewerKeys(index));
        Ok(Some(Trusted { algorithms: &issuer.algorithms, keys, newer }))
    }
}
