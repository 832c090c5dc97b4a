//! A namespace of a cluster, a source that a test writes, and a controller that is counted.

#![allow(dead_code, clippy::unwrap_used)]

use cluster::{PatchKind, Resource};
use kustomize_controller::{GuardRails, Options, set_up};
use runtime::Process;
use serde_json::{Value, json};
use std::ops::Deref;
use testing::lab::Files;
pub use testing::lab::{condition, end, events_written, eventually, writes};
use tree::MemoryTree;
use types::Digest;

pub fn kustomizations() -> Resource {
    Resource::namespaced("kustomize.toolkit.fluxcd.io", "v1", "Kustomization", "kustomizations")
}

pub fn repositories() -> Resource {
    Resource::namespaced("source.toolkit.fluxcd.io", "v1", "GitRepository", "gitrepositories")
}

pub fn config_maps() -> Resource {
    Resource::namespaced("", "v1", "ConfigMap", "configmaps")
}

pub fn events() -> Resource {
    Resource::namespaced("", "v1", "Event", "events")
}

pub struct Lab {
    base: testing::lab::Lab,
    files: Files,
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
        let base = testing::lab::Lab::open(&format!("kc-{test}"), &["source.toolkit", "kustomize.toolkit"]).await;
        base.apply(&repositories(), json!({"metadata": {"name": "repo", "namespace": base.namespace}, "spec": {"interval": "1h", "url": "https://example.com/repo"}})).await;
        Self { base, files: Files::serve().await }
    }

    /// Lets the source have a new revision with these files.
    pub async fn push(&self, revision: &str, files: &[(&str, &str)]) {
        let tree = MemoryTree::from_iter(files.iter().map(|(path, text)| (*path, text.as_bytes().to_vec())));
        let bytes = tree::archive::to_bytes(&tree).unwrap();
        let digest = Digest::sha256(&bytes).to_string();
        let (path, size) = (format!("/{revision}.tar.gz"), bytes.len());
        let url = self.files.add(&path, bytes);
        let artifact = json!({"path": path, "url": url, "revision": format!("main@sha1:{revision}"),
            "digest": digest, "lastUpdateTime": "2026-01-01T00:00:00Z", "size": size});
        self.merge(&repositories(), "repo", "status", json!({"status": {"artifact": artifact}})).await;
    }

    pub async fn kustomization(&self, name: &str, path: &str, more: Value) {
        let mut spec = json!({"interval": "1h", "retryInterval": "1h", "prune": true, "path": path, "targetNamespace": self.namespace, "sourceRef": {"kind": "GitRepository", "name": "repo"}});
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        self.apply(&kustomizations(), json!({"metadata": {"name": name, "namespace": self.namespace}, "spec": spec})).await;
    }

    /// Puts the finalizer on, as the controller does.
    pub async fn hold(&self, name: &str) {
        let body = json!({"metadata": {"finalizers": ["finalizers.fluxcd.io"]}}).to_string().into_bytes();
        let manager = "gotk-kustomize-controller";
        self.client.patch(&kustomizations(), &self.namespace, name, "", PatchKind::Merge, manager, body).await.unwrap();
    }

    /// A ConfigMap with the labels of an owner, applied by `manager`.
    pub async fn owned(&self, manager: &str, owner: &str, name: &str) {
        let labels = json!({"kustomize.toolkit.fluxcd.io/name": owner, "kustomize.toolkit.fluxcd.io/namespace": self.namespace});
        let object = json!({"metadata": {"name": name, "namespace": self.namespace, "labels": labels}, "data": {"a": "1"}});
        self.apply_as(manager, &config_maps(), object).await;
    }

    /// Waits until the condition says this revision.
    pub async fn ready(&self, name: &str, revision: &str) {
        let message = format!("Applied revision: main@sha1:{revision}");
        let is_ready = |object: &Value| {
            condition(object, "Ready").is_some_and(|ready| ready["status"] == "True" && ready["message"] == message.as_str())
        };
        self.until(&kustomizations(), name, &format!("is ready at {revision}"), is_ready).await;
    }

    pub async fn failed(&self, name: &str, reason: &str) -> String {
        self.base.failed(&kustomizations(), name, reason).await
    }

    pub async fn inventory(&self, name: &str) -> Vec<String> {
        let object = self.read(&kustomizations(), name).await.unwrap();
        let entries = object["status"]["inventory"]["entries"].as_array().cloned().unwrap_or_default();
        entries.iter().map(|entry| entry["id"].as_str().unwrap().to_owned()).collect()
    }

    pub async fn start(&self, guard_rails: GuardRails) -> Process {
        let process = self.process("kustomize-controller").await;
        set_up(process.clone(), Options { guard_rails, ..Options::default() }).await.unwrap();
        process
    }

    pub async fn close(self) {
        self.base.close(&[kustomizations()]).await;
    }
}

pub fn config(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  a: \"1\"\n")
}
