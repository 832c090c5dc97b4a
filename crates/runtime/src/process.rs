use crate::backoff::{Backoff, Jitter};
use crate::clock::Clock;
use crate::controller::{Controller, Reconciler};
use crate::events::Recorder;
use crate::flags::Flags;
use crate::gates::FeatureGates;
use crate::leader::{Elector, LeaderElection, lease_name};
use crate::metrics::Metrics;
use crate::server::{self, Answer, Answers};
use crate::store::Store;
use cluster::{Client, Fence, Selection, WatchEvent};
use futures::StreamExt;
use hyper::StatusCode;
use serde::de::DeserializeOwned;
use std::collections::HashSet;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Why a process could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read the kubeconfig")]
    Kubeconfig(#[source] kube::config::KubeconfigError),
    #[error("no kubeconfig was given or found, and this is no pod of a cluster")]
    NoCluster(#[source] kube::config::InferConfigError),
    #[error("cannot connect to the cluster")]
    Cluster(#[from] cluster::Error),
    #[error("cannot listen on {address}")]
    Listen { address: String, source: std::io::Error },
    #[error("{0}")]
    Flag(String),
    #[error("{task} ended: {message}")]
    Task { task: String, message: String },
}

/// Everything that a process is told from outside, as values: no flag, variable or global is read later on.
#[derive(Clone)]
pub struct Settings {
    /// `source-controller`: in events, leases, user agents and field managers.
    pub name: String,
    pub kube: kube::Config,
    /// `None` turns a server off; port 0 takes any that is free.
    pub metrics_addr: Option<String>,
    pub health_addr: Option<String>,
    pub events_addr: Option<String>,
    /// `None`: this process is alone and leads.
    pub leader_election: Option<LeaderElection>,
    pub backoff: Backoff,
    pub jitter: Jitter,
    pub clock: Clock,
    pub gates: FeatureGates,
    /// Where the objects of this controller are watched, and which; see [`Settings::selection`].
    pub watch_namespace: String,
    pub watch_label_selector: String,
    /// Who reports: the pod's name.
    pub instance: String,
    /// How long runs may go on after the first signal.
    pub grace: Duration,
}

impl Settings {
    /// What the flags and the environment say.
    pub async fn from_flags(name: &str, flags: &Flags, known_gates: &[(&str, bool)]) -> Result<Self, Error> {
        let kube = kube_config(flags.kubeconfig.as_deref(), flags.context.as_deref()).await?;
        let mut settings = Self::embedded(name, kube);
        let address = |text: &str| server::address(text).map_err(Error::Flag);
        settings.metrics_addr = address(&flags.metrics_addr)?;
        settings.health_addr = address(&flags.health_addr)?;
        settings.events_addr = (!flags.events_addr.is_empty()).then(|| flags.events_addr.clone());
        settings = settings.with_gates(known_gates, &flags.feature_gates);
        settings.backoff = Backoff { min: flags.min_retry_delay.to_std(), max: flags.max_retry_delay.to_std() };
        settings.jitter = Jitter::new(flags.interval_jitter_percentage, rand::random());
        let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let namespace = env("RUNTIME_NAMESPACE");
        settings.instance = env("HOSTNAME").or_else(host_name).unwrap_or_else(|| name.to_owned());
        if !flags.watch_all_namespaces {
            settings.watch_namespace =
                namespace.clone().ok_or_else(|| Error::Flag("--watch-all-namespaces=false needs RUNTIME_NAMESPACE to be set".into()))?;
        }
        settings.watch_label_selector = flags.watch_label_selector.clone();
        if flags.enable_leader_election {
            settings.leader_election = Some(LeaderElection {
                namespace: namespace.unwrap_or_else(|| settings.kube.default_namespace.clone()),
                lease: lease_name(name, &flags.watch_label_selector),
                identity: format!("{}_{}", settings.instance, crate::log::uuid(&settings.jitter)),
                lease_duration: flags.leader_election_lease_duration.to_std(),
                renew_deadline: flags.leader_election_renew_deadline.to_std(),
                retry_period: flags.leader_election_retry_period.to_std(),
                release_on_cancel: flags.leader_election_release_on_cancel,
            });
        }
        Ok(settings)
    }

    /// A process inside another program: no servers, no election, everything else at its default.
    pub fn embedded(name: &str, kube: kube::Config) -> Self {
        Self {
            name: name.to_owned(),
            kube,
            metrics_addr: None,
            health_addr: None,
            events_addr: None,
            leader_election: None,
            backoff: Backoff::default(),
            jitter: Jitter::new(5, rand::random()),
            clock: Clock::system(),
            gates: FeatureGates::default(),
            watch_namespace: String::new(),
            watch_label_selector: String::new(),
            instance: name.to_owned(),
            grace: Duration::from_secs(30),
        }
    }

    /// The gates that this controller knows, as `set` says; what has no effect is logged.
    pub fn with_gates(self, known: &[(&str, bool)], set: &str) -> Self {
        let (gates, warnings) = FeatureGates::new(known, set);
        warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        Self { gates, ..self }
    }

    /// Which objects of its own kinds the controller watches: its shard.
    pub fn selection(&self) -> Selection {
        Selection { labels: self.watch_label_selector.clone(), ..self.unsharded() }
    }

    /// Every object that this process may see, of whatever shard: what objects of its own refer to.
    pub fn unsharded(&self) -> Selection {
        Selection { namespace: self.watch_namespace.clone(), ..Selection::default() }
    }
}

/// The client configuration of the flags: --kubeconfig, KUBECONFIG, the pod's own, ~/.kube/config.
pub async fn kube_config(kubeconfig: Option<&std::path::Path>, context: Option<&str>) -> Result<kube::Config, Error> {
    use kube::config::{KubeConfigOptions, Kubeconfig};
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..Default::default() };
    if let Some(path) = kubeconfig {
        let file = Kubeconfig::read_from(path).map_err(Error::Kubeconfig)?;
        return kube::Config::from_custom_kubeconfig(file, &options).await.map_err(Error::Kubeconfig);
    }
    let chosen = context.is_some() || std::env::var_os("KUBECONFIG").is_some_and(|value| !value.is_empty());
    if chosen {
        return kube::Config::from_kubeconfig(&options).await.map_err(Error::Kubeconfig);
    }
    match kube::Config::incluster() {
        Ok(config) => Ok(config),
        Err(_) => kube::Config::infer().await.map_err(Error::NoCluster),
    }
}

fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// A controller's process, or one of several inside a program. Cheap to clone.
///
/// ```text
/// start ──► watch(store) ..., run(controller) ..., spawn(task) ... ──► finish
///
/// stop()    no new runs; those under way go on, up to `grace`
/// then      they are cancelled, and dropped soon after
/// then      the lease is given back, queued events are delivered, servers and watches end
/// ```
#[derive(Clone)]
pub struct Process {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    client: Client,
    metrics: Metrics,
    leading: watch::Receiver<bool>,
    recorder: Recorder,
    stop: CancellationToken,
    /// No more events will come: deliver what is queued.
    drain: CancellationToken,
    end: CancellationToken,
    controllers: TaskTracker,
    tasks: TaskTracker,
    events: TaskTracker,
    election: TaskTracker,
    failure: Mutex<Option<Error>>,
    /// Name, number of places and queue of each controller.
    handles: Mutex<Vec<(String, usize, crate::Handle)>>,
    checks: Mutex<Vec<(String, Check)>>,
    unsynced: Mutex<Vec<(String, watch::Receiver<bool>)>>,
    metrics_addr: Option<SocketAddr>,
    health_addr: Option<SocketAddr>,
}

type Check = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Something in line while there is room is taken at once; after this time nobody is there to take it.
const IDLE_MAX: Duration = Duration::from_secs(60);
const DROP_WITHIN: Duration = Duration::from_secs(12);
const FLUSH_WITHIN: Duration = Duration::from_secs(5);

impl Process {
    /// Connects, opens the servers and stands for election. Must be called within a Tokio runtime.
    pub async fn start(settings: Settings) -> Result<Self, Error> {
        let fence = if settings.leader_election.is_some() { Fence::closed() } else { Fence::open() };
        let host = settings.kube.cluster_url.authority().map(ToString::to_string).unwrap_or_default();
        let mut kube = settings.kube.clone();
        let agent = format!("{}/{}", settings.name, env!("CARGO_PKG_VERSION"));
        if let Ok(agent) = http::HeaderValue::from_str(&agent) {
            kube.headers.push((http::header::USER_AGENT, agent));
        }
        let client = Client::with_fence(kube, fence.clone())?;
        let metrics = Metrics::new();
        metrics.observe_client(client.clone(), host);
        let drain = CancellationToken::new();
        // Events pass the fence: they tell what this replica did while it led.
        let (recorder, workers) = Recorder::new(
            &settings.name,
            &settings.instance,
            settings.events_addr.as_deref(),
            client.unfenced(),
            settings.clock.clone(),
            metrics.clone(),
            drain.clone(),
        );
        let bound = |address: Option<String>| async move {
            match address {
                None => Ok(None),
                Some(address) => {
                    server::bind(&address).await.map(Some).map_err(|source| Error::Listen { address: address.clone(), source })
                }
            }
        };
        let metrics_server = bound(settings.metrics_addr.clone()).await?;
        let health_server = bound(settings.health_addr.clone()).await?;
        let (lead, leading) = watch::channel(settings.leader_election.is_none());
        let shared = Arc::new(Shared {
            client: client.clone(),
            metrics: metrics.clone(),
            leading,
            recorder,
            stop: CancellationToken::new(),
            drain: drain.clone(),
            end: CancellationToken::new(),
            controllers: TaskTracker::new(),
            tasks: TaskTracker::new(),
            events: TaskTracker::new(),
            election: TaskTracker::new(),
            failure: Mutex::default(),
            handles: Mutex::default(),
            checks: Mutex::default(),
            unsynced: Mutex::default(),
            metrics_addr: metrics_server.as_ref().map(|(_, address)| *address),
            health_addr: health_server.as_ref().map(|(_, address)| *address),
            settings,
        });
        let process = Self { shared };
        let shared = &process.shared;
        shared.events.spawn(workers.cluster);
        shared.events.spawn(workers.webhook);
        if let Some((listener, _)) = metrics_server {
            shared.tasks.spawn(server::serve(listener, metrics_answers(metrics), shared.end.clone()));
        }
        if let Some((listener, _)) = health_server {
            let answers = health_answers(Arc::downgrade(shared));
            shared.tasks.spawn(server::serve(listener, answers, shared.end.clone()));
        }
        if let Some(election) = shared.settings.leader_election.clone() {
            process.stand_for_election(election, lead, fence);
        }
        Ok(process)
    }

    fn stand_for_election(&self, settings: LeaderElection, lead: watch::Sender<bool>, fence: Fence) {
        let shared = &self.shared;
        let lease = settings.lease.clone();
        let elector = Elector {
            client: shared.client.clone(),
            settings,
            clock: shared.settings.clock.clone(),
            jitter: shared.settings.jitter.clone(),
            fence,
            leading: lead,
        };
        // The lease is given back when the controllers have come to rest, not when the signal comes.
        let drained = CancellationToken::new();
        let (controllers, end) = (shared.controllers.clone(), shared.stop.clone());
        let signal = drained.clone();
        shared.election.spawn(async move {
            end.cancelled().await;
            controllers.wait().await;
            signal.cancel();
        });
        shared.election.spawn(elector.run(drained));
        let (mut leading, metrics, process) = (shared.leading.clone(), shared.metrics.clone(), Arc::downgrade(shared));
        let end = shared.end.clone();
        shared.tasks.spawn(async move {
            loop {
                let leads = *leading.borrow_and_update();
                metrics.set_leader(&lease, leads);
                if let Some(shared) = process.upgrade()
                    && !leads
                {
                    let handles = shared.handles.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    handles.iter().for_each(|(_, _, handle)| handle.cancel_all());
                }
                tokio::select! {
                    () = end.cancelled() => return,
                    changed = leading.changed() => if changed.is_err() { return },
                }
            }
        });
    }

    pub fn name(&self) -> &str {
        &self.shared.settings.name
    }

    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    pub fn client(&self) -> &Client {
        &self.shared.client
    }

    pub fn clock(&self) -> &Clock {
        &self.shared.settings.clock
    }

    pub fn jitter(&self) -> &Jitter {
        &self.shared.settings.jitter
    }

    pub fn gates(&self) -> &FeatureGates {
        &self.shared.settings.gates
    }

    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Where the metrics are served; `None` when they are not.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.shared.metrics_addr
    }

    pub fn health_addr(&self) -> Option<SocketAddr> {
        self.shared.health_addr
    }

    /// Publishes events of objects, for whoever has no context of a reconcile at hand.
    pub fn recorder(&self) -> &Recorder {
        &self.shared.recorder
    }

    /// Waits until this replica leads: for servers that only the leader may run.
    pub async fn elected(&self) {
        // An error means that the election ended with the process.
        let _ = self.shared.leading.clone().wait_for(|leads| *leads).await;
    }

    pub fn leads(&self) -> bool {
        *self.shared.leading.borrow()
    }

    /// Cancelled when the process was told to stop.
    pub fn stopping(&self) -> &CancellationToken {
        &self.shared.stop
    }

    /// Tells the process to finish what it holds, and end.
    pub fn stop(&self) {
        self.shared.stop.cancel();
    }

    /// Runs a task of the controller's own until the process ends. If it fails, the process stops with that failure.
    pub fn spawn<E: std::fmt::Display>(&self, name: &str, task: impl Future<Output = Result<(), E>> + Send + 'static) {
        let (end, name) = (self.shared.end.clone(), name.to_owned());
        let process = Arc::downgrade(&self.shared);
        self.shared.tasks.spawn(async move {
            let ended = tokio::select! {
                () = end.cancelled() => return,
                ended = futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(task)) => ended,
            };
            let message = match ended {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "it panicked".to_owned(),
            };
            tracing::error!(task = %name, error = %message, "a task ended, and the process with it");
            if let Some(shared) = process.upgrade() {
                shared.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(Error::Task { task: name, message });
                shared.stop.cancel();
            }
        });
    }

    /// Adds a condition for being alive; it must answer at once.
    pub fn check(&self, name: &str, check: impl Fn() -> Result<(), String> + Send + Sync + 'static) {
        self.shared.checks.lock().unwrap_or_else(PoisonError::into_inner).push((name.to_owned(), Box::new(check)));
    }

    /// Feeds a store from the cluster until the process ends. Controllers wait until every store is filled.
    pub fn watch<T: DeserializeOwned + Send + Sync + 'static>(&self, store: &Store<T>, selection: Selection) {
        self.watch_with(self.shared.client.clone(), store, selection);
    }

    /// As `watch`, through another client.
    pub fn watch_with<T: DeserializeOwned + Send + Sync + 'static>(&self, client: Client, store: &Store<T>, selection: Selection) {
        let name = store.resource().full_name();
        self.shared.unsynced.lock().unwrap_or_else(PoisonError::into_inner).push((name, store.subscribe_synced()));
        // A store that is not fed any more would go on to look alive: if this ends, the process does.
        let task = format!("watch of {}", store.resource());
        let feed = feed(client, store.clone(), selection);
        self.spawn(&task, async move {
            feed.await;
            Err("the watch ended")
        });
    }

    /// Runs a controller over the objects of its store that `selection` takes, when this replica leads.
    pub fn run<R: Reconciler>(&self, controller: Controller<R>, selection: Selection) {
        let core = controller.build(self.clone());
        self.shared.metrics.observe_queue(&core.name, core.concurrent(), core.handle.clone());
        self.shared.handles.lock().unwrap_or_else(PoisonError::into_inner).push((
            core.name.clone(),
            core.concurrent(),
            core.handle.clone(),
        ));
        self.watch(&core.store, selection);
        let shared = self.shared.clone();
        self.shared.controllers.spawn(async move {
            tokio::select! {
                biased;
                () = shared.stop.cancelled() => return,
                () = shared.all_synced() => {}
            }
            let gate = core.clone();
            let mut leading = shared.leading.clone();
            let gate = async move {
                loop {
                    let leads = *leading.borrow_and_update();
                    if leads {
                        // What another leader left undone, and what changed meanwhile: look at everything.
                        gate.store.keys().iter().for_each(|key| gate.handle.trigger(key));
                    }
                    gate.handle.set_paused(!leads);
                    if leading.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
            };
            tokio::select! {
                () = gate => {}
                () = core.run() => {}
            }
        });
    }

    /// Waits until the process was told to stop, and brings everything to its end in order.
    pub async fn finish(self) -> Result<(), Error> {
        let shared = &self.shared;
        shared.stop.cancelled().await;
        shared.controllers.close();
        if tokio::time::timeout(shared.settings.grace, shared.controllers.wait()).await.is_err() {
            tracing::info!("runs that are still under way are cancelled");
            let handles = shared.handles.lock().unwrap_or_else(PoisonError::into_inner).clone();
            handles.iter().for_each(|(_, _, handle)| handle.cancel_all());
            let _ = tokio::time::timeout(DROP_WITHIN, shared.controllers.wait()).await;
        }
        shared.election.close();
        let _ = tokio::time::timeout(FLUSH_WITHIN, shared.election.wait()).await;
        shared.drain.cancel();
        shared.events.close();
        let _ = tokio::time::timeout(FLUSH_WITHIN, shared.events.wait()).await;
        shared.end.cancel();
        shared.tasks.close();
        let _ = tokio::time::timeout(FLUSH_WITHIN, shared.tasks.wait()).await;
        match shared.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }
}

impl Shared {
    async fn all_synced(&self) {
        let stores = self.unsynced.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (_, mut synced) in stores {
            let _ = synced.wait_for(|synced| *synced).await;
        }
    }

    fn is_alive(&self) -> Result<(), String> {
        for (name, concurrent, handle) in self.handles.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let figures = handle.figures();
            if figures.overdue > 0 {
                return Err(format!("{name}: {} runs hang and cannot be ended", figures.overdue));
            }
            if figures.active < *concurrent && figures.waiting > IDLE_MAX && !self.stop.is_cancelled() {
                return Err(format!("{name}: objects have been waiting for {}s and none is taken", figures.waiting.as_secs()));
            }
        }
        for (name, check) in self.checks.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            check().map_err(|problem| format!("{name}: {problem}"))?;
        }
        Ok(())
    }

    fn is_ready(&self) -> Result<(), String> {
        let stores = self.unsynced.lock().unwrap_or_else(PoisonError::into_inner);
        match stores.iter().find(|(_, synced)| !*synced.borrow()) {
            Some((name, _)) => Err(format!("{name} are not listed yet")),
            None => Ok(()),
        }
    }
}

fn metrics_answers(metrics: Metrics) -> Answers {
    Arc::new(move |path| match path {
        "/metrics" => Answer {
            status: StatusCode::OK,
            content_type: "application/openmetrics-text; version=1.0.0; charset=utf-8",
            body: metrics.text(),
        },
        _ => Answer::text(StatusCode::NOT_FOUND, "see /metrics\n"),
    })
}

fn health_answers(process: std::sync::Weak<Shared>) -> Answers {
    Arc::new(move |path| {
        let Some(shared) = process.upgrade() else { return Answer::text(StatusCode::SERVICE_UNAVAILABLE, "ended\n") };
        let state = match path {
            "/healthz" => shared.is_alive(),
            "/readyz" => shared.is_alive().and_then(|()| shared.is_ready()),
            _ => return Answer::text(StatusCode::NOT_FOUND, "see /healthz and /readyz\n"),
        };
        match state {
            Ok(()) => Answer::text(StatusCode::OK, "ok"),
            Err(problem) => Answer::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{problem}\n")),
        }
    })
}

/// Carries what a watch tells into a store, for ever.
async fn feed<T: DeserializeOwned + Send + Sync + 'static>(client: Client, store: Store<T>, selection: Selection) {
    let mut events = client.watch(store.resource(), &selection);
    let mut listed: Option<HashSet<types::NamespacedName>> = None;
    while let Some(event) = events.next().await {
        match event {
            WatchEvent::Restarted => listed = Some(HashSet::new()),
            WatchEvent::Listed(json) => {
                if let (Some(key), Some(listed)) = (store.upsert(&json), &mut listed) {
                    listed.insert(key);
                }
            }
            WatchEvent::Synced => {
                if let Some(listed) = listed.take() {
                    for key in store.keys().iter().filter(|key| !listed.contains(key)) {
                        store.remove(key, None);
                    }
                }
                store.set_synced();
            }
            WatchEvent::Applied(json) => {
                store.upsert(&json);
            }
            WatchEvent::Deleted(json) => {
                let meta = crate::store::meta_of(&json);
                store.remove(&meta.key(), Some(&meta.uid));
            }
            WatchEvent::Failed(error) if error.is_not_found() => {
                // The kind is not installed, or not any more: there are no objects of it.
                tracing::debug!(resource = %store.resource(), "the kind is not installed");
                store.keys().iter().for_each(|key| store.remove(key, None));
                store.set_synced();
            }
            WatchEvent::Failed(error) if error.is_expired() => tracing::debug!(resource = %store.resource(), "listing anew"),
            WatchEvent::Failed(error) => {
                tracing::info!(resource = %store.resource(), error = %error.chain(), "the watch broke off; trying again")
            }
        }
    }
}
