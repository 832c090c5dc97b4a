//! Reading arguments, whose types the executor has checked, and casting them as spf13/cast does.

use gotemplate::{Failure, Kind, Run, Str, Value, fmt, number};
use std::borrow::Cow;

pub(crate) type Result<T = Value> = std::result::Result<T, Failure>;

/// What Go says when reflection meets a nil.
pub(crate) const NIL_POINTER: &str = "runtime error: invalid memory address or nil pointer dereference";

pub(crate) fn text(args: &[Value], at: usize) -> Cow<'_, str> {
    args.get(at).and_then(Value::as_str).map(Str::text).unwrap_or_default()
}

pub(crate) fn bytes(args: &[Value], at: usize) -> &[u8] {
    args.get(at).and_then(Value::as_str).map(Str::as_bytes).unwrap_or_default()
}

pub(crate) fn int(args: &[Value], at: usize) -> i64 {
    match args.get(at) {
        Some(Value::Int(n) | Value::Int64(n)) => *n,
        _ => 0,
    }
}

pub(crate) fn any(args: &[Value], at: usize) -> &Value {
    args.get(at).unwrap_or(&Value::Nil)
}

pub(crate) fn string(run: &mut Run<'_>, text: impl Into<Str>) -> Result {
    let text = text.into();
    run.reserve(text.len())?;
    Ok(Value::String(text))
}

pub(crate) fn raw(run: &mut Run<'_>, bytes: Vec<u8>) -> Result {
    run.reserve(bytes.len())?;
    Ok(Value::String(Str::from_bytes(bytes)))
}

/// The elements of a slice, or the error of a function that wants one.
pub(crate) fn items<'a>(value: &'a Value, refusal: &str) -> Result<Cow<'a, [Value]>> {
    if value.is_nil() {
        return Err(Failure::new(NIL_POINTER));
    }
    match value.items() {
        Some(items) if value.kind() == Kind::Slice => Ok(items),
        _ => Err(Failure::new(format!("{refusal}{}", value.kind().name()))),
    }
}

/// sprig's `strval`.
pub(crate) fn strval(value: &Value) -> Result<Str> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bytes(bytes) => Ok(Str::from_bytes(bytes.to_vec())),
        value if value.is_nil() => Ok("<nil>".into()),
        value => fmt::text(value),
    }
}

/// sprig's `strslice`: the elements as strings, nils left out.
pub(crate) fn strslice(value: &Value) -> Result<Vec<Str>> {
    match value {
        Value::Strings(list) => Ok(list.as_ref().clone()),
        value if value.kind() == Kind::Slice => {
            let items = value.items().unwrap_or_default();
            items.iter().filter(|item| !item.is_nil()).map(strval).collect()
        }
        value if value.is_nil() => Ok(Vec::new()),
        value => Ok(vec![strval(value)?]),
    }
}

/// sprig's `empty`.
pub(crate) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(object) => object.length() == Some(0),
        value => !value.truth(),
    }
}

/// `cast.ToInt64`, and `cast.ToInt`, which is the same on 64 bits.
pub(crate) fn to_int(value: &Value) -> i64 {
    match value {
        Value::Int(n) | Value::Int64(n) => *n,
        Value::Uint8(n) => i64::from(*n),
        Value::Uint64(n) => *n as i64,
        // As Go on amd64: what does not fit becomes the smallest integer.
        Value::Float(f) if f.is_nan() || *f >= 9.223_372_036_854_775_8e18 || *f < -9.223_372_036_854_775_8e18 => i64::MIN,
        Value::Float(f) => *f as i64,
        Value::Bool(b) => i64::from(*b),
        Value::String(text) => number::parse_int(without_zero_decimals(&text.text())).unwrap_or(0),
        _ => 0,
    }
}

/// `1.00` is read as `1`; `1.9` stays as it is and is no integer.
fn without_zero_decimals(text: &str) -> &str {
    let trimmed = text.trim_end_matches('0');
    match trimmed.strip_suffix('.') {
        Some(whole) if trimmed.len() < text.len() => whole,
        _ => text,
    }
}

pub(crate) fn to_float(value: &Value) -> f64 {
    match value {
        Value::Float(f) => *f,
        Value::Int(n) | Value::Int64(n) => *n as f64,
        Value::Uint8(n) => f64::from(*n),
        Value::Uint64(n) => *n as f64,
        Value::Bool(b) => f64::from(u8::from(*b)),
        Value::String(text) => number::parse_float(&text.text()).unwrap_or(0.0),
        _ => 0.0,
    }
}
