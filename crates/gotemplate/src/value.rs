use crate::{Failure, Run, Type};
use smallvec::SmallVec;
use std::{
    any::Any,
    borrow::Cow,
    cell::{Cell, RefCell},
    fmt,
    rc::Rc,
    sync::Arc,
};

/// A Go string: any bytes, nearly always UTF-8.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Str {
    Text(Arc<str>),
    /// Bytes that are no UTF-8: a binary file, a decoded key.
    Raw(Arc<[u8]>),
}

impl Str {
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Self::Text(text.into()),
            Err(error) => Self::Raw(error.into_bytes().into()),
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Raw(bytes) => bytes,
        }
    }

    /// The text; bytes that are no UTF-8 become replacement characters, as Go's conversions of runes do.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Raw(bytes) => String::from_utf8_lossy(bytes),
        }
    }

    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Default for Str {
    fn default() -> Self {
        Self::from("")
    }
}

impl From<&str> for Str {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Str {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<Arc<str>> for Str {
    fn from(text: Arc<str>) -> Self {
        Self::Text(text)
    }
}

impl PartialOrd for Str {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Str {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

/// A value as Go's reflection sees it. Maps and lists are shared, never copied by assignment.
#[derive(Clone)]
pub enum Value {
    /// Go's zero `reflect.Value`: no value at all, printed as `<no value>`.
    Invalid,
    /// A nil interface, such as a missing key of a `map[string]interface {}`.
    Nil,
    Bool(bool),
    Int(i64),
    Int64(i64),
    Uint8(u8),
    Uint64(u64),
    Float(f64),
    /// A `time.Duration` in nanoseconds.
    Duration(i64),
    String(Str),
    /// `[]interface {}`
    List(Rc<List>),
    /// `[][]interface {}`
    Lists(Rc<List>),
    /// `[]string`
    Strings(Rc<Vec<Str>>),
    /// `[]int`
    Ints(Rc<Vec<i64>>),
    /// `[]uint8`
    Bytes(Arc<[u8]>),
    /// A nil slice of the named type: empty, but `null` in JSON.
    NilSlice(&'static str),
    Map(Map),
    /// A value with methods.
    Object(Rc<dyn Object>),
}

/// The kind of a value, as `reflect.Kind` names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Invalid,
    Bool,
    Int,
    Int64,
    Uint8,
    Uint64,
    Float64,
    String,
    Slice,
    Map,
    Struct,
    Pointer,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Int64 => "int64",
            Self::Uint8 => "uint8",
            Self::Uint64 => "uint64",
            Self::Float64 => "float64",
            Self::String => "string",
            Self::Slice => "slice",
            Self::Map => "map",
            Self::Struct => "struct",
            Self::Pointer => "ptr",
        }
    }
}

impl Value {
    pub fn string(text: impl Into<Str>) -> Self {
        Self::String(text.into())
    }

    pub fn list(items: Vec<Value>) -> Self {
        Self::List(Rc::new(List { items }))
    }

    pub fn strings(items: Vec<Str>) -> Self {
        Self::Strings(Rc::new(items))
    }

    pub fn is_nil(&self) -> bool {
        matches!(self, Self::Nil | Self::Invalid)
    }

    pub fn kind(&self) -> Kind {
        match self {
            Self::Invalid | Self::Nil => Kind::Invalid,
            Self::Bool(_) => Kind::Bool,
            Self::Int(_) => Kind::Int,
            Self::Int64(_) | Self::Duration(_) => Kind::Int64,
            Self::Uint8(_) => Kind::Uint8,
            Self::Uint64(_) => Kind::Uint64,
            Self::Float(_) => Kind::Float64,
            Self::String(_) => Kind::String,
            Self::List(_) | Self::Lists(_) | Self::Strings(_) | Self::Ints(_) | Self::Bytes(_) | Self::NilSlice(_) => Kind::Slice,
            Self::Map(_) => Kind::Map,
            Self::Object(object) => object.kind(),
        }
    }

    /// The type's name as `%T` prints it.
    pub fn type_name(&self) -> &str {
        match self {
            Self::Invalid | Self::Nil => "<nil>",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Int64(_) => "int64",
            Self::Uint8(_) => "uint8",
            Self::Uint64(_) => "uint64",
            Self::Float(_) => "float64",
            Self::Duration(_) => "time.Duration",
            Self::String(_) => "string",
            Self::List(_) => "[]interface {}",
            Self::Lists(_) => "[][]interface {}",
            Self::Strings(_) => "[]string",
            Self::Ints(_) => "[]int",
            Self::Bytes(_) => "[]uint8",
            Self::NilSlice(name) => name,
            Self::Map(map) => map.kind().type_name(),
            Self::Object(object) => object.type_name(),
        }
    }

    /// Go's notion of truth in a template: not the zero of its type.
    pub fn truth(&self) -> bool {
        match self {
            Self::Invalid | Self::Nil | Self::NilSlice(_) => false,
            Self::Bool(value) => *value,
            Self::Int(n) | Self::Int64(n) | Self::Duration(n) => *n != 0,
            Self::Uint8(n) => *n != 0,
            Self::Uint64(n) => *n != 0,
            Self::Float(n) => *n != 0.0,
            Self::String(text) => !text.is_empty(),
            Self::List(list) | Self::Lists(list) => !list.items.is_empty(),
            Self::Strings(list) => !list.is_empty(),
            Self::Ints(list) => !list.is_empty(),
            Self::Bytes(bytes) => !bytes.is_empty(),
            Self::Map(map) => !map.is_empty(),
            Self::Object(object) => object.length().is_none_or(|n| n > 0),
        }
    }

    /// The number of elements of what has elements (bytes for a string).
    pub fn length(&self) -> Option<usize> {
        match self {
            Self::String(text) => Some(text.len()),
            Self::List(list) | Self::Lists(list) => Some(list.items.len()),
            Self::Strings(list) => Some(list.len()),
            Self::Ints(list) => Some(list.len()),
            Self::Bytes(bytes) => Some(bytes.len()),
            Self::NilSlice(_) => Some(0),
            Self::Map(map) => Some(map.len()),
            Self::Object(object) => object.length(),
            _ => None,
        }
    }

    /// The element of a slice; `None` for what is no slice or is shorter.
    pub fn item(&self, at: usize) -> Option<Value> {
        match self {
            Self::List(list) | Self::Lists(list) => list.items.get(at).cloned(),
            Self::Strings(list) => list.get(at).cloned().map(Value::String),
            Self::Ints(list) => list.get(at).copied().map(Value::Int),
            Self::Bytes(bytes) => bytes.get(at).copied().map(Value::Uint8),
            Self::Object(object) => object.item(at),
            _ => None,
        }
    }

    /// All elements when this is a slice.
    pub fn items(&self) -> Option<Cow<'_, [Value]>> {
        match self {
            Self::List(list) | Self::Lists(list) => Some(Cow::Borrowed(&list.items)),
            _ if self.kind() == Kind::Slice => {
                let n = self.length().unwrap_or(0);
                Some(Cow::Owned((0..n).filter_map(|at| self.item(at)).collect()))
            }
            _ => None,
        }
    }

    pub fn as_str(&self) -> Option<&Str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }

    /// Go's `reflect.DeepEqual`: the same types and the same contents.
    pub fn deep_equal(&self, other: &Value) -> bool {
        deep_equal(self, other, 0)
    }
}

/// Nesting that no real chart has and that recursion can still bear.
pub(crate) const MAX_NESTING: usize = 1_000;

fn deep_equal(a: &Value, b: &Value, depth: usize) -> bool {
    if depth > MAX_NESTING / 3 {
        return false;
    }
    match (a, b) {
        (Value::Invalid | Value::Nil, Value::Invalid | Value::Nil) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Int(a), Value::Int(b)) | (Value::Int64(a), Value::Int64(b)) | (Value::Duration(a), Value::Duration(b)) => a == b,
        (Value::Uint8(a), Value::Uint8(b)) => a == b,
        (Value::Uint64(a), Value::Uint64(b)) => a == b,
        (Value::Float(a), Value::Float(b)) => a == b,
        (Value::String(a), Value::String(b)) => a == b,
        (Value::Strings(a), Value::Strings(b)) => a == b,
        (Value::Ints(a), Value::Ints(b)) => a == b,
        (Value::Bytes(a), Value::Bytes(b)) => a == b,
        (Value::NilSlice(a), Value::NilSlice(b)) => a == b,
        (Value::List(a), Value::List(b)) | (Value::Lists(a), Value::Lists(b)) => {
            Rc::ptr_eq(a, b) || a.items.len() == b.items.len() && a.items.iter().zip(&b.items).all(|(a, b)| deep_equal(a, b, depth + 1))
        }
        (Value::Map(a), Value::Map(b)) => {
            if a.same(b) {
                return true;
            }
            if a.kind() != b.kind() || a.len() != b.len() {
                return false;
            }
            let (a, b) = (a.entries(), b.entries());
            a.iter().zip(b.iter()).all(|((ka, va), (kb, vb))| ka == kb && deep_equal(va, vb, depth + 1))
        }
        (Value::Object(a), Value::Object(b)) => Rc::ptr_eq(a, b) || a.equals(&**b),
        _ => false,
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values may hold secrets: say what this is, not what it holds.
        write!(out, "Value({})", self.type_name())
    }
}

/// The elements of a list. Lists are never changed in place.
pub struct List {
    pub items: Vec<Value>,
}

impl Drop for List {
    fn drop(&mut self) {
        for item in self.items.drain(..) {
            drop_later(item);
        }
    }
}

thread_local! {
    static DROPPING: Cell<bool> = const { Cell::new(false) };
    static LATER: RefCell<Vec<Value>> = const { RefCell::new(Vec::new()) };
}

/// Drops a value without recursing: a million lists inside each other must not overflow the stack.
fn drop_later(value: Value) {
    if !matches!(value, Value::List(_) | Value::Lists(_) | Value::Map(_)) {
        return;
    }
    let busy = DROPPING.try_with(|dropping| dropping.replace(true)).unwrap_or(true);
    if busy {
        let mut value = Some(value);
        let _ = LATER.try_with(|later| {
            if let Ok(mut later) = later.try_borrow_mut() {
                later.extend(value.take());
            }
        });
        return;
    }
    drop(value);
    while let Ok(Some(next)) = LATER.try_with(|later| later.borrow_mut().pop()) {
        drop(next);
    }
    let _ = DROPPING.try_with(|dropping| dropping.set(false));
}

/// Which Go map type a map is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapKind {
    /// `map[string]interface {}`
    Any,
    /// `common.Values`, the named type of Helm.
    Values,
    /// `map[string]string`
    Strings,
}

impl MapKind {
    pub fn type_name(self) -> &'static str {
        match self {
            Self::Any => "map[string]interface {}",
            Self::Values => "common.Values",
            Self::Strings => "map[string]string",
        }
    }

    /// What a missing key gives: the zero of the element type.
    pub fn zero(self) -> Value {
        match self {
            Self::Any | Self::Values => Value::Nil,
            Self::Strings => Value::String(Str::default()),
        }
    }

    /// The element type's name.
    pub fn element(self) -> &'static str {
        match self {
            Self::Any | Self::Values => "interface {}",
            Self::Strings => "string",
        }
    }
}

type Entries = Vec<(Arc<str>, Value)>;

struct MapCell {
    kind: MapKind,
    entries: RefCell<Entries>,
}

impl Drop for MapCell {
    fn drop(&mut self) {
        for (_, value) in self.entries.get_mut().drain(..) {
            drop_later(value);
        }
    }
}

/// A map with identity: whoever holds it sees every change. Keys are kept in byte order, the order in which Go prints and ranges.
#[derive(Clone)]
pub struct Map(Rc<MapCell>);

impl Map {
    pub fn new(kind: MapKind) -> Self {
        Self::from_sorted(kind, Vec::new())
    }

    pub fn any() -> Self {
        Self::new(MapKind::Any)
    }

    /// A map of entries that are in byte order and without double keys.
    fn from_sorted(kind: MapKind, entries: Entries) -> Self {
        Self(Rc::new(MapCell { kind, entries: RefCell::new(entries) }))
    }

    /// A map of entries in any order; of double keys the last wins.
    pub fn from_entries(kind: MapKind, mut entries: Vec<(Arc<str>, Value)>) -> Self {
        if !entries.is_sorted_by(|a, b| a.0 < b.0) {
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            entries.reverse();
            entries.dedup_by(|later, first| later.0 == first.0);
            entries.reverse();
        }
        Self::from_sorted(kind, entries)
    }

    pub fn kind(&self) -> MapKind {
        self.0.kind
    }

    /// The same map under another type name cannot share identity; this copies the entries, not what they hold.
    pub fn shallow_copy(&self, kind: MapKind) -> Self {
        Self::from_sorted(kind, self.0.entries.borrow().clone())
    }

    pub fn same(&self, other: &Map) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    /// What tells this map from all others that live.
    pub(crate) fn identity(&self) -> usize {
        Rc::as_ptr(&self.0) as usize
    }

    pub fn len(&self) -> usize {
        self.0.entries.borrow().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn get(&self, key: &str) -> Option<Value> {
        let entries = self.0.entries.borrow();
        // Few names have the same length: one after the other, most are passed without a look at their text.
        if entries.len() <= 24 {
            return entries.iter().find(|(known, _)| **known == *key).map(|(_, value)| value.clone());
        }
        find(&entries, key).ok().map(|at| entries[at].1.clone())
    }

    pub fn contains(&self, key: &str) -> bool {
        find(&self.0.entries.borrow(), key).is_ok()
    }

    pub fn insert(&self, key: impl Into<Arc<str>> + AsRef<str>, value: Value) {
        let mut entries = self.0.entries.borrow_mut();
        let old = match find(&entries, key.as_ref()) {
            Ok(at) => Some(std::mem::replace(&mut entries[at].1, value)),
            Err(at) => {
                entries.insert(at, (key.into(), value));
                None
            }
        };
        // A dropped value may hold this very map: let go of the borrow first.
        drop(entries);
        drop(old);
    }

    pub fn remove(&self, key: &str) -> Option<Value> {
        let mut entries = self.0.entries.borrow_mut();
        find(&entries, key).ok().map(|at| entries.remove(at).1)
    }

    /// The entries as they stand now.
    pub fn entries(&self) -> SmallVec<[(Arc<str>, Value); 8]> {
        self.0.entries.borrow().iter().cloned().collect()
    }

    pub fn keys(&self) -> Vec<Arc<str>> {
        self.0.entries.borrow().iter().map(|(key, _)| key.clone()).collect()
    }

    /// Looks at the entries without copying them. `look` must not change this map.
    pub fn with_entries<R>(&self, look: impl FnOnce(&[(Arc<str>, Value)]) -> R) -> R {
        look(&self.0.entries.borrow())
    }

    /// Runs over the entries without copying them. `each` must not change this map.
    pub fn visit<E>(&self, mut each: impl FnMut(&Arc<str>, &Value) -> Result<(), E>) -> Result<(), E> {
        self.0.entries.borrow().iter().try_for_each(|(key, value)| each(key, value))
    }

    /// Forgets every entry; breaks cycles when a run ends.
    pub(crate) fn clear(&self) {
        let entries = std::mem::take(&mut *self.0.entries.borrow_mut());
        for (_, value) in entries {
            drop_later(value);
        }
    }

    pub(crate) fn downgrade(&self) -> WeakMap {
        WeakMap(Rc::downgrade(&self.0))
    }
}

/// A map that a run remembers without keeping it alive.
pub(crate) struct WeakMap(std::rc::Weak<MapCell>);

impl WeakMap {
    pub(crate) fn upgrade(&self) -> Option<Map> {
        self.0.upgrade().map(Map)
    }
}

/// Where a key is, or would be.
fn find(entries: &Entries, key: &str) -> Result<usize, usize> {
    entries.binary_search_by(|(k, _)| (**k).cmp(key))
}

/// A value with a Go type of its own: `engine.files`, `*semver.Version`, `time.Time`.
pub trait Object: 'static {
    fn type_name(&self) -> &str;

    fn kind(&self) -> Kind;

    fn as_any(&self) -> &dyn Any;

    /// What `%v` prints.
    fn text(&self) -> String;

    /// What an action prints, where that differs from what `%v` prints of an argument: methods of a pointer count.
    fn printed(&self) -> String {
        self.text()
    }

    /// A struct field or a map entry.
    fn field(&self, _name: &str) -> Option<Value> {
        None
    }

    /// For objects of kind map: what a missing key gives.
    fn missing(&self) -> Value {
        Value::Nil
    }

    fn method(&self, _name: &str) -> Option<&'static Method> {
        None
    }

    /// The number of elements of a map or slice; `None` for a struct, which is always true.
    fn length(&self) -> Option<usize> {
        None
    }

    fn item(&self, _at: usize) -> Option<Value> {
        None
    }

    /// The entries of an object of kind map, in key order.
    fn entries(&self) -> Option<Vec<(Arc<str>, Value)>> {
        None
    }

    fn equals(&self, _other: &dyn Object) -> bool {
        false
    }

    /// What `encoding/json` writes for it; `None` for its entries, items or `{}`.
    fn as_json(&self) -> Option<Value> {
        None
    }

    /// Whether `String()` makes it print the same under every verb for text.
    fn is_stringer(&self) -> bool {
        false
    }
}

/// A method that templates may call.
pub struct Method {
    pub name: &'static str,
    pub params: &'static [Type],
    pub rest: Option<Type>,
    pub call: fn(&Rc<dyn Object>, &mut Run<'_>, &[Value]) -> Result<Value, Failure>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_shared_and_sorted() {
        let map =
            Map::from_entries(MapKind::Any, vec![("b".into(), Value::Int(1)), ("a".into(), Value::Int(2)), ("b".into(), Value::Int(3))]);
        let alias = map.clone();
        alias.insert("c", Value::Nil);
        assert_eq!(map.keys().iter().map(|k| &**k).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert!(matches!(map.get("b"), Some(Value::Int(3))), "of double keys the last wins");
        assert!(map.remove("a").is_some() && alias.get("a").is_none());
    }

    #[test]
    fn a_million_nested_lists_and_maps_drop_without_recursion() {
        let mut value = Value::Nil;
        for n in 0..1_000_000 {
            value =
                if n % 2 == 0 { Value::list(vec![value]) } else { Value::Map(Map::from_entries(MapKind::Any, vec![("k".into(), value)])) };
        }
        drop(value);
    }

    #[test]
    fn deep_equality_minds_types() {
        assert!(!Value::Int(1).deep_equal(&Value::Float(1.0)));
        assert!(Value::list(vec![Value::Int(1)]).deep_equal(&Value::list(vec![Value::Int(1)])));
        assert!(!Value::list(vec![]).deep_equal(&Value::NilSlice("[]interface {}")));
    }
}
