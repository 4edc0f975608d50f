//! The book's chapters on delegation chains (`delegation.md` §2 to §5) and evidence (`evidence.md` §4).

use serde_json::{Map, Number, Value};

use super::book::{INVALID_CHAIN, INVALID_TOKEN, Step, Told, UNAVAILABLE, bytes, date, string};
use super::setting::{AGENTS, Evidence, ISSUERS, Issuer, Key, Resource};
use super::{json, members, prompt, tokens};

/// §3: what the signatures of a record are over.
pub(super) const SIGNED: [&str; 8] = [
    "delegator_id",
    "delegatee_id",
    "as_id",
    "delegation_timestamp",
    "scope",
    "delegated_policy",
    "operation_summary",
    "root_evidence_ref",
];

/// What the rest of the decision must know of a chain that holds.
#[derive(Debug, Default)]
pub(super) struct Chain {
    /// How many records there are.
    pub(super) length: usize,
    /// What comes of the policies among them, which must all allow: the oldest first.
    pub(super) policies: Vec<Told>,
    /// Whom the last agent delegated to, where the records name agents.
    pub(super) delegatee: Option<String>,
    pub(super) root_evidence: Option<String>,
    /// Who recorded the first delegation.
    pub(super) origin: Option<String>,
}

/// Whose keys are known to the call.
#[derive(Clone, Copy)]
pub(super) struct Signers<'a> {
    pub(super) issuer: usize,
    pub(super) resource: &'a Resource,
    pub(super) keys: &'a [Vec<Key>],
}

/// What came of a signature.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Bad,
    Good,
}

impl Signers<'_> {
    /// D9: the issuer of the token, and those that the resource lists.
    fn place(&self, name: &str) -> Option<usize> {
        let listed = self.resource.chain_authorities.iter().copied();
        std::iter::once(self.issuer).chain(listed).find(|at| ISSUERS[*at].id == name)
    }

    /// §3 of `delegation.md`: a detached JWS by one of the keys of the server.
    pub(super) fn check(&self, name: &str, signature: &str, payload: Option<&str>) -> Step<Found> {
        let Some(at) = self.place(name) else { return Ok(Found::Bad) };
        if ISSUERS[at].away {
            return Err(UNAVAILABLE);
        }
        let (Some((head, header, signature)), Some(payload)) = (detached(signature), payload)
        else {
            return Ok(Found::Bad);
        };
        let algorithm = string(&header, "alg").unwrap_or_default();
        let plain = if algorithm == "Ed25519" { "EdDSA" } else { algorithm };
        if !ISSUERS[at].algorithms.contains(&plain) {
            return Ok(Found::Bad);
        }
        let kid = string(&header, "kid");
        let input = format!("{head}.{}", crate::support::issuer::b64(payload.as_bytes()));
        let named = self.keys[at].iter().filter(|key| kid.is_none_or(|kid| key.kid == kid));
        let mut fitting = named.filter(|key| key.fits(algorithm));
        let is_good = fitting.any(|key| key.verifies(algorithm, input.as_bytes(), &signature));
        Ok(if is_good { Found::Good } else { Found::Bad })
    }
}

/// D1, before any signature: of a token that is too deep not even its own is looked at.
pub(super) fn check_depth(claims: &Map<String, Value>, issuer: &Issuer) -> Step<()> {
    let records = claims.get("delegation_chain").and_then(Value::as_array);
    match (records, issuer.max_depth) {
        (Some(records), Some(deepest)) if records.len() > deepest => Err(INVALID_CHAIN),
        _ => Ok(()),
    }
}

/// D1 to D13 and D15.
pub(super) fn check_chain(claims: &Map<String, Value>, signers: Signers<'_>) -> Step<Chain> {
    let issuer = &ISSUERS[signers.issuer];
    if claims.contains_key("delegation_chain_ref") {
        return Err(INVALID_CHAIN);
    }
    let records = match claims.get("delegation_chain") {
        None => return Ok(Chain::default()),
        Some(Value::Array(records)) if records.is_empty() => return Ok(Chain::default()),
        Some(Value::Array(records)) => records,
        Some(_) => return Err(INVALID_CHAIN),
    };
    // An issuer for which chains are not configured cannot have them.
    if issuer.max_depth.is_none() {
        return Err(INVALID_CHAIN);
    }
    let records: Vec<_> = records.iter().filter_map(Value::as_object).collect();
    if records.len() != claims["delegation_chain"].as_array().unwrap().len() {
        return Err(INVALID_CHAIN);
    }
    if records[0].contains_key("delegator_jti") {
        return tokens::check(claims, &records, signers);
    }
    check_shapes(&records)?;
    check_parties(claims, &records)?;
    check_servers(&records, signers)?;
    check_times(claims, &records, issuer)?;
    for record in &records {
        check_signatures(record, signers)?;
    }
    check_scopes(claims, &records, issuer)?;
    // D15, among the records.
    let mut named = records.iter().filter_map(|record| string(record, "root_evidence_ref"));
    let root_evidence = named.next();
    if named.any(|other| Some(other) != root_evidence) {
        return Err(INVALID_CHAIN);
    }
    let policies = records.iter().rev().filter_map(|one| one.get("delegated_policy")?.as_object());
    Ok(Chain {
        length: records.len(),
        delegatee: string(records[0], "delegatee_id").map(str::to_owned),
        policies: policies.map(members::told_of_policy).collect(),
        root_evidence: root_evidence.map(str::to_owned),
        origin: string(records[records.len() - 1], "as_id").map(str::to_owned),
    })
}

/// D2 and §2: every member is of its type, and no record is of another shape.
fn check_shapes(records: &[&Map<String, Value>]) -> Step<()> {
    for record in records {
        let foreign = ["delegator_jti", "delegator_agent_identity"];
        let is_text = |name: &str| record.get(name).is_some_and(Value::is_string);
        let may_be_text = |name: &str| record.get(name).is_none_or(Value::is_string);
        let required = ["delegator_id", "delegatee_id", "as_id", "as_signature"];
        let optional = ["scope", "operation_summary", "root_evidence_ref", "delegator_signature"];
        let is_agent = |name: &str| {
            let id = string(record, name).unwrap_or_default();
            let known = ["wit:", "spiffe:", "wimse:"];
            let is_known = known
                .iter()
                .any(|scheme| id.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()));
            // Stricter: printable ASCII, and no longer than 2048.
            is_known && id.len() <= 2_048 && id.chars().all(|c| c.is_ascii_graphic())
        };
        let is_fit = !foreign.iter().any(|name| record.contains_key(*name))
            && required.iter().all(|name| is_text(name))
            && optional.iter().all(|name| may_be_text(name))
            && is_agent("delegator_id")
            && is_agent("delegatee_id")
            && string(record, "as_id").is_some_and(|id| (1..=2_048).contains(&id.len()))
            && seconds(record.get("delegation_timestamp")).is_some()
            && string(record, "scope").is_none_or(is_scope)
            && string(record, "root_evidence_ref")
                .is_none_or(|id| (1..=512).contains(&id.chars().count()))
            && record.get("delegated_policy").is_none_or(is_policy);
        if !is_fit {
            return Err(INVALID_CHAIN);
        }
    }
    Ok(())
}

/// RFC 6749 §3.3: one space between scopes, and none around them.
fn is_scope(list: &str) -> bool {
    let is_fit = |c: char| ('!'..='~').contains(&c) && c != '"' && c != '\\';
    list.split(' ').all(|one| !one.is_empty() && one.chars().all(is_fit))
}

/// A language, and a text or a place to have it from.
fn is_policy(policy: &Value) -> bool {
    let Some(policy) = policy.as_object() else { return false };
    let texts = ["type", "language", "content", "uri", "entry_point", "hash"];
    let (one, other) = (policy.get("language"), policy.get("type"));
    texts.iter().all(|name| policy.get(*name).is_none_or(Value::is_string))
        && (one.is_some() || other.is_some())
        && (one.is_none() || other.is_none() || one == other)
        && (policy.contains_key("content") || policy.contains_key("uri"))
}

fn seconds(value: Option<&Value>) -> Option<f64> {
    value?.as_f64().filter(|seconds| (0.0..=253_402_300_799.0).contains(seconds))
}

/// D4 to D7.
fn check_parties(claims: &Map<String, Value>, records: &[&Map<String, Value>]) -> Step<()> {
    let of = |record: &Map<String, Value>, name: &str| string(record, name).unwrap().to_owned();
    let delegatees: Vec<String> = records.iter().map(|one| of(one, "delegatee_id")).collect();
    let delegators: Vec<String> = records.iter().map(|one| of(one, "delegator_id")).collect();
    // Newest first: whom the token is for, and those who passed it on.
    let mut lineage = vec![delegatees[0].clone()];
    lineage.extend(delegators.iter().cloned());
    let mut actors = Vec::new();
    let mut actor = claims.get("act");
    while let Some(members) = actor {
        actors.push(members.get("sub").and_then(Value::as_str).ok_or(INVALID_CHAIN)?.to_owned());
        actor = members.get("act");
    }
    if actors.is_empty() || !lineage.starts_with(&actors) {
        return Err(INVALID_CHAIN);
    }
    for at in 0..records.len() {
        let is_continued = at == 0 || delegators[at - 1] == delegatees[at];
        let is_again = delegatees[..at].contains(&delegatees[at]);
        if !is_continued || is_again || delegators[at] == delegatees[at] {
            return Err(INVALID_CHAIN);
        }
    }
    Ok(())
}

/// D8 and D9.
fn check_servers(records: &[&Map<String, Value>], signers: Signers<'_>) -> Step<()> {
    if string(records[0], "as_id") != Some(ISSUERS[signers.issuer].id) {
        return Err(INVALID_CHAIN);
    }
    for record in records {
        match signers.place(string(record, "as_id").unwrap()) {
            None => return Err(INVALID_CHAIN),
            // D11: keys that cannot be had are no verdict.
            Some(at) if ISSUERS[at].away => return Err(UNAVAILABLE),
            Some(_) => {}
        }
    }
    Ok(())
}

/// D10. Dates are compared as `iat` is, in whole seconds; among themselves (stricter) with fractions.
fn check_times(
    claims: &Map<String, Value>,
    records: &[&Map<String, Value>],
    issuer: &Issuer,
) -> Step<()> {
    let times: Vec<f64> =
        records.iter().map(|one| seconds(one.get("delegation_timestamp")).unwrap()).collect();
    check_order(claims, &times, issuer)
}

pub(super) fn check_order(claims: &Map<String, Value>, times: &[f64], issuer: &Issuer) -> Step<()> {
    let issued = date(claims, "iat", issuer)?.unwrap();
    let is_ordered = times.windows(2).all(|pair| pair[0] >= pair[1]);
    let oldest = date_of(times[times.len() - 1]);
    if is_ordered && date_of(times[0]) <= issued && oldest + 86_400 >= issued {
        Ok(())
    } else {
        Err(INVALID_CHAIN)
    }
}

fn date_of(seconds: f64) -> u64 {
    format!("{:.0}", seconds.floor()).parse().unwrap()
}

/// D11, and D12.
fn check_signatures(record: &Map<String, Value>, signers: Signers<'_>) -> Step<()> {
    let kept = record.iter().filter(|(name, _)| SIGNED.contains(&name.as_str()));
    let payload = canonical(&Value::Object(kept.map(|(n, v)| (n.clone(), v.clone())).collect()));
    let by = string(record, "as_id").unwrap();
    let signature = string(record, "as_signature").unwrap();
    if signers.check(by, signature, payload.as_deref())? != Found::Good {
        return Err(INVALID_CHAIN);
    }
    match string(record, "delegator_signature") {
        Some(text) => check_agent(record, text, payload.as_deref(), &signers.keys[AGENTS]),
        None => Ok(()),
    }
}

/// D12 and §6: a signature must be one, and verify wherever the key that it names is known for this agent.
/// The directory knows the agents of its own scheme and authority, each by its id.
fn check_agent(
    record: &Map<String, Value>,
    text: &str,
    payload: Option<&str>,
    keys: &[Key],
) -> Step<()> {
    let (head, header, signature) = detached(text).ok_or(INVALID_CHAIN)?;
    let agent = string(record, "delegator_id").unwrap();
    if !agent.starts_with("wit://a.test/") {
        return Ok(());
    }
    let algorithm = string(&header, "alg").unwrap_or_default();
    let plain = if algorithm == "Ed25519" { "EdDSA" } else { algorithm };
    if !["ES256", "ES384", "EdDSA", "PS256", "RS256"].contains(&plain) {
        return Err(INVALID_CHAIN);
    }
    let kid = string(&header, "kid");
    let own = |key: &&Key| key.kid == agent && kid.is_none_or(|kid| key.kid == kid);
    let fitting: Vec<&Key> = keys.iter().filter(own).filter(|key| key.fits(algorithm)).collect();
    let payload = crate::support::issuer::b64(payload.unwrap_or_default().as_bytes());
    let input = format!("{head}.{payload}");
    let is_good = |key: &&Key| key.verifies(algorithm, input.as_bytes(), &signature);
    let is_unverifiable = fitting.is_empty();
    if is_unverifiable || fitting.iter().any(is_good) { Ok(()) } else { Err(INVALID_CHAIN) }
}

/// A detached JWS: its header as it stands and read, and its signature. Whatever else it holds, another
/// way of signing is refused.
fn detached(text: &str) -> Option<(&str, Map<String, Value>, Vec<u8>)> {
    let parts: Vec<&str> = text.split('.').collect();
    let [head, "", signature] = parts.as_slice() else { return None };
    let header = json::object(&bytes(head).ok()?)?;
    let refused = ["b64", "crit", "enc", "zip"].iter().any(|name| header.contains_key(*name));
    let may_be = |name: &str, fits: fn(&str) -> bool| {
        header.get(name).is_none_or(|value| value.as_str().is_some_and(fits))
    };
    let is_fit = !refused
        && header.get("alg").is_some_and(Value::is_string)
        && may_be("kid", |kid| kid.len() <= 256)
        && may_be("typ", |_| true);
    let signature = bytes(signature).ok()?;
    is_fit.then_some((head, header, signature))
}

/// D13: the token's scopes are among those of the newest record that has any, and so on to the first.
fn check_scopes(
    claims: &Map<String, Value>,
    records: &[&Map<String, Value>],
    issuer: &Issuer,
) -> Step<()> {
    let mut narrower = super::book::scopes(claims, issuer)?;
    for scope in records.iter().filter_map(|record| string(record, "scope")) {
        let wider: Vec<String> = scope.split(' ').map(str::to_owned).collect();
        if narrower.iter().any(|one| !wider.contains(one)) {
            return Err(INVALID_CHAIN);
        }
        narrower = wider;
    }
    Ok(())
}

// ── Evidence ─────────────────────────────────────────────────────────────────────────────────────

/// What a token says of the person's confirmation.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Nothing,
    /// It is wrong in itself.
    Wrong,
    /// When, and by which act.
    Confirmed(u64, String),
    /// A prompt that a client vouches for: when it was typed and when that ends, in microseconds.
    Typed {
        typed: i128,
        ends: i128,
    },
    /// A prompt that nobody here can read.
    Sealed,
    /// A prompt that is wrong in itself.
    Untrue,
}

/// V1, V2, V5, V3 as far as `iat` goes, and V4.
pub(super) fn read_evidence(
    claims: &Map<String, Value>,
    chain: &Chain,
    signers: Signers<'_>,
) -> Step<Shown> {
    let Some(found) = places(claims) else { return Ok(Shown::Wrong) };
    if found.is_empty() {
        return prompt::read(claims, signers);
    }
    let mut shown = Shown::Nothing;
    let mut id = None;
    for evidence in found {
        match one(evidence, claims, chain, signers)? {
            Some((at, act)) => shown = Shown::Confirmed(at, act),
            None => return Ok(Shown::Wrong),
        }
        id = string(evidence, "id");
    }
    // V4, which D15 sharpens: the first record names the evidence whenever there is any.
    let is_anchored = id.is_none() || chain.root_evidence.as_deref() == id;
    if chain.delegatee.is_some() && !is_anchored { Err(INVALID_CHAIN) } else { Ok(shown) }
}

/// The evidence objects of the token (§1), which must be one and the same. `None` where one is none.
fn places(claims: &Map<String, Value>) -> Option<Vec<&Map<String, Value>>> {
    let mut found = Vec::new();
    let details = claims.get("authorization_details").and_then(Value::as_array);
    for entry in details.into_iter().flatten() {
        if entry.get("type").and_then(Value::as_str) == Some("authorization_evidence") {
            found.push(entry.get("evidence")?.as_object()?);
        }
    }
    match claims.get("evidence") {
        None => {}
        // A prompt that the client claims to have received (E4) is no evidence of a consent.
        Some(Value::Object(members)) => {
            let own = ["id", "user_confirmation", "user_confirmation_record", "as_signature"];
            if own.iter().any(|name| members.contains_key(*name)) {
                found.push(members);
            }
        }
        Some(_) => return None,
    }
    let is_same = |other: &&Map<String, Value>| other.get("id") == found[0].get("id");
    let is_one = found.len() < 2 || (found[0].contains_key("id") && found.iter().all(is_same));
    is_one.then_some(found)
}

/// One evidence object: when the person acted, and how. `None` where V1, V2, V3 or V5 fails.
fn one(
    evidence: &Map<String, Value>,
    claims: &Map<String, Value>,
    chain: &Chain,
    signers: Signers<'_>,
) -> Step<Option<(u64, String)>> {
    let issuer = &ISSUERS[signers.issuer];
    let plain = evidence.get("user_confirmation");
    let later = evidence.get("user_confirmation_record");
    let (name, value) = match (plain, later) {
        (Some(one), Some(other)) if one != other => return Ok(None),
        (Some(one), _) => ("user_confirmation", one),
        (None, Some(other)) => ("user_confirmation_record", other),
        (None, None) => return Ok(None),
    };
    let Some(confirmation) = value.as_object() else { return Ok(None) };
    let text = |members: &Map<String, Value>, name: &str| match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(()),
    };
    let (Ok(id), Ok(signature)) = (text(evidence, "id"), text(evidence, "as_signature")) else {
        return Ok(None);
    };
    if id.as_ref().is_some_and(|id| !(1..=512).contains(&id.chars().count())) {
        return Ok(None);
    }
    // Only the later form may lack them.
    if name == "user_confirmation" && (id.is_none() || signature.is_none()) {
        return Ok(None);
    }
    let (Some(displayed), Some(act)) =
        (string(confirmation, "displayed_content"), string(confirmation, "user_action"))
    else {
        return Ok(None);
    };
    let at = match confirmation.get("timestamp") {
        Some(Value::String(text)) if name == "user_confirmation_record" => {
            members::moment_of(text).map(|micros| u64::try_from(micros / 1_000_000).unwrap())
        }
        Some(_) => date(confirmation, "timestamp", issuer).ok().flatten(),
        None => None,
    };
    let Some(at) = at else { return Ok(None) };
    if displayed.len() > 8_192 || !(1..=128).contains(&act.len()) {
        return Ok(None);
    }
    if let Some(signature) = signature {
        let mut signed = Map::new();
        signed.extend(evidence.get("id").map(|id| ("id".to_owned(), id.clone())));
        signed.insert(name.to_owned(), value.clone());
        let mut texts = vec![canonical(&Value::Object(signed))];
        if name == "user_confirmation_record" {
            texts.push(canonical(value));
        }
        if !is_signed(&signature, &texts, issuer.id, chain, signers)? {
            return Ok(None);
        }
    }
    let issued = date(claims, "iat", issuer)?.unwrap();
    let subject = confirmation.get("subject").is_none_or(|one| Some(one) == claims.get("sub"));
    let client =
        confirmation.get("client_id").is_none_or(|one| Some(one) == claims.get("client_id"));
    // No policy is carried here, so none can have the digest.
    let policy = confirmation.get("policy_digest").is_none();
    let holds = at <= issued + issuer.leeway && subject && client && policy;
    Ok(holds.then(|| (at, act.to_owned())))
}

/// By the issuer of the token, or by whoever recorded the first delegation.
fn is_signed(
    signature: &str,
    texts: &[Option<String>],
    issuer: &str,
    chain: &Chain,
    signers: Signers<'_>,
) -> Step<bool> {
    let names = std::iter::once(issuer).chain(chain.origin.as_deref());
    for name in names {
        for text in texts {
            if signers.check(name, signature, text.as_deref())? == Found::Good {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Step 17 where evidence is looked at: it must not be wrong, nor from the future.
pub(super) fn check_evidence(shown: &Shown, wanted: Evidence, leeway: u64, now: u64) -> Step<()> {
    match shown {
        _ if wanted == Evidence::Ignored => Ok(()),
        Shown::Wrong => Err(INVALID_TOKEN),
        Shown::Confirmed(at, _) if *at * 1_000_000 > now + leeway * 1_000_000 => Err(INVALID_TOKEN),
        // A prompt can be wrong where it would count.
        Shown::Untrue if matches!(wanted, Evidence::RequiredOrTyped(_)) => Err(INVALID_TOKEN),
        Shown::Typed { ends, .. } if matches!(wanted, Evidence::RequiredOrTyped(_)) => {
            let is_over = i128::from(now) >= ends + i128::from(leeway) * 1_000_000;
            if is_over { Err(INVALID_TOKEN) } else { Ok(()) }
        }
        _ => Ok(()),
    }
}

/// V6, V7 and V9: whether it is what the operation demands.
pub(super) fn suffices(shown: &Shown, wanted: Evidence, now: u64) -> bool {
    match (wanted, shown) {
        (Evidence::RequiredOrTyped(oldest), Shown::Typed { typed, .. }) => {
            typed + i128::from(oldest) * 1_000_000 >= i128::from(now)
        }
        (
            Evidence::Required(oldest) | Evidence::RequiredOrTyped(oldest),
            Shown::Confirmed(at, act),
        ) => act != "implicit_consent" && *at * 1_000_000 + oldest * 1_000_000 >= now,
        (Evidence::Required(_) | Evidence::RequiredOrTyped(_), _) => false,
        _ => true,
    }
}

// ── RFC 8785 ─────────────────────────────────────────────────────────────────────────────────────

/// JSON in its one canonical form; `None` for a number that other readers would round.
pub(super) fn canonical(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => "null".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => numeral(number)?,
        Value::String(text) => quoted(text),
        Value::Array(list) => {
            let inner: Option<Vec<String>> = list.iter().map(canonical).collect();
            format!("[{}]", inner?.join(","))
        }
        Value::Object(members) => {
            let mut names: Vec<&String> = members.keys().collect();
            names.sort_by_key(|name| name.encode_utf16().collect::<Vec<u16>>());
            let member = |name: &&String| {
                Some(format!("{}:{}", quoted(name), canonical(&members[name.as_str()])?))
            };
            let inner: Option<Vec<String>> = names.iter().map(member).collect();
            format!("{{{}}}", inner?.join(","))
        }
    })
}

/// As ECMAScript writes a number: the shortest digits that are read back as the same.
fn numeral(number: &Number) -> Option<String> {
    const EXACT: u64 = 9_007_199_254_740_992;
    if let Some(whole) = number.as_u64() {
        return (whole <= EXACT).then(|| whole.to_string());
    }
    if let Some(whole) = number.as_i64() {
        return (whole.unsigned_abs() <= EXACT).then(|| whole.to_string());
    }
    let value = number.as_f64()?;
    if value == 0.0 {
        return Some("0".to_owned());
    }
    let size = value.abs();
    if (1e-6..1e21).contains(&size) {
        return Some(format!("{value}"));
    }
    // `1e21` and `1.5e-7`: Rust leaves the plus out.
    let text = format!("{value:e}");
    let (digits, power) = text.split_once('e')?;
    let sign = if power.starts_with('-') { "" } else { "+" };
    Some(format!("{digits}e{sign}{power}"))
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{8}' => quoted.push_str("\\b"),
            '\t' => quoted.push_str("\\t"),
            '\n' => quoted.push_str("\\n"),
            '\u{c}' => quoted.push_str("\\f"),
            '\r' => quoted.push_str("\\r"),
            c if u32::from(c) < 0x20 => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

/// RFC 8785 §3.2.2 and §3.2.3, the examples that the texts print.
#[test]
fn the_oracles_canonical_form_is_that_of_rfc_8785() {
    let text = r#"{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],
        "string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}"#;
    let value: Value = serde_json::from_str(text).unwrap();
    assert_eq!(
        canonical(&value).unwrap(),
        "{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],\
         \"string\":\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}"
    );
    let names = r#"{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}"#;
    let value: Value = serde_json::from_str(names).unwrap();
    let sorted = "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"ö\":7,\"€\":1,\"😀\":5,\"\u{fb33}\":3}";
    assert_eq!(canonical(&value).unwrap(), sorted);
}
