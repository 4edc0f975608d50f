//! Whose signatures count inside a token at this call: its issuer, and whom the resource lists beside it.

use super::call::Call;
use super::facts::{Facts, Stop};
use super::world::Signatory;
use crate::model::confirmation::Demand;
use crate::model::need::Need;
use crate::model::reason::{Denial, Reason};
use crate::token::signers::{Role, Signers, Trusted};
use crate::token::trust::Issuer;
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
            Role::Agent => self.agent(name),
            Role::Authority => self.authority(name),
            Role::Client => self.client(name),
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
        match std::iter::once(self.issuer).chain(listed).find(is_named) {
            Some(index) => self.trusted(self.facts.issuer(index)?, index).map(Some),
            None => Ok(None),
        }
    }

    /// D12: the directory of the agent's own scheme and authority, which can speak of no other agent. One
    /// that was never obtained is a refusal: to call its agents unknown would let a forged signature
    /// pass for as long as somebody keeps the directory away.
    fn agent(&self, name: &str) -> Result<Option<Trusted<'_>>, Halt> {
        let is_of = |directory: &&Signatory| {
            name.strip_prefix(&*directory.trust.id).is_some_and(|rest| rest.starts_with('/'))
        };
        let found = self.facts.world.directories.iter().find(is_of);
        found.map(|directory| self.trusted(&directory.trust, directory.keys)).transpose()
    }

    /// Form E4: a client in the list of prompt issuers. Its keys are asked for only where its word decides;
    /// elsewhere those at hand are good enough for the record.
    fn client(&self, name: &str) -> Result<Option<Trusted<'_>>, Halt> {
        let listed = &self.facts.world.prompt_issuers;
        let Some(client) = listed.iter().find(|client| *client.trust.id == *name) else {
            return Ok(None);
        };
        if self.call.confirmation().is_ok_and(Demand::takes_prompts) {
            return self.trusted(&client.trust, client.keys).map(Some);
        }
        let algorithms = &client.trust.algorithms;
        let keys = self.facts.keys(client.keys);
        Ok(keys.map(|keys| Trusted { algorithms, keys, newer: None }))
    }

    fn trusted<'s>(&'s self, issuer: &'s Issuer, index: usize) -> Result<Trusted<'s>, Halt> {
        let keys = self.facts.obtained(index).map_err(|stop| match stop {
            Stop::Need(need) => Halt::Need(need),
            Stop::Refuse(denial) => Halt::Refuse(denial),
            // Keys are looked up without asking any policy.
            Stop::Policies(_) => Halt::Refuse(Denial::about(Reason::KeysUnavailable, "jwks")),
        })?;
        let newer = (!self.facts.keys_are_newest(index)).then_some(Need::NewerKeys(index));
        Ok(Trusted { algorithms: &issuer.algorithms, keys, newer })
    }
}
