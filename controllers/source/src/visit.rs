//! One look at a source: what is the same for every kind around its own beats.

use crate::kept::remove_all;
use crate::story::{About, SourceStatus, Story, Told};
use runtime::{Context, Report};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use types::GoDuration;

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);
/// For archives and the disk, beside what servers take.
const LOCAL_WORK: Duration = Duration::from_secs(300);

/// How long one conversation with the source's server may take.
pub(crate) fn timeout(asked: Option<GoDuration>) -> Duration {
    asked.map_or(TIMEOUT_DEFAULT, GoDuration::to_std)
}

/// How long one look may take in all: two conversations, and the archive.
pub(crate) fn time_limit(asked: Option<GoDuration>) -> Duration {
    timeout(asked) * 2 + LOCAL_WORK
}

/// What a kind is, as far as the frame needs it.
pub(crate) struct Frame<'a, S> {
    pub(crate) kind: &'static str,
    pub(crate) store: &'a Arc<Store>,
    pub(crate) status: Option<&'a S>,
    pub(crate) suspended: bool,
}

impl<'a, S: SourceStatus> Frame<'a, S> {
    /// A deleted object is cleaned up after, a suspended one answers requests only, on every other `work` is done.
    pub(crate) async fn visit<F: Future<Output = Told<S>>>(self, context: &'a Context, work: impl FnOnce(About<'a>) -> F) -> Report {
        let meta = context.meta();
        if meta.is_deleting() {
            return remove_all(self.store, self.kind, context.key()).await;
        }
        let about = About { generation: meta.generation, requested_at: meta.requested_at(), now: context.now().into() };
        if self.suspended {
            return Story::new(self.status, about).suspended().into();
        }
        work(about).await.into()
    }
}
