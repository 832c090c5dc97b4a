use crate::{Process, binary, free_port, until};
use helm::{Chart, ChartLimits};
use std::{net::TcpStream, path::Path, process::Command};
use tree::MemoryTree;

/// A packed chart of version 1.0.0 with these files.
pub fn pack_chart(name: &str, files: &[(&str, &str)]) -> Vec<u8> {
    let definition = format!("apiVersion: v2\nname: {name}\nversion: 1.0.0\n");
    let base = [("Chart.yaml", definition.as_str()), ("values.yaml", "a: b\n")];
    let tree: MemoryTree = base.iter().chain(files).map(|(path, text)| (*path, text.as_bytes().to_vec())).collect();
    Chart::from_tree(&tree, "", ChartLimits::default()).and_then(|chart| chart.pack(0)).expect("tests write good charts")
}

/// `sluice serve charts` over a folder.
pub struct ChartRepository {
    pub url: String,
    _process: Process,
    _logs: tempfile::TempDir,
}

impl ChartRepository {
    pub fn serve(folder: &Path) -> Self {
        let (logs, address) = (tempfile::tempdir().expect("a temporary folder"), format!("127.0.0.1:{}", free_port()));
        let mut command = Command::new(binary("sluice"));
        command.args(["serve", "charts"]).arg(folder).args(["--listen", &address]);
        let process = Process::start("charts", logs.path(), &mut command);
        until("the chart repository to listen", || TcpStream::connect(&address).map(drop).map_err(|error| error.to_string()));
        Self { url: format!("http://{address}"), _process: process, _logs: logs }
    }
}
