//! `diff`: what would change.

use super::{artifact, local};
use crate::shell::{Context, Outcome, flags};
use clap::{ArgMatches, Command};

pub fn command() -> Command {
    flags::group("diff", "Say what applying would change").subcommand(artifact::diff_command()).subcommand(local::diff_command())
}

pub async fn run(context: &Context, path: &[String], matches: &ArgMatches) -> Outcome {
    match path.last().map(String::as_str) {
        Some("artifact") => artifact::diff(context, matches).await,
        _ => local::diff(context, matches).await,
    }
}
