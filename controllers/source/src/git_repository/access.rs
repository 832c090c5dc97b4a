//! From a GitRepository and its Secrets to how its server is spoken to. Pure: the Secrets were read before.

use crate::problem::Problem;
use crate::secret::Secret;
use api::meta::FETCH_FAILED;
use api::source::GitRepositorySpec;
use git::{Access, Address, Credentials, Identity, Proxy, Scheme};

pub(super) const AUTHENTICATION_FAILED: &str = "AuthenticationFailed";
const INVALID_PROVIDER: &str = "InvalidProviderConfiguration";
const GITHUB_APP_ID: &str = "githubAppID";

/// How to reach the repository of `spec`.
///
/// `secret` is what `spec.secretRef` names; its absence where it is named was reported before.
pub(super) fn access(
    spec: &GitRepositorySpec,
    namespace: &str,
    own: Option<Credentials>,
    address: &Address,
    secret: Option<&Secret>,
    proxy: Option<Proxy>,
    workload_identity: bool,
) -> Result<Access, Problem> {
    let invalid = |what: &str| {
        let message = format!("failed to configure authentication options: {what}");
        Problem::of(FETCH_FAILED, AUTHENTICATION_FAILED, message)
    };
    let empty = Secret::default();
    let data = secret.unwrap_or(&empty);
    let credentials = match address.scheme() {
        Scheme::Ssh => Some(ssh(data).map_err(|what| invalid(&what))?),
        scheme => http(data, own, if scheme == Scheme::Https { "https" } else { "http" }).map_err(|what| invalid(&what))?,
    };
    let identity = match (data.filled("tls.crt"), data.filled("tls.key")) {
        (Some(certificate), Some(key)) if address.scheme() == Scheme::Https => {
            Some(Identity { certificate: certificate.to_vec(), key: key.to_vec() })
        }
        _ => None,
    };
    // An authority means nothing without TLS, and must not break a plain address.
    let ca_certificate = data.filled("ca.crt").or(data.filled("caFile")).filter(|_| address.scheme() == Scheme::Https).map(<[u8]>::to_vec);
    provider(spec, namespace, secret, workload_identity)?;
    Ok(Access { credentials, ca_certificate, identity, proxy })
}

fn ssh(data: &Secret) -> Result<Credentials, String> {
    let required =
        |key: &str| data.filled(key).map(<[u8]>::to_vec).ok_or_else(|| format!("invalid 'ssh' auth option: '{key}' is required"));
    let identity = required("identity")?;
    let known_hosts = required("known_hosts")?;
    let passphrase = data.filled("password").map(|p| String::from_utf8_lossy(p).into_owned());
    Ok(Credentials::Ssh { identity, known_hosts, passphrase })
}

fn http(data: &Secret, own: Option<Credentials>, scheme: &str) -> Result<Option<Credentials>, String> {
    let (own_username, own_password) = match own {
        Some(Credentials::Basic { username, password }) => (username, password),
        _ => (String::new(), String::new()),
    };
    if let Some(token) = data.get("bearerToken") {
        if !own_username.is_empty() || !own_password.is_empty() {
            return Err("basic auth and bearer token cannot be set at the same time".to_owned());
        }
        return Ok(Some(Credentials::Bearer(String::from_utf8_lossy(token).trim().to_owned())));
    }
    // What the Secret leaves open, the address may say.
    let or = |text: String, own: String| if text.is_empty() { own } else { text };
    let (username, password) = (or(data.text("username"), own_username), or(data.text("password"), own_password));
    if username.is_empty() && !password.is_empty() {
        return Err(format!("invalid '{scheme}' auth option: 'password' requires 'username' to be set"));
    }
    Ok((!username.is_empty()).then_some(Credentials::Basic { username, password }))
}

fn provider(spec: &GitRepositorySpec, namespace: &str, secret: Option<&Secret>, workload_identity: bool) -> Result<(), Problem> {
    let has_app_data = secret.is_some_and(|secret| secret.filled(GITHUB_APP_ID).is_some());
    let app_data_missing =
        || Problem::of(FETCH_FAILED, INVALID_PROVIDER, "secretRef with github app data must be specified when provider is set to github");
    let not_yet = |provider: &str| {
        let message = format!("failed to configure authentication options: the provider {provider:?} is not supported by this version");
        Problem::of(FETCH_FAILED, AUTHENTICATION_FAILED, message)
    };
    match spec.provider.as_str() {
        provider @ ("azure" | "aws") => {
            if !spec.service_account_name.is_empty() && !workload_identity {
                let message = "to use spec.serviceAccountName for provider authentication please enable the ObjectLevelWorkloadIdentity feature gate in the controller";
                return Err(Problem::of(FETCH_FAILED, "FeatureGateDisabled", message).stalls());
            }
            Err(not_yet(provider))
        }
        "github" => match secret {
            None => Err(app_data_missing().stalls()),
            Some(_) if !has_app_data => Err(app_data_missing()),
            Some(_) => Err(not_yet("github")),
        },
        _ if has_app_data => {
            let name = spec.secret_ref.as_ref().map(|r| r.name.as_str()).unwrap_or_default();
            let message = format!("secretRef '{namespace}/{name}' has github app data but provider is not set to github");
            Err(Problem::of(FETCH_FAILED, INVALID_PROVIDER, message))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(provider: &str) -> GitRepositorySpec {
        let secret_ref = Some(api::meta::LocalObjectReference { name: "creds".into() });
        GitRepositorySpec { provider: provider.into(), secret_ref, ..GitRepositorySpec::default() }
    }

    fn outcome(url: &str, provider: &str, data: &[(&str, &str)]) -> Result<Access, String> {
        let (address, own) = Address::parse(url).unwrap();
        let secret = Secret::of(data);
        let secret = (!data.is_empty()).then_some(&secret);
        access(&spec(provider), "apps", own, &address, secret, None, false).map_err(|p| format!("{} {}", p.reason, p.message))
    }

    fn shown(credentials: Option<Credentials>) -> String {
        match credentials {
            None => "none".into(),
            Some(Credentials::Basic { username, password }) => format!("{username}:{password}"),
            Some(Credentials::Bearer(token)) => token,
            Some(Credentials::Ssh { .. }) => "ssh".into(),
        }
    }

    #[test]
    fn secrets_become_credentials() {
        let table: &[(&str, &[(&str, &str)], &str)] = &[
            ("https://h/x", &[], "none"),
            ("https://h/x", &[("other", "x")], "none"),
            ("http://h/x", &[("username", "u"), ("password", "p")], "u:p"),
            ("https://me:pw@h/x", &[], "me:pw"),
            ("https://me@h/x", &[("password", "p")], "me:p"),
            ("https://h/x", &[("bearerToken", "token"), ("username", "ignored")], "token"),
            ("ssh://git@h/x", &[("identity", "key"), ("known_hosts", "h key")], "ssh"),
        ];
        for (url, data, expected) in table {
            assert_eq!(shown(outcome(url, "", data).ok().unwrap().credentials), *expected, "{url}");
        }
    }

    #[test]
    fn incomplete_secrets_are_told_in_the_words_of_flux() {
        let auth = |text: &str| format!("AuthenticationFailed failed to configure authentication options: {text}");
        let provider = |text: &str| format!("InvalidProviderConfiguration {text}");
        let table: &[(&str, &str, &[(&str, &str)], String)] = &[
            ("http://h/x", "", &[("password", "p")], auth("invalid 'http' auth option: 'password' requires 'username' to be set")),
            ("ssh://h/x", "", &[], auth("invalid 'ssh' auth option: 'identity' is required")),
            ("ssh://h/x", "", &[("identity", "x")], auth("invalid 'ssh' auth option: 'known_hosts' is required")),
            (
                "http://h/x",
                "",
                &[("githubAppID", "1")],
                provider("secretRef 'apps/creds' has github app data but provider is not set to github"),
            ),
            (
                "http://h/x",
                "github",
                &[("username", "u")],
                provider("secretRef with github app data must be specified when provider is set to github"),
            ),
        ];
        for (url, provider, data, expected) in table {
            assert_eq!(outcome(url, provider, data).err().unwrap(), *expected);
        }
    }
}
