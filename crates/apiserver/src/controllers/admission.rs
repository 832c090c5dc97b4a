use crate::access::User;
use crate::api::{Api, text};
use crate::limits;
use crate::policy::{self, Attempt};
use crate::protocol::status::{Result, Status};
use crate::registry::Resource;
use crate::rest::Context;
use serde_json::Value;

/// The write of a request, as policies see it.
fn attempt<'a>(context: &'a Context, object: &'a Value, old: Option<&'a Value>) -> Result<Attempt<'a>> {
    Ok(Attempt {
        api: &context.api,
        user: &context.user,
        operation: if old.is_some() { "UPDATE" } else { "CREATE" },
        resource: &context.resource,
        subresource: &context.target.subresource,
        namespace: text(object, "/metadata/namespace"),
        name: text(object, "/metadata/name"),
        object: Some(object),
        old,
        dry_run: context.dry_run()?,
    })
}

/// What changes a write before anything is filled in or checked.
pub fn mutate(context: &Context, object: &mut Value, old: Option<&Value>) -> Result<()> {
    if old.is_none() {
        limits::fill(&context.api, &context.resource, object);
    }
    if !policy::mutates(&context.api) {
        return Ok(());
    }
    let before = object.clone();
    policy::mutate(&attempt(context, &before, old)?, object)
}

/// A custom resource may have finalizers of any name, and its writer is told of those that another may choose as well.
fn warn_of_finalizers(context: &Context, object: &Value, old: Option<&Value>) {
    let list = |object: &Value| object.pointer("/metadata/finalizers").and_then(Value::as_array).cloned().unwrap_or_default();
    let before = old.map(list).unwrap_or_default();
    let mut new: Vec<String> =
        list(object).iter().filter(|one| !before.contains(one)).filter_map(|one| one.as_str().map(str::to_owned)).collect();
    new.sort();
    for name in new.iter().filter(|name| !name.contains('/') && !matches!(name.as_str(), "orphan" | "foregroundDeletion" | "kubernetes")) {
        let path = if name.contains('.') { " including a path (/)" } else { "" };
        context.warn(format!(
            "metadata.finalizers: \"{name}\": prefer a domain-qualified finalizer name{path} to avoid accidental conflicts with other finalizer writers"
        ));
    }
}

/// What stands between a well-formed write and the store.
pub fn admit(context: &Context, object: &mut Value, old: Option<&Value>) -> Result<()> {
    if context.resource.custom.is_some() {
        warn_of_finalizers(context, object, old);
    }
    crate::access::escalation::check(&context.api, &context.user, &context.resource, object, old)?;
    if context.target.subresource.is_empty() {
        if context.resource.custom.is_none() {
            merge::validation::warnings(&context.resource.gvk(), object, old).into_iter().for_each(|warning| context.warn(warning));
        }
        limits::check(&context.api, &context.resource, object, old)?;
    }
    policy::validate(&attempt(context, object, old)?, &|warning| context.warn(warning))
}

/// What stands before a deletion.
pub fn admit_delete(api: &Api, user: &User, resource: &Resource, namespace: &str, name: &str, old: &Value, dry_run: bool) -> Result<()> {
    // As the NamespaceLifecycle plugin: a cluster cannot be without these.
    if resource.is("", "namespaces") && matches!(name, "default" | "kube-system" | "kube-public") {
        return Err(Status::forbidden("", "namespaces", name, "this namespace may not be deleted"));
    }
    let attempt =
        Attempt { api, user, operation: "DELETE", resource, subresource: "", namespace, name, object: None, old: Some(old), dry_run };
    policy::validate(&attempt, &|_| ())
}
