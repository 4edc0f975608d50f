//! Refusals of what is asked of an agent (A2A): a list of typed objects in JSON-RPC, a `google.rpc.Status` in
//! REST (`reverse-guided-errors.md` §6).

#![deny(clippy::wildcard_enum_match_arm)]

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::jsonrpc::Answer;
use crate::model::reason::Reason;

const ERROR_INFO: &str = "type.googleapis.com/google.rpc.ErrorInfo";
const STRUCT: &str = "type.googleapis.com/google.protobuf.Struct";

/// What is told of a refusal, each object with its type.
pub fn details(answer: Answer<'_>) -> Value {
    let (reason, domain) = word(answer.reason, answer.shape.error);
    let mut metadata = Map::new();
    metadata.insert("decision_id".into(), answer.decision_id.into());
    if let Some(pointer) = answer.pointer {
        metadata.insert("pointer".into(), pointer.into());
    }
    if answer.reason == Reason::VersionUnsupported {
        metadata.insert("supported".into(), answer.versions.join(", ").into());
    }
    let info =
        json!({ "@type": ERROR_INFO, "reason": reason, "domain": domain, "metadata": metadata });
    let needed = answer.needed();
    let more = (!needed.is_empty()).then(|| json!({ "@type": STRUCT, "value": needed }));
    [info].into_iter().chain(more).collect()
}

/// A refusal in the REST binding.
pub fn status(answer: Answer<'_>) -> Vec<u8> {
    let (code, message) = (answer.shape.status, answer.shape.description);
    let error = json!({
        "code": code.as_u16(),
        "status": name(code),
        "message": message,
        "details": details(answer),
    });
    json!({ "error": error }).to_string().into_bytes()
}

/// What is the protocol's own to say is said in its words, and everything else in ours.
fn word(reason: Reason, error: &'static str) -> (String, &'static str) {
    const A2A: &str = "a2a-protocol.org";
    #[expect(clippy::wildcard_enum_match_arm, reason = "the protocol has words for these alone")]
    match reason {
        Reason::BodyTypeRefused => ("CONTENT_TYPE_NOT_SUPPORTED".to_owned(), A2A),
        Reason::TaskUnknown => ("TASK_NOT_FOUND".to_owned(), A2A),
        Reason::VersionUnsupported => ("VERSION_NOT_SUPPORTED".to_owned(), A2A),
        _ => (error.to_ascii_uppercase(), "opgate"),
    }
}

/// The name of a status in gRPC.
fn name(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "UNAUTHENTICATED",
        StatusCode::FORBIDDEN => "PERMISSION_DENIED",
        StatusCode::NOT_FOUND => "NOT_FOUND",
        StatusCode::TOO_MANY_REQUESTS => "RESOURCE_EXHAUSTED",
        StatusCode::INTERNAL_SERVER_ERROR => "INTERNAL",
        StatusCode::GATEWAY_TIMEOUT => "DEADLINE_EXCEEDED",
        status if status.is_server_error() => "UNAVAILABLE",
        _ => "INVALID_ARGUMENT",
    }
}
