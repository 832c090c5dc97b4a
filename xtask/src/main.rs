//! Developer tasks: `cargo run -p xtask -- TASK`.

mod crds;

use std::{env, process::ExitCode};

const USAGE: &str = "usage: cargo run -p xtask -- TASK

tasks:
  crds            writes crds/ from the types in crates/api
  crds --check    fails when crds/ is not what the types say";

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["crds"] => crds::write(),
        ["crds", "--check"] => crds::check(),
        _ => Err(USAGE.to_owned()),
    };
    match outcome {
        Ok(message) => {
            println!("{message}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
