use super::{Detail, Difference, compare::scalar_text};
use serde_json::{Map, Value};
use yaml::sort_keys;

/// As wide as a terminal that is none; blocks that fit into it stand side by side.
const WIDTH: usize = 80;
/// Longer texts are not compared line by line: that takes the product of their lines.
const LINE_PAIRS_MAX: usize = 4_000_000;

/// The report: for each difference an empty line, its path, and what happened there; an empty line at the end.
pub fn render(differences: &[Difference]) -> String {
    let mut out = String::new();
    for difference in differences {
        out.push_str(&format!("\n{}\n", difference.path));
        let details: Vec<String> = difference.details.iter().map(detail).collect();
        blocks(&details, &mut out);
    }
    out.push('\n');
    out
}

fn detail(detail: &Detail) -> String {
    match detail {
        // What is added stands two columns in.
        Detail::Added(value) => entries("+", "added", value, "  "),
        Detail::Removed(value) => entries("-", "removed", value, ""),
        Detail::Changed { from, to } => changed(from, to),
        Detail::Reordered { from, to } => reordered(from, to),
    }
}

fn entries(sign: &str, verb: &str, value: &Value, indent: &str) -> String {
    let what = match value {
        Value::Object(map) => plural(map.len(), "map entry", "map entries"),
        Value::Array(items) => plural(items.len(), "list entry", "list entries"),
        _ => String::new(),
    };
    let mut out = format!("{sign} {what} {verb}:\n");
    let text: String =
        yaml_text(value).split('\n').map(|line| if line.is_empty() { "\n".to_owned() } else { format!("{indent}{line}\n") }).collect();
    blocks(&[text.strip_suffix('\n').unwrap_or(&text).to_owned()], &mut out);
    out
}

fn plural(count: usize, one: &str, many: &str) -> String {
    const WORDS: [&str; 13] = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];
    let number = WORDS.get(count).map_or_else(|| count.to_string(), |word| (*word).to_owned());
    format!("{number} {}", if count == 1 { one } else { many })
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "int",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "map",
    }
}

fn changed(from: &Value, to: &Value) -> String {
    if let (Value::String(from), Value::String(to)) = (from, to) {
        return changed_text(from, to);
    }
    let title = if kind(from) == kind(to) {
        "± value change\n".to_owned()
    } else {
        format!("± type change from {} to {}\n", kind(from), kind(to))
    };
    let text = |value: &Value| if value.is_null() { "<nil>".to_owned() } else { yaml_text(value).trim_end_matches('\n').to_owned() };
    title + &prefixed("- ", &text(from)) + &prefixed("+ ", &text(to))
}

fn changed_text(from: &str, to: &str) -> String {
    let trim = |text: &str| text.trim_matches([' ', '\n']).to_owned();
    if trim(from) == trim(to) {
        let mut out = "± whitespace only change\n".to_owned();
        let show = |text: &str| text.replace('\n', "↵\n").replace(' ', "·");
        blocks(&[prefixed("- ", &show(from)), prefixed("+ ", &show(to))], &mut out);
        return out;
    }
    if from.contains('\n') || to.contains('\n') {
        let chunks = line_chunks(from, to);
        let count = |wanted: char| chunks.iter().filter(|(sign, _)| *sign == wanted).count();
        let mut out = format!(
            "± value change in multiline text ({}, {})\n",
            plural(count('+'), "insert", "inserts"),
            plural(count('-'), "deletion", "deletions")
        );
        for (sign, lines) in &chunks {
            lines.iter().for_each(|line| out.push_str(&format!("{sign} {line}\n")));
        }
        out.push('\n');
        return out;
    }
    format!("± value change\n{}{}", prefixed("- ", from), prefixed("+ ", to))
}

/// The first line after a prefix, the others indented as far.
fn prefixed(prefix: &str, text: &str) -> String {
    let indent = " ".repeat(prefix.chars().count());
    text.split('\n').enumerate().map(|(at, line)| format!("{}{line}\n", if at == 0 { prefix } else { &indent })).collect()
}

fn reordered(from: &[Value], to: &[Value]) -> String {
    let texts = |values: &[Value]| -> Vec<String> {
        let text = |value: &Value| if matches!(value, Value::Object(_) | Value::Array(_)) { yaml_text(value) } else { scalar_text(value) };
        values.iter().map(text).collect()
    };
    let (from, to) = (texts(from).join(", "), texts(to).join(", "));
    let mut out = "⇆ order changed\n".to_owned();
    if from.chars().count().max(to.chars().count()) < WIDTH / 2 {
        out.push_str(&format!("- {from}\n+ {to}\n"));
    } else {
        out.push_str(&table(&[from.replace(", ", "\n"), to.replace(", ", "\n")], " ", 2));
    }
    out
}

/// Blocks side by side when they fit, one below the other when they do not.
fn blocks(blocks: &[String], out: &mut String) {
    const SEPARATOR: &str = "   ";
    let width = |block: &String| block.split('\n').map(|line| line.chars().count()).max().unwrap_or(0);
    let total = blocks.len().saturating_sub(1) * SEPARATOR.len() + blocks.iter().map(width).sum::<usize>();
    if total > WIDTH {
        blocks.iter().flat_map(|block| block.split('\n')).for_each(|line| {
            out.push_str(line);
            out.push('\n');
        });
    } else {
        out.push_str(&table(blocks, SEPARATOR, 0));
    }
}

fn table(columns: &[String], separator: &str, indent: usize) -> String {
    let columns: Vec<Vec<&str>> = columns.iter().map(|column| column.split('\n').collect()).collect();
    let widths: Vec<usize> = columns.iter().map(|lines| lines.iter().map(|line| line.chars().count()).max().unwrap_or(0)).collect();
    let rows = columns.iter().map(Vec::len).max().unwrap_or(0);
    let row = |at: usize| {
        let cells = columns.iter().zip(&widths).map(|(lines, width)| {
            let line = lines.get(at).copied().unwrap_or("");
            format!("{}{line}{}", " ".repeat(indent), " ".repeat(width - line.chars().count()))
        });
        cells.collect::<Vec<_>>().join(separator).trim_end_matches(' ').to_owned()
    };
    (0..rows).map(row).collect::<Vec<_>>().join("\n")
}

/// Runs of removed and added lines; what both texts share is left out.
fn line_chunks<'a>(from: &'a str, to: &'a str) -> Vec<(char, Vec<&'a str>)> {
    let lines = |text: &'a str| -> Vec<&'a str> { text.strip_suffix('\n').unwrap_or(text).split('\n').collect() };
    let (old, new) = (lines(from), lines(to));
    let mut chunks: Vec<(char, Vec<&str>)> = Vec::new();
    if old.len().saturating_mul(new.len()) > LINE_PAIRS_MAX {
        return vec![('-', old), ('+', new)];
    }
    // Lengths of the longest common subsequences of the rests.
    let mut common = vec![vec![0u32; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] = if old[i] == new[j] { common[i + 1][j + 1] + 1 } else { common[i + 1][j].max(common[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut joined) = (0, 0, false);
    let mut add = |sign: char, line: &'a str, joined: bool| match chunks.iter_mut().rev().take(2).find(|(last, _)| *last == sign) {
        Some((_, lines)) if joined => lines.push(line),
        _ => chunks.push((sign, vec![line])),
    };
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            (i, j, joined) = (i + 1, j + 1, false);
        } else if j == new.len() || (i < old.len() && common[i + 1][j] >= common[i][j + 1]) {
            add('-', old[i], joined);
            (i, joined) = (i + 1, true);
        } else {
            add('+', new[j], joined);
            (j, joined) = (j + 1, true);
        }
    }
    chunks
}

/// YAML for reading: lists at the indentation of their key, quotes only where a reader would be misled.
fn yaml_text(value: &Value) -> String {
    let mut out = String::new();
    write(value, "", &mut out);
    out
}

fn write(value: &Value, prefix: &str, out: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => write_map(map, prefix, false, out),
        Value::Array(items) if !items.is_empty() => {
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push_str(prefix);
                }
                out.push_str("- ");
                let inner = format!("{prefix}  ");
                match item {
                    Value::Object(map) if !map.is_empty() => write_map(map, &inner, true, out),
                    other => write(other, &inner, out),
                }
            }
        }
        Value::Object(_) => out.push_str("{}\n"),
        Value::Array(_) => out.push_str("[]\n"),
        scalar => write_scalar(scalar, prefix, out),
    }
}

fn write_map(map: &Map<String, Value>, prefix: &str, skips_first: bool, out: &mut String) {
    let mut keys: Vec<&String> = map.keys().collect();
    sort_keys(&mut keys, |key| key);
    // An entry that names its list's entry stands first.
    keys.sort_by_key(|key| *key != "name");
    for (at, key) in keys.into_iter().enumerate() {
        if at > 0 || !skips_first {
            out.push_str(prefix);
        }
        out.push_str(key);
        out.push(':');
        match &map[key] {
            Value::Object(inner) if !inner.is_empty() => {
                out.push('\n');
                write_map(inner, &format!("{prefix}  "), false, out);
            }
            list @ Value::Array(items) if !items.is_empty() => {
                out.push('\n');
                out.push_str(prefix);
                write(list, prefix, out);
            }
            other => {
                out.push(' ');
                write(other, &format!("{prefix}  "), out);
            }
        }
    }
}

fn write_scalar(value: &Value, prefix: &str, out: &mut String) {
    let text = scalar_text(value);
    if text.contains('\n') {
        out.push_str("|\n");
        let lines: Vec<String> = text.split('\n').map(|line| format!("{prefix}{line}")).collect();
        out.push_str(&lines.join("\n"));
    } else if value.is_string() && needs_quotes(&text) {
        out.push_str(&format!("{text:?}"));
    } else {
        out.push_str(&text);
    }
    out.push('\n');
}

fn needs_quotes(text: &str) -> bool {
    ["true", "false", "null", ".nan", ".inf", "-.inf", "+.inf"].contains(&text)
        || text.starts_with('-')
        || text.contains([' ', '*', '&', ':', ','])
}

#[cfg(test)]
mod tests {
    use super::super::compare;
    use super::*;
    use serde_json::json;

    fn report(from: Value, to: Value) -> String {
        render(&compare(&from, &to))
    }

    #[test]
    fn entries_of_a_list_are_told_apart_by_name() {
        let text = report(json!({"l": [{"name": "a", "v": 1}, {"name": "b"}]}), json!({"l": [{"name": "a", "v": 9}, {"name": "c"}]}));
        assert_eq!(
            text,
            "\nl\n- one list entry removed:   + one list entry added:\n- name: b                     - name: c\n\nl.a.v\n± value change\n- 1\n+ 9\n\n"
        );
    }

    #[test]
    fn a_new_order_is_no_removal() {
        assert_eq!(report(json!({"l": ["a", "b"]}), json!({"l": ["b", "a"]})), "\nl\n⇆ order changed\n- a, b\n+ b, a\n\n");
    }

    #[test]
    fn types_are_named_when_they_change() {
        assert_eq!(report(json!({"a": "1"}), json!({"a": 1})), "\na\n± type change from string to int\n- 1\n+ 1\n\n");
    }
}
