//! Git over SSH, inside of the process: no `ssh`, no agent, no file. Keys and known hosts come and go in memory.
//!
//! ```text
//! Login (user, key, known hosts) --connect--> Connection --open(service)--> Pipe = Reader + Writer --> gix
//! ```
//!
//! The host key must be among the known ones: there is no first use that is trusted.

mod algorithms;
mod known_hosts;
mod pipe;

pub use algorithms::Algorithms;
pub(crate) use pipe::transport;

use crate::{Address, Cause, Credentials, Error};
use known_hosts::{KnownHosts, Verdict};
use russh::client::{self, AuthResult, Handle, Msg};
use russh::keys::{Algorithm, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate, decode_secret_key};
use russh::{Channel, Preferred};
use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::runtime;

const PORT: u16 = 22;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// The user when the address names none, as Flux has it.
const USER: &str = "git";
/// A shorter RSA key can be broken.
const RSA_BITS_MIN: usize = 1024;

/// Who asks, and whom he trusts. No `Debug`: it holds a key.
pub(crate) struct Login {
    user: String,
    host: String,
    port: u16,
    key: Arc<PrivateKey>,
    known_hosts: Arc<KnownHosts>,
    algorithms: Algorithms,
}

impl Login {
    pub(crate) fn new(address: &Address, credentials: Option<&Credentials>, algorithms: Algorithms) -> Result<Self, Error> {
        let Some(Credentials::Ssh { identity, known_hosts, passphrase }) = credentials else {
            return Err(Error::SshKey("an identity and known hosts are required".to_owned()));
        };
        let url = address.url();
        let user = if url.username().is_empty() { USER.to_owned() } else { crate::address::decode(url.username()) };
        // The identity first: where both are unusable, that is what Flux tells.
        let key = key(identity, passphrase.as_deref())?;
        let known_hosts = KnownHosts::parse(&String::from_utf8_lossy(known_hosts)).map_err(Error::SshKey)?;
        Ok(Self {
            user,
            host: url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned(),
            port: url.port().unwrap_or(PORT),
            key: Arc::new(key),
            known_hosts: Arc::new(known_hosts),
            algorithms,
        })
    }
}

/// Reads a private key. No text quotes anything of it.
pub(crate) fn key(identity: &[u8], passphrase: Option<&str>) -> Result<PrivateKey, Error> {
    let unusable = |why: &str| Error::SshKey(format!("ssh: {why}"));
    let text = std::str::from_utf8(identity).map_err(|_| unusable("no key found"))?;
    if !text.contains("-----BEGIN") {
        return Err(unusable("no key found"));
    }
    let passphrase = passphrase.filter(|passphrase| !passphrase.is_empty());
    decode_secret_key(text.trim(), passphrase).map_err(|error| match error {
        russh::keys::Error::KeyIsEncrypted => unusable("this private key is passphrase protected"),
        _ if passphrase.is_some() => unusable("the private key cannot be read: it is damaged, or its passphrase is another"),
        _ => unusable("the private key cannot be read"),
    })
}

/// An authenticated connection. Several services may run over it, one after the other.
pub(crate) struct Connection {
    runtime: runtime::Handle,
    handle: Option<Handle<Verifier>>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The client tells its own task that it leaves, which needs a runtime.
        let _inside = self.runtime.enter();
        self.handle.take();
    }
}

impl Connection {
    /// Connects and authenticates within `timeout`.
    pub(crate) fn connect(runtime: &runtime::Handle, login: &Login, timeout: Duration) -> Result<Self, Cause> {
        let connected = runtime.block_on(async { tokio::time::timeout(timeout, connect(login)).await });
        let handle = connected.unwrap_or_else(|_| Err(Cause::Ssh("dial: context deadline exceeded".to_owned())))?;
        Ok(Self { runtime: runtime.clone(), handle: Some(handle) })
    }

    /// Starts a program of the server.
    fn run(&self, command: &str, protocol: Option<&str>, timeout: Duration) -> Result<Channel<Msg>, Cause> {
        let Some(handle) = &self.handle else { return Err(Cause::Ssh("the connection is closed".to_owned())) };
        let started = self.runtime.block_on(async {
            tokio::time::timeout(timeout, async {
                let channel = handle.channel_open_session().await?;
                if let Some(protocol) = protocol {
                    // Servers may refuse: then they speak the old protocol.
                    channel.set_env(false, "GIT_PROTOCOL", protocol).await?;
                }
                channel.exec(false, command.as_bytes()).await?;
                Ok::<_, russh::Error>(channel)
            })
            .await
        });
        match started {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(error)) => Err(Cause::Ssh(format!("ssh: {error}"))),
            Err(_) => Err(Cause::Ssh("ssh: context deadline exceeded".to_owned())),
        }
    }
}

async fn connect(login: &Login) -> Result<Handle<Verifier>, Cause> {
    let target = format!("{}:{}", login.host, login.port);
    let dialed = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect((login.host.as_str(), login.port))).await;
    let stream = match dialed {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(Cause::Ssh(http_client::dial(&error, &target))),
        Err(_) => return Err(Cause::Ssh(format!("dial tcp {target}: i/o timeout"))),
    };
    let refused = Arc::new(Mutex::new(None));
    let verifier =
        Verifier { known_hosts: login.known_hosts.clone(), host: login.host.clone(), port: login.port, refused: refused.clone() };
    let config = client::Config { preferred: preferred(login), nodelay: true, ..client::Config::default() };
    let handshake = |error: russh::Error| {
        let refused: Option<String> = refused.lock().unwrap_or_else(PoisonError::into_inner).take();
        let why = refused.unwrap_or_else(|| format!("ssh: {error}"));
        Cause::Ssh(format!("ssh: handshake failed: {why}"))
    };
    let mut handle = client::connect_stream(Arc::new(config), stream, verifier).await.map_err(handshake)?;
    let hash = match login.key.algorithm().is_rsa() {
        true => match handle.best_supported_rsa_hash().await.map_err(handshake)? {
            Some(None) => return Err(Cause::Ssh("ssh: the server accepts RSA keys with SHA-1 only, which is not safe".to_owned())),
            Some(hash) => hash,
            // A server that does not say knows SHA-2 since 2016.
            None => Some(HashAlg::Sha256),
        },
        false => None,
    };
    let key = PrivateKeyWithHashAlg::new(login.key.clone(), hash);
    match handle.authenticate_publickey(login.user.clone(), key).await.map_err(handshake)? {
        AuthResult::Success => Ok(handle),
        AuthResult::Failure { .. } => {
            let why = "ssh: handshake failed: ssh: unable to authenticate, attempted methods [none publickey], no supported methods remain";
            Err(Cause::AuthorizationFailed(why.to_owned()))
        }
    }
}

/// The algorithms that were chosen, or the safe ones; of host keys those that can be checked.
fn preferred(login: &Login) -> Preferred {
    let known = login.known_hosts.algorithms(&login.host, login.port);
    let all = login.algorithms.host_keys();
    let is_known = |wanted: &Algorithm| known.iter().any(|known| known == wanted || (known.clone().is_rsa() && wanted.clone().is_rsa()));
    let asked: Vec<Algorithm> = all.iter().filter(|algorithm| known.is_empty() || is_known(algorithm)).cloned().collect();
    // Without a known kind the answer is a refusal in any case, and its text should say what is unknown.
    let keys = if asked.is_empty() { all } else { asked };
    Preferred { kex: Cow::Owned(login.algorithms.exchanges()), key: Cow::Owned(keys), ..Preferred::default() }
}

/// Compares the server's key with the known ones.
pub(crate) struct Verifier {
    known_hosts: Arc<KnownHosts>,
    host: String,
    port: u16,
    /// Why the key was refused: the client's own error says only that it was.
    refused: Arc<Mutex<Option<String>>>,
}

impl client::Handler for Verifier {
    type Error = russh::Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        let why = match key {
            PublicKeyOrCertificate::PublicKey { key, .. } if is_short(key) => {
                format!("the host key is an RSA key of less than {RSA_BITS_MIN} bits")
            }
            PublicKeyOrCertificate::PublicKey { key, .. } => match self.known_hosts.judge(&self.host, self.port, key) {
                Verdict::Known => return Ok(true),
                Verdict::Unknown => "knownhosts: key is unknown".to_owned(),
                Verdict::Mismatch => "knownhosts: key mismatch".to_owned(),
                Verdict::Revoked => "knownhosts: key is revoked".to_owned(),
            },
            PublicKeyOrCertificate::Certificate(_) => "knownhosts: certificates of hosts are not supported".to_owned(),
        };
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        Ok(false)
    }
}

fn is_short(key: &PublicKey) -> bool {
    let bits = key.key_data().rsa().and_then(|rsa| rsa.n().as_positive_bytes()).map(|bytes| bytes.len() * 8);
    bits.is_some_and(|bits| bits < RSA_BITS_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_key_is_refused_without_quoting_it() {
        let told = |text: &str, passphrase| key(text.as_bytes(), passphrase).err().map(|e| e.to_string()).unwrap();
        let begin = "unable to construct auth method with options: ssh: ";
        assert_eq!(told("s3cret", None), format!("{begin}no key found"));
        let broken = "-----BEGIN OPENSSH PRIVATE KEY-----\nczNjcmV0\n-----END OPENSSH PRIVATE KEY-----";
        assert_eq!(told(broken, None), format!("{begin}the private key cannot be read"));
        assert!(told(broken, Some("s3cret")).contains("its passphrase is another"));
        for passphrase in [None, Some("s3cret")] {
            assert!(!told(broken, passphrase).contains("s3cret") && !told(broken, passphrase).contains("czNj"));
        }
    }
}
