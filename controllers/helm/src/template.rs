//! The HelmChart that a HelmRelease asks for by its chart template.

use crate::{objects::FIELD_MANAGER, source::HELM_CHART, spec};
use api::{
    helm::{HelmRelease, HelmReleaseStatus},
    meta,
};
use cluster::{Apply, Client, Delete, Error, Resource};
use runtime::Event;
use serde_json::{Map, Value, json};
use types::NamespacedName;

pub(crate) fn resource() -> Resource {
    Resource::namespaced("source.toolkit.fluxcd.io", "v1", HELM_CHART, "helmcharts")
}

/// `<namespace>-<name>`.
pub(crate) fn name(this: &HelmRelease) -> String {
    format!("{}-{}", spec::namespace(this), this.metadata.name.as_deref().unwrap_or_default())
}

/// The HelmChart as it is applied; none without a template.
fn desired(this: &HelmRelease) -> Option<Value> {
    let template = this.spec.chart.as_ref()?;
    let chart = &template.spec;
    let owner = spec::key(this);
    let given = template.metadata.clone().unwrap_or_default();
    let mut labels: Map<String, Value> = given.labels.into_iter().map(|(key, value)| (key, value.into())).collect();
    labels.insert(meta::HELM_NAME_LABEL.to_owned(), owner.name.clone().into());
    labels.insert(meta::HELM_NAMESPACE_LABEL.to_owned(), owner.namespace.clone().into());
    let mut metadata = json!({"name": name(this), "namespace": namespace(this), "labels": labels});
    if !given.annotations.is_empty() {
        metadata["annotations"] = json!(given.annotations);
    }
    let source = &chart.source_ref;
    let mut fields = json!({
        "chart": chart.chart,
        "version": if chart.version.is_empty() { "*" } else { &chart.version },
        "sourceRef": {"kind": source.kind, "name": source.name},
        "interval": chart.interval.unwrap_or(this.spec.interval).to_string(),
        "reconcileStrategy": if chart.reconcile_strategy.is_empty() { "ChartVersion" } else { &chart.reconcile_strategy },
    });
    if !source.api_version.is_empty() {
        fields["sourceRef"]["apiVersion"] = source.api_version.clone().into();
    }
    if !chart.values_files.is_empty() {
        fields["valuesFiles"] = json!(chart.values_files);
    }
    if chart.ignore_missing_values_files {
        fields["ignoreMissingValuesFiles"] = true.into();
    }
    if let Some(verify) = &chart.verify {
        fields["verify"] = serde_json::to_value(verify).unwrap_or_default();
    }
    Some(json!({"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": HELM_CHART, "metadata": metadata, "spec": fields}))
}

fn namespace(this: &HelmRelease) -> String {
    let given = this.spec.chart.as_ref().map(|template| template.spec.source_ref.namespace.as_str()).unwrap_or_default();
    if given.is_empty() { spec::namespace(this).to_owned() } else { given.to_owned() }
}

/// Whether the live object says what is wanted, and no label or annotation more.
fn is_settled(live: &Value, wanted: &Value) -> bool {
    let part =
        |object: &Value, key: &str| object["metadata"].get(key).cloned().filter(|map| map.as_object().is_some_and(|map| !map.is_empty()));
    live["spec"] == wanted["spec"] && ["labels", "annotations"].iter().all(|key| part(live, key) == part(wanted, key))
}

/// Makes the HelmChart what the template says, and deletes the one that no template asks for any more.
pub(crate) async fn reconcile(
    client: &Client,
    this: &HelmRelease,
    status: &mut HelmReleaseStatus,
    live: Option<Value>,
    events: &mut Vec<Event>,
) -> Result<i64, String> {
    let wanted = desired(this);
    let key = wanted.as_ref().map(|_| format!("{}/{}", namespace(this), name(this))).unwrap_or_default();
    if !status.helm_chart.is_empty() && status.helm_chart != key {
        delete(client, status, events).await?;
    }
    let Some(wanted) = wanted else { return Ok(0) };
    if live.as_ref().is_some_and(|live| is_settled(live, &wanted)) {
        status.helm_chart = key;
        return Ok(0);
    }
    let body = serde_json::to_vec(&wanted).map_err(|error| error.to_string())?;
    let options = Apply { field_manager: FIELD_MANAGER, force: true, dry_run: false, subresource: "" };
    let (namespace, name) = (namespace(this), name(this));
    let before = client.get_opt(&resource(), &namespace, &name).await.map_err(|error| error.chain())?;
    let before = before.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let generation = |chart: &Value| chart["metadata"]["generation"].as_i64().unwrap_or_default();
    if let Some(before) = before.as_ref().filter(|before| is_settled(before, &wanted)) {
        // The watch is a moment behind.
        status.helm_chart = key;
        return Ok(generation(before));
    }
    let after = client
        .apply(&resource(), &namespace, &name, body, options)
        .await
        .map_err(|error| format!("failed to apply HelmChart '{namespace}/{name}': {}", error.chain()))?;
    let after = serde_json::from_slice::<Value>(&after).unwrap_or_default();
    // Its own controller writes to it as well: only what we say counts.
    let said = |chart: &Value| (chart["spec"].clone(), chart["metadata"]["labels"].clone(), chart["metadata"]["annotations"].clone());
    let source = &this.spec.chart.as_ref().map(|template| template.spec.source_ref.clone()).unwrap_or_default();
    let from = format!("{}/{namespace}/{}", source.kind, source.name);
    match before {
        None => events.push(Event::trace("HelmChartCreated", format!("Created HelmChart/{namespace}/{name} with SourceRef '{from}'"))),
        Some(before) if said(&before) != said(&after) => {
            events.push(Event::trace("HelmChartConfigured", format!("Configured HelmChart/{namespace}/{name} with SourceRef '{from}'")));
        }
        Some(_) => {}
    }
    status.helm_chart = key;
    Ok(generation(&after))
}

/// Deletes the HelmChart that the status names.
pub(crate) async fn delete(client: &Client, status: &mut HelmReleaseStatus, events: &mut Vec<Event>) -> Result<(), String> {
    let Some((namespace, name)) = status.helm_chart.split_once('/') else { return Ok(()) };
    let key = NamespacedName::new(namespace, name);
    match client.delete(&resource(), namespace, name, Delete::default()).await {
        Ok(_) => events.push(Event::trace("HelmChartDeleted", format!("deleted HelmChart '{key}'"))),
        Err(error) if error.is_not_found() => {}
        Err(error) => return Err(failed(&key, &error)),
    }
    status.helm_chart.clear();
    Ok(())
}

fn failed(key: &NamespacedName, error: &Error) -> String {
    format!("failed to delete HelmChart '{key}': {}", error.chain())
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::helm::{CrossNamespaceObjectReference, HelmChartTemplate, HelmChartTemplateSpec};
    use types::GoDuration;

    fn this() -> HelmRelease {
        let mut this = HelmRelease::named("n", "app");
        this.spec.interval = GoDuration::from_secs(3600);
        let source_ref = CrossNamespaceObjectReference { kind: "HelmRepository".into(), name: "charts".into(), ..Default::default() };
        let spec = HelmChartTemplateSpec { chart: "demo".into(), source_ref, ..Default::default() };
        this.spec.chart = Some(HelmChartTemplate { spec, metadata: None });
        this
    }

    #[test]
    fn a_chart_is_made_as_flux_makes_it() {
        let made = desired(&this()).unwrap();
        assert_eq!(made["metadata"]["name"], "n-app");
        assert_eq!(
            made["spec"],
            json!({"chart": "demo", "version": "*", "sourceRef": {"kind": "HelmRepository", "name": "charts"}, "interval": "1h0m0s", "reconcileStrategy": "ChartVersion"})
        );
        assert!(is_settled(&made, &made));
        let mut live = made.clone();
        live["metadata"]["labels"]["more"] = "x".into();
        assert!(!is_settled(&live, &made));
    }
}
