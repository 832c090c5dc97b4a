//! What a writer of pods is told that is allowed, and hardly meant.

use std::collections::HashMap;

use object::GroupVersionKind;
use serde_json::Value;

use super::at::At;
use crate::quantity::Quantity;

/// Warnings about an object that was created, or changed. Of what has not changed nobody is told again.
pub fn warnings(gvk: &GroupVersionKind, object: &Value, old: Option<&Value>) -> Vec<String> {
    let pointer = match (gvk.group.as_str(), gvk.kind.as_str()) {
        ("", "Pod") => "",
        ("", "PodTemplate") => "/template",
        ("", "ReplicationController") | ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet") | ("batch", "Job") => {
            "/spec/template"
        }
        ("batch", "CronJob") => "/spec/jobTemplate/spec/template",
        ("", "Service") => return of_service(&At::new(object, "")),
        _ => return Vec::new(),
    };
    let mut out = Vec::new();
    // As their strategies have it: of a pod, and of what stays the same, nobody is told again.
    let generation = |object: &Value| object.pointer("/metadata/generation").cloned();
    match old {
        Some(old) if pointer.is_empty() || generation(old) == generation(object) => return out,
        Some(_) => {}
        None => name(&mut out, &gvk.kind, object),
    }
    let Some(value) = object.pointer(pointer) else { return out };
    of_pod(&mut out, &At::new(value, pointer.trim_start_matches('/').replace('/', ".").as_str()));
    out
}

fn of_service(service: &At<'_>) -> Vec<String> {
    let spec = service.get("spec");
    let (kind, external) = (spec.get("type").text(), spec.get("externalIPs").len() > 0);
    let headless = spec.get("clusterIP").text() == "None";
    let hints = "service.kubernetes.io/topology-aware-hints";
    let named = kind == "ExternalName";
    let table = [
        (
            service.get("metadata").get("annotations").entry(hints).is_set(),
            "annotation service.kubernetes.io/topology-aware-hints is deprecated, please use service.kubernetes.io/topology-mode instead",
        ),
        (headless && !spec.get("loadBalancerIP").text().is_empty(), "spec.loadBalancerIP is ignored for headless services"),
        (headless && external, "spec.externalIPs is ignored for headless services"),
        (headless && spec.get("sessionAffinity").text() != "None", "spec.SessionAffinity is ignored for headless services"),
        (external && !headless && !named, "spec.externalIPs is deprecated and may no longer be implemented in some clusters"),
        (external && named, "spec.externalIPs is ignored when spec.type is \"ExternalName\""),
        (!named && !spec.get("externalName").text().is_empty(), "spec.externalName is ignored when spec.type is not \"ExternalName\""),
        (
            spec.get("trafficDistribution").text() == "PreferClose",
            "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"",
        ),
    ];
    table.iter().filter(|(holds, _)| *holds).map(|(_, why)| (*why).to_owned()).collect()
}

/// A name that pods take over, and that no host can have.
fn name(out: &mut Vec<String>, kind: &str, object: &Value) {
    let used = match kind {
        "Pod" => "this is used in the Pod's hostname",
        "Deployment" | "ReplicaSet" | "ReplicationController" | "Job" | "CronJob" => "this is used in Pod names and hostnames",
        _ => return,
    };
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("");
    let problems = super::names::label(name);
    if !problems.is_empty() {
        let problems = problems.join(" ");
        out.push(format!("metadata.name: {used}, which can result in surprising behavior; a DNS label is recommended: [{problems}]"));
    }
}

fn of_pod(out: &mut Vec<String>, pod: &At<'_>) {
    let spec = pod.get("spec");
    for at in spec.get("topologySpreadConstraints").items() {
        no_selector(out, &at);
    }
    const ANNOTATIONS: [(&str, &str); 3] = [
        ("scheduler.alpha.kubernetes.io/critical-pod", "non-functional in v1.16+; use the \"priorityClassName\" field instead"),
        ("security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
        ("security.alpha.kubernetes.io/unsafe-sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
    ];
    let annotations = pod.get("metadata").get("annotations");
    for (name, why) in ANNOTATIONS {
        if annotations.entry(name).is_set() {
            out.push(format!("{}: {why}", annotations.entry(name).path));
        }
    }
    volumes(out, &spec.get("volumes"));
    twice(out, &spec.get("hostAliases"), "ip");
    twice(out, &spec.get("imagePullSecrets"), "name");
    for secret in spec.get("imagePullSecrets").items().map(|secret| secret.get("name")).filter(|name| name.text().is_empty()) {
        out.push(format!("{}: invalid empty name \"\"", secret.path));
    }
    for name in ["memory", "ephemeral-storage"] {
        fraction(out, &spec.get("overhead").entry(name));
    }
    for container in containers(&spec) {
        for (which, name) in
            [("limits", "memory"), ("requests", "memory"), ("limits", "ephemeral-storage"), ("requests", "ephemeral-storage")]
        {
            fraction(out, &container.get("resources").get(which).entry(name));
        }
        hidden_variables(out, &container.get("env"));
    }
    ports(out, &spec);
    let grace = spec.get("terminationGracePeriodSeconds");
    if grace.int().is_some_and(|seconds| seconds < 0) {
        out.push(format!("{}: must be >= 0; negative values are invalid and will be treated as 1", grace.path));
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let affinity = spec.get("affinity").get(kind);
        affinity.get("requiredDuringSchedulingIgnoredDuringExecution").items().for_each(|term| no_selector(out, &term));
        let preferred = affinity.get("preferredDuringSchedulingIgnoredDuringExecution");
        preferred.items().for_each(|term| no_selector(out, &term.get("podAffinityTerm")));
    }
}

fn containers<'v>(spec: &At<'v>) -> Vec<At<'v>> {
    ["initContainers", "containers", "ephemeralContainers"].iter().flat_map(|kind| spec.get(kind).items().collect::<Vec<_>>()).collect()
}

fn no_selector(out: &mut Vec<String>, at: &At<'_>) {
    let selector = at.get("labelSelector");
    if !selector.is_set() {
        out.push(format!("{}: a null labelSelector results in matching no pod", selector.path));
    }
}

fn volumes(out: &mut Vec<String>, volumes: &At<'_>) {
    const GONE: [(&str, &str); 9] = [
        ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
        ("gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
        ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
        ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
        ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
        ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
        ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
        ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
        ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
    ];
    for volume in volumes.items() {
        for (source, why) in GONE.iter().filter(|(source, _)| volume.get(source).is_set()) {
            out.push(format!("{}: {why}", volume.get(source).path));
        }
    }
}

fn twice(out: &mut Vec<String>, list: &At<'_>, key: &str) {
    let mut seen: Vec<&str> = Vec::new();
    for at in list.items().map(|item| item.get(key)) {
        if seen.contains(&at.text()) {
            out.push(format!("{}: duplicate {key} {:?}", at.path, at.text()));
        } else {
            seen.push(at.text());
        }
    }
}

fn fraction(out: &mut Vec<String>, at: &At<'_>) {
    if let Some(amount) = Quantity::of(at.value).filter(|amount| !amount.is_whole()) {
        out.push(format!("{}: fractional byte value \"{amount}\" is invalid, must be an integer", at.path));
    }
}

/// A variable that is set again without using what it was.
fn hidden_variables(out: &mut Vec<String>, list: &At<'_>) {
    let mut seen: Vec<&str> = Vec::new();
    for at in list.items() {
        let (name, value) = (at.get("name").text(), at.get("value"));
        let itself = format!("$({name})");
        if !seen.contains(&name) {
            seen.push(name);
        } else if at.get("valueFrom").is_set() || value.text() == itself || !value.text().contains(&itself) {
            out.push(format!("{}: hides previous definition of {name:?}, which may be dropped when using apply", at.path));
        }
    }
}

fn ports(out: &mut Vec<String>, spec: &At<'_>) {
    let (mut by_number, mut by_name): (HashMap<String, Vec<At<'_>>>, HashMap<&str, String>) = Default::default();
    let mut named = Vec::new();
    for port in containers(spec).iter().flat_map(|container| container.get("ports").items().collect::<Vec<_>>()) {
        let host = |port: &At<'_>| (port.get("hostIP").text().to_owned(), port.get("hostPort").int().unwrap_or(0));
        let key = format!("{}/{}", port.get("containerPort").value, port.get("protocol").text());
        let others = by_number.entry(key).or_default();
        for other in others.iter() {
            let ((address, number), (other_address, other_number)) = (host(&port), host(other));
            let what = if address == other_address && number == other_number {
                "duplicate"
            } else if number == 0 || other_number == 0 {
                "overlapping"
            } else if number == other_number && address.is_empty() != other_address.is_empty() {
                "dangerously ambiguous"
            } else {
                continue;
            };
            out.push(format!("{}: {what} port definition with {}", port.path, other.path));
        }
        others.push(port.clone());
        let name = port.get("name").text();
        if let Some(other) = by_name.get(name) {
            named.push(format!(
                "{}: duplicate port name {name:?} with {other}, services and probes that select ports by name will use {other}",
                port.path
            ));
        } else if !name.is_empty() {
            by_name.insert(name, port.path.clone());
        }
    }
    out.append(&mut named);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_hardly_meant_is_told_where_it_stands() {
        let gvk = GroupVersionKind::from_api_version("apps/v1", "Deployment");
        let deployment =
            |spec: Value| json!({"metadata": {"name": "web", "generation": 1}, "spec": {"template": {"metadata": {}, "spec": spec}}});
        let table = [
            (
                json!({"topologySpreadConstraints": [{"topologyKey": "zone"}]}),
                "spec.template.spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod",
            ),
            (
                json!({"containers": [{"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}]}),
                "spec.template.spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply",
            ),
            (
                json!({"containers": [{"ports": [{"containerPort": 80, "protocol": "TCP"}]}, {"ports": [{"containerPort": 80, "protocol": "TCP"}]}]}),
                "spec.template.spec.containers[1].ports[0]: duplicate port definition with spec.template.spec.containers[0].ports[0]",
            ),
            (
                json!({"containers": [{"resources": {"limits": {"memory": "100m"}}}]}),
                "spec.template.spec.containers[0].resources.limits[memory]: fractional byte value \"100m\" is invalid, must be an integer",
            ),
        ];
        for (spec, told) in table {
            let object = deployment(spec);
            assert_eq!(warnings(&gvk, &object, None), [told]);
            assert!(warnings(&gvk, &object, Some(&object)).is_empty());
        }
        assert!(
            warnings(
                &gvk,
                &deployment(json!({"containers": [{"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"}]}]})),
                None
            )
            .is_empty()
        );
    }
}
