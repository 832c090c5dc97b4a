//! HelmRepository: the index of a chart repository, kept as an artifact.
//!
//! ```text
//! observe  storage, Secrets, the index as the server has it now   I/O
//! plan     stop, keep or store                                    pure
//! act      parse -> sort -> write as JSON                         I/O
//! report   conditions, status, events, next visit                 pure
//! ```
//!
//! A repository of type `oci` has no index: it is only data for HelmCharts, and has neither status nor finalizer.

mod act;
mod observe;
mod plan;
mod report;

use crate::helm::{Remotes, is_registry};
use crate::kept::remove_all;
use crate::story::About;
use crate::visit::{self, Frame};
use api::meta::FINALIZER;
use api::source::{HelmRepository, HelmRepositorySpec, HelmRepositoryStatus};
use plan::Plan;
use runtime::{Context, Reconciler, Report, Visit};
use std::{sync::Arc, time::Duration};

pub(crate) const KIND: &str = "HelmRepository";
/// How often an index is looked at when the spec does not say.
const INTERVAL_DEFAULT: Duration = Duration::from_secs(60);

/// What the beats work with.
pub(crate) struct Beats {
    pub(crate) remotes: Arc<Remotes>,
}

pub(crate) fn resource() -> cluster::Resource {
    cluster::Resource::namespaced("source.toolkit.fluxcd.io", "v1", KIND, "helmrepositories")
}

/// The watched objects, findable by their addresses.
pub(crate) fn repositories() -> runtime::Store<HelmRepository> {
    runtime::Store::new(resource()).with_index("url", |repository| chartrepo::normalize(&repository.spec.url).into_iter().collect())
}

fn interval(spec: &HelmRepositorySpec) -> Duration {
    spec.interval.map_or(INTERVAL_DEFAULT, types::GoDuration::to_std)
}

impl Reconciler for Beats {
    type Resource = HelmRepository;

    async fn reconcile(&self, this: Arc<HelmRepository>, context: &Context) -> Report {
        if is_registry(&this.spec) && !context.meta().is_deleting() {
            return self.forget(context).await;
        }
        let store = &self.remotes.store;
        let frame = Frame { kind: KIND, store, status: this.status.as_ref(), suspended: this.spec.suspend };
        let work = async |about: About<'_>| {
            let seen = observe::observe(&self.remotes, &this, context.key()).await;
            let plan = plan::plan(&seen);
            let done = match &plan {
                Plan::Store { .. } => {
                    context.progress(&report::under_way(&this, &seen, &plan, about));
                    Some(act::act(store.clone(), context.key(), &seen, about.now).await)
                }
                Plan::Stop(_) | Plan::Keep(_) => None,
            };
            report::report(&this, &seen, &plan, done, about)
        };
        frame.visit(context, work).await
    }

    fn needs_finalizer(&self, this: &HelmRepository) -> bool {
        !is_registry(&this.spec)
    }

    fn time_limit(&self, this: &HelmRepository) -> Duration {
        visit::time_limit(this.spec.timeout)
    }
}

impl Beats {
    /// Takes away what was kept while the repository had an index.
    async fn forget(&self, context: &Context) -> Report {
        let had_index = context.meta().finalizers.iter().any(|name| name == FINALIZER);
        let report = match had_index {
            true => remove_all(&self.remotes.store, KIND, context.key()).await,
            false => Report::new(Visit::Never),
        };
        report.status(&HelmRepositoryStatus::default())
    }
}
