//! From an HTTP request to its answer.

use crate::access::{Attributes, User};
use crate::api::Api;
use crate::protocol::negotiate::{self, Accepted, Forms, Of};
use crate::protocol::path::{Query, resource_target};
use crate::protocol::status::{Result, Status};
use crate::registry::{discovery, openapi};
use crate::rest::{self, Context, Reply};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::stream::{self, StreamExt};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// As large as etcd lets an object be, with room for the envelope; the limit of a real server.
const BODY_MAX: usize = 3 * 1024 * 1024;
/// Smaller answers are not worth compressing, as in a real server.
const GZIP_FROM: usize = 128 * 1024;

/// What the outside of an answer needs to know of the request.
struct Outside {
    gzip: bool,
    head: bool,
    accepted: Accepted,
}

/// Answers a request whose body arrives in time.
pub async fn handle(api: Arc<Api>, request: Request<Incoming>, body_timeout: Duration) -> std::result::Result<Response<Body>, Infallible> {
    let accept = text(request.headers(), header::ACCEPT);
    let outside = Outside {
        gzip: text(request.headers(), header::ACCEPT_ENCODING).split(',').any(|c| c.trim().starts_with("gzip")),
        head: request.method() == Method::HEAD,
        accepted: negotiate::accept(&accept, false, Forms { protobuf: true, ..Forms::TEXT }).unwrap_or_default(),
    };
    // One request that goes wrong must not take its connection along.
    let answer = std::panic::AssertUnwindSafe(answer(api, request, &accept, body_timeout));
    let (mut response, warnings) = match futures::FutureExt::catch_unwind(answer).await {
        Ok((Ok(reply), warnings)) => (respond(reply, &outside), warnings),
        Ok((Err(status), warnings)) => (refuse(&status, &outside), warnings),
        Err(_) => {
            tracing::error!("a request could not be served");
            (refuse(&Status::internal("the request could not be served"), &outside), Vec::new())
        }
    };
    for warning in warnings {
        if let Ok(value) = HeaderValue::from_str(&format!("299 - {}", quoted(&warning))) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    Ok(response)
}

/// A warning's text as a quoted string of a header: no line breaks, nothing that would end it early.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars().take(2000) {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn text(headers: &HeaderMap, name: HeaderName) -> String {
    headers.get_all(name).iter().filter_map(|v| v.to_str().ok()).collect::<Vec<_>>().join(",")
}

async fn answer(api: Arc<Api>, request: Request<Incoming>, accept: &str, body_timeout: Duration) -> (Result<Reply>, Vec<String>) {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let query = Query::parse(parts.uri.query().unwrap_or(""));
    // Liveness is nobody's secret.
    if let Some(reply) = health(&path, &query) {
        return (Ok(reply), Vec::new());
    }
    let user = match api.access.authenticate(&api, &parts.headers) {
        Ok(user) => user,
        Err(status) => return (Err(status), Vec::new()),
    };
    let timeout = query.text("timeout");
    if !timeout.is_empty() && !merge::is_go_duration(timeout) {
        let why = format!("invalid timeout specified in the request URL - time: invalid duration \"{timeout}\"");
        return (Err(Status::bad_request(why)), Vec::new());
    }
    let Some(target) = resource_target(&parts.method, &path, &query) else {
        return (other_path(&api, &user, &parts.method, &path, &query, accept), Vec::new());
    };
    let attributes = Attributes {
        verb: target.verb,
        group: &target.group,
        resource: &target.resource,
        subresource: &target.subresource,
        namespace: &target.namespace,
        name: &target.name,
        path: "",
    };
    if let Err(status) = api.access.check(&api, &user, &attributes) {
        return (Err(status), Vec::new());
    }
    let registry = api.registry();
    let Some(resource) = registry.find(&target.group, &target.version, &target.resource).cloned() else {
        // A group that is served answers with a Status, any other path with a page.
        let known = registry.groups().iter().any(|g| g.name == target.group);
        let missing = || Ok(plain(404, "404 page not found\n"));
        return (if known { Err(Status::no_such_resource()) } else { missing() }, Vec::new());
    };
    // What is only asked and never stored is no row of a table.
    let shapes = (target.subresource.is_empty() || target.subresource == "status") && resource.can("get");
    let of = match target.verb {
        "watch" => Of::Watch,
        "list" => Of::List,
        _ => Of::One,
    };
    let forms = Forms { shapes, protobuf: resource.custom.is_none() || target.subresource == "scale", of };
    if let Err(status) = rest::check_method(&target, &resource, &text(&parts.headers, header::CONTENT_TYPE)) {
        return (Err(status), Vec::new());
    }
    let accepted = match negotiate::accept(accept, query.is_true("pretty"), forms) {
        Ok(accepted) => accepted,
        Err(status) => return (Err(status), Vec::new()),
    };
    let body = match read_body(&parts.method, body, body_timeout).await {
        Ok(body) => body,
        Err(status) => return (Err(status), Vec::new()),
    };
    let context = Context::new(
        api,
        user,
        target,
        query,
        accepted,
        resource,
        text(&parts.headers, header::USER_AGENT),
        text(&parts.headers, header::CONTENT_TYPE),
        body,
    );
    let mut reply = rest::serve(&context).await;
    if reply.is_ok() && parts.method != Method::GET && parts.method != Method::HEAD && context.api.store.synced().await.is_err() {
        reply = Err(Status::internal("the write could not be brought to the disk"));
    }
    (reply, context.take_warnings())
}

async fn read_body(method: &Method, body: Incoming, body_timeout: Duration) -> Result<Bytes> {
    if matches!(*method, Method::GET | Method::HEAD) {
        return Ok(Bytes::new());
    }
    match tokio::time::timeout(body_timeout, Limited::new(body, BODY_MAX).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(Status::too_large(BODY_MAX)),
        Ok(Err(_)) => Err(Status::bad_request("the body of the request could not be read")),
        Err(_) => Err(Status::new(408, "Timeout", "the body of the request took too long")),
    }
}

fn plain(code: u16, text: impl Into<Bytes>) -> Reply {
    Reply::Parts { code, content_type: "text/plain; charset=utf-8", parts: vec![text.into()] }
}

/// What a real server checks, and what of it there is here: all of it is up as soon as anything is answered.
const CHECKS: [&str; 24] = [
    "ping",
    "log",
    "etcd",
    "informer-sync",
    "poststarthook/start-apiserver-admission-initializer",
    "poststarthook/generic-apiserver-start-informers",
    "poststarthook/start-apiextensions-informers",
    "poststarthook/start-apiextensions-controllers",
    "poststarthook/crd-informer-synced",
    "poststarthook/start-system-namespaces-controller",
    "poststarthook/bootstrap-controller",
    "poststarthook/rbac/bootstrap-roles",
    "poststarthook/scheduling/bootstrap-system-priority-classes",
    "poststarthook/start-service-ip-repair-controllers",
    "poststarthook/start-cluster-authentication-info-controller",
    "poststarthook/start-kube-aggregator-informers",
    "poststarthook/apiservice-registration-controller",
    "poststarthook/apiservice-status-local-available-controller",
    "poststarthook/apiservice-status-remote-available-controller",
    "poststarthook/kube-apiserver-autoregistration",
    "autoregister-completion",
    "poststarthook/apiservice-openapi-controller",
    "poststarthook/storage-readiness",
    "shutdown",
];

fn health(path: &str, query: &Query) -> Option<Reply> {
    let mut parts = path.trim_matches('/').splitn(2, '/');
    // Informers have synced before a server is ready, which its life does not depend on; stopping makes it unready.
    let name = parts.next().filter(|name| matches!(*name, "healthz" | "livez" | "readyz"))?;
    match parts.next() {
        None if query.get("verbose").is_some() => {
            let counts = |check: &&&str| !matches!(**check, "informer-sync" | "shutdown") || name == "readyz";
            let lines: String = CHECKS.iter().filter(counts).map(|check| format!("[+]{check} ok\n")).collect();
            Some(plain(200, format!("{lines}{name} check passed\n")))
        }
        None => Some(plain(200, "ok")),
        Some(check) if CHECKS.contains(&check) => Some(plain(200, "ok")),
        Some(_) => Some(plain(404, "404 page not found\n")),
    }
}

/// Everything that is no resource.
fn other_path(api: &Api, user: &User, method: &Method, path: &str, query: &Query, accept: &str) -> Result<Reply> {
    let verb = method.as_str().to_lowercase();
    api.access.check(api, user, &Attributes { verb: &verb, path, ..Attributes::default() })?;
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Err(Status::method_not_allowed());
    }
    let registry = api.registry();
    let shown = |value: Value| -> Result<Reply> {
        let accepted = negotiate::accept(accept, query.is_true("pretty"), Forms::TEXT).unwrap_or_default();
        rest::view::encoded(accepted, 200, &value)
    };
    let missing = || Ok(plain(404, "404 page not found\n"));
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match parts.as_slice() {
        [""] => shown(discovery::paths(&registry)),
        ["version"] => shown(version()),
        ["api"] | ["apis"] => {
            let core = parts[0] == "api";
            if let Some(api_version) = aggregated_version(accept) {
                let value = discovery::aggregated(&registry, core, api_version);
                return Ok(Reply::Parts {
                    code: 200,
                    content_type: if api_version.ends_with("v2beta1") {
                        "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
                    } else {
                        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
                    },
                    parts: vec![Bytes::from(value.to_string())],
                });
            }
            shown(if core { discovery::core_versions(&api.address.to_string()) } else { discovery::group_list(&registry) })
        }
        ["api", "v1"] => discovery::resource_list(&registry, "", "v1").map_or_else(missing, shown),
        ["apis", group] => discovery::group(&registry, group).map_or_else(missing, shown),
        ["apis", group, version] => discovery::resource_list(&registry, group, version).map_or_else(missing, shown),
        ["openapi", "v3"] => shown(openapi::index(&registry)),
        ["openapi", "v3", rest @ ..] => match openapi::v3(&registry, &rest.join("/")) {
            Some(bytes) => Ok(Reply::Parts { code: 200, content_type: "application/json", parts: vec![Bytes::from(bytes)] }),
            None => missing(),
        },
        ["openapi", "v2"] => {
            Ok(Reply::Parts { code: 200, content_type: "application/json", parts: vec![Bytes::from(openapi::v2(&registry))] })
        }
        ["openid", "v1", "jwks"] => {
            let keys = api.access.tokens.key_set().to_string();
            Ok(Reply::Parts { code: 200, content_type: "application/jwk-set+json", parts: vec![Bytes::from(keys)] })
        }
        [".well-known", "openid-configuration"] => shown(json!({
            "issuer": crate::access::issuer(), "jwks_uri": format!("https://{}/openid/v1/jwks", api.address),
            "response_types_supported": ["id_token"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })),
        ["metrics"] => Ok(plain(200, metrics(api))),
        _ => missing(),
    }
}

fn metrics(api: &Api) -> String {
    let mut out = String::from("# HELP apiserver_resource_objects Stored objects.\n# TYPE apiserver_resource_objects gauge\n");
    for table in api.store.table_names() {
        out.push_str(&format!("apiserver_resource_objects{{resource=\"{table}\"}} {}\n", api.store.count(&table)));
    }
    out.push_str("# HELP apiserver_storage_revision The last revision.\n# TYPE apiserver_storage_revision counter\n");
    out.push_str(&format!("apiserver_storage_revision {}\n", api.store.revision()));
    out
}

/// Clients ask for the aggregated form by parameters of the media type, the wanted version first.
fn aggregated_version(accept: &str) -> Option<&'static str> {
    accept.split(',').find_map(|clause| {
        let has = |parameter: &str| clause.split(';').any(|p| p.trim() == parameter);
        let json = clause.split(';').next().is_some_and(|t| matches!(t.trim(), "application/json" | "application/*" | "*/*"));
        if !json || !has("as=APIGroupDiscoveryList") || !has("g=apidiscovery.k8s.io") {
            return None;
        }
        if has("v=v2") {
            Some("apidiscovery.k8s.io/v2")
        } else if has("v=v2beta1") {
            Some("apidiscovery.k8s.io/v2beta1")
        } else {
            None
        }
    })
}

fn version() -> Value {
    json!({
        "major": "1", "minor": "36", "emulationMajor": "1", "emulationMinor": "36", "minCompatibilityMajor": "1", "minCompatibilityMinor": "35",
        "gitVersion": concat!("v1.36.3+sluice-", env!("CARGO_PKG_VERSION")), "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "none", "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, match std::env::consts::ARCH { "x86_64" => "amd64", "aarch64" => "arm64", other => other }),
    })
}

fn refuse(status: &Status, outside: &Outside) -> Response<Body> {
    let mut response = match rest::view::encoded(outside.accepted, status.code, &status.to_value()) {
        Ok(reply) => respond(reply, outside),
        Err(_) => Response::new(full(Bytes::new())),
    };
    if let Some(seconds) = status.details.as_ref().map(|d| d.retry_after_seconds).filter(|s| *s > 0) {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if status.code == 401 {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

fn full(bytes: Bytes) -> Body {
    Full::new(bytes).boxed_unsync()
}

fn respond(reply: Reply, outside: &Outside) -> Response<Body> {
    let mut response = match reply {
        Reply::Parts { code, content_type, parts } => {
            let length: usize = parts.iter().map(Bytes::len).sum();
            let mut response = Response::new(full(Bytes::new()));
            *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
            if content_type.starts_with("text/") {
                headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
            }
            if outside.gzip && length >= GZIP_FROM {
                headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
                *response.body_mut() = full(compressed(&parts));
            } else {
                headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
                if !outside.head {
                    *response.body_mut() = match <[Bytes; 1]>::try_from(parts) {
                        Ok([one]) => full(one),
                        Err(parts) => BodyExt::boxed_unsync(StreamBody::new(stream::iter(parts).map(|p| Ok(Frame::data(p))))),
                    };
                }
            }
            response
        }
        Reply::Stream { content_type, stream } => {
            let body = StreamBody::new(stream.map(|line| Ok::<_, Infallible>(Frame::data(line))));
            let mut response = Response::new(BodyExt::boxed_unsync(body));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
            response
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

fn compressed(parts: &[Bytes]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for part in parts {
        // Writing into memory cannot fail.
        let _ = encoder.write_all(part);
    }
    Bytes::from(encoder.finish().unwrap_or_default())
}
