//! Charts in repositories and registries, fetched when a command names one.

use crate::{
    shell::{Failure, Flags as _, files, flags},
    verbs::artifact::registry::keychain,
};
use bytes::Bytes;
use chartrepo::{Index, Listing, Repository, SelectError};
use clap::{Arg, ArgMatches};
use http_client::{Basic, Client, Options, Retry, Tls};
use oci::{Credentials, DockerConfig, Limits, Reference, Scheme, media_type};
use serde_json::Value;
use std::{collections::HashMap, env, fs, path::PathBuf, rc::Rc};
use types::semver::{self, Constraint, Version};

/// Flags that say how repositories are reached.
pub fn flags() -> impl Iterator<Item = Arg> {
    [
        flags::string("ca-file", "verify certificates of HTTPS-enabled servers using this CA bundle"),
        flags::string("cert-file", "identify HTTPS client using this SSL certificate file"),
        flags::string("key-file", "identify HTTPS client using this SSL key file"),
        flags::switch("insecure-skip-tls-verify", "skip tls certificate checks for the chart download"),
        flags::switch("pass-credentials", "pass credentials to all domains"),
        flags::string("username", "chart repository username where to locate the requested chart"),
        flags::string("password", "chart repository password where to locate the requested chart"),
        flags::switch("plain-http", "use insecure HTTP connections for the chart download"),
        flags::string("keyring", "accepted for compatibility; without effect here").hide(true),
        flags::switch("verify", "refused: signatures of charts are not checked here").hide(true),
    ]
    .into_iter()
}

/// Flags that say which chart of which repository.
pub fn choice() -> impl Iterator<Item = Arg> {
    [
        flags::switch("devel", "use development versions, too. Equivalent to version '>0.0.0-0'. If --version is set, this is ignored"),
        flags::string("repo", "chart repository url where to locate the requested chart"),
        flags::string("version", "a version, or a range of versions, of a chart in a repository"),
    ]
    .into_iter()
}

/// A repository of Helm's own configuration.
struct Known {
    name: String,
    url: String,
    credentials: Option<Basic>,
    pass_credentials: bool,
    security: Security,
}

/// Files and a switch that say how connections are made secure, from flags or from Helm's configuration.
#[derive(Clone, Default, PartialEq)]
struct Security {
    authorities: String,
    certificate: String,
    key: String,
    skip: bool,
}

impl Security {
    fn of_flags(matches: &ArgMatches) -> Self {
        let text = |flag: &str| matches.text(flag).to_owned();
        let skip = matches.is_set("insecure-skip-tls-verify");
        Self { authorities: text("ca-file"), certificate: text("cert-file"), key: text("key-file"), skip }
    }

    /// What is not said here is taken from `other`; a certificate and its key come from one place.
    fn or(mut self, other: &Self) -> Self {
        if self.authorities.is_empty() {
            self.authorities.clone_from(&other.authorities);
        }
        if self.certificate.is_empty() && self.key.is_empty() {
            (self.certificate, self.key) = (other.certificate.clone(), other.key.clone());
        }
        Self { skip: self.skip || other.skip, ..self }
    }

    /// Reads the files, for the builders of clients.
    fn read(&self) -> Result<impl Fn(reqwest::ClientBuilder) -> reqwest::ClientBuilder + use<>, Failure> {
        let read = |path: &str| files::read(path).map_err(Failure::new);
        let wrong = |why: &str| Failure::new(format!("can't create TLS config for client: {why}"));
        let identity = match (&*self.certificate, &*self.key) {
            ("", "") => None,
            ("", _) | (_, "") => return Err(wrong("a certificate and its key belong together, and only one of them is given")),
            (certificate, key) => Some((read(certificate)?, read(key)?)),
        };
        let authorities = if self.authorities.is_empty() { None } else { Some(read(&self.authorities)?) };
        let (mut tls, mut shown) = (None, None);
        if self.skip {
            let pem = identity.map(|(certificate, key)| reqwest::Identity::from_pem(&[&certificate[..], b"\n", &key].concat()));
            shown = pem.transpose().map_err(|error| wrong(&types::innermost(&error).to_string()))?;
        } else if authorities.is_some() || identity.is_some() {
            let identity = identity.as_ref().map(|(certificate, key)| (&**certificate, &**key));
            tls = Some(Tls::of(authorities.as_deref(), true, identity).map_err(|error| wrong(&error.to_string()))?);
        }
        let skip = self.skip;
        Ok(move |mut builder: reqwest::ClientBuilder| {
            if let Some(tls) = &tls {
                builder = tls.apply(builder);
            }
            if let Some(identity) = shown.clone() {
                builder = builder.identity(identity);
            }
            if skip { builder.tls_danger_accept_invalid_certs(true) } else { builder }
        })
    }
}

/// What is asked of repositories in the course of one command.
pub struct Remote<'m> {
    matches: &'m ArgMatches,
    runtime: tokio::runtime::Runtime,
    /// A client for each way of making connections secure that was asked for so far.
    clients: Vec<(Security, Client)>,
    registries: Option<reqwest::Client>,
    known: Vec<Known>,
    /// The repository that the command line names. Credentials of the command line go there, and to no repository that a chart names.
    chosen: String,
    listings: HashMap<String, Rc<Listing>>,
}

/// Helm's limits are those of unpacked charts; what is packed is never larger.
const CHART_BYTES_MAX: u64 = 100 << 20;
const INDEX_BYTES_MAX: u64 = 100 << 20;

/// Whether a name can only mean a chart that lies elsewhere.
pub fn is_address(name: &str) -> bool {
    ["oci://", "http://", "https://"].iter().any(|scheme| name.starts_with(scheme))
}

impl<'m> Remote<'m> {
    pub fn new(matches: &'m ArgMatches) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::new(format!("cannot start the runtime: {error}")))?;
        let (clients, registries) = (Vec::new(), None);
        Ok(Self { matches, runtime, clients, registries, known: known()?, chosen: String::new(), listings: HashMap::new() })
    }

    /// What asks a repository.
    fn client(&mut self, security: Security) -> Result<Client, Failure> {
        if let Some((_, client)) = self.clients.iter().find(|(known, _)| *known == security) {
            return Ok(client.clone());
        }
        let client = Client::with(&once(), security.read()?).map_err(|error| Failure::new(error.to_string()))?;
        self.clients.push((security, client.clone()));
        Ok(client)
    }

    /// What asks registries.
    fn registries(&mut self) -> Result<reqwest::Client, Failure> {
        if let Some(client) = &self.registries {
            return Ok(client.clone());
        }
        let options = once();
        let builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(&options.user_agent)
            .connect_timeout(options.connect_timeout)
            .read_timeout(options.read_timeout);
        let built = Security::of_flags(self.matches).read()?(builder).build();
        let client = built.map_err(|error| Failure::new(format!("can't create TLS config for client: {}", types::innermost(&error))))?;
        Ok(self.registries.insert(client).clone())
    }

    /// The archive of the chart that a command line names.
    pub fn chart(&mut self, name: &str) -> Result<Bytes, Failure> {
        let (repo, version) = (self.matches.text("repo").to_owned(), self.matches.text("version").to_owned());
        let version = if version.is_empty() && self.matches.is_set("devel") { ">0.0.0-0".to_owned() } else { version };
        if name.starts_with("oci://") {
            let (archive, pulled) = self.registry_chart(name, &version)?;
            eprint!("{pulled}");
            return Ok(archive);
        }
        if !repo.is_empty() {
            self.chosen.clone_from(&repo);
            return self.repository_chart(&repo, name, &version);
        }
        if is_address(name) {
            let entry = chartrepo::Entry {
                name: shown(name),
                version: String::new(),
                created: jiff::Timestamp::UNIX_EPOCH,
                digest: String::new(),
                urls: vec![name.to_owned()],
            };
            name.clone_into(&mut self.chosen);
            let repository = self.repository(name)?;
            return self.runtime.block_on(repository.chart(&entry, CHART_BYTES_MAX)).map_err(told);
        }
        match name.split_once('/') {
            Some((alias, chart)) => match self.known.iter().find(|known| known.name == alias).map(|known| known.url.clone()) {
                Some(url) => {
                    self.chosen.clone_from(&url);
                    self.repository_chart(&url, chart, &version)
                }
                None => Err(Failure::new(format!("repo {alias} not found"))),
            },
            None => Err(Failure::new(format!("non-absolute URLs should be in form of repo_name/path_to_chart, got: {name}"))),
        }
    }

    /// The repository at an address, as Helm's configuration has it.
    fn known_at(&self, url: &str) -> Option<&Known> {
        self.known.iter().find(|known| known.url.trim_end_matches('/') == url.trim_end_matches('/'))
    }

    fn repository(&mut self, url: &str) -> Result<Repository, Failure> {
        let security = Security::of_flags(self.matches);
        let client = self.client(self.known_at(url).map_or(security.clone(), |known| security.or(&known.security)))?;
        let known = self.known_at(url);
        let (username, password) = (self.matches.text("username"), self.matches.text("password"));
        let given =
            (!username.is_empty() && url == self.chosen).then(|| Basic { username: username.to_owned(), password: password.to_owned() });
        let credentials = given.or_else(|| known.and_then(|known| known.credentials.clone()));
        let pass = self.matches.is_set("pass-credentials") || known.is_some_and(|known| known.pass_credentials);
        Repository::new(url, client, credentials, pass).map_err(told)
    }

    /// The address that a dependency's repository stands for: its own, or that of a name in Helm's configuration.
    pub fn address(&self, repository: &str) -> Result<String, Failure> {
        let Some(alias) = repository.strip_prefix('@').or_else(|| repository.strip_prefix("alias:")) else {
            return Ok(repository.to_owned());
        };
        let known = self.known.iter().find(|known| known.name == alias);
        known
            .map(|known| known.url.clone())
            .ok_or_else(|| Failure::new(format!("no repository definition for {repository}. Please add them via 'helm repo add'")))
    }

    /// How Helm's configuration calls the repository at an address, if it does.
    pub fn name_of(&self, url: &str) -> Option<&str> {
        self.known_at(url).map(|known| known.name.as_str())
    }

    /// The charts of a repository; its index is fetched once.
    pub fn listing(&mut self, url: &str) -> Result<Rc<Listing>, Failure> {
        if let Some(listing) = self.listings.get(url) {
            return Ok(listing.clone());
        }
        let repository = self.repository(url)?;
        let index = self.runtime.block_on(repository.index(INDEX_BYTES_MAX)).map_err(told)?;
        let index = Index::parse(&index).map_err(|error| Failure::new(error.to_string()))?;
        let listing = Rc::new(index.listing());
        self.listings.insert(url.to_owned(), listing.clone());
        Ok(listing)
    }

    /// A chart of a repository, by its name and a version or a range.
    pub fn repository_chart(&mut self, url: &str, name: &str, version: &str) -> Result<Bytes, Failure> {
        let listing = self.listing(url).map_err(|failure| unreachable(url, &failure))?;
        let entry = listing.select(name, version).map_err(|error| {
            let wanted = if version.is_empty() || error == SelectError::NoChart && version.starts_with('>') {
                String::new()
            } else {
                format!(" version {version:?}")
            };
            Failure::new(format!("chart {name:?}{wanted} not found in {} repository", shown(url)))
        })?;
        let repository = self.repository(url)?;
        self.runtime.block_on(repository.chart(entry, CHART_BYTES_MAX)).map_err(told)
    }

    /// A chart of a registry, and what Helm says of it: a version is its tag, and a range means the highest tag in it.
    pub fn registry_chart(&mut self, address: &str, version: &str) -> Result<(Bytes, String), Failure> {
        let text = address.strip_prefix("oci://").unwrap_or(address);
        let wrong = |_| Failure::new(format!("invalid reference {:?}", shown(address)));
        let given: Reference = text.parse().map_err(wrong)?;
        let registry = given.resolve_registry().to_owned();
        let scheme = Scheme::of(&registry, self.matches.is_set("plain-http"));
        let credentials = match (self.matches.text("username"), self.matches.text("password")) {
            ("", _) => logged_in(&registry, given.repository()),
            (username, password) => Credentials::Basic { username: username.to_owned(), password: password.to_owned() },
        };
        let client = oci::Client::new(self.registries()?, scheme, credentials, Limits::default());
        let failed = |error: oci::Error| Failure::new(error.to_string());
        self.runtime.block_on(async {
            let reference =
                if given.digest().is_some() || version.is_empty() && text.rsplit('/').next().is_some_and(|end| end.contains(':')) {
                    given
                } else {
                    let tag = if Version::parse(version).is_ok() {
                        version.replace('+', "_")
                    } else {
                        let tags = client.tags(&given).await.map_err(failed)?;
                        newest(&tags, version)
                            .ok_or_else(|| Failure::new(format!("could not locate a version matching provided version string {version}")))?
                    };
                    Reference::with_tag(given.registry().to_owned(), given.repository().to_owned(), tag)
                };
            let digest = client.resolve(&reference).await.map_err(|error| {
                if error.is_not_found() {
                    Failure::new(format!("failed to perform \"FetchReference\" on source: {reference}: not found"))
                } else {
                    failed(error)
                }
            })?;
            let manifest = client.manifest(&reference, &digest).await.map_err(failed)?;
            let is_chart = |kind: &str| kind == media_type::HELM_CHART || kind == "application/tar+gzip";
            let layer = manifest.layers.iter().find(|layer| is_chart(&layer.media_type));
            let layer = layer
                .ok_or_else(|| Failure::new(format!("manifest does not contain a layer with mediatype {}", media_type::HELM_CHART)))?;
            let bytes = client.blob(&reference, layer).await.map_err(failed)?;
            Ok((bytes, format!("Pulled: {reference}\nDigest: {digest}\n")))
        })
    }
}

/// One attempt, as Helm: whoever waits at the command line tries again.
fn once() -> Options {
    Options { retry: Retry::NEVER, ..Options::default() }
}

/// The highest version among tags that fits a range; without a range the highest release.
fn newest(tags: &[String], range: &str) -> Option<String> {
    let range = Constraint::parse(if range.is_empty() { "*" } else { range }).ok()?;
    let version = |tag: &str| Version::parse_strict(&tag.replace('_', "+")).ok();
    semver::newest(tags.iter().map(String::as_str), &range, version).map(str::to_owned)
}

fn told(error: chartrepo::Error) -> Failure {
    Failure::new(error.to_string())
}

/// An address without what may be a secret in it.
pub fn shown(address: &str) -> String {
    if is_address(address) && address.contains(['@', '?', '#']) { http_client::redact(address) } else { address.to_owned() }
}

/// Helm's words for a repository whose index cannot be had.
pub fn unreachable(url: &str, failure: &Failure) -> Failure {
    let (shown, why) = (shown(url), &failure.message);
    Failure::new(format!("looks like {shown:?} is not a valid chart repository or cannot be reached: {why}"))
}

fn folder(own: &str, below: &str) -> Option<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set(own).or_else(|| set("XDG_CONFIG_HOME").map(|home| home.join("helm"))).or_else(|| Some(set("HOME")?.join(below)))
}

/// The repositories that `helm repo add` has noted.
fn known() -> Result<Vec<Known>, Failure> {
    let file = env::var_os("HELM_REPOSITORY_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
    let Some(file) = file.or_else(|| Some(folder("HELM_CONFIG_HOME", ".config/helm")?.join("repositories.yaml"))) else {
        return Ok(Vec::new());
    };
    let Ok(text) = fs::read_to_string(&file) else { return Ok(Vec::new()) };
    let config = yaml::to_json(&text, yaml::Dialect::Sigs)
        .map_err(|error| Failure::new(format!("couldn't load repositories file ({}): {error}", file.display())))?;
    let listed = config.get("repositories").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    Ok(listed
        .iter()
        .map(|entry| {
            let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            let switch = |key: &str| entry.get(key).and_then(Value::as_bool).unwrap_or(false);
            Known {
                name: text("name"),
                url: text("url"),
                credentials: Some(Basic { username: text("username"), password: text("password") })
                    .filter(|basic| !basic.username.is_empty()),
                pass_credentials: switch("pass_credentials_all"),
                security: Security {
                    authorities: text("caFile"),
                    certificate: text("certFile"),
                    key: text("keyFile"),
                    skip: switch("insecure_skip_tls_verify"),
                },
            }
        })
        .collect())
}

/// What `helm registry login` or `docker login` left behind.
fn logged_in(registry: &str, repository: &str) -> Credentials {
    let file = env::var_os("HELM_REGISTRY_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
    let file = file.or_else(|| Some(folder("HELM_CONFIG_HOME", ".config/helm")?.join("registry/config.json")));
    let config = file.and_then(|file| fs::read(file).ok()).and_then(|bytes| DockerConfig::parse(&bytes).ok());
    match config.map(|config| config.credentials(registry, repository)) {
        None | Some(Credentials::Anonymous) => keychain(registry, repository),
        Some(found) => found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_wins_over_the_configuration() {
        let security = |authorities: &str, certificate: &str, key: &str, skip| Security {
            authorities: authorities.to_owned(),
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            skip,
        };
        let configured = security("ca", "cert", "key", true);
        assert!(Security::default().or(&configured) == configured);
        assert!(security("other", "", "", false).or(&configured) == security("other", "cert", "key", true));
        // A certificate never meets the key of another.
        assert!(security("", "mine", "", false).or(&configured) == security("ca", "mine", "", true));
        let told = |security: Security| security.read().map(|_| ()).unwrap_err().message;
        assert!(told(security("", "mine", "", false)).contains("belong together"));
        assert!(told(security("/nowhere/ca.pem", "", "", false)).contains("/nowhere/ca.pem"));
    }

    #[test]
    fn ranges_choose_among_tags() {
        let tags: Vec<String> = ["1.0.0", "1.2.0", "1.2.1_build", "2.0.0-rc.1", "latest", "v3"].map(str::to_owned).to_vec();
        let chosen = |range: &str| newest(&tags, range);
        assert_eq!(chosen(""), Some("1.2.1_build".to_owned()));
        assert_eq!(chosen("~1.0"), Some("1.0.0".to_owned()));
        assert_eq!(chosen(">0.0.0-0"), Some("2.0.0-rc.1".to_owned()));
        assert_eq!((chosen("^9"), chosen("x y")), (None, None));
    }
}
