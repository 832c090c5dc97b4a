//! A set of fields as a tree, with the algebra of structured-merge-diff, and its `fieldsV1` form.

use std::fmt;

use serde_json::{Map, Value};

use super::path::{Error, PathElement};
use crate::schema::{Schema, TypeId};

/// Sets of fields nest no deeper than this: JSON that does is refused.
const DEPTH_MAX: usize = 160;

/// A set of paths. A parent is no member because its child is one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Set {
    /// Sorted.
    members: Vec<PathElement>,
    /// Sorted; those without members are allowed, as they are in Go.
    children: Vec<(PathElement, Set)>,
}

impl Set {
    pub fn new() -> Self {
        Self::default()
    }

    /// A set of paths of plain field names.
    pub fn of_fields(paths: &[&[&str]]) -> Self {
        let mut set = Self::new();
        for path in paths {
            let path: Vec<_> = path.iter().map(|name| PathElement::field(name)).collect();
            set.insert(&path);
        }
        set
    }

    /// Adds a path. The empty path is the whole object, which nobody owns.
    pub fn insert(&mut self, path: &[PathElement]) {
        let Some((last, parents)) = path.split_last() else { return };
        let mut at = self;
        for parent in parents {
            at = at.descend(parent);
        }
        if let Err(place) = at.members.binary_search(last) {
            at.members.insert(place, last.clone());
        }
    }

    fn descend(&mut self, element: &PathElement) -> &mut Set {
        let place = match self.children.binary_search_by(|(key, _)| key.cmp(element)) {
            Ok(place) => place,
            Err(place) => {
                self.children.insert(place, (element.clone(), Set::new()));
                place
            }
        };
        &mut self.children[place].1
    }

    pub fn has(&self, path: &[PathElement]) -> bool {
        let Some((last, parents)) = path.split_last() else { return false };
        let mut at = self;
        for parent in parents {
            match at.child(parent) {
                Some(child) => at = child,
                None => return false,
            }
        }
        at.has_member(last)
    }

    pub fn has_member(&self, element: &PathElement) -> bool {
        self.members.binary_search(element).is_ok()
    }

    /// The paths that begin with an element, without it.
    pub fn child(&self, element: &PathElement) -> Option<&Set> {
        let place = self.children.binary_search_by(|(key, _)| key.cmp(element)).ok()?;
        Some(&self.children[place].1)
    }

    pub fn members(&self) -> &[PathElement] {
        &self.members
    }

    pub fn children(&self) -> &[(PathElement, Set)] {
        &self.children
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.iter().all(|(_, child)| child.is_empty())
    }

    pub fn len(&self) -> usize {
        self.members.len() + self.children.iter().map(|(_, child)| child.len()).sum::<usize>()
    }

    pub fn union(&self, other: &Set) -> Set {
        let members = zip(&self.members, &other.members, |element| element).filter_map(|(a, b)| a.or(b).cloned()).collect();
        let children = zip(&self.children, &other.children, |(element, _)| element)
            .filter_map(|pair| match pair {
                (Some((element, a)), Some((_, b))) => Some((element.clone(), a.union(b))),
                (Some(one), None) | (None, Some(one)) => Some(one.clone()),
                (None, None) => None,
            })
            .collect();
        Set { members, children }
    }

    pub fn intersection(&self, other: &Set) -> Set {
        let members = self.members.iter().filter(|element| other.has_member(element)).cloned().collect();
        let children = zip(&self.children, &other.children, |(element, _)| element)
            .filter_map(|pair| match pair {
                (Some((element, a)), Some((_, b))) => Some((element.clone(), a.intersection(b))),
                _ => None,
            })
            .filter(|(_, child)| !child.is_empty())
            .collect();
        Set { members, children }
    }

    /// What is here and not there; a parent there takes no child from here.
    pub fn difference(&self, other: &Set) -> Set {
        self.without(other, false)
    }

    /// What is neither there nor below something there.
    pub fn recursive_difference(&self, other: &Set) -> Set {
        self.without(other, true)
    }

    fn without(&self, other: &Set, recursive: bool) -> Set {
        let members = self.members.iter().filter(|element| !other.has_member(element)).cloned().collect();
        let children = self
            .children
            .iter()
            .filter(|(element, _)| !(recursive && other.has_member(element)))
            .filter_map(|(element, child)| match other.child(element) {
                Some(there) => Some((element.clone(), child.without(there, recursive))).filter(|(_, child)| !child.is_empty()),
                None => Some((element.clone(), child.clone())),
            })
            .collect();
        Set { members, children }
    }

    /// Adds the declared fields above each member, so that a field goes when all below it does.
    pub fn with_named_parents(&self, schema: &Schema, ty: Option<TypeId>) -> Set {
        let ty = ty.map(|id| schema.get(id));
        let map = ty.and_then(|ty| ty.map.as_ref());
        let list = ty.and_then(|ty| ty.list.as_ref());
        let mut out = Set { members: self.members.clone(), children: Vec::with_capacity(self.children.len()) };
        for (element, child) in &self.children {
            let inner = match element {
                PathElement::Field(name) => map.and_then(|map| map.type_of(name)),
                PathElement::Key(_) => list.map(|list| list.element),
                _ => None,
            };
            if let (PathElement::Field(name), Some(map)) = (element, map)
                && map.field(name).is_some()
                && let Err(place) = out.members.binary_search(element)
            {
                out.members.insert(place, element.clone());
            }
            out.children.push((element.clone(), child.with_named_parents(schema, inner)));
        }
        out
    }

    /// Every path, parents before what is below them.
    pub fn paths(&self) -> Vec<Vec<PathElement>> {
        let mut out = Vec::new();
        self.walk(&mut Vec::new(), &mut out);
        out
    }

    fn walk(&self, prefix: &mut Vec<PathElement>, out: &mut Vec<Vec<PathElement>>) {
        for element in &self.members {
            let mut path = prefix.clone();
            path.push(element.clone());
            out.push(path);
        }
        for (element, child) in &self.children {
            prefix.push(element.clone());
            child.walk(prefix, out);
            prefix.pop();
        }
    }

    /// The `fieldsV1` form.
    pub fn encode(&self) -> Value {
        Value::Object(self.encode_below(false))
    }

    fn encode_below(&self, include_self: bool) -> Map<String, Value> {
        let mut out = Map::new();
        if include_self && !(self.members.is_empty() && self.children.is_empty()) {
            out.insert(".".to_owned(), Value::Object(Map::new()));
        }
        for (member, child) in zip_by(&self.members, &self.children, |element| element, |(element, _)| element) {
            match (member, child) {
                (member, Some((element, child))) => {
                    out.insert(element.encode(), Value::Object(child.encode_below(member.is_some())));
                }
                (Some(element), None) => {
                    out.insert(element.encode(), Value::Object(Map::new()));
                }
                (None, None) => {}
            }
        }
        out
    }

    /// Reads the `fieldsV1` form. What is no map there is a leaf; unknown kinds of keys are left out.
    pub fn decode(value: &Value) -> Result<Set, Error> {
        Ok(decode_below(value, 0)?.0.unwrap_or_default())
    }
}

fn decode_below(value: &Value, depth: usize) -> Result<(Option<Set>, bool), Error> {
    if depth > DEPTH_MAX {
        return Err(Error::Json("fieldsV1".to_owned(), "nested too deeply".to_owned()));
    }
    let mut set: Option<Set> = None;
    let mut is_member = false;
    for (key, below) in value.as_object().into_iter().flatten() {
        if key == "." {
            is_member = true;
            continue;
        }
        let Some(element) = PathElement::parse(key)? else { continue };
        let (children, member) = decode_below(below, depth + 1)?;
        let set = set.get_or_insert_default();
        if let Some(children) = children {
            *set.descend(&element) = children;
        }
        if member {
            set.insert(std::slice::from_ref(&element));
        }
    }
    // What has nothing below it is a member itself.
    is_member |= set.is_none();
    Ok((set, is_member))
}

/// Walks two sorted lists together.
fn zip<'a, T>(
    a: &'a [T],
    b: &'a [T],
    key: impl Fn(&'a T) -> &'a PathElement + Copy,
) -> impl Iterator<Item = (Option<&'a T>, Option<&'a T>)> {
    zip_by(a, b, key, key)
}

fn zip_by<'a, A, B>(
    a: &'a [A],
    b: &'a [B],
    key_a: impl Fn(&'a A) -> &'a PathElement,
    key_b: impl Fn(&'a B) -> &'a PathElement,
) -> impl Iterator<Item = (Option<&'a A>, Option<&'a B>)> {
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    std::iter::from_fn(move || match (a.peek(), b.peek()) {
        (None, None) => None,
        (Some(_), None) => Some((a.next(), None)),
        (None, Some(_)) => Some((None, b.next())),
        (Some(left), Some(right)) => match key_a(left).cmp(key_b(right)) {
            std::cmp::Ordering::Less => Some((a.next(), None)),
            std::cmp::Ordering::Greater => Some((None, b.next())),
            std::cmp::Ordering::Equal => Some((a.next(), b.next())),
        },
    })
}

/// The text of a path, such as `.spec.containers[name="web"].image`.
pub fn path_text(path: &[PathElement]) -> String {
    path.iter().map(ToString::to_string).collect()
}

impl fmt::Display for Set {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.paths().iter().map(|path| path_text(path)).collect();
        out.write_str(&lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(value: Value) -> Set {
        Set::decode(&value).unwrap()
    }

    #[test]
    fn fields_v1_reads_and_writes_the_same() {
        let value = json!({
            "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
            "f:spec": {"f:ports": {".": {}, "k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}}, "f:replicas": {}, "f:set": {"v:\"a\"": {}, "v:1": {}}}
        });
        assert_eq!(set(value.clone()).encode(), value);
        assert_eq!(set(json!({})).encode(), json!({}));
    }

    #[test]
    fn the_algebra_keeps_parents_and_children_apart() {
        let ab = set(json!({"f:a": {".": {}, "f:b": {}}}));
        let a = set(json!({"f:a": {}}));
        let b = set(json!({"f:a": {"f:b": {}}}));
        assert_eq!(a.union(&b), ab);
        assert_eq!(ab.difference(&a), b);
        assert_eq!(ab.recursive_difference(&a), Set::new());
        assert_eq!(ab.intersection(&b), b);
        assert_eq!(a.difference(&b), a);
        assert_eq!(ab.len(), 2);
    }

    #[test]
    fn hostile_field_sets_are_refused() {
        assert!(Set::decode(&json!({"x": {}})).is_err());
        let deep = (0..500).fold(json!({}), |below, _| Value::Object(Map::from_iter([("f:a".to_owned(), below)])));
        assert!(Set::decode(&deep).is_err());
        assert_eq!(Set::decode(&json!({"f:a": 1})).unwrap(), set(json!({"f:a": {}})));
    }
}
