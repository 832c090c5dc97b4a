use object::Object;
use serde_json::Value;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Fields of `metadata` that the server keeps for itself; they change without anybody changing the object.
const BOOKKEEPING: &[&str] = &[
    "managedFields",
    "resourceVersion",
    "generation",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
];

/// A digest of what somebody could have written: everything but `status` and the server's bookkeeping.
///
/// Good for comparing states inside one process; it is not stable between versions of this program.
pub fn object_digest(object: &Object) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut keys: Vec<_> = object.as_map().iter().filter(|(key, _)| *key != "status").collect();
    keys.sort_by_key(|(key, _)| *key);
    for (key, value) in keys {
        key.hash(&mut hasher);
        match value {
            Value::Object(metadata) if key == "metadata" => {
                let mut fields: Vec<_> = metadata.iter().filter(|(key, _)| !BOOKKEEPING.contains(&key.as_str())).collect();
                fields.sort_by_key(|(key, _)| *key);
                for (key, value) in fields {
                    key.hash(&mut hasher);
                    hash(value, &mut hasher);
                }
            }
            value => hash(value, &mut hasher),
        }
    }
    hasher.finish()
}

/// The order of keys in a map does not count; the order in a list does.
fn hash(value: &Value, hasher: &mut DefaultHasher) {
    std::mem::discriminant(value).hash(hasher);
    match value {
        Value::Null => {}
        Value::Bool(bool) => bool.hash(hasher),
        Value::Number(number) => number.hash(hasher),
        Value::String(text) => text.hash(hasher),
        Value::Array(items) => {
            items.len().hash(hasher);
            items.iter().for_each(|item| hash(item, hasher));
        }
        Value::Object(map) => {
            map.len().hash(hasher);
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            for (key, value) in entries {
                key.hash(hasher);
                hash(value, hasher);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn digest(value: Value) -> u64 {
        object_digest(&Object::new(value).unwrap())
    }

    #[test]
    fn status_and_bookkeeping_do_not_count_and_everything_else_does() {
        let base = digest(
            json!({"apiVersion": "v1", "kind": "A", "metadata": {"name": "a", "labels": {"x": "1", "y": "2"}}, "spec": {"l": [1, 2]}}),
        );
        let same = json!({"kind": "A", "apiVersion": "v1", "status": {"x": 1}, "spec": {"l": [1, 2]},
            "metadata": {"labels": {"y": "2", "x": "1"}, "name": "a", "resourceVersion": "7", "generation": 3, "uid": "u", "managedFields": []}});
        assert_eq!(digest(same), base);
        for other in [
            json!({"apiVersion": "v1", "kind": "A", "metadata": {"name": "a", "labels": {"x": "1"}}, "spec": {"l": [1, 2]}}),
            json!({"apiVersion": "v1", "kind": "A", "metadata": {"name": "a", "labels": {"x": "1", "y": "2"}}, "spec": {"l": [2, 1]}}),
            json!({"apiVersion": "v1", "kind": "A", "metadata": {"name": "a", "labels": {"x": "1", "y": "2"}, "finalizers": ["f"]}, "spec": {"l": [1, 2]}}),
            json!({"apiVersion": "v1", "kind": "A", "metadata": {"name": "a", "labels": {"x": "1", "y": "2"}}, "spec": {"l": [1, "2"]}}),
        ] {
            assert_ne!(digest(other.clone()), base, "{other}");
        }
    }
}
