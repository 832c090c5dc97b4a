//! Whom a client trusts, and with what it shows itself, in the way of Go's TLS, which users know from Flux and Helm.

use reqwest::ClientBuilder;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};
use rustls_platform_verifier::Verifier;
use std::sync::Arc;

/// Why a client cannot be built. No text quotes what was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    #[error("failed to parse CA certificate")]
    Authorities,
    #[error("failed to parse TLS certificate and key: they are no PEM certificate with its key")]
    Identity,
    #[error("no certificate authorities: {0}")]
    Roots(String),
}

/// How connections are made secure; for the builder of a client.
#[derive(Debug, Clone)]
pub struct Tls(ClientConfig);

impl Tls {
    /// Authorities and a certificate of one's own, as PEM bundles in Secrets and files bring them.
    pub fn builder() -> TlsBuilder {
        TlsBuilder::default()
    }

    /// Of what is there: authorities, which count alone (`only`) or beside the system's, and a certificate of one's own with its key.
    pub fn of(authorities: Option<&[u8]>, only: bool, identity: Option<(&[u8], &[u8])>) -> Result<Self, TlsError> {
        let mut tls = Self::builder();
        if let Some(pem) = authorities {
            tls = if only { tls.trust_only(pem)? } else { tls.trust(pem)? };
        }
        if let Some((certificate, key)) = identity {
            tls = tls.identity(certificate, key)?;
        }
        tls.build()
    }

    /// What the client was told of certificates before does not count any more.
    pub fn apply(&self, client: ClientBuilder) -> ClientBuilder {
        client.tls_backend_preconfigured(self.0.clone())
    }
}

#[derive(Debug, Default)]
pub struct TlsBuilder {
    authorities: Vec<CertificateDer<'static>>,
    only: bool,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

impl TlsBuilder {
    /// Trusts these beside the system's authorities.
    pub fn trust(mut self, pem: &[u8]) -> Result<Self, TlsError> {
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        self.authorities = read.ok().filter(|read| !read.is_empty()).ok_or(TlsError::Authorities)?;
        let mut store = RootCertStore::empty();
        let usable = self.authorities.iter().all(|one| store.add(one.clone()).is_ok());
        if usable { Ok(self) } else { Err(TlsError::Authorities) }
    }

    /// Trusts these, and the system's authorities no more.
    pub fn trust_only(self, pem: &[u8]) -> Result<Self, TlsError> {
        Ok(Self { only: true, ..self.trust(pem)? })
    }

    /// Shows a certificate of its own to servers that ask for one.
    pub fn identity(self, certificate: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or(TlsError::Identity)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError::Identity)?;
        Ok(Self { identity: Some((chain, key)), ..self })
    }

    pub fn build(self) -> Result<Tls, TlsError> {
        let provider = CryptoProvider::get_default().cloned().unwrap_or_else(|| Arc::new(aws_lc_rs::default_provider()));
        let roots = |error: &dyn std::fmt::Display| TlsError::Roots(error.to_string());
        let chains: Arc<dyn ServerCertVerifier> = if self.only {
            let mut store = RootCertStore::empty();
            store.add_parsable_certificates(self.authorities.iter().cloned());
            let built = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone()).build();
            built.map_err(|error| roots(&error))?
        } else {
            let extended = Verifier::new_with_extra_roots(self.authorities.iter().cloned(), provider.clone());
            Arc::new(extended.map_err(|error| roots(&error))?)
        };
        let verifier = Arc::new(Trusting { chains, certificates: self.authorities });
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|error| roots(&error))?.dangerous().with_custom_certificate_verifier(verifier);
        let mut config = match self.identity {
            Some((chain, key)) => config.with_client_auth_cert(chain, key).map_err(|_| TlsError::Identity)?,
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Tls(config))
    }
}

/// Also takes a certificate that was handed over itself, as Go does: what `openssl req -x509` makes for a private server is an
/// authority's, and no chain may end in one.
#[derive(Debug)]
struct Trusting {
    chains: Arc<dyn ServerCertVerifier>,
    certificates: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let refused = match self.chains.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Ok(verified) => return Ok(verified),
            Err(error) => error,
        };
        // The time of the certificate was looked at before its chain: these two say nothing against the certificate itself.
        let only_the_chain = match &refused {
            rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => true,
            rustls::Error::InvalidCertificate(CertificateError::Other(other)) => {
                other.0.downcast_ref::<webpki::Error>() == Some(&webpki::Error::CaUsedAsEndEntity)
            }
            _ => false,
        };
        if !only_the_chain || !self.certificates.iter().any(|known| known == end_entity) {
            return Err(refused);
        }
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chains.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chains.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}
