//! The source-controller: brings what objects of the source group name into the cluster, as artifacts.
//!
//! ```text
//! Args -> Options ─┐
//! Process ─────────┴─> set_up ─┬─ Store + server   artifacts: one folder, served over HTTP, by the leader
//!                              └─ one module per kind: git_repository, oci_repository (observe -> plan -> act -> report)
//!
//! shared by the kinds: draft (conditions and their summary), story (a status on its way), kept (the storage), problem, secret
//! ```
//!
//! As a program: `source-controller`. Inside of another one: [`set_up`] on a process of its own, or [`run`].

mod args;
mod draft;
mod git_repository;
mod kept;
mod oci_repository;
mod options;
mod problem;
mod secret;
mod story;

pub use args::{Args, GATES};
pub use options::{Options, Storage};

use api::meta::{Conditions, FINALIZER, INCLUDE_UNAVAILABLE};
use runtime::{Controller, Process, Settings};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use types::NamespacedName;

/// The name of the controller, which is also its field manager.
pub const NAME: &str = "source-controller";
/// Lets objects name a ServiceAccount to authenticate with.
pub(crate) const WORKLOAD_IDENTITY_GATE: &str = "ObjectLevelWorkloadIdentity";

/// Why the controller could not be set up, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot make the storage folder {path:?}")]
    Folder { path: std::path::PathBuf, source: std::io::Error },
    #[error("cannot use the storage")]
    Storage(#[source] store::Error),
    #[error("cannot listen on {address}")]
    Listen { address: String, source: std::io::Error },
    #[error("with leader election the port of --storage-addr must be given")]
    Port,
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

/// What was set up.
#[derive(Debug, Clone)]
pub struct Running {
    /// Where artifacts are served; known at once, unless this replica has yet to be elected.
    pub storage_addr: Option<SocketAddr>,
    /// How others reach them.
    pub advertised: String,
}

/// Runs a source-controller until `shutdown` is cancelled.
pub async fn run(options: Options, kube: kube::Config, shutdown: CancellationToken) -> Result<(), Error> {
    let process = Process::start(Settings::embedded(NAME, kube)).await?;
    let stopped = process.clone();
    tokio::spawn(async move {
        shutdown.cancelled().await;
        stopped.stop();
    });
    if let Err(error) = set_up(process.clone(), options).await {
        process.stop();
        process.finish().await?;
        return Err(error);
    }
    Ok(process.finish().await?)
}

/// Puts the controllers of every kind, and the artifact server, into `process`.
pub async fn set_up(process: Process, options: Options) -> Result<Running, Error> {
    let path = &options.storage.path;
    std::fs::create_dir_all(path).map_err(|source| Error::Folder { path: path.clone(), source })?;
    let address = options.storage.listen_address();
    let elections = process.settings().leader_election.is_some();
    let bind = |address: String| async move { TcpListener::bind(&address).await.map_err(|source| Error::Listen { address, source }) };
    // Only the leader serves. Where nobody else can lead, the server is there at once.
    let listener = if elections { None } else { Some(bind(address.clone()).await?) };
    let storage_addr = listener.as_ref().and_then(|l| l.local_addr().ok());
    let port = match storage_addr {
        Some(bound) => bound.port(),
        None => address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).filter(|port| *port != 0).ok_or(Error::Port)?,
    };
    let advertised = options.storage.advertised(port, Some(&process.settings().instance));
    let store =
        store::Store::open(path, &advertised, options.storage.digest_algorithm, options.storage.retention).map_err(Error::Storage)?;
    let store = Arc::new(store);
    serve(&process, listener, address, store.clone());

    oci_repositories(&process, &options, store.clone())?;
    let repositories = git_repository::repositories();
    let beats = git_repository::Beats {
        client: process.client().clone(),
        git: Arc::new(git::Client::new(tokio::runtime::Handle::current(), options.git_cache.clone())),
        store,
        http: http_client::Client::new(&http_client::Options { retry: http_client::Retry::NEVER, ..http_client::Options::default() })?,
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
    process.run(controller, process.settings().selection());
    Ok(Running { storage_addr, advertised })
}

fn oci_repositories(process: &Process, options: &Options, store: Arc<store::Store>) -> Result<(), Error> {
    let beats = oci_repository::Beats {
        client: process.client().clone(),
        store,
        http: oci_repository::http_client()?,
        workload_identity: process.gates().enabled(WORKLOAD_IDENTITY_GATE),
    };
    let watched = runtime::Store::new(oci_repository::resource());
    let controller =
        Controller::new("ocirepository", watched, beats, process.settings().backoff).concurrent(options.concurrent).finalizer(FINALIZER);
    process.run(controller, process.settings().selection());
    Ok(())
}

fn is_waiting(repositories: &runtime::Store<api::source::GitRepository>, key: &NamespacedName) -> bool {
    let status = repositories.get(key).and_then(|repository| repository.status.clone());
    status.is_some_and(|status| status.conditions.condition(INCLUDE_UNAVAILABLE).is_some())
}

fn serve(process: &Process, listener: Option<TcpListener>, address: String, store: Arc<store::Store>) {
    let leader = process.clone();
    process.spawn("artifact server", async move {
        let listener = match listener {
            Some(listener) => listener,
            None => {
                leader.elected().await;
                TcpListener::bind(&address).await.map_err(|error| format!("cannot listen on {address}: {error}"))?
            }
        };
        // Ends with the process: artifacts are served as long as anything of it runs.
        store::serve(listener, store, std::future::pending()).await;
        Ok::<(), String>(())
    });
}
