//! The constant rate: requests at even distances, whatever becomes of those before them.
//!
//! `pace PORT HOST PATH TOKENS RATE SECONDS`: 64 connections take turns, each with a thread of its own,
//! so that the requests arrive one by one as from many callers and not in bursts. A latency counts from
//! the moment at which the request was due: a stall of the proxy delays nothing that is not counted
//! (no coordinated omission). Prints one line of JSON.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

const CONNECTIONS: u32 = 64;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, host, path, tokens, rate, seconds] = arguments.as_slice() else {
        return Err(io::Error::other("expected PORT HOST PATH TOKENS RATE SECONDS"));
    };
    let (rate, seconds): (u32, u32) = (number(rate)?, number(seconds)?);
    let port = number(port)?;
    let requests: Vec<Vec<u8>> = std::fs::read_to_string(tokens)?
        .lines()
        .map(|token| {
            format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n\r\n")
                .into_bytes()
        })
        .collect();
    let each = rate * seconds / CONNECTIONS;
    let distance = Duration::from_secs(1) / rate;
    let start = Instant::now() + Duration::from_millis(100);
    let answers: Vec<io::Result<Vec<(u16, Duration)>>> = thread::scope(|scope| {
        let callers: Vec<_> = (0..CONNECTIONS)
            .map(|turn| {
                let requests = &requests;
                scope.spawn(move || -> io::Result<_> {
                    let mut caller = Caller::connect(port)?;
                    (0..each)
                        .map(|n| {
                            let place = n * CONNECTIONS + turn;
                            let due = start + distance * place;
                            thread::sleep(due.saturating_duration_since(Instant::now()));
                            let request = &requests[place as usize % requests.len()];
                            Ok((caller.ask(request)?, due.elapsed()))
                        })
                        .collect()
                })
            })
            .collect();
        callers.into_iter().map(|caller| caller.join().expect("no caller panics")).collect()
    });
    let answers = answers.into_iter().collect::<io::Result<Vec<_>>>()?.concat();
    let mut latencies: Vec<u128> = answers.iter().map(|(_, took)| took.as_micros()).collect();
    latencies.sort_unstable();
    let refused = answers.iter().filter(|(status, _)| *status != 200).count();
    println!(
        r#"{{"requests": {}, "refused": {refused}, "rps": {rate}, "p50_us": {}, "p99_us": {}}}"#,
        latencies.len(),
        latencies[latencies.len() / 2],
        latencies[(latencies.len() - 1) * 99 / 100],
    );
    Ok(())
}

fn number<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    text: &str,
) -> io::Result<T> {
    text.parse().map_err(io::Error::other)
}

/// One connection that is kept.
struct Caller {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Caller {
    fn connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(Self { stream, buffer: vec![0; 64 * 1024] })
    }

    /// Sends a request, reads its whole answer, and gives the status.
    fn ask(&mut self, request: &[u8]) -> io::Result<u16> {
        self.stream.write_all(request)?;
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[filled..])?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            filled += read;
            let got = &self.buffer[..filled];
            let Some(head) = got.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let text = std::str::from_utf8(&got[..head]).map_err(io::Error::other)?;
            if filled >= head + 4 + content_length(text)? {
                return text.get(9..12).unwrap_or_default().parse().map_err(io::Error::other);
            }
        }
    }
}

fn content_length(head: &str) -> io::Result<usize> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(Ok(0), |(_, value)| number(value.trim()))
}
