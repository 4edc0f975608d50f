//! The admin listener: health, metrics and reload, for operators and their machines. Never on the
//! gate's port.

mod revocations;

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use self::revocations::Desk;
use crate::config::Endpoint;
use crate::runtime::metrics::{CONTENT_TYPE, Metrics};

/// Connections open at one time.
const CONNECTIONS: usize = 64;
/// For a request head, and between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a request body: a token of the greatest size, percent-encoded.
const MAX_BODY: usize = 64 * 1_024;
/// How long accepting rests after a failure.
const REST: Duration = Duration::from_millis(100);

/// A bound admin listener, not yet serving.
#[derive(Debug)]
pub struct Admin(Listener);

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, String),
}

/// Why no traffic should be sent to the gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotReady {
    /// The part that is not ready.
    pub what: String,
    /// Why, for people.
    pub why: String,
}

/// What a reload has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadReport {
    /// The digest of the configuration before.
    pub old: String,
    /// The digest of the one in force now.
    pub new: String,
}

/// A reload under way.
pub type Reloading = Pin<Box<dyn Future<Output = Result<ReloadReport, String>> + Send>>;

/// What the admin listener can ask and do.
pub struct State {
    /// The host, beside addresses and `localhost`, by which it may be called.
    pub host: String,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Says why the gate is not ready; empty when it is.
    pub ready: Box<dyn Fn() -> Vec<NotReady> + Send + Sync>,
    /// Reloads the configuration.
    pub reload: Box<dyn Fn() -> Reloading + Send + Sync>,
    /// Where things are revoked.
    pub desk: Desk,
    /// The digest of the configuration in force.
    pub digest: Box<dyn Fn() -> String + Send + Sync>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "State({})", self.host)
    }
}

impl fmt::Display for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Listener::Tcp(listener) => match listener.local_addr() {
                Ok(address) => address.fmt(f),
                Err(_unnamed) => f.write_str("tcp"),
            },
            Listener::Unix(_, path) => f.write_str(path),
        }
    }
}

impl Admin {
    /// Binds the endpoint.
    pub async fn bind(endpoint: &Endpoint) -> io::Result<Self> {
        match endpoint {
            Endpoint::Tcp(address) => Ok(Self(Listener::Tcp(TcpListener::bind(address).await?))),
            Endpoint::Unix(path) => {
                remove_stale(path)?;
                let listener = UnixListener::bind(path)?;
                // Owner and group, as for the gate's own socket.
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
                Ok(Self(Listener::Unix(listener, format!("unix:{}", path.display()))))
            }
        }
    }

    /// Serves until the future is dropped.
    pub async fn serve(self, state: Arc<State>) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let accepted = match &self.0 {
                Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                    tokio::spawn(converse(stream, Arc::clone(&state), place));
                }),
                Listener::Unix(listener, _) => listener.accept().await.map(|(stream, _)| {
                    tokio::spawn(converse(stream, Arc::clone(&state), place));
                }),
            };
            if let Err(error) = accepted {
                tracing::warn!(%error, "an admin connection could not be accepted");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

/// A socket file that nobody listens on any more is in the way of the next start.
fn remove_stale(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    let is_socket =
        std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if is_socket && std::os::unix::net::UnixStream::connect(path).is_err() {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

async fn converse<IO>(io: IO, state: Arc<State>, place: OwnedSemaphorePermit)
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(|request| {
        let state = Arc::clone(&state);
        async move { Ok::<_, Infallible>(answer(request, &state).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(16 * 1_024);
    if let Err(error) = builder.serve_connection(TokioIo::new(io), service).await {
        tracing::debug!(%error, "an admin connection ended early");
    }
    drop(place);
}

async fn answer(request: Request<Incoming>, state: &State) -> Response<Full<Bytes>> {
    let mut response = if is_foreign(request.headers(), &state.host) {
        text(StatusCode::FORBIDDEN, "this host is not served here\n")
    } else {
        route(request, state).await
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn route(request: Request<Incoming>, state: &State) -> Response<Full<Bytes>> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if !reads && request.headers().contains_key(header::ORIGIN) {
        // A page in a browser must not be able to change anything here, and browsers always say where
        // such a request is from.
        return text(StatusCode::FORBIDDEN, "not from a browser\n");
    }
    if request.uri().path().starts_with("/revo") {
        return revoke(request, state).await;
    }
    match request.uri().path() {
        "/livez" if reads => text(StatusCode::OK, "ok\n"),
        "/readyz" if reads => readiness(&(state.ready)()),
        "/metrics" if reads => metrics(state),
        "/version" if reads => json_response(
            StatusCode::OK,
            &json!({ "version": env!("CARGO_PKG_VERSION"), "config": (state.digest)() }),
        ),
        "/reload" if *request.method() == Method::POST => reload(state).await,
        "/livez" | "/metrics" | "/readyz" | "/version" => not_allowed("GET, HEAD"),
        "/reload" => not_allowed("POST"),
        _ => text(StatusCode::NOT_FOUND, "not found\n"),
    }
}

fn readiness(reasons: &[NotReady]) -> Response<Full<Bytes>> {
    if reasons.is_empty() {
        return json_response(StatusCode::OK, &json!({ "ready": true }));
    }
    let reasons: Vec<_> =
        reasons.iter().map(|reason| json!({ "what": reason.what, "why": reason.why })).collect();
    json_response(StatusCode::SERVICE_UNAVAILABLE, &json!({ "ready": false, "reasons": reasons }))
}

fn metrics(state: &State) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::OK, &state.metrics.render());
    let kind = HeaderValue::from_static(CONTENT_TYPE);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// The revocations: seen, made, lifted, and pushed by an authorization server on this machine.
async fn revoke(request: Request<Incoming>, state: &State) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let reads = matches!(parts.method, Method::GET | Method::HEAD);
    match (path, path.strip_prefix("/revocations/")) {
        ("/revocations", _) if reads => state.desk.list(),
        ("/revocations", _) if parts.method == Method::POST => match whole(body).await {
            Ok(body) => state.desk.revoke(&body).await,
            Err(refusal) => refusal,
        },
        ("/revoke", _) if parts.method == Method::POST => match whole(body).await {
            Ok(body) => state.desk.push(&body).await,
            Err(refusal) => refusal,
        },
        (_, Some(id)) if parts.method == Method::DELETE => state.desk.lift(id).await,
        ("/revocations", _) => not_allowed("GET, HEAD, POST"),
        ("/revoke", _) => not_allowed("POST"),
        (_, Some(_)) => not_allowed("DELETE"),
        _ => text(StatusCode::NOT_FOUND, "not found\n"),
    }
}

/// The body of a request, bounded in size and time.
async fn whole(body: Incoming) -> Result<Bytes, Response<Full<Bytes>>> {
    let read = Limited::new(body, MAX_BODY).collect();
    match tokio::time::timeout(HEAD_TIMEOUT, read).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(_too_large)) => Err(text(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large\n")),
        Err(_elapsed) => {
            Err(text(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time\n"))
        }
    }
}

async fn reload(state: &State) -> Response<Full<Bytes>> {
    match (state.reload)().await {
        Ok(report) => {
            json_response(StatusCode::OK, &json!({ "old": report.old, "new": report.new }))
        }
        Err(problems) => {
            json_response(StatusCode::UNPROCESSABLE_ENTITY, &json!({ "problems": problems }))
        }
    }
}

/// Whether the request names a host that somebody else chose (DNS rebinding).
fn is_foreign(headers: &HeaderMap, own: &str) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else {
        return true;
    };
    let name = without_port(host);
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let is_ours = name.eq_ignore_ascii_case(without_port(own));
    !(address.parse::<IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost") || is_ours)
}

/// The gate and this listener have the same name and different ports.
fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => authority,
    }
}

fn text(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text.to_owned())));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn json_response(status: StatusCode, value: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = text(status, &format!("{value}\n"));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn not_allowed(methods: &'static str) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_somebody_else_chose_is_foreign() {
        for (own, host, foreign) in [
            ("gate.test:8443", "gate.test:9901", false),
            ("gate.test:8443", "GATE.test", false),
            ("gate.test", "gate.test:9901", false),
            ("gate.test", "127.0.0.1:9901", false),
            ("gate.test", "[::1]:9901", false),
            ("gate.test", "localhost", false),
            ("gate.test:8443", "evil.test:8443", true),
            ("gate.test", "gate.test.evil.test", true),
            ("gate.test", "evil.test:gate.test", true),
            ("gate.test", "", true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            assert_eq!(is_foreign(&headers, own), foreign, "{own} {host}");
        }
        assert!(is_foreign(&HeaderMap::new(), "gate.test"));
    }
}
