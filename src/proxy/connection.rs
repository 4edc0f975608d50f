//! One connection of a caller: which protocol it speaks, how long it may be silent, and what is made
//! of bytes that are refused before they are a request.

mod stall;
mod strict;

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::{Instant, timeout_at};

use self::stall::{Streams, Taken};
use self::strict::{Replay, StrictIo};
use super::places::Visit;
use crate::config::Limits;
use crate::model::reason::Reason;
use crate::runtime::clock;
use crate::runtime::tasks::Drain;
use crate::token::presenter::Certificate;

/// Who is at the other end, as the transport knows it.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// The address, where there is one: not behind a Unix socket.
    pub address: Option<SocketAddr>,
    /// Whether the connection is TLS.
    pub secure: bool,
    /// The protocol agreed on in the TLS handshake was HTTP/2.
    pub http2: bool,
    /// The name that the TLS handshake asked for (RFC 6066).
    pub server_name: Option<Box<str>>,
    /// The caller's own certificate, its key proven.
    pub certificate: Option<Arc<Certificate>>,
}

/// What all connections have in common.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The bounds of the configuration.
    pub limits: Limits,
}

/// Answers requests.
pub trait Handler: Clone + Send + Sync + 'static {
    /// The body of an answer.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static;

    /// Answers request number `n` of the connection, counted from one. Where
    /// [`Connection::violation`] names a reason for `n`, the request is a stand-in for bytes that
    /// could not be read, and the only answer is the refusal.
    fn handle(
        &self,
        request: Request<Incoming>,
        connection: &Arc<Connection>,
        n: u64,
    ) -> impl Future<Output = Result<Response<Self::Body>, Abort>> + Send;
}

/// No answer: the connection (in HTTP/2, the stream) ends.
#[derive(Clone, Copy, Debug)]
pub struct Abort;

impl fmt::Display for Abort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the call was ended without an answer")
    }
}

impl Error for Abort {}

/// What is known of one connection, shared by its requests.
#[derive(Debug)]
pub struct Connection {
    peer: Peer,
    http2: bool,
    /// Set once by the reader of the connection; there is nothing to read after it.
    violation: OnceLock<(u64, Reason)>,
    /// Requests begun. Written by the connection's task.
    requests: AtomicU64,
    /// Requests whose answer is not complete.
    open: AtomicU64,
    /// Twice the number of the last request answered, plus one where the answer changes the protocol.
    /// Meaningful in HTTP/1, where answers go out in order.
    answered: AtomicU64,
    /// Ends with the last that holds the connection: after a switch of protocols, with the session.
    _visit: Visit,
    /// The most header lines of one request.
    header_count: usize,
}

impl Connection {
    fn new(peer: Peer, http2: bool, visit: Visit, limits: &Limits) -> Self {
        Self {
            peer,
            http2,
            _visit: visit,
            header_count: limits.header_count,
            violation: OnceLock::new(),
            requests: AtomicU64::new(0),
            open: AtomicU64::new(0),
            answered: AtomicU64::new(0),
        }
    }

    /// Who is at the other end.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Whether it speaks HTTP/2.
    pub fn is_http2(&self) -> bool {
        self.http2
    }

    /// Why request `n` with these headers is no request, when it is none.
    pub fn violation(&self, n: u64, headers: &HeaderMap) -> Option<Reason> {
        // The reader of HTTP/1 has counted lines; of HTTP/2 the library only counts bytes.
        if self.http2 && headers.len() > self.header_count {
            return Some(Reason::HeaderTooLarge);
        }
        self.violation.get().filter(|(number, _)| *number == n).map(|(_, reason)| *reason)
    }

    /// How many requests are being answered.
    pub fn open_requests(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    fn refuse(&self, n: u64, reason: Reason) {
        if self.violation.set((n, reason)).is_ok() {
            tracing::debug!(reason = reason.code(), number = n, "refused while reading");
        }
    }
}

/// Serves one connection until it ends, or until what is open at the drain is done.
pub async fn serve<IO, H>(
    mut io: IO,
    peer: Peer,
    settings: Arc<Settings>,
    handler: H,
    drain: Drain,
    visit: Visit,
) where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    H: Handler,
{
    let limits = &settings.limits;
    let mut early = BytesMut::new();
    let accepted = Instant::from_std(clock::instant());
    let mut http2 = peer.http2;
    if !peer.secure {
        let mut deciding = drain.clone();
        let preface = read_preface(&mut io, &mut early);
        let read = tokio::select! {
            read = timeout_at(accepted + limits.header_timeout, preface) => read,
            () = deciding.begun() => return,
        };
        match read {
            Ok(Ok(Protocol::Http2)) => http2 = true,
            Ok(Ok(Protocol::Http1)) => {}
            // Too slow with its first bytes; the reader makes a refusal of them.
            Err(_) if !early.is_empty() => {}
            Ok(Err(_) | Ok(Protocol::Nothing)) | Err(_) => return,
        }
    }
    let connection = Arc::new(Connection::new(peer, http2, visit, limits));
    let ended = if http2 {
        serve_http2(Replay::new(io, early, limits), &connection, limits, handler, drain).await
    } else {
        let io = StrictIo::new(io, early, accepted, limits, Arc::clone(&connection));
        serve_http1(io, &connection, limits, handler, drain).await
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended early");
    }
}

enum Protocol {
    Http1,
    Http2,
    Nothing,
}

/// RFC 9113 §3.4. No HTTP/1 request begins like this.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

async fn read_preface<IO>(io: &mut IO, early: &mut BytesMut) -> io::Result<Protocol>
where
    IO: AsyncRead + Unpin,
{
    early.reserve(4096);
    loop {
        if io.read_buf(early).await? == 0 {
            return Ok(if early.is_empty() { Protocol::Nothing } else { Protocol::Http1 });
        }
        if early.starts_with(PREFACE) {
            return Ok(Protocol::Http2);
        }
        if !PREFACE.starts_with(early) {
            return Ok(Protocol::Http1);
        }
    }
}

async fn serve_http1<IO, H>(
    io: StrictIo<IO>,
    connection: &Arc<Connection>,
    limits: &Limits,
    handler: H,
    mut drain: Drain,
) -> hyper::Result<()>
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    H: Handler,
{
    let mut builder = http1::Builder::new();
    // The reader in front keeps the time and the bounds; these only must not be narrower.
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .half_close(false)
        .max_buf_size(limits.header_bytes.saturating_mul(2).max(65_536));
    if limits.header_count != HYPER_HEADERS {
        builder.max_headers(limits.header_count);
    }
    let service = service_fn(|request| answer(request, handler.clone(), Arc::clone(connection)));
    let mut serving = pin!(builder.serve_connection(TokioIo::new(io), service).with_upgrades());
    tokio::select! {
        ended = serving.as_mut() => return ended,
        () = drain.begun() => serving.as_mut().graceful_shutdown(),
    }
    serving.await
}

/// With this number hyper keeps its headers on the stack.
const HYPER_HEADERS: usize = 100;

async fn serve_http2<IO, H>(
    io: IO,
    connection: &Arc<Connection>,
    limits: &Limits,
    handler: H,
    mut drain: Drain,
) -> hyper::Result<()>
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    H: Handler,
{
    let mut builder = http2::Builder::new(Streams { limit: limits.body_idle });
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(256)
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .max_send_buf_size(256 * 1024)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    let shared = Arc::clone(connection);
    let service = service_fn(move |request| answer(request, handler.clone(), Arc::clone(&shared)));
    let mut serving = pin!(builder.serve_connection(TokioIo::new(io), service));
    tokio::select! {
        ended = serving.as_mut() => return ended,
        () = drain.begun() => {}
        () = idle(connection, limits) => {}
    }
    serving.as_mut().graceful_shutdown();
    // A caller may take its time with what is open, and none with leaving: one that never says that it
    // has understood, or stays in the middle of a head, is left.
    tokio::select! {
        ended = serving => ended,
        () = quiet(connection) => Ok(()),
    }
}

/// A peer that is gone without a word is found after the two together.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// How long nothing must be open on a connection that is to end.
const QUIET: Duration = Duration::from_secs(1);

/// Ends when the first request does not come in time, and later when nothing was asked and nothing
/// was open for `keep_alive`.
async fn idle(connection: &Connection, limits: &Limits) {
    tokio::time::sleep(limits.header_timeout).await;
    let mut seen = connection.requests();
    if seen == 0 {
        return;
    }
    loop {
        tokio::time::sleep(limits.keep_alive).await;
        let now = connection.requests();
        if now == seen && connection.open_requests() == 0 {
            return;
        }
        seen = now;
    }
}

/// Ends when nothing was asked and nothing was open for [`QUIET`].
async fn quiet(connection: &Connection) {
    loop {
        let seen = connection.requests();
        tokio::time::sleep(QUIET).await;
        if connection.requests() == seen && connection.open_requests() == 0 {
            return;
        }
    }
}

async fn answer<H: Handler>(
    request: Request<Incoming>,
    handler: H,
    connection: Arc<Connection>,
) -> Result<Response<Counted<H::Body>>, Abort> {
    let n = connection.requests.fetch_add(1, Ordering::Relaxed).saturating_add(1);
    let open = Open::new(&connection);
    let connect = request.method() == Method::CONNECT;
    let response = handler.handle(request, &connection, n).await?;
    let granted = response.status() == StatusCode::SWITCHING_PROTOCOLS
        || (connect && response.status().is_success());
    // Told before the first byte of the answer goes out, so before the caller can act on it.
    connection.answered.store((n << 1) | u64::from(granted), Ordering::Release);
    Ok(response.map(|body| Counted { body, open, taken: Taken::current() }))
}

/// Counts a request until its answer is complete or given up.
#[derive(Debug)]
struct Open(Arc<Connection>);

impl Open {
    fn new(connection: &Arc<Connection>) -> Self {
        connection.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(connection))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

pin_project_lite::pin_project! {
    struct Counted<B> {
        #[pin]
        body: B,
        open: Open,
        taken: Option<Arc<Taken>>,
    }
}

impl<B: Body> Body for Counted<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let polled = this.body.poll_frame(cx);
        if let Some(taken) = this.taken {
            if polled.is_ready() { taken.handed() } else { taken.asked() }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
