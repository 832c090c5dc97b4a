//! The flags that `install` and `bootstrap` share.

use super::{Choices, available, of_flux};
use crate::shell::{Context, Failure, Flags, flags};
use clap::{Arg, ArgMatches};

const NEEDED: [&str; 2] = ["source-controller", "kustomize-controller"];

pub fn all() -> Vec<Arg> {
    vec![
        flags::string("version", "version of the controllers; only that of this program can be installed").short('v'),
        flags::strings("components", "controllers to install (default all that this version has)"),
        flags::strings("components-extra", "more controllers to install"),
        flags::string("registry", "where the images of the controllers are").default_value("ghcr.io/sluice-dev"),
        flags::string("image-pull-secret", "Secret of the namespace to pull the images with"),
        flags::switch_on("watch-all-namespaces", "reconcile objects of every namespace, not only of the one that is installed to"),
        flags::one_of("log-level", "logLevel", "log level", &["debug", "info", "error"], "how much the controllers log")
            .default_value("info"),
        flags::switch_on("network-policy", "make network policies"),
        flags::string("cluster-domain", "the cluster's DNS domain").default_value("cluster.local"),
        flags::strings("toleration-keys", "keys of the taints that the controllers tolerate"),
    ]
}

pub fn choices(context: &Context, matches: &ArgMatches) -> Result<Choices, Failure> {
    let own = format!("v{}", env!("CARGO_PKG_VERSION"));
    let version = matches.text("version");
    if !version.is_empty() && version.trim_start_matches('v') != own.trim_start_matches('v') {
        return Err(Failure::new(format!("this program installs {own}; for {version} use the program of that version")));
    }
    let mut components: Vec<String> = matches.texts("components");
    if components.is_empty() {
        components = available().into_iter().map(str::to_owned).collect();
    }
    components.extend(matches.texts("components-extra"));
    for component in &mut components {
        *component = of_flux(component).to_owned();
        if !available().contains(&component.as_str()) {
            return Err(Failure::new(format!("component {component} is not part of this version, which has: {}", available().join(", "))));
        }
    }
    for needed in NEEDED {
        if !components.iter().any(|component| component == needed) {
            return Err(Failure::new(format!("component {needed} is required")));
        }
    }
    let mut seen = std::collections::HashSet::new();
    components.retain(|component| seen.insert(component.clone()));
    Ok(Choices {
        namespace: context.namespace.clone(),
        version: own,
        components,
        registry: matches.text("registry").trim_end_matches('/').to_owned(),
        image_pull_secret: matches.text("image-pull-secret").to_owned(),
        watch_all_namespaces: matches.is_set("watch-all-namespaces"),
        log_level: matches.text("log-level").to_owned(),
        network_policy: matches.is_set("network-policy"),
        cluster_domain: matches.text("cluster-domain").to_owned(),
        toleration_keys: matches.texts("toleration-keys"),
    })
}
