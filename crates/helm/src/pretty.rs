//! `toYamlPretty`: yaml.v3's writer, which indents lists and does not fold.

use gotemplate::{Kind, Value, number};

const MAX_DEPTH: usize = 200;

/// Writes a value; `None` for what cannot be written.
pub(crate) fn write(value: &Value) -> Option<String> {
    let mut out = String::new();
    node(&mut out, value, 0, Place::Root, 0)?;
    while out.ends_with('\n') && !out.ends_with("\n\n") {
        out.pop();
    }
    Some(out)
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Root,
    /// After `- `.
    Item,
    /// After `key:`.
    Value,
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn node(out: &mut String, value: &Value, indent: usize, place: Place, depth: usize) -> Option<()> {
    if depth > MAX_DEPTH {
        return None;
    }
    let space = |out: &mut String| {
        if place == Place::Value {
            out.push(' ');
        }
    };
    match value.kind() {
        Kind::Map => {
            let mut entries = match value {
                Value::Map(map) => map.entries().into_vec(),
                Value::Object(object) => object.entries().unwrap_or_default(),
                _ => Vec::new(),
            };
            if entries.is_empty() {
                space(out);
                out.push_str("{}\n");
                return Some(());
            }
            yaml::sort_keys(&mut entries, |entry| &entry.0);
            if place == Place::Value {
                out.push('\n');
            }
            for (at, (key, value)) in entries.iter().enumerate() {
                if at > 0 || place != Place::Item {
                    pad(out, indent);
                }
                out.push_str(&scalar(key, indent));
                out.push(':');
                node(out, value, indent + 2, Place::Value, depth + 1)?;
            }
        }
        Kind::Slice => {
            let count = value.length().unwrap_or(0);
            if count == 0 {
                space(out);
                out.push_str("[]\n");
                return Some(());
            }
            if place == Place::Value {
                out.push('\n');
            }
            for at in 0..count {
                if at > 0 || place != Place::Item {
                    pad(out, indent);
                }
                out.push_str("- ");
                node(out, &value.item(at)?, indent + 2, Place::Item, depth + 1)?;
            }
        }
        _ => {
            space(out);
            let text = match value {
                Value::Invalid | Value::Nil => "null".to_owned(),
                Value::String(text) => scalar(&text.text(), indent),
                Value::Float(f) if f.is_nan() => ".nan".to_owned(),
                Value::Float(f) if f.is_infinite() => if *f > 0.0 { ".inf" } else { "-.inf" }.to_owned(),
                Value::Float(f) => number::float(*f),
                other => gotemplate::fmt::text(other).ok()?.text().into_owned(),
            };
            out.push_str(&text);
            out.push('\n');
        }
    }
    Some(())
}

/// A string as yaml.v3 writes it: v2's choice of quotes, no folding, blocks at the node's indentation.
fn scalar(text: &str, indent: usize) -> String {
    if text.contains('\n') {
        return block(text, indent);
    }
    let short = yaml::emit(&serde_json::Value::String(text.to_owned()));
    let short = short.trim_end_matches('\n');
    match short.as_bytes().first() {
        Some(b'\'') => format!("'{}'", text.replace('\'', "''")),
        Some(b'"') if !short.contains('\n') => short.to_owned(),
        Some(b'"') => short.split('\n').map(str::trim_start).collect::<Vec<_>>().join("").replace("\\\\ ", " "),
        _ => text.to_owned(),
    }
}

fn block(text: &str, indent: usize) -> String {
    let emitted = yaml::emit(&serde_json::Value::String(text.to_owned()));
    if !emitted.starts_with('|') {
        return emitted.trim_end_matches('\n').to_owned();
    }
    let inner = indent.max(2);
    let mut out = String::from(if text.ends_with("\n\n") {
        "|+"
    } else if text.ends_with('\n') {
        "|"
    } else {
        "|-"
    });
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        out.push('\n');
        if !line.is_empty() {
            pad(&mut out, inner);
            out.push_str(line);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_indented() {
        let value = gotemplate::Map::any();
        value.insert("a", Value::list(vec![Value::Float(1.0), Value::string("x y")]));
        value.insert("b", Value::string("l1\nl2\n"));
        assert_eq!(write(&Value::Map(value)).unwrap(), "a:\n  - 1\n  - x y\nb: |\n  l1\n  l2");
    }
}
