use crate::client::{Client, Identity};
use crate::discovery::Discovery;
use crate::error::Error;
use crate::remote::{REMOTE_ANSWER_WITHIN, RemoteOptions, remote_config};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A cluster: its connection and its discovery, shared by all identities that speak to it. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    pub client: Client,
    pub discovery: Arc<Discovery>,
    remote: bool,
}

impl Cluster {
    pub fn new(client: Client) -> Self {
        Self { discovery: Arc::new(Discovery::new(client.clone())), client, remote: false }
    }

    /// The client of an identity: the same connection, another header.
    pub fn client_as(&self, identity: &Identity) -> Result<Client, Error> {
        self.client.as_identity(identity)
    }

    /// Whether this is not the cluster that the controller itself serves.
    pub fn is_remote(&self) -> bool {
        self.remote
    }
}

/// The clusters that a controller speaks to: its own, and those of kubeconfigs, each connected once.
pub struct Clusters {
    home: Cluster,
    /// By kubeconfig: what a Secret says today is another cluster than what it said yesterday.
    remotes: Mutex<HashMap<(Vec<u8>, RemoteOptions), (Cluster, Instant)>>,
}

/// A connection that nobody used for so long is given up.
const UNUSED_AFTER: Duration = Duration::from_secs(2 * 3600);

impl Clusters {
    pub fn new(home: Client) -> Self {
        Self { home: Cluster::new(home), remotes: Mutex::default() }
    }

    pub fn home(&self) -> &Cluster {
        &self.home
    }

    /// The cluster of a kubeconfig from a user's Secret. Connects at the first request, not here.
    pub async fn remote(&self, kubeconfig: &[u8], options: RemoteOptions) -> Result<Cluster, Error> {
        let key = (kubeconfig.to_vec(), options);
        if let Some((cluster, used)) = self.remotes.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&key) {
            *used = Instant::now();
            return Ok(cluster.clone());
        }
        let config = remote_config(kubeconfig, options).await?;
        // The right to write comes from this cluster's lease, whichever cluster is written to.
        let client = Client::with_fence(config, self.home.client.fence().clone())?.answering_within(REMOTE_ANSWER_WITHIN);
        let cluster = Cluster { remote: true, ..Cluster::new(client) };
        let mut remotes = self.remotes.lock().unwrap_or_else(PoisonError::into_inner);
        remotes.retain(|_, (_, used)| used.elapsed() < UNUSED_AFTER);
        Ok(remotes.entry(key).or_insert((cluster, Instant::now())).0.clone())
    }
}
