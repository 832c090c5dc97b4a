use super::{MASTERS, User};
use crate::api::{Api, text};
use crate::store::{Record, Uid};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

const ROLES: &str = "roles.rbac.authorization.k8s.io";
const CLUSTER_ROLES: &str = "clusterroles.rbac.authorization.k8s.io";
const BINDINGS: &str = "rolebindings.rbac.authorization.k8s.io";
const CLUSTER_BINDINGS: &str = "clusterrolebindings.rbac.authorization.k8s.io";

/// One act that needs permission.
#[derive(Debug, Clone, Copy, Default)]
pub struct Attributes<'a> {
    pub verb: &'a str,
    pub group: &'a str,
    pub resource: &'a str,
    pub subresource: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
    /// A path that is no resource; the rest is empty then.
    pub path: &'a str,
}

pub fn allowed(api: &Api, user: &User, attributes: &Attributes<'_>) -> bool {
    if user.groups.iter().any(|g| g == MASTERS) {
        return true;
    }
    reason(api, user, attributes).is_some()
}

/// Which binding allows something, in the words of RBAC; empty for those who may do everything.
pub fn reason(api: &Api, user: &User, attributes: &Attributes<'_>) -> Option<String> {
    if user.groups.iter().any(|g| g == MASTERS) {
        return Some(String::new());
    }
    let mut found = None;
    each_rule(api, user, attributes.namespace, &mut |rule, bound| {
        if (attributes.path.is_empty() || bound.cluster_wide) && rule_allows(rule, attributes) {
            found = Some(bound.reason());
        }
        found.is_some()
    });
    found
}

/// The binding that gives a rule to the user.
struct Bound<'a> {
    binding: &'a Value,
    subject: &'a Value,
    cluster_wide: bool,
}

impl Bound<'_> {
    fn reason(&self) -> String {
        let (role, kind) = (text(self.binding, "/roleRef/name"), text(self.binding, "/roleRef/kind"));
        let name = text(self.binding, "/metadata/name");
        let (who, of) = (text(self.subject, "/name"), text(self.subject, "/kind"));
        let who = match text(self.subject, "/namespace") {
            "" => format!("{who:?}"),
            namespace => format!("\"{who}/{namespace}\""),
        };
        if self.cluster_wide {
            format!("RBAC: allowed by ClusterRoleBinding {name:?} of {kind} {role:?} to {of} {who}")
        } else {
            let namespace = text(self.binding, "/metadata/namespace");
            format!("RBAC: allowed by RoleBinding \"{name}/{namespace}\" of {kind} {role:?} to {of} {who}")
        }
    }
}

/// The rules that hold for a user in a namespace.
pub fn rules_of(api: &Api, user: &User, namespace: &str) -> (Vec<Value>, Vec<Value>) {
    let (mut resources, mut paths) = (Vec::new(), Vec::new());
    let mut sort = |rule: &Value, cluster_wide: bool| {
        if rule.get("nonResourceURLs").and_then(Value::as_array).is_some_and(|urls| !urls.is_empty()) {
            if cluster_wide {
                paths.push(json!({"verbs": rule["verbs"], "nonResourceURLs": rule["nonResourceURLs"]}));
            }
        } else {
            let mut out = json!({"verbs": rule["verbs"], "apiGroups": rule["apiGroups"], "resources": rule["resources"]});
            if let Some(names) = rule.get("resourceNames") {
                out["resourceNames"] = names.clone();
            }
            resources.push(out);
        }
        false
    };
    if user.groups.iter().any(|g| g == MASTERS) {
        sort(&json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}), true);
        sort(&json!({"verbs": ["*"], "nonResourceURLs": ["*"]}), true);
    }
    each_rule(api, user, namespace, &mut |rule, bound| sort(rule, bound.cluster_wide));
    (resources, paths)
}

/// Bindings and roles as data: each version is read once, however many requests ask about it.
#[derive(Default)]
pub struct Parsed(Mutex<HashMap<Uid, (u64, Arc<Value>)>>);

/// Beyond this everything is read anew.
const PARSED_MAX: usize = 20_000;

impl Parsed {
    fn value(&self, record: &Record) -> Arc<Value> {
        let Some(uid) = record.facts.uid else { return Arc::new(record.value()) };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((revision, value)) = known.get(&uid)
            && *revision == record.revision
        {
            return Arc::clone(value);
        }
        if known.len() >= PARSED_MAX {
            known.clear();
        }
        let value = Arc::new(record.value());
        known.insert(uid, (record.revision, Arc::clone(&value)));
        value
    }
}

/// Shows every rule bound to the user until `visit` has seen enough.
fn each_rule(api: &Api, user: &User, namespace: &str, visit: &mut dyn FnMut(&Value, &Bound<'_>) -> bool) {
    for binding in api.store.all(CLUSTER_BINDINGS, "") {
        let binding = api.access.parsed.value(&binding);
        if let Some(subject) = binds(&binding, user, "")
            && each_of_role(api, "", &Bound { binding: &binding, subject, cluster_wide: true }, visit)
        {
            return;
        }
    }
    if namespace.is_empty() {
        return;
    }
    for binding in api.store.all(BINDINGS, &format!("{namespace}/")) {
        let binding = api.access.parsed.value(&binding);
        if let Some(subject) = binds(&binding, user, namespace)
            && each_of_role(api, namespace, &Bound { binding: &binding, subject, cluster_wide: false }, visit)
        {
            return;
        }
    }
}

fn each_of_role(api: &Api, namespace: &str, bound: &Bound<'_>, visit: &mut dyn FnMut(&Value, &Bound<'_>) -> bool) -> bool {
    let role = &bound.binding["roleRef"];
    let name = text(role, "/name");
    let record = match text(role, "/kind") {
        "ClusterRole" => api.store.get(CLUSTER_ROLES, name),
        "Role" if !namespace.is_empty() => api.store.get(ROLES, &format!("{namespace}/{name}")),
        _ => None,
    };
    let Some(record) = record else { return false };
    let role = api.access.parsed.value(&record);
    role.get("rules").and_then(Value::as_array).into_iter().flatten().any(|rule| visit(rule, bound))
}

/// The subject that is the user.
fn binds<'a>(binding: &'a Value, user: &User, namespace: &str) -> Option<&'a Value> {
    binding.get("subjects").and_then(Value::as_array).into_iter().flatten().find(|subject| {
        let name = text(subject, "/name");
        match text(subject, "/kind") {
            "User" => user.name == name,
            "Group" => user.groups.iter().any(|g| g == name),
            "ServiceAccount" => {
                let of = match text(subject, "/namespace") {
                    "" => namespace,
                    given => given,
                };
                !of.is_empty() && user.name == format!("system:serviceaccount:{of}:{name}")
            }
            _ => false,
        }
    })
}

fn has(rule: &Value, field: &str, test: impl Fn(&str) -> bool) -> bool {
    rule.get(field).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).any(test)
}

fn rule_allows(rule: &Value, wanted: &Attributes<'_>) -> bool {
    if !has(rule, "verbs", |verb| verb == "*" || verb == wanted.verb) {
        return false;
    }
    if !wanted.path.is_empty() {
        return has(rule, "nonResourceURLs", |url| {
            url == wanted.path || url.strip_suffix('*').is_some_and(|prefix| wanted.path.starts_with(prefix))
        });
    }
    if !has(rule, "apiGroups", |group| group == "*" || group == wanted.group) {
        return false;
    }
    let combined =
        if wanted.subresource.is_empty() { wanted.resource.to_owned() } else { format!("{}/{}", wanted.resource, wanted.subresource) };
    let resource = |given: &str| {
        given == "*" || given == combined || (!wanted.subresource.is_empty() && given.strip_prefix("*/") == Some(wanted.subresource))
    };
    if !has(rule, "resources", resource) {
        return false;
    }
    let names = rule.get("resourceNames").and_then(Value::as_array);
    names.is_none_or(|names| names.is_empty() || names.iter().any(|name| name.as_str() == Some(wanted.name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_match_groups_resources_subresources_and_names() {
        let rule =
            json!({"verbs": ["get", "patch"], "apiGroups": ["apps"], "resources": ["deployments", "*/scale"], "resourceNames": ["a"]});
        let ask = |verb, resource, subresource, name| {
            rule_allows(&rule, &Attributes { verb, group: "apps", resource, subresource, name, ..Attributes::default() })
        };
        assert!(ask("get", "deployments", "", "a"));
        assert!(ask("patch", "statefulsets", "scale", "a"));
        assert!(!ask("get", "deployments", "", "b"));
        assert!(!ask("get", "deployments", "status", "a"));
        assert!(!ask("delete", "deployments", "", "a"));
        let paths = json!({"verbs": ["get"], "nonResourceURLs": ["/healthz", "/api/*"]});
        let path = |path| rule_allows(&paths, &Attributes { verb: "get", path, ..Attributes::default() });
        assert!(path("/healthz") && path("/api/v1") && !path("/metrics"));
    }
}
