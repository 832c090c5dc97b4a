//! Addresses and ports of Services.

use crate::api::{Api, child, text};
use crate::protocol::status::{Cause, Result, Status};
use crate::registry::Resource;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::{Mutex, PoisonError};

/// The service network: 10.96.0.0/12, as clusters commonly have it.
const NETWORK: u32 = u32::from_be_bytes([10, 96, 0, 0]);
const NETWORK_SIZE: u32 = 1 << 20;
const NODE_PORTS: std::ops::Range<u16> = 30000..32768;

/// What is in use; rebuilt from the Services that are stored when the server starts.
#[derive(Default)]
pub struct Pool(Mutex<Used>);

#[derive(Default)]
struct Used {
    addresses: HashSet<u32>,
    ports: HashSet<u16>,
}

/// What one write took, to be given back when the write fails.
#[derive(Default)]
pub struct Reserved {
    addresses: Vec<u32>,
    ports: Vec<u16>,
}

impl Pool {
    fn lock(&self) -> std::sync::MutexGuard<'_, Used> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks what a stored Service holds.
    pub fn hold(&self, service: &Value) {
        let mut used = self.lock();
        used.addresses.extend(address_of(service));
        used.ports.extend(ports_of(service));
    }

    /// Gives back what a deleted Service held.
    pub fn free(&self, service: &Value) {
        let mut used = self.lock();
        if let Some(address) = address_of(service) {
            used.addresses.remove(&address);
        }
        for port in ports_of(service) {
            used.ports.remove(&port);
        }
    }
}

fn address_of(service: &Value) -> Option<u32> {
    text(service, "/spec/clusterIP").parse::<Ipv4Addr>().ok().map(u32::from)
}

fn ports_of(service: &Value) -> Vec<u16> {
    let ports = service.pointer("/spec/ports").and_then(Value::as_array);
    ports.into_iter().flatten().filter_map(|p| u16::try_from(p.get("nodePort")?.as_u64()?).ok()).filter(|p| *p > 0).collect()
}

fn is_service(resource: &Resource) -> bool {
    resource.is("", "services")
}

pub fn for_create(api: &Api, resource: &Resource, object: &mut Value) -> Result<Reserved> {
    if !is_service(resource) { Ok(Reserved::default()) } else { allocate(api, object, None) }
}

pub fn for_update(api: &Api, resource: &Resource, object: &mut Value, old: &Value) -> Result<Reserved> {
    if !is_service(resource) || object.get("spec") == old.get("spec") {
        return Ok(Reserved::default());
    }
    if text(object, "/spec/type") == "ExternalName" {
        // It gives its address back.
        let spec = child(object, "spec");
        for field in ["clusterIP", "clusterIPs"] {
            spec.shift_remove(field);
        }
    }
    allocate(api, object, Some(old))
}

/// There is one family of addresses here. Only a Service without an address and without pods of its own may speak of another.
fn second_family(service: &Value) -> Vec<Cause> {
    let selects = service.pointer("/spec/selector").and_then(Value::as_object).is_some_and(|selector| !selector.is_empty());
    if text(service, "/spec/clusterIP") == "None" && !selects {
        return Vec::new();
    }
    let policy = text(service, "/spec/ipFamilyPolicy");
    let why = "this cluster is not configured for dual-stack services";
    let policy = (policy == "RequireDualStack").then(|| Cause::invalid("spec.ipFamilyPolicy", &Value::from(policy), why));
    let families = service.pointer("/spec/ipFamilies").and_then(Value::as_array).into_iter().flatten().enumerate();
    let unknown = families
        .filter(|(_, family)| **family == "IPv6")
        .map(|(at, family)| Cause::invalid(format!("spec.ipFamilies[{at}]"), family, "not configured on this cluster"));
    policy.into_iter().chain(unknown).collect()
}

fn allocate(api: &Api, object: &mut Value, old: Option<&Value>) -> Result<Reserved> {
    let mut reserved = Reserved::default();
    let kind = match text(object, "/spec/type") {
        "" => "ClusterIP",
        kind => kind,
    }
    .to_owned();
    let name = text(object, "/metadata/name").to_owned();
    let (old_address, old_ports) = (old.and_then(address_of), old.map(ports_of).unwrap_or_default());
    let invalid = |cause| Status::invalid("", "Service", &name, vec![cause]);
    let mut used = api.queues.services.lock();
    if kind == "ExternalName" {
        return Ok(reserved);
    }
    let causes = second_family(object);
    if !causes.is_empty() {
        return Err(Status::invalid("", "Service", &name, causes));
    }
    let wanted = text(object, "/spec/clusterIP").to_owned();
    let address = match wanted.as_str() {
        "None" => None,
        "" => {
            let start = rand::random_range(256..NETWORK_SIZE - 1);
            let free = (0..NETWORK_SIZE).map(|at| NETWORK + 2 + (start + at) % (NETWORK_SIZE - 3)).find(|a| !used.addresses.contains(a));
            Some(free.ok_or_else(|| Status::internal("failed to allocate a serviceIP: range is full"))?)
        }
        given => match given.parse::<Ipv4Addr>().map(u32::from) {
            Ok(address) if Some(address) == old_address => None,
            Ok(address) if !(NETWORK..NETWORK + NETWORK_SIZE).contains(&address) => {
                let why = format!("failed to allocate IP {given}: the provided network does not match the current range");
                return Err(invalid(Cause::invalid("spec.clusterIPs", &json!([given]), &why)));
            }
            Ok(address) if used.addresses.contains(&address) => {
                let why = format!("failed to allocate IP {given}: provided IP is already allocated");
                return Err(invalid(Cause::invalid("spec.clusterIPs", &json!([given]), &why)));
            }
            Ok(address) => Some(address),
            Err(_) => None,
        },
    };
    if let Some(address) = address {
        used.addresses.insert(address);
        reserved.addresses.push(address);
        child(object, "spec").insert("clusterIP".to_owned(), Value::from(Ipv4Addr::from(address).to_string()));
    }
    let cluster_ip = text(object, "/spec/clusterIP").to_owned();
    let spec = child(object, "spec");
    if !cluster_ip.is_empty() {
        spec.insert("clusterIPs".to_owned(), json!([cluster_ip]));
        // Of a Service without an address and without pods of its own, nothing is known of families: it may have either.
        let selects = spec.get("selector").and_then(Value::as_object).is_some_and(|selector| !selector.is_empty());
        let (families, policy) = match cluster_ip.as_str() {
            "None" if !selects => (json!(["IPv4", "IPv6"]), "RequireDualStack"),
            _ => (json!(["IPv4"]), "SingleStack"),
        };
        let single = spec.get("ipFamilyPolicy").is_some_and(|policy| policy == "SingleStack");
        spec.entry("ipFamilies").or_insert_with(|| if single { json!(["IPv4"]) } else { families });
        spec.entry("ipFamilyPolicy").or_insert_with(|| json!(policy));
        spec.entry("internalTrafficPolicy").or_insert_with(|| json!("Cluster"));
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        spec.entry("externalTrafficPolicy").or_insert_with(|| json!("Cluster"));
        if kind == "LoadBalancer" {
            spec.entry("allocateLoadBalancerNodePorts").or_insert_with(|| json!(true));
        }
        let allocate = spec.get("allocateLoadBalancerNodePorts").and_then(Value::as_bool).unwrap_or(true);
        for (at, port) in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten().enumerate() {
            let given = port.get("nodePort").and_then(Value::as_u64).unwrap_or(0);
            if given == 0 {
                if !allocate {
                    continue;
                }
                let Some(free) = free_port(&used.ports) else {
                    return Err(Status::internal("failed to allocate a nodePort: range is full"));
                };
                used.ports.insert(free);
                reserved.ports.push(free);
                port["nodePort"] = json!(free);
                continue;
            }
            let Some(number) = u16::try_from(given).ok().filter(|p| NODE_PORTS.contains(p)) else {
                let why = "provided port is not in the valid range. The range of valid ports is 30000-32767";
                return Err(invalid(Cause::invalid(format!("spec.ports[{at}].nodePort"), &json!(given), why)));
            };
            if old_ports.contains(&number) || reserved.ports.contains(&number) {
                continue;
            }
            if !used.ports.insert(number) {
                let why = "provided port is already allocated";
                return Err(invalid(Cause::invalid(format!("spec.ports[{at}].nodePort"), &json!(given), why)));
            }
            reserved.ports.push(number);
        }
    }
    Ok(reserved)
}

fn free_port(used: &HashSet<u16>) -> Option<u16> {
    let size = NODE_PORTS.end - NODE_PORTS.start;
    let start = rand::random_range(0..size);
    (0..size).map(|at| NODE_PORTS.start + (start + at) % size).find(|port| !used.contains(port))
}

pub fn release(api: &Api, reserved: &Reserved) {
    if reserved.addresses.is_empty() && reserved.ports.is_empty() {
        return;
    }
    let mut used = api.queues.services.lock();
    for address in &reserved.addresses {
        used.addresses.remove(address);
    }
    for port in &reserved.ports {
        used.ports.remove(port);
    }
}
