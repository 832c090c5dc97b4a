//! What the API server fills in for built-in kinds.
//!
//! Plain defaults are data (`data/defaults.txt`), applied wherever their type occurs; those that depend on other fields
//! are here, by the type that they are of.

use std::collections::HashMap;
use std::sync::OnceLock;

use object::GroupVersionKind;
use serde_json::{Map, Value, json};

use crate::schema::{Schema, TypeId};

type Json = Map<String, Value>;

/// Values nest no deeper than this.
const DEPTH_MAX: usize = 150;

/// Fills in the defaults of an object that has been read ([`super::read`]).
pub fn apply_defaults(object: &mut Value, gvk: &GroupVersionKind) {
    let schema = super::schema();
    let Some(id) = schema.kind(gvk) else { return };
    visit(object, schema, id, 0);
    if let Some(object) = object.as_object_mut() {
        of_kind(object, gvk);
    }
}

fn table() -> &'static HashMap<TypeId, Vec<(&'static str, Value)>> {
    static TABLE: OnceLock<HashMap<TypeId, Vec<(&'static str, Value)>>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut out: HashMap<TypeId, Vec<(&'static str, Value)>> = HashMap::new();
        for line in include_str!("../../data/defaults.txt").lines().filter(|line| !line.starts_with('#')) {
            let mut words = line.splitn(3, ' ');
            let (Some(ty), Some(field), Some(value)) = (words.next(), words.next(), words.next()) else { continue };
            let Some(id) = super::schema().named(&format!("io.k8s.api.{ty}")) else { continue };
            let Ok(value) = serde_json::from_str(value) else { continue };
            out.entry(id).or_default().push((field, value));
        }
        out
    })
}

fn visit(value: &mut Value, schema: &Schema, id: TypeId, depth: usize) {
    if depth > DEPTH_MAX {
        return;
    }
    let ty = schema.get(id);
    match value {
        Value::Object(map) => {
            let Some(known) = &ty.map else { return };
            if let Some(name) = &ty.name {
                of_type(map, name.strip_prefix("io.k8s.api.").unwrap_or(name));
                for (field, default) in table().get(&id).into_iter().flatten() {
                    set(map, field, default.clone());
                }
            }
            for (key, child) in map.iter_mut() {
                if let Some(id) = known.type_of(key) {
                    visit(child, schema, id, depth + 1);
                }
            }
        }
        Value::Array(items) => {
            if let Some(list) = &ty.list {
                items.iter_mut().for_each(|item| visit(item, schema, list.element, depth + 1));
            }
        }
        _ => {}
    }
}

/// Sets a field that is absent.
fn set(map: &mut Json, field: &str, value: Value) {
    if map.get(field).is_none_or(Value::is_null) {
        map.insert(field.to_owned(), value);
    }
}

fn text<'v>(map: &'v Json, field: &str) -> &'v str {
    map.get(field).and_then(Value::as_str).unwrap_or("")
}

fn has(map: &Json, field: &str) -> bool {
    map.get(field).is_some_and(|value| !value.is_null())
}

fn child<'v>(map: &'v mut Json, field: &str) -> Option<&'v mut Json> {
    map.get_mut(field).and_then(Value::as_object_mut)
}

fn list<'v>(map: &'v mut Json, field: &str) -> impl Iterator<Item = &'v mut Json> {
    map.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

/// Defaults of a type that depend on other fields of it; parents come before what is in them.
fn of_type(map: &mut Json, name: &str) {
    match name {
        "core.v1.PodSpec" => pod_spec(map),
        "core.v1.Container" | "core.v1.EphemeralContainer" => set_pull_policy(map),
        "core.v1.Volume" if map.len() <= 1 => set(map, "emptyDir", json!({})),
        "core.v1.ServiceSpec" => service_spec(map),
        "core.v1.LimitRangeItem" => limit_range_item(map),
        "apps.v1.DeploymentStrategy" | "apps.v1.DaemonSetUpdateStrategy" | "apps.v1.StatefulSetUpdateStrategy" => {
            update_strategy(map, name)
        }
        "apps.v1.DeploymentSpec" | "apps.v1.DaemonSetSpec" | "apps.v1.StatefulSetSpec" => {
            let field = if name == "apps.v1.DeploymentSpec" { "strategy" } else { "updateStrategy" };
            set(map, field, json!({}));
        }
        "networking.v1.NetworkPolicySpec" => {
            let mut types = vec!["Ingress"];
            if map.get("egress").and_then(Value::as_array).is_some_and(|rules| !rules.is_empty()) {
                types.push("Egress");
            }
            set(map, "policyTypes", json!(types));
        }
        "autoscaling.v2.HorizontalPodAutoscalerSpec" => {
            let cpu =
                json!([{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]);
            set(map, "metrics", cpu);
        }
        "autoscaling.v2.HorizontalPodAutoscalerBehavior" => scaling_rules(map),
        _ => {}
    }
}

fn pod_spec(map: &mut Json) {
    if map.get("hostNetwork") == Some(&Value::Bool(true)) {
        for field in ["containers", "initContainers"] {
            for container in list(map, field) {
                for port in list(container, "ports") {
                    if port.get("hostPort").and_then(Value::as_i64).unwrap_or(0) == 0
                        && let Some(number) = port.get("containerPort").cloned()
                    {
                        port.insert("hostPort".to_owned(), number);
                    }
                }
            }
        }
    }
    // The old name of the field is kept in step.
    if !text(map, "serviceAccountName").is_empty() {
        let name = map.get("serviceAccountName").cloned().unwrap_or(Value::Null);
        map.insert("serviceAccount".to_owned(), name);
    } else if has(map, "serviceAccount") {
        let name = map.get("serviceAccount").cloned().unwrap_or(Value::Null);
        map.insert("serviceAccountName".to_owned(), name);
    }
}

/// `Always` for `latest` and for no tag, `IfNotPresent` for others.
fn set_pull_policy(map: &mut Json) {
    let image = text(map, "image");
    let (name, digest) = image.split_once('@').map_or((image, false), |(name, _)| (name, true));
    let last = name.rsplit('/').next().unwrap_or("");
    let tag = last.split_once(':').map(|(_, tag)| tag);
    let moving = match tag {
        Some(tag) => tag == "latest",
        None => !digest,
    };
    set(map, "imagePullPolicy", Value::from(if moving { "Always" } else { "IfNotPresent" }));
}

fn service_spec(map: &mut Json) {
    let kind = match text(map, "type") {
        "" => "ClusterIP".to_owned(),
        kind => kind.to_owned(),
    };
    let reachable = matches!(kind.as_str(), "NodePort" | "LoadBalancer");
    if text(map, "sessionAffinity") == "ClientIP" {
        set(map, "sessionAffinityConfig", json!({"clientIP": {"timeoutSeconds": 10800}}));
    } else {
        map.shift_remove("sessionAffinityConfig");
    }
    let external = reachable || (kind == "ClusterIP" && has(map, "externalIPs"));
    if external {
        set(map, "externalTrafficPolicy", json!("Cluster"));
    }
    if reachable || kind == "ClusterIP" {
        set(map, "internalTrafficPolicy", json!("Cluster"));
    }
    if kind == "LoadBalancer" {
        set(map, "allocateLoadBalancerNodePorts", json!(true));
    }
    for port in list(map, "ports") {
        let unset = match port.get("targetPort") {
            None | Some(Value::Null) => true,
            Some(Value::String(text)) => text.is_empty(),
            Some(value) => value.as_i64() == Some(0),
        };
        if unset && let Some(number) = port.get("port").cloned() {
            port.insert("targetPort".to_owned(), number);
        }
    }
}

fn limit_range_item(map: &mut Json) {
    if text(map, "type") != "Container" {
        return;
    }
    let copy = |map: &mut Json, from: &str, to: &str| {
        let source = map.get(from).and_then(Value::as_object).cloned().unwrap_or_default();
        for (resource, amount) in source {
            let target = map.entry(to).or_insert_with(|| json!({}));
            if let Some(target) = target.as_object_mut() {
                target.entry(resource).or_insert(amount);
            }
        }
    };
    copy(map, "max", "default");
    copy(map, "default", "defaultRequest");
    copy(map, "min", "defaultRequest");
}

fn update_strategy(map: &mut Json, name: &str) {
    let named = !text(map, "type").is_empty();
    set(map, "type", json!("RollingUpdate"));
    // Whoever names the type of a stateful set's may leave out how.
    if text(map, "type") != "RollingUpdate" || (named && name == "apps.v1.StatefulSetUpdateStrategy") {
        return;
    }
    set(map, "rollingUpdate", json!({}));
    if name == "apps.v1.DeploymentStrategy"
        && let Some(rolling) = child(map, "rollingUpdate")
    {
        set(rolling, "maxUnavailable", json!("25%"));
        set(rolling, "maxSurge", json!("25%"));
    }
}

fn scaling_rules(map: &mut Json) {
    let up = json!({"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [
        {"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15}]});
    let down = json!({"selectPolicy": "Max", "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]});
    for (field, defaults) in [("scaleUp", up), ("scaleDown", down)] {
        set(map, field, json!({}));
        let (Some(rules), Some(defaults)) = (child(map, field), defaults.as_object()) else { continue };
        for (key, value) in defaults {
            set(rules, key, value.clone());
        }
    }
}

/// Defaults that only objects of a kind have, not the templates of it in others.
fn of_kind(object: &mut Json, gvk: &GroupVersionKind) {
    match (gvk.group.as_str(), gvk.kind.as_str()) {
        ("", "Pod") => pod(object),
        ("", "Secret") => secret(object),
        ("", "Namespace") => namespace(object),
        ("", "ReplicationController") => replication_controller(object),
        ("batch", "Job") => job(object),
        ("apps", "StatefulSet") => stateful_set(object),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => role_binding(object),
        _ => {}
    }
}

fn pod(object: &mut Json) {
    let Some(spec) = child(object, "spec") else { return };
    set(spec, "enableServiceLinks", json!(true));
    for field in ["containers", "initContainers"] {
        for container in list(spec, field) {
            let Some(resources) = child(container, "resources") else { continue };
            let limits = resources.get("limits").and_then(Value::as_object).cloned().unwrap_or_default();
            for (resource, amount) in limits {
                let requests = resources.entry("requests").or_insert_with(|| json!({}));
                if let Some(requests) = requests.as_object_mut() {
                    requests.entry(resource).or_insert(amount);
                }
            }
        }
    }
}

/// What the admission plugins that are on by default, and the strategy of the kind, add to an object that is written.
pub fn admit(object: &mut Value, old: Option<&Value>, gvk: &GroupVersionKind) {
    match (gvk.group.as_str(), gvk.kind.as_str(), old) {
        ("", "Pod", None) => admit_pod(object),
        ("", "Pod", Some(_)) => tolerate_lost_nodes(object),
        ("", "PersistentVolumeClaim", None) => add_finalizer(object, "kubernetes.io/pvc-protection"),
        ("", "PersistentVolume", None) => add_finalizer(object, "kubernetes.io/pv-protection"),
        ("batch", "Job", None) => select_by_uid(object),
        ("apps", "DaemonSet", old) => count_templates(object, old),
        _ => {}
    }
}

/// A new pod that says nothing of priority and of nodes that go away.
fn admit_pod(object: &mut Value) {
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
    set(spec, "priority", json!(0));
    set(spec, "preemptionPolicy", json!("PreemptLowerPriority"));
    tolerate_lost_nodes(object);
}

/// A pod stays for a while on a node that cannot be reached.
fn tolerate_lost_nodes(object: &mut Value) {
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let tolerations = spec.entry("tolerations").or_insert_with(|| json!([]));
    let Some(tolerations) = tolerations.as_array_mut() else { return };
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let tolerated = tolerations.iter().any(|one| {
            let text = |field: &str| one.get(field).and_then(Value::as_str).unwrap_or("");
            (text("key") == key || text("key").is_empty()) && matches!(text("effect"), "" | "NoExecute")
        });
        if !tolerated {
            tolerations.push(json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}));
        }
    }
}

/// A job selects its pods by its uid, unless it says that it brings a selector of its own.
fn select_by_uid(object: &mut Value) {
    let Some(metadata) = object.get("metadata") else { return };
    let text = |key: &str| metadata.get(key).cloned().unwrap_or(Value::from(""));
    let (uid, name) = (text("uid"), text("name"));
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if spec.get("manualSelector") == Some(&Value::Bool(true)) {
        return;
    }
    let template = spec.entry("template").or_insert_with(|| json!({}));
    let meta = template.as_object_mut().map(|template| template.entry("metadata").or_insert_with(|| json!({})));
    let labels = meta.and_then(Value::as_object_mut).map(|meta| meta.entry("labels").or_insert_with(|| json!({})));
    if let Some(labels) = labels.and_then(Value::as_object_mut) {
        for (key, value) in [
            ("job-name", &name),
            ("batch.kubernetes.io/job-name", &name),
            ("controller-uid", &uid),
            ("batch.kubernetes.io/controller-uid", &uid),
        ] {
            labels.entry(key).or_insert_with(|| value.clone());
        }
    }
    let selector = spec.entry("selector").or_insert_with(|| json!({}));
    let labels = selector.as_object_mut().map(|selector| selector.entry("matchLabels").or_insert_with(|| json!({})));
    if let Some(labels) = labels.and_then(Value::as_object_mut) {
        labels.entry("batch.kubernetes.io/controller-uid").or_insert(uid);
    }
}

fn add_finalizer(object: &mut Value, finalizer: &str) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let list = metadata.entry("finalizers").or_insert_with(|| json!([]));
    if let Some(list) = list.as_array_mut()
        && !list.iter().any(|one| one == finalizer)
    {
        list.push(json!(finalizer));
    }
}

/// Daemon sets count the changes of their template in an annotation.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

fn template_generation(object: &Value) -> i64 {
    let annotations = object.get("metadata").and_then(|metadata| metadata.get("annotations"));
    let text = annotations.and_then(|annotations| annotations.get(TEMPLATE_GENERATION));
    text.and_then(Value::as_str).and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn set_template_generation(object: &mut Value, number: i64) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.insert(TEMPLATE_GENERATION.to_owned(), json!(number.to_string()));
    }
}

/// What the annotation says is a field of its own inside of a real server, so every object has it as soon as it was read.
pub fn read_template_generation(object: &mut Value) {
    let number = template_generation(object);
    set_template_generation(object, number);
}

fn count_templates(object: &mut Value, old: Option<&Value>) {
    let template = |object: &Value| object.pointer("/spec/template").cloned();
    let number = match old {
        None => 1,
        Some(old) => template_generation(old) + i64::from(template(old) != template(object)),
    };
    set_template_generation(object, number);
}

fn secret(object: &mut Json) {
    let Some(Value::Object(plain)) = object.shift_remove("stringData") else { return };
    let data = object.entry("data").or_insert_with(|| json!({}));
    if let Some(data) = data.as_object_mut() {
        for (key, value) in plain {
            data.insert(key, json!(base64(value.as_str().unwrap_or("").as_bytes())));
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = (u32::from(chunk[0]) << 16) | (u32::from(*chunk.get(1).unwrap_or(&0)) << 8) | u32::from(*chunk.get(2).unwrap_or(&0));
        for at in 0..4 {
            let digit = char::from(DIGITS[(word >> (18 - 6 * at) & 63) as usize]);
            out.push(if at > chunk.len() { '=' } else { digit });
        }
    }
    out
}

fn namespace(object: &mut Json) {
    let Some(metadata) = child(object, "metadata") else { return };
    let name = text(metadata, "name").to_owned();
    if name.is_empty() {
        return;
    }
    let labels = metadata.entry("labels").or_insert_with(|| json!({}));
    if let Some(labels) = labels.as_object_mut() {
        labels.insert("kubernetes.io/metadata.name".to_owned(), json!(name));
    }
}

fn replication_controller(object: &mut Json) {
    let labels = object.get("spec").and_then(|spec| spec.pointer("/template/metadata/labels")).cloned();
    let Some(labels) = labels.filter(|labels| labels.as_object().is_some_and(|labels| !labels.is_empty())) else { return };
    if let Some(spec) = child(object, "spec") {
        set(spec, "selector", labels.clone());
    }
    if let Some(metadata) = child(object, "metadata") {
        set(metadata, "labels", labels);
    }
}

fn job(object: &mut Json) {
    let labels = object.get("spec").and_then(|spec| spec.pointer("/template/metadata/labels")).cloned();
    if let (Some(labels), Some(metadata)) = (labels, child(object, "metadata")) {
        set(metadata, "labels", labels);
    }
    let Some(spec) = child(object, "spec") else { return };
    if !has(spec, "completions") && !has(spec, "parallelism") {
        spec.insert("completions".to_owned(), json!(1));
    }
    set(spec, "parallelism", json!(1));
    let per_index = has(spec, "backoffLimitPerIndex");
    set(spec, "backoffLimit", json!(if per_index { i64::from(i32::MAX) } else { 6 }));
    set(spec, "completionMode", json!("NonIndexed"));
    set(spec, "suspend", json!(false));
    set(spec, "manualSelector", json!(false));
    let failed_only = has(spec, "podFailurePolicy");
    set(spec, "podReplacementPolicy", json!(if failed_only { "Failed" } else { "TerminatingOrFailed" }));
}

fn stateful_set(object: &mut Json) {
    let Some(spec) = child(object, "spec") else { return };
    for claim in list(spec, "volumeClaimTemplates") {
        claim.insert("apiVersion".to_owned(), json!("v1"));
        claim.insert("kind".to_owned(), json!("PersistentVolumeClaim"));
    }
}

fn role_binding(object: &mut Json) {
    const GROUP: &str = "rbac.authorization.k8s.io";
    if let Some(role) = child(object, "roleRef")
        && text(role, "apiGroup").is_empty()
    {
        role.insert("apiGroup".to_owned(), json!(GROUP));
    }
    for subject in list(object, "subjects") {
        if matches!(text(subject, "kind"), "User" | "Group") && text(subject, "apiGroup").is_empty() {
            subject.insert("apiGroup".to_owned(), json!(GROUP));
        }
    }
}
