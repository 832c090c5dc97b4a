//! First beat: what is stored, how the registry is spoken to, and what the reference is there now.

use super::{Beats, access, select, timeout};
use crate::kept::{Kept, kept};
use crate::problem::{Problem, chain};
use crate::secret::Secret;
use api::meta::FETCH_FAILED;
use api::source::{OCIRepository, OCIRepositorySpec};
use oci::{Client, Reference};
use types::{Digest, NamespacedName};

/// Everything that decisions are made from, beside the object itself.
pub(super) struct Seen {
    /// Old files of the object that were removed.
    pub(super) collected: usize,
    pub(super) artifact: Kept,
    pub(super) registry: Option<Client>,
    /// What the reference is now, or why that is not known.
    pub(super) found: Result<Found, Problem>,
    /// The Secret of `spec.verify`, or why it could not be read.
    pub(super) keys: Option<Result<Secret, String>>,
}

/// A resolved reference.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    /// With the tag or digest that was chosen.
    pub(super) reference: Reference,
    pub(super) digest: Digest,
    /// `tag@sha256:…`, or the digest alone.
    pub(super) revision: String,
}

impl Found {
    /// `registry/repository:tag`, or `@digest`: how messages name it.
    pub(super) fn shown(&self) -> String {
        let name = format!("{}/{}", self.reference.registry(), self.reference.repository());
        match (self.reference.digest(), self.reference.tag()) {
            (Some(digest), _) => format!("{name}@{digest}"),
            (None, tag) => format!("{name}:{}", tag.unwrap_or("latest")),
        }
    }
}

pub(super) async fn observe(beats: &Beats, this: &OCIRepository, key: &NamespacedName) -> Seen {
    let status = this.status.clone().unwrap_or_default();
    let (collected, artifact) = kept(&beats.store, status.artifact).await;
    let mut seen = Seen { collected, artifact, registry: None, found: Err(Problem::plain("Internal", "not looked at")), keys: None };
    let looked = async {
        let repository = access::repository(&this.spec.url)?;
        let client = access::client(beats, &this.spec, &key.namespace, &repository).await?;
        let limit = timeout(this.spec.timeout);
        let found = tokio::time::timeout(limit, find(&client, &this.spec, &repository)).await.unwrap_or_else(|_| {
            let message = format!("failed to determine artifact digest: timed out after {}", types::GoDuration::from(limit));
            Err(Problem::of(FETCH_FAILED, "OCIArtifactPullFailed", message))
        });
        seen.registry = Some(client);
        found
    };
    let found = looked.await;
    if let (Some(verify), Ok(_)) = (&this.spec.verify, &found)
        && let Some(reference) = &verify.secret_ref
    {
        seen.keys = Some(Secret::read(&beats.client, &key.namespace, &reference.name).await.map_err(|e| chain(&e)));
    }
    seen.found = found;
    seen
}

/// Digest before range before tag; without any the tag `latest`.
async fn find(client: &Client, spec: &OCIRepositorySpec, repository: &Reference) -> Result<Found, Problem> {
    let empty = Default::default();
    let wanted = spec.r#ref.as_ref().unwrap_or(&empty);
    let (registry, name) = (repository.registry().to_owned(), repository.repository().to_owned());
    let pull_failed = |message: String| Problem::of(FETCH_FAILED, "OCIArtifactPullFailed", message);
    if !wanted.digest.is_empty() {
        let digest = Digest::parse(&wanted.digest).map_err(|e| pull_failed(format!("failed to determine artifact digest: {e}")))?;
        let reference = Reference::with_digest(registry, name, digest.to_string());
        return Ok(Found { reference, revision: digest.to_string(), digest });
    }
    let tag = if wanted.semver.is_empty() {
        if wanted.tag.is_empty() { "latest".to_owned() } else { wanted.tag.clone() }
    } else {
        let undetermined = |why: String| {
            Problem::of(FETCH_FAILED, "ReadOperationFailed", format!("failed to determine the artifact tag for '{}': {why}", spec.url))
        };
        let tags = client.tags(repository).await.map_err(|e| undetermined(e.to_string()))?;
        let is_chart = select::is_chart(spec.layer_selector.as_ref().map(|selector| selector.media_type.as_str()));
        select::newest(&tags, &wanted.semver, &wanted.semver_filter, is_chart).map_err(|e| undetermined(e.to_string()))?.to_owned()
    };
    let reference = Reference::with_tag(registry, name, tag.clone());
    let digest = client.resolve(&reference).await.map_err(|e| pull_failed(format!("failed to determine artifact digest: {e}")))?;
    Ok(Found { reference, revision: format!("{tag}@{digest}"), digest })
}
