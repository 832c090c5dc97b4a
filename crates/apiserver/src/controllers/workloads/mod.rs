//! What the controllers of a controller manager do for workloads, and what nodes would do, without any container.
//!
//! ```text
//! store ──observer──► Queue (each place once) ──► run ──► deployment ─► replicaset ─► pods ◄── nodes (when simulated)
//!                        ▲                         │      statefulset, daemonset, job ◄─ cronjob
//!                        └──── timers ◄────────────┘      endpoints, disruption, autoscaler, volumes
//! ```
//!
//! One task does everything, one place at a time, from what is stored at that moment: there is no cache that could be behind,
//! and ten thousand workloads cost ten thousand entries in a queue.

mod autoscaler;
mod children;
mod cronjob;
mod daemonset;
mod deployment;
mod disruption;
mod endpoints;
mod fate;
mod index;
mod job;
mod nodes;
mod pods;
mod replicaset;
mod revisions;
mod rollout;
mod schedule;
mod selection;
mod statefulset;
mod volumes;

pub use selection::{Controllers, UnknownController};

use crate::api::Api;
use crate::protocol::status::Result;
use crate::store::{Change, Event, Place, Record, Uid};
use index::Index;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

pub const DEPLOYMENTS: &str = "deployments.apps";
pub const REPLICA_SETS: &str = "replicasets.apps";
pub const REPLICATION_CONTROLLERS: &str = "replicationcontrollers";
pub const STATEFUL_SETS: &str = "statefulsets.apps";
pub const DAEMON_SETS: &str = "daemonsets.apps";
pub const REVISIONS: &str = "controllerrevisions.apps";
pub const JOBS: &str = "jobs.batch";
pub const CRON_JOBS: &str = "cronjobs.batch";
pub const PODS: &str = "pods";
pub const NODES: &str = "nodes";
pub const SERVICES: &str = "services";
pub const ENDPOINTS: &str = "endpoints";
pub const SLICES: &str = "endpointslices.discovery.k8s.io";
pub const BUDGETS: &str = "poddisruptionbudgets.policy";
pub const AUTOSCALERS: &str = "horizontalpodautoscalers.autoscaling";
pub const CLAIMS: &str = "persistentvolumeclaims";
pub const VOLUMES: &str = "persistentvolumes";
const EVENTS: &str = "events";

const WATCHED: &[&str] = &[
    DEPLOYMENTS,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    STATEFUL_SETS,
    DAEMON_SETS,
    REVISIONS,
    JOBS,
    CRON_JOBS,
    PODS,
    NODES,
    SERVICES,
    ENDPOINTS,
    SLICES,
    BUDGETS,
    AUTOSCALERS,
    CLAIMS,
    VOLUMES,
];

/// Whether pods run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nodes {
    /// There are no nodes: pods are made and stay pending.
    None,
    /// Pods are ready, or done, after this long, without any container.
    Simulated { ready_after: Duration },
}

/// What is to be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Item {
    Object(Place),
    /// The object of which something that it controls has changed.
    Owner(Uid),
    /// A Job that goes, or is gone: its pods are nobody's to hold.
    Freed(Uid),
}

/// What a change asks to be looked at; called while the store is locked.
pub fn asks_for(table: &Arc<str>, event: &Event, mut ask: impl FnMut(Item)) {
    if !WATCHED.contains(&&**table) {
        return;
    }
    ask(Item::Object(Place { table: Arc::clone(table), key: Arc::clone(&event.record.key) }));
    let goes = match &event.before {
        Some(before) if event.change == Change::Modified => event.record.facts.deleting && !before.facts.deleting,
        _ => event.change == Change::Deleted,
    };
    if let Some(uid) = event.record.facts.uid.filter(|_| goes && &**table == JOBS) {
        ask(Item::Freed(uid));
    }
    let mut owners = |record: &Record| {
        record.facts.owners.iter().filter(|owner| owner.controls).for_each(|owner| ask(Item::Owner(owner.uid)));
    };
    owners(&event.record);
    if let Some(before) = event.before.as_ref().filter(|_| event.change == Change::Modified) {
        owners(before);
    }
}

/// The state of the one task: everything in it can be made anew from what is stored.
pub struct Workloads {
    api: Arc<Api>,
    controllers: Controllers,
    nodes: Nodes,
    index: Index,
    timers: Timers,
    /// What happens next to a pod, and when.
    pods_due: HashMap<Place, Instant>,
    /// The volume that was made for a claim.
    volumes: HashMap<Arc<str>, String>,
    next_address: u32,
}

/// When a place is to be looked at again: one entry for each, the earliest.
#[derive(Default)]
struct Timers {
    queue: BTreeMap<(Instant, u64), Place>,
    places: HashMap<Place, (Instant, u64)>,
    counter: u64,
}

impl Timers {
    fn set(&mut self, place: &Place, at: Instant) {
        if let Some(there) = self.places.get(place) {
            if there.0 <= at {
                return;
            }
            self.queue.remove(there);
        }
        self.counter += 1;
        self.queue.insert((at, self.counter), place.clone());
        self.places.insert(place.clone(), (at, self.counter));
    }

    fn next(&self) -> Option<Instant> {
        self.queue.keys().next().map(|(at, _)| *at)
    }

    fn take_due(&mut self, now: Instant) -> Option<Place> {
        let entry = self.queue.first_entry().filter(|entry| entry.key().0 <= now)?;
        let place = entry.remove();
        self.places.remove(&place);
        Some(place)
    }
}

/// Events are kept as long as a real server keeps them.
const EVENTS_KEPT: Duration = Duration::from_secs(3600);
const EVENTS_SWEPT_EVERY: Duration = Duration::from_secs(60);
const RETRY_AFTER: Duration = Duration::from_millis(200);
const RETRY_REFUSED_AFTER: Duration = Duration::from_secs(1);

/// Works until the server stops.
pub async fn run(api: Arc<Api>, controllers: Controllers, nodes: Nodes) {
    let mut stopping = api.stopping.clone();
    let mut workloads = Workloads::new(Arc::clone(&api), controllers, nodes);
    if nodes != Nodes::None {
        nodes::ensure_node(&workloads);
    }
    let mut next_sweep = Instant::now() + EVENTS_SWEPT_EVERY;
    loop {
        let wake = workloads.timers.next().map_or(next_sweep, |at| at.min(next_sweep));
        tokio::select! {
            item = api.queues.workloads.next() => workloads.take(item),
            () = tokio::time::sleep_until(wake) => {
                let now = Instant::now();
                while let Some(place) = workloads.timers.take_due(now) {
                    api.queues.workloads.push(Item::Object(place));
                }
                if now >= next_sweep {
                    next_sweep = now + EVENTS_SWEPT_EVERY;
                    forget_old_events(&api);
                }
            }
            _ = stopping.wait_for(|stop| *stop) => return,
        }
        // Requests come first.
        tokio::task::yield_now().await;
    }
}

impl Workloads {
    fn new(api: Arc<Api>, controllers: Controllers, nodes: Nodes) -> Self {
        Self {
            api,
            controllers,
            nodes,
            index: Index::default(),
            timers: Timers::default(),
            pods_due: HashMap::new(),
            volumes: HashMap::new(),
            next_address: 0,
        }
    }

    fn take(&mut self, item: Item) {
        match item {
            Item::Object(place) => self.look_at(&place),
            Item::Owner(uid) => {
                if let Some(place) = self.api.store.place_of(uid) {
                    self.api.queues.workloads.push(Item::Object(place));
                }
            }
            Item::Freed(uid) => {
                for place in self.api.store.dependents_of(uid).into_iter().filter(|place| &*place.table == PODS) {
                    self.api.queues.workloads.push(Item::Object(place));
                }
            }
        }
    }

    fn look_at(&mut self, place: &Place) {
        let record = self.api.store.get(&place.table, &place.key);
        let done = self.sync(place, record.as_ref());
        if let Err(status) = done {
            tracing::debug!(error = %status, place = %place.key, "a workload is looked at again");
            match status.code {
                404 => {}
                // Neither a quota nor an ending namespace changes by asking.
                403 => self.again(place, RETRY_REFUSED_AFTER),
                _ => self.again(place, RETRY_AFTER),
            }
        }
    }

    fn sync(&mut self, place: &Place, record: Option<&Arc<Record>>) -> Result<()> {
        let on = |name: &str| self.controllers.has(name);
        match (&*place.table, record) {
            (DEPLOYMENTS, Some(record)) if on("deployment") => deployment::sync(self, record),
            (REPLICA_SETS, record) => {
                self.index.update(place, record);
                match record {
                    Some(record) if self.controllers.has("replicaset") => replicaset::sync(self, place, record),
                    _ => Ok(()),
                }
            }
            (REPLICATION_CONTROLLERS, Some(record)) if on("replicationcontroller") => replicaset::sync(self, place, record),
            (STATEFUL_SETS, Some(record)) if on("statefulset") => statefulset::sync(self, place, record),
            (DAEMON_SETS, Some(record)) if on("daemonset") => daemonset::sync(self, place, record),
            (JOBS, Some(record)) if on("job") => job::sync(self, place, record),
            (CRON_JOBS, Some(record)) if on("cronjob") => cronjob::sync(self, place, record),
            (PODS, record) => {
                let touched = self.index.update(place, record);
                self.ask_selecting(place, &touched);
                if let Some(record) = record {
                    job::release_orphan(self, record)?;
                }
                if self.nodes == Nodes::None { Ok(()) } else { nodes::sync(self, place, record) }
            }
            (NODES, _) => {
                self.ask_all(DAEMON_SETS);
                Ok(())
            }
            (SERVICES, record) => endpoints::sync(self, place, record),
            // Whoever changes or removes what was written for a Service gets it back.
            (ENDPOINTS, _) => {
                self.ask(SERVICES, &place.key);
                Ok(())
            }
            (BUDGETS, record) if on("disruption") => disruption::sync(self, place, record),
            (AUTOSCALERS, Some(record)) if on("horizontalpodautoscaling") => autoscaler::sync(self, place, record),
            (CLAIMS, record) if on("persistentvolume-binder") => volumes::sync_claim(self, place, record),
            (VOLUMES, Some(record)) if on("persistentvolume-binder") => volumes::sync_volume(self, record),
            _ => Ok(()),
        }
    }

    /// Looks at a place again after a while.
    fn again(&mut self, place: &Place, after: Duration) {
        self.timers.set(place, Instant::now() + after);
    }

    fn ask(&self, table: &str, key: &str) {
        self.api.queues.workloads.push(Item::Object(Place { table: Arc::from(table), key: Arc::from(key) }));
    }

    fn ask_all(&self, table: &str) {
        for record in self.api.store.all(table, "") {
            self.ask(table, &record.key);
        }
    }

    /// Services and budgets that select a pod by labels that it has, or had.
    fn ask_selecting(&self, pod: &Place, labels: &[Box<str>]) {
        let namespace = pod.key.split_once('/').map_or("", |(namespace, _)| namespace);
        for table in [SERVICES, BUDGETS] {
            for key in self.index.selecting(table, namespace, labels) {
                self.ask(table, &key);
            }
        }
    }
}

fn forget_old_events(api: &Api) {
    let registry = api.registry();
    let Some(resource) = registry.of_table(EVENTS) else { return };
    let now = jiff::Timestamp::now().as_second();
    let kept = i64::try_from(EVENTS_KEPT.as_secs()).unwrap_or(i64::MAX);
    for record in api.store.all(EVENTS, "") {
        let event = record.value();
        let last = ["/lastTimestamp", "/series/lastObservedTime", "/eventTime", "/metadata/creationTimestamp"]
            .iter()
            .filter_map(|at| pods::seconds(event.pointer(at)?.as_str()?))
            .max();
        if last.is_some_and(|last| last + kept < now) {
            let options = crate::rest::delete::Options::default();
            let _ = crate::rest::delete::remove(api, &crate::access::User::admin(), resource, record.namespace(), record.name(), &options);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controllers::Queues;
    use crate::store::{Draft, Expect};

    #[test]
    fn a_pod_that_its_job_holds_goes_with_the_job() {
        let (api, _stop) = crate::probe::fresh(Queues::new(true, false));
        let mut workloads = Workloads::new(Arc::clone(&api), Controllers::ALL, Nodes::None);
        let uid = Uid::random().to_string();
        let registry = api.registry();
        let store = |table: &str, object: serde_json::Value| {
            let key = format!("default/{}", crate::api::text(&object, "/metadata/name"));
            api.store.put(registry.of_table(table).map_or(table, |r| &r.table), &key, Expect::Absent, Draft::new(&object)).unwrap()
        };
        let job = store(
            JOBS,
            serde_json::json!({"kind": "Job", "apiVersion": "batch/v1", "metadata": {"name": "held", "namespace": "default", "uid": uid},
            "spec": {"managedBy": "example.com/another"}}),
        );
        store(
            PODS,
            serde_json::json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "held-1", "namespace": "default", "uid": Uid::random().to_string(),
            "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["batch.kubernetes.io/job-tracking"],
            "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "held", "uid": uid, "controller": true}]}}),
        );
        let work = |workloads: &mut Workloads| {
            while let Some(item) = api.queues.workloads.pop() {
                workloads.take(item);
            }
        };
        work(&mut workloads);
        assert!(api.store.get(PODS, "default/held-1").is_some(), "as long as the Job is there, it has a say");
        api.store.remove(JOBS, "default/held", job.revision, Draft::new(&job.value())).unwrap();
        work(&mut workloads);
        assert!(api.store.get(PODS, "default/held-1").is_none(), "nobody holds the pod any more");
        assert_eq!(workloads.timers.next(), None, "nothing is asked again and again");
    }

    #[tokio::test]
    async fn a_place_has_one_timer_the_earliest() {
        let mut timers = Timers::default();
        let place = Place { table: Arc::from("t"), key: Arc::from("k") };
        let now = Instant::now();
        timers.set(&place, now + Duration::from_secs(5));
        timers.set(&place, now + Duration::from_secs(9));
        timers.set(&place, now + Duration::from_secs(1));
        assert_eq!(timers.next(), Some(now + Duration::from_secs(1)));
        assert_eq!(timers.take_due(now), None);
        assert_eq!(timers.take_due(now + Duration::from_secs(2)), Some(place));
        assert_eq!(timers.next(), None);
    }
}
