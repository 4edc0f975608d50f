//! The log as events of the Open Cybersecurity Schema Framework 1.8.0: API Activity (6003), one for each call
//! (`audit.md` §2).

use std::path::Path;

use serde_json::{Map, Value, json};

use super::policies;
use crate::audit::merkle;
use crate::cli::audit::show::is_forwarded;
use crate::journal::reader::{Call, Record};
use crate::journal::verify::own_key;
use crate::model::date;
use crate::model::hex::hex;

const VERSION: &str = "1.8.0";
const CATEGORY: u64 = 6;
const CLASS: u64 = 6003;
const SHA_256: u64 = 3;

/// What all events of a log have in common.
pub(super) struct Ocsf {
    /// The name by which the log is signed.
    origin: Option<String>,
}

impl Ocsf {
    /// Events of the log in `directory`.
    pub(super) fn of(directory: &Path) -> Self {
        Self { origin: own_key(directory).ok().map(|key| key.name().to_owned()) }
    }

    /// The event of one call.
    pub(super) fn event(&self, call: &Call) -> Value {
        let record = &call.decision;
        let (activity, name) = activity(record);
        let (severity, severity_name) = severity(record);
        let event = json!({
            "category_uid": CATEGORY, "category_name": "Application Activity",
            "class_uid": CLASS, "class_name": "API Activity",
            "activity_id": activity, "activity_name": name, "type_uid": CLASS * 100 + activity,
            "time": milliseconds(record.text(&["ts"])),
            "count": record.number(&["count"]),
            "start_time": milliseconds(record.text(&["start"])),
            "end_time": milliseconds(record.text(&["end"])),
            "duration": call.outcome.as_ref().and_then(|one| one.number(&["us"])).map(|us| us / 1_000),
            "severity_id": severity, "severity": severity_name,
            "metadata": self.metadata(record),
            "actor": {
                "user": { "uid": text(record, &["user", "tag"]) },
                "app_uid": text(record, &["client_id"]),
                "session": { "uid": text(record, &["jti"]), "issuer": text(record, &["iss"]) },
            },
            "ai_agent": {
                "uid": text(record, &["agent", "id"]), "instance_uid": text(record, &["agent", "instance"]),
            },
            "api": {
                "operation": text(record, &["op", "action"]).or_else(|| text(record, &["http", "method"])),
                "request": { "uid": text(record, &["id"]) },
                "response": { "code": status(call), "error": text_of(call, &["error"]) },
                "service": { "name": text(record, &["upstream"]).or_else(|| text(record, &["resource"])) },
            },
            "resources": [{ "name": text(record, &["resource"]) }],
            "http_request": {
                "http_method": text(record, &["http", "method"]),
                "url": { "path": text(record, &["http", "path"]), "hostname": text(record, &["http", "host"]) },
            },
            "http_response": { "code": status(call) },
            "src_endpoint": {
                "ip": text(record, &["client", "address"]), "port": record.number(&["client", "port"]),
                "name": text(record, &["source"]),
            },
            "dst_endpoint": { "svc_name": text(record, &["upstream"]) },
            "attestation_list": [{
                "chain_uid": self.origin,
                "fingerprint": {
                    "algorithm_id": SHA_256, "algorithm": "SHA-256",
                    "value": hex(&merkle::leaf(record.line.as_bytes())),
                },
            }],
            "unmapped": unmapped(record, call.outcome.as_ref()),
        });
        let Value::Object(mut event) = event else { return Value::Null };
        event.extend(verdict(record));
        event.extend(ending(call));
        let mut event = Value::Object(event);
        prune(&mut event);
        event
    }

    fn metadata(&self, record: &Record) -> Value {
        let log = text(record, &["log"]);
        let uid = log.zip(record.seq()).map(|(log, seq)| format!("{log}/{seq}"));
        json!({
            "version": VERSION, "profiles": ["ai_operation", "security_control"],
            "product": { "name": "opgate", "vendor_name": "opgate" },
            "uid": text(record, &["id"]), "sequence": record.seq(), "original_event_uid": uid,
            "correlation_uid": text(record, &["token_sha256"]).or_else(|| text(record, &["trace_id"])),
            "log_name": self.origin.as_deref().or(log),
        })
    }
}

/// What was to be done, as far as its method says.
fn activity(record: &Record) -> (u64, &'static str) {
    match record.text(&["http", "method"]) {
        "POST" => (1, "Create"),
        "GET" | "HEAD" => (2, "Read"),
        "PUT" | "PATCH" => (3, "Update"),
        "DELETE" => (4, "Delete"),
        "" => (0, "Unknown"),
        _ => (99, "Other"),
    }
}

fn severity(record: &Record) -> (u64, &'static str) {
    match (record.text(&["decision"]), record.text(&["alert"])) {
        ("allow", "") => (1, "Informational"),
        (_, "") => (2, "Low"),
        _ => (4, "High"),
    }
}

/// What was decided, and by which rules.
fn verdict(record: &Record) -> Map<String, Value> {
    let (action, name, disposition, disposition_name) =
        match (record.text(&["decision"]), record.text(&["mode"])) {
            ("allow", _) => (1, "Allowed", 1, "Allowed"),
            (_, "observe") => (3, "Observed", 17, "Logged"),
            _ => (2, "Denied", 2, "Blocked"),
        };
    let decision = text(record, &["decision"]);
    let asked =
        policies(record).map(|uid| json!({ "decision": decision, "policy": { "uid": uid } }));
    let fields = json!({
        "action_id": action, "action": name,
        "disposition_id": disposition, "disposition": disposition_name,
        "authorizations": asked.collect::<Vec<_>>(),
        "policy": { "uid": policies(record).next() },
    });
    if let Value::Object(fields) = fields { fields } else { Map::new() }
}

/// How it ended: a refused call failed, and one without an outcome is not known.
fn ending(call: &Call) -> Map<String, Value> {
    let record = &call.decision;
    let result = text_of(call, &["result"]);
    let (id, name) = match (result, is_forwarded(record)) {
        (Some("success"), _) => (1, "Success"),
        (None | Some("interrupted"), true) => (0, "Unknown"),
        _ => (2, "Failure"),
    };
    let fields = json!({
        "status_id": id, "status": name,
        "status_code": status(call).map(|status| status.to_string()),
        "status_detail": text_of(call, &["error"]).or_else(|| text(record, &["reason"])),
    });
    if let Value::Object(fields) = fields { fields } else { Map::new() }
}

/// What the schema has no place for, by the names it has in the log.
fn unmapped(decision: &Record, outcome: Option<&Record>) -> Value {
    const NAMES: [&str; 20] = [
        "mode",
        "about",
        "place",
        "alert",
        "durability",
        "evidence",
        "prompt_credential",
        "delegation",
        "proposal",
        "semantic_expansion",
        "consent_interface",
        "acknowledged",
        "presenter",
        "scope",
        "unverified",
        "grant",
        "policies",
        "charged",
        "exceeded",
        "exp",
    ];
    let mut rest: Map<String, Value> = Map::new();
    for name in NAMES {
        if let Some(value) = decision.members.get(name) {
            rest.insert(name.to_owned(), value.clone());
        }
    }
    if let Some(outcome) = outcome {
        rest.insert("outcome".to_owned(), Value::Object(outcome.members.clone()));
    }
    json!({ "opgate": rest })
}

fn text<'r>(record: &'r Record, path: &[&str]) -> Option<&'r str> {
    Some(record.text(path)).filter(|text| !text.is_empty())
}

fn text_of<'c>(call: &'c Call, path: &[&str]) -> Option<&'c str> {
    call.outcome.as_ref().and_then(|outcome| text(outcome, path))
}

fn status(call: &Call) -> Option<u64> {
    call.outcome.as_ref()?.number(&["http", "status"])
}

/// Milliseconds since 1970, as the schema counts time.
fn milliseconds(ts: &str) -> Option<u64> {
    Some(date::rfc3339(ts)?.micros() / 1_000)
}

/// Takes out what says nothing: nulls, and what holds nothing but them.
fn prune(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(prune);
            members.retain(|_, value| !is_empty(value));
        }
        Value::Array(items) => {
            items.iter_mut().for_each(prune);
            items.retain(|item| !is_empty(item));
        }
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(members) => members.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}
