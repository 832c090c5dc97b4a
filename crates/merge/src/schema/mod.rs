//! The schema of a kind, as merging and validation need it.
//!
//! ```text
//! OpenAPI JSON --compile--> Schema (arena of Type) --pack--> bytes in the binary --unpack--> Schema
//!                                     |
//!                              TypeHandle (shared schema + id): what every other module walks
//! ```
//!
//! A `Type` is what structured-merge-diff calls an atom: a value of it may be a scalar, a list, a map, or (for untyped
//! fields) any of them. Ids point into the arena of the same schema.

mod compile;
mod pack;

use std::collections::HashMap;
use std::sync::Arc;

use object::GroupVersionKind;
use serde_json::Value;

pub use compile::Compiler;
pub use pack::{Error as PackError, Pack, PackBuilder};

/// Where a type lies in the arena of its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeId(pub u32);

/// Any value, merged as one whole.
pub const UNTYPED: TypeId = TypeId(0);
/// Any value; maps merge key by key, lists as one whole.
pub const DEDUCED: TypeId = TypeId(1);

/// The types of one or more kinds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Schema {
    types: Vec<Type>,
    names: HashMap<Box<str>, TypeId>,
    kinds: HashMap<GroupVersionKind, TypeId>,
}

/// What a value may be: each part that is there is allowed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Type {
    pub name: Option<Box<str>>,
    pub scalar: Option<Scalar>,
    pub list: Option<List>,
    pub map: Option<Map>,
    pub format: Format,
    /// The only strings that are allowed; empty when all are.
    pub enumeration: Vec<Box<str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scalar {
    Numeric,
    String,
    Boolean,
    Untyped,
}

/// How the text or number of a scalar is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    None,
    Int32,
    Int64,
    Double,
    Byte,
    DateTime,
    IntOrString,
    Quantity,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ListKind {
    #[default]
    Atomic,
    Set,
    Map,
}

#[derive(Debug, Clone, PartialEq)]
pub struct List {
    pub kind: ListKind,
    /// The fields that name an element; only of `ListKind::Map`.
    pub keys: Vec<Box<str>>,
    pub element: TypeId,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Map {
    /// Merged as one whole.
    pub atomic: bool,
    /// Sorted by name.
    pub fields: Vec<Field>,
    /// The type of the keys that `fields` does not name; none when there may be no others.
    pub element: Option<TypeId>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    pub name: Box<str>,
    pub ty: TypeId,
    pub required: bool,
    pub default: Option<Value>,
    pub patch: Patch,
}

/// How strategic merge patch treats a field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patch {
    pub merge: bool,
    pub retain_keys: bool,
    /// A map that a patch takes the place of.
    pub replace: bool,
    pub merge_key: Option<Box<str>>,
}

impl Map {
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.binary_search_by(|field| (*field.name).cmp(name)).ok().map(|at| &self.fields[at])
    }

    /// The type of the value under a key, if that key may be there.
    pub fn type_of(&self, key: &str) -> Option<TypeId> {
        self.field(key).map(|field| field.ty).or(self.element)
    }
}

impl Type {
    /// The last part of the name of a Go type: `Deployment` of `io.k8s.api.apps.v1.Deployment`.
    pub fn short_name(&self) -> &str {
        self.name.as_deref().and_then(|name| name.rsplit('.').next()).unwrap_or("")
    }
}

impl Schema {
    /// A schema that knows only the two untyped types.
    pub fn new() -> Self {
        let untyped = Type {
            name: Some("__untyped_atomic_".into()),
            scalar: Some(Scalar::Untyped),
            list: Some(List { kind: ListKind::Atomic, keys: Vec::new(), element: UNTYPED }),
            map: Some(Map { atomic: true, fields: Vec::new(), element: Some(UNTYPED) }),
            ..Type::default()
        };
        let deduced = Type {
            name: Some("__untyped_deduced_".into()),
            scalar: Some(Scalar::Untyped),
            list: Some(List { kind: ListKind::Atomic, keys: Vec::new(), element: UNTYPED }),
            map: Some(Map { atomic: false, fields: Vec::new(), element: Some(DEDUCED) }),
            ..Type::default()
        };
        let names = [&untyped, &deduced].into_iter().zip([UNTYPED, DEDUCED]).filter_map(|(ty, id)| Some((ty.name.clone()?, id))).collect();
        Self { types: vec![untyped, deduced], names, kinds: HashMap::new() }
    }

    /// The type at an id. An id of another schema gives the untyped type.
    pub fn get(&self, id: TypeId) -> &Type {
        self.types.get(id.0 as usize).unwrap_or(&self.types[0])
    }

    pub fn named(&self, name: &str) -> Option<TypeId> {
        self.names.get(name).copied()
    }

    pub fn kind(&self, gvk: &GroupVersionKind) -> Option<TypeId> {
        self.kinds.get(gvk).copied()
    }

    pub fn kinds(&self) -> impl Iterator<Item = (&GroupVersionKind, TypeId)> {
        self.kinds.iter().map(|(gvk, id)| (gvk, *id))
    }

    pub fn len(&self) -> usize {
        self.types.len()
    }

    pub fn is_empty(&self) -> bool {
        self.types.is_empty()
    }

    /// Copies a type of another schema, and all that it points at, into this one.
    pub fn graft(&mut self, from: &Schema, id: TypeId) -> TypeId {
        let mut seen = HashMap::new();
        self.graft_one(from, id, &mut seen)
    }

    fn graft_one(&mut self, from: &Schema, id: TypeId, seen: &mut HashMap<TypeId, TypeId>) -> TypeId {
        if id == UNTYPED || id == DEDUCED {
            return id;
        }
        if let Some(known) = seen.get(&id) {
            return *known;
        }
        let new = self.push(Type::default());
        seen.insert(id, new);
        let mut ty = from.get(id).clone();
        if let Some(list) = &mut ty.list {
            list.element = self.graft_one(from, list.element, seen);
        }
        if let Some(map) = &mut ty.map {
            map.element = map.element.map(|element| self.graft_one(from, element, seen));
            for field in &mut map.fields {
                field.ty = self.graft_one(from, field.ty, seen);
            }
        }
        if let Some(name) = &ty.name {
            self.names.entry(name.clone()).or_insert(new);
        }
        self.types[new.0 as usize] = ty;
        new
    }

    fn push(&mut self, ty: Type) -> TypeId {
        let id = TypeId(u32::try_from(self.types.len()).unwrap_or(u32::MAX));
        self.types.push(ty);
        id
    }
}

/// A type together with the schema that it lies in.
#[derive(Debug, Clone)]
pub struct TypeHandle {
    schema: Arc<Schema>,
    id: TypeId,
}

impl TypeHandle {
    pub fn new(schema: Arc<Schema>, id: TypeId) -> Self {
        Self { schema, id }
    }

    /// The type of objects about which nothing is known: maps merge key by key, lists as a whole.
    pub fn deduced() -> Self {
        static SCHEMA: std::sync::OnceLock<Arc<Schema>> = std::sync::OnceLock::new();
        Self { schema: Arc::clone(SCHEMA.get_or_init(|| Arc::new(Schema::new()))), id: DEDUCED }
    }

    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    pub fn id(&self) -> TypeId {
        self.id
    }

    pub fn get(&self) -> &Type {
        self.schema.get(self.id)
    }

    /// The type of the value at a path of field names.
    pub fn at(&self, path: &[&str]) -> Option<TypeHandle> {
        let id = path.iter().try_fold(self.id, |id, key| self.schema.get(id).map.as_ref()?.type_of(key))?;
        Some(TypeHandle { schema: Arc::clone(&self.schema), id })
    }

    fn same_schema(&self, other: &TypeHandle) -> bool {
        Arc::ptr_eq(&self.schema, &other.schema)
    }
}

impl PartialEq for TypeHandle {
    fn eq(&self, other: &Self) -> bool {
        self.same_schema(other) && self.id == other.id
    }
}

/// Finds the type of a kind: the built-in kinds, those of custom resource definitions, or both.
pub trait TypeSource {
    fn type_of(&self, gvk: &GroupVersionKind) -> Option<TypeHandle>;

    /// An object of a kind with nothing in it: what a created object is compared with.
    fn empty(&self, gvk: &GroupVersionKind) -> Value {
        serde_json::json!({"apiVersion": gvk.api_version(), "kind": gvk.kind})
    }
}
