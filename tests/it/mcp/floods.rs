//! Servers that send as much as they like, in as many pieces as they like.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use serde_json::json;

use super::{CURRENT, granting, message, post, server, tool};
use crate::support::{Echo, Setup};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Answers every request of a connection with `body`, each octet of it in a frame of its own.
fn drip(mut stream: TcpStream, body: &str) {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).unwrap();
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).unwrap();
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).is_err() {
            return;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).unwrap();
        let (kind, flags) = (head[3], head[4]);
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        if kind == SETTINGS && flags & ACK == 0 {
            stream.write_all(&frame(SETTINGS, ACK, 0, &[])).unwrap();
        }
        if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
            // `:status: 200`, and `content-type` with its value as it stands (RFC 7541).
            let fields = [&[0x88, 0x0f, 0x10, 16][..], b"application/json"].concat();
            let mut answer = frame(HEADERS, END_HEADERS, id, &fields);
            for octet in body.as_bytes() {
                answer.extend(frame(DATA, 0, id, std::slice::from_ref(octet)));
            }
            answer.extend(frame(DATA, END_STREAM, id, &[]));
            stream.write_all(&answer).unwrap();
        }
    }
}

#[test]
fn mcp_019_an_answer_in_very_many_frames_is_no_deeper_than_one_in_few() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("\"http://{}\"", listener.local_addr().unwrap());
    let list = json!({"jsonrpc": "2.0", "id": 7, "result": {"tools": [{"name": "t"}]}});
    let body = format!("{list}{}", " ".repeat(8_000));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let body = body.clone();
            thread::spawn(move || drip(stream, &body));
        }
    });
    let upstream = "http2 = true".to_owned();
    let gate = Setup { url, upstream, ..server(&Echo::start(), "") }.start();
    let token = granting(&gate, &json!([{"action": "t"}]));
    for _ in 0..2 {
        let response = post(&gate, &token, &[CURRENT], &message("tools/list", &json!({})));
        assert_eq!(response.status, 200, "{}\n{}", response.everything(), gate.stderr());
        let outcome = gate.outcome(&response.decision_id());
        assert_eq!(outcome["result"], "success", "{outcome}");
        assert_eq!(response.json(), list);
    }
}

#[test]
fn mcp_019_a_stream_of_empty_events_costs_what_its_octets_do() {
    let echo = Echo::scripted(|exchange| {
        exchange.read_body();
        exchange.answer("Content-Type: text/event-stream\r\n", &"\n".repeat(4 << 20));
    });
    let gate = server(&echo, "").start();
    let token = granting(&gate, &json!([{"action": "t"}]));
    // Copied anew with each event, it would take minutes.
    let response = post(&gate, &token, &[CURRENT], &tool("t", &json!({})));
    assert_eq!((response.status, response.body.len()), (200, 4 << 20));
}
