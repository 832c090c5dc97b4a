use crate::{
    Dialect, Error,
    node::Tag,
    node::{Data, Entry, Node, Scalar},
    resolve::{self, Resolved},
    scan::Mark,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};
use std::collections::HashSet;

/// The JSON that Go makes of a node.
pub(crate) fn json(node: &Node, dialect: Dialect) -> Result<Value, Error> {
    json_in(node, dialect, Way::Straight, false)
}

/// The JSON of a node that yaml.v3 has written and read again before, as kustomize does.
pub(crate) fn rewritten_json(node: &Node) -> Result<Value, Error> {
    json_in(node, Dialect::Kyaml, Way::Rewritten { flow: false }, true)
}

/// How a node comes to JSON.
#[derive(Clone, Copy)]
enum Way {
    Straight,
    /// Through text; `flow` inside braces.
    Rewritten {
        flow: bool,
    },
}

/// yaml.v3 writes a null without text as `''` where braces are around it, and reads a string.
pub(crate) fn is_blank(scalar: &Scalar) -> bool {
    scalar.tag == Tag::Null && scalar.text.is_empty()
}

fn json_in(node: &Node, dialect: Dialect, way: Way, root: bool) -> Result<Value, Error> {
    Ok(match &node.data {
        Data::List(items) => Value::Array(items.iter().map(|item| json_in(item, dialect, way, false)).collect::<Result<_, _>>()?),
        Data::Map(map) => {
            let inside = match way {
                Way::Rewritten { flow } => Way::Rewritten { flow: flow || map.flow },
                Way::Straight => Way::Straight,
            };
            let mut out = Map::with_capacity(map.len());
            for entry in &map.entries {
                if dialect == Dialect::Kyaml && !key_stays(entry, root)? {
                    continue;
                }
                if out.insert(entry.key.to_string(), json_in(&entry.value, dialect, inside, false)?).is_some() {
                    return Err(given_twice(entry, &map.entries));
                }
            }
            Value::Object(out)
        }
        Data::Scalar(scalar) => match way {
            Way::Rewritten { .. } if scalar.tag == Tag::Str => Value::String(rewritten(scalar).into_owned()),
            Way::Rewritten { flow: true } if is_blank(scalar) => Value::String(String::new()),
            _ => scalar_json(scalar, node, dialect)?,
        },
    })
}

/// Whether an entry is there in JSON. Go reads an object into a map of strings, so that its own keys become strings, and one that is null is
/// passed over; the keys of the maps inside must be strings.
pub(crate) fn key_stays(entry: &Entry, root: bool) -> Result<bool, Error> {
    match entry.tag {
        Tag::Str => Ok(true),
        Tag::Null if root => Ok(false),
        _ if root => Ok(true),
        _ => {
            let problem = format!("the key {} is not a string; put it in quotes", entry.key);
            Err(Error::value(mark(&entry.value), problem, "json: unsupported type: map[interface {}]interface {}"))
        }
    }
}

/// Whether JSON can have the keys of a node: they are strings, and none is given twice.
pub fn check_keys(node: &Node) -> Result<(), Error> {
    check_keys_in(node, true)
}

fn check_keys_in(node: &Node, root: bool) -> Result<(), Error> {
    match &node.data {
        Data::Scalar(_) => Ok(()),
        Data::List(items) => items.iter().try_for_each(|item| check_keys_in(item, false)),
        Data::Map(map) => {
            let mut seen = HashSet::with_capacity(map.len());
            for entry in &map.entries {
                key_stays(entry, root)?;
                if !seen.insert(entry.key.as_str()) {
                    return Err(given_twice(entry, &map.entries));
                }
                check_keys_in(&entry.value, false)?;
            }
            Ok(())
        }
    }
}

/// The error for a key that stands before in its map.
pub(crate) fn given_twice(entry: &Entry, entries: &[Entry]) -> Error {
    let before = entries.iter().find(|other| other.key == entry.key).map_or(0, |other| other.value.place.line);
    let problem = format!("mapping key \"{}\" already defined at line {before}", entry.key);
    let go = format!("yaml: unmarshal errors:\n  line {}: {problem}", entry.value.place.line);
    Error::value(mark(&entry.value), problem, go)
}

pub(crate) fn mark(node: &Node) -> Mark {
    Mark { index: 0, line: node.place.line.saturating_sub(1) as usize, column: 0 }
}

/// The text of a string after yaml.v3 wrote and read it again, as kustomize does with every object: its writer of folded scalars puts in more
/// line breaks than its reader takes out, before lines that are indented and at the end.
pub(crate) fn rewritten(scalar: &Scalar) -> std::borrow::Cow<'_, str> {
    let text = scalar.text.as_str();
    let blank = |c: char| matches!(c, ' ' | '\t' | '\n');
    // Text that cannot stand in a block scalar is written in quotes.
    let quoted =
        text.is_empty() || text.ends_with(' ') || text.contains(" \n") || text.contains(|c: char| (c < ' ' && c != '\n') || c > '\u{FFFF}');
    if scalar.style != crate::Style::Folded || quoted || !text.trim_end_matches('\n').contains('\n') && !text.ends_with("\n\n") {
        return text.into();
    }
    // The writer counts line breaks from the beginning of the text, wherever it is.
    let first = text.trim_start_matches('\n').chars().next();
    let doubles = first.is_some_and(|c| !blank(c));
    let mut out = String::from("- >");
    if text.starts_with(blank) {
        out.push('2');
    }
    if !text.ends_with('\n') {
        out.push('-');
    } else if text.ends_with("\n\n") {
        out.push('+');
    }
    out.push('\n');
    let (mut broke, mut leading) = (true, true);
    for c in text.chars() {
        if c == '\n' {
            if !broke && !leading && doubles {
                out.push('\n');
            }
            out.push('\n');
            broke = true;
            continue;
        }
        if std::mem::replace(&mut broke, false) {
            out.push_str("  ");
            leading = blank(c);
        }
        out.push(c);
    }
    match crate::node(&out, Dialect::Kyaml, crate::Limits::default(), 0) {
        Ok(Some(Node { data: Data::List(items), .. })) => {
            items.first().and_then(Node::text).map_or_else(|| text.into(), |text| text.to_owned().into())
        }
        _ => text.into(),
    }
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
        Tag::Str | Tag::Merge => Json::Str(text.into()),
        Tag::Null if text.is_empty() || resolve::resolve(dialect, text) == Resolved::Null => Json::Null,
        Tag::Timestamp => match dialect {
            // yaml.v2 hands timestamps on as their text.
            Dialect::Sigs => Json::Str(text.into()),
            Dialect::Kyaml => match resolve::timestamp(text) {
                Some(text) => Json::Str(text.into()),
                None => {
                    let problem = format!("cannot decode {} `{text}` as a !!timestamp", resolve::tag_of(dialect, text).name());
                    return Err(Error::value(mark(node), problem.clone(), format!("yaml: {problem}")));
                }
            },
        },
        Tag::Binary => {
            let decoded = STANDARD.decode(text.bytes().filter(|c| !matches!(c, b'\n' | b'\r')).collect::<Vec<u8>>());
            let Ok(bytes) = decoded else {
                let problem = "!!binary value contains invalid base64 data";
                return Err(Error::value(mark(node), problem, format!("yaml: {problem}")));
            };
            Json::Str(String::from_utf8_lossy(&bytes).into_owned().into())
        }
        Tag::Null | Tag::Bool | Tag::Int | Tag::Float => match resolve::resolve(dialect, text) {
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

/// A scalar as JSON would hold it.
pub fn scalar_view(node: &Node, dialect: Dialect) -> Option<Result<Json<'_>, Error>> {
    node.as_scalar().map(|value| scalar(value, node, dialect))
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
        Value::Bool(value) => Data::Scalar(Scalar::new(if *value { "true" } else { "false" }, Tag::Bool, crate::Style::Plain)).into(),
        Value::Number(number) => {
            let tag = if number.is_f64() { Tag::Float } else { Tag::Int };
            Data::Scalar(Scalar::new(number.to_string(), tag, crate::Style::Plain)).into()
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
