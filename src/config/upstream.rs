//! `[[upstream]]`: where permitted calls go.

use super::raw::Section;
use super::reading::{Reading, Seen};
use super::value::{self, Wrong};
use super::{Credential, Health, Upstream};

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
