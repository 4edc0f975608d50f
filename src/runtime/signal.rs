//! A signal to everything that is open: something has changed, look again.
//!
//! It costs a load to ask whether it was raised, and a place in a list to wait until it is, so that
//! open streams need no timer of their own.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// One signal, raised any number of times. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Signal(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    raised: AtomicU64,
    notify: Arc<Notify>,
}

impl Signal {
    /// Says that something has changed. What was stored before is seen by whoever hears of it.
    pub fn raise(&self) {
        self.0.raised.fetch_add(1, Ordering::AcqRel);
        self.0.notify.notify_waiters();
    }

    /// How often it was raised.
    pub fn raised(&self) -> u64 {
        self.0.raised.load(Ordering::Acquire)
    }

    /// Ends when the signal is raised after this call, also if it is polled only later.
    pub fn next(&self) -> Pin<Box<OwnedNotified>> {
        Box::pin(Arc::clone(&self.0.notify).notified_owned())
    }
}
