//! Fourth beat: conditions, status, events, next visit. Pure.

use super::act::{Done, Written};
use super::build::Built;
use super::observe::Seen;
use super::plan::Plan;
use crate::draft::Outcome;
use crate::problem::Problem;
use crate::story::{About, Story, Told};
use api::meta::{ARTIFACT_IN_STORAGE, ARTIFACT_OUTDATED, BUILD_FAILED, FETCH_FAILED, SOURCE_VERIFIED, TRUE};
use api::source::{HelmChart, HelmChartStatus};
use runtime::Event;

type ChartStory<'a> = Story<'a, HelmChartStatus>;

fn begin<'a>(this: &'a HelmChart, seen: &Seen, about: About<'a>) -> ChartStory<'a> {
    let mut story = Story::new(this.status.as_ref(), about);
    story.begin(seen.collected, &seen.artifact);
    if let Ok(source) = &seen.source
        && let Some(artifact) = source.artifact()
    {
        story.status.observed_source_artifact_revision = artifact.revision.clone();
    }
    story
}

/// The status while the chart is fetched and packed.
pub(super) fn under_way(this: &HelmChart, seen: &Seen, about: About<'_>) -> HelmChartStatus {
    // The revision counts as seen only when something was made of it.
    let mut status = begin(this, seen, about).so_far();
    status.observed_source_artifact_revision =
        this.status.as_ref().map(|status| status.observed_source_artifact_revision.clone()).unwrap_or_default();
    status
}

/// The whole story of a reconcile.
pub(super) fn report(this: &HelmChart, seen: &Seen, plan: &Plan, done: Option<Done>, about: About<'_>) -> Told<HelmChartStatus> {
    let mut story = begin(this, seen, about);
    let told = match (plan, done) {
        (Plan::Stop(problem), _) => Err(problem.clone()),
        (Plan::Keep, _) => Ok(keep(&mut story)),
        (Plan::Build(_), Some(done)) => build(&mut story, this, done),
        (Plan::Build(_), None) => Err(Problem::plain("Internal", "the chart was not built")),
    };
    let (outcome, built) = match told {
        Ok(built) => (Outcome::Stored, built),
        Err(problem) => {
            // Of fetching and building, only what failed now is said.
            match problem.condition {
                Some((FETCH_FAILED, _)) => story.draft.delete(BUILD_FAILED),
                Some((BUILD_FAILED | SOURCE_VERIFIED, _)) => story.draft.delete(FETCH_FAILED),
                _ => {}
            }
            (story.problem(problem), None)
        }
    };
    let success = outcome == Outcome::Stored;
    let visit = story.end(outcome, this.spec.interval.to_std());
    if let (true, Some(built), Some((_, artifact))) = (success, built, story.news()) {
        let event = Event::info(built.reason(), built.summary());
        story.tell(event.with("revision", &artifact.revision).with("digest", &artifact.digest));
    }
    story.finish(visit)
}

fn up_to_date(story: &mut ChartStory<'_>, version: &str) {
    if story.is_asked() {
        story.tell(Event::trace("ArtifactUpToDate", format!("artifact up-to-date with remote revision: '{version}'")));
    }
}

fn keep(story: &mut ChartStory<'_>) -> Option<Built> {
    let version = story.status.artifact.as_ref().map(|artifact| artifact.revision.clone()).unwrap_or_default();
    up_to_date(story, &version);
    if let Some(stored) = story.draft.get(ARTIFACT_IN_STORAGE).cloned() {
        story.draft.mark(ARTIFACT_IN_STORAGE, TRUE, &stored.reason, stored.message);
    }
    story.draft.delete(ARTIFACT_OUTDATED);
    None
}

fn build(story: &mut ChartStory<'_>, this: &HelmChart, done: Done) -> Result<Option<Built>, Problem> {
    let Some(built) = done.built else { return Err(done.result.err().unwrap_or_else(|| Problem::plain("Internal", "nothing was built"))) };
    let is_new = story.status.observed_chart_name != built.name
        || story.status.artifact.as_ref().is_none_or(|artifact| artifact.revision != built.version);
    if is_new {
        if story.status.artifact.is_some() {
            story.draft.mark(ARTIFACT_OUTDATED, TRUE, "NewChart", built.summary());
        }
        story.draft.progress(true, &format!("building artifact: {}", built.summary()));
    }
    for kind in [FETCH_FAILED, BUILD_FAILED, SOURCE_VERIFIED] {
        story.draft.delete(kind);
    }
    if built.dependencies > 0 {
        story.tell(Event::trace("ResolvedDependencies", format!("resolved {} chart dependencies", built.dependencies)));
    }
    match done.result? {
        Written::UpToDate => up_to_date(story, &built.version),
        Written::New(artifact, latest) => {
            story.status.artifact = Some(artifact);
            story.status.url = latest;
            story.status.observed_chart_name = built.name.clone();
            story.status.observed_values_files =
                if this.spec.ignore_missing_values_files { built.values_files.clone() } else { Vec::new() };
        }
    }
    story.draft.delete(ARTIFACT_OUTDATED);
    story.draft.mark(ARTIFACT_IN_STORAGE, TRUE, built.reason(), built.summary());
    Ok(Some(built))
}

#[cfg(test)]
mod tests {
    use super::super::observe::Source;
    use super::*;
    use crate::kept::Kept;
    use api::Artifact;
    use api::meta::Time;
    use runtime::Visit;

    fn about(generation: i64) -> About<'static> {
        About { generation, requested_at: None, now: Time(jiff::Timestamp::from_second(1_000).unwrap()) }
    }

    fn artifact(revision: &str) -> Artifact {
        Artifact { revision: revision.into(), digest: format!("sha256:{revision}"), ..Artifact::default() }
    }

    fn source() -> Source {
        Source::Files { is_git: true, artifact: Some(artifact("main@sha1:aa")) }
    }

    fn seen(kept: Kept) -> Seen {
        Seen { collected: 0, artifact: kept, source: Ok(source()) }
    }

    fn object(status: Option<HelmChartStatus>) -> HelmChart {
        HelmChart { status, ..HelmChart::default() }
    }

    fn built(version: &str, result: Result<Written, Problem>) -> Done {
        let built = Built { name: "demo".into(), version: version.into(), packaged: true, ..Built::default() };
        Done { built: Some(built), result }
    }

    fn stored() -> Told<HelmChartStatus> {
        let done = built("1.0.0", Ok(Written::New(artifact("1.0.0"), "http://latest".into())));
        report(&object(None), &seen(Kept::Never), &Plan::Build(source()), Some(done), about(1))
    }

    fn conditions(told: &Told<HelmChartStatus>) -> Vec<String> {
        told.status.conditions.iter().map(|c| format!("{} {} {}: {}", c.r#type, c.status, c.reason, c.message)).collect()
    }

    #[test]
    fn a_first_chart_makes_the_object_ready_and_a_second_look_changes_nothing() {
        let told = stored();
        let message = "ChartPackageSucceeded: packaged 'demo' chart with version '1.0.0'";
        assert_eq!(conditions(&told), [format!("Ready True {message}"), format!("ArtifactInStorage True {message}")]);
        assert_eq!(told.status.observed_source_artifact_revision, "main@sha1:aa");
        assert_eq!((told.events.len(), told.events[0].reason.as_str()), (1, "ChartPackageSucceeded"));
        let kept = seen(Kept::Intact(artifact("1.0.0")));
        for (plan, done) in [(Plan::Keep, None), (Plan::Build(source()), Some(built("1.0.0", Ok(Written::UpToDate))))] {
            let again = report(&object(Some(told.status.clone())), &kept, &plan, done, about(1));
            assert_eq!((again.events, &again.status), (vec![], &told.status));
        }
    }

    #[test]
    fn a_failure_keeps_the_last_good_chart_and_a_recovery_is_told() {
        let problem = Problem::of(BUILD_FAILED, "DependencyBuildError", "no lib");
        let kept = seen(Kept::Intact(artifact("1.0.0")));
        let failed = Done { built: None, result: Err(problem) };
        let told = report(&object(Some(stored().status)), &kept, &Plan::Build(source()), Some(failed), about(1));
        assert_eq!(told.status.artifact, Some(artifact("1.0.0")));
        assert_eq!(conditions(&told)[1], "Ready False DependencyBuildError: no lib");
        assert_eq!(told.visit, Visit::Backoff);
        let fetch = Problem::of(FETCH_FAILED, "ChartPullError", "gone");
        let other = Done { built: None, result: Err(fetch) };
        let next = report(&object(Some(told.status)), &kept, &Plan::Build(source()), Some(other), about(1));
        assert!(!conditions(&next).iter().any(|text| text.starts_with(BUILD_FAILED)), "only what failed now is said");
        let good = built("1.0.0", Ok(Written::UpToDate));
        let again = report(&object(Some(next.status)), &kept, &Plan::Build(source()), Some(good), about(1));
        assert_eq!(again.events[0].message, "packaged 'demo' chart with version '1.0.0'");
    }
}
