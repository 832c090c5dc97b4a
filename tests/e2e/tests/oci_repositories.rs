//! OCIRepositories against Debian's registry, with TLS and credentials, and against one that redirects, pages and hands out tokens.

#![allow(clippy::unwrap_used)]

use base64::{Engine, engine::general_purpose::STANDARD};
use e2e::{Answer, House, Options, Registry, Web, archive, condition, pack_chart};
use oci::{Credentials, media_type};
use serde_json::{Value, json};
use std::path::Path;
use tree::MemoryTree;

const NAMESPACE: &str = "e2e-oci";

fn tree(text: &str) -> MemoryTree {
    MemoryTree::from_iter([("a.yaml", text.to_owned())])
}

/// An OCIRepository with `spec` on top of the address.
fn repository(name: &str, address: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: source.toolkit.fluxcd.io/v1\nkind: OCIRepository\nmetadata: {{name: {name}, namespace: {NAMESPACE}}}\nspec: {{interval: 1h, timeout: 10s, url: 'oci://{address}', {spec}}}\n"
    )
}

fn secret(name: &str, kind: &str, data: &Value) -> String {
    let metadata = json!({"name": name, "namespace": NAMESPACE});
    format!("---\n{}\n", json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": kind, "stringData": data}))
}

fn docker_config(registry: &str, password: &str) -> String {
    json!({"auths": {registry: {"auth": STANDARD.encode(format!("user:{password}"))}}}).to_string()
}

fn house() -> House {
    let house = House::start(Options::default());
    house.apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {NAMESPACE}}}\n"));
    house
}

fn end(house: &House) {
    house.clean();
    house.kubectl(&["delete", "namespace", NAMESPACE, "--timeout=60s"]);
}

fn revision(house: &House, name: &str) -> String {
    let object = house.until_ready("ocirepository", NAMESPACE, name, "True");
    object["status"]["artifact"]["revision"].as_str().unwrap().to_owned()
}

fn refusal(house: &House, name: &str) -> String {
    let object = house.until_ready("ocirepository", NAMESPACE, name, "False");
    assert!(object["status"]["artifact"].is_null(), "nothing was fetched by {name}");
    condition(&object, "Ready").unwrap()["message"].as_str().unwrap().to_owned()
}

/// Every file in a store that is larger than nothing, links apart.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| !path.is_symlink()).flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn references_choose_what_they_say_and_layers_are_taken_as_they_say() {
    let Some(registry) = Registry::start(false) else { return };
    let pushed = ["1.0.0", "1.1.0", "1.2.0-rc.1", "2.0.0", "latest"].map(|tag| registry.push(&format!("app:{tag}"), &tree(tag)));
    let kind = "application/vnd.example.manifests.v1.tar+gzip";
    let layers = [(media_type::FLUX_CONTENT, archive(&tree("first"))), (kind, archive(&tree("second")))];
    let layered = registry.push_as(Credentials::Anonymous, "layers:v1", &layers);
    let house = house();
    let (app, address) = (format!("{}/app", registry.address), &registry.address);
    let mut all = String::new();
    all += &repository("none", &app, "");
    all += &repository("tag", &app, "ref: {tag: 1.0.0}");
    all += &repository("semver", &app, "ref: {semver: 1.x}");
    all += &repository("filter", &app, "ref: {semver: '>=1.0.0-0', semverFilter: '.*-rc.*'}");
    all += &repository("digest", &app, &format!("ref: {{digest: '{}', tag: 2.0.0}}", pushed[1]));
    all += &repository("extract", &format!("{address}/layers"), &format!("ref: {{tag: v1}}, layerSelector: {{mediaType: {kind}}}"));
    all += &repository(
        "copy",
        &format!("{address}/layers"),
        &format!("ref: {{tag: v1}}, layerSelector: {{mediaType: {kind}, operation: copy}}"),
    );
    house.apply(&all);
    let expected = [
        ("none", format!("latest@{}", pushed[4])),
        ("tag", format!("1.0.0@{}", pushed[0])),
        ("semver", format!("1.1.0@{}", pushed[1])),
        ("filter", format!("1.2.0-rc.1@{}", pushed[2])),
        ("digest", pushed[1].to_string()),
        ("extract", format!("v1@{layered}")),
        ("copy", format!("v1@{layered}")),
    ];
    for (name, wanted) in expected {
        assert_eq!(revision(&house, name), wanted, "{name}");
    }
    let digest = |name: &str| house.get("ocirepository", NAMESPACE, name).unwrap()["status"]["artifact"]["digest"].clone();
    assert_eq!(digest("copy"), types::Digest::sha256(&layers[1].1).to_string().as_str(), "a copied layer stays as it was pushed");
    assert_ne!(digest("extract"), digest("copy"));
    end(&house);
}

#[test]
fn what_two_repositories_name_is_stored_once() {
    let Some(registry) = Registry::start(false) else { return };
    registry.push("app:v1", &tree(&"much of it\n".repeat(20_000)));
    let house = house();
    let app = format!("{}/app", registry.address);
    house.apply(&repository("first", &app, "ref: {tag: v1}"));
    let wanted = revision(&house, "first");
    house.apply(&repository("second", &app, "ref: {tag: v1}"));
    assert_eq!(revision(&house, "second"), wanted);
    let stored = files(&house.state.path().join("artifacts/ocirepository"));
    assert_eq!(stored.len(), 2, "{stored:?}");
    let identity = |path: &Path| std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(path).unwrap());
    assert_eq!(identity(&stored[0]), identity(&stored[1]), "both are one file on the disk");
    end(&house);
}

#[test]
fn credentials_and_certificates_open_a_registry_and_nothing_else_does() {
    let Some(registry) = Registry::start_tls(true) else { return };
    let certificate = registry.certificate.clone().unwrap();
    let who = || Credentials::Basic { username: "user".into(), password: "pass".into() };
    registry.push_as(who(), "team/app:v1", &[(media_type::FLUX_CONTENT, archive(&tree("a: b")))]);
    let address = format!("{}/team/app", registry.address);
    let house = house();
    let kind = "kubernetes.io/dockerconfigjson";
    let mut all = secret("right", kind, &json!({".dockerconfigjson": docker_config(&registry.address, "pass")}));
    all += &secret("wrong", kind, &json!({".dockerconfigjson": docker_config(&registry.address, "wr0ng-pass")}));
    all += &secret("elsewhere", kind, &json!({".dockerconfigjson": docker_config("registry.example.com", "pass")}));
    all += &secret("ca", "Opaque", &json!({"ca.crt": certificate}));
    all += &format!(
        "---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: puller, namespace: {NAMESPACE}}}\nimagePullSecrets: [{{name: right}}]\n"
    );
    all += &repository("open", &address, "ref: {tag: v1}, secretRef: {name: right}, certSecretRef: {name: ca}");
    all += &repository("account", &address, "ref: {tag: v1}, serviceAccountName: puller, certSecretRef: {name: ca}");
    all += &repository("insecure", &address, "ref: {tag: v1}, insecure: true, secretRef: {name: right}");
    all += &repository("no-ca", &address, "ref: {tag: v1}, secretRef: {name: right}");
    all += &repository("wrong", &address, "ref: {tag: v1}, secretRef: {name: wrong}, certSecretRef: {name: ca}");
    all += &repository("elsewhere", &address, "ref: {tag: v1}, secretRef: {name: elsewhere}, certSecretRef: {name: ca}");
    all += &repository("anonymous", &address, "ref: {tag: v1}, certSecretRef: {name: ca}");
    house.apply(&all);
    let wanted = revision(&house, "open");
    assert!(wanted.starts_with("v1@sha256:"), "{wanted}");
    for name in ["account", "insecure"] {
        assert_eq!(revision(&house, name), wanted, "{name}");
    }
    assert!(refusal(&house, "no-ca").contains("certificate"), "{}", refusal(&house, "no-ca"));
    for name in ["wrong", "elsewhere", "anonymous"] {
        let why = refusal(&house, name);
        assert!(why.contains("UNAUTHORIZED") && !why.contains("wr0ng-pass"), "{name}: {why}");
    }
    assert!(!house.source.as_ref().unwrap().log().contains("wr0ng-pass"), "a secret in the logs");
    end(&house);
}

#[test]
fn charts_of_a_registry_are_found_and_released_with_a_certificate_and_a_password() {
    let Some(registry) = Registry::start_tls(true) else { return };
    let certificate = registry.certificate.clone().unwrap();
    let who = Credentials::Basic { username: "user".into(), password: "pass".into() };
    let config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}'}\ndata: {version: '{{ .Chart.Version }}'}\n";
    registry.push_chart_as(who, "charts/demo:1.0.0", pack_chart("demo", &[("templates/config.yaml", config)]));
    let mut house = house();
    house.start_helm();
    let mut all = secret("right", "Opaque", &json!({"username": "user", "password": "pass"}));
    all += &secret("wrong", "Opaque", &json!({"username": "user", "password": "wr0ng-pass"}));
    all += &secret("ca", "Opaque", &json!({"ca.crt": certificate}));
    for (name, more) in [("right", ", certSecretRef: {name: ca}"), ("wrong", ", certSecretRef: {name: ca}"), ("no-ca", "")] {
        let account = if name == "no-ca" { "right" } else { name };
        all += &format!(
            "---\napiVersion: source.toolkit.fluxcd.io/v1\nkind: HelmRepository\nmetadata: {{name: {name}, namespace: {NAMESPACE}}}\nspec: {{type: oci, interval: 1h, timeout: 10s, url: 'oci://{}/charts', secretRef: {{name: {account}}}{more}}}\n",
            registry.address
        );
        all += &format!(
            "---\napiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {{name: {name}, namespace: {NAMESPACE}}}\nspec:\n  interval: 1h\n  chart: {{spec: {{chart: demo, version: 1.x, interval: 1h, sourceRef: {{kind: HelmRepository, name: {name}}}}}}}\n"
        );
    }
    house.apply(&all);
    house.until_ready("helmrelease", NAMESPACE, "right", "True");
    assert_eq!(house.get("configmap", NAMESPACE, "right").unwrap()["data"]["version"], "1.0.0");
    for (name, word) in [("wrong", "UNAUTHORIZED"), ("no-ca", "certificate")] {
        let chart = house.until_ready("helmchart", NAMESPACE, &format!("{NAMESPACE}-{name}"), "False");
        let why = condition(&chart, "Ready").unwrap()["message"].as_str().unwrap();
        assert!(why.contains(word) && !why.contains("wr0ng-pass"), "{name}: {why}");
        assert!(house.get("configmap", NAMESPACE, name).is_none());
    }
    house.kubectl(&["delete", "helmrelease", "--all", "-n", NAMESPACE, "--timeout=60s"]);
    house.kubectl(&["delete", "helmrepository", "--all", "-n", NAMESPACE, "--timeout=60s"]);
    end(&house);
}

/// As docker's registries behind clouds: a token service of its own, tags in pages, layers at a storage of others.
fn cloud(storage: String, layer: Vec<u8>) -> Web {
    let config = types::Digest::sha256(b"{}");
    let digest = types::Digest::sha256(&layer);
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media_type::MANIFEST,
        "config": {"mediaType": media_type::FLUX_CONFIG, "digest": config.to_string(), "size": 2},
        "layers": [{"mediaType": media_type::FLUX_CONTENT, "digest": digest.to_string(), "size": layer.len()}],
    });
    let manifest = manifest.to_string().into_bytes();
    let content = types::Digest::sha256(&manifest).to_string();
    Web::start(move |own, asked| {
        let authorization = asked.headers.get("authorization").map(String::as_str).unwrap_or_default();
        if asked.path.starts_with("/token?") {
            let right = authorization == format!("Basic {}", STANDARD.encode("user:pass"));
            return if right { Answer::of(200, r#"{"token": "opaque-t0ken"}"#) } else { Answer::of(401, "{}") };
        }
        if authorization != "Bearer opaque-t0ken" {
            let challenge = format!("Bearer realm=\"http://{own}/token\",service=\"cloud\",scope=\"repository:app:pull\"");
            return Answer::of(401, "{}").with("www-authenticate", challenge);
        }
        let page = |tags: &[&str]| Answer::of(200, json!({"name": "app", "tags": tags}).to_string());
        match asked.path.as_str() {
            "/v2/app/tags/list?n=1000" => page(&["0.1.0", "0.2.0"]).with("link", "</v2/app/tags/list?n=1000&last=0.2.0>; rel=\"next\""),
            "/v2/app/tags/list?n=1000&last=0.2.0" => {
                page(&["1.0.0", "1.5.0"]).with("link", "</v2/app/tags/list?n=1000&last=1.5.0>; rel=\"next\"")
            }
            "/v2/app/tags/list?n=1000&last=1.5.0" => page(&["1.4.0", "not-a-version"]),
            path if path.starts_with("/v2/app/manifests/") => {
                Answer::of(200, manifest.clone()).with("content-type", media_type::MANIFEST).with("docker-content-digest", content.clone())
            }
            path if path.starts_with("/v2/app/blobs/") => Answer::of(307, "").with("location", format!("http://{storage}{path}")),
            _ => Answer::of(404, "{}"),
        }
    })
}

#[test]
fn tags_are_read_page_by_page_and_a_token_stays_with_its_registry() {
    let layer = archive(&tree("a: b"));
    let content = layer.clone();
    let storage = Web::start(move |_, _| Answer::of(200, content.clone()));
    let cloud = cloud(storage.address.clone(), layer);
    // A registry that sends whoever asks to a token service of somebody else, in plain text.
    let thief = Web::start(|_, _| Answer::of(200, r#"{"token": "x"}"#));
    let realm = format!("Bearer realm=\"http://{}/token\",service=\"s\"", thief.address);
    let lure = Web::start(move |_, _| Answer::of(401, "{}").with("www-authenticate", realm.clone()));
    let house = house();
    let kind = "kubernetes.io/dockerconfigjson";
    let mut all = secret("cloud", kind, &json!({".dockerconfigjson": docker_config(&cloud.address, "pass")}));
    all += &secret("lure", kind, &json!({".dockerconfigjson": docker_config(&lure.address, "pass")}));
    all += &repository("paged", &format!("{}/app", cloud.address), "ref: {semver: '1.x'}, secretRef: {name: cloud}");
    all += &repository("lured", &format!("{}/app", lure.address), "ref: {tag: v1}, secretRef: {name: lure}");
    house.apply(&all);
    let newest = revision(&house, "paged");
    assert!(newest.starts_with("1.5.0@sha256:"), "the newest stands on the second of three pages: {newest}");
    let pages =
        cloud.asked().iter().filter(|asked| asked.path.contains("tags/list") && asked.headers.contains_key("authorization")).count();
    assert!(pages >= 3, "{pages} pages were read");
    let fetched = storage.asked();
    assert!(fetched.iter().any(|asked| asked.path.contains("/blobs/")), "the layer came from the storage");
    assert!(
        fetched.iter().all(|asked| !asked.headers.contains_key("authorization")),
        "the storage got a token that is none of its business"
    );
    // The same content for another one: it is at hand.
    house.apply(&repository("again", &format!("{}/app", cloud.address), "ref: {tag: 1.5.0}, secretRef: {name: cloud}"));
    assert!(revision(&house, "again").starts_with("1.5.0@sha256:"));
    let pulls = storage.asked().iter().filter(|asked| asked.path.contains("/blobs/")).count();
    assert_eq!(pulls, 1, "the same content was pulled again");
    let why = refusal(&house, "lured");
    assert!(why.contains("refused to send credentials in plain text"), "{why}");
    assert!(thief.asked().is_empty(), "credentials were offered to a stranger: {:?}", thief.asked());
    let logs = house.source.as_ref().unwrap().log();
    assert!(!logs.contains("opaque-t0ken"), "a token in the logs");
    end(&house);
}
