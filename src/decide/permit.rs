//! The permit: the proof that a decision was made for a call to be forwarded.

use http::HeaderMap;

use super::call::Call;
use crate::model::need::Obligation;
use crate::model::reason::{Denial, Reason, Stage};
use crate::model::time::Timestamp;
use crate::policy::algebra::Basis;
use crate::token::extract;

/// Permission to forward one call, made by this module's parent alone and used up by forwarding.
///
/// It cannot be made elsewhere:
///
/// ```compile_fail
/// let permit = opgate::decide::permit::Permit { ground: todo!(), ends: None, obligations: Vec::new() };
/// ```
///
/// and it cannot be used twice:
///
/// ```compile_fail
/// fn twice(permit: opgate::decide::permit::Permit) {
///     let again = permit.clone();
/// }
/// ```
#[derive(Debug)]
pub struct Permit {
    ground: Ground,
    ends: Option<Timestamp>,
    obligations: Vec<Obligation>,
}

/// Why a call may be forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// The decision allows it.
    Granted(Basis),
    /// The decision refuses it, and the resource is only observed.
    Observed(Denial),
    /// It is for everybody.
    Public,
}

impl Permit {
    pub(super) const fn granted(
        basis: Basis,
        ends: Timestamp,
        obligations: Vec<Obligation>,
    ) -> Self {
        Self { ground: Ground::Granted(basis), ends: Some(ends), obligations }
    }

    /// Lets a call pass that is for everybody, whoever makes it: it reads the card of an agent (R-MCP-025).
    /// Its body is not judged, so that it has none. A token in its query is refused, since the upstream must
    /// not see one.
    pub fn public(call: &Call<'_>, headers: &HeaderMap, has_body: bool) -> Result<Self, Denial> {
        if !call.is_public() {
            return Err(Reason::TokenAbsent.into());
        }
        if has_body {
            return Err(Denial::about(Reason::BodyMalformed, "unexpected"));
        }
        let header = &call.resource().token_header;
        match extract::extract(headers, call.query(), header, None) {
            Err(denial) if denial.reason == Reason::TokenInQuery => Err(denial),
            Err(_) | Ok(_) => {
                Ok(Self { ground: Ground::Public, ends: None, obligations: Vec::new() })
            }
        }
    }

    /// Lets a refused call pass because its resource is in mode `observe`. A request that could be
    /// read in two ways is refused there too, since it cannot be said what would be forwarded; so is
    /// one with a token in its query, which the upstream must not see.
    pub fn observe(call: &Call<'_>, denial: Denial) -> Result<Self, Denial> {
        let is_readable = (denial.reason.stage() > Stage::Hygiene
            && denial.reason != Reason::TokenInQuery)
            || matches!(denial.reason, Reason::NoRoute | Reason::MethodNotAllowed);
        if call.resource().observed && is_readable && denial.reason.stage() < Stage::Forwarding {
            Ok(Self { ground: Ground::Observed(denial), ends: None, obligations: Vec::new() })
        } else {
            Err(denial)
        }
    }

    /// What must be done before it takes effect.
    pub fn obligations(&self) -> &[Obligation] {
        &self.obligations
    }

    /// Why the call may be forwarded.
    pub const fn ground(&self) -> Ground {
        self.ground
    }

    /// When the grant ends, and with it what it permitted.
    pub const fn ends(&self) -> Option<Timestamp> {
        self.ends
    }
}
