use api::{Artifact, kustomize::Kustomization};
use cluster::{Client, Resource};
use runtime::Store;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use types::NamespacedName;

/// A source, as far as a consumer needs it: all kinds look alike from here.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Source {
    pub status: SourceStatus,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SourceStatus {
    pub artifact: Option<Artifact>,
}

/// The revision that consumers react to.
pub(crate) fn revision(source: &Source) -> Option<String> {
    source.status.artifact.as_ref().map(|artifact| artifact.revision.clone())
}

const GROUP: &str = "source.toolkit.fluxcd.io";
const KINDS: &[(&str, &str)] = &[("GitRepository", "gitrepositories"), ("OCIRepository", "ocirepositories"), ("Bucket", "buckets")];
pub(crate) const EXTERNAL_ARTIFACT: (&str, &str) = ("ExternalArtifact", "externalartifacts");

/// What `spec.sourceRef` of a Kustomization names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SourceKey {
    pub kind: String,
    pub name: NamespacedName,
}

impl SourceKey {
    pub(crate) fn of(this: &Kustomization) -> Self {
        let reference = &this.spec.source_ref;
        let namespace =
            if reference.namespace.is_empty() { this.metadata.namespace.clone().unwrap_or_default() } else { reference.namespace.clone() };
        Self { kind: reference.kind.clone(), name: NamespacedName::new(namespace, reference.name.clone()) }
    }

    /// For indices.
    pub(crate) fn text(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }
}

/// The sources of every kind that is watched.
#[derive(Clone)]
pub(crate) struct Sources {
    stores: Arc<Vec<Store<Source>>>,
    client: Client,
}

impl Sources {
    pub(crate) fn new(client: Client, external: bool) -> Self {
        let store = |(kind, plural): &(&str, &str)| Store::new(Resource::namespaced(GROUP, "v1", kind, plural));
        let kinds = KINDS.iter().chain(external.then_some(&EXTERNAL_ARTIFACT));
        Self { stores: Arc::new(kinds.map(store).collect()), client }
    }

    pub(crate) fn stores(&self) -> &[Store<Source>] {
        &self.stores
    }

    /// The source as it is known; one that the watch has not seen is asked for, since it may be new.
    pub(crate) async fn get(&self, key: &SourceKey) -> Result<Option<Arc<Source>>, cluster::Error> {
        let Some(store) = self.stores.iter().find(|store| store.resource().kind == key.kind) else { return Ok(None) };
        if let Some(source) = store.get(&key.name) {
            return Ok(Some(source));
        }
        match self.client.get_opt(store.resource(), &key.name.namespace, &key.name.name).await? {
            Some(bytes) => serde_json::from_slice(&bytes).map(|source| Some(Arc::new(source))).map_err(cluster::Error::Decode),
            None => Ok(None),
        }
    }
}
