//! A cluster to test against, a kind of object, and a reconciler that does what a test says.

#![allow(dead_code, clippy::unwrap_used)]

use cluster::{Client, PatchKind, Resource, Selection};
use futures::future::BoxFuture;
use runtime::{Backoff, Context, Controller, Handle, Jitter, Process, Reconciler, Report, Settings, Store};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use types::NamespacedName;

pub const FINALIZER: &str = "finalizers.example.com";

#[derive(Serialize, Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Widget {
    pub api_version: String,
    pub kind: String,
    pub metadata: Value,
    pub spec: WidgetSpec,
    #[serde(default)]
    pub status: WidgetStatus,
}

#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct WidgetSpec {
    #[serde(default)]
    pub source: String,
    pub size: i64,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct WidgetStatus {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<api::Condition>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub phase: String,
    pub observed_generation: i64,
}

pub fn widgets() -> Resource {
    Resource::namespaced("runtime.example.com", "v1", "Widget", "widgets")
}

pub fn key(name: &str, namespace: &str) -> NamespacedName {
    NamespacedName::new(namespace, name)
}

/// A namespace of its own in the cluster under test.
pub struct Lab {
    pub kube: kube::Config,
    pub client: Client,
    pub namespace: String,
    /// Ends when it is dropped.
    _server: testing::TestServer,
}

impl Lab {
    /// A namespace in the embedded server, or in the cluster that SLUICE_TEST_KUBECONFIG names.
    pub async fn open(test: &str) -> Self {
        let server = testing::server().await.unwrap();
        let file = kube::config::Kubeconfig::from_yaml(&server.kubeconfig).unwrap();
        let kube = kube::Config::from_custom_kubeconfig(file, &Default::default()).await.unwrap();
        let client = Client::new(kube.clone()).unwrap();
        let namespace = format!("rt-{}-{:x}", test.replace('_', "-").chars().take(30).collect::<String>(), rand::random::<u32>());
        let lab = Self { kube, client, namespace, _server: server };
        lab.apply(&Resource::cluster_scoped("", "v1", "Namespace", "namespaces"), json!({"metadata": {"name": lab.namespace}})).await;
        lab.define().await;
        lab
    }

    async fn define(&self) {
        let definitions = Resource::cluster_scoped("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions");
        let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let definition = json!({
            "metadata": {"name": "widgets.runtime.example.com"},
            "spec": {
                "group": "runtime.example.com", "scope": "Namespaced",
                "names": {"kind": "Widget", "plural": "widgets", "singular": "widget", "listKind": "WidgetList"},
                "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": open, "status": open}}}}],
            },
        });
        self.apply(&definitions, definition).await;
        eventually("the definition is served", async || self.client.list(&widgets(), &Selection::default()).await.is_ok()).await;
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

    pub async fn widget(&self, name: &str, spec: Value) -> Value {
        self.apply(&widgets(), json!({"metadata": {"name": name, "namespace": self.namespace}, "spec": spec})).await
    }

    pub async fn patch(&self, name: &str, patch: Value) {
        let body = patch.to_string().into_bytes();
        self.client.patch(&widgets(), &self.namespace, name, "", PatchKind::Merge, "tester", body).await.unwrap();
    }

    pub async fn read(&self, name: &str) -> Option<Value> {
        let bytes = self.client.get_opt(&widgets(), &self.namespace, name).await.unwrap()?;
        Some(serde_json::from_slice(&bytes).unwrap())
    }

    pub async fn delete(&self, name: &str) {
        self.client.delete(&widgets(), &self.namespace, name, cluster::Delete::default()).await.unwrap();
    }

    pub fn settings(&self) -> Settings {
        let mut settings = Settings::embedded("widget-controller", self.kube.clone());
        settings.jitter = Jitter::new(0, 1);
        settings.backoff = Backoff { min: Duration::from_millis(50), max: Duration::from_secs(1) };
        settings.watch_namespace = self.namespace.clone();
        settings.grace = Duration::from_secs(5);
        settings
    }

    pub async fn start(&self, bench: &Bench) -> Running {
        self.start_with(self.settings(), bench).await
    }

    pub async fn start_with(&self, settings: Settings, bench: &Bench) -> Running {
        let process = Process::start(settings).await.unwrap();
        let store = Store::<Widget>::new(widgets()).with_index("source", |widget| vec![widget.spec.source.clone()]);
        let controller = Controller::new("widget", store.clone(), bench.clone(), process.settings().backoff)
            .concurrent(4)
            .finalizer(FINALIZER)
            .progress_delay(Duration::from_millis(300));
        let handle = controller.handle();
        process.run(controller, process.settings().selection());
        Running { process, store, handle }
    }

    pub async fn close(&self) {
        let _ = self
            .client
            .delete(&Resource::cluster_scoped("", "v1", "Namespace", "namespaces"), "", &self.namespace, cluster::Delete::default())
            .await;
    }
}

pub struct Running {
    pub process: Process,
    pub store: Store<Widget>,
    pub handle: Handle,
}

impl Running {
    pub fn writes(&self) -> u64 {
        self.process.client().counts().writes()
    }

    pub async fn end(self) {
        self.process.stop();
        self.process.finish().await.unwrap();
    }
}

type Work = dyn for<'a> Fn(Arc<Widget>, &'a Context) -> BoxFuture<'a, Report> + Send + Sync;

/// A reconciler that does what a test says, and remembers whom it was called for.
#[derive(Clone)]
pub struct Bench {
    work: Arc<Work>,
    pub calls: Arc<Mutex<Vec<String>>>,
    pub gone: Arc<Mutex<Vec<String>>>,
    pub limit: Duration,
    pub at_once: Arc<AtomicUsize>,
}

impl Bench {
    pub fn new(work: impl for<'a> Fn(Arc<Widget>, &'a Context) -> BoxFuture<'a, Report> + Send + Sync + 'static) -> Self {
        Self { work: Arc::new(work), calls: Arc::default(), gone: Arc::default(), limit: Duration::from_secs(60), at_once: Arc::default() }
    }

    pub fn calls_of(&self, name: &str) -> usize {
        self.calls.lock().unwrap().iter().filter(|call| *call == name).count()
    }
}

impl Reconciler for Bench {
    type Resource = Widget;

    async fn reconcile(&self, object: Arc<Widget>, context: &Context) -> Report {
        self.calls.lock().unwrap().push(context.key().name.clone());
        self.at_once.fetch_add(1, Ordering::SeqCst);
        let report = (self.work)(object, context).await;
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        report
    }

    fn gone(&self, key: &NamespacedName) {
        self.gone.lock().unwrap().push(key.name.clone());
    }

    fn time_limit(&self, _: &Widget) -> Duration {
        self.limit
    }
}

/// The status of a widget that is as it should be.
pub fn ready(widget: &Widget, context: &Context) -> WidgetStatus {
    use api::Conditions;
    let mut status = widget.status.clone();
    let generation = context.meta().generation;
    let condition = api::Condition::new("Ready", "True", "Succeeded", format!("size {}", widget.spec.size));
    status.conditions.set_condition(condition, generation, context.now().into());
    status.phase = "done".into();
    status.observed_generation = generation;
    status
}

/// Waits until a condition holds; a test whose condition never comes fails by name.
pub async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "not within 20 s: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub fn condition(object: &Value, kind: &str) -> Option<Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind).cloned()
}
