//! Signed notes and checkpoints (C2SP `signed-note`, `tlog-checkpoint`): what the log says of itself, signed.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::merkle::Hash;
use crate::model::hex::hex;

/// The kind of signature: Ed25519.
const ED25519_KIND: u8 = 1;
/// The longest note that is read.
const MAX_NOTE: usize = 64 * 1_024;

/// Why a note is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It is no signed note, or no checkpoint.
    #[error("it is not a signed checkpoint")]
    Malformed,
    /// No key that is trusted has signed it.
    #[error("no signature is by the key that is expected")]
    Unsigned,
    /// A signature by the name and number of a trusted key is not its.
    #[error("the signature does not fit")]
    Forged,
}

/// Why a verifier key is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not a verifier key: NAME+NUMBER+KEY")]
pub struct NotAKey;

/// Who signs the notes of a log.
pub struct Signer {
    name: Box<str>,
    pair: Ed25519KeyPair,
}

/// Whose signatures are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verifier {
    name: Box<str>,
    key: [u8; 32],
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.name)
    }
}

impl Signer {
    /// The signer called `name` whose key grows from `seed`. None where the name cannot stand in a note.
    pub fn new(name: &str, seed: &[u8; 32]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
        is_name(name).then(|| Self { name: name.into(), pair })
    }

    /// Who believes this signer.
    pub fn verifier(&self) -> Verifier {
        let key = self.pair.public_key().as_ref().first_chunk().copied().unwrap_or_default();
        Verifier { name: self.name.clone(), key }
    }

    /// `text`, which ends with a line end, and the signature below it.
    pub fn sign(&self, text: &str) -> String {
        let verifier = self.verifier();
        let mut signature = verifier.number().to_vec();
        signature.extend_from_slice(self.pair.sign(text.as_bytes()).as_ref());
        format!("{text}\n\u{2014} {} {}\n", self.name, BASE64_STANDARD.encode(signature))
    }
}

/// Names are not empty and hold no spaces and no `+`.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+')
}

impl Verifier {
    /// Reads a verifier key: `NAME+NUMBER+KEY`.
    pub fn parse(text: &str) -> Result<Self, NotAKey> {
        let mut parts = text.trim().splitn(3, '+');
        let (Some(name), Some(number), Some(key)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(NotAKey);
        };
        let key = BASE64_STANDARD.decode(key).map_err(|_error| NotAKey)?;
        let (Some((&ED25519_KIND, key)), true) = (key.split_first(), is_name(name)) else {
            return Err(NotAKey);
        };
        let verifier = Self { name: name.into(), key: key.try_into().map_err(|_error| NotAKey)? };
        if hex(&verifier.number()) == number { Ok(verifier) } else { Err(NotAKey) }
    }

    /// The name, which is the origin of the log.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number by which signatures name the key.
    fn number(&self) -> [u8; 4] {
        let mut text = self.name.as_bytes().to_vec();
        text.extend_from_slice(&[b'\n', ED25519_KIND]);
        text.extend_from_slice(&self.key);
        digest(&SHA256, &text).as_ref().first_chunk().copied().unwrap_or_default()
    }

    /// The text of `note`, where this key has signed it.
    pub fn open<'n>(&self, note: &'n str) -> Result<&'n str, NoteError> {
        if note.len() > MAX_NOTE || !note.ends_with('\n') {
            return Err(NoteError::Malformed);
        }
        let at = note.rfind("\n\n").ok_or(NoteError::Malformed)?;
        let (text, signatures) = note.split_at(at.saturating_add(1));
        let mut is_signed = false;
        for line in signatures.trim_start_matches('\n').lines() {
            let (name, signature) = line
                .strip_prefix("\u{2014} ")
                .and_then(|rest| rest.split_once(' '))
                .ok_or(NoteError::Malformed)?;
            let signature =
                BASE64_STANDARD.decode(signature).map_err(|_error| NoteError::Malformed)?;
            let Some((number, signature)) = signature.split_first_chunk() else {
                return Err(NoteError::Malformed);
            };
            if *name == *self.name && *number == self.number() {
                let key = UnparsedPublicKey::new(&ED25519, &self.key);
                key.verify(text.as_bytes(), signature).map_err(|_error| NoteError::Forged)?;
                is_signed = true;
            }
        }
        if is_signed { Ok(text) } else { Err(NoteError::Unsigned) }
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![ED25519_KIND];
        key.extend_from_slice(&self.key);
        write!(f, "{}+{}+{}", self.name, hex(&self.number()), BASE64_STANDARD.encode(key))
    }
}

/// What a log says of itself: how many records it has, and the hash of them all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: Box<str>,
    /// How many records.
    pub size: u64,
    /// The hash of the tree over them.
    pub root: Hash,
}

impl Checkpoint {
    /// Reads the text of a checkpoint. Further lines may follow.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let mut lines = text.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next())
        else {
            return Err(NoteError::Malformed);
        };
        let root = BASE64_STANDARD.decode(root).ok().and_then(|root| root.try_into().ok());
        let is_plain = size.bytes().all(|byte| byte.is_ascii_digit())
            && (size == "0" || !size.starts_with('0'));
        match (size.parse(), root) {
            (Ok(size), Some(root)) if is_plain && !origin.is_empty() => {
                Ok(Self { origin: origin.into(), size, root })
            }
            _ => Err(NoteError::Malformed),
        }
    }

    /// The checkpoint in `note`, where `verifier` has signed it.
    pub fn open(note: &str, verifier: &Verifier) -> Result<Self, NoteError> {
        let checkpoint = Self::parse(verifier.open(note)?)?;
        if *checkpoint.origin == *verifier.name { Ok(checkpoint) } else { Err(NoteError::Unsigned) }
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = BASE64_STANDARD.encode(self.root);
        writeln!(f, "{}\n{}\n{root}", self.origin, self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of C2SP `signed-note`, signed by a key of Go's `sumdb/note`.
    const KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const NOTE: &str = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    fn signer() -> Signer {
        Signer::new("gate.example/1", &[7; 32]).unwrap()
    }

    #[test]
    fn evi_014_the_example_of_the_specification_is_believed() {
        let verifier = Verifier::parse(KEY).unwrap();
        assert_eq!(verifier.to_string(), KEY);
        assert!(verifier.open(NOTE).unwrap().ends_with("what your problem is.\n"));
        assert_eq!(verifier.open(&NOTE.replace("you think", "we think")), Err(NoteError::Forged));
        assert_eq!(verifier.open(&NOTE.replace("Peter", "Paul")), Err(NoteError::Unsigned));
    }

    #[test]
    fn evi_014_what_was_signed_is_read_back_and_nothing_else_is() {
        let (signer, root) = (signer(), [9; 32]);
        let verifier = signer.verifier();
        assert_eq!(Verifier::parse(&verifier.to_string()), Ok(verifier.clone()));
        let checkpoint = Checkpoint { origin: verifier.name().into(), size: 42, root };
        let note = signer.sign(&checkpoint.to_string());
        assert_eq!(Checkpoint::open(&note, &verifier), Ok(checkpoint));
        let other = Signer::new("gate.example/1", &[8; 32]).unwrap().verifier();
        assert_eq!(Checkpoint::open(&note, &other), Err(NoteError::Unsigned));
        for (note, error) in [
            (note.replace("42", "43"), NoteError::Forged),
            (note.replace("gate.example/1\n", "gate.example/2\n"), NoteError::Forged),
            (note.trim_end().to_owned(), NoteError::Malformed),
            (note.replace('\u{2014}', "-"), NoteError::Malformed),
            (checkpoint_text(), NoteError::Malformed),
            (
                signer.sign("gate.example/2\n42\nCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=\n"),
                NoteError::Unsigned,
            ),
            (
                signer.sign("gate.example/1\n042\nCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=\n"),
                NoteError::Malformed,
            ),
            (signer.sign("gate.example/1\n42\nCQk=\n"), NoteError::Malformed),
            (signer.sign(&checkpoint_text().replace('\n', "\r\n")), NoteError::Malformed),
        ] {
            assert_eq!(Checkpoint::open(&note, &verifier), Err(error), "{note}");
        }
        for text in [
            "",
            "a",
            "a+00000000+AQ==",
            "a+b+c",
            "a b+12345678+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        ] {
            assert_eq!(Verifier::parse(text), Err(NotAKey), "{text}");
        }
        assert!(Signer::new("a+b", &[0; 32]).is_none() && Signer::new("", &[0; 32]).is_none());
    }

    fn checkpoint_text() -> String {
        Checkpoint { origin: "gate.example/1".into(), size: 42, root: [9; 32] }.to_string()
    }
}
