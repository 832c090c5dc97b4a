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
    if object.gvk().group.is_empty() && object.kind() == "Secret" {
        normalize_secret(object.as_map_mut());
    }
    if let Some(shape) = SHAPES.iter().find(|shape| shape.group == object.gvk().group && shape.kind == object.kind()) {
        shape.complete(object.as_map_mut());
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

/// What Go writes for a kind even where a manifest says nothing.
struct Shape {
    group: &'static str,
    kind: &'static str,
    /// Fields that are structs in Go: an empty one is written as an empty map, and owned like any other field.
    structs: &'static [&'static str],
    /// Where a pod is specified.
    pod: Option<&'static str>,
}

const fn shape(group: &'static str, kind: &'static str, structs: &'static [&'static str], pod: Option<&'static str>) -> Shape {
    Shape { group, kind, structs, pod }
}

const SHAPES: &[Shape] = &[
    shape("", "Namespace", &["/spec"], None),
    shape("", "Service", &["/spec"], None),
    shape("", "PersistentVolumeClaim", &["/spec", "/spec/resources"], None),
    shape("", "Pod", &["/spec"], Some("/spec")),
    shape("apps", "Deployment", &["/spec/strategy"], Some("/spec/template/spec")),
    shape("apps", "StatefulSet", &["/spec/updateStrategy"], Some("/spec/template/spec")),
    shape("apps", "DaemonSet", &["/spec/updateStrategy"], Some("/spec/template/spec")),
    shape("apps", "ReplicaSet", &[], Some("/spec/template/spec")),
    shape("batch", "Job", &[], Some("/spec/template/spec")),
    shape("batch", "CronJob", &[], Some("/spec/jobTemplate/spec/template/spec")),
];

impl Shape {
    fn complete(&self, object: &mut Map<String, Value>) {
        let mut value = Value::Object(std::mem::take(object));
        for path in self.structs {
            complete(&mut value, path);
        }
        if self.kind == "Service" {
            default_protocol(value.get_mut("spec"), "ports");
            default_target_port(&mut value);
        }
        if let Some(spec) = self.pod.and_then(|path| value.pointer_mut(path)) {
            for list in ["containers", "initContainers", "ephemeralContainers"] {
                for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                    default_protocol(Some(container), "ports");
                    complete(container, "/resources");
                }
            }
        }
        if let Value::Object(map) = value {
            *object = map;
        }
    }
}

/// Puts an empty map where nothing is, when its parent is there.
fn complete(value: &mut Value, path: &str) {
    let Some((parent, key)) = path.rsplit_once('/') else { return };
    if let Some(map) = value.pointer_mut(parent).and_then(Value::as_object_mut)
        && matches!(map.get(key), None | Some(Value::Null))
    {
        map.insert(key.to_owned(), Value::Object(Map::new()));
    }
}

/// Go writes a target port even where none is set, and the server then takes the port.
fn default_target_port(service: &mut Value) {
    let headless = service.pointer("/spec/type").and_then(Value::as_str) == Some("ExternalName");
    let ports = service.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten().filter_map(Value::as_object_mut).filter(|_| !headless) {
        if matches!(port.get("targetPort"), None | Some(Value::Null))
            && let Some(number) = port.get("port").filter(|number| number.is_number()).cloned()
        {
            port.insert("targetPort".to_owned(), number);
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
                "spec": {"ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}, {"port": 53, "protocol": "UDP", "targetPort": 53}]},
            })
        );
    }

    #[test]
    fn empty_structs_are_written_as_go_writes_them() {
        let sent = normalized(
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": {"template": {"spec": {"containers": [{"name": "c", "ports": [{"containerPort": 1}]}]}}}}),
        );
        assert_eq!(
            sent["spec"],
            json!({"strategy": {}, "template": {"spec": {"containers": [{"name": "c", "ports": [{"containerPort": 1, "protocol": "TCP"}], "resources": {}}]}}})
        );
        let sent = normalized(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}));
        assert_eq!(sent["spec"], json!({}));
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
