//! Volumes of pods.

use super::at::{At, Errors};
use super::{names, pod, storage};
use crate::quantity::Quantity;

/// Checks volumes and tells their names.
pub(super) fn volumes<'v>(errors: &mut Errors, list: &At<'v>) -> Vec<&'v str> {
    let mut seen: Vec<&str> = Vec::new();
    for at in list.items() {
        let (name, before) = (at.get("name"), errors.0.len());
        source(errors, &at);
        if name.text().is_empty() {
            errors.required(&name, "");
        } else {
            errors.all(&name, names::label(name.text()));
            if seen.contains(&name.text()) {
                errors.duplicate(&name);
            }
        }
        // What is wrong with a volume is told again where it is mounted.
        if errors.0.len() == before {
            seen.push(name.text());
        }
    }
    seen
}

const SOURCES: [&str; 16] = [
    "emptyDir",
    "hostPath",
    "gitRepo",
    "nfs",
    "iscsi",
    "secret",
    "persistentVolumeClaim",
    "configMap",
    "downwardAPI",
    "projected",
    "csi",
    "ephemeral",
    "image",
    "fc",
    "rbd",
    "cephfs",
];

fn source(errors: &mut Errors, volume: &At<'_>) {
    let mut count = 0;
    for kind in SOURCES {
        let at = volume.get(kind);
        if !at.is_set() {
            continue;
        }
        count += 1;
        if count > 1 {
            errors.forbidden(&at, "may not specify more than 1 volume type");
            continue;
        }
        one(errors, kind, &at);
    }
}

fn one(errors: &mut Errors, kind: &str, at: &At<'_>) {
    match kind {
        "emptyDir" => {
            let limit = at.get("sizeLimit");
            if Quantity::of(limit.value).is_some_and(|limit| limit.is_negative()) {
                errors.forbidden(&limit, "SizeLimit field must be a valid resource quantity");
            }
        }
        "hostPath" => host_path(errors, at),
        "nfs" => nfs(errors, at),
        "secret" => {
            errors.required_text(&at.get("secretName"));
            mode(errors, &at.get("defaultMode"));
            items(errors, &at.get("items"));
        }
        "configMap" => {
            errors.required_text(&at.get("name"));
            mode(errors, &at.get("defaultMode"));
            items(errors, &at.get("items"));
        }
        "persistentVolumeClaim" => errors.required_text(&at.get("claimName")),
        "csi" => errors.required_text(&at.get("driver")),
        "projected" => {
            mode(errors, &at.get("defaultMode"));
            for source in at.get("sources").items() {
                for kind in ["secret", "configMap"] {
                    let source = source.get(kind);
                    if source.is_set() {
                        errors.required_text(&source.get("name"));
                        items(errors, &source.get("items"));
                    }
                }
            }
        }
        "ephemeral" => {
            let template = at.get("volumeClaimTemplate");
            if template.is_set() {
                storage::claim_spec(errors, &template.get("spec"));
            } else {
                errors.required(&template, "");
            }
        }
        _ => {}
    }
}

pub(super) fn host_path(errors: &mut Errors, at: &At<'_>) {
    let path = at.get("path");
    if path.text().is_empty() {
        return errors.required(&path, "");
    }
    pod::no_backsteps(errors, &path);
    errors.one_of(&at.get("type"), &["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"]);
}

pub(super) fn nfs(errors: &mut Errors, at: &At<'_>) {
    errors.required_text(&at.get("server"));
    errors.required_text(&at.get("path"));
    if !at.get("path").text().starts_with('/') {
        errors.invalid_text(&at.get("path"), "must be an absolute path");
    }
}

fn mode(errors: &mut Errors, at: &At<'_>) {
    if at.int().is_some_and(|mode| !(0..=0o777).contains(&mode)) {
        errors.invalid(at, "must be a number between 0 and 0777 (octal), both inclusive");
    }
}

fn items(errors: &mut Errors, list: &At<'_>) {
    for at in list.items() {
        errors.required_text(&at.get("key"));
        let path = at.get("path");
        if path.text().is_empty() {
            errors.required(&path, "");
        } else {
            pod::relative(errors, &path);
        }
        mode(errors, &at.get("mode"));
    }
}
