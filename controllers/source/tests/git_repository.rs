//! The controller against an API server (embedded, or the one that SLUICE_TEST_KUBECONFIG names) and the real `git http-backend`.

#![allow(clippy::unwrap_used)]

use api::source::{GitRepository, GitRepositoryStatus};
use api::{Condition, Conditions};
use cluster::Resource;
use http_client::{Options as HttpOptions, Retry};
use runtime::Process;
use serde_json::{Value, json};
use source_controller::Options;
use std::ops::Deref;
use std::time::Duration;
use testing::git::{Behaviour, Server, basic};
use testing::lab::{Lab, end, eventually};
use types::Digest;

fn repositories() -> Resource {
    Resource::namespaced("source.toolkit.fluxcd.io", "v1", "GitRepository", "gitrepositories")
}

/// A laboratory with a Git server, and a folder for artifacts.
struct World {
    lab: Lab,
    git: Server,
    state: tempfile::TempDir,
}

impl Deref for World {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.lab
    }
}

impl World {
    async fn open(test: &str) -> Self {
        let lab = Lab::open(&format!("source-{test}"), &["source.toolkit.fluxcd.io_gitrepositories"]).await;
        Self { lab, git: Server::start(), state: tempfile::tempdir().unwrap() }
    }

    /// Starts a controller on the folder of this world.
    async fn controller(&self) -> Process {
        let mut settings = self.settings(source_controller::NAME);
        settings.backoff = runtime::Backoff { min: Duration::from_millis(50), max: Duration::from_secs(1) };
        let process = Process::start(settings).await.unwrap();
        let mut options = Options::new(self.state.path().join("artifacts"));
        options.storage.address = "127.0.0.1:0".into();
        source_controller::set_up(process.clone(), options).await.unwrap();
        process
    }

    async fn create(&self, name: &str, spec: Value) {
        let body = json!({"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "metadata": {"name": name}, "spec": spec});
        self.client.create(&repositories(), &self.namespace, "tester", body.to_string().into_bytes()).await.unwrap();
    }

    async fn ask(&self, name: &str, token: &str) {
        self.annotate(&repositories(), name, json!({"reconcile.fluxcd.io/requestedAt": token})).await;
    }

    fn spec(&self, repository: &str) -> Value {
        json!({"interval": "1h", "timeout": "10s", "url": self.git.url(repository), "ref": {"branch": "main"}})
    }

    async fn status(&self, name: &str) -> Option<GitRepositoryStatus> {
        let bytes = self.client.get_opt(&repositories(), &self.namespace, name).await.unwrap()?;
        serde_json::from_slice::<GitRepository>(&bytes).unwrap().status
    }

    async fn version(&self, name: &str) -> String {
        let object: Value = self.client.get_as(&repositories(), &self.namespace, name).await.unwrap();
        object["metadata"]["resourceVersion"].to_string()
    }

    /// Waits for Ready with a status and, in its message, a text.
    async fn ready(&self, name: &str, status: &str, text: &str) -> GitRepositoryStatus {
        let mut last = GitRepositoryStatus::default();
        eventually(&format!("{name} Ready={status} {text:?}"), async || {
            last = self.status(name).await.unwrap_or_default();
            last.conditions.condition("Ready").is_some_and(|c: &Condition| c.status == status && c.message.contains(text))
        })
        .await;
        last
    }

    async fn answered(&self, name: &str, token: &str) -> GitRepositoryStatus {
        eventually("the request to be answered", async || self.status(name).await.is_some_and(|s| s.last_handled_reconcile_at == token))
            .await;
        self.status(name).await.unwrap()
    }

    async fn files(&self, status: &GitRepositoryStatus) -> Vec<String> {
        let artifact = status.artifact.as_ref().unwrap();
        let http = http_client::Client::new(&HttpOptions { retry: Retry::NEVER, ..HttpOptions::default() }).unwrap();
        let bytes = http.fetch_artifact(&artifact.url, &Digest::parse(&artifact.digest).unwrap(), 1 << 20).await.unwrap();
        let tree = tree::archive::read(&bytes, tree::archive::Limits::default()).unwrap();
        tree.entries().filter(|(_, entry)| matches!(entry, tree::Entry::File { .. })).map(|(path, _)| path.to_owned()).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_becomes_an_artifact_and_the_next_one_takes_its_place() {
    let world = World::open("one").await;
    let repository = world.git.repository("app");
    let one = repository.commit("main", &[("deploy/app.yaml", "1"), ("pic.png", "x")], "one");
    let process = world.controller().await;
    world.create("app", world.spec("app")).await;
    let status = world.ready("app", "True", &one).await;
    assert_eq!(world.files(&status).await, ["deploy/app.yaml"]);
    assert_eq!(status.observed_generation, 1);

    // A request without a change writes its answer and nothing else; the same visit without one would write nothing.
    world.ask("app", "t1").await;
    let answered = world.answered("app", "t1").await;
    assert_eq!(GitRepositoryStatus { last_handled_reconcile_at: String::new(), ..answered }, status);

    let two = repository.commit("main", &[("deploy/app.yaml", "2"), ("more.yaml", "m")], "two");
    world.ask("app", "t2").await;
    let status = world.ready("app", "True", &two).await;
    assert_eq!(world.files(&status).await, ["deploy/app.yaml", "more.yaml"]);

    world.merge(&repositories(), "app", "", json!({"spec": {"ignore": "more.yaml"}})).await;
    eventually("another artifact", async || world.status("app").await.is_some_and(|s| s.observed_generation == 2)).await;
    assert_eq!(world.files(&world.status("app").await.unwrap()).await, ["deploy/app.yaml"]);

    world.client.delete(&repositories(), &world.namespace, "app", Default::default()).await.unwrap();
    eventually("the object to go", async || world.client.get_opt(&repositories(), &world.namespace, "app").await.unwrap().is_none()).await;
    assert!(!world.state.path().join(format!("artifacts/gitrepository/{}/app", world.namespace)).exists());
    end(process).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_with_everything_in_place_writes_nothing_and_a_lost_storage_is_filled_again() {
    let world = World::open("rest").await;
    let id = world.git.repository("app").commit("main", &[("a.yaml", "1")], "one");
    let process = world.controller().await;
    // A fixed address, as a Service has one: the artifact's URL must not change with the port.
    world.create("app", world.spec("app")).await;
    let before = world.ready("app", "True", &id).await;
    end(process).await;
    let version = world.version("app").await;

    world.git.take_seen();
    let process = world.process(source_controller::NAME).await;
    let mut options = Options::new(world.state.path().join("artifacts"));
    options.storage.address = "127.0.0.1:0".into();
    let url = before.artifact.as_ref().unwrap().url.clone();
    options.storage.advertised_address = url.trim_start_matches("http://").split('/').next().unwrap().to_owned();
    source_controller::set_up(process.clone(), options).await.unwrap();
    let mut seen = 0;
    eventually("the repository to be looked at", async || {
        seen += world.git.take_seen().len();
        seen >= 2
    })
    .await;
    end(process.clone()).await;
    assert_eq!((process.client().counts().writes(), world.version("app").await), (0, version));

    std::fs::remove_dir_all(world.state.path().join("artifacts")).unwrap();
    let process = world.controller().await;
    eventually("the artifact to be back", async || {
        let path = world.state.path().join("artifacts").join(&before.artifact.as_ref().unwrap().path);
        path.exists() && world.status("app").await.is_some_and(|s| s.artifact.is_some_and(|a| a.url != url))
    })
    .await;
    assert_eq!(world.files(&world.ready("app", "True", &id).await).await, ["a.yaml"]);
    end(process).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_is_told_keeps_the_artifact_and_shows_no_secret() {
    let world = World::open("bad").await;
    let id = world.git.repository("app").commit("main", &[("a.yaml", "1")], "one");
    let process = world.controller().await;
    world.create("app", world.spec("app")).await;
    world.ready("app", "True", &id).await;

    world.merge(&repositories(), "app", "", json!({"spec": {"ref": {"branch": "nope"}}})).await;
    let status = world.ready("app", "False", "couldn't find remote ref \"refs/heads/nope\"").await;
    assert_eq!(world.files(&status).await, ["a.yaml"], "the last artifact stays");
    assert_eq!(status.observed_generation, 1);

    world.git.behave(Behaviour { authorization: Some(basic("bob", "right")), ..Behaviour::default() });
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "creds"}, "stringData": {"username": "bob", "password": "hunter2"}});
    let secrets = Resource::namespaced("", "v1", "Secret", "secrets");
    world.client.create(&secrets, &world.namespace, "tester", secret.to_string().into_bytes()).await.unwrap();
    world.merge(&repositories(), "app", "", json!({"spec": {"ref": {"branch": "main"}, "secretRef": {"name": "creds"}}})).await;
    let status = world.ready("app", "False", "authentication required").await;
    assert!(!serde_json::to_string(&status).unwrap().contains("hunter2"));
    let events = Resource::namespaced("", "v1", "Event", "events");
    let selection = cluster::Selection { namespace: world.namespace.clone(), ..Default::default() };
    let events = world.client.list(&events, &selection).await.unwrap();
    assert!(!events.is_empty() && events.iter().all(|event| !event.get().contains("hunter2")));

    world.merge(&secrets, "creds", "", json!({"stringData": {"password": "right"}})).await;
    world.ready("app", "True", &id).await;

    world.merge(&repositories(), "app", "", json!({"spec": {"secretRef": {"name": "absent"}}})).await;
    world.ready("app", "False", "secrets \"absent\" not found").await;
    let port = testing::free_port();
    world.merge(&repositories(), "app", "", json!({"spec": {"secretRef": null, "url": format!("http://127.0.0.1:{port}/x.git")}})).await;
    world.ready("app", "False", "connection refused").await;
    end(process).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_include_is_waited_for_and_laid_in_as_soon_as_it_is_there() {
    let world = World::open("include").await;
    world.git.repository("app").commit("main", &[("a.yaml", "1")], "one");
    let process = world.controller().await;
    let mut spec = world.spec("app");
    spec["include"] = json!([{"repository": {"name": "lib"}, "fromPath": "charts", "toPath": "vendor/lib"}]);
    world.create("app", spec).await;
    world.ready("app", "False", "could not get resource for include 'lib'").await;
    world.git.repository("lib").commit("main", &[("charts/c.yaml", "c"), ("other", "o")], "lib");
    world.create("lib", world.spec("lib")).await;
    // Long before --requeue-dependency.
    let status = world.ready("app", "True", "stored artifact").await;
    assert_eq!(world.files(&status).await, ["a.yaml", "vendor/lib/c.yaml"]);
    assert_eq!(status.included_artifacts.len(), 1);
    end(process).await;
}
