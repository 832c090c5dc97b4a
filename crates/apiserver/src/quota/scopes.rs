//! Which objects a quota is about.

use crate::api::text;
use crate::registry::Resource;
use serde_json::Value;

/// Whether every scope of a quota holds for an object. Only pods and claims have scopes.
pub fn match_all(quota: &Value, resource: &Resource, object: &Value) -> bool {
    let list = |pointer: &str| quota.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    list("/spec/scopes").all(|scope| holds(scope.as_str().unwrap_or(""), "Exists", &Value::Null, resource, object))
        && list("/spec/scopeSelector/matchExpressions")
            .all(|one| holds(text(one, "/scopeName"), text(one, "/operator"), &one["values"], resource, object))
}

fn holds(scope: &str, operator: &str, values: &Value, resource: &Resource, object: &Value) -> bool {
    if resource.is("", "persistentvolumeclaims") {
        return scope == "VolumeAttributesClass" && {
            let pointers = ["/spec/volumeAttributesClassName", "/status/currentVolumeAttributesClassName"];
            let names: Vec<&str> = pointers.iter().map(|pointer| text(object, pointer)).filter(|name| !name.is_empty()).collect();
            selected(scope, operator, values, &names)
        };
    }
    if !resource.is("", "pods") {
        return false;
    }
    let ends = object.pointer("/spec/activeDeadlineSeconds").and_then(Value::as_i64).is_some_and(|seconds| seconds >= 0);
    let best_effort = crate::strategy::pod_quality(object) == "BestEffort";
    match scope {
        "Terminating" => ends,
        "NotTerminating" => !ends,
        "BestEffort" => best_effort,
        "NotBestEffort" => !best_effort,
        "PriorityClass" => {
            let class = text(object, "/spec/priorityClassName");
            selected(scope, operator, values, if class.is_empty() { &[] } else { std::slice::from_ref(&class) })
        }
        "CrossNamespacePodAffinity" => crosses_namespaces(object),
        _ => false,
    }
}

/// Whether one of the names that an object has is selected; without a name, what asks for none.
fn selected(scope: &str, operator: &str, values: &Value, names: &[&str]) -> bool {
    if operator == "Exists" {
        return !names.is_empty();
    }
    let Some(selector) = super::requirement(scope, operator, values) else { return false };
    match names {
        [] => selector.matches(|_| None),
        names => names.iter().any(|name| selector.matches(|key| (key == scope).then_some(*name))),
    }
}

fn crosses_namespaces(pod: &Value) -> bool {
    let term = |term: &Value| {
        term.pointer("/namespaces").and_then(Value::as_array).is_some_and(|list| !list.is_empty())
            || term.get("namespaceSelector").is_some_and(|selector| !selector.is_null())
    };
    ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
        let list = |rest: &str| pod.pointer(&format!("/spec/affinity/{kind}/{rest}")).and_then(Value::as_array).into_iter().flatten();
        list("requiredDuringSchedulingIgnoredDuringExecution").any(term)
            || list("preferredDuringSchedulingIgnoredDuringExecution").any(|weighted| term(&weighted["podAffinityTerm"]))
    })
}
