//! Second beat: what to do, from what was seen. Pure.

use super::observe::{Found, Seen};
use crate::kept::Kept;
use crate::problem::Problem;
use api::meta::{ARTIFACT_IN_STORAGE, Conditions, FALSE, SOURCE_VERIFIED};
use api::source::{OCIRepository, OCIRepositoryStatus};

/// What a reconcile will do.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Plan {
    /// Nothing can be done.
    Stop(Problem),
    /// The stored artifact is what the reference is now, made as the spec says.
    Keep(Found),
    Pull(Found),
}

pub(super) fn plan(this: &OCIRepository, seen: &Seen) -> Plan {
    let found = match &seen.found {
        Ok(found) => found.clone(),
        Err(problem) => return Plan::Stop(problem.clone()),
    };
    let status = this.status.clone().unwrap_or_default();
    let stored = matches!(&seen.artifact, Kept::Intact(artifact) if artifact.revision == found.revision);
    if stored && !content_changed(this, &status) && !must_verify(this, &status) { Plan::Keep(found) } else { Plan::Pull(found) }
}

/// Whether anything but the content of the registry calls for another artifact.
pub(super) fn content_changed(this: &OCIRepository, status: &OCIRepositoryStatus) -> bool {
    this.spec.ignore != status.observed_ignore || this.spec.layer_selector != status.observed_layer_selector
}

/// Signatures are checked when the revision or the spec changed, or the last check failed.
fn must_verify(this: &OCIRepository, status: &OCIRepositoryStatus) -> bool {
    let failed = status.conditions.condition(SOURCE_VERIFIED).is_none_or(|c| c.status == FALSE);
    let stored = status.conditions.condition(ARTIFACT_IN_STORAGE).is_some_and(|c| c.is_true());
    this.spec.verify.is_some() && (failed || !stored)
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::Artifact;
    use api::source::OCILayerSelector;

    const HEX: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn found() -> Found {
        Found { reference: "h/a:v1".parse().unwrap(), digest: HEX.parse().unwrap(), revision: format!("v1@{HEX}") }
    }

    fn seen(artifact: Kept) -> Seen {
        Seen { collected: 0, artifact, registry: None, found: Ok(found()), keys: None }
    }

    fn stored(revision: &str) -> Kept {
        Kept::Intact(Artifact { revision: revision.into(), ..Artifact::default() })
    }

    #[test]
    fn the_same_digest_is_kept_and_another_or_another_spec_is_pulled() {
        let this = OCIRepository::default();
        assert_eq!(plan(&this, &seen(stored(&format!("v1@{HEX}")))), Plan::Keep(found()));
        assert_eq!(plan(&this, &seen(stored("v1@sha256:00"))), Plan::Pull(found()));
        assert_eq!(plan(&this, &seen(Kept::Gone)), Plan::Pull(found()));
        let mut changed = OCIRepository::default();
        changed.spec.ignore = Some("/docs".into());
        assert_eq!(plan(&changed, &seen(stored(&format!("v1@{HEX}")))), Plan::Pull(found()));
        let mut changed = OCIRepository::default();
        changed.spec.layer_selector = Some(OCILayerSelector { media_type: "x".into(), operation: "copy".into() });
        assert_eq!(plan(&changed, &seen(stored(&format!("v1@{HEX}")))), Plan::Pull(found()));
    }

    #[test]
    fn what_is_in_the_way_stops_the_plan() {
        let problem = Problem::of("FetchFailed", "AuthenticationFailed", "no");
        let stopped = plan(&OCIRepository::default(), &Seen { found: Err(problem.clone()), ..seen(Kept::Never) });
        assert_eq!(stopped, Plan::Stop(problem));
    }
}
