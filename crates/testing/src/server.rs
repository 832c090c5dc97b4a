use apiserver::{Options, Running, Server};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::json;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Names a kubeconfig; tests then run against that cluster instead of an embedded server.
const EXTERNAL: &str = "SLUICE_TEST_KUBECONFIG";

/// Why a test has no server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot start an embedded server")]
    Start(#[from] apiserver::Error),
    #[error("cannot read a kubeconfig")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    #[error("cannot make a client")]
    Client(#[from] kube::Error),
}

/// An API server for one test, and a client of it.
pub struct TestServer {
    pub client: Client,
    /// How other clients reach it.
    pub kubeconfig: String,
    /// The embedded server; none when the test runs against another cluster.
    pub embedded: Option<Running>,
}

impl TestServer {
    /// Whether workloads become ready by themselves here.
    pub fn simulates(&self) -> bool {
        self.embedded.is_some()
    }

    /// A client of its own, as the given user (`system:serviceaccount:ns:name` as well).
    pub async fn client_as(&self, user: &str, groups: &[&str]) -> Result<Client, Error> {
        let mut config = config(&self.kubeconfig).await?;
        config.auth_info.impersonate = Some(user.to_owned());
        config.auth_info.impersonate_groups = Some(groups.iter().map(|g| (*g).to_owned()).collect());
        Ok(Client::try_from(config)?)
    }
}

async fn config(kubeconfig: &str) -> Result<Config, Error> {
    let kubeconfig = Kubeconfig::from_yaml(kubeconfig)?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    // A test that hangs should say where.
    config.read_timeout = Some(Duration::from_secs(300));
    Ok(config)
}

/// A fresh server in memory, or the external one.
pub async fn server() -> Result<TestServer, Error> {
    server_with(Options::default()).await
}

/// The same with options of the test's own; they mean nothing to an external server.
pub async fn server_with(options: Options) -> Result<TestServer, Error> {
    if let Ok(path) = std::env::var(EXTERNAL) {
        let kubeconfig = std::fs::read_to_string(&path).map_err(|source| kube::config::KubeconfigError::ReadConfig(source, path.into()))?;
        let client = Client::try_from(config(&kubeconfig).await?)?;
        return Ok(TestServer { client, kubeconfig, embedded: None });
    }
    let running = Server::start(options).await?;
    let kubeconfig = running.kubeconfig();
    let client = Client::try_from(config(&kubeconfig).await?)?;
    Ok(TestServer { client, kubeconfig, embedded: Some(running) })
}

/// A namespace that no other test uses.
pub async fn namespace(client: &Client, prefix: &str) -> Result<String, Error> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("{prefix}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap_or_default();
    Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &namespace).await?;
    Ok(name)
}
