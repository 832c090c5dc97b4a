//! JSON as Go's encoding/json writes it: sorted keys, `<`, `>` and `&` escaped.

use serde_json::Value;
use std::fmt::Write;
use yaml::{Data, Node, Style, Tag};

pub(crate) fn write(value: &Value, pretty: bool) -> String {
    let mut out = String::new();
    value_into(value, pretty.then_some(0), &mut out);
    out
}

fn value_into(value: &Value, indent: Option<usize>, out: &mut String) {
    let line = |depth: usize, out: &mut String| {
        if indent.is_some() {
            out.push('\n');
            out.push_str(&"  ".repeat(depth));
        }
    };
    let depth = indent.unwrap_or(0);
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::String(text) => string_into(text, out),
        Value::Array(items) if items.is_empty() => out.push_str("[]"),
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                line(depth + 1, out);
                value_into(item, indent.map(|depth| depth + 1), out);
            }
            line(depth, out);
            out.push(']');
        }
        Value::Object(map) if map.is_empty() => out.push_str("{}"),
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by(|a, b| a.0.cmp(b.0));
            out.push('{');
            for (at, (key, item)) in entries.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                line(depth + 1, out);
                string_into(key, out);
                out.push_str(if indent.is_some() { ": " } else { ":" });
                value_into(item, indent.map(|depth| depth + 1), out);
            }
            line(depth, out);
            out.push('}');
        }
    }
}

pub(crate) fn string_into(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..'\u{20}' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// YAML that stands in a string, in the order it had.
pub(crate) fn write_yaml(node: &Node) -> String {
    let mut out = String::new();
    yaml_into(node, 0, &mut out);
    out
}

fn yaml_into(node: &Node, depth: usize, out: &mut String) {
    let pad = "  ".repeat(depth);
    match &node.data {
        Data::Map(map) if !map.is_empty() && !map.flow => {
            for (key, value) in map.iter() {
                let _ = write!(out, "{pad}{}:", scalar_text(&Node::string(key)));
                below(value, depth, matches!(value.data, Data::List(_)), out);
            }
        }
        Data::List(items) if !items.is_empty() => {
            for item in items {
                let mut inner = String::new();
                if matches!(&item.data, Data::Map(map) if !map.is_empty() && !map.flow)
                    || matches!(&item.data, Data::List(list) if !list.is_empty())
                {
                    yaml_into(item, depth + 1, &mut inner);
                    let _ = write!(out, "{pad}- {}", inner.trim_start());
                } else {
                    let _ = write!(out, "{pad}-");
                    below(item, depth, false, out);
                }
            }
        }
        _ => {
            let _ = writeln!(out, "{pad}{}", scalar_text(node));
        }
    }
}

fn below(value: &Node, depth: usize, list: bool, out: &mut String) {
    let block = matches!(&value.data, Data::Map(map) if !map.is_empty() && !map.flow)
        || matches!(&value.data, Data::List(items) if !items.is_empty());
    if block {
        out.push('\n');
        yaml_into(value, if list { depth } else { depth + 1 }, out);
        return;
    }
    let text = scalar_text(value);
    let mut lines = text.lines();
    let _ = writeln!(out, " {}", lines.next().unwrap_or(""));
    for line in lines {
        let _ = writeln!(out, "{}{line}", if line.is_empty() { String::new() } else { "  ".repeat(depth) });
    }
}

fn scalar_text(node: &Node) -> String {
    match &node.data {
        Data::List(items) => format!("[{}]", items.iter().map(scalar_text).collect::<Vec<_>>().join(", ")),
        Data::Map(map) => {
            let entries: Vec<String> =
                map.iter().map(|(key, value)| format!("{}: {}", scalar_text(&Node::string(key)), scalar_text(value))).collect();
            format!("{{{}}}", entries.join(", "))
        }
        Data::Scalar(scalar) => match scalar.style {
            Style::Single => format!("'{}'", scalar.text.replace('\'', "''")),
            Style::Double if scalar.tag == Tag::Str => {
                let mut out = String::new();
                string_into(&scalar.text, &mut out);
                out
            }
            Style::Plain if scalar.tag == Tag::Str && yaml::is_plain(&scalar.text) => scalar.text.to_string(),
            _ if scalar.tag == Tag::Str => {
                let mut out = String::new();
                yaml::emit_into(&Value::from(scalar.text.as_str()), &mut out);
                out.trim_end_matches('\n').to_owned()
            }
            _ if yaml::plain_tag(yaml::Dialect::Kyaml, &scalar.text) != scalar.tag => format!("{} {}", scalar.tag.name(), scalar.text),
            _ => scalar.text.to_string(),
        },
    }
}
