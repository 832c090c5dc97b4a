//! Bad charts, registries and releases: a clear condition on the object itself that says what to do; everything else goes on.

#![allow(clippy::unwrap_used)]

use e2e::{House, Options, Registry, Web, condition, free_port, pack_chart};
use std::collections::BTreeMap;

const NAMESPACE: &str = "e2e-bad-releases";
const CONFIG: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}'}\ndata: {a: '{{ .Values.a }}'}\n";

/// A Job that runs before the install. Where pods are simulated its image says how it ends, elsewhere its deadline.
fn hook(image: &str, extra: &str) -> String {
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: '{{{{ .Release.Name }}}}-before'\n  annotations: {{helm.sh/hook: pre-install}}\nspec:\n  backoffLimit: 0\n{extra}  template:\n    spec: {{restartPolicy: Never, containers: [{{name: one, image: '{image}'}}]}}\n"
    )
}

/// A definition whose name is not that of its plural and group.
const REFUSED: &str = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: wrong.example.com}\nspec:\n  group: example.com\n  scope: Namespaced\n  names: {plural: things, kind: Thing}\n  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]\n";

/// A repository of charts, good and bad.
fn charts() -> Web {
    let broken = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  b: {{ required \"say which one: set .Values.which\" .Values.which }}\n";
    let packed: Vec<(&str, Vec<u8>)> = vec![
        ("demo", pack_chart("demo", &[("templates/config.yaml", CONFIG)])),
        ("template", pack_chart("template", &[("templates/broken.yaml", broken)])),
        ("hook-fails", pack_chart("hook-fails", &[("templates/hook.yaml", &hook("sluice.dev/fail:1ms", "  activeDeadlineSeconds: 1\n"))])),
        ("hook-hangs", pack_chart("hook-hangs", &[("templates/hook.yaml", &hook("sluice.dev/hang:1", ""))])),
        ("crd", pack_chart("crd", &[("crds/thing.yaml", REFUSED), ("templates/config.yaml", CONFIG)])),
        ("other", pack_chart("other", &[("templates/config.yaml", CONFIG)])),
        ("heavy", vec![0; 100_000_000]),
    ];
    let mut index = "apiVersion: v1\nentries:\n".to_owned();
    let mut files = BTreeMap::new();
    for (name, bytes) in packed {
        // What is served for `other` is not what the index promises.
        let digest = types::Digest::sha256(if name == "other" { b"something else" } else { &bytes });
        let entry =
            format!("  {name}:\n  - {{apiVersion: v2, name: {name}, version: 1.0.0, digest: {}, urls: [{name}.tgz]}}\n", digest.hex());
        index.push_str(&entry);
        files.insert(format!("/good/{name}.tgz"), bytes);
    }
    files.insert("/good/index.yaml".to_owned(), index.into_bytes());
    files.insert("/broken/index.yaml".to_owned(), b"apiVersion: v1\nentries: [\n".to_vec());
    Web::files(files)
}

fn repository(name: &str, url: &str, extra: &str) -> String {
    format!(
        "---\napiVersion: source.toolkit.fluxcd.io/v1\nkind: HelmRepository\nmetadata: {{name: {name}, namespace: {NAMESPACE}}}\nspec: {{interval: 1h, timeout: 5s, url: '{url}'{extra}}}\n"
    )
}

fn release(name: &str, chart: &str, repository: &str, extra: &str) -> String {
    format!(
        "---\napiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {{name: {name}, namespace: {NAMESPACE}}}\nspec:\n  interval: 1h\n  timeout: 4s\n  chart: {{spec: {{chart: {chart}, interval: 1h, sourceRef: {{kind: HelmRepository, name: {repository}}}}}}}\n{extra}"
    )
}

#[test]
fn every_mistake_in_a_chart_or_a_release_is_named_where_it_was_made() {
    let web = charts();
    let closed = Registry::start(true);
    let closed = closed.as_ref().map_or_else(|| format!("127.0.0.1:{}", free_port()), |registry| registry.address.clone());
    let nowhere = format!("127.0.0.1:{}", free_port());
    let mut house = House::start(Options::default());
    house.start_helm();
    house.apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {NAMESPACE}}}\n"));
    let good = format!("http://{}/good", web.address);
    let mut all = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: no-map, namespace: {NAMESPACE}}}\ndata: {{values.yaml: '[a, b]'}}
---
apiVersion: v1\nkind: Secret\nmetadata: {{name: wrong, namespace: {NAMESPACE}}}\nstringData: {{username: user, password: wr0ng-pass}}
---
apiVersion: v1\nkind: Secret
metadata: {{name: sh.helm.release.v1.corrupt.v1, namespace: {NAMESPACE}, labels: {{owner: helm, name: corrupt, status: deployed, version: '1'}}}}
type: helm.sh/release.v1
stringData: {{release: this is no release}}
"
    );
    all += &repository("charts", &good, "");
    all += &repository("broken", &format!("http://{}/broken", web.address), "");
    all += &repository("refused", &format!("http://{nowhere}/charts"), "");
    all += &repository("closed", &format!("oci://{closed}/charts"), ", type: oci, insecure: true, secretRef: {name: wrong}");
    all += &repository("nowhere", &format!("oci://{nowhere}/charts"), ", type: oci, insecure: true");
    all += &release("good", "demo", "charts", "");
    all += &release("unknown-chart", "nope", "charts", "");
    all += &release("unknown-version", "demo, version: 9.x", "charts", "");
    all += &release("digest", "other", "charts", "");
    all += &release("heavy", "heavy", "charts", "");
    all += &release("index", "demo", "broken", "");
    all += &release("refused", "demo", "refused", "");
    all += &release("credentials", "demo, version: 1.0.0", "closed", "");
    all += &release("registry", "demo, version: 1.0.0", "nowhere", "");
    all += &release("values", "demo", "charts", "  valuesFrom: [{kind: ConfigMap, name: no-map}]\n");
    all += &release("template", "template", "charts", "");
    all += &release("hook-fails", "hook-fails", "charts", "  install: {timeout: 20s}\n");
    all += &release("hook-hangs", "hook-hangs", "charts", "");
    all += &release("crd", "crd", "charts", "");
    all += &release("corrupt", "demo", "charts", "");
    house.apply(&all);

    let cases: &[(&str, &str, &str, &[&str])] = &[
        ("helmchart", "unknown-chart", "InvalidChartReference", &["no chart name found"]),
        ("helmchart", "unknown-version", "InvalidChartReference", &["demo", "9.x"]),
        ("helmchart", "digest", "ChartPullError", &["digest"]),
        ("helmchart", "heavy", "ChartPullError", &["10485760", "--helm-chart-max-size"]),
        ("helmrepository", "broken", "IndexationFailed", &["line 2"]),
        ("helmrepository", "refused", "", &["127.0.0.1", "refused"]),
        ("helmchart", "credentials", "ChartPullError", &[&closed]),
        ("helmchart", "registry", "ChartPullError", &[&nowhere, "refused"]),
        ("helmrelease", "values", "ValuesError", &["ConfigMap", "no-map", "values.yaml"]),
        ("helmrelease", "template", "InstallFailed", &["templates/broken.yaml:5", "say which one: set .Values.which"]),
        ("helmrelease", "hook-fails", "InstallFailed", &["pre-install", "hook-fails-before", "Failed"]),
        ("helmrelease", "hook-hangs", "InstallFailed", &["pre-install", "timeout", "hook-hangs-before"]),
        ("helmrelease", "crd", "InstallFailed", &["wrong.example.com", "spec.names.plural"]),
        ("helmrelease", "corrupt", "StateError", &["sh.helm.release.v1.corrupt.v1"]),
    ];
    for (kind, name, reason, words) in cases {
        let at = if *kind == "helmchart" { format!("{NAMESPACE}-{name}") } else { (*name).to_owned() };
        let object = house.until_object(kind, NAMESPACE, &at, &format!("{reason} {words:?}"), |object| {
            let ready = condition(object, "Ready")?;
            let message = ready["message"].as_str()?;
            let as_told =
                ready["status"] == "False" && (reason.is_empty() || ready["reason"] == *reason || ready["reason"] == "RetriesExceeded");
            (as_told && words.iter().all(|word| object["status"].to_string().contains(word)) && !message.is_empty()).then_some(())
        });
        println!("{kind} {name}: {}", condition(&object, "Ready").unwrap()["message"].as_str().unwrap());
        assert!(!object["status"].to_string().contains("wr0ng-pass"), "a secret in the status of {name}");
    }
    // A release whose chart is not there says which HelmChart, and why.
    for name in ["unknown-chart", "unknown-version", "digest", "heavy", "credentials", "registry", "index", "refused"] {
        let object = house.until_ready("helmrelease", NAMESPACE, name, "False");
        let message = condition(&object, "Ready").unwrap()["message"].as_str().unwrap().to_owned();
        println!("helmrelease {name}: {message}");
        assert!(message.contains(&format!("{NAMESPACE}-{name}")), "{message}");
    }
    house.until_ready("helmrelease", NAMESPACE, "good", "True");
    assert!(house.get("configmap", NAMESPACE, "good").is_some());
    let logs = house.source.as_ref().unwrap().log() + &house.helm.as_ref().unwrap().log();
    assert!(!logs.contains("wr0ng-pass"), "a secret in the logs");

    // The corrupt record is not written over, and taking it away is the way out.
    house.kubectl(&["delete", "secret", "sh.helm.release.v1.corrupt.v1", "-n", NAMESPACE]);
    house.kubectl(&["annotate", "helmrelease", "corrupt", "-n", NAMESPACE, "reconcile.fluxcd.io/requestedAt=again"]);
    house.until_ready("helmrelease", NAMESPACE, "corrupt", "True");
    house.kubectl(&["delete", "helmrelease", "--all", "-n", NAMESPACE, "--timeout=60s"]);
    house.kubectl(&["delete", "namespace", NAMESPACE, "--timeout=60s"]);
    house.clean();
}
