use crate::{Process, binary, free_port, until};
use std::{net::TcpStream, path::Path, process::Command};

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
