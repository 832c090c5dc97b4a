//! What every cluster has from the start.

use crate::api::{Api, now, text};
use crate::controllers::roles;
use crate::registry::{Registry, Resource};
use crate::rest::write::{prepare_own, store_own, store_prepared};
use crate::store::NAMESPACES;
use serde_json::{Value, json};
use std::sync::{Arc, OnceLock};

/// Objects that are there before the first request; those that exist already stay as they are.
pub fn ensure(api: &Api) {
    let kept = !api.store.all(NAMESPACES, "").is_empty();
    for namespace in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        ensure_one(api, json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": namespace}}));
    }
    for same in same_everywhere() {
        ensure_prepared(api, &same.resource, &same.object);
    }
    // What was prepared is whole; a data directory may hold roles of its own.
    if kept {
        roles::aggregate(api);
    }
    ensure_one(
        api,
        json!({"kind": "Service", "apiVersion": "v1", "metadata": {"name": "kubernetes", "namespace": "default",
                "labels": {"component": "apiserver", "provider": "kubernetes"}},
            "spec": {"type": "ClusterIP", "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"],
                "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": api.address.port()}]}}),
    );
    for group in api.registry().groups().iter().filter(|group| group.custom) {
        for version in &group.versions {
            ensure_api_service(api, &group.name, &version.version);
        }
    }
}

/// An object that every server starts with.
struct Same {
    resource: Arc<Resource>,
    object: Value,
}

/// The roles, priority classes and API services of a fresh cluster: prepared once for all servers of a process.
fn same_everywhere() -> &'static [Same] {
    static SAME: OnceLock<Vec<Same>> = OnceLock::new();
    SAME.get_or_init(|| {
        let registry = Registry::builtin();
        // The roles are those that a real server of the same version starts with.
        let mut objects: Vec<Value> = serde_json::from_str(include_str!("../../data/roles.json")).unwrap_or_default();
        roles::fill(&mut objects);
        for (name, value, about) in [
            (
                "system-cluster-critical",
                2_000_000_000,
                "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
            ),
            ("system-node-critical", 2_000_001_000, "Used for system critical pods that must not be moved from their current node."),
        ] {
            objects.push(json!({"kind": "PriorityClass", "apiVersion": "scheduling.k8s.io/v1", "metadata": {"name": name}, "value": value,
                "description": about, "preemptionPolicy": "PreemptLowerPriority"}));
        }
        for group in registry.groups() {
            objects.extend(group.versions.iter().map(|version| api_service(&group.name, &version.version)));
        }
        objects
            .into_iter()
            .filter_map(|object| {
                let resource = Arc::clone(resource_of(&registry, &object)?);
                let object = prepare_own(&resource, object).ok()?;
                Some(Same { resource, object })
            })
            .collect()
    })
}

/// An `APIService` says that this server itself serves a group version.
pub fn ensure_api_service(api: &Api, group: &str, version: &str) {
    let object = api_service(group, version);
    if let Some(resource) = resource_of(&api.registry(), &object)
        && let Ok(object) = prepare_own(resource, object)
    {
        ensure_prepared(api, resource, &object);
    }
}

/// Without the time since when it is available.
fn api_service(group: &str, version: &str) -> Value {
    json!({"kind": "APIService", "apiVersion": "apiregistration.k8s.io/v1",
        "metadata": {"name": format!("{version}.{group}"), "labels": {"kube-aggregator.kubernetes.io/automanaged": "onstart"}},
        "spec": {"group": group, "version": version, "groupPriorityMinimum": if group.is_empty() { 18000 } else { 17000 }, "versionPriority": 15},
        "status": {"conditions": [{"type": "Available", "status": "True", "lastTransitionTime": null, "reason": "Local",
            "message": "Local APIServices are always available"}]}})
}

fn resource_of<'a>(registry: &'a Registry, object: &Value) -> Option<&'a Arc<Resource>> {
    let gvk = object::GroupVersionKind::from_api_version(text(object, "/apiVersion"), text(object, "/kind"));
    registry.of_kind(&gvk.group, &gvk.version, &gvk.kind)
}

fn is_there(api: &Api, resource: &Resource, object: &Value) -> bool {
    let key = resource.key(text(object, "/metadata/namespace"), text(object, "/metadata/name"));
    api.store.get(&resource.table, &key).is_some()
}

fn ensure_prepared(api: &Api, resource: &Resource, object: &Value) {
    if is_there(api, resource, object) {
        return;
    }
    let mut object = object.clone();
    for condition in object.pointer_mut("/status/conditions").and_then(Value::as_array_mut).into_iter().flatten() {
        condition["lastTransitionTime"] = Value::from(now());
    }
    if let Err(error) = store_prepared(api, resource, object) {
        tracing::warn!(error = %error, "cannot store an object of the start");
    }
}

fn ensure_one(api: &Api, object: Value) {
    let registry = api.registry();
    let Some(resource) = resource_of(&registry, &object) else { return };
    if !is_there(api, resource, &object)
        && let Err(error) = store_own(api, resource, object)
    {
        tracing::warn!(error = %error, "cannot store an object of the start");
    }
}
