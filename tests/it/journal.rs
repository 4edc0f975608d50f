//! The journal: no durable record, no call (verification.md step 28, `audit.md` C1, C2).

use std::collections::HashSet;
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::gate::records_in;
use crate::support::{Echo, Gate, Setup, Token, request};

fn get_any(gate: &Gate) -> String {
    request("GET", "/shop/any/1", &[("Authorization", &format!("Bearer {}", gate.token()))], "")
}

#[test]
fn ver_027_the_record_is_there_when_the_request_arrives() {
    let directory = tempfile::TempDir::new().unwrap();
    let audit = directory.path().join("audit");
    let seen = audit.clone();
    let echo = Echo::scripted(move |exchange| {
        let id = exchange.request.all("x-opgate-decision-id").join(",");
        let found = records_in(&seen)
            .iter()
            .any(|record| record["type"] == "decision" && record["id"] == id.as_str());
        exchange.answer("", if found { "recorded" } else { "missing" });
    });
    let mut setup = Setup::new(&echo);
    setup.resource = "identity_headers = true".to_owned();
    std::os::unix::fs::symlink(&audit, setup.dir.path().join("audit")).unwrap();
    std::fs::create_dir(&audit).unwrap();
    let gate = setup.start();
    for _ in 0..20 {
        assert_eq!(gate.send(get_any(&gate)).body, b"recorded");
    }
}

#[test]
fn ver_025_no_byte_of_a_body_leaves_before_the_decision() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    let mut connection = gate.connect();
    let refused = Token::new().without("authorization_details").sign(&gate.setup.key);
    let bearer = format!("Bearer {refused}");
    let lines = [("Authorization", bearer.as_str()), ("Content-Length", "1000")];
    connection.send(request("POST", "/shop/orders", &lines, "")).send("first bytes");
    thread::sleep(Duration::from_millis(200));
    connection.send("more");
    assert_eq!(connection.response().status, 403);
    echo.assert_untouched("a denied body");
}

#[test]
fn ver_027_every_request_is_one_decision_and_every_allow_one_outcome() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    let response = gate.send(get_any(&gate));
    let id = response.header("x-opgate-decision-id").unwrap().to_owned();
    assert_eq!(gate.get("/shop/orders/1", &gate.token()).status, 403);
    assert_eq!(gate.get("/shop/any/1", "a.b.c").status, 401);
    let decision = gate.decision(&id);
    let place = format!("{}/{}", decision["log"].as_str().unwrap(), decision["seq"]);
    assert_eq!(response.header("opgate-audit-id"), Some(place.as_str()));
    assert_eq!(gate.outcome(&id)["result"], "success");
    assert_eq!(gate.outcome(&id)["http"]["status"], 200);
    assert_eq!(gate.decisions().len(), 3);
    let records = gate.records();
    assert_eq!(records[0]["type"], "start");
    assert!(records.iter().zip(0..).all(|(record, seq)| record["seq"] == seq), "seq is dense");
    assert!(!gate.listing().contains("a.b.c"));
}

#[test]
fn ver_028_a_journal_that_cannot_be_written_stops_every_call() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    // Writing beyond the limit fails as a full disk does, once the signal for it is ignored.
    setup.before = "trap '' XFSZ; ulimit -f 64".to_owned();
    let gate = setup.start();
    let mut connection = gate.connect();
    let refused = (0..2_000).map(|_| connection.call(get_any(&gate))).find(|r| r.status != 200);
    let response = refused.expect("64 blocks are full after 2000 calls");
    assert_eq!(response.status, 503);
    assert!(response.header("www-authenticate").is_none());
    assert!(response.header("retry-after").is_some());
    let arrived = echo.requests().len();
    assert_eq!(gate.send(get_any(&gate)).status, 503);
    assert_eq!(echo.requests().len(), arrived);
    assert_eq!(gate.admin("GET", "/readyz").status, 503);
    assert_eq!(gate.admin("GET", "/livez").status, 200);
}

#[test]
fn a_flood_of_garbage_is_counted_instead_of_written() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.limits = "refusals_per_source = 5".to_owned();
    let gate = setup.start();
    let mut connection = gate.connect();
    for _ in 0..300 {
        let response = connection.call(request("GET", "/shop/any/1", &[], ""));
        assert!(matches!(response.status, 401 | 429), "{}", response.status);
    }
    let written = gate.decisions().len();
    assert!(written < 20, "{written} records");
    assert_eq!(gate.send(get_any(&gate)).status, 200, "others are served");
}

#[test]
fn what_was_answered_is_recorded_whenever_the_process_is_killed() {
    let rounds = std::env::var("OPGATE_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(200);
    let echo = Echo::start();
    let mut gate = Setup::new(&echo).start();
    let mut seen = HashSet::new();
    for round in 0..rounds {
        // Opened before the clock runs: on a busy machine the thread may begin after the kill.
        let (mut connection, text) = (gate.connect(), get_any(&gate));
        let load = thread::spawn(move || {
            let mut ids = Vec::new();
            while connection.try_send(&text) {
                let Some(response) = connection.try_response() else { break };
                assert_eq!(response.status, 200);
                ids.push(response.header("x-opgate-decision-id").unwrap().to_owned());
            }
            ids
        });
        thread::sleep(Duration::from_millis(20 + round % 17));
        gate.restart_after_kill();
        seen.extend(load.join().unwrap());
    }
    assert!(!seen.is_empty());
    let records = gate.records();
    let kept: HashSet<&str> = records
        .iter()
        .filter(|record| record["type"] == "decision")
        .filter_map(|record| record["id"].as_str())
        .collect();
    let lost: Vec<&String> = seen.iter().filter(|id| !kept.contains(id.as_str())).collect();
    assert!(lost.is_empty(), "{} of {} answered calls left no record", lost.len(), seen.len());
    assert!(records.iter().zip(0..).all(|(record, seq)| record["seq"] == seq), "seq is dense");
    gate.signal("TERM");
    gate.ended();
    let output = Command::new(env!("CARGO_BIN_EXE_opgate"))
        .args(["audit", "verify", "--json"])
        .current_dir(gate.setup.dir.path())
        .output()
        .unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["intact"], true, "{told}");
    assert_eq!((&told["open"], &told["signed"]), (&json!(0), &told["records"]), "{told}");
}
