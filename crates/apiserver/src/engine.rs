//! Where the merge engine plugs in: what a resource's schema says about its objects.
//!
//! ```text
//! Resource ──► types (built-in, or a CRD's) ──► patch, apply, ownership, defaults, pruning, validation
//! ```

use crate::protocol::status::{Cause, Result, Status};
use crate::registry::Resource;
use merge::field::FieldError;
use merge::managed;
use merge::schema::{TypeHandle, TypeSource};
use merge::structural::{CustomKind, CustomTypes};
use object::GroupVersionKind;
use serde_json::{Value, json};
use std::sync::Arc;

/// The schema of one version of a custom resource, and those of its other versions: ownership is kept per version.
pub struct Structural {
    kind: Arc<CustomKind>,
    siblings: Arc<CustomTypes>,
}

impl Structural {
    /// Compiles the served versions of a definition, in their order.
    pub fn compile_all(versions: &[(GroupVersionKind, &Value)], preserve_unknown: bool) -> Vec<Self> {
        let mut siblings = CustomTypes::default();
        let kinds: Vec<Arc<CustomKind>> = versions
            .iter()
            .filter_map(|(gvk, version)| {
                // A schema that cannot be compiled was refused when the definition was written.
                let open = Value::Object(serde_json::Map::new());
                let kind = CustomKind::compile(gvk.clone(), version, preserve_unknown)
                    .or_else(|_| CustomKind::compile(gvk.clone(), &open, true))
                    .ok()?;
                Some(Arc::new(kind))
            })
            .collect();
        for kind in &kinds {
            siblings.insert(Arc::clone(kind));
        }
        let siblings = Arc::new(siblings);
        kinds.into_iter().map(|kind| Self { kind, siblings: Arc::clone(&siblings) }).collect()
    }
}

/// The kinds that a write to a resource may speak of.
struct Types<'a>(&'a Resource);

impl TypeSource for Types<'_> {
    fn type_of(&self, gvk: &GroupVersionKind) -> Option<TypeHandle> {
        match &self.0.custom {
            Some(custom) => custom.structural.siblings.type_of(gvk),
            None => merge::builtin::type_of(gvk),
        }
    }

    fn empty(&self, gvk: &GroupVersionKind) -> Value {
        match &self.0.custom {
            Some(custom) => custom.structural.siblings.empty(gvk),
            None => {
                let mut empty = merge::builtin::Builtin.empty(gvk);
                if self.0.table.as_ref() == "events" && gvk.group.is_empty() {
                    // Go writes these two even when they are empty.
                    empty["reportingComponent"] = Value::from("");
                    empty["reportingInstance"] = Value::from("");
                }
                empty
            }
        }
    }
}

/// Who writes, and through which door.
pub struct Writer<'a> {
    pub resource: &'a Resource,
    pub subresource: &'a str,
    pub manager: &'a str,
    pub now: &'a str,
}

impl Writer<'_> {
    fn reset(&self) -> managed::Set {
        match &self.resource.custom {
            Some(custom) => managed::reset_fields_custom(custom.status, self.subresource),
            None => managed::reset_fields(&self.resource.gvk(), self.subresource),
        }
    }

    /// Server-side apply.
    pub fn apply(&self, live: Option<&Value>, applied: &Value, force: bool) -> Result<Value> {
        let gvk = self.resource.gvk();
        let request = managed::Request {
            manager: self.manager,
            gvk: &gvk,
            subresource: self.subresource,
            force,
            now: self.now,
            reset: &self.reset(),
        };
        managed::apply(live, applied, &request, &Types(self.resource)).map_err(|error| match error {
            managed::ApplyError::Conflict(conflicts) => {
                let causes = conflicts.0.iter().map(|c| Cause::new("FieldManagerConflict", c.field(), c.message())).collect();
                Status::apply_conflict(conflicts.to_string(), causes)
            }
            managed::ApplyError::BadRequest(why) => Status::bad_request(why),
            managed::ApplyError::Typed(why) => Status::new(500, "", why),
        })
    }

    /// Gives the fields that a create, update or patch changed to its manager.
    pub fn update(&self, live: Option<&Value>, new: Value) -> Value {
        let gvk = self.resource.gvk();
        let reset = self.reset();
        let request = managed::Request {
            manager: self.manager,
            gvk: &gvk,
            subresource: self.subresource,
            force: false,
            now: self.now,
            reset: &reset,
        };
        if self.subresource == "scale"
            && let Some(live) = live
        {
            return self.scaled(live, new, &request);
        }
        managed::update(live, new, &request, &Types(self.resource))
    }

    /// Ownership of a write through the scale: it is that of a scale, brought back.
    fn scaled(&self, live: &Value, mut new: Value, request: &managed::Request<'_>) -> Value {
        let path = self.resource.replicas_path();
        let api_version = self.resource.api_version();
        let elements: Vec<managed::PathElement> = path.iter().map(|key| managed::PathElement::field(key)).collect();
        let versions: Vec<String> = match &self.resource.custom {
            Some(custom) => custom.structural.siblings.api_versions().collect(),
            None => vec![api_version.clone()],
        };
        let replicas: Vec<_> = versions.iter().map(|version| (version.as_str(), Some(elements.clone()))).collect();
        let translation = managed::Scale { api_version: &api_version, replicas: &replicas };
        let owners = live.pointer("/metadata/managedFields");
        let Ok(before) = translation.to_scale(owners) else { return new };
        let scale = |object: &Value| {
            let count = path.iter().try_fold(object, |at, key| at.get(key.as_str())).and_then(Value::as_i64).unwrap_or(0);
            // As Go writes it: a count of nothing is left out.
            let spec = if count == 0 { json!({}) } else { json!({"replicas": count}) };
            let mut metadata = json!({"uid": object["metadata"]["uid"]});
            if before.as_array().is_some_and(|list| !list.is_empty()) {
                metadata["managedFields"] = before.clone();
            }
            json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec})
        };
        let gvk = GroupVersionKind::from_api_version("autoscaling/v1", "Scale");
        let request = managed::Request { gvk: &gvk, ..request.clone() };
        let after = managed::update(Some(&scale(live)), scale(&new), &request, &merge::builtin::Builtin);
        let Some(metadata) = new.get_mut("metadata").and_then(Value::as_object_mut) else { return new };
        match translation.to_parent(owners, after.pointer("/metadata/managedFields")) {
            Ok(Value::Array(owners)) if owners.is_empty() => {
                metadata.shift_remove("managedFields");
            }
            Ok(owners) => {
                metadata.insert("managedFields".to_owned(), owners);
            }
            Err(error) => tracing::debug!(error = %error, "the owners of a scale cannot be brought back"),
        }
        new
    }
}

fn patch_refused(error: merge::patch::Error) -> Status {
    use merge::patch::Error;
    let text = error.to_string();
    match error {
        Error::BadRequest(_) => Status::bad_request(text),
        Error::TooMany(_) => Status::new(413, "RequestEntityTooLarge", text),
        Error::Unprocessable(_) => {
            let mut status = Status::new(422, "Invalid", "the server rejected our request due to an error in our request");
            status.details = Some(Box::default());
            tracing::debug!(error = text, "a patch cannot be applied");
            status
        }
        Error::Internal(_) => Status::internal(&text),
    }
}

/// RFC 7396.
pub fn merge_patch(target: &mut Value, patch: &Value) -> Result<()> {
    *target = merge::patch::merge(target, patch).map_err(patch_refused)?;
    Ok(())
}

/// RFC 6902.
pub fn json_patch(target: &mut Value, patch: &Value) -> Result<()> {
    *target = merge::patch::json(target, patch).map_err(patch_refused)?;
    Ok(())
}

/// Strategic merge, which knows the keys of lists.
pub fn strategic_patch(resource: &Resource, target: &mut Value, patch: &Value) -> Result<()> {
    let ty = merge::builtin::type_of(&resource.gvk()).ok_or_else(|| Status::internal("the kind has no schema"))?;
    *target = merge::patch::strategic(target, patch, &ty).map_err(patch_refused)?;
    Ok(())
}

/// Reads a decoded object as one of its kind: what the schema does not know goes and is told, defaults come.
pub fn read(resource: &Resource, object: &mut Value) -> Result<Vec<String>> {
    let refuse = |why: &dyn std::fmt::Display| {
        Status::bad_request(format!("{} in version {:?} cannot be handled as a {}: {why}", resource.kind, resource.version, resource.kind))
    };
    match &resource.custom {
        Some(custom) => {
            let unknown = custom.structural.kind.read(object).map(|pruned| pruned.unknown).map_err(|error| refuse(&error))?;
            drop_empty_metadata(object);
            Ok(unknown)
        }
        None => {
            let gvk = resource.gvk();
            let unknown = merge::builtin::read(object, &gvk).map_err(|error| refuse(&error))?;
            merge::builtin::apply_defaults(object, &gvk);
            if resource.is("apiextensions.k8s.io", "customresourcedefinitions") {
                crate::registry::crd::default(object);
            }
            Ok(unknown)
        }
    }
}

/// Metadata is read into a Go struct and written again, which leaves nothing empty in it.
fn drop_empty_metadata(object: &mut Value) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    metadata.retain(|key, value| match value {
        Value::Null => false,
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => !list.is_empty() || key == "managedFields",
        Value::String(text) => !text.is_empty(),
        _ => true,
    });
}

/// Reads what an apply made of a stored object and a configuration. Of a custom resource, a null stays where the last field of an
/// object was taken away, as in a real server: whether it may be there is for the schema to say.
pub fn read_merged(resource: &Resource, object: &mut Value) -> Result<()> {
    match &resource.custom {
        Some(custom) => {
            custom.structural.kind.fill_merged(object);
            drop_empty_metadata(object);
            Ok(())
        }
        None => read(resource, object).map(|_| ()),
    }
}

/// What an object has once it was read from the storage: defaults, whatever was taken out on the way there.
pub fn fill(resource: &Resource, object: &mut Value) {
    if let Some(custom) = &resource.custom {
        custom.structural.kind.fill(object);
    }
}

/// The type of the objects of a resource, as expressions see them.
pub fn declared(resource: &Resource) -> Option<Arc<merge::cel::Declared>> {
    Types(resource).type_of(&resource.gvk()).map(|ty| merge::cel::declared_of(&ty))
}

/// Merges what a policy wants set into an object, without regard to who owns what.
pub fn merge_configuration(resource: &Resource, object: &Value, mut wanted: Value) -> std::result::Result<Value, String> {
    let ty = Types(resource).type_of(&resource.gvk()).ok_or_else(|| "the kind has no schema".to_owned())?;
    if !wanted.is_object() {
        return Err("the expression made no object".to_owned());
    }
    wanted["apiVersion"] = object["apiVersion"].clone();
    wanted["kind"] = object["kind"].clone();
    managed::typed::validate(&ty, &wanted, false).map_err(|error| format!("failed to convert patch object to typed object: {error}"))?;
    let whole = managed::typed::atomic_parts(&ty, &wanted);
    if !whole.is_empty() {
        return Err(format!("invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {}", whole.join(", ")));
    }
    Ok(managed::typed::merge(&ty, object, &wanted))
}

/// What a real server adds while it converts, so that the writer owns it.
pub fn convert(resource: &Resource, object: &mut Value) {
    if resource.is("apps", "daemonsets") {
        merge::builtin::read_template_generation(object);
    }
}

/// What the admission plugins of a real server add.
pub fn admit(resource: &Resource, object: &mut Value, old: Option<&Value>) {
    if resource.custom.is_none() {
        merge::builtin::admit(object, old, &resource.gvk());
    }
}

pub fn causes(errors: Vec<FieldError>) -> Vec<Cause> {
    errors.into_iter().map(|error| Cause { reason: error.reason.as_str().to_owned(), message: error.message, field: error.field }).collect()
}

/// What is wrong with an object, by its schema and by the rules of its kind.
pub fn validate(resource: &Resource, subresource: &str, object: &Value, old: Option<&Value>) -> Vec<Cause> {
    match &resource.custom {
        Some(custom) => {
            let mut errors = merge::validation::validate_metadata(resource.namespaced, object, old);
            errors.extend(match (subresource, old) {
                ("status", Some(old)) => custom.structural.kind.validate_status(object, old),
                _ => custom.structural.kind.validate(object, old),
            });
            causes(errors)
        }
        None => {
            let mut out = causes(merge::validation::validate(&resource.gvk(), resource.namespaced, object, old));
            if resource.is("apiextensions.k8s.io", "customresourcedefinitions") {
                out.extend(crate::registry::definition::validate(object, old));
            }
            // What is stored was compiled then; only what changes is looked at.
            if old.is_none_or(|old| old.get("spec") != object.get("spec")) {
                out.extend(crate::policy::problems(resource, object));
            }
            out
        }
    }
}

/// Nothing but the times of ownership differs: not worth a write.
pub fn same(a: &Value, b: &Value) -> bool {
    managed::same_but_for_times(a, b)
}
