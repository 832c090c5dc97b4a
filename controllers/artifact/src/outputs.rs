//! ExternalArtifacts: written where they differ from what they should be, and only there.

use crate::{NAME, reconcile::Reconciler};
use api::{
    Artifact, Condition,
    extensions::ArtifactGenerator,
    meta::{READY, TRUE, reason},
    source::ExternalArtifact,
};
use cluster::{Apply, Resource};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use types::NamespacedName;

/// Why an ExternalArtifact could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputError {
    #[error("failed to apply ExternalArtifact")]
    Spec(#[source] cluster::Error),
    #[error("failed to patchStatus ExternalArtifact status")]
    Status(#[source] cluster::Error),
}

/// An ExternalArtifact as it should be.
pub(crate) struct Desired<'a> {
    pub(crate) key: &'a NamespacedName,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) generator: &'a NamespacedName,
    pub(crate) artifact: &'a Artifact,
}

pub(crate) fn resource() -> Resource {
    Resource::namespaced(ExternalArtifact::GROUP, ExternalArtifact::VERSION, ExternalArtifact::KIND, "externalartifacts")
}

const MESSAGE: &str = "Artifact is ready";

/// Brings an ExternalArtifact to what it should be: the object by force, its status without, so that nobody else's word is overwritten.
///
/// `live` is how it was found, if it carries the generator's label; one that does not is written in any case.
pub(crate) async fn apply(reconciler: &Reconciler, desired: &Desired<'_>, live: Option<&Value>, always: bool) -> Result<(), OutputError> {
    let live = match live.filter(|live| !always && desired.is_object_of(live)) {
        Some(live) => live.clone(),
        None => {
            let body = desired.object();
            let answer = write(reconciler, desired.key, &body, "", true).await.map_err(OutputError::Spec)?;
            serde_json::from_slice(&answer).map_err(|error| OutputError::Spec(cluster::Error::Decode(error)))?
        }
    };
    if !desired.is_status_of(&live) {
        let body = desired.status(&live);
        write(reconciler, desired.key, &body, "status", false).await.map_err(OutputError::Status)?;
    }
    Ok(())
}

async fn write(
    reconciler: &Reconciler,
    key: &NamespacedName,
    body: &Value,
    subresource: &str,
    force: bool,
) -> Result<Vec<u8>, cluster::Error> {
    let options = Apply { field_manager: NAME, force, subresource, ..Apply::default() };
    let answer = reconciler.client.apply(&resource(), &key.namespace, &key.name, body.to_string().into_bytes(), options).await?;
    Ok(answer.to_vec())
}

impl Desired<'_> {
    fn source_ref(&self) -> Value {
        json!({
            "apiVersion": ArtifactGenerator::API_VERSION,
            "kind": ArtifactGenerator::KIND,
            "name": self.generator.name,
            "namespace": self.generator.namespace,
        })
    }

    fn head(&self) -> Value {
        json!({
            "apiVersion": ExternalArtifact::API_VERSION,
            "kind": ExternalArtifact::KIND,
            "metadata": {"name": self.key.name, "namespace": self.key.namespace},
        })
    }

    fn object(&self) -> Value {
        let mut object = self.head();
        object["metadata"]["labels"] = json!(self.labels);
        if !self.annotations.is_empty() {
            object["metadata"]["annotations"] = json!(self.annotations);
        }
        object["spec"] = json!({"sourceRef": self.source_ref()});
        object
    }

    fn is_object_of(&self, live: &Value) -> bool {
        let has = |field: &str, wanted: &BTreeMap<String, String>| wanted.iter().all(|(key, value)| live["metadata"][field][key] == *value);
        has("labels", &self.labels) && has("annotations", &self.annotations) && live["spec"]["sourceRef"] == self.source_ref()
    }

    fn ready(&self, live: &Value) -> Condition {
        let mut ready = Condition::new(READY, TRUE, reason::SUCCEEDED, MESSAGE);
        ready.observed_generation = live["metadata"]["generation"].as_i64().unwrap_or_default();
        ready.last_transition_time = self.artifact.last_update_time;
        ready
    }

    fn status(&self, live: &Value) -> Value {
        let mut object = self.head();
        object["status"] = json!({"artifact": self.artifact, "conditions": [self.ready(live)]});
        object
    }

    /// Whether the status says the same, whenever it was written.
    fn is_status_of(&self, live: &Value) -> bool {
        let without = |mut value: Value, field: &str| {
            if let Some(object) = value.as_object_mut() {
                object.remove(field);
            }
            value
        };
        let same = |wanted: Value, there: &Value, field: &str| without(wanted, field) == without(there.clone(), field);
        let [condition] = live["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default() else { return false };
        same(json!(self.artifact), &live["status"]["artifact"], "lastUpdateTime")
            && same(json!(self.ready(live)), condition, "lastTransitionTime")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact() -> Artifact {
        Artifact {
            digest: "sha256:1".into(),
            path: "p".into(),
            revision: "latest@sha256:1".into(),
            url: "u".into(),
            size: Some(3),
            ..Artifact::default()
        }
    }

    fn check(change: impl Fn(&mut Value)) -> (bool, bool) {
        let (key, generator, artifact) = (NamespacedName::new("apps", "one"), NamespacedName::new("apps", "gen"), artifact());
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        let annotations = BTreeMap::from([("note".to_owned(), "x".to_owned())]);
        let desired = Desired { key: &key, labels, annotations, generator: &generator, artifact: &artifact };
        let mut live = desired.object();
        live["metadata"]["generation"] = 4.into();
        live["metadata"]["labels"]["mine"] = "2".into();
        live["status"] = desired.status(&live)["status"].clone();
        live["status"]["artifact"]["lastUpdateTime"] = "2026-01-01T00:00:00Z".into();
        live["status"]["conditions"][0]["lastTransitionTime"] = "2026-01-01T00:00:00Z".into();
        change(&mut live);
        (desired.is_object_of(&live), desired.is_status_of(&live))
    }

    #[test]
    fn what_is_there_already_is_not_written() {
        assert_eq!(check(|_| ()), (true, true));
        assert_eq!(check(|live| live["metadata"]["labels"]["a"] = "2".into()), (false, true));
        assert_eq!(check(|live| live["metadata"]["annotations"] = Value::Null), (false, true));
        assert_eq!(check(|live| live["spec"]["sourceRef"]["name"] = "other".into()), (false, true));
        assert_eq!(check(|live| live["status"]["artifact"]["revision"] = "v1".into()), (true, false));
        assert_eq!(check(|live| live["status"]["conditions"][0]["status"] = "False".into()), (true, false));
        assert_eq!(check(|live| live["metadata"]["generation"] = 5.into()), (true, false));
        assert_eq!(check(|live| live["status"] = Value::Null), (true, false));
    }
}
