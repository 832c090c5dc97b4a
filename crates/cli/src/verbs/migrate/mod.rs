//! `migrate`: brings custom resources to the latest versions of their APIs, in files or in the cluster.

mod cluster_mode;
mod files;

use super::no_arguments;
use crate::shell::{Context, Flags, Outcome, flags};
use clap::{ArgMatches, Command};

pub fn command() -> Command {
    flags::leaf("migrate", "Migrate the Flux custom resources to their latest API version")
        .after_help("  # Files of a repository: what would change, then change it\n  sluice migrate -f . --dry-run\n  sluice migrate -f . --yes\n\n  # Objects stored in the cluster\n  sluice migrate")
        .args([
            flags::string("path", "file or folder with manifests; the cluster when empty").short('f'),
            flags::strings("extensions", "extensions of files to look at, with --path").short('e').default_value(".yaml,.yml"),
            flags::string("version", "minor version of Flux to migrate to, with --path").short('v'),
            flags::switch("yes", "do not ask, with --path").short('y'),
            flags::switch("dry-run", "change nothing, with --path"),
        ])
}

pub async fn run(context: &Context, path: &[String], matches: &ArgMatches) -> Outcome {
    no_arguments(context, path, matches)?;
    if matches.text("path").is_empty() { cluster_mode::run(context).await } else { files::run(matches) }
}
