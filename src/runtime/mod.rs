//! Machinery: the clock, tasks, logs, metrics and outbound requests.

pub mod client;
pub mod clock;
pub mod dial;
pub mod file;
pub mod metrics;
pub mod signal;
pub mod tasks;
pub mod telemetry;
