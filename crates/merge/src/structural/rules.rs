//! `x-kubernetes-validations`: rules in CEL.
//!
//! Which rules run on which values, with which old value, and what is said when one fails follows apiextensions-apiserver.

use std::collections::HashMap;
use std::sync::Arc;

use kube_cel::cel::objects::{Key, Map as CelMap};
use serde_json::Value;

use super::{Additional, Node, Type, correlated};
use crate::cel::{self, Cel, Declared, Environment, Failure, Program, Scope, Spent, TOTAL_COST_MAX, Type as CelType, escape, plain};
use crate::field::{self, FieldError, Reason};
use crate::managed::equal;

/// Values nest no deeper than this.
const DEPTH_MAX: usize = 120;

/// A message made by an expression is no longer than this.
const MESSAGE_BYTES_MAX: usize = 5 * 1024;

/// One rule, compiled.
pub struct Rule {
    text: String,
    /// Why it cannot be used, where it cannot.
    program: Result<Program, String>,
    message: Option<String>,
    message_program: Option<Result<Program, String>>,
    reason: Option<Reason>,
    field_path: String,
    uses_old: bool,
    optional_old: bool,
}

impl std::fmt::Debug for Rule {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Rule({:?})", self.text)
    }
}

impl Rule {
    /// Why the rule cannot be used, if it cannot.
    pub fn error(&self) -> Option<&str> {
        self.program.as_ref().err().map(String::as_str)
    }

    pub fn message_error(&self) -> Option<&str> {
        self.message_program.as_ref()?.as_ref().err().map(String::as_str)
    }

    pub fn uses_old(&self) -> bool {
        self.uses_old
    }

    /// What one run costs at most: the rule, and the expression that makes its message.
    pub fn costs(&self) -> (u64, Option<u64>) {
        let of = |program: &Result<Program, String>| program.as_ref().ok().map(Program::cost_max);
        (of(&self.program).unwrap_or(0), self.message_program.as_ref().and_then(of))
    }
}

/// Compiles the rules of one schema for values of a type.
pub(super) fn compile(rules: &[Value], declared: Option<&Arc<Declared>>) -> Vec<Rule> {
    rules.iter().map(|rule| compile_one(rule, declared)).collect()
}

fn compile_one(rule: &Value, declared: Option<&Arc<Declared>>) -> Rule {
    let text = |key: &str| rule.get(key).and_then(Value::as_str).unwrap_or("").trim();
    let optional_old = rule.get("optionalOldSelf").and_then(Value::as_bool).unwrap_or(false);
    let environment = declared.map(|declared| {
        let old = if optional_old {
            Declared::scalar(CelType::Optional(Box::new(declared.ty.clone())), declared.max, 0)
        } else {
            Arc::clone(declared)
        };
        Environment::default().with("self", Arc::clone(declared)).with("oldSelf", old)
    });
    let compiled = |text: &str, lead: &str, fits: fn(&CelType) -> bool, wanted: &str| match &environment {
        None => Err("failed to convert to declType for CEL validation rules".to_owned()),
        Some(environment) => match Program::compile(text, environment) {
            Ok(program) if fits(program.output()) => Ok(program),
            Ok(_) => Err(wanted.to_owned()),
            Err(error) => Err(format!("{lead}: {error}")),
        },
    };
    let raw = |key: &str| rule.get(key).and_then(Value::as_str).unwrap_or("");
    let is_bool: fn(&CelType) -> bool = |ty| matches!(ty, CelType::Bool);
    let program = compiled(raw("rule"), "compilation failed", is_bool, "cel expression must evaluate to a bool");
    let message_program = Some(raw("messageExpression")).filter(|text| !text.trim().is_empty()).map(|text| {
        let is_string: fn(&CelType) -> bool = |ty| matches!(ty, CelType::String);
        compiled(text, "messageExpression compilation failed", is_string, "messageExpression must evaluate to a string")
    });
    let reason = match text("reason") {
        "FieldValueForbidden" => Some(Reason::Forbidden),
        "FieldValueRequired" => Some(Reason::Required),
        "FieldValueDuplicate" => Some(Reason::Duplicate),
        _ => None,
    };
    Rule {
        uses_old: program.as_ref().is_ok_and(|program| program.uses("oldSelf")),
        text: text("rule").to_owned(),
        program,
        message: Some(text("message").to_owned()).filter(|text| !text.is_empty()),
        message_program,
        reason,
        field_path: normal_path(text("fieldPath")),
        optional_old,
    }
}

/// What a rule may name.
struct Values {
    this: Cel,
    old: Option<Cel>,
}

impl Scope for Values {
    fn variable(&self, name: &str, _spent: &mut Spent) -> Option<Result<Cel, Failure>> {
        match name {
            "self" => Some(Ok(self.this.clone())),
            "oldSelf" => self.old.clone().map(Ok),
            _ => None,
        }
    }
}

/// `.spec['a.b'].c` as it stands in an error: `spec.a.b.c`.
fn normal_path(path: &str) -> String {
    let mut out = path.replace("['", ".").replace("']", "");
    if let Some(stripped) = out.strip_prefix('.') {
        out = stripped.to_owned();
    }
    out
}

/// Runs the rules of a schema over an object. Nothing runs while the object has errors that would mislead the rules.
pub(super) fn check(value: &Value, old: Option<&Value>, node: &Node, so_far: &[FieldError]) -> Vec<FieldError> {
    if !node.ruled {
        return Vec::new();
    }
    let blocking = [Reason::NotSupported, Reason::Required, Reason::TooLong, Reason::TooMany, Reason::TypeInvalid];
    if so_far.iter().any(|error| blocking.contains(&error.reason)) {
        let text =
            "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
        return vec![field::invalid("", &Value::Null, text)];
    }
    let mut run = Run { errors: Vec::new(), spent: 0, stopped: false };
    run.node("", value, old, node, Ratchet::At(old), 0);
    run.errors
}

/// The old value that an unchanged value is compared with: that of the same place or, where a list tells nothing, that
/// of the nearest place above.
#[derive(Clone, Copy)]
enum Ratchet<'v> {
    At(Option<&'v Value>),
    Below { unchanged: bool },
}

impl Ratchet<'_> {
    fn unchanged(self, value: &Value) -> bool {
        match self {
            Self::At(old) => old.is_some_and(|old| equal(old, value)),
            Self::Below { unchanged } => unchanged,
        }
    }
}

struct Run {
    errors: Vec<FieldError>,
    /// What all rules so far have cost.
    spent: u64,
    stopped: bool,
}

impl Run {
    fn node(&mut self, path: &str, value: &Value, old: Option<&Value>, node: &Node, ratchet: Ratchet<'_>, depth: usize) {
        if value.is_null() || depth > DEPTH_MAX || self.stopped || !node.ruled {
            return;
        }
        if !node.rules.is_empty() {
            self.rules(path, value, old.filter(|old| !old.is_null()), node, ratchet);
        }
        match value {
            Value::Object(map) => {
                let unchanged = ratchet.unchanged(value);
                for (key, child) in map {
                    let Some(below) = node.child(key) else { continue };
                    let old = old.and_then(|old| old.get(key));
                    let ratchet = match ratchet {
                        Ratchet::At(_) => Ratchet::At(old),
                        Ratchet::Below { .. } => Ratchet::Below { unchanged },
                    };
                    let path = if node.property(key).is_some() { field::child(path, key) } else { field::key(path, key) };
                    self.node(&path, child, old, below, ratchet, depth + 1);
                }
            }
            Value::Array(items) => {
                let Some(below) = &node.items else { return };
                let unchanged = ratchet.unchanged(value);
                for (index, item) in items.iter().enumerate() {
                    let old = correlated(node, old, item);
                    let ratchet = if old.is_some() { Ratchet::At(old) } else { Ratchet::Below { unchanged } };
                    self.node(&field::index(path, index), item, old, below, ratchet, depth + 1);
                }
            }
            _ => {}
        }
    }

    fn rules(&mut self, path: &str, value: &Value, old: Option<&Value>, node: &Node, ratchet: Ratchet<'_>) {
        let this = to_cel(value, node, 0);
        let before = old.map(|old| to_cel(old, node, 0));
        let ty = Value::from(node.ty.map(Type::as_str).unwrap_or(""));
        for rule in &node.rules {
            let program = match &rule.program {
                Ok(program) => program,
                Err(error) => {
                    self.errors.push(field::invalid(path, &ty, &format!("rule compile error: {error}")));
                    continue;
                }
            };
            if rule.uses_old && before.is_none() && !rule.optional_old {
                continue;
            }
            let old = if rule.optional_old { Some(cel::wrapped(before.clone())) } else { before.clone() };
            let values = Values { this: this.clone(), old };
            let outcome = program.run(&values, &mut self.spent);
            let error = match outcome {
                Ok(Cel::Bool(true)) => None,
                Ok(_) => Some(failed(rule, path, value, node, self.message_of(rule, &values))),
                Err(Failure::CallCost) => {
                    let why = format!(
                        "'{}': no further validation rules will be run due to call cost exceeds limit for rule: {}",
                        Failure::CallCost,
                        name_of(rule)
                    );
                    self.errors.push(field::invalid(path, &ty, &why));
                    self.stopped = true;
                    return;
                }
                Err(Failure::Error(why)) if why.starts_with("no such overload") => {
                    let lead = format!("'{why}': call arguments did not match a supported operator, function or macro signature");
                    Some(field::invalid(path, &ty, &format!("{lead} for rule: {}", name_of(rule))))
                }
                Err(Failure::Error(why)) => Some(field::invalid(path, &ty, &format!("{why} evaluating rule: {}", name_of(rule)))),
            };
            // What has not changed is not held against the object.
            if let Some(error) = error
                && (rule.uses_old || !ratchet.unchanged(value))
            {
                self.errors.push(error);
            }
            if self.spent > TOTAL_COST_MAX {
                let text = "validation failed due to running out of cost budget, no further validation rules will be run";
                self.errors.push(field::invalid(path, &ty, text));
                self.stopped = true;
                return;
            }
        }
    }

    fn message_of(&mut self, rule: &Rule, values: &Values) -> String {
        let program = rule.message_program.as_ref().and_then(|program| program.as_ref().ok());
        let made = program.and_then(|program| match program.run(values, &mut self.spent) {
            Ok(Cel::String(text)) => Some(text.trim().to_owned()),
            _ => None,
        });
        made.filter(|text| !text.is_empty() && text.len() <= MESSAGE_BYTES_MAX && !text.contains('\n'))
            .or_else(|| rule.message.clone())
            .unwrap_or_else(|| format!("failed rule: {}", rule.text.trim()))
    }
}

/// How an error names a rule: its message, or its first line.
fn name_of(rule: &Rule) -> String {
    match &rule.message {
        Some(message) => message.clone(),
        None => rule.text.clone(),
    }
}

fn failed(rule: &Rule, path: &str, value: &Value, node: &Node, message: String) -> FieldError {
    let path = if rule.field_path.is_empty() { path.to_owned() } else { field::child(path, &rule.field_path) };
    match rule.reason {
        Some(Reason::Forbidden) => field::forbidden(&path, &message),
        Some(Reason::Required) => field::required(&path, &message),
        Some(Reason::Duplicate) => field::duplicate(&path, value),
        _ if matches!(node.ty, Some(Type::Object | Type::Array)) => field::invalid_omitted(&path, &message),
        _ => field::invalid(&path, value, &message),
    }
}

// ---- values ----

/// The value as CEL sees it: numbers and formats by their schema, names of properties escaped.
fn to_cel(value: &Value, node: &Node, depth: usize) -> Cel {
    if depth > DEPTH_MAX {
        return Cel::Null;
    }
    match value {
        Value::Object(map) => {
            let mut out = HashMap::with_capacity(map.len());
            let is_map = matches!(node.additional, Additional::Node(_) | Additional::Any);
            for (key, child) in map {
                let (key, child) = match node.child(key) {
                    Some(below) if node.property(key).is_some() => match escape(key) {
                        Some(escaped) => (escaped, to_cel(child, below, depth + 1)),
                        None => continue,
                    },
                    Some(below) => (key.clone(), to_cel(child, below, depth + 1)),
                    None if node.embedded || is_map || (depth == 0 && is_type_or_meta(key)) => (key.clone(), plain(child)),
                    // Fields that the schema does not declare cannot be seen by rules.
                    None => continue,
                };
                out.insert(Key::String(Arc::new(key)), child);
            }
            Cel::Map(CelMap { map: Arc::new(out) })
        }
        Value::Array(items) => {
            let below = |item: &Value| match &node.items {
                Some(below) => to_cel(item, below, depth + 1),
                None => plain(item),
            };
            Cel::List(Arc::new(items.iter().map(below).collect()))
        }
        Value::Number(number) if node.ty == Some(Type::Number) => Cel::Float(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) if !node.int_or_string => formatted(text, &node.checks.format),
        other => plain(other),
    }
}

fn is_type_or_meta(key: &str) -> bool {
    matches!(key, "apiVersion" | "kind" | "metadata")
}

fn formatted(text: &str, format: &str) -> Cel {
    let made = match format {
        "date-time" | "datetime" => cel::converted("timestamp", text),
        "date" => cel::converted("timestamp", &format!("{text}T00:00:00Z")),
        "duration" => cel::converted("duration", text),
        "byte" => cel::converted("base64.decode", text),
        _ => None,
    };
    made.unwrap_or_else(|| cel::string(text))
}
