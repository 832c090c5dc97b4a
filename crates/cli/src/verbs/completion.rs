//! `completion`: scripts for shells.

use super::no_arguments;
use crate::shell::{Context, Failure, Outcome, flags, output};
use clap::{ArgMatches, Command};
use clap_complete::{Shell, generate};

pub fn command() -> Command {
    let leaf = |name: &'static str, example: &'static str| {
        flags::leaf(name, "").about(format!("Generate the completion script for {name}")).after_help(example)
    };
    flags::group("completion", "Generate completion scripts for various shells")
        .subcommand(leaf("bash", "  # In ~/.bashrc\n  command -v sluice >/dev/null && . <(sluice completion bash)"))
        .subcommand(leaf("zsh", "  # In ~/.zshrc\n  command -v sluice >/dev/null && . <(sluice completion zsh)"))
        .subcommand(leaf("fish", "  # In ~/.config/fish/config.fish\n  sluice completion fish | source"))
        .subcommand(leaf("powershell", "  # In the profile\n  sluice completion powershell | Out-String | Invoke-Expression"))
}

pub async fn run(context: &Context, path: &[String], matches: &ArgMatches) -> Outcome {
    no_arguments(context, path, matches)?;
    let shell = match path.last().map(String::as_str) {
        Some("bash") => Shell::Bash,
        Some("zsh") => Shell::Zsh,
        Some("fish") => Shell::Fish,
        Some("powershell") => Shell::PowerShell,
        _ => return Err(Failure::new("unknown shell")),
    };
    let mut script = Vec::new();
    generate(shell, &mut crate::tree(&[]), context.program(), &mut script);
    output::print(&String::from_utf8_lossy(&script))
}
