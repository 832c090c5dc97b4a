use super::resource::{Custom, Resource, ScalePaths, Subresource};
use crate::engine::Structural;
use object::GroupVersionKind;
use serde_json::{Map, Value, json};
use std::cmp::Ordering;
use std::sync::Arc;

pub const TABLE: &str = "customresourcedefinitions.apiextensions.k8s.io";
const VERBS: [&str; 8] = ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];

/// Whether a condition of a CRD (or any object) is `True`.
pub fn condition_holds(object: &Value, kind: &str) -> bool {
    object
        .pointer("/status/conditions")
        .and_then(Value::as_array)
        .is_some_and(|conditions| conditions.iter().any(|c| c["type"] == kind && c["status"] == "True"))
}

fn strings(value: Option<&Value>) -> Vec<String> {
    value.and_then(Value::as_array).into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

/// The resources that an established CRD serves, one per served version.
pub fn resources(crd: &Value) -> Vec<Arc<Resource>> {
    let text = |path: &str| crd.pointer(path).and_then(Value::as_str).unwrap_or("").to_owned();
    if !condition_holds(crd, "Established") {
        return Vec::new();
    }
    let group = text("/spec/group");
    // What a resource is called is what was accepted, not what is wished.
    let (name, kind) = (text("/status/acceptedNames/plural"), text("/status/acceptedNames/kind"));
    let versions = crd.pointer("/spec/versions").and_then(Value::as_array);
    let stored = versions
        .into_iter()
        .flatten()
        .find(|v| v["storage"] == true)
        .and_then(|v| v["name"].as_str())
        .map(|version| format!("{group}/{version}"))
        .unwrap_or_default();
    let mut out = Vec::new();
    let preserve = crd.pointer("/spec/preserveUnknownFields").and_then(Value::as_bool).unwrap_or(false);
    let served: Vec<(GroupVersionKind, &Value)> = versions
        .into_iter()
        .flatten()
        .filter(|v| v["served"] == true)
        .map(|version| (GroupVersionKind::new(&group, version["name"].as_str().unwrap_or(""), &kind), version))
        .collect();
    let compiled = Structural::compile_all(&served, preserve);
    for ((_, version), structural) in served.into_iter().zip(compiled) {
        let custom = custom(crd, version, structural);
        let mut subresources = Vec::new();
        if custom.status {
            subresources.push(subresource("status", &group, version["name"].as_str().unwrap_or(""), &kind));
        }
        if custom.scale.is_some() {
            subresources.push(subresource("scale", "autoscaling", "v1", "Scale"));
        }
        out.push(Arc::new(Resource {
            group: group.clone(),
            version: version["name"].as_str().unwrap_or("").to_owned(),
            name: name.clone(),
            singular: text("/status/acceptedNames/singular"),
            list_kind: Some(text("/status/acceptedNames/listKind")).filter(|k| !k.is_empty()).unwrap_or_else(|| format!("{kind}List")),
            kind: kind.clone(),
            namespaced: text("/spec/scope") == "Namespaced",
            verbs: VERBS.map(str::to_owned).to_vec(),
            short_names: strings(crd.pointer("/status/acceptedNames/shortNames")),
            categories: strings(crd.pointer("/status/acceptedNames/categories")),
            subresources,
            table: Arc::from(format!("{name}.{group}")),
            stored_api_version: stored.clone(),
            custom: Some(Arc::new(custom)),
        }));
    }
    out
}

fn subresource(name: &str, group: &str, version: &str, kind: &str) -> Subresource {
    Subresource {
        name: name.to_owned(),
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
        verbs: ["get", "patch", "update"].map(str::to_owned).to_vec(),
    }
}

fn custom(crd: &Value, version: &Value, structural: Structural) -> Custom {
    let schema = version.pointer("/schema/openAPIV3Schema").cloned().unwrap_or_else(|| json!({"type": "object"}));
    let scale = version.pointer("/subresources/scale").map(|scale| ScalePaths {
        spec_replicas: path(&scale["specReplicasPath"]),
        status_replicas: path(&scale["statusReplicasPath"]),
        selector: scale.get("labelSelectorPath").filter(|p| p.as_str().is_some_and(|p| !p.is_empty())).map(path),
    });
    Custom {
        rereads: crd.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(1) > 1,
        structural,
        schema,
        status: version.pointer("/subresources/status").is_some_and(Value::is_object),
        scale,
        columns: version.get("additionalPrinterColumns").and_then(Value::as_array).cloned().unwrap_or_default(),
        selectable_fields: version
            .get("selectableFields")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|f| f["jsonPath"].as_str().map(|p| p.trim_start_matches('.').to_owned()))
            .collect(),
        deprecation: (version["deprecated"] == true).then(|| {
            version.get("deprecationWarning").and_then(Value::as_str).map_or_else(
                || {
                    format!(
                        "{}/{} {} is deprecated",
                        crd.pointer("/spec/group").and_then(Value::as_str).unwrap_or(""),
                        version["name"].as_str().unwrap_or(""),
                        crd.pointer("/spec/names/kind").and_then(Value::as_str).unwrap_or("")
                    )
                },
                str::to_owned,
            )
        }),
    }
}

/// `.spec.replicas` as keys.
fn path(value: &Value) -> Vec<String> {
    value.as_str().unwrap_or("").trim_start_matches('.').split('.').map(str::to_owned).collect()
}

/// Orders versions as Kubernetes prefers them: `v2 > v1 > v1beta2 > v1alpha1 > anything else`.
pub fn compare_versions(a: &str, b: &str) -> Ordering {
    fn parts(text: &str) -> Option<(u8, u64, u64)> {
        let rest = text.strip_prefix('v')?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let major: u64 = rest[..digits].parse().ok()?;
        let (stability, minor) = match &rest[digits..] {
            "" => (2, 0),
            beta if beta.starts_with("beta") => (1, beta[4..].parse().ok()?),
            alpha if alpha.starts_with("alpha") => (0, alpha[5..].parse().ok()?),
            _ => return None,
        };
        Some((stability, major, minor))
    }
    match (parts(a), parts(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(_), None) => Ordering::Greater,
        (None, Some(_)) => Ordering::Less,
        (None, None) => b.cmp(a),
    }
}

/// Fills what a CRD's author may leave out.
pub fn default(crd: &mut Value) {
    let Some(spec) = crd.get_mut("spec").and_then(Value::as_object_mut) else { return };
    spec.entry("conversion").or_insert_with(|| json!({"strategy": "None"}));
    if let Some(names) = spec.get_mut("names").and_then(Value::as_object_mut) {
        let kind = names.get("kind").and_then(Value::as_str).unwrap_or("").to_owned();
        if kind.is_empty() {
            return;
        }
        if names.get("singular").and_then(Value::as_str).unwrap_or("").is_empty() {
            names.insert("singular".to_owned(), Value::from(kind.to_lowercase()));
        }
        if names.get("listKind").and_then(Value::as_str).unwrap_or("").is_empty() {
            names.insert("listKind".to_owned(), Value::from(format!("{kind}List")));
        }
    }
}

/// The status that the naming and establishing controllers of a real server would come to.
pub fn next_status(crd: &Value, others: &[Value], now: &str) -> Value {
    let spec_names = crd.pointer("/spec/names").cloned().unwrap_or_else(|| json!({}));
    let group = crd.pointer("/spec/group");
    let mut status = crd.get("status").and_then(Value::as_object).cloned().unwrap_or_default();
    let rivals: Vec<&Value> = others
        .iter()
        .filter(|other| other.pointer("/spec/group") == group && other.pointer("/metadata/name") != crd.pointer("/metadata/name"))
        .filter_map(|other| other.pointer("/status/acceptedNames"))
        .collect();
    let taken: Vec<String> = rivals
        .iter()
        .flat_map(|names| {
            let mut all = strings(names.get("shortNames"));
            all.extend(["plural", "singular"].iter().filter_map(|k| names[*k].as_str().map(str::to_owned)));
            all
        })
        .collect();
    let kinds: Vec<&str> = rivals.iter().flat_map(|names| [names["kind"].as_str(), names["listKind"].as_str()]).flatten().collect();
    let mut accepted = status.get("acceptedNames").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut refusal: Option<(&str, String)> = None;
    for (field, reason) in [
        ("plural", "PluralConflict"),
        ("singular", "SingularConflict"),
        ("shortNames", "ShortNamesConflict"),
        ("kind", "KindConflict"),
        ("listKind", "ListKindConflict"),
    ] {
        let Some(wanted) = spec_names.get(field) else {
            accepted.remove(field);
            continue;
        };
        let words = wanted.as_str().map(|w| vec![w.to_owned()]).unwrap_or_else(|| strings(Some(wanted)));
        let clash = words.iter().find(|word| if field.ends_with("ind") { kinds.contains(&word.as_str()) } else { taken.contains(word) });
        match clash {
            Some(word) => refusal = Some((reason, format!("\"{word}\" is already in use"))),
            None => {
                accepted.insert(field.to_owned(), wanted.clone());
            }
        }
    }
    match spec_names.get("categories") {
        Some(categories) => accepted.insert("categories".to_owned(), categories.clone()),
        None => accepted.remove("categories"),
    };
    let mut conditions = status.get("conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    match &refusal {
        None => {
            set_condition(&mut conditions, "NamesAccepted", "True", "NoConflicts", "no conflicts found", now);
            set_condition(&mut conditions, "Established", "True", "InitialNamesAccepted", "the initial names have been accepted", now);
        }
        Some((reason, message)) => {
            set_condition(&mut conditions, "NamesAccepted", "False", reason, message, now);
            if !conditions.iter().any(|c| c["type"] == "Established") {
                let why = "not all names are accepted";
                set_condition(&mut conditions, "Established", "False", "NotAccepted", why, now);
            }
        }
    }
    let mut stored = strings(status.get("storedVersions"));
    let storage = crd.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten().find(|v| v["storage"] == true);
    if let Some(name) = storage.and_then(|v| v["name"].as_str())
        && !stored.iter().any(|s| s == name)
    {
        stored.push(name.to_owned());
    }
    let mut out = Map::new();
    out.insert("conditions".to_owned(), Value::Array(conditions));
    out.insert("acceptedNames".to_owned(), Value::Object(accepted));
    out.insert("storedVersions".to_owned(), json!(stored));
    status.retain(|key, _| !matches!(key.as_str(), "conditions" | "acceptedNames" | "storedVersions"));
    out.extend(status);
    Value::Object(out)
}

/// Sets a condition; its transition time moves only when its status does.
pub fn set_condition(conditions: &mut Vec<Value>, kind: &str, status: &str, reason: &str, message: &str, now: &str) {
    let fresh = json!({"type": kind, "status": status, "lastTransitionTime": now, "reason": reason, "message": message});
    match conditions.iter_mut().find(|c| c["type"] == kind) {
        Some(there) if there["status"] == status => {
            if there["reason"] != reason || there["message"] != message {
                there["reason"] = Value::from(reason);
                there["message"] = Value::from(message);
            }
        }
        Some(there) => *there = fresh,
        None => conditions.push(fresh),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_preferred_by_stability_then_number() {
        let mut versions = vec!["foo1", "v1", "v1alpha2", "v10", "v2beta1", "v11beta2", "foo10", "v1alpha1"];
        versions.sort_by(|a, b| compare_versions(b, a));
        assert_eq!(versions, ["v10", "v1", "v11beta2", "v2beta1", "v1alpha2", "v1alpha1", "foo1", "foo10"]);
    }

    fn crd(name: &str, kind: &str) -> Value {
        json!({"metadata": {"name": name}, "spec": {"group": "g.io", "scope": "Namespaced",
            "names": {"plural": name, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List")},
            "versions": [{"name": "v1", "served": true, "storage": true}]}})
    }

    #[test]
    fn a_name_that_is_taken_is_not_accepted() {
        let mut first = crd("a", "Thing");
        first["status"] = next_status(&first, &[], "2026-01-01T00:00:00Z");
        assert!(condition_holds(&first, "Established"));
        assert_eq!(resources(&first).len(), 1);
        let second = crd("b", "Thing");
        let status = next_status(&second, &[first], "2026-01-01T00:00:00Z");
        assert_eq!(status["conditions"][0]["status"], "False");
        // The last of several conflicts is told.
        assert_eq!(status["conditions"][0]["reason"], "ListKindConflict");
        assert_eq!(status["acceptedNames"]["plural"], "b");
        assert!(status["acceptedNames"].get("kind").is_none());
    }
}
