//! What kubelets and workload controllers would do to statuses, without any container.
//!
//! Images steer it: `sluice.dev/fail:*` fails, `sluice.dev/hang:*` never becomes ready; anything else becomes ready after the delay.

use crate::api::{Api, child, now, text};
use crate::registry::Resource;
use crate::registry::crd::set_condition;
use crate::rest::write::change_own;
use crate::store::Place;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const TABLES: &[&str] =
    &["deployments.apps", "statefulsets.apps", "daemonsets.apps", "replicasets.apps", "jobs.batch", "persistentvolumeclaims", "pods"];

pub fn is_simulated(table: &str) -> bool {
    TABLES.contains(&table)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Ready,
    Fail,
    Hang,
}

fn fate(pod_spec: Option<&Value>) -> Fate {
    let containers = |key: &str| pod_spec.and_then(|s| s.get(key)).and_then(Value::as_array).cloned().unwrap_or_default();
    let images: Vec<String> =
        containers("initContainers").iter().chain(&containers("containers")).map(|c| text(c, "/image").to_owned()).collect();
    if images.iter().any(|image| image.starts_with("sluice.dev/fail:")) {
        Fate::Fail
    } else if images.iter().any(|image| image.starts_with("sluice.dev/hang:")) {
        Fate::Hang
    } else {
        Fate::Ready
    }
}

/// Steps each workload: at once to "in progress", and to its end after the delay.
pub async fn run(api: Arc<Api>, delay: Duration) {
    let mut stopping = api.stopping.clone();
    // When each place is due, and the generation that it is due for.
    let mut due: BTreeMap<(Instant, u64), (Place, i64)> = BTreeMap::new();
    let mut waiting: std::collections::HashMap<Place, i64> = std::collections::HashMap::new();
    let mut counter = 0;
    loop {
        let next = due.keys().next().map(|(at, _)| *at);
        let far = Instant::now() + Duration::from_secs(3600);
        tokio::select! {
            place = api.queues.workloads.next() => {
                let Some(record) = api.store.get(&place.table, &place.key) else {
                    waiting.remove(&place);
                    continue;
                };
                let object = record.value();
                let generation = object.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(1);
                if waiting.get(&place) == Some(&generation) || settled(&place.table, &object) {
                    continue;
                }
                if delay.is_zero() {
                    step(&api, &place, true);
                } else {
                    step(&api, &place, false);
                    counter += 1;
                    due.insert((Instant::now() + delay, counter), (place.clone(), generation));
                    waiting.insert(place, generation);
                }
            }
            () = tokio::time::sleep_until(next.unwrap_or(far)) => {
                let now = Instant::now();
                while let Some(entry) = due.first_entry() {
                    if entry.key().0 > now {
                        break;
                    }
                    let (place, generation) = entry.remove();
                    if waiting.get(&place) == Some(&generation) {
                        waiting.remove(&place);
                        step(&api, &place, true);
                    }
                }
            }
            _ = stopping.wait_for(|stop| *stop) => return,
        }
    }
}

/// Whether the simulator has nothing left to do for an object as it is.
fn settled(table: &str, object: &Value) -> bool {
    if object.pointer("/metadata/deletionTimestamp").is_some() {
        return true;
    }
    finished(table, object.clone(), &now()).is_none_or(|after| after.get("status") == object.get("status"))
}

fn step(api: &Api, place: &Place, end: bool) {
    let registry = api.registry();
    let Some(resource) = registry.of_table(&place.table) else { return };
    let at = now();
    let resource: &Resource = resource;
    let done = change_own(api, resource, &place.key, Some("status"), |object| {
        if end { finished(&place.table, object, &at) } else { started(&place.table, object, &at) }
    });
    if let Err(error) = done {
        tracing::debug!(error = %error, "the simulator could not write a status");
    }
}

fn replicas(object: &Value) -> i64 {
    object.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1)
}

fn generation(object: &Value) -> i64 {
    object.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(1)
}

/// The status right after a workload was seen.
fn started(table: &str, mut object: Value, now: &str) -> Option<Value> {
    let fate = fate(pod_spec(table, &object));
    match table {
        "deployments.apps" => Some(deployment(object, now, Stage::Started, fate)),
        "statefulsets.apps" | "daemonsets.apps" | "replicasets.apps" => Some(counted(table, object, false)),
        "jobs.batch" => {
            if object.pointer("/status/startTime").is_some() {
                return None;
            }
            object["status"] = json!({"active": 1, "ready": 0, "startTime": now, "terminating": 0, "uncountedTerminatedPods": {}});
            Some(object)
        }
        _ => None,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Started,
    Finished,
}

fn pod_spec<'a>(table: &str, object: &'a Value) -> Option<&'a Value> {
    if table == "pods" { object.get("spec") } else { object.pointer("/spec/template/spec") }
}

/// The status at the end of the delay.
fn finished(table: &str, mut object: Value, now: &str) -> Option<Value> {
    let fate = fate(pod_spec(table, &object));
    match table {
        "deployments.apps" => Some(deployment(object, now, Stage::Finished, fate)),
        "statefulsets.apps" | "daemonsets.apps" | "replicasets.apps" => Some(counted(table, object, fate == Fate::Ready)),
        "jobs.batch" => job(object, now, fate),
        "persistentvolumeclaims" => {
            if text(&object, "/status/phase") == "Bound" {
                return None;
            }
            let (uid, modes, capacity) = (
                text(&object, "/metadata/uid").to_owned(),
                object.pointer("/spec/accessModes").cloned().unwrap_or_else(|| json!([])),
                object.pointer("/spec/resources/requests").cloned().unwrap_or_else(|| json!({})),
            );
            let annotations = crate::strategy::child_of_metadata(&mut object, "annotations");
            annotations.insert("pv.kubernetes.io/bind-completed".to_owned(), json!("yes"));
            child(&mut object, "spec").entry("volumeName").or_insert_with(|| json!(format!("pvc-{uid}")));
            object["status"] = json!({"phase": "Bound", "accessModes": modes, "capacity": capacity});
            Some(object)
        }
        "pods" => pod(object, now, fate),
        _ => None,
    }
}

fn deployment(mut object: Value, now: &str, stage: Stage, fate: Fate) -> Value {
    let (wanted, generation) = (replicas(&object), generation(&object));
    let name = text(&object, "/metadata/name").to_owned();
    let set = format!("{name}-{}", template_hash(&object));
    let old = object.pointer("/status/observedGeneration").and_then(Value::as_i64);
    let annotations = crate::strategy::child_of_metadata(&mut object, "annotations");
    annotations.entry("deployment.kubernetes.io/revision").or_insert_with(|| json!("1"));
    let mut conditions = object.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let ready = wanted == 0 || (stage == Stage::Finished && fate == Fate::Ready);
    let mut condition = |kind: &str, status: &str, reason: &str, message: &str| {
        set_condition(&mut conditions, kind, status, reason, message, now);
        if let Some(there) = conditions.iter_mut().find(|c| c["type"] == kind)
            && there.get("lastUpdateTime").is_none()
        {
            there["lastUpdateTime"] = Value::from(now);
        }
    };
    if ready {
        condition("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.");
        let message = format!("ReplicaSet \"{set}\" has successfully progressed.");
        condition("Progressing", "True", "NewReplicaSetAvailable", &message);
    } else {
        condition("Available", "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.");
        if fate == Fate::Fail && stage == Stage::Finished {
            let message = format!("ReplicaSet \"{set}\" has timed out progressing.");
            condition("Progressing", "False", "ProgressDeadlineExceeded", &message);
        } else {
            let message = format!("ReplicaSet \"{set}\" is progressing.");
            condition("Progressing", "True", "ReplicaSetUpdated", &message);
        }
    }
    let mut status = json!({"observedGeneration": generation});
    if wanted > 0 {
        status["replicas"] = json!(wanted);
        status["updatedReplicas"] = json!(wanted);
        if ready {
            status["readyReplicas"] = json!(wanted);
            status["availableReplicas"] = json!(wanted);
        } else {
            status["unavailableReplicas"] = json!(wanted);
        }
    }
    status["conditions"] = Value::Array(conditions);
    let _ = old;
    object["status"] = status;
    object
}

/// A short name for a pod template, as ReplicaSets carry it.
pub fn template_hash(object: &Value) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let sum = crc32fast::hash(object.pointer("/spec/template").map(Value::to_string).unwrap_or_default().as_bytes());
    let decimal = sum.to_string();
    decimal.bytes().map(|digit| char::from(LETTERS[usize::from(digit) % LETTERS.len()])).collect()
}

fn counted(table: &str, mut object: Value, ready: bool) -> Value {
    let (wanted, generation) = (replicas(&object), generation(&object));
    let name = text(&object, "/metadata/name").to_owned();
    object["status"] = match table {
        "daemonsets.apps" => {
            let up = i64::from(ready);
            let mut status = json!({"currentNumberScheduled": 1, "desiredNumberScheduled": 1, "numberMisscheduled": 0, "numberReady": up,
                "observedGeneration": generation, "updatedNumberScheduled": 1});
            if ready {
                status["numberAvailable"] = json!(1);
            } else {
                status["numberUnavailable"] = json!(1);
            }
            status
        }
        "statefulsets.apps" => {
            let revision = format!("{name}-{}", template_hash(&object));
            let mut status = json!({"observedGeneration": generation, "replicas": wanted, "currentRevision": revision,
                "updateRevision": revision, "collisionCount": 0, "availableReplicas": if ready { wanted } else { 0 }});
            if wanted > 0 {
                status["currentReplicas"] = json!(wanted);
                status["updatedReplicas"] = json!(wanted);
                if ready {
                    status["readyReplicas"] = json!(wanted);
                }
            }
            status
        }
        _ => {
            let mut status = json!({"observedGeneration": generation, "replicas": wanted});
            if wanted > 0 {
                status["fullyLabeledReplicas"] = json!(wanted);
                if ready {
                    status["readyReplicas"] = json!(wanted);
                    status["availableReplicas"] = json!(wanted);
                }
            }
            status
        }
    };
    object
}

fn job(mut object: Value, now: &str, fate: Fate) -> Option<Value> {
    let over = |kind: &str| crate::registry::crd::condition_holds(&object, kind);
    if over("Complete") || over("Failed") || fate == Fate::Hang || object.pointer("/spec/suspend").is_some_and(|s| s == true) {
        return None;
    }
    let completions = object.pointer("/spec/completions").and_then(Value::as_i64).unwrap_or(1);
    let start = object.pointer("/status/startTime").and_then(Value::as_str).unwrap_or(now).to_owned();
    let condition = |kind: &str, reason: &str, message: &str| json!({"type": kind, "status": "True", "lastProbeTime": now, "lastTransitionTime": now, "reason": reason, "message": message});
    object["status"] = if fate == Fate::Fail {
        let limit = object.pointer("/spec/backoffLimit").and_then(Value::as_i64).unwrap_or(6);
        let (reason, message) = ("BackoffLimitExceeded", "Job has reached the specified backoff limit");
        json!({"failed": limit + 1, "ready": 0, "startTime": start, "terminating": 0, "uncountedTerminatedPods": {},
            "conditions": [condition("FailureTarget", reason, message), condition("Failed", reason, message)]})
    } else {
        let (reason, message) = ("CompletionsReached", "Reached expected number of succeeded pods");
        json!({"succeeded": completions, "ready": 0, "startTime": start, "completionTime": now, "terminating": 0,
            "uncountedTerminatedPods": {},
            "conditions": [condition("SuccessCriteriaMet", reason, message), condition("Complete", reason, message)]})
    };
    Some(object)
}

fn pod(mut object: Value, now: &str, fate: Fate) -> Option<Value> {
    if text(&object, "/status/phase") != "Pending" || fate == Fate::Hang {
        return None;
    }
    // A pod that is not restarted for ever runs to its end.
    let ends = text(&object, "/spec/restartPolicy") != "Always" && object.pointer("/spec/restartPolicy").is_some();
    let (phase, ready) = match (fate, ends) {
        (Fate::Fail, true) => ("Failed", false),
        (Fate::Fail, false) => ("Running", false),
        (_, true) => ("Succeeded", false),
        (_, false) => ("Running", true),
    };
    let condition = |kind: &str, holds: bool, reason: &str| {
        let mut out =
            json!({"type": kind, "status": if holds { "True" } else { "False" }, "lastProbeTime": null, "lastTransitionTime": now});
        if !holds && !reason.is_empty() {
            out["reason"] = json!(reason);
        }
        out
    };
    let reason = if ends { "PodCompleted" } else { "ContainersNotReady" };
    let statuses: Vec<Value> = object
        .pointer("/spec/containers")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|container| {
            let state = match phase {
                "Succeeded" => json!({"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}}),
                "Failed" => json!({"terminated": {"exitCode": 1, "reason": "Error", "startedAt": now, "finishedAt": now}}),
                _ if ready => json!({"running": {"startedAt": now}}),
                _ => json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}}),
            };
            json!({"name": container["name"], "image": container["image"], "imageID": "", "ready": ready, "restartCount": 0,
                "started": ready, "state": state, "lastState": {}})
        })
        .collect();
    let quality = object.pointer("/status/qosClass").cloned().unwrap_or_else(|| json!("BestEffort"));
    object["status"] = json!({"phase": phase, "startTime": now, "qosClass": quality, "hostIP": "127.0.0.1", "podIP": "10.244.0.1",
        "podIPs": [{"ip": "10.244.0.1"}], "containerStatuses": statuses,
        "conditions": [condition("PodReadyToStartContainers", !ends, ""), condition("Initialized", true, ""),
            condition("Ready", ready, reason), condition("ContainersReady", ready, reason), condition("PodScheduled", true, "")]});
    Some(object)
}
