//! kill -9 of any of the processes at any moment: restarted, everything converges, with no orphan and no lost release.

#![allow(clippy::unwrap_used)]

use e2e::{GitServer, House, Options, Repository};
use serde_json::Value;

/// Two Kustomizations, the second after the first; the state number decides what exists.
fn write_state(repository: &Repository, state: usize) {
    for app in 0..4 {
        let present = !(state + app).is_multiple_of(3);
        let path = format!("apps/app-{app}.yaml");
        if present {
            let manifest = format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: app-{app}, namespace: e2e-crash}}\ndata: {{state: \"{state}\"}}\n"
            );
            repository.write(&path, &manifest);
        } else if repository.path().join(&path).exists() {
            repository.remove(&path);
        }
    }
}

fn expected(state: usize) -> Vec<String> {
    (0..4).filter(|app| !(state + app).is_multiple_of(3)).map(|app| format!("app-{app}")).collect()
}

fn names(house: &House) -> Vec<String> {
    let list = house.kubectl(&["get", "configmap", "-n", "e2e-crash", "-l", "kustomize.toolkit.fluxcd.io/name=apps", "-o", "json"]);
    let list: Value = serde_json::from_str(&list).unwrap();
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn killed_at_any_moment_it_converges_without_orphans() {
    let server = GitServer::start();
    let repository = server.repository("crash");
    repository.write("base/kustomization.yaml", "resources: [namespace.yaml]\n");
    repository.write("base/namespace.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: e2e-crash}\n");
    write_state(&repository, 1);
    repository.push("state 1");
    let mut house = House::start(Options::default());
    house.apply(&format!(
        "apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {{name: crash, namespace: flux-system}}
spec: {{interval: 1s, url: {}, ref: {{branch: main}}}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {{name: base, namespace: flux-system}}
spec: {{interval: 1m, retryInterval: 1s, path: ./base, prune: true, wait: true, sourceRef: {{kind: GitRepository, name: crash}}}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {{name: apps, namespace: flux-system}}
spec: {{interval: 1m, retryInterval: 1s, path: ./apps, prune: true, dependsOn: [{{name: base}}], sourceRef: {{kind: GitRepository, name: crash}}}}
",
        server.url("crash")
    ));
    house.until_ready("kustomization", "flux-system", "apps", "True");
    for state in 2..12 {
        write_state(&repository, state);
        let commit = repository.push(&format!("state {state}"));
        // A different moment and a different victim each time, the same ones in every run.
        std::thread::sleep(std::time::Duration::from_millis(137 * (state as u64 % 7)));
        match state % 3 {
            0 => {
                house.source.as_mut().unwrap().kill();
                house.start_source();
            }
            1 => {
                house.kustomize.as_mut().unwrap().kill();
                house.start_kustomize();
            }
            _ if house.is_external() => {
                house.kustomize.as_mut().unwrap().kill();
                house.source.as_mut().unwrap().kill();
                house.start_source();
                house.start_kustomize();
            }
            _ => {
                house.api.as_mut().unwrap().kill();
                house.start_api();
            }
        }
        let revision = format!("main@sha1:{commit}");
        house.until_object("kustomization", "flux-system", "apps", &format!("at state {state}"), |object| {
            (object["status"]["lastAppliedRevision"] == revision.as_str()).then_some(())
        });
        assert_eq!(names(&house), expected(state), "objects of state {state}");
        let object = house.get("kustomization", "flux-system", "apps").unwrap();
        assert_eq!(
            object["status"]["inventory"]["entries"].as_array().map_or(0, Vec::len),
            expected(state).len(),
            "inventory of state {state}"
        );
    }
    house.clean();
    assert_eq!(names(&house), Vec::<String>::new(), "deletion leaves no orphan");
}

fn release(state: usize) -> String {
    // Hooks, and objects that come and go, so that there is something to be cut short in the middle of.
    format!(
        "apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {{name: app, namespace: e2e-release}}
spec:
  interval: 1m
  timeout: 20s
  chart: {{spec: {{chart: ./chart, interval: 1s, sourceRef: {{kind: GitRepository, name: release}}}}}}
  upgrade: {{remediation: {{retries: -1}}}}
  values: {{state: {state}, count: {}}}
",
        1 + state % 3
    )
}

#[test]
fn a_release_that_is_killed_at_any_moment_converges_and_none_is_lost() {
    let server = GitServer::start();
    let repository = server.repository("release");
    repository.write("chart/Chart.yaml", "apiVersion: v2\nname: demo\nversion: 1.0.0\n");
    repository.write("chart/values.yaml", "state: 0\ncount: 1\n");
    repository.write(
        "chart/templates/objects.yaml",
        "{{ range $n := until (int .Values.count) }}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: app-{{ $n }}}\ndata: {state: \"{{ $.Values.state }}\"}\n{{ end }}\n",
    );
    repository.write(
        "chart/templates/hook.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: hook\n  annotations: {helm.sh/hook: \"pre-install,pre-upgrade\"}\n",
    );
    repository.push("chart");
    let mut house = House::start(Options::default());
    house.start_helm();
    house.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: e2e-release}\n");
    house.apply(&format!(
        "apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {{name: release, namespace: e2e-release}}
spec: {{interval: 1h, url: {}, ref: {{branch: main}}}}
",
        server.url("release")
    ));
    let rounds: usize = std::env::var("SLUICE_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    for state in 1..=rounds {
        house.apply(&release(state));
        // A different moment each time, the same ones in every run: from before the first request to after the last.
        std::thread::sleep(std::time::Duration::from_millis(31 * (state as u64 % 23)));
        house.helm.as_mut().unwrap().kill();
        house.start_helm();
        house.until_object("helmrelease", "e2e-release", "app", &format!("at state {state}"), |object| {
            let ready = object["status"]["conditions"].as_array()?.iter().find(|one| one["type"] == "Ready")?;
            let newest = object["status"]["observedGeneration"] == object["metadata"]["generation"];
            (ready["status"] == "True" && newest).then_some(())
        });
        let list = |kind: &str, labels: &str| -> Vec<Value> {
            let text = house.kubectl(&["get", kind, "-n", "e2e-release", "-l", labels, "-o", "json"]);
            serde_json::from_str::<Value>(&text).unwrap()["items"].as_array().unwrap().clone()
        };
        let objects = list("configmap", "app.kubernetes.io/managed-by=Helm");
        assert_eq!(objects.len(), 1 + state % 3, "objects of state {state}");
        assert!(objects.iter().all(|one| one["data"]["state"] == state.to_string().as_str()), "content of state {state}");
        let stored = list("secret", "owner=helm,name=app");
        let count = |status: &str| stored.iter().filter(|one| one["metadata"]["labels"]["status"] == status).count();
        assert_eq!(count("deployed"), 1, "deployed releases at state {state}");
        assert_eq!(count("pending-install") + count("pending-upgrade") + count("pending-rollback"), 0, "open releases at state {state}");
    }
    house.kubectl(&["delete", "helmrelease", "app", "-n", "e2e-release"]);
    assert_eq!(house.kubectl(&["get", "secret", "-n", "e2e-release", "-l", "owner=helm", "-o", "name"]), "", "the release is gone");
    assert_eq!(house.kubectl(&["get", "configmap", "-n", "e2e-release", "-l", "app.kubernetes.io/managed-by=Helm", "-o", "name"]), "");
    house.clean();
}
