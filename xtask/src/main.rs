//! Developer tasks: `cargo run -p xtask -- TASK`.

mod schemas;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["schemas", folder] => schemas::run(folder),
        _ => Err("usage: xtask schemas DIR    DIR holds openapi-v2.json, openapi-v3/, discovery-api.json, discovery-apis.json".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
