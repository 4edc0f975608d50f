//! `tests/vectors/refusals.json`: what a caller is told for every reason there is.

use opgate::model::reason::Reason;
use opgate::proxy::reject::{self, Challenged};
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
            Challenged::Error => "error",
            Challenged::Guided => "guided",
            Challenged::No => "none",
        };
        assert_eq!(shape.status.as_u16(), expect["status"], "{}", reason.code());
        assert_eq!(shape.error, expect["error"], "{}", reason.code());
        assert_eq!(challenge, expect["challenge"], "{}", reason.code());
    }
}
