//! JSON merge patch (RFC 7396) as evanphx/json-patch v4 applies it.

use serde_json::{Map, Value};

use super::{DEPTH_MAX, Error};

/// Applies a merge patch to a document.
pub fn apply(document: &Value, patch: &Value) -> Result<Value, Error> {
    let bad = || Error::BadRequest("Invalid JSON Patch".to_owned());
    let what = match patch {
        Value::String(_) => "string",
        Value::Number(_) => "number",
        Value::Bool(_) => "bool",
        Value::Array(_) => "array",
        _ => "",
    };
    // The server decodes it into a map before it is applied.
    if !what.is_empty() {
        return Err(Error::BadRequest(format!(
            "error decoding patch: json: cannot unmarshal {what} into Go value of type map[string]interface {{}}"
        )));
    }
    match (document, patch) {
        (Value::Object(current), Value::Object(patch)) => {
            let mut out = current.clone();
            merge_maps(&mut out, patch, 0).ok_or_else(bad)?;
            Ok(Value::Object(out))
        }
        (_, Value::Object(_)) => without_nulls(patch, 0).ok_or_else(bad),
        _ => Err(bad()),
    }
}

/// None when the patch nests too deeply.
fn merge_maps(out: &mut Map<String, Value>, patch: &Map<String, Value>, depth: usize) -> Option<()> {
    if depth > DEPTH_MAX {
        return None;
    }
    for (key, value) in patch {
        match (out.get_mut(key), value) {
            (_, Value::Null) => {
                out.shift_remove(key);
            }
            (Some(Value::Object(current)), Value::Object(patch)) => merge_maps(current, patch, depth + 1)?,
            // A map is replaced by what is no map just as it is.
            (Some(slot @ Value::Object(_)), value) => *slot = value.clone(),
            (Some(slot), value) => *slot = without_nulls(value, depth)?,
            (None, value) => {
                out.insert(key.clone(), without_nulls(value, depth)?);
            }
        }
    }
    Some(())
}

/// Leaves out the null fields of maps, also of those in lists.
fn without_nulls(value: &Value, depth: usize) -> Option<Value> {
    if depth > DEPTH_MAX {
        return None;
    }
    Some(match value {
        Value::Object(map) => {
            let mut out = Map::new();
            for (key, value) in map.iter().filter(|(_, value)| !value.is_null()) {
                out.insert(key.clone(), without_nulls(value, depth + 1)?);
            }
            Value::Object(out)
        }
        Value::Array(items) => Value::Array(items.iter().map(|item| without_nulls(item, depth + 1)).collect::<Option<_>>()?),
        other => other.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_merge_patch_merges_maps_and_replaces_the_rest() {
        for (document, patch, result) in [
            (json!({"a": {"b": 1, "c": 2}}), json!({"a": {"b": null, "d": {"e": null}}}), json!({"a": {"c": 2, "d": {}}})),
            (json!({"a": [1]}), json!({"a": [{"b": null, "c": 1}, null]}), json!({"a": [{"c": 1}, null]})),
            (json!({"a": {"b": 1}}), json!({"a": "x"}), json!({"a": "x"})),
            (json!({"a": "x"}), json!({"a": {"b": null}}), json!({"a": {}})),
            (json!({"a": 1}), json!({}), json!({"a": 1})),
        ] {
            assert_eq!(apply(&document, &patch).unwrap(), result);
        }
        assert!(apply(&json!({}), &json!("x")).is_err());
        let deep = (0..1000).fold(json!(1), |below, _| Value::Object(Map::from_iter([("a".to_owned(), below)])));
        assert!(apply(&json!({}), &deep).is_err());
    }
}
