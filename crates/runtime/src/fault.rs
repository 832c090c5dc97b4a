use crate::store::meta_of;
use crate::writer::raw_status;
use api::meta::{FALSE, READY, RECONCILING, STALLED, TRUE};
use api::{Condition, Conditions};
use jiff::Timestamp;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// The reason of conditions that the runtime sets itself, when no controller came to speak.
pub(crate) const REASON: &str = "ReconciliationFailed";
pub(crate) const UNREADABLE: &str = "InvalidObject";

/// The status of an object with a fault that its controller cannot report: it does not decode, or the run broke off.
///
/// Everything else in the status stays: the last artifact, the inventory. `terminal` means that trying again is of no use.
pub(crate) fn status(json: &RawValue, message: &str, terminal: bool, now: Timestamp) -> Value {
    let mut status = match raw_status(json) {
        Value::Object(status) => status,
        _ => Map::new(),
    };
    let generation = meta_of(json).generation;
    let mut conditions: Vec<Condition> =
        status.get("conditions").and_then(|conditions| serde_json::from_value(conditions.clone()).ok()).unwrap_or_default();
    let reason = if terminal { UNREADABLE } else { REASON };
    conditions.set_condition(Condition::new(READY, FALSE, reason, message), generation, now.into());
    if terminal {
        conditions.set_condition(Condition::new(STALLED, TRUE, reason, message), generation, now.into());
        conditions.remove_condition(RECONCILING);
        status.insert("observedGeneration".into(), generation.into());
    }
    if let Some(conditions) = crate::report::to_value(&conditions) {
        status.insert("conditions".into(), conditions);
    }
    Value::Object(status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_fault_leaves_the_rest_of_the_status_alone() {
        let object = json!({"metadata": {"name": "a", "generation": 3}, "status": {"artifact": {"digest": "x"}, "observedGeneration": 2,
            "conditions": [{"type": "Reconciling", "status": "True", "reason": "Progressing", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
        let raw = serde_json::value::to_raw_value(&object).unwrap();
        let now = "2026-11-24T00:00:00Z".parse().unwrap();
        let status = status(&raw, "cannot read this Thing: no", true, now);
        assert_eq!(status["artifact"], json!({"digest": "x"}));
        assert_eq!(status["observedGeneration"], 3);
        let conditions: Vec<Condition> = serde_json::from_value(status["conditions"].clone()).unwrap();
        assert!(conditions.condition(READY).is_some_and(|ready| ready.status == FALSE && ready.observed_generation == 3));
        assert!(conditions.condition(STALLED).is_some_and(Condition::is_true));
        assert!(conditions.condition(RECONCILING).is_none());
    }

    #[test]
    fn a_status_that_is_no_map_is_replaced() {
        let raw = serde_json::value::to_raw_value(&json!({"metadata": {"name": "a"}, "status": ["x"]})).unwrap();
        assert!(status(&raw, "m", false, Timestamp::UNIX_EPOCH)["conditions"].is_array());
    }
}
