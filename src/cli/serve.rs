//! `opgate serve`: the gate at work, from the first bind to the last record.

mod gauges;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use aws_lc_rs::digest;
use serde_json::json;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::opening::{self, Opened};
use super::{Outcome, output};
use crate::admin::{self, Admin, Desk, NotReady, ReloadReport};
use crate::audit::record;
use crate::config::secret::Reference;
use crate::config::{self, Config, LocalPolicy};
use crate::facts::revocation::Revocations;
use crate::journal::floods::{Counted, Floods};
use crate::journal::writer::Journal;
use crate::model::time::Timestamp;
use crate::proxy::connection::Settings;
use crate::proxy::gate::Gate;
use crate::proxy::listener::{Bound, Entrance};
use crate::proxy::serving::{Lasting, Serving};
use crate::proxy::tls::Tls;
use crate::runtime::clock;
use crate::runtime::metrics::Metrics;
use crate::runtime::signal::Signal;
use crate::runtime::tasks::{self, Drain, Shutdown};
use crate::runtime::telemetry;

/// How often files are looked at for changes. Looking at content, and not asking the kernel for
/// events, sees every way of replacing a file, also through a chain of links or on a network disk.
const WATCH: Duration = Duration::from_secs(2);
/// How often counted refusals are looked at.
const TALLY: Duration = Duration::from_secs(1);
/// How long tasks may take to notice that the process ends.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A running gate.
#[derive(Debug)]
pub struct Server {
    /// What the listeners are bound to, in the order of the configuration.
    pub addresses: Vec<String>,
    /// What the admin listener is bound to.
    pub admin: Option<String>,
    /// The log.
    pub journal: Journal,
    floods: Arc<Floods>,
    shutdown: Arc<Shutdown>,
    reload: Arc<Notify>,
    entrance: Entrance,
    drain: Duration,
    tasks: JoinSet<()>,
}

/// What a reload works on.
#[derive(Debug)]
struct Engine {
    file: PathBuf,
    serving: Arc<ArcSwap<Serving>>,
    journal: Journal,
    floods: Arc<Floods>,
    lasting: Lasting,
    tls: Option<Arc<Tls>>,
    /// One reload at a time.
    reloading: tokio::sync::Mutex<()>,
    /// Whether the last one succeeded, and when one last did; at first the start itself.
    reloaded: Mutex<(bool, Timestamp)>,
}

/// Runs `opgate serve` until it is told to stop.
pub fn run(file: &Path, ready_file: Option<&Path>) -> anyhow::Result<Outcome> {
    let config = match config::load(file, &environment) {
        Ok(config) => config,
        Err(problems) => {
            output::complain(&problems.to_string());
            return Ok(Outcome::Unusable);
        }
    };
    telemetry::init(telemetry::Format::Automatic).map_err(|error| anyhow::anyhow!(error))?;
    let runtime = runtime(config.gate.threads)?;
    let opened = opening::open(&config)?;
    let journal = opened.journal.clone();
    let ended = runtime.block_on(async {
        let server = Server::start(file, config, opened).await?;
        server.announce(ready_file)?;
        server.run().await
    });
    // Whatever still runs is dropped before the journal closes, so that its outcome is in the log.
    runtime.shutdown_timeout(LAST_WORDS);
    journal.close();
    ended.map(|()| Outcome::Done)
}

/// One thread for each core that the process may use. On one core the simpler scheduler is cheaper.
pub fn runtime(threads: Option<usize>) -> anyhow::Result<tokio::runtime::Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut builder = match threads.unwrap_or(cores) {
        1 => tokio::runtime::Builder::new_current_thread(),
        several => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(several);
            builder
        }
    };
    builder.enable_all().build().context("the runtime cannot be started")
}

#[expect(
    clippy::disallowed_methods,
    reason = "the configuration reads the environment through this"
)]
pub(super) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

impl Server {
    /// Binds everything and begins to serve.
    pub async fn start(file: &Path, config: Config, opened: Opened) -> anyhow::Result<Self> {
        let Opened { journal, replay, ledger } = opened;
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        let config = Arc::new(config);
        let revocations = Arc::new(Revocations::open(&config.revocations, Signal::default())?);
        let metrics = Arc::new(Metrics::new());
        let lasting = Lasting { revocations, replay, ledger, metrics };
        let serving = Serving::build(Arc::clone(&config), &lasting, None, &environment).await?;
        let tls = config.gate.tls.clone().map(Tls::load).transpose()?.map(Arc::new);
        let engine = Arc::new(Engine {
            file: file.to_owned(),
            serving: Arc::new(ArcSwap::from_pointee(serving)),
            journal: journal.clone(),
            floods: Arc::new(Floods::new(config.limits.refusals_per_source)),
            lasting,
            tls: tls.clone(),
            reloading: tokio::sync::Mutex::default(),
            reloaded: Mutex::new((true, clock::now())),
        });
        let (shutdown, drain) = tasks::shutdown();
        let settings = Arc::new(Settings { limits: config.limits.clone() });
        let mut server = Self {
            addresses: Vec::new(),
            admin: None,
            journal,
            floods: Arc::clone(&engine.floods),
            shutdown: Arc::new(shutdown),
            reload: Arc::new(Notify::new()),
            entrance: Entrance::new(settings, tls),
            drain: config.gate.drain,
            tasks: JoinSet::new(),
        };
        engine.register_gauges(&server.entrance);
        server.listen(&config, &engine, &drain).await?;
        server.tasks.spawn(Arc::clone(&engine).watch(Arc::clone(&server.reload)));
        server.tasks.spawn(engine.tally());
        Ok(server)
    }

    async fn listen(
        &mut self,
        config: &Config,
        engine: &Arc<Engine>,
        drain: &Drain,
    ) -> anyhow::Result<()> {
        let gate = Gate::new(
            Arc::clone(&engine.serving),
            engine.journal.clone(),
            Arc::clone(&engine.floods),
            Arc::clone(&engine.lasting.metrics),
        );
        if let Some(settings) = &config.admin {
            let admin = Admin::bind(&settings.listen).await?;
            self.admin = Some(admin.to_string());
            let state = Arc::clone(engine).admin_state(config, drain.clone());
            // Health is answered for as long as calls are still being finished.
            self.tasks.spawn(admin.serve(Arc::new(state)));
        }
        let bound = config.gate.listen.iter().map(Bound::bind).collect::<Result<Vec<_>, _>>()?;
        for bound in bound {
            let address = bound.to_string();
            tracing::info!(%address, tls = config.gate.tls.is_some(), "listening");
            self.addresses.push(address);
            self.tasks.spawn(self.entrance.clone().accept(bound, gate.clone(), drain.clone()));
        }
        Ok(())
    }

    /// Tells whoever started the process that it listens, and where: one JSON object, written whole.
    fn announce(&self, ready_file: Option<&Path>) -> anyhow::Result<()> {
        let Some(path) = ready_file else { return Ok(()) };
        let text = json!({ "gate": self.addresses, "admin": self.admin }).to_string();
        let unfinished = path.with_extension("unfinished");
        fs::write(&unfinished, text)
            .and_then(|()| fs::rename(&unfinished, path))
            .with_context(|| format!("`{}` cannot be written", path.display()))
    }

    /// Serves until a signal says to stop, then lets open calls finish.
    async fn run(mut self) -> anyhow::Result<()> {
        tasks::signals(&self.shutdown, Arc::clone(&self.reload))
            .await
            .context("signals cannot be received")?;
        self.stop().await;
        Ok(())
    }

    /// Accepts nothing further, waits for open calls as long as configured, and says how many were cut.
    pub async fn stop(&mut self) {
        self.shutdown.begin();
        let cut = self.entrance.drained(self.drain).await;
        if cut > 0 {
            tracing::warn!(cut, "connections were still open at the end of the drain");
        }
        self.tasks.shutdown().await;
        // Nobody else will write what was only counted so far.
        note(self.floods.drain(), &self.journal);
    }
}

/// Writes refusals that were only counted.
fn note(counted: Vec<Counted>, journal: &Journal) {
    for counted in counted {
        journal.note(clock::now(), &counted.record());
    }
}

impl Engine {
    /// Puts the file into force as it is now: built aside, swapped whole. What is broken changes nothing.
    async fn reload(&self) -> Result<ReloadReport, String> {
        let _one_at_a_time = self.reloading.lock().await;
        let done = self.replace().await;
        self.lasting.metrics.reloaded(done.is_ok());
        let mut reloaded = self.reloaded();
        *reloaded = (done.is_ok(), if done.is_ok() { clock::now() } else { reloaded.1 });
        drop(reloaded);
        done
    }

    fn reloaded(&self) -> MutexGuard<'_, (bool, Timestamp)> {
        self.reloaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn replace(&self) -> Result<ReloadReport, String> {
        let config =
            config::load(&self.file, &environment).map_err(|problems| problems.to_string())?;
        let current = self.serving.load_full();
        let (old, new) = (current.snapshot.config.digest.clone(), config.digest.clone());
        warn_of_restart(&current.snapshot.config, &config);
        let next = Serving::build(Arc::new(config), &self.lasting, Some(&current), &environment)
            .await
            .map_err(|error| format!("{:#}", anyhow::Error::from(error)))?;
        if let Some(tls) = &self.tls {
            tls.refresh().map_err(|error| format!("{:#}", anyhow::Error::from(error)))?;
        }
        self.journal.note(clock::now(), &record::Config { old: &old, new: &new });
        self.serving.store(Arc::new(next));
        tracing::info!(%old, %new, "configuration reloaded");
        Ok(ReloadReport { old: old.into(), new: new.into() })
    }

    async fn reload_and_log(&self) {
        if let Err(problems) = self.reload().await {
            tracing::error!(
                "the configuration was not reloaded; the one before stays in force\n{problems}"
            );
        }
    }

    /// Reloads on SIGHUP and when the configuration or a file it names has changed.
    async fn watch(self: Arc<Self>, reload: Arc<Notify>) {
        let mut seen = self.fingerprint();
        loop {
            tokio::select! {
                () = reload.notified() => self.reload_and_log().await,
                () = tokio::time::sleep(WATCH) => {
                    let found = self.fingerprint();
                    if found == seen {
                        self.refresh_tls();
                        continue;
                    }
                    self.reload_and_log().await;
                }
            }
            seen = self.fingerprint();
        }
    }

    fn refresh_tls(&self) {
        match self.tls.as_ref().map(|tls| tls.refresh()) {
            Some(Ok(true)) => tracing::info!("certificates reloaded"),
            Some(Err(error)) => {
                let error = anyhow::Error::from(error);
                tracing::error!(
                    "certificates were not reloaded; those before stay in use: {error:#}"
                );
            }
            Some(Ok(false)) | None => {}
        }
    }

    /// A digest of the configuration and of the files that upstreams, policies and the gate's own questions
    /// to issuers are built from.
    fn fingerprint(&self) -> Vec<u8> {
        let config = Arc::clone(&self.serving.load().snapshot.config);
        let mut files = vec![self.file.clone()];
        for upstream in &config.upstreams {
            if let Some(Reference::File(path)) =
                upstream.credential.as_ref().map(|credential| &credential.secret)
            {
                files.push(path.clone());
            }
            files.extend(upstream.ca.clone());
            files.extend(
                upstream
                    .identity
                    .clone()
                    .into_iter()
                    .flat_map(|(certificate, key)| [certificate, key]),
            );
        }
        let asked =
            config.issuers.iter().filter_map(|issuer| issuer.liveness.introspection.as_ref());
        for introspection in asked {
            files.extend(introspection.authentication.files().map(Path::to_owned));
        }
        files.extend(config.resources.iter().filter_map(|resource| resource.openapi.clone()));
        let named = config.policies.directory.as_deref().map(config::policies::files);
        files.extend(named.and_then(Result::ok).into_iter().flatten());
        let local = config.resources.iter().flat_map(|resource| &resource.local_policies);
        files.extend(local.flat_map(LocalPolicy::files).cloned());
        let mut all = digest::Context::new(&digest::SHA256);
        for file in files {
            // A file that was renamed is another policy.
            all.update(file.as_os_str().as_encoded_bytes());
            all.update(
                digest::digest(&digest::SHA256, &fs::read(file).unwrap_or_default()).as_ref(),
            );
        }
        all.finish().as_ref().to_vec()
    }

    /// Writes, from time to time, what refusals were only counted.
    async fn tally(self: Arc<Self>) {
        loop {
            tokio::time::sleep(TALLY).await;
            note(self.floods.due(clock::now()), &self.journal);
        }
    }

    fn admin_state(self: Arc<Self>, config: &Config, drain: Drain) -> admin::State {
        let (engine, reloader) = (Arc::clone(&self), Arc::clone(&self));
        let ready = move || engine.not_ready(&drain);
        admin::State {
            host: config.gate.origin.authority.to_string(),
            metrics: Arc::clone(&self.lasting.metrics),
            ready: Box::new(ready),
            desk: Desk::new(Arc::clone(&self.lasting.revocations), self.journal.clone()),
            reload: Box::new(move || {
                let engine = Arc::clone(&reloader);
                Box::pin(async move { engine.reload().await })
            }),
            digest: Box::new(move || self.serving.load().snapshot.config.digest.to_string()),
        }
    }

    /// Why no traffic should be sent here, if there is a reason.
    fn not_ready(&self, drain: &Drain) -> Vec<NotReady> {
        let mut reasons = Vec::new();
        if let Some(why) = self.journal.health() {
            reasons.push(NotReady { what: "audit".into(), why: why.into() });
        }
        if let Some(why) = self.journal.sealed().and_then(|sealed| sealed.failure) {
            reasons.push(NotReady { what: "audit tree".into(), why: why.into() });
        }
        for issuer in self.serving.load().facts.without_keys() {
            let why = format!("the keys of `{issuer}` were never obtained");
            reasons.push(NotReady { what: "keys".into(), why });
        }
        if drain.has_begun() {
            reasons.push(NotReady { what: "gate".into(), why: "draining".into() });
        }
        reasons
    }
}

/// Listeners, limits and the log belong to the process: a reload leaves them as they are.
fn warn_of_restart(old: &Config, new: &Config) {
    let listens =
        |config: &Config| format!("{:?}", (&config.gate.listen, &config.gate.tls, &config.admin));
    for (what, differs) in [
        ("gate.listen, gate.tls and admin.listen", listens(old) != listens(new)),
        ("limits", format!("{:?}", old.limits) != format!("{:?}", new.limits)),
        ("audit", format!("{:?}", old.audit) != format!("{:?}", new.audit)),
        ("revocations", old.revocations != new.revocations),
    ] {
        if differs {
            tracing::warn!("a change of {what} takes effect when the gate is started anew");
        }
    }
}
