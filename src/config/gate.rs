//! `[gate]`, `[limits]` and `[admin]`: what listens, and how much it takes on.

use std::net::{IpAddr, SocketAddr};

use super::raw::Section;
use super::reading::Reading;
use super::value::{self, Wrong};
use super::{Admin, CertificateHeader, ClientCertificate, Endpoint, Forwarded, Gate, Limits, Tls};

pub(super) fn gate(file: &Section<'_>, into: &mut Reading<'_>) -> Option<Gate> {
    let section = file.table("gate");
    let base = into.base();
    let listeners = into.many(&section, "listen", |text| value::endpoint(text, base));
    for (n, (endpoint, place)) in listeners.iter().enumerate() {
        if listeners.iter().take(n).any(|(earlier, _)| collide(earlier, endpoint)) {
            into.problems.add(place, "an earlier listener has this endpoint");
        }
        if !section.has("tls") && leaves_the_machine(endpoint) {
            into.problems.warn(
                place,
                "listens without TLS on an address that others can reach",
                "set `gate.tls`, or make sure that only a proxy that ends TLS gets here",
            );
        }
    }
    let origin = into.one(&section, "origin", value::origin);
    let hosts = into.many(&section, "hosts", value::authority);
    let trusted_hops = into.many(&section, "trusted_hops", network);
    let tls = if section.has("tls") { tls(&section.table("tls"), into) } else { None };
    let certificate_header = section
        .has("client_certificate_header")
        .then(|| certificate_header(&section.table("client_certificate_header"), into))
        .flatten();
    Some(Gate {
        listen: listeners.into_iter().map(|(endpoint, _)| endpoint).collect(),
        origin: origin?,
        hosts: hosts.into_iter().map(|(host, _)| host).collect(),
        tls,
        trusted_hops: trusted_hops.into_iter().map(|(network, _)| network).collect(),
        client_certificate_header: certificate_header,
        forwarded: match section.text_or_default("forwarded").0 {
            "none" => Forwarded::None,
            "standard" => Forwarded::Standard,
            "legacy" => Forwarded::Legacy,
            _ => Forwarded::Both,
        },
        drain: section.duration("drain"),
        threads: section.number_if_set("threads").and_then(|n| usize::try_from(n).ok()),
    })
}

fn certificate_header(section: &Section<'_>, into: &mut Reading<'_>) -> Option<CertificateHeader> {
    let (name, place) = section.text_or_default("header");
    let header = into.take(&place, value::header(name));
    let peers = into.many(section, "peers", network);
    if section.is_empty_array("peers") {
        let message = "believes nobody, so that no certificate is ever passed on";
        into.problems.add(&section.place_of("peers"), message);
    }
    Some(CertificateHeader {
        header: header?,
        peers: peers.into_iter().map(|(network, _)| network).collect(),
        verified: section.switch("verified"),
    })
}

fn tls(section: &Section<'_>, into: &mut Reading<'_>) -> Option<Tls> {
    let certificate = into.file(section, "certificate");
    let key = into.private_file(section, "key");
    let roots = into.file(section, "client_ca");
    let (mode, place) = section.text_or_default("client_certificate");
    let client = match (mode, roots) {
        ("verify", Some(roots)) => ClientCertificate::Verify(roots),
        ("require", Some(roots)) => ClientCertificate::Require(roots),
        ("verify" | "require", None) => {
            if !section.has("client_ca") {
                let message = format!("`{mode}` needs `client_ca`: the roots to verify against");
                into.problems.add(&place, message);
            }
            return None;
        }
        (_, Some(_)) => {
            into.problems.hint(
                &section.place_of("client_ca"),
                format!("does nothing while `client_certificate` is `{mode}`"),
                "set `client_certificate` to `verify` or `require`, or leave this out",
            );
            return None;
        }
        ("request", None) => ClientCertificate::Request,
        (_, None) => ClientCertificate::None,
    };
    Some(Tls { certificate: certificate?, key: key?, client })
}

pub(super) fn limits(section: &Section<'_>) -> Limits {
    let count = |name| u32::try_from(section.number(name)).unwrap_or(u32::MAX);
    Limits {
        connections: section.small("connections"),
        connections_per_source: section.small("connections_per_source"),
        streams: count("streams"),
        header_bytes: section.small("header_bytes"),
        header_count: section.small("header_count"),
        header_timeout: section.duration("header_timeout"),
        handshake_timeout: section.duration("handshake_timeout"),
        keep_alive: section.duration("keep_alive"),
        body_timeout: section.duration("body_timeout"),
        judged_bodies: section.number("judged_bodies"),
        body_idle: section.duration("body_idle"),
        token_cache: section.small("token_cache"),
        proofs: section.small("proofs"),
        charges: section.small("charges"),
        evidence: section.small("evidence"),
        evidence_memory: section.duration("evidence_memory"),
        refusals_per_source: count("refusals_per_source"),
    }
}

pub(super) fn admin(
    file: &Section<'_>,
    gate: &[Endpoint],
    into: &mut Reading<'_>,
) -> Option<Admin> {
    let section = file.table("admin");
    let base = into.base();
    let listen = into.one(&section, "listen", |text| value::endpoint(text, base))?;
    let place = section.place_of("listen");
    if gate.iter().any(|endpoint| collide(endpoint, &listen)) {
        into.problems.hint(
            &place,
            "is an endpoint of the gate too",
            "agents must not reach the admin listener: give it a port of its own",
        );
    }
    if leaves_the_machine(&listen) {
        into.problems.warn(
            &place,
            "the admin listener is on an address that others can reach, and asks nobody who they are",
            "listen on `127.0.0.1` or on a Unix socket",
        );
    }
    Some(Admin { listen })
}

/// Whether both cannot be listened on: the same endpoint, or one is every address of the port.
fn collide(one: &Endpoint, other: &Endpoint) -> bool {
    let every = |address: &SocketAddr| address.ip().is_unspecified();
    match (one, other) {
        (Endpoint::Unix(one), Endpoint::Unix(other)) => one == other,
        (Endpoint::Tcp(one), Endpoint::Tcp(other)) => {
            // Port 0 is a port of the machine's choice, another one each time.
            one.port() != 0 && one.port() == other.port() && {
                let same_family = one.is_ipv4() == other.is_ipv4();
                one.ip() == other.ip() || same_family && (every(one) || every(other))
            }
        }
        (Endpoint::Tcp(_), Endpoint::Unix(_)) | (Endpoint::Unix(_), Endpoint::Tcp(_)) => false,
    }
}

fn leaves_the_machine(endpoint: &Endpoint) -> bool {
    matches!(endpoint, Endpoint::Tcp(address) if !address.ip().is_loopback())
}

/// A network, or an address that stands for itself.
fn network(text: &str) -> Result<ipnet::IpNet, Wrong> {
    let address = || text.parse::<IpAddr>().ok().map(ipnet::IpNet::from);
    text.parse().ok().or_else(address).ok_or_else(|| {
        Wrong::with(
            format!("`{}` is not a network", value::shown(text)),
            "write an address and the length of its prefix, as in `10.0.0.0/8`",
        )
    })
}
