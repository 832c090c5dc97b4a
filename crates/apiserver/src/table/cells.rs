//! Cells that take more than reading a field.

use super::format::human_duration;
use super::{age, format};
use crate::api::text;
use crate::rest::sub::selector_text;
use jiff::Timestamp;
use serde_json::Value;

pub fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn list<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    object.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

fn or(text: String, otherwise: &str) -> Value {
    Value::from(if text.is_empty() { otherwise.to_owned() } else { text })
}

fn joined<'a>(items: impl Iterator<Item = &'a str>) -> String {
    items.collect::<Vec<_>>().join(",")
}

fn of_containers(object: &Value, pointer: &str, field: &str) -> Value {
    Value::from(joined(list(object, pointer).map(|c| c.get(field).and_then(Value::as_str).unwrap_or(""))))
}

pub fn container_names(object: &Value, _: Timestamp) -> Value {
    of_containers(
        object,
        if object.get("template").is_some() { "/template/spec/containers" } else { "/spec/template/spec/containers" },
        "name",
    )
}

pub fn container_images(object: &Value, _: Timestamp) -> Value {
    of_containers(
        object,
        if object.get("template").is_some() { "/template/spec/containers" } else { "/spec/template/spec/containers" },
        "image",
    )
}

pub fn cron_names(object: &Value, _: Timestamp) -> Value {
    of_containers(object, "/spec/jobTemplate/spec/template/spec/containers", "name")
}

pub fn cron_images(object: &Value, _: Timestamp) -> Value {
    of_containers(object, "/spec/jobTemplate/spec/template/spec/containers", "image")
}

pub fn selector(object: &Value, _: Timestamp) -> Value {
    or(object.pointer("/spec/selector").map(selector_text).unwrap_or_default(), "<none>")
}

pub fn cron_selector(object: &Value, _: Timestamp) -> Value {
    or(object.pointer("/spec/jobTemplate/spec/selector").map(selector_text).unwrap_or_default(), "<none>")
}

pub fn plain_selector(object: &Value, now: Timestamp) -> Value {
    selector(object, now)
}

pub fn pod_selector(object: &Value, _: Timestamp) -> Value {
    or(object.pointer("/spec/podSelector").map(selector_text).unwrap_or_default(), "<none>")
}

pub fn template_labels(object: &Value, _: Timestamp) -> Value {
    or(object.pointer("/template/metadata/labels").map(selector_text).unwrap_or_default(), "<none>")
}

pub fn node_selector(object: &Value, _: Timestamp) -> Value {
    or(object.pointer("/spec/template/spec/nodeSelector").map(selector_text).unwrap_or_default(), "<none>")
}

pub fn ready_of_wanted(object: &Value, _: Timestamp) -> Value {
    Value::from(format!("{}/{}", number(object, "/status/readyReplicas"), number(object, "/spec/replicas")))
}

// ---- pods ----

pub fn pod_ready(object: &Value, _: Timestamp) -> Value {
    let total = list(object, "/spec/containers").count();
    let ready = list(object, "/status/containerStatuses").filter(|c| c["ready"] == true).count();
    Value::from(format!("{ready}/{total}"))
}

pub fn pod_status(object: &Value, _: Timestamp) -> Value {
    let mut reason = match text(object, "/status/reason") {
        "" => text(object, "/status/phase"),
        reason => reason,
    }
    .to_owned();
    for container in list(object, "/status/containerStatuses") {
        let state = |kind: &str| container.pointer(&format!("/state/{kind}/reason")).and_then(Value::as_str).filter(|r| !r.is_empty());
        if let Some(why) = state("waiting").or_else(|| state("terminated")) {
            why.clone_into(&mut reason);
        }
    }
    if object.pointer("/metadata/deletionTimestamp").is_some() {
        "Terminating".clone_into(&mut reason);
    }
    Value::from(reason)
}

pub fn pod_restarts(object: &Value, _: Timestamp) -> Value {
    Value::from(list(object, "/status/containerStatuses").map(|c| number(c, "/restartCount")).sum::<i64>().to_string())
}

pub fn readiness_gates(object: &Value, _: Timestamp) -> Value {
    let gates: Vec<&str> = list(object, "/spec/readinessGates").map(|g| text(g, "/conditionType")).collect();
    if gates.is_empty() {
        return Value::from("<none>");
    }
    let holds = gates.iter().filter(|gate| crate::registry::crd::condition_holds(object, gate)).count();
    Value::from(format!("{holds}/{}", gates.len()))
}

// ---- jobs ----

pub fn job_status(object: &Value, _: Timestamp) -> Value {
    let holds = |kind: &str| crate::registry::crd::condition_holds(object, kind);
    Value::from(if holds("Complete") {
        "Complete"
    } else if holds("Failed") {
        "Failed"
    } else if object.pointer("/metadata/deletionTimestamp").is_some() {
        "Terminating"
    } else if holds("Suspended") {
        "Suspended"
    } else if holds("FailureTarget") {
        "FailureTarget"
    } else if holds("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    })
}

pub fn job_completions(object: &Value, _: Timestamp) -> Value {
    let done = number(object, "/status/succeeded");
    Value::from(match object.pointer("/spec/completions").and_then(Value::as_i64) {
        Some(wanted) => format!("{done}/{wanted}"),
        None => match number(object, "/spec/parallelism") {
            parallel if parallel > 1 => format!("{done}/1 of {parallel}"),
            _ => format!("{done}/1"),
        },
    })
}

pub fn job_duration(object: &Value, now: Timestamp) -> Value {
    let time = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).and_then(|t| t.parse::<Timestamp>().ok());
    Value::from(match (time("/status/startTime"), time("/status/completionTime")) {
        (None, _) => String::new(),
        (Some(start), Some(end)) => human_duration(end.as_second() - start.as_second()),
        (Some(start), None) => human_duration(now.as_second() - start.as_second()),
    })
}

pub fn cron_suspend(object: &Value, _: Timestamp) -> Value {
    Value::from(if object.pointer("/spec/suspend").is_some_and(|s| s == true) { "True" } else { "False" })
}

pub fn cron_active(object: &Value, _: Timestamp) -> Value {
    Value::from(list(object, "/status/active").count())
}

pub fn cron_last(object: &Value, now: Timestamp) -> Value {
    match object.pointer("/status/lastScheduleTime") {
        None | Some(Value::Null) => Value::from("<none>"),
        since => Value::from(age(since, now)),
    }
}

// ---- network ----

fn ingress_points(object: &Value) -> String {
    let points: Vec<&str> = list(object, "/status/loadBalancer/ingress")
        .map(|i| match text(i, "/ip") {
            "" => text(i, "/hostname"),
            ip => ip,
        })
        .collect();
    points.join(",")
}

pub fn load_balancer(object: &Value, _: Timestamp) -> Value {
    Value::from(ingress_points(object))
}

pub fn service_external(object: &Value, _: Timestamp) -> Value {
    let external = joined(list(object, "/spec/externalIPs").filter_map(Value::as_str));
    Value::from(match text(object, "/spec/type") {
        "ExternalName" => text(object, "/spec/externalName").to_owned(),
        "LoadBalancer" => {
            let all: Vec<String> = [ingress_points(object), external].into_iter().filter(|t| !t.is_empty()).collect();
            if all.is_empty() { "<pending>".to_owned() } else { all.join(",") }
        }
        _ if external.is_empty() => "<none>".to_owned(),
        _ => external,
    })
}

pub fn service_ports(object: &Value, _: Timestamp) -> Value {
    let ports: Vec<String> = list(object, "/spec/ports")
        .map(|port| {
            let (number, protocol) = (number(port, "/port"), text(port, "/protocol"));
            match self::number(port, "/nodePort") {
                0 => format!("{number}/{protocol}"),
                node => format!("{number}:{node}/{protocol}"),
            }
        })
        .collect();
    or(ports.join(","), "<none>")
}

pub fn ingress_class(object: &Value, _: Timestamp) -> Value {
    let named = text(object, "/spec/ingressClassName");
    let noted = object.pointer("/metadata/annotations").and_then(|a| a.get("kubernetes.io/ingress.class")).and_then(Value::as_str);
    or(if named.is_empty() { noted.unwrap_or("").to_owned() } else { named.to_owned() }, "<none>")
}

pub fn ingress_hosts(object: &Value, _: Timestamp) -> Value {
    let hosts: Vec<&str> = list(object, "/spec/rules").map(|r| text(r, "/host")).filter(|h| !h.is_empty()).collect();
    Value::from(match hosts.len() {
        0 => "*".to_owned(),
        // Three are shown, the rest is counted.
        more if more > 3 => format!("{} + {} more...", hosts[..3].join(","), more - 3),
        _ => hosts.join(","),
    })
}

pub fn ingress_ports(object: &Value, _: Timestamp) -> Value {
    Value::from(if list(object, "/spec/tls").count() > 0 { "80, 443" } else { "80" })
}

pub fn ingress_parameters(object: &Value, _: Timestamp) -> Value {
    let Some(parameters) = object.pointer("/spec/parameters").filter(|p| p.is_object()) else { return Value::from("<none>") };
    let group = text(parameters, "/apiGroup");
    let kind = text(parameters, "/kind");
    let kind = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
    Value::from(format!("{kind}/{}", text(parameters, "/name")))
}

pub fn address_parent(object: &Value, _: Timestamp) -> Value {
    let parts = ["group", "resource", "namespace", "name"].map(|part| text(object, &format!("/spec/parentRef/{part}")));
    Value::from(parts.into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>().join("/"))
}

pub fn cidrs(object: &Value, _: Timestamp) -> Value {
    Value::from(joined(list(object, "/spec/cidrs").filter_map(Value::as_str)))
}

/// Three of many, and how many more there are.
fn some(items: &[String]) -> Value {
    if items.is_empty() {
        return Value::from("<none>");
    }
    let shown = items.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(",");
    Value::from(if items.len() > 3 { format!("{shown} + {} more...", items.len() - 3) } else { shown })
}

pub fn endpoints(object: &Value, _: Timestamp) -> Value {
    let mut out = Vec::new();
    for subset in list(object, "/subsets") {
        let ports: Vec<i64> = list(subset, "/ports").map(|p| number(p, "/port")).collect();
        for address in list(subset, "/addresses") {
            let ip = text(address, "/ip");
            if ports.is_empty() {
                out.push(ip.to_owned());
            }
            out.extend(ports.iter().map(|port| format!("{ip}:{port}")));
        }
    }
    some(&out)
}

pub fn slice_ports(object: &Value, _: Timestamp) -> Value {
    let ports: Vec<String> = list(object, "/ports").map(|p| p.get("port").map(plain).unwrap_or_else(|| "*".to_owned())).collect();
    if ports.is_empty() { Value::from("<unset>") } else { some(&ports) }
}

pub fn slice_endpoints(object: &Value, _: Timestamp) -> Value {
    let addresses: Vec<String> = list(object, "/endpoints").flat_map(|e| list(e, "/addresses").map(plain).collect::<Vec<_>>()).collect();
    if addresses.is_empty() { Value::from("<unset>") } else { some(&addresses) }
}

// ---- nodes and volumes ----

pub fn node_status(object: &Value, _: Timestamp) -> Value {
    let mut out = match list(object, "/status/conditions").find(|c| c["type"] == "Ready").map(|c| text(c, "/status")) {
        Some("True") => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if object.pointer("/spec/unschedulable").is_some_and(|u| u == true) {
        out.push_str(",SchedulingDisabled");
    }
    Value::from(out)
}

pub fn node_roles(object: &Value, _: Timestamp) -> Value {
    let labels = object.pointer("/metadata/labels").and_then(Value::as_object);
    let roles: Vec<&str> = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) if !role.is_empty() => Some(role),
            _ if key == "kubernetes.io/role" => value.as_str(),
            _ => None,
        })
        .collect();
    or(roles.join(","), "<none>")
}

fn node_address(object: &Value, kind: &str) -> Value {
    or(list(object, "/status/addresses").find(|a| a["type"] == kind).map(|a| text(a, "/address").to_owned()).unwrap_or_default(), "<none>")
}

pub fn node_internal(object: &Value, _: Timestamp) -> Value {
    node_address(object, "InternalIP")
}

pub fn node_external(object: &Value, _: Timestamp) -> Value {
    node_address(object, "ExternalIP")
}

fn modes(object: &Value, pointer: &str) -> String {
    let short = |mode: &str| match mode {
        "ReadWriteOnce" => "RWO",
        "ReadOnlyMany" => "ROX",
        "ReadWriteMany" => "RWX",
        "ReadWriteOncePod" => "RWOP",
        _ => "",
    };
    list(object, pointer).filter_map(Value::as_str).map(short).collect::<Vec<_>>().join(",")
}

pub fn volume_modes(object: &Value, _: Timestamp) -> Value {
    Value::from(modes(object, "/spec/accessModes"))
}

pub fn claim_modes(object: &Value, _: Timestamp) -> Value {
    // Only a bound claim has something to show.
    Value::from(if text(object, "/spec/volumeName").is_empty() { String::new() } else { modes(object, "/status/accessModes") })
}

pub fn claim_capacity(object: &Value, _: Timestamp) -> Value {
    let bound = !text(object, "/spec/volumeName").is_empty();
    Value::from(if bound { text(object, "/status/capacity/storage") } else { "" })
}

pub fn phase_or_terminating(object: &Value, _: Timestamp) -> Value {
    let ending = object.pointer("/metadata/deletionTimestamp").is_some();
    Value::from(if ending { "Terminating" } else { text(object, "/status/phase") })
}

pub fn volume_claim(object: &Value, _: Timestamp) -> Value {
    let Some(claim) = object.pointer("/spec/claimRef").filter(|c| c.is_object()) else { return Value::from("") };
    Value::from(format!("{}/{}", text(claim, "/namespace"), text(claim, "/name")))
}

pub fn class_name(object: &Value, _: Timestamp) -> Value {
    let name = text(object, "/metadata/name");
    let default = ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"]
        .iter()
        .any(|key| object.pointer("/metadata/annotations").and_then(|a| a.get(*key)).is_some_and(|v| v == "true"));
    Value::from(if default { format!("{name} (default)") } else { name.to_owned() })
}

fn flag(object: &Value, pointer: &str, otherwise: bool) -> Value {
    Value::from(object.pointer(pointer).and_then(Value::as_bool).unwrap_or(otherwise))
}

pub fn class_expansion(object: &Value, _: Timestamp) -> Value {
    flag(object, "/allowVolumeExpansion", false)
}

pub fn driver_attach(object: &Value, _: Timestamp) -> Value {
    flag(object, "/spec/attachRequired", true)
}

pub fn driver_pod_info(object: &Value, _: Timestamp) -> Value {
    flag(object, "/spec/podInfoOnMount", false)
}

pub fn driver_capacity(object: &Value, _: Timestamp) -> Value {
    flag(object, "/spec/storageCapacity", false)
}

pub fn driver_republish(object: &Value, _: Timestamp) -> Value {
    flag(object, "/spec/requiresRepublish", false)
}

pub fn driver_tokens(object: &Value, _: Timestamp) -> Value {
    or(list(object, "/spec/tokenRequests").map(|t| text(t, "/audience")).collect::<Vec<_>>().join(","), "<unset>")
}

pub fn driver_modes(object: &Value, _: Timestamp) -> Value {
    or(list(object, "/spec/volumeLifecycleModes").map(plain).collect::<Vec<_>>().join(","), "<none>")
}

pub fn node_drivers(object: &Value, _: Timestamp) -> Value {
    Value::from(list(object, "/spec/drivers").count())
}

// ---- the rest ----

fn since(object: &Value, pointers: &[&str], now: Timestamp) -> Value {
    let found = pointers.iter().filter_map(|p| object.pointer(p)).find(|v| !v.is_null());
    Value::from(age(found, now))
}

pub fn event_last(object: &Value, now: Timestamp) -> Value {
    since(object, &["/series/lastObservedTime", "/lastTimestamp", "/eventTime", "/firstTimestamp"], now)
}

pub fn event_first(object: &Value, now: Timestamp) -> Value {
    since(object, &["/firstTimestamp", "/eventTime"], now)
}

pub fn event_object(object: &Value, _: Timestamp) -> Value {
    Value::from(format!("{}/{}", text(object, "/involvedObject/kind").to_lowercase(), text(object, "/involvedObject/name")))
}

pub fn event_source(object: &Value, _: Timestamp) -> Value {
    let component = match text(object, "/source/component") {
        "" => text(object, "/reportingComponent"),
        component => component,
    };
    let host = match text(object, "/source/host") {
        "" => text(object, "/reportingInstance"),
        host => host,
    };
    Value::from(if host.is_empty() { component.to_owned() } else { format!("{component}, {host}") })
}

pub fn event_message(object: &Value, _: Timestamp) -> Value {
    Value::from(text(object, "/message").trim())
}

pub fn event_count(object: &Value, _: Timestamp) -> Value {
    let count = match number(object, "/series/count") {
        0 => number(object, "/count").max(1),
        count => count,
    };
    Value::from(count)
}

fn entries(object: &Value, key: &str) -> usize {
    object.get(key).and_then(Value::as_object).map_or(0, serde_json::Map::len)
}

pub fn data_count(object: &Value, _: Timestamp) -> Value {
    Value::from(entries(object, "data"))
}

pub fn all_data_count(object: &Value, _: Timestamp) -> Value {
    Value::from(entries(object, "data") + entries(object, "binaryData"))
}

pub fn role_reference(object: &Value, _: Timestamp) -> Value {
    Value::from(format!("{}/{}", text(object, "/roleRef/kind"), text(object, "/roleRef/name")))
}

fn subjects(object: &Value, kind: &str) -> Value {
    let names = list(object, "/subjects").filter(|s| s["kind"] == kind).map(|s| {
        let name = text(s, "/name");
        match text(s, "/namespace") {
            "" => name.to_owned(),
            namespace => format!("{namespace}/{name}"),
        }
    });
    Value::from(names.collect::<Vec<_>>().join(", "))
}

pub fn users(object: &Value, _: Timestamp) -> Value {
    subjects(object, "User")
}

pub fn groups(object: &Value, _: Timestamp) -> Value {
    subjects(object, "Group")
}

pub fn service_accounts(object: &Value, _: Timestamp) -> Value {
    subjects(object, "ServiceAccount")
}

pub fn requested_duration(object: &Value, _: Timestamp) -> Value {
    match object.pointer("/spec/expirationSeconds").and_then(Value::as_i64) {
        Some(seconds) => Value::from(format::human_duration(seconds)),
        None => Value::from("<none>"),
    }
}

pub fn request_condition(object: &Value, _: Timestamp) -> Value {
    let has = |kind: &str| list(object, "/status/conditions").any(|c| c["type"] == kind);
    let mut out: Vec<&str> = ["Approved", "Denied", "Failed"].into_iter().filter(|kind| has(kind)).collect();
    if out.is_empty() {
        out.push("Pending");
    }
    if !text(object, "/status/certificate").is_empty() {
        out.push("Issued");
    }
    Value::from(out.join(","))
}

pub fn autoscaler_reference(object: &Value, _: Timestamp) -> Value {
    Value::from(format!("{}/{}", text(object, "/spec/scaleTargetRef/kind"), text(object, "/spec/scaleTargetRef/name")))
}

pub fn autoscaler_targets(object: &Value, _: Timestamp) -> Value {
    let targets: Vec<String> = list(object, "/spec/metrics")
        .map(|metric| {
            let kind = text(metric, "/type");
            let field = format!("{}{}", kind.chars().take(1).flat_map(char::to_lowercase).collect::<String>(), kind.get(1..).unwrap_or(""));
            let target = metric.get(field.as_str()).and_then(|m| m.get("target"));
            let name = metric.get(field.as_str()).and_then(|m| m.get("name")).and_then(Value::as_str).unwrap_or("");
            let wanted = target.and_then(|t| {
                t.get("averageUtilization").map(|v| format!("{v}%")).or_else(|| t.get("averageValue").or_else(|| t.get("value")).map(plain))
            });
            let lead = if name.is_empty() { String::new() } else { format!("{name}: ") };
            format!("{lead}<unknown>/{}", wanted.unwrap_or_else(|| "<auto>".to_owned()))
        })
        .collect();
    or(targets.join(", "), "<none>")
}

pub fn revision_controller(object: &Value, _: Timestamp) -> Value {
    let owner = list(object, "/metadata/ownerReferences").find(|o| o["controller"] == true);
    let Some(owner) = owner else { return Value::from("<none>") };
    let group = text(owner, "/apiVersion").split_once('/').map_or("", |(group, _)| group);
    let kind = text(owner, "/kind").to_lowercase();
    let kind = if group.is_empty() { kind } else { format!("{kind}.{group}") };
    Value::from(format!("{kind}/{}", text(owner, "/name")))
}

fn quota(object: &Value, limits: bool) -> Value {
    let hard = object.pointer("/status/hard").and_then(Value::as_object);
    let mut out: Vec<String> = hard
        .into_iter()
        .flatten()
        .filter(|(name, _)| name.starts_with("limits.") == limits)
        .map(|(name, most)| {
            let used = object.pointer("/status/used").and_then(|u| u.get(name)).map(plain).unwrap_or_else(|| "0".to_owned());
            format!("{name}: {used}/{}", plain(most))
        })
        .collect();
    out.sort();
    Value::from(out.join(", "))
}

pub fn quota_requests(object: &Value, _: Timestamp) -> Value {
    quota(object, false)
}

pub fn quota_limits(object: &Value, _: Timestamp) -> Value {
    quota(object, true)
}

pub fn global_default(object: &Value, _: Timestamp) -> Value {
    flag(object, "/globalDefault", false)
}

pub fn webhook_count(object: &Value, _: Timestamp) -> Value {
    Value::from(list(object, "/webhooks").count())
}

pub fn policy_validations(object: &Value, _: Timestamp) -> Value {
    Value::from(list(object, "/spec/validations").count())
}

pub fn policy_parameters(object: &Value, _: Timestamp) -> Value {
    let Some(kind) = object.pointer("/spec/paramKind").filter(|k| k.is_object()) else { return Value::from("<unset>") };
    Value::from(format!("{}/{}", text(kind, "/apiVersion"), text(kind, "/kind")))
}

pub fn binding_parameters(object: &Value, _: Timestamp) -> Value {
    let Some(reference) = object.pointer("/spec/paramRef").filter(|r| r.is_object()) else { return Value::from("<unset>") };
    let (namespace, name) = (text(reference, "/namespace"), text(reference, "/name"));
    Value::from(match (namespace, name) {
        ("", "") => "*/*".to_owned(),
        ("", name) => format!("*/{name}"),
        (namespace, name) => format!("{namespace}/{name}"),
    })
}

pub fn api_service(object: &Value, _: Timestamp) -> Value {
    match object.pointer("/spec/service").filter(|s| s.is_object()) {
        Some(service) => Value::from(format!("{}/{}", text(service, "/namespace"), text(service, "/name"))),
        None => Value::from("Local"),
    }
}

pub fn api_available(object: &Value, _: Timestamp) -> Value {
    match list(object, "/status/conditions").find(|c| c["type"] == "Available") {
        Some(condition) if condition["status"] == "True" => Value::from("True"),
        Some(condition) => Value::from(format!("{} ({})", text(condition, "/status"), text(condition, "/reason"))),
        None => Value::from("Unknown"),
    }
}
