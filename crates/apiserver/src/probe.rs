//! A server without a network, for requests that nobody trusts: what fuzzing and the mutation test share.
//!
//! ```text
//! bytes ──► which request, how ──► rest (with admission, engine, store) ──► code
//!                                     └── every object that is stored afterwards must be readable
//! ```

use crate::access::{Access, Tokens, User, bootstrap};
use crate::api::Api;
use crate::controllers::{self, Queues};
use crate::protocol::negotiate::{self, Forms, Of};
use crate::protocol::path::{Query, resource_target};
use crate::rest::{self, Context, Reply};
use crate::store::{SNAPSHOT_AFTER, Store};
use bytes::Bytes;
use http::Method;
use std::sync::Arc;
use tokio::sync::watch;

/// Takes requests one after the other, and forgets everything now and then.
pub struct Probe {
    runtime: tokio::runtime::Runtime,
    api: Arc<Api>,
    _stop: watch::Sender<bool>,
    sent: usize,
}

/// Requests whose bodies are varied: method, path, form of the body.
pub const REQUESTS: &[(&str, &str, &str)] = &[
    ("POST", "/api/v1/namespaces/default/configmaps", "application/json"),
    ("POST", "/api/v1/namespaces/default/configmaps", "application/yaml"),
    ("POST", "/api/v1/namespaces/default/configmaps", "application/vnd.kubernetes.protobuf"),
    ("POST", "/api/v1/namespaces/default/secrets", "application/vnd.kubernetes.protobuf"),
    ("PUT", "/api/v1/namespaces/default/configmaps/probe", "application/json"),
    ("PATCH", "/api/v1/namespaces/default/configmaps/probe", "application/json-patch+json"),
    ("PATCH", "/api/v1/namespaces/default/configmaps/probe", "application/merge-patch+json"),
    ("PATCH", "/api/v1/namespaces/default/configmaps/probe", "application/apply-patch+yaml"),
    ("POST", "/apis/apps/v1/namespaces/default/deployments", "application/json"),
    ("PUT", "/apis/apps/v1/namespaces/default/deployments/probe", "application/json"),
    ("PATCH", "/apis/apps/v1/namespaces/default/deployments/probe", "application/json-patch+json"),
    ("PATCH", "/apis/apps/v1/namespaces/default/deployments/probe", "application/strategic-merge-patch+json"),
    ("PATCH", "/apis/apps/v1/namespaces/default/deployments/probe", "application/apply-patch+yaml"),
    ("PATCH", "/apis/apps/v1/namespaces/default/deployments/probe/status", "application/merge-patch+json"),
    ("PATCH", "/apis/apps/v1/namespaces/default/deployments/probe/scale", "application/merge-patch+json"),
    ("POST", "/api/v1/namespaces/default/services", "application/json"),
    ("PATCH", "/api/v1/namespaces/default/services/probe", "application/strategic-merge-patch+json"),
    ("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", "application/json"),
    ("POST", "/apis/probe.example.com/v1/namespaces/default/widgets", "application/json"),
    ("PATCH", "/apis/probe.example.com/v1/namespaces/default/widgets/probe", "application/apply-patch+yaml"),
    ("PATCH", "/apis/probe.example.com/v1/namespaces/default/widgets/probe", "application/merge-patch+json"),
    ("DELETE", "/api/v1/namespaces/default/configmaps/none", "application/json"),
    ("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", "application/vnd.kubernetes.protobuf"),
    ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "application/json"),
    ("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", "application/json"),
    ("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles", "application/json"),
    // Of these the body is the query.
    ("GET", "/api/v1/namespaces/default/configmaps", ""),
    ("GET", "/apis/apps/v1/deployments", ""),
    ("GET", "/apis/probe.example.com/v1/widgets", ""),
];

/// What is there to be changed.
const OBJECTS: &[(&str, &str)] = &[
    (
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        r#"{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"widgets.probe.example.com"},"spec":{"group":"probe.example.com","scope":"Namespaced","names":{"plural":"widgets","singular":"widget","kind":"Widget"},"versions":[{"name":"v1","served":true,"storage":true,"subresources":{"status":{}},"schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","required":["size"],"properties":{"size":{"type":"integer","minimum":1},"mode":{"type":"string","default":"a","enum":["a","b"]},"items":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["key"],"items":{"type":"object","required":["key"],"properties":{"key":{"type":"string"},"value":{"type":"string","pattern":"^[a-z]*$"}}}},"tags":{"type":"array","x-kubernetes-list-type":"set","items":{"type":"string"}},"any":{"type":"object","x-kubernetes-preserve-unknown-fields":true},"port":{"x-kubernetes-int-or-string":true}},"x-kubernetes-validations":[{"rule":"self.size < 100"}]}}}}}]}}"#,
    ),
    (
        "/api/v1/namespaces/default/configmaps",
        r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"probe","labels":{"app":"probe"},"finalizers":["example.com/keep"]},"data":{"key":"value"}}"#,
    ),
    (
        "/apis/apps/v1/namespaces/default/deployments",
        r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"probe"},"spec":{"replicas":2,"selector":{"matchLabels":{"app":"probe"}},"template":{"metadata":{"labels":{"app":"probe"}},"spec":{"containers":[{"name":"main","image":"nginx:1","ports":[{"containerPort":80,"name":"http"}],"env":[{"name":"A","value":"b"}]}]}}}}"#,
    ),
    (
        "/api/v1/namespaces/default/services",
        r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"probe"},"spec":{"selector":{"app":"probe"},"ports":[{"port":80}]}}"#,
    ),
    (
        "/apis/probe.example.com/v1/namespaces/default/widgets",
        r#"{"apiVersion":"probe.example.com/v1","kind":"Widget","metadata":{"name":"probe"},"spec":{"size":1,"items":[{"key":"a","value":"b"}],"tags":["x"]}}"#,
    ),
];

/// After so many requests everything is forgotten, so that a long run needs no more memory than a short one.
const FORGET_AFTER: usize = 2_000;
/// As the network lets in.
const BODY_MAX: usize = 3 << 20;

/// A server without a network and without anybody at work.
pub(crate) fn fresh(queues: Queues) -> (Arc<Api>, watch::Sender<bool>) {
    let store = Store::open(None, SNAPSHOT_AFTER).expect("memory can be opened");
    let tokens = Tokens::generate_key().and_then(|key| Tokens::new(&key)).expect("a key can be made");
    let queues = Arc::new(queues);
    let (stop, stopping) = watch::channel(false);
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 6443));
    let api = Arc::new(Api::new(store, Access::new("token".to_owned(), tokens), Arc::clone(&queues), stopping, address, String::new()));
    controllers::resume(&api);
    api.store.observe(Box::new(move |table, event| queues.observe(table, event)));
    bootstrap::ensure(&api);
    (api, stop)
}

impl Default for Probe {
    fn default() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
        let (api, stop) = fresh(Queues::new(false, true));
        let mut probe = Self { runtime, api, _stop: stop, sent: 0 };
        probe.furnish();
        probe
    }
}

impl Probe {
    fn furnish(&mut self) {
        for (path, body) in OBJECTS {
            let code = self.ask("POST", path, "", "application/json", body.as_bytes());
            assert_eq!(code, 201, "what is probed must be there: {path}");
        }
    }

    /// Sends what the bytes say: the first chooses the request, the second how, the others are its body. The code of the answer.
    ///
    /// Panics when the server does, or when an object is stored that cannot be read again.
    pub fn send(&mut self, input: &[u8]) -> u16 {
        let [which, how, body @ ..] = input else { return 0 };
        let (method, path, form) = REQUESTS[usize::from(*which) % REQUESTS.len()];
        let mut query = String::from("fieldManager=probe");
        for (bit, option) in ["&dryRun=All", "&fieldValidation=Strict", "&force=true", "&fieldValidation=Ignore"].iter().enumerate() {
            // Forcing is for applies alone.
            if how & (1 << bit) != 0 && (bit != 2 || form == "application/apply-patch+yaml") {
                query.push_str(option);
            }
        }
        let mut body = &body[..body.len().min(BODY_MAX)];
        if form.is_empty() {
            query = String::from_utf8_lossy(body).into_owned();
            body = b"";
        }
        self.sent += 1;
        if self.sent.is_multiple_of(FORGET_AFTER) {
            (self.api, self._stop) = fresh(Queues::new(false, true));
            self.furnish();
        }
        let code = self.ask(method, path, &query, form, body);
        for (table, key) in [("configmaps", "default/probe"), ("deployments.apps", "default/probe"), ("services", "default/probe")] {
            if let Some(record) = self.api.store.get(table, key) {
                let object = record.value();
                assert!(object.is_object(), "{table}/{key} was stored and cannot be read");
                let owners = merge::managed::decode(object.pointer("/metadata/managedFields"));
                assert!(owners.is_ok(), "{table}/{key} has owners that cannot be read");
            }
        }
        code
    }

    fn ask(&self, method: &str, path: &str, query: &str, form: &str, body: &[u8]) -> u16 {
        let Ok(method) = method.parse::<Method>() else { return 0 };
        let query = Query::parse(query);
        let Some(target) = resource_target(&method, path, &query) else { return 404 };
        let registry = self.api.registry();
        let Some(resource) = registry.find(&target.group, &target.version, &target.resource).cloned() else { return 404 };
        let Ok(accepted) = negotiate::accept("application/json", false, Forms { shapes: true, protobuf: true, of: Of::One }) else {
            return 406;
        };
        let context = Context::new(
            Arc::clone(&self.api),
            User::admin(),
            target,
            query,
            accepted,
            resource,
            "probe".to_owned(),
            form.to_owned(),
            Bytes::copy_from_slice(body),
        );
        match self.runtime.block_on(rest::serve(&context)) {
            Ok(Reply::Parts { code, .. }) => code,
            // A watch: that it began is all.
            Ok(Reply::Stream { .. }) => 200,
            Err(status) => status.code,
        }
    }
}
