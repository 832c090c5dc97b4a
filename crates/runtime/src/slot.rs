use crate::writer::StatusEdit;
use cluster::Error;
use futures::future::BoxFuture;
use serde_json::Value;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::time::Instant;

type Write = Box<dyn Fn(StatusEdit) -> BoxFuture<'static, Result<bool, Error>> + Send + Sync>;

/// The status of one object on its way to the server: one write at a time, and states on the way only when they last.
pub(crate) struct Slot {
    me: Weak<Slot>,
    write: Write,
    delay: Duration,
    pending: Mutex<Pending>,
    /// Held while a write is under way, so that an older status never overtakes a newer one.
    order: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Pending {
    /// What waits, and since when something waits.
    status: Option<Value>,
    due: Option<Instant>,
    flusher: bool,
    /// A state on the way was written, and nothing final since.
    shown: bool,
}

impl Slot {
    pub(crate) fn new(delay: Duration, write: Write) -> Arc<Self> {
        Arc::new_cyclic(|me| Self { me: me.clone(), write, delay, pending: Mutex::default(), order: tokio::sync::Mutex::default() })
    }

    /// Lets a status wait for its moment; a newer one takes its place without moving the moment.
    pub(crate) fn set_soon(&self, status: Value) {
        let mut pending = self.lock();
        pending.status = Some(status);
        let due = *pending.due.get_or_insert_with(|| Instant::now() + self.delay);
        if !std::mem::replace(&mut pending.flusher, true) {
            let me = self.me.clone();
            tokio::spawn(async move {
                let mut due = due;
                loop {
                    tokio::time::sleep_until(due).await;
                    let Some(slot) = me.upgrade() else { return };
                    match slot.flush_or_leave().await {
                        Some(later) => due = later,
                        None => return,
                    }
                }
            });
        }
    }

    /// Writes what is due. Returns when to look again, or `None` when there is nothing left to wait for.
    async fn flush_or_leave(&self) -> Option<Instant> {
        let _order = self.order.lock().await;
        let status = {
            let mut pending = self.lock();
            match pending.due {
                Some(due) if due > Instant::now() => return Some(due),
                Some(_) => {
                    pending.due = None;
                    pending.status.take()
                }
                None => None,
            }
        };
        if let Some(status) = status {
            match (self.write)(StatusEdit::Whole(status)).await {
                Ok(_) => self.lock().shown = true,
                Err(error) => tracing::debug!(error = %error.chain(), "a progress status was not written"),
            }
        }
        let mut pending = self.lock();
        pending.flusher = pending.due.is_some();
        pending.due
    }

    /// Writes a status and drops what waited before it; returns whether it took a write.
    pub(crate) async fn write_now(&self, edit: StatusEdit) -> Result<bool, Error> {
        self.drop_pending();
        let _order = self.order.lock().await;
        let written = (self.write)(edit).await?;
        self.lock().shown = false;
        Ok(written)
    }

    /// The work ended with nothing to say: a state on the way is not written any more, and one that was makes place for
    /// what the status said before.
    pub(crate) async fn take_back(&self, before: impl FnOnce() -> Value) -> Result<bool, Error> {
        self.drop_pending();
        let _order = self.order.lock().await;
        if !std::mem::take(&mut self.lock().shown) {
            return Ok(false);
        }
        match before() {
            Value::Null => Ok(false),
            before => (self.write)(StatusEdit::Whole(before)).await,
        }
    }

    pub(crate) fn drop_pending(&self) {
        let mut pending = self.lock();
        pending.status = None;
        pending.due = None;
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    type Written = Arc<Mutex<Vec<StatusEdit>>>;

    fn whole(phase: &str) -> StatusEdit {
        StatusEdit::Whole(json!(phase))
    }

    fn slot() -> (Arc<Slot>, Written) {
        let written = Written::default();
        let log = written.clone();
        let write = move |status: StatusEdit| -> BoxFuture<'static, Result<bool, Error>> {
            let log = log.clone();
            Box::pin(async move {
                log.lock().unwrap().push(status);
                Ok(true)
            })
        };
        (Slot::new(Duration::from_secs(1), Box::new(write)), written)
    }

    #[tokio::test(start_paused = true)]
    async fn a_state_on_the_way_is_written_only_when_it_lasts() {
        let (slot, written) = slot();
        slot.set_soon(json!("fetching"));
        tokio::time::sleep(Duration::from_millis(500)).await;
        slot.write_now(whole("ready")).await.unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(*written.lock().unwrap(), [whole("ready")]);

        slot.set_soon(json!("fetching"));
        tokio::time::sleep(Duration::from_millis(700)).await;
        slot.set_soon(json!("building"));
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert_eq!(*written.lock().unwrap(), [whole("ready"), whole("building")], "the newest state, at the first one's moment");
        slot.set_soon(json!("waiting"));
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(written.lock().unwrap().len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_ends_with_nothing_to_say_leaves_the_status_as_it_was() {
        let (slot, written) = slot();
        // Quick: nothing was shown, and nothing is written later.
        slot.set_soon(json!("detecting"));
        assert!(!slot.take_back(|| json!("ready")).await.unwrap());
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(*written.lock().unwrap(), []);
        // Slow: what was shown is taken back, once.
        slot.set_soon(json!("detecting"));
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(slot.take_back(|| json!("ready")).await.unwrap());
        assert!(!slot.take_back(|| json!("ready")).await.unwrap());
        assert_eq!(*written.lock().unwrap(), [whole("detecting"), whole("ready")]);
        // A final status is nothing to take back.
        slot.write_now(whole("failed")).await.unwrap();
        assert!(!slot.take_back(|| json!("ready")).await.unwrap());
    }
}
