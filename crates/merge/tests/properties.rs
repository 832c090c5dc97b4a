//! What holds of any object: applying twice changes nothing, owners own what is there, and hostile input is refused.

#![allow(clippy::unwrap_used)]

use merge::builtin::Builtin;
use merge::managed::{self, Request, Set, decode, equal};
use merge::patch;
use merge::schema::{TypeHandle, TypeSource};
use merge::structural::{CustomKind, CustomTypes};
use object::GroupVersionKind;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn config_map() -> GroupVersionKind {
    GroupVersionKind::new("", "v1", "ConfigMap")
}

/// Any JSON value, not too large.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-5i64..5).prop_map(Value::from),
        "[a-c$/.]{0,3}".prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("(name|key|spec|f:a|k:x|\\$patch|[a-c])", inner), 0..4)
                .prop_map(|entries| Value::Object(entries.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Leaves out empty lists and maps: who owns an empty map owns nothing in it.
fn without_empty(mut value: Value) -> Value {
    if let Some(map) = value.as_object_mut() {
        map.retain(|_, one| !(one.as_array().is_some_and(Vec::is_empty) || one.as_object().is_some_and(Map::is_empty)));
    }
    value
}

/// A pod with containers, ports and labels from a few names: things that merge in every way.
fn any_pod() -> impl Strategy<Value = Value> {
    let port = (1i64..4, prop_oneof![Just("TCP"), Just("UDP")])
        .prop_map(|(number, protocol)| json!({"containerPort": number, "protocol": protocol}));
    let container = ("[a-c]", "[x-z]", prop::collection::vec(port, 0..3)).prop_map(|(name, image, ports)| (name, image, ports));
    let labels = prop::collection::btree_map("[a-c]", "[x-z]", 0..3);
    let finalizers = prop::collection::btree_set("[a-c]/x", 0..3);
    (prop::collection::vec(container, 1..4), labels, finalizers, prop::option::of("[x-z]")).prop_map(|(containers, labels, finalizers, node)| {
        let mut seen: Vec<String> = Vec::new();
        let mut list = Vec::new();
        for (name, image, ports) in containers {
            if seen.contains(&name) {
                continue;
            }
            let mut keys = Vec::new();
            let ports: Vec<Value> = ports
                .into_iter()
                .filter(|port| {
                    let fresh = !keys.contains(port);
                    keys.push(port.clone());
                    fresh
                })
                .collect();
            list.push(without_empty(json!({"name": name, "image": image, "ports": ports})));
            seen.push(name);
        }
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": without_empty(json!({"name": "p", "labels": labels, "finalizers": finalizers})), "spec": {"containers": list}});
        if let Some(node) = node {
            pod["spec"]["nodeName"] = json!(node);
        }
        pod
    })
}

fn apply(live: Option<&Value>, applied: &Value, manager: &str, force: bool) -> Result<Value, managed::ApplyError> {
    let gvk = GroupVersionKind::new("", "v1", "Pod");
    let none = Set::new();
    let request = Request { manager, gvk: &gvk, subresource: "", force, now: "2026-01-01T00:00:00Z", reset: &none };
    managed::apply(live, applied, &request, &Builtin)
}

/// Everything that an object has and that somebody has to own.
fn fields(object: &Value) -> Set {
    let ty = Builtin.type_of(&GroupVersionKind::new("", "v1", "Pod")).unwrap();
    let mut object = object.clone();
    object["metadata"].as_object_mut().unwrap().shift_remove("managedFields");
    // An empty pod has an empty status, which nobody applied.
    let nobody = Set::of_fields(&[&["apiVersion"], &["kind"], &["metadata", "name"], &["status"]]);
    managed::typed::field_set(&ty, &object).difference(&nobody)
}

fn owned(object: &Value) -> Set {
    decode(object.pointer("/metadata/managedFields")).unwrap().values().fold(Set::new(), |all, entry| all.union(&entry.set))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn applying_twice_changes_nothing(pod in any_pod()) {
        let once = apply(None, &pod, "one", false).unwrap();
        let twice = apply(Some(&once), &pod, "one", false).unwrap();
        prop_assert!(equal(&once, &twice));
    }

    #[test]
    fn every_field_that_was_applied_has_an_owner(first in any_pod(), second in any_pod(), third in any_pod()) {
        let object = apply(None, &first, "one", true).unwrap();
        let object = apply(Some(&object), &second, "two", true).unwrap();
        prop_assert!(fields(&object).difference(&owned(&object)).is_empty(), "{}", fields(&object).difference(&owned(&object)));
        // What one gives up and two does not have goes.
        let object = apply(Some(&object), &third, "one", true).unwrap();
        prop_assert!(fields(&object).difference(&owned(&object)).is_empty(), "{}", fields(&object).difference(&owned(&object)));
    }

    #[test]
    fn what_was_applied_by_force_is_there(first in any_pod(), second in any_pod()) {
        let object = apply(None, &first, "one", true).unwrap();
        let object = apply(Some(&object), &second, "two", true).unwrap();
        prop_assert!(fields(&second).difference(&fields(&object)).is_empty());
        let again = apply(Some(&object), &second, "two", false).unwrap();
        prop_assert!(equal(&again, &object));
    }

    #[test]
    fn an_apply_without_force_takes_nothing_away(first in any_pod(), second in any_pod()) {
        let object = apply(None, &first, "one", false).unwrap();
        if let Ok(merged) = apply(Some(&object), &second, "two", false) {
            let ty = Builtin.type_of(&GroupVersionKind::new("", "v1", "Pod")).unwrap();
            let before = managed::typed::compare(&ty, &object, &merged);
            let of_one = decode(object.pointer("/metadata/managedFields")).unwrap().into_values().next().map(|entry| entry.set).unwrap_or_default();
            prop_assert!(of_one.intersection(&before.modified).is_empty());
        }
    }

    #[test]
    fn field_sets_come_back_as_they_were_written(pod in any_pod()) {
        let set = fields(&pod);
        prop_assert_eq!(Set::decode(&set.encode()).unwrap(), set);
    }

    #[test]
    fn hostile_input_is_answered_and_never_panics(a in any_json(), b in any_json(), c in any_json()) {
        let ty = Builtin.type_of(&GroupVersionKind::new("apps", "v1", "Deployment")).unwrap();
        let _ = patch::json(&a, &b);
        let _ = patch::merge(&a, &b);
        let _ = patch::strategic(&a, &b, &ty);
        let deduced = TypeHandle::deduced();
        let _ = managed::typed::validate(&deduced, &a, false);
        let _ = managed::typed::compare(&deduced, &a, &b);
        let _ = managed::typed::merge(&ty, &a, &b);
        let _ = managed::typed::remove(&ty, &a, &managed::typed::field_set(&ty, &b));
        let _ = decode(Some(&json!([{"operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": a}])));
        let gvk = config_map();
        let none = Set::new();
        let request = Request { manager: "m", gvk: &gvk, subresource: "", force: true, now: "", reset: &none };
        let with = |spec: &Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": a, "data": spec, "spec": b});
        let _ = managed::apply(Some(&with(&b)), &with(&c), &request, &Builtin);
        let _ = managed::update(Some(&with(&b)), with(&c), &request, &Builtin);
    }

    #[test]
    fn hostile_objects_and_schemas_are_answered_and_never_panic(a in any_json(), b in any_json(), c in any_json()) {
        for (group, kind) in [("", "Pod"), ("", "Service"), ("apps", "StatefulSet"), ("batch", "CronJob"), ("networking.k8s.io", "Ingress"), ("", "Secret")] {
            let gvk = GroupVersionKind::new(group, "v1", kind);
            let mut object = json!({"apiVersion": gvk.api_version(), "kind": kind, "metadata": a, "spec": b, "data": c});
            let read = merge::builtin::read(&mut object, &gvk);
            merge::builtin::apply_defaults(&mut object, &gvk);
            merge::builtin::admit(&mut object, None, &gvk);
            let _ = merge::validation::validate(&gvk, true, &object, Some(&b));
            let _ = read;
        }
        let schema = json!({"type": "object", "properties": {"spec": a, "a": {"type": "array", "items": b, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a"]}}, "additionalProperties": c});
        let gvk = GroupVersionKind::new("x.y", "v1", "Z");
        if let Ok(kind) = CustomKind::compile(gvk.clone(), &json!({"schema": {"openAPIV3Schema": schema}}), false) {
            let mut object = json!({"apiVersion": "x.y/v1", "kind": "Z", "metadata": {"name": "z"}, "spec": b, "a": [c, a]});
            let _ = kind.read(&mut object);
            let _ = kind.validate(&object, Some(&json!({"spec": a})));
            let mut types = CustomTypes::default();
            types.insert(std::sync::Arc::new(kind));
            let none = Set::new();
            let request = Request { manager: "m", gvk: &gvk, subresource: "", force: true, now: "", reset: &none };
            let _ = managed::apply(None, &object, &request, &types);
        }
    }
}
