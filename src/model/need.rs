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
    /// A proof of possession counts once (RFC 9449 §11.1): its use is remembered, or the call is refused.
    FirstUse(FirstUse),
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
