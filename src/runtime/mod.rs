//! Machinery: the clock, tasks, logs, metrics and outbound requests.

pub mod clock;
