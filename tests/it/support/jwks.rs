//! The issuer's keys over HTTP: counted, changed and taken away at will.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{Echo, Key};

/// A JWK Set of the public halves of `keys`.
pub(crate) fn set(keys: &[&Key]) -> Value {
    json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() })
}

/// A server of one JWK Set.
#[derive(Debug)]
pub(crate) struct JwksServer {
    echo: Echo,
    document: Arc<Mutex<Value>>,
    fetches: Arc<AtomicUsize>,
    failing: Arc<AtomicBool>,
}

impl JwksServer {
    /// Serves `keys` on every path.
    pub(crate) fn start(keys: &[&Key]) -> Self {
        let document = Arc::new(Mutex::new(set(keys)));
        let fetches = Arc::new(AtomicUsize::new(0));
        let failing = Arc::new(AtomicBool::new(false));
        let (shared, count, fails) =
            (Arc::clone(&document), Arc::clone(&fetches), Arc::clone(&failing));
        let echo = Echo::scripted(move |exchange| {
            count.fetch_add(1, Ordering::SeqCst);
            if fails.load(Ordering::SeqCst) {
                exchange.send("HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n");
            } else {
                let body = shared.lock().unwrap().to_string();
                exchange.answer("Content-Type: application/json\r\n", &body);
            }
        });
        Self { echo, document, fetches, failing }
    }

    /// The line of the configuration that points at it.
    pub(crate) fn line(&self) -> String {
        format!(r#"jwks_uri = "{}/jwks""#, self.echo.url())
    }

    /// Its URL without a path.
    pub(crate) fn url(&self) -> String {
        self.echo.url()
    }

    /// Serves another document.
    pub(crate) fn serve(&self, document: Value) {
        *self.document.lock().unwrap() = document;
    }

    /// How often it was asked.
    pub(crate) fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    /// Whether it answers 500.
    pub(crate) fn fail(&self, failing: bool) {
        self.failing.store(failing, Ordering::SeqCst);
    }

    /// The paths that were asked for.
    pub(crate) fn paths(&self) -> Vec<String> {
        let requests = self.echo.requests();
        requests.iter().filter_map(|r| r.line.split(' ').nth(1).map(str::to_owned)).collect()
    }
}
