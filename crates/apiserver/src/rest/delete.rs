use super::list;
use super::read::namespace_of;
use super::{Context, Reply, body, view};
use crate::access::User;
use crate::api::{Api, child, now, refusal};
use crate::controllers;
use crate::protocol::status::{Cause, Result, Status};
use crate::registry::Resource;
use crate::store::{Draft, Expect, Record, Refused};
use crate::strategy;
use serde_json::{Value, json};
use std::sync::Arc;

/// What becomes of an object's dependents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    Background,
    Foreground,
    Orphan,
}

/// `DeleteOptions`, from the body or from the query.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub uid: Option<String>,
    pub revision: Option<String>,
    pub propagation: Option<Propagation>,
    pub grace_seconds: Option<i64>,
    pub dry_run: bool,
}

pub const FOREGROUND: &str = "foregroundDeletion";
pub const ORPHAN: &str = "orphan";

impl Options {
    fn of(context: &Context) -> Result<Self> {
        let mut out = Self::default();
        let query = &context.query;
        let value = if context.body.is_empty() {
            let mut value = json!({});
            if let Some(policy) = query.get("propagationPolicy") {
                value["propagationPolicy"] = Value::from(policy);
            }
            if let Some(seconds) = query.get("gracePeriodSeconds") {
                let seconds: i64 = seconds.parse().map_err(|_| Status::bad_request("gracePeriodSeconds is no number"))?;
                value["gracePeriodSeconds"] = Value::from(seconds);
            }
            if query.get("orphanDependents").is_some() {
                value["orphanDependents"] = Value::from(query.is_true("orphanDependents"));
            }
            value
        } else {
            body::decode(context)?.value
        };
        if !value.is_object() {
            let what = if value.is_array() { "array" } else { "value" };
            return Err(Status::bad_request(format!(
                "couldn't get version/kind; json parse error: json: cannot unmarshal {what} into Go value of type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}"
            )));
        }
        if let Some(kind) = value.get("kind").and_then(Value::as_str)
            && kind != "DeleteOptions"
            && !kind.is_empty()
        {
            return Err(Status::bad_request(format!(
                "no kind \"{kind}\" is registered for version \"{}\" in scheme \"pkg/runtime/scheme.go:111\"",
                value.get("apiVersion").and_then(Value::as_str).unwrap_or("")
            )));
        }
        let invalid = |cause| Status::invalid("meta.k8s.io", "DeleteOptions", "", vec![cause]);
        out.uid = value.pointer("/preconditions/uid").and_then(Value::as_str).map(str::to_owned);
        out.revision = value.pointer("/preconditions/resourceVersion").and_then(Value::as_str).map(str::to_owned);
        out.grace_seconds = value.get("gracePeriodSeconds").and_then(Value::as_i64);
        let orphan = value.get("orphanDependents").and_then(Value::as_bool);
        out.propagation = match value.get("propagationPolicy").and_then(Value::as_str) {
            None | Some("") => orphan.map(|orphan| if orphan { Propagation::Orphan } else { Propagation::Background }),
            Some(_) if orphan.is_some() => {
                let why = "orphanDependents and deletionPropagation cannot be both set";
                return Err(invalid(Cause::invalid("propagationPolicy", &value["propagationPolicy"], why)));
            }
            Some("Background") => Some(Propagation::Background),
            Some("Foreground") => Some(Propagation::Foreground),
            Some("Orphan") => Some(Propagation::Orphan),
            Some(other) => {
                let why = format!("Unsupported value: \"{other}\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"");
                return Err(invalid(Cause::new("FieldValueNotSupported", "propagationPolicy", why)));
            }
        };
        let dry_run: Vec<&str> = value.get("dryRun").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        if let Some(other) = dry_run.iter().find(|v| **v != "All") {
            let why = format!("Unsupported value: [\"{other}\"]: supported values: \"All\"");
            return Err(invalid(Cause::new("FieldValueNotSupported", "dryRun", why)));
        }
        out.dry_run = !dry_run.is_empty() || context.dry_run()?;
        Ok(out)
    }
}

/// How a deletion ended.
pub enum Outcome {
    /// The object as it was last.
    Gone(Arc<Record>),
    /// It waits for finalizers, or for its content.
    Ending(Arc<Record>),
}

pub fn delete(context: &Context) -> Result<Reply> {
    let options = Options::of(context)?;
    let (resource, target) = (&context.resource, &context.target);
    if resource.is("batch", "jobs") && options.propagation.is_none() {
        context.warn("child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning");
    }
    let namespace = namespace_of(resource, &target.namespace);
    match remove(&context.api, &context.user, resource, namespace, &target.name, &options)? {
        Outcome::Ending(record) => view::object(context, 200, &record),
        Outcome::Gone(record) if strategy::returns_deleted(resource) => view::object(context, 200, &record),
        Outcome::Gone(record) => {
            let uid = record.facts.uid.map(|uid| uid.to_string()).unwrap_or_default();
            view::encoded(context.accepted, 200, &Status::deleted(&resource.group, &resource.name, &target.name, &uid))
        }
    }
}

pub fn delete_collection(context: &Context) -> Result<Reply> {
    let options = Options::of(context)?;
    let mut page = list::page(context)?;
    let mut gone = Vec::with_capacity(page.items.len());
    for record in std::mem::take(&mut page.items) {
        match remove(&context.api, &context.user, &context.resource, record.namespace(), record.name(), &options) {
            Ok(_) => gone.push(record),
            Err(status) if status.code == 404 => {}
            Err(status) => return Err(status),
        }
    }
    list::shown(context, list::Page { items: gone, ..page })
}

const TRIES: usize = 10;

/// Deletes an object, or begins to.
pub fn remove(api: &Api, user: &User, resource: &Resource, namespace: &str, name: &str, options: &Options) -> Result<Outcome> {
    for _ in 0..TRIES {
        let record = api.get(resource, namespace, name)?;
        check_preconditions(resource, &record, options)?;
        let old = record.value();
        controllers::admission::admit_delete(api, user, resource, namespace, name, &old, options.dry_run)?;
        let mut new = old.clone();
        set_policy(resource, &mut new, options);
        if resource.is("apiextensions.k8s.io", "customresourcedefinitions") && !record.facts.deleting {
            controllers::definitions::hold(&mut new);
        }
        let held = new.pointer("/metadata/finalizers").and_then(Value::as_array).is_some_and(|f| !f.is_empty())
            || (resource.is("", "namespaces") && new.pointer("/spec/finalizers").and_then(Value::as_array).is_some_and(|f| !f.is_empty()));
        if held {
            if !record.facts.deleting {
                let generation = new.pointer("/metadata/generation").and_then(Value::as_i64);
                let metadata = child(&mut new, "metadata");
                metadata.insert("deletionTimestamp".to_owned(), Value::from(now()));
                // A namespace is not said to have a grace period.
                if !resource.is("", "namespaces") {
                    metadata.insert("deletionGracePeriodSeconds".to_owned(), json!(0));
                }
                if let Some(generation) = generation.filter(|g| *g > 0) {
                    metadata.insert("generation".to_owned(), json!(generation + 1));
                }
                if resource.is("", "namespaces") {
                    child(&mut new, "status").insert("phase".to_owned(), json!("Terminating"));
                }
            }
            if new == old || options.dry_run {
                let shown = Draft::new(&new).finish(Arc::clone(&record.key), record.revision);
                return Ok(Outcome::Ending(if options.dry_run { Arc::new(shown) } else { record }));
            }
            match api.store.put(&resource.table, &record.key, Expect::Revision(record.revision), Draft::new(&new)) {
                Ok(stored) => {
                    controllers::after_write(api, resource, &stored);
                    return Ok(Outcome::Ending(stored));
                }
                Err(Refused::Changed) => continue,
                Err(refused) => return Err(refusal(resource, namespace, name, refused)),
            }
        }
        if options.dry_run {
            return Ok(Outcome::Gone(record));
        }
        if resource.is("", "pods") && !record.facts.deleting {
            // A pod without a node ends at once, but as one that was asked to end.
            let generation = new.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0);
            let metadata = child(&mut new, "metadata");
            metadata.insert("deletionTimestamp".to_owned(), Value::from(now()));
            metadata.insert("deletionGracePeriodSeconds".to_owned(), json!(0));
            metadata.insert("generation".to_owned(), json!(generation + 1));
        }
        match api.store.remove(&resource.table, &record.key, record.revision, Draft::new(&new)) {
            Ok(stored) => {
                controllers::after_write(api, resource, &stored);
                return Ok(Outcome::Gone(stored));
            }
            // Without preconditions a deletion holds whatever was changed meanwhile.
            Err(Refused::Changed) => {}
            Err(refused) => return Err(refusal(resource, namespace, name, refused)),
        }
    }
    Err(Status::modified(&resource.group, &resource.name, name))
}

fn check_preconditions(resource: &Resource, record: &Record, options: &Options) -> Result<()> {
    let uid = record.facts.uid.map(|uid| uid.to_string()).unwrap_or_default();
    let name = record.name();
    if let Some(wanted) = options.uid.as_deref().filter(|wanted| *wanted != uid) {
        let why = format!(
            "the UID in the precondition ({wanted}) does not match the UID in record ({uid}). The object might have been deleted and then recreated"
        );
        return Err(Status::conflict(&resource.group, &resource.kind, name, &why));
    }
    let revision = record.revision.to_string();
    if let Some(wanted) = options.revision.as_deref().filter(|wanted| *wanted != revision) {
        let why = format!(
            "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record ({revision}). The object might have been modified"
        );
        return Err(Status::conflict(&resource.group, &resource.kind, name, &why));
    }
    Ok(())
}

/// Writes the wish for the dependents into the finalizers, where the garbage collector reads it.
fn set_policy(resource: &Resource, object: &mut Value, options: &Options) {
    let has = |object: &Value, name: &str| {
        object.pointer("/metadata/finalizers").and_then(Value::as_array).is_some_and(|list| list.iter().any(|f| f == name))
    };
    let (orphan, foreground) = match options.propagation {
        Some(policy) => (policy == Propagation::Orphan, policy == Propagation::Foreground),
        None if has(object, ORPHAN) || has(object, FOREGROUND) => (has(object, ORPHAN), has(object, FOREGROUND)),
        None => (strategy::orphans_by_default(resource), false),
    };
    let mut list: Vec<Value> = object
        .pointer("/metadata/finalizers")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|f| *f != ORPHAN && *f != FOREGROUND)
        .cloned()
        .collect();
    if orphan {
        list.push(json!(ORPHAN));
    }
    if foreground {
        list.push(json!(FOREGROUND));
    }
    let before = object.pointer("/metadata/finalizers").is_some();
    let metadata = child(object, "metadata");
    if list.is_empty() {
        if before {
            metadata.shift_remove("finalizers");
        }
    } else {
        metadata.insert("finalizers".to_owned(), Value::Array(list));
    }
}
