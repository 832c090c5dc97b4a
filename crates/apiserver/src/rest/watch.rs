use super::excerpt::{Excerpt, View};
use super::list::{Filter, check_options};
use super::read::check_revision;
use super::{Context, Reply, view};
use crate::api::Api;
use crate::protocol::negotiate::{Encoding, Shape};
use crate::protocol::status::{Result, Status};
use crate::registry::Registry;
use crate::store::{Change, Event, Record};
use crate::table;
use bytes::Bytes;
use futures::stream;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::watch::Receiver;
use tokio::time::Instant;

/// So often a watcher that asked for bookmarks hears how far it has come.
const BOOKMARK_EVERY: Duration = Duration::from_secs(50);
/// A watcher is given so many changes at once.
const BATCH: usize = 128;
/// Lines are sent together up to about this length.
const LINES: usize = 32 * 1024;
const SHORTEST_DEFAULT_TIMEOUT: u64 = 1800;

/// One watcher: it holds no buffer of its own, only how far it has come in the history that all watchers share.
struct Watcher {
    api: Arc<Api>,
    view: View,
    /// Where the resource stands; it is looked up anew when definitions have changed.
    registry: Arc<Registry>,
    include: table::Include,
    /// A table's columns are told once.
    columns_told: bool,
    revision: u64,
    bookmarks: bool,
    next_bookmark: Instant,
    deadline: Instant,
    latest: Receiver<u64>,
    stopping: Receiver<bool>,
    ready: VecDeque<Bytes>,
    /// Objects still to be sent as if they had just been added.
    initial: std::vec::IntoIter<Arc<Record>>,
    /// The bookmark that ends the initial events is still to come.
    announce_end: bool,
    done: bool,
    _place: OwnedSemaphorePermit,
}

pub async fn watch(context: &Context) -> Result<Reply> {
    check_options(context, true)?;
    let (api, resource, query) = (&context.api, &context.resource, &context.query);
    let filter = Filter::of(context)?;
    let version = query.text("resourceVersion");
    let asked = check_revision(context, version)?;
    let send_initial = query.get("sendInitialEvents").map(|v| v != "false" && v != "0");
    let bookmarks = query.is_true("allowWatchBookmarks");
    let timeout = match query.text("timeoutSeconds").parse::<u64>() {
        Ok(seconds) if seconds > 0 => seconds.min(24 * 3600),
        // A random part keeps watchers from coming back all at once.
        _ => SHORTEST_DEFAULT_TIMEOUT + rand::random_range(0..SHORTEST_DEFAULT_TIMEOUT),
    };
    let place = Arc::clone(&api.watches)
        .try_acquire_owned()
        .map_err(|_| Status::too_many_requests("too many watches are open, please try again later"))?;
    let latest = api.store.subscribe(&resource.table);
    let start_now = match send_initial {
        Some(initial) => initial,
        None => asked.is_none(),
    };
    let (initial, revision) = if start_now {
        let page =
            api.store.list(&resource.table, None, &filter.prefix, None, usize::MAX - 1).map_err(|_| Status::internal("cannot list"))?;
        let items: Vec<_> = page.items.into_iter().filter(|r| filter.matches(resource, r)).collect();
        (items, page.revision)
    } else {
        (Vec::new(), asked.unwrap_or_else(|| api.store.revision()))
    };
    let watcher = Watcher {
        api: Arc::clone(api),
        view: View { resource: Arc::clone(resource), accepted: context.accepted, filter: Arc::new(filter) },
        registry: api.registry(),
        include: table::Include::of(context)?,
        columns_told: false,
        revision,
        bookmarks,
        next_bookmark: Instant::now() + BOOKMARK_EVERY,
        deadline: Instant::now() + Duration::from_secs(timeout),
        latest,
        stopping: api.stopping.clone(),
        ready: VecDeque::new(),
        initial: initial.into_iter(),
        announce_end: send_initial == Some(true) && bookmarks,
        // Events are no lists: they cannot be told in the form of one.
        done: context.accepted.shape == Shape::MetadataList,
        _place: place,
    };
    let content_type = match context.accepted.encoding {
        Encoding::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
        Encoding::Json | Encoding::Pretty | Encoding::Yaml => "application/json",
    };
    let stream = stream::unfold(watcher, |mut watcher| async move { watcher.next().await.map(|line| (line, watcher)) });
    Ok(Reply::Stream { content_type, stream: Box::pin(stream) })
}

impl Watcher {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some(line);
            }
            if self.done {
                return None;
            }
            if self.initial.len() > 0 {
                let mut lines = Vec::new();
                while lines.len() < LINES
                    && let Some(record) = self.initial.next()
                {
                    self.line("ADDED", &record, &mut lines);
                }
                return Some(Bytes::from(lines));
            }
            if self.announce_end {
                self.announce_end = false;
                return Some(self.bookmark(true));
            }
            // Marked as seen before looking, so that no change falls in between.
            self.latest.borrow_and_update();
            self.read_history();
            if !self.ready.is_empty() || self.done {
                continue;
            }
            let until = if self.bookmarks { self.next_bookmark.min(self.deadline) } else { self.deadline };
            let timed_out = tokio::select! {
                changed = self.latest.changed() => match changed {
                    Ok(()) => false,
                    Err(_) => return None,
                },
                _ = self.stopping.wait_for(|stop| *stop) => return None,
                () = tokio::time::sleep_until(until) => true,
            };
            if timed_out {
                let now = Instant::now();
                self.done = now >= self.deadline;
                if self.bookmarks {
                    self.next_bookmark = now + BOOKMARK_EVERY;
                    return Some(self.bookmark(false));
                }
            }
        }
    }

    /// Objects are told as today's definition shows them, not as the one of the day on which the watch began.
    fn look_up(&mut self) {
        let registry = self.api.registry();
        if Arc::ptr_eq(&registry, &self.registry) {
            return;
        }
        let resource = &self.view.resource;
        match registry.find(&resource.group, &resource.version, &resource.name) {
            Some(resource) => self.view.resource = Arc::clone(resource),
            None => self.done = true,
        }
        self.registry = registry;
    }

    /// Goes on in the history until there is something to tell, or nothing more to read.
    fn read_history(&mut self) {
        if self.view.resource.custom.is_some() {
            self.look_up();
        }
        // Rows of a table depend on which row was the first.
        let shares = self.view.accepted.shape != Shape::Table;
        while self.ready.is_empty() {
            if shares && let Some((upto, lines)) = self.api.excerpts.find(&self.view, self.revision) {
                self.revision = upto;
                self.ready.extend((!lines.is_empty()).then_some(lines));
                continue;
            }
            let changes = match self.api.store.since(&self.view.resource.table, self.revision, BATCH) {
                Ok(changes) => changes,
                Err(too_old) => {
                    let status = Status::expired(format!("too old resource version: {} ({})", self.revision, too_old.oldest));
                    let line = self.encode(&json!({"type": "ERROR", "object": status.to_value()}));
                    self.ready.push_back(Bytes::from(line));
                    self.done = true;
                    return;
                }
            };
            let Some(first) = changes.events.first().map(|event| event.record.revision) else {
                self.revision = changes.upto;
                return;
            };
            let (mut lines, mut upto) = (Vec::new(), changes.upto);
            for event in &changes.events {
                self.write(event, &mut lines);
                if lines.len() >= LINES {
                    upto = event.record.revision;
                    break;
                }
            }
            let lines = Bytes::from(lines);
            if shares && changes.watchers > 1 {
                self.api.excerpts.keep(Excerpt { view: self.view.clone(), after: changes.after, first, upto, lines: lines.clone() });
            }
            self.revision = upto;
            self.ready.extend((!lines.is_empty()).then_some(lines));
        }
    }

    /// A change as this watcher sees it: an object that begins to match was added, one that no longer does was deleted.
    fn write(&mut self, event: &Event, out: &mut Vec<u8>) {
        let matches = |record: &Record| self.view.filter.matches(&self.view.resource, record);
        let now = event.change != Change::Deleted && matches(&event.record);
        let before = event.before.as_ref().is_some_and(|record| matches(record));
        let kind = match (before, now) {
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
            (false, false) => return,
        };
        if kind == "DELETED" && event.change != Change::Deleted {
            // It is shown as it was when it still matched, at the revision of the change.
            let Some(before) = &event.before else { return };
            let shown = with_revision(view::value(&self.view.resource, before), event.record.revision);
            out.extend_from_slice(&self.line_of_value(kind, &shown));
        } else {
            self.line(kind, &event.record, out);
        }
    }

    fn line(&mut self, kind: &str, record: &Record, out: &mut Vec<u8>) {
        let accepted = self.view.accepted;
        if accepted.shape == Shape::Whole && accepted.encoding != Encoding::Protobuf {
            let object = view::bytes(&self.view.resource, record);
            out.reserve(object.len() + 40);
            out.extend_from_slice(b"{\"type\":\"");
            out.extend_from_slice(kind.as_bytes());
            out.extend_from_slice(b"\",\"object\":");
            out.extend_from_slice(&object);
            out.extend_from_slice(b"}\n");
            return;
        }
        let value = view::value(&self.view.resource, record);
        out.extend_from_slice(&self.line_of_value(kind, &value));
    }

    fn line_of_value(&mut self, kind: &str, value: &Value) -> Vec<u8> {
        let (accepted, resource) = (self.view.accepted, &self.view.resource);
        let object = match accepted.shape {
            Shape::Whole => value.clone(),
            Shape::Metadata | Shape::MetadataList => view::metadata_only(accepted.api_version, value),
            Shape::Table => {
                let meta = json!({"resourceVersion": value["metadata"]["resourceVersion"]});
                let first = !std::mem::replace(&mut self.columns_told, true);
                table::table(resource, &[value], meta, self.include, accepted.api_version, first)
            }
        };
        self.encode(&json!({"type": kind, "object": object}))
    }

    fn encode(&self, event: &Value) -> Vec<u8> {
        match self.view.accepted.encoding {
            Encoding::Protobuf => {
                let kind = event["type"].as_str().unwrap_or("");
                let written = crate::protocol::protobuf::encode_event(kind, &event["object"]);
                // An object that cannot be told ends the watch: the client lists again.
                let told = written.or_else(|| {
                    let status = Status::internal("an object cannot be written as protobuf").to_value();
                    crate::protocol::protobuf::encode_event("ERROR", &status)
                });
                told.unwrap_or_default()
            }
            Encoding::Json | Encoding::Pretty | Encoding::Yaml => format!("{event}\n").into_bytes(),
        }
    }

    fn bookmark(&mut self, initial_end: bool) -> Bytes {
        let mut metadata = json!({"resourceVersion": self.revision.to_string(), "creationTimestamp": null});
        if initial_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let resource = &self.view.resource;
        let object = json!({"kind": resource.kind, "apiVersion": resource.api_version(), "metadata": metadata});
        Bytes::from(self.line_of_value("BOOKMARK", &object))
    }
}

fn with_revision(mut value: Value, revision: u64) -> Value {
    value["metadata"]["resourceVersion"] = Value::from(revision.to_string());
    value
}
