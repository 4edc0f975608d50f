//! `opgate token inspect`: a token as a person would want to read it.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::story;
use super::verdict::{self, Verdict};
use crate::cli::output::{self, Paint, Rows, Style};
use crate::cli::{Outcome, Usage, serve};
use crate::config;
use crate::model::presented::Presented;
use crate::model::time::Timestamp;
use crate::runtime::clock;
use crate::token::details;
use crate::token::jws::Jws;
use crate::token::member;

/// `opgate token inspect`
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  opgate token inspect eyJhbGciOi… --jwks jwks.json
  opgate token inspect eyJhbGciOi… -c opgate.toml
  pbpaste | opgate token inspect -")]
pub struct InspectArgs {
    /// The token, or `-` for standard input
    #[arg(default_value = "-", hide_default_value = true)]
    pub token: String,
    /// The issuer's keys: also verify the signature and all that a gate would
    #[arg(long, value_name = "FILE")]
    pub jwks: Option<PathBuf>,
    /// A configuration: verify as the gate would, with the issuers' keys and what is revoked
    #[arg(short, long, value_name = "FILE", conflicts_with = "jwks")]
    pub config: Option<PathBuf>,
    /// Answer in JSON: header and claims
    #[arg(long)]
    pub json: bool,
}

/// Prints what the token says, and with keys whether a gate would believe it.
pub fn inspect(args: &InspectArgs) -> anyhow::Result<Outcome> {
    let token = text(&args.token)?;
    let presented = Presented::new(token.trim());
    let unreadable = |denial: crate::model::reason::Denial| {
        Usage::error(format!(
            "not an access token: {} {}",
            denial.reason.code(),
            denial.about.unwrap_or_default()
        ))
    };
    let jws = Jws::read(presented).map_err(unreadable)?;
    let payload = jws.payload().map_err(unreadable)?;
    let verdict = match (&args.jwks, &args.config) {
        (Some(path), _) => Some(verdict::by_keys(presented, &jws, &payload, path)?),
        (None, Some(path)) => match config::load(path, &serve::environment) {
            Ok(config) => Some(verdict::by_configuration(presented, &payload, config)?),
            Err(problems) => {
                output::complain(&problems.to_string());
                return Ok(Outcome::Unusable);
            }
        },
        (None, None) => None,
    };
    let now = clock::now();
    output::print(&if args.json {
        as_json(&jws, &payload, verdict.as_ref())
    } else {
        as_text(&jws, &payload, verdict.as_ref(), now)
    })?;
    Ok(if verdict.is_some_and(|verdict| verdict.is_err()) {
        Outcome::Refused
    } else {
        Outcome::Done
    })
}

/// The token that an argument is, or standard input where it is `-`.
pub(in crate::cli) fn text(token: &str) -> anyhow::Result<String> {
    if token != "-" {
        return Ok(token.to_owned());
    }
    let mut text = String::new();
    std::io::stdin().take(64 * 1_024).read_to_string(&mut text)?;
    Ok(text)
}

fn as_json(jws: &Jws<'_>, payload: &Map<String, Value>, verdict: Option<&Verdict>) -> String {
    let header =
        json!({ "alg": jws.header.algorithm, "kid": jws.header.key_id, "typ": jws.header.kind });
    let verified = verdict.map(Result::is_ok);
    let why = verdict.and_then(|verdict| verdict.as_ref().err());
    format!(
        "{}\n",
        json!({ "header": header, "claims": payload, "verified": verified, "why": why })
    )
}

fn as_text(
    jws: &Jws<'_>,
    payload: &Map<String, Value>,
    verdict: Option<&Verdict>,
    now: Timestamp,
) -> String {
    let paint = Paint::new(output::is_colored());
    let mut rows = Rows::new(paint);
    let mut add = |label: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            rows.add(label, value);
        }
    };
    let claim = |name: &str| payload.get(name).map(plain);
    add("issuer", claim(member::ISS));
    add("person", claim(member::SUB));
    add("agent", payload.get(member::ACT).and_then(|actor| actor.get(member::SUB)).map(plain));
    add("client", claim(member::CLIENT_ID));
    add("for", claim(member::AUD));
    add("valid from", date(payload, member::NBF, now).or_else(|| date(payload, member::IAT, now)));
    add("valid until", date(payload, member::EXP, now));
    add("scopes", claim(member::SCOPE));
    add("identifier", claim(member::JTI));
    let key = jws.header.key_id.as_deref().unwrap_or("without a name");
    add("signed with", Some(output::escaped(&format!("{}, key {key}", jws.header.algorithm))));
    let details = payload.get(member::AUTHORIZATION_DETAILS).and_then(Value::as_array);
    rows.add_all("allows", details.into_iter().flatten().map(detail));
    rows.add_all("policies", story::policies(payload));
    let grant = verdict.and_then(|verdict| verdict.as_deref().ok());
    for (label, told) in [
        ("through", story::through(payload, grant)),
        ("was shown", story::shown(payload, grant, now)),
        ("status", story::status(payload)),
    ] {
        if let Some(told) = told {
            rows.add(label, told);
        }
    }
    rows.add_all("bound to", story::bound(payload));
    if grant.is_none() {
        let odd = oddities(jws, payload).into_iter();
        rows.add_all("a gate refuses it", odd.map(|text| paint.paint(Style::Bad, &text)));
    }
    match verdict {
        Some(Ok(_grant)) => {
            rows.add("signature", paint.paint(Style::Good, "good: verified with these keys"));
        }
        Some(Err(why)) => rows.add("not verified", paint.paint(Style::Bad, why)),
        None => {
            let how =
                "not checked: name the issuer's keys with `--jwks`, or a configuration with `-c`";
            rows.add("signature", how);
        }
    }
    rows.text()
}

pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => output::escaped(text),
        Value::Array(list) => list.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => output::escaped(&other.to_string()),
    }
}

/// A date and how far it is from now.
fn date(payload: &Map<String, Value>, claim: &str, now: Timestamp) -> Option<String> {
    Some(date_of(Timestamp::from_seconds(payload.get(claim)?.as_u64()?), now))
}

pub(super) fn date_of(at: Timestamp, now: Timestamp) -> String {
    let text = at.to_string();
    let text = text.get(..19).unwrap_or_default();
    let distance = if at >= now {
        format!("in {}", span(at.since(now)))
    } else {
        format!("{} ago", span(now.since(at)))
    };
    format!("{text}Z, {distance}")
}

fn span(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// One entry of `authorization_details` in words.
fn detail(detail: &Value) -> String {
    let kind = detail.get("type").map(plain).unwrap_or_default();
    let policy = detail.get("policy").and_then(Value::as_object);
    match (kind.as_str(), policy) {
        (member::AGENT_OPERATION, _) => {}
        (member::AUTHORIZATION_POLICY | member::REGO_POLICY, Some(policy)) => {
            let bounds = [(member::ACTIONS, "of"), (member::LOCATIONS, "at")];
            let bounds = bounds.iter().filter_map(|(name, word)| {
                Some(format!(" {word} {}", detail.get(*name).map(plain)?))
            });
            return format!("{}{}", story::carried(policy), bounds.collect::<String>());
        }
        _ => return format!("an entry of type `{kind}`"),
    }
    let operations = detail.get(member::OPERATIONS).and_then(Value::as_array);
    let operations: Vec<_> = operations.into_iter().flatten().map(operation).collect();
    let places = detail.get(member::LOCATIONS).map(plain);
    let at = places.map_or(String::new(), |places| format!(" at {places}"));
    if operations.is_empty() {
        format!("nothing{at}")
    } else {
        format!("{}{at}", operations.join("; "))
    }
}

fn operation(operation: &Value) -> String {
    let part = |name: &str| operation.get(name).map(plain).unwrap_or_default();
    let named = [part("action"), part("method"), part("path")].join(" ").trim().to_owned();
    let constraints = story::constraints(operation);
    if constraints.is_empty() { named } else { format!("{named} with {}", constraints.join(", ")) }
}

/// Why every gate of this version refuses the token, whatever its signature.
fn oddities(jws: &Jws<'_>, payload: &Map<String, Value>) -> Vec<String> {
    let mut odd = Vec::new();
    let kind = jws.header.kind.as_deref().unwrap_or_default().to_ascii_lowercase();
    if kind.strip_prefix("application/").unwrap_or(&kind) != "at+jwt" {
        odd.push(
            "its type is not `at+jwt`, unless the issuer is configured with `allow_typ`".to_owned(),
        );
    }
    for claim in [member::ISS, member::SUB, member::AUD, member::EXP, member::IAT, member::JTI] {
        if !payload.contains_key(claim) {
            odd.push(format!("it has no `{claim}`"));
        }
    }
    if let Some(fault) = details::fault(payload) {
        odd.push(format!("`{}` is missing, or not as it must be", output::escaped(&fault.place)));
    }
    if payload.contains_key(member::DELEGATION_CHAIN_REF) {
        odd.push("it refers to a delegation chain that it does not carry".to_owned());
    }
    odd
}
