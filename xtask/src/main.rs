//! Developer tasks: `cargo run -p xtask -- TASK`.

mod crds;
mod protobuf;
mod roles;
mod schemas;

use std::{env, process::ExitCode};

const USAGE: &str = "usage: cargo run -p xtask -- TASK

tasks:
  crds            writes crds/ from the types in crates/api
  crds --check    fails when crds/ is not what the types say

Data of Kubernetes, for another version of it (docs/apiserver.md says how its input is made):
  schemas FOLDER         writes crates/merge/data/kubernetes.pack from what an API server answers
  protobuf FOLDER...     writes crates/apiserver/data/protobuf.txt from folders of Kubernetes' Go sources
  roles FILE             writes crates/apiserver/data/roles.json from the roles of a fresh server";

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["crds"] => crds::write(),
        ["crds", "--check"] => crds::check(),
        ["schemas", folder] => schemas::write(folder),
        ["protobuf", folders @ ..] if !folders.is_empty() => protobuf::write(folders),
        ["roles", file] => roles::write(file),
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
