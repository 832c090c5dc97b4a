//! MutatingAdmissionPolicy.

use super::compile::{Binding, Mutation, Policy};
use super::evaluate::{Evaluation, params};
use super::matching::matches;
use super::{Attempt, refusal};
use crate::engine;
use crate::protocol::status::{Result, Status};
use merge::cel::to_json;
use serde_json::Value;

/// Changes an object that is about to be written as the policies say. Fields that they set belong to no manager, as in a real server.
pub fn mutate(attempt: &Attempt<'_>, object: &mut Value) -> Result<()> {
    let policies = attempt.api.policies.current();
    if policies.mutating.is_empty() || attempt.is_exempt() || attempt.operation == "DELETE" {
        return Ok(());
    }
    // Those that asked to be run again when another one changed the object after them.
    let mut again: Vec<(usize, usize, Value)> = Vec::new();
    for (at, policy) in policies.mutating.iter().enumerate() {
        for (which, binding) in policy.bindings.iter().enumerate() {
            invoke(attempt, policy, binding, object)?;
            if policy.spec.get("reinvocationPolicy").is_some_and(|policy| policy == "IfNeeded") {
                again.push((at, which, object.clone()));
            }
        }
    }
    for (at, which, left) in again {
        if left != *object {
            let policy = &policies.mutating[at];
            invoke(attempt, policy, &policy.bindings[which], object)?;
        }
    }
    Ok(())
}

fn invoke(attempt: &Attempt<'_>, policy: &Policy, binding: &Binding, object: &mut Value) -> Result<()> {
    let seen = Attempt { object: Some(object), ..*attempt };
    let concerns = matches(&seen, policy.spec.get("matchConstraints")) && matches(&seen, binding.spec.get("matchResources"));
    if !concerns {
        return Ok(());
    }
    let fail = |why: String| -> Result<()> {
        if policy.fails_open {
            return Ok(());
        }
        let message = format!("policy '{}' with binding '{}' denied request: {why}", policy.name, binding.name);
        let mut status = refusal(attempt, "", &message);
        // As a real server has it: forbidden by the code, invalid by the reason.
        status.code = 403;
        status.message = message;
        Err(status)
    };
    let all = match params(attempt, policy, &binding.spec) {
        Ok(all) => all,
        Err(why) => return fail(format!("failed to configure binding: {why}")),
    };
    for param in &all {
        match Evaluation::new(attempt, policy, Some(object), param.as_ref()).conditions_hold() {
            Ok(true) => {}
            Ok(false) => continue,
            Err(why) => {
                fail(why)?;
                continue;
            }
        }
        for mutation in &policy.mutations {
            // Each mutation sees what those before it have done.
            let evaluation = Evaluation::new(attempt, policy, Some(object), param.as_ref());
            match patched(attempt, &evaluation, mutation, object) {
                Ok(new) => *object = new,
                Err(Problem::Policy(why)) => fail(why)?,
                Err(Problem::Status(status)) => return Err(status),
            }
        }
    }
    Ok(())
}

enum Problem {
    Policy(String),
    Status(Status),
}

fn patched(attempt: &Attempt<'_>, evaluation: &Evaluation<'_>, mutation: &Mutation, object: &Value) -> std::result::Result<Value, Problem> {
    let made =
        evaluation.run(&mutation.program, if mutation.json_patch { "jsonPatch" } else { "applyConfiguration" }).map_err(Problem::Policy)?;
    let made = to_json(&made).ok_or_else(|| Problem::Policy("the expression made a value that is no JSON".to_owned()))?;
    let mut new = if mutation.json_patch {
        match merge::patch::json(object, &made) {
            Ok(new) => new,
            // A test that fails leaves the object as it is.
            Err(_) if is_test(&made) => object.clone(),
            Err(error) => return Err(Problem::Policy(format!("JSON Patch: {error}"))),
        }
    } else {
        engine::merge_configuration(attempt.resource, object, made)
            .map_err(|why| Problem::Policy(format!("error applying patch: {why}")))?
    };
    let unknown = engine::read(attempt.resource, &mut new).map_err(Problem::Status)?;
    match unknown.first() {
        Some(field) => Err(Problem::Policy(format!("the patch sets an unknown field: {field}"))),
        None => Ok(new),
    }
}

fn is_test(patch: &Value) -> bool {
    patch.as_array().is_some_and(|operations| operations.iter().any(|operation| operation["op"] == "test"))
}
