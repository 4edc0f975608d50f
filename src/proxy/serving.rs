//! Everything that one request is served by: built aside, swapped whole, kept until its last call ends.

use std::sync::Arc;

use http::HeaderName;
use tokio::task::JoinSet;

use super::headers::Unwanted;
use super::metadata::Metadata;
use super::upstream::{BuildError as UpstreamError, Upstream};
use crate::config::secret::SecretError;
use crate::config::{self, Config};
use crate::facts::introspection::SetUpError;
use crate::facts::ledger::Ledger;
use crate::facts::liveness::Liveness;
use crate::facts::replay::Replay;
use crate::facts::revocation::Revocations;
use crate::facts::store::Store;
use crate::runtime::metrics::{Metrics, Tally};
use crate::state::{self, Snapshot};

/// A configuration at work.
#[derive(Debug)]
pub struct Serving {
    /// What requests are judged by.
    pub snapshot: Snapshot,
    /// What decisions ask the world.
    pub facts: Arc<Store>,
    /// Where calls go, in the order of the configuration.
    pub upstreams: Vec<Arc<Upstream>>,
    /// The metadata of the resources.
    pub metadata: Metadata,
    /// Where calls are counted, in the order of the resources.
    tallies: Vec<Tally>,
    elsewhere: Tally,
    /// What trailers may not hold, in the order of the resources.
    unwanted_trailers: Vec<Unwanted>,
    /// Keeps keys fresh; ends with this value.
    _refreshing: JoinSet<()>,
    /// Watches the health of upstreams; ends with this value.
    _watching: Vec<super::upstream::Watching>,
}

/// What outlives every configuration: one of each for the process, whatever is reloaded.
#[derive(Clone, Debug)]
pub struct Lasting {
    /// The operator's revocations.
    pub revocations: Arc<Revocations>,
    /// The proofs that were used.
    pub replay: Arc<Replay>,
    /// What was used of caps.
    pub ledger: Arc<Ledger>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// Why a configuration cannot be put to work.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A secret cannot be read.
    #[error("upstream `{upstream}`: the secret cannot be read")]
    Secret {
        /// The upstream.
        upstream: Box<str>,
        /// Why.
        #[source]
        source: SecretError,
    },
    /// The operations cannot be compiled.
    #[error(transparent)]
    State(#[from] state::BuildError),
    /// A key, secret or certificate for asking an issuer cannot be used.
    #[error("an issuer cannot be asked")]
    Issuer(#[from] SetUpError),
    /// An upstream cannot be built.
    #[error("upstream `{upstream}` cannot be built")]
    Upstream {
        /// The upstream.
        upstream: Box<str>,
        /// Why.
        #[source]
        source: UpstreamError,
    },
}

impl Serving {
    /// Builds everything for `config` and obtains keys for the first time. What `previous` knows and
    /// what is configured as before is taken over.
    pub async fn build(
        config: Arc<Config>,
        lasting: &Lasting,
        previous: Option<&Self>,
        environment: &(dyn Fn(&str) -> Option<String> + Sync),
    ) -> Result<Self, BuildError> {
        let (snapshot, upstreams) = Self::try_build(&config, environment)?;
        let known = previous.map(|previous| &*previous.facts);
        let Lasting { revocations, replay, ledger, metrics } = lasting;
        let facts = Arc::new(Store::new(&config, revocations, replay, ledger, environment, known)?);
        facts.prime().await;
        Ok(Self {
            metadata: Metadata::build(&config),
            tallies: config
                .resources
                .iter()
                .map(|resource| metrics.resource(&resource.id))
                .collect(),
            elsewhere: metrics.elsewhere(),
            unwanted_trailers: config
                .resources
                .iter()
                .map(|resource| Unwanted::of(resource, &config.gate, credential(&config, resource)))
                .collect(),
            _refreshing: facts.keep_fresh(),
            _watching: upstreams.iter().map(Upstream::watch).collect(),
            snapshot,
            facts,
            upstreams,
        })
    }

    /// Builds what needs no network, to learn whether it can be built.
    pub fn try_build(
        config: &Arc<Config>,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(Snapshot, Vec<Arc<Upstream>>), BuildError> {
        let snapshot = Snapshot::build(Arc::clone(config))?;
        for issuer in &config.issuers {
            Liveness::new(issuer, environment)?;
        }
        let upstreams =
            config.upstreams.iter().map(|upstream| build_upstream(upstream, environment));
        Ok((snapshot, upstreams.collect::<Result<_, _>>()?))
    }

    /// Where a call to the resource with this index, or to none, is counted.
    pub fn tally(&self, resource: Option<usize>) -> &Tally {
        resource.and_then(|index| self.tallies.get(index)).unwrap_or(&self.elsewhere)
    }

    /// What the trailers of a call to the resource with this index may not hold.
    pub fn unwanted_trailers(&self, index: usize) -> Option<Unwanted> {
        self.unwanted_trailers.get(index).cloned()
    }

    /// The resource with this index, as configured.
    pub fn resource(&self, index: usize) -> Option<&config::Resource> {
        self.snapshot.config.resources.get(index)
    }
}

/// The header of the credential that the gate itself sets for calls to `resource`.
fn credential<'c>(config: &'c Config, resource: &config::Resource) -> Option<&'c HeaderName> {
    let upstream = config.upstreams.get(resource.upstream)?;
    upstream.credential.as_ref().map(|credential| &credential.header)
}

/// A pool is made anew at each reload: certificates and secrets may have changed on disk.
fn build_upstream(
    upstream: &Arc<config::Upstream>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Arc<Upstream>, BuildError> {
    let name = &upstream.name;
    let secret = match &upstream.credential {
        Some(credential) => {
            let secret = credential.secret.read(environment);
            Some(secret.map_err(|source| BuildError::Secret { upstream: name.clone(), source })?)
        }
        None => None,
    };
    let text = secret.as_ref().and_then(|secret| std::str::from_utf8(secret.expose()).ok());
    Upstream::build(Arc::clone(upstream), text)
        .map_err(|source| BuildError::Upstream { upstream: name.clone(), source })
}
