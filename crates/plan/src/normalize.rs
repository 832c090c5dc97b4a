use crate::metadata::{self, Steering};
use base64::{Engine, prelude::BASE64_STANDARD};
use object::{Object, ObjectKey};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, fmt};
use types::NamespacedName;

/// An object as it will be sent, with what is asked of it again and again.
#[derive(Clone, PartialEq)]
pub struct Desired {
    pub object: Object,
    pub key: ObjectKey,
    pub steering: Steering,
    /// Of the bytes that will be sent.
    pub digest: [u8; 16],
}

impl fmt::Debug for Desired {
    /// Objects may be Secrets.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Desired({})", self.key)
    }
}

impl Desired {
    pub fn new(object: Object) -> Self {
        let hash = Sha256::digest(serde_json::to_vec(&object).unwrap_or_default());
        let mut digest = [0; 16];
        digest.copy_from_slice(&hash[..16]);
        Self { key: object.key(), steering: Steering::of(&object), digest, object }
    }
}

/// Who applies, and what it puts on everything.
#[derive(Debug, Clone, Default)]
pub struct Owner {
    pub name: NamespacedName,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

/// Makes a built object what is sent to the server: owner labels and common metadata on, and what only a server sets off.
///
/// `known_fields` takes out what the schema of a built-in kind does not know, as a round trip through Go's types does.
pub fn normalize(mut object: Object, owner: &Owner, known_fields: &dyn Fn(&mut Object)) -> Desired {
    object.set_label(metadata::NAME_LABEL, &owner.name.name);
    object.set_label(metadata::NAMESPACE_LABEL, &owner.name.namespace);
    for (key, value) in &owner.labels {
        object.set_label(key, value);
    }
    for (key, value) in &owner.annotations {
        object.set_annotation(key, value);
    }
    for key in ["creationTimestamp", "managedFields", "resourceVersion", "uid", "generation", "selfLink"] {
        object.metadata_mut().remove(key);
    }
    if object.kind() != "CustomResourceDefinition" {
        object.as_map_mut().remove("status");
    }
    let gvk = object.gvk();
    match (gvk.group.as_str(), gvk.kind.as_str()) {
        ("", "Secret") => normalize_secret(object.as_map_mut()),
        ("", "Service") => default_protocol(object.as_map_mut().get_mut("spec"), "ports"),
        ("", "Pod") => default_pod_protocols(object.as_map_mut().get_mut("spec")),
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet") | ("batch", "Job") => {
            default_pod_protocols(object.as_map_mut().get_mut("spec").and_then(|spec| spec.pointer_mut("/template/spec")));
        }
        ("batch", "CronJob") => {
            default_pod_protocols(object.as_map_mut().get_mut("spec").and_then(|spec| spec.pointer_mut("/jobTemplate/spec/template/spec")));
        }
        _ => {}
    }
    known_fields(&mut object);
    Desired::new(object)
}

/// `stringData` is written over `data`, and `sops` goes, as in a round trip through Go's Secret type.
fn normalize_secret(map: &mut Map<String, Value>) {
    map.remove("sops");
    let Some(Value::Object(texts)) = map.remove("stringData") else { return };
    let data = map.entry("data").or_insert_with(|| Value::Object(Map::new()));
    if data.is_null() {
        *data = Value::Object(Map::new());
    }
    let Some(data) = data.as_object_mut() else { return };
    for (key, value) in texts {
        let text = match value {
            Value::String(text) => text,
            Value::Null => String::new(),
            other => other.to_string(),
        };
        data.insert(key, Value::String(BASE64_STANDARD.encode(text)));
    }
}

fn default_pod_protocols(spec: Option<&mut Value>) {
    let Some(spec) = spec else { return };
    for list in ["containers", "initContainers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            default_protocol(Some(container), "ports");
        }
    }
}

/// The protocol is part of the key of a port: without it the server would see another element.
fn default_protocol(parent: Option<&mut Value>, list: &str) {
    let ports = parent.and_then(|parent| parent.get_mut(list)).and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
        if matches!(port.get("protocol"), None | Some(Value::Null)) {
            port.insert("protocol".to_owned(), Value::from("TCP"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn normalized(value: Value) -> Value {
        let owner = Owner {
            name: NamespacedName::new("flux-system", "apps"),
            labels: [("team".to_owned(), "a".to_owned())].into(),
            annotations: BTreeMap::new(),
        };
        normalize(Object::new(value).unwrap(), &owner, &|_| {}).object.into_value()
    }

    #[test]
    fn what_is_sent_carries_its_owner_and_nothing_of_the_server() {
        let sent = normalized(json!({
            "apiVersion": "v1", "kind": "Service", "status": {"loadBalancer": {}},
            "metadata": {"name": "a", "creationTimestamp": null, "resourceVersion": "1", "labels": {"team": "b"}},
            "spec": {"ports": [{"port": 80}, {"port": 53, "protocol": "UDP"}]},
        }));
        assert_eq!(
            sent,
            json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"name": "a", "labels": {"team": "a", "kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}},
                "spec": {"ports": [{"port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]},
            })
        );
    }

    #[test]
    fn string_data_of_a_secret_becomes_data() {
        let sent = normalized(
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "data": {"a": "eA==", "b": "eA=="}, "stringData": {"a": "y"}, "sops": {}}),
        );
        assert_eq!(sent["data"], json!({"a": "eQ==", "b": "eA=="}));
        assert!(sent.get("stringData").is_none() && sent.get("sops").is_none());
    }

    #[test]
    fn no_secret_shows_in_debug_output() {
        let object = Object::new(
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "namespace": "n"}, "data": {"p": "hunter2"}}),
        )
        .unwrap();
        assert_eq!(format!("{:?}", Desired::new(object)), "Desired(Secret/n/a)");
    }
}
