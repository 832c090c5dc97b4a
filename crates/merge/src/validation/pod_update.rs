//! Pod, of which little may change once it is there.

use serde_json::Value;

use super::at::{At, Errors};
use super::pod;
use crate::managed::equal;

pub(super) fn pod(errors: &mut Errors, object: &At<'_>, old: Option<&At<'_>>) {
    let spec = object.get("spec");
    pod::spec(errors, &spec, &[]);
    let Some(old) = old else { return };
    let old = old.get("spec");
    for name in ["containers", "initContainers"] {
        if spec.get(name).len() != old.get(name).len() {
            return errors.forbidden(&spec.get(name), "pod updates may not add or remove containers");
        }
    }
    if !deadline(errors, &spec.get("activeDeadlineSeconds"), &old.get("activeDeadlineSeconds")) {
        return;
    }
    tolerations(errors, &spec.get("tolerations"), &old.get("tolerations"));
    gates(errors, &spec.get("schedulingGates"), &old.get("schedulingGates"));
    if !equal(&fixed(&spec, &old), &fixed(&old, &old)) {
        errors.forbidden(
            &spec,
            "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
        );
    }
}

/// A deadline may come, and come nearer. Says whether there is any sense in looking further.
fn deadline(errors: &mut Errors, new: &At<'_>, old: &At<'_>) -> bool {
    match (new.int(), old.int()) {
        (Some(new_seconds), _) if !(0..=i64::from(i32::MAX)).contains(&new_seconds) => {
            errors.invalid(new, "must be between 0 and 2147483647, inclusive");
            return false;
        }
        (Some(new_seconds), Some(old_seconds)) if old_seconds < new_seconds => {
            errors.invalid(new, "must be less than or equal to previous value");
            return false;
        }
        (None, Some(_)) => errors.invalid(new, "must not update from a positive integer to nil value"),
        _ => {}
    }
    true
}

fn without(value: &Value, fields: &[&str]) -> Value {
    let mut out = value.clone();
    if let Some(map) = out.as_object_mut() {
        fields.iter().for_each(|field| {
            map.shift_remove(*field);
        });
    }
    out
}

/// What was tolerated stays so, but for how long.
fn tolerations(errors: &mut Errors, new: &At<'_>, old: &At<'_>) {
    let kept = |old: &At<'_>| {
        let what = without(old.value, &["tolerationSeconds"]);
        new.items().any(|new| equal(&without(new.value, &["tolerationSeconds"]), &what))
    };
    if !old.items().all(|old| kept(&old)) {
        errors.forbidden(new, "existing toleration can not be modified except its tolerationSeconds");
    }
}

/// Gates are only ever opened.
fn gates(errors: &mut Errors, new: &At<'_>, old: &At<'_>) {
    for gate in new.items() {
        let name = gate.get("name").text();
        if !old.items().any(|old| old.get("name").text() == name) {
            errors.forbidden(&gate.get("name"), &format!("only deletion is allowed, but found new scheduling gate '{name}'"));
        }
    }
}

/// What may not change.
fn fixed(spec: &At<'_>, old: &At<'_>) -> Value {
    let mut out = without(spec.value, &["activeDeadlineSeconds", "tolerations", "schedulingGates"]);
    for name in ["initContainers", "containers"] {
        for container in out.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten() {
            *container = without(container, &["image"]);
        }
    }
    let grace = "terminationGracePeriodSeconds";
    if old.get(grace).int().is_some_and(|seconds| seconds < 0) && spec.get(grace).int() == Some(1) {
        out[grace] = old.get(grace).value.clone();
    }
    // Where a pod that waits at a gate will run may still be narrowed down.
    if old.get("schedulingGates").len() > 0 {
        out = without(&out, &["nodeSelector", "affinity"]);
    }
    out
}
