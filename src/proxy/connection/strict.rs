//! What stands between the socket and hyper: one reader that lets through what is well formed and
//! keeps the time of heads, and one that gives back what was read to tell the protocol.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::Connection;
use super::stall::Stall;
use crate::config::Limits;
use crate::model::reason::Reason;
use crate::proxy::framing::{Bounds, Framing, Next};
use crate::runtime::clock;

/// What hyper is given in place of a head that is refused: the service is called for it, finds the
/// violation, and its refusal is an answer and a record like any other.
const SUBSTITUTE: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";

/// Bytes that may wait for the answer to a request for another protocol.
const HELD_BYTES: usize = 65_536;

/// Bytes that are read and thrown away after a refusal, so that it is not lost to a reset.
const LINGER_BYTES: usize = 256 * 1024;
const LINGER_TIME: Duration = Duration::from_millis(500);

/// Lets through to hyper only what [`Framing`] has read, and keeps the time of heads.
#[derive(Debug)]
pub(super) struct StrictIo<IO> {
    io: IO,
    framing: Framing,
    connection: Arc<Connection>,
    /// Bytes that were read; the first `ready` of them may go on.
    held: BytesMut,
    ready: usize,
    mode: Mode,
    header_timeout: Duration,
    keep_alive: Duration,
    /// When the connection was last of use, and when the head began that is not whole.
    active: Instant,
    head_began: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    stall: Stall,
    lingered: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Reading,
    Held,
    /// The stand-in is due, of which so much is given.
    Substituting(usize),
    Ended,
    Broken,
    Transparent,
}

impl<IO> StrictIo<IO> {
    pub(super) fn new(
        io: IO,
        early: BytesMut,
        accepted: Instant,
        limits: &Limits,
        connection: Arc<Connection>,
    ) -> Self {
        let bounds =
            Bounds { header_bytes: limits.header_bytes, header_count: limits.header_count };
        let began = (!early.is_empty()).then_some(accepted);
        let mut strict = Self {
            io,
            framing: Framing::new(bounds),
            connection,
            held: early,
            ready: 0,
            mode: Mode::Reading,
            header_timeout: limits.header_timeout,
            keep_alive: limits.keep_alive,
            active: accepted,
            head_began: began,
            timer: Box::pin(sleep_until(accepted + limits.header_timeout)),
            stall: Stall::new(limits.body_idle),
            lingered: 0,
        };
        strict.scan_held();
        strict
    }

    /// Reads on in what is held.
    fn scan_held(&mut self) {
        let progress = self.framing.scan(self.held.get(self.ready..).unwrap_or_default());
        self.ready = self.ready.saturating_add(progress.release);
        self.follow(progress.next);
    }

    fn follow(&mut self, next: Next) {
        match next {
            Next::More => self.mode = Mode::Reading,
            Next::Held => self.mode = Mode::Held,
            Next::RefusedHead(reason) => self.refuse(reason),
            Next::RefusedBody(_) => self.mode = Mode::Broken,
        }
        let partial = self.framing.is_between_messages() && self.held.len() > self.ready;
        if !partial {
            self.head_began = None;
        } else if self.head_began.is_none() {
            self.head_began = Some(self.active);
            self.arm(self.active + self.header_timeout);
        }
    }

    fn refuse(&mut self, reason: Reason) {
        self.connection.refuse(self.framing.heads().saturating_add(1), reason);
        self.held.truncate(self.ready);
        self.mode = Mode::Substituting(0);
    }

    /// The timer is moved back only when it fires, and forward only when something is due earlier.
    fn arm(&mut self, due: Instant) {
        if due < self.timer.deadline() {
            self.timer.as_mut().reset(due);
        }
    }

    /// Takes the answer to a request for another protocol, if it was given.
    fn decide(&mut self) {
        let answered = self.connection.answered.load(Ordering::Acquire);
        if answered >> 1 < self.framing.heads() {
            return;
        }
        if answered & 1 == 1 {
            self.framing.become_transparent();
            self.mode = Mode::Transparent;
            self.ready = self.held.len();
        } else {
            self.framing.resume_http();
            self.scan_held();
        }
    }

    fn deliver(&mut self, buf: &mut ReadBuf<'_>) {
        let count = self.ready.min(buf.remaining());
        buf.put_slice(self.held.get(..count).unwrap_or_default());
        self.held.advance(count);
        self.ready = self.ready.saturating_sub(count);
        if self.held.is_empty() {
            // An idle connection keeps no buffer.
            self.held = BytesMut::new();
        }
    }

    /// Ready when the caller has been silent for too long.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let now = Instant::from_std(clock::instant());
            let busy = self.connection.open_requests() > 0 || !self.framing.is_between_messages();
            let due = match self.head_began {
                Some(began) => began + self.header_timeout,
                None if busy => now + self.keep_alive,
                None if self.framing.heads() == 0 => self.active + self.header_timeout,
                None => self.active + self.keep_alive,
            };
            if due <= now {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(due);
        }
    }
}

impl<IO: AsyncRead + Unpin> StrictIo<IO> {
    /// Reads from the peer into `buf` and keeps back what may not go on. `true`: there is something
    /// for hyper, or the end.
    fn poll_more(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<bool>> {
        let start = buf.filled().len();
        if Pin::new(&mut self.io).poll_read(cx, buf)?.is_pending() {
            ready!(self.poll_silence(cx));
            if self.head_began.is_none() {
                return Poll::Ready(Ok(true));
            }
            self.refuse(Reason::HeaderTimeout);
            return Poll::Ready(Ok(false));
        }
        let read = buf.filled().get(start..).unwrap_or_default();
        if read.is_empty() {
            return Poll::Ready(Ok(true));
        }
        self.active = Instant::from_std(clock::instant());
        if !self.held.is_empty() || self.mode == Mode::Held {
            self.held.extend_from_slice(read);
            buf.set_filled(start);
            if self.mode == Mode::Reading {
                self.scan_held();
            }
            return Poll::Ready(Ok(false));
        }
        let progress = self.framing.scan(read);
        self.held.extend_from_slice(read.get(progress.release..).unwrap_or_default());
        buf.set_filled(start.saturating_add(progress.release));
        self.follow(progress.next);
        Poll::Ready(Ok(progress.release > 0))
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for StrictIo<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            if this.ready > 0 {
                this.deliver(buf);
                return Poll::Ready(Ok(()));
            }
            match this.mode {
                Mode::Transparent => return Pin::new(&mut this.io).poll_read(cx, buf),
                Mode::Broken => {
                    return Poll::Ready(Err(io::Error::from(io::ErrorKind::InvalidData)));
                }
                Mode::Substituting(given) => {
                    let rest = SUBSTITUTE.get(given..).unwrap_or_default();
                    let count = rest.len().min(buf.remaining());
                    buf.put_slice(rest.get(..count).unwrap_or_default());
                    let given = given.saturating_add(count);
                    let done = given >= SUBSTITUTE.len();
                    this.mode = if done { Mode::Ended } else { Mode::Substituting(given) };
                    return Poll::Ready(Ok(()));
                }
                // An end here would be taken for a caller that left before the refusal.
                Mode::Ended => return Poll::Pending,
                Mode::Held => {
                    this.decide();
                    if this.mode != Mode::Held {
                        continue;
                    }
                    if this.held.len() >= HELD_BYTES {
                        return Poll::Pending;
                    }
                }
                Mode::Reading => {}
            }
            if ready!(this.poll_more(cx, buf))? {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for StrictIo<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let count = ready!(this.stall.check(Pin::new(&mut this.io).poll_write(cx, buf), cx))?;
        this.active = Instant::from_std(clock::instant());
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
        let count = ready!(this.stall.check(polled, cx))?;
        this.active = Instant::from_std(clock::instant());
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.stall.check(Pin::new(&mut this.io).poll_flush(cx), cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
        if this.mode != Mode::Ended {
            return Poll::Ready(Ok(()));
        }
        if this.lingered == 0 {
            let now = Instant::from_std(clock::instant());
            this.timer.as_mut().reset(now + LINGER_TIME);
        }
        let mut waste = [0; 4096];
        while this.lingered < LINGER_BYTES && this.timer.as_mut().poll(cx).is_pending() {
            let mut buf = ReadBuf::new(&mut waste);
            let read = ready!(Pin::new(&mut this.io).poll_read(cx, &mut buf));
            if read.is_err() || buf.filled().is_empty() {
                break;
            }
            this.lingered = this.lingered.saturating_add(buf.filled().len());
        }
        Poll::Ready(Ok(()))
    }
}

/// Gives back first what was read to find out the protocol.
#[derive(Debug)]
pub(super) struct Replay<IO> {
    io: IO,
    early: BytesMut,
    stall: Stall,
}

impl<IO> Replay<IO> {
    pub(super) fn new(io: IO, early: BytesMut, limits: &Limits) -> Self {
        Self { io, early, stall: Stall::new(limits.body_idle) }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Replay<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let count = self.early.len().min(buf.remaining());
        buf.put_slice(self.early.get(..count).unwrap_or_default());
        self.early.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Replay<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.stall.check(Pin::new(&mut this.io).poll_write(cx, buf), cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.stall.check(Pin::new(&mut this.io).poll_write_vectored(cx, bufs), cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.stall.check(Pin::new(&mut this.io).poll_flush(cx), cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
