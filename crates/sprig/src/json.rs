//! JSON as Go's `encoding/json` reads and writes it.

use crate::args::{Result, string, text};
use gotemplate::{Failure, Function, Kind, Map, MapKind, Run, Str, Type, Value, number};
use std::{fmt::Write, sync::Arc};

const A: Type = Type::Any;
const S: Type = Type::String;

pub(crate) const ALL: &[Function] = &[
    Function::new("fromJson", &[S], |run, args| {
        run.charge(text(args, 0).len() as u64 / 8)?;
        Ok(decode(&text(args, 0)).unwrap_or(Value::Nil))
    }),
    Function::new("mustFromJson", &[S], |run, args| {
        run.charge(text(args, 0).len() as u64 / 8)?;
        decode(&text(args, 0)).map_err(Failure::new)
    }),
    Function::new("toJson", &[A], |run, args| written(run, encode(&args[0], Style::Html).or(Ok(String::new())))),
    Function::new("mustToJson", &[A], |run, args| written(run, encode(&args[0], Style::Html))),
    Function::new("toPrettyJson", &[A], |run, args| written(run, encode(&args[0], Style::Pretty).or(Ok(String::new())))),
    Function::new("mustToPrettyJson", &[A], |run, args| written(run, encode(&args[0], Style::Pretty))),
    Function::new("toRawJson", &[A], |run, args| written(run, encode(&args[0], Style::Raw))),
    Function::new("mustToRawJson", &[A], |run, args| written(run, encode(&args[0], Style::Raw))),
];

fn written(run: &mut Run<'_>, text: std::result::Result<String, String>) -> Result {
    string(run, text.map_err(Failure::new)?)
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// `json.Marshal`: `<`, `>` and `&` escaped.
    Html,
    /// `json.MarshalIndent` with two spaces.
    Pretty,
    /// Nothing escaped for HTML.
    Raw,
}

/// Nesting that is read and written, within the stack that a thread has.
const MAX_DEPTH: usize = 300;

/// Writes a value. Refuses what JSON cannot hold, with Go's words.
pub fn encode(value: &Value, style: Style) -> std::result::Result<String, String> {
    let mut out = String::new();
    encode_into(&mut out, value, style, 0)?;
    Ok(out)
}

fn newline(out: &mut String, style: Style, depth: usize) {
    if style == Style::Pretty {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    }
}

fn encode_into(out: &mut String, value: &Value, style: Style, depth: usize) -> std::result::Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!("json: unsupported value: encountered a cycle via {}", value.type_name()));
    }
    match value {
        Value::Invalid | Value::Nil | Value::NilSlice(_) => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Int(n) | Value::Int64(n) | Value::Duration(n) => drop(write!(out, "{n}")),
        Value::Uint8(n) => drop(write!(out, "{n}")),
        Value::Uint64(n) => drop(write!(out, "{n}")),
        Value::Float(f) if f.is_finite() => out.push_str(&number::json_float(*f)),
        Value::Float(f) => return Err(format!("json: unsupported value: {}", number::float(*f))),
        Value::String(text) => quote(out, &text.text(), style != Style::Raw),
        Value::Bytes(bytes) => quote(out, &crate::encodings::base64(bytes), false),
        Value::Map(map) => entries(out, map.entries().into_vec(), style, depth)?,
        Value::Object(object) => match object.as_json() {
            Some(value) => encode_into(out, &value, style, depth + 1)?,
            None if object.kind() == Kind::Slice => items(out, value, style, depth)?,
            None => entries(out, object.entries().unwrap_or_default(), style, depth)?,
        },
        _ => items(out, value, style, depth)?,
    }
    Ok(())
}

fn entries(out: &mut String, entries: Vec<(Arc<str>, Value)>, style: Style, depth: usize) -> std::result::Result<(), String> {
    if entries.is_empty() {
        out.push_str("{}");
        return Ok(());
    }
    out.push('{');
    for (at, (key, value)) in entries.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        newline(out, style, depth + 1);
        quote(out, key, style != Style::Raw);
        out.push_str(if style == Style::Pretty { ": " } else { ":" });
        encode_into(out, value, style, depth + 1)?;
    }
    newline(out, style, depth);
    out.push('}');
    Ok(())
}

fn items(out: &mut String, value: &Value, style: Style, depth: usize) -> std::result::Result<(), String> {
    let count = value.length().unwrap_or(0);
    if count == 0 {
        out.push_str("[]");
        return Ok(());
    }
    out.push('[');
    for at in 0..count {
        if at > 0 {
            out.push(',');
        }
        newline(out, style, depth + 1);
        encode_into(out, &value.item(at).unwrap_or(Value::Nil), style, depth + 1)?;
    }
    newline(out, style, depth);
    out.push(']');
    Ok(())
}

/// A JSON string as Go writes it.
pub fn quote(out: &mut String, text: &str, html: bool) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '<' | '>' | '&' if html => drop(write!(out, "\\u{:04x}", c as u32)),
            '\u{2028}' | '\u{2029}' => drop(write!(out, "\\u{:04x}", c as u32)),
            c if c < ' ' => drop(write!(out, "\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Reads a JSON text into values: numbers are floats. The error is Go's.
pub fn decode(text: &str) -> std::result::Result<Value, String> {
    let mut decoder = Decoder { text, at: 0 };
    decoder.space();
    let value = decoder.value(0)?;
    decoder.space();
    match decoder.peek() {
        None => Ok(value),
        Some(c) => Err(format!("invalid character {} after top-level value", shown(c))),
    }
}

struct Decoder<'a> {
    text: &'a str,
    at: usize,
}

fn shown(c: char) -> String {
    match c {
        '\'' => r"'\''".to_owned(),
        '"' => "'\"'".to_owned(),
        c => {
            let quoted = number::quote(c.encode_utf8(&mut [0; 4]).as_bytes());
            format!("'{}'", &quoted[1..quoted.len() - 1])
        }
    }
}

impl Decoder<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
    }

    fn eat(&mut self, c: char) -> bool {
        let eaten = self.peek() == Some(c);
        if eaten {
            self.at += c.len_utf8();
        }
        eaten
    }

    fn unexpected<T>(&self, context: &str) -> std::result::Result<T, String> {
        match self.peek() {
            None => Err("unexpected end of JSON input".to_owned()),
            Some(c) => Err(format!("invalid character {} {context}", shown(c))),
        }
    }

    fn value(&mut self, depth: usize) -> std::result::Result<Value, String> {
        if depth > MAX_DEPTH {
            return Err("exceeded max depth".to_owned());
        }
        match self.peek() {
            Some('{') => self.object(depth),
            Some('[') => self.array(depth),
            Some('"') => self.string().map(|text| Value::String(Str::from(text))),
            Some('t') => self.literal("true", Value::Bool(true)),
            Some('f') => self.literal("false", Value::Bool(false)),
            Some('n') => self.literal("null", Value::Nil),
            Some('-' | '0'..='9') => self.number(),
            _ => self.unexpected("looking for beginning of value"),
        }
    }

    fn literal(&mut self, word: &str, value: Value) -> std::result::Result<Value, String> {
        for c in word.chars() {
            if !self.eat(c) {
                return self.unexpected(&format!("in literal {word} (expecting {})", shown(c)));
            }
        }
        Ok(value)
    }

    fn object(&mut self, depth: usize) -> std::result::Result<Value, String> {
        self.at += 1;
        let mut entries: Vec<(Arc<str>, Value)> = Vec::new();
        self.space();
        if self.eat('}') {
            return Ok(Value::Map(Map::any()));
        }
        loop {
            self.space();
            if self.peek() != Some('"') {
                return self.unexpected("looking for beginning of object key string");
            }
            let key = self.string()?;
            self.space();
            if !self.eat(':') {
                return self.unexpected("after object key");
            }
            self.space();
            let value = self.value(depth + 1)?;
            entries.push((key.into(), value));
            self.space();
            if self.eat('}') {
                return Ok(Value::Map(Map::from_entries(MapKind::Any, entries)));
            }
            if !self.eat(',') {
                return self.unexpected("after object key:value pair");
            }
        }
    }

    fn array(&mut self, depth: usize) -> std::result::Result<Value, String> {
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.eat(']') {
            return Ok(Value::list(items));
        }
        loop {
            self.space();
            items.push(self.value(depth + 1)?);
            self.space();
            if self.eat(']') {
                return Ok(Value::list(items));
            }
            if !self.eat(',') {
                return self.unexpected("after array element");
            }
        }
    }

    fn string(&mut self) -> std::result::Result<String, String> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let plain = rest.find(|c: char| c == '"' || c == '\\' || c < ' ').unwrap_or(rest.len());
            out.push_str(&rest[..plain]);
            self.at += plain;
            match self.peek() {
                Some('"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some('\\') => {
                    self.at += 1;
                    self.escape(&mut out)?;
                }
                _ => return self.unexpected("in string literal"),
            }
        }
    }

    fn escape(&mut self, out: &mut String) -> std::result::Result<(), String> {
        let Some(c) = self.peek() else { return self.unexpected("") };
        let plain = match c {
            '"' | '\\' | '/' => c,
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                self.at += 1;
                let first = self.hex()?;
                let mut code = u32::from(first);
                if (0xd800..0xdc00).contains(&code) && self.text[self.at..].starts_with("\\u") {
                    let before = self.at;
                    self.at += 2;
                    let second = u32::from(self.hex()?);
                    if (0xdc00..0xe000).contains(&second) {
                        code = 0x10000 + ((code - 0xd800) << 10) + (second - 0xdc00);
                    } else {
                        self.at = before;
                    }
                }
                out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                return Ok(());
            }
            _ => return self.unexpected("in string escape code"),
        };
        self.at += c.len_utf8();
        out.push(plain);
        Ok(())
    }

    fn hex(&mut self) -> std::result::Result<u16, String> {
        let mut code = 0;
        for _ in 0..4 {
            match self.peek().and_then(|c| c.to_digit(16)) {
                Some(digit) => {
                    code = code * 16 + digit as u16;
                    self.at += 1;
                }
                None => return self.unexpected("in \\u hexadecimal character escape"),
            }
        }
        Ok(code)
    }

    fn digits(&mut self) -> bool {
        let rest = &self.text[self.at..];
        let count = rest.bytes().take_while(u8::is_ascii_digit).count();
        self.at += count;
        count > 0
    }

    fn number(&mut self) -> std::result::Result<Value, String> {
        let start = self.at;
        self.eat('-');
        if !self.eat('0') && !self.digits() {
            return self.unexpected("in numeric literal");
        }
        if self.eat('.') && !self.digits() {
            return self.unexpected("after decimal point in numeric literal");
        }
        if self.eat('e') || self.eat('E') {
            if !self.eat('+') {
                self.eat('-');
            }
            if !self.digits() {
                return self.unexpected("in exponent of numeric literal");
            }
        }
        let text = &self.text[start..self.at];
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Value::Float(value)),
            _ => Err(format!("json: cannot unmarshal number {text} into Go value of type float64")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_what_go_does() {
        let value = decode(r#" {"b":[1,2.5,1e21,null,true],"a":"<é\u00e9\ud83d\ude00\n>"} "#).unwrap();
        assert_eq!(encode(&value, Style::Html).unwrap(), "{\"a\":\"\\u003céé😀\\n\\u003e\",\"b\":[1,2.5,1e+21,null,true]}");
        assert_eq!(encode(&decode("[[],{}]").unwrap(), Style::Pretty).unwrap(), "[\n  [],\n  {}\n]");
        let errors = [
            ("bad", "invalid character 'b' looking for beginning of value"),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            ("[1 2]", "invalid character '2' after array element"),
            ("[1", "unexpected end of JSON input"),
            ("nul!", "invalid character '!' in literal null (expecting 'l')"),
            ("1 x", "invalid character 'x' after top-level value"),
        ];
        for (text, message) in errors {
            assert_eq!(decode(text).unwrap_err(), message, "{text}");
        }
        assert!(decode(&"[".repeat(100_000)).is_err());
    }
}
