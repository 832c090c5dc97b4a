//! PersistentVolumeClaim, PersistentVolume, StorageClass.

use super::at::{At, Errors};
use super::{meta, names, volumes};
use crate::field;
use crate::managed::equal;
use crate::quantity::Quantity;

const ACCESS_MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

pub(super) fn claim(errors: &mut Errors, object: &At<'_>, old: Option<&At<'_>>) {
    let spec = object.get("spec");
    claim_spec(errors, &spec);
    let Some(old) = old else { return };
    let bound = old.get("status").get("phase").text() == "Bound" || !old.get("spec").get("volumeName").text().is_empty();
    let fixed = |spec: &At<'_>, first: bool| {
        let mut out = spec.value.as_object().cloned().unwrap_or_default();
        if bound {
            if let Some(requests) =
                out.get_mut("resources").and_then(|resources| resources.get_mut("requests")).and_then(serde_json::Value::as_object_mut)
            {
                requests.shift_remove("storage");
            }
            out.shift_remove("volumeAttributesClassName");
        }
        // Binding fills these in.
        if first || old.get("spec").get("volumeName").text().is_empty() {
            out.shift_remove("volumeName");
        }
        if !old.get("spec").get("storageClassName").is_set() {
            out.shift_remove("storageClassName");
        }
        serde_json::Value::Object(out)
    };
    let first = old.get("spec").get("volumeName").text().is_empty();
    if !equal(&fixed(&spec, first), &fixed(&old.get("spec"), first)) {
        errors
            .forbidden(&spec, "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims");
    }
    let size = |object: &At<'_>| Quantity::of(object.get("resources").get("requests").get("storage").value).unwrap_or(Quantity::ZERO);
    let given = Quantity::of(old.get("status").get("capacity").get("storage").value).unwrap_or(Quantity::ZERO);
    if size(&spec) < size(&old.get("spec")) && size(&spec) <= given {
        let at = spec.get("resources").get("requests").get("storage");
        errors.push(field::forbidden(&at.path, "field can not be less than status.capacity"));
    }
    let mode = |spec: &At<'_>| spec.get("volumeMode").text().to_owned();
    if mode(&spec) != mode(&old.get("spec")) {
        errors.push(field::invalid("volumeMode", spec.get("volumeMode").value, "field is immutable"));
    }
}

pub(super) fn claim_spec(errors: &mut Errors, spec: &At<'_>) {
    let modes = spec.get("accessModes");
    if modes.len() == 0 {
        errors.required(&modes, "at least 1 access mode is required");
    }
    meta::selector(errors, &spec.get("selector"));
    access_modes(errors, &modes);
    let storage = spec.get("resources").get("requests").get("storage");
    let told = At { path: format!("{}.resources[storage]", spec.path), ..storage.clone() };
    match Quantity::of(storage.value) {
        None => errors.required(&told, ""),
        Some(size) if size.is_zero() || size.is_negative() => errors.invalid(&told, "must be greater than zero"),
        Some(_) => {}
    }
    let class = spec.get("storageClassName");
    if !class.text().is_empty() {
        errors.all(&class, names::subdomain(class.text()));
    }
    errors.one_of(&spec.get("volumeMode"), &["Block", "Filesystem"]);
}

fn access_modes(errors: &mut Errors, list: &At<'_>) {
    for mode in list.items().filter(|mode| !ACCESS_MODES.contains(&mode.text())) {
        errors.not_supported(&At { path: list.path.clone(), ..mode }, &ACCESS_MODES);
    }
    let single = list.items().any(|mode| mode.text() == "ReadWriteOncePod");
    if single && list.len() > 1 {
        errors.forbidden(list, "may not use ReadWriteOncePod with other access modes");
    }
}

const VOLUME_SOURCES: [&str; 21] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "nfs",
    "rbd",
    "iscsi",
    "cinder",
    "cephfs",
    "fc",
    "flocker",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "quobyte",
    "azureDisk",
    "photonPersistentDisk",
    "portworxVolume",
    "scaleIO",
    "local",
    "csi",
];

pub(super) fn volume(errors: &mut Errors, object: &At<'_>, old: Option<&At<'_>>) {
    let spec = object.get("spec");
    let modes = spec.get("accessModes");
    if modes.len() == 0 {
        errors.required(&modes, "");
    }
    access_modes(errors, &modes);
    let capacity = spec.get("capacity");
    if capacity.len() == 0 {
        errors.required(&capacity, "");
    }
    if capacity.len() != 1 || !capacity.get("storage").is_set() {
        let shown = if capacity.is_set() { capacity.value.clone() } else { serde_json::json!({}) };
        errors.push(field::not_supported(&capacity.path, &shown, &["storage"]));
    }
    for (_, amount) in capacity.entries() {
        if Quantity::of(amount.value).is_some_and(|amount| amount.is_negative() || amount.is_zero()) {
            errors.invalid(&amount, "must be greater than zero");
        }
    }
    let policy = spec.get("persistentVolumeReclaimPolicy");
    errors.one_of(&policy, &["Delete", "Recycle", "Retain"]);
    let mut count = 0;
    for kind in VOLUME_SOURCES {
        let at = spec.get(kind);
        if !at.is_set() {
            continue;
        }
        count += 1;
        match kind {
            _ if count > 1 => errors.forbidden(&at, "may not specify more than 1 volume type"),
            "hostPath" => volumes::host_path(errors, &at),
            "nfs" => volumes::nfs(errors, &at),
            "csi" => {
                errors.required_text(&at.get("driver"));
                errors.required_text(&at.get("volumeHandle"));
            }
            _ => {}
        }
    }
    if count == 0 {
        errors.required(&spec, "must specify a volume type");
    }
    let root = spec.get("hostPath").get("path").text();
    if !root.is_empty() && root.trim_matches('/').is_empty() && policy.text() == "Recycle" {
        errors.forbidden(&policy, "may not be 'recycle' for a hostPath mount of '/'");
    }
    let class = spec.get("storageClassName");
    if !class.text().is_empty() {
        errors.all(&class, names::subdomain(class.text()));
    }
    errors.one_of(&spec.get("volumeMode"), &["Block", "Filesystem"]);
    if let Some(old) = old {
        let old = old.get("spec");
        if VOLUME_SOURCES.iter().any(|kind| !equal(spec.get(kind).value, old.get(kind).value)) {
            errors.forbidden(
                &At { path: "spec.persistentvolumesource".to_owned(), ..spec.clone() },
                "spec.persistentvolumesource is immutable after creation",
            );
        }
        meta::immutable(errors, &spec.get("volumeMode"), &old.get("volumeMode"));
    }
}

pub(super) fn class(errors: &mut Errors, object: &At<'_>, old: Option<&At<'_>>) {
    let provisioner = object.get("provisioner");
    if let Some(old) = old {
        for name in ["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"] {
            meta::immutable(errors, &object.get(name), &old.get(name));
        }
        return;
    }
    if provisioner.text().is_empty() {
        errors.required(&provisioner, "");
    } else {
        errors.all(&provisioner, names::qualified(&provisioner.text().to_lowercase()));
    }
    errors.one_of(&object.get("reclaimPolicy"), &["Delete", "Retain"]);
    errors.one_of(&object.get("volumeBindingMode"), &["Immediate", "WaitForFirstConsumer"]);
}
