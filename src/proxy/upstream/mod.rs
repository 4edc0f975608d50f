//! Upstreams: where permitted calls go. Chooses an address, lends a connection to it, sends, and
//! never sends twice what may have arrived once, unless its method says that it changes nothing.

mod connect;
mod fitness;
mod health;
mod pool;
mod target;

use std::error::Error;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::header::HeaderValue;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;

use crate::config;
use crate::model::reason::Reason;
use crate::proxy::body::{Fault, RequestBody, Watch};
use crate::proxy::headers;
use crate::runtime::clock;
use crate::runtime::dial::{self, DialError, TlsError};

pub use health::Watching;
pub use pool::UpstreamBody;

use pool::{Denied, Lease, LeasedSender};
use target::Target;

/// How often a call is sent anew after a connection that turned out to be dead.
const RETRIES: usize = 2;

/// One upstream at work.
#[derive(Debug)]
pub struct Upstream {
    config: Arc<config::Upstream>,
    credential: Option<(http::HeaderName, HeaderValue)>,
    targets: Vec<Arc<Target>>,
    turn: AtomicUsize,
    retries: AtomicUsize,
}

/// Why an upstream cannot be built from its configuration.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A credential is configured and its secret was not given, or cannot stand in a header.
    #[error("the credential is missing or cannot stand in a header")]
    Credential,
    /// The name cannot stand in `Host`.
    #[error("`{0}` cannot be a host")]
    Host(Box<str>),
    /// The certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The request's own body broke off or went over its bounds.
    #[error("the body of the request was not whole")]
    Body(#[source] Fault),
    /// The upstream broke off, or did not speak HTTP.
    #[error("the upstream failed")]
    Failed {
        /// What happened.
        #[source]
        source: Box<dyn Error + Send + Sync>,
        /// Whether a part of the request may have arrived.
        sent: bool,
    },
    /// Every connection was in use for the whole wait.
    #[error("every connection is in use")]
    Overloaded,
    /// The head of the response did not come in time.
    #[error("the upstream did not answer in time")]
    Timeout,
    /// No address could be connected to; this is what the last one said.
    #[error("no address could be connected to")]
    Unreachable(#[source] DialError),
}

impl SendError {
    /// What the refusal is called.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Body(Fault::TooLarge) => Reason::BodyTooLarge,
            Self::Body(Fault::Idle) => Reason::BodyTimeout,
            // The caller went away or broke its own framing.
            Self::Body(Fault::Aborted) => Reason::HttpMalformed,
            Self::Body(Fault::Expired | Fault::Revoked) | Self::Failed { .. } => {
                Reason::UpstreamFailed
            }
            Self::Overloaded => Reason::UpstreamOverloaded,
            Self::Timeout => Reason::UpstreamTimeout,
            Self::Unreachable(_) => Reason::UpstreamUnreachable,
        }
    }

    /// Whether a part of the request may have arrived.
    pub const fn was_sent(&self) -> bool {
        match self {
            Self::Body(_) | Self::Timeout => true,
            Self::Failed { sent, .. } => *sent,
            Self::Overloaded | Self::Unreachable(_) => false,
        }
    }
}

/// Numbers for the metrics, over all addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections that are open.
    pub open: usize,
    /// Connections that nobody uses.
    pub idle: usize,
    /// Calls that wait for a connection or hold one.
    pub in_flight: usize,
    /// Addresses that are left out.
    pub ejected: usize,
    /// Connections tried so far.
    pub connects: usize,
    /// Calls sent anew so far.
    pub retries: usize,
}

/// Why a lent connection gave no response.
enum Exchange {
    /// The connection failed. Where nothing was written, the request is whole and in here.
    Failed(Box<TrySendError<Request<RequestBody>>>),
    Timeout,
}

impl Exchange {
    /// Whether a part of the request may have arrived.
    fn was_sent(&self) -> bool {
        match self {
            Self::Failed(error) => error.message().is_none(),
            Self::Timeout => true,
        }
    }

    /// Whether the connection ended before it gave an answer, as one does whose end was under way while
    /// the request was written to it.
    fn ended_unanswered(&self) -> bool {
        match self {
            Self::Failed(error) => {
                let error = error.error();
                let broke = |cause: &(dyn Error + 'static)| cause.is::<std::io::Error>();
                error.is_incomplete_message() || error.source().is_some_and(broke)
            }
            Self::Timeout => false,
        }
    }
}

impl Upstream {
    /// Reads the certificates and prepares everything that does not depend on a request. `secret`
    /// is the content of the credential's reference.
    pub fn build(
        config: Arc<config::Upstream>,
        secret: Option<&str>,
    ) -> Result<Arc<Self>, BuildError> {
        let tls = if config.targets.iter().any(|target| target.secure) {
            Some(dial::client_config(config.ca.as_deref(), config.identity.as_ref(), config.http2)?)
        } else {
            None
        };
        let targets = config
            .targets
            .iter()
            .map(|target| Target::build(target, &config, tls.as_ref()))
            .collect::<Result<_, _>>()?;
        let credential = match &config.credential {
            Some(credential) => Some((credential.header.clone(), header(credential, secret)?)),
            None => None,
        };
        Ok(Arc::new(Self {
            config,
            credential,
            targets,
            turn: AtomicUsize::new(0),
            retries: AtomicUsize::new(0),
        }))
    }

    /// The configuration it was built from.
    pub fn config(&self) -> &Arc<config::Upstream> {
        &self.config
    }

    /// Sends `request` and waits for the head of the response.
    ///
    /// `path` is a path and query whose bytes are sent as they are, below the prefix of the target;
    /// it may be empty. URI, `Host` and the credential are set here, everything else is the caller's.
    pub async fn send(
        &self,
        mut request: Request<RequestBody>,
        path: &str,
    ) -> Result<Response<UpstreamBody>, SendError> {
        if let Some((name, value)) = &self.credential {
            headers::remove_alike(request.headers_mut(), name);
            request.headers_mut().insert(name.clone(), value.clone());
        }
        let watch = request.body().watch().cloned();
        let (mut tried, mut retries, mut was_sent) = (Vec::new(), 0, false);
        let mut last = DialError::NoAddress;
        while let Some((index, target)) = self.choose(&tried) {
            let lease =
                match pool::lease(&target.pool, retries > 0, self.config.queue_timeout).await {
                    Ok(lease) => lease,
                    Err(Denied::Busy) if was_sent => return Err(ended_unanswered()),
                    Err(Denied::Busy) => return Err(SendError::Overloaded),
                    Err(Denied::Unreachable(error)) => {
                        target.pool.fitness.failed(clock::instant());
                        tried.push(index);
                        last = error;
                        continue;
                    }
                };
            target.address(&mut request, path).map_err(unsendable)?;
            let again = if lease.is_reused { repeatable(&request) } else { None };
            match exchange(lease, request, self.config.response_timeout, watch.as_deref()).await {
                Ok(response) => {
                    target.pool.fitness.succeeded();
                    return Ok(response);
                }
                Err(failure) => {
                    was_sent |= failure.was_sent();
                    let so_far = (retries, was_sent);
                    request = recover(target, failure, again, so_far, watch.as_deref())?;
                    retries += 1;
                    self.retries.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        Err(if was_sent { ended_unanswered() } else { SendError::Unreachable(last) })
    }

    /// The less busy of two addresses that are fit, or else the one whose failure is the oldest:
    /// better an honest failure than a refusal without a try.
    fn choose(&self, tried: &[usize]) -> Option<(usize, &Arc<Target>)> {
        if let [only] = self.targets.as_slice() {
            return tried.is_empty().then_some((0, only));
        }
        let now = clock::instant();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let untried =
            || self.targets.iter().enumerate().filter(|(index, _)| !tried.contains(index));
        let fit = || untried().filter(|(_, target)| !target.pool.fitness.is_ejected(now));
        let count = fit().count();
        if count == 0 {
            return untried().min_by_key(|(_, target)| target.pool.fitness.last_failure());
        }
        let first = fit().nth(turn % count)?;
        let second = fit().nth((turn + 1) % count)?;
        let is_less_busy = second.1.pool.in_flight() < first.1.pool.in_flight();
        Some(if is_less_busy { second } else { first })
    }

    /// The numbers of this moment.
    pub fn stats(&self) -> Stats {
        let now = clock::instant();
        let mut stats = Stats { retries: self.retries.load(Ordering::Relaxed), ..Stats::default() };
        for target in &self.targets {
            stats.open += target.pool.open();
            stats.idle += target.pool.idle();
            stats.in_flight += target.pool.in_flight();
            stats.connects += target.pool.connects();
            stats.ejected += usize::from(target.pool.fitness.is_ejected(now));
        }
        stats
    }
}

fn header(
    credential: &config::Credential,
    secret: Option<&str>,
) -> Result<HeaderValue, BuildError> {
    let secret = secret.ok_or(BuildError::Credential)?;
    let text = match &credential.scheme {
        Some(scheme) => format!("{scheme} {secret}"),
        None => secret.to_owned(),
    };
    let mut value = HeaderValue::try_from(text).map_err(|_invalid| BuildError::Credential)?;
    value.set_sensitive(true);
    Ok(value)
}

fn unsendable(error: http::Error) -> SendError {
    SendError::Failed { source: error.into(), sent: false }
}

fn ended_unanswered() -> SendError {
    SendError::Failed { source: "the connection ended without an answer".into(), sent: true }
}

/// The request once more, where to send it twice does no more than to send it once: its method is safe
/// (RFC 9110 §9.2.1), and it has no body that would be gone. An idempotent method is not enough: between
/// two deletions somebody may have made anew what the second one deletes.
fn repeatable(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    let is_empty = matches!(request.body(), RequestBody::Empty);
    if !request.method().is_safe() || !is_empty {
        return None;
    }
    let mut again = Request::new(RequestBody::Empty);
    again.method_mut().clone_from(request.method());
    again.uri_mut().clone_from(request.uri());
    again.headers_mut().clone_from(request.headers());
    *again.version_mut() = request.version();
    Some(again)
}

/// The request again, where nothing of it was written, or where a kept connection ended under one that is
/// repeatable (RFC 9112 §9.5); else what is told. A fault of the request's own body says nothing about the
/// address.
fn recover(
    target: &Target,
    failure: Exchange,
    again: Option<Request<RequestBody>>,
    (retries, sent): (usize, bool),
    watch: Option<&Watch>,
) -> Result<Request<RequestBody>, SendError> {
    if let Some(fault) = watch.and_then(Watch::fault) {
        return Err(SendError::Body(fault));
    }
    let again = again.filter(|_| failure.ended_unanswered());
    let mut error = match failure {
        Exchange::Timeout => {
            target.pool.fitness.failed(clock::instant());
            return Err(SendError::Timeout);
        }
        Exchange::Failed(error) => error,
    };
    match error.take_message().or(again) {
        Some(request) if retries < RETRIES => Ok(request),
        Some(_) | None => {
            target.pool.fitness.failed(clock::instant());
            Err(SendError::Failed { source: error.into_error().into(), sent })
        }
    }
}

async fn exchange(
    mut lease: Lease,
    request: Request<RequestBody>,
    patience: Duration,
    watch: Option<&Watch>,
) -> Result<Response<UpstreamBody>, Exchange> {
    let until = lease.since + patience;
    let response = match &mut lease.sender {
        LeasedSender::H1(sender) => {
            answer(sender.try_send_request(request), until, patience, watch).await?
        }
        LeasedSender::H2 { sender, .. } => {
            answer(sender.try_send_request(request), until, patience, watch).await?
        }
    };
    let upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    Ok(response.map(|incoming| UpstreamBody::new(incoming, lease, upgraded)))
}

/// The head of the response before `until`, and within `patience` of the last part of the request's body;
/// while the caller is waited for, time does not count.
async fn answer(
    sending: impl Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>>,
    mut until: Instant,
    patience: Duration,
    watch: Option<&Watch>,
) -> Result<Response<Incoming>, Exchange> {
    let mut sending = pin!(sending);
    loop {
        match tokio::time::timeout_at(until.into(), sending.as_mut()).await {
            Ok(answered) => return answered.map_err(|error| Exchange::Failed(Box::new(error))),
            Err(_elapsed) => match watch {
                None => return Err(Exchange::Timeout),
                Some(watch) => until = extended(watch, patience).ok_or(Exchange::Timeout)?,
            },
        }
    }
}

/// When the patience ends, by what the body has done since; `None` when it has ended.
fn extended(watch: &Watch, patience: Duration) -> Option<Instant> {
    let now = clock::instant();
    let until = watch.upstream_busy_since().unwrap_or(now) + patience;
    (until > now).then_some(until)
}

#[cfg(test)]
mod tests;
