//! ConfigMaps and Secrets from files, env files and literals; the hash that their names end with.

use crate::{
    build::Use,
    error::{Error, Result, problem},
    kustomization::{GeneratorArgs, GeneratorOptions, Pairs},
    load::Root,
    object::{Behavior, Object},
    ops,
    transform::Run,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};
use smol_str::SmolStr;
use std::collections::BTreeMap;
use yaml::{Data, Entry, Map, Node, Place, Scalar, Style, Tag};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    ConfigMap,
    Secret,
}

/// Makes the object of one generator entry.
pub(crate) fn generate(
    run: &Run<'_, '_>,
    root: &Root,
    kind: Kind,
    args: &GeneratorArgs,
    secret_type: &str,
    options: &GeneratorOptions,
) -> Result<Object> {
    let place = run.place;
    if args.name.is_empty() {
        return Err(problem("a generator needs a name"));
    }
    let data = load(run, root, args).map_err(|error| error.on(format!("generator {}", args.name)))?;
    let mut metadata = Map::default();
    let text = |text: &str| Node::string(text).at(place);
    metadata.insert("name", text(&args.name));
    if !args.namespace.is_empty() {
        metadata.insert("namespace", text(&args.namespace));
    }
    for (field, pairs) in [("labels", &options.labels), ("annotations", &options.annotations)] {
        if !pairs.is_empty() {
            metadata.insert(field, strings(pairs, place)?);
        }
    }
    let mut map = Map::default();
    map.insert("apiVersion", text("v1"));
    map.insert("kind", text(if kind == Kind::ConfigMap { "ConfigMap" } else { "Secret" }));
    map.insert("metadata", Node::from(Data::Map(metadata)).at(place));
    let (mut plain, mut binary) = (Map::default(), Map::default());
    for (key, (value, place)) in data {
        let (into, value) = match String::from_utf8(value) {
            Ok(value) if kind == Kind::ConfigMap => (&mut plain, value),
            Ok(value) => (&mut plain, base64_lines(value.as_bytes())),
            Err(error) if kind == Kind::ConfigMap => (&mut binary, base64_lines(error.as_bytes())),
            Err(error) => (&mut plain, base64_lines(error.as_bytes())),
        };
        check_tab(&key, &value)?;
        let tag = ops::new_key(&key).map_err(|error| error.on(format!("generator {}", args.name)))?;
        into.entries.push(Entry { key: key.into(), tag, value: Node::string(value).at(place) });
    }
    if kind == Kind::Secret {
        map.insert("type", text(if secret_type.is_empty() { "Opaque" } else { secret_type }));
    }
    if kind == Kind::Secret || !plain.is_empty() {
        map.insert("data", Node::from(Data::Map(plain)).at(place));
    }
    if !binary.is_empty() {
        map.insert("binaryData", Node::from(Data::Map(binary)).at(place));
    }
    if options.immutable {
        map.insert("immutable", Node { data: Data::Scalar(Scalar::new("true", Tag::Bool, Style::Plain)), place });
    }
    let mut object = Object::new(Node::from(Data::Map(map)).at(place));
    object.behavior = Behavior::parse(&args.behavior);
    object.needs_hash = !options.disable_name_suffix_hash;
    object.annotate();
    Ok(object)
}

/// kustomize 5.8.1 cannot print text of several lines that begins with a tab, and fails; so that a build does not depend on which of the two
/// ran, it fails here too.
fn check_tab(key: &str, value: &str) -> Result<()> {
    let literal = value.contains('\n') && !value.contains(" \n") && !value.ends_with(' ');
    if value.starts_with('\t') && literal {
        return Err(problem(format!(
            "the content of \"{key}\" has several lines and begins with a tab, which kustomize cannot print; begin it with a space or an empty line"
        )));
    }
    Ok(())
}

fn strings(pairs: &Pairs, place: Place) -> Result<Node> {
    let mut map = Map::default();
    for (key, value) in pairs {
        map.entries.push(Entry { key: key.into(), tag: ops::new_key(key)?, value: Node::string(value.as_str()).at(place) });
    }
    Ok(Node::from(Data::Map(map)).at(place))
}

type Loaded = BTreeMap<String, (Vec<u8>, Place)>;

/// Env files, then literals, then files; a key given twice is an error.
fn load(run: &Run<'_, '_>, root: &Root, args: &GeneratorArgs) -> Result<Loaded> {
    let mut data = Loaded::new();
    let mut add = |key: &str, value: Vec<u8>, place: Place| {
        if data.insert(key.to_owned(), (value, place)).is_some() {
            return Err(problem(format!("key \"{key}\" is given twice")));
        }
        Ok(())
    };
    for path in &args.envs {
        let (file, bytes) = root.read(run.context, path, Use::GeneratorEnv)?;
        let source = run.context.source(&file);
        for (line, text) in lines(&bytes).enumerate() {
            let text = std::str::from_utf8(text).map_err(|_| Error::invalid(&file, format!("line {} is not UTF-8", line + 1)))?;
            let text = if line == 0 { text.trim_start_matches('\u{FEFF}') } else { text };
            let text = text.trim_start();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let (key, value) = text.split_once('=').unwrap_or((text, ""));
            if !key.is_empty() {
                add(key, value.as_bytes().to_vec(), Place { source, line: line as u32 + 1 })?;
            }
        }
    }
    for literal in &args.literals {
        let invalid = || problem(format!("literal \"{}\" must be key=value", literal.split('=').next().unwrap_or("")));
        let (key, value) = literal.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(invalid)?;
        add(key, unquote(value).as_bytes().to_vec(), run.place)?;
    }
    for source in &args.files {
        let (key, path) = file_source(source)?;
        let (file, bytes) = root.read(run.context, path, Use::GeneratorFile)?;
        let place = Place { source: run.context.source(&file), line: 1 };
        add(key, bytes.into_owned(), place)?;
    }
    Ok(data)
}

/// Lines as Go's bufio.Scanner gives them: without their ends.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let empty = bytes.is_empty();
    body.split(|c| *c == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line)).filter(move |_| !empty)
}

/// Takes off one pair of quotes around a text.
fn unquote(text: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote).and_then(|inner| inner.strip_suffix(quote)) {
            return inner;
        }
    }
    text
}

/// `key=path`, or a path whose last part is the key.
fn file_source(source: &str) -> Result<(&str, &str)> {
    let pieces: Vec<&str> = source.split('=').collect();
    match pieces.as_slice() {
        [path] => Ok((path.trim_end_matches('/').rsplit('/').next().unwrap_or(path), path)),
        ["", path] => Err(problem(format!("file \"{path}\" has no key before the ="))),
        [key, ""] => Err(problem(format!("key \"{key}\" has no file after the ="))),
        [key, path] => Ok((key, path)),
        _ => Err(problem(format!("file source \"{source}\" has more than one ="))),
    }
}

/// Base64 in lines of 70 characters, as go-yaml wraps binary data: one line has no line break.
fn base64_lines(bytes: &[u8]) -> String {
    const WIDTH: usize = 70;
    let encoded = STANDARD.encode(bytes);
    if encoded.len() < WIDTH {
        return encoded;
    }
    let mut out = String::with_capacity(encoded.len() + encoded.len() / WIDTH + 1);
    for chunk in encoded.as_bytes().chunks(WIDTH) {
        out.push_str(std::str::from_utf8(chunk).unwrap_or_default());
        out.push('\n');
    }
    out
}

/// The suffix for the name of a generated object: ten characters of a digest of its content. The name is no part of it, although kustomize
/// means it to be (api/hasher looks for a field called "metadata/name").
pub(crate) fn hash(node: &Node) -> Result<String> {
    let kind = node.get("kind").and_then(Node::text).unwrap_or("");
    let fields: &[&str] = match kind {
        "ConfigMap" => &["binaryData", "data"],
        "Secret" => &["data", "stringData", "type"],
        _ => {
            let json = yaml::node_json(node).map_err(|error| problem(error.to_string()))?;
            return Ok(encode(&crate::json::write(&json, false)));
        }
    };
    let mut parts: BTreeMap<&str, String> = BTreeMap::new();
    let text = |text: &str| {
        let mut out = String::new();
        crate::json::string_into(text, &mut out);
        out
    };
    parts.insert("kind", text(kind));
    parts.insert("name", text(""));
    for field in fields {
        let optional = matches!(*field, "binaryData" | "stringData");
        match node.get(field) {
            Some(value) if value.as_scalar().is_none() => {
                let json = yaml::node_json(value).map_err(|error| problem(error.to_string()))?;
                parts.insert(field, crate::json::write(&json, false));
            }
            _ if optional => {}
            Some(value) => drop(parts.insert(field, text(value.text().unwrap_or("")))),
            None => drop(parts.insert(field, text(""))),
        }
    }
    let body: Vec<String> = parts.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
    Ok(encode(&format!("{{{}}}", body.join(","))))
}

/// Characters that could spell words are replaced.
fn encode(text: &str) -> String {
    let digest = hex::encode(Sha256::digest(text.as_bytes()));
    digest
        .chars()
        .take(10)
        .map(|c| match c {
            '0' => 'g',
            '1' => 'h',
            '3' => 'k',
            'a' => 'm',
            'e' => 't',
            c => c,
        })
        .collect()
}

/// Appends the hash to the names of generated objects.
pub(crate) fn add_hashes(run: &Run<'_, '_>, list: &mut [Object]) -> Result<()> {
    let scopes = run.scopes();
    for object in list.iter_mut().filter(|object| object.needs_hash) {
        let hash = hash(&object.node).map_err(|error| error.on(object.id()))?;
        object.store_id(&scopes);
        let name: SmolStr = format!("{}-{hash}", object.name()).into();
        let place = object.node.at_path(&["metadata", "name"]).map_or(run.place, |node| node.place);
        object.set_name(&name, place);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_wraps_as_go_yaml_does() {
        assert_eq!(base64_lines(b"a"), "YQ==");
        assert_eq!(base64_lines(&[0; 51]).len(), 68);
        assert!(base64_lines(&[0; 54]).ends_with("AA\n"));
        assert_eq!(lines(b"a\r\n\nb").collect::<Vec<_>>(), [b"a".as_slice(), b"", b"b"]);
        assert_eq!(lines(b"").count(), 0);
    }
}
