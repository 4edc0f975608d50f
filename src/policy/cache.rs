//! Compiled policies, shared by their text: however many tokens carry one text, it is compiled once
//! (`policy.md` §5, R-POL-025).

use std::sync::Arc;

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use super::engine::{self, NotAdmitted, Policy, Source};

/// What became of a text: that it was not admitted is remembered as well, or a hostile one would be read
/// again with each call.
pub type Compiled = Result<Arc<Policy>, Arc<NotAdmitted>>;

/// The bytes of text that an entry counts for at the least.
///
/// A compiled policy occupies some sixty times the length of its text. Were entries alone counted, tokens
/// that each carry a long text of their own could fill gigabytes.
const SHORT: usize = 420;
/// Each is large enough that the largest text finds room among what was used but once.
const SHARDS: usize = 4;
/// The share of what was used again. The rest is for texts that are seen for the first time, and must not
/// be so small that one is forgotten before the call that brought it is decided.
const USED_AGAIN: f64 = 0.75;

/// The policies compiled so far. Bounded; what was not used for longest goes first. Forgetting costs a
/// compilation and changes no answer.
#[derive(Debug)]
pub struct Policies {
    compiled: Cache<[u8; 32], Compiled, Length>,
}

/// What an entry counts for.
#[derive(Clone, Debug)]
struct Length;

impl Weighter<[u8; 32], Compiled> for Length {
    fn weight(&self, _key: &[u8; 32], compiled: &Compiled) -> u64 {
        let length = compiled.as_ref().map_or(SHORT, |policy| policy.text().len().max(SHORT));
        u64::try_from(length).unwrap_or(u64::MAX)
    }
}

impl Policies {
    /// Room for `capacity` short texts, and for fewer long ones.
    pub fn new(capacity: usize) -> Self {
        let bytes = u64::try_from(capacity.saturating_mul(SHORT)).unwrap_or(u64::MAX);
        let mut options = OptionsBuilder::new();
        options.estimated_items_capacity(capacity).weight_capacity(bytes);
        options.shards(SHARDS).hot_allocation(USED_AGAIN);
        let compiled = match options.build() {
            Ok(options) => Cache::with_options(
                options,
                Length,
                DefaultHashBuilder::default(),
                DefaultLifecycle::default(),
            ),
            // Only where a number is missing.
            Err(_) => Cache::with_weighter(capacity, bytes, Length),
        };
        Self { compiled }
    }

    /// How many are kept, and what they count for: the octets of their texts, of each at least 420.
    pub fn kept(&self) -> (usize, u64) {
        (self.compiled.len(), self.compiled.weight())
    }

    /// A policy whose text has this SHA-256. Looks through all of them: for those who ask rarely.
    pub fn with_digest(&self, sha256: &[u8; 32]) -> Option<Arc<Policy>> {
        self.compiled.iter().find_map(|(_, one)| one.ok().filter(|one| one.digest() == sha256))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::engine::{Class, Language};

    fn kept(policies: &Policies, texts: &[String]) -> usize {
        let source = |text| Source {
            language: Language::RegoV1,
            class: Class::Carried,
            entry_point: "allow",
            text,
        };
        for text in texts {
            policies.compiled(&source(text)).unwrap();
            assert!(policies.known(&source(text).key()).is_some(), "the latest is there: {text}");
        }
        texts.iter().filter(|text| policies.known(&source(text).key()).is_some()).count()
    }

    #[test]
    fn pol_025_what_is_kept_is_bounded_in_number_and_in_length() {
        let short: Vec<_> = (0..300).map(|n| format!("package a{n}\nallow := true")).collect();
        let number = kept(&Policies::new(64), &short);
        assert!((32..=64).contains(&number), "{number}");
        let note = "#".repeat(4 * SHORT);
        let long: Vec<_> = short.iter().map(|text| format!("{text}\n{note}")).collect();
        let number = kept(&Policies::new(64), &long);
        assert!((8..=16).contains(&number), "{number}");
    }

    #[test]
    fn the_largest_text_is_kept_where_much_is() {
        let policies = Policies::new(10_000);
        let note = format!("#{}\n", "x".repeat(1_000)).repeat(60);
        let large: Vec<_> =
            (0..100).map(|n| format!("package a{n}\nallow := true\n{note}")).collect();
        let number = kept(&policies, &large);
        assert!((50..=70).contains(&number), "{number}");
    }
}
