//! `cnf`: what whoever presents the token must prove to hold (RFC 7800; `tokens.md` §8).

use serde_json::{Map, Value};

use super::hash;
use super::keys::Key;
use super::member;
use super::presenter::Presenter;
use crate::model::reason::{Denial, Reason};

/// What a token is bound to: every member that is there must be proven.
///
/// A member that is not known is ignored beside known ones, as RFC 7800 §3.1 says; a `cnf` that holds
/// unknown ones only would make a bearer token of a bound one, and is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirmation {
    /// `x5t#S256`: the client certificate (RFC 8705 §3.1).
    pub certificate: Option<[u8; 32]>,
    /// `jkt`: the key of the DPoP proof (RFC 9449 §6.1).
    pub dpop: Option<[u8; 32]>,
    /// `jwk`, or a `kid` that is a thumbprint: the key of a workload's proof, or of a DPoP proof.
    pub key: Option<[u8; 32]>,
}

impl Confirmation {
    /// Reads `cnf` of a verified payload.
    pub fn read(payload: &Map<String, Value>) -> Result<Option<Self>, Denial> {
        let Some(cnf) = payload.get(member::CNF) else { return Ok(None) };
        let Value::Object(members) = cnf else { return Err(malformed(member::CNF)) };
        let confirmation = Self {
            certificate: thumbprint(members, member::X5T_S256)?,
            dpop: thumbprint(members, member::JKT)?,
            key: key(members)?,
        };
        if confirmation == (Self { certificate: None, dpop: None, key: None }) {
            return Err(Denial::about(Reason::ConfirmationUnsupported, member::CNF));
        }
        Ok(Some(confirmation))
    }

    /// Whether the presenter has proven everything that the token is bound to.
    pub fn check(&self, presenter: &Presenter) -> Result<(), Denial> {
        let shown = presenter.certificate.as_ref().map(|certificate| &certificate.thumbprint);
        let is_proven = |wanted: Option<[u8; 32]>, proven: Option<&[u8; 32]>| match wanted {
            None => true,
            Some(wanted) => proven.is_some_and(|proven| hash::equal(&wanted, proven)),
        };
        let mismatch = |about| Err(Denial::about(Reason::ConfirmationMismatch, about));
        if !is_proven(self.dpop, presenter.dpop.as_ref()) {
            return mismatch(member::JKT);
        }
        if !is_proven(self.certificate, shown) {
            return mismatch(member::X5T_S256);
        }
        let by_workload = is_proven(self.key, presenter.workload_key.as_ref());
        if !by_workload && !is_proven(self.key, presenter.dpop.as_ref()) {
            return mismatch("jwk");
        }
        Ok(())
    }
}

/// The proofs of possession that a resource demands of every call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demands {
    /// A token bound to a DPoP key, and the proof (RFC 9449).
    pub dpop: bool,
    /// A token bound to a client certificate, and the certificate (RFC 8705).
    pub certificate: bool,
    /// A workload identity token and its proof (WIMSE).
    pub workload: bool,
}

const fn malformed(claim: &'static str) -> Denial {
    Denial::about(Reason::ClaimMalformed, claim)
}

fn thumbprint(
    members: &Map<String, Value>,
    name: &'static str,
) -> Result<Option<[u8; 32]>, Denial> {
    members.get(name).map(|value| hash::read(value).ok_or(malformed(name))).transpose()
}

/// A `kid` alone is only a name, which the holder of another key could have given to it as well. It is
/// taken where it is the key's own thumbprint, and is unknown otherwise.
fn key(members: &Map<String, Value>) -> Result<Option<[u8; 32]>, Denial> {
    match (members.get("jwk"), members.get("kid")) {
        (Some(jwk), _) => {
            let key = Key::presented(jwk).map_err(|_why| malformed("jwk"))?;
            Ok(Some(key.thumbprint()))
        }
        (None, Some(name)) => Ok(hash::read(name)),
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::super::presenter::Certificate;
    use super::*;

    /// RFC 8037 appendix A.3: the key, and its thumbprint.
    const THUMBPRINT: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";

    fn ed25519() -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
    }

    fn read(cnf: &Value) -> Result<Option<Confirmation>, Reason> {
        let payload = json!({ "cnf": cnf });
        Confirmation::read(payload.as_object().unwrap()).map_err(|denial| denial.reason)
    }

    fn bytes(text: &str) -> [u8; 32] {
        hash::read(&json!(text)).unwrap()
    }

    #[test]
    fn the_thumbprints_of_rfc_8037_and_rfc_7638_are_made() {
        assert_eq!(read(&json!({"jwk": ed25519()})).unwrap().unwrap().key, Some(bytes(THUMBPRINT)));
        let rsa = json!({"kty": "RSA", "alg": "RS256", "kid": "2011-04-29", "e": "AQAB",
            "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"});
        let printed = bytes("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        assert_eq!(read(&json!({"jwk": rsa})).unwrap().unwrap().key, Some(printed));
    }

    #[test]
    fn r_tok_032_a_confirmation_that_cannot_be_checked_is_refused() {
        let private = json!({"kty": "OKP", "crv": "Ed25519", "x": ed25519()["x"], "d": "AAAA"});
        for (cnf, reason) in [
            (json!({"x5u": "https://evil.test"}), Reason::ConfirmationUnsupported),
            (json!({}), Reason::ConfirmationUnsupported),
            (json!({"kid": "key-1"}), Reason::ConfirmationUnsupported),
            (json!("jkt"), Reason::ClaimMalformed),
            (json!(null), Reason::ClaimMalformed),
            (json!({"jkt": 7}), Reason::ClaimMalformed),
            (json!({"jkt": "AAAA"}), Reason::ClaimMalformed),
            (json!({"jkt": THUMBPRINT, "x5t#S256": ""}), Reason::ClaimMalformed),
            (json!({"jwk": {"kty": "oct", "k": "AAAA"}}), Reason::ClaimMalformed),
            (json!({"jwk": private}), Reason::ClaimMalformed),
        ] {
            assert_eq!(read(&cnf), Err(reason), "{cnf}");
        }
        assert_eq!(
            read(&json!({"kid": THUMBPRINT})).unwrap().unwrap().key,
            Some(bytes(THUMBPRINT))
        );
        let beside = read(&json!({"jkt": THUMBPRINT, "unknown": 1})).unwrap().unwrap();
        assert_eq!(beside.dpop, Some(bytes(THUMBPRINT)));
    }

    #[test]
    fn every_member_that_is_there_must_be_proven() {
        let (own, other) = (bytes(THUMBPRINT), [7; 32]);
        let certificate =
            |thumbprint| Some(Arc::new(Certificate { thumbprint, uris: Vec::new(), until: None }));
        let all = Confirmation { certificate: Some(own), dpop: Some(own), key: None };
        let bound = Confirmation { certificate: None, dpop: None, key: Some(own) };
        let nobody = Presenter::default;
        for (confirmation, presenter, expected) in [
            (all, Presenter { dpop: Some(own), certificate: certificate(own), ..nobody() }, None),
            (all, Presenter { dpop: Some(own), ..nobody() }, Some("x5t#S256")),
            (
                all,
                Presenter { dpop: Some(own), certificate: certificate(other), ..nobody() },
                Some("x5t#S256"),
            ),
            (all, Presenter { certificate: certificate(own), ..nobody() }, Some("jkt")),
            (
                all,
                Presenter { dpop: Some(other), certificate: certificate(own), ..nobody() },
                Some("jkt"),
            ),
            (bound, Presenter { workload_key: Some(own), ..nobody() }, None),
            (bound, Presenter { dpop: Some(own), ..nobody() }, None),
            (
                bound,
                Presenter { dpop: Some(other), workload_key: Some(other), ..nobody() },
                Some("jwk"),
            ),
            (bound, nobody(), Some("jwk")),
        ] {
            let refused = confirmation.check(&presenter).err().and_then(|denial| denial.about);
            assert_eq!(refused, expected, "{presenter:?}");
        }
    }
}
