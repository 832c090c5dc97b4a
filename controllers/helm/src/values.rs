//! The values of a release: references in their order, and what the spec says over them.

use api::helm::{HelmRelease, ValuesReference};
use base64::{Engine, prelude::BASE64_STANDARD};
use cluster::{Client, Resource};
use helm::{Data, SetMode, Table};
use serde_json::{Map, Value};

const DEFAULT_KEY: &str = "values.yaml";

/// Reads every reference and merges the values. The text of an error is shown on the HelmRelease; it holds no value.
pub(crate) async fn compose(client: &Client, this: &HelmRelease, namespace: &str) -> Result<Map<String, Value>, String> {
    let mut objects = Vec::with_capacity(this.spec.values_from.len());
    for reference in &this.spec.values_from {
        let resource = if reference.kind == "Secret" {
            Resource::namespaced("", "v1", "Secret", "secrets")
        } else {
            Resource::namespaced("", "v1", "ConfigMap", "configmaps")
        };
        objects.push(match client.get_as(&resource, namespace, &reference.name).await {
            Ok(object) => Found::Object(object),
            Err(error) if error.is_not_found() => Found::Nothing(error.chain()),
            Err(error) => Found::Failed(error.chain()),
        });
    }
    of_objects(this, namespace, &objects)
}

/// What there is behind a reference.
pub(crate) enum Found {
    Object(Value),
    /// There is none, in the words of whoever was asked.
    Nothing(String),
    Failed(String),
}

/// The same, once the object behind each reference is known.
pub(crate) fn of_objects(this: &HelmRelease, namespace: &str, objects: &[Found]) -> Result<Map<String, Value>, String> {
    let mut parts = Vec::with_capacity(objects.len());
    for (reference, found) in this.spec.values_from.iter().zip(objects) {
        let key = key_of(reference);
        let failed = |why: &str| {
            format!("could not resolve {} chart values reference '{namespace}/{}' with key '{key}': {why}", reference.kind, reference.name)
        };
        match found {
            Found::Object(object) => match text_of(reference, object) {
                Some(text) => parts.push((reference, text)),
                None if reference.optional => {}
                None => return Err(failed("key not found")),
            },
            Found::Nothing(_) if reference.optional => {}
            Found::Nothing(why) | Found::Failed(why) => return Err(failed(why)),
        }
    }
    merged(&parts, this.spec.values.as_ref(), namespace)
}

fn key_of(reference: &ValuesReference) -> &str {
    if reference.values_key.is_empty() { DEFAULT_KEY } else { &reference.values_key }
}

/// The text that a reference means in its object; `None` when that has no such key.
fn text_of(reference: &ValuesReference, object: &Value) -> Option<Vec<u8>> {
    let key = key_of(reference);
    let under = |part: &str| object.get(part).and_then(|data| data.get(key)).and_then(Value::as_str);
    if reference.kind != "Secret" {
        return under("data").map(|text| text.as_bytes().to_vec());
    }
    // What a Secret holds was encoded by the server; one of a file may hold it in the clear.
    let clear = under("stringData").map(|text| text.as_bytes().to_vec());
    clear.or_else(|| under("data").and_then(|text| BASE64_STANDARD.decode(text).ok()))
}

fn merged(parts: &[(&ValuesReference, Vec<u8>)], inline: Option<&Value>, namespace: &str) -> Result<Map<String, Value>, String> {
    let inline = match inline {
        Some(Value::Object(map)) => map.clone(),
        Some(Value::Null) | None => Map::new(),
        Some(_) => return Err("spec.values must be a map".to_owned()),
    };
    let mut values = Map::new();
    let mut inline_is_in = false;
    for (reference, bytes) in parts {
        let text = String::from_utf8_lossy(bytes);
        if reference.target_path.is_empty() {
            let read = read_map(&text).map_err(|why| {
                let (kind, name, key) = (&reference.kind, &reference.name, key_of(reference));
                format!("could not resolve {kind} chart values reference '{namespace}/{name}' with key '{key}': {why}")
            })?;
            merge(&mut values, read);
            continue;
        }
        // A path may lead into what the spec gives; the spec itself stands over it all the same, as recorded: hr-values-from-target-path-beats-inline.
        if !inline_is_in {
            merge(&mut values, inline.clone());
            inline_is_in = true;
        }
        values = set_at(values, reference, &text).map_err(|why| {
            let (kind, name, key) = (&reference.kind, &reference.name, key_of(reference));
            let path = &reference.target_path;
            format!("unable to merge value from key '{key}' in {kind} '{namespace}/{name}' into target path '{path}': {why}")
        })?;
    }
    merge(&mut values, inline);
    Ok(values)
}

fn read_map(text: &str) -> Result<Map<String, Value>, String> {
    let value = yaml::to_json(text, yaml::Dialect::Sigs)
        .map_err(|error| format!("error converting YAML to JSON: {}", error.go_message(yaml::Dialect::Sigs)))?;
    let what = match value {
        Value::Object(map) => return Ok(map),
        Value::Null => return Ok(Map::new()),
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
    };
    Err(format!("error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {what} into Go value of type common.Values"))
}

/// Maps are merged, everything else is replaced; a null stays, to take away a default of the chart.
fn merge(below: &mut Map<String, Value>, above: Map<String, Value>) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(Value::Object(below)), Value::Object(above)) => merge(below, above),
            (_, value) => drop(below.insert(key, value)),
        }
    }
}

/// Writes one value as `helm --set` would; in quotes it is a text, and a literal is taken as it stands.
fn set_at(values: Map<String, Value>, reference: &ValuesReference, text: &str) -> Result<Map<String, Value>, String> {
    let mut table = Table::from_json(&Value::Object(values)).unwrap_or_default();
    let path = &reference.target_path;
    if reference.literal {
        helm::set_literal(&mut table, &format!("{path}={text}"))?;
    } else {
        let quoted = |quote: char| text.len() > 1 && text.starts_with(quote) && text.ends_with(quote);
        if quoted('\'') || quoted('"') {
            let inner = text.trim_matches(['\'', '"']);
            helm::set(&mut table, &format!("{path}={inner}"), SetMode::Text)?;
        } else {
            helm::set(&mut table, &format!("{path}={text}"), SetMode::Typed)?;
        }
    }
    match Data::Table(table).to_json() {
        Value::Object(map) => Ok(map),
        _ => Err("the values are no map any more".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn reference(path: &str) -> ValuesReference {
        ValuesReference { kind: "ConfigMap".into(), name: "v".into(), target_path: path.into(), ..Default::default() }
    }

    fn of(parts: &[(&str, &str)], inline: Value) -> Result<Value, String> {
        let references: Vec<_> = parts.iter().map(|(path, _)| reference(path)).collect();
        let parts: Vec<_> = references.iter().zip(parts).map(|(reference, (_, text))| (reference, text.as_bytes().to_vec())).collect();
        merged(&parts, Some(&inline), "n").map(Value::Object)
    }

    #[test]
    fn later_references_stand_over_earlier_ones_and_the_spec_over_all() {
        let values = of(&[("", "a: {x: 1, w: [1, 2]}\nb: 1"), ("", "a: {w: [3]}\nb: null")], json!({"a": {"z": 3}})).unwrap();
        assert_eq!(values, json!({"a": {"x": 1, "w": [3], "z": 3}, "b": null}));
    }

    #[test]
    fn a_value_at_a_path_gets_the_type_that_set_gives_it_and_stands_under_the_spec() {
        let values = of(&[("a.b", "7"), ("a.c", "'7'"), ("a.d", "true")], json!({"a": {"b": 1, "x": 1}})).unwrap();
        assert_eq!(values, json!({"a": {"b": 1, "c": "7", "d": true, "x": 1}}));
    }

    #[test]
    fn a_literal_is_not_parsed() {
        let literal = ValuesReference { literal: true, ..reference("a") };
        let values = merged(&[(&literal, b"x,y={1}".to_vec())], None, "n").unwrap();
        assert_eq!(Value::Object(values), json!({"a": "x,y={1}"}));
    }

    #[test]
    fn errors_name_the_reference_and_no_value() {
        let error = of(&[("", "- secret")], json!({})).unwrap_err();
        assert_eq!(
            error,
            "could not resolve ConfigMap chart values reference 'n/v' with key 'values.yaml': error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array into Go value of type common.Values"
        );
        assert!(of(&[], json!([1])).is_err());
    }
}
