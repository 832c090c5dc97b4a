use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, PoisonError},
};

/// A child process that ends with its handle, and writes its output to a file that a failing test can show.
pub struct Process {
    name: String,
    child: Mutex<Child>,
    log: PathBuf,
    /// A test wants it to end.
    told: bool,
}

impl Process {
    pub fn start(name: &str, logs: &Path, command: &mut Command) -> Self {
        let log = logs.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log).expect("the log folder is ours");
        let clone = file.try_clone().expect("a file can be opened twice");
        let child = command.stdin(Stdio::null()).stdout(file).stderr(clone).spawn().unwrap_or_else(|e| panic!("cannot start {name}: {e}"));
        Self { name: name.to_owned(), child: Mutex::new(child), log, told: false }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    fn child(&mut self) -> &mut Child {
        self.child.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// kill -9: no chance to tidy up.
    pub fn kill(&mut self) {
        self.told = true;
        let _ = self.child().kill();
        let _ = self.child().wait();
    }

    /// A polite end, as Kubernetes asks for it; true when it left by itself in time.
    pub fn terminate(&mut self) -> bool {
        self.told = true;
        let _ = Command::new("kill").args(["-TERM", &self.child().id().to_string()]).status();
        for _ in 0..200 {
            if matches!(self.child().try_wait(), Ok(Some(_))) {
                return true;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        false
    }

    /// How it ended, if it did so by itself.
    pub fn died(&self) -> Option<ExitStatus> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        child.try_wait().ok().flatten().filter(|_| !self.told)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<_> = log.lines().rev().take(40).collect();
            println!("--- last lines of {}:", self.name);
            tail.into_iter().rev().for_each(|line| println!("{line}"));
        }
    }
}

/// A binary of the workspace, built when it is not there.
pub fn binary(name: &str) -> PathBuf {
    let folder =
        std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.parent()?.to_owned())).expect("a test lies in target/PROFILE/deps");
    let path = folder.join(name);
    if !path.exists() {
        let status = Command::new(env!("CARGO")).args(["build", "--workspace", "--bins"]).current_dir(env!("CARGO_MANIFEST_DIR")).status();
        assert!(status.is_ok_and(|s| s.success()) && path.exists(), "{} is not built: cargo build --workspace --bins", path.display());
    }
    path
}
