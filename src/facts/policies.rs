//! Policies that tokens name, fetched from where their issuer may have them (`policy.md` §6.4).
//!
//! One question for one policy at a time; whoever waits finds the answer of the one before. After a failure
//! nothing is asked for a moment, so that a server in trouble is not asked for each call.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, StatusCode, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use quick_cache::sync::Cache;
use serde_json::json;
use tokio::sync::Mutex;

use super::introspection::SetUpError;
use crate::config::{IssuerConfig, PolicySource};
use crate::model::time::Timestamp;
use crate::policy::library::{Address, Found, Library};
use crate::policy::record::{MAX_SOURCE, Record};
use crate::runtime::client::{Ask, Client, Fetched};
use crate::runtime::clock;
use crate::runtime::dial::Reach;
use crate::token::trust::Profile;

/// How many questions are asked of one issuer's servers at one time.
const LANES: usize = 16;
/// The longest answer, in bytes: the largest text, escaped, and what stands beside it.
const MAX_ANSWER: usize = 2 * MAX_SOURCE;
const TIMEOUT: Duration = Duration::from_secs(2);
/// How long nothing is asked after a failure.
const PAUSE: Duration = Duration::from_secs(1);
/// How many failures are remembered.
const MAX_FAILURES: usize = 1_024;
/// What a segment of a path may hold as it is (RFC 3986 §2.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where one issuer's policies are asked for.
#[derive(Debug)]
pub struct Service {
    source: PolicySource,
    is_reference: bool,
    client: Client,
    authorization: Option<HeaderValue>,
    failures: Cache<Address, Instant>,
    /// Chooses the lane of a policy; keyed, so that nobody can choose names that block others.
    hasher: RandomState,
    lanes: [Mutex<()>; LANES],
}

impl Service {
    /// The service of `issuer`. Its secret is read now.
    pub fn new(
        issuer: &IssuerConfig,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, SetUpError> {
        let source = issuer.policies.clone();
        let authorization = match &source.secret {
            None => None,
            Some(secret) => {
                let secret = secret.read(environment)?;
                let text = [b"Bearer ", &**secret.expose()].concat();
                let mut value =
                    HeaderValue::from_bytes(&text).map_err(|_invalid| SetUpError::Unsendable)?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        Ok(Self {
            is_reference: issuer.trust.profile == Profile::OpenAgentAuth,
            client: Client::new(issuer.ca.as_deref(), None)?,
            authorization,
            failures: Cache::new(MAX_FAILURES),
            hasher: RandomState::new(),
            lanes: Default::default(),
            source,
        })
    }

    /// Asks for the policy at `address`, unless another caller did since `seen`, which is when the answer
    /// was had that the decision found wanting.
    pub async fn ask(&self, address: &Address, seen: Option<Timestamp>, library: &Library) {
        let lane = usize::try_from(self.hasher.hash_one(address) % 16).unwrap_or_default();
        let Some(lane) = self.lanes.get(lane) else { return };
        let _held = lane.lock().await;
        if library.found(address).is_some_and(|found| Some(found.at) != seen) {
            return;
        }
        let failed = self.failures.get(address);
        if failed.is_some_and(|at| clock::instant().saturating_duration_since(at) < PAUSE) {
            return;
        }
        let at = clock::now();
        match self.fetch(address).await {
            Ok(record) => {
                library.keep(address.clone(), Found { at, record: record.map(Arc::new) });
            }
            Err(why) => {
                self.failures.insert(address.clone(), clock::instant());
                let (id, uri) = (address.id.as_deref(), address.uri.as_deref());
                tracing::warn!(id, uri, why, "a policy was not obtained");
            }
        }
    }

    /// The policy, or that there is none of this name. Anything else is no answer; a redirect among it,
    /// since it would lead to where nobody was allowed.
    async fn fetch(&self, address: &Address) -> Result<Option<Record>, &'static str> {
        let unusable = "its address cannot be used";
        let uri = self.target(address).ok_or(unusable)?;
        let origin = origin(&uri).ok_or(unusable)?;
        // What the operator wrote down may lie in the operator's own network. What only a token names may
        // not, whatever its name resolves to.
        let is_written = self.source.written_origins.iter().any(|own| **own == *origin);
        let reach = if is_written { Reach::Anywhere } else { Reach::Public };
        let fetched = self.client.send_within(reach, self.request(address, &uri)).await;
        let fetched = fetched.map_err(|_told_by_its_kind| "the server could not be asked")?;
        match fetched.status {
            StatusCode::OK => Record::read(&fetched.body, is_json(&fetched), address.id.as_deref())
                .map(Some)
                .map_err(|_none| "the answer is not a policy of this name"),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err("the server answered with another status"),
        }
    }

    /// Where to ask: at the address that the token names, else at the registry.
    fn target(&self, address: &Address) -> Option<Uri> {
        if let Some(uri) = &address.uri {
            return uri.parse().ok();
        }
        let endpoint = self.source.endpoint.as_deref()?;
        if self.is_reference {
            return format!("{endpoint}/api/v1/policies/get").parse().ok();
        }
        let encoded = |text: &str| utf8_percent_encode(text, SEGMENT).to_string();
        let id = encoded(address.id.as_deref()?);
        match address.version.as_deref() {
            Some(version) => format!("{endpoint}/{id}?version={}", encoded(version)).parse().ok(),
            None => format!("{endpoint}/{id}").parse().ok(),
        }
    }

    fn request<'a>(&self, address: &Address, uri: &'a Uri) -> Ask<'a> {
        let accept = HeaderValue::from_static("application/json, text/plain");
        let mut headers = HeaderMap::from_iter([(ACCEPT, accept)]);
        headers.extend(self.authorization.clone().map(|value| (AUTHORIZATION, value)));
        let is_question = self.is_reference && address.uri.is_none();
        let (method, body) = if is_question {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            let question = json!({ "policyId": address.id.as_deref().unwrap_or_default() });
            (Method::POST, Bytes::from(question.to_string()))
        } else {
            (Method::GET, Bytes::new())
        };
        Ask { method, uri, headers, body, limit: MAX_ANSWER, timeout: TIMEOUT }
    }
}

fn origin(uri: &Uri) -> Option<String> {
    Some(format!("{}://{}", uri.scheme_str()?, uri.authority()?).to_ascii_lowercase())
}

fn is_json(fetched: &Fetched) -> bool {
    let kind = fetched.kind.as_ref().and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || kind.ends_with("+json")
}
