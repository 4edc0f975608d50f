//! The presenter: what a caller has proven of itself at this call, beside holding the token.

use std::sync::Arc;

use super::delegation::presenter::Method;
use super::evidence::Evidenced;
use super::grant::Grant;
use crate::model::need::FirstUse;
use crate::model::time::Timestamp;

/// What was proven. By default nothing: whoever holds a bearer token can present it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presenter {
    /// The client certificate of the connection, or one that a listed peer vouches for (RFC 8705).
    pub certificate: Option<Arc<Certificate>>,
    /// The RFC 7638 SHA-256 thumbprint of the key whose possession a DPoP proof shows (RFC 9449).
    pub dpop: Option<[u8; 32]>,
    /// The use of that proof.
    pub dpop_use: Option<FirstUse>,
    /// `sub` of the workload identity token, its key proven (WIMSE).
    pub workload: Option<Box<str>>,
    /// The id of the agent that this workload is, where the operator has given it one.
    pub workload_agent: Option<Box<str>>,
    /// The thumbprint of that key.
    pub workload_key: Option<[u8; 32]>,
    /// The use of the workload's proof.
    pub workload_use: Option<FirstUse>,
    /// The evidence that the token only names, as its issuer told it (form E5), where the operation needs it.
    pub told: Option<Box<Evidenced>>,
    /// How it was known to be the agent that the token was delegated to, when it was delegated.
    pub delegated: Option<Method>,
}

impl Presenter {
    /// The proofs that count once, and must not have counted before.
    pub fn first_uses(&self) -> impl Iterator<Item = FirstUse> {
        self.dpop_use.into_iter().chain(self.workload_use)
    }

    /// What its issuer told of the evidence that the token only names.
    pub fn told(&self) -> Option<&Evidenced> {
        self.told.as_deref()
    }

    /// The evidence that counts at this call: what was told of the token, or what it says itself.
    pub fn evidence<'a>(&'a self, grant: &'a Grant) -> &'a Evidenced {
        self.told().unwrap_or_else(|| grant.evidence())
    }

    /// The names of agents that it has proven to be: none of them need stand in the token, and each can be
    /// revoked.
    pub fn agents(&self) -> impl Iterator<Item = &str> {
        let certified = self.certificate.iter().flat_map(|certificate| &certificate.uris);
        self.workload.iter().chain(&self.workload_agent).chain(certified).map(|name| &**name)
    }
}

/// A certificate whose key the caller has proven to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// SHA-256 of its DER form: `x5t#S256` (RFC 8705 §3.1).
    pub thumbprint: [u8; 32],
    /// The URIs of its subject alternative names, which is where SPIFFE puts an identity. None where no
    /// authority was verified: anyone can write any name into a certificate of their own.
    pub uris: Vec<Box<str>>,
    /// When it ends, where an authority was verified. One that only its holder has signed can say anything.
    pub until: Option<Timestamp>,
}

impl Certificate {
    /// Whether it still counts at `now`: a connection may outlive the certificate that it began with.
    pub fn is_current(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now.seconds() <= until.seconds())
    }
}
