use api::Artifact;
use cluster::{Client, Resource};
use runtime::Store;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, sync::Arc};
use types::NamespacedName;

/// A source, as far as a consumer needs it: all kinds look alike from here.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Source {
    pub metadata: SourceMeta,
    pub status: SourceStatus,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceMeta {
    pub labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceStatus {
    pub artifact: Option<Artifact>,
}

/// The revision that consumers react to.
pub fn revision(source: &Source) -> Option<String> {
    source.status.artifact.as_ref().map(|artifact| artifact.revision.clone())
}

const GROUP: &str = "source.toolkit.fluxcd.io";
/// An artifact that somebody else makes: consumers take it where a feature gate says so.
pub const EXTERNAL_ARTIFACT: &str = "ExternalArtifact";

/// What a reference to a source names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SourceKey {
    pub kind: String,
    pub name: NamespacedName,
}

impl SourceKey {
    /// A reference without a namespace stays in that of the object that has it.
    pub fn new(kind: &str, namespace: &str, name: &str, own_namespace: Option<&str>) -> Self {
        let namespace = if namespace.is_empty() { own_namespace.unwrap_or_default() } else { namespace };
        Self { kind: kind.to_owned(), name: NamespacedName::new(namespace, name) }
    }

    /// For indices.
    pub fn text(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }
}

/// The sources of every kind that is watched, as `S` reads them: what a consumer does not decode is not kept.
pub struct Sources<S = Source> {
    stores: Arc<Vec<Store<S>>>,
    client: Client,
}

impl<S> Clone for Sources<S> {
    fn clone(&self) -> Self {
        Self { stores: self.stores.clone(), client: self.client.clone() }
    }
}

impl<S: DeserializeOwned + Send + Sync + 'static> Sources<S> {
    /// `kinds` are kinds of the source group.
    pub fn new<'k>(client: Client, kinds: impl IntoIterator<Item = &'k str>) -> Self {
        let store = |kind: &str| {
            let plural = if kind.ends_with('y') { format!("{}ies", kind.trim_end_matches('y')) } else { format!("{kind}s") };
            Store::new(Resource::namespaced(GROUP, "v1", kind, &plural.to_ascii_lowercase()))
        };
        Self { stores: Arc::new(kinds.into_iter().map(store).collect()), client }
    }

    pub fn stores(&self) -> &[Store<S>] {
        &self.stores
    }

    /// The store of one kind, if it is watched.
    pub fn store(&self, kind: &str) -> Option<&Store<S>> {
        self.stores.iter().find(|store| store.resource().kind == kind)
    }

    /// The source as it is known; one that the watch has not seen is asked for, since it may be new.
    pub async fn get(&self, key: &SourceKey) -> Result<Option<Arc<S>>, cluster::Error> {
        match self.store(&key.kind).and_then(|store| store.get(&key.name)) {
            Some(source) => Ok(Some(source)),
            None => self.read(key).await,
        }
    }

    /// The source as the API server has it, whatever the watch has seen.
    pub async fn read(&self, key: &SourceKey) -> Result<Option<Arc<S>>, cluster::Error> {
        let Some(store) = self.store(&key.kind) else { return Ok(None) };
        match self.client.get_opt(store.resource(), &key.name.namespace, &key.name.name).await? {
            Some(bytes) => serde_json::from_slice(&bytes).map(|source| Some(Arc::new(source))).map_err(cluster::Error::Decode),
            None => Ok(None),
        }
    }
}
