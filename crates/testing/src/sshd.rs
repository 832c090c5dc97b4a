//! Debian's OpenSSH server over loopback, with keys of its own, gone when dropped.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Longest life of a server that nobody stops.
const SECONDS_MAX: &str = "600";

/// A server that lets in whoever holds one of its keys, as the user who runs the test.
pub struct Sshd {
    folder: tempfile::TempDir,
    port: u16,
    user: String,
    child: Child,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders.map(|folder: PathBuf| folder.join(name)).find(|path| path.is_file())
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().expect("the program runs");
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

impl Sshd {
    /// Starts a server with host keys of these kinds (`ed25519`, `ecdsa`, `rsa`); `None`, plainly said, where there is no sshd.
    ///
    /// # Panics
    /// When the server is there and does not start.
    pub fn start(host_keys: &[&str]) -> Option<Self> {
        let (Some(sshd), Some(_), Some(_)) = (program("sshd"), program("ssh-keygen"), program("timeout")) else {
            println!("SKIPPED: sshd, ssh-keygen or timeout is not installed (Debian package openssh-server)");
            return None;
        };
        let user = run("id", &["-un"]);
        if user == "root" {
            // What Debian's service makes before it starts the server; without it a server of root ends at once.
            std::fs::create_dir_all("/run/sshd").expect("root may make it");
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = crate::free_port();
        let mut config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nPidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nAcceptEnv GIT_PROTOCOL\nLogLevel ERROR\n\
             AuthorizedKeysFile {}\n",
            folder.path().join("authorized").display()
        );
        for kind in host_keys {
            let path = folder.path().join(format!("host_{kind}"));
            run("ssh-keygen", &["-q", "-t", kind, "-N", "", "-f", &path.to_string_lossy()]);
            config.push_str(&format!("HostKey {}\n", path.display()));
        }
        let path = folder.path().join("config");
        std::fs::write(&path, config).expect("a file");
        std::fs::write(folder.path().join("authorized"), "").expect("a file");
        let child = Command::new("timeout")
            .args([SECONDS_MAX, &sshd.to_string_lossy(), "-D", "-e", "-f", &path.to_string_lossy()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        let server = Self { folder, port, user, child };
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(10), "sshd does not listen");
            std::thread::yield_now();
        }
        Some(server)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn user(&self) -> &str {
        &self.user
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Makes a key that the server lets in: its private part. `more` goes to ssh-keygen.
    pub fn key(&self, kind: &str, passphrase: &str, more: &[&str]) -> Vec<u8> {
        let name = format!("key_{}", std::fs::read_dir(self.folder.path()).expect("a folder").count());
        let path = self.folder.path().join(name);
        let text = path.to_string_lossy().into_owned();
        run("ssh-keygen", &[&["-q", "-t", kind, "-N", passphrase, "-f", &text], more].concat());
        let public = std::fs::read_to_string(format!("{text}.pub")).expect("a public key");
        let authorized = self.folder.path().join("authorized");
        let known = std::fs::read_to_string(&authorized).unwrap_or_default();
        std::fs::write(authorized, known + &public).expect("a file");
        std::fs::read(path).expect("a private key")
    }

    /// A `known_hosts` text that names the server by its key of this kind.
    pub fn known_hosts(&self, kind: &str) -> String {
        let public = std::fs::read_to_string(self.folder.path().join(format!("host_{kind}.pub"))).expect("a host key");
        format!("[127.0.0.1]:{} {public}", self.port)
    }
}
