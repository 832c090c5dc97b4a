//! Waiting for objects: watches wake, nothing is held meanwhile.

use crate::{
    objects::{Access, Item, Reference},
    waits::Turn,
};
use apply::Seen;
use health::{Expressions, Health, Status, assess_with};
use object::Object;
use runtime::Clock;
use serde_json::Value;
use std::time::Duration;
use types::GoDuration;

/// How often objects that no watch tells of are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Why a wait ended without what it waited for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WaitError {
    #[error("{0}")]
    Failed(String),
    /// Nobody needs the answer any more.
    #[error("the action was cancelled")]
    Cancelled,
}

/// How readiness is told.
#[derive(Clone, Copy)]
pub(crate) struct Rules<'a> {
    pub expressions: &'a Expressions,
    pub fail_fast: bool,
    /// Only Jobs and Pods that have run to their end count.
    pub hooks: bool,
    /// Helm 3's words for a wait that took too long.
    pub legacy: bool,
    /// Jobs need only have begun.
    pub jobs_begun: bool,
}

/// Waits until all are ready, one has failed, or the time is up.
pub(crate) async fn until_ready(
    access: &Access,
    items: &[Reference],
    rules: Rules<'_>,
    timeout: GoDuration,
    clock: &Clock,
    turn: &mut Turn,
) -> Result<(), WaitError> {
    let deadline = tokio::time::Instant::now() + timeout.to_std();
    loop {
        let mut found = Vec::with_capacity(items.len());
        let mut unwatched = false;
        for item in items {
            found.push((item, look(access, item, rules, clock, &mut unwatched).await));
        }
        let now = tokio::time::Instant::now();
        if let Some(result) = judge(&found, rules, now >= deadline) {
            turn.take().await;
            return result.map_err(WaitError::Failed);
        }
        let left = deadline.saturating_duration_since(now) + Duration::from_millis(5);
        rest(if unwatched { left.min(LOOK_EVERY) } else { left }, turn).await?;
    }
}

/// Waits until all are gone; the keys of those that stay when the time is up.
pub(crate) async fn until_gone(
    access: &Access,
    items: &[Reference],
    timeout: GoDuration,
    turn: &mut Turn,
) -> Result<Vec<String>, WaitError> {
    let deadline = tokio::time::Instant::now() + timeout.to_std();
    loop {
        let mut left = Vec::new();
        for item in items {
            let seen = matches!(access.target.owned.health(&item.key), Seen::Health(_));
            if seen || !matches!(access.get(&item.key, &item.resource).await, Ok(None)) {
                left.push(item.key.to_string());
            }
        }
        let now = tokio::time::Instant::now();
        if left.is_empty() || now >= deadline {
            turn.take().await;
            return Ok(left);
        }
        rest(deadline.saturating_duration_since(now).min(LOOK_EVERY), turn).await?;
    }
}

async fn rest(at_most: Duration, turn: &mut Turn) -> Result<(), WaitError> {
    turn.yield_place();
    let (wake, cancel) = (turn.wake.clone(), turn.cancel.clone());
    tokio::select! {
        () = wake.notified() => Ok(()),
        () = tokio::time::sleep(at_most) => Ok(()),
        () = cancel.cancelled() => {
            turn.take().await;
            Err(WaitError::Cancelled)
        }
    }
}

async fn look(access: &Access, item: &Reference, rules: Rules<'_>, clock: &Clock, unwatched: &mut bool) -> Health {
    let Reference { key, resource } = item;
    let begun = rules.jobs_begun && key.kind == "Job";
    let plain = rules.expressions.of(&resource.gvk()).is_none() && !(rules.hooks && key.kind == "Pod") && !begun;
    if plain && let Seen::Health(health) = access.target.owned.health(key) {
        return health;
    }
    *unwatched = true;
    match access.get(key, resource).await {
        Ok(Some(object)) if rules.hooks && key.kind == "Pod" => pod_of_a_hook(&object),
        Ok(Some(object)) if begun && object.field(&["status", "startTime"]).is_some() => {
            let health = assess_with(&object, rules.expressions, clock.now());
            if health.status == Status::InProgress { Health::new(Status::Current, "it has begun") } else { health }
        }
        Ok(Some(object)) => assess_with(&object, rules.expressions, clock.now()),
        Ok(None) => Health::new(Status::NotFound, "not found"),
        Err(error) => Health::new(Status::Unknown, error.chain()),
    }
}

/// The Pod of a hook has done its work when it has ended, not when it is ready.
fn pod_of_a_hook(object: &Object) -> Health {
    match object.field(&["status", "phase"]).and_then(Value::as_str) {
        Some("Succeeded") => Health::new(Status::Current, "it succeeded"),
        Some("Failed") => Health::new(Status::Failed, "it failed"),
        _ => Health::new(Status::InProgress, "it runs"),
    }
}

/// What is waited for: all but what never gets ready by itself.
pub(crate) fn awaited(items: &[Item]) -> Vec<Reference> {
    let counts = |item: &&Item| {
        let object = &item.desired.object;
        let paused = object.kind() == "Deployment" && object.field(&["spec", "paused"]).and_then(Value::as_bool) == Some(true);
        !paused
    };
    items.iter().filter(counts).map(Item::reference).collect()
}

/// Objects of hooks that are waited for.
pub(crate) fn awaited_of_hook(item: &Item) -> bool {
    matches!(item.key().kind.as_str(), "Job" | "Pod")
}

fn judge(found: &[(&Reference, Health)], rules: Rules<'_>, overdue: bool) -> Option<Result<(), String>> {
    let list = |wanted: &dyn Fn(Status) -> bool| {
        let lines: Vec<String> = found
            .iter()
            .filter(|(_, health)| wanted(health.status))
            .map(|(item, health)| match health.status {
                Status::Unknown => format!("{} status: 'Unknown': {}", item.key, health.message),
                Status::Terminating => format!("{} status: 'InProgress'", item.key),
                status => format!("{} status: '{status}'", item.key),
            })
            .collect();
        (lines.len(), format!("[{}]", lines.join(", ")))
    };
    let (open, open_list) = list(&|status| status != Status::Current);
    if open == 0 {
        return Some(Ok(()));
    }
    let (failed, failed_list) = list(&|status| status == Status::Failed);
    if failed > 0 && (rules.fail_fast || failed == open) && !rules.legacy {
        return Some(Err(format!("failed early due to stalled resources: {failed_list}")));
    }
    overdue.then(|| Err(if rules.legacy { "context deadline exceeded".to_owned() } else { format!("timeout waiting for: {open_list}") }))
}

/// Deletes objects and waits until they are gone.
pub(crate) async fn delete_and_wait(access: &Access, items: &[Item], timeout: GoDuration, turn: &mut Turn) -> Result<(), WaitError> {
    let failed = |error: cluster::Error| WaitError::Failed(error.chain());
    let mut doomed = Vec::new();
    for item in items {
        // A definition takes all its objects with it: Helm never deletes one for a hook.
        if item.key().kind == "CustomResourceDefinition" {
            continue;
        }
        match access.get(item.key(), &item.resource).await {
            Ok(None) => continue,
            Ok(Some(_)) => {}
            Err(error) => return Err(failed(error)),
        }
        access.delete(item.key(), &item.resource, cluster::Propagation::Background).await.map_err(failed)?;
        doomed.push(item.reference());
    }
    if doomed.is_empty() {
        return Ok(());
    }
    let left = until_gone(access, &doomed, timeout, turn).await?;
    if left.is_empty() {
        return Ok(());
    }
    Err(WaitError::Failed(format!("{} termination timeout: context deadline exceeded", left.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects;
    use cluster::Resource;
    use plan::Desired;
    use serde_json::json;
    use std::sync::Arc;

    fn item(kind: &str, name: &str, spec: Value) -> Item {
        let object = json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": "n"}, "spec": spec});
        let desired = Arc::new(Desired::new(Object::new(object).unwrap()));
        Item { desired, resource: Resource::namespaced("apps", "v1", kind, "things") }
    }

    fn verdict(states: &[Status], fail_fast: bool, legacy: bool, overdue: bool) -> Option<Result<(), String>> {
        let items: Vec<Item> = (0..states.len()).map(|n| item("Deployment", &format!("d{n}"), json!({}))).collect();
        let items: Vec<Reference> = items.iter().map(Item::reference).collect();
        let found: Vec<(&Reference, Health)> = items.iter().zip(states).map(|(item, status)| (item, Health::new(*status, "why"))).collect();
        let expressions = Expressions::default();
        judge(&found, Rules { expressions: &expressions, fail_fast, hooks: false, legacy, jobs_begun: false }, overdue)
    }

    #[test]
    fn a_wait_ends_in_the_words_of_helm() {
        use Status::*;
        assert_eq!(verdict(&[Current, Current], true, false, false), Some(Ok(())));
        assert_eq!(verdict(&[Current, InProgress], true, false, false), None);
        let timeout = "timeout waiting for: [Deployment/n/d0 status: 'InProgress', Deployment/n/d1 status: 'NotFound']";
        assert_eq!(verdict(&[InProgress, NotFound], true, false, true), Some(Err(timeout.to_owned())));
        let early = "failed early due to stalled resources: [Deployment/n/d1 status: 'Failed']";
        assert_eq!(verdict(&[InProgress, Failed], true, false, false), Some(Err(early.to_owned())));
        assert_eq!(verdict(&[InProgress, Failed], false, false, false), None);
        assert_eq!(verdict(&[InProgress], true, true, true), Some(Err("context deadline exceeded".to_owned())));
    }

    #[test]
    fn paused_deployments_are_not_waited_for() {
        let items = [item("Deployment", "a", json!({"paused": true})), item("Job", "b", json!({})), item("Deployment", "c", json!({}))];
        let names: Vec<String> = awaited(&items).iter().map(|item| item.key.name.clone()).collect();
        assert_eq!(names, ["b", "c"]);
    }

    #[test]
    fn the_pod_of_a_hook_is_done_when_it_has_ended() {
        let pod = |phase: &str| {
            let conditions = json!([{"type": "Ready", "status": "True"}]);
            let value =
                json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "status": {"phase": phase, "conditions": conditions}});
            pod_of_a_hook(&objects::read(value.to_string().as_bytes()).unwrap()).status
        };
        assert_eq!((pod("Running"), pod("Succeeded"), pod("Failed")), (Status::InProgress, Status::Current, Status::Failed));
    }
}
