//! The process: reload, TLS, limits, drain, and the admin listener.

use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;

use crate::support::client::{bounded, dial};
use crate::support::tls::Authority;
use crate::support::{Connection, Echo, Gate, Setup, eventually, request};

fn call(gate: &Gate, method: &str, path: &str, body: &str) -> String {
    request(method, path, &[("Authorization", &format!("Bearer {}", gate.token()))], body)
}

fn with_tls(setup: &mut Setup) -> Authority {
    let authority = Authority::new();
    authority.issue(&["tools.test"], setup.dir.path(), "tls");
    setup.gate = r#"tls = { certificate = "tls.crt", key = "tls.key" }"#.to_owned();
    authority
}

#[test]
fn reload_adds_an_operation_on_sighup_and_on_file_change() {
    let echo = Echo::start();
    let mut gate = Setup::new(&echo).start();
    for (path, by_signal) in [("/new/1", true), ("/new/2", false)] {
        let target = format!("/shop{path}");
        assert_eq!(gate.send(call(&gate, "GET", &target, "")).status, 404);
        gate.rewrite(|setup| {
            setup.operations += &format!(
                "[[resource.operation]]\naction = \"anything\"\nmethod = \"GET\"\npath = \"{path}\"\n"
            );
        });
        if by_signal {
            gate.signal("HUP");
        }
        eventually("the new operation", || {
            (gate.send(call(&gate, "GET", &target, "")).status == 200).then_some(())
        });
    }
    assert!(gate.records().iter().any(|record| record["type"] == "config"));
}

#[test]
fn a_broken_configuration_changes_nothing_and_says_so() {
    let echo = Echo::start();
    let mut gate = Setup::new(&echo).start();
    gate.rewrite(|setup| setup.resource = "modee = \"enforce\"".to_owned());
    gate.signal("HUP");
    eventually("the complaint", || gate.stderr().contains("modee").then_some(()));
    assert_eq!(gate.send(call(&gate, "GET", "/shop/any/1", "")).status, 200);
    let metrics = |gate: &Gate| String::from_utf8(gate.admin("GET", "/metrics").body).unwrap();
    eventually("the metric", || {
        metrics(&gate).contains("opgate_config_last_reload_successful 0").then_some(())
    });
    assert!(metrics(&gate).contains("opgate_reloads_total{result=\"failed\"} "));
    assert!(!metrics(&gate).contains("opgate_reloads_total{result=\"done\"} "));
    gate.rewrite(|setup| setup.resource = String::new());
    gate.signal("HUP");
    eventually("the new configuration", || {
        metrics(&gate).contains("opgate_config_last_reload_successful 1").then_some(())
    });
    assert!(metrics(&gate).contains("opgate_config_last_reload_success_timestamp_seconds 1"));
    assert!(metrics(&gate).contains("opgate_reloads_total{result=\"done\"} "));
}

#[test]
fn ver_032_other_authorization_servers_than_issuers_are_a_load_error() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.resource = r#"authorization_servers = ["https://other.test"]"#.to_owned();
    let mut gate = setup.spawn();
    assert_eq!(gate.ended().code(), Some(2));
    assert!(gate.stderr().contains("authorization_servers"), "{}", gate.stderr());
}

#[test]
fn tls_serves_and_takes_a_new_certificate() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    let authority = with_tls(&mut setup);
    let gate = setup.start();
    let (mut connection, first) = authority.connect(&gate, "tools.test");
    assert_eq!(connection.call(call(&gate, "GET", "/shop/any/1", "")).status, 200);
    authority.issue(&["tools.test"], gate.setup.dir.path(), "tls");
    gate.signal("HUP");
    eventually("the new certificate", || {
        (authority.connect(&gate, "tools.test").1 != first).then_some(())
    });
    assert_eq!(connection.call(call(&gate, "GET", "/shop/any/1", "")).status, 200);
    assert!(Authority::new().try_connect(gate.address(), "tools.test").is_none());
}

#[test]
fn tls_name_and_authority_agree() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    let authority = with_tls(&mut setup);
    authority.issue(&["tools.test", "other.test"], setup.dir.path(), "tls");
    setup.gate += "\nhosts = [\"other.test\"]";
    let gate = setup.start();
    let (mut connection, _) = authority.connect(&gate, "other.test");
    assert_eq!(connection.call(call(&gate, "GET", "/shop/any/1", "")).status, 421);
    echo.assert_untouched("another name");
}

#[test]
fn http2_by_alpn_and_by_prior_knowledge() {
    for tls in [false, true] {
        let echo = Echo::start();
        let mut setup = Setup::new(&echo);
        let authority = with_tls(&mut setup);
        if !tls {
            setup.gate = String::new();
        }
        let gate = setup.start();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let status = runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(gate.address()).await.unwrap();
            if !tls {
                return over_http2(stream, &gate).await;
            }
            let connector = tokio_rustls::TlsConnector::from(authority.client(&["h2"]));
            let name = ServerName::try_from("tools.test").unwrap();
            let stream = connector.connect(name, stream).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            over_http2(stream, &gate).await
        });
        assert_eq!(status, 200);
        let arrived = echo.only();
        assert_eq!(arrived.line, "GET /any/1?a=%2F HTTP/1.1");
        assert!(!arrived.has("authorization"));
    }
}

async fn over_http2<S>(stream: S, gate: &Gate) -> u16
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(stream);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get("https://tools.test/shop/any/1?a=%2F")
        .header("authorization", format!("Bearer {}", gate.token()))
        .body(Empty::<Bytes>::new())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status().as_u16();
    response.into_body().collect().await.unwrap();
    status
}

#[test]
fn limits_on_headers_and_bodies_hold() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.resource = "body_limit = 100".to_owned();
    setup.limits = "header_count = 20".to_owned();
    let gate = setup.start();
    let long = "x".repeat(40_000);
    let many: Vec<String> = (0..30).map(|n| format!("x-{n}")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "1")).collect();
    assert_eq!(gate.send(request("GET", "/shop/any/1", &[("X-Long", &long)], "")).status, 431);
    assert_eq!(gate.send(request("GET", "/shop/any/1", &many, "")).status, 431);
    let body = "b".repeat(101);
    let response = gate.send(call(&gate, "POST", "/shop/any/1", &body));
    assert_eq!(response.status, 413);
    assert_eq!(gate.decision(&response.decision_id())["reason"], "body_too_large");
    echo.assert_untouched("limits");
    assert_eq!(gate.send(call(&gate, "POST", "/shop/any/1", &body[1..])).status, 200);
}

#[test]
fn a_chunked_body_over_the_limit_never_arrives_whole() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.resource = "body_limit = 100".to_owned();
    let gate = setup.start();
    let bearer = format!("Bearer {}", gate.token());
    let lines = [("Authorization", bearer.as_str()), ("Transfer-Encoding", "chunked")];
    let chunk = format!("40\r\n{}\r\n", "c".repeat(64));
    let text = request("POST", "/shop/any/1", &lines, "") + &chunk.repeat(4) + "0\r\n\r\n";
    assert_eq!(gate.send(text).status, 413);
    assert!(!echo.bytes().ends_with(b"0\r\n\r\n"));
}

#[test]
fn slow_heads_and_slow_bodies_are_cut() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.limits = "header_timeout = \"500ms\"\nbody_idle = \"500ms\"".to_owned();
    let gate = setup.start();
    let start = Instant::now();
    let mut silent = gate.connect();
    let mut drip = gate.connect();
    drip.send("GET /shop/any/1 HTTP/1.1\r\n");
    for _ in 0..20 {
        thread::sleep(Duration::from_millis(50));
        drip.send("X-A: 1\r\n");
    }
    if let Some(response) = drip.try_response() {
        assert_eq!(response.status, 408);
    }
    assert!(silent.is_closed());
    let bearer = format!("Bearer {}", gate.token());
    let lines = [("Authorization", bearer.as_str()), ("Content-Length", "10")];
    let response = gate.send(request("POST", "/shop/any/1", &lines, "") + "abc");
    assert_eq!(response.status, 408);
    assert!(start.elapsed() < Duration::from_secs(8));
}

#[test]
fn one_source_cannot_take_every_connection() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.limits = "connections_per_source = 4".to_owned();
    let gate = setup.start();
    let mut held: Vec<Connection> = (0..4).map(|_| gate.connect()).collect();
    for connection in &mut held {
        assert_eq!(connection.call(call(&gate, "GET", "/shop/any/1", "")).status, 200);
    }
    let stream = dial(gate.address());
    bounded(&stream, Duration::from_millis(500));
    let mut fifth = Connection::over(stream);
    fifth.send(call(&gate, "GET", "/shop/any/1", ""));
    let answer = fifth.try_response().map(|response| response.status);
    assert!(matches!(answer, None | Some(429 | 503)), "{answer:?}");
    drop(held);
    eventually("a free place", || {
        let answer = gate.connect().send(call(&gate, "GET", "/shop/any/1", "")).try_response();
        answer.filter(|response| response.status == 200).map(drop)
    });
}

#[test]
fn sigterm_lets_an_open_call_finish_and_takes_no_new_one() {
    let echo = Echo::scripted(|exchange| {
        thread::sleep(Duration::from_millis(800));
        exchange.answer("", "finished");
    });
    let mut gate = Setup::new(&echo).start();
    let mut open = gate.connect();
    open.send(call(&gate, "GET", "/shop/any/1", ""));
    eventually("the call upstream", || (!echo.bytes().is_empty()).then_some(()));
    gate.signal("TERM");
    assert_eq!(open.response().body, b"finished");
    assert!(gate.ended().success());
    assert!(std::net::TcpStream::connect(gate.address()).is_err());
    assert_eq!(gate.records().last().unwrap()["type"], "stop");
}

#[test]
fn the_admin_listener_tells_health_and_figures_and_the_gate_does_not() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    assert_eq!(gate.admin("GET", "/livez").status, 200);
    assert_eq!(gate.admin("GET", "/readyz").status, 200);
    assert_eq!(gate.admin("GET", "/none").status, 404);
    assert_eq!(gate.get("/shop/orders/1", &gate.token()).status, 403);
    let metrics = String::from_utf8(gate.admin("GET", "/metrics").body).unwrap();
    assert!(metrics.contains("no_applicable_grant"), "{metrics}");
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(gate.send(call(&gate, "GET", path, "")).status, 404);
    }
}

#[test]
fn the_admin_listener_answers_to_its_own_names_alone() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    for (host, status) in [("tools.test:9901", 200), ("[::1]", 200), ("evil.test", 403)] {
        let lines = format!("Host: {host}\r\n");
        assert_eq!(gate.admin_with("GET", "/livez", &lines).status, status, "{host}");
    }
}

#[test]
fn the_admin_listener_reloads_and_tells_what_runs() {
    let echo = Echo::start();
    let mut gate = Setup::new(&echo).start();
    let running = |gate: &Gate| -> serde_json::Value {
        serde_json::from_slice(&gate.admin("GET", "/version").body).unwrap()
    };
    let before = running(&gate);
    for (method, path) in [("GET", "/reload"), ("POST", "/version"), ("DELETE", "/livez")] {
        assert_eq!(gate.admin(method, path).status, 405, "{method} {path}");
    }
    // A page in the operator's browser can send this, and must not have it done.
    let from_page = "Host: localhost\r\nOrigin: https://evil.test\r\n";
    assert_eq!(gate.admin_with("POST", "/reload", from_page).status, 403);
    gate.rewrite(|setup| setup.resource = "modee = \"enforce\"".to_owned());
    let refused = gate.admin("POST", "/reload");
    assert_eq!(refused.status, 422);
    assert!(String::from_utf8(refused.body).unwrap().contains("modee"));
    assert_eq!(running(&gate), before);
    gate.rewrite(|setup| setup.resource = "mode = \"observe\"".to_owned());
    assert_eq!(gate.admin("POST", "/reload").status, 200);
    assert_ne!(running(&gate)["config"], before["config"]);
}

#[test]
fn ver_031_garbage_never_ends_the_process() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..300 {
        let bytes: Vec<u8> = (0..round)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()[0]
            })
            .collect();
        let stream = dial(gate.address());
        stream.shutdown(std::net::Shutdown::Read).ok();
        let mut connection = Connection::over(stream);
        connection.send(if round % 2 == 0 { "GET /shop/any/" } else { "" }).send(&bytes);
        let text = String::from_utf8_lossy(&bytes).replace(['\r', '\n', '\0'], "");
        let status = gate.get("/shop/any/1", &text).status;
        assert!(matches!(status, 400 | 401), "{status}");
    }
    echo.assert_untouched("garbage");
    assert_eq!(gate.send(call(&gate, "GET", "/shop/any/1", "")).status, 200);
    assert!(!gate.stderr().contains("panicked"));
}
