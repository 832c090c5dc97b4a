//! Names that Flux gives to labels, annotations, finalizers, condition types and reasons.

/// Any new value asks for a reconciliation; echoed in `status.lastHandledReconcileAt`.
pub const RECONCILE_REQUEST: &str = "reconcile.fluxcd.io/requestedAt";
/// Equal to the request: asks a HelmRelease for an install or upgrade even without a change.
pub const FORCE_REQUEST: &str = "reconcile.fluxcd.io/forceAt";
/// Equal to the request: asks a HelmRelease to forget its failures.
pub const RESET_REQUEST: &str = "reconcile.fluxcd.io/resetAt";
/// `Enabled` on a ConfigMap or Secret: a change of it starts the reconciliation of objects that use it.
pub const WATCH_LABEL: &str = "reconcile.fluxcd.io/watch";
/// Prefix of annotations that are copied into events.
pub const EVENT_ANNOTATION_PREFIX: &str = "event.toolkit.fluxcd.io/";

/// Labels that name the Kustomization that applied an object.
pub const KUSTOMIZE_NAME_LABEL: &str = "kustomize.toolkit.fluxcd.io/name";
pub const KUSTOMIZE_NAMESPACE_LABEL: &str = "kustomize.toolkit.fluxcd.io/namespace";
pub const KUSTOMIZE_PRUNE: &str = "kustomize.toolkit.fluxcd.io/prune";
pub const KUSTOMIZE_RECONCILE: &str = "kustomize.toolkit.fluxcd.io/reconcile";
pub const KUSTOMIZE_SSA: &str = "kustomize.toolkit.fluxcd.io/ssa";
pub const KUSTOMIZE_FORCE: &str = "kustomize.toolkit.fluxcd.io/force";
pub const KUSTOMIZE_SUBSTITUTE: &str = "kustomize.toolkit.fluxcd.io/substitute";
pub const KUSTOMIZE_DECRYPT: &str = "kustomize.toolkit.fluxcd.io/decrypt";
/// Labels that name the HelmRelease that made an object.
pub const HELM_NAME_LABEL: &str = "helm.toolkit.fluxcd.io/name";
pub const HELM_NAMESPACE_LABEL: &str = "helm.toolkit.fluxcd.io/namespace";
pub const HELM_DRIFT_DETECTION: &str = "helm.toolkit.fluxcd.io/driftDetection";
pub const GENERATOR_LABEL: &str = "source.extensions.fluxcd.io/generator";
pub const GENERATOR_RECONCILE: &str = "source.extensions.fluxcd.io/reconcile";

/// The finalizer of sources, Kustomizations and HelmReleases.
pub const FINALIZER: &str = "finalizers.fluxcd.io";
pub const GENERATOR_FINALIZER: &str = "source.extensions.fluxcd.io/finalizer";

// Keys of `status.artifact.metadata`, as OCI annotations name them.
pub const OCI_SOURCE: &str = "org.opencontainers.image.source";
pub const OCI_REVISION: &str = "org.opencontainers.image.revision";
pub const OCI_CREATED: &str = "org.opencontainers.image.created";

// Condition types.
pub const READY: &str = "Ready";
pub const RECONCILING: &str = "Reconciling";
pub const STALLED: &str = "Stalled";
pub const HEALTHY: &str = "Healthy";
pub const ARTIFACT_IN_STORAGE: &str = "ArtifactInStorage";
pub const ARTIFACT_OUTDATED: &str = "ArtifactOutdated";
pub const FETCH_FAILED: &str = "FetchFailed";
pub const BUILD_FAILED: &str = "BuildFailed";
pub const STORAGE_OPERATION_FAILED: &str = "StorageOperationFailed";
pub const INCLUDE_UNAVAILABLE: &str = "IncludeUnavailable";
pub const SOURCE_VERIFIED: &str = "SourceVerified";
pub const RELEASED: &str = "Released";
pub const TEST_SUCCESS: &str = "TestSuccess";
pub const REMEDIATED: &str = "Remediated";
pub const DRIFTED: &str = "Drifted";

/// Reasons that several kinds share; those of one kind stand with the controller that sets them.
pub mod reason {
    pub const SUCCEEDED: &str = "Succeeded";
    pub const FAILED: &str = "Failed";
    pub const PROGRESSING: &str = "Progressing";
    pub const PROGRESSING_WITH_RETRY: &str = "ProgressingWithRetry";
    pub const SUSPENDED: &str = "Suspended";
    pub const RECONCILIATION_SUCCEEDED: &str = "ReconciliationSucceeded";
    pub const RECONCILIATION_FAILED: &str = "ReconciliationFailed";
    pub const ARTIFACT_FAILED: &str = "ArtifactFailed";
    pub const BUILD_FAILED: &str = "BuildFailed";
    pub const PRUNE_FAILED: &str = "PruneFailed";
    pub const DEPENDENCY_NOT_READY: &str = "DependencyNotReady";
    pub const HEALTH_CHECK_FAILED: &str = "HealthCheckFailed";
    pub const HEALTH_CHECK_CANCELED: &str = "HealthCheckCanceled";
    pub const INVALID_CEL_EXPRESSION: &str = "InvalidCELExpression";
    pub const ACCESS_DENIED: &str = "AccessDenied";
    pub const INVALID_PATH: &str = "InvalidPath";
}
