//! What an instance measures, for Prometheus. Each has a registry of its own, because several run
//! in one process in `movr demo` and in tests. Label values are constants of the program and the
//! regions of settings and catalogue: their number does not depend on what clients send.

use std::{
    fmt::{self, Debug},
    sync::atomic::AtomicU64,
    time::Duration,
};

use metrics_process::collector;
use parking_lot::{MappedRwLockReadGuard, RwLock};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, prometheus_text},
    metrics::{
        MetricType, TypedMetric,
        counter::{ConstCounter, Counter},
        family,
        gauge::{ConstGauge, Gauge},
        histogram::Histogram,
    },
    registry::Registry,
};

use crate::domain::region::RegionCode;

pub use prometheus_text::CONTENT_TYPE;

type Seconds = Gauge<f64, AtomicU64>;
/// A name, a label or the help of a metric: all of them are constants.
type Text = &'static str;
type Labels<const N: usize> = [(Text, Text); N];

/// Seconds; 0.3 is a target of its own.
const BUCKETS: [f64; 14] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0];

/// A metric whose label names are fixed when it is registered.
pub struct Family<M, const N: usize> {
    labels: [Text; N],
    family: family::Family<Labels<N>, M>,
}

impl<M, const N: usize> Family<M, N> {
    /// Shows no value until there is one again.
    pub fn clear(&self) {
        self.family.clear();
    }

    /// The metric of these label values, in the order of the names.
    pub fn of(&self, values: [Text; N]) -> MappedRwLockReadGuard<'_, M> {
        let mut labels = self.labels.map(|name| (name, ""));
        for (label, value) in labels.iter_mut().zip(values) {
            label.1 = value;
        }
        self.family.get_or_create(&labels)
    }
}

impl<const N: usize> Family<Histogram, N> {
    pub fn took(&self, values: [Text; N], time: Duration) {
        self.of(values).observe(time.as_secs_f64());
    }
}

impl Family<Gauge, 2> {
    /// 1 for the state in which something is, 0 for the others.
    pub fn state(&self, region: Text, states: &[Text], current: &str) {
        for state in states {
            self.of([region, state]).set(i64::from(*state == current));
        }
    }
}

/// A metric as its documentation shows it.
pub struct Description {
    pub name: Text,
    pub kind: MetricType,
    pub labels: Vec<Text>,
    pub help: Text,
}

#[derive(Default)]
struct Registration {
    registry: Registry,
    described: Vec<Description>,
}

impl Registration {
    fn add<M, const N: usize>(&mut self, name: Text, labels: [Text; N], help: Text, new: fn() -> M) -> Family<M, N>
    where
        M: EncodeMetric + TypedMetric + Debug + Send + Sync + 'static,
    {
        let family = family::Family::<Labels<N>, M>::new_with_constructor(new);
        // The ending of counters is added when they are written.
        self.registry.register(name.trim_end_matches("_total"), help.trim_end_matches('.'), family.clone());
        self.described.push(Description { name, kind: M::TYPE, labels: labels.to_vec(), help });
        Family { labels, family }
    }

    fn counter<const N: usize>(&mut self, name: Text, labels: [Text; N], help: Text) -> Family<Counter, N> {
        self.add(name, labels, help, Counter::default)
    }

    fn gauge<const N: usize>(&mut self, name: Text, labels: [Text; N], help: Text) -> Family<Gauge, N> {
        self.add(name, labels, help, Gauge::default)
    }

    fn seconds<const N: usize>(&mut self, name: Text, labels: [Text; N], help: Text) -> Family<Seconds, N> {
        self.add(name, labels, help, Seconds::default)
    }

    fn histogram<const N: usize>(&mut self, name: Text, labels: [Text; N], help: Text) -> Family<Histogram, N> {
        self.add(name, labels, help, || Histogram::new(BUCKETS))
    }
}

pub struct Metrics {
    all: Registration,
    /// The regions that may be label values.
    regions: RwLock<Vec<&'static str>>,
    pub ready: Family<Gauge, 0>,
    pub requests: Family<Counter, 3>,
    pub request_seconds: Family<Histogram, 3>,
    pub statement_seconds: Family<Histogram, 4>,
    pub attempts: Family<Counter, 1>,
    pub pool_connections: Family<Gauge, 2>,
    pub pool_size: Family<Gauge, 1>,
    pub pool_waiting: Family<Gauge, 1>,
    pub pool_wait_seconds: Family<Histogram, 1>,
    pub connects: Family<Counter, 2>,
    pub failovers: Family<Counter, 1>,
    pub certificate_expiry: Family<Gauge, 1>,
    pub circuits: Family<Gauge, 2>,
    pub reachable: Family<Gauge, 1>,
    pub region_states: Family<Gauge, 2>,
    pub answer_age: Family<Seconds, 1>,
    pub stale_reads: Family<Counter, 1>,
    pub stale_age: Family<Seconds, 1>,
    pub refusals: Family<Counter, 1>,
    pub residency_refusals: Family<Counter, 0>,
    pub jobs: Family<Gauge, 1>,
    pub job_age: Family<Seconds, 1>,
    pub sign_ins: Family<Counter, 1>,
    pub catalogue_version: Family<Gauge, 0>,
    pub catalogue_age: Family<Seconds, 0>,
}

impl Metrics {
    /// Of an instance in `region`, which is a label of everything.
    pub fn new(region: &str) -> Self {
        let everywhere = [("region".into(), region.to_owned().into())];
        let mut all =
            Registration { registry: Registry::with_labels(everywhere.into_iter()), ..Registration::default() };
        all.gauge("movr_build_info", ["version", "revision"], "The release; always 1.")
            .of([env!("CARGO_PKG_VERSION"), option_env!("MOVR_REVISION").unwrap_or("unknown")])
            .set(1);
        all.registry.register_collector(Box::new(Process));
        let region = ["data_region"];
        let metrics = Self {
            ready: all.gauge("movr_ready", [], "Whether the instance takes requests: it has warmed up, does not drain, and its nodes answered when last asked."),
            requests: all.counter(
                "movr_http_requests_total",
                ["route", "method", "status"],
                "Requests by the pattern of their route.",
            ),
            request_seconds: all.histogram(
                "movr_http_request_duration_seconds",
                ["route", "method", "reach"],
                "Time until the answer is made; reach says whether rows of other regions were touched (away), none \
                 but those of this one (home), or no statement was sent (none).",
            ),
            statement_seconds: all.histogram(
                "movr_db_statement_duration_seconds",
                ["statement", "reach", "data_region", "outcome"],
                "Time from sending a statement to its answer; reach as the statement declares it.",
            ),
            attempts: all.counter(
                "movr_db_transaction_attempts_total",
                ["outcome"],
                "Attempts of writes and transactions; contended and ambiguous ones are retried.",
            ),
            pool_connections: all.gauge(
                "movr_db_pool_connections",
                ["data_region", "state"],
                "Connections to the nodes of a region.",
            ),
            pool_size: all.gauge("movr_db_pool_size", region, "The most connections that there may be."),
            pool_waiting: all.gauge("movr_db_pool_waiting", region, "Requests that wait for a connection now."),
            pool_wait_seconds: all.histogram(
                "movr_db_pool_wait_seconds",
                region,
                "Time until a connection was there, opening a new one included.",
            ),
            connects: all.counter("movr_db_connects_total", ["data_region", "outcome"], "Connections opened."),
            failovers: all.counter(
                "movr_db_failovers_total",
                region,
                "Connections taken at other nodes because those of the region cannot be reached.",
            ),
            certificate_expiry: all.gauge(
                "movr_db_certificate_expiry_timestamp_seconds",
                region,
                "When the certificate that the nodes last showed ends.",
            ),
            circuits: all.gauge(
                "movr_circuit_state",
                ["data_region", "state"],
                "1 for the state of a region's circuit breaker.",
            ),
            reachable: all.gauge("movr_region_reachable", region, "Whether a region's rows answer here."),
            region_states: all.gauge(
                "movr_region_state",
                ["data_region", "state"],
                "1 for whether a region takes writes: open, draining, closed, or closed and no earlier write is \
                 under way (fenced).",
            ),
            answer_age: all.seconds("movr_region_answer_age_seconds", region, "Since the last answer to a probe."),
            stale_reads: all.counter(
                "movr_stale_reads_total",
                region,
                "Pages and feeds that showed older rows because the region did not answer.",
            ),
            stale_age: all.seconds(
                "movr_stale_read_age_seconds",
                region,
                "How old the list is that a page about the region shows now; 0 while the region answers.",
            ),
            refusals: all.counter("movr_refusals_total", ["reason"], "Requests that a rule refused."),
            residency_refusals: all.counter(
                "movr_residency_refusals_total",
                [],
                "Rows that a data residency policy kept where they are.",
            ),
            jobs: all.gauge("movr_jobs", ["state"], "Unfinished jobs of the region, at most 1000."),
            job_age: all.seconds("movr_job_oldest_age_seconds", ["state"], "Since the oldest of them was confirmed."),
            sign_ins: all.counter("movr_sign_ins_total", ["outcome"], "Tries to sign in or to recover an account."),
            catalogue_version: all.gauge("movr_catalogue_version", [], "Version of the catalogue in memory."),
            catalogue_age: all.seconds(
                "movr_catalogue_age_seconds",
                [],
                "Since it was last compared with the database.",
            ),
            regions: RwLock::default(),
            all,
        };
        // There from the start, so that the first of each counts as an increase.
        for outcome in ["committed", "rolled_back", "contended", "ambiguous", "failed"] {
            drop(metrics.attempts.of([outcome]));
        }
        for outcome in ["ok", "failed", "throttled"] {
            drop(metrics.sign_ins.of([outcome]));
        }
        drop(metrics.residency_refusals.of([]));
        metrics
    }

    /// A region of the settings or the catalogue as a label value, from now on. They are few and
    /// stay as long as the process.
    pub fn know(&self, region: &RegionCode) -> &'static str {
        let mut known = self.regions.write();
        known.iter().find(|known| **known == region.as_str()).copied().unwrap_or_else(|| {
            let name: &'static str = Box::leak(region.as_str().into());
            known.push(name);
            name
        })
    }

    /// A region that may have come from a client as a label value.
    pub fn region(&self, region: &RegionCode) -> &'static str {
        let known = self.regions.read();
        known.iter().find(|known| **known == region.as_str()).copied().unwrap_or("unknown")
    }

    pub fn described(&self) -> &[Description] {
        &self.all.described
    }

    /// All of it in Prometheus' text format.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.all.registry)?;
        Ok(text)
    }
}

/// The standard figures of a process, read when they are asked for.
#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let now = collector::collect();
        if let Some(seconds) = now.cpu_seconds_total {
            let (help, counter) = ("Total user and system CPU time spent in seconds", ConstCounter::new(seconds));
            counter.encode(encoder.encode_descriptor("process_cpu_seconds", help, None, MetricType::Counter)?)?;
        }
        for (name, help, value) in [
            ("process_open_fds", "Number of open file descriptors", now.open_fds),
            ("process_max_fds", "Maximum number of open file descriptors", now.max_fds),
            ("process_virtual_memory_bytes", "Virtual memory size in bytes", now.virtual_memory_bytes),
            ("process_resident_memory_bytes", "Resident memory size in bytes", now.resident_memory_bytes),
            ("process_start_time_seconds", "Start time of the process since the Unix epoch", now.start_time_seconds),
            ("process_threads", "Number of OS threads in the process", now.threads),
        ] {
            if let Some(value) = value {
                let descriptor = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
                ConstGauge::new(value).encode(descriptor)?;
            }
        }
        Ok(())
    }
}
