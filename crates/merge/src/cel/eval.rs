//! Running an expression.
//!
//! What the language itself does is done here, with cel-go's costs and its rules for errors in `&&`, `||` and folds; the
//! functions of the libraries come from kube-cel.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use kube_cel::KubeCelExt;
use kube_cel::cel::common::ast::{CallExpr, Expr as Given, IdedExpr};
use kube_cel::cel::objects::{Key, Map as CelMap, Opaque, OptionalValue};
use kube_cel::cel::{Context, ExecutionError, Value as Cel};

use super::ast::{ACCUMULATOR, Entry, Expr, Fold, Kind, Literal};
use super::cost::scale;
use super::library;

/// One call of a rule costs no more than this, in Kubernetes' units.
pub const CALL_COST_MAX: u64 = 1_000_000;

/// All rules of one object, or of one policy, together cost no more.
pub const TOTAL_COST_MAX: u64 = 10_000_000;

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("{0}")]
    Error(String),
    /// In cel-go's words.
    #[error("operation cancelled: actual cost limit exceeded")]
    CallCost,
}

impl Failure {
    fn overload() -> Self {
        Self::Error("no such overload".to_owned())
    }
}

/// Where an expression finds its variables.
pub trait Scope {
    fn variable(&self, name: &str, spent: &mut Spent) -> Option<Result<Cel, Failure>>;

    /// A field of a variable that is worked out only when it is asked for.
    fn lazy(&self, _variable: &str, _field: &str, _spent: &mut Spent) -> Option<Result<Cel, Failure>> {
        None
    }

    /// A function on a value that only the scope knows.
    fn method(&self, _name: &str, _target: &Cel, _args: &[Cel]) -> Option<Result<Cel, Failure>> {
        None
    }
}

/// What an evaluation has cost so far.
#[derive(Debug, Default, Clone, Copy)]
pub struct Spent {
    pub cost: u64,
}

impl Spent {
    fn add(&mut self, cost: u64) -> Result<(), Failure> {
        self.cost = self.cost.saturating_add(cost);
        if self.cost > CALL_COST_MAX { Err(Failure::CallCost) } else { Ok(()) }
    }
}

/// A type as a value.
#[derive(Debug, PartialEq, Eq)]
struct TypeValue(String);

impl Opaque for TypeValue {
    fn runtime_type_name(&self) -> &str {
        "type"
    }
}

static LIBRARY: LazyLock<Context<'static>> = LazyLock::new(|| Context::default().with_all());

/// Whether a function of the library can read a literal.
pub fn parsed(function: &str, text: &str) -> bool {
    library_call(function, false, &[string(text)]).is_ok()
}

/// What a function of the library makes of a text.
pub fn converted(function: &str, text: &str) -> Option<Cel> {
    library_call(function, false, &[string(text)]).ok()
}

pub fn string(text: &str) -> Cel {
    Cel::String(Arc::new(text.to_owned()))
}

pub fn map(entries: impl IntoIterator<Item = (String, Cel)>) -> Cel {
    let map: HashMap<Key, Cel> = entries.into_iter().map(|(key, value)| (Key::String(Arc::new(key)), value)).collect();
    Cel::Map(CelMap { map: Arc::new(map) })
}

pub fn run(expr: &Expr, scope: &dyn Scope, spent: &mut Spent) -> Result<Cel, Failure> {
    let mut run = Run { scope, locals: Vec::new(), spent };
    run.eval(expr)
}

struct Run<'r> {
    scope: &'r dyn Scope,
    /// An error is a value, too, until something needs more of it.
    locals: Vec<(String, Result<Cel, Failure>)>,
    spent: &'r mut Spent,
}

impl Run<'_> {
    fn eval(&mut self, expr: &Expr) -> Result<Cel, Failure> {
        match &expr.kind {
            Kind::Literal(literal) => Ok(value_of(literal)),
            Kind::Ident(name) => {
                self.spent.add(1)?;
                self.ident(name)
            }
            Kind::Select { operand, field, test } => self.select(expr, operand, field, *test),
            Kind::Call { function, target, args } => self.call(function, target.as_deref(), args),
            Kind::List(entries) => {
                self.spent.add(10)?;
                let mut out = Vec::with_capacity(entries.len());
                for entry in entries {
                    out.extend(self.entry(entry)?);
                }
                Ok(Cel::List(Arc::new(out)))
            }
            Kind::Map(entries) => {
                self.spent.add(30)?;
                let mut out = HashMap::with_capacity(entries.len());
                for (key, entry) in entries {
                    let key = key_of(self.eval(key)?)?;
                    if let Some(value) = self.entry(entry)? {
                        out.insert(key, value);
                    }
                }
                Ok(Cel::Map(CelMap { map: Arc::new(out) }))
            }
            Kind::Struct { fields, .. } => {
                self.spent.add(40)?;
                let mut out = Vec::with_capacity(fields.len());
                for (name, entry) in fields {
                    out.extend(self.entry(entry)?.map(|value| (name.clone(), value)));
                }
                Ok(map(out))
            }
            Kind::Fold(fold) => self.fold(fold),
        }
    }

    /// An entry of a literal; nothing when it is optional and absent.
    fn entry(&mut self, entry: &Entry) -> Result<Option<Cel>, Failure> {
        let value = self.eval(&entry.value)?;
        if !entry.optional {
            return Ok(Some(value));
        }
        match optional(&value) {
            Some(inner) => Ok(inner.cloned()),
            None => Err(Failure::overload()),
        }
    }

    fn ident(&mut self, name: &str) -> Result<Cel, Failure> {
        if let Some((_, value)) = self.locals.iter().rev().find(|(local, _)| local == name) {
            return value.clone();
        }
        if let Some(found) = self.scope.variable(name, self.spent) {
            return found;
        }
        match library::type_name(name) {
            Some(_) => Ok(Cel::Opaque(Arc::new(TypeValue(name.to_owned())))),
            None => Err(Failure::Error(format!("no such attribute(s): {name}"))),
        }
    }

    fn is_variable(&mut self, name: &str) -> bool {
        self.locals.iter().any(|(local, _)| local == name) || self.scope.variable(name, self.spent).is_some()
    }

    fn select(&mut self, expr: &Expr, operand: &Expr, field: &str, test: bool) -> Result<Cel, Failure> {
        if let Kind::Ident(name) = &operand.kind
            && !self.locals.iter().any(|(local, _)| local == name)
            && let Some(found) = self.scope.lazy(name, field, self.spent)
        {
            self.spent.add(2)?;
            return if test { found.map(|_| Cel::Bool(true)) } else { found };
        }
        if !test
            && let Some(name) = expr.qualified_name()
            && library::type_name(&name).is_some()
            && let Some(root) = expr.root_name()
            && !self.is_variable(root)
        {
            return Ok(Cel::Opaque(Arc::new(TypeValue(name))));
        }
        let of = self.eval(operand)?;
        if test {
            return Ok(Cel::Bool(match optional(&of) {
                Some(inner) => inner.is_some_and(|inner| member(inner, field).is_some()),
                None => {
                    if !matches!(of, Cel::Map(_)) {
                        return Err(Failure::overload());
                    }
                    member(&of, field).is_some()
                }
            }));
        }
        self.spent.add(1)?;
        if let Some(inner) = optional(&of) {
            return Ok(wrapped(inner.and_then(|inner| member(inner, field)).cloned()));
        }
        match &of {
            Cel::Map(_) => member(&of, field).cloned().ok_or_else(|| Failure::Error(format!("no such key: {field}"))),
            _ => Err(Failure::overload()),
        }
    }

    fn truth(&mut self, expr: &Expr) -> Result<bool, Failure> {
        match self.eval(expr)? {
            Cel::Bool(bool) => Ok(bool),
            _ => Err(Failure::overload()),
        }
    }

    /// `&&` and `||`: one side that settles the matter makes an error of the other not matter.
    fn either(&mut self, left: &Expr, right: &Expr, settles: bool) -> Result<Cel, Failure> {
        let left = match self.truth(left) {
            Ok(bool) if bool == settles => return Ok(Cel::Bool(settles)),
            Err(Failure::CallCost) => return Err(Failure::CallCost),
            other => other,
        };
        match (left, self.truth(right)) {
            (_, Ok(bool)) if bool == settles => Ok(Cel::Bool(settles)),
            (_, Err(Failure::CallCost)) => Err(Failure::CallCost),
            (Err(error), _) | (Ok(_), Err(error)) => Err(error),
            (Ok(_), Ok(_)) => Ok(Cel::Bool(!settles)),
        }
    }

    fn call(&mut self, function: &str, target: Option<&Expr>, args: &[Expr]) -> Result<Cel, Failure> {
        match (function, args) {
            ("_&&_", [left, right]) => return self.either(left, right, false),
            ("_||_", [left, right]) => return self.either(left, right, true),
            ("_?_:_", [condition, yes, no]) => {
                return if self.truth(condition)? { self.eval(yes) } else { self.eval(no) };
            }
            ("@not_strictly_false", [arg]) => {
                self.spent.add(1)?;
                return match self.truth(arg) {
                    Err(Failure::CallCost) => Err(Failure::CallCost),
                    other => Ok(Cel::Bool(other.unwrap_or(true))),
                };
            }
            _ => {}
        }
        let package = match target {
            Some(target) => match (target.qualified_name(), target.root_name()) {
                (Some(name), Some(root)) if !library::overloads(&format!("{name}.{function}")).is_empty() && !self.is_variable(root) => {
                    Some(name)
                }
                _ => None,
            },
            None => None,
        };
        let (mut values, mut member) = (Vec::with_capacity(args.len() + 1), false);
        if package.is_none()
            && let Some(target) = target
        {
            values.push(self.eval(target)?);
            member = true;
        }
        for arg in args {
            values.push(self.eval(arg)?);
        }
        let name = package.map_or_else(|| function.to_owned(), |package| format!("{package}.{function}"));
        self.spent.add(call_cost(&name, &values))?;
        if member
            && let Some((target, args)) = values.split_first()
            && let Some(found) = self.scope.method(&name, target, args)
        {
            return found;
        }
        operator(&name, &values).unwrap_or_else(|| library_call(&name, member, &values))
    }

    fn fold(&mut self, fold: &Fold) -> Result<Cel, Failure> {
        let range = self.eval(&fold.range)?;
        let init = self.eval(&fold.init)?;
        let depth = self.locals.len();
        self.locals.push((fold.accumulator.clone(), Ok(init)));
        let out = self.rounds(fold, &range, depth);
        self.locals.truncate(depth + 1);
        let out = out.and_then(|()| self.eval(&fold.result));
        self.locals.truncate(depth);
        out
    }

    fn rounds(&mut self, fold: &Fold, range: &Cel, depth: usize) -> Result<(), Failure> {
        let pairs: Box<dyn Iterator<Item = (Cel, Cel)>> = match range {
            Cel::List(items) => {
                let index = |at: usize| Cel::Int(i64::try_from(at).unwrap_or(i64::MAX));
                Box::new(items.iter().enumerate().map(move |(at, item)| (index(at), item.clone())))
            }
            Cel::Map(map) => {
                // Go visits maps in any order; a settled one makes answers repeatable.
                let mut keys: Vec<&Key> = map.map.keys().collect();
                keys.sort();
                Box::new(keys.into_iter().map(|key| (Cel::from(key), map.map.get(key).cloned().unwrap_or(Cel::Null))))
            }
            _ => return Err(Failure::overload()),
        };
        let is_list = matches!(range, Cel::List(_));
        for (key, value) in pairs {
            self.locals.truncate(depth + 1);
            match &fold.second {
                Some(second) => {
                    self.locals.push((fold.variable.clone(), Ok(key)));
                    self.locals.push((second.clone(), Ok(value)));
                }
                None if is_list => self.locals.push((fold.variable.clone(), Ok(value))),
                None => self.locals.push((fold.variable.clone(), Ok(key))),
            }
            if !self.truth(&fold.condition)? {
                break;
            }
            match self.step(&fold.step, depth) {
                Err(Failure::CallCost) => return Err(Failure::CallCost),
                Err(error) => self.locals[depth].1 = Err(error),
                Ok(Some(next)) => self.locals[depth].1 = Ok(next),
                Ok(None) => {}
            }
        }
        Ok(())
    }

    /// One step of a fold; `None` when it changed the accumulator in place.
    fn step(&mut self, step: &Expr, depth: usize) -> Result<Option<Cel>, Failure> {
        if let Kind::Call { function, target: None, args } = &step.kind {
            match (function.as_str(), args.as_slice()) {
                ("_?_:_", [condition, yes, Expr { kind: Kind::Ident(same), .. }]) if same == ACCUMULATOR => {
                    return if self.truth(condition)? {
                        self.step(yes, depth)
                    } else {
                        self.spent.add(1)?;
                        Ok(None)
                    };
                }
                // A list that is built up is not copied for every element.
                ("_+_", [Expr { kind: Kind::Ident(same), .. }, Expr { kind: Kind::List(entries), .. }]) if same == ACCUMULATOR => {
                    self.spent.add(12)?;
                    for entry in entries {
                        let Some(value) = self.entry(entry)? else { continue };
                        match &mut self.locals[depth].1 {
                            Ok(Cel::List(list)) => Arc::make_mut(list).push(value),
                            Err(error) => return Err(error.clone()),
                            Ok(_) => return Err(Failure::overload()),
                        }
                    }
                    return Ok(None);
                }
                ("cel.@mapInsert", [Expr { kind: Kind::Ident(same), .. }, rest @ ..]) if same == ACCUMULATOR => {
                    self.spent.add(2)?;
                    let mut values = Vec::with_capacity(2);
                    for expr in rest {
                        values.push(self.eval(expr)?);
                    }
                    let map = match &mut self.locals[depth].1 {
                        Ok(Cel::Map(map)) => map,
                        Err(error) => return Err(error.clone()),
                        Ok(_) => return Err(Failure::overload()),
                    };
                    let map = Arc::make_mut(&mut map.map);
                    match values.as_slice() {
                        [key, value] => insert_new(map, key_of(key.clone())?, value.clone())?,
                        [Cel::Map(more)] => {
                            for (key, value) in more.map.iter() {
                                insert_new(map, key.clone(), value.clone())?;
                            }
                        }
                        _ => return Err(Failure::overload()),
                    }
                    return Ok(None);
                }
                _ => {}
            }
        }
        self.eval(step).map(Some)
    }
}

fn insert_new(map: &mut HashMap<Key, Cel>, key: Key, value: Cel) -> Result<(), Failure> {
    match map.entry(key) {
        std::collections::hash_map::Entry::Occupied(there) => {
            Err(Failure::Error(format!("insert failed: key {} already exists", shown_key(there.key()))))
        }
        std::collections::hash_map::Entry::Vacant(place) => {
            place.insert(value);
            Ok(())
        }
    }
}

fn value_of(literal: &Literal) -> Cel {
    match literal {
        Literal::Null => Cel::Null,
        Literal::Bool(bool) => Cel::Bool(*bool),
        Literal::Int(int) => Cel::Int(*int),
        Literal::Uint(uint) => Cel::UInt(*uint),
        Literal::Double(double) => Cel::Float(*double),
        Literal::String(text) => string(text),
        Literal::Bytes(bytes) => Cel::Bytes(Arc::new(bytes.clone())),
    }
}

/// The inside of an optional value: `None` when it is no optional value.
fn optional(value: &Cel) -> Option<Option<&Cel>> {
    match value {
        Cel::Opaque(opaque) => opaque.downcast_ref::<OptionalValue>().map(OptionalValue::value),
        _ => None,
    }
}

pub fn wrapped(value: Option<Cel>) -> Cel {
    Cel::Opaque(Arc::new(value.map_or_else(OptionalValue::none, OptionalValue::of)))
}

fn member<'v>(of: &'v Cel, field: &str) -> Option<&'v Cel> {
    match of {
        Cel::Map(map) => map.map.get(&Key::String(Arc::new(field.to_owned()))),
        _ => None,
    }
}

fn key_of(value: Cel) -> Result<Key, Failure> {
    Ok(match value {
        Cel::Int(int) => Key::Int(int),
        Cel::UInt(uint) => Key::Uint(uint),
        Cel::Bool(bool) => Key::Bool(bool),
        Cel::String(text) => Key::String(text),
        // A whole number is one key, however it is written.
        #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and in range")]
        Cel::Float(float) if float.fract() == 0.0 && float.abs() < 9e15 => Key::Int(float as i64),
        _ => return Err(Failure::Error("unsupported key type".to_owned())),
    })
}

fn shown_key(key: &Key) -> String {
    match key {
        Key::Int(int) => int.to_string(),
        Key::Uint(uint) => uint.to_string(),
        Key::Bool(bool) => bool.to_string(),
        Key::String(text) => text.to_string(),
    }
}

/// How many characters, elements or entries a value has; one for anything else.
fn size(value: &Cel) -> u64 {
    let size = match value {
        Cel::String(text) => text.chars().count(),
        Cel::Bytes(bytes) => bytes.len(),
        Cel::List(list) => list.len(),
        Cel::Map(map) => map.map.len(),
        _ => 1,
    };
    size as u64
}

/// Looking at all of a value.
fn traversal(value: &Cel, depth: usize) -> u64 {
    match value {
        _ if depth > 100 => 1,
        Cel::String(_) | Cel::Bytes(_) => scale(size(value), 0.1),
        Cel::List(list) => list.iter().map(|item| traversal(item, depth + 1)).sum(),
        Cel::Map(map) => map.map.values().map(|item| 1 + traversal(item, depth + 1)).sum(),
        _ => 1,
    }
}

fn call_cost(function: &str, values: &[Cel]) -> u64 {
    let at = |index: usize| values.get(index).map_or(1, size);
    let is_text = |index: usize| matches!(values.get(index), Some(Cel::String(_) | Cel::Bytes(_)));
    match function {
        "check" => 350_000,
        "fieldSelector" | "labelSelector" => 10 + scale(at(1), 0.1 + 0.5 * 50.0),
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => values.first().map_or(1, |value| traversal(value, 0)),
        "url"
        | "lowerAscii"
        | "upperAscii"
        | "substring"
        | "trim"
        | "jsonpatch.escapeKey"
        | "cidr"
        | "isIP"
        | "isCIDR"
        | "quantity"
        | "isQuantity"
        | "semver"
        | "isSemver"
        | "isURL"
        | "ip" => scale(at(0), 0.1),
        "replace" | "split" | "ip.isCanonical" | "join" => scale(at(0), 0.2),
        "find" | "findAll" | "matches" => scale(at(0) + 1, 0.1).saturating_mul(scale(at(1), 0.25)),
        "validate" => scale(at(1) + 1, 0.1).saturating_mul(32),
        "contains" if is_text(0) => scale(at(0), 0.1).saturating_mul(scale(at(1), 0.1)),
        "sets.contains" | "sets.intersects" => at(0).saturating_mul(at(1)).saturating_add(1),
        "sets.equivalent" => at(0).saturating_mul(at(1)).saturating_mul(2).saturating_add(1),
        "startsWith" | "endsWith" => scale(at(1), 0.1),
        "@in" if matches!(values.get(1), Some(Cel::List(_))) => at(1),
        "_==_" | "_!=_" => scale(at(0).min(at(1)), 0.1).max(1),
        "_<_" | "_<=_" | "_>_" | "_>=_" if is_text(0) => scale(at(0).min(at(1)), 0.1).max(1),
        "_+_" if is_text(0) => scale(at(0).saturating_add(at(1)), 0.1),
        "string" | "bytes" if is_text(0) => scale(at(0), 0.1),
        "format" => scale(at(0), 0.1).max(1),
        "flatten" | "distinct" | "reverse" | "sort" | "slice" => at(0).max(1),
        "lists.range" => match values.first() {
            Some(Cel::Int(count)) => u64::try_from(*count).unwrap_or(1),
            _ => 1,
        },
        _ => 1,
    }
}

/// The operators and functions that are part of the language.
fn operator(name: &str, values: &[Cel]) -> Option<Result<Cel, Failure>> {
    let compare = |test: fn(Ordering) -> bool| {
        let order = match values {
            [Cel::Bytes(a), Cel::Bytes(b)] => Some(a.cmp(b)),
            [Cel::Map(_) | Cel::List(_) | Cel::Null | Cel::Opaque(_), _] => None,
            [a, b] => a.partial_cmp(b),
            _ => None,
        };
        let nan = matches!(values, [Cel::Float(a), _] if a.is_nan()) || matches!(values, [_, Cel::Float(b)] if b.is_nan());
        match order {
            Some(order) => Ok(Cel::Bool(test(order))),
            None if nan => Ok(Cel::Bool(false)),
            None => Err(Failure::overload()),
        }
    };
    Some(match (name, values) {
        ("_==_", [a, b]) => Ok(Cel::Bool(a == b)),
        ("_!=_", [a, b]) => Ok(Cel::Bool(a != b)),
        ("_<_", _) => compare(Ordering::is_lt),
        ("_<=_", _) => compare(Ordering::is_le),
        ("_>_", _) => compare(Ordering::is_gt),
        ("_>=_", _) => compare(Ordering::is_ge),
        ("!_", [Cel::Bool(bool)]) => Ok(Cel::Bool(!bool)),
        ("!_", _) => Err(Failure::overload()),
        ("-_", [Cel::Int(int)]) => int.checked_neg().map(Cel::Int).ok_or_else(overflow),
        ("-_", [Cel::Float(float)]) => Ok(Cel::Float(-float)),
        ("_+_" | "_-_" | "_*_" | "_/_" | "_%_", [a, b]) => arithmetic(name, a, b)?,
        ("_[_]", [of, index]) => indexed(of, index),
        ("_[?_]", [of, index]) => Ok(match optional(of) {
            Some(inner) => wrapped(inner.and_then(|inner| indexed(inner, index).ok())),
            None => wrapped(indexed(of, index).ok()),
        }),
        ("_?._", [of, Cel::String(field)]) => Ok(match optional(of) {
            Some(inner) => wrapped(inner.and_then(|inner| member(inner, field)).cloned()),
            None => wrapped(member(of, field).cloned()),
        }),
        ("@in", [item, Cel::List(list)]) => Ok(Cel::Bool(list.contains(item))),
        ("@in", [key, Cel::Map(map)]) => Ok(Cel::Bool(key_of(key.clone()).is_ok_and(|key| map.map.contains_key(&key)))),
        ("@in", _) => Err(Failure::overload()),
        ("dyn", [value]) => Ok(value.clone()),
        ("type", [value]) => Ok(Cel::Opaque(Arc::new(TypeValue(type_of(value))))),
        ("bool", [value @ Cel::Bool(_)]) => Ok(value.clone()),
        ("bool", [Cel::String(text)]) => match text.as_str() {
            "true" | "True" | "TRUE" | "t" | "1" => Ok(Cel::Bool(true)),
            "false" | "False" | "FALSE" | "f" | "0" => Ok(Cel::Bool(false)),
            _ => Err(Failure::Error("type conversion error from string to bool".to_owned())),
        },
        ("size", [value @ (Cel::String(_) | Cel::Bytes(_) | Cel::List(_) | Cel::Map(_))]) => {
            Ok(Cel::Int(i64::try_from(size(value)).unwrap_or(i64::MAX)))
        }
        ("timestamp" | "string" | "duration" | "int" | "uint" | "double" | "bytes", [value]) if type_of(value) == long_name(name) => {
            Ok(value.clone())
        }
        ("string", [Cel::Bool(bool)]) => Ok(string(&bool.to_string())),
        ("string", [Cel::Int(int)]) => Ok(string(&int.to_string())),
        ("string", [Cel::UInt(uint)]) => Ok(string(&uint.to_string())),
        ("optional.of", [value]) => Ok(wrapped(Some(value.clone()))),
        ("optional.none", []) => Ok(wrapped(None)),
        ("optional.ofNonZeroValue", [value]) => Ok(wrapped(Some(value.clone()).filter(|value| !is_zero(value)))),
        ("hasValue", [value]) => Ok(Cel::Bool(optional(value)?.is_some())),
        ("value", [value]) => optional(value)?.cloned().ok_or_else(|| Failure::Error("optional.none() dereference".to_owned())),
        ("orValue", [value, other]) => Ok(optional(value)?.unwrap_or(other).clone()),
        ("or", [value, other]) => Ok(if optional(value)?.is_some() { value.clone() } else { other.clone() }),
        ("unwrap" | "optional.unwrap", [Cel::List(list)]) => {
            Ok(Cel::List(Arc::new(list.iter().filter_map(|item| optional(item).flatten().cloned()).collect())))
        }
        _ => return None,
    })
}

fn long_name(function: &str) -> &str {
    match function {
        "timestamp" => "google.protobuf.Timestamp",
        "duration" => "google.protobuf.Duration",
        other => other,
    }
}

fn overflow() -> Failure {
    Failure::Error("integer overflow".to_owned())
}

/// `None` leaves times and the like to the library.
fn arithmetic(name: &str, a: &Cel, b: &Cel) -> Option<Result<Cel, Failure>> {
    let by_zero = || {
        let what = if name == "_%_" { "modulus by zero" } else { "division by zero" };
        Failure::Error(what.to_owned())
    };
    Some(match (a, b) {
        (Cel::Int(_), Cel::Int(0)) | (Cel::UInt(_), Cel::UInt(0)) if matches!(name, "_/_" | "_%_") => Err(by_zero()),
        (Cel::Int(a), Cel::Int(b)) => {
            let out = match name {
                "_+_" => a.checked_add(*b),
                "_-_" => a.checked_sub(*b),
                "_*_" => a.checked_mul(*b),
                "_/_" => a.checked_div(*b),
                _ => a.checked_rem(*b),
            };
            out.map(Cel::Int).ok_or_else(overflow)
        }
        (Cel::UInt(a), Cel::UInt(b)) => {
            let out = match name {
                "_+_" => a.checked_add(*b),
                "_-_" => a.checked_sub(*b),
                "_*_" => a.checked_mul(*b),
                "_/_" => a.checked_div(*b),
                _ => a.checked_rem(*b),
            };
            out.map(Cel::UInt).ok_or_else(|| Failure::Error("unsigned integer overflow".to_owned()))
        }
        (Cel::Float(a), Cel::Float(b)) => Ok(Cel::Float(match name {
            "_+_" => a + b,
            "_-_" => a - b,
            "_*_" => a * b,
            "_/_" => a / b,
            _ => return Some(Err(Failure::overload())),
        })),
        (Cel::String(a), Cel::String(b)) if name == "_+_" => Ok(Cel::String(Arc::new(format!("{a}{b}")))),
        (Cel::Bytes(a), Cel::Bytes(b)) if name == "_+_" => Ok(Cel::Bytes(Arc::new([a.as_slice(), b.as_slice()].concat()))),
        (Cel::List(a), Cel::List(b)) if name == "_+_" => Ok(Cel::List(Arc::new([a.as_slice(), b.as_slice()].concat()))),
        (Cel::Timestamp(_) | Cel::Duration(_), _) => return None,
        _ => Err(Failure::overload()),
    })
}

fn indexed(of: &Cel, index: &Cel) -> Result<Cel, Failure> {
    if let Some(inner) = optional(of) {
        return Ok(wrapped(inner.and_then(|inner| indexed(inner, index).ok())));
    }
    match of {
        Cel::List(list) => {
            let Key::Int(at) = key_of(index.clone())? else {
                return Err(Failure::Error(format!("unsupported index type '{}' in list", type_of(index))));
            };
            let found = usize::try_from(at).ok().and_then(|at| list.get(at));
            found.cloned().ok_or_else(|| Failure::Error(format!("index out of bounds: {at}")))
        }
        Cel::Map(map) => {
            let key = key_of(index.clone())?;
            map.map.get(&key).cloned().ok_or_else(|| Failure::Error(format!("no such key: {}", shown_key(&key))))
        }
        _ => Err(Failure::overload()),
    }
}

fn is_zero(value: &Cel) -> bool {
    match value {
        Cel::Null => true,
        Cel::Bool(bool) => !bool,
        Cel::Int(int) => *int == 0,
        Cel::UInt(uint) => *uint == 0,
        Cel::Float(float) => *float == 0.0,
        Cel::String(text) => text.is_empty(),
        Cel::Bytes(bytes) => bytes.is_empty(),
        Cel::List(list) => list.is_empty(),
        Cel::Map(map) => map.map.is_empty(),
        _ => false,
    }
}

pub fn type_of(value: &Cel) -> String {
    match value {
        Cel::Null => "null_type",
        Cel::Bool(_) => "bool",
        Cel::Int(_) => "int",
        Cel::UInt(_) => "uint",
        Cel::Float(_) => "double",
        Cel::String(_) => "string",
        Cel::Bytes(_) => "bytes",
        Cel::List(_) => "list",
        Cel::Map(_) => "map",
        Cel::Timestamp(_) => "google.protobuf.Timestamp",
        Cel::Duration(_) => "google.protobuf.Duration",
        Cel::Opaque(opaque) => opaque.runtime_type_name(),
        Cel::Function(..) => "function",
    }
    .to_owned()
}

/// Calls a function of kube-cel by giving it its arguments as variables.
fn library_call(name: &str, member: bool, values: &[Cel]) -> Result<Cel, Failure> {
    let mut scope = LIBRARY.new_inner_scope();
    let mut args = Vec::with_capacity(values.len());
    for (at, value) in values.iter().enumerate() {
        let variable = format!("@{at}");
        scope.add_variable_from_value(variable.clone(), value.clone());
        args.push(IdedExpr { id: 0, expr: Given::Ident(variable) });
    }
    let (function, target) = match name.rsplit_once('.') {
        Some((package, function)) => (function, Some(IdedExpr { id: 0, expr: Given::Ident(package.to_owned()) })),
        None if member && !args.is_empty() => (name, Some(args.remove(0))),
        None => (name, None),
    };
    let call = Given::Call(CallExpr { func_name: function.to_owned(), target: target.map(Box::new), args });
    Cel::resolve(&IdedExpr { id: 0, expr: call }, &scope).map_err(|error| match error {
        ExecutionError::NoSuchKey(key) => Failure::Error(format!("no such key: {key}")),
        ExecutionError::FunctionError { message, .. } => Failure::Error(message),
        ExecutionError::UndeclaredReference(_)
        | ExecutionError::NoSuchOverload
        | ExecutionError::UnexpectedType { .. }
        | ExecutionError::UnsupportedTargetType { .. }
        | ExecutionError::NotSupportedAsMethod { .. }
        | ExecutionError::InvalidArgumentCount { .. }
        | ExecutionError::UnsupportedBinaryOperator(..) => Failure::overload(),
        ExecutionError::Overflow(..) => overflow(),
        other => Failure::Error(other.to_string()),
    })
}
