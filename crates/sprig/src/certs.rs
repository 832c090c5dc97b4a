//! Certificates: authorities, signed and self-signed, as Go's crypto/x509 makes them.

use crate::{
    KeyKind,
    args::{Result, any, bytes, int, string, text},
    der::{BIT_STRING, INTEGER, OBJECT_ID, OCTET_STRING, Reader, SEQUENCE, SET, integer, tagged},
    encodings::decode_base64,
    environment::{Environment, environment},
    keys::{PrivateKey, dsa},
    layout::{self, Moment},
    pem,
};
use gotemplate::{Failure, Function, Kind, Object, Run, Type, Value, fmt};
use jiff::{Timestamp, tz::TimeZone};
use std::{any::Any, net::IpAddr, rc::Rc};

const S: Type = Type::String;
const I: Type = Type::Int;
const L: Type = Type::List;
const CERTIFICATE: Type = Type::Named("sprig.certificate");

pub(crate) const ALL: &[Function] = &[
    Function::new("genPrivateKey", &[S], private_key),
    Function::new("buildCustomCert", &[S, S], build_custom),
    Function::new("genCA", &[S, I], |run, args| authority(run, args, None)),
    Function::new("genCAWithKey", &[S, I, S], |run, args| authority(run, args, Some(&text(args, 2)))),
    Function::new("genSelfSignedCert", &[S, L, L, I], |run, args| issue(run, args, None, None)),
    Function::new("genSelfSignedCertWithKey", &[S, L, L, I, S], |run, args| issue(run, args, None, Some(&text(args, 4)))),
    Function::new("genSignedCert", &[S, L, L, I, CERTIFICATE], |run, args| issue(run, args, Some(&args[4]), None)),
    Function::new("genSignedCertWithKey", &[S, L, L, I, CERTIFICATE, S], |run, args| {
        issue(run, args, Some(&args[4]), Some(&text(args, 5)))
    }),
];

/// Steps that making a key costs: a template cannot keep a processor busy with keys.
const RSA_COST: u64 = 2_000_000;

/// `sprig.certificate`: a certificate and its key, both PEM.
struct Certificate {
    cert: String,
    key: String,
}

impl Object for Certificate {
    fn type_name(&self) -> &str {
        "sprig.certificate"
    }

    fn kind(&self) -> Kind {
        Kind::Struct
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn text(&self) -> String {
        format!("{{{} {}}}", self.cert, self.key)
    }

    fn field(&self, name: &str) -> Option<Value> {
        match name {
            "Cert" => Some(Value::string(self.cert.as_str())),
            "Key" => Some(Value::string(self.key.as_str())),
            _ => None,
        }
    }

    fn equals(&self, other: &dyn Object) -> bool {
        other.as_any().downcast_ref::<Certificate>().is_some_and(|other| self.cert == other.cert && self.key == other.key)
    }

    fn as_json(&self) -> Option<Value> {
        let entries = vec![("Cert".into(), Value::string(self.cert.as_str())), ("Key".into(), Value::string(self.key.as_str()))];
        Some(Value::Map(gotemplate::Map::from_entries(gotemplate::MapKind::Any, entries)))
    }
}

fn certificate(run: &mut Run<'_>, cert: String, key: String) -> Result {
    run.reserve(cert.len() + key.len())?;
    Ok(Value::Object(Rc::new(Certificate { cert, key })))
}

fn private_key(run: &mut Run<'_>, args: &[Value]) -> Result {
    let environment = environment(run)?;
    let kind = match &*text(args, 0) {
        "" | "rsa" => KeyKind::Rsa4096,
        "ecdsa" => KeyKind::EcdsaP256,
        "ed25519" => KeyKind::Ed25519,
        "dsa" => {
            run.charge(RSA_COST / 10)?;
            return string(run, dsa(&environment));
        }
        other => return string(run, format!("Unknown type {other}")),
    };
    run.charge(if kind == KeyKind::Rsa4096 { RSA_COST * 5 } else { RSA_COST / 100 })?;
    let key = PrivateKey::from_pkcs8(environment.key(kind)?).and_then(|key| key.to_pem()).map_err(Failure::new)?;
    string(run, key)
}

fn build_custom(run: &mut Run<'_>, args: &[Value]) -> Result {
    let decoded = |at: usize, what: &str| {
        let text = decode_base64(bytes(args, at)).map_err(|_| Failure::new(format!("unable to decode base64 {what}")))?;
        Ok::<_, Failure>(String::from_utf8_lossy(&text).into_owned())
    };
    let (cert, key) = (decoded(0, "certificate")?, decoded(1, "private key")?);
    let (_, der) = pem::decode(&cert).ok_or_else(|| Failure::new("unable to decode certificate"))?;
    if Signer::of_certificate(&der).is_none() {
        return Err(Failure::new("error parsing certificate: decodedCert.Bytes: x509: malformed certificate"));
    }
    PrivateKey::from_pem(&key).map_err(|why| Failure::new(format!("error parsing private key: {why}")))?;
    certificate(run, cert, key)
}

/// A given key, or a fresh one.
fn key_for(run: &mut Run<'_>, environment: &Environment, given: Option<&str>) -> Result<PrivateKey> {
    match given {
        Some(pem) => PrivateKey::from_pem(pem).map_err(|why| Failure::new(format!("parsing private key: {why}"))),
        None => {
            run.charge(RSA_COST)?;
            PrivateKey::from_pkcs8(environment.key(KeyKind::Rsa2048)?).map_err(Failure::new)
        }
    }
}

fn authority(run: &mut Run<'_>, args: &[Value], given: Option<&str>) -> Result {
    let environment = environment(run)?;
    let key = key_for(run, &environment, given)?;
    let request = Request { name: &text(args, 0), names: Vec::new(), days: int(args, 1), authority: true };
    let cert = request.sign(&environment, &key, &key, None)?;
    certificate(run, cert, key.to_pem().map_err(Failure::new)?)
}

fn issue(run: &mut Run<'_>, args: &[Value], ca: Option<&Value>, given: Option<&str>) -> Result {
    let environment = environment(run)?;
    let names = alternative_names(any(args, 1), any(args, 2))?;
    let request = Request { name: &text(args, 0), names, days: int(args, 3), authority: false };
    let Some(ca) = ca else {
        let key = key_for(run, &environment, given)?;
        let cert = request.sign(&environment, &key, &key, None)?;
        return certificate(run, cert, key.to_pem().map_err(Failure::new)?);
    };
    let Value::Object(object) = ca else { return Err(Failure::new("unable to decode certificate")) };
    let Some(ca) = object.as_any().downcast_ref::<Certificate>() else { return Err(Failure::new("unable to decode certificate")) };
    let key = key_for(run, &environment, given)?;
    let (_, der) = pem::decode(&ca.cert).ok_or_else(|| Failure::new("unable to decode certificate"))?;
    let signer = Signer::of_certificate(&der)
        .ok_or_else(|| Failure::new("error parsing certificate: decodedSignerCert.Bytes: x509: malformed certificate"))?;
    let signer_key = PrivateKey::from_pem(&ca.key).map_err(|why| Failure::new(format!("error parsing private key: {why}")))?;
    let cert = request.sign(&environment, &key, &signer_key, Some(&signer))?;
    certificate(run, cert, key.to_pem().map_err(Failure::new)?)
}

fn alternative_names(ips: &Value, names: &Value) -> Result<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    for name in names.items().unwrap_or_default().iter() {
        match name.as_str() {
            Some(name) => all.push(tagged(0x82, &[name.as_bytes()])),
            None => {
                return Err(Failure::new(format!("error processing alternate dns name: {} is not a string", fmt::text(name)?.text())));
            }
        }
    }
    for ip in ips.items().unwrap_or_default().iter() {
        let Some(text) = ip.as_str() else {
            return Err(Failure::new(format!("error parsing ip: {} is not a string", fmt::text(ip)?.text())));
        };
        match text.text().parse() {
            Ok(IpAddr::V4(ip)) => all.push(tagged(0x87, &[&ip.octets()])),
            Ok(IpAddr::V6(ip)) => all.push(tagged(0x87, &[&ip.octets()])),
            Err(_) => return Err(Failure::new(format!("error parsing ip: {}", text.text()))),
        }
    }
    Ok(all)
}

/// Who signs: the parts of a certificate that go into what it signs.
struct Signer {
    subject: Vec<u8>,
    key_id: Option<Vec<u8>>,
}

const SUBJECT_KEY_ID: &[u8] = &[0x55, 0x1d, 0x0e];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const AUTHORITY_KEY_ID: &[u8] = &[0x55, 0x1d, 0x23];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
const SERVER_AND_CLIENT: &[u8] = &[0x06, 8, 0x2b, 6, 1, 5, 5, 7, 3, 1, 0x06, 8, 0x2b, 6, 1, 5, 5, 7, 3, 2];

impl Signer {
    fn of_certificate(der: &[u8]) -> Option<Self> {
        let mut body = Reader(Reader(Reader(der).expect(SEQUENCE)?).expect(SEQUENCE)?);
        let (tag, _, _) = body.next()?;
        if tag == 0xa0 {
            body.expect(INTEGER)?;
        }
        body.expect(SEQUENCE)?; // signature algorithm
        body.expect(SEQUENCE)?; // issuer
        body.expect(SEQUENCE)?; // validity
        let (tag, _, subject) = body.next()?;
        body.expect(SEQUENCE)?; // public key
        let mut key_id = None;
        while let Some((tag, content, _)) = body.next() {
            if tag != 0xa3 {
                continue;
            }
            let mut extensions = Reader(Reader(content).expect(SEQUENCE)?);
            while let Some(extension) = extensions.expect(SEQUENCE) {
                let mut parts = Reader(extension);
                if parts.expect(OBJECT_ID)? == SUBJECT_KEY_ID {
                    key_id = parts.expect(OCTET_STRING).and_then(|inner| Reader(inner).expect(OCTET_STRING)).map(<[u8]>::to_vec);
                }
            }
        }
        (tag == SEQUENCE).then(|| Self { subject: subject.to_vec(), key_id })
    }
}

struct Request<'a> {
    name: &'a str,
    names: Vec<Vec<u8>>,
    days: i64,
    authority: bool,
}

impl Request<'_> {
    fn sign(&self, environment: &Environment, key: &PrivateKey, signer_key: &PrivateKey, signer: Option<&Signer>) -> Result<String> {
        let subject = distinguished_name(self.name);
        let public = key.public_info();
        // A certificate that signs itself is its own authority.
        let own_id = self.authority.then(|| key_id(&public));
        let (issuer, authority_id) = match signer {
            Some(signer) => (signer.subject.clone(), signer.key_id.clone()),
            None => (subject.clone(), None),
        };
        let mut serial = [0; 16];
        environment.random_bytes(&mut serial);
        let from = environment.now();
        let until = from.as_second().saturating_add(self.days.saturating_mul(86_400));
        let until = Timestamp::from_second(until.clamp(-62_135_596_800, 253_402_207_200)).unwrap_or(from);
        let validity = tagged(SEQUENCE, &[&time(from), &time(until)]);
        let extensions = tagged(0xa3, &[&tagged(SEQUENCE, &[&self.extensions(own_id, authority_id).concat()])]);
        let algorithm = signer_key.signature_algorithm();
        let version = tagged(0xa0, &[&[INTEGER, 1, 2]]);
        let body = tagged(SEQUENCE, &[&version, &integer(&serial), &algorithm, &issuer, &validity, &subject, &public, &extensions]);
        let signature = signer_key.sign(&body).map_err(Failure::new)?;
        Ok(pem::encode("CERTIFICATE", &tagged(SEQUENCE, &[&body, &algorithm, &tagged(BIT_STRING, &[&[0], &signature])])))
    }

    fn extensions(&self, own_id: Option<Vec<u8>>, authority_id: Option<Vec<u8>>) -> Vec<Vec<u8>> {
        // digitalSignature and keyEncipherment, for authorities keyCertSign as well.
        let usage: &[u8] = if self.authority { &[BIT_STRING, 2, 2, 0xa4] } else { &[BIT_STRING, 2, 5, 0xa0] };
        let constraints: &[u8] = if self.authority { &[SEQUENCE, 3, 1, 1, 0xff] } else { &[SEQUENCE, 0] };
        let mut all = vec![
            extension(KEY_USAGE, true, usage),
            extension(EXTENDED_KEY_USAGE, false, &tagged(SEQUENCE, &[SERVER_AND_CLIENT])),
            extension(BASIC_CONSTRAINTS, true, constraints),
        ];
        if let Some(id) = own_id {
            all.push(extension(SUBJECT_KEY_ID, false, &tagged(OCTET_STRING, &[&id])));
        }
        if let Some(id) = authority_id {
            all.push(extension(AUTHORITY_KEY_ID, false, &tagged(SEQUENCE, &[&tagged(0x80, &[&id])])));
        }
        if !self.names.is_empty() {
            all.push(extension(ALTERNATIVE_NAMES, false, &tagged(SEQUENCE, &[&self.names.concat()])));
        }
        all
    }
}

fn extension(id: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let critical: &[u8] = if critical { &[1, 1, 0xff] } else { &[] };
    tagged(SEQUENCE, &[&tagged(OBJECT_ID, &[id]), critical, &tagged(OCTET_STRING, &[value])])
}

/// The first 160 bits of the SHA-256 of the public key (RFC 7093), as Go does since 1.25.
fn key_id(public: &[u8]) -> Vec<u8> {
    use sha2::Digest;
    let key = Reader(public).expect(SEQUENCE).and_then(|body| {
        let mut body = Reader(body);
        body.expect(SEQUENCE)?;
        body.expect(BIT_STRING)
    });
    sha2::Sha256::digest(key.and_then(|key| key.get(1..)).unwrap_or(public))[..20].to_vec()
}

fn distinguished_name(name: &str) -> Vec<u8> {
    if name.is_empty() {
        return tagged(SEQUENCE, &[]);
    }
    let printable = name.bytes().all(|b| b.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&b));
    let value = tagged(if printable { 0x13 } else { 0x0c }, &[name.as_bytes()]);
    let attribute = tagged(SEQUENCE, &[&tagged(OBJECT_ID, &[&[0x55, 4, 3]]), &value]);
    tagged(SEQUENCE, &[&tagged(SET, &[&attribute])])
}

fn time(at: Timestamp) -> Vec<u8> {
    let moment = Moment { at, zone: TimeZone::UTC };
    if (1950..2050).contains(&moment.civil().year()) {
        tagged(0x17, &[layout::format(&moment, "060102150405Z").as_bytes()])
    } else {
        tagged(0x18, &[layout::format(&moment, "20060102150405Z").as_bytes()])
    }
}
