//! What a pure step may ask the world for, and what must be done before a permit takes effect.

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
