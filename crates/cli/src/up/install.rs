//! What must exist before anything can be reconciled: definitions, a namespace, a source and a root Kustomization.

use super::kinds;
use cluster::{Apply, Client, Resource};
use serde_json::{Value, json};
use std::time::Duration;

/// Who `up` is in managed fields.
const MANAGER: &str = "sluice";

/// What the root objects say.
pub struct Root<'a> {
    pub namespace: &'a str,
    pub name: &'a str,
    pub url: &'a str,
    /// `spec.ref` of the GitRepository.
    pub reference: Value,
    pub path: &'a str,
    /// How often the source is asked for a new commit.
    pub poll: &'a str,
    pub interval: &'a str,
    pub retry_interval: &'a str,
    pub secret: Option<&'a str>,
}

/// Makes the definitions that are missing. Those that are there stay as they are: on a shared cluster they belong to somebody.
pub async fn definitions(client: &Client) -> Result<usize, cluster::Error> {
    let mut made = 0;
    for definition in api::crd::all() {
        let name = definition.name();
        if client.get_opt(&kinds::crd(), "", &name).await?.is_none() {
            apply(client, &kinds::crd(), "", &name, &definition.to_value()).await?;
            made += 1;
        }
    }
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    for definition in api::crd::all() {
        loop {
            let crd: Value = client.get_as(&kinds::crd(), "", &definition.name()).await?;
            let established =
                crd["status"]["conditions"].as_array().into_iter().flatten().any(|c| c["type"] == "Established" && c["status"] == "True");
            if established || tokio::time::Instant::now() > deadline {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(made)
}

pub async fn root(client: &Client, root: &Root<'_>) -> Result<(), cluster::Error> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": root.namespace}});
    if client.get_opt(&kinds::namespace(), "", root.namespace).await?.is_none() {
        apply(client, &kinds::namespace(), "", root.namespace, &namespace).await?;
    }
    let metadata = json!({"name": root.name, "namespace": root.namespace, "labels": {"app.kubernetes.io/managed-by": MANAGER}});
    let mut source = json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "metadata": metadata,
        "spec": {"interval": root.poll, "url": root.url, "ref": root.reference},
    });
    if let Some(secret) = root.secret {
        source["spec"]["secretRef"] = json!({"name": secret});
    }
    let kustomization = json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "metadata": metadata,
        "spec": {
            "interval": root.interval, "retryInterval": root.retry_interval, "path": root.path, "prune": true,
            "sourceRef": {"kind": "GitRepository", "name": root.name},
        },
    });
    apply(client, &kinds::git_repository(), root.namespace, root.name, &source).await?;
    apply(client, &kinds::kustomization(), root.namespace, root.name, &kustomization).await
}

/// Asks the source to look again now.
pub async fn request(client: &Client, namespace: &str, name: &str, token: &str) -> Result<(), cluster::Error> {
    let patch = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": token}}});
    let body = serde_json::to_vec(&patch).unwrap_or_default();
    client.patch(&kinds::git_repository(), namespace, name, "", cluster::PatchKind::Merge, MANAGER, body).await.map(|_| ())
}

async fn apply(client: &Client, resource: &Resource, namespace: &str, name: &str, object: &Value) -> Result<(), cluster::Error> {
    let body = serde_json::to_vec(object).unwrap_or_default();
    let options = Apply { field_manager: MANAGER, force: true, ..Default::default() };
    client.apply(resource, namespace, name, body, options).await.map(|_| ())
}
