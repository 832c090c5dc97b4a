//! Which cluster and namespace a command speaks to, and the requests that verbs need.

use super::{Failure, flags, log};
use crate::kinds::Kind;
use ::cluster::{Client, Error, PatchKind, Resource, Selection};
use clap::{Arg, ArgMatches};
use flags::Flags;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::Value;
use std::{env, path::PathBuf, sync::OnceLock, time::Duration};
use types::GoDuration;

/// The field manager of what the command line writes.
pub const FIELD_MANAGER: &str = "flux";
/// How often waiting commands look again.
pub const POLL_EVERY: Duration = Duration::from_millis(500);
const DEFAULT_NAMESPACE: &str = "flux-system";

/// The flags of every command.
pub fn flags() -> Vec<Arg> {
    let all = vec![
        flags::string("namespace", "The namespace scope for this operation").short('n').default_value(default_namespace()),
        flags::switch(
            "ns-follows-kube-context",
            "use the namespace of the kubeconfig context instead of flux-system, also by FLUX_NS_FOLLOWS_KUBE_CONTEXT",
        ),
        flags::duration("timeout", "timeout for this operation").default_value("5m0s"),
        flags::switch("verbose", "accepted for compatibility"),
        flags::string("kubeconfig", "Path to the kubeconfig file to use for CLI requests"),
        flags::string("context", "The name of the kubeconfig context to use"),
        flags::string("cluster", "The name of the kubeconfig cluster to use"),
        flags::string("user", "The name of the kubeconfig user to use"),
        flags::string("server", "The address and port of the Kubernetes API server"),
        flags::string("token", "Bearer token for authentication to the API server"),
        flags::string("as", "Username to impersonate; a regular user or a service account"),
        flags::string_array("as-group", "Group to impersonate, may be repeated"),
        flags::string("as-uid", "UID to impersonate"),
        flags::string_array("as-user-extra", "User extra to impersonate, as key=value, may be repeated"),
        flags::string("certificate-authority", "Path to a certificate file for the certificate authority of the API server"),
        flags::string("client-certificate", "Path to a client certificate file for TLS to the API server"),
        flags::string("client-key", "Path to a client key file for TLS to the API server"),
        flags::switch("insecure-skip-tls-verify", "Do not check the certificate of the API server, which makes connections insecure"),
        flags::string("tls-server-name", "Server name for the check of the API server's certificate"),
        flags::string("cache-dir", "Accepted for compatibility; nothing is cached on disk").default_value(cache_dir()),
        flags::switch("disable-compression", "Do not ask for compressed answers"),
        flags::int("kube-api-burst", "Accepted for compatibility; requests adapt to the server").default_value("300"),
        flags::checked("kube-api-qps", "float32", "Accepted for compatibility; requests adapt to the server", |text| {
            text.parse::<f32>().map(|_| text.to_owned()).map_err(|_| format!("strconv.ParseFloat: parsing {text:?}: invalid syntax"))
        })
        .default_value("50"),
    ];
    all.into_iter().map(|arg| arg.global(true)).collect()
}

/// `flux-system`, unless FLUX_SYSTEM_NAMESPACE holds another valid name.
fn default_namespace() -> &'static str {
    static NAMESPACE: OnceLock<String> = OnceLock::new();
    NAMESPACE.get_or_init(|| match env::var("FLUX_SYSTEM_NAMESPACE") {
        Ok(name) if is_label(&name) => name,
        Ok(name) if !name.is_empty() => {
            log::warning(format!(" ignoring invalid FLUX_SYSTEM_NAMESPACE: {name:?}"));
            DEFAULT_NAMESPACE.to_owned()
        }
        _ => DEFAULT_NAMESPACE.to_owned(),
    })
}

fn cache_dir() -> &'static str {
    static FOLDER: OnceLock<String> = OnceLock::new();
    FOLDER.get_or_init(|| format!("{}/.kube/cache", env::var("HOME").unwrap_or_default()))
}

/// Whether a name is a DNS label (RFC 1123).
pub fn is_label(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&name.len()) && name.bytes().all(inner) && !name.starts_with('-') && !name.ends_with('-')
}

/// What every command knows: where it runs, and how long it may take.
pub struct Context {
    pub namespace: String,
    pub timeout: GoDuration,
    program: String,
    options: Options,
    client: tokio::sync::OnceCell<Client>,
}

/// The flags that choose a cluster.
#[derive(Default)]
struct Options {
    kubeconfig: String,
    context: String,
    cluster: String,
    user: String,
    server: String,
    token: String,
    impersonate: String,
    impersonate_groups: Vec<String>,
    certificate_authority: String,
    client_certificate: String,
    client_key: String,
    insecure: bool,
    tls_server_name: String,
}

impl Context {
    /// Reads the global flags; `own_token` says that the command has a `--token` of its own.
    pub fn new(program: &str, matches: &ArgMatches, own_token: bool) -> Result<Self, Failure> {
        let options = Options {
            kubeconfig: matches.text("kubeconfig").to_owned(),
            context: matches.text("context").to_owned(),
            cluster: matches.text("cluster").to_owned(),
            user: matches.text("user").to_owned(),
            server: matches.text("server").to_owned(),
            token: if own_token { String::new() } else { matches.text("token").to_owned() },
            impersonate: matches.text("as").to_owned(),
            impersonate_groups: matches.texts("as-group"),
            certificate_authority: matches.text("certificate-authority").to_owned(),
            client_certificate: matches.text("client-certificate").to_owned(),
            client_key: matches.text("client-key").to_owned(),
            insecure: matches.is_set("insecure-skip-tls-verify"),
            tls_server_name: matches.text("tls-server-name").to_owned(),
        };
        let mut namespace = matches.text("namespace").to_owned();
        let follows = matches.is_set("ns-follows-kube-context") || env::var("FLUX_NS_FOLLOWS_KUBE_CONTEXT").is_ok_and(|v| !v.is_empty());
        if follows
            && !matches.given("namespace")
            && let Some(of_context) = options.context_namespace()
        {
            namespace = of_context;
        }
        if !is_label(&namespace) {
            return Err(Failure::new(format!("namespace must be a valid DNS label: {namespace:?}")));
        }
        Ok(Self {
            namespace,
            timeout: matches.length("timeout").unwrap_or(GoDuration::from_secs(300)),
            program: program.to_owned(),
            options,
            client: tokio::sync::OnceCell::new(),
        })
    }

    /// The namespace of the kubeconfig's context, where one says it.
    pub fn namespace_of_kubeconfig(&self) -> Option<String> {
        self.options.context_namespace()
    }

    /// What the program calls itself.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// The client, connected at first use.
    pub async fn client(&self) -> Result<&Client, Failure> {
        self.client
            .get_or_try_init(|| async {
                let config = self.config().await?;
                Client::new(config).map_err(Failure::from)
            })
            .await
    }

    /// The kube configuration that the flags describe.
    pub async fn config(&self) -> Result<kube::Config, Failure> {
        self.options.config().await
    }

    /// When the operation must be over.
    pub fn deadline(&self) -> tokio::time::Instant {
        tokio::time::Instant::now() + flags::to_std(self.timeout)
    }

    pub async fn get(&self, kind: &Kind, namespace: &str, name: &str) -> Result<Value, Failure> {
        self.get_resource(&kind.resource(), namespace, name).await
    }

    pub async fn get_resource(&self, resource: &Resource, namespace: &str, name: &str) -> Result<Value, Failure> {
        Ok(self.client().await?.get_as(resource, namespace, name).await?)
    }

    /// `None` when the object does not exist.
    pub async fn find_resource(&self, resource: &Resource, namespace: &str, name: &str) -> Result<Option<Value>, Failure> {
        match self.client().await?.get_opt(resource, namespace, name).await? {
            Some(bytes) => Ok(Some(decode(&bytes)?)),
            None => Ok(None),
        }
    }

    pub async fn find(&self, kind: &Kind, namespace: &str, name: &str) -> Result<Option<Value>, Failure> {
        self.find_resource(&kind.resource(), namespace, name).await
    }

    /// The objects of a selection; an empty namespace means all.
    pub async fn list(&self, resource: &Resource, selection: &Selection) -> Result<Vec<Value>, Failure> {
        let items = self.client().await?.list(resource, selection).await?;
        items.iter().map(|item| serde_json::from_str(item.get()).map_err(|error| Failure::from(Error::Decode(error)))).collect()
    }

    pub async fn merge_patch(&self, kind: &Kind, namespace: &str, name: &str, patch: &Value) -> Result<Value, Failure> {
        let body = patch.to_string().into_bytes();
        decode(&self.client().await?.patch(&kind.resource(), namespace, name, "", PatchKind::Merge, FIELD_MANAGER, body).await?)
    }

    pub async fn create(&self, resource: &Resource, namespace: &str, object: &Value) -> Result<Value, Failure> {
        decode(&self.client().await?.create(resource, namespace, FIELD_MANAGER, object.to_string().into_bytes()).await?)
    }

    pub async fn replace(&self, resource: &Resource, namespace: &str, name: &str, object: &Value) -> Result<Value, Failure> {
        decode(&self.client().await?.replace(resource, namespace, name, FIELD_MANAGER, object.to_string().into_bytes()).await?)
    }
}

fn decode(bytes: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(bytes).map_err(|error| Failure::from(Error::Decode(error)))
}

impl Options {
    fn kubeconfig(&self) -> Result<Option<Kubeconfig>, Failure> {
        let read = if self.kubeconfig.is_empty() {
            match Kubeconfig::from_env() {
                Ok(Some(found)) => Ok(Some(found)),
                Ok(None) => {
                    let path = PathBuf::from(env::var("HOME").unwrap_or_default()).join(".kube/config");
                    if path.exists() { Kubeconfig::read_from(path).map(Some) } else { Ok(None) }
                }
                Err(error) => Err(error),
            }
        } else {
            Kubeconfig::read_from(&self.kubeconfig).map(Some)
        };
        read.map_err(|error| Failure::new(format!("cannot read the kubeconfig: {}", types::chain(&error))))
    }

    fn context_namespace(&self) -> Option<String> {
        let file = self.kubeconfig().ok()??;
        let current = if self.context.is_empty() { file.current_context.clone()? } else { self.context.clone() };
        let context = file.contexts.into_iter().find(|context| context.name == current)?.context?;
        context.namespace.filter(|namespace| !namespace.is_empty())
    }

    async fn config(&self) -> Result<kube::Config, Failure> {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let mut config = match self.kubeconfig()? {
            Some(file) => {
                let options = KubeConfigOptions { context: some(&self.context), cluster: some(&self.cluster), user: some(&self.user) };
                kube::Config::from_custom_kubeconfig(file, &options)
                    .await
                    .map_err(|error| Failure::new(format!("cannot use the kubeconfig: {}", types::chain(&error))))?
            }
            None => match kube::Config::incluster() {
                Ok(config) => config,
                Err(_) if !self.server.is_empty() => kube::Config::new(parse_server(&self.server)?),
                Err(_) => {
                    return Err(Failure::new(
                        "no cluster is configured: give --kubeconfig, set KUBECONFIG, or start one with the command \"up\"",
                    ));
                }
            },
        };
        if !self.server.is_empty() {
            config.cluster_url = parse_server(&self.server)?;
        }
        if !self.token.is_empty() {
            config.auth_info.token = Some(self.token.clone().into());
            config.auth_info.token_file = None;
        }
        if !self.impersonate.is_empty() {
            config.auth_info.impersonate = Some(self.impersonate.clone());
            config.auth_info.impersonate_groups = (!self.impersonate_groups.is_empty()).then(|| self.impersonate_groups.clone());
        }
        if !self.certificate_authority.is_empty() {
            config.root_cert_file = Some(self.certificate_authority.clone().into());
        }
        if !self.client_certificate.is_empty() {
            config.auth_info.client_certificate = some(&self.client_certificate);
            config.auth_info.client_certificate_data = None;
        }
        if !self.client_key.is_empty() {
            config.auth_info.client_key = some(&self.client_key);
            config.auth_info.client_key_data = None;
        }
        config.accept_invalid_certs |= self.insecure;
        if !self.tls_server_name.is_empty() {
            config.tls_server_name = some(&self.tls_server_name);
        }
        Ok(config)
    }
}

fn parse_server(text: &str) -> Result<http::Uri, Failure> {
    let text = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    text.parse().map_err(|error| Failure::new(format!("invalid --server {text:?}: {error}")))
}
