//! Leases, and slices of endpoints.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::at::{At, Errors};

pub(super) fn lease(errors: &mut Errors, object: &At<'_>) {
    let spec = object.get("spec");
    let duration = spec.get("leaseDurationSeconds");
    if duration.int().is_some_and(|seconds| seconds <= 0) {
        errors.invalid(&duration, "must be greater than 0");
    }
    let transitions = spec.get("leaseTransitions");
    if transitions.int().is_some_and(|count| count < 0) {
        errors.invalid(&transitions, "must be greater than or equal to 0");
    }
}

const ENDPOINTS_MAX: usize = 1000;
const ADDRESSES_MAX: usize = 100;

pub(super) fn endpoint_slice(errors: &mut Errors, object: &At<'_>, old: Option<&At<'_>>) {
    let kind = object.get("addressType");
    match old {
        Some(old) if old.get("addressType").text() != kind.text() => {
            if kind.text().is_empty() {
                errors.required(&kind, "");
            }
            return errors.invalid_text(&kind, "field is immutable");
        }
        _ if kind.text().is_empty() => return errors.required(&kind, ""),
        _ => errors.one_of(&kind, &["FQDN", "IPv4", "IPv6"]),
    }
    let endpoints = object.get("endpoints");
    if endpoints.items().count() > ENDPOINTS_MAX {
        errors.push(crate::field::too_many(&endpoints.path, endpoints.items().count(), ENDPOINTS_MAX as i64));
    }
    for endpoint in endpoints.items() {
        let addresses = endpoint.get("addresses");
        let count = addresses.items().count();
        if count == 0 {
            errors.required(&addresses, "must contain at least 1 address");
        } else if count > ADDRESSES_MAX {
            errors.push(crate::field::too_many(&addresses.path, count, ADDRESSES_MAX as i64));
        }
        for address in addresses.items() {
            match kind.text() {
                "IPv4" if address.text().parse::<Ipv4Addr>().is_err() => errors.invalid(&address, "must be a valid IPv4 address"),
                "IPv6" if address.text().parse::<Ipv6Addr>().is_err() => errors.invalid(&address, "must be a valid IPv6 address"),
                _ => {}
            }
        }
    }
    let mut seen: Vec<String> = Vec::new();
    for port in object.get("ports").items() {
        let name = port.get("name");
        if seen.iter().any(|known| known == name.text()) {
            errors.push(crate::field::duplicate(&name.path, &serde_json::Value::from(name.text())));
        }
        seen.push(name.text().to_owned());
    }
}
