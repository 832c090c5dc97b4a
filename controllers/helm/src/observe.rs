//! The first beat: everything that a visit needs to know.

use crate::{
    charts::{ChartError, Loaded, Tracking},
    dependency::{Lookup, NotReady},
    objects::Access,
    reconcile::Reconciler,
    snapshot,
    source::{self, HELM_CHART},
    spec,
    status::Draft,
    storage::{Known, Revision, Storage},
    template, values,
};
use api::{helm::HelmRelease, meta::reason};
use apply::{KubeConfig, Target};
use artifacts::{EXTERNAL_ARTIFACT, SourceKey};
use cluster::{Client, Identity, RemoteOptions};
use health::{Expressions, HealthExpression};
use runtime::Event;
use serde_json::{Map, Value};
use std::{sync::Arc, time::Duration};
use types::GoDuration;

/// Why a visit ends before it has anything to decide.
pub(crate) struct Stopped {
    pub reason: &'static str,
    pub message: String,
    /// The event's text; none where nothing is told.
    pub event: Option<Event>,
    pub visit: Again,
}

/// When to look again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// Never by itself: only a change of the spec helps.
    Terminal,
    After(Duration),
    Backoff,
}

impl Stopped {
    fn quiet(reason: &'static str, message: impl Into<String>, visit: Again) -> Self {
        Self { reason, message: message.into(), event: None, visit }
    }

    fn told(reason: &'static str, message: impl Into<String>, visit: Again) -> Self {
        let message = message.into();
        Self { reason, event: Some(Event::error(reason, message.clone())), message, visit }
    }
}

/// What is to be released, and with what.
pub(crate) struct Prepared {
    pub chart: Arc<Loaded>,
    pub values: Map<String, Value>,
    pub config_digest: String,
}

/// The way to a cluster, in the name of whoever releases.
#[derive(Clone)]
pub(crate) struct Reach {
    pub target: Arc<Target>,
    pub client: Client,
    pub impersonated: bool,
}

const INVALID_CHART: &str = "InvalidChartReference";

/// Reads what the spec itself says, before anything is looked up.
pub(crate) fn expressions(this: &HelmRelease) -> Result<Expressions, Stopped> {
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
    Expressions::parse(&list).map_err(|error| Stopped {
        reason: reason::INVALID_CEL_EXPRESSION,
        message: format!("Reconciliation failed terminally due to configuration error: {error}"),
        event: Some(Event::error(reason::INVALID_CEL_EXPRESSION, error.to_string())),
        visit: Again::Terminal,
    })
}

/// The HelmChart of a chart template, and the chart of whatever source there is.
///
/// Also the generation of the HelmChart, when it was changed a moment ago: what the watch shows may be older.
pub(crate) async fn chart_template(reconciler: &Reconciler, draft: &mut Draft<'_>) -> Result<(SourceKey, i64), Stopped> {
    let this = draft.this;
    let Some(key) = source::key_of(this) else {
        return Err(Stopped::told(INVALID_CHART, "exactly one of spec.chart and spec.chartRef must be set", Again::Terminal));
    };
    if reconciler.options.no_cross_namespace_refs && key.name.namespace != spec::namespace(this) {
        let message = format!("can't access '{}', cross-namespace references have been blocked", key.text());
        return Err(Stopped::told(reason::ACCESS_DENIED, message, Again::Terminal));
    }
    let live = reconciler
        .charts_by_name
        .json(&key.name)
        .filter(|_| key.kind == HELM_CHART && this.spec.chart.is_some())
        .and_then(|json| serde_json::from_str(json.get()).ok());
    let generation = template::reconcile(&reconciler.client, this, &mut draft.status, live, &mut draft.events)
        .await
        .map_err(|message| Stopped::told("HelmChartFailed", message, Again::Backoff))?;
    Ok((key, generation))
}

/// Looks whether the dependencies let a release begin.
pub(crate) async fn dependencies(reconciler: &Reconciler, this: &HelmRelease) -> Result<(), Stopped> {
    let additive = reconciler.gates.enabled("AdditiveCELDependencyCheck");
    let lookup = Lookup { store: &reconciler.store, client: &reconciler.client, additive };
    match lookup.check(this).await {
        Ok(()) => Ok(()),
        Err(NotReady::Terminal(message)) => Err(Stopped {
            reason: reason::INVALID_CEL_EXPRESSION,
            message: format!("Reconciliation failed terminally due to configuration error: terminal error: {message}"),
            event: Some(Event::error(reason::INVALID_CEL_EXPRESSION, message)),
            visit: Again::Terminal,
        }),
        Err(NotReady::Wait(message)) => Err(Stopped {
            event: Some(Event::info(reason::DEPENDENCY_NOT_READY, message.clone())),
            reason: reason::DEPENDENCY_NOT_READY,
            message,
            visit: Again::After(reconciler.options.requeue_dependency),
        }),
    }
}

/// Source, values and chart.
pub(crate) async fn prepare(reconciler: &Reconciler, this: &HelmRelease, key: &SourceKey, generation: i64) -> Result<Prepared, Stopped> {
    let options = &reconciler.options;
    let external = key.kind == EXTERNAL_ARTIFACT;
    if external && !reconciler.gates.enabled("ExternalArtifact") {
        let message = format!("can't access '{}', ExternalArtifact feature gate is disabled", key.text());
        return Err(Stopped::told(reason::ACCESS_DENIED, message, Again::Terminal));
    }
    let source = match reconciler.sources.get(key).await {
        Ok(Some(source)) => source,
        Ok(None) => {
            let message = format!("could not get Source object: {}.source.toolkit.fluxcd.io {:?} not found", key.kind, key.name.name);
            return Err(Stopped::quiet(reason::ARTIFACT_FAILED, message, Again::Backoff));
        }
        Err(error) => {
            let message = format!("could not get Source object: {}", error.chain());
            return Err(Stopped::quiet(reason::ARTIFACT_FAILED, message, Again::Backoff));
        }
    };
    let current = if source.metadata.generation < generation {
        Err("latest generation of object has not been reconciled".to_owned())
    } else {
        source.artifact()
    };
    let artifact = current.map_err(|why| {
        let message = format!("{} '{}' is not ready: {why}", key.kind, key.name);
        Stopped::quiet("SourceNotReady", message, Again::After(options.requeue_dependency))
    })?;
    let values = values::compose(&reconciler.client, this, spec::namespace(this)).await;
    let values = values.map_err(|message| Stopped::told("ValuesError", message, Again::Backoff))?;
    let tracking = match (key.kind == HELM_CHART, reconciler.gates.enabled("DisableChartDigestTracking")) {
        (true, _) => Tracking::None,
        (false, true) => Tracking::Noted,
        (false, false) => Tracking::Digest,
    };
    let chart = match reconciler.charts.get(artifact, tracking).await {
        Ok(chart) => chart,
        Err(ChartError::NotFound) => {
            let after = options.requeue_dependency;
            let message = format!("Source not ready: artifact not found. Retrying in {}", GoDuration::from(after));
            return Err(Stopped::quiet(reason::ARTIFACT_FAILED, message, Again::After(after)));
        }
        Err(ChartError::Load(why)) => {
            let event = Some(Event::error(reason::ARTIFACT_FAILED, why.clone()));
            let message = format!("Could not load chart: {why}");
            return Err(Stopped { reason: reason::ARTIFACT_FAILED, message, event, visit: Again::Backoff });
        }
        Err(error @ ChartError::Mutate(_)) => return Err(Stopped::told("ChartMutateError", error.to_string(), Again::Backoff)),
    };
    let config_digest = snapshot::config_digest(&values);
    Ok(Prepared { chart, values, config_digest })
}

/// The cluster that a HelmRelease acts on, and in whose name.
pub(crate) async fn reach(reconciler: &Reconciler, this: &HelmRelease) -> Result<Reach, Stopped> {
    let options = &reconciler.options;
    let failed = |message: String| Stopped::told("RESTClientError", message, Again::Backoff);
    let kube_config = this.spec.kube_config.as_ref().map(|reference| KubeConfig {
        secret: reference.secret_ref.as_ref().map(|secret| (secret.name.as_str(), secret.key.as_str())),
        config_map: reference.config_map_ref.as_ref().map(|map| map.name.as_str()),
    });
    let limits = RemoteOptions { exec: options.insecure_kubeconfig_exec, insecure_tls: options.insecure_kubeconfig_tls };
    let target = reconciler.targets.of(spec::namespace(this), kube_config, limits).await.map_err(failed)?;
    let account = service_account(reconciler, this);
    let identity = match account {
        "" => Identity::Own,
        name => Identity::service_account(spec::namespace(this), name),
    };
    let client = target.client.as_identity(&identity).map_err(|error| failed(error.chain()))?;
    Ok(Reach { target, client, impersonated: identity != Identity::Own })
}

pub(crate) fn service_account<'t>(reconciler: &'t Reconciler, this: &'t HelmRelease) -> &'t str {
    if this.spec.service_account_name.is_empty() { &reconciler.options.default_service_account } else { &this.spec.service_account_name }
}

impl Reach {
    pub(crate) fn storage(&self, reconciler: &Reconciler, namespace: &str, name: &str) -> Storage {
        Storage {
            client: self.client.clone(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            manager: reconciler.options.storage_manager.clone(),
            decoded: reconciler.decoded.clone(),
        }
    }

    /// How objects are written: by server-side apply, unless the spec or the last release says otherwise.
    pub(crate) fn access(&self, this: &HelmRelease, operation: spec::Operation, last: Option<&Known>, helm3_defaults: bool) -> Access {
        let before = last.is_some_and(|last| last.apply_method == "ssa");
        let chosen = |text: &str| match text {
            "enabled" => true,
            "disabled" => false,
            _ => before,
        };
        let spec = &this.spec;
        let (ssa, take_ownership, force) = match operation {
            spec::Operation::Install => {
                let install = spec.install.clone().unwrap_or_default();
                (install.server_side_apply.unwrap_or(!helm3_defaults), !install.disable_take_ownership, false)
            }
            spec::Operation::Upgrade => {
                let upgrade = spec.upgrade.clone().unwrap_or_default();
                (chosen(&upgrade.server_side_apply), !upgrade.disable_take_ownership, upgrade.force)
            }
            spec::Operation::Rollback => {
                let rollback = spec.rollback.clone().unwrap_or_default();
                (chosen(rollback.server_side_apply.as_deref().unwrap_or_default()), true, rollback.force)
            }
            _ => (true, true, false),
        };
        Access {
            target: self.target.clone(),
            client: self.client.clone(),
            ssa,
            take_ownership,
            look_first: self.impersonated,
            force: force && !ssa,
            migrate: ssa && last.is_some() && !before,
        }
    }
}

/// The stored revisions, and the newest of them.
pub(crate) async fn stored(storage: &Storage) -> Result<(Vec<Revision>, Option<Known>), Stopped> {
    let state = |message: String| Stopped::quiet("StateError", format!("Could not determine release state: {message}"), Again::Backoff);
    let revisions = storage.revisions().await.map_err(|error| {
        state(format!("failed to retrieve last release from storage: query: failed to query with labels: {}", error.chain()))
    })?;
    let newest = match revisions.first() {
        None => None,
        Some(newest) => match storage.read(newest).await {
            Ok(known) => Some(known),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(state(format!("failed to retrieve last release from storage: {}", error.text()))),
        },
    };
    Ok((revisions, newest))
}
