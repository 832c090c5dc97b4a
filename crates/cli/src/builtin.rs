//! Kinds of Kubernetes itself that commands look at.

use cluster::Resource;

pub fn secrets() -> Resource {
    Resource::namespaced("", "v1", "Secret", "secrets")
}

pub fn config_maps() -> Resource {
    Resource::namespaced("", "v1", "ConfigMap", "configmaps")
}

pub fn events() -> Resource {
    Resource::namespaced("", "v1", "Event", "events")
}

pub fn pods() -> Resource {
    Resource::namespaced("", "v1", "Pod", "pods")
}

pub fn deployments() -> Resource {
    Resource::namespaced("apps", "v1", "Deployment", "deployments")
}

pub fn namespaces() -> Resource {
    Resource::cluster_scoped("", "v1", "Namespace", "namespaces")
}

pub fn service_accounts() -> Resource {
    Resource::namespaced("", "v1", "ServiceAccount", "serviceaccounts")
}

pub fn role_bindings() -> Resource {
    Resource::namespaced("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings")
}

pub fn definitions() -> Resource {
    Resource::cluster_scoped("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions")
}
