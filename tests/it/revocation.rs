//! Revocation: by the operator, at once, for good, and on the record.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::client::find;
use crate::support::issuer::now;
use crate::support::{Connection, Echo, Exchange, Gate, Setup, Token, eventually, request};
use crate::token::{assert_accepted, assert_refused};

const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                      Transfer-Encoding: chunked\r\n\r\n";

fn start() -> (Echo, Gate) {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    (echo, gate)
}

fn revoke(gate: &Gate, order: &Value) -> Value {
    let response = gate.admin_json("POST", "/revocations", order);
    assert_eq!(response.status, 201, "{order}: {}", response.everything());
    response.json()
}

/// A token that can be revoked by every name there is, but for those of a chain.
fn named(gate: &Gate) -> String {
    Token::new()
        .claim("jti", "jti-1")
        .claim("act", json!({"sub": "agent-1"}))
        .claim("client_id", "client-1")
        .claim("evidence_ref", "evidence-1")
        .sign(&gate.setup.key)
}

#[test]
fn ver_021_evi_013_what_is_revoked_is_refused_at_the_next_request_and_nothing_else_is() {
    let (echo, gate) = start();
    let other = Token::new().claim("jti", "jti-2").claim("sub", "user-2");
    let other = other.claim("client_id", "client-2").sign(&gate.setup.key);
    for order in [
        json!({"jti": "jti-1"}),
        json!({"sub": "user-1"}),
        json!({"client_id": "client-1"}),
        json!({"agent": "agent-1"}),
        json!({"evidence_id": "evidence-1"}),
        json!({"jti": "jti-1", "issuer": "https://as.test"}),
    ] {
        let case = order.to_string();
        let token = named(&gate);
        assert_accepted(&gate, &case, &token);
        let made = revoke(&gate, &order);
        assert_refused(&gate, &echo, &case, &token);
        assert_accepted(&gate, &case, &other);
        let id = made["id"].as_str().unwrap();
        assert_eq!(gate.admin("DELETE", &format!("/revocations/{id}")).status, 200);
        assert_accepted(&gate, &format!("{case} lifted"), &token);
    }
    let decisions = gate.decisions();
    let refused = decisions.iter().find(|record| record["reason"] == "token_revoked").unwrap();
    assert_eq!(refused["jti"], "jti-1", "the record names the token: {refused}");
}

#[test]
fn ver_021_an_issuer_can_be_shut_out_whole() {
    let (echo, gate) = start();
    let token = gate.token();
    revoke(&gate, &json!({"sub": "user-1", "issuer": "https://other.test"}));
    assert_accepted(&gate, "of another issuer", &token);
    revoke(&gate, &json!({"issuer": "https://as.test", "until": now() + 3_600}));
    assert_refused(&gate, &echo, "everything of the issuer", &token);
}

#[test]
fn ver_021_a_revocation_outlives_kill_and_reload() {
    let (echo, mut gate) = start();
    let token = named(&gate);
    let kept = revoke(&gate, &json!({"jti": "jti-1", "reason": "laptop stolen"}));
    let lifted = revoke(&gate, &json!({"sub": "user-9"}));
    let id = lifted["id"].as_str().unwrap();
    assert_eq!(gate.admin("DELETE", &format!("/revocations/{id}")).status, 200);
    gate.restart_after_kill();
    assert_refused(&gate, &echo, "after kill -9", &token);
    assert_eq!(gate.admin("GET", "/revocations").json(), json!({"revocations": [kept]}));
    assert_eq!(gate.admin("POST", "/reload").status, 200);
    assert_refused(&gate, &echo, "after a reload", &token);
    echo.assert_untouched("nothing was ever let through");
}

#[test]
fn a_damaged_file_of_revocations_keeps_the_gate_from_starting() {
    let (_echo, mut gate) = start();
    revoke(&gate, &json!({"jti": "jti-1"}));
    gate.kill();
    let path = gate.path("audit/revocations");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("jti-1", "jti-2")).unwrap();
    let mut again = gate.spawn_again();
    assert_eq!(again.wait().unwrap().code(), Some(3));
    let log = gate.stderr();
    assert!(log.contains("damaged at line 1") && log.contains("audit/revocations"), "{log}");
}

#[test]
fn every_change_is_in_the_audit_log_and_a_person_only_as_a_hash() {
    let (_echo, gate) = start();
    let made = revoke(&gate, &json!({"sub": "alice@example.com", "reason": "left the company"}));
    let id = made["id"].as_str().unwrap();
    gate.admin("DELETE", &format!("/revocations/{id}"));
    let token = gate.token();
    let pushed = gate.admin_form("/revoke", &format!("token={token}"));
    assert_eq!((pushed.status, pushed.body.len()), (200, 0));
    let records: Vec<Value> =
        gate.records().into_iter().filter(|record| record["type"] == "revocation").collect();
    let members = |r: &Value| [&r["change"], &r["revoked"]["kind"], &r["by"]].map(Clone::clone);
    let told: Vec<[Value; 3]> = records.iter().map(members).collect();
    assert_eq!(
        told,
        [["revoke", "sub", "admin"], ["lift", "sub", "admin"], ["revoke", "jti", "push"]]
    );
    assert_eq!(records[0]["why"], "left the company");
    assert!(records[0]["revoked"]["tag"].as_str().unwrap().starts_with("h1:"));
    assert!(!gate.listing().contains("alice@example.com"));
}

#[test]
fn ver_021_a_pushed_token_dies_also_under_another_signature() {
    let (echo, gate) = start();
    let (first, second) = (named(&gate), named(&gate));
    assert_ne!(first, second, "ECDSA signs anew each time");
    assert_accepted(&gate, "before", &first);
    assert_eq!(gate.admin_form("/revoke", &format!("token={first}")).status, 200);
    assert_refused(&gate, &echo, "the token", &first);
    assert_refused(&gate, &echo, "the same claims signed again", &second);
    for bad in ["", "token=", "token=a&token=b", "tokens=a"] {
        let response = gate.admin_form("/revoke", bad);
        assert_eq!((response.status, response.error()), (400, "invalid_request".to_owned()));
    }
}

#[test]
fn the_desk_takes_no_order_that_could_mean_something_else() {
    let (_echo, gate) = start();
    for order in [json!({}), json!({"jti": "a", "sub": "b"}), json!({"jti": "a", "nbf": 7})] {
        assert_eq!(gate.admin_json("POST", "/revocations", &order).status, 400, "{order}");
    }
    let large = json!({"jti": "a", "reason": "x".repeat(70_000)});
    assert_eq!(gate.admin_json("POST", "/revocations", &large).status, 413);
    assert_eq!(gate.admin("DELETE", "/revocations/none").status, 404);
    assert_eq!(gate.admin("PUT", "/revocations").status, 405);
    let lines = "Host: localhost\r\nOrigin: https://evil.test\r\nContent-Length: 0\r\n";
    assert_eq!(gate.admin_with("POST", "/revocations", lines).status, 403);
    assert_eq!(gate.admin_with("DELETE", "/revocations/x", lines).status, 403);
    assert_eq!(gate.admin("GET", "/revocations").json(), json!({"revocations": []}));
}

/// Sends an event now and then for as long as somebody listens.
fn events(exchange: &mut Exchange) {
    exchange.send(STREAM);
    while exchange.send("c\r\ndata: more\n\n\r\n") {
        thread::sleep(Duration::from_millis(50));
    }
    exchange.close();
}

fn open_stream(gate: &Gate, token: &str) -> Connection {
    let authorization = format!("Bearer {token}");
    let mut connection = gate.connect();
    connection.send(request("GET", "/shop/any/1", &[("Authorization", &authorization)], ""));
    assert_eq!(connection.head().status, 200);
    connection
}

#[test]
fn ver_030_revocation_cuts_open_streams_busy_and_silent_and_leaves_the_others() {
    for busy in [true, false] {
        let echo = Echo::scripted(move |exchange| {
            if busy {
                return events(exchange);
            }
            exchange.send(STREAM);
            exchange.is_abandoned();
        });
        let gate = Setup::new(&echo).start();
        let other = Token::new().claim("sub", "user-2").sign(&gate.setup.key);
        let (mut doomed, mut spared) =
            (open_stream(&gate, &gate.token()), open_stream(&gate, &other));
        let before = Instant::now();
        revoke(&gate, &json!({"sub": "user-1"}));
        assert!(doomed.until("\r\n0\r\n\r\n").is_none(), "cut, and never ended cleanly");
        assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
        if busy {
            assert!(spared.until("data: more").is_some());
        }
        eventually("an outcome that says why", || {
            gate.records().into_iter().find(|record| record["error"] == "token_revoked")
        });
    }
}

#[test]
fn ver_030_revocation_ends_a_websocket_and_a_call_whose_answer_is_still_awaited() {
    let echo = Echo::scripted(|exchange| {
        if exchange.request.has("upgrade") {
            exchange.send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            );
        }
        exchange.is_abandoned();
    });
    let mut setup = Setup::new(&echo);
    setup.resource = "websocket = true".to_owned();
    let gate = setup.start();
    let authorization = format!("Bearer {}", gate.token());
    let mut socket = gate.connect();
    let upgrade = [
        ("Authorization", authorization.as_str()),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    assert_eq!(socket.call(request("GET", "/shop/any/1", &upgrade, "")).status, 101);
    let mut awaiting = gate.connect();
    awaiting.send(request("GET", "/shop/any/2", &upgrade[..1], ""));
    eventually("both calls at the upstream", || (echo.connections() == 2).then_some(()));
    revoke(&gate, &json!({"sub": "user-1"}));
    assert!(socket.is_closed());
    let answer = awaiting.response();
    assert_eq!((answer.status, answer.error()), (401, "invalid_token".to_owned()));
}

fn run(gate: &Gate, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_opgate"))
        .arg("revoke")
        .args(arguments)
        .args(["--admin", &gate.admin_address().to_string()])
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_command_line_revokes_lists_and_lifts() {
    let (echo, gate) = start();
    let token = gate.token();
    let (code, out, err) =
        run(&gate, &["--subject", "user-1", "--until", "2h", "--reason", "left"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("revoked: sub user-1: left"), "{out}");
    assert_refused(&gate, &echo, "by the command line", &token);
    let (code, out, _) = run(&gate, &["list"]);
    assert!(code == 0 && out.contains("sub user-1: left"), "{out}");
    let (_, out, _) = run(&gate, &["list", "--json"]);
    let all: Value = serde_json::from_str(&out).unwrap();
    let id = all["revocations"][0]["id"].as_str().unwrap();
    let (code, out, _) = run(&gate, &["lift", id]);
    assert!(code == 0 && out.starts_with("lifted: sub user-1"), "{out}");
    assert_accepted(&gate, "lifted", &token);
    assert_eq!(run(&gate, &["lift", id]).0, 2);
    assert_eq!(run(&gate, &[]).0, 2, "nothing is named");
    assert_eq!(run(&gate, &["--jti", "a", "--subject", "b"]).0, 2);
    assert_eq!(run(&gate, &["--jti", "a", "--until", "soon"]).0, 2);
    let metrics = gate.admin("GET", "/metrics").body;
    assert!(find(&metrics, b"opgate_revocations{kind=\"sub\"} 0").is_some());
}
