//! Field managers whose fields are taken over, so that a field dropped from the source is dropped from the cluster.

use object::Object;
use serde_json::{Map, Value, json};

/// A manager's name prefix and what it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manager {
    pub prefix: String,
    pub operation: Operation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Apply,
    Update,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Operation::Apply => "Apply",
            Operation::Update => "Update",
        }
    }
}

/// Those that Flux always takes over, and `more` in both forms.
pub fn taken_over(more: &[String]) -> Vec<Manager> {
    let built_in = [
        ("kubectl", Operation::Apply),
        ("kubectl", Operation::Update),
        ("before-first-apply", Operation::Update),
        (crate::FIELD_MANAGER, Operation::Update),
    ];
    let given = more.iter().flat_map(|name| [(name.as_str(), Operation::Apply), (name.as_str(), Operation::Update)]);
    built_in.into_iter().chain(given).map(|(prefix, operation)| Manager { prefix: prefix.to_owned(), operation }).collect()
}

/// Annotations and labels of older tools, removed from live objects.
const OLD_ANNOTATIONS: &[&str] =
    &["kubectl.kubernetes.io/last-applied-configuration", "kustomize.toolkit.fluxcd.io/checksum", "fluxcd.io/sync-checksum"];
const OLD_LABELS: &[&str] = &["fluxcd.io/sync-gc-mark"];

pub(crate) fn entries(live: &Object) -> &[Value] {
    live.field(&["metadata", "managedFields"]).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text<'a>(entry: &'a Value, key: &str) -> &'a str {
    entry.get(key).and_then(Value::as_str).unwrap_or("")
}

/// The entry of our own applies to the object itself.
pub(crate) fn is_of(entry: &Value, manager: &str) -> bool {
    text(entry, "manager") == manager && text(entry, "operation") == "Apply" && text(entry, "subresource").is_empty()
}

/// The JSON patch that takes over the fields of `managers` and removes old annotations; `None` where nothing is to be done.
///
/// The patch names the resourceVersion that it was made from: the server refuses it when the object has moved on.
pub fn takeover(live: &Object, managers: &[Manager]) -> Option<Value> {
    let mut operations = Vec::new();
    if let Some(entries) = taken_entries(live, managers) {
        operations.push(json!({"op": "replace", "path": "/metadata/managedFields", "value": entries}));
    }
    for (map, keys) in [("annotations", OLD_ANNOTATIONS), ("labels", OLD_LABELS)] {
        for key in keys.iter().filter(|key| live.field(&["metadata", map, key]).is_some()) {
            operations.push(json!({"op": "remove", "path": format!("/metadata/{map}/{}", key.replace('~', "~0").replace('/', "~1"))}));
        }
    }
    if operations.is_empty() {
        return None;
    }
    let version = live.field(&["metadata", "resourceVersion"])?;
    operations.insert(0, json!({"op": "test", "path": "/metadata/resourceVersion", "value": version}));
    Some(Value::Array(operations))
}

/// Every managed field entry, with those of `managers` merged into ours; the first becomes ours when there is none.
fn taken_entries(live: &Object, managers: &[Manager]) -> Option<Vec<Value>> {
    let taken = |entry: &&Value| {
        !is_of(entry, crate::FIELD_MANAGER)
            && text(entry, "subresource").is_empty()
            && managers.iter().any(|m| text(entry, "manager").starts_with(&m.prefix) && text(entry, "operation") == m.operation.name())
    };
    let entries = entries(live);
    let mut merged = entries.iter().find(|entry| is_of(entry, crate::FIELD_MANAGER)).cloned();
    let before = merged.clone();
    for entry in entries.iter().filter(taken) {
        match &mut merged {
            None => {
                let mut entry = entry.clone();
                entry["manager"] = Value::from(crate::FIELD_MANAGER);
                entry["operation"] = Value::from("Apply");
                merged = Some(entry);
            }
            Some(ours) => {
                if let (Some(Value::Object(into)), Some(Value::Object(from))) = (ours.get_mut("fieldsV1"), entry.get("fieldsV1")) {
                    merge_fields(into, from);
                }
            }
        }
    }
    if !entries.iter().any(|entry| taken(&entry)) {
        return None;
    }
    let others = entries.iter().filter(|entry| !taken(entry) && Some(*entry) != before.as_ref()).cloned();
    Some(others.chain(merged).collect())
}

fn merge_fields(into: &mut Map<String, Value>, from: &Map<String, Value>) {
    for (key, value) in from {
        match (into.get_mut(key), value) {
            (Some(Value::Object(into)), Value::Object(from)) => merge_fields(into, from),
            (Some(_), _) => {}
            (None, value) => {
                into.insert(key.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(managed: Value) -> Object {
        Object::new(
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "resourceVersion": "7", "managedFields": managed}}),
        )
        .unwrap()
    }

    fn entry(manager: &str, operation: &str, field: &str) -> Value {
        json!({"manager": manager, "operation": operation, "fieldsV1": {"f:data": {field: {}}}})
    }

    #[test]
    fn fields_of_kubectl_become_ours() {
        let object = live(json!([
            entry("kustomize-controller", "Apply", "f:a"),
            entry("kubectl-edit", "Update", "f:b"),
            entry("tester", "Update", "f:c"),
        ]));
        let patch = takeover(&object, &taken_over(&[])).unwrap();
        assert_eq!(patch[0], json!({"op": "test", "path": "/metadata/resourceVersion", "value": "7"}));
        assert_eq!(
            patch[1]["value"],
            json!([entry("tester", "Update", "f:c"), {"manager": "kustomize-controller", "operation": "Apply", "fieldsV1": {"f:data": {"f:a": {}, "f:b": {}}}}])
        );
    }

    #[test]
    fn the_first_of_them_becomes_ours_when_we_have_none() {
        let object = live(json!([entry("kubectl-client-side-apply", "Update", "f:b"), entry("before-first-apply", "Update", "f:c")]));
        let patch = takeover(&object, &taken_over(&[])).unwrap();
        assert_eq!(
            patch[1]["value"],
            json!([{"manager": "kustomize-controller", "operation": "Apply", "fieldsV1": {"f:data": {"f:b": {}, "f:c": {}}}}])
        );
    }

    #[test]
    fn others_are_left_alone() {
        let mut status = entry("kubectl", "Update", "f:b");
        status["subresource"] = json!("status");
        let object = live(json!([entry("flux-client-side-apply", "Apply", "f:a"), status]));
        assert_eq!(takeover(&object, &taken_over(&[])), None);
        assert!(takeover(&object, &taken_over(&["flux-client-side-apply".to_owned()])).is_some());
    }
}
