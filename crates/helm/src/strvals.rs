//! `--set` and its kin: `a.b[0]=x,c={1,2}`.

use crate::data::{Data, Table};
use std::sync::Arc;

/// How the right side is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `--set`: true, false, null and integers are what they look like.
    Typed,
    /// `--set-string`
    Text,
    /// `--set-json`
    Json,
}

const MAX_INDEX: usize = 65_536;
const MAX_LEVEL: usize = 30;

/// Sets values as one line says. The error is Helm's.
pub fn set(values: &mut Table, line: &str, mode: Mode) -> Result<(), String> {
    run(values, line, mode, &mut |text| Ok(text))
}

/// Reads what a value names.
type Read<'r> = dyn FnMut(String) -> Result<String, String> + 'r;

fn run(values: &mut Table, line: &str, mode: Mode, read: &mut Read<'_>) -> Result<(), String> {
    let mut parser = Parser { chars: line.chars().collect(), at: 0, mode, read };
    while parser.at < parser.chars.len() {
        match parser.key(values, 0) {
            // Helm takes the end of the line for the end of the work, even inside an index.
            Err(why) if why == INDEX_ENDS => break,
            done => done?,
        }
    }
    Ok(())
}

const INDEX_ENDS: &str = "error parsing index: EOF";

/// `--set-file`: each value names a file, whose text is what is set.
pub fn set_file(values: &mut Table, line: &str, read: &mut dyn FnMut(String) -> Result<String, String>) -> Result<(), String> {
    run(values, line, Mode::Text, read)
}

/// `--set-json` with a whole object, which is merged over the values; without one, `key=json`. The error is the line, as Helm has it.
pub fn set_json(values: &mut Table, line: &str) -> Result<(), String> {
    if !line.trim_start().starts_with('{') {
        return set(values, line, Mode::Json).map_err(|_| line.to_owned());
    }
    let object = serde_json::from_str(line.trim()).ok().and_then(|value| Table::from_json(&value));
    let object = object.ok_or_else(|| format!("JSON: {line}"))?;
    crate::values::merge_over(values, &object);
    Ok(())
}

/// `--set-literal`: the rest after `=` as it stands, one value.
pub fn set_literal(values: &mut Table, line: &str) -> Result<(), String> {
    let Some((key, value)) = line.split_once('=') else { return Err(format!("key {} has no value", quote(line))) };
    // Nothing is escaped here, neither in the key nor in the value.
    let escape = |text: &str, what: &[char]| -> String {
        text.chars().flat_map(|c| what.contains(&c).then_some('\\').into_iter().chain([c])).collect()
    };
    let (key, value) = (escape(key, &[',', '\\']), escape(value, &[',', '\\', '{', '}']));
    set(values, &format!("{key}={value}"), Mode::Text)
}

fn quote(text: &str) -> String {
    crate::functions::quoted(text)
}

struct Parser<'r, 'f> {
    chars: Vec<char>,
    at: usize,
    mode: Mode,
    read: &'r mut Read<'f>,
}

impl Parser<'_, '_> {
    /// The text up to one of the stops, backslashes resolved, and the stop; `None` at the end.
    fn until(&mut self, stops: &[char]) -> (String, Option<char>) {
        let mut text = String::new();
        while let Some(c) = self.chars.get(self.at).copied() {
            self.at += 1;
            if stops.contains(&c) {
                return (text, Some(c));
            }
            if c == '\\' {
                if let Some(next) = self.chars.get(self.at) {
                    text.push(*next);
                    self.at += 1;
                }
            } else {
                text.push(c);
            }
        }
        (text, None)
    }

    fn key(&mut self, values: &mut Table, level: usize) -> Result<(), String> {
        let (key, stop) = self.until(&['=', '[', ',', '.']);
        let name: Arc<str> = key.as_str().into();
        let put = |values: &mut Table, value: Data| {
            if !name.is_empty() {
                values.insert(name.clone(), value);
            }
        };
        match stop {
            None if key.is_empty() => Ok(()),
            None => Err(format!("key {} has no value", quote(&key))),
            Some(',') => {
                put(values, Data::string(""));
                Err(format!("key {} has no value (cannot end with ,)", quote(&key)))
            }
            Some('[') => {
                let index = self.index()?;
                let mut list = match values.get(&key) {
                    Some(Data::List(list)) => list.as_ref().clone(),
                    None => Vec::new(),
                    Some(other) => return Err(conversion(other, "[]interface {}")),
                };
                let done = self.item(&mut list, index, level);
                put(values, Data::List(Arc::new(list)));
                done
            }
            Some('.') => {
                let level = level + 1;
                if level > MAX_LEVEL {
                    return Err(format!("value name nested level is greater than maximum supported nested level of {MAX_LEVEL}"));
                }
                let mut inner = match values.get(&key) {
                    Some(Data::Table(table)) => table.clone(),
                    None => Table::new(),
                    Some(other) => return Err(conversion(other, "map[string]interface {}")),
                };
                let ended = self.at >= self.chars.len();
                self.key(&mut inner, level)?;
                if inner.is_empty() && !ended {
                    return Err(format!("key map {} has no value", quote(&key)));
                }
                if !inner.is_empty() {
                    put(values, Data::Table(inner));
                }
                Ok(())
            }
            Some(_) => {
                let value = self.value()?;
                put(values, value);
                Ok(())
            }
        }
    }

    fn index(&mut self) -> Result<usize, String> {
        let (text, stop) = self.until(&[']']);
        if stop.is_none() {
            return Err(INDEX_ENDS.to_owned());
        }
        let index: i64 =
            text.parse().map_err(|_| format!("error parsing index: strconv.Atoi: parsing {}: invalid syntax", quote(&text)))?;
        match usize::try_from(index) {
            Ok(index) if index <= MAX_INDEX => Ok(index),
            Ok(index) => Err(format!("index of {index} is greater than maximum supported index of {MAX_INDEX}")),
            Err(_) => Err(format!("negative {index} index not allowed")),
        }
    }

    fn item(&mut self, list: &mut Vec<Data>, index: usize, level: usize) -> Result<(), String> {
        let (text, stop) = self.until(&['[', '.', '=']);
        if !text.is_empty() {
            return Err(format!("unexpected data at end of array index: {}", quote(&text)));
        }
        let old = list.get(index).cloned().unwrap_or(Data::Null);
        let value = match stop {
            None => return Ok(()),
            Some('=') => self.value()?,
            Some('[') => {
                let next = self.index()?;
                let mut inner = match old {
                    Data::List(inner) => inner.as_ref().clone(),
                    Data::Null => Vec::new(),
                    other => return Err(conversion(&other, "[]interface {}")),
                };
                self.item(&mut inner, next, level)?;
                Data::List(Arc::new(inner))
            }
            Some(_) => {
                if level + 1 > MAX_LEVEL {
                    return Err(format!("value name nested level is greater than maximum supported nested level of {MAX_LEVEL}"));
                }
                let mut inner = match old {
                    Data::Table(table) => table,
                    _ => Table::new(),
                };
                self.key(&mut inner, level + 1)?;
                Data::Table(inner)
            }
        };
        if list.len() <= index {
            list.resize(index + 1, Data::Null);
        }
        list[index] = value;
        Ok(())
    }

    fn value(&mut self) -> Result<Data, String> {
        if self.mode == Mode::Json {
            return self.json();
        }
        if self.chars.get(self.at) == Some(&'{') {
            self.at += 1;
            return self.list();
        }
        let (text, _) = self.until(&[',']);
        self.typed(text)
    }

    fn list(&mut self) -> Result<Data, String> {
        let mut items = Vec::new();
        loop {
            let (text, stop) = self.until(&[',', '}']);
            match stop {
                None => return Err("list must terminate with '}'".to_owned()),
                Some('}') => {
                    if self.chars.get(self.at) == Some(&',') {
                        self.at += 1;
                    }
                    items.push(self.typed(text)?);
                    return Ok(Data::List(Arc::new(items)));
                }
                Some(_) => items.push(self.typed(text)?),
            }
        }
    }

    fn json(&mut self) -> Result<Data, String> {
        let rest: String = self.chars[self.at..].iter().collect();
        let trimmed = rest.trim_start();
        let skipped = rest.chars().count() - trimmed.chars().count();
        if trimmed.is_empty() || trimmed.starts_with(',') {
            self.at += skipped + usize::from(!trimmed.is_empty());
            return Ok(Data::Null);
        }
        let mut stream = serde_json::Deserializer::from_str(trimmed).into_iter::<serde_json::Value>();
        let value = match stream.next() {
            Some(Ok(value)) => value,
            Some(Err(error)) => return Err(error.to_string()),
            None => return Err("unexpected end of JSON input".to_owned()),
        };
        let used = trimmed[..stream.byte_offset()].chars().count();
        self.at += skipped + used;
        while let Some(c) = self.chars.get(self.at) {
            if *c == ',' {
                self.at += 1;
                break;
            }
            if !c.is_whitespace() {
                break;
            }
            self.at += 1;
        }
        Ok(Data::from_json(&value))
    }

    fn typed(&mut self, text: String) -> Result<Data, String> {
        if self.mode == Mode::Text {
            return (self.read)(text).map(|text| Data::string(&text));
        }
        Ok(match text.to_ascii_lowercase().as_str() {
            "true" => Data::Bool(true),
            "false" => Data::Bool(false),
            "null" => Data::Null,
            "0" => Data::Int(0),
            _ if !text.starts_with('0') => text.parse().map_or_else(|_| Data::string(&text), Data::Int),
            _ => Data::string(&text),
        })
    }
}

fn conversion(value: &Data, wanted: &str) -> String {
    format!("unable to parse key: interface conversion: interface {{}} is {}, not {wanted}", value.type_name())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str, mode: Mode) -> String {
        let mut values = Table::new();
        match set(&mut values, line, mode) {
            Ok(()) => values.to_json().to_string(),
            Err(why) => why,
        }
    }

    #[test]
    fn lines_set_what_helm_sets() {
        let cases = [
            ("a=1,b=x,c=true,d=null,e=01,f=", r#"{"a":1,"b":"x","c":true,"d":null,"e":"01","f":""}"#),
            ("a.b.c=1,a.b.d=2", r#"{"a":{"b":{"c":1,"d":2}}}"#),
            ("a[1].b=x,a[0]=y", r#"{"a":["y",{"b":"x"}]}"#),
            ("a={x,2,true},b=1", r#"{"a":["x",2,true],"b":1}"#),
            (r"a\.b=x\,y", r#"{"a.b":"x,y"}"#),
            ("a[0][1]=z", r#"{"a":[[null,"z"]]}"#),
            ("a", "key \"a\" has no value"),
            ("a=1,b,c=2", "key \"b\" has no value (cannot end with ,)"),
            ("a[999999999]=1", "index of 999999999 is greater than maximum supported index of 65536"),
            ("a[-1]=1", "negative -1 index not allowed"),
        ];
        for (line, wanted) in cases {
            assert_eq!(parsed(line, Mode::Typed), wanted, "{line}");
        }
        assert_eq!(parsed("a=1", Mode::Text), r#"{"a":"1"}"#);
        assert_eq!(parsed(r#"a={"x":[1,2]},b=null"#, Mode::Json), r#"{"a":{"x":[1,2]},"b":null}"#);
        assert!(parsed(&"a.".repeat(50), Mode::Typed).contains("nested level"));
    }

    #[test]
    fn files_and_whole_objects_are_set() {
        let mut values = Table::new();
        set_json(&mut values, r#" {"a": {"b": 1}, "c": null}"#).unwrap();
        set_json(&mut values, r#"a.d=[1,"x"]"#).unwrap();
        assert_eq!(set_json(&mut values, "{oops").unwrap_err(), "JSON: {oops");
        let mut read =
            |path: String| if path == "none" { Err("open none: no such file or directory".to_owned()) } else { Ok(format!("<{path}>")) };
        set_file(&mut values, "f=x.txt,g={y,z}", &mut read).unwrap();
        assert!(set_file(&mut values, "f=none", &mut read).is_err());
        assert_eq!(values.to_json().to_string(), r#"{"a":{"b":1,"d":[1,"x"]},"c":null,"f":"<x.txt>","g":["<y>","<z>"]}"#);
    }

    #[test]
    fn literals_are_taken_as_they_stand() {
        let mut values = Table::new();
        set_literal(&mut values, r"a.b={x},y\z").unwrap();
        assert_eq!(values.to_json().to_string(), r#"{"a":{"b":"{x},y\\z"}}"#);
    }
}
