//! The records of the audit log (`audit.md` §2), each written as the members of its line after the
//! prefix that the journal puts before them.
//!
//! What is not in these types cannot get into the log: no token, proof, cookie, query value or secret
//! has a field here, and a user is known by a keyed hash only.

mod decision;
mod policy;
mod process;
mod token;

use std::time::Duration;

pub use self::decision::{
    Basis, Charge, Decision, Exceeded, Http, Operation, Proof, Trace, Unverified,
};
pub use self::process::{
    Aggregate, Change, Config, Ending, Gap, Outcome, Revocation, Revoked, Start, Stop, Tool,
};
pub use self::token::{Agent, Delegation, Discretion, Evidence, Hop, Prompt, Text, Token, Trail};

/// Something that the journal can write as a line.
pub trait Body: Sync {
    /// Appends the members of the record, without braces.
    fn write(&self, into: &mut Vec<u8>);

    /// What the record does to the set of calls that have begun and not ended.
    fn effect(&self) -> Effect<'_> {
        Effect::None
    }
}

/// What a record does to the set of open calls: each call that is let through gets one outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect<'a> {
    /// An outcome: one call ends.
    Closes,
    /// Neither.
    None,
    /// A call with this decision id is let through.
    Opens(&'a str),
}

/// How well a record is kept before the call goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// In memory, for a moment.
    Batched,
    /// On the disk.
    Sync,
}

impl Kept {
    /// The word in records.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Batched => "batched",
            Self::Sync => "sync",
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// The members of a record as text.
#[cfg(test)]
fn text(body: &impl Body) -> String {
    let mut into = Vec::new();
    body.write(&mut into);
    String::from_utf8(into).unwrap()
}
