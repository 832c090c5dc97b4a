//! A release as Helm stores it: JSON, gzip, base64.

use crate::{
    chart::Chart,
    error::Error,
    manifest::Hook,
    metadata::{Lock, Metadata, write_go_json},
};
use base64::{Engine, engine::general_purpose::STANDARD, write::EncoderStringWriter};
use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    io::{BufWriter, Read},
    sync::Arc,
};

/// One revision of a release. Times are RFC 3339 texts, kept as they are written.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StoredRelease {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    pub info: Info,
    /// Most of a release, and the same in all of one chart: they may share it.
    #[serde(with = "shared")]
    pub chart: Arc<StoredChart>,
    /// The values that the user gave.
    #[serde(skip_serializing_if = "is_empty_map", serialize_with = "shared::serialize", deserialize_with = "null_is_default_shared")]
    pub config: Arc<Map<String, Value>>,
    #[serde(skip_serializing_if = "str::is_empty", with = "shared")]
    pub manifest: Arc<str>,
    #[serde(skip_serializing_if = "is_empty_list", serialize_with = "shared::serialize", deserialize_with = "null_is_default_shared")]
    pub hooks: Arc<Vec<Hook>>,
    #[serde(skip_serializing_if = "is_zero")]
    pub version: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// `ssa` or `csa`; empty means client-side apply (Helm 3).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub apply_method: String,
}

/// What several releases may hold together is written and read as if it were their own.
mod shared {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::sync::Arc;

    pub fn serialize<T: Serialize + ?Sized, S: Serializer>(value: &Arc<T>, serializer: S) -> Result<S::Ok, S::Error> {
        T::serialize(value, serializer)
    }

    pub fn deserialize<'de, T: ?Sized, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<T>, D::Error>
    where
        Box<T>: Deserialize<'de>,
    {
        Box::deserialize(deserializer).map(Arc::from)
    }
}

fn is_empty_map(map: &Map<String, Value>) -> bool {
    map.is_empty()
}

fn is_empty_list<T>(list: &[T]) -> bool {
    list.is_empty()
}

fn null_is_default_shared<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<Arc<T>, D::Error> {
    null_is_default(deserializer).map(Arc::new)
}

fn is_zero(n: &i64) -> bool {
    *n == 0
}

fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// A time that may be missing, null or, as Helm 3 wrote it, an empty text.
pub(crate) fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty() && !text.starts_with("0001-01-01T00:00:00")))
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Info {
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "time")]
    pub first_deployed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "time")]
    pub last_deployed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "time")]
    pub deleted: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub rollback_revision: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub notes: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Value>,
}

/// The chart inside a release.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StoredChart {
    /// Also without the rest of the chart, where only that counts.
    #[serde(with = "shared")]
    pub metadata: Arc<Metadata>,
    pub lock: Option<Lock>,
    #[serde(deserialize_with = "null_is_default")]
    pub templates: Vec<StoredFile>,
    #[serde(deserialize_with = "null_is_default")]
    pub values: Map<String, Value>,
    /// Base64; null without a schema.
    pub schema: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schemamodtime: Option<String>,
    #[serde(deserialize_with = "null_is_default")]
    pub files: Vec<StoredFile>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modtime: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StoredFile {
    pub name: String,
    /// Base64.
    pub data: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modtime: Option<String>,
}

impl From<&Chart> for StoredChart {
    /// Subcharts are not stored, as Helm does not store them.
    fn from(chart: &Chart) -> Self {
        let file =
            |file: &crate::chart::File| StoredFile { name: file.name.to_string(), data: STANDARD.encode(file.data()), modtime: None };
        let values = match chart.values.to_json() {
            Value::Object(map) => map,
            _ => Map::new(),
        };
        Self {
            metadata: Arc::new(chart.metadata.clone()),
            lock: chart.lock.clone(),
            templates: chart.templates.iter().map(file).collect(),
            values,
            schema: chart.schema.as_ref().map(|schema| STANDARD.encode(schema)),
            schemamodtime: None,
            files: chart.files.iter().map(file).collect(),
            modtime: None,
        }
    }
}

/// Unpacked bytes of a release that is read.
const MAX_SIZE: u64 = 256 << 20;

impl StoredRelease {
    /// The text that goes into the Secret's or ConfigMap's `release` key (Kubernetes encodes a Secret's data once more).
    pub fn encode(&self) -> Result<String, Error> {
        let failed = |what: &dyn std::fmt::Display| Error::Release(format!("cannot encode release {:?}: {what}", self.name));
        // From one end to the other in pieces: the chart in it may be large, and many releases are stored at the same time.
        let packer = GzEncoder::new(EncoderStringWriter::new(&STANDARD), Compression::best());
        let mut text = BufWriter::with_capacity(16 << 10, packer);
        write_go_json(self, &mut text).map_err(|error| failed(&error))?;
        let packer = text.into_inner().map_err(|error| failed(&error))?;
        Ok(packer.finish().map_err(|error| failed(&error))?.into_inner())
    }

    /// Reads what Helm 3, Helm 4 and we encoded; what is not compressed as well.
    pub fn decode(text: &str) -> Result<Self, Error> {
        let failed = |what: &dyn std::fmt::Display| Error::Release(format!("cannot decode release: {what}"));
        let packed = STANDARD.decode(text.trim()).map_err(|error| failed(&error))?;
        let json = if packed.starts_with(&[0x1f, 0x8b, 0x08]) {
            let mut json = Vec::new();
            MultiGzDecoder::new(&*packed).take(MAX_SIZE + 1).read_to_end(&mut json).map_err(|error| failed(&error))?;
            if json.len() as u64 > MAX_SIZE {
                return Err(failed(&format!("it is larger than {MAX_SIZE} bytes")));
            }
            json
        } else {
            packed
        };
        serde_json::from_slice(&json).map_err(|error| failed(&error))
    }

    /// The name of the object that stores this revision.
    pub fn storage_name(&self) -> String {
        format!("sh.helm.release.v1.{}.v{}", self.name, self.version)
    }

    /// The labels of the object that stores this revision; `modified_at` in seconds, for one that is updated.
    pub fn storage_labels(
        &self,
        created_at: Option<i64>,
        modified_at: Option<i64>,
        custom: &BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        let mut labels: BTreeMap<String, String> = custom
            .iter()
            .filter(|(key, _)| !SYSTEM_LABELS.contains(&key.as_str()))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let mut set = |key: &str, value: String| drop(labels.insert(key.to_owned(), value));
        set("name", self.name.clone());
        set("owner", "helm".to_owned());
        set("status", self.info.status.clone());
        set("version", self.version.to_string());
        if let Some(at) = created_at {
            set("createdAt", at.to_string());
        }
        if let Some(at) = modified_at {
            set("modifiedAt", at.to_string());
        }
        labels
    }
}

/// Labels that Helm itself sets.
pub const SYSTEM_LABELS: &[&str] = &["name", "owner", "status", "version", "createdAt", "modifiedAt"];

#[cfg(test)]
mod tests {
    use super::*;

    fn release() -> StoredRelease {
        let hook = Hook { name: "h".into(), kind: "Job".into(), events: vec!["test".into()], ..Hook::default() };
        let info = Info { first_deployed: Some("2026-01-02T03:04:05.123456789Z".into()), status: "deployed".into(), ..Info::default() };
        StoredRelease {
            name: "rel".into(),
            info,
            manifest: "a: <b> & \"c\"\n".into(),
            hooks: Arc::new(vec![hook]),
            version: 3,
            namespace: "ns".into(),
            apply_method: "ssa".into(),
            ..StoredRelease::default()
        }
    }

    #[test]
    fn releases_survive_their_encoding() {
        let release = release();
        assert_eq!(StoredRelease::decode(&release.encode().unwrap()).unwrap(), release);
        assert_eq!(release.storage_name(), "sh.helm.release.v1.rel.v3");
    }

    #[test]
    fn what_helm_wrote_is_read() {
        let json = r#"{"name":"r","info":{"first_deployed":"2024-01-01T00:00:00Z","deleted":"","status":"deployed"},"chart":{"metadata":{"name":"c","version":"1.0.0"},"lock":null,"templates":[{"name":"templates/a.yaml","data":"YQ=="}],"values":null,"schema":null,"files":null},"hooks":[{"name":"h","last_run":{"started_at":"","completed_at":"","phase":""}}],"version":1}"#;
        let release = StoredRelease::decode(&STANDARD.encode(json)).unwrap();
        assert_eq!((release.info.deleted, release.chart.templates.len(), release.hooks[0].last_run.started_at.as_deref()), (None, 1, None));
        assert!(StoredRelease::decode("!!").is_err() && StoredRelease::decode("e30x").is_err());
    }
}
