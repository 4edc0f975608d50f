//! The answer of an introspection endpoint (RFC 7662, RFC 9701; `tokens.md` §11).

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::jws::Jws;
use super::keys::KeySet;
use super::member;
use super::trust::Issuer;
use super::verify::{self, Halt};
use crate::model::json;
use crate::model::presented::Presented;
use crate::model::reason::{Denial, Reason};
use crate::model::time::Timestamp;

/// What the issuer says of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is active, and this is what stands in it.
    Active(Map<String, Value>),
    /// It is revoked, expired, for somebody else, or was never issued.
    Inactive,
}

/// An answer, and for how long it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introspected {
    /// The answer.
    pub answer: Answer,
    /// When it was asked for: what was revoked later it cannot know.
    pub asked: Timestamp,
    /// Until when it is taken without asking again.
    pub until: Timestamp,
}

impl Introspected {
    /// Whether it may decide a call that came at `now`: it has not ended, or was asked for this call.
    pub fn holds(&self, now: Timestamp) -> bool {
        now < self.until || self.asked >= now
    }
}

impl Answer {
    /// Reads an answer. One that is signed is verified: it is for `audience`, by the issuer.
    pub fn read(
        body: &[u8],
        issuer: &Issuer,
        audience: &str,
        keys: Option<&Arc<KeySet>>,
    ) -> Result<Self, Halt> {
        let mut members = match body.trim_ascii() {
            plain @ [b'{', ..] => {
                json::parse_object(plain, 32).map_err(|_error| unusable("json"))?
            }
            signed => verified(signed, issuer, audience, keys)?,
        };
        // RFC 7662 §2.2: a boolean. A string that says "true" says nothing.
        if members.remove(member::ACTIVE) != Some(Value::Bool(true)) {
            return Ok(Self::Inactive);
        }
        Ok(Self::Active(members))
    }

    /// Whether it speaks of the token that carries these claims, as far as it says.
    pub fn agrees(&self, issuer: &str, subject: &str, jwt_id: &str) -> bool {
        let Self::Active(members) = self else { return false };
        [(member::ISS, issuer), (member::SUB, subject), (member::JTI, jwt_id)]
            .into_iter()
            .all(|(name, own)| members.get(name).is_none_or(|told| told.as_str() == Some(own)))
    }
}

/// The payload that an active answer stands for: what a JWT of the same issuer would carry. An opaque
/// token need not have an identifier or dates of its own.
pub fn payload(
    members: &Map<String, Value>,
    issuer: &Issuer,
    name: &str,
    asked: Timestamp,
) -> Result<Map<String, Value>, Denial> {
    let mut payload = members.clone();
    let given = payload.entry(member::ISS).or_insert_with(|| Value::from(&*issuer.id));
    if given.as_str() != Some(&issuer.id) {
        return Err(Denial::about(Reason::IssuerUnknown, member::ISS));
    }
    payload.entry(member::JTI).or_insert_with(|| name.into());
    payload.entry(member::IAT).or_insert_with(|| asked.seconds().into());
    // Without an end of its own a token ends where the operator says that every token of the issuer does.
    if let Some(issued) = payload.get(member::IAT).and_then(Value::as_u64) {
        let longest = Timestamp::from_seconds(issued).after(issuer.max_lifetime);
        payload.entry(member::EXP).or_insert_with(|| longest.seconds().into());
    }
    if let Some(client) = payload.get(member::CLIENT_ID).cloned() {
        payload.entry(member::SUB).or_insert(client);
    }
    if let Some(evidence) = payload.get(member::EVIDENCE_DETAILS).cloned() {
        payload.entry(member::EVIDENCE).or_insert(evidence);
    }
    if let Some(policy) = payload.get(member::POLICY_CONTENT).cloned() {
        let entry = json!({ "type": "rego_policy", "policy": policy });
        let details = payload.entry("authorization_details").or_insert_with(|| json!([]));
        let malformed = Denial::about(Reason::ClaimMalformed, member::AUTHORIZATION_DETAILS);
        details.as_array_mut().ok_or(malformed)?.push(entry);
    }
    let is_bound = payload.get(member::TOKEN_TYPE).and_then(Value::as_str);
    if is_bound.is_some_and(|kind| kind.eq_ignore_ascii_case("dpop"))
        && !payload.contains_key(member::CNF)
    {
        return Err(Denial::about(Reason::ConfirmationUnsupported, member::TOKEN_TYPE));
    }
    Ok(payload)
}

const fn unusable(about: &'static str) -> Denial {
    Denial::about(Reason::IntrospectionUnavailable, about)
}

/// RFC 9701 §5: `typ`, `iss`, `aud`, and the answer in a member of its own, so that it can never pass
/// for a token.
fn verified(
    text: &[u8],
    issuer: &Issuer,
    audience: &str,
    keys: Option<&Arc<KeySet>>,
) -> Result<Map<String, Value>, Halt> {
    let text = std::str::from_utf8(text).map_err(|_error| unusable("jws"))?;
    let jws = Jws::read(Presented::new(text)).map_err(|_error| unusable("jws"))?;
    if !jws.header.is_of_type("token-introspection+jwt") {
        return Err(unusable("typ").into());
    }
    verify::signer(&jws, issuer, keys.ok_or(Denial::from(Reason::KeysUnavailable))?)?;
    let mut payload = jws.payload().map_err(|_error| unusable("payload"))?;
    let is_for_us = match payload.get(member::AUD) {
        Some(Value::String(one)) => one == audience,
        Some(Value::Array(several)) => several.iter().any(|one| one == audience),
        _ => false,
    };
    if !is_for_us || payload.get(member::ISS).and_then(Value::as_str) != Some(&issuer.id) {
        return Err(unusable(member::AUD).into());
    }
    match payload.remove(member::TOKEN_INTROSPECTION) {
        Some(Value::Object(members)) => Ok(members),
        _ => Err(unusable(member::TOKEN_INTROSPECTION).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Answer, Halt> {
        Answer::read(text.as_bytes(), &Issuer::named("https://as.test"), "gate", None)
    }

    #[test]
    fn r_tok_035_only_the_boolean_is_active() {
        for text in [
            r#"{"active":"true"}"#,
            r#"{"active":1}"#,
            r#"{"active":false}"#,
            r#"{"active":null}"#,
            r#"{"active":[true]}"#,
            "{}",
        ] {
            assert_eq!(read(text), Ok(Answer::Inactive), "{text}");
        }
        assert!(matches!(read(r#"{"active":true}"#), Ok(Answer::Active(_))));
        for text in ["", "true", "[]", r#"{"active":false,"active":true}"#, "a.b.c"] {
            assert!(matches!(read(text), Err(Halt::Refuse(_))), "{text}");
        }
    }

    #[test]
    fn what_an_opaque_token_lacks_is_filled_in_and_what_contradicts_is_refused() {
        let issuer = Issuer {
            max_lifetime: std::time::Duration::from_mins(1),
            ..Issuer::named("https://as.test")
        };
        let asked = Timestamp::from_seconds(1_000);
        let of = |value: Value| {
            let Value::Object(members) = value else { panic!("not an object") };
            payload(&members, &issuer, "sha256:00", asked)
        };
        let filled = of(json!({"client_id": "c", "policy_content": {"type": "rego"}})).unwrap();
        assert_eq!(filled["sub"], "c");
        assert_eq!(filled["jti"], "sha256:00");
        assert_eq!((&filled["iat"], &filled["exp"]), (&json!(1_000), &json!(1_060)));
        assert_eq!(filled["authorization_details"][0]["type"], "rego_policy");
        let kept = of(json!({"jti": "j", "iat": 900, "exp": 2_000, "sub": "u"})).unwrap();
        assert_eq!((&kept["jti"], &kept["exp"]), (&json!("j"), &json!(2_000)));
        for bad in [
            json!({"iss": "https://other.test"}),
            json!({"iss": 7}),
            json!({"token_type": "DPoP"}),
            json!({"authorization_details": 7, "policy_content": {}}),
        ] {
            of(bad).unwrap_err();
        }
    }
}
