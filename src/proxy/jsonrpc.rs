//! Refusals of messages: JSON-RPC errors, so that clients which read nothing else can say what was wrong
//! (`reverse-guided-errors.md` §6). Those of an agent have their own form ([`exchange`]).

#![deny(clippy::wildcard_enum_match_arm)]

use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};

use super::challenge::{Guidance, Profile};
use super::exchange;
use super::reject::{self, Challenged, Shape};
use crate::model::reason::Reason;
use crate::operation::jsonrpc::Id;
use crate::operation::mcp::agreement::VERSION;
use crate::operation::mcp::version::Version;

/// What a refusal answers, and in which form.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The form.
    pub dialect: Dialect,
    /// What it answers.
    pub to: ReplyTo,
}

/// The form of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// A2A in JSON-RPC: what is told more is a list of typed objects.
    A2a,
    /// MCP.
    Mcp,
    /// A2A in REST.
    Rest,
}

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
    /// The versions of the protocol that are spoken.
    pub versions: Vec<&'static str>,
    /// The JSON pointer to the argument that does not fit.
    pub pointer: Option<&'a str>,
}

/// Whether the request says that it is meant by a revision without sessions.
pub fn is_stateless(headers: &HeaderMap) -> bool {
    let version = headers.get(VERSION).and_then(|value| value.to_str().ok());
    version.and_then(Version::parse) == Some(Version::V2026_07_28)
}

/// JSON-RPC keeps its own codes and those of MCP and A2A for what is wrong with a message; ours lie outside
/// of them.
fn code(reason: Reason, status: StatusCode, dialect: Dialect) -> i64 {
    #[expect(clippy::wildcard_enum_match_arm, reason = "every other reason goes by its status")]
    match reason {
        Reason::BodyMalformed => -32_700,
        Reason::MessageInvalid => -32_600,
        Reason::OperationUnknown => -32_601,
        Reason::ArgumentsInvalid => -32_602,
        Reason::TaskUnknown => -32_001,
        Reason::HeaderMismatch if dialect == Dialect::Mcp => -32_020,
        Reason::VersionUnsupported if dialect == Dialect::Mcp => -32_022,
        Reason::VersionUnsupported => -32_009,
        Reason::BodyTypeRefused if dialect == Dialect::A2a => -32_005,
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
    let code = code(Reason::UpstreamFailed, shape.status, Dialect::Mcp);
    let error =
        json!({ "code": code, "message": shape.description, "data": { "error": shape.error } });
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{},\"error\":{error}}}", id.json())
}

impl Answer<'_> {
    /// The error, as the answer to `reply`.
    pub fn to(self, reply: &Reply) -> Vec<u8> {
        let code = code(self.reason, self.shape.status, reply.dialect);
        let message = self.shape.description;
        let data = match reply.dialect {
            Dialect::A2a => exchange::details(self),
            Dialect::Mcp => self.data(),
            Dialect::Rest => return exchange::status(self),
        };
        let error = json!({ "code": code, "message": message, "data": data });
        let id = match &reply.to {
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
            data.insert("supported".into(), self.versions.clone().into());
        }
        data.extend(self.needed());
        Value::Object(data)
    }

    /// What would be needed, as far as that is told.
    pub(super) fn needed(self) -> Map<String, Value> {
        let mut needed = Map::new();
        if let Some(guidance) = self.guidance.filter(|_| self.shape.challenge == Challenged::Guided)
        {
            needed.insert("authorization".into(), authorization(self.shape.error, guidance));
        }
        if let Some(Ok(profile)) = self.profile.map(serde_json::to_value) {
            needed.insert("policy_profile".into(), profile);
        }
        needed
    }
}

/// SEP-2643 (an open proposal, whose names may move).
fn authorization(error: &str, guidance: &Guidance<'_>) -> Value {
    let mut hint: Map<String, Value> =
        serde_json::from_str(&guidance.remediation()).unwrap_or_default();
    hint.insert("type".into(), "oauth_authorization_details".into());
    json!({ "reason": error, "remediationHints": [hint] })
}
