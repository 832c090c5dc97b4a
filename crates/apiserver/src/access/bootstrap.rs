//! What every cluster has from the start.

use crate::api::{Api, now};
use crate::registry::Registry;
use crate::rest::write::store_own;
use serde_json::{Value, json};

/// Objects that are there before the first request; those that exist already stay as they are.
pub fn ensure(api: &Api) {
    for namespace in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        ensure_one(api, json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": namespace}}));
    }
    // The roles are those that a real server of the same version starts with.
    let roles: Vec<Value> = serde_json::from_str(include_str!("../../data/roles.json")).unwrap_or_default();
    for role in roles {
        ensure_one(api, role);
    }
    for (name, value, about) in [
        (
            "system-cluster-critical",
            2_000_000_000,
            "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
        ),
        ("system-node-critical", 2_000_001_000, "Used for system critical pods that must not be moved from their current node."),
    ] {
        ensure_one(
            api,
            json!({"kind": "PriorityClass", "apiVersion": "scheduling.k8s.io/v1", "metadata": {"name": name}, "value": value,
                "description": about, "preemptionPolicy": "PreemptLowerPriority"}),
        );
    }
    ensure_one(
        api,
        json!({"kind": "Service", "apiVersion": "v1", "metadata": {"name": "kubernetes", "namespace": "default",
                "labels": {"component": "apiserver", "provider": "kubernetes"}},
            "spec": {"type": "ClusterIP", "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"],
                "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": api.address.port()}]}}),
    );
    for (group, version) in group_versions(&api.registry()) {
        ensure_api_service(api, &group, &version);
    }
}

fn group_versions(registry: &Registry) -> Vec<(String, String)> {
    registry.groups().iter().flat_map(|g| g.versions.iter().map(|v| (g.name.clone(), v.version.clone()))).collect()
}

/// An `APIService` says that this server itself serves a group version.
pub fn ensure_api_service(api: &Api, group: &str, version: &str) {
    let now = now();
    let name = format!("{version}.{group}");
    let object = json!({"kind": "APIService", "apiVersion": "apiregistration.k8s.io/v1",
        "metadata": {"name": name, "labels": {"kube-aggregator.kubernetes.io/automanaged": "onstart"}},
        "spec": {"group": group, "version": version, "groupPriorityMinimum": if group.is_empty() { 18000 } else { 17000 }, "versionPriority": 15},
        "status": {"conditions": [{"type": "Available", "status": "True", "lastTransitionTime": now, "reason": "Local",
            "message": "Local APIServices are always available"}]}});
    ensure_one(api, object);
}

fn ensure_one(api: &Api, object: Value) {
    let registry = api.registry();
    let gvk =
        object::GroupVersionKind::from_api_version(object["apiVersion"].as_str().unwrap_or(""), object["kind"].as_str().unwrap_or(""));
    let Some(resource) = registry.of_kind(&gvk.group, &gvk.version, &gvk.kind) else { return };
    let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or("");
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("");
    if api.store.get(&resource.table, &resource.key(namespace, name)).is_none()
        && let Err(error) = store_own(api, resource, object)
    {
        tracing::warn!(error = %error, "cannot store an object of the start");
    }
}
