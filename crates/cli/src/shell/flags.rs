//! Flags as Flux's command line has them: names, types and defaults, and the wording of what is wrong with a value.

use super::Failure;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::{str::FromStr, time::Duration};
use types::GoDuration;

/// Heading of flags that Flux does not have; help lists them apart.
pub const BEYOND: &str = "Beyond Flux";

fn option(name: &'static str, kind: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(kind).help(help).action(ArgAction::Set).allow_hyphen_values(true)
}

/// A text.
pub fn string(name: &'static str, help: &'static str) -> Arg {
    option(name, "string", help)
}

/// Texts, separated by commas; may be repeated.
pub fn strings(name: &'static str, help: &'static str) -> Arg {
    option(name, "strings", help).action(ArgAction::Append).value_delimiter(',')
}

/// Texts, one each time.
pub fn string_array(name: &'static str, help: &'static str) -> Arg {
    option(name, "stringArray", help).action(ArgAction::Append)
}

/// A switch; `--name=false` turns it off.
pub fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .help(help)
        .action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .default_value("false")
        .value_parser(parse_bool)
}

/// A switch that is on unless turned off.
pub fn switch_on(name: &'static str, help: &'static str) -> Arg {
    switch(name, help).default_value("true")
}

/// A length of time such as `1m30s`.
pub fn duration(name: &'static str, help: &'static str) -> Arg {
    option(name, "duration", help).value_parser(parse_duration)
}

pub fn int(name: &'static str, help: &'static str) -> Arg {
    option(name, "int", help).value_parser(parse_int)
}

/// A text that `check` admits; `kind` is how help names the type.
pub fn checked(
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    check: impl Fn(&str) -> Result<String, String> + Clone + Send + Sync + 'static,
) -> Arg {
    option(name, kind, help).value_parser(move |text: &str| check(text))
}

/// Texts that `check` admits, separated by commas; may be repeated.
pub fn checked_list(
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    check: impl Fn(&str) -> Result<String, String> + Clone + Send + Sync + 'static,
) -> Arg {
    checked(name, kind, help, check).action(ArgAction::Append).value_delimiter(',')
}

/// One of some words. `noun` begins the complaint: `source OCI provider 'x' is not supported, …`.
pub fn one_of(name: &'static str, kind: &'static str, noun: &'static str, words: &'static [&'static str], help: &'static str) -> Arg {
    checked(name, kind, help, move |text| {
        if words.contains(&text) {
            Ok(text.to_owned())
        } else {
            Err(format!("{noun} '{text}' is not supported, must be one of: {}", words.join(", ")))
        }
    })
}

/// A flag that Flux does not have.
pub fn beyond(arg: Arg) -> Arg {
    arg.help_heading(BEYOND)
}

/// The positional arguments of a command that runs.
pub fn arguments() -> Arg {
    Arg::new(ARGUMENTS).num_args(0..).hide(true).value_parser(value_parser!(String))
}

pub const ARGUMENTS: &str = "ARGUMENTS";

/// A command that does something itself.
pub fn leaf(name: &'static str, about: &'static str) -> Command {
    Command::new(name).about(about).arg(arguments())
}

/// A command that only holds others.
pub fn group(name: &'static str, about: &'static str) -> Command {
    // Words that are no sub-command land in ARGUMENTS, and the group prints its help, as cobra does.
    Command::new(name).about(about).arg(arguments())
}

fn parse_bool(text: &str) -> Result<bool, String> {
    // strconv.ParseBool
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing {text:?}: invalid syntax")),
    }
}

fn parse_int(text: &str) -> Result<i64, String> {
    i64::from_str(text).map_err(|error| {
        let why = match error.kind() {
            std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        format!("strconv.ParseInt: parsing {text:?}: {why}")
    })
}

fn parse_duration(text: &str) -> Result<GoDuration, String> {
    GoDuration::parse(text).map_err(|_| match text {
        "" => "time: invalid duration \"\"".to_owned(),
        _ if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') => format!("time: missing unit in duration {text:?}"),
        _ => format!("time: invalid duration {text:?}"),
    })
}

/// Reading parsed flags by name and type. A flag that a command does not define reads as absent.
pub trait Flags {
    /// Empty when not given.
    fn text(&self, name: &str) -> &str;
    fn texts(&self, name: &str) -> Vec<String>;
    fn is_set(&self, name: &str) -> bool;
    /// Whether the command line names the flag at all.
    fn given(&self, name: &str) -> bool;
    fn length(&self, name: &str) -> Option<GoDuration>;
    fn number(&self, name: &str) -> Option<i64>;
    fn arguments(&self) -> Vec<String>;
    /// The first argument, or a complaint that `what` is missing.
    fn name(&self, what: &str) -> Result<String, Failure>;
    /// Exactly one argument, in cobra's words.
    fn exactly_one(&self) -> Result<String, Failure>;
}

impl Flags for ArgMatches {
    fn text(&self, name: &str) -> &str {
        self.try_get_one::<String>(name).ok().flatten().map_or("", String::as_str)
    }

    fn texts(&self, name: &str) -> Vec<String> {
        self.try_get_many::<String>(name).ok().flatten().map(|values| values.cloned().collect()).unwrap_or_default()
    }

    fn is_set(&self, name: &str) -> bool {
        self.try_get_one::<bool>(name).ok().flatten().copied().unwrap_or(false)
    }

    fn given(&self, name: &str) -> bool {
        self.try_contains_id(name).unwrap_or(false) && self.value_source(name) == Some(clap::parser::ValueSource::CommandLine)
    }

    fn length(&self, name: &str) -> Option<GoDuration> {
        self.try_get_one::<GoDuration>(name).ok().flatten().copied()
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.try_get_one::<i64>(name).ok().flatten().copied()
    }

    fn arguments(&self) -> Vec<String> {
        self.texts(ARGUMENTS)
    }

    fn name(&self, what: &str) -> Result<String, Failure> {
        self.arguments().into_iter().next().ok_or_else(|| Failure::new(format!("{what} is required")))
    }

    fn exactly_one(&self) -> Result<String, Failure> {
        let mut arguments = self.arguments();
        match (arguments.len(), arguments.pop()) {
            (1, Some(only)) => Ok(only),
            (count, _) => Err(Failure::new(format!("accepts 1 arg(s), received {count}"))),
        }
    }
}

/// A length of time for waiting; negative ones are none at all.
pub fn to_std(length: GoDuration) -> Duration {
    Duration::from_nanos(u64::try_from(length.as_nanos()).unwrap_or(0))
}
