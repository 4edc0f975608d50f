//! Keyed hashes: what must be recognizable in the log and must not be readable there.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const PREFIX: &[u8] = b"h1:";
/// Bytes of the HMAC that are kept.
const KEPT: usize = 16;
/// `h1:` and 16 bytes in base64url.
const LENGTH: usize = 25;

/// Makes [`Tag`]s under one key. With the key destroyed, the tags say nothing any more.
#[derive(Clone)]
pub struct Tagger(hmac::Key);

impl Tagger {
    /// A tagger under `key`.
    pub fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The tag of `value`: `h1:` and the base64url of HMAC-SHA-256, cut to 16 bytes.
    pub fn tag(&self, value: &[u8]) -> Tag {
        let mac = hmac::sign(&self.0, value);
        let mut text = [0; LENGTH];
        if let Some((prefix, rest)) = text.split_first_chunk_mut() {
            *prefix = *PREFIX.first_chunk::<3>().unwrap_or(&[0; 3]);
            let kept = mac.as_ref().get(..KEPT).unwrap_or_default();
            // The rest is exactly as long as 16 bytes in base64url.
            URL_SAFE_NO_PAD.encode_slice(kept, rest).unwrap_or_default();
        }
        Tag(text)
    }
}

impl Tagger {
    /// The 16 bytes that a tag of `value` shows, for values that are digests already.
    pub fn cut(&self, value: &[u8]) -> [u8; KEPT] {
        let mac = hmac::sign(&self.0, value);
        mac.as_ref().first_chunk().copied().unwrap_or_default()
    }
}

impl fmt::Debug for Tagger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tagger")
    }
}

/// A keyed hash of a personal or secret value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tag([u8; LENGTH]);

impl Tag {
    /// The tag as text.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_the_cut_hmac_of_the_value() {
        // RFC 4231 §4.3: HMAC-SHA-256 begins 5bdcc146bf60754e6a042426089575c7.
        let tag = Tagger::new(b"Jefe").tag(b"what do ya want for nothing?");
        assert_eq!(tag.as_str(), "h1:W9zBRr9gdU5qBCQmCJV1xw");
    }

    #[test]
    fn tags_of_one_value_differ_under_different_keys() {
        assert_ne!(Tagger::new(b"a").tag(b"alice"), Tagger::new(b"b").tag(b"alice"));
    }
}
