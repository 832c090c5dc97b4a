//! The fourth beat: conditions, inventory, events, next visit. Pure.

use crate::{
    act::{Done, Failure, Verdict},
    observe::{Seen, digest},
    validate::Invalid,
};
use api::{
    Condition, Conditions,
    extensions::{ArtifactGeneratorStatus, ExternalArtifactReference},
    meta::{FALSE, READY, RECONCILING, STALLED, TRUE, Time, UNKNOWN, reason},
};
use runtime::{Event, Report, Visit};
use std::time::Duration;

/// How often a generator is looked at that nothing else wakes.
const INTERVAL: Duration = Duration::from_secs(3600);
const IN_PROGRESS: &str = "Reconciliation in progress";
const RECONCILIATION_DISABLED: &str = "ReconciliationDisabled";

/// What of the object's metadata matters here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About<'a> {
    pub(crate) generation: i64,
    pub(crate) requested_at: Option<&'a str>,
    pub(crate) now: Time,
}

/// What a generator is asked to do; a disabled one passes it over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wish {
    generation: i64,
    requested_at: Option<String>,
    sources: Option<String>,
}

impl Wish {
    pub(crate) fn new(about: About<'_>, seen: &Seen) -> Self {
        let sources = seen.inputs.as_ref().ok().map(digest);
        Self { generation: about.generation, requested_at: about.requested_at.map(str::to_owned), sources }
    }

    /// Whether the status answers it already.
    pub(crate) fn is_settled(&self, status: Option<&ArtifactGeneratorStatus>) -> bool {
        let Some(status) = status else { return false };
        let observed = status.conditions.condition(READY).map(|ready| ready.observed_generation);
        let answered = self.requested_at.as_ref().is_none_or(|requested| *requested == status.last_handled_reconcile_at);
        observed == Some(self.generation)
            && answered
            && self.sources.as_ref().is_none_or(|sources| *sources == status.observed_sources_digest)
    }
}

/// A status on its way.
struct Draft<'a> {
    before: Option<&'a ArtifactGeneratorStatus>,
    status: ArtifactGeneratorStatus,
    about: About<'a>,
}

impl<'a> Draft<'a> {
    fn new(before: Option<&'a ArtifactGeneratorStatus>, about: About<'a>) -> Self {
        Self { before, status: before.cloned().unwrap_or_default(), about }
    }

    fn is_asked(&self) -> bool {
        let handled = self.before.map(|status| status.last_handled_reconcile_at.as_str()).unwrap_or_default();
        self.about.requested_at.is_some_and(|requested| requested != handled)
    }

    fn mark(&mut self, kind: &str, status: &str, reason: &str, message: &str) {
        self.status.conditions.set_condition(Condition::new(kind, status, reason, message), self.about.generation, self.about.now);
    }

    /// Says what is in the way. The event is sent when it is news, or when somebody asked.
    fn fail(&mut self, failure: &Failure, is_working: bool) -> Option<Event> {
        let known =
            |ready: &Condition| (ready.status.as_str(), ready.reason.as_str(), &ready.message) == (FALSE, failure.reason, &failure.message);
        let is_known = self.before.is_some_and(|status| status.conditions.condition(READY).is_some_and(known));
        self.mark(READY, FALSE, failure.reason, &failure.message);
        if failure.verdict == Verdict::Stall {
            self.status.conditions.remove_condition(RECONCILING);
            self.mark(STALLED, TRUE, failure.reason, &failure.message);
        } else {
            self.status.conditions.remove_condition(STALLED);
            if is_working || self.status.conditions.condition(RECONCILING).is_some() {
                self.mark(RECONCILING, TRUE, reason::PROGRESSING_WITH_RETRY, IN_PROGRESS);
            }
        }
        (!is_known || self.is_asked()).then(|| Event::error(failure.reason, failure.message.as_str()))
    }

    fn finish(mut self, visit: Visit, events: impl IntoIterator<Item = Event>) -> Told {
        if let Some(requested) = self.about.requested_at {
            self.status.last_handled_reconcile_at = requested.to_owned();
        }
        Told { status: self.status, events: events.into_iter().collect(), visit, is_failure: false }
    }
}

/// What a visit has to tell.
#[derive(Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) status: ArtifactGeneratorStatus,
    pub(crate) events: Vec<Event>,
    pub(crate) visit: Visit,
    /// It counts as an error in the metrics.
    is_failure: bool,
}

impl Told {
    fn failed(self) -> Self {
        Self { is_failure: true, ..self }
    }
}

impl From<Told> for Report {
    fn from(told: Told) -> Self {
        let report = Self::new(told.visit).status(&told.status).events(told.events);
        if told.is_failure { report.failed() } else { report }
    }
}

/// The status that is shown when the work takes a while.
pub(crate) fn under_way(before: Option<&ArtifactGeneratorStatus>, about: About<'_>) -> ArtifactGeneratorStatus {
    let mut draft = Draft::new(before, about);
    draft.status.conditions.remove_condition(STALLED);
    draft.mark(RECONCILING, TRUE, reason::PROGRESSING, IN_PROGRESS);
    draft.mark(READY, UNKNOWN, reason::PROGRESSING, IN_PROGRESS);
    draft.status
}

pub(crate) fn disabled(before: Option<&ArtifactGeneratorStatus>, about: About<'_>, is_news: bool) -> Told {
    let mut draft = Draft::new(before, about);
    if draft.status.conditions.is_empty() {
        draft.mark(READY, TRUE, RECONCILIATION_DISABLED, "Initialized with reconciliation suspended");
    }
    draft.finish(Visit::Never, is_news.then(|| Event::trace(RECONCILIATION_DISABLED, "Reconciliation is disabled")))
}

pub(crate) fn refused(before: Option<&ArtifactGeneratorStatus>, about: About<'_>, invalid: &Invalid) -> Told {
    let failure = Failure { reason: invalid.reason(), message: invalid.to_string(), verdict: Verdict::Stall };
    let mut draft = Draft::new(before, about);
    let event = draft.fail(&failure, false);
    draft.finish(Visit::Never, event).failed()
}

pub(crate) fn waiting(before: Option<&ArtifactGeneratorStatus>, about: About<'_>, message: &str, after: Duration) -> Told {
    let failure = Failure { reason: crate::act::SOURCE_FETCH_FAILED, message: message.to_owned(), verdict: Verdict::Wait };
    let mut draft = Draft::new(before, about);
    // One that was ready stays at rest while it waits; a new one has been under way since it was made.
    let is_new = draft.status.conditions.is_empty();
    let event = draft.fail(&failure, is_new);
    draft.finish(Visit::After(after), event)
}

pub(crate) fn resting(before: Option<&ArtifactGeneratorStatus>, about: About<'_>) -> Told {
    let mut draft = Draft::new(before, about);
    draft.status.conditions.remove_condition(RECONCILING);
    // Told to whoever asked; an hourly visit that finds nothing is no news.
    let message = format!("No drift detected, {} artifact(s) up to date", draft.status.inventory.len());
    let event = draft.is_asked().then(|| Event::trace(READY, message));
    draft.finish(Visit::Interval(INTERVAL), event)
}

pub(crate) fn generated(
    before: Option<&ArtifactGeneratorStatus>,
    about: About<'_>,
    done: &Done,
    sources: &str,
    requeue_dependency: Duration,
) -> Told {
    let inventory = before.map(|status| status.inventory.as_slice()).unwrap_or_default();
    let is_new = |entry: &ExternalArtifactReference| {
        !inventory.iter().any(|old| (&old.namespace, &old.name, &old.digest) == (&entry.namespace, &entry.name, &entry.digest))
    };
    let news: Vec<_> = done.made.iter().filter(|made| is_new(&made.entry)).collect();
    let mut events: Vec<Event> = news
        .iter()
        .map(|made| {
            let (namespace, name) = (&made.entry.namespace, &made.entry.name);
            Event::trace(READY, format!("ExternalArtifact/{namespace}/{name} reconciled with revision {}", made.revision))
        })
        .collect();
    let mut draft = Draft::new(before, about);
    if let Some(failure) = &done.failure {
        let event = draft.fail(failure, true);
        // What was made on the way is told with the failure, and not again with each try.
        let events: Vec<Event> = if event.is_some() { events.into_iter().chain(event).collect() } else { Vec::new() };
        let visit = match failure.verdict {
            Verdict::Retry => Visit::Backoff,
            Verdict::Wait => Visit::After(requeue_dependency),
            Verdict::Stall => Visit::Never,
        };
        return draft.finish(visit, events).failed();
    }
    draft.status.inventory = done.made.iter().map(|made| made.entry.clone()).collect();
    draft.status.observed_sources_digest = sources.to_owned();
    draft.status.conditions.remove_condition(RECONCILING);
    draft.status.conditions.remove_condition(STALLED);
    let message = format!("reconciliation succeeded, generated {} artifact(s)", done.made.len());
    draft.mark(READY, TRUE, reason::SUCCEEDED, &message);
    events.push(Event::trace(READY, message));
    if !news.is_empty() {
        let line = |entry: &ExternalArtifactReference| format!("{}/{} ({})", entry.namespace, entry.name, entry.digest);
        let lines: Vec<String> = news.iter().map(|made| line(&made.entry)).collect();
        events.push(Event::info(READY, format!("external artifacts reconciled: {}", lines.join("\n"))));
    }
    draft.finish(Visit::Interval(INTERVAL), events)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::Made;

    const NOTHING: Vec<&str> = Vec::new();

    fn about(generation: i64, requested_at: Option<&str>) -> About<'_> {
        About { generation, requested_at, now: Time::default() }
    }

    fn made(name: &str, digest: &str) -> Made {
        let entry =
            ExternalArtifactReference { digest: digest.into(), filename: "1.tar.gz".into(), name: name.into(), namespace: "apps".into() };
        Made { entry, revision: format!("latest@{digest}") }
    }

    fn done(made: &[Made], failure: Option<(&'static str, Verdict)>) -> Done {
        let failure = failure.map(|(reason, verdict)| Failure { reason, message: "no".into(), verdict });
        Done { made: made.to_vec(), failure }
    }

    fn success(before: Option<&ArtifactGeneratorStatus>) -> Told {
        generated(before, about(1, None), &done(&[made("one", "sha256:1"), made("two", "sha256:2")], None), "sha256:s", Duration::ZERO)
    }

    fn conditions(told: &Told) -> Vec<(&str, &str, &str)> {
        told.status.conditions.iter().map(|c| (c.r#type.as_str(), c.status.as_str(), c.reason.as_str())).collect()
    }

    fn texts(told: &Told) -> Vec<&str> {
        told.events.iter().map(|event| event.message.as_str()).collect()
    }

    #[test]
    fn a_success_tells_each_new_output_and_all_of_them_together() {
        let told = success(None);
        assert_eq!(conditions(&told), [(READY, TRUE, "Succeeded")]);
        assert_eq!(
            texts(&told),
            [
                "ExternalArtifact/apps/one reconciled with revision latest@sha256:1",
                "ExternalArtifact/apps/two reconciled with revision latest@sha256:2",
                "reconciliation succeeded, generated 2 artifact(s)",
                "external artifacts reconciled: apps/one (sha256:1)\napps/two (sha256:2)",
            ]
        );
        assert_eq!((told.status.inventory.len(), told.status.observed_sources_digest.as_str()), (2, "sha256:s"));
        let again = success(Some(&told.status));
        assert_eq!(texts(&again), ["reconciliation succeeded, generated 2 artifact(s)"]);
        assert_eq!(again.status, told.status, "the same again is no change");
    }

    #[test]
    fn a_failure_keeps_the_inventory_and_is_told_once() {
        let before = success(None).status;
        let failed = |before: &ArtifactGeneratorStatus, requested_at| {
            let done = done(&[made("one", "sha256:9")], Some((reason::BUILD_FAILED, Verdict::Retry)));
            generated(Some(before), about(2, requested_at), &done, "sha256:t", Duration::ZERO)
        };
        let told = failed(&before, None);
        assert_eq!(conditions(&told), [(RECONCILING, TRUE, "ProgressingWithRetry"), (READY, FALSE, "BuildFailed")]);
        assert_eq!((&told.status.inventory, &told.status.observed_sources_digest), (&before.inventory, &before.observed_sources_digest));
        assert_eq!((texts(&told).len(), told.visit), (2, Visit::Backoff));
        assert_eq!(texts(&failed(&told.status, None)), NOTHING);
        assert_eq!(failed(&told.status, None).status, told.status);
        let asked = failed(&told.status, Some("now"));
        assert_eq!((texts(&asked).len(), asked.status.last_handled_reconcile_at.as_str()), (2, "now"));
        assert_eq!(conditions(&success(Some(&told.status))), [(READY, TRUE, "Succeeded")]);
    }

    #[test]
    fn what_only_a_change_helps_stalls() {
        let told = refused(Some(&success(None).status), about(2, None), &Invalid::Output("app".into()));
        assert_eq!(conditions(&told), [(STALLED, TRUE, "ValidationFailed"), (READY, FALSE, "ValidationFailed")]);
        assert_eq!((told.visit, texts(&told)), (Visit::Never, vec!["duplicate artifact name 'app' found"]));
        let waits = waiting(Some(&told.status), about(3, None), "get sources failed", Duration::from_secs(5));
        assert_eq!(conditions(&waits), [(READY, FALSE, "SourceFetchFailed")]);
    }

    #[test]
    fn a_new_generator_that_waits_is_under_way_and_a_ready_one_is_not() {
        let wait = |before| waiting(before, about(1, None), "get sources failed", Duration::from_secs(5));
        assert_eq!(conditions(&wait(None)), [(RECONCILING, TRUE, "ProgressingWithRetry"), (READY, FALSE, "SourceFetchFailed")]);
        let ready = success(None).status;
        assert_eq!(conditions(&wait(Some(&ready))), [(READY, FALSE, "SourceFetchFailed")]);
        assert_eq!(wait(None).visit, Visit::After(Duration::from_secs(5)));
        assert!(texts(&wait(Some(&wait(None).status))).is_empty(), "it is told once");
    }

    #[test]
    fn rest_is_told_only_to_who_asked() {
        let ready = success(None).status;
        assert_eq!((resting(Some(&ready), about(1, None)).status, texts(&resting(Some(&ready), about(1, None)))), (ready.clone(), NOTHING));
        let asked = resting(Some(&ready), about(1, Some("now")));
        assert_eq!(texts(&asked), ["No drift detected, 2 artifact(s) up to date"]);
        assert!(texts(&resting(Some(&asked.status), about(1, Some("now")))).is_empty());
    }

    #[test]
    fn a_disabled_generator_says_so_when_it_is_new_and_when_it_passes_something_over() {
        let new = disabled(None, about(1, None), true);
        assert_eq!(conditions(&new), [(READY, TRUE, "ReconciliationDisabled")]);
        assert_eq!(texts(&new), ["Reconciliation is disabled"]);
        let ready = success(None).status;
        let later = disabled(Some(&ready), about(2, Some("now")), false);
        assert_eq!((conditions(&later), texts(&later), later.visit), (vec![(READY, TRUE, "Succeeded")], NOTHING, Visit::Never));
        let wish = |generation, requested_at: Option<&str>, sources: Option<&str>| {
            let wish = Wish { generation, requested_at: requested_at.map(str::to_owned), sources: sources.map(str::to_owned) };
            wish.is_settled(Some(&ready))
        };
        assert!(wish(1, None, Some("sha256:s")) && wish(1, None, None));
        assert!(!wish(2, None, None) && !wish(1, Some("now"), None) && !wish(1, None, Some("sha256:t")));
    }
}
