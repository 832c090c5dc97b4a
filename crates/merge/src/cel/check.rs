//! What type every part of an expression has, and what cannot be.
//!
//! Types follow cel-go's checker: a value of an unknown type fits everywhere, all else must fit a declared way to call.

use std::sync::Arc;

use super::Environment;
use super::ast::{Entry, Expr, Fold, Kind, Literal, complaint};
use super::library::{self, Overload};
use super::types::{Declared, Type};

/// No more complaints than this are told about one expression.
const COMPLAINTS_MAX: usize = 100;

/// What is known of every part of an expression, by its id.
#[derive(Debug, Default)]
pub struct Checked {
    pub types: Vec<Type>,
    /// What a schema says of the value, where it comes straight from one.
    pub declared: Vec<Option<Arc<Declared>>>,
}

pub fn check(source: &str, expr: &Expr, ids: usize, environment: &Environment) -> Result<Checked, String> {
    let known = Checked { types: vec![Type::Dyn; ids], declared: vec![None; ids] };
    let mut checker = Checker { environment, scopes: Vec::new(), known, complaints: Vec::new() };
    checker.expr(expr);
    if checker.complaints.is_empty() {
        return Ok(checker.known);
    }
    checker.complaints.sort_by_key(|(at, _)| *at);
    checker.complaints.truncate(COMPLAINTS_MAX);
    let told: Vec<String> = checker.complaints.iter().map(|(at, message)| complaint(source, *at, message)).collect();
    Err(told.join("\n"))
}

struct Local {
    name: String,
    ty: Type,
    declared: Option<Arc<Declared>>,
}

struct Checker<'e> {
    environment: &'e Environment,
    scopes: Vec<Local>,
    known: Checked,
    complaints: Vec<(usize, String)>,
}

/// Types that the parameters of an overload stand for.
type Bindings = [Option<Type>; 2];

impl Checker<'_> {
    fn complain(&mut self, at: usize, message: String) -> Type {
        self.complaints.push((at, message));
        Type::Error
    }

    fn expr(&mut self, expr: &Expr) -> Type {
        let (ty, declared) = self.infer(expr);
        if let (Some(slot), Some(place)) = (self.known.types.get_mut(expr.id), self.known.declared.get_mut(expr.id)) {
            *slot = ty.clone();
            *place = declared;
        }
        ty
    }

    fn declared(&self, expr: &Expr) -> Option<Arc<Declared>> {
        self.known.declared.get(expr.id).cloned().flatten()
    }

    fn infer(&mut self, expr: &Expr) -> (Type, Option<Arc<Declared>>) {
        match &expr.kind {
            Kind::Literal(literal) => (type_of_literal(literal), None),
            Kind::Ident(name) => self.ident(expr.at, name),
            Kind::Select { operand, field, test } => self.select(expr, operand, field, *test),
            Kind::Call { function, target, args } => self.call(expr, function, target.as_deref(), args),
            Kind::List(entries) => {
                let mut element = Type::Free;
                for entry in entries {
                    let ty = self.entry(entry);
                    element = self.same(entry.value.at, element, ty);
                }
                (Type::List(Box::new(element)), None)
            }
            Kind::Map(entries) => {
                let (mut keys, mut values) = (Type::Free, Type::Free);
                for (key, entry) in entries {
                    let ty = self.expr(key);
                    keys = self.same(key.at, keys, ty);
                    let ty = self.entry(entry);
                    values = self.same(entry.value.at, values, ty);
                }
                (Type::Map(Box::new(keys), Box::new(values)), None)
            }
            Kind::Struct { name, fields } => {
                for (_, entry) in fields {
                    self.entry(entry);
                }
                match self.environment.message(name) {
                    Some(ty) => (ty, None),
                    None => (self.complain(expr.at, format!("undeclared reference to '{name}' (in container '')")), None),
                }
            }
            Kind::Fold(fold) => self.fold(fold),
        }
    }

    fn entry(&mut self, entry: &Entry) -> Type {
        let ty = self.expr(&entry.value);
        match ty {
            Type::Optional(inner) if entry.optional => *inner,
            ty if entry.optional && !ty.is_open() => {
                self.complain(entry.value.at, format!("expected type 'optional_type({ty})' but found '{ty}'"))
            }
            ty => ty,
        }
    }

    /// Elements of one literal are of one type.
    fn same(&mut self, at: usize, so_far: Type, ty: Type) -> Type {
        if so_far.takes(&ty) || ty.takes(&so_far) {
            so_far.joined(&ty)
        } else {
            self.complain(at, format!("expected type '{so_far}' but found '{ty}'"));
            so_far
        }
    }

    fn variable(&self, name: &str) -> Option<(Type, Option<Arc<Declared>>)> {
        if let Some(local) = self.scopes.iter().rev().find(|local| local.name == name) {
            return Some((local.ty.clone(), local.declared.clone()));
        }
        let declared = self.environment.variable(name)?;
        Some((declared.ty.clone(), Some(Arc::clone(declared))))
    }

    fn ident(&mut self, at: usize, name: &str) -> (Type, Option<Arc<Declared>>) {
        if let Some(found) = self.variable(name) {
            return found;
        }
        match library::type_name(name) {
            Some(ty) => (Type::Type(Box::new(ty)), None),
            None => (self.complain(at, format!("undeclared reference to '{name}' (in container '')")), None),
        }
    }

    fn select(&mut self, expr: &Expr, operand: &Expr, field: &str, test: bool) -> (Type, Option<Arc<Declared>>) {
        // The name of a type in a package looks like a field.
        if !test
            && let Some(name) = expr.qualified_name()
            && expr.root_name().is_some_and(|root| self.variable(root).is_none())
            && let Some(ty) = library::type_name(&name)
        {
            return (Type::Type(Box::new(ty)), None);
        }
        // So does a variable whose name has a dot.
        if let Some(declared) = expr.qualified_name().and_then(|name| self.environment.variable(&name).cloned()) {
            return (declared.ty.clone(), Some(declared));
        }
        let of = self.expr(operand);
        let declared = self.declared(operand);
        let (ty, declared) = self.field(expr.at, &of, declared, field);
        if test { (Type::Bool, None) } else { (ty, declared) }
    }

    fn field(&mut self, at: usize, of: &Type, declared: Option<Arc<Declared>>, field: &str) -> (Type, Option<Arc<Declared>>) {
        let below = declared.and_then(|declared| declared.field(field).cloned());
        match of {
            Type::Object(object) if self.environment.is_open(object) => (Type::Dyn, None),
            Type::Object(object) => match object.fields.get(field) {
                Some(declared) => (declared.ty.clone(), Some(Arc::clone(declared))),
                None => (self.complain(at, format!("undefined field '{field}'")), None),
            },
            Type::Map(_, value) => (value.as_ref().clone(), below),
            Type::Optional(inner) => {
                let (ty, _) = self.field(at, inner, None, field);
                (Type::Optional(Box::new(ty)), None)
            }
            Type::Dyn | Type::Free => (Type::Dyn, None),
            Type::Error => (Type::Error, None),
            other => (self.complain(at, format!("type '{other}' does not support field selection")), None),
        }
    }

    fn call(&mut self, expr: &Expr, function: &str, target: Option<&Expr>, args: &[Expr]) -> (Type, Option<Arc<Declared>>) {
        let mut types = Vec::with_capacity(args.len() + 1);
        // A function in a package looks like a call on a value.
        let qualified = target
            .filter(|target| target.root_name().is_some_and(|root| self.variable(root).is_none()))
            .and_then(|target| target.qualified_name())
            .map(|package| format!("{package}.{function}"))
            .filter(|name| !library::overloads(name).is_empty());
        let (name, member) = match (&qualified, target) {
            (Some(name), _) => (name.as_str(), false),
            (None, Some(target)) => {
                types.push(self.expr(target));
                (function, true)
            }
            (None, None) => (function, false),
        };
        types.extend(args.iter().map(|arg| self.expr(arg)));
        if name == "_?._" {
            return (self.optional_field(expr.at, &types, args), None);
        }
        let ways = library::overloads(name);
        if ways.is_empty() {
            return (self.complain(expr.at, format!("undeclared reference to '{name}' (in container '')")), None);
        }
        self.check_literals(name, args);
        let Some(ty) = resolve(ways, member, &types) else {
            let shown: Vec<String> = types.iter().map(Type::to_string).collect();
            let applied = if member { format!("{}.({})", shown[0], shown[1..].join(", ")) } else { format!("({})", shown.join(", ")) };
            return (self.complain(expr.at, format!("found no matching overload for '{name}' applied to '{applied}'")), None);
        };
        let declared = match (name, args) {
            ("_[_]", [container, _]) => self.declared(container).and_then(|declared| declared.element.clone()),
            ("dyn", [arg]) => self.declared(arg),
            _ => None,
        };
        (ty, declared)
    }

    fn optional_field(&mut self, at: usize, types: &[Type], args: &[Expr]) -> Type {
        let (Some(of), Some(Kind::Literal(Literal::String(field)))) = (types.first(), args.get(1).map(|arg| &arg.kind)) else {
            return Type::Dyn;
        };
        let declared = args.first().and_then(|arg| self.declared(arg));
        match self.field(at, of, declared, field).0 {
            already @ Type::Optional(_) if matches!(of, Type::Optional(_)) => already,
            ty => Type::Optional(Box::new(ty)),
        }
    }

    /// Patterns, durations and times that are written out must be ones.
    fn check_literals(&mut self, function: &str, args: &[Expr]) {
        let Some(Expr { at, kind: Kind::Literal(Literal::String(text)), .. }) = args.last() else { return };
        let fits = match function {
            "matches" => regex::Regex::new(text).is_ok(),
            "duration" => super::eval::parsed("duration", text),
            "timestamp" => super::eval::parsed("timestamp", text),
            _ => true,
        };
        if !fits {
            self.complain(*at, format!("invalid {function} argument"));
        }
    }

    fn fold(&mut self, fold: &Fold) -> (Type, Option<Arc<Declared>>) {
        let range = self.expr(&fold.range);
        let init = self.expr(&fold.init);
        let element = self.declared(&fold.range).and_then(|declared| declared.element.clone());
        let (first, second) = match &range {
            Type::List(inner) => (Type::Int, inner.as_ref().clone()),
            Type::Map(key, value) => (key.as_ref().clone(), value.as_ref().clone()),
            open if open.is_open() => (Type::Dyn, Type::Dyn),
            other => {
                let message = format!("expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)");
                (self.complain(fold.range.at, message), Type::Error)
            }
        };
        let depth = self.scopes.len();
        let declared = self.declared(&fold.init);
        self.scopes.push(Local { name: fold.accumulator.clone(), ty: init.clone(), declared });
        let is_list = matches!(range, Type::List(_));
        match &fold.second {
            Some(second_name) => {
                self.scopes.push(Local { name: fold.variable.clone(), ty: first, declared: None });
                self.scopes.push(Local { name: second_name.clone(), ty: second, declared: element });
            }
            None if is_list => self.scopes.push(Local { name: fold.variable.clone(), ty: second, declared: element }),
            None => self.scopes.push(Local { name: fold.variable.clone(), ty: first, declared: None }),
        }
        let condition = self.expr(&fold.condition);
        if !Type::Bool.takes(&condition) {
            self.complain(fold.condition.at, format!("expected type 'bool' but found '{condition}'"));
        }
        let step = self.expr(&fold.step);
        if !init.takes(&step) && !step.takes(&init) {
            self.complain(fold.step.at, format!("expected type '{init}' but found '{step}'"));
        }
        self.scopes.truncate(depth + 1);
        if let Some(accumulator) = self.scopes.last_mut() {
            accumulator.ty = init.joined(&step);
        }
        let result = self.expr(&fold.result);
        let declared = self.declared(&fold.result);
        self.scopes.truncate(depth);
        (result, declared)
    }
}

fn type_of_literal(literal: &Literal) -> Type {
    match literal {
        Literal::Null => Type::Null,
        Literal::Bool(_) => Type::Bool,
        Literal::Int(_) => Type::Int,
        Literal::Uint(_) => Type::Uint,
        Literal::Double(_) => Type::Double,
        Literal::String(_) => Type::String,
        Literal::Bytes(_) => Type::Bytes,
    }
}

/// The type of a call by the overloads that fit; `None` when none does.
fn resolve(ways: &[Overload], member: bool, types: &[Type]) -> Option<Type> {
    let mut out: Option<Type> = None;
    for way in ways.iter().filter(|way| way.member == member && way.parameters.len() == types.len()) {
        let mut bindings: Bindings = [None, None];
        if !way.parameters.iter().zip(types).all(|(parameter, ty)| unify(parameter, ty, &mut bindings)) {
            continue;
        }
        let result = substitute(&way.result, &bindings);
        out = Some(match out {
            None => result,
            Some(before) if before.to_string() == result.to_string() => before,
            Some(_) => Type::Dyn,
        });
    }
    out
}

fn slot(name: char) -> usize {
    usize::from(name != 'A')
}

fn unify(parameter: &Type, ty: &Type, bindings: &mut Bindings) -> bool {
    match (parameter, ty) {
        (Type::Parameter(name), _) => {
            let bound = &mut bindings[slot(*name)];
            match bound {
                None => *bound = Some(ty.clone()),
                Some(before) => {
                    if !before.takes(ty) && !ty.takes(before) {
                        return false;
                    }
                    if !matches!(before, Type::Dyn) && !matches!(ty, Type::Dyn) {
                        *bound = Some(before.clone().joined(ty));
                    }
                }
            }
            true
        }
        (_, Type::Dyn | Type::Free | Type::Error) => true,
        (Type::List(parameter), Type::List(ty))
        | (Type::Optional(parameter), Type::Optional(ty))
        | (Type::Type(parameter), Type::Type(ty)) => unify(parameter, ty, bindings),
        (Type::Map(key, value), Type::Map(other, below)) => unify(key, other, bindings) && unify(value, below, bindings),
        _ => parameter.takes(ty),
    }
}

fn substitute(ty: &Type, bindings: &Bindings) -> Type {
    match ty {
        Type::Parameter(name) => bindings[slot(*name)].clone().unwrap_or(Type::Dyn),
        Type::List(inner) => Type::List(Box::new(substitute(inner, bindings))),
        Type::Optional(inner) => Type::Optional(Box::new(substitute(inner, bindings))),
        Type::Type(inner) => Type::Type(Box::new(substitute(inner, bindings))),
        Type::Map(key, value) => Type::Map(Box::new(substitute(key, bindings)), Box::new(substitute(value, bindings))),
        other => other.clone(),
    }
}
