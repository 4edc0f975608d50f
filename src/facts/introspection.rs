//! Asking an issuer whether a token is active (RFC 7662): as a client that it knows, one question for
//! each token at a time, and no more at once than [`MAX_AT_ONCE`].

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use quick_cache::sync::Cache;
use serde_json::{Value, json};
use tokio::sync::{OnceCell, Semaphore};
use uuid::Uuid;

use super::liveness::FactError;
use crate::config::secret::{Secret, SecretError};
use crate::config::{ClientAuthentication, IntrospectionConfig, IssuerConfig};
use crate::model::presented::Presented;
use crate::model::time::Timestamp;
use crate::runtime::client::{Ask, Client};
use crate::runtime::clock;
use crate::runtime::dial::TlsError;
use crate::token::introspection::{Answer, Introspected};
use crate::token::keys::KeySet;
use crate::token::trust::Issuer;

/// Questions asked of one issuer at one time; more wait, as long as a question may take.
pub const MAX_AT_ONCE: usize = 64;
/// How long a refusal is taken without asking again: a flood of one bad token costs little, and a token
/// that becomes active soon works soon.
pub const NEGATIVE: Duration = Duration::from_secs(5);
/// Answers kept of one issuer.
const KEPT: usize = 10_000;
const TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of an answer: a payload of the greatest size, signed.
const MAX_ANSWER: usize = 128 * 1_024;
/// How long the assertion of the gate as a client is good.
const ASSERTION: Duration = Duration::from_mins(1);
/// What `application/x-www-form-urlencoded` leaves as it is, less the space.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'*');

/// Why an issuer cannot be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    /// The key does not sign.
    #[error("`{0}` is not a private key for ES256, EdDSA or RS256 in PEM")]
    Key(Box<str>),
    /// The secret cannot be read.
    #[error("the secret cannot be read")]
    Secret(#[from] SecretError),
    /// The secret cannot stand in a header.
    #[error("the secret has characters that no header can carry")]
    Unsendable,
    /// The pinned policies cannot be read.
    #[error("the pinned policies cannot be read")]
    Pins(#[from] super::pins::PinsError),
    /// What is known of tools cannot be read.
    #[error("what MCP servers have said of their tools cannot be read")]
    Tools(#[source] std::io::Error),
    /// The certificates cannot be used.
    #[error("the certificates cannot be used")]
    Tls(#[from] TlsError),
}

/// Asks one issuer.
pub struct Introspector {
    config: IntrospectionConfig,
    issuer: Arc<Issuer>,
    client: Client,
    authentication: Authentication,
    /// By the SHA-256 of the token; bounded.
    answers: Cache<[u8; 32], Arc<Introspected>>,
    /// Questions under way. An entry lives as long as somebody waits for it.
    asking: Mutex<HashMap<[u8; 32], Arc<Question>>>,
    places: Semaphore,
    active: AtomicU64,
    inactive: AtomicU64,
}

/// One question, and everybody who waits for its answer.
#[derive(Debug, Default)]
struct Question {
    answer: OnceCell<Arc<Introspected>>,
    /// Whoever still waits gives up too: one failure after the other could take minutes.
    failed: AtomicBool,
}

enum Authentication {
    Basic(Secret<HeaderValue>),
    Certificate,
    PrivateKey(Box<(EncodingKey, Header)>),
}

impl std::fmt::Debug for Introspector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Introspector({})", self.config.endpoint)
    }
}

impl Introspector {
    /// Reads what the gate shows of itself.
    pub fn new(
        config: &IntrospectionConfig,
        issuer: &IssuerConfig,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, SetUpError> {
        let mut identity = None;
        let authentication = match &config.authentication {
            ClientAuthentication::Certificate(certificate, key) => {
                identity = Some((certificate.clone(), key.clone()));
                Authentication::Certificate
            }
            ClientAuthentication::PrivateKey { path, key_id } => {
                let pem = std::fs::read(path).map_err(SecretError::File)?;
                let (key, algorithm) = private_key(&pem)
                    .ok_or_else(|| SetUpError::Key(path.to_string_lossy().into()))?;
                let mut header = Header::new(algorithm);
                header.kid = key_id.as_deref().map(str::to_owned);
                Authentication::PrivateKey(Box::new((key, header)))
            }
            ClientAuthentication::Secret(reference) => {
                Authentication::Basic(basic(&config.client_id, &reference.read(environment)?)?)
            }
        };
        Ok(Self {
            client: Client::new(issuer.ca.as_deref(), identity.as_ref())?,
            issuer: Arc::clone(&issuer.trust),
            config: config.clone(),
            authentication,
            answers: Cache::new(KEPT),
            asking: Mutex::default(),
            places: Semaphore::new(MAX_AT_ONCE),
            active: AtomicU64::new(0),
            inactive: AtomicU64::new(0),
        })
    }

    /// What is known of the token with this hash.
    pub fn known(&self, digest: &[u8; 32]) -> Option<Arc<Introspected>> {
        self.answers.get(digest)
    }

    /// How often it answered that a token is active, and that it is not.
    pub fn counts(&self) -> (u64, u64) {
        (self.active.load(Ordering::Relaxed), self.inactive.load(Ordering::Relaxed))
    }

    /// Asks of a token, unless another call does or just did: what it heard is `enough`.
    pub async fn ask(
        &self,
        token: Presented<'_>,
        digest: [u8; 32],
        keys: Option<Arc<KeySet>>,
        enough: impl Fn(&Introspected) -> bool,
    ) -> Result<(), FactError> {
        if self.known(&digest).is_some_and(|answer| enough(&answer)) {
            return Ok(());
        }
        let question = self.question(digest, enough);
        let asked = question.answer.get_or_try_init(|| async {
            if question.failed.load(Ordering::Acquire) {
                return Err(FactError::Paused);
            }
            let answer = self.answer(token, digest, keys).await;
            question.failed.store(answer.is_err(), Ordering::Release);
            answer
        });
        let answered = asked.await.map(drop);
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        if asking.get(&digest).is_some_and(|open| Arc::ptr_eq(open, &question)) {
            asking.remove(&digest);
        }
        answered
    }

    /// The question under way, if its answer is not there yet or is `enough`.
    fn question(&self, digest: [u8; 32], enough: impl Fn(&Introspected) -> bool) -> Arc<Question> {
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        let is_old = |open: &Arc<Question>| open.answer.get().is_some_and(|answer| !enough(answer));
        if asking.get(&digest).is_some_and(is_old) {
            asking.remove(&digest);
        }
        Arc::clone(asking.entry(digest).or_default())
    }

    async fn answer(
        &self,
        token: Presented<'_>,
        digest: [u8; 32],
        keys: Option<Arc<KeySet>>,
    ) -> Result<Arc<Introspected>, FactError> {
        let place = tokio::time::timeout(TIMEOUT, self.places.acquire()).await;
        let Ok(Ok(_place)) = place else { return Err(FactError::Paused) };
        let asked = clock::now();
        let (headers, body) = self.form(token.token(), asked);
        let (uri, limit) = (&self.config.endpoint, MAX_ANSWER);
        let ask = Ask { method: Method::POST, uri, headers, body, limit, timeout: TIMEOUT };
        let response = self.client.send(ask).await?;
        if response.status != StatusCode::OK {
            return Err(FactError::Status(response.status));
        }
        let audience = &self.config.client_id;
        let answer = Answer::read(&response.body, &self.issuer, audience, keys.as_ref())?;
        let counter = match &answer {
            Answer::Active(_) => &self.active,
            Answer::Inactive => &self.inactive,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let until = until(&answer, asked, self.config.cache);
        let introspected = Arc::new(Introspected { answer, asked, until });
        self.answers.insert(digest, Arc::clone(&introspected));
        Ok(introspected)
    }

    /// RFC 7662 §2.1, with the client's authentication.
    fn form(&self, token: &str, now: Timestamp) -> (HeaderMap, Bytes) {
        let accept = "application/token-introspection+jwt, application/json";
        let mut headers = HeaderMap::from_iter([
            (ACCEPT, HeaderValue::from_static(accept)),
            (CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded")),
        ]);
        let mut body = format!("token={}&token_type_hint=access_token", encode(token));
        match &self.authentication {
            Authentication::Basic(value) => {
                headers.insert(AUTHORIZATION, value.expose().clone());
            }
            Authentication::Certificate => {
                body.extend(["&client_id=", &encode(&self.config.client_id)]);
            }
            Authentication::PrivateKey(signing) => {
                let (key, header) = &**signing;
                let assertion = self.assertion(key, header, now);
                body.extend([
                    "&client_id=",
                    &encode(&self.config.client_id),
                    "&client_assertion_type=",
                    &encode("urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
                    "&client_assertion=",
                    &assertion,
                ]);
            }
        }
        (headers, body.into())
    }

    /// RFC 7523 §3. The audience is the issuer, so that an assertion is of no use elsewhere. A key that
    /// signed at the start signs again; if not, the server refuses an empty assertion.
    fn assertion(&self, key: &EncodingKey, header: &Header, now: Timestamp) -> String {
        let claims = json!({
            "iss": self.config.client_id, "sub": self.config.client_id, "aud": self.issuer.id,
            "jti": Uuid::now_v7().to_string(),
            "iat": now.seconds(), "exp": now.after(ASSERTION).seconds(),
        });
        jsonwebtoken::encode(header, &claims, key).unwrap_or_default()
    }
}

/// Until when an answer is taken: at most as long as configured, and never past the token's own end.
fn until(answer: &Answer, asked: Timestamp, cache: Duration) -> Timestamp {
    match answer {
        Answer::Inactive => asked.after(NEGATIVE.min(cache)),
        Answer::Active(members) => {
            let longest = asked.after(cache);
            let expires = members.get("exp").and_then(Value::as_u64).map(Timestamp::from_seconds);
            expires.map_or(longest, |expires| expires.min(longest))
        }
    }
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, FORM).to_string()
}

/// RFC 6749 §2.3.1: both parts are form-encoded before they are put together.
fn basic(client: &str, secret: &Secret<Vec<u8>>) -> Result<Secret<HeaderValue>, SecretError> {
    let secret = percent_encoding::percent_encode(secret.expose(), FORM);
    let pair = STANDARD.encode(format!("{}:{secret}", encode(client)));
    let mut value =
        HeaderValue::from_str(&format!("Basic {pair}")).map_err(|_never| SecretError::Long)?;
    value.set_sensitive(true);
    Ok(Secret::new(value))
}

/// The key of a PEM text and the first algorithm that it signs with.
fn private_key(pem: &[u8]) -> Option<(EncodingKey, Algorithm)> {
    let candidates = [
        (EncodingKey::from_ec_pem(pem), Algorithm::ES256),
        (EncodingKey::from_ed_pem(pem), Algorithm::EdDSA),
        (EncodingKey::from_rsa_pem(pem), Algorithm::RS256),
    ];
    candidates.into_iter().find_map(|(key, algorithm)| {
        let key = key.ok()?;
        jsonwebtoken::crypto::sign(b"probe", &key, algorithm).ok()?;
        Some((key, algorithm))
    })
}
