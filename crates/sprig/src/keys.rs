//! Private keys: made, written as PEM, read back, and signed with.

use crate::{
    KeyKind,
    der::{self, BIT_STRING, INTEGER, OBJECT_ID, OCTET_STRING, Reader, SEQUENCE, tagged},
    environment::Environment,
    pem,
};
use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa::KeySize,
    signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair},
};
use num_bigint::BigUint;

type Result<T> = std::result::Result<T, String>;

const RSA_ID: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC_ID: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256_ID: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const ED25519_ID: &[u8] = &[0x2b, 0x65, 0x70];
const RSA_SHA256_ID: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
const ECDSA_SHA256_ID: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const NULL: &[u8] = &[5, 0];

/// A fresh key as PKCS#8.
pub(crate) fn generate(kind: KeyKind) -> Result<Vec<u8>> {
    let failed = |_| "the cryptographic library could not make a key".to_owned();
    let rsa = |size| -> Result<Vec<u8>> {
        let key = aws_lc_rs::rsa::KeyPair::generate(size).map_err(failed)?;
        let der: Pkcs8V1Der<'_> = key.as_der().map_err(failed)?;
        Ok(der.as_ref().to_vec())
    };
    match kind {
        KeyKind::Rsa2048 => rsa(KeySize::Rsa2048),
        KeyKind::Rsa4096 => rsa(KeySize::Rsa4096),
        KeyKind::EcdsaP256 => {
            let key = EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_ASN1_SIGNING).map_err(failed)?;
            Ok(key.to_pkcs8v1().map_err(failed)?.as_ref().to_vec())
        }
        KeyKind::Ed25519 => {
            let key = Ed25519KeyPair::generate().map_err(failed)?;
            Ok(key.to_pkcs8v1().map_err(failed)?.as_ref().to_vec())
        }
    }
}

enum Pair {
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// A private key that can sign.
pub(crate) struct PrivateKey {
    pair: Pair,
    pkcs8: Vec<u8>,
}

/// The private part inside PKCS#8.
fn inner(pkcs8: &[u8]) -> Option<&[u8]> {
    let mut body = Reader(Reader(pkcs8).expect(SEQUENCE)?);
    body.expect(INTEGER)?;
    body.expect(SEQUENCE)?;
    body.expect(OCTET_STRING)
}

impl PrivateKey {
    pub fn from_pkcs8(pkcs8: Vec<u8>) -> Result<Self> {
        let pair = if let Ok(pair) = RsaKeyPair::from_pkcs8(&pkcs8) {
            Pair::Rsa(pair)
        } else if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&signature::ECDSA_P256_SHA256_ASN1_SIGNING, &pkcs8) {
            Pair::Ecdsa(pair)
        } else if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pkcs8) {
            Pair::Ed25519(pair)
        } else {
            return Err("x509: failed to parse private key".to_owned());
        };
        Ok(Self { pair, pkcs8 })
    }

    /// Reads what [`PrivateKey::to_pem`] and Go's libraries write.
    pub fn from_pem(text: &str) -> Result<Self> {
        let (label, der) = pem::decode(text).ok_or("no PEM data in input")?;
        match label.as_str() {
            "PRIVATE KEY" => Self::from_pkcs8(der).map_err(|why| format!("decoding PEM as PKCS#8: {why}")),
            "RSA PRIVATE KEY" => {
                let pair = RsaKeyPair::from_der(&der).map_err(|why| format!("parsing RSA private key from PEM: {why}"))?;
                let algorithm = tagged(SEQUENCE, &[&tagged(OBJECT_ID, &[RSA_ID]), NULL]);
                let pkcs8 = tagged(SEQUENCE, &[&der::integer(&[0]), &algorithm, &tagged(OCTET_STRING, &[&der])]);
                Ok(Self { pair: Pair::Rsa(pair), pkcs8 })
            }
            "EC PRIVATE KEY" => {
                let algorithm = tagged(SEQUENCE, &[&tagged(OBJECT_ID, &[EC_ID]), &tagged(OBJECT_ID, &[P256_ID])]);
                let pkcs8 = tagged(SEQUENCE, &[&der::integer(&[0]), &algorithm, &tagged(OCTET_STRING, &[&der])]);
                Self::from_pkcs8(pkcs8).map_err(|why| format!("parsing EC private key from PEM: {why}"))
            }
            label => match label.strip_suffix(" PRIVATE KEY") {
                Some(kind) => Err(format!("invalid private key type {kind}")),
                None => Err(format!("no private key data in PEM block of type {label}")),
            },
        }
    }

    pub fn to_pem(&self) -> Result<String> {
        let inner = || inner(&self.pkcs8).ok_or("private key is no PKCS#8");
        Ok(match &self.pair {
            Pair::Rsa(_) => pem::encode("RSA PRIVATE KEY", inner()?),
            Pair::Ecdsa(_) => pem::encode("EC PRIVATE KEY", &with_curve(inner()?).ok_or("private key is no EC key")?),
            Pair::Ed25519(_) => pem::encode("PRIVATE KEY", &self.pkcs8),
        })
    }

    /// The SubjectPublicKeyInfo.
    pub fn public_info(&self) -> Vec<u8> {
        let (algorithm, key) = match &self.pair {
            Pair::Rsa(pair) => (tagged(SEQUENCE, &[&tagged(OBJECT_ID, &[RSA_ID]), NULL]), pair.public_key().as_ref().to_vec()),
            Pair::Ecdsa(pair) => {
                let algorithm = tagged(SEQUENCE, &[&tagged(OBJECT_ID, &[EC_ID]), &tagged(OBJECT_ID, &[P256_ID])]);
                (algorithm, pair.public_key().as_ref().to_vec())
            }
            Pair::Ed25519(pair) => (tagged(SEQUENCE, &[&tagged(OBJECT_ID, &[ED25519_ID])]), pair.public_key().as_ref().to_vec()),
        };
        tagged(SEQUENCE, &[&algorithm, &tagged(BIT_STRING, &[&[0], &key])])
    }

    /// The AlgorithmIdentifier of this key's signatures.
    pub fn signature_algorithm(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Rsa(_) => tagged(SEQUENCE, &[&tagged(OBJECT_ID, &[RSA_SHA256_ID]), NULL]),
            Pair::Ecdsa(_) => tagged(SEQUENCE, &[&tagged(OBJECT_ID, &[ECDSA_SHA256_ID])]),
            Pair::Ed25519(_) => tagged(SEQUENCE, &[&tagged(OBJECT_ID, &[ED25519_ID])]),
        }
    }

    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let failed = |_| "error creating certificate: signing failed".to_owned();
        let random = aws_lc_rs::rand::SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&signature::RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
            Pair::Ecdsa(pair) => Ok(pair.sign(&random, message).map_err(failed)?.as_ref().to_vec()),
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }
}

/// An ECPrivateKey names its curve when it stands alone; inside PKCS#8 it need not.
fn with_curve(key: &[u8]) -> Option<Vec<u8>> {
    let mut body = Reader(Reader(key).expect(SEQUENCE)?);
    let version = body.expect(INTEGER)?;
    let private = body.expect(OCTET_STRING)?;
    let curve = tagged(0xa0, &[&tagged(OBJECT_ID, &[P256_ID])]);
    let mut public = Vec::new();
    while let Some((tag, _, whole)) = body.next() {
        if tag == 0xa1 {
            public = whole.to_vec();
        }
    }
    Some(tagged(SEQUENCE, &[&tagged(INTEGER, &[version]), &tagged(OCTET_STRING, &[private]), &curve, &public]))
}

// The group of all our DSA keys: 2048 and 256 bits, generated from SHA-256 of a fixed text by FIPS 186-4 A.1.1.2. Sharing a
// group is what DSA foresees; searching a new one for every key takes seconds.
const DSA_P: &[u8] = b"\
    956505106fb6b95d24183567df5800a692ef7e46839d687547bbe098b863d6348135944f43925480041d21070863d908\
    8d7ae9bc3c7cbaa893575f577cfc583f0d8b6e4302adaefd2eb83c4d63c22a9ae510205362e29db1afb3822bfc6ddfe1\
    fee84f862603433fdb11c043769233a540624e22a400acf02c198aeb7ebfe41dd5f02628c9e0dae3399eddd109935cd5\
    d83189e340986bb8939c1eb9d0cd88f69d12a23c44d5c7a3b2b75a24a36cff6d360bf1100f1732e2ed6a46cbffecf05a\
    247aa4866d7f9e0a548b2833739037b78dc9b25dcdf3dc056378f94ab020431b82cd77418cdbb11bdbaa9fa93f8689e5\
    82444b9d9637d9c933f0a6e2131b2623";
const DSA_Q: &[u8] = b"\
    a473f78256a3af94c117c88560b241e2553a583e8bf65bad36ea97a34a065e01";
const DSA_G: &[u8] = b"\
    4c0244ce3b7aa1be85a22c6b4839d6e85068f4d6cde025fceb4cb6569930081da01ecdfad28afe5dfe9b45900f358dc1\
    8266b0765638bd8491dea582044c979c9f737939cd518f1052ce4684199bd3873eab6678f6f26f62ff95960cfc191a30\
    f689aac3d6ad1db92a06ad9e32089be9b67a3f57e9c95da6be6043285e5c80e30582f2efa686c3c358533acbff4ebdaf\
    1150e89614abd2e65af580aefcdb19cee6f3f8325d9d6ba1609f23bdcde34093d84a237f606fcf358fe5ae1dca555534\
    46a9d1ceaa72ab043dc5715b96270e33b3be16e6a41ac6e87186798ccf19e49e9d64929f04847b2e5ac251c52416b902\
    cb2c0068cc55b3a8a500b45627fe4b61";

/// A DSA key in the format of OpenSSL and sprig.
pub(crate) fn dsa(environment: &Environment) -> String {
    let number = |hex: &[u8]| BigUint::parse_bytes(hex, 16).unwrap_or_default();
    let (p, q, g) = (number(DSA_P), number(DSA_Q), number(DSA_G));
    let x = loop {
        let mut bytes = [0; 32];
        environment.random_bytes(&mut bytes);
        let x = BigUint::from_bytes_be(&bytes);
        if x > BigUint::ZERO && x < q {
            break x;
        }
    };
    let y = g.modpow(&x, &p);
    let numbers: Vec<Vec<u8>> = [&p, &q, &g, &y, &x].iter().map(|n| der::integer(&n.to_bytes_be())).collect();
    let parts: Vec<&[u8]> = std::iter::once(&[INTEGER, 1, 0][..]).chain(numbers.iter().map(Vec::as_slice)).collect();
    pem::encode("DSA PRIVATE KEY", &tagged(SEQUENCE, &parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dsa_group_is_a_group() {
        let number = |hex: &[u8]| BigUint::parse_bytes(hex, 16).unwrap();
        let (p, q, g) = (number(DSA_P), number(DSA_Q), number(DSA_G));
        assert_eq!((p.bits(), q.bits()), (2048, 256));
        assert_eq!((&p - 1u32) % &q, BigUint::ZERO);
        assert_eq!(g.modpow(&q, &p), BigUint::from(1u32));
        for prime in [&p, &q] {
            assert_eq!(BigUint::from(3u32).modpow(&(prime - 1u32), prime), BigUint::from(1u32), "Fermat's test");
        }
    }

    #[test]
    fn keys_survive_their_pem() {
        for kind in [KeyKind::EcdsaP256, KeyKind::Ed25519, KeyKind::Rsa2048] {
            let key = PrivateKey::from_pkcs8(generate(kind).unwrap()).unwrap();
            let pem = key.to_pem().unwrap();
            let again = PrivateKey::from_pem(&pem).unwrap();
            assert_eq!((key.public_info(), again.to_pem().unwrap()), (again.public_info(), pem), "{kind:?}");
        }
        assert_eq!(PrivateKey::from_pem("x").err().as_deref(), Some("no PEM data in input"));
    }
}
