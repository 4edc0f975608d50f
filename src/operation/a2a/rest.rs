//! The REST binding of A2A: which method a path is, and what path and query say (`mcp-a2a.md` §8).

use std::collections::BTreeMap;

use super::method::{self, Method};
use super::said::is_id;
use super::version::Version;
use crate::model::exact::{Json, Number};
use crate::model::reason::{Denial, Reason};

/// The prefix of every path in version 0.3.
const OLDER: &str = "/v1";

/// A path of the binding: the HTTP method, the path as a glob, the method that it is, and whether it is
/// there in version 0.3 alone.
pub type Path = (http::Method, &'static str, &'static Method, bool);

/// Each path of the binding, without the prefix of 0.3. The first that matches counts.
pub fn paths() -> [Path; 14] {
    use http::Method as Http;
    [
        (Http::POST, "/message:send", &method::SEND, false),
        (Http::POST, "/message:stream", &method::STREAM, false),
        (Http::GET, "/tasks", &method::LIST, false),
        (Http::POST, "/tasks/*:cancel", &method::CANCEL, false),
        (Http::POST, "/tasks/*:subscribe", &method::SUBSCRIBE, false),
        (Http::GET, "/tasks/*:subscribe", &method::SUBSCRIBE, false),
        (Http::GET, "/tasks/*", &method::GET, false),
        (Http::POST, "/tasks/*/pushNotificationConfigs", &method::CREATE_PUSH, false),
        (Http::GET, "/tasks/*/pushNotificationConfigs", &method::LIST_PUSHES, false),
        (Http::GET, "/tasks/*/pushNotificationConfigs/*", &method::GET_PUSH, false),
        (Http::DELETE, "/tasks/*/pushNotificationConfigs/*", &method::DELETE_PUSH, false),
        (Http::GET, "/extendedAgentCard", &method::CARD, false),
        (Http::GET, "/card", &method::CARD, true),
        (Http::GET, "/agent/authenticatedExtendedCard", &method::CARD, true),
    ]
}

/// A glob of the binding as it is in version 0.3.
pub fn older(glob: &str) -> String {
    [OLDER, glob].concat()
}

/// What a request of the binding says outside of its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route<'p> {
    /// The task in its path.
    pub task: Option<&'p str>,
    /// The configuration of notifications in its path.
    pub config: Option<&'p str>,
    /// The version that alone has this path.
    pub version: Option<Version>,
}

const fn bad(about: &'static str) -> Denial {
    Denial::about(Reason::ArgumentsInvalid, about)
}

impl<'p> Route<'p> {
    /// What the decoded `path` says, which is one of [`paths`]. An id with a colon could end where the name
    /// of a custom method begins, or elsewhere.
    pub fn read(path: &'p str) -> Result<Self, Denial> {
        let (path, version) = match path.strip_prefix(OLDER) {
            Some(rest) if rest.starts_with('/') => (rest, Some(Version::V0_3)),
            _ => (path, None),
        };
        let mut segments = path.split('/').skip(1);
        let task = (segments.next() == Some("tasks")).then(|| segments.next()).flatten();
        let config = segments.nth(1);
        let task = task.map(|task| {
            let customs = [":cancel", ":subscribe"];
            customs.iter().find_map(|custom| task.strip_suffix(custom)).unwrap_or(task)
        });
        let is_plain = |id: &str| is_id(id) && !id.contains(':');
        if !task.into_iter().chain(config).all(is_plain) {
            return Err(bad("path"));
        }
        Ok(Self { task, config, version })
    }

    /// What `method` is asked with: the members of the body, of the query, and of the path, each as the
    /// JSON-RPC binding has it. What is said in two places is said alike, or refused.
    pub fn params(
        &self,
        method: &Method,
        version: Version,
        body: &BTreeMap<Box<str>, Json>,
        query: &[(&str, &str)],
    ) -> Result<BTreeMap<Box<str>, Json>, Denial> {
        let mut params = body.clone();
        let mut add = |name: &'static str, value: Json| match params.get(name) {
            Some(own) if *own != value => Err(bad(name)),
            Some(_) => Ok(()),
            None => {
                params.insert(name.into(), value);
                Ok(())
            }
        };
        let text = |id: &str| Json::String(id.into());
        if let (Some(task), method::Subject::Task(current, older)) = (self.task, method.subject) {
            add(if version == Version::V1_0 { current } else { older }, text(task))?;
        }
        if let Some(config) = self.config {
            let name = if version == Version::V1_0 { "id" } else { "pushNotificationConfigId" };
            add(name, text(config))?;
        }
        for (name, value) in query {
            let (name, value) = parameter(name, value)?;
            add(name, value)?;
        }
        self.check_names(body)?;
        Ok(params)
    }

    /// In the protocol buffers of 0.3 what the path says can stand in the body as well.
    fn check_names(&self, body: &BTreeMap<Box<str>, Json>) -> Result<(), Denial> {
        let Some(task) = self.task else { return Ok(()) };
        let own = format!("tasks/{task}");
        for name in ["name", "parent"] {
            let fits = match body.get(name) {
                None => true,
                Some(Json::String(said)) => said
                    .strip_prefix(&*own)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
                Some(_) => false,
            };
            if !fits {
                return Err(bad("name"));
            }
        }
        Ok(())
    }
}

/// A parameter of the query as the member that it is. Others are refused, and so are other spellings.
fn parameter(name: &str, value: &str) -> Result<(&'static str, Json), Denial> {
    let text = || Json::String(value.into());
    Ok(match name {
        "configId" => ("configId", text()),
        "contextId" => ("contextId", text()),
        "historyLength" => ("historyLength", number(value)?),
        "includeArtifacts" => ("includeArtifacts", switch(value)?),
        "pageSize" => ("pageSize", number(value)?),
        "pageToken" => ("pageToken", text()),
        "status" => ("status", text()),
        "statusTimestampAfter" => ("statusTimestampAfter", text()),
        "tenant" => ("tenant", text()),
        _ => return Err(bad("query")),
    })
}

fn number(text: &str) -> Result<Json, Denial> {
    let is_whole = !text.is_empty() && text.len() < 16 && text.bytes().all(|b| b.is_ascii_digit());
    Number::parse(text).filter(|_| is_whole).map(Json::Number).ok_or(bad("query"))
}

fn switch(text: &str) -> Result<Json, Denial> {
    match text {
        "false" => Ok(Json::Bool(false)),
        "true" => Ok(Json::Bool(true)),
        _ => Err(bad("query")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mcp_022_a_path_says_which_task_is_meant_in_one_way_only() {
        for (path, task, config, version) in [
            ("/message:send", None, None, None),
            ("/tasks", None, None, None),
            ("/tasks/t1", Some("t1"), None, None),
            ("/tasks/t1:cancel", Some("t1"), None, None),
            ("/v1/tasks/t1:subscribe", Some("t1"), None, Some(Version::V0_3)),
            ("/tasks/t1/pushNotificationConfigs", Some("t1"), None, None),
            ("/v1/tasks/t1/pushNotificationConfigs/c", Some("t1"), Some("c"), Some(Version::V0_3)),
        ] {
            assert_eq!(Route::read(path), Ok(Route { task, config, version }), "{path}");
        }
        for path in ["/tasks/:cancel", "/tasks/a:cancel:cancel", "/tasks/a:b", "/tasks/"] {
            assert!(Route::read(path).is_err(), "{path}");
        }
    }

    #[test]
    fn mcp_023_the_query_has_the_names_and_kinds_of_the_members() {
        let route = Route::read("/tasks/t1").unwrap();
        let read = |query: &[(&str, &str)], body: &str| {
            let body = Json::parse(body.as_bytes()).unwrap();
            let body = body.as_object().unwrap();
            let params = route.params(&method::GET, Version::V1_0, body, query);
            params.map(|params| Json::Object(params).to_string()).map_err(|denial| denial.about)
        };
        let params = r#"{"historyLength":5,"id":"t1"}"#;
        assert_eq!(read(&[("historyLength", "5")], "{}").unwrap(), params);
        assert_eq!(read(&[("historyLength", "5")], r#"{"id":"t1"}"#).unwrap(), params);
        for (query, body, about) in [
            (&[("history_length", "5")][..], "{}", "query"),
            (&[("historyLength", "05x")], "{}", "query"),
            (&[("historyLength", "5"), ("historyLength", "6")], "{}", "historyLength"),
            (&[("id", "t2")], "{}", "query"),
            (&[], r#"{"id":"t2"}"#, "id"),
            (&[], r#"{"name":"tasks/t12"}"#, "name"),
        ] {
            assert_eq!(read(query, body), Err(Some(about)), "{query:?} {body}");
        }
    }
}
