use crate::client::{Client, Selection, failure};
use crate::error::Error;
use crate::resource::Resource;
use bytes::{Buf, BytesMut};
use futures::{Stream, StreamExt, stream};
use http_body_util::BodyExt;
use kube::client::Body;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::time::Duration;

/// What a watch that never ends tells.
#[derive(Debug)]
pub enum WatchEvent {
    /// A full listing begins: what is not listed until `Synced` is gone.
    Restarted,
    /// An object of the listing.
    Listed(Box<RawValue>),
    /// The listing is complete; from here on only changes follow.
    Synced,
    /// An object appeared, or was changed.
    Applied(Box<RawValue>),
    /// The last state of an object that is gone.
    Deleted(Box<RawValue>),
    /// Something went wrong; the watch goes on by itself after a pause.
    Failed(Error),
}

/// One line of the answer to a watch request.
#[derive(Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: String,
    object: Box<RawValue>,
}

#[derive(Deserialize)]
struct Versioned {
    metadata: VersionedMeta,
}

#[derive(Deserialize)]
struct VersionedMeta {
    #[serde(rename = "resourceVersion", default)]
    resource_version: String,
}

/// The server closes a watch after this time, give or take a fifth, so that watches spread over servers.
const WATCH_SECS: u64 = 290;
/// A watch that has not ended by itself this long after that is dead.
const OVERDUE: Duration = Duration::from_secs(30);
const PAUSE_MIN: Duration = Duration::from_millis(400);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A kind that the server does not know may be installed any moment.
const PAUSE_MAX_UNKNOWN: Duration = Duration::from_secs(5);
/// No object of a Kubernetes server is larger; etcd takes 1.5 MiB by default, operators have gone to 8.
const LINE_SIZE_MAX: usize = 64 << 20;

/// Lists a selection page by page and then watches it for ever, taking up the thread again after whatever goes wrong.
///
/// Objects come as the JSON that was sent, undecoded: an object that cannot be read must not break the others.
pub fn watch(client: Client, resource: Resource, selection: Selection) -> impl Stream<Item = WatchEvent> + Send + 'static {
    let watcher = Watcher { client, resource, selection, step: Step::Start, failures: 0 };
    stream::unfold(watcher, |mut watcher| async move {
        let event = watcher.next().await;
        Some((event, watcher))
    })
}

struct Watcher {
    client: Client,
    resource: Resource,
    selection: Selection,
    step: Step,
    failures: u32,
}

enum Step {
    Start,
    Listing { items: std::vec::IntoIter<Box<RawValue>>, next: String, version: String },
    Resume { version: String },
    Watching { version: String, lines: Lines, deadline: tokio::time::Instant },
}

impl Watcher {
    async fn next(&mut self) -> WatchEvent {
        loop {
            match std::mem::replace(&mut self.step, Step::Start) {
                Step::Start => {
                    pause(self.failures).await;
                    match self.client.list_page(&self.resource, &self.selection, "").await {
                        Ok(page) => {
                            self.step = Step::Listing { items: page.items.into_iter(), next: page.next, version: page.resource_version };
                            return WatchEvent::Restarted;
                        }
                        Err(error) => return self.failed(error, Step::Start),
                    }
                }
                Step::Listing { mut items, next, version } => {
                    if let Some(item) = items.next() {
                        self.step = Step::Listing { items, next, version };
                        return WatchEvent::Listed(item);
                    }
                    if next.is_empty() {
                        self.failures = 0;
                        self.step = Step::Resume { version };
                        return WatchEvent::Synced;
                    }
                    match self.client.list_page(&self.resource, &self.selection, &next).await {
                        // The version of the first page is the one of the whole listing.
                        Ok(page) => self.step = Step::Listing { items: page.items.into_iter(), next: page.next, version },
                        Err(error) if error.is_expired() => return self.failed(error, Step::Start),
                        Err(error) => {
                            let step = Step::Listing { items: Vec::new().into_iter(), next, version };
                            let event = self.failed(error, step);
                            // Too many failures in the middle of a listing: begin anew rather than hold on to an old token.
                            if self.failures > 5 {
                                self.step = Step::Start;
                            }
                            pause(self.failures).await;
                            return event;
                        }
                    }
                }
                Step::Resume { version } => {
                    pause(self.failures).await;
                    let secs = WATCH_SECS - WATCH_SECS / 10 + rand::random_range(0..WATCH_SECS / 5);
                    match self.client.open_watch(&self.resource, &self.selection, &version, secs).await {
                        Ok(response) => {
                            let deadline = tokio::time::Instant::now() + Duration::from_secs(secs) + OVERDUE;
                            self.step = Step::Watching { version, lines: Lines::new(response.into_body()), deadline };
                        }
                        Err(error) if error.is_expired() => return self.failed(error, Step::Start),
                        Err(error) => return self.failed(error, Step::Resume { version }),
                    }
                }
                Step::Watching { version, mut lines, deadline } => {
                    let line = match tokio::time::timeout_at(deadline, lines.next()).await {
                        Ok(Some(Ok(line))) => line,
                        // The server's time is up, or the connection went: both are daily business.
                        Ok(None) | Err(_) => {
                            self.step = Step::Resume { version };
                            continue;
                        }
                        Ok(Some(Err(error))) => return self.failed(error, Step::Resume { version }),
                    };
                    match self.take(&line, version, lines, deadline) {
                        Some(event) => return event,
                        None => continue,
                    }
                }
            }
        }
    }

    /// Reads one line of a watch and sets the next step.
    fn take(&mut self, line: &[u8], version: String, lines: Lines, deadline: tokio::time::Instant) -> Option<WatchEvent> {
        let line: Line = match serde_json::from_slice(line) {
            Ok(line) => line,
            // A line that is cut off, or no event: the place to go on from is still known.
            Err(error) => return Some(self.failed(Error::Decode(error), Step::Resume { version })),
        };
        if line.kind == "ERROR" {
            let code = serde_json::from_str::<crate::Status>(line.object.get()).map(|status| status.code).unwrap_or_default();
            let error = failure(code, line.object.get().as_bytes());
            let step = if error.is_expired() { Step::Start } else { Step::Resume { version } };
            return Some(self.failed(error, step));
        }
        self.failures = 0;
        let version = match serde_json::from_str::<Versioned>(line.object.get()) {
            Ok(object) if !object.metadata.resource_version.is_empty() => object.metadata.resource_version,
            _ => version,
        };
        self.step = Step::Watching { version, lines, deadline };
        match line.kind.as_str() {
            "ADDED" | "MODIFIED" => Some(WatchEvent::Applied(line.object)),
            "DELETED" => Some(WatchEvent::Deleted(line.object)),
            _ => None,
        }
    }

    fn failed(&mut self, error: Error, step: Step) -> WatchEvent {
        self.failures = match &error {
            // Starting over after an expired version is no failure of the server.
            error if error.is_expired() && self.failures == 0 => 0,
            error if error.is_not_found() => (self.failures + 1).min(PAUSE_MAX_UNKNOWN.as_secs().ilog2() + 2),
            _ => self.failures.saturating_add(1),
        };
        self.step = step;
        WatchEvent::Failed(error)
    }
}

/// Waits longer after each failure in a row.
async fn pause(failures: u32) {
    if failures > 0 {
        let pause = PAUSE_MIN.saturating_mul(1 << (failures - 1).min(10)).min(PAUSE_MAX);
        tokio::time::sleep(pause.mul_f64(0.5 + rand::random::<f64>())).await;
    }
}

/// The lines of a body as they come in.
struct Lines {
    body: Body,
    buffer: BytesMut,
    /// How much of the buffer is known to hold no line end.
    seen: usize,
}

impl Lines {
    fn new(body: Body) -> Self {
        Self { body, buffer: BytesMut::new(), seen: 0 }
    }

    /// The next line, or `None` at the end; bytes after the last line end are no line.
    async fn next(&mut self) -> Option<Result<BytesMut, Error>> {
        loop {
            if let Some(at) = self.buffer[self.seen..].iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.seen + at);
                self.buffer.advance(1);
                self.seen = 0;
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return Some(Ok(line));
            }
            self.seen = self.buffer.len();
            if self.seen > LINE_SIZE_MAX {
                return Some(Err(Error::TooLarge(LINE_SIZE_MAX)));
            }
            match self.body.frame().await? {
                Ok(frame) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Err(error) => return Some(Err(Error::Transport(error.into()))),
            }
        }
    }
}

/// A watch as a boxed stream.
pub type WatchStream = std::pin::Pin<Box<dyn Stream<Item = WatchEvent> + Send>>;

impl Client {
    /// See [`watch`].
    pub fn watch(&self, resource: &Resource, selection: &Selection) -> WatchStream {
        watch(self.clone(), resource.clone(), selection.clone()).boxed()
    }
}
