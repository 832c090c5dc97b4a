//! One step from a value to a value inside it, and the text that `fieldsV1` has for it.

use std::cmp::Ordering;
use std::fmt;

use serde_json::{Map, Value};

use crate::gofmt;

/// How to get from a map or list to one of its members.
#[derive(Debug, Clone)]
pub enum PathElement {
    /// A field of a map.
    Field(Box<str>),
    /// The element of a list of maps whose fields have these values; sorted by name.
    Key(Vec<(Box<str>, Value)>),
    /// The element of a set.
    Value(Value),
    /// The element of an atomic list.
    Index(i64),
}

/// Why a key of `fieldsV1` cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("key must be 2 characters long:")]
    Short,
    #[error("missing colon: {0}")]
    NoColon(String),
    #[error("cannot read {0:?} as a path element: {1}")]
    Json(String, String),
}

impl PathElement {
    pub fn field(name: &str) -> Self {
        Self::Field(name.into())
    }

    /// Reads a key of `fieldsV1`; none when a later version of Kubernetes wrote a kind of key that is not known here.
    pub fn parse(text: &str) -> Result<Option<Self>, Error> {
        let (Some(kind), Some(colon)) = (text.as_bytes().first(), text.as_bytes().get(1)) else {
            return Err(Error::Short);
        };
        if *colon != b':' {
            return Err(Error::NoColon(text.to_owned()));
        }
        let rest = text.get(2..).unwrap_or_default();
        let json = |error: serde_json::Error| Error::Json(text.to_owned(), error.to_string());
        Ok(Some(match kind {
            b'f' => Self::Field(rest.into()),
            b'v' => Self::Value(serde_json::from_str(rest).map_err(json)?),
            b'k' => {
                let map: Map<String, Value> = serde_json::from_str(rest).map_err(json)?;
                Self::key(map.into_iter().map(|(name, value)| (name.into(), value)).collect())
            }
            b'i' => Self::Index(rest.parse().map_err(|_| Error::Json(text.to_owned(), "not a number".to_owned()))?),
            _ => return Ok(None),
        }))
    }

    pub fn key(mut fields: Vec<(Box<str>, Value)>) -> Self {
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        Self::Key(fields)
    }

    /// The key of `fieldsV1`.
    pub fn encode(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(fields) => {
                let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{}:{}", Value::from(&**name), go_json(value))).collect();
                format!("k:{{{}}}", fields.join(","))
            }
            Self::Value(value) => format!("v:{}", go_json(value)),
            Self::Index(index) => format!("i:{index}"),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Field(_) => 0,
            Self::Key(_) => 1,
            Self::Value(_) => 2,
            Self::Index(_) => 3,
        }
    }
}

/// Go's JSON encoder escapes what HTML could misread.
fn go_json(value: &Value) -> String {
    let text = value.to_string();
    if !text.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return text;
    }
    text.chars()
        .map(|char| match char {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => format!("\\u{:04x}", char as u32),
            char => char.to_string(),
        })
        .collect()
}

impl fmt::Display for PathElement {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(out, ".{name}"),
            Self::Key(fields) => {
                let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={}", value_text(value))).collect();
                write!(out, "[{}]", fields.join(","))
            }
            Self::Value(value) => write!(out, "[={}]", value_text(value)),
            Self::Index(index) => write!(out, "[{index}]"),
        }
    }
}

fn value_text(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::String(text) => gofmt::quote(text),
        Value::Array(items) => format!("[{}]", items.iter().map(value_text).collect::<Vec<_>>().join(",")),
        Value::Object(map) => map.iter().map(|(key, value)| format!("{key}={}", value_text(value))).collect(),
        other => gofmt::plain(other),
    }
}

impl Ord for PathElement {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Field(a), Self::Field(b)) => a.cmp(b),
            (Self::Key(a), Self::Key(b)) => {
                let pairs = a.iter().zip(b).map(|((a, x), (b, y))| a.cmp(b).then_with(|| compare(x, y)));
                pairs.fold(Ordering::Equal, Ordering::then).then(a.len().cmp(&b.len()))
            }
            (Self::Value(a), Self::Value(b)) => compare(a, b),
            (Self::Index(a), Self::Index(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for PathElement {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for PathElement {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for PathElement {}

/// Orders values of any type: numbers, strings, booleans, lists, maps, null.
pub fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => a.cmp(&b),
            // An integer and a float of the same value are the same.
            _ => a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal),
        },
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Array(a), Value::Array(b)) => {
            let pairs = a.iter().zip(b).map(|(a, b)| compare(a, b)).find(|order| order.is_ne());
            pairs.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        (Value::Object(a), Value::Object(b)) => compare_maps(a, b),
        _ => rank(a).cmp(&rank(b)),
    }
}

fn compare_maps(a: &Map<String, Value>, b: &Map<String, Value>) -> Ordering {
    let sort = |map| {
        let mut entries: Vec<(&String, &Value)> = Map::iter(map).collect();
        entries.sort_by_key(|(key, _)| *key);
        entries
    };
    let (a, b) = (sort(a), sort(b));
    let pairs = a.iter().zip(&b).map(|((ka, va), (kb, vb))| ka.cmp(kb).then_with(|| compare(va, vb))).find(|order| order.is_ne());
    pairs.unwrap_or_else(|| a.len().cmp(&b.len()))
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Number(_) => 0,
        Value::String(_) => 1,
        Value::Bool(_) => 2,
        Value::Array(_) => 3,
        Value::Object(_) => 4,
        Value::Null => 5,
    }
}

/// Whether two values say the same: `1` and `1.0` do, and the order of keys is no part of a map.
pub fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| equal(value, other)))
        }
        (Value::Number(_), Value::Number(_)) => compare(a, b).is_eq(),
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_element_reads_what_it_wrote() {
        for text in ["f:spec", "f:", "f:a.b/c", r#"k:{"containerPort":80,"protocol":"TCP"}"#, r#"v:"a\u003cb""#, "v:1", "v:true", "i:3"] {
            assert_eq!(PathElement::parse(text).unwrap().unwrap().encode(), text);
        }
        assert_eq!(PathElement::parse("z:new").unwrap(), None);
        for bad in ["", "f", "fx", "k:[1]", "v:{", "i:x", "é"] {
            assert!(PathElement::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_print_as_in_conflicts() {
        let key = PathElement::key(vec![("protocol".into(), json!("TCP")), ("containerPort".into(), json!(80))]);
        assert_eq!(key.to_string(), "[containerPort=80,protocol=\"TCP\"]");
        assert_eq!(PathElement::Value(json!("x")).to_string(), "[=\"x\"]");
        assert_eq!(PathElement::field("spec").to_string(), ".spec");
    }

    #[test]
    fn numbers_are_equal_by_value() {
        assert!(equal(&json!({"a": 1, "b": [1.0]}), &json!({"b": [1], "a": 1.0})));
        assert!(!equal(&json!({"a": 1}), &json!({"a": 1, "b": null})));
    }
}
