//! What Kubernetes 1.36 says of its own kinds: types, discovery and OpenAPI documents, built into the program.
//!
//! ```text
//! data/kubernetes.pack --types()--> Schema             (merging, validation)
//!                      --discovery()--> Group*         (REST routes, short names, verbs)
//!                      --discovery_document(), openapi_v3(), openapi_v2()--> bytes to serve
//! ```
//!
//! `cargo run -p xtask -- schemas DIR` writes the pack from the answers of a running API server.

mod defaults;
mod discovery;
mod read;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use object::GroupVersionKind;

use serde_json::{Map, Value};

use crate::schema::{Pack, PackError, Schema, TypeHandle, TypeId, TypeSource};

pub use defaults::{admit, apply_defaults, read_template_generation};
pub use discovery::{Group, Resource, Subresource, Version};
pub use read::{ReadError, read, read_as};

/// Structs hold structs no deeper than this.
const STRUCTS_DEPTH_MAX: usize = 16;

static DATA: &[u8] = include_bytes!("../../data/kubernetes.pack");

/// The types of all built-in kinds.
pub fn schema() -> &'static Arc<Schema> {
    static SCHEMA: OnceLock<Arc<Schema>> = OnceLock::new();
    SCHEMA.get_or_init(|| Arc::new(pack().and_then(|pack| pack.schema()).expect("the pack is part of the program and tested")))
}

/// The type of a built-in kind.
pub fn type_of(gvk: &GroupVersionKind) -> Option<TypeHandle> {
    schema().kind(gvk).map(|id| TypeHandle::new(Arc::clone(schema()), id))
}

/// The type of a definition by its full name, such as `io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta`.
pub fn type_named(name: &str) -> Option<TypeHandle> {
    schema().named(name).map(|id| TypeHandle::new(Arc::clone(schema()), id))
}

/// The built-in kinds as a source of types.
#[derive(Debug, Clone, Copy, Default)]
pub struct Builtin;

impl TypeSource for Builtin {
    fn type_of(&self, gvk: &GroupVersionKind) -> Option<TypeHandle> {
        type_of(gvk)
    }

    /// A Go struct always writes its struct fields, so an empty object has them.
    fn empty(&self, gvk: &GroupVersionKind) -> Value {
        let mut out = Map::from_iter([
            ("apiVersion".to_owned(), Value::from(gvk.api_version())),
            ("kind".to_owned(), Value::from(gvk.kind.as_str())),
        ]);
        if let Some(ty) = type_of(gvk) {
            fill_structs(ty.schema(), ty.id(), &mut out, 0);
        }
        Value::Object(out)
    }
}

/// Adds what Go writes of a struct that holds nothing: its structs, and the zero values of fields without `omitempty`.
fn fill_structs(schema: &Schema, id: TypeId, out: &mut Map<String, Value>, depth: usize) {
    let fields = schema.get(id).map.as_ref().map(|map| map.fields.as_slice()).unwrap_or_default();
    for (at, field) in fields.iter().enumerate().filter(|_| depth < STRUCTS_DEPTH_MAX) {
        let zero = match &field.default {
            Some(Value::Object(empty)) if empty.is_empty() => {
                let mut below = Map::new();
                fill_structs(schema, field.ty, &mut below, depth + 1);
                Value::Object(below)
            }
            Some(default) if field.required => default.clone(),
            None if field.required => Value::Null,
            None if read::is_always_written(id, at) => match schema.get(field.ty).scalar {
                Some(crate::schema::Scalar::String) => Value::from(""),
                Some(crate::schema::Scalar::Numeric) => Value::from(0),
                Some(crate::schema::Scalar::Boolean) => Value::from(false),
                _ => Value::Null,
            },
            _ => continue,
        };
        out.insert((*field.name).to_owned(), zero);
    }
}

/// The groups of all built-in kinds, the core group first.
pub fn discovery() -> &'static [Group] {
    static GROUPS: OnceLock<Vec<Group>> = OnceLock::new();
    GROUPS.get_or_init(|| {
        let read = |core| discovery::read(&discovery_document(core)).expect("the pack is part of the program and tested");
        let mut groups = read(true);
        groups.extend(read(false));
        groups
    })
}

/// The aggregated discovery document (`APIGroupDiscoveryList`, v2) of `/api` or of `/apis`.
pub fn discovery_document(core: bool) -> Vec<u8> {
    document(if core { "discovery/api" } else { "discovery/apis" }).unwrap_or_default()
}

/// The paths of the OpenAPI v3 documents (`api/v1`, `apis/apps/v1`) with the hash that a real server gives them.
pub fn openapi_v3_paths() -> &'static HashMap<String, String> {
    static PATHS: OnceLock<HashMap<String, String>> = OnceLock::new();
    PATHS.get_or_init(|| {
        let index: Value = serde_json::from_slice(&document("openapi/v3/index").unwrap_or_default()).unwrap_or_default();
        let entries = index.get("paths").and_then(Value::as_object).cloned().unwrap_or_default();
        entries
            .into_iter()
            .filter(|(path, _)| openapi_v3_has(path))
            .filter_map(|(path, entry)| Some((path, entry.get("serverRelativeURL")?.as_str()?.split_once("hash=")?.1.to_owned())))
            .collect()
    })
}

fn openapi_v3_has(path: &str) -> bool {
    let name = format!("openapi/v3/{path}");
    pack().is_ok_and(|pack| pack.names().any(|section| section == name))
}

/// The OpenAPI v3 document of a path such as `apis/apps/v1`.
pub fn openapi_v3(path: &str) -> Option<Vec<u8>> {
    document(&format!("openapi/v3/{path}"))
}

/// The OpenAPI v2 document of all built-in groups.
pub fn openapi_v2() -> Vec<u8> {
    document("openapi/v2").unwrap_or_default()
}

fn document(name: &str) -> Option<Vec<u8>> {
    pack().ok()?.section(name).ok()
}

fn pack() -> Result<Pack<'static>, PackError> {
    Pack::open(DATA)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::ListKind;

    #[test]
    fn every_resource_that_discovery_names_has_a_type() {
        let mut count = 0;
        for group in discovery() {
            for version in &group.versions {
                for resource in &version.resources {
                    let gvk = GroupVersionKind::new(&group.name, &version.version, &resource.kind);
                    assert!(type_of(&gvk).is_some(), "{gvk}");
                    count += 1;
                }
            }
        }
        assert!(count > 60, "{count}");
    }

    #[test]
    fn every_group_version_has_an_openapi_document_with_what_kubectl_looks_for() {
        for group in discovery() {
            for version in &group.versions {
                let path = if group.name.is_empty() { "api/v1".to_owned() } else { format!("apis/{}/{}", group.name, version.version) };
                assert!(openapi_v3_paths().contains_key(&path), "{path}");
                let document = String::from_utf8(openapi_v3(&path).unwrap()).unwrap();
                for part in ["fieldValidation", "dryRun", "x-kubernetes-group-version-kind"] {
                    let expected = version.resources.iter().any(|resource| resource.verbs.iter().any(|verb| verb == "patch"));
                    assert!(document.contains(part) || !expected, "{path} lacks {part}");
                }
            }
        }
    }

    #[test]
    fn list_kinds_keys_and_defaults_are_those_of_the_server() {
        let pod = type_of(&GroupVersionKind::new("", "v1", "Pod")).unwrap();
        let containers = pod.at(&["spec", "containers"]).unwrap();
        let list = containers.get().list.as_ref().unwrap();
        assert_eq!((list.kind, list.keys.as_slice()), (ListKind::Map, &["name".into()][..]));
        let container = pod.schema().get(list.element).map.as_ref().unwrap();
        let ports = container.field("ports").unwrap();
        assert_eq!(ports.patch.merge_key.as_deref(), Some("containerPort"));
        let ports = pod.schema().get(ports.ty).list.as_ref().unwrap();
        assert_eq!(ports.keys, ["containerPort".into(), "protocol".into()]);
        let port = pod.schema().get(ports.element).map.as_ref().unwrap();
        assert_eq!(port.field("protocol").unwrap().default, Some("TCP".into()));
        assert!(pod.at(&["spec", "nodeSelector"]).unwrap().get().map.as_ref().unwrap().atomic);
        let deployment = type_of(&GroupVersionKind::new("apps", "v1", "Deployment")).unwrap();
        let spec = deployment.at(&["spec"]).unwrap();
        assert!(spec.get().map.as_ref().unwrap().field("strategy").unwrap().patch.retain_keys);
        assert!(deployment.at(&["spec", "selector"]).unwrap().get().map.as_ref().unwrap().atomic);
    }
}
