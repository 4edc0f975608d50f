//! `[[workload_issuer]]`: whose word on workloads is taken (WIMSE).

use std::collections::HashMap;

use super::raw::Section;
use super::reading::{Reading, Seen};
use super::signers::Keyed;
use super::value::{self, Wrong};
use super::{KeyTerms, WorkloadIssuer};
use crate::token::claims::MAX_AGENT;
use crate::token::trust::Issuer;
use crate::token::workload::authority;

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
    let keyed = Keyed::read(section, "a trust domain", into);
    let trust = Issuer { leeway: section.duration("leeway"), ..Issuer::named(&id?) };
    let issuer = keyed.of(trust, KeyTerms::OWN);
    let trust_domain = trust_domain?;
    let agents = agents(section, &trust_domain, into);
    Some(WorkloadIssuer { issuer, trust_domain, agents })
}

/// Which agents the workloads of the domain are. A name that no workload here can have does nothing.
fn agents(
    section: &Section<'_>,
    trust_domain: &str,
    into: &mut Reading<'_>,
) -> HashMap<Box<str>, Box<str>> {
    let mut agents = HashMap::new();
    let Some(serde_json::Value::Object(given)) = section.json("agents") else { return agents };
    let place = section.place_of("agents");
    for (workload, agent) in given {
        let shown = value::shown(&workload);
        if authority(&workload) != Some(trust_domain) {
            let message = format!("`{shown}` is not a workload of `{trust_domain}`");
            let hint = format!("write `spiffe://{trust_domain}/…` or `wimse://{trust_domain}/…`");
            into.problems.hint(&place, message, hint);
        }
        let id =
            agent.as_str().filter(|id| (1..=MAX_AGENT).contains(&id.len()) && id.contains(':'));
        if let Some(agent) = id {
            agents.insert(workload.into(), agent.into());
        } else {
            let message = format!("`{shown}` is not given the id of an agent, which is a URI");
            into.problems.add(&place, message);
        }
    }
    agents
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
pub(super) fn domain(text: &str) -> Result<&str, Wrong> {
    let is_fit = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._:".contains(c);
    if !text.is_empty() && text.len() <= 255 && text.chars().all(is_fit) {
        return Ok(text);
    }
    Err(Wrong::with(
        format!("`{}` is not a trust domain", value::shown(text)),
        "lower-case letters, digits, `-`, `.`, `_`, and a port if it has one",
    ))
}
