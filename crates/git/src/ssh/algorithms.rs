//! Which algorithms connections may agree on.

use crate::Error;
use russh::{
    Preferred,
    kex::Name,
    keys::{Algorithm, EcdsaCurve, HashAlg},
};

/// Algorithms of key exchanges and host keys by their names on the wire; the safe ones where none are chosen.
#[derive(Debug, Clone, Default)]
pub struct Algorithms {
    exchanges: Vec<Name>,
    host_keys: Vec<Algorithm>,
}

impl Algorithms {
    /// Only these, in this order. An empty list chooses nothing; an unknown name is an error that names the known ones.
    pub fn only(exchanges: &[String], host_keys: &[String]) -> Result<Self, Error> {
        let unknown = |what: &str, name: &str, known: Vec<String>| {
            Error::SshAlgorithm(format!("unknown algorithm {name:?} for {what}; known are {}", known.join(", ")))
        };
        let exchange = |name: &String| {
            let known = Preferred::default().kex;
            let is_method = |one: &&Name| !is_extension(one);
            let found = known.iter().filter(is_method).find(|one| one.as_ref() == name.trim()).copied();
            let names = || known.iter().filter(is_method).map(|one| one.as_ref().to_owned()).collect();
            found.ok_or_else(|| unknown("key exchanges", name, names()))
        };
        let host_key = |name: &String| {
            let found = safe_host_keys().into_iter().find(|one| one.to_string() == name.trim());
            found.ok_or_else(|| unknown("host keys", name, safe_host_keys().iter().map(ToString::to_string).collect()))
        };
        Ok(Self {
            exchanges: exchanges.iter().map(exchange).collect::<Result<_, _>>()?,
            host_keys: host_keys.iter().map(host_key).collect::<Result<_, _>>()?,
        })
    }

    pub(super) fn exchanges(&self) -> Vec<Name> {
        let known = Preferred::default().kex.into_owned();
        if self.exchanges.is_empty() {
            return known;
        }
        // What is no method of exchange but protects it, such as strict ordering, is offered all the same.
        self.exchanges.iter().copied().chain(known.into_iter().filter(is_extension)).collect()
    }

    pub(super) fn host_keys(&self) -> Vec<Algorithm> {
        if self.host_keys.is_empty() { safe_host_keys() } else { self.host_keys.clone() }
    }
}

fn is_extension(name: &Name) -> bool {
    name.as_ref().starts_with("ext-info-") || name.as_ref().starts_with("kex-strict-")
}

fn safe_host_keys() -> Vec<Algorithm> {
    vec![
        Algorithm::Ed25519,
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
        Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
        Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chosen_algorithms_are_offered_and_unknown_ones_refused() {
        let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let chosen = Algorithms::only(&texts(&["curve25519-sha256"]), &texts(&["rsa-sha2-512", "ssh-ed25519"])).unwrap();
        let exchanges = chosen.exchanges();
        assert_eq!(exchanges.iter().filter(|one| !is_extension(one)).map(AsRef::as_ref).collect::<Vec<_>>(), ["curve25519-sha256"]);
        assert!(exchanges.iter().any(|one| one.as_ref().starts_with("kex-strict-c-")), "strict ordering stays on");
        assert_eq!(chosen.host_keys().iter().map(ToString::to_string).collect::<Vec<_>>(), ["rsa-sha2-512", "ssh-ed25519"]);
        assert_eq!(Algorithms::default().host_keys(), safe_host_keys());
        let told = Algorithms::only(&texts(&["diffie-hellman-group1-sha1"]), &[]).unwrap_err().to_string();
        assert!(told.contains("diffie-hellman-group1-sha1") && told.contains("curve25519-sha256"), "{told}");
        assert!(Algorithms::only(&[], &texts(&["ssh-dss"])).is_err());
    }
}
