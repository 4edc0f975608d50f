//! A WebSocket between a caller and an upstream (RFC 6455): judged like any request when it began, and
//! ended with the grant. What is said inside is not looked at.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::body::ResponseBody;
use super::forward::{Account, Limits, STREAM_IDLE};
use super::upstream::UpstreamBody;
use crate::audit::record;
use crate::model::reason::Reason;

/// Joins the two ends of a WebSocket. A switch that nobody asked for is a failure of the upstream.
pub(super) fn switch(
    mut response: Response<UpstreamBody>,
    caller: Option<OnUpgrade>,
    mut limits: Limits,
    account: Account,
) -> Result<Response<ResponseBody>, Reason> {
    let Some(caller) = caller else {
        account.close(record::Ending::Failure, Some(Reason::UpstreamFailed), None);
        return Err(Reason::UpstreamFailed);
    };
    let upstream = hyper::upgrade::on(&mut response);
    let (parts, place) = response.into_parts();
    tokio::spawn(async move {
        let deadline = limits.deadline;
        let joined = async {
            match tokio::try_join!(caller, upstream) {
                Ok((caller, upstream)) => {
                    relay(TokioIo::new(caller), TokioIo::new(upstream), deadline, STREAM_IDLE).await
                }
                Err(_not_switched) => Err(Reason::UpstreamFailed),
            }
        };
        let joined = tokio::select! {
            joined = joined => joined,
            reason = limits.revoked() => Err(reason),
        };
        let (ending, error) = match joined {
            Ok(()) => (record::Ending::Success, None),
            Err(Reason::UpstreamTimeout) => {
                (record::Ending::Timeout, Some(Reason::UpstreamTimeout))
            }
            Err(reason) => (record::Ending::Failure, Some(reason)),
        };
        account.close(ending, error, None);
        drop(place);
    });
    let mut answer = Response::new(ResponseBody::Full(bytes::Bytes::new()));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    for name in [
        header::SEC_WEBSOCKET_ACCEPT,
        header::SEC_WEBSOCKET_PROTOCOL,
        header::SEC_WEBSOCKET_EXTENSIONS,
    ] {
        if let Some(value) = parts.headers.get(&name) {
            answer.headers_mut().insert(name, value.clone());
        }
    }
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    answer.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    Ok(answer)
}

/// Copies both ways until either side ends, the grant ends, or nothing is said for `idle` (and at most
/// for twice as long).
async fn relay<C, U>(
    caller: C,
    upstream: U,
    deadline: Option<Instant>,
    idle: Duration,
) -> Result<(), Reason>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let said = Arc::<AtomicU64>::default();
    let mut caller = Heard { io: caller, said: Arc::clone(&said) };
    let mut upstream = Heard { io: upstream, said: Arc::clone(&said) };
    let silence = async {
        let mut before = said.load(Ordering::Relaxed);
        loop {
            tokio::time::sleep(idle).await;
            let now = said.load(Ordering::Relaxed);
            if now == before {
                return;
            }
            before = now;
        }
    };
    let expiry = async {
        match deadline {
            Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = expiry => Err(Reason::TokenExpired),
        () = silence => Err(Reason::UpstreamTimeout),
        copied = tokio::io::copy_bidirectional(&mut caller, &mut upstream) => {
            copied.map(drop).map_err(|_broken| Reason::UpstreamFailed)
        }
    }
}

/// Counts what is read.
struct Heard<IO> {
    io: IO,
    said: Arc<AtomicU64>,
}

impl<IO: AsyncRead + Unpin> AsyncRead for Heard<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        self.said.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Heard<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    const SOON: Duration = Duration::from_millis(60);
    const LATER: Duration = Duration::from_mins(1);

    fn relaying(
        deadline: Option<Instant>,
        idle: Duration,
    ) -> (DuplexStream, DuplexStream, tokio::task::JoinHandle<Result<(), Reason>>) {
        let ((caller, one), (other, upstream)) = (duplex(64), duplex(64));
        (caller, upstream, tokio::spawn(relay(one, other, deadline, idle)))
    }

    #[tokio::test]
    async fn silence_ends_it_and_words_of_either_side_do_not() {
        let (mut caller, mut upstream, relay) = relaying(None, SOON);
        for n in 0..8 {
            let (from, to) = if n % 2 == 0 {
                (&mut caller, &mut upstream)
            } else {
                (&mut upstream, &mut caller)
            };
            from.write_all(b"word").await.unwrap();
            let mut word = [0; 4];
            to.read_exact(&mut word).await.unwrap();
            tokio::time::sleep(SOON / 3).await;
        }
        assert!(!relay.is_finished());
        assert_eq!(relay.await.unwrap(), Err(Reason::UpstreamTimeout));
    }

    #[tokio::test]
    async fn the_end_of_the_grant_ends_it_in_the_middle_of_a_word() {
        let deadline = Instant::from(tokio::time::Instant::now() + SOON);
        let (mut caller, _upstream, relay) = relaying(Some(deadline), LATER);
        // More than fits: the relay waits for an upstream that does not read.
        tokio::spawn(async move { caller.write_all(&[0; 4_096]).await });
        assert_eq!(relay.await.unwrap(), Err(Reason::TokenExpired));
    }

    #[tokio::test]
    async fn it_ends_well_when_both_sides_have_ended() {
        let (caller, upstream, relay) = relaying(None, LATER);
        drop((caller, upstream));
        assert_eq!(relay.await.unwrap(), Ok(()));
    }
}
