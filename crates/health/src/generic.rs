use crate::Health;
use object::Object;
use serde_json::Value;

/// A condition of `status.conditions`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Condition<'a> {
    pub kind: &'a str,
    pub status: &'a str,
    pub reason: &'a str,
    pub message: &'a str,
}

impl Condition<'_> {
    pub(crate) fn is(&self, kind: &str, status: &str) -> bool {
        self.kind == kind && self.status == status
    }
}

pub(crate) fn conditions(object: &Object) -> impl Iterator<Item = Condition<'_>> {
    let list = object.field(&["status", "conditions"]).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    list.iter().map(|condition| {
        let text = |key| condition.get(key).and_then(Value::as_str).unwrap_or("");
        Condition { kind: text("type"), status: text("status"), reason: text("reason"), message: text("message") }
    })
}

pub(crate) fn integer(object: &Object, path: &[&str]) -> Option<i64> {
    object.field(path).and_then(Value::as_i64)
}

pub(crate) fn text<'a>(object: &'a Object, path: &[&str]) -> &'a str {
    object.field(path).and_then(Value::as_str).unwrap_or("")
}

/// What holds for every kind before its own rules are asked.
pub(crate) fn before_kind(object: &Object) -> Option<Health> {
    if object.field(&["metadata", "deletionTimestamp"]).is_some_and(|t| !t.is_null()) {
        return Some(Health::new(crate::Status::Terminating, "Resource scheduled for deletion"));
    }
    let generations = (integer(object, &["metadata", "generation"]), integer(object, &["status", "observedGeneration"]));
    if let (Some(generation), Some(observed)) = generations
        && generation != observed
    {
        return Some(Health::in_progress(format!(
            "{} generation is {generation}, but latest observed generation is {observed}",
            object.kind()
        )));
    }
    conditions(object).find_map(|condition| {
        if condition.is("Reconciling", "True") {
            Some(Health::in_progress(condition.message))
        } else if condition.is("Stalled", "True") {
            Some(Health::failed(condition.message))
        } else {
            None
        }
    })
}

/// What the Ready condition says about a kind without rules of its own.
pub(crate) fn after_kind(object: &Object) -> Health {
    match conditions(object).find(|condition| condition.kind == "Ready") {
        Some(ready) if ready.status == "False" || ready.status == "Unknown" => Health::in_progress(ready.message),
        _ => Health::current("Resource is current"),
    }
}
