//! Objects go when all their owners have gone.

use crate::access::User;
use crate::api::{Api, child};
use crate::protocol::status::Result;
use crate::rest::delete::{FOREGROUND, ORPHAN, Options, Propagation, remove};
use crate::rest::write::change_own;
use crate::store::{Place, Uid};
use serde_json::Value;

/// Looks at everything that an object owned (it is gone, or something it owned is).
pub fn owner_gone(api: &Api, uid: Uid) -> Result<()> {
    if let Some(place) = api.store.place_of(uid) {
        return look_at(api, &place);
    }
    for dependent in api.store.dependents_of(uid) {
        judge(api, &dependent)?;
    }
    Ok(())
}

pub fn look_at(api: &Api, place: &Place) -> Result<()> {
    let Some(record) = api.store.get(&place.table, &place.key) else { return Ok(()) };
    if record.facts.deleting
        && let Some(uid) = record.facts.uid
    {
        if record.facts.has_finalizer(ORPHAN) {
            return let_go(api, place, uid);
        }
        if record.facts.has_finalizer(FOREGROUND) {
            return wait_for_dependents(api, place, uid);
        }
    }
    judge(api, place)
}

enum Owner {
    Solid,
    /// It waits for its dependents to go first.
    Waiting,
    Absent,
}

fn owner_state(api: &Api, place: &Place, uid: Uid) -> Owner {
    let namespace = |key: &str| key.split_once('/').map(|(namespace, _)| namespace.to_owned());
    let Some(at) = api.store.place_of(uid) else { return Owner::Absent };
    // An owner in another namespace is none.
    if namespace(&at.key).is_some_and(|of| Some(of) != namespace(&place.key)) {
        return Owner::Absent;
    }
    match api.store.get(&at.table, &at.key) {
        Some(owner) if owner.facts.deleting && owner.facts.has_finalizer(FOREGROUND) => Owner::Waiting,
        Some(_) => Owner::Solid,
        None => Owner::Absent,
    }
}

/// Deletes an object without a living owner; one that has another owner only loses the dead references.
fn judge(api: &Api, place: &Place) -> Result<()> {
    let Some(record) = api.store.get(&place.table, &place.key) else { return Ok(()) };
    if record.facts.owners.is_empty() {
        return Ok(());
    }
    let registry = api.registry();
    let Some(resource) = registry.of_table(&place.table) else { return Ok(()) };
    let (mut solid, mut waiting, mut lost) = (false, false, Vec::new());
    for owner in &record.facts.owners {
        match owner_state(api, place, owner.uid) {
            Owner::Solid => solid = true,
            Owner::Waiting => {
                waiting = true;
                lost.push(owner.uid.to_string());
            }
            Owner::Absent => lost.push(owner.uid.to_string()),
        }
    }
    if lost.is_empty() || record.facts.deleting {
        return Ok(());
    }
    if solid {
        change_own(api, resource, &place.key, None, |mut object| {
            drop_owners(&mut object, |uid| lost.iter().any(|l| l == uid));
            Some(object)
        })?;
        return Ok(());
    }
    let has_dependents = record.facts.uid.is_some_and(|uid| !api.store.dependents_of(uid).is_empty());
    let propagation = if record.facts.has_finalizer(ORPHAN) {
        Propagation::Orphan
    } else if record.facts.has_finalizer(FOREGROUND) || (waiting && has_dependents) {
        Propagation::Foreground
    } else {
        Propagation::Background
    };
    // On exactly the version that was judged: an owner may just have been added.
    let options = Options { propagation: Some(propagation), revision: Some(record.revision.to_string()), ..Options::default() };
    match remove(api, &User::admin(), resource, record.namespace(), record.name(), &options) {
        Ok(_) => Ok(()),
        Err(status) if status.code == 404 => Ok(()),
        Err(status) if status.code == 409 => {
            api.queues.tasks.push(super::Task::Collect(place.clone()));
            Ok(())
        }
        Err(status) => Err(status),
    }
}

fn drop_owners(object: &mut Value, lost: impl Fn(&str) -> bool) {
    let metadata = child(object, "metadata");
    if let Some(owners) = metadata.get_mut("ownerReferences").and_then(Value::as_array_mut) {
        owners.retain(|owner| !owner.get("uid").and_then(Value::as_str).is_some_and(&lost));
        if owners.is_empty() {
            metadata.shift_remove("ownerReferences");
        }
    }
}

fn drop_finalizer(api: &Api, place: &Place, name: &str) -> Result<()> {
    let registry = api.registry();
    let Some(resource) = registry.of_table(&place.table) else { return Ok(()) };
    change_own(api, resource, &place.key, None, |mut object| {
        let metadata = child(&mut object, "metadata");
        if let Some(list) = metadata.get_mut("finalizers").and_then(Value::as_array_mut) {
            list.retain(|f| f != name);
            if list.is_empty() {
                metadata.shift_remove("finalizers");
            }
        }
        Some(object)
    })?;
    Ok(())
}

/// A claim that no pod uses, and a volume that no claim is bound to, may go.
pub fn unprotect(api: &Api, place: &Place) -> Result<()> {
    let Some(record) = api.store.get(&place.table, &place.key) else { return Ok(()) };
    if !record.facts.deleting {
        return Ok(());
    }
    let (namespace, name) = (record.namespace(), record.name());
    let used = match &*place.table {
        "persistentvolumeclaims" => api.store.all("pods", &format!("{namespace}/")).iter().any(|pod| {
            let pod = pod.value();
            let over = matches!(pod.pointer("/status/phase").and_then(Value::as_str), Some("Succeeded" | "Failed"));
            let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array);
            !over && volumes.into_iter().flatten().any(|v| v.pointer("/persistentVolumeClaim/claimName").is_some_and(|c| c == name))
        }),
        _ => record.value().pointer("/status/phase").is_some_and(|phase| phase == "Bound"),
    };
    if used {
        return Ok(());
    }
    super::PROTECTIONS.iter().try_for_each(|finalizer| drop_finalizer(api, place, finalizer))
}

/// `Orphan`: the dependents forget their owner.
fn let_go(api: &Api, place: &Place, uid: Uid) -> Result<()> {
    let registry = api.registry();
    let text = uid.to_string();
    for dependent in api.store.dependents_of(uid) {
        let Some(resource) = registry.of_table(&dependent.table) else { continue };
        change_own(api, resource, &dependent.key, None, |mut object| {
            drop_owners(&mut object, |owner| owner == text);
            Some(object)
        })?;
    }
    drop_finalizer(api, place, ORPHAN)
}

/// `Foreground`: the object stays until no dependent that blocks it is left.
fn wait_for_dependents(api: &Api, place: &Place, uid: Uid) -> Result<()> {
    let mut blocked = false;
    for dependent in api.store.dependents_of(uid) {
        if dependent == *place {
            continue;
        }
        judge(api, &dependent)?;
        let Some(record) = api.store.get(&dependent.table, &dependent.key) else { continue };
        let blocks = record.facts.owners.iter().any(|owner| owner.uid == uid && owner.blocks);
        // Objects that wait for each other in a circle would wait for ever.
        let circular = record.facts.has_finalizer(FOREGROUND) && record.facts.uid.is_some_and(|other| waits_for(api, other, place));
        blocked |= blocks && !circular;
    }
    if blocked { Ok(()) } else { drop_finalizer(api, place, FOREGROUND) }
}

/// So many objects of a circle are looked at.
const CIRCLE_MAX: usize = 1000;

/// Whether an object waits, through others that wait in turn, for one to go.
fn waits_for(api: &Api, uid: Uid, place: &Place) -> bool {
    let (mut open, mut seen) = (vec![uid], std::collections::HashSet::from([uid]));
    while let Some(uid) = open.pop() {
        for dependent in api.store.dependents_of(uid) {
            if dependent == *place {
                return true;
            }
            let Some(record) = api.store.get(&dependent.table, &dependent.key) else { continue };
            if let Some(next) = record.facts.uid.filter(|_| record.facts.has_finalizer(FOREGROUND))
                && seen.len() < CIRCLE_MAX
                && seen.insert(next)
            {
                open.push(next);
            }
        }
    }
    false
}
