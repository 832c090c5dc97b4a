//! Roles and bindings.

use serde_json::{Value, json};

use super::at::{At, Errors};
use super::names;
use crate::field;
use crate::managed::equal;

const GROUP: &str = "rbac.authorization.k8s.io";

pub(super) fn role(errors: &mut Errors, object: &At<'_>, namespaced: bool) {
    for rule in object.get("rules").items() {
        if rule.get("verbs").len() == 0 {
            errors.required(&rule.get("verbs"), "verbs must contain at least one value");
        }
        let urls = rule.get("nonResourceURLs");
        if urls.len() > 0 {
            if namespaced {
                errors.invalid(&urls, "namespaced rules cannot apply to non-resource URLs");
            }
            if rule.get("apiGroups").len() + rule.get("resources").len() + rule.get("resourceNames").len() > 0 {
                errors.invalid(&urls, "rules cannot apply to both regular resources and non-resource URLs");
            }
            continue;
        }
        if rule.get("apiGroups").len() == 0 {
            errors.required(&rule.get("apiGroups"), "resource rules must supply at least one api group");
        }
        if rule.get("resources").len() == 0 {
            errors.required(&rule.get("resources"), "resource rules must supply at least one resource");
        }
    }
}

pub(super) fn binding(errors: &mut Errors, object: &At<'_>, old: Option<&At<'_>>, namespaced: bool) {
    let role = object.get("roleRef");
    if role.get("apiGroup").text() != GROUP {
        errors.not_supported(&role.get("apiGroup"), &[GROUP]);
    }
    let kinds: &[&str] = if namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    if !kinds.contains(&role.get("kind").text()) {
        errors.not_supported(&role.get("kind"), kinds);
    }
    let name = role.get("name");
    if name.text().is_empty() {
        errors.required(&name, "");
    } else {
        errors.all(&name, names::path_segment(name.text()));
    }
    for subject in object.get("subjects").items() {
        let name = subject.get("name");
        if name.text().is_empty() {
            errors.required(&name, "");
        }
        let group = subject.get("apiGroup");
        match subject.get("kind").text() {
            "ServiceAccount" => {
                if !name.text().is_empty() {
                    errors.all(&name, names::subdomain(name.text()));
                }
                if !group.text().is_empty() {
                    errors.not_supported(&group, &[""]);
                }
                if !namespaced && subject.get("namespace").text().is_empty() {
                    errors.required(&subject.get("namespace"), "");
                }
            }
            "User" | "Group" => {
                if group.text() != GROUP {
                    errors.not_supported(&group, &[GROUP]);
                }
            }
            _ => errors.not_supported(&subject.get("kind"), &["ServiceAccount", "User", "Group"]),
        }
    }
    if let Some(old) = old
        && !equal(role.value, old.get("roleRef").value)
    {
        // Shown as Go's internal struct.
        let shown: Value =
            json!({"APIGroup": role.get("apiGroup").text(), "Kind": role.get("kind").text(), "Name": role.get("name").text()});
        errors.push(field::invalid(&role.path, &shown, "cannot change roleRef"));
    }
}
