//! `sluice`: the command line.
//!
//! ```text
//! words -> shell::parse (clap, with Flux's wording) -> VERBS -> verbs/*  ->  shell::{log, table, output}
//!                                                        |        `-> shell::Context -> cluster
//!                                                        `-- kinds: what each object is called
//! ```

#![recursion_limit = "256"]

mod builtin;
mod components;
mod difference;
mod discovery;
mod disk;
mod hmac;
mod kinds;
mod kustomize;
mod manifests;
mod objects;
mod readiness;
mod shell;
mod up;
mod verbs;

use clap::{ArgMatches, Command};
use shell::{Context, Outcome, log, parse::Parsed};
use std::{future::Future, pin::Pin, process::ExitCode};

type Running<'a> = Pin<Box<dyn Future<Output = Outcome> + 'a>>;

/// One verb: its part of the command tree, and what runs it.
struct Verb {
    command: fn() -> Command,
    run: for<'a> fn(&'a Context, &'a [String], &'a ArgMatches) -> Running<'a>,
}

macro_rules! verb {
    ($($module:ident)::+) => {
        Verb { command: $($module)::+::command, run: |context, path, matches| Box::pin($($module)::+::run(context, path, matches)) }
    };
    // The verbs that know artifacts only share a module.
    (artifact $command:ident $run:ident) => {
        Verb { command: verbs::artifact::$command, run: |context, _, matches| Box::pin(verbs::artifact::$run(context, matches)) }
    };
}

static VERBS: &[Verb] = &[
    verb!(up),
    verb!(verbs::apiserver),
    verb!(verbs::build),
    verb!(verbs::check),
    verb!(verbs::completion),
    verb!(verbs::create),
    verb!(verbs::debug),
    verb!(verbs::delete),
    verb!(verbs::diff),
    verb!(verbs::envsubst),
    verb!(verbs::events),
    verb!(verbs::export),
    verb!(verbs::get),
    verb!(verbs::helm),
    verb!(verbs::install),
    verb!(verbs::kustomize),
    verb!(artifact list_command list),
    verb!(verbs::logs),
    verb!(verbs::migrate),
    verb!(artifact pull_command pull),
    verb!(artifact push_command push),
    verb!(verbs::reconcile),
    verb!(verbs::resume),
    verb!(verbs::stats),
    verb!(verbs::suspend),
    verb!(artifact tag_command tag),
    verb!(verbs::trace),
    verb!(verbs::tree),
    verb!(verbs::trigger),
    verb!(verbs::uninstall),
    verb!(verbs::version),
];

/// Verbs that Flux does not have; help lists them apart.
static BEYOND: &[&str] = &["up", "apiserver", "kustomize", "helm"];

/// Verbs that stand in for another tool, whose errors scripts look for: told as that tool tells them.
static PLAIN: &[&str] = &["helm"];

/// The whole command tree.
fn tree() -> Command {
    let root = shell::flags::group("sluice", "GitOps for Kubernetes: brings clusters to the state that Git, OCI registries and Helm repositories declare")
        .bin_name("sluice")
        .after_help(
            "  # Try it without any cluster\n  sluice up examples/podinfo\n\n  # What is there, and is it well?\n  sluice get all -A\n\n  # Fetch the newest commit and apply it now\n  sluice reconcile kustomization apps --with-source",
        )
        .args(shell::cluster::flags());
    VERBS.iter().fold(root, |root, verb| root.subcommand((verb.command)()))
}

fn main() -> ExitCode {
    // A reader that closes the pipe ends the output, not the program with a panic.
    let words: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let plain = words.get(1).is_some_and(|verb| PLAIN.contains(&verb.as_str()));
    match run(words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            match failure.code {
                _ if plain => eprintln!("Error: {}", failure.message),
                // diff says with 1 that there are differences.
                1 if failure.is_finding => log::warning(&failure.message),
                _ => log::failure(&failure.message),
            }
            ExitCode::from(failure.code)
        }
    }
}

fn run(words: Vec<String>) -> Outcome {
    let (path, matches, own_token) = match shell::parse::parse(tree(), words, BEYOND)? {
        Parsed::Help(text) => return shell::output::print(&text),
        Parsed::Run { path, matches, own_token } => (path, matches, own_token),
    };
    let verb = VERBS.iter().find(|verb| path.first().is_some_and(|first| (verb.command)().get_name() == first));
    let verb = verb.ok_or_else(|| shell::Failure::new(format!("unknown command {path:?}")))?;
    let leaf = shell::parse::last(&matches);
    let context = Context::new("sluice", leaf, own_token)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| shell::Failure::new(format!("cannot start the runtime: {error}")))?;
    runtime.block_on((verb.run)(&context, &path, leaf))
}
