//! The connections to one address: kept, lent and bounded.
//!
//! An HTTP/1.1 connection is lent to one call and comes back when the response has ended cleanly;
//! dropped earlier it is closed, which is how a caller's leaving reaches the upstream. HTTP/2
//! connections are shared up to the streams that the upstream allows.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout_at;

use super::connect::{Counted, Dialer, Load, Sender};
use super::fitness::Fitness;
use crate::proxy::body::RequestBody;
use crate::runtime::clock;
use crate::runtime::dial::DialError;

/// The connections to one address.
#[derive(Debug)]
pub(super) struct Pool {
    /// Whether calls should come here at all.
    pub(super) fitness: Fitness,
    dialer: Dialer,
    connections: usize,
    idle_timeout: Duration,
    max_age: Duration,
    /// HTTP/1.1: a permit for each call, so for each connection in use. HTTP/2: one, for whoever
    /// opens a connection.
    slots: Arc<Semaphore>,
    /// A stream of an HTTP/2 connection became free.
    freed: Notify,
    /// Last in, first out, so that what is not needed grows old at the bottom. Never held across
    /// an await.
    idle: Mutex<Vec<Idle>>,
    /// HTTP/2 connections. Never held across an await.
    shared: Mutex<Vec<Shared>>,
    open: Arc<AtomicUsize>,
    in_flight: Arc<AtomicUsize>,
    connects: AtomicUsize,
}

#[derive(Debug)]
struct Idle {
    sender: http1::SendRequest<RequestBody>,
    born: Instant,
    since: Instant,
}

#[derive(Debug)]
struct Shared {
    sender: http2::SendRequest<RequestBody>,
    load: Arc<Load>,
    born: Instant,
}

/// Why no connection was lent.
#[derive(Debug)]
pub(super) enum Denied {
    Busy,
    Unreachable(DialError),
}

/// A connection, lent to one call.
pub(super) struct Lease {
    pub(super) sender: LeasedSender,
    pool: Arc<Pool>,
    born: Instant,
    /// When it was lent.
    pub(super) since: Instant,
    /// Whether it has served another call before, and may have ended since.
    pub(super) is_reused: bool,
    _permit: Option<OwnedSemaphorePermit>,
    _in_flight: Counted,
}

/// The sending half that a lease carries.
pub(super) enum LeasedSender {
    H1(http1::SendRequest<RequestBody>),
    H2 { sender: http2::SendRequest<RequestBody>, _stream: Stream },
}

/// A stream of a shared connection, free again when dropped.
pub(super) struct Stream {
    load: Arc<Load>,
    pool: Arc<Pool>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.load.streams.fetch_sub(1, Ordering::AcqRel);
        self.pool.freed.notify_one();
    }
}

impl Pool {
    pub(super) fn new(dialer: Dialer, config: &crate::config::Upstream) -> Self {
        let slots = if dialer.http2 { 1 } else { config.connections.min(Semaphore::MAX_PERMITS) };
        Self {
            fitness: Fitness::new(config),
            dialer,
            connections: config.connections,
            idle_timeout: config.idle_timeout,
            max_age: config.max_age,
            slots: Arc::new(Semaphore::new(slots)),
            freed: Notify::new(),
            idle: Mutex::default(),
            shared: Mutex::default(),
            open: Arc::default(),
            in_flight: Arc::default(),
            connects: AtomicUsize::new(0),
        }
    }

    pub(super) fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    pub(super) fn connects(&self) -> usize {
        self.connects.load(Ordering::Relaxed)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn idle(&self) -> usize {
        let shared = lock(&self.shared);
        let unused = shared.iter().filter(|one| one.load.streams.load(Ordering::Relaxed) == 0);
        lock(&self.idle).len() + unused.count()
    }

    /// Closes what is too old or was unused for too long.
    pub(super) fn sweep(&self, now: Instant) {
        lock(&self.idle).retain(|idle| !idle.sender.is_closed() && self.is_fresh(idle, now));
        lock(&self.shared).retain(|one| {
            !one.sender.is_closed() && now.saturating_duration_since(one.born) < self.max_age
        });
    }

    fn is_fresh(&self, idle: &Idle, now: Instant) -> bool {
        now.saturating_duration_since(idle.since) < self.idle_timeout
            && now.saturating_duration_since(idle.born) < self.max_age
    }

    /// The youngest idle connection that can be used at once.
    fn take(&self, now: Instant) -> Option<Idle> {
        let mut idle = lock(&self.idle);
        let mut resting = Vec::new();
        let taken = loop {
            match idle.pop() {
                None => break None,
                Some(one) if one.sender.is_closed() || !self.is_fresh(&one, now) => {}
                Some(one) if one.sender.is_ready() => break Some(one),
                // Its driver has not yet come round after the last response.
                Some(one) => resting.push(one),
            }
        };
        idle.extend(resting);
        taken
    }

    /// Keeps `open` within the bound: an idle connection makes room for a new one.
    fn make_room(&self) {
        if self.open() >= self.connections {
            let mut idle = lock(&self.idle);
            if !idle.is_empty() {
                drop(idle.remove(0));
            }
        }
    }

    fn put_back(&self, sender: http1::SendRequest<RequestBody>, born: Instant) {
        if !sender.is_closed() {
            lock(&self.idle).push(Idle { sender, born, since: clock::instant() });
        }
    }

    async fn connect(&self) -> Result<Sender, Denied> {
        self.connects.fetch_add(1, Ordering::Relaxed);
        self.dialer.connect(&self.open).await.map_err(Denied::Unreachable)
    }
}

/// Lends a connection, waiting for a free one as long as `patience` lasts. `fresh` is for a call that
/// met a dead connection: it gets a new one.
pub(super) async fn lease(
    pool: &Arc<Pool>,
    fresh: bool,
    patience: Duration,
) -> Result<Lease, Denied> {
    if pool.dialer.http2 {
        return match share(pool) {
            Some(lease) => Ok(lease),
            None => Box::pin(lease_shared(pool, patience)).await,
        };
    }
    let in_flight = Counted::new(&pool.in_flight);
    let permit = match Arc::clone(&pool.slots).try_acquire_owned() {
        Ok(permit) => permit,
        Err(_none_free) => Box::pin(wait_for_slot(pool, patience)).await?,
    };
    let now = clock::instant();
    let reused = if fresh { None } else { pool.take(now) };
    let is_reused = reused.is_some();
    let (sender, born, since) = if let Some(idle) = reused {
        (LeasedSender::H1(idle.sender), idle.born, now)
    } else {
        pool.make_room();
        // To connect is rare and takes much room, so it takes none in the call's future.
        match Box::pin(pool.connect()).await? {
            Sender::H1(sender) => (LeasedSender::H1(sender), now, clock::instant()),
            Sender::H2(..) => return Err(Denied::Unreachable(DialError::Protocol)),
        }
    };
    let pool = Arc::clone(pool);
    Ok(Lease { sender, pool, born, since, is_reused, _permit: Some(permit), _in_flight: in_flight })
}

async fn wait_for_slot(pool: &Pool, patience: Duration) -> Result<OwnedSemaphorePermit, Denied> {
    let waited = tokio::time::timeout(patience, Arc::clone(&pool.slots).acquire_owned()).await;
    match waited {
        Ok(Ok(permit)) => Ok(permit),
        Ok(Err(_)) | Err(_) => Err(Denied::Busy),
    }
}

async fn lease_shared(pool: &Arc<Pool>, patience: Duration) -> Result<Lease, Denied> {
    let until = (clock::instant() + patience).into();
    loop {
        // One at a time opens connections; the others find theirs when it is done.
        let Ok(Ok(_opening)) = timeout_at(until, pool.slots.acquire()).await else {
            return Err(Denied::Busy);
        };
        if let Some(lease) = share(pool) {
            return Ok(lease);
        }
        if lock(&pool.shared).len() < pool.connections {
            if let Sender::H2(sender, load) = pool.connect().await? {
                lock(&pool.shared).push(Shared { sender, load, born: clock::instant() });
            }
        } else if timeout_at(until, pool.freed.notified()).await.is_err() {
            return Err(Denied::Busy);
        }
    }
}

/// A stream of a connection that has one free.
fn share(pool: &Arc<Pool>) -> Option<Lease> {
    let now = clock::instant();
    let mut shared = lock(&pool.shared);
    shared.retain(|one| {
        !one.sender.is_closed() && now.saturating_duration_since(one.born) < pool.max_age
    });
    let one = shared.iter().find(|one| {
        one.load.streams.load(Ordering::Acquire) < one.load.capacity.load(Ordering::Relaxed)
    })?;
    one.load.streams.fetch_add(1, Ordering::AcqRel);
    let stream = Stream { load: Arc::clone(&one.load), pool: Arc::clone(pool) };
    Some(Lease {
        sender: LeasedSender::H2 { sender: one.sender.clone(), _stream: stream },
        pool: Arc::clone(pool),
        born: one.born,
        since: now,
        // Its end is told apart from a call that was not taken (RFC 9113 §6.8).
        is_reused: false,
        _permit: None,
        _in_flight: Counted::new(&pool.in_flight),
    })
}

impl Lease {
    /// The response has ended cleanly: the connection may serve another call.
    fn give_back(self) {
        match self.sender {
            LeasedSender::H1(sender) => self.pool.put_back(sender, self.born),
            LeasedSender::H2 { .. } => {}
        }
    }
}

/// The body of an upstream's response, and with it the connection it comes over.
///
/// To drop it before its end closes the connection (or resets the stream). After a 101 it has
/// nothing to read: keep it until the upgraded connection ends, for it holds the place of that
/// connection among `connections`.
pub struct UpstreamBody {
    incoming: Incoming,
    lease: Option<Lease>,
    upgraded: bool,
}

impl UpstreamBody {
    pub(super) fn new(incoming: Incoming, lease: Lease, upgraded: bool) -> Self {
        let mut body = Self { incoming, lease: Some(lease), upgraded };
        body.release_if_ended();
        body
    }

    fn release_if_ended(&mut self) {
        if !self.upgraded && self.incoming.is_end_stream() {
            self.release();
        }
    }

    fn release(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.incoming).poll_frame(cx);
        match &polled {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(frame))) if frame.is_data() => this.release_if_ended(),
            // Trailers are the last thing that comes.
            Poll::Ready(Some(Ok(_)) | None) => this.release(),
            Poll::Ready(Some(Err(_))) => {
                if let Some(lease) = this.lease.take() {
                    lease.pool.fitness.failed(clock::instant());
                }
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl fmt::Debug for UpstreamBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamBody").field("held", &self.lease.is_some()).finish_non_exhaustive()
    }
}

/// A panic elsewhere leaves a list of connections as it was: still a list of connections.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
