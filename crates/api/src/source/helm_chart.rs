//! Helm charts.

use super::OIDCIdentityMatch;
use crate::{
    crd::{AGE, READY, STATUS, text},
    meta::{Artifact, Condition, LocalObjectReference},
    schema::{INTERVAL, record, resource},
};
use types::GoDuration;

resource! {
    /// A Helm chart, packaged into an artifact.
    pub struct HelmChart(HelmChartSpec, HelmChartStatus);
    group: "source.toolkit.fluxcd.io", version: "v1", plural: "helmcharts",
    short_names: ["hc"], categories: ["all", "fluxcd", "fluxcd-sources"],
    substitute: true, status_default: {"observedGeneration": -1},
    columns: [text("Chart", ".spec.chart"), text("Version", ".spec.version"), text("Source Kind", ".spec.sourceRef.kind"), text("Source Name", ".spec.sourceRef.name"), AGE, READY, STATUS],
}

record! {
    /// The source of a chart in the same namespace.
    pub struct HelmChartSourceReference {
        /// Kind of the object.
        pub kind: String => {"enum": ["HelmRepository", "GitRepository", "Bucket"]},
        /// Name of the object.
        pub name: String,
    }
    optional {
        /// Group and version of the object.
        pub api_version: String,
    }
}

record! {
    /// How the signature of a chart is checked.
    pub struct HelmChartVerification {
        /// Which kind of service or engine this is.
        pub provider: String => {"default": "cosign", "enum": ["cosign", "notation"]},
    }
    optional {
        /// Identities that may have signed without a key.
        pub match_oidc_identity: Vec<OIDCIdentityMatch> as "matchOIDCIdentity",
        /// Secret with the credentials.
        pub secret_ref: Option<LocalObjectReference>,
    }
}

record! {
    /// Which chart to package, and where it comes from.
    pub struct HelmChartSpec {
        /// Name or path of the chart.
        pub chart: String,
        /// How often to look for changes.
        pub interval: GoDuration => {"pattern": INTERVAL},
        /// Where it comes from.
        pub source_ref: HelmChartSourceReference,
    }
    optional {
        /// Passes over values files that are not there.
        pub ignore_missing_values_files: bool,
        /// What makes a new artifact: a new chart version or a new source revision.
        pub reconcile_strategy: String => {"default": "ChartVersion", "enum": ["ChartVersion", "Revision"]},
        /// Stops reconciliation while set.
        pub suspend: bool,
        /// Values files of the chart, merged in this order.
        pub values_files: Vec<String>,
        /// Checks signatures before anything is used.
        pub verify: Option<HelmChartVerification>,
        /// Version or range of versions.
        pub version: String => {"default": "*"},
    }
    rules {
        "!has(self.verify) || self.sourceRef.kind == 'HelmRepository'" => "spec.verify is only supported when spec.sourceRef.kind is 'HelmRepository'",
    }
}

record! {
    /// What was last packaged of a chart.
    pub struct HelmChartStatus {
    }
    optional {
        /// The artifact that is served now.
        pub artifact: Option<Artifact>,
        /// The state of the object, one aspect each.
        pub conditions: Vec<Condition>,
        /// The last reconcile request that was answered.
        pub last_handled_reconcile_at: String,
        /// Name of the chart that was packaged.
        pub observed_chart_name: String,
        /// The generation that was last acted on.
        pub observed_generation: i64 => {"format": "int64"},
        /// Revision of the source that the chart was packaged from.
        pub observed_source_artifact_revision: String,
        /// Values files that were merged.
        pub observed_values_files: Vec<String>,
        /// Address of the source.
        pub url: String,
    }
}
