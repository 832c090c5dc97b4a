//! The first beat: everything that a visit needs to know.

use crate::{
    build::Built,
    claims, decrypt,
    dependency::{self, NotReady},
    identity,
    reconcile::Reconciler,
    source,
    status::{Attempt, FEATURE_GATE_DISABLED, Failed, HELD, Phase},
    substitute,
};
use api::{Artifact, kustomize::Kustomization, meta};
use apply::Target;
use artifacts::FetchError;
use cluster::Client;
use health::{Expressions, HealthExpression};
use jiff::Timestamp;
use object::{GroupVersionKind, ObjectKey};
use plan::{Entry, Inventory};
use runtime::Event;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};
use types::NamespacedName;

/// Why a visit ends before it has anything to plan.
pub(crate) struct Stopped {
    pub failed: Failed,
    /// When to look again; the retry interval when none is given.
    pub after: Option<Duration>,
    pub event: Option<Event>,
}

impl Stopped {
    fn quiet(failed: Failed, after: Option<Duration>) -> Self {
        Self { failed, after, event: None }
    }

    fn warned(failed: Failed) -> Self {
        let event = Event::error(failed.reason, failed.message.clone());
        Self { failed, after: None, event: Some(event) }
    }
}

/// The artifact that is to be applied.
pub(crate) struct Found {
    pub artifact: Artifact,
    pub expressions: Expressions,
}

/// Reads spec and source, before anything is fetched.
pub(crate) async fn source(reconciler: &Reconciler, this: &Kustomization) -> Result<Found, Stopped> {
    let expressions = expressions(this).map_err(|error| {
        let message = format!("Reconciliation failed terminally due to configuration error: {error}");
        Stopped::warned(Failed::terminal(meta::reason::INVALID_CEL_EXPRESSION, message))
    })?;
    let options = &reconciler.options;
    if let Some(decryption) = &this.spec.decryption
        && !decryption.service_account_name.is_empty()
        && !reconciler.gates.enabled("ObjectLevelWorkloadIdentity")
    {
        let message = "to use spec.decryption.serviceAccountName for decryption authentication please enable the ObjectLevelWorkloadIdentity feature gate in the controller";
        return Err(Stopped::warned(Failed::terminal(FEATURE_GATE_DISABLED, message)));
    }
    let key = source::key_of(this);
    let denied = |message: String| Stopped::warned(Failed::terminal(meta::reason::ACCESS_DENIED, message));
    if options.no_cross_namespace_refs && Some(&key.name.namespace) != this.metadata.namespace.as_ref() {
        return Err(denied(format!("can't access '{}', cross-namespace references have been blocked", key.text())));
    }
    if key.kind == artifacts::EXTERNAL_ARTIFACT && !reconciler.gates.enabled("ExternalArtifact") {
        return Err(denied(format!("can't access '{}', ExternalArtifact feature gate is disabled", key.text())));
    }
    let unavailable = |message: String, after| Stopped::quiet(Failed::new(meta::reason::ARTIFACT_FAILED, None, message), after);
    let source = match reconciler.sources.get(&key).await {
        Ok(Some(source)) => source,
        Ok(None) => return Err(unavailable(format!("{}.source.toolkit.fluxcd.io {:?} not found", key.kind, key.name.name), None)),
        Err(error) => return Err(unavailable(format!("cannot read {}: {}", key.text(), error.chain()), None)),
    };
    match &source.status.artifact {
        Some(artifact) => Ok(Found { artifact: artifact.clone(), expressions }),
        None => {
            let after = options.requeue_dependency;
            let message = format!("Source artifact not found, retrying in {}", types::GoDuration::from(after));
            Err(unavailable(message, Some(after)))
        }
    }
}

/// Looks whether the dependencies let `this` begin.
pub(crate) async fn dependencies(reconciler: &Reconciler, this: &Kustomization, revision: &str) -> Result<(), Stopped> {
    let lookup = dependency::Lookup {
        store: &reconciler.store,
        client: &reconciler.client,
        options: &reconciler.options,
        additive: reconciler.gates.enabled("AdditiveCELDependencyCheck"),
    };
    let after = reconciler.options.requeue_dependency;
    match lookup.check(this, revision).await {
        Ok(()) => Ok(()),
        Err(NotReady::Terminal(message)) => {
            let message = format!("Reconciliation failed terminally due to configuration error: terminal error: {message}");
            Err(Stopped::warned(Failed::terminal(meta::reason::INVALID_CEL_EXPRESSION, message)))
        }
        Err(NotReady::Wait(message)) => {
            let told = format!("Dependencies do not meet ready condition, retrying in {}", types::GoDuration::from(after));
            let event = Event::info(meta::reason::DEPENDENCY_NOT_READY, told);
            let failed = Failed::new(meta::reason::DEPENDENCY_NOT_READY, None, message);
            Err(Stopped { failed, after: Some(after), event: Some(event) })
        }
    }
}

fn expressions(this: &Kustomization) -> Result<Expressions, health::Error> {
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    let list: Vec<HealthExpression> = this
        .spec
        .health_check_exprs
        .iter()
        .map(|one| HealthExpression {
            api_version: one.api_version.clone(),
            kind: one.kind.clone(),
            current: one.current.clone(),
            in_progress: some(&one.in_progress),
            failed: some(&one.failed),
        })
        .collect();
    Expressions::parse(&list)
}

/// Fetches and builds. The attempt counts from here on: it has a phase.
pub(crate) async fn build(reconciler: &Reconciler, this: &Kustomization, artifact: &Artifact) -> Result<Arc<Built>, Stopped> {
    let fetching = |message: String| Failed::new(meta::reason::ARTIFACT_FAILED, Some(Phase::Fetching), message);
    let tree = match reconciler.trees.get(artifact).await {
        Ok(tree) => tree,
        Err(FetchError::NotFound) => {
            return Err(Stopped::quiet(fetching("file not found".to_owned()), Some(reconciler.options.requeue_dependency)));
        }
        Err(FetchError::Failed(message)) => return Err(Stopped::warned(fetching(message))),
    };
    let path = crate::build::inside(&this.spec.path);
    if tree::Tree::kind(&*tree, &path).is_none() {
        let message = format!("kustomization path not found: stat /{path}: no such file or directory");
        return Err(Stopped::warned(fetching(message)));
    }
    let building = |message: String| Stopped::warned(Failed::new(meta::reason::BUILD_FAILED, Some(Phase::Building), message));
    decrypt::check_keys(this, &reconciler.client).await.map_err(&building)?;
    let strict = reconciler.gates.enabled("StrictPostBuildSubstitutions");
    let variables = substitute::load(this, &reconciler.client, strict).await.map_err(&building)?;
    let built = reconciler.builds.get(this, &artifact.digest, &tree, variables).await.map_err(&building)?;
    if reconciler.options.guard_rails == crate::GuardRails::Enforce
        && let Some(key) = built.encrypted.first()
    {
        let message = format!("{key} is SOPS encrypted, configuring decryption is required for this object to be applied");
        return Err(Stopped::warned(Failed::new(HELD, Some(Phase::Building), message)));
    }
    Ok(built)
}

/// Where objects are applied, and as whom.
pub(crate) struct Access {
    pub target: Arc<Target>,
    pub client: Client,
}

pub(crate) async fn access(reconciler: &Reconciler, this: &Kustomization) -> Result<Access, Stopped> {
    let failed = |message: String| {
        let event = Event::error(meta::reason::RECONCILIATION_FAILED, format!("failed to build kube client: {message}"));
        let failed = Failed::new(meta::reason::RECONCILIATION_FAILED, Some(Phase::Building), message);
        Stopped { failed, after: None, event: Some(event) }
    };
    let target = identity::target(&reconciler.targets, this, &reconciler.options).await.map_err(failed)?;
    let (identity, _) = identity::identity(this, &reconciler.options);
    let client = target.client.as_identity(&identity).map_err(|error| failed(error.chain()))?;
    Ok(Access { target, client })
}

/// Begins to watch every kind that is wanted or was applied. A kind that cannot be watched is read object by object.
///
/// Whoever asks for a visit has often just changed something: then the objects of `fresh` are read, since the watch may lag behind.
pub(crate) async fn watch(target: &Target, built: &Built, inventory: &Inventory, fresh: Option<&NamespacedName>) {
    let wanted = built.desired.iter().map(|one| one.object.gvk());
    let kinds: HashSet<GroupVersionKind> = wanted.chain(inventory.entries().iter().map(Entry::gvk)).collect();
    let begin = kinds.iter().map(|gvk| async move {
        let Ok(resource) = target.discovery.resolve(gvk).await else { return };
        if let Err(error) = target.owned.ensure(&resource).await {
            tracing::warn!(%resource, %error, "applied objects of this kind are not watched");
        } else if let Some(owner) = fresh
            && let Err(error) = target.owned.refresh(&resource, owner).await
        {
            tracing::info!(%resource, error = %error.chain(), "cannot read applied objects; the watch has to do");
        }
    });
    futures::future::join_all(begin).await;
}

/// Who else wants what `this` no longer does.
pub(crate) async fn claimed(
    reconciler: &Reconciler,
    this: &Kustomization,
    artifact: &Artifact,
    built: &Built,
    inventory: &Inventory,
) -> HashMap<ObjectKey, NamespacedName> {
    let wanted = built.keys();
    let stale = inventory.filtered(|entry| !wanted.contains(&entry.key));
    if stale.is_empty() || !this.spec.prune || reconciler.options.guard_rails == crate::GuardRails::Off {
        return HashMap::new();
    }
    let mut fresh: HashMap<NamespacedName, HashSet<ObjectKey>> = HashMap::new();
    for peer in claims::behind(this, &artifact.revision, &reconciler.store, &reconciler.wants) {
        // A peer that does not build says nothing about what it wants now; what it wanted before still counts.
        if let Ok(built) = Box::pin(build(reconciler, &peer, artifact)).await {
            fresh.insert(crate::spec::key(&peer), built.keys());
        }
    }
    claims::claimants(this, &stale, &reconciler.store, &reconciler.wants, &fresh)
}

pub(crate) fn attempt(artifact: &Artifact, started: Timestamp) -> Attempt {
    Attempt {
        started,
        revision: artifact.revision.clone(),
        origin_revision: artifact.metadata.get(meta::OCI_REVISION).cloned().unwrap_or_default(),
        digest: String::new(),
    }
}
