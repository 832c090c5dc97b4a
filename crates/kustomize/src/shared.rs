//! Scalars of an object that are one.
//!
//! A label or annotation that a transformer puts where there was none is one value in all of these places in kustomize, not a copy in each
//! (api/filters/filtersutil/setters.go): a later patch or transformer that changes it in one place changes it in all. An overlay that sets
//! another `metadata.labels.app` over a base with `commonLabels` thereby changes the selector and the template, too.
//!
//! The places bear a mark ([`Scalar::shared`]); what changes one of them keeps the mark, and [`Shared::spread`] brings the others after it.

use std::collections::BTreeMap;
use yaml::{Data, Node, Scalar};

/// The marks of an object, and what the scalars of each said at last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shared {
    made: u32,
    values: BTreeMap<u32, Scalar>,
}

impl Shared {
    /// A mark for a value that a transformer is about to set in several places.
    pub fn mark(&mut self) -> u32 {
        self.made += 1;
        self.made
    }

    /// The value stands in several places now.
    pub fn remember(&mut self, mark: u32, value: &str) {
        self.values.insert(mark, Scalar::string(value));
    }

    /// What went through JSON has a value for every place.
    pub fn forget(&mut self) {
        self.values.clear();
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Brings all scalars of a mark after the one that changed; of several the last in the order of keys, in which kustomize merges.
    pub fn spread(&mut self, node: &mut Node) {
        if self.values.is_empty() {
            return;
        }
        let mut changed = BTreeMap::new();
        find(node, &self.values, &mut changed);
        if changed.is_empty() {
            return;
        }
        set(node, &changed);
        self.values.extend(changed.into_iter().map(|(mark, (value, _))| (mark, value)));
    }
}

type Changed = BTreeMap<u32, (Scalar, yaml::Place)>;

fn find(node: &Node, values: &BTreeMap<u32, Scalar>, changed: &mut Changed) {
    match &node.data {
        Data::List(items) => items.iter().for_each(|item| find(item, values, changed)),
        Data::Map(map) => {
            let mut entries: Vec<&yaml::Entry> = map.entries.iter().collect();
            entries.sort_by(|a, b| a.key.cmp(&b.key));
            entries.into_iter().for_each(|entry| find(&entry.value, values, changed));
        }
        Data::Scalar(scalar) if scalar.shared == 0 => {}
        Data::Scalar(scalar) => {
            if values.get(&scalar.shared).is_some_and(|value| (&value.text, value.tag) != (&scalar.text, scalar.tag)) {
                changed.insert(scalar.shared, (scalar.clone(), node.place));
            }
        }
    }
}

fn set(node: &mut Node, changed: &Changed) {
    match &mut node.data {
        Data::List(items) => items.iter_mut().for_each(|item| set(item, changed)),
        Data::Map(map) => map.entries.iter_mut().for_each(|entry| set(&mut entry.value, changed)),
        Data::Scalar(scalar) => {
            if let Some((value, place)) = changed.get(&scalar.shared) {
                scalar.clone_from(value);
                node.place = *place;
            }
        }
    }
}

/// Takes the marks from a node: it is a copy, or was made anew.
pub(crate) fn unmark(node: &mut Node) {
    match &mut node.data {
        Data::List(items) => items.iter_mut().for_each(unmark),
        Data::Map(map) => map.entries.iter_mut().for_each(|entry| unmark(&mut entry.value)),
        Data::Scalar(scalar) => scalar.shared = 0,
    }
}
