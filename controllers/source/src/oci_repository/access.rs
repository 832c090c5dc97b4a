//! How the registry of an OCIRepository is spoken to.

use super::Beats;
use crate::certificates;
use crate::problem::{Problem, chain};
use crate::proxy;
use crate::secret::{self, Secret};
use api::meta::FETCH_FAILED;
use api::source::OCIRepositorySpec;
use cluster::Resource;
use oci::{Client, Credentials, DockerConfig, Limits, Reference, Scheme};
use reqwest::{ClientBuilder, Proxy, redirect::Policy};
use serde::Deserialize;
use std::time::Duration;

pub(super) const AUTHENTICATION_FAILED: &str = "AuthenticationFailed";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
pub(crate) const DOCKER_CONFIG: &str = ".dockerconfigjson";

/// A client that follows no redirect and asks no environment.
pub(crate) fn builder() -> ClientBuilder {
    reqwest::Client::builder().redirect(Policy::none()).no_proxy().connect_timeout(CONNECT_TIMEOUT).user_agent("sluice")
}

/// Where the artifact is, as the spec names it: without tag or digest.
pub(super) fn repository(url: &str) -> Result<Reference, Problem> {
    let invalid = |why: String| Problem::of(FETCH_FAILED, "URLInvalid", why).stalls();
    let Some(name) = url.strip_prefix("oci://") else {
        return Err(invalid(format!("URL must be in format 'oci://<domain>/<org>/<repo>', got '{url}'")));
    };
    let reference: Reference = name.parse().map_err(|e| invalid(format!("'{url}' invalid URL: {e}")))?;
    let last = name.rsplit('/').next().unwrap_or(name);
    if last.contains([':', '@']) || reference.digest().is_some() {
        return Err(invalid(format!("URL must not contain a tag; remove ':{}'", last.split([':', '@']).next_back().unwrap_or_default())));
    }
    Ok(reference)
}

/// A client for the registry as the spec's Secrets and ServiceAccount say.
pub(super) async fn client(beats: &Beats, spec: &OCIRepositorySpec, namespace: &str, repository: &Reference) -> Result<Client, Problem> {
    let failed = |message: String| Problem::of(FETCH_FAILED, AUTHENTICATION_FAILED, message);
    let proxy = proxy::read(&beats.client, namespace, spec.proxy_secret_ref.as_ref()).await;
    let proxy = proxy.map_err(|why| failed(format!("failed to get proxy address: {why}")))?;
    let credentials = credentials(beats, spec, namespace, repository).await?;
    let certificates = match &spec.cert_secret_ref {
        None => None,
        Some(reference) => {
            let name = format!("{namespace}/{}", reference.name);
            let transport = |why: String| failed(format!("failed to generate transport for '{}': {why}", spec.url));
            let secret = Secret::read(&beats.client, namespace, &reference.name).await.map_err(|error| match error {
                secret::Error::NotFound(_) => transport(format!("secret '{name}' not found")),
                error => transport(format!("failed to get secret '{name}': {}", chain(&error))),
            })?;
            Some(certificates::read(&secret, &name).map_err(transport)?)
        }
    };
    let http = if proxy.is_none() && certificates.is_none() && !spec.insecure {
        beats.http.clone()
    } else {
        let mut builder = builder();
        if let Some(proxy) = proxy {
            let mut through = Proxy::all(&proxy.address).map_err(|_| failed("failed to get proxy address: it is no URL".to_owned()))?;
            if let Some((username, password)) = &proxy.credentials {
                through = through.basic_auth(username, password);
            }
            builder = builder.proxy(through);
        }
        match certificates {
            Some(certificates) => builder = certificates.apply(builder),
            // As Flux: insecure without certificates accepts any.
            None => builder = builder.tls_danger_accept_invalid_certs(spec.insecure),
        }
        builder.build().map_err(|e| failed(format!("failed to generate transport for '{}': {}", spec.url, chain(&e))))?
    };
    Ok(Client::new(http, Scheme::of(repository.registry(), spec.insecure), credentials, Limits::default()))
}

/// Of the Secret, else of the ServiceAccount's pull Secrets; anonymous when neither knows the registry.
async fn credentials(beats: &Beats, spec: &OCIRepositorySpec, namespace: &str, repository: &Reference) -> Result<Credentials, Problem> {
    let failed = |why: String| Problem::of(FETCH_FAILED, AUTHENTICATION_FAILED, format!("failed to get credential: {why}"));
    let mut names = Vec::new();
    if let Some(reference) = &spec.secret_ref {
        names.push(reference.name.clone());
    }
    if !spec.service_account_name.is_empty() && matches!(spec.provider.as_str(), "" | "generic") {
        names.extend(pull_secrets(beats, namespace, &spec.service_account_name).await.map_err(failed)?);
    }
    for name in names {
        let secret = Secret::read(&beats.client, namespace, &name).await;
        let secret = secret.map_err(|error| {
            let problem = failed(format!("failed to get secret '{namespace}/{name}': {}", chain(&error)));
            // Flux tells a missing Secret twice: for people, and as the failure.
            problem.told(AUTHENTICATION_FAILED, format!("auth secret '{name}' not found"))
        })?;
        let Some(json) = secret.get(DOCKER_CONFIG) else { continue };
        let config = DockerConfig::parse(json).map_err(|e| failed(format!("secret '{namespace}/{name}': {e}")))?;
        match config.credentials(repository.registry(), repository.repository()) {
            Credentials::Anonymous => {}
            found => return Ok(found),
        }
    }
    match spec.provider.as_str() {
        "" | "generic" => Ok(Credentials::Anonymous),
        provider if !spec.service_account_name.is_empty() && !beats.workload_identity => {
            let message = format!(
                "to use spec.serviceAccountName for provider authentication ({provider}) please enable the ObjectLevelWorkloadIdentity feature gate in the controller"
            );
            Err(Problem::of(FETCH_FAILED, "FeatureGateDisabled", message).stalls())
        }
        provider => Err(failed(format!("the provider {provider:?} is not supported by this version; use secretRef"))),
    }
}

async fn pull_secrets(beats: &Beats, namespace: &str, name: &str) -> Result<Vec<String>, String> {
    #[derive(Deserialize)]
    struct Account {
        #[serde(default, rename = "imagePullSecrets")]
        image_pull_secrets: Vec<Named>,
    }
    #[derive(Deserialize)]
    struct Named {
        #[serde(default)]
        name: String,
    }
    let accounts = Resource::namespaced("", "v1", "ServiceAccount", "serviceaccounts");
    match beats.client.get_opt(&accounts, namespace, name).await {
        Ok(Some(bytes)) => {
            let account: Account = serde_json::from_slice(&bytes).map_err(|e| format!("serviceaccount '{namespace}/{name}': {e}"))?;
            Ok(account.image_pull_secrets.into_iter().map(|named| named.name).filter(|name| !name.is_empty()).collect())
        }
        Ok(None) => Err(format!("serviceaccount '{namespace}/{name}' not found")),
        Err(error) => Err(format!("failed to get serviceaccount '{namespace}/{name}': {}", chain(&error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_a_repository_and_no_tag() {
        let parsed = repository("oci://127.0.0.1:5000/team/app").unwrap();
        assert_eq!((parsed.registry(), parsed.repository()), ("127.0.0.1:5000", "team/app"));
        for bad in [
            "https://x/y",
            "oci://h/app:v1",
            "oci://h/app@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "oci://H_/A",
        ] {
            assert_eq!(repository(bad).unwrap_err().reason, "URLInvalid", "{bad}");
        }
    }
}
