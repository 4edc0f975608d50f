//! An issuer's feed of revocations: one document that lists what it has revoked, as plain JSON or as a
//! JWT signed with its keys.
//!
//! `{"iss": "https://as.example.com", "iat": 1790000000, "revocations": [{"jti": "…"}, {"sub": "…",
//! "until": 1790003600}]}`. An issuer revokes its own tokens, and those with a hop that it signed.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::claims::date;
use super::jws::Jws;
use super::keys::{KeySet, Signer};
use super::member;
use super::revocation::{Kind, Set, Target};
use super::trust::Issuer;
use super::verify::{self, Halt};
use crate::model::json;
use crate::model::presented::Presented;
use crate::model::reason::{Denial, Reason};
use crate::model::time::Timestamp;

/// The most revocations in one feed.
pub const MAX_REVOCATIONS: usize = 100_000;

/// What an issuer has revoked.
#[derive(Debug, Default)]
pub struct Feed {
    set: Set,
    issued: Option<Timestamp>,
    /// Who signed it; plain JSON rests on the connection that it came over.
    signer: Option<Signer>,
}

impl Feed {
    /// Reads the document. `keys` are needed only for one that is signed. One that contradicts itself
    /// in any place says nothing: what was not understood may have been a revocation.
    pub fn read(
        text: &[u8],
        issuer: &Issuer,
        keys: Option<&Arc<KeySet>>,
        now: Timestamp,
    ) -> Result<Self, Halt> {
        let (members, signer) = match text.trim_ascii() {
            plain @ [b'{', ..] => {
                (json::parse_object(plain, 8).map_err(|_error| unusable("json"))?, None)
            }
            signed => {
                let signed = std::str::from_utf8(signed).map_err(|_error| unusable("jws"))?;
                let (members, signer) = verified(signed, issuer, keys)?;
                (members, Some(signer))
            }
        };
        if members.get(member::ISS).and_then(Value::as_str) != Some(&issuer.id) {
            return Err(unusable(member::ISS).into());
        }
        let moment = |claim| date(&members, claim, issuer).map_err(|_error| unusable(claim));
        let issued = moment(member::IAT)?;
        if issued.is_none() && signer.is_some()
            || moment(member::EXP)?.is_some_and(|end| end <= now)
        {
            return Err(unusable(member::IAT).into());
        }
        let Some(Value::Array(listed)) = members.get("revocations") else {
            return Err(unusable("revocations").into());
        };
        if listed.len() > MAX_REVOCATIONS {
            return Err(unusable("revocations").into());
        }
        let mut set = Set::default();
        for one in listed {
            let (target, until) = revocation(one, issuer).ok_or(unusable("revocations"))?;
            set.add(&target, until);
        }
        Ok(Self { set, issued, signer })
    }

    /// What is revoked.
    pub const fn set(&self) -> &Set {
        &self.set
    }

    /// Whether this is an older document than `other`, put in its place.
    pub fn is_older_than(&self, other: &Self) -> bool {
        self.issued < other.issued
    }

    /// Whether the key that signed it still is one of the issuer's.
    pub fn is_signed_by(&self, keys: Option<&Arc<KeySet>>) -> bool {
        self.signer.as_ref().is_none_or(|signer| keys.is_some_and(|keys| signer.is_of(keys)))
    }
}

const fn unusable(about: &'static str) -> Denial {
    Denial::about(Reason::RevocationsStale, about)
}

fn verified(
    text: &str,
    issuer: &Issuer,
    keys: Option<&Arc<KeySet>>,
) -> Result<(Map<String, Value>, Signer), Halt> {
    let jws = Jws::read(Presented::new(text)).map_err(|_error| unusable("jws"))?;
    if !jws.header.is_of_type("revocations+jwt") {
        return Err(unusable("typ").into());
    }
    let keys = keys.ok_or(Denial::from(Reason::KeysUnavailable))?;
    let signer = verify::signer(&jws, issuer, keys)?;
    Ok((jws.payload().map_err(|_error| unusable("payload"))?, signer))
}

/// One entry, which holds for this issuer whatever it says.
fn revocation(one: &Value, issuer: &Issuer) -> Option<(Target, Option<Timestamp>)> {
    let members = one.as_object()?;
    let until = match members.get("until") {
        None => None,
        Some(until) => Some(Timestamp::from_seconds(until.as_u64()?)),
    };
    let target = Target::read(members, &["until", "reason"]).ok()?;
    let own = Some(issuer.id.clone());
    let foreign = target.kind == Kind::Issuer && target.value != issuer.id;
    let elsewhere = target.issuer.is_some() && target.issuer != own;
    (!foreign && !elsewhere).then_some((Target { issuer: own, ..target }, until))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<usize, &'static str> {
        let issuer = Issuer::named("https://as.test");
        let now = Timestamp::from_seconds(100);
        match Feed::read(text.as_bytes(), &issuer, None, now) {
            Ok(feed) => Ok(feed.set().len()),
            Err(Halt::Refuse(denial)) => Err(denial.about.unwrap_or_default()),
            Err(Halt::KeyUnknown | Halt::Need(_)) => Err("kid"),
        }
    }

    #[test]
    fn a_feed_is_understood_whole_or_says_nothing() {
        let feed = |members: &str| format!(r#"{{"iss":"https://as.test",{members}}}"#);
        assert_eq!(read(&feed(r#""revocations":[]"#)), Ok(0));
        let two = r#""iat":1,"exp":101,"revocations":[{"jti":"a","until":9},{"issuer":"https://as.test"}]"#;
        assert_eq!(read(&feed(two)), Ok(2));
        for (text, about) in [
            (String::new(), "jws"),
            ("a.b.c".into(), "jws"),
            ("{".into(), "json"),
            (r#"{"revocations":[]}"#.into(), "iss"),
            (r#"{"iss":"https://as.test/","revocations":[]}"#.into(), "iss"),
            (feed(r#""revocations":{}"#), "revocations"),
            (feed(r#""revocations":[7]"#), "revocations"),
            (feed(r#""revocations":[{"jti":"a"},{"jit":"b"}]"#), "revocations"),
            (feed(r#""revocations":[{"jti":"a","until":"x"}]"#), "revocations"),
            (feed(r#""revocations":[{"issuer":"https://other.test"}]"#), "revocations"),
            (feed(r#""revocations":[{"jti":"a","issuer":"https://other.test"}]"#), "revocations"),
            (feed(r#""revocations":[],"revocations":[]"#), "json"),
            (feed(r#""exp":100,"revocations":[]"#), "iat"),
            (feed(r#""iat":"x","revocations":[]"#), "iat"),
        ] {
            assert_eq!(read(&text), Err(about), "{text}");
        }
    }
}
