//! What runs behind `up`: the API server (embedded, or somebody's cluster), the controllers, the data directory.

use super::{Error, UpArgs, kinds, screen::Screen};
use cluster::{Client, Selection};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The state of one `up`: kept where the user named a place, removed at the end otherwise.
pub enum DataDir {
    Kept(PathBuf),
    Temporary(tempfile::TempDir),
}

impl DataDir {
    pub fn open(path: Option<&Path>) -> Result<Self, Error> {
        let failed = |path: &Path, source| Error::Data { path: path.to_owned(), source };
        match path {
            Some(path) => {
                std::fs::create_dir_all(path).map_err(|e| failed(path, e))?;
                Ok(Self::Kept(path.canonicalize().map_err(|e| failed(path, e))?))
            }
            None => {
                let folder = tempfile::Builder::new().prefix("sluice-").tempdir();
                Ok(Self::Temporary(folder.map_err(|e| failed(&std::env::temp_dir(), e))?))
            }
        }
    }

    pub fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }

    fn is_kept(&self) -> bool {
        matches!(self, Self::Kept(_))
    }
}

/// The API server that is reconciled to.
pub struct Cluster {
    pub client: Client,
    pub config: kube::Config,
    embedded: Option<(apiserver::Running, PathBuf)>,
}

impl Cluster {
    pub fn is_external(&self) -> bool {
        self.embedded.is_none()
    }

    /// How to point kubectl at it.
    pub fn explain(&self, screen: &Screen) {
        if let Some((_, kubeconfig)) = &self.embedded {
            screen.say("►", &format!("export KUBECONFIG={}", kubeconfig.display()));
        }
    }

    pub async fn stop(self) {
        if let Some((running, kubeconfig)) = self.embedded {
            running.shutdown().await;
            // It names a server that is gone.
            let _ = std::fs::remove_file(kubeconfig);
        }
    }
}

/// Connects to the cluster that the user named, or starts one of our own.
pub async fn connect(args: &UpArgs, data: &DataDir, screen: &Screen) -> Result<Cluster, Error> {
    if args.kubeconfig.is_some() || args.context.is_some() {
        let config = runtime::kube_config(args.kubeconfig.as_deref(), args.context.as_deref()).await;
        let config = config.map_err(|e| Error::Kubeconfig(e.to_string()))?;
        screen.say("►", &format!("using the cluster at {}", config.cluster_url));
        let client = client(&config)?;
        return Ok(Cluster { client, config, embedded: None });
    }
    embedded(args, data, screen).await
}

fn client(config: &kube::Config) -> Result<Client, Error> {
    Client::new(config.clone()).map_err(|source| Error::Api { what: "the connection", source })
}

async fn embedded(args: &UpArgs, data: &DataDir, screen: &Screen) -> Result<Cluster, Error> {
    let failed = |error: &dyn std::error::Error| Error::Server(error.to_string());
    let options = apiserver::Options {
        data_dir: data.is_kept().then(|| data.path().join("apiserver")),
        nodes: apiserver::Nodes::Simulated { ready_after: args.ready_after.to_std() },
        ..Default::default()
    };
    let running = apiserver::Server::start(options).await.map_err(|e| failed(&e))?;
    let path = args.write_kubeconfig.clone().unwrap_or_else(|| data.path().join("kubeconfig"));
    running.write_kubeconfig(&path).map_err(|e| failed(&e))?;
    let text = running.kubeconfig();
    let kubeconfig = kube::config::Kubeconfig::from_yaml(&text).map_err(|e| failed(&e))?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.map_err(|e| failed(&e))?;
    screen.say("✔", &format!("embedded Kubernetes API server at https://{} (kubeconfig {})", running.address, path.display()));
    Ok(Cluster { client: client(&config)?, config, embedded: Some((running, path)) })
}

/// The controllers of this process; each is a task that ends when it is asked to.
pub struct Controllers {
    pub tasks: JoinSet<(&'static str, String)>,
    stop: CancellationToken,
}

impl Controllers {
    /// Lets them finish what they hold, for a few seconds.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let _ = tokio::time::timeout(Duration::from_secs(5), async { while self.tasks.join_next().await.is_some() {} }).await;
    }
}

/// Starts the controllers; artifacts and the Git cache lie in the data directory.
pub fn controllers(args: &UpArgs, data: &DataDir, cluster: &Cluster) -> Result<Controllers, Error> {
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let mut source = source_controller::Options::new(data.path().join("artifacts"));
    source.git_cache = data.path().join("git");
    source.storage.address = "127.0.0.1:0".to_owned();
    let (config, token) = (cluster.config.clone(), stop.clone());
    tasks.spawn(async move { ("source-controller", ended(source_controller::run(source, config, token).await)) });
    let mut artifact = artifact_controller::Options::new(data.path().join("generated"));
    artifact.storage.address = "127.0.0.1:0".to_owned();
    let (config, token) = (cluster.config.clone(), stop.clone());
    tasks.spawn(async move { ("artifact-controller", ended(artifact_controller::run(artifact, config, token).await)) });
    let kustomize = kustomize_controller::Options {
        guard_rails: match args.guard_rails.as_str() {
            "off" => kustomize_controller::GuardRails::Off,
            "warn" => kustomize_controller::GuardRails::Warn,
            _ => kustomize_controller::GuardRails::Enforce,
        },
        // Somebody watches: a dependency that is not ready yet is looked at again soon.
        requeue_dependency: Duration::from_secs(2),
        feature_gates: "ExternalArtifact=true".to_owned(),
        ..Default::default()
    };
    let (config, token) = (cluster.config.clone(), stop.clone());
    tasks.spawn(async move { ("kustomize-controller", ended(kustomize_controller::run(kustomize, config, token).await)) });
    let helm = helm_controller::Options {
        requeue_dependency: Duration::from_secs(2),
        feature_gates: "ExternalArtifact=true".to_owned(),
        ..Default::default()
    };
    let (config, token) = (cluster.config.clone(), stop.clone());
    tasks.spawn(async move { ("helm-controller", ended(helm_controller::run(helm, config, token).await)) });
    Ok(Controllers { tasks, stop })
}

fn ended<E: std::error::Error>(outcome: Result<(), E>) -> String {
    match outcome {
        Ok(()) => "it ended by itself".to_owned(),
        Err(error) => crate::shell::Failure::from_error(&error).message,
    }
}

/// Two sets of controllers over the same objects would undo each other's work for ever.
pub async fn refuse_second_owner(client: &Client) -> Result<(), Error> {
    for namespace in ["flux-system", "sluice-system"] {
        let selection = Selection { namespace: namespace.to_owned(), ..Default::default() };
        let deployments = client.list(&kinds::deployment(), &selection).await.unwrap_or_default();
        for raw in deployments {
            let Ok(object) = serde_json::from_str::<serde_json::Value>(raw.get()) else { continue };
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            let runs = object["spec"]["replicas"].as_i64().unwrap_or(1) > 0;
            if runs && matches!(name, "kustomize-controller" | "source-controller" | "helm-controller" | "source-watcher") {
                return Err(Error::Occupied(format!("Deployment {namespace}/{name}")));
            }
        }
    }
    Ok(())
}

/// The first Ctrl-C or SIGTERM.
pub async fn interrupted() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}
