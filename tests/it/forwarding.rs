//! Forwarding (verification.md step 29): both directions stream, nothing is sent twice, and how an
//! upstream fails is told and recorded.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::issuer::now;
use crate::support::{Connection, Echo, Exchange, Gate, Setup, Token, eventually, request};

const STREAM: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

fn event(exchange: &mut Exchange, text: &str) -> bool {
    exchange.send(format!("{:x}\r\n{text}\r\n", text.len()))
}

fn get_any(gate: &Gate) -> String {
    request("GET", "/shop/any/1", &[("Authorization", &format!("Bearer {}", gate.token()))], "")
}

fn post_head(gate: &Gate, length: &str) -> String {
    let bearer = format!("Bearer {}", gate.token());
    let lines = [("Authorization", bearer.as_str()), length.split_once(": ").unwrap()];
    request("POST", "/shop/any/1", &lines, "")
}

#[test]
fn an_event_is_delivered_before_the_next_one_exists() {
    let go_on = Arc::new(AtomicBool::new(false));
    let may_end = Arc::clone(&go_on);
    let echo = Echo::scripted(move |exchange| {
        exchange.send(STREAM);
        event(exchange, "data: one\n\n");
        while !may_end.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(5));
        }
        event(exchange, "data: two\n\n");
        exchange.send("0\r\n\r\n");
    });
    let gate = Setup::new(&echo).start();
    let mut connection = gate.connect();
    connection.send(get_any(&gate));
    assert!(connection.until("data: one").is_some());
    go_on.store(true, Ordering::SeqCst);
    assert!(connection.until("data: two").is_some());
    assert!(connection.until("0\r\n\r\n").is_some());
}

#[test]
fn a_request_body_streams_chunk_by_chunk() {
    let echo = Echo::scripted(|exchange| {
        exchange.some();
        exchange.answer("", "early");
        exchange.close();
    });
    let gate = Setup::new(&echo).start();
    let mut connection = gate.connect();
    connection.send(post_head(&gate, "Transfer-Encoding: chunked")).send("3\r\nabc\r\n");
    eventually("the first chunk upstream", || {
        echo.bytes().windows(3).any(|bytes| bytes == b"abc").then_some(())
    });
    connection.send("0\r\n\r\n");
    assert_eq!(connection.response().body, b"early");
}

#[test]
fn a_slow_reader_slows_the_upstream_down() {
    let echo = Echo::scripted(|exchange| {
        exchange.send(STREAM);
        let block = "x".repeat(65_536);
        let start = Instant::now();
        let mut sent = 0_u32;
        while start.elapsed() < Duration::from_secs(5) && sent < 4_096 && event(exchange, &block) {
            sent += 1;
        }
        exchange.request.body = sent.to_string().into_bytes();
        exchange.close();
    });
    let gate = Setup::new(&echo).start();
    let mut connection = gate.connect();
    connection.send(get_any(&gate));
    assert_eq!(connection.read_head().unwrap().status, 200);
    thread::sleep(Duration::from_secs(2));
    let finished = echo.requests().iter().any(|request| !request.body.is_empty());
    assert!(!finished, "256 MiB were taken in for a reader who reads nothing");
}

#[test]
fn a_client_that_leaves_cancels_the_upstream() {
    let echo = Echo::scripted(|exchange| {
        exchange.send(STREAM);
        event(exchange, "data: one\n\n");
        exchange.request.body = if exchange.is_abandoned() { b"gone".to_vec() } else { Vec::new() };
        exchange.close();
    });
    let gate = Setup::new(&echo).start();
    let mut connection = gate.connect();
    connection.send(get_any(&gate));
    assert!(connection.until("data: one").is_some());
    drop(connection);
    eventually("the upstream to notice", || {
        echo.requests().iter().any(|request| request.body == b"gone").then_some(())
    });
    let id = gate.decisions()[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(gate.outcome(&id)["result"], "client_aborted");
}

#[test]
fn ver_027_a_dead_upstream_is_502_with_its_decision_recorded() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.url = "\"http://127.0.0.1:1\"".to_owned();
    let gate = setup.start();
    let response = gate.send(get_any(&gate));
    assert_eq!(response.status, 502);
    let id = response.decision_id();
    assert_eq!(gate.decision(&id)["decision"], "allow");
    assert_eq!(gate.outcome(&id)["result"], "unreachable");
    assert!(!response.everything().contains("127.0.0.1"));
}

#[test]
fn a_slow_upstream_is_504() {
    let echo = Echo::scripted(|exchange| {
        exchange.is_abandoned();
        exchange.close();
    });
    let mut setup = Setup::new(&echo);
    setup.upstream = r#"response_timeout = "300ms""#.to_owned();
    let gate = setup.start();
    let response = gate.send(get_any(&gate));
    assert_eq!(response.status, 504);
    assert_eq!(gate.outcome(&response.decision_id())["result"], "timeout");
}

#[test]
fn a_request_that_was_sent_is_never_sent_again() {
    let echo = Echo::scripted(Exchange::close);
    let gate = Setup::new(&echo).start();
    let response = gate.send(get_any(&gate));
    assert_eq!(response.status, 502);
    assert_eq!(echo.requests().len(), 1);
}

#[test]
fn a_dead_address_is_passed_over() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.url = format!("[\"http://127.0.0.1:1\", \"{}\"]", echo.url());
    let gate = setup.start();
    for _ in 0..10 {
        assert_eq!(gate.send(get_any(&gate)).status, 200);
    }
}

#[test]
fn responses_that_contradict_themselves_are_502() {
    for head in [
        "Content-Length: 1\r\nContent-Length: 2\r\n\r\na",
        "Content-Length: x\r\n\r\n",
        "X A: 1\r\n\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    ] {
        let echo = Echo::scripted(move |exchange| {
            exchange.send(format!("HTTP/1.1 200 OK\r\n{head}"));
            exchange.close();
        });
        let gate = Setup::new(&echo).start();
        let response = gate.send(get_any(&gate));
        let both = response.header("content-length").is_some()
            && response.header("transfer-encoding").is_some();
        assert!(response.status == 502 || (head.contains("chunked") && !both), "{head}");
    }
}

#[test]
fn a_response_that_breaks_off_is_never_made_whole() {
    let echo = Echo::scripted(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
        exchange.close();
    });
    let gate = Setup::new(&echo).start();
    let response = gate.send(get_any(&gate));
    assert!(!response.complete, "{response:?}");
    let id = gate.decisions()[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(gate.outcome(&id)["result"], "failure");
}

#[test]
fn response_trailers_arrive_and_challenges_of_the_upstream_do_not() {
    let echo = Echo::scripted(|exchange| {
        exchange.send(
            "HTTP/1.1 200 OK\r\nWWW-Authenticate: Bearer realm=\"evil\"\r\nTrailer: x-sum\r\n\
             opgate-audit-id: forged\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 7\r\n\r\n",
        );
    });
    let gate = Setup::new(&echo).start();
    let bearer = format!("Bearer {}", gate.token());
    let lines = [("Authorization", bearer.as_str()), ("TE", "trailers"), ("Connection", "te")];
    let response = gate.send(request("GET", "/shop/any/1", &lines, ""));
    assert_eq!(response.status, 200);
    assert!(response.header("www-authenticate").is_none());
    assert_ne!(response.header("opgate-audit-id"), Some("forged"));
    assert_eq!(response.trailers, [("x-sum".to_owned(), "7".to_owned())]);
}

#[test]
fn ver_024_the_tools_credential_is_added_and_identity_told_where_configured() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    let file = setup.write("credential", "tool-secret\n");
    setup.upstream =
        format!("credential = {{ scheme = \"Bearer\", secret = {{ file = {file:?} }} }}");
    setup.resource = "identity_headers = true".to_owned();
    let gate = setup.start();
    let token = gate.token();
    let lines =
        [("Authorization", format!("Bearer {token}")), ("X-Opgate-User", "mallory".to_owned())];
    let lines: Vec<(&str, &str)> = lines.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let response = gate.send(request("GET", "/shop/any/1", &lines, ""));
    assert_eq!(response.status, 200);
    let arrived = echo.only();
    assert_eq!(arrived.all("authorization"), ["Bearer tool-secret"]);
    assert_eq!(arrived.all("x-opgate-user"), ["user-1"]);
    let id = response.header("x-opgate-decision-id").unwrap();
    assert_eq!(arrived.all("x-opgate-decision-id"), [id]);
    let text = String::from_utf8(echo.bytes()).unwrap();
    assert!(!text.contains(token.rsplit('.').next().unwrap()));
    assert!(!gate.listing().contains("tool-secret") && !gate.stderr().contains("tool-secret"));
}

#[test]
fn ver_030_a_stream_ends_when_its_token_does() {
    let echo = Echo::scripted(|exchange| {
        exchange.send(STREAM);
        while event(exchange, "data: more\n\n") {
            thread::sleep(Duration::from_millis(100));
        }
        exchange.close();
    });
    let mut setup = Setup::new(&echo);
    setup.issuer = "leeway = \"0s\"".to_owned();
    let gate = setup.start();
    let token = Token::new().claim("exp", now() + 2).sign(&gate.setup.key);
    let start = Instant::now();
    let response = gate.get("/shop/any/1", &token);
    assert_eq!(response.status, 200);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(!response.body.is_empty());
}

#[test]
fn a_websocket_passes_where_it_is_allowed_and_judged() {
    let echo = Echo::scripted(|exchange| {
        exchange.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        );
        while let Some(bytes) = exchange.some() {
            exchange.send(bytes);
        }
        exchange.close();
    });
    let mut setup = Setup::new(&echo);
    setup.resource = "websocket = true".to_owned();
    let gate = setup.start();
    let upgrade = |authorization: &str| {
        request(
            "GET",
            "/shop/any/1",
            &[
                ("Authorization", authorization),
                ("Connection", "Upgrade"),
                ("Upgrade", "websocket"),
                ("Sec-WebSocket-Version", "13"),
                ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ],
            "",
        )
    };
    assert_eq!(gate.send(upgrade("Bearer a.b.c")).status, 401);
    echo.assert_untouched("a websocket without a token");
    let mut connection = gate.connect();
    let response = connection.call(upgrade(&format!("Bearer {}", gate.token())));
    assert_eq!(response.status, 101);
    connection.send("ping");
    assert_eq!(connection.until("ping").as_deref(), Some("ping"));
}

#[test]
fn unix_sockets_on_both_sides() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    let (front, back) = (setup.dir.path().join("front"), setup.dir.path().join("back"));
    let listener = UnixListener::bind(&back).unwrap();
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
        while lines.next().is_some_and(|line| !line.is_empty()) {}
        let mut writer = &stream;
        writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nunix").unwrap();
    });
    setup.listen = format!("\"unix:{}\"", front.display());
    setup.url = format!("\"unix:{}\"", back.display());
    let gate = setup.start();
    assert_eq!(gate.addresses().len(), 1);
    let response = Connection::open_unix(&front).call(get_any(&gate));
    assert_eq!(response.body, b"unix");
}

#[test]
fn ipv6_on_both_sides() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else { return };
    let echo = Echo::on(listener, |exchange| exchange.answer("", "six"));
    let mut setup = Setup::new(&echo);
    setup.listen = "[\"127.0.0.1:0\", \"[::1]:0\"]".to_owned();
    let gate = setup.start();
    let six = gate.addresses().iter().find(|address| address.starts_with('[')).unwrap();
    let response = Connection::open(six.parse().unwrap()).call(get_any(&gate));
    assert_eq!(response.body, b"six");
}

#[test]
fn connections_to_the_upstream_are_used_again() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    for _ in 0..10 {
        assert_eq!(gate.send(get_any(&gate)).status, 200);
    }
    assert_eq!(echo.connections(), 1);
}
