//! How to render, from flags.

use crate::shell::{Context, Failure, Flags as _, flags};
use clap::{Arg, ArgMatches};
use helm::{Capabilities, Environment, KubeVersion, Options, Profile, Release, SeededRandom, SystemRandom};
use std::{env, rc::Rc};

pub fn flags() -> Vec<Arg> {
    vec![
        flags::string("kube-version", "Kubernetes version used for Capabilities.KubeVersion"),
        flags::switch("skip-schema-validation", "if set, disables JSON schema validation"),
        flags::beyond(flags::string("seed", "make random functions give the same for the same text")),
    ]
}

/// Time and randomness.
pub fn environment(matches: &ArgMatches) -> Rc<Environment> {
    let (now, seed) = (jiff::Timestamp::now(), matches.text("seed"));
    Rc::new(if seed.is_empty() {
        Environment::new(now, Box::new(SystemRandom))
    } else {
        Environment::new(now, Box::new(SeededRandom::new(seed.as_bytes())))
    })
}

pub fn capabilities(matches: &ArgMatches, profile: Profile) -> Result<Capabilities, Failure> {
    let mut capabilities = Capabilities::defaults(profile);
    let version = matches.text("kube-version");
    if !version.is_empty() {
        capabilities.kube_version =
            KubeVersion::parse(version).map_err(|why| Failure::new(format!("invalid kube version '{version}': {why}")))?;
    }
    capabilities.api_versions.extend(matches.texts("api-versions").into_iter().map(Into::into));
    Ok(capabilities)
}

pub fn options(release: Release, capabilities: Capabilities, matches: &ArgMatches) -> Options<'static> {
    let skip_schema = matches.is_set("skip-schema-validation");
    Options { profile: Profile::V4_3, capabilities, skip_schema, ..Options::new(release, environment(matches)) }
}

/// Helm's namespace is `default` where nothing says otherwise.
pub fn namespace(context: &Context, matches: &ArgMatches) -> String {
    if matches.given("namespace") {
        return context.namespace.clone();
    }
    match env::var("HELM_NAMESPACE") {
        Ok(namespace) if !namespace.is_empty() => namespace,
        _ => context.namespace_of_kubeconfig().unwrap_or_else(|| "default".to_owned()),
    }
}
