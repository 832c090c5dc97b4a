//! Help in the form that users of Flux, kubectl and Helm know, with what Sluice adds set apart.

use super::flags::BEYOND;
use clap::{Arg, ArgAction, Command};
use std::fmt::Write as _;

/// The help of the command at the end of `path`; `beyond` names commands of the root that Flux does not have.
pub fn render(command: &Command, path: &[String], root: &Command, beyond: &[&str]) -> String {
    let mut out = String::new();
    let line = std::iter::once(root.get_name()).chain(path.iter().map(String::as_str)).collect::<Vec<_>>().join(" ");
    let about = command.get_long_about().or_else(|| command.get_about()).map(ToString::to_string).unwrap_or_default();
    let _ = writeln!(out, "{}\n\nUsage:", about.trim());
    if command.has_subcommands() {
        let _ = writeln!(out, "  {line} [command]");
    } else {
        let _ = writeln!(out, "  {line} [flags]");
    }
    let aliases: Vec<&str> = command.get_visible_aliases().collect();
    if !aliases.is_empty() {
        let _ = writeln!(out, "\nAliases:\n  {}, {}", command.get_name(), aliases.join(", "));
    }
    if let Some(examples) = command.get_after_help() {
        let _ = writeln!(out, "\nExamples:\n{}", examples.to_string().trim_end());
    }
    let subcommands: Vec<&Command> = command.get_subcommands().filter(|sub| !sub.is_hide_set()).collect();
    let is_beyond = |sub: &Command| path.is_empty() && beyond.contains(&sub.get_name());
    let mut entries: Vec<(String, String)> = subcommands.iter().filter(|sub| !is_beyond(sub)).map(|sub| entry(sub)).collect();
    if path.is_empty() {
        entries.push(("help".to_owned(), "Help about any command".to_owned()));
    }
    entries.sort();
    if command.has_subcommands() {
        list(&mut out, "Available Commands", &entries);
    }
    let flags: Vec<&Arg> = command.get_arguments().filter(|arg| arg.get_long().is_some() && !arg.is_hide_set()).collect();
    let own =
        |arg: &&&Arg| path.is_empty() || !root.get_arguments().any(|global| global.get_id() == arg.get_id() && global.is_global_set());
    let ours = |arg: &&&Arg| arg.get_help_heading() == Some(BEYOND);
    flag_list(&mut out, "Flags", flags.iter().filter(|arg| (own(arg) || arg.get_id() == "help") && !ours(arg)).copied());
    flag_list(&mut out, "Global Flags", flags.iter().filter(|arg| !own(arg) && arg.get_id() != "help" && !ours(arg)).copied());
    let extra: Vec<(String, String)> = subcommands.iter().filter(|sub| is_beyond(sub)).map(|sub| entry(sub)).collect();
    list(&mut out, BEYOND, &extra);
    flag_list(&mut out, BEYOND, flags.iter().filter(|arg| ours(arg)).copied());
    if command.has_subcommands() {
        let _ = writeln!(out, "\nUse \"{line} [command] --help\" for more information about a command.");
    }
    out
}

fn entry(command: &Command) -> (String, String) {
    (command.get_name().to_owned(), command.get_about().map(ToString::to_string).unwrap_or_default())
}

fn list(out: &mut String, title: &str, entries: &[(String, String)]) {
    if entries.is_empty() {
        return;
    }
    let width = entries.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max(11);
    let _ = writeln!(out, "\n{title}:");
    for (name, about) in entries {
        let _ = writeln!(out, "  {name:width$} {about}");
    }
}

fn flag_list<'a>(out: &mut String, title: &str, flags: impl Iterator<Item = &'a Arg>) {
    let mut lines: Vec<(String, String)> = flags.map(|arg| (signature(arg), description(arg))).collect();
    lines.sort_by(|a, b| a.0.trim_start_matches([' ', '-', ',']).cmp(b.0.trim_start_matches([' ', '-', ','])));
    lines.sort_by_key(|(signature, _)| signature.split("--").nth(1).map(str::to_owned));
    if lines.is_empty() {
        return;
    }
    let width = lines.iter().map(|(signature, _)| signature.len()).max().unwrap_or(0);
    let _ = writeln!(out, "\n{title}:");
    for (signature, description) in lines {
        let _ = writeln!(out, "{signature:width$}   {description}");
    }
}

fn is_switch(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue | ArgAction::SetFalse) || arg.get_num_args().is_some_and(|range| range.min_values() == 0)
}

fn signature(arg: &Arg) -> String {
    let short = arg.get_short().map_or_else(|| "      ".to_owned(), |letter| format!("  -{letter}, "));
    let kind = match arg.get_value_names() {
        Some([name, ..]) if !is_switch(arg) => format!(" {name}"),
        _ => String::new(),
    };
    format!("{short}--{}{kind}", arg.get_long().unwrap_or(""))
}

fn description(arg: &Arg) -> String {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let defaults: Vec<String> = arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    let kind = arg.get_value_names().and_then(|names| names.first()).map(|name| name.as_str()).unwrap_or("");
    let default = match (kind, defaults.as_slice()) {
        (_, []) => String::new(),
        _ if is_switch(arg) => {
            if defaults == ["true"] {
                "true".to_owned()
            } else {
                String::new()
            }
        }
        ("string", [only]) => format!("{only:?}"),
        ("strings" | "stringArray", many) => format!("[{}]", many.join(",")),
        (_, [only, ..]) => only.clone(),
    };
    if default.is_empty() { help } else { format!("{help} (default {default})") }
}
