use super::{Context, Reply, view};
use crate::protocol::status::{Result, Status};
use crate::registry::Resource;

/// The revision that a request asks not to be older than.
pub fn check_revision(context: &Context, text: &str) -> Result<Option<u64>> {
    if text.is_empty() || text == "0" {
        return Ok(None);
    }
    let revision: u64 = text.parse().map_err(|_| {
        Status::bad_request(format!(
            "invalid resource version: resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
        ))
    })?;
    let current = context.api.store.revision();
    if revision > current {
        let mut status = Status::timeout(format!("Too large resource version: {revision}, current: {current}"));
        status.details = Some(Box::new(crate::protocol::status::Details {
            causes: vec![crate::protocol::status::Cause::new("ResourceVersionTooLarge", "", "Too large resource version")],
            retry_after_seconds: 1,
            ..Default::default()
        }));
        return Err(status);
    }
    Ok(Some(revision))
}

pub fn get(context: &Context) -> Result<Reply> {
    let target = &context.target;
    check_revision(context, context.query.text("resourceVersion"))?;
    let record = context.api.get(&context.resource, namespace_of(&context.resource, &target.namespace), &target.name)?;
    view::object(context, 200, &record)
}

/// A namespace in a path means nothing to a cluster-scoped resource.
pub fn namespace_of<'a>(resource: &Resource, namespace: &'a str) -> &'a str {
    if resource.namespaced { namespace } else { "" }
}
