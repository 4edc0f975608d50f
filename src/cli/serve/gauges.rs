//! What a scrape of the gate shows beside counters: read when it is asked for.

use std::sync::Arc;

use super::Engine;
use crate::proxy::listener::Entrance;
use crate::proxy::upstream::Stats;
use crate::runtime::clock;

/// A name, what it says, and where it is read.
type UpstreamGauge = (&'static str, &'static str, fn(Stats) -> usize);

/// What is shown of each upstream.
const UPSTREAM_GAUGES: [UpstreamGauge; 6] = [
    ("opgate_upstream_addresses_ejected", "Addresses that are left out", |stats| stats.ejected),
    ("opgate_upstream_calls_in_flight", "Calls that hold or await a connection", |stats| {
        stats.in_flight
    }),
    ("opgate_upstream_connections_idle", "Connections that nobody uses", |stats| stats.idle),
    ("opgate_upstream_connections_open", "Connections to an upstream", |stats| stats.open),
    ("opgate_upstream_connects", "Connections tried since the last reload", |stats| stats.connects),
    ("opgate_upstream_retries", "Calls sent anew since the last reload", |stats| stats.retries),
];

impl Engine {
    fn register_memories(self: &Arc<Self>) {
        let engine = Arc::clone(self);
        self.lasting.metrics.gauge(
            "opgate_policies_compiled",
            "Compiled policies that are kept",
            move || float(engine.serving.load().facts.policies_kept().0),
        );
        let engine = Arc::clone(self);
        self.lasting.metrics.gauge(
            "opgate_policies_compiled_bytes",
            "The texts of compiled policies that are kept: at most some 4 MiB",
            move || wide(engine.serving.load().facts.policies_kept().1),
        );
        let replay = Arc::clone(&self.lasting.replay);
        self.lasting.metrics.gauge(
            "opgate_proofs_remembered",
            "Used proofs that are remembered",
            move || float(replay.held()),
        );
        let replay = Arc::clone(&self.lasting.replay);
        self.lasting.metrics.gauge(
            "opgate_proofs_turned_away",
            "Calls refused because no further used proof could be remembered",
            move || wide(replay.turned_away()),
        );
        let ledger = Arc::clone(&self.lasting.ledger);
        self.lasting.metrics.gauge(
            "opgate_charges_remembered",
            "What calls have used of caps and still counts, by party and moment at which it ends",
            move || float(ledger.held()),
        );
        let ledger = Arc::clone(&self.lasting.ledger);
        self.lasting.metrics.gauge(
            "opgate_charges_turned_away",
            "Calls that were refused because no more charges can be remembered",
            move || wide(ledger.turned_away()),
        );
    }

    fn register_reloads(self: &Arc<Self>) {
        let engine = Arc::clone(self);
        self.lasting.metrics.gauge(
            "opgate_config_last_reload_successful",
            "Whether the configuration could be put into force when it was last to be: 1 or 0",
            move || f64::from(u8::from(engine.reloaded().0)),
        );
        let engine = Arc::clone(self);
        self.lasting.metrics.gauge(
            "opgate_config_last_reload_success_timestamp_seconds",
            "When a configuration was last put into force",
            move || wide(engine.reloaded().1.seconds()),
        );
    }

    fn register_sealing(&self) {
        let journal = self.journal.clone();
        self.lasting.metrics.gauge(
            "opgate_audit_sealed_records",
            "Records that the latest signed checkpoint covers",
            move || wide(journal.sealed().unwrap_or_default().size),
        );
        let journal = self.journal.clone();
        self.lasting.metrics.gauge(
            "opgate_audit_checkpoint_timestamp_seconds",
            "When the latest checkpoint was signed; 0 before the first of this process",
            move || wide(journal.sealed().unwrap_or_default().at.seconds()),
        );
    }

    pub(super) fn register_gauges(self: &Arc<Self>, entrance: &Entrance) {
        self.register_reloads();
        self.register_sealing();
        let entrance = entrance.clone();
        self.lasting.metrics.gauge(
            "opgate_connections_open",
            "Connections of callers that are open",
            move || float(entrance.open()),
        );
        let journal = self.journal.clone();
        self.lasting.metrics.gauge(
            "opgate_audit_queued_records",
            "Records that wait for the disk",
            move || float(journal.stats().queued),
        );
        let journal = self.journal.clone();
        self.lasting.metrics.gauge(
            "opgate_audit_lost_records",
            "Records that were counted instead of kept",
            move || wide(journal.stats().lost),
        );
        let journal = self.journal.clone();
        self.lasting.metrics.gauge(
            "opgate_audit_next_seq",
            "The number of the next record",
            move || wide(journal.stats().next_seq),
        );
        let journal = self.journal.clone();
        self.lasting.metrics.gauge(
            "opgate_audit_syncs",
            "Times that the disk was synced",
            move || wide(journal.stats().syncs),
        );
        let revocations = Arc::clone(&self.lasting.revocations);
        self.lasting.metrics.gauges(
            "opgate_revocations",
            "Revocations of the operator that are in force",
            "kind",
            move || {
                let counts = revocations.counts(clock::now());
                counts.into_iter().map(|(kind, count)| (kind.word().into(), float(count))).collect()
            },
        );
        self.register_memories();
        self.register_labelled_gauges();
    }

    /// How old the news is that tokens were taken back, and how the issuers answered.
    fn register_liveness_gauges(&self) {
        let serving = Arc::clone(&self.serving);
        self.lasting.metrics.gauges(
            "opgate_revocation_feed_age_seconds",
            "Time since an issuer's feed of revocations was confirmed",
            "issuer",
            move || {
                let now = clock::now();
                let ages = serving.load().facts.feed_ages();
                ages.into_iter()
                    .filter_map(|(issuer, at)| Some((issuer.into(), now.since(at?).as_secs_f64())))
                    .collect()
            },
        );
        let serving = Arc::clone(&self.serving);
        self.lasting.metrics.gauges(
            "opgate_status_list_age_seconds",
            "Time since the oldest status list of an issuer was fetched",
            "issuer",
            move || {
                let now = clock::now();
                let ages = serving.load().facts.list_ages();
                ages.into_iter()
                    .map(|(issuer, at)| (issuer.into(), now.since(at).as_secs_f64()))
                    .collect()
            },
        );
        let serving = Arc::clone(&self.serving);
        self.lasting.metrics.gauges(
            "opgate_introspections",
            "Introspections since the configuration was loaded, by what the issuer said",
            "result",
            move || {
                let [active, inactive] = serving.load().facts.introspections();
                vec![("active".into(), wide(active)), ("inactive".into(), wide(inactive))]
            },
        );
        let serving = Arc::clone(&self.serving);
        self.lasting.metrics.gauges(
            "opgate_liveness_failures",
            "Lists, feeds and answers that an issuer did not give since the configuration was loaded",
            "issuer",
            move || {
                let failures = serving.load().facts.liveness_failures();
                failures.into_iter().map(|(issuer, count)| (issuer.into(), wide(count))).collect()
            },
        );
    }

    fn register_labelled_gauges(&self) {
        self.register_liveness_gauges();
        let serving = Arc::clone(&self.serving);
        self.lasting.metrics.gauges(
            "opgate_issuer_keys_age_seconds",
            "Time since an issuer's keys were confirmed",
            "issuer",
            move || {
                let now = clock::now();
                let ages = serving.load().facts.key_ages();
                ages.into_iter()
                    .filter_map(|(issuer, at)| Some((issuer.into(), now.since(at?).as_secs_f64())))
                    .collect()
            },
        );
        for (name, help, of) in UPSTREAM_GAUGES {
            let serving = Arc::clone(&self.serving);
            self.lasting.metrics.gauges(name, help, "upstream", move || {
                let serving = serving.load();
                let upstreams = serving.upstreams.iter();
                upstreams
                    .map(|upstream| {
                        (upstream.config().name.to_string(), float(of(upstream.stats())))
                    })
                    .collect()
            });
        }
    }
}

fn float(number: usize) -> f64 {
    wide(u64::try_from(number).unwrap_or(u64::MAX))
}

#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "a gauge is a float, exact up to 2^53"
)]
const fn wide(number: u64) -> f64 {
    number as f64
}
