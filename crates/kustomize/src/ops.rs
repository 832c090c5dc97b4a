//! Setting values the way kyaml does: what a text becomes depends on the style of what stood there.

use crate::error::{Result, problem};
use smol_str::SmolStr;
use yaml::{Data, Dialect, Node, Place, Scalar, Style, Tag};

/// Puts text in the place of a scalar: without quotes it may become a number or a boolean (kyaml FieldSetter without a tag).
pub(crate) fn set_text(node: &mut Node, text: &str, place: Place) -> Result<()> {
    let (style, shared) = match &node.data {
        Data::Scalar(scalar) => (scalar.style, scalar.shared),
        _ => return Err(problem(format!("expected a scalar, found {}", node.describe()))),
    };
    *node = Node { data: Data::Scalar(Scalar { shared, ..untagged(text, style) }), place };
    Ok(())
}

/// Puts a value of a known type in the place of a scalar; what stood in quotes stays in quotes, and is a string.
pub(crate) fn set_tagged(node: &mut Node, text: &str, tag: Tag, place: Place) -> Result<()> {
    let style = match &node.data {
        Data::Scalar(scalar) => scalar.style,
        _ => return Err(problem(format!("expected a scalar, found {}", node.describe()))),
    };
    let tag = if style == Style::Plain { tag } else { Tag::Str };
    *node = Node { data: Data::Scalar(Scalar::new(text, tag, style)), place };
    Ok(())
}

fn untagged(text: &str, style: Style) -> Scalar {
    let tag = if style == Style::Plain { yaml::plain_tag(Dialect::Kyaml, text) } else { Tag::Str };
    Scalar { untyped: true, ..Scalar::new(text, tag, style) }
}

/// Sets a key of a map to text without a tag. A new value that YAML 1.1 would not read as a string gets quotes.
pub(crate) fn set_field_text(node: &mut Node, key: &str, text: &str, place: Place) {
    let Some(map) = node.as_map_mut() else { return };
    match map.get_mut(key) {
        Some(value) => {
            let style = value.as_scalar().map_or(Style::Plain, |scalar| scalar.style);
            *value = Node { data: Data::Scalar(untagged(text, style)), place };
        }
        None => {
            let plain = yaml::plain_tag(Dialect::Sigs, text) == Tag::Str;
            let style = if plain { Style::Plain } else { Style::Double };
            map.insert(key, Node { data: Data::Scalar(untagged(text, style)), place });
        }
    }
}

/// Sets a key of a map to a string; one that is new gets the mark. Says which mark the key has, or that there is no map.
pub(crate) fn set_entry(node: &mut Node, key: &str, value: &str, place: Place, mark: u32) -> Result<Option<u32>> {
    if node.is_null() {
        // kyaml appends to the null, which prints as null: nothing happens.
        return Ok(None);
    }
    let found = node.describe();
    match node.as_map_mut() {
        Some(map) => {
            let marked = |shared| Node::from(Data::Scalar(Scalar { shared, ..Scalar::string(value) })).at(place);
            match map.get_mut(key) {
                Some(old) => {
                    let shared = old.as_scalar().map_or(0, |old| old.shared);
                    *old = marked(shared);
                    Ok(Some(shared))
                }
                None => {
                    map.entries.push(yaml::Entry { key: key.into(), tag: new_key(key)?, value: marked(mark) });
                    Ok(Some(mark))
                }
            }
        }
        None => Err(problem(format!("expected a map, found {found}"))),
    }
}

/// The tag of a key that is new in a map. kustomize writes such keys without quotes, reads them again, and cannot use what is no string then.
pub(crate) fn new_key(key: &str) -> Result<Tag> {
    match yaml::plain_tag(Dialect::Kyaml, key) {
        Tag::Str => Ok(Tag::Str),
        _ => Err(problem(format!("the key \"{key}\" reads as a number, boolean, null or date in YAML; kustomize has no way to write it"))),
    }
}

/// The map under a key, made where there was none or null.
pub(crate) fn child_map<'a>(node: &'a mut Node, key: &str, place: Place) -> Option<&'a mut Node> {
    let child = node.as_map_mut()?.entry(key, || Node::map().at(place));
    if child.is_null() {
        child.data = Data::Map(yaml::Map::default());
    }
    Some(child)
}

/// The string pairs of a map such as `metadata.labels`: values are taken by their text.
pub(crate) fn pairs<'a>(node: &'a Node, path: &[&str]) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
    node.at_path(path).and_then(Node::as_map).into_iter().flat_map(|map| map.iter()).map(|(key, value)| (key, value.text().unwrap_or("")))
}

/// Null, `{}` or `[]`.
pub(crate) fn is_empty(node: &Node) -> bool {
    match &node.data {
        Data::Scalar(scalar) => scalar.tag == Tag::Null,
        Data::List(items) => items.is_empty(),
        Data::Map(map) => map.is_empty(),
    }
}

/// Splits a path at a separator; a backslash before it keeps it. A leading separator is allowed.
pub(crate) fn split_path(path: &str, separator: char) -> Vec<SmolStr> {
    let mut parts: Vec<String> = Vec::new();
    let mut pieces: Vec<&str> = path.split(separator).collect();
    if pieces.len() > 1 && pieces[0].is_empty() {
        pieces.remove(0);
    }
    for piece in pieces {
        match parts.last_mut() {
            Some(last) if last.ends_with('\\') => {
                last.pop();
                last.push(separator);
                last.push_str(piece);
            }
            _ => parts.push(piece.to_owned()),
        }
    }
    parts.into_iter().map(SmolStr::from).collect()
}

/// Makes what a node and everything in it comes from one place.
pub(crate) fn stamp(node: &mut Node, place: Place) {
    node.place = place;
    match &mut node.data {
        Data::Scalar(_) => {}
        Data::List(items) => items.iter_mut().for_each(|item| stamp(item, place)),
        Data::Map(map) => map.entries.iter_mut().for_each(|entry| stamp(&mut entry.value, place)),
    }
}
