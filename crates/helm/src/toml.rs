//! TOML as BurntSushi's encoder writes it and his decoder reads it.

use gotemplate::{Kind, Map, Value, number};
use std::{fmt::Write, sync::Arc};

const MAX_DEPTH: usize = 200;

/// Writes a value. The error is the encoder's.
pub(crate) fn encode(value: &Value) -> Result<String, String> {
    let mut out = String::new();
    match entries(value) {
        Some(entries) => table(&mut out, &entries, &mut Vec::new())?,
        None => inline(&mut out, value, 0)?,
    }
    Ok(out)
}

type Entries = Vec<(Arc<str>, Value)>;

fn entries(value: &Value) -> Option<Entries> {
    match value {
        Value::Map(map) => Some(map.entries().into_vec()),
        Value::Object(object) if object.kind() == Kind::Map => object.entries(),
        _ => None,
    }
}

/// A list of tables is written as `[[name]]`.
fn is_table_list(value: &Value) -> bool {
    value.kind() == Kind::Slice
        && value.length().is_some_and(|n| n > 0)
        && value.items().is_some_and(|items| items.iter().all(|item| entries(item).is_some()))
}

fn table(out: &mut String, entries_of: &Entries, path: &mut Vec<String>) -> Result<(), String> {
    if path.len() > MAX_DEPTH {
        return Err("toml: value is nested too deeply".to_owned());
    }
    let is_sub = |value: &Value| entries(value).is_some() || is_table_list(value);
    for (key, value) in entries_of.iter().filter(|(_, value)| !is_sub(value)) {
        if value.is_nil() || matches!(value, Value::NilSlice(_)) {
            continue;
        }
        let _ = write!(out, "{}{} = ", indent(path.len()), key_text(key));
        inline(out, value, 0)?;
        out.push('\n');
    }
    for (key, value) in entries_of.iter().filter(|(_, value)| is_sub(value)) {
        path.push(key_text(key));
        let tables = match entries(value) {
            Some(entries) => vec![(entries, false)],
            None => value.items().unwrap_or_default().iter().filter_map(entries).map(|entries| (entries, true)).collect(),
        };
        for (entries, listed) in tables {
            if !out.is_empty() {
                out.push('\n');
            }
            let (open, close) = if listed { ("[[", "]]") } else { ("[", "]") };
            let _ = writeln!(out, "{}{open}{}{close}", indent(path.len() - 1), path.join("."));
            table(out, &entries, path)?;
        }
        path.pop();
    }
    Ok(())
}

fn indent(depth: usize) -> String {
    "  ".repeat(depth)
}

fn key_text(key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if bare { key.to_owned() } else { string(key) }
}

fn string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            c if c < ' ' || c == '\x7f' => drop(write!(out, "\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn float(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let text = number::float(value);
    if text.contains(['.', 'e']) { text } else { text + ".0" }
}

fn inline(out: &mut String, value: &Value, depth: usize) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err("toml: value is nested too deeply".to_owned());
    }
    match value {
        Value::Bool(b) => drop(write!(out, "{b}")),
        Value::Int(n) | Value::Int64(n) => drop(write!(out, "{n}")),
        Value::Uint8(n) => drop(write!(out, "{n}")),
        Value::Uint64(n) => drop(write!(out, "{n}")),
        Value::Duration(n) => out.push_str(&string(&gotemplate::fmt::duration(*n))),
        Value::Float(f) => out.push_str(&float(*f)),
        Value::String(text) => out.push_str(&string(&text.text())),
        value if value.is_nil() => return Err("toml: cannot encode array with nil element".to_owned()),
        value if value.kind() == Kind::Slice => {
            out.push('[');
            for at in 0..value.length().unwrap_or(0) {
                if at > 0 {
                    out.push_str(", ");
                }
                inline(out, &value.item(at).unwrap_or(Value::Nil), depth + 1)?;
            }
            out.push(']');
        }
        value => match entries(value) {
            Some(entries) => {
                out.push('{');
                for (at, (key, value)) in entries.iter().filter(|(_, value)| !value.is_nil()).enumerate() {
                    let _ = write!(out, "{}{} = ", if at > 0 { ", " } else { "" }, key_text(key));
                    inline(out, value, depth + 1)?;
                }
                out.push('}');
            }
            None => match value {
                Value::Object(object) if object.is_stringer() => out.push_str(&string(&object.text())),
                value => return Err(format!("unsupported type: {}", value.type_name())),
            },
        },
    }
    Ok(())
}

/// Reads a document into a map. The error is shaped as the decoder's.
pub(crate) fn decode(text: &str) -> Result<Map, String> {
    let mut reader = Reader { text, at: 0, key: String::new() };
    let root = Map::any();
    let mut current = root.clone();
    loop {
        reader.blank_lines();
        match reader.peek() {
            None => return Ok(root),
            Some('[') => current = reader.header(&root)?,
            Some(_) => {
                reader.pair(&current, 0)?;
                reader.line_end()?;
            }
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// The last key, for errors.
    key: String,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn eat(&mut self, text: &str) -> bool {
        let eaten = self.rest().starts_with(text);
        self.at += if eaten { text.len() } else { 0 };
        eaten
    }

    fn error<T>(&self, what: impl std::fmt::Display) -> Result<T, String> {
        let line = 1 + self.text[..self.at].matches('\n').count();
        let key = if self.key.is_empty() { String::new() } else { format!(" (last key {})", number::quote(self.key.as_bytes())) };
        Err(format!("toml: line {line}{key}: {what}"))
    }

    fn unexpected<T>(&self, expected: &str) -> Result<T, String> {
        match self.peek() {
            None => self.error(format!("unexpected EOF; expected {expected}")),
            Some('\n') => self.error(format!("expected {expected} but found '\\n' instead")),
            Some(c) => self.error(format!("expected {expected} but found {c:?} instead")),
        }
    }

    fn spaces(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t')) {
            self.at += 1;
        }
    }

    fn comment(&mut self) {
        self.spaces();
        if self.peek() == Some('#') {
            self.at += self.rest().find('\n').unwrap_or(self.rest().len());
        }
    }

    fn blank_lines(&mut self) {
        loop {
            self.comment();
            match self.peek() {
                Some('\n' | '\r') => self.at += 1,
                _ => return,
            }
        }
    }

    fn line_end(&mut self) -> Result<(), String> {
        self.comment();
        self.eat("\r");
        match self.peek() {
            None => Ok(()),
            Some('\n') => {
                self.at += 1;
                Ok(())
            }
            Some(c) => self.error(format!("expected a top-level item to end with a newline, comment, or EOF, but got {c:?} instead")),
        }
    }

    fn keys(&mut self) -> Result<Vec<String>, String> {
        let mut keys = Vec::new();
        loop {
            self.spaces();
            let key = match self.peek() {
                Some('"') => self.basic_string()?,
                Some('\'') => self.literal_string()?,
                _ => {
                    let end = self.rest().find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-')).unwrap_or(self.rest().len());
                    if end == 0 {
                        return self.unexpected("a key");
                    }
                    let key = self.rest()[..end].to_owned();
                    self.at += end;
                    key
                }
            };
            keys.push(key);
            self.key = keys.join(".");
            self.spaces();
            if !self.eat(".") {
                return Ok(keys);
            }
            if keys.len() > MAX_DEPTH {
                return self.error("key is nested too deeply");
            }
        }
    }

    /// The table at the path, made where it is missing; the last element of a list of tables.
    fn descend(&self, from: &Map, keys: &[String]) -> Result<Map, String> {
        keys.iter().try_fold(from.clone(), |map, key| match map.get(key) {
            None => {
                let fresh = Map::any();
                map.insert(key.as_str(), Value::Map(fresh.clone()));
                Ok(fresh)
            }
            Some(Value::Map(map)) => Ok(map),
            Some(Value::List(list)) => match list.items.last() {
                Some(Value::Map(map)) => Ok(map.clone()),
                _ => self.error(format!("Key '{key}' has already been defined.")),
            },
            Some(_) => self.error(format!("Key '{key}' has already been defined.")),
        })
    }

    fn header(&mut self, root: &Map) -> Result<Map, String> {
        let listed = self.eat("[[") || !self.eat("[");
        let keys = self.keys()?;
        if !self.eat(if listed { "]]" } else { "]" }) {
            return self.unexpected(if listed { "end of table array name delimiter ']'" } else { "'.' or ']' to end table name" });
        }
        self.line_end()?;
        let (last, before) = keys.split_last().map_or((String::new(), &[][..]), |(last, before)| (last.clone(), before));
        let parent = self.descend(root, before)?;
        if !listed {
            return self.descend(&parent, &[last]);
        }
        let fresh = Map::any();
        let mut items = match parent.get(&last) {
            None => Vec::new(),
            Some(Value::List(list)) => list.items.clone(),
            Some(_) => return self.error(format!("Key '{last}' has already been defined.")),
        };
        items.push(Value::Map(fresh.clone()));
        parent.insert(last, Value::list(items));
        Ok(fresh)
    }

    fn pair(&mut self, into: &Map, depth: usize) -> Result<(), String> {
        let keys = self.keys()?;
        if !self.eat("=") {
            return self.unexpected("'.' or '='");
        }
        self.spaces();
        let value = self.value(depth)?;
        let (last, before) = keys.split_last().map_or((String::new(), &[][..]), |(last, before)| (last.clone(), before));
        let parent = self.descend(into, before)?;
        if parent.contains(&last) {
            return self.error(format!("Key '{}' has already been defined.", keys.join(".")));
        }
        parent.insert(last, value);
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if depth > MAX_DEPTH {
            return self.error("value is nested too deeply");
        }
        match self.peek() {
            Some('"') => self.basic_string().map(Value::string),
            Some('\'') => self.literal_string().map(Value::string),
            Some('[') => self.array(depth),
            Some('{') => self.inline_table(depth),
            None | Some('\n' | '\r' | '#') => self.unexpected("value"),
            Some(_) => self.scalar(),
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, String> {
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.blank_lines();
            if self.eat("]") {
                return Ok(Value::list(items));
            }
            items.push(self.value(depth + 1)?);
            self.blank_lines();
            if !self.eat(",") && self.peek() != Some(']') {
                return self.unexpected("a comma (',') or array terminator (']')");
            }
        }
    }

    fn inline_table(&mut self, depth: usize) -> Result<Value, String> {
        self.at += 1;
        let map = Map::any();
        self.spaces();
        if self.eat("}") {
            return Ok(Value::Map(map));
        }
        loop {
            self.pair(&map, depth + 1)?;
            self.spaces();
            if self.eat("}") {
                return Ok(Value::Map(map));
            }
            if !self.eat(",") {
                return self.unexpected("a comma or an inline table terminator '}'");
            }
        }
    }

    fn scalar(&mut self) -> Result<Value, String> {
        let end = self.rest().find([',', ']', '}', '\n', '\r', '#']).unwrap_or(self.rest().len());
        let word = self.rest()[..end].trim_end().to_owned();
        let value = match word.as_str() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "inf" | "+inf" => Value::Float(f64::INFINITY),
            "-inf" => Value::Float(f64::NEG_INFINITY),
            "nan" | "+nan" | "-nan" => Value::Float(f64::NAN),
            word => {
                let leading_zero =
                    word.trim_start_matches(['+', '-']).as_bytes().windows(2).next().is_some_and(|w| w[0] == b'0' && w[1].is_ascii_digit());
                if let Some(time) = time(word) {
                    time
                } else if let Some(n) = number::parse_int(word).filter(|_| !leading_zero) {
                    Value::Int64(n)
                } else if let Some(f) =
                    number::parse_float(&word.replace('_', "")).filter(|_| word.contains(['.', 'e', 'E']) && !leading_zero)
                {
                    Value::Float(f)
                } else {
                    return self.error(format!("expected value but found {} instead", number::quote(word.as_bytes())));
                }
            }
        };
        self.at += word.len();
        Ok(value)
    }

    fn literal_string(&mut self) -> Result<String, String> {
        let multi = self.eat("'''");
        if !multi {
            self.at += 1;
        } else if !self.eat("\r\n") {
            self.eat("\n");
        }
        let mark = if multi { "'''" } else { "'" };
        let Some(mut end) = self.rest().find(mark) else { return self.error("unexpected EOF; expected \"'\"") };
        // Quotes right before the closing ones belong to the text.
        while multi && self.rest()[end + 3..].starts_with('\'') && end < self.rest().len() {
            end += 1;
        }
        let text = self.rest()[..end].to_owned();
        if !multi && text.contains('\n') {
            return self.error("strings cannot contain newlines");
        }
        self.at += end + mark.len();
        Ok(text)
    }

    fn basic_string(&mut self) -> Result<String, String> {
        let multi = self.eat("\"\"\"");
        if !multi {
            self.at += 1;
        } else if !self.eat("\r\n") {
            self.eat("\n");
        }
        let mut out = String::new();
        loop {
            if multi && self.eat("\"\"\"") {
                while out.len() < self.text.len() && self.peek() == Some('"') {
                    self.at += 1;
                    out.push('"');
                }
                return Ok(out);
            }
            match self.bump() {
                None => return self.error("unexpected EOF; expected '\"'"),
                Some('"') if !multi => return Ok(out),
                Some('\n') if !multi => return self.error("strings cannot contain newlines"),
                Some('\\') => self.escape(&mut out, multi)?,
                Some(c) => out.push(c),
            }
        }
    }

    fn escape(&mut self, out: &mut String, multi: bool) -> Result<(), String> {
        match self.bump() {
            Some('b') => out.push('\x08'),
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('f') => out.push('\x0c'),
            Some('r') => out.push('\r'),
            Some('e') => out.push('\x1b'),
            Some('"') => out.push('"'),
            Some('\\') => out.push('\\'),
            Some(c @ ('u' | 'U' | 'x')) => {
                let size = match c {
                    'x' => 2,
                    'u' => 4,
                    _ => 8,
                };
                let code = self.rest().get(..size).and_then(|hex| u32::from_str_radix(hex, 16).ok()).and_then(char::from_u32);
                let Some(c) = code else { return self.error("escaped character is not a valid UTF-8 codepoint") };
                self.at += size;
                out.push(c);
            }
            Some('\n' | ' ' | '\t' | '\r') if multi => {
                while matches!(self.peek(), Some('\n' | ' ' | '\t' | '\r')) {
                    self.at += 1;
                }
            }
            Some(c) => return self.error(format!("invalid escape in string '\\{c}'")),
            None => return self.error("unexpected EOF; expected '\"'"),
        }
        Ok(())
    }
}

/// A date or a time, as `time.Time`.
fn time(word: &str) -> Option<Value> {
    let bytes = word.as_bytes();
    let dated = bytes.len() >= 10 && bytes[4] == b'-' && bytes[7] == b'-' && bytes[..4].iter().all(u8::is_ascii_digit);
    if !dated {
        return None;
    }
    let text = word.replacen(' ', "T", 1);
    let (at, zone) = if let Ok(at) = text.parse::<jiff::Timestamp>() {
        (at, jiff::tz::TimeZone::UTC)
    } else {
        let civil = text.parse::<jiff::civil::DateTime>().ok()?;
        (jiff::tz::TimeZone::UTC.to_timestamp(civil).ok()?, jiff::tz::TimeZone::UTC)
    };
    Some(sprig::time(at, zone))
}

/// For tests: a map from pairs.
#[cfg(test)]
fn map(entries: &[(&str, Value)]) -> Value {
    Value::Map(Map::from_entries(gotemplate::MapKind::Any, entries.iter().map(|(key, value)| ((*key).into(), value.clone())).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_come_after_values() {
        let value = map(&[("a", Value::string("x")), ("b", Value::Float(1.0)), ("c", map(&[("d", Value::list(vec![Value::Float(1.0)]))]))]);
        assert_eq!(encode(&value).unwrap(), "a = \"x\"\nb = 1.0\n\n[c]\n  d = [1.0]\n");
        let tables = map(&[("arr", Value::list(vec![map(&[("a", Value::Int(1))]), map(&[("a", Value::Int(2))])]))]);
        assert_eq!(encode(&tables).unwrap(), "[[arr]]\n  a = 1\n\n[[arr]]\n  a = 2\n");
        assert!(encode(&Value::list(vec![Value::Nil])).is_err());
    }

    #[test]
    fn documents_are_read() {
        let text = "a = 1 # c\nb.c = \"x\\n\"\n[t]\nl = [1, 2.5,\n 'q',]\ni = {k = true}\n[[l]]\nn = 1\n[[l]]\nn = 2\n";
        let value = Value::Map(decode(text).unwrap());
        let json = sprig::json::encode(&value, sprig::json::Style::Raw).unwrap();
        assert_eq!(json, r#"{"a":1,"b":{"c":"x\n"},"l":[{"n":1},{"n":2}],"t":{"i":{"k":true},"l":[1,2.5,"q"]}}"#);
        assert_eq!(decode("bad =").err().as_deref(), Some("toml: line 1 (last key \"bad\"): unexpected EOF; expected value"));
        assert!(decode("a = 1\na = 2").is_err() && decode(&"a = [".repeat(1_000)).is_err());
    }
}
