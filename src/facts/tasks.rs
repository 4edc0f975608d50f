//! Tasks and contexts of agents, and whose they are (`mcp-a2a.md` §5 and §8).
//!
//! They are learned from the answer of the call that begins them, and belong to whoever made that call
//! (R-MCP-020). Bounded; what is forgotten is not known, and the operator says what becomes of that.

use std::fmt;
use std::time::Duration;

use quick_cache::sync::Cache;

use super::sessions::{Owner, digest};
use crate::model::time::Timestamp;

/// The most tasks and contexts that are remembered.
const CAPACITY: usize = 100_000;
/// How long either is remembered after it was last named by its owner.
const LIFETIME: Duration = Duration::from_hours(24);

/// What a call can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named<'a> {
    /// A context, in which messages and tasks belong together.
    Context(&'a str),
    /// A task.
    Task(&'a str),
}

/// What is known of what is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is another's.
    Foreign,
    /// It is the caller's.
    Own,
    /// Nothing.
    Unknown,
}

/// What is remembered.
pub struct Tasks {
    known: Cache<[u8; 32], (Owner, Timestamp)>,
}

impl Default for Tasks {
    fn default() -> Self {
        Self { known: Cache::new(CAPACITY) }
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tasks({})", self.known.len())
    }
}

fn key(resource: &str, named: Named<'_>) -> [u8; 32] {
    let (kind, id) = match named {
        Named::Context(id) => ("context", id),
        Named::Task(id) => ("task", id),
    };
    digest(&[resource.as_bytes(), kind.as_bytes(), id.as_bytes()])
}

impl Tasks {
    /// What is known of what is `named` at `resource`, where `owner` names it.
    pub fn look(&self, resource: &str, named: Named<'_>, owner: Owner, now: Timestamp) -> Standing {
        match self.known.get(&key(resource, named)) {
            Some((_, until)) if until < now => Standing::Unknown,
            Some((known, _)) if known == owner => Standing::Own,
            Some(_) => Standing::Foreign,
            None => Standing::Unknown,
        }
    }

    /// Gives what is `named` to `owner`, or remembers that it is its own. What is another's stays so, whoever
    /// names it.
    pub fn bind(&self, resource: &str, named: Named<'_>, owner: Owner, now: Timestamp) {
        if self.look(resource, named, owner, now) != Standing::Foreign {
            self.known.insert(key(resource, named), (owner, now.after(LIFETIME)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: Named<'_> = Named::Task("t");
    const SHOP: &str = "https://tools.test/shop";

    #[test]
    fn mcp_020_a_task_is_its_owners_alone_and_not_for_ever() {
        let (alice, mallory) = (Owner::sample(1), Owner::sample(2));
        let (tasks, now) = (Tasks::default(), Timestamp::from_seconds(1_790_000_000));
        assert_eq!(tasks.look(SHOP, TASK, alice, now), Standing::Unknown);
        tasks.bind(SHOP, TASK, alice, now);
        tasks.bind(SHOP, TASK, mallory, now);
        assert_eq!(tasks.look(SHOP, TASK, alice, now), Standing::Own);
        assert_eq!(tasks.look(SHOP, TASK, mallory, now), Standing::Foreign);
        assert_eq!(tasks.look(SHOP, Named::Task("T"), mallory, now), Standing::Unknown);
        assert_eq!(tasks.look(SHOP, Named::Context("t"), mallory, now), Standing::Unknown);
        assert_eq!(tasks.look("https://tools.test/shops", TASK, mallory, now), Standing::Unknown);
        let later = now.after(LIFETIME + Duration::from_secs(1));
        assert_eq!(tasks.look(SHOP, TASK, mallory, later), Standing::Unknown);
    }
}
