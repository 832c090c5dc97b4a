//! Labels, and who selects by them, so that neither has to be searched for.

use super::{BUDGETS, PODS, REPLICA_SETS, SERVICES};
use crate::protocol::selector::LabelSelector;
use crate::store::{Place, Record, Store};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Keys of objects by `table\0namespace\0label=value`.
#[derive(Default)]
pub struct Index {
    entries: HashMap<Box<str>, BTreeSet<Arc<str>>>,
    /// What each place stands under now.
    of_place: HashMap<Place, Box<[Box<str>]>>,
}

/// Stands for every object of a namespace.
const ANY: &str = "*";

fn entry(table: &str, namespace: &str, pair: &str) -> Box<str> {
    format!("{table}\0{namespace}\0{pair}").into_boxed_str()
}

fn namespace_of(key: &str) -> &str {
    key.split_once('/').map_or("", |(namespace, _)| namespace)
}

impl Index {
    fn put(&mut self, place: &Place, pairs: Vec<Box<str>>) {
        let namespace = namespace_of(&place.key);
        if self.of_place.get(place).is_some_and(|there| **there == *pairs) {
            return;
        }
        for pair in self.of_place.remove(place).unwrap_or_default() {
            let at = entry(&place.table, namespace, &pair);
            if let Some(set) = self.entries.get_mut(&at) {
                set.remove(&place.key);
                if set.is_empty() {
                    self.entries.remove(&at);
                }
            }
        }
        if pairs.is_empty() {
            return;
        }
        for pair in &pairs {
            self.entries.entry(entry(&place.table, namespace, pair)).or_default().insert(Arc::clone(&place.key));
        }
        self.of_place.insert(place.clone(), pairs.into_boxed_slice());
    }

    /// Takes up a labelled object as it is now; the labels that it has or had.
    pub fn update(&mut self, place: &Place, record: Option<&Arc<Record>>) -> Vec<Box<str>> {
        let now: Vec<Box<str>> = record
            .map(|record| record.facts.labels().map(|(key, value)| format!("{key}={value}").into_boxed_str()).collect())
            .unwrap_or_default();
        let mut touched = now.clone();
        for pair in self.of_place.get(place).into_iter().flatten() {
            if !touched.contains(pair) {
                touched.push(pair.clone());
            }
        }
        self.put(place, now);
        touched
    }

    /// Takes up what an object selects: it stands under one of the labels that it asks for.
    pub fn update_selector(&mut self, place: &Place, labels: Option<&serde_json::Map<String, Value>>, selects: bool) {
        let first = labels.and_then(|labels| labels.iter().next()).and_then(|(key, value)| Some(format!("{key}={}", value.as_str()?)));
        let pairs = match first {
            Some(pair) => vec![pair.into_boxed_str()],
            None if selects => vec![Box::from(ANY)],
            None => Vec::new(),
        };
        self.put(place, pairs);
    }

    /// Who may select an object with these labels.
    pub fn selecting(&self, table: &str, namespace: &str, labels: &[Box<str>]) -> Vec<Arc<str>> {
        debug_assert!(matches!(table, SERVICES | BUDGETS));
        let any = std::iter::once(ANY);
        let pairs = labels.iter().map(|pair| &**pair).chain(any);
        pairs.filter_map(|pair| self.entries.get(&entry(table, namespace, pair))).flatten().cloned().collect()
    }

    /// The objects of a namespace that a selector selects, in the order of their names.
    pub fn selected(
        &self,
        store: &Store,
        table: &str,
        namespace: &str,
        labels: Option<&serde_json::Map<String, Value>>,
        selector: &LabelSelector,
    ) -> Vec<Arc<Record>> {
        debug_assert!(matches!(table, PODS | REPLICA_SETS));
        let fits = |record: &Arc<Record>| selector.matches(|key| record.facts.label(key));
        let sets: Option<Vec<&BTreeSet<Arc<str>>>> = labels
            .into_iter()
            .flatten()
            .map(|(key, value)| self.entries.get(&entry(table, namespace, &format!("{key}={}", value.as_str().unwrap_or("")))))
            .collect();
        match sets {
            // A label that nothing has.
            None => Vec::new(),
            Some(sets) => match sets.into_iter().min_by_key(|set| set.len()) {
                Some(smallest) => smallest.iter().filter_map(|key| store.get(table, key)).filter(fits).collect(),
                None => store.all(table, &format!("{namespace}/")).into_iter().filter(fits).collect(),
            },
        }
    }
}
