//! The integration tests: one binary, real sockets, tests named for the rules they show.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that cannot go on fails, and says where"
)]
#![expect(
    clippy::assigning_clones,
    clippy::format_push_string,
    reason = "plain text, not a hot path"
)]
#![expect(clippy::disallowed_methods, reason = "a test lives in real time")]

mod a2a;
mod agents;
mod architecture;
mod arguments;
mod besieged;
mod callers;
#[cfg(feature = "cedar")]
mod cedar;
mod certificates;
mod claims;
mod combining;
mod coverage;
mod custody;
mod delegation;
mod discretion;
mod documents;
mod dpop;
mod evidence;
mod exporting;
mod feed;
mod forwarding;
mod framing;
mod fuzzing;
mod guidance;
mod headers;
mod http2;
mod interop;
mod introspection;
mod journal;
mod keys;
mod local;
mod mcp;
mod naming;
mod open_agent_auth;
mod oracle;
mod paths;
mod policies;
mod prompts;
mod quantities;
mod references;
mod refusals;
mod rego;
mod remembering;
mod reviewing;
mod revocation;
mod sealed;
mod serving;
mod shapes;
mod status;
mod support;
mod svids;
mod telling;
mod token;
mod upstreams;
mod validation;
mod vectors;
mod workloads;
