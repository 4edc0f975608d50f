//! The decision as the specifications say it, slowly and plainly: `tokens.md` §2, §3, §5 to §9,
//! `verification.md` steps 3 to 26, `policy.md` §3 for plain lists.
//!
//! Where the texts are silent and the program is stricter, the book follows the program and says so
//! with the word *stricter*.

use serde_json::{Map, Value};

use super::chain::{Chain, Signers};
use super::request::{Scheme, find_operation, find_resource, find_token, glob};
use super::setting::{ISSUERS, Issuer, Key, Operation, Resource};
use super::{chain, json, members, proof};

/// What a caller is told: status and `error`.
pub(super) type Told = (u16, &'static str);

pub(super) const OK: Told = (200, "");
pub(super) const INVALID_REQUEST: Told = (400, "invalid_request");
pub(super) const INVALID_TOKEN: Told = (401, "invalid_token");
pub(super) const INVALID_CHAIN: Told = (401, "invalid_delegation_chain");
const INSUFFICIENT_SCOPE: Told = (403, "insufficient_scope");
pub(super) const INSUFFICIENT_AUTHORIZATION: Told = (403, "insufficient_authorization");
pub(super) const ENGINE_FAILED: Told = (500, "server_error");
pub(super) const UNAVAILABLE: Told = (503, "temporarily_unavailable");

/// A request as it stands on the wire.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: Option<String>,
    /// The lines of `Authorization`.
    pub(super) authorization: Vec<String>,
    /// The lines of `DPoP`.
    pub(super) proofs: Vec<String>,
    /// The lines of `Workload-Identity-Token`, of which there is one at most.
    pub(super) identities: Vec<String>,
    /// The lines of `Workload-Proof-Token`, of which there is one at most.
    pub(super) workload_proofs: Vec<String>,
}

/// What the book says of a request at `now`, in microseconds.
pub(super) fn told(asked: &Asked, keys: &[Vec<Key>], now: u64) -> Told {
    match decide(asked, keys, now) {
        Ok(()) => OK,
        Err(told) => told,
    }
}

pub(super) type Step<T> = Result<T, Told>;

fn decide(asked: &Asked, keys: &[Vec<Key>], now: u64) -> Step<()> {
    let (resource, path) = find_resource(asked)?;
    let operation = find_operation(resource, &asked.method, &path)?;
    let (scheme, token) = find_token(asked)?;
    let [header, payload, signature] = split(&token)?;
    let head = json::object(&bytes(header)?).ok_or(INVALID_TOKEN)?;
    let claims = json::object(&bytes(payload)?).ok_or(INVALID_TOKEN)?;
    let signature = bytes(signature)?;
    // Step 10c: the issuer is looked up among those of the route.
    let issuer = text(&claims, "iss")?.ok_or(INVALID_TOKEN)?;
    let at = resource.issuers.iter().copied().find(|at| ISSUERS[*at].id == issuer);
    let at = at.ok_or(INVALID_TOKEN)?;
    let issuer = &ISSUERS[at];
    check_header(&head, issuer)?;
    if issuer.away {
        return Err(UNAVAILABLE);
    }
    chain::check_depth(&claims, issuer)?;
    let key = find_key(&head, &keys[at])?;
    let input = &token[..header.len() + 1 + payload.len()];
    if !key.verifies(string(&head, "alg").ok_or(INVALID_TOKEN)?, input.as_bytes(), &signature) {
        return Err(INVALID_TOKEN);
    }
    check_kind(&head, &claims)?;
    check_claims(&claims, issuer, now)?;
    let grants = grants(&claims)?;
    proof::check_reference(&claims, issuer)?;
    let bound = proof::read_confirmation(&claims)?;
    let named = members::registered_policies(&claims, issuer, now)? + members::references(&claims)?;
    let signers = Signers { issuer: at, resource, keys };
    let delegation = chain::check_chain(&claims, signers)?;
    let shown = chain::read_evidence(&claims, &delegation, signers)?;
    // No name leads to a policy here. What a chain carries is asked after what the token names.
    let mut boundaries = vec![INSUFFICIENT_AUTHORIZATION; named];
    boundaries.extend(&delegation.policies);
    // Where the steps of the table would refuse with another code: a grant is the same at every resource
    // of its issuer, so all that rests on the token alone comes before its audience.
    check_audience(&claims, resource)?;
    proof::check_status(&claims, at)?;
    chain::check_evidence(&shown, operation.evidence, issuer.leeway, now)?;
    let proving = proof::Proving { asked, scheme, token: &token, resource, keys, now };
    let workload = proof::check(&proving, bound.as_ref())?;
    check_presenter(&claims, &delegation, scheme, workload.as_deref(), resource)?;
    authorize(&claims, resource, operation, &asked.method, &path, &boundaries, &grants)?;
    // Last: whoever is told to ask the person again must lack nothing else.
    if chain::suffices(&shown, operation.evidence, now) {
        Ok(())
    } else {
        Err(INSUFFICIENT_AUTHORIZATION)
    }
}

/// D17 (`delegation.md` §5): a workload is the last agent, where agents are named; who proved the key that
/// the token is bound to is whom the server meant; a bearer is nobody. The tokens of an issuer with chains live 15 minutes at most.
fn check_presenter(
    claims: &Map<String, Value>,
    delegation: &Chain,
    scheme: Scheme,
    workload: Option<&str>,
    resource: &Resource,
) -> Step<()> {
    if delegation.length == 0 {
        let is_missing = resource.require_chain && claims.contains_key("act");
        return if is_missing { Err(INVALID_CHAIN) } else { Ok(()) };
    }
    if let (Some(workload), Some(agent)) = (workload, &delegation.delegatee)
        && workload != agent
    {
        return Err(INVALID_TOKEN);
    }
    if scheme == Scheme::Dpop || workload.is_some() || resource.allow_bearer_delegation {
        Ok(())
    } else {
        Err(INVALID_TOKEN)
    }
}

// ── Stage C ──────────────────────────────────────────────────────────────────────────────────────

/// Step 10a: three parts. What is not a JWS is an opaque token, and no issuer here has those.
fn split(token: &str) -> Step<[&str; 3]> {
    let parts: Vec<&str> = token.split('.').collect();
    <[&str; 3]>::try_from(parts).map_err(|_parts| INVALID_TOKEN)
}

/// base64url without padding, white space or bits that say nothing (RFC 7515 §2).
pub(super) fn bytes(part: &str) -> Step<Vec<u8>> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (mut bits, mut held, mut bytes) = (0_u32, 0, Vec::new());
    for c in part.chars() {
        let value = ALPHABET.find(c).ok_or(INVALID_TOKEN)?;
        bits = bits << 6 | u32::try_from(value).unwrap();
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held).unwrap());
            bits &= (1 << held) - 1;
        }
    }
    if held >= 6 || bits != 0 || bytes.is_empty() { Err(INVALID_TOKEN) } else { Ok(bytes) }
}

/// `tokens.md` §2.
fn check_header(head: &Map<String, Value>, issuer: &Issuer) -> Step<()> {
    let algorithm = string(head, "alg").ok_or(INVALID_TOKEN)?;
    let algorithm = if algorithm == "Ed25519" { "EdDSA" } else { algorithm };
    if !issuer.algorithms.contains(&algorithm) {
        return Err(INVALID_TOKEN);
    }
    for unknown in ["crit", "zip", "enc"] {
        if head.contains_key(unknown) {
            return Err(INVALID_TOKEN);
        }
    }
    if head.get("kid").is_some_and(|kid| kid.as_str().is_none_or(|kid| kid.len() > 256)) {
        return Err(INVALID_TOKEN);
    }
    let kind = match head.get("typ") {
        None => None,
        Some(Value::String(kind)) => Some(kind.to_ascii_lowercase()),
        Some(_) => return Err(INVALID_TOKEN),
    };
    let kind = kind.as_deref().map(|kind| kind.strip_prefix("application/").unwrap_or(kind));
    match kind {
        Some("at+jwt") => Ok(()),
        Some("jwt") if issuer.allow_typ.contains(&"JWT") => Ok(()),
        None if issuer.allow_typ.contains(&"") => Ok(()),
        _ => Err(INVALID_TOKEN),
    }
}

/// Step 10e: by `kid`; without it there is exactly one key that fits.
fn find_key<'k>(head: &Map<String, Value>, keys: &'k [Key]) -> Step<&'k Key> {
    let algorithm = string(head, "alg").ok_or(INVALID_TOKEN)?;
    let kid = string(head, "kid");
    let named = |key: &&Key| kid.is_none_or(|kid| key.kid == kid);
    let fitting: Vec<&Key> = keys.iter().filter(named).filter(|key| key.fits(algorithm)).collect();
    match fitting.as_slice() {
        [key] => Ok(key),
        _ => Err(INVALID_TOKEN),
    }
}

/// Step 10g, the cross-JWT guard, where `typ` does not say that it is an access token.
fn check_kind(head: &Map<String, Value>, claims: &Map<String, Value>) -> Step<()> {
    let kind = string(head, "typ").unwrap_or_default().to_ascii_lowercase();
    if kind == "at+jwt" || kind == "application/at+jwt" {
        return Ok(());
    }
    let authorizes = claims.contains_key("agent_operation_authorization")
        || claims.contains_key("agentOperationAuthorization")
        || claims.contains_key("authorization_details");
    let foreign = [
        "nonce",
        "at_hash",
        "c_hash",
        "credentialSubject",
        "wth",
        "htu",
        "htm",
        "agent_operation_proposal",
        "agentOperationProposal",
        "response_type",
    ];
    let is_foreign = foreign.iter().any(|member| claims.contains_key(*member));
    // Stricter: a security event token (RFC 8417) is told by `events`.
    if authorizes && !is_foreign && !claims.contains_key("events") {
        Ok(())
    } else {
        Err(INVALID_TOKEN)
    }
}

/// Step 10h and `tokens.md` §3.
fn check_claims(claims: &Map<String, Value>, issuer: &Issuer, now: u64) -> Step<()> {
    text(claims, "sub")?
        .filter(|text| (1..=255).contains(&text.chars().count()))
        .ok_or(INVALID_TOKEN)?;
    // Stricter: octets, where `tokens.md` says nothing.
    text(claims, "jti")?.filter(|text| (1..=255).contains(&text.len())).ok_or(INVALID_TOKEN)?;
    for name in ["client_id", "azp", "acr"] {
        if text(claims, name)?.is_some_and(|text| !(1..=255).contains(&text.len())) {
            return Err(INVALID_TOKEN);
        }
    }
    if issuer.rfc9068_strict && !claims.contains_key("client_id") {
        return Err(INVALID_TOKEN);
    }
    audience(claims)?;
    scopes(claims, issuer)?;
    check_actor(claims)?;
    date(claims, "auth_time", issuer)?;
    let expires = date(claims, "exp", issuer)?.ok_or(INVALID_TOKEN)?;
    let issued = date(claims, "iat", issuer)?.ok_or(INVALID_TOKEN)?;
    let begins = date(claims, "nbf", issuer)?;
    let (leeway, second) = (issuer.leeway, 1_000_000);
    let is_over = now >= (expires + leeway) * second;
    let is_early = begins.is_some_and(|begins| now + leeway * second < begins * second);
    let is_from_the_future = issued * second > now + leeway * second;
    // Stricter: a token that ends before it begins makes no sense.
    let is_upside_down = expires < issued;
    let is_too_long = expires.saturating_sub(issued) > issuer.max_lifetime;
    if is_over || is_early || is_from_the_future || is_upside_down || is_too_long {
        return Err(INVALID_TOKEN);
    }
    Ok(())
}

/// `tokens.md` §7: an object with `sub`, and at most sixteen of them in one another.
fn check_actor(claims: &Map<String, Value>) -> Step<()> {
    let mut next = claims.get("act");
    let mut depth = 0;
    while let Some(actor) = next {
        depth += 1;
        let actor = actor.as_object().filter(|_| depth <= 16).ok_or(INVALID_TOKEN)?;
        let subject = string(actor, "sub").ok_or(INVALID_TOKEN)?;
        // `delegation.md` §2: ids of agents have at most 2048 octets. Stricter: none is empty.
        if !(1..=2_048).contains(&subject.len()) {
            return Err(INVALID_TOKEN);
        }
        next = actor.get("act");
    }
    Ok(())
}

pub(super) fn scopes(claims: &Map<String, Value>, issuer: &Issuer) -> Step<Vec<String>> {
    match claims.get("scope") {
        None => Ok(Vec::new()),
        Some(Value::String(list)) => {
            Ok(list.split(' ').filter(|one| !one.is_empty()).map(str::to_owned).collect())
        }
        Some(Value::Array(list)) if issuer.scope_array => {
            Ok(strings(list)?.into_iter().map(str::to_owned).collect())
        }
        Some(_) => Err(INVALID_TOKEN),
    }
}

/// A `NumericDate`, floored; as text only where the issuer may, and then in one form.
pub(super) fn date(claims: &Map<String, Value>, name: &str, issuer: &Issuer) -> Step<Option<u64>> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => {
            if let Some(whole) = number.as_u64() {
                return if whole <= 253_402_300_799 { Ok(Some(whole)) } else { Err(INVALID_TOKEN) };
            }
            let seconds = number.as_f64().ok_or(INVALID_TOKEN)?;
            if !(0.0..=253_402_300_799.0).contains(&seconds) {
                return Err(INVALID_TOKEN);
            }
            let whole = format!("{:.0}", seconds.floor());
            whole.trim_start_matches('-').parse().map(Some).map_err(|_error| INVALID_TOKEN)
        }
        Some(Value::String(text)) if issuer.iso8601_dates => {
            written(text).map(Some).ok_or(INVALID_TOKEN)
        }
        Some(_) => Err(INVALID_TOKEN),
    }
}

/// `YYYY-MM-DDThh:mm:ss[.fraction]Z`: days are counted from month to month, for there is time.
pub(super) fn written(text: &str) -> Option<u64> {
    let (date, clock) = text.strip_suffix('Z')?.split_once('T')?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let number = |text: &str, digits: usize| {
        let is_number = text.len() == digits && text.bytes().all(|b| b.is_ascii_digit());
        if is_number { text.parse::<u64>().ok() } else { None }
    };
    number(fraction, fraction.len()).filter(|_| !fraction.is_empty() && fraction.len() < 18)?;
    let [year, month, day] = <[&str; 3]>::try_from(date.split('-').collect::<Vec<_>>()).ok()?;
    let [hour, minute, second] =
        <[&str; 3]>::try_from(clock.split(':').collect::<Vec<_>>()).ok()?;
    let (year, month, day) = (number(year, 4)?, number(month, 2)?, number(day, 2)?);
    let (hour, minute, second) = (number(hour, 2)?, number(minute, 2)?, number(second, 2)?);
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let length = |year, month| match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let is_real = year >= 1970
        && (1..=12).contains(&month)
        && (1..=length(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !is_real {
        return None;
    }
    let years: u64 = (1970..year).map(|year| if is_leap(year) { 366 } else { 365 }).sum();
    let months: u64 = (1..month).map(|month| length(year, month)).sum();
    Some((((years + months + day - 1) * 24 + hour) * 60 + minute) * 60 + second)
}

fn audience(claims: &Map<String, Value>) -> Step<Vec<&str>> {
    match claims.get("aud") {
        Some(Value::String(one)) => Ok(vec![one.as_str()]),
        Some(Value::Array(several)) => strings(several),
        _ => Err(INVALID_TOKEN),
    }
}

/// RFC 9068 §4: the identifier of this resource, octet by octet.
fn check_audience(claims: &Map<String, Value>, resource: &Resource) -> Step<()> {
    if audience(claims)?.contains(&resource.id) { Ok(()) } else { Err(INVALID_TOKEN) }
}

// ── Stage D ──────────────────────────────────────────────────────────────────────────────────────

/// The entries that grant something, each well formed (`tokens.md` §5).
fn grants(claims: &Map<String, Value>) -> Step<Vec<&Map<String, Value>>> {
    let details = match claims.get("authorization_details") {
        None => return Ok(Vec::new()),
        Some(Value::Array(details)) if details.len() <= 32 => details,
        Some(_) => return Err(INVALID_TOKEN),
    };
    let mut grants = Vec::new();
    for entry in details {
        let entry = entry.as_object().ok_or(INVALID_TOKEN)?;
        match string(entry, "type").ok_or(INVALID_TOKEN)? {
            "agent_operation" => check_operations(entry)?,
            "authorization_policy" => members::check_policy(entry, "language")?,
            "rego_policy" => members::check_policy(entry, "type")?,
            _ => continue,
        }
        for bound in ["actions", "locations"] {
            match entry.get(bound) {
                None => {}
                Some(Value::Array(list)) => drop(strings(list)?),
                Some(_) => return Err(INVALID_TOKEN),
            }
        }
        grants.push(entry);
    }
    Ok(grants)
}

fn check_operations(entry: &Map<String, Value>) -> Step<()> {
    let list = entry.get("operations").and_then(Value::as_array).ok_or(INVALID_TOKEN)?;
    // Stricter: no more than 256.
    if list.len() > 256 {
        return Err(INVALID_TOKEN);
    }
    for operation in list {
        let operation = operation.as_object().ok_or(INVALID_TOKEN)?;
        // Stricter: an unknown member could be a limit.
        let known = ["action", "method", "path"];
        if !operation.iter().all(|(name, value)| known.contains(&&**name) && value.is_string()) {
            return Err(INVALID_TOKEN);
        }
        match (string(operation, "action"), string(operation, "method"), string(operation, "path"))
        {
            (_, Some(method), Some(path)) if is_method(method) && is_glob(path) => {}
            (Some(_), None, None) => {}
            _ => return Err(INVALID_TOKEN),
        }
    }
    Ok(())
}

/// A token of RFC 9110 §5.6.2.
fn is_method(text: &str) -> bool {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    !text.is_empty() && text.chars().all(is_token)
}

fn is_glob(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('/') else { return false };
    let parts: Vec<&str> = rest.split('/').collect();
    let fine = |(n, part): (usize, &&str)| {
        let is_last = n + 1 == parts.len();
        match *part {
            "**" => true,
            "." | ".." => false,
            "" => is_last,
            other => !other.contains("**"),
        }
    };
    text.len() <= 1_024
        && !text.contains(['?', '[', ']', '{', '}', '\\', '#', '%'])
        && parts.iter().enumerate().all(fine)
        && parts.iter().filter(|part| **part == "**").count() <= 4
}

/// `policy.md` §3.
fn authorize(
    claims: &Map<String, Value>,
    resource: &Resource,
    operation: &Operation,
    method: &str,
    path: &str,
    boundaries: &[Told],
    grants: &[&Map<String, Value>],
) -> Step<()> {
    if resource.deny.iter().any(|denied| glob(denied, path)) {
        return Err(INSUFFICIENT_AUTHORIZATION);
    }
    let issuer = string(claims, "iss").and_then(|id| ISSUERS.iter().find(|i| i.id == id));
    let held = scopes(claims, issuer.ok_or(INVALID_TOKEN)?)?;
    let mut required = resource.scopes.iter().chain(operation.scopes);
    if !required.all(|scope| held.iter().any(|own| own == scope)) {
        return Err(INSUFFICIENT_SCOPE);
    }
    // The first that is not true decides, and here none is.
    if let Some(told) = boundaries.first() {
        return Err(*told);
    }
    if grants.is_empty() {
        return if resource.scopes_suffice { Ok(()) } else { Err(INSUFFICIENT_AUTHORIZATION) };
    }
    let mut failed = false;
    for grant in grants.iter().filter(|grant| bounds_hold(grant, resource, operation, method, path))
    {
        match string(grant, "type") {
            Some("agent_operation") if lists(grant, operation, method, path) => return Ok(()),
            Some("agent_operation") => {}
            _ => {
                let policy = grant["policy"].as_object().unwrap();
                failed |= members::told_of_policy(policy) == ENGINE_FAILED;
            }
        }
    }
    if failed { Err(ENGINE_FAILED) } else { Err(INSUFFICIENT_AUTHORIZATION) }
}

fn lists(grant: &Map<String, Value>, operation: &Operation, method: &str, path: &str) -> bool {
    let list = grant["operations"].as_array().unwrap();
    list.iter().filter_map(Value::as_object).any(|one| {
        string(one, "action").is_none_or(|action| action == operation.action)
            && string(one, "method").is_none_or(|own| own == method)
            && string(one, "path").is_none_or(|pattern| glob(pattern, path))
    })
}

fn bounds_hold(
    grant: &Map<String, Value>,
    resource: &Resource,
    operation: &Operation,
    method: &str,
    path: &str,
) -> bool {
    let cannot_be_evaluated = ["datatypes", "identifier", "privileges"];
    if cannot_be_evaluated.iter().any(|name| grant.contains_key(*name)) {
        return false;
    }
    let list = |name: &str| grant.get(name).and_then(Value::as_array);
    // policy.md §3: the action has a set of names, of which the method is one.
    let names = [operation.action, method];
    let actions = list("actions")
        .is_none_or(|list| list.iter().any(|one| names.iter().any(|name| one == *name)));
    let url = format!("{}{path}", resource.id);
    let locations = list("locations")
        .is_none_or(|list| list.iter().filter_map(Value::as_str).any(|at| is_below(&url, at)));
    actions && locations
}

/// The location is the URL, or a prefix of it that ends at a `/`. With a query, a fragment or
/// (stricter) an encoded character it is never matched.
fn is_below(url: &str, location: &str) -> bool {
    if location.contains(['?', '#', '%']) {
        return false;
    }
    let (Some(at), Some(url)) = (normalized(location), normalized(url)) else { return false };
    url.strip_prefix(&at)
        .is_some_and(|rest| rest.is_empty() || at.ends_with('/') || rest.starts_with('/'))
}

/// RFC 3986 §6.2: scheme and host in lower case, no default port, an empty path is `/`.
fn normalized(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = scheme.to_lowercase();
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let authority = authority.to_lowercase();
    let port = if scheme == "https" { ":443" } else { ":80" };
    let host = authority.strip_suffix(port).unwrap_or(&authority);
    let path = if path.is_empty() { "/" } else { path };
    Some(format!("{scheme}://{host}{path}"))
}

// ── Members ──────────────────────────────────────────────────────────────────────────────────────

/// A member that is text, if there is one; of another type it is refused.
pub(super) fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Step<Option<&'a str>> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(INVALID_TOKEN),
    }
}

pub(super) fn string<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    members.get(name).and_then(Value::as_str)
}

fn strings(list: &[Value]) -> Step<Vec<&str>> {
    list.iter().map(|one| one.as_str().ok_or(INVALID_TOKEN)).collect()
}
