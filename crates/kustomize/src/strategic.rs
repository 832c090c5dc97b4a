//! Strategic merge as kyaml does it (kyaml/yaml/merge2 and walk), with its quirks: patch elements go first, `$patch` directives are honoured
//! in maps and lists, nulls delete, lists merge only where the schema says so: the one of the build, or one in a comment at the field.

use crate::{
    budget::Budget,
    error::{Result, problem},
    schema::{At, Schema},
};
use smol_str::SmolStr;
use std::collections::{BTreeSet, HashMap, hash_map::Entry};
use yaml::{Data, Map, Node, Scalar, Style, Tag};

/// How lists without a schema are treated, and where new elements go. kustomize takes the default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Merge lists of maps with a `name` where no schema is known.
    pub infer: bool,
    /// New elements after the old ones instead of before them.
    pub append: bool,
}

/// Merges a patch into a value of a type of the schema; `None` when the patch deletes it.
pub(crate) fn merge(
    dest: Node,
    patch: Node,
    schema: &Schema,
    at: Option<At<'_>>,
    options: Options,
    budget: &Budget,
) -> Result<Option<Node>> {
    let walker = Walker { schema, options, budget };
    walker
        .walk(Some(dest), Some(patch), Position { schema: at, known: at.is_some(), itself: false })
        .map(|node| node.filter(|node| !node.is_null()))
}

/// [`merge`] for texts, with the built-in schema of the object's type.
pub(crate) fn merge_texts(object: &str, patch: &str, options: Options) -> Result<String> {
    let read = |text: &str| {
        let node = yaml::node(text, yaml::Dialect::Kyaml, yaml::Limits::default(), 0)
            .map_err(|source| crate::Error::Yaml { place: crate::Place::default(), source })?;
        Ok(node.unwrap_or_else(Node::null))
    };
    let (object, patch): (Node, Node) = (read(object)?, read(patch)?);
    let schema = Schema::built_in();
    let text = |node: &Node, key: &str| node.get(key).and_then(Node::text).unwrap_or("").to_owned();
    let of = |node: &Node| schema.of_type(&text(node, "apiVersion"), &text(node, "kind"));
    let at = of(&object).or_else(|| of(&patch));
    let merged = merge(object, patch, &schema, at, options, &Budget::new(crate::Limits::default()))?;
    let mut out = String::new();
    if let Some(merged) = merged {
        yaml::emit_node(&merged, &mut out).map_err(|source| crate::Error::Yaml { place: crate::Place::default(), source })?;
    }
    Ok(out)
}

struct Walker<'a> {
    schema: &'a Schema,
    options: Options,
    budget: &'a Budget,
}

/// Where in the schema a value stands. `known` means that the schema knows the type around it, so that nothing is to be inferred.
#[derive(Clone, Copy)]
struct Position<'a> {
    schema: Option<At<'a>>,
    known: bool,
    /// What is new is merged with itself: both sides are one value, and what is taken from one is gone from the other.
    itself: bool,
}

impl<'a> Position<'a> {
    fn field(self, name: &str) -> Self {
        Self { schema: self.schema.and_then(|at| at.field(name)), ..self }
    }

    fn items(self) -> Self {
        Self { schema: self.schema.and_then(At::items), ..self }
    }

    fn itself(self) -> Self {
        Self { itself: true, ..self }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Directive {
    Merge,
    Replace,
    Delete,
}

const DIRECTIVE: &str = "$patch";

fn directive(text: &str) -> Result<Directive> {
    match text {
        "merge" => Ok(Directive::Merge),
        "replace" => Ok(Directive::Replace),
        "delete" => Ok(Directive::Delete),
        other => Err(problem(format!("$patch is \"{other}\"; it can be merge, replace or delete"))),
    }
}

fn take_map_directive(map: &mut Map) -> Result<Directive> {
    let Some(value) = map.get(DIRECTIVE) else { return Ok(Directive::Merge) };
    let found = directive(value.text().unwrap_or(""))?;
    map.remove(DIRECTIVE);
    Ok(found)
}

/// The directive of a list is an element that holds nothing else.
fn take_list_directive(items: &mut Vec<Node>) -> Result<Directive> {
    let Some(value) = items.iter().filter_map(|item| item.get(DIRECTIVE).map(|value| (item, value))).next() else {
        return Ok(Directive::Merge);
    };
    if value.0.as_map().is_some_and(|map| map.len() > 1) {
        return Ok(Directive::Merge);
    }
    let text = value.1.text().unwrap_or("").to_owned();
    let found = directive(&text)?;
    items.retain(|item| !is_void(item) && item.get(DIRECTIVE).and_then(Node::text) != Some(text.as_str()));
    Ok(found)
}

/// Null or an empty map: lists drop such elements when they merge.
fn is_void(node: &Node) -> bool {
    node.is_null() || node.as_map().is_some_and(Map::is_empty)
}

#[derive(Clone, Copy, PartialEq)]
enum Shape {
    Map,
    List,
    Scalar,
}

fn shape(node: &Node) -> Option<Shape> {
    match &node.data {
        Data::Map(_) => Some(Shape::Map),
        Data::List(_) => Some(Shape::List),
        Data::Scalar(scalar) if scalar.tag == Tag::Null => None,
        Data::Scalar(_) => Some(Shape::Scalar),
    }
}

impl Walker<'_> {
    fn walk(&self, dest: Option<Node>, patch: Option<Node>, at: Position<'_>) -> Result<Option<Node>> {
        self.budget.spend(1)?;
        let dest_shape = dest.as_ref().and_then(shape);
        let patch_shape = patch.as_ref().and_then(shape);
        if let (Some(a), Some(b), Some(dest), Some(patch)) = (dest_shape, patch_shape, &dest, &patch)
            && a != b
        {
            return Err(problem(format!("the patch has {}, the object {}", patch.describe(), dest.describe())));
        }
        match dest_shape.or(patch_shape) {
            Some(Shape::Scalar) => Ok(patch.or(dest)),
            Some(Shape::List) => {
                let keys = at.schema.and_then(At::merge_keys);
                let inferred =
                    self.options.infer && !at.known && [&dest, &patch].into_iter().flatten().any(|list| list_key(list).is_some());
                if keys.is_some() || inferred { self.walk_merged_list(dest, patch, keys, at) } else { Ok(patch.or(dest)) }
            }
            Some(Shape::Map) | None => self.walk_map(dest, patch, at),
        }
    }

    fn walk_map(&self, dest: Option<Node>, patch: Option<Node>, at: Position<'_>) -> Result<Option<Node>> {
        let Some(Node { data: Data::Map(mut into), place }) = dest else {
            return self.add(dest, patch, at);
        };
        let from = match patch {
            None => Map::default(),
            Some(Node { data: Data::Map(mut map), place }) => match take_map_directive(&mut map)? {
                Directive::Delete => return Ok(None),
                Directive::Replace => {
                    return self.walk_map(Some(Data::Map(map.clone()).into()), Some(Node { data: Data::Map(map), place }), at.itself());
                }
                Directive::Merge => {
                    if at.itself {
                        into.remove(DIRECTIVE);
                    }
                    map
                }
            },
            // Null clears.
            Some(_) => return Ok(None),
        };
        self.merge_maps(&mut into, from, at)?;
        Ok(Some(Node { data: Data::Map(into), place }))
    }

    /// A value where there was none, or null.
    fn add(&self, dest: Option<Node>, patch: Option<Node>, at: Position<'_>) -> Result<Option<Node>> {
        match (dest, patch) {
            // A null that is written out stays when the patch does not speak of it.
            (Some(dest), None) => Ok(dest.text().is_some_and(|text| !text.is_empty()).then_some(dest)),
            (_, None) => Ok(None),
            (_, Some(mut patch)) => {
                let Data::Map(map) = &mut patch.data else { return Ok(Some(patch)) };
                if take_map_directive(map).unwrap_or(Directive::Merge) == Directive::Delete {
                    return Ok(None);
                }
                // What is new is merged with itself: nulls and directives in it are carried out.
                let from = map.clone();
                self.merge_maps(map, from, at.itself())?;
                Ok(Some(patch))
            }
        }
    }

    fn merge_maps(&self, into: &mut Map, from: Map, at: Position<'_>) -> Result<()> {
        let notes = [into.notes.take(), from.notes];
        let own = self.own_schemas(&notes)?;
        // A comment wins over the schema of the type.
        let field = |key: &str| match own.get(key).and_then(|own| own.root(self.schema)) {
            Some(own) => Position { schema: Some(own), ..at },
            None => at.field(key),
        };
        let mut patches: HashMap<SmolStr, (Tag, Node)> = HashMap::with_capacity(from.entries.len());
        let order: BTreeSet<SmolStr> = from.entries.iter().map(|entry| entry.key.clone()).collect();
        for entry in from.entries {
            // Of keys given twice the first counts.
            patches.entry(entry.key).or_insert((entry.tag, entry.value));
        }
        let mut failed = None;
        into.entries.retain_mut(|entry| {
            if failed.is_some() {
                return true;
            }
            let value = std::mem::replace(&mut entry.value, Node::null());
            let explicit_null = value.is_null();
            // Quotes around what is no string mean that its tag was written out; then that of the patch is, too.
            let style =
                value.as_scalar().filter(|scalar| scalar.tag == Tag::Str || scalar.style == Style::Plain).map(|scalar| scalar.style);
            let shared = value.as_scalar().map_or(0, |scalar| scalar.shared);
            let patch = patches.remove(&entry.key).map(|(_, patch)| patch);
            let patched = patch.is_some();
            match self.walk(Some(value), patch, field(&entry.key)) {
                Ok(Some(merged)) if merged.is_null() && (patched || !explicit_null) => false,
                Ok(Some(mut merged)) => {
                    if let Some(style) = style.filter(|_| patched) {
                        take_style(&mut merged, style);
                    }
                    if let Data::Scalar(scalar) = &mut merged.data {
                        scalar.shared = shared;
                        if !patched {
                            quote(scalar);
                        }
                    }
                    entry.value = merged;
                    true
                }
                Ok(None) => false,
                Err(error) => {
                    failed = Some((entry.key.clone(), error));
                    true
                }
            }
        });
        if let Some((key, error)) = failed {
            return Err(under(&key, error));
        }
        for key in order {
            let Some((tag, patch)) = patches.remove(&key) else { continue };
            let merged = self.walk(None, Some(patch), field(&key)).map_err(|error| under(&key, error))?;
            if let Some(mut merged) = merged.filter(|merged| !merged.is_null()) {
                if let Data::Scalar(scalar) = &mut merged.data {
                    quote(scalar);
                }
                into.entries.push(yaml::Entry { key, tag, value: merged });
            }
        }
        let [own, others] = notes;
        into.notes = own.or(others);
        Ok(())
    }

    /// The schemas that stand in comments at fields; those of the object win over those of the patch.
    fn own_schemas(&self, notes: &[Option<Box<yaml::Notes>>; 2]) -> Result<HashMap<SmolStr, Schema>> {
        let mut found = HashMap::new();
        for (key, text) in notes.iter().flatten().flat_map(|notes| notes.iter()) {
            self.budget.spend(text.len() as u64)?;
            if !found.contains_key(key)
                && let Some(schema) = Schema::of_comment(text, self.schema)
            {
                found.insert(key.clone(), schema);
            }
        }
        Ok(found)
    }

    fn walk_merged_list(
        &self,
        dest: Option<Node>,
        patch: Option<Node>,
        keys: Option<&[SmolStr]>,
        at: Position<'_>,
    ) -> Result<Option<Node>> {
        let (place, dest, patch, at) = match (dest, patch) {
            (Some(Node { data: Data::List(dest), place }), None) => (place, dest, None, at),
            (Some(Node { data: Data::List(mut dest), place }), Some(Node { data: Data::List(mut patch), place: patch_place })) => {
                let directive = take_list_directive(&mut patch)?;
                if at.itself {
                    take_list_directive(&mut dest)?;
                }
                match directive {
                    Directive::Delete => return Ok(None),
                    Directive::Replace => (patch_place, patch.clone(), Some(patch), at.itself()),
                    Directive::Merge => (place, dest, Some(patch), at),
                }
            }
            (_, Some(Node { data: Data::List(patch), place })) => (place, patch.clone(), Some(patch), at.itself()),
            // Null clears.
            _ => return Ok(None),
        };
        let keys: Vec<SmolStr> = match keys {
            Some(keys) => keys.to_vec(),
            None => {
                let list_of = |items: &Vec<Node>| items.iter().all(|item| item.get("name").is_some());
                if !(list_of(&dest) && patch.as_ref().is_none_or(list_of)) {
                    return Err(problem("no merge key found for the list"));
                }
                vec!["name".into()]
            }
        };
        let merged = match keys.as_slice() {
            [] => self.merge_sets(dest, patch.unwrap_or_default()),
            [key] if is_plain(&dest, key) && patch.as_ref().is_none_or(|patch| is_plain(patch, key)) => {
                self.merge_by_key(dest, patch.unwrap_or_default(), key, at.items())?
            }
            keys => self.merge_by_keys(dest, patch, keys, at.items())?,
        };
        Ok(Some(Node { data: Data::List(merged), place }))
    }

    /// Scalars: each once, those of the patch first.
    fn merge_sets(&self, dest: Vec<Node>, patch: Vec<Node>) -> Vec<Node> {
        let mut seen: BTreeSet<SmolStr> = BTreeSet::new();
        let (first, second) = if self.options.append { (dest, patch) } else { (patch, dest) };
        first.into_iter().chain(second).filter(|item| !item.is_null() && seen.insert(item.text().unwrap_or("").into())).collect()
    }

    /// Maps that all have the one merge key.
    fn merge_by_key(&self, dest: Vec<Node>, patch: Vec<Node>, key: &str, at: Position<'_>) -> Result<Vec<Node>> {
        let value_of = |item: &Node| SmolStr::from(item.get(key).and_then(Node::text).unwrap_or(""));
        let mut order: Vec<SmolStr> = Vec::new();
        let mut seen: HashMap<SmolStr, usize> = HashMap::new();
        let dest_values: Vec<SmolStr> = dest.iter().map(value_of).collect();
        let mut patches: HashMap<SmolStr, Node> = HashMap::new();
        let mut patch_order = Vec::new();
        for item in patch {
            if let Entry::Vacant(free) = patches.entry(value_of(&item)) {
                patch_order.push(free.key().clone());
                free.insert(item);
            }
        }
        let (first, second) = if self.options.append { (&dest_values, &patch_order) } else { (&patch_order, &dest_values) };
        for value in first.iter().chain(second) {
            if !seen.contains_key(value) {
                seen.insert(value.clone(), order.len());
                order.push(value.clone());
            }
        }
        let mut slots: Vec<Option<Node>> = order.iter().map(|_| None).collect();
        let mut deleted: BTreeSet<SmolStr> = BTreeSet::new();
        let mut first_seen: BTreeSet<SmolStr> = BTreeSet::new();
        for (item, value) in dest.into_iter().zip(dest_values) {
            let slot = seen[&value];
            if !first_seen.insert(value.clone()) {
                // Of elements with one key the last stays, in the place of the first.
                if !deleted.contains(&value) {
                    slots[slot] = Some(item);
                }
                continue;
            }
            let patch = patches.remove(&value);
            // kyaml loses `$patch: replace` of one element: the old element takes the place of the new again.
            let replaced = !at.itself && patch.as_ref().is_some_and(|patch| patch.get(DIRECTIVE).and_then(Node::text) == Some("replace"));
            let kept = replaced.then(|| item.clone());
            let merged = self.walk(Some(item), patch, at).map_err(|error| under(&format!("[{key}={value}]"), error))?;
            match merged.filter(|merged| !is_void(merged)) {
                Some(merged) => slots[slot] = Some(kept.unwrap_or_else(|| keyed(merged, key, &value))),
                None => drop(deleted.insert(value)),
            }
        }
        for (value, patch) in patches {
            let slot = seen[&value];
            let merged = self.walk(None, Some(patch), at).map_err(|error| under(&format!("[{key}={value}]"), error))?;
            slots[slot] = merged.filter(|merged| !is_void(merged)).map(|merged| keyed(merged, key, &value));
        }
        Ok(slots.into_iter().flatten().collect())
    }

    /// The general case, step by step as kyaml does it: several keys, or elements without them.
    fn merge_by_keys(&self, mut dest: Vec<Node>, patch: Option<Vec<Node>>, keys: &[SmolStr], at: Position<'_>) -> Result<Vec<Node>> {
        let patch = patch.unwrap_or_default();
        self.budget.spend(((dest.len() + patch.len()) as u64).pow(2))?;
        let mut values: Vec<Vec<SmolStr>> = Vec::new();
        let (first, second) = if self.options.append { (&dest, &patch) } else { (&patch, &dest) };
        for item in first.iter().chain(second) {
            let tuple: Vec<SmolStr> = keys
                .iter()
                .map(|key| item.get(key).filter(|value| !crate::ops::is_empty(value)).and_then(Node::text).unwrap_or("").into())
                .collect();
            if !values.contains(&tuple) {
                values.push(tuple);
            }
        }
        if keys.len() > 1 {
            fill_in(&mut values);
        }
        let mut added: Vec<Node> = Vec::new();
        let mut last_keys: Vec<SmolStr> = keys.to_vec();
        for tuple in values.clone() {
            let (valid_keys, valid_values) = valid(&values, &tuple, keys);
            last_keys = valid_keys.clone();
            let (match_keys, match_values) = valid(std::slice::from_ref(&valid_values), &valid_values, &valid_keys);
            let dest_at = find(&dest, &match_keys, &match_values);
            let patch_item = find(&patch, &match_keys, &match_values).map(|at| patch[at].clone());
            let replaced =
                !at.itself && patch_item.as_ref().is_some_and(|item| item.get(DIRECTIVE).and_then(Node::text) == Some("replace"));
            let merged = self.walk(dest_at.map(|at| dest[at].clone()), patch_item, at)?;
            let Some(mut merged) = merged.filter(|merged| !is_void(merged)) else {
                set_element(&mut dest, None, &valid_keys, &valid_values);
                continue;
            };
            for (key, value) in valid_keys.iter().zip(&valid_values) {
                if merged.get(key).is_none() && !value.is_empty() {
                    merged = keyed(merged, key, value);
                }
            }
            if let (Some(at), false) = (dest_at, replaced) {
                dest[at] = merged.clone();
            }
            set_element(&mut added, Some(merged), &valid_keys, &valid_values);
        }
        if values.is_empty() {
            return Ok(dest);
        }
        let (mut into, from) = if self.options.append { (dest, added) } else { (added, dest) };
        for item in from {
            let mut found: Vec<SmolStr> = Vec::new();
            for key in &last_keys {
                match item.get(key) {
                    Some(value) => found.push(value.text().unwrap_or("").into()),
                    None => into.push(item.clone()),
                }
            }
            if last_keys.len() > 1 {
                set_element(&mut into, None, &last_keys, &found);
            }
            set_element(&mut into, Some(item), &last_keys, &found);
        }
        Ok(into)
    }
}

/// Whether every element is a map with a value under the key.
fn is_plain(items: &[Node], key: &str) -> bool {
    items.iter().all(|item| item.get(key).and_then(Node::as_scalar).is_some_and(|value| value.tag != Tag::Null && !value.text.is_empty()))
}

/// A new value is written the way the old one was: what stood in quotes stays in quotes, and is a string whatever it was in the patch.
fn take_style(node: &mut Node, style: Style) {
    if let Data::Scalar(scalar) = &mut node.data {
        scalar.style = style;
        // A type that the text does not show is written out as a tag, and stays.
        if style != Style::Plain && yaml::plain_tag(yaml::Dialect::Kyaml, &scalar.text) == scalar.tag {
            scalar.tag = Tag::Str;
        }
    }
}

/// kyaml sets every field of a map that it merges, to what it was at least, and puts what YAML 1.1 would not read as a string in quotes then.
fn quote(scalar: &mut Scalar) {
    let is_string = scalar.tag == Tag::Str || scalar.untyped && scalar.tag != Tag::Null;
    if is_string && scalar.style == Style::Plain && yaml::plain_tag(yaml::Dialect::Sigs, &scalar.text) != Tag::Str {
        scalar.style = Style::Double;
        scalar.tag = Tag::Str;
    }
}

fn keyed(mut node: Node, key: &str, value: &str) -> Node {
    let place = node.place;
    if let Some(map) = node.as_map_mut()
        && !map.contains(key)
    {
        let tag = yaml::plain_tag(yaml::Dialect::Kyaml, value);
        map.insert(key, Node { data: Data::Scalar(Scalar::new(value, tag, Style::Plain)), place });
    }
    node
}

/// The key by which a list without a schema merges: `name`, where every element has one.
fn list_key(list: &Node) -> Option<&'static str> {
    let items = list.as_list()?;
    (!items.is_empty() && items.iter().all(|item| item.get("name").is_some())).then_some("name")
}

/// Parts of keys that one list leaves out are taken from another that has them.
fn fill_in(values: &mut [Vec<SmolStr>]) {
    for a in 0..values.len() {
        for b in 0..values.len() {
            if let Some(filled) = matched(&values[a], &values[b]) {
                values[a] = filled.clone();
                values[b] = filled;
            }
        }
    }
}

fn matched(a: &[SmolStr], b: &[SmolStr]) -> Option<Vec<SmolStr>> {
    let mut common = false;
    let mut filled = Vec::with_capacity(a.len());
    for (a, b) in a.iter().zip(b) {
        if a == b {
            common = true;
            filled.push(a.clone());
        } else if !a.is_empty() && !b.is_empty() {
            return None;
        } else {
            filled.push(if a.is_empty() { b.clone() } else { a.clone() });
        }
    }
    common.then_some(filled)
}

/// The keys that any element has a value for.
fn valid(all: &[Vec<SmolStr>], values: &[SmolStr], keys: &[SmolStr]) -> (Vec<SmolStr>, Vec<SmolStr>) {
    let used = |at: usize| all.iter().any(|tuple| tuple.get(at).is_some_and(|value| !value.is_empty()));
    if !(0..keys.len()).any(used) {
        return (keys.to_vec(), values.to_vec());
    }
    (0..keys.len()).filter(|at| used(*at)).map(|at| (keys[at].clone(), values.get(at).cloned().unwrap_or_default())).unzip()
}

/// Whether an element has the value under the key; an empty value asks for the key alone.
fn has(item: &Node, key: &str, value: &str) -> bool {
    item.get(key).is_some_and(|found| value.is_empty() || found.text().unwrap_or("") == value)
}

fn find(items: &[Node], keys: &[SmolStr], values: &[SmolStr]) -> Option<usize> {
    // Here an empty value asks for an empty value, unlike in `has`.
    let equal = |item: &Node, key: &str, value: &str| item.get(key).is_some_and(|found| found.text().unwrap_or("") == value);
    items.iter().position(|item| item.as_map().is_some() && keys.iter().zip(values).all(|(key, value)| equal(item, key, value)))
}

/// Puts an element in the place of those with its keys, or at the end; without an element removes them (kyaml ElementSetter).
fn set_element(items: &mut Vec<Node>, element: Option<Node>, keys: &[SmolStr], values: &[SmolStr]) {
    let mut found_any = false;
    let mut kept = Vec::with_capacity(items.len() + 1);
    for item in items.drain(..) {
        if is_void(&item) {
            continue;
        }
        let by_map = keys.first().is_some_and(|key| !key.is_empty()) && values.first().is_some_and(|value| !value.is_empty());
        if item.as_map().is_none() && by_map {
            kept.push(item);
            continue;
        }
        // A key without a value repeats the answer of the one before.
        let found = !values.is_empty() && keys.iter().zip(values).all(|(key, value)| has(&item, key, value));
        if !found {
            if !values.is_empty() {
                kept.push(item);
            }
            continue;
        }
        found_any = true;
        kept.extend(element.clone());
    }
    *items = kept;
    if let Some(element) = element.filter(|element| !element.is_null())
        && !found_any
    {
        items.push(element);
    }
}

fn under(key: &str, error: crate::Error) -> crate::Error {
    match error {
        crate::Error::Invalid { place, problem } => {
            let problem = match problem.strip_prefix("field ") {
                Some(rest) => format!("field {key}.{rest}"),
                None => format!("field {key}: {problem}"),
            };
            crate::Error::Invalid { place, problem }
        }
        other => other,
    }
}
