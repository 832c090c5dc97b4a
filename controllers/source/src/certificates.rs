//! What a Secret brings to TLS.

use crate::secret::Secret;
use http_client::Tls;

/// Reads `ca.crt`, `tls.crt` and `tls.key`, and the names that they had before. Authorities are trusted beside the system's. `name` is
/// `namespace/name`; no text quotes a key.
pub(crate) fn read(secret: &Secret, name: &str) -> Result<Tls, String> {
    let either = |new: &str, old: &str| secret.filled(new).or_else(|| secret.filled(old));
    let identity = either("tls.crt", "certFile").zip(either("tls.key", "keyFile"));
    let authorities = either("ca.crt", "caFile");
    if authorities.is_none() && identity.is_none() {
        return Err(format!("secret '{name}' must contain either 'ca.crt' or both 'tls.crt' and 'tls.key'"));
    }
    Tls::of(authorities, false, identity).map_err(|error| error.to_string())
}

/// Whether a Secret brings anything of this.
pub(crate) fn are_in(secret: &Secret) -> bool {
    ["ca.crt", "caFile", "tls.crt", "certFile"].iter().any(|key| secret.filled(key).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_refused_without_quoting_them() {
        let told = |data: &[(&str, &str)]| read(&Secret::of(data), "ns/certs").err();
        assert_eq!(told(&[("x", "y")]).unwrap(), "secret 'ns/certs' must contain either 'ca.crt' or both 'tls.crt' and 'tls.key'");
        assert_eq!(told(&[("ca.crt", "nonsense")]).unwrap(), "failed to parse CA certificate");
        assert_eq!(told(&[("caFile", "nonsense")]).unwrap(), "failed to parse CA certificate");
        let bad = told(&[("tls.crt", "s3cret"), ("tls.key", "s3cret")]).unwrap();
        assert!(bad.contains("no PEM") && !bad.contains("s3cret"), "{bad}");
    }
}
