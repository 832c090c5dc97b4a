//! Lists: made, cut, searched; never changed in place.

use crate::args::{NIL_POINTER, Result, any, int, is_empty, items, strslice, strval, to_int};
use gotemplate::{Failure, Function, Kind, List, Run, Type, Value};
use std::rc::Rc;

const A: Type = Type::Any;
/// A nil `[]interface {}`, which JSON writes as null.
const NIL_LIST: Value = Value::NilSlice("[]interface {}");

macro_rules! both {
    ($name:literal, $must:literal, $params:expr, $call:expr) => {
        [Function::new($name, $params, $call), Function::new($must, $params, $call)]
    };
}

pub(crate) const ALL: &[&[Function]] = &[
    &[
        Function::variadic("list", &[], A, |run, args| list(run, args.to_vec())),
        Function::variadic("tuple", &[], A, |run, args| list(run, args.to_vec())),
        Function::new("sortAlpha", &[A], sort_alpha),
        Function::variadic("concat", &[], A, concat),
        Function::variadic("without", &[A], A, without),
        Function::variadic("mustWithout", &[A], A, without),
        Function::variadic("slice", &[A], A, slice),
        Function::variadic("mustSlice", &[A], A, slice),
    ],
    &both!("push", "mustPush", &[A, A], push),
    &both!("append", "mustAppend", &[A, A], push),
    &both!("prepend", "mustPrepend", &[A, A], prepend),
    &both!("first", "mustFirst", &[A], |_, args| {
        Ok(items(&args[0], "Cannot find first on type ")?.first().cloned().unwrap_or(Value::Nil))
    }),
    &both!("last", "mustLast", &[A], |_, args| { Ok(items(&args[0], "Cannot find last on type ")?.last().cloned().unwrap_or(Value::Nil)) }),
    &both!("rest", "mustRest", &[A], |run, args| {
        let all = items(&args[0], "Cannot find rest on type ")?;
        if all.is_empty() { Ok(NIL_LIST) } else { list(run, all[1..].to_vec()) }
    }),
    &both!("initial", "mustInitial", &[A], |run, args| {
        let all = items(&args[0], "Cannot find initial on type ")?;
        if all.is_empty() { Ok(NIL_LIST) } else { list(run, all[..all.len() - 1].to_vec()) }
    }),
    &both!("reverse", "mustReverse", &[A], |run, args| {
        let all = items(&args[0], "Cannot find reverse on type ")?;
        list(run, all.iter().rev().cloned().collect())
    }),
    &both!("compact", "mustCompact", &[A], |run, args| {
        let all = items(&args[0], "Cannot compact on type ")?;
        list(run, all.iter().filter(|item| !is_empty(item)).cloned().collect())
    }),
    &both!("uniq", "mustUniq", &[A], uniq),
    &both!("has", "mustHas", &[A, A], has),
    &both!("chunk", "mustChunk", &[Type::Int, A], chunk),
];

fn list(run: &mut Run<'_>, items: Vec<Value>) -> Result {
    run.charge(items.len() as u64)?;
    run.reserve(items.len() * size_of::<Value>() / 4)?;
    Ok(Value::list(items))
}

fn push(run: &mut Run<'_>, args: &[Value]) -> Result {
    let mut all = items(&args[0], "Cannot push on type ")?.into_owned();
    all.push(args[1].clone());
    list(run, all)
}

fn prepend(run: &mut Run<'_>, args: &[Value]) -> Result {
    let mut all = items(&args[0], "Cannot prepend on type ")?.into_owned();
    all.insert(0, args[1].clone());
    list(run, all)
}

fn sort_alpha(run: &mut Run<'_>, args: &[Value]) -> Result {
    if args[0].kind() != Kind::Slice {
        return Ok(Value::strings(vec![strval(&args[0])?]));
    }
    let mut words = strslice(&args[0])?;
    run.charge(words.len() as u64)?;
    words.sort();
    Ok(Value::strings(words))
}

fn concat(run: &mut Run<'_>, args: &[Value]) -> Result {
    if args.is_empty() {
        return Ok(NIL_LIST);
    }
    let mut all = Vec::new();
    for arg in args {
        if arg.is_nil() {
            return Err(Failure::new(NIL_POINTER));
        }
        match arg.items().filter(|_| arg.kind() == Kind::Slice) {
            Some(items) => all.extend_from_slice(&items),
            None => return Err(Failure::new(format!("Cannot concat type {} as list", arg.kind().name()))),
        }
    }
    list(run, all)
}

/// Comparing everything with everything costs steps.
fn contains(run: &mut Run<'_>, haystack: &[Value], needle: &Value) -> Result<bool> {
    run.charge(haystack.len() as u64 / 4)?;
    Ok(haystack.iter().any(|item| needle.deep_equal(item)))
}

fn uniq(run: &mut Run<'_>, args: &[Value]) -> Result {
    let mut kept: Vec<Value> = Vec::new();
    for item in items(&args[0], "Cannot find uniq on type ")?.iter() {
        if !contains(run, &kept, item)? {
            kept.push(item.clone());
        }
    }
    list(run, kept)
}

fn without(run: &mut Run<'_>, args: &[Value]) -> Result {
    let mut kept = Vec::new();
    for item in items(&args[0], "Cannot find without on type ")?.iter() {
        if !contains(run, &args[1..], item)? {
            kept.push(item.clone());
        }
    }
    list(run, kept)
}

fn has(run: &mut Run<'_>, args: &[Value]) -> Result {
    if args[1].is_nil() {
        return Ok(Value::Bool(false));
    }
    let all = items(&args[1], "Cannot find has on type ")?;
    contains(run, &all, &args[0]).map(Value::Bool)
}

fn slice(run: &mut Run<'_>, args: &[Value]) -> Result {
    let value = any(args, 0);
    let all = items(value, "list should be type of slice or array but ")?;
    let length = all.len() as i64;
    if length == 0 {
        return Ok(Value::Nil);
    }
    let start = args.get(1).map_or(0, to_int);
    let end = args.get(2).map_or(length, to_int);
    if start < 0 || end < start || end > length {
        return Err(Failure::new("reflect.Value.Slice: slice index out of bounds"));
    }
    let range = start as usize..end as usize;
    match value {
        Value::Strings(list) => Ok(Value::strings(list[range].to_vec())),
        Value::Ints(list) => Ok(Value::Ints(Rc::new(list[range].to_vec()))),
        _ => list(run, all[range].to_vec()),
    }
}

fn chunk(run: &mut Run<'_>, args: &[Value]) -> Result {
    let size = int(args, 0);
    let all = items(&args[1], "Cannot chunk type ")?;
    let Some(size) = usize::try_from(size).ok().filter(|size| *size > 0) else {
        return Err(Failure::new("runtime error: makeslice: len out of range"));
    };
    run.charge(all.len() as u64)?;
    let chunks = all.chunks(size).map(|chunk| Value::list(chunk.to_vec())).collect();
    Ok(Value::Lists(Rc::new(List { items: chunks })))
}
