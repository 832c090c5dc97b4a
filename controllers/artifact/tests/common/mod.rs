//! A namespace of a cluster, a source that a test writes, and a controller that is counted.

#![allow(dead_code, clippy::unwrap_used)]

use artifact_controller::{Options, set_up};
use cluster::{Client, Delete, PatchKind, Resource, Verb};
use runtime::{Jitter, Process, Settings};
use serde_json::{Value, json};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::net::TcpListener;
use tree::MemoryTree;

const GROUP: &str = "source.toolkit.fluxcd.io";

pub fn generators() -> Resource {
    Resource::namespaced("source.extensions.fluxcd.io", "v1beta1", "ArtifactGenerator", "artifactgenerators")
}

pub fn external_artifacts() -> Resource {
    Resource::namespaced(GROUP, "v1", "ExternalArtifact", "externalartifacts")
}

pub fn repositories() -> Resource {
    Resource::namespaced(GROUP, "v1", "GitRepository", "gitrepositories")
}

pub struct Lab {
    /// It stops when it is dropped.
    _server: testing::TestServer,
    kube: kube::Config,
    pub client: Client,
    pub namespace: String,
    /// What the sources are served from.
    sources: Arc<store::Store>,
    folder: tempfile::TempDir,
}

impl Lab {
    /// On an embedded API server of its own, or on the cluster that SLUICE_TEST_KUBECONFIG names.
    pub async fn open(test: &str) -> Self {
        let server = testing::server().await.unwrap();
        let kubeconfig = kube::config::Kubeconfig::from_yaml(&server.kubeconfig).unwrap();
        let kube = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
        let client = Client::new(kube.clone()).unwrap();
        let namespace = format!("aw-{test}-{}", std::process::id());
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let path = folder.path().join("sources");
        std::fs::create_dir_all(&path).unwrap();
        let sources = store::Store::open(&path, &address, types::Algorithm::default(), store::Retention::default()).unwrap();
        let sources = Arc::new(sources);
        tokio::spawn(store::serve(listener, sources.clone(), std::future::pending()));
        let lab = Self { _server: server, kube, client, namespace, sources, folder };
        lab.define().await;
        lab.apply(&Resource::cluster_scoped("", "v1", "Namespace", "namespaces"), json!({"metadata": {"name": lab.namespace}})).await;
        lab.apply(&repositories(), json!({"metadata": {"name": "repo", "namespace": lab.namespace}, "spec": {"interval": "1h", "url": "https://example.com/repo"}})).await;
        lab
    }

    /// The definitions of `crds/`, where the cluster does not have them yet.
    async fn define(&self) {
        let definitions = Resource::cluster_scoped("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions");
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds");
        let mut kinds = vec![];
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            if entry.file_name().to_string_lossy().starts_with("source.") {
                let text = std::fs::read_to_string(entry.path()).unwrap();
                let object = yaml::to_json(&text, yaml::Dialect::Sigs).unwrap();
                let name = |field: &str| object["spec"]["names"][field].as_str().unwrap().to_owned();
                let (group, version) = (&object["spec"]["group"], &object["spec"]["versions"][0]["name"]);
                kinds.push(Resource::namespaced(group.as_str().unwrap(), version.as_str().unwrap(), &name("kind"), &name("plural")));
                self.apply(&definitions, object).await;
            }
        }
        for resource in kinds {
            eventually("definitions are served", async || self.client.list(&resource, &cluster::Selection::default()).await.is_ok()).await;
        }
    }

    pub async fn apply(&self, resource: &Resource, mut object: Value) -> Value {
        object["apiVersion"] = resource.api_version().into();
        object["kind"] = resource.kind.as_str().into();
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let options = cluster::Apply { field_manager: "tester", force: true, ..cluster::Apply::default() };
        let answer = self.client.apply(resource, &namespace, &name, object.to_string().into_bytes(), options).await.unwrap();
        serde_json::from_slice(&answer).unwrap()
    }

    /// Lets the source have a new revision with these files.
    pub async fn push(&self, revision: &str, files: &[(&str, &str)]) {
        let tree = MemoryTree::from_iter(files.iter().map(|(path, text)| (*path, text.as_bytes().to_vec())));
        let bytes = tree::archive::to_bytes(&tree).unwrap();
        let path = store::artifact_path("GitRepository", &self.namespace, "repo", &format!("{revision}.tar.gz"));
        let stored = self.sources.write(&path, |out| out.write_all(&bytes)).unwrap();
        let artifact = json!({"path": path, "url": self.sources.url(&path), "revision": format!("main@sha1:{revision}"),
            "digest": stored.digest.to_string(), "lastUpdateTime": "2026-01-01T00:00:00Z", "size": bytes.len()});
        let body = json!({"status": {"artifact": artifact}}).to_string().into_bytes();
        self.client.patch(&repositories(), &self.namespace, "repo", "status", PatchKind::Merge, "tester", body).await.unwrap();
    }

    pub async fn generator(&self, name: &str, artifacts: Value) {
        let sources = json!([{"alias": "repo", "kind": "GitRepository", "name": "repo"}]);
        let spec = json!({"sources": sources, "artifacts": artifacts});
        self.apply(&generators(), json!({"metadata": {"name": name, "namespace": self.namespace}, "spec": spec})).await;
    }

    pub async fn read(&self, resource: &Resource, name: &str) -> Option<Value> {
        let bytes = self.client.get_opt(resource, &self.namespace, name).await.unwrap()?;
        Some(serde_json::from_slice(&bytes).unwrap())
    }

    pub async fn request(&self, name: &str, value: &str) {
        let body = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": value}}}).to_string().into_bytes();
        self.client.patch(&generators(), &self.namespace, name, "", PatchKind::Merge, "tester", body).await.unwrap();
    }

    pub async fn handled(&self, name: &str, value: &str) {
        let is_handled = async || self.read(&generators(), name).await.unwrap()["status"]["lastHandledReconcileAt"] == value;
        eventually("the request is answered", is_handled).await;
    }

    /// Waits until the newest spec gave this many outputs.
    pub async fn ready(&self, name: &str, outputs: usize) {
        let message = format!("reconciliation succeeded, generated {outputs} artifact(s)");
        eventually(&format!("{name} is ready"), async || {
            let Some(object) = self.read(&generators(), name).await else { return false };
            let generation = &object["metadata"]["generation"];
            condition(&object, "Ready")
                .is_some_and(|ready| ready["message"] == message.as_str() && ready["observedGeneration"] == *generation)
        })
        .await;
    }

    pub async fn failed(&self, name: &str, reason: &str) -> String {
        eventually(&format!("{name} fails with {reason}"), async || {
            let Some(object) = self.read(&generators(), name).await else { return false };
            condition(&object, "Ready").is_some_and(|ready| ready["reason"] == reason)
        })
        .await;
        let object = self.read(&generators(), name).await.unwrap();
        condition(&object, "Ready").unwrap()["message"].as_str().unwrap().to_owned()
    }

    /// Waits until the outputs are those of a revision of the source.
    pub async fn sources_of(&self, name: &str, revision: &str) {
        let source = self.read(&repositories(), "repo").await.unwrap();
        let artifact = &source["status"]["artifact"];
        assert_eq!(artifact["revision"], revision);
        let text = |field: &str| artifact[field].as_str().unwrap().to_owned();
        let part = format!("repo=[digest={},revision={},url={}]", text("digest"), text("revision"), text("url"));
        let digest = types::Digest::sha256(part.as_bytes()).to_string();
        let is_seen = async || self.read(&generators(), name).await.unwrap()["status"]["observedSourcesDigest"] == digest.as_str();
        eventually("the source's revision is worked in", is_seen).await;
    }

    pub async fn artifact(&self, name: &str) -> Value {
        self.read(&external_artifacts(), name).await.unwrap()["status"]["artifact"].clone()
    }

    pub async fn version(&self, name: &str) -> Value {
        self.read(&external_artifacts(), name).await.unwrap()["metadata"]["resourceVersion"].clone()
    }

    /// The file of an artifact, as a consumer gets it.
    pub async fn fetch(&self, artifact: &Value) -> Option<Vec<u8>> {
        let client = http_client::Client::new(&http_client::Options { retry: http_client::Retry::NEVER, ..Default::default() }).unwrap();
        let digest = types::Digest::parse(artifact["digest"].as_str().unwrap()).unwrap();
        client.fetch_artifact(artifact["url"].as_str().unwrap(), &digest, 1 << 20).await.ok().map(|bytes| bytes.to_vec())
    }

    pub async fn files(&self, artifact: &Value) -> Vec<String> {
        let bytes = self.fetch(artifact).await.expect("the artifact is served");
        let tree = tree::archive::read(&bytes, Default::default()).unwrap();
        tree.entries().filter(|(_, entry)| matches!(entry, tree::Entry::File { .. })).map(|(path, _)| path.to_owned()).collect()
    }

    pub fn storage(&self) -> PathBuf {
        self.folder.path().join("artifacts")
    }

    pub async fn start(&self) -> Process {
        let mut settings = Settings::embedded(artifact_controller::NAME, self.kube.clone());
        settings.jitter = Jitter::new(0, 1);
        settings.watch_namespace = self.namespace.clone();
        settings.grace = Duration::from_secs(5);
        let process = Process::start(settings).await.unwrap();
        let mut options = Options::new(self.storage());
        // Kept over a restart, as it is in a cluster.
        let address = self.folder.path().join("address");
        options.storage.address = std::fs::read_to_string(&address).unwrap_or_else(|_| "127.0.0.1:0".to_owned());
        let running = set_up(process.clone(), options).await.unwrap();
        std::fs::write(&address, running.advertised).unwrap();
        process
    }

    pub async fn close(self) {
        for name in ["gen", "other", "last", "early", "bad"] {
            let body = json!({"metadata": {"finalizers": null}}).to_string().into_bytes();
            let _ = self.client.delete(&generators(), &self.namespace, name, Delete::default()).await;
            let _ = self.client.patch(&generators(), &self.namespace, name, "", PatchKind::Merge, "tester", body).await;
        }
        let namespaces = Resource::cluster_scoped("", "v1", "Namespace", "namespaces");
        let _ = self.client.delete(&namespaces, "", &self.namespace, Delete::default()).await;
    }
}

pub async fn end(process: Process) {
    process.stop();
    process.finish().await.unwrap();
}

pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|one| one["type"] == kind)
}

/// Requests that change something, without events: those are told on the side, and nobody waits for them.
pub fn writes(process: &Process) -> u64 {
    let counts = process.client().counts();
    counts.writes() - counts.of(Verb::Create)
}

pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
