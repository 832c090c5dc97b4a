//! Runs a server alone:
//! `serve --write-kubeconfig FILE [--listen ADDR] [--data-dir DIR] [--seconds N] [--snapshot-after BYTES] [--controllers LIST] [--ready-after MILLISECONDS|never]`.

use apiserver::{Controllers, Nodes, Options, Server};
use std::time::Duration;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut options = Options::default();
    let mut file = None;
    let mut seconds = 3600;
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or("every option takes a value")?;
        match name.as_str() {
            "--write-kubeconfig" => file = Some(value),
            "--listen" => options.listen = value.parse()?,
            "--data-dir" => options.data_dir = Some(value.into()),
            "--seconds" => seconds = value.parse()?,
            "--snapshot-after" => options.snapshot_after = value.parse()?,
            "--controllers" => options.controllers = Controllers::parse(&value)?,
            "--ready-after" if value == "never" => options.nodes = Nodes::None,
            "--ready-after" => options.nodes = Nodes::Simulated { ready_after: Duration::from_millis(value.parse()?) },
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    let running = Server::start(options).await?;
    if let Some(file) = file {
        running.write_kubeconfig(file.as_ref())?;
    }
    println!("serving on https://{}", running.address);
    tokio::select! {
        () = tokio::time::sleep(Duration::from_secs(seconds)) => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    running.shutdown().await;
    Ok(())
}
