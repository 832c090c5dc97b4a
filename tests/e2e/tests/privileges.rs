//! The controllers with the tokens of their own ServiceAccounts and exactly the rights that `config/` gives them.

#![allow(clippy::unwrap_used)]

use e2e::{ChartRepository, GitServer, House, Options, Registry, binary, condition};
use std::process::Command;
use tree::MemoryTree;

/// The accounts and rights of `config/`, built by our own engine. `admin` keeps the binding that makes appliers administrators.
fn rights(admin: bool) -> String {
    let config = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/default");
    let output = Command::new(binary("sluice")).args(["kustomize", "build"]).arg(config).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let wanted = |document: &&str| {
        ["kind: ServiceAccount\n", "kind: ClusterRole\n", "kind: ClusterRoleBinding\n"].iter().any(|kind| document.contains(kind))
            && (admin || !document.contains("cluster-reconciler"))
    };
    text.split("\n---\n").filter(wanted).collect::<Vec<_>>().join("\n---\n")
}

/// A team whose account may do everything in its own namespace.
const TEAM: &str = "apiVersion: v1
kind: Namespace
metadata: {name: e2e-team}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: team, namespace: e2e-team}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: team, namespace: e2e-team}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: admin}
subjects: [{kind: ServiceAccount, name: team, namespace: e2e-team}]
";

fn objects(git: &str, charts: &str, registry: Option<&str>) -> String {
    let mut text = format!(
        "apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {{name: app, namespace: e2e-team}}
spec: {{interval: 1m, url: {git}, ref: {{branch: main}}}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {{name: app, namespace: e2e-team}}
spec:
  {{interval: 1m, path: ./app, prune: true, wait: true, serviceAccountName: team, targetNamespace: e2e-team, sourceRef: {{kind: GitRepository, name: app}},
   postBuild: {{substituteFrom: [{{kind: ConfigMap, name: variables}}]}}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: variables, namespace: e2e-team}}
data: {{name: of-the-team}}
---
apiVersion: source.extensions.fluxcd.io/v1beta1
kind: ArtifactGenerator
metadata: {{name: parts, namespace: e2e-team}}
spec:
  sources: [{{alias: repo, kind: GitRepository, name: app}}]
  artifacts: [{{name: part, originRevision: '@repo', copy: [{{from: '@repo/part/**', to: '@artifact/'}}]}}]
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {{name: part, namespace: e2e-team}}
spec: {{interval: 1m, path: ./, prune: true, serviceAccountName: team, targetNamespace: e2e-team, sourceRef: {{kind: ExternalArtifact, name: part}}}}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: HelmRepository
metadata: {{name: charts, namespace: e2e-team}}
spec: {{interval: 1m, url: {charts}}}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {{name: release, namespace: e2e-team}}
spec:
  interval: 1m
  serviceAccountName: team
  driftDetection: {{mode: enabled}}
  chart: {{spec: {{chart: small, sourceRef: {{kind: HelmRepository, name: charts}}}}}}
  valuesFrom: [{{kind: ConfigMap, name: variables, valuesKey: name, targetPath: owner}}]
"
    );
    if let Some(address) = registry {
        text.push_str(&format!(
            "---
apiVersion: source.toolkit.fluxcd.io/v1
kind: OCIRepository
metadata: {{name: oci, namespace: e2e-team}}
spec: {{interval: 1m, url: 'oci://{address}/part', ref: {{tag: v1}}, insecure: true}}
"
        ));
    }
    text
}

const CONFIG: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: NAME\n";

#[test]
fn the_controllers_work_with_their_own_rights_and_have_no_more() {
    let (server, charts, registry) = (GitServer::start(), tempfile::tempdir().unwrap(), Registry::start(false));
    let repository = server.repository("app");
    repository.write("app/config.yaml", &CONFIG.replace("NAME", "${name}"));
    repository.write("part/config.yaml", &CONFIG.replace("NAME", "of-the-part"));
    repository.push("all");
    std::fs::create_dir_all(charts.path().join("small/templates")).unwrap();
    std::fs::write(charts.path().join("small/Chart.yaml"), "apiVersion: v2\nname: small\nversion: 1.0.0\n").unwrap();
    let template = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: of-the-release}\ndata: {owner: {{ .Values.owner }}}\n";
    std::fs::write(charts.path().join("small/templates/config.yaml"), template).unwrap();
    let index = ChartRepository::serve(charts.path());
    if let Some(registry) = &registry {
        registry.push("part:v1", &MemoryTree::from_iter([("a.yaml", CONFIG)]));
    }

    let mut house = House::empty(Options { own_accounts: true, feature_gates: "ExternalArtifact=true", ..Options::default() });
    house.apply(&rights(false));
    house.start_source();
    house.start_artifact();
    house.start_kustomize();
    house.start_helm();
    house.apply(TEAM);
    house.apply(&objects(&server.url("app"), &index.url, registry.as_ref().map(|registry| registry.address.as_str())));
    let sources = ["gitrepository/app", "helmrepository/charts", "ocirepository/oci"];
    for source in &sources[..if registry.is_some() { 3 } else { 2 }] {
        let (kind, name) = source.split_once('/').unwrap();
        house.until_ready(kind, "e2e-team", name, "True");
    }
    house.until_ready("kustomization", "e2e-team", "app", "True");
    house.until_ready("kustomization", "e2e-team", "part", "True");
    house.until_ready("helmrelease", "e2e-team", "release", "True");
    for name in ["of-the-team", "of-the-part", "of-the-release"] {
        assert!(house.get("configmap", "e2e-team", name).is_some(), "{name}");
    }
    assert_eq!(house.get("configmap", "e2e-team", "of-the-release").unwrap()["data"]["owner"], "of-the-team");
    let events =
        house.kubectl(&["get", "events", "-n", "e2e-team", "-o", "jsonpath={.items[*].source.component}{.items[*].reportingComponent}"]);
    for controller in ["source-controller", "kustomize-controller", "helm-controller"] {
        assert!(events.contains(controller), "{controller} tells what it does: {events}");
    }

    // Without an account of its own an object is applied as the controller, which may not do that here.
    let plain = "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: plain, namespace: e2e-team}\nspec: {interval: 1m, retryInterval: 1s, path: ./part, prune: true, targetNamespace: default, sourceRef: {kind: GitRepository, name: app}}\n";
    house.apply(plain);
    let refused = house.until_object("kustomization", "e2e-team", "plain", "refused", |object| {
        let ready = condition(object, "Ready")?;
        (ready["status"] == "False" && ready["message"].as_str()?.contains("forbidden")).then_some(())
    });
    let why = condition(&refused, "Ready").unwrap()["message"].as_str().unwrap().to_owned();
    assert!(why.contains("system:serviceaccount:flux-system:kustomize-controller"), "{why}");

    // What nobody needs nobody has.
    let may = |account: &str, what: &[&str]| {
        let who = format!("--as=system:serviceaccount:flux-system:{account}");
        house.try_kubectl(&[&["auth", "can-i", &who], what].concat(), None).is_ok_and(|answer| answer.trim() == "yes")
    };
    for account in ["source-controller", "kustomize-controller", "helm-controller", "source-watcher"] {
        for what in [
            &["create", "secrets"][..],
            &["create", "deployments"],
            &["list", "pods", "-A"],
            &["create", "clusterrolebindings"],
            &["delete", "namespaces"],
            &["impersonate", "users"],
            &["create", "serviceaccounts/token"],
        ] {
            assert!(!may(account, what), "{account} may {what:?}");
        }
    }
    assert!(!may("source-controller", &["impersonate", "serviceaccounts"]) && !may("source-watcher", &["get", "secrets"]));
    assert!(!may("source-controller", &["patch", "kustomizations.kustomize.toolkit.fluxcd.io"]));
    assert!(!may("helm-controller", &["patch", "gitrepositories.source.toolkit.fluxcd.io"]));
    assert!(may("kustomize-controller", &["impersonate", "serviceaccounts"]), "tenants are acted for");

    // With the binding of config/ it may: as under Flux.
    house.apply(&rights(true));
    house.until_ready("kustomization", "e2e-team", "plain", "True");
    assert!(house.get("configmap", "default", "of-the-part").is_some());

    // Everything is taken away again: finalizers need rights too.
    house.kubectl(&["delete", "helmreleases,kustomizations,artifactgenerators", "--all", "-n", "e2e-team", "--timeout=60s"]);
    house.until_gone("configmap", "e2e-team", "of-the-release");
    house.until_gone("configmap", "e2e-team", "of-the-team");
    let controllers = [&house.source, &house.artifact, &house.kustomize, &house.helm];
    for process in controllers.into_iter().flatten() {
        let log = process.log();
        let refused: Vec<&str> = log.lines().filter(|line| line.contains("forbidden") && !line.contains("\"plain\"")).collect();
        assert!(refused.is_empty(), "{}", refused.join("\n"));
    }
    house.clean();
}
