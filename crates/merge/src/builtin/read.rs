//! Reads an object of a built-in kind as Go decodes it into its struct and writes it again.
//!
//! What does not fit is refused with the text of Go's decoder; unknown fields are told and go; nulls and zero values
//! that a struct would not write go; those that it always writes come.

use std::collections::HashMap;
use std::sync::OnceLock;

use object::GroupVersionKind;
use serde_json::{Map, Value};

use super::fill_structs;
use crate::gofmt;
use crate::quantity::{FORMAT_ERROR, Quantity};
use crate::schema::{Field, Format, List, Scalar, Schema, Type, TypeHandle, TypeId};

/// Values nest no deeper than this.
const DEPTH_MAX: usize = 150;

/// Why an object cannot be decoded: the text after `... cannot be handled as a ...: `.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ReadError(pub String);

/// Reads an object in place. The answer tells the fields that are unknown: `spec.containers[0].x`,
/// in the order of the document.
pub fn read(object: &mut Value, gvk: &GroupVersionKind) -> Result<Vec<String>, ReadError> {
    let Some(ty) = super::type_of(gvk) else {
        return Err(ReadError(format!("no kind {:?} is registered for version {:?}", gvk.kind, gvk.api_version())));
    };
    read_as(object, &ty)
}

/// Reads a value of a built-in type.
pub fn read_as(value: &mut Value, ty: &TypeHandle) -> Result<Vec<String>, ReadError> {
    let mut reader =
        Reader { schema: ty.schema(), flags: go_flags(), path: Vec::new(), fields: Vec::new(), owner: "", unknown: Vec::new() };
    reader.value(value, ty.id())?;
    Ok(reader.unknown)
}

/// What Go says of a field beyond OpenAPI.
#[derive(Debug, Clone, Copy, Default)]
struct Flags {
    pointer: bool,
    always: bool,
    omitted: bool,
}

fn go_flags() -> &'static HashMap<TypeId, Vec<Flags>> {
    static FLAGS: OnceLock<HashMap<TypeId, Vec<Flags>>> = OnceLock::new();
    FLAGS.get_or_init(|| {
        let schema = super::schema();
        let mut out = HashMap::new();
        for line in include_str!("../../data/go-fields.txt").lines().filter(|line| !line.starts_with('#')) {
            let mut words = line.split_whitespace();
            let Some(id) = words.next().and_then(|name| schema.named(&format!("io.k8s.{name}"))) else { continue };
            let fields = schema.get(id).map.as_ref().map(|map| map.fields.as_slice()).unwrap_or_default();
            let mut flags = vec![Flags::default(); fields.len()];
            for word in words {
                let Some((mark, name)) = word.split_at_checked(1) else { continue };
                let Ok(at) = fields.binary_search_by(|field| (*field.name).cmp(name)) else { continue };
                match mark {
                    "*" => flags[at].pointer = true,
                    "!" => flags[at].always = true,
                    _ => flags[at].omitted = true,
                }
            }
            out.insert(id, flags);
        }
        out
    })
}

/// Whether Go writes a field even when it holds nothing, although it is optional.
pub(super) fn is_always_written(id: TypeId, at: usize) -> bool {
    go_flags().get(&id).and_then(|flags| flags.get(at)).is_some_and(|flags| flags.always)
}

struct Reader<'s> {
    schema: &'s Schema,
    flags: &'s HashMap<TypeId, Vec<Flags>>,
    /// For unknown fields: with indices and keys.
    path: Vec<String>,
    /// For errors: names of fields only.
    fields: Vec<String>,
    /// The struct that the last of `fields` is of.
    owner: &'s str,
    unknown: Vec<String>,
}

impl<'s> Reader<'s> {
    fn mismatch(&self, found: &Value, wanted: &str) -> ReadError {
        let found = match found {
            Value::Bool(_) => "bool".to_owned(),
            Value::String(_) => "string".to_owned(),
            Value::Array(_) => "array".to_owned(),
            Value::Object(_) => "object".to_owned(),
            Value::Number(number) if matches!(wanted, "int32" | "int64") => format!("number {number}"),
            _ => "number".to_owned(),
        };
        let field = if self.fields.is_empty() {
            "Go value".to_owned()
        } else {
            format!("Go struct field {}.{}", self.owner, self.fields.join("."))
        };
        ReadError(format!("json: cannot unmarshal {found} into {field} of type {wanted}"))
    }

    fn value(&mut self, value: &mut Value, id: TypeId) -> Result<(), ReadError> {
        if self.path.len() > DEPTH_MAX {
            return Err(ReadError("exceeded max depth".to_owned()));
        }
        let schema = self.schema;
        let ty = schema.get(id);
        match ty.format {
            Format::Quantity => return quantity(value),
            Format::IntOrString => return self.int_or_string(value),
            Format::DateTime => return self.time(value, ty),
            _ => {}
        }
        match ty {
            Type { map: Some(_), scalar: Some(_), .. } => Ok(()),
            Type { map: Some(map), .. } if map.fields.is_empty() => self.entries(value, ty),
            Type { map: Some(_), .. } => self.fields(value, ty, id),
            Type { list: Some(list), .. } => self.items(value, list, id),
            Type { scalar: Some(scalar), .. } => self.scalar(value, *scalar, ty.format, id),
            _ => Ok(()),
        }
    }

    fn scalar(&self, value: &Value, scalar: Scalar, format: Format, id: TypeId) -> Result<(), ReadError> {
        let fits = match (scalar, value) {
            (_, Value::Null) | (Scalar::Untyped, _) | (Scalar::Boolean, Value::Bool(_)) => true,
            (Scalar::String, Value::String(text)) if format == Format::Byte => return check_base64(text),
            (Scalar::String, Value::String(_)) => true,
            (Scalar::Numeric, Value::Number(number)) => match format {
                Format::Int32 => number.as_i64().is_some_and(|int| i32::try_from(int).is_ok()),
                Format::Int64 => number.is_i64(),
                _ => true,
            },
            _ => false,
        };
        if fits { Ok(()) } else { Err(self.mismatch(value, &self.go_type(id))) }
    }

    fn int_or_string(&self, value: &Value) -> Result<(), ReadError> {
        match value {
            Value::Null | Value::String(_) => Ok(()),
            Value::Number(number) if number.as_i64().is_some_and(|int| i32::try_from(int).is_ok()) => Ok(()),
            other => Err(self.mismatch(other, "int32")),
        }
    }

    fn time(&self, value: &mut Value, ty: &Type) -> Result<(), ReadError> {
        match value {
            Value::Null => Ok(()),
            Value::String(text) => {
                *value = Value::from(canonical_time(text, ty.short_name() == "MicroTime").map_err(ReadError)?);
                Ok(())
            }
            other => Err(self.mismatch(other, "string")),
        }
    }

    /// A map of whatever keys.
    fn entries(&mut self, value: &mut Value, ty: &'s Type) -> Result<(), ReadError> {
        let element = ty.map.as_ref().and_then(|map| map.element);
        let Some(element) = element.filter(|element| *element != crate::schema::DEDUCED) else { return Ok(()) };
        match value {
            Value::Null => Ok(()),
            Value::Object(map) => {
                for (key, child) in map {
                    self.path.push(format!(".{key}"));
                    self.value(child, element)?;
                    self.path.pop();
                    if child.is_null() {
                        *child = self.zero(element);
                    }
                }
                Ok(())
            }
            other => Err(self.mismatch(other, &format!("map[string]{}", self.go_type(element)))),
        }
    }

    fn items(&mut self, value: &mut Value, list: &List, id: TypeId) -> Result<(), ReadError> {
        match value {
            Value::Null => Ok(()),
            Value::Array(items) => {
                for (at, item) in items.iter_mut().enumerate() {
                    self.path.push(format!("[{at}]"));
                    self.value(item, list.element)?;
                    self.path.pop();
                    if item.is_null() {
                        *item = self.zero(list.element);
                    }
                }
                Ok(())
            }
            other => Err(self.mismatch(other, &self.go_type(id))),
        }
    }

    fn fields(&mut self, value: &mut Value, ty: &'s Type, id: TypeId) -> Result<(), ReadError> {
        let Some(known) = &ty.map else { return Ok(()) };
        let map = match value {
            Value::Null => return Ok(()),
            Value::Object(map) => map,
            other => return Err(self.mismatch(other, &self.go_type(id))),
        };
        let outer = self.owner;
        for (key, child) in map.iter_mut() {
            let Some(field) = known.field(key) else {
                let path = format!("{}.{key}", self.path.concat());
                self.unknown.push(path.trim_start_matches('.').to_owned());
                continue;
            };
            self.owner = ty.short_name();
            self.fields.push(key.clone());
            self.path.push(format!(".{key}"));
            self.value(child, field.ty)?;
            self.path.pop();
            self.fields.pop();
        }
        self.owner = outer;
        map.retain(|key, _| known.field(key).is_some());
        self.settle(map, &known.fields, id);
        Ok(())
    }

    /// Leaves what the struct would write.
    fn settle(&self, map: &mut Map<String, Value>, fields: &[Field], id: TypeId) {
        let flags = self.flags.get(&id);
        for (at, field) in fields.iter().enumerate() {
            let flags = flags.and_then(|flags| flags.get(at)).copied().unwrap_or_default();
            let always = (field.required && !flags.omitted) || flags.always;
            let is_struct = field.default.as_ref().and_then(Value::as_object).is_some_and(Map::is_empty);
            let kept = map.get(&*field.name).is_some_and(|value| match value {
                Value::Null => false,
                // Any JSON (`default` of a schema), kept as it was written.
                _ if is_any(self.schema.get(field.ty)) => true,
                // A struct in Go, never empty there.
                Value::String(_) | Value::Number(_) if self.schema.get(field.ty).format == Format::IntOrString => true,
                Value::Bool(false) => always || flags.pointer,
                Value::String(text) if text.is_empty() => always || flags.pointer,
                Value::Number(number) if number.as_f64() == Some(0.0) => always || flags.pointer,
                Value::Array(items) if items.is_empty() => always,
                Value::Object(entries) if entries.is_empty() => {
                    always
                        || self.schema.get(field.ty).map.as_ref().is_none_or(|map| !map.fields.is_empty())
                        // A struct without fields: that it is there is all it says (`subresources.status` of a definition).
                        || self.schema.get(field.ty).name.is_some()
                }
                _ => true,
            });
            if kept {
                continue;
            }
            if is_struct || always {
                map.insert((*field.name).to_owned(), if is_struct { self.zero(field.ty) } else { self.zero_of_field(field, flags) });
            } else {
                map.shift_remove(&*field.name);
            }
        }
    }

    fn zero_of_field(&self, field: &Field, flags: Flags) -> Value {
        let ty = self.schema.get(field.ty);
        match (&field.default, ty.scalar) {
            (Some(default), _) => default.clone(),
            (None, Some(Scalar::String)) if !flags.pointer => Value::from(""),
            (None, Some(Scalar::Numeric)) if !flags.pointer => Value::from(0),
            (None, Some(Scalar::Boolean)) if !flags.pointer => Value::from(false),
            _ => Value::Null,
        }
    }

    fn zero(&self, id: TypeId) -> Value {
        let ty = self.schema.get(id);
        match ty {
            Type { format: Format::Quantity, .. } => Value::from("0"),
            Type { map: Some(map), .. } if !map.fields.is_empty() => {
                let mut out = Map::new();
                fill_structs(self.schema, id, &mut out, 0);
                Value::Object(out)
            }
            Type { scalar: Some(Scalar::String), map: None, .. } => Value::from(""),
            Type { scalar: Some(Scalar::Numeric), .. } => Value::from(0),
            Type { scalar: Some(Scalar::Boolean), .. } => Value::from(false),
            _ => Value::Null,
        }
    }

    /// The name that Go's decoder calls a type by.
    fn go_type(&self, id: TypeId) -> String {
        let ty = self.schema.get(id);
        if let Some(name) = &ty.name {
            let parts: Vec<&str> = name.rsplitn(3, '.').collect();
            return if let [kind, version, ..] = parts.as_slice() { format!("{version}.{kind}") } else { name.to_string() };
        }
        match ty {
            Type { list: Some(list), .. } => format!("[]{}", self.go_type(list.element)),
            Type { map: Some(map), .. } => {
                format!("map[string]{}", map.element.map_or_else(|| "interface {}".to_owned(), |id| self.go_type(id)))
            }
            Type { format: Format::Int32, .. } => "int32".to_owned(),
            Type { format: Format::Int64, .. } => "int64".to_owned(),
            Type { format: Format::Byte, .. } => "[]uint8".to_owned(),
            Type { scalar: Some(Scalar::Numeric), .. } => "float64".to_owned(),
            Type { scalar: Some(Scalar::Boolean), .. } => "bool".to_owned(),
            _ => "string".to_owned(),
        }
    }
}

fn is_any(ty: &Type) -> bool {
    ty.scalar.is_some() && ty.map.is_some()
}

fn quantity(value: &mut Value) -> Result<(), ReadError> {
    let text = match value {
        Value::Null => return Ok(()),
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return Err(ReadError(FORMAT_ERROR.to_owned())),
    };
    let read = Quantity::parse(text.trim()).ok_or_else(|| ReadError(FORMAT_ERROR.to_owned()))?;
    *value = Value::from(read.to_string());
    Ok(())
}

fn check_base64(text: &str) -> Result<(), ReadError> {
    let bytes: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    let illegal = |at: usize| Err(ReadError(format!("illegal base64 data at input byte {at}")));
    let padding = bytes.iter().rev().take_while(|byte| **byte == b'=').count();
    let body = bytes.len() - padding;
    if let Some(at) = bytes[..body].iter().position(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))) {
        return illegal(at);
    }
    match (bytes.len() % 4, padding, body % 4) {
        (0, 0, 0) | (0, 1, 3) | (0, 2, 2) => Ok(()),
        (_, 0, _) => illegal(body - body % 4),
        _ => illegal(body),
    }
}

/// A time as Kubernetes writes it: UTC, in seconds or in microseconds.
fn canonical_time(text: &str, micro: bool) -> Result<String, String> {
    let layout = if micro { "2006-01-02T15:04:05.000000Z07:00" } else { "2006-01-02T15:04:05Z07:00" };
    let fail = |rest: &str, part: &str| {
        format!(
            "parsing time {} as {}: cannot parse {} as {}",
            gofmt::quote(text),
            gofmt::quote(layout),
            gofmt::quote(rest),
            gofmt::quote(part)
        )
    };
    let mut rest = text;
    let mut numbers = [0u32; 6];
    for (at, (part, width, after)) in
        [("2006", 4, "-"), ("01", 2, "-"), ("02", 2, "T"), ("15", 2, ":"), ("04", 2, ":"), ("05", 2, "")].into_iter().enumerate()
    {
        let digits = rest.get(..width).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit())).ok_or_else(|| fail(rest, part))?;
        numbers[at] = digits.parse().map_err(|_| fail(rest, part))?;
        rest = &rest[width..];
        rest = rest.strip_prefix(after).ok_or_else(|| fail(rest, after))?;
    }
    let mut micros = 0u32;
    if let Some(fraction) = rest.strip_prefix('.') {
        let end = fraction.find(|char: char| !char.is_ascii_digit()).unwrap_or(fraction.len());
        let digits: String = fraction[..end].chars().chain("000000".chars()).take(6).collect();
        micros = digits.parse().map_err(|_| fail(rest, ".000000"))?;
        rest = &fraction[end..];
    } else if micro {
        return Err(fail(rest, ".000000"));
    }
    let offset = match rest {
        "Z" => 0i64,
        _ => {
            let sign = if rest.starts_with('-') { -1 } else { 1 };
            let parts = rest
                .strip_prefix(['+', '-'])
                .and_then(|zone| zone.split_once(':'))
                .filter(|(hours, minutes)| hours.len() == 2 && minutes.len() == 2);
            let (hours, minutes) = parts.ok_or_else(|| fail(rest, "Z07:00"))?;
            let number = |text: &str| text.parse::<i64>().map_err(|_| fail(rest, "Z07:00"));
            sign * (number(hours)? * 60 + number(minutes)?)
        }
    };
    let [year, month, day, hour, minute, second] = numbers;
    let out_of_range = |what: &str| format!("parsing time {}: {what} out of range", gofmt::quote(text));
    if !(1..=12).contains(&month) {
        return Err(out_of_range("month"));
    }
    if day < 1 || day > days_in(year, month) {
        return Err(out_of_range("day"));
    }
    for (value, end, what) in [(hour, 24, "hour"), (minute, 60, "minute"), (second, 60, "second")] {
        if value >= end {
            return Err(out_of_range(what));
        }
    }
    let minutes = days_from_civil(year, month, day) * 1440 + i64::from(hour) * 60 + i64::from(minute) - offset;
    let (year, month, day) = civil_from_days(minutes.div_euclid(1440));
    let minutes = minutes.rem_euclid(1440);
    let fraction = if micro { format!(".{micros:06}") } else { String::new() };
    Ok(format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{second:02}{fraction}Z", minutes / 60, minutes % 60))
}

fn days_in(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970, of the proleptic Gregorian calendar.
fn days_from_civil(year: u32, month: u32, day: u32) -> i64 {
    let year = i64::from(year) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((i64::from(month) + 9) % 12) + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc() {
        for (text, micro, out) in [
            ("2024-02-29T23:30:00+01:00", false, "2024-02-29T22:30:00Z"),
            ("2024-03-01T00:30:00+01:00", false, "2024-02-29T23:30:00Z"),
            ("1969-12-31T23:59:59.999Z", false, "1969-12-31T23:59:59Z"),
            ("2020-01-01T00:00:00.1Z", true, "2020-01-01T00:00:00.100000Z"),
        ] {
            assert_eq!(canonical_time(text, micro).unwrap(), out);
        }
        for (text, error) in [
            ("x", r#"parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006""#),
            ("2020-13-01T00:00:00Z", r#"parsing time "2020-13-01T00:00:00Z": month out of range"#),
            (
                "2020-01-01 00:00:00Z",
                r#"parsing time "2020-01-01 00:00:00Z" as "2006-01-02T15:04:05Z07:00": cannot parse " 00:00:00Z" as "T""#,
            ),
            ("2020-01-01T00:00:00", r#"parsing time "2020-01-01T00:00:00" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "Z07:00""#),
        ] {
            assert_eq!(canonical_time(text, false).unwrap_err(), error);
        }
    }

    #[test]
    fn base64_is_checked_to_the_byte() {
        for (text, at) in [
            ("Zg==", None),
            ("Zm8=", None),
            ("Zm9v", None),
            ("", None),
            ("???", Some(0)),
            ("Zg=", Some(2)),
            ("Zg", Some(0)),
            ("Zm9vZ", Some(4)),
        ] {
            let want = at.map(|at| ReadError(format!("illegal base64 data at input byte {at}")));
            assert_eq!(check_base64(text).err().is_some(), want.is_some(), "{text}");
        }
        assert!(check_base64("???") == Err(ReadError("illegal base64 data at input byte 0".into())));
    }
}
