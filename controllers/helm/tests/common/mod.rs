//! A namespace of a cluster, a chart that a test writes, and a controller that is counted.

#![allow(dead_code, clippy::unwrap_used)]

use base64::{Engine, prelude::BASE64_STANDARD};
use cluster::{Client, Delete, PatchKind, Resource, Selection, Verb};
use helm::StoredRelease;
use helm_controller::{Options, set_up};
use runtime::{Jitter, Process, Settings};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
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

/// Serves artifacts, as a source-controller would.
#[derive(Clone, Default)]
struct Files(Arc<Mutex<HashMap<String, Vec<u8>>>>);

pub struct Lab {
    /// It stops when it is dropped.
    server: testing::TestServer,
    pub kube: kube::Config,
    pub client: Client,
    pub namespace: String,
    files: Files,
    address: String,
}

impl Lab {
    /// On an embedded API server of its own, or on the cluster that SLUICE_TEST_KUBECONFIG names.
    pub async fn open(test: &str) -> Self {
        let server = testing::server().await.unwrap();
        let kubeconfig = kube::config::Kubeconfig::from_yaml(&server.kubeconfig).unwrap();
        let kube = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
        let client = Client::new(kube.clone()).unwrap();
        let namespace = format!("hc-{}-{}", test.replace('_', "-"), std::process::id());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let files = Files::default();
        tokio::spawn(serve(listener, files.clone()));
        let lab = Self { server, kube, client, namespace, files, address };
        lab.define().await;
        lab.apply(&Resource::cluster_scoped("", "v1", "Namespace", "namespaces"), json!({"metadata": {"name": lab.namespace}})).await;
        lab
    }

    pub fn kubeconfig(&self) -> &str {
        &self.server.kubeconfig
    }

    /// The definitions of `crds/`, where the cluster does not have them yet.
    async fn define(&self) {
        let definitions = Resource::cluster_scoped("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions");
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds");
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            if name.starts_with("source.toolkit") || name.starts_with("helm.toolkit") {
                let text = std::fs::read_to_string(entry.path()).unwrap();
                self.apply(&definitions, yaml::to_json(&text, yaml::Dialect::Sigs).unwrap()).await;
            }
        }
        for resource in [releases(), charts()] {
            eventually("definitions are served", async || self.client.list(&resource, &Selection::default()).await.is_ok()).await;
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

    /// A HelmChart that has these files as its artifact.
    pub async fn chart(&self, version: &str, files: &[(&str, &str)]) {
        let mut all = vec![("demo/Chart.yaml".to_owned(), format!("apiVersion: v2\nname: demo\nversion: {version}\nappVersion: '1'\n"))];
        all.extend(files.iter().map(|(path, text)| (format!("demo/{path}"), (*text).to_owned())));
        let tree = MemoryTree::from_iter(all.iter().map(|(path, text)| (path.as_str(), text.as_bytes().to_vec())));
        let bytes = tree::archive::to_bytes(&tree).unwrap();
        let digest = Digest::sha256(&bytes);
        let path = format!("/{}.tgz", digest.hex());
        let artifact = json!({"path": path, "url": format!("http://{}{path}", self.address), "revision": version,
            "digest": digest.to_string(), "lastUpdateTime": "2026-01-01T00:00:00Z", "size": bytes.len()});
        self.files.0.lock().unwrap().insert(path, bytes);
        let source = json!({"kind": "HelmRepository", "name": "charts"});
        let chart = json!({"metadata": {"name": "demo", "namespace": self.namespace}, "spec": {"interval": "1h", "chart": "demo", "version": "*", "sourceRef": source}});
        let made = self.apply(&charts(), chart).await;
        let condition =
            json!({"type": "Ready", "status": "True", "reason": "Succeeded", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let body =
            json!({"status": {"observedGeneration": made["metadata"]["generation"], "artifact": artifact, "conditions": [condition]}});
        self.client
            .patch(&charts(), &self.namespace, "demo", "status", PatchKind::Merge, "tester", body.to_string().into_bytes())
            .await
            .unwrap();
    }

    pub async fn release(&self, name: &str, more: Value) {
        let mut spec = json!({"interval": "1h", "timeout": "20s", "chartRef": {"kind": "HelmChart", "name": "demo"}});
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        self.apply(&releases(), json!({"metadata": {"name": name, "namespace": self.namespace}, "spec": spec})).await;
    }

    pub async fn read(&self, resource: &Resource, name: &str) -> Option<Value> {
        let bytes = self.client.get_opt(resource, &self.namespace, name).await.unwrap()?;
        Some(serde_json::from_slice(&bytes).unwrap())
    }

    pub async fn annotate(&self, name: &str, annotations: Value) {
        let body = json!({"metadata": {"annotations": annotations}}).to_string().into_bytes();
        self.client.patch(&releases(), &self.namespace, name, "", PatchKind::Merge, "tester", body).await.unwrap();
    }

    /// Waits until Ready has this reason for the newest generation; returns the object.
    pub async fn settled(&self, name: &str, status: &str, reason: &str) -> Value {
        eventually(&format!("{name} is {reason}"), async || {
            let Some(object) = self.read(&releases(), name).await else { return false };
            let newest = object["status"]["observedGeneration"] == object["metadata"]["generation"];
            newest && condition(&object, "Ready").is_some_and(|ready| ready["status"] == status && ready["reason"] == reason)
        })
        .await;
        self.read(&releases(), name).await.unwrap()
    }

    pub async fn asked(&self, name: &str, token: &str) -> Value {
        self.annotate(name, json!({"reconcile.fluxcd.io/requestedAt": token})).await;
        eventually("the request is answered", async || {
            self.read(&releases(), name).await.is_some_and(|object| object["status"]["lastHandledReconcileAt"] == token)
        })
        .await;
        self.read(&releases(), name).await.unwrap()
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
        let mut settings = Settings::embedded("helm-controller", self.kube.clone());
        settings.jitter = Jitter::new(0, 1);
        settings.watch_namespace = self.namespace.clone();
        settings.grace = Duration::from_secs(5);
        let process = Process::start(settings).await.unwrap();
        set_up(process.clone(), Options { concurrent, ..Options::default() }).await.unwrap();
        process
    }

    pub async fn close(self) {
        for name in ["a", "b", "app"] {
            let body = json!({"metadata": {"finalizers": null}}).to_string().into_bytes();
            let _ = self.client.delete(&releases(), &self.namespace, name, Delete::default()).await;
            let _ = self.client.patch(&releases(), &self.namespace, name, "", PatchKind::Merge, "tester", body).await;
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

pub fn history(object: &Value) -> Vec<String> {
    let list = object["status"]["history"].as_array().cloned().unwrap_or_default();
    list.iter().map(|one| format!("{} {}", one["version"], one["status"].as_str().unwrap())).collect()
}

/// Requests that change something, without those that create: events are told on the side.
pub fn writes(process: &Process) -> u64 {
    let counts = process.client().counts();
    counts.writes() - counts.of(Verb::Create)
}

pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn serve(listener: TcpListener, files: Files) {
    while let Ok((mut socket, _)) = listener.accept().await {
        let files = files.clone();
        tokio::spawn(async move {
            let mut buffer = vec![0; 4096];
            let Ok(read) = socket.read(&mut buffer).await else { return };
            let line = String::from_utf8_lossy(&buffer[..read]).into_owned();
            let path = line.split(' ').nth(1).unwrap_or("").to_owned();
            let body = files.0.lock().unwrap().get(&path).cloned();
            let (status, body) = body.map_or(("404 Not Found", Vec::new()), |body| ("200 OK", body));
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = socket.write_all(head.as_bytes()).await;
            let _ = socket.write_all(&body).await;
        });
    }
}
