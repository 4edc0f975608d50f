//! Detached signatures inside a token (RFC 7515 appendix F; `delegation.md` §3): the signed bytes are
//! computed from the members beside the signature, so nobody can sign one thing and show another.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::jws::{self, Header};
use super::keys::Key;
use super::trust::Algorithm;

/// The most keys that are tried where a signature names none.
pub const MAX_TRIED: usize = 8;

/// A detached compact JWS: a header, nothing, a signature.
#[derive(Debug)]
pub struct Detached<'a> {
    encoded_header: &'a str,
    header: Header,
    signature: &'a str,
}

/// A text that is not a strict detached JWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotDetached;

/// What came of holding a signature against keys.
#[derive(Debug)]
pub enum Check<'k> {
    /// It does not verify.
    Bad,
    /// It verifies with this key.
    Good(&'k Key, Algorithm),
    /// None of the keys is the one that it names, or fits it.
    Unknown,
}

impl<'a> Detached<'a> {
    /// Reads `header..signature`. A payload between the dots would be a second telling of the same
    /// fact, and `b64` (RFC 7797) another way to compute it: both are refused. Keys in the header are
    /// never looked at (RFC 8725 §3.10).
    pub fn read(text: &'a str) -> Result<Self, NotDetached> {
        let (encoded_header, signature) = text.split_once("..").ok_or(NotDetached)?;
        if encoded_header.contains('.') || signature.contains('.') || signature.is_empty() {
            return Err(NotDetached);
        }
        let members = jws::object(encoded_header, "header").map_err(|_malformed| NotDetached)?;
        if members.contains_key("b64") {
            return Err(NotDetached);
        }
        jws::decode(signature).map_err(|_malformed| NotDetached)?;
        let header = Header::read(&members).map_err(|_malformed| NotDetached)?;
        Ok(Self { encoded_header, header, signature })
    }

    /// The `kid` that it names.
    pub fn key_id(&self) -> Option<&str> {
        self.header.key_id.as_deref()
    }

    /// Holds it against the keys that may have made it over `payload`, under an allowed algorithm.
    pub fn check<'k>(
        &self,
        payload: &[u8],
        keys: impl Iterator<Item = &'k Key>,
        allowed: &[Algorithm],
    ) -> Check<'k> {
        let algorithm =
            Algorithm::named(&self.header.algorithm).filter(|one| allowed.contains(one));
        let Some(algorithm) = algorithm else { return Check::Bad };
        let mut fitting = keys.filter(|key| key.fits(algorithm)).take(MAX_TRIED).peekable();
        if fitting.peek().is_none() {
            return Check::Unknown;
        }
        let mut input = String::from(self.encoded_header);
        input.push('.');
        URL_SAFE_NO_PAD.encode_string(payload, &mut input);
        let verifies = |key: &&Key| key.verify(&input, self.signature, algorithm).is_ok();
        fitting.find(verifies).map_or(Check::Bad, |key| Check::Good(key, algorithm))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::hex::hex;
    use crate::token::keys::KeySet;

    /// The key of `tokens.md` §13 (RFC 8037 appendix A).
    const KEYS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k1","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

    fn encode(text: &str) -> String {
        URL_SAFE_NO_PAD.encode(text)
    }

    #[test]
    fn the_vectors_of_the_specifications_verify_and_no_changed_byte_does() {
        let text = include_str!("../../tests/vectors/signatures.json");
        let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
        let (keys, _) = KeySet::from_jwks(KEYS.as_bytes()).unwrap();
        for vector in vectors.as_array().unwrap() {
            let canonical = super::super::jcs::canonical(&vector["given"]).unwrap();
            let expect = &vector["expect"];
            assert_eq!(canonical, expect["jcs"].as_str().unwrap().as_bytes());
            assert_eq!(canonical.len(), expect["octets"]);
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &canonical);
            assert_eq!(hex(digest.as_ref()), expect["sha256"]);
            let signature = Detached::read(expect["signature"].as_str().unwrap()).unwrap();
            assert_eq!(signature.key_id(), Some("k1"));
            let check =
                |payload: &[u8]| signature.check(payload, keys.named(None), &Algorithm::ALL);
            assert!(matches!(check(&canonical), Check::Good(_, Algorithm::EdDsa)));
            for at in 0..canonical.len() {
                let mut changed = canonical.clone();
                changed[at] ^= 1;
                assert!(matches!(check(&changed), Check::Bad), "byte {at}");
            }
            let pretty = serde_json::to_vec_pretty(&vector["given"]).unwrap();
            assert!(matches!(check(&pretty), Check::Bad), "not canonical");
            let other = [Algorithm::Es256];
            assert!(matches!(signature.check(&canonical, keys.named(None), &other), Check::Bad));
            let none = signature.check(&canonical, keys.named(Some("k2")), &Algorithm::ALL);
            assert!(matches!(none, Check::Unknown));
        }
    }

    #[test]
    fn r_del_024_only_the_strict_detached_form_is_read() {
        let head = encode(r#"{"alg":"EdDSA","kid":"k1"}"#);
        Detached::read(&format!("{head}..AAAA")).unwrap();
        let embedded = encode(r#"{"alg":"EdDSA","jwk":{},"jku":"https://x.test","x5c":[]}"#);
        assert_eq!(Detached::read(&format!("{embedded}..AAAA")).unwrap().key_id(), None);
        for text in [
            String::new(),
            "..".into(),
            format!("{head}.."),
            "..AAAA".into(),
            format!("{head}.AAAA"),
            format!("{head}.e30.AAAA"),
            format!("{head}...AAAA"),
            format!("{head}..AA.AA"),
            format!("{head}..AAAA="),
            format!("{head}..AB"),
            format!(" {head}..AAAA"),
            format!("{}..AAAA", encode("[]")),
            format!("{}..AAAA", encode(r#"{"kid":"k1"}"#)),
            format!("{}..AAAA", encode(r#"{"alg":"EdDSA","alg":"EdDSA"}"#)),
            format!("{}..AAAA", encode(r#"{"alg":"EdDSA","b64":false}"#)),
            format!("{}..AAAA", encode(r#"{"alg":"EdDSA","b64":true}"#)),
            format!("{}..AAAA", encode(r#"{"alg":"EdDSA","b64":false,"crit":["b64"]}"#)),
            format!("{}..AAAA", encode(r#"{"alg":"EdDSA","crit":["x"]}"#)),
        ] {
            assert_eq!(Detached::read(&text).err(), Some(NotDetached), "{text}");
        }
    }

    #[test]
    fn a_signature_without_a_key_id_is_held_against_eight_keys_at_most() {
        let (keys, _) = KeySet::from_jwks(KEYS.as_bytes()).unwrap();
        let own = || keys.named(None).next().unwrap();
        let signature = Detached::read("eyJhbGciOiJFZERTQSIsImtpZCI6ImsxIn0..AAAA").unwrap();
        let mut asked = 0;
        let many = std::iter::repeat_with(|| {
            asked += 1;
            own()
        });
        assert!(matches!(signature.check(b"{}", many.take(100), &Algorithm::ALL), Check::Bad));
        assert!(asked <= MAX_TRIED + 1, "{asked}");
    }
}
