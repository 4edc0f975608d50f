//! Refusals of messages: JSON-RPC errors, so that clients which read nothing else can say what was wrong
//! (`reverse-guided-errors.md` §6).

#![deny(clippy::wildcard_enum_match_arm)]

use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};

use super::challenge::{Guidance, Profile};
use super::reject::{self, Challenged, Shape};
use crate::model::reason::Reason;
use crate::operation::jsonrpc::Id;
use crate::operation::mcp::Server;
use crate::operation::mcp::agreement::VERSION;
use crate::operation::mcp::version::Version;

/// What an error answers.
#[derive(Clone, Debug)]
pub enum ReplyTo {
    /// A notification or a response: the error has no `id`.
    Nothing,
    /// The request with this `id`.
    Request(Id),
    /// Something of which the `id` cannot be told: it is `null`.
    Unreadable,
}

/// What is told of a refusal.
#[derive(Debug)]
pub struct Answer<'a> {
    /// Why.
    pub reason: Reason,
    /// What a caller is told of that.
    pub shape: Shape,
    /// The id of the decision.
    pub decision_id: &'a str,
    /// What the challenge says.
    pub profile: Option<Profile<'a>>,
    /// What would cover the operation.
    pub guidance: Option<&'a Guidance<'a>>,
    /// The server that was asked.
    pub server: Option<&'a Server>,
    /// The JSON pointer to the argument that does not fit.
    pub pointer: Option<&'a str>,
}

/// Whether the request says that it is meant by a revision without sessions.
pub fn is_stateless(headers: &HeaderMap) -> bool {
    let version = headers.get(VERSION).and_then(|value| value.to_str().ok());
    version.and_then(Version::parse) == Some(Version::V2026_07_28)
}

/// JSON-RPC keeps its own codes and those of MCP for what is wrong with a message; ours lie outside of
/// both.
fn code(reason: Reason, status: StatusCode) -> i64 {
    #[expect(clippy::wildcard_enum_match_arm, reason = "every other reason goes by its status")]
    match reason {
        Reason::BodyMalformed => -32_700,
        Reason::MessageInvalid => -32_600,
        Reason::OperationUnknown => -32_601,
        Reason::ArgumentsInvalid => -32_602,
        Reason::HeaderMismatch => -32_020,
        Reason::VersionUnsupported => -32_022,
        _ => match status {
            StatusCode::UNAUTHORIZED => -31_401,
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => -31_403,
            StatusCode::TOO_MANY_REQUESTS => -31_429,
            StatusCode::INTERNAL_SERVER_ERROR => -31_500,
            status if status.is_server_error() => -31_503,
            _ => -32_600,
        },
    }
}

/// What is said in the place of an answer to `id` that cannot be read.
pub fn upstream_error(id: &Id) -> String {
    let shape = reject::of(Reason::UpstreamFailed);
    let code = code(Reason::UpstreamFailed, shape.status);
    let error =
        json!({ "code": code, "message": shape.description, "data": { "error": shape.error } });
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{},\"error\":{error}}}", id.json())
}

impl Answer<'_> {
    /// The error, as the answer to `to`.
    pub fn to(self, to: &ReplyTo) -> Vec<u8> {
        let code = code(self.reason, self.shape.status);
        let message = self.shape.description;
        let error = json!({ "code": code, "message": message, "data": self.data() });
        let id = match to {
            ReplyTo::Nothing => String::new(),
            // As it was sent: a number keeps its digits.
            ReplyTo::Request(id) => format!("\"id\":{},", id.json()),
            ReplyTo::Unreadable => "\"id\":null,".to_owned(),
        };
        format!("{{\"jsonrpc\":\"2.0\",{id}\"error\":{error}}}").into_bytes()
    }

    fn data(self) -> Value {
        let mut data = Map::new();
        data.insert("error".into(), self.shape.error.into());
        data.insert("decision_id".into(), self.decision_id.into());
        if let Some(pointer) = self.pointer {
            data.insert("pointer".into(), pointer.into());
        }
        if self.reason == Reason::VersionUnsupported {
            let spoken = self.server.map_or(&[][..], |server| &server.versions);
            let names: Vec<_> = spoken.iter().map(|version| version.name()).collect();
            data.insert("supported".into(), names.into());
        }
        if let Some(guidance) = self.guidance.filter(|_| self.shape.challenge == Challenged::Guided)
        {
            data.insert("authorization".into(), authorization(self.shape.error, guidance));
        }
        if let Some(Ok(profile)) = self.profile.map(serde_json::to_value) {
            data.insert("policy_profile".into(), profile);
        }
        Value::Object(data)
    }
}

/// SEP-2643 (an open proposal, whose names may move).
fn authorization(error: &str, guidance: &Guidance<'_>) -> Value {
    let mut hint: Map<String, Value> =
        serde_json::from_str(&guidance.remediation()).unwrap_or_default();
    hint.insert("type".into(), "oauth_authorization_details".into());
    json!({ "reason": error, "remediationHints": [hint] })
}
