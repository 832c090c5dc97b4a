//! One line per situation: what an object says of itself, and the verdict.

use health::{Expression, Expressions, HealthExpression, ReadyExpression, Status, assess, assess_with};
use jiff::Timestamp;
use object::Object;
use serde_json::{Value, json};

fn object(api_version: &str, kind: &str, spec: Value, status: Value) -> Object {
    Object::new(json!({
        "apiVersion": api_version, "kind": kind,
        "metadata": {"name": "x", "namespace": "n", "generation": 2, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": spec, "status": status,
    }))
    .expect("an object")
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second("2026-01-01T00:00:00Z".parse::<Timestamp>().expect("a time").as_second() + second).expect("a time")
}

fn condition(kind: &str, status: &str, reason: &str) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": format!("{kind} is {status}")})
}

#[test]
fn built_in_kinds_follow_kstatus() {
    use Status::*;
    let available = json!([condition("Available", "True", "a"), condition("Progressing", "True", "NewReplicaSetAvailable")]);
    let replicas = |n: i64| json!({"observedGeneration": 2, "replicas": n, "updatedReplicas": n, "readyReplicas": n, "availableReplicas": n, "conditions": available});
    let daemon = |ready: i64| json!({"observedGeneration": 2, "desiredNumberScheduled": 2, "currentNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": ready, "numberReady": ready});
    let set = |current: &str, n: i64| json!({"observedGeneration": 2, "replicas": n, "readyReplicas": n, "currentReplicas": n, "updatedReplicas": n, "currentRevision": current, "updateRevision": "b"});
    let waiting = json!({"phase": "Pending", "conditions": [condition("PodScheduled", "False", "Unschedulable")]});
    let table: Vec<(&str, &str, Value, Value, Status)> = vec![
        ("apps/v1", "Deployment", json!({"replicas": 2, "progressDeadlineSeconds": 600}), replicas(2), Current),
        ("apps/v1", "Deployment", json!({"replicas": 3, "progressDeadlineSeconds": 600}), replicas(2), InProgress),
        ("apps/v1", "Deployment", json!({"replicas": 1, "progressDeadlineSeconds": 600}), replicas(2), InProgress),
        ("apps/v1", "Deployment", json!({"progressDeadlineSeconds": 600}), json!({}), InProgress),
        ("apps/v1", "Deployment", json!({"replicas": 2}), json!({"observedGeneration": 1}), InProgress),
        (
            "apps/v1",
            "Deployment",
            json!({}),
            json!({"conditions": [condition("Progressing", "False", "ProgressDeadlineExceeded")]}),
            Failed,
        ),
        ("apps/v1", "StatefulSet", json!({"replicas": 1}), set("b", 1), Current),
        ("apps/v1", "StatefulSet", json!({"replicas": 1}), set("a", 1), InProgress),
        ("apps/v1", "StatefulSet", json!({"replicas": 2}), set("b", 1), InProgress),
        ("apps/v1", "StatefulSet", json!({"replicas": 1, "updateStrategy": {"rollingUpdate": {"partition": 1}}}), set("a", 1), Current),
        ("apps/v1", "StatefulSet", json!({"updateStrategy": {"type": "OnDelete"}}), json!({}), Current),
        ("apps/v1", "DaemonSet", json!({}), daemon(2), Current),
        ("apps/v1", "DaemonSet", json!({}), daemon(1), InProgress),
        ("apps/v1", "DaemonSet", json!({}), json!({}), InProgress),
        ("apps/v1", "DaemonSet", json!({}), json!({"observedGeneration": 2, "desiredNumberScheduled": 0}), Current),
        (
            "apps/v1",
            "ReplicaSet",
            json!({"replicas": 1}),
            json!({"replicas": 1, "fullyLabeledReplicas": 1, "availableReplicas": 1, "readyReplicas": 1}),
            Current,
        ),
        ("apps/v1", "ReplicaSet", json!({"replicas": 1}), json!({"replicas": 1}), InProgress),
        ("batch/v1", "Job", json!({}), json!({"startTime": "t", "active": 1}), InProgress),
        ("batch/v1", "Job", json!({}), json!({"conditions": [condition("Complete", "True", "")]}), Current),
        ("batch/v1", "Job", json!({}), json!({"conditions": [condition("Failed", "True", "")]}), Failed),
        ("batch/v1", "Job", json!({"suspend": true}), json!({"conditions": [condition("Suspended", "True", "")]}), Current),
        ("batch/v1", "CronJob", json!({}), json!({}), Current),
        ("v1", "Pod", json!({}), json!({"phase": "Running", "conditions": [condition("Ready", "True", "")]}), Current),
        ("v1", "Pod", json!({}), json!({"phase": "Running"}), InProgress),
        (
            "v1",
            "Pod",
            json!({}),
            json!({"phase": "Running", "containerStatuses": [{"name": "c", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}),
            Failed,
        ),
        ("v1", "Pod", json!({}), json!({"phase": "Failed"}), Failed),
        ("v1", "Pod", json!({}), json!({}), InProgress),
        ("v1", "Pod", json!({}), waiting, Failed),
        ("v1", "PersistentVolumeClaim", json!({}), json!({"phase": "Bound"}), Current),
        ("v1", "PersistentVolumeClaim", json!({}), json!({"phase": "Pending"}), InProgress),
        ("v1", "Service", json!({"type": "LoadBalancer", "clusterIP": "10.0.0.1"}), json!({"loadBalancer": {}}), Current),
        ("v1", "Service", json!({"type": "LoadBalancer"}), json!({}), InProgress),
        ("v1", "Service", json!({}), json!({}), Current),
        ("policy/v1", "PodDisruptionBudget", json!({}), json!({}), Current),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition", json!({}), json!({}), InProgress),
        (
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            json!({}),
            json!({"conditions": [condition("Established", "True", "")]}),
            Current,
        ),
        (
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            json!({}),
            json!({"conditions": [condition("NamesAccepted", "False", "")]}),
            Failed,
        ),
        ("e.com/v1", "Widget", json!({}), Value::Null, Current),
        ("e.com/v1", "Widget", json!({}), json!({"observedGeneration": 1}), InProgress),
        ("e.com/v1", "Widget", json!({}), json!({"conditions": [condition("Ready", "False", "")]}), InProgress),
        (
            "e.com/v1",
            "Widget",
            json!({}),
            json!({"conditions": [condition("Ready", "True", ""), condition("Reconciling", "True", "")]}),
            InProgress,
        ),
        ("e.com/v1", "Widget", json!({}), json!({"conditions": [condition("Stalled", "True", "")]}), Failed),
        ("e.com/v1", "Widget", json!({}), json!({"conditions": "nonsense"}), Current),
    ];
    for (api_version, kind, spec, status, want) in table {
        let got = assess(&object(api_version, kind, spec.clone(), status.clone()), at(60));
        assert_eq!(got.status, want, "{kind} {spec} {status}: {}", got.message);
        assert!(!got.message.is_empty(), "{kind} gives no reason");
    }
}

#[test]
fn a_pod_has_some_seconds_to_find_a_place() {
    let pod =
        object("v1", "Pod", json!({}), json!({"phase": "Pending", "conditions": [condition("PodScheduled", "False", "Unschedulable")]}));
    assert_eq!((assess(&pod, at(14)).status, assess(&pod, at(15)).status), (Status::InProgress, Status::Failed));
}

#[test]
fn a_deleted_object_is_terminating_whatever_it_says() {
    let mut map = object("v1", "ConfigMap", json!({}), json!({})).into_value();
    map["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert_eq!(assess(&Object::new(map).expect("an object"), at(0)).status, Status::Terminating);
}

fn widget_rules(in_progress: Option<&str>, failed: Option<&str>, current: &str) -> Expressions {
    let one = HealthExpression {
        api_version: "e.com/v1".into(),
        kind: "Widget".into(),
        current: current.into(),
        in_progress: in_progress.map(Into::into),
        failed: failed.map(Into::into),
    };
    Expressions::parse(&[one]).expect("expressions")
}

#[test]
fn expressions_replace_the_built_in_rules() {
    let widget =
        |phase: Value| object("e.com/v1", "Widget", json!({}), json!({"phase": phase, "conditions": [condition("Ready", "False", "")]}));
    let rules = widget_rules(Some("status.phase == 'Busy'"), Some("status.phase == 'Broken'"), "status.phase == 'Done'");
    for (phase, want) in
        [("Done", Status::Current), ("Busy", Status::InProgress), ("Broken", Status::Failed), ("Other", Status::InProgress)]
    {
        assert_eq!(assess_with(&widget(json!(phase)), &rules, at(0)).status, want, "{phase}");
    }
    let old = object("e.com/v1", "Widget", json!({}), json!({"phase": "Done", "observedGeneration": 1}));
    assert_eq!(assess_with(&old, &rules, at(0)).status, Status::InProgress);
    assert_eq!(
        assess_with(&object("v1", "ConfigMap", json!({}), json!({})), &rules, at(0)).status,
        Status::Current,
        "other kinds keep their rules"
    );
}

#[test]
fn an_expression_that_cannot_be_evaluated_is_unknown_not_failed() {
    let widget = object("e.com/v1", "Widget", json!({"n": 3}), json!({"a": 1}));
    let says = |current: &str| assess_with(&widget, &widget_rules(None, None, current), at(0));
    let missing = says("status.phase == 'Done'");
    assert_eq!(missing.status, Status::Unknown);
    assert_eq!(missing.message, "failed to evaluate the CEL expression 'status.phase == 'Done'': no such key: phase");
    let no_boolean = says("status.a");
    assert_eq!(
        (no_boolean.status, no_boolean.message.as_str()),
        (Status::Unknown, "failed to evaluate CEL expression as boolean: 'status.a'")
    );
    for holds in [
        "metadata.generation == 2",
        "spec.n > 2.5",
        "has(status.a) && !has(status.b)",
        "'abc'.substring(1) == 'bc'",
        "status.?b.orValue('x') == 'x'",
        "status.?a.orValue(0) == 1",
        "status.?b.?c.hasValue() == false",
    ] {
        let health = says(holds);
        assert_eq!(health.status, Status::Current, "{holds}: {}", health.message);
    }
}

#[test]
fn the_same_kind_twice_is_refused() {
    let one = HealthExpression { api_version: "e.com/v1".into(), kind: "Widget".into(), current: "true".into(), ..Default::default() };
    let error = Expressions::parse(&[one.clone(), HealthExpression { api_version: "e.com/v2".into(), ..one }]).expect_err("a duplicate");
    assert_eq!(error.to_string(), "duplicate custom health check for GroupKind Widget.e.com at healthchecks[1]");
}

#[test]
fn ready_expressions_must_be_boolean_before_they_run() {
    let refused = |source: &str| ReadyExpression::compile(source).map(|_| ()).expect_err(source).to_string();
    assert_eq!(refused("dep.metadata.name"), "CEL expression output type mismatch: expected bool, got dyn");
    assert_eq!(refused("'x' + dep.metadata.name"), "CEL expression output type mismatch: expected bool, got string");
    assert_eq!(refused("dep.status.conditions.map(c, c.type)"), "CEL expression output type mismatch: expected bool, got list(dyn)");
    assert!(
        refused("dep.metadata.name ==")
            .starts_with("failed to parse the CEL expression 'dep.metadata.name ==': ERROR: <input>:1:21: Syntax error")
    );
    assert!(matches!(Expression::parse(&"(".repeat(20_000)), Err(health::Error::TooLong(_))));
    let table = ["(", "[", "!", "-", "a.", "a+", "a?b:", "a&&", "a[", "{'a':", "f(", "a.b("];
    for part in table {
        for times in [40, 95, 130, 190, 390, 3000] {
            // What is left is small enough for the smallest stack, whether it is an expression or not.
            let hostile = part.repeat(times) + "a";
            let refused = Expression::parse(&hostile).and_then(|e| e.evaluate([("a", &json!(true))]));
            assert!(times < 3000 || refused.is_err(), "{part} {times}");
        }
    }
    let nested = "a.all(b, b.all(c, c.all(d, d.all(e, true))))";
    assert!(matches!(Expression::parse(nested), Err(health::Error::TooDeep(_))));
}

#[test]
fn ready_expressions_see_both_sides() {
    let side = |version: &str| {
        let mut side = object("e.com/v1", "Widget", json!({}), json!({"conditions": [{"type": "Ready", "status": "True"}]}));
        side.set_label("v", version);
        side
    };
    let same = ReadyExpression::compile("dep.metadata.labels['v'] == self.metadata.labels['v']").expect("compiles");
    assert_eq!(same.evaluate(&side("1"), &side("1")), Ok(true));
    assert_eq!(same.evaluate(&side("1"), &side("2")), Ok(false));
    let all = ReadyExpression::compile("dep.status.conditions.filter(e, e.type == 'Ready').all(e, e.status == 'True')").expect("compiles");
    assert_eq!(all.evaluate(&side("1"), &side("1")), Ok(true));
    let missing = ReadyExpression::compile("dep.metadata.annotations['x'] == 'y'").expect("compiles");
    assert_eq!(
        missing.evaluate(&side("1"), &side("1")).expect_err("no annotations").to_string(),
        "failed to evaluate the CEL expression 'dep.metadata.annotations['x'] == 'y'': no such key: annotations"
    );
}
