//! The third beat: fetch, build, store, apply, and clear away what is left over.

use crate::{
    NAME,
    build::Builder,
    finalize,
    observe::{Inputs, Output, path},
    outputs::{self, Desired},
    reconcile::Reconciler,
};
use api::{
    Artifact, Conditions,
    extensions::{ArtifactGenerator, ExternalArtifactReference, OutputArtifact},
    meta::{self, READY, Time, reason},
};
use compose::{Operation, Sources, Strategy};
use runtime::Context;
use std::{collections::BTreeMap, time::SystemTime};
use types::{NamespacedName, chain};

pub(crate) const SOURCE_FETCH_FAILED: &str = "SourceFetchFailed";

/// What a visit made, and what stopped it.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// In the order of the spec.
    pub(crate) made: Vec<Made>,
    pub(crate) failure: Option<Failure>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Made {
    pub(crate) entry: ExternalArtifactReference,
    pub(crate) revision: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) verdict: Verdict,
}

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Try again with back-off.
    Retry,
    /// Something else has to come first.
    Wait,
    /// Only a change helps.
    Stall,
}

impl Failure {
    fn retry(reason: &'static str, message: String) -> Self {
        Self { reason, message, verdict: Verdict::Retry }
    }
}

pub(crate) async fn act(reconciler: &Reconciler, this: &ArtifactGenerator, inputs: &Inputs, before: &[Output], context: &Context) -> Done {
    let mut done = Done::default();
    done.failure = run(reconciler, this, inputs, before, context, &mut done.made).await.err();
    done
}

async fn run(
    reconciler: &Reconciler,
    this: &ArtifactGenerator,
    inputs: &Inputs,
    before: &[Output],
    context: &Context,
    made: &mut Vec<Made>,
) -> Result<(), Failure> {
    let sources = fetch(reconciler, inputs).await?;
    let wanted = wanted(this, &sources, reconciler.options.limits)?;
    let builder = Builder {
        store: reconciler.store.clone(),
        sources,
        algorithm: reconciler.options.storage.digest_algorithm,
        limits: reconciler.options.limits,
        now: Time(context.now()),
    };
    let namespace = &context.key().namespace;
    // After a change of the spec labels may have to go that nobody wants any more: the server knows which.
    let observed = this.status.as_ref().and_then(|status| status.conditions.condition(READY)).map(|ready| ready.observed_generation);
    let is_changed = observed != Some(context.meta().generation);
    for output in wanted {
        if context.is_cancelled() {
            return Err(Failure::retry(reason::RECONCILIATION_FAILED, "the reconciliation was interrupted".to_owned()));
        }
        let key = NamespacedName::new(namespace, &output.name);
        let (labels, spec) = (output.labels.clone(), this.spec.artifacts.get(output.template));
        let built = builder.build(key.clone(), output).await;
        let mut artifact =
            built.map_err(|error| Failure::retry(reason::BUILD_FAILED, format!("{} build failed: {}", key.name, chain(&error))))?;
        if let Some(spec) = spec {
            set_revisions(&mut artifact, spec, inputs);
        }
        let desired = Desired {
            labels: labels_of(this, labels, &context.meta().uid),
            annotations: this.spec.common_metadata.as_ref().map(|common| common.annotations.clone()).unwrap_or_default(),
            generator: context.key(),
            artifact: &artifact,
            key: &key,
        };
        let live = before.iter().find(|output| output.key == key).map(|output| &output.object);
        outputs::apply(reconciler, &desired, live, is_changed)
            .await
            .map_err(|error| Failure::retry(reason::RECONCILIATION_FAILED, format!("{} reconcile failed: {}", key.name, chain(&error))))?;
        made.push(Made {
            entry: ExternalArtifactReference {
                digest: artifact.digest,
                filename: artifact.path.rsplit('/').next().unwrap_or_default().to_owned(),
                name: key.name,
                namespace: key.namespace,
            },
            revision: artifact.revision,
        });
    }
    for key in left_over(this, before, made) {
        finalize::remove(reconciler, &key, &context.meta().uid).await.map_err(|error| {
            let message = format!("failed to delete ExternalArtifact/{key}: {}", chain(&error));
            Failure::retry(reason::RECONCILIATION_FAILED, message)
        })?;
    }
    collect(reconciler, made).await;
    Ok(())
}

async fn fetch(reconciler: &Reconciler, inputs: &Inputs) -> Result<Sources, Failure> {
    let mut sources = Sources::new();
    for (alias, artifact) in inputs {
        let tree = reconciler.trees.get(artifact).await.map_err(|error| Failure {
            reason: SOURCE_FETCH_FAILED,
            message: format!("fetch sources failed: {}", chain(&error)),
            verdict: Verdict::Wait,
        })?;
        sources.insert(alias.clone(), tree);
    }
    Ok(sources)
}

/// The outputs of the spec, or those that its path pattern makes of them.
fn wanted(this: &ArtifactGenerator, sources: &Sources, limits: compose::Limits) -> Result<Vec<compose::Output>, Failure> {
    let templates: Vec<compose::Output> = this.spec.artifacts.iter().enumerate().map(|(at, output)| template(at, output)).collect();
    if this.spec.path_pattern.is_empty() {
        return Ok(templates);
    }
    compose::expand(&this.spec.path_pattern, &templates, sources, limits).map_err(|error| Failure {
        reason: reason::BUILD_FAILED,
        message: format!("failed to expand path pattern: {error}"),
        verdict: Verdict::Stall,
    })
}

fn template(at: usize, output: &OutputArtifact) -> compose::Output {
    let operations = output.copy.iter().map(|copy| Operation {
        from: copy.from.clone(),
        to: copy.to.clone(),
        exclude: copy.exclude.clone(),
        strategy: match copy.strategy.as_str() {
            "Merge" => Strategy::Merge,
            "Extract" => Strategy::Extract,
            _ => Strategy::Overwrite,
        },
    });
    compose::Output { name: output.name.clone(), operations: operations.collect(), template: at, ..compose::Output::default() }
}

/// Common labels, over them what a path pattern captured, over them our own.
fn labels_of(this: &ArtifactGenerator, captured: BTreeMap<String, String>, uid: &str) -> BTreeMap<String, String> {
    let mut labels = this.spec.common_metadata.as_ref().map(|common| common.labels.clone()).unwrap_or_default();
    labels.extend(captured);
    labels.insert("app.kubernetes.io/managed-by".to_owned(), NAME.to_owned());
    labels.insert(meta::GENERATOR_LABEL.to_owned(), uid.to_owned());
    labels
}

/// The revision of a source in the place of the content's digest, and where the content came from.
fn set_revisions(artifact: &mut Artifact, spec: &OutputArtifact, inputs: &Inputs) {
    let named = |reference: &str| inputs.get(reference.trim_start_matches('@'));
    if let Some(source) = named(&spec.revision) {
        artifact.revision = source.revision.clone();
    }
    if let Some(source) = named(&spec.origin_revision) {
        let origin = source.metadata.get(meta::OCI_REVISION).unwrap_or(&source.revision);
        artifact.metadata.insert(meta::OCI_REVISION.to_owned(), origin.clone());
    }
}

/// What was made before and is not wanted any more: entries of the inventory, and what a visit left that was cut short.
fn left_over(this: &ArtifactGenerator, before: &[Output], made: &[Made]) -> Vec<NamespacedName> {
    let inventory = this.status.iter().flat_map(|status| &status.inventory).map(|entry| NamespacedName::new(&entry.namespace, &entry.name));
    let labelled = before.iter().filter(|output| output.is_ours).map(|output| output.key.clone());
    let mut keys: Vec<NamespacedName> = inventory.chain(labelled).collect();
    keys.sort();
    keys.dedup();
    keys.retain(|key| !made.iter().any(|made| made.entry.namespace == key.namespace && made.entry.name == key.name));
    keys
}

/// Removes old files of every output; what cannot be removed goes the next time.
async fn collect(reconciler: &Reconciler, made: &[Made]) {
    let store = reconciler.store.clone();
    let paths: Vec<String> =
        made.iter().map(|made| path(&NamespacedName::new(&made.entry.namespace, &made.entry.name), &made.entry.filename)).collect();
    let work = move || {
        for path in paths {
            if let Err(error) = store.collect(&path, SystemTime::now()) {
                tracing::warn!(error = chain(&error), path, "old artifacts were not removed");
            }
        }
    };
    let _ = tokio::task::spawn_blocking(work).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::extensions::ArtifactGeneratorStatus;
    use api::meta::CommonMetadata;

    #[test]
    fn labels_of_the_controller_win_over_captures_and_those_over_common_ones() {
        let mut this = ArtifactGenerator::named("apps", "gen");
        let labels = ["app", "team", meta::GENERATOR_LABEL].map(|key| (key.to_owned(), "common".to_owned()));
        this.spec.common_metadata = Some(CommonMetadata { labels: labels.into(), ..CommonMetadata::default() });
        let labels = labels_of(&this, [("app".to_owned(), "web".to_owned())].into(), "uid-1");
        let seen: Vec<_> = labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(
            seen,
            [("app", "web"), ("app.kubernetes.io/managed-by", "source-watcher"), (meta::GENERATOR_LABEL, "uid-1"), ("team", "common")]
        );
    }

    #[test]
    fn revisions_come_from_the_sources_that_are_named() {
        let source = |revision: &str, origin: Option<&str>| Artifact {
            revision: revision.into(),
            metadata: origin.map(|origin| (meta::OCI_REVISION.to_owned(), origin.to_owned())).into_iter().collect(),
            ..Artifact::default()
        };
        let inputs =
            Inputs::from([("git".to_owned(), source("main@sha1:1", None)), ("oci".to_owned(), source("v1@sha256:2", Some("main@sha1:9")))]);
        let made = |revision: &str, origin: &str| {
            let mut artifact = Artifact { revision: "latest@sha256:0".into(), ..Artifact::default() };
            let spec = OutputArtifact { revision: revision.into(), origin_revision: origin.into(), ..OutputArtifact::default() };
            set_revisions(&mut artifact, &spec, &inputs);
            (artifact.revision, artifact.metadata.get(meta::OCI_REVISION).cloned().unwrap_or_default())
        };
        assert_eq!(made("", ""), ("latest@sha256:0".into(), String::new()));
        assert_eq!(made("@git", "@oci"), ("main@sha1:1".into(), "main@sha1:9".into()));
        assert_eq!(made("@oci", "@git"), ("v1@sha256:2".into(), "main@sha1:1".into()));
    }

    #[test]
    fn only_what_is_ours_is_left_over() {
        let mut this = ArtifactGenerator::named("apps", "gen");
        let entry =
            |name: &str| ExternalArtifactReference { name: name.into(), namespace: "apps".into(), ..ExternalArtifactReference::default() };
        this.status = Some(ArtifactGeneratorStatus { inventory: vec![entry("one"), entry("two")], ..ArtifactGeneratorStatus::default() });
        let output =
            |name: &str, is_ours| Output { key: NamespacedName::new("apps", name), digest: None, is_ours, object: serde_json::Value::Null };
        let before = [output("one", true), output("interrupted", true), output("foreign", false)];
        let made = [Made { entry: entry("one"), revision: String::new() }];
        let names: Vec<_> = left_over(&this, &before, &made).into_iter().map(|key| key.name).collect();
        assert_eq!(names, ["interrupted", "two"]);
    }
}
