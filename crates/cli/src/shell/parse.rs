//! From the command line to matches, with complaints in the words that users of Flux know.

use super::{Failure, flags::ARGUMENTS, help};
use clap::{
    Arg, ArgAction, ArgMatches, Command,
    error::{ContextKind, ContextValue, ErrorKind},
};
use std::error::Error as _;

/// What the command line asks for.
pub enum Parsed {
    /// Print this text to standard output.
    Help(String),
    /// Run the command at the end of `path` (the program's own name is not in it).
    /// `own_token` says that it has a `--token` of its own, which is not the one for the cluster.
    Run { path: Vec<String>, matches: Box<ArgMatches>, own_token: bool },
}

/// Parses `words`, the first of which is the program.
pub fn parse(root: Command, words: Vec<String>, beyond: &[&str]) -> Result<Parsed, Failure> {
    let mut root = adapt(root.arg(help_flag()).arg(version_flag()));
    let words = rewrite_help(words);
    root.build();
    let matches = match root.try_get_matches_from_mut(words) {
        Ok(matches) => matches,
        Err(error) => return Err(complaint(&root, &error)),
    };
    let (path, leaf, leaf_matches) = descend(&root, &matches);
    if leaf_matches.get_flag("help") {
        return Ok(Parsed::Help(help::render(leaf, &path, &root, beyond)));
    }
    if path.is_empty() && matches.get_flag("version") {
        return Ok(Parsed::Help(format!("{} version {}\n", root.get_name(), env!("CARGO_PKG_VERSION"))));
    }
    if leaf.has_subcommands() {
        let stray = leaf_matches.try_get_many::<String>(ARGUMENTS).ok().flatten().and_then(|mut words| words.next());
        if let (true, Some(word)) = (path.is_empty(), stray) {
            return Err(Failure::new(format!("unknown command {word:?} for {:?}", root.get_name())));
        }
        return Ok(Parsed::Help(help::render(leaf, &path, &root, beyond)));
    }
    let own_token = leaf.get_arguments().any(|arg| arg.get_id() == "token" && !arg.is_global_set());
    Ok(Parsed::Run { path, matches: Box::new(matches), own_token })
}

/// The matches of the command at the end of the line.
pub fn last(matches: &ArgMatches) -> &ArgMatches {
    match matches.subcommand() {
        Some((_, inner)) => last(inner),
        None => matches,
    }
}

fn descend<'a>(command: &'a Command, matches: &'a ArgMatches) -> (Vec<String>, &'a Command, &'a ArgMatches) {
    let (mut path, mut at, mut found) = (Vec::new(), command, matches);
    while let Some((name, inner)) = found.subcommand() {
        let Some(next) = at.find_subcommand(name) else { break };
        path.push(name.to_owned());
        (at, found) = (next, inner);
    }
    (path, at, found)
}

fn help_flag() -> Arg {
    Arg::new("help").long("help").short('h').action(ArgAction::SetTrue).global(true).help("help for this command")
}

fn version_flag() -> Arg {
    Arg::new("version").long("version").short('v').action(ArgAction::SetTrue).help("print the version")
}

/// `help get sources` is `get sources --help`.
fn rewrite_help(mut words: Vec<String>) -> Vec<String> {
    if words.get(1).is_some_and(|word| word == "help") {
        words.remove(1);
        words.push("--help".to_owned());
    }
    words
}

/// Makes clap take command lines as cobra does.
fn adapt(command: Command) -> Command {
    let command = command.disable_help_flag(true).disable_help_subcommand(true).disable_version_flag(true).args_override_self(true);
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    names.into_iter().fold(command, |command, name| command.mut_subcommand(name, adapt))
}

fn complaint(root: &Command, error: &clap::Error) -> Failure {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(", "),
        _ => String::new(),
    };
    // "--provider <generic|aws>" or "--name[=<name>]"
    let argument = text(ContextKind::InvalidArg);
    let flag = argument.split([' ', '[', '=']).next().unwrap_or("").to_owned();
    Failure::new(match error.kind() {
        ErrorKind::UnknownArgument => match flag.strip_prefix("--") {
            Some(name) => format!("unknown flag: --{name}"),
            None => match flag.strip_prefix('-').and_then(|rest| rest.chars().next()) {
                Some(letter) => format!("unknown shorthand flag: '{letter}' in {flag}"),
                None => format!("unknown command {flag:?} for {:?}", root.get_name()),
            },
        },
        ErrorKind::ValueValidation => {
            let why = error.source().map_or_else(|| "invalid value".to_owned(), ToString::to_string);
            format!("invalid argument {:?} for {:?} flag: {why}", text(ContextKind::InvalidValue), both_names(root, &flag))
        }
        ErrorKind::InvalidValue if text(ContextKind::InvalidValue).is_empty() => format!("flag needs an argument: {flag}"),
        _ => error.to_string().lines().next().unwrap_or("invalid command line").trim_start_matches("error: ").to_owned(),
    })
}

/// `-n, --namespace`, as pflag names a flag with a short form.
fn both_names(root: &Command, flag: &str) -> String {
    let long = flag.trim_start_matches('-');
    fn short_of(command: &Command, long: &str) -> Option<char> {
        let own = command.get_arguments().find(|arg| arg.get_long() == Some(long)).and_then(Arg::get_short);
        own.or_else(|| command.get_subcommands().find_map(|sub| short_of(sub, long)))
    }
    match short_of(root, long) {
        Some(short) => format!("-{short}, --{long}"),
        None => format!("--{long}"),
    }
}
