//! What an object takes from a quota.

use super::{Amounts, add, scopes};
use crate::api::{Api, text};
use crate::registry::Resource;
use merge::quantity::Quantity;
use serde_json::Value;
use std::collections::BTreeMap;

/// Of some resources, the plain name counts as well.
const COUNTED_BY_NAME: [&str; 7] =
    ["configmaps", "secrets", "replicationcontrollers", "resourcequotas", "services", "persistentvolumeclaims", "pods"];
const BY_CLASS: &str = ".storageclass.storage.k8s.io/";
const COMPUTE: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
/// What each container must say when a quota limits it.
const SPECIFIED: [&str; 6] = ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];

/// Whether a write of this resource can take from a quota at all.
pub fn is_charged(resource: &Resource, subresource: &str, object: &Value, old: Option<&Value>) -> bool {
    if resource.name == "events" || !resource.can("get") {
        return false;
    }
    let core = |name: &str| resource.is("", name);
    match (old, subresource) {
        (None, subresource) => subresource.is_empty(),
        (Some(_), "resize") => core("pods"),
        (Some(_), "status") => core("persistentvolumeclaims"),
        (Some(old), "") if core("pods") => {
            let ends = |pod: &Value| pod.pointer("/spec/activeDeadlineSeconds").is_some_and(Value::is_number);
            ends(object) != ends(old)
        }
        (Some(_), "") => core("services") || core("persistentvolumeclaims"),
        _ => false,
    }
}

/// The table that a name of a quota counts the objects of.
fn counted_table(name: &str) -> Option<&str> {
    name.strip_prefix("count/").or(COUNTED_BY_NAME.contains(&name).then_some(name))
}

/// Whether objects of this resource take from what this name of a quota limits.
pub fn counts(resource: &Resource, name: &str) -> bool {
    if counted_table(name).is_some_and(|table| *resource.table == *table) {
        return true;
    }
    if !resource.group.is_empty() {
        return false;
    }
    match resource.name.as_str() {
        "services" => matches!(name, "services.nodeports" | "services.loadbalancers"),
        "persistentvolumeclaims" => {
            name == "requests.storage"
                || name.split_once(BY_CLASS).is_some_and(|(_, rest)| matches!(rest, "requests.storage" | "persistentvolumeclaims"))
        }
        "pods" => {
            let (plain, requested) = match name.strip_prefix("requests.") {
                Some(rest) => (rest, true),
                None => (name.strip_prefix("limits.").unwrap_or(name), false),
            };
            COMPUTE.contains(&plain)
                || (plain.starts_with("hugepages-") && !name.starts_with("limits."))
                || (requested && plain.contains('/') && !plain.split('/').next().unwrap_or("").ends_with("kubernetes.io"))
        }
        _ => false,
    }
}

/// What one object takes.
pub fn of(resource: &Resource, object: &Value) -> Amounts {
    let mut out = Amounts::from([(format!("count/{}", resource.table), Quantity::ONE)]);
    if !resource.group.is_empty() {
        return out;
    }
    if COUNTED_BY_NAME.contains(&resource.name.as_str()) && resource.name != "pods" {
        out.insert(resource.name.clone(), Quantity::ONE);
    }
    match resource.name.as_str() {
        "services" => service(object, &mut out),
        "persistentvolumeclaims" => claim(object, &mut out),
        "pods" if !matches!(text(object, "/status/phase"), "Succeeded" | "Failed") => pod(object, &mut out),
        _ => {}
    }
    out
}

fn service(object: &Value, out: &mut Amounts) {
    let ports = || object.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten();
    let numbered = |port: &&Value| port.get("nodePort").and_then(Value::as_i64).is_some_and(|number| number != 0);
    let balances = text(object, "/spec/type") == "LoadBalancer";
    let node_ports = match text(object, "/spec/type") {
        "LoadBalancer" if object.pointer("/spec/allocateLoadBalancerNodePorts") == Some(&Value::Bool(false)) => {
            ports().filter(numbered).count()
        }
        "NodePort" | "LoadBalancer" => ports().count(),
        _ => 0,
    };
    out.insert("services.nodeports".to_owned(), Quantity::whole(node_ports as i64));
    out.insert("services.loadbalancers".to_owned(), if balances { Quantity::ONE } else { Quantity::ZERO });
}

fn claim(object: &Value, out: &mut Amounts) {
    let class = match object.pointer("/metadata/annotations/volume.beta.kubernetes.io~1storage-class").and_then(Value::as_str) {
        Some(class) => class,
        None => text(object, "/spec/storageClassName"),
    };
    let amount = |pointer: &str| object.pointer(pointer).and_then(Quantity::of);
    let asked = amount("/spec/resources/requests/storage");
    // What a volume is being grown to counts until it is given up.
    let given = amount("/status/allocatedResources/storage");
    let storage = asked.map(|asked| given.filter(|given| *given > asked).unwrap_or(asked));
    if !class.is_empty() {
        out.insert(format!("{class}{BY_CLASS}persistentvolumeclaims"), Quantity::ONE);
    }
    if let Some(storage) = storage {
        if !class.is_empty() {
            out.insert(format!("{class}{BY_CLASS}requests.storage"), storage);
        }
        out.insert("requests.storage".to_owned(), storage);
    }
}

fn pod(object: &Value, out: &mut Amounts) {
    out.insert("pods".to_owned(), Quantity::ONE);
    let requests = of_pod(object, "requests");
    for (name, amount) in &requests {
        if COMPUTE.contains(&name.as_str()) || name.starts_with("hugepages-") {
            out.insert(name.clone(), *amount);
            out.insert(format!("requests.{name}"), *amount);
        } else if name.contains('/') {
            out.insert(format!("requests.{name}"), *amount);
        }
    }
    for (name, amount) in of_pod(object, "limits").iter().filter(|(name, _)| COMPUTE.contains(&name.as_str())) {
        out.insert(format!("limits.{name}"), *amount);
    }
}

/// What a pod requests, or is limited to, with what running it takes beyond its containers.
fn of_pod(pod: &Value, which: &str) -> Amounts {
    let mut together = of_containers(pod, which);
    for (name, amount) in super::amounts(pod, "/spec/overhead") {
        if which == "requests" || together.get(&name).is_some_and(|there| !there.is_zero()) {
            add(&mut together, &name, amount);
        }
    }
    together
}

/// What the containers of a pod request, or are limited to, together: those that run side by side, or the largest that runs before them.
pub fn of_containers(pod: &Value, which: &str) -> Amounts {
    let containers = |kind: &str| pod.pointer(&format!("/spec/{kind}")).and_then(Value::as_array).into_iter().flatten();
    let mut together = Amounts::new();
    for container in containers("containers") {
        sum(&mut together, &resources(container, which));
    }
    let (mut beside, mut before) = (Amounts::new(), Amounts::new());
    for container in containers("initContainers") {
        let mut own = resources(container, which);
        if text(container, "/restartPolicy") == "Always" {
            sum(&mut together, &own);
            sum(&mut beside, &own);
            own = beside.clone();
        } else {
            sum(&mut own, &beside);
        }
        largest(&mut before, &own);
    }
    largest(&mut together, &before);
    // What is said of the pod as a whole counts instead.
    let whole = pod.pointer("/spec/resources").map(|resources| super::amounts(resources, &format!("/{which}"))).unwrap_or_default();
    together.extend(whole);
    together
}

fn resources(container: &Value, which: &str) -> Amounts {
    super::amounts(container, &format!("/resources/{which}"))
}

fn sum(to: &mut Amounts, more: &Amounts) {
    more.iter().for_each(|(name, amount)| add(to, name, *amount));
}

fn largest(of: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let there = of.entry(name.clone()).or_insert(*amount);
        if *amount > *there {
            *there = *amount;
        }
    }
}

/// What containers do not say although a quota limits it.
pub fn unspecified(resource: &Resource, object: &Value, names: &[&str]) -> Option<String> {
    let whole =
        |which: &str| object.pointer(&format!("/spec/resources/{which}")).and_then(Value::as_object).is_some_and(|map| !map.is_empty());
    if !resource.is("", "pods") || whole("requests") || whole("limits") {
        return None;
    }
    let mut missing: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for kind in ["/spec/containers", "/spec/initContainers"] {
        for container in object.pointer(kind).and_then(Value::as_array).into_iter().flatten() {
            for name in names.iter().filter(|name| SPECIFIED.contains(name)) {
                let (which, what) = name.split_once('.').unwrap_or(("requests", name));
                if container.pointer(&format!("/resources/{which}/{what}")).is_none() {
                    missing.entry(name).or_default().push(text(container, "/name"));
                }
            }
        }
    }
    let parts = missing.into_iter().map(|(name, mut containers)| {
        containers.sort_unstable();
        containers.dedup();
        format!("{name} for: {}", containers.join(","))
    });
    let all = parts.collect::<Vec<_>>().join("; ");
    (!all.is_empty()).then_some(all)
}

/// What everything that is stored takes from a quota, of the names whose objects are known.
pub fn total(api: &Api, namespace: &str, quota: &Value, hard: &Amounts) -> Amounts {
    let registry = api.registry();
    let mut out = Amounts::new();
    let scoped = ["/spec/scopes", "/spec/scopeSelector/matchExpressions"]
        .iter()
        .any(|pointer| quota.pointer(pointer).and_then(Value::as_array).is_some_and(|list| !list.is_empty()));
    let tables = hard.keys().filter_map(|name| counted_table(name)).chain(["pods", "services", "persistentvolumeclaims"]);
    let mut done: Vec<&str> = Vec::new();
    for table in tables {
        let Some(resource) = registry.of_table(table).filter(|resource| resource.namespaced) else { continue };
        let names: Vec<&String> = hard.keys().filter(|name| counts(resource, name)).collect();
        if done.contains(&table) || names.is_empty() {
            continue;
        }
        done.push(table);
        out.extend(names.iter().map(|name| ((*name).clone(), Quantity::ZERO)));
        let stored = api.store.all(table, &format!("{namespace}/"));
        // Numbers of objects need no look at them.
        if !scoped && names.iter().all(|name| counted_table(name).is_some() && *name != "pods") {
            let count = Quantity::whole(i64::try_from(stored.len()).unwrap_or(i64::MAX));
            out.extend(names.iter().map(|name| ((*name).clone(), count)));
            continue;
        }
        for object in stored.iter().map(|record| record.value()).filter(|object| scopes::match_all(quota, resource, object)) {
            for (name, amount) in of(resource, &object) {
                if hard.contains_key(&name) {
                    add(&mut out, &name, amount);
                }
            }
        }
    }
    out
}
