//! Where pods may run: tolerations, affinity, spread.

use super::at::{At, Errors};
use super::{meta, names};

pub(super) fn tolerations(errors: &mut Errors, list: &At<'_>) {
    for at in list.items() {
        let (key, operator, value, effect) = (at.get("key"), at.get("operator"), at.get("value"), at.get("effect"));
        if !key.text().is_empty() {
            errors.all(&key, names::qualified(key.text()));
        }
        if key.text().is_empty() && operator.text() != "Exists" {
            errors.invalid_text(&operator, "operator must be Exists when `key` is empty, which means \"match all values and all keys\"");
        }
        if at.get("tolerationSeconds").is_set() && effect.text() != "NoExecute" {
            errors.invalid_text(&effect, "effect must be 'NoExecute' when `tolerationSeconds` is set");
        }
        // What is wrong with the value is told of the operator, as there.
        let told = At { path: operator.path.clone(), ..value.clone() };
        match operator.text() {
            "Equal" | "" => errors.all(&told, names::label_value(value.text())),
            "Exists" if !value.text().is_empty() => errors.invalid(&told, "value must be empty when `operator` is 'Exists'"),
            "Exists" => {}
            _ => errors.not_supported(&operator, &["Equal", "Exists"]),
        }
        if !effect.text().is_empty() {
            errors.one_of(&effect, &["NoSchedule", "PreferNoSchedule", "NoExecute"]);
        }
    }
}

pub(super) fn spread(errors: &mut Errors, list: &At<'_>) {
    for at in list.items() {
        if at.get("maxSkew").int().unwrap_or(0) <= 0 {
            errors.invalid(&at.get("maxSkew"), "must be greater than zero");
        }
        let key = at.get("topologyKey");
        if key.text().is_empty() {
            errors.required(&key, "can not be empty");
        }
        let when = at.get("whenUnsatisfiable");
        if !matches!(when.text(), "DoNotSchedule" | "ScheduleAnyway") {
            errors.not_supported(&when, &["DoNotSchedule", "ScheduleAnyway"]);
        }
        meta::selector(errors, &at.get("labelSelector"));
    }
}

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

pub(super) fn affinity(errors: &mut Errors, at: &At<'_>) {
    let node = at.get("nodeAffinity");
    let required = node.get(REQUIRED);
    if required.is_set() {
        let terms = required.get("nodeSelectorTerms");
        if terms.len() == 0 {
            errors.required(&terms, "must have at least one node selector term");
        }
        terms.items().for_each(|term| node_term(errors, &term));
    }
    for preferred in node.get(PREFERRED).items() {
        weight(errors, &preferred);
        node_term(errors, &preferred.get("preference"));
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let pods = at.get(kind);
        pods.get(REQUIRED).items().for_each(|term| pod_term(errors, &term));
        for preferred in pods.get(PREFERRED).items() {
            weight(errors, &preferred);
            pod_term(errors, &preferred.get("podAffinityTerm"));
        }
    }
}

fn weight(errors: &mut Errors, at: &At<'_>) {
    let weight = at.get("weight");
    if !weight.int().is_some_and(|weight| (1..=100).contains(&weight)) {
        errors.invalid(&weight, "must be in the range 1-100");
    }
}

fn node_term(errors: &mut Errors, at: &At<'_>) {
    for expression in at.get("matchExpressions").items() {
        let values = expression.get("values");
        match expression.get("operator").text() {
            "In" | "NotIn" if values.len() == 0 => errors.required(&values, "must be specified when `operator` is 'In' or 'NotIn'"),
            "Exists" | "DoesNotExist" if values.len() > 0 => {
                errors.forbidden(&values, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
            }
            "Gt" | "Lt" if values.len() != 1 => errors.required(&values, "must be specified single value when `operator` is 'Lt' or 'Gt'"),
            "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
            _ => errors.invalid_text(&expression.get("operator"), "not a valid selector operator"),
        }
        errors.all(&expression.get("key"), names::qualified(expression.get("key").text()));
    }
}

fn pod_term(errors: &mut Errors, at: &At<'_>) {
    meta::selector(errors, &at.get("labelSelector"));
    meta::selector(errors, &at.get("namespaceSelector"));
    for namespace in at.get("namespaces").items() {
        errors.all(&namespace, names::label(namespace.text()));
    }
    let key = at.get("topologyKey");
    if key.text().is_empty() {
        errors.required(&key, "can not be empty");
    }
    errors.all(&key, names::qualified(key.text()));
}
