use crate::Target;
use base64::{Engine, prelude::BASE64_STANDARD};
use cluster::{Client, RemoteOptions, Resource};
use plan::metadata::OwnerLabels;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use types::NamespacedName;

/// The clusters that are applied to: our own, and those of kubeconfigs.
pub struct Targets {
    own: Arc<Target>,
    remote: Mutex<HashMap<(String, String), Remote>>,
    labels: OwnerLabels,
    changed: Arc<dyn Fn(&NamespacedName) + Send + Sync>,
}

struct Remote {
    digest: [u8; 32],
    target: Arc<Target>,
}

/// Where the way to another cluster is written down, in the namespace of whoever refers to it.
#[derive(Debug, Clone, Copy)]
pub struct KubeConfig<'a> {
    /// Name and key of a Secret; an empty key means `value` or `value.yaml`.
    pub secret: Option<(&'a str, &'a str)>,
    pub config_map: Option<&'a str>,
}

/// Kubeconfigs kept open at most.
const REMOTES_MAX: usize = 256;

fn secrets() -> Resource {
    Resource::namespaced("", "v1", "Secret", "secrets")
}

fn config_maps() -> Resource {
    Resource::namespaced("", "v1", "ConfigMap", "configmaps")
}

impl Targets {
    /// See [`Target::new`] for the arguments.
    pub fn new(client: Client, labels: OwnerLabels, changed: Arc<dyn Fn(&NamespacedName) + Send + Sync>) -> Self {
        Self { own: Arc::new(Target::new(client, labels, changed.clone())), remote: Mutex::default(), labels, changed }
    }

    /// Our own cluster.
    pub fn own(&self) -> &Arc<Target> {
        &self.own
    }

    /// The cluster of a kubeconfig, or our own without one. The text of an error is shown on the object that refers to it.
    pub async fn of(&self, namespace: &str, kube_config: Option<KubeConfig<'_>>, limits: RemoteOptions) -> Result<Arc<Target>, String> {
        let Some(KubeConfig { secret, config_map }) = kube_config else { return Ok(self.own.clone()) };
        if let Some(map) = config_map {
            let found = self.own.client.get(&config_maps(), namespace, map).await;
            return match found {
                Err(error) => Err(format!("failed to get configmap {namespace}/{map}: {}", error.chain())),
                Ok(_) => Err(format!("kubeConfig.configMapRef {namespace}/{map}: access by workload identity is not supported yet")),
            };
        }
        let Some((name, key)) = secret else { return Err("kubeConfig names neither a Secret nor a ConfigMap".to_owned()) };
        let place = format!("{namespace}/{name}");
        let bytes = self
            .own
            .client
            .get(&secrets(), namespace, name)
            .await
            .map_err(|error| format!("unable to read KubeConfig secret '{place}' error: {}", error.chain()))?;
        let object: Value = serde_json::from_slice(&bytes).map_err(|_| format!("KubeConfig secret '{place}' cannot be read"))?;
        let keys: Vec<&str> = if key.is_empty() { vec!["value", "value.yaml"] } else { vec![key] };
        let found = keys.iter().find_map(|key| object.pointer("/data")?.get(key)?.as_str());
        let encoded = found.ok_or_else(|| format!("KubeConfig secret '{place}' does not contain a '{}' key with a kubeconfig", keys[0]))?;
        let text = BASE64_STANDARD.decode(encoded).map_err(|_| format!("KubeConfig secret '{place}' cannot be read"))?;
        self.remote((namespace.to_owned(), format!("{name}/{key}")), &text, limits)
            .await
            .map_err(|error| format!("KubeConfig secret '{place}': {error}"))
    }

    async fn remote(&self, key: (String, String), kubeconfig: &[u8], limits: RemoteOptions) -> Result<Arc<Target>, String> {
        let mut digest = [0; 32];
        digest.copy_from_slice(&Sha256::digest(kubeconfig));
        if let Some(known) = self.lock().get(&key).filter(|known| known.digest == digest) {
            return Ok(known.target.clone());
        }
        let client = self.own.client.remote(kubeconfig, limits).await.map_err(|error| error.to_string())?;
        let target = Arc::new(Target::new(client, self.labels, self.changed.clone()));
        let mut remote = self.lock();
        if remote.len() >= REMOTES_MAX {
            remote.clear();
        }
        remote.insert(key, Remote { digest, target: target.clone() });
        Ok(target)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), Remote>> {
        self.remote.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
