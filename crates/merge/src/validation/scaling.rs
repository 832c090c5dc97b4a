//! HorizontalPodAutoscaler and PodDisruptionBudget.

use crate::quantity::Quantity;
use serde_json::{Value, json};

use super::at::{At, Errors};
use super::{meta, names};
use crate::field;

const METRICS: [(&str, &str); 5] = [
    ("ContainerResource", "containerResource"),
    ("External", "external"),
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
];

pub(super) fn autoscaler(errors: &mut Errors, object: &At<'_>) {
    let spec = object.get("spec");
    let (min, max) = (spec.get("minReplicas"), spec.get("maxReplicas"));
    if min.int().is_some_and(|min| min < 1) {
        errors.invalid(&min, "must be greater than or equal to 1");
    }
    if max.int().unwrap_or(0) < 1 {
        errors.required(&max, "must be set and greater than 0");
    }
    if min.int().is_some_and(|min| max.int().unwrap_or(0) < min) {
        errors.invalid(&max, "must be greater than or equal to `minReplicas`");
    }
    let target = spec.get("scaleTargetRef");
    for name in ["kind", "name"] {
        let at = target.get(name);
        if at.text().is_empty() {
            errors.required(&at, "");
        } else {
            errors.all(&at, names::path_segment(at.text()));
        }
    }
    if !target.get("apiVersion").text().contains('/') {
        errors.invalid_text(&target.get("apiVersion"), "apiVersion must specify API group");
    }
    let metrics = spec.get("metrics");
    let mut scales_to_zero = false;
    for metric in metrics.items() {
        scales_to_zero |= matches!(metric.get("type").text(), "Object" | "External");
        self::metric(errors, &metric);
    }
    if min.int() == Some(0) && !scales_to_zero {
        errors.forbidden(&metrics, "must specify at least one Object or External metric to support scaling to zero replicas");
    }
    for direction in ["scaleUp", "scaleDown"] {
        let rules = spec.get("behavior").get(direction);
        let window = rules.get("stabilizationWindowSeconds");
        if window.int().is_some_and(|seconds| seconds < 0) {
            errors.invalid(&window, "must be greater than or equal to zero");
        } else if window.int().is_some_and(|seconds| seconds > 3600) {
            errors.invalid(&window, "must be less than or equal to 3600");
        }
        errors.one_of(&rules.get("selectPolicy"), &["Disabled", "Max", "Min"]);
        for policy in rules.get("policies").items() {
            errors.one_of(&policy.get("type"), &["Percent", "Pods"]);
            for name in ["value", "periodSeconds"] {
                if policy.get(name).int().unwrap_or(0) <= 0 {
                    errors.invalid(&policy.get(name), "must be greater than zero");
                }
            }
        }
    }
}

fn metric(errors: &mut Errors, at: &At<'_>) {
    let kind = at.get("type");
    let supported: Vec<&str> = METRICS.iter().map(|(name, _)| *name).collect();
    if kind.text().is_empty() {
        errors.required(&kind, "must specify a metric source type");
    }
    let Some((_, source)) = METRICS.iter().find(|(name, _)| *name == kind.text()) else {
        // Told twice, as there.
        errors.not_supported(&kind, &supported);
        return errors.not_supported(&kind, &supported);
    };
    let source = at.get(source);
    if !source.is_set() {
        return errors.required(&source, "must populate information for the given metric source");
    }
    let target = source.get("target");
    let (kind, usage, value, average) =
        (target.get("type"), target.get("averageUtilization"), target.get("value"), target.get("averageValue"));
    if kind.text().is_empty() {
        errors.required(&kind, "must specify a metric target type");
        errors.invalid_text(&kind, "must be either Utilization, Value, or AverageValue");
    } else {
        errors.one_of(&kind, &["AverageValue", "Utilization", "Value"]);
    }
    if usage.int().is_some_and(|usage| usage < 1) {
        errors.invalid(&usage, "must be greater than 0");
    }
    for at in [&value, &average] {
        if Quantity::of(at.value).is_some_and(|amount| amount.is_negative() || amount.is_zero()) {
            errors.invalid(at, "must be positive");
        }
    }
    if source.path.ends_with("esource") {
        if source.get("name").text().is_empty() {
            errors.required(&source.get("name"), "must specify a resource name");
        }
        if !usage.is_set() && !average.is_set() {
            errors.required(&usage, "must set either a target raw value or a target utilization");
        }
        if usage.is_set() && average.is_set() {
            errors.forbidden(&average, "may not set both a target raw value and a target utilization");
        }
    }
}

pub(super) fn disruption_budget(errors: &mut Errors, object: &At<'_>) {
    let spec = object.get("spec");
    let (min, max) = (spec.get("minAvailable"), spec.get("maxUnavailable"));
    if min.is_set() && max.is_set() {
        // Shown as Go's internal struct.
        let shown = json!({"MinAvailable": min.value, "Selector": spec.get("selector").value, "MaxUnavailable": max.value, "UnhealthyPodEvictionPolicy": spec.get("unhealthyPodEvictionPolicy").value});
        let mut error = field::invalid(&spec.path, &Value::Null, "");
        error.message = format!("Invalid value: {shown}: minAvailable and maxUnavailable cannot be both set");
        errors.push(error);
    }
    for at in [&min, &max] {
        match at.value {
            Value::String(text) => match names::percent(text) {
                Some(message) => errors.invalid(at, &message),
                None if names::is_over_hundred(text) => errors.invalid(at, "must not be greater than 100%"),
                None => {}
            },
            _ => errors.not_negative(at),
        }
    }
    meta::selector(errors, &spec.get("selector"));
    errors.one_of(&spec.get("unhealthyPodEvictionPolicy"), &["AlwaysAllow", "IfHealthyBudget"]);
}
