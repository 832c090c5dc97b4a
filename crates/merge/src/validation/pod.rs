//! Pods and pod templates: containers, ports, environment, probes, resources, mounts.

use crate::quantity::Quantity;
use serde_json::Value;

use super::at::{At, Errors};
use super::{meta, names, scheduling, volumes};
use crate::field;

/// A template of pods in another object.
pub(super) fn template(errors: &mut Errors, at: &At<'_>) {
    template_with(errors, at, &[]);
}

/// The same where claims of the workload may be mounted like volumes.
pub(super) fn template_with(errors: &mut Errors, at: &At<'_>, claims: &[&str]) {
    // These are told without `metadata`, as there.
    meta::labels(errors, &At { path: field::child(&at.path, "labels"), ..at.get("metadata").get("labels") });
    meta::annotations(errors, &At { path: field::child(&at.path, "annotations"), ..at.get("metadata").get("annotations") });
    spec(errors, &at.get("spec"), claims);
    if at.get("spec").get("ephemeralContainers").len() > 0 {
        errors.forbidden(&at.get("spec").get("ephemeralContainers"), "ephemeral containers not allowed in pod template");
    }
}

pub(super) fn spec(errors: &mut Errors, at: &At<'_>, mountable: &[&str]) {
    let mut volume_names = volumes::volumes(errors, &at.get("volumes"));
    volume_names.extend(mountable);
    let claims: Vec<&str> = at.get("resourceClaims").items().map(|claim| claim.get("name").text()).collect();
    let context = Context { volumes: &volume_names, claims: &claims };
    containers(errors, &at.get("containers"), &context);
    init_containers(errors, &at.get("initContainers"), &at.get("containers"), &context);
    restart_policy(errors, at);
    dns(errors, at);
    meta::labels(errors, &at.get("nodeSelector"));
    pod_security(errors, &at.get("securityContext"));
    scheduling::affinity(errors, &at.get("affinity"));
    for (name, check) in [
        ("serviceAccountName", names::subdomain as meta::NameCheck),
        ("nodeName", names::subdomain),
        ("hostname", names::label),
        ("subdomain", names::label),
        ("priorityClassName", names::subdomain),
        ("runtimeClassName", names::subdomain),
    ] {
        let at = at.get(name);
        if !at.text().is_empty() {
            errors.all(&at, check(at.text()));
        }
    }
    let deadline = at.get("activeDeadlineSeconds");
    if deadline.int().is_some_and(|seconds| !(1..=i64::from(i32::MAX)).contains(&seconds)) {
        errors.invalid(&deadline, "must be between 1 and 2147483647, inclusive");
    }
    scheduling::tolerations(errors, &at.get("tolerations"));
    for alias in at.get("hostAliases").items() {
        if !names::is_ip(alias.get("ip").text()) {
            errors.invalid_text(&alias.get("ip"), names::BAD_IP);
        }
        for name in alias.get("hostnames").items() {
            errors.all(&name, names::subdomain(name.text()));
        }
    }
    scheduling::spread(errors, &at.get("topologySpreadConstraints"));
}

struct Context<'a> {
    volumes: &'a [&'a str],
    claims: &'a [&'a str],
}

fn restart_policy(errors: &mut Errors, spec: &At<'_>) {
    let at = spec.get("restartPolicy");
    match at.text() {
        "Always" | "OnFailure" | "Never" => {}
        "" => errors.required(&at, ""),
        _ => errors.not_supported(&at, &["Always", "OnFailure", "Never"]),
    }
}

fn dns(errors: &mut Errors, spec: &At<'_>) {
    let at = spec.get("dnsPolicy");
    match at.text() {
        "ClusterFirstWithHostNet" | "ClusterFirst" | "Default" => {}
        "None" if spec.get("dnsConfig").is_set() => {}
        "None" => errors.required(&spec.get("dnsConfig"), "must provide `dnsConfig` when `dnsPolicy` is None"),
        "" => errors.required(&at, ""),
        _ => errors.not_supported(&at, &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"]),
    }
    for server in spec.get("dnsConfig").get("nameservers").items() {
        if !names::is_ip(server.text()) {
            errors.invalid(&server, names::BAD_IP);
        }
    }
}

fn containers(errors: &mut Errors, list: &At<'_>, context: &Context<'_>) {
    if list.len() == 0 {
        return errors.required(list, "");
    }
    let mut seen: Vec<&str> = Vec::new();
    for at in list.items() {
        container(errors, &at, context);
        let name = at.get("name");
        if seen.contains(&name.text()) && !name.text().is_empty() {
            errors.duplicate(&name);
        }
        seen.push(name.text());
        for (field, kind) in [("livenessProbe", Probe::Liveness), ("readinessProbe", Probe::Readiness), ("startupProbe", Probe::Startup)] {
            probe(errors, &at.get(field), kind);
        }
        lifecycle(errors, &at.get("lifecycle"));
    }
    host_ports(errors, list);
}

fn init_containers(errors: &mut Errors, list: &At<'_>, regular: &At<'_>, context: &Context<'_>) {
    let mut seen: Vec<&str> = regular.items().map(|at| at.get("name").text()).collect();
    for at in list.items() {
        container(errors, &at, context);
        let name = at.get("name");
        if seen.contains(&name.text()) && !name.text().is_empty() {
            errors.duplicate(&name);
        }
        seen.push(name.text());
        let sidecar = at.get("restartPolicy").text() == "Always";
        for (field, kind) in [("livenessProbe", Probe::Liveness), ("readinessProbe", Probe::Readiness), ("startupProbe", Probe::Startup)] {
            if at.get(field).is_set() && !sidecar {
                errors.forbidden(&at.get(field), "may not be set for init containers without restartPolicy=Always");
            } else {
                probe(errors, &at.get(field), kind);
            }
        }
        if at.get("lifecycle").is_set() && !sidecar {
            errors.forbidden(&at.get("lifecycle"), "may not be set for init containers without restartPolicy=Always");
        }
    }
}

fn container(errors: &mut Errors, at: &At<'_>, context: &Context<'_>) {
    let name = at.get("name");
    if name.text().is_empty() {
        errors.required(&name, "");
    } else {
        errors.all(&name, names::label(name.text()));
    }
    let image = at.get("image");
    if image.text().is_empty() {
        errors.required(&image, "");
    } else if image.text().trim() != image.text() {
        errors.invalid(&image, "must not have leading or trailing whitespace");
    }
    errors.one_of(&at.get("terminationMessagePolicy"), &["File", "FallbackToLogsOnError"]);
    ports(errors, &at.get("ports"));
    environment(errors, &at.get("env"));
    environment_from(errors, &at.get("envFrom"));
    mounts(errors, &at.get("volumeMounts"), context.volumes);
    let pull = at.get("imagePullPolicy");
    if pull.text().is_empty() {
        errors.required(&pull, "");
    } else {
        errors.one_of(&pull, &["Always", "IfNotPresent", "Never"]);
    }
    resources(errors, &at.get("resources"), context.claims);
    security(errors, &at.get("securityContext"));
}

fn ports(errors: &mut Errors, list: &At<'_>) {
    let mut seen: Vec<&str> = Vec::new();
    for at in list.items() {
        let name = at.get("name");
        if !name.text().is_empty() {
            let messages = names::port_name(name.text());
            if messages.is_empty() && seen.contains(&name.text()) {
                errors.duplicate(&name);
            }
            seen.push(name.text());
            errors.all(&name, messages);
        }
        let number = at.get("containerPort");
        match number.int().unwrap_or(0) {
            0 => errors.required(&number, ""),
            port => {
                if let Some(message) = names::port_number(port) {
                    errors.invalid(&number, &message);
                }
            }
        }
        let host = at.get("hostPort");
        if let Some(message) = host.int().filter(|port| *port != 0).and_then(names::port_number) {
            errors.invalid(&host, &message);
        }
        let protocol = at.get("protocol");
        if protocol.text().is_empty() {
            errors.required(&protocol, "");
        } else {
            errors.one_of(&protocol, &["SCTP", "TCP", "UDP"]);
        }
    }
}

fn host_ports(errors: &mut Errors, list: &At<'_>) {
    let mut seen: Vec<String> = Vec::new();
    for port in list.items().flat_map(|at| at.get("ports").items().collect::<Vec<_>>()) {
        let number = port.get("hostPort");
        let Some(host) = number.int().filter(|host| *host != 0) else { continue };
        let key = format!("{}/{}/{host}", port.get("protocol").text(), port.get("hostIP").text());
        if seen.contains(&key) {
            errors.push(field::duplicate(&number.path, &Value::from(key.as_str())));
        }
        seen.push(key);
    }
}

const SOURCES: [&str; 5] = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];

fn environment(errors: &mut Errors, list: &At<'_>) {
    for at in list.items() {
        let name = at.get("name");
        if name.text().is_empty() {
            errors.required(&name, "");
        } else {
            errors.all(&name, names::environment_name(name.text()));
        }
        let from = at.get("valueFrom");
        if !from.is_set() {
            continue;
        }
        let field_ref = from.get("fieldRef");
        if field_ref.is_set() {
            field_path(errors, &field_ref.get("fieldPath"));
        }
        let resource = from.get("resourceFieldRef");
        if resource.is_set() {
            resource_field(errors, &resource.get("resource"));
        }
        for source in ["configMapKeyRef", "secretKeyRef"] {
            let source = from.get(source);
            if source.is_set() {
                errors.all(&source.get("name"), names::subdomain(source.get("name").text()));
                key(errors, &source.get("key"));
            }
        }
        match SOURCES.iter().filter(|source| from.get(source).is_set()).count() {
            0 => errors.invalid_text(
                &from_text(&from),
                "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
            ),
            count if !at.get("value").text().is_empty() && count > 0 => {
                errors.invalid_text(&from_text(&from), "may not be specified when `value` is not empty")
            }
            1 => {}
            _ => errors.invalid_text(&from_text(&from), "may not have more than one field specified at a time"),
        }
    }
}

/// Errors of a source show no value.
fn from_text<'v>(from: &At<'v>) -> At<'v> {
    At { value: &Value::Null, path: from.path.clone() }
}

fn key(errors: &mut Errors, at: &At<'_>) {
    if at.text().is_empty() {
        errors.required(at, "");
    } else {
        errors.all(at, names::config_key(at.text()));
    }
}

const FIELD_PATHS: [&str; 8] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
];

fn field_path(errors: &mut Errors, at: &At<'_>) {
    let path = at.text();
    let subscripted = ["metadata.labels['", "metadata.annotations['"].iter().any(|prefix| path.starts_with(prefix) && path.ends_with("']"));
    if path.is_empty() {
        errors.required(at, "");
    } else if !subscripted && path != "status.podIPs" && !FIELD_PATHS.contains(&path) {
        errors.invalid(at, &format!("error converting fieldPath: field label not supported: {path}"));
    }
}

const RESOURCE_FIELDS: [&str; 6] =
    ["limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory"];

fn resource_field(errors: &mut Errors, at: &At<'_>) {
    let huge = at.text().strip_prefix("limits.").or(at.text().strip_prefix("requests.")).is_some_and(|rest| rest.starts_with("hugepages-"));
    if at.text().is_empty() {
        errors.required(at, "");
    } else if !huge && !RESOURCE_FIELDS.contains(&at.text()) {
        errors.not_supported(at, &RESOURCE_FIELDS);
    }
}

fn environment_from(errors: &mut Errors, list: &At<'_>) {
    for at in list.items() {
        let prefix = at.get("prefix");
        if !prefix.text().is_empty() {
            errors.all(&prefix, names::environment_name(prefix.text()));
        }
        let mut count = 0;
        for source in ["configMapRef", "secretRef"] {
            let source = at.get(source);
            if source.is_set() {
                count += 1;
                let name = source.get("name");
                if name.text().is_empty() {
                    errors.required(&name, "");
                } else {
                    errors.all(&name, names::subdomain(name.text()));
                }
            }
        }
        match count {
            0 => errors.invalid_text(&from_text(list), "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => errors.invalid_text(&from_text(list), "may not have more than one field specified at a time"),
        }
    }
}

fn mounts(errors: &mut Errors, list: &At<'_>, volumes: &[&str]) {
    let mut paths: Vec<&str> = Vec::new();
    for at in list.items() {
        let name = at.get("name");
        if name.text().is_empty() {
            errors.required(&name, "");
        }
        if !volumes.contains(&name.text()) {
            errors.push(field::not_found(&name.path, &Value::from(name.text())));
        }
        let path = at.get("mountPath");
        if path.text().is_empty() {
            errors.required(&path, "");
        }
        if paths.contains(&path.text()) {
            errors.invalid(&path, "must be unique");
        }
        paths.push(path.text());
        let sub = at.get("subPath");
        if !sub.text().is_empty() {
            // The path in the error has no index, as there.
            relative(errors, &At { path: field::child(&list.path, "subPath"), ..sub.clone() });
        }
        let expression = at.get("subPathExpr");
        if !expression.text().is_empty() {
            if !sub.text().is_empty() {
                errors.invalid(&expression, "subPathExpr and subPath are mutually exclusive");
            }
            relative(errors, &At { path: field::child(&list.path, "subPathExpr"), ..expression });
        }
        let propagation = At { path: field::child(&list.path, "mountPropagation"), ..at.get("mountPropagation") };
        errors.one_of(&propagation, &["Bidirectional", "HostToContainer", "None"]);
    }
}

/// A path inside a volume.
pub(super) fn relative(errors: &mut Errors, at: &At<'_>) {
    if at.text().starts_with('/') {
        errors.invalid(at, "must be a relative path");
    }
    no_backsteps(errors, at);
}

pub(super) fn no_backsteps(errors: &mut Errors, at: &At<'_>) {
    if at.text().split('/').any(|part| part == "..") {
        errors.invalid(at, "must not contain '..'");
    }
}

fn resources(errors: &mut Errors, at: &At<'_>, claims: &[&str]) {
    let (limits, requests) = (at.get("limits"), at.get("requests"));
    let standard = |name: &str| matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
    let mut compute = false;
    let mut huge = false;
    for (name, limit) in limits.entries() {
        resource(errors, name, &limit, &standard);
        compute |= matches!(name, "cpu" | "memory");
        huge |= name.starts_with("hugepages-");
    }
    for (name, request) in requests.entries() {
        resource(errors, name, &request, &standard);
        compute |= matches!(name, "cpu" | "memory");
        huge |= name.starts_with("hugepages-");
        let asked = Quantity::of(request.value);
        match limits.value.get(name) {
            Some(limit) => {
                let allowed = Quantity::of(limit);
                let exact = !matches!(name, "cpu" | "memory" | "ephemeral-storage");
                let text = limit.as_str().unwrap_or("");
                let told = At { path: requests.path.clone(), ..request.clone() };
                if exact && asked.partial_cmp(&allowed) != Some(std::cmp::Ordering::Equal) {
                    errors.invalid(&told, &format!("must be equal to {name} limit of {text}"));
                } else if !exact && asked > allowed {
                    errors.invalid(&told, &format!("must be less than or equal to {name} limit of {text}"));
                }
            }
            None if !matches!(name, "cpu" | "memory" | "ephemeral-storage") => {
                errors.required(&limits, "Limit must be set for non overcommitable resources")
            }
            None => {}
        }
    }
    if huge && !compute {
        errors.forbidden(at, "HugePages require cpu or memory");
    }
    for claim in at.get("claims").items() {
        let name = claim.get("name");
        if !claims.contains(&name.text()) {
            let among = if claims.is_empty() { "which is empty".to_owned() } else { format!("which contains: {}", claims.join(", ")) };
            let mut error = field::not_found(&claim.path, &Value::from(name.text()));
            error.message.push_str(&format!(": must be one of the names in pod.spec.resourceClaims {among}"));
            errors.push(error);
        }
    }
}

fn resource(errors: &mut Errors, name: &str, at: &At<'_>, standard: &dyn Fn(&str) -> bool) {
    let told = |message: &str| field::invalid(&at.path, &Value::from(name), message);
    names::qualified(name).iter().for_each(|message| errors.push(told(message)));
    if !name.contains('/') && !standard(name) {
        errors.push(told("must be a standard resource type or fully qualified"));
        errors.push(told("must be a standard resource for containers"));
    }
    let Some(amount) = Quantity::of(at.value) else { return };
    if amount.is_negative() {
        errors.invalid(at, "must be greater than or equal to 0");
    }
    if name.contains('/') && !amount.is_whole() {
        errors.invalid(at, "must be an integer");
    }
}

const USER_RANGE: &str = "must be between 0 and 2147483647, inclusive";

fn user_id(errors: &mut Errors, at: &At<'_>) {
    if at.int().is_some_and(|id| !(0..=i64::from(i32::MAX)).contains(&id)) {
        errors.invalid(at, USER_RANGE);
    }
}

fn security(errors: &mut Errors, at: &At<'_>) {
    user_id(errors, &at.get("runAsUser"));
    user_id(errors, &at.get("runAsGroup"));
    seccomp(errors, &at.get("seccompProfile"));
    errors.one_of(&at.get("procMount"), &["Default", "Unmasked"]);
    if at.get("allowPrivilegeEscalation").value == &Value::Bool(false) {
        let add = at.get("capabilities").get("add");
        if add.items().any(|capability| capability.text() == "CAP_SYS_ADMIN") {
            errors.invalid(at, "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN");
        }
        if at.get("privileged").is_true() {
            errors.invalid(at, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
        }
    }
}

fn seccomp(errors: &mut Errors, at: &At<'_>) {
    let kind = at.get("type");
    if !at.is_set() {
        return;
    }
    match kind.text() {
        "Localhost" if at.get("localhostProfile").text().is_empty() => {
            errors.required(&at.get("localhostProfile"), "must be set when seccomp type is Localhost")
        }
        "Localhost" | "RuntimeDefault" | "Unconfined" => {}
        "" => errors.required(&kind, "type is required when seccompProfile is set"),
        _ => errors.not_supported(&kind, &["Localhost", "RuntimeDefault", "Unconfined"]),
    }
}

fn pod_security(errors: &mut Errors, at: &At<'_>) {
    for name in ["fsGroup", "runAsUser", "runAsGroup"] {
        user_id(errors, &at.get(name));
    }
    for group in at.get("supplementalGroups").items() {
        user_id(errors, &group);
    }
    for sysctl in at.get("sysctls").items() {
        let name = sysctl.get("name");
        let good = |part: &str| {
            let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            part.bytes().next().is_some_and(inner)
                && part.bytes().last().is_some_and(inner)
                && part.bytes().all(|byte| inner(byte) || matches!(byte, b'-' | b'_'))
        };
        if name.text().is_empty() {
            errors.required(&name, "");
        } else if name.text().len() > 253 || !name.text().split(['.', '/']).all(good) {
            errors.invalid(
                &name,
                "must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$",
            );
        }
    }
    seccomp(errors, &at.get("seccompProfile"));
    errors.one_of(&at.get("fsGroupChangePolicy"), &["Always", "OnRootMismatch"]);
}

#[derive(Clone, Copy, PartialEq)]
enum Probe {
    Liveness,
    Readiness,
    Startup,
}

fn probe(errors: &mut Errors, at: &At<'_>, kind: Probe) {
    if !at.is_set() {
        return;
    }
    handler(errors, at, &["exec", "httpGet", "tcpSocket", "grpc"]);
    for name in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
        errors.not_negative(&at.get(name));
    }
    let grace = at.get("terminationGracePeriodSeconds");
    if grace.is_set() {
        if kind == Probe::Readiness {
            errors.invalid(&grace, "must not be set for readinessProbes");
        } else if grace.int().is_some_and(|seconds| seconds <= 0) {
            errors.invalid(&grace, "must be greater than 0");
        }
    }
    let success = at.get("successThreshold");
    if kind != Probe::Readiness && success.int().is_some_and(|count| count != 1) {
        errors.invalid(&success, "must be 1");
    }
}

fn handler(errors: &mut Errors, at: &At<'_>, kinds: &[&str]) {
    let mut count = 0;
    for kind in kinds {
        let action = at.get(kind);
        if !action.is_set() {
            continue;
        }
        count += 1;
        if count > 1 {
            errors.forbidden(&action, "may not specify more than 1 handler type");
            continue;
        }
        match *kind {
            "exec" if action.get("command").len() == 0 => errors.required(&action.get("command"), ""),
            "httpGet" => {
                errors.required_text(&action.get("path"));
                port_or_name(errors, &action.get("port"));
                errors.one_of(&action.get("scheme"), &["HTTP", "HTTPS"]);
                for header in action.get("httpHeaders").items() {
                    let name = At { path: field::child(&action.path, "httpHeaders"), ..header.get("name") };
                    errors.all(&name, names::http_header(name.text()));
                }
            }
            "tcpSocket" => port_or_name(errors, &action.get("port")),
            "grpc" => port_or_name(errors, &action.get("port")),
            _ => {}
        }
    }
    if count == 0 {
        errors.required(at, "must specify a handler type");
    }
}

/// A port by number or by name.
pub(super) fn port_or_name(errors: &mut Errors, at: &At<'_>) {
    match at.value {
        Value::String(name) => errors.all(at, names::port_name(name)),
        value => {
            if let Some(message) = names::port_number(value.as_i64().unwrap_or(0)) {
                errors.push(field::invalid(&at.path, &Value::from(value.as_i64().unwrap_or(0)), &message));
            }
        }
    }
}

fn lifecycle(errors: &mut Errors, at: &At<'_>) {
    for name in ["postStart", "preStop"] {
        let at = at.get(name);
        if at.is_set() {
            handler(errors, &at, &["exec", "httpGet", "tcpSocket", "sleep"]);
        }
    }
}
