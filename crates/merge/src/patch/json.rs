//! JSON patch (RFC 6902) as evanphx/json-patch v4 reads it: negative indices, `replace` of an absent key adds it,
//! a missing `value` is null, a copy of nothing writes null. The texts of its errors are what users know.

use serde_json::{Map, Value};

use super::{Error, OPERATIONS_MAX};
use crate::gofmt;

/// All values that a patch copies may not take more than this many bytes.
const COPY_BYTES_MAX: usize = 3 << 20;

/// Applies a patch to a document.
pub fn apply(document: &Value, patch: &Value) -> Result<Value, Error> {
    let operations = read(patch)?;
    if operations.len() > OPERATIONS_MAX {
        return Err(Error::TooMany(operations.len()));
    }
    let mut root = document.clone();
    let mut copied = 0;
    for operation in operations {
        step(&mut root, operation, &mut copied).map_err(Error::Unprocessable)?;
    }
    Ok(root)
}

fn read(patch: &Value) -> Result<Vec<&Map<String, Value>>, Error> {
    let bad = |what: &Value, into: &str| {
        let kind = match what {
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            _ => "object",
        };
        Error::BadRequest(format!("error decoding patch: json: cannot unmarshal {kind} into Go value of type {into}"))
    };
    let items = match patch {
        Value::Null => return Ok(Vec::new()),
        Value::Array(items) => items,
        other => return Err(bad(other, "[]handlers.jsonPatchOp")),
    };
    items.iter().map(|item| item.as_object().ok_or_else(|| bad(item, "handlers.jsonPatchOp"))).collect()
}

fn step(root: &mut Value, operation: &Map<String, Value>, copied: &mut usize) -> Result<(), String> {
    let text = |key: &str| operation.get(key).and_then(Value::as_str);
    let value = || operation.get("value").cloned().unwrap_or(Value::Null);
    let kind = text("op").unwrap_or("unknown");
    let path_of = || text("path").ok_or_else(|| format!("{kind} operation failed to decode path: missing value"));
    let from_of =
        || text("from").ok_or_else(|| format!("{kind} operation failed to decode from: operation, missing from field: missing value"));
    match kind {
        "add" => {
            let path = path_of()?;
            let (container, key) =
                find(root, path).ok_or_else(|| format!("add operation does not apply: doc is missing path: \"{path}\": missing value"))?;
            add(container, &key, value()).map_err(|error| format!("error in add for path: '{path}': {error}"))
        }
        "remove" => {
            let path = path_of()?;
            let (container, key) = find(root, path)
                .ok_or_else(|| format!("remove operation does not apply: doc is missing path: \"{path}\": missing value"))?;
            remove(container, &key).map(|_| ()).map_err(|error| format!("error in remove for path: '{path}': {error}"))
        }
        "replace" => replace(root, path_of()?, value()),
        "move" => {
            let from = from_of()?;
            let (container, key) = find(root, from)
                .ok_or_else(|| format!("move operation does not apply: doc is missing from path: {from}: missing value"))?;
            get(container, &key).map_err(|error| format!("error in move for path: '{key}': {error}"))?;
            let moved = remove(container, &key).map_err(|error| format!("error in move for path: '{key}': {error}"))?;
            let path = path_of()?;
            let (container, key) = find(root, path)
                .ok_or_else(|| format!("move operation does not apply: doc is missing destination path: {path}: missing value"))?;
            add(container, &key, moved).map_err(|error| format!("error in move for path: '{path}': {error}"))
        }
        "copy" => {
            let from = from_of()?;
            let (container, key) = find(root, from)
                .ok_or_else(|| format!("copy operation does not apply: doc is missing from path: {from}: missing value"))?;
            let value =
                get(container, &key).map_err(|error| format!("error in copy for from: '{from}': {error}"))?.cloned().unwrap_or(Value::Null);
            *copied += size(&value);
            if *copied > COPY_BYTES_MAX {
                return Err(format!(
                    "Unable to complete the copy, the accumulated size increase of copy is {copied}, exceeding the limit {COPY_BYTES_MAX}"
                ));
            }
            let path = path_of()?;
            let (container, key) = find(root, path)
                .ok_or_else(|| format!("copy operation does not apply: doc is missing destination path: {path}: missing value"))?;
            add(container, &key, value).map_err(|error| format!("error while adding value during copy: {error}"))
        }
        "test" => test(root, path_of()?, operation.get("value")),
        other => Err(format!("Unexpected kind: {other}")),
    }
}

fn replace(root: &mut Value, path: &str, value: Value) -> Result<(), String> {
    if path.is_empty() {
        if !value.is_object() && !value.is_array() {
            return Err("replace operation value must be object or array: %!w(<nil>)".to_owned());
        }
        *root = value;
        return Ok(());
    }
    let (container, key) =
        find(root, path).ok_or_else(|| format!("replace operation does not apply: doc is missing path: {path}: missing value"))?;
    get(container, &key).map_err(|_| format!("replace operation does not apply: doc is missing key: {path}: missing value"))?;
    match container {
        Value::Object(map) => {
            map.insert(key, value);
        }
        Value::Array(items) => {
            let at = index(&key, items.len(), items.len())?;
            items[at] = value;
        }
        _ => {}
    }
    Ok(())
}

fn test(root: &mut Value, path: &str, expected: Option<&Value>) -> Result<(), String> {
    let failed = || format!("testing value {path} failed: test failed");
    if path.is_empty() {
        return if Some(&*root) == expected { Ok(()) } else { Err(failed()) };
    }
    let (container, key) =
        find(root, path).ok_or_else(|| format!("test operation does not apply: is missing path: {path}: missing value"))?;
    let value = get(container, &key).map_err(|error| format!("error in test for path: '{path}': {error}"))?;
    let null = |value: Option<&Value>| value.is_none_or(Value::is_null);
    match (value, expected) {
        (value, expected) if null(value) && null(expected) => Ok(()),
        (Some(value), Some(expected)) if value == expected => Ok(()),
        _ => Err(failed()),
    }
}

/// The container that the last step of a path is taken in, and that step.
fn find<'v>(root: &'v mut Value, path: &str) -> Option<(&'v mut Value, String)> {
    // What is before the first slash is never looked at.
    let (_, path) = path.split_once('/')?;
    let (parents, last) = path.rsplit_once('/').map_or((None, path), |(parents, last)| (Some(parents), last));
    let mut at = root;
    for part in parents.into_iter().flat_map(|parents| parents.split('/')) {
        at = match at {
            Value::Object(map) => map.get_mut(&unescape(part))?,
            Value::Array(items) => {
                let len = items.len();
                items.get_mut(index(&unescape(part), len, len).ok()?)?
            }
            _ => return None,
        };
    }
    (at.is_object() || at.is_array()).then(|| (at, unescape(last)))
}

fn unescape(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

fn invalid_index(index: i64) -> String {
    format!("Unable to access invalid index: {index}: invalid index referenced")
}

/// Reads an index that must lie before `end`; negative ones count from `len`.
fn index(key: &str, len: usize, end: usize) -> Result<usize, String> {
    let number: i64 = key.parse().map_err(|_| format!("strconv.Atoi: parsing {}: invalid syntax", gofmt::quote(key)))?;
    let at = if number < 0 { number + len as i64 } else { number };
    usize::try_from(at).ok().filter(|at| *at < end).ok_or_else(|| invalid_index(number))
}

fn get<'v>(container: &'v Value, key: &str) -> Result<Option<&'v Value>, String> {
    match container {
        Value::Array(items) => Ok(items.get(index(key, items.len(), items.len())?)),
        other => Ok(other.get(key)),
    }
}

fn add(container: &mut Value, key: &str, value: Value) -> Result<(), String> {
    match container {
        Value::Array(items) if key == "-" => items.push(value),
        Value::Array(items) => {
            let len = items.len() + 1;
            let at = index(key, len, len).map_err(|error| match key.parse::<i64>() {
                Ok(_) => error,
                Err(_) => format!("value was not a proper array index: '{key}': {error}"),
            })?;
            items.insert(at, value);
        }
        Value::Object(map) => {
            map.insert(key.to_owned(), value);
        }
        _ => {}
    }
    Ok(())
}

fn remove(container: &mut Value, key: &str) -> Result<Value, String> {
    match container {
        Value::Array(items) => {
            let at = index(key, items.len(), items.len())?;
            Ok(items.remove(at))
        }
        Value::Object(map) => map.shift_remove(key).ok_or_else(|| format!("Unable to remove nonexistent key: {key}: missing value")),
        _ => Ok(Value::Null),
    }
}

/// About as many bytes as the value takes in JSON.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 2,
        Value::Array(items) => 2 + items.iter().map(|item| size(item) + 1).sum::<usize>(),
        Value::Object(map) => 2 + map.iter().map(|(key, value)| key.len() + 4 + size(value)).sum::<usize>(),
        _ => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn operations_do_what_the_server_does() {
        let document = json!({"a": {"b": 1, "n": null}, "l": [1, 2, 3], "x/y": 1, "~": 2});
        for (patch, result) in [
            (
                json!([{"op": "add", "path": "/a/c", "value": 2}]),
                json!({"a": {"b": 1, "n": null, "c": 2}, "l": [1, 2, 3], "x/y": 1, "~": 2}),
            ),
            (json!([{"op": "add", "path": "/l/1", "value": 9}]), json!({"a": {"b": 1, "n": null}, "l": [1, 9, 2, 3], "x/y": 1, "~": 2})),
            (json!([{"op": "add", "path": "/l/-", "value": 9}]), json!({"a": {"b": 1, "n": null}, "l": [1, 2, 3, 9], "x/y": 1, "~": 2})),
            (json!([{"op": "add", "path": "/l/-1", "value": 9}]), json!({"a": {"b": 1, "n": null}, "l": [1, 2, 3, 9], "x/y": 1, "~": 2})),
            (json!([{"op": "remove", "path": "/l/-1"}]), json!({"a": {"b": 1, "n": null}, "l": [1, 2], "x/y": 1, "~": 2})),
            (
                json!([{"op": "replace", "path": "/new", "value": 1}]),
                json!({"a": {"b": 1, "n": null}, "l": [1, 2, 3], "x/y": 1, "~": 2, "new": 1}),
            ),
            (
                json!([{"op": "replace", "path": "/x~1y", "value": 5}, {"op": "remove", "path": "/~0"}]),
                json!({"a": {"b": 1, "n": null}, "l": [1, 2, 3], "x/y": 5}),
            ),
            (json!([{"op": "move", "from": "/a/b", "path": "/l/0"}]), json!({"a": {"n": null}, "l": [1, 1, 2, 3], "x/y": 1, "~": 2})),
            (
                json!([{"op": "copy", "from": "/l", "path": "/a/b"}]),
                json!({"a": {"b": [1, 2, 3], "n": null}, "l": [1, 2, 3], "x/y": 1, "~": 2}),
            ),
            (json!([{"op": "test", "path": "/none"}, {"op": "test", "path": "/a/n", "value": null}]), document.clone()),
        ] {
            assert_eq!(apply(&document, &patch).unwrap(), result, "{patch}");
        }
    }

    #[test]
    fn refusals_speak_as_the_server() {
        let document = json!({"a": {"b": 1}, "l": [1]});
        for (patch, text) in [
            (
                json!([{"op": "remove", "path": "/a/c"}]),
                "error in remove for path: '/a/c': Unable to remove nonexistent key: c: missing value",
            ),
            (
                json!([{"op": "add", "path": "/x/y", "value": 1}]),
                "add operation does not apply: doc is missing path: \"/x/y\": missing value",
            ),
            (json!([{"op": "test", "path": "/a/b", "value": 2}]), "testing value /a/b failed: test failed"),
            (
                json!([{"op": "replace", "path": "/l/3", "value": 2}]),
                "replace operation does not apply: doc is missing key: /l/3: missing value",
            ),
            (
                json!([{"op": "add", "path": "/l/x", "value": 2}]),
                "error in add for path: '/l/x': value was not a proper array index: 'x': strconv.Atoi: parsing \"x\": invalid syntax",
            ),
            (
                json!([{"op": "add", "path": "/l/5", "value": 2}]),
                "error in add for path: '/l/5': Unable to access invalid index: 5: invalid index referenced",
            ),
            (json!([{"op": "jump", "path": "/l/5"}]), "Unexpected kind: jump"),
            (json!([{"path": "/l/5"}]), "Unexpected kind: unknown"),
        ] {
            assert_eq!(apply(&document, &patch), Err(Error::Unprocessable(text.to_owned())));
        }
        assert_eq!(
            apply(&document, &json!({})),
            Err(Error::BadRequest(
                "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp".to_owned()
            ))
        );
        let doubling: Vec<_> = (0..64).map(|_| json!({"op": "copy", "from": "/l", "path": "/l/-"})).collect();
        assert!(apply(&json!({"l": ["x"]}), &Value::Array(doubling)).is_err(), "a patch that doubles its document is stopped");
    }
}
