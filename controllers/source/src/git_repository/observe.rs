//! First beat: what is stored, what the Secrets say, what is included, what the server has.

use super::access::{self, AUTHENTICATION_FAILED};
use super::{Beats, reference, timeout};
use crate::kept::{Kept, kept};
use crate::problem::{Problem, chain};
use crate::proxy;
use crate::secret::Secret;
use api::Artifact;
use api::meta::{ARTIFACT_IN_STORAGE, Conditions, FETCH_FAILED, INCLUDE_UNAVAILABLE};
use api::source::GitRepository;
use git::{Access, Address, Target};
use types::NamespacedName;

/// Everything that decisions are made from, beside the object itself.
pub(super) struct Seen {
    /// Old files of the object that were removed.
    pub(super) collected: usize,
    pub(super) artifact: Kept,
    /// Where and how to fetch, or why that is not known.
    pub(super) access: Result<(Address, Access), Problem>,
    /// The artifacts of `spec.include`, in its order.
    pub(super) includes: Result<Vec<Artifact>, Problem>,
    pub(super) head: Head,
    /// The Secret of `spec.verify`, or why it could not be read.
    pub(super) keys: Option<Result<Secret, String>>,
}

/// What the server says that the reference points at, without a transfer of objects.
#[derive(Debug)]
pub(super) enum Head {
    /// Not asked: there is nothing to compare with, or the answer would need a fetch.
    Unknown,
    Is(Target),
    Failed(git::Error),
}

pub(super) async fn observe(beats: &Beats, this: &GitRepository, key: &NamespacedName) -> Seen {
    let status = this.status.clone().unwrap_or_default();
    let (collected, artifact) = kept(&beats.store, status.artifact.clone()).await;
    let access = access(beats, this, key).await;
    let includes = match &access {
        Ok(_) => includes(beats, this, key).await,
        // Not looked at: what comes first is in the way.
        Err(problem) => Err(problem.clone()),
    };
    let head = match (&access, &includes, &artifact) {
        (Ok((address, access)), Ok(_), Kept::Intact(_))
            if status.conditions.condition(ARTIFACT_IN_STORAGE).is_some_and(|c| c.is_true()) =>
        {
            head(beats, this, address, access).await
        }
        _ => Head::Unknown,
    };
    let keys = match this.spec.verify.as_ref().filter(|_| includes.is_ok()) {
        Some(verify) => Some(Secret::read(&beats.client, &key.namespace, &verify.secret_ref.name).await.map_err(|e| chain(&e))),
        None => None,
    };
    Seen { collected, artifact, access, includes, head, keys }
}

async fn access(beats: &Beats, this: &GitRepository, key: &NamespacedName) -> Result<(Address, Access), Problem> {
    let spec = &this.spec;
    let failed = |message: String| Problem::of(FETCH_FAILED, AUTHENTICATION_FAILED, message);
    let proxy = proxy::read(&beats.client, &key.namespace, spec.proxy_secret_ref.as_ref()).await;
    let proxy = proxy.map_err(|why| failed(format!("failed to configure proxy options: {why}")))?;
    let (address, own) = Address::parse(&spec.url).map_err(|e| Problem::of(FETCH_FAILED, "URLInvalid", chain(&e)).stalls())?;
    let secret = match &spec.secret_ref {
        None => None,
        Some(reference) => {
            // The name twice: as Flux says it, recorded in src-git-secret-missing.
            let get = format!("failed to get secret '{}/{}'", key.namespace, reference.name);
            let read = Secret::read(&beats.client, &key.namespace, &reference.name).await;
            Some(read.map_err(|error| failed(format!("{get}: {get}: {}", chain(&error))))?)
        }
    };
    let access = access::access(spec, &key.namespace, own, &address, secret.as_ref(), proxy, beats.workload_identity)?;
    Ok((address, access))
}

async fn includes(beats: &Beats, this: &GitRepository, key: &NamespacedName) -> Result<Vec<Artifact>, Problem> {
    let mut artifacts = Vec::with_capacity(this.spec.include.len());
    for include in &this.spec.include {
        let name = &include.repository.name;
        let unavailable = |reason, message: String| Problem::of(INCLUDE_UNAVAILABLE, reason, message).waits(beats.requeue_dependency);
        let other = NamespacedName::new(&key.namespace, name);
        let found = match beats.repositories.get(&other) {
            Some(found) => Some(found.status.clone().and_then(|s| s.artifact)),
            // Not in our shard, or not yet seen.
            None => fetch_other(beats, &other)
                .await
                .map_err(|error| unavailable("NotFound", format!("could not get resource for include '{name}': {error}")))?,
        };
        match found {
            None => {
                let why = format!("GitRepository.source.toolkit.fluxcd.io {name:?} not found");
                return Err(unavailable("NotFound", format!("could not get resource for include '{name}': {why}")));
            }
            Some(None) => return Err(unavailable("NoArtifact", format!("no artifact available for include '{name}'"))),
            Some(Some(artifact)) => artifacts.push(artifact),
        }
    }
    Ok(artifacts)
}

async fn fetch_other(beats: &Beats, key: &NamespacedName) -> Result<Option<Option<Artifact>>, String> {
    let resource = super::resource();
    let bytes = beats.client.get_opt(&resource, &key.namespace, &key.name).await.map_err(|e| e.to_string())?;
    let Some(bytes) = bytes else { return Ok(None) };
    let other: GitRepository = serde_json::from_slice(&bytes).map_err(|e| e.to_string())?;
    Ok(Some(other.status.and_then(|s| s.artifact)))
}

async fn head(beats: &Beats, this: &GitRepository, address: &Address, access: &Access) -> Head {
    let (client, address, access, reference, timeout) =
        (beats.git.clone(), address.clone(), access.clone(), reference(&this.spec), timeout(this.spec.timeout));
    let asked = tokio::task::spawn_blocking(move || client.resolve(&address, &reference, &access, timeout)).await;
    match asked.unwrap_or(Err(git::Error::Internal)) {
        Ok(Some(target)) => Head::Is(target),
        // A reference that is gone is told by the fetch, in the words of a clone.
        Ok(None) => Head::Unknown,
        Err(error) => Head::Failed(error),
    }
}
