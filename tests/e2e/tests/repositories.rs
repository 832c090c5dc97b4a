//! Real GitOps repositories, pushed to a real Git server and reconciled to Ready, looked at through the real kubectl.

#![allow(clippy::unwrap_used)]

use e2e::{GitServer, House, Options, Registry, Repository, condition, shared, unpack};
use tree::MemoryTree;

fn source_and_kustomization(url: &str, name: &str, path: &str, extra: &str) -> String {
    format!(
        "apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {{name: {name}, namespace: flux-system}}
spec: {{interval: 1m, url: {url}, ref: {{branch: main}}}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {{name: {name}, namespace: flux-system}}
spec:
  interval: 1m
  path: {path}
  prune: true
  timeout: 1m
  sourceRef: {{kind: GitRepository, name: {name}}}
{extra}"
    )
}

/// A reference repository in a work tree, or `None` (with a line) where it is not there.
fn reference(server: &GitServer, name: &str) -> Option<Repository> {
    let archive = shared()?.join(format!("repos/{name}.tar.xz"));
    let (_folder, inner) = unpack(&archive);
    let repository = server.repository(name);
    repository.copy(&inner);
    Some(repository)
}

fn replace(repository: &Repository, path: &str, from: &str, to: &str) {
    let file = repository.path().join(path);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{path} holds no {from:?}");
    std::fs::write(file, text.replace(from, to)).unwrap();
}

#[test]
fn podinfo_becomes_ready_and_goes_away_again() {
    let server = GitServer::start();
    let Some(repository) = reference(&server, "podinfo") else { return };
    let commit = repository.push("podinfo");
    let house = House::start(Options::default());
    // Nothing runs pods on a bare control plane, so readiness is only waited for where workloads are simulated.
    let wait = !house.is_external();
    house.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: e2e-podinfo}\n");
    house.apply(&source_and_kustomization(
        &server.url("podinfo"),
        "podinfo",
        "./kustomize",
        &format!("  targetNamespace: e2e-podinfo\n  wait: {wait}\n"),
    ));
    let ready = house.until_ready("kustomization", "flux-system", "podinfo", "True");
    assert_eq!(ready["status"]["lastAppliedRevision"], format!("main@sha1:{commit}"));
    let names = house.kubectl(&["get", "deployment,service,hpa", "-n", "e2e-podinfo", "-o", "name"]);
    assert_eq!(
        names.lines().collect::<Vec<_>>(),
        ["deployment.apps/podinfo", "service/podinfo", "horizontalpodautoscaler.autoscaling/podinfo"]
    );
    if wait {
        house.kubectl(&["wait", "deployment/podinfo", "-n", "e2e-podinfo", "--for=condition=Available", "--timeout=10s"]);
    }
    let described = house.kubectl(&["describe", "kustomization", "podinfo", "-n", "flux-system"]);
    assert!(described.contains("ReconciliationSucceeded"), "{described}");
    house.kubectl(&["delete", "kustomization", "podinfo", "-n", "flux-system", "--timeout=60s"]);
    house.until_gone("deployment", "e2e-podinfo", "podinfo");
    house.clean();
}

#[test]
fn the_multi_tenancy_repository_brings_up_its_tenant() {
    let server = GitServer::start();
    let (Some(repository), Some(registry)) = (reference(&server, "flux2-multi-tenancy"), Registry::start(false)) else { return };
    let url = server.url("flux2-multi-tenancy");
    // The team's own branch, which the archive does not hold.
    let team = server.repository("dev-team");
    team.write("staging/app.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app, namespace: apps}\ndata: {stage: staging}\n")
        .push("team");
    // What bootstrap writes, and what lies outside of this machine.
    repository.write("clusters/staging/flux-system/gotk-components.yaml", KUSTOMIZE_CONTROLLER_ACCOUNT);
    repository
        .write("clusters/staging/flux-system/gotk-sync.yaml", &source_and_kustomization(&url, "flux-system", "./clusters/staging", ""));
    replace(&repository, "tenants/base/dev-team/sync.yaml", "https://github.com/fluxcd/flux2-multi-tenancy", &server.url("dev-team"));
    replace(&repository, "tenants/base/dev-team/sync.yaml", "branch: dev-team", "branch: main");
    replace(
        &repository,
        "infrastructure/kyverno/source.yaml",
        "oci://ghcr.io/kyverno/manifests/kyverno",
        &format!("oci://{}/kyverno", registry.address),
    );
    // Flux 2.9 serves v1 only; signatures are verified by a later part.
    replace(&repository, "infrastructure/kyverno/source.yaml", "v1beta2", "v1");
    replace(&repository, "infrastructure/kyverno/source.yaml", "  verify:\n    provider: cosign\n", "");
    registry.push("kyverno:v1.14.4", &MemoryTree::from_iter([("crd.yaml", KYVERNO_CRD)]));
    repository.push("bootstrap");
    let house = House::start(Options::default());
    house.apply(KUSTOMIZE_CONTROLLER_ACCOUNT);
    house.apply(&source_and_kustomization(&url, "flux-system", "./clusters/staging", ""));
    for name in ["flux-system", "kyverno", "kyverno-controller", "kyverno-policies", "tenants"] {
        house.until_ready("kustomization", "flux-system", name, "True");
    }
    house.until_ready("kustomization", "apps", "dev-team", "True");
    assert_eq!(house.get("configmap", "apps", "app").unwrap()["data"]["stage"], "staging");
    // A tenant is an impersonated account with rights in its own namespace only.
    team.write("staging/grab.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: grab, namespace: kube-system}\ndata: {}\n")
        .push("grab");
    house.kubectl(&["annotate", "gitrepository", "dev-team", "-n", "apps", "--overwrite", "reconcile.fluxcd.io/requestedAt=grab"]);
    let refused = house.until_object("kustomization", "apps", "dev-team", "refused", |object| {
        let ready = condition(object, "Ready")?;
        (ready["status"] == "False" && ready["message"].as_str()?.contains("forbidden")).then_some(())
    });
    assert!(condition(&refused, "Ready").unwrap()["message"].as_str().unwrap().contains("system:serviceaccount:apps:dev-team"));
    assert!(house.get("configmap", "kube-system", "grab").is_none());
    house.clean();
}

#[test]
fn the_kustomize_helm_example_goes_as_far_as_its_kustomizations_go() {
    let server = GitServer::start();
    let Some(repository) = reference(&server, "flux2-kustomize-helm-example") else { return };
    let url = server.url("flux2-kustomize-helm-example");
    repository.push("example");
    let house = House::start(Options::default());
    house.apply(&source_and_kustomization(&url, "flux-system", "./clusters/staging", ""));
    let root = house.until_ready("kustomization", "flux-system", "flux-system", "True");
    let entries = root["status"]["inventory"]["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 4, "three Kustomizations and an ArtifactGenerator: {entries:?}");
    // Their source is an ExternalArtifact that the artifact controller would make: the reason is named.
    let waiting = house.until_ready("kustomization", "flux-system", "infra-controllers", "False");
    let reason = condition(&waiting, "Ready").unwrap()["reason"].as_str().unwrap().to_owned();
    assert!(matches!(reason.as_str(), "AccessDenied" | "ArtifactFailed"), "{reason}");
    // The same folders, taken straight from the repository.
    for (name, path) in [("controllers", "./infrastructure/controllers"), ("apps-staging", "./apps/staging")] {
        house.apply(&source_and_kustomization(&url, name, path, ""));
        house.until_ready("kustomization", "flux-system", name, "True");
    }
    let releases = house.kubectl(&["get", "helmreleases", "-A", "-o", "name"]);
    assert!(releases.contains("helmrelease.helm.toolkit.fluxcd.io/podinfo"), "{releases}");
    house.clean();
}

const KUSTOMIZE_CONTROLLER_ACCOUNT: &str = "apiVersion: v1
kind: ServiceAccount
metadata: {name: kustomize-controller, namespace: flux-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: e2e-cluster-reconciler}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects:
- {kind: ServiceAccount, name: kustomize-controller, namespace: flux-system}
";

/// As much of kyverno as its policies need to be accepted.
const KYVERNO_CRD: &str = "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: clusterpolicies.kyverno.io}
spec:
  group: kyverno.io
  names: {kind: ClusterPolicy, listKind: ClusterPolicyList, plural: clusterpolicies, singular: clusterpolicy}
  scope: Cluster
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, x-kubernetes-preserve-unknown-fields: true}
";
