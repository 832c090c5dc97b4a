//! What a pod says of itself.

use crate::api::text;
use serde_json::Value;

/// A time in seconds.
pub fn seconds(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second)
}

pub fn now_seconds() -> i64 {
    jiff::Timestamp::now().as_second()
}

pub fn phase(pod: &Value) -> &str {
    text(pod, "/status/phase")
}

pub fn is_over(pod: &Value) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

pub fn is_deleting(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some_and(|at| !at.is_null())
}

/// It counts as a replica.
pub fn is_active(pod: &Value) -> bool {
    !is_over(pod) && !is_deleting(pod)
}

pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object.pointer("/status/conditions").and_then(Value::as_array)?.iter().find(|c| c["type"] == kind)
}

pub fn is_ready(pod: &Value) -> bool {
    condition(pod, "Ready").is_some_and(|c| c["status"] == "True")
}

/// In how many seconds a ready pod will have been ready long enough; 0 when it has been.
pub fn available_in(pod: &Value, min_ready_seconds: i64, now: i64) -> Option<i64> {
    let ready = condition(pod, "Ready").filter(|c| c["status"] == "True")?;
    if min_ready_seconds == 0 {
        return Some(0);
    }
    let since = ready.get("lastTransitionTime").and_then(Value::as_str).and_then(seconds)?;
    Some((since + min_ready_seconds - now).max(0))
}

/// How often its containers were started again.
pub fn restarts(pod: &Value) -> i64 {
    ["/status/initContainerStatuses", "/status/containerStatuses"]
        .iter()
        .filter_map(|at| pod.pointer(at).and_then(Value::as_array))
        .flatten()
        .filter_map(|status| status.get("restartCount").and_then(Value::as_i64))
        .sum()
}

/// A whole number of a spec, or what Kubernetes takes when there is none.
pub fn number(object: &Value, pointer: &str, default: i64) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(default)
}

/// A count or a share of a whole (`25%`), rounded up or down.
pub fn share(value: Option<&Value>, of: i64, up: bool) -> i64 {
    match value {
        Some(Value::Number(number)) => number.as_i64().unwrap_or(0),
        Some(Value::String(text)) => {
            let percent: i64 = text.strip_suffix('%').and_then(|number| number.parse().ok()).unwrap_or(0);
            let hundredths = percent.saturating_mul(of);
            if up { hundredths.saturating_add(99).div_euclid(100) } else { hundredths.div_euclid(100) }
        }
        _ => 0,
    }
}

/// Pods that can go with the least harm first: not yet on a node, pending, not ready, younger.
pub fn cheapest_first(pods: &mut [(std::sync::Arc<crate::store::Record>, Value)]) {
    let rank = |pod: &Value| {
        let on_node = !text(pod, "/spec/nodeName").is_empty();
        let phase = match phase(pod) {
            "Pending" => 0,
            "Running" => 2,
            _ => 1,
        };
        (on_node, phase, is_ready(pod))
    };
    pods.sort_by(|(a, x), (b, y)| {
        rank(x)
            .cmp(&rank(y))
            .then_with(|| text(y, "/metadata/creationTimestamp").cmp(text(x, "/metadata/creationTimestamp")))
            .then_with(|| a.key.cmp(&b.key))
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn shares_round_as_rollouts_round_them() {
        assert_eq!((share(Some(&json!("25%")), 3, true), share(Some(&json!("25%")), 3, false)), (1, 0));
        assert_eq!((share(Some(&json!(2)), 3, true), share(None, 3, true)), (2, 0));
        assert_eq!(share(Some(&json!("100%")), i64::MAX, true), i64::MAX.div_euclid(100));
    }

    #[test]
    fn a_pod_is_available_once_it_was_ready_long_enough() {
        let pod = json!({"status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
        let ready = seconds("2026-01-01T00:00:00Z").unwrap();
        assert_eq!(available_in(&pod, 10, ready + 4), Some(6));
        assert_eq!(available_in(&pod, 10, ready + 40), Some(0));
        assert_eq!(available_in(&json!({}), 0, ready), None);
    }
}
