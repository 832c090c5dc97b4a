//! Warnings about expressions that cannot be right for the kinds that a policy names.

use super::compile::{Names, with_variables};
use crate::api::{Api, text};
use crate::engine;
use crate::registry::{Registry, Resource};
use crate::rest::write::change_own;
use merge::cel::{Declared, Program};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// So many kinds of one rule are looked at, as in a real server.
const KINDS_MAX: usize = 10;

/// Writes into the status of a policy what its type check found.
pub fn check_types(api: &Api, resource: &Resource, key: &str) {
    if !resource.is(super::GROUP, "validatingadmissionpolicies") {
        return;
    }
    let registry = api.registry();
    let done = change_own(api, resource, key, Some("status"), |mut policy| {
        let generation = policy.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0);
        if policy.pointer("/status/observedGeneration").and_then(Value::as_i64) == Some(generation) {
            return None;
        }
        let warnings = warnings(&registry, &policy["spec"]);
        let found = if warnings.is_empty() { json!({}) } else { json!({"expressionWarnings": warnings}) };
        if !policy["status"].is_object() {
            policy["status"] = json!({});
        }
        policy["status"]["observedGeneration"] = json!(generation);
        policy["status"]["typeChecking"] = found;
        Some(policy)
    });
    if let Err(status) = done {
        tracing::debug!(error = %status, "the status of a policy cannot be written");
    }
}

fn warnings(registry: &Registry, spec: &Value) -> Vec<Value> {
    let kinds = kinds(registry, spec);
    let param = spec.get("paramKind").filter(|kind| kind.is_object()).and_then(|kind| {
        let (group, version) = text(kind, "/apiVersion").rsplit_once('/').unwrap_or(("", text(kind, "/apiVersion")));
        registry.of_kind(group, version, text(kind, "/kind")).and_then(|resource| engine::declared(resource))
    });
    let params = spec.get("paramKind").is_some_and(Value::is_object);
    let mut out = Vec::new();
    let mut check = |field: String, expression: &str| {
        let told: String = kinds
            .iter()
            .filter_map(|(name, declared)| {
                let names = Names { params, mutations: false, object: Some(declared), param: param.as_ref() };
                let (environment, _) = with_variables(spec, names.environment());
                let error = Program::compile(expression, &environment).err()?;
                Some(format!("{name}: compilation failed: {error}\n"))
            })
            .collect();
        if !told.is_empty() {
            out.push(json!({"fieldRef": field, "warning": told}));
        }
    };
    for (at, validation) in spec.get("validations").and_then(Value::as_array).into_iter().flatten().enumerate() {
        check(format!("spec.validations[{at}].expression"), text(validation, "/expression"));
        let message = text(validation, "/messageExpression");
        if !message.is_empty() {
            check(format!("spec.validations[{at}].messageExpression"), message);
        }
    }
    out
}

/// The kinds that the rules name without wildcards, in the order of their names.
fn kinds(registry: &Registry, spec: &Value) -> BTreeMap<String, Arc<Declared>> {
    let mut out = BTreeMap::new();
    let rules = spec.pointer("/matchConstraints/resourceRules").and_then(Value::as_array);
    for rule in rules.into_iter().flatten() {
        let list = |key: &str| -> Vec<&str> {
            let list: Vec<&str> = rule.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
            if list.contains(&"*") { Vec::new() } else { list }
        };
        let mut count = 0;
        for group in list("apiGroups") {
            for version in list("apiVersions") {
                for name in list("resources").into_iter().filter(|name| !name.contains(['*', '/'])) {
                    let Some(resource) = registry.find(group, version, name).filter(|_| count < KINDS_MAX) else { continue };
                    let Some(declared) = engine::declared(resource) else { continue };
                    count += 1;
                    let shown = format!("{group}/{version}, Kind={}", resource.kind);
                    out.insert(shown, declared);
                }
            }
        }
    }
    out
}
