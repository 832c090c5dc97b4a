//! Server-side apply and field ownership, as kube-apiserver does them.
//!
//! ```text
//! apply / update (this file: last-applied migration, before-first-apply, cap, server-populated fields)
//!    |-- entries   metadata.managedFields <-> Entries
//!    |-- updater   who owns what after a write; pruning; conflicts
//!    |      `-- typed   a value seen through its schema: field set, comparison, merge, removal
//!    |             `-- set, path   sets of fields, FieldsV1
//!    `-- scale     ownership of spec.replicas seen through the scale subresource
//! ```
//!
//! Time is passed in. Objects go in and come out with their `metadata.managedFields`.

mod conflict;
mod entries;
mod path;
mod reset;
mod scale;
mod set;
pub mod typed;
mod updater;

use object::GroupVersionKind;
use serde_json::{Map, Value, json};

use crate::schema::{TypeHandle, TypeSource};

pub use conflict::{Conflict, Conflicts};
pub use entries::{Entries, Entry, Error as EntriesError, Manager, Operation, decode, encode};
pub use path::{PathElement, compare as compare_values, equal};
pub use reset::{reset_fields, reset_fields_custom};
pub use scale::Scale;
pub use set::{Set, path_text};

use updater::Updater;

/// Where client-side apply keeps what it applied last.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Older entries of updates than these many are merged into one.
const UPDATE_MANAGERS_MAX: usize = 10;

/// Who writes, where and when.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The field manager; the empty string counts as `unknown`.
    pub manager: &'a str,
    /// The kind and version that the endpoint speaks.
    pub gvk: &'a GroupVersionKind,
    /// Empty, or `status`, `scale`, ...
    pub subresource: &'a str,
    /// Takes fields from others without a conflict; of apply only.
    pub force: bool,
    /// RFC 3339 in seconds, UTC.
    pub now: &'a str,
    /// The fields that this endpoint does not change ([`reset_fields`], [`reset_fields_custom`]).
    pub reset: &'a Set,
}

/// Why an apply is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ApplyError {
    /// 409 `Conflict`, with a cause `FieldManagerConflict` for each.
    #[error("{0}")]
    Conflict(#[from] Conflicts),
    /// 400 `BadRequest`.
    #[error("{0}")]
    BadRequest(String),
    /// 500 `InternalError` with this text: how a real server answers what does not fit the schema.
    #[error("{0}")]
    Typed(String),
}

/// The type of the object in each version that its managers know.
struct Version<'a> {
    api_version: &'a str,
    gvk: &'a GroupVersionKind,
    ty: TypeHandle,
    types: &'a dyn TypeSource,
}

impl Version<'_> {
    fn type_of(&self, api_version: &str) -> Option<TypeHandle> {
        if api_version == self.api_version {
            return Some(self.ty.clone());
        }
        self.types.type_of(&GroupVersionKind::from_api_version(api_version, &self.gvk.kind))
    }
}

/// Applies a configuration. Without a live object it creates one.
///
/// The answer is not yet defaulted or validated. It equals the live object, `managedFields` included, when the
/// configuration changed nothing.
pub fn apply(live: Option<&Value>, applied: &Value, request: &Request<'_>, types: &dyn TypeSource) -> Result<Value, ApplyError> {
    let api_version = request.gvk.api_version();
    let version = version_of(request, &api_version, types)?;
    check_applied(applied, request, &version)?;
    let empty = types.empty(request.gvk);
    let live = live.unwrap_or(&empty);
    let entries = decode(live.pointer("/metadata/managedFields"))
        .map_err(|error| ApplyError::Typed(format!("failed to decode managed fields: {error}")))?;
    if let Err(errors) = typed::validate(&version.ty, live, true) {
        return Err(ApplyError::Typed(format!("failed to create typed live object ({}): {errors}", identity(live, request))));
    }
    let first = apply_once(live, applied, entries.clone(), request, &version, &empty, request.force);
    let outcome = match first {
        // Client-side apply wrote these fields; the same user moves on to server-side apply and may take them.
        Err(conflicts) if request.manager == "kubectl" => {
            let allowed = allowed_by_last_applied(live, &version).ok_or_else(|| conflicts.clone())?;
            if conflicts.set().difference(&allowed).is_empty() {
                apply_once(live, applied, entries, request, &version, &empty, true)?
            } else {
                return Err(conflicts.without(&allowed).into());
            }
        }
        other => other?,
    };
    let (mut object, entries) = outcome;
    if request.manager == "kubectl" && last_applied(&object).is_some() {
        set_last_applied(&mut object, applied);
    }
    entries::put(&mut object, &entries);
    Ok(object)
}

/// The new object with the ownership that a create, update or patch gives it.
///
/// `managedFields` that the new object carries are what the client wants them to be: an empty list or one empty entry
/// drops all of them.
pub fn update(live: Option<&Value>, mut new: Value, request: &Request<'_>, types: &dyn TypeSource) -> Value {
    let api_version = request.gvk.api_version();
    let sent = entries::take(&mut new);
    let empty = types.empty(request.gvk);
    let live = live.unwrap_or(&empty);
    let Ok(version) = version_of(request, &api_version, types) else { return new };
    let entries = entries_of_update(live, sent.as_ref(), request);
    // An object that had no owners when it came to be gets none by updates.
    let has_uid = live.pointer("/metadata/uid").and_then(Value::as_str).is_some_and(|uid| !uid.is_empty());
    if entries.is_empty() && has_uid {
        return new;
    }
    if typed::validate(&version.ty, &new, true).is_err() || typed::validate(&version.ty, live, true).is_err() {
        return new;
    }
    let name = if request.manager.is_empty() { "unknown" } else { request.manager };
    let entries = cap(update_entries(live, &new, entries, name, request, &version));
    entries::put(&mut new, &entries);
    new
}

/// Whether two objects differ in nothing but the times of their `managedFields`: such a write is no write.
pub fn same_but_for_times(a: &Value, b: &Value) -> bool {
    let strip = |object: &Value| {
        let mut object = object.clone();
        for entry in object.pointer_mut("/metadata/managedFields").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(entry) = entry.as_object_mut() {
                entry.shift_remove("time");
            }
        }
        object
    };
    let owners = |object: &Value| {
        let mut list = strip(object).pointer("/metadata/managedFields").and_then(Value::as_array).cloned().unwrap_or_default();
        list.sort_by(compare_values);
        list
    };
    let rest = |object: &Value| {
        let mut object = object.clone();
        entries::take(&mut object);
        object
    };
    equal(&rest(a), &rest(b)) && equal(&Value::Array(owners(a)), &Value::Array(owners(b)))
}

fn version_of<'a>(request: &'a Request<'_>, api_version: &'a str, types: &'a dyn TypeSource) -> Result<Version<'a>, ApplyError> {
    let ty = types.type_of(request.gvk).ok_or_else(|| ApplyError::Typed(format!("no corresponding type for {}", gvk_text(request.gvk))))?;
    Ok(Version { api_version, gvk: request.gvk, ty, types })
}

fn check_applied(applied: &Value, request: &Request<'_>, version: &Version<'_>) -> Result<(), ApplyError> {
    let text = |key: &str| applied.get(key).and_then(Value::as_str).unwrap_or("");
    let gvk = GroupVersionKind::from_api_version(text("apiVersion"), text("kind"));
    if gvk != *request.gvk {
        return Err(ApplyError::BadRequest(format!("invalid object type: {}", gvk_text(&gvk))));
    }
    if applied.pointer("/metadata/managedFields").is_some_and(|fields| !fields.is_null()) {
        return Err(ApplyError::BadRequest("metadata.managedFields must be nil".to_owned()));
    }
    typed::validate(&version.ty, applied, false)
        .map_err(|errors| ApplyError::Typed(format!("failed to create typed patch object ({}): {errors}", identity(applied, request))))
}

fn gvk_text(gvk: &GroupVersionKind) -> String {
    let version = if gvk.group.is_empty() { format!("/{}", gvk.version) } else { gvk.api_version() };
    format!("{version}, Kind={}", gvk.kind)
}

/// How server errors name an object: `namespace/name; apps/v1, Kind=Deployment`.
fn identity(object: &Value, request: &Request<'_>) -> String {
    let text = |key: &str| object.get("metadata").and_then(|metadata| metadata.get(key)).and_then(Value::as_str).unwrap_or("");
    format!("{}/{}; {}", text("namespace"), text("name"), gvk_text(request.gvk))
}

fn manager_of(name: &str, operation: Operation, request: &Request<'_>, version: &Version<'_>) -> Manager {
    Manager {
        operation,
        name: name.to_owned(),
        api_version: if operation == Operation::Update { version.api_version.to_owned() } else { String::new() },
        subresource: request.subresource.to_owned(),
    }
}

fn apply_once(
    live: &Value,
    applied: &Value,
    mut entries: Entries,
    request: &Request<'_>,
    version: &Version<'_>,
    empty: &Value,
    force: bool,
) -> Result<(Value, Entries), Conflicts> {
    if entries.is_empty() {
        entries = cap(update_entries(empty, live, entries, "before-first-apply", request, version));
    }
    let name = if request.manager.is_empty() { "unknown" } else { request.manager };
    let manager = manager_of(name, Operation::Apply, request, version);
    let updater = Updater { version, reset: request.reset };
    let (changed, mut entries) = updater.apply(live, applied, entries, &manager, force)?;
    strip(&mut entries, &manager);
    if changed.is_some()
        && let Some(entry) = entries.get_mut(&manager)
    {
        entry.time = Some(request.now.to_owned());
    }
    let mut object = changed.unwrap_or_else(|| live.clone());
    entries::take(&mut object);
    Ok((object, entries))
}

/// Ownership after an update. The set of this operation is found first, then joined with what the manager had.
fn update_entries(live: &Value, new: &Value, entries: Entries, name: &str, request: &Request<'_>, version: &Version<'_>) -> Entries {
    let current = Manager {
        operation: Operation::Update,
        name: String::new(),
        api_version: String::new(),
        subresource: "current-operation".to_owned(),
    };
    let updater = Updater { version, reset: request.reset };
    let mut entries = updater.update(live, new, entries, current.clone());
    strip(&mut entries, &current);
    if let Some(mut entry) = entries.remove(&current) {
        let manager = manager_of(name, Operation::Update, request, version);
        if let Some(previous) = entries.get(&manager) {
            entry.set = entry.set.union(&previous.set);
        }
        entry.time = Some(request.now.to_owned());
        entries.insert(manager, entry);
    }
    entries
}

/// Fields that identify the object or that the server fills in belong to nobody.
fn strip(entries: &mut Entries, manager: &Manager) {
    let fields =
        ["name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation", "managedFields", "resourceVersion"];
    let mut set = Set::of_fields(&[&["apiVersion"], &["kind"], &["metadata"]]);
    for field in fields {
        set.insert(&[PathElement::field("metadata"), PathElement::field(field)]);
    }
    if let Some(entry) = entries.get_mut(manager) {
        entry.set = entry.set.difference(&set);
        if entry.set.is_empty() {
            entries.remove(manager);
        }
    }
}

/// The owners that an update starts from: what the client sent, unless that is nothing or no use.
fn entries_of_update(live: &Value, sent: Option<&Value>, request: &Request<'_>) -> Entries {
    let of_live = || decode(live.pointer("/metadata/managedFields")).unwrap_or_default();
    if !request.subresource.is_empty() {
        return of_live();
    }
    match sent {
        Some(Value::Array(list)) => match list.as_slice() {
            [] => Entries::new(),
            [only] if only.as_object().is_some_and(Map::is_empty) => Entries::new(),
            _ => decode(sent).ok().filter(|entries| !entries.is_empty()).unwrap_or_else(of_live),
        },
        _ => of_live(),
    }
}

/// Merges the oldest entries of updates into one per version, so that their number stays bounded.
fn cap(mut entries: Entries) -> Entries {
    let mut updaters: Vec<(String, String, Manager)> = entries
        .iter()
        .filter(|(_, entry)| !entry.applied)
        .map(|(manager, entry)| (entry.time.clone().unwrap_or_default(), manager.name.clone(), manager.clone()))
        .collect();
    let mut count = updaters.len();
    if count <= UPDATE_MANAGERS_MAX {
        return entries;
    }
    updaters.sort();
    let mut first_of: Vec<(String, Manager)> = Vec::new();
    for (_, _, manager) in updaters {
        if count <= UPDATE_MANAGERS_MAX {
            break;
        }
        let Some(api_version) = entries.get(&manager).map(|entry| entry.api_version.clone()) else { continue };
        let Some((_, first)) = first_of.iter().find(|(version, _)| *version == api_version) else {
            first_of.push((api_version, manager));
            continue;
        };
        let bucket = Manager { operation: Operation::Update, name: "ancient-changes".to_owned(), api_version, subresource: String::new() };
        if !entries.contains_key(&bucket)
            && let Some(entry) = entries.remove(first)
        {
            entries.insert(bucket.clone(), entry);
        }
        if let Some(old) = entries.remove(&manager)
            && let Some(entry) = entries.get_mut(&bucket)
        {
            entry.set = entry.set.union(&old.set);
            entry.time = old.time;
            count -= 1;
        }
    }
    entries
}

// ---- last applied ----

fn last_applied(object: &Value) -> Option<&str> {
    object.get("metadata")?.get("annotations")?.get(LAST_APPLIED)?.as_str().filter(|text| !text.is_empty())
}

/// The fields that client-side apply set and that are still as it set them.
fn allowed_by_last_applied(live: &Value, version: &Version<'_>) -> Option<Set> {
    let last: Value = serde_json::from_str(last_applied(live)?).ok()?;
    if last.get("apiVersion").and_then(Value::as_str) != Some(version.api_version) {
        return None;
    }
    typed::validate(&version.ty, &last, false).ok()?;
    let compare = typed::compare(&version.ty, &last, live);
    Some(typed::field_set(&version.ty, &last).difference(&compare.modified).difference(&compare.added).difference(&compare.removed))
}

/// Keeps the annotation true for those who still use client-side apply.
fn set_last_applied(object: &mut Value, applied: &Value) {
    let mut applied = applied.clone();
    if let Some(annotations) = applied.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.shift_remove(LAST_APPLIED);
    }
    let text = format!("{}\n", sorted(&applied));
    let slot = object.get_mut("metadata").and_then(|metadata| metadata.get_mut("annotations"));
    if let Some(annotations) = slot.and_then(Value::as_object_mut) {
        annotations.insert(LAST_APPLIED.to_owned(), json!(text));
    }
}

/// The value with its keys in order, as Go writes maps.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}
