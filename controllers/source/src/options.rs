use std::path::PathBuf;
use std::time::Duration;
use store::Retention;
use types::Algorithm;

/// What a source-controller is told, as values.
#[derive(Debug, Clone)]
pub struct Options {
    pub storage: Storage,
    /// How many objects of a kind are reconciled at the same time. More than Flux's two: most of the time is spent waiting for servers.
    pub concurrent: usize,
    /// After which time a missing dependency is looked for again.
    pub requeue_dependency: Duration,
    /// Folder of the Git caches.
    pub git_cache: PathBuf,
    /// What one fetch may cost.
    pub git_limits: git::Limits,
    /// How much Helm repositories may send.
    pub helm_limits: crate::HelmLimits,
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

impl Options {
    /// The defaults of the program, with artifacts in `storage`.
    pub fn new(storage: PathBuf) -> Self {
        Self {
            // A name that the store neither lists nor serves.
            git_cache: storage.join(".tmp-git-cache"),
            storage: Storage {
                path: storage,
                address: ":9090".to_owned(),
                advertised_address: String::new(),
                digest_algorithm: Algorithm::default(),
                retention: Retention::default(),
            },
            concurrent: 8,
            requeue_dependency: Duration::from_secs(30),
            git_limits: git::Limits::default(),
            helm_limits: crate::HelmLimits::default(),
        }
    }
}

impl Storage {
    /// The address to listen on, with a host.
    pub(crate) fn listen_address(&self) -> String {
        if self.address.starts_with(':') { format!("0.0.0.0{}", self.address) } else { self.address.clone() }
    }

    /// How others reach the server that listens on `port`: no host becomes `localhost`, all addresses the name of this host.
    pub(crate) fn advertised(&self, port: u16, hostname: Option<&str>) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advertised_address_is_made_from_the_one_listened_on() {
        let storage = |address: &str, advertised: &str| Storage {
            address: address.into(),
            advertised_address: advertised.into(),
            ..Options::new("/data".into()).storage
        };
        assert_eq!(storage(":9090", "").advertised(9090, Some("pod")), "localhost:9090");
        assert_eq!(storage("0.0.0.0:9090", "").advertised(9090, Some("pod")), "pod:9090");
        assert_eq!(storage("127.0.0.1:0", "").advertised(4711, None), "127.0.0.1:4711");
        assert_eq!(storage("[::1]:80", "").advertised(80, None), "[::1]:80");
        assert_eq!(storage(":9090", "source-controller.flux-system.svc").advertised(9090, None), "source-controller.flux-system.svc");
        assert_eq!(storage(":9090", "").listen_address(), "0.0.0.0:9090");
    }
}
