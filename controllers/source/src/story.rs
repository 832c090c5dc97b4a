//! A status on its way: what every kind of source tells in the same words.

use crate::draft::{Draft, Outcome, Polarity, recovered};
use crate::kept::Kept;
use crate::problem::{Problem, Verdict};
use api::meta::{
    ARTIFACT_IN_STORAGE, ARTIFACT_OUTDATED, BUILD_FAILED, Conditions, FALSE, FETCH_FAILED, INCLUDE_UNAVAILABLE, READY, RECONCILING,
    SOURCE_VERIFIED, STALLED, STORAGE_OPERATION_FAILED, TRUE, Time, reason,
};
use api::source::{GitRepositoryStatus, HelmChartStatus, HelmRepositoryStatus, OCIRepositoryStatus};
use api::{Artifact, Condition};
use runtime::{Event, Report, Visit};
use serde::Serialize;
use std::time::Duration;

/// What of the object's metadata matters here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About<'a> {
    pub(crate) generation: i64,
    pub(crate) requested_at: Option<&'a str>,
    pub(crate) now: Time,
}

/// What the statuses of all sources have in common.
pub(crate) trait SourceStatus: Clone + Default + Serialize {
    fn parts(&mut self) -> Parts<'_>;
}

/// The common fields of a status, to be changed.
pub(crate) struct Parts<'a> {
    pub(crate) conditions: &'a mut Vec<Condition>,
    pub(crate) artifact: &'a mut Option<Artifact>,
    pub(crate) observed_generation: &'a mut i64,
    pub(crate) last_handled_reconcile_at: &'a mut String,
}

macro_rules! source_status {
    ($($status:ty),*) => {$(
        impl SourceStatus for $status {
            fn parts(&mut self) -> Parts<'_> {
                Parts {
                    conditions: &mut self.conditions,
                    artifact: &mut self.artifact,
                    observed_generation: &mut self.observed_generation,
                    last_handled_reconcile_at: &mut self.last_handled_reconcile_at,
                }
            }
        }
    )*};
}

source_status!(GitRepositoryStatus, OCIRepositoryStatus, HelmRepositoryStatus, HelmChartStatus);

/// What a reconcile has to tell.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Told<S> {
    pub(crate) status: S,
    pub(crate) events: Vec<Event>,
    pub(crate) visit: Visit,
}

impl<S: Serialize> From<Told<S>> for Report {
    fn from(told: Told<S>) -> Self {
        Self::new(told.visit).status(&told.status).events(told.events)
    }
}

/// The conditions that Ready sums up, in Flux's order. A kind has only some of them.
pub(crate) const ORDER: [(&str, Polarity); 9] = [
    (STORAGE_OPERATION_FAILED, Polarity::Bad),
    (FETCH_FAILED, Polarity::Bad),
    (BUILD_FAILED, Polarity::Bad),
    (INCLUDE_UNAVAILABLE, Polarity::Bad),
    (ARTIFACT_OUTDATED, Polarity::Bad),
    (ARTIFACT_IN_STORAGE, Polarity::Good),
    (SOURCE_VERIFIED, Polarity::Good),
    (STALLED, Polarity::Bad),
    (RECONCILING, Polarity::Bad),
];
/// Conditions whose disappearance is a recovery.
const FAILURES: [&str; 4] = [FETCH_FAILED, BUILD_FAILED, INCLUDE_UNAVAILABLE, STORAGE_OPERATION_FAILED];

/// The story is told in the order in which things happened.
pub(crate) struct Story<'a, S> {
    pub(crate) status: S,
    pub(crate) draft: Draft,
    /// The conditions and the artifact's digest before it began.
    before: (Vec<Condition>, Option<String>),
    about: About<'a>,
    events: Vec<Event>,
}

impl<'a, S: SourceStatus> Story<'a, S> {
    pub(crate) fn new(status: Option<&S>, about: About<'a>) -> Self {
        let mut status = status.cloned().unwrap_or_else(|| {
            let mut fresh = S::default();
            *fresh.parts().observed_generation = -1;
            fresh
        });
        let parts = status.parts();
        let before = (parts.conditions.clone(), parts.artifact.as_ref().map(|artifact| artifact.digest.clone()));
        let draft = Draft::new(&before.0, about.generation, about.now);
        Self { status, draft, before, about, events: Vec::new() }
    }

    /// The beginning, up to the look into the storage.
    pub(crate) fn begin(&mut self, collected: usize, kept: &Kept) {
        self.draft.progress(false, "reconciliation in progress");
        let observed = *self.status.parts().observed_generation;
        if self.about.generation != observed {
            self.draft.progress(false, &format!("processing object: new generation {observed} -> {}", self.about.generation));
        }
        self.draft.delete(STORAGE_OPERATION_FAILED);
        if collected > 0 {
            self.tell(Event::trace("GarbageCollectionSucceeded", format!("garbage collected {collected} artifacts")));
        }
        let missing = match kept {
            Kept::Intact(artifact) => {
                *self.status.parts().artifact = Some(artifact.clone());
                None
            }
            Kept::Never => Some("building artifact"),
            Kept::Gone => Some("building artifact: disappeared from storage"),
            Kept::Damaged(why) => {
                self.tell(Event::error("ArtifactVerificationFailed", format!("failed to verify integrity of artifact: {why}")));
                Some("building artifact: disappeared from storage")
            }
        };
        if let Some(message) = missing {
            *self.status.parts().artifact = None;
            self.draft.progress(true, message);
            self.draft.delete(ARTIFACT_IN_STORAGE);
        }
        if self.draft.is(SOURCE_VERIFIED, FALSE) {
            self.draft.delete(SOURCE_VERIFIED);
        }
    }

    pub(crate) fn tell(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Whether somebody changed the object or asked for this visit: then an answer is due even when nothing was done.
    pub(crate) fn is_asked(&mut self) -> bool {
        let parts = self.status.parts();
        self.about.generation != *parts.observed_generation
            || self.about.requested_at.is_some_and(|at| at != parts.last_handled_reconcile_at)
    }

    /// Something is in the way: its condition, its event, and what follows from it.
    pub(crate) fn problem(&mut self, problem: Problem) -> Outcome {
        if let Some((condition, status)) = problem.condition {
            self.draft.mark(condition, status, problem.reason, problem.message.as_str());
        }
        if let Some((reason, message)) = problem.told {
            self.tell(Event::trace(reason, message));
        }
        let event = match problem.verdict {
            Verdict::Wait(_) => Event::trace(problem.reason, problem.message.as_str()),
            Verdict::Retry | Verdict::Stall => Event::error(problem.reason, problem.message.as_str()),
        };
        // Waiting for another object is looked at often: it is told once, not each time.
        let told_before = problem.condition.is_some_and(|(condition, _)| {
            self.before.0.condition(condition).is_some_and(|c| c.message == problem.message && c.reason == problem.reason)
        });
        if !(matches!(problem.verdict, Verdict::Wait(_)) && told_before && !self.is_asked()) {
            self.tell(event);
        }
        match problem.verdict {
            Verdict::Retry => Outcome::Failed,
            Verdict::Wait(after) => Outcome::Waiting(after),
            Verdict::Stall => Outcome::Stalled { reason: problem.reason.to_owned(), message: problem.message },
        }
    }

    /// Sums up, and says when to look again.
    pub(crate) fn end(&mut self, outcome: Outcome, interval: Duration) -> Visit {
        self.draft.end(&outcome);
        self.draft.summarize(&ORDER, &[SOURCE_VERIFIED]);
        if matches!(outcome, Outcome::Stored | Outcome::Unchanged | Outcome::Stalled { .. }) {
            *self.status.parts().observed_generation = self.about.generation;
        }
        let ready = self.draft.is(READY, TRUE);
        match outcome {
            Outcome::Stored | Outcome::Unchanged if ready => Visit::Interval(interval),
            Outcome::Stored | Outcome::Unchanged | Outcome::Failed => Visit::Backoff,
            Outcome::Waiting(after) => Visit::After(after),
            Outcome::Stalled { .. } => Visit::Never,
        }
    }

    /// The reason of the event that is due: a new artifact, or a recovery.
    pub(crate) fn news(&mut self) -> Option<(&'static str, Artifact)> {
        let artifact = self.status.parts().artifact.clone()?;
        if self.before.1.as_deref() != Some(artifact.digest.as_str()) {
            return Some(("NewArtifact", artifact));
        }
        recovered(&self.before.0, &self.draft.so_far(), &FAILURES).then_some((reason::SUCCEEDED, artifact))
    }

    /// The status as it would be written in the middle of the work.
    pub(crate) fn so_far(mut self) -> S {
        *self.status.parts().conditions = self.draft.so_far();
        self.status
    }

    /// A suspended object: the request is answered, and nothing else said.
    pub(crate) fn suspended(mut self) -> Told<S> {
        // An object that was never looked at has no conditions, and nothing to have observed.
        if !self.before.0.is_empty() {
            *self.status.parts().observed_generation = self.about.generation;
            self.draft.delete(STALLED);
            self.draft.summarize(&ORDER, &[SOURCE_VERIFIED]);
        }
        self.finish(Visit::Never)
    }

    pub(crate) fn finish(mut self, visit: Visit) -> Told<S> {
        let conditions = self.draft.finish();
        let parts = self.status.parts();
        if let Some(requested_at) = self.about.requested_at {
            *parts.last_handled_reconcile_at = requested_at.to_owned();
        }
        *parts.conditions = conditions;
        Told { status: self.status, events: self.events, visit }
    }
}
