use crate::backoff::Backoff;
use crate::queue::{Next, Queue};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use types::NamespacedName;

/// Asks a controller to look at objects: from other watches, from timers, from reconciles. Cheap to clone; never waits.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    wake: Notify,
}

struct State {
    queue: Queue<NamespacedName>,
    running: HashMap<NamespacedName, Running>,
    adds: u64,
    retries: u64,
    /// A controller that is not the leader collects wishes and takes none.
    paused: bool,
}

struct Running {
    cancel: CancellationToken,
    /// When even a run that was dropped must have ended.
    overdue: Option<Instant>,
}

impl Handle {
    pub(crate) fn new(backoff: Backoff) -> Self {
        let state = State { queue: Queue::new(backoff), running: HashMap::new(), adds: 0, retries: 0, paused: true };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), wake: Notify::new() }) }
    }

    /// Lets the object be reconciled as soon as there is room; if it runs now, once more afterwards.
    pub fn trigger(&self, key: &NamespacedName) {
        let mut state = self.lock();
        let added = state.queue.add(key, Instant::now());
        state.adds += u64::from(added);
        drop(state);
        self.shared.wake.notify_one();
    }

    /// As `trigger`, and tells a run that is under way that its result will not be needed.
    pub fn trigger_and_cancel(&self, key: &NamespacedName) {
        self.trigger(key);
        self.cancel(key);
    }

    /// Lets the object be reconciled at a time, unless something triggers it earlier.
    pub fn trigger_after(&self, key: &NamespacedName, after: Duration) {
        self.lock().queue.add_at(key, Instant::now() + after);
        self.shared.wake.notify_one();
    }

    /// Tells a run that is under way that its result will not be needed.
    pub fn cancel(&self, key: &NamespacedName) {
        if let Some(running) = self.lock().running.get(key) {
            running.cancel.cancel();
        }
    }

    pub fn is_running(&self, key: &NamespacedName) -> bool {
        self.lock().running.contains_key(key)
    }

    pub(crate) fn cancel_all(&self) {
        self.lock().running.values().for_each(|running| running.cancel.cancel());
    }

    pub(crate) fn forget(&self, key: &NamespacedName) {
        let mut state = self.lock();
        state.queue.forget(key);
        if let Some(running) = state.running.get(key) {
            running.cancel.cancel();
        }
    }

    /// Says by when a run must have ended.
    pub(crate) fn set_overdue(&self, key: &NamespacedName, within: Duration) {
        if let Some(running) = self.lock().running.get_mut(key) {
            running.overdue = Some(Instant::now() + within);
        }
    }

    pub(crate) fn set_paused(&self, paused: bool) {
        self.lock().paused = paused;
        self.shared.wake.notify_one();
    }

    /// The next object in line, with the time it waited and its failures so far. Waits until there is one.
    pub(crate) async fn next(&self) -> Taken {
        loop {
            let due = {
                let mut state = self.lock();
                if state.paused {
                    None
                } else if let Some((key, waited)) = state.queue.take(Instant::now()) {
                    let cancel = CancellationToken::new();
                    state.running.insert(key.clone(), Running { cancel: cancel.clone(), overdue: None });
                    let failures = state.queue.failures(&key);
                    return Taken { key, waited, failures, cancel };
                } else {
                    state.queue.next_due()
                }
            };
            let woken = self.shared.wake.notified();
            match due {
                Some(due) => {
                    tokio::select! { () = woken => {}, () = tokio::time::sleep_until(due) => {} }
                }
                None => woken.await,
            }
        }
    }

    pub(crate) fn done(&self, key: &NamespacedName, next: Next) -> Option<Duration> {
        let mut state = self.lock();
        state.running.remove(key);
        let delay = state.queue.done(key, next, Instant::now());
        state.retries += u64::from(delay.is_some());
        drop(state);
        self.shared.wake.notify_one();
        delay
    }

    /// What the metrics and the liveness check show.
    pub(crate) fn figures(&self) -> Figures {
        let mut state = self.lock();
        let now = Instant::now();
        if !state.paused {
            state.queue.ripen(now);
        }
        let (mut unfinished, mut longest) = (Duration::ZERO, Duration::ZERO);
        for running in state.queue.running(now) {
            unfinished += running;
            longest = longest.max(running);
        }
        Figures {
            depth: state.queue.depth(),
            adds: state.adds,
            retries: state.retries,
            unfinished,
            longest,
            active: state.running.len(),
            waiting: if state.paused { Duration::ZERO } else { state.queue.waiting(now) },
            overdue: state.running.values().filter(|running| running.overdue.is_some_and(|at| at < now)).count(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) struct Taken {
    pub(crate) key: NamespacedName,
    pub(crate) waited: Duration,
    pub(crate) failures: u32,
    pub(crate) cancel: CancellationToken,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) depth: usize,
    pub(crate) adds: u64,
    pub(crate) retries: u64,
    pub(crate) unfinished: Duration,
    pub(crate) longest: Duration,
    pub(crate) active: usize,
    /// How long the first in line has been waiting.
    pub(crate) waiting: Duration,
    /// Runs that did not end when they were dropped.
    pub(crate) overdue: usize,
}
