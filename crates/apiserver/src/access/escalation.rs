//! Nobody gives away more than they have.

use super::rbac::{Attributes, allowed};
use super::{MASTERS, User, rules_of};
use crate::api::{Api, text};
use crate::protocol::status::{Result, Status};
use crate::registry::Resource;
use serde_json::Value;

/// Checks a role or binding that a user is about to write.
pub fn check(api: &Api, user: &User, resource: &Resource, object: &Value, old: Option<&Value>) -> Result<()> {
    if resource.group != "rbac.authorization.k8s.io" || user.groups.iter().any(|g| g == MASTERS) {
        return Ok(());
    }
    let (namespace, name) = (text(object, "/metadata/namespace"), text(object, "/metadata/name"));
    let (verb, role, rules) = match resource.name.as_str() {
        "roles" | "clusterroles" => {
            if old.is_some_and(|old| old.get("rules") == object.get("rules")) {
                return Ok(());
            }
            ("escalate", (resource.name.as_str(), name), object.get("rules").cloned().unwrap_or_default())
        }
        _ => {
            if old.is_some_and(|old| old.get("roleRef") == object.get("roleRef") && old.get("subjects") == object.get("subjects")) {
                return Ok(());
            }
            let referred = text(object, "/roleRef/name");
            let (table, key, kind) = match text(object, "/roleRef/kind") {
                "ClusterRole" => ("clusterroles.rbac.authorization.k8s.io", referred.to_owned(), "clusterroles"),
                _ => ("roles.rbac.authorization.k8s.io", format!("{namespace}/{referred}"), "roles"),
            };
            let Some(record) = api.store.get(table, &key) else {
                return Err(Status::not_found("rbac.authorization.k8s.io", kind, referred));
            };
            ("bind", (kind, referred), record.value().get("rules").cloned().unwrap_or_default())
        }
    };
    let may = Attributes { verb, group: "rbac.authorization.k8s.io", resource: role.0, namespace, name: role.1, ..Attributes::default() };
    if allowed(api, user, &may) {
        return Ok(());
    }
    let (held, paths) = rules_of(api, user, namespace);
    let missing: Vec<String> = rules.as_array().into_iter().flatten().filter(|rule| !covered(rule, &held, &paths)).map(shown).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let groups: Vec<String> = user.groups.iter().map(|g| format!("{g:?}")).collect();
    let why = format!(
        "user {:?} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}",
        user.name,
        groups.join(" "),
        missing.join("\n")
    );
    Err(Status::forbidden(&resource.group, &resource.name, name, &why))
}

fn strings<'a>(rule: &'a Value, field: &str) -> Vec<&'a str> {
    rule.get(field).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Whether each single permission of a rule is held by some rule.
fn covered(rule: &Value, held: &[Value], paths: &[Value]) -> bool {
    let has = |list: &[&str], wanted: &str| list.iter().any(|one| *one == "*" || *one == wanted);
    let urls = strings(rule, "nonResourceURLs");
    let verbs = strings(rule, "verbs");
    if !urls.is_empty() {
        return urls.iter().all(|url| {
            verbs.iter().all(|verb| {
                paths.iter().any(|p| {
                    let prefix = |given: &&str| given == url || given.strip_suffix('*').is_some_and(|start| url.starts_with(start));
                    has(&strings(p, "verbs"), verb) && strings(p, "nonResourceURLs").iter().any(prefix)
                })
            })
        });
    }
    let names = strings(rule, "resourceNames");
    let names: Vec<Option<&str>> = if names.is_empty() { vec![None] } else { names.into_iter().map(Some).collect() };
    strings(rule, "apiGroups").iter().all(|group| {
        strings(rule, "resources").iter().all(|resource| {
            verbs.iter().all(|verb| {
                names.iter().all(|name| {
                    held.iter().any(|h| {
                        let of_names = strings(h, "resourceNames");
                        has(&strings(h, "verbs"), verb)
                            && has(&strings(h, "apiGroups"), group)
                            && has(&strings(h, "resources"), resource)
                            && (of_names.is_empty() || name.is_some_and(|name| of_names.contains(&name)))
                    })
                })
            })
        })
    })
}

/// A rule as the refusal names it.
fn shown(rule: &Value) -> String {
    let parts: Vec<String> = [
        ("APIGroups", "apiGroups"),
        ("Resources", "resources"),
        ("ResourceNames", "resourceNames"),
        ("NonResourceURLs", "nonResourceURLs"),
        ("Verbs", "verbs"),
    ]
    .iter()
    .filter_map(|(title, field)| {
        let words: Vec<String> = strings(rule, field).iter().map(|w| format!("{w:?}")).collect();
        (!words.is_empty()).then(|| format!("{title}:[{}]", words.join(" ")))
    })
    .collect();
    format!("{{{}}}", parts.join(", "))
}
