use crate::{
    Dialect, Error,
    node::Tag,
    node::{Data, Node, Scalar},
    resolve::{self, Resolved},
    scan::Mark,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};

/// The JSON that Go makes of a node.
pub(crate) fn json(node: &Node, dialect: Dialect) -> Result<Value, Error> {
    Ok(match &node.data {
        Data::List(items) => Value::Array(items.iter().map(|item| json(item, dialect)).collect::<Result<_, _>>()?),
        Data::Map(map) => {
            let mut out = Map::with_capacity(map.len());
            for entry in &map.entries {
                if entry.tag != Tag::Str && dialect == Dialect::Kyaml {
                    return Err(not_a_string_key(&entry.key, node));
                }
                out.insert(entry.key.to_string(), json(&entry.value, dialect)?);
            }
            Value::Object(out)
        }
        Data::Scalar(scalar) => scalar_json(scalar, node, dialect)?,
    })
}

pub(crate) fn not_a_string_key(key: &str, node: &Node) -> Error {
    let problem = format!("the key {key} is not a string; put it in quotes");
    Error::value(mark(node), problem, "json: unsupported type: map[interface {}]interface {}")
}

pub(crate) fn mark(node: &Node) -> Mark {
    Mark { index: 0, line: node.place.line.saturating_sub(1) as usize, column: 0 }
}

/// The text of a string after yaml.v3 wrote and read it again: it adds a line break to folded scalars that keep theirs.
pub(crate) fn rewritten(scalar: &Scalar) -> std::borrow::Cow<'_, str> {
    let text = scalar.text.as_str();
    if scalar.style != crate::Style::Folded || !text.ends_with("\n\n") {
        return text.into();
    }
    let body = text.trim_end_matches('\n');
    let last = body.rsplit('\n').next().unwrap_or("");
    if last.is_empty() || last.starts_with([' ', '\t']) { text.into() } else { format!("{text}\n").into() }
}

/// A scalar as JSON would hold it.
#[derive(Debug, Clone, PartialEq)]
pub enum Json<'a> {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Str(std::borrow::Cow<'a, str>),
}

pub(crate) fn scalar<'a>(scalar: &'a Scalar, node: &Node, dialect: Dialect) -> Result<Json<'a>, Error> {
    let text = scalar.text.as_str();
    let value_tag = scalar.tag;
    Ok(match value_tag {
        Tag::Str | Tag::Merge => Json::Str(rewritten(scalar)),
        Tag::Null => Json::Null,
        Tag::Timestamp => match dialect {
            // yaml.v2 hands timestamps on as their text.
            Dialect::Sigs => Json::Str(text.into()),
            Dialect::Kyaml => Json::Str(resolve::timestamp(text).map_or_else(|| text.into(), Into::into)),
        },
        Tag::Binary => {
            let decoded = STANDARD.decode(text.bytes().filter(|c| !matches!(c, b'\n' | b'\r')).collect::<Vec<u8>>());
            let Ok(bytes) = decoded else {
                let problem = "!!binary value contains invalid base64 data";
                return Err(Error::value(mark(node), problem, format!("yaml: {problem}")));
            };
            Json::Str(String::from_utf8_lossy(&bytes).into_owned().into())
        }
        Tag::Bool | Tag::Int | Tag::Float => match resolve::resolve(dialect, text) {
            Resolved::Bool(value) if value_tag == Tag::Bool => Json::Bool(value),
            Resolved::Int(value) if value_tag != Tag::Bool => Json::Number(value.into()),
            Resolved::UInt(value) if value_tag != Tag::Bool => Json::Number(value.into()),
            Resolved::Float(value) if value_tag == Tag::Float => match resolve::json_number(value) {
                Some(number) => Json::Number(number),
                None => {
                    let go = format!(
                        "json: unsupported value: {}",
                        if value.is_nan() {
                            "NaN"
                        } else if value > 0.0 {
                            "+Inf"
                        } else {
                            "-Inf"
                        }
                    );
                    return Err(Error::value(mark(node), format!("JSON has no number for {text}"), go));
                }
            },
            // A transformer has changed the text under a tag; Go refuses such a value when it reads its own output.
            found => {
                let problem = format!("cannot decode {} `{text}` as a {}", found.tag().name(), value_tag.name());
                return Err(Error::value(mark(node), problem.clone(), format!("yaml: {problem}")));
            }
        },
    })
}

/// A scalar of kyaml as JSON would hold it.
pub fn scalar_json_view(node: &Node) -> Option<Result<Json<'_>, Error>> {
    node.as_scalar().map(|value| scalar(value, node, Dialect::Kyaml))
}

fn scalar_json(value: &Scalar, node: &Node, dialect: Dialect) -> Result<Value, Error> {
    Ok(match scalar(value, node, dialect)? {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(value),
        Json::Number(value) => Value::Number(value),
        Json::Str(value) => Value::String(value.into_owned()),
    })
}

/// A node that holds a JSON value.
pub fn from_json(value: &Value) -> Node {
    match value {
        Value::Null => Node::null(),
        Value::Bool(value) => {
            Data::Scalar(Scalar { text: if *value { "true" } else { "false" }.into(), tag: Tag::Bool, style: crate::Style::Plain }).into()
        }
        Value::Number(number) => {
            let tag = if number.is_f64() { Tag::Float } else { Tag::Int };
            Data::Scalar(Scalar { text: number.to_string().into(), tag, style: crate::Style::Plain }).into()
        }
        Value::String(text) => Node::string(text.as_str()),
        Value::Array(items) => Node::list(items.iter().map(from_json).collect()),
        Value::Object(map) => {
            let mut out = crate::Map::default();
            out.entries.extend(map.iter().map(|(key, value)| crate::Entry { key: key.into(), tag: Tag::Str, value: from_json(value) }));
            Data::Map(out).into()
        }
    }
}
