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
        .args(["--seconds", "120", "--controllers", "", "--ready-after", "never", "--snapshot-after", "65536", "--data-dir"])
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

/// One of several that write at the same time: an object with a counter, and others that come and go.
#[derive(Default, Clone, Copy)]
struct Writer {
    number: usize,
    /// The counter that was answered last, and the one that was asked for last.
    answered: u64,
    asked: u64,
    /// The same of the objects that are made, and of those that are removed.
    made: u64,
    making: u64,
    removed: u64,
    removing: u64,
}

impl Writer {
    fn path(&self) -> String {
        format!("/api/v1/namespaces/default/configmaps/counter-{}", self.number)
    }

    async fn send(&self, access: &Access, method: &str, path: &str, body: &Value) -> Option<u16> {
        let call = access.client.request(method.parse().unwrap(), format!("{}{path}", access.base)).bearer_auth(&access.token);
        let form = if method == "PATCH" { "application/apply-patch+yaml" } else { "application/json" };
        let call = call.header("content-type", form).body(body.to_string());
        Some(call.send().await.ok()?.status().as_u16())
    }

    /// Writes until the server is gone.
    async fn write(mut self, access: &Access) -> Self {
        loop {
            self.asked += 1;
            let mut counter = config_map(&format!("counter-{}", self.number));
            counter["data"]["count"] = json!(self.asked.to_string());
            match self.send(access, "PATCH", &format!("{}?fieldManager=t&force=true", self.path()), &counter).await {
                Some(200 | 201) => self.answered = self.asked,
                Some(other) => panic!("{other}"),
                None => return self,
            }
            // One that was asked for and not answered is asked for again: it may be there or not.
            self.making = self.made + 1;
            let path = |at: u64| format!("/api/v1/namespaces/default/configmaps/one-{}-{at}", self.number);
            let one = config_map(&format!("one-{}-{}", self.number, self.making));
            match self.send(access, "PATCH", &format!("{}?fieldManager=t&force=true", path(self.making)), &one).await {
                Some(200 | 201) => self.made = self.making,
                Some(other) => panic!("{other}"),
                None => return self,
            }
            // Two stay behind, so that there is something to find.
            if self.made > self.removed + 2 {
                self.removing = self.removed + 1;
                match self.send(access, "DELETE", &path(self.removing), &json!({})).await {
                    Some(200 | 404) => self.removed = self.removing,
                    Some(other) => panic!("{other}"),
                    None => return self,
                }
            }
        }
    }

    fn check(&self, there: &[Value]) {
        let find = |name: String| there.iter().find(|item| item["metadata"]["name"] == name);
        if self.answered > 0 {
            let counter = find(format!("counter-{}", self.number)).expect("the counter was made");
            let count: u64 = counter["data"]["count"].as_str().unwrap().parse().unwrap();
            assert!(count >= self.answered && count <= self.asked, "{count} is not within {} and {}", self.answered, self.asked);
        }
        for at in 1..=self.made {
            let found = find(format!("one-{}-{at}", self.number)).is_some();
            if at <= self.removed {
                assert!(!found, "one-{}-{at} was removed and is there", self.number);
            } else if at != self.removing {
                assert!(found, "one-{}-{at} was made and is gone", self.number);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_the_server_loses_no_acknowledged_write() {
    if !program().exists() {
        println!("skipped: examples/serve is not built (run all tests of the crate)");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (data, kubeconfig) = (directory.path().join("data"), directory.path().join("kubeconfig"));
    let mut writers: Vec<Writer> = (0..6).map(|number| Writer { number, ..Writer::default() }).collect();
    for round in 0..8_u64 {
        let mut child = start(&data, &kubeconfig);
        let access = Access::of_kubeconfig(&std::fs::read_to_string(&kubeconfig).unwrap());
        let list = get(&access, "/api/v1/namespaces/default/configmaps").await.unwrap();
        let there = list["items"].as_array().unwrap();
        writers.iter().for_each(|writer| writer.check(there));
        // Killed in the middle of writing, a little later each time.
        let pid = child.id();
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(30 + 35 * round));
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        });
        writers = futures::future::join_all(writers.iter().map(|writer| writer.write(&access))).await;
        killer.join().unwrap();
        child.wait().unwrap();
    }
    let made: u64 = writers.iter().map(|writer| writer.made).sum();
    let size: u64 = std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    println!("{made} objects were made and counters raised; the directory holds {size} bytes");
    assert!(made > 0, "nothing was written before the kill");
    assert!(size < 2 << 20, "logs are replaced by snapshots: {size}");
}
