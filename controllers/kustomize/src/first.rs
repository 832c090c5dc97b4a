//! First applies: what they may have made before anything was written down.
//!
//! The inventory is stored before the first write of a reconcile, except for the very first apply of a Kustomization,
//! where that write would be one of nine. A first apply that is cut short leaves an object with our finalizer and without
//! a report, which tells it from every other; what it made carries its labels, our field manager, and a time after the
//! finalizer's, and is found by them.

use crate::{reconcile::Reconciler, spec, status};
use api::kustomize::{Kustomization, KustomizationStatus};
use apply::{Labelled, Target};
use jiff::Timestamp;
use plan::Inventory;
use serde_json::Value;
use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
};
use types::NamespacedName;

/// The field manager of applied objects.
const APPLIES_AS: &str = "kustomize-controller";

/// Kustomizations without a report.
#[derive(Debug, Default)]
pub(crate) struct Firsts {
    /// Nothing was ever applied for these: this process put the finalizer on.
    untouched: Mutex<HashSet<NamespacedName>>,
    /// What processes before this one left behind, of those whose report was missing when it was looked for.
    left: tokio::sync::Mutex<HashMap<NamespacedName, Vec<Labelled>>>,
}

impl Firsts {
    pub(crate) fn add(&self, key: &NamespacedName) {
        self.lock().insert(key.clone());
    }

    pub(crate) fn has(&self, key: &NamespacedName) -> bool {
        self.lock().contains(key)
    }

    /// From here on something may exist; without a report it has to be looked for.
    pub(crate) async fn begin(&self, key: &NamespacedName) {
        if self.lock().remove(key) {
            self.left.lock().await.remove(key);
        }
    }

    pub(crate) fn forget(&self, key: &NamespacedName) {
        self.lock().remove(key);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<NamespacedName>> {
        self.untouched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What may exist in the cluster by this Kustomization's hand. The text of an error is shown on the Kustomization.
pub(crate) async fn inventory(reconciler: &Reconciler, this: &Kustomization, target: &Target) -> Result<Inventory, String> {
    let stored = status::stored(this);
    let key = spec::key(this);
    if !is_unreported(&stored) || reconciler.firsts.has(&key) {
        return Ok(status::inventory(&stored));
    }
    let unreadable = |error: cluster::Error| format!("cannot look for what an interrupted attempt made: {}", error.chain());
    let since = held_since(reconciler, &key).await.map_err(unreadable)?;
    let mut left = reconciler.firsts.left.lock().await;
    if !left.contains_key(&key) {
        tracing::info!("the last attempt was cut short before it was reported: looking for what it made");
        let found = apply::labelled(&target.client, &target.discovery, APPLIES_AS).await.map_err(unreadable)?;
        // One look serves all who are in the same position.
        let peers = reconciler.store.keys().into_iter().filter(|peer| {
            let peer = reconciler.store.get(peer).filter(|_| !reconciler.firsts.has(peer));
            peer.is_some_and(|peer| peer.status.as_ref().is_none_or(is_unreported) && peer.spec.kube_config == this.spec.kube_config)
        });
        left.extend(peers.chain([key.clone()]).map(|peer| (peer, Vec::new())));
        for one in found {
            if let Some(list) = left.get_mut(&one.owner) {
                list.push(one);
            }
        }
    }
    Ok(left.get(&key).map_or_else(Inventory::default, |found| made_since(since, found)))
}

/// No attempt has ended that got as far as to apply.
pub(crate) fn is_unreported(status: &KustomizationStatus) -> bool {
    status.inventory.is_none() && status.history.is_empty()
}

/// What was applied since our finalizer was put on; nothing when it was not us who did that.
fn made_since(since: Option<Timestamp>, found: &[Labelled]) -> Inventory {
    let since = since.unwrap_or(Timestamp::MAX);
    found.iter().filter(|one| one.applied >= since).map(|one| one.entry.clone()).collect()
}

/// When our finalizer was put on, if it was us who did it.
async fn held_since(reconciler: &Reconciler, key: &NamespacedName) -> Result<Option<Timestamp>, cluster::Error> {
    let found = reconciler.client.get_opt(reconciler.store.resource(), &key.namespace, &key.name).await?;
    Ok(found.and_then(|bytes| finalizer_time(&bytes)))
}

fn finalizer_time(json: &[u8]) -> Option<Timestamp> {
    let object: Value = serde_json::from_slice(json).ok()?;
    let entries = object.pointer("/metadata/managedFields")?.as_array()?;
    let ours = entries
        .iter()
        .find(|entry| entry["manager"] == crate::setup::STATUS_MANAGER && entry.pointer("/fieldsV1/f:metadata/f:finalizers").is_some())?;
    ours["time"].as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn held_by(manager: &str) -> Option<Timestamp> {
        let entry = json!({"manager": manager, "operation": "Update", "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "time": "2026-01-01T00:00:05Z",
            "fieldsV1": {"f:metadata": {"f:finalizers": {".": {}, "v:\"finalizers.fluxcd.io\"": {}}}}});
        let other = json!({"manager": "gotk-kustomize-controller", "subresource": "status", "fieldsV1": {"f:status": {}}, "time": "2026-01-01T00:00:09Z"});
        finalizer_time(json!({"metadata": {"name": "app", "managedFields": [other, entry]}}).to_string().as_bytes())
    }

    fn labelled(name: &str, second: u32) -> Labelled {
        let entry = plan::Entry::parse(&format!("ns_{name}__ConfigMap"), "v1").unwrap();
        let applied = format!("2026-01-01T00:00:{second:02}Z").parse().unwrap();
        Labelled { owner: NamespacedName::new("ns", "app"), entry, applied }
    }

    #[test]
    fn what_was_applied_since_the_finalizer_counts_and_nothing_else() {
        let found = [labelled("before", 4), labelled("same-second", 5), labelled("after", 9)];
        let names = |since| made_since(since, &found).entries().iter().map(|entry| entry.key.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(held_by("gotk-kustomize-controller")), ["same-second", "after"]);
        // A finalizer that came with a backup says nothing about who applied what.
        assert!(names(held_by("velero")).is_empty());
    }

    #[tokio::test]
    async fn a_first_apply_that_has_begun_has_to_be_looked_for() {
        let (firsts, key) = (Firsts::default(), NamespacedName::new("ns", "app"));
        firsts.add(&key);
        firsts.left.lock().await.insert(key.clone(), Vec::new());
        assert!(firsts.has(&key));
        firsts.begin(&key).await;
        assert!(!firsts.has(&key) && firsts.left.lock().await.is_empty(), "an older look does not count");
    }
}
