//! What is to be done, decided from what was seen. Pure.

use crate::{
    observe::{Inputs, Kept, Seen, digest},
    validate::{Invalid, validate},
};
use api::{
    Conditions,
    extensions::{ArtifactGenerator, ArtifactGeneratorStatus},
    meta::{self, READY},
};

/// What a visit does.
#[derive(Debug)]
pub(crate) enum Plan {
    /// Nothing, because the object says so.
    Disabled,
    /// Nothing: only a change of the spec helps.
    Refuse(Invalid),
    /// Nothing until the sources are there.
    Wait(String),
    /// Nothing: everything is as it should be.
    Rest,
    Generate {
        inputs: Inputs,
        why: Drift,
    },
}

/// Why outputs are made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drift {
    NotReady,
    GenerationChanged,
    SourcesChanged,
    OutputsChanged,
    ArtifactMissing,
    ArtifactDamaged,
    ExternalArtifactsChanged,
}

pub(crate) fn is_disabled(this: &ArtifactGenerator) -> bool {
    let value = this.metadata.annotations.as_ref().and_then(|annotations| annotations.get(meta::GENERATOR_RECONCILE));
    value.is_some_and(|value| value.eq_ignore_ascii_case("disabled"))
}

pub(crate) fn plan(this: &ArtifactGenerator, seen: Seen, no_cross_namespace_refs: bool) -> Plan {
    if is_disabled(this) {
        return Plan::Disabled;
    }
    if let Err(invalid) = validate(this, no_cross_namespace_refs) {
        return Plan::Refuse(invalid);
    }
    let drift = |inputs: &Inputs| drift(this, inputs, &seen);
    match seen.inputs {
        Err(ref error) => Plan::Wait(format!("get sources failed: {}", types::chain(error))),
        Ok(ref inputs) => match drift(inputs) {
            Some(why) => Plan::Generate { inputs: inputs.clone(), why },
            None => Plan::Rest,
        },
    }
}

/// Where the state differs from what the last success left; none where it does not.
fn drift(this: &ArtifactGenerator, inputs: &Inputs, seen: &Seen) -> Option<Drift> {
    let fresh = ArtifactGeneratorStatus::default();
    let status = this.status.as_ref().unwrap_or(&fresh);
    // Unknown is what a visit leaves that was cut short.
    let Some(ready) = status.conditions.condition(READY).filter(|ready| ready.is_true()) else { return Some(Drift::NotReady) };
    if this.metadata.generation.unwrap_or_default() != ready.observed_generation {
        return Some(Drift::GenerationChanged);
    }
    if status.observed_sources_digest != digest(inputs) {
        return Some(Drift::SourcesChanged);
    }
    if this.spec.path_pattern.is_empty() && status.inventory.len() != this.spec.artifacts.len() {
        return Some(Drift::OutputsChanged);
    }
    match seen.kept.iter().find(|kept| **kept != Kept::Intact) {
        Some(Kept::Damaged) => return Some(Drift::ArtifactDamaged),
        Some(_) => return Some(Drift::ArtifactMissing),
        None => {}
    }
    let known = |output: &crate::observe::Output| {
        status.inventory.iter().any(|entry| {
            (&entry.namespace, &entry.name, Some(&entry.digest)) == (&output.key.namespace, &output.key.name, output.digest.as_ref())
        })
    };
    let same = seen.outputs.len() == status.inventory.len() && seen.outputs.iter().all(known);
    (!same).then_some(Drift::ExternalArtifactsChanged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{Output, SourceError};
    use api::{
        Artifact, Condition,
        extensions::{ExternalArtifactReference, OutputArtifact},
        meta::{FALSE, TRUE, UNKNOWN},
    };
    use types::NamespacedName;

    fn inputs() -> Inputs {
        Inputs::from([("repo".to_owned(), Artifact { digest: "sha256:1".into(), ..Artifact::default() })])
    }

    fn seen() -> Seen {
        let output = Output {
            key: NamespacedName::new("apps", "one"),
            digest: Some("sha256:a".into()),
            is_ours: true,
            object: serde_json::Value::Null,
        };
        Seen { inputs: Ok(inputs()), kept: vec![Kept::Intact], outputs: vec![output] }
    }

    /// A generator that was reconciled and has one output.
    fn settled() -> (ArtifactGenerator, ArtifactGeneratorStatus) {
        let mut this = ArtifactGenerator::named("apps", "gen");
        this.metadata.generation = Some(2);
        this.spec.artifacts = vec![OutputArtifact { name: "one".into(), ..OutputArtifact::default() }];
        let ready = Condition { observed_generation: 2, ..Condition::new(READY, TRUE, "Succeeded", "") };
        let entry = ExternalArtifactReference {
            digest: "sha256:a".into(),
            filename: "1.tar.gz".into(),
            name: "one".into(),
            namespace: "apps".into(),
        };
        let status = ArtifactGeneratorStatus {
            conditions: vec![ready],
            inventory: vec![entry],
            observed_sources_digest: digest(&inputs()),
            ..ArtifactGeneratorStatus::default()
        };
        (this, status)
    }

    fn why(change: impl Fn(&mut ArtifactGenerator, &mut ArtifactGeneratorStatus, &mut Seen)) -> Option<Drift> {
        let (mut this, mut status) = settled();
        let mut seen = seen();
        change(&mut this, &mut status, &mut seen);
        this.status = Some(status);
        match plan(&this, seen, false) {
            Plan::Generate { why, .. } => Some(why),
            Plan::Rest => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_difference_is_found() {
        assert_eq!(why(|_, _, _| ()), None);
        assert_eq!(why(|_, status, _| status.conditions.clear()), Some(Drift::NotReady));
        assert_eq!(why(|_, status, _| status.conditions[0].status = FALSE.into()), Some(Drift::NotReady));
        assert_eq!(why(|_, status, _| status.conditions[0].status = UNKNOWN.into()), Some(Drift::NotReady));
        assert_eq!(why(|this, _, _| this.metadata.generation = Some(3)), Some(Drift::GenerationChanged));
        assert_eq!(
            why(|_, _, seen| seen.inputs.as_mut().unwrap().get_mut("repo").unwrap().revision = "v2".into()),
            Some(Drift::SourcesChanged)
        );
        assert_eq!(why(|_, status, _| status.inventory.clear()), Some(Drift::OutputsChanged));
        assert_eq!(why(|_, _, seen| seen.kept[0] = Kept::Missing), Some(Drift::ArtifactMissing));
        assert_eq!(why(|_, _, seen| seen.kept[0] = Kept::Damaged), Some(Drift::ArtifactDamaged));
        assert_eq!(why(|_, _, seen| seen.outputs.clear()), Some(Drift::ExternalArtifactsChanged));
        assert_eq!(why(|_, _, seen| seen.outputs[0].digest = None), Some(Drift::ExternalArtifactsChanged));
        assert_eq!(why(|_, _, seen| seen.outputs[0].digest = Some("sha256:b".into())), Some(Drift::ExternalArtifactsChanged));
    }

    #[test]
    fn with_a_path_pattern_the_number_of_outputs_is_not_that_of_the_templates() {
        let pattern = |this: &mut ArtifactGenerator, status: &mut ArtifactGeneratorStatus, seen: &mut Seen| {
            this.spec.path_pattern = "@repo/{app}".into();
            status.inventory.clear();
            seen.kept.clear();
            seen.outputs.clear();
        };
        assert_eq!(why(pattern), None);
    }

    #[test]
    fn disabled_comes_before_everything_else() {
        let (mut this, _) = settled();
        this.metadata.annotations = Some([(meta::GENERATOR_RECONCILE.to_owned(), "Disabled".to_owned())].into());
        this.spec.artifacts.push(this.spec.artifacts[0].clone());
        assert!(matches!(plan(&this, seen(), false), Plan::Disabled));
        this.metadata.annotations = Some([(meta::GENERATOR_RECONCILE.to_owned(), "enabled".to_owned())].into());
        assert!(matches!(plan(&this, seen(), false), Plan::Refuse(Invalid::Output(_))));
    }

    #[test]
    fn sources_that_are_not_there_are_waited_for() {
        let (this, _) = settled();
        let inputs = Err(SourceError::NotFound { kind: "GitRepository".into(), name: "repo".into() });
        let Plan::Wait(message) = plan(&this, Seen { inputs, ..seen() }, false) else { panic!("it waits") };
        assert_eq!(message, r#"get sources failed: GitRepository.source.toolkit.fluxcd.io "repo" not found"#);
    }
}
