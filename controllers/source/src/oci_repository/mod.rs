//! OCIRepository: an artifact of an OCI registry, kept as an artifact of ours.
//!
//! ```text
//! observe  storage, Secrets, the digest that the reference has now   I/O
//! plan     stop, keep or pull                                        pure
//! act      verify -> pull -> choose the layer -> archive             I/O
//! report   conditions, status, events, next visit                    pure
//! ```

pub(crate) mod access;
mod act;
mod layers;
mod observe;
mod plan;
mod report;
pub(crate) mod select;

use crate::story::About;
use crate::visit::{self, Frame, timeout};
use api::source::OCIRepository;
pub(crate) use layers::Layers;
use plan::Plan;
use runtime::{Context, Reconciler, Report};
use std::{sync::Arc, time::Duration};

const KIND: &str = "OCIRepository";

/// What the beats work with.
pub(crate) struct Beats {
    pub(crate) client: cluster::Client,
    pub(crate) store: Arc<store::Store>,
    /// For registries that need no certificates and no proxy of their own.
    pub(crate) http: reqwest::Client,
    pub(crate) workload_identity: bool,
    pub(crate) layers: Layers,
}

pub(crate) fn resource() -> cluster::Resource {
    cluster::Resource::namespaced("source.toolkit.fluxcd.io", "v1", KIND, "ocirepositories")
}

/// The client of [`Beats::http`]: the registry client follows redirects itself, so that credentials stay where they belong.
pub(crate) fn http_client() -> reqwest::Result<reqwest::Client> {
    access::builder().build()
}

impl Reconciler for Beats {
    type Resource = OCIRepository;

    async fn reconcile(&self, this: Arc<OCIRepository>, context: &Context) -> Report {
        let frame = Frame { kind: KIND, store: &self.store, status: this.status.as_ref(), suspended: this.spec.suspend };
        let work = async |about: About<'_>| {
            let seen = observe::observe(self, &this, context.key()).await;
            let plan = plan::plan(&this, &seen);
            let done = match &plan {
                Plan::Pull(found) => {
                    context.progress(&report::under_way(&this, &seen, found, about));
                    Some(act::act(self, &this, context.key(), &seen, found, about.now).await)
                }
                Plan::Stop(_) | Plan::Keep(_) => None,
            };
            report::report(&this, &seen, &plan, done, about)
        };
        frame.visit(context, work).await
    }

    fn time_limit(&self, this: &OCIRepository) -> Duration {
        visit::time_limit(this.spec.timeout)
    }
}
