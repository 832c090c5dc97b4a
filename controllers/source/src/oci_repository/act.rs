//! Third beat: verify, pull, choose the layer, archive. May be cut short anywhere: a file appears whole or not at all.

use super::layers::copies;
use super::observe::{Found, Seen};
use super::plan::content_changed;
use super::{Beats, KIND, select, timeout};
use crate::kept::Kept;
use crate::problem::{Problem, chain};
use api::Artifact;
use api::meta::{FETCH_FAILED, SOURCE_VERIFIED, STORAGE_OPERATION_FAILED, Time};
use api::source::{OCIRepository, OCIRepositoryVerification};
use bytes::Bytes;
use oci::Manifest;
use std::sync::Arc;
use store::Store;
use tree::{archive, ignore};
use types::{Digest, NamespacedName};

/// How far the work came.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Done {
    /// What was verified, where the spec asks for it.
    pub(super) verified: Option<String>,
    pub(super) result: Result<Written, Problem>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Written {
    /// The stored artifact is that of the digest.
    UpToDate,
    /// A new artifact, and the address that always leads to the newest.
    New(Artifact, String),
}

pub(super) async fn act(beats: &Beats, this: &OCIRepository, key: &NamespacedName, seen: &Seen, found: &Found, now: Time) -> Done {
    if let Some(verify) = &this.spec.verify {
        return Done { verified: None, result: Err(unverified(verify, key, seen, found)) };
    }
    let status = this.status.clone().unwrap_or_default();
    let stored = matches!(&seen.artifact, Kept::Intact(artifact) if artifact.revision == found.revision);
    let result = if stored && !content_changed(this, &status) {
        Ok(Written::UpToDate)
    } else {
        let limit = timeout(this.spec.timeout);
        let made = tokio::time::timeout(limit, make(beats, this, key, seen, found, now)).await;
        made.unwrap_or_else(|_| Err(pull_failed(this, &format!("timed out after {}", types::GoDuration::from(limit)))))
    };
    Done { verified: None, result }
}

/// Signatures cannot be checked by this version, so nothing that asks for them is let through.
fn unverified(verify: &OCIRepositoryVerification, key: &NamespacedName, seen: &Seen, found: &Found) -> Problem {
    let provider = if verify.provider.is_empty() { "cosign" } else { &verify.provider };
    let name = verify.secret_ref.as_ref().map(|reference| reference.name.as_str()).unwrap_or_default();
    let why = match (provider, &seen.keys) {
        (_, Some(Err(why))) => why.clone(),
        ("notation", Some(Ok(secret))) if secret.get("trustpolicy.json").is_none() => {
            format!("'trustpolicy.json' not found in secret '{}/{name}'", key.namespace)
        }
        ("cosign", Some(Ok(secret))) if !secret.keys().any(|key| key.ends_with(".pub")) => {
            let repository = format!("{}/{}", found.reference.registry(), found.reference.repository());
            format!("no matching signatures were found for '{repository}@{}'", found.digest)
        }
        _ => "this version cannot check signatures yet, and accepts nothing unchecked".to_owned(),
    };
    Problem::not(SOURCE_VERIFIED, "VerificationError", format!("failed to verify the signature using provider '{provider}': {why}"))
}

fn pull_failed(this: &OCIRepository, why: &str) -> Problem {
    Problem::of(FETCH_FAILED, "OCIArtifactPullFailed", format!("failed to pull artifact from '{}': {why}", this.spec.url))
}

/// Makes the artifact: of the layer, or of what was made of it before.
async fn make(
    beats: &Beats,
    this: &OCIRepository,
    key: &NamespacedName,
    seen: &Seen,
    found: &Found,
    now: Time,
) -> Result<Written, Problem> {
    let Some(registry) = &seen.registry else { return Err(Problem::plain("Internal", "pulling without a registry")) };
    let manifest = registry.manifest(&found.reference, &found.digest).await.map_err(|e| pull_failed(this, &e.to_string()))?;
    let layer_failed = |why: String| {
        let message = format!("failed to get artifact from '{}': {why}", this.spec.url);
        Problem::of(FETCH_FAILED, "OCIArtifactLayerOperationFailed", message)
    };
    let wanted = this.spec.layer_selector.as_ref().map(|selector| selector.media_type.as_str());
    let layer = select::layer(&manifest, wanted).map_err(|e| layer_failed(e.to_string()))?;
    let slot = beats.layers.slot(&layer.digest, &this.spec);
    let mut made = slot.lock().await;
    let content = match stored(beats, made.clone()).await {
        Some(artifact) => Content::Artifact(artifact),
        None => Content::Layer(registry.blob(&found.reference, layer).await.map_err(|e| layer_failed(e.to_string()))?),
    };
    let written = write(beats.store.clone(), this, key, found, manifest, content, now).await?;
    if let Written::New(artifact, _) = &written {
        *made = Digest::parse(&artifact.digest).ok();
    }
    Ok(written)
}

/// What an artifact is written from.
enum Content {
    Layer(Bytes),
    /// Made of the same layer in the same way.
    Artifact(Vec<u8>),
}

async fn stored(beats: &Beats, digest: Option<Digest>) -> Option<Vec<u8>> {
    let (store, digest) = (beats.store.clone(), digest?);
    let prefix = format!("{}/", KIND.to_lowercase());
    tokio::task::spawn_blocking(move || store.find(&prefix, &digest)).await.ok().flatten()
}

async fn write(
    store: Arc<Store>,
    this: &OCIRepository,
    key: &NamespacedName,
    found: &Found,
    manifest: Manifest,
    content: Content,
    now: Time,
) -> Result<Written, Problem> {
    let path = store::artifact_path(KIND, &key.namespace, &key.name, &format!("{}.tar.gz", found.digest));
    let latest = store::artifact_path(KIND, &key.namespace, &key.name, "latest.tar.gz");
    let copies = copies(&this.spec);
    let (ignore, revision, url) = (this.spec.ignore.clone(), found.revision.clone(), this.spec.url.clone());
    let work = move || {
        let archive_failed = |why: String| {
            Problem::of(STORAGE_OPERATION_FAILED, "ArchiveOperationFailed", format!("unable to archive artifact to storage: {why}"))
        };
        let stored = match content {
            Content::Artifact(bytes) => store.write(&path, |out| out.write_all(&bytes)),
            Content::Layer(layer) if copies => store.write(&path, |out| out.write_all(&layer)),
            Content::Layer(layer) => {
                let tree = archive::read(&layer, archive::Limits::default()).map_err(|e| {
                    let message = format!("failed to extract layer contents from artifact '{url}': {}", chain(&e));
                    Problem::of(FETCH_FAILED, "OCIArtifactLayerOperationFailed", message)
                })?;
                let rules = ignore::Rules::load(&tree, ignore.as_deref()).map_err(|e| {
                    Problem::plain("SourceIgnoreError", format!("failed to load source ignore patterns from repository: {e}"))
                })?;
                store.write(&path, |out| archive::write(&tree, &|path, kind| !rules.excludes(path, kind), out).map(drop))
            }
        };
        let stored = stored.map_err(|e| archive_failed(chain(&e)))?;
        store.link(&path, &latest).map_err(|e| {
            Problem::of(STORAGE_OPERATION_FAILED, "SymlinkUpdateFailed", format!("failed to update status URL symlink: {}", chain(&e)))
        })?;
        let artifact = Artifact {
            digest: stored.digest.to_string(),
            last_update_time: now,
            url: store.url(&path),
            path,
            revision,
            size: i64::try_from(stored.size).ok(),
            metadata: manifest.annotations.unwrap_or_default().into_iter().collect(),
        };
        Ok(Written::New(artifact, store.url(&latest)))
    };
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| {
        Err(Problem::of(STORAGE_OPERATION_FAILED, "ArchiveOperationFailed", "unable to archive artifact to storage: internal error"))
    })
}
