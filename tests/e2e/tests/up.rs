//! `sluice up`: the main job in one command, as a newcomer types it.

#![allow(clippy::unwrap_used)]

use e2e::{GitServer, Up, edit, example, up_once};
use std::time::{Duration, Instant};

#[test]
fn the_example_becomes_ready_and_every_object_is_listed() {
    let folder = example("podinfo");
    let started = Instant::now();
    let output = up_once(&[folder.path().to_str().unwrap(), "--timeout", "60s"]);
    let (table, progress) = (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned());
    assert!(output.status.success(), "{table}\n{progress}");
    println!("ready after {:?}", started.elapsed());
    for object in [
        "Namespace/podinfo",
        "Deployment/podinfo/podinfo",
        "Service/podinfo/podinfo",
        "HorizontalPodAutoscaler/podinfo/podinfo",
        "Kustomization/flux-system/apps",
    ] {
        assert!(table.lines().any(|line| line.contains(object) && line.contains("Current")), "{object} is not listed as current:\n{table}");
    }
    assert!(progress.contains("Kustomization/flux-system/apps"), "{progress}");
}

#[test]
fn in_json_the_table_can_be_read_by_programs() {
    let folder = example("podinfo");
    let output = up_once(&[folder.path().to_str().unwrap(), "--timeout", "60s", "-o", "json", "--quiet"]);
    assert!(output.status.success());
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(rows.as_array().unwrap().iter().any(|row| row["object"] == "Deployment/podinfo/podinfo" && row["status"] == "Current"));
    assert!(output.stderr.is_empty(), "quiet means quiet: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_is_not_ready_in_time_is_named_with_its_reason() {
    let folder = example("podinfo");
    std::fs::write(folder.path().join("apps/podinfo/dev/broken.yaml"), "kind: [\n").unwrap();
    edit(folder.path(), "apps/podinfo/dev/kustomization.yaml", "- autoscaler.yaml", "- broken.yaml");
    let output = up_once(&[folder.path().to_str().unwrap(), "--timeout", "8s"]);
    assert_eq!(output.status.code(), Some(1));
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    let after = &why[why.find("not everything is ready").expect("it says so")..];
    assert!(after.contains("Kustomization/flux-system/apps") && after.contains("broken.yaml"), "{after}");
}

#[test]
fn a_target_that_is_nothing_is_refused_at_once() {
    let output = up_once(&["/no/such/place"]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("/no/such/place"));
}

const REPLICAS: &[&str] = &["get", "deployment", "podinfo", "-n", "podinfo", "-o", "jsonpath={.spec.replicas}"];

#[test]
fn a_saved_file_is_applied_at_once_and_the_end_is_clean() {
    let folder = example("podinfo");
    let mut up = Up::start(folder.path().to_str().unwrap(), &[]);
    up.until_prints(REPLICAS, "2");
    up.until_ready(1);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&up.kubeconfig).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "a kubeconfig holds a token");
    let saved = Instant::now();
    edit(folder.path(), "apps/podinfo/dev/kustomization.yaml", "count: 2", "count: 3");
    up.until_prints(REPLICAS, "3");
    let took = saved.elapsed();
    println!("applied {took:?} after saving (kubectl's own start included)");
    assert!(took < Duration::from_secs(10), "a saved file took {took:?}");
    assert!(up.process.terminate(), "it leaves when asked to");
    assert!(!up.kubeconfig.exists(), "a kubeconfig of a server that is gone helps nobody");
}

#[test]
fn a_git_url_is_followed_commit_by_commit() {
    let (server, folder) = (GitServer::start(), example("podinfo"));
    let repository = server.repository("platform");
    let first = repository.copy(folder.path()).push("first");
    let up = Up::start(&server.url("platform"), &[]);
    let applied = |commit: &str| {
        let revision = ["get", "kustomization", "apps", "-n", "flux-system", "-o", "jsonpath={.status.lastAppliedRevision}"];
        up.until_prints(&revision, &format!("main@sha1:{commit}"));
    };
    applied(&first);
    let second = repository.write("apps/podinfo/dev/more.yaml", "# nothing\n").push("second");
    applied(&second);
}
