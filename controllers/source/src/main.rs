use clap::Parser;
use source_controller::{Args, Error, GATES, NAME};
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = Args::parse();
    runtime::program::run(NAME, &args.flags.clone(), &GATES, |process| async move {
        let gate = process.gates().enabled("ObjectLevelWorkloadIdentity");
        if !args.default_service_account.is_empty() && !gate {
            return Err(Error::DefaultServiceAccount);
        }
        source_controller::set_up(process, args.options()?).await.map(drop)
    })
}
