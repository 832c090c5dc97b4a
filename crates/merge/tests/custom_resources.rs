//! Custom resources, as a real kube-apiserver 1.36.3 answered (`server/record.py` plays the scenarios): what is pruned,
//! what is defaulted, and what is refused with which words.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use merge::field::{FieldError, invalid_message};
use merge::managed::{self, Request, reset_fields_custom};
use merge::patch;
use merge::structural::{CustomKind, CustomTypes};
use object::GroupVersionKind;
use serde_json::{Value, json};

fn kind_of(definition: &Value) -> Arc<CustomKind> {
    let spec = &definition["spec"];
    let gvk = GroupVersionKind::new(spec["group"].as_str().unwrap(), "v1", spec["names"]["kind"].as_str().unwrap());
    Arc::new(CustomKind::compile(gvk, &spec["versions"][0], false).unwrap())
}

/// What a server built on this crate would say of a step: an object, or a refusal with code, message and causes.
fn answer(kind: &Arc<CustomKind>, step: &Value) -> (u64, Value, Vec<String>) {
    let request = &step["request"];
    let path = request["path"].as_str().unwrap();
    let live = Some(&step["live"]).filter(|live| live.is_object());
    let status = path.contains("/status");
    let mut object = match request["type"].as_str() {
        None if request["on_live"].is_object() => {
            let mut object = live.unwrap().clone();
            object.as_object_mut().unwrap().extend(request["on_live"].as_object().unwrap().clone());
            object
        }
        None => request["body"].clone(),
        Some("merge") => patch::merge(live.unwrap(), &request["body"]).unwrap(),
        Some("apply") => {
            let mut types = CustomTypes::default();
            types.insert(Arc::clone(kind));
            let reset = reset_fields_custom(kind.has_status(), if status { "status" } else { "" });
            let subresource = if status { "status" } else { "" };
            let manager = path.split_once("fieldManager=").unwrap().1.split('&').next().unwrap();
            let times =
                step["answer"]["metadata"]["managedFields"].as_array().into_iter().flatten().filter_map(|entry| entry["time"].as_str());
            let now = times.max().unwrap_or("").to_owned();
            let request_of = Request { manager, gvk: &kind.gvk, subresource, force: path.contains("force=true"), now: &now, reset: &reset };
            match managed::apply(live, &request["body"], &request_of, &types) {
                Ok(object) => object,
                Err(error) => return (500, json!({"message": error.to_string()}), Vec::new()),
            }
        }
        other => panic!("{other:?}"),
    };
    let refused = |text: String| {
        (
            400,
            json!({"message": format!("{} in version \"v1\" cannot be handled as a {}: {text}", kind.gvk.kind, kind.gvk.kind)}),
            Vec::new(),
        )
    };
    let warnings = match kind.read(&mut object) {
        Ok(pruned) => pruned.errors(),
        Err(error) => return refused(error.to_string()),
    };
    if path.contains("fieldValidation=Strict") && !warnings.is_empty() {
        return refused(format!("strict decoding error: {}", warnings.join(", ")));
    }
    if !status && kind.has_status() {
        let object = object.as_object_mut().unwrap();
        object.shift_remove("status");
        if let Some(kept) = live.and_then(|live| live.get("status")) {
            object.insert("status".to_owned(), kept.clone());
        }
    }
    let errors = if status { kind.validate_status(&object, live.unwrap()) } else { kind.validate(&object, live) };
    if errors.is_empty() {
        return (200, object, warnings);
    }
    let name = object["metadata"]["name"].as_str().unwrap();
    let cause = |error: &FieldError| json!({"reason": error.reason.as_str(), "message": error.message, "field": error.field});
    let causes: Vec<_> = errors.iter().map(cause).collect();
    (422, json!({"message": invalid_message(&kind.gvk.group, &kind.gvk.kind, name, &errors), "details": {"causes": causes}}), warnings)
}

/// The order of errors is that of Go's maps: any.
fn sorted(mut list: Vec<Value>) -> Vec<Value> {
    list.sort_by_key(Value::to_string);
    list
}

#[test]
fn custom_resources_are_answered_as_by_the_real_server() {
    let answers: Value = serde_json::from_str(include_str!("server/crds.json")).unwrap();
    let mut wrong = Vec::new();
    let mut count = 0;
    for scenario in answers.as_array().unwrap() {
        let kind = kind_of(&scenario["crd"]);
        let schema = &scenario["crd"]["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        assert_eq!(merge::structural::schema_problems(schema, &kind.node, "schema", Default::default()), []);
        for (index, step) in scenario["steps"].as_array().unwrap().iter().enumerate() {
            let (code, got, warnings) = answer(&kind, step);
            let want = &step["answer"];
            let name = format!("{} step {index}: {}", scenario["name"], step["request"]["body"]["spec"]);
            let wanted_code = step["code"].as_u64().unwrap();
            let code = if wanted_code == 201 && code == 200 { 201 } else { code };
            if code != wanted_code {
                wrong.push(format!("{name}\n  got  {code} {got}\n  want {wanted_code} {want}"));
            } else if wanted_code < 300 {
                let same = managed::equal(&got["spec"], &want["spec"]) && managed::equal(&got["status"], &want["status"]);
                let owners = step["request"]["type"] != "apply" || got["metadata"]["managedFields"] == want["metadata"]["managedFields"];
                if !same || !owners {
                    wrong.push(format!("{name}\n  got  {got}\n  want {want}"));
                }
            } else {
                let causes = |answer: &Value| sorted(answer["details"]["causes"].as_array().cloned().unwrap_or_default());
                let single = causes(want).len() < 2;
                if causes(&got) != causes(want) || (single && got["message"] != want["message"]) {
                    wrong.push(format!("{name}\n  got  {got}\n  want {} {:?}", want["message"], causes(want)));
                }
            }
            let told: Vec<String> = step["warnings"]
                .as_array()
                .unwrap()
                .iter()
                .map(|text| text.as_str().unwrap().replace("299 - \"", "").replace("\\\"", "\""))
                .map(|text| text[..text.len() - 1].to_owned())
                .collect();
            if told.iter().filter(|text| text.starts_with("unknown field")).ne(warnings.iter()) {
                wrong.push(format!("{name}\n  got warnings  {warnings:?}\n  want {told:?}"));
            }
            count += 1;
        }
    }
    assert!(wrong.is_empty(), "{} of {count} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
