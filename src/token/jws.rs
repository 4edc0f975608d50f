//! The compact JWS, split and decoded strictly (RFC 7515; `tokens.md` §2). Nothing is verified here.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::model::json;
use crate::model::presented::Presented;
use crate::model::reason::{Denial, Reason};

/// How deep the JSON of a header or payload may nest.
pub const MAX_DEPTH: usize = 32;

/// The parts of a compact JWS.
#[derive(Debug)]
pub struct Jws<'a> {
    /// What the signature is over: header and payload as sent.
    pub signing_input: &'a str,
    /// The signature, still in base64url.
    pub signature: &'a str,
    /// The members of the header that decide.
    pub header: Header,
    payload: &'a str,
}

/// The header members that decide. `jku`, `x5u` and `x5c` are never read, and `jwk` in no token
/// (RFC 8725 §3.10): in a DPoP proof alone, where the token says whose key it must be.
#[derive(Debug, PartialEq, Eq)]
pub struct Header {
    /// `alg`
    pub algorithm: String,
    /// `kid`
    pub key_id: Option<String>,
    /// `typ`
    pub kind: Option<String>,
}

impl<'a> Jws<'a> {
    /// Splits on exactly two dots and reads the header.
    pub fn read(presented: Presented<'a>) -> Result<Self, Denial> {
        Self::with_members(presented.token()).map(|(jws, _)| jws)
    }

    /// The same, with every member of the header: a DPoP proof carries its key there.
    pub(super) fn with_members(token: &'a str) -> Result<(Self, Map<String, Value>), Denial> {
        let malformed = Denial::from(Reason::TokenMalformed);
        let (signing_input, signature) = token.rsplit_once('.').ok_or(malformed)?;
        let (header, payload) = signing_input.split_once('.').ok_or(malformed)?;
        if payload.contains('.') || signature.is_empty() {
            return Err(malformed);
        }
        // The last part must be strict base64url too: a lenient reader would let one token have many spellings.
        decode(signature)?;
        let members = object(header, "header")?;
        let header = Header::read(&members)?;
        Ok((Self { signing_input, signature, header, payload }, members))
    }

    /// The payload as a JSON object without duplicate members.
    pub fn payload(&self) -> Result<Map<String, Value>, Denial> {
        object(self.payload, "payload")
    }

    /// The octets of the payload.
    pub fn payload_octets(&self) -> Vec<u8> {
        decode(self.payload).unwrap_or_default()
    }

    /// The same JWS without its payload (RFC 7515 appendix F).
    pub fn detached(&self) -> String {
        let header = self.signing_input.split('.').next().unwrap_or_default();
        [header, self.signature].join("..")
    }
}

impl Header {
    /// Whether `typ` is this media type, with or without `application/` (RFC 7515 §4.1.9).
    pub fn is_of_type(&self, expected: &str) -> bool {
        let lower = self.kind.as_ref().map(|kind| kind.to_ascii_lowercase());
        let bare = lower.as_deref().map(|kind| kind.strip_prefix("application/").unwrap_or(kind));
        bare == Some(expected)
    }

    /// Reads the members of a header.
    pub(super) fn read(members: &Map<String, Value>) -> Result<Self, Denial> {
        // We implement no extension, so whatever is critical is unknown (RFC 7515 §4.1.11).
        if members.contains_key("crit") {
            return Err(Denial::about(Reason::CriticalHeader, "crit"));
        }
        if members.contains_key("enc") || members.contains_key("zip") {
            return Err(Denial::about(Reason::TokenMalformed, "enc"));
        }
        let algorithm =
            text(members, "alg")?.ok_or(Denial::about(Reason::AlgorithmRefused, "alg"))?;
        let key_id = text(members, "kid")?;
        if key_id.as_ref().is_some_and(|kid| kid.len() > 256) {
            return Err(Denial::about(Reason::TokenMalformed, "kid"));
        }
        Ok(Self { algorithm, key_id, kind: text(members, "typ")? })
    }
}

/// The `iss` that a refused token carries, for the record of its refusal. Good for nothing else: the
/// token is not even known to be well formed.
pub fn claimed_issuer(presented: Presented<'_>) -> Option<Box<str>> {
    #[derive(serde::Deserialize)]
    struct Claimed {
        iss: Box<str>,
    }
    let payload = decode(presented.token().split('.').nth(1)?).ok()?;
    serde_json::from_slice::<Claimed>(&payload).ok().map(|claimed| claimed.iss)
}

fn text(members: &Map<String, Value>, name: &'static str) -> Result<Option<String>, Denial> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Denial::about(Reason::TokenMalformed, name)),
    }
}

pub(super) fn object(part: &str, about: &'static str) -> Result<Map<String, Value>, Denial> {
    json::parse_object(&decode(part)?, MAX_DEPTH)
        .map_err(|_error| Denial::about(Reason::TokenMalformed, about))
}

/// base64url without padding, white space or trailing bits (RFC 7515 §2).
pub(super) fn decode(part: &str) -> Result<Vec<u8>, Denial> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_error| Denial::about(Reason::TokenMalformed, "base64url"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compact(header: &str, payload: &str) -> String {
        format!("{}.{}.AAAA", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
    }

    fn read(token: &str) -> Result<Header, Reason> {
        Jws::read(Presented::new(token)).map(|jws| jws.header).map_err(|denial| denial.reason)
    }

    #[test]
    fn a_header_is_read_without_what_a_token_could_smuggle_in() {
        let header = read(&compact(
            r#"{"alg":"ES256","kid":"k","typ":"at+jwt","jku":"https://evil.test","jwk":{}}"#,
            "{}",
        ));
        let expected = Header {
            algorithm: "ES256".into(),
            key_id: Some("k".into()),
            kind: Some("at+jwt".into()),
        };
        assert_eq!(header, Ok(expected));
    }

    #[test]
    fn the_issuer_of_a_refused_token_is_told_when_it_can_be_read() {
        let claimed = |payload: &str| claimed_issuer(Presented::new(&compact("{}", payload)));
        assert_eq!(
            claimed(r#"{"x":[{}],"iss":"https://a.test"}"#).as_deref(),
            Some("https://a.test")
        );
        for unreadable in [r#"{"iss":7}"#, "{}", "[]", "\"iss\""] {
            assert_eq!(claimed(unreadable), None);
        }
        assert_eq!(claimed_issuer(Presented::new("opaque")), None);
    }

    #[test]
    fn what_is_not_a_strict_compact_jws_is_refused() {
        let good = compact(r#"{"alg":"ES256"}"#, "{}");
        for (token, reason) in [
            (String::new(), Reason::TokenMalformed),
            ("a.b".into(), Reason::TokenMalformed),
            (format!("{good}.x"), Reason::TokenMalformed),
            (format!("{good}="), Reason::TokenMalformed),
            (good.trim_end_matches("AAAA").into(), Reason::TokenMalformed),
            (good.replace("AAAA", "AAAB+"), Reason::TokenMalformed),
            (good.replace("AAAA", "AB"), Reason::TokenMalformed),
            (compact(r#"{"alg":"ES256","alg":"ES256"}"#, "{}"), Reason::TokenMalformed),
            (compact(r#"{"alg":"ES256","x":1,"x":2}"#, "{}"), Reason::TokenMalformed),
            (compact(r#"["ES256"]"#, "{}"), Reason::TokenMalformed),
            (compact(r#"{"alg":7}"#, "{}"), Reason::TokenMalformed),
            (compact(r#"{"alg":"ES256","enc":"A128GCM"}"#, "{}"), Reason::TokenMalformed),
            (compact(r#"{"alg":"ES256","crit":["x"]}"#, "{}"), Reason::CriticalHeader),
            (
                compact(r#"{"alg":"ES256","crit":["b64"],"b64":false}"#, "{}"),
                Reason::CriticalHeader,
            ),
            (compact("{}", "{}"), Reason::AlgorithmRefused),
        ] {
            assert_eq!(read(&token), Err(reason), "{token}");
        }
    }
}
