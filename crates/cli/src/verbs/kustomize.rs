//! `kustomize build`: the engine on its own.

use crate::{
    kustomize::{BuildArgs, run as build},
    shell::{Context, Failure, Outcome, flags},
};
use clap::{ArgMatches, Args as _, Command, FromArgMatches as _};

pub fn command() -> Command {
    let leaf = Command::new("build").about("Build a kustomization, as kustomize does").after_help(
        "  # Print the objects of an overlay\n  sluice kustomize build overlays/prod\n\n  # Where does each part of an object come from?\n  sluice kustomize build overlays/prod --explain deployment/web",
    );
    flags::group("kustomize", "Build kustomizations without a cluster").subcommand(BuildArgs::augment_args(leaf))
}

pub fn run(_context: &Context, _path: &[String], matches: &ArgMatches) -> Outcome {
    let args = BuildArgs::from_arg_matches(matches).map_err(|error| Failure::new(error.to_string()))?;
    build(&args).map_err(Failure::new)
}
