//! How Go prints values: the texts of kube-apiserver's errors hold them.

use std::fmt::Write;

use serde_json::{Map, Number, Value};

/// `%q`: a Go string literal.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\u{b}' => out.push_str("\\v"),
            char if (char as u32) < 0x20 || char as u32 == 0x7f => push_escape(&mut out, format_args!("\\x{:02x}", char as u32)),
            char if !char.is_control() && !matches!(char, '\u{a0}' | '\u{2028}' | '\u{2029}' | '\u{feff}') => out.push(char),
            char if (char as u32) < 0x10000 => push_escape(&mut out, format_args!("\\u{:04x}", char as u32)),
            char => push_escape(&mut out, format_args!("\\U{:08x}", char as u32)),
        }
    }
    out.push('"');
    out
}

fn push_escape(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = out.write_fmt(text);
}

/// `%v` of a number: integers plain, others in the shortest form, with an exponent when it is below -4 or above 20.
pub fn number(number: &Number) -> String {
    if let Some(int) = number.as_i64() {
        return int.to_string();
    }
    match number.as_f64() {
        Some(float) => self::float(float, -4, 21),
        None => number.to_string(),
    }
}

/// Shortest text of a float, with an exponent outside of `low..high`: 21 is Go's choice for `%v` and for JSON.
pub fn float(value: f64, low: i32, high: i32) -> String {
    if value == 0.0 {
        return if value.is_sign_negative() { "-0".into() } else { "0".into() };
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if exponent < low || exponent >= high {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{mantissa}e{sign}{:02}", exponent.abs())
    } else {
        format!("{value}")
    }
}

/// `%v` of a decoded JSON value.
pub fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(bool) => bool.to_string(),
        Value::Number(number) => self::number(number),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let entries: Vec<_> = sorted(map).into_iter().map(|(key, value)| format!("{key}:{}", plain(value))).collect();
            format!("map[{}]", entries.join(" "))
        }
    }
}

/// `%#v` of a decoded JSON value.
pub fn syntax(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::Bool(bool) => bool.to_string(),
        Value::Number(number) => self::number(number),
        Value::String(text) => quote(text),
        Value::Array(items) => format!("[]interface {{}}{{{}}}", items.iter().map(syntax).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let entries: Vec<_> = sorted(map).into_iter().map(|(key, value)| format!("{}:{}", quote(key), syntax(value))).collect();
            format!("map[string]interface {{}}{{{}}}", entries.join(", "))
        }
    }
}

/// `%T` of a decoded JSON value.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

fn sorted(map: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by_key(|(key, _)| *key);
    entries
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_print_as_go_prints_them() {
        for (value, v, sharp) in [
            (json!(1), "1", "1"),
            (json!(1.5), "1.5", "1.5"),
            (json!(1e21), "1e+21", "1e+21"),
            (json!(1e-5), "1e-05", "1e-05"),
            (
                json!({"b": [1, "x"], "a": null}),
                "map[a:<nil> b:[1 x]]",
                "map[string]interface {}{\"a\":interface {}(nil), \"b\":[]interface {}{1, \"x\"}}",
            ),
        ] {
            assert_eq!(plain(&value), v);
            assert_eq!(syntax(&value), sharp);
        }
        assert_eq!(quote("a\"\\\n\u{1}é"), r#""a\"\\\n\x01é""#);
    }
}
