//! What one issuer says of tokens after it has issued them, fetched from where the operator allows:
//! status lists, its feed of revocations, and answers to introspection.
//!
//! One fetch at a time for one fact; whoever waits for it finds the answer of the one before. Nothing is
//! fetched again within a second of a failure, so that a caller cannot make the gate hammer an issuer.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::header::{HeaderValue, IF_NONE_MATCH};
use http::{StatusCode, Uri};
use tokio::sync::Mutex;

use super::introspection::{Introspector, SetUpError};
use crate::config::IssuerConfig;
use crate::decide::facts::{Fed, Listed};
use crate::model::reason::{Denial, Reason};
use crate::runtime::client::{Ask, Client, FetchError};
use crate::runtime::clock;
use crate::token::feed::Feed;
use crate::token::keys::KeySet;
use crate::token::status::StatusList;
use crate::token::verify::Halt;

/// The least time between two attempts after a failure.
const PAUSE: Duration = Duration::from_secs(1);
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a status list token: the largest list, incompressible, in base64url twice over.
const MAX_LIST_TOKEN: usize = 20 * 1_024 * 1_024;
/// Bytes of a feed: some hundred for each of its revocations.
const MAX_FEED: usize = 16 * 1_024 * 1_024;
/// The most lists that are kept of one issuer. Tokens are signed, so the issuer alone can name more.
pub const MAX_LISTS: usize = 64;

/// Why a fact was not had.
#[derive(Debug, thiserror::Error)]
pub enum FactError {
    /// The exchange failed.
    #[error("the server cannot be asked")]
    Fetch(#[from] FetchError),
    /// It was tried a moment ago, or too many are being asked for.
    #[error("it was tried a moment ago")]
    Paused,
    /// The key that it names is not among those at hand.
    #[error("it is signed by an unknown key")]
    KeyUnknown,
    /// It was obtained and says nothing that may be used.
    #[error("the answer cannot be used: {} {}", .0.reason.code(), .0.about.unwrap_or_default())]
    Unusable(Denial),
    /// The server answered with another status than 200.
    #[error("the server answered {0}")]
    Status(StatusCode),
}

impl From<Halt> for FactError {
    fn from(halt: Halt) -> Self {
        match halt {
            Halt::KeyUnknown | Halt::Need(_) => Self::KeyUnknown,
            Halt::Refuse(denial) => Self::Unusable(denial),
        }
    }
}

/// The sources of one issuer.
#[derive(Debug)]
pub struct Liveness {
    config: IssuerConfig,
    client: Client,
    /// When each list was last asked for in vain, guarded for the time of a fetch.
    lists: Mutex<HashMap<Box<str>, Failure>>,
    feed: Mutex<FeedState>,
    introspector: Option<Introspector>,
    failures: AtomicU64,
}

#[derive(Debug, Default)]
struct FeedState {
    failed: Option<Failure>,
    etag: Option<HeaderValue>,
    newest: Option<Arc<Feed>>,
}

/// An attempt that failed, and the keys it failed with: with other keys it is worth another one.
#[derive(Debug)]
struct Failure {
    at: Instant,
    keys: Option<Arc<KeySet>>,
}

impl Failure {
    fn now(keys: Option<&Arc<KeySet>>) -> Self {
        Self { at: clock::instant(), keys: keys.cloned() }
    }

    fn is_fresh(&self) -> bool {
        clock::instant().saturating_duration_since(self.at) < PAUSE
    }

    fn forbids(&self, keys: Option<&Arc<KeySet>>) -> bool {
        let is_same = match (&self.keys, keys) {
            (Some(own), Some(keys)) => Arc::ptr_eq(own, keys),
            (None, None) => true,
            _ => false,
        };
        is_same && self.is_fresh()
    }
}

impl Liveness {
    /// The sources as configured. Nothing is asked yet.
    pub fn new(
        config: &IssuerConfig,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, SetUpError> {
        let introspection = config.liveness.introspection.as_ref();
        let introspector = introspection
            .map(|introspection| Introspector::new(introspection, config, environment))
            .transpose()?;
        Ok(Self {
            client: Client::new(config.ca.as_deref(), None)?,
            config: config.clone(),
            lists: Mutex::default(),
            feed: Mutex::default(),
            introspector,
            failures: AtomicU64::new(0),
        })
    }

    /// The configuration of the issuer.
    pub const fn config(&self) -> &IssuerConfig {
        &self.config
    }

    /// Where it is asked of tokens.
    pub const fn introspector(&self) -> Option<&Introspector> {
        self.introspector.as_ref()
    }

    /// How many fetches have failed.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Fetches and verifies the status list at `uri`, unless `known` says that somebody just did.
    pub async fn list(
        &self,
        uri: &str,
        keys: Option<Arc<KeySet>>,
        known: impl Fn() -> Option<Listed>,
    ) -> Result<Listed, FactError> {
        let mut failed = self.lists.lock().await;
        if let Some(listed) = known() {
            return Ok(listed);
        }
        if failed.get(uri).is_some_and(|failure| failure.forbids(keys.as_ref())) {
            return Err(FactError::Paused);
        }
        let failure = Failure::now(keys.as_ref());
        let listed = self.fetch_list(uri, keys).await;
        if let Err(error) = &listed {
            self.complain("a status list was not obtained", error);
            failed.retain(|_, failure| failure.is_fresh());
            failed.insert(uri.into(), failure);
        }
        listed
    }

    async fn fetch_list(&self, uri: &str, keys: Option<Arc<KeySet>>) -> Result<Listed, FactError> {
        let address: Uri = uri.parse().map_err(|_invalid| FetchError::Uri)?;
        let keys = keys.ok_or(FactError::KeyUnknown)?;
        let fetched = clock::now();
        let accept = "application/statuslist+jwt";
        let ask = Ask::get(&address, accept, MAX_LIST_TOKEN, FETCH_TIMEOUT);
        let answer = self.client.send(ask).await?;
        if answer.status != StatusCode::OK {
            return Err(FactError::Status(answer.status));
        }
        let (issuer, uri) = (Arc::clone(&self.config.trust), uri.to_owned());
        // Inflating megabytes must not keep other calls waiting.
        let reading = tokio::task::spawn_blocking(move || {
            let text = String::from_utf8_lossy(&answer.body);
            StatusList::read(text.trim_ascii(), &uri, &issuer, &keys, fetched)
        });
        let list = reading.await.map_err(|_ending| FactError::Paused)??;
        let until = list.usable_until(fetched, self.config.liveness.status_max_age);
        Ok(Listed { list: Arc::new(list), fetched, until })
    }

    /// Polls the feed, unless `known` says that somebody just did. An unchanged one is confirmed.
    pub async fn poll(
        &self,
        keys: Option<Arc<KeySet>>,
        known: impl Fn() -> Option<Fed>,
    ) -> Result<Fed, FactError> {
        let mut state = self.feed.lock().await;
        if let Some(fed) = known() {
            return Ok(fed);
        }
        if state.failed.as_ref().is_some_and(|failure| failure.forbids(keys.as_ref())) {
            return Err(FactError::Paused);
        }
        let failure = Failure::now(keys.as_ref());
        let polled = self.fetch_feed(&mut state, keys).await;
        match &polled {
            Ok(_) => state.failed = None,
            Err(error) => {
                self.complain("the feed of revocations was not obtained", error);
                state.failed = Some(failure);
            }
        }
        polled
    }

    async fn fetch_feed(
        &self,
        state: &mut FeedState,
        keys: Option<Arc<KeySet>>,
    ) -> Result<Fed, FactError> {
        let Some(feed) = &self.config.liveness.feed else { return Err(FactError::Paused) };
        let confirmed = clock::now();
        let accept = "application/json, application/jwt";
        let mut ask = Ask::get(&feed.uri, accept, MAX_FEED, FETCH_TIMEOUT);
        let held = state.newest.clone().filter(|feed| feed.is_signed_by(keys.as_ref()));
        if let (Some(etag), Some(_)) = (&state.etag, &held) {
            ask.headers.extend([(IF_NONE_MATCH, etag.clone())]);
        }
        let answer = self.client.send(ask).await?;
        if let (StatusCode::NOT_MODIFIED, Some(feed)) = (answer.status, held) {
            return Ok(Fed { feed, confirmed });
        }
        if answer.status != StatusCode::OK {
            return Err(FactError::Status(answer.status));
        }
        let read = Feed::read(&answer.body, &self.config.trust, keys.as_ref(), confirmed)?;
        // An older document in place of a newer one would take revocations back.
        if state.newest.as_ref().is_some_and(|newest| read.is_older_than(newest)) {
            let denial = Denial::about(Reason::RevocationsStale, "iat");
            return Err(FactError::Unusable(denial));
        }
        let feed = Arc::new(read);
        state.newest = Some(Arc::clone(&feed));
        state.etag = answer.etag;
        Ok(Fed { feed, confirmed })
    }

    /// Says why something was not obtained, and counts it.
    pub fn complain(&self, what: &str, error: &FactError) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let issuer = &*self.config.trust.id;
        let cause = std::error::Error::source(error).map(ToString::to_string);
        tracing::warn!(issuer, %error, cause, "{what}");
    }
}
