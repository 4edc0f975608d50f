//! D17: whoever presents a delegated token is the agent that it was delegated to (`delegation.md` §5).

use std::time::Duration;

use super::{Delegation, Lineage};
use crate::model::reason::{Denial, Reason};
use crate::token::claims::Claims;
use crate::token::presenter::Presenter;

/// The longest life of a delegated token whose presenter need not prove who it is.
pub const MAX_BEARER_LIFETIME: Duration = Duration::from_mins(15);

/// How the presenter was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// By a client certificate with the agent's URI.
    Certificate,
    /// By the key that the authorization server bound the token to.
    Confirmation,
    /// Not at all: the resource allows that.
    Unauthenticated,
    /// By a workload identity token and its proof.
    Workload,
}

impl Method {
    /// The word in records.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Confirmation => "confirmation",
            Self::Unauthenticated => "unauthenticated",
            Self::Workload => "workload",
        }
    }
}

/// Finds that the presenter is the newest delegatee. `is_confirmed` says that every key which `cnf` names
/// was proven, by which the authorization server vouches for the actor. Everything that is shown must
/// agree: a second identity beside the right one is somebody else's token in the wrong hands.
pub fn check(
    delegation: &Delegation,
    claims: &Claims,
    presenter: &Presenter,
    is_confirmed: bool,
    allow_bearer: bool,
) -> Result<Method, Denial> {
    let mismatch = Denial::about(Reason::PresenterMismatch, "D17");
    let mut method = None;
    if is_confirmed && (presenter.dpop.is_some() || presenter.certificate.is_some()) {
        method = Some(Method::Confirmation);
    }
    if let Some(certificate) = &presenter.certificate
        && !certificate.uris.is_empty()
    {
        match (delegation.delegatee(), certificate.uris.as_slice()) {
            // With a second name it would be two agents at once (X.509-SVID §2).
            (Some(agent), [only]) if **only == *agent => method = Some(Method::Certificate),
            (Some(_), _) => return Err(mismatch),
            (None, _) => {}
        }
    }
    if let Some(workload) = &presenter.workload {
        let given = presenter.workload_agent.as_deref();
        match delegation.delegatee() {
            Some(agent) if **workload == *agent || given == Some(agent) => {
                method = Some(Method::Workload);
            }
            // A chain of tokens names no agents: the proof ties this very token to the workload.
            None if delegation.lineage != Lineage::Agents => method = Some(Method::Workload),
            Some(_) | None => return Err(mismatch),
        }
    }
    let is_short = claims.expires.since(claims.issued) <= MAX_BEARER_LIFETIME;
    match method {
        Some(method) => Ok(method),
        None if allow_bearer && is_short => Ok(Method::Unauthenticated),
        None => Err(Denial::about(Reason::PresenterUnproven, "D17")),
    }
}
