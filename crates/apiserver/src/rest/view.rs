//! A stored object as a request wants to see it.

use super::{Context, Reply};
use crate::api::text;
use crate::protocol::negotiate::{Accepted, Encoding, Shape};
use crate::protocol::status::{Result, Status};
use crate::registry::Resource;
use crate::store::Record;
use crate::table;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// Whether a stored object is shown byte by byte.
fn is_plain(resource: &Resource) -> bool {
    resource.is_stored_version() && !resource.custom.as_ref().is_some_and(|custom| custom.rereads)
}

/// The object in the version that is asked for.
pub fn value(resource: &Resource, record: &Record) -> Value {
    let mut value = record.value();
    if !resource.is_stored_version() {
        from_stored(resource, &mut value);
    }
    if resource.custom.as_ref().is_some_and(|custom| custom.rereads) {
        // The schema has changed since objects were written: read them by today's.
        let _ = crate::engine::read(resource, &mut value);
    }
    value
}

pub fn bytes(resource: &Resource, record: &Record) -> Bytes {
    if is_plain(resource) { record.bytes.clone() } else { Bytes::from(value(resource, record).to_string()) }
}

/// An item of a list: built-in kinds leave type and version to the list.
pub fn item<'a>(resource: &Resource, record: &'a Record) -> Cow<'a, [u8]> {
    if !is_plain(resource) {
        let mut value = value(resource, record);
        if resource.custom.is_none()
            && let Some(map) = value.as_object_mut()
        {
            map.shift_remove("kind");
            map.shift_remove("apiVersion");
        }
        return Cow::Owned(value.to_string().into_bytes());
    }
    match record.without_type() {
        Some(rest) if resource.custom.is_none() => {
            let mut out = Vec::with_capacity(rest.len() + 1);
            out.push(b'{');
            out.extend_from_slice(rest);
            Cow::Owned(out)
        }
        _ => Cow::Borrowed(&record.bytes),
    }
}

/// An object's metadata alone.
pub fn metadata_only(api_version: &str, value: &Value) -> Value {
    let mut metadata = value["metadata"].clone();
    // It stands for a field of a former version, and is told with the whole object only.
    if value["kind"] == "DaemonSet"
        && let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut)
    {
        annotations.shift_remove("deprecated.daemonset.template.generation");
        if annotations.is_empty()
            && let Some(metadata) = metadata.as_object_mut()
        {
            metadata.shift_remove("annotations");
        }
    }
    json!({"kind": "PartialObjectMetadata", "apiVersion": api_version, "metadata": metadata})
}

/// The form of a list was asked for, and there is one object.
fn no_list(resource: &Resource) -> Status {
    match &resource.custom {
        Some(_) => Status::new(500, "", "content is not a list"),
        None => Status::new(
            406,
            "NotAcceptable",
            format!("you requested PartialObjectMetadataList, but the requested object is not a list (*{})", resource.go_type()),
        ),
    }
}

/// The form of one object was asked for, and there is a list.
pub fn no_object(resource: &Resource) -> Status {
    let list = format!("you requested PartialObjectMetadata, but the requested object is a list (*{}List)", resource.go_type());
    Status::new(406, "NotAcceptable", list)
}

/// One object in the wanted shape.
pub fn object(context: &Context, code: u16, record: &Record) -> Result<Reply> {
    let accepted = context.accepted;
    if accepted.shape == Shape::Whole && accepted.encoding == Encoding::Json {
        return Ok(Reply::Parts { code, content_type: "application/json", parts: vec![bytes(&context.resource, record)] });
    }
    any(context, code, &value(&context.resource, record))
}

/// Any value in the wanted shape; what is of another kind (a Status) has no shape but its own.
pub fn any(context: &Context, code: u16, value: &Value) -> Result<Reply> {
    let (accepted, resource) = (context.accepted, &context.resource);
    let own = value["kind"] == resource.kind.as_str();
    match accepted.shape {
        Shape::Table if own => {
            let meta = json!({"resourceVersion": text(value, "/metadata/resourceVersion")});
            let include = table::Include::of(context)?;
            encoded(accepted, code, &table::table(resource, &[value], meta, include, accepted.api_version, true))
        }
        Shape::Metadata if own => encoded(accepted, code, &metadata_only(accepted.api_version, value)),
        Shape::MetadataList if own => Err(no_list(resource)),
        _ => encoded(accepted, code, value),
    }
}

pub fn encoded(accepted: Accepted, code: u16, value: &Value) -> Result<Reply> {
    let bytes = match accepted.encoding {
        Encoding::Json => value.to_string(),
        Encoding::Pretty => serde_json::to_string_pretty(value).unwrap_or_default() + "\n",
        Encoding::Yaml => crate::yaml_text::print(value),
        Encoding::Protobuf => {
            return match crate::protocol::protobuf::encode(value) {
                Some(bytes) => Ok(Reply::Parts { code, content_type: accepted.encoding.content_type(), parts: vec![Bytes::from(bytes)] }),
                None => {
                    tracing::error!(kind = text(value, "/kind"), "an answer has no protobuf message");
                    Err(crate::protocol::status::Status::internal("the answer cannot be written as protobuf"))
                }
            };
        }
    };
    Ok(Reply::Parts { code, content_type: accepted.encoding.content_type(), parts: vec![Bytes::from(bytes)] })
}

/// From the version in which objects lie to the one that was asked for.
fn from_stored(resource: &Resource, value: &mut Value) {
    match (resource.group.as_str(), resource.name.as_str()) {
        ("events.k8s.io", "events") => {
            rename(value, EVENT_FIELDS, false);
            for field in ["reportingController", "reportingInstance"] {
                if text(value, &format!("/{field}")).is_empty()
                    && let Some(map) = value.as_object_mut()
                {
                    map.shift_remove(field);
                }
            }
        }
        ("autoscaling", "horizontalpodautoscalers") => autoscaler_to_v1(value),
        _ => {}
    }
    set_api_version(value, &resource.api_version());
}

/// From the version that was asked for to the one in which objects lie.
pub fn to_stored(resource: &Resource, value: &mut Value) {
    if resource.is_stored_version() {
        return;
    }
    match (resource.group.as_str(), resource.name.as_str()) {
        ("events.k8s.io", "events") => {
            rename(value, EVENT_FIELDS, true);
            crate::strategy::event_times(value);
        }
        ("autoscaling", "horizontalpodautoscalers") => autoscaler_from_v1(value),
        _ => {}
    }
    set_api_version(value, &resource.stored_api_version);
}

fn set_api_version(value: &mut Value, api_version: &str) {
    if let Some(map) = value.as_object_mut() {
        map.insert("apiVersion".to_owned(), Value::from(api_version));
    }
}

/// What an event's fields are called in core/v1 and in events.k8s.io/v1.
const EVENT_FIELDS: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

/// An event of events.k8s.io/v1 with the field names of core/v1.
pub fn event_in_core(event: &Value) -> Value {
    let mut out = event.clone();
    rename(&mut out, EVENT_FIELDS, true);
    out
}

fn rename(value: &mut Value, fields: &[(&str, &str)], back: bool) {
    let Some(map) = value.as_object_mut() else { return };
    let renamed: Map<String, Value> = std::mem::take(map)
        .into_iter()
        .map(|(key, value)| {
            let other = fields.iter().find(|(a, b)| key == if back { *b } else { *a });
            (other.map_or(key, |(a, b)| (if back { *a } else { *b }).to_owned()), value)
        })
        .collect();
    *map = renamed;
}

/// v1 knows one metric only: the use of CPU. What else there is stays in an annotation, as in a real server.
fn autoscaler_to_v1(value: &mut Value) {
    let metrics = value.get_mut("spec").and_then(Value::as_object_mut).and_then(|spec| {
        spec.shift_remove("behavior");
        spec.shift_remove("metrics")
    });
    let (cpu, others): (Vec<Value>, Vec<Value>) =
        metrics.and_then(|m| m.as_array().cloned()).unwrap_or_default().into_iter().partition(|m| {
            m.pointer("/resource/name").is_some_and(|n| n == "cpu") && m.pointer("/resource/target/averageUtilization").is_some()
        });
    if let Some(target) = cpu.first().and_then(|m| m.pointer("/resource/target/averageUtilization")) {
        value["spec"]["targetCPUUtilizationPercentage"] = target.clone();
    }
    if !others.is_empty() {
        let text = Value::Array(others).to_string();
        crate::strategy::child_of_metadata(value, "annotations").insert(AUTOSCALER_METRICS.to_owned(), Value::from(text));
    }
}

const AUTOSCALER_METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";

fn autoscaler_from_v1(value: &mut Value) {
    let mut metrics = Vec::new();
    if let Some(annotations) = value.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut)
        && let Some(Value::String(text)) = annotations.shift_remove(AUTOSCALER_METRICS)
        && let Ok(Value::Array(others)) = serde_json::from_str(&text)
    {
        metrics = others;
    }
    if let Some(spec) = value.get_mut("spec").and_then(Value::as_object_mut)
        && let Some(target) = spec.shift_remove("targetCPUUtilizationPercentage")
    {
        let cpu = json!({"name": "cpu", "target": {"type": "Utilization", "averageUtilization": target}});
        metrics.insert(0, json!({"type": "Resource", "resource": cpu}));
    }
    if !metrics.is_empty() {
        value["spec"]["metrics"] = Value::Array(metrics);
    }
}
