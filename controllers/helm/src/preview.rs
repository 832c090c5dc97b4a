//! What a HelmRelease would release, for whoever asks without a controller: the same values, templates and post-renderers.

use crate::{
    charts::{Charts, Loaded, Tracking},
    render::{self, Input},
    spec,
    values::{self, Found},
};
use api::{Artifact, helm::HelmRelease};
use cluster::{Client, Discovery};
use helm::{Capabilities, Chart};
use jiff::Timestamp;
use serde_json::Value;
use std::{collections::BTreeMap, rc::Rc, sync::Arc, time::Duration};

/// The cluster that a release would be made in.
#[derive(Clone)]
pub struct Target {
    pub client: Client,
    pub discovery: Arc<Discovery>,
}

/// A release that is only looked at.
pub struct Preview {
    pub release: HelmRelease,
    pub chart: Arc<Chart>,
    /// What `valuesFrom` refers to, by kind and name.
    pub objects: BTreeMap<(String, String), Value>,
    pub capabilities: Capabilities,
    /// Where templates look objects up; nothing is found without it.
    pub target: Option<Target>,
    pub now: Timestamp,
}

/// What would be applied.
pub struct Previewed {
    /// Definitions of the chart's crds folder: path and text.
    pub crds: Vec<(String, String)>,
    pub manifest: String,
    pub hooks: Vec<helm::Hook>,
    pub warnings: Vec<String>,
}

/// What a cluster says of itself to charts.
pub async fn capabilities(target: &Target) -> Result<Capabilities, String> {
    render::capabilities(&target.client, &target.discovery).await
}

/// The chart of an artifact, its version as it follows from the source.
/// `tracks_digest` where the source is no HelmChart.
pub async fn fetch_chart(artifact: &Artifact, tracks_digest: bool, host: Option<String>, timeout: Duration) -> Result<Arc<Chart>, String> {
    let charts = Charts::new(2, timeout, host).map_err(|error| error.to_string())?;
    let tracking = if tracks_digest { Tracking::Digest } else { Tracking::None };
    let loaded = charts.get(artifact, tracking).await.map_err(|error| error.to_string())?;
    Ok(loaded.chart.clone())
}

impl Preview {
    /// Renders as the controller would. Blocks; `lookup` waits for the server on the runtime of the caller.
    pub fn render(self, runtime: &tokio::runtime::Handle) -> Result<Previewed, String> {
        let namespace = spec::namespace(&self.release).to_owned();
        let found: Vec<Found> = self.release.spec.values_from.iter().map(|one| self.found(&one.kind, &one.name)).collect();
        let values = values::of_objects(&self.release, &namespace, &found)?;
        let upgrade = self.release.status.as_ref().is_some_and(|status| !status.history.is_empty());
        let revision = self.release.status.as_ref().and_then(|status| status.history.first()).map_or(1, |last| last.version + 1);
        let input = Input {
            name: spec::release_name(&self.release),
            this: Arc::new(self.release),
            chart: Arc::new(Loaded::new(self.chart, String::new())),
            values,
            revision,
            upgrade,
            capabilities: self.capabilities,
            now: self.now,
            helm3_defaults: false,
        };
        let runtime = runtime.clone();
        let lookup = self.target.map(|target| -> helm::Lookup {
            Rc::new(move |api_version, kind, namespace, name| {
                runtime.block_on(render::look_up(&target.client, &target.discovery, api_version, kind, namespace, name))
            })
        });
        let output = render::run(&input, lookup)?;
        Ok(Previewed { crds: output.crds, manifest: output.manifest, hooks: output.hooks, warnings: output.warnings })
    }

    fn found(&self, kind: &str, name: &str) -> Found {
        match self.objects.get(&(kind.to_owned(), name.to_owned())) {
            Some(object) => Found::Object(object.clone()),
            None => Found::Nothing(format!("{}s {name:?} not found", kind.to_lowercase())),
        }
    }
}
