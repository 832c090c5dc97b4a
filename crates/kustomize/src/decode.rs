//! Reading JSON into records as Go's encoding/json does: field names match whatever their case, null leaves the default.

use crate::error::{Result, problem};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// How strict a reading is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mode {
    /// Unknown fields are errors.
    pub strict: bool,
    /// Numbers and booleans are taken where strings are expected (sigs.k8s.io/yaml with a target).
    pub coerce: bool,
}

impl Mode {
    /// As kustomization files are read.
    pub const FILE: Self = Self { strict: true, coerce: false };
    /// As the configuration of builtin plugins is read.
    pub const PLUGIN: Self = Self { strict: false, coerce: true };
    /// As `configurations` are read.
    pub const CONFIGURATION: Self = Self { strict: true, coerce: true };
}

pub(crate) trait Decode: Sized {
    fn decode(value: &Value, path: &str, mode: Mode) -> Result<Self>;
}

/// A record takes its fields from a map, one by one.
pub(crate) trait Record: Default {
    /// Reads the field of this name, given in lower case; false when it has none.
    fn field(&mut self, name: &str, value: &Value, path: &str, mode: Mode) -> Result<bool>;
}

impl<T: Record> Decode for T {
    fn decode(value: &Value, path: &str, mode: Mode) -> Result<Self> {
        let mut record = T::default();
        match value {
            Value::Null => {}
            Value::Object(map) => fill(&mut record, map, path, mode)?,
            other => return Err(mismatch(path, "a map", other)),
        }
        Ok(record)
    }
}

pub(crate) fn fill<T: Record>(record: &mut T, map: &Map<String, Value>, path: &str, mode: Mode) -> Result<()> {
    // Go sorts the keys on its way through JSON: of those that name one field in several cases, the last counts.
    let mut entries: Vec<(&String, &Value)> = map.iter().collect();
    entries.sort_by_key(|(key, _)| *key);
    for (key, value) in entries {
        let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        if !record.field(&key.to_lowercase(), value, &inner, mode)? && mode.strict {
            return Err(problem(format!("unknown field {inner}")));
        }
    }
    Ok(())
}

fn mismatch(path: &str, wanted: &str, found: &Value) -> crate::Error {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "a boolean (YAML 1.1 reads y, n, yes, no, on and off as booleans; put it in quotes)",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    };
    let path = if path.is_empty() { "the document" } else { path };
    problem(format!("{path} must be {wanted}, but is {found}"))
}

impl Decode for String {
    fn decode(value: &Value, path: &str, mode: Mode) -> Result<Self> {
        match value {
            Value::Null => Ok(Self::new()),
            Value::String(text) => Ok(text.clone()),
            Value::Bool(value) if mode.coerce => Ok(value.to_string()),
            Value::Number(value) if mode.coerce && value.is_f64() => Ok(yaml::format_float(value.as_f64().unwrap_or_default())),
            Value::Number(value) if mode.coerce => Ok(value.to_string()),
            other => Err(mismatch(path, "a string", other)),
        }
    }
}

impl Decode for bool {
    fn decode(value: &Value, path: &str, _: Mode) -> Result<Self> {
        match value {
            Value::Null => Ok(false),
            Value::Bool(value) => Ok(*value),
            other => Err(mismatch(path, "true or false", other)),
        }
    }
}

impl Decode for i64 {
    fn decode(value: &Value, path: &str, _: Mode) -> Result<Self> {
        match value {
            Value::Null => Ok(0),
            Value::Number(number) => number.as_i64().ok_or_else(|| mismatch(path, "a whole number", value)),
            other => Err(mismatch(path, "a whole number", other)),
        }
    }
}

impl Decode for Value {
    fn decode(value: &Value, _: &str, _: Mode) -> Result<Self> {
        Ok(value.clone())
    }
}

impl<T: Decode> Decode for Option<T> {
    fn decode(value: &Value, path: &str, mode: Mode) -> Result<Self> {
        if value.is_null() { Ok(None) } else { T::decode(value, path, mode).map(Some) }
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(value: &Value, path: &str, mode: Mode) -> Result<Self> {
        match value {
            Value::Null => Ok(Self::new()),
            Value::Array(items) => items.iter().enumerate().map(|(at, item)| T::decode(item, &format!("{path}[{at}]"), mode)).collect(),
            other => Err(mismatch(path, "a list", other)),
        }
    }
}

impl<T: Decode> Decode for BTreeMap<String, T> {
    fn decode(value: &Value, path: &str, mode: Mode) -> Result<Self> {
        match value {
            Value::Null => Ok(Self::new()),
            Value::Object(map) => {
                map.iter().map(|(key, item)| Ok((key.clone(), T::decode(item, &format!("{path}.{key}"), mode)?))).collect()
            }
            other => Err(mismatch(path, "a map", other)),
        }
    }
}

/// Declares a record: its fields, their names in lower case, and records whose fields it shares (`..`).
macro_rules! record {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty = $json:literal,)* $(..$inner:ident: $inner_type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq)]
        $vis struct $name { $($(#[$field_meta])* pub $field: $type,)* $(pub $inner: $inner_type,)* }

        impl $crate::decode::Record for $name {
            #[allow(unused_variables)]
            fn field(&mut self, name: &str, value: &serde_json::Value, path: &str, mode: $crate::decode::Mode) -> $crate::error::Result<bool> {
                match name {
                    $($json => { self.$field = $crate::decode::Decode::decode(value, path, mode)?; Ok(true) })*
                    _ => {
                        // sigs.k8s.io/yaml does not look into embedded records for where a string is expected.
                        $(if self.$inner.field(name, value, path, $crate::decode::Mode { coerce: false, ..mode })? { return Ok(true); })*
                        Ok(false)
                    }
                }
            }
        }
    };
}
pub(crate) use record;
