//! Fetching the charts that a chart depends on.

use super::Beats;
use super::build::{Failure, Stage};
use crate::helm::Remote;
use api::source::{HelmRepositorySpec, HelmRepositoryStatus};
use bytes::Bytes;
use chartrepo::{Index, Listing};
use helm::Dependency;
use std::collections::HashMap;
use std::sync::Arc;

/// A repository that was opened for this build.
struct Opened {
    remote: Remote,
    listing: Option<Arc<Listing>>,
}

/// The versions and archives of dependencies, in their order.
pub(super) async fn fetch(beats: &Beats, namespace: &str, missing: &[(String, Dependency)]) -> Result<Vec<(String, Bytes)>, Failure> {
    let mut opened: HashMap<String, Opened> = HashMap::new();
    let mut archives = Vec::with_capacity(missing.len());
    for (name, dependency) in missing {
        let failed = |why: String| Failure::new(Stage::Dependencies, format!("failed to add remote dependency '{name}': {why}"));
        let url = chartrepo::normalize(&dependency.repository).map_err(failed)?;
        if !opened.contains_key(&url) {
            let repository = open(beats, namespace, &url).await;
            let repository = repository.map_err(|why| failed(format!("failed to get chart repository for URL '{url}': {why}")))?;
            opened.insert(url.clone(), repository);
        }
        let Some(repository) = opened.get(&url) else { continue };
        archives.push(one(beats, repository, dependency).await.map_err(failed)?);
    }
    Ok(archives)
}

/// The HelmRepository of the namespace with this address, with its Secrets; without one anybody's.
async fn open(beats: &Beats, namespace: &str, url: &str) -> Result<Opened, String> {
    let keys = beats.helm_repositories.by_index("url", url);
    let known = keys.iter().filter(|key| key.namespace == namespace).find_map(|key| beats.helm_repositories.get(key));
    let (spec, status) = match known {
        Some(known) => (known.spec.clone(), known.status.clone().unwrap_or_default()),
        None => {
            let kind = if url.starts_with("oci://") { "oci" } else { "default" };
            let spec = HelmRepositorySpec { url: url.to_owned(), r#type: kind.to_owned(), ..HelmRepositorySpec::default() };
            (spec, HelmRepositoryStatus::default())
        }
    };
    let remote = beats.remotes.open(&spec, namespace).await.map_err(|problem| problem.message)?;
    let listing = match (&remote, &status.artifact) {
        (Remote::Registry(_), _) => None,
        (Remote::Http(_), Some(artifact)) => Some(beats.remotes.listing(artifact).await?),
        (Remote::Http(repository), None) => {
            let bytes = repository.index(beats.remotes.limits.index_max).await.map_err(|e| e.to_string())?;
            let parsed = tokio::task::spawn_blocking(move || Index::parse(&bytes).map(Index::listing)).await;
            Some(Arc::new(parsed.map_err(|_| "internal error".to_owned())?.map_err(|e| format!("failed to load index: {e}"))?))
        }
    };
    Ok(Opened { remote, listing })
}

async fn one(beats: &Beats, repository: &Opened, dependency: &Dependency) -> Result<(String, Bytes), String> {
    let Dependency { name, version, .. } = dependency;
    let unknown = |why: String| format!("failed to get chart '{name}' version '{version}' from '{}': {why}", dependency.repository);
    let unloaded = |version: &str, why: String| format!("chart download of version '{version}' failed: {why}");
    match (&repository.remote, &repository.listing) {
        (Remote::Registry(registry), _) => {
            let version = registry.version(name, version).await.map_err(unknown)?;
            let bytes = registry.chart(name, &version).await.map_err(|why| unloaded(&version, why))?;
            Ok((version, bytes))
        }
        (Remote::Http(remote), Some(listing)) => {
            let entry = listing.select(name, version).map_err(|e| unknown(e.to_string()))?;
            let bytes = remote.chart(entry, beats.remotes.limits.chart_max).await.map_err(|e| unloaded(&entry.version, e.to_string()))?;
            Ok((entry.version.clone(), bytes))
        }
        (Remote::Http(_), None) => Err(unknown("the repository has no index".to_owned())),
    }
}
