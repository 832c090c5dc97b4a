use crate::options::Options;
use api::kustomize::Kustomization;
use apply::Target;
use base64::{Engine, prelude::BASE64_STANDARD};
use cluster::{Client, Identity, RemoteOptions, Resource};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use types::NamespacedName;

/// The clusters that are applied to: our own, and those of kubeconfigs.
pub(crate) struct Targets {
    own: Arc<Target>,
    remote: Mutex<HashMap<(String, String), Remote>>,
    changed: Arc<dyn Fn(&NamespacedName) + Send + Sync>,
}

struct Remote {
    digest: [u8; 32],
    target: Arc<Target>,
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
    pub(crate) fn new(client: Client, changed: Arc<dyn Fn(&NamespacedName) + Send + Sync>) -> Self {
        Self { own: Arc::new(Target::new(client, changed.clone())), remote: Mutex::default(), changed }
    }

    /// The cluster that a Kustomization is applied to. The text of an error is shown on the Kustomization.
    pub(crate) async fn of(&self, this: &Kustomization, options: &Options) -> Result<Arc<Target>, String> {
        let Some(reference) = &this.spec.kube_config else { return Ok(self.own.clone()) };
        let namespace = this.metadata.namespace.clone().unwrap_or_default();
        if let Some(map) = &reference.config_map_ref {
            let found = self.own.client.get(&config_maps(), &namespace, &map.name).await;
            return match found {
                Err(error) => Err(format!("failed to get configmap {namespace}/{}: {}", map.name, error.chain())),
                Ok(_) => Err(format!("kubeConfig.configMapRef {namespace}/{}: access by workload identity is not supported yet", map.name)),
            };
        }
        let Some(secret) = &reference.secret_ref else { return Err("kubeConfig names neither a Secret nor a ConfigMap".to_owned()) };
        let place = format!("{namespace}/{}", secret.name);
        let bytes = self
            .own
            .client
            .get(&secrets(), &namespace, &secret.name)
            .await
            .map_err(|error| format!("unable to read KubeConfig secret '{place}' error: {}", error.chain()))?;
        let object: Value = serde_json::from_slice(&bytes).map_err(|_| format!("KubeConfig secret '{place}' cannot be read"))?;
        let keys: Vec<&str> = if secret.key.is_empty() { vec!["value", "value.yaml"] } else { vec![secret.key.as_str()] };
        let found = keys.iter().find_map(|key| object.pointer("/data")?.get(key)?.as_str());
        let encoded = found.ok_or_else(|| format!("KubeConfig secret '{place}' does not contain a '{}' key with a kubeconfig", keys[0]))?;
        let text = BASE64_STANDARD.decode(encoded).map_err(|_| format!("KubeConfig secret '{place}' cannot be read"))?;
        self.remote((namespace, format!("{}/{}", secret.name, secret.key)), &text, options)
            .await
            .map_err(|error| format!("KubeConfig secret '{place}': {error}"))
    }

    async fn remote(&self, key: (String, String), kubeconfig: &[u8], options: &Options) -> Result<Arc<Target>, String> {
        let mut digest = [0; 32];
        digest.copy_from_slice(&Sha256::digest(kubeconfig));
        if let Some(known) = self.lock().get(&key).filter(|known| known.digest == digest) {
            return Ok(known.target.clone());
        }
        let limits = RemoteOptions { exec: options.insecure_kubeconfig_exec, insecure_tls: options.insecure_kubeconfig_tls };
        let client = self.own.client.remote(kubeconfig, limits).await.map_err(|error| error.to_string())?;
        let target = Arc::new(Target::new(client, self.changed.clone()));
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

/// Whose rights are used, and the ServiceAccount's name when it is one.
pub(crate) fn identity(this: &Kustomization, options: &Options) -> (Identity, Option<String>) {
    let name = if this.spec.service_account_name.is_empty() { &options.default_service_account } else { &this.spec.service_account_name };
    if name.is_empty() {
        return (Identity::Own, None);
    }
    (Identity::service_account(this.metadata.namespace.as_deref().unwrap_or_default(), name), Some(name.clone()))
}
