use crate::error::Error;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::{Body, ConfigExt};
use std::time::Duration;
use tower::{BoxError, ServiceBuilder};

/// How often a quiet connection is asked for a sign of life, and how long it may take; client-go's are 30 s and 15 s.
const PING_EVERY: Duration = Duration::from_secs(20);
const PONG_WITHIN: Duration = Duration::from_secs(15);
const DIAL_WITHIN: Duration = Duration::from_secs(10);

/// Builds the connection pool of a cluster: one HTTP/2 connection where the server offers it.
///
/// kube's own stack speaks HTTP/1.1 only, that is one connection for each request and each watch, tries requests
/// again for minutes, and cannot see that a peer has vanished. Authentication and TLS settings are kube's.
pub(crate) fn connect(config: kube::Config) -> Result<kube::Client, Error> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Losing the race to another caller is as good as winning it.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    }
    let invalid = |error: kube::Error| Error::Kubeconfig(error.to_string());
    if config.proxy_url.is_some() {
        return proxied(config).map_err(invalid);
    }
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(config.connect_timeout.unwrap_or(DIAL_WITHIN).min(DIAL_WITHIN)));
    let tls = config.rustls_client_config().map_err(invalid)?;
    let mut https = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    if let Some(name) = &config.tls_server_name {
        let name = rustls::pki_types::ServerName::try_from(name.clone())
            .map_err(|_| Error::Kubeconfig("tls-server-name is neither a DNS name nor an address".into()))?;
        https = https.with_server_name_resolver(hyper_rustls::FixedServerNameResolver::new(name));
    }
    let pool = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(90))
        .http2_keep_alive_interval(PING_EVERY)
        .http2_keep_alive_timeout(PONG_WITHIN)
        .http2_keep_alive_while_idle(true)
        .build::<_, Body>(https.enable_all_versions().wrap_connector(tcp));
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer().map_err(invalid)?)
        .layer(config.extra_headers_layer().map_err(invalid)?)
        .map_err(BoxError::from)
        .service(pool);
    Ok(kube::Client::new(service, config.default_namespace))
}

/// Proxies are kube's business.
fn proxied(mut config: kube::Config) -> Result<kube::Client, kube::Error> {
    config.default_retry = false;
    kube::Client::try_from(config)
}
