//! A custom kind in one version: its structural schema, and the type that it merges by.

use std::collections::HashMap;
use std::sync::Arc;

use object::GroupVersionKind;
use serde_json::{Map, Value, json};

use super::{Error, Node, Pruned, rules, validate};
use crate::builtin;
use crate::field::FieldError;
use crate::schema::{Compiler, Schema, TypeHandle, TypeSource};

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// A version of a custom resource definition, compiled once and used by all requests.
#[derive(Debug)]
pub struct CustomKind {
    pub gvk: GroupVersionKind,
    pub node: Node,
    ty: TypeHandle,
    has_status: bool,
}

impl CustomKind {
    /// Compiles one entry of `spec.versions` of a custom resource definition.
    pub fn compile(gvk: GroupVersionKind, version: &Value, preserve_unknown_fields: bool) -> Result<Self, Error> {
        let preserve = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let schema = version.pointer("/schema/openAPIV3Schema").filter(|schema| schema.is_object()).unwrap_or(&preserve);
        let mut node = Node::compile(schema)?;
        node.preserve_unknown |= preserve_unknown_fields;
        let has_status = version.pointer("/subresources/status").is_some_and(Value::is_object);
        Ok(Self { ty: merge_type(schema, preserve_unknown_fields), gvk, node, has_status })
    }

    pub fn type_handle(&self) -> &TypeHandle {
        &self.ty
    }

    /// Whether the status is a resource of its own.
    pub fn has_status(&self) -> bool {
        self.has_status
    }

    /// Reads a decoded object: nulls and defaults, then what the schema does not know goes. An error means that the
    /// object cannot be handled as one of this kind (400).
    pub fn read(&self, object: &mut Value) -> Result<Pruned, FieldError> {
        super::check_embedded_types(object, &self.node)?;
        super::apply_defaults(object, &self.node);
        Ok(super::prune(object, &self.node))
    }

    /// Adds defaults: what is read from the storage has them, whatever was taken out on the way there.
    pub fn fill(&self, object: &mut Value) {
        super::apply_defaults(object, &self.node);
    }

    /// Adds defaults to what an apply has merged. A null that it left behind stays.
    pub fn fill_merged(&self, object: &mut Value) {
        super::fill_defaults(object, &self.node);
    }

    /// What is wrong with a new object, or with an update of an old one; its metadata aside.
    pub fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut errors = match old {
            Some(old) => validate::validate_update("", object, old, &self.node),
            None => validate::validate("", object, &self.node),
        };
        errors.extend(rules::check(object, old, &self.node, &errors));
        errors
    }

    /// What is wrong with a new status; the rest of the object has not changed.
    pub fn validate_status(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let Some(node) = self.node.property("status") else { return Vec::new() };
        let mut errors = Vec::new();
        if let Some(status) = object.get("status") {
            errors = validate::validate_update("status", status, old.get("status").unwrap_or(&Value::Null), node);
        }
        errors.extend(rules::check(object, Some(old), &self.node, &errors));
        errors
    }
}

/// The type that a custom resource merges by: its schema, with the type and metadata that every object has.
fn merge_type(schema: &Value, preserve_unknown_fields: bool) -> TypeHandle {
    let mut types = Schema::new();
    if let Some(meta) = builtin::type_named(OBJECT_META) {
        types.graft(meta.schema(), meta.id());
    }
    let mut root = with_embedded(schema, 0);
    if let Some(root) = root.as_object_mut() {
        add_type_and_meta(root);
    }
    let mut compiler = Compiler::extend(types);
    let id = compiler.inline(&root, preserve_unknown_fields);
    TypeHandle::new(Arc::new(compiler.finish()), id)
}

fn add_type_and_meta(schema: &mut Map<String, Value>) {
    let properties = schema.entry("properties").or_insert_with(|| json!({}));
    if let Some(properties) = properties.as_object_mut() {
        properties.insert("apiVersion".to_owned(), json!({"type": "string"}));
        properties.insert("kind".to_owned(), json!({"type": "string"}));
        properties.insert("metadata".to_owned(), json!({"$ref": format!("#/components/schemas/{OBJECT_META}")}));
    }
}

/// The schema with the type and metadata of embedded objects declared.
fn with_embedded(schema: &Value, depth: usize) -> Value {
    let Some(map) = schema.as_object().filter(|_| depth < super::DEPTH_MAX) else { return schema.clone() };
    let mut out = map.clone();
    for key in ["items", "additionalProperties"] {
        if let Some(below) = out.get_mut(key) {
            *below = with_embedded(below, depth + 1);
        }
    }
    if let Some(properties) = out.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(|below| *below = with_embedded(below, depth + 1));
    }
    // Alternatives say nothing of how a value merges, and a reference is no part of a custom schema.
    out.retain(|key, _| !matches!(key.as_str(), "allOf" | "anyOf" | "oneOf" | "not" | "$ref"));
    if out.get("x-kubernetes-embedded-resource") == Some(&Value::Bool(true)) {
        add_type_and_meta(&mut out);
    }
    if out.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        out.shift_remove("type");
    }
    Value::Object(out)
}

/// The built-in kinds together with some custom ones.
#[derive(Debug, Clone, Default)]
pub struct CustomTypes {
    kinds: HashMap<GroupVersionKind, Arc<CustomKind>>,
}

impl CustomTypes {
    pub fn insert(&mut self, kind: Arc<CustomKind>) {
        self.kinds.insert(kind.gvk.clone(), kind);
    }

    pub fn remove(&mut self, gvk: &GroupVersionKind) {
        self.kinds.remove(gvk);
    }

    /// The versions of the custom kinds.
    pub fn api_versions(&self) -> impl Iterator<Item = String> {
        self.kinds.keys().map(GroupVersionKind::api_version)
    }

    pub fn get(&self, gvk: &GroupVersionKind) -> Option<&Arc<CustomKind>> {
        self.kinds.get(gvk)
    }
}

impl TypeSource for CustomTypes {
    fn type_of(&self, gvk: &GroupVersionKind) -> Option<TypeHandle> {
        self.kinds.get(gvk).map(|kind| kind.ty.clone()).or_else(|| builtin::type_of(gvk))
    }

    fn empty(&self, gvk: &GroupVersionKind) -> Value {
        if self.kinds.contains_key(gvk) {
            return json!({"apiVersion": gvk.api_version(), "kind": gvk.kind});
        }
        builtin::Builtin.empty(gvk)
    }
}
