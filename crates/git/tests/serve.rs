//! The read-only server, asked by the real `git` and by our own client.

#![allow(clippy::unwrap_used)]

use git::{Access, Address, Client, FetchOptions, Reference, serve, write};
use std::{path::Path, process::Command, time::Duration};
use testing::git::Repository;
use tree::{MemoryTree, Tree};

struct World {
    folder: tempfile::TempDir,
    url: String,
    runtime: tokio::runtime::Runtime,
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir(&root).unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}/app.git", listener.local_addr().unwrap());
        runtime.spawn(serve::serve(listener, root, std::future::pending()));
        Self { folder, url, runtime }
    }

    fn repository(&self) -> Repository {
        Repository::open(&self.folder.path().join("root/app.git"))
    }

    /// Runs `git` in the scratch folder.
    fn git(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new("git")
            .args(arguments)
            .current_dir(self.folder.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }
}

fn head(path: &Path) -> String {
    Repository::open(path).git(&["rev-parse", "HEAD"], b"")
}

#[test]
fn git_clones_whole_shallow_and_later_fetches_what_is_new() {
    let world = World::new();
    let repository = world.repository();
    let large = "line of a large file\n".repeat(20_000);
    repository.commit("main", &[("a/b.yaml", "1"), ("large", &large)], "one");
    let two = repository.commit("main", &[("a/b.yaml", "2"), ("large", &large), ("run*", "x")], "two");
    repository.tag("v1", &two, Some("annotated"));
    world.git(&["clone", "--quiet", &world.url, "whole"]).unwrap();
    let whole = world.folder.path().join("whole");
    assert_eq!(std::fs::read_to_string(whole.join("a/b.yaml")).unwrap(), "2");
    assert_eq!(world.git(&["-C", "whole", "rev-list", "--count", "HEAD"]).unwrap(), "2");
    assert_eq!(world.git(&["-C", "whole", "fsck", "--strict"]).unwrap(), "");
    assert_eq!(world.git(&["-C", "whole", "describe"]).unwrap(), "v1");

    world.git(&["clone", "--quiet", "--depth=1", &world.url, "shallow"]).unwrap();
    assert_eq!(world.git(&["-C", "shallow", "rev-list", "--count", "HEAD"]).unwrap(), "1");
    let three = repository.commit("main", &[("a/b.yaml", "3")], "three");
    world.git(&["-C", "shallow", "pull", "--quiet", "--ff-only"]).unwrap();
    world.git(&["-C", "whole", "pull", "--quiet", "--ff-only"]).unwrap();
    assert_eq!(world.git(&["-C", "shallow", "rev-parse", "HEAD"]).unwrap(), three);
    assert_eq!(world.git(&["-C", "whole", "rev-list", "--count", "HEAD"]).unwrap(), "3");
    assert_eq!(world.git(&["-C", "whole", "fsck"]).unwrap(), "");
}

#[test]
fn saved_states_of_a_folder_are_fetched_by_our_own_client() {
    let world = World::new();
    let path = world.folder.path().join("root/app.git");
    let client = Client::new(world.runtime.handle().clone(), world.folder.path().join("cache"));
    let address = Address::parse(&world.url).unwrap().0;
    for (n, text) in ["one", "two", "three"].into_iter().enumerate() {
        let tree = MemoryTree::from_iter([("deploy/app.yaml", text), ("other", "same")]);
        let commit = write::commit_tree(&path, &tree, text, 1_700_000_000 + n as i64).unwrap();
        let reference = Reference::Branch(write::BRANCH.to_owned());
        let checkout = client.fetch(&address, &reference, &Access::default(), Duration::from_secs(20), &FetchOptions::default()).unwrap();
        assert_eq!(checkout.revision.to_string(), format!("main@sha1:{commit}"));
        assert_eq!(checkout.tree.read("deploy/app.yaml").as_deref(), Some(text.as_bytes()));
    }
    assert_eq!(Repository::open(&path).git(&["rev-list", "--count", "main"], b""), "3");
    assert_eq!(head(&path).len(), 40);
}

#[test]
fn pushes_unknown_repositories_and_old_protocols_are_refused() {
    let world = World::new();
    world.repository().commit("main", &[("f", "1")], "one");
    world.git(&["clone", "--quiet", &world.url, "clone"]).unwrap();
    assert!(world.git(&["-C", "clone", "push", "--quiet", "origin", "HEAD:refs/heads/other"]).unwrap_err().contains("403"));
    let other = world.url.replace("app.git", "nope.git");
    assert!(world.git(&["ls-remote", &other]).unwrap_err().contains("not found"));
    let outside = world.url.replace("app.git", "..%2f..%2fapp.git");
    assert!(world.git(&["ls-remote", &outside]).is_err());
    assert!(world.git(&["-c", "protocol.version=0", "ls-remote", &world.url]).is_err());
    assert!(
        world
            .git(&["-C", "clone", "fetch", "--quiet", "origin", "1234567890123456789012345678901234567890"])
            .unwrap_err()
            .contains("not our ref")
    );
}
