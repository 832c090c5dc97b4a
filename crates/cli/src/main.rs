//! `sluice`: the command line.
//!
//! ```text
//! words -> shell::parse (clap, with Flux's wording) -> VERBS -> verbs/*  ->  shell::{log, table, output}
//!                                                        |        `-> shell::Context -> cluster
//!                                                        `-- kinds: what each object is called
//! ```

#![recursion_limit = "256"]

mod builtin;
mod charts;
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
    /// The word that names it.
    name: &'static str,
    command: fn() -> Command,
    work: Work,
}

/// What a verb does.
enum Work {
    /// It only computes, and needs nothing that waits: it starts quicker without.
    Computes(fn(&Context, &[String], &ArgMatches) -> Outcome),
    Waits(for<'a> fn(&'a Context, &'a [String], &'a ArgMatches) -> Running<'a>),
}

macro_rules! verb {
    ($name:literal computes $($module:ident)::+) => {
        Verb { name: $name, command: $($module)::+::command, work: Work::Computes($($module)::+::run) }
    };
    ($name:literal $($module:ident)::+) => {
        Verb {
            name: $name,
            command: $($module)::+::command,
            work: Work::Waits(|context, path, matches| Box::pin($($module)::+::run(context, path, matches))),
        }
    };
    // The verbs that know artifacts only share a module.
    ($name:literal artifact $command:ident $run:ident) => {
        Verb {
            name: $name,
            command: verbs::artifact::$command,
            work: Work::Waits(|context, _, matches| Box::pin(verbs::artifact::$run(context, matches))),
        }
    };
}

static VERBS: &[Verb] = &[
    verb!("up" up),
    verb!("apiserver" verbs::apiserver),
    verb!("bootstrap" verbs::bootstrap),
    verb!("build" verbs::build),
    verb!("check" verbs::check),
    verb!("completion" verbs::completion),
    verb!("create" verbs::create),
    verb!("debug" verbs::debug),
    verb!("delete" verbs::delete),
    verb!("diff" verbs::diff),
    verb!("envsubst" verbs::envsubst),
    verb!("events" verbs::events),
    verb!("export" verbs::export),
    verb!("get" verbs::get),
    verb!("helm" computes verbs::helm),
    verb!("install" verbs::install),
    verb!("kustomize" computes verbs::kustomize),
    verb!("list" artifact list_command list),
    verb!("logs" verbs::logs),
    verb!("migrate" verbs::migrate),
    verb!("pull" artifact pull_command pull),
    verb!("push" artifact push_command push),
    verb!("reconcile" verbs::reconcile),
    verb!("resume" verbs::resume),
    verb!("serve" verbs::serve),
    verb!("stats" verbs::stats),
    verb!("suspend" verbs::suspend),
    verb!("tag" artifact tag_command tag),
    verb!("trace" verbs::trace),
    verb!("tree" verbs::tree),
    verb!("trigger" verbs::trigger),
    verb!("uninstall" verbs::uninstall),
    verb!("version" verbs::version),
];

/// Verbs that Flux does not have; help lists them apart.
static BEYOND: &[&str] = &["up", "apiserver", "serve", "kustomize", "helm"];

/// Verbs that stand in for another tool, whose errors scripts look for: told as that tool tells them.
static PLAIN: &[&str] = &["helm", "kustomize"];

/// The command tree: of what the command line needs, if its first word tells, else the whole. Building all of it takes longer than many a verb.
fn tree(words: &[String]) -> Command {
    let root = shell::flags::group("sluice", "GitOps for Kubernetes: brings clusters to the state that Git, OCI registries and Helm repositories declare")
        .bin_name("sluice")
        .after_help(
            "  # Try it without any cluster\n  sluice up examples/podinfo\n\n  # What is there, and is it well?\n  sluice get all -A\n\n  # Fetch the newest commit and apply it now\n  sluice reconcile kustomization apps --with-source",
        )
        .args(shell::cluster::flags());
    let asks_for_version = matches!(words, [_, flag] if flag == "--version" || flag == "-v");
    let first = words.get(1).map(String::as_str).filter(|first| asks_for_version || VERBS.iter().any(|verb| verb.name == *first));
    VERBS.iter().filter(|verb| first.is_none_or(|first| verb.name == first)).fold(root, |root, verb| root.subcommand((verb.command)()))
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
    let tree = tree(&words);
    let (path, matches, own_token) = match shell::parse::parse(tree, words, BEYOND)? {
        Parsed::Help(text) => return shell::output::print(&text),
        Parsed::Run { path, matches, own_token } => (path, matches, own_token),
    };
    let verb = VERBS.iter().find(|verb| path.first().is_some_and(|first| verb.name == first));
    let verb = verb.ok_or_else(|| shell::Failure::new(format!("unknown command {path:?}")))?;
    let leaf = shell::parse::last(&matches);
    let context = Context::new("sluice", leaf, own_token)?;
    match verb.work {
        Work::Computes(run) => run(&context, &path, leaf),
        Work::Waits(run) => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
            let runtime = runtime.map_err(|error| shell::Failure::new(format!("cannot start the runtime: {error}")))?;
            runtime.block_on(run(&context, &path, leaf))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_are_called_what_their_commands_are() {
        for verb in VERBS {
            assert_eq!((verb.command)().get_name(), verb.name);
        }
    }
}
