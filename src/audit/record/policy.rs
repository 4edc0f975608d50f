//! What a record says of a policy that was asked (`policy.md` §10).

use std::time::Duration;

use crate::audit::line::Members;

/// The most that the name of a policy may take in a line, escapes included.
const MAX_ID: usize = 512;

/// One policy, and what it said. What it was told is there as a hash only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyAnswer {
    /// What carries it: `authorization_details`, `policy_id`, `policy_ref`, `delegated_policy`,
    /// `local_policy`.
    pub carrier: &'static str,
    /// Its name; `inline` is written where it stood in the token.
    pub id: Option<Box<str>>,
    /// The entry, or the place in the chain, that carries it.
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
    /// `true`, `false`, `undefined`, `non_boolean`, `error`.
    pub result: &'static str,
    /// The steps that it took.
    pub steps: u64,
    /// The time that it took.
    pub elapsed: Duration,
}

impl PolicyAnswer {
    pub(super) fn write(&self, to: &mut Members<'_>) {
        to.word("carrier", self.carrier);
        to.text_within(MAX_ID, "id", self.id.as_deref().unwrap_or("inline"));
        if let Some(place) = self.place {
            to.number("place", super::count(place));
        }
        to.hex("sha256", &self.sha256);
        if let Some(data) = &self.data {
            to.hex("data_sha256", data);
        }
        to.word("dialect", self.dialect);
        to.word("profile", self.profile);
        to.hex("input_sha256", &self.input);
        to.word("result", self.result);
        to.number("steps", self.steps);
        to.number("us", super::micros(self.elapsed));
    }
}
