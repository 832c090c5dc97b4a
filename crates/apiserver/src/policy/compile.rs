//! From a stored policy to one that can be run.

use super::authorizer;
use crate::api::text;
use crate::protocol::status::Cause;
use crate::registry::Resource;
use merge::cel::{Declared, Environment, Program, Type};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// All policies that are bound, in the order of their names.
#[derive(Default)]
pub struct All {
    pub validating: Vec<Arc<Policy>>,
    pub mutating: Vec<Arc<Policy>>,
}

pub struct Policy {
    pub name: String,
    pub spec: Value,
    pub bindings: Vec<Binding>,
    pub fails_open: bool,
    pub variables: Vec<(String, Result<Program, String>)>,
    /// With their texts.
    pub conditions: Vec<(String, Result<Program, String>)>,
    pub validations: Vec<Validation>,
    pub mutations: Vec<Mutation>,
}

pub struct Binding {
    pub name: String,
    pub spec: Value,
}

pub struct Validation {
    pub expression: String,
    pub program: Result<Program, String>,
    pub message: String,
    pub message_program: Option<Program>,
    pub reason: String,
}

pub struct Mutation {
    /// A JSON patch, or an apply configuration.
    pub json_patch: bool,
    pub program: Result<Program, String>,
}

fn list<'v>(value: &'v Value, pointer: &str) -> impl Iterator<Item = (usize, &'v Value)> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten().enumerate()
}

/// What the expressions of a policy may name. The objects are of a kind, or of any.
pub struct Names<'a> {
    pub params: bool,
    pub mutations: bool,
    pub object: Option<&'a Arc<Declared>>,
    pub param: Option<&'a Arc<Declared>>,
}

impl Names<'_> {
    pub fn environment(&self) -> Environment {
        let any = Declared::dynamic();
        let object = self.object.unwrap_or(&any);
        let opaque = |name: &'static str| Declared::scalar(Type::Opaque(name), 0, 0);
        let namespace = object::GroupVersionKind::new("", "v1", "Namespace");
        let namespace = merge::builtin::type_of(&namespace).map_or_else(Declared::dynamic, |ty| merge::cel::declared_of(&ty));
        let mut out = Environment::default()
            .with("object", Arc::clone(object))
            .with("oldObject", Arc::clone(object))
            .with("request", request_type())
            .with("namespaceObject", namespace)
            .with("authorizer", opaque(authorizer::AUTHORIZER))
            .with("authorizer.requestResource", opaque(authorizer::RESOURCE_CHECK));
        if self.params {
            out = out.with("params", Arc::clone(self.param.unwrap_or(&any)));
        }
        if self.mutations { out.with_mutations() } else { out }
    }
}

fn request_type() -> Arc<Declared> {
    let string = Declared::string;
    let object = |name: &str, fields: Vec<(&str, Arc<Declared>)>| {
        let fields: BTreeMap<String, Arc<Declared>> = fields.into_iter().map(|(name, ty)| (name.to_owned(), ty)).collect();
        Declared::object(name, fields, 2)
    };
    let kind = || object("kubernetes.GroupVersionKind", vec![("group", string()), ("version", string()), ("kind", string())]);
    let resource = || object("kubernetes.GroupVersionResource", vec![("group", string()), ("version", string()), ("resource", string())]);
    let strings = || Declared::list(string(), u64::MAX);
    let user = object(
        "kubernetes.UserInfo",
        vec![("username", string()), ("uid", string()), ("groups", strings()), ("extra", Declared::map(strings(), u64::MAX))],
    );
    object(
        "kubernetes.AdmissionRequest",
        vec![
            ("kind", kind()),
            ("resource", resource()),
            ("subResource", string()),
            ("requestKind", kind()),
            ("requestResource", resource()),
            ("requestSubResource", string()),
            ("name", string()),
            ("namespace", string()),
            ("operation", string()),
            ("userInfo", user),
            ("dryRun", Declared::scalar(Type::Bool, 0, 4)),
            ("options", Declared::dynamic()),
        ],
    )
}

/// Compiles the variables of a policy one after the other: each sees those before it.
pub fn with_variables(spec: &Value, mut environment: Environment) -> (Environment, Vec<(String, Result<Program, String>)>) {
    let (mut fields, mut programs) = (BTreeMap::new(), Vec::new());
    for (_, variable) in list(spec, "/variables") {
        let name = text(variable, "/name").to_owned();
        let program = Program::compile(text(variable, "/expression"), &environment);
        let ty = program.as_ref().map_or(Type::Dyn, |program| program.output().clone());
        fields.insert(name.clone(), Declared::scalar(ty, u64::MAX, 0));
        environment = environment.with("variables", Declared::object("kubernetes.variables", fields.clone(), 2));
        programs.push((name, program));
    }
    (environment, programs)
}

fn wants(program: Result<Program, String>, fits: fn(&Type) -> bool, wanted: &str) -> Result<Program, String> {
    match program {
        Ok(program) if fits(program.output()) || program.output().is_open() => Ok(program),
        Ok(program) => Err(format!("{wanted} but got {}", program.output())),
        Err(error) => Err(format!("compilation failed: {error}")),
    }
}

fn boolean(text: &str, environment: &Environment) -> Result<Program, String> {
    wants(Program::compile(text, environment), |ty| matches!(ty, Type::Bool), "must evaluate to bool")
}

fn mutation(value: &Value, environment: &Environment) -> Mutation {
    let json_patch = text(value, "/patchType") == "JSONPatch";
    let program = if json_patch {
        let program = Program::compile(text(value, "/jsonPatch/expression"), environment);
        wants(program, |ty| matches!(ty, Type::List(_)), "must evaluate to list(JSONPatch)")
    } else {
        let program = Program::compile(text(value, "/applyConfiguration/expression"), environment);
        wants(program, |ty| matches!(ty, Type::Object(object) if object.name == "Object"), "must evaluate to Object")
    };
    Mutation { json_patch, program }
}

/// The policies that have a binding, with their bindings.
pub fn pairs(policies: &[Value], bindings: &[Value], mutating: bool) -> Vec<Arc<Policy>> {
    policies
        .iter()
        .filter_map(|policy| {
            let name = text(policy, "/metadata/name");
            let bindings: Vec<Binding> = bindings
                .iter()
                .filter(|binding| text(binding, "/spec/policyName") == name)
                .map(|binding| Binding { name: text(binding, "/metadata/name").to_owned(), spec: binding["spec"].clone() })
                .collect();
            (!bindings.is_empty()).then(|| Arc::new(compile(name, &policy["spec"], bindings, mutating)))
        })
        .collect()
}

fn compile(name: &str, spec: &Value, bindings: Vec<Binding>, mutating: bool) -> Policy {
    let names = Names { params: spec.get("paramKind").is_some_and(Value::is_object), mutations: mutating, object: None, param: None };
    let plain = names.environment();
    let conditions = list(spec, "/matchConditions")
        .map(|(_, condition)| (text(condition, "/expression").to_owned(), boolean(text(condition, "/expression"), &plain)))
        .collect();
    let (environment, variables) = with_variables(spec, plain);
    let validations = list(spec, "/validations").map(|(_, validation)| Validation {
        expression: text(validation, "/expression").to_owned(),
        program: boolean(text(validation, "/expression"), &environment),
        message: text(validation, "/message").to_owned(),
        message_program: Some(text(validation, "/messageExpression"))
            .filter(|text| !text.is_empty())
            .and_then(|text| Program::compile(text, &environment).ok()),
        reason: text(validation, "/reason").to_owned(),
    });
    Policy {
        name: name.to_owned(),
        bindings,
        fails_open: text(spec, "/failurePolicy") == "Ignore",
        variables,
        conditions,
        validations: validations.collect(),
        mutations: list(spec, "/mutations").map(|(_, value)| mutation(value, &environment)).collect(),
        spec: spec.clone(),
    }
}

/// What is wrong with the expressions of a policy that is to be stored.
pub fn problems(resource: &Resource, policy: &Value) -> Vec<Cause> {
    let mut out = Vec::new();
    if !super::is_policy(resource) || resource.name.ends_with("bindings") {
        return out;
    }
    let spec = &policy["spec"];
    let mutating = resource.name.starts_with("mutating");
    let names = Names { params: spec.get("paramKind").is_some_and(Value::is_object), mutations: mutating, object: None, param: None };
    let plain = names.environment();
    let empty = |key: &str| spec.get(key).and_then(Value::as_array).is_none_or(Vec::is_empty);
    if !mutating && empty("validations") && empty("auditAnnotations") {
        let why = "validations or auditAnnotations must contain at least one item";
        out.push(Cause::required("spec.validations", why));
        out.push(Cause::required("spec.auditAnnotations", why));
        return out;
    }
    let mut tell = |field: String, given: &str, problem: Result<Program, String>| {
        if let Err(why) = problem {
            out.push(Cause::invalid(field, &Value::from(given), &why));
        }
    };
    for (at, condition) in list(spec, "/matchConditions") {
        let expression = text(condition, "/expression");
        tell(format!("spec.matchConditions[{at}].expression"), expression, boolean(expression, &plain));
    }
    let (environment, variables) = with_variables(spec, plain);
    for ((at, variable), (_, program)) in list(spec, "/variables").zip(variables) {
        let program = program.map_err(|error| format!("compilation failed: {error}"));
        tell(format!("spec.variables[{at}].expression"), text(variable, "/expression"), program);
    }
    for (at, validation) in list(spec, "/validations") {
        let expression = text(validation, "/expression");
        tell(format!("spec.validations[{at}].expression"), expression, boolean(expression, &environment));
        let expression = text(validation, "/messageExpression");
        if !expression.is_empty() {
            let program = wants(Program::compile(expression, &environment), |ty| matches!(ty, Type::String), "must evaluate to string");
            tell(format!("spec.validations[{at}].messageExpression"), expression, program);
        }
    }
    for (at, annotation) in list(spec, "/auditAnnotations") {
        let expression = text(annotation, "/valueExpression");
        let fits: fn(&Type) -> bool = |ty| matches!(ty, Type::String | Type::Null);
        let program = wants(Program::compile(expression, &environment), fits, "must evaluate to one of [string null_type]");
        tell(format!("spec.auditAnnotations[{at}].valueExpression"), expression, program);
    }
    for (at, value) in list(spec, "/mutations") {
        let Mutation { json_patch, program } = mutation(value, &environment);
        let of = if json_patch { "jsonPatch" } else { "applyConfiguration" };
        tell(format!("spec.mutations[{at}].{of}.expression"), text(value, &format!("/{of}/expression")), program);
    }
    out
}
