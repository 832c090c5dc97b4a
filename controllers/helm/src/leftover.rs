//! What a release leaves in a cluster when its record went before it.
//!
//! A namespace that is deleted takes the Secrets of its releases at once, while the HelmReleases in it wait for their
//! finalizer: what such a release made elsewhere, cluster roles for one, would stay for ever. (It does under Flux.)
//! It is found by its marks: the labels of the HelmRelease, and Helm's annotations, which no hook and nothing of a chart's
//! crds folder carries.

use crate::{
    objects::{self, RELEASE_NAME, RELEASE_NAMESPACE, RESOURCE_POLICY},
    observe::Reach,
    spec,
};
use api::{
    helm::{HelmRelease, Snapshot},
    meta::{HELM_NAME_LABEL, HELM_NAMESPACE_LABEL},
};
use cluster::{Client, Delete, Error, Propagation, Resource};
use helm::StoredRelease;
use object::ApplyOrder;
use serde::Deserialize;
use std::collections::HashMap;

/// Whether a namespace is gone, or about to go with all that is stored in it.
pub(crate) async fn goes(client: &Client, namespace: &str) -> Result<bool, Error> {
    #[derive(Deserialize)]
    struct Namespace {
        metadata: Metadata,
    }
    let namespaces = Resource::cluster_scoped("", "v1", "Namespace", "namespaces");
    let Some(bytes) = client.get_opt(&namespaces, "", namespace).await? else { return Ok(true) };
    let found: Namespace = serde_json::from_slice(&bytes).map_err(Error::Decode)?;
    Ok(found.metadata.deletion_timestamp.is_some())
}

/// Whether a stored release is this HelmRelease's own: its objects carry the labels.
pub(crate) fn is_of(this: &HelmRelease, release: &StoredRelease) -> bool {
    let owner = spec::key(this);
    let objects = objects::parse(&release.manifest).unwrap_or_default();
    objects.iter().any(|object| {
        object.label(HELM_NAME_LABEL) == Some(owner.name.as_str()) && object.label(HELM_NAMESPACE_LABEL) == Some(owner.namespace.as_str())
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    uid: String,
    #[serde(default)]
    annotations: HashMap<String, String>,
    deletion_timestamp: Option<String>,
}

impl Metadata {
    fn is_of(&self, release: &Snapshot) -> bool {
        let has = |key: &str, value: &str| self.annotations.get(key).is_some_and(|found| found == value);
        let keeps = self.annotations.get(RESOURCE_POLICY).is_some_and(|policy| objects::is_keep(policy));
        has(RELEASE_NAME, &release.name) && has(RELEASE_NAMESPACE, &release.namespace) && !keeps
    }
}

/// Deletes what carries the marks of a release; returns how many objects that were.
pub(crate) async fn sweep(this: &HelmRelease, reach: &Reach, release: &Snapshot, propagation: Propagation) -> Result<usize, Error> {
    #[derive(Deserialize)]
    struct Partial {
        metadata: Metadata,
    }
    let owner = spec::key(this);
    let labels = format!("{HELM_NAME_LABEL}={},{HELM_NAMESPACE_LABEL}={}", owner.name, owner.namespace);
    let all = apply::with_labels(&reach.client, &reach.target.discovery, &labels).await?;
    let mut left: Vec<(Resource, Metadata)> = all
        .into_iter()
        .filter_map(|(resource, json)| Some((resource, serde_json::from_str::<Partial>(json.get()).ok()?.metadata)))
        .filter(|(_, metadata)| metadata.deletion_timestamp.is_none() && metadata.is_of(release))
        .collect();
    left.sort_by_key(|(resource, _)| std::cmp::Reverse(ApplyOrder::of_kind(&resource.kind)));
    for (resource, metadata) in &left {
        let options = Delete { uid: Some(&metadata.uid), propagation, ..Delete::default() };
        match reach.client.delete(resource, &metadata.namespace, &metadata.name, options).await {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
    }
    Ok(left.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(annotations: &[(&str, &str)]) -> Metadata {
        let annotations = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Metadata { name: "a".into(), namespace: String::new(), uid: String::new(), annotations, deletion_timestamp: None }
    }

    #[test]
    fn only_what_helm_marked_for_this_release_is_of_it() {
        let release = Snapshot { name: "app".into(), namespace: "n".into(), ..Snapshot::default() };
        let marks = [(RELEASE_NAME, "app"), (RELEASE_NAMESPACE, "n")];
        assert!(metadata(&marks).is_of(&release));
        assert!(!metadata(&[]).is_of(&release), "hooks and definitions carry the labels alone");
        assert!(!metadata(&[marks[0], (RELEASE_NAMESPACE, "other")]).is_of(&release));
        assert!(!metadata(&[marks[0], marks[1], (RESOURCE_POLICY, "keep")]).is_of(&release), "what asks to be kept is kept");
    }

    #[test]
    fn a_stored_release_is_known_by_the_labels_of_its_objects() {
        let this = HelmRelease::named("ns", "app");
        let of = |labels: &str| StoredRelease {
            manifest: format!(
                "---\n# Source: a/templates/x.yaml\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a, labels: {labels}}}\n"
            )
            .into(),
            ..StoredRelease::default()
        };
        assert!(is_of(&this, &of("{helm.toolkit.fluxcd.io/name: app, helm.toolkit.fluxcd.io/namespace: ns}")));
        assert!(!is_of(&this, &of("{helm.toolkit.fluxcd.io/name: other, helm.toolkit.fluxcd.io/namespace: ns}")));
        assert!(!is_of(&this, &of("{}")));
    }
}
