//! What kinds the cluster serves, and what they are called.

use crate::{
    objects,
    shell::{Context, Failure},
};
use cluster::Resource;
use serde_json::Value;

/// The resource of a kind in a version; `None` when the cluster does not serve it.
pub async fn find(context: &Context, api_version: &str, kind: &str) -> Result<Option<Resource>, Failure> {
    let resources = resources(context, api_version).await?;
    Ok(resources.iter().find(|resource| objects::text(resource, &["kind"]) == kind).map(|resource| named(api_version, resource)))
}

/// The resource that a person means by a word: `cm`, `deploy`, `deployments.apps`, `kustomization`, …
/// Core resources win over others of the same name, and groups over later ones, as with kubectl.
pub async fn by_word(context: &Context, word: &str) -> Result<Option<Resource>, Failure> {
    let (word, group) = word.split_once('.').map_or((word, None), |(word, group)| (word, Some(group)));
    let word = word.to_lowercase();
    for api_version in versions(context).await? {
        if group.is_some_and(|group| !matches_group(&api_version, group)) {
            continue;
        }
        for resource in resources(context, &api_version).await? {
            let shorts = objects::at(&resource, &["shortNames"]).as_array();
            let names = [objects::text(&resource, &["name"]), objects::text(&resource, &["singularName"])];
            let is_short = shorts.into_iter().flatten().any(|short| short.as_str() == Some(&word));
            let kind = objects::text(&resource, &["kind"]).to_lowercase();
            if !names[0].contains('/') && (names.contains(&word.as_str()) || is_short || kind == word) {
                return Ok(Some(named(&api_version, &resource)));
            }
        }
    }
    Ok(None)
}

fn matches_group(api_version: &str, wanted: &str) -> bool {
    // `deployments.apps`, and `deployments.v1.apps`
    let (group, version) = api_version.split_once('/').map_or(("", api_version), |(group, version)| (group, version));
    wanted == group || wanted == format!("{version}.{group}")
}

fn named(api_version: &str, resource: &Value) -> Resource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let (kind, plural) = (objects::text(resource, &["kind"]), objects::text(resource, &["name"]));
    if objects::at(resource, &["namespaced"]).as_bool().unwrap_or(true) {
        Resource::namespaced(group, version, kind, plural)
    } else {
        Resource::cluster_scoped(group, version, kind, plural)
    }
}

/// Every preferred group version, the core first.
async fn versions(context: &Context) -> Result<Vec<String>, Failure> {
    let bytes = context.client().await?.get_path("/apis", "application/json").await?;
    let groups: Value = serde_json::from_slice(&bytes).map_err(|error| Failure::new(error.to_string()))?;
    let groups = objects::at(&groups, &["groups"]).as_array().cloned().unwrap_or_default();
    let preferred = groups.iter().map(|group| objects::text(group, &["preferredVersion", "groupVersion"]).to_owned());
    Ok(std::iter::once("v1".to_owned()).chain(preferred.filter(|version| !version.is_empty())).collect())
}

async fn resources(context: &Context, api_version: &str) -> Result<Vec<Value>, Failure> {
    let base = if api_version.contains('/') { "/apis/" } else { "/api/" };
    let bytes = match context.client().await?.get_path(&format!("{base}{api_version}"), "application/json").await {
        Ok(bytes) => bytes,
        // A group whose server is away hides no other group.
        Err(error) if error.is_not_found() || error.status().is_some_and(|status| status.code == 503) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let list: Value = serde_json::from_slice(&bytes).map_err(|error| Failure::new(error.to_string()))?;
    Ok(objects::at(&list, &["resources"]).as_array().cloned().unwrap_or_default())
}
