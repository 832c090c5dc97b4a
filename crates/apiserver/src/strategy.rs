//! What each kind does before it is stored, beyond its schema.

use crate::api::{child, text};
use crate::protocol::status::Cause;
use crate::registry::Resource;
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
    } else {
        child(object, "metadata").shift_remove("generation");
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
        }
        ("", "persistentvolumeclaims") => object["status"] = json!({"phase": "Pending"}),
        ("", "persistentvolumes") => object["status"] = json!({"phase": "Pending"}),
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
        ("apiextensions.k8s.io", "customresourcedefinitions") => {
            crate::registry::crd::default(object);
            let stored: Vec<Value> = object
                .pointer("/spec/versions")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter(|v| v["storage"] == true)
                .map(|v| v["name"].clone())
                .collect();
            object["status"] = json!({"conditions": null, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": stored});
        }
        _ => {}
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
        ("", "secrets") => {
            // A type is for life; leaving it out keeps it.
            if object.get("type").and_then(Value::as_str).unwrap_or("").is_empty() {
                object["type"] = old.get("type").cloned().unwrap_or_else(|| json!("Opaque"));
            }
        }
        ("", "services") if subresource.is_empty() => keep_allocations(object, old),
        ("", "persistentvolumeclaims") if subresource.is_empty() => {
            if object.pointer("/spec/volumeName").is_none()
                && let Some(volume) = old.pointer("/spec/volumeName")
            {
                child(object, "spec").insert("volumeName".to_owned(), volume.clone());
            }
        }
        ("batch", "jobs") if subresource.is_empty() => job_update(object, old),
        ("apiextensions.k8s.io", "customresourcedefinitions") => crate::registry::crd::default(object),
        _ => {}
    }
    if counts_generations(resource) {
        let generation = old.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0);
        let bump = subresource != "status" && differs_beyond_metadata(resource, object, old);
        child(object, "metadata").insert("generation".to_owned(), json!(generation + i64::from(bump)));
    }
}

/// Whether anything that a generation counts has changed: all but metadata, and status when it is written by itself.
fn differs_beyond_metadata(resource: &Resource, new: &Value, old: &Value) -> bool {
    let (Some(new), Some(old)) = (new.as_object(), old.as_object()) else { return true };
    let counts = |key: &str| !matches!(key, "metadata" | "apiVersion" | "kind") && !(key == "status" && resource.has_status());
    let mut keys = new.keys().chain(old.keys()).filter(|key| counts(key));
    keys.any(|key| new.get(key) != old.get(key))
}

pub fn child_of_metadata<'a>(object: &'a mut Value, key: &str) -> &'a mut serde_json::Map<String, Value> {
    child(object, "metadata");
    child(&mut object["metadata"], key)
}

fn pod_quality(pod: &Value) -> &'static str {
    let containers: Vec<&Value> = pod.pointer("/spec/containers").and_then(Value::as_array).into_iter().flatten().collect();
    let part = |c: &Value, of: &str, what: &str| c.pointer(&format!("/resources/{of}/{what}")).cloned();
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
    if object.pointer("/spec/selector/matchLabels").is_none() {
        child(object, "spec").insert("selector".to_owned(), json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}));
    }
}

/// An update that leaves out what was generated keeps it.
fn job_update(object: &mut Value, old: &Value) {
    if object.pointer("/spec/selector").is_none()
        && let Some(selector) = old.pointer("/spec/selector")
    {
        child(object, "spec").insert("selector".to_owned(), selector.clone());
    }
    let generated = ["batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name", "controller-uid", "job-name"];
    if let (Some(old), Some(template)) = (old.pointer("/spec/template/metadata/labels"), object.pointer_mut("/spec/template")) {
        let labels = child_of_metadata(template, "labels");
        for key in generated {
            if let Some(value) = old.get(key) {
                labels.entry(key).or_insert_with(|| value.clone());
            }
        }
    }
}

/// Addresses and ports once given to a Service stay with it when an update does not name them.
fn keep_allocations(object: &mut Value, old: &Value) {
    let kind = text(object, "/spec/type").to_owned();
    if kind == "ExternalName" {
        return;
    }
    for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "healthCheckNodePort"] {
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

/// What is wrong with an object's metadata, whatever its kind.
pub fn check_metadata(resource: &Resource, object: &Value) -> Vec<Cause> {
    let mut out = Vec::new();
    let name = text(object, "/metadata/name");
    if name.is_empty() {
        out.push(Cause::required("metadata.name", "name or generateName is required"));
    } else if let Some(why) = name_problem(resource, name) {
        out.push(Cause::invalid("metadata.name", &Value::from(name), &why));
    }
    check_map(object, "labels", &mut out);
    check_map(object, "annotations", &mut out);
    let mut size = 0;
    for (key, value) in object.pointer("/metadata/annotations").and_then(Value::as_object).into_iter().flatten() {
        size += key.len() + value.as_str().unwrap_or("").len();
    }
    if size > 256 * 1024 {
        out.push(Cause::new("FieldValueTooLong", "metadata.annotations", "Too long: may not be more than 262144 bytes"));
    }
    for (at, finalizer) in object.pointer("/metadata/finalizers").and_then(Value::as_array).into_iter().flatten().enumerate() {
        if let Some(text) = finalizer.as_str()
            && (text.is_empty() || !qualified_name(text))
        {
            out.push(Cause::invalid(format!("metadata.finalizers[{at}]"), finalizer, QUALIFIED_NAME));
        }
    }
    for (at, owner) in object.pointer("/metadata/ownerReferences").and_then(Value::as_array).into_iter().flatten().enumerate() {
        let path = format!("metadata.ownerReferences[{at}]");
        for field in ["apiVersion", "kind", "name", "uid"] {
            if text(owner, &format!("/{field}")).is_empty() {
                let field = if field == "apiVersion" { "version" } else { field };
                out.push(Cause::invalid(format!("{path}.{field}"), &Value::from(""), &format!("{field} must not be empty")));
            }
        }
    }
    let controllers = object
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|owner| owner["controller"] == true)
        .count();
    if controllers > 1 {
        let why = "Only one reference can have Controller set to true.";
        out.push(Cause::invalid("metadata.ownerReferences", &object["metadata"]["ownerReferences"], why));
    }
    out
}

const QUALIFIED_NAME: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const DNS_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

pub fn is_label(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    edge(text.chars().next()) && edge(text.chars().last()) && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

fn name_problem(resource: &Resource, name: &str) -> Option<String> {
    match (resource.group.as_str(), resource.name.as_str()) {
        ("rbac.authorization.k8s.io", _) => match name {
            "." | ".." => Some(format!("may not be '{name}'")),
            _ if name.contains('/') => Some("may not contain '/'".to_owned()),
            _ if name.contains('%') => Some("may not contain '%'".to_owned()),
            _ => None,
        },
        ("", "namespaces") if name.len() > 63 => Some("must be no more than 63 bytes".to_owned()),
        ("", "namespaces") => (!is_label(name)).then(|| LABEL.to_owned()),
        ("", "services") if name.len() > 63 => Some("must be no more than 63 bytes".to_owned()),
        ("", "services") => (!is_label(name) || name.starts_with(|c: char| c.is_ascii_digit())).then(|| DNS_1035.to_owned()),
        _ if name.len() > 253 => Some("must be no more than 253 bytes".to_owned()),
        _ => (!name.split('.').all(is_label)).then(|| SUBDOMAIN.to_owned()),
    }
}

fn qualified_name(text: &str) -> bool {
    let (prefix, name) = text.split_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    prefix.is_none_or(|p| p.len() <= 253 && p.split('.').all(is_label))
        && name.len() <= 63
        && edge(name.chars().next())
        && edge(name.chars().last())
        && name.chars().all(inner)
}

fn check_map(object: &Value, field: &str, out: &mut Vec<Cause>) {
    for (key, value) in object.pointer(&format!("/metadata/{field}")).and_then(Value::as_object).into_iter().flatten() {
        let folded = if field == "annotations" { key.to_lowercase() } else { key.clone() };
        if !qualified_name(&folded) {
            out.push(Cause::invalid(format!("metadata.{field}"), &Value::from(key.as_str()), QUALIFIED_NAME));
        }
        if field == "labels" {
            let text = value.as_str().unwrap_or("");
            let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            let edge = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
            if text.len() > 63 {
                out.push(Cause::invalid("metadata.labels", value, "must be no more than 63 bytes"));
            } else if !text.chars().all(inner) || !edge(text.chars().next()) || !edge(text.chars().last()) {
                out.push(Cause::invalid("metadata.labels", value, LABEL_VALUE));
            }
        }
    }
}
