use crate::{Credentials, Error};
use std::fmt;

/// How a repository is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    Http,
    Https,
    Ssh,
}

/// The address of a repository, free of credentials, so that it can be shown anywhere.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Address {
    scheme: Scheme,
    url: reqwest::Url,
    /// As it was written, without credentials: what users search for in messages.
    shown: String,
}

impl Address {
    /// Reads an address; credentials inside of it are taken out and returned beside it.
    pub fn parse(text: &str) -> Result<(Self, Option<Credentials>), Error> {
        let bad = |why: &str| Error::Address { url: redact(text), why: why.to_owned() };
        if text.len() > 8192 || text.chars().any(char::is_control) {
            return Err(bad("it holds control characters or is too long"));
        }
        let mut url = reqwest::Url::parse(text).map_err(|e| bad(&e.to_string()))?;
        let scheme = match url.scheme() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "ssh" => Scheme::Ssh,
            other => return Err(bad(&format!("the scheme {other:?} is not http, https or ssh"))),
        };
        let host = url.host_str().unwrap_or_default();
        // A host that begins with "-" is an option to programs that are handed it (CVE-2017-1000117).
        if host.is_empty() || host.starts_with('-') || url.username().starts_with('-') {
            return Err(bad("the host or user is not valid"));
        }
        let credentials = (!url.username().is_empty() || url.password().is_some())
            .then(|| Credentials::Basic { username: decode(url.username()), password: decode(url.password().unwrap_or_default()) });
        let shown = if credentials.is_some() { redact(text) } else { text.to_owned() };
        if scheme != Scheme::Ssh {
            url.set_username("").and_then(|()| url.set_password(None)).map_err(|()| bad("its user cannot be removed"))?;
        }
        url.set_fragment(None);
        Ok((Self { scheme, url, shown }, credentials))
    }

    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The URL without credentials.
    pub fn url(&self) -> &reqwest::Url {
        &self.url
    }

    /// A relative address of a submodule (`../other.git`) seen from this repository.
    pub(crate) fn join(&self, relative: &str) -> Option<String> {
        let mut base = self.url.clone();
        let path = format!("{}/", base.path().trim_end_matches('/'));
        base.set_path(&path);
        let joined = base.join(relative).ok()?;
        (joined.host_str() == self.url.host_str() && joined.scheme() == self.url.scheme()).then(|| joined.to_string())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.shown)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.shown)
    }
}

/// The text of an address with its user information left out.
fn redact(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..authority_end].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => text.to_owned(),
    }
}

/// Undoes percent encoding; what is malformed stays as it is.
pub(crate) fn decode(text: &str) -> String {
    let (bytes, mut out, mut at) = (text.as_bytes(), Vec::with_capacity(text.len()), 0);
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten().and_then(|h| u8::from_str_radix(h, 16).ok());
        match hex {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_leave_the_address() {
        let (address, credentials) = Address::parse("https://bob:p%40ss@example.com/x.git").unwrap();
        assert_eq!(address.to_string(), "https://example.com/x.git");
        assert_eq!(address.url().as_str(), "https://example.com/x.git");
        assert!(matches!(credentials, Some(Credentials::Basic { username, password }) if username == "bob" && password == "p@ss"));
        assert_eq!(format!("{address:?}"), "https://example.com/x.git");
    }

    #[test]
    fn dangerous_addresses_are_refused_without_showing_secrets() {
        for bad in [
            "ssh://-oProxyCommand=x/y",
            "ext::sh -c x",
            "file:///etc",
            "git://h/x",
            "http://-x/",
            "https://h/\nx",
            "x",
            "",
            "https://u:secret@/x",
        ] {
            let error = Address::parse(bad).err().expect("it must be refused").to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn relative_addresses_stay_on_their_host() {
        let (address, _) = Address::parse("https://example.com/org/app.git").unwrap();
        assert_eq!(address.join("../lib.git").as_deref(), Some("https://example.com/org/lib.git"));
        assert_eq!(address.join("//evil.example/x"), None);
    }
}
