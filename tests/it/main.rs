//! The integration tests: one binary, real sockets, tests named for the rules they show.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails, and says where")]

mod architecture;
