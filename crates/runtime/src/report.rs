use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a reconcile has to tell, as a value. The runtime writes it down: status, finalizer, events, next visit.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Report {
    pub(crate) status: Option<Value>,
    pub(crate) urgency: Urgency,
    pub(crate) release: bool,
    pub(crate) events: Vec<Event>,
    pub(crate) visit: Visit,
    pub(crate) failed: bool,
    pub(crate) under_way: bool,
}

/// How soon a status has to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// Written before the reconcile counts as done.
    Now,
    /// Written when nothing newer has replaced it after a moment.
    Soon,
}

/// When the object is looked at next. Whatever is said here, a trigger comes earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visit {
    /// Only when something triggers it.
    Never,
    /// At once, after those that wait in line already.
    Now,
    /// After exactly this time.
    After(Duration),
    /// After this time, spread by `--interval-jitter-percentage`: for intervals of a spec.
    Interval(Duration),
    /// After a delay that doubles with each failure in a row, from `--min-retry-delay` to `--max-retry-delay`.
    Backoff,
}

impl Report {
    pub fn new(visit: Visit) -> Self {
        Self {
            status: None,
            urgency: Urgency::Now,
            release: false,
            events: Vec::new(),
            visit,
            failed: visit == Visit::Backoff,
            under_way: false,
        }
    }

    /// Work that an earlier visit began goes on by itself: what was shown of it stays, and its end leads to the next visit.
    pub fn under_way() -> Self {
        Self { under_way: true, ..Self::new(Visit::Never) }
    }

    /// The whole new status. Nothing is written when it says what is stored already.
    pub fn status(self, status: &impl Serialize) -> Self {
        Self { status: to_value(status), urgency: Urgency::Now, ..self }
    }

    /// As `status`, but it may wait a moment and is not written at all when another report replaces it by then:
    /// for states on the way, such as "Running health checks".
    pub fn status_soon(self, status: &impl Serialize) -> Self {
        Self { status: to_value(status), urgency: Urgency::Soon, ..self }
    }

    pub fn event(mut self, event: Event) -> Self {
        self.events.push(event);
        self
    }

    pub fn events(mut self, events: impl IntoIterator<Item = Event>) -> Self {
        self.events.extend(events);
        self
    }

    /// The object's clean-up is complete: the finalizer goes, and with it the object, when it is being deleted.
    pub fn release(self) -> Self {
        Self { release: true, ..self }
    }

    /// Counts this visit as an error in the metrics; `Visit::Backoff` does so by itself.
    pub fn failed(self) -> Self {
        Self { failed: true, ..self }
    }

    pub fn visit(&self) -> Visit {
        self.visit
    }
}

pub(crate) fn to_value(status: &impl Serialize) -> Option<Value> {
    serde_json::to_value(status).inspect_err(|error| tracing::error!(%error, "a status cannot be written as JSON")).ok()
}

/// Something that happened to an object, for people and for the notification-controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub severity: Severity,
    pub reason: String,
    pub message: String,
    /// Keys without the group of the kind, which the recorder puts in front: `revision`, `commit_status`.
    pub metadata: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// A Kubernetes event only; not sent to the notification-controller.
    Trace,
    Info,
    /// A Warning.
    Error,
}

impl Event {
    pub fn info(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Info, reason: reason.into(), message: message.into(), metadata: BTreeMap::new() }
    }

    pub fn trace(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Trace, ..Self::info(reason, message) }
    }

    pub fn error(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, ..Self::info(reason, message) }
    }

    /// Adds metadata; an empty value is left out.
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        let value = value.into();
        if !value.is_empty() {
            self.metadata.insert(key.into(), value);
        }
        self
    }
}
