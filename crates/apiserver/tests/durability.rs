//! A data directory after the worst.

#![allow(clippy::unwrap_used)]

mod client;

use apiserver::{Options, Server};
use client::Access;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"text": "x".repeat(300)}})
}

async fn create(access: &Access, name: &str) -> Option<u16> {
    let call = access.client.post(format!("{}/api/v1/namespaces/default/configmaps", access.base)).bearer_auth(&access.token);
    let call = call.header("content-type", "application/json").body(config_map(name).to_string());
    Some(call.send().await.ok()?.status().as_u16())
}

async fn get(access: &Access, path: &str) -> Option<Value> {
    let answer = access.client.get(format!("{}{path}", access.base)).bearer_auth(&access.token).send().await.ok()?;
    serde_json::from_str(&answer.text().await.ok()?).ok()
}

#[tokio::test]
async fn a_restart_keeps_objects_certificate_and_token() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { data_dir: Some(directory.path().to_owned()), ..Options::default() };
    let first = Server::start(options.clone()).await.unwrap();
    let (ca, token, address) = (first.ca.clone(), first.token.clone(), first.address);
    let access = Access::of_kubeconfig(&first.kubeconfig());
    assert_eq!(create(&access, "kept").await, Some(201));
    let before = get(&access, "/api/v1/namespaces/default/configmaps/kept").await.unwrap();
    first.shutdown().await;
    let second = Server::start(Options { listen: address, ..options }).await.unwrap();
    assert_eq!((&second.ca, &second.token), (&ca, &token));
    // The old kubeconfig still works, and nothing has changed.
    assert_eq!(get(&access, "/api/v1/namespaces/default/configmaps/kept").await, Some(before));
    assert_eq!(create(&access, "kept").await, Some(409));
    second.shutdown().await;
}

/// The program of `examples/serve.rs`, which cargo builds along with the tests.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(Path::parent).unwrap().join("examples/serve")
}

fn start(directory: &Path, kubeconfig: &Path) -> Child {
    let _ = std::fs::remove_file(kubeconfig);
    let mut command = Command::new(program());
    command
        .args(["--seconds", "120", "--controllers", "", "--ready-after", "never", "--data-dir"])
        .arg(directory)
        .arg("--write-kubeconfig")
        .arg(kubeconfig);
    let child = command.stdout(Stdio::null()).spawn().expect("examples/serve can be started");
    let begin = Instant::now();
    while !kubeconfig.exists() {
        assert!(begin.elapsed() < Duration::from_secs(60), "the server did not become ready");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_the_server_loses_no_acknowledged_write() {
    if !program().exists() {
        println!("skipped: examples/serve is not built (run all tests of the crate)");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (data, kubeconfig) = (directory.path().join("data"), directory.path().join("kubeconfig"));
    let mut acknowledged: Vec<String> = Vec::new();
    for round in 0..5 {
        let mut child = start(&data, &kubeconfig);
        let access = Access::of_kubeconfig(&std::fs::read_to_string(&kubeconfig).unwrap());
        let list = get(&access, "/api/v1/namespaces/default/configmaps").await.unwrap();
        let names: Vec<&str> = list["items"].as_array().unwrap().iter().filter_map(|i| i["metadata"]["name"].as_str()).collect();
        for name in &acknowledged {
            assert!(names.contains(&name.as_str()), "{name} was acknowledged and is gone");
        }
        // Killed in the middle of writing, a little later each time.
        let pid = child.id();
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(30 + 40 * round));
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        });
        for number in 0.. {
            let name = format!("c-{round}-{number}");
            match create(&access, &name).await {
                Some(201) => acknowledged.push(name),
                Some(other) => panic!("{other}"),
                None => break,
            }
        }
        killer.join().unwrap();
        child.wait().unwrap();
    }
    assert!(!acknowledged.is_empty(), "nothing was written before the kill");
}
