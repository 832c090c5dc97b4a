//! A HorizontalPodAutoscaler without metrics: it keeps its bounds and says what it lacks.

use super::pods::number;
use super::{AUTOSCALERS, Workloads};
use crate::api::{now, text};
use crate::protocol::status::Result;
use crate::registry::crd::set_condition;
use crate::store::{Place, Record};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// As often as a real one looks.
const EVERY: Duration = Duration::from_secs(15);

pub fn sync(workloads: &mut Workloads, place: &Place, record: &Arc<Record>) -> Result<()> {
    if record.facts.deleting {
        return Ok(());
    }
    let autoscaler = record.value();
    let registry = workloads.api.registry();
    let of = |field: &str| text(&autoscaler, &format!("/spec/scaleTargetRef/{field}")).to_owned();
    let (group, version) = match of("apiVersion").split_once('/') {
        Some((group, version)) => (group.to_owned(), version.to_owned()),
        None => (String::new(), of("apiVersion")),
    };
    let target = registry.of_kind(&group, &version, &of("kind")).filter(|target| target.subresource("scale").is_some());
    let found = target.and_then(|target| {
        let record = workloads.api.store.get(&target.table, &target.key(record.namespace(), &of("name")))?;
        Some((target, record))
    });
    let mut conditions = autoscaler.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut status = json!({"currentMetrics": null, "desiredReplicas": number(&autoscaler, "/status/desiredReplicas", 0)});
    match &found {
        Some((target, scaled)) if target.custom.is_none() => {
            let current = number(&scaled.value(), "/spec/replicas", 1);
            let (min, max) = (number(&autoscaler, "/spec/minReplicas", 1), number(&autoscaler, "/spec/maxReplicas", 1));
            // Scaled to nothing by hand, it stays so.
            let desired = if current == 0 { 0 } else { current.clamp(min.min(max), max) };
            let able = |conditions: &mut Vec<Value>| {
                let message = "the HPA controller was able to get the target's current scale";
                set_condition(conditions, "AbleToScale", "True", "SucceededGetScale", message, &now());
            };
            able(&mut conditions);
            if current == 0 {
                let message = "scaling is disabled since the replica count of the target is zero";
                set_condition(&mut conditions, "ScalingActive", "False", "ScalingDisabled", message, &now());
            } else {
                let message = "the HPA was unable to compute the replica count: this server has no metrics";
                set_condition(&mut conditions, "ScalingActive", "False", "FailedGetResourceMetric", message, &now());
            }
            status["currentReplicas"] = json!(current);
            status["desiredReplicas"] = json!(desired);
            if desired != current {
                workloads.change(&target.table, &scaled.key, Some("scale"), |mut object| {
                    object["spec"]["replicas"] = json!(desired);
                    Some(object)
                })?;
                status["lastScaleTime"] = json!(now());
            } else if let Some(last) = autoscaler.pointer("/status/lastScaleTime") {
                status["lastScaleTime"] = last.clone();
            }
        }
        _ => {
            let message =
                format!("the HPA controller was unable to get the target's current scale: {} \"{}\" not found", of("kind"), of("name"));
            set_condition(&mut conditions, "AbleToScale", "False", "FailedGetScale", &message, &now());
        }
    }
    status["conditions"] = Value::Array(conditions);
    workloads.again(place, EVERY);
    workloads.set_status(AUTOSCALERS, &place.key, &status)
}
