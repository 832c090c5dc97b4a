//! Third beat: parse the index and write it. May be cut short anywhere: a file appears whole or not at all.

use super::KIND;
use super::observe::Seen;
use crate::problem::{Problem, chain};
use api::Artifact;
use api::meta::{FETCH_FAILED, STORAGE_OPERATION_FAILED, Time};
use chartrepo::Index;
use std::sync::Arc;
use store::Store;
use types::NamespacedName;

/// A new artifact, and the address that always leads to the newest.
pub(super) type Written = (Artifact, String);

pub(super) async fn act(store: Arc<Store>, key: &NamespacedName, seen: &Seen, now: Time) -> Result<Written, Problem> {
    let fetched = seen.index.clone()?;
    let file = format!("index-{}.yaml", fetched.revision.hex());
    let path = store::artifact_path(KIND, &key.namespace, &key.name, &file);
    let latest = store::artifact_path(KIND, &key.namespace, &key.name, "index.yaml");
    let work = move || {
        let index = Index::parse(&fetched.bytes).map_err(|why| {
            let message = format!("failed to load Helm repository from index YAML: failed to load index: {why}");
            Problem::of(FETCH_FAILED, "IndexationFailed", message)
        })?;
        let json = index.to_json();
        drop(index);
        let stored = store.write(&path, |out| out.write_all(&json)).map_err(|e| unsaved(&chain(&e)))?;
        store.link(&path, &latest).map_err(|e| {
            Problem::of(STORAGE_OPERATION_FAILED, "SymlinkUpdateFailed", format!("failed to update status URL symlink: {}", chain(&e)))
        })?;
        let artifact = Artifact {
            digest: stored.digest.to_string(),
            last_update_time: now,
            url: store.url(&path),
            path,
            revision: fetched.revision.to_string(),
            size: i64::try_from(stored.size).ok(),
            ..Artifact::default()
        };
        Ok((artifact, store.url(&latest)))
    };
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(unsaved("internal error")))
}

fn unsaved(why: &str) -> Problem {
    Problem::of(STORAGE_OPERATION_FAILED, "ArchiveOperationFailed", format!("unable to save artifact to storage: {why}"))
}
