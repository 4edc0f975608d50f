//! HTTP/2 by hand (RFC 9113): frames as a test writes them, also those that no library would send.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use super::client::{bounded, dial};
use super::{Gate, PATIENCE};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// `SETTINGS_INITIAL_WINDOW_SIZE`.
pub(crate) const INITIAL_WINDOW: u16 = 4;
/// `SETTINGS_MAX_CONCURRENT_STREAMS`.
pub(crate) const MOST_STREAMS: u16 = 3;

/// What the preface is followed by.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection to the gate.
#[derive(Debug)]
pub(crate) struct Frames(TcpStream);

/// A frame as it came.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// How a stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With a response of this status.
    Status(u16),
    /// With this error code.
    Reset(u32),
    /// With the connection: its error code, where it said one.
    Connection(Option<u32>),
}

impl Frames {
    /// Connects and sends the preface with `settings`.
    pub(crate) fn open(gate: &Gate, settings: &[(u16, u32)]) -> Self {
        let mut frames = Self(dial(gate.address()));
        frames.raw(PREFACE);
        let payload: Vec<u8> = settings
            .iter()
            .flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        frames.send(SETTINGS, 0, 0, &payload);
        frames
    }

    /// Sends bytes; `false` when the gate has gone.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).is_ok()
    }

    /// Sends a frame; `false` when the gate has gone.
    pub(crate) fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        self.raw(&[&head, payload].concat())
    }

    /// Sends a whole head without a body.
    pub(crate) fn get(&mut self, stream: u32, lines: &[(&str, &str)]) -> bool {
        self.send(HEADERS, END_STREAM | END_HEADERS, stream, &block(lines))
    }

    /// The next frame; acknowledges settings and pings on the way.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.0.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let frame = Frame { kind: head[3], flags: head[4], stream, payload };
        if matches!(frame.kind, SETTINGS | PING) && frame.flags & ACK == 0 {
            let answer: &[u8] = if frame.kind == PING { &frame.payload } else { &[] };
            self.send(frame.kind, ACK, 0, answer);
        }
        Some(frame)
    }

    /// Reads until `stream` has a final response, is reset, or the connection ends.
    pub(crate) fn end(&mut self, stream: u32) -> End {
        while let Some(frame) = self.next() {
            match frame.kind {
                HEADERS if frame.stream == stream => return End::Status(status(&frame.payload)),
                RST_STREAM if frame.stream == stream => return End::Reset(code(&frame.payload)),
                GOAWAY if code(&frame.payload[4..]) != 0 => {
                    return End::Connection(Some(code(&frame.payload[4..])));
                }
                _ => {}
            }
        }
        End::Connection(None)
    }

    /// Whether the gate ends the connection within `most`.
    pub(crate) fn closed_within(&mut self, most: Duration) -> bool {
        bounded(&self.0, most);
        let start = std::time::Instant::now();
        while self.next().is_some() {}
        bounded(&self.0, PATIENCE);
        start.elapsed() < most
    }
}

/// A head that the gate serves, with `lines` after it.
pub(crate) fn head<'a>(path: &'a str, lines: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let pseudo =
        [(":method", "GET"), (":scheme", "http"), (":authority", "tools.test"), (":path", path)];
    [&pseudo, lines].concat()
}

/// A header block of literals without indexing (RFC 7541 §6.2.2).
pub(crate) fn block(lines: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in lines {
        block.push(0);
        for text in [name, value] {
            integer(text.len(), &mut block);
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// An integer with a prefix of seven bits (RFC 7541 §5.1).
fn integer(number: usize, into: &mut Vec<u8>) {
    if number < 127 {
        into.push(u8::try_from(number).unwrap());
        return;
    }
    into.push(127);
    let mut rest = number - 127;
    while rest >= 128 {
        into.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    into.push(u8::try_from(rest).unwrap());
}

fn code(payload: &[u8]) -> u32 {
    u32::from_be_bytes(payload[..4].try_into().unwrap())
}

/// The status at the head of a block: one of the static table, or digits, packed (RFC 7541 App. B).
fn status(block: &[u8]) -> u16 {
    match block[0] {
        indexed @ 0x88..=0x8e => [200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)],
        0x48 => {
            let length = usize::from(block[1] & 127);
            let digits = &block[2..2 + length];
            if block[1] & 128 == 0 {
                return std::str::from_utf8(digits).unwrap().parse().unwrap();
            }
            unpacked(digits)
        }
        other => panic!("a block that begins with {other:#x}"),
    }
}

/// Three digits of the Huffman code: 0 to 2 take five bits, the others six.
fn unpacked(bytes: &[u8]) -> u16 {
    let bits = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
    let (mut number, mut digits, mut symbol, mut taken) = (0, 0, 0_u16, 0);
    for bit in bits {
        symbol = symbol << 1 | u16::from(bit);
        taken += 1;
        let digit = match (taken, symbol) {
            (5, 0..=2) => symbol,
            (6, 0x19..=0x1f) => symbol - 0x19 + 3,
            _ => continue,
        };
        (number, digits, symbol, taken) = (number * 10 + digit, digits + 1, 0, 0);
        if digits == 3 {
            break;
        }
    }
    number
}
