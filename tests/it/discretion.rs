//! What of a token stands in the log as a hash alone (`evidence.md` §7, `delegation.md` §8): it is nowhere in
//! clear, and who knows it finds it.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::chain::{agent, delegated, evidence, sign};
use crate::support::{Echo, Gate, Setup, eventually, request};

const TARGET: &str = "/shop/products/42";
const ID: &str = "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6";
const CLIENT: &str = "https://client.test/shopper";

/// A gate with these lines, and the id of a call that was delegated over two hops with evidence.
fn called(audit: &str) -> (Gate, String) {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.issuer = "max_lifetime = \"15m\"\ndelegation = {}".to_owned();
    setup.resource = "allow_bearer_delegation = true".to_owned();
    setup.audit = audit.to_owned();
    let gate = setup.start();
    let key = &gate.setup.key;
    let mut token = delegated(2, key).claim("client_id", CLIENT);
    for n in 0..2 {
        let hop = &mut token.payload["delegation_chain"][n];
        hop["root_evidence_ref"] = json!(ID);
        hop["operation_summary"] = json!("buy the book of love");
        sign(hop, key);
    }
    let token = token.claim("evidence", evidence(ID, "button_click", 60, key)).claim(
        "agent_identity",
        json!({"version": "1.0", "id": "urn:uuid:binding-7", "issuer": "https://as.test",
            "issued_to": "https://idp.test|user-1", "expires": "2099-01-01T00:00:00Z",
            "issued_for": {"platform": "p", "client": "shopper", "client_instance": "shopper-47"}}),
    );
    let line = format!("Bearer {}", token.sign(key));
    let response = gate.send(request("GET", TARGET, &[("Authorization", &line)], ""));
    assert_eq!(response.status, 200, "{}", response.everything());
    let id = response.decision_id();
    eventually("the outcome", || {
        gate.records().iter().any(|one| one["type"] == "outcome").then_some(())
    });
    (gate, id)
}

fn opgate(gate: &Gate, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_opgate"))
        .args(arguments)
        .current_dir(gate.setup.dir.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn evi_011_hashed_ids_are_nowhere_in_clear_and_who_knows_one_finds_it() {
    let (gate, id) = called("hash_ids = true");
    for order in
        [json!({"agent": agent(9)}), json!({"client_id": "client-9"}), json!({"sub": "user-9"})]
    {
        assert_eq!(gate.admin_json("POST", "/revocations", &order).status, 201);
    }
    let log = gate.listing();
    for clear in ["wit://", CLIENT, "binding-7", "shopper", "user-1", "client-9", "user-9"] {
        assert!(!log.contains(clear), "{clear} in {log}");
    }
    let record = gate.decision(&id);
    let hops = &record["delegation"]["hops"];
    let tag = |value: &str| opgate(&gate, &["audit", "tag", value]).trim().to_owned();
    for (value, found) in [
        (&*agent(2), &record["agent"]["id"]),
        (&agent(2), &hops[0]["to"]),
        (&agent(1), &hops[0]["from"]),
        (&agent(1), &hops[1]["to"]),
        (&agent(0), &hops[1]["from"]),
        (CLIENT, &record["client_id"]),
        ("urn:uuid:binding-7", &record["agent"]["identity"]),
        ("shopper-47", &record["agent"]["instance"]),
        ("user-1", &record["user"]["tag"]),
    ] {
        assert_eq!(found, &Value::from(tag(value)), "{value}");
    }
    let revoked: Vec<_> =
        gate.records().into_iter().filter(|one| one["type"] == "revocation").collect();
    assert_eq!(revoked[0]["revoked"]["tag"], tag(&agent(9)));
    // What is no id stays: the text that was shown, the evidence and the server.
    assert!(record["evidence"]["displayed_summary"].as_str().unwrap().starts_with("Buy one book"));
    assert_eq!(hops[0]["as_id"], "https://as.test");
    let told = opgate(&gate, &["audit", "show", &id]);
    assert!(told.contains(&tag(&agent(2))) && told.contains("search_products"), "{told}");
}

#[test]
fn evi_011_hashed_texts_are_nowhere_in_clear_and_can_be_held_against_the_original() {
    let (gate, id) = called("hash_only = true");
    let log = gate.listing();
    for clear in ["Buy one book", "book of love"] {
        assert!(!log.contains(clear), "{clear} in {log}");
    }
    let record = gate.decision(&id);
    let sha256 = |text: &str| {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
        digest.as_ref().iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
    };
    assert_eq!(record["evidence"]["displayed_sha256"], sha256(crate::support::chain::CONTENT));
    assert!(record["evidence"].get("displayed_summary").is_none());
    let hop = &record["delegation"]["hops"][0];
    assert_eq!(hop["summary_sha256"], sha256("buy the book of love"));
    assert!(hop.get("summary").is_none());
    assert_eq!(hop["to"], agent(2), "ids are another matter");
    assert!(opgate(&gate, &["audit", "show", &id]).contains("allowed"));
}

#[test]
fn evi_011_by_default_a_reviewer_reads_who_acted_and_what_was_shown() {
    let (gate, id) = called("");
    let record = gate.decision(&id);
    assert_eq!(record["agent"]["id"], agent(2));
    assert_eq!(record["client_id"], CLIENT);
    assert_eq!(record["delegation"]["hops"][0]["summary"], "buy the book of love");
    assert!(record["evidence"]["displayed_summary"].as_str().unwrap().starts_with("Buy one book"));
    assert!(!gate.listing().contains("user-1"), "persons are never in clear");
}

#[test]
fn a_tag_is_made_with_the_key_of_the_log_or_with_none() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.audit = "tag_key = { file = \"key\" }".to_owned();
    setup.write("key", "Jefe\n");
    let gate = setup.start();
    let told = opgate(&gate, &["audit", "tag", "what do ya want for nothing?", "--key", "key"]);
    assert_eq!(told, "h1:W9zBRr9gdU5qBCQmCJV1xw\n", "RFC 4231 §4.3");
    for arguments in [&["audit", "tag", "x"][..], &["audit", "tag", "x", "--audit", "nowhere"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_opgate"))
            .args(arguments)
            .current_dir(gate.setup.dir.path())
            .output()
            .unwrap();
        assert!(!output.status.success(), "{arguments:?}");
    }
    assert!(!gate.path("audit/tag.key").exists(), "looking makes no key");
}
