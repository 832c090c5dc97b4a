use crate::clock::{Clock, rfc3339_secs};
use crate::correlate::{Action, Correlator, EventKey};
use crate::meta::Meta;
use crate::metrics::Metrics;
use crate::report::{Event, Severity};
use cluster::{Client, PatchKind, Resource};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Publishes events: as Kubernetes Events, and to the notification-controller.
///
/// ```text
/// publish ──► bounded queue ──► correlator ──► POST / PATCH core/v1 events
///        └──► bounded queue ──► POST --events-addr (not for traces)
/// ```
///
/// Nobody waits for either: an event that finds its queue full is dropped and counted.
#[derive(Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
}

struct Shared {
    instance: String,
    clock: Clock,
    metrics: Metrics,
    cluster: mpsc::Sender<Record>,
    webhook: Option<mpsc::Sender<Record>>,
}

/// An event of a certain object at a certain time.
#[derive(Clone)]
struct Record {
    involved: Involved,
    event: Event,
    /// With the prefixes that readers expect.
    annotations: BTreeMap<String, String>,
    time: Timestamp,
}

#[derive(Clone)]
struct Involved {
    api_version: String,
    kind: String,
    namespace: String,
    name: String,
    uid: String,
    resource_version: String,
}

impl Involved {
    fn to_json(&self) -> Value {
        let mut reference = json!({"kind": self.kind, "name": self.name, "uid": self.uid, "apiVersion": self.api_version,
            "resourceVersion": self.resource_version});
        if !self.namespace.is_empty() {
            reference["namespace"] = self.namespace.as_str().into();
        }
        reference
    }
}

/// Publishes events of objects of one kind.
#[derive(Clone)]
pub struct KindRecorder {
    recorder: Recorder,
    resource: Resource,
}

const QUEUE_MAX: usize = 4096;
/// Annotations of an object under this prefix go into its events.
const COPIED: &str = "event.toolkit.fluxcd.io/";
/// The API server sets no limit of its own on these messages; an error of a thousand lines helps nobody.
const MESSAGE_MAX: usize = 32 << 10;
const NOTE_WITHIN: Duration = Duration::from_secs(5);
/// An event whose next try would be so far off is not tried again.
const GIVE_UP_PAUSE: Duration = Duration::from_secs(64);
/// Names end at 253 characters; a dot and the number are put behind it.
const OBJECT_NAME_MAX: usize = 230;

/// What must keep running for events to arrive; each ends when it was told to drain and its queue is empty.
pub(crate) struct Workers {
    pub(crate) cluster: futures::future::BoxFuture<'static, ()>,
    pub(crate) webhook: futures::future::BoxFuture<'static, ()>,
}

struct Queue {
    queue: mpsc::Receiver<Record>,
    drain: CancellationToken,
}

impl Queue {
    async fn next(&mut self) -> Option<Record> {
        tokio::select! {
            biased;
            record = self.queue.recv() => record,
            () = self.drain.cancelled() => {
                self.queue.close();
                self.queue.recv().await
            }
        }
    }
}

impl Recorder {
    pub(crate) fn new(
        controller: &str,
        instance: &str,
        events_addr: Option<&str>,
        client: Client,
        clock: Clock,
        metrics: Metrics,
        drain: CancellationToken,
    ) -> (Self, Workers) {
        let (cluster, to_cluster) = mpsc::channel(QUEUE_MAX);
        let (webhook, to_webhook) = mpsc::channel(QUEUE_MAX);
        let shared = Shared { instance: instance.to_owned(), clock, metrics, cluster, webhook: events_addr.map(|_| webhook) };
        let recorder = Self { shared: Arc::new(shared) };
        let (name, instance) = (controller.to_owned(), instance.to_owned());
        let workers = Workers {
            cluster: Box::pin(write_to_cluster(client, name.clone(), Queue { queue: to_cluster, drain: drain.clone() })),
            webhook: Box::pin(post(events_addr.unwrap_or_default().to_owned(), name, instance, Queue { queue: to_webhook, drain })),
        };
        (recorder, workers)
    }

    pub fn for_kind(&self, resource: &Resource) -> KindRecorder {
        KindRecorder { recorder: self.clone(), resource: resource.clone() }
    }

    pub fn instance(&self) -> &str {
        &self.shared.instance
    }
}

impl KindRecorder {
    /// Puts an event in line.
    pub fn publish(&self, meta: &Meta, event: Event) {
        let shared = &self.recorder.shared;
        match event.severity {
            Severity::Error => tracing::error!(reason = %event.reason, "{}", event.message),
            Severity::Info => tracing::info!(reason = %event.reason, "{}", event.message),
            Severity::Trace => tracing::debug!(reason = %event.reason, "{}", event.message),
        }
        let record = Record {
            annotations: annotations(&self.resource.group, meta, &event),
            involved: Involved {
                api_version: self.resource.api_version(),
                kind: self.resource.kind.clone(),
                namespace: meta.namespace.clone(),
                name: meta.name.clone(),
                uid: meta.uid.clone(),
                resource_version: meta.resource_version.clone(),
            },
            time: shared.clock.now(),
            event,
        };
        if let Some(webhook) = shared.webhook.as_ref().filter(|_| record.event.severity != Severity::Trace) {
            self.hand_over(webhook, record.clone());
        }
        self.hand_over(&shared.cluster, record);
    }

    fn hand_over(&self, queue: &mpsc::Sender<Record>, record: Record) {
        if let Err(TrySendError::Full(_)) = queue.try_send(record) {
            self.recorder.shared.metrics.event_dropped();
        }
    }
}

/// The event's own metadata under the group of its kind, and what the object asks to be copied.
fn annotations(group: &str, meta: &Meta, event: &Event) -> BTreeMap<String, String> {
    let copied = meta.annotations.iter().filter(|(key, _)| key.starts_with(COPIED)).map(|(key, value)| (key.clone(), value.clone()));
    let own = event.metadata.iter().map(|(key, value)| {
        let key = if key.contains('/') { key.clone() } else { format!("{group}/{key}") };
        (key, value.clone())
    });
    copied.chain(own).collect()
}

async fn write_to_cluster(client: Client, controller: String, mut queue: Queue) {
    let events = Resource::namespaced("", "v1", "Event", "events");
    let mut correlator = Correlator::new();
    let mut number = 0u64;
    while let Some(record) = queue.next().await {
        let key = EventKey {
            uid: record.involved.uid.clone(),
            severity: record.event.severity,
            reason: record.event.reason.clone(),
            message: record.event.message.clone(),
        };
        let (key, action) = correlator.decide(&key, Instant::now());
        let namespace = if record.involved.namespace.is_empty() { "default" } else { &record.involved.namespace };
        let message = match action {
            Action::Drop => continue,
            Action::Create { message } => message,
            Action::Repeat { name, message, count } => {
                // Annotations stay those of the first time, as client-go leaves them; recorded in src-git-revision-change and others.
                let patch = json!({"count": count, "lastTimestamp": rfc3339_secs(record.time), "message": cut(&message, MESSAGE_MAX)});
                let body = patch.to_string().into_bytes();
                match client.patch(&events, namespace, &name, "", PatchKind::Merge, &controller, body).await {
                    Ok(_) => continue,
                    // Events live for an hour: write it anew.
                    Err(error) if error.is_not_found() => correlator.lost(&key),
                    Err(error) => {
                        tracing::debug!(error = %error.chain(), "an event was not counted");
                        continue;
                    }
                }
                message
            }
        };
        number += 1;
        // As client-go names events: the object, and a number that grows with time.
        let nanos = u128::try_from(record.time.as_nanosecond()).unwrap_or_default() + u128::from(number % 1000);
        let name = format!("{}.{nanos:x}", cut(&record.involved.name, OBJECT_NAME_MAX));
        let body = cluster_event(&record, &name, namespace, &message, &controller).to_string().into_bytes();
        match create(&client, &events, namespace, &controller, body, &queue.drain).await {
            Ok(()) => correlator.written(key, name, 1),
            // A namespace that is going away takes no new objects.
            Err(error) => tracing::debug!(error = %error.chain(), "an event was not written"),
        }
    }
}

/// Writes an event, more than once when the server is away for a while; what waits behind it is bounded.
async fn create(
    client: &Client,
    events: &Resource,
    namespace: &str,
    controller: &str,
    body: Vec<u8>,
    drain: &CancellationToken,
) -> Result<(), cluster::Error> {
    let mut pause = Duration::from_secs(1);
    loop {
        match client.create(events, namespace, controller, body.clone()).await {
            Ok(_) => return Ok(()),
            // An answer that got lost: it is there.
            Err(error) if error.is_already_exists() => return Ok(()),
            Err(error) if error.is_transient() && pause < GIVE_UP_PAUSE && !drain.is_cancelled() => {
                tokio::select! { () = tokio::time::sleep(pause) => {}, () = drain.cancelled() => {} }
                pause *= 2;
            }
            Err(error) => return Err(error),
        }
    }
}

/// The Event object, field by field as client-go's recorder writes it.
fn cluster_event(record: &Record, name: &str, namespace: &str, message: &str, controller: &str) -> Value {
    let time = rfc3339_secs(record.time);
    let mut metadata = json!({"name": name, "namespace": namespace});
    if !record.annotations.is_empty() {
        metadata["annotations"] = json!(record.annotations);
    }
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": metadata,
        "involvedObject": record.involved.to_json(),
        "reason": record.event.reason,
        "message": cut(message, MESSAGE_MAX),
        "source": {"component": controller},
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
        "type": if record.event.severity == Severity::Error { "Warning" } else { "Normal" },
        "eventTime": null,
        "reportingComponent": controller,
        "reportingInstance": "",
    })
}

/// The beginning of a text, up to `max` bytes.
fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The body that the notification-controller reads (eventv1.Event).
fn note(record: &Record, controller: &str, instance: &str) -> Value {
    let mut note = json!({
        "involvedObject": record.involved.to_json(),
        "severity": match record.event.severity {
            Severity::Trace => "trace",
            Severity::Info => "info",
            Severity::Error => "error",
        },
        "timestamp": rfc3339_secs(record.time),
        "message": record.event.message,
        "reason": record.event.reason,
        "reportingController": controller,
        "reportingInstance": instance,
    });
    if !record.annotations.is_empty() {
        note["metadata"] = json!(record.annotations);
    }
    note
}

async fn post(address: String, controller: String, instance: String, mut queue: Queue) {
    // Where an event leads is part of the set-up, not of the answer: no redirects.
    let client = reqwest::Client::builder().timeout(NOTE_WITHIN).redirect(reqwest::redirect::Policy::none()).build();
    let client = match client {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(%error, "events cannot be sent to the notification-controller");
            return;
        }
    };
    while let Some(record) = queue.next().await {
        let body = note(&record, &controller, &instance).to_string();
        let mut pause = Duration::from_secs(1);
        for last in [false, false, true] {
            let request = client.post(&address).header("content-type", "application/json").body(body.clone());
            let again = match request.send().await {
                // Too many requests means: this event came already.
                Ok(answer) if answer.status().as_u16() == 429 => false,
                Ok(answer) => answer.status().is_server_error(),
                Err(error) => !error.is_builder(),
            };
            if !again {
                break;
            }
            if last {
                tracing::error!(object = %record.involved.name, "an event was not taken by the notification-controller");
                break;
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let meta = Meta {
            name: "app".into(),
            namespace: "web".into(),
            uid: "u".into(),
            resource_version: "7".into(),
            annotations: [("event.toolkit.fluxcd.io/team", "x"), ("other", "y")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            ..Meta::default()
        };
        let event = Event::error("HealthCheckFailed", "no").with("revision", "main@sha1:1").with("digest", "");
        Record {
            annotations: annotations("kustomize.toolkit.fluxcd.io", &meta, &event),
            involved: Involved {
                api_version: "kustomize.toolkit.fluxcd.io/v1".into(),
                kind: "Kustomization".into(),
                namespace: meta.namespace,
                name: meta.name,
                uid: meta.uid,
                resource_version: meta.resource_version,
            },
            event,
            time: "2026-11-24T01:02:03.9Z".parse().unwrap(),
        }
    }

    #[test]
    fn events_in_the_cluster_look_as_the_recorder_of_flux_writes_them() {
        // As recorded in the scenario ks-meta-event-annotations: metadata is prefixed, copied annotations keep their key.
        let event = cluster_event(&record(), "app.1", "web", "no", "kustomize-controller");
        assert_eq!(
            event["metadata"]["annotations"],
            json!({"event.toolkit.fluxcd.io/team": "x", "kustomize.toolkit.fluxcd.io/revision": "main@sha1:1"})
        );
        assert_eq!(
            (&event["type"], &event["count"], &event["source"]["component"]),
            (&json!("Warning"), &json!(1), &json!("kustomize-controller"))
        );
        assert_eq!(event["firstTimestamp"], "2026-11-24T01:02:03Z");
        assert_eq!(event["involvedObject"]["apiVersion"], "kustomize.toolkit.fluxcd.io/v1");
    }

    #[test]
    fn notes_have_the_fields_that_the_notification_controller_reads() {
        let note = note(&record(), "kustomize-controller", "pod-1");
        assert_eq!((&note["severity"], &note["reportingInstance"]), (&json!("error"), &json!("pod-1")));
        assert_eq!(note["metadata"]["kustomize.toolkit.fluxcd.io/revision"], "main@sha1:1");
        assert_eq!(note["involvedObject"]["namespace"], "web");
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        assert_eq!(cut("short", 10), "short");
        assert_eq!(cut("éé", 3), "é");
        assert_eq!(cut("aé", 2), "a");
    }
}
