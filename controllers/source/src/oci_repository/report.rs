//! Fourth beat: conditions, status, events, next visit. Pure.

use super::act::{Done, Written};
use super::observe::{Found, Seen};
use super::plan::Plan;
use crate::draft::Outcome;
use crate::problem::Problem;
use crate::story::{About, Story, Told};
use api::Artifact;
use api::meta::{ARTIFACT_IN_STORAGE, ARTIFACT_OUTDATED, FETCH_FAILED, SOURCE_VERIFIED, TRUE, reason};
use api::source::{OCIRepository, OCIRepositoryStatus};
use oci::annotation;
use runtime::Event;

type OciStory<'a> = Story<'a, OCIRepositoryStatus>;

fn new<'a>(this: &'a OCIRepository, about: About<'a>) -> OciStory<'a> {
    Story::new(this.status.as_ref(), about)
}

/// The status while the pull goes on.
pub(super) fn under_way(this: &OCIRepository, seen: &Seen, found: &Found, about: About<'_>) -> OCIRepositoryStatus {
    let mut story = new(this, about);
    story.begin(seen.collected, &seen.artifact);
    outdated(&mut story, found);
    story.so_far()
}

/// The whole story of a reconcile.
pub(super) fn report(this: &OCIRepository, seen: &Seen, plan: &Plan, done: Option<Done>, about: About<'_>) -> Told<OCIRepositoryStatus> {
    let mut story = new(this, about);
    story.begin(seen.collected, &seen.artifact);
    let told = match (plan, done) {
        (Plan::Stop(problem), _) => Err(problem.clone()),
        (Plan::Keep(found), _) => Ok(keep(&mut story, found)),
        (Plan::Pull(found), Some(done)) => pulled(&mut story, this, found, done),
        (Plan::Pull(_), None) => Err(Problem::plain("Internal", "the pull was not carried out")),
    };
    let outcome = match told {
        Ok(outcome) => outcome,
        Err(problem) => story.problem(problem),
    };
    let success = matches!(outcome, Outcome::Stored | Outcome::Unchanged);
    let visit = story.end(outcome, this.spec.interval.to_std());
    if let (true, Some((reason, artifact))) = (success, story.news()) {
        let event = Event::info(reason, news(this, &artifact)).with("revision", &artifact.revision).with("digest", &artifact.digest);
        story.tell(event);
    }
    story.finish(visit)
}

fn keep(story: &mut OciStory<'_>, found: &Found) -> Outcome {
    story.draft.delete(FETCH_FAILED);
    story.draft.delete(ARTIFACT_OUTDATED);
    in_storage(story, found);
    if story.is_asked() {
        story.tell(up_to_date(found));
    }
    Outcome::Stored
}

fn up_to_date(found: &Found) -> Event {
    Event::trace("ArtifactUpToDate", format!("artifact up-to-date with remote revision: '{}'", found.revision))
}

fn in_storage(story: &mut OciStory<'_>, found: &Found) {
    story.draft.mark(ARTIFACT_IN_STORAGE, TRUE, reason::SUCCEEDED, format!("stored artifact for digest '{}'", found.revision));
}

/// Another revision than the stored one: said before it is pulled.
fn outdated(story: &mut OciStory<'_>, found: &Found) {
    if story.status.artifact.as_ref().is_some_and(|artifact| artifact.revision == found.revision) {
        return;
    }
    let message = format!("new revision '{}' for '{}'", found.revision, found.shown());
    if story.status.artifact.is_some() {
        story.draft.mark(ARTIFACT_OUTDATED, TRUE, "NewRevision", message.as_str());
    }
    story.draft.progress(true, &format!("building artifact: {message}"));
}

fn pulled(story: &mut OciStory<'_>, this: &OCIRepository, found: &Found, done: Done) -> Result<Outcome, Problem> {
    outdated(story, found);
    match &done.verified {
        Some(message) => story.draft.mark(SOURCE_VERIFIED, TRUE, reason::SUCCEEDED, message.as_str()),
        None => story.draft.delete(SOURCE_VERIFIED),
    }
    let written = match done.result {
        Ok(written) => written,
        Err(problem) => {
            if problem.condition.is_none_or(|(condition, _)| condition != FETCH_FAILED) {
                story.draft.delete(FETCH_FAILED);
            }
            return Err(problem);
        }
    };
    story.draft.delete(FETCH_FAILED);
    match written {
        Written::UpToDate => {
            if story.is_asked() {
                story.tell(up_to_date(found));
            }
        }
        Written::New(artifact, latest) => {
            story.status.artifact = Some(artifact);
            story.status.url = latest;
            story.status.observed_ignore = this.spec.ignore.clone();
            story.status.observed_layer_selector = this.spec.layer_selector.clone();
        }
    }
    story.draft.delete(ARTIFACT_OUTDATED);
    in_storage(story, found);
    Ok(Outcome::Stored)
}

/// What the event says: where the artifact came from, as far as its annotations tell.
fn news(this: &OCIRepository, artifact: &Artifact) -> String {
    let mut text = format!("stored artifact with revision '{}' from '{}'", artifact.revision, this.spec.url);
    for (what, key) in [("source", annotation::SOURCE), ("revision", annotation::REVISION)] {
        if let Some(value) = artifact.metadata.get(key) {
            text.push_str(&format!(", origin {what} '{value}'"));
        }
    }
    text
}
