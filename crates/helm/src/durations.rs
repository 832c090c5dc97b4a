//! Durations, since Helm 4.3.

use gotemplate::{Failure, Function, Str, Type, Value, number};

const A: Type = Type::Any;

pub(crate) const ALL: &[Function] = &[
    Function::new("mustToDuration", &[A], |_, args| read(&args[0]).map(Value::Duration).map_err(Failure::new)),
    Function::new("durationSeconds", &[A], |_, args| Ok(Value::Float(in_units(&args[0], 1e9)))),
    Function::new("durationMilliseconds", &[A], |_, args| Ok(Value::Int64(read(&args[0]).unwrap_or(0) / 1_000_000))),
    Function::new("durationMicroseconds", &[A], |_, args| Ok(Value::Int64(read(&args[0]).unwrap_or(0) / 1_000))),
    Function::new("durationNanoseconds", &[A], |_, args| Ok(Value::Int64(read(&args[0]).unwrap_or(0)))),
    Function::new("durationMinutes", &[A], |_, args| Ok(Value::Float(in_units(&args[0], 60e9)))),
    Function::new("durationHours", &[A], |_, args| Ok(Value::Float(in_units(&args[0], 3600e9)))),
    Function::new("durationDays", &[A], |_, args| Ok(Value::Float(in_units(&args[0], 3600e9) / 24.0))),
    Function::new("durationWeeks", &[A], |_, args| Ok(Value::Float(in_units(&args[0], 3600e9) / 24.0 / 7.0))),
    Function::new("durationRoundTo", &[A, A], |_, args| Ok(Value::Duration(to_multiple(args, round)))),
    Function::new("durationTruncateTo", &[A, A], |_, args| Ok(Value::Duration(to_multiple(args, |d, m| d - d % m)))),
];

/// Whole units and the rest apart, as Go adds them.
fn in_units(value: &Value, unit: f64) -> f64 {
    let nanos = read(value).unwrap_or(0);
    let whole = nanos / unit as i64;
    whole as f64 + (nanos % unit as i64) as f64 / unit
}

fn to_multiple(args: &[Value], operation: fn(i64, i64) -> i64) -> i64 {
    let Ok(duration) = read(&args[0]) else { return 0 };
    match read(&args[1]) {
        Ok(multiple) if multiple > 0 => operation(duration, multiple),
        _ => duration,
    }
}

/// Rounds half away from zero.
fn round(duration: i64, multiple: i64) -> i64 {
    let rest = duration % multiple;
    let away = rest.unsigned_abs() >= multiple.unsigned_abs() - rest.unsigned_abs();
    let down = duration - rest;
    match (away, duration < 0) {
        (false, _) => down,
        (true, false) => down.checked_add(multiple).unwrap_or(i64::MAX),
        (true, true) => down.checked_sub(multiple).unwrap_or(i64::MIN),
    }
}

/// A duration from what templates have: text, or a number of seconds. In nanoseconds.
fn read(value: &Value) -> Result<i64, String> {
    match value {
        Value::Duration(nanos) => Ok(*nanos),
        Value::String(text) => read_text(text),
        Value::Int(n) | Value::Int64(n) => n.checked_mul(1_000_000_000).ok_or_else(|| format!("duration seconds overflow: {n}")),
        Value::Uint8(n) => Ok(i64::from(*n) * 1_000_000_000),
        Value::Uint64(n) => {
            i64::try_from(*n).ok().and_then(|n| n.checked_mul(1_000_000_000)).ok_or_else(|| format!("duration seconds overflow: {n}"))
        }
        Value::Float(seconds) => from_seconds(*seconds),
        value if value.is_nil() => Err("invalid duration".to_owned()),
        value => Err(format!("unsupported duration type {}", value.type_name())),
    }
}

fn read_text(text: &Str) -> Result<i64, String> {
    let text = text.text();
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err("empty duration".to_owned());
    }
    if let Ok(nanos) = sprig::parse_duration(trimmed) {
        return Ok(nanos);
    }
    match number::parse_float(trimmed) {
        Some(seconds) => from_seconds(seconds),
        None => Err(format!("could not parse duration {}", number::quote(text.as_bytes()))),
    }
}

fn from_seconds(seconds: f64) -> Result<i64, String> {
    if !seconds.is_finite() {
        return Err(format!("invalid duration seconds: {}", number::float(seconds)));
    }
    if seconds.abs() > i64::MAX as f64 / 1e9 {
        return Err(format!("duration seconds overflow: {}", number::float(seconds)));
    }
    Ok((seconds * 1e9) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_from_text_and_seconds() {
        assert_eq!(read(&Value::string("1h30m")), Ok(5_400_000_000_000));
        assert_eq!(read(&Value::string("2.5")), Ok(2_500_000_000));
        assert_eq!(read(&Value::Int(90)), Ok(90_000_000_000));
        assert_eq!(read(&Value::string("bad")), Err("could not parse duration \"bad\"".to_owned()));
        assert!(read(&Value::Float(1e300)).is_err() && read(&Value::Nil).is_err());
        assert_eq!((round(7, 5), round(8, 5), round(-8, 5)), (5, 10, -10));
    }
}
