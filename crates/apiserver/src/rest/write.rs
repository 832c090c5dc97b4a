//! Create, update, patch and apply.
//!
//! ```text
//! body ──► object as asked for ──► admit: strategy, defaults, pruning, checks, ownership ──► store (or not, in a dry run)
//!                 ▲                                                                            │ changed meanwhile
//!                 └────────────────────────────────────────────────────────────────────────────┘
//! ```

use super::body::{self, FieldValidation};
use super::read::namespace_of;
use super::{Context, Reply, view};
use crate::api::{child, now, refusal, text};
use crate::engine::{self, Writer};
use crate::protocol::negotiate::media_type;
use crate::protocol::status::{Cause, Result, Status};
use crate::quota;
use crate::registry::Resource;
use crate::store::{Draft, Expect, Record, Refused, Uid};
use crate::{allocate, controllers, limits, strategy};
use serde_json::{Value, json};
use std::sync::Arc;

/// A patch that does not insist on a version is tried so often when others write too.
const TRIES: usize = 10;

pub fn create(context: &Context) -> Result<Reply> {
    let dry_run = context.dry_run()?;
    let validation = FieldValidation::of(context)?;
    let manager = context.manager()?;
    let decoded = body::decode(context)?;
    let mut problems = decoded.problems;
    let mut object = decoded.value;
    check_type(context, &mut object)?;
    check_namespace(context, &mut object)?;
    let places = body::places(&context.resource, &object, problems.len());
    let unknown = engine::read(&context.resource, &mut object)?;
    problems.extend(unknown.into_iter().map(|field| format!("unknown field \"{field}\"")));
    body::in_order(&mut problems, &places);
    validation.judge(context, problems)?;
    if !text(&object, "/metadata/resourceVersion").is_empty() {
        return Err(Status::new(500, "", "resourceVersion should not be set on objects to be created"));
    }
    let (record, _) = insert(context, object, manager, None, dry_run)?;
    view::object(context, 201, &record)
}

/// Stores a new object. `applied` says that its owners are known already.
fn insert(context: &Context, mut object: Value, manager: &str, applied: Option<&str>, dry_run: bool) -> Result<(Arc<Record>, bool)> {
    let resource = &context.resource;
    let namespace = namespace_of(resource, &context.target.namespace).to_owned();
    let at = now();
    let generated = text(&object, "/metadata/name").is_empty() && !text(&object, "/metadata/generateName").is_empty();
    let base = text(&object, "/metadata/generateName").to_owned();
    let fresh = |object: &mut Value| {
        let metadata = child(object, "metadata");
        metadata.insert("uid".to_owned(), Value::from(Uid::random().to_string()));
        metadata.insert("creationTimestamp".to_owned(), Value::from(at.as_str()));
        for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion"] {
            metadata.shift_remove(field);
        }
        if !namespace.is_empty() {
            metadata.insert("namespace".to_owned(), Value::from(namespace.as_str()));
        }
    };
    if applied.is_none() {
        // Ownership is of what the client sent, before the server adds to it.
        engine::convert(resource, &mut object);
        for field in ["deletionTimestamp", "deletionGracePeriodSeconds"] {
            child(&mut object, "metadata").shift_remove(field);
        }
        let writer = Writer { resource, subresource: "", manager, now: &at };
        object = writer.update(None, object);
    }
    controllers::admission::mutate(context, &mut object, None)?;
    for _ in 0..TRIES {
        // Only who is named here is tried again.
        let mut candidate = if generated { object.clone() } else { std::mem::take(&mut object) };
        if generated {
            child(&mut candidate, "metadata").insert("name".to_owned(), Value::from(generated_name(&base)));
        }
        fresh(&mut candidate);
        let name = text(&candidate, "/metadata/name").to_owned();
        strategy::prepare_create(resource, &mut candidate);
        engine::admit(resource, &mut candidate, None);
        let reserved = allocate::for_create(&context.api, resource, &mut candidate)?;
        let mut causes = kind_problem(resource, &candidate);
        causes.extend(engine::validate(resource, "", &candidate, None));
        if !causes.is_empty() {
            allocate::release(&context.api, &reserved);
            return Err(Status::invalid(&resource.group, text(&candidate, "/kind"), &name, dedup(causes)));
        }
        let admitted = controllers::admission::admit(context, &mut candidate, None)
            .and_then(|()| quota::charge(&context.api, resource, "", &candidate, None, dry_run));
        let charge = match admitted {
            Ok(charge) => charge,
            Err(status) => {
                allocate::release(&context.api, &reserved);
                return Err(status);
            }
        };
        engine::fill(resource, &mut candidate);
        view::to_stored(resource, &mut candidate);
        let key = resource.key(&namespace, &name);
        if dry_run {
            let checked = context.api.store.may_create(&key);
            checked.map_err(|refused| refusal(resource, &namespace, &name, refused))?;
            if let Some(there) = context.api.store.get(&resource.table, &key) {
                return Err(refusal(resource, &namespace, &name, Refused::Exists(there)));
            }
            allocate::release(&context.api, &reserved);
            return Ok((Arc::new(Draft::new(&candidate).unversioned(Arc::from(key))), true));
        }
        match context.api.store.put(&resource.table, &key, Expect::Absent, Draft::new(&candidate)) {
            Ok(record) => {
                if let Some(charge) = charge {
                    charge.keep();
                }
                controllers::after_write(&context.api, resource, &record);
                return Ok((record, true));
            }
            Err(Refused::Exists(_)) if generated => {
                allocate::release(&context.api, &reserved);
            }
            Err(refused) => {
                allocate::release(&context.api, &reserved);
                return Err(refusal(resource, &namespace, &name, refused));
            }
        }
    }
    Err(Status::already_exists(&resource.group, &resource.name, &base))
}

/// The base, cut to leave room, and five letters that cannot spell a word.
fn generated_name(base: &str) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let cut = base.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= 58).last().unwrap_or(0);
    let mut out = base[..cut].to_owned();
    for _ in 0..5 {
        out.push(char::from(LETTERS[rand::random_range(0..LETTERS.len())]));
    }
    out
}

/// Another kind of the same group is told as a wrong field of a custom resource.
fn kind_problem(resource: &Resource, object: &Value) -> Vec<Cause> {
    let kind = text(object, "/kind");
    if resource.custom.is_none() || kind == resource.kind {
        return Vec::new();
    }
    vec![Cause::invalid("kind", &Value::from(kind), &format!("must be {}", resource.kind))]
}

fn dedup(mut causes: Vec<Cause>) -> Vec<Cause> {
    let mut seen: Vec<Cause> = Vec::with_capacity(causes.len());
    causes.retain(|cause| {
        let fresh = !seen.contains(cause);
        if fresh {
            seen.push(cause.clone());
        }
        fresh
    });
    causes
}

/// The body must be of the kind that the path names. Built-in kinds may leave it out.
fn check_type(context: &Context, object: &mut Value) -> Result<()> {
    let resource = &context.resource;
    // Nothing at all is an object without fields.
    if object.is_null() {
        *object = json!({});
    }
    if !object.is_object() {
        let what = merge_type_name(object);
        return Err(Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): couldn't get version/kind; json parse error: json: cannot unmarshal {what} into Go value of type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }} ({})",
            resource.kind,
            body::summary(&context.body)
        )));
    }
    let (api_version, kind) = (text(object, "/apiVersion").to_owned(), text(object, "/kind").to_owned());
    if resource.custom.is_some() && (kind.is_empty() || api_version.is_empty()) {
        let what = if kind.is_empty() { "Kind" } else { "apiVersion" };
        let sent = String::from_utf8_lossy(&context.body).into_owned();
        return Err(Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): Object '{what}' is missing in '{}' ({})",
            resource.kind,
            sent.get(..2000).unwrap_or(&sent),
            body::summary(&context.body)
        )));
    }
    let wanted = resource.api_version();
    let sub = context.resource.subresource(&context.target.subresource);
    let expected_kind = sub.map_or(resource.kind.as_str(), |s| s.kind.as_str());
    if !kind.is_empty() && kind != expected_kind && resource.custom.is_none() && context.target.subresource.is_empty() {
        return Err(Status::bad_request(format!(
            "{kind} in version \"{}\" cannot be handled as a {}: converting ({}.{kind}) to ({}): unknown conversion",
            api_version.rsplit('/').next().unwrap_or(""),
            resource.kind,
            api_version.rsplit('/').next().unwrap_or(""),
            resource.go_type()
        )));
    }
    if !api_version.is_empty()
        && api_version != wanted
        && resource.custom.is_none()
        && api_version.split('/').count() == wanted.split('/').count()
    {
        let version = api_version.rsplit('/').next().unwrap_or("");
        return Err(Status::bad_request(format!(
            "{0} in version \"{version}\" cannot be handled as a {0}: no kind \"{0}\" is registered for version \"{api_version}\" in scheme \"pkg/runtime/scheme.go:111\"",
            resource.kind
        )));
    }
    if !api_version.is_empty() && api_version != wanted {
        return Err(Status::bad_request(format!(
            "the API version in the data ({api_version}) does not match the expected API version ({wanted})"
        )));
    }
    if let Some(map) = object.as_object_mut() {
        map.insert("apiVersion".to_owned(), Value::from(wanted));
        if resource.custom.is_none() || !context.target.subresource.is_empty() {
            map.insert("kind".to_owned(), Value::from(resource.kind.as_str()));
        }
        match map.get("metadata") {
            None | Some(Value::Null) => {
                map.insert("metadata".to_owned(), json!({}));
            }
            Some(Value::Object(_)) => {}
            Some(other) => {
                return Err(Status::bad_request(format!(
                    "{} in version \"{}\" cannot be handled as a {}: json: cannot unmarshal {} into Go struct field {}.metadata of type v1.ObjectMeta",
                    resource.kind,
                    resource.version,
                    resource.kind,
                    merge_type_name(other),
                    resource.kind
                )));
            }
        }
    }
    // Built-in kinds are read whole by the engine, in the words of Go's decoder.
    if resource.custom.is_some() { check_metadata_types(resource, object) } else { Ok(()) }
}

/// Metadata of the wrong JSON type cannot be decoded by a real server either.
fn check_metadata_types(resource: &Resource, object: &Value) -> Result<()> {
    let refuse = |field: &str, value: &Value, wanted: &str| {
        Status::bad_request(format!(
            "{} in version \"{}\" cannot be handled as a {}: json: cannot unmarshal {} into Go struct field ObjectMeta.metadata.{field} of type {wanted}",
            resource.kind,
            resource.version,
            resource.kind,
            merge_type_name(value)
        ))
    };
    let Some(metadata) = object.get("metadata").and_then(Value::as_object) else { return Ok(()) };
    for (field, value) in metadata {
        let fits = match field.as_str() {
            "name" | "generateName" | "namespace" | "uid" | "resourceVersion" | "selfLink" | "creationTimestamp" | "deletionTimestamp" => {
                value.is_string() || value.is_null()
            }
            "labels" | "annotations" => {
                value.is_null() || value.as_object().is_some_and(|map| map.values().all(|v| v.is_string() || v.is_null()))
            }
            "finalizers" => value.is_null() || value.as_array().is_some_and(|list| list.iter().all(Value::is_string)),
            "ownerReferences" | "managedFields" => {
                value.is_null() || value.as_array().is_some_and(|list| list.iter().all(Value::is_object))
            }
            "generation" | "deletionGracePeriodSeconds" => value.is_null() || value.is_i64(),
            _ => true,
        };
        if !fits {
            let (value, wanted) = match field.as_str() {
                "labels" | "annotations" => match value.as_object().and_then(|map| map.values().find(|v| !v.is_string())) {
                    Some(inner) => (inner, "string"),
                    None => (value, "map[string]string"),
                },
                "finalizers" => (value, "[]string"),
                "ownerReferences" => (value, "[]v1.OwnerReference"),
                "managedFields" => (value, "[]v1.ManagedFieldsEntry"),
                "generation" | "deletionGracePeriodSeconds" => (value, "int64"),
                _ => (value, "string"),
            };
            return Err(refuse(field, value, wanted));
        }
    }
    Ok(())
}

/// What Go's decoder calls a JSON value.
fn merge_type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn check_namespace(context: &Context, object: &mut Value) -> Result<()> {
    let wanted = namespace_of(&context.resource, &context.target.namespace);
    let given = text(object, "/metadata/namespace").to_owned();
    if wanted.is_empty() {
        // As EnsureObjectNamespaceMatchesRequestNamespace: a cluster-scoped object loses its namespace.
        child(object, "metadata").shift_remove("namespace");
        return Ok(());
    }
    if !given.is_empty() && given != wanted {
        return Err(Status::bad_request("the namespace of the provided object does not match the namespace sent on the request"));
    }
    child(object, "metadata").insert("namespace".to_owned(), Value::from(wanted));
    Ok(())
}

pub fn update(context: &Context) -> Result<Reply> {
    let dry_run = context.dry_run()?;
    let validation = FieldValidation::of(context)?;
    let manager = context.manager()?.to_owned();
    let resource = &context.resource;
    let decoded = body::decode(context)?;
    let mut problems = decoded.problems;
    let mut object = decoded.value;
    check_type(context, &mut object)?;
    check_namespace(context, &mut object)?;
    check_name(context, &mut object)?;
    let places = body::places(resource, &object, problems.len());
    let unknown = engine::read(resource, &mut object)?;
    problems.extend(unknown.into_iter().map(|field| format!("unknown field \"{field}\"")));
    body::in_order(&mut problems, &places);
    validation.judge(context, problems)?;
    let namespace = namespace_of(resource, &context.target.namespace);
    let key = resource.key(namespace, &context.target.name);
    if context.api.store.get(&resource.table, &key).is_none()
        && strategy::may_create_on_update(resource)
        && context.target.subresource.is_empty()
    {
        context.api.access.check(&context.api, &context.user, &crate::access::Attributes { verb: "create", ..context.attributes() })?;
        child(&mut object, "metadata").shift_remove("resourceVersion");
        let (record, _) = insert(context, object, &manager, None, dry_run)?;
        return view::object(context, 201, &record);
    }
    let change = |_: &Value| Ok(object.clone());
    let record = replace(context, &context.target.subresource, &manager, dry_run, false, &change)?;
    view::object(context, 200, &record)
}

fn check_name(context: &Context, object: &mut Value) -> Result<()> {
    let (given, wanted) = (text(object, "/metadata/name").to_owned(), &context.target.name);
    if given.is_empty() {
        return Err(Status::bad_request(format!(
            "the name of the object ({wanted} based on URL) was undeterminable: name must be provided"
        )));
    } else if given != *wanted {
        return Err(Status::bad_request(format!("the name of the object ({given}) does not match the name on the URL ({wanted})")));
    }
    Ok(())
}

/// Changes a stored object: `change` makes the new one out of the one that is there, in the version of the request.
pub fn replace(
    context: &Context,
    subresource: &str,
    manager: &str,
    dry_run: bool,
    owned: bool,
    change: &dyn Fn(&Value) -> Result<Value>,
) -> Result<Arc<Record>> {
    let resource = &context.resource;
    let namespace = namespace_of(resource, &context.target.namespace);
    let name = &context.target.name;
    for _ in 0..TRIES {
        let record = context.api.get(resource, namespace, name)?;
        let old = view::value(resource, &record);
        let new = change(&old)?;
        let insists = text(&new, "/metadata/resourceVersion").to_owned();
        match attempt(context, subresource, manager, dry_run, owned, &record, &old, new) {
            // Only who did not name a version may be tried again on a newer one.
            Err(Attempt::Changed) if context.target.verb == "patch" || insists.is_empty() => {}
            Err(Attempt::Changed) => return Err(Status::modified(&resource.group, &resource.name, name)),
            Err(Attempt::Refused(status)) => return Err(status),
            Ok(record) => return Ok(record),
        }
    }
    Err(Status::modified(&resource.group, &resource.name, name))
}

enum Attempt {
    Changed,
    Refused(Status),
}

impl From<Status> for Attempt {
    fn from(status: Status) -> Self {
        Self::Refused(status)
    }
}

fn attempt(
    context: &Context,
    subresource: &str,
    manager: &str,
    dry_run: bool,
    owned: bool,
    record: &Arc<Record>,
    old: &Value,
    mut new: Value,
) -> Result<Arc<Record>, Attempt> {
    let resource = &context.resource;
    let name = &context.target.name;
    let namespace = namespace_of(resource, &context.target.namespace);
    let given = text(&new, "/metadata/resourceVersion").to_owned();
    if given.is_empty() || given == "0" {
        if strategy::needs_revision(resource) && context.target.verb == "update" {
            let cause = Cause::new("FieldValueInvalid", "metadata.resourceVersion", "Invalid value: 0: must be specified for an update");
            return Err(Status::invalid(&resource.group, &resource.name, name, vec![cause]).into());
        }
    } else {
        let Ok(revision) = given.parse::<u64>() else {
            return Err(Status::new(500, "", format!("strconv.ParseUint: parsing {given:?}: invalid syntax")).into());
        };
        if revision != record.revision {
            return Err(Status::modified(&resource.group, &resource.name, name).into());
        }
    }
    let (given_uid, uid) = (text(&new, "/metadata/uid"), text(old, "/metadata/uid"));
    if !given_uid.is_empty() && given_uid != uid {
        // The path is where etcd would hold the object: clients show this text.
        let place = match (&resource.custom, namespace) {
            (Some(_), "") => format!("{}/{}/{name}", resource.group, resource.name),
            (Some(_), namespace) => format!("{}/{}/{namespace}/{name}", resource.group, resource.name),
            (None, "") => format!("{}/{name}", resource.name),
            (None, namespace) => format!("{}/{namespace}/{name}", resource.name),
        };
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: /registry/{place}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {given_uid}, UID in object meta: {uid}"
        );
        return Err(Status::conflict(&resource.group, &resource.name, name, &why).into());
    }
    if !owned {
        let at = now();
        engine::convert(resource, &mut new);
        let writer = Writer { resource, subresource, manager, now: &at };
        new = writer.update(Some(old), new);
    }
    controllers::admission::mutate(context, &mut new, Some(old))?;
    keep_system_metadata(&mut new, old);
    if let Some(revision) = old.pointer("/metadata/resourceVersion") {
        child(&mut new, "metadata").insert("resourceVersion".to_owned(), revision.clone());
    }
    if subresource.is_empty() {
        engine::admit(resource, &mut new, Some(old));
    }
    strategy::prepare_update(resource, subresource, &mut new, old);
    let reserved = allocate::for_update(&context.api, resource, &mut new, old)?;
    let mut causes = kind_problem(resource, &new);
    causes.extend(engine::validate(resource, subresource, &new, Some(old)));
    if !causes.is_empty() {
        allocate::release(&context.api, &reserved);
        return Err(Status::invalid(&resource.group, &resource.kind, name, dedup(causes)).into());
    }
    let admitted = controllers::admission::admit(context, &mut new, Some(old))
        .and_then(|()| quota::charge(&context.api, resource, subresource, &new, Some(old), dry_run));
    let charge = match admitted {
        Ok(charge) => charge,
        Err(status) => {
            allocate::release(&context.api, &reserved);
            return Err(status.into());
        }
    };
    engine::fill(resource, &mut new);
    if engine::same(&new, old) {
        return Ok(Arc::clone(record));
    }
    // The last finalizer is gone: so is the object.
    let ends = controllers::may_go(resource, &new);
    view::to_stored(resource, &mut new);
    if dry_run {
        allocate::release(&context.api, &reserved);
        return Ok(Arc::new(Draft::new(&new).finish(Arc::clone(&record.key), record.revision)));
    }
    let draft = Draft::new(&new);
    let stored = if ends {
        context.api.store.remove(&resource.table, &record.key, record.revision, draft)
    } else {
        context.api.store.put(&resource.table, &record.key, Expect::Revision(record.revision), draft)
    };
    match stored {
        Ok(stored) => {
            if let Some(charge) = charge {
                charge.keep();
            }
            controllers::after_write(&context.api, resource, &stored);
            if ends {
                // What is gone is shown at the version at which it was last there.
                return Ok(Arc::new(Draft::new(&new).finish(Arc::clone(&record.key), record.revision)));
            }
            Ok(stored)
        }
        Err(Refused::Changed) => {
            allocate::release(&context.api, &reserved);
            Err(Attempt::Changed)
        }
        Err(refused) => {
            allocate::release(&context.api, &reserved);
            Err(refusal(resource, namespace, name, refused).into())
        }
    }
}

/// What only the server writes stays as it is.
fn keep_system_metadata(new: &mut Value, old: &Value) {
    let metadata = child(new, "metadata");
    for field in ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "generateName"] {
        match old.pointer(&format!("/metadata/{field}")) {
            Some(value) => {
                metadata.insert(field.to_owned(), value.clone());
            }
            None if field != "generateName" => {
                metadata.shift_remove(field);
            }
            None => {}
        }
    }
    metadata.shift_remove("selfLink");
}

pub const PATCH_TYPES: &str =
    "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml";

pub fn patch(context: &Context) -> Result<Reply> {
    let dry_run = context.dry_run()?;
    let validation = FieldValidation::of(context)?;
    let (resource, subresource) = (&context.resource, context.target.subresource.as_str());
    let kind = media_type(&context.content_type);
    if kind == "application/apply-patch+yaml" {
        return apply(context, dry_run, validation);
    }
    if context.query.is_true("force") {
        return Err(Status::invalid(
            "meta.k8s.io",
            "PatchOptions",
            "",
            vec![Cause::forbidden("force", "may not be specified for non-apply patch")],
        ));
    }
    let manager = context.manager()?.to_owned();
    let patcher: fn(&Resource, &mut Value, &Value) -> Result<()> = match kind {
        "application/json-patch+json" => |_, target, patch| engine::json_patch(target, patch),
        "application/merge-patch+json" => |_, target, patch| engine::merge_patch(target, patch),
        "application/strategic-merge-patch+json" if resource.custom.is_none() => engine::strategic_patch,
        _ => {
            let mut status = Status::new(415, "UnsupportedMediaType", "415: Unsupported Media Type");
            status.details = Some(Box::default());
            return Err(status);
        }
    };
    let (patch, duplicates) = crate::protocol::json::parse_noting_duplicates(&context.body).map_err(|error| {
        let why = body::go_json_error(&context.body, &error);
        // Only this kind of patch is read without a word about it.
        let bare = kind == "application/strategic-merge-patch+json";
        Status::bad_request(if bare { why } else { format!("error decoding patch: {why}") })
    })?;
    if kind == "application/json-patch+json" && !patch.is_array() {
        let what = merge_type_name(&patch);
        return Err(Status::bad_request(format!(
            "error decoding patch: json: cannot unmarshal {what} into Go value of type []handlers.jsonPatchOp"
        )));
    }
    if kind == "application/merge-patch+json" && !patch.is_object() {
        let what = merge_type_name(&patch);
        return Err(Status::bad_request(format!(
            "error decoding patch: json: cannot unmarshal {what} into Go value of type map[string]interface {{}}"
        )));
    }
    let mut problems: Vec<String> = duplicates.iter().map(|d| format!("duplicate field \"{d}\"")).collect();
    let pruned = std::cell::RefCell::new(Vec::new());
    let change = |old: &Value| {
        let mut new = old.clone();
        patcher(resource, &mut new, &patch)?;
        check_patched(context, &mut new, old)?;
        let patched = (resource.custom.is_none() && kind != "application/strategic-merge-patch+json").then(|| new.to_string());
        *pruned.borrow_mut() = engine::read(resource, &mut new).map_err(|status| match patched {
            Some(patched) => unreadable_patch(resource, patched, &status),
            None => status,
        })?;
        let unknown = pruned.borrow().iter().map(|field| format!("unknown field \"{field}\"")).collect::<Vec<_>>();
        if validation == FieldValidation::Strict {
            let mut all = problems.clone();
            all.extend(unknown);
            validation.judge(context, all)?;
        }
        Ok(new)
    };
    let record = replace(context, subresource, &manager, dry_run, false, &change)?;
    if validation == FieldValidation::Warn {
        problems.extend(pruned.into_inner().iter().map(|field| format!("unknown field \"{field}\"")));
        validation.judge(context, problems)?;
    }
    view::object(context, 200, &record)
}

/// What a patch made of an object cannot be read as one of its kind. The answer shows the patched object.
fn unreadable_patch(resource: &Resource, patched: String, status: &Status) -> Status {
    let prefix = format!("{} in version {:?} cannot be handled as a {}: ", resource.kind, resource.version, resource.kind);
    let why = status.message.strip_prefix(&prefix).unwrap_or(&status.message);
    Status::invalid("", "", "", vec![Cause::invalid("patch", &Value::from(patched), why)])
}

/// A patch may not make another object of it.
fn check_patched(context: &Context, new: &mut Value, old: &Value) -> Result<()> {
    if !new.is_object() {
        return Err(Status::bad_request("the patched object is no object"));
    }
    let resource = &context.resource;
    for field in ["apiVersion", "kind"] {
        if new.get(field) != old.get(field) {
            if resource.custom.is_some() {
                return Err(Status::bad_request(format!("{field} may not be changed by a patch")));
            }
            let (version, kind) = (text(new, "/apiVersion").rsplit('/').next().unwrap_or(""), text(new, "/kind"));
            let why = format!("converting ({version}.{kind}) to ({}): unknown conversion", resource.go_type());
            return Err(Status::invalid("", "", "", vec![Cause::invalid("patch", &Value::from(new.to_string()), &why)]));
        }
    }
    if !new["metadata"].is_object() {
        new["metadata"] = json!({});
    }
    check_metadata_types(resource, new)?;
    let given = text(new, "/metadata/name");
    if given != context.target.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({})",
            context.target.name
        )));
    }
    check_namespace(context, new)
}

fn apply(context: &Context, dry_run: bool, validation: FieldValidation) -> Result<Reply> {
    let (resource, subresource) = (&context.resource, context.target.subresource.as_str());
    let manager = context.query.text("fieldManager").to_owned();
    if manager.is_empty() {
        return Err(Status::invalid(
            "meta.k8s.io",
            "PatchOptions",
            "",
            vec![Cause::required("fieldManager", "is required for apply patch")],
        ));
    }
    context.manager()?;
    let force = context.query.is_true("force");
    let decoded = body::yaml(&context.body)?;
    let mut config = decoded.value;
    if !config.is_object() {
        let what = merge_type_name(&config);
        return Err(Status::bad_request(format!(
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {what} into Go value of type map[string]interface {{}}"
        )));
    }
    let problems = decoded.problems;
    check_namespace_of_config(context, &mut config)?;
    let given = text(&config, "/metadata/name").to_owned();
    if given.is_empty() {
        child(&mut config, "metadata").insert("name".to_owned(), Value::from(context.target.name.as_str()));
    } else if given != context.target.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({})",
            context.target.name
        )));
    }
    if validation == FieldValidation::Strict {
        validation.judge(context, problems.clone())?;
    }
    let namespace = namespace_of(resource, &context.target.namespace);
    let key = resource.key(namespace, &context.target.name);
    let at = now();
    let writer = Writer { resource, subresource, manager: &manager, now: &at };
    let config_version = text(&config, "/metadata/resourceVersion").to_owned();
    for _ in 0..TRIES {
        if context.api.store.get(&resource.table, &key).is_none() {
            if !subresource.is_empty() {
                return Err(Status::not_found(&resource.group, &resource.name, &context.target.name));
            }
            let uid = text(&config, "/metadata/uid");
            if !uid.is_empty() {
                let why = format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
                return Err(Status::conflict(&resource.group, &resource.name, &context.target.name, &why));
            }
            context.api.access.check(&context.api, &context.user, &crate::access::Attributes { verb: "create", ..context.attributes() })?;
            let mut object = writer.apply(None, &config, force)?;
            engine::read_merged(resource, &mut object)?;
            check_namespace(context, &mut object)?;
            match insert(context, object, &manager, Some(""), dry_run) {
                Ok((record, _)) => {
                    validation.judge(context, problems)?;
                    return view::object(context, 201, &record);
                }
                Err(status) if status.reason == "AlreadyExists" => continue,
                Err(status) => return Err(status),
            }
        }
        let change = |old: &Value| {
            let mut new = writer.apply(Some(old), &config, force)?;
            engine::read_merged(resource, &mut new)?;
            let metadata = child(&mut new, "metadata");
            if config_version.is_empty() {
                // Applying is deciding anew on whatever is there.
                metadata.insert("resourceVersion".to_owned(), old["metadata"]["resourceVersion"].clone());
            }
            Ok(new)
        };
        match replace(context, subresource, &manager, dry_run, true, &change) {
            Ok(record) => {
                validation.judge(context, problems)?;
                return view::object(context, 200, &record);
            }
            // Deleted in between: create it.
            Err(status) if status.code == 404 && subresource.is_empty() => {}
            Err(status) => return Err(status),
        }
    }
    Err(Status::modified(&resource.group, &resource.name, &context.target.name))
}

fn check_namespace_of_config(context: &Context, config: &mut Value) -> Result<()> {
    if config.get("metadata").is_some_and(|m| !m.is_object() && !m.is_null()) {
        return Err(Status::bad_request("error decoding YAML: metadata is no object"));
    }
    check_metadata_types(&context.resource, config)?;
    // Checked, but not filled in: what is applied is what was sent.
    let mut namespace = json!({"metadata": {}});
    if let Some(given) = config.pointer("/metadata/namespace") {
        namespace["metadata"]["namespace"] = given.clone();
    }
    check_namespace(context, &mut namespace)
}

/// Stores a new object of the server's own making.
pub fn store_own(api: &crate::api::Api, resource: &Resource, object: Value) -> Result<Arc<Record>> {
    let record = store_prepared(api, resource, prepare_own(resource, object)?)?;
    controllers::after_write(api, resource, &record);
    Ok(record)
}

/// What an object of the server's own making is, but for its identity and time: the same on every server.
pub fn prepare_own(resource: &Resource, mut object: Value) -> Result<Value> {
    let status = object.get("status").cloned();
    strategy::prepare_create(resource, &mut object);
    if let Some(status) = status {
        object["status"] = status;
    }
    engine::read(resource, &mut object)?;
    Ok(object)
}

/// Stores a prepared object; what must be true after such a write is up to the caller.
pub fn store_prepared(api: &crate::api::Api, resource: &Resource, mut object: Value) -> Result<Arc<Record>> {
    let metadata = child(&mut object, "metadata");
    metadata.insert("uid".to_owned(), Value::from(Uid::random().to_string()));
    metadata.insert("creationTimestamp".to_owned(), Value::from(now()));
    let (namespace, name) = (text(&object, "/metadata/namespace").to_owned(), text(&object, "/metadata/name").to_owned());
    let stored = api.store.put(&resource.table, &resource.key(&namespace, &name), Expect::Absent, Draft::new(&object));
    stored.map_err(|refused| refusal(resource, &namespace, &name, refused))
}

/// Creates what one of this server's own controllers makes: with defaults, a name when it has only the beginning of one, and ownership.
pub fn create_own(api: &crate::api::Api, resource: &Resource, mut object: Value) -> Result<Arc<Record>> {
    let at = now();
    engine::read(resource, &mut object)?;
    let writer = Writer { resource, subresource: "", manager: OWN_MANAGER, now: &at };
    object = writer.update(None, object);
    let (base, namespace) = (text(&object, "/metadata/generateName").to_owned(), text(&object, "/metadata/namespace").to_owned());
    let generated = text(&object, "/metadata/name").is_empty();
    for _ in 0..TRIES {
        let mut candidate = object.clone();
        let metadata = child(&mut candidate, "metadata");
        if generated {
            metadata.insert("name".to_owned(), Value::from(generated_name(&base)));
        }
        metadata.insert("uid".to_owned(), Value::from(Uid::random().to_string()));
        metadata.insert("creationTimestamp".to_owned(), Value::from(at.as_str()));
        limits::fill(api, resource, &mut candidate);
        strategy::prepare_create(resource, &mut candidate);
        engine::admit(resource, &mut candidate, None);
        let name = text(&candidate, "/metadata/name").to_owned();
        let causes = engine::validate(resource, "", &candidate, None);
        if !causes.is_empty() {
            return Err(Status::invalid(&resource.group, &resource.kind, &name, dedup(causes)));
        }
        limits::check(api, resource, &candidate, None)?;
        let charge = quota::charge(api, resource, "", &candidate, None, false)?;
        match api.store.put(&resource.table, &resource.key(&namespace, &name), Expect::Absent, Draft::new(&candidate)) {
            Ok(record) => {
                if let Some(charge) = charge {
                    charge.keep();
                }
                controllers::after_write(api, resource, &record);
                return Ok(record);
            }
            Err(Refused::Exists(_)) if generated => {}
            Err(refused) => return Err(refusal(resource, &namespace, &name, refused)),
        }
    }
    Err(Status::already_exists(&resource.group, &resource.name, &base))
}

/// Who owns what this server's own controllers write.
const OWN_MANAGER: &str = "kube-controller-manager";

/// Changes a stored object on the server's own behalf; `None` leaves it as it is. With a subresource, ownership is kept track of.
pub fn change_own(
    api: &crate::api::Api,
    resource: &Resource,
    key: &str,
    subresource: Option<&str>,
    change: impl Fn(Value) -> Option<Value>,
) -> Result<Option<Arc<Record>>> {
    for _ in 0..TRIES {
        let Some(record) = api.store.get(&resource.table, key) else { return Ok(None) };
        let old = record.value();
        let Some(mut new) = change(old.clone()) else { return Ok(None) };
        if new == old {
            return Ok(None);
        }
        if let Some(subresource) = subresource {
            let at = now();
            let writer = Writer { resource, subresource, manager: OWN_MANAGER, now: &at };
            new = writer.update(Some(&old), new);
        }
        // A pod is bound to its node without becoming another.
        if strategy::counts_generations(resource) && !resource.is("", "pods") && new.get("spec") != old.get("spec") {
            let generation = old.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0);
            child(&mut new, "metadata").insert("generation".to_owned(), json!(generation + 1));
        }
        let draft = Draft::new(&new);
        let stored = if controllers::may_go(resource, &new) {
            api.store.remove(&resource.table, &record.key, record.revision, draft)
        } else {
            api.store.put(&resource.table, &record.key, Expect::Revision(record.revision), draft)
        };
        match stored {
            Ok(stored) => {
                controllers::after_write(api, resource, &stored);
                return Ok(Some(stored));
            }
            Err(Refused::Changed) => {}
            Err(Refused::Missing) => return Ok(None),
            Err(refused) => return Err(refusal(resource, record.namespace(), record.name(), refused)),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_names_fit_and_differ() {
        let name = generated_name(&"x".repeat(100));
        assert_eq!(name.len(), 63);
        assert_ne!(generated_name("a-"), generated_name("a-"));
        assert!(generated_name("a-").starts_with("a-"));
    }
}
