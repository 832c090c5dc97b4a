use crate::store::meta_of;
use crate::writer::raw_status;
use api::meta::{FALSE, READY, RECONCILING, STALLED, TRUE};
use api::{Condition, Conditions};
use jiff::Timestamp;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

const FAILED: &str = "ReconciliationFailed";
const UNREADABLE: &str = "InvalidObject";

/// Something that the controller of an object cannot report itself: the object does not decode, or the run broke off.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fault {
    pub(crate) message: String,
    /// Trying again is of no use.
    pub(crate) terminal: bool,
    pub(crate) now: Timestamp,
}

impl Fault {
    pub(crate) fn reason(&self) -> &'static str {
        if self.terminal { UNREADABLE } else { FAILED }
    }

    /// The status of the object with the fault; everything else in it stays: the last artifact, the inventory.
    pub(crate) fn status(&self, json: &RawValue) -> Value {
        let mut status = match raw_status(json) {
            Value::Object(status) => status,
            _ => Map::new(),
        };
        let (generation, now) = (meta_of(json).generation, self.now.into());
        let conditions = status.get("conditions").and_then(|conditions| serde_json::from_value(conditions.clone()).ok());
        let mut conditions: Vec<Condition> = conditions.unwrap_or_default();
        conditions.set_condition(Condition::new(READY, FALSE, self.reason(), &self.message), generation, now);
        if self.terminal {
            conditions.set_condition(Condition::new(STALLED, TRUE, self.reason(), &self.message), generation, now);
            conditions.remove_condition(RECONCILING);
            status.insert("observedGeneration".into(), generation.into());
        }
        if let Some(conditions) = crate::report::to_value(&conditions) {
            status.insert("conditions".into(), conditions);
        }
        Value::Object(status)
    }
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
        let status = Fault { message: "cannot read this Thing: no".into(), terminal: true, now }.status(&raw);
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
        let fault = Fault { message: "m".into(), terminal: false, now: Timestamp::UNIX_EPOCH };
        assert!(fault.status(&raw)["conditions"].is_array());
    }
}
