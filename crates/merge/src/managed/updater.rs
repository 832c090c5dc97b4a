//! Ownership after a write: the merge package of structured-merge-diff, over one object that all versions share.
//!
//! Conversion between versions is identity but for `apiVersion`; a version whose type is gone takes its managers with it.

use serde_json::Value;

use super::Version;
use super::conflict::{Conflict, Conflicts};
use super::entries::{Entries, Entry, Manager, Operation};
use super::path::equal;
use super::set::Set;
use super::typed::{self, Comparison};
use crate::schema::TypeHandle;

/// One write by one manager.
pub(super) struct Updater<'a> {
    pub version: &'a Version<'a>,
    /// Fields that this endpoint takes back, so that nobody comes to own them by it.
    pub reset: &'a Set,
}

impl Updater<'_> {
    /// Ownership after an update: what changed is the manager's and nobody else's.
    pub fn update(&self, live: &Value, new: &Value, entries: Entries, manager: Manager) -> Entries {
        let entries = self.reconcile(entries);
        // Without conflicts to be told there is no error.
        let Ok((mut entries, compare)) = self.take_over(live, new, entries, &manager, true) else { return Entries::new() };
        let owned = entries.get(&manager).map(|entry| entry.set.clone()).unwrap_or_default();
        let set = owned.difference(&compare.removed).union(&compare.modified).union(&compare.added).recursive_difference(self.reset);
        let time = entries.get(&manager).and_then(|entry| entry.time.clone());
        if set.is_empty() {
            entries.remove(&manager);
        } else {
            entries.insert(manager, Entry { set, api_version: self.version.api_version.to_owned(), applied: false, time });
        }
        entries
    }

    /// Lays an applied configuration over a live object; none when that changes nothing.
    pub fn apply(
        &self,
        live: &Value,
        applied: &Value,
        entries: Entries,
        manager: &Manager,
        force: bool,
    ) -> Result<(Option<Value>, Entries), Conflicts> {
        let mut entries = self.reconcile(entries);
        let merged = typed::merge(&self.version.ty, live, applied);
        let last = entries.remove(manager);
        let set = typed::field_set(&self.version.ty, applied).recursive_difference(self.reset);
        let time = last.as_ref().and_then(|entry| entry.time.clone());
        let entry = Entry { set, api_version: self.version.api_version.to_owned(), applied: true, time };
        entries.insert(manager.clone(), entry);
        let new = self.prune(merged, &entries, last.as_ref());
        let (entries, _) = self.take_over(live, &new, entries, manager, force)?;
        let changed = !equal(live, &new);
        Ok((changed.then_some(new), entries))
    }

    /// Takes changed and removed fields from the other managers, or tells who holds them.
    fn take_over(
        &self,
        live: &Value,
        new: &Value,
        mut entries: Entries,
        manager: &Manager,
        force: bool,
    ) -> Result<(Entries, Comparison), Conflicts> {
        let mut conflicts: Vec<(Manager, Set)> = Vec::new();
        let mut compare: Option<Comparison> = None;
        let others: Vec<Manager> = entries.keys().filter(|one| *one != manager).cloned().collect();
        if !others.is_empty() || manager.operation == Operation::Update {
            compare = Some(typed::compare(&self.version.ty, live, new).without(self.reset));
        }
        for other in others {
            let Some(entry) = entries.get(&other) else { continue };
            let versioned;
            let compare = if entry.api_version == self.version.api_version {
                compare.as_ref()
            } else {
                let Some(ty) = self.type_of(&entry.api_version) else {
                    entries.remove(&other);
                    continue;
                };
                versioned = self.compare_in(&ty, live, new);
                versioned.as_ref()
            };
            let Some(compare) = compare else { continue };
            let held = entry.set.intersection(&compare.modified.union(&compare.added));
            let rest = entry.set.difference(&held).difference(&compare.removed);
            if !held.is_empty() {
                conflicts.push((other.clone(), held));
            }
            if let Some(entry) = entries.get_mut(&other) {
                entry.set = rest;
            }
        }
        if !force && !conflicts.is_empty() {
            let list =
                conflicts.iter().flat_map(|(manager, set)| set.paths().into_iter().map(|path| Conflict { manager: manager.clone(), path }));
            return Err(Conflicts(list.collect()));
        }
        entries.retain(|_, entry| !entry.set.is_empty());
        Ok((entries, compare.unwrap_or_default()))
    }

    /// Removes what this manager applied last time and nobody holds any more.
    fn prune(&self, merged: Value, entries: &Entries, last: Option<&Entry>) -> Value {
        let Some(last) = last.filter(|last| !last.set.is_empty()) else { return merged };
        let Some(ty) = self.type_of(&last.api_version).filter(|ty| self.fits(ty, &merged)) else { return merged };
        let held_at = |version: &str| {
            entries.values().filter(|entry| entry.api_version == version).fold(Set::new(), |all, entry| all.union(&entry.set))
        };
        // What is all held still would only be removed to be brought back.
        if last.set.difference(&held_at(&last.api_version)).is_empty() {
            return merged;
        }
        let (schema, id) = (ty.schema(), Some(ty.id()));
        let last_set = last.set.with_named_parents(schema, id);
        let mut pruned = typed::remove(&ty, &merged, &last_set);
        let mut versions: Vec<&str> = entries.values().map(|entry| entry.api_version.as_str()).collect();
        versions.sort_unstable();
        versions.dedup();
        // The version of the last apply first: its fields may be what others are made of.
        versions.sort_by_key(|version| *version != last.api_version);
        for version in versions {
            let Some(ty) = self.type_of(version).filter(|ty| self.fits(ty, &merged)) else { continue };
            pruned = add_back_owned(&ty, &merged, &pruned, &held_at(version));
        }
        // What was not this manager's to remove comes back.
        let pruned_set = typed::field_set(&ty, &pruned).with_named_parents(schema, id);
        let merged_set = typed::field_set(&ty, &merged).with_named_parents(schema, id);
        typed::remove(&ty, &merged, &merged_set.difference(&pruned_set).intersection(&last_set))
    }

    /// Fits the owned fields to the schema as it is now.
    fn reconcile(&self, entries: Entries) -> Entries {
        let mut out = Entries::new();
        for (manager, mut entry) in entries {
            if let Some(ty) = self.type_of(&entry.api_version) {
                if let Some(set) = typed::reconcile(&ty, &entry.set) {
                    entry.set = set;
                }
                out.insert(manager, entry);
            }
        }
        out
    }

    fn compare_in(&self, ty: &TypeHandle, live: &Value, new: &Value) -> Option<Comparison> {
        (self.fits(ty, live) && self.fits(ty, new)).then(|| typed::compare(ty, live, new).without(self.reset))
    }

    /// An object of another shape cannot be seen through the type of that version; its owners keep what they have.
    fn fits(&self, ty: &TypeHandle, value: &Value) -> bool {
        *ty == self.version.ty || typed::validate(ty, value, true).is_ok()
    }

    fn type_of(&self, api_version: &str) -> Option<TypeHandle> {
        self.version.type_of(api_version)
    }
}

/// Brings back what a manager still holds.
fn add_back_owned(ty: &TypeHandle, merged: &Value, pruned: &Value, held: &Set) -> Value {
    let (schema, id) = (ty.schema(), Some(ty.id()));
    let merged_set = typed::field_set(ty, merged).with_named_parents(schema, id);
    let pruned_set = typed::field_set(ty, pruned).with_named_parents(schema, id);
    let keep = pruned_set.union(&held.with_named_parents(schema, id));
    typed::remove(ty, merged, &merged_set.difference(&keep))
}
