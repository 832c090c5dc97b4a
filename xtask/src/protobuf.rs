//! Writes `crates/apiserver/data/protobuf.txt`: the fields of Kubernetes' protobuf messages by number.
//!
//! The input is folders of Go source, such as those of the modules `k8s.io/api`, `k8s.io/apimachinery/pkg` and
//! `k8s.io/apiextensions-apiserver/pkg/apis`: the tags of their structs tell the number and the JSON name of each field, their
//! types the rest. What Go writes by hand (times, quantities) is taken from the `generated.proto` beside. Only these facts are taken.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// A named type of Go: a struct with its fields, or another name for a type.
#[derive(Default)]
struct Package {
    structs: BTreeMap<String, Vec<Field>>,
    names: BTreeMap<String, String>,
    /// Messages of the protocol file: number, name and type of each field, in the words of the table.
    messages: BTreeMap<String, Vec<(u64, String, String)>>,
}

struct Field {
    number: u64,
    json: String,
    ty: String,
    inline: bool,
}

pub fn write(folders: &[&str]) -> Result<String, String> {
    let mut packages: BTreeMap<String, Package> = BTreeMap::new();
    for folder in folders {
        visit(Path::new(folder), &mut packages)?;
    }
    let mut out = String::new();
    // What is not stable is not served.
    for (package, content) in packages.iter().filter(|(package, _)| !package.contains("alpha") && !package.contains("beta")) {
        for (name, fields) in content.structs.iter().filter(|(name, _)| content.messages.contains_key(*name)) {
            out.push_str(&format!("{package}.{name}\n"));
            let mut fields: Vec<&Field> = fields.iter().collect();
            fields.sort_by_key(|field| field.number);
            for field in fields {
                if let Some(ty) = type_of(&field.ty, package, &packages, field.inline) {
                    out.push_str(&format!(" {} {} {ty}\n", field.number, if field.inline { "-" } else { &field.json }));
                }
            }
        }
        for (name, fields) in content.messages.iter().filter(|(name, _)| !content.structs.contains_key(*name)) {
            out.push_str(&format!("{package}.{name}\n"));
            fields.iter().for_each(|(number, field, ty)| out.push_str(&format!(" {number} {field} {ty}\n")));
        }
    }
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/apiserver/data/protobuf.txt");
    fs::write(&target, out).map_err(|error| format!("cannot write {}: {error}", target.display()))?;
    Ok(format!("wrote {}", target.display()))
}

fn visit(folder: &Path, packages: &mut BTreeMap<String, Package>) -> Result<(), String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
    let mut paths: Vec<_> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            visit(&path, packages)?;
        } else if path.extension().is_some_and(|extension| extension == "go") && folder.join("generated.proto").exists() {
            let text = fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            read(&text, packages.entry(package_name(folder)).or_default());
        } else if path.file_name().is_some_and(|name| name == "generated.proto") {
            let text = fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            let name = package_name(folder);
            let messages = read_messages(&text, &name);
            packages.entry(name).or_default().messages = messages;
        }
    }
    Ok(())
}

/// `apps.v1` of `…/apps/v1`; packages without a version go by their own name.
fn package_name(folder: &Path) -> String {
    let parts: Vec<&str> = folder.iter().filter_map(|part| part.to_str()).collect();
    let (last, before) = (parts.last().copied().unwrap_or(""), parts.iter().rev().nth(1).copied().unwrap_or(""));
    if last.starts_with('v') && last[1..].starts_with(|c: char| c.is_ascii_digit()) || last == "intstr" {
        return format!("{before}.{last}");
    }
    last.to_owned()
}

fn read(text: &str, package: &mut Package) {
    let mut open: Option<String> = None;
    for line in text.lines() {
        let trimmed = line.trim();
        if let Some(name) = &open {
            if line.starts_with('}') {
                open = None;
            } else if let Some(field) = field(trimmed).filter(|_| !trimmed.starts_with("//")) {
                package.structs.entry(name.clone()).or_default().push(field);
            }
            continue;
        }
        let Some(rest) = line.strip_prefix("type ") else { continue };
        let mut words = rest.split_whitespace();
        let (Some(name), Some(ty)) = (words.next(), words.next()) else { continue };
        if ty == "struct{" || ty == "struct" {
            open = (!rest.trim_end().ends_with('}')).then(|| name.to_owned());
        } else if !matches!(ty, "interface" | "=" | "struct{}") {
            package.names.insert(name.to_owned(), ty.to_owned());
        }
    }
}

/// The messages of a protocol file.
fn read_messages(text: &str, package: &str) -> BTreeMap<String, Vec<(u64, String, String)>> {
    let mut out: BTreeMap<String, Vec<(u64, String, String)>> = BTreeMap::new();
    let mut open = None;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("message ") {
            let name = name.trim_end_matches(['{', '}', ' ']).to_owned();
            out.entry(name.clone()).or_default();
            open = (!line.ends_with('}')).then_some(name);
        } else if line == "}" {
            open = None;
        } else if let (Some(message), Some((declared, number))) = (&open, line.trim_end_matches(';').split_once(" = "))
            && let Ok(number) = number.trim().parse()
        {
            let mut words = declared.rsplitn(2, ' ');
            let (Some(field), Some(ty)) = (words.next(), words.next()) else { continue };
            let (list, ty) = match ty.split_once(' ') {
                Some(("repeated", ty)) => ("[", ty),
                Some(("optional", ty)) => ("", ty),
                _ => ("", ty),
            };
            let ty = match ty.strip_prefix("map<string, ").and_then(|rest| rest.strip_suffix('>')) {
                Some(element) => format!("{{{}", message_type(element, package)),
                None => format!("{list}{}", message_type(ty, package)),
            };
            out.entry(message.clone()).or_default().push((number, field.to_owned(), ty));
        }
    }
    out
}

/// `k8s.io.api.core.v1.Pod`, or a name of the same package.
fn message_type(ty: &str, package: &str) -> String {
    let scalar = match ty {
        "string" => "s",
        "bool" => "b",
        "bytes" => "y",
        "double" | "float" => "d",
        "int32" | "int64" | "uint32" | "uint64" => "i",
        _ => "",
    };
    if !scalar.is_empty() {
        return scalar.to_owned();
    }
    let parts: Vec<&str> = ty.trim_start_matches('.').split('.').collect();
    match parts.as_slice() {
        [name] => format!("m:{package}.{name}"),
        [.., before, last, name] if last.starts_with('v') || *last == "intstr" => format!("m:{before}.{last}.{name}"),
        [.., last, name] => format!("m:{last}.{name}"),
        [] => String::new(),
    }
}

/// A line such as ``Name *string `json:"name,omitempty" protobuf:"bytes,1,opt,name=name"` ``.
fn field(line: &str) -> Option<Field> {
    let (declared, tags) = line.split_once('`')?;
    let tag = |name: &str| {
        let at = tags.find(&format!("{name}:\""))? + name.len() + 2;
        Some(&tags[at..at + tags[at..].find('"')?])
    };
    let number = tag("protobuf")?.split(',').nth(1)?.parse().ok()?;
    let json = tag("json")?;
    let mut words = declared.split_whitespace();
    let first = words.next()?;
    let ty = words.next().unwrap_or(first).to_owned();
    let name = json.split(',').next().unwrap_or("");
    // What Go writes by hand has no name in JSON; the table's reader knows it by its number.
    let (inline, name) = (json.split(',').any(|part| part == "inline"), if name == "-" { "raw" } else { name });
    Some(Field { number, json: name.to_owned(), ty, inline })
}

/// An element is no pointer.
fn plain(ty: &str) -> String {
    match ty.strip_prefix("o:") {
        Some(message) => format!("m:{message}"),
        None if ty.contains(':') => ty.to_owned(),
        None => ty.trim_end_matches('p').to_owned(),
    }
}

/// The type in the words of the table.
fn type_of(ty: &str, package: &str, packages: &BTreeMap<String, Package>, inline: bool) -> Option<String> {
    let (pointer, ty) = match ty.strip_prefix('*') {
        Some(rest) => ("p", rest),
        None => ("", ty),
    };
    if ty == "[]byte" {
        return Some("y".to_owned());
    }
    if let Some(element) = ty.strip_prefix("[]") {
        return Some(format!("[{}", plain(&type_of(element, package, packages, false)?)));
    }
    if let Some(rest) = ty.strip_prefix("map[") {
        let (_, element) = rest.split_once(']')?;
        return Some(format!("{{{}", plain(&type_of(element, package, packages, false)?)));
    }
    let scalar = match ty {
        "string" => "s",
        "bool" => "b",
        "int" | "int32" | "int64" | "uint32" | "uint64" | "uint8" | "int8" => "i",
        "float64" | "float32" => "d",
        _ => "",
    };
    if !scalar.is_empty() {
        return Some(format!("{scalar}{pointer}"));
    }
    let (of, name) = match ty.split_once('.') {
        // Names and uids of objects.
        Some(("types", _)) => return Some(format!("s{pointer}")),
        Some((alias, name)) => (resolve(alias, packages)?, name),
        None => (package.to_owned(), ty),
    };
    if let Some(meant) = packages.get(&of).and_then(|package| package.names.get(name)) {
        // A list with a name of its own is a message, unless the protocol file repeats its elements.
        let message = packages.get(&of).is_some_and(|package| package.messages.contains_key(name));
        if !message {
            return Some(match type_of(meant, &of, packages, false)? {
                scalar if scalar.len() == 1 && scalar != "y" => format!("{scalar}{pointer}"),
                other => other,
            });
        }
    }
    let form = match pointer {
        _ if inline => "n",
        "" => "m",
        _ => "o",
    };
    Some(format!("{form}:{of}.{name}"))
}

/// The package that an import is called in Kubernetes' own sources: `metav1`, `v1` (of core), `corev1`, `runtime`.
fn resolve(alias: &str, packages: &BTreeMap<String, Package>) -> Option<String> {
    let known: BTreeSet<&str> = packages.keys().map(String::as_str).collect();
    let name = match alias {
        "metav1" => "meta.v1",
        "v1" | "corev1" | "apiv1" => "core.v1",
        "intstr" => "util.intstr",
        other if known.contains(other) => other,
        other => {
            let at = other.rfind('v').filter(|at| *at > 0)?;
            return known.get(format!("{}.{}", &other[..at], &other[at..]).as_str()).map(|name| (*name).to_owned());
        }
    };
    Some(name.to_owned())
}
