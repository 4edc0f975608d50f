//! Forwarding: a permit and a receipt go in, and only then do bytes go upstream.
//!
//! What was not permitted or not recorded cannot be forwarded: [`forward`] uses up a [`Permit`], which
//! only a decision makes, and asks for a [`Receipt`], which only the journal makes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{self, HeaderMap};
use http::{Method, Request, Response, StatusCode};
use hyper::upgrade::OnUpgrade;

use super::body::rewrite::Rewrite;
use super::body::{self, Ending, Fault, Finish, Payload, RequestBody, ResponseBody, Watch};
use super::headers::{self, Unwanted};
use super::hearing::Hearing;
use super::session;
use super::tether::Tether;
use super::upstream::{SendError, Upstream, UpstreamBody};
use crate::audit::record::{self, Outcome};
use crate::decide::permit::Permit;
use crate::facts::ledger::Reservation;
use crate::journal::writer::{Journal, Receipt};
use crate::model::media;
use crate::model::reason::Reason;
use crate::model::time::Timestamp;
use crate::runtime::clock;
use crate::runtime::metrics::{Metrics, Tally};

/// The longest silence in an event stream or on a WebSocket: the other end says nothing because
/// there is nothing to say.
pub(super) const STREAM_IDLE: Duration = Duration::from_mins(15);

/// A permitted call, ready to be sent.
#[derive(Debug)]
pub struct Order {
    /// Where it goes.
    pub upstream: Arc<Upstream>,
    /// The method that was judged.
    pub method: Method,
    /// Path and query, byte for byte those that were judged.
    pub target: Box<str>,
    /// The headers, cleaned.
    pub headers: HeaderMap,
    /// The body: what was judged of it, or unread.
    pub body: Payload,
    /// The most bytes of it that pass.
    pub body_limit: u64,
    /// The longest pause within a body.
    pub body_idle: Duration,
    /// What its trailers may not hold.
    pub unwanted_trailers: Unwanted,
    /// Whether the response ends when the grant does.
    pub ends_with_grant: bool,
    /// When the call came, by the wall clock and by the other.
    pub came: (Timestamp, Instant),
    /// What ends the call when its grant is revoked.
    pub tether: Option<Box<Tether>>,
    /// The caller's side of a switch to WebSocket, when one was asked for.
    pub upgrade: Option<OnUpgrade>,
    /// Whoever hears the answer, where it is in a protocol of its own.
    pub ear: Option<Box<Hearing>>,
}

/// What is written when a call ends. Every call that was let through has one.
#[derive(Debug)]
pub struct Account {
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    journal: Journal,
    metrics: Arc<Metrics>,
    tally: Tally,
    decision: Box<str>,
    seq: u64,
    begun: Instant,
    status: Option<StatusCode>,
    request: Option<Arc<Watch>>,
    reservation: Option<Reservation>,
}

impl Account {
    /// Opens the account of the decision that `receipt` is for and that was made at `decided`. The room
    /// that is taken for the call is settled with it.
    pub fn open(
        journal: &Journal,
        metrics: &Arc<Metrics>,
        tally: Tally,
        decision: &str,
        receipt: &Receipt,
        decided: Instant,
        reservation: Option<Reservation>,
    ) -> Self {
        let open = Open {
            journal: journal.clone(),
            metrics: Arc::clone(metrics),
            tally,
            decision: decision.into(),
            seq: receipt.seq(),
            begun: decided,
            status: None,
            request: None,
            reservation: reservation.map(Reservation::recorded),
        };
        Self { open: Some(open) }
    }

    fn answered(&mut self, status: StatusCode) {
        if let Some(open) = &mut self.open {
            open.status = Some(status);
        }
    }

    pub(super) fn close(
        mut self,
        ending: record::Ending,
        error: Option<Reason>,
        finish: Option<Finish>,
    ) {
        if let Some(open) = self.open.take() {
            open.write(ending, error, finish);
        }
    }
}

/// A caller that goes away takes the call's future with it; the outcome is written all the same.
impl Drop for Account {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            open.write(record::Ending::ClientAborted, None, None);
        }
    }
}

impl Open {
    fn write(self, ending: record::Ending, error: Option<Reason>, finish: Option<Finish>) {
        let took = clock::instant().saturating_duration_since(self.begun);
        self.metrics.finished(&self.tally, ending.word(), took);
        let since = |at: Instant| at.saturating_duration_since(self.begun);
        // What never reached the upstream had no effect (`policy.md` §8).
        let refunded = self
            .reservation
            .filter(|taken| ending == record::Ending::Unreachable && taken.outlasts_call());
        self.journal.note(
            clock::now(),
            &Outcome {
                of: self.seq,
                id: &self.decision,
                ending,
                status: self.status.map(|status| status.as_u16()),
                bytes_in: self.request.as_ref().map_or(0, |request| request.bytes()),
                bytes_out: finish.map_or(0, |finish| finish.bytes),
                duration: Some(took),
                first_byte: finish.and_then(|finish| finish.first_byte).map(since),
                error,
                refunded: refunded.is_some(),
            },
        );
        if let Some(reservation) = refunded {
            reservation.refund();
        }
    }
}

/// Sends a permitted and recorded call upstream and hands the response back as it comes.
pub async fn forward(
    permit: Permit,
    _receipt: &Receipt,
    order: Order,
    mut account: Account,
) -> Result<Response<ResponseBody>, Reason> {
    let (now, begun) = order.came;
    let ends = permit.ends().filter(|_| order.ends_with_grant);
    let deadline = ends.map(|ends| begun + ends.since(now));
    let (limit, idle) = (order.body_limit, order.body_idle);
    let (body, watch) = RequestBody::of(order.body, limit, idle, order.unwanted_trailers);
    if let Some(open) = &mut account.open {
        open.request = watch;
    }
    let mut request = Request::new(body);
    *request.method_mut() = order.method;
    *request.headers_mut() = order.headers;
    let mut limits = Limits { idle: order.body_idle, deadline, tether: order.tether };
    let sent = tokio::select! {
        sent = order.upstream.send(request, &order.target) => sent,
        reason = limits.revoked() => {
            account.close(record::Ending::Failure, Some(reason), None);
            return Err(reason);
        }
    };
    let response = match sent {
        Ok(response) => response,
        Err(error) => return Err(failed(&error, account)),
    };
    account.answered(response.status());
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return session::switch(response, order.upgrade, limits, account);
    }
    if is_event_stream(response.headers()) {
        limits.idle = STREAM_IDLE;
    }
    let rewrite = order.ear.and_then(|ear| ear.hear(response.headers()));
    Ok(pass(response, limits, rewrite, account))
}

/// What ends a response before its end.
#[derive(Debug)]
pub(super) struct Limits {
    /// The longest silence.
    pub(super) idle: Duration,
    /// When the grant ends.
    pub(super) deadline: Option<Instant>,
    /// The revocation of the grant.
    tether: Option<Box<Tether>>,
}

impl Limits {
    /// Ends when the grant is revoked, and says by what name the refusal goes.
    pub(super) async fn revoked(&mut self) -> Reason {
        match &mut self.tether {
            Some(tether) => tether.cut().await,
            None => std::future::pending().await,
        }
    }
}

fn failed(error: &SendError, account: Account) -> Reason {
    let reason = error.reason();
    let ending = match error {
        SendError::Timeout => record::Ending::Timeout,
        SendError::Overloaded | SendError::Unreachable(_) => record::Ending::Unreachable,
        SendError::Body(Fault::Aborted) => record::Ending::ClientAborted,
        SendError::Body(_) | SendError::Failed { .. } => record::Ending::Failure,
    };
    tracing::debug!(error = %std::error::Error::source(error).unwrap_or(error), reason = reason.code(), "no response");
    account.close(ending, Some(reason), None);
    reason
}

fn pass(
    response: Response<UpstreamBody>,
    limits: Limits,
    rewrite: Option<Box<dyn Rewrite>>,
    account: Account,
) -> Response<ResponseBody> {
    let (mut parts, body) = response.into_parts();
    body::sanitize_framing(&mut parts.headers);
    if rewrite.is_some() {
        // What comes of it has another length, and no encoding.
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.remove(header::CONTENT_ENCODING);
    }
    headers::clean_response(&mut parts.headers);
    parts.version = http::Version::default();
    parts.extensions.clear();
    let hook = Box::new(move |finish: Finish| {
        let (ending, error) = match finish.ending {
            Ending::ClientAborted => (record::Ending::ClientAborted, None),
            Ending::Complete => (record::Ending::Success, None),
            Ending::Expired => (record::Ending::Failure, Some(Reason::TokenExpired)),
            Ending::Revoked(reason) => (record::Ending::Failure, Some(reason)),
            Ending::UpstreamFailed => (record::Ending::Failure, Some(Reason::UpstreamFailed)),
            Ending::UpstreamIdle => (record::Ending::Timeout, Some(Reason::UpstreamTimeout)),
        };
        account.close(ending, error, Some(finish));
    });
    let Limits { idle, deadline, tether } = limits;
    let body = ResponseBody::forward(body, rewrite, idle, deadline, tether, hook);
    Response::from_parts(parts, body)
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(media::is_event_stream)
}
