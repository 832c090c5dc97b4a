//! Progress on standard error, with Flux's symbols; coloured on a terminal.

use owo_colors::{OwoColorize as _, Style};
use std::io::{self, IsTerminal as _};

pub fn action(text: impl AsRef<str>) {
    say("►", Style::new(), text);
}

pub fn generate(text: impl AsRef<str>) {
    say("✚", Style::new(), text);
}

pub fn waiting(text: impl AsRef<str>) {
    say("◎", Style::new(), text);
}

pub fn success(text: impl AsRef<str>) {
    say("✔", Style::new().green(), text);
}

pub fn warning(text: impl AsRef<str>) {
    say("⚠️", Style::new().yellow(), text);
}

pub fn failure(text: impl AsRef<str>) {
    say("✗", Style::new().red(), text);
}

fn say(symbol: &str, style: Style, text: impl AsRef<str>) {
    if coloured() {
        eprintln!("{} {}", symbol.style(style), text.as_ref());
    } else {
        eprintln!("{symbol} {}", text.as_ref());
    }
}

fn coloured() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
