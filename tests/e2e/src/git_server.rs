use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// The real `git http-backend` on loopback; one folder of bare repositories.
pub struct GitServer {
    pub address: String,
    root: tempfile::TempDir,
    stop: Arc<AtomicBool>,
}

impl GitServer {
    pub fn start() -> Self {
        Self::start_with(None)
    }

    /// `credentials` (user, password) are asked for by basic authentication.
    pub fn start_with(credentials: Option<(&str, &str)>) -> Self {
        let root = tempfile::tempdir().expect("a temporary folder");
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = listener.local_addr().expect("it is bound").to_string();
        let stop = Arc::new(AtomicBool::new(false));
        let expected = credentials.map(|(user, password)| format!("Basic {}", base64(format!("{user}:{password}").as_bytes())));
        let (folder, flag) = (root.path().to_owned(), stop.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if flag.load(Ordering::Relaxed) {
                    return;
                }
                let (folder, expected) = (folder.clone(), expected.clone());
                std::thread::spawn(move || serve(stream, &folder, expected.as_deref()));
            }
        });
        Self { address, root, stop }
    }

    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}.git", self.address)
    }

    /// An empty bare repository with the branch main.
    pub fn repository(&self, name: &str) -> Repository {
        let bare = self.root.path().join(format!("{name}.git"));
        git(self.root.path(), &["init", "-q", "--bare", "-b", "main", &bare.display().to_string()]);
        git(&bare, &["config", "uploadpack.allowAnySHA1InWant", "true"]);
        let work = tempfile::tempdir().expect("a temporary folder");
        git(work.path(), &["init", "-q", "-b", "main"]);
        git(work.path(), &["remote", "add", "origin", &bare.display().to_string()]);
        Repository { work }
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(&self.address);
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

/// One connection: CGI to git http-backend, then closed.
fn serve(stream: TcpStream, root: &Path, expected: Option<&str>) {
    let Ok(write_half) = stream.try_clone() else { return };
    let (mut reader, mut writer) = (BufReader::new(stream), write_half);
    let mut line = String::new();
    if reader.read_line(&mut line).is_err() {
        return;
    }
    let mut words = line.split_whitespace();
    let (Some(method), Some(target)) = (words.next().map(str::to_owned), words.next().map(str::to_owned)) else { return };
    let mut headers = BTreeMap::new();
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header).is_err() || header.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':') {
            headers.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    if headers.contains_key("expect") {
        let _ = writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
    }
    if expected.is_some() && headers.get("authorization").map(String::as_str) != expected {
        let _ = writer.write_all(
            b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"git\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        );
        return;
    }
    let Some(body) = read_body(&mut reader, &headers) else { return };
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let Some(mut backend) = backend(root, &method, path, query, &headers).spawn().ok() else { return };
    if let Some(mut stdin) = backend.stdin.take() {
        let _ = stdin.write_all(&body);
    }
    let Ok(output) = backend.wait_with_output() else { return };
    let at = output.stdout.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or(0);
    let head = String::from_utf8_lossy(&output.stdout[..at]).into_owned();
    let content = output.stdout.get(at + 4..).unwrap_or_default();
    let status = head.lines().find_map(|l| l.strip_prefix("Status: ")).unwrap_or("200 OK").to_owned();
    let rest: String = head.lines().filter(|l| !l.starts_with("Status:")).map(|l| format!("{l}\r\n")).collect();
    let _ = write!(writer, "HTTP/1.1 {status}\r\n{rest}Content-Length: {}\r\nConnection: close\r\n\r\n", content.len());
    let _ = writer.write_all(content);
}

fn backend(root: &Path, method: &str, path: &str, query: &str, headers: &BTreeMap<String, String>) -> Command {
    let mut command = Command::new("git");
    command
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", method)
        .env("REMOTE_ADDR", "127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    for (header, variable) in
        [("content-type", "CONTENT_TYPE"), ("git-protocol", "GIT_PROTOCOL"), ("content-encoding", "HTTP_CONTENT_ENCODING")]
    {
        if let Some(value) = headers.get(header) {
            command.env(variable, value);
        }
    }
    command
}

fn read_body(reader: &mut impl BufRead, headers: &BTreeMap<String, String>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    if headers.get("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).ok()?;
            let size = usize::from_str_radix(size.trim(), 16).ok()?;
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).ok()?;
            if size == 0 {
                return Some(body);
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }
    let length: usize = headers.get("content-length").and_then(|v| v.parse().ok()).unwrap_or(0);
    body.resize(length, 0);
    reader.read_exact(&mut body).ok()?;
    Some(body)
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word = (u32::from(chunk[0]) << 16) | (u32::from(*chunk.get(1).unwrap_or(&0)) << 8) | u32::from(*chunk.get(2).unwrap_or(&0));
        for at in 0..4 {
            let symbol = ALPHABET[(word >> (18 - 6 * at)) as usize & 63] as char;
            out.push(if at <= chunk.len() { symbol } else { '=' });
        }
    }
    out
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
        assert!(git(server.root.path(), &["ls-remote", &with, "refs/heads/main"]).starts_with(&commit));
        let refused = Command::new("git").args(["ls-remote", &server.url("app")]).env("GIT_TERMINAL_PROMPT", "0").output().unwrap();
        assert!(!refused.status.success());
    }
}
