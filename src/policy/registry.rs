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

/// There is a policy of this name, by the same issuer or by every one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken;

impl Registry {
    /// Adds the policy called `id`: by `issuer`, or by every one. Not where there is one: which of two texts a
    /// name means must not rest on the order of files.
    pub fn add(&mut self, id: &str, issuer: Option<&str>, record: Record) -> Result<(), Taken> {
        let entries = self.named.entry(id.into()).or_default();
        if entries.iter().any(|(own, _)| own.as_deref() == issuer) {
            return Err(Taken);
        }
        let record = Arc::new(record);
        self.digests.insert(record.sha256, Arc::clone(&record));
        entries.push((issuer.map(Into::into), record));
        Ok(())
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
        registry.add("p", None, Record::of("all")).unwrap();
        registry.add("p", Some("a"), Record::of("a alone")).unwrap();
        registry.add("q", Some("a"), Record::of("q")).unwrap();
        assert_eq!(registry.add("p", Some("a"), Record::of("another")), Err(Taken));
        assert!(registry.with_digest(&Record::of("another").sha256).is_none());
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
