//! A Kubernetes object as data: its identity, its labels, its place in the apply order.
//!
//! ```text
//! Object (JSON) -> ObjectKey {group, kind, namespace, name}   identity
//!               -> GroupVersionKind                            type
//!               -> order                                       when to apply it
//! ```

mod key;
mod order;

pub use key::{GroupKind, GroupVersionKind, ObjectKey};
pub use order::{ApplyOrder, compare_for_apply};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A Kubernetes object: a JSON object with `apiVersion`, `kind` and `metadata.name`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Object(Map<String, Value>);

/// Why a value is no Kubernetes object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("not a Kubernetes object: expected a map, found {0}")]
    NotAMap(&'static str),
    #[error("not a Kubernetes object: {0} is missing or no string")]
    Missing(&'static str),
}

impl Object {
    /// Takes a value that has `apiVersion`, `kind` and `metadata` with `name` or `generateName`.
    pub fn new(value: Value) -> Result<Self, Error> {
        let map = match value {
            Value::Object(map) => map,
            Value::Null => return Err(Error::NotAMap("null")),
            Value::Array(_) => return Err(Error::NotAMap("a list")),
            _ => return Err(Error::NotAMap("a scalar")),
        };
        let object = Self(map);
        if object.api_version().is_empty() {
            return Err(Error::Missing("apiVersion"));
        }
        if object.kind().is_empty() {
            return Err(Error::Missing("kind"));
        }
        if object.name().is_empty() && object.meta_str("generateName").is_empty() {
            return Err(Error::Missing("metadata.name"));
        }
        Ok(object)
    }

    pub fn api_version(&self) -> &str {
        self.0.get("apiVersion").and_then(Value::as_str).unwrap_or("")
    }

    pub fn kind(&self) -> &str {
        self.0.get("kind").and_then(Value::as_str).unwrap_or("")
    }

    pub fn gvk(&self) -> GroupVersionKind {
        GroupVersionKind::from_api_version(self.api_version(), self.kind())
    }

    pub fn name(&self) -> &str {
        self.meta_str("name")
    }

    /// Empty for a cluster-scoped object, or one whose namespace is not set.
    pub fn namespace(&self) -> &str {
        self.meta_str("namespace")
    }

    pub fn key(&self) -> ObjectKey {
        let gvk = self.gvk();
        ObjectKey { group: gvk.group, kind: gvk.kind, namespace: self.namespace().to_owned(), name: self.name().to_owned() }
    }

    pub fn label(&self, key: &str) -> Option<&str> {
        self.meta_entry("labels", key)
    }

    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.meta_entry("annotations", key)
    }

    pub fn set_label(&mut self, key: &str, value: &str) {
        self.set_meta_entry("labels", key, value);
    }

    pub fn set_annotation(&mut self, key: &str, value: &str) {
        self.set_meta_entry("annotations", key, value);
    }

    pub fn set_namespace(&mut self, namespace: &str) {
        self.metadata_mut().insert("namespace".to_owned(), Value::from(namespace));
    }

    /// The field at a path of plain keys.
    pub fn field(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.0.get(*first)?, |at, key| at.get(*key))
    }

    pub fn metadata_mut(&mut self) -> &mut Map<String, Value> {
        child_map(&mut self.0, "metadata")
    }

    pub fn as_map(&self) -> &Map<String, Value> {
        &self.0
    }

    pub fn as_map_mut(&mut self) -> &mut Map<String, Value> {
        &mut self.0
    }

    pub fn into_value(self) -> Value {
        Value::Object(self.0)
    }

    fn meta_str(&self, key: &str) -> &str {
        self.field(&["metadata", key]).and_then(Value::as_str).unwrap_or("")
    }

    fn meta_entry(&self, map: &str, key: &str) -> Option<&str> {
        self.field(&["metadata", map])?.get(key)?.as_str()
    }

    fn set_meta_entry(&mut self, map: &str, key: &str, value: &str) {
        child_map(self.metadata_mut(), map).insert(key.to_owned(), Value::from(value));
    }
}

/// The map under `key`, made (or made anew over a non-map) when needed.
fn child_map<'a>(map: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let slot = map.entry(key).or_insert_with(|| Value::Object(Map::new()));
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    slot.as_object_mut().expect("it was made a map above")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_object_needs_type_and_name() {
        assert!(Object::new(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}})).is_ok());
        assert_eq!(Object::new(json!([])), Err(Error::NotAMap("a list")));
        assert_eq!(Object::new(json!({"kind": "ConfigMap"})), Err(Error::Missing("apiVersion")));
        assert_eq!(Object::new(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}})), Err(Error::Missing("metadata.name")));
    }

    #[test]
    fn labels_are_made_where_there_were_none() {
        let mut object = Object::new(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "labels": null}})).unwrap();
        object.set_label("k", "v");
        assert_eq!(object.label("k"), Some("v"));
    }
}
