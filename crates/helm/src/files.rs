//! `.Files`: the chart's files that are nothing special.

use crate::{chart::File, functions::to_yaml};
use gotemplate::{Failure, Kind, Map, MapKind, Method, Object, Run, Str, Type, Value};
use regex::Regex;
use std::{any::Any, rc::Rc, sync::Arc};

/// `engine.files`, in the order of their names.
pub(crate) struct Files(Arc<Vec<File>>);

impl Files {
    pub fn of(files: &Arc<Vec<File>>) -> Value {
        let mut files = files.clone();
        // Those of a directory are in order.
        if !files.is_sorted_by(|a, b| a.name <= b.name) {
            Arc::make_mut(&mut files).sort_by(|a, b| a.name.cmp(&b.name));
        }
        Value::Object(Rc::new(Self(files)))
    }

    fn get(&self, name: &str) -> Option<&File> {
        self.0.binary_search_by(|file| (*file.name).cmp(name)).ok().map(|at| &self.0[at])
    }
}

fn bytes(file: &File) -> Value {
    Value::Bytes(Arc::from(&**file.data()))
}

fn receiver(this: &Rc<dyn Object>) -> Result<&Files, Failure> {
    this.as_any().downcast_ref::<Files>().ok_or_else(|| Failure::new("receiver is no engine.files"))
}

fn argument(args: &[Value]) -> std::borrow::Cow<'_, str> {
    args[0].as_str().map(Str::text).unwrap_or_default()
}

const NAME: &[Type] = &[Type::String];

const METHODS: &[Method] = &[
    Method {
        name: "Get",
        params: NAME,
        rest: None,
        call: |this, run, args| {
            let data = receiver(this)?.get(&argument(args)).map(|file| file.data().to_vec()).unwrap_or_default();
            run.reserve(data.len())?;
            Ok(Value::String(Str::from_bytes(data)))
        },
    },
    Method {
        name: "GetBytes",
        params: NAME,
        rest: None,
        call: |this, run, args| {
            let found = receiver(this)?.get(&argument(args));
            run.reserve(found.map_or(0, |file| file.data().len()))?;
            Ok(found.map_or_else(|| Value::Bytes(Arc::from(&[][..])), bytes))
        },
    },
    Method {
        name: "Glob",
        params: NAME,
        rest: None,
        call: |this, run, args| {
            let files = receiver(this)?;
            run.charge(files.0.len() as u64 + 64)?;
            // A pattern that is malformed matches everything, as in Helm.
            let kept = match glob(&argument(args)) {
                Some(pattern) => files.0.iter().filter(|file| pattern.is_match(&file.name)).cloned().collect(),
                None => files.0.to_vec(),
            };
            Ok(Value::Object(Rc::new(Files(Arc::new(kept)))))
        },
    },
    Method { name: "AsConfig", params: &[], rest: None, call: |this, run, _| as_map(this, run, |data| Str::from_bytes(data.to_vec())) },
    Method { name: "AsSecrets", params: &[], rest: None, call: |this, run, _| as_map(this, run, |data| sprig::base64(data).into()) },
    Method {
        name: "Lines",
        params: NAME,
        rest: None,
        call: |this, run, args| {
            let files = receiver(this)?;
            let data: &[u8] = files.get(&argument(args)).map_or(&[], |file| file.data());
            run.reserve(data.len())?;
            if data.is_empty() {
                return Ok(Value::strings(Vec::new()));
            }
            let body = data.strip_suffix(b"\n").unwrap_or(data);
            let lines: Vec<Str> = body.split(|b| *b == b'\n').map(|line| Str::from_bytes(line.to_vec())).collect();
            run.charge(lines.len() as u64)?;
            Ok(Value::strings(lines))
        },
    },
];

/// The files by their base names, as YAML.
fn as_map(this: &Rc<dyn Object>, run: &mut Run<'_>, text: fn(&[u8]) -> Str) -> Result<Value, Failure> {
    let files = receiver(this)?;
    let entries = files.0.iter().map(|file| (sprig::base(&file.name).into(), Value::String(text(file.data())))).collect();
    let yaml = to_yaml(run, &Value::Map(Map::from_entries(MapKind::Strings, entries)))?;
    Ok(Value::string(yaml))
}

impl Object for Files {
    fn type_name(&self) -> &str {
        "engine.files"
    }

    fn kind(&self) -> Kind {
        Kind::Map
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn text(&self) -> String {
        "map".to_owned()
    }

    fn field(&self, name: &str) -> Option<Value> {
        self.get(name).map(bytes)
    }

    fn missing(&self) -> Value {
        Value::NilSlice("[]uint8")
    }

    fn method(&self, name: &str) -> Option<&'static Method> {
        METHODS.iter().find(|method| method.name == name)
    }

    fn length(&self) -> Option<usize> {
        Some(self.0.len())
    }

    fn entries(&self) -> Option<Vec<(Arc<str>, Value)>> {
        Some(self.0.iter().map(|file| (file.name.clone(), bytes(file))).collect())
    }
}

/// A glob of gobwas/glob with `/` as separator: `*` stops at it, `**` does not; `?`, `[a-b]`, `[!a]`, `{a,b}`.
fn glob(pattern: &str) -> Option<Regex> {
    let mut out = String::from("^(?s:");
    let mut chars = pattern.chars().peekable();
    let mut depth = 0;
    while let Some(c) = chars.next() {
        match c {
            '*' if chars.next_if_eq(&'*').is_some() => {
                while chars.next_if_eq(&'*').is_some() {}
                out.push_str(".*");
            }
            '*' => out.push_str("[^/]*"),
            '?' => out.push_str("[^/]"),
            '[' => {
                out.push('[');
                if chars.next_if_eq(&'!').is_some() {
                    out.push('^');
                }
                let mut any = false;
                loop {
                    match chars.next()? {
                        ']' if any => break,
                        '\\' => out.push_str(&regex::escape(&chars.next()?.to_string())),
                        '-' => out.push('-'),
                        c => out.push_str(&regex::escape(&c.to_string())),
                    }
                    any = true;
                }
                out.push(']');
            }
            '{' => {
                depth += 1;
                out.push_str("(?:");
            }
            '}' if depth > 0 => {
                depth -= 1;
                out.push(')');
            }
            ',' if depth > 0 => out.push('|'),
            '\\' => out.push_str(&regex::escape(&chars.next()?.to_string())),
            c => out.push_str(&regex::escape(&c.to_string())),
        }
    }
    if depth > 0 {
        return None;
    }
    out.push_str(")$");
    regex::RegexBuilder::new(&out).size_limit(1 << 20).build().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_stop_at_slashes_unless_doubled() {
        let cases = [
            ("config/*", "config/a.txt", true),
            ("config/*", "config/sub/c.txt", false),
            ("config/**", "config/sub/c.txt", true),
            ("**.yaml", "a/b/c.yaml", true),
            ("{a,b}/*.txt", "b/x.txt", true),
            ("[!a]*", "abc", false),
            ("[a-c]?", "bz", true),
            ("a+b", "a+b", true),
        ];
        for (pattern, name, fits) in cases {
            assert_eq!(glob(pattern).unwrap().is_match(name), fits, "{pattern} {name}");
        }
        assert!(glob("[a").is_none() && glob("{a").is_none());
    }
}
