//! When does the process stop, and what is told to whom before it does?

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};

/// The side that begins the drain. Dropping it begins the drain as well: nobody is left to do it.
#[derive(Debug)]
pub struct Shutdown(watch::Sender<bool>);

/// The side that is told: accept nothing further, finish what is open.
#[derive(Clone, Debug)]
pub struct Drain(watch::Receiver<bool>);

/// The two sides of one shutdown.
pub fn shutdown() -> (Shutdown, Drain) {
    let (sender, receiver) = watch::channel(false);
    (Shutdown(sender), Drain(receiver))
}

impl Shutdown {
    /// Begins the drain. Further calls change nothing.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }
}

impl Drain {
    /// Whether the drain has begun.
    pub fn has_begun(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Waits until the drain has begun. May be dropped and called again.
    pub async fn begun(&mut self) {
        if self.0.wait_for(|begun| *begun).await.is_err() {
            tracing::debug!("the shutdown handle is gone, which begins the drain");
        }
    }
}

/// Turns SIGTERM and SIGINT into the drain, and each SIGHUP into a notification. Returns once the
/// drain was asked for.
pub async fn signals(shutdown: &Shutdown, reload: Arc<Notify>) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            _ = hangup.recv() => {
                reload.notify_one();
                continue;
            }
        };
        tracing::info!(signal = name, "draining");
        shutdown.begin();
        return Ok(());
    }
}
