//! A2A, the protocol of agents among themselves, in JSON-RPC and in REST: what is asked of an agent, read in
//! exactly one way (`mcp-a2a.md` §8).
//!
//! [`version`] tells by which version a request is meant, [`method`](mod@method) which methods there are,
//! [`rest`] what path and query say in the REST binding, [`said`] what a message holds, and [`asked`] what
//! all of that comes to: the same action in each version and binding. [`answer`] finds tasks in what is answered. gRPC is not read.

pub mod answer;
pub mod asked;
pub mod card;
pub mod method;
pub mod push;
pub mod rest;
pub mod said;
pub mod version;

use crate::model::reason::{Denial, Reason};
use asked::Asked;
use version::Version;

/// An agent behind the gate, as the operator configured it.
#[derive(Debug, Default)]
pub struct Agent {
    /// The versions that are spoken.
    pub versions: Vec<Version>,
    /// The hosts to which the agent may be told to send notifications, with a port where it is not 443.
    pub push_hosts: Vec<Box<str>>,
    /// Whether a task that is not known here is bound to whoever names it first; it is refused otherwise.
    pub rebinds: bool,
    /// Whether its card names the gate in place of the agent.
    pub rewrites_card: bool,
    /// The tenants that may be named.
    pub tenants: Vec<Box<str>>,
}

impl Agent {
    /// Refuses what the operator does not allow, whatever a token says (R-MCP-024).
    pub fn allows(&self, asked: &Asked) -> Result<(), Denial> {
        let is_own = |tenant: &str| self.tenants.iter().any(|own| **own == *tenant);
        if asked.tenant.as_deref().is_some_and(|tenant| !is_own(tenant)) {
            return Err(Denial::about(Reason::OverlayDenied, "tenants"));
        }
        let may_push = |url: &str| push::is_allowed(url, &self.push_hosts);
        if asked.push_urls.iter().all(|url| may_push(url)) {
            Ok(())
        } else {
            Err(Denial::about(Reason::OverlayDenied, "push_urls"))
        }
    }
}
