//! Checks that every object goes through: its metadata, labels and selectors.

use serde_json::Value;

use super::at::{At, Errors};
use super::names;
use crate::field;
use crate::managed;

/// Annotations of an object together are no larger than this.
const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;

/// What a name has to be.
pub(super) type NameCheck = fn(&str) -> Vec<String>;

/// The metadata of a new object.
pub(super) fn metadata(errors: &mut Errors, meta: &At<'_>, namespaced: bool, custom: bool, name_check: NameCheck) {
    let generate = meta.get("generateName");
    if !generate.text().is_empty() {
        // The suffix is still to come: what it will be is alphanumeric.
        errors.all(&generate, name_check(&masked(generate.text())));
    }
    let name = meta.get("name");
    if name.text().is_empty() {
        errors.required(&name, "name or generateName is required");
    } else {
        errors.all(&name, name_check(name.text()));
    }
    let namespace = meta.get("namespace");
    if namespaced {
        if namespace.text().is_empty() {
            errors.required(&namespace, "");
        } else {
            errors.all(&namespace, names::label(namespace.text()));
        }
    } else if !namespace.text().is_empty() {
        errors.forbidden(&namespace, "not allowed on this type");
    }
    common(errors, meta);
    finalizers(errors, &meta.get("finalizers"), custom);
}

/// A prefix may end with a hyphen, since more follows.
fn masked(prefix: &str) -> String {
    match prefix.strip_suffix('-') {
        Some(rest) if !rest.is_empty() => format!("{rest}a"),
        _ => prefix.to_owned(),
    }
}

fn common(errors: &mut Errors, meta: &At<'_>) {
    labels(errors, &meta.get("labels"));
    annotations(errors, &meta.get("annotations"));
    owners(errors, &meta.get("ownerReferences"));
    let managed_fields = meta.get("managedFields");
    if let Err(error) = managed::decode(Some(managed_fields.value)) {
        errors.push(field::invalid(&managed_fields.path, &Value::Null, &error.to_string()));
    }
}

/// The metadata of an updated object.
pub(super) fn metadata_update(errors: &mut Errors, meta: &At<'_>, old: &At<'_>) {
    if old.get("deletionTimestamp").is_set() {
        let list = meta.get("finalizers");
        let was: Vec<&str> = old.get("finalizers").items().map(|one| one.text()).collect();
        let new: Vec<&str> = list.items().map(|one| one.text()).filter(|one| !was.contains(one)).collect();
        if !new.is_empty() {
            errors.forbidden(
                &list,
                &format!(
                    "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                    new.iter().map(|one| format!("{one:?}")).collect::<Vec<_>>().join(", ")
                ),
            );
        }
    }
    if meta.get("resourceVersion").text().is_empty() {
        errors.invalid_text(&meta.get("resourceVersion"), "must be specified for an update");
    }
    for name in ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        immutable(errors, &meta.get(name), &old.get(name));
    }
    common(errors, meta);
}

/// A field that may not change.
pub(super) fn immutable(errors: &mut Errors, at: &At<'_>, old: &At<'_>) {
    if !managed::equal(at.value, old.value) {
        errors.invalid(at, "field is immutable");
    }
}

pub(super) fn labels(errors: &mut Errors, at: &At<'_>) {
    for (key, value) in at.entries() {
        for message in names::qualified(key) {
            errors.push(field::invalid(&at.path, &Value::from(key), &message));
        }
        for message in names::label_value(value.text()) {
            errors.push(field::invalid(&at.path, value.value, &message));
        }
    }
}

pub(super) fn annotations(errors: &mut Errors, at: &At<'_>) {
    let mut size = 0;
    for (key, value) in at.entries() {
        size += key.len() + value.text().len();
        // Keys of annotations may have upper case in their prefix.
        for message in names::qualified(&key.to_lowercase()) {
            errors.push(field::invalid(&at.path, &Value::from(key), &message));
        }
    }
    if size > ANNOTATIONS_BYTES_MAX {
        errors.push(field::too_long(&at.path, ANNOTATIONS_BYTES_MAX as i64));
    }
}

const OWNER_FIELDS: [&str; 6] = ["apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"];

/// A map with its fields in the order of Go's struct.
fn in_order(value: &Value, fields: &[&str]) -> Value {
    Value::Object(fields.iter().filter_map(|name| Some(((*name).to_owned(), value.get(*name)?.clone()))).collect())
}

/// A selector as it is shown in errors.
pub(super) fn selector_value(at: &At<'_>) -> Value {
    let mut out = in_order(at.value, &["matchLabels", "matchExpressions"]);
    for expression in out.get_mut("matchExpressions").and_then(Value::as_array_mut).into_iter().flatten() {
        *expression = in_order(expression, &["key", "operator", "values"]);
    }
    out
}

fn owners(errors: &mut Errors, at: &At<'_>) {
    let mut controller: Option<String> = None;
    for owner in at.items() {
        let text = |name: &str| owner.value.get(name).and_then(Value::as_str).unwrap_or("");
        let mut empty = |name: &str, detail: &str| {
            if text(name).is_empty() {
                errors.push(field::invalid(&field::child(&at.path, name), &Value::from(""), detail));
            }
        };
        empty("apiVersion", "version must not be empty");
        for name in ["kind", "name", "uid"] {
            empty(name, "must not be empty");
        }
        if text("apiVersion") == "v1" && text("kind") == "Event" {
            errors.push(field::invalid(&at.path, owner.value, "/v1, Kind=Event is disallowed from being an owner"));
        }
        if owner.get("controller").is_true() {
            let this = format!("{}/{}", text("kind"), text("name"));
            match &controller {
                Some(first) => errors.push(field::invalid_struct(
                    &at.path,
                    &Value::Array(at.items().map(|owner| in_order(owner.value, &OWNER_FIELDS)).collect()),
                    &format!("Only one reference can have Controller set to true. Found \"true\" in references for {first} and {this}"),
                )),
                None => controller = Some(this),
            }
        }
    }
}

fn finalizers(errors: &mut Errors, at: &At<'_>, custom: bool) {
    for one in at.items() {
        for message in names::qualified(one.text()) {
            errors.push(field::invalid(&at.path, one.value, &message));
        }
    }
    // Writers of custom resources are only warned of these.
    for one in at.items().filter(|one| !custom && !one.text().contains('/')) {
        if !matches!(one.text(), "orphan" | "foregroundDeletion" | "kubernetes") {
            errors.invalid(&one, "name is neither a standard finalizer name nor is it fully qualified");
        }
    }
}

/// A label selector; absent is no error.
pub(super) fn selector(errors: &mut Errors, at: &At<'_>) {
    labels(errors, &at.get("matchLabels"));
    for expression in at.get("matchExpressions").items() {
        let values = expression.get("values");
        match expression.get("operator").text() {
            "In" | "NotIn" if values.len() == 0 => errors.required(&values, "must be specified when `operator` is 'In' or 'NotIn'"),
            "Exists" | "DoesNotExist" if values.len() > 0 => {
                errors.forbidden(&values, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => errors.invalid_text(&expression.get("operator"), "not a valid selector operator"),
        }
        errors.all(&expression.get("key"), names::qualified(expression.get("key").text()));
        for value in values.items() {
            errors.all(&value, names::label_value(value.text()));
        }
    }
}

/// Whether a selector selects labels. An invalid one selects nothing.
pub(super) fn selects(selector: &At<'_>, labels: &At<'_>) -> bool {
    let label = |key: &str| labels.value.get(key).and_then(Value::as_str);
    if !selector.get("matchLabels").entries().all(|(key, value)| label(key) == value.value.as_str()) {
        return false;
    }
    selector.get("matchExpressions").items().all(|expression| {
        let key = expression.get("key");
        let contained = label(key.text()).is_some_and(|label| expression.get("values").items().any(|value| value.text() == label));
        match expression.get("operator").text() {
            "In" => contained,
            "NotIn" => !contained,
            "Exists" => label(key.text()).is_some(),
            "DoesNotExist" => label(key.text()).is_none(),
            _ => false,
        }
    })
}
