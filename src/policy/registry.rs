//! The operator's own registry: policies that tokens may name, kept beside the configuration
//! (`policy.md` §6.4). It is asked before any server is.

use std::collections::HashMap;
use std::sync::Arc;

use super::record::Record;

/// Policies by their names and by the digests of their texts.
#[derive(Debug, Default)]
pub struct Registry {
    named: HashMap<Box<str>, Vec<Entry>>,
    digests: HashMap<[u8; 32], Arc<Record>>,
}

/// A policy, and the issuer whose name it has; `None` for the name that every one gives it.
type Entry = (Option<Box<str>>, Arc<Record>);

impl Registry {
    /// Adds the policy called `id`: by `issuer`, or by every one.
    pub fn add(&mut self, id: &str, issuer: Option<&str>, record: Record) {
        let record = Arc::new(record);
        self.digests.insert(record.sha256, Arc::clone(&record));
        self.named.entry(id.into()).or_default().push((issuer.map(Into::into), record));
    }

    /// The policy that `issuer` calls `id`. An entry for the issuer alone comes before one for all.
    pub fn named(&self, issuer: &str, id: &str) -> Option<&Arc<Record>> {
        let of = |wanted: Option<&str>| {
            let mut records = self.named.get(id)?.iter();
            records.find(|(own, _)| own.as_deref() == wanted).map(|(_, record)| record)
        };
        of(Some(issuer)).or_else(|| of(None))
    }

    /// The policy whose text has this SHA-256.
    pub fn with_digest(&self, sha256: &[u8]) -> Option<&Arc<Record>> {
        self.digests.get(sha256)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_one_issuer_comes_before_one_for_all() {
        let mut registry = Registry::default();
        registry.add("p", None, Record::of("all"));
        registry.add("p", Some("a"), Record::of("a alone"));
        registry.add("q", Some("a"), Record::of("q"));
        let text = |issuer, id| registry.named(issuer, id).map(|record| &*record.text);
        assert_eq!(text("a", "p"), Some("a alone"));
        assert_eq!(text("b", "p"), Some("all"));
        assert_eq!((text("a", "q"), text("b", "q"), text("a", "x")), (Some("q"), None, None));
        let sha256 = Record::of("q").sha256;
        assert!(
            registry.with_digest(&sha256).is_some() && registry.with_digest(&[0; 32]).is_none()
        );
    }
}
