//! What tests of a controller need: a namespace of a cluster, objects in it, the controller's process, and patience.

use cluster::{Apply, Client, Delete, PatchKind, Resource, Selection, Verb};
use runtime::{Jitter, Process, Settings};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// Who writes what a test writes.
pub const TESTER: &str = "tester";
/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A namespace of an embedded API server of its own, or of the cluster that SLUICE_TEST_KUBECONFIG names.
pub struct Lab {
    /// It stops when it is dropped.
    server: crate::TestServer,
    pub kube: kube::Config,
    pub client: Client,
    pub namespace: String,
}

impl Lab {
    /// `groups` are those whose definitions in `crds/` the test needs; their beginnings are enough.
    pub async fn open(test: &str, groups: &[&str]) -> Self {
        let server = crate::server().await.expect("a server for the test");
        let kubeconfig = kube::config::Kubeconfig::from_yaml(&server.kubeconfig).expect("its kubeconfig");
        let kube = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.expect("its configuration");
        let client = Client::new(kube.clone()).expect("its client");
        let namespace = format!("{}-{}", test.replace('_', "-"), std::process::id());
        let lab = Self { server, kube, client, namespace };
        lab.define(groups).await;
        lab.apply(&Resource::cluster_scoped("", "v1", "Namespace", "namespaces"), json!({"metadata": {"name": lab.namespace}})).await;
        lab
    }

    pub fn kubeconfig(&self) -> &str {
        &self.server.kubeconfig
    }

    async fn define(&self, groups: &[&str]) {
        let definitions = Resource::cluster_scoped("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions");
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds");
        let mut kinds = Vec::new();
        for entry in std::fs::read_dir(folder).expect("the folder of the definitions").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if groups.iter().any(|group| name.starts_with(group)) {
                let text = std::fs::read_to_string(entry.path()).expect("a definition");
                let object = yaml::to_json(&text, yaml::Dialect::Sigs).expect("a definition in YAML");
                let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
                let (group, version) = (text("/spec/group"), text("/spec/versions/0/name"));
                kinds.push(Resource::namespaced(&group, &version, &text("/spec/names/kind"), &text("/spec/names/plural")));
                self.apply(&definitions, object).await;
            }
        }
        for resource in kinds {
            eventually("definitions are served", async || self.client.list(&resource, &Selection::default()).await.is_ok()).await;
        }
    }

    /// Applies an object as [`TESTER`]; its kind is that of the resource.
    pub async fn apply(&self, resource: &Resource, object: Value) -> Value {
        self.apply_as(TESTER, resource, object).await
    }

    pub async fn apply_as(&self, manager: &str, resource: &Resource, mut object: Value) -> Value {
        object["apiVersion"] = resource.api_version().into();
        object["kind"] = resource.kind.as_str().into();
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
        let options = Apply { field_manager: manager, force: true, ..Apply::default() };
        let body = object.to_string().into_bytes();
        let answer = self.client.apply(resource, text("namespace"), text("name"), body, options).await;
        serde_json::from_slice(&answer.expect("the object is applied")).expect("an object")
    }

    /// An object of the namespace; `None` when there is none.
    pub async fn read(&self, resource: &Resource, name: &str) -> Option<Value> {
        let bytes = self.client.get_opt(resource, &self.namespace, name).await.expect("an answer")?;
        Some(serde_json::from_slice(&bytes).expect("an object"))
    }

    /// Merges a change into an object of the namespace, or into its `subresource`.
    pub async fn merge(&self, resource: &Resource, name: &str, subresource: &str, change: Value) {
        let body = change.to_string().into_bytes();
        let patch = self.client.patch(resource, &self.namespace, name, subresource, PatchKind::Merge, TESTER, body);
        patch.await.expect("the object is changed");
    }

    pub async fn annotate(&self, resource: &Resource, name: &str, annotations: Value) {
        self.merge(resource, name, "", json!({"metadata": {"annotations": annotations}})).await;
    }

    /// Asks for a reconciliation, as `flux reconcile` does, and waits for its end.
    pub async fn request(&self, resource: &Resource, name: &str, token: &str) -> Value {
        self.annotate(resource, name, json!({"reconcile.fluxcd.io/requestedAt": token})).await;
        eventually("the request is answered", async || {
            self.read(resource, name).await.is_some_and(|object| object["status"]["lastHandledReconcileAt"] == token)
        })
        .await;
        self.read(resource, name).await.expect("the object is still there")
    }

    /// Waits until the object is as `holds` wants it, and returns it.
    pub async fn until(&self, resource: &Resource, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let mut found = None;
        eventually(&format!("{name} {what}"), async || {
            found = self.read(resource, name).await.filter(&holds);
            found.is_some()
        })
        .await;
        found.expect("it was found")
    }

    /// Waits until Ready has this reason; returns its message.
    pub async fn failed(&self, resource: &Resource, name: &str, reason: &str) -> String {
        let has_reason = |object: &Value| condition(object, "Ready").is_some_and(|ready| ready["reason"] == reason);
        let object = self.until(resource, name, &format!("fails with {reason}"), has_reason).await;
        condition(&object, "Ready").and_then(|ready| ready["message"].as_str()).unwrap_or_default().to_owned()
    }

    /// A process of a controller that sees this namespace only, and keeps to the interval.
    pub fn settings(&self, name: &str) -> Settings {
        let mut settings = Settings::embedded(name, self.kube.clone());
        settings.jitter = Jitter::new(0, 1);
        settings.watch_namespace = self.namespace.clone();
        settings.grace = Duration::from_secs(5);
        settings
    }

    /// Such a process; it has no controller yet.
    pub async fn process(&self, name: &str) -> Process {
        Process::start(self.settings(name)).await.expect("the process starts")
    }

    /// Leaves nothing behind in a cluster that is not ours: objects of `kinds` go even if nobody finalizes them.
    pub async fn close(self, kinds: &[Resource]) {
        for kind in kinds {
            let selection = Selection { namespace: self.namespace.clone(), ..Selection::default() };
            for object in self.client.list(kind, &selection).await.unwrap_or_default() {
                let object: Value = serde_json::from_str(object.get()).unwrap_or_default();
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                let body = json!({"metadata": {"finalizers": null}}).to_string().into_bytes();
                let _ = self.client.delete(kind, &self.namespace, name, Delete::default()).await;
                let _ = self.client.patch(kind, &self.namespace, name, "", PatchKind::Merge, TESTER, body).await;
            }
        }
        let namespaces = Resource::cluster_scoped("", "v1", "Namespace", "namespaces");
        let _ = self.client.delete(&namespaces, "", &self.namespace, Delete::default()).await;
    }
}

/// Ends a controller's process, and waits for it.
pub async fn end(process: Process) {
    process.stop();
    process.finish().await.expect("the process ends well");
}

pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|one| one["type"] == kind)
}

/// Requests that changed something, without those that create: a controller creates events only, and nobody waits for them.
pub fn writes(process: &Process) -> u64 {
    process.client().counts().writes() - events_written(process)
}

/// Events that a controller wrote.
pub fn events_written(process: &Process) -> u64 {
    process.client().counts().of(Verb::Create)
}

pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Serves files over HTTP, as a source-controller serves artifacts.
#[derive(Clone)]
pub struct Files {
    files: Arc<Mutex<HashMap<String, Vec<u8>>>>,
    asked: Arc<Mutex<HashMap<String, usize>>>,
    address: String,
}

impl Files {
    pub async fn serve() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port of loopback");
        let address = listener.local_addr().expect("its address").to_string();
        let this = Self { files: Arc::default(), asked: Arc::default(), address };
        tokio::spawn(this.clone().answer(listener));
        this
    }

    /// Offers a file, and tells its URL.
    pub fn add(&self, path: &str, bytes: Vec<u8>) -> String {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), bytes);
        self.url(path)
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// How often a path was asked for.
    pub fn times(&self, path: &str) -> usize {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).get(path).copied().unwrap_or_default()
    }

    async fn answer(self, listener: TcpListener) {
        while let Ok((mut socket, _)) = listener.accept().await {
            let (files, asked) = (self.files.clone(), self.asked.clone());
            tokio::spawn(async move {
                let mut buffer = vec![0; 4096];
                let Ok(read) = socket.read(&mut buffer).await else { return };
                let line = String::from_utf8_lossy(&buffer[..read]).into_owned();
                let path = line.split(' ').nth(1).unwrap_or("");
                *asked.lock().unwrap_or_else(PoisonError::into_inner).entry(path.to_owned()).or_default() += 1;
                let body = files.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
                let (status, body) = body.map_or(("404 Not Found", Vec::new()), |body| ("200 OK", body));
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                let _ = socket.write_all(head.as_bytes()).await;
                let _ = socket.write_all(&body).await;
            });
        }
    }
}
