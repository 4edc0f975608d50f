//! The judgement of one request: stages A to D of `verification.md`, from the head to the verdict.
//!
//! `serve` and `explain` run this same function, so that what is explained is what happens.

use std::sync::Arc;

use http::HeaderMap;
use http::header;
use http::request::Parts;

use crate::config;
use crate::decide::call::{self, Call};
use crate::decide::facts::Facts;
use crate::decide::permit::Permit;
use crate::decide::{self, admit};
use crate::facts::store::{Settling, Store};
use crate::model::reason::{Denial, Reason};
use crate::model::time::Timestamp;
use crate::operation::head::Transport;
use crate::state::Snapshot;
use crate::token::extract::{self, Credentials};
use crate::token::grant::Grant;
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
    /// Whether the call may be forwarded.
    pub verdict: Result<Permit, Denial>,
}

impl Judgement<'_> {
    /// A refusal before anything was found out.
    pub const fn refused(denial: Denial) -> Self {
        Self { call: None, credentials: None, grant: None, presenter: None, verdict: Err(denial) }
    }
}

/// How a request came, and when.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// What the connection says of the name that was asked.
    pub transport: Transport<'a>,
    /// The caller's certificate, its key proven.
    pub certificate: Option<&'a Arc<Certificate>>,
    /// The time of the call.
    pub now: Timestamp,
}

/// Judges a request. It is refused unless every step says otherwise.
pub async fn judge<'a>(
    snapshot: &'a Snapshot,
    facts: &Store,
    parts: &'a Parts,
    arrival: Arrival<'a>,
) -> Judgement<'a> {
    let mut judgement = Judgement::refused(Reason::HttpMalformed.into());
    let call = match call::receive(parts, arrival.transport, &snapshot.world) {
        Ok(call) => call,
        Err(denial) => return Judgement::refused(denial),
    };
    let verdict = decide(snapshot, facts, parts, &call, arrival, &mut judgement).await;
    judgement.verdict = verdict.or_else(|denial| Permit::observe(&call, denial));
    judgement.call = Some(call);
    judgement
}

async fn decide<'a>(
    snapshot: &Snapshot,
    facts: &Store,
    parts: &'a Parts,
    call: &Call<'a>,
    arrival: Arrival<'a>,
    found: &mut Judgement<'a>,
) -> Result<Permit, Denial> {
    call.entry()?;
    let (token_header, certificate) = (&call.resource().token_header, arrival.certificate);
    let credentials = extract::extract(&parts.headers, call.query(), token_header, certificate)?;
    let credentials = &*found.credentials.insert(credentials);
    let (world, now) = (&snapshot.world, arrival.now);
    let grant = facts.authenticate(world, call, credentials, now).await?;
    let grant = &*found.grant.insert(grant);
    let with = Settling { world, now, credentials: Some(credentials), remembered: Some(grant) };
    let admitted = |facts: &Facts<'_>| admit::admit(call, credentials, grant, facts);
    let presenter = &*found.presenter.insert(facts.settle(&with, admitted).await?);
    check_length(&parts.headers, snapshot.config.resources.get(call.resource_index()))?;
    let permit = decide::authorize(call, grant, presenter, now)?;
    // From here on its proofs are used up, whether the call can be recorded and forwarded or not.
    facts.fulfil(&permit, now)?;
    Ok(permit)
}

/// A body that is announced larger than allowed is refused before anything of it is read.
fn check_length(headers: &HeaderMap, resource: Option<&config::Resource>) -> Result<(), Denial> {
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    match (length, resource) {
        (Some(length), Some(resource)) if length > resource.body_limit => {
            Err(Denial::about(Reason::BodyTooLarge, "content-length"))
        }
        _ => Ok(()),
    }
}
