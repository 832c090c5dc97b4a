//! The source-controller: brings what objects of the source group name into the cluster, as artifacts.
//!
//! ```text
//! Args -> Options ─┐
//! Process ─────────┴─> set_up ─┬─ Store + server   artifacts: one folder, served over HTTP, by the leader
//!                              └─ one module per kind: git_repository, oci_repository, helm_repository, helm_chart
//!                                    visit (the frame) -> observe -> plan -> act -> report
//!
//! shared by the kinds: draft (conditions and their summary), story (a status on its way), kept (the storage), problem, paths,
//!                      secret, proxy, certificates; helm (repositories of charts, as both of their kinds speak to them)
//! ```
//!
//! As a program: `source-controller`. Inside of another one: [`set_up`] on a process of its own, or [`run`].

mod args;
mod certificates;
mod draft;
mod git_repository;
mod helm;
mod helm_chart;
mod helm_repository;
mod kept;
mod oci_repository;
mod options;
mod paths;
mod problem;
mod proxy;
mod secret;
mod story;
mod visit;

pub use crate::helm::Limits as HelmLimits;
pub use args::{Args, GATES};
pub use artifacts::Storage;
pub use helm_chart::with_values_files;
pub use options::Options;

use api::meta::{Conditions, FINALIZER, INCLUDE_UNAVAILABLE};
use api::source::{GitRepository, HelmChart, HelmRepository};
use artifacts::Served;
use runtime::{Controller, Handle, Process, Settings};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use types::NamespacedName;

/// The name of the controller, which is also its field manager.
pub const NAME: &str = "source-controller";
/// Lets objects name a ServiceAccount to authenticate with.
pub(crate) const WORKLOAD_IDENTITY_GATE: &str = "ObjectLevelWorkloadIdentity";

/// Why the controller could not be set up, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Storage(#[from] artifacts::Error),
    #[error("to set --default-service-account please enable the feature gate ObjectLevelWorkloadIdentity")]
    DefaultServiceAccount,
    #[error(transparent)]
    Http(#[from] http_client::Error),
    #[error("cannot make the client for registries")]
    Registries(#[from] reqwest::Error),
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    #[error(transparent)]
    Argument(#[from] types::Error),
}

/// Runs a source-controller until `shutdown` is cancelled.
pub async fn run(options: Options, kube: kube::Config, shutdown: CancellationToken) -> Result<(), Error> {
    runtime::program::embedded(Settings::embedded(NAME, kube), shutdown, |process| set_up(process, options)).await
}

/// Puts the controllers of every kind, and the artifact server, into `process`.
pub async fn set_up(process: Process, options: Options) -> Result<Served, Error> {
    let served = options.storage.serve(&process).await?;
    let store = served.store.clone();
    oci_repositories(&process, &options, store.clone())?;
    let http = http_client::Client::new(&http_client::Options { retry: http_client::Retry::NEVER, ..http_client::Options::default() })?;
    let repositories = git_repository::repositories();
    let beats = git_repository::Beats {
        client: process.client().clone(),
        git: Arc::new(
            git::Client::new(tokio::runtime::Handle::current(), options.git_cache.clone()).with_algorithms(options.ssh_algorithms.clone()),
        ),
        store: store.clone(),
        http: http.clone(),
        repositories: repositories.clone(),
        requeue_dependency: options.requeue_dependency,
        workload_identity: process.gates().enabled(WORKLOAD_IDENTITY_GATE),
        limits: options.git_limits,
    };
    let controller = Controller::new("gitrepository", repositories.clone(), beats, process.settings().backoff)
        .concurrent(options.concurrent)
        .finalizer(FINALIZER);
    let handle = controller.handle();
    let watched = repositories.clone();
    repositories.on_change(move |change| {
        // An artifact appeared: whoever waits for it goes on at once. Those that have one keep Flux's rhythm, the interval.
        if change.differs(|repository| repository.status.as_ref().is_some_and(|s| s.artifact.is_some())) {
            for key in watched.by_index("include", &change.key.name) {
                let waits = key.namespace == change.key.namespace && is_waiting(&watched, &key);
                if waits {
                    handle.trigger(&key);
                }
            }
        }
    });
    helm(&process, &options, store, http, &repositories)?;
    process.run(controller, process.settings().selection());
    Ok(served)
}

/// HelmRepositories, and the charts that are made of them and of other sources.
fn helm(
    process: &Process,
    options: &Options,
    store: Arc<store::Store>,
    http: http_client::Client,
    git_repositories: &runtime::Store<GitRepository>,
) -> Result<(), Error> {
    let remotes = Arc::new(helm::Remotes {
        client: process.client().clone(),
        store,
        http,
        registries: oci_repository::http_client()?,
        limits: options.helm_limits,
        listings: helm::Listings::new(options.helm_limits.listings_max),
    });
    let (repositories, charts) = (helm_repository::repositories(), helm_chart::charts());
    let beats = helm_chart::Beats {
        remotes: remotes.clone(),
        helm_repositories: repositories.clone(),
        git_repositories: git_repositories.clone(),
        requeue_dependency: options.requeue_dependency,
    };
    let backoff = process.settings().backoff;
    let chart_controller = Controller::new("helmchart", charts.clone(), beats, backoff).concurrent(options.concurrent).finalizer(FINALIZER);
    // What a chart is made of changed, or is there at last.
    let (handle, waiting) = (chart_controller.handle(), charts.clone());
    repositories.on_change(move |change| {
        let of = |repository: &HelmRepository| repository.status.as_ref().and_then(|s| s.artifact.as_ref().map(|a| a.revision.clone()));
        if change.differs(of) {
            trigger(&waiting, &handle, helm_repository::KIND, change.key);
        }
    });
    let (handle, waiting) = (chart_controller.handle(), charts);
    git_repositories.on_change(move |change| {
        let of = |repository: &GitRepository| repository.status.as_ref().and_then(|s| s.artifact.as_ref().map(|a| a.revision.clone()));
        if change.differs(of) {
            trigger(&waiting, &handle, git_repository::KIND, change.key);
        }
    });
    let controller = Controller::new("helmrepository", repositories, helm_repository::Beats { remotes }, backoff)
        .concurrent(options.concurrent)
        .finalizer(FINALIZER);
    process.run(controller, process.settings().selection());
    process.run(chart_controller, process.settings().selection());
    Ok(())
}

/// Has the charts looked at whose source this is.
fn trigger(charts: &runtime::Store<HelmChart>, handle: &Handle, kind: &str, source: &NamespacedName) {
    for key in charts.by_index("source", &helm_chart::source(kind, &source.name)) {
        if key.namespace == source.namespace {
            handle.trigger(&key);
        }
    }
}

fn oci_repositories(process: &Process, options: &Options, store: Arc<store::Store>) -> Result<(), Error> {
    let beats = oci_repository::Beats {
        client: process.client().clone(),
        store,
        http: oci_repository::http_client()?,
        workload_identity: process.gates().enabled(WORKLOAD_IDENTITY_GATE),
        layers: oci_repository::Layers::default(),
    };
    let watched = runtime::Store::new(oci_repository::resource());
    let controller =
        Controller::new("ocirepository", watched, beats, process.settings().backoff).concurrent(options.concurrent).finalizer(FINALIZER);
    process.run(controller, process.settings().selection());
    Ok(())
}

fn is_waiting(repositories: &runtime::Store<GitRepository>, key: &NamespacedName) -> bool {
    let status = repositories.get(key).and_then(|repository| repository.status.clone());
    status.is_some_and(|status| status.conditions.condition(INCLUDE_UNAVAILABLE).is_some())
}
