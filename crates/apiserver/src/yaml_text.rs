//! YAML bodies and answers.

use serde_json::Value;
use yaml::Dialect;

/// Reads the first YAML document of a text as Kubernetes does, and tells which keys stood twice in a map.
pub fn parse(text: &str) -> Result<Value, String> {
    yaml::to_json(text, Dialect::Sigs).map_err(|error| error.go_message(Dialect::Sigs))
}

/// Refuses keys that stand twice.
pub fn check_strict(text: &str) -> Result<(), String> {
    yaml::to_json_strict(text, Dialect::Sigs).map(drop).map_err(|error| error.go_message(Dialect::Sigs))
}

/// Writes a value as YAML.
pub fn print(value: &Value) -> String {
    yaml::emit(&sorted(value))
}

/// The value with the keys of all maps in order, as Kubernetes writes YAML.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().collect())
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}
