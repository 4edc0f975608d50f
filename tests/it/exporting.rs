//! The log in the forms of other tools, as their users get them.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Echo, Setup, opgate};

const TARGET: &str = "/shop/any/1";

#[test]
fn evi_011_each_call_is_one_row_and_one_event_with_its_outcome() {
    let echo = Echo::start();
    let mut gate = Setup::new(&echo).start();
    assert_eq!(gate.get(TARGET, &gate.token()).status, 200);
    assert_eq!(gate.get(TARGET, "nonsense").status, 401);
    gate.signal("TERM");
    gate.ended();
    let directory = gate.setup.dir.path();
    let export = |more: &[&str]| opgate(directory, &[&["audit", "export"], more].concat());
    let (code, told) = export(&["--format", "csv", "-o", "calls.csv"]);
    assert!(code == Some(0) && told.starts_with("2 calls; "), "{told}");
    let table = fs::read_to_string(directory.join("calls.csv")).unwrap();
    let rows: Vec<_> = table.split_terminator("\r\n").collect();
    assert_eq!(rows.len(), 3, "{table}");
    assert!(rows.iter().any(|row| row.contains(",allow,") && row.contains(",success,200,")));
    assert!(rows.iter().any(|row| row.contains(",deny,") && row.contains(",GET,/shop/any/1,")));
    let (code, _) = export(&["--format", "ocsf", "-o", "events.jsonl"]);
    assert_eq!(code, Some(0));
    let events = fs::read_to_string(directory.join("events.jsonl")).unwrap();
    let events: Vec<Value> =
        events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let allowed = events.iter().find(|event| event["action_id"] == 1).unwrap();
    assert_eq!((&allowed["class_uid"], &allowed["status_id"]), (&json!(6003), &json!(1)));
    let (_, key) = opgate(directory, &["audit", "key"]);
    let name = key.split('+').next().unwrap();
    assert_eq!(allowed["metadata"]["log_name"], name);
    assert_eq!(allowed["attestation_list"][0]["chain_uid"], name);
    // Every record, as it stands: what is exported can still be proven.
    let (_, lines) = export(&["--format", "jsonl", "-o", "all.jsonl"]);
    let all = fs::read(directory.join("all.jsonl")).unwrap();
    assert_eq!(all, fs::read(directory.join("audit/seg/000000000000.jsonl")).unwrap(), "{lines}");
    let (code, told) = export(&["--format", "xml"]);
    assert!(code == Some(2) && told.contains("possible values: jsonl, csv, ocsf"), "{told}");
    let (code, told) = export(&["--format", "csv", "--since", "yesterday"]);
    assert!(code == Some(2) && told.contains("2026-11-24T08:00:00Z"), "{told}");
    let (code, told) = export(&["--format", "csv", "--audit", "nowhere"]);
    assert!(code == Some(2) && told.contains("is no directory"), "{told}");
}
