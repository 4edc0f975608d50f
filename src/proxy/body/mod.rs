//! Bodies on their way through the gate: bounded, watched, and never ended cleanly when they were not
//! whole. None is held but the one that is judged.

pub mod payload;
pub mod request;
pub mod response;
pub mod rewrite;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::HeaderMap;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use tokio::time::{Instant, Sleep};

pub use payload::{Payload, Room};
pub use request::{RequestBody, Watch};
pub use response::{Ending, Finish, ResponseBody};

/// Why a body ended before it was whole. Each of them makes hyper cut the connection or stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The sender went away or broke the framing.
    #[error("the body broke off")]
    Aborted,
    /// The grant has expired.
    #[error("the authorization ended before the body")]
    Expired,
    /// Nothing came for longer than the bound.
    #[error("the body paused for too long")]
    Idle,
    /// The grant was revoked.
    #[error("the authorization was revoked")]
    Revoked,
    /// More came than the bound.
    #[error("the body is larger than allowed")]
    TooLarge,
}

/// Makes the framing of an upstream's response unambiguous: where `Transfer-Encoding` stands,
/// `Content-Length` does not count (RFC 9112 §6.3) and would truncate the response if passed on.
/// Both are connection-level afterwards, so that hyper alone frames what the caller gets.
pub fn sanitize_framing(headers: &mut HeaderMap) {
    if headers.remove(TRANSFER_ENCODING).is_some() {
        headers.remove(CONTENT_LENGTH);
    }
}

/// A timer that costs nothing until something really waits.
#[derive(Debug, Default)]
struct Pause {
    sleep: Option<Pin<Box<Sleep>>>,
    armed: bool,
}

impl Pause {
    /// Something came: the next wait begins anew.
    fn disarm(&mut self) {
        self.armed = false;
    }

    /// Waits; `until` is asked when a wait begins.
    fn poll(&mut self, cx: &mut Context<'_>, until: impl FnOnce() -> Instant) -> Poll<()> {
        let sleep = match &mut self.sleep {
            Some(sleep) => {
                if !self.armed {
                    sleep.as_mut().reset(until());
                }
                sleep
            }
            none => none.insert(Box::pin(tokio::time::sleep_until(until()))),
        };
        self.armed = true;
        sleep.as_mut().poll(cx)
    }
}
