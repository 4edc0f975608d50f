//! A small HTTP client for documents that the gate itself needs: key sets and metadata. One
//! connection a call, no redirects, everything bounded.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AGE, CACHE_CONTROL, ETAG, HOST, HeaderMap, HeaderValue};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use crate::config::Place;
use crate::runtime::dial::{self, DialError, Tls, TlsError};

/// Fetches documents with GET.
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

impl Client {
    /// A client that trusts the roots in `ca`, or those of the machine.
    pub fn new(ca: Option<&Path>) -> Result<Self, TlsError> {
        Ok(Self { tls: dial::client_config(ca, None, false)? })
    }

    /// Fetches `uri` within `timeout`, at most `limit` bytes of it.
    pub async fn get(
        &self,
        uri: &Uri,
        accept: &str,
        limit: usize,
        timeout: Duration,
    ) -> Result<Fetched, FetchError> {
        match tokio::time::timeout(timeout, self.fetch(uri, accept, limit)).await {
            Ok(result) => result,
            Err(_elapsed) => Err(FetchError::Timeout),
        }
    }

    async fn fetch(&self, uri: &Uri, accept: &str, limit: usize) -> Result<Fetched, FetchError> {
        let request = request(uri, accept)?;
        let secure = uri.scheme_str() == Some("https");
        let host = uri.host().ok_or(FetchError::Uri)?;
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let tls = if secure { Some(Tls::new(Arc::clone(&self.tls), host)?) } else { None };
        let stream = dial::dial(&Place::Host(host.into(), port), tls.as_ref(), false).await?;
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
        })
    }
}

fn request(uri: &Uri, accept: &str) -> Result<Request<Empty<Bytes>>, FetchError> {
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(FetchError::Uri);
    }
    let authority = uri.authority().ok_or(FetchError::Uri)?.as_str();
    // What stands before an `@` is no part of Host (RFC 9110 §7.2).
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    Request::get(path)
        .header(HOST, host)
        .header(ACCEPT, accept)
        .body(Empty::new())
        .map_err(|_invalid| FetchError::Uri)
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
