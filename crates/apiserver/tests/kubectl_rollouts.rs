//! kubectl's rollouts on the embedded server: its controllers and its simulated node, through the eyes of the real client.

#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

fn kubectl(kubeconfig: &std::path::Path, arguments: &[&str]) -> Output {
    Command::new("kubectl").arg("--kubeconfig").arg(kubeconfig).args(arguments).output().unwrap()
}

const DEPLOYMENT: &str = r#"{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 3,
  "selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}},
  "spec": {"containers": [{"name": "c", "image": "nginx:1"}]}}}}"#;
const JOB: &str = r#"{"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once"}, "spec":
  {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "busybox"}]}}}}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rollouts_are_watched_told_undone_and_restarted() {
    if Command::new("kubectl").arg("version").arg("--client").output().is_err() {
        println!("skipped: there is no kubectl");
        return;
    }
    let running = apiserver::Server::start(apiserver::Options::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig");
    running.write_kubeconfig(&path).unwrap();
    let done = tokio::task::spawn_blocking(move || {
        let run = |arguments: &[&str]| {
            let out = kubectl(&path, arguments);
            assert!(out.status.success(), "kubectl {arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
            String::from_utf8_lossy(&out.stdout).into_owned()
        };
        std::fs::write(folder.path().join("web.json"), DEPLOYMENT).unwrap();
        std::fs::write(folder.path().join("once.json"), JOB).unwrap();
        run(&["apply", "-f", folder.path().join("web.json").to_str().unwrap()]);
        let status = ["rollout", "status", "deployment/web", "--timeout=30s"];
        assert!(run(&status).contains("successfully rolled out"));
        run(&["set", "image", "deployment/web", "c=nginx:2"]);
        run(&status);
        let history = run(&["rollout", "history", "deployment/web"]);
        assert!(history.contains("\n1 ") && history.contains("\n2 "), "{history}");
        run(&["rollout", "undo", "deployment/web"]);
        run(&status);
        assert_eq!(run(&["get", "deployment/web", "-o", "jsonpath={.spec.template.spec.containers[0].image}"]), "nginx:1");
        run(&["rollout", "restart", "deployment/web"]);
        run(&status);
        run(&["rollout", "pause", "deployment/web"]);
        run(&["rollout", "resume", "deployment/web"]);
        run(&["scale", "deployment/web", "--replicas=1"]);
        run(&status);
        run(&["wait", "--for=condition=Available", "deployment/web", "--timeout=30s"]);
        assert_eq!(run(&["get", "pods", "-l", "app=web", "-o", "name"]).lines().count(), 1);
        // A rollout that fails is told as failed, not waited for.
        run(&["set", "image", "deployment/web", "c=sluice.dev/fail:1"]);
        let failed = kubectl(&path, &status);
        assert!(!failed.status.success());
        assert!(String::from_utf8_lossy(&failed.stderr).contains("exceeded its progress deadline"));
        run(&["apply", "-f", folder.path().join("once.json").to_str().unwrap()]);
        run(&["wait", "--for=condition=Complete", "job/once", "--timeout=30s"]);
        run(&["delete", "deployment/web", "--cascade=foreground", "--timeout=30s"]);
        assert_eq!(run(&["get", "pods,replicasets", "-l", "app=web", "-o", "name"]), "");
    });
    done.await.unwrap();
    running.shutdown().await;
}
