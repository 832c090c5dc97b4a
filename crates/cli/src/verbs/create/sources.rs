use super::{
    Request,
    draft::{Draft, Fields},
    references::{Reference, chart_source},
    secrets,
};
use crate::{
    kinds::{self, Kind},
    objects,
    shell::{Failure, Flags, Outcome, files, flags, log},
};
use clap::{Arg, Command};
use serde_json::{Value, json};

pub fn command() -> Command {
    flags::group("source", "Create or update sources")
        .arg(flags::duration("fetch-timeout", "how long one fetch may take").global(true))
        .subcommand(git_command())
        .subcommand(oci_command())
        .subcommand(helm_command())
        .subcommand(bucket_command())
        .subcommand(chart_command())
}

pub async fn run(request: &Request<'_>, kind: &str) -> Outcome {
    match kind {
        "git" => git(request).await,
        "oci" => oci(request).await,
        "helm" => helm(request).await,
        "bucket" => bucket(request).await,
        _ => chart(request).await,
    }
}

fn git_command() -> Command {
    flags::leaf("git", "Create or update a GitRepository source")
        .after_help("  # A public repository\n  sluice create source git podinfo --url=https://github.com/stefanprodan/podinfo --branch=master\n\n  # With a token\n  sluice create source git app --url=https://git.example.com/app --branch=main --username=git --password=$TOKEN")
        .args([
            flags::string("url", "address of the repository, over http, https or ssh"),
            flags::string("branch", "branch to follow"),
            flags::string("tag", "tag to take"),
            flags::string("tag-semver", "range of versions to take the highest tag of"),
            flags::string("ref-name", "full name of a reference to follow"),
            flags::string("commit", "commit to take"),
            flags::string("username", "name for basic authentication").short('u'),
            flags::string("password", "password for basic authentication").short('p'),
            flags::string("secret-ref", "existing Secret with the credentials"),
            flags::string("proxy-secret-ref", "existing Secret with a proxy's address and credentials"),
            flags::checked("provider", "generic|github|aws|azure", "how to authenticate", |text| {
                let known = ["generic", "github", "aws", "azure"];
                let unsupported = || format!("source Git provider '{text}' is not supported, must be one of: {}", known.join("|"));
                if known.contains(&text) { Ok(text.to_owned()) } else { Err(unsupported()) }
            }),
            flags::string("ca-file", "file with the certificate authority of the server"),
            flags::string("private-key-file", "file with a private key without passphrase, for ssh"),
            flags::switch("recurse-submodules", "fetch submodules too"),
            flags::switch("silent", "assume that the deploy key is set up").short('s'),
            flags::strings("ignore-paths", "paths to leave out"),
            flags::strings("sparse-checkout-paths", "folders to keep"),
        ])
        .args(ssh_flags())
}

/// The flags of generated SSH keys.
pub fn ssh_flags() -> Vec<Arg> {
    vec![
        flags::checked("ssh-key-algorithm", "rsa|ecdsa|ed25519", "kind of SSH key to make", |text| {
            let known = ["rsa", "ecdsa", "ed25519"];
            let unsupported = || format!("unsupported public key algorithm '{text}', must be one of: {}", known.join(", "));
            if known.contains(&text) { Ok(text.to_owned()) } else { Err(unsupported()) }
        })
        .default_value("ecdsa"),
        flags::checked("ssh-rsa-bits", "rsaKeyBits", "size of an RSA key", |text| match text.parse::<i64>() {
            Err(_) => Err(format!("strconv.Atoi: parsing {text:?}: invalid syntax")),
            Ok(bits) if bits < 1024 => Err("RSA key bit size must be at least 1024".to_owned()),
            Ok(bits) if bits % 8 != 0 => Err("RSA key bit size must be a multiples of 8".to_owned()),
            Ok(_) => Ok(text.to_owned()),
        })
        .default_value("2048"),
        flags::checked("ssh-ecdsa-curve", "p256|p384|p521", "curve of an ECDSA key", |text| {
            let known = ["p256", "p384", "p521"];
            let unsupported = || format!("unsupported curve '{text}', must be one of: {}", known.join(", "));
            if known.contains(&text) { Ok(text.to_owned()) } else { Err(unsupported()) }
        })
        .default_value("p384"),
    ]
}

/// `scheme` and host of a URL.
pub fn parse_url(text: &str) -> Result<(String, String), String> {
    match text.split_once("://") {
        Some((scheme, rest)) => {
            let host = rest.split(['/', '?', '#']).next().unwrap_or("");
            Ok((scheme.to_lowercase(), host.rsplit_once('@').map_or(host, |(_, host)| host).to_owned()))
        }
        None if text.starts_with(':') => Err(format!("parse {text:?}: missing protocol scheme")),
        // `git@host:org/repo`: Go reads a colon in the first segment as a broken scheme.
        None => match text.split_once(':') {
            Some((before, _)) if !before.contains('/') && before.contains('@') => {
                Err(format!("parse {text:?}: first path segment in URL cannot contain colon"))
            }
            Some((scheme, _)) if !scheme.contains('/') => Ok((scheme.to_lowercase(), String::new())),
            _ => Ok((String::new(), String::new())),
        },
    }
}

async fn git(request: &Request<'_>) -> Outcome {
    let text = |flag: &str| request.text(flag);
    if text("url").is_empty() {
        return Err(Failure::new("url is required"));
    }
    let (scheme, _) = parse_url(text("url")).map_err(|why| Failure::new(format!("git URL parse failed: {why}")))?;
    if !matches!(scheme.as_str(), "ssh" | "http" | "https") {
        return Err(Failure::new(format!("git URL scheme '{scheme}' not supported, can be: ssh, http and https")));
    }
    if ["branch", "tag", "tag-semver", "commit", "ref-name"].iter().all(|flag| text(flag).is_empty()) {
        return Err(Failure::new("a Git ref is required, use one of the following: --branch, --tag, --commit, --ref-name or --tag-semver"));
    }
    if !text("ca-file").is_empty() && scheme == "ssh" {
        return Err(Failure::new("specifying a CA file is not supported for Git over SSH"));
    }
    request.labels()?;
    let reference = if !text("commit").is_empty() {
        Fields::new().text("commit", text("commit")).text("branch", text("branch"))
    } else if !text("ref-name").is_empty() {
        Fields::new().text("name", text("ref-name"))
    } else if !text("tag-semver").is_empty() {
        Fields::new().text("semver", text("tag-semver"))
    } else if !text("tag").is_empty() {
        Fields::new().text("tag", text("tag"))
    } else {
        Fields::new().text("branch", text("branch"))
    };
    let sparse = request.matches.texts("sparse-checkout-paths").into_iter().map(Value::from).collect();
    let mut spec = Fields::new()
        .text("url", text("url"))
        .text("interval", &request.interval())
        .text("timeout", &request.length("fetch-timeout"))
        .on("recurseSubmodules", request.matches.is_set("recurse-submodules"))
        .value("ref", reference.into_value())
        .lines("ignore", &request.matches.texts("ignore-paths"))
        .list("sparseCheckout", sparse)
        .reference("secretRef", text("secret-ref"))
        .reference("proxySecretRef", text("proxy-secret-ref"))
        .text("provider", text("provider"));
    if !request.is_export() {
        log::generate("generating GitRepository source");
        if text("secret-ref").is_empty() {
            let data = git_credentials(request, &scheme)?;
            if !data.is_empty() {
                secrets::apply_credentials(request, &request.name, "", data, "repository credentials").await?;
                spec = spec.reference("secretRef", &request.name);
            }
        }
    }
    source(request, &kinds::GIT_REPOSITORY, spec, "GitRepository source", "GitRepository source").await
}

fn git_credentials(request: &Request<'_>, scheme: &str) -> Result<Vec<(&'static str, String)>, Failure> {
    if scheme == "ssh" {
        return Err(Failure::new(
            "an SSH repository needs its key in a Secret: make one with the entries identity and known_hosts, and name it with --secret-ref",
        ));
    }
    if scheme == "http" {
        log::warning("insecure configuration: credentials configured for an HTTP URL");
    }
    let mut data = Vec::new();
    let (username, password) = (request.text("username"), request.text("password"));
    if !username.is_empty() && !password.is_empty() {
        data.extend([("username", username.to_owned()), ("password", password.to_owned())]);
    }
    if scheme == "https" && !request.text("ca-file").is_empty() {
        let bundle = files::read_text(request.text("ca-file")).map_err(|why| Failure::new(format!("unable to read TLS CA file: {why}")))?;
        data.push(("ca.crt", bundle));
    }
    Ok(data)
}

/// The last steps that all sources share.
async fn source(request: &Request<'_>, kind: &'static Kind, spec: Fields, noun: &'static str, made: &'static str) -> Outcome {
    Draft { request, kind, spec, noun, made, skips_unchanged: false, done: format!("{noun} reconciliation completed"), result: fetched }
        .finish()
        .await
}

fn fetched(object: &Value) -> Result<String, Failure> {
    if objects::text(object, &["spec", "type"]) == "oci" {
        return Ok(String::new());
    }
    match objects::text(object, &["status", "artifact", "revision"]) {
        "" => Err(Failure::new(format!("{} source reconciliation completed but no artifact was found", objects::text(object, &["kind"])))),
        revision => Ok(format!("fetched revision: {revision}")),
    }
}

const OCI_PROVIDERS: &[&str] = &["generic", "aws", "azure", "gcp"];

fn verify_flags() -> Vec<Arg> {
    vec![
        flags::one_of(
            "verify-provider",
            "sourceOCIVerifyProvider",
            "source OCI verify provider",
            &["cosign"],
            "how signatures are checked: cosign",
        ),
        flags::string("verify-secret-ref", "Secret with the keys that may have signed"),
        flags::string("verify-subject", "regular expression for the OIDC subject that may have signed"),
        flags::string("verify-issuer", "regular expression for the OIDC issuer that may have signed"),
    ]
}

fn verification(request: &Request<'_>) -> Result<Option<Value>, Failure> {
    let text = |flag: &str| request.text(flag);
    let (issuer, subject) = (text("verify-issuer"), text("verify-subject"));
    if text("verify-provider").is_empty() {
        if !text("verify-secret-ref").is_empty() {
            return Err(Failure::new("a verification provider must be specified when a secret is specified"));
        }
        if !issuer.is_empty() || !subject.is_empty() {
            return Err(Failure::new("a verification provider must be specified when OIDC issuer/subject is specified"));
        }
        return Ok(None);
    }
    let identity = json!({"issuer": issuer, "subject": subject});
    let identities = if issuer.is_empty() && subject.is_empty() { Vec::new() } else { vec![identity] };
    let verify = Fields::new().text("provider", text("verify-provider")).reference("secretRef", text("verify-secret-ref"));
    Ok(Some(verify.list("matchOIDCIdentity", identities).into_value()))
}

fn oci_command() -> Command {
    flags::leaf("oci", "Create or update an OCIRepository source")
        .after_help("  # The newest version inside a range\n  sluice create source oci podinfo --url=oci://ghcr.io/stefanprodan/manifests/podinfo --tag-semver='>=6.0.0'")
        .args([
            flags::one_of("provider", "generic|aws|azure|gcp", "source OCI provider", OCI_PROVIDERS, "how to authenticate").default_value("generic"),
            flags::string("url", "address of the repository, beginning with oci://"),
            flags::string("tag", "tag to take"),
            flags::string("tag-semver", "range of versions to take the highest tag of"),
            flags::string("digest", "digest to take"),
            flags::string("secret-ref", "Secret of type kubernetes.io/dockerconfigjson"),
            flags::string("proxy-secret-ref", "existing Secret with a proxy's address and credentials"),
            flags::string("service-account", "ServiceAccount with image pull secrets"),
            flags::string("cert-ref", "Secret with TLS certificates"),
            flags::strings("ignore-paths", "paths to leave out"),
            flags::switch("insecure", "allow plain HTTP"),
            flags::string("layer-selector", "layer to take, as <media-type>:<operation>"),
        ])
        .args(verify_flags())
}

async fn oci(request: &Request<'_>) -> Outcome {
    let text = |flag: &str| request.text(flag);
    if text("url").is_empty() {
        return Err(Failure::new("url is required"));
    }
    if ["tag", "tag-semver", "digest"].iter().all(|flag| text(flag).is_empty()) {
        return Err(Failure::new("--tag, --tag-semver or --digest is required"));
    }
    let layer = layer_selector(text("layer-selector"))?;
    request.labels()?;
    let reference = Fields::new().text("digest", text("digest")).text("semver", text("tag-semver")).text("tag", text("tag"));
    let spec = Fields::new()
        .text("provider", text("provider"))
        .text("url", text("url"))
        .on("insecure", request.matches.is_set("insecure"))
        .text("interval", &request.interval())
        .value("ref", reference.into_value())
        .lines("ignore", &request.matches.texts("ignore-paths"))
        .maybe("layerSelector", layer)
        .text("timeout", &request.length("fetch-timeout"))
        .text("serviceAccountName", text("service-account"))
        .reference("secretRef", text("secret-ref"))
        .reference("proxySecretRef", text("proxy-secret-ref"))
        .reference("certSecretRef", text("cert-ref"))
        .maybe("verify", verification(request)?);
    source(request, &kinds::OCI_REPOSITORY, spec, "OCIRepository", "OCIRepository").await
}

fn layer_selector(text: &str) -> Result<Option<Value>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    match text.split_once(':') {
        Some((media_type, operation)) if !media_type.is_empty() && !operation.is_empty() => match operation {
            "extract" | "copy" => Ok(Some(json!({"mediaType": media_type, "operation": operation}))),
            _ => Err(Failure::new(format!("invalid --layer-selector {text:?}: operation must be \"extract\" or \"copy\""))),
        },
        _ => Err(Failure::new(format!("invalid --layer-selector {text:?}: must be in the format '<media-type>:<operation>'"))),
    }
}

fn helm_command() -> Command {
    flags::leaf("helm", "Create or update a HelmRepository source")
        .after_help("  # An index over HTTPS\n  sluice create source helm podinfo --url=https://stefanprodan.github.io/podinfo\n\n  # Charts in an OCI registry\n  sluice create source helm podinfo --url=oci://ghcr.io/stefanprodan/charts")
        .args([
            flags::string("url", "address of the repository, over http, https or oci"),
            flags::string("username", "name for basic authentication").short('u'),
            flags::string("password", "password for basic authentication").short('p'),
            flags::string("cert-file", "file with a client certificate"),
            flags::string("key-file", "file with the key of the client certificate"),
            flags::string("ca-file", "file with the certificate authority of the server"),
            flags::string("secret-ref", "existing Secret with the credentials"),
            flags::string("oci-provider", "how to authenticate to an OCI registry"),
            flags::switch("pass-credentials", "send the credentials to other hosts that the index names"),
        ])
}

async fn helm(request: &Request<'_>) -> Outcome {
    let text = |flag: &str| request.text(flag);
    if text("url").is_empty() {
        return Err(Failure::new("url is required"));
    }
    request.labels()?;
    let (scheme, host) = parse_url(text("url")).map_err(|why| Failure::new(format!("url parse failed: {why}")))?;
    if !matches!(scheme.as_str(), "http" | "https" | "oci") {
        return Err(Failure::new(format!("url scheme '{scheme}' not supported, can be: http, https and oci")));
    }
    if host.is_empty() {
        return Err(Failure::new("url host is required"));
    }
    let is_oci = scheme == "oci";
    let pass = request.matches.is_set("pass-credentials");
    let mut spec = Fields::new()
        .text("url", text("url"))
        .text("interval", &request.interval())
        .text("type", if is_oci { "oci" } else { "" })
        .text("provider", if is_oci { text("oci-provider") } else { "" })
        .text("timeout", &request.length("fetch-timeout"))
        .reference("secretRef", text("secret-ref"))
        .on("passCredentials", pass && !text("secret-ref").is_empty());
    if !request.is_export() {
        let read = |flag: &str, what: &str| match request.text(flag) {
            "" => Ok(String::new()),
            path => files::read_text(path).map_err(|why| Failure::new(format!("{what}: {why}"))),
        };
        let authority = read("ca-file", "unable to read TLS CA file")?;
        let (mut certificate, mut key) = (String::new(), String::new());
        if !text("cert-file").is_empty() && !text("key-file").is_empty() {
            certificate = read("cert-file", "failed to read cert file")?;
            key = read("key-file", "failed to read key file")?;
        }
        log::generate("generating HelmRepository source");
        if text("secret-ref").is_empty() {
            let (kind, data) = secrets::helm_data(text("username"), text("password"), &certificate, &key, &authority)?;
            if !data.is_empty() {
                let name = format!("helm-{}", request.name);
                secrets::apply_credentials(request, &name, kind, data, "repository credentials").await?;
                spec = spec.reference("secretRef", &name).on("passCredentials", pass);
            }
        }
    }
    source(request, &kinds::HELM_REPOSITORY, spec, "HelmRepository source", "source").await
}

fn bucket_command() -> Command {
    flags::leaf("bucket", "Create or update a Bucket source").args([
        flags::one_of("provider", "generic|aws|azure|gcp", "source bucket provider", OCI_PROVIDERS, "which service holds the bucket")
            .default_value("generic"),
        flags::string("bucket-name", "name of the bucket"),
        flags::string("endpoint", "host and port of the service"),
        flags::string("access-key", "access key"),
        flags::string("secret-key", "secret key"),
        flags::string("region", "region of the bucket"),
        flags::switch("insecure", "allow plain HTTP"),
        flags::string("secret-ref", "existing Secret with the credentials"),
        flags::string("proxy-secret-ref", "existing Secret with a proxy's address and credentials"),
        flags::strings("ignore-paths", "paths to leave out"),
    ])
}

async fn bucket(request: &Request<'_>) -> Outcome {
    let text = |flag: &str| request.text(flag);
    for flag in ["bucket-name", "endpoint"] {
        if text(flag).is_empty() {
            return Err(Failure::new(format!("{flag} is required")));
        }
    }
    request.labels()?;
    let mut spec = Fields::new()
        .text("bucketName", text("bucket-name"))
        .text("provider", text("provider"))
        .on("insecure", request.matches.is_set("insecure"))
        .text("endpoint", text("endpoint"))
        .text("region", text("region"))
        .text("interval", &request.interval())
        .text("timeout", &request.length("fetch-timeout"))
        .lines("ignore", &request.matches.texts("ignore-paths"))
        .reference("secretRef", text("secret-ref"))
        .reference("proxySecretRef", text("proxy-secret-ref"));
    if !request.is_export() {
        log::generate("generating Bucket source");
        if text("secret-ref").is_empty() && !text("access-key").is_empty() && !text("secret-key").is_empty() {
            let name = format!("bucket-{}", request.name);
            let data = vec![("accesskey", text("access-key").to_owned()), ("secretkey", text("secret-key").to_owned())];
            secrets::apply_credentials(request, &name, "", data, "the bucket credentials").await?;
            spec = spec.reference("secretRef", &name);
        }
    }
    source(request, &kinds::BUCKET, spec, "Bucket source", "Bucket source").await
}

fn chart_command() -> Command {
    flags::leaf("chart", "Create or update a HelmChart source")
        .args([
            flags::string("chart", "name or path of the chart"),
            flags::string("chart-version", "version or range of versions of the chart"),
            flags::checked("source", "helmChartSource", "source of the chart, as <kind>/<name>", chart_source),
            flags::string("reconcile-strategy", "what makes a new chart: ChartVersion or Revision").default_value("ChartVersion"),
        ])
        .args(verify_flags())
}

async fn chart(request: &Request<'_>) -> Outcome {
    let text = |flag: &str| request.text(flag);
    if text("source").is_empty() {
        return Err(Failure::new("chart source is required"));
    }
    if text("chart").is_empty() {
        return Err(Failure::new("chart name or path is required"));
    }
    log::generate("generating HelmChart source");
    request.labels()?;
    let source_reference = Reference { namespace: String::new(), ..Reference::parse(text("source")) };
    let spec = Fields::new()
        .text("chart", text("chart"))
        .text("version", text("chart-version"))
        .text("interval", &request.interval())
        .text("reconcileStrategy", text("reconcile-strategy"))
        .value("sourceRef", source_reference.to_value())
        .maybe("verify", verification(request)?);
    source(request, &kinds::HELM_CHART, spec, "HelmChart source", "source").await
}
