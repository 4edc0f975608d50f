//! Upstreams: how connections to them are made, shared, bounded, left out and taken up again, and that
//! nothing is sent twice.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use http::Version;

use crate::support::server::{ANSWER, Server};
use crate::support::tls::Authority;
use crate::support::{Connection, Echo, Gate, PATIENCE, Setup, eventually, request};

fn call(gate: &Gate, method: &str, target: &str, body: &str) -> String {
    request(method, target, &[("Authorization", &format!("Bearer {}", gate.token()))], body)
}

fn get_any(gate: &Gate) -> String {
    call(gate, "GET", "/shop/any/1", "")
}

/// A gauge or counter of one upstream.
fn figure(gate: &Gate, name: &str) -> String {
    let text = String::from_utf8(gate.admin("GET", "/metrics").body).unwrap();
    let line =
        text.lines().find_map(|line| line.strip_prefix(&format!("{name}{{upstream=\"shop\"}} ")));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).to_owned()
}

/// In front of `server`, which is trusted by `authority`'s certificate.
fn in_front_of(server: &Server, authority: &Authority, lines: &str) -> Setup {
    let mut setup = Setup::new(&Echo::start());
    setup.write("ca.pem", &authority.pem());
    setup.url = format!("\"https://localhost:{}\"", server.port());
    setup.upstream = format!("ca = \"ca.pem\"\n{lines}");
    setup
}

#[test]
fn http2_in_the_clear_shares_one_connection_and_changes_no_byte() {
    let server = Server::start(true, None, Duration::from_millis(300));
    let mut setup = Setup::new(&Echo::start());
    setup.url = format!("\"http://127.0.0.1:{}\"", server.port());
    setup.upstream = "http2 = true".to_owned();
    let gate = setup.start();
    let text = call(&gate, "POST", "/shop/any/1?a=%2F&b", "abc");
    let mut connections: Vec<_> = (0..8).map(|_| gate.connect()).collect();
    for connection in &mut connections {
        connection.send(&text);
    }
    for connection in &mut connections {
        let response = connection.response();
        assert_eq!((response.status, &*response.body), (200, ANSWER));
    }
    assert_eq!(server.connections(), 1, "eight calls at once are eight streams");
    for call in server.calls() {
        assert_eq!((call.version, &*call.target), (Version::HTTP_2, "/any/1?a=%2F&b"));
        assert_eq!(call.authority, Some(format!("127.0.0.1:{}", server.port())));
        assert_eq!(&*call.body, b"abc");
        for name in ["authorization", "host", "connection", "te", "transfer-encoding"] {
            assert!(!call.headers.contains_key(name), "{name}: {call:?}");
        }
    }
}

#[test]
fn trailers_reach_an_http2_upstream() {
    let server = Server::start(true, None, Duration::ZERO);
    let mut setup = Setup::new(&Echo::start());
    setup.url = format!("\"http://127.0.0.1:{}\"", server.port());
    setup.upstream = "http2 = true".to_owned();
    let gate = setup.start();
    let bearer = format!("Bearer {}", gate.token());
    let lines = [
        ("Authorization", bearer.as_str()),
        ("Transfer-Encoding", "chunked"),
        ("Trailer", "x-sum"),
    ];
    let body = "3\r\nabc\r\n0\r\nX-Sum: 7\r\nAuthorization: Bearer stolen\r\n\r\n";
    assert_eq!(gate.send(request("POST", "/shop/any/1", &lines, "") + body).status, 200);
    let call = &server.calls()[0];
    assert_eq!(&*call.body, b"abc");
    assert_eq!(call.trailers.get("x-sum").unwrap(), "7");
    assert!(!call.trailers.contains_key("authorization"), "{call:?}");
}

#[test]
fn http2_in_tls_is_agreed_on_or_is_502() {
    let authority = Authority::new();
    let server = Server::start(true, Some(authority.server(&["h2"], None)), Duration::ZERO);
    let gate = in_front_of(&server, &authority, "http2 = true").start();
    assert_eq!(gate.send(get_any(&gate)).body, ANSWER);
    assert_eq!(server.calls()[0].version, Version::HTTP_2);

    let server = Server::start(false, Some(authority.server(&["http/1.1"], None)), Duration::ZERO);
    let gate = in_front_of(&server, &authority, "http2 = true").start();
    let response = gate.send(get_any(&gate));
    assert_eq!(response.status, 502);
    assert_eq!(gate.outcome(&response.decision_id())["result"], "unreachable");
    assert!(server.calls().is_empty());
}

#[test]
fn only_its_own_authority_is_believed() {
    let authority = Authority::new();
    let server = Server::start(false, Some(authority.server(&["http/1.1"], None)), Duration::ZERO);
    let trusting = in_front_of(&server, &authority, "").start();
    assert_eq!(trusting.send(get_any(&trusting)).body, ANSWER);
    let distrusting = in_front_of(&server, &Authority::new(), "").start();
    assert_eq!(distrusting.send(get_any(&distrusting)).status, 502);
    let mut setup = in_front_of(&server, &authority, "");
    setup.url = format!("\"https://127.0.0.1:{}\"", server.port());
    let misnamed = setup.start();
    assert_eq!(misnamed.send(get_any(&misnamed)).status, 502);
    assert_eq!(server.calls().len(), 1);
}

#[test]
fn the_gate_shows_its_certificate_to_a_tool_that_asks_for_it() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let server =
        Server::start(false, Some(authority.server(&["http/1.1"], Some(&clients))), Duration::ZERO);
    let setup = in_front_of(
        &server,
        &authority,
        "client_certificate = \"gate.crt\"\nclient_key = \"gate.key\"",
    );
    clients.issue(&["gate.test"], setup.dir.path(), "gate");
    let gate = setup.start();
    assert_eq!(gate.send(get_any(&gate)).body, ANSWER);
    let shown = server.calls()[0].certificate.clone().expect("a certificate");
    assert!(shown.windows(9).any(|bytes| bytes == b"gate.test"));

    let gate = in_front_of(&server, &authority, "").start();
    assert_eq!(gate.send(get_any(&gate)).status, 502);
    let stranger = in_front_of(
        &server,
        &authority,
        "client_certificate = \"gate.crt\"\nclient_key = \"gate.key\"",
    );
    Authority::new().issue(&["gate.test"], stranger.dir.path(), "gate");
    let gate = stranger.start();
    assert_eq!(gate.send(get_any(&gate)).status, 502);
    assert_eq!(server.calls().len(), 1);
}

#[test]
fn several_addresses_share_the_calls() {
    let (one, other) = (Echo::start(), Echo::start());
    let mut setup = Setup::new(&one);
    setup.url = format!("[{:?}, {:?}]", one.url(), other.url());
    let gate = setup.start();
    for _ in 0..20 {
        assert_eq!(gate.send(get_any(&gate)).status, 200);
    }
    let counts = (one.requests().len(), other.requests().len());
    assert!(counts.0 >= 6 && counts.1 >= 6, "{counts:?}");
}

#[test]
fn a_busy_address_gets_fewer_calls() {
    let (release, held_back) = (Arc::new(AtomicBool::new(false)), PATIENCE);
    let is_released = Arc::clone(&release);
    let slow = Echo::scripted(move |exchange| {
        let begun = Instant::now();
        while !is_released.load(Ordering::SeqCst) && begun.elapsed() < held_back {
            thread::sleep(Duration::from_millis(5));
        }
        exchange.answer("", "slow");
    });
    let quick = Echo::start();
    let mut setup = Setup::new(&slow);
    setup.url = format!("[{:?}, {:?}]", slow.url(), quick.url());
    let gate = setup.start();
    // Which of two idle addresses gets a call is chance: until the slow one has one.
    let mut held = gate.connect();
    let is_held = || !slow.bytes().is_empty();
    for answered in 0.. {
        held.send(get_any(&gate));
        let went = || (is_held() || quick.requests().len() > answered).then_some(());
        eventually("a call at an address", went);
        if is_held() {
            break;
        }
        assert_eq!(held.response().status, 200);
    }
    for _ in 0..10 {
        assert_eq!(gate.send(get_any(&gate)).body, br#"{"from":"upstream"}"#);
    }
    release.store(true, Ordering::SeqCst);
    assert_eq!(held.response().body, b"slow");
}

#[test]
fn an_address_that_fails_is_left_out_and_comes_back() {
    let other = Echo::start();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let mut setup = Setup::new(&other);
    setup.url = format!("[\"http://{address}\", {:?}]", other.url());
    setup.upstream = "eject_after = 2\neject_for = \"1500ms\"".to_owned();
    let gate = setup.start();
    for _ in 0..8 {
        assert_eq!(gate.send(get_any(&gate)).status, 200, "the other address answers");
    }
    assert_eq!(figure(&gate, "opgate_upstream_addresses_ejected"), "1.0");
    let back =
        Echo::on(TcpListener::bind(address).unwrap(), |exchange| exchange.answer("", "back"));
    assert_eq!(gate.send(get_any(&gate)).status, 200);
    assert!(back.bytes().is_empty(), "it is left alone for a while");
    eventually("the address to be used again", || {
        (gate.send(get_any(&gate)).body == b"back").then_some(())
    });
    assert_eq!(figure(&gate, "opgate_upstream_addresses_ejected"), "0.0");
}

#[test]
fn active_checks_take_an_address_out_and_in() {
    let ill = Arc::new(AtomicBool::new(true));
    let is_ill = Arc::clone(&ill);
    let checked = Echo::scripted(move |exchange| {
        if exchange.request.line.starts_with("GET /healthz ") && is_ill.load(Ordering::SeqCst) {
            exchange.send("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n");
        } else {
            exchange.answer("", "checked");
        }
    });
    let other = Echo::scripted(|exchange| exchange.answer("", "other"));
    let mut setup = Setup::new(&checked);
    setup.url = format!("[{:?}, {:?}]", checked.url(), other.url());
    setup.upstream =
        "health = { path = \"/healthz\", interval = \"100ms\", timeout = \"1s\" }".to_owned();
    let gate = setup.start();
    let ejected = |count: &'static str| {
        eventually(count, || {
            (figure(&gate, "opgate_upstream_addresses_ejected") == count).then_some(())
        });
    };
    ejected("1.0");
    for _ in 0..6 {
        assert_eq!(gate.send(get_any(&gate)).body, b"other");
    }
    ill.store(false, Ordering::SeqCst);
    ejected("0.0");
    eventually("a call at the address", || {
        (gate.send(get_any(&gate)).body == b"checked").then_some(())
    });
    ill.store(true, Ordering::SeqCst);
    ejected("1.0");
    let checks = checked.requests();
    let check = checks.iter().find(|request| request.line.contains("/healthz")).unwrap();
    assert!(!check.has("authorization"), "{check:?}");
}

#[test]
fn where_every_address_is_left_out_one_is_tried_all_the_same() {
    let mut setup = Setup::new(&Echo::start());
    setup.url = "[\"http://127.0.0.1:1\", \"http://127.0.0.1:2\"]".to_owned();
    setup.upstream = "eject_after = 1\neject_for = \"1m\"".to_owned();
    let gate = setup.start();
    for _ in 0..3 {
        assert_eq!(gate.send(get_any(&gate)).status, 502);
    }
    assert_eq!(figure(&gate, "opgate_upstream_addresses_ejected"), "2.0");
}

#[test]
fn a_connection_that_died_unused_is_replaced_and_nothing_is_sent_twice() {
    // Ends each connection after one answer, and does not say so.
    let echo = Echo::scripted(|exchange| {
        exchange.read_body();
        exchange.answer("", "once");
        exchange.close();
    });
    let gate = Setup::new(&echo).start();
    for n in 0..20 {
        let body = format!("order {n}");
        assert_eq!(gate.send(call(&gate, "POST", "/shop/any/1", &body)).status, 200, "call {n}");
        // Whether a call arrived that met the end of its connection half-way, nobody can know.
        eventually("the end to be seen", || {
            (figure(&gate, "opgate_upstream_connections_open") == "0.0").then_some(())
        });
    }
    let bodies: Vec<_> = echo.requests().into_iter().map(|request| request.body).collect();
    let expected: Vec<_> = (0..20).map(|n| format!("order {n}").into_bytes()).collect();
    assert_eq!(bodies, expected);
}

#[test]
fn a_call_that_changes_nothing_is_sent_anew_when_its_kept_connection_ends_under_it() {
    let echo = Echo::scripted(|exchange| {
        exchange.answer("", "once");
        exchange.close();
    });
    let gate = Setup::new(&echo).start();
    for n in 0..50 {
        assert_eq!(gate.send(get_any(&gate)).status, 200, "call {n}");
    }
}

#[test]
fn a_call_that_broke_off_after_it_was_sent_is_not_given_to_another_address() {
    let breaking = || {
        Echo::scripted(|exchange| {
            exchange.read_body();
            exchange.close();
        })
    };
    let (one, other) = (breaking(), breaking());
    let mut setup = Setup::new(&one);
    setup.url = format!("[{:?}, {:?}]", one.url(), other.url());
    let gate = setup.start();
    assert_eq!(gate.send(call(&gate, "POST", "/shop/any/1", "order")).status, 502);
    assert_eq!(one.requests().len() + other.requests().len(), 1);
}

#[test]
fn connections_to_an_address_are_bounded_and_waiting_ends() {
    let echo = Echo::scripted(|exchange| {
        thread::sleep(Duration::from_secs(1));
        exchange.answer("", "late");
    });
    let mut setup = Setup::new(&echo);
    setup.upstream = "connections = 1\nqueue_timeout = \"200ms\"".to_owned();
    let gate = setup.start();
    let mut first = gate.connect();
    first.send(get_any(&gate));
    eventually("the first call", || (!echo.bytes().is_empty()).then_some(()));
    let response = gate.send(get_any(&gate));
    assert_eq!(response.status, 503);
    assert!(response.header("retry-after").is_some());
    assert_eq!(response.error(), "temporarily_unavailable");
    assert_eq!(gate.outcome(&response.decision_id())["result"], "unreachable");
    assert_eq!(first.response().body, b"late");
    assert_eq!(echo.connections(), 1);
}

#[test]
fn ver_024_no_spelling_of_the_tools_credential_comes_from_the_agent() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.write("credential", "tool-secret");
    setup.upstream =
        "credential = { header = \"x-api-key\", secret = { file = \"credential\" } }".to_owned();
    let gate = setup.start();
    let bearer = format!("Bearer {}", gate.token());
    let lines = [
        ("Authorization", bearer.as_str()),
        ("X-Api-Key", "mine"),
        ("X_Api_Key", "mine"),
        ("x-api_key", "mine"),
    ];
    assert_eq!(gate.send(request("GET", "/shop/any/1", &lines, "")).status, 200);
    let arrived = echo.only();
    assert_eq!(arrived.all("x-api-key"), ["tool-secret"]);
    assert!(!String::from_utf8(echo.bytes()).unwrap().contains("mine"), "{arrived:?}");
}

#[test]
fn a_caller_that_leaves_gives_its_stream_of_a_shared_connection_back() {
    let server = Server::start(true, None, Duration::from_mins(1));
    let mut setup = Setup::new(&Echo::start());
    setup.url = format!("\"http://127.0.0.1:{}\"", server.port());
    setup.upstream = "http2 = true".to_owned();
    let gate = setup.start();
    let mut connection: Connection = gate.connect();
    connection.send(get_any(&gate));
    eventually("the call", || (!server.calls().is_empty()).then_some(()));
    let in_flight = || figure(&gate, "opgate_upstream_calls_in_flight");
    assert_eq!(in_flight(), "1.0");
    drop(connection);
    eventually("the stream to be free", || (in_flight() == "0.0").then_some(()));
}
