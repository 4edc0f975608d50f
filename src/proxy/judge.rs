//! The judgement of one request: stages A to D of `verification.md`, from the head to the verdict.
//!
//! `serve` and `explain` run this same function, so that what is explained is what happens.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;

use super::body::payload::Bounds;
use super::body::{Payload, Room};
use super::errand::Errand;
use super::visit::Visit;
use crate::config::Resource;
use crate::decide::call::{self, Call};
use crate::decide::consult::{Question, Told};
use crate::decide::exchange;
use crate::decide::facts::Facts;
use crate::decide::permit::{Ground, Permit};
use crate::decide::spoken::{self, Unheard};
use crate::decide::{self, Decided, admit};
use crate::facts::ledger::{Reservation, Shortfall};
use crate::facts::replay::Fulfilled;
use crate::facts::sessions::{Owner, Standing};
use crate::facts::store::{Settling, Store};
use crate::model::body::Body;
use crate::model::consulted::Consulted;
use crate::model::exact::{Json, Malformed};
use crate::model::media;
use crate::model::reason::{Denial, Reason};
use crate::model::time::Timestamp;
use crate::operation::contract::Misfit;
use crate::operation::head::Transport;
use crate::operation::jsonrpc::Id;
use crate::operation::mcp::Server;
use crate::operation::mcp::asked::Asked;
use crate::state::Snapshot;
use crate::token::extract::{self, Credentials};
use crate::token::grant::Grant;
use crate::token::hash::sha256;
use crate::token::presenter::{Certificate, Presenter};

/// What was found out about a request, as far as it could be.
#[derive(Debug)]
pub struct Judgement<'a> {
    /// The call, when the request could be read and is for a resource.
    pub call: Option<Call<'a>>,
    /// What was presented.
    pub credentials: Option<Credentials<'a>>,
    /// The grant, when the token was verified.
    pub grant: Option<Arc<Grant>>,
    /// What the caller has proven of itself, when it was admitted.
    pub presenter: Option<Presenter>,
    /// The body, when it was read to be judged.
    pub body: Option<Body>,
    /// The `id` under which an answer to the message in it is waited for.
    pub reply_to: Option<Id>,
    /// Headers that the message in it does not confirm, and that are not forwarded.
    pub stray: Vec<HeaderName>,
    /// Where and whose it is among the sessions of an MCP server.
    pub visit: Option<Visit>,
    /// Whose it is among the tasks of an agent.
    pub errand: Option<Errand>,
    /// The room that is taken for it under every cap, when it is permitted.
    pub reservation: Option<Reservation>,
    /// The cap that it does not fit into, when that is why it is refused.
    pub shortfall: Option<Shortfall>,
    /// What was done of what its permit owes.
    pub fulfilled: Fulfilled,
    /// The argument that does not fit, when that is why it is refused.
    pub misfit: Option<Misfit>,
    /// The policies that were asked, in order.
    pub consulted: Vec<Consulted>,
    /// What they were told.
    pub told: Vec<Told>,
    /// Whether the call may be forwarded.
    pub verdict: Result<Permit, Denial>,
}

impl Judgement<'_> {
    /// A refusal, for nothing was found out yet.
    pub const fn unread() -> Self {
        Self {
            call: None,
            credentials: None,
            grant: None,
            presenter: None,
            body: None,
            reply_to: None,
            stray: Vec::new(),
            visit: None,
            errand: None,
            reservation: None,
            shortfall: None,
            fulfilled: Fulfilled { alert: None, bond: None, must_last: false },
            misfit: None,
            consulted: Vec::new(),
            told: Vec::new(),
            verdict: Err(Denial { reason: Reason::HttpMalformed, about: None }),
        }
    }

    /// Why the call is refused, or would be.
    fn denial(&self) -> Option<Denial> {
        match &self.verdict {
            Ok(permit) => match permit.ground() {
                Ground::Granted(_) | Ground::Public => None,
                Ground::Observed(denial) => Some(denial),
            },
            Err(denial) => Some(*denial),
        }
    }

    /// What somebody should look at it for, in a word.
    pub fn alert(&self) -> Option<&'static str> {
        let changed = self.visit.as_ref().filter(|visit| visit.is_changed);
        let changed = changed.map(|_| Reason::DefinitionChanged.code());
        self.fulfilled.alert.or(changed).or_else(|| self.denial()?.reason.alert())
    }
}

/// How a request came, and when.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// What the connection says of the name that was asked.
    pub transport: Transport<'a>,
    /// The caller's certificate, its key proven.
    pub certificate: Option<&'a Arc<Certificate>>,
    /// The address of the caller.
    pub client: Option<IpAddr>,
    /// The time of the call.
    pub now: Timestamp,
}

/// Judges a request. It is refused unless every step says otherwise. Its body is read where something
/// that it says decides, and otherwise left alone. What is found out goes into `found`, which is a
/// refusal before.
pub async fn judge<'a>(
    snapshot: &'a Snapshot,
    facts: &Store,
    (parts, payload): (&'a Parts, &mut Payload),
    arrival: Arrival<'a>,
    room: &Arc<Room>,
    found: &mut Judgement<'a>,
) {
    let mut call = match call::receive(parts, arrival.transport, &snapshot.world) {
        Ok(call) => call,
        Err(denial) => {
            found.verdict = Err(denial);
            return;
        }
    };
    let request = Request { parts, call: &mut call, arrival };
    let verdict = decide(snapshot, facts, request, (payload, room), found).await;
    found.verdict = verdict.or_else(|denial| match payload {
        // What was read in part cannot be forwarded, whatever the resource is.
        Payload::Broken => Err(denial),
        Payload::Unread(_) | Payload::Whole(_) => Permit::observe(&call, denial),
    });
    found.call = Some(call);
}

/// What is judged.
#[derive(Debug)]
struct Request<'r, 'a> {
    parts: &'a Parts,
    call: &'r mut Call<'a>,
    arrival: Arrival<'a>,
}

async fn decide<'a>(
    snapshot: &Snapshot,
    facts: &Store,
    request: Request<'_, 'a>,
    (payload, room): (&mut Payload, &Arc<Room>),
    found: &mut Judgement<'a>,
) -> Result<Permit, Denial> {
    let Request { parts, call, arrival } = request;
    if call.entry()?.is_public {
        return Permit::public(call, &parts.headers, !payload.is_empty());
    }
    let (token_header, certificate) = (&call.resource().token_header, arrival.certificate);
    let credentials = extract::extract(&parts.headers, call.query(), token_header, certificate)?;
    let credentials = &*found.credentials.insert(credentials);
    let (world, now) = (&snapshot.world, arrival.now);
    let grant = facts.authenticate(world, call, credentials, now).await?;
    let grant = &*found.grant.insert(grant);
    let with = Settling { world, now, credentials: Some(credentials), remembered: Some(grant) };
    let admitted = |facts: &Facts<'_>| admit::admit(&*call, credentials, grant, facts);
    let presenter = &*found.presenter.insert(facts.settle(&with, admitted).await?);
    if decide::judges_body(call, grant) {
        found.body = read(snapshot, call, &parts.headers, payload, room).await?;
    } else {
        let resource = configured(snapshot, call)?;
        check_length(&parts.headers, resource.body_limit, "content-length")?;
    }
    if let Some(server) = call.resource().mcp.as_deref() {
        let visit = Visit::of(call, &parts.headers, Owner::of(grant, presenter))?;
        let message = (&mut found.reply_to, &mut found.stray);
        let body = found.body.as_ref();
        found.visit = Some(speak(
            server,
            call,
            visit,
            (parts, body, !payload.is_empty()),
            message,
            facts,
            now,
        )?);
    }
    let validated = call.resource().mcp.as_ref().is_some_and(|server| server.validates);
    let tool = call.asked().and_then(Asked::tool).filter(|_| validated);
    let schema = tool.and_then(|tool| facts.tools().schema(&call.resource().id, tool));
    exchanged(call, (&parts.headers, found.body.as_ref()), &mut found.reply_to)?;
    let question = Question {
        schema: schema.as_deref(),
        call,
        grant,
        presenter,
        headers: &parts.headers,
        client: arrival.client,
        body: found.body.as_ref(),
        is_unread: found.body.is_none() && !payload.is_empty(),
    };
    let decided = |facts: &Facts<'_>| decide::authorize(&question, facts);
    let Decided { verdict, consulted, told, misfit } = facts.settle(&with, decided).await?;
    (found.consulted, found.told, found.misfit) = (consulted, told, misfit);
    let permit = verdict?;
    found.errand = Errand::of(call, Owner::of(grant, presenter), facts.tasks(), now)?;
    let charges = decide::charges(call, grant, presenter, found.body.as_ref(), &found.consulted)?;
    let reserved = facts.reserve(&charges, now);
    let reservation = reserved.map_err(|short| found.shortfall.insert(short).denial)?;
    // From here on its proofs are used up, whether the call can be recorded and forwarded or not.
    found.fulfilled = facts.fulfil(&permit, now)?;
    found.reservation = reservation;
    Ok(permit)
}

fn configured<'s>(snapshot: &'s Snapshot, call: &Call<'_>) -> Result<&'s Resource, Denial> {
    let resource = snapshot.config.resources.get(call.resource_index());
    resource.ok_or(Reason::NoRoute.into())
}

/// Steps 18 and 19: the body, where there is one, read whole.
async fn read(
    snapshot: &Snapshot,
    call: &Call<'_>,
    headers: &HeaderMap,
    payload: &mut Payload,
    room: &Arc<Room>,
) -> Result<Option<Body>, Denial> {
    let resource = configured(snapshot, call)?;
    check_length(headers, resource.body_limit, "content-length")?;
    if payload.is_empty() {
        return Ok(None);
    }
    let limit = resource.judged_body_limit.min(resource.body_limit);
    check_length(headers, limit, "judged_body_limit")?;
    check_readable(headers)?;
    let limits = &snapshot.config.limits;
    let bounds = Bounds {
        octets: limit,
        idle: limits.body_idle,
        whole: limits.body_timeout,
        room: limits.judged_bodies,
    };
    json_body(payload.read(bounds, room).await?).map(Some)
}

/// Step 20 where the operation stands in a message: what it asks for, and in which session. The `id` to
/// answer under and headers that are not forwarded go into `message`.
fn speak(
    server: &Server,
    call: &mut Call<'_>,
    visit: Visit,
    (parts, body, has_body): (&Parts, Option<&Body>, bool),
    (reply_to, stray): (&mut Option<Id>, &mut Vec<HeaderName>),
    facts: &Store,
    now: Timestamp,
) -> Result<Visit, Denial> {
    // Where a server takes any body for a message, this would be one that nobody has judged.
    if !call.awaits_message() && has_body {
        return Err(Denial::about(Reason::MessageInvalid, "body"));
    }
    let standing = visit.standing(facts.sessions(), now);
    if call.awaits_message() {
        let negotiated = standing.and_then(Standing::version);
        let heard = spoken::hear(server, &parts.headers, body, negotiated);
        let heard = heard.map_err(|Unheard { denial, id }| {
            *reply_to = id;
            denial
        })?;
        (*reply_to, *stray) = (heard.asked.request_id().cloned(), heard.stray);
        call.speak(heard.asked);
    }
    let visit = visit.checked(server, call, standing, facts.sessions(), now)?;
    visit.held_against(facts.tools(), server, call)
}

/// Step 20 where the operation is asked of an agent. The `id` to answer under goes into `reply_to`.
fn exchanged(
    call: &mut Call<'_>,
    (headers, body): (&HeaderMap, Option<&Body>),
    reply_to: &mut Option<Id>,
) -> Result<(), Denial> {
    let Some(agent) = call.resource().a2a.as_deref() else { return Ok(()) };
    let heard = exchange::hear(agent, call, headers, body);
    let asked = heard.map_err(|Unheard { denial, id }| {
        *reply_to = id;
        denial
    })?;
    reply_to.clone_from(&asked.id);
    call.exchange(asked);
    Ok(())
}

/// A body that is announced larger than allowed is refused before anything of it is read.
fn check_length(headers: &HeaderMap, limit: u64, about: &'static str) -> Result<(), Denial> {
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    match length {
        Some(length) if length > limit => Err(Denial::about(Reason::BodyTooLarge, about)),
        _ => Ok(()),
    }
}

/// Whether the body is what the gate can read: JSON, and not encoded as something else
/// (`verification.md` step 18). `head` has each of these headers once at most.
fn check_readable(headers: &HeaderMap) -> Result<(), Denial> {
    let encoding = headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes);
    if encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case(b"identity")) {
        return Err(Denial::about(Reason::BodyTypeRefused, "content-encoding"));
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if kind.is_some_and(media::is_json) {
        Ok(())
    } else {
        Err(Denial::about(Reason::BodyTypeRefused, "content-type"))
    }
}

/// Step 19: strict JSON, numbers exact.
fn json_body(octets: Bytes) -> Result<Body, Denial> {
    let about = |malformed| match malformed {
        Malformed::Depth => "depth",
        Malformed::Duplicate => "duplicate",
        Malformed::Number => "number",
        Malformed::Syntax => "syntax",
        Malformed::Utf8 => "utf-8",
        Malformed::Values => "values",
    };
    let json = Json::parse(&octets)
        .map_err(|malformed| Denial::about(Reason::BodyMalformed, about(malformed)))?;
    let sha256 = sha256(&octets);
    Ok(Body { octets, json, sha256 })
}
