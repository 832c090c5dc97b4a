//! OCIRepository: an artifact of an OCI registry, kept as an artifact of ours.
//!
//! ```text
//! observe  storage, Secrets, the digest that the reference has now   I/O
//! plan     stop, keep or pull                                        pure
//! act      verify -> pull -> choose the layer -> archive             I/O
//! report   conditions, status, events, next visit                    pure
//! ```

mod access;
mod act;
mod observe;
mod plan;
mod report;
mod select;

use crate::kept::remove_all;
use crate::story::About;
use api::source::{OCIRepository, OCIRepositorySpec};
use plan::Plan;
use runtime::{Context, Reconciler, Report};
use std::{sync::Arc, time::Duration};

const KIND: &str = "OCIRepository";
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);

/// What the beats work with.
pub(crate) struct Beats {
    pub(crate) client: cluster::Client,
    pub(crate) store: Arc<store::Store>,
    /// For registries that need no certificates and no proxy of their own.
    pub(crate) http: reqwest::Client,
    pub(crate) workload_identity: bool,
}

pub(crate) fn resource() -> cluster::Resource {
    cluster::Resource::namespaced("source.toolkit.fluxcd.io", "v1", KIND, "ocirepositories")
}

/// The client of [`Beats::http`]: the registry client follows redirects itself, so that credentials stay where they belong.
pub(crate) fn http_client() -> reqwest::Result<reqwest::Client> {
    access::builder().build()
}

fn timeout(spec: &OCIRepositorySpec) -> Duration {
    spec.timeout.map_or(TIMEOUT_DEFAULT, types::GoDuration::to_std)
}

impl Reconciler for Beats {
    type Resource = OCIRepository;

    async fn reconcile(&self, this: Arc<OCIRepository>, context: &Context) -> Report {
        let meta = context.meta();
        if meta.is_deleting() {
            return remove_all(&self.store, KIND, context.key()).await;
        }
        let about = About { generation: meta.generation, requested_at: meta.requested_at(), now: context.now().into() };
        if this.spec.suspend {
            return report::suspended(&this, about).into();
        }
        let seen = observe::observe(self, &this, context.key()).await;
        let plan = plan::plan(&this, &seen);
        let done = match &plan {
            Plan::Pull(found) => {
                context.progress(&report::under_way(&this, &seen, found, about));
                Some(act::act(self, &this, context.key(), &seen, found, about.now).await)
            }
            Plan::Stop(_) | Plan::Keep(_) => None,
        };
        report::report(&this, &seen, &plan, done, about).into()
    }

    /// The look at the registry and the pull, each within the timeout, and the archive.
    fn time_limit(&self, this: &OCIRepository) -> Duration {
        timeout(&this.spec) * 2 + Duration::from_secs(300)
    }
}
