//! Whom a client trusts, against servers with certificates of every kind.

#![allow(clippy::unwrap_used)]

use http_client::{Client, Error, Options, Retry, Tls};
use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{
    RootCertStore, ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};

const AUTHORITY: IsCa = IsCa::Ca(BasicConstraints::Unconstrained);

fn certificate(name: &str, kind: IsCa) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, format!("{name} {kind:?}"));
    params.is_ca = kind;
    (params, KeyPair::generate().unwrap())
}

fn self_signed(name: &str, kind: IsCa) -> (Certificate, KeyPair) {
    let (params, key) = certificate(name, kind);
    (params.self_signed(&key).unwrap(), key)
}

/// Answers one request after the other with `ok`; asks for certificates of this authority, if there is one.
async fn serve(certificate: &Certificate, key: &KeyPair, clients: Option<&Certificate>) -> String {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = match clients {
        None => ServerConfig::builder().with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.der().clone()).unwrap();
            ServerConfig::builder().with_client_cert_verifier(WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap())
        }
    };
    let acceptor = TlsAcceptor::from(Arc::new(config.with_single_cert(vec![certificate.der().clone()], key).unwrap()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut asked = [0; 4096];
            let _ = stream.read(&mut asked).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").await;
            let _ = stream.shutdown().await;
        }
    });
    format!("https://{address}/")
}

async fn ask(url: &str, tls: Tls) -> Result<(), String> {
    let options = Options { retry: Retry::NEVER, ..Options::default() };
    let client = Client::with(&options, |builder| tls.apply(builder)).unwrap();
    match client.get(url, 9).await {
        Ok(bytes) => {
            assert_eq!(&bytes[..], b"ok");
            Ok(())
        }
        Err(error @ Error::Network { .. }) => Err(error.to_string()),
        Err(other) => panic!("{other}"),
    }
}

fn trusting(certificate: &Certificate) -> Tls {
    Tls::builder().trust(certificate.pem().as_bytes()).unwrap().build().unwrap()
}

#[tokio::test]
async fn a_certificate_that_was_handed_over_is_trusted_whatever_it_says_of_itself() {
    for kind in [AUTHORITY, IsCa::ExplicitNoCa, IsCa::NoCa] {
        let (own, key) = self_signed("127.0.0.1", kind);
        let url = serve(&own, &key, None).await;
        assert_eq!(ask(&url, trusting(&own)).await, Ok(()), "{kind:?}");
        let only = Tls::builder().trust_only(own.pem().as_bytes()).unwrap().build().unwrap();
        assert_eq!(ask(&url, only).await, Ok(()), "{kind:?}");
    }
}

#[tokio::test]
async fn a_certificate_is_trusted_through_its_authority_and_by_itself() {
    let (params, key) = certificate("an authority", AUTHORITY);
    let (authority, issuer) = (params.self_signed(&key).unwrap(), Issuer::new(params, key));
    let (params, key) = certificate("127.0.0.1", IsCa::NoCa);
    let own = params.signed_by(&key, &issuer).unwrap();
    let url = serve(&own, &key, None).await;
    assert_eq!(ask(&url, trusting(&authority)).await, Ok(()));
    assert_eq!(ask(&url, trusting(&own)).await, Ok(()), "as Go does it: its issuer need not be known");
}

#[tokio::test]
async fn trust_ends_with_the_name_the_time_and_the_very_certificate() {
    let (own, key) = self_signed("127.0.0.1", AUTHORITY);
    let url = serve(&own, &key, None).await;
    let (stranger, _) = self_signed("127.0.0.1", AUTHORITY);
    let why = ask(&url, trusting(&stranger)).await.unwrap_err();
    assert!(why.contains("x509: certificate"), "another certificate with the same names: {why}");

    let (elsewhere, key) = self_signed("registry.example.com", AUTHORITY);
    let why = ask(&serve(&elsewhere, &key, None).await, trusting(&elsewhere)).await.unwrap_err();
    assert!(why.contains("not valid for the name"), "{why}");

    let (mut params, key) = certificate("127.0.0.1", AUTHORITY);
    params.not_after = date_time_ymd(2020, 1, 1);
    let expired = params.self_signed(&key).unwrap();
    let why = ask(&serve(&expired, &key, None).await, trusting(&expired)).await.unwrap_err();
    assert!(why.contains("expired"), "{why}");
}

#[tokio::test]
async fn an_identity_is_shown_to_a_server_that_asks_for_one() {
    let (own, key) = self_signed("127.0.0.1", AUTHORITY);
    let (params, issuing) = certificate("clients", AUTHORITY);
    let (authority, issuer) = (params.self_signed(&issuing).unwrap(), Issuer::new(params, issuing));
    let (params, of_client) = certificate("client", IsCa::NoCa);
    let client = params.signed_by(&of_client, &issuer).unwrap();
    let url = serve(&own, &key, Some(&authority)).await;
    assert!(ask(&url, trusting(&own)).await.is_err());
    let trust = || Tls::builder().trust(own.pem().as_bytes()).unwrap();
    let shown = trust().identity(client.pem().as_bytes(), of_client.serialize_pem().as_bytes()).unwrap().build().unwrap();
    assert_eq!(ask(&url, shown).await, Ok(()));
    let another = KeyPair::generate().unwrap().serialize_pem();
    let mixed = trust().identity(client.pem().as_bytes(), another.as_bytes()).unwrap().build().unwrap_err();
    assert!(mixed.to_string().contains("certificate and key"), "{mixed}");
}

#[test]
fn what_is_no_certificate_is_refused_without_a_quote() {
    let bad = [Tls::builder().trust(b"s3cret").map(drop), Tls::builder().identity(b"s3cret", b"s3cret").map(drop)];
    for error in bad.map(Result::unwrap_err) {
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(Tls::builder().trust(garbage.as_bytes()).is_err());
}
