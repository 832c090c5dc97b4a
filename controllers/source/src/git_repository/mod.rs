//! GitRepository: a commit of a Git repository, kept as an artifact.
//!
//! ```text
//! observe  storage, Secrets, includes, references of the server     I/O
//! plan     stop, keep or fetch                                      pure
//! act      fetch -> verify -> include -> archive                    I/O
//! report   conditions, status, events, next visit                   pure
//! ```

pub(crate) mod access;
mod act;
mod include;
mod observe;
mod plan;
mod report;
mod verify;

use crate::story::About;
use crate::visit::{self, Frame, timeout};
use api::source::{GitRepository, GitRepositorySpec};
use git::{Limits, Reference};
use plan::Plan;
use runtime::{Context, Reconciler, Report};
use std::sync::Arc;
use std::time::Duration;

pub(crate) const KIND: &str = "GitRepository";
const GIT_FAILED: &str = "GitOperationFailed";

/// What the beats work with.
pub(crate) struct Beats {
    pub(crate) client: cluster::Client,
    pub(crate) git: Arc<git::Client>,
    pub(crate) store: Arc<store::Store>,
    pub(crate) http: http_client::Client,
    pub(crate) repositories: runtime::Store<GitRepository>,
    pub(crate) requeue_dependency: Duration,
    pub(crate) workload_identity: bool,
    pub(crate) limits: Limits,
}

pub(crate) fn resource() -> cluster::Resource {
    cluster::Resource::namespaced("source.toolkit.fluxcd.io", "v1", KIND, "gitrepositories")
}

/// The watched objects, findable by the repositories that they include.
pub(crate) fn repositories() -> runtime::Store<GitRepository> {
    runtime::Store::new(resource())
        .with_index("include", |repository| repository.spec.include.iter().map(|i| i.repository.name.clone()).collect())
}

fn reference(spec: &GitRepositorySpec) -> Reference {
    let empty = Default::default();
    let reference = spec.r#ref.as_ref().unwrap_or(&empty);
    Reference::choose(&reference.branch, &reference.tag, &reference.semver, &reference.name, &reference.commit)
}

impl Reconciler for Beats {
    type Resource = GitRepository;

    async fn reconcile(&self, this: Arc<GitRepository>, context: &Context) -> Report {
        let frame = Frame { kind: KIND, store: &self.store, status: this.status.as_ref(), suspended: this.spec.suspend };
        let work = async |about: About<'_>| {
            let seen = observe::observe(self, &this, context.key()).await;
            let plan = plan::plan(&this, &seen);
            let done = match plan {
                Plan::Fetch => {
                    context.progress(&report::under_way(&this, &seen, about));
                    Some(act::act(self, &this, context.key(), &seen, about.now).await)
                }
                Plan::Stop(_) | Plan::Keep { .. } => None,
            };
            report::report(&this, &seen, &plan, done.as_ref(), about)
        };
        frame.visit(context, work).await
    }

    fn time_limit(&self, this: &GitRepository) -> Duration {
        visit::time_limit(this.spec.timeout)
    }
}
