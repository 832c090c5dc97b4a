use crate::access::{User, bootstrap};
use crate::api::{Api, child, now};
use crate::protocol::status::Result;
use crate::registry::crd::{TABLE, next_status, resources, set_condition};
use crate::registry::{Registry, Resource};
use crate::rest::delete::{Options, Propagation, remove};
use crate::rest::write::change_own;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// While objects of an ending definition may exist, it must not vanish.
const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Keeps a definition that is about to be deleted until its objects are gone.
pub fn hold(definition: &mut Value) {
    let list = child(definition, "metadata").entry("finalizers").or_insert_with(|| json!([]));
    if let Some(list) = list.as_array_mut()
        && !list.iter().any(|one| one == FINALIZER)
    {
        list.push(json!(FINALIZER));
    }
}

/// The resources of each definition, by its revision: schemas are compiled once.
#[derive(Default)]
pub struct Known(Mutex<HashMap<Arc<str>, (u64, Vec<Arc<Resource>>)>>);

/// Brings names, conditions and the registry in line with the definitions that are stored.
pub fn sync(api: &Api) {
    let known = &api.queues.definitions;
    // Whoever holds the lock sees every write that came before; a write of its own leads here again and is left to the loop.
    let Ok(mut cache) = known.0.try_lock().or_else(|error| match error {
        std::sync::TryLockError::Poisoned(poisoned) => Ok(PoisonError::into_inner(poisoned)),
        std::sync::TryLockError::WouldBlock if SYNCING.with(std::cell::Cell::get) => Err(()),
        std::sync::TryLockError::WouldBlock => Ok(known.0.lock().unwrap_or_else(PoisonError::into_inner)),
    }) else {
        return;
    };
    SYNCING.with(|syncing| syncing.set(true));
    while !settle(api, &mut cache) {}
    SYNCING.with(|syncing| syncing.set(false));
}

thread_local! {
    static SYNCING: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// One round; whether nothing had to be changed.
fn settle(api: &Api, cache: &mut HashMap<Arc<str>, (u64, Vec<Arc<Resource>>)>) -> bool {
    let registry = api.registry();
    let Some(resource) = registry.of_kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition") else { return true };
    let records = api.store.all(TABLE, "");
    if records.iter().all(|r| cache.get(&r.key).is_some_and(|(revision, _)| *revision == r.revision)) && cache.len() == records.len() {
        return true;
    }
    let mut values: Vec<Value> = records.iter().map(|r| r.value()).collect();
    let mut changed = false;
    for (at, record) in records.iter().enumerate() {
        let status = next_status(&values[at], &values, &now());
        let done = change_own(api, resource, &record.key, Some("status"), |mut object| {
            object["status"] = status.clone();
            if record.facts.deleting {
                let message = "CustomResource deletion is in progress";
                let mut conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
                set_condition(&mut conditions, "Terminating", "True", "InstanceDeletionInProgress", message, &now());
                object["status"]["conditions"] = Value::Array(conditions);
            }
            Some(object)
        });
        if let Ok(Some(stored)) = done {
            values[at] = stored.value();
            changed = true;
        }
    }
    let records = api.store.all(TABLE, "");
    cache.retain(|key, _| records.iter().any(|r| r.key == *key));
    let mut custom = Vec::new();
    for record in &records {
        let value;
        let entry = match cache.get(&record.key) {
            Some((revision, resources)) if *revision == record.revision => resources.clone(),
            _ => {
                value = record.value();
                let made = resources(&value);
                cache.insert(Arc::clone(&record.key), (record.revision, made.clone()));
                made
            }
        };
        if record.facts.deleting {
            for resource in &entry {
                api.queues.lock(&api.queues.ending_tables).insert(Arc::clone(&resource.table));
                api.queues.tasks.push(super::Task::Definition(Arc::clone(&resource.table)));
            }
            if entry.is_empty() {
                api.queues.tasks.push(super::Task::Definition(Arc::clone(&record.key)));
            }
        }
        custom.extend(entry);
    }
    for resource in &custom {
        bootstrap::ensure_api_service(api, &resource.group, &resource.version);
    }
    api.set_registry(Registry::with_custom(custom));
    !changed
}

/// Removes the objects of an ending definition (its table is named like itself), then lets it go.
pub fn end(api: &Api, table: &str) -> Result<()> {
    let Some(record) = api.store.get(TABLE, table) else {
        api.queues.lock(&api.queues.ending_tables).remove(table);
        return Ok(());
    };
    if !record.facts.deleting {
        return Ok(());
    }
    let registry = api.registry();
    if let Some(resource) = registry.of_table(table) {
        let options = Options { propagation: Some(Propagation::Background), ..Options::default() };
        for object in api.store.all(table, "") {
            if !object.facts.deleting {
                match remove(api, &User::admin(), resource, object.namespace(), object.name(), &options) {
                    Ok(_) => {}
                    Err(status) if status.code == 404 => {}
                    Err(status) => return Err(status),
                }
            }
        }
    }
    if api.store.count(table) > 0 {
        return Ok(());
    }
    let Some(resource) = registry.of_kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition") else { return Ok(()) };
    change_own(api, resource, table, None, |mut object| {
        let metadata = child(&mut object, "metadata");
        if let Some(list) = metadata.get_mut("finalizers").and_then(Value::as_array_mut) {
            list.retain(|f| f != FINALIZER);
            if list.is_empty() {
                metadata.shift_remove("finalizers");
            }
        }
        Some(object)
    })?;
    Ok(())
}
