//! An authorization server's documents over HTTP: each path answers what the test says, and is counted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::echo::Received;
use super::{Echo, Exchange};

/// What is served: an answer for each path.
type Answers = HashMap<String, Box<dyn FnMut(&Received) -> String + Send>>;

/// The server.
pub(crate) struct Served {
    echo: Echo,
    answers: Arc<Mutex<Answers>>,
}

/// A whole response.
pub(crate) fn response(status: u16, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
}

impl Served {
    /// A server without documents.
    pub(crate) fn start() -> Self {
        let answers: Arc<Mutex<Answers>> = Arc::default();
        let shared = Arc::clone(&answers);
        let echo = Echo::scripted(move |exchange: &mut Exchange| {
            exchange.read_body();
            let path = exchange.request.line.split(' ').nth(1).unwrap_or_default().to_owned();
            let answer = shared.lock().unwrap().get_mut(&path).map(|make| make(&exchange.request));
            exchange.send(answer.unwrap_or_else(|| response(404, "", "")));
            exchange.close();
        });
        Self { echo, answers }
    }

    /// Serves what `make` says at `path` from now on.
    pub(crate) fn at(&self, path: &str, make: impl FnMut(&Received) -> String + Send + 'static) {
        self.answers.lock().unwrap().insert(path.to_owned(), Box::new(make));
    }

    /// Serves `body` at `path` from now on.
    pub(crate) fn serve(&self, path: &str, body: impl Into<String>) {
        let body = body.into();
        self.at(path, move |_| response(200, "", &body));
    }

    /// Answers with a failure at `path` from now on.
    pub(crate) fn fail(&self, path: &str) {
        self.at(path, |_| response(500, "", ""));
    }

    /// A URL of the server.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.echo.url())
    }

    /// `host:port`.
    pub(crate) fn authority(&self) -> String {
        self.echo.authority()
    }

    /// What was asked for at `path`.
    pub(crate) fn asked(&self, path: &str) -> Vec<Received> {
        let is_it = |request: &Received| request.line.split(' ').nth(1) == Some(path);
        self.echo.requests().into_iter().filter(is_it).collect()
    }
}
