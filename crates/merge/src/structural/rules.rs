//! `x-kubernetes-validations`: rules in CEL, evaluated with the function libraries of Kubernetes.
//!
//! Only evaluation comes from kube-cel; which rules run on which values, with which old value, and what is said when one
//! fails follows apiextensions-apiserver.

use std::collections::HashMap;
use std::sync::Arc;

use kube_cel::KubeCelExt;
use kube_cel::cel::objects::{Key, Map as CelMap, OptionalValue};
use kube_cel::cel::{Context, ExecutionError, Program, Value as Cel};
use serde_json::{Map, Value};

use super::{Additional, Node, Type, correlated};
use crate::field::{self, FieldError, Reason};
use crate::gofmt;
use crate::managed::equal;

/// Values nest no deeper than this.
const DEPTH_MAX: usize = 120;

/// A message made by an expression is no longer than this.
const MESSAGE_BYTES_MAX: usize = 5 * 1024;

/// Rules evaluated for one object. It stands for the cost budget: what a rule may cost is bounded by the size of the
/// object that it sees.
const EVALUATIONS_MAX: usize = 100_000;

/// One rule, compiled.
pub struct Rule {
    text: String,
    program: Result<Program, String>,
    message: Option<String>,
    message_program: Option<Program>,
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

    pub fn text(&self) -> &str {
        &self.text
    }
}

pub(super) fn compile(rules: Option<&Value>) -> Vec<Rule> {
    rules.and_then(Value::as_array).into_iter().flatten().map(compile_one).collect()
}

fn compile_one(rule: &Value) -> Rule {
    let text = |key: &str| rule.get(key).and_then(Value::as_str).unwrap_or("").trim();
    let program = Program::compile(text("rule")).map_err(|error| error.to_string());
    let message_program = Some(text("messageExpression")).filter(|text| !text.is_empty()).and_then(|text| Program::compile(text).ok());
    let reason = match text("reason") {
        "FieldValueForbidden" => Some(Reason::Forbidden),
        "FieldValueRequired" => Some(Reason::Required),
        "FieldValueDuplicate" => Some(Reason::Duplicate),
        _ => None,
    };
    Rule {
        uses_old: program.as_ref().is_ok_and(|program| program.references().has_variable("oldSelf")),
        text: text("rule").to_owned(),
        program,
        message: Some(text("message").to_owned()).filter(|text| !text.is_empty()),
        message_program,
        reason,
        field_path: normal_path(text("fieldPath")),
        optional_old: rule.get("optionalOldSelf").and_then(Value::as_bool).unwrap_or(false),
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
    if !node.has_rules() {
        return Vec::new();
    }
    let blocking = [Reason::NotSupported, Reason::Required, Reason::TooLong, Reason::TooMany, Reason::TypeInvalid];
    if so_far.iter().any(|error| blocking.contains(&error.reason)) {
        let text =
            "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
        return vec![field::invalid("", &Value::Null, text)];
    }
    let mut run = Run { errors: Vec::new(), evaluations: 0, context: Context::default().with_all() };
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

struct Run<'c> {
    errors: Vec<FieldError>,
    evaluations: usize,
    context: Context<'c>,
}

impl Run<'_> {
    fn node(&mut self, path: &str, value: &Value, old: Option<&Value>, node: &Node, ratchet: Ratchet<'_>, depth: usize) {
        if value.is_null() || depth > DEPTH_MAX || self.evaluations > EVALUATIONS_MAX {
            return;
        }
        if !node.rules.is_empty() {
            self.rules(path, value, old.filter(|old| !old.is_null()), node, ratchet);
        }
        for branch in &node.checks.all_of {
            self.node(path, value, old, branch, ratchet, depth + 1);
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
            self.evaluations += 1;
            if self.evaluations > EVALUATIONS_MAX {
                let text = "validation failed due to running out of cost budget, no further validation rules will be run";
                self.errors.push(field::invalid(path, &ty, text));
                return;
            }
            let mut scope = self.context.new_inner_scope();
            scope.add_variable_from_value("self", this.clone());
            match (&before, rule.optional_old) {
                (Some(before), false) => scope.add_variable_from_value("oldSelf", before.clone()),
                (Some(before), true) => scope.add_variable_from_value("oldSelf", Cel::Opaque(Arc::new(OptionalValue::of(before.clone())))),
                (None, _) => scope.add_variable_from_value("oldSelf", Cel::Opaque(Arc::new(OptionalValue::none()))),
            }
            let error = match program.execute(&scope) {
                Ok(Cel::Bool(true)) => continue,
                Ok(_) => failed(rule, path, value, node, message_of(rule, &scope)),
                Err(error) => field::invalid(path, &ty, &evaluation_text(&error, rule)),
            };
            // What has not changed is not held against the object.
            if rule.uses_old || !ratchet.unchanged(value) {
                self.errors.push(error);
            }
        }
    }
}

fn evaluation_text(error: &ExecutionError, rule: &Rule) -> String {
    match error {
        ExecutionError::NoSuchKey(key) => format!("no such key: {key} evaluating rule: {}", name_of(rule)),
        other => format!("{other} evaluating rule: {}", name_of(rule)),
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

fn message_of(rule: &Rule, scope: &Context<'_>) -> String {
    let made = rule.message_program.as_ref().and_then(|program| match program.execute(scope) {
        Ok(Cel::String(text)) => Some(text.trim().to_owned()),
        _ => None,
    });
    made.filter(|text| !text.is_empty() && text.len() <= MESSAGE_BYTES_MAX && !text.contains('\n'))
        .or_else(|| rule.message.clone())
        .unwrap_or_else(|| format!("failed rule: {}", rule.text.trim()))
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
                    None if node.embedded || is_map || (depth == 0 && is_type_or_meta(key)) => (key.clone(), plain(child, depth + 1)),
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
                None => plain(item, depth + 1),
            };
            Cel::List(Arc::new(items.iter().map(below).collect()))
        }
        Value::Number(number) if node.ty == Some(Type::Number) => Cel::Float(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) if !node.int_or_string => formatted(text, &node.checks.format),
        other => plain(other, depth),
    }
}

fn is_type_or_meta(key: &str) -> bool {
    matches!(key, "apiVersion" | "kind" | "metadata")
}

fn formatted(text: &str, format: &str) -> Cel {
    let plain = || Cel::String(Arc::new(text.to_owned()));
    let call = |function: &str| {
        let program = Program::compile(&format!("{function}({})", gofmt::quote(text))).ok()?;
        program.execute(&Context::default()).ok()
    };
    match format {
        "date-time" | "datetime" => call("timestamp").unwrap_or_else(plain),
        "date" => Program::compile(&format!("timestamp({})", gofmt::quote(&format!("{text}T00:00:00Z"))))
            .ok()
            .and_then(|program| program.execute(&Context::default()).ok())
            .unwrap_or_else(plain),
        "duration" => call("duration").unwrap_or_else(plain),
        "byte" => Program::compile(&format!("base64.decode({})", gofmt::quote(text)))
            .ok()
            .and_then(|program| program.execute(&Context::default().with_all()).ok())
            .unwrap_or_else(plain),
        _ => plain(),
    }
}

/// A value of which the schema says nothing.
fn plain(value: &Value, depth: usize) -> Cel {
    if depth > DEPTH_MAX {
        return Cel::Null;
    }
    match value {
        Value::Null => Cel::Null,
        Value::Bool(bool) => Cel::Bool(*bool),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(int), _) => Cel::Int(int),
            (None, float) => Cel::Float(float.unwrap_or(f64::NAN)),
        },
        Value::String(text) => Cel::String(Arc::new(text.clone())),
        Value::Array(items) => Cel::List(Arc::new(items.iter().map(|item| plain(item, depth + 1)).collect())),
        Value::Object(map) => Cel::Map(CelMap { map: Arc::new(plain_map(map, depth)) }),
    }
}

fn plain_map(map: &Map<String, Value>, depth: usize) -> HashMap<Key, Cel> {
    map.iter().map(|(key, value)| (Key::String(Arc::new(key.clone())), plain(value, depth + 1))).collect()
}

/// A property name as an identifier of CEL; none for names that cannot be one.
fn escape(name: &str) -> Option<String> {
    const RESERVED: [&str; 21] = [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ];
    if RESERVED.contains(&name) {
        return Some(format!("__{name}__"));
    }
    if name.starts_with(|char: char| char.is_ascii_digit())
        || !name.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '_' | '.' | '-' | '/' | '$'))
    {
        return None;
    }
    Some(name.replace("__", "__underscores__").replace('.', "__dot__").replace('-', "__dash__").replace('/', "__slash__"))
}
