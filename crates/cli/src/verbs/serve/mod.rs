//! `serve charts`: a folder of charts as a repository, for a laptop and for tests.
//!
//! ```text
//! directory --find--> places --load, pack (only what changed)--> Collection {index.yaml, NAME-VERSION.tgz}
//! GET, HEAD ------------------------------------------> answer <----'      (ETag, 304)
//! ```

mod answer;
mod collection;

use crate::shell::{Context, Failure, Flags as _, Outcome, flags, log};
use clap::{ArgMatches, Command};
use collection::Folder;
use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
};

pub fn command() -> Command {
    flags::group("serve", "Serve a folder of this machine to controllers and clients").subcommand(
        flags::leaf("charts", "Serve a folder of Helm charts as a chart repository")
            .long_about(
                "Serve a folder of Helm charts as a chart repository.

Every directory with a Chart.yaml is packed, every .tgz file is taken as it is, and index.yaml lists them with their digests.
The folder is looked at again with each request for the index: a saved chart is served at once. A chart that cannot be
read is left out with a warning. There is no authentication, so it listens on loopback unless told otherwise.",
            )
            .after_help(
                "  # The charts of the example, for a HelmRepository or for helm repo add\n  sluice serve charts examples/platform/charts\n\n  # On a port of your own\n  sluice serve charts ./charts --listen 127.0.0.1:9000",
            )
            .arg(flags::string("listen", "the address to listen on; port 0 takes a free one").default_value("127.0.0.1:8879")),
    )
}

pub async fn run(_context: &Context, _path: &[String], matches: &ArgMatches) -> Outcome {
    let directory = match matches.arguments().as_slice() {
        [directory] => directory.clone(),
        given => return Err(Failure::new(format!("name one folder with charts: sluice serve charts DIR (got {} arguments)", given.len()))),
    };
    let text = matches.text("listen");
    let listen: SocketAddr =
        text.parse().map_err(|_| Failure::new(format!("--listen must be an address with a port, such as 127.0.0.1:8879, not {text:?}")))?;
    let mut folder = Folder::open(Path::new(&directory))?;
    let count = folder.refresh()?.len();
    let listener = tokio::net::TcpListener::bind(listen).await;
    let listener = listener.map_err(|error| Failure::new(format!("cannot listen on {listen}: {error}")))?;
    let address = listener.local_addr().map_err(|error| Failure::new(format!("cannot listen on {listen}: {error}")))?;
    if !address.ip().is_loopback() {
        log::warning(format!("{address} can be reached from other machines, and asks nobody for a password"));
    }
    log::success(format!("serving {count} charts of {directory} at http://{address}"));
    let folder = Arc::new(Mutex::new(folder));
    store::serve_requests(listener, move |request| answer::answer(folder.clone(), request), crate::up::interrupted()).await;
    Ok(())
}
