//! A CronJob makes Jobs by its schedule.

use super::children::{Held, owner_reference};
use super::pods::{now_seconds, number, seconds};
use super::schedule::Schedule;
use super::{CRON_JOBS, JOBS, Workloads};
use crate::api::text;
use crate::protocol::status::Result;
use crate::registry::crd::condition_holds;
use crate::store::{Place, Record};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// A schedule is looked at again at least this often, in case the clock is set.
const SLEEP_MAX: i64 = 3600;

pub fn sync(workloads: &mut Workloads, place: &Place, record: &Arc<Record>) -> Result<()> {
    let cron = record.value();
    let jobs = workloads.owned(record, JOBS);
    let finished = |job: &Value| condition_holds(job, "Complete") || condition_holds(job, "Failed");
    let mut active: Vec<Held> = jobs.iter().filter(|(_, job)| !finished(job)).cloned().collect();
    let mut last_schedule = cron.pointer("/status/lastScheduleTime").and_then(Value::as_str).map(str::to_owned);
    if !record.facts.deleting {
        forget(workloads, &cron, &jobs, "Complete", "successfulJobsHistoryLimit", 3)?;
        forget(workloads, &cron, &jobs, "Failed", "failedJobsHistoryLimit", 1)?;
        if cron.pointer("/spec/suspend").is_none_or(|s| *s != true)
            && let Some(at) = due(workloads, place, &cron, last_schedule.as_deref())
        {
            let policy = text(&cron, "/spec/concurrencyPolicy");
            if policy == "Replace" {
                for (job, _) in active.drain(..) {
                    workloads.delete(JOBS, &job)?;
                }
            }
            if policy != "Forbid" || active.is_empty() {
                let made = create(workloads, &cron, at)?;
                if let Some(made) = made {
                    let value = made.value();
                    active.push((made, value));
                }
                last_schedule = Timestamp::from_second(at).ok().map(|at| at.to_string());
            }
        }
    }
    let mut status = json!({});
    if let Some(last) = last_schedule {
        status["lastScheduleTime"] = json!(last);
    }
    let success = jobs.iter().filter(|(_, job)| condition_holds(job, "Complete"));
    let success = success.map(|(_, job)| text(job, "/status/completionTime")).chain([text(&cron, "/status/lastSuccessfulTime")]).max();
    if let Some(success) = success.filter(|time| !time.is_empty()) {
        status["lastSuccessfulTime"] = json!(success);
    }
    if !active.is_empty() {
        let references = active.iter().map(|(job_record, job)| {
            json!({"apiVersion": "batch/v1", "kind": "Job", "name": job["metadata"]["name"], "namespace": job["metadata"]["namespace"],
                "uid": job["metadata"]["uid"], "resourceVersion": job_record.revision.to_string()})
        });
        status["active"] = Value::Array(references.collect());
    }
    // A Job's progress alone is no news.
    let without_revisions = |status: &Value| {
        let mut out = status.clone();
        for reference in out.get_mut("active").and_then(Value::as_array_mut).into_iter().flatten() {
            reference["resourceVersion"].take();
        }
        out
    };
    if without_revisions(&status) == without_revisions(&cron["status"]) {
        return Ok(());
    }
    workloads.set_status(CRON_JOBS, &record.key, &status)
}

/// Where the system keeps its time zones.
const ZONES: &str = "/usr/share/zoneinfo";

/// The zone of a schedule; none when the system does not know it.
fn zone_of(cron: &Value) -> Option<TimeZone> {
    match text(cron, "/spec/timeZone") {
        "" | "UTC" | "Etc/UTC" => Some(TimeZone::UTC),
        // Validation has seen to it that a name leads nowhere else.
        name if name.starts_with('/') || name.contains("..") => None,
        name => TimeZone::tzif(name, &std::fs::read(std::path::Path::new(ZONES).join(name)).ok()?).ok(),
    }
}

/// The time that is due and was not yet served; also sets the timer for the next.
fn due(workloads: &mut Workloads, place: &Place, cron: &Value, last: Option<&str>) -> Option<i64> {
    let schedule = Schedule::parse(text(cron, "/spec/schedule"))?;
    let Some(zone) = zone_of(cron) else {
        tracing::warn!(zone = text(cron, "/spec/timeZone"), "a CronJob does not run: this system does not know its time zone");
        return None;
    };
    let now = now_seconds();
    let mut after = last.and_then(seconds).or_else(|| seconds(text(cron, "/metadata/creationTimestamp")))?;
    let deadline = cron.pointer("/spec/startingDeadlineSeconds").and_then(Value::as_i64);
    if let Some(deadline) = deadline {
        after = after.max(now - deadline);
    }
    let due = schedule.last_in(after, now, &zone).map(|(at, _)| at);
    if let Some(next) = schedule.next(due.unwrap_or(after).max(now - 1), &zone) {
        let wait = (next - now).clamp(0, SLEEP_MAX);
        workloads.again(place, Duration::from_secs(wait.unsigned_abs()) + Duration::from_millis(20));
    }
    due
}

fn create(workloads: &Workloads, cron: &Value, at: i64) -> Result<Option<Arc<Record>>> {
    let template = cron.pointer("/spec/jobTemplate").cloned().unwrap_or_default();
    let mut metadata = json!({
        // One name for each minute: a time is not served twice.
        "name": format!("{}-{}", text(cron, "/metadata/name"), at / 60), "namespace": cron["metadata"]["namespace"],
        "ownerReferences": [owner_reference(cron)],
    });
    for field in ["labels", "annotations"] {
        if let Some(value) = template.pointer(&format!("/metadata/{field}")) {
            metadata[field] = value.clone();
        }
    }
    if let Ok(scheduled) = Timestamp::from_second(at) {
        metadata["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"] = json!(scheduled.to_string());
    }
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": template["spec"]});
    match workloads.create(JOBS, job) {
        Ok(made) => Ok(Some(made)),
        Err(status) if status.reason == "AlreadyExists" => Ok(None),
        Err(status) => Err(status),
    }
}

/// Finished Jobs beyond the limit go, oldest first.
fn forget(workloads: &Workloads, cron: &Value, jobs: &[Held], kind: &str, field: &str, default: i64) -> Result<()> {
    let limit = usize::try_from(number(cron, &format!("/spec/{field}"), default)).unwrap_or(0);
    let mut done: Vec<&Held> = jobs.iter().filter(|(record, job)| !record.facts.deleting && condition_holds(job, kind)).collect();
    done.sort_by(|(a, x), (b, y)| text(x, "/status/startTime").cmp(text(y, "/status/startTime")).then_with(|| a.key.cmp(&b.key)));
    for (record, _) in done.iter().take(done.len().saturating_sub(limit)) {
        workloads.delete(JOBS, record)?;
    }
    Ok(())
}
