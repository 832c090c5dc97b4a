use crate::clock::Clock;
use crate::handle::Handle;
use crate::meta::Meta;
use crate::report::{Event, to_value};
use crate::slot::Slot;
use crate::writer::StatusEdit;
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
    pub(crate) failures: u32,
    pub(crate) new: bool,
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

    /// Whether this run put the finalizer on: nothing that it stands for can exist yet.
    pub fn is_new(&self) -> bool {
        self.new
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

    /// Publishes an event while the work goes on; never waits.
    pub fn publish(&self, event: Event) {
        (self.publish)(&self.meta, event);
    }
}
