//! What an expression costs at most, in the units in which Kubernetes limits rules before they are stored.
//!
//! Costs are cel-go's: one for reading a variable or a field, a tenth for each character that is looked at, and so on;
//! sizes come from the schema (`maxItems`, `maxLength`, `maxProperties`) or from what fits a request.

use std::sync::Arc;

use super::ast::{Expr, Fold, Kind, Literal};
use super::check::Checked;
use super::types::{Declared, Type, UNKNOWN};

const TRAVERSAL: f64 = 0.1;
const REGEX: f64 = 0.25;
const NEW_LIST: u64 = 10;
const NEW_MAP: u64 = 30;
const NEW_STRUCT: u64 = 40;
const AUTHORIZATION: u64 = 350_000;

/// From the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub min: u64,
    pub max: u64,
}

impl Range {
    const ANY: Self = Self { min: 0, max: UNKNOWN };
    const ZERO: Self = Self { min: 0, max: 0 };

    fn fixed(value: u64) -> Self {
        Self { min: value, max: value }
    }

    fn plus(self, other: Self) -> Self {
        Self { min: self.min.saturating_add(other.min), max: self.max.saturating_add(other.max) }
    }

    fn times(self, other: Self) -> Self {
        Self { min: self.min.saturating_mul(other.min), max: self.max.saturating_mul(other.max) }
    }

    fn scaled(self, factor: f64) -> Self {
        Self { min: scale(self.min, factor), max: scale(self.max, factor) }
    }

    fn or(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }
}

/// Rounded up.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "costs are estimates, and the cast saturates"
)]
pub fn scale(size: u64, factor: f64) -> u64 {
    (size as f64 * factor).ceil() as u64
}

/// What is known of a part: what it costs, how large it is, and how large what it holds is.
#[derive(Clone)]
struct Estimate {
    cost: Range,
    size: Option<Range>,
    inner: Option<Range>,
}

struct Local {
    name: String,
    size: Option<Range>,
    inner: Option<Range>,
}

pub fn cost(expr: &Expr, checked: &Checked) -> Range {
    Estimator { checked, locals: Vec::new() }.expr(expr).cost
}

struct Estimator<'c> {
    checked: &'c Checked,
    locals: Vec<Local>,
}

impl Estimator<'_> {
    fn ty(&self, expr: &Expr) -> &Type {
        self.checked.types.get(expr.id).unwrap_or(&Type::Dyn)
    }

    fn declared(&self, expr: &Expr) -> Option<&Arc<Declared>> {
        self.checked.declared.get(expr.id).and_then(Option::as_ref)
    }

    /// The size that the schema or the type gives a value.
    fn size_of(&self, expr: &Expr) -> Option<Range> {
        if let Some(declared) = self.declared(expr) {
            return Some(Range { min: 0, max: declared.max });
        }
        is_scalar(self.ty(expr)).then_some(Range::fixed(1))
    }

    fn expr(&mut self, expr: &Expr) -> Estimate {
        let plain = |cost: Range, size: Option<Range>| Estimate { cost, size, inner: None };
        match &expr.kind {
            Kind::Literal(literal) => plain(Range::ZERO, Some(Range::fixed(literal_size(literal)))),
            Kind::Ident(name) => {
                let local = self.locals.iter().rev().find(|local| local.name == *name).map(|local| (local.size, local.inner));
                let (size, inner) = local.unwrap_or((None, None));
                Estimate { cost: Range::fixed(1), size: self.size_of(expr).or(size), inner }
            }
            Kind::Select { operand, test, .. } => {
                let of = self.expr(operand);
                let counts = !test && matches!(self.ty(operand), Type::Map(..) | Type::Object(_) | Type::Dyn);
                plain(of.cost.plus(Range::fixed(u64::from(counts))), self.size_of(expr))
            }
            Kind::List(entries) => {
                let (mut cost, mut inner) = (Range::fixed(NEW_LIST), None);
                for entry in entries {
                    let of = self.expr(&entry.value);
                    cost = cost.plus(of.cost);
                    inner = Some(joined(inner, of.size));
                }
                let inner = inner.unwrap_or(Range::ZERO);
                Estimate { cost, size: Some(Range::fixed(entries.len() as u64)), inner: Some(inner) }
            }
            Kind::Map(entries) => {
                let mut cost = Range::fixed(NEW_MAP);
                let mut keys = None;
                for (key, entry) in entries {
                    let (key, value) = (self.expr(key), self.expr(&entry.value));
                    cost = cost.plus(key.cost).plus(value.cost);
                    keys = Some(joined(keys, key.size));
                }
                Estimate { cost, size: Some(Range::fixed(entries.len() as u64)), inner: Some(keys.unwrap_or(Range::ZERO)) }
            }
            Kind::Struct { fields, .. } => {
                let mut cost = Range::fixed(NEW_STRUCT);
                for (_, entry) in fields {
                    cost = cost.plus(self.expr(&entry.value).cost);
                }
                plain(cost, None)
            }
            Kind::Fold(fold) => self.fold(expr, fold),
            Kind::Call { function, target, args } => self.call(expr, function, target.as_deref(), args),
        }
    }

    fn fold(&mut self, expr: &Expr, fold: &Fold) -> Estimate {
        let range = self.expr(&fold.range);
        let init = self.expr(&fold.init);
        let depth = self.locals.len();
        self.locals.push(Local { name: fold.accumulator.clone(), size: init.size, inner: init.inner });
        let element =
            self.declared(&fold.range).and_then(|declared| declared.element.as_ref()).map(|inner| Range { min: 0, max: inner.max });
        let is_map = matches!(self.ty(&fold.range), Type::Map(..));
        match &fold.second {
            Some(second) => {
                self.locals.push(Local { name: fold.variable.clone(), size: None, inner: None });
                self.locals.push(Local { name: second.clone(), size: range.inner.or(element), inner: None });
            }
            None => {
                let size = if is_map { range.inner.or(Some(Range::ZERO)) } else { range.inner.or(element) };
                self.locals.push(Local { name: fold.variable.clone(), size, inner: None });
            }
        }
        let (condition, step) = (self.expr(&fold.condition), self.expr(&fold.step));
        self.locals.truncate(depth + 1);
        let result = self.expr(&fold.result);
        self.locals.truncate(depth);
        let count = range.size.unwrap_or(Range::ANY);
        let bind = matches!(&fold.range.kind, Kind::List(entries) if entries.is_empty());
        let rounds = if bind { Range::ZERO } else { count.times(step.cost.plus(condition.cost)) };
        let cost = range.cost.plus(init.cost).plus(result.cost).plus(rounds);
        match &fold.init.kind {
            _ if bind => Estimate { cost, size: result.size, inner: result.inner },
            Kind::List(_) | Kind::Map(_) => Estimate { cost, size: Some(count), inner: step.inner },
            _ => Estimate { cost, size: self.size_of(expr), inner: None },
        }
    }

    fn call(&mut self, expr: &Expr, function: &str, target: Option<&Expr>, args: &[Expr]) -> Estimate {
        let receiver = target.map(|target| self.expr(target));
        let given: Vec<Estimate> = args.iter().map(|arg| self.expr(arg)).collect();
        let own = receiver.as_ref().map_or(Range::ZERO, |receiver| receiver.cost);
        let sum = given.iter().fold(own, |sum, arg| sum.plus(arg.cost));
        let size = |at: usize| given.get(at).and_then(|arg| arg.size).unwrap_or(Range::ANY);
        let of = receiver.as_ref().and_then(|receiver| receiver.size).unwrap_or(Range::ANY);
        let plain = |cost: Range, size: Option<Range>| Estimate { cost, size, inner: None };
        let nominal = sum.plus(Range::fixed(1));
        match function {
            "_&&_" | "_||_" => {
                let min = given.first().map_or(0, |arg| arg.cost.min);
                return plain(Range { min, max: sum.max }, Some(Range::fixed(1)));
            }
            "_?_:_" => {
                let [condition, yes, no] = given.as_slice() else { return plain(nominal, None) };
                let cost = condition.cost.plus(yes.cost.or(no.cost));
                let inner = yes.inner.zip(no.inner).map(|(a, b)| a.or(b));
                return Estimate { cost, size: Some(size(1).or(size(2))), inner };
            }
            "_[_]" => {
                let inner = given.first().and_then(|arg| arg.inner);
                return plain(nominal, inner.or_else(|| self.size_of(expr)));
            }
            "_+_" => {
                let total = size(0).plus(size(1));
                let inner = given.first().and_then(|a| a.inner).zip(given.get(1).and_then(|b| b.inner)).map(|(a, b)| a.or(b));
                return match self.ty(expr) {
                    Type::List(_) => Estimate { cost: nominal, size: Some(total), inner },
                    Type::String | Type::Bytes => plain(sum.plus(total.scaled(TRAVERSAL)), Some(total)),
                    // What is added is not known: the dearest way counts.
                    Type::Dyn => Estimate { cost: sum.plus(Range::fixed(1).or(total.scaled(TRAVERSAL))), size: Some(total), inner },
                    _ => plain(nominal, Some(Range::fixed(1))),
                };
            }
            _ => {}
        }
        let (cost, result) = self.function(function, target, args, &given, of);
        let result = result.or_else(|| self.size_of(expr));
        plain(sum.plus(cost), result)
    }

    /// The cost of the work itself, and the size of what comes out where it is known.
    fn function(&self, function: &str, target: Option<&Expr>, args: &[Expr], given: &[Estimate], of: Range) -> (Range, Option<Range>) {
        let size = |at: usize| given.get(at).and_then(|arg| arg.size).unwrap_or(Range::ANY);
        let one = Range::fixed(1);
        match function {
            "check" => (Range::fixed(AUTHORIZATION), None),
            "fieldSelector" | "labelSelector" => {
                let requirements = size(0).scaled(0.5).scaled((NEW_LIST + NEW_STRUCT) as f64);
                (Range::fixed(NEW_LIST).plus(size(0).scaled(TRAVERSAL)).plus(requirements), None)
            }
            "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => match target.map(|target| self.ty(target)) {
                Some(Type::List(element)) => {
                    let mut each = one;
                    if matches!(**element, Type::String | Type::Bytes) {
                        let inner = target.and_then(|target| self.declared(target)).and_then(|declared| declared.element.as_ref());
                        let inner = inner.map_or(Range::ANY, |inner| Range { min: 0, max: inner.max });
                        each = each.plus(inner.scaled(TRAVERSAL));
                    }
                    (of.times(each), None)
                }
                _ => (of.scaled(TRAVERSAL), None),
            },
            "url" | "escapeKey" | "quantity" | "isQuantity" | "semver" | "isSemver" | "isURL" | "cidr" | "isIP" | "isCIDR" | "ip" => {
                if args.is_empty() { (one, None) } else { (size(0).scaled(TRAVERSAL), Some(size(0))) }
            }
            "isCanonical" => (size(0).scaled(2.0 * TRAVERSAL), None),
            "lowerAscii" | "upperAscii" | "substring" | "trim" => (of.scaled(TRAVERSAL), Some(of)),
            "replace" => (of.scaled(2.0 * TRAVERSAL), Some(replaced(of, size(0), size(1)))),
            "split" => (of.scaled(2.0 * TRAVERSAL), Some(Range { min: 0, max: of.max })),
            "join" => {
                let inner = target.and_then(|target| self.declared(target)).and_then(|declared| declared.element.as_ref());
                let inner = inner.map_or(Range::ANY, |inner| Range { min: 0, max: inner.max });
                let separators = Range { min: of.min.saturating_sub(1), max: of.max.saturating_sub(1) };
                let between = if args.is_empty() { Range::ZERO } else { separators.times(size(0)) };
                let total = of.times(inner).plus(between);
                (total.scaled(2.0 * TRAVERSAL), Some(total))
            }
            "find" | "findAll" | "matches" => {
                // Called as a function, the text is the first argument.
                let (text, pattern) = if target.is_some() { (of, size(0)) } else { (size(0), size(1)) };
                let text = text.plus(one);
                (text.scaled(TRAVERSAL).times(pattern.scaled(REGEX)), Some(text))
            }
            "validate" => (size(0).scaled(TRAVERSAL).scaled(128.0 * REGEX), None),
            "containsIP" | "containsCIDR" => (Range::fixed(5).plus(size(0).scaled(TRAVERSAL)), None),
            "contains" if target.is_some_and(|target| matches!(self.ty(target), Type::String | Type::Dyn)) => {
                (of.scaled(TRAVERSAL).times(size(0).scaled(TRAVERSAL)), None)
            }
            "contains" | "equivalent" | "intersects" => {
                let factor = if function == "equivalent" { 2 } else { 1 };
                (size(0).times(size(1)).times(Range::fixed(factor)).plus(one), None)
            }
            "startsWith" | "endsWith" => (size(0).scaled(TRAVERSAL), None),
            "@in" if !matches!(args.get(1).map(|arg| self.ty(arg)), Some(Type::Map(..))) => (size(1), None),
            "format" => (of.scaled(TRAVERSAL), None),
            "bytes" | "string" if matches!(args.first().map(|arg| self.ty(arg)), Some(Type::String | Type::Bytes)) => {
                let given = size(0);
                let factor = if function == "bytes" { 4 } else { 1 };
                (given.scaled(TRAVERSAL), Some(Range { min: 0, max: given.max.saturating_mul(factor) }))
            }
            "_==_" | "_!=_" => (compared(size(0), size(1)), Some(one)),
            "_<_" | "_<=_" | "_>_" | "_>=_" if args.iter().any(|arg| matches!(self.ty(arg), Type::String | Type::Bytes | Type::Dyn)) => {
                (compared(size(0), size(1)), Some(one))
            }
            _ => (one, None),
        }
    }
}

fn compared(left: Range, right: Range) -> Range {
    let max = left.max.min(right.max);
    Range { min: u64::from(max > 0), max }.scaled(TRAVERSAL)
}

/// How long a text is after every `from` in it has become `to`.
fn replaced(of: Range, from: Range, to: Range) -> Range {
    let max = if from.min == 0 {
        of.max.saturating_add(1).saturating_mul(to.max).saturating_add(of.max)
    } else if to.max <= from.min {
        of.max
    } else {
        of.max.div_ceil(from.min).saturating_mul(to.max)
    };
    Range { min: 0, max }
}

fn joined(so_far: Option<Range>, size: Option<Range>) -> Range {
    let size = size.unwrap_or(Range::ANY);
    so_far.map_or(size, |before| before.or(size))
}

fn literal_size(literal: &Literal) -> u64 {
    match literal {
        Literal::String(text) => text.chars().count() as u64,
        Literal::Bytes(bytes) => bytes.len() as u64,
        _ => 1,
    }
}

fn is_scalar(ty: &Type) -> bool {
    match ty {
        Type::Bool | Type::Double | Type::Duration | Type::Int | Type::Timestamp | Type::Uint => true,
        Type::Optional(inner) => is_scalar(inner),
        _ => false,
    }
}
