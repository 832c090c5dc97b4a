//! JSON as values of expressions, and back.

use std::collections::HashMap;
use std::sync::Arc;

use kube_cel::cel::Value as Cel;
use kube_cel::cel::objects::{Key, Map as CelMap, OptionalValue};
use serde_json::{Map, Value};

/// Values nest no deeper than this.
const DEPTH_MAX: usize = 120;

/// A value of which no schema says anything.
pub fn plain(value: &Value) -> Cel {
    plain_at(value, 0)
}

fn plain_at(value: &Value, depth: usize) -> Cel {
    if depth > DEPTH_MAX {
        return Cel::Null;
    }
    match value {
        Value::Null => Cel::Null,
        Value::Bool(bool) => Cel::Bool(*bool),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(int), _) => Cel::Int(int),
            (None, float) => Cel::Float(float.unwrap_or(f64::NAN)),
        },
        Value::String(text) => Cel::String(Arc::new(text.clone())),
        Value::Array(items) => Cel::List(Arc::new(items.iter().map(|item| plain_at(item, depth + 1)).collect())),
        Value::Object(map) => Cel::Map(CelMap { map: Arc::new(plain_map(map, depth)) }),
    }
}

fn plain_map(map: &Map<String, Value>, depth: usize) -> HashMap<Key, Cel> {
    map.iter().map(|(key, value)| (Key::String(Arc::new(key.clone())), plain_at(value, depth + 1))).collect()
}

/// A value as JSON; `None` for what JSON cannot hold.
pub fn to_json(value: &Cel) -> Option<Value> {
    json_at(value, 0)
}

fn json_at(value: &Cel, depth: usize) -> Option<Value> {
    if depth > DEPTH_MAX {
        return None;
    }
    Some(match value {
        Cel::Null => Value::Null,
        Cel::Bool(bool) => Value::Bool(*bool),
        Cel::Int(int) => Value::from(*int),
        Cel::UInt(uint) => Value::from(*uint),
        Cel::Float(float) => Value::from(*float),
        Cel::String(text) => Value::from(text.as_str()),
        Cel::List(list) => Value::Array(list.iter().map(|item| json_at(item, depth + 1)).collect::<Option<_>>()?),
        Cel::Map(map) => {
            let mut entries: Vec<(String, &Cel)> = Vec::with_capacity(map.map.len());
            for (key, value) in map.map.iter() {
                let key = match key {
                    Key::String(text) => text.to_string(),
                    Key::Int(int) => int.to_string(),
                    Key::Uint(uint) => uint.to_string(),
                    Key::Bool(bool) => bool.to_string(),
                };
                entries.push((key, value));
            }
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().map(|(key, value)| Some((key, json_at(value, depth + 1)?))).collect::<Option<_>>()?)
        }
        Cel::Opaque(opaque) => match opaque.downcast_ref::<OptionalValue>()?.value() {
            Some(inner) => json_at(inner, depth + 1)?,
            None => Value::Null,
        },
        Cel::Bytes(_) | Cel::Timestamp(_) | Cel::Duration(_) | Cel::Function(..) => return None,
    })
}

/// The name of a property as an identifier; none for names that cannot be one.
pub fn escape(name: &str) -> Option<String> {
    const RESERVED: [&str; 21] = [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ];
    if RESERVED.contains(&name) {
        return Some(format!("__{name}__"));
    }
    if name.starts_with(|char: char| char.is_ascii_digit())
        || !name.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '_' | '.' | '-' | '/' | '$'))
    {
        return None;
    }
    Some(name.replace("__", "__underscores__").replace('.', "__dot__").replace('-', "__dash__").replace('/', "__slash__"))
}
