//! Third beat: choose, download or pack, write. May be cut short anywhere: a file appears whole or not at all.

use super::build::{self, Built, Failure, Local, Stage, Wanted};
use super::observe::Source;
use super::{Beats, KIND, dependencies};
use crate::helm::{Remote, too_large};
use crate::kept;
use crate::problem::{Problem, chain};
use crate::visit::timeout;
use api::Artifact;
use api::meta::{STORAGE_OPERATION_FAILED, Time};
use api::source::{HelmChart, HelmRepositorySpec};
use bytes::Bytes;
use chartrepo::SelectError;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use tree::archive;
use types::{GoDuration, NamespacedName};

/// How far the work came.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Done {
    pub(super) built: Option<Built>,
    pub(super) result: Result<Written, Problem>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Written {
    /// The stored artifact is that of the chart.
    UpToDate,
    /// A new artifact, and the address that always leads to the newest.
    New(Artifact, String),
}

pub(super) async fn act(beats: &Beats, this: &HelmChart, key: &NamespacedName, source: &Source, wanted: Wanted, now: Time) -> Done {
    let built = match source {
        Source::Repository(spec, artifact) => of_repository(beats, this, key, spec, artifact.as_ref(), wanted).await,
        Source::Files { artifact: Some(artifact), .. } => of_files(beats, this, key, artifact, wanted).await,
        Source::Files { artifact: None, .. } => Err(Problem::plain("Internal", "building without a source artifact")),
    };
    match built {
        Err(problem) => Done { built: None, result: Err(problem) },
        Ok(built) => {
            let result = write(beats.remotes.store.clone(), key, built.clone(), now).await;
            Done { built: Some(Built { archive: None, ..built }), result }
        }
    }
}

async fn of_repository(
    beats: &Beats,
    this: &HelmChart,
    key: &NamespacedName,
    spec: &HelmRepositorySpec,
    artifact: Option<&Artifact>,
    wanted: Wanted,
) -> Result<Built, Problem> {
    let limits = beats.remotes.limits;
    let (name, range) = (&this.spec.chart, &this.spec.version);
    let unknown = |stage, why: String| Failure::new(stage, format!("failed to get chart version for remote reference: {why}"));
    let unloaded = |why: String| Failure::new(Stage::Pull, format!("failed to download chart for remote reference: {why}"));
    let remote = beats.remotes.open(spec, &key.namespace).await?;
    let limit = timeout(spec.timeout);
    let (built, bytes) = match &remote {
        Remote::Registry(registry) => {
            let version = within(limit, registry.version(name, range)).await.map_err(|why| unknown(Stage::Pull, why))?;
            let (built, is_stored) = wanted.named(name, &version)?;
            if is_stored {
                return Ok(built);
            }
            (built, within(limit, registry.chart(name, &version)).await.map_err(unloaded)?)
        }
        Remote::Http(repository) => {
            let Some(artifact) = artifact else { return Err(Problem::plain("Internal", "building without an index")) };
            let listing = beats.remotes.listing(artifact).await.map_err(|why| unknown(Stage::Pull, why))?;
            let entry = listing.select(name, range).map_err(|error| match error {
                // What the spec says can never match, or may match another index.
                SelectError::NoChart | SelectError::NoVersions | SelectError::Range(_) | SelectError::NoMatch { .. } => {
                    unknown(Stage::Reference, error.to_string())
                }
            })?;
            let (built, is_stored) = wanted.named(&entry.name, &entry.version)?;
            if is_stored {
                return Ok(built);
            }
            let bytes = match stored(beats, key, entry).await {
                Some(bytes) => bytes,
                None => {
                    let told = |error| too_large(&error, matches!(error, chartrepo::Error::TooLarge { .. }));
                    let fetched = async { repository.chart(entry, limits.chart_max).await.map_err(told) };
                    within(limit, fetched).await.map_err(unloaded)?
                }
            };
            (built, bytes)
        }
    };
    let work = move || build::of_download(bytes, built, &wanted, limits.chart());
    Ok(blocking(work).await??)
}

/// The archive, when another chart of the namespace was made of the same one: then it is not downloaded again.
/// Other namespaces' charts are not looked at, for a digest is no permission to read.
async fn stored(beats: &Beats, key: &NamespacedName, entry: &chartrepo::Entry) -> Option<Bytes> {
    let digest = entry.archive_digest()?;
    let store = beats.remotes.store.clone();
    let prefix = store::artifact_path(KIND, &key.namespace, "", "");
    let prefix = format!("{}/", prefix.trim_end_matches('/'));
    tokio::task::spawn_blocking(move || store.find(&prefix, &digest)).await.ok().flatten().map(Bytes::from)
}

async fn of_files(beats: &Beats, this: &HelmChart, key: &NamespacedName, artifact: &Artifact, wanted: Wanted) -> Result<Built, Problem> {
    let unreadable =
        |why: String| Problem::of(STORAGE_OPERATION_FAILED, "ReadOperationFailed", format!("failed to open source artifact: {why}"));
    let limits = beats.remotes.limits.chart();
    let bytes = kept::content(&beats.remotes.store, &beats.remotes.http, artifact).await.map_err(unreadable)?;
    let path = this.spec.chart.clone();
    let work = move || {
        let tree = archive::read(&bytes, archive::Limits::default()).map_err(|e| unreadable(chain(&e)))?;
        build::of_files(&tree, &path, &wanted, limits).map_err(Problem::from)
    };
    let incomplete = match blocking(work).await?? {
        Local::Done(built) => return Ok(built),
        Local::Incomplete(incomplete) => incomplete,
    };
    let archives = dependencies::fetch(beats, &key.namespace, &incomplete.missing).await?;
    Ok(blocking(move || incomplete.complete(&archives, limits)).await??)
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(format!("timed out after {}", GoDuration::from(limit))))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    let ended = tokio::task::spawn_blocking(work).await;
    ended.map_err(|_| Failure::new(Stage::Package, "the controller met a defect of its own; its log has the details").into())
}

async fn write(store: Arc<Store>, key: &NamespacedName, built: Built, now: Time) -> Result<Written, Problem> {
    let Some(bytes) = built.archive else { return Ok(Written::UpToDate) };
    // A chart of a registry may lie deeper: its file does not.
    let name = built.name.rsplit('/').next().unwrap_or_default();
    let path = store::artifact_path(KIND, &key.namespace, &key.name, &format!("{name}-{}.tgz", built.version));
    let latest = store::artifact_path(KIND, &key.namespace, &key.name, "latest.tar.gz");
    let unsaved =
        |why: &str| Problem::of(STORAGE_OPERATION_FAILED, "ArchiveOperationFailed", format!("unable to copy Helm chart to storage: {why}"));
    let work = move || {
        let stored = store.write(&path, |out| out.write_all(&bytes)).map_err(|e| unsaved(&chain(&e)))?;
        store.link(&path, &latest).map_err(|e| {
            Problem::of(STORAGE_OPERATION_FAILED, "SymlinkUpdateFailed", format!("failed to update status URL symlink: {}", chain(&e)))
        })?;
        let artifact = Artifact {
            digest: stored.digest.to_string(),
            last_update_time: now,
            url: store.url(&path),
            path,
            revision: built.version,
            size: i64::try_from(stored.size).ok(),
            ..Artifact::default()
        };
        Ok(Written::New(artifact, store.url(&latest)))
    };
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(unsaved("internal error")))
}
