//! Every verb in every form of request and of answer, for built-in kinds and for one of our own: scenarios made by loops.

pub mod wire;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Where the answers to these are kept.
pub const FILE: &str = "forms.json";

/// What a client may say that it takes.
const ACCEPTED: [&str; 19] = [
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/vnd.kubernetes.protobuf,application/json",
    "application/cbor",
    "application/cbor,application/json;q=0.5",
    "application/json;as=Table;v=v1;g=meta.k8s.io",
    "application/json;as=Table;v=v1beta1;g=meta.k8s.io",
    "application/yaml;as=Table;v=v1;g=meta.k8s.io",
    "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
    "application/yaml;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
    "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
    "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
    "application/json;as=Widget;v=v1;g=meta.k8s.io",
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json",
    "*/*",
    "text/html",
];

/// What a client may say that it sends.
const SENT: [&str; 13] = [
    "application/json",
    "application/json; charset=utf-8",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/cbor",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
    "application/apply-patch+cbor",
    "application/x-www-form-urlencoded",
    "text/plain",
    "nonsense",
];

/// A kind, and the ways to write one of its objects.
struct Kind {
    name: &'static str,
    path: &'static str,
    /// Made before, and removed after.
    definition: bool,
    object: fn(&str) -> Value,
    /// The object in protobuf, where that exists.
    protobuf: Option<fn(&str) -> Vec<u8>>,
    json_patch: fn() -> Value,
    merge_patch: fn() -> Value,
}

fn kinds() -> [Kind; 3] {
    [
        Kind {
            name: "configmaps",
            path: "/api/v1/namespaces/{ns}/configmaps",
            definition: false,
            object: |name| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"in": "{ns}"}}, "data": {"k": "v"}}),
            protobuf: Some(config_map),
            json_patch: || json!([{"op": "replace", "path": "/data/k", "value": "patched"}]),
            merge_patch: || json!({"data": {"k": "merged", "new": "1"}}),
        },
        Kind {
            name: "deployments",
            path: "/apis/apps/v1/namespaces/{ns}/deployments",
            definition: false,
            object: |name| {
                json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": {"in": "{ns}"}},
                    "spec": {"selector": {"matchLabels": {"app": "x"}}, "template": {"metadata": {"labels": {"app": "x"}},
                        "spec": {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}]}]}}}})
            },
            protobuf: Some(deployment),
            json_patch: || json!([{"op": "replace", "path": "/spec/replicas", "value": 3}]),
            merge_patch: || json!({"spec": {"replicas": 4, "template": {"spec": {"containers": [{"name": "c", "image": "j"}]}}}}),
        },
        Kind {
            name: "widgets",
            path: "/apis/{ns}.io/v1/namespaces/{ns}/widgets",
            definition: true,
            object: |name| json!({"apiVersion": "{ns}.io/v1", "kind": "Widget", "metadata": {"name": name, "labels": {"in": "{ns}"}}, "spec": {"size": 1, "tags": ["a"]}}),
            protobuf: None,
            json_patch: || json!([{"op": "replace", "path": "/spec/size", "value": 2}]),
            merge_patch: || json!({"spec": {"size": 3, "color": "red"}}),
        },
    ]
}

fn definition() -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "widgets.{ns}.io"},
        "spec": {"group": "{ns}.io", "scope": "Namespaced", "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": {"size": {"type": "integer"}, "color": {"type": "string", "default": "blue"},
                        "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"}}},
                    "status": {"type": "object", "properties": {"ready": {"type": "boolean"}}}}}}}]}})
}

pub fn scenarios() -> Vec<Value> {
    let mut out = Vec::new();
    for kind in kinds() {
        for accept in ACCEPTED {
            out.push(scenario(&kind, format!("{}: every verb answered as {accept}", kind.name), answered(&kind, accept)));
        }
        for sent in SENT {
            out.push(scenario(&kind, format!("{}: every verb sent as {sent}", kind.name), asked(&kind, sent)));
        }
    }
    out
}

fn scenario(kind: &Kind, name: String, requests: Vec<Value>) -> Value {
    let mut all = Vec::new();
    if kind.definition {
        let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        all.push(json!({"method": "POST", "path": definitions, "body": definition(), "silent": 1}));
        all.push(json!({"method": "GET", "path": kind.path, "silent": 1, "until": 200}));
        let dry = format!("{}?dryRun=All&fieldManager=probe", kind.path);
        all.push(json!({"method": "POST", "path": dry, "body": (kind.object)("probe"), "silent": 1, "until": 201}));
    }
    all.extend(requests);
    let mut out = json!({"name": name, "requests": all});
    if kind.definition {
        out["cleanup"] = json!([{"method": "DELETE", "path": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.{ns}.io"}]);
    }
    out
}

/// All verbs, with JSON in the requests.
fn answered(kind: &Kind, accept: &str) -> Vec<Value> {
    let one = format!("{}/a", kind.path);
    let mut out = vec![
        json!({"method": "POST", "path": kind.path, "body": (kind.object)("a")}),
        json!({"method": "POST", "path": kind.path, "body": (kind.object)("a")}),
        json!({"method": "GET", "path": one}),
        json!({"method": "GET", "path": format!("{}/none", kind.path)}),
        json!({"method": "GET", "path": format!("{}?labelSelector=in", kind.path)}),
        json!({"method": "GET", "path": format!("{}?labelSelector=in&includeObject=None", kind.path)}),
        json!({"method": "GET", "path": format!("{}?labelSelector=in&watch=1&resourceVersion=0&timeoutSeconds=5", kind.path), "first": 1}),
        json!({"method": "PUT", "path": one, "body": (kind.object)("a")}),
        json!({"method": "PATCH", "path": one, "type": "application/json-patch+json", "body": (kind.json_patch)()}),
        json!({"method": "PATCH", "path": one, "type": "application/merge-patch+json", "body": (kind.merge_patch)()}),
        json!({"method": "PATCH", "path": one, "type": "application/strategic-merge-patch+json", "body": (kind.merge_patch)()}),
        json!({"method": "PATCH", "path": format!("{one}?fieldManager=m&force=true"), "type": "application/apply-patch+yaml", "body": (kind.object)("a")}),
        json!({"method": "DELETE", "path": one}),
        json!({"method": "DELETE", "path": one}),
        json!({"method": "POST", "path": kind.path, "body": (kind.object)("b"), "silent": 1}),
        json!({"method": "DELETE", "path": format!("{}?labelSelector=in", kind.path)}),
        json!({"method": "OPTIONS", "path": one}),
    ];
    for request in &mut out {
        if request.get("silent").is_none() {
            request["accept"] = json!(accept);
        }
    }
    out
}

/// All verbs with a body, with the body that fits the content type and with one that does not.
fn asked(kind: &Kind, sent: &str) -> Vec<Value> {
    let one = format!("{}/a", kind.path);
    let with = |method: &str, path: &str, object: &Value, protobuf: Option<Vec<u8>>| {
        let mut request = json!({"method": method, "path": path, "type": sent});
        match (sent, protobuf) {
            ("application/vnd.kubernetes.protobuf", Some(bytes)) => request["bytes"] = json!(STANDARD.encode(bytes)),
            ("application/yaml", _) => request["text"] = json!(yaml(object, 0)),
            _ => request["body"] = object.clone(),
        }
        request
    };
    let protobuf = |name: &str| kind.protobuf.map(|make| make(name));
    let patch = match sent {
        "application/json-patch+json" => (kind.json_patch)(),
        "application/apply-patch+yaml" | "application/apply-patch+cbor" => (kind.object)("a"),
        _ => (kind.merge_patch)(),
    };
    let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"});
    let options_bytes = || Some(envelope("v1", "DeleteOptions", &text(4, "Background")));
    let made = json!({"method": "POST", "path": kind.path, "body": (kind.object)("a"), "silent": 1});
    vec![
        with("POST", &format!("{}?fieldManager=m", kind.path), &(kind.object)("a"), protobuf("a")),
        made.clone(),
        with("PUT", &format!("{one}?fieldManager=m"), &(kind.object)("a"), protobuf("a")),
        with("PATCH", &format!("{one}?fieldManager=m"), &patch, None),
        with("PATCH", &format!("{one}?fieldManager=m&dryRun=All&fieldValidation=Strict"), &patch, None),
        json!({"method": "POST", "path": kind.path, "type": sent, "text": "{"}),
        json!({"method": "PATCH", "path": format!("{one}?fieldManager=m"), "type": sent, "text": "["}),
        json!({"method": "POST", "path": kind.path, "type": sent, "text": ""}),
        with("DELETE", &one, &options, options_bytes()),
        made,
        with("DELETE", &format!("{}?labelSelector=in", kind.path), &options, options_bytes()),
    ]
}

/// Block style, for the few shapes of these objects.
fn yaml(value: &Value, depth: usize) -> String {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| match value {
                Value::Object(_) | Value::Array(_) => format!("{indent}{key}:\n{}", yaml(value, depth + 1)),
                _ => format!("{indent}{key}: {value}\n"),
            })
            .collect(),
        Value::Array(items) => items.iter().map(|item| format!("{indent}- {item}\n")).collect(),
        scalar => scalar.to_string(),
    }
}

// ---- protobuf, by hand ----

fn text(field: u8, text: &str) -> Vec<u8> {
    bytes(field, text.as_bytes())
}

fn bytes(field: u8, bytes: &[u8]) -> Vec<u8> {
    assert!(bytes.len() < 1 << 14, "two bytes hold the length");
    let mut out = vec![field << 3 | 2];
    match bytes.len() {
        short @ ..128 => out.push(short as u8),
        long => out.extend([(long & 127 | 128) as u8, (long >> 7) as u8]),
    }
    out.extend_from_slice(bytes);
    out
}

fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let about = [text(1, api_version), text(2, kind)].concat();
    [b"k8s\0".to_vec(), bytes(1, &about), bytes(2, raw)].concat()
}

fn entry(field: u8, key: &str, value: &str) -> Vec<u8> {
    bytes(field, &[text(1, key), text(2, value)].concat())
}

fn config_map(name: &str) -> Vec<u8> {
    let metadata = [text(1, name), entry(11, "form", "protobuf")].concat();
    envelope("v1", "ConfigMap", &[bytes(1, &metadata), entry(2, "k", "v")].concat())
}

fn deployment(name: &str) -> Vec<u8> {
    let metadata = [text(1, name), entry(11, "form", "protobuf")].concat();
    let port = vec![3 << 3, 80];
    let container = [text(1, "c"), text(2, "i"), bytes(6, &port)].concat();
    let template = [bytes(1, &entry(11, "app", "x")), bytes(2, &bytes(2, &container))].concat();
    let spec = [vec![1 << 3, 2], bytes(2, &entry(1, "app", "x")), bytes(3, &template)].concat();
    envelope("apps/v1", "Deployment", &[bytes(1, &metadata), bytes(2, &spec)].concat())
}
