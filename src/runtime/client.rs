//! A small HTTP client for what the gate itself asks of others: key sets, metadata, status lists,
//! introspection. One connection a call, no redirects, everything bounded.
//!
//! It goes where the operator's configuration says, so an address inside the operator's own network is as
//! good as any other; where a token says where to go, [`Client::send_within`] keeps to the public network.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AGE, CACHE_CONTROL, CONTENT_TYPE, ETAG, HOST, HeaderMap, HeaderValue};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use crate::config::Place;
use crate::runtime::dial::{self, DialError, Reach, Tls, TlsError};

/// Asks over HTTP or HTTPS.
#[derive(Clone, Debug)]
pub struct Client {
    tls: Arc<rustls::ClientConfig>,
}

/// A document, or whatever the server said instead: the status is for the caller to judge.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The status of the response.
    pub status: StatusCode,
    /// The whole body.
    pub body: Bytes,
    /// `max-age` of `Cache-Control` less `Age` (RFC 9111 §4.2); zero where storing is forbidden.
    pub max_age: Option<Duration>,
    /// `ETag`, as sent.
    pub etag: Option<HeaderValue>,
    /// `Content-Type`, as sent.
    pub kind: Option<HeaderValue>,
}

/// Why a document was not obtained.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The connection was not made.
    #[error("the server could not be connected to")]
    Dial(#[from] DialError),
    /// The exchange broke off.
    #[error("the exchange broke off")]
    Http(#[from] hyper::Error),
    /// The document is larger than allowed, or broke off.
    #[error("the document is larger than allowed or incomplete")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It took too long.
    #[error("the document did not arrive in time")]
    Timeout,
    /// The host cannot be checked against a certificate.
    #[error("the server cannot be verified")]
    Tls(#[from] TlsError),
    /// Not an absolute `http` or `https` URL.
    #[error("the address is not an absolute http or https url")]
    Uri,
}

/// A request of the gate's own, with its bounds.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    /// The method.
    pub method: Method,
    /// Where to: an absolute URL, which the operator has configured.
    pub uri: &'a Uri,
    /// Headers beside `Host` and the framing.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The most bytes of the answer's body.
    pub limit: usize,
    /// The longest time for all of it.
    pub timeout: Duration,
}

impl<'a> Ask<'a> {
    /// `GET` of at most `limit` bytes in one of the media types of `accept`.
    pub fn get(uri: &'a Uri, accept: &'static str, limit: usize, timeout: Duration) -> Self {
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
        Self { method: Method::GET, uri, headers, body: Bytes::new(), limit, timeout }
    }
}

impl Client {
    /// A client that trusts the roots in `ca`, or those of the machine, and shows the certificate of
    /// `identity` where there is one.
    pub fn new(ca: Option<&Path>, identity: Option<&(PathBuf, PathBuf)>) -> Result<Self, TlsError> {
        Ok(Self { tls: dial::client_config(ca, identity, false)? })
    }

    /// Sends `ask` and reads the answer, whatever its status. A redirect is an answer like any other.
    pub async fn send(&self, ask: Ask<'_>) -> Result<Fetched, FetchError> {
        self.send_within(Reach::Anywhere, ask).await
    }

    /// The same, to an address within `reach` only.
    pub async fn send_within(&self, reach: Reach, ask: Ask<'_>) -> Result<Fetched, FetchError> {
        let timeout = ask.timeout;
        match tokio::time::timeout(timeout, self.fetch(reach, ask)).await {
            Ok(result) => result,
            Err(_elapsed) => Err(FetchError::Timeout),
        }
    }

    async fn fetch(&self, reach: Reach, ask: Ask<'_>) -> Result<Fetched, FetchError> {
        let uri = ask.uri;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(FetchError::Uri),
        };
        let host = uri.host().ok_or(FetchError::Uri)?;
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let tls = if secure { Some(Tls::new(Arc::clone(&self.tls), host)?) } else { None };
        exchange_within(reach, &Place::Host(host.into(), port), tls.as_ref(), ask).await
    }
}

/// One request and its answer, on a connection of their own to `place`.
pub async fn exchange(
    place: &Place,
    tls: Option<&Tls>,
    ask: Ask<'_>,
) -> Result<Fetched, FetchError> {
    exchange_within(Reach::Anywhere, place, tls, ask).await
}

async fn exchange_within(
    reach: Reach,
    place: &Place,
    tls: Option<&Tls>,
    ask: Ask<'_>,
) -> Result<Fetched, FetchError> {
    let limit = ask.limit;
    let request = request(ask)?;
    let stream = dial::dial_within(reach, place, tls, false).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // The driver is aborted with this call, so that no connection outlives its purpose.
    let mut driver = tokio::task::JoinSet::new();
    driver.spawn(connection);
    let (parts, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, limit).collect().await.map_err(FetchError::Body)?.to_bytes();
    Ok(Fetched {
        status: parts.status,
        body,
        max_age: max_age(&parts.headers),
        etag: parts.headers.get(ETAG).cloned(),
        kind: parts.headers.get(CONTENT_TYPE).cloned(),
    })
}

fn request(ask: Ask<'_>) -> Result<Request<Full<Bytes>>, FetchError> {
    let authority = ask.uri.authority().ok_or(FetchError::Uri)?.as_str();
    // What stands before an `@` is no part of Host (RFC 9110 §7.2).
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = HeaderValue::from_str(host).map_err(|_invalid| FetchError::Uri)?;
    let path = ask.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let request = Request::builder().method(ask.method).uri(path);
    let mut request = request.body(Full::new(ask.body)).map_err(|_invalid| FetchError::Uri)?;
    *request.headers_mut() = ask.headers;
    request.headers_mut().insert(HOST, host);
    Ok(request)
}

fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let mut seconds = None;
    for value in headers.get_all(CACHE_CONTROL) {
        for directive in value.to_str().ok()?.split(',').map(str::trim) {
            let (name, argument) = directive.split_once('=').unwrap_or((directive, ""));
            if name.eq_ignore_ascii_case("no-store") || name.eq_ignore_ascii_case("no-cache") {
                return Some(Duration::ZERO);
            }
            if name.eq_ignore_ascii_case("max-age") {
                seconds = argument.trim_matches('"').parse::<u64>().ok();
            }
        }
    }
    let age = headers.get(AGE).and_then(|age| age.to_str().ok()?.parse().ok()).unwrap_or(0);
    seconds.map(|seconds| Duration::from_secs(seconds.saturating_sub(age)))
}
