//! An issuer's keys: filtered when they are loaded, chosen by `kid` and algorithm
//! (RFC 7517; `verification.md` step 10e).

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{self, ParsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};

use super::jcs;
use super::svid::{Bundle, Svid};
use super::trust::Algorithm;
use crate::model::hex::hex;
use crate::model::json;
use crate::model::reason::{Denial, Reason};
use crate::model::time::Timestamp;

/// The most keys of an issuer, which has one in use, one to come and some that went.
pub const MAX_KEYS: usize = 64;
/// The most keys of a directory of agents, each of which has its own.
pub const MAX_AGENT_KEYS: usize = 1_000;

/// The keys of one issuer that can verify a token.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: Vec<Key>,
}

/// A public key, and the algorithms it may be used with.
pub struct Key {
    id: Option<Box<str>>,
    algorithms: Vec<Algorithm>,
    public: Box<[u8]>,
    /// RFC 7638, with SHA-256.
    thumbprint: [u8; 32],
    decoding: DecodingKey,
    /// What authorities say of whose it is, where they are asked.
    svid: Option<Svid>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?}, {:?})", self.id, self.algorithms)
    }
}

/// The key that verified something, for as long as what it verified is remembered.
#[derive(Clone, Debug, Default)]
pub struct Signer {
    /// The set it was found in, to notice when that has changed.
    keys: Arc<KeySet>,
    public: Box<[u8]>,
    /// `None` for a signer of nothing, which is in no set.
    algorithm: Option<Algorithm>,
}

impl Signer {
    /// `key` of `keys`, which verified with `algorithm`.
    pub fn new(keys: &Arc<KeySet>, key: &Key, algorithm: Algorithm) -> Self {
        Self { keys: Arc::clone(keys), public: key.public().into(), algorithm: Some(algorithm) }
    }

    /// Whether `keys` is the very set it was found in. In another one the name that a token gives may
    /// mean another key, or several.
    pub fn is_from(&self, keys: &Arc<KeySet>) -> bool {
        Arc::ptr_eq(&self.keys, keys)
    }

    /// Whether it is still one of `keys`, whatever it is called there.
    pub fn is_of(&self, keys: &Arc<KeySet>) -> bool {
        let Some(algorithm) = self.algorithm else { return false };
        Arc::ptr_eq(&self.keys, keys) || keys.holds(&self.public, algorithm)
    }
}

/// A key of a set that was left out, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Its place in the set, from 0.
    pub index: usize,
    /// Its `kid`, if it has one.
    pub key_id: Option<String>,
    /// Why it cannot verify a token here.
    pub why: &'static str,
}

/// What could not be read as a JWK Set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    /// Not strict JSON.
    #[error("not a JSON object without duplicate members")]
    Json,
    /// No array `keys`.
    #[error("no array `keys` (RFC 7517 §5)")]
    NoKeys,
    /// More than so many.
    #[error("more than {0} keys")]
    TooMany(usize),
}

impl KeySet {
    /// Reads a JWK Set of an issuer. Keys that cannot verify a token are left out and named.
    pub fn from_jwks(text: &[u8]) -> Result<(Self, Vec<LeftOut>), JwksError> {
        Self::from_jwks_of(text, MAX_KEYS, None)
    }

    /// Reads a JWK Set of at most `most` keys; with a `bundle`, every key must come with the certificate
    /// of an agent of that trust domain.
    pub fn from_jwks_of(
        text: &[u8],
        most: usize,
        bundle: Option<&Bundle>,
    ) -> Result<(Self, Vec<LeftOut>), JwksError> {
        let document = json::parse_object(text, 16).map_err(|_error| JwksError::Json)?;
        let Some(Value::Array(members)) = document.get("keys") else {
            return Err(JwksError::NoKeys);
        };
        if members.len() > most {
            return Err(JwksError::TooMany(most));
        }
        let mut keys: Vec<Key> = Vec::new();
        let mut left_out = Vec::new();
        for (index, member) in members.iter().enumerate() {
            let key_id = member.get("kid").and_then(Value::as_str).map(str::to_owned);
            match Key::certified(member, bundle) {
                Ok(key) if keys.iter().any(|other| other.is_ambiguous_with(&key)) => {
                    let why = "another key has the same `kid` and algorithm";
                    left_out.push(LeftOut { index, key_id, why });
                }
                Ok(key) => keys.push(key),
                Err(why) => left_out.push(LeftOut { index, key_id, why }),
            }
        }
        Ok((Self { keys }, left_out))
    }

    /// The key that a token's header names. Without `kid` there must be exactly one that fits.
    pub fn select(&self, key_id: Option<&str>, algorithm: Algorithm) -> Selected<'_> {
        let named = |key: &&Key| key_id.is_none() || key.id.as_deref() == key_id;
        let mut fitting =
            self.keys.iter().filter(named).filter(|key| key.algorithms.contains(&algorithm));
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Selected::Key(key),
            (Some(_), Some(_)) => Selected::Ambiguous,
            (None, _) if self.keys.iter().any(|key| named(&key)) => Selected::OtherAlgorithm,
            (None, _) => Selected::Unknown,
        }
    }

    /// The keys that go by a name, or all of them where none is given.
    pub fn named<'k>(&'k self, key_id: Option<&'k str>) -> impl Iterator<Item = &'k Key> {
        self.keys.iter().filter(move |key| key_id.is_none() || key.id.as_deref() == key_id)
    }

    /// Whether `key` is in this set for `algorithm`, whatever it is called.
    pub fn holds(&self, public: &[u8], algorithm: Algorithm) -> bool {
        self.keys.iter().any(|key| *key.public == *public && key.algorithms.contains(&algorithm))
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// What [`KeySet::select`] found.
#[derive(Debug)]
pub enum Selected<'a> {
    /// Several keys fit, and the token does not say which.
    Ambiguous,
    /// The one.
    Key(&'a Key),
    /// A key of that name, for another algorithm.
    OtherAlgorithm,
    /// None of that name.
    Unknown,
}

impl Key {
    /// A key that comes with a proof. Whoever sends a private key has given
    /// it away, so that it proves nothing (RFC 9449 §4.3).
    pub(super) fn presented(jwk: &Value) -> Result<Self, &'static str> {
        const PRIVATE: [&str; 8] = ["d", "dp", "dq", "k", "oth", "p", "q", "qi"];
        let Value::Object(members) = jwk else { return Err("not a JSON object") };
        if PRIVATE.iter().any(|member| members.contains_key(*member)) {
            return Err("a private key");
        }
        Self::from_jwk(jwk)
    }

    /// The one algorithm that the key is for, when its `alg` says so.
    pub(super) fn only_algorithm(&self) -> Option<Algorithm> {
        match self.algorithms.as_slice() {
            [one] => Some(*one),
            _ => None,
        }
    }

    fn certified(jwk: &Value, bundle: Option<&Bundle>) -> Result<Self, &'static str> {
        let key = Self::from_jwk(jwk)?;
        let Some(bundle) = bundle else { return Ok(key) };
        let chain = jwk.get("x5c").ok_or("no certificate (`x5c`) says whose it is")?;
        let svid = bundle.verify(chain, &key.public)?;
        Ok(Self { svid: Some(svid), ..key })
    }

    fn from_jwk(jwk: &Value) -> Result<Self, &'static str> {
        let Value::Object(members) = jwk else { return Err("not a JSON object") };
        let text = |name| members.get(name).and_then(Value::as_str);
        if members.get("use").is_some_and(|purpose| purpose != "sig") {
            return Err("`use` is not `sig`");
        }
        if members.get("key_ops").is_some_and(|operations| !names(operations, "verify")) {
            return Err("`key_ops` does not hold `verify`");
        }
        let (public, decoding, fitting) = match text("kty") {
            Some("EC") => elliptic(members)?,
            Some("OKP") => edwards(members)?,
            Some("RSA") => rsa(members)?,
            Some("oct") => return Err("a shared secret cannot be an issuer's public key"),
            _ => return Err("`kty` is not one of EC, OKP, RSA"),
        };
        let algorithms = match members.get("alg") {
            None => fitting.to_vec(),
            Some(Value::String(alg)) => match Algorithm::named(alg) {
                Some(algorithm) if fitting.contains(&algorithm) => vec![algorithm],
                _ => return Err("`alg` is not allowed or does not fit the key"),
            },
            Some(_) => return Err("`alg` is not a string"),
        };
        let thumbprint = thumbprint(members)?;
        let id = text("kid").map(Into::into);
        Ok(Self { id, algorithms, public, thumbprint, decoding, svid: None })
    }

    /// What certificates say of whose it is, where its directory has authorities.
    pub const fn svid(&self) -> Option<&Svid> {
        self.svid.as_ref()
    }

    /// Whether it may be used at `now`: a key without a certificate has no end of its own.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.svid.as_ref().is_none_or(|svid| svid.is_valid(now))
    }

    /// Its `kid`.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Whether it may be used with `algorithm`.
    pub fn fits(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }

    /// Its RFC 7638 thumbprint.
    pub(super) const fn thumbprint(&self) -> [u8; 32] {
        self.thumbprint
    }

    /// Whether `text` is its RFC 7638 thumbprint, in base64url or in lower-case hexadecimal.
    pub fn has_thumbprint(&self, text: &str) -> bool {
        text == encode(&self.thumbprint) || text == hex(&self.thumbprint)
    }

    /// Verifies `signature` (base64url) over `message`.
    pub fn verify(
        &self,
        message: &str,
        signature: &str,
        algorithm: Algorithm,
    ) -> Result<(), Denial> {
        let verified = self.algorithms.contains(&algorithm)
            && jsonwebtoken::crypto::verify(
                signature,
                message.as_bytes(),
                &self.decoding,
                jose(algorithm),
            )
            .unwrap_or(false);
        if verified { Ok(()) } else { Err(Reason::SignatureInvalid.into()) }
    }

    /// The public key's own bytes, by which it is recognized after a rotation.
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    fn is_ambiguous_with(&self, other: &Self) -> bool {
        // Whose a certified key is, its certificate says, whatever it is called.
        self.id == other.id
            && self.id.is_some()
            && self.svid.is_none()
            && self.algorithms.iter().any(|algorithm| other.algorithms.contains(algorithm))
    }
}

const fn jose(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::Es384 => jsonwebtoken::Algorithm::ES384,
        Algorithm::Ps256 => jsonwebtoken::Algorithm::PS256,
        Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
    }
}

/// RFC 7638 §3.2: the required members of the key in the order of their names, and nothing else.
fn thumbprint(members: &Map<String, Value>) -> Result<[u8; 32], &'static str> {
    let required: &[&str] = match members.get("kty").and_then(Value::as_str) {
        Some("EC") => &["crv", "kty", "x", "y"],
        Some("OKP") => &["crv", "kty", "x"],
        _ => &["e", "kty", "n"],
    };
    let required = required.iter().filter_map(|name| Some((*name, members.get(*name)?)));
    let text = jcs::object(required).map_err(|_number| "a member of the key is not a string")?;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &text);
    digest.as_ref().try_into().map_err(|_length| "no thumbprint")
}

type Public = (Box<[u8]>, DecodingKey, &'static [Algorithm]);

/// Points are parsed here, because `jsonwebtoken` takes any bytes and fails at the first use.
fn elliptic(members: &Map<String, Value>) -> Result<Public, &'static str> {
    let (x, y) = (coordinate(members, "x")?, coordinate(members, "y")?);
    let (size, parser, fitting): (_, &signature::EcdsaVerificationAlgorithm, &[Algorithm]) =
        match members.get("crv").and_then(Value::as_str) {
            Some("P-256") => (32, &signature::ECDSA_P256_SHA256_FIXED, &[Algorithm::Es256]),
            Some("P-384") => (48, &signature::ECDSA_P384_SHA384_FIXED, &[Algorithm::Es384]),
            _ => return Err("`crv` is not P-256 or P-384"),
        };
    if x.len() != size || y.len() != size {
        return Err("a coordinate has the wrong length");
    }
    let point: Box<[u8]> = [&[4][..], &x, &y].concat().into();
    ParsedPublicKey::new(parser, &point).map_err(|_error| "not a point on the curve")?;
    let decoding = DecodingKey::from_ec_components(&encode(&x), &encode(&y))
        .map_err(|_error| "not an EC key")?;
    Ok((point, decoding, fitting))
}

fn edwards(members: &Map<String, Value>) -> Result<Public, &'static str> {
    if members.get("crv").and_then(Value::as_str) != Some("Ed25519") {
        return Err("`crv` is not Ed25519");
    }
    let x = coordinate(members, "x")?;
    ParsedPublicKey::new(&signature::ED25519, &x).map_err(|_error| "not an Ed25519 key")?;
    let decoding =
        DecodingKey::from_ed_components(&encode(&x)).map_err(|_error| "not an Ed25519 key")?;
    Ok((x.into(), decoding, &[Algorithm::EdDsa]))
}

/// RFC 7518 §3.3 and `tokens.md` §2: a modulus of 2048 bits or more, an exponent of 65537 or more.
fn rsa(members: &Map<String, Value>) -> Result<Public, &'static str> {
    let (n, e) = (coordinate(members, "n")?, coordinate(members, "e")?);
    let leading = n.first().map_or(8, |byte| byte.leading_zeros());
    let bits = u32::try_from(n.len() * 8).unwrap_or(0).saturating_sub(leading);
    if bits < 2_048 {
        return Err("an RSA key below 2048 bits");
    }
    if bits > 8_192 {
        return Err("an RSA key above 8192 bits");
    }
    let exponent =
        e.iter().fold(0_u64, |sum, byte| sum.saturating_mul(256).saturating_add(u64::from(*byte)));
    if exponent < 65_537 || exponent % 2 == 0 {
        return Err("an RSA exponent below 65537");
    }
    if n.last().is_none_or(|byte| byte % 2 == 0) {
        return Err("not an RSA modulus");
    }
    let decoding = DecodingKey::from_rsa_raw_components(&n, &e);
    Ok(([&n[..], &e[..]].concat().into(), decoding, &[Algorithm::Ps256, Algorithm::Rs256]))
}

fn coordinate(members: &Map<String, Value>, name: &str) -> Result<Vec<u8>, &'static str> {
    let text = members.get(name).and_then(Value::as_str).ok_or("a member of the key is missing")?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_error| "a member of the key is not base64url")
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn names(list: &Value, wanted: &str) -> bool {
    list.as_array().is_some_and(|list| list.iter().any(|name| name == wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str = r#"{"kty":"OKP","crv":"Ed25519","kid":"ed","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

    fn set(keys: &[String]) -> (KeySet, Vec<LeftOut>) {
        KeySet::from_jwks(format!(r#"{{"keys":[{}]}}"#, keys.join(",")).as_bytes()).unwrap()
    }

    #[test]
    fn the_key_of_rfc_8037_is_kept_for_its_algorithm_alone() {
        let (keys, left_out) = set(&[ED25519.into()]);
        assert_eq!(left_out, []);
        assert!(matches!(keys.select(Some("ed"), Algorithm::EdDsa), Selected::Key(_)));
        assert!(matches!(keys.select(None, Algorithm::EdDsa), Selected::Key(_)));
        assert!(matches!(keys.select(Some("ed"), Algorithm::Es256), Selected::OtherAlgorithm));
        assert!(matches!(keys.select(Some("other"), Algorithm::EdDsa), Selected::Unknown));
    }

    #[test]
    fn a_key_has_the_thumbprint_of_rfc_8037() {
        let (keys, _) = set(&[ED25519.into()]);
        let key = keys.named(Some("ed")).next().unwrap();
        assert!(key.has_thumbprint("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"));
        assert!(key.has_thumbprint(&hex(&key.thumbprint)));
        assert!(!key.has_thumbprint("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4g"));
    }

    #[test]
    fn r_tok_005_keys_that_cannot_verify_are_left_out_and_named() {
        let modulus = |bytes: usize| encode(&vec![0xc1; bytes]);
        let rsa = |n: String, e: &str| format!(r#"{{"kty":"RSA","kid":"r","n":"{n}","e":"{e}"}}"#);
        for (key, why) in [
            (rsa(modulus(128), "AQAB"), "an RSA key below 2048 bits"),
            (rsa(modulus(256), "Aw"), "an RSA exponent below 65537"),
            (rsa(modulus(2_048), "AQAB"), "an RSA key above 8192 bits"),
            (
                r#"{"kty":"oct","k":"AAAA"}"#.into(),
                "a shared secret cannot be an issuer's public key",
            ),
            (r#"{"kty":"XYZ"}"#.into(), "`kty` is not one of EC, OKP, RSA"),
            (
                r#"{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"}"#.into(),
                "a coordinate has the wrong length",
            ),
            (
                format!(r#"{{"kty":"EC","crv":"P-256","x":"{0}","y":"{0}"}}"#, encode(&[7; 32])),
                "not a point on the curve",
            ),
            (ED25519.replace("\"kid\"", "\"use\":\"enc\",\"kid\""), "`use` is not `sig`"),
            (
                ED25519.replace("\"kid\"", "\"key_ops\":[\"sign\"],\"kid\""),
                "`key_ops` does not hold `verify`",
            ),
            (
                ED25519.replace("\"kid\"", "\"alg\":\"ES256\",\"kid\""),
                "`alg` is not allowed or does not fit the key",
            ),
        ] {
            let (keys, left_out) = set(std::slice::from_ref(&key));
            assert!(keys.is_empty(), "{key}");
            assert_eq!(left_out[0].why, why, "{key}");
        }
        let (keys, left_out) = set(&[ED25519.into(), ED25519.into()]);
        assert_eq!((keys.len(), left_out.len()), (1, 1));
    }

    #[test]
    fn what_is_not_a_key_set_is_refused() {
        for (text, error) in [
            ("[]", JwksError::Json),
            ("{}", JwksError::NoKeys),
            (r#"{"keys":[],"keys":[]}"#, JwksError::Json),
        ] {
            assert_eq!(KeySet::from_jwks(text.as_bytes()).unwrap_err(), error);
        }
        let many = vec![ED25519; MAX_KEYS + 1].join(",");
        assert_eq!(
            KeySet::from_jwks(format!(r#"{{"keys":[{many}]}}"#).as_bytes()).unwrap_err(),
            JwksError::TooMany(MAX_KEYS)
        );
    }
}
