//! The integration tests: one binary, real sockets, tests named for the rules they show.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that cannot go on fails, and says where"
)]
#![expect(clippy::disallowed_methods, reason = "a test lives in real time")]

mod architecture;
mod framing;
mod headers;
mod keys;
mod paths;
mod refusals;
mod support;
mod token;
