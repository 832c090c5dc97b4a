//! Reading multi-document manifests.

use crate::shell::Failure;
use serde_json::Value;

/// The objects of a multi-document YAML text; empty documents are passed over.
pub fn read(text: &str) -> Result<Vec<Value>, Failure> {
    let mut found = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let value: Value = serde::Deserialize::deserialize(document).map_err(|error: serde_yaml::Error| Failure::new(error.to_string()))?;
        match value {
            Value::Null => {}
            object => found.push(object),
        }
    }
    Ok(found)
}
