//! A DaemonSet: one pod on each node that it may run on.

use super::children::{Held, pod_of};
use super::pods::{available_in, is_over, is_ready, now_seconds, number, share};
use super::revisions::{self, LABEL, label_of};
use super::{DAEMON_SETS, NODES, PODS, Workloads, nodes};
use crate::api::{child, text};
use crate::protocol::status::Result;
use crate::store::{Place, Record};
use crate::strategy::child_of_metadata;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const GENERATION: &str = "pod-template-generation";
const TOLERATED: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];

pub fn sync(workloads: &mut Workloads, place: &Place, record: &Arc<Record>) -> Result<()> {
    let set = record.value();
    let revisions = revisions::bring_up_to_date(workloads, record, &set)?;
    let newest = label_of(&set, revisions.newest()).to_owned();
    let wanted: Vec<String> = workloads
        .api
        .store
        .all(NODES, "")
        .into_iter()
        .filter(|node| nodes::is_selected(set.pointer("/spec/template/spec"), node))
        .map(|node| node.name().to_owned())
        .collect();
    let mut on_node: BTreeMap<String, Held> = BTreeMap::new();
    let mut misplaced = 0;
    for (pod, value) in workloads.claim(record, &set, PODS)? {
        let node = nodes::node_of(&value);
        let useful = wanted.contains(&node) && !is_over(&value) && !on_node.contains_key(&node);
        if useful || record.facts.deleting {
            on_node.insert(node, (pod, value));
        } else {
            misplaced += i64::from(!wanted.contains(&node));
            workloads.delete(PODS, &pod)?;
        }
    }
    if !record.facts.deleting {
        for node in wanted.iter().filter(|node| !on_node.contains_key(*node)).cloned().collect::<Vec<_>>() {
            let made = create(workloads, &set, &node, &newest)?;
            let value = made.value();
            on_node.insert(node, (made, value));
        }
        roll(workloads, &set, &newest, wanted.len(), &mut on_node)?;
    }
    write_status(workloads, place, &set, &newest, wanted.len(), misplaced, &on_node)?;
    let in_use: Vec<&str> = on_node.values().map(|(_, pod)| revision_of(pod)).collect();
    if !record.facts.deleting {
        revisions::forget(workloads, &set, &revisions, &in_use)?;
    }
    Ok(())
}

fn revision_of(pod: &Value) -> &str {
    text(pod, "/metadata/labels/controller-revision-hash")
}

fn create(workloads: &Workloads, set: &Value, node: &str, revision: &str) -> Result<Arc<Record>> {
    let mut pod = pod_of(set.pointer("/spec/template"), set);
    pod["metadata"]["generateName"] = json!(format!("{}-", text(set, "/metadata/name")));
    let labels = child_of_metadata(&mut pod, "labels");
    labels.insert(LABEL.to_owned(), json!(revision));
    let generation = set.pointer("/metadata/annotations/deprecated.daemonset.template.generation").and_then(Value::as_str).unwrap_or("1");
    labels.insert(GENERATION.to_owned(), json!(generation));
    let spec = child(&mut pod, "spec");
    let affinity = spec.entry("affinity").or_insert_with(|| json!({}));
    let term = json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]});
    child(affinity, "nodeAffinity")
        .insert("requiredDuringSchedulingIgnoredDuringExecution".to_owned(), json!({"nodeSelectorTerms": [term]}));
    let tolerations = spec.entry("tolerations").or_insert_with(|| json!([]));
    if let Some(tolerations) = tolerations.as_array_mut() {
        for (key, effect) in TOLERATED {
            tolerations.push(json!({"key": key, "operator": "Exists", "effect": effect}));
        }
    }
    workloads.create(PODS, pod)
}

/// Replaces as many pods of older revisions as may be missing at a time.
fn roll(workloads: &Workloads, set: &Value, newest: &str, wanted: usize, on_node: &mut BTreeMap<String, Held>) -> Result<()> {
    if text(set, "/spec/updateStrategy/type") == "OnDelete" {
        return Ok(());
    }
    let default = json!(1);
    let limit = set.pointer("/spec/updateStrategy/rollingUpdate/maxUnavailable").unwrap_or(&default);
    let surge = set.pointer("/spec/updateStrategy/rollingUpdate/maxSurge");
    let wanted = i64::try_from(wanted).unwrap_or(i64::MAX);
    // Pods of a simulated node start at once, so one more beside the old one and one less are the same.
    let limit = share(Some(limit), wanted, true).max(share(surge, wanted, true)).max(1);
    let mut missing = on_node.values().filter(|(_, pod)| !is_ready(pod)).count();
    let stale: Vec<String> = on_node.iter().filter(|(_, (_, pod))| revision_of(pod) != newest).map(|(node, _)| node.clone()).collect();
    for node in stale {
        let Some((pod, value)) = on_node.get(&node) else { continue };
        let was_missing = !is_ready(value);
        if !was_missing && i64::try_from(missing).unwrap_or(i64::MAX) >= limit {
            continue;
        }
        missing += usize::from(!was_missing);
        workloads.delete(PODS, pod)?;
        let made = create(workloads, set, &node, newest)?;
        let value = made.value();
        on_node.insert(node, (made, value));
    }
    Ok(())
}

fn write_status(
    workloads: &mut Workloads,
    place: &Place,
    set: &Value,
    newest: &str,
    wanted: usize,
    misplaced: i64,
    on_node: &BTreeMap<String, Held>,
) -> Result<()> {
    let min_ready = number(set, "/spec/minReadySeconds", 0);
    let (mut ready, mut available, mut updated, now) = (0_usize, 0_usize, 0_usize, now_seconds());
    for (_, pod) in on_node.values() {
        ready += usize::from(is_ready(pod));
        updated += usize::from(revision_of(pod) == newest);
        match available_in(pod, min_ready, now) {
            Some(0) => available += 1,
            Some(seconds) => workloads.again(place, Duration::from_secs(seconds.unsigned_abs())),
            None => {}
        }
    }
    let mut status = json!({
        "currentNumberScheduled": on_node.len().min(wanted), "numberMisscheduled": misplaced, "desiredNumberScheduled": wanted,
        "numberReady": ready, "observedGeneration": set["metadata"]["generation"],
    });
    for (field, value) in
        [("updatedNumberScheduled", updated), ("numberAvailable", available), ("numberUnavailable", wanted.saturating_sub(available))]
    {
        if value > 0 {
            status[field] = json!(value);
        }
    }
    if let Some(collisions) = set.pointer("/status/collisionCount") {
        status["collisionCount"] = collisions.clone();
    }
    workloads.set_status(DAEMON_SETS, &place.key, &status)
}
