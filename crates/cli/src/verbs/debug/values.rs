//! The final values of a HelmRelease.

use super::data_of;
use crate::{
    builtin,
    objects::{self, merge},
    shell::{Context, Failure},
};
use serde_json::{Map, Value};
use yaml::Dialect;

/// `valuesFrom` in its order, then `values` over it.
pub async fn of_release(context: &Context, release: &Value) -> Result<Value, Failure> {
    let mut merged = Map::new();
    for reference in objects::at(release, &["spec", "valuesFrom"]).as_array().into_iter().flatten() {
        let part = from_reference(context, release, reference).await?;
        merge(&mut merged, part);
    }
    if let Value::Object(inline) = objects::at(release, &["spec", "values"]) {
        merge(&mut merged, inline.clone());
    }
    Ok(Value::Object(merged))
}

async fn from_reference(context: &Context, release: &Value, reference: &Value) -> Result<Map<String, Value>, Failure> {
    let text = |key| objects::text(reference, &[key]);
    let (kind, name, namespace) = (text("kind"), text("name"), objects::namespace(release));
    let optional = objects::at(reference, &["optional"]).as_bool().unwrap_or(false);
    let key = if text("valuesKey").is_empty() { "values.yaml" } else { text("valuesKey") };
    let resource = if kind == "Secret" { builtin::secrets() } else { builtin::config_maps() };
    let Some(object) = context.find_resource(&resource, namespace, name).await? else {
        if optional {
            return Ok(Map::new());
        }
        return Err(Failure::new(format!(
            "could not resolve {kind} chart values reference '{namespace}/{name}' with key '{key}': not found"
        )));
    };
    let Some(content) = data_of(kind, &object)?.remove(key) else {
        if optional {
            return Ok(Map::new());
        }
        return Err(Failure::new(format!(
            "could not resolve {kind} chart values reference '{namespace}/{name}' with key '{key}': missing key"
        )));
    };
    let target = text("targetPath");
    if !target.is_empty() {
        let literal = objects::at(reference, &["literal"]).as_bool().unwrap_or(false);
        return Ok(at_path(target, scalar(&content, literal)));
    }
    match yaml::to_json(&content, Dialect::Sigs) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(_) => Err(Failure::new(format!("the values in {kind} '{namespace}/{name}' under key '{key}' are not a map"))),
        // The text may be secret: only the place is said, never the content.
        Err(_) => Err(Failure::new(format!("cannot read values from {kind} '{namespace}/{name}' under key '{key}': invalid YAML"))),
    }
}

fn scalar(content: &str, literal: bool) -> Value {
    let content = content.trim_end_matches('\n');
    if literal {
        return Value::from(content);
    }
    match content.trim_matches(|c| c == '"' || c == '\'') {
        inner if inner.len() + 2 == content.len() => Value::from(inner),
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        "null" => Value::Null,
        text => text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from),
    }
}

/// A value under dotted keys; `\.` is a dot inside a key.
fn at_path(path: &str, value: Value) -> Map<String, Value> {
    let mut keys = vec![String::new()];
    let mut chars = path.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => keys.last_mut().into_iter().for_each(|key| key.extend(chars.next())),
            '.' => keys.push(String::new()),
            _ => keys.last_mut().into_iter().for_each(|key| key.push(c)),
        }
    }
    let nested = keys.into_iter().rev().fold(value, |inner, key| Value::Object(Map::from_iter([(key, inner)])));
    match nested {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn dotted_paths_nest_and_escaped_dots_do_not() {
        assert_eq!(Value::Object(at_path(r"a.b\.c.d", json!(1))), json!({"a": {"b.c": {"d": 1}}}));
    }

    #[test]
    fn scalars_are_typed_unless_quoted_or_literal() {
        assert_eq!((scalar("8080", false), scalar("'8080'", false), scalar("8080", true)), (json!(8080), json!("8080"), json!("8080")));
    }

    #[test]
    fn maps_merge_and_lists_replace() {
        let mut into = json!({"a": {"x": 1, "y": [1]}, "b": 1}).as_object().cloned().unwrap();
        merge(&mut into, json!({"a": {"y": [2]}, "b": {"c": 1}}).as_object().cloned().unwrap());
        assert_eq!(Value::Object(into), json!({"a": {"x": 1, "y": [2]}, "b": {"c": 1}}));
    }
}
