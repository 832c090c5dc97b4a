//! Pushing to the real `git http-backend`.

#![allow(clippy::unwrap_used)]

use git::push::{Author, Edit, NewCommit, Pushed};
use git::{Access, Address, Client, Credentials, Error};
use std::time::Duration;
use testing::git::{Behaviour, Repository, Server, basic};
use tree::Tree;

const TIMEOUT: Duration = Duration::from_secs(20);

struct World {
    server: Server,
    client: Client,
    repository: Repository,
    _cache: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
}

type Edits<'a> = dyn FnMut(&dyn Tree) -> Result<Vec<Edit>, String> + 'a;

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let cache = tempfile::tempdir().unwrap();
        let client = Client::new(runtime.handle().clone(), cache.path().join("git"));
        let server = Server::start();
        let repository = server.repository("app");
        repository.git(&["config", "http.receivepack", "true"], b"");
        Self { server, client, repository, _cache: cache, _runtime: runtime }
    }

    fn push(&self, commit: &NewCommit, edits: &mut Edits<'_>) -> Result<Option<Pushed>, Error> {
        self.push_as(commit, edits, &Access::default())
    }

    fn push_as(&self, commit: &NewCommit, edits: &mut Edits<'_>, access: &Access) -> Result<Option<Pushed>, Error> {
        let address = Address::parse(&self.server.url("app")).unwrap().0;
        self.client.commit_and_push(&address, access, TIMEOUT, commit, edits)
    }

    fn show(&self, what: &str) -> String {
        self.repository.git(&["show", what], b"")
    }
}

fn commit(branch: &str) -> NewCommit {
    NewCommit {
        branch: branch.into(),
        base: None,
        message: "Update\n\nmore\n".into(),
        author: Author { name: "Flux <x>".into(), email: "flux@example.com".into() },
        seconds: 1_700_000_000,
    }
}

fn write(path: &str, content: &str) -> Edit {
    Edit::Write { path: path.into(), content: content.to_owned().into(), executable: false }
}

#[test]
fn a_commit_stands_on_what_is_there_and_changes_only_what_it_says() {
    let world = World::new();
    let first = world.repository.commit("main", &[("a.yaml", "a"), ("deep/b.yaml", "b"), ("run.sh*", "r"), ("old/x", "x")], "first");
    let mut edits = |files: &dyn Tree| {
        assert_eq!(files.read("a.yaml").as_deref(), Some(&b"a"[..]));
        Ok(vec![write("deep/b.yaml", "B"), write("new/c.yaml", "c"), Edit::Remove { path: "old".into() }])
    };
    let pushed = world.push(&commit("main"), &mut edits).unwrap().unwrap();
    assert_eq!(pushed.parent.as_deref(), Some(first.as_str()));
    assert_eq!(world.repository.git(&["rev-parse", "main"], b""), pushed.commit);
    assert_eq!(world.repository.git(&["ls-tree", "-r", "--name-only", "main"], b""), "a.yaml\ndeep/b.yaml\nnew/c.yaml\nrun.sh");
    assert_eq!((world.show("main:deep/b.yaml"), world.show("main:a.yaml")), ("B".into(), "a".into()));
    assert_eq!(
        world.repository.git(&["log", "-1", "--format=%an|%ae|%at|%B", "main"], b""),
        "Flux x|flux@example.com|1700000000|Update\n\nmore"
    );
    world.repository.git(&["fsck", "--strict"], b"");
    assert_eq!(world.push(&commit("main"), &mut |_| Ok(vec![write("deep/b.yaml", "B")])).unwrap(), None, "nothing changed: no commit");
}

#[test]
fn an_empty_repository_gets_its_first_commit_and_new_branches_start_from_others() {
    let world = World::new();
    let pushed = world.push(&commit("main"), &mut |_| Ok(vec![write("a", "1")])).unwrap().unwrap();
    assert_eq!(pushed.parent, None);
    let branch = NewCommit { base: Some("main".into()), ..commit("flux/updates") };
    let on_top = world.push(&branch, &mut |_| Ok(vec![write("b", "2")])).unwrap().unwrap();
    assert_eq!(on_top.parent, Some(pushed.commit.clone()));
    assert_eq!(world.repository.git(&["ls-tree", "--name-only", "flux/updates"], b""), "a\nb");
    let plain = NewCommit { base: Some("main".into()), ..commit("copy") };
    assert_eq!(world.push(&plain, &mut |_| Ok(vec![])).unwrap().unwrap().commit, pushed.commit, "the branch points at its base");
    let missing = NewCommit { base: Some("none".into()), ..commit("other") };
    let told = types::chain(&world.push(&missing, &mut |_| Ok(vec![])).unwrap_err());
    assert!(told.ends_with("couldn't find remote ref \"refs/heads/none\""), "{told}");
}

#[test]
fn a_branch_that_moves_meanwhile_is_committed_to_anew_and_nobody_is_overwritten() {
    let world = World::new();
    world.repository.commit("main", &[("a", "1")], "first");
    let mut rounds = 0;
    let mut edits = |files: &dyn Tree| {
        rounds += 1;
        if rounds == 1 {
            // Somebody else is faster.
            world.repository.commit("main", &[("a", "theirs")], "theirs");
        }
        let now = String::from_utf8_lossy(&files.read("a").unwrap()).into_owned();
        Ok(vec![write("seen", &now)])
    };
    let pushed = world.push(&commit("main"), &mut edits).unwrap().unwrap();
    assert_eq!((rounds, world.show("main:seen"), world.show("main:a")), (2, "theirs".into(), "theirs".into()));
    assert_eq!(world.repository.git(&["rev-parse", "main^"], b""), pushed.parent.unwrap());
    let mut always = |_: &dyn Tree| {
        world.repository.commit("main", &[("a", "again")], "again");
        Ok(vec![write("x", "y")])
    };
    let told = world.push(&commit("main"), &mut always).unwrap_err().to_string();
    assert!(told.ends_with("branch 'main' moved 4 times meanwhile"), "{told}");
}

#[test]
fn refusals_are_told_plainly() {
    let world = World::new();
    world.repository.commit("main", &[("a", "1")], "first");
    let told = |outcome: Result<Option<Pushed>, Error>| types::chain(&outcome.unwrap_err());
    assert!(told(world.push(&commit("main"), &mut |_| Err("no such file".into()))).ends_with("no such file"));
    assert!(told(world.push(&commit("main"), &mut |_| Ok(vec![write("../x", "")]))).contains("\"../x\" is not allowed"));
    assert_eq!(told(world.push(&commit("a..b"), &mut |_| Ok(vec![]))), "'a..b' is no name of a branch");
    let hook = world.repository.path().join("hooks/pre-receive");
    std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
    std::fs::write(&hook, "#!/bin/sh\nexit 1\n").unwrap();
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let refused = told(world.push(&commit("main"), &mut |_| Ok(vec![write("b", "2")])));
    assert!(refused.ends_with("refs/heads/main was rejected: pre-receive hook declined"), "{refused}");
    std::fs::remove_file(hook).unwrap();
    world.repository.git(&["config", "http.receivepack", "false"], b"");
    let forbidden = told(world.push(&commit("main"), &mut |_| Ok(vec![write("b", "2")])));
    assert!(forbidden.contains("unable to push to") && forbidden.contains("authorization failed"), "{forbidden}");
    world.server.behave(Behaviour { authorization: Some(basic("u", "s3cret")), ..Behaviour::default() });
    let asked = told(world.push(&commit("main"), &mut |_| Ok(vec![write("b", "2")])));
    assert!(asked.contains("authentication required"), "{asked}");
    world.repository.git(&["config", "http.receivepack", "true"], b"");
    let credentials = Some(Credentials::Basic { username: "u".into(), password: "s3cret".into() });
    let access = Access { credentials, ..Access::default() };
    assert!(world.push_as(&commit("main"), &mut |_| Ok(vec![write("b", "2")]), &access).unwrap().is_some());
}
