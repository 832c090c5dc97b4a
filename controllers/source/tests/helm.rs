//! HelmRepository and HelmChart against an API server (embedded, or the one that SLUICE_TEST_KUBECONFIG names) and a chart server.

#![allow(clippy::unwrap_used)]

use api::crd::Defined;
use api::source::{GitRepository, HelmChart, HelmRepository};
use cluster::{Client, PatchKind, Resource};
use helm::{Chart, ChartLimits};
use runtime::{Process, Settings};
use serde_json::{Value, json};
use source_controller::Options;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use testing::TestServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tree::MemoryTree;
use types::Digest;

const PATIENCE: Duration = Duration::from_secs(30);

fn resource(kind: &str) -> Resource {
    let plural = if kind == "HelmChart" { "helmcharts" } else { "helmrepositories" };
    Resource::namespaced("source.toolkit.fluxcd.io", "v1", kind, plural)
}

/// Files over HTTP, and what was asked for.
#[derive(Clone, Default)]
struct Charts {
    files: Arc<Mutex<HashMap<String, Vec<u8>>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Charts {
    async fn start() -> (Self, SocketAddr) {
        let charts = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = charts.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let shared = shared.clone();
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    let mut byte = [0];
                    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).await.is_ok_and(|count| count == 1) {
                        head.push(byte[0]);
                    }
                    let path = String::from_utf8_lossy(&head).split(' ').nth(1).unwrap_or_default().to_owned();
                    let found = shared.files.lock().unwrap().get(&path).cloned();
                    shared.asked.lock().unwrap().push(path);
                    let (status, body) = found.map_or((404, vec![]), |body| (200, body));
                    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                    stream.write_all(head.as_bytes()).await.ok();
                    stream.write_all(&body).await.ok();
                });
            }
        });
        (charts, address)
    }

    fn put(&self, path: &str, content: impl Into<Vec<u8>>) {
        self.files.lock().unwrap().insert(path.to_owned(), content.into());
    }

    fn times(&self, path: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| *asked == path).count()
    }

    /// Serves an index of versions of one chart, and their archives.
    fn publish(&self, versions: &[&str]) {
        let mut index = "apiVersion: v1\nentries:\n  demo:\n".to_owned();
        for version in versions {
            let archive = packed(version);
            let digest = Digest::sha256(&archive);
            index.push_str(&format!(
                "  - {{apiVersion: v2, name: demo, version: {version}, digest: {}, urls: [demo-{version}.tgz]}}\n",
                digest.hex()
            ));
            self.put(&format!("/demo-{version}.tgz"), archive);
        }
        self.put("/index.yaml", index);
    }
}

fn packed(version: &str) -> Vec<u8> {
    let definition = format!("apiVersion: v2\nname: demo\nversion: {version}\n");
    let files = [("Chart.yaml", definition.as_str()), ("values.yaml", "a: 1\n"), ("prod.yaml", "a: 2\n"), ("list.yaml", "- a\n")];
    let tree: MemoryTree = files.iter().map(|(path, text)| (*path, text.as_bytes().to_vec())).collect();
    Chart::from_tree(&tree, "", ChartLimits::default()).unwrap().pack(0).unwrap()
}

struct World {
    _server: TestServer,
    kube: kube::Config,
    client: Client,
    namespace: String,
    charts: Charts,
    url: String,
    state: tempfile::TempDir,
}

impl World {
    async fn open() -> Self {
        let server = testing::server().await.unwrap();
        let file = kube::config::Kubeconfig::from_yaml(&server.kubeconfig).unwrap();
        let kube = kube::Config::from_custom_kubeconfig(file, &Default::default()).await.unwrap();
        let client = Client::new(kube.clone()).unwrap();
        let definitions = Resource::cluster_scoped("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions");
        for definition in [GitRepository::definition(), HelmRepository::definition(), HelmChart::definition()] {
            match client.create(&definitions, "", "tester", definition.to_value().to_string().into_bytes()).await {
                Ok(_) => {}
                Err(error) => assert!(error.to_string().contains("already exists"), "{error}"),
            }
        }
        let namespace = testing::namespace(&server.client, "charts").await.unwrap();
        let (charts, address) = Charts::start().await;
        let url = format!("http://{address}");
        let world = Self { _server: server, kube, client, namespace, charts, url, state: tempfile::tempdir().unwrap() };
        for kind in ["HelmRepository", "HelmChart"] {
            world
                .until("the kind to be served", async || world.client.list_page(&resource(kind), &Default::default(), "").await.is_ok())
                .await;
        }
        world
    }

    async fn controller(&self) -> Process {
        let mut settings = Settings::embedded(source_controller::NAME, self.kube.clone());
        settings.watch_namespace = self.namespace.clone();
        settings.backoff = runtime::Backoff { min: Duration::from_millis(50), max: Duration::from_secs(1) };
        let process = Process::start(settings).await.unwrap();
        let mut options = Options::new(self.state.path().join("artifacts"));
        options.storage.address = "127.0.0.1:0".into();
        // As a Service has one: the addresses of artifacts must not change with the port.
        options.storage.advertised_address = "artifacts.example".into();
        options.helm_limits.chart_max = 1 << 20;
        source_controller::set_up(process.clone(), options).await.unwrap();
        process
    }

    async fn create(&self, kind: &str, name: &str, spec: Value) {
        let body = json!({"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec});
        self.client.create(&resource(kind), &self.namespace, "tester", body.to_string().into_bytes()).await.unwrap();
    }

    async fn chart(&self, name: &str, version: &str, more: Value) {
        let mut spec =
            json!({"interval": "1h", "chart": "demo", "version": version, "sourceRef": {"kind": "HelmRepository", "name": "stable"}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.create("HelmChart", name, spec).await;
    }

    async fn merge(&self, kind: &str, name: &str, patch: Value) {
        let body = patch.to_string().into_bytes();
        self.client.patch(&resource(kind), &self.namespace, name, "", PatchKind::Merge, "tester", body).await.unwrap();
    }

    async fn ask(&self, kind: &str, name: &str, token: &str) {
        self.merge(kind, name, json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": token}}})).await;
    }

    async fn get(&self, kind: &str, name: &str) -> Value {
        self.client.get_as(&resource(kind), &self.namespace, name).await.unwrap()
    }

    async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let start = Instant::now();
        while !holds().await {
            assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits for Ready with a status and, in its message, a text; gives the status of the object.
    async fn ready(&self, kind: &str, name: &str, status: &str, text: &str) -> Value {
        let mut last = Value::Null;
        let start = Instant::now();
        loop {
            let object = self.get(kind, name).await;
            last.clone_from(&object["status"]);
            let ready = last["conditions"].as_array().into_iter().flatten().find(|c| c["type"] == "Ready").cloned().unwrap_or_default();
            if ready["status"] == status && ready["message"].as_str().is_some_and(|message| message.contains(text)) {
                return last;
            }
            assert!(start.elapsed() < PATIENCE, "{kind}/{name} does not get Ready={status} {text:?}: {last:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_in_the_index_reaches_the_charts_that_want_it_and_nothing_is_fetched_twice() {
    let world = World::open().await;
    world.charts.publish(&["1.0.0"]);
    let process = world.controller().await;
    world.chart("early", "1.x", json!({})).await;
    world.ready("HelmChart", "early", "False", "failed to get source: HelmRepository.source.toolkit.fluxcd.io \"stable\" not found").await;
    world.create("HelmRepository", "stable", json!({"interval": "1h", "url": world.url})).await;
    world.ready("HelmRepository", "stable", "True", "stored artifact: revision 'sha256:").await;
    let first = world.ready("HelmChart", "early", "True", "pulled 'demo' chart with version '1.0.0'").await;
    for name in ["second", "third"] {
        world.chart(name, "1.0.0", json!({})).await;
        let status = world.ready("HelmChart", name, "True", "pulled 'demo' chart with version '1.0.0'").await;
        assert_eq!(status["artifact"]["digest"], first["artifact"]["digest"]);
    }
    assert_eq!(world.charts.times("/demo-1.0.0.tgz"), 1, "charts of one namespace share an archive");
    assert_eq!(world.charts.times("/index.yaml"), 1, "and the index");
    let inode = |name: &str| {
        let path = world.state.path().join(format!("artifacts/helmchart/{}/{name}/demo-1.0.0.tgz", world.namespace));
        std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(path).unwrap())
    };
    assert_eq!(inode("second"), inode("third"), "it lies in the storage once");
    world.charts.publish(&["1.0.0", "1.1.0"]);
    world.ask("HelmRepository", "stable", "now").await;
    world.ready("HelmChart", "early", "True", "pulled 'demo' chart with version '1.1.0'").await;
    let second = world.ready("HelmChart", "second", "True", "1.0.0").await;
    assert_eq!(second["artifact"]["digest"], first["artifact"]["digest"]);
    process.stop();
    process.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_finds_nothing_new_writes_nothing_and_a_restart_neither() {
    let world = World::open().await;
    world.charts.publish(&["1.0.0"]);
    world.create("HelmRepository", "stable", json!({"interval": "1h", "url": world.url})).await;
    world.chart("demo", "*", json!({"valuesFiles": ["values.yaml", "prod.yaml"]})).await;
    let process = world.controller().await;
    world
        .ready("HelmChart", "demo", "True", "packaged 'demo' chart with version '1.0.0+1' and merged values files [values.yaml prod.yaml]")
        .await;
    world.ready("HelmRepository", "stable", "True", "").await;
    process.stop();
    process.finish().await.unwrap();
    let versions = async || {
        let of = async |kind, name| world.get(kind, name).await["metadata"]["resourceVersion"].to_string();
        (of("HelmRepository", "stable").await, of("HelmChart", "demo").await)
    };
    let before = versions().await;
    let indexes = world.charts.times("/index.yaml");
    let process = world.controller().await;
    world.until("the index to be looked at", async || world.charts.times("/index.yaml") > indexes).await;
    // A request is answered after everything before it: then both objects were looked at.
    world.chart("marker", "1.0.0", json!({})).await;
    world.ready("HelmChart", "marker", "True", "1.0.0").await;
    assert_eq!(versions().await, before);
    process.stop();
    process.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_is_told_and_the_last_good_artifact_stays() {
    let world = World::open().await;
    world.charts.publish(&["1.0.0", "2.0.0", "3.0.0"]);
    world.charts.put("/demo-2.0.0.tgz", packed("9.9.9"));
    world.charts.put("/demo-3.0.0.tgz", vec![0; 2 << 20]);
    let process = world.controller().await;
    world.create("HelmRepository", "stable", json!({"interval": "1h", "url": world.url})).await;
    world.chart("demo", "1.0.0", json!({})).await;
    let good = world.ready("HelmChart", "demo", "True", "1.0.0").await;
    for (spec, message) in [
        (json!({"version": "2.0.0"}), "but the index of the repository says sha256:"),
        (json!({"version": "3.0.0"}), "is larger than the limit of 1048576 bytes"),
        (json!({"version": ">=7"}), "no 'demo' chart with version matching '>=7' found"),
        (json!({"version": "1.0.0", "chart": "nope"}), "no chart name found"),
        (json!({"chart": "demo", "valuesFiles": ["list.yaml"]}), "unmarshaling values from 'list.yaml' failed"),
        (json!({"valuesFiles": ["none.yaml"]}), "no values file found at path 'none.yaml'"),
        (json!({"valuesFiles": null, "verify": {"provider": "cosign"}}), "cannot check signatures yet"),
    ] {
        world.merge("HelmChart", "demo", json!({"spec": spec})).await;
        let status = world.ready("HelmChart", "demo", "False", message).await;
        assert_eq!(status["artifact"]["digest"], good["artifact"]["digest"], "{message}");
    }
    world.merge("HelmChart", "demo", json!({"spec": {"verify": null}})).await;
    world.ready("HelmChart", "demo", "True", "1.0.0").await;
    let index = world.ready("HelmRepository", "stable", "True", "").await;
    for (content, message) in [("entries: [", "failed to load index: error converting YAML to JSON"), ("", "empty index.yaml file")] {
        world.charts.put("/index.yaml", content);
        world.ask("HelmRepository", "stable", message).await;
        let status = world.ready("HelmRepository", "stable", "False", message).await;
        assert_eq!(status["artifact"]["revision"], index["artifact"]["revision"]);
    }
    world.chart("late", "1.0.0", json!({})).await;
    world.ready("HelmChart", "late", "True", "1.0.0").await;
    process.stop();
    process.finish().await.unwrap();
}
