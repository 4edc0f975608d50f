//! Which headers pass: what an upstream must never see, and what it is told instead
//! (`verification.md`, "Forwarding").

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use super::connection::Peer;
use crate::config::{CertificateHeader, Forwarded, Gate, Resource};
use crate::operation::head::is_override;
use crate::token::certificate;
use crate::token::parties::Parties;
use crate::token::presenter::Certificate;

/// Carries the id of the decision, to the upstream where configured and to the caller always.
pub const DECISION_ID: HeaderName = HeaderName::from_static("x-opgate-decision-id");
/// Names the record of the decision, as `log/seq`.
pub const AUDIT_ID: HeaderName = HeaderName::from_static("opgate-audit-id");
/// W3C trace context.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const AGENT: HeaderName = HeaderName::from_static("x-opgate-agent");
const CLIENT: HeaderName = HeaderName::from_static("x-opgate-client");
const USER: HeaderName = HeaderName::from_static("x-opgate-user");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Headers that end at this hop (RFC 9110 §7.6.1), and those that only mean something to it.
const HOP_BY_HOP: [&str; 11] = [
    "connection",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "proxy-status",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// What says how a body is read. Spelt with `_` it was not looked at, and some servers take it for the same.
const OF_BODY: [&str; 3] = ["content-encoding", "content-length", "content-type"];

/// Credentials of the agent, which are for this gate alone.
const CREDENTIALS: [&str; 11] = [
    "authorization",
    "client-cert",
    "client-cert-chain",
    "dpop",
    "dpop-nonce",
    "txn-token",
    "workload-identity-token",
    "workload-proof-token",
    "x-agent-operation-token",
    "x-workload-identity",
    "x-workload-proof",
];

/// Headers in which servers look for what a proxy has verified: an agent could write them itself.
const SPOOFABLE: [&str; 8] = [
    "forwarded",
    "remote-user",
    "x-client-cert",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-real-ip",
    "x-remote-user",
    "true-client-ip",
];

/// The same, by the beginning of the name.
const SPOOFABLE_PREFIXES: [&str; 7] = [
    "x-amzn-oidc-",
    "x-auth-",
    "x-authenticated-",
    "x-forwarded-",
    "x-opgate-",
    "x-ssl-client-",
    "x-user-",
];

/// Removes from a request what the upstream must not see.
pub fn clean_request(headers: &mut HeaderMap, resource: &Resource, gate: &Gate) {
    let certificate = gate.client_certificate_header.as_ref().map(|from| &from.header);
    let nominated = nominated(headers);
    let mut unwanted: Vec<HeaderName> = Vec::new();
    for name in headers.keys() {
        let is_own = *name == resource.token_header || Some(name) == certificate;
        if is_own || is_unwanted(name, resource) || nominated.contains(name) {
            unwanted.push(name.clone());
        }
    }
    for name in unwanted {
        headers.remove(name);
    }
}

/// What headers of one resource may not be called beside what none may, and so its trailers may not
/// either: servers may merge the two (RFC 9110 §6.5.1). Names as servers that cannot tell `_` from `-`
/// read them.
#[derive(Clone, Debug)]
pub struct Unwanted(Arc<[Box<str>]>);

impl Unwanted {
    /// The header of the token, of the certificate that a hop in front vouches for, and of the tool's own
    /// `credential`; and what the operator strips.
    pub fn of(resource: &Resource, gate: &Gate, credential: Option<&HeaderName>) -> Self {
        let from = gate.client_certificate_header.as_ref().map(|from| &from.header);
        let own = [Some(&resource.token_header), from, credential].into_iter().flatten();
        Self(own.chain(&resource.strip).map(|name| dashed(name).into()).collect())
    }

    fn holds(&self, name: &str) -> bool {
        self.0.iter().any(|unwanted| **unwanted == *name)
    }
}

/// Removes from the trailers of a request what could be taken for a header that was judged.
pub fn clean_trailers(trailers: &mut HeaderMap, further: &Unwanted) {
    let is_unwanted = |name: &str| is_unwanted_anywhere(name) || further.holds(name);
    let unwanted: Vec<_> =
        trailers.keys().filter(|name| is_unwanted(&dashed(name))).cloned().collect();
    for name in unwanted {
        trailers.remove(name);
    }
    for name in [header::COOKIE, header::HOST, header::CONTENT_LENGTH, header::CONTENT_TYPE] {
        trailers.remove(name);
    }
}

/// Removes every header that some server takes for `name`: an agent could set the tool's credential
/// beside the one that the gate sets.
pub fn remove_alike(headers: &mut HeaderMap, name: &HeaderName) {
    let wanted = dashed(name);
    let alike: Vec<_> = headers.keys().filter(|found| dashed(found) == wanted).cloned().collect();
    for name in alike {
        headers.remove(name);
    }
}

/// Removes from a response what ends here or would lead an agent past the gate.
pub fn clean_response(headers: &mut HeaderMap) {
    let nominated = nominated(headers);
    let unwanted: Vec<_> = headers
        .keys()
        .filter(|name| is_unwanted_back(name.as_str()) || nominated.contains(name))
        .cloned()
        .collect();
    for name in unwanted {
        headers.remove(name);
    }
}

/// An upstream's challenge would send the agent to another authorization server, `Alt-Svc` to another
/// address; nonces are the gate's own; who a decision is by, only the gate says.
fn is_unwanted_back(name: &str) -> bool {
    match name {
        "cache-control" | "content-length" | "content-type" | "date" | "etag" | "server" => false,
        "alt-svc" | "dpop-nonce" | "opgate-audit-id" | "www-authenticate" => true,
        _ => HOP_BY_HOP.contains(&name) || name.starts_with("x-opgate-"),
    }
}

/// What `Connection` names besides the headers that decide, which were refused before.
fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        .collect()
}

fn is_unwanted(name: &HeaderName, resource: &Resource) -> bool {
    match name.as_str() {
        "accept" | "accept-encoding" | "content-length" | "content-type" | "user-agent" => false,
        "cookie" => !resource.cookies,
        "host" => true,
        text => {
            let dashed = dashed(name);
            is_unwanted_anywhere(&dashed)
                || matches!(dashed, Cow::Owned(ref spelt) if is_of_message(spelt))
                || resource.strip.iter().any(|strip| strip == text || strip.as_str() == dashed)
        }
    }
}

/// What says how a body or the message in it is read. In the spelling that was not looked at it would be
/// taken for the one that was.
fn is_of_message(name: &str) -> bool {
    OF_BODY.contains(&name) || name.starts_with("mcp-") || name.starts_with("a2a-")
}

/// CGI and its descendants cannot tell `_` from `-`.
fn dashed(name: &HeaderName) -> Cow<'_, str> {
    let text = name.as_str();
    if text.contains('_') { text.replace('_', "-").into() } else { text.into() }
}

fn is_unwanted_anywhere(name: &str) -> bool {
    HOP_BY_HOP.contains(&name)
        || CREDENTIALS.contains(&name)
        || SPOOFABLE.contains(&name)
        || is_override(name)
        || SPOOFABLE_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Who called, as far as the connection and trusted hops in front can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The address of the caller; none on a Unix socket.
    pub address: Option<IpAddr>,
    /// Its port, when it connected to the gate itself.
    pub port: Option<u16>,
}

impl Caller {
    /// The caller behind `peer`. Where the peer is a trusted hop, what it says of the hop before it is
    /// believed, from the nearest to the first that is not trusted; never what a stranger says.
    pub fn find(
        peer: Option<std::net::SocketAddr>,
        headers: &HeaderMap,
        trusted: &[IpNet],
    ) -> Self {
        let Some(peer) = peer else { return Self { address: None, port: None } };
        let direct = Self { address: Some(peer.ip().to_canonical()), port: Some(peer.port()) };
        let is_trusted = |address: IpAddr| trusted.iter().any(|net| net.contains(&address));
        if trusted.is_empty() || !is_trusted(peer.ip().to_canonical()) {
            return direct;
        }
        let mut nearest = direct;
        let hops: Vec<_> =
            headers.get_all(X_FORWARDED_FOR).iter().filter_map(|line| line.to_str().ok()).collect();
        for hop in hops.iter().rev().flat_map(|line| line.rsplit(',')) {
            let Some(address) = parse_hop(hop.trim()) else { break };
            nearest = Self { address: Some(address), port: None };
            if !is_trusted(address) {
                break;
            }
        }
        nearest
    }
}

fn parse_hop(text: &str) -> Option<IpAddr> {
    let address = text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    address.or_else(with_port).map(|address| address.to_canonical())
}

/// The certificate of the caller: that of the connection, or where the peer is a proxy that is believed,
/// what it passes on. Such a peer's own certificate is its own, never the caller's.
pub fn client_certificate(
    peer: &Peer,
    headers: &HeaderMap,
    passed_on: Option<&CertificateHeader>,
) -> Option<Arc<Certificate>> {
    let address = peer.address.map(|address| address.ip().to_canonical());
    let is_believed = |from: &&CertificateHeader| {
        address.is_some_and(|address| from.peers.iter().any(|net| net.contains(&address)))
    };
    let Some(from) = passed_on.filter(is_believed) else { return peer.certificate.clone() };
    let mut lines = headers.get_all(&from.header).iter();
    // Of two certificates, or one that cannot be read, nobody knows whose key was proven.
    let (line, None) = (lines.next()?, lines.next()) else { return None };
    let der = certificate::forwarded(line.to_str().ok()?)?;
    Some(Arc::new(certificate::read(&der, from.verified)))
}

/// Tells the upstream by which way the request came.
pub fn tell_way(headers: &mut HeaderMap, gate: &Gate, caller: Caller, authority: &str) {
    let proto = if gate.origin.secure { "https" } else { "http" };
    let mut address = String::with_capacity(48);
    if let Some(caller) = caller.address {
        push_address(&mut address, caller);
    }
    if matches!(gate.forwarded, Forwarded::Both | Forwarded::Legacy) {
        if caller.address.is_some() {
            insert(headers, X_FORWARDED_FOR, &address);
        }
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(proto));
        insert(headers, X_FORWARDED_HOST, authority);
    }
    if matches!(gate.forwarded, Forwarded::Both | Forwarded::Standard) {
        let (before, node, after) = match caller.address {
            Some(IpAddr::V4(_)) => ("for=", &*address, ""),
            Some(IpAddr::V6(_)) => ("for=\"[", &*address, "]\""),
            None => ("for=", "unknown", ""),
        };
        let text = [before, node, after, ";host=\"", authority, "\";proto=", proto].concat();
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(header::FORWARDED, value);
        }
    }
}

fn push_address(text: &mut String, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => {
            for (n, octet) in v4.octets().into_iter().enumerate() {
                if n > 0 {
                    text.push('.');
                }
                text.push_str(itoa::Buffer::new().format(octet));
            }
        }
        // Writing to a string does not fail.
        IpAddr::V6(v6) => write!(text, "{v6}").unwrap_or_default(),
    }
}

/// Tells the upstream who was verified. Values are percent-encoded where they are not plain text.
pub fn tell_identity(headers: &mut HeaderMap, parties: Option<Parties<'_>>) {
    let Some(parties) = parties else { return };
    let user = parties.user.map(|user| user.id);
    for (name, value) in [(AGENT, parties.agent), (CLIENT, parties.client), (USER, user)] {
        if let Some(value) = value {
            let value = percent_encoding::utf8_percent_encode(value, percent_encoding::CONTROLS);
            insert(headers, name, &value.to_string());
        }
    }
}

/// Sets a header. A value that cannot stand in one is left out: the upstream is told nothing rather than half.
pub fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_cannot_say_who_it_is_and_a_trusted_hop_can() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        for (peer, line, expected) in [
            ("192.0.2.1:9", "203.0.113.9", "192.0.2.1"),
            ("10.0.0.1:9", "203.0.113.9", "203.0.113.9"),
            ("10.0.0.1:9", "1.1.1.1, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
            ("10.0.0.1:9", "203.0.113.9, nonsense", "10.0.0.1"),
            ("10.0.0.1:9", "nonsense, 10.0.0.7", "10.0.0.7"),
            ("[::1]:9", "[2001:db8::1]:443", "2001:db8::1"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(X_FORWARDED_FOR, line.parse().unwrap());
            let caller = Caller::find(Some(peer.parse().unwrap()), &headers, &trusted);
            assert_eq!(caller.address.unwrap().to_string(), expected, "{peer} {line}");
        }
    }

    #[test]
    fn a_caller_on_a_unix_socket_has_no_address() {
        assert_eq!(
            Caller::find(None, &HeaderMap::new(), &[]),
            Caller { address: None, port: None }
        );
    }
}
