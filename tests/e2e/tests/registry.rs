//! Against a real registry: Debian's `docker-registry`, on loopback.

#![allow(clippy::unwrap_used)]

use e2e::Registry;
use oci::{Client, Credentials, Error, Manifest, Reference, annotation, media_type};

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
    let Some(registry) = Registry::start(false) else { return };
    let client = registry.client(Credentials::Anonymous);
    let reference = registry.reference("team/app:v1");
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
    let Some(registry) = Registry::start(false) else { return };
    let client = registry.client(Credentials::Anonymous);
    let error = client.resolve(&registry.reference("team/none:v1")).await.unwrap_err();
    assert!(error.is_not_found() && !error.is_transient());
    let text = format!("GET http://{}/v2/team/none/manifests/v1: MANIFEST_UNKNOWN: manifest unknown; map[Tag:v1]", registry.address);
    assert_eq!(error.to_string(), text);
}

#[tokio::test]
async fn credentials_open_the_door_and_wrong_ones_do_not() {
    let Some(registry) = Registry::start(true) else { return };
    let basic = |password: &str| Credentials::Basic { username: "user".into(), password: password.into() };
    let reference = registry.reference("team/app:v1");
    push(&registry.client(basic("pass")), &reference, b"content").await;
    assert!(registry.client(basic("pass")).resolve(&reference).await.is_ok());
    for refused in [basic("wr0ng"), Credentials::Anonymous] {
        let error = registry.client(refused).resolve(&reference).await.unwrap_err();
        assert!(error.is_unauthorized(), "{error}");
        assert!(!error.to_string().contains("wr0ng"));
    }
}
