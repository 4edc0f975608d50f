//! A proof that a record is in the log, as a text that stands by itself (C2SP `tlog-proof`).

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::merkle::{self, Hash};
use super::note::{Checkpoint, NoteError, Verifier};

/// What such a text begins with.
const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// A tree of 2^64 records has no longer path.
const LONGEST: usize = 64;

/// A proof that is read, and not believed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The number of the record.
    pub index: u64,
    /// The hashes beside its path to the root, the nearest first.
    pub path: Vec<Hash>,
    /// The signed checkpoint.
    pub checkpoint: Box<str>,
}

/// Why a proof does not prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// It is none.
    #[error("it is not a proof of a record in a log")]
    Malformed,
    /// Its checkpoint is not to be believed.
    #[error("its checkpoint: {0}")]
    Checkpoint(#[from] NoteError),
    /// It is of another record, or of another place.
    #[error("the record is not the one that it proves")]
    Another,
}

impl Proof {
    /// Reads the text of a proof. What it carries beside (`extra`) says nothing here.
    pub fn parse(text: &str) -> Result<Self, ProofError> {
        let (head, checkpoint) = text.split_once("\n\n").ok_or(ProofError::Malformed)?;
        let mut lines = head.split('\n');
        if lines.next() != Some(HEADER) {
            return Err(ProofError::Malformed);
        }
        let mut line = lines.next().ok_or(ProofError::Malformed)?;
        if line.starts_with("extra ") {
            line = lines.next().ok_or(ProofError::Malformed)?;
        }
        let index = line.strip_prefix("index ").ok_or(ProofError::Malformed)?;
        let is_plain = index.bytes().all(|byte| byte.is_ascii_digit())
            && (index == "0" || !index.starts_with('0'));
        let index = index.parse().ok().filter(|_| is_plain).ok_or(ProofError::Malformed)?;
        let hash = |line: &str| BASE64_STANDARD.decode(line).ok()?.try_into().ok();
        let path: Option<Vec<Hash>> = lines.map(hash).collect();
        let path = path.filter(|path| path.len() <= LONGEST).ok_or(ProofError::Malformed)?;
        Ok(Self { index, path, checkpoint: checkpoint.into() })
    }

    /// The checkpoint, where `verifier` has signed it and it covers `record`, which is a line of the log
    /// without its line end.
    pub fn check(&self, record: &[u8], verifier: &Verifier) -> Result<Checkpoint, ProofError> {
        let checkpoint = Checkpoint::open(&self.checkpoint, verifier)?;
        let (leaf, root) = (merkle::leaf(record), &checkpoint.root);
        if merkle::is_included(leaf, self.index, checkpoint.size, &self.path, root) {
            Ok(checkpoint)
        } else {
            Err(ProofError::Another)
        }
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}\nindex {}", self.index)?;
        for hash in &self.path {
            writeln!(f, "{}", BASE64_STANDARD.encode(hash))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::merkle::Edge;
    use crate::audit::note::Signer;

    /// A log of two records, and the proof of the first.
    fn proof() -> (Proof, Verifier) {
        let signer = Signer::new("gate/1", &[3; 32]).unwrap();
        let mut edge = Edge::default();
        let leaves = [b"a", b"b"].map(|record| merkle::leaf(record));
        for leaf in leaves {
            edge.push(leaf, |_, _| {});
        }
        let checkpoint = Checkpoint { origin: "gate/1".into(), size: 2, root: edge.root() };
        let checkpoint = signer.sign(&checkpoint.to_string()).into();
        (Proof { index: 0, path: vec![leaves[1]], checkpoint }, signer.verifier())
    }

    #[test]
    fn evi_014_a_proof_is_of_one_record_and_believed_by_one_key() {
        let (proof, verifier) = proof();
        assert_eq!(Proof::parse(&proof.to_string()), Ok(proof.clone()));
        assert_eq!(proof.check(b"a", &verifier).map(|one| one.size), Ok(2));
        assert_eq!(proof.check(b"b", &verifier), Err(ProofError::Another));
        let other = Signer::new("gate/1", &[4; 32]).unwrap().verifier();
        assert_eq!(proof.check(b"a", &other), Err(NoteError::Unsigned.into()));
        let elsewhere = Proof { index: 1, ..proof.clone() };
        assert_eq!(elsewhere.check(b"a", &verifier), Err(ProofError::Another));
        let text = proof.to_string();
        assert_eq!(Proof::parse(&text.replace("index 0", "extra AAAA\nindex 0")), Ok(proof));
        for (from, to) in [
            ("tlog-proof@v1", "tlog-proof@v2"),
            ("index 0", "index 00"),
            ("index 0", "index -1"),
            ("index 0", "index"),
            ("index 0\n", ""),
            ("=\n\n", "=\n"),
            ("index 0\n", "index 0\nAAAA\n"),
        ] {
            assert_eq!(
                Proof::parse(&text.replacen(from, to, 1)),
                Err(ProofError::Malformed),
                "{to}"
            );
        }
    }
}
