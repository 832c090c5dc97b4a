use super::{
    Request,
    notifications::receiver_type,
    sources::{parse_url, ssh_flags},
};
use crate::{
    builtin, hmac,
    shell::{Failure, Flags, Outcome, files, flags, log, output},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::Command;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use serde_json::{Map, Value, json};
use std::path::Path;

const BASIC_AUTH: &str = "kubernetes.io/basic-auth";
const TLS: &str = "kubernetes.io/tls";
const OPAQUE: &str = "Opaque";
const DOCKER_CONFIG: &str = "kubernetes.io/dockerconfigjson";
const WEBHOOK_ANNOTATION: &str = "notification.toolkit.fluxcd.io/webhook";

pub fn command() -> Command {
    let basic = || {
        [
            flags::string("username", "name for basic authentication").short('u'),
            flags::string("password", "password for basic authentication").short('p'),
        ]
    };
    let tls = || {
        [
            flags::string("tls-crt-file", "file with a client certificate"),
            flags::string("tls-key-file", "file with the key of the client certificate"),
            flags::string("ca-crt-file", "file with the certificate authority of the server"),
        ]
    };
    flags::group("secret", "Create or update Secrets in the forms that Flux reads")
        .subcommand(
            flags::leaf("git", "Create or update a Secret for Git authentication")
                .arg(flags::string("url", "address of the repository"))
                .args(basic())
                .args(ssh_flags())
                .args([
                    flags::string("ca-crt-file", "file with the certificate authority of the server"),
                    flags::string("private-key-file", "file with a private key without passphrase, for ssh"),
                    flags::string("bearer-token", "token for bearer authentication"),
                ]),
        )
        .subcommand(flags::leaf("githubapp", "Create or update a Secret for a GitHub App").args([
            flags::string("app-id", "id of the app"),
            flags::string("app-installation-owner", "user or organization that installed the app"),
            flags::string("app-installation-id", "id of the installation"),
            flags::string("app-private-key", "file with the private key of the app"),
            flags::string("app-base-url", "address of the API of GitHub Enterprise"),
        ]))
        .subcommand(flags::leaf("helm", "Create or update a Secret for Helm repository authentication").args(basic()).args(tls()))
        .subcommand(flags::leaf("notation", "Create or update a Secret for notation verification").args([
            flags::string("trust-policy-file", "file with the trust policy"),
            flags::strings("ca-cert-file", "files with root certificates"),
        ]))
        .subcommand(
            flags::leaf("oci", "Create or update a Secret for OCI registry authentication")
                .arg(flags::string("url", "address of the registry or repository"))
                .args(basic()),
        )
        .subcommand(
            flags::leaf("proxy", "Create or update a Secret for a proxy")
                .arg(flags::string("address", "address of the proxy"))
                .args(basic()),
        )
        .subcommand(flags::leaf("receiver", "Create or update a Secret for a Receiver").args([
            receiver_type(),
            flags::string("token", "token of the webhook; made up when not given"),
            flags::string("hostname", "host that serves the webhook"),
            flags::string("email-claim", "email of the account that calls, for gcr"),
            flags::string("audience-claim", "audience of its token, for gcr"),
        ]))
        .subcommand(flags::leaf("tls", "Create or update a Secret with TLS certificates").args(tls()))
}

/// Entries of a Secret, in the order in which they are thought of.
pub type Data = Vec<(&'static str, String)>;

pub async fn run(request: &Request<'_>, kind: &str) -> Outcome {
    let mut secret = match kind {
        "git" => git(request)?,
        "githubapp" => github_app(request)?,
        "helm" => helm(request)?,
        "notation" => notation(request)?,
        "oci" => oci(request)?,
        "proxy" => proxy(request)?,
        "receiver" => receiver(request)?,
        _ => tls(request)?,
    };
    // As Flux does: these two take no labels.
    let labels = if matches!(kind, "oci" | "githubapp") { Default::default() } else { request.labels()? };
    if !labels.is_empty() {
        secret["metadata"]["labels"] = json!(labels);
    }
    if request.is_export() {
        // All but one end in an empty line, as with Flux.
        let end = if kind == "tls" { "" } else { "\n" };
        return output::print(&(output::documents([secret])? + end));
    }
    upsert(request, &secret).await?;
    log::action(format!("{kind} secret '{}' created in '{}' namespace", request.name, request.context.namespace));
    Ok(())
}

/// A Secret with its entries as text, which the server encodes.
fn secret(request: &Request<'_>, name: &str, kind: &str, data: impl IntoIterator<Item = (String, String)>) -> Value {
    let mut secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": request.context.namespace}});
    let data: Map<String, Value> = data.into_iter().map(|(key, value)| (key, Value::from(value))).collect();
    if !data.is_empty() {
        secret["stringData"] = Value::Object(data);
    }
    if !kind.is_empty() {
        secret["type"] = Value::from(kind);
    }
    secret
}

fn own(data: Data) -> impl Iterator<Item = (String, String)> {
    data.into_iter().map(|(key, value)| (key.to_owned(), value))
}

/// Creates a Secret, or lays its entries, labels and annotations over an existing one.
async fn upsert(request: &Request<'_>, secret: &Value) -> Outcome {
    let (context, name) = (request.context, crate::objects::name(secret));
    let Some(mut existing) = context.find_resource(&builtin::secrets(), &context.namespace, name).await? else {
        context.create(&builtin::secrets(), &context.namespace, secret).await?;
        return Ok(());
    };
    existing["stringData"] = secret.get("stringData").cloned().unwrap_or_else(|| json!({}));
    for part in ["labels", "annotations"] {
        for (key, value) in secret["metadata"].get(part).and_then(Value::as_object).into_iter().flatten() {
            existing["metadata"][part][key] = value.clone();
        }
    }
    context.replace(&builtin::secrets(), &context.namespace, name, &existing).await?;
    Ok(())
}

/// Makes the Secret that a new source refers to.
pub async fn apply_credentials(request: &Request<'_>, name: &str, kind: &str, data: Data, what: &str) -> Outcome {
    log::action(format!("applying secret with {what}"));
    upsert(request, &secret(request, name, kind, own(data))).await?;
    log::success("authentication configured");
    Ok(())
}

fn required(value: &str, what: &str) -> Result<(), Failure> {
    if value.is_empty() { Err(Failure::new(format!("{what} is required"))) } else { Ok(()) }
}

fn read(path: &str, what: &str) -> Result<String, Failure> {
    files::read_text(path).map_err(|why| Failure::new(format!("{what}: {why}")))
}

fn read_given(request: &Request<'_>, flag: &str, what: &str) -> Result<String, Failure> {
    match request.text(flag) {
        "" => Ok(String::new()),
        path => read(path, what),
    }
}

fn git(request: &Request<'_>) -> Result<Value, Failure> {
    let text = |flag: &str| request.text(flag);
    required(text("url"), "url")?;
    let (scheme, _) = parse_url(text("url")).map_err(|why| Failure::new(format!("git URL parse failed: {why}")))?;
    request.labels()?;
    match scheme.as_str() {
        "http" | "https" => {}
        "ssh" => {
            return Err(Failure::new(
                "keys and host keys for SSH are not made here: create a Secret with the entries identity, identity.pub and known_hosts",
            ));
        }
        _ => return Err(Failure::new(format!("git URL scheme '{scheme}' not supported, can be: ssh, http and https"))),
    }
    let (username, password, token) = (text("username"), text("password"), text("bearer-token"));
    let has_basic = !username.is_empty() && !password.is_empty();
    if !has_basic && token.is_empty() {
        return Err(Failure::new("for Git over HTTP/S the username and password, or a bearer token is required"));
    }
    if has_basic && !token.is_empty() {
        return Err(Failure::new("user credentials and bearer token cannot be used together"));
    }
    let mut data = Data::new();
    if has_basic {
        data.extend([("username", username.to_owned()), ("password", password.to_owned())]);
    }
    if !token.is_empty() {
        data.push(("bearerToken", token.to_owned()));
    }
    let authority = read_given(request, "ca-crt-file", "unable to read TLS CA file")?;
    if !authority.is_empty() {
        data.push(("ca.crt", authority));
    }
    Ok(secret(request, &request.name, "", own(data)))
}

fn github_app(request: &Request<'_>) -> Result<Value, Failure> {
    let text = |flag: &str| request.text(flag);
    let key = read(text("app-private-key"), "unable to read private key file")?;
    required(text("app-id"), "githubAppID")?;
    required(&key, "githubAppPrivateKey")?;
    if text("app-installation-owner").is_empty() == text("app-installation-id").is_empty() {
        return Err(Failure::new("exactly one of githubAppInstallationOwner or githubAppInstallationID must be provided"));
    }
    let entries = [
        ("githubAppID", text("app-id")),
        ("githubAppInstallationOwner", text("app-installation-owner")),
        ("githubAppInstallationID", text("app-installation-id")),
        ("githubAppPrivateKey", key.as_str()),
        ("githubAppBaseURL", text("app-base-url")),
    ];
    let data = entries.into_iter().filter(|(_, value)| !value.is_empty()).map(|(key, value)| (key.to_owned(), value.to_owned()));
    Ok(secret(request, &request.name, OPAQUE, data))
}

fn helm(request: &Request<'_>) -> Result<Value, Failure> {
    request.labels()?;
    let authority = read_given(request, "ca-crt-file", "unable to read TLS CA file")?;
    let certificate = read_given(request, "tls-crt-file", "failed to read cert file")?;
    let key = read_given(request, "tls-key-file", "failed to read key file")?;
    let (kind, data) = helm_data(request.text("username"), request.text("password"), &certificate, &key, &authority)?;
    Ok(secret(request, &request.name, kind, own(data)))
}

/// The type and entries of a Helm repository's Secret: a client certificate, else basic authentication, else an authority alone.
pub fn helm_data(username: &str, password: &str, certificate: &str, key: &str, authority: &str) -> Result<(&'static str, Data), Failure> {
    if !certificate.is_empty() || !key.is_empty() {
        return tls_data(certificate, key, authority);
    }
    if !username.is_empty() || !password.is_empty() {
        required(username, "username")?;
        required(password, "password")?;
        let mut data = vec![("username", username.to_owned()), ("password", password.to_owned())];
        if !authority.is_empty() {
            data.push(("ca.crt", authority.to_owned()));
        }
        return Ok((BASIC_AUTH, data));
    }
    if authority.is_empty() { Ok(("", Data::new())) } else { tls_data("", "", authority) }
}

fn tls(request: &Request<'_>) -> Result<Value, Failure> {
    request.labels()?;
    let authority = read_given(request, "ca-crt-file", "unable to read TLS CA file")?;
    let certificate = read_given(request, "tls-crt-file", "failed to read cert file")?;
    let key = read_given(request, "tls-key-file", "failed to read key file")?;
    let (kind, data) = tls_data(&certificate, &key, &authority)?;
    Ok(secret(request, &request.name, kind, own(data)))
}

fn tls_data(certificate: &str, key: &str, authority: &str) -> Result<(&'static str, Data), Failure> {
    match (certificate.is_empty(), key.is_empty()) {
        (false, true) => return Err(Failure::new("found certificate but missing private key")),
        (true, false) => return Err(Failure::new("found private key but missing certificate")),
        (true, true) if authority.is_empty() => return Err(Failure::new("no CA certificate or client certificate pair found")),
        (true, true) => return Ok((OPAQUE, vec![("ca.crt", authority.to_owned())])),
        (false, false) => {}
    }
    check_pair(certificate, key).map_err(|why| Failure::new(format!("invalid TLS certificate and key pair: {why}")))?;
    let mut data = vec![("tls.crt", certificate.to_owned()), ("tls.key", key.to_owned())];
    if !authority.is_empty() {
        data.push(("ca.crt", authority.to_owned()));
    }
    Ok((TLS, data))
}

/// Whether a key belongs to a certificate.
fn check_pair(certificate: &str, key: &str) -> Result<(), String> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| "x509: malformed certificate".to_owned())?;
    let Some(first) = chain.first() else {
        return Err("tls: failed to find any PEM data in certificate input".to_owned());
    };
    rustls::server::ParsedCertificate::try_from(first).map_err(|_| "x509: malformed certificate".to_owned())?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| "tls: failed to find any PEM data in key input".to_owned())?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    match rustls::sign::CertifiedKey::from_der(chain, key, &provider) {
        Ok(_) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => Err("tls: private key does not match public key".to_owned()),
        Err(_) => Err("tls: failed to parse private key".to_owned()),
    }
}

fn oci(request: &Request<'_>) -> Result<Value, Failure> {
    let (url, username, password) = (request.text("url"), request.text("username"), request.text("password"));
    for (value, flag) in [(url, "--url"), (username, "--username"), (password, "--password")] {
        required(value, flag)?;
    }
    let auth = STANDARD.encode(format!("{username}:{password}"));
    let config = json!({"auths": {url: {"username": username, "password": password, "auth": auth}}});
    let config = serde_json::to_string_pretty(&config).map_err(|error| Failure::new(error.to_string()))?;
    Ok(secret(request, &request.name, DOCKER_CONFIG, [(".dockerconfigjson".to_owned(), config)]))
}

fn proxy(request: &Request<'_>) -> Result<Value, Failure> {
    request.labels()?;
    required(request.text("address"), "address")?;
    parse_url(request.text("address")).map_err(|why| Failure::new(format!("invalid proxy address: {why}")))?;
    let entries = ["address", "username", "password"].map(|key| (key.to_owned(), request.text(key).to_owned()));
    Ok(secret(request, &request.name, OPAQUE, entries.into_iter().filter(|(_, value)| !value.is_empty())))
}

fn notation(request: &Request<'_>) -> Result<Value, Failure> {
    let certificates = request.matches.texts("ca-cert-file");
    if certificates.is_empty() {
        return Err(Failure::new("--ca-cert-file is required"));
    }
    let path = request.text("trust-policy-file");
    required(path, "--trust-policy-file")?;
    request.labels()?;
    let policy = read(path, "unable to read trust policy file")?;
    check_trust_policy(path, &policy)?;
    let mut data = Vec::new();
    let mut wrong = Vec::new();
    for certificate in &certificates {
        let name = Path::new(certificate).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if !name.ends_with(".crt") && !name.ends_with(".pem") {
            wrong.push(format!("{name} must end with either .crt or .pem"));
            continue;
        }
        match files::read_text(certificate) {
            Ok(bundle) => data.push((name, bundle)),
            Err(why) => wrong.push(format!("unable to read TLS CA file: {why}")),
        }
    }
    if !wrong.is_empty() {
        return Err(Failure::new(wrong.join("\n")));
    }
    data.push(("trustpolicy.json".to_owned(), policy));
    Ok(secret(request, &request.name, "", data))
}

/// A trust policy must be JSON of a known version with at least one policy.
fn check_trust_policy(path: &str, text: &str) -> Result<(), Failure> {
    let policy: Value = serde_json::from_str(text).map_err(|error| {
        let why = if error.is_eof() { "unexpected end of JSON input".to_owned() } else { error.to_string() };
        Failure::new(format!("failed to unmarshal trust policy {path}: {why}"))
    })?;
    let invalid = |why: &str| Err(Failure::new(format!("invalid trust policy: {why}")));
    match crate::objects::text(&policy, &["version"]) {
        "" => return invalid("trust policy document has empty version, version must be specified"),
        "1.0" => {}
        other => return invalid(&format!("trust policy document uses unsupported version {other:?}")),
    }
    match policy.get("trustPolicies").and_then(Value::as_array) {
        Some(policies) if !policies.is_empty() => Ok(()),
        _ => invalid("trust policy document can not have zero trust policy statements"),
    }
}

fn receiver(request: &Request<'_>) -> Result<Value, Failure> {
    let text = |flag: &str| request.text(flag);
    required(text("type"), "--type")?;
    required(text("hostname"), "--hostname")?;
    let is_gcr = text("type") == "gcr";
    if is_gcr && text("email-claim").is_empty() {
        return Err(Failure::new("--email-claim is required for gcr receiver type"));
    }
    request.labels()?;
    let token = match text("token") {
        "" => hex::encode(rand::random::<[u8; 32]>()),
        given => given.to_owned(),
    };
    let hash = hmac::sha256_hex(&[token.as_bytes(), request.name.as_bytes(), request.context.namespace.as_bytes()]);
    let url = format!("https://{}/hook/{hash}", text("hostname"));
    let mut data = vec![("token", token)];
    if is_gcr {
        let audience = if text("audience-claim").is_empty() { url.clone() } else { text("audience-claim").to_owned() };
        data.extend([("email", text("email-claim").to_owned()), ("audience", audience)]);
    }
    let mut secret = secret(request, &request.name, "", own(data));
    secret["metadata"]["annotations"] = json!({WEBHOOK_ANNOTATION: url});
    Ok(secret)
}
