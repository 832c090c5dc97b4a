//! The helm-controller program.

use clap::Parser;
use helm_controller::{Arguments, FEATURE_GATES, Options, set_up};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let options = Options::from_arguments(&arguments);
    runtime::program::run("helm-controller", &arguments.flags, FEATURE_GATES, move |process| set_up(process, options))
}
