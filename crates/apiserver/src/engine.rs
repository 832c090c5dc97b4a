//! Where the merge engine plugs in: what a resource's schema says about its objects.
//!
//! ```text
//! Resource ──► types (built-in, or a CRD's) ──► patch, apply, ownership, defaults, pruning, validation
//! ```

use crate::protocol::status::{Cause, Result, Status};
use crate::registry::Resource;
use merge::managed;
use merge::schema::{TypeHandle, TypeSource};
use object::GroupVersionKind;
use serde_json::Value;

/// The schema of one version of a custom resource.
pub struct Structural {
    ty: TypeHandle,
}

impl Structural {
    pub fn compile(_schema: &Value, _preserve_unknown: bool) -> Self {
        Self { ty: TypeHandle::deduced() }
    }
}

/// The kinds that a write to a resource may speak of.
struct Types<'a>(&'a Resource);

impl TypeSource for Types<'_> {
    fn type_of(&self, gvk: &GroupVersionKind) -> Option<TypeHandle> {
        match &self.0.custom {
            Some(custom) => (gvk.group == self.0.group).then(|| custom.structural.ty.clone()),
            None => merge::builtin::type_of(gvk),
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
        managed::update(live, new, &request, &Types(self.resource))
    }
}

fn patch_refused(error: merge::patch::Error) -> Status {
    use merge::patch::Error;
    let text = error.to_string();
    match error {
        Error::BadRequest(_) => Status::bad_request(text),
        Error::TooMany(_) => Status::new(413, "RequestEntityTooLarge", text),
        Error::Unprocessable(_) => Status::new(422, "", text),
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

/// Fields that the schema does not know are taken away, and told.
pub fn prune(_resource: &Resource, _object: &mut Value) -> Vec<String> {
    Vec::new()
}

/// Fields of an applied configuration that the schema does not know; they are taken away.
pub fn unknown_in_applied(resource: &Resource, config: &mut Value) -> Vec<String> {
    prune(resource, config)
}

/// Fills in what the author left out.
pub fn default(_resource: &Resource, _object: &mut Value) {}

/// What is wrong with an object, by its schema and by the rules of its kind.
pub fn validate(_resource: &Resource, _subresource: &str, _object: &Value, _old: Option<&Value>) -> Vec<Cause> {
    Vec::new()
}

/// Nothing but the times of ownership differs: not worth a write.
pub fn same(a: &Value, b: &Value) -> bool {
    managed::same_but_for_times(a, b)
}
