use api::Artifact;
use http_client::{Client, Error, Options, Retry};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};
use tree::{MemoryTree, archive};
use types::Digest;

/// Artifacts larger than this are refused before anything is unpacked.
const ARTIFACT_BYTES_MAX: u64 = 512 << 20;
/// Bytes of unpacked trees that are kept for the next visit.
const TREES_BYTES_MAX: usize = 64 << 20;

/// Why there is no tree to build from.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The file is not there any more, or not yet: the source says soon what is.
    #[error("file not found")]
    NotFound,
    #[error("{0}")]
    Failed(String),
}

/// Fetches artifacts, checks them, unpacks them in memory, and keeps the trees that were used last.
pub struct Trees {
    client: Client,
    host: Option<String>,
    kept: Mutex<VecDeque<(String, Arc<MemoryTree>)>>,
}

impl Trees {
    /// `host` takes the place of the host of every address.
    pub fn new(retries: u32, host: Option<String>) -> Result<Self, Error> {
        let retry = Retry { count: retries, ..Retry::default() };
        let client = Client::new(&Options { retry, ..Options::default() })?;
        Ok(Self { client, host, kept: Mutex::default() })
    }

    /// The tree of an artifact, whose content is checked against its digest.
    pub async fn get(&self, artifact: &Artifact) -> Result<Arc<MemoryTree>, FetchError> {
        if let Some(tree) = self.known(&artifact.digest) {
            return Ok(tree);
        }
        let failed = |error: &dyn std::fmt::Display| FetchError::Failed(error.to_string());
        let digest = Digest::parse(&artifact.digest).map_err(|error| failed(&error))?;
        let url = match &self.host {
            Some(host) => http_client::with_host(&artifact.url, host).map_err(|error| failed(&error))?,
            None => artifact.url.clone(),
        };
        let bytes = match self.client.fetch_artifact(&url, &digest, ARTIFACT_BYTES_MAX).await {
            Ok(bytes) => bytes,
            Err(Error::NotFound) => return Err(FetchError::NotFound),
            Err(error) => return Err(failed(&error)),
        };
        let unpacked = tokio::task::spawn_blocking(move || archive::read(&bytes, archive::Limits::default())).await;
        let tree = unpacked.map_err(|error| failed(&error))?.map_err(|error| failed(&format!("failed to untar archive: {error}")))?;
        let tree = Arc::new(tree);
        self.keep(&artifact.digest, &tree);
        Ok(tree)
    }

    fn known(&self, digest: &str) -> Option<Arc<MemoryTree>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|(known, _)| known == digest)?;
        let entry = kept.remove(at)?;
        let tree = entry.1.clone();
        kept.push_front(entry);
        Some(tree)
    }

    fn keep(&self, digest: &str, tree: &Arc<MemoryTree>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(known, _)| known != digest);
        kept.push_front((digest.to_owned(), tree.clone()));
        let mut total = 0;
        let mut keep = 0;
        for (_, tree) in kept.iter() {
            total += tree.size();
            if total > TREES_BYTES_MAX && keep > 0 {
                break;
            }
            keep += 1;
        }
        kept.truncate(keep);
    }
}

/// The host that Flux's environment variable puts in the place of the source-controller's, for controllers that run outside of the cluster.
pub fn host_from_environment() -> Option<String> {
    std::env::var("SOURCE_CONTROLLER_LOCALHOST").ok().filter(|host| !host.is_empty())
}
