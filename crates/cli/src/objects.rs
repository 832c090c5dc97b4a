//! Reading fields of objects as they came from the server.

use object::{GroupVersionKind, ObjectKey};
use serde_json::{Map, Value};

/// The value at a path of keys; null when anything is missing.
pub fn at<'a>(object: &'a Value, path: &[&str]) -> &'a Value {
    static NULL: Value = Value::Null;
    path.iter().try_fold(object, |value, key| value.get(*key)).unwrap_or(&NULL)
}

/// The text at a path, empty when there is none.
pub fn text<'a>(object: &'a Value, path: &[&str]) -> &'a str {
    at(object, path).as_str().unwrap_or("")
}

pub fn name(object: &Value) -> &str {
    text(object, &["metadata", "name"])
}

pub fn namespace(object: &Value) -> &str {
    text(object, &["metadata", "namespace"])
}

/// Which object it is; its `Kind/namespace/name` is how Flux shows it.
pub fn key(object: &Value) -> ObjectKey {
    let GroupVersionKind { group, kind, .. } = GroupVersionKind::from_api_version(text(object, &["apiVersion"]), text(object, &["kind"]));
    ObjectKey { group, kind, namespace: namespace(object).to_owned(), name: name(object).to_owned() }
}

pub fn generation(object: &Value) -> i64 {
    at(object, &["metadata", "generation"]).as_i64().unwrap_or(0)
}

pub fn is_suspended(object: &Value) -> bool {
    at(object, &["spec", "suspend"]).as_bool().unwrap_or(false)
}

pub fn conditions(object: &Value) -> &[Value] {
    at(object, &["status", "conditions"]).as_array().map_or(&[], Vec::as_slice)
}

/// The condition of a type, if the object has it.
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    conditions(object).iter().find(|condition| text(condition, &["type"]) == kind)
}

/// `namespace` of a reference, or the object's own.
pub fn reference_namespace<'a>(object: &'a Value, reference: &'a Value) -> &'a str {
    match text(reference, &["namespace"]) {
        "" => namespace(object),
        given => given,
    }
}

/// Lays `from` over `into`, map by map; lists and scalars are replaced.
pub fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Object(old)), Value::Object(new)) => merge(old, new),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}
