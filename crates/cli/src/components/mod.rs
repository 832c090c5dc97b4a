//! What is installed in a cluster: controllers, their rights, policies and definitions, as objects.
//!
//! ```text
//! config/ (built in) + definitions (api) + choices of the user -> kustomize engine -> objects -> install, bootstrap, --export
//! ```

mod apply;
pub mod flags;
mod render;

pub use apply::{apply, parts, verify};
pub use render::{Choices, render};

include!(concat!(env!("OUT_DIR"), "/config.rs"));

/// The maker of artifacts out of artifacts, by the name that its Deployment has as under Flux.
pub const ARTIFACTS: &str = "source-watcher";

/// Controllers that this version brings, in the order in which they are started.
pub static AVAILABLE: &[&str] = &["source-controller", "kustomize-controller", "helm-controller", ARTIFACTS];

/// The controllers whose manifests are built in.
pub fn available() -> Vec<&'static str> {
    let built_in = |name: &&&str| FILES.iter().any(|(path, _)| path.strip_prefix(**name).is_some_and(|rest| rest.starts_with('/')));
    AVAILABLE.iter().filter(built_in).copied().collect()
}

/// The name of a component, whose program has another.
pub fn of_flux(name: &str) -> &str {
    if name == "artifact-controller" { ARTIFACTS } else { name }
}

/// The image of a controller, without its registry.
fn image(component: &str) -> &str {
    if component == ARTIFACTS { "artifact-controller" } else { component }
}
