use super::User;
use crate::api::Api;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub const ISSUER: &str = "https://kubernetes.default.svc";

/// Signs and reads the tokens of ServiceAccounts.
pub struct Tokens {
    key: EcdsaKeyPair,
}

/// The signing key cannot be made or read.
#[derive(Debug, thiserror::Error)]
#[error("the signing key of service accounts cannot be used")]
pub struct Error;

/// What a token says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Claims {
    pub aud: Vec<String>,
    pub exp: i64,
    pub iat: i64,
    pub iss: String,
    pub jti: String,
    #[serde(rename = "kubernetes.io")]
    pub bound: Bound,
    pub nbf: i64,
    pub sub: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bound {
    pub namespace: String,
    pub serviceaccount: Reference,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Reference>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reference {
    pub name: String,
    pub uid: String,
}

impl Tokens {
    /// A new key, as PKCS#8.
    pub fn generate_key() -> Result<Vec<u8>, Error> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).map_err(|_| Error)?;
        Ok(document.as_ref().to_vec())
    }

    pub fn new(pkcs8: &[u8]) -> Result<Self, Error> {
        Ok(Self { key: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map_err(|_| Error)? })
    }

    pub fn sign(&self, claims: &Claims) -> Result<String, Error> {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let head = part(&json!({"alg": "ES256", "typ": "JWT"}));
        let body = part(&serde_json::to_value(claims).map_err(|_| Error)?);
        let signed = format!("{head}.{body}");
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).map_err(|_| Error)?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref())))
    }

    /// The claims of a token that was signed here and has not run out.
    pub fn verify(&self, token: &str) -> Option<Claims> {
        if token.len() > 16 * 1024 {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key().as_ref()).verify(signed.as_bytes(), &signature).ok()?;
        let body = URL_SAFE_NO_PAD.decode(signed.split_once('.')?.1).ok()?;
        let claims: Claims = serde_json::from_slice(&body).ok()?;
        let now = jiff::Timestamp::now().as_second();
        (claims.nbf <= now && now < claims.exp).then_some(claims)
    }

    /// The public key as a JSON Web Key Set.
    pub fn key_set(&self) -> Value {
        let public = self.key.public_key().as_ref();
        // An uncompressed point: 4, x, y.
        let (x, y) = (public.get(1..33).unwrap_or_default(), public.get(33..65).unwrap_or_default());
        json!({"keys": [{"use": "sig", "kty": "EC", "crv": "P-256", "alg": "ES256", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)}]})
    }
}

impl Claims {
    pub fn user(&self) -> User {
        let account = &self.bound.serviceaccount;
        let mut user = User::service_account(&self.bound.namespace, &account.name, &account.uid);
        user.extra.insert("authentication.kubernetes.io/credential-id".to_owned(), vec![format!("JTI={}", self.jti)]);
        user
    }

    /// Whether the account that it was made for, and what it is bound to, is still there.
    pub fn is_alive(&self, api: &Api) -> bool {
        let alive = |table: &str, reference: &Reference| {
            api.store
                .get(table, &format!("{}/{}", self.bound.namespace, reference.name))
                .is_some_and(|record| record.facts.uid.is_some_and(|uid| uid.to_string() == reference.uid))
        };
        alive("serviceaccounts", &self.bound.serviceaccount)
            && self.bound.secret.as_ref().is_none_or(|secret| alive("secrets", secret))
            && self.bound.pod.as_ref().is_none_or(|pod| alive("pods", pod))
    }
}
