//! One connection to an upstream: made, handshaken, and driven by a task of its own until it ends.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use crate::config::Place;
use crate::proxy::body::RequestBody;
use crate::runtime::dial::{self, DialError, Tls};

/// How connections to one address are made.
#[derive(Debug)]
pub(super) struct Dialer {
    pub(super) place: Place,
    pub(super) tls: Option<Tls>,
    pub(super) http2: bool,
    pub(super) timeout: Duration,
}

/// The sending half of a connection.
#[derive(Debug)]
pub(super) enum Sender {
    H1(http1::SendRequest<RequestBody>),
    H2(http2::SendRequest<RequestBody>, Arc<Load>),
}

/// How much of an HTTP/2 connection is used.
#[derive(Debug)]
pub(super) struct Load {
    /// Streams handed out. Changed under the lock of the pool when it grows.
    pub(super) streams: AtomicUsize,
    /// Streams that the upstream allows, as its driver last saw.
    pub(super) capacity: AtomicUsize,
}

impl Dialer {
    /// Connects and shakes hands. `open` counts the connection for as long as it lives.
    pub(super) async fn connect(&self, open: &Arc<AtomicUsize>) -> Result<Sender, DialError> {
        match tokio::time::timeout(self.timeout, self.open(open)).await {
            Ok(result) => result,
            Err(_elapsed) => Err(DialError::Timeout),
        }
    }

    async fn open(&self, open: &Arc<AtomicUsize>) -> Result<Sender, DialError> {
        let stream = dial::dial(&self.place, self.tls.as_ref(), self.http2).await?;
        let io = TokioIo::new(stream);
        if self.http2 {
            let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .adaptive_window(false)
                .handshake(io)
                .await?;
            let load = Arc::new(Load {
                streams: AtomicUsize::new(0),
                capacity: AtomicUsize::new(connection.current_max_send_streams()),
            });
            let (counted, seen) = (Counted::new(open), Arc::clone(&load));
            tokio::spawn(async move {
                let _counted = counted;
                let mut connection = pin!(connection);
                // An error here reaches every call on the connection by itself.
                std::future::poll_fn(|cx| {
                    let polled = connection.as_mut().poll(cx).map(drop);
                    seen.capacity.store(connection.current_max_send_streams(), Ordering::Relaxed);
                    polled
                })
                .await;
            });
            return Ok(Sender::H2(sender, load));
        }
        let (sender, connection) = http1::handshake(io).await?;
        let counted = Counted::new(open);
        tokio::spawn(async move {
            let _counted = counted;
            let mut connection = pin!(connection.with_upgrades());
            std::future::poll_fn(|cx| match connection.as_mut().poll(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(_told_to_the_call) => Poll::Ready(()),
            })
            .await;
        });
        Ok(Sender::H1(sender))
    }
}

/// Counts itself for as long as it lives.
#[derive(Debug)]
pub(super) struct Counted(Arc<AtomicUsize>);

impl Counted {
    pub(super) fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
