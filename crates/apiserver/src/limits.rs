//! Limit ranges: what containers, pods and claims of a namespace ask for when they do not say, and how much and little they may.
//!
//! ```text
//! new pod ──fill──► defaults of its containers ──► (quotas, policies) ──check──► 403 with everything that is out of range
//! ```
//!
//! As the LimitRanger plugin of a real server does it, in its words: only new pods, since what containers ask for does not change.

use crate::api::{Api, child, text};
use crate::protocol::status::{Result, Status};
use crate::quota::{Amounts, amounts, of_containers};
use crate::registry::Resource;
use crate::strategy::child_of_metadata;
use merge::quantity::Quantity;
use serde_json::{Value, json};

pub const LIMIT_RANGES: &str = "limitranges";
/// Says what was filled in.
const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// The limits of each range of a namespace, where this resource has any.
fn ranges(api: &Api, resource: &Resource, namespace: &str) -> Vec<Vec<Value>> {
    if namespace.is_empty() || api.store.count(LIMIT_RANGES) == 0 || !(is_pod(resource) || resource.is("", "persistentvolumeclaims")) {
        return Vec::new();
    }
    let ranges = api.store.all(LIMIT_RANGES, &format!("{namespace}/"));
    ranges.iter().map(|record| record.value().pointer("/spec/limits").and_then(Value::as_array).cloned().unwrap_or_default()).collect()
}

fn is_pod(resource: &Resource) -> bool {
    resource.is("", "pods")
}

const CONTAINERS: [(&str, &str); 2] = [("containers", "container"), ("initContainers", "init container")];

/// Gives the containers of a new pod what they do not ask for themselves.
pub fn fill(api: &Api, resource: &Resource, object: &mut Value) {
    if !is_pod(resource) {
        return;
    }
    let namespace = text(object, "/metadata/namespace").to_owned();
    ranges(api, resource, &namespace).iter().for_each(|limits| fill_by(limits, object));
}

/// Every range has a say of its own, and the last of them tells what it did.
fn fill_by(limits: &[Value], object: &mut Value) {
    let (mut requests, mut bounds) = (Amounts::new(), Amounts::new());
    for limit in limits.iter().filter(|limit| text(limit, "/type") == "Container") {
        requests.extend(amounts(limit, "/defaultRequest"));
        bounds.extend(amounts(limit, "/default"));
    }
    if requests.is_empty() && bounds.is_empty() {
        return;
    }
    let mut told = Vec::new();
    for (kind, called) in CONTAINERS {
        for container in object.pointer_mut(&format!("/spec/{kind}")).and_then(Value::as_array_mut).into_iter().flatten() {
            let name = text(container, "/name").to_owned();
            for (which, word, defaults) in [("requests", "request", &requests), ("limits", "limit", &bounds)] {
                let resources = child(container, "resources");
                let there = resources.entry(which).or_insert_with(|| json!({}));
                let Some(there) = there.as_object_mut() else { continue };
                let missing: Vec<(&String, &Quantity)> = defaults.iter().filter(|(name, _)| !there.contains_key(*name)).collect();
                if !missing.is_empty() {
                    let names: Vec<&str> = missing.iter().map(|(name, _)| name.as_str()).collect();
                    told.push(format!("{} {word} for {called} {name}", names.join(", ")));
                }
                there.extend(missing.into_iter().map(|(name, amount)| (name.clone(), Value::from(amount.to_string()))));
                if there.is_empty() {
                    resources.shift_remove(which);
                }
            }
        }
    }
    if !told.is_empty() {
        let text = format!("LimitRanger plugin set: {}", told.join("; "));
        child_of_metadata(object, "annotations").insert(ANNOTATION.to_owned(), Value::from(text));
    }
}

/// Refuses a new pod, or a claim, that asks for more or less than it may.
pub fn check(api: &Api, resource: &Resource, object: &Value, old: Option<&Value>) -> Result<()> {
    if old.is_some_and(|old| is_pod(resource) || old.pointer("/metadata/deletionTimestamp").is_some()) {
        return Ok(());
    }
    let mut problems = Vec::new();
    for limit in ranges(api, resource, text(object, "/metadata/namespace")).concat() {
        match (text(&limit, "/type"), is_pod(resource)) {
            (kind @ "Container", true) => {
                for (list, _) in CONTAINERS {
                    for container in object.pointer(&format!("/spec/{list}")).and_then(Value::as_array).into_iter().flatten() {
                        let asked = Asked {
                            kind,
                            requests: amounts(container, "/resources/requests"),
                            limits: amounts(container, "/resources/limits"),
                        };
                        asked.check(&limit, &mut problems);
                    }
                }
            }
            (kind @ "Pod", true) => {
                let asked = Asked { kind, requests: of_containers(object, "requests"), limits: of_containers(object, "limits") };
                asked.check(&limit, &mut problems);
            }
            (kind @ "PersistentVolumeClaim", false) => {
                // A claim has requests alone, and they are bounded on both sides.
                let asked = Asked { kind, requests: amounts(object, "/spec/resources/requests"), limits: Amounts::new() };
                asked.minimum(&limit, &mut problems);
                asked.maximum(&limit, &mut problems, false);
            }
            _ => {}
        }
    }
    let why = match problems.as_slice() {
        [] => return Ok(()),
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    };
    Err(Status::forbidden(&resource.group, &resource.name, text(object, "/metadata/name"), &why))
}

/// What a container, a pod or a claim asks for.
struct Asked<'a> {
    kind: &'a str,
    requests: Amounts,
    limits: Amounts,
}

impl Asked<'_> {
    fn check(&self, limit: &Value, problems: &mut Vec<String>) {
        self.minimum(limit, problems);
        self.maximum(limit, problems, true);
        self.ratio(limit, problems);
    }

    fn minimum(&self, limit: &Value, problems: &mut Vec<String>) {
        for (name, least) in amounts(limit, "/min") {
            let head = format!("minimum {name} usage per {} is {least}", self.kind);
            match (self.requests.get(&name), self.limits.get(&name)) {
                (None, _) => problems.push(format!("{head}.  No request is specified")),
                (Some(request), _) if *request < least => problems.push(format!("{head}, but request is {request}")),
                (_, Some(bound)) if *bound < least => problems.push(format!("{head}, but limit is {bound}")),
                _ => {}
            }
        }
    }

    fn maximum(&self, limit: &Value, problems: &mut Vec<String>, limits: bool) {
        for (name, most) in amounts(limit, "/max") {
            let head = format!("maximum {name} usage per {} is {most}", self.kind);
            match (self.limits.get(&name), self.requests.get(&name)) {
                (None, _) if limits => problems.push(format!("{head}.  No limit is specified")),
                (Some(bound), _) if *bound > most => problems.push(format!("{head}, but limit is {bound}")),
                (_, Some(request)) if *request > most => problems.push(format!("{head}, but request is {request}")),
                (_, None) if !limits => problems.push(format!("{head}.  No request is specified")),
                _ => {}
            }
        }
    }

    /// How far a limit may lie above a request.
    fn ratio(&self, limit: &Value, problems: &mut Vec<String>) {
        for (name, most) in amounts(limit, "/maxLimitRequestRatio") {
            let head = format!("{name} max limit to request ratio per {} is {most}", self.kind);
            let some = |of: &Amounts| of.get(&name).copied().filter(|amount| !amount.is_zero());
            match (some(&self.requests), some(&self.limits)) {
                (None, _) => problems.push(format!("{head}, but no request is specified or request is 0")),
                (_, None) => problems.push(format!("{head}, but no limit is specified or limit is 0")),
                (Some(request), Some(bound)) if bound.over(request) > most.over(Quantity::ONE) => {
                    problems.push(format!("{head}, but provided ratio is {:.6}", bound.over(request)));
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(limit: Value, resources: Value) -> Vec<String> {
        let asked = Asked { kind: "Container", requests: amounts(&resources, "/requests"), limits: amounts(&resources, "/limits") };
        let mut out = Vec::new();
        asked.check(&limit, &mut out);
        out
    }

    #[test]
    fn what_is_out_of_range_is_told_in_the_words_of_a_real_server() {
        let table = [
            (json!({"min": {"cpu": "100m"}}), json!({}), "minimum cpu usage per Container is 100m.  No request is specified"),
            (
                json!({"min": {"cpu": "100m"}}),
                json!({"requests": {"cpu": "50m"}}),
                "minimum cpu usage per Container is 100m, but request is 50m",
            ),
            (json!({"max": {"memory": "1Gi"}}), json!({}), "maximum memory usage per Container is 1Gi.  No limit is specified"),
            (
                json!({"max": {"memory": "1Gi"}}),
                json!({"limits": {"memory": "2048Mi"}}),
                "maximum memory usage per Container is 1Gi, but limit is 2Gi",
            ),
            (
                json!({"maxLimitRequestRatio": {"cpu": "2"}}),
                json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "1"}}),
                "cpu max limit to request ratio per Container is 2, but provided ratio is 10.000000",
            ),
        ];
        for (limit, resources, told) in table {
            assert_eq!(problems(limit, resources), [told]);
        }
        assert!(problems(json!({"max": {"cpu": "1"}}), json!({"requests": {"cpu": "1"}, "limits": {"cpu": "1000m"}})).is_empty());
    }
}
