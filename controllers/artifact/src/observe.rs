//! The first beat: sources, stored files, and the ExternalArtifacts in the cluster.

use crate::reconcile::Reconciler;
use api::{
    Artifact,
    extensions::{ArtifactGenerator, ExternalArtifactReference},
    meta,
};
use artifacts::{EXTERNAL_ARTIFACT, SourceKey};
use cluster::Selection;
use runtime::Meta;
use serde_json::{Value, value::RawValue};
use std::collections::BTreeMap;
use store::Verdict;
use types::{Digest, NamespacedName};

/// ExternalArtifacts by the generator that their label names.
pub(crate) const BY_GENERATOR: &str = "generator";

/// Why the sources of a generator cannot be used, in Flux's words.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    #[error("{kind}.source.toolkit.fluxcd.io {name:?} not found")]
    NotFound { kind: String, name: String },
    #[error("source '{0}' is not ready")]
    NotReady(String),
    #[error("unable to get source '{0}'")]
    Read(NamespacedName, #[source] cluster::Error),
}

/// The artifacts of all sources, by alias.
pub(crate) type Inputs = BTreeMap<String, Artifact>;

/// What is on disk for an entry of the inventory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    Intact,
    Missing,
    /// It was removed.
    Damaged,
}

/// An ExternalArtifact whose label names this generator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) key: NamespacedName,
    /// The digest of its artifact; absent where it has none.
    pub(crate) digest: Option<String>,
    /// Its artifact lies in our storage: nobody else wrote its status.
    pub(crate) is_ours: bool,
    /// The whole of it.
    pub(crate) object: Value,
}

impl Output {
    fn of(json: &RawValue) -> Option<Self> {
        let object: Value = serde_json::from_str(json.get()).ok()?;
        let text = |path: &str| object.pointer(path).and_then(Value::as_str);
        let key = NamespacedName::new(text("/metadata/namespace")?, text("/metadata/name")?);
        let is_ours = text("/status/artifact/path").is_none_or(|at| at.starts_with(&path(&key, "")));
        Some(Self { digest: text("/status/artifact/digest").map(str::to_owned), is_ours, key, object })
    }
}

/// Everything that the plan is made of.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) inputs: Result<Inputs, SourceError>,
    /// One for each entry of the inventory.
    pub(crate) kept: Vec<Kept>,
    pub(crate) outputs: Vec<Output>,
}

/// The sources that a generator names, with their aliases.
pub(crate) fn sources_of(this: &ArtifactGenerator) -> impl Iterator<Item = (&str, SourceKey)> {
    this.spec.sources.iter().map(move |source| {
        let own = this.metadata.namespace.as_deref();
        (source.alias.as_str(), SourceKey::new(&source.kind, &source.namespace, &source.name, own))
    })
}

/// The path of an output's file in the storage.
pub(crate) fn path(key: &NamespacedName, file: &str) -> String {
    store::artifact_path(EXTERNAL_ARTIFACT, &key.namespace, &key.name, file)
}

pub(crate) async fn observe(reconciler: &Reconciler, this: &ArtifactGenerator, about: &Meta) -> Seen {
    let status = this.status.clone().unwrap_or_default();
    let is_asked = about.requested_at().is_some_and(|requested| requested != status.last_handled_reconcile_at);
    let known = || outputs(reconciler, &about.uid);
    let outputs =
        if is_asked { fresh_outputs(reconciler, &about.namespace, &about.uid).await.unwrap_or_else(|_| known()) } else { known() };
    Seen { inputs: inputs(reconciler, this).await, kept: kept(reconciler, status.inventory).await, outputs }
}

async fn inputs(reconciler: &Reconciler, this: &ArtifactGenerator) -> Result<Inputs, SourceError> {
    let mut inputs = Inputs::new();
    for (alias, key) in sources_of(this) {
        let found = if reconciler.direct { reconciler.sources.read(&key).await } else { reconciler.sources.get(&key).await };
        let source = found
            .map_err(|error| SourceError::Read(key.name.clone(), error))?
            .ok_or_else(|| SourceError::NotFound { kind: key.kind.clone(), name: key.name.name.clone() })?;
        let artifact = source.status.artifact.clone().ok_or_else(|| SourceError::NotReady(key.text()))?;
        inputs.insert(alias.to_owned(), artifact);
    }
    Ok(inputs)
}

async fn kept(reconciler: &Reconciler, inventory: Vec<ExternalArtifactReference>) -> Vec<Kept> {
    let store = reconciler.store.clone();
    let count = inventory.len();
    let look = move || {
        let verdict = |entry: &ExternalArtifactReference| {
            let at = path(&NamespacedName::new(&entry.namespace, &entry.name), &entry.filename);
            let verified = Digest::parse(&entry.digest).ok().and_then(|digest| store.verify(&at, &digest).ok());
            match verified {
                Some(Verdict::Intact) => Kept::Intact,
                Some(Verdict::Missing) => Kept::Missing,
                Some(Verdict::Damaged { .. }) | None => {
                    tracing::error!(path = at, "the stored artifact is damaged; it is made anew");
                    let _ = store.remove(&at);
                    Kept::Damaged
                }
            }
        };
        inventory.iter().map(verdict).collect()
    };
    tokio::task::spawn_blocking(look).await.unwrap_or_else(|_| vec![Kept::Missing; count])
}

/// The ExternalArtifacts that carry the label of this generator, as the watch has them.
pub(crate) fn outputs(reconciler: &Reconciler, uid: &str) -> Vec<Output> {
    let keys = reconciler.outputs.by_index(BY_GENERATOR, uid);
    keys.iter().filter_map(|key| Output::of(reconciler.outputs.json(key)?.as_ref())).collect()
}

/// The same, as the API server has them: whoever asks has often just changed something that the watch has not seen yet.
async fn fresh_outputs(reconciler: &Reconciler, namespace: &str, uid: &str) -> Result<Vec<Output>, cluster::Error> {
    let labels = format!("{}={uid}", meta::GENERATOR_LABEL);
    let selection = Selection { namespace: namespace.to_owned(), labels, ..Selection::default() };
    let found = reconciler.client.list(reconciler.outputs.resource(), &selection).await?;
    Ok(found.iter().filter_map(|json| Output::of(json)).collect())
}

/// A digest over the state of all sources: what `status.observedSourcesDigest` says.
pub(crate) fn digest(inputs: &Inputs) -> String {
    let part = |(alias, artifact): (&String, &Artifact)| {
        format!("{alias}=[digest={},revision={},url={}]", artifact.digest, artifact.revision, artifact.url)
    };
    // Sorted as texts, as Flux does: an alias may be the beginning of another one.
    let mut parts: Vec<String> = inputs.iter().map(part).collect();
    parts.sort();
    Digest::sha256(parts.join("|").as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_the_sources_is_the_one_that_flux_writes() {
        let artifact = |digest: &str, revision: &str, url: &str| Artifact {
            digest: digest.into(),
            revision: revision.into(),
            url: url.into(),
            ..Artifact::default()
        };
        let mut inputs =
            Inputs::from([("b".to_owned(), artifact("sha256:2", "v2", "u2")), ("a".to_owned(), artifact("sha256:1", "v1", "u1"))]);
        let expected = Digest::sha256(b"a=[digest=sha256:1,revision=v1,url=u1]|b=[digest=sha256:2,revision=v2,url=u2]");
        assert_eq!(digest(&inputs), expected.to_string());
        inputs.get_mut("a").unwrap().url = "u3".into();
        assert_ne!(digest(&inputs), expected.to_string());
    }
}
