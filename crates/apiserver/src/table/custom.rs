use super::{Column, age};
use crate::registry::Custom;
use jiff::Timestamp;
use serde_json::Value;

const NAME: &str = "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names";

pub fn columns(custom: &Custom) -> Vec<Column> {
    let mut out = vec![Column { name: "Name".to_owned(), kind: "string", format: "name", description: NAME.to_owned(), priority: 0 }];
    if custom.columns.is_empty() {
        out.push(Column {
            name: "Age".to_owned(),
            kind: "date",
            format: "",
            description: "CreationTimestamp is a timestamp representing the server time when this object was created.".to_owned(),
            priority: 0,
        });
    }
    for column in &custom.columns {
        let text = |key: &str| column.get(key).and_then(Value::as_str).unwrap_or("");
        let kind = match text("type") {
            "integer" => "integer",
            "number" => "number",
            "boolean" => "boolean",
            "date" => "date",
            _ => "string",
        };
        let format = match text("format") {
            "int32" => "int32",
            "int64" => "int64",
            "float" => "float",
            "double" => "double",
            "date-time" => "date-time",
            _ => "",
        };
        let description = match text("description") {
            "" => format!("Custom resource definition column (in JSONPath format): {}", text("jsonPath")),
            given => given.to_owned(),
        };
        out.push(Column {
            name: text("name").to_owned(),
            kind,
            format,
            description,
            priority: column.get("priority").and_then(Value::as_i64).unwrap_or(0),
        });
    }
    out
}

pub fn cells(custom: &Custom, object: &Value, now: Timestamp) -> Vec<Value> {
    let mut out = vec![object["metadata"]["name"].clone()];
    if custom.columns.is_empty() {
        out.push(Value::from(age(object.pointer("/metadata/creationTimestamp"), now)));
    }
    for column in &custom.columns {
        let path = column.get("jsonPath").and_then(Value::as_str).unwrap_or("");
        let kind = column.get("type").and_then(Value::as_str).unwrap_or("");
        out.push(cell(kind, &find(path, object), now));
    }
    out
}

/// Several results are shown as one text; one keeps its type when that is the column's.
fn cell(kind: &str, found: &[&Value], now: Timestamp) -> Value {
    let Some(first) = found.first() else { return Value::Null };
    if found.len() > 1 && kind == "string" {
        return Value::from(found.iter().map(|v| plain(v)).collect::<Vec<_>>().join(","));
    }
    match (kind, first) {
        (_, Value::Null) => Value::Null,
        ("date", value) => Value::from(age(Some(value), now)),
        ("integer", value) => value.as_i64().or_else(|| value.as_f64().map(|f| f as i64)).map_or(Value::Null, Value::from),
        ("number", value) => value.as_f64().map_or(Value::Null, Value::from),
        ("boolean", value) => value.as_bool().map_or(Value::Null, Value::from),
        (_, value) => Value::from(plain(value)),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The results of a path: keys, indices, wildcards and equality filters (`.a.b[?(@.type=="Ready")].status`).
fn find<'a>(path: &str, object: &'a Value) -> Vec<&'a Value> {
    let mut at = vec![object];
    let mut rest = path.trim().trim_start_matches('{').trim_end_matches('}').trim_start_matches('$');
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            // A backslash takes the meaning from a dot.
            let mut key = String::new();
            let mut chars = after.char_indices();
            let mut end = after.len();
            while let Some((index, c)) = chars.next() {
                match c {
                    '\\' => key.extend(chars.next().map(|(_, c)| c)),
                    '.' | '[' => {
                        end = index;
                        break;
                    }
                    c => key.push(c),
                }
            }
            rest = &after[end..];
            if key.is_empty() {
                continue;
            }
            at = if key == "*" {
                at.into_iter().flat_map(children).collect()
            } else {
                at.into_iter().filter_map(|value| value.get(key.as_str())).collect()
            };
        } else if rest.starts_with('[') {
            let Some(close) = closing(rest) else { return Vec::new() };
            let inner = &rest[1..close];
            rest = &rest[close + 1..];
            at = bracket(inner, at);
        } else {
            // A path without its leading dot.
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            at = at.into_iter().filter_map(|value| value.get(&rest[..end])).collect();
            rest = &rest[end..];
        }
    }
    at
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(map) => map.values().collect(),
        _ => Vec::new(),
    }
}

fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

fn bracket<'a>(inner: &str, at: Vec<&'a Value>) -> Vec<&'a Value> {
    let inner = inner.trim();
    if inner == "*" {
        return at.into_iter().flat_map(children).collect();
    }
    if let Some(test) = inner.strip_prefix("?(").and_then(|t| t.strip_suffix(')')) {
        return at.into_iter().flat_map(children).filter(|item| filter(test, item)).collect();
    }
    if let Ok(index) = inner.parse::<i64>() {
        return at
            .into_iter()
            .filter_map(|value| {
                let list = value.as_array()?;
                let place = if index < 0 { i64::try_from(list.len()).ok()? + index } else { index };
                list.get(usize::try_from(place).ok()?)
            })
            .collect();
    }
    let key = inner.trim_matches(['\'', '"']);
    at.into_iter().filter_map(|value| value.get(key)).collect()
}

fn filter(test: &str, item: &Value) -> bool {
    for (operator, wanted_equal) in [("==", true), ("!=", false)] {
        if let Some((path, literal)) = test.split_once(operator) {
            let found = find(path.trim().trim_start_matches('@'), item);
            let literal = literal.trim();
            let wanted = match literal.strip_prefix(['"', '\'']) {
                Some(text) => Value::from(text.trim_end_matches(['"', '\''])),
                None => serde_json::from_str(literal).unwrap_or(Value::Null),
            };
            return found.first().is_some_and(|value| (**value == wanted) == wanted_equal);
        }
    }
    !find(test.trim().trim_start_matches('@'), item).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_find_conditions_keys_and_lists() {
        let object = json!({"status": {"conditions": [{"type": "A", "status": "x"}, {"type": "Ready", "status": "True"}], "list": [1, 2]},
            "metadata": {"annotations": {"a.b/c": "v"}}});
        assert_eq!(find(".status.conditions[?(@.type==\"Ready\")].status", &object), [&json!("True")]);
        assert_eq!(find(".metadata.annotations.a\\.b/c", &object), [&json!("v")]);
        assert_eq!(find(".metadata.annotations['a.b/c']", &object), [&json!("v")]);
        assert_eq!(find(".status.list[*]", &object).len(), 2);
        assert_eq!(find(".status.list[-1]", &object), [&json!(2)]);
        assert!(find(".nothing[0].here", &object).is_empty());
        assert!(find("[", &object).is_empty());
    }
}
