//! Whether the objects of a release are as they were released. Watches tell; the server is asked only about what changed.

use crate::{
    objects::{self, Access, FIELD_MANAGER, Item},
    spec,
};
use api::{helm::HelmRelease, meta};
use cluster::PatchKind;
use object::Object;
use plan::{
    Live,
    drift::{Drift, compare_as},
    ignore,
};
use serde_json::{Value, json};

/// How one object differs from what was released.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Change {
    Removed,
    /// The JSON patch that brings it back.
    Changed(Vec<Value>),
}

/// The objects that differ, in the order of the manifest.
pub(crate) type Differences = Vec<(Item, Change)>;

/// The rules of the spec by which paths are left to others.
pub(crate) fn rules(this: &HelmRelease) -> Result<Vec<ignore::Rule>, String> {
    let given = this.spec.drift_detection.iter().flat_map(|drift| &drift.ignore);
    given
        .map(|rule| {
            let target = rule.target.clone().unwrap_or_default();
            let target = ignore::Target {
                group: target.group,
                version: target.version,
                kind: target.kind,
                name: target.name,
                namespace: target.namespace,
                label_selector: target.label_selector,
                annotation_selector: target.annotation_selector,
            };
            ignore::Rule::new(&target, &rule.paths).map_err(|error| error.to_string())
        })
        .collect()
}

/// Looks at every object of a release.
pub(crate) async fn look(access: &Access, items: &[Item], rules: &[ignore::Rule]) -> Result<Differences, String> {
    let mut found = Vec::new();
    for item in items {
        let object = &item.desired.object;
        if is_excluded(object) {
            continue;
        }
        if let Some(change) = look_at(access, item, &ignore::paths(rules, object)).await? {
            found.push((item.clone(), change));
        }
    }
    Ok(found)
}

fn is_excluded(object: &Object) -> bool {
    let says = |found: Option<&str>| found.is_some_and(|value| value.eq_ignore_ascii_case("disabled"));
    says(object.label(meta::HELM_DRIFT_DETECTION)) || says(object.annotation(meta::HELM_DRIFT_DETECTION))
}

async fn look_at(access: &Access, item: &Item, ignored: &[&str]) -> Result<Option<Change>, String> {
    let key = item.key();
    let live = match access.target.owned.live(key) {
        Live::Present(record) => {
            if record.settled == Some(item.desired.digest) {
                return Ok(None);
            }
            record.object.clone()
        }
        Live::Unseen | Live::Absent => None,
    };
    let live = match live {
        Some(live) => (*live).clone(),
        // It may have lost its labels, or be gone.
        None => match access.get(item.key(), &item.resource).await.map_err(|error| error.chain())? {
            Some(live) => live,
            None => return Ok(Some(Change::Removed)),
        },
    };
    if is_excluded(&live) {
        return Ok(None);
    }
    let version = live.field(&["metadata", "resourceVersion"]).and_then(Value::as_str).unwrap_or_default().to_owned();
    if compare_as(FIELD_MANAGER, &live, &item.desired.object, ignored) == Drift::Same {
        access.target.owned.settle(key, &version, item.desired.digest);
        return Ok(None);
    }
    let bytes = access.apply_raw(item, true).await.map_err(|error| format!("{key} dry-run failed: {}", error.chain()))?;
    let wanted = objects::read(&bytes).map_err(|error| error.chain())?;
    let patch = difference(&live, &wanted, ignored);
    if patch.is_empty() {
        access.target.owned.settle(key, &version, item.desired.digest);
        return Ok(None);
    }
    Ok(Some(Change::Changed(patch)))
}

/// The JSON patch from what lives to what a dry run answered: all but status and what the server keeps in metadata.
fn difference(live: &Object, wanted: &Object, ignored: &[&str]) -> Vec<Value> {
    let part = |object: &Object| {
        let mut value = Value::Object(object.as_map().clone());
        for path in ignored.iter().rev() {
            ignore::remove(&mut value, path);
        }
        let metadata = value.get_mut("metadata").map(Value::take).unwrap_or_default();
        if let Some(map) = value.as_object_mut() {
            map.shift_remove("status");
            let mut kept = serde_json::Map::new();
            for key in ["labels", "annotations"] {
                kept.insert(key.to_owned(), metadata.get(key).cloned().unwrap_or_else(|| json!({})));
            }
            map.insert("metadata".to_owned(), Value::Object(kept));
        }
        value
    };
    let mut patch = Vec::new();
    diff(&part(live), &part(wanted), &mut String::new(), &mut patch);
    patch
}

fn diff(from: &Value, to: &Value, path: &mut String, patch: &mut Vec<Value>) {
    match (from, to) {
        (Value::Object(from), Value::Object(to)) => {
            for (key, old) in from {
                let length = path.len();
                push_segment(path, key);
                match to.get(key) {
                    Some(new) => diff(old, new, path, patch),
                    None => patch.push(json!({"op": "remove", "path": path})),
                }
                path.truncate(length);
            }
            for (key, new) in to.iter().filter(|(key, _)| !from.contains_key(*key)) {
                let length = path.len();
                push_segment(path, key);
                patch.push(json!({"op": "add", "path": path, "value": new}));
                path.truncate(length);
            }
        }
        (Value::Array(from), Value::Array(to)) if from.len() == to.len() => {
            for (at, (old, new)) in from.iter().zip(to).enumerate() {
                let length = path.len();
                push_segment(path, &at.to_string());
                diff(old, new, path, patch);
                path.truncate(length);
            }
        }
        (from, to) if from == to => {}
        (_, to) => patch.push(json!({"op": "replace", "path": path, "value": to})),
    }
}

fn push_segment(path: &mut String, key: &str) {
    path.push('/');
    path.push_str(&key.replace('~', "~0").replace('/', "~1"));
}

/// What people are told of differences: one line an object. Values are not shown, they may be secret.
pub(crate) fn describe(differences: &Differences) -> String {
    let lines: Vec<String> = differences
        .iter()
        .map(|(item, change)| match change {
            Change::Removed => format!("{} removed", item.key()),
            Change::Changed(patch) => {
                let count = |op: &str| patch.iter().filter(|one| one["op"] == op).count();
                let (added, changed, removed) = (count("add"), count("replace"), count("remove"));
                format!("{} changed ({added} additions, {changed} changes, {removed} removals)", item.key())
            }
        })
        .collect();
    lines.join("\n")
}

/// Brings objects back; a line for each that was, and what went wrong.
pub(crate) async fn correct(access: &Access, differences: &Differences) -> (Vec<String>, Option<String>) {
    let mut done = Vec::new();
    let mut errors = Vec::new();
    for (item, change) in differences {
        let key = item.key();
        let result = match change {
            Change::Removed => {
                let body = serde_json::to_vec(&item.desired.object).unwrap_or_default();
                access.post(item, body).await.map(|()| format!("{key} created")).map_err(|error| format!("{key} creation failure: {error}"))
            }
            Change::Changed(patch) => {
                let body = serde_json::to_vec(patch).unwrap_or_default();
                let sent = access.client.patch(&item.resource, &key.namespace, &key.name, "", PatchKind::Json, FIELD_MANAGER, body).await;
                match sent {
                    Ok(bytes) => {
                        if let Ok(object) = objects::read(&bytes) {
                            access.target.owned.answered(object, item.desired.digest);
                        }
                        Ok(format!("{key} configured"))
                    }
                    Err(error) => Err(format!("{key} patch failure: {}", error.chain())),
                }
            }
        };
        match result {
            Ok(line) => done.push(line),
            Err(error) => errors.push(error),
        }
    }
    (done, (!errors.is_empty()).then(|| errors.join("\n")))
}

/// Whether anything is looked at at all.
pub(crate) fn is_on(this: &HelmRelease) -> bool {
    spec::drift_mode(this) != spec::DriftMode::Disabled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Object {
        Object::new(value).unwrap()
    }

    fn config(data: Value, labels: Value) -> Object {
        object(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "uid": "1", "labels": labels}, "data": data}))
    }

    #[test]
    fn a_patch_brings_back_what_was_released() {
        let live = config(json!({"a": "1", "b/c": "2", "more": "x"}), json!({"l": "1"}));
        let wanted = config(json!({"a": "9", "new": "y", "more": "x"}), json!({"l": "1"}));
        let patch = difference(&live, &wanted, &[]);
        assert_eq!(
            patch,
            [
                json!({"op": "replace", "path": "/data/a", "value": "9"}),
                json!({"op": "remove", "path": "/data/b~1c"}),
                json!({"op": "add", "path": "/data/new", "value": "y"}),
            ]
        );
        assert!(difference(&live, &wanted, &["/data"]).is_empty(), "an ignored path is left to others");
        assert!(difference(&live, &live, &[]).is_empty());
    }

    #[test]
    fn an_object_may_be_excluded_by_a_label_or_an_annotation_in_any_case() {
        let excluded = json!({meta::HELM_DRIFT_DETECTION: "Disabled"});
        assert!(is_excluded(&config(json!({}), excluded)));
        assert!(!is_excluded(&config(json!({}), json!({meta::HELM_DRIFT_DETECTION: "no"}))));
    }
}
