//! The body of a request on its way to the upstream.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::payload::{Payload, Whole};
use super::{Fault, Pause};
use crate::proxy::headers::{self, Unwanted};
use crate::runtime::clock;

/// The body of a request that goes upstream. Small, because a request is moved many times on its way.
#[derive(Debug, Default)]
pub enum RequestBody {
    /// It broke off while it was read.
    Broken,
    /// There is none.
    #[default]
    Empty,
    /// It was read whole, to be judged; this is what was judged.
    Full(Box<Whole>),
    /// It is handed on as it comes.
    Streaming(Box<Streaming>),
}

/// A body that is handed on as it comes, within its bounds.
#[derive(Debug)]
pub struct Streaming {
    incoming: Incoming,
    limit: u64,
    idle: Duration,
    /// What its trailers may not hold.
    unwanted: Unwanted,
    pause: Pause,
    watch: Arc<Watch>,
}

/// What is known of a streaming body from outside, while it flows and afterwards.
#[derive(Debug)]
pub struct Watch {
    begun: Instant,
    bytes: AtomicU64,
    /// Microseconds from `begun` to the last frame handed on.
    progress: AtomicU64,
    /// Whether the body waits for the caller, and not for the upstream.
    waiting: AtomicBool,
    ended: AtomicBool,
    fault: AtomicU8,
}

impl RequestBody {
    /// What goes upstream of the body of a judged call, its trailers without what is `unwanted`.
    pub fn of(
        payload: Payload,
        limit: u64,
        idle: Duration,
        unwanted: Unwanted,
    ) -> (Self, Option<Arc<Watch>>) {
        match payload {
            // Nothing is permitted for which this would be so; were it, nothing must be sent as if whole.
            Payload::Broken => (Self::Broken, None),
            Payload::Unread(incoming) => Self::streaming(incoming, limit, idle, unwanted),
            Payload::Whole(mut whole) => {
                if let Some(trailers) = &mut whole.trailers {
                    headers::clean_trailers(trailers, &unwanted);
                }
                whole.trailers = whole.trailers.filter(|trailers| !trailers.is_empty());
                if whole.octets.is_empty() && whole.trailers.is_none() {
                    return (Self::Empty, None);
                }
                let watch = Watch::new();
                watch.advance(u64::try_from(whole.octets.len()).unwrap_or(u64::MAX));
                watch.end();
                (Self::Full(whole), Some(Arc::new(watch)))
            }
        }
    }

    /// Hands `incoming` on, at most `limit` bytes of it and with pauses of at most `idle`; or
    /// nothing at all where nothing can come, and then there is nothing to watch.
    fn streaming(
        incoming: Incoming,
        limit: u64,
        idle: Duration,
        unwanted: Unwanted,
    ) -> (Self, Option<Arc<Watch>>) {
        if incoming.is_end_stream() {
            return (Self::Empty, None);
        }
        let watch = Arc::new(Watch::new());
        let pause = Pause::default();
        let streaming =
            Streaming { incoming, limit, idle, unwanted, pause, watch: Arc::clone(&watch) };
        (Self::Streaming(Box::new(streaming)), Some(watch))
    }

    /// What can be seen of it from outside.
    pub fn watch(&self) -> Option<&Arc<Watch>> {
        match self {
            Self::Broken | Self::Empty | Self::Full(_) => None,
            Self::Streaming(streaming) => Some(&streaming.watch),
        }
    }
}

impl Watch {
    fn new() -> Self {
        Self {
            begun: clock::instant(),
            bytes: AtomicU64::new(0),
            progress: AtomicU64::new(0),
            waiting: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            fault: AtomicU8::new(0),
        }
    }

    /// Bytes handed on so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether the whole body was handed on.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Why the body ended before it was whole, when it did.
    pub fn fault(&self) -> Option<Fault> {
        match self.fault.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Fault::Idle),
            2 => Some(Fault::TooLarge),
            _ => Some(Fault::Aborted),
        }
    }

    /// Since when the upstream has had something to do; `None` while the caller is waited for.
    pub fn upstream_busy_since(&self) -> Option<Instant> {
        if self.waiting.load(Ordering::Acquire) {
            return None;
        }
        Some(self.begun + Duration::from_micros(self.progress.load(Ordering::Acquire)))
    }

    fn advance(&self, bytes: u64) {
        let elapsed = clock::instant().saturating_duration_since(self.begun).as_micros();
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.progress.store(u64::try_from(elapsed).unwrap_or(u64::MAX), Ordering::Release);
        self.waiting.store(false, Ordering::Release);
    }

    fn end(&self) {
        self.advance(0);
        self.ended.store(true, Ordering::Release);
    }

    fn fail(&self, fault: Fault) -> Fault {
        let code = match fault {
            Fault::Idle => 1,
            Fault::TooLarge => 2,
            Fault::Aborted | Fault::Expired | Fault::Revoked => 3,
        };
        self.fault.store(code, Ordering::Release);
        fault
    }
}

impl Streaming {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(self.accept(frame))),
            Poll::Ready(Some(Err(_broken))) => {
                Poll::Ready(Some(Err(self.watch.fail(Fault::Aborted))))
            }
            Poll::Ready(None) => {
                self.watch.end();
                Poll::Ready(None)
            }
            Poll::Pending => {
                self.watch.waiting.store(true, Ordering::Release);
                let idle = self.idle;
                match self.pause.poll(cx, || (clock::instant() + idle).into()) {
                    Poll::Ready(()) => Poll::Ready(Some(Err(self.watch.fail(Fault::Idle)))),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }

    fn accept(&mut self, mut frame: Frame<Bytes>) -> Result<Frame<Bytes>, Fault> {
        self.pause.disarm();
        if let Some(trailers) = frame.trailers_mut() {
            headers::clean_trailers(trailers, &self.unwanted);
        }
        let length =
            frame.data_ref().map_or(0, |data| u64::try_from(data.len()).unwrap_or(u64::MAX));
        if self.watch.bytes().saturating_add(length) > self.limit {
            return Err(self.watch.fail(Fault::TooLarge));
        }
        self.watch.advance(length);
        if frame.is_trailers() || self.incoming.is_end_stream() {
            self.watch.end();
        }
        Ok(frame)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Broken => Poll::Ready(Some(Err(Fault::Aborted))),
            Self::Full(whole) if whole.octets.is_empty() => {
                Poll::Ready(whole.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
            }
            Self::Full(whole) => {
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut whole.octets)))))
            }
            Self::Streaming(streaming) => streaming.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Broken => false,
            Self::Empty => true,
            Self::Full(whole) => whole.octets.is_empty() && whole.trailers.is_none(),
            Self::Streaming(streaming) => streaming.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Broken => SizeHint::default(),
            Self::Empty => SizeHint::with_exact(0),
            // A length that is known goes ahead of the body, and then there can be no trailers.
            Self::Full(whole) if whole.trailers.is_some() => SizeHint::default(),
            Self::Full(whole) => {
                SizeHint::with_exact(u64::try_from(whole.octets.len()).unwrap_or(u64::MAX))
            }
            Self::Streaming(streaming) => streaming.incoming.size_hint(),
        }
    }
}
