use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A certificate cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
    #[error("the stored certificate cannot be read")]
    Stored,
}

/// What makes a server recognisable: its authority, its own certificate, its token and signing key.
#[derive(Serialize, Deserialize)]
pub struct Identity {
    pub ca_pem: String,
    certificate: Vec<u8>,
    key: Vec<u8>,
    pub signing_key: Vec<u8>,
    pub token: String,
    /// The host that the certificate is for.
    pub host: IpAddr,
}

impl Identity {
    pub fn generate(host: IpAddr, token: String, signing_key: Vec<u8>) -> Result<Self, Error> {
        let mut ca = CertificateParams::default();
        ca.distinguished_name.push(DnType::CommonName, "sluice-ca");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::CrlSign];
        let ca_key = KeyPair::generate()?;
        let ca_certificate = ca.self_signed(&ca_key)?;
        let issuer = Issuer::new(ca, ca_key);
        let names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
        let mut leaf = CertificateParams::new(names.map(str::to_owned).to_vec())?;
        leaf.distinguished_name.push(DnType::CommonName, "sluice-apiserver");
        leaf.use_authority_key_identifier_extension = true;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        for address in [host, IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])] {
            leaf.subject_alt_names.push(SanType::IpAddress(address));
        }
        let key = KeyPair::generate()?;
        let certificate = leaf.signed_by(&key, &issuer)?;
        Ok(Self {
            ca_pem: ca_certificate.pem(),
            certificate: certificate.der().to_vec(),
            key: key.serialize_der(),
            signing_key,
            token,
            host,
        })
    }

    pub fn tls(&self) -> Result<rustls::ServerConfig, Error> {
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let certificate = CertificateDer::from(self.certificate.clone());
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()));
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| Error::Stored)?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .map_err(|_| Error::Stored)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}
