//! The binding service of an issuer: which workload an agent's identity is bound to
//! (`verification.md`, interop profile, layer 4).
//!
//! Answers are kept for as long as the decision believes them. One question at a time for one identity,
//! and none for a moment after a failure, so that a service in trouble is not asked for each call.

use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, StatusCode, Uri};
use quick_cache::sync::Cache;
use serde_json::json;
use tokio::sync::Mutex;

use crate::decide::binding::{Answer, Binding};
use crate::runtime::client::{Ask, Client};
use crate::runtime::clock;
use crate::runtime::dial::TlsError;

/// How many answers are kept for one issuer.
const MAX_ANSWERS: usize = 20_000;
/// How many questions are asked of one service at one time.
const LANES: usize = 16;
/// The longest answer, in bytes.
const MAX_ANSWER: usize = 64 * 1_024;
const TIMEOUT: Duration = Duration::from_secs(2);
/// How long nothing is asked after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// The service of one issuer.
#[derive(Debug)]
pub struct Service {
    uri: Uri,
    client: Client,
    answers: Cache<Box<str>, Arc<Answer>>,
    /// Chooses the lane of an identity; keyed, so that nobody can choose identities that block others.
    hasher: RandomState,
    /// Held while a question is asked: whoever waits finds the answer of the one before. When the last
    /// one failed stands in it.
    lanes: [Mutex<Option<Instant>>; LANES],
}

impl Service {
    /// A service at `uri`, reached with the roots in `ca` or those of the machine.
    pub fn new(uri: Uri, ca: Option<&Path>) -> Result<Self, TlsError> {
        Ok(Self {
            uri,
            client: Client::new(ca, None)?,
            answers: Cache::new(MAX_ANSWERS),
            hasher: RandomState::new(),
            lanes: Default::default(),
        })
    }

    /// The newest answer about an identity.
    pub fn known(&self, identity: &str) -> Option<Arc<Answer>> {
        self.answers.get(identity)
    }

    /// Asks about an identity, unless another caller just did.
    pub async fn ask(&self, identity: &str) {
        let lane = usize::try_from(self.hasher.hash_one(identity) % 16).unwrap_or_default();
        let Some(lane) = self.lanes.get(lane) else { return };
        let mut failed = lane.lock().await;
        if self.known(identity).is_some_and(|answer| answer.is_fresh(clock::now(), identity)) {
            return;
        }
        if failed.is_some_and(|at| clock::instant().duration_since(at) < PAUSE) {
            return;
        }
        let at = clock::now();
        match self.fetch(identity).await {
            Ok(binding) => {
                *failed = None;
                let answer = Answer { identity: identity.into(), at, binding };
                self.answers.insert(identity.into(), Arc::new(answer));
            }
            Err(why) => {
                *failed = Some(clock::instant());
                tracing::warn!(service = %self.uri, why, "no answer about a binding");
            }
        }
    }

    /// The binding, or that there is none of this id. Anything else is no answer.
    async fn fetch(&self, identity: &str) -> Result<Option<Binding>, &'static str> {
        let kind = HeaderValue::from_static("application/json");
        let ask = Ask {
            method: Method::POST,
            uri: &self.uri,
            headers: HeaderMap::from_iter([(ACCEPT, kind.clone()), (CONTENT_TYPE, kind)]),
            body: Bytes::from(json!({ "bindingInstanceId": identity }).to_string()),
            limit: MAX_ANSWER,
            timeout: TIMEOUT,
        };
        let fetched =
            self.client.send(ask).await.map_err(|_told_by_its_kind| "it could not be asked")?;
        match fetched.status {
            StatusCode::OK => match Binding::read(&fetched.body, identity) {
                Some(binding) => Ok(Some(binding)),
                None => Err("its answer is not a binding of this id"),
            },
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err("it answered with another status"),
        }
    }
}
