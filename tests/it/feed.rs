//! An issuer's feed of revocations: polled, believed when it is fresh and the issuer's, felt at once.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::issuer::now;
use crate::support::served::{Served, response};
use crate::support::{Echo, Gate, Setup, Token, eventually};
use crate::token::{assert_accepted, assert_refused};

const FEED: &str = "/revocations";

fn document(revoked: &Value) -> String {
    json!({"iss": "https://as.test", "iat": now(), "revocations": revoked}).to_string()
}

fn start(server: &Served, lines: &str) -> (Echo, Gate) {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.issuer = format!(
        "revocation_feed = \"{}\"\nrevocation_interval = \"200ms\"\n{lines}",
        server.url(FEED)
    );
    (echo, setup.start())
}

fn status_of(gate: &Gate, token: &str) -> u16 {
    gate.get("/shop/any/1", token).status
}

#[test]
fn ver_021_what_the_issuer_revokes_is_refused_within_two_seconds() {
    let server = Served::start();
    server.serve(FEED, document(&json!([])));
    let (echo, gate) = start(&server, "");
    let token = gate.token();
    assert_accepted(&gate, "before", &token);
    server.serve(FEED, document(&json!([{"sub": "user-1"}, {"agent": "elsewhere"}])));
    let before = std::time::Instant::now();
    eventually("the revocation", || (status_of(&gate, &token) == 401).then_some(()));
    assert!(before.elapsed() < Duration::from_secs(2), "{:?}", before.elapsed());
    assert_refused(&gate, &echo, "revoked", &token);
    server.serve(FEED, document(&json!([])));
    eventually("the end of it", || (status_of(&gate, &token) == 200).then_some(()));
}

#[test]
fn ver_030_what_the_issuer_revokes_ends_open_streams() {
    let server = Served::start();
    server.serve(FEED, document(&json!([])));
    let echo = Echo::scripted(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        exchange.is_abandoned();
    });
    let mut setup = Setup::new(&echo);
    setup.issuer =
        format!("revocation_feed = \"{}\"\nrevocation_interval = \"200ms\"", server.url(FEED));
    let gate = setup.start();
    let authorization = format!("Bearer {}", gate.token());
    let mut stream = gate.connect();
    let headers = [("Authorization", authorization.as_str())];
    stream.send(crate::support::request("GET", "/shop/any/1", &headers, ""));
    assert_eq!(stream.head().status, 200);
    server.serve(FEED, document(&json!([{"sub": "user-1"}])));
    assert!(stream.is_closed());
}

#[test]
fn ver_021_022_a_feed_that_is_out_of_reach_for_too_long_is_a_503() {
    let server = Served::start();
    server.serve(FEED, document(&json!([])));
    let (echo, gate) = start(&server, "revocation_max_age = \"2s\"");
    let token = gate.token();
    assert_eq!(status_of(&gate, &token), 200);
    server.fail(FEED);
    assert_eq!(status_of(&gate, &token), 200, "within the bound");
    thread::sleep(Duration::from_millis(2_300));
    let before = echo.bytes();
    let response = gate.get("/shop/any/1", &token);
    assert_eq!((response.status, response.header("retry-after")), (503, Some("1")));
    assert_eq!(gate.decision(&response.decision_id())["reason"], "revocations_stale");
    assert_eq!(echo.bytes(), before);
    let metrics = String::from_utf8(gate.admin("GET", "/metrics").body).unwrap();
    let age = metrics.lines().find_map(|line| {
        line.strip_prefix("opgate_revocation_feed_age_seconds{issuer=\"https://as.test\"} ")
    });
    assert!(age.unwrap().parse::<f64>().unwrap() >= 2.0, "{age:?}");
    server.serve(FEED, document(&json!([])));
    eventually("a fresh feed", || (status_of(&gate, &token) == 200).then_some(()));
}

#[test]
fn an_unchanged_feed_is_confirmed_without_being_sent_again() {
    let server = Served::start();
    let body = document(&json!([{"sub": "user-9"}]));
    server.at(FEED, move |request| {
        if request.all("if-none-match") == ["\"v1\""] {
            response(304, "", "")
        } else {
            response(200, "ETag: \"v1\"\r\n", &body)
        }
    });
    let (_echo, gate) = start(&server, "revocation_max_age = \"1s\"");
    eventually("several polls", || (server.asked(FEED).len() > 8).then_some(()));
    assert_eq!(status_of(&gate, &gate.token()), 200);
    let asked = server.asked(FEED);
    assert!(asked[1..].iter().all(|request| request.has("if-none-match")));
}

#[test]
fn a_signed_feed_is_the_issuers_and_never_goes_back() {
    let server = Served::start();
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.issuer = format!(
        "revocation_feed = \"{}\"\nrevocation_interval = \"200ms\"\nrevocation_max_age = \"1s\"",
        server.url(FEED)
    );
    let signed = |revoked: Value, iat: i64| {
        let payload = json!({"iss": "https://as.test", "iat": iat, "revocations": revoked});
        Token { header: json!({"typ": "revocations+jwt"}), payload }
    };
    server.serve(FEED, signed(json!([{"jti": "other"}]), now()).sign(&setup.key));
    let gate = setup.start();
    let (key, token) = (&gate.setup.key, gate.token());
    assert_eq!(status_of(&gate, &token), 200);
    let stranger = crate::support::Key::new("ES256", "k1");
    for (case, bad) in [
        ("a stranger's", signed(json!([]), now()).sign(&stranger)),
        ("an older one", signed(json!([]), now() - 60).sign(key)),
        ("another type", signed(json!([]), now()).header("typ", "JWT").sign(key)),
        ("another issuer's", signed(json!([]), now()).claim("iss", "https://b.test").sign(key)),
        ("one not understood", signed(json!([{"jit": "x"}]), now()).sign(key)),
        ("text", "no".to_owned()),
    ] {
        server.serve(FEED, bad);
        eventually(case, || (status_of(&gate, &token) == 503).then_some(()));
        server.serve(FEED, signed(json!([]), now()).sign(key));
        eventually("a good one again", || (status_of(&gate, &token) == 200).then_some(()));
    }
}

#[test]
fn ver_021_a_feed_that_was_never_had_is_a_503() {
    let server = Served::start();
    let (echo, gate) = start(&server, "");
    assert_eq!(status_of(&gate, &gate.token()), 503);
    echo.assert_untouched("no feed");
    let other = Token::new().claim("iss", "https://other.test").sign(&gate.setup.key);
    assert_eq!(status_of(&gate, &other), 401);
}
