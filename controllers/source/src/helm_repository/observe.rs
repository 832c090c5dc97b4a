//! First beat: what is stored, and the index that the server has now.

use crate::helm::{Remote, Remotes};
use crate::kept::{Kept, kept};
use crate::problem::Problem;
use crate::visit::timeout;
use api::meta::FETCH_FAILED;
use api::source::HelmRepository;
use bytes::Bytes;
use types::{Digest, GoDuration, NamespacedName};

/// Everything that decisions are made from, beside the object itself.
pub(super) struct Seen {
    /// Old files of the object that were removed.
    pub(super) collected: usize,
    pub(super) artifact: Kept,
    /// The index as it was fetched, or why it was not.
    pub(super) index: Result<Fetched, Problem>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fetched {
    pub(super) bytes: Bytes,
    /// Digest of the bytes.
    pub(super) revision: Digest,
}

pub(super) async fn observe(remotes: &Remotes, this: &HelmRepository, key: &NamespacedName) -> Seen {
    let status = this.status.clone().unwrap_or_default();
    let (collected, artifact) = kept(&remotes.store, status.artifact).await;
    let limit = timeout(this.spec.timeout);
    let index = tokio::time::timeout(limit, fetch(remotes, this, key))
        .await
        .unwrap_or_else(|_| Err(failed(&format!("timed out after {}", GoDuration::from(limit)))));
    Seen { collected, artifact, index }
}

async fn fetch(remotes: &Remotes, this: &HelmRepository, key: &NamespacedName) -> Result<Fetched, Problem> {
    let Remote::Http(repository) = remotes.open(&this.spec, &key.namespace).await? else {
        return Err(Problem::plain("Internal", "a registry has no index"));
    };
    let bytes = repository.index(remotes.limits.index_max).await.map_err(|e| failed(&e.to_string()))?;
    let revision = Digest::sha256(&bytes);
    Ok(Fetched { bytes, revision })
}

fn failed(why: &str) -> Problem {
    let message = format!("failed to fetch Helm repository index: failed to cache index to temporary file: {why}");
    Problem::of(FETCH_FAILED, "Failed", message)
}
