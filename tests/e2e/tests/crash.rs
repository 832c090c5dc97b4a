//! kill -9 of any of the three processes at any moment: restarted, everything converges, with no orphan.

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
