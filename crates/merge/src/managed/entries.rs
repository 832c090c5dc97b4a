//! `metadata.managedFields`: who owns which fields, read and written as apimachinery does.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::path;
use super::set::Set;

/// What the entry of a manager is told apart by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Manager {
    pub operation: Operation,
    pub name: String,
    /// Of updates only: an applier has one entry whatever the version.
    pub api_version: String,
    pub subresource: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    Apply,
    Update,
}

impl Operation {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// The fields that a manager owns, as the version that it wrote them in.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub set: Set,
    pub api_version: String,
    pub applied: bool,
    /// RFC 3339, in seconds.
    pub time: Option<String>,
}

/// All managers of an object.
pub type Entries = BTreeMap<Manager, Entry>;

/// Why `managedFields` cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("operation must be `Apply` or `Update`")]
    Operation,
    #[error("apiVersion must not be empty")]
    ApiVersion,
    #[error("missing fieldsType in managed fields entry {0}")]
    NoFieldsType(usize),
    #[error("invalid fieldsType {0:?} in managed fields entry {1}")]
    FieldsType(String, usize),
    #[error("error decoding set: {0}")]
    Set(#[source] path::Error),
}

/// Reads the entries of an object's metadata.
pub fn decode(list: Option<&Value>) -> Result<Entries, Error> {
    let mut entries = Entries::new();
    for (index, raw) in list.and_then(Value::as_array).into_iter().flatten().enumerate() {
        let text = |key: &str| raw.get(key).and_then(Value::as_str).unwrap_or("");
        let operation = match text("operation") {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return Err(Error::Operation),
        };
        let api_version = text("apiVersion");
        if api_version.is_empty() {
            return Err(Error::ApiVersion);
        }
        match text("fieldsType") {
            "FieldsV1" => {}
            "" => return Err(Error::NoFieldsType(index)),
            other => return Err(Error::FieldsType(other.to_owned(), index)),
        }
        let manager = Manager {
            operation,
            name: text("manager").to_owned(),
            api_version: if operation == Operation::Update { api_version.to_owned() } else { String::new() },
            subresource: text("subresource").to_owned(),
        };
        let set = raw.get("fieldsV1").map_or(Ok(Set::new()), Set::decode).map_err(Error::Set)?;
        let time = raw.get("time").and_then(Value::as_str).map(str::to_owned);
        entries.insert(manager, Entry { set, api_version: api_version.to_owned(), applied: operation == Operation::Apply, time });
    }
    Ok(entries)
}

/// Writes the entries: appliers first, then by time, name, version and subresource.
pub fn encode(entries: &Entries) -> Value {
    let mut sorted: Vec<(&Manager, &Entry)> = entries.iter().collect();
    sorted.sort_by(|(a, x), (b, y)| {
        let key = |manager: &'_ Manager, entry: &'_ Entry| {
            (operation(manager, entry), entry.time.clone().unwrap_or_default(), manager.name.clone(), entry.api_version.clone())
        };
        key(a, x).cmp(&key(b, y)).then_with(|| a.subresource.cmp(&b.subresource))
    });
    Value::Array(sorted.into_iter().map(|(manager, entry)| encode_one(manager, entry)).collect())
}

fn operation(manager: &Manager, entry: &Entry) -> Operation {
    if entry.applied { Operation::Apply } else { manager.operation }
}

fn encode_one(manager: &Manager, entry: &Entry) -> Value {
    let mut out = Map::new();
    if !manager.name.is_empty() {
        out.insert("manager".to_owned(), json!(manager.name));
    }
    out.insert("operation".to_owned(), json!(operation(manager, entry).as_str()));
    out.insert("apiVersion".to_owned(), json!(entry.api_version));
    if let Some(time) = &entry.time {
        out.insert("time".to_owned(), json!(time));
    }
    out.insert("fieldsType".to_owned(), json!("FieldsV1"));
    out.insert("fieldsV1".to_owned(), entry.set.encode());
    if !manager.subresource.is_empty() {
        out.insert("subresource".to_owned(), json!(manager.subresource));
    }
    Value::Object(out)
}

/// Reads the entries of an object and takes them out of it.
pub(super) fn take(object: &mut Value) -> Option<Value> {
    object.get_mut("metadata")?.as_object_mut()?.shift_remove("managedFields")
}

/// Puts the entries into an object; none leave no field.
pub(super) fn put(object: &mut Value, entries: &Entries) {
    let Some(root) = object.as_object_mut() else { return };
    let metadata = root.entry("metadata").or_insert_with(|| json!({}));
    if metadata.is_null() {
        *metadata = json!({});
    }
    let Some(metadata) = metadata.as_object_mut() else { return };
    if entries.is_empty() {
        metadata.shift_remove("managedFields");
    } else {
        metadata.insert("managedFields".to_owned(), encode(entries));
    }
}
