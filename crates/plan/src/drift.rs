//! Whether a live object is what we last wanted it to be, told from the object alone.
//!
//! The server wrote down who set which field. What we want must be there with our value, and what we own must still be
//! wanted. Where the server may have rewritten our value the answer is [`Drift::Unsure`], and a dry run decides.

use crate::managers;
use object::Object;
use serde_json::{Map, Value};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Drift {
    Same,
    Unsure,
    Different,
}

/// Compares; `ignored` are JSON pointers that do not count.
pub fn compare(live: &Object, desired: &Object, ignored: &[&str]) -> Drift {
    compare_as(crate::FIELD_MANAGER, live, desired, ignored)
}

/// As `compare`, for objects that another field manager applies.
pub fn compare_as(manager: &str, live: &Object, desired: &Object, ignored: &[&str]) -> Drift {
    let entries = managers::entries(live);
    let Some(ours) = entries.iter().find(|entry| managers::is_of(entry, manager)) else { return Drift::Different };
    if ours.get("apiVersion").and_then(Value::as_str) != Some(desired.api_version()) {
        return Drift::Unsure;
    }
    let others: Vec<&Value> =
        entries.iter().filter(|entry| !managers::is_of(entry, manager)).filter_map(|entry| entry.get("fieldsV1")).collect();
    let live_value = Value::Object(live.as_map().clone());
    let mut wanted = desired.clone().into_value();
    for path in ignored.iter().rev() {
        crate::ignore::remove(&mut wanted, path);
    }
    // What names the object is the same by definition.
    if let Some(map) = wanted.as_object_mut() {
        map.shift_remove("apiVersion");
        map.shift_remove("kind");
        if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.shift_remove("name");
            metadata.shift_remove("namespace");
        }
    }
    let numbers = Numbers { quantities: !matches!(desired.kind(), "ConfigMap" | "Secret") };
    let owned = ours.get("fieldsV1");
    let wanted_drift = numbers.wanted(&wanted, &live_value, owned, &others, "");
    let owned_drift =
        owned.map_or(Drift::Different, |owned| no_longer_wanted(owned, &wanted, &live_value, &others, ignored, String::new()));
    wanted_drift.max(owned_drift)
}

/// How a dry run's answer is compared with what lives: all but status and what the server keeps in metadata.
pub fn same_but_for_the_server(a: &Object, b: &Object, ignored: &[&str]) -> bool {
    let stripped = |object: &Object| {
        let mut value = Value::Object(object.as_map().clone());
        for path in ignored.iter().rev() {
            crate::ignore::remove(&mut value, path);
        }
        let metadata = value.get_mut("metadata").map(Value::take).unwrap_or_default();
        if let Some(map) = value.as_object_mut() {
            map.shift_remove("status");
            map.shift_remove("metadata");
        }
        let part = |key: &str| metadata.get(key).filter(|v| !is_empty(v)).cloned().unwrap_or_default();
        (value, part("labels"), part("annotations"))
    };
    stripped(a) == stripped(b)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

/// What Go leaves out when it writes a value.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        value => is_empty(value),
    }
}

fn child<'a>(fields: Option<&'a Value>, key: &str) -> Option<&'a Value> {
    fields.and_then(|fields| fields.get(format!("f:{key}")))
}

/// A field that is owned as a whole.
fn is_leaf(fields: &Value) -> bool {
    fields.as_object().is_none_or(Map::is_empty)
}

/// The names in the keys of an associative list; `None` where no manager says that it is one.
fn key_names(sets: &[&Value]) -> Option<Vec<String>> {
    let keys = sets.iter().filter_map(|set| set.as_object()).flat_map(Map::keys);
    let first = keys.filter_map(|key| key.strip_prefix("k:")).find_map(|key| serde_json::from_str::<Map<String, Value>>(key).ok())?;
    Some(first.keys().cloned().collect())
}

fn is_set(sets: &[&Value]) -> bool {
    sets.iter().filter_map(|set| set.as_object()).flat_map(Map::keys).any(|key| key.starts_with("v:"))
}

/// The fields of a list element: those under the key whose values it has.
pub(crate) fn element_fields<'a>(list: &'a Value, element: &Value) -> Option<&'a Value> {
    list.as_object()?.iter().find_map(|(key, fields)| {
        let names: Map<String, Value> = serde_json::from_str(key.strip_prefix("k:")?).ok()?;
        names.iter().all(|(name, value)| element.get(name) == Some(value)).then_some(fields)
    })
}

struct Numbers {
    quantities: bool,
}

impl Numbers {
    /// Whether everything in `wanted` is in `live`.
    fn wanted(&self, wanted: &Value, live: &Value, ours: Option<&Value>, others: &[&Value], name: &str) -> Drift {
        match (wanted, live) {
            (Value::Object(wanted), Value::Object(live)) => {
                if ours.is_some_and(is_leaf) && !wanted.is_empty() {
                    return self.whole(&Value::Object(wanted.clone()), &Value::Object(live.clone()), name);
                }
                let each = wanted.iter().map(|(key, value)| {
                    let owned = child(ours, key);
                    let theirs: Vec<&Value> = others.iter().filter_map(|set| child(Some(set), key)).collect();
                    match live.get(key).filter(|live| !live.is_null()) {
                        Some(live) => self.wanted(value, live, owned, &theirs, key),
                        None => absent(value, owned),
                    }
                });
                each.max().unwrap_or(Drift::Same)
            }
            (Value::Array(wanted), Value::Array(live)) => {
                let sets: Vec<&Value> = ours.into_iter().chain(others.iter().copied()).collect();
                if let Some(names) = key_names(&sets) {
                    self.keyed(&names, wanted, live, ours, others)
                } else if is_set(&sets) {
                    let all = wanted.iter().all(|value| live.contains(value));
                    if all { Drift::Same } else { Drift::Different }
                } else {
                    self.whole(&Value::Array(wanted.clone()), &Value::Array(live.clone()), name)
                }
            }
            (wanted, live) => self.scalar(wanted, live, name),
        }
    }

    fn keyed(&self, names: &[String], wanted: &[Value], live: &[Value], ours: Option<&Value>, others: &[&Value]) -> Drift {
        let mut drift = Drift::Same;
        let mut last = None;
        for element in wanted {
            // A key that we leave out has the server's default.
            let same_key =
                |candidate: &Value| names.iter().all(|name| element.get(name).is_none_or(|value| candidate.get(name) == Some(value)));
            let Some(at) = live.iter().position(same_key) else { return Drift::Different };
            if last.is_some_and(|last| at < last) {
                drift = drift.max(Drift::Unsure);
            }
            last = Some(at);
            let owned = ours.and_then(|list| element_fields(list, &live[at]));
            let theirs: Vec<&Value> = others.iter().filter_map(|list| element_fields(list, &live[at])).collect();
            drift = drift.max(self.wanted(element, &live[at], owned, &theirs, ""));
        }
        drift
    }

    /// A list or map that is replaced as a whole.
    fn whole(&self, wanted: &Value, live: &Value, name: &str) -> Drift {
        if wanted == live {
            Drift::Same
        } else if self.within(wanted, live, name) {
            // More may be there by default, or because it was wanted before.
            Drift::Unsure
        } else {
            Drift::Different
        }
    }

    fn within(&self, wanted: &Value, live: &Value, name: &str) -> bool {
        match (wanted, live) {
            (Value::Object(wanted), Value::Object(live)) => {
                wanted.iter().all(|(key, value)| live.get(key).map_or(is_zero(value), |live| self.within(value, live, key)))
            }
            (Value::Array(wanted), Value::Array(live)) => {
                wanted.len() == live.len() && wanted.iter().zip(live).all(|(wanted, live)| self.within(wanted, live, name))
            }
            (wanted, live) => self.scalar(wanted, live, name) == Drift::Same,
        }
    }

    fn scalar(&self, wanted: &Value, live: &Value, name: &str) -> Drift {
        let same = wanted == live
            || matches!((wanted.as_f64(), live.as_f64()), (Some(a), Some(b)) if a == b)
            || (is_empty(wanted) && is_empty(live));
        if same {
            return Drift::Same;
        }
        // The server writes amounts in its own form: 1000m becomes 1.
        match (amount(wanted), amount(live)) {
            (Some(a), Some(b)) if self.quantities && a == b && is_amount(name) => Drift::Same,
            (Some(a), Some(b)) if self.quantities && a == b => Drift::Unsure,
            _ => Drift::Different,
        }
    }
}

/// A wanted value that is not there: fine where it says nothing, or where it is ours and Go does not write it.
fn absent(wanted: &Value, owned: Option<&Value>) -> Drift {
    if is_empty(wanted) || (is_zero(wanted) && owned.is_some()) {
        return Drift::Same;
    }
    match wanted {
        Value::Object(map) => map.iter().map(|(key, value)| absent(value, child(owned, key))).max().unwrap_or(Drift::Same),
        wanted if is_zero(wanted) => Drift::Unsure,
        _ => Drift::Different,
    }
}

/// Whether something that only we own is not wanted any more, but still there.
fn no_longer_wanted(owned: &Value, wanted: &Value, live: &Value, others: &[&Value], ignored: &[&str], at: String) -> Drift {
    let Some(fields) = owned.as_object() else { return Drift::Same };
    let mut drift = Drift::Same;
    for (key, inner) in fields {
        let (wanted_child, live_child, path) = if let Some(name) = key.strip_prefix("f:") {
            let path = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
            (wanted.get(name), live.get(name), path)
        } else if let Some(names) = key.strip_prefix("k:").and_then(|key| serde_json::from_str::<Map<String, Value>>(key).ok()) {
            let is_it = |element: &&Value| names.iter().all(|(name, value)| element.get(name) == Some(value));
            let could_be = |element: &&Value| names.iter().all(|(name, value)| element.get(name).is_none_or(|found| found == value));
            let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
            let index = list(live).iter().position(|element| is_it(&element));
            let wanted_element = wanted.as_array().and_then(|list| list.iter().find(could_be));
            let live_element = live.as_array().and_then(|list| list.iter().find(is_it));
            (wanted_element, live_element, format!("{at}/{}", index.unwrap_or_default()))
        } else if let Some(value) = key.strip_prefix("v:").and_then(|value| serde_json::from_str::<Value>(value).ok()) {
            let find = |list: &Value| list.as_array().is_some_and(|list| list.contains(&value));
            if !find(wanted) && find(live) && !others.iter().any(|set| set.get(key).is_some()) {
                return Drift::Different;
            }
            continue;
        } else {
            continue;
        };
        if ignored.contains(&path.as_str()) {
            continue;
        }
        let theirs: Vec<&Value> = others.iter().filter_map(|set| set.get(key)).collect();
        drift = drift.max(match (wanted_child, live_child) {
            (_, None) => Drift::Same,
            (None, Some(_)) if !theirs.is_empty() => solely_ours(inner, &theirs),
            (None, Some(_)) => Drift::Different,
            (Some(wanted), Some(live)) => no_longer_wanted(inner, wanted, live, &theirs, ignored, path),
        });
    }
    drift
}

/// A thing that we own with others goes only as far as they do not own it.
fn solely_ours(ours: &Value, theirs: &[&Value]) -> Drift {
    let Some(fields) = ours.as_object().filter(|fields| !fields.is_empty()) else { return Drift::Same };
    let shared = fields.keys().all(|key| key == "." || theirs.iter().any(|set| set.get(key).is_some()));
    if shared { Drift::Unsure } else { Drift::Different }
}

/// Fields that hold resource amounts.
fn is_amount(name: &str) -> bool {
    matches!(name, "cpu" | "memory" | "storage" | "ephemeral-storage" | "sizeLimit" | "pods" | "averageValue" | "value" | "divisor")
        || name.starts_with("requests.")
        || name.starts_with("limits.")
        || name.starts_with("hugepages-")
        || name.contains('/')
}

/// A Kubernetes quantity in nano-units.
fn amount(value: &Value) -> Option<i128> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let end = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '-' | '+')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let nano = 1_000_000_000i128;
    let scale = match suffix {
        "n" => 1,
        "u" => 1_000,
        "m" => 1_000_000,
        "" => nano,
        "k" => nano * 1_000,
        "M" => nano * 1_000_000,
        "G" => nano * nano,
        "T" => nano * 1_000 * nano,
        "P" => nano * 1_000_000 * nano,
        "Ki" => nano << 10,
        "Mi" => nano << 20,
        "Gi" => nano << 30,
        "Ti" => nano << 40,
        "Pi" => nano << 50,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() > 18 || fraction.len() > 9 {
        return None;
    }
    let negative = whole.starts_with('-');
    let whole: i128 = if matches!(whole, "" | "-" | "+") { 0 } else { whole.parse().ok()? };
    let part: i128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let part = part * scale / 10i128.pow(fraction.len() as u32);
    Some(if negative { whole * scale - part } else { whole * scale + part })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(spec: Value) -> Object {
        Object::new(json!({"apiVersion": "e.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": spec})).unwrap()
    }

    fn live(spec: Value, ours: Value, theirs: Value) -> Object {
        let entry = |manager: &str, operation: &str, fields: Value| json!({"manager": manager, "operation": operation, "apiVersion": "e.com/v1", "fieldsV1": {"f:spec": fields}});
        let mut object = object(spec);
        object
            .metadata_mut()
            .insert("managedFields".into(), json!([entry("kustomize-controller", "Apply", ours), entry("tester", "Update", theirs)]));
        object
    }

    #[test]
    fn drift_is_what_a_dry_run_would_change() {
        use Drift::*;
        let port = json!([{"port": 80, "protocol": "TCP", "nodePort": 3}]);
        let port_fields = json!({"f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}}});
        let table: Vec<(&str, Value, Value, Value, Value, Drift)> = vec![
            ("equal", json!({"a": 1}), json!({"a": 1}), json!({"f:a": {}}), json!({}), Same),
            ("changed", json!({"a": 1}), json!({"a": 2}), json!({}), json!({"f:a": {}}), Different),
            ("changed and changed back by another", json!({"a": 1}), json!({"a": 1}), json!({}), json!({"f:a": {}}), Same),
            ("removed", json!({"a": 1}), json!({}), json!({"f:a": {}}), json!({}), Different),
            ("added by another", json!({"a": 1}), json!({"a": 1, "b": 2}), json!({"f:a": {}}), json!({"f:b": {}}), Same),
            ("not wanted any more", json!({"a": 1}), json!({"a": 1, "b": 2}), json!({"f:a": {}, "f:b": {}}), json!({}), Different),
            (
                "not wanted any more but shared",
                json!({"a": 1}),
                json!({"a": 1, "b": 2}),
                json!({"f:a": {}, "f:b": {}}),
                json!({"f:b": {}}),
                Same,
            ),
            ("default that Go does not write", json!({"a": false}), json!({}), json!({"f:a": {}}), json!({}), Same),
            ("the same, but never ours", json!({"a": false}), json!({}), json!({}), json!({}), Unsure),
            ("empty", json!({"a": {}, "b": []}), json!({}), json!({"f:c": {}}), json!({}), Same),
            (
                "nested",
                json!({"a": {"b": {"c": "x"}}}),
                json!({"a": {"b": {"c": "x", "d": 1}}}),
                json!({"f:a": {"f:b": {"f:c": {}}}}),
                json!({}),
                Same,
            ),
            ("list by key", json!({"ports": [{"port": 80}]}), json!({"ports": port}), port_fields.clone(), json!({}), Same),
            ("list by key, element gone", json!({"ports": []}), json!({"ports": port}), port_fields.clone(), json!({}), Different),
            (
                "list by key, element new",
                json!({"ports": [{"port": 80}, {"port": 81}]}),
                json!({"ports": port}),
                port_fields,
                json!({}),
                Different,
            ),
            ("whole list with defaults", json!({"l": [{"a": 1}]}), json!({"l": [{"a": 1, "b": 2}]}), json!({"f:l": {}}), json!({}), Unsure),
            ("whole list", json!({"l": [{"a": 1}]}), json!({"l": [{"a": 1}]}), json!({"f:l": {}}), json!({}), Same),
            ("whole list shorter", json!({"l": ["a"]}), json!({"l": ["a", "b"]}), json!({"f:l": {}}), json!({}), Different),
            ("set", json!({"l": ["a"]}), json!({"l": ["a", "b"]}), json!({"f:l": {"v:\"a\"": {}}}), json!({"f:l": {"v:\"b\"": {}}}), Same),
            (
                "set member dropped",
                json!({"l": ["a"]}),
                json!({"l": ["a", "b"]}),
                json!({"f:l": {"v:\"a\"": {}, "v:\"b\"": {}}}),
                json!({}),
                Different,
            ),
            ("whole map", json!({"m": {"a": "1"}}), json!({"m": {"a": "1", "b": "2"}}), json!({"f:m": {}}), json!({}), Unsure),
            (
                "amounts",
                json!({"limits": {"cpu": "1000m", "memory": "1Gi"}}),
                json!({"limits": {"cpu": "1", "memory": "1024Mi"}}),
                json!({"f:limits": {"f:cpu": {}, "f:memory": {}}}),
                json!({}),
                Same,
            ),
            (
                "text that looks like an amount",
                json!({"version": "1000m"}),
                json!({"version": "1"}),
                json!({"f:version": {}}),
                json!({}),
                Unsure,
            ),
        ];
        for (name, wanted, lives, ours, theirs, want) in table {
            assert_eq!(compare(&live(lives, ours, theirs), &object(wanted), &[]), want, "{name}");
        }
    }

    #[test]
    fn the_order_of_a_keyed_list_is_for_the_server_to_judge() {
        let fields = json!({"f:l": {"k:{\"name\":\"a\"}": {".": {}, "f:name": {}}, "k:{\"name\":\"b\"}": {".": {}, "f:name": {}}}});
        let lives = live(json!({"l": [{"name": "a"}, {"name": "b"}]}), fields, json!({}));
        assert_eq!(compare(&lives, &object(json!({"l": [{"name": "b"}, {"name": "a"}]})), &[]), Drift::Unsure);
    }

    #[test]
    fn ignored_paths_do_not_count() {
        let lives = live(json!({"replicas": 5, "b": 1}), json!({"f:b": {}, "f:replicas": {}}), json!({}));
        assert_eq!(compare(&lives, &object(json!({"replicas": 1, "b": 1})), &["/spec/replicas"]), Drift::Same);
        assert_eq!(compare(&lives, &object(json!({"replicas": 1, "b": 1})), &[]), Drift::Different);
    }

    #[test]
    fn an_object_that_we_never_applied_is_different() {
        assert_eq!(compare(&object(json!({"a": 1})), &object(json!({"a": 1})), &[]), Drift::Different);
    }

    #[test]
    fn a_config_map_compares_texts_as_they_are() {
        let config = |value: &str| {
            Object::new(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"cpu": value}})).unwrap()
        };
        let mut lives = config("1");
        lives.metadata_mut().insert(
            "managedFields".into(),
            json!([{"manager": "kustomize-controller", "operation": "Apply", "apiVersion": "v1", "fieldsV1": {"f:data": {"f:cpu": {}}}}]),
        );
        assert_eq!(compare(&lives, &config("1000m"), &[]), Drift::Different);
        assert_eq!(compare(&lives, &config("1"), &[]), Drift::Same);
    }
}
