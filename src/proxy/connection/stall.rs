//! Callers that do not read: a response that nobody takes holds a place here and a connection to the
//! upstream, so it is given up when nothing of it was taken for as long as a body may pause.
//!
//! On HTTP/1.1 this shows at the socket, which takes no more bytes. On HTTP/2 the socket may be read
//! all the while and only the window of the stream stays shut; hyper then does not poll the body, and
//! the task of the stream sleeps. So that task is watched.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::runtime::clock;

/// Gives up writing to a peer that takes nothing.
#[derive(Debug)]
pub(super) struct Stall {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Stall {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, timer: None }
    }

    /// What became of a write: an error when it has been pending for too long.
    pub(super) fn check<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.timer = None;
            return polled;
        }
        match self.poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        let due = || Instant::from_std(clock::instant()) + limit;
        self.timer.get_or_insert_with(|| Box::pin(sleep_until(due()))).as_mut().poll(cx)
    }
}

tokio::task_local! {
    /// Set while the task of an HTTP/2 stream runs.
    static TAKEN: Arc<Taken>;
}

/// How much of a response its caller has taken: odd while the next frame waits for the caller, even
/// while it is waited for. Every step forward changes it.
#[derive(Debug, Default)]
pub(super) struct Taken(AtomicU64);

impl Taken {
    /// That of the stream whose task this is, on HTTP/2.
    pub(super) fn current() -> Option<Arc<Self>> {
        TAKEN.try_with(Arc::clone).ok()
    }

    /// A frame was handed over: until the next is asked for, the caller is waited for.
    pub(super) fn handed(&self) {
        let before = self.0.load(Ordering::Relaxed);
        self.0.store(before.wrapping_add(2) | 1, Ordering::Relaxed);
    }

    /// Another frame was asked for and is not there.
    pub(super) fn asked(&self) {
        self.0.fetch_and(!1, Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Runs the streams of an HTTP/2 connection, and ends those whose caller takes nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Streams {
    pub(super) limit: Duration,
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let taken = Arc::<Taken>::default();
        let stall = Stall::new(self.limit);
        let watched = Watched { stream, taken: Arc::clone(&taken), seen: 0, stall };
        tokio::spawn(TAKEN.scope(taken, watched));
    }
}

pin_project_lite::pin_project! {
    struct Watched<F> {
        #[pin]
        stream: F,
        taken: Arc<Taken>,
        seen: u64,
        stall: Stall,
    }
}

impl<F: Future<Output = ()>> Future for Watched<F> {
    type Output = ();

    /// To end before the stream's own end is to drop it, which resets it.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.stream.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let taken = this.taken.read();
        if taken != *this.seen {
            *this.seen = taken;
            this.stall.timer = None;
        }
        if taken & 1 == 1 { this.stall.poll(cx) } else { Poll::Pending }
    }
}
