//! Second beat: what to do, from what was seen. Pure.

use super::observe::{Missing, Seen, Source};
use crate::kept::Kept;
use crate::problem::Problem;
use api::meta::{BUILD_FAILED, Conditions, FETCH_FAILED, SOURCE_VERIFIED, STORAGE_OPERATION_FAILED};
use api::source::HelmChart;
use std::time::Duration;

/// What a reconcile will do.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Plan {
    /// Nothing can be done.
    Stop(Problem),
    /// Neither the object nor its source changed since the chart was stored.
    Keep,
    Build(Source),
}

pub(super) fn plan(this: &HelmChart, seen: &Seen, generation: i64, requeue_dependency: Duration) -> Plan {
    let failed = |reason, message: String| Problem::of(FETCH_FAILED, reason, message);
    let source = match &seen.source {
        Ok(source) => source,
        Err(Missing::Unavailable(why)) => return Plan::Stop(failed("SourceUnavailable", format!("failed to get source: {why}"))),
        Err(Missing::UnknownKind(why)) => {
            return Plan::Stop(failed("UnsupportedSourceKind", format!("failed to get source: {why}")).stalls());
        }
    };
    if source.artifact().is_none() && source.needs_artifact() {
        let message = format!("no artifact available for {} source '{}'", this.spec.source_ref.kind, this.spec.source_ref.name);
        return Plan::Stop(failed("NoSourceArtifact", message).waits(requeue_dependency));
    }
    if let Some(verify) = &this.spec.verify {
        let provider = if verify.provider.is_empty() { "cosign" } else { &verify.provider };
        let message = format!(
            "chart verification error: failed to verify the signature using provider '{provider}': this version cannot check signatures yet, and accepts nothing unchecked"
        );
        return Plan::Stop(Problem::not(SOURCE_VERIFIED, "ChartVerificationError", message));
    }
    if is_current(this, seen, source, generation) { Plan::Keep } else { Plan::Build(source.clone()) }
}

/// Whether a build could only give what is stored. Tags of a registry move without a trace, so these are always looked at.
fn is_current(this: &HelmChart, seen: &Seen, source: &Source, generation: i64) -> bool {
    let (Some(status), Kept::Intact(_), Some(artifact)) = (&this.status, &seen.artifact, source.artifact()) else { return false };
    let troubled = [FETCH_FAILED, BUILD_FAILED, STORAGE_OPERATION_FAILED].iter().any(|kind| status.conditions.condition(kind).is_some());
    !troubled && status.observed_generation == generation && status.observed_source_artifact_revision == artifact.revision
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::source::{HelmChartStatus, HelmChartVerification, HelmRepositorySpec};
    use api::{Artifact, Condition};

    fn artifact(revision: &str) -> Artifact {
        Artifact { revision: revision.into(), ..Artifact::default() }
    }

    fn files(revision: &str) -> Source {
        Source::Files { is_git: true, artifact: Some(artifact(revision)) }
    }

    fn seen(source: Result<Source, Missing>) -> Seen {
        Seen { collected: 0, artifact: Kept::Intact(artifact("1.0.0")), source }
    }

    fn stored(conditions: Vec<Condition>) -> HelmChart {
        let status = HelmChartStatus {
            observed_generation: 1,
            observed_source_artifact_revision: "main@sha1:aa".into(),
            conditions,
            ..HelmChartStatus::default()
        };
        HelmChart { status: Some(status), ..HelmChart::default() }
    }

    fn planned(this: &HelmChart, source: Source, generation: i64) -> Plan {
        plan(this, &seen(Ok(source)), generation, Duration::from_secs(30))
    }

    #[test]
    fn only_a_change_of_the_object_or_its_source_is_built() {
        let this = stored(vec![]);
        assert_eq!(planned(&this, files("main@sha1:aa"), 1), Plan::Keep);
        assert_eq!(planned(&this, files("main@sha1:bb"), 1), Plan::Build(files("main@sha1:bb")));
        assert_eq!(planned(&this, files("main@sha1:aa"), 2), Plan::Build(files("main@sha1:aa")));
        let troubled = stored(vec![Condition::new(BUILD_FAILED, "True", "DependencyBuildError", "x")]);
        assert_eq!(planned(&troubled, files("main@sha1:aa"), 1), Plan::Build(files("main@sha1:aa")));
    }

    #[test]
    fn a_registry_is_always_asked_and_needs_no_artifact() {
        let registry = Source::Repository(Box::new(HelmRepositorySpec { r#type: "oci".into(), ..HelmRepositorySpec::default() }), None);
        assert_eq!(planned(&stored(vec![]), registry.clone(), 1), Plan::Build(registry));
    }

    #[test]
    fn what_is_missing_stops_waits_or_stalls() {
        let told = |source| match plan(&stored(vec![]), &seen(source), 1, Duration::from_secs(30)) {
            Plan::Stop(problem) => format!("{} {:?}", problem.reason, problem.verdict),
            other => panic!("{other:?}"),
        };
        assert_eq!(told(Err(Missing::Unavailable("gone".into()))), "SourceUnavailable Retry");
        assert_eq!(told(Err(Missing::UnknownKind("odd".into()))), "UnsupportedSourceKind Stall");
        assert_eq!(told(Ok(Source::Files { is_git: true, artifact: None })), "NoSourceArtifact Wait(30s)");
    }

    #[test]
    fn a_chart_that_must_be_verified_is_not_taken_unchecked() {
        let mut this = stored(vec![]);
        this.spec.verify = Some(HelmChartVerification::default());
        let Plan::Stop(problem) = planned(&this, files("main@sha1:aa"), 1) else { panic!("it must stop") };
        assert_eq!(problem.condition, Some((SOURCE_VERIFIED, "False")));
    }
}
