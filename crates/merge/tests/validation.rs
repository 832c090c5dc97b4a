//! Built-in kinds that a real kube-apiserver 1.36.3 refused, or took (`server/record.py` plays the scenarios).

#![allow(clippy::unwrap_used)]

use merge::builtin;
use merge::field::FieldError;
use merge::validation::validate;
use object::GroupVersionKind;
use serde_json::{Value, json};

/// Scenario and step, and why the answer differs: what a server does and a schema does not, or policy of that cluster.
const DIFFERENT: &[(&str, usize, &str)] = &[
    ("metadata", 10, "the suffix of the name is random"),
    ("config", 7, "what is wrong with the JSON of a secret is told in general"),
    ("config", 12, "what is wrong with the JSON of a secret is told in general"),
    ("pods", 110, "privileged pods are a matter of that cluster's policy"),
    ("pods", 113, "the server shows Go's internal struct"),
    ("workloads", 61, "the names of time zones are not known here"),
    ("network", 15, "addresses are given by the server"),
    ("network", 31, "an empty list is read as none"),
];

struct Resource {
    gvk: GroupVersionKind,
    namespaced: bool,
}

fn resource_of(path: &str) -> Resource {
    let parts: Vec<&str> = path.split('?').next().unwrap().trim_start_matches('/').split('/').collect();
    let (group, version, rest) = if parts[0] == "api" { ("", parts[1], &parts[2..]) } else { (parts[1], parts[2], &parts[3..]) };
    let name = if rest[0] == "namespaces" && rest.len() > 2 { rest[2] } else { rest[0] };
    let group = builtin::discovery().iter().find(|one| one.name == group).unwrap();
    let version = group.versions.iter().find(|one| one.version == version).unwrap();
    let resource = version.resources.iter().find(|one| one.name == name).unwrap();
    Resource { gvk: GroupVersionKind::new(&group.name, &version.version, &resource.kind), namespaced: resource.namespaced }
}

/// The causes of what this crate refuses.
fn causes(step: &Value) -> Vec<Value> {
    let request = &step["request"];
    let resource = resource_of(request["path"].as_str().unwrap());
    let live = Some(&step["live"]).filter(|live| live.is_object());
    let mut object = match request["on_live"].as_object() {
        Some(changes) => {
            let mut object = live.unwrap().clone();
            object.as_object_mut().unwrap().extend(changes.clone());
            object
        }
        None => request["body"].clone(),
    };
    builtin::read(&mut object, &resource.gvk).unwrap();
    if live.is_none() {
        // What the server sets before it validates.
        let metadata = object["metadata"].as_object_mut().unwrap();
        metadata.insert("uid".into(), json!("00000000-0000-0000-0000-000000000000"));
        if resource.namespaced {
            metadata.insert("namespace".into(), json!("default"));
        }
        if let (None, Some(prefix)) = (metadata.get("name"), metadata.get("generateName").and_then(Value::as_str)) {
            let name = format!("{prefix}00000");
            metadata.insert("name".into(), json!(name));
        }
    }
    builtin::apply_defaults(&mut object, &resource.gvk);
    builtin::admit(&mut object, live, &resource.gvk);
    if let Some(live) = live {
        keep_addresses(&mut object, live);
    }
    let cause = |error: &FieldError| comparable(json!({"reason": error.reason.as_str(), "message": error.message, "field": error.field}));
    sorted(validate(&resource.gvk, resource.namespaced, &object, live).iter().map(cause).collect())
}

/// A service keeps the addresses that it does not name.
fn keep_addresses(object: &mut Value, live: &Value) {
    if object["kind"] == "Service" && object["spec"]["clusterIPs"].is_null() {
        for key in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            object["spec"][key] = live["spec"][key].clone();
        }
    }
}

/// Leaves out what is random, what shows Go's internal structs, and differences that are drawn.
fn comparable(mut cause: Value) -> Value {
    let message = cause["message"].as_str().unwrap().split("\n@@").next().unwrap().to_owned();
    let message = without_uid(message);
    let message = match message.split_once("value: {\"") {
        Some((head, rest)) if rest.starts_with(|char: char| char.is_ascii_uppercase()) || cause["field"] == "spec.template" => {
            format!("{head}value: ...{}", rest.rsplit_once('}').map_or("", |(_, detail)| detail))
        }
        _ => message,
    };
    cause["message"] = json!(message);
    cause
}

/// A random uid becomes the one that the test sets.
fn without_uid(message: String) -> String {
    let is_uid = |part: &str| {
        part.len() == 36
            && part
                .bytes()
                .enumerate()
                .all(|(at, byte)| if matches!(at, 8 | 13 | 18 | 23) { byte == b'-' } else { byte.is_ascii_hexdigit() })
    };
    message.split('"').map(|part| if is_uid(part) { "00000000-0000-0000-0000-000000000000" } else { part }).collect::<Vec<_>>().join("\"")
}

fn sorted(mut list: Vec<Value>) -> Vec<Value> {
    list.sort_by_key(Value::to_string);
    list.dedup();
    list
}

#[test]
fn built_in_kinds_are_refused_as_by_the_real_server() {
    let scenarios: Value = serde_json::from_str(include_str!("server/validation.json")).unwrap();
    let mut wrong = Vec::new();
    let mut count = 0;
    for scenario in scenarios.as_array().unwrap() {
        let name = scenario["name"].as_str().unwrap();
        for (index, step) in scenario["steps"].as_array().unwrap().iter().enumerate() {
            count += 1;
            if DIFFERENT.iter().any(|(of, at, _)| *of == name && *at == index) {
                continue;
            }
            let want = step["answer"]["details"]["causes"].as_array().cloned().unwrap_or_default();
            let want = sorted(want.into_iter().map(comparable).collect());
            let got = causes(step);
            if got != want {
                let show = |list: &[Value]| {
                    list.iter().map(|one| format!("{}: {}", one["field"], one["message"])).collect::<Vec<_>>().join("\n        ")
                };
                let only = |a: &[Value], b: &[Value]| show(&a.iter().filter(|one| !b.contains(one)).cloned().collect::<Vec<_>>());
                wrong.push(format!(
                    "{name} {index} ({} {})\n  got   {}\n  want  {}",
                    step["code"],
                    step["answer"]["message"].as_str().unwrap_or("").chars().take(60).collect::<String>(),
                    only(&got, &want),
                    only(&want, &got)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count} differ:\n{}", wrong.len(), wrong.join("\n"));
}
