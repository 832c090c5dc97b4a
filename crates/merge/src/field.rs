//! What is wrong with a field of an object, in the words of kube-apiserver.

use std::fmt;

use serde_json::Value;

use crate::gofmt;

/// The reason of a cause in a `Status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    NotFound,
    Required,
    Duplicate,
    Invalid,
    TypeInvalid,
    NotSupported,
    Forbidden,
    TooLong,
    TooMany,
    TooShort,
    Internal,
}

impl Reason {
    /// As `details.causes[].reason` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "FieldValueNotFound",
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Invalid => "FieldValueInvalid",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::TooShort => "FieldValueTooShort",
            Self::Internal => "InternalError",
        }
    }
}

/// One wrong field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    pub reason: Reason,
    /// `spec.containers[0].name`; `<nil>` where the whole object is meant.
    pub field: String,
    /// `Required value`, `Invalid value: "x": must be ...`: the message of the cause.
    pub message: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.field, self.message)
    }
}

/// The path of a field that is meant when there is none.
pub const NO_PATH: &str = "<nil>";

fn error(reason: Reason, field: &str, head: &str, detail: &str) -> FieldError {
    let field = if field.is_empty() { NO_PATH } else { field };
    let message = if detail.is_empty() { head.to_owned() } else { format!("{head}: {detail}") };
    FieldError { reason, field: field.to_owned(), message }
}

/// A bad value as Go's field errors print it: scalars plain, strings quoted, the rest as JSON.
fn bad_value(value: &Value) -> String {
    match value {
        Value::String(text) => gofmt::quote(text),
        Value::Number(number) => gofmt::number(number),
        Value::Object(_) | Value::Array(_) => sorted_json(value),
        other => other.to_string(),
    }
}

/// JSON with the keys of maps in order.
fn sorted_json(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            let entries: Vec<_> =
                entries.into_iter().map(|(key, value)| format!("{}:{}", Value::from(key.as_str()), sorted_json(value))).collect();
            format!("{{{}}}", entries.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(sorted_json).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

pub fn required(field: &str, detail: &str) -> FieldError {
    error(Reason::Required, field, "Required value", detail)
}

pub fn invalid(field: &str, value: &Value, detail: &str) -> FieldError {
    error(Reason::Invalid, field, &format!("Invalid value: {}", bad_value(value)), detail)
}

/// Invalid, of a value that Go has as a struct: its fields are shown in their order.
pub fn invalid_struct(field: &str, value: &Value, detail: &str) -> FieldError {
    error(Reason::Invalid, field, &format!("Invalid value: {value}"), detail)
}

/// Invalid, of a value that is too large to be shown.
pub fn invalid_omitted(field: &str, detail: &str) -> FieldError {
    error(Reason::Invalid, field, "Invalid value", detail)
}

pub fn type_invalid(field: &str, value: &Value, detail: &str) -> FieldError {
    error(Reason::TypeInvalid, field, &format!("Invalid value: {}", bad_value(value)), detail)
}

pub fn duplicate(field: &str, value: &Value) -> FieldError {
    error(Reason::Duplicate, field, &format!("Duplicate value: {}", bad_value(value)), "")
}

pub fn not_found(field: &str, value: &Value) -> FieldError {
    error(Reason::NotFound, field, &format!("Not found: {}", bad_value(value)), "")
}

pub fn forbidden(field: &str, detail: &str) -> FieldError {
    error(Reason::Forbidden, field, "Forbidden", detail)
}

pub fn internal(field: &str, detail: &str) -> FieldError {
    error(Reason::Internal, field, "Internal error", detail)
}

pub fn not_supported(field: &str, value: &Value, supported: &[&str]) -> FieldError {
    let list: Vec<_> = supported.iter().map(|one| gofmt::quote(one)).collect();
    let detail = if list.is_empty() { String::new() } else { format!("supported values: {}", list.join(", ")) };
    error(Reason::NotSupported, field, &format!("Unsupported value: {}", bad_value(value)), &detail)
}

fn plural(count: i64, one: &str) -> String {
    if count == 1 { format!("{count} {one}") } else { format!("{count} {one}s") }
}

pub fn too_long(field: &str, max: i64) -> FieldError {
    error(Reason::TooLong, field, "Too long", &format!("may not be more than {}", plural(max, "byte")))
}

pub fn too_many(field: &str, count: usize, max: i64) -> FieldError {
    error(Reason::TooMany, field, &format!("Too many: {count}"), &format!("must have at most {}", plural(max, "item")))
}

/// The message of a `Status` with reason `Invalid`: `Deployment.apps "web" is invalid: spec.x: Required value`.
pub fn invalid_message(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> String {
    let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
    let mut texts: Vec<String> = Vec::new();
    for text in errors.iter().map(ToString::to_string) {
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    let all = if let [only] = texts.as_slice() { only.clone() } else { format!("[{}]", texts.join(", ")) };
    format!("{qualified} {} is invalid: {all}", gofmt::quote(name))
}

/// `parent.name`, or the name where there is no parent.
pub fn child(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") }
}

pub fn index(parent: &str, at: usize) -> String {
    format!("{parent}[{at}]")
}

pub fn key(parent: &str, name: &str) -> String {
    format!("{parent}[{name}]")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn errors_read_as_the_server_writes_them() {
        for (error, text) in [
            (required("spec.x", ""), "spec.x: Required value"),
            (invalid("a[0]", &json!({"b": 1, "a": "x"}), "no"), r#"a[0]: Invalid value: {"a":"x","b":1}: no"#),
            (not_supported("p", &json!("x"), &["a", "b"]), r#"p: Unsupported value: "x": supported values: "a", "b""#),
            (too_long("p", 1), "p: Too long: may not be more than 1 byte"),
            (too_many("p", 3, 2), "p: Too many: 3: must have at most 2 items"),
            (invalid("", &json!(null), "x"), "<nil>: Invalid value: null: x"),
        ] {
            assert_eq!(error.to_string(), text);
        }
        assert_eq!(
            invalid_message("apps", "Deployment", "w", &[required("a", ""), required("a", ""), required("b", "")]),
            r#"Deployment.apps "w" is invalid: [a: Required value, b: Required value]"#
        );
    }
}
