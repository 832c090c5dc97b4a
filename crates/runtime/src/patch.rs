use serde_json::{Map, Value};

/// The merge patch (RFC 7396) that turns `from` into `to`; `None` when they are equal.
pub(crate) fn merge_patch(from: &Value, to: &Value) -> Option<Value> {
    match (from, to) {
        (Value::Object(from), Value::Object(to)) => {
            let mut patch = Map::new();
            for (key, value) in to {
                match from.get(key) {
                    Some(old) => {
                        if let Some(change) = merge_patch(old, value) {
                            patch.insert(key.clone(), change);
                        }
                    }
                    // Null would delete what is not there.
                    None if value.is_null() => {}
                    None => {
                        patch.insert(key.clone(), value.clone());
                    }
                }
            }
            for key in from.keys().filter(|key| !to.contains_key(*key)) {
                patch.insert(key.clone(), Value::Null);
            }
            (!patch.is_empty()).then_some(Value::Object(patch))
        }
        _ => (from != to).then(|| to.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_patch_holds_what_differs_and_nothing_else() {
        let from =
            json!({"observedGeneration": 1, "artifact": {"digest": "a", "size": 1}, "conditions": [{"type": "Ready"}], "gone": {"x": 1}});
        assert_eq!(merge_patch(&from, &from), None);
        let to = json!({"observedGeneration": 2, "artifact": {"digest": "b", "size": 1}, "conditions": [{"type": "Ready"}], "new": [1]});
        let patch = merge_patch(&from, &to).unwrap();
        assert_eq!(patch, json!({"observedGeneration": 2, "artifact": {"digest": "b"}, "new": [1], "gone": null}));
    }

    #[test]
    fn lists_are_replaced_as_a_whole() {
        let patch = merge_patch(&json!({"l": [{"a": 1}, {"b": 2}]}), &json!({"l": [{"a": 1}]})).unwrap();
        assert_eq!(patch, json!({"l": [{"a": 1}]}));
    }

    #[test]
    fn an_absent_field_set_to_null_is_no_change() {
        assert_eq!(merge_patch(&json!({}), &json!({"a": null})), None);
        assert_eq!(merge_patch(&Value::Null, &json!({"a": 1})), Some(json!({"a": 1})));
    }
}
