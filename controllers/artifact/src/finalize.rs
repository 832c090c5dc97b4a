//! The last visit, and the end of single outputs.

use crate::{observe, outputs::resource, reconcile::Reconciler};
use api::{extensions::ArtifactGenerator, meta};
use cluster::Delete;
use runtime::{Context, Event, Report, Visit};
use std::collections::BTreeSet;
use types::{NamespacedName, chain};

/// Why an output is still there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RemoveError {
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("the storage did not answer")]
    Lost,
}

/// Removes an output with its files, unless another generator has taken it over: then both are that one's.
pub(crate) async fn remove(reconciler: &Reconciler, key: &NamespacedName, uid: &str) -> Result<(), RemoveError> {
    let owner = reconciler.outputs.get(key).and_then(|output| output.metadata.labels.get(meta::GENERATOR_LABEL).cloned());
    if owner.is_some_and(|owner| owner != uid) {
        return Ok(());
    }
    match reconciler.client.delete(&resource(), &key.namespace, &key.name, Delete::default()).await {
        Err(error) if !error.is_not_found() => return Err(error.into()),
        _ => {}
    }
    let (store, path) = (reconciler.store.clone(), observe::path(key, "any"));
    tokio::task::spawn_blocking(move || store.remove_all(&path)).await.map_err(|_| RemoveError::Lost)??;
    Ok(())
}

/// Removes everything that the generator made, then lets it go. A generator that is disabled is no exception.
pub(crate) async fn finalize(reconciler: &Reconciler, this: &ArtifactGenerator, context: &Context) -> Report {
    let uid = &context.meta().uid;
    let inventory = this.status.iter().flat_map(|status| &status.inventory).map(|entry| NamespacedName::new(&entry.namespace, &entry.name));
    // What a visit made that never succeeded stands in no inventory.
    let labelled = observe::outputs(reconciler, uid).into_iter().filter(|output| output.is_ours).map(|output| output.key);
    let keys: BTreeSet<NamespacedName> = inventory.chain(labelled).collect();
    for key in keys {
        if let Err(error) = remove(reconciler, &key, uid).await {
            let message = format!("failed to delete ExternalArtifact/{key}: {}", chain(&error));
            return Report::new(Visit::Backoff).event(Event::error("GarbageCollectionFailed", message));
        }
    }
    Report::new(Visit::Never).release()
}
