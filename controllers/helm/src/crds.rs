//! The custom resource definitions in a chart's crds folder.

use crate::{
    objects::{self, Reference},
    operation::{Stop, Work},
    spec::{self, CrdPolicy},
    wait::{self, Rules},
};
use api::meta;
use health::Expressions;
use types::GoDuration;

/// How long definitions may take until they are served; Flux's limit.
const ESTABLISHED_WITHIN: GoDuration = GoDuration::from_secs(60);

/// Applies definitions as the policy says, and waits until they are served. Returns whether any was sent.
pub(crate) async fn apply(work: &mut Work<'_>, crds: &[(String, String)]) -> Result<bool, Stop> {
    let job = work.job;
    let policy = spec::crd_policy(&job.this, job.operation);
    if policy == CrdPolicy::Skip {
        return Ok(false);
    }
    let failed = |why: &dyn std::fmt::Display| Stop::Failed(format!("failed to apply CustomResourceDefinitions: {why}"));
    let owner = spec::key(&job.this);
    let common = job.this.spec.common_metadata.clone().unwrap_or_default();
    let mut objects = Vec::new();
    for (path, text) in crds {
        for mut object in objects::parse(text).map_err(|error| failed(&error))? {
            if object.kind() != "CustomResourceDefinition" {
                tracing::warn!(%path, kind = object.kind(), "an object in the crds folder was passed over: it is no CustomResourceDefinition");
                continue;
            }
            common.labels.iter().for_each(|(key, value)| object.set_label(key, value));
            common.annotations.iter().for_each(|(key, value)| object.set_annotation(key, value));
            object.set_label(meta::HELM_NAME_LABEL, &owner.name);
            object.set_label(meta::HELM_NAMESPACE_LABEL, &owner.namespace);
            object.as_map_mut().remove("status");
            objects.push(object);
        }
    }
    let items = objects::resolve(&job.access.target, objects, "", None).await.map_err(|error| failed(&error))?;
    job.access.watch(&items).await;
    let mut sent: Vec<Reference> = Vec::new();
    for item in items {
        // Create updates what exists too: in Helm 4 a creation is a server-side apply. As recorded: hr-crds-create.
        job.access.apply(&item).await.map_err(|error| failed(&error))?;
        sent.push(item.reference());
    }
    if sent.is_empty() {
        return Ok(false);
    }
    let expressions = Expressions::default();
    let rules = Rules { expressions: &expressions, fail_fast: true, hooks: false, legacy: false, jobs_begun: false };
    let waited = wait::until_ready(&job.access, &sent, rules, ESTABLISHED_WITHIN, &job.clock, &mut work.turn).await;
    waited.map_err(|error| match error {
        wait::WaitError::Failed(why) => failed(&why),
        wait::WaitError::Cancelled => Stop::Cancelled,
    })?;
    for item in &sent {
        job.access.target.discovery.forget(item.key.name.split_once('.').map_or("", |(_, group)| group));
    }
    Ok(true)
}
