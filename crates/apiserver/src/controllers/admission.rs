use crate::api::Api;
use crate::protocol::status::{Result, Status};
use crate::registry::Resource;
use crate::rest::Context;
use serde_json::Value;

/// What stands between a well-formed write and the store.
pub fn admit(context: &Context, object: &mut Value, old: Option<&Value>) -> Result<()> {
    crate::access::escalation::check(&context.api, &context.user, &context.resource, object, old)
}

pub fn admit_delete(_api: &Api, resource: &Resource, _namespace: &str, name: &str, _old: &Value) -> Result<()> {
    // As the NamespaceLifecycle plugin: a cluster cannot be without these.
    if resource.is("", "namespaces") && matches!(name, "default" | "kube-system" | "kube-public") {
        return Err(Status::forbidden("", "namespaces", name, "this namespace may not be deleted"));
    }
    Ok(())
}
