//! A value seen through its type: which fields it has, how two differ, how they merge, what is left without some.
//!
//! Follows structured-merge-diff v6, package `typed`; its quirks are kept where field owners could see them.

use std::collections::BTreeMap;

use serde_json::{Map as Json, Value};

use super::path::{PathElement, equal};
use super::set::Set;
use crate::gofmt;
use crate::schema::{DEDUCED, List, ListKind, Map, Scalar, Schema, Type, TypeHandle, TypeId};

/// Values nest no deeper than this.
const DEPTH_MAX: usize = 150;

/// Errors listed in one answer.
const ERRORS_MAX: usize = 100;

/// A value that does not fit its type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct Errors(pub Vec<FieldError>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    pub path: String,
    pub message: String,
}

impl Errors {
    fn text(&self) -> String {
        let line = |error: &FieldError| {
            if error.path.is_empty() { error.message.clone() } else { format!("{}: {}", error.path, error.message) }
        };
        match self.0.as_slice() {
            [only] => line(only),
            all => {
                std::iter::once("errors:".to_owned()).chain(all.iter().map(|one| format!("  {}", line(one)))).collect::<Vec<_>>().join("\n")
            }
        }
    }
}

/// What changed from one value to another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    pub removed: Set,
    pub modified: Set,
    pub added: Set,
}

impl Comparison {
    pub fn is_same(&self) -> bool {
        self.removed.is_empty() && self.modified.is_empty() && self.added.is_empty()
    }

    /// Leaves out some fields and all below them.
    pub fn without(self, fields: &Set) -> Self {
        if fields.is_empty() {
            return self;
        }
        Self {
            removed: self.removed.recursive_difference(fields),
            modified: self.modified.recursive_difference(fields),
            added: self.added.recursive_difference(fields),
        }
    }
}

/// Which of the parts of a type a value is read by.
enum Part<'s> {
    Map(&'s Map),
    Scalar(Scalar),
    List(&'s List),
    None,
}

/// The part that fits the value, or the first part there is, which then says what is wrong.
fn part<'s>(ty: &'s Type, value: Option<&Value>) -> Part<'s> {
    match value {
        Some(Value::Number(_) | Value::String(_) | Value::Bool(_)) => {
            if let Some(scalar) = ty.scalar {
                return Part::Scalar(scalar);
            }
        }
        Some(Value::Array(_)) => {
            if let Some(list) = &ty.list {
                return Part::List(list);
            }
        }
        _ => {}
    }
    match ty {
        Type { map: Some(map), .. } => Part::Map(map),
        Type { scalar: Some(scalar), .. } => Part::Scalar(*scalar),
        Type { list: Some(list), .. } => Part::List(list),
        _ => Part::None,
    }
}

fn same_part(a: &Part<'_>, b: &Part<'_>) -> bool {
    matches!(
        (a, b),
        (Part::Map(_), Part::Map(_)) | (Part::Scalar(_), Part::Scalar(_)) | (Part::List(_), Part::List(_)) | (Part::None, Part::None)
    )
}

// ---- fit ----

/// Whether a value fits its type. Live objects may hold the same key twice; an applied one may not.
pub fn validate(ty: &TypeHandle, value: &Value, allow_duplicates: bool) -> Result<(), Errors> {
    let mut validator = Validator { schema: ty.schema(), allow_duplicates, path: Vec::new(), errors: Vec::new() };
    validator.value(ty.id(), value);
    // There they come in the random order of Go's maps.
    validator.errors.sort_by(|a, b| a.path.cmp(&b.path));
    if validator.errors.is_empty() { Ok(()) } else { Err(Errors(validator.errors)) }
}

struct Validator<'s> {
    schema: &'s Schema,
    allow_duplicates: bool,
    path: Vec<PathElement>,
    errors: Vec<FieldError>,
}

impl Validator<'_> {
    fn error(&mut self, message: String) {
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(FieldError { path: super::set::path_text(&self.path), message });
        }
    }

    fn value(&mut self, id: TypeId, value: &Value) {
        if self.path.len() > DEPTH_MAX {
            return self.error("nested too deeply".to_owned());
        }
        let schema = self.schema;
        match part(schema.get(id), Some(value)) {
            Part::Scalar(scalar) => {
                if let Some(message) = scalar_error(scalar, value) {
                    self.error(message);
                }
            }
            Part::Map(map) => self.map(map, value),
            Part::List(list) => self.list(list, value),
            Part::None => self.error("schema error: invalid atom: inlined".to_owned()),
        }
    }

    fn map(&mut self, map: &Map, value: &Value) {
        let fields = match value {
            Value::Null => return,
            Value::Object(fields) => fields,
            other => return self.error(format!("expected map, got &{{{}}}", gofmt::plain(other))),
        };
        for (key, child) in fields {
            self.path.push(PathElement::field(key));
            match map.type_of(key) {
                Some(id) => self.value(id, child),
                None => self.error("field not declared in schema".to_owned()),
            }
            self.path.pop();
        }
    }

    fn list(&mut self, list: &List, value: &Value) {
        let items = match value {
            Value::Null => return,
            Value::Array(items) => items,
            other => return self.error(format!("expected list, got &{{{}}}", gofmt::plain(other))),
        };
        let mut seen: BTreeMap<PathElement, ()> = BTreeMap::new();
        for (index, child) in items.iter().enumerate() {
            let element = if list.kind == ListKind::Atomic {
                PathElement::Index(index as i64)
            } else {
                match list_element(self.schema, list, child) {
                    Ok(element) => element,
                    Err(message) => return self.error(format!("element {index}: {message}")),
                }
            };
            if list.kind != ListKind::Atomic && seen.insert(element.clone(), ()).is_some() && !self.allow_duplicates {
                self.error(format!("duplicate entries for key {element}"));
            }
            self.path.push(element);
            self.value(list.element, child);
            self.path.pop();
        }
    }
}

/// The paths of a value that can only be set as a whole.
pub fn atomic_parts(ty: &TypeHandle, value: &Value) -> Vec<String> {
    let mut out = Vec::new();
    atomics(ty.schema(), ty.id(), value, &mut Vec::new(), &mut out);
    out
}

fn atomics(schema: &Schema, id: TypeId, value: &Value, path: &mut Vec<PathElement>, out: &mut Vec<String>) {
    if path.len() > DEPTH_MAX {
        return;
    }
    match (part(schema.get(id), Some(value)), value) {
        (Part::Map(map), Value::Object(fields)) => {
            if map.atomic {
                out.push(super::set::path_text(path));
            }
            for (key, child) in fields {
                if let Some(field) = map.field(key) {
                    path.push(PathElement::field(key));
                    atomics(schema, field.ty, child, path, out);
                    path.pop();
                }
            }
        }
        (Part::List(list), Value::Array(items)) => {
            if list.kind == ListKind::Atomic {
                out.push(super::set::path_text(path));
            }
            for (index, item) in items.iter().enumerate() {
                path.push(PathElement::Index(index as i64));
                atomics(schema, list.element, item, path, out);
                path.pop();
            }
        }
        _ => {}
    }
}

fn scalar_error(scalar: Scalar, value: &Value) -> Option<String> {
    match (scalar, value) {
        (_, Value::Null)
        | (Scalar::Numeric, Value::Number(_))
        | (Scalar::String, Value::String(_))
        | (Scalar::Boolean, Value::Bool(_))
        | (Scalar::Untyped, Value::Number(_) | Value::String(_) | Value::Bool(_)) => None,
        (Scalar::Numeric, other) => Some(format!("expected numeric (int or float), got {}", gofmt::type_name(other))),
        (Scalar::String, other) => Some(format!("expected string, got &value.valueUnstructured{{Value:{}}}", gofmt::syntax(other))),
        (Scalar::Boolean, other) => Some(format!("expected boolean, got &{{{}}}", gofmt::plain(other))),
        (Scalar::Untyped, other) => Some(format!("expected any scalar, got &{{{}}}", gofmt::plain(other))),
    }
}

/// The path element of a member of a set or of a list with keys.
pub(super) fn list_element(schema: &Schema, list: &List, child: &Value) -> Result<PathElement, String> {
    match list.kind {
        ListKind::Atomic => Err("invalid indexing of non-associative list".to_owned()),
        ListKind::Set => match child {
            Value::Object(_) => Err("associative list without keys has an element that's a map type".to_owned()),
            Value::Array(_) => Err("not supported: associative list with lists as elements".to_owned()),
            Value::Null => Err("associative list without keys has an element that's an explicit null".to_owned()),
            scalar => Ok(PathElement::Value(scalar.clone())),
        },
        ListKind::Map => keyed_element(schema, list, child),
    }
}

fn keyed_element(schema: &Schema, list: &List, child: &Value) -> Result<PathElement, String> {
    let fields = match child {
        Value::Null => return Err("associative list with keys may not have a null element".to_owned()),
        Value::Object(fields) => fields,
        _ => return Err("associative list with keys may not have non-map elements".to_owned()),
    };
    let element = schema.get(list.element).map.as_ref();
    let mut key = Vec::with_capacity(list.keys.len());
    for name in &list.keys {
        if let Some(value) = fields.get(&**name) {
            key.push((name.clone(), value.clone()));
        } else if element.is_none() {
            return Err(format!("couldn't find default value for {name}: associative list may not have non-map types"));
        } else if let Some(default) = element.and_then(|map| map.field(name)).and_then(|field| field.default.as_ref()) {
            key.push((name.clone(), default.clone()));
        }
    }
    if key.is_empty() && !list.keys.is_empty() {
        let names: Vec<_> = list.keys.iter().map(|name| gofmt::quote(name)).collect();
        return Err(format!(
            "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values for any key fields)",
            names.join(" ")
        ));
    }
    Ok(PathElement::key(key))
}

// ---- field set ----

/// Every leaf and item that a value mentions. The value has been validated.
pub fn field_set(ty: &TypeHandle, value: &Value) -> Set {
    let mut set = Set::new();
    collect(ty.schema(), ty.id(), value, &mut Vec::new(), &mut set);
    set
}

fn collect(schema: &Schema, id: TypeId, value: &Value, path: &mut Vec<PathElement>, set: &mut Set) {
    if path.len() > DEPTH_MAX {
        return set.insert(path);
    }
    match part(schema.get(id), Some(value)) {
        Part::Scalar(_) => set.insert(path),
        Part::Map(map) if map.atomic => set.insert(path),
        Part::List(list) if list.kind == ListKind::Atomic => set.insert(path),
        Part::Map(map) => {
            for (key, child) in value.as_object().into_iter().flatten() {
                path.push(PathElement::field(key));
                if let Some(id) = map.type_of(key) {
                    collect(schema, id, child, path, set);
                }
                let empty = child.is_null() || child.as_object().is_some_and(Json::is_empty);
                if empty || map.field(key).is_none() {
                    set.insert(path);
                }
                path.pop();
            }
        }
        Part::List(list) => collect_items(schema, list, value, path, set),
        Part::None => {}
    }
}

fn collect_items(schema: &Schema, list: &List, value: &Value, path: &mut Vec<PathElement>, set: &mut Set) {
    let items: Vec<_> =
        value.as_array().into_iter().flatten().filter_map(|child| Some((list_element(schema, list, child).ok()?, child))).collect();
    let mut count: BTreeMap<&PathElement, usize> = BTreeMap::new();
    items.iter().for_each(|(element, _)| *count.entry(element).or_default() += 1);
    for (element, child) in &items {
        path.push(element.clone());
        // Of an item that is there twice only the item is owned, nothing in it.
        if count.get(element) == Some(&1) {
            collect(schema, list.element, child, path, set);
        }
        set.insert(path);
        path.pop();
    }
}

// ---- comparison ----

/// What changed from `old` to `new`. Both have been validated.
pub fn compare(ty: &TypeHandle, old: &Value, new: &Value) -> Comparison {
    let mut comparer = Comparer { schema: ty.schema(), path: Vec::new(), out: Comparison::default() };
    comparer.value(ty.id(), Some(old), Some(new));
    comparer.out
}

struct Comparer<'s> {
    schema: &'s Schema,
    path: Vec<PathElement>,
    out: Comparison,
}

impl Comparer<'_> {
    fn value(&mut self, id: TypeId, old: Option<&Value>, new: Option<&Value>) {
        let schema = self.schema;
        let ty = schema.get(id);
        let leaf = if self.path.len() > DEPTH_MAX {
            self.leaf(old, new)
        } else {
            let (old_part, new_part) = (part(ty, old), part(ty, new));
            if new.is_none() {
                self.part(old_part, old, new)
            } else if old.is_none() || same_part(&old_part, &new_part) {
                self.part(new_part, old, new)
            } else {
                self.part(old_part, old, new);
                self.part(new_part, old, new)
            }
        };
        if !leaf {
            match (old, new) {
                (None, Some(_)) => self.out.added.insert(&self.path),
                (Some(_), None) => self.out.removed.insert(&self.path),
                _ => {}
            }
        }
    }

    /// Compares by one part of the type; says whether the value was compared as a whole.
    fn part(&mut self, part: Part<'_>, old: Option<&Value>, new: Option<&Value>) -> bool {
        match part {
            Part::Scalar(_) | Part::None => self.leaf(old, new),
            Part::Map(map) => {
                let (old_map, new_map) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
                if map.atomic || (old_map.is_none_or(Json::is_empty) && new_map.is_none_or(Json::is_empty)) {
                    return self.leaf(old, new);
                }
                let fresh = new_map.into_iter().flatten().filter(|(key, _)| !old_map.is_some_and(|old| old.contains_key(*key)));
                let pairs = old_map.into_iter().flatten().map(|(key, value)| (key, Some(value), new_map.and_then(|new| new.get(key))));
                for (key, old, new) in pairs.chain(fresh.map(|(key, value)| (key, None, Some(value)))) {
                    let Some(id) = map.type_of(key) else { continue };
                    self.path.push(PathElement::field(key));
                    self.value(id, old, new);
                    self.path.pop();
                }
                false
            }
            Part::List(list) => {
                let (old_list, new_list) = (old.and_then(Value::as_array), new.and_then(Value::as_array));
                if list.kind == ListKind::Atomic || (old_list.is_none_or(Vec::is_empty) && new_list.is_none_or(Vec::is_empty)) {
                    return self.leaf(old, new);
                }
                self.items(list, old_list.map_or(&[], Vec::as_slice), new_list.map_or(&[], Vec::as_slice));
                false
            }
        }
    }

    fn leaf(&mut self, old: Option<&Value>, new: Option<&Value>) -> bool {
        match (old, new) {
            (None, _) => self.out.added.insert(&self.path),
            (_, None) => self.out.removed.insert(&self.path),
            (Some(old), Some(new)) if !equal(old, new) => self.out.modified.insert(&self.path),
            _ => {}
        }
        true
    }

    fn items(&mut self, list: &List, old: &[Value], new: &[Value]) {
        let mut all: BTreeMap<PathElement, (Vec<&Value>, Vec<&Value>)> = BTreeMap::new();
        for child in old {
            if let Ok(element) = list_element(self.schema, list, child) {
                all.entry(element).or_default().0.push(child);
            }
        }
        for child in new {
            if let Ok(element) = list_element(self.schema, list, child) {
                all.entry(element).or_default().1.push(child);
            }
        }
        for (element, (old, new)) in all {
            self.path.push(element);
            match (old.as_slice(), new.as_slice()) {
                ([] | [_], [] | [_]) => self.value(list.element, old.first().copied(), new.first().copied()),
                // Duplicates are owned as one whole.
                ([_, _, ..], [_, _, ..]) => {
                    if old.len() != new.len() || !old.iter().zip(&new).all(|(old, new)| equal(old, new)) {
                        self.out.modified.insert(&self.path);
                    }
                }
                ([_, _, ..], rest) => {
                    if let [one] = rest {
                        self.value(list.element, None, Some(one));
                    }
                    self.out.removed.insert(&self.path);
                }
                (rest, _) => {
                    if let [one] = rest {
                        self.value(list.element, Some(one), None);
                    }
                    self.out.added.insert(&self.path);
                }
            }
            self.path.pop();
        }
    }
}

// ---- merge ----

/// Lays an applied value over a live one. Nothing goes away; where both have a leaf, the applied one wins.
pub fn merge(ty: &TypeHandle, live: &Value, applied: &Value) -> Value {
    merge_value(ty.schema(), ty.id(), Some(live), Some(applied), 0).unwrap_or(Value::Null)
}

fn merge_value(schema: &Schema, id: TypeId, live: Option<&Value>, applied: Option<&Value>, depth: usize) -> Option<Value> {
    let whole = || applied.or(live).cloned();
    if applied.is_none() || live.is_none() || depth > DEPTH_MAX {
        // Merging with nothing gives the same again.
        return whole();
    }
    match part(schema.get(id), applied) {
        Part::Scalar(_) | Part::None => whole(),
        Part::Map(map) => {
            let (live_map, applied_map) = (live.and_then(Value::as_object), applied.and_then(Value::as_object));
            if map.atomic || (live_map.is_none_or(Json::is_empty) && applied_map.is_none_or(Json::is_empty)) {
                return whole();
            }
            let mut out = Json::new();
            for (key, live) in live_map.into_iter().flatten() {
                let applied = applied_map.and_then(|applied| applied.get(key));
                let merged = match map.type_of(key) {
                    Some(id) => merge_value(schema, id, Some(live), applied, depth + 1),
                    None => applied.or(Some(live)).cloned(),
                };
                if let Some(merged) = merged {
                    out.insert(key.clone(), merged);
                }
            }
            for (key, applied) in applied_map.into_iter().flatten() {
                if !out.contains_key(key) {
                    out.insert(key.clone(), applied.clone());
                }
            }
            (!out.is_empty()).then_some(Value::Object(out))
        }
        Part::List(list) => {
            let (live_list, applied_list) = (live.and_then(Value::as_array), applied.and_then(Value::as_array));
            if list.kind == ListKind::Atomic || (live_list.is_none_or(Vec::is_empty) && applied_list.is_none_or(Vec::is_empty)) {
                return whole();
            }
            let out = merge_items(schema, list, live_list.map_or(&[], Vec::as_slice), applied_list.map_or(&[], Vec::as_slice), depth);
            (!out.is_empty()).then_some(Value::Array(out))
        }
    }
}

/// Merges lists whose items have identity: the order is that of the applied list, live items that it does not name
/// stay where they are among those that both have.
fn merge_items(schema: &Schema, list: &List, live: &[Value], applied: &[Value], depth: usize) -> Vec<Value> {
    let index = |items: &[Value]| -> Vec<PathElement> {
        items.iter().map(|child| list_element(schema, list, child).unwrap_or(PathElement::Index(-1))).collect()
    };
    let (live_keys, applied_keys) = (index(live), index(applied));
    let mut in_live: BTreeMap<&PathElement, Option<&Value>> = BTreeMap::new();
    for (key, child) in live_keys.iter().zip(live) {
        // An item that is there twice is replaced, not merged.
        in_live.entry(key).and_modify(|known| *known = None).or_insert(Some(child));
    }
    let in_applied: BTreeMap<&PathElement, &Value> = applied_keys.iter().zip(applied).collect();
    let mut shared = applied_keys.iter().filter(|key| in_live.contains_key(key));
    let mut next_shared = shared.next();
    let mut done: BTreeMap<&PathElement, ()> = BTreeMap::new();
    let mut out = Vec::with_capacity(live.len().max(applied.len()));
    let merge_one = |key: &PathElement, child: &Value| {
        let live = in_live.get(key).copied().flatten();
        merge_value(schema, list.element, live, Some(child), depth + 1)
    };
    let (mut at_live, mut at_applied) = (0, 0);
    while at_live < live.len() || at_applied < applied.len() {
        if let (Some(live_key), Some(applied_key)) = (live_keys.get(at_live), applied_keys.get(at_applied)) {
            if live_key == applied_key {
                done.insert(live_key, ());
                out.extend(merge_one(live_key, &applied[at_applied]));
                at_live += 1;
                at_applied += 1;
                next_shared = shared.next();
                continue;
            }
            if in_applied.contains_key(live_key) && next_shared.is_some_and(|next| next != live_key) {
                // Both have it, but its turn comes later.
                at_live += 1;
                continue;
            }
        }
        if let Some(live_key) = live_keys.get(at_live) {
            if !in_applied.contains_key(live_key) {
                out.push(live[at_live].clone());
                at_live += 1;
                continue;
            }
            if done.contains_key(live_key) {
                at_live += 1;
            }
        }
        if let Some(applied_key) = applied_keys.get(at_applied) {
            done.insert(applied_key, ());
            out.extend(merge_one(applied_key, &applied[at_applied]));
            at_applied += 1;
            if next_shared == Some(applied_key) {
                next_shared = shared.next();
            }
        }
    }
    out
}

// ---- removal ----

/// The value without some fields and items.
pub fn remove(ty: &TypeHandle, value: &Value, fields: &Set) -> Value {
    remove_value(ty.schema(), ty.id(), value, fields)
}

fn remove_value(schema: &Schema, id: TypeId, value: &Value, fields: &Set) -> Value {
    match part(schema.get(id), Some(value)) {
        Part::Scalar(_) | Part::None => value.clone(),
        Part::Map(map) => match value.as_object() {
            Some(entries) if !map.atomic && !entries.is_empty() => {
                let mut out = Json::new();
                for (key, child) in entries {
                    let element = PathElement::field(key);
                    if fields.has_member(&element) {
                        continue;
                    }
                    let child = match (fields.child(&element), map.type_of(key)) {
                        (Some(below), Some(id)) if !below.is_empty() => remove_value(schema, id, child, below),
                        _ => child.clone(),
                    };
                    out.insert(key.clone(), child);
                }
                if out.is_empty() { Value::Null } else { Value::Object(out) }
            }
            _ => Value::Null,
        },
        Part::List(list) => match value.as_array() {
            Some(items) if list.kind != ListKind::Atomic && !items.is_empty() => {
                let mut out = Vec::with_capacity(items.len());
                for child in items {
                    let element = list_element(schema, list, child).ok();
                    if element.as_ref().is_some_and(|element| fields.has_member(element)) {
                        continue;
                    }
                    out.push(match element.and_then(|element| fields.child(&element)) {
                        Some(below) if !below.is_empty() => remove_value(schema, list.element, child, below),
                        _ => child.clone(),
                    });
                }
                if out.is_empty() { Value::Null } else { Value::Array(out) }
            }
            _ => Value::Null,
        },
    }
}

// ---- changes of the schema ----

/// Moves owned fields to what the schema says now: fields below a type that has become atomic are owned as its whole.
pub fn reconcile(ty: &TypeHandle, set: &Set) -> Option<Set> {
    let mut at = Reconciler { schema: ty.schema(), path: Vec::new(), whole: Set::new() };
    at.visit(ty.id(), Some(set), false);
    if at.whole.is_empty() {
        return None;
    }
    Some(set.recursive_difference(&at.whole).union(&at.whole))
}

struct Reconciler<'s> {
    schema: &'s Schema,
    path: Vec<PathElement>,
    /// Atomic values of which only a part is owned.
    whole: Set,
}

impl Reconciler<'_> {
    fn visit(&mut self, id: TypeId, set: Option<&Set>, is_leaf: bool) {
        let schema = self.schema;
        let ty = schema.get(id);
        let owned = set.is_some_and(|set| !set.is_empty());
        // As there: the map part decides where there are several.
        match ty {
            Type { map: Some(map), .. } => {
                // Maps of which nothing is known say nothing of atomic or granular.
                let untyped = |id| id == DEDUCED || (schema.get(id).name.is_none() && schema.get(id).scalar == Some(Scalar::Untyped));
                if map.fields.is_empty() && map.element.is_some_and(untyped) {
                    return;
                }
                if map.atomic && !is_leaf {
                    if owned {
                        self.whole.insert(&self.path);
                    }
                    return;
                }
                self.below(set, |element| match element {
                    PathElement::Field(name) => map.type_of(name),
                    _ => map.element,
                });
            }
            Type { scalar: Some(_), .. } => {}
            Type { list: Some(list), .. } => {
                if list.kind == ListKind::Atomic && !is_leaf {
                    self.whole.insert(&self.path);
                    return;
                }
                self.below(set, |_| Some(list.element));
            }
            _ => {}
        }
    }

    fn below(&mut self, set: Option<&Set>, type_of: impl Fn(&PathElement) -> Option<TypeId>) {
        let Some(set) = set else { return };
        for (element, child) in set.children() {
            if let Some(id) = type_of(element) {
                self.path.push(element.clone());
                self.visit(id, Some(child), false);
                self.path.pop();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin;
    use object::GroupVersionKind;
    use serde_json::json;

    fn deployment() -> TypeHandle {
        builtin::type_of(&GroupVersionKind::new("apps", "v1", "Deployment")).unwrap()
    }

    #[test]
    fn values_that_do_not_fit_are_told_in_the_words_of_the_server() {
        let config_map = builtin::type_of(&GroupVersionKind::new("", "v1", "ConfigMap")).unwrap();
        for (ty, value, text) in [
            (config_map.clone(), json!({"data": {"v": 1}}), ".data.v: expected string, got &value.valueUnstructured{Value:1}"),
            (config_map.clone(), json!({"data": ["a", 1]}), ".data: expected map, got &{[a 1]}"),
            (config_map, json!({"immutable": "yes"}), ".immutable: expected boolean, got &{yes}"),
            (deployment(), json!({"spec": {"x": 1}}), ".spec.x: field not declared in schema"),
            (deployment(), json!({"spec": {"replicas": "2"}}), ".spec.replicas: expected numeric (int or float), got string"),
            (
                deployment(),
                json!({"spec": {"template": {"spec": {"containers": [{"name": "a"}, {"name": "a"}]}}}}),
                ".spec.template.spec.containers: duplicate entries for key [name=\"a\"]",
            ),
        ] {
            assert_eq!(validate(&ty, &value, false).unwrap_err().to_string(), text);
        }
        assert!(validate(&deployment(), &json!({"spec": null}), false).is_ok());
    }

    #[test]
    fn a_field_set_names_items_by_key_and_atomic_values_as_a_whole() {
        let value = json!({"spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"spec": {"containers": [{"name": "a", "ports": [{"containerPort": 80}], "args": ["x"], "resources": {}}]}}
        }});
        let port = r#"k:{"containerPort":80,"protocol":"TCP"}"#;
        assert_eq!(
            field_set(&deployment(), &value).encode(),
            json!({"f:spec": {"f:selector": {}, "f:template": {"f:spec": {"f:containers": {r#"k:{"name":"a"}"#: {
                ".": {}, "f:args": {}, "f:name": {}, "f:ports": {port: {".": {}, "f:containerPort": {}}}, "f:resources": {}
            }}}}}})
        );
    }

    #[test]
    fn merged_lists_take_the_applied_order_and_keep_what_only_the_live_list_has() {
        let ty = builtin::type_of(&GroupVersionKind::new("", "v1", "Pod")).unwrap();
        let pod = |names: &str| {
            let containers: Vec<_> = names.chars().map(|name| json!({ "name": name.to_string() })).collect();
            json!({"spec": {"containers": containers}})
        };
        for (live, applied, merged) in
            [("abc", "b", "abc"), ("abc", "ca", "bca"), ("ab", "bxa", "bxa"), ("axb", "ba", "xba"), ("", "ab", "ab"), ("ab", "cd", "abcd")]
        {
            let out = merge(&ty, &pod(live), &pod(applied));
            let names: String = out["spec"]["containers"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
            assert_eq!(names, merged, "{live} + {applied}");
        }
    }

    #[test]
    fn deep_values_are_refused_and_never_overflow() {
        let deep = (0..400).fold(json!(1), |below, _| Value::Object(Json::from_iter([("a".to_owned(), below)])));
        let ty = TypeHandle::deduced();
        assert!(validate(&ty, &deep, true).is_err());
        let _ = field_set(&ty, &deep);
        assert!(compare(&ty, &deep, &deep).is_same());
        assert!(equal(&merge(&ty, &deep, &deep), &deep));
    }
}
