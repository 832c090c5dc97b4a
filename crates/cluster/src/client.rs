use crate::counts::{Counts, Verb};
use crate::error::Error;
use crate::fence::Fence;
use crate::limit::Limit;
use crate::remote::{REMOTE_ANSWER_WITHIN, RemoteOptions, remote_config};
use crate::resource::{Query, Resource};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt, Limited};
use kube::client::Body;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Duration;

/// Who asks: the controller itself, or somebody it speaks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Identity {
    #[default]
    Own,
    /// `Impersonate-User` with this name, no groups: as Flux impersonates service accounts.
    User(String),
}

impl Identity {
    pub fn service_account(namespace: &str, name: &str) -> Self {
        Self::User(format!("system:serviceaccount:{namespace}:{name}"))
    }
}

/// Speaks to one API server as one identity. Cheap to clone; all clones and identities share one connection pool.
#[derive(Clone)]
pub struct Client {
    connection: Arc<Connection>,
    impersonate: Option<HeaderValue>,
    urgent: bool,
    fenced: bool,
    answer_within: Duration,
}

struct Connection {
    kube: kube::Client,
    limit: Limit,
    counts: Counts,
    fence: Fence,
}

/// How long one request may take, from being sent to its last byte; the server gives up after 60 s itself.
const ANSWER_WITHIN: Duration = Duration::from_secs(65);
/// How long a request is tried again before its caller learns of it. The caller has a back-off of its own.
const TRY_FOR: Duration = Duration::from_secs(10);
/// A list page of the largest objects that a cluster can hold is smaller.
const ANSWER_SIZE_MAX: usize = 256 << 20;
const IN_FLIGHT_START: usize = 32;
/// Go's HTTP/2 server allows 100 streams on one connection or more; watches need some of them.
const IN_FLIGHT_MAX: usize = 80;

/// What `apply` sends along.
#[derive(Debug, Clone, Copy, Default)]
pub struct Apply<'a> {
    pub field_manager: &'a str,
    pub force: bool,
    pub dry_run: bool,
    /// `status`, or empty for the object itself.
    pub subresource: &'a str,
}

/// The forms of a patch other than server-side apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchKind {
    Merge,
    Json,
    Strategic,
}

impl PatchKind {
    fn content_type(self) -> &'static str {
        match self {
            Self::Merge => "application/merge-patch+json",
            Self::Json => "application/json-patch+json",
            Self::Strategic => "application/strategic-merge-patch+json",
        }
    }
}

/// What `delete` sends along. The server refuses the deletion of another object of the same name when `uid` is given.
#[derive(Debug, Clone, Copy, Default)]
pub struct Delete<'a> {
    pub uid: Option<&'a str>,
    pub resource_version: Option<&'a str>,
    pub propagation: Propagation,
    pub dry_run: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Propagation {
    #[default]
    Background,
    Foreground,
    Orphan,
}

/// What `list` and watches ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Selection {
    /// Empty for all namespaces.
    pub namespace: String,
    pub labels: String,
    pub fields: String,
    /// Only `metadata` of each object.
    pub metadata_only: bool,
}

/// A part of a list.
#[derive(Debug)]
pub struct Page {
    pub items: Vec<Box<RawValue>>,
    pub resource_version: String,
    /// Empty on the last page.
    pub next: String,
}

const ACCEPT_JSON: &str = "application/json";
const ACCEPT_METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
const ACCEPT_METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
const LIST_PAGE: &str = "500";

impl Client {
    /// Connects lazily: the first request dials. Must be called within a Tokio runtime.
    pub fn new(config: kube::Config) -> Result<Self, Error> {
        Self::with_fence(config, Fence::open())
    }

    /// As `new`, and every write is held back while the fence is closed.
    pub fn with_fence(config: kube::Config, fence: Fence) -> Result<Self, Error> {
        let kube = crate::connect::connect(config)?;
        let limit = Limit::new(IN_FLIGHT_START, IN_FLIGHT_MAX);
        Ok(Self {
            connection: Arc::new(Connection { kube, limit, counts: Counts::default(), fence }),
            impersonate: None,
            urgent: false,
            fenced: true,
            answer_within: ANSWER_WITHIN,
        })
    }

    /// A client of another cluster, by a kubeconfig from a user's Secret, with a connection of its own.
    ///
    /// The right to write to it comes from this cluster's lease, and it must answer sooner than one's own.
    pub async fn remote(&self, kubeconfig: &[u8], options: RemoteOptions) -> Result<Self, Error> {
        let client = Self::with_fence(remote_config(kubeconfig, options).await?, self.connection.fence.clone())?;
        Ok(Self { answer_within: REMOTE_ANSWER_WITHIN, ..client })
    }

    /// The same connection in the name of another.
    pub fn as_identity(&self, identity: &Identity) -> Result<Self, Error> {
        let impersonate = match identity {
            Identity::Own => None,
            // An empty name would silently mean "myself" to some servers: never send it.
            Identity::User(name) if name.is_empty() => return Err(Error::NoConfig("the name to impersonate is empty".into())),
            Identity::User(name) => Some(HeaderValue::from_str(name).map_err(|e| Error::Request(e.into()))?),
        };
        Ok(Self { impersonate, ..self.clone() })
    }

    /// The same client, passing the concurrency limit and the fence by, without second tries: for leases.
    pub fn urgent(&self) -> Self {
        Self { urgent: true, fenced: false, ..self.clone() }
    }

    /// The same client, writing whether or not the fence is open: for what may be told late, such as events.
    pub fn unfenced(&self) -> Self {
        Self { fenced: false, ..self.clone() }
    }

    pub fn counts(&self) -> &Counts {
        &self.connection.counts
    }

    pub fn limit(&self) -> &Limit {
        &self.connection.limit
    }

    pub fn fence(&self) -> &Fence {
        &self.connection.fence
    }

    /// The kube client of the same connection, in its own identity; its requests are neither counted nor limited.
    pub fn kube(&self) -> &kube::Client {
        &self.connection.kube
    }

    pub async fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Result<Bytes, Error> {
        self.send(Verb::Get, &resource.path(namespace, name), ACCEPT_JSON, None).await
    }

    /// `None` when the object does not exist.
    pub async fn get_opt(&self, resource: &Resource, namespace: &str, name: &str) -> Result<Option<Bytes>, Error> {
        match self.get(resource, namespace, name).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub async fn get_as<T: DeserializeOwned>(&self, resource: &Resource, namespace: &str, name: &str) -> Result<T, Error> {
        serde_json::from_slice(&self.get(resource, namespace, name).await?).map_err(Error::Decode)
    }

    /// Any other path of the server, such as `/version`.
    pub async fn get_path(&self, path: &str, accept: &str) -> Result<Bytes, Error> {
        self.send(Verb::Get, path, accept, None).await
    }

    /// One page; `from` is the `next` of the page before, or empty.
    pub async fn list_page(&self, resource: &Resource, selection: &Selection, from: &str) -> Result<Page, Error> {
        let mut query = selection.query();
        query.set("limit", LIST_PAGE).set_unless_empty("continue", from);
        let accept = if selection.metadata_only { ACCEPT_METADATA_LIST } else { ACCEPT_JSON };
        let bytes = self.send(Verb::List, &query.after(&resource.collection(&selection.namespace)), accept, None).await?;
        let list: RawList = serde_json::from_slice(&bytes).map_err(Error::Decode)?;
        Ok(Page { items: list.items.unwrap_or_default(), resource_version: list.metadata.resource_version, next: list.metadata.next })
    }

    /// All objects of a selection.
    pub async fn list(&self, resource: &Resource, selection: &Selection) -> Result<Vec<Box<RawValue>>, Error> {
        let mut items = Vec::new();
        let mut from = String::new();
        loop {
            let page = self.list_page(resource, selection, &from).await?;
            items.extend(page.items);
            if page.next.is_empty() {
                return Ok(items);
            }
            from = page.next;
        }
    }

    pub async fn create(&self, resource: &Resource, namespace: &str, field_manager: &str, body: Vec<u8>) -> Result<Bytes, Error> {
        let mut query = Query::default();
        query.set_unless_empty("fieldManager", field_manager);
        self.send(Verb::Create, &query.after(&resource.collection(namespace)), ACCEPT_JSON, Some((ACCEPT_JSON, body))).await
    }

    pub async fn replace(&self, resource: &Resource, namespace: &str, name: &str, manager: &str, body: Vec<u8>) -> Result<Bytes, Error> {
        let mut query = Query::default();
        query.set_unless_empty("fieldManager", manager);
        self.send(Verb::Update, &query.after(&resource.path(namespace, name)), ACCEPT_JSON, Some((ACCEPT_JSON, body))).await
    }

    /// Server-side apply.
    pub async fn apply(&self, resource: &Resource, namespace: &str, name: &str, body: Vec<u8>, options: Apply<'_>) -> Result<Bytes, Error> {
        let mut query = Query::default();
        query.set("fieldManager", options.field_manager).set("force", if options.force { "true" } else { "false" });
        if options.dry_run {
            query.set("dryRun", "All");
        }
        let verb = if options.dry_run { Verb::DryRun } else { Verb::Apply };
        let path = query.after(&with_subresource(resource.path(namespace, name), options.subresource));
        self.send(verb, &path, ACCEPT_JSON, Some(("application/apply-patch+yaml", body))).await
    }

    /// A patch of the object, or of its `subresource` unless that is empty.
    pub async fn patch(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        subresource: &str,
        kind: PatchKind,
        field_manager: &str,
        body: Vec<u8>,
    ) -> Result<Bytes, Error> {
        let mut query = Query::default();
        query.set_unless_empty("fieldManager", field_manager);
        let path = query.after(&with_subresource(resource.path(namespace, name), subresource));
        self.send(Verb::Patch, &path, ACCEPT_JSON, Some((kind.content_type(), body))).await
    }

    pub async fn delete(&self, resource: &Resource, namespace: &str, name: &str, options: Delete<'_>) -> Result<Bytes, Error> {
        let mut body = serde_json::json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": match options.propagation {
                Propagation::Background => "Background",
                Propagation::Foreground => "Foreground",
                Propagation::Orphan => "Orphan",
            },
        });
        if let Some(uid) = options.uid {
            body["preconditions"]["uid"] = uid.into();
        }
        if let Some(version) = options.resource_version {
            body["preconditions"]["resourceVersion"] = version.into();
        }
        if options.dry_run {
            body["dryRun"] = serde_json::json!(["All"]);
        }
        let body = serde_json::to_vec(&body).map_err(Error::Decode)?;
        let verb = if options.dry_run { Verb::DryRun } else { Verb::Delete };
        self.send_with(verb, Method::DELETE, &resource.path(namespace, name), ACCEPT_JSON, Some((ACCEPT_JSON, body))).await
    }

    /// Opens a watch; the answer's body has one JSON event a line.
    pub(crate) async fn open_watch(
        &self,
        resource: &Resource,
        selection: &Selection,
        from: &str,
        secs: u64,
    ) -> Result<Response<Body>, Error> {
        let mut query = selection.query();
        query.set("watch", "true").set("allowWatchBookmarks", "true");
        query.set("resourceVersion", from).set("timeoutSeconds", &secs.to_string());
        let accept = if selection.metadata_only { ACCEPT_METADATA } else { ACCEPT_JSON };
        let request = self.request(Method::GET, &query.after(&resource.collection(&selection.namespace)), accept, None)?;
        let sent = tokio::time::timeout(self.answer_within, self.connection.kube.send(request)).await;
        let response =
            sent.map_err(|_| Error::Timeout(self.answer_within))?.map_err(transport).inspect_err(|_| self.count(Verb::Watch, 0))?;
        self.count(Verb::Watch, response.status().as_u16());
        if response.status().is_success() {
            return Ok(response);
        }
        let code = response.status().as_u16();
        let bytes =
            tokio::time::timeout(self.answer_within, read_body(response)).await.map_err(|_| Error::Timeout(self.answer_within))??;
        Err(failure(code, &bytes))
    }

    async fn send(&self, verb: Verb, path: &str, accept: &str, body: Option<(&'static str, Vec<u8>)>) -> Result<Bytes, Error> {
        let method = match verb {
            Verb::Get | Verb::List | Verb::Watch => Method::GET,
            Verb::Create => Method::POST,
            Verb::Update => Method::PUT,
            Verb::Patch | Verb::Apply | Verb::DryRun => Method::PATCH,
            Verb::Delete => Method::DELETE,
        };
        self.send_with(verb, method, path, accept, body).await
    }

    /// Sends a request until it is answered, tries again what the server could not take, and gives up after a while.
    ///
    /// A request that got no answer at all may have been carried out: only what may be repeated is.
    async fn send_with(
        &self,
        verb: Verb,
        method: Method,
        path: &str,
        accept: &str,
        body: Option<(&'static str, Vec<u8>)>,
    ) -> Result<Bytes, Error> {
        let body = body.map(|(content_type, bytes)| (content_type, Bytes::from(bytes)));
        let give_up = tokio::time::Instant::now() + TRY_FOR;
        let mut pause = Duration::from_millis(50);
        loop {
            if verb.is_write() && self.fenced && !self.connection.fence.allows_writes() {
                return Err(Error::Fenced);
            }
            let answer = {
                let permit = if self.urgent { None } else { Some(self.connection.limit.acquire().await) };
                let request = self.request(method.clone(), path, accept, body.clone())?;
                let answer = match tokio::time::timeout(self.answer_within, self.once(verb, request)).await {
                    Ok(answer) => answer,
                    Err(_) => Err((Error::Timeout(self.answer_within), None)),
                };
                if let Some(permit) = permit {
                    match &answer {
                        Ok(_) => permit.succeeded(),
                        Err((Error::Api(status), _)) if matches!(status.code, 429 | 503) => permit.overloaded(),
                        Err(_) => {}
                    }
                }
                answer
            };
            let (error, retry_after) = match answer {
                Ok(bytes) => return Ok(bytes),
                Err(failed) => failed,
            };
            let again = match &error {
                Error::Api(status) => status.code == 429 || (verb != Verb::Create && matches!(status.code, 502..=504)),
                // Not sent, or sent and lost: reads and idempotent writes go again, creations do not.
                Error::Transport(_) => verb != Verb::Create,
                _ => false,
            };
            let wait = retry_after.unwrap_or_else(|| pause.mul_f64(0.75 + rand::random::<f64>() / 2.0));
            if !again || self.urgent || tokio::time::Instant::now() + wait > give_up {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }

    async fn once(&self, verb: Verb, request: Request<Body>) -> Result<Bytes, (Error, Option<Duration>)> {
        let response = match self.connection.kube.send(request).await {
            Ok(response) => response,
            Err(error) => {
                self.count(verb, 0);
                return Err((transport(error), None));
            }
        };
        let code = response.status().as_u16();
        self.count(verb, code);
        let retry_after = response.headers().get(header::RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok()).map(Duration::from_secs);
        let success = response.status().is_success();
        let bytes = read_body(response).await.map_err(|error| (error, None))?;
        if success { Ok(bytes) } else { Err((failure(code, &bytes), retry_after)) }
    }

    fn request(&self, method: Method, path: &str, accept: &str, body: Option<(&'static str, Bytes)>) -> Result<Request<Body>, Error> {
        let mut request = Request::builder().method(method).uri(path).header(header::ACCEPT, accept);
        if let Some(user) = &self.impersonate {
            request = request.header("impersonate-user", user);
        }
        match body {
            Some((content_type, bytes)) => request.header(header::CONTENT_TYPE, content_type).body(Body::from(bytes)),
            None => request.body(Body::empty()),
        }
        .map_err(Error::Request)
    }

    fn count(&self, verb: Verb, code: u16) {
        self.connection.counts.record(verb, code);
    }
}

impl Selection {
    pub fn labels(selector: impl Into<String>) -> Self {
        Self { labels: selector.into(), ..Self::default() }
    }

    fn query(&self) -> Query {
        let mut query = Query::default();
        query.set_unless_empty("labelSelector", &self.labels).set_unless_empty("fieldSelector", &self.fields);
        query
    }
}

#[derive(serde::Deserialize)]
struct RawList {
    #[serde(default)]
    metadata: RawListMeta,
    /// Go writes an empty list of items as null at times.
    #[serde(default)]
    items: Option<Vec<Box<RawValue>>>,
}

#[derive(serde::Deserialize, Default)]
#[serde(default)]
struct RawListMeta {
    #[serde(rename = "resourceVersion")]
    resource_version: String,
    #[serde(rename = "continue")]
    next: String,
}

fn with_subresource(mut path: String, subresource: &str) -> String {
    if !subresource.is_empty() {
        path.push('/');
        path.push_str(subresource);
    }
    path
}

fn transport(error: kube::Error) -> Error {
    match error {
        kube::Error::Service(error) => Error::Transport(error),
        other => Error::Transport(other.into()),
    }
}

async fn read_body(response: Response<Body>) -> Result<Bytes, Error> {
    let body = Limited::new(response.into_body(), ANSWER_SIZE_MAX);
    match body.collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(Error::TooLarge(ANSWER_SIZE_MAX)),
        Err(error) => Err(Error::Transport(error)),
    }
}

/// Reads a failure; a proxy in between may answer with anything, which is then the message.
pub(crate) fn failure(code: u16, bytes: &[u8]) -> Error {
    let mut status: crate::Status = serde_json::from_slice(bytes).unwrap_or_default();
    status.code = code;
    if status.message.is_empty() {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(512)]);
        let text = text.trim();
        status.message = if text.is_empty() { format!("the server answered with HTTP status {code}") } else { text.to_owned() };
    }
    Error::Api(Box::new(status))
}
