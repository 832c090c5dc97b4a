use crate::{
    Health,
    generic::{conditions, integer, text},
};
use jiff::Timestamp;
use object::Object;
use serde_json::Value;

/// How long the scheduler may take before a pod without a place has failed.
const SCHEDULE_SECONDS: i64 = 15;

pub(crate) fn assess(group: &str, kind: &str, object: &Object, now: Timestamp) -> Option<Health> {
    Some(match (group, kind) {
        ("", "ConfigMap" | "Secret") => Health::current("Resource is always ready"),
        ("batch", "CronJob") => Health::current("Resource is always ready"),
        ("policy", "PodDisruptionBudget") => Health::current("Resource is current"),
        ("", "Service") => service(object),
        ("", "PersistentVolumeClaim") => claim(object),
        ("", "Pod") => pod(object, now),
        ("batch", "Job") => job(object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(object),
        _ => return None,
    })
}

fn service(object: &Object) -> Health {
    if text(object, &["spec", "type"]) == "LoadBalancer" && text(object, &["spec", "clusterIP"]).is_empty() {
        return Health::in_progress("ClusterIP not set. Service type: LoadBalancer");
    }
    Health::current("Service is ready")
}

fn claim(object: &Object) -> Health {
    match text(object, &["status", "phase"]) {
        "Bound" => Health::current("PVC is Bound"),
        phase => Health::in_progress(format!("PVC is not Bound. phase: {}", if phase.is_empty() { "unknown" } else { phase })),
    }
}

fn pod(object: &Object, now: Timestamp) -> Health {
    match text(object, &["status", "phase"]) {
        "Succeeded" => Health::current("Pod has completed successfully"),
        "Failed" => Health::failed("Pod has completed, but not successfully"),
        "Running" if conditions(object).any(|c| c.is("Ready", "True")) => Health::current("Pod is Ready"),
        "Running" => match crash_looping(object) {
            names if names.is_empty() => Health::in_progress("Pod is running but is not Ready"),
            names => Health::failed(format!("Containers in CrashLoop state: {}", names.join(","))),
        },
        "Pending" if conditions(object).any(|c| c.is("PodScheduled", "False") && c.reason == "Unschedulable") => {
            let created = text(object, &["metadata", "creationTimestamp"]).parse::<Timestamp>();
            if created.is_ok_and(|created| now.as_second() - created.as_second() < SCHEDULE_SECONDS) {
                Health::in_progress("Pod has not been scheduled")
            } else {
                Health::failed("Pod could not be scheduled")
            }
        }
        "Pending" => Health::in_progress("Pod is in the Pending phase"),
        "" => Health::in_progress("Pod phase not available"),
        phase => Health::new(crate::Status::Unknown, format!("unknown phase {phase}")),
    }
}

fn crash_looping(object: &Object) -> Vec<&str> {
    let lists = ["containerStatuses", "initContainerStatuses"].into_iter().filter_map(|key| object.field(&["status", key])?.as_array());
    lists
        .flatten()
        .filter(|container| container.pointer("/state/waiting/reason").and_then(Value::as_str) == Some("CrashLoopBackOff"))
        .filter_map(|container| container.get("name")?.as_str())
        .collect()
}

/// Flux's reader: a Job is current when it has completed, not already when it has started.
fn job(object: &Object) -> Health {
    for condition in conditions(object).filter(|c| c.status == "True") {
        match condition.kind {
            "Complete" => {
                return Health::current(format!("Job Completed. succeeded: {}", integer(object, &["status", "succeeded"]).unwrap_or(0)));
            }
            "Failed" => return Health::failed(format!("Job Failed. failed: {}", integer(object, &["status", "failed"]).unwrap_or(0))),
            "Suspended" => return Health::current("Job is suspended"),
            _ => {}
        }
    }
    if object.field(&["spec", "suspend"]) == Some(&Value::Bool(true)) {
        return Health::current("Job is suspended");
    }
    if text(object, &["status", "startTime"]).is_empty() {
        return Health::in_progress("Job not started");
    }
    let count = |field| integer(object, &["status", field]).unwrap_or(0);
    Health::in_progress(format!(
        "Job in progress. success:{}, active: {}, failed: {}",
        count("succeeded"),
        count("active"),
        count("failed")
    ))
}

fn definition(object: &Object) -> Health {
    for condition in conditions(object) {
        if condition.is("NamesAccepted", "False") || (condition.is("Established", "False") && condition.reason != "Installing") {
            return Health::failed(condition.message);
        }
        if condition.is("Established", "True") {
            return Health::current("CRD is established");
        }
    }
    Health::in_progress("Install in progress")
}
