//! What is known of policies beside what tokens carry: texts that were fetched, texts that are pinned, and
//! what was compiled. Decisions look here and never wait; the world fills it in.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use quick_cache::sync::Cache;

use super::cache::Policies;
use super::engine::{Input, Policy, Written};
use super::record::Record;
use crate::model::time::Timestamp;

/// How many compiled policies are kept (`policy.md` §5), and fewer where they are long.
const MAX_COMPILED: usize = 10_000;
/// How many texts are kept that stand behind names. At 64 KiB the largest of them fill 64 MiB.
const MAX_TEXTS: usize = 1_024;

/// What is known of policies.
#[derive(Debug)]
pub struct Library {
    /// Compiled policies.
    pub compiled: Arc<Policies>,
    /// What stands behind names, by issuer and name.
    found: Cache<Address, Arc<Found>>,
    /// The first text behind each name that nothing ties to its token; replaced whole at each change.
    pins: ArcSwap<HashMap<PinName, Pin>>,
}

/// Where a policy is: the issuer that it is of, and its name there or its URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// The index of the issuer.
    pub issuer: usize,
    /// `policy_id`, or `id` of a `policy_ref`.
    pub id: Option<Box<str>>,
    /// `version` of a `policy_ref`.
    pub version: Option<Box<str>>,
    /// `uri`, or `endpoint` of a `policy_ref`.
    pub uri: Option<Box<str>>,
}

/// What asking for a policy came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// When it was asked for.
    pub at: Timestamp,
    /// The policy; or that there is none of this name.
    pub record: Option<Arc<Record>>,
}

/// Whose name a pin is for: the issuer's identifier, and the name that
/// [`pin_name`](super::record::pin_name) makes.
pub type PinName = (Box<str>, Box<str>);

/// A name that has come to stand for one text (§6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// SHA-256 of the text.
    pub sha256: [u8; 32],
    /// Until when no token that names it can live longer.
    pub until: Timestamp,
}

/// What a decision about policies lacks, and the world can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// What a policy says when it has all the steps that it may take.
    Answer(Long),
    /// A text that is compiled.
    Compiled(Written),
    /// A pin for the text that was found behind a name.
    Pinned(PinName, Pin),
    /// The text behind a name; and when it was last asked for, where what that came to does not do.
    Text(Address, Option<Timestamp>),
}

/// A question that a policy needs more steps for than a thread that serves grants.
#[derive(Clone, Debug)]
pub struct Long {
    /// The policy.
    pub policy: Arc<Policy>,
    /// What it is told.
    pub input: Input,
    /// SHA-256 of that.
    pub sha256: [u8; 32],
}

/// Of the same policy, and not of the same text: another entry point of a text says something else.
impl PartialEq for Long {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.policy, &other.policy) && self.sha256 == other.sha256
    }
}

impl Eq for Long {}

impl Default for Library {
    fn default() -> Self {
        Self {
            compiled: Arc::new(Policies::new(MAX_COMPILED)),
            found: Cache::new(MAX_TEXTS),
            pins: ArcSwap::default(),
        }
    }
}

impl Library {
    /// One for another configuration: what was compiled is what it was, and everything else is asked for
    /// anew.
    #[must_use]
    pub fn inherited(&self) -> Self {
        Self { compiled: Arc::clone(&self.compiled), ..Self::default() }
    }

    /// What is known of the policy at `address`.
    pub fn found(&self, address: &Address) -> Option<Arc<Found>> {
        self.found.get(address)
    }

    /// Keeps what asking for a policy came to.
    pub fn keep(&self, address: Address, found: Found) {
        self.found.insert(address, Arc::new(found));
    }

    /// The pin for a name.
    pub fn pin(&self, name: &PinName) -> Option<Pin> {
        self.pins.load().get(name).copied()
    }

    /// Replaces the pins by all that are in force.
    pub fn set_pins(&self, pins: HashMap<PinName, Pin>) {
        self.pins.store(Arc::new(pins));
    }
}
