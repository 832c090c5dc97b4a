//! Reading multi-document manifests.

use crate::shell::Failure;
use serde_json::Value;
use yaml::Dialect;

/// The objects of a multi-document YAML text; empty documents are passed over.
pub fn read(text: &str) -> Result<Vec<Value>, Failure> {
    let documents = yaml::documents(text, Dialect::Kyaml).map_err(|error| Failure::new(error.to_string()))?;
    let values = documents.iter().map(|document| document.to_json().map_err(|error| Failure::new(error.to_string())));
    values.filter(|value| !matches!(value, Ok(Value::Null))).collect()
}
