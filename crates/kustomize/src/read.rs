use crate::{
    error::{Error, Place, Result, problem},
    id::field_text,
    load::Context,
    object::Object,
    ops,
};
use std::borrow::Cow;
use yaml::{Data, Node};

/// Reads the objects of a text: several documents, lists unrolled. `file` is where errors say it stands.
pub(crate) fn objects(context: &Context<'_>, text: &str, file: &str) -> Result<Vec<Object>> {
    objects_from(context, text, file, 1)
}

/// The same of a text that begins at a line of a file.
pub(crate) fn objects_from(context: &Context<'_>, text: &str, file: &str, first_line: u32) -> Result<Vec<Object>> {
    Ok(nodes(context, text, file, first_line)?.into_iter().map(Object::new).collect())
}

fn nodes(context: &Context<'_>, text: &str, file: &str, first_line: u32) -> Result<Vec<Node>> {
    let before = first_line.saturating_sub(1);
    let source = context.source(file);
    let chunks = split(text).map_err(|(line, separator)| Error::Invalid {
        place: Place { file: file.to_owned(), line: line + before },
        problem: format!("\"{separator}\" is no document separator; after --- only a comment may follow"),
    })?;
    let single = chunks.len() == 1;
    let mut found = Vec::new();
    for (line, chunk) in chunks {
        let node = yaml::first_document(&chunk, yaml::Limits::default(), source, line + before)
            .map_err(|source| Error::Yaml { place: Place { file: file.to_owned(), line: 0 }, source })?;
        let Some(mut node) = node.filter(|node| !node.is_null()) else { continue };
        if single
            && matches!(field_text(&node, "kind"), "List" | "ResourceList")
            && let Some(map) = node.as_map_mut()
            && (map.contains("items") || map.contains("functionConfig"))
        {
            match map.remove("items").map(|items| items.data) {
                Some(Data::List(items)) => found.extend(items),
                _ => continue,
            }
            continue;
        }
        found.push(node);
    }
    let mut kept = Vec::new();
    let mut queue: std::collections::VecDeque<Node> = found.into();
    let mut unrolled = 0usize;
    while let Some(mut node) = queue.pop_front() {
        if ops::is_empty(&node) {
            continue;
        }
        validate(&node).map_err(|error| locate(context, &node, error))?;
        context.budget.objects(kept.len() + queue.len())?;
        if field_text(&node, "kind").ends_with("List") && node.get("items").is_some() {
            // A list in a list in a list: each level costs one round.
            unrolled += 1;
            context.budget.objects(unrolled)?;
            as_of_json(&mut node).map_err(|error| locate(context, &node, problem(error.to_string())))?;
            let Some(items) = node.get_mut("items") else { continue };
            match std::mem::replace(&mut items.data, Data::List(Vec::new())) {
                Data::List(items) => queue.extend(items),
                Data::Scalar(scalar) if scalar.tag == yaml::Tag::Null => {}
                other => {
                    let found = Node::from(other);
                    return Err(locate(context, &node, problem(format!("items must be a list, but is {}", found.describe()))));
                }
            }
            continue;
        }
        kept.push(node);
    }
    Ok(kept)
}

/// Makes every value what it is after JSON: kustomize unrolls lists on that way.
fn as_of_json(node: &mut Node) -> std::result::Result<(), yaml::Error> {
    fn scalars(node: &mut Node) -> std::result::Result<(), yaml::Error> {
        let place = node.place;
        match &mut node.data {
            Data::List(items) => items.iter_mut().try_for_each(scalars),
            Data::Map(map) => {
                (map.flow, map.notes) = (false, None);
                map.entries.iter_mut().try_for_each(|entry| scalars(&mut entry.value))
            }
            Data::Scalar(_) => {
                *node = yaml::from_json(&yaml::node_json(node)?).at(place);
                Ok(())
            }
        }
    }
    yaml::check_keys(node)?;
    scalars(node)
}

fn locate(context: &Context<'_>, node: &Node, error: Error) -> Error {
    match error {
        Error::Invalid { problem, .. } => Error::Invalid { place: context.place_of(node.place), problem },
        other => other,
    }
}

/// What can be worked with: an object that has a kind and a name, and no lists for labels and annotations.
fn validate(node: &Node) -> Result<()> {
    let kind = has_kind_and_name(node)?;
    if kind.ends_with("List") {
        return Ok(());
    }
    for field in ["labels", "annotations"] {
        let value = node.at_path(&["metadata", field]);
        // A scalar is an error once a label or an annotation is added to it.
        if let Some(value) = value.filter(|value| value.as_list().is_some()) {
            return Err(problem(format!("metadata.{field} of {kind} must be a map, but is {}", value.describe())));
        }
    }
    Ok(())
}

/// An object needs a kind and a name; a list needs a kind. Gives the kind.
pub(crate) fn has_kind_and_name(node: &Node) -> Result<&str> {
    let Some(map) = node.as_map() else {
        return Err(problem(format!("expected a Kubernetes object, found {}", node.describe())));
    };
    let is_missing = |node: Option<&Node>| node.filter(|node| !ops::is_empty(node)).and_then(Node::text).unwrap_or("").is_empty();
    let kind = field_text(node, "kind");
    if is_missing(map.get("kind")) {
        return Err(problem(if map.contains("metadata") {
            "the object has no kind"
        } else {
            "not a Kubernetes object: it has neither kind nor metadata"
        }));
    }
    let metadata = map.get("metadata");
    if let Some(metadata) = metadata.filter(|metadata| metadata.as_map().is_none() && !metadata.is_null()) {
        return Err(problem(format!("metadata of {kind} must be a map, but is {}", metadata.describe())));
    }
    if kind.ends_with("List") {
        return Ok(kind);
    }
    if is_missing(metadata.and_then(|metadata| metadata.get("name"))) {
        return Err(problem(format!("{kind} has no metadata.name")));
    }
    Ok(kind)
}

/// Splits a text at lines that begin with `---`; each part with its first line. kustomize looks for `\n---.*\n` (kio ByteReader).
fn split(text: &str) -> std::result::Result<Vec<(u32, Cow<'_, str>)>, (u32, String)> {
    let text: Cow<'_, str> = if text.contains("\r\n") { Cow::Owned(text.replace("\r\n", "\n")) } else { Cow::Borrowed(text) };
    let mut cuts: Vec<(usize, usize)> = Vec::new();
    let mut from = 0;
    while let Some(at) = text[from..].find("\n---") {
        let start = from + at;
        let Some(end) = text[start + 1..].find('\n').map(|end| start + 1 + end + 1) else { break };
        let rest = text[start + 4..end].trim();
        if !rest.is_empty() && !rest.starts_with('#') {
            let line = text[..start].matches('\n').count() as u32 + 2;
            return Err((line, text[start..end].trim().to_owned()));
        }
        cuts.push((start, end));
        // The line break that ends a separator cannot begin another.
        from = end;
    }
    let mut parts = Vec::with_capacity(cuts.len() + 1);
    let (mut from, mut line) = (0, 1);
    for (start, end) in cuts {
        // The line break before a separator belongs to the document.
        parts.push((line, sub(&text, from, start + 1)));
        line += text[from..end].matches('\n').count() as u32;
        from = end;
    }
    parts.push((line, sub(&text, from, text.len())));
    Ok(parts)
}

fn sub<'a>(text: &Cow<'a, str>, from: usize, to: usize) -> Cow<'a, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[from..to]),
        Cow::Owned(text) => Cow::Owned(text[from..to].to_owned()),
    }
}
