//! A client that sends exactly the bytes it is given and reads one response at a time.

use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::PATIENCE;

/// A byte stream of any kind.
pub(crate) trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// One connection to the gate.
pub(crate) struct Connection {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

/// A response as it came.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) trailers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the body came to its declared end.
    pub(crate) complete: bool,
}

impl Response {
    /// The only value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(values.len() <= 1, "{name} stands several times: {values:?}");
        values.first().copied()
    }

    /// Every value of a header.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The member `error` of the body.
    pub(crate) fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }

    /// The member `decision_id` of the body of a refusal, or the header of what was forwarded.
    pub(crate) fn decision_id(&self) -> String {
        match self.header("x-opgate-decision-id") {
            Some(id) => id.to_owned(),
            None => self.json()["decision_id"].as_str().expect("a decision has an id").to_owned(),
        }
    }

    /// Everything that the caller was told, as one text.
    pub(crate) fn everything(&self) -> String {
        format!("{:?}\n{}", self.headers, String::from_utf8_lossy(&self.body))
    }
}

/// A request on one line each, with `Host` and, where there is a body, its length.
pub(crate) fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: tools.test\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() {
        text += &format!("Content-Length: {}\r\n", body.len());
    }
    text + "\r\n" + body
}

impl Connection {
    /// Opens a TCP connection.
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self::over(dial(address))
    }

    /// Opens a connection to a Unix socket.
    pub(crate) fn open_unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self::over(stream)
    }

    /// Takes a stream that is open.
    pub(crate) fn over(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), buffer: Vec::new() }
    }

    /// Sends bytes. That the other side has closed shows when the answer is read.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.try_send(bytes);
        self
    }

    /// Sends bytes, and says whether they were taken.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).and_then(|()| self.stream.flush()).is_ok()
    }

    /// Sends and reads the answer.
    pub(crate) fn call(&mut self, bytes: impl AsRef<[u8]>) -> Response {
        self.send(bytes).response()
    }

    /// Reads one response with its body.
    pub(crate) fn response(&mut self) -> Response {
        self.try_response().expect("the gate closed the connection without an answer")
    }

    /// Reads the answer to a `HEAD`.
    pub(crate) fn head(&mut self) -> Response {
        self.read_head().expect("the gate closed the connection without an answer")
    }

    /// Reads one response, or nothing when the connection ends first.
    pub(crate) fn try_response(&mut self) -> Option<Response> {
        let mut response = self.read_head()?;
        if (100..200).contains(&response.status) || matches!(response.status, 204 | 304) {
            return Some(response);
        }
        if response.header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
            response.complete = self.chunked(&mut response).is_some();
        } else if let Some(length) = response.header("content-length") {
            let length: usize = length.parse().unwrap();
            while self.buffer.len() < length && self.fill() {}
            response.complete = self.buffer.len() >= length;
            response.body = self.buffer.drain(..length.min(self.buffer.len())).collect();
        } else {
            while self.fill() {}
            response.body = std::mem::take(&mut self.buffer);
        }
        Some(response)
    }

    /// Reads a head alone; the body stays for [`Self::some`].
    pub(crate) fn read_head(&mut self) -> Option<Response> {
        let end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
            if !self.fill() {
                return None;
            }
        };
        let text = String::from_utf8(self.buffer.drain(..end).collect()).unwrap();
        let mut lines = text.trim_end().split("\r\n");
        let first = lines.next().unwrap_or_default();
        let status = first.split(' ').nth(1).and_then(|s| s.parse().ok());
        let status = status.unwrap_or_else(|| panic!("not a status line: {first}"));
        let headers = lines.map(header_line).collect();
        Some(Response { status, headers, trailers: Vec::new(), body: Vec::new(), complete: true })
    }

    fn chunked(&mut self, response: &mut Response) -> Option<()> {
        loop {
            let line = self.line()?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).unwrap();
            if size == 0 {
                break;
            }
            while self.buffer.len() < size + 2 {
                if !self.fill() {
                    response.body.append(&mut self.buffer);
                    return None;
                }
            }
            response.body.extend(self.buffer.drain(..size));
            self.buffer.drain(..2);
        }
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Some(());
            }
            response.trailers.push(header_line(&line));
        }
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = find(&self.buffer, b"\r\n") {
                let line = self.buffer.drain(..at + 2).take(at).collect();
                return Some(String::from_utf8(line).unwrap());
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// Reads until `needle` has come, and gives everything up to its end.
    pub(crate) fn until(&mut self, needle: &str) -> Option<String> {
        loop {
            if let Some(at) = find(&self.buffer, needle.as_bytes()) {
                let text = self.buffer.drain(..at + needle.len()).collect::<Vec<_>>();
                return Some(String::from_utf8_lossy(&text).into_owned());
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// Whether the other side ends the connection, with anything that is still to be read before.
    pub(crate) fn is_closed(&mut self) -> bool {
        let mut bytes = [0; 4_096];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(e) => return !is_timeout(&e),
            }
        }
    }

    /// Reads more; `false` when the connection has ended or nothing comes in time.
    fn fill(&mut self) -> bool {
        let mut bytes = [0; 16_384];
        match self.stream.read(&mut bytes) {
            Ok(count) => {
                self.buffer.extend_from_slice(&bytes[..count]);
                count > 0
            }
            Err(_) => false,
        }
    }
}

/// A TCP stream whose reads and writes end.
pub(crate) fn dial(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    stream.set_nodelay(true).unwrap();
    bounded(&stream, PATIENCE);
    stream
}

/// Bounds what a stream waits for.
pub(crate) fn bounded(stream: &TcpStream, time: Duration) {
    stream.set_read_timeout(Some(time)).unwrap();
    stream.set_write_timeout(Some(time)).unwrap();
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}

/// Where `needle` begins.
pub(crate) fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

/// Name in lower case, and value.
pub(crate) fn header_line(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("not a header: {line}"));
    (name.to_ascii_lowercase(), value.trim().to_owned())
}
