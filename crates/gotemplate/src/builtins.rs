//! Go's own template functions.

use crate::{Failure, Function, Kind, Run, Str, Type, Value, fmt, number};

type Result = std::result::Result<Value, Failure>;

/// `and`, `or` and `call` are known to the executor by their places.
pub(crate) const ALL: &[Function] = &[
    Function::variadic("and", &[Type::Reflect], Type::Reflect, |_, args| Ok(pick(args, false))),
    Function::variadic("or", &[Type::Reflect], Type::Reflect, |_, args| Ok(pick(args, true))),
    Function::new("not", &[Type::Reflect], |_, args| Ok(Value::Bool(!args[0].truth()))),
    Function::variadic("call", &[Type::Reflect], Type::Reflect, call),
    Function::variadic("html", &[], Type::Any, |run, args| escaped(run, args, html)),
    Function::variadic("js", &[], Type::Any, |run, args| escaped(run, args, js)),
    Function::variadic("urlquery", &[], Type::Any, |run, args| escaped(run, args, url_query)),
    Function::variadic("index", &[Type::Reflect], Type::Reflect, index),
    Function::variadic("slice", &[Type::Reflect], Type::Reflect, slice),
    Function::new("len", &[Type::Reflect], len),
    Function::variadic("print", &[], Type::Any, |run, args| string(run, fmt::sprint(args)?)),
    Function::variadic("printf", &[Type::String], Type::Any, |run, args| {
        let format = args[0].as_str().map(Str::as_bytes).unwrap_or_default();
        string(run, fmt::sprintf(format, &args[1..])?)
    }),
    Function::variadic("println", &[], Type::Any, |run, args| string(run, fmt::sprintln(args)?)),
    Function::variadic("eq", &[Type::Reflect], Type::Reflect, |_, args| equal(&args[0], &args[1..]).map(Value::Bool)),
    Function::new("ne", &[Type::Reflect, Type::Reflect], |_, args| Ok(Value::Bool(!equal(&args[0], &args[1..])?))),
    Function::new("lt", &[Type::Reflect, Type::Reflect], |_, args| less(&args[0], &args[1]).map(Value::Bool)),
    Function::new("le", &[Type::Reflect, Type::Reflect], |_, args| less_or_equal(args).map(Value::Bool)),
    Function::new("gt", &[Type::Reflect, Type::Reflect], |_, args| Ok(Value::Bool(!less_or_equal(args)?))),
    Function::new("ge", &[Type::Reflect, Type::Reflect], |_, args| Ok(Value::Bool(!less(&args[0], &args[1])?))),
];

fn string(run: &mut Run<'_>, bytes: Vec<u8>) -> Result {
    run.reserve(bytes.len())?;
    Ok(Value::String(Str::from_bytes(bytes)))
}

fn pick(args: &[Value], truth: bool) -> Value {
    args.iter().find(|arg| arg.truth() == truth).or(args.last()).cloned().unwrap_or(Value::Invalid)
}

/// No value of a template is a function. The executor knows what it was called with.
fn call(_: &mut Run<'_>, args: &[Value]) -> Result {
    Err(Failure::new(not_callable("of call", &args[0])))
}

pub(crate) fn not_callable(shown: &str, value: &Value) -> String {
    match value {
        Value::Invalid => "call of nil".to_owned(),
        other => format!("non-function {shown} of type {}", other.type_name()),
    }
}

fn index(_: &mut Run<'_>, args: &[Value]) -> Result {
    let mut item = args[0].clone();
    if matches!(item, Value::Invalid) {
        return Err(Failure::new("index of untyped nil"));
    }
    for by in &args[1..] {
        if item.is_nil() {
            return Err(Failure::new("index of nil pointer"));
        }
        item = match item.kind() {
            Kind::Slice | Kind::String => {
                let length = item.length().unwrap_or(0);
                let at = position(by, length)?;
                match &item {
                    Value::String(text) => text.as_bytes().get(at).copied().map_or(Value::Nil, Value::Uint8),
                    item => item.item(at).unwrap_or(Value::Nil),
                }
            }
            Kind::Map => {
                let key = match by {
                    Value::String(text) => text.text(),
                    by if by.is_nil() => return Err(Failure::new("value is nil; should be of type string")),
                    by => return Err(Failure::new(format!("value has type {}; should be string", by.type_name()))),
                };
                match &item {
                    Value::Map(map) => map.get(&key).unwrap_or_else(|| map.kind().zero()),
                    Value::Object(object) => object.field(&key).unwrap_or_else(|| object.missing()),
                    _ => Value::Nil,
                }
            }
            _ => return Err(Failure::new(format!("can't index item of type {}", item.type_name()))),
        };
    }
    Ok(item)
}

/// An index into something of `length` elements.
fn position(by: &Value, length: usize) -> std::result::Result<usize, Failure> {
    let at = match by {
        Value::Int(n) | Value::Int64(n) | Value::Duration(n) => *n,
        Value::Uint8(n) => i64::from(*n),
        Value::Uint64(n) => i64::try_from(*n).unwrap_or(i64::MAX),
        by if by.is_nil() => return Err(Failure::new("cannot index slice/array with nil")),
        by => return Err(Failure::new(format!("cannot index slice/array with type {}", by.type_name()))),
    };
    usize::try_from(at).ok().filter(|at| *at < length).ok_or_else(|| Failure::new(format!("index out of range: {at}")))
}

/// Go's `slice`; Helm's charts see sprig's instead.
fn slice(_: &mut Run<'_>, args: &[Value]) -> Result {
    let item = &args[0];
    if item.is_nil() {
        return Err(Failure::new("slice of untyped nil"));
    }
    if args.len() > 4 {
        return Err(Failure::new(format!("too many slice indexes: {}", args.len() - 1)));
    }
    let length = match item.kind() {
        Kind::String if args.len() == 4 => return Err(Failure::new("cannot 3-index slice a string")),
        Kind::String | Kind::Slice => item.length().unwrap_or(0),
        _ => return Err(Failure::new(format!("can't slice item of type {}", item.type_name()))),
    };
    let mut bounds = [0, length, length];
    for (bound, by) in bounds.iter_mut().zip(&args[1..]) {
        *bound = position(by, length + 1)?;
    }
    let [start, end, _] = bounds;
    if start > end {
        return Err(Failure::new(format!("invalid slice index: {start} > {end}")));
    }
    Ok(match item {
        Value::String(text) => Value::String(Str::from_bytes(text.as_bytes()[start..end].to_vec())),
        Value::Strings(list) => Value::strings(list[start..end].to_vec()),
        item => Value::list((start..end).filter_map(|at| item.item(at)).collect()),
    })
}

fn len(_: &mut Run<'_>, args: &[Value]) -> Result {
    match &args[0] {
        // Go's reflection panics here, and the panic's text is what users see.
        Value::Invalid => Err(Failure::new("reflect: call of reflect.Value.Type on zero Value")),
        Value::Nil => Err(Failure::new("len of nil pointer")),
        value => match value.length() {
            Some(n) => Ok(Value::Int(n as i64)),
            None => Err(Failure::new(format!("len of type {}", value.type_name()))),
        },
    }
}

#[derive(PartialEq, Clone, Copy)]
enum Basic {
    Other,
    Bool,
    Int,
    Uint,
    Float,
    String,
}

fn basic(value: &Value) -> Basic {
    match value.kind() {
        Kind::Bool => Basic::Bool,
        Kind::Int | Kind::Int64 => Basic::Int,
        Kind::Uint8 | Kind::Uint64 => Basic::Uint,
        Kind::Float64 => Basic::Float,
        Kind::String => Basic::String,
        _ => Basic::Other,
    }
}

fn signed(value: &Value) -> i64 {
    match value {
        Value::Int(n) | Value::Int64(n) | Value::Duration(n) => *n,
        _ => 0,
    }
}

fn unsigned(value: &Value) -> u64 {
    match value {
        Value::Uint8(n) => u64::from(*n),
        Value::Uint64(n) => *n,
        _ => 0,
    }
}

fn incompatible(a: &Value, b: &Value) -> Failure {
    Failure::new(format!("incompatible types for comparison: {} and {}", a.type_name(), b.type_name()))
}

fn equal(first: &Value, others: &[Value]) -> std::result::Result<bool, Failure> {
    if others.is_empty() {
        return Err(Failure::new("missing argument for comparison"));
    }
    for other in others {
        if equal_pair(first, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn equal_pair(a: &Value, b: &Value) -> std::result::Result<bool, Failure> {
    let (kind_a, kind_b) = (basic(a), basic(b));
    if kind_a != kind_b {
        return match (kind_a, kind_b) {
            (Basic::Int, Basic::Uint) => Ok(u64::try_from(signed(a)) == Ok(unsigned(b))),
            (Basic::Uint, Basic::Int) => Ok(u64::try_from(signed(b)) == Ok(unsigned(a))),
            _ if !a.is_nil() && !b.is_nil() => Err(incompatible(a, b)),
            _ => Ok(false),
        };
    }
    match kind_a {
        Basic::Int => Ok(signed(a) == signed(b)),
        Basic::Uint => Ok(unsigned(a) == unsigned(b)),
        Basic::Bool | Basic::Float | Basic::String => Ok(a.deep_equal(b)),
        Basic::Other if a.is_nil() || b.is_nil() => {
            let nil = |value: &Value| value.is_nil() || matches!(value, Value::NilSlice(_));
            Ok(nil(a) == nil(b))
        }
        Basic::Other if a.kind() != b.kind() => {
            let show = |value: &Value| fmt::text(value).map(|text| text.text().into_owned());
            Err(Failure::new(format!("non-comparable types {}: {}, {}: {}", show(a)?, a.type_name(), b.type_name(), show(b)?)))
        }
        Basic::Other if matches!(b.kind(), Kind::Map | Kind::Slice) => {
            let text = fmt::sprintf(b"%s", std::slice::from_ref(b))?;
            Err(Failure::new(format!("non-comparable type {}: {}", String::from_utf8_lossy(&text), b.type_name())))
        }
        Basic::Other => Ok(a.deep_equal(b)),
    }
}

fn less(a: &Value, b: &Value) -> std::result::Result<bool, Failure> {
    let bad = || Failure::new("invalid type for comparison");
    let (kind_a, kind_b) = (basic(a), basic(b));
    if kind_a == Basic::Other || kind_b == Basic::Other {
        return Err(bad());
    }
    match (kind_a, kind_b) {
        (Basic::Int, Basic::Uint) => Ok(signed(a) < 0 || (signed(a) as u64) < unsigned(b)),
        (Basic::Uint, Basic::Int) => Ok(signed(b) >= 0 && unsigned(a) < signed(b) as u64),
        (a_kind, b_kind) if a_kind != b_kind => Err(incompatible(a, b)),
        (Basic::Int, _) => Ok(signed(a) < signed(b)),
        (Basic::Uint, _) => Ok(unsigned(a) < unsigned(b)),
        _ => match (a, b) {
            (Value::Float(a), Value::Float(b)) => Ok(a < b),
            (Value::String(a), Value::String(b)) => Ok(a < b),
            _ => Err(bad()),
        },
    }
}

fn less_or_equal(args: &[Value]) -> std::result::Result<bool, Failure> {
    Ok(less(&args[0], &args[1])? || equal_pair(&args[0], &args[1])?)
}

fn escaped(run: &mut Run<'_>, args: &[Value], escape: fn(&str, &mut String)) -> Result {
    let bytes = match args {
        [Value::String(text)] => text.as_bytes().to_vec(),
        args => {
            let shown: Vec<Value> = args.iter().map(|arg| if arg.is_nil() { Value::string("<no value>") } else { arg.clone() }).collect();
            fmt::sprint(&shown)?
        }
    };
    let mut out = String::with_capacity(bytes.len());
    escape(&String::from_utf8_lossy(&bytes), &mut out);
    string(run, out.into_bytes())
}

fn html(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '\0' => out.push('\u{fffd}'),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
}

fn js(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '<' => out.push_str("\\u003C"),
            '>' => out.push_str("\\u003E"),
            '&' => out.push_str("\\u0026"),
            '=' => out.push_str("\\u003D"),
            c if c < ' ' => out.push_str(&format!("\\u{:04X}", c as u32)),
            c if c.is_ascii() || number::is_print(c) => out.push(c),
            c => out.push_str(&format!("\\u{:04X}", c as u32)),
        }
    }
}

fn url_query(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte as char),
            b' ' => out.push('+'),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
}
