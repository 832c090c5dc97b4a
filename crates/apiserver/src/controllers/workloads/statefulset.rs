//! A StatefulSet: pods with names and claims of their own, one after the other.

use super::children::{Held, owner_reference, pod_of};
use super::pods::{available_in, is_active, is_over, is_ready, now_seconds, number};
use super::revisions::{self, LABEL, Revisions};
use super::{CLAIMS, PODS, STATEFUL_SETS, Workloads};
use crate::api::{child, text};
use crate::protocol::status::Result;
use crate::store::{Place, Record};
use crate::strategy::child_of_metadata;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// So many pods are made or removed before others get their turn.
const BURST: usize = 200;

pub fn sync(workloads: &mut Workloads, place: &Place, record: &Arc<Record>) -> Result<()> {
    let set = record.value();
    let mut pods = workloads.claim(record, &set, PODS)?;
    pods.retain(|(pod, _)| ordinal(&set, pod.name()).is_some());
    pods.sort_by_key(|(pod, _)| ordinal(&set, pod.name()));
    let revisions = revisions::bring_up_to_date(workloads, record, &set)?;
    if !record.facts.deleting && step(workloads, &set, &mut pods, &revisions)? {
        workloads.again(place, Duration::ZERO);
    }
    write_status(workloads, place, record, &set, &pods, &revisions)
}

fn ordinal(set: &Value, pod: &str) -> Option<i64> {
    pod.strip_prefix(text(set, "/metadata/name"))?.strip_prefix('-')?.parse().ok().filter(|n| *n >= 0)
}

fn current_revision<'a>(set: &'a Value, revisions: &'a Revisions) -> &'a str {
    let current = text(set, "/status/currentRevision");
    if current.is_empty() || revisions.template(current).is_none() { revisions.newest() } else { current }
}

/// What is to be done next: makes, replaces or removes pods, in order unless they may go in parallel. Whether there is more to do.
fn step(workloads: &Workloads, set: &Value, pods: &mut Vec<Held>, revisions: &Revisions) -> Result<bool> {
    let first = number(set, "/spec/ordinals/start", 0);
    let end = first + number(set, "/spec/replicas", 1);
    let parallel = text(set, "/spec/podManagementPolicy") == "Parallel";
    let partition = number(set, "/spec/updateStrategy/rollingUpdate/partition", 0);
    let newest = revisions.newest().to_owned();
    let current = current_revision(set, revisions).to_owned();
    let mut done = 0;
    for at in first..end {
        let there = pods.iter().position(|(pod, _)| ordinal(set, pod.name()) == Some(at));
        match there {
            Some(index) if is_over(&pods[index].1) => {
                // It ran to its end, which it must not: it is made anew.
                let (gone, _) = pods.remove(index);
                workloads.delete(PODS, &gone)?;
                return Ok(true);
            }
            Some(index) if parallel || is_ready(&pods[index].1) => {}
            // The next waits for it.
            Some(_) => break,
            None => {
                let revision = if at >= first + partition { &newest } else { &current };
                let made = create(workloads, set, at, revision, revisions)?;
                let value = made.value();
                pods.push((made, value));
                done += 1;
                if !parallel || done >= BURST {
                    return Ok(parallel);
                }
            }
        }
    }
    pods.sort_by_key(|(pod, _)| ordinal(set, pod.name()));
    let surplus: Vec<usize> =
        (0..pods.len()).filter(|index| ordinal(set, pods[*index].0.name()).is_some_and(|at| at < first || at >= end)).collect();
    for index in surplus.into_iter().rev() {
        let (gone, _) = pods.remove(index);
        workloads.delete(PODS, &gone)?;
        done += 1;
        if !parallel || done >= BURST {
            return Ok(true);
        }
    }
    if text(set, "/spec/updateStrategy/type") == "OnDelete" {
        return Ok(false);
    }
    // From the last to the first, each when those after it are ready.
    for index in (0..pods.len()).rev() {
        let (pod, value) = &pods[index];
        let Some(at) = ordinal(set, pod.name()).filter(|at| *at >= first + partition) else { continue };
        if text(value, "/metadata/labels/controller-revision-hash") == newest {
            if !is_ready(value) && at < end {
                break;
            }
            continue;
        }
        let (gone, _) = pods.remove(index);
        workloads.delete(PODS, &gone)?;
        return Ok(true);
    }
    Ok(false)
}

fn create(workloads: &Workloads, set: &Value, at: i64, revision: &str, revisions: &Revisions) -> Result<Arc<Record>> {
    let set_name = text(set, "/metadata/name");
    let name = format!("{set_name}-{at}");
    let mut pod = pod_of(revisions.template(revision).or_else(|| set.pointer("/spec/template")), set);
    pod["metadata"]["name"] = json!(name);
    pod["metadata"]["generateName"] = json!(format!("{set_name}-"));
    let labels = child_of_metadata(&mut pod, "labels");
    labels.insert("apps.kubernetes.io/pod-index".to_owned(), json!(at.to_string()));
    labels.insert(LABEL.to_owned(), json!(revision));
    labels.insert("statefulset.kubernetes.io/pod-name".to_owned(), json!(name));
    let spec = child(&mut pod, "spec");
    spec.insert("hostname".to_owned(), json!(name));
    if let Some(service) = set.pointer("/spec/serviceName").filter(|s| **s != "") {
        spec.insert("subdomain".to_owned(), service.clone());
    }
    for template in set.pointer("/spec/volumeClaimTemplates").and_then(Value::as_array).into_iter().flatten() {
        let volume = text(template, "/metadata/name");
        let claim = format!("{volume}-{name}");
        let volumes = spec.entry("volumes").or_insert_with(|| json!([]));
        if let Some(volumes) = volumes.as_array_mut() {
            volumes.retain(|v| v["name"] != volume);
            volumes.push(json!({"name": volume, "persistentVolumeClaim": {"claimName": claim}}));
        }
        make_claim(workloads, set, template, &claim)?;
    }
    workloads.create(PODS, pod)
}

/// Claims outlive pods, and the set unless it says otherwise.
fn make_claim(workloads: &Workloads, set: &Value, template: &Value, name: &str) -> Result<()> {
    let namespace = text(set, "/metadata/namespace");
    if workloads.api.store.get(CLAIMS, &format!("{namespace}/{name}")).is_some() {
        return Ok(());
    }
    let mut labels = template.pointer("/metadata/labels").cloned().unwrap_or_else(|| json!({}));
    for (key, value) in set.pointer("/spec/selector/matchLabels").and_then(Value::as_object).into_iter().flatten() {
        labels[key.as_str()] = value.clone();
    }
    let mut metadata = json!({"name": name, "namespace": namespace, "labels": labels});
    if let Some(annotations) = template.pointer("/metadata/annotations") {
        metadata["annotations"] = annotations.clone();
    }
    if text(set, "/spec/persistentVolumeClaimRetentionPolicy/whenDeleted") == "Delete" {
        metadata["ownerReferences"] = json!([owner_reference(set)]);
    }
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": template["spec"]});
    match workloads.create(CLAIMS, claim) {
        Err(status) if status.reason != "AlreadyExists" => Err(status),
        _ => Ok(()),
    }
}

fn write_status(
    workloads: &mut Workloads,
    place: &Place,
    record: &Record,
    set: &Value,
    pods: &[Held],
    revisions: &Revisions,
) -> Result<()> {
    let (newest, mut current) = (revisions.newest().to_owned(), current_revision(set, revisions).to_owned());
    let min_ready = number(set, "/spec/minReadySeconds", 0);
    let wanted = number(set, "/spec/replicas", 1);
    let (mut replicas, mut ready, mut available, mut updated, mut of_current, now) = (0, 0, 0, 0, 0, now_seconds());
    let mut in_use: Vec<&str> = Vec::new();
    for (_, pod) in pods.iter().filter(|(_, pod)| is_active(pod)) {
        replicas += 1;
        ready += i64::from(is_ready(pod));
        match available_in(pod, min_ready, now) {
            Some(0) => available += 1,
            Some(seconds) => workloads.again(place, Duration::from_secs(seconds.unsigned_abs())),
            None => {}
        }
        let revision = text(pod, "/metadata/labels/controller-revision-hash");
        updated += i64::from(revision == newest);
        of_current += i64::from(revision == current);
        in_use.push(revision);
    }
    let rolls = text(set, "/spec/updateStrategy/type") != "OnDelete";
    if rolls && updated == replicas && ready == replicas && replicas == wanted && current != newest {
        // The rollout is complete.
        current.clone_from(&newest);
        of_current = updated;
    }
    let mut status = json!({
        "observedGeneration": set["metadata"]["generation"], "replicas": replicas, "availableReplicas": available,
        "currentRevision": current, "updateRevision": newest, "collisionCount": number(set, "/status/collisionCount", 0),
    });
    for (field, value) in [("readyReplicas", ready), ("currentReplicas", of_current), ("updatedReplicas", updated)] {
        if value > 0 {
            status[field] = json!(value);
        }
    }
    if let Some(conditions) = set.pointer("/status/conditions") {
        status["conditions"] = conditions.clone();
    }
    in_use.push(&current);
    if !record.facts.deleting {
        revisions::forget(workloads, set, revisions, &in_use)?;
    }
    workloads.set_status(STATEFUL_SETS, &record.key, &status)
}
