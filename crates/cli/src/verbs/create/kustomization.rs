use super::{
    Request,
    draft::{Draft, Fields},
    references::{Reference, dependency, kustomization_source, safe_relative_path},
};
use crate::{
    kinds,
    shell::{Failure, Flags, Outcome, flags, log, output},
    verbs::reconcile::success_message,
};
use clap::Command;
use serde_json::{Value, json};

/// The workloads whose health can be asked for one by one.
const CHECKED_KINDS: &[&str] = &["HelmRelease", "Deployment", "DaemonSet", "StatefulSet"];

pub fn command() -> Command {
    flags::leaf("kustomization", "Create or update a Kustomization resource").visible_alias("ks").args([
        flags::checked("source", "string", "source of the manifests, as [<kind>/]<name>[.<namespace>]", kustomization_source),
        flags::checked("path", "safeRelativePath", "folder of the source to build", safe_relative_path).default_value("./"),
        flags::switch("prune", "delete objects that are no longer in the source"),
        flags::switch("wait", "wait until everything applied is healthy"),
        flags::strings("health-check", "workload that must be healthy, as <kind>/<name>.<namespace>"),
        flags::duration("health-check-timeout", "how long to wait for health").default_value("2m0s"),
        flags::string("validation", "no longer used").hide(true),
        flags::strings("depends-on", "Kustomization that must be ready first, as [<namespace>/]<name>"),
        flags::string("service-account", "ServiceAccount to act as"),
        flags::checked("decryption-provider", "decryptionProvider", "engine that opens encrypted files: sops", |text| match text {
            "sops" => Ok(text.to_owned()),
            _ => Err(format!("unsupported decryption provider '{text}', must be one of: sops")),
        }),
        flags::string("decryption-secret", "Secret with the keys for decryption"),
        flags::string("target-namespace", "namespace for every object"),
        flags::string("kubeconfig-secret-ref", "Secret with a kubeconfig of the cluster to act on"),
        flags::duration("retry-interval", "how long to wait after a failure"),
    ])
}

pub async fn run(request: &Request<'_>) -> Outcome {
    if request.matches.given("validation") {
        output::print(
            "Flag --validation has been deprecated, this arg is no longer used, all resources are validated using server-side apply dry-run\n",
        )?;
    }
    if request.text("source").is_empty() {
        return Err(Failure::new("source is required"));
    }
    if !request.is_export() {
        log::generate("generating Kustomization");
    }
    request.labels()?;
    let wait = request.matches.is_set("wait");
    let checks = request.matches.texts("health-check");
    let checks: Vec<Value> = if wait { Vec::new() } else { checks.iter().map(|check| health_check(check)).collect::<Result<_, _>>()? };
    let kubeconfig = Some(request.text("kubeconfig-secret-ref")).filter(|name| !name.is_empty());
    let decryption = Some(request.text("decryption-provider")).filter(|provider| !provider.is_empty());
    let waits = wait || !checks.is_empty();
    let spec = Fields::new()
        .text("interval", &request.interval())
        .text("path", request.text("path"))
        .value("prune", Value::Bool(request.matches.is_set("prune")))
        .value("sourceRef", Reference::parse(request.text("source")).to_value())
        .text("targetNamespace", request.text("target-namespace"))
        .list("dependsOn", request.matches.texts("depends-on").iter().map(|text| dependency(text)).collect())
        .maybe("kubeConfig", kubeconfig.map(|name| json!({"secretRef": {"name": name}})))
        .list("healthChecks", checks)
        .on("wait", wait)
        .text(
            "timeout",
            &if waits { request.matches.length("health-check-timeout").unwrap_or_default().to_string() } else { String::new() },
        )
        .text("serviceAccountName", request.text("service-account"))
        .maybe(
            "decryption",
            decryption.map(|provider| {
                Fields::new().text("provider", provider).reference("secretRef", request.text("decryption-secret")).into_value()
            }),
        )
        .text("retryInterval", &request.length("retry-interval"));
    Draft {
        request,
        kind: &kinds::KUSTOMIZATION,
        spec,
        noun: "Kustomization",
        made: "Kustomization",
        skips_unchanged: false,
        done: format!("Kustomization {} is ready", request.name),
        result: |object| Ok(success_message(&kinds::KUSTOMIZATION, object)),
    }
    .finish()
    .await
}

fn health_check(text: &str) -> Result<Value, Failure> {
    let parts: Vec<&str> = text.split('/').collect();
    let [kind, rest] = parts.as_slice() else {
        return Err(Failure::new(format!(
            "invalid health check '{text}' must be in the format 'kind/name.namespace' [{}]",
            parts.join(" ")
        )));
    };
    if !CHECKED_KINDS.contains(kind) {
        return Err(Failure::new(format!("invalid health check kind '{kind}' can be HelmRelease, Deployment, DaemonSet or StatefulSet")));
    }
    let Some((name, namespace)) = rest.split_once('.').filter(|(_, namespace)| !namespace.contains('.')) else {
        return Err(Failure::new(format!("invalid health check '{text}' must be in the format 'kind/name.namespace'")));
    };
    let mut check = json!({"kind": kind, "name": name, "namespace": namespace});
    if *kind == kinds::HELM_RELEASE.kind {
        check["apiVersion"] = Value::from(kinds::HELM_RELEASE.api_version());
    }
    Ok(check)
}
