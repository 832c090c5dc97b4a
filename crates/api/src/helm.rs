//! `helm.toolkit.fluxcd.io`: Helm releases.

use crate::{
    crd::{AGE, READY, STATUS},
    kustomize::{IgnoreRule, Image, Patch},
    meta::{
        CommonMetadata, Condition, CustomHealthCheck, DependencyReference, KubeConfigReference, LocalObjectReference, ResourceInventory,
        Time,
    },
    schema::{INTERVAL, record, resource},
};
use serde_json::Value;
use std::collections::BTreeMap;
use types::GoDuration;

resource! {
    /// Keeps a Helm release in the declared state.
    pub struct HelmRelease(HelmReleaseSpec, HelmReleaseStatus);
    group: "helm.toolkit.fluxcd.io", version: "v2", plural: "helmreleases",
    short_names: ["hr"], categories: ["all", "fluxcd", "fluxcd-appliers"],
    substitute: true, status_default: {"observedGeneration": -1},
    columns: [AGE, READY, STATUS],
}

record! {
    /// The object that holds the chart, possibly in another namespace.
    pub struct CrossNamespaceObjectReference {
        /// Kind of the object.
        pub kind: String => {"enum": ["HelmRepository", "GitRepository", "Bucket"]},
        /// Name of the object.
        pub name: String => {"maxLength": 253, "minLength": 1},
    }
    optional {
        /// Group and version of the object.
        pub api_version: String,
        /// Namespace of the object; this one's when empty.
        pub namespace: String => {"maxLength": 63, "minLength": 1},
    }
}

record! {
    /// How the signature of the chart is checked.
    pub struct HelmChartTemplateVerification {
        /// Which kind of service or engine this is.
        pub provider: String => {"default": "cosign", "enum": ["cosign", "notation"]},
    }
    optional {
        /// Secret with the credentials.
        pub secret_ref: Option<LocalObjectReference>,
    }
}

record! {
    /// What the HelmChart made for this release says.
    pub struct HelmChartTemplateSpec {
        /// Name or path of the chart.
        pub chart: String => {"maxLength": 2048, "minLength": 1},
        /// Where it comes from.
        pub source_ref: CrossNamespaceObjectReference,
    }
    optional {
        /// Passes over values files that are not there.
        pub ignore_missing_values_files: bool,
        /// How often to look for changes; the release's when empty.
        pub interval: Option<GoDuration> => {"pattern": INTERVAL},
        /// What makes a new artifact: a new chart version or a new source revision.
        pub reconcile_strategy: String => {"default": "ChartVersion", "enum": ["ChartVersion", "Revision"]},
        /// Values files of the chart, merged in this order.
        pub values_files: Vec<String>,
        /// Checks signatures before anything is used.
        pub verify: Option<HelmChartTemplateVerification>,
        /// Version or range of versions.
        pub version: String => {"default": "*"},
    }
}

record! {
    /// The HelmChart to make for this release.
    pub struct HelmChartTemplate {
        /// What the chart says.
        pub spec: HelmChartTemplateSpec,
    }
    optional {
        /// Labels and annotations for it.
        pub metadata: Option<CommonMetadata>,
    }
}

record! {
    /// The source that this object builds on, possibly in another namespace.
    pub struct CrossNamespaceSourceReference {
        /// Kind of the object.
        pub kind: String => {"enum": ["OCIRepository", "HelmChart", "ExternalArtifact"]},
        /// Name of the object.
        pub name: String => {"maxLength": 253, "minLength": 1},
    }
    optional {
        /// Group and version of the object.
        pub api_version: String,
        /// Namespace of the object; this one's when empty.
        pub namespace: String => {"maxLength": 63, "minLength": 1},
    }
}

record! {
    /// Whether changes made in the cluster are looked for and undone.
    pub struct DriftDetection {
    }
    optional {
        /// Fields to leave alone.
        pub ignore: Vec<IgnoreRule>,
        /// What is checked or done.
        pub mode: String => {"enum": ["enabled", "warn", "disabled"]},
    }
}

record! {
    /// What to do after a failed install.
    pub struct InstallRemediation {
    }
    optional {
        /// Failed tests count as success.
        pub ignore_test_failures: Option<bool>,
        /// Remedies the last failure too.
        pub remediate_last_failure: Option<bool>,
        /// How often to try again; negative is for ever.
        pub retries: i64,
    }
}

record! {
    /// How a failed install is tried again.
    pub struct InstallStrategy {
        /// Whether the release is remediated or the action is retried.
        pub name: String => {"enum": ["RemediateOnFailure", "RetryOnFailure"]},
    }
    optional {
        /// How long to wait after a failure.
        pub retry_interval: Option<GoDuration> => {"pattern": INTERVAL},
    }
    rules {
        "!has(self.retryInterval) || self.name != 'RemediateOnFailure'" => ".retryInterval cannot be set when .name is 'RemediateOnFailure'",
    }
}

record! {
    /// How the first release is made.
    pub struct Install {
    }
    optional {
        /// What happens to the chart's CRDs.
        pub crds: String => {"enum": ["Skip", "Create", "CreateReplace"]},
        /// Makes the target namespace when it is missing.
        pub create_namespace: bool,
        /// Leaves hooks out.
        pub disable_hooks: bool,
        /// Does not check manifests against the API's schema.
        pub disable_open_api_validation: bool as "disableOpenAPIValidation",
        /// Does not check values against the chart's schema.
        pub disable_schema_validation: bool,
        /// Does not take over objects of others.
        pub disable_take_ownership: bool,
        /// Does not wait for objects.
        pub disable_wait: bool,
        /// Does not wait for Jobs.
        pub disable_wait_for_jobs: bool,
        /// What to do after a failure.
        pub remediation: Option<InstallRemediation>,
        /// Uses the name of a deleted release again.
        pub replace: bool,
        /// Whether objects are applied on the server.
        pub server_side_apply: Option<bool>,
        /// Leaves CRDs out.
        pub skip_crds: bool as "skipCRDs",
        /// How it is done.
        pub strategy: Option<InstallStrategy>,
        /// How long one attempt may take.
        pub timeout: Option<GoDuration> => {"pattern": INTERVAL},
    }
}

record! {
    /// Patches and images laid over the rendered manifests.
    pub struct KustomizePostRenderer {
    }
    optional {
        /// New names, tags or digests for images.
        pub images: Vec<Image>,
        /// Patches to lay over the build.
        pub patches: Vec<Patch>,
    }
}

record! {
    /// A change to the rendered manifests.
    pub struct PostRenderer {
    }
    optional {
        /// Patches and images by kustomize.
        pub kustomize: Option<KustomizePostRenderer>,
    }
}

record! {
    /// How to go back to an earlier release.
    pub struct Rollback {
    }
    optional {
        /// Deletes what a failed attempt made.
        pub cleanup_on_fail: bool,
        /// Leaves hooks out.
        pub disable_hooks: bool,
        /// Does not wait for objects.
        pub disable_wait: bool,
        /// Does not wait for Jobs.
        pub disable_wait_for_jobs: bool,
        /// Replaces objects that cannot be changed.
        pub force: bool,
        /// Restarts pods.
        pub recreate: bool,
        /// Whether objects are applied on the server.
        pub server_side_apply: Option<String> => {"enum": ["enabled", "disabled", "auto"]},
        /// How long one attempt may take.
        pub timeout: Option<GoDuration> => {"pattern": INTERVAL},
    }
}

record! {
    /// A test to run or leave out.
    pub struct Filter {
        /// Name of the test.
        pub name: String => {"maxLength": 253, "minLength": 1},
    }
    optional {
        /// What to leave out.
        pub exclude: bool,
    }
}

record! {
    /// Whether and how the chart's tests run.
    pub struct Test {
    }
    optional {
        /// Runs the tests.
        pub enable: bool,
        /// Tests to run or leave out.
        pub filters: Vec<Filter>,
        /// Goes on after failed tests.
        pub ignore_failures: bool,
        /// How long one attempt may take.
        pub timeout: Option<GoDuration> => {"pattern": INTERVAL},
    }
}

record! {
    /// How the release is taken away.
    pub struct Uninstall {
    }
    optional {
        /// How objects of objects are deleted.
        pub deletion_propagation: Option<String> => {"default": "background", "enum": ["background", "foreground", "orphan"]},
        /// Leaves hooks out.
        pub disable_hooks: bool,
        /// Does not wait for objects.
        pub disable_wait: bool,
        /// Keeps the release records.
        pub keep_history: bool,
        /// How long one attempt may take.
        pub timeout: Option<GoDuration> => {"pattern": INTERVAL},
    }
}

record! {
    /// What to do after a failed upgrade.
    pub struct UpgradeRemediation {
    }
    optional {
        /// Failed tests count as success.
        pub ignore_test_failures: Option<bool>,
        /// Remedies the last failure too.
        pub remediate_last_failure: Option<bool>,
        /// How often to try again; negative is for ever.
        pub retries: i64,
        /// Whether a failed upgrade is rolled back or uninstalled.
        pub strategy: Option<String> => {"enum": ["rollback", "uninstall"]},
    }
}

record! {
    /// How a failed upgrade is tried again.
    pub struct UpgradeStrategy {
        /// Whether the release is remediated or the action is retried.
        pub name: String => {"enum": ["RemediateOnFailure", "RetryOnFailure"]},
    }
    optional {
        /// How long to wait after a failure.
        pub retry_interval: Option<GoDuration> => {"pattern": INTERVAL},
    }
    rules {
        "!has(self.retryInterval) || self.name == 'RetryOnFailure'" => ".retryInterval can only be set when .name is 'RetryOnFailure'",
    }
}

record! {
    /// How the next release is made.
    pub struct Upgrade {
    }
    optional {
        /// What to do when the chart's name changes.
        pub chart_name_change_strategy: String => {"enum": ["InPlaceUpdate", "Reinstall"]},
        /// Deletes what a failed attempt made.
        pub cleanup_on_fail: bool,
        /// What happens to the chart's CRDs.
        pub crds: String => {"enum": ["Skip", "Create", "CreateReplace"]},
        /// Leaves hooks out.
        pub disable_hooks: bool,
        /// Does not check manifests against the API's schema.
        pub disable_open_api_validation: bool as "disableOpenAPIValidation",
        /// Does not check values against the chart's schema.
        pub disable_schema_validation: bool,
        /// Does not take over objects of others.
        pub disable_take_ownership: bool,
        /// Does not wait for objects.
        pub disable_wait: bool,
        /// Does not wait for Jobs.
        pub disable_wait_for_jobs: bool,
        /// Replaces objects that cannot be changed.
        pub force: bool,
        /// Keeps the values of the last release.
        pub preserve_values: bool,
        /// What to do after a failure.
        pub remediation: Option<UpgradeRemediation>,
        /// Whether objects are applied on the server.
        pub server_side_apply: String => {"enum": ["enabled", "disabled", "auto"]},
        /// How it is done.
        pub strategy: Option<UpgradeStrategy>,
        /// How long one attempt may take.
        pub timeout: Option<GoDuration> => {"pattern": INTERVAL},
    }
}

record! {
    /// Values from a ConfigMap or Secret.
    pub struct ValuesReference {
        /// Kind of the object.
        pub kind: String => {"enum": ["Secret", "ConfigMap"]},
        /// Name of the ConfigMap or Secret.
        pub name: String => {"maxLength": 253, "minLength": 1},
    }
    optional {
        /// Takes the value as text, without parsing it.
        pub literal: bool,
        /// Whether it may be missing.
        pub optional: bool,
        /// Where in the values the entry goes.
        pub target_path: String => {"maxLength": 250, "pattern": r"^([a-zA-Z0-9_\-.\\\/]|\[[0-9]{1,5}\])+$"},
        /// Key of the entry; values.yaml when empty.
        pub values_key: String => {"maxLength": 253, "pattern": r"^[\-._a-zA-Z0-9]+$"},
    }
}

record! {
    /// How the release waits for its objects.
    pub struct WaitStrategy {
        /// poller, which watches the health of each object, or legacy, which waits as Helm 3 did.
        pub name: String => {"enum": ["poller", "legacy"]},
    }
}

record! {
    /// Which chart to release with which values, and how.
    pub struct HelmReleaseSpec {
        /// How often to look for changes.
        pub interval: GoDuration => {"pattern": INTERVAL},
    }
    optional {
        /// Name or path of the chart.
        pub chart: Option<HelmChartTemplate>,
        /// The object that holds the chart.
        pub chart_ref: Option<CrossNamespaceSourceReference>,
        /// Labels and annotations for everything that is made.
        pub common_metadata: Option<CommonMetadata>,
        /// Releases that must be ready first.
        pub depends_on: Vec<DependencyReference>,
        /// What to do about changes made in the cluster.
        pub drift_detection: Option<DriftDetection>,
        /// How to tell the health of custom kinds.
        pub health_check_exprs: Vec<CustomHealthCheck>,
        /// How to install.
        pub install: Option<Install>,
        /// The cluster to act on; this one when empty.
        pub kube_config: Option<KubeConfigReference>,
        /// How many releases are kept; 0 keeps all.
        pub max_history: Option<i64>,
        /// Keeps the client over all steps of a release.
        pub persistent_client: Option<bool>,
        /// How hooks and manifests go through the post-renderers.
        pub post_render_strategy: String => {"enum": ["nohooks", "combined", "separate"]},
        /// Changes to the rendered manifests.
        pub post_renderers: Vec<PostRenderer>,
        /// Name of the release.
        pub release_name: String => {"maxLength": 53, "minLength": 1},
        /// How to roll back.
        pub rollback: Option<Rollback>,
        /// ServiceAccount to act as.
        pub service_account_name: String => {"maxLength": 253, "minLength": 1},
        /// Namespace that holds the release records.
        pub storage_namespace: String => {"maxLength": 63, "minLength": 1},
        /// Stops reconciliation while set.
        pub suspend: bool,
        /// Namespace of the release; this object's when empty.
        pub target_namespace: String => {"maxLength": 63, "minLength": 1},
        /// How to test.
        pub test: Option<Test>,
        /// How long one Helm action may wait.
        pub timeout: Option<GoDuration> => {"pattern": INTERVAL},
        /// How to uninstall.
        pub uninstall: Option<Uninstall>,
        /// How to upgrade.
        pub upgrade: Option<Upgrade>,
        /// Values for the chart.
        pub values: Option<Value>,
        /// Where more values come from, in this order.
        pub values_from: Vec<ValuesReference>,
        /// How to wait for objects.
        pub wait_strategy: Option<WaitStrategy>,
    }
    rules {
        "(has(self.chart) && !has(self.chartRef)) || (!has(self.chart) && has(self.chartRef))" => "either chart or chartRef must be set",
    }
}

record! {
    /// How a test of the chart went.
    pub struct TestHookStatus {
    }
    optional {
        /// When it last ended.
        pub last_completed: Option<Time>,
        /// When it last began.
        pub last_started: Option<Time>,
        /// How it ended.
        pub phase: String,
    }
}

record! {
    /// The record of a past attempt.
    pub struct Snapshot {
        /// Name of the chart.
        pub chart_name: String,
        /// Version of the chart.
        pub chart_version: String,
        /// Digest of the values.
        pub config_digest: String,
        /// Checksum, as algorithm:hex.
        pub digest: String,
        /// When it was first deployed.
        pub first_deployed: Time,
        /// When it was last deployed.
        pub last_deployed: Time,
        /// Name of the release.
        pub name: String,
        /// Namespace of the release.
        pub namespace: String,
        /// State of the release.
        pub status: String,
        /// Number of the release.
        pub version: i64,
    }
    optional {
        /// What made this release.
        pub action: String,
        /// Version of this record's form.
        pub api_version: String,
        /// Version of the application.
        pub app_version: String,
        /// When the release was deleted.
        pub deleted: Option<Time>,
        /// Digest of the OCI artifact of the chart.
        pub oci_digest: String,
        /// How each test went.
        pub test_hooks: Option<BTreeMap<String, TestHookStatus>>,
    }
}

record! {
    /// What was last released.
    pub struct HelmReleaseStatus {
    }
    optional {
        /// The state of the object, one aspect each.
        pub conditions: Vec<Condition>,
        /// Failures since the last success or change.
        pub failures: i64 => {"format": "int64"},
        /// Namespace and name of the HelmChart.
        pub helm_chart: String,
        /// What happened before, newest first.
        pub history: Vec<Snapshot>,
        /// Failed installs since the last success or change.
        pub install_failures: i64 => {"format": "int64"},
        /// What was made or applied.
        pub inventory: Option<ResourceInventory>,
        /// Digest of the values last tried.
        pub last_attempted_config_digest: String,
        /// Generation last tried.
        pub last_attempted_generation: i64 => {"format": "int64"},
        /// Action last tried.
        pub last_attempted_release_action: String => {"enum": ["install", "upgrade"]},
        /// How long the action last tried took.
        pub last_attempted_release_action_duration: Option<GoDuration>,
        /// Revision that was last tried.
        pub last_attempted_revision: String,
        /// Digest of the source revision last tried.
        pub last_attempted_revision_digest: String,
        /// Older checksum of the values last tried.
        pub last_attempted_values_checksum: String,
        /// The last force request that was answered.
        pub last_handled_force_at: String,
        /// The last reconcile request that was answered.
        pub last_handled_reconcile_at: String,
        /// The last reset request that was answered.
        pub last_handled_reset_at: String,
        /// Number of the last release; older form of history.
        pub last_release_revision: i64,
        /// Digest of the common metadata last applied.
        pub observed_common_metadata_digest: String,
        /// The generation that was last acted on.
        pub observed_generation: i64 => {"format": "int64"},
        /// Digest of the post-renderers last applied.
        pub observed_post_renderers_digest: String,
        /// Namespace that holds the release records.
        pub storage_namespace: String => {"maxLength": 63, "minLength": 1},
        /// Failed upgrades since the last success or change.
        pub upgrade_failures: i64 => {"format": "int64"},
    }
}
