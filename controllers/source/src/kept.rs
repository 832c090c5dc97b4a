//! What the storage holds for an object, looked at before anything is decided.

use crate::problem::chain;
use api::Artifact;
use bytes::Bytes;
use runtime::{Event, Report, Visit};
use std::sync::Arc;
use store::{Store, Verdict};
use types::{Digest, NamespacedName};

/// The artifact of a status, as it is found in the storage.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kept {
    /// The status names none.
    Never,
    Intact(Artifact),
    Gone,
    /// Another content than the digest says; it was removed.
    Damaged(String),
}

/// Collects garbage, then checks the file that the status names. Gives the number of removed files.
pub(crate) async fn kept(store: &Arc<Store>, artifact: Option<Artifact>) -> (usize, Kept) {
    let Some(artifact) = artifact else { return (0, Kept::Never) };
    let store = store.clone();
    let work = move || {
        let collected = store.collect(&artifact.path, std::time::SystemTime::now()).unwrap_or_else(|error| {
            tracing::warn!(error = chain(&error), "garbage collection failed");
            Vec::new()
        });
        let kept = match Digest::parse(&artifact.digest) {
            Err(_) => damaged(&store, &artifact, format!("failed to parse artifact digest '{}'", artifact.digest)),
            Ok(digest) => match store.verify(&artifact.path, &digest) {
                Ok(Verdict::Intact) => Kept::Intact(Artifact { url: store.url(&artifact.path), ..artifact }),
                Ok(Verdict::Missing) => Kept::Gone,
                Ok(Verdict::Damaged { .. }) => damaged(&store, &artifact, format!("computed digest doesn't match '{digest}'")),
                Err(error) => damaged(&store, &artifact, chain(&error)),
            },
        };
        (collected.len(), kept)
    };
    tokio::task::spawn_blocking(work).await.unwrap_or((0, Kept::Gone))
}

/// Bytes of another source's artifact that is fetched from another source-controller.
const FETCH_MAX: u64 = 1 << 30;

/// The content of another source's artifact: from our own storage, or from whoever serves it. Checked against its digest.
pub(crate) async fn content(store: &Arc<Store>, http: &http_client::Client, artifact: &Artifact) -> Result<Bytes, String> {
    let digest = Digest::parse(&artifact.digest).map_err(|e| e.to_string())?;
    let (local, path, wanted) = (store.clone(), artifact.path.clone(), digest.clone());
    let read = move || match local.verify(&path, &wanted) {
        Ok(Verdict::Intact) => local.read(&path).ok(),
        _ => None,
    };
    match tokio::task::spawn_blocking(read).await.ok().flatten() {
        Some(bytes) => Ok(bytes.into()),
        None => http.fetch_artifact(&artifact.url, &digest, FETCH_MAX).await.map_err(|e| chain(&e)),
    }
}

fn damaged(store: &Store, artifact: &Artifact, why: String) -> Kept {
    if let Err(error) = store.remove(&artifact.path) {
        tracing::warn!(error = chain(&error), "a damaged artifact could not be removed");
    }
    Kept::Damaged(why)
}

/// The object is being deleted: everything that the storage holds for it goes first.
pub(crate) async fn remove_all(store: &Arc<Store>, kind: &str, key: &NamespacedName) -> Report {
    let store = store.clone();
    let path = store::artifact_path(kind, &key.namespace, &key.name, "any");
    let removed = tokio::task::spawn_blocking(move || store.remove_all(&path)).await;
    match removed {
        Ok(Ok(removed)) => {
            let report = Report::new(Visit::Never).release();
            let event = Event::trace("GarbageCollectionSucceeded", "garbage collected artifacts for deleted resource");
            if removed { report.event(event) } else { report }
        }
        failed => {
            let why = match failed {
                Ok(Err(error)) => chain(&error),
                _ => "internal error".to_owned(),
            };
            let message = format!("garbage collection for deleted resource failed: {why}");
            Report::new(Visit::Backoff).event(Event::error("GarbageCollectionFailed", message))
        }
    }
}
