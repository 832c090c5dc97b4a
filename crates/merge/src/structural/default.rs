//! Fills in the defaults of a schema.

use serde_json::Value;

use super::{Additional, Node};

/// Values nest no deeper than this.
const DEPTH_MAX: usize = 250;

/// Takes nulls out where there may be none, then adds what is absent and has a default.
pub fn apply_defaults(value: &mut Value, node: &Node) {
    drop_nulls(value, node, 0);
    fill(value, node, 0);
}

/// Adds what is absent and has a default, and lets nulls stay where they are.
pub fn fill_defaults(value: &mut Value, node: &Node) {
    fill(value, node, 0);
}

fn wrong_null(value: &Value, node: &Node) -> bool {
    value.is_null() && !node.nullable
}

fn drop_nulls(value: &mut Value, node: &Node, depth: usize) {
    if depth > DEPTH_MAX {
        return;
    }
    match value {
        Value::Object(map) => {
            map.retain(|key, child| !node.child(key).is_some_and(|below| wrong_null(child, below) && below.default.is_none()));
            for (key, child) in map {
                if let Some(below) = node.child(key) {
                    drop_nulls(child, below, depth + 1);
                }
            }
        }
        Value::Array(items) => {
            if let Some(below) = &node.items {
                items.iter_mut().for_each(|item| drop_nulls(item, below, depth + 1));
            }
        }
        _ => {}
    }
}

fn fill(value: &mut Value, node: &Node, depth: usize) {
    if depth > DEPTH_MAX {
        return;
    }
    match value {
        Value::Object(map) => {
            for (name, property) in &node.properties {
                if let Some(default) = &property.default
                    && map.get(name).is_none_or(|value| wrong_null(value, property))
                {
                    map.insert(name.clone(), default.clone());
                }
            }
            for (key, child) in map {
                if let Some(property) = node.property(key) {
                    fill(child, property, depth + 1);
                } else if let Additional::Node(values) = &node.additional {
                    fill_item(child, values, depth);
                }
            }
        }
        Value::Array(items) => {
            if let Some(below) = &node.items {
                items.iter_mut().for_each(|item| fill_item(item, below, depth));
            }
        }
        _ => {}
    }
}

fn fill_item(value: &mut Value, node: &Node, depth: usize) {
    if wrong_null(value, node)
        && let Some(default) = &node.default
    {
        *value = default.clone();
    }
    fill(value, node, depth + 1);
}
