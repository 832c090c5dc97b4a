//! From a HelmRepository and its Secrets to how its server is spoken to.

use super::{Registry, Remotes};
use crate::certificates;
use crate::oci_repository::access as registries;
use crate::problem::{Problem, chain};
use crate::secret::{self, Secret};
use crate::visit::timeout;
use api::meta::{FETCH_FAILED, LocalObjectReference};
use api::source::HelmRepositorySpec;
use chartrepo::Repository;
use http_client::{Basic, Tls};
use oci::{Credentials, DockerConfig, Reference};

/// A repository, ready to be asked.
pub(crate) enum Remote {
    Http(Repository),
    Registry(Registry),
}

/// Whether a repository is an OCI registry.
pub(crate) fn is_registry(spec: &HelmRepositorySpec) -> bool {
    spec.r#type == "oci"
}

fn unauthenticated(message: String) -> Problem {
    Problem::of(FETCH_FAILED, "AuthenticationFailed", message)
}

fn invalid(why: impl std::fmt::Display) -> Problem {
    Problem::of(FETCH_FAILED, "URLInvalid", format!("invalid Helm repository URL: {why}")).stalls()
}

impl Remotes {
    /// The repository as the spec's Secrets say.
    pub(crate) async fn open(&self, spec: &HelmRepositorySpec, namespace: &str) -> Result<Remote, Problem> {
        let address = chartrepo::normalize(&spec.url).map_err(invalid)?;
        let certificates = match self.secret(spec.cert_secret_ref.as_ref(), namespace, "TLS authentication").await? {
            Some((secret, name)) => Some(certificates::read(&secret, &name).map_err(not_certificates)?),
            None => None,
        };
        let auth = self.secret(spec.secret_ref.as_ref(), namespace, "authentication").await?;
        let basic = match &auth {
            Some((secret, name)) => {
                let why = |why: String| unauthenticated(format!("failed to detect authentication methods: {why}"));
                basic(secret, name).map_err(why)?
            }
            None => None,
        };
        if is_registry(spec) {
            return self.registry(spec, &address, auth.as_ref(), basic, certificates).map(Remote::Registry);
        }
        // Certificates beside the password: as older versions of Flux had it.
        let certificates = match (certificates, &auth) {
            (None, Some((secret, name))) if certificates::are_in(secret) => {
                Some(certificates::read(secret, name).map_err(not_certificates)?)
            }
            (certificates, _) => certificates,
        };
        let http = match certificates {
            None => self.http.clone(),
            Some(certificates) => {
                let options = http_client::Options {
                    timeout: timeout(spec.timeout),
                    retry: http_client::Retry::NEVER,
                    ..http_client::Options::default()
                };
                let made = http_client::Client::with(&options, |builder| certificates.apply(builder));
                made.map_err(|e| not_certificates(e.to_string()))?
            }
        };
        let made = Repository::new(&spec.url, http, basic, spec.pass_credentials);
        made.map(Remote::Http).map_err(|error| match error {
            chartrepo::Error::Scheme(_) => {
                let scheme = spec.url.split("://").next().unwrap_or_default();
                let message = format!("failed to construct Helm client: scheme {scheme:?} not supported");
                Problem::of(FETCH_FAILED, "Failed", message).stalls()
            }
            error => invalid(error),
        })
    }

    fn registry(
        &self,
        spec: &HelmRepositorySpec,
        address: &str,
        auth: Option<&(Secret, String)>,
        basic: Option<Basic>,
        certificates: Option<Tls>,
    ) -> Result<Registry, Problem> {
        let unsupported = || invalid(format!("invalid OCI registry URL: {address}"));
        let base = address.strip_prefix("oci://").ok_or_else(unsupported)?;
        let reference: Reference = format!("{base}/chart").parse().map_err(|_| unsupported())?;
        let config = auth.and_then(|(secret, name)| secret.get(registries::DOCKER_CONFIG).map(|json| (json, name)));
        let credentials = match (config, basic) {
            (Some((json, name)), _) => {
                let why = |e| unauthenticated(format!("failed to configure login options: secret '{name}': {e}"));
                DockerConfig::parse(json).map_err(why)?.credentials(reference.registry(), reference.repository())
            }
            (None, Some(Basic { username, password })) => Credentials::Basic { username, password },
            (None, None) if auth.is_none() && !matches!(spec.provider.as_str(), "" | "generic") => {
                let message = format!(
                    "failed to get credential from '{0}': the provider {0:?} is not supported by this version; use secretRef",
                    spec.provider
                );
                return Err(unauthenticated(message));
            }
            (None, None) => Credentials::Anonymous,
        };
        let http = match certificates {
            None => self.registries.clone(),
            Some(certificates) => certificates.apply(registries::builder()).build().map_err(|e| not_certificates(chain(&e)))?,
        };
        Ok(Registry::new(base, http, spec.insecure, credentials, self.limits))
    }

    async fn secret(
        &self,
        reference: Option<&LocalObjectReference>,
        namespace: &str,
        what: &str,
    ) -> Result<Option<(Secret, String)>, Problem> {
        let Some(reference) = reference else { return Ok(None) };
        let name = format!("{namespace}/{}", reference.name);
        match Secret::read(&self.client, namespace, &reference.name).await {
            Ok(secret) => Ok(Some((secret, name))),
            Err(error @ secret::Error::NotFound(_)) => Err(unauthenticated(format!("failed to get {what} secret '{name}': {error}"))),
            Err(error) => Err(unauthenticated(format!("failed to get {what} secret '{name}': {}", chain(&error)))),
        }
    }
}

fn not_certificates(why: String) -> Problem {
    unauthenticated(format!("failed to construct Helm client's TLS config: {why}"))
}

/// User and password of a Secret; both or none.
fn basic(secret: &Secret, name: &str) -> Result<Option<Basic>, String> {
    let malformed = |has: &str, lacks: &str| Err(format!("secret '{name}': malformed basic auth - has '{has}' but missing '{lacks}'"));
    match (secret.get("username"), secret.get("password")) {
        (None, None) => Ok(None),
        (Some(_), None) => malformed("username", "password"),
        (None, Some(_)) => malformed("password", "username"),
        (Some(_), Some(_)) => Ok(Some(Basic { username: secret.text("username"), password: secret.text("password") })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_password_is_refused_without_quoting_it() {
        let told = |data: &[(&str, &str)]| basic(&Secret::of(data), "apps/creds").err();
        assert_eq!(
            told(&[("username", "u")]).as_deref(),
            Some("secret 'apps/creds': malformed basic auth - has 'username' but missing 'password'")
        );
        assert_eq!(
            told(&[("password", "s3cret")]).as_deref(),
            Some("secret 'apps/creds': malformed basic auth - has 'password' but missing 'username'")
        );
        assert_eq!(told(&[]), None);
        let whole = basic(&Secret::of(&[("username", "u"), ("password", "p")]), "").ok().flatten().unwrap();
        assert_eq!((whole.username.as_str(), whole.password.as_str()), ("u", "p"));
    }
}
