//! Strategic merge patch: lists merge by the key that the schema names, and directives say what a merge cannot.
//!
//! Follows apimachinery's `strategicpatch` as the API server calls it (deletion lists applied, unmatched nulls ignored).

use serde_json::{Map, Value};

use super::{DEPTH_MAX, Error};
use crate::gofmt;
use crate::managed::equal;
use crate::schema::{Patch, Schema, TypeHandle, TypeId};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList";
const SET_ORDER: &str = "$setElementOrder";

type Json = Map<String, Value>;

/// Applies a strategic merge patch to an object of a built-in kind.
pub fn apply(document: &Value, patch: &Value, ty: &TypeHandle) -> Result<Value, Error> {
    let map = |value: &Value| value.as_object().cloned().ok_or_else(|| Error::BadRequest("invalid JSON document".to_owned()));
    let merger = Merger { schema: ty.schema() };
    merger.merge_map(map(document)?, map(patch)?, ty.id(), 0).map(Value::Object)
}

fn bad(text: &str) -> Error {
    Error::BadRequest(text.to_owned())
}

fn bad_list_of(prefix: &str) -> Error {
    bad(if prefix == DELETE_FROM { "invalid patch format of primitive list" } else { "invalid patch format of setElementOrder list" })
}

fn no_merge_key(map: &Json, key: &str) -> Error {
    Error::Internal(format!("map: {} does not contain declared merge key: {key}", gofmt::plain(&Value::Object(map.clone()))))
}

fn bad_argument(expected: &str, actual: &Value) -> Error {
    Error::Internal(format!("expected a {expected}, but received a {}", gofmt::type_name(actual)))
}

/// Same Go type: what decides whether two values can be merged at all.
fn same_kind(a: &Value, b: &Value) -> bool {
    gofmt::type_name(a) == gofmt::type_name(b)
}

struct Merger<'s> {
    schema: &'s Schema,
}

impl Merger<'_> {
    fn lookup(&self, ty: TypeId, key: &str) -> Result<(TypeId, Patch), Error> {
        let found = self.schema.get(ty);
        let Some(map) = &found.map else {
            return Err(Error::Internal("merging an object in json but data type is not struct".to_owned()));
        };
        if let Some(field) = map.field(key) {
            return Ok((field.ty, field.patch.clone()));
        }
        let missing = || Error::Internal(format!("unable to find api field in struct {} for the json field {key:?}", found.short_name()));
        map.element.map(|element| (element, Patch::default())).ok_or_else(missing)
    }

    fn lookup_list(&self, ty: TypeId, key: &str) -> Result<(TypeId, Patch), Error> {
        let (ty, patch) = self.lookup(ty, key)?;
        match &self.schema.get(ty).list {
            Some(list) => Ok((list.element, patch)),
            None => Err(Error::Internal("expected slice or array type, but got: struct".to_owned())),
        }
    }

    fn merge_map(&self, mut original: Json, mut patch: Json, ty: TypeId, depth: usize) -> Result<Json, Error> {
        if depth > DEPTH_MAX {
            return Err(bad("the patch is nested too deeply"));
        }
        if let Some(directive) = patch.get(PATCH) {
            return match directive.as_str() {
                Some("replace") => {
                    patch.shift_remove(PATCH);
                    Ok(patch)
                }
                Some("delete") => Ok(Json::new()),
                _ => Err(Error::Internal(format!(
                    "unknown patch type: {} in map: {}",
                    gofmt::plain(directive),
                    gofmt::plain(&Value::Object(patch.clone()))
                ))),
            };
        }
        retain_keys(&mut original, &mut patch)?;
        self.set_element_order(&mut original, &mut patch, ty, depth)?;
        for (key, value) in patch {
            let deletes = key.starts_with(DELETE_FROM);
            let key = if deletes { directive_target(&key, DELETE_FROM)? } else { key };
            if value.is_null() {
                original.shift_remove(&key);
                continue;
            }
            match original.get_mut(&key) {
                Some(current) if same_kind(current, &value) => {
                    let merged = self.merge_value(std::mem::take(current), value, ty, &key, deletes, depth)?;
                    match merged {
                        Some(merged) => *current = merged,
                        None => {
                            original.shift_remove(&key);
                        }
                    }
                }
                _ if deletes => {}
                _ => match without_directives(without_nulls(value)) {
                    Some(value) => {
                        original.insert(key, value);
                    }
                    None => {
                        original.shift_remove(&key);
                    }
                },
            }
        }
        Ok(original)
    }

    fn merge_value(
        &self,
        current: Value,
        patch: Value,
        ty: TypeId,
        key: &str,
        deletes: bool,
        depth: usize,
    ) -> Result<Option<Value>, Error> {
        match (current, patch) {
            (Value::Object(current), Value::Object(patch)) => {
                let (ty, meta) = self.lookup(ty, key)?;
                if meta.replace {
                    return Ok(Some(Value::Object(patch)));
                }
                self.merge_map(current, patch, ty, depth + 1).map(|map| Some(Value::Object(map)))
            }
            (Value::Array(current), Value::Array(patch)) => {
                let (element, meta) = self.lookup_list(ty, key)?;
                if !meta.merge && !deletes {
                    return Ok(Some(Value::Array(patch)));
                }
                self.merge_list(current, patch, element, meta.merge_key.as_deref(), deletes, depth).map(|list| Some(Value::Array(list)))
            }
            (_, patch) => Ok(without_directives(patch)),
        }
    }

    fn merge_list(
        &self,
        original: Vec<Value>,
        patch: Vec<Value>,
        element: TypeId,
        merge_key: Option<&str>,
        deletes: bool,
        depth: usize,
    ) -> Result<Vec<Value>, Error> {
        if original.is_empty() && patch.is_empty() {
            return Ok(original);
        }
        if !check_elements(&original, &patch)? {
            if deletes {
                return Ok(original.into_iter().filter(|item| !patch.iter().any(|gone| equal(gone, item))).collect());
            }
            let merged = deduplicate(original.iter().chain(&patch).cloned());
            return order_list(merged, &patch, &original, merge_key);
        }
        let Some(key) = merge_key else {
            return Err(Error::Internal("cannot merge lists without merge key for struct".to_owned()));
        };
        let (original, patch) = special_elements(original, patch, key)?;
        let mut merged = original.clone();
        for item in &patch {
            let Value::Object(item) = item else { return Err(bad_argument("map[string]interface {}", item)) };
            let wanted = item.get(key).ok_or_else(|| no_merge_key(item, key))?;
            match find_by_key(&merged, key, wanted)? {
                Some(at) => {
                    let Value::Object(current) = std::mem::take(&mut merged[at]) else { continue };
                    merged[at] = Value::Object(self.merge_map(current, item.clone(), element, depth + 1)?);
                }
                None => merged.push(Value::Object(item.clone())),
            }
        }
        order_list(merged, &patch, &original, Some(key))
    }

    /// Carries out `$setElementOrder/KEY`, merging the list that it speaks of on the way.
    fn set_element_order(&self, original: &mut Json, patch: &mut Json, ty: TypeId, depth: usize) -> Result<(), Error> {
        let keys: Vec<String> = patch.keys().filter(|key| key.starts_with(SET_ORDER)).cloned().collect();
        for directive in keys {
            let Some(order) = patch.shift_remove(&directive) else { continue };
            let Value::Array(order) = order else { return Err(bad_argument("[]interface {}", &order)) };
            let key = directive_target(&directive, SET_ORDER)?;
            let list = |value: Option<&Value>| match value {
                None => Ok(None),
                Some(Value::Array(items)) => Ok(Some(items.clone())),
                Some(other) => Err(bad_argument("[]interface {}", other)),
            };
            let (current, change) = (list(original.get(&key))?, list(patch.get(&key))?);
            let (element, meta) = self.lookup_list(ty, &key)?;
            let merge_key = meta.merge_key.as_deref();
            check_order(change.as_deref().unwrap_or_default(), &order, merge_key)?;
            let server_order = current.clone().unwrap_or_default();
            let merged = match (current, change) {
                (Some(current), None) => current,
                (None, Some(change)) => match without_directives(Value::Array(change)) {
                    Some(Value::Array(items)) => items,
                    _ => continue,
                },
                (Some(current), Some(change)) if meta.merge => self.merge_list(current, change, element, merge_key, false, depth)?,
                (Some(_), Some(change)) => change,
                (None, None) => continue,
            };
            patch.shift_remove(&key);
            original.insert(key, Value::Array(order_list(merged, &order, &server_order, merge_key)?));
        }
        Ok(())
    }
}

/// The key of `$setElementOrder/key`.
fn directive_target(directive: &str, prefix: &str) -> Result<String, Error> {
    match directive.split_once('/') {
        Some((head, key)) if head == prefix => Ok(key.to_owned()),
        _ => Err(bad_list_of(prefix)),
    }
}

fn retain_keys(original: &mut Json, patch: &mut Json) -> Result<(), Error> {
    let Some(keys) = patch.shift_remove(RETAIN_KEYS) else { return Ok(()) };
    let wrong = || bad("invalid patch format of retainKeys");
    let keys = keys.as_array().ok_or_else(wrong)?;
    let kept = |key: &str| keys.iter().any(|one| one.as_str() == Some(key));
    let stray =
        |(key, value): (&String, &Value)| !value.is_null() && !key.starts_with(DELETE_FROM) && !key.starts_with(SET_ORDER) && !kept(key);
    if patch.iter().any(stray) {
        return Err(wrong());
    }
    original.retain(|key, _| kept(key));
    Ok(())
}

/// Whether the elements of both lists are maps; mixed ones and lists of lists are refused.
fn check_elements(original: &[Value], patch: &[Value]) -> Result<bool, Error> {
    let mut first: Option<&Value> = None;
    for item in original.iter().chain(patch) {
        match first {
            None if item.is_array() => return Err(Error::Unprocessable("lists of lists are not supported".to_owned())),
            None => first = Some(item),
            Some(first) if !same_kind(first, item) => {
                let text = format!("[{} {}]", gofmt::plain(&Value::Array(original.to_vec())), gofmt::plain(&Value::Array(patch.to_vec())));
                return Err(Error::Internal(format!("list element types are not identical: {text}")));
            }
            Some(_) => {}
        }
    }
    Ok(first.is_some_and(Value::is_object))
}

/// Carries out `$patch: delete` and `$patch: replace` among the elements of a list.
fn special_elements(mut original: Vec<Value>, patch: Vec<Value>, key: &str) -> Result<(Vec<Value>, Vec<Value>), Error> {
    let mut rest = Vec::with_capacity(patch.len());
    let mut replace = false;
    for item in patch {
        let Some(map) = item.as_object() else { return Err(bad_argument("map[string]interface {}", &item)) };
        match map.get(PATCH) {
            None => rest.push(item),
            Some(directive) => match directive.as_str() {
                Some("delete") => {
                    let gone = map.get(key).ok_or_else(|| no_merge_key(map, key))?;
                    original.retain(|item| item.get(key).is_none_or(|value| !equal(value, gone)));
                }
                Some("replace") => replace = true,
                Some("merge") => return Err(Error::Internal("merging lists cannot yet be specified in the patch".to_owned())),
                _ => {
                    return Err(Error::Internal(format!(
                        "unknown patch type: {} in map: {}",
                        gofmt::plain(directive),
                        gofmt::plain(&item)
                    )));
                }
            },
        }
    }
    Ok(if replace { (rest, Vec::new()) } else { (original, rest) })
}

fn find_by_key(items: &[Value], key: &str, wanted: &Value) -> Result<Option<usize>, Error> {
    for (at, item) in items.iter().enumerate() {
        let Some(map) = item.as_object() else { return Err(Error::Internal(format!("value for key {at} is not a map"))) };
        if map.get(key).is_some_and(|value| equal(value, wanted)) {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// The order of a patched list may not contradict `$setElementOrder`.
fn check_order(patch: &[Value], order: &[Value], merge_key: Option<&str>) -> Result<(), Error> {
    if patch.is_empty() || order.is_empty() {
        return Ok(());
    }
    let changed: Vec<&Value> = patch.iter().filter(|item| item.get(PATCH).is_none()).collect();
    let mut at = 0;
    for place in order {
        let Some(item) = changed.get(at) else { break };
        if same_item(item, place, merge_key)? {
            at += 1;
        }
    }
    if at < changed.len() {
        let text = |list: &[Value]| gofmt::plain(&Value::Array(list.to_vec()));
        return Err(Error::Internal(format!(
            "The order in patch list:\n{}\n doesn't match {SET_ORDER} list:\n{}\n",
            text(patch),
            text(order)
        )));
    }
    Ok(())
}

fn same_item(a: &Value, b: &Value, merge_key: Option<&str>) -> Result<bool, Error> {
    let Some(key) = merge_key else { return Ok(equal(a, b)) };
    let field = |value: &Value| match value {
        Value::Object(map) => map.get(key).cloned().ok_or_else(|| no_merge_key(map, key)),
        other => Err(bad_argument("map[string]interface {}", other)),
    };
    Ok(equal(&field(a)?, &field(b)?))
}

/// Puts the elements that the patch names in its order, the others in the server's, and lays them together so that
/// the server's order decides where both are known.
fn order_list(merged: Vec<Value>, patch_order: &[Value], server_order: &[Value], merge_key: Option<&str>) -> Result<Vec<Value>, Error> {
    let place = |list: &[Value], item: &Value| -> Result<Option<usize>, Error> {
        for (at, other) in list.iter().enumerate() {
            if same_item(other, item, merge_key)? {
                return Ok(Some(at));
            }
        }
        Ok(None)
    };
    let (mut named, mut others) = (Vec::new(), Vec::new());
    for item in merged {
        let in_server = place(server_order, &item)?;
        match place(patch_order, &item)? {
            Some(at) => named.push((at, in_server, item)),
            None => others.push((in_server.unwrap_or(usize::MAX), in_server, item)),
        }
    }
    named.sort_by_key(|(at, _, _)| *at);
    others.sort_by_key(|(at, _, _)| *at);
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    let mut out = Vec::with_capacity(named.len() + others.len());
    while named.peek().is_some() || others.peek().is_some() {
        let take_other = match (others.peek(), named.peek()) {
            (Some((_, Some(left), _)), Some((_, Some(right), _))) => left < right,
            (Some(_), None) => true,
            _ => false,
        };
        out.extend(if take_other { others.next() } else { named.next() }.map(|(_, _, item)| item));
    }
    Ok(out)
}

fn deduplicate(items: impl Iterator<Item = Value>) -> Vec<Value> {
    let mut out: Vec<Value> = Vec::new();
    for item in items {
        if !out.iter().any(|known| equal(known, &item)) {
            out.push(item);
        }
    }
    out
}

/// What a patch adds, without the directives in it; none when a directive is all it is.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(map) if map.contains_key(PATCH) => None,
        Value::Object(map) => {
            Some(Value::Object(map.into_iter().filter_map(|(key, value)| Some((key, without_directives(value)?))).collect()))
        }
        Value::Array(items) => Some(Value::Array(items.into_iter().filter_map(without_directives).collect())),
        other => Some(other),
    }
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            Value::Object(map.into_iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key, without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin;
    use object::GroupVersionKind;
    use serde_json::json;

    fn pod(document: Value, patch: Value) -> Result<Value, Error> {
        apply(&document, &patch, &builtin::type_of(&GroupVersionKind::new("", "v1", "Pod")).unwrap())
    }

    #[test]
    fn lists_merge_by_their_key_and_directives_delete_replace_and_order() {
        let containers = |names: &[&str]| json!({"spec": {"containers": names.iter().map(|name| json!({"name": name, "image": "i"})).collect::<Vec<_>>()}});
        let names = |value: Value| -> Vec<String> {
            value["spec"]["containers"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
        };
        for (document, patch, result) in [
            (&["a", "b"][..], json!([{"name": "b", "image": "j"}, {"name": "c"}]), &["a", "b", "c"][..]),
            (&["a", "b", "c"], json!([{"name": "b", "$patch": "delete"}]), &["a", "c"]),
            (&["a", "b"], json!([{"$patch": "replace"}, {"name": "x"}]), &["x"]),
            (&["a"], json!([{"name": "c"}, {"name": "b"}]), &["c", "b", "a"]),
        ] {
            let out = pod(containers(document), json!({"spec": {"containers": patch}})).unwrap();
            // Where the server does not know both, what the patch adds comes first.
            assert_eq!(names(out), result, "{patch}");
        }
        let patch =
            json!({"spec": {"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}], "containers": [{"name": "c", "image": "j"}]}});
        assert_eq!(names(pod(containers(&["a", "b"]), patch).unwrap()), ["c", "a", "b"]);
    }

    #[test]
    fn primitive_lists_lose_what_a_directive_names() {
        let document = json!({"metadata": {"finalizers": ["a", "b", "c"]}});
        let patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["b"], "$setElementOrder/finalizers": ["d", "a", "c"], "finalizers": ["d"]}});
        assert_eq!(pod(document, patch).unwrap(), json!({"metadata": {"finalizers": ["d", "a", "c"]}}));
    }

    #[test]
    fn retain_keys_drops_what_it_does_not_name() {
        let document = json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}});
        let patch = json!({"spec": {"volumes": [{"$retainKeys": ["name", "secret"], "name": "v", "secret": {"secretName": "s"}}]}});
        assert_eq!(pod(document.clone(), patch).unwrap(), json!({"spec": {"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}}));
        let patch = json!({"spec": {"volumes": [{"$retainKeys": ["name"], "name": "v", "secret": {"secretName": "s"}}]}});
        assert_eq!(pod(document, patch), Err(bad("invalid patch format of retainKeys")));
    }

    #[test]
    fn maps_take_directives_and_nulls() {
        let document = json!({"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"nodeName": "n"}});
        for (patch, result) in [
            (
                json!({"metadata": {"labels": {"a": null, "c": "3", "d": null}}}),
                json!({"metadata": {"labels": {"b": "2", "c": "3"}}, "spec": {"nodeName": "n"}}),
            ),
            (
                json!({"metadata": {"labels": {"$patch": "replace", "z": "1"}}}),
                json!({"metadata": {"labels": {"z": "1"}}, "spec": {"nodeName": "n"}}),
            ),
            (json!({"metadata": {"labels": {"$patch": "delete"}}}), json!({"metadata": {"labels": {}}, "spec": {"nodeName": "n"}})),
            (
                json!({"spec": {"tolerations": [{"key": "a"}]}}),
                json!({"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"nodeName": "n", "tolerations": [{"key": "a"}]}}),
            ),
        ] {
            assert_eq!(pod(document.clone(), patch).unwrap(), result);
        }
    }

    #[test]
    fn wrong_patches_are_refused_and_never_panic() {
        let document = json!({"spec": {"containers": [{"name": "a"}]}});
        for patch in [
            json!({"spec": {"containers": [1]}}),
            json!({"spec": {"containers": [{"image": "x"}]}}),
            json!({"spec": {"containers": [{"$patch": "delete"}]}}),
            json!({"spec": {"containers": [{"name": "a", "$patch": "merge"}]}}),
            json!({"spec": {"$setElementOrder/containers": 1}}),
            json!({"spec": {"$setElementOrder": [], "containers": []}}),
            json!({"spec": {"$retainKeys": "x"}}),
            json!({"spec": {"$patch": "jump"}}),
            json!([]),
        ] {
            assert!(pod(document.clone(), patch.clone()).is_err(), "{patch}");
        }
    }
}
