//! Actions that are under way. Each is a task that holds a place only while it works: a wait gives it back, and watches wake it.

use crate::{operation::Outcome, spec::Operation, state::Step};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use types::NamespacedName;

/// What belongs to one HelmRelease between its visits.
#[derive(Default)]
struct Entry {
    running: Option<Running>,
    finished: Option<Outcome>,
    /// Steps that were taken since the round began, so that none is taken twice.
    taken: HashSet<Step>,
    /// What the round is for: chart, values and spec.
    purpose: String,
}

struct Running {
    operation: Operation,
    wake: Arc<Notify>,
    cancel: CancellationToken,
}

/// The table of actions.
pub(crate) struct Actions {
    entries: Mutex<HashMap<NamespacedName, Entry>>,
    places: Arc<Semaphore>,
    renders: Arc<Semaphore>,
}

/// What an action does its work with.
pub(crate) struct Turn {
    places: Arc<Semaphore>,
    place: Option<OwnedSemaphorePermit>,
    renders: Arc<Semaphore>,
    pub wake: Arc<Notify>,
    pub cancel: CancellationToken,
}

impl Turn {
    /// Waits for room to work.
    pub(crate) async fn take(&mut self) {
        if self.place.is_none() {
            // The semaphore is never closed.
            self.place = self.places.clone().acquire_owned().await.ok();
        }
    }

    /// Waits for a processor to render on: more renderings at a time take more memory and end no sooner.
    pub(crate) async fn room_to_render(&self) -> Option<OwnedSemaphorePermit> {
        self.renders.clone().acquire_owned().await.ok()
    }

    /// Lets others work while this one waits.
    pub(crate) fn yield_place(&mut self) {
        self.place = None;
    }
}

impl Actions {
    pub(crate) fn new(at_once: usize) -> Self {
        // One more than there are processors: a template that looks up an object waits for the server.
        let renders = std::thread::available_parallelism().map_or(2, usize::from) + 1;
        Self { entries: Mutex::default(), places: Arc::new(Semaphore::new(at_once)), renders: Arc::new(Semaphore::new(renders)) }
    }

    /// Begins an action; `done` is called when its outcome can be taken.
    pub(crate) fn begin<F>(
        self: &Arc<Self>,
        key: NamespacedName,
        operation: Operation,
        work: impl FnOnce(Turn) -> F,
        done: impl FnOnce() + Send + 'static,
    ) where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let (wake, cancel) = (Arc::new(Notify::new()), CancellationToken::new());
        let (places, renders) = (self.places.clone(), self.renders.clone());
        let turn = Turn { places, place: None, renders, wake: wake.clone(), cancel: cancel.clone() };
        {
            let mut entries = self.lock();
            let entry = entries.entry(key.clone()).or_default();
            entry.running = Some(Running { operation, wake, cancel });
            entry.finished = None;
        }
        let (work, actions) = (work(turn), self.clone());
        tokio::spawn(async move {
            let outcome = tokio::spawn(work).await.unwrap_or_else(|error| Outcome::broken(error.is_panic()));
            if let Some(entry) = actions.lock().get_mut(&key) {
                entry.running = None;
                entry.finished = Some(outcome);
            }
            done();
        });
    }

    pub(crate) fn is_running(&self, key: &NamespacedName) -> bool {
        self.lock().get(key).is_some_and(|entry| entry.running.is_some())
    }

    /// Whether what is under way takes the release away.
    pub(crate) fn is_uninstalling(&self, key: &NamespacedName) -> bool {
        self.lock().get(key).and_then(|entry| entry.running.as_ref()).is_some_and(|running| running.operation == Operation::Uninstall)
    }

    pub(crate) fn take_outcome(&self, key: &NamespacedName) -> Option<Outcome> {
        self.lock().get_mut(key)?.finished.take()
    }

    /// Something that the release owns changed. Returns whether an action was told.
    pub(crate) fn wake(&self, key: &NamespacedName) -> bool {
        match self.lock().get(key).and_then(|entry| entry.running.as_ref()) {
            Some(running) => {
                running.wake.notify_one();
                true
            }
            None => false,
        }
    }

    /// Nobody needs the outcome any more: the action ends at its next wait.
    pub(crate) fn cancel(&self, key: &NamespacedName) {
        if let Some(running) = self.lock().get(key).and_then(|entry| entry.running.as_ref()) {
            running.cancel.cancel();
        }
    }

    pub(crate) fn cancel_all(&self) {
        self.lock().values().filter_map(|entry| entry.running.as_ref()).for_each(|running| running.cancel.cancel());
    }

    /// Notes a step of the round; returns false when it was taken already.
    pub(crate) fn take_step(&self, key: &NamespacedName, step: Step) -> bool {
        self.lock().entry(key.clone()).or_default().taken.insert(step)
    }

    pub(crate) fn was_taken(&self, key: &NamespacedName, step: Step) -> bool {
        self.lock().get(key).is_some_and(|entry| entry.taken.contains(&step))
    }

    /// Keeps an outcome for the next visit.
    pub(crate) fn put_back(&self, key: &NamespacedName, outcome: Outcome) {
        self.lock().entry(key.clone()).or_default().finished = Some(outcome);
    }

    /// Whether steps were taken that belong together with the next ones.
    pub(crate) fn in_round(&self, key: &NamespacedName) -> bool {
        self.lock().get(key).is_some_and(|entry| !entry.taken.is_empty())
    }

    /// Steps that were taken for something else do not count any more.
    pub(crate) fn round_is_for(&self, key: &NamespacedName, purpose: &str) {
        let mut entries = self.lock();
        let entry = entries.entry(key.clone()).or_default();
        if entry.purpose != purpose {
            entry.taken.clear();
            purpose.clone_into(&mut entry.purpose);
        }
    }

    pub(crate) fn end_round_unless_finished(&self, key: &NamespacedName) {
        if self.lock().get(key).is_some_and(|entry| entry.finished.is_none()) {
            self.end_round(key);
        }
    }

    /// The next visit begins a new round.
    pub(crate) fn end_round(&self, key: &NamespacedName) {
        let mut entries = self.lock();
        if let Some(entry) = entries.get_mut(key) {
            entry.taken.clear();
            if entry.running.is_none() && entry.finished.is_none() {
                entries.remove(key);
            }
        }
    }

    pub(crate) fn forget(&self, key: &NamespacedName) {
        if let Some(Entry { running: Some(running), .. }) = self.lock().remove(key) {
            running.cancel.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NamespacedName, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
