//! Third beat: fetch, verify, include, archive. May be cut short anywhere: a file appears whole or not at all.

use super::include::{self, Part};
use super::observe::Seen;
use super::plan::is_up_to_date;
use super::{Beats, GIT_FAILED, KIND, reference, timeout, verify};
use crate::kept;
use crate::problem::{Problem, chain};
use api::Artifact;
use api::meta::{FETCH_FAILED, STORAGE_OPERATION_FAILED, Time};
use api::source::GitRepository;
use git::{Checkout, FetchOptions};
use std::sync::Arc;
use store::Store;
use tree::{Tree, archive, ignore};
use types::NamespacedName;

/// How far the work came.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Done {
    /// The commit that was fetched, and the first line of its message.
    pub(super) fetched: Option<Fetched>,
    /// Whether the signatures that the spec asks for were found good, and what was verified.
    pub(super) verified: Option<String>,
    pub(super) result: Result<Written, Problem>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fetched {
    pub(super) revision: String,
    pub(super) subject: String,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Written {
    /// The stored artifact is that of the commit.
    UpToDate,
    New(Artifact),
}

pub(super) async fn act(beats: &Beats, this: &GitRepository, key: &NamespacedName, seen: &Seen, now: Time) -> Done {
    let failed = |problem| Done { fetched: None, verified: None, result: Err(problem) };
    let (Ok((address, access)), Ok(includes)) = (&seen.access, &seen.includes) else {
        return failed(Problem::plain("Internal", "acting without access or includes"));
    };
    let options =
        FetchOptions { sparse: this.spec.sparse_checkout.clone(), submodules: this.spec.recurse_submodules, limits: beats.limits };
    let (client, address, access) = (beats.git.clone(), address.clone(), access.clone());
    let (reference, timeout) = (reference(&this.spec), timeout(this.spec.timeout));
    let fetch = tokio::task::spawn_blocking(move || client.fetch(&address, &reference, &access, timeout, &options)).await;
    let checkout = match fetch.unwrap_or(Err(git::Error::Internal)) {
        Ok(checkout) => checkout,
        Err(error) => return failed(git_problem(&error)),
    };
    let verified = match verify::verify(&this.spec, seen.keys.as_ref(), &checkout.commit, checkout.tag.as_ref()) {
        Ok(verified) => verified,
        Err(problem) => return failed(problem),
    };
    let revision = checkout.revision.to_string();
    let fetched = Some(Fetched { revision: revision.clone(), subject: checkout.commit.subject() });
    let status = this.status.clone().unwrap_or_default();
    let result = if is_up_to_date(&this.spec, &status, &seen.artifact, &revision, includes) {
        Ok(Written::UpToDate)
    } else {
        match parts(beats, this, includes).await {
            Ok(parts) => write(beats.store.clone(), this, key, checkout, parts, now).await.map(Written::New),
            Err(problem) => Err(problem),
        }
    };
    Done { fetched, verified, result }
}

fn git_problem(error: &git::Error) -> Problem {
    match error {
        git::Error::Empty => Problem::of(FETCH_FAILED, "EmptyGitRepository", "git repository is empty"),
        git::Error::SparsePath(_) => {
            // The space before the colon is Flux's.
            Problem::of(FETCH_FAILED, GIT_FAILED, format!("failed to sparse checkout directories : {}", chain(error)))
        }
        error => Problem::of(FETCH_FAILED, GIT_FAILED, format!("failed to checkout and determine revision: {}", chain(error))),
    }
}

/// The contents of the included artifacts: from our own storage, or from whoever serves them.
async fn parts(beats: &Beats, this: &GitRepository, artifacts: &[Artifact]) -> Result<Vec<Part>, Problem> {
    let mut parts = Vec::with_capacity(artifacts.len());
    for (include, artifact) in this.spec.include.iter().zip(artifacts) {
        let name = include.repository.name.clone();
        let to = if include.to_path.is_empty() { name.clone() } else { include.to_path.clone() };
        let failed = |why: String| {
            let message = format!("failed to copy '{name}' include from {} to {to}: {why}", include.from_path);
            Problem::of(STORAGE_OPERATION_FAILED, "CopyFailure", message)
        };
        let bytes = kept::content(&beats.store, &beats.http, artifact).await.map_err(failed)?;
        let tree = archive::read(&bytes, archive::Limits::default()).map_err(|e| failed(chain(&e)))?;
        parts.push(Part { name: name.clone(), from: include.from_path.clone(), to, tree });
    }
    Ok(parts)
}

async fn write(
    store: Arc<Store>,
    this: &GitRepository,
    key: &NamespacedName,
    checkout: Checkout,
    parts: Vec<Part>,
    now: Time,
) -> Result<Artifact, Problem> {
    let path = store::artifact_path(KIND, &key.namespace, &key.name, &format!("{}.tar.gz", checkout.commit.id));
    let ignore = this.spec.ignore.clone();
    let work = move || {
        let archive_failed = |why: String| {
            Problem::of(STORAGE_OPERATION_FAILED, "ArchiveOperationFailed", format!("unable to archive artifact to storage: {why}"))
        };
        let composed;
        let tree: &dyn Tree = if parts.is_empty() {
            &checkout.tree
        } else {
            composed = include::compose(checkout.tree.to_memory().map_err(|e| archive_failed(e.to_string()))?, parts)?;
            &composed
        };
        let rules = ignore::Rules::load(tree, ignore.as_deref())
            .map_err(|e| Problem::plain("SourceIgnoreError", format!("failed to load source ignore patterns from repository: {e}")))?;
        let stored = store
            .write(&path, |out| archive::write(tree, &|path, kind| !rules.excludes(path, kind), out).map(drop))
            .map_err(|e| archive_failed(chain(&e)))?;
        Ok(Artifact {
            digest: stored.digest.to_string(),
            last_update_time: now,
            url: store.url(&path),
            path,
            revision: checkout.revision.to_string(),
            size: i64::try_from(stored.size).ok(),
            ..Artifact::default()
        })
    };
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| {
        Err(Problem::of(STORAGE_OPERATION_FAILED, "ArchiveOperationFailed", "unable to archive artifact to storage: internal error"))
    })
}
