//! `helm`: charts rendered, checked, shown and packed without a cluster, with Helm's flags, output and errors.
//!
//! ```text
//! flags -> values (files, --set*) -.
//! place -> place (directory, tgz), remote (repositories, registries) -> template | lint | show | dependency | package -> standard output, files
//! ```

mod dependency;
mod lint;
pub mod options;
mod package;
pub mod place;
mod remote;
mod show;
mod template;
mod values;

use crate::shell::{Context, Failure, Flags as _, Outcome, flags};
use clap::{Arg, ArgMatches, Command};

pub fn command() -> Command {
    flags::group("helm", "Render, check, show and pack Helm charts without a cluster")
        .arg(flags::switch("debug", "enable verbose output").global(true))
        .subcommand(template::command())
        .subcommand(lint::command())
        .subcommand(show::command())
        .subcommand(dependency::command())
        .subcommand(package::command())
}

pub fn run(context: &Context, path: &[String], matches: &ArgMatches) -> Outcome {
    // To go on unchecked where a check was asked for would be worse than to stop.
    if matches.is_set("verify") {
        return Err(Failure::new(
            "signatures of charts are not checked here, and --verify does not go on without; check the archive with 'helm verify' or with gpg, and then leave --verify away",
        ));
    }
    match path.iter().skip(1).map(String::as_str).collect::<Vec<_>>()[..] {
        ["template"] => template::run(context, matches),
        ["lint"] => lint::run(context, matches),
        ["show", what] => show::run(what, matches),
        ["dependency", "list"] => dependency::list(matches),
        ["dependency", "build"] => dependency::build(matches),
        ["dependency", "update"] => dependency::update(matches),
        ["package"] => package::run(matches),
        _ => Err(Failure::new(format!("unknown command {:?} for \"sluice helm\"", path.last()))),
    }
}

/// Flags of Helm that mean nothing here: they are taken, so that command lines go on working.
fn accepted(names: &'static [(&'static str, bool)]) -> impl Iterator<Item = Arg> {
    names.iter().map(|(name, switch)| {
        let help = "accepted for compatibility; without effect here";
        if *switch { flags::switch(name, help) } else { flags::string(name, help) }.hide(true)
    })
}

/// What cobra says of a number of arguments that a command does not take.
fn arguments(matches: &ArgMatches, command: &str, usage: &str, at_least: usize, at_most: usize) -> Result<Vec<String>, Failure> {
    let given = matches.arguments();
    if given.len() >= at_least && given.len() <= at_most {
        return Ok(given);
    }
    let plural = if at_least == 1 { "argument" } else { "arguments" };
    let wanted = if at_least == at_most { format!("{at_least}") } else { format!("at least {at_least}") };
    Err(Failure::new(format!("\"sluice helm {command}\" requires {wanted} {plural}\n\nUsage:  sluice helm {usage} [flags]")))
}
