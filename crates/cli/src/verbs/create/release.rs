use super::{
    Request,
    draft::{Draft, Fields},
    references::{Reference, chart_source, dependency},
};
use crate::{
    kinds,
    objects::merge,
    shell::{Failure, Flags, Outcome, files, flags, log},
    verbs::reconcile::success_message,
};
use clap::Command;
use serde_json::{Map, Value, json};
use yaml::Dialect;

const VALUES_KINDS: &[&str] = &["Secret", "ConfigMap"];

pub fn command() -> Command {
    flags::leaf("helmrelease", "Create or update a HelmRelease resource")
        .visible_alias("hr")
        .after_help("  # A chart from a repository, with values from a file\n  sluice create hr podinfo --source=HelmRepository/podinfo --chart=podinfo --chart-version='>4.0.0' --values=./values.yaml\n\n  # A chart from an OCI registry\n  sluice create hr podinfo --chart-ref=OCIRepository/podinfo")
        .args([
            flags::string("release-name", "name of the release; [<target-namespace>-]<name> when empty"),
            flags::checked("source", "string", "source of the chart, as <kind>/<name>[.<namespace>]", chart_source),
            flags::string("chart", "name or path of the chart"),
            flags::string("chart-version", "version or range of versions of the chart"),
            flags::string("chart-ref", "object that holds the chart: OCIRepository or HelmChart, as <kind>/<name>[.<namespace>]"),
            flags::strings("depends-on", "HelmRelease that must be ready first, as [<namespace>/]<name>"),
            flags::string("target-namespace", "namespace of the release"),
            flags::string("storage-namespace", "namespace of the release records; the target namespace when empty"),
            flags::switch("create-target-namespace", "make the target namespace when it is missing"),
            flags::string("service-account", "ServiceAccount to act as"),
            flags::string("reconcile-strategy", "what makes a new chart: ChartVersion or Revision").default_value("ChartVersion"),
            flags::duration("chart-interval", "how often to look for new charts"),
            flags::strings("values", "files with values"),
            flags::strings("values-from", "object with values: Secret/<name> or ConfigMap/<name>"),
            flags::checked("crds", "Skip|Create|CreateReplace", "what an upgrade does to CRDs", |text| {
                let known = ["Skip", "Create", "CreateReplace"];
                let unsupported = || format!("unsupported upgrade CRDs policy '{text}', must be one of: {}", known.join(", "));
                if known.contains(&text) { Ok(text.to_owned()) } else { Err(unsupported()) }
            }),
            flags::string("kubeconfig-secret-ref", "Secret with a kubeconfig of the cluster to act on"),
        ])
}

pub async fn run(request: &Request<'_>) -> Outcome {
    let (chart, chart_ref) = (request.text("chart"), request.text("chart-ref"));
    if chart.is_empty() && chart_ref.is_empty() {
        return Err(Failure::new("chart or chart-ref is required"));
    }
    if !chart.is_empty() && !chart_ref.is_empty() {
        return Err(Failure::new("cannot use --chart in combination with --chart-ref"));
    }
    request.labels()?;
    if !request.is_export() {
        log::generate("generating HelmRelease");
    }
    let strategy = request.text("reconcile-strategy");
    if !matches!(strategy, "Revision" | "ChartVersion") {
        return Err(Failure::new(format!("'{strategy}' is an invalid reconcile strategy(valid: Revision, ChartVersion)")));
    }
    let target = request.text("target-namespace");
    let storage = if request.text("storage-namespace").is_empty() { target } else { request.text("storage-namespace") };
    let kubeconfig = Some(request.text("kubeconfig-secret-ref")).filter(|name| !name.is_empty());
    let crds = request.text("crds");
    let install = Fields::new()
        .on("createNamespace", request.matches.is_set("create-target-namespace"))
        .text("crds", if crds.is_empty() { "" } else { "Create" });
    let spec = Fields::new()
        .text("interval", &request.interval())
        .text("releaseName", request.text("release-name"))
        .text("targetNamespace", target)
        .text("storageNamespace", storage)
        .list("dependsOn", request.matches.texts("depends-on").iter().map(|text| dependency(text)).collect())
        .maybe("chart", (!chart.is_empty()).then(|| template(request, chart, strategy)))
        .maybe("chartRef", if chart_ref.is_empty() { None } else { Some(chart_reference(chart_ref)?) })
        .maybe("kubeConfig", kubeconfig.map(|name| json!({"secretRef": {"name": name}})))
        .text("serviceAccountName", request.text("service-account"))
        .maybe("upgrade", (!crds.is_empty()).then(|| json!({"crds": crds})))
        .maybe("install", if install.is_empty() { None } else { Some(install.into_value()) })
        .maybe("values", values(&request.matches.texts("values"))?)
        .list("valuesFrom", request.matches.texts("values-from").iter().map(|text| values_reference(text)).collect::<Result<_, _>>()?);
    Draft {
        request,
        kind: &kinds::HELM_RELEASE,
        spec,
        noun: "HelmRelease",
        made: "HelmRelease",
        skips_unchanged: false,
        done: format!("HelmRelease {} is ready", request.name),
        result: |object| Ok(success_message(&kinds::HELM_RELEASE, object)),
    }
    .finish()
    .await
}

fn template(request: &Request<'_>, chart: &str, strategy: &str) -> Value {
    let spec = Fields::new()
        .text("chart", chart)
        .text("version", request.text("chart-version"))
        .value("sourceRef", Reference::parse(request.text("source")).to_value())
        .text("reconcileStrategy", strategy)
        .text("interval", &request.length("chart-interval"));
    json!({"spec": spec.into_value()})
}

fn chart_reference(text: &str) -> Result<Value, Failure> {
    let reference = Reference::parse(text);
    if !matches!(reference.kind.as_str(), "OCIRepository" | "HelmChart") {
        let kind = reference.kind;
        return Err(Failure::new(format!("chart reference kind '{kind}' is not supported, must be one of: OCIRepository, HelmChart")));
    }
    Ok(reference.to_value())
}

fn values_reference(text: &str) -> Result<Value, Failure> {
    let Some((kind, name)) = text.split_once('/').filter(|(_, name)| !name.contains('/')) else {
        return Err(Failure::new(format!("invalid Kubernetes object reference '{text}', must be in format <kind>/<name>")));
    };
    match VALUES_KINDS.iter().find(|known| known.eq_ignore_ascii_case(kind)) {
        Some(known) => Ok(json!({"kind": known, "name": name})),
        None => Err(Failure::new(format!("reference kind '{kind}' is not supported, must be one of: {}", VALUES_KINDS.join(", ")))),
    }
}

/// The values of all files, later ones over earlier ones.
fn values(paths: &[String]) -> Result<Option<Value>, Failure> {
    if paths.is_empty() {
        return Ok(None);
    }
    let mut merged = Map::new();
    for path in paths {
        let text = files::read_text(path).map_err(|why| Failure::new(format!("reading values from {path} failed: {why}")))?;
        let value = yaml::to_json(&text, Dialect::Sigs)
            .map_err(|error| Failure::new(format!("converting values to JSON from {path} failed: {}", error.go_message(Dialect::Sigs))))?;
        let wrong = |kind: &str| {
            Failure::new(format!(
                "unmarshaling values from {path} failed: json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
            ))
        };
        match value {
            Value::Object(map) => merge(&mut merged, map),
            Value::Null => {}
            Value::Array(_) => return Err(wrong("array")),
            Value::String(_) => return Err(wrong("string")),
            Value::Bool(_) => return Err(wrong("bool")),
            Value::Number(_) => return Err(wrong("number")),
        }
    }
    Ok(Some(Value::Object(merged)))
}
