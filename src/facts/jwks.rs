//! An issuer's keys, obtained from a file, a URL or the issuer's metadata (RFC 7517, RFC 8414).
//!
//! One fetch at a time for one issuer; tokens with an unknown `kid` cause one at most in
//! [`FORCED_INTERVAL`], so that a caller cannot make the gate hammer an issuer.

use std::path::Path;
use std::time::{Duration, Instant};

use http::Uri;
use serde_json::Value;
use tokio::sync::Mutex;

use crate::config::{IssuerConfig, KeySource};
use crate::model::json;
use crate::model::need::Need;
use crate::runtime::client::{Ask, Client, FetchError};
use crate::runtime::clock;
use crate::runtime::dial::TlsError;
use crate::token::keys::{JwksError, KeySet, MAX_KEYS};
use crate::token::svid::{Bundle, BundleError};

/// The least time between two fetches that unknown `kid`s cause.
pub const FORCED_INTERVAL: Duration = Duration::from_secs(30);
/// The least time between two attempts while no keys were ever obtained.
const FIRST_INTERVAL: Duration = Duration::from_secs(1);
/// How often a file is looked at, at the least.
const FILE_INTERVAL: Duration = Duration::from_secs(2);
/// How soon a failed refresh is tried again, at the latest.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest key set or metadata document, in bytes.
const MAX_DOCUMENT: usize = 256 * 1_024;
/// The largest key set of a directory of agents, in bytes.
const MAX_DIRECTORY: usize = 1_024 * 1_024;

/// The source of one issuer's keys.
#[derive(Debug)]
pub struct Source {
    config: IssuerConfig,
    client: Client,
    /// Held during a fetch: whoever waits for it finds the answer of the one before.
    attempts: Mutex<Attempts>,
}

#[derive(Debug, Default)]
struct Attempts {
    last: Option<Instant>,
    last_forced: Option<Instant>,
    /// What the keys in use were read from.
    documents: Documents,
}

/// What keys are read from. Another trust bundle makes other keys, as another key set does.
#[derive(Debug, Default, PartialEq, Eq)]
struct Documents {
    keys: Vec<u8>,
    bundle: Option<Vec<u8>>,
}

/// Why keys were not obtained.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file was not read.
    #[error("the key file cannot be read")]
    File(#[from] std::io::Error),
    /// The document was not fetched.
    #[error("the document cannot be fetched")]
    Fetch(#[from] FetchError),
    /// The trust bundle is none.
    #[error("the trust bundle cannot be used")]
    Bundle(#[from] BundleError),
    /// It is not a key set.
    #[error("the key set cannot be used")]
    Jwks(#[from] JwksError),
    /// The metadata is not that of the issuer, or has no usable `jwks_uri` (RFC 8414 §3.3).
    #[error("the metadata is not that of the issuer: {0}")]
    Metadata(&'static str),
    /// The server answered with another status than 200.
    #[error("the server answered {0}")]
    Status(http::StatusCode),
}

impl Source {
    /// A source as configured. Nothing is fetched yet.
    pub fn new(config: IssuerConfig) -> Result<Self, TlsError> {
        let client = Client::new(config.ca.as_deref(), None)?;
        Ok(Self { config, client, attempts: Mutex::default() })
    }

    /// The configuration of the issuer.
    pub const fn config(&self) -> &IssuerConfig {
        &self.config
    }

    /// Meets a need of a decision: fetches, unless another caller just did. New keys, if there are any.
    pub async fn meet(&self, need: &Need) -> Option<KeySet> {
        let mut attempts = self.attempts.lock().await;
        let (last, interval) = if matches!(need, Need::NewerKeys(_)) {
            (&mut attempts.last_forced, FORCED_INTERVAL)
        } else {
            (&mut attempts.last, FIRST_INTERVAL)
        };
        let now = clock::instant();
        if last.is_some_and(|at| now.duration_since(at) < interval) {
            return None;
        }
        *last = Some(now);
        self.fetch(&mut attempts).await.ok().flatten()
    }

    /// Fetches as the refresh does, whenever it is called. `None` where nothing has changed.
    pub async fn refresh(&self) -> Result<Option<KeySet>, SourceError> {
        let mut attempts = self.attempts.lock().await;
        self.fetch(&mut attempts).await
    }

    /// How long to wait before the next refresh: ahead of the interval in which a removed key must
    /// have stopped working.
    pub fn pause(&self, failed: bool) -> Duration {
        let refresh = self.config.refresh.mul_f32(0.8);
        match self.config.keys {
            KeySource::File(_) => refresh.min(FILE_INTERVAL),
            KeySource::Discovery | KeySource::Url(_) if failed => refresh.min(RETRY_INTERVAL),
            KeySource::Discovery | KeySource::Url(_) => refresh,
        }
    }

    async fn fetch(&self, attempts: &mut Attempts) -> Result<Option<KeySet>, SourceError> {
        attempts.last = Some(clock::instant());
        let read = self.read(&attempts.documents).await;
        let issuer = &*self.config.trust.id;
        match read {
            Ok(None) => Ok(None),
            Ok(Some((documents, keys))) => {
                tracing::info!(issuer, keys = keys.len(), "keys obtained");
                attempts.documents = documents;
                Ok(Some(keys))
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(issuer, %error, cause, "keys not obtained; those at hand stay in use");
                Err(error)
            }
        }
    }

    async fn read(&self, current: &Documents) -> Result<Option<(Documents, KeySet)>, SourceError> {
        let documents = Documents {
            bundle: match &self.config.key_terms.bundle {
                Some(source) => Some(self.document(source, MAX_DOCUMENT).await?),
                None => None,
            },
            keys: self.document(&self.config.keys, self.longest()).await?,
        };
        if documents == *current {
            return Ok(None);
        }
        let (most, domain) = (self.config.key_terms.most, self.domain().to_owned());
        // The chains of a whole directory take a while to verify: no call waits behind them.
        let reading = tokio::task::spawn_blocking(move || {
            let bundle = documents.bundle.as_deref().map(|text| Bundle::read(text, &domain));
            let read = KeySet::from_jwks_of(&documents.keys, most, bundle.transpose()?.as_ref())?;
            Ok::<_, SourceError>((documents, read))
        });
        let (documents, (keys, left_out)) = reading.await.map_err(std::io::Error::from)??;
        for key in left_out {
            let issuer = &*self.config.trust.id;
            tracing::warn!(
                issuer,
                index = key.index,
                kid = key.key_id,
                why = key.why,
                "a key is not used"
            );
        }
        Ok(Some((documents, keys)))
    }

    async fn document(&self, source: &KeySource, longest: usize) -> Result<Vec<u8>, SourceError> {
        match source {
            KeySource::File(path) => read_file(path, longest).await,
            KeySource::Url(uri) => self.get(uri, longest).await,
            KeySource::Discovery => self.get(&self.discover().await?, longest).await,
        }
    }

    /// The trust domain of a directory, whose name is scheme and authority of its agents' ids.
    fn domain(&self) -> &str {
        let name = &*self.config.trust.id;
        name.split_once("://").map_or(name, |(_, domain)| domain)
    }

    const fn longest(&self) -> usize {
        if self.config.key_terms.most > MAX_KEYS { MAX_DIRECTORY } else { MAX_DOCUMENT }
    }

    async fn get(&self, uri: &Uri, longest: usize) -> Result<Vec<u8>, SourceError> {
        let accept = "application/jwk-set+json, application/json";
        let ask = Ask::get(uri, accept, longest, FETCH_TIMEOUT);
        let fetched = self.client.send(ask).await?;
        if fetched.status != http::StatusCode::OK {
            return Err(SourceError::Status(fetched.status));
        }
        Ok(fetched.body.to_vec())
    }

    /// RFC 8414 metadata, else OpenID Connect discovery: the `jwks_uri` of a document that names the
    /// issuer exactly.
    async fn discover(&self) -> Result<Uri, SourceError> {
        let issuer = &*self.config.trust.id;
        let mut answer = Err(SourceError::Metadata("the issuer is not a URL"));
        for uri in metadata_uris(issuer) {
            answer = self.get(&uri, MAX_DOCUMENT).await;
            if answer.is_ok() {
                break;
            }
        }
        let document = json::parse_object(&answer?, 16).map_err(|_error| {
            SourceError::Metadata("not a JSON object without duplicate members")
        })?;
        if document.get("issuer").and_then(Value::as_str) != Some(issuer) {
            return Err(SourceError::Metadata("`issuer` is another"));
        }
        let uri: Option<Uri> =
            document.get("jwks_uri").and_then(Value::as_str).and_then(|uri| uri.parse().ok());
        let uri = uri.ok_or(SourceError::Metadata("no `jwks_uri`"))?;
        if uri.scheme_str() != Some("https") && issuer.starts_with("https:") {
            return Err(SourceError::Metadata("`jwks_uri` is not https"));
        }
        Ok(uri)
    }
}

async fn read_file(path: &Path, longest: usize) -> Result<Vec<u8>, SourceError> {
    let document = tokio::fs::read(path).await?;
    if document.len() > longest {
        let message = format!("larger than {longest} bytes");
        return Err(SourceError::File(std::io::Error::other(message)));
    }
    Ok(document)
}

/// RFC 8414 §3.1 puts the well-known part before the path of the issuer, OpenID Connect behind it.
fn metadata_uris(issuer: &str) -> impl Iterator<Item = Uri> {
    let issuer = issuer.strip_suffix('/').unwrap_or(issuer);
    let begin = issuer.find("://").map_or(0, |at| at + 3);
    let split =
        issuer.get(begin..).and_then(|rest| rest.find('/')).map_or(issuer.len(), |at| at + begin);
    let (origin, path) = issuer.split_at_checked(split).unwrap_or((issuer, ""));
    [
        format!("{origin}/.well-known/oauth-authorization-server{path}"),
        format!("{issuer}/.well-known/openid-configuration"),
    ]
    .into_iter()
    .filter_map(|uri| uri.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_looked_for_where_the_standards_put_it() {
        for (issuer, expected) in [
            (
                "https://as.test",
                [
                    "https://as.test/.well-known/oauth-authorization-server",
                    "https://as.test/.well-known/openid-configuration",
                ],
            ),
            (
                "https://as.test/tenant/1",
                [
                    "https://as.test/.well-known/oauth-authorization-server/tenant/1",
                    "https://as.test/tenant/1/.well-known/openid-configuration",
                ],
            ),
        ] {
            let uris: Vec<_> = metadata_uris(issuer).map(|uri| uri.to_string()).collect();
            assert_eq!(uris, expected);
        }
    }
}
