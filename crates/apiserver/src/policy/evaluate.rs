//! The variables of one evaluation.

use super::Attempt;
use super::authorizer::{self, Asked, Question};
use super::compile::Policy;
use crate::api::text;
use merge::cel::{self, Cel, Failure, Program, Scope, Spent, TOTAL_COST_MAX};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::HashMap;

/// What the expressions of one policy see of one write.
pub struct Evaluation<'a> {
    attempt: &'a Attempt<'a>,
    policy: &'a Policy,
    object: Cel,
    old: Cel,
    request: Cel,
    namespace: Cel,
    params: Cel,
    /// Variables that have been worked out: each is once.
    known: RefCell<HashMap<String, Result<Cel, Failure>>>,
    /// What all expressions so far have cost.
    spent: RefCell<u64>,
}

impl<'a> Evaluation<'a> {
    pub fn new(attempt: &'a Attempt<'a>, policy: &'a Policy, object: Option<&Value>, params: Option<&Value>) -> Self {
        // Times stay texts: to policies, objects of all kinds are what their JSON is.
        let plain = |value: Option<&Value>| value.map_or(Cel::Null, cel::plain);
        Self {
            attempt,
            policy,
            object: plain(object),
            old: plain(attempt.old),
            request: cel::plain(&request(attempt)),
            namespace: attempt.namespace_object().map_or(Cel::Null, |value| cel::plain(&value)),
            params: params.map_or(Cel::Null, cel::plain),
            known: RefCell::default(),
            spent: RefCell::default(),
        }
    }

    /// Runs an expression of the policy.
    pub fn run(&self, program: &Result<Program, String>, what: &str) -> Result<Cel, String> {
        let program = program.as_ref().map_err(Clone::clone)?;
        let mut spent = *self.spent.borrow();
        let out = program.run(self, &mut spent);
        *self.spent.borrow_mut() = spent;
        if spent > TOTAL_COST_MAX {
            return Err("validation failed due to running out of cost budget, no further validation rules will be run".to_owned());
        }
        out.map_err(|error| format!("expression '{what}' resulted in error: {error}"))
    }

    /// Whether all conditions of the policy hold.
    pub fn conditions_hold(&self) -> Result<bool, String> {
        let mut error = None;
        for (expression, program) in &self.policy.conditions {
            match self.run(program, expression) {
                Ok(Cel::Bool(true)) => {}
                // One that says no settles it, whatever the others would say.
                Ok(_) => return Ok(false),
                Err(why) => error = error.or(Some(why)),
            }
        }
        error.map_or(Ok(true), Err)
    }
}

impl Scope for Evaluation<'_> {
    fn variable(&self, name: &str, _spent: &mut Spent) -> Option<Result<Cel, Failure>> {
        Some(Ok(match name {
            "object" => self.object.clone(),
            "oldObject" => self.old.clone(),
            "request" => self.request.clone(),
            "namespaceObject" => self.namespace.clone(),
            "params" => self.params.clone(),
            "authorizer" => authorizer::value(Question::Whose(self.attempt.user.clone())),
            // Its fields are worked out one by one.
            "variables" => cel::map([]),
            _ => return None,
        }))
    }

    fn lazy(&self, variable: &str, field: &str, spent: &mut Spent) -> Option<Result<Cel, Failure>> {
        match (variable, field) {
            ("authorizer", "requestResource") => {
                let attempt = self.attempt;
                Some(Ok(authorizer::value(Question::Resource(Box::new(Asked {
                    user: attempt.user.clone(),
                    group: attempt.resource.group.clone(),
                    resource: attempt.resource.name.clone(),
                    subresource: attempt.subresource.to_owned(),
                    namespace: attempt.namespace.to_owned(),
                    name: attempt.name.to_owned(),
                })))))
            }
            ("variables", name) => {
                if let Some(known) = self.known.borrow().get(name) {
                    return Some(known.clone());
                }
                let (_, program) = self.policy.variables.iter().find(|(known, _)| known == name)?;
                let value = match program {
                    Ok(program) => program.run_within(self, spent),
                    Err(error) => Err(Failure::Error(format!("composited variable {name:?} fails to compile: {error}"))),
                };
                let value = match value {
                    Err(Failure::Error(why)) => Err(Failure::Error(format!("composited variable {name:?} fails to evaluate: {why}"))),
                    other => other,
                };
                self.known.borrow_mut().insert(name.to_owned(), value.clone());
                Some(value)
            }
            _ => None,
        }
    }

    fn method(&self, name: &str, target: &Cel, args: &[Cel]) -> Option<Result<Cel, Failure>> {
        authorizer::method(self.attempt.api, name, target, args)
    }
}

/// `request`: what is asked for, and by whom.
fn request(attempt: &Attempt<'_>) -> Value {
    let resource = attempt.resource;
    let kind = json!({"group": resource.group, "version": resource.version, "kind": resource.kind});
    let of = json!({"group": resource.group, "version": resource.version, "resource": resource.name});
    let user = attempt.user;
    let options_kind = match attempt.operation {
        "CREATE" => "CreateOptions",
        "UPDATE" => "UpdateOptions",
        _ => "DeleteOptions",
    };
    let mut info = json!({"username": user.name, "groups": user.groups});
    if !user.uid.is_empty() {
        info["uid"] = Value::from(user.uid.as_str());
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    let mut out = json!({
        "kind": kind, "resource": of, "requestKind": kind, "requestResource": of, "name": attempt.name,
        "operation": attempt.operation, "userInfo": info, "dryRun": attempt.dry_run,
        "options": {"kind": options_kind, "apiVersion": "meta.k8s.io/v1"},
    });
    if !attempt.namespace.is_empty() {
        out["namespace"] = Value::from(attempt.namespace);
    }
    if !attempt.subresource.is_empty() {
        out["subResource"] = Value::from(attempt.subresource);
        out["requestSubResource"] = Value::from(attempt.subresource);
    }
    out
}

/// The objects that a binding gives its policy as parameters: `None` stands for none wanted.
pub fn params(attempt: &Attempt<'_>, policy: &Policy, binding: &Value) -> Result<Vec<Option<Value>>, String> {
    let Some(kind) = policy.spec.get("paramKind").filter(|kind| kind.is_object()) else { return Ok(vec![None]) };
    let Some(reference) = binding.get("paramRef").filter(|reference| reference.is_object()) else {
        return Err("paramRef is required when paramKind is set".to_owned());
    };
    let (group, version) = text(kind, "/apiVersion").rsplit_once('/').unwrap_or(("", text(kind, "/apiVersion")));
    let registry = attempt.api.registry();
    let Some(resource) = registry.of_kind(group, version, text(kind, "/kind")) else {
        return Err(format!("failed to find resource referenced by paramKind: '{group}/{version}, Kind={}'", text(kind, "/kind")));
    };
    let given = text(reference, "/namespace");
    let namespace = match (resource.namespaced, given.is_empty()) {
        (false, true) => "",
        (false, false) => return Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".to_owned()),
        (true, false) => given,
        (true, true) if attempt.namespace.is_empty() => {
            return Err("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources".to_owned());
        }
        (true, true) => attempt.namespace,
    };
    let name = text(reference, "/name");
    let records = if name.is_empty() {
        let selector = crate::protocol::selector::LabelSelector::from_value(reference.get("selector").unwrap_or(&Value::Null));
        let prefix = if resource.namespaced { format!("{namespace}/") } else { String::new() };
        let all = attempt.api.store.all(&resource.table, &prefix);
        all.into_iter().filter(|record| selector.as_ref().is_some_and(|s| s.matches(|key| record.facts.label(key)))).collect()
    } else {
        attempt.api.store.get(&resource.table, &resource.key(namespace, name)).into_iter().collect::<Vec<_>>()
    };
    if records.is_empty() && text(reference, "/parameterNotFoundAction") != "Allow" {
        return Err("no params found for policy binding with `Deny` parameterNotFoundAction".to_owned());
    }
    Ok(records.iter().map(|record| Some(crate::rest::view::value(resource, record))).collect())
}
