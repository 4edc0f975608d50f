//! `tests/vectors`: what a caller is told for every reason there is, and the examples that the
//! standards print.

use opgate::model::presented::Presented;
use opgate::model::reason::Reason;
use opgate::proxy::reject::{self, Challenged};
use opgate::token::jws::Jws;
use opgate::token::keys::{KeySet, Selected};
use opgate::token::trust::Algorithm;
use serde_json::Value;

#[test]
fn every_reason_has_one_vector_and_is_told_as_it_says() {
    let text = include_str!("../vectors/refusals.json");
    let vectors: Vec<Value> = serde_json::from_str(text).unwrap();
    assert_eq!(vectors.len(), Reason::ALL.len());
    for reason in Reason::ALL {
        let vector = vectors.iter().find(|vector| vector["name"] == reason.code());
        let expect = &vector.unwrap_or_else(|| panic!("no vector for {}", reason.code()))["expect"];
        let shape = reject::of(*reason);
        let challenge = match shape.challenge {
            Challenged::Bare => "bare",
            Challenged::Dpop => "dpop",
            Challenged::Workload => "wpt",
            Challenged::Error => "error",
            Challenged::Guided => "guided",
            Challenged::No => "none",
        };
        assert_eq!(shape.status.as_u16(), expect["status"], "{}", reason.code());
        assert_eq!(shape.error, expect["error"], "{}", reason.code());
        assert_eq!(challenge, expect["challenge"], "{}", reason.code());
    }
}

/// What becomes of a token under a set of one key, up to the signature.
fn signature(jwk: &Value, token: &str) -> Result<(), Reason> {
    let jws = Jws::read(Presented::new(token)).map_err(|denial| denial.reason)?;
    let algorithm = Algorithm::named(&jws.header.algorithm).ok_or(Reason::AlgorithmRefused)?;
    let set = serde_json::json!({ "keys": [jwk] }).to_string();
    let (keys, _left_out) = KeySet::from_jwks(set.as_bytes()).unwrap();
    let key = match keys.select(jws.header.key_id.as_deref(), algorithm) {
        Selected::Key(key) => key,
        Selected::OtherAlgorithm => return Err(Reason::AlgorithmRefused),
        Selected::Ambiguous | Selected::Unknown => return Err(Reason::KeyUnknown),
    };
    key.verify(jws.signing_input, jws.signature, algorithm).map_err(|denial| denial.reason)
}

fn signatures_are_as(text: &str) {
    let vectors: Vec<Value> = serde_json::from_str(text).unwrap();
    assert!(!vectors.is_empty());
    for vector in vectors {
        let given = &vector["given"];
        let told = match signature(&given["jwk"], given["token"].as_str().unwrap()) {
            Ok(()) => "verified",
            Err(reason) => reason.code(),
        };
        assert_eq!(told, vector["expect"], "{}, {}", vector["clause"], vector["name"]);
    }
}

#[test]
fn tok_001_the_signatures_of_rfc_7515_are_as_it_prints_them() {
    signatures_are_as(include_str!("../vectors/rfc7515.json"));
}

#[test]
fn tok_001_the_signatures_of_rfc_8037_are_as_it_prints_them() {
    signatures_are_as(include_str!("../vectors/rfc8037.json"));
}

#[test]
fn ver_011_thumbprints_are_as_rfc_7638_and_its_users_print_them() {
    let text = include_str!("../vectors/rfc7638.json");
    for vector in serde_json::from_str::<Vec<Value>>(text).unwrap() {
        let set = serde_json::json!({ "keys": [vector["given"]] }).to_string();
        let (keys, left_out) = KeySet::from_jwks(set.as_bytes()).unwrap();
        assert_eq!(left_out, [], "{}", vector["name"]);
        let key = keys.named(None).next().unwrap();
        let expected = vector["expect"].as_str().unwrap();
        assert!(key.has_thumbprint(expected), "{}, {}", vector["clause"], vector["name"]);
        assert!(!key.has_thumbprint(&expected.to_lowercase()));
    }
}
