//! Token status lists: checked when a token refers to one, fetched from nowhere else, never stale.

use std::io::Write as _;
use std::thread;
use std::time::Duration;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde_json::{Value, json};

use crate::support::issuer::{b64, now};
use crate::support::served::{Served, response};
use crate::support::{Echo, Gate, Key, Setup, Token, eventually};
use crate::token::{assert_accepted, assert_refused};

const LIST: &str = "/lists/1";

fn start(lines: &str) -> (Echo, Served, Gate) {
    let (echo, server) = (Echo::start(), Served::start());
    let mut setup = Setup::new(&echo);
    setup.issuer = format!("status_list_hosts = [\"{}\"]\n{lines}", server.authority());
    (echo, server, setup.start())
}

/// A list token of two bits for each token.
fn list(server: &Served, bytes: &[u8]) -> Token {
    let mut packer = ZlibEncoder::new(Vec::new(), Compression::default());
    packer.write_all(bytes).unwrap();
    let payload = json!({
        "sub": server.url(LIST), "iat": now(), "ttl": 3_600,
        "status_list": {"bits": 2, "lst": b64(&packer.finish().unwrap())},
    });
    Token { header: json!({"typ": "statuslist+jwt"}), payload }
}

fn referring(gate: &Gate, uri: &str, index: u64) -> String {
    let status = json!({"status_list": {"idx": index, "uri": uri}});
    Token::new().claim("status", status).claim("jti", format!("jti-{index}")).sign(&gate.setup.key)
}

fn status_of(gate: &Gate, token: &str) -> u16 {
    gate.get("/shop/any/1", token).status
}

#[test]
fn ver_020_a_token_is_as_good_as_its_status() {
    let (echo, server, gate) = start("");
    // 0 valid, 1 invalid, 2 suspended, 3 of the application's own.
    server.serve(LIST, list(&server, &[0b1110_0100]).sign(&gate.setup.key));
    let token = |index| referring(&gate, &server.url(LIST), index);
    assert_accepted(&gate, "valid", &token(0));
    for (index, case) in [(1, "invalid"), (2, "suspended"), (3, "application"), (4, "out of range")]
    {
        assert_refused(&gate, &echo, case, &token(index));
    }
    assert_refused(&gate, &echo, "far out of range", &token(u64::MAX));
    let asked = server.asked(LIST);
    assert_eq!(asked.len(), 1, "one fetch for all");
    assert_eq!(asked[0].all("accept"), ["application/statuslist+jwt"]);
    assert!(!asked[0].has("authorization"));
}

#[test]
fn ver_020_a_list_that_is_not_exactly_right_is_no_list() {
    let (echo, server, gate) = start("");
    let (key, stranger) = (&gate.setup.key, Key::new("ES256", "k1"));
    let good = || list(&server, &[0]);
    let with = |member: &str, value: Value| {
        let mut token = good();
        token.payload["status_list"][member] = value;
        token
    };
    let token = referring(&gate, &server.url(LIST), 0);
    let cases = [
        ("another sub", good().claim("sub", server.url("/lists/2")).sign(key)),
        ("no sub", good().without("sub").sign(key)),
        ("another issuer", good().claim("iss", "https://other.test").sign(key)),
        ("an access token", Token::new().sign(key)),
        ("typ JWT", good().header("typ", "JWT").sign(key)),
        ("a stranger's signature", good().sign(&stranger)),
        ("expired", good().claim("exp", now() - 1).sign(key)),
        ("from the future", good().claim("iat", now() + 600).sign(key)),
        ("no iat", good().without("iat").sign(key)),
        ("ttl 0", good().claim("ttl", 0).sign(key)),
        ("three bits", with("bits", json!(3)).sign(key)),
        ("no bits", with("bits", Value::Null).sign(key)),
        ("not zlib", with("lst", json!("AAAA")).sign(key)),
        ("no JWS", "{}".to_owned()),
        ("nothing", String::new()),
    ];
    for (case, document) in cases {
        server.serve(LIST, document);
        thread::sleep(Duration::from_millis(1_050));
        let response = gate.get("/shop/any/1", &token);
        assert_eq!(response.status, 503, "{case}");
        assert_eq!(response.header("retry-after"), Some("1"), "{case}");
        let why = gate.decision(&response.decision_id());
        assert_eq!(why["reason"], "status_unavailable", "{case}");
    }
    echo.assert_untouched("no list");
    server.serve(LIST, good().sign(key));
    eventually("a good list", || (status_of(&gate, &token) == 200).then_some(()));
}

#[test]
fn ver_020_a_gibibyte_in_a_mebibyte_is_a_503_and_little_memory() {
    let (echo, server, gate) = start("");
    let mut packer = flate2::write::DeflateEncoder::new(Vec::new(), Compression::best());
    packer.write_all(&vec![0; 1 << 20]).unwrap();
    packer.flush().unwrap();
    let block = packer.get_ref().clone();
    let mut bomb = vec![0x78, 0xda];
    (0..1_024).for_each(|_| bomb.extend_from_slice(&block));
    let mut token = list(&server, &[0]);
    token.payload["status_list"]["lst"] = json!(b64(&bomb));
    server.serve(LIST, token.sign(&gate.setup.key));
    assert_eq!(status_of(&gate, &referring(&gate, &server.url(LIST), 0)), 503);
    echo.assert_untouched("a bomb");
    let metrics = String::from_utf8(gate.admin("GET", "/metrics").body).unwrap();
    let resident = metrics.lines().find_map(|l| l.strip_prefix("process_resident_memory_bytes "));
    let resident: u64 = resident.unwrap().parse().unwrap();
    assert!(resident < 256 << 20, "{resident} bytes");
}

#[test]
fn ver_020_lists_are_fetched_from_hosts_of_the_issuer_alone_and_redirects_lead_nowhere() {
    let (echo, server, gate) = start("");
    let elsewhere = Served::start();
    for uri in
        [elsewhere.url(LIST), "https://as.test/1".to_owned(), "file:///etc/passwd".to_owned()]
    {
        assert_refused(&gate, &echo, &uri, &referring(&gate, &uri, 0));
    }
    let target = elsewhere.url(LIST);
    elsewhere.serve(LIST, list(&server, &[0]).sign(&gate.setup.key));
    server.at(LIST, move |_| response(302, &format!("Location: {target}\r\n"), ""));
    assert_eq!(status_of(&gate, &referring(&gate, &server.url(LIST), 0)), 503);
    assert!(elsewhere.asked(LIST).is_empty(), "the gate went where it was sent");
    echo.assert_untouched("lists from elsewhere");
}

#[test]
fn ver_020_022_a_stale_list_is_a_503_until_a_fresh_one_is_had() {
    let (echo, server, gate) = start("status_max_age = \"2s\"");
    server.serve(LIST, list(&server, &[0]).sign(&gate.setup.key));
    let token = referring(&gate, &server.url(LIST), 0);
    assert_eq!(status_of(&gate, &token), 200);
    server.fail(LIST);
    assert_eq!(status_of(&gate, &token), 200, "within its time");
    thread::sleep(Duration::from_millis(2_200));
    let before = echo.bytes();
    let response = gate.get("/shop/any/1", &token);
    assert_eq!((response.status, response.header("retry-after")), (503, Some("1")));
    assert_eq!(echo.bytes(), before);
    server.serve(LIST, list(&server, &[0]).sign(&gate.setup.key));
    eventually("a fresh list", || (status_of(&gate, &token) == 200).then_some(()));
    let metrics = String::from_utf8(gate.admin("GET", "/metrics").body).unwrap();
    assert!(metrics.contains("opgate_status_list_age_seconds{issuer=\"https://as.test\"}"));
}

#[test]
fn ver_020_a_list_is_fetched_anew_in_the_background_and_felt_by_remembered_tokens() {
    let (echo, server, gate) = start("status_max_age = \"2s\"");
    server.serve(LIST, list(&server, &[0]).sign(&gate.setup.key));
    let token = referring(&gate, &server.url(LIST), 0);
    assert_eq!(status_of(&gate, &token), 200);
    server.serve(LIST, list(&server, &[1]).sign(&gate.setup.key));
    eventually("the fetch", || (server.asked(LIST).len() >= 2).then_some(()));
    eventually("the revocation", || (status_of(&gate, &token) == 401).then_some(()));
    let other = Token::new().sign(&gate.setup.key);
    assert_eq!(status_of(&gate, &other), 200, "a token without a status");
    drop(echo);
}

#[test]
fn a_status_can_be_required_and_an_unknown_one_is_never_ignored() {
    let (echo, server, gate) = start("status = \"required\"");
    assert_refused(&gate, &echo, "no status", &gate.token());
    let both = json!({"status_list": {"idx": 0, "uri": server.url(LIST)}, "other": {"x": 1}});
    for status in [json!({"other": {}}), both, json!("x"), json!({})] {
        let token = Token::new().claim("status", status.clone()).sign(&gate.setup.key);
        assert_refused(&gate, &echo, &status.to_string(), &token);
    }
    echo.assert_untouched("no status");
}

#[test]
fn ver_020_many_calls_cause_one_fetch() {
    let (_echo, server, gate) = start("");
    let document = list(&server, &[0]).sign(&gate.setup.key);
    server.at(LIST, move |_| {
        thread::sleep(Duration::from_millis(300));
        response(200, "", &document)
    });
    thread::scope(|scope| {
        for _ in 0..20 {
            let (gate, server) = (&gate, &server);
            let token = referring(gate, &server.url(LIST), 0);
            scope.spawn(move || assert_eq!(status_of(gate, &token), 200));
        }
    });
    assert_eq!(server.asked(LIST).len(), 1);
}
