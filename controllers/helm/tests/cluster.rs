//! The controller against an API server: what it makes of releases, what it costs, and what it never does.

#![allow(clippy::unwrap_used)]

mod common;

use cluster::{Delete, PatchKind, Resource};
use common::{DEMO, Lab, condition, config_maps, end, eventually, history, jobs, releases, secrets, writes};
use serde_json::{Value, json};
use std::process::Command;

const BOOM: &str =
    "{{ if .Values.boom }}\napiVersion: v1\nkind: Service\nmetadata:\n  name: bad\nspec:\n  ports:\n  - port: 99999\n{{ end }}\n";
const HOOK: &str =
    "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-work\n  annotations:\n    helm.sh/hook: pre-install\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_installed_upgraded_and_uninstalled_and_a_visit_without_changes_writes_one_answer() {
    let lab = Lab::open("life").await;
    lab.chart("1.0.0", DEMO).await;
    let process = lab.start(4).await;
    lab.release("app", json!({})).await;
    let app = lab.settled("app", "True", "InstallSucceeded").await;
    assert_eq!(history(&app), ["1 deployed"]);
    assert_eq!(lab.states("app").await, ["1 deployed"]);
    assert_eq!(app["status"]["inventory"]["entries"][0]["id"], format!("{}_app-config__ConfigMap", lab.namespace).as_str());

    let (before, secret) = (writes(&process), lab.read(&secrets(), "sh.helm.release.v1.app.v1").await.unwrap());
    lab.asked("app", "1").await;
    assert_eq!(writes(&process) - before, 1, "one status");
    assert_eq!(lab.read(&secrets(), "sh.helm.release.v1.app.v1").await.unwrap(), secret);

    lab.release("app", json!({"values": {"message": "bye"}})).await;
    let app = lab.settled("app", "True", "UpgradeSucceeded").await;
    assert_eq!(history(&app), ["2 deployed", "1 superseded"]);
    assert_eq!(lab.read(&config_maps(), "app-config").await.unwrap()["data"], json!({"message": "bye", "revision": "2"}));
    end(process).await;

    // After a restart everything is looked at, and nothing is written.
    let process = lab.start(4).await;
    lab.asked("app", "2").await;
    assert_eq!(writes(&process), 1, "the answer, and nothing else");
    assert_eq!(lab.states("app").await, ["1 superseded", "2 deployed"]);

    lab.client.delete(&releases(), &lab.namespace, "app", Delete::default()).await.unwrap();
    eventually("the release is gone", async || lab.read(&releases(), "app").await.is_none()).await;
    assert!(lab.states("app").await.is_empty() && lab.read(&config_maps(), "app-config").await.is_none());
    end(process).await;
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_upgrade_is_rolled_back_and_stalls_until_the_spec_changes() {
    let lab = Lab::open("rollback").await;
    lab.chart("1.0.0", &[DEMO, &[("templates/bad.yaml", BOOM)]].concat()).await;
    let process = lab.start(4).await;
    let remediation = json!({"remediation": {"remediateLastFailure": true}});
    lab.release("app", json!({"upgrade": remediation})).await;
    lab.settled("app", "True", "InstallSucceeded").await;
    lab.release("app", json!({"upgrade": remediation, "values": {"boom": true}})).await;
    let app = lab.settled("app", "False", "RollbackSucceeded").await;
    assert_eq!(history(&app), ["3 deployed", "2 failed", "1 superseded"]);
    assert_eq!(condition(&app, "Stalled").unwrap()["message"], "Failed to upgrade after 1 attempt(s)");
    assert_eq!((&app["status"]["failures"], &app["status"]["upgradeFailures"]), (&json!(1), &json!(1)));
    lab.release("app", json!({"upgrade": remediation, "values": {"message": "mended"}})).await;
    let app = lab.settled("app", "True", "UpgradeSucceeded").await;
    assert!(condition(&app, "Stalled").is_none() && app["status"].get("failures").is_none(), "{}", app["status"]);
    assert_eq!(lab.states("app").await, ["1 superseded", "2 failed", "3 superseded", "4 deployed"]);
    end(process).await;
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_holds_no_worker_and_what_was_cut_short_is_taken_up_by_the_next_process() {
    let lab = Lab::open("waits").await;
    lab.chart("1.0.0", &[DEMO, &[("templates/hook.yaml", HOOK)]].concat()).await;
    let process = lab.start(1).await;
    // The hook of an earlier release, which is deleted before it is made anew, does not go away.
    let held = json!({"name": "a-work", "namespace": lab.namespace, "finalizers": ["example.com/hold"]});
    lab.apply(&config_maps(), json!({"metadata": held})).await;
    lab.release("a", json!({"timeout": "5m"})).await;
    eventually("the hook of a is waited for", async || {
        lab.read(&config_maps(), "a-work").await.is_some_and(|hook| hook["metadata"].get("deletionTimestamp").is_some())
    })
    .await;
    // The only worker is free: another release goes on.
    lab.release("b", json!({"timeout": "5m", "install": {"disableHooks": true}})).await;
    lab.settled("b", "True", "InstallSucceeded").await;
    assert_eq!(lab.states("a").await, ["1 pending-install"]);
    end(process).await;

    let process = lab.start(1).await;
    // It was never counted as a failure, so that it is tried again; an upgrade runs no install hooks.
    let a = lab.settled("a", "True", "UpgradeSucceeded").await;
    assert_eq!(lab.states("a").await, ["1 superseded", "2 deployed"]);
    assert!(!a.to_string().contains("in progress"));
    assert!(lab.stored("a").await[0].info.description.contains("unlocked from stale 'pending-install' state"));
    let body = json!({"metadata": {"finalizers": null}}).to_string().into_bytes();
    lab.client.patch(&config_maps(), &lab.namespace, "a-work", "", PatchKind::Merge, "tester", body).await.unwrap();
    end(process).await;
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_seen_by_watch_and_undone_without_a_new_revision() {
    let lab = Lab::open("drift").await;
    lab.chart("1.0.0", DEMO).await;
    let process = lab.start(4).await;
    lab.release("app", json!({"driftDetection": {"mode": "enabled"}})).await;
    let app = lab.settled("app", "True", "InstallSucceeded").await;
    assert_eq!(condition(&app, "Drifted").unwrap()["reason"], "NoDriftDetected");
    let body = json!({"data": {"message": "by hand"}}).to_string().into_bytes();
    lab.client.patch(&config_maps(), &lab.namespace, "app-config", "", PatchKind::Merge, "kubectl-edit", body).await.unwrap();
    eventually("the edit is undone", async || lab.read(&config_maps(), "app-config").await.unwrap()["data"]["message"] == "hello").await;
    lab.client.delete(&config_maps(), &lab.namespace, "app-config", Delete::default()).await.unwrap();
    eventually("it is made again", async || lab.read(&config_maps(), "app-config").await.is_some()).await;
    assert_eq!(lab.states("app").await, ["1 deployed"]);
    end(process).await;
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_release_is_named_and_other_releases_go_on() {
    let lab = Lab::open("corrupt").await;
    lab.chart("1.0.0", DEMO).await;
    let process = lab.start(4).await;
    lab.release("app", json!({})).await;
    lab.settled("app", "True", "InstallSucceeded").await;
    let body = json!({"data": {"release": "bm9uc2Vuc2U="}}).to_string().into_bytes();
    lab.client.patch(&secrets(), &lab.namespace, "sh.helm.release.v1.app.v1", "", PatchKind::Merge, "tester", body).await.unwrap();
    let app = lab.asked("app", "1").await;
    let ready = condition(&app, "Ready").unwrap();
    assert_eq!(ready["reason"], "StateError");
    assert!(ready["message"].as_str().unwrap().contains("sh.helm.release.v1.app.v1 cannot be read"), "{ready}");
    lab.release("b", json!({})).await;
    lab.settled("b", "True", "InstallSucceeded").await;
    end(process).await;
    lab.close().await;
}

// SEC-27, SEC-36.
#[tokio::test(flavor = "multi_thread")]
async fn rights_in_the_crds_folder_are_not_given_and_a_hook_that_deletes_itself_ends_in_an_answer() {
    let lab = Lab::open("hostile").await;
    let rights = format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata:\n  name: {}\nroleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}}\nsubjects:\n- {{kind: User, name: mallory}}\n",
        lab.namespace
    );
    // A Job that works on and on: one that ends before it is deleted would have done its work.
    let job = "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: {{ .Release.Name }}-work\n  annotations:\n    helm.sh/hook: pre-install\nspec:\n  template:\n    spec: {restartPolicy: Never, containers: [{name: one, image: sluice.dev/hang:1}]}\n";
    lab.chart("1.0.0", &[DEMO, &[("crds/rights.yaml", rights.as_str()), ("templates/hook.yaml", job)]].concat()).await;
    let process = lab.start(4).await;
    lab.release("app", json!({"install": {"timeout": "3s"}})).await;
    eventually("the hook is made", async || lab.read(&jobs(), "app-work").await.is_some()).await;
    // As its own pod could do it.
    lab.client.delete(&jobs(), &lab.namespace, "app-work", Delete::default()).await.unwrap();
    let app = lab.settled("app", "False", "InstallFailed").await;
    let told = condition(&app, "Ready").unwrap()["message"].to_string();
    assert!(told.contains("pre-install") && told.contains("app-work"), "{told}");
    assert!(lab.read(&config_maps(), "app-config").await.is_none(), "what comes after the hook was not made");
    let bindings = Resource::cluster_scoped("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings");
    assert!(lab.client.get_opt(&bindings, "", &lab.namespace).await.unwrap().is_none(), "a chart's crds folder gives no rights");
    lab.release("b", json!({"install": {"disableHooks": true}})).await;
    lab.settled("b", "True", "InstallSucceeded").await;
    end(process).await;
    lab.close().await;
}

// SEC-32.
#[tokio::test(flavor = "multi_thread")]
async fn lookup_sees_what_the_named_account_may_see() {
    let lab = Lab::open("lookup").await;
    let name = format!("{}-kept", lab.namespace);
    let kept = json!({"metadata": {"name": name, "namespace": "default"}, "stringData": {"token": "s3cret-of-others"}});
    lab.apply(&secrets(), kept).await;
    let config = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{{{ .Release.Name }}}}-config\ndata:\n  found: {{{{ (lookup \"v1\" \"Secret\" \"default\" \"{name}\").data.token | quote }}}}\n"
    );
    lab.chart("1.0.0", &[("templates/config.yaml", config.as_str())]).await;
    let rbac = |kind: &str, plural: &str| Resource::namespaced("rbac.authorization.k8s.io", "v1", kind, plural);
    let named = json!({"name": "tenant", "namespace": lab.namespace});
    lab.apply(&Resource::namespaced("", "v1", "ServiceAccount", "serviceaccounts"), json!({"metadata": named})).await;
    let rules = json!([{"apiGroups": [""], "resources": ["configmaps", "secrets"], "verbs": ["*"]}]);
    lab.apply(&rbac("Role", "roles"), json!({"metadata": named, "rules": rules})).await;
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "tenant"});
    let subject = json!({"kind": "ServiceAccount", "name": "tenant", "namespace": lab.namespace});
    lab.apply(&rbac("RoleBinding", "rolebindings"), json!({"metadata": named, "roleRef": role, "subjects": [subject]})).await;
    let process = lab.start(4).await;
    lab.release("tenant", json!({"serviceAccountName": "tenant"})).await;
    lab.release("own", json!({})).await;
    let is_refused = |object: &Value| condition(object, "Ready").is_some_and(|ready| ready["message"].to_string().contains("forbidden"));
    let tenant = lab.until(&releases(), "tenant", "is refused", is_refused).await;
    let told = tenant["status"].to_string();
    assert!(told.contains(&name) && !told.contains("s3cret"), "{told}");
    assert!(lab.read(&config_maps(), "tenant-config").await.is_none());
    // The controller's own account may read it: it was the account that made the difference.
    lab.settled("own", "True", "InstallSucceeded").await;
    assert_eq!(lab.read(&config_maps(), "own-config").await.unwrap()["data"]["found"], "czNjcmV0LW9mLW90aGVycw==");
    lab.client.delete(&secrets(), "default", &name, Delete::default()).await.unwrap();
    end(process).await;
    lab.close().await;
}

/// Helm itself, where it is installed: SLUICE_TEST_HELM4, or `helm` on PATH.
fn helm() -> Option<String> {
    let program = std::env::var("SLUICE_TEST_HELM4").unwrap_or_else(|_| "helm".to_owned());
    let version = Command::new(&program).arg("version").output().ok()?;
    String::from_utf8_lossy(&version.stdout).contains("v4").then_some(program)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_helm_reads_and_rolls_back_our_releases_and_its_own_are_adopted() {
    let Some(program) = helm() else {
        println!("SKIPPED: no Helm 4 (set SLUICE_TEST_HELM4, or put helm on PATH)");
        return;
    };
    let lab = Lab::open("helm").await;
    lab.chart("1.0.0", DEMO).await;
    let folder = tempfile::tempdir().unwrap();
    let (kubeconfig, chart) = (folder.path().join("kubeconfig"), folder.path().join("demo"));
    std::fs::write(&kubeconfig, lab.kubeconfig()).unwrap();
    std::fs::create_dir_all(chart.join("templates")).unwrap();
    std::fs::write(chart.join("Chart.yaml"), "apiVersion: v2\nname: demo\nversion: 1.0.0\nappVersion: '1'\n").unwrap();
    for (path, text) in DEMO {
        std::fs::write(chart.join(path), text).unwrap();
    }
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.args(arguments).args(["--namespace", &lab.namespace]).arg("--kubeconfig").arg(&kubeconfig).env("HOME", folder.path());
        let output = command.output().unwrap();
        assert!(output.status.success(), "helm {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let process = lab.start(4).await;
    lab.release("app", json!({})).await;
    lab.settled("app", "True", "InstallSucceeded").await;
    lab.release("app", json!({"values": {"message": "two"}})).await;
    lab.settled("app", "True", "UpgradeSucceeded").await;
    assert!(run(&["list"]).contains("demo-1.0.0"));
    let told = run(&["history", "app"]);
    assert!(told.contains("superseded") && told.contains("Upgrade complete"), "{told}");
    assert!(run(&["get", "all", "app"]).contains("message: two"));
    // Its own field manager is another one than ours, which server-side apply notices.
    run(&["rollback", "app", "1", "--force-conflicts"]);
    // What somebody else changed is released again.
    let app = lab.asked("app", "1").await;
    assert_eq!(history(&app), ["4 deployed"]);
    assert_eq!(lab.read(&config_maps(), "app-config").await.unwrap()["data"]["message"], "two");

    let path = chart.display().to_string();
    run(&["install", "b", &path, "--set", "message=theirs"]);
    let spec = json!({"interval": "1h", "chartRef": {"kind": "HelmChart", "name": "demo"}, "values": {"message": "theirs"}});
    let metadata = json!({"name": "b", "namespace": lab.namespace, "annotations": {"helm.sluice.dev/adopt": "in-place"}});
    lab.apply(&releases(), json!({"metadata": metadata, "spec": spec})).await;
    let b = lab.settled("b", "True", "InstallSucceeded").await;
    assert_eq!((history(&b), lab.states("b").await), (vec!["1 deployed".to_owned()], vec!["1 deployed".to_owned()]), "no new revision");
    end(process).await;
    lab.close().await;
}
