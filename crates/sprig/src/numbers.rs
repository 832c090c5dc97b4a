//! Arithmetic, rounding and ranges of numbers.

use crate::{
    args::{Result, any, int, string, strval, to_float, to_int},
    decimal::Decimal,
    environment,
};
use gotemplate::{Failure, Function, Run, Type, Value, number};
use std::rc::Rc;

const A: Type = Type::Any;
const I: Type = Type::Int;

pub(crate) const ALL: &[Function] = &[
    Function::new("atoi", &[Type::String], |_, args| {
        let text = strval(&args[0])?;
        Ok(Value::Int(text.text().parse().unwrap_or(0)))
    }),
    Function::new("int64", &[A], |_, args| Ok(Value::Int64(to_int(&args[0])))),
    Function::new("int", &[A], |_, args| Ok(Value::Int(to_int(&args[0])))),
    Function::new("float64", &[A], |_, args| Ok(Value::Float(to_float(&args[0])))),
    Function::variadic("seq", &[], I, seq),
    Function::new("toDecimal", &[A], |_, args| {
        let text = strval(&args[0])?;
        Ok(Value::Int64(i64::from_str_radix(&text.text(), 8).unwrap_or(0)))
    }),
    Function::new("until", &[I], |run, args| {
        let count = int(args, 0);
        until_step(run, 0, count, if count < 0 { -1 } else { 1 })
    }),
    Function::new("untilStep", &[I, I, I], |run, args| until_step(run, int(args, 0), int(args, 1), int(args, 2))),
    Function::new("add1", &[A], |_, args| Ok(Value::Int64(to_int(&args[0]).wrapping_add(1)))),
    Function::variadic("add", &[], A, |_, args| Ok(Value::Int64(args.iter().fold(0, |sum, arg| sum.wrapping_add(to_int(arg)))))),
    Function::new("sub", &[A, A], |_, args| Ok(Value::Int64(to_int(&args[0]).wrapping_sub(to_int(&args[1]))))),
    Function::new("div", &[A, A], |_, args| divide(args, i64::wrapping_div)),
    Function::new("mod", &[A, A], |_, args| divide(args, i64::wrapping_rem)),
    Function::variadic("mul", &[A], A, |_, args| Ok(Value::Int64(args.iter().fold(1, |product, arg| product.wrapping_mul(to_int(arg)))))),
    Function::new("randInt", &[I, I], |run, args| {
        let (low, high) = (int(args, 0), int(args, 1));
        let span = high.wrapping_sub(low);
        if span <= 0 {
            return Err(Failure::new("invalid argument to Intn"));
        }
        Ok(Value::Int(low + environment(run)?.random_below(span as u64) as i64))
    }),
    Function::new("add1f", &[A], |_, args| fold(&args[0], &[Value::Int(1)], Decimal::add)),
    Function::variadic("addf", &[], A, |_, args| fold(&Value::Float(0.0), args, Decimal::add)),
    Function::variadic("subf", &[A], A, |_, args| fold(&args[0], &args[1..], Decimal::sub)),
    Function::variadic("mulf", &[A], A, |_, args| fold(&args[0], &args[1..], Decimal::mul)),
    Function::variadic("divf", &[A], A, |_, args| {
        if args[1..].iter().any(|arg| to_float(arg) == 0.0) {
            return Err(Failure::new("decimal division by 0"));
        }
        fold(&args[0], &args[1..], Decimal::div)
    }),
    Function::variadic("biggest", &[A], A, |_, args| Ok(Value::Int64(args.iter().map(to_int).max().unwrap_or(0)))),
    Function::variadic("max", &[A], A, |_, args| Ok(Value::Int64(args.iter().map(to_int).max().unwrap_or(0)))),
    Function::variadic("min", &[A], A, |_, args| Ok(Value::Int64(args.iter().map(to_int).min().unwrap_or(0)))),
    Function::variadic("maxf", &[A], A, |_, args| {
        Ok(Value::Float(
            args.iter().map(to_float).fold(f64::NEG_INFINITY, |a, b| if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }),
        ))
    }),
    Function::variadic("minf", &[A], A, |_, args| {
        Ok(Value::Float(args.iter().map(to_float).fold(f64::INFINITY, |a, b| if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) })))
    }),
    Function::new("ceil", &[A], |_, args| Ok(Value::Float(to_float(&args[0]).ceil()))),
    Function::new("floor", &[A], |_, args| Ok(Value::Float(to_float(&args[0]).floor()))),
    Function::variadic("round", &[A, I], Type::Float, round),
];

fn divide(args: &[Value], operation: fn(i64, i64) -> i64) -> Result {
    let by = to_int(&args[1]);
    if by == 0 {
        return Err(Failure::new("runtime error: integer divide by zero"));
    }
    Ok(Value::Int64(operation(to_int(&args[0]), by)))
}

fn fold(first: &Value, rest: &[Value], operation: fn(&Decimal, &Decimal) -> Decimal) -> Result {
    let decimal = |value: &Value| {
        let value = to_float(value);
        Decimal::from_float(value).ok_or_else(|| Failure::new(format!("Cannot create a Decimal from {}", number::float(value))))
    };
    let mut result = decimal(first)?;
    for value in rest {
        result = operation(&result, &decimal(value)?);
    }
    Ok(Value::Float(result.to_float()))
}

fn round(_: &mut Run<'_>, args: &[Value]) -> Result {
    let round_on = args.get(2).map_or(0.5, to_float);
    let power = 10f64.powf(int(args, 1) as f64);
    let digit = power * to_float(any(args, 0));
    let rounded = if digit.fract() >= round_on { digit.ceil() } else { digit.floor() };
    Ok(Value::Float(rounded / power))
}

fn steps(run: &mut Run<'_>, start: i64, stop: i64, step: i64) -> Result<Vec<i64>> {
    let upwards = start <= stop;
    if upwards && step <= 0 || !upwards && step >= 0 {
        return Ok(Vec::new());
    }
    let count = start.abs_diff(stop).div_ceil(step.unsigned_abs());
    run.charge(count)?;
    run.reserve(usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(8))?;
    let mut list = Vec::with_capacity(count as usize);
    let mut at = start;
    while if upwards { at < stop } else { at > stop } {
        list.push(at);
        match at.checked_add(step) {
            Some(next) => at = next,
            None => break,
        }
    }
    Ok(list)
}

fn until_step(run: &mut Run<'_>, start: i64, stop: i64, step: i64) -> Result {
    Ok(Value::Ints(Rc::new(steps(run, start, stop, step)?)))
}

fn seq(run: &mut Run<'_>, args: &[Value]) -> Result {
    let at = |n: usize| int(args, n);
    let towards = |start: i64, end: i64| if end < start { -1 } else { 1 };
    let (start, end, step) = match args.len() {
        1 => (1, at(0), towards(1, at(0))),
        2 => (at(0), at(1), towards(at(0), at(1))),
        3 if at(2) < at(0) && at(1) > 0 => return string(run, ""),
        3 => (at(0), at(2), at(1)),
        _ => return string(run, ""),
    };
    let list = steps(run, start, end.saturating_add(towards(start, end)), step)?;
    let words: Vec<String> = list.iter().map(i64::to_string).collect();
    string(run, words.join(" "))
}
