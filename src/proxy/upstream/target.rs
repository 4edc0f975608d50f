//! One address of an upstream: what is precomputed for requests to it.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Uri, Version};

use super::BuildError;
use super::connect::Dialer;
use super::pool::Pool;
use crate::config::{self, Place};
use crate::proxy::body::RequestBody;
use crate::runtime::dial::Tls;

/// One address of an upstream.
#[derive(Debug)]
pub(super) struct Target {
    prefix: Box<str>,
    scheme: Scheme,
    authority: Authority,
    host: HeaderValue,
    pub(super) pool: Arc<Pool>,
}

impl Target {
    pub(super) fn build(
        target: &config::Target,
        config: &config::Upstream,
        tls: Option<&Arc<rustls::ClientConfig>>,
    ) -> Result<Arc<Self>, BuildError> {
        let host = match &config.host {
            Some(host) => host.to_string(),
            None => authority_of(target),
        };
        let invalid = || BuildError::Host(host.clone().into());
        let tls = match (tls, &target.place) {
            (Some(tls), Place::Host(name, _)) if target.secure => {
                Some(Tls::new(Arc::clone(tls), name)?)
            }
            _ => None,
        };
        let dialer = Dialer {
            place: target.place.clone(),
            tls,
            http2: config.http2,
            timeout: config.connect_timeout,
        };
        Ok(Arc::new(Self {
            prefix: target.prefix.clone(),
            scheme: if target.secure { Scheme::HTTPS } else { Scheme::HTTP },
            authority: host.parse().map_err(|_invalid| invalid())?,
            host: HeaderValue::from_str(&host).map_err(|_invalid| invalid())?,
            pool: Arc::new(Pool::new(dialer, config)),
        }))
    }

    /// Addresses `request` to this target: `path` as it is, below the target's prefix.
    pub(super) fn address(
        &self,
        request: &mut Request<RequestBody>,
        path: &str,
    ) -> Result<(), http::Error> {
        let mut bytes = Vec::with_capacity(1 + self.prefix.len() + path.len());
        bytes.extend_from_slice(self.prefix.as_bytes());
        if self.prefix.is_empty() && !path.starts_with('/') {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(path.as_bytes());
        let path = PathAndQuery::from_maybe_shared(Bytes::from(bytes))?;
        if self.pool.dialer().http2 {
            let mut parts = http::uri::Parts::default();
            parts.scheme = Some(self.scheme.clone());
            parts.authority = Some(self.authority.clone());
            parts.path_and_query = Some(path);
            *request.uri_mut() = Uri::from_parts(parts)?;
            *request.version_mut() = Version::HTTP_2;
            request.headers_mut().remove(HOST);
        } else {
            *request.uri_mut() = Uri::from(path);
            *request.version_mut() = Version::HTTP_11;
            request.headers_mut().insert(HOST, self.host.clone());
        }
        Ok(())
    }
}

/// The port is left out where it is the scheme's own. A socket has no name: `localhost` stands in.
fn authority_of(target: &config::Target) -> String {
    match &target.place {
        Place::Unix(_) => "localhost".to_owned(),
        Place::Host(host, port) => {
            let host = if host.contains(':') && !host.starts_with('[') {
                format!("[{host}]")
            } else {
                host.to_string()
            };
            let usual = if target.secure { 443 } else { 80 };
            if *port == usual { host } else { format!("{host}:{port}") }
        }
    }
}
