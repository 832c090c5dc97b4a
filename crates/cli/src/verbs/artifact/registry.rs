//! A repository in a registry, as the flags of a command reach it.

use crate::shell::{Context, Failure, Flags, log};
use clap::ArgMatches;
use oci::{Client, Credentials, Descriptor, DockerConfig, Limits, Manifest, Reference, Scheme, media_type};
use serde_json::json;
use std::{collections::BTreeMap, env, future::Future, path::PathBuf};

const PREFIX: &str = "oci://";

/// An address without its `oci://`, and the reference that it is.
pub struct Address {
    text: String,
    reference: Reference,
}

pub fn parse(url: &str) -> Result<Address, Failure> {
    let text = url.strip_prefix(PREFIX).ok_or_else(|| Failure::new("URL must be in format 'oci://<domain>/<org>/<repo>'"))?;
    match text.parse::<Reference>() {
        Ok(reference) => Ok(Address { text: text.to_owned(), reference }),
        Err(_) => Err(Failure::new(format!("'{url}' invalid URL: could not parse reference: {text}"))),
    }
}

/// A repository, and who asks.
pub struct Remote {
    shown: String,
    reference: Reference,
    client: std::sync::Arc<Client>,
}

impl Remote {
    pub async fn open(context: &Context, matches: &ArgMatches, address: Address) -> Result<Self, Failure> {
        let registry = address.reference.resolve_registry().to_owned();
        let scheme = Scheme::of(&registry, matches.is_set("insecure-registry"));
        let provider = matches.text("provider");
        let credentials = if provider != "generic" {
            log::action("logging in to registry with provider credentials");
            return Err(Failure::new(format!(
                "error during login with provider: credentials of {provider} are not available here; use --creds, or log in with docker"
            )));
        } else if matches.text("creds").is_empty() {
            keychain(&registry, address.reference.repository())
        } else {
            log::action("logging in to registry with credentials");
            let creds = matches.text("creds");
            let (username, password) = creds.split_once(':').unwrap_or((creds, ""));
            Credentials::Basic { username: username.to_owned(), password: password.to_owned() }
        };
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(std::time::Duration::from_secs(30))
            .user_agent(concat!("sluice/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Failure::new(error.to_string()))?;
        if let Err(error) = within(context, ping(&http, scheme, &registry)).await {
            return Err(error.context(&format!("error setting up transport: Get \"https://{registry}/v2/\"")));
        }
        let client = Client::new(http, scheme, credentials, Limits::default());
        Ok(Self { shown: address.text, reference: address.reference, client: client.into() })
    }

    /// The address as it was given, without `oci://`.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// `registry/repository`.
    pub fn repository(&self) -> String {
        let registry = self.reference.registry();
        let registry = if registry == "docker.io" { "index.docker.io" } else { registry };
        format!("{registry}/{}", self.reference.repository())
    }

    pub fn tag(&self) -> &str {
        self.reference.tag().unwrap_or("latest")
    }

    pub fn with_tag(&self, tag: &str) -> Self {
        let reference = Reference::with_tag(self.reference.registry().to_owned(), self.reference.repository().to_owned(), tag.to_owned());
        Self { shown: self.shown.clone(), reference, client: self.client.clone() }
    }

    pub async fn manifest(&self, context: &Context) -> Result<(Manifest, String), Failure> {
        within(context, async {
            let digest = self.client.resolve(&self.reference).await?;
            Ok((self.client.manifest(&self.reference, &digest).await?, digest.to_string()))
        })
        .await
    }

    pub async fn blob(&self, context: &Context, layer: &Descriptor) -> Result<Vec<u8>, Failure> {
        within(context, async { Ok(self.client.blob(&self.reference, layer).await?.to_vec()) }).await
    }

    pub async fn tags(&self, context: &Context) -> Result<Vec<String>, Failure> {
        within(context, self.client.tags(&self.reference)).await
    }

    pub async fn tag_as(&self, context: &Context, tag: &str) -> Result<(), Failure> {
        let tagged = within(context, self.client.tag(&self.reference, tag)).await;
        match tagged {
            // The manifest that is to be tagged, and not the tag, is what is missing.
            Err(failure) if failure.message.starts_with("GET ") || failure.message.starts_with("HEAD ") => {
                let text = failure.message.replacen("HEAD ", "GET ", 1);
                Err(Failure::new(format!("fetching {:?}: {text}", self.shown)))
            }
            other => other.map(|_| ()),
        }
    }

    /// Pushes one layer with a config that says when it was made; returns the manifest's digest.
    pub async fn push(
        &self,
        context: &Context,
        layer: Vec<u8>,
        annotations: BTreeMap<String, String>,
        created: &str,
    ) -> Result<String, Failure> {
        let inflated = inflate(&layer)?;
        let config = json!({
            "architecture": "",
            "created": created,
            "history": [{"created": "0001-01-01T00:00:00Z"}],
            "os": "",
            "rootfs": {"type": "layers", "diff_ids": [types::Digest::sha256(&inflated).to_string()]},
            "config": {},
        });
        within(context, async {
            let config = self.client.push_blob(&self.reference, media_type::FLUX_CONFIG, config.to_string().into_bytes().into()).await?;
            let layer = self.client.push_blob(&self.reference, media_type::FLUX_CONTENT, layer.into()).await?;
            let manifest = Manifest {
                media_type: Some(media_type::MANIFEST.to_owned()),
                config,
                layers: vec![layer],
                annotations: Some(annotations),
                ..Manifest::default()
            };
            Ok(self.client.push_manifest(&self.reference, &manifest).await?.to_string())
        })
        .await
    }
}

fn inflate(bytes: &[u8]) -> Result<Vec<u8>, Failure> {
    use std::io::Read as _;
    let mut out = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut out).map_err(|error| Failure::new(error.to_string()))?;
    Ok(out)
}

/// Asks the registry whether it is there; any answer will do.
async fn ping(http: &reqwest::Client, scheme: Scheme, registry: &str) -> Result<(), oci::Error> {
    let scheme = scheme.settle(http, registry).await;
    let url = format!("{scheme}://{registry}/v2/");
    match http.get(&url).send().await {
        Ok(_) => Ok(()),
        Err(error) => {
            let cause = types::innermost(&error).to_string();
            Err(oci::Error::Transport { method: "GET", url, cause })
        }
    }
}

/// Ends with the command's time.
async fn within<T>(context: &Context, work: impl Future<Output = Result<T, oci::Error>>) -> Result<T, Failure> {
    match tokio::time::timeout_at(context.deadline(), work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Failure::new(error.to_string())),
        Err(_) => Err(Failure::new("context deadline exceeded")),
    }
}

/// What `docker login` left behind, if anything.
pub(crate) fn keychain(registry: &str, repository: &str) -> Credentials {
    let folder = env::var_os("DOCKER_CONFIG").map(PathBuf::from).or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".docker")));
    let Some(bytes) = folder.and_then(|folder| std::fs::read(folder.join("config.json")).ok()) else { return Credentials::Anonymous };
    match DockerConfig::parse(&bytes) {
        Ok(config) => config.credentials(registry, repository),
        Err(error) => {
            log::warning(error.to_string());
            Credentials::Anonymous
        }
    }
}
