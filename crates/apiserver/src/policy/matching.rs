//! Whether a policy concerns a write.

use super::Attempt;
use crate::api::text;
use crate::protocol::selector::LabelSelector;
use serde_json::Value;

/// `matchConstraints` of a policy, or `matchResources` of a binding.
pub fn matches(attempt: &Attempt<'_>, criteria: Option<&Value>) -> bool {
    let Some(criteria) = criteria.filter(|criteria| criteria.is_object()) else { return true };
    let rules = |key: &str| criteria.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if !namespace_matches(attempt, criteria.get("namespaceSelector")) || !object_matches(attempt, criteria.get("objectSelector")) {
        return false;
    }
    let equivalent = text(criteria, "/matchPolicy") != "Exact";
    let any = |rules: &[Value]| rules.iter().any(|rule| rule_matches(attempt, rule, equivalent));
    if any(rules("excludeResourceRules")) {
        return false;
    }
    // A binding may leave the rules to its policy.
    rules("resourceRules").is_empty() || any(rules("resourceRules"))
}

fn selector(value: Option<&Value>) -> Option<LabelSelector> {
    let value = value.filter(|value| value.as_object().is_some_and(|map| !map.is_empty()))?;
    LabelSelector::from_value(value).filter(|selector| !selector.is_empty())
}

fn namespace_matches(attempt: &Attempt<'_>, value: Option<&Value>) -> bool {
    let Some(selector) = selector(value) else { return true };
    // A namespace is selected by its own labels; what lies in none is always selected.
    if attempt.resource.is("", "namespaces") {
        return labels_match(&selector, attempt.object.or(attempt.old));
    }
    attempt.namespace.is_empty() || labels_match(&selector, attempt.namespace_object().as_ref())
}

fn object_matches(attempt: &Attempt<'_>, value: Option<&Value>) -> bool {
    let Some(selector) = selector(value) else { return true };
    [attempt.object, attempt.old].into_iter().any(|object| object.is_some() && labels_match(&selector, object))
}

fn labels_match(selector: &LabelSelector, object: Option<&Value>) -> bool {
    let labels = object.and_then(|object| object.pointer("/metadata/labels"));
    selector.matches(|key| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str))
}

fn rule_matches(attempt: &Attempt<'_>, rule: &Value, equivalent: bool) -> bool {
    let resource = attempt.resource;
    let has = |key: &str, wanted: &str| {
        rule.get(key).and_then(Value::as_array).is_some_and(|list| list.iter().any(|given| given == "*" || given == wanted))
    };
    let scope = match text(rule, "/scope") {
        "Namespaced" => resource.namespaced,
        "Cluster" => !resource.namespaced,
        _ => true,
    };
    let named = match rule.get("resourceNames").and_then(Value::as_array).filter(|names| !names.is_empty()) {
        Some(names) => names.iter().any(|name| name == attempt.name),
        None => true,
    };
    // Another version of the same resource is the same thing said otherwise.
    let version =
        has("apiVersions", &resource.version) || (equivalent && other_versions(attempt).iter().any(|other| has("apiVersions", other)));
    scope && named && version && has("apiGroups", &resource.group) && has("operations", attempt.operation) && names_resource(attempt, rule)
}

fn names_resource(attempt: &Attempt<'_>, rule: &Value) -> bool {
    let (name, sub) = (attempt.resource.name.as_str(), attempt.subresource);
    rule.get("resources").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).any(|given| {
        let (resource, subresource) = given.split_once('/').unwrap_or((given, ""));
        (resource == "*" || resource == name) && (subresource == sub || (subresource == "*" && !(sub.is_empty() && resource != "*")))
    })
}

fn other_versions(attempt: &Attempt<'_>) -> Vec<String> {
    let registry = attempt.api.registry();
    let group = registry.groups().iter().find(|group| group.name == attempt.resource.group);
    group
        .into_iter()
        .flat_map(|group| &group.versions)
        .filter(|version| version.resources.iter().any(|resource| resource.table == attempt.resource.table))
        .map(|version| version.version.clone())
        .collect()
}
