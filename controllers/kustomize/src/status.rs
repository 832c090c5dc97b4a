//! What is told of a visit: conditions, history, events. Values in, values out.

use crate::spec;
use api::{
    Condition, Conditions,
    kustomize::{Kustomization, KustomizationStatus, Snapshot},
    meta::{self, FALSE, ResourceInventory, ResourceRef, TRUE, Time, UNKNOWN, reason},
};
use jiff::Timestamp;
use plan::{Entry, Inventory};
use runtime::Event;
use std::collections::BTreeMap;
use types::GoDuration;

const HISTORY_MAX: usize = 5;
pub(crate) const FEATURE_GATE_DISABLED: &str = "FeatureGateDisabled";
/// A guard rail holds what would be done.
pub(crate) const HELD: &str = "Held";

/// What a visit is doing, as people see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Fetching,
    Building,
    Detecting,
    Checking,
}

/// The facts of one attempt that everything told of it shares.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub started: Timestamp,
    pub revision: String,
    pub origin_revision: String,
    /// Of the built objects; empty before the build.
    pub digest: String,
}

/// Why an attempt failed.
#[derive(Debug, Clone)]
pub(crate) struct Failed {
    pub reason: &'static str,
    pub message: String,
    /// What was being done; none for failures before the source was fetched.
    pub phase: Option<Phase>,
    /// Nothing but a change of the spec helps.
    pub terminal: bool,
}

impl Failed {
    pub(crate) fn new(reason: &'static str, phase: Option<Phase>, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), phase, terminal: false }
    }

    pub(crate) fn terminal(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), phase: None, terminal: true }
    }
}

fn phase_message(phase: Phase, this: &Kustomization, revision: &str) -> String {
    let doing = match phase {
        Phase::Fetching => "Fetching manifests",
        Phase::Building => "Building manifests",
        Phase::Detecting => "Detecting drift",
        Phase::Checking => "Running health checks",
    };
    format!("{doing} for revision {revision} with a timeout of {}", spec::timeout(this))
}

/// The status that a visit begins with.
pub(crate) fn stored(this: &Kustomization) -> KustomizationStatus {
    this.status.clone().unwrap_or_else(|| KustomizationStatus { observed_generation: -1, ..Default::default() })
}

pub(crate) fn inventory(status: &KustomizationStatus) -> Inventory {
    let entries = status.inventory.iter().flat_map(|inventory| &inventory.entries);
    entries.filter_map(|entry| Entry::parse(&entry.id, &entry.v)).collect()
}

pub(crate) fn set_inventory(status: &mut KustomizationStatus, inventory: &Inventory) {
    if inventory.is_empty() && status.inventory.is_none() {
        return;
    }
    status.inventory = Some(ResourceInventory { entries: references(inventory) });
}

/// The entries as `status.inventory` has them.
pub(crate) fn references(inventory: &Inventory) -> Vec<ResourceRef> {
    inventory.entries().iter().map(|entry| ResourceRef { id: entry.id(), v: entry.version.clone() }).collect()
}

/// After a failure that left nothing behind there may be no inventory at all, as before.
pub(crate) fn set_inventory_after_failure(status: &mut KustomizationStatus, inventory: &Inventory) {
    set_inventory(status, inventory);
    if inventory.is_empty() {
        status.inventory = None;
    }
}

/// Notes the reconcile request as answered.
fn answer_request(this: &Kustomization, status: &mut KustomizationStatus) {
    if let Some(token) = spec::annotation(this, meta::RECONCILE_REQUEST) {
        status.last_handled_reconcile_at = token.to_owned();
    }
}

/// A state on the way.
pub(crate) fn progressing(
    this: &Kustomization,
    mut status: KustomizationStatus,
    phase: Phase,
    revision: &str,
    now: Timestamp,
) -> KustomizationStatus {
    let (generation, time, message) = (spec::generation(this), Time(now), phase_message(phase, this, revision));
    let conditions = &mut status.conditions;
    conditions.remove_condition(meta::STALLED);
    conditions.set_condition(Condition::new(meta::RECONCILING, TRUE, reason::PROGRESSING, message.clone()), generation, time);
    if !conditions.is_ready() || status.observed_generation != generation {
        conditions.set_condition(Condition::new(meta::READY, UNKNOWN, reason::PROGRESSING, message.clone()), generation, time);
    }
    if phase == Phase::Checking && !conditions.condition(meta::HEALTHY).is_some_and(Condition::is_true) {
        conditions.set_condition(Condition::new(meta::HEALTHY, UNKNOWN, reason::PROGRESSING, message), generation, time);
    }
    status.last_attempted_revision = revision.to_owned();
    status
}

/// Everything is as it should be; `healthy` is how long the checks took, or none when there are none.
pub(crate) fn succeeded(
    this: &Kustomization,
    mut status: KustomizationStatus,
    attempt: &Attempt,
    inventory: &Inventory,
    healthy: Option<GoDuration>,
    now: Timestamp,
) -> KustomizationStatus {
    let (generation, time) = (spec::generation(this), Time(now));
    let conditions = &mut status.conditions;
    conditions.remove_condition(meta::RECONCILING);
    conditions.remove_condition(meta::STALLED);
    conditions.remove_condition(HELD);
    match healthy {
        None => {
            conditions.remove_condition(meta::HEALTHY);
        }
        Some(took) => {
            let message = format!("Health check passed in {took}");
            conditions.set_condition(Condition::new(meta::HEALTHY, TRUE, reason::SUCCEEDED, message), generation, time);
        }
    }
    let message = format!("Applied revision: {}", attempt.revision);
    conditions.set_condition(Condition::new(meta::READY, TRUE, reason::RECONCILIATION_SUCCEEDED, message), generation, time);
    status.observed_generation = generation;
    status.last_applied_revision = attempt.revision.clone();
    status.last_applied_origin_revision = attempt.origin_revision.clone();
    status.last_attempted_revision = attempt.revision.clone();
    set_inventory(&mut status, inventory);
    answer_request(this, &mut status);
    remember(&mut status, attempt, reason::RECONCILIATION_SUCCEEDED, now);
    status
}

/// Something is in the way.
pub(crate) fn failed(
    this: &Kustomization,
    mut status: KustomizationStatus,
    attempt: &Attempt,
    failed: &Failed,
    now: Timestamp,
) -> KustomizationStatus {
    let (generation, time) = (spec::generation(this), Time(now));
    let conditions = &mut status.conditions;
    conditions.remove_condition(HELD);
    let set = |conditions: &mut Vec<Condition>, kind: &str, value: &str, why: &str, message: &str| {
        conditions.set_condition(Condition::new(kind, value, why, message), generation, time);
    };
    set(conditions, meta::READY, FALSE, failed.reason, &failed.message);
    match failed.phase {
        Some(phase) => {
            let message = phase_message(phase, this, &attempt.revision);
            set(conditions, meta::RECONCILING, TRUE, reason::PROGRESSING_WITH_RETRY, &message);
            if phase != Phase::Fetching {
                status.last_attempted_revision = attempt.revision.clone();
            }
        }
        None => {
            conditions.remove_condition(meta::RECONCILING);
        }
    }
    if failed.terminal {
        set(conditions, meta::STALLED, TRUE, failed.reason, &failed.message);
        // What the operator has to allow may be allowed without a new generation.
        if failed.reason == reason::INVALID_CEL_EXPRESSION {
            status.observed_generation = generation;
        }
    } else {
        conditions.remove_condition(meta::STALLED);
    }
    if failed.reason == reason::HEALTH_CHECK_FAILED {
        // The condition says what failed, Ready also how long it took.
        let cause = failed.message.split_once(": ").map_or(failed.message.as_str(), |(_, cause)| cause);
        set(conditions, meta::HEALTHY, FALSE, reason::HEALTH_CHECK_FAILED, cause);
    } else if !spec::checks_health(this) {
        conditions.remove_condition(meta::HEALTHY);
    }
    if failed.reason == HELD {
        set(conditions, HELD, TRUE, HELD, &failed.message);
    }
    answer_request(this, &mut status);
    if !attempt.digest.is_empty() {
        remember(&mut status, attempt, failed.reason, now);
    }
    status
}

/// Counts the attempt: an equal one moves to the front, a new one is put there.
fn remember(status: &mut KustomizationStatus, attempt: &Attempt, outcome: &str, now: Timestamp) {
    let took = GoDuration::from_nanos(i64::try_from(now.as_nanosecond() - attempt.started.as_nanosecond()).unwrap_or(0).max(0));
    let at = status.history.iter().position(|one| one.digest == attempt.digest && one.last_reconciled_status == outcome);
    let mut snapshot = match at {
        Some(at) => status.history.remove(at),
        None => Snapshot {
            digest: attempt.digest.clone(),
            first_reconciled: Time(now),
            last_reconciled_status: outcome.to_owned(),
            ..Default::default()
        },
    };
    snapshot.last_reconciled = Time(now);
    snapshot.last_reconciled_duration = took;
    snapshot.total_reconciliations += 1;
    snapshot.metadata = BTreeMap::from([("revision".to_owned(), attempt.revision.clone())]);
    if !attempt.origin_revision.is_empty() {
        snapshot.metadata.insert("originRevision".to_owned(), attempt.origin_revision.clone());
    }
    status.history.insert(0, snapshot);
    status.history.truncate(HISTORY_MAX);
}

/// Puts on an event what all events of an attempt carry.
pub(crate) fn of(event: Event, attempt: &Attempt) -> Event {
    event.with("revision", &attempt.revision).with("originRevision", &attempt.origin_revision)
}

pub(crate) fn finished(this: &Kustomization, attempt: &Attempt, now: Timestamp) -> Event {
    let took = GoDuration::from_nanos(i64::try_from(now.as_nanosecond() - attempt.started.as_nanosecond()).unwrap_or(0).max(0));
    let message = format!("Reconciliation finished in {took}, next run in {}", this.spec.interval);
    of(Event::info(reason::RECONCILIATION_SUCCEEDED, message), attempt).with("commit_status", "update")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn this() -> Kustomization {
        let mut this = Kustomization::named("n", "a");
        this.metadata.generation = Some(2);
        this.spec.interval = GoDuration::from_secs(3600);
        this
    }

    fn attempt(digest: &str) -> Attempt {
        Attempt { started: at(0), revision: "main@sha1:ab".into(), origin_revision: String::new(), digest: digest.into() }
    }

    #[test]
    fn a_failure_after_fetching_keeps_trying_and_one_before_does_not_say_so() {
        let told = failed(&this(), stored(&this()), &attempt(""), &Failed::new("BuildFailed", Some(Phase::Building), "broken"), at(1));
        let reconciling = told.conditions.condition(meta::RECONCILING).unwrap();
        assert_eq!(
            (reconciling.reason.as_str(), reconciling.message.as_str()),
            ("ProgressingWithRetry", "Building manifests for revision main@sha1:ab with a timeout of 59m30s")
        );
        assert_eq!((told.observed_generation, told.last_attempted_revision.as_str(), told.history.len()), (-1, "main@sha1:ab", 0));
        let told = failed(&this(), stored(&this()), &attempt(""), &Failed::new("ArtifactFailed", None, "none"), at(1));
        assert!(told.conditions.condition(meta::RECONCILING).is_none() && told.last_attempted_revision.is_empty());
    }

    #[test]
    fn a_terminal_failure_stalls_and_counts_as_observed() {
        let told = failed(&this(), stored(&this()), &attempt(""), &Failed::terminal("InvalidCELExpression", "bad"), at(1));
        assert!(told.conditions.condition(meta::STALLED).is_some_and(Condition::is_true));
        assert_eq!(told.observed_generation, 2);
        let told = succeeded(&this(), told, &attempt("sha256:1"), &Inventory::default(), None, at(2));
        assert!(told.conditions.condition(meta::STALLED).is_none() && told.conditions.is_ready());
    }

    #[test]
    fn history_keeps_five_and_moves_what_comes_back_to_the_front() {
        let mut status = stored(&this());
        for n in 0..7 {
            remember(&mut status, &attempt(&format!("sha256:{n}")), "ReconciliationSucceeded", at(n));
        }
        remember(&mut status, &attempt("sha256:4"), "ReconciliationSucceeded", at(9));
        let list: Vec<_> = status.history.iter().map(|one| (one.digest.as_str(), one.total_reconciliations)).collect();
        assert_eq!(list, [("sha256:4", 2), ("sha256:6", 1), ("sha256:5", 1), ("sha256:3", 1), ("sha256:2", 1)]);
        remember(&mut status, &attempt("sha256:4"), "PruneFailed", at(10));
        assert_eq!(status.history[0].total_reconciliations, 1, "another outcome is another entry");
    }

    #[test]
    fn a_request_is_answered_whatever_comes_of_it() {
        let mut this = this();
        this.metadata.annotations = Some([(meta::RECONCILE_REQUEST.to_owned(), "now".to_owned())].into());
        let told = failed(&this, stored(&this), &attempt(""), &Failed::new("ArtifactFailed", None, "none"), at(1));
        assert_eq!(told.last_handled_reconcile_at, "now");
    }
}
