use super::Context;
use crate::protocol::json::parse_noting_duplicates;
use crate::protocol::negotiate::media_type;
use crate::protocol::protobuf;
use crate::protocol::status::{Result, Status};
use serde_json::Value;

pub const ACCEPTED: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

/// A request body as data, and the keys that stood in it twice.
pub struct Body {
    pub value: Value,
    pub duplicates: Vec<String>,
}

/// Reads the body in whatever form it came.
pub fn decode(context: &Context) -> Result<Body> {
    match media_type(&context.content_type) {
        "" | "application/json" | "*/*" => json(&context.body),
        "application/yaml" | "application/x-yaml" | "text/yaml" => yaml(&context.body),
        "application/vnd.kubernetes.protobuf" => {
            let value = protobuf::decode(&context.body).map_err(|error| Status::bad_request(error.to_string()))?;
            Ok(Body { value, duplicates: Vec::new() })
        }
        _ => Err(Status::unsupported_media_type(ACCEPTED)),
    }
}

pub fn json(bytes: &[u8]) -> Result<Body> {
    let (value, duplicates) = parse_noting_duplicates(bytes).map_err(|error| {
        Status::bad_request(format!("the object provided is unrecognized: couldn't get version/kind; json parse error: {error}"))
    })?;
    Ok(Body { value, duplicates })
}

/// YAML, or the JSON that most clients send in its name.
pub fn yaml(bytes: &[u8]) -> Result<Body> {
    if let Ok((value, duplicates)) = parse_noting_duplicates(bytes) {
        return Ok(Body { value, duplicates });
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Status::bad_request("error decoding YAML: the body is not UTF-8"))?;
    let value = crate::yaml_text::parse(text).map_err(|why| Status::bad_request(format!("error decoding YAML: {why}")))?;
    let duplicates = crate::yaml_text::check_strict(text).err().into_iter().collect();
    Ok(Body { value, duplicates })
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
