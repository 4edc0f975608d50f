//! The desk at which things are revoked: the operator's `POST /revocations`, and `POST /revoke` in the
//! form of RFC 7009 for an authorization server on this machine.
//!
//! What is revoked here is refused at the next request and cut from open streams. A revocation is first
//! in force and then recorded; a lift is first recorded and then in force.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::{Map, Value, json};

use super::{json_response, text};
use crate::audit::record;
use crate::facts::revocation::{ChangeError, Kept, MAX_REASON, Revocation, Revocations};
use crate::journal::writer::Journal;
use crate::model::json;
use crate::model::presented::Presented;
use crate::model::time::Timestamp;
use crate::runtime::clock;
use crate::token::revocation::{Kind, MAX_NAME, Target, token_name};
use crate::token::verify;

type Answer = Response<Full<Bytes>>;

/// Where things are revoked.
#[derive(Clone)]
pub struct Desk {
    revocations: Arc<Revocations>,
    journal: Journal,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

/// What a caller asks to be revoked.
#[derive(Debug)]
struct Order {
    target: Target,
    until: Option<Timestamp>,
    reason: Option<Box<str>>,
}

impl Desk {
    /// Changes are made in `revocations` and recorded in `journal`.
    pub const fn new(revocations: Arc<Revocations>, journal: Journal) -> Self {
        Self { revocations, journal }
    }

    /// `GET /revocations`
    pub(super) fn list(&self) -> Answer {
        let all: Vec<_> =
            self.revocations.list(clock::now()).iter().map(Revocation::to_json).collect();
        json_response(StatusCode::OK, &json!({ "revocations": all }))
    }

    /// `POST /revocations`: one thing to revoke, as JSON.
    pub(super) async fn revoke(&self, body: &[u8]) -> Answer {
        let now = clock::now();
        match Order::read(body, now) {
            Ok(order) => self.make(order, "admin", now).await,
            Err(why) => refused(StatusCode::BAD_REQUEST, why),
        }
    }

    /// `POST /revoke`: a token to revoke, as RFC 7009 §2.1 sends it.
    pub(super) async fn push(&self, body: &[u8]) -> Answer {
        let token = form_value(body, "token").filter(|token| !token.is_empty());
        let Some(token) = token else {
            let error = json!({ "error": "invalid_request" });
            return json_response(StatusCode::BAD_REQUEST, &error);
        };
        let now = clock::now();
        let order = Order { target: named_by(&token), until: None, reason: None };
        let answer = self.make(order, "push", now).await;
        // RFC 7009 §2.2: a token that is revoked, or was never valid, is answered alike.
        if answer.status().is_success() { text(StatusCode::OK, "") } else { answer }
    }

    /// `DELETE /revocations/{id}`
    pub(super) async fn lift(&self, id: &str) -> Answer {
        let now = clock::now();
        let Some(found) = self.revocations.find(id) else {
            return refused(StatusCode::NOT_FOUND, "no revocation has this id");
        };
        if self.record(&found, record::Change::Lifted, "admin", now).await.is_err() {
            return refused(
                StatusCode::SERVICE_UNAVAILABLE,
                "the audit log cannot be written: the revocation stays in force",
            );
        }
        let (revocations, id) = (Arc::clone(&self.revocations), found.id);
        match blocking(move || revocations.lift(&id, now)).await {
            Some(Ok(lifted)) => json_response(StatusCode::OK, &lifted.to_json()),
            Some(Err(error)) => failed(&error),
            None => refused(StatusCode::INTERNAL_SERVER_ERROR, "the change was given up"),
        }
    }

    async fn make(&self, order: Order, by: &'static str, now: Timestamp) -> Answer {
        let revocations = Arc::clone(&self.revocations);
        let Order { target, until, reason } = order;
        let made = blocking(move || revocations.revoke(target, until, reason, now)).await;
        let (revocation, kept) = match made {
            Some(Ok(made)) => made,
            Some(Err(error)) => return failed(&error),
            None => return refused(StatusCode::INTERNAL_SERVER_ERROR, "the change was given up"),
        };
        let recorded = self.record(&revocation, record::Change::Made, by, now).await.is_ok();
        match (kept, recorded) {
            (Kept::Durably, true) => json_response(StatusCode::CREATED, &revocation.to_json()),
            (Kept::InMemory, _) => refused(
                StatusCode::INTERNAL_SERVER_ERROR,
                "in force until the gate ends: the file of revocations cannot be written",
            ),
            (Kept::Durably, false) => refused(
                StatusCode::SERVICE_UNAVAILABLE,
                "in force, and not in the audit log, which cannot be written",
            ),
        }
    }

    async fn record(
        &self,
        revocation: &Revocation,
        change: record::Change,
        by: &'static str,
        now: Timestamp,
    ) -> Result<(), ()> {
        let target = &revocation.target;
        let is_hashed = match target.kind {
            Kind::Subject => true,
            Kind::Agent | Kind::Client | Kind::DelegationRoot => self.journal.discretion().ids,
            Kind::Evidence | Kind::Issuer | Kind::Policy | Kind::Token => false,
        };
        let tag = is_hashed.then(|| self.journal.tag(&target.value));
        let name =
            tag.as_ref().map_or(record::Revoked::Plain(&target.value), record::Revoked::Tagged);
        let entry = record::Revocation {
            id: &revocation.id,
            change,
            kind: target.kind.word(),
            name,
            issuer: target.issuer.as_deref(),
            until: revocation.until,
            reason: revocation.reason.as_deref(),
            by,
        };
        match self.journal.append(now, &entry).await {
            Ok(_receipt) => Ok(()),
            Err(error) => {
                tracing::error!(%error, id = %revocation.id, "a change of revocations is not recorded");
                Err(())
            }
        }
    }
}

impl Order {
    fn read(body: &[u8], now: Timestamp) -> Result<Self, &'static str> {
        let members = json::parse_object(body, 4)
            .map_err(|_error| "the body is not a JSON object without duplicate members")?;
        let until = match members.get("until") {
            None => None,
            Some(seconds) => {
                let seconds = seconds.as_u64().ok_or("`until` is not a time in seconds")?;
                Some(Timestamp::from_seconds(seconds))
            }
        };
        if until.is_some_and(|until| until <= now) {
            return Err("`until` has passed");
        }
        let reason = match members.get("reason") {
            None => None,
            Some(reason) => {
                let fits =
                    |text: &&str| text.len() <= MAX_REASON && !text.chars().any(char::is_control);
                Some(
                    reason
                        .as_str()
                        .filter(fits)
                        .ok_or("`reason` is not a short plain text")?
                        .into(),
                )
            }
        };
        Ok(Self { target: Target::read(&members, &["until", "reason"])?, until, reason })
    }
}

/// What stands for a token that somebody wants revoked. A JWT is known by issuer and `jti`, because its
/// holder can give it another text with another hash (an ECDSA signature has a twin); what cannot be
/// read as one is known by its hash. Nothing of it is verified: whoever may revoke may revoke anything.
fn named_by(token: &str) -> Target {
    let claims = token.split('.').nth(1).and_then(claims);
    let text = |name: &str| {
        let text = claims.as_ref()?.get(name)?.as_str()?;
        (1..=MAX_NAME).contains(&text.len()).then(|| Box::from(text))
    };
    if let (Some(issuer), Some(value)) = (text("iss"), text("jti")) {
        return Target { kind: Kind::Token, value, issuer: Some(issuer) };
    }
    let value = token_name(&verify::digest(Presented::new(token))).into();
    Target { kind: Kind::Token, value, issuer: None }
}

fn claims(payload: &str) -> Option<Map<String, Value>> {
    json::parse_object(&URL_SAFE_NO_PAD.decode(payload).ok()?, 32).ok()
}

/// A member of an `application/x-www-form-urlencoded` body that stands there once.
fn form_value(body: &[u8], name: &str) -> Option<String> {
    let body = std::str::from_utf8(body).ok()?;
    let mut values = body.split('&').filter_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (decoded(key)? == name).then(|| decoded(value))
    });
    let value = values.next()??;
    values.next().is_none().then_some(value)
}

fn decoded(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    let decoded = percent_encoding::percent_decode_str(&spaced).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

/// Runs what waits for the disk where nobody else waits for it. `None` when the process ends.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

fn failed(error: &ChangeError) -> Answer {
    let status = match error {
        ChangeError::Full => StatusCode::INSUFFICIENT_STORAGE,
        ChangeError::Unknown => StatusCode::NOT_FOUND,
        ChangeError::Unwritable(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    refused(status, &error.to_string())
}

fn refused(status: StatusCode, why: &str) -> Answer {
    json_response(status, &json!({ "error": why }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_names_one_thing_and_ends_in_the_future() {
        let now = Timestamp::from_seconds(100);
        let read = |text: &str| Order::read(text.as_bytes(), now);
        let order =
            read(r#"{"sub":"alice","issuer":"https://as.test","until":101,"reason":"left"}"#);
        let order = order.unwrap();
        assert_eq!(order.target.kind, Kind::Subject);
        assert_eq!(order.until, Some(Timestamp::from_seconds(101)));
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"sub":"a","sub":"b"}"#,
            r#"{"sub":"a","until":100}"#,
            r#"{"sub":"a","until":"tomorrow"}"#,
            r#"{"sub":"a","reason":7}"#,
            r#"{"sub":"a","reason":"x\ny"}"#,
            r#"{"subject":"a"}"#,
        ] {
            read(bad).unwrap_err();
        }
    }

    #[test]
    fn a_pushed_token_is_known_by_its_jti_or_else_by_its_hash() {
        let jwt = |claims: &str| format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims));
        let target = named_by(&jwt(r#"{"iss":"https://as.test","jti":"j"}"#));
        assert_eq!((&*target.value, target.issuer.as_deref()), ("j", Some("https://as.test")));
        for text in ["opaque".to_owned(), jwt("{}"), jwt(r#"{"iss":"https://as.test","jti":7}"#)] {
            let target = named_by(&text);
            assert!(target.value.starts_with("sha256:") && target.issuer.is_none(), "{text}");
        }
    }

    #[test]
    fn a_form_is_read_in_one_way_only() {
        for (body, token) in [
            ("token=a.b-c&token_type_hint=access_token", Some("a.b-c")),
            ("x=1&token=a%2Bb+c", Some("a+b c")),
            ("%74oken=a", Some("a")),
            ("token=a&token=b", None),
            ("tokens=a", None),
            ("token=%ff", None),
            ("", None),
        ] {
            assert_eq!(form_value(body.as_bytes(), "token").as_deref(), token, "{body}");
        }
    }
}
