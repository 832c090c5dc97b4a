//! Maps: shared and changed in place, as charts rely on.

use crate::args::{Result, any, is_empty, strval, text};
use gotemplate::{Failure, Function, Limit, Map, MapKind, Run, Type, Value};
use std::sync::Arc;

const A: Type = Type::Any;
const M: Type = Type::Map;
const S: Type = Type::String;

pub(crate) const ALL: &[Function] = &[
    Function::variadic("dict", &[], A, dict),
    Function::new("get", &[M, S], |_, args| Ok(map(args, 0).and_then(|map| map.get(&text(args, 1))).unwrap_or_else(|| Value::string("")))),
    Function::new("set", &[M, S, A], |run, args| {
        let Some(map) = map(args, 0) else { return Err(Failure::new("assignment to entry in nil map")) };
        run.insert(map, key(args, 1), args[2].clone())?;
        Ok(args[0].clone())
    }),
    Function::new("unset", &[M, S], |_, args| {
        if let Some(map) = map(args, 0) {
            map.remove(&text(args, 1));
        }
        Ok(args[0].clone())
    }),
    Function::new("hasKey", &[M, S], |_, args| Ok(Value::Bool(map(args, 0).is_some_and(|map| map.contains(&text(args, 1)))))),
    Function::variadic("pluck", &[S], M, |_, args| {
        Ok(Value::list((1..args.len()).filter_map(|at| map(args, at)?.get(&text(args, 0))).collect()))
    }),
    // Go gives keys and values in a random order; ours is that of the keys.
    Function::variadic("keys", &[], M, |run, args| {
        let keys: Vec<_> = (0..args.len()).filter_map(|at| map(args, at)).flat_map(Map::keys).map(Into::into).collect();
        run.charge(keys.len() as u64)?;
        Ok(Value::strings(keys))
    }),
    Function::new("values", &[M], |run, args| {
        let values: Vec<_> = map(args, 0).map(|map| map.entries().into_iter().map(|(_, value)| value).collect()).unwrap_or_default();
        run.charge(values.len() as u64)?;
        Ok(Value::list(values))
    }),
    Function::variadic("pick", &[M], S, |_, args| {
        let picked = (1..args.len()).filter_map(|at| Some((key(args, at), map(args, 0)?.get(&text(args, at))?))).collect();
        Ok(Value::Map(Map::from_entries(MapKind::Any, picked)))
    }),
    Function::variadic("omit", &[M], S, |_, args| {
        let omitted: Vec<_> = (1..args.len()).map(|at| text(args, at)).collect();
        let entries = map(args, 0).map(Map::entries).unwrap_or_default();
        let kept = entries.into_iter().filter(|(key, _)| !omitted.iter().any(|name| **name == **key)).collect();
        Ok(Value::Map(Map::from_entries(MapKind::Any, kept)))
    }),
    Function::variadic("merge", &[M], M, |run, args| merge_all(run, args, false)),
    Function::variadic("mustMerge", &[M], M, |run, args| merge_all(run, args, false)),
    Function::variadic("mergeOverwrite", &[M], M, |run, args| merge_all(run, args, true)),
    Function::variadic("mustMergeOverwrite", &[M], M, |run, args| merge_all(run, args, true)),
    Function::new("deepCopy", &[A], |run, args| deep_copy(run, &args[0], 0)),
    Function::new("mustDeepCopy", &[A], |run, args| deep_copy(run, &args[0], 0)),
    Function::variadic("dig", &[], A, dig),
];

fn map(args: &[Value], at: usize) -> Option<&Map> {
    any(args, at).as_map()
}

fn key(args: &[Value], at: usize) -> Arc<str> {
    text(args, at).into()
}

fn dict(run: &mut Run<'_>, args: &[Value]) -> Result {
    run.charge(args.len() as u64)?;
    let mut entries = Vec::with_capacity(args.len().div_ceil(2));
    for pair in args.chunks(2) {
        let key: Arc<str> = match strval(&pair[0])? {
            gotemplate::Str::Text(text) => text,
            raw => raw.text().into(),
        };
        entries.push((key, pair.get(1).cloned().unwrap_or_else(|| Value::string(""))));
    }
    Ok(Value::Map(Map::from_entries(MapKind::Any, entries)))
}

/// Nesting that copies and merges follow.
const MAX_DEPTH: usize = 300;

/// mergo's merge of maps: keys that the target lacks, or holds an empty value for, are taken over; maps are merged.
fn merge_all(run: &mut Run<'_>, args: &[Value], overwrite: bool) -> Result {
    let Some(target) = map(args, 0) else {
        // A nil target gets a map of its own.
        let fresh = Map::any();
        let fresh_args: Vec<Value> = std::iter::once(Value::Map(fresh)).chain(args[1..].iter().cloned()).collect();
        return merge_all(run, &fresh_args, overwrite);
    };
    for at in 1..args.len() {
        if let Some(source) = map(args, at) {
            merge(run, target, source, overwrite, 0)?;
        }
    }
    Ok(args[0].clone())
}

fn merge(run: &mut Run<'_>, target: &Map, source: &Map, overwrite: bool, depth: usize) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(Limit::Depth.into());
    }
    if target.same(source) {
        return Ok(());
    }
    let entries = source.entries();
    run.charge(entries.len() as u64)?;
    for (key, value) in entries {
        match (target.get(&key), &value) {
            (Some(Value::Map(inner)), Value::Map(other)) => merge(run, &inner, other, overwrite, depth + 1)?,
            // mergo looks into a source that is a map before it asks whether it may overwrite.
            (Some(old), _) if !overwrite && !is_empty(&old) => {}
            (Some(_), value) if overwrite && is_empty(value) && !value.is_nil() => {}
            (Some(_), value) if !overwrite && is_empty(value) => {}
            _ => run.insert(target, key, value)?,
        }
    }
    Ok(())
}

pub(crate) fn deep_copy(run: &mut Run<'_>, value: &Value, depth: usize) -> Result {
    if depth > MAX_DEPTH {
        return Err(Limit::Depth.into());
    }
    run.charge(1)?;
    Ok(match value {
        Value::Map(map) => {
            let mut entries = Vec::with_capacity(map.len());
            for (key, value) in map.entries() {
                entries.push((key, deep_copy(run, &value, depth + 1)?));
            }
            Value::Map(Map::from_entries(map.kind(), entries))
        }
        Value::List(list) => Value::list(list.items.iter().map(|item| deep_copy(run, item, depth + 1)).collect::<Result<_>>()?),
        value => value.clone(),
    })
}

fn dig(_: &mut Run<'_>, args: &[Value]) -> Result {
    if args.len() < 3 {
        return Err(Failure::new("dig needs at least three arguments"));
    }
    let conversion = |value: &Value, wanted: &str| {
        let got = if value.is_nil() { "nil" } else { value.type_name() };
        Failure::new(format!("interface conversion: interface {{}} is {got}, not {wanted}"))
    };
    let mut at = args[args.len() - 1].clone();
    let default = &args[args.len() - 2];
    let keys = &args[..args.len() - 2];
    if let Some(bad) = keys.iter().find(|key| key.as_str().is_none()) {
        return Err(conversion(bad, "string"));
    }
    for key in keys {
        let Some(map) = at.as_map().filter(|map| map.kind() == MapKind::Any) else {
            return Err(conversion(&at, "map[string]interface {}"));
        };
        match map.get(&key.as_str().map(gotemplate::Str::text).unwrap_or_default()) {
            Some(next) => at = next,
            None => return Ok(default.clone()),
        }
    }
    Ok(at)
}
