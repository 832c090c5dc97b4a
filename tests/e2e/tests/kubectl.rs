//! The real kubectl, verb by verb, as people type it.

#![allow(clippy::unwrap_used)]

use e2e::{House, Options};

const APP: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: e2e-kubectl, labels: {app: web}}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: example.com/web:v1}]}
";

#[test]
fn kubectl_speaks_to_the_server_verb_by_verb() {
    let house = House::start(Options::default());
    let run = |words: &str| house.kubectl(&words.split_whitespace().collect::<Vec<_>>());
    let with = |words: &str, text: &str| house.try_kubectl(&words.split_whitespace().collect::<Vec<_>>(), Some(text)).unwrap();
    house.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: e2e-kubectl}\n");

    let resources = run("api-resources --no-headers");
    for kind in ["Deployment", "Kustomization", "GitRepository", "CustomResourceDefinition"] {
        assert!(resources.lines().any(|line| line.ends_with(kind) || line.split_whitespace().any(|word| word == kind)), "{kind}");
    }
    assert!(run("explain deployment.spec.replicas").contains("replicas"));
    assert!(run("explain gitrepository.spec.url").contains("url"));
    assert!(run("logs -h").contains("Usage"));

    // Client-side apply, then again: created, unchanged, configured.
    assert!(with("apply -f -", APP).contains("created"));
    assert!(with("apply -f -", APP).contains("unchanged"));
    assert!(with("apply -f -", &APP.replace(":v1", ":v2")).contains("configured"));
    assert!(with("apply --server-side --force-conflicts -f -", &APP.replace(":v1", ":v3")).contains("serverside-applied"));
    assert_eq!(run("get deployment web -n e2e-kubectl -o jsonpath={.spec.template.spec.containers[0].image}"), "example.com/web:v3");
    let refused = house.try_kubectl(&["apply", "-f", "-"], Some(&APP.replace("replicas: 0", "replicaz: 0"))).unwrap_err();
    assert!(refused.contains("spec.replicaz"), "an unknown field is named: {refused}");
    let conflict =
        house.try_kubectl(&["apply", "--server-side", "--field-manager=other", "-f", "-"], Some(&APP.replace(":v1", ":v4"))).unwrap_err();
    assert!(conflict.contains("conflict"), "{conflict}");

    let table = run("get deployments -n e2e-kubectl");
    assert!(table.starts_with("NAME") && table.contains("READY") && table.contains("web"), "{table}");
    let described = run("describe deployment web -n e2e-kubectl");
    assert!(described.contains("example.com/web:v3") && described.contains("Replicas:"), "{described}");
    let changed = house.try_kubectl(&["diff", "--server-side", "--force-conflicts", "-f", "-"], Some(&APP.replace(":v1", ":v5")));
    assert!(changed.is_err(), "a difference is told by the exit code");
    assert!(with("diff --server-side --force-conflicts -f -", &APP.replace(":v1", ":v3")).is_empty());
    let explained = run("explain deployment --recursive");
    assert!(explained.contains("template") && explained.contains("containers"), "{explained}");

    run("label deployment web -n e2e-kubectl tier=front");
    run("annotate deployment web -n e2e-kubectl note=yes");
    assert!(run("get deployments -n e2e-kubectl -l tier=front -o name").contains("deployment.apps/web"));
    run("patch deployment web -n e2e-kubectl --type=merge -p {\"spec\":{\"paused\":true}}");
    run("patch deployment web -n e2e-kubectl --type=json -p [{\"op\":\"remove\",\"path\":\"/spec/paused\"}]");
    run(
        "patch deployment web -n e2e-kubectl -p {\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"web\",\"image\":\"example.com/web:v6\"}]}}}}",
    );
    assert_eq!(run("get deployment web -n e2e-kubectl -o jsonpath={.spec.template.spec.containers[*].image}"), "example.com/web:v6");
    run("annotate deployment web -n e2e-kubectl note-");
    run("rollout status deployment/web -n e2e-kubectl --timeout=30s");
    run("scale deployment web -n e2e-kubectl --replicas=2");
    assert_eq!(run("get deployment web -n e2e-kubectl -o jsonpath={.spec.replicas}"), "2");
    run("wait deployment/web -n e2e-kubectl --for=jsonpath={.spec.replicas}=2 --timeout=10s");
    assert_eq!(run("auth can-i create deployments -n e2e-kubectl").trim(), "yes");
    let nobody = house.try_kubectl(&["auth", "can-i", "create", "deployments", "-n", "e2e-kubectl", "--as=nobody"], None);
    assert!(nobody.is_err(), "a person without rights: exit code 1");
    assert!(!run("create token default -n e2e-kubectl").trim().is_empty());
    run("get events -n e2e-kubectl");
    run("events -n e2e-kubectl");
    let top = house.try_kubectl(&["top", "pods", "-n", "e2e-kubectl"], None).unwrap_err();
    assert!(top.contains("Metrics API not available"), "{top}");
    let watched = run("get deployments -n e2e-kubectl -w --request-timeout=2s");
    assert!(watched.contains("web"), "{watched}");
    run("delete deployment web -n e2e-kubectl --cascade=foreground --timeout=30s");
    house.until_gone("deployment", "e2e-kubectl", "web");
    run("delete namespace e2e-kubectl --timeout=60s");
}
