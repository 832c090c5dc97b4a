//! Patches that a real kube-apiserver 1.36.3 applied or refused in dry runs (`server/record.py` plays the scenarios).

#![allow(clippy::unwrap_used)]

use merge::builtin::{self, Builtin};
use merge::managed::equal;
use merge::patch::{self, Error};
use merge::schema::TypeSource;
use object::GroupVersionKind;
use serde_json::Value;

/// What the server does besides: counting, and moving the objects of a service.
fn comparable(mut object: Value) -> Value {
    for key in ["generation", "resourceVersion"] {
        object["metadata"].as_object_mut().unwrap().shift_remove(key);
    }
    object
}

#[test]
fn patches_do_what_they_do_on_the_real_server() {
    let scenarios: Value = serde_json::from_str(include_str!("server/patches.json")).unwrap();
    let mut wrong = Vec::new();
    for scenario in scenarios.as_array().unwrap() {
        let live = &scenario["live"];
        let gvk = GroupVersionKind::from_api_version(live["apiVersion"].as_str().unwrap(), live["kind"].as_str().unwrap());
        let ty = Builtin.type_of(&gvk).unwrap();
        for (index, step) in scenario["steps"].as_array().unwrap().iter().enumerate() {
            let body = &step["request"]["body"];
            let patched = match step["request"]["type"].as_str().unwrap() {
                "json" => patch::json(live, body),
                "merge" => patch::merge(live, body),
                _ => patch::strategic(live, body, &ty),
            };
            let code = step["code"].as_u64().unwrap();
            let message = step["answer"]["message"].as_str().unwrap_or("");
            let name = format!("{} {index}: {body}", scenario["name"]);
            match patched {
                Ok(mut object) => {
                    let read = builtin::read(&mut object, &gvk);
                    builtin::apply_defaults(&mut object, &gvk);
                    // Refused later: the patched object cannot be decoded, or is invalid.
                    let refused = read.is_err() || !merge::validation::validate(&gvk, true, &object, Some(live)).is_empty();
                    if refused != (code == 422) || !(code < 300 || code == 422) {
                        wrong.push(format!("{name}\n  got  {object}\n  want {code} {message}"));
                    } else if code < 300 && !equal(&comparable(object.clone()), &comparable(step["answer"].clone())) {
                        wrong.push(format!("{name}\n  got  {}\n  want {}", comparable(object), comparable(step["answer"].clone())));
                    }
                }
                Err(Error::Unprocessable(_)) if code == 422 && message.starts_with("the server rejected our request") => {}
                Err(error) => {
                    let got = match &error {
                        Error::BadRequest(_) => 400,
                        Error::Internal(_) => 500,
                        Error::TooMany(_) => 413,
                        Error::Unprocessable(_) => 422,
                    };
                    // Lists of whole elements are shown in another order of keys.
                    let same = error.to_string() == message
                        || (message.starts_with("list element types") && error.to_string().starts_with("list element types"));
                    if got != code || !same {
                        wrong.push(format!("{name}\n  got  {got} {error}\n  want {code} {message}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
