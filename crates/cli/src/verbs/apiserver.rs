//! `apiserver`: the embedded Kubernetes API server, alone.

use crate::shell::{Context, Failure, Flags, Outcome, flags, log};
use apiserver::{Controllers, Nodes, Options, Server};
use clap::{ArgMatches, Command};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

pub fn command() -> Command {
    flags::leaf("apiserver", "Run the embedded Kubernetes API server alone")
        .long_about(
            "Run the embedded Kubernetes API server alone.

It speaks TLS on loopback with a certificate of its own, and knows one administrator by a token; both are in the kubeconfig
that it writes (mode 0600) as soon as it is ready. State is in memory unless --data-dir names a folder, which survives
a crash at any moment.

Controllers make ReplicaSets, pods, endpoints and so on as in any cluster; a simulated node tells pods as ready after --ready-after,
without running anything. With --simulate-nodes=false pods stay pending, as in a cluster without nodes.",
        )
        .after_help(
            "  # For a while\n  sluice apiserver --write-kubeconfig kubeconfig &\n  kubectl --kubeconfig kubeconfig get namespaces\n\n  # With a memory, on a fixed port\n  sluice apiserver --listen 127.0.0.1:6443 --data-dir state --write-kubeconfig kubeconfig",
        )
        .args([
            flags::string("listen", "the address to listen on; port 0 takes a free one").default_value("127.0.0.1:0"),
            flags::string("data-dir", "keep state in this folder"),
            flags::string("write-kubeconfig", "where the kubeconfig goes; it appears when the server is ready"),
            flags::duration("ready-after", "how long a simulated workload takes to become ready").default_value("1s"),
            flags::switch_on("simulate-nodes", "have a simulated node that takes every pod; without it pods stay pending"),
            flags::string("controllers", "the controllers of workloads to run, as kube-controller-manager has it: \"*\" for all, \"-name\" to leave one out").default_value("*"),
        ])
}

pub async fn run(_context: &Context, _path: &[String], matches: &ArgMatches) -> Outcome {
    let text = matches.text("listen");
    let listen: SocketAddr =
        text.parse().map_err(|_| Failure::new(format!("--listen must be an address with a port, such as 127.0.0.1:6443, not {text:?}")))?;
    let kubeconfig = matches.text("write-kubeconfig");
    if kubeconfig.is_empty() {
        return Err(Failure::new("--write-kubeconfig is required: without the kubeconfig nobody could use the server"));
    }
    let nodes = if matches.is_set("simulate-nodes") {
        Nodes::Simulated { ready_after: matches.length("ready-after").map(|after| after.to_std()).unwrap_or_default() }
    } else {
        Nodes::None
    };
    let controllers = Controllers::parse(matches.text("controllers")).map_err(|e| Failure::new(format!("--controllers: {e}")))?;
    let data_dir = Some(matches.text("data-dir")).filter(|text| !text.is_empty()).map(PathBuf::from);
    let running =
        Server::start(Options { listen, data_dir, controllers, nodes, ..Default::default() }).await.map_err(|e| Failure::from_error(&e))?;
    running.write_kubeconfig(Path::new(kubeconfig)).map_err(|e| Failure::new(format!("cannot write {kubeconfig:?}: {e}")))?;
    log::success(format!("Kubernetes API server at https://{} (kubeconfig {kubeconfig})", running.address));
    crate::up::interrupted().await;
    running.shutdown().await;
    Ok(())
}
