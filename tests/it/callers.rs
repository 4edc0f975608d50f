//! Callers: how long they may be silent, how much they may make the gate hold, and what becomes of
//! their calls when they leave, when the grant ends and when the process does.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::client::{bounded, dial};
use crate::support::issuer::now;
use crate::support::tls::Authority;
use crate::support::{Connection, Echo, Exchange, Gate, Setup, Token, eventually, request};

const STREAM: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

fn call(gate: &Gate, method: &str, target: &str, lines: &[(&str, &str)]) -> String {
    let bearer = format!("Bearer {}", gate.token());
    let lines = [&[("Authorization", bearer.as_str())], lines].concat();
    request(method, target, &lines, "")
}

fn get_any(gate: &Gate) -> String {
    call(gate, "GET", "/shop/any/1", &[])
}

fn with_tls(setup: &mut Setup, lines: &str) -> Authority {
    let authority = Authority::new();
    authority.issue(&["tools.test"], setup.dir.path(), "tls");
    setup.gate = format!("tls = {{ certificate = \"tls.crt\", key = \"tls.key\"{lines} }}");
    authority
}

/// Resident memory of the gate, in MiB.
fn memory(gate: &Gate) -> u64 {
    let text = String::from_utf8(gate.admin("GET", "/metrics").body).unwrap();
    let line = text.lines().find_map(|l| l.strip_prefix("process_resident_memory_bytes "));
    line.unwrap().parse::<u64>().unwrap() >> 20
}

/// Answers without end until the gate goes.
fn endless(exchange: &mut Exchange) {
    exchange.send(STREAM);
    let block = format!("10000\r\n{}\r\n", "x".repeat(65_536));
    while exchange.send(&block) {}
    exchange.request.body = b"gone".to_vec();
    exchange.close();
}

fn is_gone(echo: &Echo) -> Option<()> {
    echo.requests().iter().any(|request| request.body == b"gone").then_some(())
}

#[test]
fn a_handshake_that_does_not_come_is_not_waited_for() {
    let mut setup = Setup::new(&Echo::start());
    with_tls(&mut setup, "");
    setup.limits = "handshake_timeout = \"400ms\"".to_owned();
    let gate = setup.start();
    let start = Instant::now();
    let mut silent = gate.connect();
    let mut half = gate.connect();
    half.send([0x16, 3, 1, 0xff]);
    assert!(silent.is_closed() && half.is_closed());
    let took = start.elapsed();
    assert!(took > Duration::from_millis(300) && took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_connection_that_asks_nothing_further_is_closed() {
    let mut setup = Setup::new(&Echo::start());
    setup.limits = "keep_alive = \"1s\"".to_owned();
    let gate = setup.start();
    let mut connection = gate.connect();
    assert_eq!(connection.call(get_any(&gate)).status, 200);
    thread::sleep(Duration::from_millis(500));
    assert_eq!(connection.call(get_any(&gate)).status, 200, "within the time");
    let start = Instant::now();
    assert!(connection.is_closed());
    assert!(start.elapsed() > Duration::from_millis(700), "{:?}", start.elapsed());
}

#[test]
fn client_certificates_are_asked_for_as_configured() {
    let clients = Authority::new();
    let strangers = Authority::new();
    // Mode, and who gets through: nobody's, a stranger's, one of ours.
    for (mode, expected) in [
        ("none", [true, true, true]),
        ("request", [true, true, true]),
        ("verify", [true, false, true]),
        ("require", [false, false, true]),
    ] {
        let mut setup = Setup::new(&Echo::start());
        let roots = if matches!(mode, "verify" | "require") {
            setup.write("clients.pem", &clients.pem());
            ", client_ca = \"clients.pem\""
        } else {
            ""
        };
        let authority = with_tls(&mut setup, &format!(", client_certificate = \"{mode}\"{roots}"));
        let gate = setup.start();
        let shown = [None, Some(strangers.pair("agent.test")), Some(clients.pair("agent.test"))];
        for (own, through) in shown.into_iter().zip(expected) {
            let with = own.is_some();
            // In TLS 1.3 the client's handshake is done before the server has judged it.
            let answer = authority.try_connect_as(own, gate.address(), "tools.test").and_then(
                |(mut connection, _)| {
                    let taken = connection.try_send(get_any(&gate));
                    taken.then(|| connection.try_response()).flatten()
                },
            );
            let status = answer.map(|response| response.status);
            assert_eq!(status, through.then_some(200), "{mode}, certificate: {with}");
        }
    }
}

#[test]
fn certificates_and_configuration_change_under_traffic_and_no_call_fails() {
    let mut setup = Setup::new(&Echo::start());
    let authority = Arc::new(with_tls(&mut setup, ""));
    let mut gate = setup.start();
    let done = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..3)
        .map(|_| {
            let (authority, done) = (Arc::clone(&authority), Arc::clone(&done));
            let (address, text) = (gate.address(), get_any(&gate));
            thread::spawn(move || {
                let mut calls = 0;
                while !done.load(Ordering::SeqCst) {
                    // A new connection now and then meets the new certificate.
                    let (mut connection, _) =
                        authority.try_connect(address, "tools.test").expect("a handshake");
                    for _ in 0..20 {
                        assert_eq!(connection.call(&text).status, 200);
                        calls += 1;
                    }
                }
                calls
            })
        })
        .collect();
    let leaf = |gate: &Gate| authority.connect(gate, "tools.test").1;
    for round in 0..4 {
        let before = leaf(&gate);
        authority.issue(&["tools.test"], gate.setup.dir.path(), "tls");
        gate.rewrite(|setup| setup.resource = format!("name = \"round {round}\""));
        gate.signal("HUP");
        eventually("the new certificate", || (leaf(&gate) != before).then_some(()));
    }
    done.store(true, Ordering::SeqCst);
    let calls: Vec<u32> = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
    assert!(calls.iter().all(|calls| *calls > 0), "{calls:?}");
    assert!(gate.records().iter().filter(|record| record["type"] == "config").count() >= 4);
}

#[test]
fn a_caller_who_does_not_read_costs_no_memory_and_is_left_in_time() {
    let echo = Echo::scripted(endless);
    let mut setup = Setup::new(&echo);
    setup.limits = "body_idle = \"1500ms\"".to_owned();
    let gate = setup.start();
    let before = memory(&gate);
    let mut deaf: Vec<_> = (0..8).map(|_| gate.connect()).collect();
    for connection in &mut deaf {
        connection.send(get_any(&gate));
    }
    eventually("eight calls", || (echo.connections() == 8).then_some(()));
    thread::sleep(Duration::from_millis(700));
    let grown = memory(&gate).saturating_sub(before);
    assert!(grown < 24, "{grown} MiB for eight callers who read nothing");
    eventually("the upstream to be let go", || is_gone(&echo));
    let id = gate.decisions()[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(gate.outcome(&id)["result"], "client_aborted");
}

#[test]
fn an_upstream_that_does_not_read_costs_no_memory_and_stops_the_caller() {
    let echo = Echo::scripted(|exchange| {
        thread::sleep(Duration::from_secs(3));
        exchange.close();
    });
    let mut setup = Setup::new(&echo);
    setup.resource = "body_limit = \"1GiB\"".to_owned();
    let gate = setup.start();
    let before = memory(&gate);
    let mut stream = dial(gate.address());
    bounded(&stream, Duration::from_secs(1));
    stream
        .write_all(
            call(&gate, "POST", "/shop/any/1", &[("Content-Length", "900000000")]).as_bytes(),
        )
        .unwrap();
    let block = vec![b'x'; 65_536];
    let mut sent = 0;
    while sent < 400 << 20 && stream.write_all(&block).is_ok() {
        sent += block.len();
    }
    assert!(sent < 64 << 20, "{} MiB were taken in for an upstream that reads nothing", sent >> 20);
    let grown = memory(&gate).saturating_sub(before);
    assert!(grown < 24, "{grown} MiB");
}

#[test]
fn trickles_within_the_time_are_served_and_pauses_beyond_it_are_not() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.limits = "body_idle = \"600ms\"".to_owned();
    let gate = setup.start();
    let mut connection = gate.connect();
    connection.send(call(&gate, "POST", "/shop/any/1", &[("Content-Length", "6")]));
    for letter in ["a", "b", "c", "d", "e", "f"] {
        thread::sleep(Duration::from_millis(250));
        connection.send(letter);
    }
    assert_eq!(connection.response().status, 200);
    let mut pausing = gate.connect();
    pausing.send(call(&gate, "POST", "/shop/any/1", &[("Content-Length", "6")]) + "abc");
    let response = pausing.response();
    assert_eq!(response.status, 408);
    let outcome = gate.outcome(&response.decision_id());
    assert_eq!(
        (&outcome["result"], &outcome["error"]),
        (&"failure".into(), &"body_timeout".into())
    );
    assert_eq!(echo.requests().len(), 2);
    assert!(!echo.requests().iter().any(|request| request.body == b"abc"), "never whole");
}

#[test]
fn a_response_that_pauses_is_cut_and_an_event_stream_may_pause() {
    for (kind, cut) in [("application/json", true), ("text/event-stream", false)] {
        let echo = Echo::scripted(move |exchange| {
            exchange.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"
            ));
            thread::sleep(Duration::from_millis(1_500));
            exchange.send("1\r\nb\r\n0\r\n\r\n");
        });
        let mut setup = Setup::new(&echo);
        setup.limits = "body_idle = \"500ms\"".to_owned();
        let gate = setup.start();
        let response = gate.send(get_any(&gate));
        assert_eq!(response.complete, !cut, "{kind}: {response:?}");
        let id = response.header("x-opgate-decision-id").unwrap();
        assert_eq!(gate.outcome(id)["result"], if cut { "timeout" } else { "success" });
    }
}

#[test]
fn the_drain_has_an_end_and_what_it_cuts_is_recorded() {
    let echo = Echo::scripted(|exchange| {
        exchange.send(STREAM);
        exchange.send("1\r\na\r\n");
        exchange.is_abandoned();
        exchange.close();
    });
    let mut setup = Setup::new(&echo);
    setup.gate = "drain = \"700ms\"".to_owned();
    let mut gate = setup.start();
    let mut idle = gate.connect();
    let mut open = gate.connect();
    open.send(get_any(&gate));
    assert!(open.until("1\r\na").is_some());
    let id = gate.decisions()[0]["id"].as_str().unwrap().to_owned();
    let start = Instant::now();
    gate.signal("TERM");
    assert!(idle.is_closed(), "what is idle ends at once");
    assert!(start.elapsed() < Duration::from_millis(600), "{:?}", start.elapsed());
    assert!(gate.ended().success());
    let took = start.elapsed();
    assert!(took > Duration::from_millis(600) && took < Duration::from_secs(5), "{took:?}");
    assert!(open.is_closed());
    assert_eq!(gate.outcome(&id)["result"], "client_aborted");
    assert_eq!(gate.records().last().unwrap()["type"], "stop");
}

fn websocket(gate: &Gate, token: &str) -> Connection {
    let bearer = format!("Bearer {token}");
    let lines = [
        ("Authorization", bearer.as_str()),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let mut connection = gate.connect();
    assert_eq!(connection.call(request("GET", "/shop/any/1", &lines, "")).status, 101);
    connection
}

/// Switches, and then gives back what it gets.
fn mirror() -> Echo {
    Echo::scripted(|exchange| {
        exchange.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        );
        while let Some(bytes) = exchange.some() {
            exchange.send(bytes);
        }
        exchange.request.body = b"gone".to_vec();
        exchange.close();
    })
}

#[test]
fn ver_030_a_websocket_ends_when_its_token_does() {
    let echo = mirror();
    let mut setup = Setup::new(&echo);
    setup.resource = "websocket = true".to_owned();
    setup.issuer = "leeway = \"0s\"".to_owned();
    let gate = setup.start();
    let start = Instant::now();
    let mut connection =
        websocket(&gate, &Token::new().claim("exp", now() + 2).sign(&gate.setup.key));
    for n in 0.. {
        let word = format!("word {n};");
        if !connection.try_send(&word) || connection.until(&word).is_none() {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(6), "it goes on after its token");
        thread::sleep(Duration::from_millis(50));
    }
    assert!(start.elapsed() > Duration::from_millis(900), "{:?}", start.elapsed());
    eventually("the upstream to be let go", || is_gone(&echo));
    let id = gate.decisions()[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(gate.outcome(&id)["error"], "token_expired");
}

#[test]
fn a_websocket_keeps_its_place_among_the_connections() {
    let echo = mirror();
    let mut setup = Setup::new(&echo);
    setup.resource = "websocket = true".to_owned();
    setup.gate = "drain = \"500ms\"".to_owned();
    setup.limits = "connections_per_source = 3".to_owned();
    let mut gate = setup.start();
    let token = gate.token();
    let mut held: Vec<_> = (0..3).map(|_| websocket(&gate, &token)).collect();
    let stream = dial(gate.address());
    bounded(&stream, Duration::from_millis(500));
    let mut fourth = Connection::over(stream);
    fourth.send(get_any(&gate));
    assert!(fourth.try_response().is_none(), "three of three places are taken");
    let mut last = held.pop().unwrap();
    drop(held);
    eventually("a free place", || {
        let stream = dial(gate.address());
        bounded(&stream, Duration::from_millis(500));
        Connection::over(stream).send(get_any(&gate)).try_response().map(drop)
    });
    // What is said at the drain still arrives.
    gate.signal("TERM");
    last.send("bye;");
    assert!(last.until("bye;").is_some());
    assert!(gate.ended().success());
}

#[test]
fn a_call_is_counted_under_its_own_resource_whatever_is_reloaded_meanwhile() {
    let release = Arc::new(AtomicBool::new(false));
    let may_end = Arc::clone(&release);
    let echo = Echo::scripted(move |exchange| {
        while !may_end.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(5));
        }
        exchange.answer("", "done");
    });
    let mut gate = Setup::new(&echo).start();
    let mut connection = gate.connect();
    connection.send(get_any(&gate));
    eventually("the call", || (!echo.bytes().is_empty()).then_some(()));
    gate.rewrite(|setup| {
        let mut first = String::from("identity_headers = true\n");
        write!(first, "[[resource.operation]]\naction = \"x\"\nmethod = \"GET\"\npath = \"/x\"\n")
            .unwrap();
        // What was the first resource is the second now.
        write!(
            first,
            "[[resource]]\nid = \"https://tools.test/shop\"\nupstream = \"shop\"\n\
             issuers = [\"https://as.test\"]\n"
        )
        .unwrap();
        setup.resource = first;
        setup.id = "https://tools.test/first".to_owned();
    });
    assert_eq!(gate.admin("POST", "/reload").status, 200);
    release.store(true, Ordering::SeqCst);
    assert_eq!(connection.response().status, 200);
    let metrics = || String::from_utf8(gate.admin("GET", "/metrics").body).unwrap();
    let line = "opgate_calls_total{resource=\"https://tools.test/shop\",result=\"success\"} 1";
    eventually("the count", || metrics().lines().any(|found| found == line).then_some(()));
    assert!(!metrics().contains("opgate_calls_total{resource=\"https://tools.test/first\""));
}

#[test]
fn the_admin_listener_may_be_a_unix_socket() {
    let mut setup = Setup::new(&Echo::start());
    let path = setup.dir.path().join("admin.sock");
    setup.admin = format!("unix:{}", path.display());
    let gate = setup.start();
    let mut connection = Connection::open_unix(&path);
    let response = connection.call("GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(response.status, 200);
    let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
    assert_eq!(mode & 0o007, 0, "others have no business here: {mode:o}");
    drop(gate);
}

#[test]
fn a_body_that_nobody_waits_for_is_read_no_further() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    let mut stream = dial(gate.address());
    stream
        .write_all(
            request("POST", "/shop/any/1", &[("Content-Length", "1000000000")], "").as_bytes(),
        )
        .unwrap();
    let block = vec![b'x'; 65_536];
    let mut sent = 0_usize;
    while sent < 256 << 20 && stream.write_all(&block).is_ok() {
        sent += block.len();
    }
    assert!(sent < 64 << 20, "{} MiB of a refused body were read", sent >> 20);
    let mut answer = Vec::new();
    // The refusal may be lost to the reset that ends the caller's own sending.
    stream.read_to_end(&mut answer).ok();
    echo.assert_untouched("a refused body");
}
