//! Protobuf bodies of Kubernetes as JSON values, and back.
//!
//! ```text
//! "k8s\0" + runtime.Unknown{typeMeta, raw} ◄──► message of that kind ◄──► fields by number (data/protobuf.txt) ◄──► JSON
//! ```
//!
//! Clients in Go send some requests only in this form and do not fall back; most ask for answers in it first. The table has, per message, `number name type` of every
//! field; a type is `s`tring, `b`ool, `i`nteger, `d`ouble, b`y`tes, `m:`message or `n:`message written inline, after `[` for
//! lists and `{` for maps. Behind a pointer of Go (a `p` after a scalar, `o:` for a message) a zero is a value and not an absence; what
//! is no pointer is always written, a zero too.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::OnceLock;

/// Why a body is no protobuf of a known kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    NoPrefix,
    #[error("unexpected end of the protobuf message")]
    Truncated,
    #[error("the protobuf message is malformed")]
    Malformed,
    #[error("no kind \"{kind}\" is registered for version \"{api_version}\"")]
    UnknownKind { api_version: String, kind: String },
    #[error("the protobuf message is nested too deeply")]
    TooDeep,
}

const PREFIX: &[u8] = b"k8s\0";
const DEPTH_MAX: usize = 100;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scalar {
    Text,
    Bool,
    Integer,
    Double,
    Bytes,
}

enum Type {
    Scalar(Scalar, bool),
    /// Whether it may be left out, and which.
    Message(bool, &'static str),
    Inline(&'static str),
    List(Box<Type>),
    Map(Box<Type>),
}

type Message = HashMap<u64, (&'static str, Type)>;

fn messages() -> &'static HashMap<&'static str, Message> {
    static MESSAGES: OnceLock<HashMap<&'static str, Message>> = OnceLock::new();
    MESSAGES.get_or_init(|| {
        let mut out: HashMap<&'static str, Message> = HashMap::new();
        let mut current = "";
        for line in include_str!("../../data/protobuf.txt").lines() {
            if let Some(field) = line.strip_prefix(' ') {
                let mut parts = field.split(' ');
                let number = parts.next().and_then(|n| n.parse().ok());
                if let (Some(number), Some(name), Some(kind)) = (number, parts.next(), parts.next().and_then(read_type)) {
                    out.entry(current).or_default().insert(number, (name, kind));
                }
            } else {
                current = line;
                out.entry(current).or_default();
            }
        }
        out
    })
}

fn read_type(text: &'static str) -> Option<Type> {
    if let Some(rest) = text.strip_prefix('[') {
        return Some(Type::List(Box::new(read_type(rest)?)));
    }
    if let Some(rest) = text.strip_prefix('{') {
        return Some(Type::Map(Box::new(read_type(rest)?)));
    }
    if let Some(name) = text.strip_prefix("m:") {
        return Some(Type::Message(false, name));
    }
    if let Some(name) = text.strip_prefix("o:") {
        return Some(Type::Message(true, name));
    }
    if let Some(name) = text.strip_prefix("n:") {
        return Some(Type::Inline(name));
    }
    let scalar = match text.chars().next()? {
        's' => Scalar::Text,
        'b' => Scalar::Bool,
        'i' => Scalar::Integer,
        'd' => Scalar::Double,
        'y' => Scalar::Bytes,
        _ => return None,
    };
    Some(Type::Scalar(scalar, text.ends_with('p')))
}

/// The message of a kind; common options (`DeleteOptions`) are the same in every group.
fn message_of(api_version: &str, kind: &str) -> Option<&'static str> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let package = match group {
        "" => "core",
        group => group.split('.').next().unwrap_or(group),
    };
    let own = format!("{package}.{version}.{kind}");
    let common = format!("meta.v1.{kind}");
    let known = messages();
    known.get_key_value(own.as_str()).or_else(|| known.get_key_value(common.as_str())).map(|(name, _)| *name)
}

/// Reads an enveloped object.
pub fn decode(bytes: &[u8]) -> Result<Value, Error> {
    let body = bytes.strip_prefix(PREFIX).ok_or(Error::NoPrefix)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    let mut fields = Fields(body);
    while let Some((number, field)) = fields.next()? {
        match (number, field) {
            (1, Field::Bytes(meta)) => {
                let mut fields = Fields(meta);
                while let Some((number, field)) = fields.next()? {
                    match (number, field) {
                        (1, Field::Bytes(text)) => api_version = text_of(text)?,
                        (2, Field::Bytes(text)) => kind = text_of(text)?,
                        _ => {}
                    }
                }
            }
            (2, Field::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let Some(message) = message_of(&api_version, &kind) else {
        return Err(Error::UnknownKind { api_version, kind });
    };
    let mut out = Map::new();
    out.insert("kind".to_owned(), Value::from(kind));
    out.insert("apiVersion".to_owned(), Value::from(api_version));
    read_message(message, raw, &mut out, 0)?;
    Ok(Value::Object(out))
}

fn text_of(bytes: &[u8]) -> Result<String, Error> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Error::Malformed)
}

fn read_message(name: &str, bytes: &[u8], out: &mut Map<String, Value>, depth: usize) -> Result<(), Error> {
    if depth > DEPTH_MAX {
        return Err(Error::TooDeep);
    }
    let Some(message) = messages().get(name) else { return Ok(()) };
    let mut fields = Fields(bytes);
    while let Some((number, field)) = fields.next()? {
        let Some((name, kind)) = message.get(&number) else { continue };
        match (kind, field) {
            (Type::Inline(inner), Field::Bytes(bytes)) => read_message(inner, bytes, out, depth + 1)?,
            (Type::List(item), field) => {
                let value = read_value(item, field, depth)?.unwrap_or_else(|| zero(item));
                if let Value::Array(items) = out.entry(*name).or_insert_with(|| Value::Array(Vec::new())) {
                    items.push(value);
                }
            }
            (Type::Map(item), Field::Bytes(bytes)) => {
                let (key, value) = read_entry(item, bytes, depth)?;
                if let Value::Object(entries) = out.entry(*name).or_insert_with(|| Value::Object(Map::new())) {
                    entries.insert(key, value);
                }
            }
            (kind, field) => {
                if let Some(value) = read_value(kind, field, depth)? {
                    out.insert((*name).to_owned(), value);
                }
            }
        }
    }
    Ok(())
}

fn read_entry(item: &Type, bytes: &[u8], depth: usize) -> Result<(String, Value), Error> {
    let (mut key, mut value) = (String::new(), None);
    let mut fields = Fields(bytes);
    while let Some((number, field)) = fields.next()? {
        match (number, field) {
            (1, Field::Bytes(text)) => key = text_of(text)?,
            (2, field) => value = read_value(item, field, depth)?,
            _ => {}
        }
    }
    Ok((key, value.unwrap_or_else(|| zero(item))))
}

fn zero(kind: &Type) -> Value {
    match kind {
        Type::Scalar(Scalar::Text | Scalar::Bytes, _) => Value::from(""),
        Type::Scalar(Scalar::Bool, _) => Value::from(false),
        Type::Scalar(..) => Value::from(0),
        Type::List(_) => Value::Array(Vec::new()),
        _ => Value::Object(Map::new()),
    }
}

/// A field's value; `None` when Go would leave it out of JSON.
fn read_value(kind: &Type, field: Field<'_>, depth: usize) -> Result<Option<Value>, Error> {
    let value = match (kind, field) {
        (Type::Scalar(Scalar::Bool, pointer), Field::Number(n)) => (n != 0 || *pointer).then(|| Value::from(n != 0)),
        // Integers are signed, whatever their width.
        (Type::Scalar(Scalar::Integer, pointer), Field::Number(n)) => (n != 0 || *pointer).then(|| Value::from(n.cast_signed())),
        (Type::Scalar(Scalar::Double, _), Field::Fixed(bits)) => Some(Value::from(f64::from_bits(bits))),
        (Type::Scalar(Scalar::Text, pointer), Field::Bytes(text)) => {
            (!text.is_empty() || *pointer).then(|| text_of(text)).transpose()?.map(Value::from)
        }
        (Type::Scalar(Scalar::Bytes, _), Field::Bytes(bytes)) => (!bytes.is_empty()).then(|| Value::from(STANDARD.encode(bytes))),
        (Type::Message(_, name), Field::Bytes(bytes)) => read_special(name, bytes, depth)?,
        _ => return Err(Error::Malformed),
    };
    Ok(value)
}

/// A message; some are written in JSON as something else.
fn read_special(name: &'static str, bytes: &[u8], depth: usize) -> Result<Option<Value>, Error> {
    let mut out = Map::new();
    let numbers = |bytes| -> Result<(i64, i64), Error> {
        let (mut first, mut second) = (0, 0);
        let mut fields = Fields(bytes);
        while let Some((number, field)) = fields.next()? {
            match (number, field) {
                (1, Field::Number(n)) => first = n.cast_signed(),
                (2, Field::Number(n)) => second = n.cast_signed(),
                _ => {}
            }
        }
        Ok((first, second))
    };
    Ok(match name {
        "meta.v1.Time" | "meta.v1.MicroTime" => {
            let (seconds, nanos) = numbers(bytes)?;
            // Go's zero time, which is no time at all.
            if bytes.is_empty() || seconds == -62_135_596_800 {
                return Ok(None);
            }
            let nanos = i32::try_from(nanos).map_err(|_| Error::Malformed)?;
            let time = jiff::Timestamp::new(seconds, nanos).map_err(|_| Error::Malformed)?;
            let form = if name == "meta.v1.Time" { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S.%6fZ" };
            Some(Value::from(time.strftime(form).to_string()))
        }
        "util.intstr.IntOrString" => {
            read_message(name, bytes, &mut out, depth + 1)?;
            let number = out.get("intVal").cloned().unwrap_or_else(|| Value::from(0));
            Some(if out.get("type").and_then(Value::as_i64) == Some(1) {
                out.remove("strVal").unwrap_or_else(|| Value::from(""))
            } else {
                number
            })
        }
        // Wrappers of a text or of raw JSON.
        "resource.Quantity" | "resource.QuantityValue" => {
            read_message(name, bytes, &mut out, depth + 1)?;
            Some(out.remove("string").unwrap_or_else(|| Value::from("0")))
        }
        "meta.v1.FieldsV1" | "runtime.RawExtension" | "apiextensions.v1.JSON" => {
            let mut fields = Fields(bytes);
            let mut raw = &[][..];
            while let Some((number, field)) = fields.next()? {
                if let (1, Field::Bytes(bytes)) = (number, field) {
                    raw = bytes;
                }
            }
            if raw.is_empty() {
                return Ok(None);
            }
            Some(serde_json::from_slice(raw).map_err(|_| Error::Malformed)?)
        }
        _ => {
            read_message(name, bytes, &mut out, depth + 1)?;
            Some(match name {
                "authentication.v1.ExtraValue" | "authorization.v1.ExtraValue" | "certificates.v1.ExtraValue" => {
                    out.remove("items").unwrap_or_else(|| Value::Array(Vec::new()))
                }
                "apiextensions.v1.JSONSchemaPropsOrArray" => {
                    out.remove("schema").or_else(|| out.remove("jSONSchemas")).unwrap_or_else(|| Value::Object(Map::new()))
                }
                "apiextensions.v1.JSONSchemaPropsOrBool" => match out.remove("schema") {
                    Some(schema) => schema,
                    None => Value::from(out.get("allows").and_then(Value::as_bool).unwrap_or(false)),
                },
                "apiextensions.v1.JSONSchemaPropsOrStringArray" => {
                    out.remove("schema").or_else(|| out.remove("property")).unwrap_or_else(|| Value::Object(Map::new()))
                }
                _ => Value::Object(out),
            })
        }
    })
}

// ---- writing ----

/// Writes an object of a known kind with its envelope; `None` when there is no message for it.
pub fn encode(value: &Value) -> Option<Vec<u8>> {
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or("");
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let message = message_of(api_version, kind)?;
    let mut meta = Vec::new();
    write_bytes(&mut meta, 1, api_version.as_bytes());
    write_bytes(&mut meta, 2, kind.as_bytes());
    let mut raw = Vec::with_capacity(512);
    write_message(message, value.as_object()?, &mut raw, 0)?;
    let mut out = Vec::with_capacity(raw.len() + meta.len() + 32);
    out.extend_from_slice(PREFIX);
    write_bytes(&mut out, 1, &meta);
    write_bytes(&mut out, 2, &raw);
    write_bytes(&mut out, 3, b"");
    write_bytes(&mut out, 4, b"");
    Some(out)
}

/// One event of a watch, as it stands in a stream: its length, its type and the object with its envelope.
pub fn encode_event(kind: &str, object: &Value) -> Option<Vec<u8>> {
    let object = encode(object)?;
    let mut extension = Vec::with_capacity(object.len() + 8);
    write_bytes(&mut extension, 1, &object);
    let mut event = Vec::with_capacity(extension.len() + 24);
    write_bytes(&mut event, 1, kind.as_bytes());
    write_bytes(&mut event, 2, &extension);
    let length = u32::try_from(event.len()).ok()?;
    let mut out = Vec::with_capacity(event.len() + 4);
    out.extend_from_slice(&length.to_be_bytes());
    out.append(&mut event);
    Some(out)
}

fn write_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn write_bytes(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    write_number(out, number << 3 | 2);
    write_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn write_varint(out: &mut Vec<u8>, number: u64, value: u64) {
    write_number(out, number << 3);
    write_number(out, value);
}

fn write_message(name: &str, value: &Map<String, Value>, out: &mut Vec<u8>, depth: usize) -> Option<()> {
    if depth > DEPTH_MAX {
        return None;
    }
    for (number, field, kind) in ordered().get(name)? {
        if let Type::Inline(inner) = kind {
            let mut bytes = Vec::new();
            write_message(inner, value, &mut bytes, depth + 1)?;
            write_bytes(out, *number, &bytes);
            continue;
        }
        match value.get(*field) {
            None | Some(Value::Null) => write_zero(*number, kind, out, depth)?,
            Some(value) => write_field(*number, kind, value, out, depth)?,
        }
    }
    Some(())
}

/// What Go writes of a field without a value: nothing behind a pointer, else its zero.
fn write_zero(number: u64, kind: &Type, out: &mut Vec<u8>, depth: usize) -> Option<()> {
    match kind {
        Type::Scalar(_, true)
        | Type::Scalar(Scalar::Bytes, _)
        | Type::Message(true, _)
        | Type::List(_)
        | Type::Map(_)
        | Type::Inline(_) => {}
        Type::Scalar(Scalar::Text, false) => write_bytes(out, number, b""),
        Type::Scalar(Scalar::Bool | Scalar::Integer, false) => write_varint(out, number, 0),
        Type::Scalar(Scalar::Double, false) => {
            write_number(out, number << 3 | 1);
            out.extend_from_slice(&0f64.to_le_bytes());
        }
        Type::Message(false, name) => {
            let mut bytes = Vec::new();
            match *name {
                // These are empty.
                "meta.v1.Time" | "meta.v1.MicroTime" | "meta.v1.FieldsV1" | "runtime.RawExtension" | "apiextensions.v1.JSON" => {}
                "util.intstr.IntOrString" => {
                    write_special(name, &Value::from(0), &mut bytes, depth + 1)?;
                }
                "resource.Quantity" => {
                    write_special(name, &Value::from("0"), &mut bytes, depth + 1)?;
                }
                name => write_message(name, &Map::new(), &mut bytes, depth + 1)?,
            }
            write_bytes(out, number, &bytes);
        }
    }
    Some(())
}

fn write_field(number: u64, kind: &Type, value: &Value, out: &mut Vec<u8>, depth: usize) -> Option<()> {
    match (kind, value) {
        (Type::List(item), Value::Array(items)) => {
            for value in items {
                write_field(number, item, value, out, depth)?;
            }
        }
        (Type::Map(item), Value::Object(entries)) => {
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            for (key, value) in entries {
                let mut entry = Vec::with_capacity(key.len() + 16);
                write_bytes(&mut entry, 1, key.as_bytes());
                write_field(2, item, value, &mut entry, depth + 1)?;
                write_bytes(out, number, &entry);
            }
        }
        (Type::Scalar(Scalar::Text, _), Value::String(text)) => write_bytes(out, number, text.as_bytes()),
        (Type::Scalar(Scalar::Bytes, _), Value::String(text)) => write_bytes(out, number, &STANDARD.decode(text).ok()?),
        (Type::Scalar(Scalar::Bool, _), Value::Bool(bool)) => write_varint(out, number, u64::from(*bool)),
        (Type::Scalar(Scalar::Integer, _), Value::Number(integer)) => {
            let integer = integer.as_i64().or_else(|| integer.as_f64().filter(|float| float.fract() == 0.0).map(|float| float as i64))?;
            write_varint(out, number, integer.cast_unsigned());
        }
        (Type::Scalar(Scalar::Double, _), Value::Number(double)) => {
            write_number(out, number << 3 | 1);
            out.extend_from_slice(&double.as_f64()?.to_le_bytes());
        }
        (Type::Message(_, name), value) => {
            let mut bytes = Vec::new();
            if write_special(name, value, &mut bytes, depth + 1)? {
                write_bytes(out, number, &bytes);
            }
        }
        // An element that is null in a list is an empty one.
        (Type::Scalar(..), Value::Null) => write_bytes(out, number, b""),
        _ => return None,
    }
    Some(())
}

/// A message; some are written in JSON as something else. `false` when there is nothing to write.
fn write_special(name: &str, value: &Value, out: &mut Vec<u8>, depth: usize) -> Option<bool> {
    match name {
        "meta.v1.Time" | "meta.v1.MicroTime" => {
            let time: jiff::Timestamp = value.as_str()?.parse().ok()?;
            write_varint(out, 1, time.as_second().cast_unsigned());
            write_varint(out, 2, u64::try_from(time.subsec_nanosecond()).ok()?);
        }
        "util.intstr.IntOrString" => match value {
            Value::String(text) => {
                write_varint(out, 1, 1);
                write_varint(out, 2, 0);
                write_bytes(out, 3, text.as_bytes());
            }
            other => {
                write_varint(out, 1, 0);
                write_varint(out, 2, other.as_i64()?.cast_unsigned());
                write_bytes(out, 3, b"");
            }
        },
        "resource.Quantity" | "resource.QuantityValue" => match value {
            Value::String(text) => write_bytes(out, 1, text.as_bytes()),
            other => write_bytes(out, 1, other.to_string().as_bytes()),
        },
        "meta.v1.FieldsV1" | "runtime.RawExtension" | "apiextensions.v1.JSON" => write_bytes(out, 1, value.to_string().as_bytes()),
        "authentication.v1.ExtraValue" | "authorization.v1.ExtraValue" | "certificates.v1.ExtraValue" => {
            for item in value.as_array()? {
                write_bytes(out, 1, item.as_str()?.as_bytes());
            }
        }
        "apiextensions.v1.JSONSchemaPropsOrArray" | "apiextensions.v1.JSONSchemaPropsOrStringArray" => match value {
            Value::Array(items) if name.ends_with("StringArray") => {
                for item in items {
                    write_bytes(out, 2, item.as_str()?.as_bytes());
                }
            }
            Value::Array(items) => {
                for item in items {
                    let mut bytes = Vec::new();
                    write_message("apiextensions.v1.JSONSchemaProps", item.as_object()?, &mut bytes, depth)?;
                    write_bytes(out, 2, &bytes);
                }
            }
            other => {
                let mut bytes = Vec::new();
                write_message("apiextensions.v1.JSONSchemaProps", other.as_object()?, &mut bytes, depth)?;
                write_bytes(out, 1, &bytes);
            }
        },
        "apiextensions.v1.JSONSchemaPropsOrBool" => match value {
            Value::Bool(allows) => write_varint(out, 1, u64::from(*allows)),
            other => {
                let mut bytes = Vec::new();
                write_varint(out, 1, 1);
                write_message("apiextensions.v1.JSONSchemaProps", other.as_object()?, &mut bytes, depth)?;
                write_bytes(out, 2, &bytes);
            }
        },
        _ => match value {
            Value::Null => {}
            other => write_message(name, other.as_object()?, out, depth)?,
        },
    }
    Some(true)
}

/// The fields of each message in the order of their numbers, as Go writes them.
fn ordered() -> &'static HashMap<&'static str, Vec<(u64, &'static str, &'static Type)>> {
    static ORDERED: OnceLock<HashMap<&'static str, Vec<(u64, &'static str, &'static Type)>>> = OnceLock::new();
    ORDERED.get_or_init(|| {
        messages()
            .iter()
            .map(|(message, fields)| {
                let mut fields: Vec<_> = fields.iter().map(|(number, (name, kind))| (*number, *name, kind)).collect();
                fields.sort_by_key(|(number, ..)| *number);
                (*message, fields)
            })
            .collect()
    })
}

struct Fields<'a>(&'a [u8]);

enum Field<'a> {
    Number(u64),
    Fixed(u64),
    Bytes(&'a [u8]),
}

impl<'a> Fields<'a> {
    fn next(&mut self) -> Result<Option<(u64, Field<'a>)>, Error> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.number()?;
        let field = match key & 7 {
            0 => Field::Number(self.number()?),
            1 => Field::Fixed(u64::from_le_bytes(self.take(8)?.try_into().map_err(|_| Error::Truncated)?)),
            2 => {
                let length = usize::try_from(self.number()?).map_err(|_| Error::Malformed)?;
                Field::Bytes(self.take(length)?)
            }
            5 => Field::Fixed(u64::from(u32::from_le_bytes(self.take(4)?.try_into().map_err(|_| Error::Truncated)?))),
            _ => return Err(Error::Malformed),
        };
        Ok(Some((key >> 3, field)))
    }

    fn number(&mut self) -> Result<u64, Error> {
        let mut out = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            out |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(out);
            }
        }
        Err(Error::Malformed)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Error::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, bytes.len() as u8];
        out.extend_from_slice(bytes);
        out
    }

    fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let mut meta = field(1, api_version.as_bytes());
        meta.extend(field(2, kind.as_bytes()));
        let mut out = PREFIX.to_vec();
        out.extend(field(1, &meta));
        out.extend(field(2, raw));
        out
    }

    #[test]
    fn a_secret_is_read() {
        let mut raw = field(1, &[field(1, b"name"), field(8, &[]), vec![7 << 3, 0]].concat());
        raw.extend(field(2, &[field(1, b"key"), field(2, b"value")].concat()));
        raw.extend(field(3, b"Opaque"));
        raw.extend([5 << 3, 0]);
        let secret = decode(&envelope("v1", "Secret", &raw)).unwrap();
        let expected = json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "name"}, "data": {"key": "dmFsdWU="},
            "type": "Opaque", "immutable": false});
        assert_eq!(secret, expected);
    }

    #[test]
    fn options_are_known_in_every_group() {
        let raw = [&[1 << 3, 0][..], &field(4, b"Foreground")].concat();
        let options = decode(&envelope("apps/v1", "DeleteOptions", &raw)).unwrap();
        assert_eq!((&options["gracePeriodSeconds"], &options["propagationPolicy"]), (&json!(0), &json!("Foreground")));
    }

    /// Without the empty messages that stand for what is no pointer in Go.
    fn filled(value: Value) -> Value {
        match value {
            Value::Object(map) => {
                let kept = map.into_iter().map(|(key, value)| (key, filled(value))).filter(|(_, value)| *value != json!({}));
                Value::Object(kept.collect())
            }
            Value::Array(items) => items.into_iter().map(filled).collect(),
            other => other,
        }
    }

    #[test]
    fn what_is_no_pointer_in_go_is_written_even_as_zero() {
        let status = encode(&json!({"kind": "Status", "apiVersion": "v1", "status": "Success"})).unwrap();
        let list = [field(1, b""), field(2, b""), field(3, b"")].concat();
        let raw = [field(1, &list), field(2, b"Success"), field(3, b""), field(4, b""), vec![6 << 3, 0]].concat();
        assert!(status.windows(raw.len()).any(|window| window == raw), "{status:?}");
    }

    #[test]
    fn what_is_written_is_read_back() {
        let objects = [
            json!({"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": "a", "generation": 2, "labels": {"x": "y"},
                "creationTimestamp": "2026-01-02T03:04:05Z", "managedFields": [{"manager": "m", "fieldsV1": {"f:spec": {}}}]},
                "spec": {"replicas": 0, "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}},
                "template": {"metadata": {"labels": {"x": "y"}}, "spec": {"containers": [{"name": "c", "image": "i",
                "resources": {"limits": {"cpu": "100m"}}}]}}}}),
            json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "s"}, "data": {"k": "dmFsdWU="}, "type": "Opaque"}),
            json!({"kind": "CustomResourceDefinition", "apiVersion": "apiextensions.k8s.io/v1", "metadata": {"name": "x.y.z"},
                "spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": {"type": "object",
                "x-kubernetes-preserve-unknown-fields": true, "properties": {"a": {"type": "array", "items": {"type": "string"},
                "x-kubernetes-list-type": "set"}, "b": {"additionalProperties": {"type": "integer", "minimum": 1.5}, "default": {"c": 1}}}}}}]}}),
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "m", "reason": "Expired",
                "details": {"name": "n", "causes": [{"reason": "r", "field": "f"}]}, "code": 410}),
        ];
        for object in objects {
            let bytes = encode(&object).unwrap();
            let back = decode(&bytes).unwrap();
            assert_eq!(filled(back.clone()), filled(object));
            assert_eq!(encode(&back).unwrap(), bytes);
        }
        assert_eq!(encode(&json!({"kind": "Thing", "apiVersion": "example.com/v1"})), None);
    }

    #[test]
    fn broken_messages_are_refused() {
        assert_eq!(decode(b"{}"), Err(Error::NoPrefix));
        assert!(matches!(decode(&envelope("v1", "Nonsense", &[])), Err(Error::UnknownKind { .. })));
        let whole = envelope("v1", "Secret", &field(1, &field(1, b"name")));
        for cut in 0..whole.len() {
            // Between two fields a message may end; what it means is another matter.
            assert!(decode(&whole[..cut]).is_err() || cut == 18, "{cut}");
        }
        assert!(decode(&envelope("v1", "Secret", &[0xff; 12])).is_err());
    }
}
