//! The store of facts: runs pure steps, fetches what they lack, remembers verified tokens.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use quick_cache::sync::Cache;
use tokio::task::JoinSet;

use super::bindings::Service;
use super::engine::Engines;
use super::introspection::SetUpError;
use super::jwks::Source;
use super::ledger::{Ledger, Reservation, Shortfall};
use super::liveness::Liveness;
use super::pins::Pins;
use super::policies;
use super::replay::{Fulfilled, Replay};
use super::revocation::Revocations;
use super::sessions::Sessions;
use super::tasks::Tasks;
use super::tools::{self, Tools};
use crate::config::{Config, IssuerConfig};
use crate::decide::binding::Answer;
use crate::decide::call::Call;
use crate::decide::facts::{Answered, Facts, Heard, Keys, Known, Policies, Stop};
use crate::decide::permit::Permit;
use crate::decide::world::{Resource, World};
use crate::decide::{self, revoked};
use crate::model::need::Need;
use crate::model::reason::{Denial, Reason};
use crate::model::time::Timestamp;
use crate::policy::engine::Policy;
use crate::policy::library::{Lack, Library};
use crate::policy::quantities::Charge;
use crate::runtime::clock;
use crate::runtime::dial::TlsError;
use crate::token::dpop;
use crate::token::extract::Credentials;
use crate::token::grant::Grant;
use crate::token::keys::KeySet;

/// How often one step may ask for facts before the call is refused.
const MAX_ROUNDS: usize = 8;
/// How long [`Store::prime`] waits for the first keys.
const PRIME_TIMEOUT: Duration = Duration::from_secs(3);

/// The facts behind one configuration.
#[derive(Debug)]
pub struct Store {
    /// Replaced whole whenever an issuer's keys change; readers never wait.
    pub(super) known: ArcSwap<Known>,
    sources: Vec<Source>,
    /// For each issuer its binding service, where it has one.
    bindings: Vec<Option<Service>>,
    /// What is known of policies.
    library: Arc<Library>,
    /// For each issuer, where its policies are asked for.
    policies: Vec<Arc<policies::Service>>,
    /// The first text behind each name of a policy, which outlives every configuration.
    pins: Arc<Pins>,
    /// Where policies are compiled, and asked when that takes long.
    engines: Engines,
    /// For each issuer, where it says that tokens were taken back.
    pub(super) liveness: Vec<Liveness>,
    /// The operator's own, which outlive every configuration.
    revocations: Arc<Revocations>,
    /// The used proofs, which outlive every configuration.
    replay: Arc<Replay>,
    /// What MCP servers have said of their tools, which outlives every configuration.
    tools: Arc<Tools>,
    /// The sessions of MCP servers, which outlive every configuration.
    sessions: Arc<Sessions>,
    /// The tasks of agents, which outlive every configuration.
    tasks: Arc<Tasks>,
    /// What was used of caps, which outlives every configuration.
    ledger: Arc<Ledger>,
    /// Grants under the SHA-256 of their tokens: a digest, because the tokens themselves are bearer
    /// secrets that memory should not keep. Bounded; what is forgotten is verified again.
    memo: Arc<Cache<[u8; 32], Arc<Grant>>>,
    /// When each issuer's keys were last obtained or confirmed.
    confirmed: ArcSwap<Vec<Option<Timestamp>>>,
}

/// What was tried for one step of one call.
#[derive(Debug, Default)]
struct Tried {
    needs: Vec<Need>,
    lacks: Vec<Lack>,
    answered: Vec<Answered>,
}

/// What the steps of one call are taken with.
#[derive(Clone, Copy, Debug)]
pub struct Settling<'a> {
    /// What the operator configured.
    pub world: &'a World,
    /// The time of the call.
    pub now: Timestamp,
    /// What was presented, where an issuer may be asked of it.
    pub credentials: Option<&'a Credentials<'a>>,
    /// The grant that is remembered for the presented token.
    pub remembered: Option<&'a Arc<Grant>>,
}

impl Store {
    /// What MCP servers have said of their tools.
    pub const fn tools(&self) -> &Arc<Tools> {
        &self.tools
    }

    /// The sessions of MCP servers.
    pub const fn sessions(&self) -> &Arc<Sessions> {
        &self.sessions
    }

    /// The tasks of agents.
    pub const fn tasks(&self) -> &Arc<Tasks> {
        &self.tasks
    }

    /// The facts for `config`. Keys and remembered grants of `previous` are taken over where the
    /// issuer is configured as before; whether they still hold is checked at each use.
    pub fn new(
        config: &Config,
        revocations: &Arc<Revocations>,
        replay: &Arc<Replay>,
        ledger: &Arc<Ledger>,
        environment: &dyn Fn(&str) -> Option<String>,
        previous: Option<&Self>,
    ) -> Result<Self, SetUpError> {
        let sources: Vec<_> =
            config.key_sources().cloned().map(Source::new).collect::<Result<_, _>>()?;
        let liveness = config.issuers.iter().map(|issuer| Liveness::new(issuer, environment));
        let liveness = liveness.collect::<Result<_, _>>()?;
        let inherited = |issuer| previous.and_then(|previous| previous.known_of(issuer));
        let (keys, heard) = config
            .key_sources()
            .map(|issuer| inherited(issuer).unwrap_or((Keys::Missing, Heard::default())))
            .unzip();
        let bindings = config.issuers.iter().map(binding_service).collect::<Result<_, _>>()?;
        let policies =
            config.issuers.iter().map(|issuer| policies::Service::new(issuer, environment));
        let policies = policies.map(|service| service.map(Arc::new)).collect::<Result<_, _>>()?;
        let library = Arc::new(match previous {
            Some(previous) => previous.library.inherited(),
            None => Library::default(),
        });
        let pins = match previous.filter(|previous| previous.pins.path() == config.policies.pins) {
            Some(previous) => Arc::clone(&previous.pins),
            None => Arc::new(Pins::read(&config.policies.pins)?),
        };
        library.set_pins(pins.all());
        let file = config.audit.directory.join(tools::FILE);
        let tools = match previous.filter(|previous| previous.tools.path() == file) {
            Some(previous) => Arc::clone(&previous.tools),
            None => Arc::new(Tools::read(&file).map_err(SetUpError::Tools)?),
        };
        Ok(Self {
            bindings,
            engines: Engines::new(Arc::clone(&library.compiled)),
            library,
            policies,
            pins,
            known: ArcSwap::from_pointee(Known { keys, heard, first_uses: replay.facts() }),
            memo: previous.map_or_else(
                || Arc::new(Cache::new(config.limits.token_cache)),
                |previous| Arc::clone(&previous.memo),
            ),
            confirmed: ArcSwap::from_pointee(vec![None; sources.len()]),
            revocations: Arc::clone(revocations),
            replay: Arc::clone(replay),
            tools,
            sessions: previous.map_or_else(Arc::default, |previous| Arc::clone(&previous.sessions)),
            tasks: previous.map_or_else(Arc::default, |previous| Arc::clone(&previous.tasks)),
            ledger: Arc::clone(ledger),
            sources,
            liveness,
        })
    }

    /// Verifies the presented token for this call, or takes the grant that is remembered for it.
    pub async fn authenticate(
        &self,
        world: &World,
        call: &Call<'_>,
        credentials: &Credentials<'_>,
        now: Timestamp,
    ) -> Result<Arc<Grant>, Denial> {
        let remembered = self.memo.get(&credentials.digest);
        let step = |facts: &Facts<'_>| decide::authenticate(call, credentials, facts);
        let presented = Some(credentials);
        let with = Settling { world, now, credentials: presented, remembered: remembered.as_ref() };
        let grant = match self.settle(&with, step).await {
            Ok(grant) => grant,
            Err(denial) => {
                // What is refused is not remembered: a clock that is set back would bring back what the
                // issuer has taken back since.
                self.memo.remove(&credentials.digest);
                return Err(denial);
            }
        };
        if !remembered.is_some_and(|known| Arc::ptr_eq(&known, &grant)) {
            self.memo.insert(credentials.digest, Arc::clone(&grant));
        }
        Ok(grant)
    }

    /// Takes a pure step with the facts at hand; where it lacks one, fetches it and takes the step
    /// again. A fact that cannot be had is a refusal.
    pub async fn settle<T>(
        &self,
        with: &Settling<'_>,
        step: impl Fn(&Facts<'_>) -> Result<T, Stop>,
    ) -> Result<T, Denial> {
        match self.take(&step, with, &Tried::default()) {
            Ok(done) => Ok(done),
            Err(Stop::Refuse(denial)) => Err(denial),
            // Rare and large, so it takes no room in the call's future.
            Err(lacking) => Box::pin(self.obtain(&step, with, lacking)).await,
        }
    }

    /// Takes the step again with every fact that it asks for.
    async fn obtain<T>(
        &self,
        step: &impl Fn(&Facts<'_>) -> Result<T, Stop>,
        with: &Settling<'_>,
        first: Stop,
    ) -> Result<T, Denial> {
        let mut tried = Tried::default();
        let mut lacking = first;
        for _ in 1..MAX_ROUNDS {
            match lacking {
                Stop::Refuse(denial) => return Err(denial),
                Stop::Need(need) => {
                    self.meet(&need, with).await;
                    tried.needs.push(need);
                }
                Stop::Policies(lacks) => {
                    let answers = self.meet_lacks(&lacks, with.now).await;
                    tried.answered.extend(answers);
                    tried.lacks.extend(lacks);
                }
            }
            match self.take(step, with, &tried) {
                Ok(done) => return Ok(done),
                Err(next) => lacking = next,
            }
        }
        Err(match lacking {
            Stop::Refuse(denial) => denial,
            Stop::Need(_) => Denial::about(Reason::KeysUnavailable, "jwks"),
            Stop::Policies(_) => Denial::about(Reason::PolicyUnavailable, "rounds"),
        })
    }

    /// Does what decisions about policies lack, all at the same time; and what policies said that were given
    /// all their steps.
    async fn meet_lacks(&self, lacks: &[Lack], now: Timestamp) -> Vec<Answered> {
        let mut work: JoinSet<Option<Answered>> = JoinSet::new();
        for lack in lacks.iter().cloned() {
            let engines = self.engines.clone();
            match lack {
                Lack::Answer(long) => {
                    work.spawn(async move {
                        let begun = clock::watch();
                        let evaluation = engines.evaluate(&long.policy, &long.input).await;
                        let elapsed = clock::watch().saturating_sub(begun);
                        Some(Answered { long, evaluation, elapsed })
                    });
                }
                Lack::Compiled(text) => {
                    work.spawn(async move {
                        drop(engines.compiled(text).await);
                        None
                    });
                }
                Lack::Pinned(name, pin) => {
                    let pins = Arc::clone(&self.pins);
                    work.spawn_blocking(move || {
                        pins.pin_or_log(&name, pin, now);
                        None
                    });
                }
                Lack::Text(address, seen) => {
                    let Some(service) = self.policies.get(address.issuer) else { continue };
                    let (service, library) = (Arc::clone(service), Arc::clone(&self.library));
                    work.spawn(async move {
                        service.ask(&address, seen, &library).await;
                        None
                    });
                }
            }
        }
        let mut answers = Vec::new();
        while let Some(done) = work.join_next().await {
            answers.extend(done.ok().flatten());
        }
        if lacks.iter().any(|lack| matches!(lack, Lack::Pinned(..))) {
            self.library.set_pins(self.pins.all());
        }
        answers
    }

    /// Keeps nothing from here on: for whoever only asks.
    pub fn only_ask(&self) {
        self.pins.only_ask();
        self.tools.only_ask();
    }

    fn take<T>(
        &self,
        step: &impl Fn(&Facts<'_>) -> Result<T, Stop>,
        with: &Settling<'_>,
        tried: &Tried,
    ) -> Result<T, Stop> {
        let (known, revoked) = (self.known.load(), self.revocations.current());
        let Settling { world, now, credentials, remembered } = *with;
        let introspected =
            credentials.and_then(|presented| self.introspected(presented, &tried.needs));
        let binding = remembered.and_then(|grant| self.binding(grant));
        step(&Facts {
            world,
            known: &known,
            revoked: &revoked,
            now,
            introspected: introspected.as_ref(),
            remembered,
            binding: binding.as_deref(),
            exhausted: &tried.needs,
            policies: Policies {
                library: &self.library,
                tried: &tried.lacks,
                answered: &tried.answered,
                watch: clock::watch,
            },
        })
    }

    /// What is known of the binding of the grant's agent.
    fn binding(&self, grant: &Grant) -> Option<Arc<Answer>> {
        if !grant.issuer().has_binding_service {
            return None;
        }
        let named = |source: &Source| source.config().trust.id == grant.issuer().id;
        let issuer = self.sources.iter().position(named)?;
        let service = self.bindings.get(issuer)?.as_ref()?;
        service.known(&grant.members().identity.as_ref()?.id)
    }

    /// Whether a grant that was admitted, and `agents` who presented it, are still good by all that is known here: nothing is fetched
    /// for a stream that is already open.
    pub fn standing(
        &self,
        world: &World,
        grant: &Grant,
        agents: &[Box<str>],
        now: Timestamp,
    ) -> Result<(), Denial> {
        let with = Settling { world, now, credentials: None, remembered: None };
        let step = |facts: &Facts<'_>| {
            revoked::check(grant, facts)?;
            revoked::check_agents(grant, agents.iter(), facts)
        };
        match self.take(&step, &with, &Tried::default()) {
            Err(Stop::Refuse(denial)) => Err(denial),
            Ok(()) | Err(Stop::Need(_) | Stop::Policies(_)) => Ok(()),
        }
    }

    /// Does what the permit owes before it takes effect.
    pub fn fulfil(&self, permit: &Permit, now: Timestamp) -> Result<Fulfilled, Denial> {
        self.replay.fulfil(permit.obligations(), now)
    }

    /// What was fulfilled stands in a record on the disk.
    pub fn recorded(&self, fulfilled: &Fulfilled) {
        self.replay.recorded(fulfilled);
    }

    /// How many compiled policies are kept, and the octets that their texts count for.
    pub fn policies_kept(&self) -> (usize, u64) {
        self.library.compiled.kept()
    }

    /// The compiled policy with this digest of its text, if it is kept.
    pub fn policy(&self, sha256: &[u8; 32]) -> Option<Arc<Policy>> {
        self.library.compiled.with_digest(sha256)
    }

    /// Takes room for what a permitted call counts under every cap, or says which has none. Where no cap
    /// counts it, the ledger is left alone.
    pub fn reserve(
        &self,
        charges: &[Charge],
        now: Timestamp,
    ) -> Result<Option<Reservation>, Shortfall> {
        if charges.is_empty() {
            return Ok(None);
        }
        self.ledger.reserve(charges, now).map(Some)
    }

    /// The nonce for the next DPoP proof to this resource, where it must carry one.
    pub fn nonce(&self, resource: &Resource, now: Timestamp) -> Option<String> {
        let is_wanted =
            resource.dpop_nonce || self.known.load().first_uses.may_lack(dpop::LIFETIME, now);
        is_wanted.then(|| self.replay.nonce(now))
    }

    /// The operator's revocations.
    pub const fn revocations(&self) -> &Arc<Revocations> {
        &self.revocations
    }

    /// Obtains the keys of every issuer for the first time, for as long as a start should wait.
    pub async fn prime(self: &Arc<Self>) {
        let mut fetches = JoinSet::new();
        for issuer in 0..self.sources.len() {
            let store = Arc::clone(self);
            fetches.spawn(async move {
                store.refresh(issuer).await;
                store.meet_feed(issuer, clock::now()).await;
            });
        }
        let all = async { while fetches.join_next().await.is_some() {} };
        drop(tokio::time::timeout(PRIME_TIMEOUT, all).await);
    }

    /// Keeps every issuer's keys fresh until the returned set is dropped.
    pub fn keep_fresh(self: &Arc<Self>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for issuer in 0..self.sources.len() {
            let store = Arc::clone(self);
            tasks.spawn(async move {
                let mut failed = !store.has_keys(issuer);
                while let Some(source) = store.sources.get(issuer) {
                    tokio::time::sleep(source.pause(failed)).await;
                    failed = !store.refresh(issuer).await;
                }
            });
            tasks.spawn(Arc::clone(self).keep_hearing(issuer));
        }
        tasks
    }

    /// The issuers whose keys were never obtained: while there is one, the gate is not ready.
    pub fn without_keys(&self) -> Vec<Box<str>> {
        let known = self.known.load();
        let missing = known.keys.iter().zip(&self.sources);
        // One that is asked of each of its tokens need not have keys at all.
        let is_asked = |source: &Source| source.config().liveness.introspection.is_some();
        missing
            .filter(|(keys, source)| matches!(keys, Keys::Missing) && !is_asked(source))
            .map(|(_, source)| source.config().trust.id.clone())
            .collect()
    }

    /// For each issuer its identifier and when its keys were last obtained or confirmed here.
    pub fn key_ages(&self) -> Vec<(Box<str>, Option<Timestamp>)> {
        let confirmed = self.confirmed.load();
        let issuers = self.sources.iter().map(|source| source.config().trust.id.clone());
        issuers.zip(confirmed.iter().copied()).collect()
    }

    async fn meet(&self, need: &Need, with: &Settling<'_>) {
        match need {
            Need::Binding { issuer, identity } => {
                if let Some(Some(service)) = self.bindings.get(*issuer) {
                    service.ask(identity).await;
                }
            }
            Need::Keys(issuer) | Need::NewerKeys(issuer) => self.meet_keys(*issuer, need).await,
            Need::Introspection(issuer) => self.introspect(*issuer, with).await,
            Need::Revocations(issuer) => self.meet_feed(*issuer, with.now).await,
            Need::StatusList(issuer, uri) => self.meet_list(*issuer, uri, with.now).await,
        }
    }

    pub(super) async fn meet_keys(&self, issuer: usize, need: &Need) {
        if let Some(source) = self.sources.get(issuer)
            && let Some(keys) = source.meet(need).await
        {
            self.publish(issuer, keys);
            self.confirm(issuer);
        }
    }

    async fn refresh(&self, issuer: usize) -> bool {
        let Some(source) = self.sources.get(issuer) else { return false };
        match source.refresh().await {
            Ok(keys) => {
                if let Some(keys) = keys {
                    self.publish(issuer, keys);
                }
                self.confirm(issuer);
                true
            }
            Err(_logged) => false,
        }
    }

    fn publish(&self, issuer: usize, keys: KeySet) {
        let keys = Arc::new(keys);
        self.known.rcu(|known| {
            let mut known = Known::clone(known);
            if let Some(slot) = known.keys.get_mut(issuer) {
                *slot = Keys::Obtained(Arc::clone(&keys));
            }
            known
        });
    }

    fn confirm(&self, issuer: usize) {
        let now = clock::now();
        self.confirmed.rcu(|confirmed| {
            let mut confirmed = Vec::clone(confirmed);
            if let Some(slot) = confirmed.get_mut(issuer) {
                *slot = Some(now);
            }
            confirmed
        });
    }

    fn has_keys(&self, issuer: usize) -> bool {
        self.keys_at(issuer).is_some()
    }

    pub(super) fn keys_at(&self, issuer: usize) -> Option<Arc<KeySet>> {
        match self.known.load().keys.get(issuer) {
            Some(Keys::Obtained(keys)) => Some(Arc::clone(keys)),
            Some(Keys::Missing) | None => None,
        }
    }

    /// What is known of an issuer that is configured as here.
    fn known_of(&self, issuer: &IssuerConfig) -> Option<(Keys, Heard)> {
        let same = |source: &Source| {
            let own = source.config();
            own.trust.id == issuer.trust.id
                && own.keys == issuer.keys
                && own.key_terms == issuer.key_terms
                && own.ca == issuer.ca
        };
        let index = self.sources.iter().position(same)?;
        let own = self.sources.get(index)?.config();
        let known = self.known.load();
        let is_same = own.trust == issuer.trust && own.liveness == issuer.liveness;
        let heard = known.heard.get(index).filter(|_| is_same).cloned().unwrap_or_default();
        Some((known.keys.get(index).cloned()?, heard))
    }
}

fn binding_service(issuer: &IssuerConfig) -> Result<Option<Service>, TlsError> {
    let uri = issuer.binding_service.clone();
    uri.map(|uri| Service::new(uri, issuer.ca.as_deref())).transpose()
}
