//! What each kind does before it is stored, beyond its schema.

use crate::api::{child, text};
use crate::registry::Resource;
use merge::quantity::Quantity;
use serde_json::{Value, json};

/// Kinds whose update must say on which version it was decided.
const CONDITIONAL_UPDATE: &[(&str, &str)] = &[
    ("node.k8s.io", "runtimeclasses"),
    ("policy", "poddisruptionbudgets"),
    ("storage.k8s.io", "csidrivers"),
    ("storage.k8s.io", "csistoragecapacities"),
    ("storage.k8s.io", "volumeattachments"),
    ("storage.k8s.io", "csinodes"),
    ("coordination.k8s.io", "leases"),
    ("admissionregistration.k8s.io", ""),
    ("apiextensions.k8s.io", ""),
    ("apiregistration.k8s.io", ""),
];

/// Kinds that a PUT may create.
const CREATE_ON_UPDATE: &[(&str, &str)] = &[
    ("node.k8s.io", "runtimeclasses"),
    ("rbac.authorization.k8s.io", ""),
    ("coordination.k8s.io", "leases"),
    ("", "limitranges"),
    ("", "events"),
    ("events.k8s.io", "events"),
    ("", "services"),
    ("", "endpoints"),
];

/// Kinds whose deletion answers with the object instead of a Status.
const RETURNS_DELETED: &[(&str, &str)] = &[
    ("resource.k8s.io", ""),
    ("storage.k8s.io", "csidrivers"),
    ("storage.k8s.io", "storageclasses"),
    ("storage.k8s.io", "volumeattachments"),
    ("storage.k8s.io", "csinodes"),
    ("storage.k8s.io", "volumeattributesclasses"),
    ("", "resourcequotas"),
    ("", "persistentvolumes"),
    ("", "persistentvolumeclaims"),
    ("", "serviceaccounts"),
    ("", "namespaces"),
    ("", "pods"),
    ("", "services"),
    ("", "podtemplates"),
];

/// Kinds that count their generations.
const GENERATION: &[(&str, &str)] = &[
    ("scheduling.k8s.io", "priorityclasses"),
    ("networking.k8s.io", "ingressclasses"),
    ("networking.k8s.io", "networkpolicies"),
    ("networking.k8s.io", "ingresses"),
    ("discovery.k8s.io", "endpointslices"),
    ("policy", "poddisruptionbudgets"),
    ("resource.k8s.io", "resourceslices"),
    ("resource.k8s.io", "deviceclasses"),
    ("flowcontrol.apiserver.k8s.io", ""),
    ("apps", "daemonsets"),
    ("apps", "statefulsets"),
    ("apps", "deployments"),
    ("apps", "replicasets"),
    ("batch", ""),
    ("", "pods"),
    ("", "podtemplates"),
    ("", "replicationcontrollers"),
    ("admissionregistration.k8s.io", ""),
    ("apiextensions.k8s.io", ""),
];

/// Kinds whose dependents stay by default.
const ORPHANS: &[(&str, &str)] = &[("", "replicationcontrollers"), ("batch", "jobs")];

fn listed(list: &[(&str, &str)], resource: &Resource) -> bool {
    list.iter().any(|(group, name)| *group == resource.group && (name.is_empty() || *name == resource.name))
}

pub fn needs_revision(resource: &Resource) -> bool {
    resource.custom.is_some() || listed(CONDITIONAL_UPDATE, resource)
}

pub fn may_create_on_update(resource: &Resource) -> bool {
    listed(CREATE_ON_UPDATE, resource)
}

pub fn returns_deleted(resource: &Resource) -> bool {
    listed(RETURNS_DELETED, resource)
}

pub fn counts_generations(resource: &Resource) -> bool {
    resource.custom.is_some() || listed(GENERATION, resource)
}

pub fn orphans_by_default(resource: &Resource) -> bool {
    listed(ORPHANS, resource)
}

/// Before an object is stored for the first time.
pub fn prepare_create(resource: &Resource, object: &mut Value) {
    if resource.has_status()
        && !resource.is("", "namespaces")
        && !resource.is("apiextensions.k8s.io", "customresourcedefinitions")
        && let Some(map) = object.as_object_mut()
    {
        map.remove("status");
    }
    if counts_generations(resource) {
        child(object, "metadata").insert("generation".to_owned(), json!(1));
    }
    match (resource.group.as_str(), resource.name.as_str()) {
        ("", "namespaces") => {
            let finalizers = child(object, "spec").entry("finalizers").or_insert_with(|| json!([]));
            if let Some(list) = finalizers.as_array_mut()
                && !list.iter().any(|f| f == "kubernetes")
            {
                list.push(json!("kubernetes"));
            }
            object["status"] = json!({"phase": "Active"});
        }
        ("", "pods") => {
            object["status"] = json!({"phase": "Pending", "qosClass": pod_quality(object)});
            if waits_at_gate(object) {
                object["status"]["conditions"] = json!([{
                    "type": "PodScheduled", "status": "False", "lastProbeTime": null, "lastTransitionTime": crate::api::now(),
                    "reason": "SchedulingGated", "message": "Scheduling is blocked due to non-empty scheduling gates",
                }]);
            }
        }
        ("", "persistentvolumeclaims") => object["status"] = json!({"phase": "Pending"}),
        ("", "persistentvolumes") => {
            object["status"] = json!({"phase": "Pending", "lastPhaseTransitionTime": crate::api::now()});
        }
        ("", "resourcequotas") => object["status"] = json!({}),
        ("", "replicationcontrollers") => object["status"] = json!({"replicas": 0}),
        ("", "services") => object["status"] = json!({"loadBalancer": {}}),
        ("networking.k8s.io", "ingresses") => object["status"] = json!({"loadBalancer": {}}),
        ("apps", _) | ("policy", _) | ("autoscaling", _) if resource.has_status() => {
            object["status"] = match resource.name.as_str() {
                "daemonsets" => {
                    json!({"currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0})
                }
                "statefulsets" => json!({"replicas": 0, "availableReplicas": 0}),
                "replicasets" => json!({"replicas": 0}),
                "poddisruptionbudgets" => {
                    json!({"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0})
                }
                "horizontalpodautoscalers" => json!({"desiredReplicas": 0, "currentMetrics": null}),
                _ => json!({}),
            };
        }
        ("batch", "jobs") => {
            object["status"] = json!({});
            job(object);
        }
        ("batch", "cronjobs") => object["status"] = json!({}),
        ("", "events") => event_times(object),
        ("rbac.authorization.k8s.io" | "discovery.k8s.io", _) | ("", "limitranges") => null_for_empty(resource, object),
        ("admissionregistration.k8s.io", "validatingadmissionpolicies") => object["status"] = json!({}),
        ("apiextensions.k8s.io", "customresourcedefinitions") => {
            crate::registry::crd::default(object);
            let stored: Vec<Value> = object
                .pointer("/spec/versions")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .find(|v| v["storage"] == true)
                .into_iter()
                .map(|v| v["name"].clone())
                .collect();
            object["status"] = json!({"conditions": null, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": stored});
        }
        _ => {}
    }
}

/// As Go writes an empty list that it always writes.
fn null_for_empty(resource: &Resource, object: &mut Value) {
    let fields: &[&str] = match resource.name.as_str() {
        "roles" | "clusterroles" => &["/rules"],
        "endpointslices" => &["/endpoints", "/ports"],
        "limitranges" => &["/spec/limits"],
        _ => return,
    };
    for field in fields {
        if let Some(list) = object.pointer_mut(field)
            && list.as_array().is_some_and(Vec::is_empty)
        {
            *list = Value::Null;
        }
    }
}

/// Events say of every time whether there is one.
pub fn event_times(object: &mut Value) {
    for field in ["firstTimestamp", "lastTimestamp", "eventTime"] {
        if object.get(field).is_none() {
            object[field] = Value::Null;
        }
    }
}

/// Before a changed object is stored: what a request of this kind may not change is put back.
pub fn prepare_update(resource: &Resource, subresource: &str, object: &mut Value, old: &Value) {
    match subresource {
        "status" => {
            let status = object.get("status").cloned();
            let mut metadata = object.get("metadata").cloned().unwrap_or_default();
            if resource.custom.is_some() {
                // Only the status of a custom resource is open here; who manages its fields is kept track of all the same.
                let managed = metadata.get("managedFields").cloned();
                metadata = old.get("metadata").cloned().unwrap_or_default();
                if let (Some(managed), Some(map)) = (managed, metadata.as_object_mut()) {
                    map.insert("managedFields".to_owned(), managed);
                }
            } else if resource.is("apps", "deployments")
                && let Some(map) = metadata.as_object_mut()
            {
                match old.pointer("/metadata/labels") {
                    Some(labels) => map.insert("labels".to_owned(), labels.clone()),
                    None => map.shift_remove("labels"),
                };
            }
            *object = old.clone();
            object["metadata"] = metadata;
            if let Some(map) = object.as_object_mut() {
                match status {
                    Some(status) => map.insert("status".to_owned(), status),
                    None => map.shift_remove("status"),
                };
            }
        }
        _ if resource.has_status() => {
            if let Some(map) = object.as_object_mut() {
                match old.get("status") {
                    Some(status) => map.insert("status".to_owned(), status.clone()),
                    None => map.shift_remove("status"),
                };
            }
        }
        _ => {}
    }
    match (resource.group.as_str(), resource.name.as_str()) {
        ("", "namespaces") if subresource != "finalize" => {
            object["spec"] = old.get("spec").cloned().unwrap_or_else(|| json!({}));
            let name = text(object, "/metadata/name").to_owned();
            child_of_metadata(object, "labels").insert("kubernetes.io/metadata.name".to_owned(), Value::from(name));
        }
        ("", "secrets")
            // A type is for life; leaving it out keeps it.
            if object.get("type").and_then(Value::as_str).unwrap_or("").is_empty() => {
                object["type"] = old.get("type").cloned().unwrap_or_else(|| json!("Opaque"));
            }
        ("", "services") if subresource.is_empty() => {
            drop_of_old_type(object, old);
            keep_allocations(object, old);
        }
        ("", "persistentvolumeclaims") if subresource.is_empty() => {
            if object.pointer("/spec/volumeName").is_none()
                && let Some(volume) = old.pointer("/spec/volumeName")
            {
                child(object, "spec").insert("volumeName".to_owned(), volume.clone());
            }
        }
        ("", "events") => event_times(object),
        ("rbac.authorization.k8s.io" | "discovery.k8s.io", _) | ("", "limitranges") => null_for_empty(resource, object),
        // What admission gave a pod is kept by an update that does not name it.
        ("", "pods") => {
            for field in ["priority", "preemptionPolicy"] {
                if object.pointer(&format!("/spec/{field}")).is_none()
                    && let Some(given) = old.pointer(&format!("/spec/{field}"))
                {
                    child(object, "spec").insert(field.to_owned(), given.clone());
                }
            }
        }
        ("apiextensions.k8s.io", "customresourcedefinitions") => crate::registry::crd::default(object),
        _ => {}
    }
    if counts_generations(resource) {
        let generation = old.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0);
        let of_metadata = |key: &str| object.pointer(&format!("/metadata/{key}")) != old.pointer(&format!("/metadata/{key}"));
        let bump = subresource != "status"
            && match resource.name.as_str() {
                // As their strategies have it: annotations of a Deployment and labels of a slice count, a PriorityClass never changes.
                "deployments" => differs_beyond_metadata(resource, object, old) || of_metadata("annotations"),
                "endpointslices" => differs_beyond_metadata(resource, object, old) || of_metadata("labels"),
                "priorityclasses" => false,
                _ => differs_beyond_metadata(resource, object, old),
            };
        child(object, "metadata").insert("generation".to_owned(), json!(generation + i64::from(bump)));
    }
}

/// Whether anything that a generation counts has changed: all but metadata, and status when it is written by itself.
fn differs_beyond_metadata(resource: &Resource, new: &Value, old: &Value) -> bool {
    let (Some(new), Some(old)) = (new.as_object(), old.as_object()) else { return true };
    let counts = |key: &str| match key {
        "metadata" | "apiVersion" | "kind" => false,
        "status" => !resource.has_status(),
        _ => true,
    };
    let mut keys = new.keys().chain(old.keys()).filter(|key| counts(key));
    keys.any(|key| new.get(key) != old.get(key))
}

pub fn child_of_metadata<'a>(object: &'a mut Value, key: &str) -> &'a mut serde_json::Map<String, Value> {
    child(object, "metadata");
    child(&mut object["metadata"], key)
}

/// Whether somebody keeps a pod from being put on a node.
pub fn waits_at_gate(pod: &Value) -> bool {
    pod.pointer("/spec/schedulingGates").and_then(Value::as_array).is_some_and(|gates| !gates.is_empty())
}

/// The quality of service of a pod.
pub fn pod_quality(pod: &Value) -> &'static str {
    let list = |kind: &str| pod.pointer(kind).and_then(Value::as_array).into_iter().flatten();
    let containers: Vec<&Value> = list("/spec/containers").chain(list("/spec/initContainers")).collect();
    // Nothing of something is not asked for.
    let part = |c: &Value, of: &str, what: &str| {
        c.pointer(&format!("/resources/{of}/{what}")).and_then(Quantity::of).filter(|amount| !amount.is_zero())
    };
    let any =
        containers.iter().any(|c| ["requests", "limits"].iter().any(|of| ["cpu", "memory"].iter().any(|what| part(c, of, what).is_some())));
    let all = !containers.is_empty()
        && containers.iter().all(|c| {
            ["cpu", "memory"].iter().all(|what| {
                let limit = part(c, "limits", what);
                limit.is_some() && part(c, "requests", what).is_none_or(|request| Some(request) == limit)
            })
        });
    match (all, any) {
        (true, _) => "Guaranteed",
        (false, true) => "Burstable",
        (false, false) => "BestEffort",
    }
}

/// A Job's pods are found by a label that holds the Job's uid, unless its author selects them by hand.
fn job(object: &mut Value) {
    if object.pointer("/spec/manualSelector").and_then(Value::as_bool) == Some(true) {
        return;
    }
    let (uid, name) = (text(object, "/metadata/uid").to_owned(), text(object, "/metadata/name").to_owned());
    // A Job without labels of its own has those of its pods, generated ones included.
    let own = object.pointer("/metadata/labels").and_then(Value::as_object).filter(|l| !l.is_empty());
    let shares = own.is_none() || own == object.pointer("/spec/template/metadata/labels").and_then(Value::as_object);
    let Some(template) = object.pointer_mut("/spec/template") else { return };
    let labels = child_of_metadata(template, "labels");
    for (key, value) in [
        ("batch.kubernetes.io/controller-uid", &uid),
        ("batch.kubernetes.io/job-name", &name),
        ("controller-uid", &uid),
        ("job-name", &name),
    ] {
        labels.entry(key).or_insert_with(|| Value::from(value.as_str()));
    }
    if shares && let Some(labels) = object.pointer("/spec/template/metadata/labels").cloned() {
        object["metadata"]["labels"] = labels;
    }
    if object.pointer("/spec/selector/matchLabels").is_none() {
        child(object, "spec").insert("selector".to_owned(), json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}));
    }
}

/// What only the old type of a Service had goes with it, unless the update asks for it anew.
fn drop_of_old_type(object: &mut Value, old: &Value) {
    let exposed = |service: &Value| matches!(text(service, "/spec/type"), "NodePort" | "LoadBalancer");
    let balanced = |service: &Value| text(service, "/spec/type") == "LoadBalancer";
    let mut gone: Vec<&str> = Vec::new();
    if balanced(old) && !balanced(object) {
        gone.extend(["allocateLoadBalancerNodePorts", "loadBalancerClass", "healthCheckNodePort"]);
    }
    let reachable = |service: &Value| {
        let addresses = service.pointer("/spec/externalIPs").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
        exposed(service) || (text(service, "/spec/type") == "ClusterIP" && addresses)
    };
    if reachable(old) && !reachable(object) {
        gone.push("externalTrafficPolicy");
    }
    if exposed(old) && !exposed(object) {
        gone.push("healthCheckNodePort");
        let before = old.pointer("/spec/ports").and_then(Value::as_array).cloned().unwrap_or_default();
        for port in object.pointer_mut("/spec/ports").and_then(Value::as_array_mut).into_iter().flatten() {
            let same = before.iter().any(|b| b.get("nodePort").is_some() && b.get("nodePort") == port.get("nodePort"));
            if same && let Some(port) = port.as_object_mut() {
                port.shift_remove("nodePort");
            }
        }
    }
    for field in gone {
        let pointer = format!("/spec/{field}");
        if object.pointer(&pointer) == old.pointer(&pointer) {
            child(object, "spec").shift_remove(field);
        }
    }
}

/// Addresses and ports once given to a Service stay with it when an update does not name them.
fn keep_allocations(object: &mut Value, old: &Value) {
    let kind = text(object, "/spec/type").to_owned();
    if kind == "ExternalName" {
        return;
    }
    for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        let there = object.pointer(&format!("/spec/{field}"));
        let empty = there.is_none_or(|v| v.is_null() || v == "" || v.as_array().is_some_and(Vec::is_empty));
        if empty && let Some(value) = old.pointer(&format!("/spec/{field}")) {
            child(object, "spec").insert(field.to_owned(), value.clone());
        }
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        let old_ports = old.pointer("/spec/ports").and_then(Value::as_array).cloned().unwrap_or_default();
        for port in object.pointer_mut("/spec/ports").and_then(Value::as_array_mut).into_iter().flatten() {
            let same = |other: &&Value| other["port"] == port["port"] && other["protocol"] == port["protocol"];
            let unset = port.get("nodePort").is_none_or(|p| p == 0);
            if unset && let Some(number) = old_ports.iter().find(same).and_then(|p| p.get("nodePort")) {
                port["nodePort"] = number.clone();
            }
        }
    }
}

pub fn is_label(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    edge(text.chars().next()) && edge(text.chars().last()) && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}
