//! Real GitOps repositories, pushed to a real Git server and reconciled to Ready, looked at through the real kubectl.

#![allow(clippy::unwrap_used)]

use e2e::{ChartRepository, GitServer, House, Options, Pods, Registry, Repository, binary, condition, shared, unpack};
use std::{
    path::{Path, PathBuf},
    process::Command,
};
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

/// A reference repository as it was published, or `None` (with a line) where it is not there.
fn reference(server: &GitServer, name: &str) -> Option<Repository> {
    let archive = shared()?.join(format!("repos/{name}.tar.xz"));
    let (_folder, inner) = unpack(&archive);
    let repository = server.repository(name);
    repository.copy(&inner);
    Some(repository)
}

/// A patch of a Kustomization that gives it a patch of its own: how what it applies is changed without a change to the repository.
fn nested(kustomization: &str, kind: &str, name: &str, operations: &str) -> String {
    let indented = operations.lines().map(|line| format!("          {line}\n")).collect::<String>();
    format!(
        "  - target: {{kind: Kustomization, name: {kustomization}}}
    patch: |
      - op: add
        path: /spec/patches/-
        value:
          target: {{kind: {kind}, name: {name}}}
          patch: |
{}",
        indented.lines().map(|line| format!("  {line}\n")).collect::<String>()
    )
}

/// Gives a Kustomization an empty list of patches, for [`nested`] to add to.
fn patchable(kustomization: &str) -> String {
    format!(
        "  - target: {{kind: Kustomization, name: {kustomization}}}\n    patch: '[{{\"op\": \"add\", \"path\": \"/spec/patches\", \"value\": []}}]'\n"
    )
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

/// Both clusters of the repository, unchanged, under the flags that its controllers are given (lockdown).
/// What lies outside of this machine is reached through patches of the root Kustomization, which is bootstrap's and no part of the repository.
fn multi_tenancy(stage: &str) {
    let server = GitServer::start();
    let (Some(repository), Some(registry)) = (reference(&server, "flux2-multi-tenancy"), Registry::start(false)) else { return };
    let url = server.url("flux2-multi-tenancy");
    repository.push("as published");
    // The team's own branch, which the archive does not hold.
    let team = server.repository("dev-team");
    let app = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: app, namespace: apps}}\ndata: {{stage: {stage}}}\n");
    team.write(&format!("{stage}/app.yaml"), &app).push("team");
    registry.push("kyverno:v1.14.4", &MemoryTree::from_iter([("crd.yaml", KYVERNO_CRD)]));
    let patches = [
        patchable("kyverno"),
        // Flux 2.9 serves v1 only, and signatures are refused unchecked until they can be verified.
        nested(
            "kyverno",
            "OCIRepository",
            "kyverno-controller",
            &format!(
                "- {{op: replace, path: /apiVersion, value: source.toolkit.fluxcd.io/v1}}
- {{op: replace, path: /spec/url, value: 'oci://{}/kyverno'}}
- {{op: add, path: /spec/insecure, value: true}}
- {{op: remove, path: /spec/verify}}",
                registry.address
            ),
        ),
        patchable("tenants"),
        nested(
            "tenants",
            "GitRepository",
            "dev-team",
            &format!(
                "- {{op: replace, path: /spec/url, value: '{}'}}\n- {{op: replace, path: /spec/ref/branch, value: main}}",
                server.url("dev-team")
            ),
        ),
    ];
    let house = House::start(Options { lockdown: true, ..Options::default() });
    house.apply(KUSTOMIZE_CONTROLLER_ACCOUNT);
    let root = format!("  serviceAccountName: kustomize-controller\n  patches:\n{}", patches.concat());
    house.apply(&source_and_kustomization(&url, "flux-system", &format!("./clusters/{stage}"), &root));
    for name in ["flux-system", "kyverno", "kyverno-controller", "kyverno-policies", "tenants"] {
        house.until_ready("kustomization", "flux-system", name, "True");
    }
    house.until_ready("kustomization", "apps", "dev-team", "True");
    assert_eq!(house.get("configmap", "apps", "app").unwrap()["data"]["stage"], stage);

    // A tenant is an impersonated account with rights in its own namespace only.
    let grab = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: grab, namespace: kube-system}\ndata: {}\n";
    team.write(&format!("{stage}/grab.yaml"), grab).push("grab");
    house.kubectl(&["annotate", "gitrepository", "dev-team", "-n", "apps", "--overwrite", "reconcile.fluxcd.io/requestedAt=grab"]);
    let message = refused(&house, "apps", "dev-team", "forbidden");
    assert!(message.contains("system:serviceaccount:apps:dev-team"), "{message}");
    assert!(house.get("configmap", "kube-system", "grab").is_none());
    // Who names no account gets the namespace's own, which may do nothing; and sources of other namespaces are not for tenants.
    let other = |name: &str, reference: &str| {
        format!(
            "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {{name: {name}, namespace: apps}}\nspec: {{interval: 1m, path: ./{stage}, prune: true, sourceRef: {reference}}}\n"
        )
    };
    house.apply(&other("nobody", "{kind: GitRepository, name: dev-team}"));
    let message = refused(&house, "apps", "nobody", "forbidden");
    assert!(message.contains("system:serviceaccount:apps:default"), "{message}");
    house.apply(&other("stranger", "{kind: GitRepository, name: flux-system, namespace: flux-system}"));
    refused(&house, "apps", "stranger", "cross-namespace references have been blocked");
    house.clean();
}

/// Waits until a Kustomization is refused with these words; the whole message.
fn refused(house: &House, namespace: &str, name: &str, why: &str) -> String {
    let message =
        |object: &serde_json::Value| condition(object, "Ready").and_then(|ready| ready["message"].as_str()).unwrap_or_default().to_owned();
    let object = house.until_object("kustomization", namespace, name, &format!("refused: {why}"), |object| {
        (condition(object, "Ready")?["status"] == "False" && message(object).contains(why)).then_some(())
    });
    message(&object)
}

#[test]
fn the_multi_tenancy_repository_brings_up_its_tenant_in_staging() {
    multi_tenancy("staging");
}

#[test]
fn the_multi_tenancy_repository_brings_up_its_tenant_in_production() {
    multi_tenancy("production");
}

/// Packs a chart with our own program, under another version if one is given.
fn pack(chart: &Path, version: Option<&str>, into: &Path) -> PathBuf {
    let mut command = Command::new(binary("sluice"));
    command.args(["helm", "package"]).arg(chart).arg("-d").arg(into).args(version.map(|version| format!("--version={version}")));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    PathBuf::from(told.trim().rsplit_once(": ").unwrap().1)
}

/// The whole example, unchanged: ArtifactGenerators cut the repository, and its releases are installed from a chart repository and a registry
/// of this machine. The addresses of the internet are replaced by patches that the root Kustomization (bootstrap's, not the repository's)
/// gives to the Kustomizations of the repository. The charts are the published podinfo and envoy-gateway, and a small cert-manager.
fn kustomize_helm_example(stage: &str, podinfo: &str) {
    let server = GitServer::start();
    let (Some(repository), Some(registry)) = (reference(&server, "flux2-kustomize-helm-example"), Registry::start(false)) else { return };
    repository.push("as published");
    let charts = unpack_charts(&["podinfo", "bitnami-envoy-gateway"]);
    let index = tempfile::tempdir().unwrap();
    pack(&charts.path().join("podinfo/chart"), None, index.path());
    // A release candidate, which only staging asks for.
    pack(&charts.path().join("podinfo/chart"), Some("7.0.0-rc.1"), index.path());
    let repository_of_charts = ChartRepository::serve(index.path());
    let own = tempfile::tempdir().unwrap();
    for (path, text) in CERT_MANAGER {
        let file = own.path().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    let packed = tempfile::tempdir().unwrap();
    registry.push_chart("jetstack/cert-manager:1.18.2", std::fs::read(pack(own.path(), None, packed.path())).unwrap());
    let gateway = pack(&charts.path().join("bitnami-envoy-gateway/chart"), None, packed.path());
    registry.push_chart("envoyproxy/gateway-helm:2.0.5", std::fs::read(gateway).unwrap());

    let from_registry = |path: &str| {
        format!(
            "- {{op: replace, path: /spec/url, value: 'oci://{}/{path}'}}\n- {{op: add, path: /spec/insecure, value: true}}",
            registry.address
        )
    };
    let patches = [
        patchable("(infra-controllers|apps)"),
        nested("infra-controllers", "OCIRepository", "cert-manager", &from_registry("jetstack/cert-manager")),
        nested("infra-controllers", "OCIRepository", "gateway-helm", &from_registry("envoyproxy/gateway-helm")),
        nested("apps", "HelmRepository", "podinfo", &format!("- {{op: replace, path: /spec/url, value: '{}'}}", repository_of_charts.url)),
    ];
    let mut house = House::start(Options { feature_gates: "ExternalArtifact=true", ..Options::default() });
    let _pods = Pods::of(&house);
    house.start_helm();
    house.start_artifact();
    let url = server.url("flux2-kustomize-helm-example");
    let root = format!("  patches:\n{}", patches.concat());
    house.apply(&source_and_kustomization(&url, "flux-system", &format!("./clusters/{stage}"), &root));
    for name in ["flux-system", "infra-controllers", "infra-configs", "apps"] {
        house.until_ready("kustomization", "flux-system", name, "True");
    }
    for (namespace, name) in [("cert-manager", "cert-manager"), ("envoy-gateway-system", "envoy-gateway"), ("podinfo", "podinfo")] {
        let release = house.until_ready("helmrelease", namespace, name, "True");
        assert_eq!(release["status"]["history"][0]["status"], "deployed", "{name}");
    }
    let generator = house.get("artifactgenerator", "flux-system", "flux-system").unwrap();
    assert_eq!(generator["status"]["inventory"].as_array().map(Vec::len), Some(2), "{}", generator["status"]);
    let release = house.get("helmrelease", "podinfo", "podinfo").unwrap();
    assert_eq!(release["status"]["history"][0]["chartVersion"], podinfo);
    let route = house.get("httproute", "podinfo", "podinfo").unwrap();
    assert_eq!(route["spec"]["hostnames"][0], format!("podinfo.{stage}"));
    let issuer = house.get("clusterissuer", "", "letsencrypt").unwrap();
    let server_of_issuer = issuer["spec"]["acme"]["server"].as_str().unwrap();
    assert_eq!(server_of_issuer.contains("staging"), stage == "staging", "{server_of_issuer}");
    house.kubectl(&["delete", "kustomization", "apps", "-n", "flux-system", "--timeout=60s"]);
    house.until_gone("deployment", "podinfo", "podinfo");
    house.clean();
}

/// Public charts of the corpus, in a folder.
fn unpack_charts(names: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let archive = shared().unwrap().join("corpus/helm-charts.tar.xz");
    let status = Command::new("tar").arg("-C").arg(folder.path()).arg("-xf").arg(&archive).args(names).status().unwrap();
    assert!(status.success(), "cannot unpack {}", archive.display());
    folder
}

#[test]
fn the_kustomize_helm_example_comes_up_in_staging() {
    kustomize_helm_example("staging", "7.0.0-rc.1");
}

#[test]
fn the_kustomize_helm_example_comes_up_in_production() {
    kustomize_helm_example("production", "6.14.1");
}

/// As much of cert-manager as the issuer of the example needs to be accepted, with the values that the example sets.
const CERT_MANAGER: &[(&str, &str)] = &[
    ("Chart.yaml", "apiVersion: v2\nname: cert-manager\nversion: 1.18.2\nappVersion: v1.18.2\n"),
    ("values.yaml", "crds: {enabled: false, keep: true}\nconfig: {}\n"),
    (
        "templates/crd.yaml",
        "{{- if .Values.crds.enabled }}
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: clusterissuers.cert-manager.io
  {{- if .Values.crds.keep }}
  annotations: {helm.sh/resource-policy: keep}
  {{- end }}
spec:
  group: cert-manager.io
  names: {kind: ClusterIssuer, listKind: ClusterIssuerList, plural: clusterissuers, singular: clusterissuer}
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
{{- end }}
",
    ),
    (
        "templates/config.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}, namespace: {{ .Release.Namespace }}}\ndata:\n  config.yaml: |\n    {{- toYaml .Values.config | nindent 4 }}\n",
    ),
    (
        "templates/deployment.yaml",
        "apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}}
spec:
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app: {{ .Release.Name }}}}
    spec: {containers: [{name: controller, image: \"cert-manager:{{ .Chart.AppVersion }}\"}]}
",
    ),
];

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
