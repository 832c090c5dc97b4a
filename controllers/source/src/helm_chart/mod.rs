//! HelmChart: a chart of a repository or of another source, packed as an artifact.
//!
//! ```text
//! observe  storage, the source that the chart comes from          I/O
//! plan     stop, keep or build                                    pure
//! act      choose the version -> download or pack -> write        I/O; build, values: pure
//! report   conditions, status, events, next visit                 pure
//! ```
//!
//! A chart that a repository serves is stored as it is served. One that comes from a folder, or gets other default values, is packed anew,
//! to the same bytes each time.

mod act;
mod build;
mod dependencies;
mod observe;
mod plan;
mod report;
mod values;

pub use values::with_values_files;

use crate::helm::Remotes;
use crate::story::About;
use crate::visit::{self, Frame};
use api::source::{GitRepository, HelmChart, HelmRepository};
use plan::Plan;
use runtime::{Context, Reconciler, Report};
use std::{sync::Arc, time::Duration};

pub(crate) const KIND: &str = "HelmChart";

/// What the beats work with.
pub(crate) struct Beats {
    pub(crate) remotes: Arc<Remotes>,
    pub(crate) helm_repositories: runtime::Store<HelmRepository>,
    pub(crate) git_repositories: runtime::Store<GitRepository>,
    pub(crate) requeue_dependency: Duration,
}

pub(crate) fn resource() -> cluster::Resource {
    cluster::Resource::namespaced("source.toolkit.fluxcd.io", "v1", KIND, "helmcharts")
}

/// The watched objects, findable by their sources: `Kind/name`.
pub(crate) fn charts() -> runtime::Store<HelmChart> {
    runtime::Store::new(resource()).with_index("source", |chart| vec![source(&chart.spec.source_ref.kind, &chart.spec.source_ref.name)])
}

/// How the index of sources names one.
pub(crate) fn source(kind: &str, name: &str) -> String {
    format!("{kind}/{name}")
}

impl Reconciler for Beats {
    type Resource = HelmChart;

    async fn reconcile(&self, this: Arc<HelmChart>, context: &Context) -> Report {
        let store = &self.remotes.store;
        let frame = Frame { kind: KIND, store, status: this.status.as_ref(), suspended: this.spec.suspend };
        let work = async |about: About<'_>| {
            let seen = observe::observe(self, &this, context.key()).await;
            let plan = plan::plan(&this, &seen, about.generation, self.requeue_dependency);
            let done = match &plan {
                Plan::Build(source) => {
                    context.progress(&report::under_way(&this, &seen, about));
                    let wanted = build::Wanted::of(&this, &seen.artifact, source, about.generation);
                    Some(act::act(self, &this, context.key(), source, wanted, about.now).await)
                }
                Plan::Stop(_) | Plan::Keep => None,
            };
            report::report(&this, &seen, &plan, done, about)
        };
        frame.visit(context, work).await
    }

    fn time_limit(&self, _this: &HelmChart) -> Duration {
        visit::time_limit(None)
    }
}
