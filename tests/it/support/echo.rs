//! An upstream that records every byte which reaches it.

use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::client::{bounded, find, header_line};
use super::{PATIENCE, eventually};

type Script = dyn Fn(&mut Exchange) + Send + Sync;

/// The upstream. Its threads end with the process.
pub(crate) struct Echo {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

impl fmt::Debug for Echo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Echo").field("address", &self.address).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Seen {
    connections: usize,
    bytes: Vec<u8>,
    requests: Vec<Received>,
}

/// A request as the upstream saw it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Received {
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Received {
    /// Every value of a header.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect()
    }

    /// Whether there is such a header.
    pub(crate) fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }
}

/// One request being answered.
pub(crate) struct Exchange {
    pub(crate) request: Received,
    stream: TcpStream,
    buffer: Vec<u8>,
    seen: Arc<Mutex<Seen>>,
    open: bool,
    /// Where the request stands among those seen: noted before it is answered, so that whoever has
    /// the answer finds the request.
    place: Option<usize>,
}

impl Exchange {
    /// Sends bytes; `false` when the gate has gone.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.note();
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    fn note(&mut self) {
        let mut seen = self.seen.lock().unwrap();
        let place = *self.place.get_or_insert(seen.requests.len());
        match seen.requests.get_mut(place) {
            Some(noted) => *noted = self.request.clone(),
            None => seen.requests.push(self.request.clone()),
        }
    }

    /// Ends the connection after this exchange.
    pub(crate) fn close(&mut self) {
        self.open = false;
    }

    /// Whether the gate ends the connection.
    pub(crate) fn is_abandoned(&mut self) -> bool {
        !self.fill()
    }

    /// Reads whatever comes next.
    pub(crate) fn some(&mut self) -> Option<Vec<u8>> {
        (!self.buffer.is_empty() || self.fill()).then(|| std::mem::take(&mut self.buffer))
    }

    /// Answers 200 with `body`.
    pub(crate) fn answer(&mut self, headers: &str, body: &str) {
        let length = body.len();
        self.send(format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {length}\r\n\r\n{body}"));
    }

    /// Reads the body to its end.
    pub(crate) fn read_body(&mut self) {
        let chunked = self.request.all("transfer-encoding") == ["chunked"];
        let length = self.request.all("content-length").first().map(|l| l.parse().unwrap());
        loop {
            let done = if chunked { chunked_end(&self.buffer) } else { length.or(Some(0)) };
            if let Some(end) = done.filter(|end| *end <= self.buffer.len()) {
                self.request.body = self.buffer.drain(..end).collect();
                return;
            }
            if !self.fill() {
                self.open = false;
                return;
            }
        }
    }

    fn fill(&mut self) -> bool {
        let mut bytes = [0; 16_384];
        let Ok(count) = self.stream.read(&mut bytes) else { return false };
        self.buffer.extend_from_slice(&bytes[..count]);
        self.seen.lock().unwrap().bytes.extend_from_slice(&bytes[..count]);
        count > 0
    }

    fn read_head(&mut self) -> Option<()> {
        let end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
            if !self.fill() {
                return None;
            }
        };
        let head: Vec<u8> = self.buffer.drain(..end).collect();
        let text = String::from_utf8(head).unwrap();
        let mut lines = text.trim_end().split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        self.request =
            Received { line, headers: lines.map(header_line).collect(), body: Vec::new() };
        Some(())
    }
}

/// Where a chunked body without trailers or with them ends.
fn chunked_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = find(&bytes[at..], b"\r\n")?;
        let text = std::str::from_utf8(&bytes[at..at + line]).unwrap();
        let size = usize::from_str_radix(text.split(';').next().unwrap_or_default(), 16).unwrap();
        if size == 0 {
            let rest = &bytes[at + line..];
            return find(rest, b"\r\n\r\n").map(|end| at + line + end + 4);
        }
        at += line + 2 + size + 2;
        bytes.get(at..)?;
    }
}

impl Echo {
    /// An upstream that reads each request to its end and answers 200.
    pub(crate) fn start() -> Self {
        Self::scripted(|exchange| {
            exchange.read_body();
            exchange.answer("Content-Type: application/json\r\n", r#"{"from":"upstream"}"#);
        })
    }

    /// An upstream that answers as `script` does; it is called when a head has been read.
    pub(crate) fn scripted(script: impl Fn(&mut Exchange) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self::on(listener, script)
    }

    /// An upstream on a listener of the test's own.
    pub(crate) fn on(
        listener: TcpListener,
        script: impl Fn(&mut Exchange) + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let script: Arc<Script> = Arc::new(script);
        let shared = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                shared.lock().unwrap().connections += 1;
                let (script, seen) = (Arc::clone(&script), Arc::clone(&shared));
                thread::spawn(move || converse(stream, seen, &script));
            }
        });
        Self { address, seen }
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `host:port`.
    pub(crate) fn authority(&self) -> String {
        self.address.to_string()
    }

    /// Every byte that reached it, in order of arrival.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.seen.lock().unwrap().bytes.clone()
    }

    /// How many connections were made to it.
    pub(crate) fn connections(&self) -> usize {
        self.seen.lock().unwrap().connections
    }

    /// Every request whose head arrived and whose script ended.
    pub(crate) fn requests(&self) -> Vec<Received> {
        self.seen.lock().unwrap().requests.clone()
    }

    /// The one request that arrived.
    pub(crate) fn only(&self) -> Received {
        let requests = eventually("a request at the upstream", || {
            Some(self.requests()).filter(|requests| !requests.is_empty())
        });
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests[0].clone()
    }

    /// U0: the upstream received nothing.
    pub(crate) fn assert_untouched(&self, case: &str) {
        let bytes = self.bytes();
        assert!(bytes.is_empty(), "{case}: upstream got {}", String::from_utf8_lossy(&bytes));
    }
}

fn converse(stream: TcpStream, seen: Arc<Mutex<Seen>>, script: &Arc<Script>) {
    bounded(&stream, PATIENCE * 3);
    let request = Received::default();
    let mut exchange =
        Exchange { request, stream, buffer: Vec::new(), seen, open: true, place: None };
    while exchange.open && exchange.read_head().is_some() {
        script(&mut exchange);
        exchange.note();
        exchange.place = None;
    }
}
