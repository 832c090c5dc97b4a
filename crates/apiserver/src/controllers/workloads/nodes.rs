//! A simulated node: it takes every pod, and says of it what its images tell it to say.

use super::fate::{self, End};
use super::pods::{is_over, phase, restarts};
use super::{NODES, Nodes, PODS, SERVICES, Workloads};
use crate::api::{child, now, text};
use crate::protocol::status::Result;
use crate::store::{Place, Record};
use serde_json::{Map, Value, json};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The node that is there when nobody made one.
const NODE: &str = "simulated-0";
const NODE_ADDRESS: &str = "192.0.2.10";
/// Pods: 10.244.0.0/14. Balancers: 198.51.100.0/24, which documentation uses and nobody routes.
const POD_NETWORK: u32 = u32::from_be_bytes([10, 244, 0, 0]);
const POD_NETWORK_SIZE: u32 = 1 << 18;
const BALANCERS: [u8; 3] = [198, 51, 100];
/// A container that keeps failing is started again so often, and then only waited for.
const RESTARTS_MAX: i64 = 16;
/// The shortest time between two changes of one pod that goes on changing.
const STEP_MIN: Duration = Duration::from_millis(100);
const FLAP_AFTER: Duration = Duration::from_secs(2);

pub fn ensure_node(workloads: &Workloads) {
    if workloads.api.store.count(NODES) > 0 {
        return;
    }
    let resources = json!({"cpu": "64", "memory": "256Gi", "ephemeral-storage": "1Ti", "pods": "50000"});
    let at = now();
    let node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": NODE, "labels": {
            "kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
            "beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": "amd64", "sluice.dev/simulated": "true",
        }},
        "spec": {},
    });
    let status = json!({
        "capacity": resources, "allocatable": resources,
        "addresses": [{"type": "InternalIP", "address": NODE_ADDRESS}, {"type": "Hostname", "address": NODE}],
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "the node is simulated",
            "lastHeartbeatTime": at, "lastTransitionTime": at}],
        "nodeInfo": {"architecture": "amd64", "operatingSystem": "linux", "kubeletVersion": "v1.36.3", "kubeProxyVersion": "", "osImage": "simulated",
            "kernelVersion": "", "containerRuntimeVersion": "simulated://1", "bootID": "", "machineID": "", "systemUUID": ""},
    });
    let made = workloads.create(NODES, node).and_then(|node| workloads.set_status(NODES, &node.key, &status));
    if let Err(error) = made {
        tracing::warn!(error = %error, "the simulated node could not be made");
    }
}

/// Whether a pod's node selector selects a node.
pub fn is_selected(pod_spec: Option<&Value>, node: &Record) -> bool {
    let selector = pod_spec.and_then(|spec| spec.get("nodeSelector")).and_then(Value::as_object);
    selector.into_iter().flatten().all(|(key, value)| node.facts.label(key) == value.as_str())
}

/// The node that a pod is on, or must be put on.
pub fn node_of(pod: &Value) -> String {
    let on = text(pod, "/spec/nodeName");
    if !on.is_empty() {
        return on.to_owned();
    }
    let terms = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchFields/0/values/0";
    text(pod, terms).to_owned()
}

pub fn sync(workloads: &mut Workloads, place: &Place, record: Option<&Arc<Record>>) -> Result<()> {
    let Some(record) = record.filter(|record| !record.facts.deleting) else {
        workloads.pods_due.remove(place);
        return Ok(());
    };
    let pod = record.value();
    // What waits at a gate is no node's business.
    if is_over(&pod) || crate::strategy::waits_at_gate(&pod) {
        workloads.pods_due.remove(place);
        return Ok(());
    }
    let Nodes::Simulated { ready_after } = workloads.nodes else { return Ok(()) };
    let fate = fate::of(pod.get("spec"));
    let delay = fate.after.unwrap_or(ready_after);
    let starts = text(&pod, "/status/startTime").is_empty();
    let mut node = text(&pod, "/spec/nodeName").to_owned();
    if starts {
        match choose(workloads, &pod) {
            Some(chosen) => node = chosen,
            None => return refuse(workloads, place),
        }
        // What ends at once is not told as starting.
        if !delay.is_zero() || fate.end == End::Hang {
            start(workloads, place, &node)?;
        }
    }
    if fate.end == End::Hang || (phase(&pod) == "Running" && fate.end == End::Ready) {
        return Ok(());
    }
    let now = Instant::now();
    let step = match (starts || phase(&pod) == "Pending", fate.end) {
        (true, _) => delay,
        (false, End::Flap) => fate.after.unwrap_or(FLAP_AFTER).max(STEP_MIN),
        (false, _) => delay.max(STEP_MIN),
    };
    let due = *workloads.pods_due.entry(place.clone()).or_insert(now + step);
    if due > now {
        workloads.timers.set(place, due);
        return Ok(());
    }
    workloads.pods_due.remove(place);
    let address = address(workloads, &pod);
    let at = crate::api::now();
    workloads.change(PODS, &place.key, Some("status"), |mut pod| {
        let status = next_status(&pod, fate.end, &address, &at)?;
        child(&mut pod, "spec").insert("nodeName".to_owned(), json!(node));
        pod["status"] = status;
        Some(pod)
    })?;
    Ok(())
}

/// The node for a pod: what it selects, or any. What a repository selects nodes by says nothing of whether its objects are right.
fn choose(workloads: &Workloads, pod: &Value) -> Option<String> {
    let node = node_of(pod);
    if !node.is_empty() {
        return Some(node);
    }
    let nodes = workloads.api.store.all(NODES, "");
    let fits = nodes.iter().find(|node| is_selected(pod.get("spec"), node));
    fits.or(nodes.first()).map(|node| node.name().to_owned())
}

fn refuse(workloads: &mut Workloads, place: &Place) -> Result<()> {
    workloads.again(place, Duration::from_secs(5));
    workloads.change(PODS, &place.key, Some("status"), |mut pod| {
        if pod.pointer("/status/conditions").is_some() {
            return None;
        }
        pod["status"]["conditions"] = json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/0 nodes are available: no nodes available to schedule pods.", "lastProbeTime": null, "lastTransitionTime": now()}]);
        Some(pod)
    })?;
    Ok(())
}

/// Tells a pod as starting on a node.
fn start(workloads: &Workloads, place: &Place, node: &str) -> Result<()> {
    let at = now();
    workloads.change(PODS, &place.key, Some("status"), |mut pod| {
        child(&mut pod, "spec").insert("nodeName".to_owned(), json!(node));
        let waiting = json!({"waiting": {"reason": if has_init(&pod) { "PodInitializing" } else { "ContainerCreating" }}});
        pod["status"] = status(&pod, "Pending", false, &waiting, 0, None, &at);
        Some(pod)
    })?;
    Ok(())
}

fn has_init(pod: &Value) -> bool {
    pod.pointer("/spec/initContainers").and_then(Value::as_array).is_some_and(|list| !list.is_empty())
}

fn address(workloads: &mut Workloads, pod: &Value) -> String {
    let there = text(pod, "/status/podIP");
    if !there.is_empty() {
        return there.to_owned();
    }
    if pod.pointer("/spec/hostNetwork").is_some_and(|host| *host == true) {
        return NODE_ADDRESS.to_owned();
    }
    // Never the first nor the last of a network of 256.
    loop {
        workloads.next_address = (workloads.next_address + 1) % POD_NETWORK_SIZE;
        if !matches!(workloads.next_address & 0xff, 0 | 0xff) {
            return Ipv4Addr::from(POD_NETWORK + workloads.next_address).to_string();
        }
    }
}

/// What a pod's status becomes next; none when it stays.
fn next_status(pod: &Value, end: End, address: &str, at: &str) -> Option<Value> {
    let policy = text(pod, "/spec/restartPolicy");
    let restarted = restarts(pod);
    let over = |reason: &str, code: i64| json!({"terminated": {"exitCode": code, "reason": reason, "startedAt": at, "finishedAt": at}});
    match (end, policy) {
        (End::Fail, "Never") => Some(status(pod, "Failed", false, &over("Error", 1), 0, Some(address), at)),
        (End::Fail, _) => {
            if restarted >= if policy == "Always" { 1 } else { RESTARTS_MAX } {
                return None;
            }
            let waiting = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}});
            Some(status(pod, "Running", false, &waiting, restarted + 1, Some(address), at))
        }
        // It has work to do and an end.
        (_, "Never" | "OnFailure") => Some(status(pod, "Succeeded", false, &over("Completed", 0), 0, Some(address), at)),
        (End::Flap, _) if phase(pod) == "Running" && super::pods::is_ready(pod) => {
            let running = json!({"running": {"startedAt": at}});
            Some(status(pod, "Running", false, &running, restarted, Some(address), at))
        }
        _ => Some(status(pod, "Running", true, &json!({"running": {"startedAt": at}}), restarted, Some(address), at)),
    }
}

fn status(pod: &Value, phase: &str, ready: bool, state: &Value, restarted: i64, address: Option<&str>, at: &str) -> Value {
    let started = phase != "Pending";
    let over = matches!(phase, "Succeeded" | "Failed");
    let initialized = started || !has_init(pod);
    let mut conditions = Vec::new();
    let mut condition = |kind: &str, holds: bool, reason: &str| {
        let holds_text = if holds { "True" } else { "False" };
        let since = match super::pods::condition(pod, kind) {
            Some(there) if there["status"] == holds_text => there["lastTransitionTime"].clone(),
            _ => json!(at),
        };
        let mut out = json!({"type": kind, "status": holds_text, "lastProbeTime": null, "lastTransitionTime": since});
        if !holds && !reason.is_empty() {
            out["reason"] = json!(reason);
        }
        conditions.push(out);
    };
    let reason = if over { "PodCompleted" } else { "ContainersNotReady" };
    condition("PodReadyToStartContainers", started && !over, "");
    condition("Initialized", initialized, "ContainersNotInitialized");
    condition("Ready", ready, reason);
    condition("ContainersReady", ready, reason);
    condition("PodScheduled", true, "");
    let listed = |key: &str| pod.pointer(&format!("/spec/{key}")).and_then(Value::as_array).cloned().unwrap_or_default();
    let container = |container: &Value, ready: bool, state: Value, restarted: i64| {
        let mut out = json!({"name": container["name"], "image": container["image"], "imageID": "", "ready": ready, "restartCount": restarted,
            "started": ready, "state": state, "lastState": {}});
        if started {
            out["containerID"] = json!(format!("simulated://{}", text(pod, "/metadata/uid")));
        }
        if restarted > 0 {
            out["lastState"] = json!({"terminated": {"exitCode": 1, "reason": "Error", "startedAt": at, "finishedAt": at}});
        }
        out
    };
    let mut out = Map::new();
    out.insert("phase".to_owned(), json!(phase));
    out.insert("conditions".to_owned(), Value::Array(conditions));
    out.insert("hostIP".to_owned(), json!(NODE_ADDRESS));
    out.insert("hostIPs".to_owned(), json!([{"ip": NODE_ADDRESS}]));
    if let Some(address) = address {
        out.insert("podIP".to_owned(), json!(address));
        out.insert("podIPs".to_owned(), json!([{"ip": address}]));
    }
    let start = pod.pointer("/status/startTime").cloned().unwrap_or_else(|| json!(at));
    out.insert("startTime".to_owned(), start);
    let inits: Vec<Value> = listed("initContainers")
        .iter()
        .map(|init| {
            let state = match started {
                true => json!({"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": at, "finishedAt": at}}),
                false => json!({"waiting": {"reason": "PodInitializing"}}),
            };
            container(init, started, state, 0)
        })
        .collect();
    if !inits.is_empty() {
        out.insert("initContainerStatuses".to_owned(), Value::Array(inits));
    }
    let mains: Vec<Value> = listed("containers").iter().map(|main| container(main, ready, state.clone(), restarted)).collect();
    out.insert("containerStatuses".to_owned(), Value::Array(mains));
    out.insert("qosClass".to_owned(), pod.pointer("/status/qosClass").cloned().unwrap_or_else(|| json!("BestEffort")));
    if let Some(generation) = pod.pointer("/metadata/generation") {
        out.insert("observedGeneration".to_owned(), generation.clone());
    }
    Value::Object(out)
}

/// A balanced Service gets an address, as a cloud would give it one.
pub fn balance(workloads: &Workloads, place: &Place, service: &Value) -> Result<()> {
    let wants = text(service, "/spec/type") == "LoadBalancer" && service.pointer("/spec/loadBalancerClass").is_none();
    let has = service.pointer("/status/loadBalancer/ingress").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    if wants == has {
        return Ok(());
    }
    let last = 1 + crc32fast::hash(place.key.as_bytes()) % 254;
    let [a, b, c] = BALANCERS;
    workloads.change(SERVICES, &place.key, Some("status"), |mut service| {
        service["status"]["loadBalancer"] =
            if wants { json!({"ingress": [{"ip": format!("{a}.{b}.{c}.{last}"), "ipMode": "VIP"}]}) } else { json!({}) };
        Some(service)
    })?;
    Ok(())
}
