//! What controllers written with kube-rs need of a server.

#![allow(clippy::unwrap_used)]

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::runtime::wait::{await_condition, conditions};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::json;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

fn config_map(name: &str, value: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}, "data": {"key": value}})).unwrap()
}

#[tokio::test]
async fn objects_are_created_read_patched_listed_and_deleted() {
    let server = testing::server().await.unwrap();
    let namespace = testing::namespace(&server.client, "crud").await.unwrap();
    let api: Api<ConfigMap> = Api::namespaced(server.client.clone(), &namespace);
    let made = api.create(&PostParams::default(), &config_map("a", "1")).await.unwrap();
    assert!(made.metadata.uid.is_some() && made.metadata.creation_timestamp.is_some());
    let error = api.create(&PostParams::default(), &config_map("a", "1")).await.unwrap_err();
    assert!(matches!(&error, kube::Error::Api(status) if status.reason == "AlreadyExists" && status.code == 409), "{error}");
    let patched = api.patch("a", &PatchParams::default(), &Patch::Merge(json!({"data": {"key": "2"}}))).await.unwrap();
    assert_eq!(patched.data.as_ref().unwrap()["key"], "2");
    let same = api.patch("a", &PatchParams::default(), &Patch::Merge(json!({"data": {"key": "2"}}))).await.unwrap();
    assert_eq!(same.metadata.resource_version, patched.metadata.resource_version, "a patch that changes nothing is no write");
    // The first answer is old by now.
    let error = api.replace("a", &PostParams::default(), &made).await.unwrap_err();
    assert!(matches!(&error, kube::Error::Api(status) if status.reason == "Conflict"), "{error}");
    assert!(api.list(&ListParams::default()).await.unwrap().items.iter().any(|c| c.metadata.name.as_deref() == Some("a")));
    api.delete("a", &DeleteParams::default()).await.unwrap();
    assert!(api.get_opt("a").await.unwrap().is_none());
}

#[tokio::test]
async fn server_side_apply_owns_fields_and_tells_of_conflicts() {
    let server = testing::server().await.unwrap();
    let namespace = testing::namespace(&server.client, "apply").await.unwrap();
    let api: Api<ConfigMap> = Api::namespaced(server.client.clone(), &namespace);
    let config = |value: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"key": value}});
    let first = api.patch("a", &PatchParams::apply("one"), &Patch::Apply(config("1"))).await.unwrap();
    let again = api.patch("a", &PatchParams::apply("one"), &Patch::Apply(config("1"))).await.unwrap();
    assert_eq!(first.metadata.resource_version, again.metadata.resource_version);
    let error = api.patch("a", &PatchParams::apply("two"), &Patch::Apply(config("2"))).await.unwrap_err();
    let kube::Error::Api(status) = error else { panic!("{error}") };
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
    assert_eq!(status.message, "Apply failed with 1 conflict: conflict with \"one\": .data.key");
    let forced = api.patch("a", &PatchParams::apply("two").force(), &Patch::Apply(config("2"))).await.unwrap();
    let managers: Vec<_> = forced.metadata.managed_fields.unwrap().into_iter().filter_map(|m| m.manager).collect();
    assert_eq!(managers, ["two"], "whoever owns nothing any more is forgotten");
}

#[tokio::test]
async fn a_watch_shows_every_change() {
    use futures::StreamExt;
    let server = testing::server().await.unwrap();
    let namespace = testing::namespace(&server.client, "watch").await.unwrap();
    let api: Api<ConfigMap> = Api::namespaced(server.client.clone(), &namespace);
    let config = watcher::Config::default().labels("mine").streaming_lists();
    let mut stream = std::pin::pin!(watcher(api.clone(), config).applied_objects());
    let mut labelled = config_map("a", "1");
    labelled.metadata.labels = Some([("mine".to_owned(), String::new())].into());
    api.create(&PostParams::default(), &config_map("other", "1")).await.unwrap();
    api.create(&PostParams::default(), &labelled).await.unwrap();
    let seen = tokio::time::timeout(PATIENCE, stream.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(seen.metadata.name.as_deref(), Some("a"));
    api.patch("a", &PatchParams::default(), &Patch::Merge(json!({"data": {"key": "2"}}))).await.unwrap();
    let seen = tokio::time::timeout(PATIENCE, stream.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(seen.data.unwrap()["key"], "2");
}

#[tokio::test]
async fn custom_resources_are_served_once_their_definition_is_established() {
    let server = testing::server().await.unwrap();
    let namespace = testing::namespace(&server.client, "custom").await.unwrap();
    let group = format!("{namespace}.example.com");
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("widgets.{group}")},
        "spec": {"group": group, "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": {"size": {"type": "integer"}}},
                    "status": {"type": "object", "properties": {"phase": {"type": "string"}}}}}}}]}});
    let crds: Api<CustomResourceDefinition> = Api::all(server.client.clone());
    let name = format!("widgets.{group}");
    crds.patch(&name, &PatchParams::apply("test").force(), &Patch::Apply(definition)).await.unwrap();
    let established = await_condition(crds.clone(), &name, conditions::is_crd_established());
    tokio::time::timeout(PATIENCE, established).await.unwrap().unwrap();
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(&group, "v1", "Widget"));
    let api: Api<DynamicObject> = Api::namespaced_with(server.client.clone(), &namespace, &resource);
    let widget = |size: u32| {
        json!({"apiVersion": format!("{group}/v1"), "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": size},
        "status": {"phase": "stolen"}})
    };
    let made = api.patch("w", &PatchParams::apply("test"), &Patch::Apply(widget(1))).await.unwrap();
    assert_eq!((made.metadata.generation, made.data.get("status")), (Some(1), None));
    let status = json!({"apiVersion": format!("{group}/v1"), "kind": "Widget", "status": {"phase": "Ready"}});
    let stated = api.patch_status("w", &PatchParams::apply("test-status"), &Patch::Apply(status)).await.unwrap();
    assert_eq!((stated.metadata.generation, &stated.data["status"]["phase"]), (Some(1), &json!("Ready")));
    let grown = api.patch("w", &PatchParams::apply("test"), &Patch::Apply(widget(2))).await.unwrap();
    assert_eq!((grown.metadata.generation, &grown.data["status"]["phase"]), (Some(2), &json!("Ready")));
    crds.delete(&name, &DeleteParams::default()).await.unwrap();
    let gone = await_condition(crds, &name, conditions::is_deleted(made.metadata.uid.as_deref().unwrap_or_default()));
    tokio::time::timeout(PATIENCE, gone).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_namespace_takes_its_content_along() {
    let server = testing::server().await.unwrap();
    let name = testing::namespace(&server.client, "ending").await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(server.client.clone(), &name);
    let mut held = config_map("held", "1");
    held.metadata.finalizers = Some(vec!["example.com/hold".to_owned()]);
    maps.create(&PostParams::default(), &held).await.unwrap();
    let namespaces: Api<Namespace> = Api::all(server.client.clone());
    let uid = namespaces.get(&name).await.unwrap().metadata.uid.unwrap();
    namespaces.delete(&name, &DeleteParams::default()).await.unwrap();
    let error = maps.create(&PostParams::default(), &config_map("late", "1")).await.unwrap_err();
    assert!(matches!(&error, kube::Error::Api(status) if status.code == 403), "{error}");
    let marked = await_condition(maps.clone(), "held", |c: Option<&ConfigMap>| c.is_some_and(|c| c.metadata.deletion_timestamp.is_some()));
    tokio::time::timeout(PATIENCE, marked).await.unwrap().unwrap();
    maps.patch("held", &PatchParams::default(), &Patch::Merge(json!({"metadata": {"finalizers": null}}))).await.unwrap();
    let gone = await_condition(namespaces, &name, conditions::is_deleted(&uid));
    tokio::time::timeout(PATIENCE, gone).await.unwrap().unwrap();
}

#[tokio::test]
async fn dependents_go_with_their_owner() {
    let server = testing::server().await.unwrap();
    let namespace = testing::namespace(&server.client, "owners").await.unwrap();
    let api: Api<ConfigMap> = Api::namespaced(server.client.clone(), &namespace);
    let owner = api.create(&PostParams::default(), &config_map("owner", "1")).await.unwrap();
    let mut child = config_map("child", "1");
    child.metadata.owner_references = serde_json::from_value(
        json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.metadata.uid, "blockOwnerDeletion": true}]),
    )
    .unwrap();
    let child = api.create(&PostParams::default(), &child).await.unwrap();
    api.delete("owner", &DeleteParams::foreground()).await.unwrap();
    for (name, uid) in [("child", child.metadata.uid), ("owner", owner.metadata.uid)] {
        let gone = await_condition(api.clone(), name, conditions::is_deleted(uid.as_deref().unwrap()));
        tokio::time::timeout(PATIENCE, gone).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn the_simulator_makes_workloads_ready() {
    let server = testing::server().await.unwrap();
    if !server.simulates() {
        println!("skipped: workloads do not become ready by themselves in this cluster");
        return;
    }
    let api: Api<Deployment> = Api::namespaced(server.client.clone(), "default");
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
        "replicas": 2, "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}}}});
    api.patch("web", &PatchParams::apply("test"), &Patch::Apply(deployment)).await.unwrap();
    let ready = |d: Option<&Deployment>| d.and_then(|d| d.status.as_ref()).is_some_and(|s| s.available_replicas == Some(2));
    tokio::time::timeout(PATIENCE, await_condition(api, "web", ready)).await.unwrap().unwrap();
}
