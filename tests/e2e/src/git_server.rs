use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use testing::git::{Behaviour, Server, basic};

/// The real `git http-backend` on loopback; one folder of bare repositories.
pub struct GitServer(Server);

impl GitServer {
    pub fn start() -> Self {
        Self(Server::start())
    }

    /// `credentials` (user, password) are asked for by basic authentication.
    pub fn start_with(credentials: Option<(&str, &str)>) -> Self {
        let server = Server::start();
        let authorization = credentials.map(|(user, password)| basic(user, password));
        server.behave(Behaviour { authorization, ..Behaviour::default() });
        Self(server)
    }

    pub fn url(&self, name: &str) -> String {
        self.0.url(name)
    }

    /// An empty bare repository with the branch main, and a work tree that pushes to it.
    pub fn repository(&self, name: &str) -> Repository {
        let bare = self.0.repository(name);
        bare.git(&["config", "uploadpack.allowAnySHA1InWant", "true"], b"");
        bare.git(&["config", "http.receivepack", "true"], b"");
        let work = tempfile::tempdir().expect("a temporary folder");
        git(work.path(), &["init", "-q", "-b", "main"]);
        git(work.path(), &["remote", "add", "origin", &bare.path().display().to_string()]);
        Repository { work }
    }
}

/// A work tree whose commits are pushed to the server.
pub struct Repository {
    work: tempfile::TempDir,
}

impl Repository {
    pub fn path(&self) -> &Path {
        self.work.path()
    }

    pub fn write(&self, path: &str, content: &str) -> &Self {
        let file = self.work.path().join(path);
        fs::create_dir_all(file.parent().expect("a file has a folder")).expect("the work tree is ours");
        fs::write(file, content).expect("the work tree is ours");
        self
    }

    pub fn remove(&self, path: &str) -> &Self {
        let file = self.work.path().join(path);
        if file.is_dir() { fs::remove_dir_all(file) } else { fs::remove_file(file) }.expect("it was written before");
        self
    }

    /// Copies a whole folder into the work tree.
    pub fn copy(&self, from: &Path) -> &Self {
        let status = Command::new("cp").arg("-a").arg(format!("{}/.", from.display())).arg(self.work.path()).status();
        assert!(status.is_ok_and(|s| s.success()), "cannot copy {}", from.display());
        self
    }

    /// Commits everything and pushes it; returns the commit.
    pub fn push(&self, message: &str) -> String {
        git(self.path(), &["add", "-A"]);
        git(self.path(), &["commit", "-q", "--allow-empty", "-m", message]);
        git(self.path(), &["push", "-q", "--force", "origin", "HEAD:main"]);
        git(self.path(), &["rev-parse", "HEAD"]).trim().to_owned()
    }

    pub fn git(&self, arguments: &[&str]) -> String {
        git(self.path(), arguments)
    }
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"])
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .output()
        .expect("git is installed");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Unpacks one of the reference repositories.
pub fn unpack(archive: &Path) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let status = Command::new("tar").arg("-C").arg(folder.path()).arg("-xf").arg(archive).status();
    assert!(status.is_ok_and(|s| s.success()), "cannot unpack {}", archive.display());
    let inner = fs::read_dir(folder.path()).expect("it was unpacked").flatten().next().expect("it holds one folder").path();
    (folder, inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_serves_what_was_pushed_and_asks_for_credentials() {
        let server = GitServer::start_with(Some(("user", "pass")));
        let repository = server.repository("app");
        let commit = repository.write("a.yaml", "a: 1\n").push("first");
        let with = server.url("app").replace("http://", "http://user:pass@");
        assert!(git(repository.path(), &["ls-remote", &with, "refs/heads/main"]).starts_with(&commit));
        let refused = Command::new("git").args(["ls-remote", &server.url("app")]).env("GIT_TERMINAL_PROMPT", "0").output().unwrap();
        assert!(!refused.status.success());
    }
}
