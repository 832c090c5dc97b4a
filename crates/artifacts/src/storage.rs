//! Where artifacts are stored, and how they are served.

use clap::Args;
use runtime::Process;
use std::{net::SocketAddr, path::PathBuf, sync::Arc};
use store::{Retention, Store};
use tokio::net::TcpListener;
use types::{Algorithm, GoDuration};

/// Why artifacts cannot be stored or served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot make the storage folder {path:?}")]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("cannot use the storage")]
    Storage(#[source] store::Error),
    #[error("cannot listen on {address}")]
    Listen { address: String, source: std::io::Error },
    #[error("with leader election the port of --storage-addr must be given")]
    Port,
}

/// The arguments of Flux's controllers that make artifacts, under the same names and with the same defaults.
#[derive(Debug, Clone, Args)]
pub struct StorageFlags {
    /// Folder that artifacts are stored in
    #[arg(long, default_value = "/data", env = "STORAGE_PATH", value_name = "DIR")]
    pub storage_path: PathBuf,
    /// Address that artifacts are served on
    #[arg(long, default_value = ":9090", env = "STORAGE_ADDRESS", value_name = "ADDRESS")]
    pub storage_addr: String,
    /// Address that others reach the artifact server at; made from --storage-addr when empty
    #[arg(long, default_value = "", env = "STORAGE_ADV_ADDR", value_name = "ADDRESS")]
    pub storage_adv_addr: String,
    /// How long an artifact is kept after a newer one took its place
    #[arg(long, default_value = "1m", value_name = "DURATION")]
    pub artifact_retention_ttl: GoDuration,
    /// How many artifacts of an object are kept
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub artifact_retention_records: usize,
    /// Hash function that artifacts are named by: sha1, sha256, sha384, sha512 or blake3
    #[arg(long, default_value = "sha256", value_name = "NAME")]
    pub artifact_digest_algo: String,
}

impl StorageFlags {
    /// What the arguments spell out.
    pub fn storage(&self) -> Result<Storage, types::Error> {
        Ok(Storage {
            path: self.storage_path.clone(),
            address: self.storage_addr.clone(),
            advertised_address: self.storage_adv_addr.clone(),
            digest_algorithm: self.artifact_digest_algo.parse()?,
            retention: Retention { ttl: self.artifact_retention_ttl.to_std(), records: self.artifact_retention_records },
        })
    }
}

/// Where artifacts are and how they are served.
#[derive(Debug, Clone)]
pub struct Storage {
    pub path: PathBuf,
    /// `host:port`; no host means all addresses, port 0 any free one.
    pub address: String,
    /// How others reach the server: `host:port`, or a URL; made from the address when empty.
    pub advertised_address: String,
    pub digest_algorithm: Algorithm,
    pub retention: Retention,
}

/// A storage that is in use.
#[derive(Clone)]
pub struct Served {
    pub store: Arc<Store>,
    /// Where artifacts are served; known at once, unless this replica has yet to be elected.
    pub storage_addr: Option<SocketAddr>,
    /// How others reach them.
    pub advertised: String,
}

impl Storage {
    /// Flux's defaults, in a folder.
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            address: ":9090".to_owned(),
            advertised_address: String::new(),
            digest_algorithm: Algorithm::default(),
            retention: Retention::default(),
        }
    }

    /// Opens the storage, and serves it as part of `process`: only the leader does, and where nobody else can lead, at once.
    pub async fn serve(&self, process: &Process) -> Result<Served, Error> {
        let path = &self.path;
        std::fs::create_dir_all(path).map_err(|source| Error::Folder { path: path.clone(), source })?;
        let address = self.listen_address();
        let elections = process.settings().leader_election.is_some();
        let bind = |address: String| async move { TcpListener::bind(&address).await.map_err(|source| Error::Listen { address, source }) };
        let listener = if elections { None } else { Some(bind(address.clone()).await?) };
        let storage_addr = listener.as_ref().and_then(|l| l.local_addr().ok());
        let port = match storage_addr {
            Some(bound) => bound.port(),
            None => address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).filter(|port| *port != 0).ok_or(Error::Port)?,
        };
        let advertised = self.advertised(port, Some(&process.settings().instance));
        let store = Store::open(path, &advertised, self.digest_algorithm, self.retention).map_err(Error::Storage)?;
        let store = Arc::new(store);
        hand_out(process, listener, address, store.clone());
        Ok(Served { store, storage_addr, advertised })
    }

    /// The address to listen on, with a host.
    fn listen_address(&self) -> String {
        if self.address.starts_with(':') { format!("0.0.0.0{}", self.address) } else { self.address.clone() }
    }

    /// How others reach the server that listens on `port`: no host becomes `localhost`, all addresses the name of this host.
    fn advertised(&self, port: u16, hostname: Option<&str>) -> String {
        if !self.advertised_address.is_empty() {
            return self.advertised_address.clone();
        }
        let host = self.address.rsplit_once(':').map_or(self.address.as_str(), |(host, _)| host);
        let host = match host {
            "" => "localhost",
            "0.0.0.0" => hostname.unwrap_or("localhost"),
            host => host,
        };
        format!("{host}:{port}")
    }
}

fn hand_out(process: &Process, listener: Option<TcpListener>, address: String, store: Arc<Store>) {
    let leader = process.clone();
    process.spawn("artifact server", async move {
        let listener = match listener {
            Some(listener) => listener,
            None => {
                leader.elected().await;
                TcpListener::bind(&address).await.map_err(|error| format!("cannot listen on {address}: {error}"))?
            }
        };
        // Ends with the process: artifacts are served as long as anything of it runs.
        store::serve(listener, store, std::future::pending()).await;
        Ok::<(), String>(())
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advertised_address_is_made_from_the_one_listened_on() {
        let storage = |address: &str, advertised: &str| Storage {
            address: address.into(),
            advertised_address: advertised.into(),
            ..Storage::new("/data".into())
        };
        assert_eq!(storage(":9090", "").advertised(9090, Some("pod")), "localhost:9090");
        assert_eq!(storage("0.0.0.0:9090", "").advertised(9090, Some("pod")), "pod:9090");
        assert_eq!(storage("127.0.0.1:0", "").advertised(4711, None), "127.0.0.1:4711");
        assert_eq!(storage("[::1]:80", "").advertised(80, None), "[::1]:80");
        assert_eq!(storage(":9090", "source-controller.flux-system.svc").advertised(9090, None), "source-controller.flux-system.svc");
        assert_eq!(storage(":9090", "").listen_address(), "0.0.0.0:9090");
    }
}
