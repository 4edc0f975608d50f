//! Caps over real sockets (`policy.md` §8): exact when calls come together, when callers vanish, when the
//! upstream is not there, and when the gate is killed.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::chain::{agent, record, sign};
use crate::support::gate::ISSUER;
use crate::support::{
    Connection, Echo, Exchange, Gate, Response, Setup, Token, eventually, request,
};

/// 500 for each person in a day.
const BUDGET: &str = r#"
[[resource.cap]]
name = "daily"
per = ["user"]
actions = ["create_order"]
sum = "500"
argument = "/amount"
window = "24h"
"#;

fn start(echo: &Echo, caps: &str) -> Gate {
    let mut setup = Setup::new(echo);
    setup.operations.push_str(caps);
    setup.start()
}

fn token(gate: &Gate, user: &str, jti: &str) -> String {
    let token = Token::new().claim("sub", user);
    let token = if jti.is_empty() { token } else { token.claim("jti", jti) };
    token.sign(&gate.setup.key)
}

fn order_text(token: &str, body: &str) -> String {
    let bearer = format!("Bearer {token}");
    let lines = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    request("POST", "/shop/orders", &lines, body)
}

fn order(gate: &Gate, token: &str, body: &str) -> Response {
    gate.send(order_text(token, body))
}

/// How many of `calls` orders of 10, sent at one time, are let through; the others are refused.
fn at_once(gate: &Gate, token: &str, calls: usize) -> usize {
    let barrier = Barrier::new(calls);
    let text = order_text(token, r#"{"amount":10}"#);
    let statuses: Vec<u16> = thread::scope(|scope| {
        let callers: Vec<_> = (0..calls)
            .map(|_| {
                let mut connection = gate.connect();
                let (barrier, text) = (&barrier, &text);
                scope.spawn(move || {
                    barrier.wait();
                    connection.call(text).status
                })
            })
            .collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });
    assert!(statuses.iter().all(|status| matches!(status, 200 | 403)), "{statuses:?}");
    statuses.into_iter().filter(|status| *status == 200).count()
}

fn refused(gate: &Gate, response: &Response, status: u16, reason: &str) -> Value {
    assert_eq!(response.status, status, "{}", response.everything());
    let id = response.decision_id();
    // In `batch` it may come a moment later.
    eventually("the record", || gate.decisions().iter().any(|one| one["id"] == id).then_some(()));
    let record = gate.decision(&id);
    assert_eq!(record["reason"], reason);
    assert_eq!(record["charged"], Value::Null);
    record
}

#[test]
fn pol_023_of_100_calls_of_10_at_once_a_budget_of_500_lets_exactly_50_through() {
    let echo = Echo::start();
    let gate = start(&echo, BUDGET);
    let alice = token(&gate, "alice", "");
    assert_eq!(at_once(&gate, &alice, 100), 50);
    assert_eq!(echo.requests().len(), 50, "the upstream received nothing else");
    let response = order(&gate, &alice, r#"{"amount":0.01}"#);
    let record = refused(&gate, &response, 403, "budget_exceeded");
    assert_eq!(record["exceeded"], json!({"cap": "daily", "amount": "0.01", "left": "0"}));
    assert_eq!(response.error(), "insufficient_authorization");
    let challenge = response.header("www-authenticate").unwrap();
    assert!(!challenge.contains("policy_profile") && !challenge.contains("resource_metadata"));
    let after: u64 = response.header("retry-after").unwrap().parse().unwrap();
    assert!((86_000..86_600).contains(&after), "{after}");
    // Ids and times may hold any digits.
    let told = format!("{}{challenge}", response.json()).replace(&response.decision_id(), "");
    assert!(!told.contains("500"), "no threshold is told");
    assert_eq!(order(&gate, &token(&gate, "bob", ""), r#"{"amount":500}"#).status, 200);
    assert!(!gate.listing().contains("alice"), "a person is known by a keyed hash only");
}

#[test]
fn who_calls_on_with_nothing_left_is_counted_and_cannot_fill_the_log() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.limits = "refusals_per_source = 5".to_owned();
    setup.operations.push_str(BUDGET);
    let mut gate = setup.start();
    let (alice, bob) = (token(&gate, "alice", "a"), token(&gate, "bob", "b"));
    for one in [&alice, &bob] {
        assert_eq!(order(&gate, one, r#"{"amount":500}"#).status, 200);
    }
    let mut connection = gate.connect();
    for _ in 0..100 {
        let response = connection.call(order_text(&alice, r#"{"amount":1}"#));
        assert_eq!(response.status, 403, "{}", response.everything());
        assert!(response.header("retry-after").is_some());
    }
    // Another token has its own records, and so has one without any.
    refused(&gate, &order(&gate, &bob, r#"{"amount":1}"#), 403, "budget_exceeded");
    assert_eq!(gate.send(request("POST", "/shop/orders", &[], "")).status, 401);
    gate.signal("TERM");
    gate.ended();
    let records = gate.records();
    let is_denied =
        |record: &&Value| record["type"] == "decision" && record["reason"] == "budget_exceeded";
    let whole: Vec<&Value> = records.iter().filter(is_denied).collect();
    assert_eq!(whole.len(), 5 + 1, "{whole:#?}");
    let counted: Vec<&Value> =
        records.iter().filter(|record| record["type"] == "aggregate").collect();
    assert_eq!(counted.len(), 1, "{counted:?}");
    assert_eq!(
        (&counted[0]["count"], &counted[0]["reason"]),
        (&json!(95), &json!("budget_exceeded"))
    );
    let source = format!("token sha256:{}", whole[0]["token_sha256"].as_str().unwrap());
    assert_eq!(counted[0]["source"], json!(source));
    assert_eq!(echo.requests().len(), 2);
}

#[test]
fn pol_023_a_budget_is_not_new_because_the_gate_was_killed() {
    let echo = Echo::start();
    let mut gate = start(&echo, BUDGET);
    let alice = token(&gate, "alice", "");
    assert_eq!(at_once(&gate, &alice, 20), 20);
    gate.restart_after_kill();
    assert_eq!(at_once(&gate, &alice, 20), 20);
    gate.restart_after_kill();
    assert_eq!(at_once(&gate, &alice, 60), 10);
    assert_eq!(echo.requests().len(), 50);
}

#[test]
fn pol_023_a_gate_that_is_killed_among_its_calls_never_lets_more_through() {
    let echo = Echo::start();
    let mut gate = start(&echo, BUDGET);
    let alice = token(&gate, "alice", "");
    let text = order_text(&alice, r#"{"amount":10}"#);
    for round in 0..6 {
        let callers: Vec<_> = (0..8)
            .map(|_| {
                let (mut connection, text) = (gate.connect(), text.clone());
                thread::spawn(move || {
                    while connection.try_send(&text) && connection.try_response().is_some() {}
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(15 + 7 * round));
        gate.restart_after_kill();
        for caller in callers {
            caller.join().unwrap();
        }
    }
    // What is left, to the last call.
    assert!(at_once(&gate, &alice, 60) <= 50);
    let allowed = gate.decisions().iter().filter(|one| one["decision"] == "allow").count();
    assert_eq!(allowed, 50, "what was recorded is what was charged");
    assert!(echo.requests().len() <= 50, "{}", echo.requests().len());
}

#[test]
fn pol_023_what_never_reached_the_upstream_is_given_back_also_across_a_kill() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.operations.push_str(BUDGET);
    setup.url = r#""http://127.0.0.1:1""#.to_owned();
    let mut gate = setup.start();
    let alice = token(&gate, "alice", "");
    for _ in 0..3 {
        let response = order(&gate, &alice, r#"{"amount":500}"#);
        assert_eq!(response.status, 502, "{}", response.everything());
        let outcome = gate.outcome(&response.decision_id());
        assert_eq!(
            (&outcome["result"], &outcome["refunded"]),
            (&json!("unreachable"), &json!(true))
        );
    }
    gate.rewrite(|setup| setup.url = format!("{:?}", echo.url()));
    gate.restart_after_kill();
    assert_eq!(order(&gate, &alice, r#"{"amount":500}"#).status, 200);
    refused(&gate, &order(&gate, &alice, r#"{"amount":1}"#), 403, "budget_exceeded");
}

#[test]
fn pol_023_an_upstream_that_fails_keeps_what_was_charged() {
    let echo = Echo::scripted(Exchange::close);
    let gate = start(&echo, BUDGET);
    let alice = token(&gate, "alice", "");
    let response = order(&gate, &alice, r#"{"amount":500}"#);
    assert_eq!(response.status, 502, "{}", response.everything());
    refused(&gate, &order(&gate, &alice, r#"{"amount":1}"#), 403, "budget_exceeded");
}

#[test]
fn pol_023_a_caller_that_leaves_gets_nothing_back_of_what_the_upstream_may_have_done() {
    let release = Arc::new(AtomicBool::new(false));
    let is_released = Arc::clone(&release);
    let echo = Echo::scripted(move |exchange| {
        exchange.read_body();
        while !is_released.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(5));
        }
        exchange.answer("", "done");
    });
    let gate = start(&echo, BUDGET);
    let alice = token(&gate, "alice", "");
    let mut leaving = gate.connect();
    leaving.send(order_text(&alice, r#"{"amount":500}"#));
    eventually("the order at the upstream", || (!echo.bytes().is_empty()).then_some(()));
    drop(leaving);
    let outcome = eventually("the outcome", || {
        gate.records().into_iter().find(|record| record["type"] == "outcome")
    });
    assert_eq!(
        (&outcome["result"], &outcome["refunded"]),
        (&json!("client_aborted"), &Value::Null)
    );
    refused(&gate, &order(&gate, &alice, r#"{"amount":1}"#), 403, "budget_exceeded");
    release.store(true, Ordering::SeqCst);
}

#[test]
fn pol_023_an_amount_that_cannot_be_counted_is_refused() {
    let echo = Echo::start();
    let gate = start(&echo, BUDGET);
    let alice = token(&gate, "alice", "");
    for body in [
        "{}",
        r#"{"Amount":1}"#,
        r#"{"amount":-10}"#,
        r#"{"amount":null}"#,
        r#"{"amount":"ten"}"#,
        r#"{"amount":[10]}"#,
        r#"{"amount":0.0000000000000000001}"#,
        r#"{"amount":1e30}"#,
        "",
    ] {
        let record = refused(&gate, &order(&gate, &alice, body), 403, "amount_unreadable");
        assert_eq!(record["about"], "argument", "{body}");
    }
    echo.assert_untouched("no amount");
    assert_eq!(order(&gate, &alice, r#"{"amount":499.999999999999999999}"#).status, 200);
    let record =
        refused(&gate, &order(&gate, &alice, r#"{"amount":"0.01"}"#), 403, "budget_exceeded");
    assert_eq!(record["exceeded"]["left"], "0.000000000000000001");
    assert_eq!(order(&gate, &alice, r#"{"amount":"0.000000000000000001"}"#).status, 200);
    let body = gate.setup.write("body.json", r#"{"amount":"1e1"}"#);
    let output = Command::new(env!("CARGO_BIN_EXE_opgate"))
        .args(["explain", "-c", "opgate.toml", "--request", "POST /shop/orders", "--token", &alice])
        .arg("--body")
        .arg(body)
        .current_dir(gate.setup.dir.path())
        .output()
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(
        told.contains("the amount in the body: `/amount`, which `daily` counts, must"),
        "{told}"
    );
}

#[test]
fn pol_023_a_rate_is_refused_with_the_time_to_wait_and_heals() {
    let echo = Echo::start();
    let cap = "[[resource.cap]]\nname = \"few\"\nper = [\"user\"]\nactions = [\"search_products\"]\ncalls = 2\nwindow = \"3s\"\n";
    let gate = start(&echo, cap);
    let alice = token(&gate, "alice", "");
    let call = || gate.get("/shop/products/1", &alice);
    let begun = Instant::now();
    assert_eq!([call().status, call().status], [200, 200]);
    let response = call();
    refused(&gate, &response, 429, "rate_exceeded");
    assert_eq!(response.error(), "too_many_requests");
    assert!(response.header("www-authenticate").is_none());
    let after: u64 = response.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=4).contains(&after));
    assert_eq!(gate.get("/shop/any/1", &alice).status, 200, "others are not counted");
    eventually("the end of the window", || (call().status == 200).then_some(()));
    assert!(begun.elapsed() >= Duration::from_secs(3));
}

#[test]
fn pol_023_calls_at_one_time_are_bounded_and_vanished_callers_are_not_counted() {
    let echo = Echo::scripted(|exchange| {
        while !exchange.is_abandoned() {
            thread::sleep(Duration::from_millis(10));
        }
    });
    let cap = "[[resource.cap]]\nname = \"two\"\nper = [\"agent\"]\nconcurrent = 2\n";
    let gate = start(&echo, cap);
    let alice = token(&gate, "alice", "");
    let bearer = format!("Bearer {alice}");
    let text = request("GET", "/shop/products/1", &[("Authorization", &bearer)], "");
    let open = |count: u64| {
        eventually("open calls", || {
            let allow = gate.decisions().iter().filter(|one| one["decision"] == "allow").count();
            (u64::try_from(allow).unwrap() >= count).then_some(())
        });
    };
    let hold = || -> Connection {
        let mut connection = gate.connect();
        connection.send(&text);
        connection
    };
    let held = [hold(), hold()];
    open(2);
    let response = gate.send(&text);
    refused(&gate, &response, 429, "concurrency_exceeded");
    assert_eq!(response.header("retry-after"), Some("1"));
    drop(held);
    eventually("the outcomes", || {
        let ended = gate.records().iter().filter(|one| one["type"] == "outcome").count();
        (ended >= 2).then_some(())
    });
    let _again = [hold(), hold()];
    open(4);
}

#[test]
fn pol_023_a_token_for_one_call_is_used_up_by_it_and_a_new_one_is_asked_for() {
    let echo = Echo::start();
    let cap = "[[resource.cap]]\nname = \"once\"\nper = [\"grant\"]\nactions = [\"create_order\"]\ncalls = 1\n";
    let mut gate = start(&echo, cap);
    let first = token(&gate, "alice", "one");
    assert_eq!(order(&gate, &first, "{}").status, 200);
    for round in 0..2 {
        let response = order(&gate, &first, "{}");
        refused(&gate, &response, 403, "grant_used_up");
        let challenge = response.header("www-authenticate").unwrap();
        assert!(challenge.contains("policy_profile"), "{round}: {challenge}");
        gate.restart_after_kill();
    }
    assert_eq!(order(&gate, &token(&gate, "alice", "two"), "{}").status, 200);
    assert_eq!(echo.requests().len(), 2);
}

#[test]
fn pol_023_where_records_may_be_lost_a_budget_is_not_believed() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.operations.push_str(BUDGET);
    setup.audit = "durability = \"batch\"".to_owned();
    let mut gate = setup.start();
    let alice = token(&gate, "alice", "");
    assert_eq!(order(&gate, &alice, r#"{"amount":1}"#).status, 200);
    gate.restart_after_kill();
    let response = order(&gate, &alice, r#"{"amount":1}"#);
    let record = refused(&gate, &response, 503, "quantity_unknown");
    assert_eq!((&record["about"], response.header("retry-after")), (&json!("gap"), Some("1")));
    assert_eq!(gate.get("/shop/products/1", &alice).status, 200, "what no cap counts goes on");
    assert!(gate.stderr().contains("what was used of caps may be lost"));
}

#[test]
fn pol_023_where_the_ledger_is_full_calls_are_refused() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.operations.push_str(BUDGET);
    setup.limits = "charges = 2".to_owned();
    let gate = setup.start();
    for (user, status) in [("a", 200), ("b", 200), ("c", 503)] {
        let response = order(&gate, &token(&gate, user, ""), r#"{"amount":1}"#);
        assert_eq!(response.status, status, "{user}");
    }
    let metrics = gate.admin("GET", "/metrics").everything();
    assert!(metrics.contains("opgate_charges_turned_away 1"), "{metrics}");
    assert!(metrics.contains("opgate_charges_remembered 2"));
}

#[test]
fn pol_023_a_reload_changes_the_limit_and_forgets_nothing() {
    let echo = Echo::start();
    let mut gate = start(&echo, BUDGET);
    let alice = token(&gate, "alice", "");
    assert_eq!(order(&gate, &alice, r#"{"amount":500}"#).status, 200);
    let wider = |setup: &mut Setup| {
        setup.operations = setup.operations.replace(r#"sum = "500""#, r#"sum = "501""#);
    };
    gate.rewrite(wider);
    assert_eq!(gate.admin("POST", "/reload").status, 200);
    refused(&gate, &order(&gate, &alice, r#"{"amount":2}"#), 403, "budget_exceeded");
    assert_eq!(order(&gate, &alice, r#"{"amount":1}"#).status, 200);
}

#[test]
fn explain_says_which_cap_refuses_and_how_much_is_left() {
    let echo = Echo::start();
    let rate = "[[resource.cap]]\nname = \"rate\"\nper = [\"user\"]\nactions = [\"create_order\"]\ncalls = 2\nwindow = \"1h\"\n";
    let gate = start(&echo, &format!("{BUDGET}{rate}"));
    let alice = token(&gate, "alice", "");
    assert_eq!(order(&gate, &alice, r#"{"amount":490}"#).status, 200);
    let explained = |amount: &str| -> String {
        let body = gate.setup.write("body.json", &format!(r#"{{"amount":{amount}}}"#));
        let output = Command::new(env!("CARGO_BIN_EXE_opgate"))
            .args(["explain", "-c", "opgate.toml", "--request", "POST /shop/orders"])
            .args(["--header", "Content-Type: application/json", "--token", &alice, "--body"])
            .arg(body)
            .current_dir(gate.setup.dir.path())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    };
    let told = explained("4.5");
    assert!(told.contains("4.5 of `daily`, which leaves 5.5 of 500"), "{told}");
    let told = explained("10.5");
    assert!(told.contains("budget_exceeded"), "{told}");
    assert!(told.contains("ask for less: this is 10.5 and `daily` leaves 10"), "{told}");
    assert_eq!(order(&gate, &alice, r#"{"amount":10}"#).status, 200, "explaining uses nothing up");
    let told = explained("0");
    assert!(told.contains("rate_exceeded") && !told.contains("ask for less"), "{told}");
    assert!(told.contains("wait ") && told.contains("`rate` leaves 0"), "{told}");
}

#[test]
fn pol_023_who_is_counted_apart_is_who_the_cap_says() {
    let echo = Echo::start();
    let cap = BUDGET.replace(r#"per = ["user"]"#, r#"per = ["user", "client"]"#);
    let gate = start(&echo, &cap);
    let pays = |user: &str, client: &str| -> u16 {
        let token = Token::new().claim("sub", user).claim("client_id", client);
        order(&gate, &token.sign(&gate.setup.key), r#"{"amount":500}"#).status
    };
    for (user, client, status) in [
        ("ab", "c", 200),
        ("a", "bc", 200),
        ("ab", "d", 200),
        ("ab", "c", 403),
        // A client on its own account has no person: it is counted, and not excused.
        ("robot", "robot", 200),
        ("robot", "robot", 403),
    ] {
        assert_eq!(pays(user, client), status, "{user} {client}");
    }
    assert_eq!(echo.requests().len(), 4);
}

#[test]
fn pol_023_tokens_with_one_policy_can_be_counted_together() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.issuer = "max_lifetime = \"15m\"\ndelegation = {}".to_owned();
    setup.resource = "allow_bearer_delegation = true".to_owned();
    setup.operations.push_str(&BUDGET.replace(r#"per = ["user"]"#, r#"per = ["policy"]"#));
    let gate = setup.start();
    let pays = |user: &str, policies: &[&str]| -> u16 {
        let entries: Vec<Value> = policies
            .iter()
            .map(|text| json!({"type": "authorization_policy", "policy": {"language": "rego", "content": text}}))
            .collect();
        let token = Token::new().claim("sub", user).claim("authorization_details", json!(entries));
        order(&gate, &token.sign(&gate.setup.key), r#"{"amount":500}"#).status
    };
    let (one, other) = ("package a\nallow := true", "package b\nallow := true");
    let never = "package c\nallow := false";
    for (user, policies, status) in [
        ("alice", &[one][..], 200),
        ("bob", &[one], 403),
        // A policy that did not allow the call is not counted.
        ("bob", &[never, one], 403),
        ("bob", &[other], 200),
        ("alice", &[other], 403),
    ] {
        assert_eq!(pays(user, policies), status, "{user} {policies:?}");
    }
    // Another policy beside it that allows the call too is no way round its account, and has its own.
    let beside = |boundary: &str| {
        let entry =
            json!({"type": "authorization_policy", "policy": {"language": "rego", "content": one}});
        let mut hop = record(0, ISSUER, &gate.setup.key);
        hop["delegated_policy"] = json!({"language": "rego", "content": boundary});
        sign(&mut hop, &gate.setup.key);
        let token = Token::new()
            .claim("authorization_details", json!([entry]))
            .claim("act", json!({"sub": agent(1)}))
            .claim("delegation_chain", json!([hop]));
        order(&gate, &token.sign(&gate.setup.key), r#"{"amount":1}"#)
    };
    for boundary in ["package d\nallow := true", "package e\nallow := true"] {
        refused(&gate, &beside(boundary), 403, "budget_exceeded");
    }
    // Tokens without a policy are counted with their like.
    let plain = |user| order(&gate, &token(&gate, user, ""), r#"{"amount":500}"#).status;
    assert_eq!((plain("alice"), plain("bob")), (200, 403));
    assert_eq!(echo.requests().len(), 3);
}

#[test]
fn pol_023_a_call_that_is_only_observed_is_forwarded_and_charged_nothing_it_has_no_room_for() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.resource = "mode = \"observe\"".to_owned();
    setup.operations.push_str(BUDGET);
    let gate = setup.start();
    let alice = token(&gate, "alice", "");
    for (amount, decision, charged) in [(400, "allow", 1), (200, "deny", 0), (100, "allow", 1)] {
        let response = order(&gate, &alice, &format!(r#"{{"amount":{amount}}}"#));
        assert_eq!(response.status, 200);
        let record = gate.decision(response.header("x-opgate-decision-id").unwrap());
        assert_eq!(record["decision"], decision, "{amount}");
        assert_eq!(record["charged"].as_array().map_or(0, Vec::len), charged, "{amount}");
        assert_eq!(record["exceeded"].is_object(), charged == 0, "{amount}");
    }
    assert_eq!(echo.requests().len(), 3);
}
