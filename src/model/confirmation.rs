//! What an operation demands of the person's recorded confirmation (`evidence.md` §4).

use std::time::Duration;

/// What is demanded. By default that evidence which is there is good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// `evidence`
    pub evidence: Wanted,
    /// `evidence_max_age`: how long ago the person may have confirmed.
    pub max_age: Option<Duration>,
    /// `user_actions`: any of these; where there is none, any but what was merely implied.
    pub user_actions: Vec<Box<str>>,
    /// `accept_prompt_credential`: whether a client's word for what the person typed is enough.
    pub accept_prompt: bool,
    /// `evidence_reuse = "refuse"`: whether evidence that was seen with another person or grant is refused.
    pub refuse_reuse: bool,
}

impl Demand {
    /// Whether a prompt credential counts: where evidence must be there, and it is accepted for it.
    pub fn takes_prompts(&self) -> bool {
        self.accept_prompt && self.evidence == Wanted::Required
    }
}

/// Whether evidence must be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// `verify_if_present`
    #[default]
    IfPresent,
    /// `ignore`
    Ignored,
    /// `required`
    Required,
}
