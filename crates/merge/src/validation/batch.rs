//! Job and CronJob.

use serde_json::Value;

use super::at::{At, Errors};
use super::{meta, pod};
use crate::field;
use crate::managed::equal;

pub(super) fn job(errors: &mut Errors, object: &At<'_>, old: Option<&At<'_>>) {
    let spec = object.get("spec");
    job_spec(errors, &spec);
    let (selector, labels) = (spec.get("selector"), spec.get("template").get("metadata").get("labels"));
    if selector.is_set() {
        meta::selector(errors, &selector);
    } else {
        errors.required(&selector, "");
    }
    if !selector.is_set() || !meta::selects(&selector, &labels) {
        errors.invalid(&labels, "`selector` does not match template `labels`");
    }
    if !spec.get("manualSelector").is_true() && selector.is_set() {
        generated(errors, object, &selector, &labels);
    }
    let Some(old) = old else { return };
    let old = old.get("spec");
    let indexed = spec.get("completionMode").text() == "Indexed" && equal(spec.get("completions").value, spec.get("parallelism").value);
    if !indexed {
        meta::immutable(errors, &spec.get("completions"), &old.get("completions"));
    }
    meta::immutable(errors, &spec.get("selector"), &old.get("selector"));
    template_kept(errors, &spec.get("template"), &old);
    for name in ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"] {
        meta::immutable(errors, &spec.get(name), &old.get(name));
    }
}

/// A Job that brings no selector of its own is found by labels that it is given.
fn generated(errors: &mut Errors, object: &At<'_>, selector: &At<'_>, labels: &At<'_>) {
    let metadata = object.get("metadata");
    let (uid, name) = (metadata.get("uid"), metadata.get("name"));
    for (label, of) in [
        ("controller-uid", &uid),
        ("job-name", &name),
        ("batch.kubernetes.io/controller-uid", &uid),
        ("batch.kubernetes.io/job-name", &name),
    ] {
        let there = labels.entry(label);
        if !there.is_set() {
            errors.required(&there, &format!("must be '{}'", of.text()));
        } else if there.text() != of.text() {
            errors.invalid(&there, &format!("must be '{}'", of.text()));
        }
    }
    let made = serde_json::json!({
        "controller-uid": uid.value, "job-name": name.value,
        "batch.kubernetes.io/controller-uid": uid.value, "batch.kubernetes.io/job-name": name.value,
    });
    if !meta::selects(selector, &At::new(&made, "")) {
        errors.push(field::invalid_struct(&selector.path, &meta::selector_value(selector), "`selector` not auto-generated"));
    }
}

/// The template may not change, but for what a suspended Job asks for, and where it runs.
fn template_kept(errors: &mut Errors, template: &At<'_>, old: &At<'_>) {
    let before = old.get("template");
    if !old.get("suspend").is_true() {
        return meta::immutable(errors, template, &before);
    }
    let (spec, before) = (template.get("spec"), before.get("spec"));
    if !equal(&unscheduled(&spec), &unscheduled(&before)) {
        errors.push(field::invalid(&spec.path, spec.value, "field is immutable"));
    }
}

/// What of a pod's spec may not even change while its Job is suspended.
fn unscheduled(spec: &At<'_>) -> Value {
    let mut out = spec.value.clone();
    let Some(map) = out.as_object_mut() else { return out };
    for field in ["nodeSelector", "affinity", "tolerations", "schedulingGates"] {
        map.shift_remove(field);
    }
    for kind in ["containers", "initContainers"] {
        for container in map.get_mut(kind).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(container) = container.as_object_mut() {
                container.shift_remove("resources");
            }
        }
    }
    out
}

fn job_spec(errors: &mut Errors, spec: &At<'_>) {
    for name in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        errors.not_negative(&spec.get(name));
    }
    let mode = spec.get("completionMode");
    errors.one_of(&mode, &["NonIndexed", "Indexed"]);
    if mode.text() == "Indexed" && !spec.get("completions").is_set() {
        errors.required(&spec.get("completions"), "when completion mode is Indexed");
    }
    let replacement = spec.get("podReplacementPolicy");
    errors.one_of(&replacement, &["Failed", "TerminatingOrFailed"]);
    let template = spec.get("template");
    pod::template(errors, &template);
    let policy = template.get("spec").get("restartPolicy");
    match policy.text() {
        "OnFailure" | "Never" => {}
        "" | "Always" => errors.required(&policy, "valid values: \"OnFailure\", \"Never\""),
        _ => errors.not_supported(&policy, &["OnFailure", "Never"]),
    }
}

pub(super) fn cron_job(errors: &mut Errors, object: &At<'_>, old: Option<&At<'_>>) {
    let spec = object.get("spec");
    let schedule = spec.get("schedule");
    if schedule.text().is_empty() {
        errors.required(&schedule, "");
    } else if schedule.text().contains("TZ") {
        errors.invalid(&schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
    } else if let Err(message) = parse_schedule(schedule.text()) {
        errors.invalid(&schedule, &message);
    }
    errors.not_negative(&spec.get("startingDeadlineSeconds"));
    let policy = spec.get("concurrencyPolicy");
    if policy.text().is_empty() {
        errors.required(&policy, "");
    } else {
        errors.one_of(&policy, &["Allow", "Forbid", "Replace"]);
    }
    let zone = spec.get("timeZone");
    if zone.is_set() {
        time_zone(errors, &zone);
    }
    let job = spec.get("jobTemplate").get("spec");
    job_spec(errors, &job);
    if job.get("manualSelector").is_true() {
        errors.not_supported(&job.get("manualSelector"), &["nil", "false"]);
    }
    if job.get("selector").is_set() {
        errors.invalid(&job.get("selector"), "`selector` will be auto-generated");
    }
    errors.not_negative(&spec.get("successfulJobsHistoryLimit"));
    errors.not_negative(&spec.get("failedJobsHistoryLimit"));
    let name = object.get("metadata").get("name");
    if old.is_none() && name.text().len() > 52 {
        errors.invalid(&name, "must be no more than 52 characters");
    }
}

/// Names of zones are not known here: only what none can be is refused.
fn time_zone(errors: &mut Errors, at: &At<'_>) {
    let text = at.text();
    if text.is_empty() {
        errors.invalid_text(at, "timeZone must be nil or non-empty string");
    } else if text.eq_ignore_ascii_case("local") {
        errors.invalid(at, "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones");
    } else if text.starts_with(['/', '\\'])
        || text.contains("..")
        || !text.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '/' | '_' | '-' | '+'))
    {
        errors.push(field::invalid(&at.path, at.value, &format!("unknown time zone {text}")));
    }
}

/// What is wrong with a schedule, in the words of the cron library that Kubernetes uses.
fn parse_schedule(text: &str) -> Result<(), String> {
    if let Some(descriptor) = text.strip_prefix('@') {
        return match descriptor {
            "yearly" | "annually" | "monthly" | "weekly" | "daily" | "midnight" | "hourly" => Ok(()),
            _ => match descriptor.strip_prefix("every ") {
                Some(duration) if crate::structural::is_go_duration(duration) => Ok(()),
                Some(duration) => Err(format!("failed to parse duration {text}: time: invalid duration {duration:?}")),
                None => Err(format!("unrecognized descriptor: {text}")),
            },
        };
    }
    let fields: Vec<&str> = text.split_whitespace().collect();
    if fields.len() != 5 {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
    }
    const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
    let bounds: [(u64, u64, &[&str], u64); 5] = [(0, 59, &[], 0), (0, 23, &[], 0), (1, 31, &[], 0), (1, 12, &MONTHS, 1), (0, 6, &DAYS, 0)];
    for (field, bounds) in fields.iter().zip(bounds) {
        for part in field.split(',').filter(|part| !part.is_empty()) {
            parse_range(part, bounds)?;
        }
    }
    Ok(())
}

fn parse_range(part: &str, (min, max, words, first): (u64, u64, &[&str], u64)) -> Result<(), String> {
    let number = |text: &str| -> Result<u64, String> {
        if let Some(at) = words.iter().position(|word| text.eq_ignore_ascii_case(word)) {
            return Ok(at as u64 + first);
        }
        let value: i64 =
            text.parse().map_err(|_| format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax"))?;
        u64::try_from(value).map_err(|_| format!("negative number ({value}) not allowed: {text}"))
    };
    let pieces: Vec<&str> = part.split('/').collect();
    let ends: Vec<&str> = pieces[0].split('-').collect();
    let (start, end) = match ends.as_slice() {
        ["*" | "?"] => (min, max),
        [only] => {
            let start = number(only)?;
            (start, if pieces.len() > 1 { max } else { start })
        }
        [start, end] => (number(start)?, number(end)?),
        _ => return Err(format!("too many hyphens: {part}")),
    };
    let step = match pieces.as_slice() {
        [_] => 1,
        [_, step] => number(step)?,
        _ => return Err(format!("too many slashes: {part}")),
    };
    if start < min {
        return Err(format!("beginning of range ({start}) below minimum ({min}): {part}"));
    }
    if end > max {
        return Err(format!("end of range ({end}) above maximum ({max}): {part}"));
    }
    if start > end {
        return Err(format!("beginning of range ({start}) beyond end of range ({end}): {part}"));
    }
    if step == 0 {
        return Err(format!("step of range should be a positive number: {part}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::parse_schedule;

    #[test]
    fn schedules_that_cron_takes_are_taken() {
        for good in ["* * * * *", "*/5 0-23/2 1,15 jan-MAR mon-fri", "@hourly", "@every 1h30m", "0 0 ? * 0"] {
            assert_eq!(parse_schedule(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "5-1 * * * *",
            "1/2/3 * * * *",
            "1-2-3 * * * *",
            "@never",
            "@every x",
            "-1 * * * *",
            "* * * foo *",
        ] {
            assert!(parse_schedule(bad).is_err(), "{bad}");
        }
    }
}
