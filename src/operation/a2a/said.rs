//! What a message to an agent holds, as far as it is looked at: parts, and the tasks and the context it
//! names (`mcp-a2a.md` §8).

use std::collections::BTreeMap;

use super::version::Version;
use crate::model::exact::{Json, folded};
use crate::model::reason::{Denial, Reason};

/// The longest id of a task or context, in octets.
const MAX_ID: usize = 256;
/// The most tasks that a message may refer to.
const MAX_REFERENCES: usize = 64;

/// Members that are looked at. Parsers of protocol buffers take them in snake case too, and others in any
/// case: whoever reads a message so would read another one (R-MCP-023).
const INSPECTED: [&str; 24] = [
    "config",
    "configId",
    "configuration",
    "contextId",
    "data",
    "file",
    "historyLength",
    "id",
    "kind",
    "message",
    "messageId",
    "metadata",
    "parts",
    "pushNotification",
    "pushNotificationConfig",
    "pushNotificationConfigId",
    "raw",
    "referenceTaskIds",
    "role",
    "taskId",
    "taskPushNotificationConfig",
    "tenant",
    "text",
    "url",
];

/// What a part may hold, of which it holds one.
const CONTENTS: [(&str, &str); 5] =
    [("data", "data"), ("file", "file"), ("raw", "file"), ("text", "text"), ("url", "file")];

type Members = BTreeMap<Box<str>, Json>;

const fn bad(about: &'static str) -> Denial {
    Denial::about(Reason::ArgumentsInvalid, about)
}

/// A message, as far as it is looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// `user` or `agent`.
    pub role: &'static str,
    /// What each part is: `data`, `file` or `text`.
    pub part_kinds: Vec<&'static str>,
    /// The task that it belongs to.
    pub task: Option<Box<str>>,
    /// The context that it belongs to.
    pub context: Option<Box<str>>,
    /// Further tasks that it refers to.
    pub references: Vec<Box<str>>,
    /// Where the data stands in the message, where there is exactly one part of data.
    pub data: Option<String>,
}

/// Refuses a member that some reader would take for one that is looked at.
pub(super) fn spelled(members: &Members) -> Result<(), Denial> {
    let is_foreign = |name: &str| {
        let plain = folded(name).replace(['_', '-'], "");
        INSPECTED.iter().any(|known| *known != name && known.eq_ignore_ascii_case(&plain))
    };
    // `request` is what `message` is called in the protocol buffers of 0.3.
    if members.keys().any(|name| is_foreign(name) || **name == *"request") {
        return Err(bad("spelling"));
    }
    Ok(())
}

/// The member `name`, an id; `null` is none.
pub(super) fn id(members: &Members, name: &'static str) -> Result<Option<Box<str>>, Denial> {
    match members.get(name) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(id)) if is_id(id) => Ok(Some(id.clone())),
        Some(_) => Err(bad(name)),
    }
}

/// Whether it can be an id.
pub(super) fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_ID && !text.contains(char::is_control)
}

impl Said {
    /// Reads the message that `json` is. `in_rest` says that it stands in a body of the REST binding.
    pub fn read(json: &Json, version: Version, in_rest: bool) -> Result<Self, Denial> {
        let members = json.as_object().ok_or(bad("message"))?;
        spelled(members)?;
        // The protocol buffers of 0.3, and its REST binding with them, have another name for the parts.
        let has_other = in_rest && version == Version::V0_3;
        let (name, parts) = match (members.get("parts"), members.get("content")) {
            (Some(Json::Array(parts)), None) => ("parts", parts),
            (None, Some(Json::Array(parts))) if has_other => ("content", parts),
            _ => return Err(bad("parts")),
        };
        id(members, "messageId")?.ok_or(bad("messageId"))?;
        let mut said = Self {
            role: role(members.get("role"))?,
            task: id(members, "taskId")?,
            context: id(members, "contextId")?,
            references: references(members.get("referenceTaskIds"))?,
            ..Self::default()
        };
        for (n, part) in parts.iter().enumerate() {
            let (kind, inner) = part_of(part, version, has_other)?;
            if kind == "data" {
                said.data = Some(format!("/{name}/{n}/data{inner}"));
            }
            said.part_kinds.push(kind);
        }
        if said.part_kinds.iter().filter(|kind| **kind == "data").count() != 1 {
            said.data = None;
        }
        Ok(said)
    }
}

fn role(json: Option<&Json>) -> Result<&'static str, Denial> {
    match json {
        Some(Json::String(role)) => match &**role {
            "ROLE_USER" | "user" => Ok("user"),
            "ROLE_AGENT" | "agent" => Ok("agent"),
            _ => Err(bad("role")),
        },
        _ => Err(bad("role")),
    }
}

fn references(json: Option<&Json>) -> Result<Vec<Box<str>>, Denial> {
    let references = match json {
        None | Some(Json::Null) => return Ok(Vec::new()),
        Some(Json::Array(references)) if references.len() <= MAX_REFERENCES => references,
        Some(_) => return Err(bad("referenceTaskIds")),
    };
    let task = |json: &Json| match json {
        Json::String(id) if is_id(id) => Ok(id.clone()),
        _ => Err(bad("referenceTaskIds")),
    };
    references.iter().map(task).collect()
}

/// What a part is, and where in its `data` the data begins.
fn part_of(
    part: &Json,
    version: Version,
    in_buffers: bool,
) -> Result<(&'static str, &'static str), Denial> {
    let members = part.as_object().ok_or(bad("parts"))?;
    spelled(members)?;
    let held = |name: &str| members.get(name).filter(|json| **json != Json::Null);
    let mut contents = CONTENTS.iter().filter(|(name, _)| held(name).is_some());
    let (Some((name, kind)), None) = (contents.next(), contents.next()) else {
        return Err(bad("parts"));
    };
    // 0.3 says what a part is, but in its protocol buffers.
    match members.get("kind") {
        Some(Json::String(said)) if **said == **kind => {}
        None if version == Version::V1_0 || in_buffers => {}
        _ => return Err(bad("kind")),
    }
    let fits = match (*name, held(name)) {
        ("raw" | "text" | "url", Some(Json::String(_))) => true,
        ("data", Some(json)) => version == Version::V1_0 || json.as_object().is_some(),
        ("file", Some(Json::Object(_))) => version == Version::V0_3,
        _ => false,
    };
    if !fits {
        return Err(bad("parts"));
    }
    let is_wrapped = *kind == "data" && !members.contains_key("kind") && in_buffers;
    match (is_wrapped, held("data").and_then(Json::as_object)) {
        (false, _) => Ok((kind, "")),
        (true, Some(inner)) if inner.len() == 1 && inner.contains_key("data") => {
            Ok((kind, "/data"))
        }
        (true, _) => Err(bad("parts")),
    }
}
