//! The book's chapters on agent operation authorization and on policies that tokens carry or name
//! (`tokens.md` §4 to §6), up to the engine that would evaluate them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use serde_json::{Map, Value};

use super::book::{
    ENGINE_FAILED, INSUFFICIENT_AUTHORIZATION, INVALID_TOKEN, Step, Told, string, text,
};
use super::setting::Issuer;

/// Step 14, at `now` in microseconds; and how many policies are registered, which must all allow.
pub(super) fn registered_policies(
    claims: &Map<String, Value>,
    issuer: &Issuer,
    now: u64,
) -> Step<usize> {
    let authorization = object(claims, "agent_operation_authorization")?;
    let identity = object(claims, "agent_identity")?;
    if authorization.is_some() && identity.is_none() {
        return Err(INVALID_TOKEN);
    }
    if let Some(identity) = identity {
        check_identity(identity, issuer, now)?;
    }
    check_trail(claims)?;
    let registered = match authorization {
        None => 0,
        Some(authorization) => {
            one_of(authorization, "policy_id", 256)?.ok_or(INVALID_TOKEN)?;
            check_binding(authorization)?;
            1
        }
    };
    Ok(registered)
}

/// A member in either spelling; in both only with one value (`tokens.md` §4).
pub(super) fn either<'a>(members: &'a Map<String, Value>, snake: &str) -> Step<Option<&'a Value>> {
    let mut camel = String::new();
    let mut after_line = false;
    for c in snake.chars() {
        if c == '_' {
            after_line = true;
        } else {
            camel.push(if after_line { c.to_ascii_uppercase() } else { c });
            after_line = false;
        }
    }
    match (members.get(snake), members.get(&camel)) {
        (Some(one), Some(other)) if one != other => Err(INVALID_TOKEN),
        (Some(one), _) | (None, Some(one)) => Ok(Some(one)),
        (None, None) => Ok(None),
    }
}

pub(super) fn object<'a>(
    members: &'a Map<String, Value>,
    name: &str,
) -> Step<Option<&'a Map<String, Value>>> {
    match either(members, name)? {
        None => Ok(None),
        Some(value) => value.as_object().map(Some).ok_or(INVALID_TOKEN),
    }
}

/// Text of at least one and at most so many octets.
pub(super) fn one_of<'a>(
    members: &'a Map<String, Value>,
    name: &str,
    longest: usize,
) -> Step<Option<&'a str>> {
    match either(members, name)? {
        None => Ok(None),
        Some(Value::String(text)) if (1..=longest).contains(&text.len()) => Ok(Some(text)),
        Some(_) => Err(INVALID_TOKEN),
    }
}

/// Stricter: `id`, `issuer` and `expires` are required, and `version` is 1.0 where it stands.
fn check_identity(identity: &Map<String, Value>, issuer: &Issuer, now: u64) -> Step<()> {
    if one_of(identity, "version", 512)?.is_some_and(|version| version != "1.0") {
        return Err(INVALID_TOKEN);
    }
    one_of(identity, "id", 512)?.ok_or(INVALID_TOKEN)?;
    if one_of(identity, "issuer", 512)? != Some(issuer.id) {
        return Err(INVALID_TOKEN);
    }
    // The user stands after the last line, and the provider, where there is one, before it.
    if let Some(person) = one_of(identity, "issued_to", 512)? {
        let (provider, user) = person.rsplit_once('|').unwrap_or(("x", person));
        if provider.is_empty() || user.is_empty() {
            return Err(INVALID_TOKEN);
        }
    }
    if let Some(tuple) = object(identity, "issued_for")? {
        for name in ["platform", "client", "client_instance"] {
            one_of(tuple, name, 512)?;
        }
    }
    let (now, leeway) = (i128::from(now), i128::from(issuer.leeway) * 1_000_000);
    let expires = moment(identity, "expires")?.ok_or(INVALID_TOKEN)?;
    let begins = moment(identity, "valid_from")?;
    let issued = moment(identity, "issuance_date")?;
    let is_early = |date: Option<i128>| date.is_some_and(|date| date - leeway > now);
    if expires <= now - leeway || is_early(begins) || is_early(issued) {
        return Err(INVALID_TOKEN);
    }
    Ok(())
}

/// `context`, the trail and the references decide nothing, and must still be what they are.
fn check_trail(claims: &Map<String, Value>) -> Step<()> {
    for (name, members) in [
        ("context", &["rendered_text"][..]),
        ("audit_trail", &["original_prompt_text", "rendered_operation_text"]),
    ] {
        let Some(members_of) = object(claims, name)? else { continue };
        for member in members {
            if either(members_of, member)?.is_some_and(|value| !value.is_string()) {
                return Err(INVALID_TOKEN);
            }
        }
    }
    if let Some(trail) = object(claims, "audit_trail")? {
        one_of(trail, "semantic_expansion_level", 512)?;
        one_of(trail, "consent_interface_version", 512)?;
        moment(trail, "user_acknowledge_timestamp")?;
    }
    if let Some(references) = object(claims, "references")? {
        one_of(references, "related_proposal_id", 512)?;
    }
    Ok(())
}

/// Microseconds of an RFC 3339 date with any offset and any number of digits of a second.
pub(super) fn moment(members: &Map<String, Value>, name: &str) -> Step<Option<i128>> {
    let Some(value) = either(members, name)? else { return Ok(None) };
    value.as_str().and_then(moment_of).map(Some).ok_or(INVALID_TOKEN)
}

pub(super) fn moment_of(text: &str) -> Option<i128> {
    let (local, shift) = match text.strip_suffix('Z') {
        Some(local) => (local.to_owned(), 0),
        None => offset(text)?,
    };
    let (whole, fraction) = local.split_once('.').unwrap_or((&local, "0"));
    let is_number = !fraction.is_empty() && fraction.bytes().all(|b| b.is_ascii_digit());
    let seconds = super::book::written(&format!("{whole}Z")).filter(|_| is_number)?;
    let seconds = i128::from(seconds) - shift;
    let micros: String = fraction.chars().chain("000000".chars()).take(6).collect();
    let moment = seconds * 1_000_000 + micros.parse::<i128>().unwrap();
    // Stricter: nothing that is compared here happened before 1970.
    (moment >= 0).then_some(moment)
}

/// The local time, and by how many seconds it is ahead.
fn offset(text: &str) -> Option<(String, i128)> {
    let at = text.rfind(['+', '-'])?;
    let (local, offset) = text.split_at(at);
    let (hours, minutes) = offset[1..].split_once(':')?;
    let number = |text: &str, below: i128| {
        let value = text.parse::<i128>().ok().filter(|value| (0..below).contains(value))?;
        (text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit())).then_some(value)
    };
    let seconds = number(hours, 24)? * 3_600 + number(minutes, 60)? * 60;
    Some((local.to_owned(), if offset.starts_with('-') { -seconds } else { seconds }))
}

fn check_binding(authorization: &Map<String, Value>) -> Step<()> {
    let Some(binding) = object(authorization, "policy_binding")? else { return Ok(()) };
    let digest = one_of(binding, "digest", 256)?.and_then(|text| text.strip_prefix("sha256:"));
    let is_digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let is_digest = digest.is_some_and(|hex| hex.len() == 64 && hex.chars().all(is_digit));
    let profile = one_of(binding, "profile", 256)?;
    if is_digest && profile == Some("AOP-POLICY-RESOLUTION-BINDING-v0") {
        Ok(())
    } else {
        Err(INVALID_TOKEN)
    }
}

/// §6: a string, an object, or several of either.
pub(super) fn references(claims: &Map<String, Value>) -> Step<usize> {
    let several = match either(claims, "policy_ref")? {
        None => return Ok(0),
        Some(Value::Array(several)) if several.is_empty() => return Err(INVALID_TOKEN),
        Some(Value::Array(several)) => several.as_slice(),
        Some(one) => std::slice::from_ref(one),
    };
    for reference in several {
        match reference {
            Value::String(id) if (1..=256).contains(&id.len()) => {}
            Value::Object(members) => {
                one_of(members, "id", 256)?.ok_or(INVALID_TOKEN)?;
                one_of(members, "version", 256)?;
                one_of(members, "endpoint", 2_048)?;
                check_hash(members)?;
            }
            _ => return Err(INVALID_TOKEN),
        }
    }
    Ok(several.len())
}

/// `sha256-` and base64 in either alphabet, padded or not, of just so many octets.
fn check_hash(members: &Map<String, Value>) -> Step<()> {
    let Some(hash) = one_of(members, "hash", 256)? else { return Ok(()) };
    let (algorithm, encoded) = hash.split_once('-').ok_or(INVALID_TOKEN)?;
    let length = match algorithm {
        "sha256" => 32,
        "sha384" => 48,
        "sha512" => 64,
        _ => return Err(INVALID_TOKEN),
    };
    // Padding is right or absent.
    let bare = encoded.trim_end_matches('=');
    let is_padded = bare.len() == encoded.len() || encoded.len().is_multiple_of(4);
    let is_mixed = encoded.contains(['-', '_']) && encoded.contains(['+', '/']);
    let standard = bare.replace('-', "+").replace('_', "/");
    let bytes = BASE64_STANDARD_NO_PAD.decode(standard).map_err(|_error| INVALID_TOKEN)?;
    let is_right = is_padded && !is_mixed && bytes.len() == length;
    if is_right { Ok(()) } else { Err(INVALID_TOKEN) }
}

/// What comes of a policy that a token carries: nothing that an address leads to can be had here, no
/// text here is a policy, and no language is known but one.
pub(super) fn told_of_policy(policy: &Map<String, Value>) -> Told {
    let language = string(policy, "language").or(string(policy, "type"));
    if language == Some("rego") && !policy.contains_key("content") {
        INSUFFICIENT_AUTHORIZATION
    } else {
        ENGINE_FAILED
    }
}

/// §5: the policy of a grant entry, whose language stands under `name`.
pub(super) fn check_policy(entry: &Map<String, Value>, name: &str) -> Step<()> {
    let policy = entry.get("policy").and_then(Value::as_object).ok_or(INVALID_TOKEN)?;
    for (member, longest) in [
        ("content", 16_384),
        ("uri", 2_048),
        ("entry_point", 256),
        ("language", 256),
        ("type", 256),
    ] {
        if text(policy, member)?.is_some_and(|text| !(1..=longest).contains(&text.len())) {
            return Err(INVALID_TOKEN);
        }
    }
    check_hash(policy)?;
    let language = string(policy, name).ok_or(INVALID_TOKEN)?;
    let agree = ["language", "type"]
        .iter()
        .all(|other| string(policy, other).is_none_or(|other| other == language));
    let has_source = policy.contains_key("content") || policy.contains_key("uri");
    let entry_point = string(policy, "entry_point").unwrap_or("allow");
    let is_entry_point = language != "rego" || is_rego_entry_point(entry_point);
    if agree && has_source && is_entry_point { Ok(()) } else { Err(INVALID_TOKEN) }
}

/// `policy.md` §5: a rule's name, or `data.<package>.<rule>`.
fn is_rego_entry_point(text: &str) -> bool {
    let is_name = |word: &&str| {
        word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && word.chars().next().is_some_and(|c| !c.is_ascii_digit())
    };
    let words: Vec<&str> = text.split('.').collect();
    let is_path = words.len() >= 3 && words[0] == "data";
    (words.len() == 1 || is_path) && words.iter().all(is_name)
}
