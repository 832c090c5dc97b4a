//! A namespace of a cluster, a source that a test writes, and a controller that is counted.

#![allow(dead_code, clippy::unwrap_used)]

use cluster::{Client, Delete, PatchKind, Resource, Verb};
use kustomize_controller::{GuardRails, Options, set_up};
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
        let namespace = format!("kc-{}-{}", test.replace('_', "-"), std::process::id());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let files = Files::default();
        tokio::spawn(serve(listener, files.clone()));
        let lab = Self { server, kube, client, namespace, files, address };
        lab.define().await;
        lab.apply(&Resource::cluster_scoped("", "v1", "Namespace", "namespaces"), json!({"metadata": {"name": lab.namespace}})).await;
        lab.apply(&repositories(), json!({"metadata": {"name": "repo", "namespace": lab.namespace}, "spec": {"interval": "1h", "url": "https://example.com/repo"}})).await;
        lab
    }

    /// The definitions of `crds/`, where the cluster does not have them yet.
    async fn define(&self) {
        let definitions = Resource::cluster_scoped("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions");
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds");
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            if name.starts_with("source.toolkit") || name.starts_with("kustomize.toolkit") {
                let text = std::fs::read_to_string(entry.path()).unwrap();
                self.apply(&definitions, yaml::to_json(&text, yaml::Dialect::Sigs).unwrap()).await;
            }
        }
        for resource in [kustomizations(), repositories(), Resource::namespaced("source.toolkit.fluxcd.io", "v1", "Bucket", "buckets")] {
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
        let digest = Digest::sha256(&bytes).to_string();
        let path = format!("/{revision}.tar.gz");
        let artifact = json!({"path": path, "url": format!("http://{}{path}", self.address), "revision": format!("main@sha1:{revision}"),
            "digest": digest, "lastUpdateTime": "2026-01-01T00:00:00Z", "size": bytes.len()});
        self.files.0.lock().unwrap().insert(path, bytes);
        let body = json!({"status": {"artifact": artifact}}).to_string().into_bytes();
        self.client.patch(&repositories(), &self.namespace, "repo", "status", PatchKind::Merge, "tester", body).await.unwrap();
    }

    pub async fn kustomization(&self, name: &str, path: &str, more: Value) {
        let mut spec = json!({"interval": "1h", "retryInterval": "1h", "prune": true, "path": path, "targetNamespace": self.namespace, "sourceRef": {"kind": "GitRepository", "name": "repo"}});
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        self.apply(&kustomizations(), json!({"metadata": {"name": name, "namespace": self.namespace}, "spec": spec})).await;
    }

    pub async fn read(&self, resource: &Resource, name: &str) -> Option<Value> {
        let bytes = self.client.get_opt(resource, &self.namespace, name).await.unwrap()?;
        Some(serde_json::from_slice(&bytes).unwrap())
    }

    pub async fn annotate(&self, name: &str, key: &str, value: &str) {
        let body = json!({"metadata": {"annotations": {key: value}}}).to_string().into_bytes();
        self.client.patch(&kustomizations(), &self.namespace, name, "", PatchKind::Merge, "tester", body).await.unwrap();
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
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}, "data": {"a": "1"}});
        let options = cluster::Apply { field_manager: manager, force: true, ..cluster::Apply::default() };
        self.client.apply(&config_maps(), &self.namespace, name, object.to_string().into_bytes(), options).await.unwrap();
    }

    /// Waits until the condition says this revision, or this reason.
    pub async fn ready(&self, name: &str, revision: &str) {
        let message = format!("Applied revision: main@sha1:{revision}");
        eventually(&format!("{name} is ready at {revision}"), async || {
            let Some(object) = self.read(&kustomizations(), name).await else { return false };
            condition(&object, "Ready").is_some_and(|ready| ready["status"] == "True" && ready["message"] == message.as_str())
        })
        .await;
    }

    pub async fn failed(&self, name: &str, reason: &str) -> String {
        eventually(&format!("{name} fails with {reason}"), async || {
            let Some(object) = self.read(&kustomizations(), name).await else { return false };
            condition(&object, "Ready").is_some_and(|ready| ready["reason"] == reason)
        })
        .await;
        let object = self.read(&kustomizations(), name).await.unwrap();
        condition(&object, "Ready").unwrap()["message"].as_str().unwrap().to_owned()
    }

    pub async fn inventory(&self, name: &str) -> Vec<String> {
        let object = self.read(&kustomizations(), name).await.unwrap();
        let entries = object["status"]["inventory"]["entries"].as_array().cloned().unwrap_or_default();
        entries.iter().map(|entry| entry["id"].as_str().unwrap().to_owned()).collect()
    }

    pub async fn start(&self, guard_rails: GuardRails) -> Process {
        let mut settings = Settings::embedded("kustomize-controller", self.kube.clone());
        settings.jitter = Jitter::new(0, 1);
        settings.watch_namespace = self.namespace.clone();
        settings.grace = Duration::from_secs(5);
        let process = Process::start(settings).await.unwrap();
        set_up(process.clone(), Options { guard_rails, ..Options::default() }).await.unwrap();
        process
    }

    pub async fn close(self) {
        for name in ["a", "b", "app", "warm"] {
            let body = json!({"metadata": {"finalizers": null}}).to_string().into_bytes();
            let _ = self.client.delete(&kustomizations(), &self.namespace, name, Delete::default()).await;
            let _ = self.client.patch(&kustomizations(), &self.namespace, name, "", PatchKind::Merge, "tester", body).await;
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

pub fn config(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  a: \"1\"\n")
}

/// Requests that change something, without events: those are told on the side, and nobody waits for them.
pub fn writes(process: &Process) -> (u64, u64) {
    let counts = process.client().counts();
    let of = |verb| counts.of(verb);
    let events = of(Verb::Create);
    (counts.writes() - events, events)
}

pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
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
