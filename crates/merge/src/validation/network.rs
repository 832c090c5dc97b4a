//! Service, Ingress, IngressClass, NetworkPolicy.

use serde_json::{Value, json};

use super::at::{At, Errors};
use super::{meta, names, pod};
use crate::field;

const EXTERNAL: [&str; 2] = ["NodePort", "LoadBalancer"];

pub(super) fn service(errors: &mut Errors, object: &At<'_>, old: Option<&At<'_>>) {
    let spec = object.get("spec");
    let kind = spec.get("type").text();
    let ips = cluster_ips(&spec);
    let headless = ips.first().is_some_and(|ip| ip == "None");
    if let Some(old) = old {
        cluster_ip_kept(errors, &spec, &old.get("spec"), &ips);
    }
    if spec.get("ports").len() == 0 && !headless && kind != "ExternalName" {
        errors.required(&spec.get("ports"), "");
    }
    match kind {
        "LoadBalancer" | "NodePort" if headless => {
            errors.push(field::invalid(
                &format!("{}.clusterIPs[0]", spec.path),
                &Value::from("None"),
                &format!("may not be set to 'None' for {kind} services"),
            ));
        }
        "ExternalName" => external_name(errors, &spec, &ips),
        _ => {}
    }
    service_ports(errors, &spec, headless);
    meta::labels(errors, &At { ..spec.get("selector") });
    let affinity = spec.get("sessionAffinity");
    if affinity.text().is_empty() {
        errors.required(&affinity, "");
    } else {
        errors.one_of(&affinity, &["ClientIP", "None"]);
    }
    errors.one_of(&spec.get("ipFamilyPolicy"), &["PreferDualStack", "RequireDualStack", "SingleStack"]);
    let timeout = spec.get("sessionAffinityConfig").get("clientIP").get("timeoutSeconds");
    if timeout.int().is_some_and(|seconds| !(1..=86400).contains(&seconds)) {
        errors.invalid(&timeout, "must be greater than 0 and less than 86400");
    }
    if kind != "ExternalName" {
        for (at, ip) in ips.iter().enumerate().filter(|(_, ip)| *ip != "None") {
            if !names::is_ip(ip) {
                errors.push(field::invalid(&format!("{}.clusterIPs[{at}]", spec.path), &Value::from(ip.as_str()), names::BAD_IP));
            }
        }
    }
    for ip in spec.get("externalIPs").items() {
        if !names::is_ip(ip.text()) {
            errors.invalid(&ip, names::BAD_IP);
        }
    }
    let type_at = spec.get("type");
    if type_at.text().is_empty() {
        errors.required(&type_at, "");
    } else {
        errors.one_of(&type_at, &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]);
    }
    load_balancer(errors, &spec, kind);
    traffic(errors, &spec, kind);
}

/// The addresses asked for, whichever field they are asked in.
fn cluster_ips(spec: &At<'_>) -> Vec<String> {
    let list: Vec<String> = spec.get("clusterIPs").items().map(|ip| ip.text().to_owned()).collect();
    let single = spec.get("clusterIP").text();
    if list.is_empty() && !single.is_empty() { vec![single.to_owned()] } else { list }
}

fn cluster_ip_kept(errors: &mut Errors, spec: &At<'_>, old: &At<'_>, ips: &[String]) {
    let was = cluster_ips(old);
    let both = spec.get("type").text() != "ExternalName" && old.get("type").text() != "ExternalName";
    if let (true, Some(first), Some(new)) = (both, was.first(), ips.first())
        && first != new
        && !new.is_empty()
    {
        errors.push(field::invalid(&format!("{}.clusterIPs[0]", spec.path), &json!(ips), "may not change once set"));
    }
}

fn external_name(errors: &mut Errors, spec: &At<'_>, ips: &[String]) {
    if !ips.is_empty() {
        errors.push(field::forbidden(&format!("{}.clusterIPs", spec.path), "may not be set for ExternalName services"));
    }
    let name = spec.get("externalName");
    if name.text().is_empty() {
        errors.required(&name, "");
    } else {
        // A trailing dot makes the name absolute.
        errors.all(&name, names::subdomain(name.text().strip_suffix('.').unwrap_or(name.text())));
    }
}

fn service_ports(errors: &mut Errors, spec: &At<'_>, headless: bool) {
    let list = spec.get("ports");
    let many = list.len() > 1;
    let mut seen_names: Vec<&str> = Vec::new();
    let mut seen: Vec<(i64, &str)> = Vec::new();
    let mut seen_nodes: Vec<(i64, &str)> = Vec::new();
    for at in list.items() {
        let (name, number, protocol) = (at.get("name"), at.get("port"), at.get("protocol"));
        if many && name.text().is_empty() {
            errors.required(&name, "");
        } else if !name.text().is_empty() {
            errors.all(&name, names::label(name.text()));
            if seen_names.contains(&name.text()) {
                errors.duplicate(&name);
            }
            seen_names.push(name.text());
        }
        if let Some(message) = names::port_number(number.int().unwrap_or(0)) {
            errors.push(field::invalid(&number.path, &Value::from(number.int().unwrap_or(0)), &message));
        }
        if protocol.text().is_empty() {
            errors.required(&protocol, "");
        } else {
            errors.one_of(&protocol, &["SCTP", "TCP", "UDP"]);
        }
        pod::port_or_name(errors, &at.get("targetPort"));
        let protocol_name = at.get("appProtocol");
        if !protocol_name.text().is_empty() {
            errors.all(&protocol_name, names::qualified(protocol_name.text()));
        }
        if headless && spec.get("type").text() == "ClusterIP" && at.get("nodePort").int().unwrap_or(0) != 0 {
            errors.forbidden(&at.get("nodePort"), "may not be used when `clusterIP` is 'None'");
        }
        let node = at.get("nodePort").int().unwrap_or(0);
        if spec.get("type").text() == "ClusterIP" && node != 0 && !headless {
            errors.forbidden(&at.get("nodePort"), "may not be used when `type` is 'ClusterIP'");
        }
        let key = (number.int().unwrap_or(0), protocol.text());
        if seen.contains(&key) {
            let shown =
                json!({"Name": "", "Protocol": protocol.text(), "AppProtocol": null, "Port": key.0, "TargetPort": 0, "NodePort": 0});
            errors.push(ordered_duplicate(&at.path, &shown));
        }
        seen.push(key);
        if node != 0 {
            if seen_nodes.contains(&(node, protocol.text())) {
                errors.duplicate(&at.get("nodePort"));
            }
            seen_nodes.push((node, protocol.text()));
        }
    }
}

/// A duplicate that is shown as Go's internal struct, whose fields keep their order.
fn ordered_duplicate(path: &str, value: &Value) -> field::FieldError {
    let mut error = field::duplicate(path, &Value::Null);
    error.message = format!("Duplicate value: {value}");
    error
}

fn load_balancer(errors: &mut Errors, spec: &At<'_>, kind: &str) {
    let class = spec.get("loadBalancerClass");
    if class.is_set() {
        if kind != "LoadBalancer" {
            errors.forbidden(&class, "may only be used when `type` is 'LoadBalancer'");
        } else {
            errors.all(&class, names::qualified(class.text()));
        }
    }
    let ranges = At { path: field::child(&spec.path, "LoadBalancerSourceRanges"), ..spec.get("loadBalancerSourceRanges") };
    if ranges.len() > 0 && kind != "LoadBalancer" {
        errors.forbidden(&ranges, "may only be used when `type` is 'LoadBalancer'");
    }
    for range in ranges.items() {
        match names::cidr(range.text().trim()) {
            None => errors.invalid(&range, names::BAD_CIDR),
            Some((number, bits, _)) if names::network(number, bits) != number => {
                errors.invalid(&range, "must not have bits set beyond the prefix length")
            }
            Some(_) => {}
        }
    }
    let allocate = spec.get("allocateLoadBalancerNodePorts");
    if kind == "LoadBalancer" && !allocate.is_set() {
        errors.required(&allocate, "");
    } else if kind != "LoadBalancer" && allocate.is_set() {
        errors.forbidden(&allocate, "may only be used when `type` is 'LoadBalancer'");
    }
}

fn traffic(errors: &mut Errors, spec: &At<'_>, kind: &str) {
    let external = spec.get("externalTrafficPolicy");
    let reachable = EXTERNAL.contains(&kind) || (kind == "ClusterIP" && spec.get("externalIPs").len() > 0);
    if external.is_set() && !external.text().is_empty() {
        if !reachable {
            errors.invalid(&external, "may only be set for externally-accessible services");
        } else {
            errors.one_of(&external, &["Cluster", "Local"]);
        }
    } else if reachable {
        errors.required(&external, "");
    }
    let check = spec.get("healthCheckNodePort");
    if check.int().unwrap_or(0) != 0 && !(kind == "LoadBalancer" && external.text() == "Local") {
        errors.invalid(&check, "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'");
    }
    let internal = spec.get("internalTrafficPolicy");
    if kind != "ExternalName" && internal.is_set() {
        errors.one_of(&internal, &["Cluster", "Local"]);
    }
}

// ---- ingress ----

pub(super) fn ingress(errors: &mut Errors, object: &At<'_>, old: Option<&At<'_>>) {
    let spec = object.get("spec");
    let (rules, backend, class) = (spec.get("rules"), spec.get("defaultBackend"), spec.get("ingressClassName"));
    let annotation = object.get("metadata").get("annotations").get("kubernetes.io/ingress.class");
    if old.is_none() && annotation.is_set() && class.is_set() && annotation.text() != class.text() {
        // Told without `metadata`, as there.
        let at = At { path: "annotations.kubernetes.io/ingress.class".to_owned(), ..annotation };
        errors.invalid(&at, "must match `ingressClassName` when both are specified");
    }
    if rules.len() == 0 && !backend.is_set() {
        errors.push(field::invalid(&spec.path, rules.value, "either `defaultBackend` or `rules` must be specified"));
    }
    if backend.is_set() {
        ingress_backend(errors, &backend);
    }
    for rule in rules.items() {
        host(errors, &rule.get("host"));
        let http = rule.get("http");
        if !http.is_set() {
            continue;
        }
        if http.get("paths").len() == 0 {
            errors.required(&http.get("paths"), "");
        }
        http.get("paths").items().for_each(|path| ingress_path(errors, &path));
    }
    for tls in spec.get("tls").items() {
        for name in tls.get("hosts").items() {
            errors
                .all(&name, if name.text().contains('*') { names::wildcard_subdomain(name.text()) } else { names::subdomain(name.text()) });
        }
        let secret = tls.get("secretName");
        if !secret.text().is_empty() {
            errors.all(&secret, names::subdomain(secret.text()));
        }
    }
    if class.is_set() {
        errors.all(&class, names::subdomain(class.text()));
    }
}

fn host(errors: &mut Errors, at: &At<'_>) {
    if at.text().is_empty() {
        return;
    }
    if names::is_ip(at.text()) {
        errors.invalid(at, "must be a DNS name, not an IP address");
    } else if at.text().contains('*') {
        errors.all(at, names::wildcard_subdomain(at.text()));
    } else {
        errors.all(at, names::subdomain(at.text()));
    }
}

fn ingress_path(errors: &mut Errors, at: &At<'_>) {
    let (path, kind) = (at.get("path"), at.get("pathType"));
    if !kind.is_set() {
        return errors.required(&kind, "pathType must be specified");
    }
    match kind.text() {
        "Exact" | "Prefix" => {
            if !path.text().starts_with('/') {
                errors.invalid_text(&path, "must be an absolute path");
            }
            if !path.text().is_empty() {
                for part in ["//", "/./", "/../", "%2f", "%2F"] {
                    if path.text().contains(part) {
                        errors.invalid(&path, &format!("must not contain '{part}'"));
                    }
                }
                for end in ["/..", "/."] {
                    if path.text().ends_with(end) {
                        errors.invalid(&path, &format!("cannot end with '{end}'"));
                    }
                }
            }
        }
        "ImplementationSpecific" => {
            if !path.text().is_empty() && !path.text().starts_with('/') {
                errors.invalid(&path, "must be an absolute path");
            }
        }
        _ => errors.not_supported(&kind, &["Exact", "ImplementationSpecific", "Prefix"]),
    }
    ingress_backend(errors, &at.get("backend"));
}

fn ingress_backend(errors: &mut Errors, at: &At<'_>) {
    let (service, resource) = (at.get("service"), at.get("resource"));
    let whole = At { value: &Value::Null, path: at.path.clone() };
    match (service.is_set(), resource.is_set()) {
        (false, false) => errors.invalid_text(&whole, "resource or service backend is required"),
        (true, true) => errors.invalid_text(&whole, "cannot set both resource and service backends"),
        (false, true) => {
            errors.required_text(&resource.get("kind"));
            errors.required_text(&resource.get("name"));
        }
        (true, false) => {
            let (name, port) = (service.get("name"), service.get("port"));
            if name.text().is_empty() {
                errors.required(&name, "");
            } else {
                errors.all(&name, names::label(name.text()));
            }
            let (by_name, number) = (port.get("name"), port.get("number"));
            match (!by_name.text().is_empty(), number.int().unwrap_or(0) != 0) {
                (true, true) => errors.invalid_text(&whole, "cannot set both port name & port number"),
                (false, false) => errors.required(at, "port name or number is required"),
                (true, false) => errors.all(&by_name, names::port_name(by_name.text())),
                (false, true) => {
                    if let Some(message) = names::port_number(number.int().unwrap_or(0)) {
                        errors.invalid(&number, &message);
                    }
                }
            }
        }
    }
}

pub(super) fn ingress_class(errors: &mut Errors, object: &At<'_>, old: Option<&At<'_>>) {
    let controller = object.get("spec").get("controller");
    if let Some(old) = old {
        meta::immutable(errors, &controller, &old.get("spec").get("controller"));
    }
    let parts: Vec<&str> = controller.text().splitn(2, '/').collect();
    match parts.as_slice() {
        [""] => errors.required(&controller, ""),
        [domain, path] if !path.is_empty() => errors.all(&controller, names::subdomain(domain)),
        _ => errors.invalid(&controller, "must be a domain-prefixed path (such as \"acme.io/foo\")"),
    }
}

// ---- network policy ----

pub(super) fn network_policy(errors: &mut Errors, object: &At<'_>) {
    let spec = object.get("spec");
    meta::selector(errors, &spec.get("podSelector"));
    for (rules, peers) in [("ingress", "from"), ("egress", "to")] {
        for rule in spec.get(rules).items() {
            rule.get("ports").items().for_each(|port| policy_port(errors, &port));
            rule.get(peers).items().for_each(|peer| policy_peer(errors, &peer));
        }
    }
    let types = spec.get("policyTypes");
    if types.len() > 2 {
        errors.invalid(&types, "may not specify more than two policyTypes");
        return;
    }
    for kind in types.items() {
        errors.one_of(&kind, &["Ingress", "Egress"]);
    }
}

fn policy_port(errors: &mut Errors, at: &At<'_>) {
    errors.one_of(&at.get("protocol"), &["TCP", "UDP", "SCTP"]);
    let (port, end) = (at.get("port"), at.get("endPort"));
    if port.is_set() {
        pod::port_or_name(errors, &port);
        if end.is_set() && port.value.is_string() {
            errors.invalid(&end, "may not be specified when `port` is non-numeric");
        } else if let (Some(start), Some(last)) = (port.int(), end.int())
            && last < start
        {
            // The value shown is that of the port, as there.
            errors.push(field::invalid(&end.path, &Value::from(start), "must be greater than or equal to `port`"));
        }
    } else if end.is_set() {
        errors.invalid(&end, "may not be specified when `port` is not specified");
    }
}

fn policy_peer(errors: &mut Errors, at: &At<'_>) {
    let (pods, namespaces, block) = (at.get("podSelector"), at.get("namespaceSelector"), at.get("ipBlock"));
    meta::selector(errors, &pods);
    meta::selector(errors, &namespaces);
    if block.is_set() {
        ip_block(errors, &block);
    }
    let others = usize::from(pods.is_set()) + usize::from(namespaces.is_set());
    if others == 0 && !block.is_set() {
        errors.required(at, "must specify a peer");
    } else if others > 0 && block.is_set() {
        errors.forbidden(at, "may not specify both ipBlock and another peer");
    }
}

fn ip_block(errors: &mut Errors, at: &At<'_>) {
    let cidr = at.get("cidr");
    if cidr.text().is_empty() {
        return errors.required(&cidr, "");
    }
    let Some((network, bits, four)) = names::cidr(cidr.text()) else { return errors.invalid(&cidr, names::BAD_CIDR) };
    for except in at.get("except").items() {
        match names::cidr(except.text()) {
            None => errors.invalid(&except, names::BAD_CIDR),
            Some((inner, inner_bits, inner_four)) => {
                let inside = four == inner_four && inner_bits > bits && names::network(inner, bits) == names::network(network, bits);
                if !inside {
                    errors.invalid(&except, "must be a strict subset of `cidr`");
                }
            }
        }
    }
}
