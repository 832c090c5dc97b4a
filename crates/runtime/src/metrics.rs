use crate::handle::Figures;
use cluster::Client;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use types::NamespacedName;

/// The metrics of one process, under the names that dashboards for Flux and controller-runtime know.
#[derive(Clone)]
pub struct Metrics {
    shared: Arc<Shared>,
}

struct Shared {
    registry: Mutex<Registry>,
    reconcile_duration: Family<ObjectLabels, Histogram, fn() -> Histogram>,
    reconcile_total: Family<ResultLabels, Counter>,
    reconcile_errors: Family<ControllerLabels, Counter>,
    reconcile_panics: Family<ControllerLabels, Counter>,
    reconcile_time: Family<ControllerLabels, Histogram, fn() -> Histogram>,
    max_concurrent: Family<ControllerLabels, Gauge>,
    queue_duration: Family<QueueLabels, Histogram, fn() -> Histogram>,
    work_duration: Family<QueueLabels, Histogram, fn() -> Histogram>,
    leader: Family<NameLabels, Gauge>,
    events_dropped: Counter,
    queues: Arc<Mutex<Vec<(String, crate::Handle)>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ObjectLabels {
    kind: String,
    name: String,
    namespace: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    controller: String,
    result: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ControllerLabels {
    controller: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueueLabels {
    controller: String,
    name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NameLabels {
    name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Success,
    Error,
}

/// Ten buckets from 10 ms to 30 min, each 3.83 times the one before, as Flux has them.
fn flux_buckets() -> Histogram {
    Histogram::new(exponential_buckets(0.01, 180_000f64.powf(1.0 / 9.0), 10))
}

fn reconcile_buckets() -> Histogram {
    Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0])
}

fn queue_buckets() -> Histogram {
    Histogram::new(exponential_buckets(1e-8, 10.0, 12))
}

impl Metrics {
    pub fn new() -> Self {
        let shared = Shared {
            registry: Mutex::new(Registry::default()),
            reconcile_duration: Family::new_with_constructor(flux_buckets),
            reconcile_total: Family::default(),
            reconcile_errors: Family::default(),
            reconcile_panics: Family::default(),
            reconcile_time: Family::new_with_constructor(reconcile_buckets),
            max_concurrent: Family::default(),
            queue_duration: Family::new_with_constructor(queue_buckets),
            work_duration: Family::new_with_constructor(queue_buckets),
            leader: Family::default(),
            events_dropped: Counter::default(),
            queues: Arc::default(),
        };
        let metrics = Self { shared: Arc::new(shared) };
        let s = &metrics.shared;
        metrics.with_registry(|registry| {
            // The encoder ends the help text with a full stop and counters with _total.
            registry.register(
                "gotk_reconcile_duration_seconds",
                "The duration in seconds of a reconciliation",
                s.reconcile_duration.clone(),
            );
            registry.register("controller_runtime_reconcile", "Total number of reconciliations per controller", s.reconcile_total.clone());
            registry.register(
                "controller_runtime_reconcile_errors",
                "Reconciliations that failed, per controller",
                s.reconcile_errors.clone(),
            );
            registry.register(
                "controller_runtime_reconcile_panics",
                "Reconciliations that panicked, per controller",
                s.reconcile_panics.clone(),
            );
            registry.register(
                "controller_runtime_reconcile_time_seconds",
                "Length of reconciliations per controller",
                s.reconcile_time.clone(),
            );
            registry.register(
                "controller_runtime_max_concurrent_reconciles",
                "How many objects are reconciled at the same time, per controller",
                s.max_concurrent.clone(),
            );
            registry.register("workqueue_queue_duration_seconds", "How long an item waits in line", s.queue_duration.clone());
            registry.register("workqueue_work_duration_seconds", "How long processing an item takes", s.work_duration.clone());
            registry.register("leader_election_master_status", "Whether this replica is the leader", s.leader.clone());
            registry.register("sluice_events_dropped", "Events that found the queue full", s.events_dropped.clone());
            registry.register_collector(Box::new(Queues { queues: s.queues.clone() }));
            registry.register_collector(Box::new(ProcessFigures::new()));
        });
        metrics
    }

    /// Lets a controller register metrics of its own.
    pub fn with_registry<T>(&self, work: impl FnOnce(&mut Registry) -> T) -> T {
        work(&mut self.shared.registry.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The text that Prometheus reads.
    pub fn text(&self) -> String {
        let mut text = String::new();
        if self.with_registry(|registry| prometheus_client::encoding::text::encode(&mut text, registry)).is_err() {
            tracing::error!("the metrics cannot be written");
        }
        text
    }

    pub(crate) fn observe_client(&self, client: Client, host: String) {
        self.with_registry(|registry| registry.register_collector(Box::new(Requests { client, host })));
    }

    pub(crate) fn observe_queue(&self, name: &str, concurrent: usize, handle: crate::Handle) {
        self.shared.queues.lock().unwrap_or_else(PoisonError::into_inner).push((name.to_owned(), handle));
        let labels = ControllerLabels { controller: name.to_owned() };
        self.shared.max_concurrent.get_or_create(&labels).set(i64::try_from(concurrent).unwrap_or(i64::MAX));
        // Present from the start, so that a rate over them is defined.
        drop(self.shared.reconcile_errors.get_or_create(&labels));
        for result in ["success", "error", "requeue", "requeue_after"] {
            let labels = ResultLabels { controller: name.to_owned(), result: result.to_owned() };
            drop(self.shared.reconcile_total.get_or_create(&labels));
        }
    }

    pub(crate) fn set_leader(&self, lease: &str, leading: bool) {
        self.shared.leader.get_or_create(&NameLabels { name: lease.to_owned() }).set(i64::from(leading));
    }

    pub(crate) fn event_dropped(&self) {
        self.shared.events_dropped.inc();
    }

    pub(crate) fn panicked(&self, controller: &str) {
        self.shared.reconcile_panics.get_or_create(&ControllerLabels { controller: controller.to_owned() }).inc();
    }

    pub(crate) fn run_started(&self, controller: &str, waited: Duration) {
        self.shared.queue_duration.get_or_create(&queue_labels(controller)).observe(waited.as_secs_f64());
    }

    pub(crate) fn run_ended(
        &self,
        controller: &str,
        kind: &str,
        key: &NamespacedName,
        outcome: Outcome,
        requeued: bool,
        took: Duration,
        exists: bool,
    ) {
        let shared = &self.shared;
        let labels = ControllerLabels { controller: controller.to_owned() };
        let result = match outcome {
            Outcome::Error => "error",
            Outcome::Success if requeued => "requeue_after",
            Outcome::Success => "success",
        };
        shared.reconcile_total.get_or_create(&ResultLabels { controller: controller.to_owned(), result: result.to_owned() }).inc();
        if outcome == Outcome::Error {
            shared.reconcile_errors.get_or_create(&labels).inc();
        }
        shared.reconcile_time.get_or_create(&labels).observe(took.as_secs_f64());
        shared.work_duration.get_or_create(&queue_labels(controller)).observe(took.as_secs_f64());
        if exists {
            shared.reconcile_duration.get_or_create(&object_labels(kind, key)).observe(took.as_secs_f64());
        }
    }

    /// The series of an object end with it.
    pub(crate) fn forget(&self, kind: &str, key: &NamespacedName) {
        self.shared.reconcile_duration.remove(&object_labels(kind, key));
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn queue_labels(name: &str) -> QueueLabels {
    QueueLabels { controller: name.to_owned(), name: name.to_owned() }
}

fn object_labels(kind: &str, key: &NamespacedName) -> ObjectLabels {
    ObjectLabels { kind: kind.to_owned(), name: key.name.clone(), namespace: key.namespace.clone() }
}

/// The figures of the work queues, read when they are asked for.
struct Queues {
    queues: Arc<Mutex<Vec<(String, crate::Handle)>>>,
}

impl fmt::Debug for Queues {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Queues")
    }
}

impl Collector for Queues {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let figures: Vec<(QueueLabels, Figures)> = queues.iter().map(|(name, handle)| (queue_labels(name), handle.figures())).collect();
        let gauges: [(&str, &str, fn(&Figures) -> f64); 3] = [
            ("workqueue_depth", "How many items wait in line", |f| f.depth as f64),
            ("workqueue_unfinished_work_seconds", "How long the items in work have been worked on, summed", |f| f.unfinished.as_secs_f64()),
            ("workqueue_longest_running_processor_seconds", "How long the item that takes longest has been worked on", |f| {
                f.longest.as_secs_f64()
            }),
        ];
        for (name, help, read) in gauges {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (labels, figures) in &figures {
                ConstGauge::new(read(figures)).encode(family.encode_family(labels)?)?;
            }
        }
        let mut active = encoder.encode_descriptor(
            "controller_runtime_active_workers",
            "How many objects are being reconciled now, per controller",
            None,
            MetricType::Gauge,
        )?;
        for (labels, figures) in &figures {
            let labels = ControllerLabels { controller: labels.controller.clone() };
            ConstGauge::new(figures.active as f64).encode(active.encode_family(&labels)?)?;
        }
        let counters: [(&str, &str, fn(&Figures) -> u64); 2] = [
            ("workqueue_adds", "How many items were put in line", |f| f.adds),
            ("workqueue_retries", "How many items were put off after a failure", |f| f.retries),
        ];
        for (name, help, read) in counters {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (labels, figures) in &figures {
                ConstCounter::new(read(figures)).encode(family.encode_family(labels)?)?;
            }
        }
        Ok(())
    }
}

/// The requests to the API server.
struct Requests {
    client: Client,
    host: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    code: String,
    host: String,
    method: String,
}

impl fmt::Debug for Requests {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Requests")
    }
}

impl Collector for Requests {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let mut sums = std::collections::BTreeMap::<(u16, &str), u64>::new();
        for ((verb, code), count) in self.client.counts().snapshot() {
            *sums.entry((code, verb.method())).or_default() += count;
        }
        let help = "Requests to the API server by answer, host and method";
        let mut family = encoder.encode_descriptor("rest_client_requests", help, None, MetricType::Counter)?;
        for ((code, method), count) in sums {
            let code = if code == 0 { "<error>".to_owned() } else { code.to_string() };
            let labels = RequestLabels { code, host: self.host.clone(), method: method.to_owned() };
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// What the kernel knows about this process.
#[derive(Debug)]
struct ProcessFigures {
    started: f64,
    /// The highest CPU time shown so far: a counter must not go back.
    cpu: AtomicU64,
}

impl ProcessFigures {
    fn new() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self { started: now.as_secs_f64(), cpu: AtomicU64::new(0) }
    }
}

impl Collector for ProcessFigures {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let started = ConstGauge::new(self.started);
        started.encode(encoder.encode_descriptor(
            "process_start_time_seconds",
            "Start time of the process since the Unix epoch",
            None,
            MetricType::Gauge,
        )?)?;
        // Fields of /proc/self/stat after the name in parentheses; 14 and 15 are CPU time in hundredths of a second.
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
        let field = |number: usize| fields.get(number - 3).and_then(|text| text.parse::<u64>().ok());
        if let (Some(user), Some(system)) = (field(14), field(15)) {
            let cpu = self.cpu.fetch_max(user + system, Ordering::Relaxed).max(user + system);
            let metric = ConstCounter::new(cpu as f64 / 100.0);
            metric.encode(encoder.encode_descriptor("process_cpu_seconds", "User and system CPU time", None, MetricType::Counter)?)?;
        }
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim_start_matches(':').split_whitespace().next()?.parse::<f64>().ok()
        };
        for (name, help, field) in
            [("process_resident_memory_bytes", "Resident memory", "VmRSS"), ("process_virtual_memory_bytes", "Virtual memory", "VmSize")]
        {
            if let Some(kib) = kib(field) {
                ConstGauge::new(kib * 1024.0).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
            }
        }
        if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
            let metric = ConstGauge::new(open.count() as f64);
            metric.encode(encoder.encode_descriptor("process_open_fds", "Open file descriptors", None, MetricType::Gauge)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashboards_find_the_names_they_know() {
        let metrics = Metrics::new();
        let handle = crate::Handle::new(crate::Backoff::default());
        metrics.observe_queue("kustomization", 4, handle.clone());
        let key = NamespacedName::new("flux-system", "apps");
        handle.trigger(&key);
        metrics.run_started("kustomization", Duration::from_millis(3));
        metrics.run_ended("kustomization", "Kustomization", &key, Outcome::Error, false, Duration::from_millis(20), true);
        let text = metrics.text();
        for line in [
            r#"gotk_reconcile_duration_seconds_count{kind="Kustomization",name="apps",namespace="flux-system"} 1"#,
            r#"controller_runtime_reconcile_total{controller="kustomization",result="error"} 1"#,
            r#"controller_runtime_reconcile_errors_total{controller="kustomization"} 1"#,
            r#"workqueue_adds_total{controller="kustomization",name="kustomization"} 1"#,
            "process_start_time_seconds ",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(text.contains(r#"le="1800"#) || text.contains(r#"le="1799.99"#) || text.contains(r#"le="1800.0"#), "{text}");
        metrics.forget("Kustomization", &key);
        assert!(!metrics.text().contains(r#"name="apps""#));
    }
}
