//! Chart.yaml: what a chart says of itself.

use crate::error::Error;
use gotemplate::number;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{collections::BTreeMap, io};

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub home: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keywords: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub maintainers: Vec<Maintainer>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub icon: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub condition: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tags: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub app_version: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub deprecated: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kube_version: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<Dependency>,
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Maintainer {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub email: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub url: String,
}

/// A chart that this one depends on.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Dependency {
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    pub repository: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub condition: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub enabled: bool,
    #[serde(rename = "import-values", skip_serializing_if = "Vec::is_empty")]
    pub import_values: Vec<Value>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub alias: String,
}

/// Chart.lock: the versions that dependencies were resolved to.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Lock {
    /// Go reads no empty text as a time.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub generated: String,
    pub digest: String,
    pub dependencies: Vec<Dependency>,
}

impl Lock {
    /// Whether this lock was made for these dependencies. Locks of Helm 2 are known for charts of API version 1.
    pub fn is_for(&self, metadata: &Metadata) -> bool {
        let old = || digest(&serde_json::json!({ "dependencies": metadata.dependencies }));
        self.digest == Self::digest_of(metadata, &self.dependencies) || metadata.api_version == "v1" && self.digest == old()
    }

    /// The lock of a chart whose dependencies were resolved to `dependencies` at the time `generated` (RFC 3339).
    pub fn new(metadata: &Metadata, dependencies: Vec<Dependency>, generated: String) -> Self {
        Self { generated, digest: Self::digest_of(metadata, &dependencies), dependencies }
    }

    fn digest_of(metadata: &Metadata, locked: &[Dependency]) -> String {
        digest(&serde_json::json!([metadata.dependencies, locked]))
    }
}

fn digest(value: &Value) -> String {
    use sha2::Digest;
    format!("sha256:{}", hex::encode(sha2::Sha256::digest(go_json(value).unwrap_or_default())))
}

/// JSON as Go's encoder writes it: what HTML would misread is escaped.
pub fn go_json(value: &impl Serialize) -> serde_json::Result<String> {
    let mut out = Vec::new();
    write_go_json(value, &mut out)?;
    String::from_utf8(out).map_err(serde::ser::Error::custom)
}

/// The same, written as it comes.
pub(crate) fn write_go_json<W: io::Write>(value: &impl Serialize, out: W) -> serde_json::Result<()> {
    value.serialize(&mut serde_json::Serializer::with_formatter(out, GoFormatter))
}

struct GoFormatter;

impl serde_json::ser::Formatter for GoFormatter {
    fn write_string_fragment<W: io::Write + ?Sized>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let (plain, tail) = rest.split_at(at);
            out.write_all(plain.as_bytes())?;
            let mut tail = tail.chars();
            if let Some(escaped) = tail.next() {
                write!(out, "\\u{:04x}", escaped as u32)?;
            }
            rest = tail.as_str();
        }
        out.write_all(rest.as_bytes())
    }
}

/// The texts that a field of Go's struct asks for, made of what YAML read as something else (`version: 1.0`).
pub(crate) fn stringly(value: &mut Value) {
    let text = match value {
        Value::Bool(b) => b.to_string(),
        Value::Number(n) if n.is_f64() => number::float(n.as_f64().unwrap_or_default()),
        Value::Number(n) => n.to_string(),
        _ => return,
    };
    *value = Value::String(text);
}

fn stringly_all(value: Option<&mut Value>) {
    match value {
        Some(Value::Array(items)) => items.iter_mut().for_each(stringly),
        Some(Value::Object(map)) => map.values_mut().for_each(stringly),
        _ => {}
    }
}

/// Reads Chart.yaml (or requirements.yaml over it) as `sigs.k8s.io/yaml` does into Go's struct.
pub(crate) fn read<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, String> {
    let converted = yaml::to_json(text, yaml::Dialect::Sigs);
    let value = converted.map_err(|error| format!("error converting YAML to JSON: {}", error.go_message(yaml::Dialect::Sigs)))?;
    from_json(value).map_err(|why| format!("error unmarshaling JSON: while decoding JSON: json: {why}"))
}

/// The struct of a value that YAML gave, where texts may have been read as numbers or booleans.
fn from_json<T: for<'de> Deserialize<'de>>(mut value: Value) -> Result<T, String> {
    if let Value::Object(map) = &mut value {
        map.retain(|_, value| !value.is_null());
        for key in [
            "name",
            "home",
            "version",
            "description",
            "icon",
            "apiVersion",
            "condition",
            "tags",
            "appVersion",
            "kubeVersion",
            "type",
            "generated",
            "digest",
        ] {
            if let Some(value) = map.get_mut(key) {
                stringly(value);
            }
        }
        for key in ["sources", "keywords", "annotations"] {
            stringly_all(map.get_mut(key));
        }
        if let Some(Value::Object(annotations)) = map.get_mut("annotations") {
            annotations.values_mut().filter(|value| value.is_null()).for_each(|value| *value = Value::String(String::new()));
        }
        for key in ["maintainers", "dependencies"] {
            if let Some(Value::Array(items)) = map.get_mut(key) {
                for item in items.iter_mut() {
                    if let Value::Object(item) = item {
                        item.retain(|_, value| !value.is_null());
                        for (key, value) in item.iter_mut() {
                            match key.as_str() {
                                "tags" => stringly_all(Some(value)),
                                "import-values" | "enabled" => {}
                                _ => stringly(value),
                            }
                        }
                    }
                }
            }
        }
    }
    if value.is_null() {
        value = Value::Object(serde_json::Map::new());
    }
    match &value {
        Value::Object(map) => check_fields(map, FIELDS, "")?,
        other => return Err(format!("cannot unmarshal {} into Go value of type loader.chartBase", json_type(other))),
    }
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// What Go's struct wants of a field.
enum Shape {
    Text,
    Flag,
    Texts,
    TextMap,
    Anything,
    Structs(&'static str, &'static [(&'static str, Shape)]),
}

type Fields = [(&'static str, Shape)];

/// The fields of Chart.yaml, requirements.yaml and Chart.lock.
const FIELDS: &Fields = &[
    ("name", Shape::Text),
    ("home", Shape::Text),
    ("sources", Shape::Texts),
    ("version", Shape::Text),
    ("description", Shape::Text),
    ("keywords", Shape::Texts),
    ("maintainers", Shape::Structs("v2.Maintainer", &[("name", Shape::Text), ("email", Shape::Text), ("url", Shape::Text)])),
    ("icon", Shape::Text),
    ("apiVersion", Shape::Text),
    ("condition", Shape::Text),
    ("tags", Shape::Text),
    ("appVersion", Shape::Text),
    ("deprecated", Shape::Flag),
    ("annotations", Shape::TextMap),
    ("kubeVersion", Shape::Text),
    ("dependencies", Shape::Structs("v2.Dependency", DEPENDENCY)),
    ("type", Shape::Text),
    ("digest", Shape::Text),
];

const DEPENDENCY: &Fields = &[
    ("name", Shape::Text),
    ("version", Shape::Text),
    ("repository", Shape::Text),
    ("condition", Shape::Text),
    ("tags", Shape::Texts),
    ("enabled", Shape::Flag),
    ("import-values", Shape::Anything),
    ("alias", Shape::Text),
];

pub(crate) fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Refuses what does not fit Go's struct, in the words of its JSON package.
fn check_fields(map: &serde_json::Map<String, Value>, fields: &Fields, above: &str) -> Result<(), String> {
    for (key, value) in map {
        let Some((_, shape)) = fields.iter().find(|(name, _)| name == key) else { continue };
        let path = format!("{above}.{key}");
        let field = |wanted: &str| Err(format!("cannot unmarshal {} into Go struct field {path} of type {wanted}", json_type(value)));
        let item =
            |item: &Value, at: usize, wanted: &str| Err(format!("cannot unmarshal {} into {path}.{at} of type {wanted}", json_type(item)));
        match (shape, value) {
            (_, Value::Null) | (Shape::Text, Value::String(_)) | (Shape::Flag, Value::Bool(_)) => {}
            (Shape::Text, _) => return field("string"),
            (Shape::Flag, _) => return field("bool"),
            (Shape::Anything, Value::Array(_)) => {}
            (Shape::Anything, _) => return field("[]interface {}"),
            (Shape::Texts, Value::Array(items)) => {
                if let Some((at, bad)) = items.iter().enumerate().find(|(_, item)| !item.is_string()) {
                    return item(bad, at, "string");
                }
            }
            (Shape::Texts, _) => return field("[]string"),
            (Shape::TextMap, Value::Object(map)) => {
                if let Some((key, bad)) = map.iter().find(|(_, value)| !value.is_string()) {
                    return Err(format!("cannot unmarshal {} into Go struct field {path}.{key} of type string", json_type(bad)));
                }
            }
            (Shape::TextMap, _) => return field("map[string]string"),
            (Shape::Structs(name, fields), Value::Array(items)) => {
                for (at, one) in items.iter().enumerate() {
                    match one {
                        Value::Object(map) => check_fields(map, fields, &format!("{path}.{at}"))?,
                        other => return item(other, at, name),
                    }
                }
            }
            (Shape::Structs(name, _), _) => return field(&format!("[]*{name}")),
        }
    }
    Ok(())
}

/// Spaces normalised, what cannot be printed removed.
fn sanitize(text: &mut String) {
    if text.chars().any(|c| c.is_whitespace() && c != ' ' || !number::is_print(c)) {
        *text = text.chars().filter_map(|c| if c.is_whitespace() { Some(' ') } else { number::is_print(c).then_some(c) }).collect();
    }
}

impl Maintainer {
    /// The fields that Helm knows.
    pub const FIELDS: &[&str] = &["name", "email", "url"];
}

impl Dependency {
    /// The fields that Helm knows.
    pub const FIELDS: &[&str] = &["name", "version", "repository", "condition", "tags", "enabled", "import-values", "alias"];
}

impl Metadata {
    /// The fields of Chart.yaml that Helm knows.
    pub const FIELDS: &[&str] = &[
        "name",
        "home",
        "sources",
        "version",
        "description",
        "keywords",
        "maintainers",
        "icon",
        "apiVersion",
        "condition",
        "tags",
        "appVersion",
        "deprecated",
        "annotations",
        "kubeVersion",
        "dependencies",
        "type",
    ];

    pub fn is_library(&self) -> bool {
        self.kind.eq_ignore_ascii_case("library")
    }

    /// Reads Chart.yaml.
    pub fn parse(text: &str) -> Result<Self, String> {
        read(text)
    }

    /// What an index says of a chart, once its YAML is read.
    pub fn from_json(value: Value) -> Result<Self, String> {
        from_json(value)
    }

    /// Refuses what Helm refuses.
    pub fn validate(&mut self) -> Result<(), Error> {
        let invalid = |text: String| Err(Error::Invalid(text));
        for text in [
            &mut self.name,
            &mut self.description,
            &mut self.home,
            &mut self.icon,
            &mut self.condition,
            &mut self.tags,
            &mut self.app_version,
            &mut self.kube_version,
        ] {
            sanitize(text);
        }
        self.sources.iter_mut().chain(&mut self.keywords).for_each(sanitize);
        if self.api_version.is_empty() {
            return invalid("chart.metadata.apiVersion is required".into());
        }
        match self.name.as_str() {
            "" => return invalid("chart.metadata.name is required".into()),
            "." | ".." => return invalid(format!("chart.metadata.name {:?} is not allowed", self.name)),
            name if name.contains('/') => return invalid(format!("chart.metadata.name {name:?} is invalid")),
            _ => {}
        }
        if self.version.is_empty() {
            return invalid("chart.metadata.version is required".into());
        }
        if types::semver::Version::parse(&self.version).is_err() {
            return invalid(format!("chart.metadata.version {:?} is invalid", self.version));
        }
        if !matches!(self.kind.as_str(), "" | "application" | "library") {
            return invalid("chart.metadata.type must be application or library".into());
        }
        let mut seen: Vec<&str> = Vec::new();
        for dependency in &mut self.dependencies {
            [&mut dependency.name, &mut dependency.version, &mut dependency.repository, &mut dependency.condition]
                .into_iter()
                .for_each(sanitize);
            let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            if !dependency.alias.chars().all(legal) {
                return invalid(format!("dependency {:?} has disallowed characters in the alias", dependency.name));
            }
        }
        for dependency in &self.dependencies {
            let key = if dependency.alias.is_empty() { &dependency.name } else { &dependency.alias };
            if seen.contains(&key.as_str()) {
                return invalid(format!("more than one dependency with name or alias {key:?}"));
            }
            seen.push(key);
        }
        Ok(())
    }
}
