//! The inventory protocol: which list is written when, so that a crash anywhere leaves no orphan.
//!
//! 1. Before the first write of a reconcile the stored inventory holds old ∪ new.
//! 2. An entry leaves only after its deletion is confirmed, or after it is known that nothing was ever made for it.
//!
//! Whatever exists in the cluster by our hand is therefore in the stored inventory at every moment.

use crate::Inventory;
use object::ObjectKey;
use std::collections::HashSet;

/// What to store before the first write. Equal to `old` when nothing new comes, so that no write is needed.
pub fn before(old: &Inventory, new: &Inventory) -> Inventory {
    old.union(new)
}

/// What to store when everything was applied: the new list, and of the old one what is not yet gone.
///
/// `kept` are entries whose deletion failed or was put off.
pub fn after_success(old: &Inventory, new: &Inventory, kept: &HashSet<ObjectKey>) -> Inventory {
    new.union(&old.filtered(|entry| kept.contains(&entry.key)))
}

/// What to store when the reconcile stopped early: the old list, and of the new one what may exist.
///
/// `written` are objects that a write was sent for, whether or not an answer came.
pub fn after_failure(old: &Inventory, new: &Inventory, written: &HashSet<ObjectKey>) -> Inventory {
    old.union(&new.filtered(|entry| written.contains(&entry.key)))
}
