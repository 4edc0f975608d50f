//! The only reader of time. Everything else is told.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::model::time::Timestamp;

/// The wall clock.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Timestamp::from_micros(u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX))
}

/// The monotonic clock, for durations.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the monotonic clock"
)]
pub fn instant() -> Instant {
    Instant::now()
}

/// How long it is since this was first asked: a watch for whoever must not look at a clock.
pub fn watch() -> Duration {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    instant().saturating_duration_since(*FIRST.get_or_init(instant))
}
