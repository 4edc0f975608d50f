//! An issuer whose tokens can be wrong in any way: JWS are built by hand, nothing is checked.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaPair, KeySize};
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::gate::{ISSUER, SHOP};

/// The canonical form of a plain value (RFC 8785): members sorted by name, no spaces. What is signed here
/// has no text and no number that would take more.
pub(crate) fn canonical(value: &Value) -> Vec<u8> {
    let mut sorted = value.clone();
    sorted.sort_all_objects();
    sorted.to_string().into_bytes()
}

/// A key pair, with the name it has in the JWK Set.
pub(crate) struct Key {
    pub(crate) kid: String,
    alg: String,
    pair: Pair,
}

enum Pair {
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Rsa(RsaPair),
    Weak,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.alg, self.kid)
    }
}

impl Key {
    /// A new pair for `alg`; `weak` is RS256 with 1024 bits.
    pub(crate) fn new(alg: &str, kid: &str) -> Self {
        let pair = match alg {
            "ES256" => Pair::Ec(
                EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            ),
            "ES384" => Pair::Ec(
                EcdsaKeyPair::generate(&signature::ECDSA_P384_SHA384_FIXED_SIGNING).unwrap(),
            ),
            "EdDSA" => Pair::Ed(Ed25519KeyPair::generate().unwrap()),
            "RS256" | "PS256" => Pair::Rsa(RsaPair::generate(KeySize::Rsa2048).unwrap()),
            "weak" => Pair::Weak,
            other => panic!("no key for {other}"),
        };
        let alg = if alg == "weak" { "RS256" } else { alg };
        Self { kid: kid.to_owned(), alg: alg.to_owned(), pair }
    }

    /// The public half.
    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Ec(pair) => {
                let point = pair.public_key().as_ref();
                let half = (point.len() - 1) / 2;
                let crv = if half == 32 { "P-256" } else { "P-384" };
                json!({"kty":"EC","crv":crv,"x":b64(&point[1..=half]),"y":b64(&point[half + 1..])})
            }
            Pair::Ed(pair) => {
                json!({"kty":"OKP","crv":"Ed25519","x":b64(pair.public_key().as_ref())})
            }
            Pair::Rsa(pair) => {
                let n = pair.public_key().modulus().big_endian_without_leading_zero().to_vec();
                json!({"kty":"RSA","n":b64(&n),"e":"AQAB"})
            }
            Pair::Weak => json!({"kty":"RSA","n":b64(&hex(WEAK_MODULUS)),"e":"AQAB"}),
        };
        jwk["kid"] = json!(self.kid);
        jwk["alg"] = json!(self.alg);
        jwk["use"] = json!("sig");
        jwk
    }

    /// The point of the public half of a key for ES256.
    pub(crate) fn public(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Ec(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Ed(_) | Pair::Rsa(_) | Pair::Weak => panic!("{self:?} has no point"),
        }
    }

    /// Signs with the key's own algorithm.
    pub(crate) fn sign(&self, input: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ec(pair) => pair.sign(&random, input).unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(input).as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut bytes = vec![0; pair.public_modulus_len()];
                if self.alg == "PS256" {
                    pair.sign(&signature::RSA_PSS_SHA256, &random, input, &mut bytes).unwrap();
                } else {
                    pair.sign(&signature::RSA_PKCS1_SHA256, &random, input, &mut bytes).unwrap();
                }
                bytes
            }
            Pair::Weak => weak_signature(input),
        }
    }

    /// The JOSE name of the key's algorithm.
    pub(crate) fn alg(&self) -> &str {
        &self.alg
    }
}

/// A token before it is signed.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) header: Value,
    pub(crate) payload: Value,
}

impl Token {
    /// A token for the shop that covers every operation but `read_order`.
    pub(crate) fn new() -> Self {
        let now = now();
        let payload = json!({
            "iss": ISSUER, "sub": "user-1", "aud": SHOP, "client_id": "agent-1",
            "iat": now, "exp": now + 300, "jti": format!("jti-{now}"),
            "authorization_details": [{
                "type": "agent_operation",
                "locations": [SHOP],
                "operations": [
                    {"method": "GET", "path": "/products/**"},
                    {"action": "search_products"},
                    {"action": "create_order"},
                    {"action": "anything"},
                ],
            }],
        });
        Self { header: json!({"typ": "at+jwt"}), payload }
    }

    /// Sets a claim.
    pub(crate) fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.payload[name] = value.into();
        self
    }

    /// Sets a header member.
    pub(crate) fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header[name] = value.into();
        self
    }

    /// Leaves a claim out.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.payload.as_object_mut().unwrap().remove(name);
        self
    }

    /// Leaves a header member out.
    pub(crate) fn without_header(mut self, name: &str) -> Self {
        self.header.as_object_mut().unwrap().remove(name);
        self
    }

    /// The header as it is signed: `alg` and `kid` of `key` where they were not set.
    pub(crate) fn head_for(&self, key: &Key) -> Value {
        let mut header = self.header.clone();
        for (name, value) in [("alg", key.alg()), ("kid", &key.kid)] {
            if header.get(name).is_none() {
                header[name] = json!(value);
            }
        }
        header
    }

    /// Signs; `alg` and `kid` are those of `key` where they were not set.
    pub(crate) fn sign(&self, key: &Key) -> String {
        jws(&self.head_for(key).to_string(), &self.payload.to_string(), key)
    }
}

/// A compact JWS of any two texts.
pub(crate) fn jws(header: &str, payload: &str, key: &Key) -> String {
    let input = format!("{}.{}", b64(header.as_bytes()), b64(payload.as_bytes()));
    let signature = b64(&key.sign(input.as_bytes()));
    format!("{input}.{signature}")
}

/// A compact JWS signed with HMAC under `secret`.
pub(crate) fn hs256(header: &str, payload: &str, secret: &[u8]) -> String {
    let input = format!("{}.{}", b64(header.as_bytes()), b64(payload.as_bytes()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), input.as_bytes());
    format!("{input}.{}", b64(tag.as_ref()))
}

/// base64 with padding, as certificates are written.
pub(crate) fn b64_standard(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// base64url without padding.
pub(crate) fn b64(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

const WEAK_MODULUS: &str = "bbc8e6e25d2ea4250a6abdc0e289bbdef497aefb8412e4957190334bc58a7b764132f3bb6594e551d6d495ce121eed1a631d5c4d39b7315817749641644af7b2c3f10cee2a4df04a734942ea98a3c3ff59b9746d7bdaf5c5403bbdffeb55f4904b6ff914a80a5b36a28d7460a59978d89100882ad87a15ce7472debcb0eeb1f5";
const WEAK_EXPONENT: &str = "a9987f558f9cd12896e8e26972efbc1a57c32a8903b66075cbf3d53028bfb25391fce77da6f7bbc89702b62d3fd668837d6285fb4515fb5db90955aec75aa1ab679969645a54eed1a088411d6a6afde2425e847af08fffafe1af6af0ddbc35252f7b2781fc77f10509c1fb7d5cdb216321755491d3acd17a5b0a695c2ee50fdd";

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// RSASSA-PKCS1-v1_5 with SHA-256 and 1024 bits, as no library offers it any more: `m^d mod n` by
/// doubling and adding.
fn weak_signature(input: &[u8]) -> Vec<u8> {
    const DIGEST_INFO: &str = "3031300d060960864801650304020105000420";
    let mut message = vec![0, 1];
    message.extend([0xff; 128 - 3 - 19 - 32]);
    message.push(0);
    message.extend(hex(DIGEST_INFO));
    message.extend(digest::digest(&digest::SHA256, input).as_ref());
    let (modulus, base) = (limbs(&hex(WEAK_MODULUS)), limbs(&message));
    let mut power = [0; 17];
    power[0] = 1;
    for bit in bits(&hex(WEAK_EXPONENT)) {
        power = multiply(&power, &power, &modulus);
        if bit {
            power = multiply(&power, &base, &modulus);
        }
    }
    power[..16].iter().rev().flat_map(|limb| limb.to_be_bytes()).collect()
}

type Number = [u64; 17];

fn limbs(bytes: &[u8]) -> Number {
    let mut number = [0; 17];
    for (at, byte) in bytes.iter().rev().enumerate() {
        number[at / 8] |= u64::from(*byte) << (8 * (at % 8));
    }
    number
}

fn bits(bytes: &[u8]) -> impl Iterator<Item = bool> {
    bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1))
}

fn multiply(a: &Number, b: &Number, modulus: &Number) -> Number {
    let mut product = [0; 17];
    for bit in (0..1_024).rev().map(|bit| a[bit / 64] >> (bit % 64) & 1 == 1) {
        product = add(&product, &product, modulus);
        if bit {
            product = add(&product, b, modulus);
        }
    }
    product
}

/// `a + b`, less `modulus` where that is possible.
fn add(a: &Number, b: &Number, modulus: &Number) -> Number {
    let (mut sum, mut less) = ([0; 17], [0; 17]);
    let (mut carry, mut borrow) = (false, false);
    for at in 0..17 {
        (sum[at], carry) = a[at].carrying_add_stable(b[at], carry);
        (less[at], borrow) = sum[at].borrowing_sub_stable(modulus[at], borrow);
    }
    if borrow { sum } else { less }
}

trait Carry: Sized {
    fn carrying_add_stable(self, other: Self, carry: bool) -> (Self, bool);
    fn borrowing_sub_stable(self, other: Self, borrow: bool) -> (Self, bool);
}

impl Carry for u64 {
    fn carrying_add_stable(self, other: Self, carry: bool) -> (Self, bool) {
        let (sum, first) = self.overflowing_add(other);
        let (sum, second) = sum.overflowing_add(Self::from(carry));
        (sum, first || second)
    }

    fn borrowing_sub_stable(self, other: Self, borrow: bool) -> (Self, bool) {
        let (rest, first) = self.overflowing_sub(other);
        let (rest, second) = rest.overflowing_sub(Self::from(borrow));
        (rest, first || second)
    }
}
