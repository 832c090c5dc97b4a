//! Field ownership, step by step as a real kube-apiserver 1.36.3 answered (`server/record.py` plays the scenarios).

#![allow(clippy::unwrap_used)]

use merge::builtin::Builtin;
use merge::managed::{self, ApplyError, Request, reset_fields};
use merge::patch;
use merge::schema::TypeSource;
use object::GroupVersionKind;
use serde_json::{Value, json};

struct Step {
    name: String,
    method: String,
    kind: String,
    subresource: String,
    manager: String,
    force: bool,
    gvk: GroupVersionKind,
    body: Value,
    live: Value,
    code: u64,
    answer: Value,
}

fn steps() -> Vec<Step> {
    let answers: Value = serde_json::from_str(include_str!("server/ownership.json")).unwrap();
    let mut out = Vec::new();
    for scenario in answers.as_array().unwrap() {
        for (index, step) in scenario["steps"].as_array().unwrap().iter().enumerate() {
            let request = &step["request"];
            let (path, query) = request["path"].as_str().unwrap().split_once('?').unwrap();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let parameter =
                |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).unwrap_or("").to_owned();
            let speaker = [&step["live"], &step["answer"], &request["body"]]
                .into_iter()
                .find(|one| one["kind"].is_string() && one["kind"] != "Status")
                .unwrap();
            out.push(Step {
                name: format!("{}, step {index}", text(&scenario["name"])),
                method: text(&request["method"]),
                kind: text(&request["type"]),
                subresource: if path.ends_with("/status") { "status".to_owned() } else { String::new() },
                manager: parameter("fieldManager"),
                force: parameter("force") == "true",
                gvk: gvk_of(path, speaker),
                body: body_of(request, &step["live"]),
                live: step["live"].clone(),
                code: step["code"].as_u64().unwrap(),
                answer: step["answer"].clone(),
            });
        }
    }
    out
}

/// The body that was sent: given, or made of the live object.
fn body_of(request: &Value, live: &Value) -> Value {
    let Some(changes) = request["on_live"].as_object() else { return request["body"].clone() };
    let mut body = live.clone();
    body.as_object_mut().unwrap().extend(changes.clone());
    body
}

/// The kind that the path is of, whatever kind the body claims to be.
fn gvk_of(path: &str, speaker: &Value) -> GroupVersionKind {
    let kind = if path.contains("/configmaps") { "ConfigMap" } else { speaker["kind"].as_str().unwrap() };
    let api_version = if path.contains("/configmaps") { "v1" } else { speaker["apiVersion"].as_str().unwrap() };
    GroupVersionKind::from_api_version(api_version, kind)
}

/// The latest time among the owners: when the step happened.
fn now(object: &Value) -> String {
    let times = object["metadata"]["managedFields"].as_array().into_iter().flatten().filter_map(|entry| entry["time"].as_str());
    times.max().unwrap_or("2026-01-01T00:00:00Z").to_owned()
}

fn run(step: &Step) -> Result<Value, ApplyError> {
    let (now, reset) = (now(&step.answer), reset_fields(&step.gvk, &step.subresource));
    let request =
        Request { manager: &step.manager, gvk: &step.gvk, subresource: &step.subresource, force: step.force, now: &now, reset: &reset };
    let live = Some(&step.live).filter(|live| !live.is_null());
    if step.kind == "apply" {
        return managed::apply(live, &step.body, &request, &Builtin);
    }
    // What the server would store but for its owners, with the owners that the client sent.
    let mut new = step.answer.clone();
    let ty = Builtin.type_of(&step.gvk).unwrap();
    let sent = match (step.method.as_str(), step.kind.as_str()) {
        ("PATCH", "json") => patch::json(&step.live, &step.body).unwrap(),
        ("PATCH", "merge") => patch::merge(&step.live, &step.body).unwrap(),
        ("PATCH", "strategic") => patch::strategic(&step.live, &step.body, &ty).unwrap(),
        _ => step.body.clone(),
    };
    if let (None, "Pod", Some(spec)) = (live, step.gvk.kind.as_str(), new.get_mut("spec").and_then(Value::as_object_mut)) {
        // Admission adds these when the owners are known already.
        spec.shift_remove("priority");
        spec.shift_remove("preemptionPolicy");
    }
    new["metadata"]["managedFields"] = sent["metadata"]["managedFields"].clone();
    Ok(managed::update(live, new, &request, &Builtin))
}

#[test]
fn owners_are_those_of_the_real_server() {
    let mut wrong = Vec::new();
    for step in steps().into_iter().filter(|step| step.code < 300) {
        let got = run(&step).map_or_else(|error| json!(error.to_string()), |object| object["metadata"]["managedFields"].clone());
        let want = &step.answer["metadata"]["managedFields"];
        if got != *want {
            wrong.push(format!("{}\n  got  {got}\n  want {want}", step.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn conflicts_and_misfits_are_told_as_by_the_real_server() {
    for step in steps().into_iter().filter(|step| matches!(step.code, 400 | 409 | 500)) {
        let error = run(&step).expect_err(&step.name);
        let code = match &error {
            ApplyError::Conflict(_) => 409,
            ApplyError::BadRequest(_) => 400,
            ApplyError::Typed(_) => 500,
        };
        assert_eq!((code, error.to_string().as_str()), (step.code, step.answer["message"].as_str().unwrap()), "{}", step.name);
        let ApplyError::Conflict(conflicts) = error else { continue };
        let mut got: Vec<_> = conflicts
            .0
            .iter()
            .map(|one| json!({"reason": "FieldManagerConflict", "message": one.message(), "field": one.field()}))
            .collect();
        let mut want = step.answer["details"]["causes"].as_array().unwrap().clone();
        got.sort_by_key(Value::to_string);
        want.sort_by_key(Value::to_string);
        assert_eq!(got, want, "{}", step.name);
    }
}

#[test]
fn an_apply_that_changes_nothing_gives_the_live_object_back() {
    let mut same = 0;
    for step in steps().into_iter().filter(|step| step.kind == "apply" && step.code < 300 && step.live == step.answer) {
        assert!(managed::equal(&run(&step).unwrap(), &step.live), "{}", step.name);
        same += 1;
    }
    assert!(same > 1, "no scenario asks it");
}
