//! `build`: artifacts, and what a Kustomization or a HelmRelease would apply.

use super::{artifact, local};
use crate::shell::{Context, Outcome, flags};
use clap::{ArgMatches, Command};

pub fn command() -> Command {
    flags::group("build", "Build a Kustomization, a HelmRelease or an artifact, on this machine")
        .subcommand(artifact::build_command())
        .subcommand(local::build_command())
        .subcommand(local::release::command())
}

pub async fn run(context: &Context, path: &[String], matches: &ArgMatches) -> Outcome {
    match path.last().map(String::as_str) {
        Some("artifact") => artifact::build(context, matches).await,
        Some("helmrelease") => local::release::build(context, matches).await,
        _ => local::build(context, matches).await,
    }
}
