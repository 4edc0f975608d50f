//! The sample tool API of the demo: a shop that trusts whoever has its key.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// The shop's own credential, which agents never hold.
pub(super) const KEY: &str = "the-shops-own-key";

/// A shop on a free port.
pub(super) struct Shop {
    pub(super) address: SocketAddr,
    calls: Arc<Mutex<Vec<Seen>>>,
}

/// What the shop saw of a call.
#[derive(Clone, Default)]
pub(super) struct Seen {
    pub(super) key: String,
    pub(super) token_seen: bool,
}

impl Shop {
    pub(super) async fn open() -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let calls = Arc::<Mutex<Vec<Seen>>>::default();
        let book = Arc::clone(&calls);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let book = Arc::clone(&book);
                let service = service_fn(move |request| answer(request, Arc::clone(&book)));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Ok(Self { address, calls })
    }

    /// How many calls reached it.
    pub(super) fn calls(&self) -> usize {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The last of them.
    pub(super) fn last(&self) -> Seen {
        self.calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .last()
            .cloned()
            .unwrap_or_default()
    }
}

async fn answer(
    request: Request<Incoming>,
    book: Arc<Mutex<Vec<Seen>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let headers = request.headers();
    let key =
        headers.get("x-shop-key").and_then(|key| key.to_str().ok()).unwrap_or_default().to_owned();
    let token_seen = headers.contains_key(header::AUTHORIZATION);
    let (status, text) = match (request.method(), request.uri().path()) {
        _ if key != KEY => (StatusCode::FORBIDDEN, r#"{"error":"who are you?"}"#),
        (&Method::GET, _) => {
            (StatusCode::OK, r#"{"product":42,"name":"a very good kettle","price":49}"#)
        }
        (&Method::POST, "/orders") => (StatusCode::CREATED, r#"{"order":1,"product":42}"#),
        (&Method::DELETE, _) => (StatusCode::OK, r#"{"order":1,"canceled":true}"#),
        _ => (StatusCode::NOT_FOUND, r#"{"error":"not found"}"#),
    };
    book.lock().unwrap_or_else(PoisonError::into_inner).push(Seen { key, token_seen });
    let body = Limited::new(request.into_body(), 64 * 1_024).collect().await;
    let status = if body.is_ok() { status } else { StatusCode::PAYLOAD_TOO_LARGE };
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    Ok(response)
}
