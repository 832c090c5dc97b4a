//! Fetching from the real `git http-backend`.

#![allow(clippy::unwrap_used)]

use git::{Access, Address, Checkout, Client, Credentials, Error, FetchOptions, Reference};
use std::time::Duration;
use testing::git::{Behaviour, Server, basic};
use tree::Tree;

const TIMEOUT: Duration = Duration::from_secs(20);

struct World {
    server: Server,
    client: Client,
    cache: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let cache = tempfile::tempdir().unwrap();
        let client = Client::new(runtime.handle().clone(), cache.path().join("git"));
        Self { server: Server::start(), client, cache, _runtime: runtime }
    }

    fn address(&self, name: &str) -> Address {
        Address::parse(&self.server.url(name)).unwrap().0
    }

    fn fetch(&self, reference: Reference) -> Result<Checkout, Error> {
        self.fetch_with(reference, &Access::default(), &FetchOptions::default())
    }

    fn fetch_with(&self, reference: Reference, access: &Access, options: &FetchOptions) -> Result<Checkout, Error> {
        self.client.fetch(&self.address("app"), &reference, access, TIMEOUT, options)
    }

    fn failure(&self, reference: Reference) -> String {
        text(&self.fetch(reference).err().expect("it must fail"))
    }
}

fn text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(&format!(": {source}"));
        next = source.source();
    }
    text
}

fn branch(name: &str) -> Reference {
    Reference::Branch(name.to_owned())
}

fn commit(commit: &str) -> Reference {
    Reference::Commit { commit: commit.to_owned(), branch: None, name: None }
}

fn content(checkout: &Checkout, path: &str) -> String {
    String::from_utf8(checkout.tree.read(path).unwrap_or_else(|| panic!("{path} is missing")).into_owned()).unwrap()
}

#[test]
fn a_branch_is_fetched_with_its_tree() {
    let world = World::new();
    let repository = world.server.repository("app");
    let id = repository.commit("main", &[("a/b.yaml", "b"), ("run.sh*", "x"), ("ln", "link:a")], "subject\n\nbody");
    let checkout = world.fetch(branch("main")).unwrap();
    assert_eq!(checkout.revision.to_string(), format!("main@sha1:{id}"));
    assert_eq!((checkout.commit.subject().as_str(), checkout.tag.is_none()), ("subject", true));
    assert_eq!(content(&checkout, "a/b.yaml"), "b");
    assert_eq!(checkout.tree.list(""), Some(vec!["a".to_owned(), "run.sh".to_owned()]), "a symbolic link is not in the tree");
    assert!(checkout.tree.is_executable("run.sh") && !checkout.tree.is_executable("a/b.yaml"));
    assert_eq!(checkout.tree.to_memory().unwrap().size(), 2);
}

#[test]
fn the_next_fetch_transfers_only_what_changed() {
    let world = World::new();
    let repository = world.server.repository("app");
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'!' + (state >> 40) as u8 % 90)
    };
    let noise: String = (0..60_000).map(|_| next()).collect();
    repository.commit("main", &[("large", &noise), ("small", "1")], "one");
    world.fetch(branch("main")).unwrap();
    let first: usize = world.server.take_seen().iter().map(|s| s.sent_bytes).sum();
    let id = repository.commit("main", &[("large", &noise), ("small", "2")], "two");
    let checkout = world.fetch(branch("main")).unwrap();
    let second: usize = world.server.take_seen().iter().map(|s| s.sent_bytes).sum();
    assert_eq!((checkout.commit.id, content(&world.fetch(branch("main")).unwrap(), "small")), (id, "2".to_owned()));
    assert!(first > 20_000 && second < 5_000, "first {first} bytes, then {second}");
    let third: usize = world.server.take_seen().iter().map(|s| s.sent_bytes).sum();
    assert!(third < 2_000, "an unchanged branch costs its references alone, not {third} bytes");
}

#[test]
fn history_that_was_rewritten_is_followed() {
    let world = World::new();
    let repository = world.server.repository("app");
    let first = repository.commit("main", &[("f", "1")], "one");
    repository.commit("main", &[("f", "2")], "two");
    world.fetch(branch("main")).unwrap();
    repository.set("refs/heads/main", &first);
    let checkout = world.fetch(branch("main")).unwrap();
    assert_eq!((checkout.commit.id.as_str(), content(&checkout, "f").as_str()), (first.as_str(), "1"));
}

#[test]
fn tags_are_peeled_and_remembered() {
    let world = World::new();
    let repository = world.server.repository("app");
    let id = repository.commit("main", &[("f", "1")], "one");
    repository.tag("v1.0.0", &id, Some("release"));
    repository.tag("light", &id, None);
    let annotated = world.fetch(Reference::Tag("v1.0.0".into())).unwrap();
    assert_eq!(annotated.revision.to_string(), format!("v1.0.0@sha1:{id}"));
    assert_eq!(annotated.tag.map(|t| (t.name, t.id.is_some())), Some(("v1.0.0".to_owned(), true)));
    let light = world.fetch(Reference::Tag("light".into())).unwrap();
    assert_eq!(light.tag.map(|t| t.id), Some(None));
    let named = world.fetch(Reference::Name("refs/tags/v1.0.0".into())).unwrap();
    assert_eq!(named.revision.to_string(), format!("refs/tags/v1.0.0@sha1:{id}"));
}

#[test]
fn a_range_takes_the_highest_tag_and_among_equals_the_newest_commit() {
    let world = World::new();
    let repository = world.server.repository("app");
    let one = repository.commit("main", &[("f", "1")], "one");
    let two = repository.commit("main", &[("f", "2")], "two");
    let three = repository.commit("main", &[("f", "3")], "three");
    repository.tag("v1.0.0", &one, None);
    repository.tag("v1.1.0+a", &three, Some("newer commit"));
    repository.tag("v1.1.0+b", &two, None);
    repository.tag("v2.0.0-rc.1", &three, None);
    repository.tag("v1.9", &three, None);
    let checkout = world.fetch(Reference::Semver("*".into())).unwrap();
    assert_eq!(checkout.revision.to_string(), format!("v1.1.0+a@sha1:{three}"));
    let old = world.fetch(Reference::Semver("~1.0".into())).unwrap();
    assert_eq!(old.revision.to_string(), format!("v1.0.0@sha1:{one}"));
    assert_eq!(world.failure(Reference::Semver(">=3".into())), "no match found for semver: >=3");
    assert_eq!(world.failure(Reference::Semver("not a range".into())), r#"semver parse error: improper constraint: "not a range""#);
}

#[test]
fn a_commit_is_fetched_by_its_hash_with_and_without_a_branch() {
    let world = World::new();
    let repository = world.server.repository("app");
    let old = repository.commit("main", &[("f", "1")], "one");
    repository.commit("main", &[("f", "2")], "two");
    let alone = world.fetch(commit(&old)).unwrap();
    assert_eq!((alone.revision.to_string(), content(&alone, "f").as_str()), (format!("sha1:{old}"), "1"));
    let on_branch = world.fetch(Reference::Commit { commit: old.clone(), branch: Some("main".into()), name: None }).unwrap();
    assert_eq!(on_branch.revision.to_string(), format!("main@sha1:{old}"));
    assert_eq!(world.failure(commit("abc123")), "unable to resolve commit object for 'abc123': object not found");
    let unknown = "1234567890123456789012345678901234567890";
    assert_eq!(world.failure(commit(unknown)), format!("unable to resolve commit object for '{unknown}': object not found"));
}

#[test]
fn any_reference_can_be_named() {
    let world = World::new();
    let repository = world.server.repository("app");
    let id = repository.commit("main", &[("f", "1")], "one");
    repository.set("refs/pull/7/head", &id);
    let checkout = world.fetch(Reference::Name("refs/pull/7/head".into())).unwrap();
    assert_eq!(checkout.revision.to_string(), format!("refs/pull/7/head@sha1:{id}"));
    assert_eq!(world.failure(Reference::Name("refs/pull/8/head".into())), "unable to resolve ref 'refs/pull/8/head' to a specific commit");
    assert_eq!(world.failure(Reference::Name("/refs/x".into())), "ref /refs/x is invalid; Git refs cannot begin or end with a slash '/'");
}

#[test]
fn resolving_asks_for_references_alone() {
    let world = World::new();
    let repository = world.server.repository("app");
    let id = repository.commit("main", &[("f", "1")], "one");
    repository.tag("v1", &id, Some("annotated"));
    let resolve = |r: Reference| world.client.resolve(&world.address("app"), &r, &Access::default(), TIMEOUT).unwrap();
    assert_eq!(resolve(branch("main")).unwrap().commit, id);
    assert_eq!(world.server.take_seen().len(), 2, "one request for the capabilities, one for the references");
    assert_eq!(resolve(Reference::Tag("v1".into())).unwrap().commit, id);
    assert_eq!(resolve(branch("nope")), None);
}

#[test]
fn a_look_at_the_references_does_not_wait_for_a_fetch_that_hangs() {
    let world = World::new();
    let id = world.server.repository("app").commit("main", &[("f", "1")], "one");
    world.server.behave(Behaviour { hang: true, ..Behaviour::default() });
    std::thread::scope(|scope| {
        let fetch = scope.spawn(|| {
            let timeout = Duration::from_secs(5);
            world.client.fetch(&world.address("app"), &branch("main"), &Access::default(), timeout, &FetchOptions::default()).err()
        });
        while world.server.requests_begun() == 0 {
            std::thread::yield_now();
        }
        world.server.behave(Behaviour::default());
        let start = std::time::Instant::now();
        let found = world.client.resolve(&world.address("app"), &branch("main"), &Access::default(), TIMEOUT).unwrap();
        assert_eq!(found.unwrap().commit, id);
        assert!(!fetch.is_finished(), "the fetch still hangs after {:?}", start.elapsed());
    });
}

#[test]
fn missing_things_are_told_in_the_words_of_flux() {
    let world = World::new();
    let url = world.server.url("app");
    assert_eq!(world.failure(branch("main")), format!("unable to clone '{url}': repository not found: 404 page not found\n"));
    let repository = world.server.repository("app");
    assert_eq!(world.failure(branch("main")), "git repository is empty");
    let tag = world.failure(Reference::Tag("v1".into()));
    assert_eq!(tag, format!("unable to clone: remote repository is empty: git repository: '{url}'"));
    let name = world.failure(Reference::Name("refs/heads/main".into()));
    assert_eq!(name, format!("unable to list remote for '{url}': remote repository is empty"));
    repository.commit("main", &[("f", "1")], "one");
    assert_eq!(world.failure(branch("nope")), format!("unable to clone '{url}': couldn't find remote ref \"refs/heads/nope\""));
    assert_eq!(world.failure(Reference::Tag("v9".into())), format!("unable to clone '{url}': couldn't find remote ref \"refs/tags/v9\""));
}

#[test]
fn credentials_are_sent_and_their_absence_told() {
    let world = World::new();
    world.server.repository("app").commit("main", &[("f", "1")], "one");
    let url = world.server.url("app");
    world.server.behave(Behaviour { authorization: Some(basic("bob", "secret")), ..Behaviour::default() });
    assert_eq!(world.failure(branch("main")), format!("unable to clone '{url}': authentication required: Unauthorized\n"));
    let access = |credentials| Access { credentials: Some(credentials), ..Access::default() };
    let good = access(Credentials::Basic { username: "bob".into(), password: "secret".into() });
    world.fetch_with(branch("main"), &good, &FetchOptions::default()).unwrap();
    let bad = access(Credentials::Basic { username: "bob".into(), password: "wrong-secret".into() });
    let error = text(&world.fetch_with(branch("main"), &bad, &FetchOptions::default()).err().unwrap());
    assert!(error.contains("authentication required") && !error.contains("wrong-secret"), "{error}");
    world.server.behave(Behaviour { authorization: Some("Bearer token".into()), ..Behaviour::default() });
    world.fetch_with(branch("main"), &access(Credentials::Bearer("token".into())), &FetchOptions::default()).unwrap();
}

#[test]
fn a_cached_commit_is_not_shown_to_who_may_not_read_the_repository() {
    let world = World::new();
    let id = world.server.repository("app").commit("main", &[("f", "1")], "one");
    world.fetch(branch("main")).unwrap();
    world.server.behave(Behaviour { authorization: Some(basic("bob", "secret")), ..Behaviour::default() });
    assert!(world.failure(commit(&id)).contains("authentication required"));
}

#[test]
fn a_redirect_is_followed_and_credentials_stay_behind_at_another_host() {
    let world = World::new();
    let other = Server::start();
    other.repository("app").commit("main", &[("f", "moved")], "one");
    // Another name of loopback is another host.
    let port = other.address().port();
    world.server.behave(Behaviour { redirect: Some(format!("http://localhost:{port}")), ..Behaviour::default() });
    let access = Access { credentials: Some(Credentials::Bearer("token".into())), ..Access::default() };
    let checkout = world.fetch_with(branch("main"), &access, &FetchOptions::default()).unwrap();
    assert_eq!(content(&checkout, "f"), "moved");
    assert!(world.server.take_seen().iter().all(|s| s.authorization.is_some()));
    let seen = other.take_seen();
    assert!(seen.len() >= 3 && seen.iter().all(|s| s.authorization.is_none()), "{seen:?}");
    world.server.behave(Behaviour { redirect: Some(format!("http://{}", world.server.address())), ..Behaviour::default() });
    assert!(world.failure(branch("main")).contains("redirect to \"(too many)\" refused"));
}

#[test]
fn servers_that_fail_refuse_or_hang_are_errors_in_time() {
    let world = World::new();
    let url = world.server.url("app");
    world.server.behave(Behaviour { answer: Some((503, "busy".into())), ..Behaviour::default() });
    let request = format!("{url}/info/refs?service=git-upload-pack");
    assert_eq!(
        world.failure(branch("main")),
        format!("unable to clone '{url}': unexpected client error: unexpected requesting \"{request}\" status code: 503")
    );
    world.server.behave(Behaviour { answer: Some((200, "<html>".into())), ..Behaviour::default() });
    assert!(world.failure(branch("main")).contains("smart"));
    world.server.behave(Behaviour { hang: true, ..Behaviour::default() });
    let timeout = Duration::from_millis(200);
    let hung = world.client.fetch(&world.address("app"), &branch("main"), &Access::default(), timeout, &FetchOptions::default());
    assert_eq!(text(&hung.err().unwrap()), format!("unable to clone '{url}': Get {request:?}: context deadline exceeded"));
    let port = testing::free_port();
    let closed = format!("http://127.0.0.1:{port}/app.git");
    let address = Address::parse(&closed).unwrap().0;
    let refused = world.client.fetch(&address, &branch("main"), &Access::default(), TIMEOUT, &FetchOptions::default());
    let request = format!("{closed}/info/refs?service=git-upload-pack");
    let expected = format!("unable to clone '{closed}': Get {request:?}: dial tcp 127.0.0.1:{port}: connect: connection refused");
    assert_eq!(text(&refused.err().unwrap()), expected);
}

#[test]
fn sparse_paths_keep_what_begins_with_them_and_must_exist() {
    let world = World::new();
    let files = [("deploy/prod/a", "1"), ("deploy/dev/b", "1"), ("docs/c", "1"), ("deploy.yaml", "1")];
    world.server.repository("app").commit("main", &files, "one");
    let options = |paths: &[&str]| FetchOptions { sparse: paths.iter().map(|p| (*p).to_owned()).collect(), ..FetchOptions::default() };
    let paths = |options: &FetchOptions| {
        let tree = world.fetch_with(branch("main"), &Access::default(), options).unwrap().tree.to_memory().unwrap();
        tree.entries().map(|(path, _)| path.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(paths(&options(&["./deploy/prod"])), ["deploy", "deploy/prod", "deploy/prod/a"]);
    // As go-git: a prefix of the text, not of the folders.
    assert_eq!(paths(&options(&["deploy"])).len(), 6);
    let error = world.fetch_with(branch("main"), &Access::default(), &options(&["nope"])).err().unwrap();
    assert_eq!(error.to_string(), "sparse checkout dir 'nope' does not exist in repository");
}

#[test]
fn submodules_are_fetched_when_asked_for() {
    let world = World::new();
    let deep = world.server.repository("deep").commit("main", &[("d", "deep")], "d");
    let library_files = [
        ("lib.yaml", "lib"),
        (".gitmodules", "[submodule \"deep\"]\npath = deep\nurl = ../deep.git\n"),
        ("deep", &format!("commit:{deep}")),
    ];
    let library = world.server.repository("lib").commit("main", &library_files, "l");
    let modules = "[submodule \"lib\"]\n\tpath = vendor/lib\n\turl = ../lib.git\n";
    world.server.repository("app").commit(
        "main",
        &[("f", "1"), (".gitmodules", modules), ("vendor/lib", &format!("commit:{library}"))],
        "one",
    );
    let without = world.fetch(branch("main")).unwrap();
    assert_eq!(without.tree.list("vendor/lib"), Some(vec![]), "a submodule that is not fetched is an empty folder");
    let options = FetchOptions { submodules: true, ..FetchOptions::default() };
    let with = world.fetch_with(branch("main"), &Access::default(), &options).unwrap();
    assert_eq!((content(&with, "vendor/lib/lib.yaml").as_str(), content(&with, "vendor/lib/deep/d").as_str()), ("lib", "deep"));
}

#[test]
fn limits_on_transfer_files_and_entries_hold() {
    let world = World::new();
    world.server.repository("app").commit("main", &[("a", "123456789"), ("b", "2"), ("c/d", "3")], "one");
    let failure = |limits: git::Limits| {
        let options = FetchOptions { limits, ..FetchOptions::default() };
        text(&world.fetch_with(branch("main"), &Access::default(), &options).err().expect("it must fail"))
    };
    let limits = git::Limits::default();
    assert!(failure(git::Limits { transfer_max: 300, ..limits }).contains("more than 300 bytes"));
    assert!(failure(git::Limits { entries_max: 3, ..limits }).contains("more than 3 entries"));
    assert!(failure(git::Limits { file_size_max: 8, ..limits }).contains("\"a\" is larger than 8 bytes"));
    assert!(failure(git::Limits { tree_size_max: 10, ..limits }).contains("more than 10 bytes"));
}

#[test]
fn a_cache_that_a_crash_left_broken_is_begun_anew() {
    let world = World::new();
    let repository = world.server.repository("app");
    repository.commit("main", &[("f", "1")], "one");
    world.fetch(branch("main")).unwrap();
    repository.commit("main", &[("f", "2")], "two");
    let cache = std::fs::read_dir(world.cache.path().join("git")).unwrap().next().unwrap().unwrap().path();
    std::fs::write(cache.join("shallow.lock"), "").unwrap();
    for pack in std::fs::read_dir(cache.join("objects/pack")).unwrap().flatten() {
        std::fs::write(pack.path(), "junk").unwrap();
    }
    assert_eq!(content(&world.fetch(branch("main")).unwrap(), "f"), "2");
}

#[test]
fn what_is_committed_is_read_back_and_an_equal_tree_is_no_new_commit() {
    let world = World::new();
    let path = world.server.repository("app").path().to_owned();
    let tree = |text: &'static str| tree::MemoryTree::from_iter([("a/b.yaml", text), ("c.yaml", "c")]);
    let first = git::write::commit_tree(&path, &tree("1"), "first", 1_700_000_000).unwrap();
    assert_eq!(git::write::commit_tree(&path, &tree("1"), "again", 1_700_000_001).unwrap(), first);
    assert_eq!(world.fetch(branch("main")).unwrap().commit.id, first);
    let second = git::write::commit_tree(&path, &tree("2"), "second", 1_700_000_002).unwrap();
    let checkout = world.fetch(branch("main")).unwrap();
    assert_eq!((checkout.commit.id.as_str(), content(&checkout, "a/b.yaml").as_str()), (second.as_str(), "2"));
    assert_eq!(world.server.repository("app").git(&["fsck", "--strict"], b""), "");
}

#[test]
fn a_server_with_an_unknown_certificate_is_refused_and_a_ca_that_is_no_pem_named() {
    let world = World::new();
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], rustls::pki_types::PrivatePkcs8KeyDer::from(key.signing_key.serialize_der()).into())
        .unwrap();
    std::thread::spawn(move || {
        let config = std::sync::Arc::new(config);
        for mut stream in listener.incoming().flatten() {
            let mut session = rustls::ServerConnection::new(config.clone()).unwrap();
            session.complete_io(&mut stream).ok();
        }
    });
    let address = Address::parse(&format!("https://localhost:{port}/app.git")).unwrap().0;
    let failure = |ca: Option<Vec<u8>>| {
        let access = Access { ca_certificate: ca, ..Access::default() };
        text(&world.client.fetch(&address, &branch("main"), &access, TIMEOUT, &FetchOptions::default()).err().unwrap())
    };
    let unknown = failure(None);
    assert!(unknown.ends_with("tls: failed to verify certificate: x509: certificate signed by unknown authority"), "{unknown}");
    assert_eq!(failure(Some(b"nonsense".to_vec())), "TLS configuration is not valid: failed to parse CA certificate");
    // With its authority the handshake succeeds; this server then says nothing.
    let trusted = failure(Some(key.cert.pem().into_bytes()));
    assert!(!trusted.contains("certificate"), "{trusted}");
}
