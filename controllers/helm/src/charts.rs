//! Charts: fetched, checked, parsed and compiled once per content.

use api::Artifact;
use helm::{Cache, Chart, ChartLimits, StoredChart};
use http_client::{Client, Error, Options, Retry};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};
use types::{Digest, semver::Version};

/// Packed charts larger than this are refused before anything is unpacked.
const ARCHIVE_BYTES_MAX: u64 = 100 << 20;
/// Charts that are kept for the next visit.
const CHARTS_MAX: usize = 64;

/// Why there is no chart to release.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChartError {
    /// The file is not there any more, or not yet: the source says soon what is.
    #[error("file not found")]
    NotFound,
    #[error("{0}")]
    Load(String),
    /// The chart is not the one that its source speaks of.
    #[error("{0}")]
    Mutate(String),
}

/// A parsed chart with its compiled templates.
pub(crate) struct Loaded {
    pub chart: Arc<Chart>,
    pub cache: Cache,
    /// The digest of the OCI artifact that it came from, or empty.
    pub oci_digest: String,
    /// As it is stored, while a release of it is under way.
    stored: Mutex<Weak<StoredChart>>,
}

impl Loaded {
    pub(crate) fn new(chart: Arc<Chart>, oci_digest: String) -> Self {
        Self { chart, cache: Cache::new(), oci_digest, stored: Mutex::default() }
    }

    /// The chart as it lies in a release; all that are made at the same time share one.
    pub(crate) fn stored(&self) -> Arc<StoredChart> {
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stored) = stored.upgrade() {
            return stored;
        }
        let mut chart = StoredChart::from(&*self.chart);
        // As Helm writes it: what no condition and no tag can switch off is on.
        for dependency in
            Arc::make_mut(&mut chart.metadata).dependencies.iter_mut().filter(|one| one.condition.is_empty() && one.tags.is_empty())
        {
            dependency.enabled = true;
        }
        let chart = Arc::new(chart);
        *stored = Arc::downgrade(&chart);
        chart
    }
}

/// How the version of a chart follows the artifact that it came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tracking {
    /// The chart's own version.
    None,
    /// Twelve of the artifact's digest are put behind it.
    Digest,
    /// The digest is written down, the version stays.
    Noted,
}

pub(crate) struct Charts {
    client: Client,
    host: Option<String>,
    kept: Mutex<VecDeque<(String, Arc<Loaded>)>>,
}

impl Charts {
    pub(crate) fn new(retries: u32, timeout: Duration, host: Option<String>) -> Result<Self, Error> {
        let retry = Retry { count: retries, ..Retry::default() };
        let client = Client::new(&Options { retry, timeout, ..Options::default() })?;
        Ok(Self { client, host, kept: Mutex::default() })
    }

    pub(crate) async fn get(&self, artifact: &Artifact, tracking: Tracking) -> Result<Arc<Loaded>, ChartError> {
        let id = format!("{} {} {tracking:?}", artifact.digest, artifact.revision);
        if let Some(loaded) = self.known(&id) {
            return Ok(loaded);
        }
        let failed = |error: &dyn std::fmt::Display| ChartError::Load(error.to_string());
        let digest = Digest::parse(&artifact.digest).map_err(|error| failed(&error))?;
        let url = match &self.host {
            Some(host) => http_client::with_host(&artifact.url, host).map_err(|error| failed(&error))?,
            None => artifact.url.clone(),
        };
        let bytes = match self.client.fetch_artifact(&url, &digest, ARCHIVE_BYTES_MAX).await {
            Ok(bytes) => bytes,
            Err(Error::NotFound) => return Err(ChartError::NotFound),
            Err(error) => return Err(failed(&error)),
        };
        let revision = artifact.revision.clone();
        let parsed = tokio::task::spawn_blocking(move || parse(&bytes, &revision, tracking)).await;
        let loaded = Arc::new(parsed.map_err(|error| failed(&error))??);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_front((id, loaded.clone()));
        kept.truncate(CHARTS_MAX);
        Ok(loaded)
    }

    fn known(&self, id: &str) -> Option<Arc<Loaded>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|(known, _)| known == id)?;
        let entry = kept.remove(at)?;
        let loaded = entry.1.clone();
        kept.push_front(entry);
        Some(loaded)
    }
}

fn parse(archive: &[u8], revision: &str, tracking: Tracking) -> Result<Loaded, ChartError> {
    let mut chart = Chart::from_archive(archive, ChartLimits::default()).map_err(|error| ChartError::Load(error.to_string()))?;
    let mut oci_digest = String::new();
    if tracking != Tracking::None
        && let Some((tag, digest)) = revision.rsplit_once('@').filter(|(_, digest)| digest.contains(':'))
    {
        check_tag(tag, &chart.metadata.version)?;
        digest.clone_into(&mut oci_digest);
        if tracking == Tracking::Digest {
            chart.metadata.version = with_digest(&chart.metadata.version, digest);
        }
    }
    Ok(Loaded::new(Arc::new(chart), oci_digest))
}

/// A tag that is a version must be that of the chart.
fn check_tag(tag: &str, version: &str) -> Result<(), ChartError> {
    // A tag cannot hold a plus.
    let (Ok(tagged), Ok(own)) = (Version::parse_strict(&tag.replace('_', "+")), Version::parse(version)) else { return Ok(()) };
    let parts = |version: &Version| (version.major(), version.minor(), version.patch(), version.prerelease().to_owned());
    if parts(&tagged) == parts(&own) {
        return Ok(());
    }
    Err(ChartError::Mutate(format!("artifact revision {tag} does not match chart version {version}")))
}

/// `1.0.0+0123456789ab`.
fn with_digest(version: &str, digest: &str) -> String {
    let hex = digest.rsplit(':').next().unwrap_or(digest);
    let short: String = hex.chars().take(12).collect();
    let bare = version.split('+').next().unwrap_or(version);
    format!("{bare}+{short}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_carries_twelve_of_the_digest() {
        assert_eq!(with_digest("1.0.0", "sha256:4542febb0a56d535a6"), "1.0.0+4542febb0a56");
        assert_eq!(with_digest("1.0.0-rc.1+old", "sha256:4542febb0a56d535a6"), "1.0.0-rc.1+4542febb0a56");
    }

    #[test]
    fn a_tag_that_is_a_version_must_be_the_charts() {
        assert!(check_tag("1.0.0", "1.0.0").is_ok() && check_tag("latest", "1.0.0").is_ok());
        assert!(check_tag("1.0.0_x", "1.0.0+x").is_ok());
        assert_eq!(check_tag("1.0.1", "1.0.0").unwrap_err().to_string(), "artifact revision 1.0.1 does not match chart version 1.0.0");
    }
}
