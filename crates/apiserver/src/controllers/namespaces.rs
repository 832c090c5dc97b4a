use crate::api::{Api, child, now};
use crate::protocol::status::Result;
use crate::registry::crd::set_condition;
use crate::rest::delete::{Options, Propagation, remove};
use crate::rest::write::{change_own, store_own};
use crate::store::NAMESPACES;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Every namespace has a default account, and the certificate of this server.
pub fn fill(api: &Api, namespace: &str) {
    let Some(record) = api.store.get(NAMESPACES, namespace) else { return };
    if record.facts.deleting {
        return;
    }
    let account = json!({"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": "default", "namespace": namespace}});
    let certificate = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "kube-root-ca.crt", "namespace": namespace,
        "annotations": {"kubernetes.io/description": "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters."}},
        "data": {"ca.crt": api.ca_pem}});
    let registry = api.registry();
    for (kind, table, object) in [("ServiceAccount", "serviceaccounts", account), ("ConfigMap", "configmaps", certificate)] {
        let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("");
        if api.store.get(table, &format!("{namespace}/{name}")).is_some() {
            continue;
        }
        if let Some(resource) = registry.of_kind("", "v1", kind)
            && let Err(error) = store_own(api, resource, object)
        {
            tracing::debug!(error = %error, namespace, "the namespace ended before it was filled");
        }
    }
}

/// Removes what is in an ending namespace, then the namespace.
pub fn end(api: &Api, namespace: &str) -> Result<()> {
    let Some(record) = api.store.get(NAMESPACES, namespace) else { return Ok(()) };
    if !record.facts.deleting {
        return Ok(());
    }
    let registry = api.registry();
    let user = crate::access::User::admin();
    let options = Options { propagation: Some(Propagation::Background), ..Options::default() };
    let mut remaining: BTreeMap<String, usize> = BTreeMap::new();
    let mut finalizers: BTreeMap<String, usize> = BTreeMap::new();
    for table in registry.namespaced_tables() {
        let Some(resource) = registry.of_table(&table) else { continue };
        for object in api.store.all(&table, &format!("{namespace}/")) {
            if !object.facts.deleting {
                match remove(api, &user, resource, namespace, object.name(), &options) {
                    Ok(_) => {}
                    Err(status) if status.code == 404 => continue,
                    Err(status) => return Err(status),
                }
            }
            if let Some(still) = api.store.get(&table, &object.key) {
                *remaining.entry(crate::protocol::status::qualified(&resource.group, &resource.name)).or_default() += 1;
                for finalizer in &still.facts.finalizers {
                    *finalizers.entry(finalizer.to_string()).or_default() += 1;
                }
            }
        }
    }
    let Some(resource) = registry.of_kind("", "v1", "Namespace") else { return Ok(()) };
    change_own(api, resource, namespace, None, |mut object| {
        if remaining.is_empty() {
            let spec = child(&mut object, "spec");
            if let Some(list) = spec.get_mut("finalizers").and_then(Value::as_array_mut) {
                list.retain(|f| f != "kubernetes");
                if list.is_empty() {
                    spec.shift_remove("finalizers");
                }
            }
        } else {
            object["status"]["conditions"] = Value::Array(conditions(&object, &remaining, &finalizers));
        }
        Some(object)
    })?;
    Ok(())
}

fn conditions(object: &Value, remaining: &BTreeMap<String, usize>, finalizers: &BTreeMap<String, usize>) -> Vec<Value> {
    let mut out = object.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let now = now();
    let resources: Vec<String> = remaining.iter().map(|(name, count)| format!("{name} has {count} resource instances")).collect();
    let holders: Vec<String> = finalizers.iter().map(|(name, count)| format!("{name} in {count} resource instances")).collect();
    set_condition(
        &mut out,
        "NamespaceDeletionDiscoveryFailure",
        "False",
        "ResourcesDiscovered",
        "All resources successfully discovered",
        &now,
    );
    set_condition(
        &mut out,
        "NamespaceDeletionGroupVersionParsingFailure",
        "False",
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
        &now,
    );
    set_condition(
        &mut out,
        "NamespaceDeletionContentFailure",
        "False",
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
        &now,
    );
    let message = format!("Some resources are remaining: {}", resources.join(", "));
    set_condition(&mut out, "NamespaceContentRemaining", "True", "SomeResourcesRemain", &message, &now);
    if holders.is_empty() {
        set_condition(
            &mut out,
            "NamespaceFinalizersRemaining",
            "False",
            "ContentHasNoFinalizers",
            "All content-preserving finalizers finished",
            &now,
        );
    } else {
        let message = format!("Some content in the namespace has finalizers remaining: {}", holders.join(", "));
        set_condition(&mut out, "NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain", &message, &now);
    }
    out
}
