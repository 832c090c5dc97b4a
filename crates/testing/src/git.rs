//! A real Git server over loopback, and repositories on it.

use base64::Engine as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, StatusCode, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{
    convert::Infallible,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
};
use tokio::io::AsyncWriteExt as _;

/// What a server does beside serving.
#[derive(Debug, Clone, Default)]
pub struct Behaviour {
    /// `Authorization` that every request must carry.
    pub authorization: Option<String>,
    /// Every request is redirected to this base.
    pub redirect: Option<String>,
    /// Every request gets this status with this text.
    pub answer: Option<(u16, String)>,
    /// No request is ever answered.
    pub hang: bool,
}

/// A request as the server saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub method: String,
    pub path_and_query: String,
    pub authorization: Option<String>,
    pub sent_bytes: usize,
}

/// `git http-backend` behind HTTP on a loopback port, gone when dropped.
pub struct Server {
    address: SocketAddr,
    root: tempfile::TempDir,
    state: Arc<State>,
    // Dropped last: ends every connection.
    _runtime: Runtime,
}

#[derive(Default)]
struct State {
    behaviour: Mutex<Behaviour>,
    seen: Mutex<Vec<Seen>>,
    /// Requests that came in, answered or not.
    begun: AtomicUsize,
    root: PathBuf,
}

/// A runtime that may be dropped anywhere, also inside of another.
struct Runtime(Option<tokio::runtime::Runtime>);

impl Drop for Runtime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// The value of a basic `Authorization`.
pub fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}")))
}

impl Server {
    /// Starts on a free port.
    ///
    /// # Panics
    /// When the machine has no loopback, no temporary folder or no threads left.
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let root = tempfile::tempdir().expect("a temporary folder");
        let state = Arc::new(State { root: root.path().to_owned(), ..State::default() });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("a bound socket");
        let shared = state.clone();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            while let Ok((stream, _)) = listener.accept().await {
                let shared = shared.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer(shared.clone(), request));
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
                });
            }
        });
        Self { address, root, state, _runtime: Runtime(Some(runtime)) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT/NAME.git`
    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}.git", self.address)
    }

    /// Makes the repository `NAME.git` where it is missing.
    pub fn repository(&self, name: &str) -> Repository {
        Repository::open(&self.root.path().join(format!("{name}.git")))
    }

    pub fn behave(&self, behaviour: Behaviour) {
        *self.state.behaviour.lock().unwrap_or_else(PoisonError::into_inner) = behaviour;
    }

    /// How many requests came in so far, those that hang included.
    pub fn requests_begun(&self) -> usize {
        self.state.begun.load(Ordering::SeqCst)
    }

    /// The requests since the last call.
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.state.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let behaviour = state.behaviour.lock().unwrap_or_else(PoisonError::into_inner).clone();
    state.begun.fetch_add(1, Ordering::SeqCst);
    let authorization = request.headers().get("authorization").and_then(|v| v.to_str().ok()).map(str::to_owned);
    let path_and_query = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    let mut seen = Seen { method: request.method().to_string(), path_and_query, authorization, sent_bytes: 0 };
    let response = respond(&state, &behaviour, request, &seen).await;
    seen.sent_bytes = response.body().size_hint_bytes();
    state.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
    Ok(response)
}

trait SizeHint {
    fn size_hint_bytes(&self) -> usize;
}

impl SizeHint for Full<Bytes> {
    fn size_hint_bytes(&self) -> usize {
        hyper::body::Body::size_hint(self).exact().unwrap_or_default() as usize
    }
}

fn plain(status: u16, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text.to_owned())));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}

async fn respond(state: &State, behaviour: &Behaviour, request: Request<Incoming>, seen: &Seen) -> Response<Full<Bytes>> {
    if behaviour.hang {
        std::future::pending::<()>().await;
    }
    if let Some((status, text)) = &behaviour.answer {
        return plain(*status, text);
    }
    if let Some(base) = &behaviour.redirect {
        let mut response = plain(302, "");
        let target = format!("{base}{}", seen.path_and_query);
        response.headers_mut().insert("location", target.parse().expect("a header"));
        return response;
    }
    if behaviour.authorization.is_some() && behaviour.authorization != seen.authorization {
        let mut response = plain(401, "Unauthorized\n");
        response.headers_mut().insert("www-authenticate", "Basic realm=\"git\"".parse().expect("a header"));
        return response;
    }
    if request.uri().path().split('/').nth(1).is_none_or(|name| !state.root.join(name).is_dir()) {
        return plain(404, "404 page not found\n");
    }
    backend(&state.root, request).await.unwrap_or_else(|error| plain(500, &error.to_string()))
}

/// Runs `git http-backend` as a web server runs a CGI program.
async fn backend(root: &Path, request: Request<Incoming>) -> std::io::Result<Response<Full<Bytes>>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let header = |name: &str| parts.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let mut child = tokio::process::Command::new("git")
        .arg("http-backend")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("PATH_INFO", parts.uri.path())
        .env("QUERY_STRING", parts.uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdin = child.stdin.take().ok_or_else(|| std::io::Error::other("no pipe"))?;
    let writer = tokio::spawn(async move { stdin.write_all(&body).await });
    let output = child.wait_with_output().await?;
    writer.await.ok();
    let end =
        output.stdout.windows(4).position(|w| w == b"\r\n\r\n").ok_or_else(|| std::io::Error::other("git http-backend gave no headers"))?;
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(&output.stdout[end + 4..])));
    for line in String::from_utf8_lossy(&output.stdout[..end]).lines() {
        match line.split_once(": ") {
            Some(("Status", status)) => {
                let code = status.split(' ').next().and_then(|c| c.parse().ok()).unwrap_or(500);
                *response.status_mut() = StatusCode::from_u16(code).unwrap_or_default();
            }
            Some((name, value)) => {
                if let (Ok(name), Ok(value)) = (name.parse::<http::HeaderName>(), value.parse::<http::HeaderValue>()) {
                    response.headers_mut().insert(name, value);
                }
            }
            None => {}
        }
    }
    Ok(response)
}

/// A bare repository that tests write to with the real `git`.
pub struct Repository {
    path: PathBuf,
}

/// Seconds of the next commit: reproducible, and each later than the one before.
static CLOCK: AtomicI64 = AtomicI64::new(1_700_000_000);

impl Repository {
    /// Makes the repository at `path` where it is missing.
    ///
    /// # Panics
    /// When `git` is not there or fails, as every function here.
    pub fn open(path: &Path) -> Self {
        let repository = Self { path: path.to_owned() };
        if !path.join("HEAD").exists() {
            std::fs::create_dir_all(path).expect("a folder");
            repository.git(&["init", "--quiet", "--bare", "--initial-branch=main"], b"");
        }
        repository
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `git` in the repository with `input` and gives what it printed.
    pub fn git(&self, arguments: &[&str], input: &[u8]) -> String {
        let mut child = std::process::Command::new("git")
            .args(arguments)
            .current_dir(&self.path)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_COMMITTER_NAME", "Tester")
            .env("GIT_COMMITTER_EMAIL", "tester@example.com")
            .env("GIT_COMMITTER_DATE", format!("{} +0000", CLOCK.load(Ordering::Relaxed)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("git is installed");
        child.stdin.take().expect("a pipe").write_all(input).expect("git reads");
        let output = child.wait_with_output().expect("git ends");
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Makes `files` the whole content of the next commit of `branch`, and gives its hash. A path that ends in `*` is executable;
    /// content that begins with `commit:` is a submodule at that commit, with `link:` a symbolic link.
    pub fn commit(&self, branch: &str, files: &[(&str, &str)], message: &str) -> String {
        let reference = format!("refs/heads/{branch}");
        let seconds = CLOCK.fetch_add(1, Ordering::Relaxed);
        let known = !self.git(&["for-each-ref", &reference], b"").is_empty();
        let mut input =
            format!("commit {reference}\ncommitter Tester <tester@example.com> {seconds} +0000\ndata {}\n{message}\n", message.len());
        if known {
            input.push_str(&format!("from {reference}^0\n"));
        }
        input.push_str("deleteall\n");
        for (path, content) in files {
            let (path, mode) = path.strip_suffix('*').map_or((*path, "100644"), |path| (path, "100755"));
            if let Some(commit) = content.strip_prefix("commit:") {
                input.push_str(&format!("M 160000 {commit} {path}\n"));
                continue;
            }
            let (mode, content) = content.strip_prefix("link:").map_or((mode, *content), |target| ("120000", target));
            input.push_str(&format!("M {mode} inline {path}\ndata {}\n{content}\n", content.len()));
        }
        self.git(&["fast-import", "--quiet", "--force"], input.as_bytes());
        self.git(&["rev-parse", &reference], b"")
    }

    /// Tags a commit; with a message the tag is an object of its own.
    pub fn tag(&self, name: &str, commit: &str, message: Option<&str>) {
        match message {
            Some(message) => self.git(&["tag", "--force", "--annotate", "--message", message, name, commit], b""),
            None => self.git(&["tag", "--force", name, commit], b""),
        };
    }

    /// Points a reference of any name at a commit.
    pub fn set(&self, reference: &str, commit: &str) {
        self.git(&["update-ref", reference, commit], b"");
    }

    pub fn delete(&self, reference: &str) {
        self.git(&["update-ref", "-d", reference], b"");
    }
}
