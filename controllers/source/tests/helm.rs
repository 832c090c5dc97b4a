//! HelmRepository and HelmChart against an API server (embedded, or the one that SLUICE_TEST_KUBECONFIG names) and a chart server.

#![allow(clippy::unwrap_used)]

use cluster::Resource;
use helm::{Chart, ChartLimits};
use runtime::Process;
use serde_json::{Value, json};
use source_controller::Options;
use std::ops::Deref;
use std::time::Duration;
use testing::lab::{Files, Lab, condition, end, eventually};
use tree::MemoryTree;
use types::Digest;

fn resource(kind: &str) -> Resource {
    let plural = if kind == "HelmChart" { "helmcharts" } else { "helmrepositories" };
    Resource::namespaced("source.toolkit.fluxcd.io", "v1", kind, plural)
}

/// A chart repository.
struct Charts(Files);

impl Charts {
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
            self.0.add(&format!("/demo-{version}.tgz"), archive);
        }
        self.0.add("/index.yaml", index.into_bytes());
    }
}

fn packed(version: &str) -> Vec<u8> {
    let definition = format!("apiVersion: v2\nname: demo\nversion: {version}\n");
    let files = [("Chart.yaml", definition.as_str()), ("values.yaml", "a: 1\n"), ("prod.yaml", "a: 2\n"), ("list.yaml", "- a\n")];
    let tree: MemoryTree = files.iter().map(|(path, text)| (*path, text.as_bytes().to_vec())).collect();
    Chart::from_tree(&tree, "", ChartLimits::default()).unwrap().pack(0).unwrap()
}

/// A laboratory with a chart repository, and a folder for artifacts.
struct World {
    lab: Lab,
    charts: Charts,
    url: String,
    state: tempfile::TempDir,
}

impl Deref for World {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.lab
    }
}

impl World {
    async fn open(test: &str) -> Self {
        let lab = Lab::open(&format!("charts-{test}"), &["source.toolkit"]).await;
        let charts = Charts(Files::serve().await);
        Self { lab, url: charts.0.url(""), charts, state: tempfile::tempdir().unwrap() }
    }

    async fn controller(&self) -> Process {
        let mut settings = self.settings(source_controller::NAME);
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

    async fn ask(&self, kind: &str, name: &str, token: &str) {
        self.annotate(&resource(kind), name, json!({"reconcile.fluxcd.io/requestedAt": token})).await;
    }

    async fn get(&self, kind: &str, name: &str) -> Value {
        self.client.get_as(&resource(kind), &self.namespace, name).await.unwrap()
    }

    /// Waits for Ready with a status and, in its message, a text; gives the status of the object.
    async fn ready(&self, kind: &str, name: &str, status: &str, text: &str) -> Value {
        let is_so = |object: &Value| {
            let ready = condition(object, "Ready");
            ready.is_some_and(|ready| ready["status"] == status && ready["message"].as_str().is_some_and(|message| message.contains(text)))
        };
        self.until(&resource(kind), name, &format!("gets Ready={status} {text:?}"), is_so).await["status"].clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_in_the_index_reaches_the_charts_that_want_it_and_nothing_is_fetched_twice() {
    let world = World::open("new").await;
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
    assert_eq!(world.charts.0.times("/demo-1.0.0.tgz"), 1, "charts of one namespace share an archive");
    assert_eq!(world.charts.0.times("/index.yaml"), 1, "and the index");
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
    end(process).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_finds_nothing_new_writes_nothing_and_a_restart_neither() {
    let world = World::open("rest").await;
    world.charts.publish(&["1.0.0"]);
    world.create("HelmRepository", "stable", json!({"interval": "1h", "url": world.url})).await;
    world.chart("demo", "*", json!({"valuesFiles": ["values.yaml", "prod.yaml"]})).await;
    let process = world.controller().await;
    world
        .ready("HelmChart", "demo", "True", "packaged 'demo' chart with version '1.0.0+1' and merged values files [values.yaml prod.yaml]")
        .await;
    world.ready("HelmRepository", "stable", "True", "").await;
    end(process).await;
    let versions = async || {
        let of = async |kind, name| world.get(kind, name).await["metadata"]["resourceVersion"].to_string();
        (of("HelmRepository", "stable").await, of("HelmChart", "demo").await)
    };
    let before = versions().await;
    let indexes = world.charts.0.times("/index.yaml");
    let process = world.controller().await;
    eventually("the index to be looked at", async || world.charts.0.times("/index.yaml") > indexes).await;
    // A request is answered after everything before it: then both objects were looked at.
    world.chart("marker", "1.0.0", json!({})).await;
    world.ready("HelmChart", "marker", "True", "1.0.0").await;
    assert_eq!(versions().await, before);
    end(process).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_is_told_and_the_last_good_artifact_stays() {
    let world = World::open("bad").await;
    world.charts.publish(&["1.0.0", "2.0.0", "3.0.0"]);
    world.charts.0.add("/demo-2.0.0.tgz", packed("9.9.9"));
    world.charts.0.add("/demo-3.0.0.tgz", vec![0; 2 << 20]);
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
        world.merge(&resource("HelmChart"), "demo", "", json!({"spec": spec})).await;
        let status = world.ready("HelmChart", "demo", "False", message).await;
        assert_eq!(status["artifact"]["digest"], good["artifact"]["digest"], "{message}");
    }
    world.merge(&resource("HelmChart"), "demo", "", json!({"spec": {"verify": null}})).await;
    world.ready("HelmChart", "demo", "True", "1.0.0").await;
    let index = world.ready("HelmRepository", "stable", "True", "").await;
    for (content, message) in [("entries: [", "failed to load index: error converting YAML to JSON"), ("", "empty index.yaml file")] {
        world.charts.0.add("/index.yaml", content.as_bytes().to_vec());
        world.ask("HelmRepository", "stable", message).await;
        let status = world.ready("HelmRepository", "stable", "False", message).await;
        assert_eq!(status["artifact"]["revision"], index["artifact"]["revision"]);
    }
    world.chart("late", "1.0.0", json!({})).await;
    world.ready("HelmChart", "late", "True", "1.0.0").await;
    end(process).await;
}
