//! Takes out what a schema does not know, and tells where it was.

use serde_json::{Map, Value};

use super::{Additional, Node};
use crate::builtin;
use crate::schema::{Schema, TypeHandle, TypeId};

/// What pruning found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Paths of the fields that were taken out, sorted: `spec.x`, `spec.list[0].y`.
    pub unknown: Vec<String>,
}

impl Pruned {
    /// The strict decoding errors: `unknown field "spec.x"`.
    pub fn errors(&self) -> Vec<String> {
        self.unknown.iter().map(|path| format!("unknown field {path:?}")).collect()
    }
}

/// Values nest no deeper than this; JSON that does is cut off there.
const DEPTH_MAX: usize = 250;

/// Prunes a custom resource. Its type and metadata are checked by what every object has, not by its schema.
pub fn prune(object: &mut Value, node: &Node) -> Pruned {
    let mut pruner = Pruner { path: Vec::new(), unknown: Vec::new() };
    if let Value::Object(map) = object {
        if let Some(metadata) = map.get_mut("metadata") {
            pruner.metadata(metadata, "metadata");
        }
        // In the schema these would be what they always are.
        let held = ["apiVersion", "kind", "metadata"].map(|key| (key, map.shift_remove(key)));
        let mut rest = Value::Object(std::mem::take(map));
        pruner.value(&mut rest, Some(node), node.preserve_unknown);
        for (key, value) in held {
            if let Some(value) = value {
                map.insert(key.to_owned(), value);
            }
        }
        if let Value::Object(rest) = rest {
            map.extend(rest);
        }
    }
    pruner.unknown.sort();
    Pruned { unknown: pruner.unknown }
}

/// Prunes a value inside of an object; tells the paths of what was taken out.
pub fn prune_value(value: &mut Value, node: &Node) -> Vec<String> {
    let mut pruner = Pruner { path: Vec::new(), unknown: Vec::new() };
    pruner.value(value, Some(node), node.preserve_unknown);
    pruner.unknown
}

struct Pruner {
    path: Vec<String>,
    unknown: Vec<String>,
}

impl Pruner {
    fn record(&mut self, key: &str) {
        let mut path = self.path.concat();
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(key);
        self.unknown.push(path);
    }

    fn push(&mut self, key: &str) {
        let dot = if self.path.is_empty() { "" } else { "." };
        self.path.push(format!("{dot}{key}"));
    }

    fn metadata(&mut self, metadata: &mut Value, path: &str) {
        let Some(ty) = builtin::type_named("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta") else { return };
        self.push(path);
        self.typed(metadata, &ty, ty.id(), 0);
        self.path.pop();
    }

    /// Takes unknown fields out of a value of a built-in type.
    fn typed(&mut self, value: &mut Value, handle: &TypeHandle, id: TypeId, depth: usize) {
        let schema: &Schema = handle.schema();
        let ty = schema.get(id);
        if depth > DEPTH_MAX {
            return;
        }
        match value {
            Value::Object(map) => {
                let Some(known) = &ty.map else { return };
                self.keep(map, |key| known.type_of(key).is_some());
                for (key, child) in map {
                    if let Some(id) = known.type_of(key) {
                        self.push(key);
                        self.typed(child, handle, id, depth + 1);
                        self.path.pop();
                    }
                }
            }
            Value::Array(items) => {
                let Some(list) = &ty.list else { return };
                for (at, item) in items.iter_mut().enumerate() {
                    self.path.push(format!("[{at}]"));
                    self.typed(item, handle, list.element, depth + 1);
                    self.path.pop();
                }
            }
            _ => {}
        }
    }

    fn keep(&mut self, map: &mut Map<String, Value>, known: impl Fn(&str) -> bool) {
        let unknown: Vec<String> = map.keys().filter(|key| !known(key)).cloned().collect();
        for key in unknown {
            self.record(&key);
            map.shift_remove(&key);
        }
    }

    /// `keep_unknown`: this map, or list of maps, keeps what it has; what the schema does know is pruned all the same.
    fn value(&mut self, value: &mut Value, node: Option<&Node>, keep_unknown: bool) {
        if self.path.len() > DEPTH_MAX {
            *value = Value::Null;
            return;
        }
        match value {
            Value::Object(map) => self.map(map, node, keep_unknown),
            Value::Array(items) => {
                let of_items = node.and_then(|node| node.items.as_deref());
                if keep_unknown && of_items.is_none() {
                    return;
                }
                for (at, item) in items.iter_mut().enumerate() {
                    self.path.push(format!("[{at}]"));
                    self.value(item, of_items, keep_unknown || of_items.is_some_and(|node| node.preserve_unknown));
                    self.path.pop();
                }
            }
            _ => {}
        }
    }

    fn map(&mut self, map: &mut Map<String, Value>, node: Option<&Node>, keep_unknown: bool) {
        let embedded = node.is_some_and(|node| node.embedded);
        let meta = |key: &str| embedded && matches!(key, "apiVersion" | "kind" | "metadata");
        if !keep_unknown {
            self.keep(map, |key| meta(key) || node.is_some_and(|node| node.property(key).is_some() || has_additional(node)));
        }
        for (key, child) in map {
            if meta(key) {
                if key == "metadata" {
                    self.metadata(child, "metadata");
                }
                continue;
            }
            let (below, reached) = match node {
                Some(node) => match node.property(key) {
                    Some(property) => (Some(property), true),
                    None => match &node.additional {
                        Additional::Node(values) => (Some(values.as_ref()), true),
                        Additional::Any => (None, true),
                        _ => (None, false),
                    },
                },
                None => (None, false),
            };
            if reached {
                self.push(key);
                self.value(child, below, below.is_some_and(|node| node.preserve_unknown));
                self.path.pop();
            }
        }
    }
}

fn has_additional(node: &Node) -> bool {
    matches!(node.additional, Additional::Node(_) | Additional::Any)
}
