//! Waiting for an object to become what was asked for.

use crate::{
    kinds::Kind,
    objects,
    shell::{Context, Failure, cluster::POLL_EVERY},
};
use health::Status;
use object::Object;
use serde_json::Value;

/// What kstatus says of an object: whether it is done, or why it never will be.
pub fn settled(object: &Value) -> Result<bool, Failure> {
    let object = Object::new(object.clone()).map_err(|error| Failure::new(error.to_string()))?;
    let health = health::assess(&object, jiff::Timestamp::now());
    match health.status {
        Status::Current => Ok(true),
        Status::InProgress => Ok(false),
        _ => Err(Failure::new(health.message)),
    }
}

/// Whether an object with a reconciler is ready for its latest generation.
pub fn ready(object: &Value) -> Result<bool, Failure> {
    let generation = objects::generation(object);
    let observed = objects::at(object, &["status", "observedGeneration"]).as_i64().unwrap_or(0);
    if observed < 1 {
        return Ok(false);
    }
    let Some(condition) = objects::condition(object, "Ready") else { return Ok(false) };
    // HelmRelease and ImageUpdateAutomation set no generation on conditions; the object's own counts there.
    let seen = match objects::at(condition, &["observedGeneration"]).as_i64().unwrap_or(0) {
        0 => observed,
        own => own,
    };
    if seen != generation { Ok(false) } else { settled(object) }
}

/// Looks at an object again and again until `done` says so; returns its last state.
pub async fn until(
    context: &Context,
    kind: &Kind,
    namespace: &str,
    name: &str,
    done: impl Fn(&Value) -> Result<bool, Failure>,
) -> Result<Value, Failure> {
    let deadline = context.deadline();
    loop {
        let object = context.get(kind, namespace, name).await?;
        if done(&object)? {
            return Ok(object);
        }
        if tokio::time::Instant::now() + POLL_EVERY > deadline {
            // Go's words for the end of a deadline, which scripts look for.
            return Err(Failure::new("context deadline exceeded"));
        }
        tokio::time::sleep(POLL_EVERY).await;
    }
}
