//! One address of an upstream: what is precomputed for requests to it, and whether it is fit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::header::{HOST, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Uri, Version};

use super::BuildError;
use super::connect::Dialer;
use super::pool::Pool;
use crate::config::{self, Place};
use crate::proxy::body::RequestBody;
use crate::runtime::clock;
use crate::runtime::dial::Tls;

/// One address of an upstream.
#[derive(Debug)]
pub(super) struct Target {
    prefix: Box<str>,
    scheme: Scheme,
    authority: Authority,
    host: HeaderValue,
    pub(super) pool: Pool,
    pub(super) fitness: Fitness,
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
            pool: Pool::new(dialer, config),
            fitness: Fitness::new(config),
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
        let path = PathAndQuery::from_maybe_shared(bytes)?;
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

/// Whether an address should be used.
#[derive(Debug)]
pub(super) struct Fitness {
    begun: Instant,
    eject_after: u32,
    eject_for: Duration,
    failures: AtomicU32,
    /// Microseconds from `begun`, plus one; zero is never.
    last_failure: AtomicU64,
    ejected_until: AtomicU64,
    /// What the last active check said.
    unfit: AtomicBool,
}

impl Fitness {
    fn new(config: &config::Upstream) -> Self {
        Self {
            begun: clock::instant(),
            eject_after: config.eject_after,
            eject_for: config.eject_for,
            failures: AtomicU32::new(0),
            last_failure: AtomicU64::new(0),
            ejected_until: AtomicU64::new(0),
            unfit: AtomicBool::new(false),
        }
    }

    fn micros(&self, at: Instant) -> u64 {
        let elapsed = at.saturating_duration_since(self.begun).as_micros();
        u64::try_from(elapsed).unwrap_or(u64::MAX).saturating_add(1)
    }

    pub(super) fn is_ejected(&self, now: Instant) -> bool {
        if self.unfit.load(Ordering::Relaxed) {
            return true;
        }
        let until = self.ejected_until.load(Ordering::Relaxed);
        until != 0 && self.micros(now) < until
    }

    pub(super) fn last_failure(&self) -> u64 {
        self.last_failure.load(Ordering::Relaxed)
    }

    pub(super) fn succeeded(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.ejected_until.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn failed(&self, now: Instant) {
        self.last_failure.store(self.micros(now), Ordering::Relaxed);
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if failures >= self.eject_after {
            self.ejected_until.store(self.micros(now + self.eject_for), Ordering::Relaxed);
        }
    }

    /// What an active check found.
    pub(super) fn checked(&self, fit: bool, now: Instant) {
        self.unfit.store(!fit, Ordering::Relaxed);
        if fit {
            self.succeeded();
        } else {
            self.last_failure.store(self.micros(now), Ordering::Relaxed);
        }
    }
}
