//! Places for connections: how many there are, and how many of them one source may take.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::config::Limits;
use crate::journal::floods;

/// All places of all listeners. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Places {
    all: usize,
    free: Arc<Semaphore>,
    sources: Arc<Sources>,
}

/// A place that was taken before anybody came to sit on it.
#[derive(Debug)]
pub struct Place(OwnedSemaphorePermit);

/// What a connection holds for as long as it lives, also after it has become a WebSocket.
#[derive(Debug)]
pub struct Visit {
    _place: OwnedSemaphorePermit,
    _source: Source,
}

impl Places {
    /// As many as `limits` say.
    pub fn new(limits: &Limits) -> Self {
        let sources = Sources { most: limits.connections_per_source, open: Mutex::default() };
        Self {
            all: limits.connections,
            free: Arc::new(Semaphore::new(limits.connections)),
            sources: Arc::new(sources),
        }
    }

    /// Waits for a free place.
    pub async fn take(&self) -> Option<Place> {
        Arc::clone(&self.free).acquire_owned().await.ok().map(Place)
    }

    /// Gives `place` to whoever connected from `address`; none when that source has as many as it may.
    pub fn enter(&self, place: Place, address: Option<SocketAddr>) -> Option<Visit> {
        let source = self.sources.enter(address)?;
        Some(Visit { _place: place.0, _source: source })
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.all.saturating_sub(self.free.available_permits())
    }

    /// Waits until none is taken, at most for `deadline`. How many still were then.
    pub async fn emptied(&self, deadline: Duration) -> usize {
        let all = u32::try_from(self.all).unwrap_or(u32::MAX);
        match timeout(deadline, self.free.acquire_many(all)).await {
            Ok(_all) => 0,
            Err(_elapsed) => self.taken(),
        }
    }
}

/// How many connections each source has open. Whoever has an IPv6 network of 64 bits has all of its
/// addresses, so they are one source.
#[derive(Debug)]
struct Sources {
    most: usize,
    /// Guarded for the time of one lookup; never larger than the number of open connections.
    open: Mutex<HashMap<IpAddr, usize>>,
}

#[derive(Debug)]
struct Source(Option<(Arc<Sources>, IpAddr)>);

impl Sources {
    /// Counts a connection in; none when its source has as many as it may.
    fn enter(self: &Arc<Self>, address: Option<SocketAddr>) -> Option<Source> {
        let Some(address) = address else { return Some(Source(None)) };
        let network = floods::network(address.ip());
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(network).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Source(Some((Arc::clone(self), network))))
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let Some((sources, network)) = &self.0 else { return };
        let mut open = sources.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(network) {
            *count -= 1;
            if *count == 0 {
                open.remove(network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_network_is_one_source() {
        let sources = Arc::new(Sources { most: 2, open: Mutex::default() });
        let enter = |text: &str| sources.enter(Some(text.parse().unwrap()));
        let first = enter("[2001:db8::1]:1").unwrap();
        let _second = enter("[2001:db8::ffff:2]:1").unwrap();
        assert!(enter("[2001:db8::3]:1").is_none());
        let _elsewhere = enter("[2001:db8:0:1::3]:1").unwrap();
        let _mapped = enter("[::ffff:192.0.2.1]:1").unwrap();
        let _plain = enter("192.0.2.1:1").unwrap();
        assert!(enter("192.0.2.1:2").is_none());
        drop(first);
        assert!(enter("[2001:db8::3]:1").is_some());
    }
}
