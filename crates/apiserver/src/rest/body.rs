use super::Context;
use crate::protocol::json::parse_noting_duplicates;
use crate::protocol::negotiate::media_type;
use crate::protocol::protobuf;
use crate::protocol::status::{Result, Status};
use serde_json::Value;

pub const ACCEPTED: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

/// A request body as data, and what a strict reader would refuse in it: keys that stood twice.
pub struct Body {
    pub value: Value,
    pub problems: Vec<String>,
}

fn duplicates(paths: Vec<String>) -> Vec<String> {
    paths.into_iter().map(|path| format!("duplicate field \"{path}\"")).collect()
}

/// Reads the body in whatever form it came.
pub fn decode(context: &Context) -> Result<Body> {
    match media_type(&context.content_type) {
        "" | "application/json" | "*/*" => {
            let (value, twice) = parse_noting_duplicates(&context.body).map_err(|error| {
                unrecognized(context, &format!("couldn't get version/kind; json parse error: {}", go_json_error(&context.body, &error)))
            })?;
            Ok(Body { value, problems: duplicates(twice) })
        }
        "application/yaml" | "application/x-yaml" | "text/yaml" => yaml(&context.body).map_err(|status| {
            unrecognized(context, status.message.trim_start_matches("error decoding YAML: error converting YAML to JSON: "))
        }),
        "application/vnd.kubernetes.protobuf" => {
            let value = protobuf::decode(&context.body).map_err(|error| match error {
                protobuf::Error::NoPrefix if context.body.is_empty() => unrecognized(context, "empty data"),
                protobuf::Error::NoPrefix => unrecognized(context, &error.to_string()),
                error => Status::bad_request(error.to_string()),
            })?;
            Ok(Body { value, problems: Vec::new() })
        }
        _ => Err(Status::unsupported_media_type(ACCEPTED)),
    }
}

pub fn json(bytes: &[u8]) -> Result<Body> {
    let (value, twice) = parse_noting_duplicates(bytes).map_err(|error| Status::bad_request(go_json_error(bytes, &error)))?;
    Ok(Body { value, problems: duplicates(twice) })
}

/// What Go says of JSON that ends too early; other faults are told as they were found.
pub fn go_json_error(bytes: &[u8], error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "unexpected end of JSON input".to_owned();
    }
    let first = bytes.iter().find(|b| !b.is_ascii_whitespace()).copied().unwrap_or(b' ');
    if error.line() == 1 && error.column() == 1 {
        return format!("invalid character '{}' looking for beginning of value", char::from(first));
    }
    error.to_string()
}

/// The beginning of a body, as errors show it: text when it looks like JSON, hexadecimal otherwise.
pub fn summary(bytes: &[u8]) -> String {
    const SHOWN: usize = 30;
    let more = if bytes.len() > SHOWN { " ..." } else { "" };
    let head = &bytes[..bytes.len().min(SHOWN)];
    match bytes.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => format!("{}{more}", String::from_utf8_lossy(head)),
        Some(_) => format!("{}{more}", hex::encode(head)),
    }
}

fn unrecognized(context: &Context, why: &str) -> Status {
    let kind = &context.resource.kind;
    Status::bad_request(format!("the object provided is unrecognized (must be of type {kind}): {why} ({})", summary(&context.body)))
}

/// YAML, or the JSON that most clients send in its name. An empty text is null.
pub fn yaml(bytes: &[u8]) -> Result<Body> {
    if let Ok((value, twice)) = parse_noting_duplicates(bytes) {
        return Ok(Body { value, problems: duplicates(twice) });
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Status::bad_request("error decoding YAML: the body is not UTF-8"))?;
    let value = crate::yaml_text::parse(text)
        .map_err(|why| Status::bad_request(format!("error decoding YAML: error converting YAML to JSON: {why}")))?;
    let problems = crate::yaml_text::check_strict(text).err().into_iter().collect();
    Ok(Body { value, problems })
}

/// The fields of a body in the order in which they stand there, when there is an order to tell: Go's decoder of built-in kinds finds
/// repeated and unknown fields in one go.
pub fn places(resource: &crate::registry::Resource, value: &Value, repeated: usize) -> Vec<String> {
    fn walk(value: &Value, path: &str, out: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                for (key, below) in map {
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    out.push(path.clone());
                    walk(below, &path, out);
                }
            }
            Value::Array(items) => items.iter().enumerate().for_each(|(at, item)| walk(item, &format!("{path}[{at}]"), out)),
            _ => {}
        }
    }
    let mut out = Vec::new();
    if repeated > 0 && resource.custom.is_none() {
        walk(value, "", &mut out);
    }
    out
}

/// Sorts what was found by where it was found.
pub fn in_order(problems: &mut [String], places: &[String]) {
    if !places.is_empty() && problems.len() > 1 {
        problems.sort_by_cached_key(|problem| {
            let path = problem.split('"').nth(1).unwrap_or("");
            places.iter().position(|place| place == path)
        });
    }
}

/// How strictly unknown and repeated fields are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

impl FieldValidation {
    pub fn of(context: &Context) -> Result<Self> {
        Ok(match context.query.text("fieldValidation") {
            "" | "Warn" => Self::Warn,
            "Ignore" => Self::Ignore,
            "Strict" => Self::Strict,
            other => {
                let why = format!("Unsupported value: \"{other}\": supported values: \"\", \"Ignore\", \"Strict\", \"Warn\"");
                return Err(super::options_invalid(context, "fieldValidation", &why, "FieldValueNotSupported"));
            }
        })
    }

    /// Refuses, warns, or lets pass.
    pub fn judge(self, context: &Context, problems: Vec<String>) -> Result<()> {
        if problems.is_empty() {
            return Ok(());
        }
        match self {
            Self::Ignore => Ok(()),
            Self::Warn => {
                problems.into_iter().for_each(|problem| context.warn(problem));
                Ok(())
            }
            Self::Strict => {
                let all = problems.join(", ");
                let resource = &context.resource;
                let lead = format!("{} in version \"{}\" cannot be handled as a {}", resource.kind, resource.version, resource.kind);
                Err(Status::bad_request(format!("{lead}: strict decoding error: {all}")))
            }
        }
    }
}
