//! What watches what.

use crate::{
    build::Builds,
    claims, dependency,
    first::Firsts,
    options::{FEATURE_GATES, Options},
    reconcile::{ALLOW_PRUNE, Reconciler, Stages},
    source, spec,
    waiting::Waits,
};
use api::{kustomize::Kustomization, meta};
use artifacts::{SourceKey, Trees};
use cluster::{Resource, Selection};
use runtime::{Controller, Process, Settings, Store};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use types::NamespacedName;

const BY_DEPENDENCY: &str = "dependency";
const BY_CONFIG: &str = "config";
/// Flux's name for who writes statuses of Kustomizations; objects are applied under the controller's own.
pub(crate) const STATUS_MANAGER: &str = "gotk-kustomize-controller";

/// Runs the controller inside another program until `shutdown` is cancelled.
pub async fn run(options: Options, kube: kube::Config, shutdown: CancellationToken) -> Result<(), runtime::Error> {
    let settings = Settings::embedded("kustomize-controller", kube).with_gates(FEATURE_GATES, &options.feature_gates);
    runtime::program::embedded(settings, shutdown, |process| set_up(process, options)).await
}

fn kustomizations() -> Store<Kustomization> {
    Store::new(Resource::namespaced(Kustomization::GROUP, Kustomization::VERSION, Kustomization::KIND, "kustomizations"))
        .with_index(claims::BY_SOURCE, |this| vec![source::key_of(this).text()])
        .with_index(claims::BY_INVENTORY, claims::inventory_ids)
        .with_index(BY_DEPENDENCY, |this| this.spec.depends_on.iter().map(|one| dependency::key_of(this, one).to_string()).collect())
        .with_index(BY_CONFIG, configs)
        .with_wish(ALLOW_PRUNE)
}

/// ConfigMaps and Secrets that a Kustomization reads.
fn configs(this: &Kustomization) -> Vec<String> {
    let namespace = this.metadata.namespace.clone().unwrap_or_default();
    let variables = this.spec.post_build.iter().flat_map(|post| &post.substitute_from).map(|one| (one.kind.clone(), one.name.clone()));
    let keys = this.spec.decryption.iter().filter_map(|one| one.secret_ref.clone()).map(|one| ("Secret".to_owned(), one.name));
    let kube = this.spec.kube_config.iter().flat_map(|one| {
        let secret = one.secret_ref.as_ref().map(|one| ("Secret".to_owned(), one.name.clone()));
        let map = one.config_map_ref.as_ref().map(|one| ("ConfigMap".to_owned(), one.name.clone()));
        secret.into_iter().chain(map)
    });
    variables.chain(keys).chain(kube).map(|(kind, name)| format!("{kind}/{namespace}/{name}")).collect()
}

/// Sets up the controller in a process.
pub async fn set_up(process: Process, options: Options) -> Result<(), runtime::Error> {
    let store = kustomizations();
    let gates = process.gates().clone();
    let sources = source::sources(process.client().clone(), gates.enabled("ExternalArtifact"));
    let waits = Arc::new(Waits::default());
    let handle_slot: Arc<std::sync::OnceLock<runtime::Handle>> = Arc::default();
    let (waiting, waker) = (waits.clone(), handle_slot.clone());
    let changed = move |owner: &NamespacedName| {
        if waiting.contains(owner)
            && let Some(handle) = waker.get()
        {
            handle.trigger(owner);
        }
    };
    let reconciler = Reconciler {
        trees: Trees::new(options.http_retry, options.source_host.clone()).map_err(|error| runtime::Error::Flag(error.to_string()))?,
        builds: Builds::default(),
        targets: apply::Targets::new(process.client().clone(), plan::metadata::OwnerLabels::KUSTOMIZATION, Arc::new(changed)),
        client: process.client().clone(),
        store: store.clone(),
        sources: sources.clone(),
        waits,
        wants: claims::Wants::default(),
        stages: Stages::default(),
        firsts: Firsts::default(),
        gates: gates.clone(),
        options: options.clone(),
    };
    let controller = Controller::new("kustomization", store.clone(), reconciler, process.settings().backoff)
        .concurrent(options.concurrent)
        .finalizer(meta::FINALIZER)
        .field_manager(STATUS_MANAGER);
    let handle = controller.handle();
    let _ = handle_slot.set(handle.clone());

    for kind in sources.stores() {
        let (users, handle, name) = (store.clone(), handle.clone(), kind.resource().kind.clone());
        kind.on_change(move |change| {
            if change.differs(artifacts::revision) && change.new.is_some() {
                let key = SourceKey { kind: name.clone(), name: change.key.clone() };
                users.by_index(claims::BY_SOURCE, &key.text()).iter().for_each(|user| handle.trigger_and_cancel(user));
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
fn waits_for_dependency(this: &Kustomization) -> bool {
    use api::Conditions;
    this.status.as_ref().is_none_or(|status| {
        status.conditions.condition(meta::READY).is_none_or(|ready| ready.reason == meta::reason::DEPENDENCY_NOT_READY)
    })
}
