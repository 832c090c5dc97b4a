//! Fourth beat: conditions, status, events, next visit. Pure.

use super::act::Written;
use super::interval;
use super::observe::Seen;
use super::plan::Plan;
use crate::draft::Outcome;
use crate::problem::Problem;
use crate::story::{About, Story, Told};
use api::meta::{ARTIFACT_IN_STORAGE, ARTIFACT_OUTDATED, FETCH_FAILED, TRUE, reason};
use api::source::{HelmRepository, HelmRepositoryStatus};
use runtime::Event;

type RepositoryStory<'a> = Story<'a, HelmRepositoryStatus>;

fn begin<'a>(this: &'a HelmRepository, seen: &Seen, about: About<'a>) -> RepositoryStory<'a> {
    let mut story = Story::new(this.status.as_ref(), about);
    story.begin(seen.collected, &seen.artifact);
    story
}

/// The status while the index is read and written.
pub(super) fn under_way(this: &HelmRepository, seen: &Seen, plan: &Plan, about: About<'_>) -> HelmRepositoryStatus {
    let mut story = begin(this, seen, about);
    if let Plan::Store { revision } = plan {
        outdated(&mut story, revision);
    }
    story.so_far()
}

/// The whole story of a reconcile.
pub(super) fn report(
    this: &HelmRepository,
    seen: &Seen,
    plan: &Plan,
    done: Option<Result<Written, Problem>>,
    about: About<'_>,
) -> Told<HelmRepositoryStatus> {
    let mut story = begin(this, seen, about);
    let told = match (plan, done) {
        (Plan::Stop(problem), _) => Err(problem.clone()),
        (Plan::Keep(revision), _) => {
            if story.is_asked() {
                let message = format!("artifact up-to-date with remote revision: '{revision}'");
                story.tell(Event::trace("ArtifactUpToDate", message));
            }
            Ok(revision)
        }
        (Plan::Store { revision }, Some(done)) => {
            done.map_err(|problem| told_far(&mut story, revision, problem)).map(|(artifact, latest)| {
                story.status.artifact = Some(artifact);
                story.status.url = latest;
                revision
            })
        }
        (Plan::Store { .. }, None) => Err(Problem::plain("Internal", "the index was not stored")),
    };
    let outcome = match told {
        Ok(revision) => {
            story.draft.delete(FETCH_FAILED);
            story.draft.delete(ARTIFACT_OUTDATED);
            story.draft.mark(ARTIFACT_IN_STORAGE, TRUE, reason::SUCCEEDED, format!("stored artifact: revision '{revision}'"));
            Outcome::Stored
        }
        Err(problem) => story.problem(problem),
    };
    let success = outcome == Outcome::Stored;
    let visit = story.end(outcome, interval(&this.spec));
    if let (true, Some((reason, artifact))) = (success, story.news()) {
        let size = artifact.size.map_or("unknown size".to_owned(), |size| format!("size {}", human_size(size)));
        let event = Event::info(reason, format!("stored fetched index of {size} from '{}'", this.spec.url));
        story.tell(event.with("revision", &artifact.revision).with("digest", &artifact.digest));
    }
    story.finish(visit)
}

/// The index could be read, and only then something failed.
fn told_far(story: &mut RepositoryStory<'_>, revision: &str, problem: Problem) -> Problem {
    if problem.condition.is_none_or(|(condition, _)| condition != FETCH_FAILED) {
        story.draft.delete(FETCH_FAILED);
        outdated(story, revision);
    }
    problem
}

fn outdated(story: &mut RepositoryStory<'_>, revision: &str) {
    let message = format!("new index revision '{revision}'");
    if story.status.artifact.is_some() {
        story.draft.mark(ARTIFACT_OUTDATED, TRUE, "NewRevision", message.as_str());
    }
    story.draft.progress(true, &format!("building artifact: {message}"));
}

/// A size as Docker's `units.HumanSize` prints it: four significant digits, thousands.
fn human_size(bytes: i64) -> String {
    let mut size = bytes as f64;
    let mut unit = 0;
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    while size >= 1000.0 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    let whole = format!("{size:.0}").len();
    let text = format!("{size:.0$}", 4_usize.saturating_sub(whole));
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::super::observe::Fetched;
    use super::*;
    use crate::kept::Kept;
    use api::Artifact;
    use api::meta::Time;
    use runtime::Visit;
    use types::Digest;

    fn about() -> About<'static> {
        About { generation: 1, requested_at: None, now: Time(jiff::Timestamp::from_second(1_000).unwrap()) }
    }

    fn seen(artifact: Kept) -> Seen {
        Seen { collected: 0, artifact, index: Ok(Fetched { bytes: Default::default(), revision: Digest::sha256(b"") }) }
    }

    fn artifact() -> Artifact {
        Artifact { revision: "sha256:ab".into(), digest: "sha256:cd".into(), size: Some(1512), ..Artifact::default() }
    }

    fn object(status: Option<HelmRepositoryStatus>) -> HelmRepository {
        let mut this = HelmRepository { status, ..HelmRepository::default() };
        this.spec.url = "http://charts".into();
        this
    }

    fn conditions(told: &Told<HelmRepositoryStatus>) -> Vec<String> {
        told.status.conditions.iter().map(|c| format!("{} {} {}: {}", c.r#type, c.status, c.reason, c.message)).collect()
    }

    fn stored() -> Told<HelmRepositoryStatus> {
        let plan = Plan::Store { revision: "sha256:ab".into() };
        report(&object(None), &seen(Kept::Never), &plan, Some(Ok((artifact(), "http://latest".into()))), about())
    }

    #[test]
    fn a_first_index_makes_the_repository_ready_and_is_told_once() {
        let told = stored();
        let message = "stored artifact: revision 'sha256:ab'";
        assert_eq!(conditions(&told), [format!("Ready True Succeeded: {message}"), format!("ArtifactInStorage True Succeeded: {message}")]);
        assert_eq!(told.events[0].message, "stored fetched index of size 1.512kB from 'http://charts'");
        assert_eq!((told.visit, told.status.url.as_str()), (Visit::Interval(std::time::Duration::from_secs(60)), "http://latest"));
        let kept = Plan::Keep("sha256:ab".into());
        let again = report(&object(Some(told.status.clone())), &seen(Kept::Intact(artifact())), &kept, None, about());
        assert_eq!((again.events, again.status), (vec![], told.status));
    }

    #[test]
    fn a_broken_index_keeps_the_last_good_one() {
        let problem = Problem::of(FETCH_FAILED, "IndexationFailed", "broken");
        let plan = Plan::Store { revision: "sha256:ef".into() };
        let this = object(Some(stored().status));
        let told = report(&this, &seen(Kept::Intact(artifact())), &plan, Some(Err(problem)), about());
        assert_eq!(told.status.artifact, Some(artifact()));
        assert_eq!(
            conditions(&told),
            [
                "Reconciling True ProgressingWithRetry: reconciliation in progress",
                "Ready False IndexationFailed: broken",
                "ArtifactInStorage True Succeeded: stored artifact: revision 'sha256:ab'",
                "FetchFailed True IndexationFailed: broken",
            ]
        );
        assert_eq!(told.visit, Visit::Backoff);
    }

    #[test]
    fn sizes_have_four_digits() {
        let shown: Vec<String> = [0, 98, 802, 1000, 1175, 1512, 99_999, 12_345_678].map(human_size).into();
        assert_eq!(shown, ["0B", "98B", "802B", "1kB", "1.175kB", "1.512kB", "100kB", "12.35MB"]);
    }
}
