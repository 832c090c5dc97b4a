use crate::Error;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use std::{collections::BTreeMap, fmt};

/// How to say who we are to a registry.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    #[default]
    Anonymous,
    Basic {
        username: String,
        password: String,
    },
    /// A refresh token of an identity provider, exchanged at the registry's realm.
    IdentityToken(String),
    /// A token that is sent as it is.
    RegistryToken(String),
}

impl fmt::Debug for Credentials {
    /// Names the kind only: secrets never reach a log.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Basic { .. } => "Basic(…)",
            Self::IdentityToken(_) => "IdentityToken(…)",
            Self::RegistryToken(_) => "RegistryToken(…)",
        })
    }
}

/// A Docker `config.json`, or the content of a `kubernetes.io/dockerconfigjson` Secret.
#[derive(Default, Deserialize)]
pub struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
}

#[derive(Default, Deserialize)]
struct Auth {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    identitytoken: String,
    #[serde(default)]
    registrytoken: String,
}

impl DockerConfig {
    /// Reads the JSON of a Docker config; only its `auths` matter.
    pub fn parse(json: &[u8]) -> Result<Self, Error> {
        // The parser's message may quote the document, and with it a password.
        serde_json::from_slice(json).map_err(|_| Error::DockerConfig("not a JSON object with a map \"auths\""))
    }

    /// The credentials for a repository: the longest entry that is the registry or a prefix of the path wins.
    pub fn credentials(&self, registry: &str, repository: &str) -> Credentials {
        let wanted = format!("{}/{repository}", canonical(registry));
        self.auths
            .iter()
            .filter_map(|(key, auth)| {
                let key = canonical(key);
                let rest = wanted.strip_prefix(key.as_str())?;
                (rest.is_empty() || rest.starts_with('/')).then_some((key.len(), auth))
            })
            .max_by_key(|(length, _)| *length)
            .map_or(Credentials::Anonymous, |(_, auth)| auth.credentials())
    }
}

/// `https://index.docker.io/v1/`, `docker.io` and `registry-1.docker.io` are one registry; scheme and trailing slash do not count.
fn canonical(key: &str) -> String {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key).trim_end_matches('/');
    let (host, path) = key.split_once('/').map_or((key, ""), |(host, path)| (host, path));
    let host = match host {
        "docker.io" | "registry-1.docker.io" | "registry.hub.docker.com" => "index.docker.io",
        host => host,
    };
    match path {
        "" | "v1" | "v2" => host.to_owned(),
        path => format!("{host}/{path}"),
    }
}

impl Auth {
    fn credentials(&self) -> Credentials {
        if !self.registrytoken.is_empty() {
            return Credentials::RegistryToken(self.registrytoken.clone());
        }
        if !self.identitytoken.is_empty() {
            return Credentials::IdentityToken(self.identitytoken.clone());
        }
        if !self.username.is_empty() {
            return Credentials::Basic { username: self.username.clone(), password: self.password.clone() };
        }
        let decoded = STANDARD.decode(self.auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        match decoded.as_deref().and_then(|text| text.split_once(':')) {
            Some((username, password)) if !username.is_empty() => {
                Credentials::Basic { username: username.to_owned(), password: password.trim_end_matches('\0').to_owned() }
            }
            _ => Credentials::Anonymous,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(username: &str, password: &str) -> Credentials {
        Credentials::Basic { username: username.into(), password: password.into() }
    }

    #[test]
    fn the_longest_matching_entry_wins() {
        let config = DockerConfig::parse(
            br#"{"auths":{"ghcr.io":{"username":"a","password":"1"},"ghcr.io/org":{"auth":"Yjoy"},"https://index.docker.io/v1/":{"username":"c","password":"3"}}}"#,
        )
        .unwrap();
        assert_eq!(config.credentials("ghcr.io", "other/app"), basic("a", "1"));
        assert_eq!(config.credentials("ghcr.io", "org/app"), basic("b", "2"));
        assert_eq!(config.credentials("ghcr.io", "organisation/app"), basic("a", "1"));
        assert_eq!(config.credentials("docker.io", "library/nginx"), basic("c", "3"));
        assert_eq!(config.credentials("quay.io", "x"), Credentials::Anonymous);
    }

    #[test]
    fn a_broken_config_is_refused_without_quoting_it() {
        let error = DockerConfig::parse(b"{\"auths\":{\"x\":{\"password\":\"s3cret\"").err().unwrap();
        assert!(!error.to_string().contains("s3cret"));
        assert!(!format!("{:?}", basic("u", "s3cret")).contains("s3cret"));
    }
}
