//! The artifact-controller program.

use artifact_controller::{Args, Error, GATES, NAME, set_up};
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = Args::read();
    runtime::program::run(NAME, &args.flags.clone(), &GATES, |process| async move {
        let options = args.options().map_err(Error::Argument)?;
        set_up(process, options).await.map(drop)
    })
}
