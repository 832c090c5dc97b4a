//! The client against a server that answers by script: what no real server can be made to do on demand.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use cluster::{Apply, Client, Delete, Error, Fence, Identity, Resource, Selection, Verb, WatchEvent};
use futures::StreamExt;
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper::{Request, Response, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A request as the server saw it.
#[derive(Clone, Debug)]
struct Seen {
    method: String,
    target: String,
    impersonated: Option<String>,
    body: String,
}

enum Reply {
    Json(u16, Value),
    RetryAfter(u16, u64),
    /// Lines, and then the body ends.
    Lines(Vec<Value>),
    /// Lines, and then nothing more, without an end.
    Open(Vec<Value>),
    /// The connection breaks before an answer.
    Break,
    /// The connection breaks in the middle of a line.
    Cut(Vec<Value>, &'static str),
}

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

fn stream(chunks: Vec<Result<Bytes, std::io::Error>>, open: bool) -> Body {
    let frames = futures::stream::iter(chunks.into_iter().map(|chunk| chunk.map(Frame::data)));
    if open {
        return BodyExt::boxed_unsync(StreamBody::new(frames.chain(futures::stream::pending())));
    }
    BodyExt::boxed_unsync(StreamBody::new(frames))
}

fn lines(values: &[Value]) -> Vec<Result<Bytes, std::io::Error>> {
    values.iter().map(|value| Ok(Bytes::from(format!("{value}\n")))).collect()
}

struct Server {
    client: Client,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// `script` gets the number of the request, counted from 0, and the request.
    async fn start(script: impl Fn(usize, &Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_with(Fence::open(), script).await
    }

    async fn start_with(fence: Fence, script: impl Fn(usize, &Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (log, script) = (seen.clone(), Arc::new(script));
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (log, script) = (log.clone(), script.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request: Request<Incoming>| answer(request, log.clone(), script.clone()));
                    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        let config = kube::Config::new(format!("http://{address}").parse().unwrap());
        Self { client: Client::with_fence(config, fence).unwrap(), seen }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn answer(
    request: Request<Incoming>,
    log: Arc<Mutex<Vec<Seen>>>,
    script: Arc<impl Fn(usize, &Seen) -> Reply>,
) -> Result<Response<Body>, std::io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let seen = Seen {
        method: head.method.to_string(),
        target: head.uri.to_string(),
        impersonated: head.headers.get("impersonate-user").map(|value| value.to_str().unwrap().to_owned()),
        body: String::from_utf8(body.to_vec()).unwrap(),
    };
    let number = {
        let mut log = log.lock().unwrap();
        log.push(seen.clone());
        log.len() - 1
    };
    let respond = |code: u16, body| Response::builder().status(code).body(body).map_err(std::io::Error::other);
    match script(number, &seen) {
        Reply::Json(code, value) => respond(code, stream(lines(&[value]), false)),
        Reply::RetryAfter(code, secs) => {
            let response = Response::builder().status(code).header("retry-after", secs.to_string());
            response.body(stream(Vec::new(), false)).map_err(std::io::Error::other)
        }
        Reply::Lines(values) => respond(200, stream(lines(&values), false)),
        Reply::Open(values) => respond(200, stream(lines(&values), true)),
        Reply::Break => Err(std::io::Error::other("the script says so")),
        Reply::Cut(values, rest) => {
            let mut chunks = lines(&values);
            chunks.push(Ok(Bytes::from_static(rest.as_bytes())));
            // What was written goes out when the body has nothing more for a moment; only then it breaks.
            let end = futures::stream::once(async {
                tokio::task::yield_now().await;
                Err(std::io::Error::other("the script says so"))
            });
            respond(
                200,
                BodyExt::boxed_unsync(StreamBody::new(
                    futures::stream::iter(chunks.into_iter().map(|chunk| chunk.map(Frame::data))).chain(end),
                )),
            )
        }
    }
}

fn config_maps() -> Resource {
    Resource::namespaced("", "v1", "ConfigMap", "configmaps")
}

fn object(name: &str, version: u64) -> Value {
    json!({"metadata": {"name": name, "resourceVersion": version.to_string()}})
}

fn event(kind: &str, name: &str, version: u64) -> Value {
    json!({"type": kind, "object": object(name, version)})
}

fn page(version: u64, next: &str, items: &[Value]) -> Reply {
    Reply::Json(200, json!({"metadata": {"resourceVersion": version.to_string(), "continue": next}, "items": items}))
}

const FORCED: Apply<'static> = Apply { field_manager: "m", force: true, dry_run: false, subresource: "" };

#[tokio::test]
async fn what_the_server_refuses_for_load_is_sent_again_after_the_time_it_names() {
    let server =
        Server::start(|number, _| if number == 0 { Reply::RetryAfter(429, 1) } else { Reply::Json(200, json!({"ok": true})) }).await;
    let before = server.client.limit().current();
    let started = Instant::now();
    server.client.apply(&config_maps(), "n", "a", b"{}".to_vec(), FORCED).await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(server.client.limit().current(), before / 2, "the limit halves");
    assert_eq!(server.client.counts().of(Verb::Apply), 2, "what the server saw is counted");
    assert_eq!(server.seen()[1].target, "/api/v1/namespaces/n/configmaps/a?fieldManager=m&force=true");
}

#[tokio::test]
async fn a_creation_without_an_answer_is_not_sent_again_and_an_apply_is() {
    let server = Server::start(|number, seen| match (number, seen.method.as_str()) {
        (0, _) | (_, "POST") => Reply::Break,
        _ => Reply::Json(200, json!({})),
    })
    .await;
    server.client.apply(&config_maps(), "n", "a", b"{}".to_vec(), FORCED).await.unwrap();
    assert_eq!(server.seen().len(), 2);
    let error = server.client.create(&config_maps(), "n", "m", b"{}".to_vec()).await.unwrap_err();
    assert!(matches!(error, Error::Transport(_)) && error.is_transient(), "{error:?}");
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn the_servers_own_words_come_through() {
    let server = Server::start(|_, _| {
        Reply::Json(
            422,
            json!({"kind": "Status", "status": "Failure", "message": "ConfigMap \"a\" is invalid: data: too long", "reason": "Invalid", "code": 422,
                "details": {"name": "a", "kind": "ConfigMap", "causes": [{"reason": "FieldValueTooLong", "message": "too long", "field": "data"}]}}),
        )
    })
    .await;
    let error = server.client.apply(&config_maps(), "n", "a", b"{}".to_vec(), FORCED).await.unwrap_err();
    assert_eq!(error.to_string(), "ConfigMap \"a\" is invalid: data: too long");
    assert!(error.is_invalid() && !error.is_transient());
    assert_eq!(error.status().unwrap().details.as_ref().unwrap().causes[0].field, "data");
    assert_eq!(server.seen().len(), 1, "a refusal is final");
}

#[tokio::test]
async fn a_closed_fence_holds_back_writes_and_lets_reads_and_dry_runs_pass() {
    let fence = Fence::closed();
    let server = Server::start_with(fence.clone(), |_, _| Reply::Json(200, json!({}))).await;
    let client = &server.client;
    assert!(matches!(client.apply(&config_maps(), "n", "a", Vec::new(), FORCED).await, Err(Error::Fenced)));
    assert!(matches!(client.delete(&config_maps(), "n", "a", Delete::default()).await, Err(Error::Fenced)));
    assert!(server.seen().is_empty());
    client.get(&config_maps(), "n", "a").await.unwrap();
    client.apply(&config_maps(), "n", "a", b"{}".to_vec(), Apply { dry_run: true, ..FORCED }).await.unwrap();
    fence.extend(Instant::now(), Duration::from_secs(60));
    client.apply(&config_maps(), "n", "a", b"{}".to_vec(), FORCED).await.unwrap();
    assert_eq!((client.counts().writes(), client.counts().total()), (1, 3));
}

#[tokio::test]
async fn identities_share_a_client_and_send_their_own_name() {
    let server = Server::start(|_, _| Reply::Json(200, json!({}))).await;
    let tenant = server.client.as_identity(&Identity::service_account("team", "deployer")).unwrap();
    tenant.get(&config_maps(), "n", "a").await.unwrap();
    server.client.get(&config_maps(), "n", "a").await.unwrap();
    let names: Vec<_> = server.seen().into_iter().map(|seen| seen.impersonated).collect();
    assert_eq!(names, [Some("system:serviceaccount:team:deployer".to_owned()), None]);
    assert_eq!(tenant.counts().of(Verb::Get), 2, "counted together");
    assert!(server.client.as_identity(&Identity::User(String::new())).is_err(), "an empty name must not become one's own");
    assert!(server.client.as_identity(&Identity::User("a\r\nb: c".into())).is_err());
}

#[tokio::test]
async fn a_deletion_names_what_it_was_decided_on() {
    let server = Server::start(|_, _| Reply::Json(200, json!({}))).await;
    let options = Delete { uid: Some("u"), resource_version: Some("7"), ..Delete::default() };
    server.client.delete(&config_maps(), "n", "a", options).await.unwrap();
    let body: Value = serde_json::from_str(&server.seen()[0].body).unwrap();
    assert_eq!(body["preconditions"], json!({"uid": "u", "resourceVersion": "7"}));
    assert_eq!(body["propagationPolicy"], "Background");
}

/// The events of a watch in short, up to `count` of them.
async fn watched(client: &Client, count: usize) -> Vec<String> {
    let name = |json: &serde_json::value::RawValue| {
        serde_json::from_str::<Value>(json.get()).unwrap()["metadata"]["name"].as_str().unwrap().to_owned()
    };
    let events = client.watch(&config_maps(), &Selection::labels("a=b")).take(count).map(|event| match event {
        WatchEvent::Restarted => "restarted".to_owned(),
        WatchEvent::Listed(json) => format!("listed {}", name(&json)),
        WatchEvent::Synced => "synced".to_owned(),
        WatchEvent::Applied(json) => format!("applied {}", name(&json)),
        WatchEvent::Deleted(json) => format!("deleted {}", name(&json)),
        WatchEvent::Failed(error) => format!("failed {:?}", error.status().map(|status| status.code)),
    });
    tokio::time::timeout(Duration::from_secs(20), events.collect()).await.expect("the watch tells what happened")
}

#[tokio::test]
async fn a_watch_lists_page_by_page_and_goes_on_where_it_was_cut() {
    let server = Server::start(|number, seen| match number {
        0 => page(10, "token", &[object("a", 3)]),
        1 => {
            assert!(seen.target.contains("continue=token"), "{}", seen.target);
            page(99, "", &[object("b", 4)])
        }
        2 => {
            assert!(seen.target.contains("resourceVersion=10&"), "the version of the first page: {}", seen.target);
            Reply::Cut(vec![event("ADDED", "c", 11), event("BOOKMARK", "", 20)], "{\"type\":\"MODIFIED\",\"obj")
        }
        3 => {
            assert!(seen.target.contains("resourceVersion=20&"), "the version of the bookmark: {}", seen.target);
            Reply::Open(vec![event("DELETED", "a", 21)])
        }
        _ => Reply::Break,
    })
    .await;
    let events = watched(&server.client, 7).await;
    assert_eq!(events, ["restarted", "listed a", "listed b", "synced", "applied c", "failed None", "deleted a"]);
    let first = &server.seen()[0].target;
    assert_eq!(first, "/api/v1/configmaps?labelSelector=a%3Db&limit=500");
}

#[tokio::test]
async fn a_version_that_is_too_old_leads_to_a_new_listing() {
    let gone =
        json!({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}});
    let server = Server::start(move |number, _| match number {
        0 => page(10, "", &[object("a", 3)]),
        1 => Reply::Lines(vec![gone.clone()]),
        2 => page(50, "", &[object("b", 40)]),
        _ => Reply::Open(Vec::new()),
    })
    .await;
    let events = watched(&server.client, 7).await;
    assert_eq!(events, ["restarted", "listed a", "synced", "failed Some(410)", "restarted", "listed b", "synced"]);
}

#[tokio::test]
async fn a_server_that_ends_a_watch_in_time_is_asked_again_without_a_word() {
    let server = Server::start(|number, seen| match number {
        0 => page(10, "", &[]),
        1 => Reply::Lines(vec![event("ADDED", "a", 12)]),
        2 => {
            assert!(seen.target.contains("resourceVersion=12&"), "{}", seen.target);
            Reply::Open(vec![event("MODIFIED", "a", 13)])
        }
        _ => Reply::Break,
    })
    .await;
    assert_eq!(watched(&server.client, 4).await, ["restarted", "synced", "applied a", "applied a"]);
}
