//! Objects that a workload makes, finds and removes.

use super::Workloads;
use crate::access::User;
use crate::api::{child, text};
use crate::protocol::selector::LabelSelector;
use crate::protocol::status::Result;
use crate::rest::delete::{Options, Propagation, remove};
use crate::rest::write::{change_own, create_own};
use crate::store::{Place, Record};
use serde_json::{Value, json};
use std::sync::Arc;

/// A stored object and what it holds.
pub type Held = (Arc<Record>, Value);

/// So many pods are kept in all: past that, making more fails as it would under a quota.
const PODS_MAX: usize = 50_000;

impl Workloads {
    /// What an object controls, in the order of names.
    pub fn owned(&self, owner: &Record, table: &str) -> Vec<Held> {
        let Some(uid) = owner.facts.uid else { return Vec::new() };
        let mut places: Vec<Place> = self.api.store.dependents_of(uid).into_iter().filter(|place| &*place.table == table).collect();
        places.sort();
        let records = places.iter().filter_map(|place| self.api.store.get(&place.table, &place.key));
        let controlled = records.filter(|record| record.facts.owners.iter().any(|of| of.uid == uid && of.controls));
        controlled.map(|record| (Arc::clone(&record), record.value())).collect()
    }

    /// Whether an owner, as it is by now, takes dependents: one that goes has just let its own go.
    fn may_adopt(&self, owner: &Record) -> bool {
        let place = owner.facts.uid.and_then(|uid| self.api.store.place_of(uid));
        place.and_then(|place| self.api.store.get(&place.table, &place.key)).is_some_and(|now| !now.facts.deleting)
    }

    /// Takes what nobody controls and the selector selects, and lets go of what it no longer selects; then everything that is controlled.
    pub fn claim(&self, owner: &Record, object: &Value, table: &str) -> Result<Vec<Held>> {
        let Some(selector) = object.pointer("/spec/selector").and_then(LabelSelector::from_value) else { return Ok(Vec::new()) };
        let labels = object.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
        if !selector.is_empty() && self.may_adopt(owner) {
            for orphan in self.index.selected(&self.api.store, table, owner.namespace(), labels, &selector) {
                if orphan.facts.deleting || orphan.facts.owners.iter().any(|of| of.controls) {
                    continue;
                }
                let reference = owner_reference(object);
                self.change(table, &orphan.key, None, |mut found| {
                    let owners = child(&mut found, "metadata").entry("ownerReferences").or_insert_with(|| json!([]));
                    if let Some(owners) = owners.as_array_mut() {
                        owners.push(reference.clone());
                    }
                    Some(found)
                })?;
            }
        }
        let (kept, let_go): (Vec<Held>, Vec<Held>) =
            self.owned(owner, table).into_iter().partition(|(record, _)| selector.matches(|key| record.facts.label(key)));
        let uid = text(object, "/metadata/uid");
        for (record, _) in let_go.iter().filter(|(record, _)| !record.facts.deleting) {
            self.change(table, &record.key, None, |mut found| {
                let metadata = child(&mut found, "metadata");
                let owners = metadata.get_mut("ownerReferences").and_then(Value::as_array_mut)?;
                owners.retain(|of| of["uid"] != uid);
                if owners.is_empty() {
                    metadata.shift_remove("ownerReferences");
                }
                Some(found)
            })?;
        }
        Ok(kept)
    }

    pub fn create(&self, table: &str, object: Value) -> Result<Arc<Record>> {
        let registry = self.api.registry();
        let resource = registry.of_table(table).ok_or_else(crate::protocol::status::Status::no_such_resource)?;
        if table == super::PODS && self.api.store.count(super::PODS) >= PODS_MAX {
            return Err(crate::protocol::status::Status::forbidden("", "pods", "", "this server keeps no more than 50000 pods"));
        }
        create_own(&self.api, resource, object)
    }

    pub fn change(
        &self,
        table: &str,
        key: &str,
        subresource: Option<&str>,
        change: impl Fn(Value) -> Option<Value>,
    ) -> Result<Option<Arc<Record>>> {
        let registry = self.api.registry();
        let resource = registry.of_table(table).ok_or_else(crate::protocol::status::Status::no_such_resource)?;
        change_own(&self.api, resource, key, Some(subresource.unwrap_or("")), change)
    }

    /// Writes a status when it says something new.
    pub fn set_status(&self, table: &str, key: &str, status: &Value) -> Result<()> {
        self.change(table, key, Some("status"), |mut object| {
            object["status"] = status.clone();
            Some(object)
        })?;
        Ok(())
    }

    pub fn delete(&self, table: &str, record: &Record) -> Result<()> {
        let registry = self.api.registry();
        let Some(resource) = registry.of_table(table) else { return Ok(()) };
        let uid = record.facts.uid.map(|uid| uid.to_string());
        let options = Options { propagation: Some(Propagation::Background), uid, ..Options::default() };
        match remove(&self.api, &User::admin(), resource, record.namespace(), record.name(), &options) {
            Ok(_) => Ok(()),
            // Gone already, or another of that name by now.
            Err(status) if matches!(status.code, 404 | 409) => Ok(()),
            Err(status) => Err(status),
        }
    }
}

/// What a child says of the object that controls it.
pub fn owner_reference(owner: &Value) -> Value {
    json!({
        "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"],
        "controller": true, "blockOwnerDeletion": true,
    })
}

/// A new pod of a template, still to be named.
pub fn pod_of(template: Option<&Value>, owner: &Value) -> Value {
    let part = |pointer: &str| template.and_then(|template| template.pointer(pointer)).cloned();
    let mut metadata = json!({"namespace": owner["metadata"]["namespace"], "ownerReferences": [owner_reference(owner)]});
    for field in ["labels", "annotations", "finalizers"] {
        if let Some(value) = part(&format!("/metadata/{field}")) {
            metadata[field] = value;
        }
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": part("/spec").unwrap_or_else(|| json!({}))})
}

/// The same without a label that its owner gave it.
pub fn without_label(template: Option<&Value>, label: &str) -> Value {
    let mut out = template.cloned().unwrap_or_default();
    if let Some(labels) = out.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.shift_remove(label);
    }
    out
}

/// A short name for a template, as revisions carry it: the same for equal templates, however their fields are ordered.
pub fn hash_of(template: &Value, collisions: i64) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut hasher = crc32fast::Hasher::new();
    feed(template, &mut hasher);
    if collisions > 0 {
        hasher.update(&collisions.to_le_bytes());
    }
    hasher.finalize().to_string().bytes().map(|digit| char::from(LETTERS[usize::from(digit) % LETTERS.len()])).collect()
}

fn feed(value: &Value, hasher: &mut crc32fast::Hasher) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_unstable();
            hasher.update(b"{");
            for key in keys {
                hasher.update(key.as_bytes());
                hasher.update(b":");
                feed(&map[key.as_str()], hasher);
            }
            hasher.update(b"}");
        }
        Value::Array(items) => {
            hasher.update(b"[");
            items.iter().for_each(|item| feed(item, hasher));
            hasher.update(b"]");
        }
        other => hasher.update(other.to_string().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_templates_have_one_name() {
        let (a, b) = (json!({"a": 1, "b": [true, "x"]}), json!({"b": [true, "x"], "a": 1}));
        assert_eq!(hash_of(&a, 0), hash_of(&b, 0));
        assert_ne!(hash_of(&a, 0), hash_of(&a, 1));
        assert_ne!(hash_of(&a, 0), hash_of(&json!({"a": 2, "b": [true, "x"]}), 0));
    }
}
