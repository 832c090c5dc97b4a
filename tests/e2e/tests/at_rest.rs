//! Where nothing changes nothing is written: not at rest, and not by controllers that start anew.

#![allow(clippy::unwrap_used)]

use e2e::{GitServer, House, Options};
use std::{collections::BTreeMap, time::Duration};

const ALL: [&str; 4] = ["source-controller", "artifact-controller", "kustomize-controller", "helm-controller"];

/// Requests that change something.
fn writes(house: &House, name: &str) -> u64 {
    house.requests(name).iter().filter(|(method, _)| !matches!(method.as_str(), "GET" | "HEAD" | "<none>")).map(|(_, count)| count).sum()
}

fn versions(house: &House) -> BTreeMap<String, String> {
    let kinds = "gitrepositories,helmcharts,artifactgenerators,externalartifacts,kustomizations,helmreleases,configmaps,secrets,events";
    let path = "jsonpath={range .items[*]}{.kind}/{.metadata.namespace}/{.metadata.name} {.metadata.resourceVersion}{'\\n'}{end}";
    let text = house.kubectl(&["get", kinds, "-A", "-o", path]);
    text.lines().filter_map(|line| line.split_once(' ')).map(|(name, version)| (name.to_owned(), version.to_owned())).collect()
}

/// Lets every controller look several times: intervals are a second.
fn a_while() {
    std::thread::sleep(Duration::from_secs(5));
}

#[test]
fn four_controllers_at_rest_write_nothing_and_neither_do_new_ones() {
    let server = GitServer::start();
    let repository = server.repository("rest");
    repository.write("app/one.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one, namespace: e2e-rest}\ndata: {a: b}\n");
    repository.write("cut/two.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: two, namespace: e2e-rest}\ndata: {a: b}\n");
    repository.write("chart/Chart.yaml", "apiVersion: v2\nname: demo\nversion: 1.0.0\n");
    repository
        .write("chart/templates/three.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: three}\ndata: {a: '{{ .Values.a }}'}\n");
    repository.push("first");
    let mut house = House::start(Options { feature_gates: "ExternalArtifact=true", ..Options::default() });
    house.start_artifact();
    house.start_helm();
    house.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: e2e-rest}\n");
    house.apply(&format!(
        "apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {{name: rest, namespace: e2e-rest}}
spec: {{interval: 1s, url: {}, ref: {{branch: main}}}}
---
apiVersion: source.extensions.fluxcd.io/v1beta1
kind: ArtifactGenerator
metadata: {{name: cut, namespace: e2e-rest}}
spec:
  sources: [{{alias: all, kind: GitRepository, name: rest}}]
  artifacts: [{{name: cut, copy: [{{from: '@all/cut/**', to: '@artifact/'}}]}}]
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {{name: app, namespace: e2e-rest}}
spec: {{interval: 1s, path: ./app, prune: true, wait: true, sourceRef: {{kind: GitRepository, name: rest}}}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {{name: cut, namespace: e2e-rest}}
spec: {{interval: 1s, prune: true, sourceRef: {{kind: ExternalArtifact, name: cut}}}}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {{name: demo, namespace: e2e-rest}}
spec:
  interval: 1s
  driftDetection: {{mode: enabled}}
  chart: {{spec: {{chart: ./chart, interval: 1s, sourceRef: {{kind: GitRepository, name: rest}}}}}}
  values: {{a: b}}
",
        server.url("rest")
    ));
    let all_ready = |house: &House| {
        for (kind, name) in [("kustomization", "app"), ("kustomization", "cut"), ("helmrelease", "demo"), ("gitrepository", "rest")] {
            house.until_ready(kind, "e2e-rest", name, "True");
        }
    };
    all_ready(&house);
    // Events and first looks come to an end before anything is counted.
    a_while();
    let (counted, seen) = (ALL.map(|name| writes(&house, name)), versions(&house));
    assert!(counted.iter().all(|count| *count > 0), "each of them has made something: {counted:?}");
    a_while();
    assert_eq!(ALL.map(|name| writes(&house, name)), counted, "writes at rest");
    assert_eq!(versions(&house), seen, "nothing changed");

    for process in [&mut house.source, &mut house.artifact, &mut house.kustomize, &mut house.helm] {
        process.as_mut().unwrap().kill();
    }
    house.start_source();
    house.start_artifact();
    house.start_kustomize();
    house.start_helm();
    e2e::until("metrics of the new processes", || {
        let told = ALL.iter().all(|name| e2e::Web::get(&house.metrics_address(name), "/metrics").contains("rest_client_requests_total{"));
        if told { Ok(()) } else { Err("not yet".to_owned()) }
    });
    a_while();
    all_ready(&house);
    assert_eq!(ALL.map(|name| writes(&house, name)), [0; 4], "writes after a restart");
    assert_eq!(versions(&house), seen, "nothing changed");

    house.kubectl(&["delete", "helmrelease,kustomization,artifactgenerator,gitrepository", "--all", "-n", "e2e-rest", "--timeout=60s"]);
    house.kubectl(&["delete", "namespace", "e2e-rest", "--timeout=60s"]);
}
