use crate::{Access, Error};
use http_client::Tls;
use std::{sync::OnceLock, time::Duration};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// The client that serves every repository without TLS or proxy settings of its own.
#[derive(Default)]
pub(crate) struct Clients {
    shared: OnceLock<reqwest::Client>,
}

impl Clients {
    pub(crate) fn get(&self, access: &Access) -> Result<reqwest::Client, Error> {
        if access.ca_certificate.is_some() || access.identity.is_some() || access.proxy.is_some() {
            return build(access);
        }
        if let Some(client) = self.shared.get() {
            return Ok(client.clone());
        }
        let client = build(access)?;
        Ok(self.shared.get_or_init(|| client).clone())
    }
}

fn build(access: &Access) -> Result<reqwest::Client, Error> {
    let tls = |e: reqwest::Error| Error::Tls(types::innermost(&e).to_string());
    // The environment's proxies do count, as for Flux, unless the source names its own.
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .user_agent(concat!("git/sluice-", env!("CARGO_PKG_VERSION")));
    if access.ca_certificate.is_some() || access.identity.is_some() {
        let identity = access.identity.as_ref().map(|one| (&*one.certificate, &*one.key));
        let tls = Tls::of(access.ca_certificate.as_deref(), true, identity);
        builder = tls.map_err(|error| Error::Tls(error.to_string()))?.apply(builder);
    }
    if let Some(proxy) = &access.proxy {
        let mut through = reqwest::Proxy::all(&proxy.address).map_err(|e| Error::Proxy(types::innermost(&e).to_string()))?;
        if let Some((username, password)) = &proxy.credentials {
            through = through.basic_auth(username, password);
        }
        builder = builder.no_proxy().proxy(through);
    }
    builder.build().map_err(tls)
}
