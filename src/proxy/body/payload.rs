//! The body of a call before the decision: left where it is, or read whole to be judged.
//!
//! No byte of it goes upstream before there is a permit (R-VER-025), and what goes then is what was
//! judged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use crate::model::reason::{Denial, Reason};
use crate::runtime::clock;

/// The body of a call.
#[derive(Debug)]
pub enum Payload {
    /// Part of it was taken, and the rest never came or was not wanted: it can go nowhere.
    Broken,
    /// Not looked at.
    Unread(Incoming),
    /// Read whole.
    Whole(Box<Whole>),
}

/// A body that was read whole.
#[derive(Debug)]
pub struct Whole {
    /// Its octets.
    pub octets: Bytes,
    /// Its trailers, as they came.
    pub trailers: Option<HeaderMap>,
    /// Its place among all bodies that are held.
    #[expect(dead_code, reason = "it counts as long as it is there")]
    held: Option<Held>,
}

/// What a body may be to be read whole.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The most octets.
    pub octets: u64,
    /// The longest pause.
    pub idle: Duration,
    /// The longest time for all of it: a byte before each pause ends would otherwise take days.
    pub whole: Duration,
    /// The most octets of all bodies that are held at one time.
    pub room: u64,
}

/// How many octets of judged bodies the gate holds. A bound on each connection alone would let all of
/// them together take the memory of the machine.
#[derive(Debug, Default)]
pub struct Room(AtomicU64);

/// Octets that are held; given back when the body is gone.
#[derive(Debug)]
struct Held {
    room: Arc<Room>,
    octets: u64,
}

impl Held {
    fn take(&mut self, octets: u64, most: u64) -> Result<(), Denial> {
        let before = self.room.0.fetch_add(octets, Ordering::AcqRel);
        self.octets = self.octets.saturating_add(octets);
        if before.saturating_add(octets) > most {
            return Err(Denial::about(Reason::BodiesOverloaded, "judged_bodies"));
        }
        Ok(())
    }
}

/// A count that goes down whichever way a call ends.
impl Drop for Held {
    fn drop(&mut self) {
        self.room.0.fetch_sub(self.octets, Ordering::AcqRel);
    }
}

impl From<Bytes> for Payload {
    fn from(octets: Bytes) -> Self {
        Self::Whole(Box::new(Whole { octets, trailers: None, held: None }))
    }
}

impl Payload {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Broken => false,
            Self::Unread(incoming) => incoming.is_end_stream(),
            Self::Whole(whole) => whole.octets.is_empty(),
        }
    }

    /// Reads all of it, once, within `bounds`.
    pub async fn read(&mut self, bounds: Bounds, room: &Arc<Room>) -> Result<Bytes, Denial> {
        match std::mem::replace(self, Self::Broken) {
            Self::Broken => Err(BROKEN),
            Self::Unread(incoming) => {
                let whole = collect(incoming, bounds, room).await?;
                let octets = whole.octets.clone();
                *self = Self::Whole(whole);
                Ok(octets)
            }
            Self::Whole(whole) => {
                let octets = whole.octets.clone();
                *self = Self::Whole(whole);
                check_length(length(&octets), bounds.octets)?;
                Ok(octets)
            }
        }
    }
}

const BROKEN: Denial = Denial::about(Reason::BodyMalformed, "framing");

async fn collect(
    mut incoming: Incoming,
    bounds: Bounds,
    room: &Arc<Room>,
) -> Result<Box<Whole>, Denial> {
    let mut held = Held { room: Arc::clone(room), octets: 0 };
    let end: Instant = (clock::instant() + bounds.whole).into();
    let (mut octets, mut trailers) = (BytesMut::new(), None);
    loop {
        let pause: Instant = (clock::instant() + bounds.idle).into();
        let frame = timeout_at(pause.min(end), incoming.frame()).await;
        let frame = frame.map_err(|_elapsed| Denial::from(Reason::BodyTimeout))?;
        let Some(frame) = frame else { break };
        match frame.map_err(|_broken| BROKEN)?.into_data() {
            Ok(data) => {
                held.take(length(&data), bounds.room)?;
                check_length(held.octets, bounds.octets)?;
                octets.extend_from_slice(&data);
            }
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok(Box::new(Whole { octets: octets.freeze(), trailers, held: Some(held) }))
}

fn length(octets: &Bytes) -> u64 {
    u64::try_from(octets.len()).unwrap_or(u64::MAX)
}

const fn check_length(octets: u64, most: u64) -> Result<(), Denial> {
    if octets > most {
        return Err(Denial::about(Reason::BodyTooLarge, "judged_body_limit"));
    }
    Ok(())
}
