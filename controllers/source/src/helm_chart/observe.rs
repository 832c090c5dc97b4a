//! First beat: what is stored, and the source that the chart comes from.

use super::Beats;
use crate::helm::is_registry;
use crate::kept::{Kept, kept};
use api::Artifact;
use api::source::{GitRepository, HelmChart, HelmRepository, HelmRepositorySpec};
use cluster::Resource;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use types::NamespacedName;

/// Everything that decisions are made from, beside the object itself.
pub(super) struct Seen {
    /// Old files of the object that were removed.
    pub(super) collected: usize,
    pub(super) artifact: Kept,
    pub(super) source: Result<Source, Missing>,
}

/// Where the chart comes from.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Source {
    /// A repository of charts, and its stored index. A registry has none.
    Repository(Box<HelmRepositorySpec>, Option<Artifact>),
    /// Files that another kind of source stored.
    Files { is_git: bool, artifact: Option<Artifact> },
}

impl Source {
    pub(super) fn artifact(&self) -> Option<&Artifact> {
        match self {
            Self::Repository(_, artifact) | Self::Files { artifact, .. } => artifact.as_ref(),
        }
    }

    /// Whether there can be no chart without an artifact.
    pub(super) fn needs_artifact(&self) -> bool {
        !matches!(self, Self::Repository(spec, _) if is_registry(spec))
    }
}

/// Why there is no source.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Missing {
    /// It does not exist, or cannot be read.
    Unavailable(String),
    UnknownKind(String),
}

pub(super) async fn observe(beats: &Beats, this: &HelmChart, key: &NamespacedName) -> Seen {
    let status = this.status.clone().unwrap_or_default();
    let (collected, artifact) = kept(&beats.remotes.store, status.artifact).await;
    Seen { collected, artifact, source: source(beats, this, key).await }
}

async fn source(beats: &Beats, this: &HelmChart, key: &NamespacedName) -> Result<Source, Missing> {
    let reference = &this.spec.source_ref;
    let name = NamespacedName::new(&key.namespace, &reference.name);
    match reference.kind.as_str() {
        "HelmRepository" => {
            let known = beats.helm_repositories.get(&name).map(|found| (found.spec.clone(), found.status.clone()));
            let (spec, status) = match known {
                Some(known) => known,
                // Not in our shard, or not yet seen.
                None => {
                    let other: HelmRepository = get(beats, crate::helm_repository::resource(), &name).await?;
                    (other.spec, other.status)
                }
            };
            Ok(Source::Repository(Box::new(spec), status.and_then(|s| s.artifact)))
        }
        "GitRepository" => {
            let status = match beats.git_repositories.get(&name) {
                Some(found) => found.status.clone(),
                None => get::<GitRepository>(beats, crate::git_repository::resource(), &name).await?.status,
            };
            Ok(Source::Files { is_git: true, artifact: status.and_then(|s| s.artifact) })
        }
        "Bucket" => {
            #[derive(Deserialize)]
            struct Stored {
                #[serde(default)]
                status: Status,
            }
            #[derive(Default, Deserialize)]
            struct Status {
                artifact: Option<Artifact>,
            }
            let buckets = Resource::namespaced("source.toolkit.fluxcd.io", "v1", "Bucket", "buckets");
            let bucket: Stored = get(beats, buckets, &name).await?;
            Ok(Source::Files { is_git: false, artifact: bucket.status.artifact })
        }
        other => {
            Err(Missing::UnknownKind(format!("unsupported source kind '{other}', must be one of: HelmRepository, GitRepository, Bucket")))
        }
    }
}

async fn get<T: DeserializeOwned>(beats: &Beats, resource: Resource, name: &NamespacedName) -> Result<T, Missing> {
    let kind = format!("{}.{}", resource.kind, resource.group);
    match beats.remotes.client.get_opt(&resource, &name.namespace, &name.name).await {
        Ok(Some(bytes)) => serde_json::from_slice(&bytes).map_err(|e| Missing::Unavailable(format!("{kind} {:?}: {e}", name.name))),
        Ok(None) => Err(Missing::Unavailable(format!("{kind} {:?} not found", name.name))),
        Err(error) => Err(Missing::Unavailable(error.chain())),
    }
}
