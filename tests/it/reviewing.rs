//! Reviewing the log on the command line: what is found, and what is said where nothing is.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::chain::{CONTENT, evidence};
use crate::support::{Echo, Gate, Setup, Token, opgate};

/// Calls of two agents for two people, one of them refused, one without a token.
fn reviewed(echo: &Echo) -> Gate {
    let gate = Setup::new(echo).start();
    let of = |agent: &str, user: &str| {
        Token::new().claim("act", json!({"sub": agent})).claim("sub", user).sign(&gate.setup.key)
    };
    assert_eq!(gate.get("/shop/products/1", &of("shop-01", "alice")).status, 200);
    assert_eq!(gate.get("/shop/products/2", &of("shop-01", "bob")).status, 200);
    assert_eq!(gate.get("/shop/orders/1", &of("shop-02", "alice")).status, 403);
    assert_eq!(gate.get("/shop/products/3", "nonsense").status, 401);
    gate
}

fn paths(told: &str) -> Vec<String> {
    let lines = told.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.map(|line| line["http"]["path"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn records_are_found_by_what_they_say_the_latest_first() {
    let echo = Echo::start();
    let gate = reviewed(&echo);
    let directory = gate.setup.dir.path();
    let search = |more: &[&str]| opgate(directory, &[&["audit", "search"], more].concat());
    for (more, expected) in [
        (&["--user", "alice"][..], &["/shop/orders/1", "/shop/products/1"][..]),
        (&["--user", "alice", "--oldest-first"], &["/shop/products/1", "/shop/orders/1"]),
        (&["--agent", "shop-*", "--decision", "allow"], &["/shop/products/2", "/shop/products/1"]),
        (&["--agent", "!shop-01", "--type", "decision"], &["/shop/products/3", "/shop/orders/1"]),
        (&["--agent", "shop-02", "--agent", "shop-03"], &["/shop/orders/1"]),
        (&["--text", "products/2"], &["/shop/products/2"]),
        (&["--type", "decision", "-n", "1", "--since", "1h"], &["/shop/products/3"]),
        (&["--until", "1h"], &[]),
    ] {
        let (code, told) = search(&[more, &["--json"]].concat());
        assert!(code == Some(0) && paths(&told) == expected, "{more:?} {told}");
    }
    let tag = opgate(directory, &["audit", "tag", "bob"]).1;
    let (_, told) = search(&["--user", tag.trim()]);
    assert!(
        told.contains("ALLOW") && told.contains("/shop/products/2") && told.lines().count() == 1
    );
    assert_eq!(search(&["--decision", "allow", "--count"]), (Some(0), "2\n".to_owned()));
    let (_, told) = search(&["--decision", "allow", "--count", "--json"]);
    assert_eq!(told, "{\"count\":2}\n");
    let (code, told) = search(&["--decision", "allow", "-n", "1"]);
    assert!(
        code == Some(0) && told.contains("there are more than these 1: see `--limit`"),
        "{told}"
    );
    let (code, told) = search(&["--agent", "nobody"]);
    assert_eq!((code, &*told), (Some(0), "no record fits\n"));
}

#[test]
fn evi_011_what_a_person_agreed_to_before_a_call_is_found_in_two_commands() {
    const ID: &str = "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6";
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    let key = &gate.setup.key;
    let token = Token::new().claim("sub", "alice");
    let agreed = token.claim("evidence", evidence(ID, "button_click", 5, key)).sign(key);
    assert_eq!(gate.get("/shop/products/1", &agreed).status, 200);
    assert_eq!(gate.get("/shop/products/2", &gate.token()).status, 200);
    let directory = gate.setup.dir.path();
    let action = gate.decisions()[0]["op"]["action"].as_str().unwrap().to_owned();
    let search = ["audit", "search", "--user", "alice", "--action", &action, "-n", "1"];
    let (code, told) = opgate(directory, &search);
    let id = told.split_whitespace().last().unwrap();
    assert!(code == Some(0) && id == gate.decisions()[0]["id"], "{told}");
    let (code, told) = opgate(directory, &["audit", "show", id]);
    let row = |label: &str| told.lines().find(|line| line.starts_with(label)).unwrap_or_default();
    assert!(code == Some(0) && row("was shown").contains(&CONTENT[..40]), "{told}");
    assert!(row("agreed").contains("button_click 20") && row("evidence").ends_with(ID), "{told}");
    assert!(row("what happened").contains("success, the tool answered 200"), "{told}");
    let (_, told) = opgate(directory, &["audit", "search", "--evidence", ID, "--count"]);
    assert_eq!(told, "1\n");
}

#[test]
fn a_filter_that_cannot_be_meant_is_refused_with_how_to_mend_it() {
    let echo = Echo::start();
    let gate = reviewed(&echo);
    let directory = gate.setup.dir.path();
    for (more, expected) in [
        (&["--decision", "denied"][..], "there is allow, deny, would-deny"),
        (&["--reason", "expired"], "token_expired"),
        (&["--type", "\u{1b}[2J"], "`\\u{1b}[2J`"),
        (&["--since", "yesterday"], "give `2h`"),
        (&["--user", "al*"], "a whole value"),
        (&["--tag-key", "nowhere", "--user", "alice"], "nowhere"),
    ] {
        for command in ["search", "tail", "refused"] {
            let (code, told) = opgate(directory, &[&["audit", command], more].concat());
            let is_told = told.contains(expected) && !told.contains('\u{1b}');
            assert!(matches!(code, Some(2 | 3)) && is_told, "{command} {more:?} {code:?} {told}");
        }
    }
    let (code, told) = opgate(directory, &["audit", "search", "--audit", "nowhere"]);
    assert!(code == Some(2) && told.contains("is no directory"), "{told}");
}

#[test]
fn the_same_filter_bounds_what_is_exported_and_followed() {
    let echo = Echo::start();
    let gate = reviewed(&echo);
    let directory = gate.setup.dir.path();
    let (code, told) = opgate(
        directory,
        &["audit", "export", "--format", "csv", "--user", "alice", "-o", "alice.csv"],
    );
    assert!(code == Some(0) && told.starts_with("2 calls"), "{told}");
    let table = std::fs::read_to_string(directory.join("alice.csv")).unwrap();
    assert!(table.contains(",success,200,") && !table.contains("/shop/products/2"), "{table}");
    let (_, told) = opgate(
        directory,
        &["audit", "export", "--format", "jsonl", "--user", "bob", "-o", "bob.jsonl"],
    );
    assert!(told.starts_with("2 records"), "an outcome comes with its decision: {told}");

    let mut follower = Command::new(env!("CARGO_BIN_EXE_opgate"))
        .current_dir(directory)
        .args(["audit", "tail", "-f", "--agent", "shop-01", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    for path in ["/shop/products/1", "/shop/products/2"] {
        assert_eq!(next()["http"]["path"], path);
    }
    let of = |agent: &str| Token::new().claim("act", json!({"sub": agent})).sign(&gate.setup.key);
    gate.get("/shop/products/8", &of("shop-02"));
    gate.get("/shop/products/9", &of("shop-01"));
    let decision = next();
    assert_eq!(decision["http"]["path"], "/shop/products/9");
    let outcome = next();
    assert_eq!((&outcome["type"], &outcome["of"]), (&json!("outcome"), &decision["seq"]));
    follower.kill().unwrap();
    follower.wait().unwrap();
}

#[test]
fn the_log_is_counted_by_who_and_what_with_the_same_filter() {
    let echo = Echo::start();
    let mut gate = reviewed(&echo);
    gate.signal("TERM");
    gate.ended();
    let directory = gate.setup.dir.path();
    let stats = |more: &[&str]| opgate(directory, &[&["audit", "stats"], more].concat());
    let (code, told) = stats(&["--json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, &told["calls"], &told["allowed"]), (Some(0), &json!(4), &json!(2)));
    assert_eq!(told["took_us"]["calls"], 2);
    let agents = &told["by"]["agent"]["values"];
    assert_eq!((&agents[0]["value"], &agents[0]["count"]), (&json!("shop-01"), &json!(2)));
    let (_, told) = stats(&["--json", "--user", "alice", "--by", "operation", "--by", "reason"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["calls"], &told["took_us"]["calls"]), (&json!(2), &json!(1)));
    assert_eq!(told["by"].as_object().unwrap().keys().collect::<Vec<_>>(), ["action", "reason"]);
    let (code, told) = stats(&["--decision", "deny", "--by", "reason"]);
    assert!(code == Some(0) && told.contains("50.0 %") && told.contains("no_applicable_grant"));
    assert!(told.starts_with("2 calls; bars of 1 s from ") && !told.contains('\u{1b}'), "{told}");
    let (code, told) = stats(&["--by", "colour"]);
    assert!(code == Some(2) && told.contains("possible values: action, agent"), "{told}");
    let (code, told) = stats(&["--reason", "nope"]);
    assert!(code == Some(2) && told.contains("token_expired"), "{told}");
}
