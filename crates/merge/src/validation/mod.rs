//! What kube-apiserver refuses of built-in kinds, to the degree that those who write manifests meet it.
//!
//! ```text
//! validate(kind, object, old) --> metadata (meta), then the rules of the kind
//!     workloads, batch --> pod --> volumes, scheduling          names, labels, ports: names
//!     network, storage, config, access, scaling
//! ```
//!
//! Objects have been read and defaulted before. Paths, reasons and texts are those of the real server; kinds that are not
//! listed have their metadata and the enumerations of their schema checked. Where the server shows the Go struct of a
//! value, the value itself is shown, unless the struct is small.

mod access;
mod at;
mod batch;
mod config;
mod coordination;
mod meta;
pub mod names;
mod network;
mod pod;
mod pod_update;
mod scaling;
mod scheduling;
mod storage;
mod volumes;
mod warnings;
mod workloads;

use object::GroupVersionKind;
use serde_json::Value;

use crate::builtin;
use crate::field::{self, FieldError};
use crate::schema::{Schema, TypeId};

use at::{At, Errors};
pub use warnings::warnings;

/// Errors listed in one answer.
const ERRORS_MAX: usize = 200;

/// Values nest no deeper than this.
const DEPTH_MAX: usize = 150;

/// What is wrong with a new object of a built-in kind, or with an update of an old one.
pub fn validate(gvk: &GroupVersionKind, namespaced: bool, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let at = At::new(object, "");
    let old_at = old.map(|old| At::new(old, ""));
    validate_metadata_of(&mut errors, gvk, namespaced, &at, old_at.as_ref());
    if !of_kind(&mut errors, gvk, &at, old_at.as_ref())
        && let Some(id) = builtin::schema().kind(gvk)
    {
        enumerations(&mut errors, builtin::schema(), id, &at, 0);
    }
    errors.0.truncate(ERRORS_MAX);
    errors.0
}

/// What is wrong with the metadata of an object, such as a custom resource.
pub fn validate_metadata(namespaced: bool, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let at = At::new(object, "");
    let old_at = old.map(|old| At::new(old, ""));
    metadata(&mut errors, namespaced, true, &at, old_at.as_ref(), names::subdomain);
    errors.0
}

fn metadata(errors: &mut Errors, namespaced: bool, custom: bool, object: &At<'_>, old: Option<&At<'_>>, check: meta::NameCheck) {
    match old {
        Some(old) => meta::metadata_update(errors, &object.get("metadata"), &old.get("metadata")),
        None => meta::metadata(errors, &object.get("metadata"), namespaced, custom, check),
    }
}

fn validate_metadata_of(errors: &mut Errors, gvk: &GroupVersionKind, namespaced: bool, object: &At<'_>, old: Option<&At<'_>>) {
    let check: meta::NameCheck = match (gvk.group.as_str(), gvk.kind.as_str()) {
        ("", "Service" | "Namespace") | ("apps", "StatefulSet") => names::label,
        ("rbac.authorization.k8s.io" | "flowcontrol.apiserver.k8s.io", _) | ("certificates.k8s.io", _) => names::path_segment,
        _ => names::subdomain,
    };
    metadata(errors, namespaced, false, object, old, check);
}

/// The rules of a kind; says whether there are any.
fn of_kind(errors: &mut Errors, gvk: &GroupVersionKind, object: &At<'_>, old: Option<&At<'_>>) -> bool {
    match (gvk.group.as_str(), gvk.kind.as_str()) {
        ("", "Pod") => pod_update::pod(errors, object, old),
        ("", "PodTemplate") => pod::template(errors, &object.get("template")),
        ("", "ReplicationController") => workloads::replication_controller(errors, object),
        ("", "ConfigMap") => config::config_map(errors, object, old),
        ("", "Secret") => config::secret(errors, object, old),
        ("", "Service") => network::service(errors, object, old),
        ("", "PersistentVolumeClaim") => storage::claim(errors, object, old),
        ("", "PersistentVolume") => storage::volume(errors, object, old),
        ("", "ResourceQuota") => config::resource_quota(errors, object, old),
        ("", "LimitRange") => config::limit_range(errors, object),
        ("", "ServiceAccount" | "Namespace" | "Event" | "Endpoints" | "Node") => {}
        ("apps", "Deployment") => workloads::deployment(errors, object, old),
        ("apps", "ReplicaSet") => workloads::replica_set(errors, object, old),
        ("apps", "StatefulSet") => workloads::stateful_set(errors, object, old),
        ("apps", "DaemonSet") => workloads::daemon_set(errors, object, old),
        ("batch", "Job") => batch::job(errors, object, old),
        ("batch", "CronJob") => batch::cron_job(errors, object, old),
        ("autoscaling", "HorizontalPodAutoscaler") if gvk.version == "v2" => scaling::autoscaler(errors, object),
        ("policy", "PodDisruptionBudget") => scaling::disruption_budget(errors, object),
        ("networking.k8s.io", "Ingress") => network::ingress(errors, object, old),
        ("networking.k8s.io", "IngressClass") => network::ingress_class(errors, object, old),
        ("networking.k8s.io", "NetworkPolicy") => network::network_policy(errors, object),
        ("coordination.k8s.io", "Lease") => coordination::lease(errors, object),
        ("discovery.k8s.io", "EndpointSlice") => coordination::endpoint_slice(errors, object, old),
        ("rbac.authorization.k8s.io", "Role") => access::role(errors, object, true),
        ("rbac.authorization.k8s.io", "ClusterRole") => access::role(errors, object, false),
        ("rbac.authorization.k8s.io", "RoleBinding") => access::binding(errors, object, old, true),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding") => access::binding(errors, object, old, false),
        ("storage.k8s.io", "StorageClass") => storage::class(errors, object, old),
        ("scheduling.k8s.io", "PriorityClass") => config::priority_class(errors, object, old),
        _ => return false,
    }
    true
}

/// Texts that the schema gives a choice of.
fn enumerations(errors: &mut Errors, schema: &Schema, id: TypeId, at: &At<'_>, depth: usize) {
    if depth > DEPTH_MAX || errors.0.len() > ERRORS_MAX {
        return;
    }
    let ty = schema.get(id);
    match at.value {
        Value::String(text) if !ty.enumeration.is_empty() && !text.is_empty() => {
            let supported: Vec<&str> = ty.enumeration.iter().map(|one| &**one).collect();
            errors.one_of(at, &supported);
        }
        Value::Object(map) => {
            let Some(known) = &ty.map else { return };
            for (key, value) in map {
                if let Some(id) = known.type_of(key) {
                    let path = if known.field(key).is_some() { field::child(&at.path, key) } else { field::key(&at.path, key) };
                    enumerations(errors, schema, id, &At { value, path }, depth + 1);
                }
            }
        }
        Value::Array(_) => {
            if let Some(list) = &ty.list {
                at.items().for_each(|item| enumerations(errors, schema, list.element, &item, depth + 1));
            }
        }
        _ => {}
    }
}
