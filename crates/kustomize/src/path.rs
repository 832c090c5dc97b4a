//! Field paths of replacements and vars (kyaml PathGetter and PathMatcher): `spec.containers.[name=app].image`, `0`, `-`, `*`.

use crate::{
    error::{Result, problem},
    ops,
};
use smol_str::SmolStr;
use yaml::{Data, Node, Place, Scalar, Style, Tag};

/// What is made at the end of a path that leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Create {
    Never,
    Scalar,
    Map,
    List,
}

/// Splits a dotted path; brackets keep their dots, `\.` does too.
pub(crate) fn split(path: &str) -> Vec<SmolStr> {
    let pieces = ops::split_path(path, '.');
    let mut parts = Vec::new();
    let mut pieces = pieces.into_iter();
    while let Some(piece) = pieces.next() {
        if !piece.starts_with('[') || piece.ends_with(']') {
            parts.push(piece);
            continue;
        }
        let mut bracket = piece.to_string();
        for next in pieces.by_ref() {
            bracket.push('.');
            bracket.push_str(&next);
            if next.ends_with(']') {
                break;
            }
        }
        parts.push(if bracket.contains('=') { bracket.into() } else { bracket.trim_matches(['[', ']']).into() });
    }
    parts
}

/// `[name=value]`; a part in brackets without `=` matches scalars.
fn bracket(part: &str) -> Option<Result<(&str, &str)>> {
    let inner = part.strip_prefix('[')?.strip_suffix(']')?;
    Some(match inner.split_once('=') {
        Some((name, value)) => Ok((name, value)),
        None => Err(problem(format!("\"{part}\" must be [field=value]"))),
    })
}

fn number(part: &str) -> Option<i64> {
    part.parse().ok()
}

/// The one node at a path; `None` where there is none.
pub(crate) fn lookup<'a>(node: &'a Node, parts: &[SmolStr]) -> Result<Option<&'a Node>> {
    let mut at = node;
    for part in parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty()) {
        let next = if let Some(index) = number(part) {
            let items = list(at, part)?;
            let index = usize::try_from(index).map_err(|_| problem(format!("index {part} cannot be negative")))?;
            items.get(index)
        } else if part == "-" {
            list(at, part)?.last()
        } else if part == "*" {
            return Err(problem("\"*\" is allowed in targets only"));
        } else if let Some(bracket) = bracket(part) {
            let (name, value) = bracket?;
            let matches = |item: &&Node| {
                if name.is_empty() {
                    item.text().is_some_and(|text| text == value)
                } else {
                    item.get(name).is_some_and(|found| value.is_empty() || found.text() == Some(value))
                }
            };
            list(at, part)?.iter().find(matches)
        } else if at.is_null() {
            None
        } else {
            match &at.data {
                Data::Map(map) => map.get(part),
                _ => return Err(problem(format!("\"{part}\" is asked of {}", at.describe()))),
            }
        };
        match next {
            Some(next) => at = next,
            None => return Ok(None),
        }
    }
    Ok(Some(at))
}

fn list<'a>(node: &'a Node, part: &str) -> Result<&'a [Node]> {
    node.as_list().ok_or_else(|| problem(format!("\"{part}\" is asked of {}, not of a list", node.describe())))
}

/// Calls `set` on every node that a path matches, and says how many there were. `*` and a bracket may match several; a bracket's value is a
/// regular expression.
pub(crate) fn for_each(
    node: &mut Node,
    parts: &[SmolStr],
    create: Create,
    place: Place,
    set: &mut dyn FnMut(&mut Node) -> Result<()>,
) -> Result<usize> {
    let Some((part, rest)) = parts.split_first() else {
        set(node)?;
        return Ok(1);
    };
    if number(part).is_some_and(|index| index >= 0) {
        return at_index(node, part, rest, create, place, set);
    }
    if let Some(bracket) = bracket(part) {
        let (name, value) = bracket?;
        return at_matches(node, (name, value), part, rest, create, place, set);
    }
    if part == "*" {
        let found = node.describe();
        let items = node.as_list_mut().ok_or_else(|| problem(format!("\"*\" is asked of {found}, not of a list")))?;
        return items.iter_mut().try_fold(0, |count, item| Ok(count + for_each(item, rest, create, place, set)?));
    }
    if node.is_null() {
        if create == Create::Never {
            return Ok(0);
        }
        node.data = Data::Map(yaml::Map::default());
    }
    let found = node.describe();
    let map = node.as_map_mut().ok_or_else(|| problem(format!("\"{part}\" is asked of {found}, not of a map")))?;
    let field = match (map.position(part), create) {
        (Some(at), _) => &mut map.entries[at].value,
        (None, Create::Never) => return Ok(0),
        (None, create) => {
            let kind = next_kind(rest.first(), create);
            map.entry(part, || blank(kind, place))
        }
    };
    if let Some(scalar) = field.as_scalar().filter(|_| !rest.is_empty()) {
        // kyaml looks into text that is YAML, and sets what it finds there in a copy that nobody sees.
        let inner =
            yaml::first_document(&scalar.text, yaml::Limits::default(), place.source, 1).map_err(|error| problem(error.to_string()))?;
        return match inner {
            Some(mut inner) => for_each(&mut inner, rest, create, place, set),
            None => Err(problem(format!("\"{}\" is asked of nothing", rest[0]))),
        };
    }
    for_each(field, rest, create, place, set)
}

fn at_index(
    node: &mut Node,
    part: &str,
    rest: &[SmolStr],
    create: Create,
    place: Place,
    set: &mut dyn FnMut(&mut Node) -> Result<()>,
) -> Result<usize> {
    let index: usize = part.parse().map_err(|_| problem(format!("\"{part}\" is no index")))?;
    let found = node.describe();
    let items = node.as_list_mut().ok_or_else(|| problem(format!("\"{part}\" is asked of {found}, not of a list")))?;
    if items.len() == index && create != Create::Never {
        items.push(blank(next_kind(rest.first(), create), place));
    }
    let len = items.len();
    let item = items.get_mut(index).ok_or_else(|| problem(format!("index {index} is asked of {len} elements")))?;
    for_each(item, rest, create, place, set)
}

fn at_matches(
    node: &mut Node,
    (name, value): (&str, &str),
    part: &str,
    rest: &[SmolStr],
    create: Create,
    place: Place,
    set: &mut dyn FnMut(&mut Node) -> Result<()>,
) -> Result<usize> {
    let pattern = crate::select::compile(value)?;
    let found = node.describe();
    let items = node.as_list_mut().ok_or_else(|| problem(format!("\"{part}\" is asked of {found}, not of a list")))?;
    let mut run = |items: &mut Vec<Node>| -> Result<usize> {
        let mut count = 0;
        for item in items.iter_mut() {
            if name.is_empty() {
                // A scalar is the end of a path, whatever follows.
                if pattern.is_match(&printed(item)) {
                    set(item)?;
                    count += 1;
                }
            } else if item.get(name).is_some_and(|field| pattern.is_match(&printed(field))) {
                count += for_each(item, rest, create, place, set)?;
            }
        }
        Ok(count)
    };
    let count = run(items)?;
    if count > 0 || create == Create::Never {
        return Ok(count);
    }
    let scalar = Node::plain(value).at(place);
    items.push(if name.is_empty() {
        scalar
    } else {
        let mut map = Node::map().at(place);
        if let Some(map) = map.as_map_mut() {
            map.insert(name, scalar);
        }
        map
    });
    run(items)
}

/// A node as the pattern of a bracket sees it: as YAML prints it.
fn printed(node: &Node) -> String {
    match &node.data {
        Data::Scalar(scalar) if scalar.style == Style::Single => format!("'{}'", scalar.text.replace('\'', "''")),
        Data::Scalar(scalar) if scalar.style == Style::Double => format!("\"{}\"", scalar.text),
        Data::Scalar(scalar) => scalar.text.trim().to_string(),
        _ => {
            let mut text = String::new();
            // Text that cannot be printed matches nothing.
            let _ = yaml::emit_node(node, &mut text);
            text.trim().to_owned()
        }
    }
}

fn next_kind(next: Option<&SmolStr>, last: Create) -> Create {
    match next {
        None => last,
        Some(part) if part.starts_with('[') && part.ends_with(']') || number(part).is_some_and(|index| index >= 0) => Create::List,
        Some(_) => Create::Map,
    }
}

fn blank(kind: Create, place: Place) -> Node {
    match kind {
        Create::Map => Node::map().at(place),
        Create::List => Node::list(Vec::new()).at(place),
        Create::Scalar | Create::Never => {
            let scalar = Scalar { untyped: true, ..Scalar::new(SmolStr::default(), Tag::Str, Style::Plain) };
            Node { data: Data::Scalar(scalar), place }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_keep_the_dots_in_brackets() {
        let parts = |path: &str| split(path).iter().map(|part| part.to_string()).collect::<Vec<_>>();
        assert_eq!(parts("a.[name=x.y].b"), ["a", "[name=x.y]", "b"]);
        assert_eq!(parts("metadata.annotations.[a.b/c]"), ["metadata", "annotations", "a.b/c"]);
        assert_eq!(parts(r"data.a\.b"), ["data", "a.b"]);
    }
}
