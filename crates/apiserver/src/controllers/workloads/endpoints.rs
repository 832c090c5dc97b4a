//! Where a Service leads: Endpoints and EndpointSlices of the pods that it selects.

use super::children::owner_reference;
use super::pods::{is_deleting, is_over, is_ready};
use super::{ENDPOINTS, PODS, SLICES, Workloads};
use crate::api::{now, text};
use crate::protocol::selector::LabelSelector;
use crate::protocol::status::Result;
use crate::store::{Place, Record};
use serde_json::{Map, Value, json};
use std::sync::Arc;

const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const CONTROLLER: &str = "endpointslice-controller.k8s.io";
const SERVICE: &str = "kubernetes.io/service-name";
const HEADLESS: &str = "service.kubernetes.io/headless";
/// So many addresses stand in one slice, and in Endpoints.
const SLICE_MAX: usize = 100;
const ENDPOINTS_MAX: usize = 1000;

/// One pod behind a Service.
struct Backend {
    pod: Value,
    ready: bool,
}

pub fn sync(workloads: &mut Workloads, place: &Place, record: Option<&Arc<Record>>) -> Result<()> {
    let service = record.filter(|record| !record.facts.deleting).map(|record| record.value());
    let selector = service.as_ref().and_then(|s| s.pointer("/spec/selector")).and_then(Value::as_object).filter(|s| !s.is_empty()).cloned();
    let selects = selector.is_some() && service.as_ref().is_some_and(|s| text(s, "/spec/type") != "ExternalName");
    workloads.index.update_selector(place, selector.as_ref().filter(|_| selects), selects);
    let Some(service) = service else {
        // Slices have an owner; Endpoints have only the name.
        return match workloads.api.store.get(ENDPOINTS, &place.key) {
            Some(record) if record.facts.label("endpoints.kubernetes.io/managed-by") == Some("endpoint-controller") => {
                workloads.delete(ENDPOINTS, &record)
            }
            _ => Ok(()),
        };
    };
    if let super::Nodes::Simulated { .. } = workloads.nodes {
        super::nodes::balance(workloads, place, &service)?;
    }
    let (true, Some(selector)) = (selects, selector) else { return Ok(()) };
    let Some(labels) = LabelSelector::from_value(&json!({"matchLabels": selector})) else { return Ok(()) };
    let namespace = text(&service, "/metadata/namespace");
    let publishes_all = service.pointer("/spec/publishNotReadyAddresses").is_some_and(|p| *p == true);
    let backends: Vec<Backend> = workloads
        .index
        .selected(&workloads.api.store, PODS, namespace, Some(&selector), &labels)
        .into_iter()
        .map(|record| record.value())
        .filter(|pod| !text(pod, "/status/podIP").is_empty() && !is_over(pod) && !is_deleting(pod))
        .map(|pod| Backend { ready: publishes_all || is_ready(&pod), pod })
        .collect();
    if workloads.controllers.has("endpoint") {
        write_endpoints(workloads, place, &service, &backends)?;
    }
    if workloads.controllers.has("endpointslice")
        && let Some(record) = record
    {
        write_slices(workloads, record, &service, &backends)?;
    }
    Ok(())
}

/// A Service's ports as they are on a pod; a port that the pod does not name is left out.
fn ports_on(service: &Value, pod: Option<&Value>) -> Vec<Value> {
    let mut out = Vec::new();
    for port in service.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten() {
        let number = match port.get("targetPort") {
            Some(Value::Number(number)) if number.as_i64() != Some(0) => number.as_i64(),
            Some(Value::String(name)) => pod.and_then(|pod| named_port(pod, name, text(port, "/protocol"))),
            _ => port.get("port").and_then(Value::as_i64),
        };
        let Some(number) = number else { continue };
        let mut shown = Map::new();
        for (field, value) in
            [("name", port.get("name").cloned()), ("port", Some(json!(number))), ("protocol", port.get("protocol").cloned())]
        {
            if let Some(value) = value {
                shown.insert(field.to_owned(), value);
            }
        }
        if let Some(application) = port.get("appProtocol") {
            shown.insert("appProtocol".to_owned(), application.clone());
        }
        out.push(Value::Object(shown));
    }
    out
}

fn named_port(pod: &Value, name: &str, protocol: &str) -> Option<i64> {
    let containers = pod.pointer("/spec/containers").and_then(Value::as_array).into_iter().flatten();
    let ports = containers.filter_map(|c| c.get("ports").and_then(Value::as_array)).flatten();
    ports
        .filter(|port| text(port, "/name") == name && (protocol.is_empty() || text(port, "/protocol") == protocol))
        .find_map(|port| port.get("containerPort").and_then(Value::as_i64))
}

fn target(pod: &Value) -> Value {
    json!({"kind": "Pod", "name": pod["metadata"]["name"], "namespace": pod["metadata"]["namespace"], "uid": pod["metadata"]["uid"]})
}

fn write_endpoints(workloads: &Workloads, place: &Place, service: &Value, backends: &[Backend]) -> Result<()> {
    // Pods that have the same ports stand together.
    let mut subsets: Vec<(Vec<Value>, Vec<Value>, Vec<Value>)> = Vec::new();
    for backend in backends.iter().take(ENDPOINTS_MAX) {
        let pod = &backend.pod;
        let ports = ports_on(service, Some(pod));
        let mut address = json!({"ip": pod["status"]["podIP"], "nodeName": pod["spec"]["nodeName"], "targetRef": target(pod)});
        if !text(pod, "/spec/hostname").is_empty() && text(pod, "/spec/subdomain") == text(service, "/metadata/name") {
            address["hostname"] = pod["spec"]["hostname"].clone();
        }
        let at = match subsets.iter().position(|(there, _, _)| *there == ports) {
            Some(at) => at,
            None => {
                subsets.push((ports, Vec::new(), Vec::new()));
                subsets.len() - 1
            }
        };
        if backend.ready { subsets[at].1.push(address) } else { subsets[at].2.push(address) }
    }
    let subsets: Vec<Value> = subsets
        .into_iter()
        .map(|(ports, ready, waiting)| {
            let mut subset = json!({});
            for (field, list) in [("addresses", ready), ("notReadyAddresses", waiting), ("ports", ports)] {
                if !list.is_empty() {
                    subset[field] = Value::Array(list);
                }
            }
            subset
        })
        .collect();
    let mut labels = service.pointer("/metadata/labels").cloned().unwrap_or_else(|| json!({}));
    labels["endpoints.kubernetes.io/managed-by"] = json!("endpoint-controller");
    if text(service, "/spec/clusterIP") == "None" {
        labels[HEADLESS] = json!("");
    }
    if workloads.api.store.get(ENDPOINTS, &place.key).is_none() {
        let mut object = json!({
            "apiVersion": "v1", "kind": "Endpoints",
            "metadata": {"name": service["metadata"]["name"], "namespace": service["metadata"]["namespace"], "labels": labels,
                "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": now()}},
        });
        if !subsets.is_empty() {
            object["subsets"] = Value::Array(subsets);
        }
        return match workloads.create(ENDPOINTS, object) {
            Err(status) if status.reason != "AlreadyExists" => Err(status),
            _ => Ok(()),
        };
    }
    workloads.change(ENDPOINTS, &place.key, None, |mut object| {
        let same = object.get("subsets").and_then(Value::as_array).map_or(subsets.is_empty(), |there| *there == subsets);
        if same && object["metadata"]["labels"] == labels {
            return None;
        }
        object["metadata"]["labels"] = labels.clone();
        object["metadata"]["annotations"]["endpoints.kubernetes.io/last-change-trigger-time"] = json!(now());
        match subsets.is_empty() {
            true => drop(object.as_object_mut().and_then(|map| map.shift_remove("subsets"))),
            false => object["subsets"] = Value::Array(subsets.clone()),
        }
        Some(object)
    })?;
    Ok(())
}

fn write_slices(workloads: &Workloads, record: &Record, service: &Value, backends: &[Backend]) -> Result<()> {
    // Pods that have the same ports share slices.
    let mut groups: Vec<(Vec<Value>, Vec<Value>)> = Vec::new();
    for backend in backends {
        let pod = &backend.pod;
        let ports = ports_on(service, Some(pod));
        let mut endpoint = json!({
            "addresses": [pod["status"]["podIP"]], "conditions": {"ready": backend.ready, "serving": is_ready(pod), "terminating": false},
            "nodeName": pod["spec"]["nodeName"], "targetRef": target(pod),
        });
        if !text(pod, "/spec/hostname").is_empty() && text(pod, "/spec/subdomain") == text(service, "/metadata/name") {
            endpoint["hostname"] = pod["spec"]["hostname"].clone();
        }
        match groups.iter_mut().find(|(there, endpoints)| *there == ports && endpoints.len() < SLICE_MAX) {
            Some((_, endpoints)) => endpoints.push(endpoint),
            None => groups.push((ports, vec![endpoint])),
        }
    }
    if groups.is_empty() {
        // A Service that leads nowhere says so.
        groups.push((Vec::new(), Vec::new()));
    }
    let mut there = workloads.owned(record, SLICES);
    there.retain(|(slice, _)| slice.facts.label(MANAGED_BY) == Some(CONTROLLER));
    let mut labels = json!({MANAGED_BY: CONTROLLER, SERVICE: service["metadata"]["name"]});
    for (key, value) in service.pointer("/metadata/labels").and_then(Value::as_object).into_iter().flatten() {
        labels[key.as_str()] = value.clone();
    }
    if text(service, "/spec/clusterIP") == "None" {
        labels[HEADLESS] = json!("");
    }
    // Slices that stay as they are first, so that few are rewritten.
    let mut free: Vec<usize> = Vec::new();
    for (at, (_, slice)) in there.iter().enumerate() {
        let same = |(ports, endpoints): &(Vec<Value>, Vec<Value>)| {
            list_is(slice.get("ports"), ports) && list_is(slice.get("endpoints"), endpoints) && slice["metadata"]["labels"] == labels
        };
        match groups.iter().position(same) {
            Some(found) => drop(groups.remove(found)),
            None => free.push(at),
        }
    }
    for (ports, endpoints) in groups {
        let list = |list: &[Value]| if list.is_empty() { Value::Null } else { Value::Array(list.to_vec()) };
        if let Some(at) = free.pop() {
            workloads.change(SLICES, &there[at].0.key, None, |mut slice| {
                slice["endpoints"] = list(&endpoints);
                slice["ports"] = list(&ports);
                slice["metadata"]["labels"] = labels.clone();
                Some(slice)
            })?;
            continue;
        }
        workloads.create(
            SLICES,
            json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {"generateName": format!("{}-", record.name()), "namespace": service["metadata"]["namespace"], "labels": labels,
                    "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": now()}, "ownerReferences": [owner_reference(service)]},
                "endpoints": list(&endpoints), "ports": list(&ports),
            }),
        )?;
    }
    for at in free {
        workloads.delete(SLICES, &there[at].0)?;
    }
    Ok(())
}

fn list_is(there: Option<&Value>, wanted: &[Value]) -> bool {
    there.and_then(Value::as_array).map_or(wanted.is_empty(), |there| there == wanted)
}
