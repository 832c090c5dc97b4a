//! Built-in kinds, as a real kube-apiserver 1.36.3 answered dry runs (`server/record.py` plays the scenarios).

#![allow(clippy::unwrap_used)]

use merge::builtin;
use merge::managed::equal;
use object::GroupVersionKind;
use serde_json::{Value, json};

struct Step {
    name: String,
    gvk: GroupVersionKind,
    body: Value,
    strict: bool,
    code: u64,
    answer: Value,
    warnings: Vec<String>,
}

fn steps(scenario: &str) -> Vec<Step> {
    let answers: Value = serde_json::from_str(include_str!("server/builtin.json")).unwrap();
    let scenario = answers.as_array().unwrap().iter().find(|one| one["name"] == scenario).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let step = |(index, step): (usize, &Value)| {
        let body = step["request"]["body"].clone();
        Step {
            name: format!("step {index}, {}: {}", body["kind"], body["spec"]),
            gvk: GroupVersionKind::from_api_version(&text(&body["apiVersion"]), &text(&body["kind"])),
            strict: text(&step["request"]["path"]).contains("Strict"),
            code: step["code"].as_u64().unwrap(),
            answer: step["answer"].clone(),
            warnings: step["warnings"].as_array().unwrap().iter().map(text).collect(),
            body,
        }
    };
    scenario["steps"].as_array().unwrap().iter().enumerate().map(step).collect()
}

/// Takes out what a server does, not a schema: identity, owners, addresses, selectors made from the uid.
fn comparable(mut object: Value, gvk: &GroupVersionKind) -> Value {
    let metadata = object["metadata"].as_object_mut().unwrap();
    for key in ["uid", "creationTimestamp", "managedFields", "resourceVersion", "namespace", "generation"] {
        metadata.shift_remove(key);
    }
    let root = object.as_object_mut().unwrap();
    root.shift_remove("status");
    let Some(spec) = root.get_mut("spec").and_then(Value::as_object_mut) else { return object };
    match gvk.kind.as_str() {
        "Service" => {
            for key in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                spec.shift_remove(key);
            }
            for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
                port.as_object_mut().unwrap().shift_remove("nodePort");
            }
        }
        "Namespace" => {
            spec.shift_remove("finalizers");
        }
        _ => {}
    }
    object
}

#[test]
fn objects_are_read_and_defaulted_as_by_the_real_server() {
    let mut wrong = Vec::new();
    for step in steps("defaults").into_iter().filter(|step| step.code == 201) {
        let mut object = step.body.clone();
        builtin::read(&mut object, &step.gvk).unwrap();
        builtin::apply_defaults(&mut object, &step.gvk);
        builtin::admit(&mut object, None, &step.gvk);
        let (got, want) = (comparable(object, &step.gvk), comparable(step.answer.clone(), &step.gvk));
        if !equal(&got, &want) {
            wrong.push(format!("{}\n  {}", step.name, difference(&got, &want, "").join("\n  ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn difference(got: &Value, want: &Value, path: &str) -> Vec<String> {
    match (got, want) {
        (Value::Object(a), Value::Object(b)) => {
            let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
            keys.sort();
            keys.dedup();
            keys.into_iter()
                .flat_map(|key| {
                    difference(a.get(key).unwrap_or(&json!("(absent)")), b.get(key).unwrap_or(&json!("(absent)")), &format!("{path}.{key}"))
                })
                .collect()
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().flat_map(|(at, (a, b))| difference(a, b, &format!("{path}[{at}]"))).collect()
        }
        _ if equal(got, want) => Vec::new(),
        _ => vec![format!("{path}: got {got}, want {want}")],
    }
}

#[test]
fn what_cannot_be_decoded_is_told_as_by_the_real_server() {
    for step in steps("decoding") {
        let mut object = step.body.clone();
        let kind = &step.gvk.kind;
        let refused = |text: String| format!("{kind} in version \"v1\" cannot be handled as a {kind}: {text}");
        let told = match builtin::read(&mut object, &step.gvk) {
            Err(error) => refused(error.to_string()),
            Ok(unknown) => {
                let errors: Vec<_> = unknown.iter().map(|path| format!("unknown field {path:?}")).collect();
                if step.strict && !errors.is_empty() {
                    refused(format!("strict decoding error: {}", errors.join(", ")))
                } else {
                    let warnings: Vec<_> = step.warnings.iter().filter(|text| text.contains("unknown field")).collect();
                    assert_eq!(errors.len(), warnings.len(), "{}", step.name);
                    String::new()
                }
            }
        };
        let want = if step.code == 400 { step.answer["message"].as_str().unwrap() } else { "" };
        assert_eq!(told, want, "{}", step.name);
    }
}
