//! values.schema.json: what a chart says its values must look like.

mod glance;
mod meter;

use crate::data::{Data, Table};
use boon::{Compiler, ErrorKind, SchemaIndex, Schemas, UrlLoader, ValidationError};
use bytes::Bytes;
use glance::{Fit, Plain};
use serde_json::Value;
use std::{error::Error as StdError, fmt::Write, sync::OnceLock};

/// A schema, ready to check values.
pub(crate) struct Compiled {
    written: Written,
    full: OnceLock<Result<Full, String>>,
}

/// A schema as it was written.
enum Written {
    /// A look at it and at values may be enough.
    Plain(Plain),
    Other(Value),
}

/// A schema that was compiled for the validator.
struct Full {
    schemas: Schemas,
    index: SchemaIndex,
}

impl std::fmt::Debug for Compiled {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Compiled")
    }
}

/// Schemas are never fetched: neither from files nor from the network. `urn:` references that nobody resolves allow everything, as in Helm.
struct NoLoader;

impl UrlLoader for NoLoader {
    fn load(&self, url: &str) -> Result<Value, Box<dyn StdError>> {
        if url.starts_with("urn:") {
            return Ok(Value::Bool(true));
        }
        Err("schemas are not fetched from outside the chart".into())
    }
}

/// Bytes of a schema that is read.
const MAX_SIZE: usize = 5 << 20;
/// Nesting of a schema, or of values that are checked.
const MAX_DEPTH: usize = 400;

const PLACE: &str = "file:///values.schema.json";

impl Compiled {
    pub fn new(schema: &Bytes) -> Result<Self, String> {
        let written = Plain::new(read(schema)?).map_or_else(Written::Other, Written::Plain);
        Ok(Self { written, full: OnceLock::new() })
    }

    /// Checks values. The error lists what does not fit, a line each.
    pub fn check(&self, values: &Table) -> Result<(), String> {
        let schema = match &self.written {
            Written::Plain(plain) if plain.fits(values) == Fit::Yes => return Ok(()),
            Written::Plain(plain) => &plain.schema,
            Written::Other(schema) => schema,
        };
        let value = Data::Table(values.clone()).to_json();
        if depth(&value) > MAX_DEPTH {
            return Err("values are nested too deeply\n".to_owned());
        }
        // Before anything else is made of the schema, which may be much work already.
        meter::check(schema, &value).map_err(|error| format!("{error}\n"))?;
        let full = self.full.get_or_init(|| Full::new(schema)).as_ref().map_err(Clone::clone)?;
        full.schemas.validate(&value, full.index).map_err(|error| {
            let mut out = String::new();
            show(&mut out, &error, 0);
            out
        })
    }
}

fn read(schema: &Bytes) -> Result<Value, String> {
    if schema.len() > MAX_SIZE {
        return Err(format!("schema is larger than {MAX_SIZE} bytes"));
    }
    let value: Value = serde_json::from_slice(schema).map_err(|error| {
        // In the words of Go's package, where it sees the same fault.
        sprig::json::decode(&String::from_utf8_lossy(schema)).err().unwrap_or_else(|| error.to_string())
    })?;
    if depth(&value) > MAX_DEPTH { Err("schema is nested too deeply".to_owned()) } else { Ok(value) }
}

impl Full {
    fn new(value: &Value) -> Result<Self, String> {
        meter::check_patterns(value).map_err(|error| error.to_string())?;
        let mut schemas = Schemas::new();
        let mut compiler = Compiler::new();
        compiler.use_loader(Box::new(NoLoader));
        compiler.add_resource(PLACE, value.clone()).map_err(|error| error.to_string())?;
        let index = compiler.compile(PLACE, &mut schemas).map_err(|error| explain(&error))?;
        Ok(Self { schemas, index })
    }
}

fn depth(value: &Value) -> usize {
    // The text of JSON was bounded by its reader, so this recursion is.
    1 + match value {
        Value::Array(items) => items.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn explain(error: &boon::CompileError) -> String {
    match error {
        boon::CompileError::LoadUrlError { url, src } => format!("failing loading {url:?}: {src}"),
        boon::CompileError::JsonPointerNotFound(url) => format!("json-pointer in {url:?} not found"),
        boon::CompileError::ValidationError { url, src } => {
            let metaschema = match &src.kind {
                ErrorKind::Schema { url } => url,
                _ => "",
            };
            let mut text = format!("{url:?} is not valid against metaschema: jsonschema validation failed with '{metaschema}'\n");
            src.causes.iter().for_each(|cause| show(&mut text, cause, 0));
            text
        }
        other => {
            let mut text = other.to_string();
            if let Some(source) = other.source() {
                let _ = write!(text, ": {source}");
            }
            text
        }
    }
}

/// Writes an error and its causes as santhosh-tekuri/jsonschema v6 prints them.
fn show(out: &mut String, error: &ValidationError<'_, '_>, level: usize) {
    match &error.kind {
        // The root only leads to what is wrong, and so does what has one cause.
        ErrorKind::Schema { .. } => return error.causes.iter().for_each(|cause| show(out, cause, level)),
        ErrorKind::Reference { .. } | ErrorKind::Group if error.causes.len() == 1 => {
            return error.causes.iter().for_each(|cause| show(out, cause, level));
        }
        _ => {}
    }
    let _ = writeln!(out, "{}- at '{}': {}", "  ".repeat(level), error.instance_location, message(&error.kind));
    error.causes.iter().for_each(|cause| show(out, cause, level + 1));
}

fn quoted(names: &[impl AsRef<str>]) -> String {
    names.iter().map(|name| format!("'{}'", name.as_ref())).collect::<Vec<_>>().join(", ")
}

fn message(kind: &ErrorKind<'_, '_>) -> String {
    match kind {
        ErrorKind::Type { got, want } => {
            let want: Vec<String> = want.iter().map(|kind| kind.to_string()).collect();
            format!("got {got}, want {}", want.join(" or "))
        }
        ErrorKind::Required { want } if want.len() == 1 => format!("missing property {}", quoted(want)),
        ErrorKind::Required { want } => format!("missing properties {}", quoted(want)),
        ErrorKind::AdditionalProperties { got } => format!("additional properties {} not allowed", quoted(got)),
        ErrorKind::Group | ErrorKind::Reference { .. } => "validation failed".to_owned(),
        ErrorKind::FalseSchema => "false schema".to_owned(),
        ErrorKind::AllOf => "'allOf' failed".to_owned(),
        ErrorKind::AnyOf => "'anyOf' failed".to_owned(),
        ErrorKind::OneOf(None) => "'oneOf' failed, none matched".to_owned(),
        ErrorKind::OneOf(Some((a, b))) => format!("'oneOf' failed, subschemas {a}, {b} matched"),
        ErrorKind::Not => "'not' failed".to_owned(),
        ErrorKind::Enum { want } if want.iter().all(|value| !value.is_object() && !value.is_array()) => {
            let shown: Vec<String> = want.iter().map(literal).collect();
            if shown.len() == 1 { format!("value must be {}", shown[0]) } else { format!("value must be one of {}", shown.join(", ")) }
        }
        ErrorKind::Enum { .. } => "'enum' failed".to_owned(),
        ErrorKind::Const { want } if !want.is_object() && !want.is_array() => format!("value must be {}", literal(want)),
        ErrorKind::Const { .. } => "'const' failed".to_owned(),
        ErrorKind::Pattern { got, want } => format!("'{got}' does not match pattern '{want}'"),
        ErrorKind::MinLength { got, want } => format!("minLength: got {got}, want {want}"),
        ErrorKind::MaxLength { got, want } => format!("maxLength: got {got}, want {want}"),
        ErrorKind::MinItems { got, want } => format!("minItems: got {got}, want {want}"),
        ErrorKind::MaxItems { got, want } => format!("maxItems: got {got}, want {want}"),
        ErrorKind::MinProperties { got, want } => format!("minProperties: got {got}, want {want}"),
        ErrorKind::MaxProperties { got, want } => format!("maxProperties: got {got}, want {want}"),
        ErrorKind::Minimum { got, want } => format!("minimum: got {got}, want {want}"),
        ErrorKind::Maximum { got, want } => format!("maximum: got {got}, want {want}"),
        ErrorKind::ExclusiveMinimum { got, want } => format!("exclusiveMinimum: got {got}, want {want}"),
        ErrorKind::ExclusiveMaximum { got, want } => format!("exclusiveMaximum: got {got}, want {want}"),
        ErrorKind::UniqueItems { got } => format!("items at {} and {} are equal", got[0], got[1]),
        ErrorKind::PropertyName { prop } => format!("invalid propertyName '{prop}'"),
        ErrorKind::Dependency { prop, missing } => format!("properties {} required, if '{prop}' exists", quoted(missing)),
        ErrorKind::DependentRequired { prop, missing } => format!("properties {} required, if '{prop}' exists", quoted(missing)),
        ErrorKind::MultipleOf { got, want } => format!("multipleOf: got {got}, want {want}"),
        ErrorKind::Format { got, want, err } => {
            let why = match err.to_string() {
                why if *want == "ipv4" && why.starts_with("invalid IPv4") => "expected four decimals".to_owned(),
                why => why,
            };
            format!("{} is not valid {want}: {why}", literal(got))
        }
        ErrorKind::Contains => "no items match contains schema".to_owned(),
        ErrorKind::MinContains { got, want } if got.is_empty() => {
            format!("min {want} items required to match contains schema, but none matched")
        }
        ErrorKind::MinContains { got, want } => {
            format!("min {want} items required to match contains schema, but matched {} items at {}", got.len(), numbers(got))
        }
        ErrorKind::MaxContains { got, want } => {
            format!("max {want} items required to match contains schema, but matched {} items at {}", got.len(), numbers(got))
        }
        ErrorKind::AdditionalItems { got } => format!("last {got} additionalItem(s) not allowed"),
        other => other.to_string(),
    }
}

fn numbers(all: &[usize]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn literal(value: &Value) -> String {
    match value {
        Value::String(text) => format!("'{text}'"),
        Value::Null => "<nil>".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(schema: &str, values: &str) -> Result<(), String> {
        Compiled::new(&Bytes::copy_from_slice(schema.as_bytes())).and_then(|schema| schema.check(&crate::values::read(values).unwrap()))
    }

    #[test]
    fn what_does_not_fit_is_listed() {
        let schema =
            r#"{"type":"object","required":["policy"],"properties":{"count":{"type":"integer","minimum":2},"s":{"enum":["a","b"]}}}"#;
        assert_eq!(check(schema, "policy: x\ncount: 3.0\ns: a"), Ok(()));
        assert_eq!(
            check(schema, "count: x"),
            Err("- at '': missing property 'policy'\n- at '/count': got string, want integer\n".to_owned())
        );
        assert_eq!(
            check(schema, "policy: p\ncount: 1\ns: c"),
            Err("- at '/count': minimum: got 1, want 2\n- at '/s': value must be one of 'a', 'b'\n".to_owned())
        );
    }

    // As Helm 4.3 prints them.
    #[test]
    fn a_reference_to_several_mistakes_is_told_as_one_that_failed() {
        let defined = r##""$defs":{"x":{"properties":{"a":{"type":"string"},"b":{"type":"string"}}},"y":{"$ref":"#/$defs/x"}}"##;
        let told = |schema: &str, values: &str| check(&format!("{{{schema},{defined}}}"), values).unwrap_err();
        let both = "- at '/p': validation failed\n  - at '/p/a': got number, want string\n  - at '/p/b': got number, want string\n";
        for reference in ["x", "y"] {
            let schema = format!(r##""properties":{{"p":{{"$ref":"#/$defs/{reference}"}}}}"##);
            assert_eq!(told(&schema, "p: {a: 1, b: 2}"), both);
            assert_eq!(told(&schema, "p: {a: 1}"), "- at '/p/a': got number, want string\n");
        }
        let beside = r##""properties":{"p":{"$ref":"#/$defs/x","required":["z"]}}"##;
        assert_eq!(told(beside, "p: {a: 1, b: 2}"), format!("{both}- at '/p': missing property 'z'\n"));
        assert_eq!(
            told(r##""$ref":"#/$defs/y""##, "{a: 1, b: 2}"),
            "- at '': validation failed\n  - at '/a': got number, want string\n  - at '/b': got number, want string\n"
        );
    }

    #[test]
    fn schemas_are_not_fetched() {
        for url in ["http://127.0.0.1:1/x.json", "file:///dev/zero", "https://example.com/schema.json"] {
            let error = check(&format!(r#"{{"$ref":"{url}"}}"#), "a: 1").unwrap_err();
            assert!(error.starts_with("failing loading"), "{error}");
        }
        assert_eq!(check(r#"{"$ref":"urn:nobody:knows"}"#, "a: 1"), Ok(()));
        assert!(check(r##"{"$ref":"#"}"##, "a: 1").is_err(), "a reference to itself ends");
        assert!(check(&format!("{}{}", r#"{"not":"#.repeat(5_000), "{}"), "a: 1").is_err());
    }
}
