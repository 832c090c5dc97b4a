//! The controller against an API server: what it makes, what it writes, and what it must never delete.

#![allow(clippy::unwrap_used)]

mod common;

use cluster::{Delete, PatchKind};
use common::{Lab, condition, end, eventually, external_artifacts, generators, writes};
use serde_json::json;

fn copies(name: &str, from: &str) -> serde_json::Value {
    json!({"name": name, "copy": [{"from": from, "to": "@artifact/"}]})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_monorepo_is_cut_into_artifacts_and_only_what_changed_gets_a_new_revision() {
    let lab = Lab::open("cut").await;
    let process = lab.start().await;
    lab.push("1", &[("apps/web/a.yaml", "a: 1\n"), ("apps/api/b.yaml", "b: 1\n")]).await;
    lab.generator("gen", json!([copies("web", "@repo/apps/web/**"), copies("api", "@repo/apps/api/**")])).await;
    lab.ready("gen", 2).await;
    let (web, api) = (lab.artifact("web").await, lab.artifact("api").await);
    assert_eq!(lab.files(&web).await, ["a.yaml"]);
    assert_eq!(web["revision"], format!("latest@{}", web["digest"].as_str().unwrap()));
    let before = lab.version("api").await;
    lab.push("2", &[("apps/web/a.yaml", "a: 2\n"), ("apps/api/b.yaml", "b: 1\n")]).await;
    eventually("web has a new revision", async || lab.artifact("web").await["revision"] != web["revision"]).await;
    lab.sources_of("gen", "main@sha1:2").await;
    assert_eq!(lab.artifact("api").await, api);
    assert_eq!(lab.version("api").await, before, "what did not change was not written");
    assert!(lab.fetch(&web).await.is_some(), "the old file stays for those that still read it");
    end(process).await;
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_where_nothing_changes_and_not_after_a_restart() {
    let lab = Lab::open("rest").await;
    let process = lab.start().await;
    lab.push("1", &[("a.yaml", "a: 1\n")]).await;
    lab.generator("gen", json!([copies("one", "@repo/**"), copies("two", "@repo/a.yaml")])).await;
    lab.ready("gen", 2).await;
    eventually("the finalizer, two objects, two statuses and the report", async || writes(&process) == 6).await;
    lab.request(&generators(), "gen", "now").await;
    eventually("a request is answered and nothing else", async || writes(&process) == 7).await;
    end(process).await;
    let process = lab.start().await;
    // The next generator is looked at after the first one, which was there before.
    lab.generator("last", json!([copies("three", "@repo/**")])).await;
    lab.ready("last", 1).await;
    eventually("all of the new one is written and nothing else", async || writes(&process) == 4).await;
    end(process).await;
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_lost_or_deleted_comes_back() {
    let lab = Lab::open("drift").await;
    let process = lab.start().await;
    lab.push("1", &[("a.yaml", "a: 1\n")]).await;
    lab.generator("gen", json!([copies("one", "@repo/**")])).await;
    lab.ready("gen", 1).await;
    let artifact = lab.artifact("one").await;
    let file = lab.storage().join(artifact["path"].as_str().unwrap());
    std::fs::write(&file, "damaged").unwrap();
    lab.request(&generators(), "gen", "1").await;
    assert_eq!(lab.files(&artifact).await, ["a.yaml"]);
    std::fs::remove_file(&file).unwrap();
    lab.request(&generators(), "gen", "2").await;
    assert_eq!(lab.files(&artifact).await, ["a.yaml"]);
    let _ = lab.client.delete(&external_artifacts(), &lab.namespace, "one", Delete::default()).await;
    eventually("it is gone", async || lab.read(&external_artifacts(), "one").await.is_none()).await;
    eventually("it is back", async || {
        lab.annotate(&generators(), "gen", json!({"reconcile.fluxcd.io/requestedAt": format!("{:?}", std::time::Instant::now())})).await;
        lab.read(&external_artifacts(), "one").await.is_some()
    })
    .await;
    end(process).await;
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_go_with_their_files_but_not_those_that_another_generator_took_over() {
    let lab = Lab::open("prune").await;
    let process = lab.start().await;
    lab.push("1", &[("a.yaml", "a: 1\n"), ("b.yaml", "b: 1\n")]).await;
    lab.generator("gen", json!([copies("one", "@repo/**"), copies("two", "@repo/**"), copies("moved", "@repo/a.yaml")])).await;
    lab.ready("gen", 3).await;
    lab.generator("other", json!([copies("moved", "@repo/b.yaml")])).await;
    lab.ready("other", 1).await;
    lab.generator("gen", json!([copies("one", "@repo/**")])).await;
    lab.ready("gen", 1).await;
    assert!(lab.read(&external_artifacts(), "two").await.is_none());
    assert!(!lab.storage().join(format!("externalartifact/{}/two", lab.namespace)).exists());
    assert_eq!(lab.files(&lab.artifact("moved").await).await, ["b.yaml"], "it is the other one's now");
    let _ = lab.client.delete(&generators(), &lab.namespace, "gen", Delete::default()).await;
    eventually("the generator is gone", async || lab.read(&generators(), "gen").await.is_none()).await;
    assert!(lab.read(&external_artifacts(), "one").await.is_none());
    assert!(!lab.storage().join(format!("externalartifact/{}/one", lab.namespace)).exists());
    end(process).await;
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_generator_that_never_succeeded_made_goes_with_it() {
    let lab = Lab::open("orphan").await;
    let process = lab.start().await;
    lab.push("1", &[("a.yaml", "a: 1\n")]).await;
    lab.generator("gen", json!([copies("good", "@repo/**"), copies("bad", "@repo/absent")])).await;
    let message = lab.failed("gen", "BuildFailed").await;
    assert!(
        message.starts_with("bad build failed: failed to apply copy operations") && message.ends_with("source 'absent' does not exist"),
        "{message}"
    );
    assert!(lab.read(&external_artifacts(), "good").await.is_some());
    let _ = lab.client.delete(&generators(), &lab.namespace, "gen", Delete::default()).await;
    eventually("the generator is gone", async || lab.read(&generators(), "gen").await.is_none()).await;
    assert!(lab.read(&external_artifacts(), "good").await.is_none());
    end(process).await;
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_told_and_everything_else_goes_on() {
    let lab = Lab::open("bad").await;
    let process = lab.start().await;
    lab.generator("early", json!([copies("early", "@repo/**")])).await;
    assert_eq!(
        lab.failed("early", "SourceFetchFailed").await,
        format!("get sources failed: source 'GitRepository/{}/repo' is not ready", lab.namespace)
    );
    lab.push("1", &[("a.yaml", "a: 1\n"), ("m.tgz", "no archive"), ("list.yaml", "- 1\n")]).await;
    lab.ready("early", 1).await;
    let one = |operations: serde_json::Value| json!([{"name": "bad", "copy": operations}]);
    let extract = json!([{"from": "@repo/m.tgz", "to": "@artifact/", "strategy": "Extract"}]);
    let merge =
        json!([{"from": "@repo/a.yaml", "to": "@artifact/"}, {"from": "@repo/list.yaml", "to": "@artifact/a.yaml", "strategy": "Merge"}]);
    for (operations, what) in [
        (json!([{"from": "@none/**", "to": "@artifact/"}]), "source alias 'none' not found"),
        (json!([{"from": "@repo/**", "to": "@artifact/../../etc"}]), "path escapes from parent"),
        (extract, "requires gzip-compressed body"),
        (merge, "cannot unmarshal array"),
    ] {
        lab.generator("bad", one(operations)).await;
        eventually(what, async || lab.failed("bad", "BuildFailed").await.contains(what)).await;
    }
    lab.generator("bad", json!([copies("same", "@repo/**"), copies("same", "@repo/**")])).await;
    lab.failed("bad", "ValidationFailed").await;
    let object = lab.read(&generators(), "bad").await.unwrap();
    assert_eq!(condition(&object, "Stalled").unwrap()["status"], "True");
    lab.generator("bad", json!([copies("good", "@repo/**")])).await;
    lab.ready("bad", 1).await;
    end(process).await;
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_somebody_else_wrote_is_not_overwritten() {
    let lab = Lab::open("foreign").await;
    let process = lab.start().await;
    lab.push("1", &[("a.yaml", "a: 1\n")]).await;
    lab.generator("gen", json!([copies("one", "@repo/**")])).await;
    lab.ready("gen", 1).await;
    let body = json!({"status": {"artifact": {"digest": "sha256:00", "revision": "mine"}}}).to_string().into_bytes();
    lab.client.patch(&external_artifacts(), &lab.namespace, "one", "status", PatchKind::Merge, "tester", body).await.unwrap();
    eventually("the conflict is told", async || {
        lab.annotate(&generators(), "gen", json!({"reconcile.fluxcd.io/requestedAt": format!("{:?}", std::time::Instant::now())})).await;
        let object = lab.read(&generators(), "gen").await.unwrap();
        let message = condition(&object, "Ready").unwrap()["message"].as_str().unwrap().to_owned();
        message.starts_with("one reconcile failed: failed to patchStatus ExternalArtifact status: Apply failed with 2 conflicts")
    })
    .await;
    assert_eq!(lab.artifact("one").await["revision"], "mine");
    end(process).await;
    lab.close().await;
}
