//! What applying the objects of a Kustomization would change: a server-side apply that is not kept.

use super::{
    builder::{self, Built, Request, Target, is_kustomization, is_same, local_path},
    mask,
};
use crate::{
    difference, discovery,
    objects::{self, at, text},
    shell::{Context, Failure},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use cluster::Apply;
use object::ApplyOrder;
use serde_json::{Map, Value};
use std::{collections::HashSet, future::Future, pin::Pin};

const MANAGER: &str = "kustomize-controller";
/// Labels or annotations that keep an object from being applied.
const EXCLUDED: &[(&str, &str)] = &[("kustomize.toolkit.fluxcd.io/reconcile", "disabled"), ("kustomize.toolkit.fluxcd.io/ssa", "ignore")];
const IF_NOT_PRESENT: &[(&str, &str)] = &[("kustomize.toolkit.fluxcd.io/ssa", "ifnotpresent")];
const FORCED: &[(&str, &str)] = &[("kustomize.toolkit.fluxcd.io/force", "enabled")];

/// What was found, and what could not be.
#[derive(Debug, Default)]
pub struct Report {
    pub text: String,
    pub changed: bool,
    pub errors: Vec<String>,
}

type Diffing<'a> = Pin<Box<dyn Future<Output = Report> + 'a>>;

pub fn diff<'a>(context: &'a Context, request: &'a Request, target: Target) -> Diffing<'a> {
    Box::pin(async move {
        let mut report = Report::default();
        match builder::build(context, request, target).await {
            Ok(built) => compare_all(context, request, &built, &mut report).await,
            Err(failure) => report.errors.push(failure.message),
        }
        report
    })
}

async fn compare_all(context: &Context, request: &Request, built: &Built, report: &mut Report) {
    let mut applied = HashSet::new();
    for object in &built.objects {
        let object = normal(object.clone());
        let subject = subject(&object);
        let change = match compare(context, &object).await {
            Ok(change) => change,
            // The others are worth seeing all the same.
            Err(failure) => {
                report.errors.push(failure.message);
                continue;
            }
        };
        let is_new = matches!(change, Change::Created);
        match change {
            Change::Skipped => report.text.push_str(&format!("► {subject} skipped\n")),
            Change::None => {}
            Change::Created => {
                report.text.push_str(&format!("► {subject} created\n"));
                report.changed = true;
            }
            Change::Drifted { live, merged } => {
                report.text.push_str(&format!("► {subject} drifted\n"));
                report.text.push_str(&difference::render(&difference::compare(&live, &merged)));
                report.changed = true;
            }
        }
        applied.insert(inventory_id(&object));
        if request.recursive && is_kustomization(&object) && !is_new && !is_same(&object, &built.kustomization) {
            descend(context, request, &object, report).await;
        }
    }
    if report.errors.is_empty() && at(&built.kustomization, &["spec", "prune"]).as_bool().unwrap_or(false) {
        for subject in stale(&built.kustomization, &applied) {
            report.text.push_str(&format!("► {subject} deleted\n"));
            report.changed = true;
        }
    }
}

async fn descend(context: &Context, request: &Request, inner: &Value, report: &mut Report) {
    let subject = subject(inner);
    if !at(inner, &["spec", "kubeConfig"]).is_null() {
        report.text.push_str(&format!("⚠️ {subject} skipped: diff not supported for remote clusters\n"));
        return;
    }
    let path = match local_path(request, inner) {
        Ok(path) => path,
        Err(failure) => return report.errors.push(failure.message),
    };
    let target =
        Target { name: objects::name(inner).to_owned(), namespace: objects::namespace(inner).to_owned(), path, file: None, given: None };
    let request = Request { ignore_not_found: false, ..request.clone() };
    let below = diff(context, &request, target).await;
    report.errors.extend(below.errors);
    if below.changed {
        report.changed = true;
        report.text.push_str(&format!("📁 {subject} changed\n{}", below.text));
    }
}

enum Change {
    None,
    Skipped,
    Created,
    Drifted { live: Value, merged: Value },
}

async fn compare(context: &Context, object: &Value) -> Result<Change, Failure> {
    let subject = subject(object);
    let (api_version, kind) = (text(object, &["apiVersion"]), text(object, &["kind"]));
    let no_match = || Failure::new(format!("{subject} dry-run failed: no matches for kind {kind:?} in version {api_version:?}"));
    let resource = discovery::find(context, api_version, kind).await.ok().flatten().ok_or_else(no_match)?;
    let (namespace, name) = (objects::namespace(object), objects::name(object));
    let live = context.find_resource(&resource, namespace, name).await.ok().flatten();
    if has_any(object, EXCLUDED) || live.as_ref().is_some_and(|live| has_any(live, EXCLUDED) || has_any(object, IF_NOT_PRESENT)) {
        return Ok(Change::Skipped);
    }
    let options = Apply { field_manager: MANAGER, force: true, dry_run: true, subresource: "" };
    let answer = context.client().await?.apply(&resource, namespace, name, object.to_string().into_bytes(), options).await;
    let mut merged: Value = match answer {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| Failure::new(error.to_string()))?,
        // It would be deleted and made anew.
        Err(cluster::Error::Api(status)) if status.reason == "Invalid" && has_any(object, FORCED) && live.is_some() => {
            return Ok(Change::Created);
        }
        Err(cluster::Error::Api(status)) if status.code == 404 => {
            return Err(Failure::new(format!("{subject} not found: {}", status.message)));
        }
        Err(cluster::Error::Api(status)) => {
            let reason = if status.reason.is_empty() { String::new() } else { format!(" ({})", status.reason) };
            return Err(Failure::new(format!("{subject} dry-run failed{reason}: {}", status.message)));
        }
        Err(error) => return Err(Failure::from(error).context(&format!("{subject} dry-run failed"))),
    };
    let Some(mut live) = live else { return Ok(Change::Created) };
    if text(&merged, &["metadata", "resourceVersion"]).is_empty() {
        return Ok(Change::Created);
    }
    if !has_drifted(&live, &merged) {
        return Ok(Change::None);
    }
    for state in [&mut live, &mut merged] {
        if let Some(metadata) = state.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
    }
    if kind == "Secret" {
        if mask::is_masked(object) && keys(&live) == keys(&merged) {
            return Ok(Change::None);
        }
        mask::both(&mut live, &mut merged);
    }
    Ok(Change::Drifted { live, merged })
}

fn keys(secret: &Value) -> Vec<&String> {
    at(secret, &["data"]).as_object().map(|data| data.keys().collect()).unwrap_or_default()
}

fn has_drifted(live: &Value, merged: &Value) -> bool {
    let pairs = |object: &Value, field: &str| at(object, &["metadata", field]).as_object().cloned().unwrap_or_default();
    let content = |object: &Value| {
        let mut fields = object.as_object().cloned().unwrap_or_default();
        fields.remove("metadata");
        fields.remove("status");
        fields
    };
    pairs(live, "labels") != pairs(merged, "labels")
        || pairs(live, "annotations") != pairs(merged, "annotations")
        || content(live) != content(merged)
}

fn has_any(object: &Value, wanted: &[(&str, &str)]) -> bool {
    let is = |field: &str, key: &str, value: &str| text(object, &["metadata", field, key]).eq_ignore_ascii_case(value);
    wanted.iter().any(|(key, value)| is("labels", key, value) || is("annotations", key, value))
}

/// The object as it is applied: the text of a Secret among its data.
fn normal(mut object: Value) -> Value {
    if text(&object, &["kind"]) != "Secret" || text(&object, &["apiVersion"]) != "v1" {
        return object;
    }
    let Some(fields) = object.as_object_mut() else { return object };
    if let Some(Value::Object(plain)) = fields.remove("stringData") {
        let data = fields.entry("data").or_insert_with(|| Value::Object(Map::new()));
        if let Some(data) = data.as_object_mut() {
            data.extend(plain.into_iter().map(|(key, value)| (key, STANDARD.encode(value.as_str().unwrap_or("")).into())));
        }
    }
    object
}

fn subject(object: &Value) -> String {
    name_of(text(object, &["kind"]), objects::namespace(object), objects::name(object))
}

fn name_of(kind: &str, namespace: &str, name: &str) -> String {
    if namespace.is_empty() { format!("{kind}/{name}") } else { format!("{kind}/{namespace}/{name}") }
}

/// `<namespace>_<name>_<group>_<kind>`, a colon in the name as `__`.
fn inventory_id(object: &Value) -> String {
    let group = text(object, &["apiVersion"]).split_once('/').map_or("", |(group, _)| group);
    format!("{}_{}_{group}_{}", objects::namespace(object), objects::name(object).replace(':', "__"), text(object, &["kind"]))
}

/// What the inventory holds and the build does not, in the order of application.
fn stale(kustomization: &Value, applied: &HashSet<String>) -> Vec<String> {
    let entries = at(kustomization, &["status", "inventory", "entries"]).as_array();
    let mut found: Vec<(ApplyOrder, String, String, String, String)> = entries
        .into_iter()
        .flatten()
        .map(|entry| text(entry, &["id"]))
        .filter(|id| !applied.contains(*id))
        .filter_map(|id| {
            let (rest, kind) = id.rsplit_once('_')?;
            let (rest, group) = rest.rsplit_once('_')?;
            let (namespace, name) = rest.split_once('_')?;
            Some((ApplyOrder::of_kind(kind), group.to_owned(), kind.to_owned(), namespace.to_owned(), name.replace("__", ":")))
        })
        .collect();
    found.sort();
    found.iter().map(|(_, _, kind, namespace, name)| name_of(kind, namespace, name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn stale_objects_are_those_of_the_inventory_that_are_not_built() {
        let kustomization = json!({"status": {"inventory": {"entries": [{"id": "ns_b__ConfigMap"}, {"id": "_x__Namespace"}, {"id": "ns_a__ConfigMap"}, {"id": "_a__b_rbac.authorization.k8s.io_ClusterRole"}]}}});
        let applied = HashSet::from(["ns_a__ConfigMap".to_owned()]);
        assert_eq!(stale(&kustomization, &applied), ["Namespace/x", "ClusterRole/a:b", "ConfigMap/ns/b"]);
    }

    #[test]
    fn a_status_is_no_drift() {
        let live = json!({"metadata": {"labels": {"a": "b"}, "resourceVersion": "1"}, "status": {"x": 1}, "data": {"k": "v"}});
        let mut merged = json!({"metadata": {"labels": {"a": "b"}}, "data": {"k": "v"}});
        assert!(!has_drifted(&live, &merged));
        merged["metadata"]["labels"] = json!({"a": "c"});
        assert!(has_drifted(&live, &merged));
    }
}
