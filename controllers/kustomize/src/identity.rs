use crate::options::Options;
use api::kustomize::Kustomization;
use apply::{KubeConfig, Target, Targets};
use cluster::{Identity, RemoteOptions};
use std::sync::Arc;

/// The cluster that a Kustomization is applied to. The text of an error is shown on the Kustomization.
pub(crate) async fn target(targets: &Targets, this: &Kustomization, options: &Options) -> Result<Arc<Target>, String> {
    let kube_config = this.spec.kube_config.as_ref().map(|reference| KubeConfig {
        secret: reference.secret_ref.as_ref().map(|secret| (secret.name.as_str(), secret.key.as_str())),
        config_map: reference.config_map_ref.as_ref().map(|map| map.name.as_str()),
    });
    let limits = RemoteOptions { exec: options.insecure_kubeconfig_exec, insecure_tls: options.insecure_kubeconfig_tls };
    targets.of(this.metadata.namespace.as_deref().unwrap_or_default(), kube_config, limits).await
}

/// Whose rights are used, and the ServiceAccount's name when it is one.
pub(crate) fn identity(this: &Kustomization, options: &Options) -> (Identity, Option<String>) {
    let name = if this.spec.service_account_name.is_empty() { &options.default_service_account } else { &this.spec.service_account_name };
    if name.is_empty() {
        return (Identity::Own, None);
    }
    (Identity::service_account(this.metadata.namespace.as_deref().unwrap_or_default(), name), Some(name.clone()))
}
