//! `[[upstream]]`: where permitted calls go.

use std::path::PathBuf;
use std::time::Duration;

use super::raw::Section;
use super::reading::{Reading, Seen};
use super::secret;
use super::value::{self, Wrong};

/// `[[upstream]]`: where permitted calls go.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// `name`: how resources refer to it.
    pub name: Box<str>,
    /// `url`: one or several addresses that serve the same.
    pub targets: Vec<Target>,
    /// `http2`: speak HTTP/2 to it (over TLS by ALPN, else with prior knowledge).
    pub http2: bool,
    /// `ca`: roots for its TLS certificate, instead of the machine's.
    pub ca: Option<PathBuf>,
    /// `client_certificate` and `client_key`: shown to the upstream.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// `host`: the `Host` sent; the target's authority where it is not set.
    pub host: Option<Box<str>>,
    /// `credential`: the tool's own, which the agent never holds.
    pub credential: Option<Credential>,
    /// `connections`: open at one time to one address.
    pub connections: usize,
    /// `queue_timeout`: how long a call waits for a free connection.
    pub queue_timeout: Duration,
    /// `connect_timeout`: for one connection attempt, TLS included.
    pub connect_timeout: Duration,
    /// `response_timeout`: from the end of the request to the head of the response.
    pub response_timeout: Duration,
    /// `idle_timeout`: how long a connection is kept unused.
    pub idle_timeout: Duration,
    /// `max_age`: how long a connection is used at all.
    pub max_age: Duration,
    /// `health`: active checks, when there are any.
    pub health: Option<Health>,
    /// `eject_after`: consecutive failures after which an address is left out for a while.
    pub eject_after: u32,
    /// `eject_for`: how long an address is left out.
    pub eject_for: Duration,
}

/// One address of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Whether the connection is TLS.
    pub secure: bool,
    /// Host and port, or a socket.
    pub place: Place,
    /// The path before that of every request, without a trailing slash; empty where there is none.
    pub prefix: Box<str>,
}

/// Where a target is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A name or address, and a port.
    Host(Box<str>, u16),
    /// A Unix socket.
    Unix(PathBuf),
}

/// `upstream.health`: a request that shows whether an address is fit.
#[derive(Clone, Debug)]
pub struct Health {
    /// `path`: asked with GET; a status below 400 is fit.
    pub path: Box<str>,
    /// `interval` between two checks.
    pub interval: Duration,
    /// `timeout` of one check.
    pub timeout: Duration,
}

/// `upstream.credential`: a header that the gate adds.
#[derive(Clone, Debug)]
pub struct Credential {
    /// `header`: its name.
    pub header: http::HeaderName,
    /// `scheme`: what stands before the secret, with one space between.
    pub scheme: Option<Box<str>>,
    /// `secret`: read at load, and anew when the file changes.
    pub secret: secret::Reference,
}

/// `None` where one is wrong.
pub(super) fn upstreams(tables: &[Section<'_>], into: &mut Reading<'_>) -> Option<Vec<Upstream>> {
    let mut seen = Seen::default();
    let read: Vec<_> = tables.iter().map(|table| upstream(table, &mut seen, into)).collect();
    read.into_iter().collect()
}

fn upstream(section: &Section<'_>, seen: &mut Seen, into: &mut Reading<'_>) -> Option<Upstream> {
    let base = into.base();
    let name = into.one(section, "name", value::name);
    if let Some((text, place)) = section.text("name") {
        into.unique(seen, text.to_owned(), &place, "an upstream of this name");
    }
    let targets = into.many(section, "url", |text| value::target(text, base));
    for (n, (target, place)) in targets.iter().enumerate() {
        if targets.iter().take(n).any(|(earlier, _)| earlier == target) {
            into.problems.add(place, "this address is listed before");
        }
    }
    let ca = into.file(section, "ca");
    let certificate = into.file(section, "client_certificate");
    let key = into.private_file(section, "client_key");
    for (one, other) in [("client_certificate", "client_key"), ("client_key", "client_certificate")]
    {
        if section.has(one) && !section.has(other) {
            into.problems.add(&section.place_of(one), format!("needs `{other}` beside it"));
        }
    }
    let host = into.one(section, "host", value::authority);
    let credential = credential(section, into);
    let health = health(section, into);
    Some(Upstream {
        name: name?,
        targets: targets.into_iter().map(|(target, _)| target).collect(),
        http2: section.switch("http2"),
        ca,
        identity: certificate.zip(key),
        host,
        credential,
        connections: section.small("connections"),
        queue_timeout: section.duration("queue_timeout"),
        connect_timeout: section.duration("connect_timeout"),
        response_timeout: section.duration("response_timeout"),
        idle_timeout: section.duration("idle_timeout"),
        max_age: section.duration("max_age"),
        health,
        eject_after: u32::try_from(section.number("eject_after")).unwrap_or(u32::MAX),
        eject_for: section.duration("eject_for"),
    })
}

fn credential(upstream: &Section<'_>, into: &mut Reading<'_>) -> Option<Credential> {
    if !upstream.has("credential") {
        return None;
    }
    let section = upstream.table("credential");
    let (text, place) = section.text_or_default("header");
    let header = into.take(&place, value::header(text));
    let scheme = into.one(&section, "scheme", scheme);
    let secret = if section.has("secret") { into.secret(&section.table("secret")) } else { None };
    Some(Credential { header: header?, scheme, secret: secret? })
}

/// An authentication scheme is a token (RFC 9110 §11.1).
fn scheme(text: &str) -> Result<Box<str>, Wrong> {
    if text.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)) {
        return Ok(text.into());
    }
    // What stands there may be the secret itself, and is not shown.
    Err(Wrong::with(
        "is not a scheme",
        "one word, as in `Bearer`: the space after it and the secret are added",
    ))
}

fn health(upstream: &Section<'_>, into: &mut Reading<'_>) -> Option<Health> {
    let section = upstream.table("health");
    let path = into.one(&section, "path", |text| {
        if text.starts_with('/') && text.parse::<http::uri::PathAndQuery>().is_ok() {
            return Ok(Box::<str>::from(text));
        }
        Err(Wrong::new(format!("`{}` is not a path that begins with `/`", value::shown(text))))
    })?;
    Some(Health {
        path,
        interval: section.duration("interval"),
        timeout: section.duration("timeout"),
    })
}
