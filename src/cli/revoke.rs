//! `opgate revoke`: the kill switch, by way of a running gate's admin listener.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::output::{self, Paint, Style};
use super::{Outcome, Usage, serve};
use crate::config::{self, Endpoint, Place};
use crate::facts::revocation::Revocation;
use crate::model::time::Timestamp;
use crate::runtime::client::{Ask, exchange};
use crate::runtime::clock;

/// The longest answer: every revocation that there can be.
const MAX_ANSWER: usize = 64 * 1_024 * 1_024;
const TIMEOUT: Duration = Duration::from_secs(10);

/// `opgate revoke`
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  opgate revoke -c opgate.toml --jti 6b1f… --reason 'laptop stolen'
  opgate revoke -c opgate.toml --subject alice --issuer https://as.example.com --until 24h
  opgate revoke list -c opgate.toml
  opgate revoke lift 01981c… -c opgate.toml

What is revoked is refused at the next request and cut from open streams; it outlives the gate."
)]
pub struct RevokeArgs {
    #[command(subcommand)]
    command: Option<RevokeCommand>,
    #[command(flatten)]
    gate: GateArgs,
    #[command(flatten)]
    what: What,
    /// Within this issuer only; alone: everything that it issued
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// When it ends by itself: `90m`, `24h`, `7d`, or a time as in 2026-12-31T23:59:59Z
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    /// Why, for people who read the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum RevokeCommand {
    /// What is revoked now
    List {
        #[command(flatten)]
        gate: GateArgs,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// End a revocation
    Lift {
        /// Its id, as `list` shows it
        id: String,
        #[command(flatten)]
        gate: GateArgs,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
}

/// Which gate is meant.
#[derive(Debug, clap::Args)]
struct GateArgs {
    /// The configuration of the gate, which says where its admin listener is
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The admin listener itself: `127.0.0.1:9901` or `unix:/run/opgate.sock`
    #[arg(long, value_name = "ENDPOINT", conflicts_with = "config")]
    admin: Option<String>,
}

/// The one thing that is revoked.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct What {
    /// A token, by its `jti`, or by `sha256:` and the hexadecimal hash of an opaque one
    #[arg(long, value_name = "ID")]
    jti: Option<String>,
    /// A person, by `sub`
    #[arg(long, value_name = "SUB")]
    subject: Option<String>,
    /// A client, by `client_id`
    #[arg(long, value_name = "ID")]
    client: Option<String>,
    /// An agent, as the actor or anywhere in a delegation chain
    #[arg(long, value_name = "ID")]
    agent: Option<String>,
    /// A policy
    #[arg(long, value_name = "ID")]
    policy_id: Option<String>,
    /// Consent that was withdrawn, by the id of its evidence
    #[arg(long, value_name = "ID")]
    evidence_id: Option<String>,
    /// A whole delegation, by its first agent, token or evidence
    #[arg(long, value_name = "ID")]
    delegation_root: Option<String>,
}

impl What {
    /// The member of the order, and its value.
    fn member(&self) -> Option<(&'static str, &str)> {
        let Self { jti, subject, client, agent, policy_id, evidence_id, delegation_root } = self;
        [
            ("jti", jti),
            ("sub", subject),
            ("client_id", client),
            ("agent", agent),
            ("policy_id", policy_id),
            ("evidence_id", evidence_id),
            ("delegation_root", delegation_root),
        ]
        .into_iter()
        .find_map(|(name, value)| Some((name, value.as_deref()?)))
    }
}

/// Revokes, lists or lifts.
pub fn run(args: &RevokeArgs) -> anyhow::Result<Outcome> {
    let now = clock::now();
    match &args.command {
        None => {
            let order = order(args, now)?;
            let answer = call(&args.gate, Method::POST, "/revocations", &order.to_string())?;
            told(&answer, args.json, "revoked", StatusCode::CREATED)
        }
        Some(RevokeCommand::Lift { id, gate, json }) => {
            if !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
                return Err(Usage::error(
                    "that is no id of a revocation: see `opgate revoke list`",
                ));
            }
            let answer = call(gate, Method::DELETE, &format!("/revocations/{id}"), "")?;
            told(&answer, *json, "lifted", StatusCode::OK)
        }
        Some(RevokeCommand::List { gate, json }) => {
            let answer = call(gate, Method::GET, "/revocations", "")?;
            if *json || answer.status != StatusCode::OK {
                return told(&answer, *json, "", StatusCode::OK);
            }
            list(&answer.body, now)
        }
    }
}

fn order(args: &RevokeArgs, now: Timestamp) -> anyhow::Result<Value> {
    let mut order = Map::new();
    if let Some((name, value)) = args.what.member() {
        order.insert(name.into(), value.into());
    }
    if let Some(issuer) = &args.issuer {
        order.insert("issuer".into(), issuer.as_str().into());
    }
    if order.is_empty() {
        return Err(Usage::error("say what to revoke: --jti, --subject, --client, --agent, …"));
    }
    if let Some(until) = &args.until {
        order.insert("until".into(), moment(until, now)?.seconds().into());
    }
    if let Some(reason) = &args.reason {
        order.insert("reason".into(), reason.as_str().into());
    }
    Ok(Value::Object(order))
}

/// A moment, or how long from now.
fn moment(text: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
    if let Some(wait) = config::duration(text) {
        return Ok(now.after(wait));
    }
    let moment: Option<jiff::Timestamp> = text.parse().ok();
    let seconds = moment.and_then(|moment| u64::try_from(moment.as_second()).ok());
    let wrong = || Usage::error("--until takes `90m`, `24h`, `7d`, or 2026-12-31T23:59:59Z");
    Ok(Timestamp::from_seconds(seconds.ok_or_else(wrong)?))
}

struct Answer {
    status: StatusCode,
    body: Value,
}

/// Asks the admin listener.
fn call(gate: &GateArgs, method: Method, path: &str, body: &str) -> anyhow::Result<Answer> {
    let place = place(gate)?;
    let uri = format!("http://localhost{path}").parse()?;
    let json = HeaderValue::from_static("application/json");
    let ask = Ask {
        method,
        uri: &uri,
        headers: HeaderMap::from_iter([(CONTENT_TYPE, json)]),
        body: Bytes::copy_from_slice(body.as_bytes()),
        limit: MAX_ANSWER,
        timeout: TIMEOUT,
    };
    let runtime = serve::runtime(Some(1))?;
    let answered = async { tokio::time::timeout(TIMEOUT, exchange(&place, None, ask)).await };
    let answer = runtime.block_on(answered);
    let answer = answer.context("the gate did not answer in time")?;
    let answer = answer.context("the admin listener of the gate cannot be reached")?;
    let body = serde_json::from_slice(&answer.body)
        .unwrap_or_else(|_| json!({ "error": String::from_utf8_lossy(&answer.body).trim() }));
    Ok(Answer { status: answer.status, body })
}

fn place(gate: &GateArgs) -> anyhow::Result<Place> {
    let endpoint = match (&gate.admin, &gate.config) {
        (Some(text), _) => config::endpoint(text).map_err(Usage::error)?,
        (None, Some(file)) => {
            let config = config::load(file, &serve::environment)
                .map_err(|problems| Usage::error(problems.to_string()))?;
            let admin = config.admin.ok_or_else(|| {
                Usage::error("the configuration has no `[admin]`, so the gate takes no orders")
            })?;
            admin.listen
        }
        (None, None) => return Err(Usage::error("say which gate: -c FILE or --admin ENDPOINT")),
    };
    match endpoint {
        Endpoint::Tcp(address) if address.port() == 0 => {
            Err(anyhow!("the admin listener has a port of the machine's choice: use --admin"))
        }
        Endpoint::Tcp(address) => Ok(Place::Host(host(&address).into(), address.port())),
        Endpoint::Unix(path) => Ok(Place::Unix(path)),
    }
}

/// A listener on every address is reached on the loopback one.
fn host(address: &std::net::SocketAddr) -> String {
    let ip = address.ip();
    match (ip.is_unspecified(), ip.is_ipv4()) {
        (true, true) => "127.0.0.1".to_owned(),
        (true, false) => "::1".to_owned(),
        (false, _) => ip.to_string(),
    }
}

fn told(answer: &Answer, json: bool, done: &str, good: StatusCode) -> anyhow::Result<Outcome> {
    if json {
        output::print(&format!("{}\n", answer.body))?;
    }
    if answer.status == good {
        if !json && let Ok(revocation) = Revocation::from_json(&answer.body) {
            output::print(&format!("{done}: {}\n", line(&revocation, None)))?;
        }
        return Ok(Outcome::Done);
    }
    let why = answer.body.get("error").and_then(Value::as_str).unwrap_or_default();
    output::complain(&format!("the gate answered {}: {}", answer.status, output::escaped(why)));
    Ok(if answer.status.is_client_error() { Outcome::Unusable } else { Outcome::Refused })
}

fn list(body: &Value, now: Timestamp) -> anyhow::Result<Outcome> {
    let all = body.get("revocations").and_then(Value::as_array);
    let all = all.context("the gate did not answer with a list")?;
    let mut text = String::new();
    for one in all {
        let revocation = Revocation::from_json(one).map_err(|why| anyhow!("{why}"))?;
        text += &line(&revocation, Some(now));
        text.push('\n');
    }
    output::print(if all.is_empty() { "nothing is revoked\n" } else { &text })?;
    Ok(Outcome::Done)
}

/// One revocation in one line.
fn line(revocation: &Revocation, now: Option<Timestamp>) -> String {
    let paint = Paint::new(output::is_colored());
    let target = &revocation.target;
    let name = output::escaped(&target.value);
    let issuer = target.issuer.as_ref().map(|issuer| format!(" of {}", output::escaped(issuer)));
    let reason = revocation.reason.as_ref().map(|reason| format!(": {}", output::escaped(reason)));
    let end = match (revocation.until, now) {
        (Some(until), Some(now)) => Some(format!(", for {} s more", until.since(now).as_secs())),
        (Some(until), None) => Some(format!(", until {}", to_the_second(until))),
        (None, _) => None,
    };
    let kind = paint.paint(Style::Bad, target.kind.word());
    let made = format!("  {} since {}", revocation.id, to_the_second(revocation.at));
    let made = paint.paint(Style::Faint, &made);
    [Some(format!("{kind} {name}")), issuer, reason, end, Some(made)]
        .into_iter()
        .flatten()
        .collect()
}

fn to_the_second(at: Timestamp) -> String {
    at.to_string().get(..19).map_or_else(String::new, |text| format!("{text}Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_time_or_how_long_from_now() {
        let now = Timestamp::from_seconds(1_790_000_000);
        for (text, seconds) in [
            ("90m", Some(1_790_005_400)),
            ("2026-12-31T23:59:59Z", Some(1_798_761_599)),
            ("tomorrow", None),
            ("1969-12-31T00:00:00Z", None),
        ] {
            assert_eq!(moment(text, now).ok().map(Timestamp::seconds), seconds, "{text}");
        }
    }

    #[test]
    fn a_listener_on_every_address_is_reached_on_the_loopback_one() {
        for (address, reached) in
            [("0.0.0.0:1", "127.0.0.1"), ("[::]:1", "::1"), ("192.0.2.1:1", "192.0.2.1")]
        {
            assert_eq!(host(&address.parse().unwrap()), reached);
        }
    }
}
