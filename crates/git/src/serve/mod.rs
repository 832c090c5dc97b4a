//! A read-only Git server: bare repositories of one folder over smart HTTP, protocol version 2.
//!
//! ```text
//! GET  /NAME.git/info/refs?service=git-upload-pack   capabilities
//! POST /NAME.git/git-upload-pack                     request -> references, or select -> pack
//! ```
//!
//! Meant for loopback: it knows no credentials. Writing goes through [`crate::write`].

pub(crate) mod request;

use crate::{cache::open_bare, pack, pkt};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::{
    Method, Request as HttpRequest, Response, StatusCode,
    body::{Body, Frame, Incoming},
    header,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use request::{Fetch, Request};
use std::{
    convert::Infallible,
    io::{self, Write},
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{net::TcpListener, sync::mpsc};
use types::chain;

/// Bytes of a request.
const REQUEST_MAX: usize = 4 << 20;
/// Bytes of a piece of a pack: a pkt-line with its band.
const PIECE: usize = 32 << 10;
/// A client that has not sent its request by then is let go.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// Serves every bare repository `root/NAME.git` until `shutdown` resolves.
pub async fn serve(listener: TcpListener, root: PathBuf, shutdown: impl Future<Output = ()>) {
    let graceful = GracefulShutdown::new();
    let root = Arc::new(root);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let stream = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => { tokio::time::sleep(Duration::from_millis(50)).await; continue }
            },
        };
        let root = root.clone();
        let service = hyper::service::service_fn(move |request| {
            let root = root.clone();
            async move { Ok::<_, Infallible>(answer(&root, request).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            connection.await.ok();
        });
    }
    tokio::time::timeout(SHUTDOWN_GRACE, graceful.shutdown()).await.ok();
}

async fn answer(root: &Path, request: HttpRequest<Incoming>) -> Response<Content> {
    let Some((repository, rest)) = locate(root, request.uri().path()) else { return text(StatusCode::NOT_FOUND, "repository not found\n") };
    match (request.method(), rest.as_str()) {
        (&Method::GET, "info/refs") => {
            if request.uri().query() != Some("service=git-upload-pack") {
                return text(StatusCode::FORBIDDEN, "only git-upload-pack is served\n");
            }
            let version = request.headers().get("git-protocol").and_then(|v| v.to_str().ok()).unwrap_or_default();
            if !version.split(':').any(|part| part == "version=2") {
                return text(StatusCode::BAD_REQUEST, "only protocol version 2 is served\n");
            }
            result("advertisement", Content::Whole(Some(capabilities().into())))
        }
        (&Method::POST, "git-upload-pack") => {
            let compressed = request.headers().get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding == "gzip");
            let Ok(body) = Limited::new(request.into_body(), REQUEST_MAX).collect().await else {
                return text(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large\n");
            };
            let (sender, pieces) = mpsc::channel(4);
            let body = body.to_bytes();
            // Packs are made on a thread that may block, and only as fast as the client takes them.
            tokio::task::spawn_blocking(move || {
                let mut out = Pieces { sender, buffer: Vec::new() };
                let body = if compressed { inflate(&body) } else { Ok(body.to_vec()) };
                let outcome = body.map_err(|e| e.to_string()).and_then(|body| respond(&repository, &body, &mut out));
                if let Err(why) = outcome {
                    let mut line = Vec::new();
                    pkt::put(&mut line, format!("ERR {why}\n").as_bytes());
                    out.write_all(&line).ok();
                }
                out.flush().ok();
            });
            result("result", Content::Pieces(pieces))
        }
        (&Method::GET | &Method::POST, _) => text(StatusCode::NOT_FOUND, "not found\n"),
        _ => text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n"),
    }
}

/// The repository of a path, and what follows its name.
fn locate(root: &Path, path: &str) -> Option<(PathBuf, String)> {
    let (name, rest) = path.strip_prefix('/')?.split_once('/')?;
    let fine = name.ends_with(".git") && !name.starts_with('.') && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    let repository = root.join(name);
    (fine && repository.join("HEAD").is_file()).then(|| (repository, rest.to_owned()))
}

fn capabilities() -> Vec<u8> {
    let mut out = Vec::new();
    pkt::put(&mut out, b"# service=git-upload-pack\n");
    out.extend_from_slice(pkt::FLUSH);
    let agent = format!("agent=sluice/{}\n", env!("CARGO_PKG_VERSION"));
    for line in ["version 2\n", &agent, "ls-refs\n", "fetch=shallow\n", "object-format=sha1\n"] {
        pkt::put(&mut out, line.as_bytes());
    }
    out.extend_from_slice(pkt::FLUSH);
    out
}

fn inflate(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(flate2::read::GzDecoder::new(body), REQUEST_MAX as u64), &mut out)?;
    Ok(out)
}

fn respond(path: &Path, body: &[u8], out: &mut dyn Write) -> Result<(), String> {
    let request = request::parse(body).map_err(|e| e.to_string())?;
    let repository = open_bare(path).map_err(|e| chain(&e))?;
    match request {
        Request::ListRefs { prefixes, peel, symrefs } => {
            let listed = list(&repository, &prefixes, peel, symrefs).map_err(|e| chain(&e))?;
            out.write_all(&listed).map_err(|e| e.to_string())
        }
        Request::Fetch(fetch) => send(&repository, &fetch, out),
    }
}

fn list(repository: &gix::Repository, prefixes: &[String], peel: bool, symrefs: bool) -> gix::Result<Vec<u8>> {
    let wanted = |name: &str| prefixes.is_empty() || prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()));
    let mut out = Vec::new();
    if wanted("HEAD")
        && let Some(name) = repository.head_name()?
        && let Some(mut branch) = repository.try_find_reference(name.as_bstr())?
    {
        let symref = if symrefs { format!(" symref-target:{name}", name = name.as_bstr()) } else { String::new() };
        pkt::put(&mut out, format!("{} HEAD{symref}\n", branch.peel_to_commit()?.id).as_bytes());
    }
    for reference in repository.references()?.all()? {
        let Ok(mut reference) = reference else { continue };
        let name = reference.name().as_bstr().to_string();
        let Some(id) = reference.target().try_id().map(ToOwned::to_owned) else { continue };
        if wanted(&name) {
            let peeled = reference.peel_to_id()?.detach();
            let suffix = if peel && peeled != id { format!(" peeled:{peeled}") } else { String::new() };
            pkt::put(&mut out, format!("{id} {name}{suffix}\n").as_bytes());
        }
    }
    out.extend_from_slice(pkt::FLUSH);
    Ok(out)
}

/// Answers a fetch: what is common, where history is cut, and the pack.
fn send(repository: &gix::Repository, fetch: &Fetch, out: &mut dyn Write) -> Result<(), String> {
    if let Some(unknown) = fetch.wants.iter().find(|id| !repository.has_object(id)) {
        return Err(format!("upload-pack: not our ref {unknown}"));
    }
    let mut head = Vec::new();
    if !fetch.done {
        pkt::put(&mut head, b"acknowledgments\n");
        let common: Vec<_> = fetch.haves.iter().filter(|id| repository.has_object(id)).collect();
        if common.is_empty() {
            pkt::put(&mut head, b"NAK\n");
            head.extend_from_slice(pkt::FLUSH);
            return out.write_all(&head).map_err(|e| e.to_string());
        }
        common.iter().for_each(|id| pkt::put(&mut head, format!("ACK {id}\n").as_bytes()));
        pkt::put(&mut head, b"ready\n");
        head.extend_from_slice(pkt::DELIMITER);
    }
    let selection = pack::select(repository, fetch).map_err(|e| chain(&e))?;
    if fetch.depth.is_some() {
        pkt::put(&mut head, b"shallow-info\n");
        for id in selection.boundary.iter().filter(|id| !fetch.shallow.contains(id)) {
            pkt::put(&mut head, format!("shallow {id}\n").as_bytes());
        }
        head.extend_from_slice(pkt::DELIMITER);
    }
    pkt::put(&mut head, b"packfile\n");
    out.write_all(&head).map_err(|e| e.to_string())?;
    let mut band = io::BufWriter::with_capacity(PIECE, Band(out));
    pack::write(repository, &selection.objects, &mut band).map_err(|e| e.to_string())?;
    let Band(out) = band.into_inner().map_err(|e| e.error().to_string())?;
    out.write_all(pkt::FLUSH).map_err(|e| e.to_string())
}

/// Wraps what is written into lines of band 1.
struct Band<'w>(&'w mut dyn Write);

impl Write for Band<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(PIECE);
        let mut line = Vec::with_capacity(count + 5);
        pkt::put(&mut line, &[&[1_u8][..], &bytes[..count]].concat());
        self.0.write_all(&line)?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Sends what is written to the connection, piece by piece.
struct Pieces {
    sender: mpsc::Sender<Bytes>,
    buffer: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = Bytes::from(std::mem::take(&mut self.buffer));
        self.sender.blocking_send(piece).map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the client is gone"))
    }
}

fn result(kind: &str, content: Content) -> Response<Content> {
    let mut response = Response::new(content);
    let content_type = format!("application/x-git-upload-pack-{kind}");
    if let Ok(value) = header::HeaderValue::try_from(content_type) {
        response.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-cache"));
    response
}

fn text(status: StatusCode, text: &str) -> Response<Content> {
    let mut response = Response::new(Content::Whole(Some(Bytes::from(text.to_owned()))));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

enum Content {
    Whole(Option<Bytes>),
    Pieces(mpsc::Receiver<Bytes>),
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Pieces(pieces) => pieces.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece)))),
        }
    }
}
