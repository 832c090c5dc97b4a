//! A namespace of a cluster, a chart that a test writes, and a controller that is counted.

#![allow(dead_code, clippy::unwrap_used)]

use base64::{Engine, prelude::BASE64_STANDARD};
use cluster::{Resource, Selection};
use helm::StoredRelease;
use helm_controller::{Options, set_up};
use runtime::Process;
use serde_json::{Value, json};
use std::ops::Deref;
use testing::lab::Files;
pub use testing::lab::{condition, end, eventually, writes};
use tree::MemoryTree;
use types::Digest;

pub fn releases() -> Resource {
    Resource::namespaced("helm.toolkit.fluxcd.io", "v2", "HelmRelease", "helmreleases")
}

pub fn charts() -> Resource {
    Resource::namespaced("source.toolkit.fluxcd.io", "v1", "HelmChart", "helmcharts")
}

pub fn config_maps() -> Resource {
    Resource::namespaced("", "v1", "ConfigMap", "configmaps")
}

pub fn secrets() -> Resource {
    Resource::namespaced("", "v1", "Secret", "secrets")
}

pub fn jobs() -> Resource {
    Resource::namespaced("batch", "v1", "Job", "jobs")
}

/// A chart of one ConfigMap.
pub const DEMO: &[(&str, &str)] = &[
    ("values.yaml", "message: hello\n"),
    (
        "templates/config.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-config\ndata:\n  message: {{ .Values.message | quote }}\n  revision: {{ .Release.Revision | quote }}\n",
    ),
];

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
    pub async fn open(test: &str) -> Self {
        let base = testing::lab::Lab::open(&format!("hc-{test}"), &["source.toolkit", "helm.toolkit"]).await;
        Self { base, files: Files::serve().await }
    }

    /// A HelmChart that has these files as its artifact.
    pub async fn chart(&self, version: &str, files: &[(&str, &str)]) {
        let mut all = vec![("demo/Chart.yaml".to_owned(), format!("apiVersion: v2\nname: demo\nversion: {version}\nappVersion: '1'\n"))];
        all.extend(files.iter().map(|(path, text)| (format!("demo/{path}"), (*text).to_owned())));
        let tree = MemoryTree::from_iter(all.iter().map(|(path, text)| (path.as_str(), text.as_bytes().to_vec())));
        let bytes = tree::archive::to_bytes(&tree).unwrap();
        let digest = Digest::sha256(&bytes);
        let (path, size) = (format!("/{}.tgz", digest.hex()), bytes.len());
        let url = self.files.add(&path, bytes);
        let artifact = json!({"path": path, "url": url, "revision": version,
            "digest": digest.to_string(), "lastUpdateTime": "2026-01-01T00:00:00Z", "size": size});
        let source = json!({"kind": "HelmRepository", "name": "charts"});
        let chart = json!({"metadata": {"name": "demo", "namespace": self.namespace}, "spec": {"interval": "1h", "chart": "demo", "version": "*", "sourceRef": source}});
        let made = self.apply(&charts(), chart).await;
        let condition =
            json!({"type": "Ready", "status": "True", "reason": "Succeeded", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let body =
            json!({"status": {"observedGeneration": made["metadata"]["generation"], "artifact": artifact, "conditions": [condition]}});
        self.merge(&charts(), "demo", "status", body).await;
    }

    pub async fn release(&self, name: &str, more: Value) {
        let mut spec = json!({"interval": "1h", "timeout": "20s", "chartRef": {"kind": "HelmChart", "name": "demo"}});
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        self.apply(&releases(), json!({"metadata": {"name": name, "namespace": self.namespace}, "spec": spec})).await;
    }

    /// Waits until Ready has this reason for the newest generation; returns the object.
    pub async fn settled(&self, name: &str, status: &str, reason: &str) -> Value {
        let is_settled = |object: &Value| {
            let newest = object["status"]["observedGeneration"] == object["metadata"]["generation"];
            newest && condition(object, "Ready").is_some_and(|ready| ready["status"] == status && ready["reason"] == reason)
        };
        self.until(&releases(), name, &format!("is {reason}"), is_settled).await
    }

    pub async fn asked(&self, name: &str, token: &str) -> Value {
        self.request(&releases(), name, token).await
    }

    /// The stored revisions of a release, oldest first.
    pub async fn stored(&self, name: &str) -> Vec<StoredRelease> {
        let labels = format!("owner=helm,name={name}");
        let listed =
            self.client.list(&secrets(), &Selection { namespace: self.namespace.clone(), labels, ..Selection::default() }).await.unwrap();
        let mut all: Vec<StoredRelease> = listed
            .iter()
            .map(|json| {
                let secret: Value = serde_json::from_str(json.get()).unwrap();
                let text = BASE64_STANDARD.decode(secret["data"]["release"].as_str().unwrap()).unwrap();
                StoredRelease::decode(&String::from_utf8(text).unwrap()).unwrap()
            })
            .collect();
        all.sort_by_key(|release| release.version);
        all
    }

    /// `1 deployed` and so on, oldest first.
    pub async fn states(&self, name: &str) -> Vec<String> {
        self.stored(name).await.iter().map(|release| format!("{} {}", release.version, release.info.status)).collect()
    }

    /// Stores a release as somebody else would.
    pub async fn store(&self, release: &StoredRelease) {
        let labels = release.storage_labels(Some(1), None, &Default::default());
        let data = json!({"release": BASE64_STANDARD.encode(release.encode().unwrap())});
        let secret = json!({"metadata": {"name": release.storage_name(), "namespace": self.namespace, "labels": labels}, "type": "helm.sh/release.v1", "data": data});
        self.apply(&secrets(), secret).await;
    }

    pub async fn start(&self, concurrent: usize) -> Process {
        let process = self.process("helm-controller").await;
        set_up(process.clone(), Options { concurrent, ..Options::default() }).await.unwrap();
        process
    }

    pub async fn close(self) {
        self.base.close(&[releases()]).await;
    }
}

pub fn history(object: &Value) -> Vec<String> {
    let list = object["status"]["history"].as_array().cloned().unwrap_or_default();
    list.iter().map(|one| format!("{} {}", one["version"], one["status"].as_str().unwrap())).collect()
}
