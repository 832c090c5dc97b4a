//! Deployment, ReplicaSet, StatefulSet, DaemonSet, ReplicationController.

use serde_json::{Value, json};

use super::at::{At, Errors};
use super::{meta, names, pod, storage};
use crate::field;
use crate::managed::equal;

/// Selector and template of a workload: the one must select the other.
fn selector_and_template(errors: &mut Errors, spec: &At<'_>, kind: &str, told_invalid: bool) {
    let (selector, template, claims) = (spec.get("selector"), spec.get("template"), claim_names(spec));
    if selector.is_set() {
        let before = errors.0.len();
        meta::selector(errors, &selector);
        if errors.0.len() > before && told_invalid {
            errors.push(field::invalid_struct(&selector.path, &meta::selector_value(&selector), "invalid label selector"));
            return pod::template_with(errors, &template, &claims);
        }
        if selector.get("matchLabels").len() + selector.get("matchExpressions").len() == 0 {
            errors.invalid(&selector, &format!("empty selector is invalid for {kind}"));
            return pod::template_with(errors, &template, &claims);
        }
    } else if kind != "daemonset" {
        errors.required(&selector, "");
    }
    let labels = template.get("metadata").get("labels");
    if !selector.is_set() || !meta::selects(&selector, &labels) {
        errors.invalid(&labels, "`selector` does not match template `labels`");
    }
    pod::template_with(errors, &template, &claims);
}

fn always_restarted(errors: &mut Errors, spec: &At<'_>) {
    let template = spec.get("template").get("spec");
    let policy = template.get("restartPolicy");
    if matches!(policy.text(), "OnFailure" | "Never") {
        errors.not_supported(&policy, &["Always"]);
    }
    if template.get("activeDeadlineSeconds").is_set() {
        errors.forbidden(&template.get("activeDeadlineSeconds"), "activeDeadlineSeconds in ReplicaSet is not Supported");
    }
}

/// A strategy as Go's internal type prints it.
fn strategy_value(at: &At<'_>) -> Value {
    json!({"Type": at.get("type").text(), "RollingUpdate": at.get("rollingUpdate").value})
}

/// A count or a percentage.
fn amount(errors: &mut Errors, at: &At<'_>) {
    match at.value {
        Value::String(text) => {
            if let Some(message) = names::percent(text) {
                errors.invalid(at, &message);
            }
        }
        _ => errors.not_negative(at),
    }
}

fn not_over_hundred(errors: &mut Errors, at: &At<'_>) {
    if names::is_over_hundred(at.text()) {
        errors.invalid(at, "must not be greater than 100%");
    }
}

fn is_zero(at: &At<'_>) -> bool {
    at.int() == Some(0) || at.text() == "0%"
}

/// The selector may not change.
fn selector_kept(errors: &mut Errors, spec: &At<'_>, old: &At<'_>) {
    let selector = spec.get("selector");
    if !equal(selector.value, old.get("spec").get("selector").value) {
        errors.push(field::invalid_struct(&selector.path, &meta::selector_value(&selector), "field is immutable"));
    }
}

pub(super) fn deployment(errors: &mut Errors, object: &At<'_>, old: Option<&At<'_>>) {
    let spec = object.get("spec");
    errors.not_negative(&spec.get("replicas"));
    selector_and_template(errors, &spec, "deployment", true);
    always_restarted(errors, &spec);
    let strategy = spec.get("strategy");
    match strategy.get("type").text() {
        "Recreate" if strategy.get("rollingUpdate").is_set() => {
            errors.forbidden(&strategy.get("rollingUpdate"), "may not be specified when strategy `type` is 'Recreate'");
        }
        "Recreate" => {}
        "RollingUpdate" => {
            let rolling = strategy.get("rollingUpdate");
            let (unavailable, surge) = (rolling.get("maxUnavailable"), rolling.get("maxSurge"));
            amount(errors, &unavailable);
            amount(errors, &surge);
            if is_zero(&unavailable) && is_zero(&surge) {
                errors.invalid(&unavailable, "may not be 0 when `maxSurge` is 0");
            }
            not_over_hundred(errors, &unavailable);
        }
        _ => errors.push(field::not_supported(&strategy.path, &strategy_value(&strategy), &["Recreate", "RollingUpdate"])),
    }
    errors.not_negative(&spec.get("minReadySeconds"));
    errors.not_negative(&spec.get("revisionHistoryLimit"));
    let deadline = spec.get("progressDeadlineSeconds");
    errors.not_negative(&deadline);
    if deadline.int().is_some_and(|deadline| deadline <= spec.get("minReadySeconds").int().unwrap_or(0)) {
        errors.invalid(&deadline, "must be greater than minReadySeconds");
    }
    if let Some(old) = old {
        selector_kept(errors, &spec, old);
    }
}

pub(super) fn replica_set(errors: &mut Errors, object: &At<'_>, old: Option<&At<'_>>) {
    let spec = object.get("spec");
    errors.not_negative(&spec.get("replicas"));
    errors.not_negative(&spec.get("minReadySeconds"));
    selector_and_template(errors, &spec, "replicaset", true);
    always_restarted(errors, &spec);
    if let Some(old) = old {
        selector_kept(errors, &spec, old);
    }
}

pub(super) fn daemon_set(errors: &mut Errors, object: &At<'_>, old: Option<&At<'_>>) {
    let spec = object.get("spec");
    selector_and_template(errors, &spec, "daemonset", false);
    always_restarted(errors, &spec);
    errors.not_negative(&spec.get("minReadySeconds"));
    let strategy = spec.get("updateStrategy");
    match strategy.get("type").text() {
        "OnDelete" => {}
        "RollingUpdate" => {
            let rolling = strategy.get("rollingUpdate");
            let (unavailable, surge) = (rolling.get("maxUnavailable"), rolling.get("maxSurge"));
            amount(errors, &unavailable);
            amount(errors, &surge);
            if is_zero(&unavailable) && is_zero(&surge) {
                errors.required(&unavailable, "cannot be 0 when maxSurge is 0");
            } else if !is_zero(&unavailable) && !is_zero(&surge) && surge.is_set() {
                errors.invalid(&surge, "may not be set when maxUnavailable is non-zero");
            }
            not_over_hundred(errors, &unavailable);
            not_over_hundred(errors, &surge);
        }
        _ => errors.push(field::not_supported(&strategy.path, &strategy_value(&strategy), &["RollingUpdate", "OnDelete"])),
    }
    errors.not_negative(&spec.get("revisionHistoryLimit"));
    if let Some(old) = old {
        selector_kept(errors, &spec, old);
    }
}

pub(super) fn replication_controller(errors: &mut Errors, object: &At<'_>) {
    let spec = object.get("spec");
    errors.not_negative(&spec.get("minReadySeconds"));
    errors.not_negative(&spec.get("replicas"));
    if spec.get("selector").len() == 0 {
        errors.required(&spec.get("selector"), "");
    }
    if !spec.get("template").is_set() {
        return errors.required(&spec.get("template"), "");
    }
    let labels = spec.get("template").get("metadata").get("labels");
    let selects = spec.get("selector").entries().all(|(key, value)| labels.value.get(key) == Some(value.value));
    if !selects {
        errors.invalid(&labels, "`selector` does not match template `labels`");
    }
    pod::template(errors, &spec.get("template"));
}

const STATEFUL_FIELDS: [&str; 8] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
    "status",
];

pub(super) fn stateful_set(errors: &mut Errors, object: &At<'_>, old: Option<&At<'_>>) {
    let spec = object.get("spec");
    match spec.get("podManagementPolicy").text() {
        "OrderedReady" | "Parallel" => {}
        "" => errors.required(&spec.get("podManagementPolicy"), ""),
        _ => errors.invalid(&spec.get("podManagementPolicy"), "must be 'OrderedReady' or 'Parallel'"),
    }
    let strategy = spec.get("updateStrategy");
    match strategy.get("type").text() {
        "" => errors.required(&strategy, ""),
        "OnDelete" if strategy.get("rollingUpdate").is_set() => {
            errors.push(field::invalid(
                &strategy.get("rollingUpdate").path,
                strategy.get("rollingUpdate").value,
                "only allowed for updateStrategy 'RollingUpdate'",
            ));
        }
        "OnDelete" => {}
        "RollingUpdate" => {
            errors.not_negative(&strategy.get("rollingUpdate").get("partition"));
            amount(errors, &strategy.get("rollingUpdate").get("maxUnavailable"));
        }
        _ => errors.push(field::invalid(&strategy.path, &strategy_value(&strategy), "must be 'RollingUpdate' or 'OnDelete'")),
    }
    let retention = spec.get("persistentVolumeClaimRetentionPolicy");
    errors.one_of(&retention.get("whenDeleted"), &["Retain", "Delete"]);
    errors.one_of(&retention.get("whenScaled"), &["Retain", "Delete"]);
    errors.not_negative(&spec.get("replicas"));
    errors.not_negative(&spec.get("minReadySeconds"));
    errors.not_negative(&spec.get("ordinals").get("start"));
    let service = spec.get("serviceName");
    if !service.text().is_empty() {
        errors.all(&service, names::label(service.text()));
    }
    // They do not change, so what is wrong with them is told once.
    for claim in spec.get("volumeClaimTemplates").items().filter(|_| old.is_none()) {
        storage::claim_spec(errors, &claim.get("spec"));
    }
    // The claims become volumes of the pods, and their names are checked as such.
    let template = spec.get("template");
    selector_and_template(errors, &spec, "statefulset", true);
    let volumes = template.get("spec").get("volumes");
    for (at, claim) in spec.get("volumeClaimTemplates").items().enumerate() {
        let name = claim.get("metadata").get("name");
        let told = At { path: format!("{}[{}].name", volumes.path, at), ..name.clone() };
        errors.all(&told, names::label(name.text()));
    }
    let policy = template.get("spec").get("restartPolicy");
    if matches!(policy.text(), "OnFailure" | "Never") {
        errors.not_supported(&policy, &["Always"]);
    }
    if template.get("spec").get("activeDeadlineSeconds").is_set() {
        errors.forbidden(&template.get("spec").get("activeDeadlineSeconds"), "activeDeadlineSeconds in StatefulSet is not Supported");
    }
    if let Some(old) = old {
        let fixed = |spec: &At<'_>| {
            let mut out = spec.value.as_object().cloned().unwrap_or_default();
            STATEFUL_FIELDS.iter().for_each(|field| {
                out.shift_remove(*field);
            });
            Value::Object(out)
        };
        if !equal(&fixed(&spec), &fixed(&old.get("spec"))) {
            errors.forbidden(
                &spec,
                "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
            );
        }
    }
}

/// Names of the claims of a stateful set: its containers may mount them like volumes.
fn claim_names<'v>(spec: &At<'v>) -> Vec<&'v str> {
    spec.get("volumeClaimTemplates").items().map(|claim| claim.get("metadata").get("name").text()).collect()
}
