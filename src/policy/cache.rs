//! Compiled policies, shared by their text: however many tokens carry one text, it is compiled once
//! (`policy.md` §5, R-POL-025).

use std::sync::Arc;

use quick_cache::sync::Cache;

use super::engine::{self, NotAdmitted, Policy, Source};

/// What became of a text: that it was not admitted is remembered as well, or a hostile one would be read
/// again with each call.
pub type Compiled = Result<Arc<Policy>, Arc<NotAdmitted>>;

/// The policies compiled so far. Bounded; what was not used for longest goes first. Forgetting costs a
/// compilation and changes no answer.
#[derive(Debug)]
pub struct Policies {
    compiled: Cache<[u8; 32], Compiled>,
}

impl Policies {
    /// Room for `capacity` texts.
    pub fn new(capacity: usize) -> Self {
        Self { compiled: Cache::new(capacity) }
    }

    /// What became of the source with this [`Source::key`], where it is known. Takes well under a
    /// microsecond: for the thread that serves.
    pub fn known(&self, key: &[u8; 32]) -> Option<Compiled> {
        self.compiled.get(key)
    }

    /// What becomes of `source`, which is compiled where it is not known. Who asks for a text that another
    /// is compiling waits for that one: it is compiled once. Not for a thread that serves.
    pub fn compiled(&self, source: &Source<'_>) -> Compiled {
        let made = self.compiled.get_or_insert_with(&source.key(), || {
            Ok::<_, ()>(engine::compile(source).map_err(Arc::new))
        });
        made.unwrap_or_else(|()| engine::compile(source).map_err(Arc::new))
    }
}
