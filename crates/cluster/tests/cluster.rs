//! Discovery, identities and requests against an API server.

#![allow(clippy::unwrap_used)]

use cluster::{Apply, Client, Delete, Discovery, Error, Identity, RemoteOptions, Resource, Selection, Verb};
use object::{GroupKind, GroupVersionKind};
use serde_json::{Value, json};
use std::time::Duration;

const OWNER: &str = "kustomize.toolkit.fluxcd.io/name";

struct Lab {
    client: Client,
    namespace: String,
    /// Ends when it is dropped.
    server: testing::TestServer,
}

impl Lab {
    /// A namespace in the embedded server, or in the cluster that SLUICE_TEST_KUBECONFIG names.
    async fn open(test: &str) -> Self {
        let server = testing::server().await.unwrap();
        let file = kube::config::Kubeconfig::from_yaml(&server.kubeconfig).unwrap();
        let config = kube::Config::from_custom_kubeconfig(file, &Default::default()).await.unwrap();
        let lab = Self { server, client: Client::new(config).unwrap(), namespace: format!("cl-{test}-{:x}", rand::random::<u32>()) };
        lab.apply(&namespaces(), json!({"metadata": {"name": lab.namespace}})).await;
        lab
    }

    async fn apply(&self, resource: &Resource, mut object: Value) -> Value {
        object["apiVersion"] = resource.api_version().into();
        object["kind"] = resource.kind.as_str().into();
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let options = Apply { field_manager: "tester", force: true, ..Apply::default() };
        let answer = self.client.apply(resource, &namespace, &name, object.to_string().into_bytes(), options).await.unwrap();
        serde_json::from_slice(&answer).unwrap()
    }

    fn map(&self, name: &str, owner: Option<&str>, value: &str) -> Value {
        let labels = match owner {
            Some(owner) => json!({OWNER: owner}),
            None => json!({}),
        };
        json!({"metadata": {"name": name, "namespace": self.namespace, "labels": labels}, "data": {"value": value}})
    }

    async fn close(self) {
        let _ = self.client.delete(&namespaces(), "", &self.namespace, Delete::default()).await;
    }
}

fn namespaces() -> Resource {
    Resource::cluster_scoped("", "v1", "Namespace", "namespaces")
}

fn config_maps() -> Resource {
    Resource::namespaced("", "v1", "ConfigMap", "configmaps")
}

async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "not within 20 s: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_kind_is_found_with_its_scope_and_asked_for_once() {
    let lab = Lab::open("discovery").await;
    let discovery = Discovery::new(lab.client.clone());
    let before = lab.client.counts().of(Verb::Get);
    let deployment = discovery.resolve(&GroupVersionKind::new("apps", "v1", "Deployment")).await.unwrap();
    assert_eq!((deployment.plural.as_str(), deployment.namespaced), ("deployments", true));
    let role =
        discovery.resolve_any_version(&GroupKind { group: "rbac.authorization.k8s.io".into(), kind: "ClusterRole".into() }).await.unwrap();
    assert_eq!((role.plural.as_str(), role.namespaced, role.version.as_str()), ("clusterroles", false, "v1"));
    assert_eq!(discovery.resolve(&GroupVersionKind::new("", "v1", "Secret")).await.unwrap().plural, "secrets");
    assert_eq!(lab.client.counts().of(Verb::Get) - before, 2, "/api and /apis, once");
    // What is missing now may have been installed a moment ago: it is asked for once more, for all who ask together.
    let nope = GroupVersionKind::new("nope.example.com", "v1", "Nope");
    for answer in futures::future::join_all((0..50).map(|_| discovery.resolve(&nope))).await {
        assert_eq!(answer.unwrap_err().to_string(), r#"no matches for kind "Nope" in version "nope.example.com/v1""#);
    }
    assert_eq!(lab.client.counts().of(Verb::Get) - before, 4, "/api and /apis, once for all fifty");
    lab.close().await;
}

#[tokio::test]
async fn a_new_definition_is_noticed_and_a_deleted_one_too() {
    let lab = Lab::open("crd").await;
    let discovery = Discovery::new(lab.client.clone());
    discovery.follow_definitions();
    let group = format!("g{:x}.example.com", rand::random::<u32>());
    let gvk = GroupVersionKind::new(&group, "v1", "Gadget");
    assert!(discovery.resolve(&gvk).await.is_err());
    let definitions = Resource::cluster_scoped("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions");
    let name = format!("gadgets.{group}");
    let definition = json!({"metadata": {"name": name}, "spec": {"group": group, "scope": "Cluster",
        "names": {"kind": "Gadget", "plural": "gadgets", "singular": "gadget", "listKind": "GadgetList"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]}});
    lab.apply(&definitions, definition).await;
    eventually("it is found", async || discovery.resolve(&gvk).await.is_ok_and(|gadgets| !gadgets.namespaced)).await;
    lab.client.delete(&definitions, "", &name, Delete::default()).await.unwrap();
    eventually("it is gone", async || discovery.resolve(&gvk).await.is_err()).await;
    lab.close().await;
}

#[tokio::test]
async fn an_impersonated_account_has_its_own_rights() {
    let lab = Lab::open("identity").await;
    let tenant = lab.client.as_identity(&Identity::service_account(&lab.namespace, "tenant")).unwrap();
    let error = tenant.get(&config_maps(), &lab.namespace, "a").await.unwrap_err();
    assert!(error.is_forbidden() && !error.is_transient(), "{error:?}");
    assert!(error.to_string().contains(&format!("system:serviceaccount:{}:tenant", lab.namespace)), "{error}");
    assert!(lab.client.get_opt(&config_maps(), &lab.namespace, "a").await.unwrap().is_none());
    lab.close().await;
}

#[tokio::test]
async fn a_deletion_of_another_object_of_the_same_name_is_refused() {
    let lab = Lab::open("delete").await;
    lab.apply(&config_maps(), lab.map("a", None, "1")).await;
    let wrong = Delete { uid: Some("00000000-0000-0000-0000-000000000000"), ..Delete::default() };
    let error = lab.client.delete(&config_maps(), &lab.namespace, "a", wrong).await.unwrap_err();
    assert!(error.is_conflict(), "{error:?}");
    let dry = Delete { dry_run: true, ..Delete::default() };
    lab.client.delete(&config_maps(), &lab.namespace, "a", dry).await.unwrap();
    assert!(lab.client.get_opt(&config_maps(), &lab.namespace, "a").await.unwrap().is_some());
    lab.client.delete(&config_maps(), &lab.namespace, "a", Delete::default()).await.unwrap();
    assert!(lab.client.get_opt(&config_maps(), &lab.namespace, "a").await.unwrap().is_none());
    lab.close().await;
}

#[tokio::test]
async fn fields_of_another_manager_are_a_conflict_that_names_it() {
    let lab = Lab::open("conflict").await;
    lab.apply(&config_maps(), lab.map("a", None, "1")).await;
    let mut other = lab.map("a", None, "2");
    other["apiVersion"] = "v1".into();
    other["kind"] = "ConfigMap".into();
    let options = Apply { field_manager: "other", ..Apply::default() };
    let error = lab.client.apply(&config_maps(), &lab.namespace, "a", other.to_string().into_bytes(), options).await.unwrap_err();
    assert!(error.is_conflict(), "{error:?}");
    let causes = &error.status().unwrap().details.as_ref().unwrap().causes;
    assert_eq!((causes[0].reason.as_str(), causes[0].field.as_str()), ("FieldManagerConflict", ".data.value"));
    lab.close().await;
}

#[tokio::test]
async fn a_remote_cluster_answers_by_its_kubeconfig_and_shares_the_fence() {
    let lab = Lab::open("remote").await;
    let options = RemoteOptions { insecure_tls: lab.server.embedded.is_none(), ..RemoteOptions::default() };
    let remote = lab.client.remote(lab.server.kubeconfig.as_bytes(), options).await.unwrap();
    assert!(remote.get_opt(&namespaces(), "", &lab.namespace).await.unwrap().is_some());
    lab.client.fence().close();
    let write = remote.delete(&namespaces(), "", &lab.namespace, Delete::default()).await;
    assert!(matches!(write, Err(Error::Fenced)), "{write:?}");
    assert_eq!(remote.counts().total(), 1, "a connection of its own");
    lab.client.fence().extend(std::time::Instant::now(), Duration::from_secs(60));
    lab.close().await;
}

#[tokio::test]
async fn lists_come_in_pages_and_metadata_alone_when_asked_for() {
    let lab = Lab::open("list").await;
    let names: Vec<String> = (0..3).map(|number| format!("m{number}")).collect();
    for name in &names {
        lab.apply(&config_maps(), lab.map(name, Some("list"), "1")).await;
    }
    let selection = Selection { namespace: lab.namespace.clone(), metadata_only: true, ..Selection::labels(format!("{OWNER}=list")) };
    let items = lab.client.list(&config_maps(), &selection).await.unwrap();
    let items: Vec<Value> = items.iter().map(|item| serde_json::from_str(item.get()).unwrap()).collect();
    let found: Vec<_> = items.iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(found, names);
    assert!(items.iter().all(|item| item.get("data").is_none()), "{items:?}");
    lab.close().await;
}
