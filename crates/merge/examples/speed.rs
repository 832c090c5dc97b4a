//! How long the parts of a write take: `cargo run --release -p merge --example speed`.

use std::hint::black_box;
use std::time::Instant;

use merge::builtin::{self, Builtin};
use merge::managed::{self, Request, Set, reset_fields};
use merge::validation::validate;
use object::GroupVersionKind;
use serde_json::{Value, json};

fn deployment(image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web", "team": "a"}, "annotations": {"note": "x"}},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {
                "serviceAccountName": "web",
                "containers": [{
                    "name": "web", "image": image, "args": ["--level=info"], "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                    "ports": [{"name": "http", "containerPort": 8080}, {"name": "metrics", "containerPort": 9090}],
                    "livenessProbe": {"httpGet": {"path": "/healthz", "port": "http"}}, "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}},
                    "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}]
                }],
                "volumes": [{"name": "data", "emptyDir": {}}]
            }}
        }
    })
}

fn measure(name: &str, rounds: u32, mut work: impl FnMut()) {
    work();
    let start = Instant::now();
    (0..rounds).for_each(|_| work());
    println!("{name:<34} {:>9.1} µs", start.elapsed().as_secs_f64() * 1e6 / f64::from(rounds));
}

fn main() {
    let start = Instant::now();
    let types = builtin::schema().len();
    println!("{:<34} {:>9.1} µs ({types} types)", "load the built-in schema", start.elapsed().as_secs_f64() * 1e6);
    let start = Instant::now();
    let groups = builtin::discovery().len();
    println!("{:<34} {:>9.1} µs ({groups} groups)", "load discovery", start.elapsed().as_secs_f64() * 1e6);

    let gvk = GroupVersionKind::new("apps", "v1", "Deployment");
    let reset = reset_fields(&gvk, "");
    let request = |manager: &'static str, reset: &'static Set, gvk: &'static GroupVersionKind| Request {
        manager,
        gvk,
        subresource: "",
        force: true,
        now: "2026-01-01T00:00:00Z",
        reset,
    };
    let (reset, gvk): (&'static Set, &'static GroupVersionKind) = (Box::leak(Box::new(reset)), Box::leak(Box::new(gvk)));
    let applied = deployment("web:1");
    let finish = |mut object: Value| {
        builtin::read(&mut object, gvk).expect("the sample fits its kind");
        builtin::apply_defaults(&mut object, gvk);
        object
    };
    let live = finish(managed::apply(None, &applied, &request("flux", reset, gvk), &Builtin).expect("the sample can be applied"));
    let changed = deployment("web:2");
    measure("apply, create", 2000, || {
        black_box(managed::apply(None, &applied, &request("flux", reset, gvk), &Builtin).ok());
    });
    measure("apply, nothing changed", 2000, || {
        black_box(managed::apply(Some(&live), &applied, &request("flux", reset, gvk), &Builtin).ok());
    });
    measure("apply, image changed", 2000, || {
        black_box(managed::apply(Some(&live), &changed, &request("flux", reset, gvk), &Builtin).ok());
    });
    let updated = {
        let mut object = live.clone();
        object["spec"]["replicas"] = json!(5);
        object
    };
    measure("update", 2000, || {
        black_box(managed::update(Some(&live), updated.clone(), &request("scaler", reset, gvk), &Builtin));
    });
    measure("read and default", 2000, || {
        black_box(finish(applied.clone()));
    });
    measure("validate", 2000, || {
        black_box(validate(gvk, true, &live, None));
    });
}
