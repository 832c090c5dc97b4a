//! `debug`: what a controller works with.

mod values;

use crate::{
    builtin,
    kinds::{self, Kind},
    objects,
    shell::{Context, Failure, Flags, Outcome, flags, output},
};
use clap::{ArgMatches, Command};
use serde_json::Value;
use std::collections::BTreeMap;

pub fn command() -> Command {
    let status = || flags::switch("show-status", "print the status");
    let history = || flags::switch("show-history", "print the history");
    flags::group("debug", "Debug a Kustomization or HelmRelease: what it works with, secrets included")
        .subcommand(flags::leaf("kustomization", "Debug a Kustomization").visible_alias("ks").args([
            status(),
            history(),
            flags::switch("show-vars", "print the final variables in dot env format; may hold secrets"),
        ]))
        .subcommand(flags::leaf("helmrelease", "Debug a HelmRelease").visible_alias("hr").args([
            status(),
            history(),
            flags::switch("show-values", "print the final values; may hold secrets"),
        ]))
}

pub async fn run(context: &Context, path: &[String], matches: &ArgMatches) -> Outcome {
    let name = matches.exactly_one()?;
    let (kind, special): (&Kind, &str) = match path.last().map(String::as_str) {
        Some("helmrelease") => (&kinds::HELM_RELEASE, "show-values"),
        _ => (&kinds::KUSTOMIZATION, "show-vars"),
    };
    let asked: Vec<&str> = ["show-status", special, "show-history"].into_iter().filter(|flag| matches.is_set(flag)).collect();
    let [asked] = asked.as_slice() else {
        return Err(Failure::new(format!("exactly one of --show-status, --{special}, or --show-history must be set")));
    };
    let object = context.get(kind, &context.namespace, &name).await?;
    let page = if *kind == kinds::KUSTOMIZATION { "kustomize/kustomizations" } else { "helm/helmreleases" };
    match *asked {
        "show-status" => {
            let mut status = objects::at(&object, &["status"]).clone();
            if status.is_null() {
                status = serde_json::json!({});
            }
            output::print(&format!(
                "# Status documentation: https://fluxcd.io/flux/components/{page}/#{}-status\n",
                kind.kind.to_lowercase()
            ))?;
            output::print(&output::yaml(&status)?)
        }
        "show-history" => {
            let mut history = objects::at(&object, &["status", "history"]).clone();
            if history.is_null() {
                history = serde_json::json!([]);
            }
            output::print(&format!("# History documentation: https://fluxcd.io/flux/components/{page}/#history\n"))?;
            output::print(&output::yaml(&history)?)
        }
        "show-vars" => {
            if objects::at(&object, &["spec", "postBuild"]).is_null() {
                return Err(Failure::new("no post build substitutions found"));
            }
            let variables = variables(context, &object).await?;
            output::print(&variables.iter().map(|(name, value)| format!("{name}={value}\n")).collect::<String>())
        }
        _ => output::print(&output::yaml(&values::of_release(context, &object).await?)?),
    }
}

/// The variables of a Kustomization: from ConfigMaps and Secrets in their order, then the inline ones.
pub async fn variables(context: &Context, kustomization: &Value) -> Result<BTreeMap<String, String>, Failure> {
    let mut variables = BTreeMap::new();
    let references = objects::at(kustomization, &["spec", "postBuild", "substituteFrom"]).as_array();
    for reference in references.into_iter().flatten() {
        let (kind, name) = (objects::text(reference, &["kind"]), objects::text(reference, &["name"]));
        let optional = objects::at(reference, &["optional"]).as_bool().unwrap_or(false);
        variables.extend(entries(context, objects::namespace(kustomization), kind, name, optional).await?);
    }
    let inline = objects::at(kustomization, &["spec", "postBuild", "substitute"]).as_object();
    for (name, value) in inline.into_iter().flatten() {
        variables.insert(name.clone(), value.as_str().unwrap_or("").to_owned());
    }
    // Line ends are no part of a variable (fluxcd/pkg kustomize/kustomize_varsub.go).
    for value in variables.values_mut() {
        value.retain(|c| c != '\n');
    }
    Ok(variables)
}

/// The entries of a ConfigMap or Secret as text.
async fn entries(context: &Context, namespace: &str, kind: &str, name: &str, optional: bool) -> Result<BTreeMap<String, String>, Failure> {
    let resource = match kind {
        "Secret" => builtin::secrets(),
        "ConfigMap" => builtin::config_maps(),
        _ => return Ok(BTreeMap::new()),
    };
    let object = match context.find_resource(&resource, namespace, name).await? {
        Some(object) => object,
        None if optional => return Ok(BTreeMap::new()),
        None => {
            let plural = resource.plural.as_str();
            return Err(Failure::new(format!("substitute from '{kind}/{name}' error: {plural} {name:?} not found")));
        }
    };
    data_of(kind, &object)
}

/// The decoded `data` of a ConfigMap or Secret.
pub fn data_of(kind: &str, object: &Value) -> Result<BTreeMap<String, String>, Failure> {
    let data = objects::at(object, &["data"]).as_object();
    data.into_iter()
        .flatten()
        .map(|(key, value)| {
            let text = value.as_str().unwrap_or("");
            let text = if kind == "Secret" { decode(text)? } else { text.to_owned() };
            Ok((key.clone(), text))
        })
        .collect()
}

fn decode(text: &str) -> Result<String, Failure> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).map_err(|_| Failure::new("the data of a Secret is not base64"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
