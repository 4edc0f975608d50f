//! The request head, read once: authority, target and the headers that decide
//! (`verification.md` steps 2 to 4).

use http::header;
use http::request::Parts;
use http::{HeaderMap, Method};
use percent_encoding::percent_decode_str;

use super::path::CanonicalPath;
use crate::model::reason::{Denial, Reason};

/// What is known of the connection that a request came on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Transport<'a> {
    /// The TLS server name (RFC 6066) that the caller asked for.
    pub server_name: Option<&'a str>,
}

/// A request head that can be read in one way only.
#[derive(Debug)]
pub struct Head<'a> {
    /// The method, upper case as sent.
    pub method: &'a Method,
    /// The authority that the request names, as sent.
    pub authority: &'a str,
    /// The canonical path.
    pub path: CanonicalPath<'a>,
    /// The query, byte for byte, without its `?`.
    pub query: Option<&'a str>,
    /// A protocol upgrade, if one is asked for.
    pub upgrade: Option<Upgrade>,
    /// Whether a header asks for another method or target.
    pub overrides: bool,
    /// Whether its query asks for another method, as some frameworks read it for a POST.
    pub query_overrides: bool,
}

/// A protocol upgrade that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrade {
    /// Something this gate never switches to.
    Other,
    /// `websocket` (RFC 6455).
    WebSocket,
}

/// Headers that must not stand twice: two readers would each pick another one.
/// `Authorization` has its own rule, which names the error that RFC 6750 gives it.
const SINGLE: [&str; 10] = [
    "content-encoding",
    "content-length",
    "content-type",
    "dpop",
    "expect",
    "host",
    "origin",
    "sec-websocket-key",
    "traceparent",
    "transfer-encoding",
];

/// Headers that `Connection` must not nominate, beside those that begin with `x-opgate-`, `mcp-` or `a2a-`: removing
/// them on the word of the caller would change what is judged (RFC 9110 §7.6.1).
const DECISIVE: [&str; 15] = [
    "authorization",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "dpop",
    "expect",
    "forwarded",
    "host",
    "last-event-id",
    "origin",
    "traceparent",
    "workload-identity-token",
    "x-agent-operation-token",
    "x-forwarded-for",
];

/// Headers by which some frameworks let a caller change the method or the target after the fact.
const OVERRIDES: [&str; 7] = [
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-method",
    "x-original-url",
    "x-override-url",
    "x-rewrite-url",
];

impl<'a> Head<'a> {
    /// Reads the head of a request. Refuses what two readers could read differently.
    pub fn read(parts: &'a Parts, transport: Transport<'_>) -> Result<Self, Denial> {
        if parts.method == Method::CONNECT {
            return Err(Denial::about(Reason::MethodUnknown, "CONNECT"));
        }
        if !parts.method.as_str().bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-') {
            return Err(Reason::MethodUnknown.into());
        }
        check_duplicates(&parts.headers)?;
        check_nominations(&parts.headers)?;
        Ok(Self {
            method: &parts.method,
            authority: authority(parts, transport)?,
            path: CanonicalPath::parse(parts.uri.path())?,
            query: parts.uri.query(),
            upgrade: upgrade(&parts.headers),
            overrides: parts.headers.keys().any(|name| is_override(name.as_str())),
            query_overrides: parts.method == Method::POST
                && parts.uri.query().is_some_and(overrides_method),
        })
    }
}

/// Names in a query that make another method of a POST: of Rails, Laravel and Symfony, of Google's servers, and
/// the header's own name where a server looks for it there too.
const QUERY_OVERRIDES: [&str; 3] = ["_method", "$httpmethod", "x-http-method-override"];

fn overrides_method(query: &str) -> bool {
    let mut names = query.split(['&', ';']).map(|pair| pair.split('=').next().unwrap_or_default());
    names.any(|name| {
        let name = percent_decode_str(name).decode_utf8_lossy().to_ascii_lowercase();
        let name = name.split(['[', '\0']).next().unwrap_or_default().replace('+', " ");
        QUERY_OVERRIDES.contains(&name.trim())
    })
}

/// Whether the header called `name`, in lower case, asks for another method or target.
pub fn is_override(name: &str) -> bool {
    name.starts_with("x-") && OVERRIDES.contains(&name)
}

fn check_duplicates(headers: &HeaderMap) -> Result<(), Denial> {
    if headers.len() == headers.keys_len() {
        return Ok(());
    }
    let twice = SINGLE.iter().find(|name| headers.get_all(**name).iter().nth(1).is_some());
    match twice {
        Some(name) => Err(Denial::about(Reason::HeaderDuplicate, name)),
        None => Ok(()),
    }
}

fn check_nominations(headers: &HeaderMap) -> Result<(), Denial> {
    for value in headers.get_all(header::CONNECTION) {
        let Ok(value) = value.to_str() else { return Err(Reason::HttpMalformed.into()) };
        if value.split(',').any(|name| is_decisive(name.trim())) {
            return Err(Reason::HeaderNominated.into());
        }
    }
    Ok(())
}

fn is_decisive(name: &str) -> bool {
    DECISIVE.iter().any(|decisive| decisive.eq_ignore_ascii_case(name))
        || ["x-opgate-", "mcp-", "a2a-"].iter().any(|prefix| {
            name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        })
}

/// The one authority of the request: `Host`, or `:authority`, or that of an absolute target; where
/// there are several, they agree, and the TLS server name agrees with them.
fn authority<'a>(parts: &'a Parts, transport: Transport<'_>) -> Result<&'a str, Denial> {
    let named = parts.uri.authority().map(http::uri::Authority::as_str);
    let host = match parts.headers.get(header::HOST) {
        Some(value) => Some(value.to_str().map_err(|_error| Reason::AuthorityUnknown)?),
        None => None,
    };
    let authority = match (named, host) {
        (Some(named), Some(host)) if !named.eq_ignore_ascii_case(host) => {
            return Err(Denial::about(Reason::AuthorityUnknown, "host"));
        }
        (Some(authority), _) | (None, Some(authority)) => authority,
        (None, None) => return Err(Denial::about(Reason::HttpMalformed, "host")),
    };
    match transport.server_name {
        Some(name) if !name.eq_ignore_ascii_case(host_of(authority)) => {
            Err(Denial::about(Reason::AuthorityUnknown, "sni"))
        }
        _ => Ok(authority),
    }
}

fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// `h2c` is not counted: it is removed like any hop-by-hop header, and the request goes on.
fn upgrade(headers: &HeaderMap) -> Option<Upgrade> {
    let protocols = headers.get_all(header::UPGRADE);
    let mut asked = None;
    for protocol in protocols.iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
    {
        let protocol = protocol.trim_ascii();
        if protocol.eq_ignore_ascii_case(b"websocket") && asked.is_none() {
            asked = Some(Upgrade::WebSocket);
        } else if !protocol.eq_ignore_ascii_case(b"h2c") {
            asked = Some(Upgrade::Other);
        }
    }
    asked
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn read(request: Request<()>) -> Result<(), Denial> {
        let (parts, ()) = request.into_parts();
        Head::read(&parts, Transport::default()).map(drop)
    }

    #[test]
    fn headers_that_decide_stand_once_and_are_not_nominated() {
        for (name, value, reason) in [
            ("connection", "close, Authorization", Reason::HeaderNominated),
            ("connection", "x-opgate-decision-id", Reason::HeaderNominated),
            ("connection", "host", Reason::HeaderNominated),
            ("connection", "close, MCP-Protocol-Version", Reason::HeaderNominated),
            ("connection", "mcp-session-id", Reason::HeaderNominated),
            ("connection", "A2A-Version", Reason::HeaderNominated),
            ("host", "b.test", Reason::HeaderDuplicate),
        ] {
            let request =
                Request::get("/a").header("host", "a.test").header(name, value).body(()).unwrap();
            assert_eq!(read(request).unwrap_err().reason, reason, "{name}: {value}");
        }
    }

    #[test]
    fn a_target_and_a_host_that_disagree_are_refused() {
        let request = Request::get("http://evil.test/a").header("host", "a.test").body(()).unwrap();
        assert_eq!(read(request).unwrap_err().reason, Reason::AuthorityUnknown);
        read(Request::get("http://a.test/a").header("host", "A.test").body(()).unwrap()).unwrap();
        assert_eq!(
            read(Request::get("/a").body(()).unwrap()).unwrap_err().reason,
            Reason::HttpMalformed
        );
    }

    #[test]
    fn the_tls_name_and_the_authority_agree() {
        for (name, host, fine) in [("a.test", "a.test:8443", true), ("b.test", "a.test", false)] {
            let (parts, ()) =
                Request::get("/a").header("host", host).body(()).unwrap().into_parts();
            let read = Head::read(&parts, Transport { server_name: Some(name) });
            assert_eq!(read.is_ok(), fine, "{name} {host}");
        }
    }

    #[test]
    fn a_method_is_upper_case() {
        let request =
            Request::builder().method("get").uri("/a").header("host", "a.test").body(()).unwrap();
        assert_eq!(read(request).unwrap_err().reason, Reason::MethodUnknown);
    }

    #[test]
    fn only_one_protocol_may_be_asked_for() {
        for (value, expected) in [
            ("websocket", Some(Upgrade::WebSocket)),
            ("WebSocket", Some(Upgrade::WebSocket)),
            ("h2c", None),
            ("websocket, foo", Some(Upgrade::Other)),
            ("foo", Some(Upgrade::Other)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::UPGRADE, value.parse().unwrap());
            assert_eq!(upgrade(&headers), expected, "{value}");
        }
    }
}
