//! The API behind the proxies: HTTP/1.1 with keep-alive, answered from memory, so that it is never
//! the slowest part.
//!
//! `upstream PORT`: 200 bytes of JSON for every request; 10 MB for a path that ends in `/big`.
//! It reads no more of a request than its end: a request line, headers, and a body by
//! `Content-Length` or in chunks that arrive whole.

use std::io;
use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const BIG: usize = 10 * 1024 * 1024;
const LONGEST_HEAD: usize = 64 * 1024;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let [port] = opgate_bench_tools::ports()?;
    let (small, big) = (small(), big());
    let (small, big): (&'static [u8], &'static [u8]) = (small.leak(), big.leak());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        stream.set_nodelay(true)?;
        tokio::spawn(async move { drop(answer(stream, small, big).await) });
    }
}

/// A response of about 200 bytes of JSON.
fn small() -> Vec<u8> {
    let body = format!(
        r#"{{"id":"42","status":"shipped","total":{{"amount":"129.90","currency":"EUR"}},"items":[{{"sku":"A-1009","quantity":2}},{{"sku":"B-2231","quantity":1}}],"note":"{}"}}"#,
        "x".repeat(49)
    );
    [head("application/json", body.len()).as_bytes(), body.as_bytes()].concat()
}

fn big() -> Vec<u8> {
    [head("application/octet-stream", BIG).into_bytes(), vec![b'x'; BIG]].concat()
}

fn head(kind: &str, length: usize) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n")
}

/// Answers the requests of one connection until the other side closes it.
async fn answer(mut stream: TcpStream, small: &[u8], big: &[u8]) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(16 * 1024);
    loop {
        let end = loop {
            if let Some(at) = find(&buffer, b"\r\n\r\n") {
                break at + 4;
            }
            if buffer.len() > LONGEST_HEAD || stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let (is_big, body) = {
            let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
            let path = head.split(' ').nth(1).unwrap_or_default();
            (path.ends_with("/big"), Body::of(&head))
        };
        buffer.drain(..end);
        while !body.take(&mut buffer) {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        stream.write_all(if is_big { big } else { small }).await?;
    }
}

/// How a request body ends.
enum Body {
    Chunked,
    Length(usize),
}

impl Body {
    fn of(head: &str) -> Self {
        if head.contains("\r\ntransfer-encoding: chunked") {
            return Self::Chunked;
        }
        let length =
            head.split("\r\ncontent-length:").nth(1).and_then(|rest| rest.split("\r\n").next());
        Self::Length(length.and_then(|text| text.trim().parse().ok()).unwrap_or(0))
    }

    /// Removes the body from the buffer, if it is there to its end.
    fn take(&self, buffer: &mut Vec<u8>) -> bool {
        let end = match *self {
            Self::Chunked => find(buffer, b"0\r\n\r\n").map(|at| at + 5),
            Self::Length(length) => (buffer.len() >= length).then_some(length),
        };
        end.is_some_and(|end| {
            buffer.drain(..end);
            true
        })
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
