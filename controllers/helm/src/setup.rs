//! What watches what.

use crate::{
    charts::Charts,
    dependency,
    options::{FEATURE_GATES, Options},
    reconcile::{ADOPT, Reconciler},
    source::{self, HELM_CHART},
    spec,
    storage::Decoded,
    waits::Actions,
    watch::DriftWatch,
};
use api::{Conditions, helm::HelmRelease, meta};
use apply::Targets;
use artifacts::SourceKey;
use cluster::{Resource, Selection};
use plan::metadata::OwnerLabels;
use runtime::{Controller, Process, Settings, Store};
use std::sync::{Arc, OnceLock};
use tokio_util::sync::CancellationToken;
use types::NamespacedName;

const BY_SOURCE: &str = "source";
const BY_DEPENDENCY: &str = "dependency";
const BY_CONFIG: &str = "config";
/// Actions at work at the same time, for each worker: most of an action is waiting for the server.
const ACTIONS_A_WORKER: usize = 4;

/// Runs the controller inside another program until `shutdown` is cancelled.
pub async fn run(options: Options, kube: kube::Config, shutdown: CancellationToken) -> Result<(), runtime::Error> {
    let settings = Settings::embedded("helm-controller", kube).with_gates(FEATURE_GATES, &options.feature_gates);
    runtime::program::embedded(settings, shutdown, |process| set_up(process, options)).await
}

fn releases() -> Store<HelmRelease> {
    Store::new(Resource::namespaced(HelmRelease::GROUP, HelmRelease::VERSION, HelmRelease::KIND, "helmreleases"))
        .with_index(BY_SOURCE, |this| source::key_of(this).map(|key| key.text()).into_iter().collect())
        .with_index(BY_DEPENDENCY, |this| this.spec.depends_on.iter().map(|one| dependency::key_of(this, one).to_string()).collect())
        .with_index(BY_CONFIG, configs)
        .with_wish(ADOPT)
}

/// ConfigMaps and Secrets that a HelmRelease reads.
fn configs(this: &HelmRelease) -> Vec<String> {
    let namespace = spec::namespace(this);
    let values = this.spec.values_from.iter().map(|one| (one.kind.as_str(), one.name.as_str()));
    let kube = this.spec.kube_config.iter().flat_map(|one| {
        let secret = one.secret_ref.as_ref().map(|one| ("Secret", one.name.as_str()));
        let map = one.config_map_ref.as_ref().map(|one| ("ConfigMap", one.name.as_str()));
        secret.into_iter().chain(map)
    });
    values.chain(kube).map(|(kind, name)| format!("{kind}/{namespace}/{name}")).collect()
}

/// Sets up the controller in a process.
pub async fn set_up(process: Process, options: Options) -> Result<(), runtime::Error> {
    let store = releases();
    let gates = process.gates().clone();
    let sources = source::sources(process.client().clone(), gates.enabled("ExternalArtifact"));
    let actions = Arc::new(Actions::new(options.concurrent * ACTIONS_A_WORKER));
    let drift = Arc::new(DriftWatch::default());
    let handle_slot: Arc<OnceLock<runtime::Handle>> = Arc::default();
    let (at_work, followed, waker) = (actions.clone(), drift.clone(), handle_slot.clone());
    let changed = move |owner: &NamespacedName| {
        if !at_work.wake(owner)
            && followed.has_news(owner)
            && let Some(handle) = waker.get()
        {
            handle.trigger(owner);
        }
    };
    let no_charts = || runtime::Error::Flag("there is no store of HelmCharts".to_owned());
    let reconciler = Reconciler {
        charts: Charts::new(options.http_retry, options.http_timeout, options.source_host.clone())
            .map_err(|error| runtime::Error::Flag(error.to_string()))?,
        targets: Targets::new(process.client().clone(), OwnerLabels::HELM_RELEASE, Arc::new(changed)),
        client: process.client().clone(),
        store: store.clone(),
        charts_by_name: sources.store(HELM_CHART).ok_or_else(no_charts)?.clone(),
        sources: sources.clone(),
        decoded: Arc::new(Decoded::default()),
        actions: actions.clone(),
        drift,
        gates: gates.clone(),
        backoff: process.settings().backoff,
        options: options.clone(),
    };
    let controller = Controller::new("helmrelease", store.clone(), reconciler, process.settings().backoff)
        .concurrent(options.concurrent)
        .finalizer(meta::FINALIZER);
    let handle = controller.handle();
    let _ = handle_slot.set(handle.clone());
    let stopping = process.stopping().clone();
    tokio::spawn(async move {
        stopping.cancelled().await;
        actions.cancel_all();
    });

    for kind in sources.stores() {
        let (users, handle, name) = (store.clone(), handle.clone(), kind.resource().kind.clone());
        kind.on_change(move |change| {
            if change.differs(source::news) {
                let key = SourceKey { kind: name.clone(), name: change.key.clone() };
                users.by_index(BY_SOURCE, &key.text()).iter().for_each(|user| handle.trigger(user));
            }
        });
        process.watch(kind, Selection::default());
    }
    store.wake_dependents(BY_DEPENDENCY, &handle, |this| (this.status.clone(), spec::generation(this)), waits_for_dependency);
    if !gates.enabled("DisableConfigWatchers") {
        process.wake_on_configs(&store, BY_CONFIG, &handle, &options.watch_configs_label_selector);
    }
    process.run(controller, process.settings().selection());
    Ok(())
}

/// A dependent that was turned away: others need not be woken when a dependency changes.
fn waits_for_dependency(this: &HelmRelease) -> bool {
    this.status.as_ref().is_none_or(|status| {
        status.conditions.condition(meta::READY).is_none_or(|ready| ready.reason == meta::reason::DEPENDENCY_NOT_READY)
    })
}
