//! One visit of one ArtifactGenerator: observe, plan, act, report.

use crate::{
    act, finalize, observe,
    options::Options,
    plan::{self, Plan},
    report::{self, About},
};
use api::{extensions::ArtifactGenerator, meta::Time};
use artifacts::{Source, Sources, Trees};
use cluster::Client;
use runtime::{Context, Report, Store};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use types::NamespacedName;

pub(crate) struct Reconciler {
    pub(crate) options: Options,
    pub(crate) client: Client,
    pub(crate) trees: Trees,
    pub(crate) sources: Sources,
    /// ExternalArtifacts: sources like others, and what is made here.
    pub(crate) outputs: Store<Source>,
    pub(crate) store: Arc<store::Store>,
    /// Sources are read from the API server, not from the watch.
    pub(crate) direct: bool,
    /// What disabled generators were last told to pass over.
    pub(crate) told: Mutex<HashMap<NamespacedName, report::Wish>>,
}

impl runtime::Reconciler for Reconciler {
    type Resource = ArtifactGenerator;

    async fn reconcile(&self, this: Arc<ArtifactGenerator>, context: &Context) -> Report {
        let meta = context.meta();
        if meta.is_deleting() {
            return finalize::finalize(self, &this, context).await;
        }
        let about = About { generation: meta.generation, requested_at: meta.requested_at(), now: Time(context.now()) };
        let seen = observe::observe(self, &this, meta).await;
        let wish = report::Wish::new(about, &seen);
        let outputs = seen.outputs.clone();
        let plan = plan::plan(&this, seen, self.options.no_cross_namespace_refs);
        let status = this.status.as_ref();
        match plan {
            Plan::Disabled => {
                let is_news = self.is_news(context.key(), &wish, wish.is_settled(status));
                report::disabled(status, about, is_news).into()
            }
            Plan::Refuse(invalid) => report::refused(status, about, &invalid).into(),
            Plan::Wait(message) => report::waiting(status, about, &message, self.options.requeue_dependency).into(),
            Plan::Rest => report::resting(status, about).into(),
            Plan::Generate { inputs, why } => {
                tracing::info!(?why, "generating artifacts");
                context.progress(&report::under_way(status, about));
                let done = act::act(self, &this, &inputs, &outputs, context).await;
                report::generated(status, about, &done, &observe::digest(&inputs), self.options.requeue_dependency).into()
            }
        }
    }

    fn gone(&self, key: &NamespacedName) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    fn time_limit(&self, _: &ArtifactGenerator) -> Duration {
        self.options.time_limit
    }
}

impl Reconciler {
    /// Whether a disabled generator passes over something that it has not passed over before.
    fn is_news(&self, key: &NamespacedName, wish: &report::Wish, is_settled: bool) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let before = told.insert(key.clone(), wish.clone());
        match before {
            Some(before) => before != *wish,
            None => !is_settled,
        }
    }
}
