//! A namespace of a cluster, a source that a test writes, and a controller that is counted.

#![allow(dead_code, clippy::unwrap_used)]

use artifact_controller::{Options, set_up};
use cluster::Resource;
use runtime::Process;
use serde_json::{Value, json};
use std::{ops::Deref, path::PathBuf, sync::Arc};
pub use testing::lab::{condition, end, eventually, writes};
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
    base: testing::lab::Lab,
    /// What the sources are served from.
    sources: Arc<store::Store>,
    folder: tempfile::TempDir,
}

impl Deref for Lab {
    type Target = testing::lab::Lab;

    fn deref(&self) -> &Self::Target {
        &self.base
    }
}

impl Lab {
    /// With a GitRepository `repo` that has no artifact yet.
    pub async fn open(test: &str) -> Self {
        let base = testing::lab::Lab::open(&format!("aw-{test}"), &["source."]).await;
        base.apply(&repositories(), json!({"metadata": {"name": "repo", "namespace": base.namespace}, "spec": {"interval": "1h", "url": "https://example.com/repo"}})).await;
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let path = folder.path().join("sources");
        std::fs::create_dir_all(&path).unwrap();
        let sources = store::Store::open(&path, &address, types::Algorithm::default(), store::Retention::default()).unwrap();
        let sources = Arc::new(sources);
        tokio::spawn(store::serve(listener, sources.clone(), std::future::pending()));
        Self { base, sources, folder }
    }

    /// Lets the source have a new revision with these files.
    pub async fn push(&self, revision: &str, files: &[(&str, &str)]) {
        let tree = MemoryTree::from_iter(files.iter().map(|(path, text)| (*path, text.as_bytes().to_vec())));
        let bytes = tree::archive::to_bytes(&tree).unwrap();
        let path = store::artifact_path("GitRepository", &self.namespace, "repo", &format!("{revision}.tar.gz"));
        let stored = self.sources.write(&path, |out| out.write_all(&bytes)).unwrap();
        let artifact = json!({"path": path, "url": self.sources.url(&path), "revision": format!("main@sha1:{revision}"),
            "digest": stored.digest.to_string(), "lastUpdateTime": "2026-01-01T00:00:00Z", "size": bytes.len()});
        self.merge(&repositories(), "repo", "status", json!({"status": {"artifact": artifact}})).await;
    }

    pub async fn generator(&self, name: &str, artifacts: Value) {
        let sources = json!([{"alias": "repo", "kind": "GitRepository", "name": "repo"}]);
        let spec = json!({"sources": sources, "artifacts": artifacts});
        self.apply(&generators(), json!({"metadata": {"name": name, "namespace": self.namespace}, "spec": spec})).await;
    }

    /// Waits until the newest spec gave this many outputs.
    pub async fn ready(&self, name: &str, outputs: usize) {
        let message = format!("reconciliation succeeded, generated {outputs} artifact(s)");
        let is_ready = |object: &Value| {
            let generation = &object["metadata"]["generation"];
            condition(object, "Ready")
                .is_some_and(|ready| ready["message"] == message.as_str() && ready["observedGeneration"] == *generation)
        };
        self.until(&generators(), name, "is ready", is_ready).await;
    }

    pub async fn failed(&self, name: &str, reason: &str) -> String {
        self.base.failed(&generators(), name, reason).await
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
        let process = self.process(artifact_controller::NAME).await;
        let mut options = Options::new(self.storage());
        // Kept over a restart, as it is in a cluster.
        let address = self.folder.path().join("address");
        options.storage.address = std::fs::read_to_string(&address).unwrap_or_else(|_| "127.0.0.1:0".to_owned());
        let running = set_up(process.clone(), options).await.unwrap();
        std::fs::write(&address, running.advertised).unwrap();
        process
    }

    pub async fn close(self) {
        self.base.close(&[generators()]).await;
    }
}
