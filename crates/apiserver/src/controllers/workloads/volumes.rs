//! Claims are bound: to a volume that fits, or to one that is made for them.

use super::{CLAIMS, Nodes, VOLUMES, Workloads};
use crate::api::{child, text};
use crate::protocol::status::Result;
use crate::store::{Place, Record};
use crate::strategy::child_of_metadata;
use merge::quantity::Quantity;
use serde_json::{Value, json};
use std::sync::Arc;

const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
const PROVISIONER: &str = "sluice.dev/simulated";

pub fn sync_claim(workloads: &mut Workloads, place: &Place, record: Option<&Arc<Record>>) -> Result<()> {
    let Some(record) = record else { return release(workloads, place) };
    let claim = record.value();
    if text(&claim, "/status/phase") == "Bound" {
        workloads.volumes.insert(Arc::clone(&place.key), text(&claim, "/spec/volumeName").to_owned());
        return Ok(());
    }
    if record.facts.deleting {
        return Ok(());
    }
    let volume = match find(workloads, &claim) {
        Some(volume) => volume,
        // Without nodes nobody makes volumes; with an empty class nobody is asked to.
        None if workloads.nodes == Nodes::None
            || claim.pointer("/spec/storageClassName").is_some_and(|class| *class == "")
            || !text(&claim, "/spec/volumeName").is_empty() =>
        {
            return Ok(());
        }
        None => provision(workloads, &claim)?,
    };
    bind(workloads, place, &claim, &volume)
}

/// What a claim and a volume have in common.
fn class(object: &Value) -> &str {
    text(object, "/spec/storageClassName")
}

/// A volume that the claim names, or the smallest that fits.
fn find(workloads: &Workloads, claim: &Value) -> Option<Arc<Record>> {
    let named = text(claim, "/spec/volumeName");
    if !named.is_empty() {
        return workloads.api.store.get(VOLUMES, named);
    }
    let modes = claim.pointer("/spec/accessModes").and_then(Value::as_array).cloned().unwrap_or_default();
    let wanted = text(claim, "/spec/resources/requests/storage");
    workloads
        .api
        .store
        .all(VOLUMES, "")
        .into_iter()
        .filter(|record| !record.facts.deleting)
        .map(|record| (Arc::clone(&record), record.value()))
        .filter(|(_, volume)| {
            let mine = match volume.pointer("/spec/claimRef") {
                None => text(volume, "/status/phase") == "Available",
                Some(reference) => {
                    reference["name"] == claim["metadata"]["name"]
                        && reference["namespace"] == claim["metadata"]["namespace"]
                        && (reference.get("uid").is_none() || reference["uid"] == claim["metadata"]["uid"])
                }
            };
            let offered = volume.pointer("/spec/accessModes").and_then(Value::as_array);
            mine && class(volume) == class(claim)
                && modes.iter().all(|mode| offered.is_some_and(|offered| offered.contains(mode)))
                && at_least(text(volume, "/spec/capacity/storage"), wanted)
        })
        .min_by(|(_, a), (_, b)| {
            let (a, b) = (text(a, "/spec/capacity/storage"), text(b, "/spec/capacity/storage"));
            at_least(a, b).cmp(&at_least(b, a))
        })
        .map(|(record, _)| record)
}

fn at_least(capacity: &str, wanted: &str) -> bool {
    match (Quantity::parse(capacity), Quantity::parse(wanted)) {
        (Some(capacity), Some(wanted)) => capacity >= wanted,
        _ => false,
    }
}

fn provision(workloads: &Workloads, claim: &Value) -> Result<Arc<Record>> {
    let uid = text(claim, "/metadata/uid");
    let name = format!("pvc-{uid}");
    if let Some(there) = workloads.api.store.get(VOLUMES, &name) {
        return Ok(there);
    }
    let mut spec = json!({
        "accessModes": claim["spec"]["accessModes"], "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
        "persistentVolumeReclaimPolicy": "Delete", "hostPath": {"path": format!("/var/lib/simulated/{name}"), "type": ""},
        "volumeMode": claim["spec"]["volumeMode"],
    });
    if !class(claim).is_empty() {
        spec["storageClassName"] = claim["spec"]["storageClassName"].clone();
    }
    let metadata = json!({"name": name, "annotations": {PROVISIONED_BY: PROVISIONER}});
    workloads.create(VOLUMES, json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": spec}))
}

fn bind(workloads: &mut Workloads, place: &Place, claim: &Value, record: &Record) -> Result<()> {
    let volume = record.value();
    let name = record.name().to_owned();
    let reference = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": claim["metadata"]["name"],
        "namespace": claim["metadata"]["namespace"], "uid": claim["metadata"]["uid"]});
    if volume.pointer("/spec/claimRef/uid").is_some_and(|uid| *uid != claim["metadata"]["uid"]) {
        // It is somebody else's.
        return Ok(());
    }
    workloads.change(VOLUMES, &name, Some("status"), |mut object| {
        child(&mut object, "spec").insert("claimRef".to_owned(), reference.clone());
        object["status"]["phase"] = json!("Bound");
        Some(object)
    })?;
    workloads.volumes.insert(Arc::clone(&place.key), name.clone());
    workloads.change(CLAIMS, &place.key, Some("status"), |mut object| {
        let annotations = child_of_metadata(&mut object, "annotations");
        annotations.insert("pv.kubernetes.io/bind-completed".to_owned(), json!("yes"));
        let spec = child(&mut object, "spec");
        if spec.get("volumeName").is_none() {
            spec.insert("volumeName".to_owned(), json!(name));
        }
        object["status"] = json!({"phase": "Bound", "accessModes": volume["spec"]["accessModes"], "capacity": volume["spec"]["capacity"]});
        Some(object)
    })?;
    Ok(())
}

/// The claim is gone: a volume that was made for it goes too, another is released.
fn release(workloads: &mut Workloads, place: &Place) -> Result<()> {
    let Some(name) = workloads.volumes.remove(&place.key) else { return Ok(()) };
    let Some(record) = workloads.api.store.get(VOLUMES, &name) else { return Ok(()) };
    let volume = record.value();
    workloads.change(VOLUMES, &name, Some("status"), |mut object| {
        object["status"]["phase"] = json!("Released");
        Some(object)
    })?;
    let made = text(&volume, "/spec/persistentVolumeReclaimPolicy") == "Delete"
        && volume.pointer("/metadata/annotations").and_then(|a| a.get(PROVISIONED_BY)).is_some_and(|by| *by == PROVISIONER);
    if made { workloads.delete(VOLUMES, &record) } else { Ok(()) }
}

/// A new volume may be what a claim waits for.
pub fn sync_volume(workloads: &mut Workloads, record: &Arc<Record>) -> Result<()> {
    let volume = record.value();
    if text(&volume, "/status/phase") == "Pending" && volume.pointer("/spec/claimRef/uid").is_none() {
        workloads.change(VOLUMES, &record.key, Some("status"), |mut object| {
            object["status"]["phase"] = json!("Available");
            Some(object)
        })?;
    }
    if text(&volume, "/status/phase") == "Available" {
        for claim in workloads.api.store.all(CLAIMS, "") {
            if text(&claim.value(), "/status/phase") == "Pending" {
                workloads.ask(CLAIMS, &claim.key);
            }
        }
    }
    Ok(())
}
