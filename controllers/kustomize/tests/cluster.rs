//! The controller against an API server: what it costs, and what it must never delete.

mod common;

use common::{Lab, condition, config, config_maps, end, events_written, eventually, kustomizations, writes};
use kustomize_controller::GuardRails;
use serde_json::json;

const APP: &[(&str, &str)] = &[
    ("app/account.yaml", "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: web\n"),
    (
        "app/service.yaml",
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\nspec:\n  selector:\n    app: web\n  ports:\n  - port: 80\n",
    ),
    (
        "app/deployment.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  replicas: 0\n  selector:\n    matchLabels:\n      app: web\n  template:\n    metadata:\n      labels:\n        app: web\n    spec:\n      containers:\n      - name: web\n        image: example.com/web:1\n        resources:\n          limits:\n            cpu: 1000m\n",
    ),
    (
        "app/ingress.yaml",
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: web\nspec:\n  rules:\n  - http:\n      paths:\n      - path: /\n        pathType: Prefix\n        backend:\n          service:\n            name: web\n            port:\n              number: 80\n",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn an_app_of_four_objects_costs_four_applies_and_a_visit_without_changes_costs_nothing() {
    let lab = Lab::open("counts").await;
    lab.push("1", APP).await;
    let process = lab.start(GuardRails::Enforce).await;
    // Another application of the same kinds: their watches are shared, and open by now.
    lab.kustomization("warm", "app", json!({"namePrefix": "warm-"})).await;
    lab.ready("warm", "1").await;
    eventually("its events are written", async || events_written(&process) >= 2).await;
    let (before, told_before, requests) = (writes(&process), events_written(&process), process.client().counts().total());
    lab.kustomization("app", "app", json!({})).await;
    lab.ready("app", "1").await;
    assert_eq!(lab.inventory("app").await.len(), 4);
    eventually("both events are written", async || events_written(&process) >= told_before + 2).await;
    // The finalizer, the four objects, the final status, and the two events that Flux writes.
    assert_eq!(writes(&process) - before, 1 + 4 + 1, "writes for an app of four objects");
    assert_eq!(events_written(&process) - told_before, 2, "events for an app of four objects");
    assert_eq!(process.client().counts().total() - requests, 4 + 4, "requests: nothing is read that a watch does not bring");

    // Asked to look again: the request is answered by one status, and nothing is applied.
    let before = writes(&process);
    lab.request(&kustomizations(), "app", "now").await;
    assert_eq!(writes(&process) - before, 1, "one status");
    end(process).await;

    // After a restart everything is looked at, and nothing is written.
    let process = lab.start(GuardRails::Enforce).await;
    let looked = || {
        let text = process.metrics().text();
        text.lines()
            .filter(|line| line.starts_with("controller_runtime_reconcile_total"))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum::<f64>()
    };
    eventually("both were looked at", async || looked() >= 2.0).await;
    assert_eq!(process.client().counts().writes(), 0, "{:?}", process.client().counts().snapshot());
    end(process).await;
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_dropped_from_the_source_goes_and_an_empty_build_is_held() {
    let lab = Lab::open("prune").await;
    let process = lab.start(GuardRails::Enforce).await;
    let (one, two) = (config("one"), config("two"));
    lab.push("1", &[("x/one.yaml", &one), ("x/two.yaml", &two)]).await;
    lab.kustomization("app", "x", json!({})).await;
    lab.ready("app", "1").await;
    lab.push("2", &[("x/one.yaml", &one)]).await;
    lab.ready("app", "2").await;
    assert!(lab.read(&config_maps(), "two").await.is_none(), "dropped from the source");
    assert_eq!(lab.inventory("app").await, [format!("{}_one__ConfigMap", lab.namespace)]);

    lab.push("3", &[("x/README.md", "nothing is left")]).await;
    let message = lab.failed("app", "Held").await;
    assert!(message.contains("the build is empty"), "{message}");
    let command = format!(
        "kubectl -n {} annotate kustomizations.kustomize.toolkit.fluxcd.io app kustomize.sluice.dev/allow-prune='main@sha1:3' --overwrite",
        lab.namespace
    );
    assert!(message.ends_with(&command), "{message}");
    let app = lab.read(&kustomizations(), "app").await.expect("it exists");
    assert_eq!(condition(&app, "Held").expect("a condition")["status"], "True");
    assert!(lab.read(&config_maps(), "one").await.is_some(), "held");
    assert_eq!(lab.inventory("app").await.len(), 1);

    lab.annotate(&kustomizations(), "app", json!({"kustomize.sluice.dev/allow-prune": "main@sha1:3"})).await;
    lab.ready("app", "3").await;
    assert!(lab.read(&config_maps(), "one").await.is_none(), "let through");
    let app = lab.read(&kustomizations(), "app").await.expect("it exists");
    assert!(condition(&app, "Held").is_none());
    end(process).await;
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_moves_to_another_kustomization_is_handed_over() {
    let lab = Lab::open("move").await;
    let process = lab.start(GuardRails::Enforce).await;
    let (one, keep) = (config("one"), config("keep"));
    let (other, next) = (config("other"), config("next"));
    lab.push("1", &[("a/one.yaml", &one), ("a/keep.yaml", &keep), ("b/other.yaml", &other)]).await;
    lab.kustomization("a", "a", json!({})).await;
    lab.kustomization("b", "b", json!({})).await;
    lab.ready("a", "1").await;
    lab.ready("b", "1").await;
    let uid = |object: Option<serde_json::Value>| object.expect("it exists")["metadata"]["uid"].clone();
    let before = uid(lab.read(&config_maps(), "one").await);

    // In the same revision, whichever of the two comes first.
    lab.push("2", &[("a/keep.yaml", &keep), ("b/one.yaml", &one), ("b/other.yaml", &other)]).await;
    lab.ready("a", "2").await;
    lab.ready("b", "2").await;
    eventually("the inventory of a lets go", async || lab.inventory("a").await.len() == 1).await;
    assert_eq!(uid(lab.read(&config_maps(), "one").await), before, "the object was never deleted");
    assert_eq!(lab.inventory("b").await.len(), 2);

    // Claimed by both in one revision, dropped by the first owner in the next.
    lab.push("3", &[("a/one.yaml", &one), ("a/keep.yaml", &keep), ("b/one.yaml", &one), ("b/next.yaml", &next)]).await;
    lab.ready("a", "3").await;
    lab.ready("b", "3").await;
    lab.push("4", &[("a/one.yaml", &one), ("a/keep.yaml", &keep), ("b/next.yaml", &next)]).await;
    lab.ready("a", "4").await;
    lab.ready("b", "4").await;
    eventually("the inventory of b lets go", async || lab.inventory("b").await.len() == 1).await;
    assert_eq!(uid(lab.read(&config_maps(), "one").await), before, "the object was never deleted");
    end(process).await;
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_is_applied_as_a_whole_or_not_at_all() {
    let lab = Lab::open("stage").await;
    let process = lab.start(GuardRails::Enforce).await;
    let (one, two) = (config("one"), config("two"));
    let bad = "apiVersion: v1\nkind: Service\nmetadata:\n  name: svc\nspec:\n  ports:\n  - port: 99999\n";
    lab.push("1", &[("x/one.yaml", &one), ("x/two.yaml", &two), ("x/svc.yaml", bad)]).await;
    lab.kustomization("app", "x", json!({})).await;
    let message = lab.failed("app", "ReconciliationFailed").await;
    assert!(message.contains("Service") && message.contains("spec.ports[0].port"), "{message}");
    for name in ["one", "two"] {
        assert!(lab.read(&config_maps(), name).await.is_none(), "{name} was taken back");
    }
    assert!(lab.inventory("app").await.is_empty());
    lab.push("2", &[("x/one.yaml", &one), ("x/two.yaml", &two)]).await;
    lab.ready("app", "2").await;
    end(process).await;
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circle_of_dependencies_is_printed() {
    let lab = Lab::open("circle").await;
    let process = lab.start(GuardRails::Enforce).await;
    let one = config("one");
    lab.push("1", &[("x/one.yaml", &one)]).await;
    lab.kustomization("a", "x", json!({"dependsOn": [{"name": "b"}]})).await;
    lab.kustomization("b", "x", json!({"dependsOn": [{"name": "a"}]})).await;
    let ns = lab.namespace.clone();
    eventually("the circle is told", async || {
        let message = lab.failed("a", "DependencyNotReady").await;
        message == format!("dependency '{ns}/b' is not ready: circular dependency {ns}/a -> {ns}/b -> {ns}/a")
    })
    .await;
    end(process).await;
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_first_apply_made_before_it_was_cut_short_is_found_and_pruned() {
    let lab = Lab::open("first").await;
    let one = config("one");
    let two = config("two");
    lab.push("2", &[("app/one.yaml", &one), ("b/two.yaml", &two)]).await;
    // What a process leaves that was killed in the middle: its finalizer, no report, and an object of revision 1 that the
    // next revision no longer has. Beside it one with the same labels that somebody else made.
    for name in ["app", "b"] {
        lab.kustomization(name, name, json!({"suspend": true})).await;
        lab.hold(name).await;
        lab.owned("kustomize-controller", name, &format!("{name}-gone")).await;
        lab.owned("tester", name, &format!("{name}-foreign")).await;
    }
    let process = lab.start(GuardRails::Enforce).await;
    for name in ["app", "b"] {
        let body = json!({"spec": {"suspend": null}}).to_string().into_bytes();
        lab.client.patch(&kustomizations(), &lab.namespace, name, "", cluster::PatchKind::Merge, "tester", body).await.unwrap();
    }
    // One is taken up again, the other deleted.
    lab.ready("app", "2").await;
    let _ = lab.client.delete(&kustomizations(), &lab.namespace, "b", cluster::Delete::default()).await;
    eventually("b is gone", async || lab.read(&kustomizations(), "b").await.is_none()).await;
    for (name, there) in [("one", true), ("app-gone", false), ("app-foreign", true), ("b-gone", false), ("b-foreign", true)] {
        assert_eq!(lab.read(&config_maps(), name).await.is_some(), there, "{name}");
    }
    assert_eq!(lab.inventory("app").await, [format!("{}_one__ConfigMap", lab.namespace)]);
    end(process).await;
    lab.close().await;
}
