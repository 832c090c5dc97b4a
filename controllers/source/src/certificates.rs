//! What a Secret brings to TLS.

use crate::secret::Secret;
use reqwest::{Certificate, ClientBuilder, Identity};

/// Authorities to trust beside the system's, and a certificate of our own.
pub(crate) struct Certificates {
    authorities: Vec<Certificate>,
    identity: Option<Identity>,
}

impl Certificates {
    /// Reads `ca.crt`, `tls.crt` and `tls.key`, and the names that they had before. `name` is `namespace/name`; no text quotes a key.
    pub(crate) fn read(secret: &Secret, name: &str) -> Result<Self, String> {
        let either = |new: &str, old: &str| secret.filled(new).or_else(|| secret.filled(old)).map(<[u8]>::to_vec);
        let (ca, certificate, key) = (either("ca.crt", "caFile"), either("tls.crt", "certFile"), either("tls.key", "keyFile"));
        if ca.is_none() && (certificate.is_none() || key.is_none()) {
            return Err(format!("secret '{name}' must contain either 'ca.crt' or both 'tls.crt' and 'tls.key'"));
        }
        let authorities = match ca {
            Some(pem) => Certificate::from_pem_bundle(&pem).unwrap_or_default(),
            None => Vec::new(),
        };
        if authorities.is_empty() && either("ca.crt", "caFile").is_some() {
            return Err("failed to parse CA certificate".to_owned());
        }
        let identity = match (certificate, key) {
            (Some(certificate), Some(key)) => {
                let identity = Identity::from_pem(&[&certificate[..], b"\n", &key].concat());
                Some(identity.map_err(|_| "failed to parse TLS certificate and key: they are no PEM certificate with its key".to_owned())?)
            }
            _ => None,
        };
        Ok(Self { authorities, identity })
    }

    /// Whether a Secret brings anything of this.
    pub(crate) fn are_in(secret: &Secret) -> bool {
        ["ca.crt", "caFile", "tls.crt", "certFile"].iter().any(|key| secret.filled(key).is_some())
    }

    pub(crate) fn apply(self, mut builder: ClientBuilder) -> ClientBuilder {
        for authority in self.authorities {
            builder = builder.add_root_certificate(authority);
        }
        match self.identity {
            Some(identity) => builder.identity(identity),
            None => builder,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_refused_without_quoting_them() {
        let told = |data: &[(&str, &str)]| Certificates::read(&Secret::of(data), "ns/certs").err();
        assert_eq!(told(&[("x", "y")]).unwrap(), "secret 'ns/certs' must contain either 'ca.crt' or both 'tls.crt' and 'tls.key'");
        assert_eq!(told(&[("ca.crt", "nonsense")]).unwrap(), "failed to parse CA certificate");
        assert_eq!(told(&[("caFile", "nonsense")]).unwrap(), "failed to parse CA certificate");
        let bad = told(&[("tls.crt", "s3cret"), ("tls.key", "s3cret")]).unwrap();
        assert!(bad.contains("no PEM") && !bad.contains("s3cret"), "{bad}");
    }
}
