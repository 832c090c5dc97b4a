//! Fetching and pushing over the real OpenSSH server.

#![allow(clippy::unwrap_used)]

use git::push::{Author, Edit, NewCommit};
use git::{Access, Address, Checkout, Client, Credentials, Error, FetchOptions, Reference};
use std::time::Duration;
use testing::{git::Repository, sshd::Sshd};
use tree::Tree;

const TIMEOUT: Duration = Duration::from_secs(20);

struct World {
    sshd: Sshd,
    client: Client,
    repository: Repository,
    _cache: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
}

impl World {
    fn new(host_keys: &[&str]) -> Option<Self> {
        let sshd = Sshd::start(host_keys)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let cache = tempfile::tempdir().unwrap();
        let client = Client::new(runtime.handle().clone(), cache.path().join("git"));
        let repository = Repository::open(&sshd.folder().join("it's app.git"));
        Some(Self { sshd, client, repository, _cache: cache, _runtime: runtime })
    }

    fn url(&self) -> String {
        let path = self.repository.path().to_string_lossy().replace(' ', "%20");
        format!("ssh://{}@127.0.0.1:{}{path}", self.sshd.user(), self.sshd.port())
    }

    fn access(&self, identity: Vec<u8>, passphrase: Option<&str>, known_hosts: &str) -> Access {
        let passphrase = passphrase.map(str::to_owned);
        let credentials = Credentials::Ssh { identity, known_hosts: known_hosts.as_bytes().to_vec(), passphrase };
        Access { credentials: Some(credentials), ..Access::default() }
    }

    fn fetch(&self, url: &str, access: &Access) -> Result<Checkout, Error> {
        let address = Address::parse(url).unwrap().0;
        self.client.fetch(&address, &Reference::Branch("main".into()), access, TIMEOUT, &FetchOptions::default())
    }

    fn failure(&self, url: &str, access: &Access) -> String {
        types::chain(&self.fetch(url, access).err().expect("it must fail"))
    }
}

#[test]
fn every_kind_of_key_opens_a_repository_and_the_next_commit_is_a_delta() {
    let Some(world) = World::new(&["ed25519", "ecdsa", "rsa"]) else { return };
    let kinds: [(&str, &str, &str, &[&str]); 5] = [
        ("ed25519", "", "ed25519", &[]),
        ("ecdsa", "", "ecdsa", &["-b", "384"]),
        ("rsa", "", "rsa", &["-b", "2048"]),
        ("rsa", "", "ed25519", &["-b", "2048", "-m", "PEM"]),
        ("ed25519", "a passphrase", "ecdsa", &[]),
    ];
    for (kind, passphrase, host_key, more) in kinds {
        let commit = world.repository.commit("main", &[("a.yaml", "a: 1"), ("sub/b.yaml", kind)], kind);
        let identity = world.sshd.key(kind, passphrase, more);
        let access = world.access(identity, Some(passphrase), &world.sshd.known_hosts(host_key));
        let checkout = world.fetch(&world.url(), &access).unwrap_or_else(|e| panic!("{kind}: {}", types::chain(&e)));
        assert_eq!(checkout.revision.to_string(), format!("main@sha1:{commit}"));
        assert_eq!(checkout.tree.read("sub/b.yaml").as_deref(), Some(kind.as_bytes()));
    }
}

#[test]
fn hosts_and_people_that_nobody_knows_are_refused() {
    let Some(world) = World::new(&["ed25519"]) else { return };
    world.repository.commit("main", &[("a", "1")], "one");
    let (url, known) = (world.url(), world.sshd.known_hosts("ed25519"));
    let shown = url.replace(&format!("{}@", world.sshd.user()), "");
    let identity = world.sshd.key("ed25519", "", &[]);
    let refused = |known: &str| world.failure(&url, &world.access(identity.clone(), None, known));
    let other = "AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    let host = format!("[127.0.0.1]:{}", world.sshd.port());
    let unable = format!("unable to clone '{shown}': ssh: handshake failed: knownhosts:");
    assert_eq!(refused(&format!("{host} ssh-ed25519 {other}")), format!("{unable} key mismatch"));
    assert_eq!(refused(&format!("github.com ssh-ed25519 {other}")), format!("{unable} key is unknown"));
    assert_eq!(refused(&format!("{known}\n@revoked {known}")), format!("{unable} key is revoked"));
    assert!(refused("").contains("known_hosts holds no host key"));
    let stranger = Sshd::start(&["ed25519"]).unwrap().key("ed25519", "", &[]);
    let told = world.failure(&url, &world.access(stranger, None, &known));
    assert!(told.contains("authorization failed: ssh: handshake failed: ssh: unable to authenticate"), "{told}");
}

#[test]
fn what_is_not_there_is_told_without_a_secret() {
    let Some(world) = World::new(&["ed25519"]) else { return };
    let known = world.sshd.known_hosts("ed25519");
    let identity = world.sshd.key("ed25519", "s3cret", &[]);
    let access = |passphrase| world.access(identity.clone(), passphrase, &known);
    let gone = format!("{}x", world.url());
    let told = world.failure(&gone, &access(Some("s3cret")));
    assert!(told.contains("repository not found"), "{told}");
    let told = world.failure(&world.url(), &access(Some("s3cret")));
    assert_eq!(told, "git repository is empty");
    let told = world.failure(&world.url(), &access(None));
    assert_eq!(told, "unable to construct auth method with options: ssh: this private key is passphrase protected");
    let told = world.failure(&world.url(), &access(Some("wr0ng")));
    assert!(told.contains("its passphrase is another") && !told.contains("wr0ng"), "{told}");
    let told = world.failure("ssh://git@127.0.0.1:1/x", &access(Some("s3cret")));
    assert!(told.ends_with("dial tcp 127.0.0.1:1: connect: connection refused"), "{told}");
    let plain = Access::default();
    assert!(world.failure(&world.url(), &plain).contains("an identity and known hosts are required"));
}

#[test]
fn a_server_that_says_nothing_is_left_in_time() {
    let Some(world) = World::new(&["ed25519"]) else { return };
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::parse(&format!("ssh://git@{}/x", silent.local_addr().unwrap())).unwrap().0;
    let access = world.access(world.sshd.key("ed25519", "", &[]), None, &world.sshd.known_hosts("ed25519"));
    let begun = std::time::Instant::now();
    let limit = Duration::from_millis(300);
    let outcome = world.client.fetch(&address, &Reference::Branch("main".into()), &access, limit, &FetchOptions::default());
    assert!(types::chain(&outcome.err().unwrap()).contains("context deadline exceeded"));
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_commit_is_pushed_and_fetched_again() {
    let Some(world) = World::new(&["ed25519"]) else { return };
    let access = world.access(world.sshd.key("ed25519", "", &[]), None, &world.sshd.known_hosts("ed25519"));
    let address = Address::parse(&world.url()).unwrap().0;
    let commit = NewCommit {
        branch: "main".into(),
        base: None,
        message: "first".into(),
        author: Author { name: "Flux".into(), email: "flux@example.com".into() },
        seconds: 1_700_000_000,
    };
    let mut edits = |_: &dyn Tree| Ok(vec![Edit::Write { path: "a/b.yaml".into(), content: "x: 1\n".into(), executable: false }]);
    let pushed = world.client.commit_and_push(&address, &access, TIMEOUT, &commit, &mut edits).unwrap().unwrap();
    assert_eq!(world.repository.git(&["rev-parse", "main"], b""), pushed.commit);
    world.repository.git(&["fsck", "--strict"], b"");
    assert_eq!(world.fetch(&world.url(), &access).unwrap().tree.read("a/b.yaml").as_deref(), Some(&b"x: 1\n"[..]));
    assert_eq!(world.client.commit_and_push(&address, &access, TIMEOUT, &commit, &mut edits).unwrap(), None);
}
