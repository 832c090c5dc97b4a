//! A cluster that follows a repository, controllers included: bootstrapped, bootstrapped again, and taken out.

#![allow(clippy::unwrap_used)]

use e2e::{GitServer, House, Options, Repository, binary};
use std::process::{Command, Output};
use testing::sshd::Sshd;

struct Bootstrap<'a> {
    house: &'a House,
    url: String,
    /// Flags of every run.
    flags: Vec<String>,
}

impl Bootstrap<'_> {
    fn run(&self, more: &[&str]) -> Output {
        let mut command = Command::new(binary("sluice"));
        command
            .args(["bootstrap", "git", "--url", &self.url, "--timeout", "60s", "--author-email", "flux@example.com"])
            .args(&self.flags)
            .args(more);
        command.env("KUBECONFIG", &self.house.kubeconfig).env("GIT_PASSWORD", "s3cret-pass").output().unwrap()
    }

    fn succeed(&self, more: &[&str]) -> String {
        let output = self.run(more);
        let told = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{told}");
        assert!(!told.contains("s3cret-pass"), "{told}");
        told
    }

    fn fail(&self, more: &[&str]) -> String {
        let output = self.run(more);
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

/// Deployments become ready only where nodes are simulated.
fn without_nodes() -> bool {
    let without = std::env::var_os("SLUICE_TEST_KUBECONFIG").is_some();
    if without {
        println!("SKIPPED: Deployments become ready only where nodes are simulated");
    }
    without
}

fn commits(repository: &Repository) -> Vec<String> {
    repository.git(&["fetch", "-q", "origin", "main"]);
    repository.git(&["log", "--format=%s", "FETCH_HEAD"]).lines().map(str::to_owned).collect()
}

#[test]
fn a_repository_is_bootstrapped_once_and_a_second_time_makes_no_commit() {
    if without_nodes() {
        return;
    }
    let server = GitServer::start_with(Some(("git", "s3cret-pass")));
    let repository = server.repository("fleet");
    let config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: of-the-fleet, namespace: default}\n";
    repository.write("clusters/dev/config.yaml", config).push("what the cluster runs");
    let house = House::start(Options::default());
    let bootstrap = Bootstrap { house: &house, url: server.url("fleet"), flags: Vec::new() };

    let told = bootstrap.fail(&["--path", "clusters/dev"]);
    assert!(told.contains("--allow-insecure-http") && !told.contains("s3cret"), "{told}");
    let flags = ["--path", "./clusters/dev/", "--allow-insecure-http"];
    let planned = bootstrap.succeed(&[&flags[..], &["--plan"]].concat());
    assert!(
        planned.contains("clusters/dev/flux-system/gotk-sync.yaml") && planned.contains("Deployment/flux-system/source-controller"),
        "{planned}"
    );
    assert_eq!(commits(&repository), ["what the cluster runs"], "a plan changes nothing");

    bootstrap.succeed(&flags);
    let made = commits(&repository);
    assert_eq!(made.len(), 3, "{made:?}");
    assert_eq!(made[0], "Add Flux sync manifests");
    assert!(made[1].starts_with("Add Flux v") && made[1].ends_with(" component manifests"));
    assert!(house.get("configmap", "default", "of-the-fleet").is_some(), "what lies beside the manifests is reconciled too");
    let sync = house.until_ready("kustomization", "flux-system", "flux-system", "True");
    let entries = sync["status"]["inventory"]["entries"].as_array().unwrap();
    assert!(
        entries.iter().any(|entry| entry["id"] == "flux-system_source-controller_apps_Deployment"),
        "the controllers reconcile themselves"
    );

    let again = bootstrap.succeed(&flags);
    assert!(again.contains("component manifests are up to date") && again.contains("sync manifests are up to date"), "{again}");
    assert_eq!(commits(&repository).len(), 3);

    // Other paths, and paths of other clusters, are not taken by accident.
    let other = bootstrap.fail(&["--path", "clusters/prod", "--allow-insecure-http"]);
    assert!(other.contains("would overwrite path ('./clusters/dev')"), "{other}");
    let second = House::start(Options::default());
    let elsewhere = Bootstrap { house: &second, url: server.url("fleet"), flags: Vec::new() }.fail(&flags);
    assert!(elsewhere.contains("belongs to another cluster"), "{elsewhere}");

    let uninstall = Command::new(binary("sluice")).args(["uninstall", "--silent"]).env("KUBECONFIG", &house.kubeconfig).output().unwrap();
    assert!(uninstall.status.success(), "{}", String::from_utf8_lossy(&uninstall.stderr));
    assert!(house.get("configmap", "default", "of-the-fleet").is_some(), "what was applied stays");
}

#[test]
fn over_ssh_a_real_server_is_read_and_written_and_a_second_time_makes_no_commit() {
    let (false, Some(sshd)) = (without_nodes(), Sshd::start(&["ed25519"])) else { return };
    let bare = testing::git::Repository::open(&sshd.folder().join("fleet.git"));
    let config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: of-the-fleet, namespace: default}\n";
    bare.commit("main", &[("clusters/dev/config.yaml", config)], "what the cluster runs");
    let (key, known, other) = (sshd.folder().join("deploy"), sshd.folder().join("known"), sshd.folder().join("other"));
    std::fs::write(&key, sshd.key("ed25519", "s3cret-pass", &[])).unwrap();
    std::fs::write(&known, sshd.known_hosts("ed25519")).unwrap();
    // The same host with the key of somebody else.
    let hosts = Sshd::start(&["ed25519"]).unwrap().known_hosts("ed25519");
    let (_, theirs) = hosts.split_once(' ').unwrap();
    std::fs::write(&other, format!("[127.0.0.1]:{} {theirs}", sshd.port())).unwrap();
    let house = House::start(Options::default());
    let text = |path: &std::path::Path| path.display().to_string();
    let url = format!("ssh://{}@127.0.0.1:{}{}", sshd.user(), sshd.port(), text(bare.path()));
    let flags = ["--path", "clusters/dev", "--password", "s3cret-pass", "--private-key-file", &text(&key)].map(str::to_owned).to_vec();
    let bootstrap = Bootstrap { house: &house, url, flags };
    let commits = || bare.git(&["log", "--format=%s", "main"], b"").lines().map(str::to_owned).collect::<Vec<_>>();

    let refused = bootstrap.fail(&["--known-hosts-file", &text(&other)]);
    assert!(refused.contains("key mismatch"), "{refused}");
    assert_eq!(commits(), ["what the cluster runs"]);
    let known = text(&known);
    bootstrap.succeed(&["--known-hosts-file", &known]);
    let made = commits();
    assert_eq!((made.len(), made[0].as_str()), (3, "Add Flux sync manifests"), "{made:?}");
    // The controllers read the repository over ssh as well, with the same key.
    let source = house.until_ready("gitrepository", "flux-system", "flux-system", "True");
    assert!(source["spec"]["url"].as_str().is_some_and(|url| url.starts_with("ssh://")));
    assert!(house.get("configmap", "default", "of-the-fleet").is_some());
    let again = bootstrap.succeed(&["--known-hosts-file", &known]);
    assert!(again.contains("component manifests are up to date") && again.contains("sync manifests are up to date"), "{again}");
    assert_eq!(commits().len(), 3, "the second run makes no commit");
}
