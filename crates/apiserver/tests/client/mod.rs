//! A client of a server under test, by its kubeconfig.

#![allow(clippy::unwrap_used)]

use apiserver::Running;
use base64::Engine;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

pub struct Access {
    pub client: reqwest::Client,
    pub base: String,
    pub token: String,
}

impl Access {
    pub fn of_kubeconfig(text: &str) -> Self {
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.trim().trim_start_matches("- ").strip_prefix(name)?.strip_prefix(':'));
            line.map(|value| value.trim().trim_matches('"').to_owned())
        };
        let mut builder = reqwest::Client::builder().timeout(Duration::from_secs(60));
        match field("certificate-authority-data") {
            Some(data) => {
                let pem = base64::engine::general_purpose::STANDARD.decode(data).expect("base64");
                builder = builder.tls_certs_only([reqwest::Certificate::from_pem(&pem).expect("a certificate")]);
            }
            None => builder = builder.tls_danger_accept_invalid_certs(true),
        }
        Self {
            client: builder.build().expect("a client"),
            base: field("server").expect("a server address"),
            token: field("token").expect("a token"),
        }
    }
}

/// A connection that says nothing of itself.
#[allow(dead_code, reason = "not every test speaks past HTTP")]
pub async fn connect(running: &Running) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(running.ca.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(running.address).await.unwrap();
    let name = ServerName::try_from(running.address.ip().to_string()).unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}
