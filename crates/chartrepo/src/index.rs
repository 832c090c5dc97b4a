//! index.yaml: read as strictly as Flux reads it, written as it stores it.

use crate::{Entry, Listing, Time};
use helm::{Dependency, Maintainer, Metadata};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use types::semver::Version;

/// Why a text is no index. The texts are those that users know from Flux.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("empty index.yaml file")]
    Empty,
    #[error("the index is not UTF-8")]
    Encoding,
    #[error("error converting YAML to JSON: {0}")]
    Yaml(String),
    #[error("error unmarshaling JSON: while decoding JSON: {0}")]
    Decode(String),
    #[error("{0}")]
    Json(String),
    #[error("no API version specified")]
    NoApiVersion,
}

/// The index of a repository.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    #[serde(skip_serializing_if = "Map::is_empty")]
    server_info: Map<String, Value>,
    api_version: String,
    #[serde(serialize_with = "time")]
    generated: Time,
    entries: Option<BTreeMap<String, Option<Vec<ChartVersion>>>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    public_keys: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

/// One version of a chart. The order of fields is that of Helm's struct.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct ChartVersion {
    #[serde(flatten)]
    metadata: Metadata,
    urls: Option<Vec<String>>,
    #[serde(serialize_with = "time")]
    created: Time,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    removed: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    digest: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    checksum: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    engine: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    tiller_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    url: String,
}

fn time<S: serde::Serializer>(time: &Time, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(time.text())
}

const ROOT: &[&str] = &["serverInfo", "apiVersion", "generated", "entries", "publicKeys", "annotations"];
const VERSION: &[&str] = &["urls", "created", "removed", "digest", "checksum", "engine", "tillerVersion", "url"];

/// A packed chart that an index is to list.
#[derive(Debug, Clone, PartialEq)]
pub struct Packed {
    pub metadata: Metadata,
    /// Where it is, as seen from the index.
    pub url: String,
    /// Hexadecimal SHA-256.
    pub digest: String,
    pub created: Time,
}

impl Index {
    /// The index of these charts; it counts as generated when the newest of them was made, so that equal charts give an equal index.
    pub fn of(charts: Vec<Packed>) -> Self {
        let newest = charts.iter().map(|chart| &chart.created).max_by_key(|time| time.timestamp());
        let mut index = Self { api_version: "v1".to_owned(), generated: newest.cloned().unwrap_or_default(), ..Self::default() };
        let mut entries: BTreeMap<String, Option<Vec<ChartVersion>>> = BTreeMap::new();
        for Packed { metadata, url, digest, created } in charts {
            let name = metadata.name.clone();
            let version = ChartVersion { metadata, urls: Some(vec![url]), created, digest, ..ChartVersion::default() };
            entries.entry(name).or_default().get_or_insert_default().push(version);
        }
        entries.values_mut().flatten().for_each(tidy);
        index.entries = Some(entries);
        index
    }

    /// The index as Helm writes it for others to read.
    pub fn to_yaml(&self) -> String {
        yaml::emit(&serde_json::to_value(self).unwrap_or_default())
    }

    /// Reads an index, YAML or JSON. YAML with a field that Helm does not know is refused, as Flux refuses it.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.is_empty() {
            return Err(Error::Empty);
        }
        // JSON is read leniently, and much faster.
        let (value, strict) = match serde_json::from_slice::<Value>(bytes) {
            Ok(value) => (value, false),
            Err(_) => {
                let text = std::str::from_utf8(bytes).map_err(|_| Error::Encoding)?;
                let value = yaml::to_json_strict(text, yaml::Dialect::Sigs);
                (value.map_err(|e| Error::Yaml(e.go_message(yaml::Dialect::Sigs)))?, true)
            }
        };
        let decode = |why: String| if strict { Error::Decode(why) } else { Error::Json(why) };
        let mut index = Self::decode(value, strict).map_err(decode)?;
        if index.api_version.is_empty() {
            return Err(Error::NoApiVersion);
        }
        index.entries.iter_mut().flat_map(BTreeMap::values_mut).flatten().for_each(tidy);
        Ok(index)
    }

    fn decode(value: Value, strict: bool) -> Result<Self, String> {
        let mut index = Self::default();
        let Some(mut root) = object(value, "v1.IndexFile")? else { return Ok(index) };
        known(&root, ROOT, &[], strict)?;
        index.api_version = text(&mut root, "apiVersion")?;
        index.generated = moment(&mut root, "generated")?;
        index.server_info =
            root.remove("serverInfo").and_then(|v| if let Value::Object(map) = v { Some(map) } else { None }).unwrap_or_default();
        index.annotations = field(&mut root, "annotations")?;
        index.public_keys = field(&mut root, "publicKeys")?;
        let Some(Value::Object(entries)) = root.remove("entries") else { return Ok(index) };
        let mut all = BTreeMap::new();
        for (name, versions) in entries {
            let versions = match versions {
                Value::Null => None,
                Value::Array(versions) => {
                    let versions = versions.into_iter().filter(|version| !version.is_null());
                    Some(versions.map(|version| ChartVersion::decode(version, strict)).collect::<Result<Vec<_>, _>>()?)
                }
                other => return Err(mismatch(&other, &format!("entries.{name}"), "v1.ChartVersions")),
            };
            all.insert(name, versions);
        }
        index.entries = Some(all);
        Ok(index)
    }

    /// The index as Flux stores it: JSON as Go indents and escapes it.
    pub fn to_json(&self) -> Vec<u8> {
        let pretty = serde_json::to_string_pretty(self).unwrap_or_default();
        let mut out = String::with_capacity(pretty.len());
        for c in pretty.chars() {
            match c {
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => out.push_str(&format!("\\u{:04x}", c as u32)),
                c => out.push(c),
            }
        }
        out.into_bytes()
    }

    /// The little of it that choosing a version needs.
    pub fn listing(self) -> Listing {
        let entries = self.entries.unwrap_or_default().into_iter().map(|(name, versions)| {
            let versions = versions.unwrap_or_default().into_iter().map(|version| Entry {
                name: version.metadata.name,
                version: version.metadata.version,
                created: version.created.timestamp(),
                digest: version.digest,
                urls: version.urls.unwrap_or_default(),
            });
            (name, versions.collect())
        });
        Listing::new(entries.collect())
    }
}

impl ChartVersion {
    fn decode(value: Value, strict: bool) -> Result<Self, String> {
        let Some(mut map) = object(value, "v1.ChartVersion")? else { return Ok(Self::default()) };
        known(&map, Metadata::FIELDS, VERSION, strict)?;
        for (key, names) in [("maintainers", Maintainer::FIELDS), ("dependencies", Dependency::FIELDS)] {
            for item in map.get(key).and_then(Value::as_array).into_iter().flatten() {
                if let Value::Object(item) = item {
                    known(item, names, &[], strict)?;
                }
            }
        }
        let version = Self {
            urls: field(&mut map, "urls")?,
            created: moment(&mut map, "created")?,
            removed: field(&mut map, "removed")?,
            digest: text(&mut map, "digest")?,
            checksum: text(&mut map, "checksum")?,
            engine: text(&mut map, "engine")?,
            tiller_version: text(&mut map, "tillerVersion")?,
            url: text(&mut map, "url")?,
            metadata: Metadata::default(),
        };
        Ok(Self { metadata: Metadata::from_json(Value::Object(map)).map_err(|why| format!("json: {why}"))?, ..version })
    }
}

/// Leaves out what is no chart, and sorts the newest version to the front.
fn tidy(versions: &mut Vec<ChartVersion>) {
    versions.retain_mut(|version| {
        if version.metadata.api_version.is_empty() {
            version.metadata.api_version = "v1".to_owned();
        }
        match version.metadata.validate() {
            Ok(()) => true,
            // Some repositories strip aliases, so that dependencies look doubled (helm#12748).
            Err(error) => error.to_string().starts_with("validation: more than one dependency with name or alias"),
        }
    });
    versions.sort_by_cached_key(|version| std::cmp::Reverse(Version::parse(&version.metadata.version).ok()));
}

fn object(value: Value, what: &str) -> Result<Option<Map<String, Value>>, String> {
    match value {
        Value::Object(map) => Ok(Some(map)),
        Value::Null => Ok(None),
        other => Err(mismatch(&other, "", what)),
    }
}

fn mismatch(value: &Value, field: &str, what: &str) -> String {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let place = if field.is_empty() { "value".to_owned() } else { format!("struct field IndexFile.{field}") };
    format!("json: cannot unmarshal {kind} into Go {place} of type {what}")
}

fn known(map: &Map<String, Value>, names: &[&str], more: &[&str], strict: bool) -> Result<(), String> {
    let unknown = map.keys().filter(|key| strict && !names.contains(&key.as_str()) && !more.contains(&key.as_str())).min();
    unknown.map_or(Ok(()), |key| Err(format!("json: unknown field {key:?}")))
}

/// A text, which YAML may have read as a number.
fn text(map: &mut Map<String, Value>, key: &str) -> Result<String, String> {
    match map.remove(key) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text),
        Some(other @ (Value::Number(_) | Value::Bool(_))) => Ok(other.to_string()),
        Some(other) => Err(mismatch(&other, key, "string")),
    }
}

fn moment(map: &mut Map<String, Value>, key: &str) -> Result<Time, String> {
    let text = text(map, key)?;
    if text.is_empty() {
        return Ok(Time::default());
    }
    Time::parse(&text).ok_or_else(|| format!("parsing time {text:?}: it is not of the form 2006-01-02T15:04:05Z"))
}

fn field<T: Default + for<'de> serde::Deserialize<'de>>(map: &mut Map<String, Value>, key: &str) -> Result<T, String> {
    match map.remove(key) {
        None | Some(Value::Null) => Ok(T::default()),
        Some(value) => serde_json::from_value(value).map_err(|e| format!("json: {key}: {e}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> String {
        String::from_utf8(Index::parse(text.as_bytes()).unwrap().to_json()).unwrap()
    }

    #[test]
    fn an_index_is_stored_as_go_would_print_it() {
        let text = "apiVersion: v1\ngenerated: '2026-01-01T00:00:00Z'\nentries:\n  demo:\n  - apiVersion: v2\n    name: demo\n    version: 1.0.0\n    description: <a> & b\n    created: 2026-01-01T00:00:00.500Z\n    digest: ab\n    urls: [demo-1.0.0.tgz]\n  - {name: demo, version: 1.10.0, apiVersion: v2}\n";
        let expected = "{\n  \"apiVersion\": \"v1\",\n  \"generated\": \"2026-01-01T00:00:00Z\",\n  \"entries\": {\n    \"demo\": [\n      {\n        \"name\": \"demo\",\n        \"version\": \"1.10.0\",\n        \"apiVersion\": \"v2\",\n        \"urls\": null,\n        \"created\": \"0001-01-01T00:00:00Z\"\n      },\n      {\n        \"name\": \"demo\",\n        \"version\": \"1.0.0\",\n        \"description\": \"\\u003ca\\u003e \\u0026 b\",\n        \"apiVersion\": \"v2\",\n        \"urls\": [\n          \"demo-1.0.0.tgz\"\n        ],\n        \"created\": \"2026-01-01T00:00:00.5Z\",\n        \"digest\": \"ab\"\n      }\n    ]\n  }\n}";
        assert_eq!(json(text), expected);
        assert_eq!(json(expected), expected, "what was stored reads as the same index");
    }

    #[test]
    fn the_index_of_packed_charts_reads_as_the_same_index() {
        let packed = |version: &str, created: &str| Packed {
            metadata: Metadata::from_json(serde_json::json!({"apiVersion": "v2", "name": "web", "version": version})).unwrap(),
            url: format!("web-{version}.tgz"),
            digest: "ab".to_owned(),
            created: Time::parse(created).unwrap(),
        };
        let index = Index::of(vec![packed("1.2.0", "2026-01-02T00:00:00Z"), packed("1.10.0", "2026-01-01T00:00:00Z")]);
        let text = index.to_yaml();
        assert!(text.contains("generated: \"2026-01-02T00:00:00Z\""), "{text}");
        assert_eq!(Index::parse(text.as_bytes()).unwrap(), index);
        let listing = index.listing();
        assert_eq!(listing.versions("web").iter().map(|entry| entry.version.as_str()).collect::<Vec<_>>(), ["1.10.0", "1.2.0"]);
        assert_eq!(Index::parse(Index::of(Vec::new()).to_yaml().as_bytes()).unwrap().listing().versions("web").len(), 0);
    }

    #[test]
    fn an_entry_without_versions_stays_one() {
        // The size is that of the recorded artifact (src-repo-entry-without-versions).
        assert_eq!(json("apiVersion: v1\nentries:\n  demo: []\n").len(), 98);
        assert!(json("apiVersion: v1\n").ends_with("\"entries\": null\n}"));
    }

    #[test]
    fn broken_indexes_are_refused_in_the_words_of_flux() {
        let told = |text: &str| Index::parse(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(told(""), "empty index.yaml file");
        assert_eq!(told("entries: {}"), "no API version specified");
        assert_eq!(told("apiVersion: v1\nentries: ["), "error converting YAML to JSON: yaml: line 2: did not find expected node content");
        assert_eq!(
            told("apiVersion: v1\nsurprise: true"),
            "error unmarshaling JSON: while decoding JSON: json: unknown field \"surprise\""
        );
        assert!(told("apiVersion: v1\nentries: {a: [{name: a, colour: red}]}").ends_with("unknown field \"colour\""));
        assert!(told("apiVersion: v1\nentries: {a: [{name: a, created: soon}]}").contains("parsing time \"soon\""));
        assert!(told("apiVersion: v1\nentries: {a: b}").contains("cannot unmarshal string"));
        assert!(told("[1]").contains("cannot unmarshal array"));
        assert!(told("apiVersion: v1\napiVersion: v2").contains("already set in map"));
        assert_eq!(Index::parse(b"\xff\xfe").unwrap_err(), Error::Encoding);
    }

    #[test]
    fn json_with_more_fields_is_read() {
        assert!(Index::parse(br#"{"apiVersion":"v1","surprise":1,"entries":{}}"#).is_ok());
    }

    #[test]
    fn what_is_no_chart_is_left_out() {
        let text = "apiVersion: v1\nentries:\n  a:\n  - {name: a, version: one}\n  - null\n  - {name: '../a', version: 1.0.0}\n  - {name: a, version: 2.0.0}\n  - {name: a, version: 1.0, dependencies: [{name: x}, {name: x}]}\n";
        let listing = Index::parse(text.as_bytes()).unwrap().listing();
        let versions: Vec<&str> = listing.versions("a").iter().map(|entry| entry.version.as_str()).collect();
        assert_eq!(versions, ["2.0.0", "1"]);
    }
}
