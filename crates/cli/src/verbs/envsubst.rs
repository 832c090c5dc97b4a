//! `envsubst`: post-build substitution on standard input, with the environment as variables.

use crate::shell::{Context, Failure, Flags, Outcome, flags, output};
use clap::{ArgMatches, Command};
use envsubst::Mode;
use std::{collections::BTreeMap, io::BufRead as _};

pub fn command() -> Command {
    flags::leaf("envsubst", "Substitute the values of environment variables")
        .after_help(
            "  # What a cluster would get\n  export cluster_region=eu-central-1\n  sluice kustomize build . | sluice envsubst --strict",
        )
        .arg(flags::switch("strict", "fail when a variable without a default is not set"))
}

pub async fn run(_context: &Context, _path: &[String], matches: &ArgMatches) -> Outcome {
    let variables: BTreeMap<String, String> =
        std::env::vars_os().map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())).collect();
    let mode = if matches.is_set("strict") { Mode::Strict } else { Mode::Lenient };
    // Line by line: what comes before a line that fails is printed.
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|error| Failure::new(format!("could not read from stdin: {error}")))?;
        let line = envsubst::expand(&line, &variables, mode).map_err(|error| Failure::new(error.to_string()))?;
        output::print(&(line + "\n"))?;
    }
    Ok(())
}
