//! `sluice up`: the main job in one command, as a newcomer types it.

#![allow(clippy::unwrap_used)]

use e2e::{GitServer, Process, binary, until};
use std::{
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};

fn example() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/podinfo/.");
    assert!(Command::new("cp").arg("-a").arg(from).arg(folder.path()).status().unwrap().success());
    folder
}

fn up(arguments: &[&str]) -> Output {
    Command::new(binary("sluice")).arg("up").args(arguments).args(["--exit-when-ready", "--ready-after", "100ms"]).output().unwrap()
}

fn kubectl(kubeconfig: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("kubectl").arg("--kubeconfig").arg(kubeconfig).args(arguments).output().map_err(|e| e.to_string())?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

#[test]
fn the_example_becomes_ready_and_every_object_is_listed() {
    let folder = example();
    let started = Instant::now();
    let output = up(&[folder.path().to_str().unwrap(), "--timeout", "60s"]);
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
    let folder = example();
    let output = up(&[folder.path().to_str().unwrap(), "--timeout", "60s", "-o", "json", "--quiet"]);
    assert!(output.status.success());
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(rows.as_array().unwrap().iter().any(|row| row["object"] == "Deployment/podinfo/podinfo" && row["status"] == "Current"));
    assert!(output.stderr.is_empty(), "quiet means quiet: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_is_not_ready_in_time_is_named_with_its_reason() {
    let folder = example();
    std::fs::write(folder.path().join("apps/podinfo/dev/broken.yaml"), "kind: [\n").unwrap();
    let file = folder.path().join("apps/podinfo/dev/kustomization.yaml");
    let text = std::fs::read_to_string(&file).unwrap().replace("- autoscaler.yaml", "- broken.yaml");
    std::fs::write(file, text).unwrap();
    let output = up(&[folder.path().to_str().unwrap(), "--timeout", "8s"]);
    assert_eq!(output.status.code(), Some(1));
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    let after = &why[why.find("not everything is ready").expect("it says so")..];
    assert!(after.contains("Kustomization/flux-system/apps") && after.contains("broken.yaml"), "{after}");
}

#[test]
fn a_target_that_is_nothing_is_refused_at_once() {
    let output = up(&["/no/such/place"]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("/no/such/place"));
}

#[test]
fn a_saved_file_is_applied_at_once_and_the_end_is_clean() {
    let (folder, state) = (example(), tempfile::tempdir().unwrap());
    let kubeconfig = state.path().join("kubeconfig");
    let mut command = Command::new(binary("sluice"));
    command.arg("up").arg(folder.path()).arg("--write-kubeconfig").arg(&kubeconfig).args(["--ready-after", "0s"]);
    let mut up = Process::start("up", state.path(), &mut command);
    let replicas = |wanted: &str| {
        until(&format!("{wanted} replicas"), || {
            let found = kubectl(&kubeconfig, &["get", "deployment", "podinfo", "-n", "podinfo", "-o", "jsonpath={.spec.replicas}"])?;
            if found == wanted { Ok(()) } else { Err(found) }
        });
    };
    replicas("2");
    until("everything to be ready", || if up.log().contains("Ctrl-C stops") { Ok(()) } else { Err("not yet".to_owned()) });
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&kubeconfig).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "a kubeconfig holds a token");
    let file = folder.path().join("apps/podinfo/dev/kustomization.yaml");
    let text = std::fs::read_to_string(&file).unwrap().replace("count: 2", "count: 3");
    let saved = Instant::now();
    std::fs::write(&file, text).unwrap();
    replicas("3");
    let took = saved.elapsed();
    println!("applied {took:?} after saving (kubectl's own start included)");
    assert!(took < Duration::from_secs(10), "a saved file took {took:?}");
    assert!(up.terminate(), "it leaves when asked to");
    assert!(!kubeconfig.exists(), "a kubeconfig of a server that is gone helps nobody");
}

#[test]
fn a_git_url_is_followed_commit_by_commit() {
    let (server, folder, state) = (GitServer::start(), example(), tempfile::tempdir().unwrap());
    let repository = server.repository("platform");
    repository.copy(folder.path()).push("first");
    let kubeconfig = state.path().join("kubeconfig");
    let mut command = Command::new(binary("sluice"));
    command.arg("up").arg(server.url("platform")).arg("--write-kubeconfig").arg(&kubeconfig).args(["--ready-after", "0s"]);
    let _up = Process::start("up", state.path(), &mut command);
    let message = |wanted: &str| {
        until(wanted, || {
            let found = kubectl(
                &kubeconfig,
                &["get", "kustomization", "apps", "-n", "flux-system", "-o", "jsonpath={.status.lastAppliedRevision}"],
            )?;
            if found.ends_with(wanted) { Ok(()) } else { Err(found) }
        });
    };
    message(repository.git(&["rev-parse", "HEAD"]).trim());
    let second = repository.write("apps/podinfo/dev/more.yaml", "# nothing\n").push("second");
    message(&second);
}
