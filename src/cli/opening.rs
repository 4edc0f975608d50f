//! Opening the log, and remembering from it what earlier processes have let through: a proof does not
//! count anew, and a budget is not new, because the process is.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use aws_lc_rs::rand;

use super::serve::environment;
use crate::audit::tag::Tagger;
use crate::config::{Audit, Config};
use crate::facts::bonds::Bonds;
use crate::facts::ledger::Ledger;
use crate::facts::replay::Replay;
use crate::journal::recovery::Recovered;
use crate::journal::uses::{self, Uses};
use crate::journal::writer::Journal;
use crate::journal::{custody, segment, tag_key};
use crate::model::time::Timestamp;
use crate::policy::quantities::Lasts;
use crate::runtime::clock;
use crate::token::trust::Issuer;
use crate::token::{dpop, workload};

/// What the key of accounts is derived from the log's key by, so that neither says anything of the other.
const ACCOUNTS: &[u8] = b"opgate accounts of caps";

/// What the process remembers.
#[derive(Debug)]
pub struct Opened {
    /// The log.
    pub journal: Journal,
    /// The proofs that were used.
    pub replay: Arc<Replay>,
    /// What was used of caps.
    pub ledger: Arc<Ledger>,
}

/// Opens the log before anything is served; what an unclean end left is said.
pub fn open(config: &Config) -> anyhow::Result<Opened> {
    let audit = &config.audit;
    let directory = &audit.directory;
    make_private(directory).with_context(|| format!("`{}` cannot be made", directory.display()))?;
    for (exposed, how) in custody::check(directory)? {
        tracing::warn!(directory = %exposed.display(), "{how}");
    }
    let tagger = tagger(audit)?;
    let accounts = tagger.tag(ACCOUNTS);
    let (journal, recovered) = Journal::open(audit, tagger, &config.digest, clock::now())?;
    if recovered.previous_clean == Some(false) {
        tracing::warn!(
            lines_cut = recovered.lines_cut,
            bytes_cut = recovered.bytes_cut,
            interrupted = recovered.open_calls.len(),
            "the log was not closed; it has been recovered"
        );
    }
    let now = clock::now();
    let uses = recall(config, &recovered, now).context("the used proofs cannot be read back")?;
    let mut key = [0; 32];
    rand::fill(&mut key).map_err(|_unspecified| anyhow::anyhow!("there is no randomness"))?;
    let (own, limits) = (journal.clone(), &config.limits);
    let keyed = Box::new(move |person: &[u8; 16]| own.cut(person));
    let bonds = Bonds::new(limits.evidence, limits.evidence_memory, keyed, uses.bonds_since);
    bonds.recall(&uses.bonds);
    let replay = Replay::new(limits.proofs, &key, uses.complete_since, bonds);
    replay.recall(&uses.seen, now);
    let ledger =
        Ledger::new(config.limits.charges, accounts.as_str().as_bytes(), uses.complete_since);
    ledger.recall(&uses.charged, now.max(recovered.last));
    Ok(Opened { journal, replay: Arc::new(replay), ledger: Arc::new(ledger) })
}

/// The ledger as the log here says, for a look at it from outside. Where nothing is logged here, nothing was
/// used.
pub fn look(config: &Config) -> anyhow::Result<Ledger> {
    let audit = &config.audit;
    let lifetime = longest_charge(config);
    if lifetime == Duration::ZERO || !audit.directory.join(segment::DIRECTORY).is_dir() {
        return Ok(Ledger::new(config.limits.charges, &[], None));
    }
    let accounts = tagger(audit)?.tag(ACCOUNTS);
    let now = clock::now();
    let uses = uses::read(&audit.directory, &Recovered::default(), lifetime, Duration::ZERO, now)
        .with_context(|| {
        format!("the log in `{}` cannot be read", audit.directory.display())
    })?;
    let ledger =
        Ledger::new(config.limits.charges, accounts.as_str().as_bytes(), uses.complete_since);
    ledger.recall(&uses.charged, now);
    Ok(ledger)
}

fn tagger(audit: &Audit) -> anyhow::Result<Tagger> {
    let directory = &audit.directory;
    Ok(match &audit.tag_key {
        Some(reference) => {
            Tagger::new(reference.read(&environment).context("audit.tag_key")?.expose())
        }
        None => tag_key::tagger(directory)
            .with_context(|| format!("`{}` cannot be used", directory.join("tag.key").display()))?,
    })
}

fn recall(config: &Config, recovered: &Recovered, now: Timestamp) -> anyhow::Result<Uses> {
    let proofs = dpop::LIFETIME.max(workload::LIFETIME);
    let lifetime = proofs.max(longest_charge(config));
    let memory = config.limits.evidence_memory;
    let uses = uses::read(&config.audit.directory, recovered, lifetime, memory, now)?;
    if uses.complete_since.is_some_and(|since| since >= now.before(proofs)) {
        tracing::warn!(
            "some records of used proofs may be lost: until the last of them has ended, DPoP proofs need a nonce and proofs of workloads are refused"
        );
    }
    if uses.bonds_since.is_some() {
        tracing::warn!(
            "records of whom evidence was used with are lost: where `evidence_reuse` is `refuse`, evidence of before is refused for as long as it would have been remembered"
        );
    }
    if uses.complete_since.is_some() && longest_charge(config) > Duration::ZERO {
        tracing::warn!(
            "some records of what was used of caps may be lost: calls are refused under caps whose window reaches back so far"
        );
    }
    Ok(uses)
}

/// The longest that a call counts under any cap, so far as the log must be read back.
fn longest_charge(config: &Config) -> Duration {
    let tokens = config.issuers.iter().map(|issuer| {
        let Issuer { max_lifetime, leeway, .. } = &*issuer.trust;
        // Made at its beginning, which may lie in the future by the leeway, and used until its end.
        max_lifetime.saturating_add(leeway.saturating_mul(2))
    });
    let tokens = tokens.max().unwrap_or_default();
    let caps = config.resources.iter().flat_map(|resource| &resource.caps);
    let lasting = caps.map(|cap| match cap.lasts {
        Lasts::Call => Duration::ZERO,
        Lasts::Grant => tokens,
        // A step longer than the window at most.
        Lasts::Window(window) => window.saturating_add(window / 512),
    });
    lasting.max().unwrap_or_default()
}

fn make_private(directory: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
}
