//! `[[workload_issuer]]`: whose word on workloads is taken (WIMSE).

use std::sync::Arc;
use std::time::Duration;

use super::raw::Section;
use super::reading::{Reading, Seen};
use super::value::{self, Wrong};
use super::{IssuerConfig, KeySource, LivenessConfig, WorkloadIssuer, issuer};
use crate::token::trust::{Issuer, Profile};

/// `None` where one is wrong.
pub(super) fn issuers(
    tables: &[Section<'_>],
    into: &mut Reading<'_>,
) -> Option<Vec<WorkloadIssuer>> {
    let (mut ids, mut domains) = (Seen::default(), Seen::default());
    let read: Vec<_> =
        tables.iter().map(|table| workload_issuer(table, &mut ids, &mut domains, into)).collect();
    read.into_iter().collect()
}

fn workload_issuer(
    section: &Section<'_>,
    ids: &mut Seen,
    domains: &mut Seen,
    into: &mut Reading<'_>,
) -> Option<WorkloadIssuer> {
    let id = into.one(section, "issuer", |text| authority_of(text).map(|_| Box::<str>::from(text)));
    let derived = section.text("issuer").and_then(|(text, place)| {
        into.unique(ids, text.to_owned(), &place, "this issuer");
        authority_of(text).ok().map(Box::<str>::from)
    });
    let set = into.one(section, "trust_domain", |text| domain(text).map(Box::<str>::from));
    let trust_domain = if section.has("trust_domain") { set } else { derived };
    if let Some(domain) = &trust_domain {
        // A token without `iss` is of the domain of its `sub`, which must therefore be of one issuer.
        let key = if section.has("trust_domain") { "trust_domain" } else { "issuer" };
        into.unique(domains, domain.to_string(), &section.place_of(key), "this trust domain");
    }
    let algorithms = issuer::algorithms(section, "algorithms", Profile::OAuth, into);
    let keys = issuer::keys(section, into);
    if matches!(keys, KeySource::Discovery) && !section.has("jwks_file") && !section.has("jwks_uri")
    {
        let message =
            "needs `jwks_file` or `jwks_uri`: a trust domain has no metadata to find its keys by";
        into.problems.add(section.place(), message);
    }
    let ca = into.file(section, "ca");
    let trust =
        Issuer { id: id?, algorithms, leeway: section.duration("leeway"), ..Issuer::named("") };
    let keys = IssuerConfig {
        trust: Arc::new(trust),
        keys,
        refresh: section.duration("refresh"),
        ca,
        binding_service: None,
        // Identity tokens are short-lived: nothing is asked about them.
        liveness: LivenessConfig {
            status_max_age: Duration::ZERO,
            feed: None,
            introspection: None,
        },
    };
    Some(WorkloadIssuer { issuer: keys, trust_domain: trust_domain? })
}

/// The authority of a URI such as `https://idp.example.com`, `wimse://td` or `spiffe://td`.
fn authority_of(text: &str) -> Result<&str, Wrong> {
    let rest = text
        .split_once("://")
        .filter(|(scheme, _)| matches!(*scheme, "http" | "https" | "spiffe" | "wimse"));
    let authority = rest.and_then(|(_, rest)| rest.split('/').next());
    authority.filter(|authority| domain(authority).is_ok()).ok_or_else(|| {
        Wrong::with(
            format!("`{}` is not the URI of an issuer", value::shown(text)),
            "write `https://…`, `wimse://…` or `spiffe://…`",
        )
    })
}

/// An authority without user information.
fn domain(text: &str) -> Result<&str, Wrong> {
    let is_fit = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._:".contains(c);
    if !text.is_empty() && text.len() <= 255 && text.chars().all(is_fit) {
        return Ok(text);
    }
    Err(Wrong::with(
        format!("`{}` is not a trust domain", value::shown(text)),
        "lower-case letters, digits, `-`, `.`, `_`, and a port if it has one",
    ))
}
