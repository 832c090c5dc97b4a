//! How many pods a disruption budget lets go.

use super::pods::{is_active, is_ready, number, share};
use super::{BUDGETS, PODS, REPLICA_SETS, STATEFUL_SETS, Workloads};
use crate::api::{now, text};
use crate::protocol::selector::LabelSelector;
use crate::protocol::status::Result;
use crate::store::{Place, Record};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;

pub fn sync(workloads: &mut Workloads, place: &Place, record: Option<&Arc<Record>>) -> Result<()> {
    let budget = record.map(|record| record.value());
    let labels = budget.as_ref().and_then(|b| b.pointer("/spec/selector/matchLabels")).and_then(Value::as_object).cloned();
    let selector = budget.as_ref().and_then(|b| b.pointer("/spec/selector")).and_then(LabelSelector::from_value);
    workloads.index.update_selector(place, labels.as_ref(), selector.is_some());
    let (Some(budget), Some(selector), Some(record)) = (budget, selector, record) else { return Ok(()) };
    let pods: Vec<(Arc<Record>, Value)> = workloads
        .index
        .selected(&workloads.api.store, PODS, record.namespace(), labels.as_ref(), &selector)
        .into_iter()
        .map(|pod| (Arc::clone(&pod), pod.value()))
        .filter(|(_, pod)| is_active(pod))
        .collect();
    let healthy = i64::try_from(pods.iter().filter(|(_, pod)| is_ready(pod)).count()).unwrap_or(i64::MAX);
    let (min, max) = (budget.pointer("/spec/minAvailable"), budget.pointer("/spec/maxUnavailable"));
    let count = i64::try_from(pods.len()).unwrap_or(i64::MAX);
    let (expected, desired) = match (max, min) {
        (Some(max), _) => {
            let expected = expected(workloads, &pods);
            (expected, (expected - share(Some(max), expected, true)).max(0))
        }
        (None, Some(min @ Value::String(_))) => {
            let expected = expected(workloads, &pods);
            (expected, share(Some(min), expected, true))
        }
        (None, min) => (count, share(min, count, true)),
    };
    let allowed = if expected > 0 { (healthy - desired).max(0) } else { 0 };
    let (status, reason, message) = if allowed > 0 { ("True", "SufficientPods", "") } else { ("False", "InsufficientPods", "") };
    let mut conditions = budget.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    crate::registry::crd::set_condition(&mut conditions, "DisruptionAllowed", status, reason, message, &now());
    for condition in &mut conditions {
        condition["observedGeneration"] = budget["metadata"]["generation"].clone();
    }
    let mut new = json!({
        "disruptionsAllowed": allowed, "currentHealthy": healthy, "desiredHealthy": desired, "expectedPods": expected,
        "observedGeneration": budget["metadata"]["generation"], "conditions": conditions,
    });
    if let Some(disrupted) = budget.pointer("/status/disruptedPods") {
        new["disruptedPods"] = disrupted.clone();
    }
    workloads.set_status(BUDGETS, &place.key, &new)
}

/// How many pods there should be: what their controllers were told to have.
fn expected(workloads: &Workloads, pods: &[(Arc<Record>, Value)]) -> i64 {
    let mut seen = HashSet::new();
    let mut sum = 0;
    for (pod, _) in pods {
        let Some(owner) = pod.facts.owners.iter().find(|owner| owner.controls).filter(|owner| seen.insert(owner.uid)) else { continue };
        let Some(place) = workloads.api.store.place_of(owner.uid).filter(|p| matches!(&*p.table, REPLICA_SETS | STATEFUL_SETS)) else {
            continue;
        };
        let Some(set) = workloads.api.store.get(&place.table, &place.key).map(|record| record.value()) else { continue };
        // The Deployment above a set knows better, in the middle of a rollout.
        let above = set.pointer("/metadata/ownerReferences/0").filter(|owner| owner["controller"] == true);
        let above = above.and_then(|owner| crate::store::Uid::parse(text(owner, "/uid"))).filter(|uid| seen.insert(*uid));
        let deployment = above.and_then(|uid| workloads.api.store.place_of(uid)).and_then(|p| workloads.api.store.get(&p.table, &p.key));
        sum += match (deployment, place.table.as_ref() == REPLICA_SETS && set.pointer("/metadata/ownerReferences").is_some()) {
            (Some(deployment), _) => number(&deployment.value(), "/spec/replicas", 1),
            (None, true) => 0,
            (None, false) => number(&set, "/spec/replicas", 1),
        };
    }
    sum
}
