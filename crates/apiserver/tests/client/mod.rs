//! A client of a server under test, by its kubeconfig.

use base64::Engine;
use std::time::Duration;

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
