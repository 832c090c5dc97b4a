//! A Job: pods until enough of them succeeded, or too many failed.

use super::children::{Held, pod_of};
use super::pods::{is_active, is_deleting, is_ready, now_seconds, number, phase, restarts, seconds};
use super::{JOBS, PODS, Workloads};
use crate::api::{child, now, text};
use crate::protocol::status::Result;
use crate::registry::crd::condition_holds;
use crate::store::{Place, Record};
use crate::strategy::child_of_metadata;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// Keeps a pod until its end was counted.
const TRACKING: &str = "batch.kubernetes.io/job-tracking";
/// What `spec.managedBy` names where no other controller is meant.
const OURSELVES: &str = "kubernetes.io/job-controller";
/// So many pods are made before others get their turn.
const BURST: i64 = 200;

/// How a Job ends.
struct Ending {
    kind: &'static str,
    before: &'static str,
    reason: &'static str,
    message: String,
}

impl Ending {
    fn failed(reason: &'static str, message: &str) -> Self {
        Self { kind: "Failed", before: "FailureTarget", reason, message: message.to_owned() }
    }
}

pub fn sync(workloads: &mut Workloads, place: &Place, record: &Arc<Record>) -> Result<()> {
    let job = record.value();
    if record.facts.deleting || !matches!(text(&job, "/spec/managedBy"), "" | OURSELVES) {
        return Ok(());
    }
    let mut pods = workloads.claim(record, &job, PODS)?;
    if condition_holds(&job, "Complete") || condition_holds(&job, "Failed") {
        release_counted(workloads, &pods)?;
        return forget(workloads, place, record, &job);
    }
    let all = pods.clone();
    let indexed = text(&job, "/spec/completionMode") == "Indexed";
    let suspended = job.pointer("/spec/suspend").is_some_and(|s| *s == true);
    let indexes: BTreeSet<i64> = pods.iter().filter(|(_, pod)| phase(pod) == "Succeeded").filter_map(|(_, pod)| index_of(pod)).collect();
    let count = |wanted: &str| i64::try_from(pods.iter().filter(|(_, pod)| phase(pod) == wanted).count()).unwrap_or(i64::MAX);
    // What was counted once stays counted when the pod is removed.
    let succeeded = if indexed { indexes.len().try_into().unwrap_or(i64::MAX) } else { count("Succeeded") };
    let succeeded = succeeded.max(number(&job, "/status/succeeded", 0));
    let mut failed = count("Failed").max(number(&job, "/status/failed", 0));
    let start = match (text(&job, "/status/startTime"), suspended) {
        (_, true) => None,
        ("", false) => Some(now()),
        (start, false) => Some(start.to_owned()),
    };
    let mut ending = ending(workloads, place, &job, &pods, succeeded, failed, start.as_deref());
    pods.retain(|(_, pod)| is_active(pod));
    if ending.as_ref().is_some_and(|ending| ending.kind == "Failed") || suspended {
        failed += if suspended { 0 } else { i64::try_from(pods.len()).unwrap_or(0) };
        for (pod, _) in pods.drain(..) {
            workloads.delete(PODS, &pod)?;
        }
    } else if ending.is_none() {
        make(workloads, place, &job, &mut pods, &indexes, indexed, succeeded)?;
    }
    if ending.is_some() && !pods.is_empty() {
        // Success without a count ends when the pods that still run have ended.
        ending = None;
    }
    write_status(workloads, record, &job, &pods, &indexes, indexed, suspended, succeeded, failed, start, ending)?;
    release_counted(workloads, &all)
}

/// Lets go of pods whose end stands in the status by now.
fn release_counted(workloads: &Workloads, pods: &[Held]) -> Result<()> {
    pods.iter().filter(|(_, pod)| !is_active(pod)).try_for_each(|(record, _)| release(workloads, &record.key))
}

fn release(workloads: &Workloads, key: &str) -> Result<()> {
    workloads.change(PODS, key, None, |mut pod| {
        let metadata = child(&mut pod, "metadata");
        let finalizers = metadata.get_mut("finalizers").and_then(Value::as_array_mut)?;
        finalizers.retain(|finalizer| finalizer != TRACKING);
        if finalizers.is_empty() {
            metadata.shift_remove("finalizers");
        }
        Some(pod)
    })?;
    Ok(())
}

/// A pod that no Job counts any more is nobody's to hold. A Job that goes asks for its pods to be looked at.
pub fn release_orphan(workloads: &Workloads, record: &Record) -> Result<()> {
    if !record.facts.has_finalizer(TRACKING) {
        return Ok(());
    }
    let controller = record.facts.owners.iter().find(|owner| owner.controls).and_then(|owner| workloads.api.store.place_of(owner.uid));
    let counts = controller.and_then(|place| workloads.api.store.get(&place.table, &place.key)).is_some_and(|job| !job.facts.deleting);
    if counts { Ok(()) } else { release(workloads, &record.key) }
}

fn index_of(pod: &Value) -> Option<i64> {
    pod.pointer("/metadata/annotations")?.get(INDEX)?.as_str()?.parse().ok()
}

fn ending(
    workloads: &mut Workloads,
    place: &Place,
    job: &Value,
    pods: &[Held],
    succeeded: i64,
    failed: i64,
    start: Option<&str>,
) -> Option<Ending> {
    let limit = number(job, "/spec/backoffLimit", 6);
    let restarted: i64 = pods.iter().filter(|(_, pod)| is_active(pod)).map(|(_, pod)| restarts(pod)).sum();
    if failed > limit || (restarted > 0 && restarted >= limit && text(job, "/spec/template/spec/restartPolicy") == "OnFailure") {
        return Some(Ending::failed("BackoffLimitExceeded", "Job has reached the specified backoff limit"));
    }
    if let (Some(deadline), Some(start)) = (job.pointer("/spec/activeDeadlineSeconds").and_then(Value::as_i64), start.and_then(seconds)) {
        let left = start + deadline - now_seconds();
        if left <= 0 {
            return Some(Ending::failed("DeadlineExceeded", "Job was active longer than specified deadline"));
        }
        workloads.again(place, Duration::from_secs(left.unsigned_abs()));
    }
    let enough = match job.pointer("/spec/completions").and_then(Value::as_i64) {
        Some(completions) => succeeded >= completions,
        // A work queue is empty once one pod says so and the others have ended.
        None => succeeded > 0,
    };
    let message = "Reached expected number of succeeded pods".to_owned();
    enough.then_some(Ending { kind: "Complete", before: "SuccessCriteriaMet", reason: "CompletionsReached", message })
}

/// Makes the pods that are missing.
fn make(
    workloads: &mut Workloads,
    place: &Place,
    job: &Value,
    pods: &mut Vec<Held>,
    done: &BTreeSet<i64>,
    indexed: bool,
    succeeded: i64,
) -> Result<()> {
    let parallelism = number(job, "/spec/parallelism", 1);
    let active = i64::try_from(pods.len()).unwrap_or(i64::MAX);
    let wanted = match job.pointer("/spec/completions").and_then(Value::as_i64) {
        Some(completions) => parallelism.min(completions - succeeded),
        None if succeeded > 0 => active,
        None => parallelism,
    };
    if active > wanted.max(0) {
        let surplus = usize::try_from(active - wanted.max(0)).unwrap_or(0);
        super::pods::cheapest_first(pods);
        for (pod, _) in pods.drain(..surplus) {
            workloads.delete(PODS, &pod)?;
        }
        return Ok(());
    }
    let missing = wanted - active;
    if missing > BURST {
        workloads.again(place, Duration::ZERO);
    }
    let mut taken: BTreeSet<i64> = pods.iter().filter_map(|(_, pod)| index_of(pod)).chain(done.iter().copied()).collect();
    for _ in 0..missing.min(BURST) {
        let mut pod = pod_of(job.pointer("/spec/template"), job);
        let name = text(job, "/metadata/name");
        let mut prefix = format!("{name}-");
        if indexed {
            let next = (0..).find(|at| !taken.contains(at)).unwrap_or(0);
            taken.insert(next);
            prefix = format!("{name}-{next}-");
            child_of_metadata(&mut pod, "annotations").insert(INDEX.to_owned(), json!(next.to_string()));
            child_of_metadata(&mut pod, "labels").insert(INDEX.to_owned(), json!(next.to_string()));
            child(&mut pod, "spec").insert("hostname".to_owned(), json!(format!("{name}-{next}")));
        }
        pod["metadata"]["generateName"] = json!(prefix);
        let finalizers = child(&mut pod, "metadata").entry("finalizers").or_insert_with(|| json!([]));
        if let Some(finalizers) = finalizers.as_array_mut() {
            finalizers.push(json!(TRACKING));
        }
        let made = workloads.create(PODS, pod)?;
        let value = made.value();
        pods.push((made, value));
    }
    Ok(())
}

#[allow(clippy::too_many_arguments)]
fn write_status(
    workloads: &Workloads,
    record: &Record,
    job: &Value,
    pods: &[Held],
    indexes: &BTreeSet<i64>,
    indexed: bool,
    suspended: bool,
    succeeded: i64,
    failed: i64,
    start: Option<String>,
    ending: Option<Ending>,
) -> Result<()> {
    let at = now();
    let ready = pods.iter().filter(|(_, pod)| is_ready(pod)).count();
    let terminating = pods.iter().filter(|(_, pod)| is_deleting(pod)).count();
    let mut status = json!({"ready": ready, "terminating": terminating, "uncountedTerminatedPods": {}});
    for (field, value) in [("active", i64::try_from(pods.len()).unwrap_or(i64::MAX)), ("succeeded", succeeded), ("failed", failed)] {
        if value > 0 {
            status[field] = json!(value);
        }
    }
    if let Some(start) = start {
        status["startTime"] = json!(start);
    }
    if indexed && !indexes.is_empty() {
        status["completedIndexes"] = json!(ranges(indexes));
    }
    let mut conditions = job.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut set = |kind: &str, holds: &str, reason: &str, message: &str| {
        let same = |c: &&mut Value| c["type"] == kind;
        let fresh =
            json!({"type": kind, "status": holds, "lastProbeTime": at, "lastTransitionTime": at, "reason": reason, "message": message});
        match conditions.iter_mut().find(same) {
            Some(there) if there["status"] == holds => {}
            Some(there) => *there = fresh,
            None => conditions.push(fresh),
        }
    };
    if suspended {
        set("Suspended", "True", "JobSuspended", "Job suspended");
    } else if condition_holds(job, "Suspended") {
        set("Suspended", "False", "JobResumed", "Job resumed");
    }
    if let Some(ending) = ending {
        for kind in [ending.before, ending.kind] {
            set(kind, "True", ending.reason, &ending.message);
        }
        if ending.kind == "Complete" {
            status["completionTime"] = json!(at);
        }
    }
    if !conditions.is_empty() {
        status["conditions"] = Value::Array(conditions);
    }
    workloads.set_status(JOBS, &record.key, &status)
}

/// Indexes as a Job tells them: `0-2,5`.
fn ranges(indexes: &BTreeSet<i64>) -> String {
    let mut out: Vec<(i64, i64)> = Vec::new();
    for at in indexes {
        match out.last_mut() {
            Some((_, end)) if *end + 1 == *at => *end = *at,
            _ => out.push((*at, *at)),
        }
    }
    let printed: Vec<String> = out.iter().map(|(from, to)| if from == to { from.to_string() } else { format!("{from}-{to}") }).collect();
    printed.join(",")
}

/// A finished Job goes when its time to live is over.
fn forget(workloads: &mut Workloads, place: &Place, record: &Record, job: &Value) -> Result<()> {
    let Some(keep) = job.pointer("/spec/ttlSecondsAfterFinished").and_then(Value::as_i64) else { return Ok(()) };
    let ended = job
        .pointer("/status/conditions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|c| matches!(text(c, "/type"), "Complete" | "Failed"))
        .find_map(|c| seconds(text(c, "/lastTransitionTime")));
    let left = ended.map_or(0, |ended| ended.saturating_add(keep).saturating_sub(now_seconds()));
    if left > 0 {
        workloads.again(place, Duration::from_secs(left.unsigned_abs()));
        return Ok(());
    }
    workloads.delete(JOBS, record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completed_indexes_are_told_as_ranges() {
        assert_eq!(ranges(&BTreeSet::from([0, 1, 2, 5, 7, 8])), "0-2,5,7-8");
        assert_eq!(ranges(&BTreeSet::new()), "");
    }
}
