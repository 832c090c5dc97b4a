//! `check`: whether a cluster can run Flux, and whether what runs there is well.

use super::{
    no_arguments,
    version::{Installation, PART_OF_FLUX, images},
};
use crate::{
    builtin, objects, readiness,
    shell::{Context, Failure, Flags, Outcome, flags, log},
};
use clap::{ArgMatches, Command};
use cluster::Selection;
use serde_json::Value;

/// The oldest Kubernetes that Flux 2.9 supports.
const KUBERNETES_MIN: (u64, u64) = (1, 33);

pub fn command() -> Command {
    flags::leaf("check", "Check requirements and installation")
        .after_help("  # Before installing\n  sluice check --pre\n\n  # What is installed\n  sluice check")
        .args([
            flags::switch("pre", "only check the requirements"),
            flags::strings("components", "components that must be there")
                .default_value("source-controller,kustomize-controller,helm-controller,notification-controller"),
            flags::strings("components-extra", "more components that must be there"),
            flags::duration("poll-interval", "how often to look at the state of components").default_value("5s"),
        ])
}

pub async fn run(context: &Context, path: &[String], matches: &ArgMatches) -> Outcome {
    no_arguments(context, path, matches)?;
    log::action("checking prerequisites");
    let mut well = kubernetes(context).await?;
    if matches.is_set("pre") {
        if !well {
            return Err(Failure::new("prerequisites checks failed"));
        }
        log::success("prerequisites checks passed");
        return Ok(());
    }
    log::action("checking version in cluster");
    well &= installation(context).await;
    log::action("checking controllers");
    well &= controllers(context).await?;
    log::action("checking crds");
    well &= definitions(context).await?;
    if !well {
        return Err(Failure::new("check failed"));
    }
    log::success("all checks passed");
    Ok(())
}

async fn kubernetes(context: &Context) -> Result<bool, Failure> {
    let answer = match context.client().await?.get_path("/version", "application/json").await {
        Ok(answer) => answer,
        Err(error) => {
            log::failure(format!("Kubernetes API call failed: {}", error.chain()));
            return Ok(false);
        }
    };
    let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
    let version = objects::text(&answer, &["gitVersion"]);
    let (major, minor) = KUBERNETES_MIN;
    let range = format!(">={major}.{minor}.0-0");
    Ok(match parts(version) {
        None => {
            log::failure("Kubernetes version can't be determined");
            false
        }
        Some(parts) if parts < KUBERNETES_MIN => {
            log::failure(format!("Kubernetes version {version} does not match {range}"));
            false
        }
        Some(_) => {
            log::success(format!("Kubernetes {} {range}", version.trim_start_matches('v')));
            true
        }
    })
}

/// Major and minor of `v1.36.3`.
fn parts(version: &str) -> Option<(u64, u64)> {
    let mut numbers = version.trim_start_matches('v').split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

async fn installation(context: &Context) -> bool {
    match Installation::find(context).await {
        Ok(Some(installation)) => {
            if !installation.distribution().is_empty() {
                log::success(format!("distribution: {}", installation.distribution()));
            }
            log::success(format!("bootstrapped: {}", installation.bootstrapped));
            true
        }
        Ok(None) => {
            log::failure("checking failed: the definition of GitRepository is not installed");
            false
        }
        Err(failure) => {
            log::failure(format!("checking failed: {}", failure.message));
            false
        }
    }
}

async fn controllers(context: &Context) -> Result<bool, Failure> {
    let selection = Selection { namespace: context.namespace.clone(), labels: PART_OF_FLUX.to_owned(), ..Selection::default() };
    let deployments = context.list(&builtin::deployments(), &selection).await?;
    if deployments.is_empty() {
        log::failure(format!("no controllers found in the '{}' namespace with the label selector '{PART_OF_FLUX}'", context.namespace));
        return Ok(false);
    }
    let mut well = true;
    for mut deployment in deployments {
        deployment["apiVersion"] = "apps/v1".into();
        deployment["kind"] = "Deployment".into();
        let name = objects::name(&deployment);
        match readiness::settled(&deployment) {
            Ok(true) => log::success(format!("{name}: deployment ready")),
            Ok(false) => {
                well = false;
                log::failure(format!("{name}: deployment not ready"));
            }
            Err(failure) => {
                well = false;
                log::failure(format!("{name}: {}", failure.message));
            }
        }
        images(&deployment).into_iter().for_each(log::action);
    }
    Ok(well)
}

async fn definitions(context: &Context) -> Result<bool, Failure> {
    let definitions = context.list(&builtin::definitions(), &Selection::labels(PART_OF_FLUX)).await?;
    if definitions.is_empty() {
        log::failure(format!("no crds found with the label selector '{PART_OF_FLUX}'"));
        return Ok(false);
    }
    let mut well = true;
    for definition in &definitions {
        let name = objects::name(definition);
        match objects::at(definition, &["status", "storedVersions"]).as_array().and_then(|versions| versions.last()).and_then(Value::as_str)
        {
            Some(version) => log::success(format!("{name}/{version}")),
            None => {
                well = false;
                log::failure(format!("no stored versions for {name}"));
            }
        }
    }
    Ok(well)
}
