use crate::error::Error;
use kube::config::{AuthInfo, Cluster, Context, KubeConfigOptions, Kubeconfig, NamedAuthInfo, NamedCluster, NamedContext};
use std::time::Duration;

/// What a kubeconfig that a user supplied may ask for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct RemoteOptions {
    /// `--insecure-kubeconfig-exec`: run programs of this machine to get credentials.
    pub exec: bool,
    /// `--insecure-kubeconfig-tls`: accept any certificate.
    pub insecure_tls: bool,
}

/// Kubernetes' own limit for a kubeconfig in a Secret.
const SIZE_MAX: usize = 1 << 20;
/// As Flux: a remote cluster that does not answer must not hold anything up.
pub(crate) const REMOTE_ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Reads a kubeconfig from a user's Secret and keeps only what cannot reach into this process.
///
/// Kept: server, TLS name, CA, client certificate and key as data, token, user and password, proxy. Dropped: programs,
/// auth providers, paths of files, impersonation, and, unless allowed, switching off TLS (CVE-2022-24817).
/// Errors name the place, never a value.
pub async fn remote_config(kubeconfig: &[u8], options: RemoteOptions) -> Result<kube::Config, Error> {
    let invalid = |why: &str| Error::Kubeconfig(why.to_owned());
    if kubeconfig.len() > SIZE_MAX {
        return Err(invalid("it is larger than a Secret can be"));
    }
    let text = std::str::from_utf8(kubeconfig).map_err(|_| invalid("it is not UTF-8"))?;
    // The parser's own message quotes the text around the error, which may be a secret.
    let config = Kubeconfig::from_yaml(text).map_err(|_| invalid("it is not YAML of the form of a kubeconfig"))?;
    let clean = sanitised(config, options)?;
    let config = kube::Config::from_custom_kubeconfig(clean, &KubeConfigOptions::default()).await;
    config.map_err(|_| invalid("its server, certificates or keys cannot be read"))
}

const NAME: &str = "remote";

fn sanitised(config: Kubeconfig, options: RemoteOptions) -> Result<Kubeconfig, Error> {
    let invalid = |why: String| Error::Kubeconfig(why);
    let chosen = config.current_context.filter(|name| !name.is_empty()).ok_or_else(|| invalid("current-context is not set".into()))?;
    let context = config.contexts.into_iter().find(|context| context.name == chosen).and_then(|named| named.context);
    let context = context.ok_or_else(|| invalid(format!("context {chosen:?} is not defined")))?;
    let cluster = config.clusters.into_iter().find(|cluster| cluster.name == context.cluster).and_then(|named| named.cluster);
    let cluster = cluster.ok_or_else(|| invalid(format!("cluster {:?} is not defined", context.cluster)))?;
    if cluster.server.as_ref().is_none_or(String::is_empty) {
        return Err(invalid(format!("cluster {:?} has no server", context.cluster)));
    }
    let user = match &context.user {
        Some(name) => {
            let user = config.auth_infos.into_iter().find(|user| user.name == *name).and_then(|named| named.auth_info);
            user.ok_or_else(|| invalid(format!("user {name:?} is not defined")))?
        }
        None => AuthInfo::default(),
    };
    let cluster = Cluster {
        server: cluster.server,
        tls_server_name: cluster.tls_server_name,
        certificate_authority_data: cluster.certificate_authority_data,
        proxy_url: cluster.proxy_url,
        insecure_skip_tls_verify: cluster.insecure_skip_tls_verify.filter(|_| options.insecure_tls),
        ..Cluster::default()
    };
    let user = AuthInfo {
        username: user.username,
        password: user.password,
        token: user.token,
        client_certificate_data: user.client_certificate_data,
        client_key_data: user.client_key_data,
        exec: user.exec.filter(|_| options.exec),
        ..AuthInfo::default()
    };
    let context = Context { cluster: NAME.into(), user: Some(NAME.into()), namespace: context.namespace, ..Context::default() };
    Ok(Kubeconfig {
        clusters: vec![NamedCluster { name: NAME.into(), cluster: Some(cluster), ..NamedCluster::default() }],
        auth_infos: vec![NamedAuthInfo { name: NAME.into(), auth_info: Some(user), ..NamedAuthInfo::default() }],
        contexts: vec![NamedContext { name: NAME.into(), context: Some(context), ..NamedContext::default() }],
        current_context: Some(NAME.into()),
        ..Kubeconfig::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = r#"
apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: k, user: u, namespace: apps}}]
clusters: [{name: k, cluster: {server: "https://10.0.0.1:6443", insecure-skip-tls-verify: true, certificate-authority: /etc/passwd}}]
users:
- name: u
  user:
    token: s3cret
    tokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token
    client-certificate: /etc/passwd
    client-key: /etc/shadow
    as: system:admin
    as-groups: [system:masters]
    auth-provider: {name: gcp, config: {cmd-path: /bin/sh}}
    exec: {apiVersion: client.authentication.k8s.io/v1, command: /bin/sh, args: ["-c", "touch /tmp/x"]}
"#;

    #[tokio::test]
    async fn programs_files_and_impersonation_of_a_users_kubeconfig_are_dropped() {
        let config = remote_config(HOSTILE.as_bytes(), RemoteOptions::default()).await.unwrap();
        assert_eq!(config.cluster_url.to_string(), "https://10.0.0.1:6443/");
        assert_eq!(config.default_namespace, "apps");
        assert!(!config.accept_invalid_certs && config.root_cert.is_none() && config.root_cert_file.is_none());
        let auth = config.auth_info;
        assert!(auth.token.is_some(), "the token is what is wanted");
        assert!(auth.token_file.is_none() && auth.client_certificate.is_none() && auth.client_key.is_none());
        assert!(auth.exec.is_none() && auth.auth_provider.is_none());
        assert!(auth.impersonate.is_none() && auth.impersonate_groups.is_none());
    }

    #[tokio::test]
    async fn exec_and_insecure_tls_come_back_when_they_are_allowed() {
        let config = remote_config(HOSTILE.as_bytes(), RemoteOptions { exec: true, insecure_tls: true }).await.unwrap();
        assert!(config.accept_invalid_certs && config.auth_info.exec.is_some());
    }

    #[tokio::test]
    async fn errors_name_the_place_and_never_a_value() {
        let cases = [
            ("{", "not YAML"),
            ("token: [s3cret", "not YAML"),
            ("current-context: a", "context \"a\" is not defined"),
            ("contexts: []", "current-context is not set"),
            ("{current-context: a, contexts: [{name: a, context: {cluster: k}}]}", "cluster \"k\" is not defined"),
            (
                "{current-context: a, contexts: [{name: a, context: {cluster: k, user: u}}], clusters: [{name: k, cluster: {server: 'https://h'}}]}",
                "user \"u\" is not defined",
            ),
        ];
        for (text, expected) in cases {
            let error = remote_config(text.as_bytes(), RemoteOptions::default()).await.unwrap_err().chain();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
