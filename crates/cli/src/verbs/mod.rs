//! The verbs, one file or folder each.

pub mod apiserver;
pub mod artifact;
pub mod bootstrap;
pub mod build;
pub mod check;
pub mod completion;
pub mod create;
pub mod debug;
pub mod delete;
pub mod diff;
pub mod envsubst;
pub mod events;
pub mod export;
pub mod get;
pub mod helm;
pub mod install;
pub mod kustomize;
pub mod local;
pub mod logs;
pub mod migrate;
pub mod reconcile;
pub mod resume;
pub mod serve;
pub mod stats;
pub mod suspend;
pub mod trace;
pub mod tree;
pub mod trigger;
pub mod uninstall;
pub mod version;

use crate::{
    kinds::{self, Kind},
    shell::{Context, Failure, Flags as _, Outcome, flags},
};
use clap::{ArgMatches, Command};

/// Hangs one sub-command per kind under a verb, with the groups (`source`, `image`, …) in between.
/// `dress` adds flags and help to each.
pub fn per_kind(verb: Command, kinds: &[&'static Kind], dress: impl Fn(Command, &'static Kind) -> Command) -> Command {
    kinds.iter().fold(verb, |verb, kind| {
        let leaf = |word: &'static str| {
            let leaf = flags::leaf(word, "");
            let leaf = match kind.alias {
                Some(alias) => leaf.visible_alias(alias),
                None => leaf,
            };
            dress(leaf, kind)
        };
        match kind.words {
            [group, word] => {
                let verb = if verb.find_subcommand(group).is_some() {
                    verb
                } else {
                    let about = format!("Work on {group} objects");
                    verb.subcommand(flags::group(group, "").about(about))
                };
                verb.mut_subcommand(group, |holder| holder.subcommand(leaf(word)))
            }
            [word, ..] => verb.subcommand(leaf(word)),
            [] => verb,
        }
    })
}

/// The kind that the words after the verb name.
pub fn kind_of(path: &[String]) -> Result<&'static Kind, Failure> {
    kinds::of_words(path.get(1..).unwrap_or(&[])).ok_or_else(|| Failure::new(format!("unknown kind of object: {}", path.join(" "))))
}

/// Refuses arguments, in cobra's words.
pub fn no_arguments(context: &Context, path: &[String], matches: &ArgMatches) -> Outcome {
    match matches.arguments().first() {
        None => Ok(()),
        Some(word) => Err(Failure::new(format!("unknown command {word:?} for \"{} {}\"", context.program(), path.join(" ")))),
    }
}
