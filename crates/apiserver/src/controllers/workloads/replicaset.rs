//! As many pods as a ReplicaSet asks for, or a ReplicationController: the same with an older kind of selector.

use super::children::{Held, pod_of};
use super::pods::{available_in, cheapest_first, is_active, is_ready, now_seconds, number};
use super::{PODS, REPLICATION_CONTROLLERS, Workloads};
use crate::api::now;
use crate::protocol::status::{Result, Status};
use crate::registry::crd::set_condition;
use crate::store::{Place, Record};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// So many pods are made or removed before others get their turn.
const BURST: usize = 200;

pub fn sync(workloads: &mut Workloads, place: &Place, record: &Arc<Record>) -> Result<()> {
    let mut set = record.value();
    let older = &*place.table == REPLICATION_CONTROLLERS;
    if older {
        set["spec"]["selector"] = json!({"matchLabels": set["spec"]["selector"]});
    }
    let set = set;
    let mut pods = workloads.claim(record, &set, PODS)?;
    pods.retain(|(_, pod)| is_active(pod));
    let mut refused = None;
    if !record.facts.deleting {
        refused = bring_to(workloads, place, &set, &mut pods).err();
    }
    let min_ready = number(&set, "/spec/minReadySeconds", 0);
    let (mut ready, mut available, mut labelled, now_at) = (0, 0, 0, now_seconds());
    let template = set.pointer("/spec/template/metadata/labels").and_then(Value::as_object);
    for (pod_record, pod) in &pods {
        let all = template.into_iter().flatten().all(|(key, value)| pod_record.facts.label(key) == value.as_str());
        labelled += i64::from(all);
        ready += i64::from(is_ready(pod));
        match available_in(pod, min_ready, now_at) {
            Some(0) => available += 1,
            Some(seconds) => workloads.again(place, Duration::from_secs(seconds.unsigned_abs())),
            None => {}
        }
    }
    let count = i64::try_from(pods.len()).unwrap_or(i64::MAX);
    let mut status = json!({"replicas": count, "observedGeneration": number(&set, "/metadata/generation", 0)});
    if !older {
        status["terminatingReplicas"] = json!(0);
    }
    for (field, value) in [("fullyLabeledReplicas", labelled), ("readyReplicas", ready), ("availableReplicas", available)] {
        if value > 0 {
            status[field] = json!(value);
        }
    }
    let mut conditions = set.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    conditions.retain(|c| c["type"] != "ReplicaFailure" || refused.is_some());
    if let Some(why) = &refused {
        set_condition(&mut conditions, "ReplicaFailure", "True", "FailedCreate", &why.message, &now());
    }
    if !conditions.is_empty() {
        status["conditions"] = Value::Array(conditions);
    }
    workloads.set_status(&place.table, &record.key, &status)?;
    refused.map_or(Ok(()), Err)
}

fn bring_to(workloads: &mut Workloads, place: &Place, set: &Value, pods: &mut Vec<Held>) -> Result<(), Status> {
    let wanted = usize::try_from(number(set, "/spec/replicas", 1)).unwrap_or(0);
    if pods.len() < wanted {
        let missing = wanted - pods.len();
        for _ in 0..missing.min(BURST) {
            let mut pod = pod_of(set.pointer("/spec/template"), set);
            pod["metadata"]["generateName"] = json!(format!("{}-", crate::api::text(set, "/metadata/name")));
            let made = workloads.create(PODS, pod)?;
            let value = made.value();
            pods.push((made, value));
        }
        if missing > BURST {
            workloads.again(place, Duration::ZERO);
        }
    } else if pods.len() > wanted {
        cheapest_first(pods);
        let surplus = (pods.len() - wanted).min(BURST);
        for (record, _) in pods.drain(..surplus) {
            workloads.delete(PODS, &record)?;
        }
        if pods.len() > wanted {
            workloads.again(place, Duration::ZERO);
        }
    }
    Ok(())
}
