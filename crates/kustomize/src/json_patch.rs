//! JSON patch (RFC 6902) as evanphx/json-patch v4 applies it, which Kubernetes tools share: negative indexes count from the end.

use crate::{
    budget::Budget,
    error::{Result, problem},
};
use serde_json::Value;
use smol_str::SmolStr;
use yaml::{Data, Dialect, Node, Place, Scalar, Style, Tag};

/// A patch that was read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Patch {
    operations: Vec<Operation>,
}

#[derive(Debug, Clone)]
struct Operation {
    op: String,
    path: Option<String>,
    from: Option<String>,
    value: Option<Node>,
    /// Where it stands in the text, from zero.
    line: u32,
}

/// More operations than this are an error.
const OPERATIONS_MAX: usize = 10_000;

impl Patch {
    /// Reads a patch from JSON or YAML text.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        // What begins like JSON must be JSON.
        let value = if text.starts_with('[') {
            serde_json::from_str(text).map_err(|error| error.to_string())?
        } else {
            yaml::to_json(text, Dialect::Sigs).map_err(|error| error.to_string())?
        };
        let mut patch = Self::from_json(&value)?;
        // The values are read as Go reads them, which tells no lines.
        if let Ok(Some(list)) = yaml::node(text, Dialect::Sigs, yaml::Limits::default(), 0) {
            for (operation, node) in patch.operations.iter_mut().zip(list.as_list().into_iter().flatten()) {
                operation.line = node.place.line.saturating_sub(1);
            }
        }
        Ok(patch)
    }

    pub fn from_json(value: &Value) -> std::result::Result<Self, String> {
        let list = match value {
            Value::Null => return Ok(Self::default()),
            Value::Array(list) => list,
            _ => return Err("a JSON patch is a list of operations".to_owned()),
        };
        if list.len() > OPERATIONS_MAX {
            return Err(format!("a JSON patch may have {OPERATIONS_MAX} operations, this one has {}", list.len()));
        }
        let mut operations = Vec::with_capacity(list.len());
        for item in list {
            let Value::Object(map) = item else { return Err("an operation of a JSON patch is a map".to_owned()) };
            let text = |key: &str| map.get(key).and_then(Value::as_str).map(str::to_owned);
            let op = text("op").unwrap_or_else(|| "unknown".to_owned());
            if matches!(op.as_str(), "add" | "replace") && !map.contains_key("value") {
                return Err(format!("operation \"{op}\" of the JSON patch has no value"));
            }
            operations.push(Operation {
                op,
                path: text("path"),
                from: text("from"),
                value: map.get("value").map(yaml::from_json),
                line: 0,
            });
        }
        Ok(Self { operations })
    }

    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Applies the patch, whose text begins at a place, to an object. As in kustomize the object goes through JSON: numbers become floats and come back.
    pub fn apply(&self, node: &mut Node, place: Place, budget: &Budget) -> Result<()> {
        yaml::check_keys(node).map_err(|error| problem(error.to_string()))?;
        for operation in &self.operations {
            budget.spend(1)?;
            self.apply_one(operation, node, place, budget)?;
        }
        through_json(node)?;
        if node.as_map().is_none() {
            return Err(problem(format!("the JSON patch leaves {}, not an object", node.describe())));
        }
        Ok(())
    }

    fn apply_one(&self, operation: &Operation, node: &mut Node, place: Place, budget: &Budget) -> Result<()> {
        let path =
            operation.path.as_deref().ok_or_else(|| problem(format!("operation \"{}\" of the JSON patch has no path", operation.op)))?;
        let fail = |why: String| problem(format!("JSON patch: {} {path}: {why}", operation.op));
        let depth = path.matches('/').count();
        let place = Place { line: place.line + operation.line, ..place };
        let value = || {
            let mut value = operation.value.clone().unwrap_or_else(Node::null);
            budget.place(&value, depth)?;
            crate::ops::stamp(&mut value, place);
            Ok::<_, crate::Error>(value)
        };
        match operation.op.as_str() {
            "add" => add(node, path, value()?).map_err(fail),
            "remove" => remove(node, path).map(drop).map_err(fail),
            "replace" => replace(node, path, value()?).map_err(fail),
            "move" | "copy" => {
                let from = operation.from.as_deref().ok_or_else(|| fail("it has no from".to_owned()))?;
                let moved = if operation.op == "move" {
                    if path.strip_prefix(from).is_some_and(|rest| rest.starts_with('/')) {
                        return Err(fail("a value cannot move into itself".to_owned()));
                    }
                    remove(node, from).map_err(fail)?
                } else {
                    get(node, from).map_err(fail)?.clone()
                };
                budget.place(&moved, depth)?;
                add(node, path, moved).map_err(fail)
            }
            "test" => {
                // Null is what a missing field of what is there has.
                let may_be_missing = operation.value.as_ref().is_none_or(Node::is_null) && has_parent(node, path);
                let found = match get(node, path) {
                    Ok(found) => Some(found),
                    Err(_) if may_be_missing => None,
                    Err(why) => return Err(fail(why)),
                };
                let wanted = operation.value.clone().unwrap_or_else(Node::null);
                let json = |node: &Node| yaml::node_json(node).ok();
                let equal = match found {
                    Some(found) => json(found) == json(&wanted),
                    None => true,
                };
                if equal { Ok(()) } else { Err(fail("the value is another; test failed".to_owned())) }
            }
            other => Err(problem(format!("JSON patch: unknown operation \"{other}\""))),
        }
    }
}

type Step<T> = std::result::Result<T, String>;

fn parts(path: &str) -> Vec<SmolStr> {
    path.split('/')
        .skip(1)
        .map(|part| if part.contains('~') { part.replace("~1", "/").replace("~0", "~").into() } else { part.into() })
        .collect()
}

/// The container that holds the last part of a path.
fn parent<'a>(node: &'a mut Node, parts: &[SmolStr]) -> Step<&'a mut Node> {
    let mut at = node;
    for part in parts {
        at = child(at, part).ok_or_else(|| format!("nothing is at \"{part}\""))?;
    }
    match at.data {
        Data::Scalar(_) => Err("it is below a scalar".to_owned()),
        _ => Ok(at),
    }
}

fn child<'a>(node: &'a mut Node, part: &str) -> Option<&'a mut Node> {
    match &mut node.data {
        Data::Map(map) => map.get_mut(part),
        Data::List(items) => {
            let at = index(part, items.len())?;
            items.get_mut(at)
        }
        Data::Scalar(_) => None,
    }
}

/// An index into a list; negative ones count from the end.
fn index(part: &str, len: usize) -> Option<usize> {
    let at: i64 = part.parse().ok()?;
    let at = if at < 0 { at + len as i64 } else { at };
    usize::try_from(at).ok()
}

fn get<'a>(node: &'a mut Node, path: &str) -> Step<&'a mut Node> {
    let mut at = node;
    for part in parts(path) {
        at = child(at, &part).ok_or_else(|| format!("nothing is at \"{part}\""))?;
    }
    Ok(at)
}

fn has_parent(node: &mut Node, path: &str) -> bool {
    split(path).and_then(|(before, _)| parent(node, &before)).is_ok_and(|parent| parent.as_map().is_some())
}

fn split(path: &str) -> Step<(Vec<SmolStr>, SmolStr)> {
    let mut parts = parts(path);
    match parts.pop() {
        Some(last) => Ok((parts, last)),
        None if path.is_empty() => Err("the path is empty".to_owned()),
        None => Err("a path begins with /".to_owned()),
    }
}

fn add(node: &mut Node, path: &str, value: Node) -> Step<()> {
    let (before, last) = split(path)?;
    match &mut parent(node, &before)?.data {
        Data::Map(map) => map.insert(last, value),
        Data::List(items) if last == "-" => items.push(value),
        Data::List(items) => {
            let at: i64 = last.parse().map_err(|_| format!("\"{last}\" is no index of a list"))?;
            let len = items.len() as i64;
            // One past the end is allowed, and for a negative index one step more.
            let at = if at < 0 { at + len + 1 } else { at };
            if !(0..=len).contains(&at) {
                return Err(format!("index {last} is out of bounds of {len} elements"));
            }
            items.insert(at as usize, value);
        }
        Data::Scalar(_) => return Err("it is below a scalar".to_owned()),
    }
    Ok(())
}

fn remove(node: &mut Node, path: &str) -> Step<Node> {
    let (before, last) = split(path)?;
    match &mut parent(node, &before)?.data {
        Data::Map(map) => map.remove(&last).ok_or_else(|| format!("there is no \"{last}\" to remove")),
        Data::List(items) => match index(&last, items.len()) {
            Some(at) if at < items.len() => Ok(items.remove(at)),
            _ => Err(format!("index {last} is out of bounds of {} elements", items.len())),
        },
        Data::Scalar(_) => Err("it is below a scalar".to_owned()),
    }
}

fn replace(node: &mut Node, path: &str, value: Node) -> Step<()> {
    if path.is_empty() {
        *node = value;
        return Ok(());
    }
    let (before, last) = split(path)?;
    let parent = parent(node, &before)?;
    let found = child(parent, &last).ok_or_else(|| format!("there is no \"{last}\" to replace"))?;
    *found = value;
    Ok(())
}

/// What a value becomes on its way through Go's JSON: timestamps are strings, and numbers print as floats do.
fn through_json(node: &mut Node) -> Result<()> {
    match &mut node.data {
        Data::List(items) => return items.iter_mut().try_for_each(through_json),
        Data::Map(map) => return map.entries.iter_mut().try_for_each(|entry| through_json(&mut entry.value)),
        Data::Scalar(scalar) if matches!(scalar.tag, Tag::Str | Tag::Bool | Tag::Null) => return Ok(()),
        Data::Scalar(_) => {}
    }
    let replaced = match yaml::scalar_json_view(node) {
        Some(Ok(yaml::Json::Number(number))) => {
            let text = yaml::format_float(number.as_f64().unwrap_or_default());
            let tag = yaml::plain_tag(Dialect::Kyaml, &text);
            Some(Scalar::new(text, tag, Style::Plain))
        }
        Some(Ok(yaml::Json::Str(text))) => Some(Scalar::string(text.as_ref())),
        Some(Err(error)) => return Err(problem(error.to_string())),
        _ => None,
    };
    if let Some(scalar) = replaced {
        node.data = Data::Scalar(scalar);
    }
    Ok(())
}
