//! Kustomizations whose objects are on their way. No worker waits: watches and timers lead back here.

use apply::{Seen, Target};
use cluster::{Client, Error};
use health::{Expressions, Health, Status, assess_with};
use jiff::Timestamp;
use object::{GroupVersionKind, Object, ObjectKey};
use plan::Inventory;
use serde_json::Value;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use types::{GoDuration, NamespacedName};

use crate::status::Attempt;

/// How often objects that no watch tells of are looked at.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(2);

/// One object that must become healthy.
#[derive(Debug, Clone)]
pub(crate) struct Check {
    pub key: ObjectKey,
    pub gvk: GroupVersionKind,
    /// A Job that cleans up after itself: it may be gone.
    pub may_be_gone: bool,
}

/// What one Kustomization waits for, and what was done before.
#[derive(Debug, Clone)]
pub(crate) struct Wait {
    /// The spec, request and source that this wait is for; another one makes it void.
    pub token: String,
    pub attempt: Attempt,
    pub since: Timestamp,
    pub deadline: Timestamp,
    pub timeout: GoDuration,
    pub checks: Vec<Check>,
    pub inventory: Inventory,
    /// The attempt changed something.
    pub changed: bool,
    pub was_healthy: bool,
}

/// The table of waits.
#[derive(Debug, Default)]
pub(crate) struct Waits(Mutex<HashMap<NamespacedName, Wait>>);

impl Waits {
    pub(crate) fn get(&self, key: &NamespacedName) -> Option<Wait> {
        self.lock().get(key).cloned()
    }

    pub(crate) fn contains(&self, key: &NamespacedName) -> bool {
        self.lock().contains_key(key)
    }

    pub(crate) fn set(&self, key: NamespacedName, wait: Wait) {
        self.lock().insert(key, wait);
    }

    pub(crate) fn end(&self, key: &NamespacedName) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NamespacedName, Wait>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a look at all checks came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Healthy,
    /// Look again at the latest after this time.
    Wait(Duration),
    Failed(String),
}

/// Looks at every check once.
pub(crate) async fn look(
    wait: &Wait,
    target: &Target,
    client: &Client,
    expressions: &Expressions,
    fail_fast: bool,
    now: Timestamp,
) -> Verdict {
    let mut found: Vec<(&Check, Health)> = Vec::new();
    let mut unwatched = false;
    for check in &wait.checks {
        let seen = if expressions.of(&check.gvk).is_none() { target.owned.health(&check.key) } else { Seen::Nothing };
        let health = match seen {
            Seen::Health(health) => health,
            Seen::Nothing => {
                unwatched = true;
                read(check, target, client, expressions, now).await
            }
        };
        found.push((check, health));
    }
    judge(&found, wait, unwatched, fail_fast, now)
}

/// Decides from what was found.
fn judge(found: &[(&Check, Health)], wait: &Wait, unwatched: bool, fail_fast: bool, now: Timestamp) -> Verdict {
    let list = |wanted: &dyn Fn(Status) -> bool| {
        let lines: Vec<String> =
            found.iter().filter(|(_, health)| wanted(health.status)).map(|(check, health)| line(&check.key, health)).collect();
        (lines.len(), format!("[{}]", lines.join(", ")))
    };
    let (open, open_list) = list(&|status| status != Status::Current);
    let (failed, failed_list) = list(&|status| status == Status::Failed);
    let took = GoDuration::from_nanos(i64::try_from(now.as_nanosecond() - wait.since.as_nanosecond()).unwrap_or(0));
    if open == 0 {
        return Verdict::Healthy;
    }
    if failed > 0 && (fail_fast || failed == open) {
        return Verdict::Failed(format!("health check failed after {took}: failed early due to stalled resources: {failed_list}"));
    }
    if now >= wait.deadline {
        return Verdict::Failed(format!("health check failed after {}: timeout waiting for: {open_list}", wait.timeout));
    }
    let left = Duration::from_nanos(u64::try_from(wait.deadline.as_nanosecond() - now.as_nanosecond()).unwrap_or(0));
    // A little past the deadline, so that the next look does not come too early by a rounding.
    let left = left + Duration::from_millis(5);
    Verdict::Wait(if unwatched { left.min(LOOK_EVERY) } else { left })
}

fn line(key: &ObjectKey, health: &Health) -> String {
    if health.status == Status::Unknown {
        return format!("{key} status: 'Unknown': {}", health.message);
    }
    // What is being deleted is on its way too.
    let status = if health.status == Status::Terminating { Status::InProgress } else { health.status };
    format!("{key} status: '{status}'")
}

async fn read(check: &Check, target: &Target, client: &Client, expressions: &Expressions, now: Timestamp) -> Health {
    let unknown = |message: String| Health::new(Status::Unknown, message);
    let resource = match target.discovery.resolve(&check.gvk).await {
        Ok(resource) => resource,
        Err(Error::NoMatch { .. }) => {
            return unknown(format!("no matches for kind {:?} in group {:?}", check.gvk.kind, check.gvk.group));
        }
        Err(error) => return unknown(error.chain()),
    };
    let bytes = match client.get_opt(&resource, &check.key.namespace, &check.key.name).await {
        Ok(Some(bytes)) => bytes,
        Ok(None) if check.may_be_gone => return Health::new(Status::Current, "it finished and was cleaned up"),
        Ok(None) => return Health::new(Status::NotFound, "not found"),
        Err(error) => return unknown(error.chain()),
    };
    match serde_json::from_slice::<Value>(&bytes).ok().and_then(|value| Object::new(value).ok()) {
        Some(object) => assess_with(&object, expressions, now),
        None => unknown("it cannot be read".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn check(name: &str) -> Check {
        let gvk = GroupVersionKind::new("apps", "v1", "Deployment");
        let key = ObjectKey { group: "apps".into(), kind: "Deployment".into(), namespace: "n".into(), name: name.into() };
        Check { key, gvk, may_be_gone: false }
    }

    fn verdict(states: &[Status], fail_fast: bool, second: i64) -> Verdict {
        let attempt = Attempt { started: at(0), revision: String::new(), origin_revision: String::new(), digest: String::new() };
        let wait = Wait {
            token: String::new(),
            attempt,
            since: at(0),
            deadline: at(30),
            timeout: GoDuration::from_secs(30),
            checks: vec![],
            inventory: Inventory::default(),
            changed: false,
            was_healthy: false,
        };
        let checks = [check("a"), check("b")];
        let found: Vec<_> = checks.iter().zip(states).map(|(check, status)| (check, Health::new(*status, "why"))).collect();
        judge(&found, &wait, false, fail_fast, at(second))
    }

    #[test]
    fn a_wait_ends_in_one_of_flux_s_sentences() {
        use Status::*;
        assert_eq!(verdict(&[Current, Current], true, 1), Verdict::Healthy);
        assert!(matches!(verdict(&[Current, InProgress], true, 1), Verdict::Wait(left) if left > Duration::from_secs(28)));
        assert_eq!(
            verdict(&[InProgress, NotFound], true, 30),
            Verdict::Failed("health check failed after 30s: timeout waiting for: [Deployment/n/a status: 'InProgress', Deployment/n/b status: 'NotFound']".into())
        );
        assert_eq!(
            verdict(&[InProgress, Failed], true, 2),
            Verdict::Failed(
                "health check failed after 2s: failed early due to stalled resources: [Deployment/n/b status: 'Failed']".into()
            )
        );
        assert!(matches!(verdict(&[InProgress, Failed], false, 2), Verdict::Wait(_)));
        assert!(matches!(verdict(&[Current, Failed], false, 2), Verdict::Failed(_)), "nothing is left that could change");
        assert!(
            matches!(verdict(&[Current, Unknown], true, 30), Verdict::Failed(text) if text.ends_with("[Deployment/n/b status: 'Unknown': why]"))
        );
    }
}
