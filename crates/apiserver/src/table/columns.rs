//! The columns of built-in kinds, as kubectl shows them.

use super::cells::*;
use super::{Column, age};
use crate::registry::Resource;
use jiff::Timestamp;
use serde_json::Value;

/// How a cell is filled.
#[derive(Clone, Copy)]
pub enum Cell {
    /// The text at a pointer.
    Text(&'static str),
    /// The number at a pointer; 0 when there is none.
    Number(&'static str),
    /// The text at a pointer, `<none>` or `<unset>` in its stead.
    Or(&'static str, &'static str),
    Age(&'static str),
    Of(fn(&Value, Timestamp) -> Value),
}

use Cell::{Age, Number, Of, Or, Text};

/// Name, type (`s`tring, `i`nteger, `b`oolean), priority, content.
type Row = (&'static str, char, i64, Cell);

const NAME: Row = ("Name", 's', 0, Text("/metadata/name"));
const AGE: Row = ("Age", 's', 0, Age("/metadata/creationTimestamp"));
const CONTAINERS: Row = ("Containers", 's', 1, Of(container_names));
const IMAGES: Row = ("Images", 's', 1, Of(container_images));
const SELECTOR: Row = ("Selector", 's', 1, Of(selector));
const SUBJECTS: [Row; 3] =
    [("Users", 's', 1, Of(users)), ("Groups", 's', 1, Of(groups)), ("ServiceAccounts", 's', 1, Of(service_accounts))];

type Kind = (&'static str, &'static str, &'static [Row]);

const KINDS: &[Kind] = &[
    (
        "",
        "pods",
        &[
            NAME,
            ("Ready", 's', 0, Of(pod_ready)),
            ("Status", 's', 0, Of(pod_status)),
            ("Restarts", 's', 0, Of(pod_restarts)),
            AGE,
            ("IP", 's', 1, Or("/status/podIP", "<none>")),
            ("Node", 's', 1, Or("/spec/nodeName", "<none>")),
            ("Nominated Node", 's', 1, Or("/status/nominatedNodeName", "<none>")),
            ("Readiness Gates", 's', 1, Of(readiness_gates)),
        ],
    ),
    (
        "",
        "podtemplates",
        &[
            NAME,
            ("Containers", 's', 0, Of(container_names)),
            ("Images", 's', 0, Of(container_images)),
            ("Pod Labels", 's', 0, Of(template_labels)),
        ],
    ),
    (
        "policy",
        "poddisruptionbudgets",
        &[
            NAME,
            ("Min Available", 's', 0, Or("/spec/minAvailable", "N/A")),
            ("Max Unavailable", 's', 0, Or("/spec/maxUnavailable", "N/A")),
            ("Allowed Disruptions", 'i', 0, Number("/status/disruptionsAllowed")),
            AGE,
        ],
    ),
    (
        "",
        "replicationcontrollers",
        &[
            NAME,
            ("Desired", 'i', 0, Number("/spec/replicas")),
            ("Current", 'i', 0, Number("/status/replicas")),
            ("Ready", 'i', 0, Number("/status/readyReplicas")),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
    ),
    (
        "apps",
        "replicasets",
        &[
            NAME,
            ("Desired", 'i', 0, Number("/spec/replicas")),
            ("Current", 'i', 0, Number("/status/replicas")),
            ("Ready", 'i', 0, Number("/status/readyReplicas")),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
    ),
    (
        "apps",
        "daemonsets",
        &[
            NAME,
            ("Desired", 'i', 0, Number("/status/desiredNumberScheduled")),
            ("Current", 'i', 0, Number("/status/currentNumberScheduled")),
            ("Ready", 'i', 0, Number("/status/numberReady")),
            ("Up-to-date", 'i', 0, Number("/status/updatedNumberScheduled")),
            ("Available", 'i', 0, Number("/status/numberAvailable")),
            ("Node Selector", 's', 0, Of(node_selector)),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
    ),
    (
        "batch",
        "jobs",
        &[
            NAME,
            ("Status", 's', 0, Of(job_status)),
            ("Completions", 's', 0, Of(job_completions)),
            ("Duration", 's', 0, Of(job_duration)),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
    ),
    (
        "batch",
        "cronjobs",
        &[
            NAME,
            ("Schedule", 's', 0, Text("/spec/schedule")),
            ("Timezone", 's', 0, Or("/spec/timeZone", "<none>")),
            ("Suspend", 'b', 0, Of(cron_suspend)),
            ("Active", 'i', 0, Of(cron_active)),
            ("Last Schedule", 's', 0, Of(cron_last)),
            AGE,
            ("Containers", 's', 1, Of(cron_names)),
            ("Images", 's', 1, Of(cron_images)),
            ("Selector", 's', 1, Of(cron_selector)),
        ],
    ),
    (
        "",
        "services",
        &[
            NAME,
            ("Type", 's', 0, Text("/spec/type")),
            ("Cluster-IP", 's', 0, Or("/spec/clusterIP", "<none>")),
            ("External-IP", 's', 0, Of(service_external)),
            ("Port(s)", 's', 0, Of(service_ports)),
            AGE,
            ("Selector", 's', 1, Of(plain_selector)),
        ],
    ),
    (
        "networking.k8s.io",
        "ingresses",
        &[
            NAME,
            ("Class", 's', 0, Of(ingress_class)),
            ("Hosts", 's', 0, Of(ingress_hosts)),
            ("Address", 's', 0, Of(load_balancer)),
            ("Ports", 's', 0, Of(ingress_ports)),
            AGE,
        ],
    ),
    (
        "networking.k8s.io",
        "ingressclasses",
        &[NAME, ("Controller", 's', 0, Text("/spec/controller")), ("Parameters", 's', 0, Of(ingress_parameters)), AGE],
    ),
    ("networking.k8s.io", "networkpolicies", &[NAME, ("Pod-Selector", 's', 0, Of(pod_selector)), AGE]),
    ("networking.k8s.io", "ipaddresses", &[NAME, ("ParentRef", 's', 0, Of(address_parent))]),
    ("networking.k8s.io", "servicecidrs", &[NAME, ("CIDRs", 's', 0, Of(cidrs)), AGE]),
    ("apps", "statefulsets", &[NAME, ("Ready", 's', 0, Of(ready_of_wanted)), AGE, CONTAINERS, IMAGES]),
    ("", "endpoints", &[NAME, ("Endpoints", 's', 0, Of(endpoints)), AGE]),
    (
        "discovery.k8s.io",
        "endpointslices",
        &[
            NAME,
            ("AddressType", 's', 0, Text("/addressType")),
            ("Ports", 's', 0, Of(slice_ports)),
            ("Endpoints", 's', 0, Of(slice_endpoints)),
            AGE,
        ],
    ),
    (
        "",
        "nodes",
        &[
            NAME,
            ("Status", 's', 0, Of(node_status)),
            ("Roles", 's', 0, Of(node_roles)),
            AGE,
            ("Version", 's', 0, Text("/status/nodeInfo/kubeletVersion")),
            ("Internal-IP", 's', 1, Of(node_internal)),
            ("External-IP", 's', 1, Of(node_external)),
            ("OS-Image", 's', 1, Or("/status/nodeInfo/osImage", "<unknown>")),
            ("Kernel-Version", 's', 1, Or("/status/nodeInfo/kernelVersion", "<unknown>")),
            ("Container-Runtime", 's', 1, Or("/status/nodeInfo/containerRuntimeVersion", "<unknown>")),
        ],
    ),
    (
        "",
        "events",
        &[
            ("Last Seen", 's', 0, Of(event_last)),
            ("Type", 's', 0, Text("/type")),
            ("Reason", 's', 0, Text("/reason")),
            ("Object", 's', 0, Of(event_object)),
            ("Subobject", 's', 1, Text("/involvedObject/fieldPath")),
            ("Source", 's', 1, Of(event_source)),
            ("Message", 's', 0, Of(event_message)),
            ("First Seen", 's', 1, Of(event_first)),
            ("Count", 's', 1, Of(event_count)),
            ("Name", 's', 1, Text("/metadata/name")),
        ],
    ),
    ("", "namespaces", &[NAME, ("Status", 's', 0, Text("/status/phase")), AGE]),
    ("", "secrets", &[NAME, ("Type", 's', 0, Text("/type")), ("Data", 's', 0, Of(data_count)), AGE]),
    ("", "configmaps", &[NAME, ("Data", 's', 0, Of(all_data_count)), AGE]),
    ("", "serviceaccounts", &[NAME, AGE]),
    (
        "",
        "persistentvolumes",
        &[
            NAME,
            ("Capacity", 's', 0, Text("/spec/capacity/storage")),
            ("Access Modes", 's', 0, Of(volume_modes)),
            ("Reclaim Policy", 's', 0, Text("/spec/persistentVolumeReclaimPolicy")),
            ("Status", 's', 0, Of(phase_or_terminating)),
            ("Claim", 's', 0, Of(volume_claim)),
            ("StorageClass", 's', 0, Text("/spec/storageClassName")),
            ("VolumeAttributesClass", 's', 0, Or("/spec/volumeAttributesClassName", "<unset>")),
            ("Reason", 's', 0, Text("/status/reason")),
            AGE,
            ("VolumeMode", 's', 1, Or("/spec/volumeMode", "<unset>")),
        ],
    ),
    (
        "",
        "persistentvolumeclaims",
        &[
            NAME,
            ("Status", 's', 0, Of(phase_or_terminating)),
            ("Volume", 's', 0, Text("/spec/volumeName")),
            ("Capacity", 's', 0, Of(claim_capacity)),
            ("Access Modes", 's', 0, Of(claim_modes)),
            ("StorageClass", 's', 0, Text("/spec/storageClassName")),
            ("VolumeAttributesClass", 's', 0, Or("/spec/volumeAttributesClassName", "<unset>")),
            AGE,
            ("VolumeMode", 's', 1, Or("/spec/volumeMode", "<unset>")),
        ],
    ),
    (
        "apps",
        "deployments",
        &[
            NAME,
            ("Ready", 's', 0, Of(ready_of_wanted)),
            ("Up-to-date", 's', 0, Number("/status/updatedReplicas")),
            ("Available", 's', 0, Number("/status/availableReplicas")),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
    ),
    (
        "autoscaling",
        "horizontalpodautoscalers",
        &[
            NAME,
            ("Reference", 's', 0, Of(autoscaler_reference)),
            ("Targets", 's', 0, Of(autoscaler_targets)),
            ("MinPods", 's', 0, Or("/spec/minReplicas", "<unset>")),
            ("MaxPods", 's', 0, Number("/spec/maxReplicas")),
            ("Replicas", 's', 0, Number("/status/currentReplicas")),
            AGE,
        ],
    ),
    (
        "rbac.authorization.k8s.io",
        "rolebindings",
        &[NAME, ("Role", 's', 0, Of(role_reference)), AGE, SUBJECTS[0], SUBJECTS[1], SUBJECTS[2]],
    ),
    (
        "rbac.authorization.k8s.io",
        "clusterrolebindings",
        &[NAME, ("Role", 's', 0, Of(role_reference)), AGE, SUBJECTS[0], SUBJECTS[1], SUBJECTS[2]],
    ),
    (
        "certificates.k8s.io",
        "certificatesigningrequests",
        &[
            NAME,
            AGE,
            ("SignerName", 's', 0, Or("/spec/signerName", "<none>")),
            ("Requestor", 's', 0, Text("/spec/username")),
            ("RequestedDuration", 's', 0, Of(requested_duration)),
            ("Condition", 's', 0, Of(request_condition)),
        ],
    ),
    ("coordination.k8s.io", "leases", &[NAME, ("Holder", 's', 0, Text("/spec/holderIdentity")), AGE]),
    (
        "storage.k8s.io",
        "storageclasses",
        &[
            ("Name", 's', 0, Of(class_name)),
            ("Provisioner", 's', 0, Text("/provisioner")),
            ("ReclaimPolicy", 's', 0, Or("/reclaimPolicy", "Delete")),
            ("VolumeBindingMode", 's', 0, Or("/volumeBindingMode", "<unset>")),
            ("AllowVolumeExpansion", 's', 0, Of(class_expansion)),
            AGE,
        ],
    ),
    ("storage.k8s.io", "volumeattributesclasses", &[NAME, ("DriverName", 's', 0, Text("/driverName")), AGE]),
    (
        "storage.k8s.io",
        "csidrivers",
        &[
            NAME,
            ("AttachRequired", 'b', 0, Of(driver_attach)),
            ("PodInfoOnMount", 'b', 0, Of(driver_pod_info)),
            ("StorageCapacity", 'b', 0, Of(driver_capacity)),
            ("TokenRequests", 's', 0, Of(driver_tokens)),
            ("RequiresRepublish", 'b', 0, Of(driver_republish)),
            ("Modes", 's', 0, Of(driver_modes)),
            AGE,
        ],
    ),
    ("storage.k8s.io", "csinodes", &[NAME, ("Drivers", 'i', 0, Of(node_drivers)), AGE]),
    (
        "apps",
        "controllerrevisions",
        &[NAME, ("Controller", 's', 0, Of(revision_controller)), ("Revision", 's', 0, Number("/revision")), AGE],
    ),
    ("", "resourcequotas", &[NAME, ("Request", 's', 0, Of(quota_requests)), ("Limit", 's', 0, Of(quota_limits)), AGE]),
    (
        "scheduling.k8s.io",
        "priorityclasses",
        &[
            NAME,
            ("Value", 'i', 0, Number("/value")),
            ("Global-Default", 'b', 0, Of(global_default)),
            AGE,
            ("PreemptionPolicy", 's', 0, Or("/preemptionPolicy", "<unset>")),
        ],
    ),
    ("node.k8s.io", "runtimeclasses", &[NAME, ("Handler", 's', 0, Text("/handler")), AGE]),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations", &[NAME, ("Webhooks", 'i', 0, Of(webhook_count)), AGE]),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations", &[NAME, ("Webhooks", 'i', 0, Of(webhook_count)), AGE]),
    (
        "admissionregistration.k8s.io",
        "validatingadmissionpolicies",
        &[NAME, ("Validations", 'i', 0, Of(policy_validations)), ("ParamKind", 's', 0, Of(policy_parameters)), AGE],
    ),
    (
        "admissionregistration.k8s.io",
        "validatingadmissionpolicybindings",
        &[NAME, ("PolicyName", 's', 0, Text("/spec/policyName")), ("ParamRef", 's', 0, Of(binding_parameters)), AGE],
    ),
    ("apiregistration.k8s.io", "apiservices", &[NAME, ("Service", 's', 0, Of(api_service)), ("Available", 's', 0, Of(api_available)), AGE]),
];

/// Kinds without columns of their own show when they were made.
const PLAIN: &[Row] = &[NAME, ("Created At", 'd', 0, Text("/metadata/creationTimestamp"))];

fn rows(resource: &Resource) -> &'static [Row] {
    let group = if resource.group == "events.k8s.io" { "" } else { resource.group.as_str() };
    KINDS.iter().find(|(g, name, _)| *g == group && *name == resource.name).map_or(PLAIN, |(_, _, rows)| rows)
}

pub fn columns(resource: &Resource) -> Vec<Column> {
    rows(resource)
        .iter()
        .map(|(name, kind, priority, _)| Column {
            name: (*name).to_owned(),
            kind: match kind {
                'i' => "integer",
                'b' => "boolean",
                'd' => "date",
                _ => "string",
            },
            format: if *name == "Name" { "name" } else { "" },
            description: String::new(),
            priority: *priority,
        })
        .collect()
}

pub fn cells(resource: &Resource, object: &Value, now: Timestamp) -> Vec<Value> {
    let renamed;
    let object = if resource.group == "events.k8s.io" {
        // One set of columns serves both event APIs.
        renamed = crate::rest::view::event_in_core(object);
        &renamed
    } else {
        object
    };
    rows(resource)
        .iter()
        .map(|(_, _, _, cell)| match cell {
            Text(pointer) => Value::from(object.pointer(pointer).map(plain).unwrap_or_default()),
            Number(pointer) => {
                // A number is one even where its column is said to hold texts.
                Value::from(object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0))
            }
            Or(pointer, otherwise) => {
                let text = object.pointer(pointer).map(plain).unwrap_or_default();
                Value::from(if text.is_empty() { (*otherwise).to_owned() } else { text })
            }
            Age(pointer) => Value::from(age(object.pointer(pointer), now)),
            Of(make) => make(object, now),
        })
        .collect()
}
