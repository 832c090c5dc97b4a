//! The templates that a StatefulSet or DaemonSet had, kept so that a rollout can be told and undone.

use super::children::{Held, hash_of, owner_reference};
use super::pods::number;
use super::{REVISIONS, Workloads};
use crate::api::text;
use crate::protocol::status::Result;
use crate::store::Record;
use serde_json::{Value, json};

/// The label by which a pod says of which revision it is.
pub const LABEL: &str = "controller-revision-hash";

pub struct Revisions {
    /// Oldest first; the last is of the template as it is.
    pub list: Vec<Held>,
}

impl Revisions {
    /// The name of the revision that pods are to be of.
    pub fn newest(&self) -> &str {
        self.list.last().map_or("", |(record, _)| record.name())
    }

    /// The template of a revision.
    pub fn template(&self, name: &str) -> Option<&Value> {
        self.list.iter().find(|(record, _)| record.name() == name)?.1.pointer("/data/spec/template")
    }
}

/// What a label says of a revision: a StatefulSet's pods carry the whole name, a DaemonSet's the hash.
pub fn label_of<'a>(owner: &Value, revision: &'a str) -> &'a str {
    if text(owner, "/kind") == "StatefulSet" {
        revision
    } else {
        revision.strip_prefix(text(owner, "/metadata/name")).map_or(revision, |rest| rest.trim_start_matches('-'))
    }
}

/// The revisions of an object, the one of its template among them and last.
pub fn bring_up_to_date(workloads: &Workloads, record: &Record, object: &Value) -> Result<Revisions> {
    let mut list = workloads.owned(record, REVISIONS);
    list.sort_by_key(|(_, revision)| number(revision, "/revision", 0));
    let mut template = object.pointer("/spec/template").cloned().unwrap_or_default();
    // A patch that sets the template, whatever stood there.
    template["$patch"] = json!("replace");
    let data = json!({"spec": {"template": template}});
    let next = list.last().map_or(1, |(_, revision)| number(revision, "/revision", 0) + 1);
    if let Some(at) = list.iter().position(|(_, revision)| revision["data"] == data) {
        if at + 1 < list.len() {
            // It comes back: it is the newest again.
            let changed = workloads.change(REVISIONS, &list[at].0.key, None, |mut revision| {
                revision["revision"] = json!(next);
                Some(revision)
            })?;
            let mut held = list.remove(at);
            if let Some(stored) = changed {
                let value = stored.value();
                held = (stored, value);
            }
            list.push(held);
        }
    } else {
        let hash = hash_of(&data, number(object, "/status/collisionCount", 0));
        let name = format!("{}-{hash}", record.name());
        let mut labels = object.pointer("/spec/template/metadata/labels").cloned().unwrap_or_else(|| json!({}));
        labels[LABEL] = json!(if text(object, "/kind") == "StatefulSet" { name.as_str() } else { hash.as_str() });
        let mut metadata = json!({"name": name, "namespace": object["metadata"]["namespace"], "labels": labels, "ownerReferences": [owner_reference(object)]});
        if let Some(annotations) = object.pointer("/metadata/annotations") {
            // The change's cause is told by `kubectl rollout history`.
            metadata["annotations"] = annotations.clone();
        }
        let made = workloads.create(
            REVISIONS,
            json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": metadata, "data": data, "revision": next}),
        )?;
        let value = made.value();
        list.push((made, value));
    }
    Ok(Revisions { list })
}

/// Removes revisions beyond the limit that no pod is of.
pub fn forget(workloads: &Workloads, object: &Value, revisions: &Revisions, in_use: &[&str]) -> Result<()> {
    let limit = usize::try_from(number(object, "/spec/revisionHistoryLimit", 10)).unwrap_or(0);
    let newest = revisions.newest();
    let idle: Vec<&Held> =
        revisions.list.iter().filter(|(record, _)| record.name() != newest && !in_use.contains(&label_of(object, record.name()))).collect();
    for (record, _) in idle.iter().take(idle.len().saturating_sub(limit)) {
        workloads.delete(REVISIONS, record)?;
    }
    Ok(())
}
