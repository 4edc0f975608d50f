//! What an open response is tied to: its grant. When something is revoked, every open stream looks
//! whether it is meant, and ends if it is (R-VER-030).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use tokio::sync::futures::OwnedNotified;

use super::asking::Asking;
use super::serving::Serving;
use crate::model::reason::Reason;
use crate::runtime::clock;
use crate::runtime::signal::Signal;
use crate::token::grant::Grant;

/// The tie between a response and the grant it was permitted by.
#[derive(Debug)]
pub struct Tether {
    grant: Arc<Grant>,
    /// What its presenter has proven to be.
    agents: Box<[Box<str>]>,
    /// Where the issuer's word permitted the call: it is asked again.
    asking: Option<Asking>,
    /// What is in force now, and not when the response began.
    serving: Arc<ArcSwap<Serving>>,
    signal: Signal,
    /// How often the signal had been raised when the grant was last found to stand.
    seen: u64,
    /// Made when something really waits.
    next: Option<Pin<Box<OwnedNotified>>>,
}

impl Tether {
    /// Ties to `grant`, which was admitted for `agents` when the signal had been raised `seen` times.
    pub fn new(
        grant: Arc<Grant>,
        agents: Box<[Box<str>]>,
        serving: Arc<ArcSwap<Serving>>,
        signal: Signal,
        seen: u64,
    ) -> Self {
        Self { grant, agents, asking: None, serving, signal, seen, next: None }
    }

    /// The same, and its issuer is asked about `token` for as long as it lasts.
    #[must_use]
    pub fn asked_about(mut self, token: &str) -> Self {
        let (grant, serving) = (Arc::clone(&self.grant), Arc::clone(&self.serving));
        self.asking = Some(Asking::start(grant, token, serving, self.signal.clone()));
        self
    }

    /// Why the response must end, if it must: one load where nothing has changed.
    pub fn check(&mut self) -> Result<(), Reason> {
        let raised = self.signal.raised();
        if raised == self.seen {
            return Ok(());
        }
        if let Some(reason) = self.asking.as_ref().and_then(Asking::verdict) {
            return Err(reason);
        }
        let serving = self.serving.load();
        let world = &serving.snapshot.world;
        let standing = serving.facts.standing(world, &self.grant, &self.agents, clock::now());
        standing.map_err(|denial| denial.reason)?;
        self.seen = raised;
        Ok(())
    }

    /// Is ready when the response must end, and says why.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Reason> {
        loop {
            let signal = &self.signal;
            // Made before the look, so that nothing raised in between is missed.
            let mut next = self.next.take().unwrap_or_else(|| signal.next());
            if let Err(reason) = self.check() {
                return Poll::Ready(reason);
            }
            if next.as_mut().poll(cx).is_pending() {
                self.next = Some(next);
                return Poll::Pending;
            }
        }
    }

    /// Ends when the response must, and says why.
    pub async fn cut(&mut self) -> Reason {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }
}
