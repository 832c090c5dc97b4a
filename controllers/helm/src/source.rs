use crate::spec;
use api::{
    Artifact, Condition, Conditions,
    helm::HelmRelease,
    meta::{READY, STALLED},
};
use artifacts::{EXTERNAL_ARTIFACT, SourceKey};
use cluster::Client;
use serde::{Deserialize, Serialize};

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

pub(crate) const HELM_CHART: &str = "HelmChart";

/// The sources that a HelmRelease may name.
pub(crate) type Sources = artifacts::Sources<Source>;

/// The kinds that a HelmRelease may name; ExternalArtifacts where a feature gate lets them in.
pub(crate) fn sources(client: Client, external: bool) -> Sources {
    Sources::new(client, [HELM_CHART, "OCIRepository"].into_iter().chain(external.then_some(EXTERNAL_ARTIFACT)))
}

/// The object that the chart of a HelmRelease comes from; none where the spec names neither or both forms.
pub(crate) fn key_of(this: &HelmRelease) -> Option<SourceKey> {
    let own_namespace = Some(spec::namespace(this));
    match (&this.spec.chart, &this.spec.chart_ref) {
        (Some(template), None) => {
            let name = crate::template::name(this);
            Some(SourceKey::new(HELM_CHART, &template.spec.source_ref.namespace, &name, own_namespace))
        }
        (None, Some(reference)) => Some(SourceKey::new(&reference.kind, &reference.namespace, &reference.name, own_namespace)),
        _ => None,
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
