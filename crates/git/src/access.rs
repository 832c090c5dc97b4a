/// Who asks. Never printed: there is no `Debug` on purpose.
#[derive(Clone)]
pub enum Credentials {
    Basic { username: String, password: String },
    Bearer(String),
    Ssh { identity: Vec<u8>, known_hosts: Vec<u8>, passphrase: Option<String> },
}

/// A client certificate with its key, both PEM.
#[derive(Clone)]
pub struct Identity {
    pub certificate: Vec<u8>,
    pub key: Vec<u8>,
}

/// A proxy to go through.
#[derive(Clone)]
pub struct Proxy {
    pub address: String,
    pub credentials: Option<(String, String)>,
}

/// How the server of a repository is to be spoken to.
#[derive(Clone, Default)]
pub struct Access {
    pub credentials: Option<Credentials>,
    /// PEM of the only authorities to trust; the system's when absent.
    pub ca_certificate: Option<Vec<u8>>,
    pub identity: Option<Identity>,
    pub proxy: Option<Proxy>,
}
