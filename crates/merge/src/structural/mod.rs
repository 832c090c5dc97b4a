//! Structural schemas of custom resources: what `openAPIV3Schema` says, made ready to be used many times.
//!
//! ```text
//! openAPIV3Schema --compile--> Node (tree)
//!     read:      prune (unknown fields), default            before anything looks at the object
//!     validate:  validate (types, values, lists), rules (CEL)
//!     merge:     CustomKind::type_handle                     how the kind merges (server-side apply)
//! ```
//!
//! Follows apiextensions-apiserver 1.36; texts and paths are its own.

mod declare;
mod default;
mod definition;
mod formats;
mod kind;
mod prune;
mod rules;
mod validate;

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Map, Value};

use crate::schema::ListKind;

pub use default::{apply_defaults, fill_defaults};
pub use definition::{Context as DefinitionContext, schema_problems};
pub use formats::is_go_duration;
pub use kind::{CustomKind, CustomTypes};
use prune::prune_value;
pub use prune::{Pruned, prune};
pub use validate::{check_embedded_types, validate, validate_update};

/// Schemas nest no deeper than this.
const DEPTH_MAX: usize = 100;

/// Compiled patterns are no larger than this many bytes.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// Why a schema cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{0}: the schema nests too deeply")]
    TooDeep(String),
    #[error("{0}: the schema is no map")]
    NotAMap(String),
}

/// One node of a structural schema.
#[derive(Debug, Default)]
pub struct Node {
    pub ty: Option<Type>,
    pub nullable: bool,
    pub int_or_string: bool,
    pub preserve_unknown: bool,
    pub embedded: bool,
    /// In the order of the schema.
    pub properties: Vec<(String, Node)>,
    pub additional: Additional,
    pub items: Option<Box<Node>>,
    pub default: Option<Value>,
    pub list_kind: Option<ListKind>,
    pub list_keys: Vec<String>,
    pub checks: Checks,
    pub rules: Vec<rules::Rule>,
    /// Whether this node or one below it has rules.
    pub ruled: bool,
    /// The fewest bytes that a value takes as JSON; known where there are rules.
    bytes_min: u64,
}

/// What other keys than the named properties a map may have.
#[derive(Debug, Default)]
pub enum Additional {
    /// Nothing is said: in a structural schema they are pruned.
    #[default]
    Unsaid,
    Any,
    None,
    Node(Box<Node>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

/// Restrictions on values.
#[derive(Debug, Default)]
pub struct Checks {
    pub format: String,
    pub required: Vec<String>,
    pub enumeration: Option<Vec<Value>>,
    pub pattern: Option<(String, Result<Regex, String>)>,
    pub minimum: Option<f64>,
    pub maximum: Option<f64>,
    pub exclusive_minimum: bool,
    pub exclusive_maximum: bool,
    pub multiple_of: Option<f64>,
    pub min_length: Option<i64>,
    pub max_length: Option<i64>,
    pub min_items: Option<i64>,
    pub max_items: Option<i64>,
    pub min_properties: Option<i64>,
    pub max_properties: Option<i64>,
    pub unique_items: bool,
    pub all_of: Vec<Node>,
    pub any_of: Vec<Node>,
    pub one_of: Vec<Node>,
    pub not: Option<Box<Node>>,
}

impl Type {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "object" => Self::Object,
            "array" => Self::Array,
            "string" => Self::String,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            _ => return None,
        })
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }
}

impl Node {
    /// Compiles an `openAPIV3Schema`.
    pub fn compile(schema: &Value) -> Result<Self, Error> {
        let mut node = compile(schema, "", 0)?;
        declare::compile_rules(schema, &mut node, true, 0);
        Ok(node)
    }

    pub fn property(&self, name: &str) -> Option<&Node> {
        self.properties.iter().find(|(known, _)| known == name).map(|(_, node)| node)
    }

    /// The schema of the value under a key.
    pub fn child(&self, key: &str) -> Option<&Node> {
        self.property(key).or(match &self.additional {
            Additional::Node(node) => Some(node),
            _ => None,
        })
    }
}

fn compile(schema: &Value, path: &str, depth: usize) -> Result<Node, Error> {
    let Some(map) = schema.as_object() else { return Err(Error::NotAMap(path.to_owned())) };
    if depth > DEPTH_MAX {
        return Err(Error::TooDeep(path.to_owned()));
    }
    let flag = |key: &str| map.get(key).and_then(Value::as_bool).unwrap_or(false);
    let text = |key: &str| map.get(key).and_then(Value::as_str).unwrap_or("");
    let below = |schema: &Value, name: &str| compile(schema, &crate::field::child(path, name), depth + 1);
    let mut properties = Vec::new();
    for (name, property) in map.get("properties").and_then(Value::as_object).into_iter().flatten() {
        properties.push((name.clone(), below(property, name)?));
    }
    let additional = match map.get("additionalProperties") {
        None | Some(Value::Null) => Additional::Unsaid,
        Some(Value::Bool(true)) => Additional::Any,
        Some(Value::Bool(false)) => Additional::None,
        Some(schema) => Additional::Node(Box::new(below(schema, "*")?)),
    };
    let items = map.get("items").filter(|items| !items.is_null()).map(|items| below(items, "[]")).transpose()?;
    let int_or_string = flag("x-kubernetes-int-or-string");
    let ty = Type::parse(text("type"));
    Ok(Node {
        ty,
        nullable: flag("nullable"),
        int_or_string,
        preserve_unknown: flag("x-kubernetes-preserve-unknown-fields"),
        embedded: flag("x-kubernetes-embedded-resource"),
        properties,
        additional,
        items: items.map(Box::new),
        default: map.get("default").filter(|default| !default.is_null()).cloned(),
        list_kind: match text("x-kubernetes-list-type") {
            "set" => Some(ListKind::Set),
            "map" => Some(ListKind::Map),
            "atomic" => Some(ListKind::Atomic),
            _ => None,
        },
        list_keys: strings(map.get("x-kubernetes-list-map-keys")),
        checks: compile_checks(map, ty, int_or_string, path, depth)?,
        rules: Vec::new(),
        ruled: false,
        bytes_min: 0,
    })
}

fn compile_checks(map: &Map<String, Value>, ty: Option<Type>, int_or_string: bool, path: &str, depth: usize) -> Result<Checks, Error> {
    let number = |key: &str| map.get(key).and_then(Value::as_f64);
    let count = |key: &str| map.get(key).and_then(Value::as_i64);
    let flag = |key: &str| map.get(key).and_then(Value::as_bool).unwrap_or(false);
    let nodes = |key: &str| -> Result<Vec<Node>, Error> {
        map.get(key).and_then(Value::as_array).into_iter().flatten().map(|schema| compile(schema, path, depth + 1)).collect()
    };
    let format = map.get("format").and_then(Value::as_str).unwrap_or("");
    Ok(Checks {
        format: formats::supported(format, ty, int_or_string).to_owned(),
        required: strings(map.get("required")),
        enumeration: map.get("enum").and_then(Value::as_array).filter(|values| !values.is_empty()).cloned(),
        pattern: map.get("pattern").and_then(Value::as_str).filter(|text| !text.is_empty()).map(|text| (text.to_owned(), pattern(text))),
        minimum: number("minimum"),
        maximum: number("maximum"),
        exclusive_minimum: flag("exclusiveMinimum"),
        exclusive_maximum: flag("exclusiveMaximum"),
        multiple_of: number("multipleOf"),
        min_length: count("minLength"),
        max_length: count("maxLength"),
        min_items: count("minItems"),
        max_items: count("maxItems"),
        min_properties: count("minProperties"),
        max_properties: count("maxProperties"),
        unique_items: flag("uniqueItems"),
        all_of: nodes("allOf")?,
        any_of: nodes("anyOf")?,
        one_of: nodes("oneOf")?,
        not: match map.get("not").filter(|schema| !schema.is_null()) {
            Some(schema) => Some(Box::new(compile(schema, path, depth + 1)?)),
            None => None,
        },
    })
}

fn pattern(text: &str) -> Result<Regex, String> {
    regex::RegexBuilder::new(text).size_limit(PATTERN_BYTES_MAX).build().map_err(|error| error.to_string())
}

fn strings(value: Option<&Value>) -> Vec<String> {
    value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Where the elements of a list of maps are told apart by their keys: the old element that is the same one.
fn correlated<'v>(node: &Node, old: Option<&'v Value>, item: &Value) -> Option<&'v Value> {
    if node.list_kind != Some(ListKind::Map) {
        return None;
    }
    let key = |value: &Value| -> BTreeMap<String, String> {
        node.list_keys.iter().filter_map(|key| Some((key.clone(), value.get(key)?.to_string()))).collect()
    };
    let wanted = key(item);
    let mut same = old?.as_array()?.iter().filter(|old| key(old) == wanted);
    // A key that is there twice tells nothing.
    same.next().filter(|_| same.next().is_none())
}
