//! Paths with slashes.

use crate::args::{string, text};
use gotemplate::{Function, Type, Value};

const S: Type = Type::String;

pub(crate) const ALL: &[Function] = &[
    Function::new("base", &[S], |run, args| string(run, base(&text(args, 0)))),
    Function::new("dir", &[S], |run, args| string(run, dir(&text(args, 0)))),
    Function::new("clean", &[S], |run, args| string(run, clean(&text(args, 0)))),
    Function::new("ext", &[S], |run, args| string(run, ext(&text(args, 0)).to_owned())),
    Function::new("isAbs", &[S], |_, args| Ok(Value::Bool(text(args, 0).starts_with('/')))),
    Function::new("osBase", &[S], |run, args| string(run, base(&text(args, 0)))),
    Function::new("osDir", &[S], |run, args| string(run, dir(&text(args, 0)))),
    Function::new("osClean", &[S], |run, args| string(run, clean(&text(args, 0)))),
    Function::new("osExt", &[S], |run, args| string(run, ext(&text(args, 0)).to_owned())),
    Function::new("osIsAbs", &[S], |_, args| Ok(Value::Bool(text(args, 0).starts_with('/')))),
];

/// Go's `path.Clean`.
pub fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

/// Go's `path.Base`.
pub fn base(path: &str) -> String {
    if path.is_empty() {
        return ".".to_owned();
    }
    match path.trim_end_matches('/') {
        "" => "/".to_owned(),
        trimmed => trimmed.rsplit('/').next().unwrap_or(trimmed).to_owned(),
    }
}

fn dir(path: &str) -> String {
    clean(path.rfind('/').map_or("", |at| &path[..=at]))
}

fn ext(path: &str) -> &str {
    let name = path.rfind('/').map_or(path, |at| &path[at + 1..]);
    name.rfind('.').map_or("", |at| &name[at..])
}
