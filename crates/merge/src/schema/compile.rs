//! OpenAPI definitions -> types, by the rules of kube-openapi's schema conversion.

use std::collections::HashMap;

use object::GroupVersionKind;
use serde_json::{Map as Json, Value};

use super::{DEDUCED, Field, Format, List, ListKind, Map, Patch, Scalar, Schema, Type, TypeId, UNTYPED};

const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const RAW_EXTENSION: &str = "io.k8s.apimachinery.pkg.runtime.RawExtension";

/// Schemas nest no deeper than this; what lies below is untyped.
const DEPTH_MAX: usize = 200;

/// Turns OpenAPI definitions into the types of a schema.
pub struct Compiler {
    schema: Schema,
    /// Types that differ from a named one only by being atomic or granular at one field.
    overrides: HashMap<(TypeId, bool), TypeId>,
    /// Overrides to be filled when all named types are known.
    pending: Vec<(TypeId, TypeId, bool)>,
}

impl Default for Compiler {
    fn default() -> Self {
        Self { schema: Schema::new(), overrides: HashMap::new(), pending: Vec::new() }
    }
}

impl Compiler {
    /// Adds all definitions of a document (`components.schemas`). A name that is known stays as it was first read,
    /// but may gain kinds: group versions share their common types.
    pub fn definitions(&mut self, definitions: &Json<String, Value>) {
        for (name, definition) in definitions {
            for gvk in kinds_of(definition) {
                let id = self.reserve(name);
                self.schema.kinds.insert(gvk, id);
            }
        }
        for (name, definition) in definitions {
            let id = self.reserve(name);
            if self.schema.types[id.0 as usize].name.is_some() {
                continue;
            }
            let mut ty = match name.as_str() {
                // Written as any scalar and as any value: kube-openapi pins these two by name.
                QUANTITY => Type { scalar: Some(Scalar::Untyped), format: Format::Quantity, ..Type::default() },
                RAW_EXTENSION => self.schema.get(UNTYPED).clone(),
                _ => self.atom(definition, false, 0),
            };
            ty.name = Some(name.as_str().into());
            self.schema.types[id.0 as usize] = ty;
        }
    }

    /// Adds one schema without a name, such as that of a custom resource.
    pub fn inline(&mut self, definition: &Value, preserve_unknown: bool) -> TypeId {
        self.reference(definition, preserve_unknown, 0)
    }

    /// Starts from a schema that has types already.
    pub fn extend(schema: Schema) -> Self {
        Self { schema, ..Self::default() }
    }

    pub fn schema_mut(&mut self) -> &mut Schema {
        &mut self.schema
    }

    pub fn finish(mut self) -> Schema {
        for (id, of, atomic) in std::mem::take(&mut self.pending) {
            let mut ty = self.schema.get(of).clone();
            if let Some(map) = &mut ty.map {
                map.atomic = atomic;
            }
            self.schema.types[id.0 as usize] = ty;
        }
        self.schema
    }

    fn reserve(&mut self, name: &str) -> TypeId {
        if let Some(id) = self.schema.named(name) {
            return id;
        }
        let id = self.schema.push(Type::default());
        self.schema.names.insert(name.into(), id);
        id
    }

    fn reference(&mut self, definition: &Value, preserve_unknown: bool, depth: usize) -> TypeId {
        if depth > DEPTH_MAX {
            return UNTYPED;
        }
        if let Some(name) = reference_name(definition) {
            let id = self.reserve(name);
            return match definition.get("x-kubernetes-map-type").and_then(Value::as_str) {
                Some(kind) => self.override_of(id, kind == "atomic"),
                None => id,
            };
        }
        let ty = self.atom(definition, preserve_unknown, depth);
        self.schema.push(ty)
    }

    fn override_of(&mut self, of: TypeId, atomic: bool) -> TypeId {
        if let Some(id) = self.overrides.get(&(of, atomic)) {
            return *id;
        }
        let id = self.schema.push(Type::default());
        self.overrides.insert((of, atomic), id);
        self.pending.push((id, of, atomic));
        id
    }

    fn atom(&mut self, definition: &Value, preserve_unknown: bool, depth: usize) -> Type {
        let preserve = preserve_unknown || flag(definition, "x-kubernetes-preserve-unknown-fields");
        let mut ty = Type { format: format_of(definition), enumeration: strings(definition.get("enum")), ..Type::default() };
        match definition.get("type").and_then(Value::as_str).unwrap_or("") {
            "object" => ty.map = Some(self.map(definition, preserve, depth)),
            "array" => ty.list = Some(self.list(definition, preserve, depth)),
            "integer" | "number" => ty.scalar = Some(Scalar::Numeric),
            "boolean" => ty.scalar = Some(Scalar::Boolean),
            "string" => {
                let text = definition.get("format").and_then(Value::as_str).unwrap_or("");
                ty.scalar = Some(if matches!(text, "" | "byte") { Scalar::String } else { Scalar::Untyped });
            }
            "" => {
                ty.scalar = Some(Scalar::Untyped);
                ty.list = Some(self.list(definition, preserve, depth));
                ty.map = Some(self.map(definition, preserve, depth));
            }
            _ => ty.scalar = Some(Scalar::Untyped),
        }
        ty
    }

    fn list(&mut self, definition: &Value, preserve: bool, depth: usize) -> List {
        let (kind, keys) = list_kind(definition);
        let element = match definition.get("items") {
            Some(items) => self.reference(items, preserve, depth + 1),
            None => UNTYPED,
        };
        List { kind, keys, element }
    }

    fn map(&mut self, definition: &Value, preserve: bool, depth: usize) -> Map {
        let required = strings(definition.get("required"));
        let mut fields: Vec<Field> = Vec::new();
        let properties = definition.get("properties").and_then(Value::as_object);
        for (name, property) in properties.into_iter().flatten() {
            fields.push(Field {
                name: name.as_str().into(),
                ty: self.reference(property, preserve, depth + 1),
                required: required.iter().any(|one| **one == **name),
                default: property.get("default").cloned(),
                patch: patch_of(property),
            });
        }
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        let element = match definition.get("additionalProperties") {
            // A map of which nothing is said holds anything.
            None if preserve || fields.is_empty() => Some(DEDUCED),
            None | Some(Value::Bool(false)) => None,
            Some(Value::Bool(true)) => Some(DEDUCED),
            Some(values) => Some(self.reference(values, preserve, depth + 1)),
        };
        let atomic = definition.get("x-kubernetes-map-type").and_then(Value::as_str) == Some("atomic");
        Map { atomic, fields, element }
    }
}

fn kinds_of(definition: &Value) -> Vec<GroupVersionKind> {
    let entries = definition.get("x-kubernetes-group-version-kind").and_then(Value::as_array);
    let text = |entry: &Value, key: &str| entry.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
    entries
        .into_iter()
        .flatten()
        .map(|entry| GroupVersionKind { group: text(entry, "group"), version: text(entry, "version"), kind: text(entry, "kind") })
        .collect()
}

/// The definition that a schema points at, directly or as the one member of `allOf`.
fn reference_name(definition: &Value) -> Option<&str> {
    let direct = definition.get("$ref").and_then(Value::as_str);
    let text = direct.or_else(|| match definition.get("allOf")?.as_array()?.as_slice() {
        [only] => only.get("$ref")?.as_str(),
        _ => None,
    })?;
    text.rsplit('/').next().filter(|name| !name.is_empty())
}

fn list_kind(definition: &Value) -> (ListKind, Vec<Box<str>>) {
    let text = |key: &str| definition.get(key).and_then(Value::as_str);
    match text("x-kubernetes-list-type") {
        Some("set") => (ListKind::Set, Vec::new()),
        Some("map") => (ListKind::Map, strings(definition.get("x-kubernetes-list-map-keys"))),
        Some(_) => (ListKind::Atomic, Vec::new()),
        None if patch_of(definition).merge => match text("x-kubernetes-patch-merge-key") {
            Some(key) => (ListKind::Map, vec![key.into()]),
            None => (ListKind::Set, Vec::new()),
        },
        None => (ListKind::Atomic, Vec::new()),
    }
}

fn patch_of(definition: &Value) -> Patch {
    let strategy = definition.get("x-kubernetes-patch-strategy").and_then(Value::as_str).unwrap_or("");
    Patch {
        merge: strategy.split(',').any(|part| part == "merge"),
        retain_keys: strategy.split(',').any(|part| part == "retainKeys"),
        replace: strategy.split(',').any(|part| part == "replace"),
        merge_key: definition.get("x-kubernetes-patch-merge-key").and_then(Value::as_str).map(Into::into),
    }
}

fn format_of(definition: &Value) -> Format {
    if flag(definition, "x-kubernetes-int-or-string") {
        return Format::IntOrString;
    }
    match definition.get("format").and_then(Value::as_str).unwrap_or("") {
        "int32" => Format::Int32,
        "int64" => Format::Int64,
        "double" | "float" => Format::Double,
        "byte" => Format::Byte,
        "date-time" => Format::DateTime,
        "int-or-string" => Format::IntOrString,
        _ => Format::None,
    }
}

fn flag(definition: &Value, key: &str) -> bool {
    definition.get(key).and_then(Value::as_bool).unwrap_or(false)
}

fn strings(value: Option<&Value>) -> Vec<Box<str>> {
    value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(Into::into).collect()
}
