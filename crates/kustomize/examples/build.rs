//! `kustomize build` alone: the command of `sluice kustomize build` without the rest of it, for comparing and measuring.

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[path = "../../cli/src/disk.rs"]
mod disk;
#[path = "../../cli/src/kustomize.rs"]
mod kustomize_command;

#[derive(Parser)]
struct Words {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Build(kustomize_command::BuildArgs),
}

fn main() -> ExitCode {
    let Verb::Build(args) = Words::parse().verb;
    match kustomize_command::run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("Error: {message}");
            ExitCode::FAILURE
        }
    }
}
