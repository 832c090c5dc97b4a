use super::{Column, age};
use crate::registry::Resource;
use jiff::Timestamp;
use serde_json::Value;

pub fn columns(resource: &Resource) -> Vec<Column> {
    let _ = resource;
    [("Name", "name"), ("Created At", "")]
        .into_iter()
        .map(|(name, format)| Column {
            name: name.to_owned(),
            kind: if format.is_empty() { "date" } else { "string" },
            format,
            description: String::new(),
            priority: 0,
        })
        .collect()
}

pub fn cells(_resource: &Resource, object: &Value, now: Timestamp) -> Vec<Value> {
    vec![object["metadata"]["name"].clone(), Value::from(age(object.pointer("/metadata/creationTimestamp"), now))]
}
