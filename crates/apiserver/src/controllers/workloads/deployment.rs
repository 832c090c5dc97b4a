//! A Deployment: one ReplicaSet for each template that it had, and the way from the old ones to the new.

use super::children::{Held, hash_of, owner_reference, without_label};
use super::fate::{self, End};
use super::pods::{is_deleting, number, seconds, share};
use super::rollout::{self, Scale};
use super::{DEPLOYMENTS, Nodes, PODS, REPLICA_SETS, Workloads};
use crate::api::{now, text};
use crate::protocol::status::Result;
use crate::store::{Place, Record};
use crate::strategy::child_of_metadata;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

const REVISION: &str = "deployment.kubernetes.io/revision";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAX: &str = "deployment.kubernetes.io/max-replicas";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
const HASH: &str = "pod-template-hash";

/// What a Deployment asks for.
struct Wanted {
    replicas: i64,
    max_surge: i64,
    max_unavailable: i64,
    recreates: bool,
    paused: bool,
}

impl Wanted {
    fn of(deployment: &Value) -> Self {
        let replicas = number(deployment, "/spec/replicas", 1);
        let recreates = text(deployment, "/spec/strategy/type") == "Recreate";
        let part = |field: &str| deployment.pointer(&format!("/spec/strategy/rollingUpdate/{field}"));
        let (mut max_surge, mut max_unavailable) =
            if recreates { (0, 0) } else { (share(part("maxSurge"), replicas, true), share(part("maxUnavailable"), replicas, false)) };
        if !recreates && max_surge == 0 && max_unavailable == 0 {
            // Both rounded to nothing: then nothing would ever move.
            max_unavailable = 1;
        }
        max_unavailable = max_unavailable.min(replicas);
        max_surge = max_surge.max(0);
        Self { replicas, max_surge, max_unavailable, recreates, paused: deployment.pointer("/spec/paused").is_some_and(|p| *p == true) }
    }

    fn scale(&self) -> Scale {
        Scale { replicas: self.replicas, max_surge: self.max_surge, max_unavailable: self.max_unavailable }
    }
}

pub fn sync(workloads: &mut Workloads, record: &Arc<Record>) -> Result<()> {
    let deployment = record.value();
    let wanted = Wanted::of(&deployment);
    let mut sets = workloads.claim(record, &deployment, REPLICA_SETS)?;
    sets.sort_by_key(|(_, set)| (seconds(text(set, "/metadata/creationTimestamp")), revision_of(set)));
    let mut conditions = Conditions::of(&deployment);
    let template = without_label(deployment.pointer("/spec/template"), HASH);
    let mut new = sets.iter().position(|(_, set)| without_label(set.pointer("/spec/template"), HASH) == template);
    let mut collisions = number(&deployment, "/status/collisionCount", 0);
    if !record.facts.deleting {
        conditions.note_pause(&deployment, wanted.paused);
        let revision =
            sets.iter().enumerate().filter(|(at, _)| Some(*at) != new).map(|(_, (_, set))| revision_of(set)).max().unwrap_or(0) + 1;
        let rescaled = sets.iter().any(|(_, set)| {
            let desired = set.pointer("/metadata/annotations").and_then(|a| a.get(DESIRED)).and_then(Value::as_str);
            number(set, "/spec/replicas", 0) > 0 && desired.is_some_and(|desired| desired != wanted.replicas.to_string())
        });
        if let Some(at) = new {
            annotate(workloads, &deployment, &mut sets[at], &wanted, Some(revision))?;
            if conditions.reason("Progressing").is_empty() {
                conditions.progress("True", "FoundNewReplicaSet", &format!("Found new replica set \"{}\"", sets[at].0.name()));
            }
        }
        if wanted.paused || rescaled {
            scale_all(workloads, &deployment, &wanted, &mut sets, new)?;
        } else {
            let old_run = wanted.recreates && {
                let mut any = false;
                for (at, held) in sets.iter_mut().enumerate() {
                    if Some(at) != new {
                        resize(workloads, &deployment, held, &wanted, 0)?;
                        any |= !workloads.owned(&held.0, PODS).iter().all(|(_, pod)| super::pods::is_over(pod));
                    }
                }
                any
            };
            if new.is_none() && !old_run {
                match create(workloads, &deployment, &wanted, &template, revision, &sets, collisions) {
                    Ok(made) => {
                        conditions.progress("True", "NewReplicaSetCreated", &format!("Created new replica set \"{}\"", made.0.name()));
                        sets.push(made);
                        new = Some(sets.len() - 1);
                    }
                    // Another template has taken the name.
                    Err(status) if status.reason == "AlreadyExists" => collisions += 1,
                    Err(status) => {
                        conditions.progress("False", "ReplicaSetCreateError", &status.message);
                        write_status(workloads, record, &deployment, &wanted, &sets, new, collisions, conditions)?;
                        return Err(status);
                    }
                }
            }
            if let Some(at) = new {
                if wanted.recreates {
                    if !old_run {
                        resize(workloads, &deployment, &mut sets[at], &wanted, wanted.replicas)?;
                    }
                } else {
                    roll(workloads, &deployment, &wanted, &mut sets, at)?;
                }
            }
        }
    }
    write_status(workloads, record, &deployment, &wanted, &sets, new, collisions, conditions)
}

fn revision_of(set: &Value) -> i64 {
    set.pointer("/metadata/annotations").and_then(|a| a.get(REVISION)).and_then(Value::as_str).and_then(|r| r.parse().ok()).unwrap_or(0)
}

/// The annotations that a ReplicaSet has of its Deployment.
fn set_annotations(annotations: &mut Map<String, Value>, deployment: &Value, wanted: &Wanted, revision: Option<i64>) {
    let own = [REVISION, HISTORY, DESIRED, MAX, LAST_APPLIED];
    for (key, value) in deployment.pointer("/metadata/annotations").and_then(Value::as_object).into_iter().flatten() {
        if !own.contains(&key.as_str()) && revision.is_some() {
            annotations.insert(key.clone(), value.clone());
        }
    }
    annotations.insert(DESIRED.to_owned(), json!(wanted.replicas.to_string()));
    annotations.insert(MAX.to_owned(), json!((wanted.replicas + wanted.max_surge).to_string()));
    if let Some(revision) = revision {
        let old = annotations.get(REVISION).and_then(Value::as_str).unwrap_or("").to_owned();
        if old.parse::<i64>().is_ok_and(|old| old < revision) {
            // A template that comes back keeps the numbers that it had.
            let mut history: Vec<String> = annotations
                .get(HISTORY)
                .and_then(Value::as_str)
                .unwrap_or("")
                .split(',')
                .filter(|n| !n.is_empty())
                .map(str::to_owned)
                .collect();
            history.push(old.clone());
            let from = history.len().saturating_sub(100);
            annotations.insert(HISTORY.to_owned(), json!(history[from..].join(",")));
        }
        if old.parse::<i64>().is_ok_and(|old| old < revision) || old.is_empty() {
            annotations.insert(REVISION.to_owned(), json!(revision.to_string()));
        }
    }
}

fn annotate(workloads: &Workloads, deployment: &Value, held: &mut Held, wanted: &Wanted, revision: Option<i64>) -> Result<()> {
    let changed = workloads.change(REPLICA_SETS, &held.0.key, None, |mut set| {
        // Desired numbers are told along with the size, so that a size that is still to be changed can be seen.
        let annotations = child_of_metadata(&mut set, "annotations");
        let (desired, max) = (annotations.get(DESIRED).cloned(), annotations.get(MAX).cloned());
        set_annotations(annotations, deployment, wanted, revision);
        for (key, value) in [(DESIRED, desired), (MAX, max)] {
            if let Some(value) = value {
                annotations.insert(key.to_owned(), value);
            }
        }
        match deployment.pointer("/spec/minReadySeconds") {
            Some(seconds) => set["spec"]["minReadySeconds"] = seconds.clone(),
            None => drop(set["spec"].as_object_mut().and_then(|spec| spec.shift_remove("minReadySeconds"))),
        }
        Some(set)
    })?;
    if let Some(stored) = changed {
        let value = stored.value();
        *held = (stored, value);
    }
    Ok(())
}

fn resize(workloads: &Workloads, deployment: &Value, held: &mut Held, wanted: &Wanted, replicas: i64) -> Result<()> {
    let changed = workloads.change(REPLICA_SETS, &held.0.key, None, |mut set| {
        set["spec"]["replicas"] = json!(replicas.max(0));
        set_annotations(child_of_metadata(&mut set, "annotations"), deployment, wanted, None);
        Some(set)
    })?;
    if let Some(stored) = changed {
        let value = stored.value();
        *held = (stored, value);
    }
    Ok(())
}

fn create(
    workloads: &Workloads,
    deployment: &Value,
    wanted: &Wanted,
    template: &Value,
    revision: i64,
    sets: &[Held],
    collisions: i64,
) -> Result<Held> {
    let hash = hash_of(template, collisions);
    let mut template = template.clone();
    child_of_metadata(&mut template, "labels").insert(HASH.to_owned(), json!(hash));
    let mut selector = deployment.pointer("/spec/selector").cloned().unwrap_or_else(|| json!({}));
    crate::api::child(&mut selector, "matchLabels").insert(HASH.to_owned(), json!(hash));
    let sizes: i64 = sets.iter().map(|(_, set)| number(set, "/spec/replicas", 0)).sum();
    let replicas = if wanted.recreates { wanted.replicas } else { wanted.scale().of_new(0, sizes) };
    let mut annotations = Map::new();
    set_annotations(&mut annotations, deployment, wanted, Some(revision));
    let mut spec = json!({"replicas": replicas, "selector": selector, "template": template});
    if let Some(seconds) = deployment.pointer("/spec/minReadySeconds") {
        spec["minReadySeconds"] = seconds.clone();
    }
    let made = workloads.create(
        REPLICA_SETS,
        json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {
                "name": format!("{}-{hash}", text(deployment, "/metadata/name")), "namespace": deployment["metadata"]["namespace"],
                "labels": template["metadata"]["labels"], "annotations": annotations, "ownerReferences": [owner_reference(deployment)],
            },
            "spec": spec,
        }),
    )?;
    let value = made.value();
    Ok((made, value))
}

/// One step of a rolling update.
fn roll(workloads: &Workloads, deployment: &Value, wanted: &Wanted, sets: &mut [Held], new: usize) -> Result<()> {
    let size = |set: &Value| number(set, "/spec/replicas", 0);
    let scale = wanted.scale();
    let all: i64 = sets.iter().map(|(_, set)| size(set)).sum();
    let current = size(&sets[new].1);
    let next = scale.of_new(current, all);
    if next != current || !has_desired(&sets[new].1, wanted) {
        resize(workloads, deployment, &mut sets[new], wanted, next)?;
        if next > current {
            return Ok(());
        }
    }
    let available = |set: &Value| number(set, "/status/availableReplicas", 0);
    let old: Vec<usize> = (0..sets.len()).filter(|at| *at != new).collect();
    let sizes: Vec<rollout::Old> =
        old.iter().map(|at| rollout::Old { size: size(&sets[*at].1), available: available(&sets[*at].1) }).collect();
    let after = scale.of_old(rollout::Old { size: size(&sets[new].1), available: available(&sets[new].1) }, &sizes);
    for (at, wanted_size) in old.into_iter().zip(after) {
        if wanted_size != size(&sets[at].1) {
            resize(workloads, deployment, &mut sets[at], wanted, wanted_size)?;
        }
    }
    Ok(())
}

fn has_desired(set: &Value, wanted: &Wanted) -> bool {
    let annotation =
        |key: &str| set.pointer("/metadata/annotations").and_then(|a| a.get(key)).and_then(Value::as_str).unwrap_or("").to_owned();
    annotation(DESIRED) == wanted.replicas.to_string() && annotation(MAX) == (wanted.replicas + wanted.max_surge).to_string()
}

/// The size has changed, or nothing else may: all sets share it as they did.
fn scale_all(workloads: &Workloads, deployment: &Value, wanted: &Wanted, sets: &mut [Held], new: Option<usize>) -> Result<()> {
    let size = |set: &Value| number(set, "/spec/replicas", 0);
    let active: Vec<usize> = (0..sets.len()).filter(|at| size(&sets[*at].1) > 0).collect();
    let one = match active.as_slice() {
        [] => new.or(sets.len().checked_sub(1)),
        [one] => Some(*one),
        _ => None,
    };
    if let Some(at) = one {
        return resize(workloads, deployment, &mut sets[at], wanted, wanted.replicas);
    }
    let annotated = |set: &Value| {
        let max = set.pointer("/metadata/annotations").and_then(|a| a.get(MAX)).and_then(Value::as_str);
        max.and_then(|max| max.parse::<i64>().ok()).unwrap_or(0)
    };
    let allowed = if wanted.replicas > 0 { wanted.replicas + wanted.max_surge } else { 0 };
    let shares: Vec<rollout::Share> =
        active.iter().map(|at| rollout::Share { size: size(&sets[*at].1), of: annotated(&sets[*at].1) }).collect();
    for (at, next) in active.into_iter().zip(rollout::proportional(&shares, allowed)) {
        resize(workloads, deployment, &mut sets[at], wanted, next)?;
    }
    Ok(())
}

#[allow(clippy::too_many_arguments)]
fn write_status(
    workloads: &mut Workloads,
    record: &Record,
    deployment: &Value,
    wanted: &Wanted,
    sets: &[Held],
    new: Option<usize>,
    collisions: i64,
    mut conditions: Conditions,
) -> Result<()> {
    let sum = |field: &str| sets.iter().map(|(_, set)| number(set, &format!("/status/{field}"), 0)).sum::<i64>();
    let of_new = |field: &str| new.map_or(0, |at| number(&sets[at].1, &format!("/status/{field}"), 0));
    let (replicas, ready, available, updated) = (sum("replicas"), sum("readyReplicas"), sum("availableReplicas"), of_new("replicas"));
    let mut status = json!({"observedGeneration": deployment["metadata"]["generation"], "terminatingReplicas": 0});
    for (field, value) in [
        ("replicas", replicas),
        ("updatedReplicas", updated),
        ("readyReplicas", ready),
        ("availableReplicas", available),
        ("unavailableReplicas", (replicas - available).max(0)),
    ] {
        if value > 0 {
            status[field] = json!(value);
        }
    }
    if collisions > 0 {
        status["collisionCount"] = json!(collisions);
    }
    if available >= wanted.replicas - wanted.max_unavailable {
        conditions.set("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.");
    } else {
        conditions.set("Available", "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.");
    }
    let name = new.map_or_else(String::new, |at| sets[at].0.name().to_owned());
    let complete = updated == wanted.replicas && replicas == wanted.replicas && available == wanted.replicas;
    let old = |field: &str| number(deployment, &format!("/status/{field}"), 0);
    let deadline = number(deployment, "/spec/progressDeadlineSeconds", i64::from(i32::MAX));
    if !is_deleting(deployment) && deadline < i64::from(i32::MAX) && new.is_some() {
        let settled = replicas == updated && conditions.reason("Progressing") == "NewReplicaSetAvailable";
        let moved = updated > old("updatedReplicas")
            || replicas - updated < old("replicas") - old("updatedReplicas")
            || ready > old("readyReplicas")
            || available > old("availableReplicas");
        if settled {
        } else if complete {
            conditions.progress("True", "NewReplicaSetAvailable", &format!("ReplicaSet \"{name}\" has successfully progressed."));
        } else if moved {
            conditions.progress("True", "ReplicaSetUpdated", &format!("ReplicaSet \"{name}\" is progressing."));
        } else if conditions.reason("Progressing") != "DeploymentPaused" {
            let place = Place { table: Arc::from(DEPLOYMENTS), key: Arc::clone(&record.key) };
            match conditions.since_progress().map(|since| since + deadline - super::pods::now_seconds()) {
                Some(left) if left > 0 && !fails_at_once(workloads, deployment, sets, new) => {
                    workloads.again(&place, Duration::from_secs(left.unsigned_abs() + 1));
                }
                Some(_) => {
                    conditions.progress("False", "ProgressDeadlineExceeded", &format!("ReplicaSet \"{name}\" has timed out progressing."));
                }
                None => {}
            }
        }
    }
    if complete && let Some(at) = new {
        forget_history(workloads, deployment, sets, at)?;
    }
    status["conditions"] = Value::Array(conditions.list);
    let revision = new.map(|at| revision_of(&sets[at].1)).filter(|revision| *revision > 0);
    workloads.change(DEPLOYMENTS, &record.key, Some("status"), |mut object| {
        object["status"] = status.clone();
        if let Some(revision) = revision {
            child_of_metadata(&mut object, "annotations").insert(REVISION.to_owned(), json!(revision.to_string()));
        }
        Some(object)
    })?;
    Ok(())
}

/// A simulated failure is told at once: nobody learns anything from waiting for the deadline.
fn fails_at_once(workloads: &Workloads, deployment: &Value, sets: &[Held], new: Option<usize>) -> bool {
    let Some(at) = new else { return false };
    workloads.nodes != Nodes::None
        && fate::of(deployment.pointer("/spec/template/spec")).end == End::Fail
        && workloads.owned(&sets[at].0, PODS).iter().any(|(_, pod)| super::pods::restarts(pod) > 0)
}

/// Old sets beyond the history limit go, oldest first.
fn forget_history(workloads: &Workloads, deployment: &Value, sets: &[Held], new: usize) -> Result<()> {
    let limit = usize::try_from(number(deployment, "/spec/revisionHistoryLimit", 10)).unwrap_or(0);
    let mut idle: Vec<&Held> = sets
        .iter()
        .enumerate()
        .filter(|(at, (record, set))| {
            *at != new && !record.facts.deleting && number(set, "/status/replicas", 0) == 0 && number(set, "/spec/replicas", 0) == 0
        })
        .map(|(_, held)| held)
        .collect();
    idle.sort_by_key(|(_, set)| revision_of(set));
    for (record, _) in idle.iter().take(idle.len().saturating_sub(limit)) {
        workloads.delete(REPLICA_SETS, record)?;
    }
    Ok(())
}

/// Conditions of a Deployment, which also say when they were looked at last.
struct Conditions {
    list: Vec<Value>,
    now: String,
}

impl Conditions {
    fn of(deployment: &Value) -> Self {
        Self { list: deployment.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default(), now: now() }
    }

    fn find(&self, kind: &str) -> Option<&Value> {
        self.list.iter().find(|c| c["type"] == kind)
    }

    fn reason(&self, kind: &str) -> &str {
        self.find(kind).map_or("", |c| text(c, "/reason"))
    }

    /// When it last got further.
    fn since_progress(&self) -> Option<i64> {
        seconds(text(self.find("Progressing")?, "/lastUpdateTime"))
    }

    /// Keeps what says the same already.
    fn set(&mut self, kind: &str, status: &str, reason: &str, message: &str) {
        if self.find(kind).is_some_and(|c| c["status"] == status && c["reason"] == reason) {
            return;
        }
        self.put(kind, status, reason, message);
    }

    /// Says that it was looked at now, too.
    fn progress(&mut self, status: &str, reason: &str, message: &str) {
        if status == "False" && self.find("Progressing").is_some_and(|c| c["status"] == status && c["reason"] == reason) {
            return;
        }
        self.put("Progressing", status, reason, message);
    }

    fn put(&mut self, kind: &str, status: &str, reason: &str, message: &str) {
        let since = match self.find(kind) {
            Some(there) if there["status"] == status => there["lastTransitionTime"].clone(),
            _ => json!(self.now),
        };
        let fresh = json!({"type": kind, "status": status, "lastUpdateTime": self.now, "lastTransitionTime": since, "reason": reason, "message": message});
        // What was said last stands last.
        self.list.retain(|c| c["type"] != kind);
        self.list.push(fresh);
    }

    fn note_pause(&mut self, deployment: &Value, paused: bool) {
        if number(deployment, "/spec/progressDeadlineSeconds", i64::from(i32::MAX)) >= i64::from(i32::MAX) {
            return;
        }
        let noted = self.reason("Progressing") == "DeploymentPaused";
        if paused && !noted && self.reason("Progressing") != "ProgressDeadlineExceeded" {
            self.put("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused");
        } else if !paused && noted {
            self.put("Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed");
        }
    }
}
