use api::{
    Artifact, Condition, Conditions,
    helm::HelmRelease,
    meta::{READY, STALLED},
};
use cluster::{Client, Resource};
use runtime::Store;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use types::NamespacedName;

use crate::spec;

/// A source, as far as a consumer needs it: all kinds look alike from here.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Source {
    pub metadata: SourceMeta,
    pub status: SourceStatus,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SourceMeta {
    pub generation: i64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct SourceStatus {
    pub observed_generation: i64,
    pub conditions: Vec<Condition>,
    pub artifact: Option<Artifact>,
}

impl Source {
    /// The artifact, or why there is none to use.
    pub(crate) fn artifact(&self) -> Result<&Artifact, String> {
        let ready = self.status.conditions.condition(READY);
        let told = |fallback: &str| ready.filter(|ready| !ready.is_true()).map_or(fallback.to_owned(), |ready| ready.message.clone());
        let stalled = self.status.conditions.condition(STALLED).is_some_and(Condition::is_true);
        // An ExternalArtifact has no generation that anybody observes.
        if self.status.observed_generation != 0 && self.status.observed_generation != self.metadata.generation {
            return Err(told("latest generation of object has not been reconciled"));
        }
        if stalled {
            return Err(told("the source is stalled"));
        }
        self.status.artifact.as_ref().ok_or_else(|| told("does not have an artifact"))
    }
}

/// What consumers react to: another revision, that the source got ready, or another reason why it is not.
pub(crate) fn news(source: &Source) -> (Option<String>, Option<String>, i64) {
    let revision = source.status.artifact.as_ref().map(|artifact| artifact.revision.clone());
    let why = source.status.conditions.condition(READY).filter(|ready| !ready.is_true()).map(|ready| ready.message.clone());
    (revision, why, source.status.observed_generation)
}

const GROUP: &str = "source.toolkit.fluxcd.io";
pub(crate) const HELM_CHART: &str = "HelmChart";
const KINDS: &[(&str, &str)] = &[(HELM_CHART, "helmcharts"), ("OCIRepository", "ocirepositories")];
pub(crate) const EXTERNAL_ARTIFACT: (&str, &str) = ("ExternalArtifact", "externalartifacts");

/// The object that the chart of a HelmRelease comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SourceKey {
    pub kind: String,
    pub name: NamespacedName,
}

impl SourceKey {
    /// None where the spec names neither or both forms.
    pub(crate) fn of(this: &HelmRelease) -> Option<Self> {
        match (&this.spec.chart, &this.spec.chart_ref) {
            (Some(template), None) => {
                let namespace = &template.spec.source_ref.namespace;
                let namespace = if namespace.is_empty() { spec::namespace(this) } else { namespace };
                let name = crate::template::name(this);
                Some(Self { kind: HELM_CHART.to_owned(), name: NamespacedName::new(namespace, name) })
            }
            (None, Some(reference)) => {
                let namespace = if reference.namespace.is_empty() { spec::namespace(this) } else { &reference.namespace };
                Some(Self { kind: reference.kind.clone(), name: NamespacedName::new(namespace, reference.name.clone()) })
            }
            _ => None,
        }
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

    pub(crate) fn store(&self, kind: &str) -> Option<&Store<Source>> {
        self.stores.iter().find(|store| store.resource().kind == kind)
    }

    /// The source as it is known; one that the watch has not seen is asked for, since it may be new.
    pub(crate) async fn get(&self, key: &SourceKey) -> Result<Option<Arc<Source>>, cluster::Error> {
        let Some(store) = self.store(&key.kind) else { return Ok(None) };
        if let Some(source) = store.get(&key.name) {
            return Ok(Some(source));
        }
        match self.client.get_opt(store.resource(), &key.name.namespace, &key.name.name).await? {
            Some(bytes) => serde_json::from_slice(&bytes).map(|source| Some(Arc::new(source))).map_err(cluster::Error::Decode),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn source(generation: i64, observed: i64, conditions: serde_json::Value, artifact: bool) -> Source {
        let artifact = artifact
            .then(|| json!({"digest": "sha256:1", "revision": "1", "url": "u", "path": "p", "lastUpdateTime": "2026-01-01T00:00:00Z"}));
        let value = json!({"metadata": {"generation": generation}, "status": {"observedGeneration": observed, "conditions": conditions, "artifact": artifact}});
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_source_is_used_when_it_has_looked_at_its_newest_spec() {
        let condition = |kind: &str, status: &str| json!([{"type": kind, "status": status, "reason": "R", "message": "why", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
        assert!(source(1, 1, condition("Ready", "True"), true).artifact().is_ok());
        assert_eq!(source(1, 1, json!([]), false).artifact().unwrap_err(), "does not have an artifact");
        assert_eq!(source(2, 1, condition("Ready", "False"), true).artifact().unwrap_err(), "why");
        assert_eq!(source(2, 1, json!([]), true).artifact().unwrap_err(), "latest generation of object has not been reconciled");
        assert!(source(1, 1, condition("Ready", "False"), true).artifact().is_ok(), "it keeps its last artifact");
    }
}
