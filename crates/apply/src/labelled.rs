use cluster::{Client, Discovery, Error, Resource, Selection};
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use plan::{Entry, metadata};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::HashMap;
use types::NamespacedName;

/// Lists that are read at a time.
const LISTS_AT_ONCE: usize = 8;

/// An object that carries an owner's labels and that our field manager applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labelled {
    pub owner: NamespacedName,
    pub entry: Entry,
    /// When it was last applied, in whole seconds.
    pub applied: Timestamp,
}

/// Everything in a cluster that `manager` applied for any owner: one list per kind, of metadata only.
///
/// Kinds that may not be listed are left out: nothing of them can have been applied through a watch either.
pub async fn labelled(client: &Client, discovery: &Discovery, manager: &str) -> Result<Vec<Labelled>, Error> {
    let labels = format!("{},{}", metadata::NAME_LABEL, metadata::NAMESPACE_LABEL);
    let all = with_labels(client, discovery, &labels).await?;
    Ok(all.iter().filter_map(|(resource, json)| read(json.get(), resource, manager)).collect())
}

/// The metadata of everything in a cluster with these labels, whatever its kind.
///
/// Kinds that may not be listed are left out.
pub async fn with_labels(client: &Client, discovery: &Discovery, labels: &str) -> Result<Vec<(Resource, Box<RawValue>)>, Error> {
    let kinds = discovery.appliable().await?;
    let selection = Selection { labels: labels.to_owned(), metadata_only: true, ..Selection::default() };
    let lists = kinds.into_iter().map(|resource| listed(client, resource, &selection).boxed());
    let lists: Vec<Vec<(Resource, Box<RawValue>)>> = stream::iter(lists).buffer_unordered(LISTS_AT_ONCE).try_collect().await?;
    Ok(lists.into_iter().flatten().collect())
}

async fn listed(client: &Client, resource: Resource, selection: &Selection) -> Result<Vec<(Resource, Box<RawValue>)>, Error> {
    match client.list(&resource, selection).await {
        Ok(list) => Ok(list.into_iter().map(|json| (resource.clone(), json)).collect()),
        Err(error) if error.status().is_some_and(|status| matches!(status.code, 403..=405)) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[derive(Deserialize)]
struct Partial {
    metadata: Meta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    labels: HashMap<String, String>,
    #[serde(default)]
    managed_fields: Vec<Managed>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Managed {
    #[serde(default)]
    manager: String,
    #[serde(default)]
    operation: String,
    #[serde(default)]
    api_version: String,
    time: Option<Timestamp>,
}

fn read(json: &str, resource: &Resource, manager: &str) -> Option<Labelled> {
    let Meta { name, namespace, mut labels, managed_fields } = serde_json::from_str::<Partial>(json).ok()?.metadata;
    let ours = managed_fields.into_iter().filter(|one| one.manager == manager && one.operation == "Apply");
    let last = ours.max_by_key(|one| one.time)?;
    let version = last.api_version.rsplit('/').next().unwrap_or_default().to_owned();
    let key = resource.key(&namespace, &name);
    let owner = NamespacedName::new(labels.remove(metadata::NAMESPACE_LABEL)?, labels.remove(metadata::NAME_LABEL)?);
    Some(Labelled { owner, entry: Entry { key, version }, applied: last.time? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn partial(managers: serde_json::Value) -> Option<Labelled> {
        let labels = json!({metadata::NAME_LABEL: "app", metadata::NAMESPACE_LABEL: "ns"});
        let json = json!({"metadata": {"name": "web", "namespace": "x", "labels": labels, "managedFields": managers}}).to_string();
        read(&json, &Resource::namespaced("apps", "v1", "Deployment", "deployments"), "kustomize-controller")
    }

    #[test]
    fn only_what_our_manager_applied_counts() {
        let ours =
            json!({"manager": "kustomize-controller", "operation": "Apply", "apiVersion": "apps/v1", "time": "2026-01-01T00:00:05Z"});
        let found = partial(json!([{"manager": "kubectl", "operation": "Update", "apiVersion": "apps/v1"}, ours])).unwrap();
        assert_eq!((found.entry.id().as_str(), found.entry.version.as_str()), ("x_web_apps_Deployment", "v1"));
        assert_eq!((found.owner.to_string().as_str(), found.applied.as_second()), ("ns/app", 1_767_225_605));
        // Restored from a backup, copied by hand, or updated rather than applied.
        assert_eq!(partial(json!([{"manager": "velero", "operation": "Update", "time": "2026-01-01T00:00:05Z"}])), None);
        assert_eq!(partial(json!([{"manager": "kustomize-controller", "operation": "Update", "time": "2026-01-01T00:00:05Z"}])), None);
        assert_eq!(partial(json!([])), None);
    }
}
