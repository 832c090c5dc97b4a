use crate::{Process, binary, kubectl, until};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// One of the project's examples, in a folder of its own that a test may edit.
pub fn example(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name).join(".");
    let status = Command::new("cp").arg("-a").arg(from).arg(folder.path()).status();
    assert!(status.is_ok_and(|status| status.success()), "no example {name}");
    folder
}

/// Replaces a text that must be there in a file of an example.
pub fn edit(folder: &Path, path: &str, from: &str, to: &str) {
    let file = folder.join(path);
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert!(text.contains(from), "{path} holds no {from:?}");
    fs::write(file, text.replace(from, to)).expect("the folder is ours");
}

/// `sluice up … --exit-when-ready`: as in CI.
pub fn up_once(arguments: &[&str]) -> Output {
    let mut command = Command::new(binary("sluice"));
    command.arg("up").args(arguments).args(["--exit-when-ready", "--ready-after", "100ms"]).output().expect("sluice runs")
}

/// `sluice up` as it goes on.
pub struct Up {
    pub process: Process,
    pub kubeconfig: PathBuf,
    _state: tempfile::TempDir,
}

impl Up {
    pub fn start(target: &str, arguments: &[&str]) -> Self {
        let state = tempfile::tempdir().expect("a temporary folder");
        let kubeconfig = state.path().join("kubeconfig");
        let mut command = Command::new(binary("sluice"));
        command.arg("up").arg(target).arg("--write-kubeconfig").arg(&kubeconfig).args(["--ready-after", "0s"]).args(arguments);
        Self { process: Process::start("up", state.path(), &mut command), kubeconfig, _state: state }
    }

    /// Waits until it has said `count` times that everything is ready.
    pub fn until_ready(&self, count: usize) {
        until("everything to be ready", || {
            let log = self.process.log();
            if log.matches("Ctrl-C stops").count() >= count { Ok(()) } else { Err(log.lines().last().unwrap_or_default().to_owned()) }
        });
    }

    pub fn kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        kubectl(&self.kubeconfig, arguments, None)
    }

    /// Waits until kubectl prints exactly this.
    pub fn until_prints(&self, arguments: &[&str], wanted: &str) {
        until(&format!("kubectl {arguments:?} to print {wanted:?}"), || match self.kubectl(arguments)? {
            found if found == wanted => Ok(()),
            found => Err(found),
        });
    }
}
