//! Clients that send nonsense, too much, too deep, or too slowly.

#![allow(clippy::unwrap_used)]

mod client;

use apiserver::{Controllers, Nodes, Options, Running, Server};
use client::{Access, connect};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const JSON: &str = "application/json";
const APPLY: &str = "application/apply-patch+yaml";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const PATCH: &str = "application/json-patch+json";

async fn start() -> (Running, Access) {
    let options =
        Options { controllers: Controllers::NONE, nodes: Nodes::None, client_timeout: Duration::from_millis(400), ..Options::default() };
    let running = Server::start(options).await.unwrap();
    let access = Access::of_kubeconfig(&running.kubeconfig());
    (running, access)
}

async fn send(access: &Access, method: &str, path: &str, form: &str, body: Vec<u8>) -> (u16, Value) {
    let call = access.client.request(method.parse().unwrap(), format!("{}{path}", access.base)).bearer_auth(&access.token);
    let answer = call.header("content-type", form).body(body).send().await.unwrap();
    (answer.status().as_u16(), serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default())
}

fn deep(open: &str, close: &str, middle: &str, levels: usize) -> String {
    format!("{}{middle}{}", open.repeat(levels), close.repeat(levels))
}

#[tokio::test]
async fn every_kind_of_nonsense_is_refused_with_a_status() {
    let (_running, access) = start().await;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}});
    assert_eq!(send(&access, "POST", MAPS, JSON, map.to_string().into_bytes()).await.0, 201);
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": {"selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    assert_eq!(send(&access, "POST", DEPLOYMENTS, JSON, deployment.to_string().into_bytes()).await.0, 201);
    let (one, apply) = (format!("{MAPS}/a"), format!("{MAPS}/a?fieldManager=t"));
    let whole = format!("{DEPLOYMENTS}/a");
    let in_map = |value: &str| {
        format!("{{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{{\"name\":\"a\"}},\"data\":{{\"k\":{value}}}}}")
    };
    let forged = |fields: &str| {
        format!(
            "{{\"metadata\":{{\"managedFields\":[{{\"manager\":\"m\",\"operation\":\"Apply\",\"apiVersion\":\"v1\",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{fields}}}]}}}}"
        )
    };
    let copies: Vec<Value> = (0..10_001).map(|_| json!({"op": "copy", "from": "/data/k", "path": "/data/l"})).collect();
    let nested_aliases: String =
        (1..30).map(|at| format!("a{at}: &a{at} [*a{0},*a{0},*a{0},*a{0},*a{0},*a{0},*a{0},*a{0},*a{0}]\n", at - 1)).collect();
    let bomb = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\na0: &a0 [x,x,x,x,x,x,x,x,x]\n{nested_aliases}");
    for (what, method, path, form, body) in [
        ("an empty body", "POST", MAPS, JSON, String::new()),
        ("half a body", "POST", MAPS, JSON, "{\"apiVersion\":\"v1\",\"kind\":\"Conf".to_owned()),
        ("a list", "POST", MAPS, JSON, "[]".to_owned()),
        ("a number", "POST", MAPS, JSON, "3".to_owned()),
        ("metadata that is a list", "POST", MAPS, JSON, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":[]}".to_owned()),
        ("another kind", "POST", MAPS, JSON, "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"b\"}}".to_owned()),
        ("a number for a text", "POST", MAPS, JSON, in_map("1")),
        ("a name with a path in it", "POST", MAPS, JSON, "{\"metadata\":{\"name\":\"../../etc\"}}".to_owned()),
        ("nesting without end", "POST", MAPS, JSON, in_map(&deep("[", "]", "1", 100_000))),
        ("maps without end", "PATCH", &apply, APPLY, in_map(&deep("{\"a\":", "}", "1", 100_000))),
        ("YAML without end", "PATCH", &apply, APPLY, format!("metadata: {}", deep("[", "]", "1", 50_000))),
        ("aliases that multiply", "PATCH", &apply, APPLY, bomb),
        ("YAML that is none", "PATCH", &apply, APPLY, "a: b: c: [".to_owned()),
        ("protobuf that is none", "POST", MAPS, "application/vnd.kubernetes.protobuf", "k8s\u{0}\u{1}\u{2}".to_owned()),
        ("a form that nobody knows", "POST", MAPS, "text/csv", "a,b".to_owned()),
        ("a patch of a form that nobody knows", "PATCH", &one, "text/csv", "a,b".to_owned()),
        ("an apply without a manager", "PATCH", &one, APPLY, in_map("\"v\"")),
        ("a JSON patch that is a map", "PATCH", &one, PATCH, "{}".to_owned()),
        ("an unknown operation", "PATCH", &one, PATCH, "[{\"op\":\"swap\",\"path\":\"/data/k\"}]".to_owned()),
        ("a test that fails", "PATCH", &one, PATCH, "[{\"op\":\"test\",\"path\":\"/data/k\",\"value\":\"w\"}]".to_owned()),
        ("a place that is not there", "PATCH", &one, PATCH, "[{\"op\":\"remove\",\"path\":\"/data/x/y\"}]".to_owned()),
        ("ten thousand operations", "PATCH", &one, PATCH, Value::Array(copies).to_string()),
        ("a merge patch that is a list", "PATCH", &one, MERGE, "[1]".to_owned()),
        ("a patch of the name", "PATCH", &one, MERGE, "{\"metadata\":{\"name\":\"b\"}}".to_owned()),
        ("a deep merge patch", "PATCH", &one, MERGE, deep("{\"data\":", "}", "null", 100_000)),
        ("a directive without meaning", "PATCH", &whole, STRATEGIC, "{\"spec\":{\"template\":{\"$patch\":\"explode\"}}}".to_owned()),
        (
            "an element without its key",
            "PATCH",
            &whole,
            STRATEGIC,
            "{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"image\":\"x\"}]}}}}".to_owned(),
        ),
        (
            "an order that is no list",
            "PATCH",
            &whole,
            STRATEGIC,
            "{\"spec\":{\"template\":{\"spec\":{\"$setElementOrder/containers\":3}}}}".to_owned(),
        ),
        ("an apply with managedFields", "PATCH", &apply, APPLY, forged("{\"f:data\":{}}")),
        (
            "a resourceVersion that is no number",
            "PUT",
            &one,
            JSON,
            "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"1x\"}}".to_owned(),
        ),
        (
            "a resourceVersion of the future",
            "PUT",
            &one,
            JSON,
            "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"99999999\"}}".to_owned(),
        ),
        ("an unknown policy", "DELETE", &one, JSON, "{\"propagationPolicy\":\"Sideways\"}".to_owned()),
        ("a precondition that does not hold", "DELETE", &one, JSON, "{\"preconditions\":{\"uid\":\"nobody\"}}".to_owned()),
    ] {
        let begin = Instant::now();
        let (code, status) = send(&access, method, path, form, body.into_bytes()).await;
        // Kubernetes itself says 500 to a version that is no number, and to strategic patches that make no sense; so must we.
        let as_kubernetes = code == 500 && (what.contains("no number") || form == STRATEGIC);
        assert!((400..500).contains(&code) || as_kubernetes, "{what}: {code} {status}");
        assert_eq!((&status["kind"], &status["status"]), (&json!("Status"), &json!("Failure")), "{what}");
        assert!(begin.elapsed() < Duration::from_secs(5), "{what} took {:?}", begin.elapsed());
    }
    // Nothing of it did anything.
    let (_, kept) = send(&access, "GET", &one, JSON, Vec::new()).await;
    assert_eq!(kept["data"], json!({"k": "v"}));
}

#[tokio::test]
async fn forged_owners_are_dropped_and_bombs_of_fields_are_bounded() {
    let (_running, access) = start().await;
    let with = |fields: Value| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "managedFields": [
            {"manager": "forged", "operation": "Apply", "apiVersion": "v1", "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": fields}]},
            "data": {"k": "v"}})
    };
    let wide: serde_json::Map<String, Value> = (0..20_000).map(|at| (format!("f:key-{at}"), json!({}))).collect();
    let mut nested = json!({});
    for _ in 0..60 {
        nested = json!({"f:a": nested});
    }
    for fields in [
        json!({"f:data": wide}),
        json!({"f:data": nested}),
        json!({"nonsense": 3}),
        json!({"k:{\"a\":": {}}),
        json!({"v:[": {}}),
        json!([]),
    ] {
        let begin = Instant::now();
        let path = format!("{MAPS}/a?fieldManager=t");
        let (code, made) =
            send(&access, "POST", &format!("{MAPS}?fieldManager=t"), JSON, with(fields.clone()).to_string().into_bytes()).await;
        assert!(code == 201 || (400..500).contains(&code), "{code} {}", fields.to_string().chars().take(80).collect::<String>());
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
        if code == 201 {
            assert!(made["metadata"]["managedFields"].as_array().map_or(0, Vec::len) <= 2);
            assert_eq!(send(&access, "DELETE", &path, JSON, Vec::new()).await.0, 200);
        }
    }
    // So many managers are not kept one by one.
    let (code, _) = send(
        &access,
        "POST",
        MAPS,
        JSON,
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "many"}, "data": {"k": "v"}}).to_string().into_bytes(),
    )
    .await;
    assert_eq!(code, 201);
    for at in 0..30 {
        let body = json!({"data": {format!("k{at}"): "v"}}).to_string().into_bytes();
        assert_eq!(send(&access, "PATCH", &format!("{MAPS}/many?fieldManager=m{at}"), MERGE, body).await.0, 200);
    }
    let (_, many) = send(&access, "GET", &format!("{MAPS}/many"), JSON, Vec::new()).await;
    assert!(many["metadata"]["managedFields"].as_array().unwrap().len() <= 12, "{}", many["metadata"]["managedFields"]);
}

#[tokio::test]
async fn bodies_and_selectors_have_an_end() {
    let (_running, access) = start().await;
    let (code, status) = send(&access, "POST", MAPS, JSON, vec![b' '; (3 << 20) + 1]).await;
    assert_eq!((code, &status["reason"]), (413, &json!("RequestEntityTooLarge")));
    for query in [
        "labelSelector=a+in+(",
        "labelSelector=%00",
        "labelSelector=a%3D%3D%3Db",
        "labelSelector=!!a",
        "fieldSelector=spec.x%3Dy",
        "fieldSelector=metadata.name",
        "limit=x",
        "continue=%25%25",
        "continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6LTF9",
        "resourceVersion=x",
        "resourceVersion=1&resourceVersionMatch=Sometimes",
        "watch=1&resourceVersion=-1",
        "watch=1&sendInitialEvents=true",
    ] {
        let (code, status) = send(&access, "GET", &format!("{MAPS}?{query}"), JSON, Vec::new()).await;
        assert!((400..500).contains(&code) && status["kind"] == "Status", "{query}: {code} {status}");
    }
    // Ten thousand requirements are many, and over at once.
    let many: Vec<String> = (0..3_000).map(|at| format!("k{at}+notin+(a,b,c)")).collect();
    let begin = Instant::now();
    let (code, _) = send(&access, "GET", &format!("{MAPS}?labelSelector={}", many.join(",")), JSON, Vec::new()).await;
    assert!(code == 200 || (400..500).contains(&code), "{code}");
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn strangers_and_paths_that_lead_out_are_turned_away() {
    let (running, access) = start().await;
    assert!(running.address.ip().is_loopback());
    let answer = access.client.get(format!("{}{MAPS}", access.base)).send().await.unwrap();
    assert!(matches!(answer.status().as_u16(), 401 | 403));
    let answer = access.client.get(format!("{}{MAPS}", access.base)).bearer_auth("wrong").send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 401);
    for path in ["/api/v1/../../../etc/passwd", "/..%2f..%2fetc/passwd", "/api/v1/namespaces/%2e%2e%2fx/configmaps/a", "/%00"] {
        let (code, _) = send(&access, "GET", path, JSON, Vec::new()).await;
        assert!((400..500).contains(&code), "{path}: {code}");
    }
}

/// What the server says before it closes the connection.
async fn rest_of(stream: &mut TlsStream<TcpStream>) -> String {
    let mut out = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut out)).await;
    assert!(read.is_ok(), "the server keeps the connection");
    String::from_utf8_lossy(&out).into_owned()
}

#[tokio::test]
async fn slow_clients_are_let_go() {
    let (running, access) = start().await;
    // One that never speaks TLS, one that never ends its head, one that never ends its body.
    let mut silent = TcpStream::connect(running.address).await.unwrap();
    let mut byte = [0];
    let closed = tokio::time::timeout(Duration::from_secs(20), silent.read(&mut byte)).await;
    assert!(matches!(closed, Ok(Ok(0) | Err(_))), "a connection without TLS is kept");
    let mut head = connect(&running).await;
    head.write_all(b"GET /version HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.unwrap();
    head.flush().await.unwrap();
    rest_of(&mut head).await;
    let mut body = connect(&running).await;
    let request = format!(
        "POST {MAPS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: {JSON}\r\nContent-Length: 100\r\n\r\n{{",
        access.token
    );
    body.write_all(request.as_bytes()).await.unwrap();
    body.flush().await.unwrap();
    let said = rest_of(&mut body).await;
    assert!(said.starts_with("HTTP/1.1 408"), "{said}");
    let mut long = connect(&running).await;
    let header = format!("GET /version HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "a".repeat(200_000));
    let _ = long.write_all(header.as_bytes()).await;
    let _ = long.flush().await;
    let said = rest_of(&mut long).await;
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 431"), "{said}");
    // And the next one is served as ever.
    assert_eq!(send(&access, "GET", "/version", JSON, Vec::new()).await.0, 200);
}

#[tokio::test]
async fn a_watcher_that_does_not_read_costs_no_memory_and_is_told_that_it_fell_behind() {
    let (running, access) = start().await;
    let mut watcher = connect(&running).await;
    let request = format!("GET {MAPS}?watch=1&resourceVersion=1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n", access.token);
    watcher.write_all(request.as_bytes()).await.unwrap();
    watcher.flush().await.unwrap();
    let map = |text: String| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"text": text}}).to_string().into_bytes()
    };
    let path = format!("{MAPS}/a?fieldManager=t&force=true");
    // More than is kept of the past, and far more than sockets hold.
    for at in 0..60 {
        let text = format!("{at}").repeat(400_000);
        let (code, _) = send(&access, "PATCH", &path, APPLY, map(text)).await;
        assert!(code < 300, "{code}");
    }
    let mut seen = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    let expired = tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            let read = watcher.read(&mut buffer).await.unwrap();
            assert!(read > 0, "the watch ended without a word");
            seen.extend_from_slice(&buffer[..read]);
            let tail = &seen[seen.len().saturating_sub(2000)..];
            if String::from_utf8_lossy(tail).contains("\"type\":\"ERROR\"") {
                return String::from_utf8_lossy(tail).into_owned();
            }
        }
    });
    let said = expired.await.expect("the watcher hears that it fell behind");
    assert!(said.contains("\"reason\":\"Expired\"") && said.contains("410"), "{said}");
}
