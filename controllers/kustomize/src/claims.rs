//! Who else wants an object: what moves from one Kustomization to another is handed over, not deleted and made anew.

use crate::{source, spec};
use api::kustomize::Kustomization;
use object::ObjectKey;
use plan::{Entry, Inventory};
use runtime::Store;
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};
use types::NamespacedName;

/// The name of the index over inventory ids.
pub(crate) const BY_INVENTORY: &str = "inventory";
/// The name of the index over sources.
pub(crate) const BY_SOURCE: &str = "source";

/// What every Kustomization wanted when it was last built.
#[derive(Debug, Default)]
pub(crate) struct Wants(Mutex<HashMap<NamespacedName, (String, Arc<HashSet<ObjectKey>>)>>);

impl Wants {
    pub(crate) fn set(&self, key: NamespacedName, revision: &str, wanted: HashSet<ObjectKey>) {
        self.lock().insert(key, (revision.to_owned(), Arc::new(wanted)));
    }

    pub(crate) fn forget(&self, key: &NamespacedName) {
        self.lock().remove(key);
    }

    fn get(&self, key: &NamespacedName) -> Option<(String, Arc<HashSet<ObjectKey>>)> {
        self.lock().get(key).cloned()
    }

    /// Those whose last build had this object.
    fn wanting(&self, object: &ObjectKey) -> Vec<NamespacedName> {
        self.lock().iter().filter(|(_, (_, wanted))| wanted.contains(object)).map(|(key, _)| key.clone()).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<NamespacedName, (String, Arc<HashSet<ObjectKey>>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn inventory_ids(this: &Kustomization) -> Vec<String> {
    this.status.iter().flat_map(|status| &status.inventory).flat_map(|inventory| &inventory.entries).map(|entry| entry.id.clone()).collect()
}

/// Others that build from the same source and have not seen its revision: what they want now has to be built to be known.
pub(crate) fn behind(this: &Kustomization, revision: &str, store: &Store<Kustomization>, wants: &Wants) -> Vec<Arc<Kustomization>> {
    let me = spec::key(this);
    let peers = store.by_index(BY_SOURCE, &source::key_of(this).text());
    let peers = peers.iter().filter(|key| **key != me && wants.get(key).is_none_or(|(built, _)| built != revision));
    peers.filter_map(|key| store.get(key)).filter(|peer| may_claim(peer, this)).collect()
}

/// A Kustomization that will be applied to the same cluster.
fn may_claim(peer: &Kustomization, this: &Kustomization) -> bool {
    !peer.spec.suspend && peer.metadata.deletion_timestamp.is_none() && peer.spec.kube_config == this.spec.kube_config
}

/// For each object that `this` no longer wants, who else does.
///
/// What was built for this revision counts most, then what another one wanted at its last build, then its inventory.
pub(crate) fn claimants(
    this: &Kustomization,
    stale: &Inventory,
    store: &Store<Kustomization>,
    wants: &Wants,
    built: &HashMap<NamespacedName, HashSet<ObjectKey>>,
) -> HashMap<ObjectKey, NamespacedName> {
    let me = spec::key(this);
    let may = |peer: &NamespacedName| *peer != me && store.get(peer).is_some_and(|peer| may_claim(&peer, this));
    let claimant = |entry: &Entry| {
        let key = &entry.key;
        if let Some((peer, _)) = built.iter().find(|(_, wanted)| wanted.contains(key)) {
            return Some(peer.clone());
        }
        let knows_better = |peer: &NamespacedName| built.contains_key(peer);
        if let Some(peer) = wants.wanting(key).into_iter().find(|peer| !knows_better(peer) && may(peer)) {
            return Some(peer);
        }
        // What was not built since the start is known by its inventory alone.
        store.by_index(BY_INVENTORY, &entry.id()).into_iter().find(|peer| !knows_better(peer) && wants.get(peer).is_none() && may(peer))
    };
    stale.entries().iter().filter_map(|entry| Some((entry.key.clone(), claimant(entry)?))).collect()
}
