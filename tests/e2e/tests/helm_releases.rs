//! Releases between Helm and Sluice: what either stored, the other lists, shows, upgrades and rolls back.
//!
//! Needs the real programs: `SLUICE_TEST_HELM3` and `SLUICE_TEST_HELM4` name them, else `helm3` and `helm4` are looked for on the PATH.
//! Runs on the embedded server, or on the cluster of `SLUICE_TEST_KUBECONFIG`.

#![allow(clippy::unwrap_used)]

use base64::{Engine, engine::general_purpose::STANDARD};
use e2e::House;
use helm::{Chart, ChartLimits, Environment, Info, Options, Release, SystemRandom, Table};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::Command,
    rc::Rc,
    sync::Arc,
};
use tree::MemoryTree;

const CHART: &[(&str, &str)] = &[
    (
        "Chart.yaml",
        "apiVersion: v2\nname: web\nversion: 1.2.3\nappVersion: \"7\"\ndescription: A <chart> & more\nannotations: {b: x, a: y}\nkeywords: [k]\nmaintainers: [{name: m, email: m@example.com}]\ndependencies:\n- {name: sub, version: 1.x, condition: sub.enabled, repository: ''}\n",
    ),
    (
        "Chart.lock",
        "dependencies:\n- {name: sub, repository: '', version: 1.x}\ndigest: sha256:5f6e8d\ngenerated: \"2026-01-02T03:04:05.678Z\"\n",
    ),
    ("values.yaml", "b: {z: 1, a: [1, 2.5, null, \"x\"]}\na: text <&>\nbig: 1234567890123\nsub: {enabled: true}\n"),
    ("values.schema.json", "{\"type\": \"object\"}\n"),
    ("README.md", "# <Web>\n"),
    ("templates/NOTES.txt", "Revision {{ .Release.Revision }} of {{ .Release.Name }}.\n"),
    (
        "templates/config.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\n  namespace: {{ .Release.Namespace }}\ndata:\n  a: {{ .Values.a | quote }}\n",
    ),
    (
        "templates/hook.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-hook\n  annotations:\n    helm.sh/hook: pre-upgrade,post-rollback\n    helm.sh/hook-weight: \"-3\"\n    helm.sh/hook-delete-policy: before-hook-creation\ndata: {a: b}\n",
    ),
    ("charts/sub/Chart.yaml", "apiVersion: v2\nname: sub\nversion: 1.0.0\n"),
    ("charts/sub/templates/s.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: \"{{ .Release.Name }}-sub\"}\nstringData: {k: v}\n"),
];

fn program(variable: &str, name: &str) -> Option<PathBuf> {
    let on_path = || {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
    };
    let found = std::env::var_os(variable).map(PathBuf::from).or_else(on_path);
    if found.is_none() {
        println!("SKIPPED: no {name} on the PATH (set {variable})");
    }
    found
}

struct Tool<'h> {
    house: &'h House,
    program: PathBuf,
    folder: &'h Path,
}

impl Tool<'_> {
    fn run(&self, words: &str) -> String {
        let output = Command::new(&self.program)
            .args(words.split(' '))
            .current_dir(self.folder)
            .env("KUBECONFIG", &self.house.kubeconfig)
            .env("HELM_CACHE_HOME", self.folder.join("cache"))
            .env("HELM_CONFIG_HOME", self.folder.join("config"))
            .env("HELM_DATA_HOME", self.folder.join("data"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {words}: {said}", self.program.display());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// What a release's Secret holds, once decoded.
fn stored(house: &House, namespace: &str, name: &str, revision: u32) -> String {
    let secret = house.get("secret", namespace, &format!("sh.helm.release.v1.{name}.v{revision}")).unwrap();
    assert_eq!(secret["type"], "helm.sh/release.v1");
    String::from_utf8(STANDARD.decode(secret["data"]["release"].as_str().unwrap()).unwrap()).unwrap()
}

/// The JSON inside the encoding.
fn json_of(encoded: &str) -> String {
    let packed = STANDARD.decode(encoded).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(&*packed).read_to_string(&mut text).unwrap();
    text
}

fn chart() -> Arc<Chart> {
    let tree: MemoryTree = CHART.iter().map(|(path, text)| (*path, text.as_bytes().to_vec())).collect();
    Arc::new(Chart::from_tree(&tree, "", ChartLimits::default()).unwrap())
}

/// A release as our engine makes it, stored as our engine encodes it, its objects applied as an install would.
fn install(house: &House, namespace: &str, name: &str, values: &str) {
    let chart = chart();
    let values: Table = helm::read_values(values).unwrap();
    let release = Release { name: name.into(), namespace: namespace.into(), revision: 1, upgrade: false };
    let environment = Rc::new(Environment::new(jiff::Timestamp::now(), Box::new(SystemRandom)));
    let rendered = helm::render(&chart, &values, &Options::new(release, environment)).unwrap();
    let now = Some(jiff::Timestamp::now().to_string());
    let release = helm::StoredRelease {
        name: name.into(),
        namespace: namespace.into(),
        version: 1,
        info: Info {
            first_deployed: now.clone(),
            last_deployed: now,
            status: "deployed".into(),
            description: "Install complete".into(),
            notes: rendered.notes.clone(),
            ..Info::default()
        },
        chart: Arc::new((&*chart).into()),
        config: Arc::new(values.to_json().as_object().unwrap().clone()),
        manifest: rendered.manifest().into(),
        hooks: Arc::new(rendered.hooks.clone()),
        apply_method: "ssa".into(),
    };
    let owned = json!({"metadata": {
        "labels": {"app.kubernetes.io/managed-by": "Helm"},
        "annotations": {"meta.helm.sh/release-name": name, "meta.helm.sh/release-namespace": namespace},
    }});
    for manifest in &rendered.manifests {
        house
            .try_kubectl(&["apply", "-n", namespace, "--server-side", "--field-manager=helm", "-f", "-"], Some(&manifest.content))
            .unwrap();
        let object = format!("{}/{}", manifest.head.kind, manifest.head.name);
        house.kubectl(&["patch", &object, "-n", namespace, "--type=merge", "--field-manager=helm", "-p", &owned.to_string()]);
    }
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1",
        "metadata": {
            "name": release.storage_name(), "namespace": namespace,
            "labels": release.storage_labels(Some(jiff::Timestamp::now().as_second()), None, &BTreeMap::new()),
        },
        "data": {"release": STANDARD.encode(release.encode().unwrap())},
    });
    house.try_kubectl(&["create", "-f", "-"], Some(&secret.to_string())).unwrap();
}

fn data_of(house: &House, namespace: &str, name: &str) -> Value {
    house.get("configmap", namespace, name).unwrap()["data"]["a"].clone()
}

/// Everything that is done with one version of Helm.
fn between(variable: &str, name: &str) {
    let Some(program) = program(variable, name) else { return };
    let house = House::cluster();
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in CHART {
        let path = folder.path().join("web").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let helm = Tool { house: &house, program, folder: folder.path() };
    let namespace = format!("e2e-{name}-{}", std::process::id());
    house.apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n"));
    theirs(&helm, &namespace);
    ours(&helm, &namespace);
    house.try_kubectl(&["delete", "namespace", &namespace, "--wait=false"], None).unwrap();
}

/// We read what Helm stored, and what we would store for it is the same to the byte.
fn theirs(helm: &Tool<'_>, namespace: &str) {
    helm.run(&format!("install theirs web -n {namespace} --set a=first"));
    helm.run(&format!("upgrade theirs web -n {namespace} --set a=second,m=1 --description changed"));
    helm.run(&format!("rollback theirs 1 -n {namespace}"));
    for (revision, status) in [(1, "superseded"), (2, "superseded"), (3, "deployed")] {
        let encoded = stored(helm.house, namespace, "theirs", revision);
        let release = helm::StoredRelease::decode(&encoded).unwrap();
        assert_eq!((release.version, release.info.status.as_str()), (i64::from(revision), status));
        // Helm 3 wrote times that are not set as empty texts; Helm 4 leaves them out, and so do we.
        let theirs = ["deleted", "started_at", "completed_at"]
            .iter()
            .fold(json_of(&encoded), |text, key| text.replace(&format!("\"{key}\":\"\","), ""));
        assert_eq!(json_of(&release.encode().unwrap()), theirs, "revision {revision}");
        let mut labels = release.storage_labels(None, None, &BTreeMap::new());
        let secret = helm.house.get("secret", namespace, &release.storage_name()).unwrap();
        for (key, value) in secret["metadata"]["labels"].as_object().unwrap() {
            if key != "createdAt" && key != "modifiedAt" {
                assert_eq!(labels.remove(key).as_deref(), value.as_str(), "{key}");
            }
        }
        assert!(labels.is_empty(), "{labels:?}");
    }
    let last = helm::StoredRelease::decode(&stored(helm.house, namespace, "theirs", 3)).unwrap();
    assert_eq!(last.chart.metadata.name, "web");
    assert_eq!(*last.config, json!({"a": "first"}).as_object().unwrap().clone());
    assert_eq!(last.hooks.len(), 1);
    // Our engine renders what theirs stored.
    let release = Release { name: "theirs".into(), namespace: namespace.into(), revision: 1, upgrade: false };
    let environment = Rc::new(Environment::new(jiff::Timestamp::now(), Box::new(SystemRandom)));
    let values = Table::from_json(&Value::Object((*last.config).clone())).unwrap();
    let rendered = helm::render(&chart(), &values, &Options::new(release, environment)).unwrap();
    // Helm 3 trims the end of each document, Helm 4 does not.
    let squeezed = |text: &str| text.lines().filter(|line| !line.trim().is_empty()).map(|line| format!("{line}\n")).collect::<String>();
    assert_eq!(squeezed(&last.manifest), squeezed(&rendered.manifest()));
}

/// Helm lists, shows, upgrades and rolls back what we stored.
fn ours(helm: &Tool<'_>, namespace: &str) {
    install(helm.house, namespace, "ours", "a: first\nm: {x: [1, null]}\n");
    let listed: Value = serde_json::from_str(&helm.run(&format!("list -n {namespace} -o json"))).unwrap();
    let found = listed.as_array().unwrap().iter().find(|release| release["name"] == "ours").unwrap().clone();
    assert_eq!(
        (&found["revision"], &found["status"], &found["chart"], &found["app_version"]),
        (&json!("1"), &json!("deployed"), &json!("web-1.2.3"), &json!("7"))
    );
    let status: Value = serde_json::from_str(&helm.run(&format!("status ours -n {namespace} -o json"))).unwrap();
    assert_eq!((&status["info"]["status"], &status["info"]["description"]), (&json!("deployed"), &json!("Install complete")));
    assert_eq!(helm.run(&format!("get values ours -n {namespace}")), "USER-SUPPLIED VALUES:\na: first\nm:\n  x:\n  - 1\n  - null\n");
    assert!(helm.run(&format!("get values ours -n {namespace} --all")).contains("big: 1234567890123\n"));
    assert!(helm.run(&format!("get manifest ours -n {namespace}")).contains("# Source: web/charts/sub/templates/s.yaml\n"));
    assert!(helm.run(&format!("get hooks ours -n {namespace}")).contains("helm.sh/hook-weight: \"-3\""));
    assert!(helm.run(&format!("get notes ours -n {namespace}")).contains("Revision 1 of ours."));
    assert!(helm.run(&format!("get metadata ours -n {namespace}")).contains("CHART: web\n"));
    helm.run(&format!("get all ours -n {namespace}"));
    helm.run(&format!("upgrade ours web -n {namespace} --set a=second --reuse-values"));
    assert_eq!(data_of(helm.house, namespace, "ours"), "second");
    let kept: Value = serde_json::from_str(&helm.run(&format!("get values ours -n {namespace} -o json"))).unwrap();
    assert_eq!(kept, json!({"a": "second", "m": {"x": [1, null]}}), "values of our revision are reused");
    helm.run(&format!("rollback ours 1 -n {namespace}"));
    assert_eq!(data_of(helm.house, namespace, "ours"), "first");
    let history: Value = serde_json::from_str(&helm.run(&format!("history ours -n {namespace} -o json"))).unwrap();
    let statuses: Vec<&str> = history.as_array().unwrap().iter().map(|revision| revision["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["superseded", "superseded", "deployed"]);
    let first = helm::StoredRelease::decode(&stored(helm.house, namespace, "ours", 1)).unwrap();
    let third = helm::StoredRelease::decode(&stored(helm.house, namespace, "ours", 3)).unwrap();
    assert_eq!((&third.config, &third.manifest), (&first.config, &first.manifest), "Helm kept what we stored");
    assert_eq!(third.info.description, "Rollback to 1");
    helm.run(&format!("uninstall ours -n {namespace}"));
    assert!(helm.house.get("configmap", namespace, "ours").is_none());
}

#[test]
fn helm_3_and_sluice_share_releases() {
    between("SLUICE_TEST_HELM3", "helm3");
}

#[test]
fn helm_4_and_sluice_share_releases() {
    between("SLUICE_TEST_HELM4", "helm4");
}
