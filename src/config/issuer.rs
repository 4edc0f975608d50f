//! `[[issuer]]`: whose tokens are taken, and how far.

use std::sync::Arc;

use super::liveness::liveness;
use super::problem::nearest;
use super::raw::Section;
use super::reading::{Reading, Seen};
use super::reference::list;
use super::value::{self, Url, Wrong};
use super::{IssuerConfig, KeySource, KeyTerms, policies};
use crate::token::delegation::presenter::MAX_BEARER_LIFETIME;
use crate::token::trust::{Algorithm, Countersigned, Delegations, Issuer, Profile};

/// `None` where one is wrong.
pub(super) fn issuers(tables: &[Section<'_>], into: &mut Reading<'_>) -> Option<Vec<IssuerConfig>> {
    let mut seen = Seen::default();
    let read: Vec<_> = tables.iter().map(|table| issuer(table, &mut seen, into)).collect();
    read.into_iter().collect()
}

fn issuer(section: &Section<'_>, seen: &mut Seen, into: &mut Reading<'_>) -> Option<IssuerConfig> {
    let id = into
        .one(section, "issuer", |text| secured(text, Harm::Keys).map(|()| Box::<str>::from(text)));
    if let Some((text, place)) = section.text("issuer") {
        into.unique(seen, text.to_owned(), &place, "this issuer");
    }
    let profile = match section.text_or_default("profile").0 {
        "open-agent-auth" => Profile::OpenAgentAuth,
        _ => Profile::OAuth,
    };
    let algorithms = algorithms(section, "algorithms", profile, into);
    let keys = keys(section, into);
    let binding_service = binding_service(section, into);
    let ca = into.file(section, "ca");
    let fetches = [
        "binding_service",
        "policies",
        "revocation_feed",
        "introspection",
        "status",
        "status_list_hosts",
    ];
    let fetches = fetches.iter().any(|key| section.has(key));
    if ca.is_some() && matches!(keys, KeySource::File(_)) && !fetches {
        let place = section.place_of("ca");
        let hint = "leave it out, or let the keys be fetched";
        into.problems.warn(&place, "does nothing beside `jwks_file`: nothing is fetched", hint);
    }
    check_workloads(section, profile, into);
    let (trusted_liveness, liveness) = liveness(section, id.as_deref(), into);
    let (trusted_policies, policies) = policies::of_issuer(section, id.as_deref(), profile, into);
    let types = section.texts("allow_typ");
    let allows = |typ: &str| types.iter().any(|(text, _)| *text == typ);
    let by_profile = profile == Profile::OpenAgentAuth && !section.has("allow_typ");
    let delegation = section
        .has("delegation")
        .then(|| delegations(section, profile, &section.table("delegation"), into));
    let trust = Issuer {
        id: id?,
        algorithms,
        allow_typ_jwt: allows("JWT") || by_profile,
        allow_typ_absent: allows(""),
        leeway: section.duration("leeway"),
        max_lifetime: section.duration("max_lifetime"),
        iso8601_dates: section.switch("iso8601_dates"),
        rfc9068_strict: section.switch("rfc9068_strict"),
        scope_array: section.switch("scope_array"),
        profile,
        require_agent_identity: section.switch("require_agent_identity"),
        agent_identity_issuers: texts(section, "agent_identity_issuers"),
        has_binding_service: binding_service.is_some(),
        agents: texts(section, "agents"),
        liveness: trusted_liveness,
        policies: trusted_policies,
        kept_claims: Vec::new(),
        delegation,
    };
    let refresh = section.duration("refresh");
    let trust = Arc::new(trust);
    let key_terms = KeyTerms::OWN;
    Some(IssuerConfig { trust, keys, key_terms, refresh, binding_service, ca, liveness, policies })
}

fn texts(section: &Section<'_>, key: &str) -> Vec<Box<str>> {
    section.texts(key).into_iter().map(|(text, _)| text.into()).collect()
}

/// The address of the one question that is asked of the service.
fn binding_service(section: &Section<'_>, into: &mut Reading<'_>) -> Option<http::Uri> {
    into.one(section, "binding_service", |text| {
        secured(text, Harm::Answers)?;
        let base = text.strip_suffix('/').unwrap_or(text);
        uri(&format!("{base}/api/v1/bindings/get"))
    })
}

fn uri(text: &str) -> Result<http::Uri, Wrong> {
    text.parse().map_err(|_unhelpful: http::uri::InvalidUri| {
        Wrong::new(format!("`{}` is not a URL", value::shown(text)))
    })
}

/// In the profile a token is good only with a workload that belongs to it, so something must say which.
fn check_workloads(section: &Section<'_>, profile: Profile, into: &mut Reading<'_>) {
    let (service, agents) = (section.has("binding_service"), section.has("agents"));
    let hint = "name a `binding_service`, or list the workloads in `agents`";
    match (profile, service, agents) {
        (Profile::OpenAgentAuth, false, false) => {
            let message = "nothing says which workloads may present this issuer's tokens";
            into.problems.hint(&section.place_of("profile"), message, hint);
        }
        (Profile::OpenAgentAuth, true, true) => {
            let message = "does nothing beside `binding_service`";
            into.problems.hint(&section.place_of("agents"), message, "keep one of the two");
        }
        (Profile::OAuth, true, _) | (Profile::OAuth, _, true) => {
            let key = if service { "binding_service" } else { "agents" };
            let message = "does nothing without `profile = \"open-agent-auth\"`";
            into.problems.add(&section.place_of(key), message);
        }
        (Profile::OpenAgentAuth, ..) | (Profile::OAuth, false, false) => {}
    }
}

/// What is demanded of chains. A chain of which a hop was revoked must die, so an issuer whose tokens
/// outlive the notice of a revocation by hours cannot have chains (`delegation.md` D18).
fn delegations(
    issuer: &Section<'_>,
    profile: Profile,
    section: &Section<'_>,
    into: &mut Reading<'_>,
) -> Delegations {
    let is_told = issuer.has("introspection")
        || issuer.has("revocation_feed")
        || issuer.text_or_default("status").0 == "required";
    if !is_told && issuer.duration("max_lifetime") > MAX_BEARER_LIFETIME {
        into.problems.hint(
            section.place(),
            "accepts delegated tokens that live longer than 15 minutes and cannot be revoked by it",
            "set `introspection`, `revocation_feed`, `status` to `required`, or `max_lifetime` to `15m` or less",
        );
    }
    let structural = section.text_or_default("aoa_chain").0 == "structural";
    if structural && profile != Profile::OpenAgentAuth {
        into.problems.hint(
            &section.place_of("aoa_chain"),
            "`structural` is for issuers whose `profile` is `open-agent-auth`",
            "leave it out: only that profile has records whose signature means nothing",
        );
    }
    Delegations {
        max_depth: section.small("max_depth"),
        max_age: section.duration("max_age"),
        id_schemes: id_schemes(section, into),
        preserves_foreign: section.switch("preserves_foreign_chains"),
        countersigned: match section.text_or_default("delegator_signature").0 {
            "ignore" => Countersigned::Ignored,
            "require" => Countersigned::Required,
            _ => Countersigned::Verified,
        },
        newest_policy_alone: section.text_or_default("delegated_policy_mode").0 == "newest",
        asks_for_root: asks_for_root(issuer, section, into),
        structural,
    }
}

/// The schemes that ids of agents may have, in the case in which they are compared.
fn id_schemes(section: &Section<'_>, into: &mut Reading<'_>) -> Vec<Box<str>> {
    if !section.has("agent_id_schemes") {
        return ["wit", "spiffe", "wimse"].map(Into::into).to_vec();
    }
    into.refuse_none(
        section,
        "agent_id_schemes",
        "allows no scheme, so that no chain is ever valid",
        "leave it out to allow `wit`, `spiffe` and `wimse`",
    );
    let schemes = into.many(section, "agent_id_schemes", scheme);
    schemes.into_iter().map(|(scheme, _)| scheme).collect()
}

/// RFC 3986 §3.1, in lower case, without what follows it in a URI.
fn scheme(text: &str) -> Result<Box<str>, Wrong> {
    let is_fit =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.');
    if text.starts_with(|c: char| c.is_ascii_lowercase()) && text.bytes().all(is_fit) {
        return Ok(text.into());
    }
    let message = format!("`{}` is not a URI scheme", value::shown(text));
    let bare = text.split(':').next().unwrap_or_default().to_ascii_lowercase();
    Err(match scheme(&bare) {
        Ok(near) if *near != *text => Wrong::with(message, format!("did you mean `{near}`?")),
        _ => Wrong::with(message, "write it as in `wit` or `spiffe`, in lower case, without `://`"),
    })
}

/// D15: a token with a chain can be asked about at its issuer, if that can be asked.
fn asks_for_root(issuer: &Section<'_>, section: &Section<'_>, into: &mut Reading<'_>) -> bool {
    let is_asked = section.text_or_default("root_anchor").0 == "introspect";
    if is_asked && !issuer.has("introspection") {
        into.problems.hint(
            &section.place_of("root_anchor"),
            "there is nobody to ask",
            "set `[issuer.introspection]`, or leave it out",
        );
    }
    is_asked
}

/// The algorithms that `key` allows; those of the profile where it is not set.
pub(super) fn algorithms(
    section: &Section<'_>,
    key: &str,
    profile: Profile,
    into: &mut Reading<'_>,
) -> Vec<Algorithm> {
    if !section.has(key) {
        return match profile {
            Profile::OAuth => Algorithm::ALL.to_vec(),
            Profile::OpenAgentAuth => vec![Algorithm::Rs256],
        };
    }
    into.refuse_none(
        section,
        key,
        "allows no algorithm, so that nothing is ever valid",
        "leave it out to allow every supported one",
    );
    let mut algorithms: Vec<_> =
        into.many(section, key, algorithm).into_iter().map(|(one, _)| one).collect();
    algorithms.sort_unstable();
    algorithms.dedup();
    algorithms
}

fn algorithm(text: &str) -> Result<Algorithm, Wrong> {
    Algorithm::named(text).ok_or_else(|| {
        let names = Algorithm::ALL.map(Algorithm::name);
        let shown = value::shown(text);
        if text == "none" {
            return Wrong::new("`none` is no signature, and is never accepted");
        }
        if text.starts_with("HS") {
            let message = format!("`{shown}` is symmetric: who can verify with it can also forge");
            return Wrong::with(message, format!("use one of {}", list(&names)));
        }
        let hint = match nearest(text, names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("use one of {}", list(&names)),
        };
        Wrong::with(format!("`{shown}` is not a supported algorithm"), hint)
    })
}

pub(super) fn keys(section: &Section<'_>, into: &mut Reading<'_>) -> KeySource {
    source(section, ["jwks_file", "jwks_uri"], "keys come", into).unwrap_or(KeySource::Discovery)
}

/// The file or the URL that one of two keys names; `None` where neither does. `come` says what of it.
pub(super) fn source(
    section: &Section<'_>,
    [of_file, of_uri]: [&str; 2],
    come: &str,
    into: &mut Reading<'_>,
) -> Option<KeySource> {
    let file = into.file(section, of_file);
    let url = into.one(section, of_uri, |text| {
        secured(text, Harm::Keys)?;
        uri(text)
    });
    if section.has(of_file) && section.has(of_uri) {
        let message = format!("{come} from `{of_file}` or from `{of_uri}`, not from both");
        into.problems.add(&section.place_of(of_uri), message);
    }
    file.map(KeySource::File).or_else(|| url.map(KeySource::Url))
}

/// What somebody on the way to a URL could do if it were not `https`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Harm {
    /// Change what it says of tokens.
    Answers,
    /// Put in keys.
    Keys,
}

/// A URL on which trust rests: nobody on the way may change what it answers.
pub(super) fn secured(text: &str, harm: Harm) -> Result<(), Wrong> {
    let url = Url::parse(text)?;
    if url.secure || url.is_loopback() {
        return Ok(());
    }
    let harm = match harm {
        Harm::Answers => "change the answers",
        Harm::Keys => "put in keys",
    };
    Err(Wrong::with(
        format!("`{}` is not `https`: whoever is on the way could {harm}", value::shown(text)),
        "use `https`; `http` is for loopback hosts only",
    ))
}
