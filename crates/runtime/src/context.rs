use crate::clock::Clock;
use crate::handle::Handle;
use crate::meta::Meta;
use crate::report::{Event, to_value};
use crate::slot::Slot;
use crate::writer::StatusEdit;
use futures::future::BoxFuture;
use serde::Serialize;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use types::NamespacedName;

/// What a reconcile gets along with its object.
pub struct Context {
    pub(crate) key: NamespacedName,
    pub(crate) meta: Meta,
    pub(crate) cancel: CancellationToken,
    pub(crate) handle: Handle,
    pub(crate) clock: Clock,
    pub(crate) slot: Arc<Slot>,
    pub(crate) publish: Arc<dyn Fn(&Meta, Event) + Send + Sync>,
    pub(crate) hold: Holder,
    pub(crate) failures: u32,
}

pub(crate) type Holder = Arc<dyn Fn(Option<(String, String)>) -> BoxFuture<'static, Result<Held, cluster::Error>> + Send + Sync>;

/// How an object stands to the controller's finalizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// It was just put on, with the annotation that came along.
    Now,
    /// It was there; nothing was written.
    Already,
    /// The object is being deleted, or gone: nothing must be made for it any more.
    Gone,
}

impl Context {
    pub fn key(&self) -> &NamespacedName {
        &self.key
    }

    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    pub fn now(&self) -> jiff::Timestamp {
        self.clock.now()
    }

    /// Cancelled when a trigger makes this run pointless, when the lease is lost, and when time is up. The reconcile
    /// then comes to its end by itself, soon; what it reports is written as always.
    pub fn cancellation(&self) -> &CancellationToken {
        &self.cancel
    }

    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// The handle of the controller that runs this.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// How many runs of this object failed in a row before this one.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Shows a state on the way. It is written when the work still goes on a moment later, and not at all when a newer
    /// state or the final report replaces it by then. Never waits.
    pub fn progress(&self, status: &impl Serialize) {
        if let Some(status) = to_value(status) {
            self.slot.set_soon(status);
        }
    }

    /// Writes a status now and waits until it is stored: for what must be known before the next step is taken,
    /// such as an inventory before the first object is applied.
    pub async fn checkpoint(&self, status: &impl Serialize) -> Result<(), cluster::Error> {
        match to_value(status) {
            Some(status) => self.slot.write_now(StatusEdit::Whole(status)).await.map(|_| ()),
            None => Ok(()),
        }
    }

    /// Puts the controller's finalizer on the object, and in the same write an annotation, for controllers that are
    /// [`held_by_reconcile`](crate::Controller::held_by_reconcile).
    pub async fn hold(&self, note: Option<(String, String)>) -> Result<Held, cluster::Error> {
        (self.hold)(note).await
    }

    /// Publishes an event while the work goes on; never waits.
    pub fn publish(&self, event: Event) {
        (self.publish)(&self.meta, event);
    }
}
