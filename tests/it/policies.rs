//! Every grant in `policies/` allows and refuses what it says it does.

use http::Method;
use opgate::model::operation::Operation;
use opgate::token::details::{self, Rule};
use serde_json::{Map, Value};

#[test]
fn every_sample_allows_and_refuses_what_it_says() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/policies/agent_operation");
    let mut samples = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let sample: Map<String, Value> =
            serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let calls = sample["calls"].as_array().unwrap();
        assert!(calls.iter().any(|call| call["allowed"] == true), "{}", path.display());
        assert!(calls.iter().any(|call| call["allowed"] == false), "{}", path.display());
        for call in calls {
            assert_eq!(is_allowed(&sample, call), call["allowed"], "{}: {call}", path.display());
        }
        samples += 1;
    }
    assert!(samples >= 4);
}

fn is_allowed(sample: &Map<String, Value>, call: &Value) -> bool {
    let method = Method::from_bytes(call["method"].as_str().unwrap().as_bytes()).unwrap();
    let operation = Operation::bare(
        call["action"].as_str().unwrap(),
        &method,
        call["path"].as_str().unwrap(),
        "https://tools.example.com/shop",
    );
    details::read(sample).unwrap().iter().any(|entry| {
        let Rule::Operations(allowed) = &entry.rule else { return false };
        entry.bounds.hold(&operation) && allowed.iter().any(|one| one.covers(&operation))
    })
}
