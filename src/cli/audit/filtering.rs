//! The options that say which records are wanted: the same for every command that looks through the log.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::audit::filter::{Filter, Reading};
use crate::audit::outline::Outline;
use crate::audit::tag::Tagger;
use crate::cli::{Usage, output};
use crate::config::secret::Reference;
use crate::journal::tag_key;
use crate::model::time::Timestamp;

/// Which records.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(
    next_help_heading = "Which records (`*` at either end of a value, `!` before it; again: or)"
)]
pub struct FilterArgs {
    /// From this time on: `2h`, `30m`, `7d`, `2026-11-24`, or `2026-11-24T08:00:00Z`
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Before this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// The action of the operation, or the tool that a message names
    #[arg(long, value_name = "ACTION")]
    pub action: Vec<String>,
    /// The agent
    #[arg(long, value_name = "AGENT")]
    pub agent: Vec<String>,
    /// The client, by its `client_id`
    #[arg(long, value_name = "CLIENT")]
    pub client: Vec<String>,
    /// What was decided: allow, deny, or would-deny (in mode `observe`)
    #[arg(long, value_name = "DECISION")]
    pub decision: Vec<String>,
    /// The person's confirmation, by its id
    #[arg(long, value_name = "ID")]
    pub evidence: Vec<String>,
    /// A decision or revocation, by the beginning of its id
    #[arg(long, value_name = "ID")]
    pub id: Vec<String>,
    /// A policy that was asked, by its name or the beginning of its SHA-256
    #[arg(long, value_name = "POLICY")]
    pub policy: Vec<String>,
    /// Why it was decided so, or why the call failed
    #[arg(long, value_name = "REASON")]
    pub reason: Vec<String>,
    /// The resource
    #[arg(long, value_name = "RESOURCE")]
    pub resource: Vec<String>,
    /// The session of messages, by its id or as the log has it (`h1:…`)
    #[arg(long, value_name = "SESSION")]
    pub session: Vec<String>,
    /// Text anywhere in the record, letter by letter
    #[arg(long, value_name = "TEXT")]
    pub text: Vec<String>,
    /// The token, by its `jti` or SHA-256
    #[arg(long, value_name = "TOKEN")]
    pub token: Vec<String>,
    /// The trace, by the beginning of its id
    #[arg(long, value_name = "ID")]
    pub trace: Vec<String>,
    /// The type of the record: decision, outcome, revocation, config, …
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: Vec<String>,
    /// The person, by `sub` or as the log has it (`h1:…`)
    #[arg(long, value_name = "SUB")]
    pub user: Vec<String>,
    /// The file that `audit.tag_key` names, for `--user` and `--session` where the key is not kept with the log
    #[arg(long, value_name = "FILE")]
    pub tag_key: Option<PathBuf>,
}

impl FilterArgs {
    /// The filter, for the log in `directory`.
    pub fn filter(&self, directory: &Path, now: Timestamp) -> anyhow::Result<Filter> {
        let tagger = match &self.tag_key {
            Some(path) => Some(tagger_in(path)?),
            // A copy of the log is handed out without its key.
            None => tag_key::existing(directory).ok(),
        };
        let reading = Reading { now, tagger: tagger.as_ref() };
        Filter::parse(self.pairs(), reading)
            .map_err(|mistake| Usage::error(output::escaped(&mistake.to_string())))
    }

    fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let once: [(&str, &Option<String>); 2] = [("since", &self.since), ("until", &self.until)];
        let many: [(&str, &[String]); 15] = [
            ("action", &self.action),
            ("agent", &self.agent),
            ("client", &self.client),
            ("decision", &self.decision),
            ("evidence", &self.evidence),
            ("id", &self.id),
            ("policy", &self.policy),
            ("reason", &self.reason),
            ("resource", &self.resource),
            ("session", &self.session),
            ("text", &self.text),
            ("token", &self.token),
            ("trace", &self.trace),
            ("type", &self.kind),
            ("user", &self.user),
        ];
        let once = once.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
        let many = many
            .into_iter()
            .flat_map(|(name, values)| values.iter().map(move |value| (name, value.as_str())));
        once.chain(many)
    }
}

/// The most calls whose outcome is waited for.
const MOST_OPEN: usize = 100_000;

/// The records that are wanted of a log that is read forwards: an outcome is wanted with its decision.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    filter: &'a Filter,
    /// Whether an outcome comes with its decision also after the time that is asked for.
    later: bool,
    /// Decisions that were wanted and have no outcome yet.
    open: BTreeSet<u64>,
}

impl<'a> Wanted<'a> {
    pub(super) const fn new(filter: &'a Filter, later: bool) -> Self {
        Self { filter, later, open: BTreeSet::new() }
    }

    /// Whether the record in `line`, the next of the log, is wanted.
    pub(super) fn takes(&mut self, line: &str) -> bool {
        if self.filter.is_everything() {
            return true;
        }
        let Some(outline) = Outline::read(line.as_bytes()) else { return false };
        let takes = self.filter.wants(&outline, line);
        if outline.kind == "outcome" {
            let is_of_wanted = outline.of.is_some_and(|of| self.open.remove(&of));
            let is_in_time = self.later || self.filter.spans(&outline.ts);
            return takes || (is_of_wanted && is_in_time);
        }
        if takes && outline.is_forwarded() && self.open.len() < MOST_OPEN {
            self.open.insert(outline.seq);
        }
        takes
    }
}

/// What makes keyed hashes with the key in the file at `path`.
pub(super) fn tagger_in(path: &Path) -> anyhow::Result<Tagger> {
    let key = Reference::File(path.to_owned()).read(&|_| None);
    Ok(Tagger::new(key.with_context(|| path.display().to_string())?.expose()))
}
