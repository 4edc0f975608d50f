//! The body of a response on its way to the caller.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::rewrite::Rewrite;
use super::{Fault, Pause};
use crate::model::reason::Reason;
use crate::proxy::tether::Tether;
use crate::proxy::upstream::UpstreamBody;
use crate::runtime::clock;

/// The body of a response to a caller.
#[derive(Debug)]
pub enum ResponseBody {
    /// The gate's own words.
    Full(Bytes),
    /// The upstream's.
    Forwarded(Box<Forwarded>),
}

/// How a forwarded response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The caller went away first.
    ClientAborted,
    /// Everything was handed to the caller's connection.
    Complete,
    /// The grant ended first, and the response was cut.
    Expired,
    /// The grant was revoked, and the response was cut.
    Revoked(Reason),
    /// The upstream broke off.
    UpstreamFailed,
    /// The upstream fell silent for longer than allowed.
    UpstreamIdle,
}

/// The account of a forwarded response, given exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finish {
    /// How it ended.
    pub ending: Ending,
    /// Bytes of the body handed on.
    pub bytes: u64,
    /// When the first of them came.
    pub first_byte: Option<Instant>,
    /// Whether trailers were handed on.
    pub trailers: bool,
}

/// What is done when a forwarded response has ended. Runs on the connection's own task: it must
/// not block.
pub type Hook = Box<dyn FnOnce(Finish) + Send>;

/// A response of the upstream as it passes.
pub struct Forwarded {
    /// Taken away when the response ends, so that the connection is free (or cut) at that moment.
    upstream: Option<UpstreamBody>,
    /// Whoever reads it as it passes.
    rewrite: Option<Box<dyn Rewrite>>,
    idle: Duration,
    deadline: Option<Instant>,
    tether: Option<Box<Tether>>,
    pause: Pause,
    bytes: u64,
    first_byte: Option<Instant>,
    hook: Option<Hook>,
}

impl ResponseBody {
    /// Passes `upstream` on, as `rewrite` reads it. A pause longer than `idle` cuts it, `deadline` cuts it, a revocation cuts
    /// it by its `tether`, and `hook` is told the end. A response without a body has its end here: hyper never asks for it.
    pub fn forward(
        upstream: UpstreamBody,
        rewrite: Option<Box<dyn Rewrite>>,
        idle: Duration,
        deadline: Option<Instant>,
        tether: Option<Box<Tether>>,
        hook: Hook,
    ) -> Self {
        let mut forwarded = Box::new(Forwarded {
            upstream: Some(upstream),
            rewrite,
            idle,
            deadline,
            tether,
            pause: Pause::default(),
            bytes: 0,
            first_byte: None,
            hook: Some(hook),
        });
        forwarded.finish_if_ended(false);
        Self::Forwarded(forwarded)
    }
}

impl Forwarded {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let Some(upstream) = &mut self.upstream else { return Poll::Ready(None) };
        let now = clock::instant();
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            return self.cut(Ending::Expired, Fault::Expired);
        }
        if let Some(Err(reason)) = self.tether.as_mut().map(|tether| tether.check()) {
            return self.cut(Ending::Revoked(reason), Fault::Revoked);
        }
        match Pin::new(upstream).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) if self.rewrite.is_some() => {
                self.rewritten(frame, cx, now)
            }
            Poll::Ready(Some(Ok(frame))) => {
                self.count(&frame, now);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(_broken))) => self.cut(Ending::UpstreamFailed, Fault::Aborted),
            Poll::Ready(None) => self.last(now),
            Poll::Pending => self.wait(cx),
        }
    }

    /// What goes on of a frame that is read as it passes. A server of messages has no trailers to say.
    fn rewritten(
        &mut self,
        frame: Frame<Bytes>,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        self.pause.disarm();
        let (Ok(data), Some(rewrite)) = (frame.into_data(), &mut self.rewrite) else {
            return self.last(now);
        };
        let data = rewrite.data(data);
        if data.is_empty() {
            // Asked again, and not called again: an upstream can send as many frames as it likes.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let frame = Frame::data(data);
        self.count(&frame, now);
        Poll::Ready(Some(Ok(frame)))
    }

    /// The end of the upstream's body, and what was held back until then.
    fn last(&mut self, now: Instant) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let (mut rest, mut ending) = (Bytes::new(), Ending::Complete);
        if let Some(mut rewrite) = self.rewrite.take() {
            rest = rewrite.end();
            if rewrite.is_failure() {
                ending = Ending::UpstreamFailed;
            }
        }
        if rest.is_empty() {
            self.finish(ending, false);
            return Poll::Ready(None);
        }
        let frame = Frame::data(rest);
        self.count_octets(&frame, now);
        self.finish(ending, false);
        Poll::Ready(Some(Ok(frame)))
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        if let Some(Poll::Ready(reason)) = self.tether.as_mut().map(|tether| tether.poll(cx)) {
            return self.cut(Ending::Revoked(reason), Fault::Revoked);
        }
        let (idle, deadline) = (self.idle, self.deadline);
        let until = || {
            let silent = clock::instant() + idle;
            deadline.map_or(silent, |deadline| deadline.min(silent)).into()
        };
        match self.pause.poll(cx, until) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => match deadline {
                Some(deadline) if clock::instant() >= deadline => {
                    self.cut(Ending::Expired, Fault::Expired)
                }
                _ => self.cut(Ending::UpstreamIdle, Fault::Idle),
            },
        }
    }

    fn count(&mut self, frame: &Frame<Bytes>, now: Instant) {
        self.count_octets(frame, now);
        self.finish_if_ended(frame.is_trailers());
    }

    fn count_octets(&mut self, frame: &Frame<Bytes>, now: Instant) {
        self.pause.disarm();
        if let Some(data) = frame.data_ref() {
            self.first_byte.get_or_insert(now);
            self.bytes = self.bytes.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
        }
    }

    /// hyper does not poll a body that says it has ended, so the end is acted on when it is known.
    fn finish_if_ended(&mut self, trailers: bool) {
        let has_ended = trailers || self.upstream.as_ref().is_none_or(Body::is_end_stream);
        if has_ended && self.rewrite.is_none() {
            self.finish(Ending::Complete, trailers);
        }
    }

    /// Ends with an error, so that the caller sees a cut and never a clean end.
    fn cut(&mut self, ending: Ending, fault: Fault) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        self.finish(ending, false);
        Poll::Ready(Some(Err(fault)))
    }

    fn finish(&mut self, ending: Ending, trailers: bool) {
        drop(self.upstream.take());
        if let Some(hook) = self.hook.take() {
            hook(Finish { ending, bytes: self.bytes, first_byte: self.first_byte, trailers });
        }
    }
}

/// The one piece of work at a drop: hyper drops the body, and says nothing, when a caller leaves.
impl Drop for Forwarded {
    fn drop(&mut self) {
        self.finish(Ending::ClientAborted, false);
    }
}

impl fmt::Debug for Forwarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forwarded").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        match self.get_mut() {
            Self::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Forwarded(forwarded) => forwarded.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_empty(),
            Self::Forwarded(forwarded) => forwarded.upstream.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => {
                SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
            }
            Self::Forwarded(forwarded) => match &forwarded.upstream {
                None => SizeHint::with_exact(0),
                Some(_) if forwarded.rewrite.is_some() => SizeHint::default(),
                Some(upstream) => upstream.size_hint(),
            },
        }
    }
}
