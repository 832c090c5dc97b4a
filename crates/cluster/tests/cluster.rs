//! Discovery, identities and owned objects against an API server.

use cluster::{Apply, Client, Delete, Identity, Mapper, Owned, Owner, OwnerLabels, PatchKind, Record, Resource, Selection, Verb};
use object::{GroupKind, GroupVersionKind, Object, ObjectKey};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const LABELS: OwnerLabels = OwnerLabels { name: "kustomize.toolkit.fluxcd.io/name", namespace: "kustomize.toolkit.fluxcd.io/namespace" };

struct Lab {
    client: Client,
    namespace: String,
}

impl Lab {
    /// `None`, said plainly, when no cluster is at hand.
    async fn open(test: &str) -> Option<Self> {
        let Some(path) = std::env::var_os("SLUICE_TEST_KUBECONFIG") else {
            eprintln!("SKIPPED {test}: SLUICE_TEST_KUBECONFIG names no cluster");
            return None;
        };
        let file = kube::config::Kubeconfig::read_from(path).unwrap();
        let config = kube::Config::from_custom_kubeconfig(file, &Default::default()).await.unwrap();
        let lab = Self { client: Client::new(config).unwrap(), namespace: format!("cl-{test}-{:x}", rand::random::<u32>()) };
        lab.apply(&namespaces(), json!({"metadata": {"name": lab.namespace}})).await;
        Some(lab)
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
            Some(owner) => json!({LABELS.name: owner, LABELS.namespace: "flux-system"}),
            None => json!({}),
        };
        json!({"metadata": {"name": name, "namespace": self.namespace, "labels": labels}, "data": {"value": value}})
    }

    async fn patch(&self, name: &str, patch: Value) {
        let body = patch.to_string().into_bytes();
        self.client.patch(&config_maps(), &self.namespace, name, "", PatchKind::Merge, "somebody", body).await.unwrap();
    }

    fn key(&self, name: &str) -> ObjectKey {
        ObjectKey { group: String::new(), kind: "ConfigMap".into(), namespace: self.namespace.clone(), name: name.into() }
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
    let Some(lab) = Lab::open("mapper").await else { return };
    let mapper = Mapper::new(lab.client.clone());
    let before = lab.client.counts().of(Verb::Get);
    let deployment = mapper.resource(&GroupVersionKind::new("apps", "v1", "Deployment")).await.unwrap();
    assert_eq!((deployment.plural.as_str(), deployment.namespaced), ("deployments", true));
    let role = mapper.preferred(&GroupKind { group: "rbac.authorization.k8s.io".into(), kind: "ClusterRole".into() }).await.unwrap();
    assert_eq!((role.plural.as_str(), role.namespaced, role.version.as_str()), ("clusterroles", false, "v1"));
    assert_eq!(mapper.resource(&GroupVersionKind::new("", "v1", "Secret")).await.unwrap().plural, "secrets");
    assert_eq!(lab.client.counts().of(Verb::Get) - before, 2, "/api and /apis, once");
    for _ in 0..5 {
        let error = mapper.resource(&GroupVersionKind::new("nope.example.com", "v1", "Nope")).await.unwrap_err();
        assert_eq!(error.to_string(), r#"no matches for kind "Nope" in version "nope.example.com/v1""#);
    }
    assert_eq!(lab.client.counts().of(Verb::Get) - before, 2, "what is missing is not asked for again at once");
    lab.close().await;
}

#[tokio::test]
async fn a_new_definition_is_noticed_and_a_deleted_one_too() {
    let Some(lab) = Lab::open("crd").await else { return };
    let mapper = Arc::new(Mapper::new(lab.client.clone()));
    let follower = tokio::spawn(mapper.clone().follow_definitions());
    let group = format!("g{:x}.example.com", rand::random::<u32>());
    let gvk = GroupVersionKind::new(&group, "v1", "Gadget");
    assert!(mapper.resource(&gvk).await.is_err());
    let definitions = Resource::cluster_scoped("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions");
    let name = format!("gadgets.{group}");
    let definition = json!({"metadata": {"name": name}, "spec": {"group": group, "scope": "Cluster",
        "names": {"kind": "Gadget", "plural": "gadgets", "singular": "gadget", "listKind": "GadgetList"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]}});
    lab.apply(&definitions, definition).await;
    eventually("it is found", async || mapper.resource(&gvk).await.is_ok_and(|gadgets| !gadgets.namespaced)).await;
    lab.client.delete(&definitions, "", &name, Delete::default()).await.unwrap();
    eventually("it is gone", async || mapper.resource(&gvk).await.is_err()).await;
    follower.abort();
    lab.close().await;
}

#[tokio::test]
async fn an_impersonated_account_has_its_own_rights() {
    let Some(lab) = Lab::open("identity").await else { return };
    let tenant = lab.client.as_identity(&Identity::service_account(&lab.namespace, "tenant")).unwrap();
    let error = tenant.get(&config_maps(), &lab.namespace, "a").await.unwrap_err();
    assert!(error.is_forbidden() && !error.is_transient(), "{error:?}");
    assert!(error.to_string().contains(&format!("system:serviceaccount:{}:tenant", lab.namespace)), "{error}");
    assert!(lab.client.get_opt(&config_maps(), &lab.namespace, "a").await.unwrap().is_none());
    lab.close().await;
}

#[tokio::test]
async fn a_deletion_of_another_object_of_the_same_name_is_refused() {
    let Some(lab) = Lab::open("delete").await else { return };
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
    let Some(lab) = Lab::open("conflict").await else { return };
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

/// What a subscriber heard, as text.
type Heard = Arc<Mutex<Vec<String>>>;

fn follow(lab: &Lab) -> (Arc<Owned<String>>, Heard) {
    let read = |_: &Resource, object: &Object| object.annotation("health").unwrap_or("fine").to_owned();
    let owned = Owned::new(lab.client.clone(), LABELS, read);
    let heard = Heard::default();
    let (log, namespace) = (heard.clone(), lab.namespace.clone());
    owned.subscribe(move |change| {
        if change.key.namespace != namespace {
            return;
        }
        let owners: Vec<_> = change.owners().map(|owner| owner.name.as_str()).collect();
        let state = change.new.map_or("gone", |record| record.health.as_str());
        let drift = if change.is_drift() { " drifted" } else { "" };
        log.lock().unwrap().push(format!("{} {state}{drift} {}", change.key.name, owners.join("+")));
    });
    (owned, heard)
}

#[tokio::test]
async fn owned_objects_are_followed_by_label_and_only_real_changes_are_told() {
    let Some(lab) = Lab::open("owned").await else { return };
    lab.apply(&config_maps(), lab.map("a", Some("apps"), "1")).await;
    lab.apply(&config_maps(), lab.map("other", None, "1")).await;
    let (owned, heard) = follow(&lab);
    owned.follow(&config_maps()).await.unwrap();
    assert!(owned.is_synced(&config_maps().group_kind()));
    let owner = Owner { namespace: "flux-system".into(), name: "apps".into() };
    let names = |owner: &Owner| {
        owned.of_owner(owner).into_iter().filter(|(key, _)| key.namespace == lab.namespace).map(|(key, _)| key.name).collect::<Vec<_>>()
    };
    assert_eq!(names(&owner), ["a"]);
    assert!(owned.get(&lab.key("other")).is_none());
    let lists = lab.client.counts().of(Verb::List);
    owned.follow(&config_maps()).await.unwrap();
    assert_eq!(lab.client.counts().of(Verb::List), lists, "one watch for a kind");

    let next = async |what: &str| {
        eventually(what, async || heard.lock().unwrap().iter().any(|line| line == what)).await;
    };
    next("a fine apps").await;
    // The answer to a write is taken in at once, and the watch that tells of it later tells nothing new.
    let answer = lab.apply(&config_maps(), lab.map("a", Some("apps"), "2")).await;
    let record: Arc<Record<String>> = owned.observe(&config_maps(), answer.to_string().as_bytes()).unwrap();
    assert_eq!(owned.get(&lab.key("a")), Some(record.clone()));
    lab.patch("a", json!({"data": {"value": "by hand"}})).await;
    next("a fine drifted apps").await;
    lab.patch("a", json!({"metadata": {"annotations": {"health": "sick"}}})).await;
    next("a sick drifted apps").await;
    // Another owner takes it: both hear of it.
    lab.patch("a", json!({"metadata": {"labels": {LABELS.name: "web"}}})).await;
    next("a sick drifted apps+web").await;
    assert!(names(&owner).is_empty());
    // Without the label it is nobody's any more.
    lab.patch("a", json!({"metadata": {"labels": {LABELS.name: null}}})).await;
    next("a gone drifted web").await;
    assert!(owned.get(&lab.key("a")).is_none());
    let drifts = heard.lock().unwrap().iter().filter(|line| *line == "a fine drifted apps").count();
    assert_eq!(drifts, 2, "our own write when it was observed, and the edit: {:?}", heard.lock().unwrap());
    lab.close().await;
}

#[tokio::test]
async fn a_kind_that_may_not_be_listed_says_why() {
    let Some(lab) = Lab::open("forbidden").await else { return };
    let tenant = lab.client.as_identity(&Identity::service_account(&lab.namespace, "tenant")).unwrap();
    let owned = Owned::new(tenant, LABELS, |_, _| ());
    let error = owned.follow(&config_maps()).await.unwrap_err();
    assert!(error.to_string().starts_with("cannot list configmaps: ") && error.to_string().contains("forbidden"), "{error}");
    lab.close().await;
}

#[tokio::test]
async fn lists_come_in_pages_and_metadata_alone_when_asked_for() {
    let Some(lab) = Lab::open("list").await else { return };
    let names: Vec<String> = (0..3).map(|number| format!("m{number}")).collect();
    for name in &names {
        lab.apply(&config_maps(), lab.map(name, Some("list"), "1")).await;
    }
    let selection =
        Selection { namespace: lab.namespace.clone(), metadata_only: true, ..Selection::labels(format!("{}=list", LABELS.name)) };
    let items = lab.client.list(&config_maps(), &selection).await.unwrap();
    let items: Vec<Value> = items.iter().map(|item| serde_json::from_str(item.get()).unwrap()).collect();
    let found: Vec<_> = items.iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(found, names);
    assert!(items.iter().all(|item| item.get("data").is_none()), "{items:?}");
    lab.close().await;
}
