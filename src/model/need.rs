//! What a pure step may ask the world for, and what must be done before a permit takes effect.

use super::time::Timestamp;

/// A fact that a pure step lacks. The world fetches it and takes the step again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// What the binding service of an issuer says of an agent's identity.
    Binding {
        /// The index of the issuer.
        issuer: usize,
        /// `agent_identity.id`
        identity: Box<str>,
    },
    /// The key set of the issuer with this index, never obtained so far.
    Keys(usize),
    /// A newer key set of the issuer with this index: the one at hand lacks the key a token names.
    NewerKeys(usize),
    /// What the issuer with this index says now of the token that is presented.
    Introspection(usize),
    /// The newest feed of revocations of the issuer with this index.
    Revocations(usize),
    /// The status list of the issuer with this index that is found at this URI.
    StatusList(usize, Box<str>),
}

/// What must be done before a permit takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obligation {
    /// Evidence belongs to whom and what it was first used with (`evidence.md` V8).
    Bond {
        /// With whom and what it is used.
        bond: Bond,
        /// The earliest time at which it can have been used before.
        earliest: Timestamp,
        /// Whether a call is refused that uses it with another.
        must_fit: bool,
    },
    /// A proof of possession counts once (RFC 9449 §11.1): its use is remembered, or the call is refused.
    FirstUse(FirstUse),
}

/// With whom and what evidence is used. Each is a digest of which so much is kept that no two meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bond {
    /// The evidence: of its id, and the server that recorded it.
    pub evidence: [u8; 16],
    /// The person: of `sub`.
    pub person: [u8; 16],
    /// Client and policies; `None` where the token was delegated, which changes both.
    pub grant: Option<[u8; 16]>,
}

impl Bond {
    /// Whether it is the same evidence in the same hands.
    pub fn fits(&self, other: &Self) -> bool {
        let same = |(own, other): ([u8; 16], [u8; 16])| own == other;
        self.evidence == other.evidence
            && self.person == other.person
            && self.grant.zip(other.grant).is_none_or(same)
    }
}

/// The use of a proof that counts once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstUse {
    /// What kind of proof it is.
    pub kind: ProofKind,
    /// What it is recognized by: a digest of kind, key and `jti`.
    pub id: [u8; 16],
    /// When it ends by itself. After that it needs not be remembered.
    pub until: Timestamp,
}

/// What a permitted call was charged, as the audit log keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charged {
    /// Whose account it went to: a keyed hash.
    pub account: [u8; 16],
    /// How much, in decimal.
    pub amount: Box<str>,
    /// When it ends by itself. After that it needs not be remembered.
    pub until: Timestamp,
}

/// A kind of proof that counts once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofKind {
    /// A DPoP proof (RFC 9449).
    Dpop,
    /// A workload proof token (WIMSE).
    Workload,
}
