//! Whose signatures a token may carry inside, beside that of its issuer: authorization servers that
//! recorded a delegation or a consent, and agents that signed what they delegated.
//!
//! What a verification looked up is kept with the grant, so that a remembered grant falls when any of
//! the keys it rests on does.

use std::sync::Arc;

use super::detached::{Check, Detached};
use super::keys::{Key, KeySet};
use super::trust::{Algorithm, Issuer};
use super::verify::Halt;
use crate::model::need::Need;
use crate::model::time::Timestamp;

/// In what role a signature was made, which decides where keys for it may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// An agent that delegates.
    Agent,
    /// An authorization server that recorded something.
    Authority,
    /// A client that says what a person typed.
    Client,
}

/// The keys of a signer, and what they are trusted for.
#[derive(Clone, Debug)]
pub struct Trusted<'a> {
    /// The algorithms it may use.
    pub algorithms: &'a [Algorithm],
    /// Its keys.
    pub keys: &'a Arc<KeySet>,
    /// What to ask for when a key is not among them; `None` where they are the newest there are.
    pub newer: Option<Need>,
}

/// Whoever knows the signers that the operator configured. No key comes from anywhere else: nothing in
/// a token is ever dereferenced (`delegation.md` §6).
pub trait Signers {
    /// The keys under which `name` signs in `role`; `None` where nobody of that name is trusted so.
    fn find(&self, role: Role, name: &str) -> Result<Option<Trusted<'_>>, Halt>;
}

/// Nobody but the issuer of the token.
#[derive(Clone, Copy, Debug)]
pub struct IssuerAlone<'a> {
    /// The issuer.
    pub issuer: &'a Arc<Issuer>,
    /// Its keys.
    pub keys: &'a Arc<KeySet>,
}

impl Signers for IssuerAlone<'_> {
    fn find(&self, role: Role, name: &str) -> Result<Option<Trusted<'_>>, Halt> {
        let is_issuer = role == Role::Authority && *self.issuer.id == *name;
        let algorithms = &self.issuer.algorithms;
        Ok(is_issuer.then_some(Trusted { algorithms, keys: self.keys, newer: None }))
    }
}

/// One look at a signer's keys, and what was found there.
#[derive(Clone, Debug)]
pub struct Reliance {
    role: Role,
    name: Box<str>,
    /// `None` where nobody of that name was trusted.
    keys: Option<Arc<KeySet>>,
    /// The key that verified; `None` where none did.
    key: Option<(Box<[u8]>, Algorithm)>,
    at: Timestamp,
}

impl Reliance {
    /// Whether the look would find the same again at `now`.
    pub fn holds(&self, signers: &impl Signers, now: Timestamp) -> Result<bool, Halt> {
        let found = signers.find(self.role, &self.name)?;
        if !found.as_ref().is_none_or(|trusted| self.has_kept_its_certificates(trusted.keys, now)) {
            return Ok(false);
        }
        Ok(match (&self.keys, found, &self.key) {
            (None, None, _) => true,
            (Some(then), Some(now), Some((public, algorithm))) => {
                let is_it = |key: &Key| {
                    key.public() == &**public
                        && key.fits(*algorithm)
                        && (self.role != Role::Agent || belongs_to(key, &self.name))
                };
                now.algorithms.contains(algorithm)
                    && (Arc::ptr_eq(then, now.keys) || now.keys.named(None).any(is_it))
            }
            // A prompt is looked at without asking for anything, wherever it decides nothing.
            (Some(then), Some(now), None) => {
                let is_final = self.role != Role::Client || now.newer.is_none();
                is_final && Arc::ptr_eq(then, now.keys)
            }
            (Some(_), None, _) | (None, Some(_), _) => false,
        })
    }

    /// Whether no certificate of the agent has ended or begun since.
    fn has_kept_its_certificates(&self, keys: &KeySet, now: Timestamp) -> bool {
        self.role != Role::Agent
            || keys
                .named(None)
                .filter(|key| belongs_to(key, &self.name))
                .all(|key| key.is_valid(self.at) == key.is_valid(now))
    }
}

/// What came of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It does not verify.
    Bad,
    /// It verifies.
    Good,
    /// There is no key to hold it against.
    Unresolvable,
}

/// Verifies the signatures of one token, and keeps what they rest on.
#[derive(Debug)]
pub struct Verifier<'s, S> {
    signers: &'s S,
    now: Timestamp,
    relied: Vec<Reliance>,
}

impl<'s, S: Signers> Verifier<'s, S> {
    /// A verifier that asks `signers`, at `now`.
    pub const fn new(signers: &'s S, now: Timestamp) -> Self {
        Self { signers, now, relied: Vec::new() }
    }

    /// Whether anybody called `name` is trusted in `role`.
    pub fn knows(&self, role: Role, name: &str) -> Result<bool, Halt> {
        Ok(self.signers.find(role, name)?.is_some())
    }

    /// Holds the signature of `name` against its keys.
    pub fn check(
        &mut self,
        role: Role,
        name: &str,
        signature: &Detached<'_>,
        payload: &[u8],
    ) -> Result<Finding, Halt> {
        let Some(trusted) = self.signers.find(role, name)? else {
            self.rely(role, name, None, None);
            return Ok(Finding::Unresolvable);
        };
        let (keys, key_id) = (trusted.keys, signature.key_id());
        let check = match role {
            Role::Authority => signature.check(payload, keys.named(key_id), trusted.algorithms),
            Role::Agent => {
                let now = self.now;
                let own =
                    keys.named(key_id).filter(|key| belongs_to(key, name) && key.is_valid(now));
                signature.check(payload, own, trusted.algorithms)
            }
            Role::Client => {
                let named = keys.named(None).filter(|key| goes_by(key, key_id));
                signature.check(payload, named, trusted.algorithms)
            }
        };
        let (finding, key) = match check {
            Check::Good(key, algorithm) => (Finding::Good, Some((key.public().into(), algorithm))),
            Check::Bad => (Finding::Bad, None),
            Check::Unknown => match trusted.newer {
                Some(need) => return Err(Halt::Need(need)),
                None => (Finding::Unresolvable, None),
            },
        };
        self.rely(role, name, Some(trusted.keys), key);
        Ok(finding)
    }

    fn rely(
        &mut self,
        role: Role,
        name: &str,
        keys: Option<&Arc<KeySet>>,
        key: Option<(Box<[u8]>, Algorithm)>,
    ) {
        let is_same =
            |other: &Reliance| other.role == role && *other.name == *name && other.key == key;
        if !self.relied.iter().any(is_same) {
            let (name, keys, at) = (name.into(), keys.cloned(), self.now);
            self.relied.push(Reliance { role, name, keys, key, at });
        }
    }

    /// What the answers rest on.
    pub fn relied(self) -> Vec<Reliance> {
        self.relied
    }
}

/// Whether a key goes by a name that may be a URL, with the key's own name for its fragment
/// (`evidence.md` §5).
fn goes_by(key: &Key, key_id: Option<&str>) -> bool {
    let Some(key_id) = key_id else { return true };
    let fragment = key_id.rsplit_once('#').map(|(_, fragment)| fragment);
    key.id() == Some(key_id) || (fragment.is_some() && key.id() == fragment)
}

/// Whether a key of a directory is that of the agent `id`, and not of its neighbor: its certificate names
/// the agent, or where its directory has no authorities its `kid` does; and an id that ends in a thumbprint
/// has no other key (`delegation.md` §6).
fn belongs_to(key: &Key, id: &str) -> bool {
    let last = id.rsplit('/').next().unwrap_or(id);
    let thumbprint = last.strip_prefix("sha256.");
    let is_named = match key.svid() {
        Some(svid) => *svid.id == *id,
        None => thumbprint.is_some() || key.id() == Some(id),
    };
    is_named && thumbprint.is_none_or(|thumbprint| key.has_thumbprint(thumbprint))
}
