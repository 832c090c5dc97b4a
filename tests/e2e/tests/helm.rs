//! The real Helm 4, verb by verb, against the API server.
//!
//! The program is what `SLUICE_TEST_HELM4` names, or `helm` on the path when that is a Helm 4; without one the test says so and passes.

#![allow(clippy::unwrap_used)]

use e2e::{House, Options};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

const CHART: &str = "apiVersion: v2
name: web
version: 0.1.0
appVersion: '1'
";

const DEPLOYMENT: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}, labels: {app: {{ .Release.Name }}}}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app: {{ .Release.Name }}}}
    spec: {containers: [{name: web, image: 'example.com/web:{{ .Values.tag }}', ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: {{ .Release.Name }}}
spec: {selector: {app: {{ .Release.Name }}}, ports: [{port: 80}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}}
data: {tag: {{ .Values.tag | quote }}, upgrade: {{ .Release.IsUpgrade | quote }}}
";

const HOOK: &str = "apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .Release.Name }}-before
  annotations: {helm.sh/hook: 'pre-install,pre-upgrade', helm.sh/hook-delete-policy: 'before-hook-creation,hook-succeeded'}
spec:
  template:
    spec: {restartPolicy: Never, containers: [{name: one, image: example.com/one:v1}]}
";

const TEST: &str = "apiVersion: v1
kind: Pod
metadata:
  name: {{ .Release.Name }}-test
  annotations: {helm.sh/hook: test, helm.sh/hook-delete-policy: before-hook-creation}
spec: {restartPolicy: Never, containers: [{name: one, image: 'example.com/one:v1'}]}
";

/// Helm 4, when there is one.
fn helm() -> Option<String> {
    let named = std::env::var("SLUICE_TEST_HELM4").ok();
    let program = named.clone().unwrap_or_else(|| "helm".to_owned());
    let version = Command::new(&program).args(["version", "--short"]).stderr(Stdio::null()).output().ok();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    assert!(named.is_none() || version.starts_with("v4"), "SLUICE_TEST_HELM4 names no Helm 4: {version:?}");
    version.starts_with("v4").then_some(program)
}

struct Helm<'h> {
    program: String,
    house: &'h House,
}

impl Helm<'_> {
    fn try_run(&self, words: &str) -> Result<String, String> {
        let mut command = Command::new(&self.program);
        command.args(words.split_whitespace()).args(["--namespace", "e2e-helm"]).stdin(Stdio::null());
        let folder = self.house.state.path().join("helm");
        command.env("KUBECONFIG", &self.house.kubeconfig).env("HELM_CACHE_HOME", &folder).env("HELM_CONFIG_HOME", &folder);
        command.env("HELM_DATA_HOME", &folder);
        let output = command.output().map_err(|error| error.to_string())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    fn run(&self, words: &str) -> String {
        self.try_run(words).unwrap_or_else(|why| panic!("helm {words}: {why}"))
    }
}

fn write_chart(folder: &Path, jobs: bool) {
    fs::create_dir_all(folder.join("templates")).unwrap();
    fs::write(folder.join("Chart.yaml"), CHART).unwrap();
    fs::write(folder.join("values.yaml"), "replicas: 2\ntag: v1\n").unwrap();
    fs::write(folder.join("templates/all.yaml"), DEPLOYMENT).unwrap();
    fs::write(folder.join("templates/NOTES.txt"), "{{ .Release.Name }} is there\n").unwrap();
    if jobs {
        fs::write(folder.join("templates/hook.yaml"), HOOK).unwrap();
        fs::write(folder.join("templates/test.yaml"), TEST).unwrap();
    }
}

#[test]
fn helm_lives_a_whole_release_on_the_server() {
    let Some(program) = helm() else {
        eprintln!("skipped: no Helm 4 (SLUICE_TEST_HELM4 names none, and none is on the path)");
        return;
    };
    let house = House::start(Options::default());
    // Where no node is simulated, only what needs no pod becomes ready.
    let simulated = !house.is_external();
    let replicas = if simulated { 2 } else { 0 };
    let chart = house.state.path().join("web");
    write_chart(&chart, simulated);
    let chart = chart.display();
    let helm = Helm { program, house: &house };
    house.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: e2e-helm}\n");
    let tag = || house.kubectl(&["get", "configmap", "web", "-n", "e2e-helm", "-o", "jsonpath={.data.tag}"]);

    let installed = helm.run(&format!("install web {chart} --wait --timeout 60s --set replicas={replicas}"));
    assert!(installed.contains("STATUS: deployed") && installed.contains("web is there"), "{installed}");
    assert_eq!(tag(), "v1");
    if simulated {
        let ready = house.kubectl(&["get", "deployment", "web", "-n", "e2e-helm", "-o", "jsonpath={.status.readyReplicas}"]);
        assert_eq!(ready, "2", "--wait came back with the workload ready");
        assert!(house.get("job", "e2e-helm", "web-before").is_none(), "the hook's Job is gone once it has succeeded");
    }
    assert!(helm.try_run(&format!("install web {chart}")).unwrap_err().contains("cannot reuse a name"));

    let upgraded = helm.run(&format!("upgrade web {chart} --wait --timeout 60s --reuse-values --set tag=v2"));
    assert!(upgraded.contains("REVISION: 2"), "{upgraded}");
    assert_eq!(tag(), "v2");
    if simulated {
        let tested = helm.run("test web --timeout 60s");
        assert!(tested.contains("Succeeded"), "{tested}");
    }
    assert!(helm.run("list").lines().any(|line| line.starts_with("web") && line.contains("deployed")));
    let history = helm.run("history web");
    assert!(history.contains("superseded") && history.contains("Upgrade complete"), "{history}");
    let all = helm.run("get all web");
    for part in ["USER-SUPPLIED VALUES", "COMPUTED VALUES", "MANIFEST:", "example.com/web:v2", "NOTES:"] {
        assert!(all.contains(part), "{part}: {all}");
    }
    assert!(helm.run("status web").contains("STATUS: deployed"));

    helm.run("rollback web 1 --wait --timeout 60s");
    assert_eq!(tag(), "v1");
    assert!(helm.run("history web").contains("Rollback to 1"));

    // What another hand has set is told, and stays.
    house.kubectl(&["scale", "deployment", "web", "-n", "e2e-helm", "--replicas=1"]);
    let drifted = helm.try_run(&format!("upgrade web {chart} --reuse-values --set replicas=3"));
    if let Err(conflict) = &drifted {
        assert!(conflict.contains("conflict"), "{conflict}");
    }

    let gone = helm.run("uninstall web --wait --timeout 60s");
    assert!(gone.contains("uninstalled"), "{gone}");
    house.until_gone("deployment", "e2e-helm", "web");
    assert!(helm.run("list").lines().count() <= 1, "no release is left");
    assert_eq!(house.kubectl(&["get", "secrets", "-n", "e2e-helm", "-l", "owner=helm", "-o", "name"]), "");
    house.kubectl(&["delete", "namespace", "e2e-helm", "--timeout=60s"]);
}
