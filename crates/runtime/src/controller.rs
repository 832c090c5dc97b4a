use crate::backoff::Backoff;
use crate::context::Context;
use crate::fault::Fault;
use crate::handle::{Handle, Taken};
use crate::metrics::Outcome;
use crate::process::Process;
use crate::queue::Next;
use crate::report::{Event, Report, Urgency, Visit};
use crate::slot::Slot;
use crate::store::{Entry, Store, decode, meta_of};
use crate::writer::{StatusEdit, Writer, known_status};
use futures::FutureExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tracing::Instrument;
use types::NamespacedName;

/// Brings objects of one kind to what they ask for.
pub trait Reconciler: Send + Sync + 'static {
    type Resource: DeserializeOwned + Serialize + Send + Sync + 'static;

    /// Looks at one object and does what it asks for, once. Never runs twice at a time for one object.
    ///
    /// It is called for an object that is being deleted as long as the controller's finalizer is on it; the report then
    /// says `release()` when the clean-up is complete. It must not wait for the world to change: it reports, and is
    /// called again when a trigger says that it did. What it panics with is logged, and the object tried again later.
    fn reconcile(&self, object: Arc<Self::Resource>, context: &Context) -> impl Future<Output = Report> + Send;

    /// Whether the controller's finalizer belongs on this object. Without it nothing is cleaned up after the object, and
    /// an object that has it loses it when the report says `release()`.
    fn needs_finalizer(&self, _object: &Self::Resource) -> bool {
        true
    }

    /// Called when an object is gone, to forget what was remembered of it.
    fn gone(&self, _key: &NamespacedName) {}

    /// How long one run may take. Past it the run is cancelled, then dropped, and the object tried again with back-off.
    fn time_limit(&self, _object: &Self::Resource) -> Duration {
        Duration::from_secs(10 * 60)
    }
}

/// A controller, to be handed to [`Process::run`].
pub struct Controller<R: Reconciler> {
    pub(crate) name: String,
    pub(crate) store: Store<R::Resource>,
    reconciler: R,
    concurrent: usize,
    finalizer: Option<&'static str>,
    field_manager: Option<String>,
    handle: Handle,
    progress_delay: Duration,
}

/// How long a run that was told to end may still take to do so.
const GRACE: Duration = Duration::from_secs(10);
/// A run that is still there so long after it was dropped holds up its thread: only a restart helps.
const STUCK_AFTER: Duration = Duration::from_secs(60);

impl<R: Reconciler> Controller<R> {
    /// `name` is what logs and metrics call it: the kind in lower case.
    pub fn new(name: impl Into<String>, store: Store<R::Resource>, reconciler: R, backoff: Backoff) -> Self {
        Self {
            name: name.into(),
            store,
            reconciler,
            concurrent: 4,
            finalizer: None,
            field_manager: None,
            handle: Handle::new(backoff),
            progress_delay: Duration::from_secs(1),
        }
    }

    /// How many objects are reconciled at the same time.
    pub fn concurrent(self, concurrent: usize) -> Self {
        Self { concurrent: concurrent.max(1), ..self }
    }

    /// Puts this finalizer on every object before its first reconcile.
    pub fn finalizer(self, finalizer: &'static str) -> Self {
        Self { finalizer: Some(finalizer), ..self }
    }

    /// The field manager of statuses and finalizers, when it is not the name of the process.
    pub fn field_manager(self, name: impl Into<String>) -> Self {
        Self { field_manager: Some(name.into()), ..self }
    }

    /// How long a state on the way must last before it is written.
    pub fn progress_delay(self, delay: Duration) -> Self {
        Self { progress_delay: delay, ..self }
    }

    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    pub(crate) fn build(self, process: Process) -> Arc<Core<R>> {
        let writer = Arc::new(Writer {
            client: process.client().clone(),
            store: self.store.clone(),
            field_manager: self.field_manager.unwrap_or_else(|| process.name().to_owned()),
        });
        let core = Arc::new(Core {
            name: self.name,
            kind: self.store.resource().kind.clone(),
            store: self.store,
            reconciler: self.reconciler,
            concurrent: self.concurrent,
            finalizer: self.finalizer,
            handle: self.handle,
            progress_delay: self.progress_delay,
            writer,
            slots: Mutex::default(),
            process,
        });
        let weak = Arc::downgrade(&core);
        core.store.on_change(move |change| {
            let Some(core) = weak.upgrade() else { return };
            if change.asks_for_reconcile() {
                core.handle.trigger(change.key);
            }
            if change.after.is_none() {
                core.forget(change.key);
            }
        });
        core
    }
}

/// A controller at work.
pub(crate) struct Core<R: Reconciler> {
    pub(crate) name: String,
    kind: String,
    pub(crate) store: Store<R::Resource>,
    reconciler: R,
    concurrent: usize,
    finalizer: Option<&'static str>,
    pub(crate) handle: Handle,
    progress_delay: Duration,
    writer: Arc<Writer<R::Resource>>,
    /// The uid tells an object from an earlier one of its name.
    slots: Mutex<HashMap<NamespacedName, (Box<str>, Arc<Slot>)>>,
    process: Process,
}

/// What one run came to.
struct Ended {
    next: Next,
    outcome: Outcome,
}

impl Ended {
    fn failed() -> Self {
        Self { next: Next::Backoff, outcome: Outcome::Error }
    }

    fn nothing() -> Self {
        Self { next: Next::Rest, outcome: Outcome::Success }
    }
}

impl<R: Reconciler> Core<R> {
    pub(crate) fn concurrent(&self) -> usize {
        self.concurrent
    }

    /// Takes objects from the queue until the process stops, then waits for the runs that are under way.
    pub(crate) async fn run(self: Arc<Self>) {
        let places = Arc::new(Semaphore::new(self.concurrent));
        let stop = self.process.stopping().clone();
        loop {
            // The semaphore is never closed.
            let Ok(place) = places.clone().acquire_owned().await else { break };
            let taken = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                taken = self.handle.next() => taken,
            };
            let core = self.clone();
            tokio::spawn(async move {
                core.visit(taken).await;
                drop(place);
            });
        }
        let _ = places.acquire_many(u32::try_from(self.concurrent).unwrap_or(u32::MAX)).await;
    }

    async fn visit(self: Arc<Self>, taken: Taken) {
        let started = tokio::time::Instant::now();
        let metrics = self.process.metrics();
        metrics.run_started(&self.name, taken.waited);
        let resource = self.store.resource();
        let span = tracing::info_span!(
            "reconcile",
            controller = %self.name,
            controllerGroup = %resource.group,
            controllerKind = %self.kind,
            namespace = %taken.key.namespace,
            name = %taken.key.name,
            reconcileID = %crate::log::uuid(self.process.jitter()),
        );
        let key = taken.key.clone();
        // Whatever happens, the key must not stay marked as running.
        let once = AssertUnwindSafe(self.once(taken)).catch_unwind().instrument(span.clone());
        let ended = once.await.unwrap_or_else(|_| {
            metrics.panicked(&self.name);
            Ended::failed()
        });
        let delay = self.handle.done(&key, ended.next);
        if let Some(delay) = delay {
            span.in_scope(|| tracing::debug!(after = ?delay, "trying again"));
        }
        let exists = self.store.entry(&key).is_some();
        let requeued = delay.is_none() && ended.next != Next::Rest;
        metrics.run_ended(&self.name, &self.kind, &key, ended.outcome, requeued, started.elapsed(), exists);
    }

    /// One run: finalizer, reconcile, report.
    async fn once(&self, taken: Taken) -> Ended {
        let key = &taken.key;
        let Some(mut entry) = self.store.entry(key) else { return Ended::nothing() };
        let uid = entry.uid.clone();
        let ours = |entry: &Entry| self.finalizer.is_none_or(|ours| meta_of(&entry.json).finalizers.iter().any(|name| name == ours));
        if entry.deleting && !(self.finalizer.is_some() && ours(&entry)) {
            return Ended::nothing();
        }
        if let Some(problem) = &entry.problem {
            return self.undecodable(key, &entry, problem).await;
        }
        let mut new = false;
        let Some(mut object) = decode::<R::Resource>(&entry) else { return Ended::nothing() };
        if let Some(finalizer) = self.finalizer
            && !ours(&entry)
            && self.reconciler.needs_finalizer(&object)
        {
            match self.writer.add_finalizer(key, &uid, finalizer).await {
                Ok(written) => new = written,
                Err(error) => return self.write_failed("finalizer", &error),
            }
            match self.store.entry(key) {
                Some(fresh) if fresh.uid == uid => entry = fresh,
                _ => return Ended::nothing(),
            }
            let Some(fresh) = decode::<R::Resource>(&entry) else { return Ended::nothing() };
            object = fresh;
        }
        let meta = meta_of(&entry.json);
        let slot = self.slot(key, &uid);
        let publisher = self.process.recorder().for_kind(self.store.resource());
        let context = Context {
            key: key.clone(),
            meta,
            cancel: taken.cancel.clone(),
            handle: self.handle.clone(),
            clock: self.process.clock().clone(),
            slot: slot.clone(),
            publish: Arc::new(move |meta, event| publisher.publish(meta, event)),
            failures: taken.failures,
            new,
        };
        let limit = self.reconciler.time_limit(&object);
        self.handle.set_overdue(key, limit + GRACE + STUCK_AFTER);
        match self.guarded(object, &context, limit).await {
            Ok(report) => self.settle(report, &context, &slot, &entry).await,
            Err(fault) => {
                context.publish(Event::error(fault.reason(), fault.message.clone()));
                if let Err(error) = slot.write_now(StatusEdit::Fault(fault)).await {
                    return self.write_failed("status", &error);
                }
                Ended::failed()
            }
        }
    }

    /// Runs the reconciler, so that neither a panic nor a hang gets further than this object.
    async fn guarded(&self, object: Arc<R::Resource>, context: &Context, limit: Duration) -> Result<Report, Fault> {
        let work = AssertUnwindSafe(self.reconciler.reconcile(object, context)).catch_unwind();
        tokio::pin!(work);
        let ended = match tokio::time::timeout(limit, &mut work).await {
            Ok(ended) => ended,
            Err(_) => {
                context.cancel.cancel();
                match tokio::time::timeout(GRACE, &mut work).await {
                    Ok(ended) => ended,
                    Err(_) => {
                        tracing::error!(?limit, "the reconcile took too long and was dropped");
                        return Err(self.fault(format!("the reconciliation did not end within {}", types::GoDuration::from(limit)), false));
                    }
                }
            }
        };
        ended.map_err(|panic| {
            self.process.metrics().panicked(&self.name);
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
            tracing::error!(panic = text.as_deref().unwrap_or("no text"), "the reconcile panicked");
            self.fault("the controller met a defect of its own while it worked on this object; its log has the details".into(), false)
        })
    }

    /// Writes down what a run reported.
    async fn settle(&self, report: Report, context: &Context, slot: &Slot, entry: &Entry) -> Ended {
        let next = match report.visit {
            Visit::Never => Next::Rest,
            Visit::Now => Next::Now,
            Visit::After(after) => Next::After(after),
            Visit::Interval(interval) => Next::After(self.process.jitter().apply(interval)),
            Visit::Backoff => Next::Backoff,
        };
        // First the events: if the status cannot be stored the run is repeated, and a repeated event is only counted.
        report.events.into_iter().for_each(|event| context.publish(event));
        if let Some(status) = report.status.filter(|_| !(report.release && context.meta.is_deleting())) {
            match report.urgency {
                Urgency::Soon => slot.set_soon(status),
                Urgency::Now => {
                    if let Err(error) = slot.write_now(StatusEdit::Whole(status)).await {
                        return self.write_failed("status", &error);
                    }
                }
            }
        } else if !report.release
            && !report.under_way
            && !matches!(report.visit, Visit::Now | Visit::Backoff)
            && let Err(error) = slot.take_back(|| known_status::<R::Resource>(entry)).await
        {
            return self.write_failed("status", &error);
        }
        if report.release
            && let Some(finalizer) = self.finalizer
        {
            slot.drop_pending();
            if let Err(error) = self.writer.remove_finalizer(&context.key, &context.meta.uid, finalizer).await {
                return self.write_failed("finalizer", &error);
            }
            return Ended::nothing();
        }
        Ended { next, outcome: if report.failed { Outcome::Error } else { Outcome::Success } }
    }

    /// Says on an object that it cannot be read; nothing else happens until it is changed.
    async fn undecodable(&self, key: &NamespacedName, entry: &Entry, problem: &str) -> Ended {
        let message = format!("cannot read this {}: {problem}", self.kind);
        tracing::error!(%problem, "the object does not decode");
        let fault = self.fault(message, true);
        match self.slot(key, &entry.uid).write_now(StatusEdit::Fault(fault.clone())).await {
            Ok(written) => {
                if written {
                    let publisher = self.process.recorder().for_kind(self.store.resource());
                    publisher.publish(&meta_of(&entry.json), Event::error(fault.reason(), fault.message));
                }
                Ended { next: Next::Rest, outcome: Outcome::Error }
            }
            Err(error) => self.write_failed("status", &error),
        }
    }

    fn fault(&self, message: String, terminal: bool) -> Fault {
        Fault { message, terminal, now: self.process.clock().now() }
    }

    fn write_failed(&self, what: &str, error: &cluster::Error) -> Ended {
        match error {
            cluster::Error::Fenced => tracing::info!("the {what} was not written: this replica is not the leader any more"),
            error => tracing::error!(error = %error.chain(), "cannot write the {what}"),
        }
        Ended::failed()
    }

    fn slot(&self, key: &NamespacedName, uid: &str) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, slot)) = slots.get(key).filter(|(of, _)| **of == *uid) {
            return slot.clone();
        }
        let (writer, its_key, its_uid) = (self.writer.clone(), key.clone(), uid.to_owned());
        let write = move |edit: StatusEdit| {
            let (writer, key, uid) = (writer.clone(), its_key.clone(), its_uid.clone());
            async move { writer.status(&key, &uid, &edit).await }.boxed()
        };
        let slot = Slot::new(self.progress_delay, Box::new(write));
        slots.insert(key.clone(), (uid.into(), slot.clone()));
        slot
    }

    fn forget(&self, key: &NamespacedName) {
        self.handle.forget(key);
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        self.process.metrics().forget(&self.kind, key);
        self.reconciler.gone(key);
    }
}
