//! YAML bodies and answers.

use serde_json::Value;
use yaml::Dialect;

/// Reads the first YAML document of a text as Kubernetes does, and tells which keys stood twice in a map.
pub fn parse(text: &str) -> Result<Value, String> {
    yaml::to_json(text, Dialect::Sigs).map_err(|error| error.to_string())
}

/// Refuses keys that stand twice.
pub fn check_strict(text: &str) -> Result<(), String> {
    yaml::to_json_strict(text, Dialect::Sigs).map(drop).map_err(|error| error.to_string())
}

/// Writes a value as YAML.
pub fn print(value: &Value) -> String {
    yaml::emit(value)
}
