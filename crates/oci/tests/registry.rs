//! Against a real registry: Debian's `docker-registry`, on loopback.

use oci::{Client, Credentials, Error, Limits, Manifest, Reference, Scheme, annotation, media_type};
use std::{
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// bcrypt of `pass` at the lowest cost.
const HTPASSWD: &str = "user:$2b$04$/aJCpHG6aY5Ol0Ooknwk7.ZAXfW5gPdbPnU46NekfkVWsoKe4o7Xm\n";

struct Registry {
    process: Child,
    address: String,
    _state: tempfile::TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts a registry, or says why the test cannot run.
fn registry(authenticated: bool) -> Option<Registry> {
    let state = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let mut config = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{address}\"}}\nlog: {{level: error}}\n",
        state.path().display()
    );
    if authenticated {
        let passwords = state.path().join("htpasswd");
        std::fs::write(&passwords, HTPASSWD).unwrap();
        config.push_str(&format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", passwords.display()));
    }
    let file = state.path().join("config.yml");
    std::fs::write(&file, config).unwrap();
    let Ok(process) = Command::new("docker-registry").arg("serve").arg(&file).stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
        println!("SKIPPED: docker-registry is not installed (Debian package docker-registry)");
        return None;
    };
    let registry = Registry { process, address, _state: state };
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(&registry.address).is_err() {
        assert!(Instant::now() < deadline, "docker-registry did not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    Some(registry)
}

fn client(registry: &Registry, credentials: Credentials) -> Client {
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap();
    Client::new(http, Scheme::of(&registry.address, false), credentials, Limits::default())
}

fn reference(registry: &Registry, path: &str) -> Reference {
    format!("{}/{path}", registry.address).parse().unwrap()
}

async fn push(client: &Client, reference: &Reference, content: &'static [u8]) -> types::Digest {
    let config = client.push_blob(reference, media_type::FLUX_CONFIG, b"{}".as_slice().into()).await.unwrap();
    let layer = client.push_blob(reference, media_type::FLUX_CONTENT, content.into()).await.unwrap();
    let annotations = [(annotation::REVISION.to_owned(), "main@sha1:ab".to_owned())].into();
    let manifest = Manifest {
        config,
        layers: vec![layer],
        annotations: Some(annotations),
        media_type: Some(media_type::MANIFEST.into()),
        ..Default::default()
    };
    client.push_manifest(reference, &manifest).await.unwrap()
}

#[tokio::test]
async fn what_was_pushed_is_pulled_by_tag_and_by_digest() {
    let Some(registry) = registry(false) else { return };
    let client = client(&registry, Credentials::Anonymous);
    let reference = reference(&registry, "team/app:v1");
    let pushed = push(&client, &reference, b"content").await;
    assert_eq!(client.resolve(&reference).await.unwrap(), pushed);
    let manifest = client.manifest(&reference, &pushed).await.unwrap();
    assert_eq!(manifest.annotations.as_ref().unwrap()[annotation::REVISION], "main@sha1:ab");
    assert_eq!(client.blob(&reference, &manifest.layers[0]).await.unwrap(), b"content".as_slice());
    assert_eq!(client.tag(&reference, "v2").await.unwrap(), pushed);
    let mut tags = client.tags(&reference).await.unwrap();
    tags.sort();
    assert_eq!(tags, ["v1", "v2"]);
    let mut wrong = manifest.layers[0].clone();
    wrong.size = i64::MAX;
    assert!(matches!(client.blob(&reference, &wrong).await, Err(Error::TooLarge { .. })));
}

#[tokio::test]
async fn what_is_missing_is_named_in_the_registrys_words() {
    let Some(registry) = registry(false) else { return };
    let client = client(&registry, Credentials::Anonymous);
    let error = client.resolve(&reference(&registry, "team/none:v1")).await.unwrap_err();
    assert!(error.is_not_found() && !error.is_transient());
    let text = format!("GET http://{}/v2/team/none/manifests/v1: MANIFEST_UNKNOWN: manifest unknown; map[Tag:v1]", registry.address);
    assert_eq!(error.to_string(), text);
}

#[tokio::test]
async fn credentials_open_the_door_and_wrong_ones_do_not() {
    let Some(registry) = registry(true) else { return };
    let basic = |password: &str| Credentials::Basic { username: "user".into(), password: password.into() };
    let reference = reference(&registry, "team/app:v1");
    push(&client(&registry, basic("pass")), &reference, b"content").await;
    assert!(client(&registry, basic("pass")).resolve(&reference).await.is_ok());
    for refused in [basic("wr0ng"), Credentials::Anonymous] {
        let error = client(&registry, refused).resolve(&reference).await.unwrap_err();
        assert!(error.is_unauthorized(), "{error}");
        assert!(!error.to_string().contains("wr0ng"));
    }
}
