//! ValidatingAdmissionPolicy.

use super::compile::{Binding, Policy, Validation};
use super::evaluate::{Evaluation, params};
use super::matching::matches;
use super::{Attempt, refusal};
use crate::protocol::status::Result;
use merge::cel::Cel;
use serde_json::Value;

const MESSAGE_BYTES_MAX: usize = 5 * 1024;

/// A rule that was not kept.
struct Denial {
    message: String,
    reason: String,
}

/// Refuses a write that a policy denies; warnings go to `warn`.
pub fn validate(attempt: &Attempt<'_>, warn: &dyn Fn(String)) -> Result<()> {
    let policies = attempt.api.policies.current();
    if policies.validating.is_empty() || attempt.is_exempt() {
        return Ok(());
    }
    let mut first: Option<(String, String)> = None;
    let mut deny = |policy: &Policy, binding: Option<&Binding>, denial: Denial| {
        let by = binding.map(|binding| format!(" with binding '{}'", binding.name)).unwrap_or_default();
        let message = format!("ValidatingAdmissionPolicy '{}'{by} denied request: {}", policy.name, denial.message);
        first.get_or_insert((denial.reason, message));
    };
    for policy in policies.validating.iter().filter(|policy| matches(attempt, policy.spec.get("matchConstraints"))) {
        for binding in policy.bindings.iter().filter(|binding| matches(attempt, binding.spec.get("matchResources"))) {
            let params = match params(attempt, policy, &binding.spec) {
                Ok(params) => params,
                Err(_) if policy.fails_open => continue,
                Err(why) => {
                    let denial = Denial { message: format!("failed to configure binding: {why}"), reason: String::new() };
                    deny(policy, Some(binding), denial);
                    continue;
                }
            };
            for param in &params {
                for denial in evaluate(attempt, policy, param.as_ref()) {
                    for action in actions(binding) {
                        match action {
                            "Warn" => warn(format!(
                                "Validation failed for ValidatingAdmissionPolicy '{}' with binding '{}': {}",
                                policy.name, binding.name, denial.message
                            )),
                            "Deny" => {
                                deny(policy, Some(binding), Denial { message: denial.message.clone(), reason: denial.reason.clone() })
                            }
                            // There is no audit log to write to.
                            _ => {}
                        }
                    }
                }
            }
        }
    }
    match first {
        Some((reason, message)) => Err(refusal(attempt, &reason, &message)),
        None => Ok(()),
    }
}

fn actions(binding: &Binding) -> impl Iterator<Item = &str> {
    binding.spec.get("validationActions").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// The rules of a policy that a write breaks, or that could not be asked.
fn evaluate(attempt: &Attempt<'_>, policy: &Policy, param: Option<&Value>) -> Vec<Denial> {
    let evaluation = Evaluation::new(attempt, policy, attempt.object, param);
    let failed = |message: String| -> Option<Denial> { (!policy.fails_open).then_some(Denial { message, reason: String::new() }) };
    match evaluation.conditions_hold() {
        Ok(true) => {}
        Ok(false) => return Vec::new(),
        Err(why) => return failed(why).into_iter().collect(),
    }
    policy
        .validations
        .iter()
        .filter_map(|validation| match evaluation.run(&validation.program, &validation.expression) {
            Ok(Cel::Bool(true)) => None,
            Ok(_) => Some(Denial { message: message_of(&evaluation, validation), reason: validation.reason.clone() }),
            Err(why) => failed(why),
        })
        .collect()
}

fn message_of(evaluation: &Evaluation<'_>, validation: &Validation) -> String {
    let made = validation.message_program.as_ref().and_then(|program| {
        let mut spent = 0;
        match program.run(evaluation, &mut spent) {
            Ok(Cel::String(text)) => Some(text.trim().to_owned()),
            _ => None,
        }
    });
    made.filter(|text| !text.is_empty() && text.len() <= MESSAGE_BYTES_MAX && !text.contains('\n'))
        .or_else(|| Some(validation.message.trim().to_owned()).filter(|text| !text.is_empty()))
        .unwrap_or_else(|| format!("failed expression: {}", validation.expression.trim()))
}
