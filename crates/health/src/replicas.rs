use crate::{
    Health,
    generic::{conditions, integer, text},
};
use object::Object;

/// One number that must not be below another, and how to say that it is.
struct Rule {
    want: Count,
    have: Count,
    says: &'static str,
}

#[derive(Clone, Copy)]
enum Count {
    /// `spec.replicas`, one when not set.
    Wanted,
    /// A number under `status`, zero when not set.
    Status(&'static str),
}

impl Count {
    fn of(self, object: &Object) -> i64 {
        match self {
            Count::Wanted => integer(object, &["spec", "replicas"]).unwrap_or(1),
            Count::Status(field) => integer(object, &["status", field]).unwrap_or(0),
        }
    }
}

const fn at_least(want: Count, have: &'static str, says: &'static str) -> Rule {
    Rule { want, have: Count::Status(have), says }
}

const fn at_most_wanted(have: &'static str) -> Rule {
    Rule { want: Count::Status(have), have: Count::Wanted, says: "Pending termination" }
}

const DEPLOYMENT: &[Rule] = &[
    at_least(Count::Wanted, "replicas", "Replicas"),
    at_least(Count::Wanted, "updatedReplicas", "Updated"),
    at_most_wanted("replicas"),
    at_least(Count::Status("updatedReplicas"), "availableReplicas", "Available"),
    at_least(Count::Wanted, "readyReplicas", "Ready"),
];
const STATEFUL_SET: &[Rule] =
    &[at_least(Count::Wanted, "replicas", "Replicas"), at_least(Count::Wanted, "readyReplicas", "Ready"), at_most_wanted("replicas")];
const REPLICA_SET: &[Rule] = &[
    at_least(Count::Wanted, "fullyLabeledReplicas", "Labelled"),
    at_least(Count::Wanted, "availableReplicas", "Available"),
    at_least(Count::Wanted, "readyReplicas", "Ready"),
    at_most_wanted("replicas"),
];
const DESIRED: Count = Count::Status("desiredNumberScheduled");
const DAEMON_SET: &[Rule] = &[
    at_least(DESIRED, "currentNumberScheduled", "Current"),
    at_least(DESIRED, "updatedNumberScheduled", "Updated"),
    at_least(DESIRED, "numberAvailable", "Available"),
    at_least(DESIRED, "numberReady", "Ready"),
];

pub(crate) fn assess(group: &str, kind: &str, object: &Object) -> Option<Health> {
    match (group, kind) {
        ("apps" | "extensions", "Deployment") => Some(deployment(object)),
        ("apps", "StatefulSet") => Some(stateful_set(object)),
        ("apps" | "extensions", "ReplicaSet") => Some(replica_set(object)),
        ("apps" | "extensions", "DaemonSet") => Some(daemon_set(object)),
        _ => None,
    }
}

/// The first rule that does not hold.
fn broken(rules: &[Rule], object: &Object) -> Option<Health> {
    rules.iter().find_map(|rule| {
        let (want, have) = (rule.want.of(object), rule.have.of(object));
        (want > have).then(|| match rule.have {
            Count::Wanted => Health::in_progress(format!("{}: {}", rule.says, want - have)),
            Count::Status(_) => Health::in_progress(format!("{}: {have}/{want}", rule.says)),
        })
    })
}

fn deployment(object: &Object) -> Health {
    let all = || conditions(object);
    if all().any(|c| c.kind == "Progressing" && c.reason == "ProgressDeadlineExceeded") {
        return Health::failed("Progress deadline exceeded");
    }
    if let Some(health) = broken(DEPLOYMENT, object) {
        return health;
    }
    // Without a deadline the controller writes no Progressing condition; the largest integer means none too.
    let deadline = integer(object, &["spec", "progressDeadlineSeconds"]).filter(|seconds| *seconds != i64::from(i32::MAX));
    if deadline.is_some() && !all().any(|c| c.is("Progressing", "True") && c.reason == "NewReplicaSetAvailable") {
        return Health::in_progress("ReplicaSet not Available");
    }
    if !all().any(|c| c.is("Available", "True")) {
        return Health::in_progress("Deployment not Available");
    }
    Health::current(format!("Deployment is available. Replicas: {}", Count::Status("replicas").of(object)))
}

fn stateful_set(object: &Object) -> Health {
    if text(object, &["spec", "updateStrategy", "type"]) == "OnDelete" {
        return Health::current("StatefulSet is using the ondelete update strategy");
    }
    if let Some(health) = broken(STATEFUL_SET, object) {
        return health;
    }
    let updated = Count::Status("updatedReplicas").of(object);
    if let Some(partition) = integer(object, &["spec", "updateStrategy", "rollingUpdate", "partition"]) {
        let wanted = Count::Wanted.of(object) - partition;
        if updated < wanted {
            return Health::in_progress(format!("updated: {updated}/{wanted}"));
        }
        return Health::current(format!("Partition rollout complete. updated: {updated}"));
    }
    if let Some(health) = broken(&[at_least(Count::Wanted, "currentReplicas", "current")], object) {
        return health;
    }
    if text(object, &["status", "currentRevision"]) != text(object, &["status", "updateRevision"]) {
        return Health::in_progress("Waiting for updated revision to match current");
    }
    Health::current(format!("All replicas scheduled as expected. Replicas: {}", Count::Status("replicas").of(object)))
}

fn replica_set(object: &Object) -> Health {
    if conditions(object).any(|c| c.is("ReplicaFailure", "True")) {
        return Health::in_progress("Replica Failure condition. Check Pods");
    }
    broken(REPLICA_SET, object)
        .unwrap_or_else(|| Health::current(format!("ReplicaSet is available. Replicas: {}", Count::Status("replicas").of(object))))
}

fn daemon_set(object: &Object) -> Health {
    // Once the controller has seen the object both are set, so their absence means that it has not.
    for (path, says) in [
        (["metadata", "generation"], "Missing .metadata.generation"),
        (["status", "observedGeneration"], "Missing .status.observedGeneration"),
    ] {
        if integer(object, &path).is_none() {
            return Health::in_progress(says);
        }
    }
    if integer(object, &["status", "desiredNumberScheduled"]).is_none() {
        return Health::in_progress("Missing .status.desiredNumberScheduled");
    }
    broken(DAEMON_SET, object)
        .unwrap_or_else(|| Health::current(format!("All replicas scheduled as expected. Replicas: {}", DESIRED.of(object))))
}
