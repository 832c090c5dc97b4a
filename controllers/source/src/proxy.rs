//! The Secret of `spec.proxySecretRef`.

use crate::problem::chain;
use crate::secret::{self, Secret};
use api::meta::LocalObjectReference;
use cluster::Client;
use git::Proxy;

const ADDRESS_LEN_MAX: usize = 2048;

/// The proxy that an object asks for; `None` when it asks for none.
pub(crate) async fn read(client: &Client, namespace: &str, reference: Option<&LocalObjectReference>) -> Result<Option<Proxy>, String> {
    let Some(reference) = reference else { return Ok(None) };
    let name = format!("{namespace}/{}", reference.name);
    match Secret::read(client, namespace, &reference.name).await {
        Ok(secret) => proxy(&secret, &name).map(Some),
        Err(secret::Error::NotFound(_)) => Err(format!("secret '{name}' not found")),
        Err(error) => Err(format!("failed to get secret '{name}': {}", chain(&error))),
    }
}

/// The proxy that a Secret describes; `name` is `namespace/name`.
fn proxy(data: &Secret, name: &str) -> Result<Proxy, String> {
    let Some(address) = data.get("address") else { return Err(format!("secret '{name}': key 'address' not found")) };
    let address = String::from_utf8_lossy(address).into_owned();
    if address.is_empty() {
        return Err(format!("secret '{name}': proxy address is empty"));
    }
    if address.len() > ADDRESS_LEN_MAX {
        return Err(format!("secret '{name}': proxy URL exceeds maximum length of {ADDRESS_LEN_MAX} characters"));
    }
    let scheme = address.split_once("://").map_or("", |(scheme, _)| scheme);
    if !["http", "https", "socks5"].contains(&scheme) {
        return Err(format!("secret '{name}': proxy URL must use one of the supported schemes (http, https, socks5), got '{scheme}'"));
    }
    let credentials = data.get("username").map(|_| (data.text("username"), data.text("password")));
    Ok(Proxy { address, credentials })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_needs_an_address_of_a_known_scheme() {
        let text = |data: &[(&str, &str)]| proxy(&Secret::of(data), "apps/proxy").map(|p| p.address);
        assert_eq!(text(&[("address", "http://proxy:3128")]), Ok("http://proxy:3128".to_owned()));
        assert_eq!(text(&[("username", "u")]), Err("secret 'apps/proxy': key 'address' not found".to_owned()));
        assert_eq!(text(&[("address", "")]), Err("secret 'apps/proxy': proxy address is empty".to_owned()));
        assert!(text(&[("address", "ftp://x")]).unwrap_err().ends_with("got 'ftp'"));
    }
}
