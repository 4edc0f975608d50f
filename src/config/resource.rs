//! `[[resource]]`: the APIs behind the gate (RFC 9728).

use std::collections::BTreeSet;

use super::problem::Place;
use super::raw::Section;
use super::reading::{Names, Reading, Seen};
use super::reference::list;
use super::value::{self, Url, Wrong};
use super::{
    Authorization, Guidance, IssuerConfig, Mode, Resource, a2a, cap, issuer, mcp, operation,
    policies,
};
use crate::policy::input::Exposed;
use crate::token::confirmation::Demands;
use crate::token::trust::Profile;

/// The default of `body_limit`, and of `judged_body_limit`.
const BODY_LIMIT: u64 = 1 << 20;
/// The same for an MCP server or an agent: messages hold documents and images.
const MESSAGE_LIMIT: u64 = 4 << 20;

/// `None` where one is wrong.
pub(super) fn resources(
    tables: &[Section<'_>],
    issuers: &Names<'_>,
    upstreams: &Names<'_>,
    into: &mut Reading<'_>,
) -> Option<Vec<Resource>> {
    let mut ids = Seen::default();
    let mut places = Seen::default();
    let read: Vec<_> = tables
        .iter()
        .map(|section| {
            let identity = identity(section, &mut ids, &mut places, into);
            let upstream = section
                .text("upstream")
                .and_then(|(name, place)| upstreams.find(name, &place, "`[[upstream]]`", into));
            let accepted = accepted(section, issuers, into);
            let opaque_issuer = opaque_issuer(section, accepted.as_deref(), issuers, into);
            let chain_as = chain_as(section, issuers, into);
            if let Some(accepted) = &accepted {
                authorization_servers(section, accepted, issuers, into);
            }
            let exposed = policies::exposed(section, into);
            let guidance = guidance(&section.table("guidance"), into);
            let local_policies = policies::local(section, into);
            let resource = resource(section, identity, upstream, accepted.zip(chain_as), into)?;
            Some(Resource { opaque_issuer, guidance, exposed, local_policies, ..resource })
        })
        .collect();
    read.into_iter().collect()
}

/// What a resource is called, and where it is.
struct Identity {
    id: Box<str>,
    authority: Box<str>,
    mount: Box<str>,
}

fn resource(
    section: &Section<'_>,
    identity: Option<Identity>,
    upstream: Option<usize>,
    trusted: Option<(Vec<usize>, Vec<usize>)>,
    into: &mut Reading<'_>,
) -> Option<Resource> {
    let scopes = into.many(section, "scopes", value::scope);
    let strip = into.many(section, "strip", value::header);
    let proofs = proofs(section, into);
    let dpop_algorithms = issuer::algorithms(section, "dpop_algorithms", Profile::OAuth, into);
    let (token_header, place) = section.text_or_default("token_header");
    let token_header = into.take(&place, value::header(token_header));
    let documentation = into.one(section, "documentation", link);
    let authentication = operation::authentication(section, None, into);
    let confirmation = operation::confirmation(section, None, into);
    let rules = operation::rules(section, &authentication, &confirmation, into);
    a2a::check_keys(section, into);
    let mcp = mcp::server(section, &authentication, &confirmation, into);
    let a2a = a2a::agent(section, into);
    let caps = cap::caps(section, &rules.operations, into);
    let [body_limit, judged_body_limit] = body_limits(section);
    let Identity { id, authority, mount } = identity?;
    let (issuers, chain_authorities) = trusted?;
    Some(Resource {
        id,
        name: section.text("name").map(|(text, _)| text.into()),
        mount,
        authority,
        upstream: upstream?,
        issuers,
        chain_authorities,
        require_chain: section.switch("require_chain"),
        allow_bearer_delegation: section.switch("allow_bearer_delegation"),
        opaque_issuer: None,
        introspected: section.text_or_default("introspection").0 == "always",
        mode: mode(section),
        authorization: authorization(section),
        scopes: scopes.into_iter().map(|(scope, _)| scope).collect(),
        authentication,
        confirmation,
        mcp,
        a2a,
        proofs,
        dpop_algorithms,
        dpop_nonce: section.text_or_default("dpop_nonce").0 == "require",
        token_header: token_header?,
        body_limit,
        judged_body_limit,
        websocket: section.switch("websocket"),
        end_stream_at_expiry: section.switch("end_stream_at_expiry"),
        strict_override: section.switch("strict_override"),
        path_parameters: section.switch("path_parameters"),
        cookies: section.switch("cookies"),
        strip: strip.into_iter().map(|(name, _)| name).collect(),
        identity_headers: section.switch("identity_headers"),
        insufficient_authorization_status: insufficient_authorization(section),
        guidance: Guidance::default(),
        exposed: Exposed::default(),
        local_policies: Vec::new(),
        documentation,
        openapi: rules.document,
        operations: rules.operations,
        deny: rules.deny,
        confirm: rules.confirm,
        caps,
    })
}

fn mode(section: &Section<'_>) -> Mode {
    match section.text_or_default("mode").0 {
        "observe" => Mode::Observe,
        _ => Mode::Enforce,
    }
}

fn authorization(section: &Section<'_>) -> Authorization {
    match section.text_or_default("authorization").0 {
        "scope" => Authorization::Scope,
        _ => Authorization::Policy,
    }
}

/// `body_limit` and `judged_body_limit`.
fn body_limits(section: &Section<'_>) -> [u64; 2] {
    let default = if a2a::is_spoken(section) { MESSAGE_LIMIT } else { BODY_LIMIT };
    ["body_limit", "judged_body_limit"].map(|key| section.number_if_set(key).unwrap_or(default))
}

/// The status of a valid token that does not cover the operation.
fn insufficient_authorization(section: &Section<'_>) -> http::StatusCode {
    match section.number("insufficient_authorization_status") {
        401 => http::StatusCode::UNAUTHORIZED,
        _ => http::StatusCode::FORBIDDEN,
    }
}

/// What is demanded and can never be shown would refuse every call.
fn proofs(section: &Section<'_>, into: &mut Reading<'_>) -> Demands {
    let mut demands = Demands::default();
    for (proof, place) in section.texts("proofs") {
        match proof {
            "dpop" => demands.dpop = true,
            "mtls" => {
                demands.certificate = true;
                if !into.showable.certificate {
                    into.problems.hint(
                        &place,
                        "no caller can ever show a certificate here",
                        "set `gate.tls.client_certificate` or `gate.client_certificate_header`",
                    );
                }
            }
            _ => {
                demands.workload = true;
                if !into.showable.workload {
                    let hint = "name a trust domain in `[[workload_issuer]]`";
                    into.problems.hint(&place, "no workload is known here", hint);
                }
            }
        }
    }
    demands
}

fn identity(
    section: &Section<'_>,
    ids: &mut Seen,
    places: &mut Seen,
    into: &mut Reading<'_>,
) -> Option<Identity> {
    let set = section.text("mount");
    let (text, place) = section.text("id")?;
    into.unique(ids, text.to_owned(), &place, "a resource with this identifier");
    let url = into.take(&place, identifier(text));
    let (mount, mount_place) = match (set, &url) {
        (Some((mount, place)), _) => (into.take(&place, mount_of(mount)), place),
        (None, Some(url)) => {
            let mount = mount_of(url.path).map_err(|wrong| {
                Wrong::with(wrong.message, "set `mount` to the path it is served below")
            });
            (into.take(&place, mount), place)
        }
        (None, None) => return None,
    };
    let (url, mount) = (url?, mount?);
    let authority = url.authority();
    let key = format!("{authority}{mount}");
    let what = format!("a resource at `{}`", value::shown(&key));
    into.unique(places, key, &mount_place, &what);
    Some(Identity { id: text.into(), authority, mount })
}

/// RFC 9728 §1.2 and §3: a URL without query and fragment; with a slash at its end it would be another
/// identifier for the same thing.
fn identifier(text: &str) -> Result<Url<'_>, Wrong> {
    let url = Url::parse(text)?;
    if text.contains('*') {
        let message = format!("`{}` has a `*`: an audience is one resource", value::shown(text));
        return Err(Wrong::new(message));
    }
    match text.strip_suffix('/') {
        Some(bare) => Err(Wrong::with(
            format!("`{}` ends with `/`, and audiences are compared exactly", value::shown(text)),
            format!("write `{}`", value::shown(bare)),
        )),
        None => Ok(url),
    }
}

/// A path that every server reads alike: unreserved characters only. `/` is the root, as is none.
fn mount_of(text: &str) -> Result<Box<str>, Wrong> {
    if text == "/" {
        return Ok("".into());
    }
    value::path_below(text)?;
    if text.chars().all(|c| c.is_ascii_alphanumeric() || "-._~/".contains(c)) {
        return Ok(text.into());
    }
    Err(Wrong::new(format!(
        "path `{}` has a character other than letters, digits, `-`, `.`, `_`, `~` and `/`",
        value::shown(text)
    )))
}

/// The indexes of the issuers whose tokens are accepted; `None` where one is not known.
fn accepted(
    section: &Section<'_>,
    issuers: &Names<'_>,
    into: &mut Reading<'_>,
) -> Option<Vec<usize>> {
    let named = section.texts("issuers");
    if named.is_empty() {
        return Some((0..issuers.len()).collect());
    }
    let found: Vec<Option<usize>> =
        named.iter().map(|(name, place)| issuers.find(name, place, "`[[issuer]]`", into)).collect();
    let found: Option<BTreeSet<usize>> = found.into_iter().collect();
    Some(found?.into_iter().collect())
}

/// The issuer that is asked of tokens which name none; it is one of those that are accepted.
fn opaque_issuer(
    section: &Section<'_>,
    accepted: Option<&[usize]>,
    issuers: &Names<'_>,
    into: &mut Reading<'_>,
) -> Option<usize> {
    let (name, place) = section.text("opaque_tokens")?;
    let index = issuers.find(name, &place, "`[[issuer]]`", into)?;
    if accepted.is_some_and(|accepted| !accepted.contains(&index)) {
        into.problems.add(&place, "is not one of the `issuers` of this resource");
    }
    Some(index)
}

/// Whoever is to be asked must have an endpoint to be asked at.
pub(super) fn check_introspection(
    tables: &[Section<'_>],
    resources: &[Resource],
    issuers: &[IssuerConfig],
    into: &mut Reading<'_>,
) {
    for (section, resource) in tables.iter().zip(resources) {
        let opaque = resource.opaque_issuer.map(|index| ("opaque_tokens", index));
        let always = resource.issuers.iter().map(|index| ("introspection", *index));
        let asked = opaque.into_iter().chain(always.filter(|_| resource.introspected));
        for (key, index) in asked {
            let Some(issuer) = issuers.get(index) else { continue };
            if issuer.liveness.introspection.is_none() {
                let id = value::shown(&issuer.trust.id);
                let message = format!("`{id}` has no `[issuer.introspection]` to be asked at");
                into.problems.add(&section.place_of(key), message);
            }
        }
    }
}

/// The further servers whose records may stand in a chain; `None` where one is not known.
fn chain_as(
    section: &Section<'_>,
    issuers: &Names<'_>,
    into: &mut Reading<'_>,
) -> Option<Vec<usize>> {
    let named = section.texts("chain_as");
    let found: Vec<Option<usize>> =
        named.iter().map(|(name, place)| issuers.find(name, place, "`[[issuer]]`", into)).collect();
    found.into_iter().collect()
}

/// R-VER-032: metadata must not send agents to a server whose tokens are refused, nor hide one whose
/// tokens are accepted.
fn authorization_servers(
    section: &Section<'_>,
    accepted: &[usize],
    issuers: &Names<'_>,
    into: &mut Reading<'_>,
) {
    let key = "authorization_servers";
    let accepted: Option<BTreeSet<&str>> = accepted.iter().map(|n| issuers.name(*n)).collect();
    let Some(accepted) = accepted.filter(|_| section.has(key)) else { return };
    let named: BTreeSet<&str> = section.texts(key).into_iter().map(|(text, _)| text).collect();
    let missing: Vec<&str> = accepted.difference(&named).copied().collect();
    let extra: Vec<&str> = named.difference(&accepted).copied().collect();
    let mut differences = Vec::new();
    if !missing.is_empty() {
        differences.push(format!("{} is accepted and not named", list(&missing)));
    }
    if !extra.is_empty() {
        differences.push(format!("{} is named and not accepted", list(&extra)));
    }
    if !differences.is_empty() {
        let place: Place = section.place_of(key);
        let message = format!("differs from the accepted issuers: {}", differences.join("; "));
        into.problems.hint(&place, message, "leave it out: it is derived from `issuers`");
    }
}

/// A URL for people, which may have a query and a fragment.
fn link(text: &str) -> Result<Box<str>, Wrong> {
    let bare = text.split(['?', '#']).next().unwrap_or(text);
    Url::parse(bare).map(|_| text.into())
}

fn guidance(section: &Section<'_>, into: &mut Reading<'_>) -> Guidance {
    if section.switch("legacy_rego_profile") && !section.has("profile_uri") {
        let message = "a `rego_profile` always has a `profile_uri`";
        into.problems.hint(
            &section.place_of("legacy_rego_profile"),
            message,
            "write one beside it",
        );
    }
    Guidance {
        enabled: section.switch("enabled"),
        profile_uri: into.one(section, "profile_uri", link),
        constraints: section.json("constraints"),
        legacy_rego_profile: section.switch("legacy_rego_profile"),
        required_claims: section
            .texts("required_claims")
            .into_iter()
            .map(|(text, _)| text.into())
            .collect(),
    }
}
