//! What a policy was asked and said.

use std::time::Duration;

/// One policy that was asked, and what it said (`policy.md` §10). What it was told is here as a hash only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consulted {
    /// What carries it: `authorization_details`, `policy_id`, `policy_ref`, `delegated_policy`,
    /// `local_policy`.
    pub carrier: &'static str,
    /// Its name, where it has one; otherwise it stood in the token.
    pub id: Option<Box<str>>,
    /// The entry of the token, or the place in the chain, that carries it.
    pub place: Option<usize>,
    /// SHA-256 of its text.
    pub sha256: [u8; 32],
    /// SHA-256 of its data, where it has any.
    pub data: Option<[u8; 32]>,
    /// What it was read as: `rego.v1`, `rego.v0`, `cedar`.
    pub dialect: &'static str,
    /// The form in which it was told of the call.
    pub profile: &'static str,
    /// SHA-256 of what it was told, members sorted.
    pub input: [u8; 32],
    /// What it said: [`Consulted::TRUE`], `false`, `undefined`, `non_boolean`, `error`.
    pub result: &'static str,
    /// The steps that it took.
    pub steps: u64,
    /// The time that it took.
    pub elapsed: Duration,
}

impl Consulted {
    /// What stands in [`Consulted::result`] of a policy that allowed.
    pub const TRUE: &str = "true";

    /// Whether it allowed.
    pub fn allowed(&self) -> bool {
        self.result == Self::TRUE
    }
}
