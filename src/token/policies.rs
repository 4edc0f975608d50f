//! Policies as tokens carry and name them (`tokens.md` §5 and §6; `policy.md` §1 and §6).
//!
//! They are read here as far as they can be without a policy engine: a token with a policy that is not
//! well formed is no token. What a policy says is decided elsewhere.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};

use super::names;
use crate::model::reason::Denial;

/// The longest name of a policy, in bytes.
const MAX_ID: usize = 256;
/// The longest address of a policy, in bytes.
const MAX_URI: usize = 2_048;
/// The longest policy that a token may carry, in bytes (`policy.md` §5).
const MAX_SOURCE: usize = 16 * 1_024;
/// The one way of binding a text to a `policy_id` that is known.
const BINDING_PROFILE: &str = "AOP-POLICY-RESOLUTION-BINDING-v0";
/// The language whose entry points have a grammar here.
const REGO: &str = "rego";
/// The rule that is asked where no entry point is named (`policy.md` §5).
const DEFAULT_ENTRY_POINT: &str = "allow";

/// A policy that a grant entry carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// `language`, or `type` in the alias `rego_policy`.
    pub language: Box<str>,
    /// Its text, or where the text is.
    pub source: Source,
    /// The rule that decides: `allow` where none is named.
    pub entry_point: Box<str>,
}

/// Where the text of a policy is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `content`: in the token, and covered by its signature.
    Inline(Box<str>),
    /// `uri`, with the digest that the text must have, where one is named.
    Uri(Box<str>, Option<Digest>),
}

/// A policy registered at the issuer: `agent_operation_authorization`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyId {
    /// `policy_id`
    pub id: Box<str>,
    /// `policy_binding.digest`: SHA-256 over the canonical registry record (`policy.md` §6.2).
    pub binding: Option<[u8; 32]>,
}

/// One element of `policy_ref`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRef {
    /// `id`, or the string that stands for the whole reference.
    pub id: Box<str>,
    /// `version`
    pub version: Option<Box<str>>,
    /// `hash`: what the text must have.
    pub digest: Option<Digest>,
    /// `endpoint`: where it may be had, if that is an allowed place.
    pub endpoint: Option<Box<str>>,
}

/// The digest of a policy's source, as `sha256-…` writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// How it is computed.
    pub algorithm: DigestAlgorithm,
    /// It.
    pub bytes: Box<[u8]>,
}

/// A hash function that a digest may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestAlgorithm {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Policy {
    /// Reads the `policy` of a grant entry, whose language stands under `language` or, in the alias, under
    /// `type`. Both may stand there, and must then agree.
    pub fn read(detail: &Map<String, Value>, language: names::Name) -> Result<Self, Denial> {
        let malformed = names::POLICY.malformed();
        let policy = names::POLICY.object(detail)?.ok_or(malformed)?;
        language.text(policy, MAX_ID)?.ok_or(malformed)?;
        Self::of(policy)
    }

    /// Reads a policy as a record of a delegation chain carries it, which may name its language in either
    /// way.
    pub fn of(policy: &Map<String, Value>) -> Result<Self, Denial> {
        let malformed = names::POLICY.malformed();
        let named = match names::LANGUAGE.text(policy, MAX_ID)? {
            Some(named) => named,
            None => names::TYPE.text(policy, MAX_ID)?.ok_or(malformed)?,
        };
        for other in [names::LANGUAGE, names::TYPE] {
            if other.text(policy, MAX_ID)?.is_some_and(|other| other != named) {
                return Err(malformed);
            }
        }
        let entry_point = names::ENTRY_POINT.text(policy, MAX_ID)?.unwrap_or(DEFAULT_ENTRY_POINT);
        if named == REGO && !is_rego_entry_point(entry_point) {
            return Err(names::ENTRY_POINT.malformed());
        }
        Ok(Self {
            language: named.into(),
            source: Source::read(policy)?,
            entry_point: entry_point.into(),
        })
    }
}

impl Source {
    /// `content` decides where both are there (PB §3.1.2); what stands beside it must be well formed too.
    fn read(policy: &Map<String, Value>) -> Result<Self, Denial> {
        let uri = names::URI.owned(policy, MAX_URI)?;
        let digest = Digest::of(policy)?;
        match (names::CONTENT.owned(policy, MAX_SOURCE)?, uri) {
            (Some(content), _) => Ok(Self::Inline(content)),
            (None, Some(uri)) => Ok(Self::Uri(uri, digest)),
            (None, None) => Err(names::POLICY.malformed()),
        }
    }
}

/// The name of a rule, or its full path `data.<package>.<rule>` (`policy.md` §5).
fn is_rego_entry_point(text: &str) -> bool {
    let mut words = text.split('.');
    let is_path = text.starts_with("data.") && text.split('.').count() >= 3;
    (is_path || !text.contains('.')) && words.all(is_rego_name)
}

fn is_rego_name(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && word.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

impl PolicyId {
    /// Reads the members of `agent_operation_authorization`.
    pub fn read(authorization: &Map<String, Value>) -> Result<Self, Denial> {
        let id =
            names::POLICY_ID.owned(authorization, MAX_ID)?.ok_or(names::POLICY_ID.missing())?;
        let Some(binding) = names::POLICY_BINDING.object(authorization)? else {
            return Ok(Self { id, binding: None });
        };
        let malformed = names::POLICY_BINDING.malformed();
        if names::PROFILE.text(binding, MAX_ID)? != Some(BINDING_PROFILE) {
            return Err(malformed);
        }
        let digest =
            names::DIGEST.text(binding, MAX_ID)?.and_then(|text| text.strip_prefix("sha256:"));
        let binding = digest.and_then(unhex).ok_or(malformed)?;
        Ok(Self { id, binding: Some(binding) })
    }
}

/// 64 digits of lower-case hexadecimal.
fn unhex(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let digits: Vec<u8> = text.bytes().map(digit).collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
    if rest.is_empty() { bytes.try_into().ok() } else { None }
}

impl PolicyRef {
    /// Reads `policy_ref` in its three forms: a string, an object, or an array of either, which is a
    /// conjunction.
    pub fn read_all(payload: &Map<String, Value>) -> Result<Vec<Self>, Denial> {
        match names::POLICY_REF.of(payload)? {
            None => Ok(Vec::new()),
            Some(Value::Array(several)) if several.is_empty() => Err(names::POLICY_REF.malformed()),
            Some(Value::Array(several)) => several.iter().map(Self::read).collect(),
            Some(one) => Ok(vec![Self::read(one)?]),
        }
    }

    fn read(value: &Value) -> Result<Self, Denial> {
        let malformed = names::POLICY_REF.malformed();
        match value {
            Value::String(id) if (1..=MAX_ID).contains(&id.len()) => {
                Ok(Self { id: id.as_str().into(), version: None, digest: None, endpoint: None })
            }
            Value::Object(members) => Ok(Self {
                id: names::ID.owned(members, MAX_ID)?.ok_or(malformed)?,
                version: names::VERSION.owned(members, MAX_ID)?,
                digest: Digest::of(members)?,
                endpoint: names::ENDPOINT.owned(members, MAX_URI)?,
            }),
            _ => Err(malformed),
        }
    }
}

impl Digest {
    /// `hash` of an object.
    fn of(members: &Map<String, Value>) -> Result<Option<Self>, Denial> {
        match names::HASH.text(members, MAX_ID)? {
            None => Ok(None),
            Some(text) => Self::parse(text).map(Some).ok_or(names::HASH.malformed()),
        }
    }

    /// `sha256-`, `sha384-` or `sha512-`, and base64 in either alphabet, padded or not.
    pub fn parse(text: &str) -> Option<Self> {
        const CONFIG: GeneralPurposeConfig =
            GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);
        const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, CONFIG);
        let (name, encoded) = text.split_once('-')?;
        let (algorithm, length) = match name {
            "sha256" => (DigestAlgorithm::Sha256, 32),
            "sha384" => (DigestAlgorithm::Sha384, 48),
            "sha512" => (DigestAlgorithm::Sha512, 64),
            _ => return None,
        };
        // Which alphabet it is in, its own characters say.
        let engine = if encoded.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
        let bytes = engine.decode(encoded).ok().filter(|bytes| bytes.len() == length)?;
        Some(Self { algorithm, bytes: bytes.into() })
    }

    /// The digest that an id is, where the id is one: `sha256:` and hexadecimal, or as `hash` writes it.
    pub fn parse_address(id: &str) -> Option<Self> {
        match id.strip_prefix("sha256:") {
            Some(hexadecimal) => {
                let bytes = unhex(hexadecimal)?;
                Some(Self { algorithm: DigestAlgorithm::Sha256, bytes: bytes.into() })
            }
            None => Self::parse(id),
        }
    }

    /// Whether it is that of `text`.
    pub fn is_of(&self, text: &[u8]) -> bool {
        let algorithm = match self.algorithm {
            DigestAlgorithm::Sha256 => &aws_lc_rs::digest::SHA256,
            DigestAlgorithm::Sha384 => &aws_lc_rs::digest::SHA384,
            DigestAlgorithm::Sha512 => &aws_lc_rs::digest::SHA512,
        };
        let own = aws_lc_rs::digest::digest(algorithm, text);
        aws_lc_rs::constant_time::verify_slices_are_equal(own.as_ref(), &self.bytes).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// `policy.md` §6.6.
    const PRINTED: &str = "sha256-JzkDa0wlgOyiHFWcIcBHqCWLyP/vkvs5kMJC1xgoDMM=";

    #[test]
    fn r_tok_030_a_hash_is_read_in_either_alphabet_padded_or_not_and_of_known_algorithms_only() {
        let source = "package agent\n\ndefault allow := false\n\nallow if { input.transaction.amount <= 50.0 }";
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, source.as_bytes());
        let url_safe = PRINTED.replace('/', "_");
        for text in
            [PRINTED, PRINTED.trim_end_matches('='), &url_safe, url_safe.trim_end_matches('=')]
        {
            assert_eq!(&*Digest::parse(text).unwrap().bytes, digest.as_ref(), "{text}");
        }
        assert!(Digest::parse(&format!("sha384-{}", "A".repeat(64))).is_some());
        assert!(Digest::parse(&format!("sha512-{}==", "A".repeat(86))).is_some());
        for text in [
            "",
            "sha256",
            "sha256-",
            "sha256-AAAA",
            "sha1-AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            "md5-AAAAAAAAAAAAAAAAAAAAAA==",
            &PRINTED.replace("sha256", "SHA256"),
            &PRINTED.replace("sha256", "sha512"),
            &PRINTED.replace("sha256-", "sha256:"),
            &PRINTED.replace("JzkD", "Jz_D"),
            &format!("{PRINTED}="),
        ] {
            assert_eq!(Digest::parse(text), None, "{text}");
        }
    }

    #[test]
    fn r_tok_030_policy_ref_has_three_forms() {
        let read = |value: Value| {
            let payload = json!({ "policy_ref": value });
            PolicyRef::read_all(payload.as_object().unwrap())
        };
        let ids = |value| read(value).unwrap().into_iter().map(|one| one.id).collect::<Vec<_>>();
        assert_eq!(ids(json!("p1")), ["p1".into()]);
        assert_eq!(ids(json!({"id": "p1", "version": "2", "hash": PRINTED})), ["p1".into()]);
        assert_eq!(ids(json!(["p1", {"id": "p2"}])), ["p1".into(), "p2".into()]);
        for bad in [
            json!([]),
            json!(""),
            json!(7),
            json!(null),
            json!({}),
            json!({"id": 7}),
            json!({"id": "p", "hash": "sha1-AAAA"}),
            json!({"id": "p", "hash": 7}),
            json!({"id": "p", "endpoint": 7}),
            json!(["p1", []]),
            json!(["p1", ""]),
            json!("x".repeat(257)),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn r_tok_028_a_policy_names_its_language_and_has_a_text_or_an_address() {
        let read = |policy: Value| {
            let detail = json!({ "policy": policy });
            Policy::read(detail.as_object().unwrap(), names::LANGUAGE)
        };
        let both = read(json!({"language": "rego", "content": "x", "uri": "https://as.test/p"}));
        let both = both.unwrap();
        assert_eq!((&*both.entry_point, both.source), ("allow", Source::Inline("x".into())));
        let hashed = read(json!({"language": "rego", "uri": "https://as.test/p", "hash": PRINTED}));
        assert!(matches!(hashed.unwrap().source, Source::Uri(_, Some(_))));
        let other = read(json!({"language": "alfa", "content": "x", "entry_point": "a b"}));
        assert_eq!(&*other.unwrap().language, "alfa");
        for entry_point in ["allow", "_x9", "data.agent.allow", "data.a.b.c"] {
            read(json!({"language": "rego", "content": "x", "entry_point": entry_point})).unwrap();
        }
        for entry_point in [
            "",
            "9x",
            "a-b",
            "a.b",
            "data.allow",
            "data..x",
            "data.a.",
            "input.a.b",
            "data.a.b c",
            "x\n",
        ] {
            let policy = json!({"language": "rego", "content": "x", "entry_point": entry_point});
            assert!(read(policy).is_err(), "{entry_point}");
        }
        for bad in [
            json!({"language": "rego"}),
            json!({"language": "rego", "content": ""}),
            json!({"language": "rego", "content": 7}),
            json!({"language": "rego", "content": "x".repeat(MAX_SOURCE + 1)}),
            json!({"language": "rego", "content": "x", "uri": 7}),
            json!({"language": "rego", "content": "x", "hash": "sha1-AAAA"}),
            json!({"language": "rego", "type": "cedar", "content": "x"}),
            json!({"type": "rego", "content": "x"}),
            json!({"language": 7, "content": "x"}),
            json!("rego"),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_binding_is_64_digits_of_the_profile_that_is_known() {
        let digest = "sha256:c2fb6006f7fbd9532e47991c4e31b14e46859d00d695421c19e525f29f875cf0";
        let read = |binding: Value| {
            let authorization = json!({"policy_id": "p", "policy_binding": binding});
            PolicyId::read(authorization.as_object().unwrap())
        };
        let good = read(json!({"digest": digest, "profile": BINDING_PROFILE})).unwrap();
        assert_eq!(good.binding.unwrap()[..2], [0xc2, 0xfb]);
        for bad in [
            json!({}),
            json!({"digest": digest}),
            json!({"digest": digest, "profile": "v1"}),
            json!({"digest": digest.to_uppercase(), "profile": BINDING_PROFILE}),
            json!({"digest": digest.strip_suffix("0").unwrap(), "profile": BINDING_PROFILE}),
            json!({"digest": digest.strip_prefix("sha256:").unwrap(), "profile": BINDING_PROFILE}),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }
}
