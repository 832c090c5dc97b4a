use super::{Group, Registry, Resource, Version};
use serde_json::{Value, json};

/// The aggregated document (v2) of `/api` or of `/apis`.
pub fn aggregated(registry: &Registry, core: bool, api_version: &str) -> Value {
    let items: Vec<Value> = registry.groups().iter().filter(|group| group.name.is_empty() == core).map(aggregated_group).collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": api_version, "metadata": {}, "items": items})
}

fn aggregated_group(group: &Group) -> Value {
    let versions: Vec<Value> = group
        .versions
        .iter()
        .map(|version| {
            let resources: Vec<Value> = version.resources.iter().map(|r| aggregated_resource(r)).collect();
            json!({"version": version.version, "resources": resources, "freshness": "Current"})
        })
        .collect();
    let metadata = if group.name.is_empty() { json!({}) } else { json!({"name": group.name}) };
    json!({"metadata": metadata, "versions": versions})
}

fn aggregated_resource(resource: &Resource) -> Value {
    // Built-in kinds leave their own group and version empty, custom ones name them; both as a real server does.
    let response = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let own = if resource.custom.is_some() {
        response(&resource.group, &resource.version, &resource.kind)
    } else {
        response("", "", &resource.kind)
    };
    let mut out = json!({
        "resource": resource.name, "responseKind": own, "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular, "verbs": resource.verbs,
    });
    if !resource.short_names.is_empty() {
        out["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        out["categories"] = json!(resource.categories);
    }
    if !resource.subresources.is_empty() {
        out["subresources"] = resource
            .subresources
            .iter()
            .map(|sub| json!({"subresource": sub.name, "responseKind": response(&sub.group, &sub.version, &sub.kind), "verbs": sub.verbs}))
            .collect();
    }
    out
}

/// `APIVersions` of `/api`.
pub fn core_versions(address: &str) -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]})
}

/// `APIGroupList` of `/apis`.
pub fn group_list(registry: &Registry) -> Value {
    let groups: Vec<Value> = registry.groups().iter().filter(|g| !g.name.is_empty()).map(|g| group_value(g, false)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `APIGroup` of `/apis/GROUP`.
pub fn group(registry: &Registry, name: &str) -> Option<Value> {
    registry.groups().iter().find(|g| g.name == name && !name.is_empty()).map(|g| group_value(g, true))
}

fn group_value(group: &Group, typed: bool) -> Value {
    let version = |v: &Version| json!({"groupVersion": format!("{}/{}", group.name, v.version), "version": v.version});
    let versions: Vec<Value> = group.versions.iter().map(version).collect();
    let preferred = versions.first().cloned().unwrap_or(Value::Null);
    if typed {
        json!({"kind": "APIGroup", "apiVersion": "v1", "name": group.name, "versions": versions, "preferredVersion": preferred})
    } else {
        json!({"name": group.name, "versions": versions, "preferredVersion": preferred})
    }
}

/// `APIResourceList` of one group version.
pub fn resource_list(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    let found = registry.groups().iter().find(|g| g.name == group)?.versions.iter().find(|v| v.version == version)?;
    let mut resources = Vec::new();
    for resource in &found.resources {
        let mut one = json!({
            "name": resource.name, "singularName": resource.singular, "namespaced": resource.namespaced, "kind": resource.kind,
            "verbs": resource.verbs,
        });
        if !resource.short_names.is_empty() {
            one["shortNames"] = json!(resource.short_names);
        }
        if !resource.categories.is_empty() {
            one["categories"] = json!(resource.categories);
        }
        if resource.can("list") && resource.can("create") {
            one["storageVersionHash"] = json!(resource.storage_version_hash());
        }
        resources.push(one);
        for sub in &resource.subresources {
            let mut one = json!({
                "name": format!("{}/{}", resource.name, sub.name), "singularName": "", "namespaced": resource.namespaced,
            });
            if !sub.version.is_empty() && sub.version != resource.version || !sub.group.is_empty() && sub.group != resource.group {
                one["group"] = json!(sub.group);
                one["version"] = json!(sub.version);
            }
            one["kind"] = json!(sub.kind);
            one["verbs"] = json!(sub.verbs);
            resources.push(one);
        }
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let mut out = json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources});
    if group.is_empty()
        && let Some(map) = out.as_object_mut()
    {
        // The core group leaves it out, from the days before there were others.
        map.shift_remove("apiVersion");
    }
    Some(out)
}

/// The plain list of paths at `/`.
pub fn paths(registry: &Registry) -> Value {
    let mut out = vec!["/.well-known/openid-configuration".to_owned(), "/api".into(), "/api/v1".into(), "/apis".into(), "/apis/".into()];
    for group in registry.groups().iter().filter(|g| !g.name.is_empty()) {
        out.push(format!("/apis/{}", group.name));
        out.extend(group.versions.iter().map(|v| format!("/apis/{}/{}", group.name, v.version)));
    }
    for path in [
        "/healthz",
        "/healthz/etcd",
        "/healthz/log",
        "/healthz/ping",
        "/livez",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/readyz",
        "/version",
    ] {
        out.push(path.to_owned());
    }
    json!({"paths": out})
}
