//! Those whose keys are configured and who issue no tokens: what they have in common,
//! `[[agent_directory]]`, where agents' own keys are found (`delegation.md` §6), and `[[prompt_issuer]]`,
//! clients that vouch for what a person typed (`evidence.md` §5).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::raw::Section;
use super::reading::{Reading, Seen};
use super::value::{self, Wrong};
use super::{IssuerConfig, KeySource, KeyTerms, LivenessConfig, PolicySource, issuer, workload};
use crate::token::keys::MAX_AGENT_KEYS;
use crate::token::svid;
use crate::token::trust::{Algorithm, Issuer, Profile};

/// Where somebody's keys are, and what they are trusted for.
pub(super) struct Keyed {
    algorithms: Vec<Algorithm>,
    keys: KeySource,
    refresh: Duration,
    ca: Option<PathBuf>,
}

impl Keyed {
    /// Reads the keys of a table. `whose` has no metadata, so that one of two keys is needed.
    pub(super) fn read(section: &Section<'_>, whose: &str, into: &mut Reading<'_>) -> Self {
        let algorithms = issuer::algorithms(section, "algorithms", Profile::OAuth, into);
        let keys = issuer::keys(section, into);
        if !section.has("jwks_file") && !section.has("jwks_uri") {
            let message = format!(
                "needs `jwks_file` or `jwks_uri`: {whose} has no metadata to find its keys by"
            );
            into.problems.add(section.place(), message);
        }
        let ca = into.file(section, "ca");
        Self { algorithms, keys, refresh: section.duration("refresh"), ca }
    }

    /// The source of these keys.
    pub(super) fn of(self, trust: Issuer, key_terms: KeyTerms) -> IssuerConfig {
        let Self { algorithms, keys, refresh, ca } = self;
        IssuerConfig {
            trust: Arc::new(Issuer { algorithms, ..trust }),
            keys,
            key_terms,
            refresh,
            ca,
            binding_service: None,
            // What they sign is short-lived, or stands in a token: nothing is asked about it.
            liveness: LivenessConfig {
                status_max_age: Duration::ZERO,
                feed: None,
                introspection: None,
            },
            policies: PolicySource::default(),
        }
    }
}

/// `None` where one is wrong.
pub(super) fn agent_directories(
    tables: &[Section<'_>],
    into: &mut Reading<'_>,
) -> Option<Vec<IssuerConfig>> {
    let mut seen = Seen::default();
    let read: Vec<_> = tables.iter().map(|table| directory(table, &mut seen, into)).collect();
    read.into_iter().collect()
}

fn directory(
    section: &Section<'_>,
    seen: &mut Seen,
    into: &mut Reading<'_>,
) -> Option<IssuerConfig> {
    let agents = into.one(section, "agents", beginning);
    if let Some((text, place)) = section.text("agents") {
        into.unique(seen, text.to_owned(), &place, "a directory of these agents");
    }
    let keyed = Keyed::read(section, "a directory", into);
    let bundle = bundle(section, agents.as_deref(), into);
    Some(keyed.of(Issuer::named(&agents?), KeyTerms { most: MAX_AGENT_KEYS, bundle }))
}

/// Where the authorities of a trust domain are found; `None` where a directory speaks for itself.
fn bundle(
    section: &Section<'_>,
    agents: Option<&str>,
    into: &mut Reading<'_>,
) -> Option<KeySource> {
    let source = issuer::source(section, ["bundle_file", "bundle_uri"], "authorities come", into)?;
    let domain = agents.and_then(|agents| agents.split_once("://"));
    if domain.is_some_and(|(scheme, name)| scheme != "spiffe" || !svid::is_trust_domain(name)) {
        let place =
            section.place_of(if section.has("bundle_file") { "bundle_file" } else { "bundle_uri" });
        into.problems.hint(
            &place,
            "authorities name the agents of a SPIFFE trust domain, and `agents` is none",
            "leave it out, or let `agents` be as in `spiffe://td.example.com`",
        );
    }
    Some(source)
}

/// `None` where one is wrong.
pub(super) fn prompt_issuers(
    tables: &[Section<'_>],
    into: &mut Reading<'_>,
) -> Option<Vec<IssuerConfig>> {
    let mut seen = Seen::default();
    let mut read = Vec::with_capacity(tables.len());
    for section in tables {
        let id = into.one(section, "issuer", |text| {
            issuer::secured(text, issuer::Harm::Keys).map(|()| Box::<str>::from(text))
        });
        if let Some((text, place)) = section.text("issuer") {
            into.unique(&mut seen, text.to_owned(), &place, "this issuer");
        }
        let keyed = Keyed::read(section, "a client", into);
        read.push(id.map(|id| keyed.of(Issuer::named(&id), KeyTerms::OWN)));
    }
    read.into_iter().collect()
}

/// Scheme and authority of agents' ids, as in `wit://agents.example.com`.
fn beginning(text: &str) -> Result<Box<str>, Wrong> {
    let is_scheme = |scheme: &str| {
        let mut characters = scheme.chars();
        characters.next().is_some_and(|first| first.is_ascii_lowercase())
            && characters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c))
    };
    match text.split_once("://") {
        Some((scheme, authority)) if is_scheme(scheme) && workload::domain(authority).is_ok() => {
            Ok(text.into())
        }
        _ => Err(Wrong::with(
            format!("`{}` is not scheme and authority of agents' ids", value::shown(text)),
            "write what their ids begin with, as in `wit://agents.example.com`",
        )),
    }
}

/// A demand that nobody can meet would refuse every chain; keys that nobody looks at do nothing.
pub(super) fn check(issuers: &[Section<'_>], directories: &[Section<'_>], into: &mut Reading<'_>) {
    let chains = issuers.iter().filter(|issuer| issuer.has("delegation"));
    let mut is_looked_at = false;
    for chain in chains.map(|issuer| issuer.table("delegation")) {
        let mode = chain.text_or_default("delegator_signature").0;
        is_looked_at |= mode != "ignore";
        if mode == "require" && directories.is_empty() {
            into.problems.hint(
                &chain.place_of("delegator_signature"),
                "no agent's signature can be verified here, so that every chain is refused",
                "say in an `[[agent_directory]]` where the agents' keys are",
            );
        }
    }
    if let Some(first) = directories.first().filter(|_| !is_looked_at) {
        into.problems.warn(
            first.place(),
            "does nothing: no issuer's `delegation` looks at the signatures of agents",
            "leave it out, or let an issuer have `delegation`",
        );
    }
}
