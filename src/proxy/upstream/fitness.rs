//! Whether an address is fit: what calls and active checks have found.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::config;
use crate::runtime::clock;

/// Whether an address should be used.
#[derive(Debug)]
pub(super) struct Fitness {
    begun: Instant,
    eject_after: u32,
    eject_for: Duration,
    failures: AtomicU32,
    /// Microseconds from `begun`, plus one; zero is never.
    last_failure: AtomicU64,
    ejected_until: AtomicU64,
    /// What the last active check said.
    unfit: AtomicBool,
}

impl Fitness {
    pub(super) fn new(config: &config::Upstream) -> Self {
        Self {
            begun: clock::instant(),
            eject_after: config.eject_after,
            eject_for: config.eject_for,
            failures: AtomicU32::new(0),
            last_failure: AtomicU64::new(0),
            ejected_until: AtomicU64::new(0),
            unfit: AtomicBool::new(false),
        }
    }

    fn micros(&self, at: Instant) -> u64 {
        let elapsed = at.saturating_duration_since(self.begun).as_micros();
        u64::try_from(elapsed).unwrap_or(u64::MAX).saturating_add(1)
    }

    pub(super) fn is_ejected(&self, now: Instant) -> bool {
        if self.unfit.load(Ordering::Relaxed) {
            return true;
        }
        let until = self.ejected_until.load(Ordering::Relaxed);
        until != 0 && self.micros(now) < until
    }

    pub(super) fn last_failure(&self) -> u64 {
        self.last_failure.load(Ordering::Relaxed)
    }

    pub(super) fn succeeded(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.ejected_until.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn failed(&self, now: Instant) {
        self.last_failure.store(self.micros(now), Ordering::Relaxed);
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if failures >= self.eject_after {
            self.ejected_until.store(self.micros(now + self.eject_for), Ordering::Relaxed);
        }
    }

    /// What an active check found.
    pub(super) fn checked(&self, fit: bool, now: Instant) {
        self.unfit.store(!fit, Ordering::Relaxed);
        if fit {
            self.succeeded();
        } else {
            self.last_failure.store(self.micros(now), Ordering::Relaxed);
        }
    }
}
