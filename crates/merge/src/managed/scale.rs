//! Owners of the replica count, seen through the scale subresource and brought back.

use serde_json::Value;

use super::entries::{Entries, Entry, Error, decode, encode};
use super::path::PathElement;
use super::set::Set;

/// The version that a scale is spoken in.
const SCALE_VERSION: &str = "autoscaling/v1";

/// Translates owners between a workload and its scale.
#[derive(Debug, Clone)]
pub struct Scale<'a> {
    /// The version of the workload.
    pub api_version: &'a str,
    /// Every version of the workload that is served, with the path of its replica count if it has one.
    pub replicas: &'a [(&'a str, Option<Vec<PathElement>>)],
}

impl Scale<'_> {
    fn path(&self, api_version: &str) -> Option<&Option<Vec<PathElement>>> {
        self.replicas.iter().find(|(version, _)| *version == api_version).map(|(_, path)| path)
    }

    fn in_scale() -> [PathElement; 2] {
        [PathElement::field("spec"), PathElement::field("replicas")]
    }

    /// The `managedFields` of the scale: those who own the replica count own `spec.replicas`.
    pub fn to_scale(&self, parent: Option<&Value>) -> Result<Value, Error> {
        let mut out = Entries::new();
        for (manager, entry) in decode(parent)? {
            if let Some(Some(path)) = self.path(&entry.api_version)
                && entry.set.has(path)
            {
                let mut set = Set::new();
                set.insert(&Self::in_scale());
                out.insert(manager, Entry { set, api_version: SCALE_VERSION.to_owned(), ..entry });
            }
        }
        Ok(encode(&out))
    }

    /// The `managedFields` of the workload after the scale was written.
    pub fn to_parent(&self, parent: Option<&Value>, scale: Option<&Value>) -> Result<Value, Error> {
        let mut scale = decode(scale)?;
        let mut out = Entries::new();
        let parents = decode(parent)?;
        for (manager, entry) in &parents {
            let Some(path) = self.path(&entry.api_version) else { continue };
            match path {
                Some(path) if entry.set.has(path) => {
                    if scale.remove(manager).is_some() {
                        out.insert(manager.clone(), entry.clone());
                        continue;
                    }
                    let mut replicas = Set::new();
                    replicas.insert(path);
                    let set = entry.set.difference(&replicas);
                    if !set.is_empty() {
                        out.insert(manager.clone(), Entry { set, ..entry.clone() });
                    }
                }
                _ => {
                    out.insert(manager.clone(), entry.clone());
                }
            }
        }
        for (manager, entry) in scale {
            let Some(Some(path)) = self.path(self.api_version) else { continue };
            if entry.set.has(&Self::in_scale()) {
                let mut set = Set::new();
                set.insert(path);
                // An update through scale is told apart by the version that it was made in, and its time is not brought back.
                let time = parents.get(&manager).and_then(|entry| entry.time.clone());
                out.insert(manager, Entry { set, api_version: self.api_version.to_owned(), time, ..entry });
            }
        }
        Ok(encode(&out))
    }
}
