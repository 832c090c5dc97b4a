use crate::{Error, Health, optional, typing};
use kube_cel::{
    KubeCelExt,
    cel::{self, Context, IdedExpr, objects::Key, parser::Parser},
};
use object::{GroupVersionKind, Object};
use serde_json::Value;
use std::{collections::HashMap, sync::Arc};

const EXPRESSION_CHARACTERS_MAX: usize = 8 << 10;
const SIGNS_MAX: usize = 400;
const SIGNS_ON_OWN_STACK: usize = 16;
const LARGE_STACK_BYTES: usize = 256 << 20;
const LOOP_DEPTH_MAX: usize = 3;

/// A CEL expression that says yes or no.
#[derive(Debug)]
pub struct Expression {
    source: String,
    parsed: IdedExpr,
    signs: usize,
}

impl Expression {
    /// Parses, without checking types.
    pub fn parse(source: &str) -> Result<Self, Error> {
        if source.len() > EXPRESSION_CHARACTERS_MAX {
            return Err(Error::TooLong(EXPRESSION_CHARACTERS_MAX));
        }
        // Parser and interpreter call themselves for each level.
        let signs = depth_bound(source);
        if signs > SIGNS_MAX {
            return Err(Error::TooComplex(SIGNS_MAX));
        }
        let failed = |message: String| Error::Parse { expression: source.to_owned(), message };
        let parse = || Parser::new().enable_optional_syntax(true).parse(source).map_err(|errors| parse_message(&errors));
        let mut parsed = with_stack_for(signs, parse).and_then(|parsed| parsed).map_err(failed)?;
        if typing::loop_depth(&parsed) > LOOP_DEPTH_MAX {
            return Err(Error::TooDeep(LOOP_DEPTH_MAX));
        }
        optional::rewrite(&mut parsed);
        Ok(Self { source: source.to_owned(), parsed, signs })
    }

    /// Parses and refuses what is surely no boolean.
    pub fn compile(source: &str) -> Result<Self, Error> {
        let expression = Self::parse(source)?;
        match typing::type_of(&expression.parsed, &[]) {
            "bool" => Ok(expression),
            other => Err(Error::NotBool(other.to_owned())),
        }
    }

    pub fn evaluate<'a>(&self, variables: impl IntoIterator<Item = (&'a str, &'a Value)>) -> Result<bool, Error> {
        let variables: Vec<_> = variables.into_iter().collect();
        let failed = |message: String| Error::Evaluate { expression: self.source.clone(), message };
        let run = || {
            let mut context = Context::default();
            context.register_all();
            context.add_function(optional::FIELD, optional::field);
            for (name, value) in &variables {
                context.add_variable_from_value(*name, to_cel(value));
            }
            match cel::Value::resolve(&self.parsed, &context) {
                Ok(cel::Value::Bool(answer)) => Ok(answer),
                Ok(_) => Err(Error::NoBoolean(self.source.clone())),
                Err(error) => Err(failed(evaluation_message(&error))),
            }
        };
        with_stack_for(self.signs, run).map_err(failed)?
    }
}

/// Runs what calls itself once for each sign of an expression: a worker's stack holds only so many of those calls,
/// since the generated parser takes some twenty for each bracket.
fn with_stack_for<T: Send>(signs: usize, work: impl FnOnce() -> T + Send) -> Result<T, String> {
    if signs <= SIGNS_ON_OWN_STACK {
        return Ok(work());
    }
    std::thread::scope(|scope| {
        let thread =
            std::thread::Builder::new().stack_size(LARGE_STACK_BYTES).spawn_scoped(scope, work).map_err(|error| error.to_string())?;
        thread.join().map_err(|_| "the evaluation gave up".to_owned())
    })
}

/// How deep the tree of an expression can be at most: one level for each sign outside of quotes.
fn depth_bound(source: &str) -> usize {
    let mut signs = 0;
    let mut quote = None;
    let mut characters = source.chars();
    while let Some(c) = characters.next() {
        match (quote, c) {
            (Some(_), '\\') => {
                characters.next();
            }
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, ')' | ']' | '}' | ',' | '_' | ' ') => {}
            (None, c) if c.is_alphanumeric() => {}
            (None, _) => signs += 1,
        }
    }
    signs
}

/// cel-go's form: one line per error, its text and a pointer under the column.
fn parse_message(errors: &cel::ParseErrors) -> String {
    errors.to_string().replace("\n| ", "\n | ")
}

/// The values that an error saw are left out: they may be secret.
fn evaluation_message(error: &cel::ExecutionError) -> String {
    use cel::ExecutionError as Failed;
    match error {
        Failed::NoSuchKey(key) => format!("no such key: {key}"),
        Failed::UndeclaredReference(name) => format!("no such attribute(s): {name}"),
        Failed::NoSuchOverload => "no such overload".to_owned(),
        Failed::FunctionError { function, message } => format!("error executing function '{function}': {message}"),
        Failed::IndexOutOfBounds(_) => "index out of bounds".to_owned(),
        Failed::DivisionByZero(_) => "division by zero".to_owned(),
        Failed::RemainderByZero(_) => "modulus by zero".to_owned(),
        Failed::InvalidArgumentCount { .. } => "invalid argument count".to_owned(),
        _ => "no such overload".to_owned(),
    }
}

/// Whole numbers become signed integers, as Kubernetes reads them.
fn to_cel(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(answer) => cel::Value::Bool(*answer),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => cel::Value::Int(whole),
            None => cel::Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => cel::Value::String(Arc::new(text.clone())),
        Value::Array(list) => cel::Value::List(Arc::new(list.iter().map(to_cel).collect())),
        Value::Object(map) => {
            let entries: HashMap<Key, cel::Value> =
                map.iter().map(|(key, value)| (Key::String(Arc::new(key.clone())), to_cel(value))).collect();
            cel::Value::Map(cel::objects::Map { map: Arc::new(entries) })
        }
    }
}

/// `spec.healthCheckExprs[]` as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HealthExpression {
    pub api_version: String,
    /// Empty for every kind of the group.
    pub kind: String,
    pub current: String,
    pub in_progress: Option<String>,
    pub failed: Option<String>,
}

/// The parsed rules for one kind.
#[derive(Debug)]
pub struct Evaluator {
    group: String,
    kind: String,
    current: Expression,
    in_progress: Option<Expression>,
    failed: Option<Expression>,
}

/// The rules of one Kustomization, at most one per group and kind.
#[derive(Debug, Default)]
pub struct Expressions(Vec<Evaluator>);

impl Expressions {
    pub fn parse(list: &[HealthExpression]) -> Result<Self, Error> {
        let mut parsed: Vec<Evaluator> = Vec::with_capacity(list.len());
        for (index, one) in list.iter().enumerate() {
            let group = GroupVersionKind::from_api_version(&one.api_version, &one.kind).group;
            if parsed.iter().any(|other| other.group == group && other.kind == one.kind) {
                let group_kind = if group.is_empty() { one.kind.clone() } else { format!("{}.{group}", one.kind) };
                return Err(Error::Duplicate { group_kind, index });
            }
            let read =
                |field, source: &str| Expression::parse(source).map_err(|error| Error::Invalid { index, field, source: Box::new(error) });
            let optional = |field, source: &Option<String>| match source.as_deref() {
                None | Some("") => Ok(None),
                Some(source) => read(field, source).map(Some),
            };
            parsed.push(Evaluator {
                kind: one.kind.clone(),
                in_progress: optional("InProgress", &one.in_progress)?,
                failed: optional("Failed", &one.failed)?,
                current: read("Current", &one.current)?,
                group,
            });
        }
        Ok(Self(parsed))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rules for a kind; rules for the whole group yield to those that name it.
    pub fn of(&self, gvk: &GroupVersionKind) -> Option<&Evaluator> {
        let find = |kind: &str| self.0.iter().find(|one| one.group == gvk.group && one.kind == kind);
        find(&gvk.kind).or_else(|| find(""))
    }
}

impl Evaluator {
    /// In progress, failed, current are asked in this order; an error makes the answer unknown, not failed.
    pub fn assess(&self, object: &Object) -> Health {
        let observed = object.field(&["status", "observedGeneration"]).and_then(Value::as_i64);
        let generation = object.field(&["metadata", "generation"]).and_then(Value::as_i64);
        if let (Some(observed), Some(generation)) = (observed, generation)
            && observed != generation
        {
            return Health::in_progress("observed generation is behind");
        }
        let rules = [
            (self.in_progress.as_ref(), crate::Status::InProgress),
            (self.failed.as_ref(), crate::Status::Failed),
            (Some(&self.current), crate::Status::Current),
        ];
        for (expression, status) in rules {
            let Some(expression) = expression else { continue };
            match expression.evaluate(object.as_map().iter().map(|(name, value)| (name.as_str(), value))) {
                Ok(true) => return Health::new(status, format!("{status} by expression")),
                Ok(false) => {}
                Err(error) => return Health::new(crate::Status::Unknown, error.to_string()),
            }
        }
        Health::in_progress("no expression holds")
    }
}
