//! `opgate explain`: the decision on one request, check by check, and the one input to change.
//!
//! It runs the steps that the gate runs, with the keys and revocations of the configuration; nothing is
//! recorded, and nothing is forwarded.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request};
use serde_json::{Value, json};

use self::policies::Account;
use super::output::{self, Paint, Rows, Style, escaped};
use super::{Outcome, Usage, opening, serve, token};
use crate::config::{self, Config};
use crate::decide::call::{Call, DISPUTED};
use crate::decide::permit::{Ground, Permit};
use crate::decide::trace::{Check, Verdict, trace};
use crate::facts::bonds::Bonds;
use crate::facts::ledger::Taken;
use crate::facts::replay::Replay;
use crate::facts::revocation::Revocations;
use crate::facts::store::Store;
use crate::model::consulted::Consulted;
use crate::model::hex::hex;
use crate::model::reason::{Denial, Reason};
use crate::operation::head::Transport;
use crate::policy::algebra::Basis;
use crate::proxy::body::Payload;
use crate::proxy::judge::{Arrival, Judgement, judge};
use crate::proxy::reject;
use crate::runtime::clock;
use crate::state::Snapshot;
use crate::token::details;
use crate::token::parties::Parties;

/// `opgate explain`
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  opgate explain -c opgate.toml --token $TOKEN --request 'POST /shop/orders'
  opgate explain -c opgate.toml --token - --request 'GET https://tools.example.com/shop/orders/7' < token

The path is as an agent sends it to the gate. Exit code 0 where the call would be forwarded, 1 where not.")]
pub struct ExplainArgs {
    /// The configuration
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
    /// The token, or `-` for standard input
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
    /// Method, and path or URL
    #[arg(long, value_name = "'METHOD PATH'")]
    pub request: String,
    /// A header of the request; may be given several times
    #[arg(long, value_name = "'NAME: VALUE'")]
    pub header: Vec<String>,
    /// A file that is the body of the request; JSON unless a header says otherwise
    #[arg(long, value_name = "FILE")]
    pub body: Option<PathBuf>,
    /// Answer in JSON
    #[arg(long)]
    pub json: bool,
}

/// What a decision is made with, away from a running gate.
#[derive(Debug)]
pub(super) struct Bench {
    pub(super) snapshot: Snapshot,
    pub(super) facts: Arc<Store>,
}

impl Bench {
    /// Builds what the gate would, obtains the keys, and reads what is revoked.
    pub(super) async fn build(config: Arc<Config>) -> anyhow::Result<Self> {
        let revocations = Arc::new(Revocations::peek(&config.revocations)?);
        let mut key = [0; 32];
        aws_lc_rs::rand::fill(&mut key).map_err(|_opaque| anyhow::anyhow!("no randomness"))?;
        // A memory of its own: what is explained is not used up.
        let limits = &config.limits;
        let bonds = Bonds::new(limits.evidence, limits.evidence_memory, Box::new(|one| *one), None);
        let replay = Arc::new(Replay::new(limits.proofs, &key, None, bonds));
        let ledger = Arc::new(opening::look(&config)?);
        let facts = Store::new(&config, &revocations, &replay, &ledger, &serve::environment, None)?;
        facts.only_ask();
        let facts = Arc::new(facts);
        let snapshot = Snapshot::build(config)?;
        facts.prime().await;
        Ok(Self { snapshot, facts })
    }
}

/// Explains the decision.
pub fn run(args: &ExplainArgs) -> anyhow::Result<Outcome> {
    let config = match config::load(&args.config, &serve::environment) {
        Ok(config) => Arc::new(config),
        Err(problems) => {
            output::complain(&problems.to_string());
            return Ok(Outcome::Unusable);
        }
    };
    let body = args
        .body
        .as_ref()
        .map(|file| std::fs::read(file).with_context(|| file.display().to_string()));
    let body = body.transpose()?.unwrap_or_default();
    let parts = request(args, body.len(), &config)?;
    let mut payload = Payload::from(Bytes::from(body));
    serve::runtime(Some(1))?.block_on(async {
        let bench = Bench::build(Arc::clone(&config)).await?;
        let (room, request) = (Arc::default(), (&parts, &mut payload));
        let mut judged = Judgement::unread();
        judge(&bench.snapshot, &bench.facts, request, arrival(), &room, &mut judged).await;
        let told = Told::of(&judged, &bench);
        output::print(&if args.json { told.json() } else { told.text(args) })?;
        Ok(if judged.verdict.is_ok() { Outcome::Done } else { Outcome::Refused })
    })
}

/// A request that comes now, on a connection that says nothing of itself.
fn arrival() -> Arrival<'static> {
    let transport = Transport::default();
    Arrival { transport, certificate: None, client: None, now: clock::now() }
}

/// The head of the request as the gate would see it.
fn request(args: &ExplainArgs, length: usize, config: &Config) -> anyhow::Result<Parts> {
    let unusable =
        || Usage::error("write the request as a method and a path: 'GET /shop/orders/7'");
    let (method, target) = args.request.trim().split_once(' ').ok_or_else(unusable)?;
    let method = Method::from_bytes(method.as_bytes()).map_err(|_opaque| unusable())?;
    let (authority, path) = match target.split_once("://") {
        Some((_, rest)) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        None => (&*config.gate.origin.authority, target),
    };
    let path = if path.is_empty() { "/" } else { path };
    if !path.starts_with('/') {
        return Err(unusable());
    }
    let mut request = Request::builder().method(method).uri(path).header(HOST, authority);
    if let Some(token) = &args.token {
        let text = token::inspect::text(token)?;
        let is_proof = |line: &String| line.to_ascii_lowercase().starts_with("dpop:");
        let scheme = if args.header.iter().any(is_proof) { "DPoP" } else { "Bearer" };
        request = request.header(AUTHORIZATION, format!("{scheme} {}", text.trim()));
    }
    if args.body.is_some() {
        request = request.header(CONTENT_LENGTH, length);
        let is_type = |line: &String| line.to_ascii_lowercase().starts_with("content-type:");
        if !args.header.iter().any(is_type) {
            request = request.header(CONTENT_TYPE, "application/json");
        }
    }
    for line in &args.header {
        let (name, value) =
            line.split_once(':').ok_or_else(|| Usage::error("write a header as 'Name: value'"))?;
        let name = HeaderName::from_bytes(name.trim().as_bytes());
        let value = HeaderValue::from_str(value.trim());
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(Usage::error(format!("`{}` is not a header", escaped(line))));
        };
        request = request.header(name, value);
    }
    let request =
        request.body(()).map_err(|error| Usage::error(format!("the request: {error}")))?;
    Ok(request.into_parts().0)
}

/// What is said of a judgement.
#[derive(Debug)]
struct Told {
    denial: Option<Denial>,
    forwarded: bool,
    status: u16,
    error: Option<&'static str>,
    checks: Vec<(Check, Verdict, Option<String>)>,
    change: Option<String>,
    /// Of the policies that did not say yes, where the call is refused.
    policies: Vec<Account>,
}

impl Told {
    fn of(judged: &Judgement<'_>, bench: &Bench) -> Self {
        let config = &bench.snapshot.config;
        let denial = match &judged.verdict {
            Err(denial) => Some(*denial),
            Ok(permit) => match permit.ground() {
                Ground::Granted(_) | Ground::Public => None,
                Ground::Observed(denial) => Some(denial),
            },
        };
        let detail = |(check, verdict)| match verdict {
            Verdict::Passed => (check, verdict, passed(check, judged)),
            Verdict::Failed => {
                (check, verdict, denial.map(|denial| failing(check, denial, judged)))
            }
            Verdict::NotReached => (check, verdict, None),
        };
        let shape = denial.map(|denial| reject::of(denial.reason));
        Self {
            denial,
            forwarded: judged.verdict.is_ok(),
            status: shape.map_or(200, |shape| shape.status.as_u16()),
            error: shape.map(|shape| shape.error),
            checks: trace(denial).map(detail).collect(),
            change: denial.map(|denial| change(denial, judged, config)),
            policies: denial.map_or_else(Vec::new, |_| policies::accounts(judged, bench)),
        }
    }

    fn json(&self) -> String {
        let checks: Vec<Value> = self
            .checks
            .iter()
            .map(|(check, verdict, detail)| {
                json!({"check": check.name(), "verdict": word(*verdict), "detail": detail})
            })
            .collect();
        let told = json!({
            "decision": if self.denial.is_none() { "allow" } else { "deny" },
            "forwarded": self.forwarded,
            "reason": self.denial.map(|denial| denial.reason.code()),
            "about": self.denial.and_then(|denial| denial.about),
            "status": self.denial.map(|_| self.status),
            "error": self.error,
            "checks": checks,
            "change": self.change,
            "policies": self.policies.iter().map(Account::json).collect::<Vec<_>>(),
        });
        format!("{told}\n")
    }

    fn text(&self, args: &ExplainArgs) -> String {
        let paint = Paint::new(output::is_colored());
        let mut rows = Rows::new(paint);
        for (check, verdict, detail) in &self.checks {
            let style = match verdict {
                Verdict::Passed => Style::Good,
                Verdict::Failed => Style::Bad,
                Verdict::NotReached => Style::Faint,
            };
            let word = paint.paint(style, &format!("{:<11}", word(*verdict)));
            rows.add(
                check.name(),
                format!("{word}  {}", detail.as_deref().unwrap_or_default()).trim_end(),
            );
        }
        let mut text = format!("{}\n{}", escaped(&args.request), rows.text());
        let end = match (self.denial, self.error) {
            (Some(_), Some(error)) if self.forwarded => {
                format!(
                    "forwarded although refused ({} {error}): the resource is in mode `observe`",
                    self.status
                )
            }
            (Some(_), Some(error)) => format!("refused: {} {error}", self.status),
            _ => "allowed".to_owned(),
        };
        let style = if self.denial.is_some() { Style::Bad } else { Style::Good };
        text += &paint.paint(style, &end);
        text.push('\n');
        if let Some(change) = &self.change {
            text.extend(["to change: ", change, "\n"]);
        }
        text.extend(self.policies.iter().map(Account::text));
        text
    }
}

const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Failed => "refused",
        Verdict::NotReached => "not reached",
        Verdict::Passed => "passed",
    }
}

/// What stopped the decision, and what the policies that stopped it said.
fn failing(check: Check, denial: Denial, judged: &Judgement<'_>) -> String {
    let said = match check {
        Check::Policies => consulted(judged, |one| one.carrier != GRANTS),
        Check::Grants => consulted(judged, |one| one.carrier == GRANTS),
        _ => None,
    };
    let misfit = judged.misfit.as_ref().map(|misfit| {
        let pointer = if misfit.pointer.is_empty() { "as a whole" } else { misfit.told() };
        format!("{} {}", misfit.place.word(), escaped(pointer))
    });
    match said.or(misfit) {
        Some(said) => format!("{}: {said}", failed(denial)),
        None => failed(denial),
    }
}

/// What carries the policies of grants, in refusals and records.
const GRANTS: &str = "authorization_details";

/// The policies of some kind that were asked, and what each said.
fn consulted(judged: &Judgement<'_>, is_meant: impl Fn(&Consulted) -> bool) -> Option<String> {
    let said = |one: &Consulted| {
        let name = one.id.as_deref().map_or_else(|| "inline".to_owned(), escaped);
        let digest = hex(one.sha256.get(..4).unwrap_or_default());
        format!("{} {name} (sha256 {digest}…, {}): {}", one.carrier, one.dialect, one.result)
    };
    let all: Vec<_> = judged.consulted.iter().filter(|one| is_meant(one)).map(said).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// The code of a refusal, and what it is about.
pub(super) fn failed(denial: Denial) -> String {
    let about = denial.about.map(unmet).unwrap_or_default();
    format!("{} {about}", denial.reason.code()).trim_end().to_owned()
}

/// What a refusal is about; a numbered check together with what it asks for.
fn unmet(about: &str) -> String {
    words::check(about).map_or_else(|| about.to_owned(), |asks| format!("{about} (not so: {asks})"))
}

/// What was found where a check passed, as far as it is worth saying.
fn passed(check: Check, judged: &Judgement<'_>) -> Option<String> {
    let grant = judged.grant.as_deref();
    let call = judged.call.as_ref();
    match check {
        Check::Request => {
            let call = call?;
            let action = call.action().ok()?;
            Some(format!("{} of {}", escaped(action), escaped(&call.resource().id)))
        }
        Check::Trust => Some(escaped(&grant?.issuer().id)),
        Check::Claims => {
            let parties = Parties::of(grant?, judged.presenter.as_ref());
            let user = parties.user.map_or("nobody", |user| user.id);
            let agent = parties.agent.unwrap_or("an unnamed agent");
            Some(format!("{} for {}", escaped(agent), escaped(user)))
        }
        Check::Dates => Some(format!("until {}", grant?.ends())),
        Check::Scope => Some(escaped(&grant?.claims().scope.join(" "))),
        Check::Grants => match judged.verdict.as_ref().map(Permit::ground) {
            Ok(Ground::Granted(Basis::Entry(entry) | Basis::Policy(entry))) => {
                Some(format!("entry {entry} of authorization_details"))
            }
            Ok(Ground::Granted(Basis::Open)) => Some("a valid token is enough".to_owned()),
            Ok(Ground::Public) => Some("it is for everybody, without a token".to_owned()),
            Ok(Ground::Granted(Basis::Scopes)) => Some("the scopes suffice here".to_owned()),
            Ok(Ground::Granted(Basis::Boundaries) | Ground::Observed(_)) | Err(_) => None,
        },
        Check::Policies => consulted(judged, |one| one.carrier != GRANTS),
        Check::Quantities => Some(counted(judged.reservation.as_ref()?.taken())),
        _ => None,
    }
}

/// What the call counts under each cap, and what is left after it by what the log here says.
fn counted(taken: &[Taken]) -> String {
    let one = |taken: &Taken| {
        let (name, most) = (escaped(&taken.cap.name), taken.cap.most);
        format!("{} of `{name}`, which leaves {} of {most}", taken.amount, taken.left)
    };
    if taken.is_empty() {
        "no cap".to_owned()
    } else {
        taken.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

/// The one input to change, so that this check would pass.
fn change(denial: Denial, judged: &Judgement<'_>, config: &Config) -> String {
    let about = denial.about.unwrap_or_default();
    let call = judged.call.as_ref();
    match Check::of(denial) {
        Check::Request => request_to_change(denial, call, config),
        Check::Credentials => {
            "send one token, as `Authorization: Bearer …` and nowhere else".to_owned()
        }
        Check::Format => {
            "the token: it is not a compact JWS of strict base64url and JSON".to_owned()
        }
        Check::Trust => trust_to_change(denial, call, config),
        Check::Signature => "the token: its text is not what the issuer signed".to_owned(),
        Check::Claims => claim_to_change(denial, judged),
        Check::Dates => format!("the token: take a newer one, `{about}` is out of time"),
        Check::Conditions => format!("`{about}` of the token, which cannot be checked here"),
        Check::Delegation => format!("`delegation_chain` of the token: {}", unmet(about)),
        Check::Proof => format!("the proof beside the token: {}", failed(denial)),
        Check::Presenter => "who presents the token: it was delegated to another".to_owned(),
        Check::Evidence => format!("the evidence in the token: {}", unmet(about)),
        Check::Confirmation => {
            format!("the confirmation of the person: ask for a new one, {}", unmet(about))
        }
        Check::AgentIdentity => format!("`agent_identity.{about}` of the token"),
        Check::Audience => format!(
            "`aud` of the token: it is {}, and must hold `{}`",
            judged
                .grant
                .as_ref()
                .map_or_else(String::new, |grant| quoted(&grant.claims().audience)),
            call.map_or("", |call| &call.resource().id)
        ),
        Check::Revocation => format!("the token: its {about} is revoked (`opgate revoke list`)"),
        Check::Workload => format!("the workload that presents the token ({about})"),
        Check::Body => body_to_change(denial, call),
        Check::Overlay => {
            let rule = match call.map_or("http", |call| call.resource().protocol()) {
                "a2a" => format!("`resource.a2a.{about}`"),
                "mcp" => "`[[resource.tool]]`".to_owned(),
                _ => "`[[resource.deny]]`".to_owned(),
            };
            format!("{rule} of the configuration; no token can change it")
        }
        Check::Scope => scope_to_change(judged, config),
        Check::Authentication => authentication_to_change(call),
        Check::Policies => policy_to_change(denial),
        Check::Grants => grant_to_change(denial, judged),
        Check::Quantities if denial.reason == Reason::TaskUnknown => {
            "the task: it is known to the gate that saw it begin, and to its owner alone".to_owned()
        }
        Check::Quantities => quantities::change(denial, judged),
        Check::Afterwards => "nothing: try again".to_owned(),
    }
}

/// The claim; of `authorization_details` the place in it.
fn claim_to_change(denial: Denial, judged: &Judgement<'_>) -> String {
    let token = judged.credentials.as_ref().map(|credentials| credentials.token);
    let place = token.and_then(|token| details::place_of(denial, token));
    let about = place.as_deref().or(denial.about).unwrap_or_default();
    format!("claim `{}` of the token", escaped(about))
}

fn request_to_change(denial: Denial, call: Option<&Call<'_>>, config: &Config) -> String {
    match (denial.reason, call) {
        (Reason::MethodNotAllowed, Some(call)) => {
            let methods: Vec<_> = call.other_methods().iter().map(|one| one.as_str()).collect();
            format!("the method: the path is an operation for {}", methods.join(", "))
        }
        (Reason::NoRoute, Some(_)) if denial.about == Some(DISPUTED) => {
            "the path: more than one operation of the document claims it, so that none has it"
                .to_owned()
        }
        (Reason::NoRoute, Some(call)) => {
            format!("the path: no operation of `{}` has it", escaped(&call.resource().id))
        }
        (Reason::NoRoute, None) => {
            let mounts = config.resources.iter().map(|one| format!("`{}`", escaped(&one.mount)));
            format!("the path: resources are at {}", mounts.collect::<Vec<_>>().join(", "))
        }
        _ => format!("the request: {}", failed(denial)),
    }
}

fn trust_to_change(denial: Denial, call: Option<&Call<'_>>, config: &Config) -> String {
    match denial.reason {
        Reason::IssuerUnknown => {
            let trusted = call.map_or(&[][..], |call| &call.resource().issuers);
            let trusted: Vec<Box<str>> = trusted
                .iter()
                .filter_map(|index| Some(config.issuers.get(*index)?.trust.id.clone()))
                .collect();
            format!("`iss` of the token: the resource trusts {}", quoted(&trusted))
        }
        Reason::KeyUnknown => "the issuer's keys: none goes by the `kid` of the token".to_owned(),
        Reason::KeysUnavailable => "the source of the issuer's keys: they cannot be had".to_owned(),
        Reason::AlgorithmRefused => "`alg` of the token, or `algorithms` of the issuer".to_owned(),
        Reason::TypeRefused => "`typ` of the token, or `allow_typ` of the issuer".to_owned(),
        _ => format!("claim `{}` of the token", denial.about.unwrap_or_default()),
    }
}

fn body_to_change(denial: Denial, call: Option<&Call<'_>>) -> String {
    let protocol = call.map_or("http", |call| call.resource().protocol());
    let about = denial.about.unwrap_or_default();
    match denial.reason {
        Reason::ArgumentsInvalid if about == "ambiguous" => {
            "the argument that has two values: in the path, the query or the body".to_owned()
        }
        Reason::ArgumentsInvalid if protocol != "http" => {
            format!("`{about}` of the message: it is missing, or not what the method takes")
        }
        Reason::ArgumentsInvalid => {
            format!("the argument: it breaks `{about}` of the document in `openapi`")
        }
        Reason::MessageInvalid => format!("the body: it is not one JSON-RPC message ({about})"),
        Reason::OperationUnknown => "the method: it is not known in this revision".to_owned(),
        Reason::VersionUnsupported => {
            format!(
                "`{about}`, or `{protocol}.versions` of the resource: this revision is not spoken"
            )
        }
        Reason::HeaderMismatch => format!("header `{about}`: the message does not say the same"),
        Reason::SessionUnknown => "header `mcp-session-id`: the session is not known".to_owned(),
        Reason::ResponseUnsolicited => "nothing: the server did not ask this".to_owned(),
        Reason::BodyMalformed => format!("the body: it is not strict JSON ({about})"),
        Reason::BodyTypeRefused => {
            format!("header `{about}`: what is judged must be JSON, in no content encoding")
        }
        _ => "the body, or `body_limit` or `judged_body_limit` of the resource".to_owned(),
    }
}

fn scope_to_change(judged: &Judgement<'_>, config: &Config) -> String {
    let required = |call: &Call<'_>| {
        let resource = config.resources.get(call.resource_index())?;
        let all = resource.scopes.iter().chain(&call.entry().ok()?.scopes);
        let grant = judged.grant.as_deref();
        let missing = all.filter(|scope| !grant.is_some_and(|grant| grant.has_scope(scope)));
        Some(missing.cloned().collect::<Vec<_>>())
    };
    let missing = judged.call.as_ref().and_then(required).unwrap_or_default();
    format!("`scope` of the token: it lacks {}", quoted(&missing))
}

fn authentication_to_change(call: Option<&Call<'_>>) -> String {
    let demand = call.and_then(|call| Some(&call.entry().ok()?.authentication));
    let mut wanted = Vec::new();
    if let Some(demand) = demand {
        if !demand.acr_values.is_empty() {
            wanted.push(format!("`acr` one of {}", quoted(&demand.acr_values)));
        }
        if let Some(age) = demand.max_age {
            wanted.push(format!("`auth_time` at most {} s ago", age.as_secs()));
        }
    }
    format!("the authentication of the person: {}", wanted.join(", "))
}

fn grant_to_change(denial: Denial, judged: &Judgement<'_>) -> String {
    if denial.about == Some(GRANTS) {
        return policy_to_change(denial);
    }
    let call = judged.call.as_ref();
    if denial.reason == Reason::ArgumentsOutside {
        let unmet = call.and_then(|call| arguments_to_change(call, judged)).unwrap_or_default();
        return format!("the arguments of the call: {}", escaped(&unmet));
    }
    let action = call.and_then(|call| call.action().ok()).unwrap_or_default();
    let entry = json!({"type": "agent_operation", "operations": [{"action": action}]});
    format!("`authorization_details` of the token: it would need {}", escaped(&entry.to_string()))
}

/// The argument that each of the granted operations of this name lacks.
fn arguments_to_change(call: &Call<'_>, judged: &Judgement<'_>) -> Option<String> {
    let operation = call.operation(call.entry().ok()?, judged.body.as_ref());
    let entries = judged.grant.as_ref()?.entries().iter();
    let listed = entries.filter(|entry| entry.bounds.hold(&operation));
    let unmet = listed.filter_map(|entry| Some((entry.index, entry.rule.listed()?)));
    let unmet = unmet.flat_map(|(index, listed)| {
        let unmet = listed.iter().filter_map(|allowed| allowed.unmet(&operation));
        unmet.map(move |unmet| format!("{unmet} (entry {index})"))
    });
    Some(unmet.collect::<Vec<_>>().join("; or "))
}

/// What a policy refused, or why it could not be asked.
fn policy_to_change(denial: Denial) -> String {
    let about = denial.about.unwrap_or_default();
    match denial.reason {
        Reason::PoliciesTooMany => {
            "the token: more than 16 policies bear on the operation".to_owned()
        }
        Reason::PolicyUnbound => format!(
            "`{about}` of the token: give it a digest, or set `issuer.policies.unbound = \"pin\"`"
        ),
        Reason::PolicyDigestMismatch => {
            format!("the text behind `{about}`: it is not the one that was consented to")
        }
        Reason::PolicyUnresolvable => format!(
            "`{about}` of the token: nothing by that name in `policies.directory`, nor where \
             `issuer.policies` allows to ask"
        ),
        Reason::PolicyUnavailable => {
            format!("the server that has the policy of `{about}`: try again")
        }
        Reason::PolicyLanguageUnknown => {
            format!(
                "the policy of `{about}`: its language is not one of `issuer.policies.languages`"
            )
        }
        Reason::PolicyNotAdmitted => {
            format!(
                "the text of the policy of `{about}`: `opgate policy check` says what is wrong with it"
            )
        }
        _ => format!("the call, or the policy of `{about}`: it does not say yes to this call"),
    }
}

fn quoted(names: &[Box<str>]) -> String {
    names.iter().map(|name| format!("`{}`", escaped(name))).collect::<Vec<_>>().join(", ")
}

mod policies;
mod quantities;
#[cfg(test)]
mod tests;
mod words;
