//! HTTP/2 from the caller's side: what no library would send is refused or ends the connection, and
//! nothing of it arrives upstream.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, End, Frames, GOAWAY, HEADERS, INITIAL_WINDOW,
    MOST_STREAMS, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, head,
};
use crate::support::{Echo, Gate, Setup, eventually};

const PATH: &str = "/shop/any/1";
const CANCEL: u32 = 8;
const REFUSED_STREAM: u32 = 7;

fn bearer(gate: &Gate) -> String {
    format!("Bearer {}", gate.token())
}

/// A name, and the lines of a head.
type Case<'a> = (&'static str, Vec<(&'a str, &'a str)>);

/// Heads that are no request, or no request that is served. `token` is a credential that is in order.
#[rustfmt::skip]
fn odd_heads(token: &str) -> Vec<Case<'_>> {
    let auth = ("authorization", token);
    let (get, http) = ((":method", "GET"), (":scheme", "http"));
    let (host, path) = ((":authority", "tools.test"), (":path", PATH));
    vec![
        ("two methods", vec![get, (":method", "POST"), http, host, path, auth]),
        ("two paths", vec![get, http, host, path, (":path", "/shop/orders"), auth]),
        ("two authorities", vec![get, http, host, (":authority", "evil.test"), path, auth]),
        ("a pseudo-header after a header", vec![get, http, host, auth, path]),
        ("an unknown pseudo-header", vec![get, http, host, path, (":method2", "PUT"), auth]),
        ("a pseudo-header of responses", vec![get, http, host, path, (":status", "200"), auth]),
        ("no method", vec![http, host, path, auth]),
        ("no path", vec![get, http, host, auth]),
        ("an empty path", vec![get, http, host, (":path", ""), auth]),
        ("no authority", vec![get, http, path, auth]),
        ("a path without a slash", vec![get, http, host, (":path", "shop/any/1"), auth]),
        ("an asterisk", vec![get, http, host, (":path", "*"), auth]),
        ("an absolute path", vec![get, http, host, (":path", "http://evil.test/shop/any/1"), auth]),
        ("a space in the path", vec![get, http, host, (":path", "/shop/any/1 HTTP/1.1"), auth]),
        ("a line end in the path", vec![get, http, host, (":path", "/shop/any/1\r\nx: y"), auth]),
        ("dot segments", vec![get, http, host, (":path", "/shop/any/../orders"), auth]),
        ("an encoded slash", vec![get, http, host, (":path", "/shop/any%2F1"), auth]),
        ("a user in the authority", vec![get, http, (":authority", "a@tools.test"), path, auth]),
        ("a foreign authority", vec![get, http, (":authority", "evil.test"), path, auth]),
        ("a host that disagrees", vec![get, http, host, path, ("host", "evil.test"), auth]),
        (
            "two hosts",
            vec![get, http, host, path, ("host", "tools.test"), ("host", "evil.test"), auth],
        ),
        ("connection", vec![get, http, host, path, ("connection", "x-a"), auth]),
        ("transfer-encoding", vec![get, http, host, path, ("transfer-encoding", "chunked"), auth]),
        ("upgrade", vec![get, http, host, path, ("upgrade", "websocket"), auth]),
        ("te beyond trailers", vec![get, http, host, path, ("te", "gzip"), auth]),
        ("upper case in a name", vec![get, http, host, path, ("Authorization", token)]),
        ("a space in a name", vec![get, http, host, path, ("x y", "1"), auth]),
        ("a line end in a value", vec![get, http, host, path, ("x-a", "1\r\nx-b: 2"), auth]),
        ("a zero in a value", vec![get, http, host, path, ("x-a", "1\x002"), auth]),
        ("two credentials", vec![get, http, host, path, auth, auth]),
        (
            "a body announced and not sent",
            vec![get, http, host, path, ("content-length", "5"), auth],
        ),
        (
            "two lengths",
            vec![get, http, host, path, ("content-length", "0"), ("content-length", "1"), auth],
        ),
        ("CONNECT", vec![(":method", "CONNECT"), (":authority", "tools.test:443"), auth]),
        (
            "extended CONNECT",
            vec![(":method", "CONNECT"), (":protocol", "websocket"), http, host, path, auth],
        ),
        ("a method in lower case", vec![(":method", "get"), http, host, path, auth]),
    ]
}

#[test]
fn what_is_not_one_request_is_refused_and_never_forwarded() {
    for mode in ["enforce", "observe"] {
        refuses_odd_heads(mode);
    }
}

/// Also where the resource is only observed. What arrives there with two credentials arrives with none.
fn refuses_odd_heads(mode: &str) {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.resource = format!("mode = {mode:?}");
    let gate = setup.start();
    let token = bearer(&gate);
    let auth = ("authorization", token.as_str());
    let odd = odd_heads(&token).into_iter();
    for (name, lines) in odd.filter(|(name, _)| mode == "enforce" || *name != "two credentials") {
        let mut frames = Frames::open(&gate, &[]);
        frames.get(1, &lines);
        let end = frames.end(1);
        let refused = match end {
            End::Status(status) => (400..500).contains(&status) || status == 501,
            End::Reset(_) | End::Connection(_) => true,
        };
        assert!(refused, "{name}: {end:?}");
        let arrived = String::from_utf8(echo.bytes()).unwrap();
        assert!(arrived.is_empty(), "{name}: {arrived}");
    }
    let mut frames = Frames::open(&gate, &[]);
    frames.get(1, &head(PATH, &[auth]));
    assert_eq!(frames.end(1), End::Status(200), "what is right is served after all that");
    assert!(!gate.stderr().contains("panicked"));
}

#[test]
fn a_length_that_lies_never_becomes_a_whole_request() {
    for (announced, sent) in [("5", "abc"), ("2", "abc")] {
        let echo = Echo::start();
        let gate = Setup::new(&echo).start();
        let token = bearer(&gate);
        let mut lines = head(PATH, &[("content-length", announced), ("authorization", &token)]);
        lines[0] = (":method", "POST");
        let mut frames = Frames::open(&gate, &[]);
        frames.send(HEADERS, END_HEADERS, 1, &block(&lines));
        frames.send(DATA, END_STREAM, 1, sent.as_bytes());
        let end = frames.end(1);
        assert!(matches!(end, End::Reset(_) | End::Connection(_) | End::Status(400)), "{end:?}");
        let whole = echo.requests().iter().any(|request| request.body == sent.as_bytes());
        assert!(!whole, "{announced}: {:?}", echo.requests());
    }
}

#[test]
fn trailers_cannot_carry_pseudo_headers_or_what_headers_may_not() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    let token = bearer(&gate);
    let mut lines = head(PATH, &[("authorization", &token)]);
    lines[0] = (":method", "POST");
    let mut frames = Frames::open(&gate, &[]);
    frames.send(HEADERS, END_HEADERS, 1, &block(&lines));
    frames.send(DATA, 0, 1, b"abc");
    let trailers = [("x-opgate-user", "root"), ("authorization", "Bearer stolen"), ("x-sum", "7")];
    frames.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(&trailers));
    assert_eq!(frames.end(1), End::Status(200));
    let arrived = String::from_utf8(echo.bytes()).unwrap().to_ascii_lowercase();
    assert!(!arrived.contains("stolen") && !arrived.contains("root"), "{arrived}");

    let mut frames = Frames::open(&gate, &[]);
    frames.send(HEADERS, END_HEADERS, 1, &block(&lines));
    frames.send(DATA, 0, 1, b"abc");
    frames.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[(":path", "/shop/orders")]));
    // Refused or left out: either way the path stays the one that was judged.
    frames.end(1);
    let arrived = String::from_utf8(echo.bytes()).unwrap();
    assert!(!arrived.contains("/orders"), "{arrived}");
}

#[test]
fn heads_are_bounded_in_bytes_and_lines() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.limits = "header_bytes = \"16KiB\"\nheader_count = 30".to_owned();
    let gate = setup.start();
    let token = bearer(&gate);
    let long = "x".repeat(6_000);
    let large = [("authorization", token.as_str()), ("x-a", &long), ("x-b", &long), ("x-c", &long)];
    let names: Vec<_> = (0..40).map(|n| format!("x-{n}")).collect();
    let mut many: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
    many.push(("authorization", &token));
    for (name, lines) in [("bytes", large.to_vec()), ("lines", many)] {
        let mut frames = Frames::open(&gate, &[]);
        let whole = block(&head(PATH, &lines));
        let (first, rest) = whole.split_at(whole.len().min(16_000));
        let flags = if rest.is_empty() { END_STREAM | END_HEADERS } else { END_STREAM };
        frames.send(HEADERS, flags, 1, first);
        if !rest.is_empty() {
            frames.send(CONTINUATION, END_HEADERS, 1, rest);
        }
        let end = frames.end(1);
        assert!(
            matches!(end, End::Status(431) | End::Reset(_) | End::Connection(_)),
            "{name}: {end:?}"
        );
    }
    echo.assert_untouched("large heads");
}

#[test]
fn a_flood_of_continuations_ends_the_connection() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    let mut frames = Frames::open(&gate, &[]);
    frames.send(HEADERS, END_STREAM, 1, &block(&head(PATH, &[])));
    let piece = block(&[("x-a", &"x".repeat(8_000))]);
    let taken = (0..10_000).take_while(|_| frames.send(CONTINUATION, 0, 1, &piece)).count();
    assert!(taken < 2_000, "{taken} pieces of a head were read");
    assert!(matches!(frames.end(1), End::Connection(_)));
    echo.assert_untouched("a head without end");
}

#[test]
fn a_flood_of_resets_ends_the_connection() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    let token = bearer(&gate);
    let lines = head(PATH, &[("authorization", &token)]);
    let mut frames = Frames::open(&gate, &[]);
    let mut taken = 0;
    for stream in (1..40_000).step_by(2) {
        if !frames.get(stream, &lines) || !frames.send(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())
        {
            break;
        }
        taken += 1;
    }
    assert!(taken < 15_000, "{taken} requests were reset on one connection");
    assert!(matches!(frames.end(1), End::Connection(_)));
    let mut frames = Frames::open(&gate, &[]);
    frames.get(1, &lines);
    assert_eq!(frames.end(1), End::Status(200), "others are served");
    // Whatever was begun has its outcome.
    eventually("an outcome for each decision", || {
        let records = gate.records();
        let count = |kind: &str| records.iter().filter(|record| record["type"] == kind).count();
        (count("decision") == count("outcome")).then_some(())
    });
}

#[test]
fn floods_of_settings_and_of_empty_frames_cost_their_own_connection_alone() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    let token = bearer(&gate);
    let lines = head(PATH, &[("authorization", &token)]);
    for kind in [SETTINGS, 6] {
        let mut frames = Frames::open(&gate, &[]);
        let payload: &[u8] = if kind == SETTINGS { &[] } else { &[0; 8] };
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(500) && frames.send(kind, 0, 0, payload) {}
    }
    let mut frames = Frames::open(&gate, &[]);
    frames.get(1, &lines);
    assert_eq!(frames.end(1), End::Status(200));
}

#[test]
fn streams_of_one_connection_are_bounded() {
    let echo = Echo::scripted(|exchange| {
        thread::sleep(Duration::from_secs(1));
        exchange.answer("", "late");
    });
    let mut setup = Setup::new(&echo);
    setup.limits = "streams = 3".to_owned();
    let gate = setup.start();
    let token = bearer(&gate);
    let lines = head(PATH, &[("authorization", &token)]);
    let mut frames = Frames::open(&gate, &[]);
    let settings = frames.next().unwrap();
    let announced = settings
        .payload
        .chunks(6)
        .any(|setting| setting == [&MOST_STREAMS.to_be_bytes()[..], &3_u32.to_be_bytes()].concat());
    assert!(settings.kind == SETTINGS && announced, "{settings:?}");
    for stream in [1, 3, 5, 7] {
        frames.get(stream, &lines);
    }
    let end = frames.end(7);
    assert!(matches!(end, End::Reset(REFUSED_STREAM) | End::Connection(_)), "{end:?}");
    assert!(echo.connections() <= 3);
}

#[test]
fn a_preface_alone_and_half_a_head_are_not_waited_for() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.limits = "header_timeout = \"500ms\"\nkeep_alive = \"1s\"".to_owned();
    let gate = setup.start();
    let most = Duration::from_secs(6);
    let mut preface = Frames::open(&gate, &[]);
    assert!(preface.closed_within(most), "a caller that asks nothing");
    let mut half = Frames::open(&gate, &[]);
    half.send(HEADERS, END_STREAM, 1, &block(&head(PATH, &[])));
    assert!(half.closed_within(most), "a caller that stays in the middle of a head");
    let token = bearer(&gate);
    let mut idle = Frames::open(&gate, &[]);
    idle.get(1, &head(PATH, &[("authorization", &token)]));
    assert_eq!(idle.end(1), End::Status(200));
    assert!(idle.closed_within(most), "a caller that asks nothing further");
    // A caller that never sends its settings is no caller.
    let mut mute = gate.connect();
    mute.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    let start = Instant::now();
    assert!(mute.is_closed() && start.elapsed() < most);
}

/// The socket is read all the while; only the window of the stream stays shut.
#[test]
fn a_stream_that_is_not_taken_is_reset_and_others_of_its_connection_go_on() {
    let echo = Echo::scripted(|exchange| {
        if exchange.request.line.contains("/any/small") {
            return exchange.answer("", "small");
        }
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let chunk = format!("10000\r\n{}\r\n", "x".repeat(65_536));
        while exchange.send(&chunk) {}
        exchange.request.body = b"gone".to_vec();
        exchange.close();
    });
    let mut setup = Setup::new(&echo);
    setup.limits = "body_idle = \"800ms\"".to_owned();
    let gate = setup.start();
    let token = bearer(&gate);
    let auth = [("authorization", token.as_str())];
    let mut frames = Frames::open(&gate, &[(INITIAL_WINDOW, 100)]);
    let start = Instant::now();
    frames.get(1, &head("/shop/any/large", &auth));
    assert_eq!(frames.end(1), End::Status(200));
    // Takes a little now and then: that is slow, and not stuck.
    for _ in 0..4 {
        thread::sleep(Duration::from_millis(400));
        for window in [0, 1] {
            frames.send(WINDOW_UPDATE, 0, window, &100_000_u32.to_be_bytes());
        }
    }
    // Room for others of the connection, whatever the stream that is stuck has taken.
    frames.send(WINDOW_UPDATE, 0, 0, &1_000_000_u32.to_be_bytes());
    frames.get(3, &head("/shop/any/small", &auth));
    assert_eq!(frames.end(3), End::Status(200));
    assert!(matches!(frames.end(1), End::Reset(_)));
    let took = start.elapsed();
    assert!(took > Duration::from_millis(1_800) && took < Duration::from_secs(8), "{took:?}");
    eventually("the upstream to be let go", || {
        echo.requests().iter().any(|request| request.body == b"gone").then_some(())
    });
    frames.get(5, &head("/shop/any/small", &auth));
    assert_eq!(frames.end(5), End::Status(200), "the connection goes on");
    let aborted = |record: &serde_json::Value| record["result"] == "client_aborted";
    assert!(gate.records().iter().any(aborted));
}

#[test]
fn a_stream_that_its_caller_resets_cancels_the_upstream() {
    let echo = Echo::scripted(|exchange| {
        exchange.request.body = if exchange.is_abandoned() { b"gone".to_vec() } else { Vec::new() };
        exchange.close();
    });
    let gate = Setup::new(&echo).start();
    let token = bearer(&gate);
    let mut frames = Frames::open(&gate, &[]);
    frames.get(1, &head(PATH, &[("authorization", &token)]));
    eventually("the call", || (!echo.bytes().is_empty()).then_some(()));
    frames.send(RST_STREAM, 0, 1, &CANCEL.to_be_bytes());
    eventually("the upstream to be let go", || {
        echo.requests().iter().any(|request| request.body == b"gone").then_some(())
    });
    let id = gate.decisions()[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(gate.outcome(&id)["result"], "client_aborted");
}

#[test]
fn the_drain_tells_http2_callers_and_lets_open_streams_finish() {
    let echo = Echo::scripted(|exchange| {
        thread::sleep(Duration::from_millis(700));
        exchange.answer("", "finished");
    });
    let mut gate = Setup::new(&echo).start();
    let token = bearer(&gate);
    let mut frames = Frames::open(&gate, &[]);
    frames.get(1, &head(PATH, &[("authorization", &token)]));
    eventually("the call", || (!echo.bytes().is_empty()).then_some(()));
    gate.signal("TERM");
    let mut told = false;
    let mut answered = false;
    while let Some(frame) = frames.next() {
        told |= frame.kind == GOAWAY;
        answered |= frame.kind == DATA && frame.payload == b"finished";
    }
    assert!(told && answered, "told: {told}, answered: {answered}");
    assert!(gate.ended().success());
}
