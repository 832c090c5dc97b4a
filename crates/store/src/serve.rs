//! The artifact server: what Go's `http.FileServer` answers, for reading.

use crate::{Store, path::TEMPORARY, path::safe};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::{Body, Frame, Incoming};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use std::{
    convert::Infallible,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc},
};

/// Connections at one time; the next ones wait.
const CONNECTIONS_MAX: usize = 1024;
/// A client that has not sent its request by then is let go.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
/// A client that takes no byte for this long is let go.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// What running answers get after a shutdown begins.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
const CHUNK: usize = 1 << 16;

/// Serves the files of `store` until `shutdown` resolves, then lets running answers finish for a short while.
pub async fn serve(listener: TcpListener, store: Arc<Store>, shutdown: impl Future<Output = ()>) {
    serve_requests(listener, move |request| answer(store.clone(), request), shutdown).await;
}

/// The same for whoever answers: connections are bounded in number, and slow ones let go.
pub async fn serve_requests<A, F, B>(listener: TcpListener, answer: A, shutdown: impl Future<Output = ()>)
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let (stream, slot) = tokio::select! {
            () = &mut shutdown => break,
            accepted = async { (listener.accept().await, slots.clone().acquire_owned().await) } => match accepted {
                (Ok((stream, _)), Ok(slot)) => (stream, slot),
                // Out of file descriptors, most likely: a pause, and never a busy loop.
                _ => { tokio::time::sleep(Duration::from_millis(50)).await; continue }
            },
        };
        let answer = answer.clone();
        let service = hyper::service::service_fn(move |request| {
            let answered = answer(request);
            async move { Ok::<_, Infallible>(answered.await) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "artifact connection ended");
            }
            drop(slot);
        });
    }
    tokio::time::timeout(SHUTDOWN_GRACE, graceful.shutdown()).await.ok();
}

async fn answer(store: Arc<Store>, request: Request<Incoming>) -> Response<Content> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let head = request.method() == Method::HEAD;
    let path = decode(request.uri().path());
    let headers = request.headers().clone();
    let found = tokio::task::spawn_blocking(move || respond(&store, path.as_deref(), &headers)).await;
    let mut response = found.unwrap_or_else(|_| text(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n"));
    if head {
        *response.body_mut() = Content::Empty;
    }
    response
}

fn respond(store: &Store, path: Option<&str>, headers: &HeaderMap) -> Response<Content> {
    let not_found = || text(StatusCode::NOT_FOUND, "404 page not found\n");
    let Some(path) = path else { return not_found() };
    let Some(clean) = safe(path) else { return not_found() };
    // Links are followed inside of the root and nowhere else.
    let Ok(local) = fs::canonicalize(store.root().join(&clean)) else { return not_found() };
    if !local.starts_with(store.root()) {
        return not_found();
    }
    let Ok(metadata) = fs::metadata(&local) else { return not_found() };
    let slash = path.ends_with('/');
    match (metadata.is_dir(), slash) {
        (true, true) => listing(local),
        (true, false) => redirect(&format!("{}/", clean.rsplit('/').next().unwrap_or_default())),
        (false, true) => redirect(&format!("../{}", clean.rsplit('/').next().unwrap_or_default())),
        (false, false) if metadata.is_file() => match File::open(&local) {
            Ok(file) => send(file, &clean, metadata.len(), metadata.modified().ok(), headers),
            Err(_) => not_found(),
        },
        _ => not_found(),
    }
}

fn send(file: File, path: &str, size: u64, modified: Option<SystemTime>, headers: &HeaderMap) -> Response<Content> {
    let modified = modified.and_then(http_date);
    let unchanged = modified.as_deref().is_some_and(|m| headers.get(header::IF_MODIFIED_SINCE).is_some_and(|since| since == m));
    let set = |response: &mut Response<Content>, name: header::HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    };
    let mut response = Response::new(Content::Empty);
    if let Some(modified) = &modified {
        set(&mut response, header::LAST_MODIFIED, modified);
    }
    if unchanged {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    set(&mut response, header::ACCEPT_RANGES, "bytes");
    set(&mut response, header::CONTENT_TYPE, content_type(path));
    let range = match headers.get(header::RANGE).and_then(|r| r.to_str().ok()).map(|r| parse_range(r, size)) {
        Some(Wanted::Unsatisfiable) => {
            let mut refused = text(StatusCode::RANGE_NOT_SATISFIABLE, "invalid range: failed to overlap\n");
            set(&mut refused, header::CONTENT_RANGE, &format!("bytes */{size}"));
            return refused;
        }
        Some(Wanted::Part(range)) => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            set(&mut response, header::CONTENT_RANGE, &format!("bytes {}-{}/{size}", range.start, range.end - 1));
            range
        }
        Some(Wanted::All) | None => 0..size,
    };
    set(&mut response, header::CONTENT_LENGTH, &(range.end - range.start).to_string());
    *response.body_mut() = Content::File(FileBody::new(file, range));
    response
}

#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    All,
    Part(Range<u64>),
    Unsatisfiable,
}

/// Reads a `Range` of one part; several parts, or one that is malformed, get the whole file.
fn parse_range(text: &str, size: u64) -> Wanted {
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|r| r.split_once('-')) else { return Wanted::All };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let range = match (number(first), number(last)) {
        (None, Some(count)) if first.trim().is_empty() => size.saturating_sub(count)..size,
        (Some(start), None) if last.trim().is_empty() => start..size,
        (Some(start), Some(end)) if start <= end => start..end.saturating_add(1).min(size),
        _ => return Wanted::All,
    };
    if range.start >= range.end { Wanted::Unsatisfiable } else { Wanted::Part(range) }
}

fn listing(folder: PathBuf) -> Response<Content> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| {
            let slash = if entry.file_type().is_ok_and(|t| t.is_dir()) { "/" } else { "" };
            format!("{}{slash}", entry.file_name().to_string_lossy())
        })
        .filter(|name| !name.starts_with(TEMPORARY))
        .collect();
    names.sort();
    let mut page = String::from("<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n");
    for name in names {
        page.push_str(&format!("<a href=\"{}\">{}</a>\n", encode(&name), escape(&name)));
    }
    page.push_str("</pre>\n");
    let mut response = text(StatusCode::OK, &page);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}

fn redirect(to: &str) -> Response<Content> {
    let mut response = text(StatusCode::MOVED_PERMANENTLY, "");
    if let Ok(to) = HeaderValue::try_from(encode(to)) {
        response.headers_mut().insert(header::LOCATION, to);
    }
    response
}

fn text(status: StatusCode, text: &str) -> Response<Content> {
    let mut response = Response::new(Content::Text(Some(Bytes::from(text.to_owned()))));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(text.len()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("gz" | "tgz") => "application/gzip",
        Some("yaml" | "yml") => "application/yaml",
        Some("json") => "application/json",
        _ => "application/octet-stream",
    }
}

fn http_date(time: SystemTime) -> Option<String> {
    let timestamp = jiff::Timestamp::try_from(time).ok()?;
    jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&timestamp).ok()
}

/// Undoes percent encoding; `None` where it is malformed or not UTF-8.
fn decode(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'%' {
            let hex = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(hex, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(byte);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

fn encode(path: &str) -> String {
    path.bytes()
        .map(|b| if b.is_ascii_alphanumeric() || b"-._~/:@+".contains(&b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&#34;").replace('\'', "&#39;")
}

/// The body of an answer.
pub(crate) enum Content {
    Empty,
    Text(Option<Bytes>),
    File(FileBody),
}

/// A file that is read piece by piece on a thread that may block, never more than a few pieces ahead of the client.
pub(crate) struct FileBody {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    left: u64,
}

impl FileBody {
    fn new(mut file: File, range: Range<u64>) -> Self {
        let (sender, pieces) = mpsc::channel(2);
        let left = range.end - range.start;
        tokio::spawn(async move {
            let mut at = range.start;
            while at < range.end {
                let want = CHUNK.min(usize::try_from(range.end - at).unwrap_or(CHUNK));
                let read = tokio::task::spawn_blocking(move || {
                    let mut buffer = vec![0; want];
                    let outcome = file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut buffer)).map(|()| Bytes::from(buffer));
                    (file, outcome)
                });
                let Ok((returned, piece)) = read.await else { return };
                file = returned;
                let failed = piece.is_err();
                // A client that reads nothing must not hold a file and a slot for ever.
                let sent = tokio::time::timeout(STALL_TIMEOUT, sender.send(piece)).await;
                if failed || !matches!(sent, Ok(Ok(()))) {
                    return;
                }
                at += want as u64;
            }
        });
        Self { pieces, left }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Text(text) => Poll::Ready(text.take().map(|t| Ok(Frame::data(t)))),
            Self::File(file) => match file.pieces.poll_recv(context) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Some(piece)) => Poll::Ready(Some(piece.map(|bytes| {
                    file.left -= bytes.len() as u64;
                    Frame::data(bytes)
                }))),
                Poll::Ready(None) if file.left > 0 => Poll::Ready(Some(Err(io::Error::other("the file could not be sent whole")))),
                Poll::Ready(None) => Poll::Ready(None),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_http_says() {
        let table = [
            ("bytes=0-3", Wanted::Part(0..4)),
            ("bytes=5-", Wanted::Part(5..10)),
            ("bytes=-3", Wanted::Part(7..10)),
            ("bytes=-30", Wanted::Part(0..10)),
            ("bytes=2-200", Wanted::Part(2..10)),
            ("bytes=10-", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=3-1", Wanted::All),
            ("bytes=0-1,4-5", Wanted::All),
            ("lines=1-2", Wanted::All),
            ("bytes=-", Wanted::All),
        ];
        for (text, wanted) in table {
            assert_eq!(parse_range(text, 10), wanted, "{text}");
        }
    }

    #[test]
    fn names_are_encoded_for_links_and_decoded_from_paths() {
        assert_eq!(encode("sha256:ab.tar.gz"), "sha256:ab.tar.gz");
        assert_eq!(encode("a b<"), "a%20b%3C");
        assert_eq!(decode("/a%20b").as_deref(), Some("/a b"));
        assert_eq!((decode("/%zz"), decode("/%ff"), decode("/%2")), (None, None, None));
    }
}
