//! What the gate counts about itself, as `OpenMetrics` text.
//!
//! Deciding and finishing a call touch a [`Tally`] that was made when the configuration was loaded
//! and that the call keeps: a reload that reorders resources moves no count. Everything else is read
//! when somebody scrapes.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::model::reason::Reason;

/// The media type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of the time that a decision takes: from a remembered token to a fetched fact.
const DECISION_SECONDS: [f64; 12] =
    [25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 25e-3, 100e-3, 500e-3, 2.5];

/// Upper bounds of the time that a policy takes: from a few rules to all its steps.
const POLICY_SECONDS: [f64; 10] =
    [5e-6, 10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 1e-3, 5e-3, 25e-3, 100e-3];

/// Upper bounds of the time that a whole call takes, streams included.
const CALL_SECONDS: [f64; 13] =
    [1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1.0, 2.5, 10.0, 60.0];

/// Everything that is counted. Cloning shares the counts.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

/// The counts of one resource, or of the calls that reached none. Whoever counts keeps it, so that
/// what is counted stays where it belongs however the configuration changes.
#[derive(Clone)]
pub struct Tally(Arc<Counts>);

/// A policy that was asked, and what it said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyAsked {
    /// What carries it.
    pub carrier: &'static str,
    /// What it was read as.
    pub dialect: &'static str,
    /// What it said.
    pub result: &'static str,
}

impl fmt::Debug for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tally").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Nothing counted yet.
    pub fn new() -> Self {
        Self(Arc::new(Inner {
            known: Mutex::default(),
            elsewhere: Arc::default(),
            decision_seconds: Histogram::new(DECISION_SECONDS),
            call_seconds: Histogram::new(CALL_SECONDS),
            policy_seconds: Histogram::new(POLICY_SECONDS),
            policies: Mutex::default(),
            alerts: Mutex::default(),
            reloads: Mutex::default(),
            gauges: Mutex::default(),
        }))
    }

    /// The counts of a resource, which go on through every reload. Those of one that leaves are still
    /// shown: a counter never falls.
    pub fn resource(&self, name: &str) -> Tally {
        Tally(Arc::clone(lock(&self.0.known).entry(name.to_owned()).or_default()))
    }

    /// The counts of calls that reach no resource.
    pub fn elsewhere(&self) -> Tally {
        Tally(Arc::clone(&self.0.elsewhere))
    }

    /// A decision was made. A call that is allowed for all that a reason says is one that is only
    /// observed.
    pub fn decided(&self, of: &Tally, allowed: bool, reason: Option<Reason>, took: Duration) {
        self.0.decision_seconds.observe(took.as_secs_f64());
        let counter = match (allowed, reason) {
            (true, None) => Some(&of.0.allowed),
            (false, None) => Some(&of.0.denied_unexplained),
            (true, Some(reason)) => of.0.observed.of(reason),
            (false, Some(reason)) => of.0.denied.of(reason),
        };
        if let Some(counter) = counter {
            counter.inc();
        }
    }

    /// A call has ended. Results are a handful of fixed words.
    pub fn finished(&self, of: &Tally, result: &'static str, took: Duration) {
        self.0.call_seconds.observe(took.as_secs_f64());
        lock(&of.0.results).entry(result).or_default().inc();
    }

    /// A policy was asked. Each label is one of a handful of fixed words, whatever tokens carry.
    pub fn asked(&self, asked: PolicyAsked, took: Duration) {
        self.0.policy_seconds.observe(took.as_secs_f64());
        lock(&self.0.policies).entry(asked).or_default().inc();
    }

    /// A record was flagged for somebody to look at.
    pub fn alerted(&self, alert: &'static str) {
        lock(&self.0.alerts).entry(alert).or_default().inc();
    }

    /// The configuration was to be put into force anew, and was or was not.
    pub fn reloaded(&self, is_done: bool) {
        let result = if is_done { "done" } else { "failed" };
        lock(&self.0.reloads).entry(result).or_default().inc();
    }

    /// A value that is read at each scrape. A gauge of the same name is replaced.
    pub fn gauge(
        &self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) {
        self.register(name, help, Reading::One(Box::new(read)));
    }

    /// Values that are read at each scrape, one for each value of `label`. Gauges of the same name
    /// are replaced.
    pub fn gauges(
        &self,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        read: impl Fn() -> Vec<(String, f64)> + Send + Sync + 'static,
    ) {
        self.register(name, help, Reading::Several(label, Box::new(read)));
    }

    /// Everything, as text of the type [`CONTENT_TYPE`].
    pub fn render(&self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self.clone()));
        let mut out = String::new();
        // Writing to a string fails only if a collector says so, and half an exposition would be
        // read as series that vanished.
        text::encode(&mut out, &registry).map(|()| out).unwrap_or_default()
    }

    fn register(&self, name: &'static str, help: &'static str, reading: Reading) {
        lock(&self.0.gauges).insert(name, Arc::new(Gauge { help, reading }));
    }
}

struct Inner {
    /// By name, every resource since the start.
    known: Mutex<BTreeMap<String, Arc<Counts>>>,
    /// Calls that reached no resource.
    elsewhere: Arc<Counts>,
    decision_seconds: Histogram,
    call_seconds: Histogram,
    policy_seconds: Histogram,
    policies: Mutex<BTreeMap<PolicyAsked, Counter>>,
    alerts: Mutex<BTreeMap<&'static str, Counter>>,
    reloads: Mutex<BTreeMap<&'static str, Counter>>,
    gauges: Mutex<BTreeMap<&'static str, Arc<Gauge>>>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// The counters of one resource.
#[derive(Default)]
struct Counts {
    allowed: Counter,
    denied_unexplained: Counter,
    denied: ByReason,
    observed: ByReason,
    results: Mutex<BTreeMap<&'static str, Counter>>,
}

impl Counts {
    /// Decision, reason, count; what never happened is left out, or each resource would show two
    /// series for every reason there is.
    fn decisions(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let refused = self.denied.counted().map(|(reason, count)| ("deny", reason, count));
        let observed = self.observed.counted().map(|(reason, count)| ("observed", reason, count));
        std::iter::once(("allow", "", self.allowed.get()))
            .chain(
                std::iter::once(("deny", "", self.denied_unexplained.get()))
                    .filter(|(_, _, count)| *count > 0),
            )
            .chain(refused)
            .chain(observed)
    }
}

/// A counter for each reason, in the order of [`Reason::ALL`].
struct ByReason(Box<[Counter]>);

impl ByReason {
    fn of(&self, reason: Reason) -> Option<&Counter> {
        // The list is in the order of the enum, which is its `Ord`.
        Reason::ALL.binary_search(&reason).ok().and_then(|at| self.0.get(at))
    }

    fn counted(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Reason::ALL
            .iter()
            .zip(&self.0)
            .map(|(reason, counter)| (reason.code(), counter.get()))
            .filter(|(_, count)| *count > 0)
    }
}

impl Default for ByReason {
    fn default() -> Self {
        Self(Reason::ALL.iter().map(|_| Counter::default()).collect())
    }
}

struct Gauge {
    help: &'static str,
    reading: Reading,
}

enum Reading {
    One(Box<dyn Fn() -> f64 + Send + Sync>),
    Several(&'static str, Box<dyn Fn() -> Vec<(String, f64)> + Send + Sync>),
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Inner { decision_seconds, call_seconds, policy_seconds, .. } = self.0.as_ref();
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        encoder
            .encode_descriptor("opgate_build", "The running program.", None, MetricType::Info)?
            .encode_info(&version)?;
        self.encode_counters(&mut encoder)?;
        decision_seconds.encode(encoder.encode_descriptor(
            "opgate_decision",
            "Time from the head of a call to the decision.",
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?)?;
        call_seconds.encode(encoder.encode_descriptor(
            "opgate_call",
            "Time from the head of a call to the end of its response.",
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?)?;
        policy_seconds.encode(encoder.encode_descriptor(
            "opgate_policy",
            "Time that one policy took to answer.",
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?)?;
        self.encode_policies(&mut encoder)?;
        self.encode_gauges(&mut encoder)?;
        encode_process(&mut encoder)
    }
}

/// A counter for each value of one label.
fn encode_by(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &str,
    counters: &Mutex<BTreeMap<&'static str, Counter>>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (value, counter) in lock(counters).iter() {
        family
            .encode_family(&[(label, *value)])?
            .encode_counter::<[(&str, &str); 0], _, u64>(&counter.get(), None)?;
    }
    Ok(())
}

impl Metrics {
    fn encode_counters(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let resources: Vec<(String, Arc<Counts>)> = {
            let known = lock(&self.0.known);
            let named = known.iter().map(|(name, counts)| (name.clone(), Arc::clone(counts)));
            std::iter::once((String::new(), Arc::clone(&self.0.elsewhere))).chain(named).collect()
        };
        let help = "Decisions, by what was decided and why.";
        let mut family =
            encoder.encode_descriptor("opgate_decisions", help, None, MetricType::Counter)?;
        for (name, counts) in &resources {
            for (decision, reason, count) in counts.decisions() {
                let labels =
                    [("resource", name.as_str()), ("decision", decision), ("reason", reason)];
                family
                    .encode_family(&labels)?
                    .encode_counter::<[(&str, &str); 0], _, u64>(&count, None)?;
            }
        }
        let help = "Calls that have ended, by how.";
        let mut family =
            encoder.encode_descriptor("opgate_calls", help, None, MetricType::Counter)?;
        for (name, counts) in &resources {
            for (result, counter) in lock(&counts.results).iter() {
                let labels = [("resource", name.as_str()), ("result", result)];
                family
                    .encode_family(&labels)?
                    .encode_counter::<[(&str, &str); 0], _, u64>(&counter.get(), None)?;
            }
        }
        Ok(())
    }

    fn encode_policies(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help =
            "Policies that were asked, by what carries them, their language and what they said.";
        let name = "opgate_policies_asked";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (PolicyAsked { carrier, dialect, result }, counter) in lock(&self.0.policies).iter() {
            let labels = [("carrier", *carrier), ("dialect", *dialect), ("result", *result)];
            family
                .encode_family(&labels)?
                .encode_counter::<[(&str, &str); 0], _, u64>(&counter.get(), None)?;
        }
        let help = "Records that were flagged for somebody to look at, by why.";
        encode_by(encoder, "opgate_alerts", help, "alert", &self.0.alerts)?;
        let help = "Reloads of the configuration, by whether it was put into force.";
        encode_by(encoder, "opgate_reloads", help, "result", &self.0.reloads)
    }

    fn encode_gauges(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        // Read outside the lock: what a gauge reads may take locks of its own.
        let gauges: Vec<(&'static str, Arc<Gauge>)> =
            lock(&self.0.gauges).iter().map(|(name, gauge)| (*name, Arc::clone(gauge))).collect();
        for (name, gauge) in gauges {
            let mut family =
                encoder.encode_descriptor(name, gauge.help, None, MetricType::Gauge)?;
            match &gauge.reading {
                Reading::One(read) => family.encode_gauge(&read())?,
                Reading::Several(label, read) => {
                    for (value, reading) in read() {
                        let labels = [(*label, value.as_str())];
                        family.encode_family(&labels)?.encode_gauge(&reading)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// The process as the system sees it, under the names that every dashboard knows. Where there is no
/// `/proc` these are left out.
fn encode_process(encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    if let Some(bytes) = resident_bytes() {
        let help = "Resident memory size in bytes.";
        let name = "process_resident_memory_bytes";
        encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&bytes)?;
    }
    if let Some(count) = open_files() {
        let help = "Number of open file descriptors.";
        let name = "process_open_fds";
        encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&count)?;
    }
    Ok(())
}

/// `status` counts in kilobytes, whatever the size of a page.
fn resident_bytes() -> Option<i64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<i64>().ok()?.checked_mul(1024)
}

/// One less than are listed: reading the list opens one.
fn open_files() -> Option<i64> {
    let listed = fs::read_dir("/proc/self/fd").ok()?.count();
    i64::try_from(listed.saturating_sub(1)).ok()
}

/// What these locks guard is whole between any two statements, so a panic elsewhere spoils nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOK: Duration = Duration::from_micros(60);

    fn lines_of(text: &str, prefix: &str) -> Vec<String> {
        text.lines().filter(|line| line.starts_with(prefix)).map(str::to_owned).collect()
    }

    #[test]
    fn counters_are_rendered_in_order() {
        let metrics = Metrics::new();
        let (b, a) = (metrics.resource("b"), metrics.resource("a"));
        metrics.decided(&b, true, None, TOOK);
        metrics.decided(&b, true, Some(Reason::ScopeMissing), TOOK);
        metrics.decided(&a, false, Some(Reason::TokenExpired), TOOK);
        metrics.decided(&metrics.elsewhere(), false, Some(Reason::NoRoute), TOOK);
        metrics.finished(&b, "complete", TOOK);
        let text = metrics.render();
        let expected = "\
# HELP opgate_decisions Decisions, by what was decided and why.
# TYPE opgate_decisions counter
opgate_decisions_total{resource=\"\",decision=\"allow\",reason=\"\"} 0
opgate_decisions_total{resource=\"\",decision=\"deny\",reason=\"no_route\"} 1
opgate_decisions_total{resource=\"a\",decision=\"allow\",reason=\"\"} 0
opgate_decisions_total{resource=\"a\",decision=\"deny\",reason=\"token_expired\"} 1
opgate_decisions_total{resource=\"b\",decision=\"allow\",reason=\"\"} 1
opgate_decisions_total{resource=\"b\",decision=\"observed\",reason=\"scope_missing\"} 1
# HELP opgate_calls Calls that have ended, by how.
# TYPE opgate_calls counter
opgate_calls_total{resource=\"b\",result=\"complete\"} 1
";
        assert!(text.contains(expected), "{text}");
        assert!(text.contains("opgate_decision_seconds_bucket{le=\"0.0001\"} 4\n"), "{text}");
        assert!(text.contains("opgate_call_seconds_count 1\n"), "{text}");
        let build = format!("opgate_build_info{{version=\"{}\"}} 1\n", env!("CARGO_PKG_VERSION"));
        assert!(text.contains(&build), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    fn every_reason_has_its_counters() {
        let metrics = Metrics::new();
        let files = metrics.resource("files");
        for reason in Reason::ALL {
            metrics.decided(&files, false, Some(*reason), TOOK);
            metrics.decided(&files, true, Some(*reason), TOOK);
        }
        let text = metrics.render();
        for reason in Reason::ALL {
            for decision in ["deny", "observed"] {
                let line = format!(
                    "opgate_decisions_total{{resource=\"files\",decision=\"{decision}\",reason=\"{}\"}} 1",
                    reason.code()
                );
                assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
            }
        }
    }

    #[test]
    fn a_call_in_flight_is_counted_where_it_began_whatever_is_loaded_meanwhile() {
        let metrics = Metrics::new();
        let (_a, in_flight) = (metrics.resource("a"), metrics.resource("b"));
        metrics.decided(&in_flight, true, None, TOOK);
        metrics.decided(&metrics.resource("b"), true, None, TOOK);
        metrics.decided(&metrics.elsewhere(), true, None, TOOK);
        assert_eq!(
            lines_of(&metrics.render(), "opgate_decisions_total"),
            [
                "opgate_decisions_total{resource=\"\",decision=\"allow\",reason=\"\"} 1",
                "opgate_decisions_total{resource=\"a\",decision=\"allow\",reason=\"\"} 0",
                "opgate_decisions_total{resource=\"b\",decision=\"allow\",reason=\"\"} 2",
            ]
        );
    }

    #[test]
    fn gauges_are_read_at_each_scrape_and_replaced_by_name() {
        let metrics = Metrics::new();
        metrics.gauge("opgate_queue", "Waiting.", || 1.0);
        metrics.gauge("opgate_queue", "Waiting.", || 2.5);
        metrics.gauges("opgate_keys_age_seconds", "Age.", "issuer", || {
            vec![("https://a\"".to_owned(), 3.0)]
        });
        let text = metrics.render();
        assert_eq!(lines_of(&text, "opgate_queue"), ["opgate_queue 2.5"]);
        assert_eq!(
            lines_of(&text, "opgate_keys_age_seconds"),
            ["opgate_keys_age_seconds{issuer=\"https://a\\\"\"} 3.0"]
        );
    }

    #[test]
    fn the_process_is_described() {
        let text = Metrics::new().render();
        for name in ["process_resident_memory_bytes ", "process_open_fds "] {
            let lines = lines_of(&text, name);
            let value = lines[0].strip_prefix(name).unwrap();
            assert!(value.parse::<u64>().unwrap() > 0, "{lines:?}");
        }
    }
}
