use serde::Deserialize;
use std::collections::BTreeMap;
use types::NamespacedName;

/// The metadata of an object, as far as the runtime needs it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Meta {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    pub resource_version: String,
    pub generation: i64,
    #[serde(deserialize_with = "null_as_default")]
    pub labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "null_as_default")]
    pub annotations: BTreeMap<String, String>,
    #[serde(deserialize_with = "null_as_default")]
    pub finalizers: Vec<String>,
    pub deletion_timestamp: Option<String>,
}

fn null_as_default<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Meta {
    pub fn key(&self) -> NamespacedName {
        NamespacedName::new(&self.namespace, &self.name)
    }

    pub fn is_deleting(&self) -> bool {
        self.deletion_timestamp.is_some()
    }

    /// The token of the last request for a reconcile.
    pub fn requested_at(&self) -> Option<&str> {
        self.annotations.get(REQUESTED_AT).map(String::as_str)
    }
}

/// The annotation by which a reconcile is asked for; any change of it counts.
pub const REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";
