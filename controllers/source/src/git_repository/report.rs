//! Fourth beat: conditions, status, events, next visit. Pure.

use super::act::{Done, Fetched, Written};
use super::observe::Seen;
use super::plan::{Plan, mode};
use crate::draft::{Outcome, same_artifacts};
use crate::problem::Problem;
use crate::story::{About, Story, Told};
use api::Artifact;
use api::meta::{ARTIFACT_IN_STORAGE, ARTIFACT_OUTDATED, FETCH_FAILED, INCLUDE_UNAVAILABLE, SOURCE_VERIFIED, TRUE, reason};
use api::source::{GitRepository, GitRepositoryStatus};
use runtime::Event;

/// The story of one repository.
struct Repository<'a> {
    this: &'a GitRepository,
    story: Story<'a, GitRepositoryStatus>,
}

/// The status while the fetch goes on.
pub(super) fn under_way(this: &GitRepository, seen: &Seen, about: About<'_>) -> GitRepositoryStatus {
    Repository::begin(this, seen, about).story.so_far()
}

/// The whole story of a reconcile.
pub(super) fn report(this: &GitRepository, seen: &Seen, plan: &Plan, done: Option<&Done>, about: About<'_>) -> Told<GitRepositoryStatus> {
    let mut repository = Repository::begin(this, seen, about);
    let told = match (plan, done) {
        (Plan::Stop(problem), _) => Err(problem.clone()),
        (Plan::Keep { revision }, _) => {
            repository.includes(seen);
            repository.keep(revision);
            Ok(Outcome::Unchanged)
        }
        (Plan::Fetch, Some(done)) => {
            repository.includes(seen);
            repository.fetched(seen, done)
        }
        (Plan::Fetch, None) => Err(Problem::plain("Internal", "the fetch was not carried out")),
    };
    if let (Plan::Stop(problem), Ok(_)) = (plan, &seen.includes)
        && problem.condition.is_some_and(|(condition, _)| condition != INCLUDE_UNAVAILABLE)
    {
        repository.includes(seen);
    }
    let mut story = repository.story;
    let outcome = match told {
        Ok(outcome) => outcome,
        Err(problem) => story.problem(problem),
    };
    let success = matches!(outcome, Outcome::Stored | Outcome::Unchanged);
    let visit = story.end(outcome, this.spec.interval.to_std());
    if let (true, Some((reason, artifact))) = (success, story.news()) {
        // Without a fetch the message of the commit is not known.
        let fetched = done.and_then(|done| done.fetched.as_ref());
        let commit = fetched.map_or(artifact.revision.as_str(), |fetched| fetched.subject.as_str());
        let event = Event::info(reason, format!("stored artifact for commit '{commit}'"));
        story.tell(event.with("revision", &artifact.revision).with("digest", &artifact.digest));
    }
    story.finish(visit)
}

impl<'a> Repository<'a> {
    /// The beginning, up to the look into the storage.
    fn begin(this: &'a GitRepository, seen: &Seen, about: About<'a>) -> Self {
        let mut story = Story::new(this.status.as_ref(), about);
        story.begin(seen.collected, &seen.artifact);
        Self { this, story }
    }

    /// The included artifacts are there.
    fn includes(&mut self, seen: &Seen) {
        let Ok(includes) = &seen.includes else { return };
        self.story.draft.delete(INCLUDE_UNAVAILABLE);
        if !same_artifacts(includes, &self.story.status.included_artifacts) {
            self.story.draft.progress(true, "building artifact: included artifacts differ from last observed includes");
        }
        self.story.draft.delete(ARTIFACT_OUTDATED);
    }

    fn keep(&mut self, revision: &str) {
        self.story.draft.delete(FETCH_FAILED);
        self.story.draft.mark(ARTIFACT_IN_STORAGE, TRUE, reason::SUCCEEDED, format!("stored artifact for revision '{revision}'"));
        if self.story.is_asked() {
            let message = format!("no changes since last reconciliation: observed revision '{revision}'");
            self.story.tell(Event::trace("GitOperationSucceeded", message));
        }
    }

    fn fetched(&mut self, seen: &Seen, done: &Done) -> Result<Outcome, Problem> {
        let Some(Fetched { revision, .. }) = &done.fetched else {
            if let Err(problem) = &done.result
                && problem.condition.is_none_or(|(condition, _)| condition != FETCH_FAILED)
            {
                self.story.draft.delete(FETCH_FAILED);
            }
            return Err(done.result.clone().err().unwrap_or_else(|| Problem::plain("Internal", "nothing was fetched")));
        };
        self.story.draft.delete(FETCH_FAILED);
        match &done.verified {
            Some(message) => {
                self.story.draft.mark(SOURCE_VERIFIED, TRUE, reason::SUCCEEDED, message.as_str());
                self.story.status.source_verification_mode =
                    self.this.spec.verify.as_ref().map(|v| mode(&v.mode).to_owned()).unwrap_or_default();
            }
            None => {
                self.story.draft.delete(SOURCE_VERIFIED);
                self.story.status.source_verification_mode.clear();
            }
        }
        if self.story.status.artifact.as_ref().is_none_or(|artifact| artifact.revision != *revision) {
            let message = format!("new upstream revision '{revision}'");
            if self.story.status.artifact.is_some() {
                self.story.draft.mark(ARTIFACT_OUTDATED, TRUE, "NewRevision", message.as_str());
            }
            self.story.draft.progress(true, &format!("building artifact: {message}"));
        }
        match done.result.clone()? {
            Written::UpToDate => {
                if self.story.is_asked() {
                    let message = format!("artifact up-to-date with remote revision: '{revision}'");
                    self.story.tell(Event::trace("ArtifactUpToDate", message));
                }
            }
            Written::New(artifact) => self.store(seen, artifact),
        }
        self.story.draft.delete(ARTIFACT_OUTDATED);
        self.story.draft.mark(ARTIFACT_IN_STORAGE, TRUE, reason::SUCCEEDED, format!("stored artifact for revision '{revision}'"));
        Ok(Outcome::Stored)
    }

    fn store(&mut self, seen: &Seen, artifact: Artifact) {
        let spec = &self.this.spec;
        self.story.status.artifact = Some(artifact);
        self.story.status.included_artifacts = seen.includes.clone().unwrap_or_default();
        self.story.status.observed_ignore = spec.ignore.clone();
        self.story.status.observed_recurse_submodules = spec.recurse_submodules;
        self.story.status.observed_include = spec.include.clone();
        self.story.status.observed_sparse_checkout = spec.sparse_checkout.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kept::Kept;
    use api::meta::{Conditions, READY, RECONCILING, Time};
    use api::source::GitRepositorySpec;
    use git::{Access, Address};
    use runtime::{Severity, Visit};
    use std::time::Duration;

    const REVISION: &str = "main@sha1:1111111111111111111111111111111111111111";

    fn now() -> Time {
        Time(jiff::Timestamp::from_second(1_000).unwrap())
    }

    fn about(generation: i64) -> About<'static> {
        About { generation, requested_at: None, now: now() }
    }

    fn artifact(revision: &str, digest: &str) -> Artifact {
        Artifact {
            revision: revision.into(),
            digest: digest.into(),
            path: "p".into(),
            url: "u".into(),
            last_update_time: now(),
            ..Artifact::default()
        }
    }

    fn seen(artifact: Kept) -> Seen {
        let address = Address::parse("https://example.com/x").unwrap().0;
        Seen {
            collected: 0,
            artifact,
            access: Ok((address, Access::default())),
            includes: Ok(vec![]),
            head: super::super::observe::Head::Unknown,
            keys: None,
        }
    }

    fn fetched(result: Result<Written, Problem>) -> Done {
        Done { fetched: Some(Fetched { revision: REVISION.into(), subject: "subject".into() }), verified: None, result }
    }

    fn failed(problem: Problem) -> Done {
        Done { fetched: None, verified: None, result: Err(problem) }
    }

    fn object(status: Option<GitRepositoryStatus>) -> GitRepository {
        let interval = types::GoDuration::from_secs(60);
        GitRepository { spec: GitRepositorySpec { interval, ..GitRepositorySpec::default() }, status, ..GitRepository::default() }
    }

    /// An object whose artifact was stored at generation 1.
    fn stored() -> GitRepository {
        let done = fetched(Ok(Written::New(artifact(REVISION, "sha256:ab"))));
        let told = report(&object(None), &seen(Kept::Never), &Plan::Fetch, Some(&done), about(1));
        object(Some(told.status))
    }

    fn intact() -> Kept {
        Kept::Intact(artifact(REVISION, "sha256:ab"))
    }

    fn shown(told: &Told<GitRepositoryStatus>) -> Vec<String> {
        told.status.conditions.iter().map(|c| format!("{} {} {}: {}", c.r#type, c.status, c.reason, c.message)).collect()
    }

    fn events(told: &Told<GitRepositoryStatus>) -> Vec<(Severity, &str, &str)> {
        told.events.iter().map(|e| (e.severity, e.reason.as_str(), e.message.as_str())).collect()
    }

    fn missing() -> Problem {
        Problem::of(FETCH_FAILED, "GitOperationFailed", "no such branch")
    }

    #[test]
    fn a_first_artifact_makes_the_object_ready() {
        let done = fetched(Ok(Written::New(artifact(REVISION, "sha256:ab"))));
        let told = report(&object(None), &seen(Kept::Never), &Plan::Fetch, Some(&done), about(1));
        let message = format!("stored artifact for revision '{REVISION}'");
        assert_eq!(shown(&told), [format!("Ready True Succeeded: {message}"), format!("ArtifactInStorage True Succeeded: {message}")]);
        assert_eq!((told.status.observed_generation, told.visit), (1, Visit::Interval(Duration::from_secs(60))));
        assert_eq!(events(&told), [(Severity::Info, "NewArtifact", "stored artifact for commit 'subject'")]);
        assert_eq!(told.events[0].metadata["revision"], REVISION);
    }

    #[test]
    fn a_visit_that_finds_nothing_new_tells_nothing_and_changes_nothing() {
        let this = stored();
        let later = About { now: Time(jiff::Timestamp::from_second(9_000).unwrap()), ..about(1) };
        for (plan, done) in [(Plan::Keep { revision: REVISION.into() }, None), (Plan::Fetch, Some(fetched(Ok(Written::UpToDate))))] {
            let told = report(&this, &seen(intact()), &plan, done.as_ref(), later);
            assert_eq!(Some(&told.status), this.status.as_ref());
            assert_eq!(told.events, []);
        }
    }

    #[test]
    fn a_change_of_the_spec_that_needs_no_fetch_is_answered() {
        let told = report(&stored(), &seen(intact()), &Plan::Keep { revision: REVISION.into() }, None, about(2));
        assert_eq!(told.status.observed_generation, 2);
        assert!(told.status.conditions.iter().all(|c| c.observed_generation == 2));
        let message = format!("no changes since last reconciliation: observed revision '{REVISION}'");
        assert_eq!(events(&told), [(Severity::Trace, "GitOperationSucceeded", message.as_str())]);
    }

    #[test]
    fn a_failure_keeps_the_artifact_and_says_how_far_it_came() {
        let told = report(&stored(), &seen(intact()), &Plan::Fetch, Some(&failed(missing())), about(2));
        assert_eq!(
            shown(&told)[..2],
            [
                "Reconciling True ProgressingWithRetry: processing object: new generation 1 -> 2",
                "Ready False GitOperationFailed: no such branch"
            ]
        );
        assert_eq!((told.status.observed_generation, told.visit), (1, Visit::Backoff));
        assert!(told.status.artifact.is_some());
        assert_eq!(events(&told), [(Severity::Error, "GitOperationFailed", "no such branch")]);
    }

    #[test]
    fn a_recovery_with_the_same_artifact_is_told_once() {
        let broken = report(&stored(), &seen(intact()), &Plan::Stop(missing()), None, about(1));
        let told = report(&object(Some(broken.status)), &seen(intact()), &Plan::Keep { revision: REVISION.into() }, None, about(1));
        assert_eq!(events(&told), [(Severity::Info, "Succeeded", format!("stored artifact for commit '{REVISION}'").as_str())]);
        assert_eq!(shown(&told).len(), 2, "nothing of the failure is left: {:?}", shown(&told));
    }

    #[test]
    fn an_artifact_that_vanished_is_built_again_without_news() {
        let done = fetched(Ok(Written::New(artifact(REVISION, "sha256:ab"))));
        let gone = failed(missing());
        let told = report(&stored(), &seen(Kept::Gone), &Plan::Fetch, Some(&gone), about(1));
        assert_eq!(shown(&told)[0], "Reconciling True ProgressingWithRetry: building artifact: disappeared from storage");
        assert!(told.status.artifact.is_none() && told.status.conditions.condition(ARTIFACT_IN_STORAGE).is_none());
        let told = report(&stored(), &seen(Kept::Gone), &Plan::Fetch, Some(&done), about(1));
        assert_eq!(told.events, []);
        let damaged = report(&stored(), &seen(Kept::Damaged("computed digest doesn't match".into())), &Plan::Fetch, Some(&done), about(1));
        let message = "failed to verify integrity of artifact: computed digest doesn't match";
        assert_eq!(events(&damaged), [(Severity::Error, "ArtifactVerificationFailed", message)]);
    }

    #[test]
    fn waiting_for_an_include_is_told_once_and_looked_at_again_after_its_time() {
        let wait =
            || Problem::of(INCLUDE_UNAVAILABLE, "NoArtifact", "no artifact available for include 'lib'").waits(Duration::from_secs(30));
        let seen = || Seen { includes: Err(wait()), ..seen(Kept::Never) };
        let told = report(&object(None), &seen(), &Plan::Stop(wait()), None, about(1));
        assert_eq!(told.visit, Visit::After(Duration::from_secs(30)));
        assert_eq!(events(&told), [(Severity::Trace, "NoArtifact", "no artifact available for include 'lib'")]);
        let quiet = GitRepositoryStatus { observed_generation: 1, ..told.status };
        let again = report(&object(Some(quiet.clone())), &seen(), &Plan::Stop(wait()), None, about(1));
        assert_eq!((again.events, again.status), (vec![], quiet));
    }

    #[test]
    fn a_stall_is_final_and_a_failed_verification_decides_over_ready() {
        let stall = Problem::not(SOURCE_VERIFIED, "InvalidVerificationMode", "no tag").stalls();
        let told = report(&object(None), &seen(Kept::Never), &Plan::Fetch, Some(&failed(stall)), about(3));
        assert_eq!(
            shown(&told),
            [
                "Stalled True InvalidVerificationMode: no tag",
                "Ready False InvalidVerificationMode: no tag",
                "SourceVerified False InvalidVerificationMode: no tag"
            ]
        );
        assert_eq!((told.status.observed_generation, told.visit), (3, Visit::Never));
        let bad = Problem::not(SOURCE_VERIFIED, "InvalidCommitSignature", "unsigned");
        let told = report(&stored(), &seen(intact()), &Plan::Fetch, Some(&failed(bad)), about(1));
        assert_eq!(shown(&told)[1], "Ready False InvalidCommitSignature: unsigned");
    }

    #[test]
    fn a_suspended_object_answers_requests_and_nothing_else() {
        let asked = About { requested_at: Some("t1"), ..about(2) };
        let this = stored();
        let told = Story::new(this.status.as_ref(), asked).suspended();
        assert_eq!((told.status.observed_generation, told.status.last_handled_reconcile_at.as_str(), told.visit), (2, "t1", Visit::Never));
        assert_eq!(told.status.conditions.condition(ARTIFACT_IN_STORAGE).unwrap().observed_generation, 1);
        let new = Story::<GitRepositoryStatus>::new(None, about(1)).suspended();
        assert_eq!((new.status.observed_generation, new.status.conditions), (-1, vec![]));
    }

    #[test]
    fn progress_shows_what_is_being_built() {
        let status = under_way(&object(None), &seen(Kept::Never), about(1));
        assert!(status.conditions.condition(RECONCILING).is_some_and(|c| c.message == "building artifact" && c.reason == "Progressing"));
        assert!(status.conditions.condition(READY).is_some_and(|c| c.status == "Unknown"));
    }
}
