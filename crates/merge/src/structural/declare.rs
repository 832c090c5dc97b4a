//! What rules are told of the values that they see: a schema as the types of expressions.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::{Additional, Node, Type, rules};
use crate::cel::{Declared, REQUEST_BYTES_MAX, Type as CelType, escape};

/// Compiles the rules of a schema and of all below it.
pub(super) fn compile_rules(schema: &Value, node: &mut Node, root: bool, depth: usize) {
    if depth > super::DEPTH_MAX {
        return;
    }
    let mut ruled = false;
    for (name, below) in &mut node.properties {
        if let Some(schema) = schema.get("properties").and_then(|properties| properties.get(&*name)) {
            compile_rules(schema, below, below.embedded, depth + 1);
            ruled |= below.ruled;
        }
    }
    if let (Some(schema), Some(below)) = (schema.get("items"), &mut node.items) {
        compile_rules(schema, below, below.embedded, depth + 1);
        ruled |= below.ruled;
    }
    if let (Some(schema), Additional::Node(below)) = (schema.get("additionalProperties"), &mut node.additional) {
        compile_rules(schema, below, below.embedded, depth + 1);
        ruled |= below.ruled;
    }
    let texts = schema.get("x-kubernetes-validations").and_then(Value::as_array).filter(|rules| !rules.is_empty());
    if let Some(texts) = texts {
        let declared = declared(node, root);
        node.rules = rules::compile(texts, declared.as_ref());
        node.bytes_min = declared.map_or(0, |declared| declared.bytes_min);
    }
    node.ruled = ruled || !node.rules.is_empty();
}

/// The type of a value of this schema; none when rules cannot see it.
pub(super) fn declared(node: &Node, root: bool) -> Option<Arc<Declared>> {
    let checks = &node.checks;
    let count = |given: Option<i64>, otherwise: u64| given.map_or(otherwise, |count| u64::try_from(count).unwrap_or(0));
    // The limit of a string is in characters, of which each may take four bytes.
    let length = |otherwise: u64| checks.max_length.map_or(otherwise, |length| u64::try_from(length).unwrap_or(0).saturating_mul(4));
    if node.int_or_string {
        return Some(Declared::scalar(CelType::Dyn, length(REQUEST_BYTES_MAX - 2), 1));
    }
    match node.ty {
        _ if root => Some(object(node, true)),
        Some(Type::Array) => {
            let items = node.items.as_ref()?;
            let element = declared(items, items.embedded)?;
            let fits = (REQUEST_BYTES_MAX - 2) / (element.bytes_min + 1);
            Some(Declared::list(element, count(checks.max_items, fits)))
        }
        Some(Type::Object) => match &node.additional {
            Additional::Node(values) => {
                let element = declared(values, values.embedded)?;
                let fits = (REQUEST_BYTES_MAX - 2) / (element.bytes_min + 6);
                Some(Declared::map(element, count(checks.max_properties, fits)))
            }
            _ => Some(object(node, false)),
        },
        Some(Type::String) => Some(match checks.format.as_str() {
            "byte" => Declared::scalar(CelType::Bytes, count(checks.max_length, REQUEST_BYTES_MAX - 2), 2),
            "duration" => Declared::scalar(CelType::Duration, 32, 3),
            "date" => Declared::scalar(CelType::Timestamp, 12, 12),
            "date-time" | "datetime" => Declared::scalar(CelType::Timestamp, 32, 21),
            _ => {
                let longest =
                    checks.enumeration.as_ref().map(|values| values.iter().filter_map(Value::as_str).map(str::len).max().unwrap_or(0));
                Declared::scalar(CelType::String, length(longest.map_or(REQUEST_BYTES_MAX - 2, |longest| longest as u64)), 2)
            }
        }),
        Some(Type::Boolean) => Some(Declared::scalar(CelType::Bool, 0, 4)),
        Some(Type::Number) => Some(Declared::scalar(CelType::Double, 0, 1)),
        Some(Type::Integer) => Some(Declared::scalar(CelType::Int, 0, 1)),
        None => None,
    }
}

fn object(node: &Node, root: bool) -> Arc<Declared> {
    let mut fields = BTreeMap::new();
    let mut bytes_min = 2;
    for (name, below) in &node.properties {
        if root && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
            continue;
        }
        let Some(declared) = declared(below, below.embedded) else { continue };
        if node.checks.required.contains(name) && below.default.is_none() {
            bytes_min += name.len() as u64 + declared.bytes_min + 4;
        }
        if let Some(escaped) = escape(name) {
            fields.insert(escaped, declared);
        }
    }
    if root {
        // Every object has these, whatever its schema says.
        let names = [("name", Declared::string()), ("generateName", Declared::string())];
        let metadata = names.into_iter().map(|(name, declared)| (name.to_owned(), declared)).collect();
        fields.insert("metadata".to_owned(), Declared::object("object", metadata, 2));
        fields.insert("apiVersion".to_owned(), Declared::string());
        fields.insert("kind".to_owned(), Declared::string());
    }
    Declared::object("object", fields, bytes_min)
}
