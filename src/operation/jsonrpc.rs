//! One JSON-RPC 2.0 message, strictly (`mcp-a2a.md` §4): what two readers could take for different messages
//! is refused. MCP and A2A are spoken in it.

use std::collections::BTreeMap;

use crate::model::exact::Json;
use crate::model::reason::{Denial, Reason};

/// The longest text of an `id`, in octets.
const MAX_ID: usize = 256;
/// The largest number of an `id`, either way: what a double holds exactly.
const MAX_NUMBER: u64 = 1 << 53;

/// What kind of message it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It wants an answer under this `id`.
    Request(Id),
    /// It wants none.
    Notification,
    /// It answers what the server asked under this `id`.
    Response(Id),
}

/// The `id` of a message, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Id(Box<str>);

impl Id {
    /// Its JSON text: a number as it was written, or a string.
    pub fn json(&self) -> &str {
        &self.0
    }

    /// Reads one: a string, or a whole number that every reader holds exactly.
    pub fn read(json: &Json) -> Option<Self> {
        match json {
            Json::String(text) => (text.len() <= MAX_ID).then(|| Self(json.to_string().into())),
            Json::Number(number) => {
                let digits = number.text().strip_prefix('-').unwrap_or(number.text());
                let is_whole = digits.parse().is_ok_and(|whole: u64| whole <= MAX_NUMBER);
                is_whole.then(|| Self(number.text().into()))
            }
            Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => None,
        }
    }
}

/// A message. Borrowed from the body it is.
#[derive(Debug)]
pub struct Message<'j> {
    /// What kind it is.
    pub kind: Kind,
    /// `method`; none where it is a response.
    pub method: Option<&'j str>,
    /// `params`
    pub params: Option<&'j BTreeMap<Box<str>, Json>>,
}

const fn invalid(about: &'static str) -> Denial {
    Denial::about(Reason::MessageInvalid, about)
}

impl<'j> Message<'j> {
    /// Reads the message that a body is.
    pub fn read(json: &'j Json) -> Result<Self, Denial> {
        let members = match json {
            Json::Object(members) => members,
            Json::Array(_) => return Err(invalid("batch")),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {
                return Err(invalid("object"));
            }
        };
        if !matches!(members.get("jsonrpc"), Some(Json::String(version)) if **version == *"2.0") {
            return Err(invalid("jsonrpc"));
        }
        let id = members.get("id").map(|id| Id::read(id).ok_or(invalid("id"))).transpose()?;
        match members.get("method") {
            Some(Json::String(method)) => Self::call(members, id, method),
            Some(_) => Err(invalid("method")),
            None => Self::response(members, id),
        }
    }

    fn call(
        members: &'j BTreeMap<Box<str>, Json>,
        id: Option<Id>,
        method: &'j str,
    ) -> Result<Self, Denial> {
        only(members, &["id", "jsonrpc", "method", "params"])?;
        let params = match members.get("params") {
            None => None,
            Some(Json::Object(params)) => Some(params),
            Some(_) => return Err(Denial::about(Reason::ArgumentsInvalid, "params")),
        };
        let kind = id.map_or(Kind::Notification, Kind::Request);
        Ok(Self { kind, method: Some(method), params })
    }

    fn response(members: &'j BTreeMap<Box<str>, Json>, id: Option<Id>) -> Result<Self, Denial> {
        only(members, &["error", "id", "jsonrpc", "result"])?;
        let is_one = members.contains_key("result") != members.contains_key("error");
        match id {
            Some(id) if is_one => Ok(Self { kind: Kind::Response(id), method: None, params: None }),
            Some(_) => Err(invalid("method")),
            None => Err(invalid("id")),
        }
    }

    /// A member of `params`.
    pub fn param(&self, name: &str) -> Option<&'j Json> {
        self.params?.get(name)
    }

    /// A member of `params._meta`.
    pub fn meta(&self, name: &str) -> Option<&'j Json> {
        self.param("_meta")?.as_object()?.get(name)
    }
}

fn only(members: &BTreeMap<Box<str>, Json>, known: &[&str]) -> Result<(), Denial> {
    let is_known = |name: &str| known.contains(&name);
    if members.keys().all(|name| is_known(name)) { Ok(()) } else { Err(invalid("member")) }
}
