//! What a message asks for: the table of methods (`mcp-a2a.md` §2), and what each names.

use super::listing::TOOLS;
use super::version::Version;
use crate::model::exact::{EMPTY, Json, folded};
use crate::model::operation;
use crate::model::reason::{Denial, Reason};
use crate::operation::jsonrpc::{Id, Kind, Message};

/// The longest name of a tool or prompt, in octets.
const MAX_NAME: usize = 1_024;
/// The longest URI of a resource, in octets.
const MAX_URI: usize = 8 * 1_024;

/// What a message asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// By which revision it is meant.
    pub version: Version,
    /// Whether it is a request, a notification or a response, and its `id`.
    pub kind: Kind,
    /// `method`, one that is known; empty where it is a response.
    pub method: &'static str,
    /// What it names: a tool, a prompt, or the URI of a resource.
    pub name: Option<Box<str>>,
    /// The name of the action, as grants and policies name it.
    pub action: Box<str>,
    /// The qualified name of the action, which nothing else can have.
    pub alias: Box<str>,
    /// What it is about.
    pub subject: Subject,
    /// Whether it repeats a call that the server wanted more of (2026-07-28).
    pub is_retry: bool,
}

/// What a method is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The session or the server itself: whoever has a valid token may ask.
    Session,
    /// A list of what there is: whoever has a valid token may ask, and sees what that could call. The member
    /// of the result that is the list, and the method by which one of it is used.
    List(&'static str, &'static str),
    /// A tool: the name of the action is its own.
    Tool,
    /// A prompt.
    Prompt,
    /// A resource.
    Resource,
    /// A prompt or a resource for which words are wanted: what may be done with it may be completed.
    Completion,
    /// What the method says.
    Itself,
    /// An answer to the server.
    Response,
}

use Subject::{Completion, Itself, List, Prompt, Resource, Session, Tool};
use Version::{V2025_03_26, V2025_11_25, V2026_07_28};

/// A row of the table: a method, the first and the last revision that has it, and what it is about.
type Row = (&'static str, Version, Version, Subject);

/// What is not here is not forwarded. `tasks/…` is not: tasks have owners, which nobody keeps yet.
const METHODS: [Row; 19] = [
    ("completion/complete", V2025_03_26, V2026_07_28, Completion),
    ("initialize", V2025_03_26, V2025_11_25, Session),
    ("logging/setLevel", V2025_03_26, V2025_11_25, Itself),
    ("notifications/cancelled", V2025_03_26, V2026_07_28, Session),
    ("notifications/initialized", V2025_03_26, V2025_11_25, Session),
    ("notifications/progress", V2025_03_26, V2026_07_28, Session),
    ("notifications/roots/list_changed", V2025_03_26, V2025_11_25, Session),
    ("ping", V2025_03_26, V2025_11_25, Session),
    ("prompts/get", V2025_03_26, V2026_07_28, Prompt),
    ("prompts/list", V2025_03_26, V2026_07_28, List("prompts", "prompts/get")),
    ("resources/list", V2025_03_26, V2026_07_28, List("resources", "resources/read")),
    ("resources/read", V2025_03_26, V2026_07_28, Resource),
    ("resources/subscribe", V2025_03_26, V2025_11_25, Resource),
    ("resources/templates/list", V2025_03_26, V2026_07_28, TEMPLATES),
    ("resources/unsubscribe", V2025_03_26, V2025_11_25, Resource),
    ("server/discover", V2026_07_28, V2026_07_28, Session),
    ("subscriptions/listen", V2026_07_28, V2026_07_28, Itself),
    (CALL, V2025_03_26, V2026_07_28, Tool),
    ("tools/list", V2025_03_26, V2026_07_28, List(TOOLS, CALL)),
];

const TEMPLATES: Subject = List("resourceTemplates", "resources/read");

/// The method by which a tool is called.
pub const CALL: &str = "tools/call";
/// The prefix of every qualified name.
const PREFIX: &str = "mcp:";

const fn bad(about: &'static str) -> Denial {
    Denial::about(Reason::ArgumentsInvalid, about)
}

impl Asked {
    /// What `message` asks for, meant by `version`. A method that is not in the table is refused.
    pub fn read(message: &Message<'_>, version: Version) -> Result<Self, Denial> {
        let Some(method) = message.method else { return Self::response(message, version) };
        let unknown = Denial::about(Reason::OperationUnknown, "method");
        let row = METHODS.iter().find(|row| row.0 == method);
        let (method, first, last, subject) = *row.ok_or(unknown)?;
        if version < first || version > last {
            return Err(unknown);
        }
        let is_notification = message.kind == Kind::Notification;
        if is_notification != method.starts_with("notifications/") {
            return Err(Denial::about(Reason::MessageInvalid, "id"));
        }
        check_spelling(message)?;
        let (name, action, alias) = named(message, method, subject)?;
        let is_retry =
            ["inputResponses", "requestState"].iter().any(|name| message.param(name).is_some());
        Ok(Self {
            version,
            kind: message.kind.clone(),
            method,
            name,
            action,
            alias,
            subject,
            is_retry,
        })
    }

    fn response(message: &Message<'_>, version: Version) -> Result<Self, Denial> {
        if version == V2026_07_28 {
            return Err(Denial::about(Reason::MessageInvalid, "result"));
        }
        Ok(Self {
            version,
            kind: message.kind.clone(),
            method: "",
            name: None,
            action: "mcp:response".into(),
            alias: "mcp:response".into(),
            subject: Subject::Response,
            is_retry: false,
        })
    }

    /// What it is called under, where it wants an answer.
    pub const fn request_id(&self) -> Option<&Id> {
        match &self.kind {
            Kind::Request(id) => Some(id),
            Kind::Notification | Kind::Response(_) => None,
        }
    }

    /// The name of the tool that is called.
    pub fn tool(&self) -> Option<&str> {
        self.name.as_deref().filter(|_| self.subject == Tool)
    }

    /// Whether a valid token is enough to ask.
    pub const fn is_open(&self) -> bool {
        matches!(self.subject, Session | List(..) | Subject::Response)
    }

    /// The arguments that grants and policies are held against: those of a tool, and what names anything
    /// else. `body` is the message that this was read from.
    pub fn args<'j>(&self, body: &'j Json) -> &'j Json {
        let at = match self.subject {
            Tool => "/params/arguments",
            Completion => "/params/ref",
            Prompt | Resource | Itself | List(..) | Session => "/params",
            Subject::Response => return &EMPTY,
        };
        body.at(at).unwrap_or(&EMPTY)
    }

    /// It, as policies are told of it.
    pub fn told(&self) -> operation::Message<'_> {
        operation::Message {
            version: self.version.name(),
            method: self.method,
            name: self.name.as_deref(),
            is_retry: self.is_retry,
        }
    }
}

/// The name of the action of a tool, and its qualified name. A name that could be a method, or that the
/// standard does not allow, has the qualified name alone (R-MCP-008).
pub fn tool_names(tool: &str) -> (Box<str>, Box<str>) {
    let alias: Box<str> = format!("{PREFIX}{CALL}:{tool}").into();
    if is_plain(tool) { (tool.into(), alias) } else { (alias.clone(), alias) }
}

fn is_plain(tool: &str) -> bool {
    tool.len() <= 128
        && tool.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// The name of the action, and its qualified name, of what is used by `method` and called `name`.
pub fn names_of(method: &str, name: &str) -> (Box<str>, Box<str>) {
    match method {
        CALL => tool_names(name),
        "prompts/get" => (method.into(), format!("{PREFIX}{method}:{name}").into()),
        _ => (method.into(), format!("{PREFIX}{method}").into()),
    }
}

/// The members of `params` that decide, and those of a reference.
const DECISIVE: [&str; 8] =
    ["_meta", "arguments", "name", "ref", "requestState", "inputResponses", "type", "uri"];

/// A reader that does not regard case would take another spelling of what decides for that.
fn check_spelling(message: &Message<'_>) -> Result<(), Denial> {
    let reference = message.param("ref").and_then(Json::as_object);
    let mut names = message.params.into_iter().chain(reference).flat_map(|one| one.keys());
    let is_other =
        |name: &str| DECISIVE.iter().any(|own| *own != name && folded(own) == folded(name));
    if names.any(|name| is_other(name)) { Err(bad("case")) } else { Ok(()) }
}

type Names = (Option<Box<str>>, Box<str>, Box<str>);

fn named(message: &Message<'_>, method: &str, subject: Subject) -> Result<Names, Denial> {
    let of = |method: &str, name: &str| {
        let (action, alias) = names_of(method, name);
        (Some(Box::from(name)), action, alias)
    };
    match subject {
        Tool => {
            if let Some(arguments) = message.param("arguments")
                && arguments.as_object().is_none()
            {
                return Err(bad("arguments"));
            }
            Ok(of(method, name(message.param("name"))?))
        }
        Prompt => Ok(of(method, name(message.param("name"))?)),
        Resource => Ok(of(method, uri(message.param("uri"))?)),
        Completion => {
            let reference = message.param("ref").and_then(Json::as_object).ok_or(bad("ref"))?;
            match reference.get("type") {
                Some(Json::String(kind)) if **kind == *"ref/prompt" => {
                    Ok(of("prompts/get", name(reference.get("name"))?))
                }
                Some(Json::String(kind)) if **kind == *"ref/resource" => {
                    Ok(of("resources/read", uri(reference.get("uri"))?))
                }
                _ => Err(bad("ref")),
            }
        }
        Itself | List(..) | Session | Subject::Response => {
            let (action, alias) = names_of(method, "");
            Ok((None, action, alias))
        }
    }
}

fn name(json: Option<&Json>) -> Result<&str, Denial> {
    match json {
        Some(Json::String(name)) if !name.is_empty() && name.len() <= MAX_NAME => Ok(name),
        _ => Err(bad("name")),
    }
}

/// The URI of a resource, compared as it is. One that a server could resolve to another place than it seems
/// to name is refused, since a grant may say how it must begin.
fn uri(json: Option<&Json>) -> Result<&str, Denial> {
    let Some(Json::String(uri)) = json else { return Err(bad("uri")) };
    let is_text = !uri.is_empty() && uri.len() <= MAX_URI && !uri.contains(char::is_control);
    if is_text && !is_evasive(uri) { Ok(uri) } else { Err(bad("uri")) }
}

fn is_evasive(uri: &str) -> bool {
    let Some((scheme, rest)) = uri.split_once(':') else { return false };
    // What has no path is not resolved (RFC 3986 §3.3).
    if !rest.starts_with('/') && !scheme.eq_ignore_ascii_case("file") {
        return false;
    }
    let is_file = scheme.eq_ignore_ascii_case("file");
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    let authority = path.strip_prefix("//").unwrap_or_default().split('/').next();
    let folded = path.to_ascii_lowercase().replace("%2e", ".");
    let is_dots = |segment: &str| {
        let name = segment.split(';').next().unwrap_or_default();
        matches!(name, "." | "..")
    };
    folded.split('/').any(is_dots)
        || path.contains('\\')
        || ["%00", "%09", "%0a", "%0d", "%2f", "%5c"].iter().any(|coded| folded.contains(coded))
        || (is_file && (rest.contains(['?', '#']) || folded.contains("%25")))
        || authority.is_some_and(|authority| authority.contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::exact::Json;

    fn asked(text: &str, version: Version) -> Result<Asked, Denial> {
        let json = Json::parse(text.as_bytes()).unwrap();
        Asked::read(&Message::read(&json)?, version)
    }

    fn request(method: &str, params: &str) -> String {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#)
    }

    #[test]
    fn mcp_009_a_method_is_known_in_the_revisions_that_have_it() {
        for (method, params, known) in [
            ("initialize", "{}", [true, true, true, false]),
            ("ping", "{}", [true, true, true, false]),
            ("server/discover", "{}", [false, false, false, true]),
            ("subscriptions/listen", "{}", [false, false, false, true]),
            ("tools/call", r#"{"name":"t"}"#, [true; 4]),
            ("resources/subscribe", r#"{"uri":"a:b"}"#, [true, true, true, false]),
            ("tasks/get", r#"{"taskId":"1"}"#, [false; 4]),
            ("resources/Read", r#"{"uri":"a:b"}"#, [false; 4]),
        ] {
            let text = request(method, params);
            let found = Version::ALL.map(|version| asked(&text, version).is_ok());
            assert_eq!(found, known, "{method}");
        }
    }

    #[test]
    fn mcp_008_every_name_of_an_action_is_that_of_one_thing() {
        let names = |method: &str, params: &str| {
            let asked = asked(&request(method, params), V2025_11_25).unwrap();
            (asked.action.to_string(), asked.alias.to_string())
        };
        let pair = |action: &str, alias: &str| (action.to_owned(), alias.to_owned());
        for (method, params, action, alias) in [
            ("tools/call", r#"{"name":"pay"}"#, "pay", "mcp:tools/call:pay"),
            (
                "tools/call",
                r#"{"name":"tools/list"}"#,
                "mcp:tools/call:tools/list",
                "mcp:tools/call:tools/list",
            ),
            (
                "tools/call",
                r#"{"name":"mcp:tools/list"}"#,
                "mcp:tools/call:mcp:tools/list",
                "mcp:tools/call:mcp:tools/list",
            ),
            ("tools/list", "{}", "tools/list", "mcp:tools/list"),
            ("prompts/get", r#"{"name":"p"}"#, "prompts/get", "mcp:prompts/get:p"),
            ("resources/read", r#"{"uri":"a:b"}"#, "resources/read", "mcp:resources/read"),
            (
                "completion/complete",
                r#"{"ref":{"type":"ref/prompt","name":"p"}}"#,
                "prompts/get",
                "mcp:prompts/get:p",
            ),
            ("logging/setLevel", r#"{"level":"info"}"#, "logging/setLevel", "mcp:logging/setLevel"),
        ] {
            assert_eq!(names(method, params), pair(action, alias), "{method} {params}");
        }
    }

    #[test]
    fn only_a_uri_that_every_server_resolves_alike_is_one() {
        for (uri, fine) in [
            ("note:a/../b", true),
            ("docs://pub/a?x=../y", true),
            ("docs://pub/../secret", false),
            ("docs://pub/%2E%2e/secret", false),
            ("docs://pub/..;x/secret", false),
            ("docs://pub/..%00/secret", false),
            ("file:///a?/../../etc/passwd", false),
            ("file:///a#/../../etc/passwd", false),
            ("file:///a/%252e%252e/b", false),
            ("file:///a/b.c/...", true),
            ("https://a.test/a?x=../y", true),
            ("https://a.test/a@b", true),
            ("file:///a/../b", false),
            ("file:///a/.", false),
            ("file:a/%2e%2E/b", false),
            ("https://a.test%2f@b.test/", false),
            ("https://u:p@a.test/", false),
            ("HTTP://a.test/%5C..", false),
            ("", false),
        ] {
            let text = request("resources/read", &format!(r#"{{"uri":"{uri}"}}"#));
            assert_eq!(asked(&text, V2025_11_25).is_ok(), fine, "{uri}");
        }
    }

    #[test]
    fn mcp_007_arguments_are_those_of_the_tool_and_what_names_anything_else() {
        for (method, params, args) in [
            ("tools/call", r#"{"name":"t","arguments":{"a":1.0}}"#, r#"{"a":1.0}"#),
            ("tools/call", r#"{"name":"t"}"#, "{}"),
            ("resources/read", r#"{"uri":"a:b"}"#, r#"{"uri":"a:b"}"#),
            (
                "completion/complete",
                r#"{"ref":{"type":"ref/resource","uri":"a:b"},"argument":{"x":1}}"#,
                r#"{"type":"ref/resource","uri":"a:b"}"#,
            ),
        ] {
            let json = Json::parse(request(method, params).as_bytes()).unwrap();
            let asked = Asked::read(&Message::read(&json).unwrap(), V2025_11_25).unwrap();
            assert_eq!(*asked.args(&json), Json::parse(args.as_bytes()).unwrap(), "{method}");
        }
    }
}
