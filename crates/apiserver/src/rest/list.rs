use super::read::{check_revision, namespace_of};
use super::{Context, Reply, view};
use crate::protocol::negotiate::{Encoding, Shape};
use crate::protocol::selector::{FieldSelector, LabelSelector};
use crate::protocol::status::{Cause, Result, Status};
use crate::registry::Resource;
use crate::store::{Record, TooOld};
use crate::table;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;

/// Which objects a list, watch or collection is about.
#[derive(PartialEq)]
pub struct Filter {
    /// Keys of the objects begin with it.
    pub prefix: String,
    labels: LabelSelector,
    fields: FieldSelector,
}

impl Filter {
    pub fn of(context: &Context) -> Result<Self> {
        let resource = &context.resource;
        let labels = LabelSelector::parse(context.query.text("labelSelector"))?;
        let mut fields = FieldSelector::parse(context.query.text("fieldSelector"))?;
        for test in &fields.0 {
            check_field(resource, &test.path)?;
        }
        let target = &context.target;
        // Asking for one object by its path is a selector too.
        if !target.name.is_empty() && target.verb == "watch" {
            fields.0.push(crate::protocol::selector::FieldTest {
                path: "metadata.name".to_owned(),
                value: target.name.clone(),
                equal: true,
            });
        }
        let namespace = match namespace_of(resource, &target.namespace) {
            "" if resource.namespaced => fields.pinned("metadata.namespace").unwrap_or("").to_owned(),
            namespace => namespace.to_owned(),
        };
        let prefix = if namespace.is_empty() { String::new() } else { format!("{namespace}/") };
        Ok(Self { prefix, labels, fields })
    }

    #[cfg(test)]
    pub fn of_labels(selector: &str) -> Self {
        Self { prefix: String::new(), labels: LabelSelector::parse(selector).expect("it is well-formed"), fields: FieldSelector::default() }
    }

    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub fn matches(&self, resource: &Resource, record: &Record) -> bool {
        record.key.starts_with(&self.prefix)
            && (self.labels.is_empty() || self.labels.matches(|key| record.facts.label(key)))
            && (self.fields.is_empty() || self.fields_match(resource, record))
    }

    fn fields_match(&self, resource: &Resource, record: &Record) -> bool {
        let mut whole: Option<Value> = None;
        self.fields.0.iter().all(|test| {
            let equal = match test.path.as_str() {
                "metadata.name" => record.name() == test.value,
                "metadata.namespace" => record.namespace() == test.value,
                path => {
                    let whole = whole.get_or_insert_with(|| view::value(resource, record));
                    field_text(resource, whole, path) == test.value
                }
            };
            equal == test.equal
        })
    }
}

/// A field as selectors see it: a text, empty when it is not there.
fn field_text(resource: &Resource, object: &Value, path: &str) -> String {
    let pointer = match (resource.name.as_str(), path) {
        ("events", "source") => "/source/component".to_owned(),
        ("jobs", "status.successful") => "/status/succeeded".to_owned(),
        _ => format!("/{}", path.replace('.', "/")),
    };
    match object.pointer(&pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => match path {
            "status.successful" | "status.replicas" => "0".to_owned(),
            "spec.unschedulable" | "spec.hostNetwork" => "false".to_owned(),
            _ => String::new(),
        },
        Some(other) => other.to_string(),
    }
}

fn check_field(resource: &Resource, path: &str) -> Result<()> {
    if matches!(path, "metadata.name" | "metadata.namespace") {
        return Ok(());
    }
    if let Some(custom) = &resource.custom {
        if custom.selectable_fields.iter().any(|f| f == path) {
            return Ok(());
        }
        return Err(Status::bad_request(format!("field label not supported: {path}")));
    }
    let (known, worded): (&[&str], bool) = match (resource.group.as_str(), resource.name.as_str()) {
        ("", "pods") => (
            &[
                "spec.nodeName",
                "spec.restartPolicy",
                "spec.schedulerName",
                "spec.serviceAccountName",
                "spec.hostNetwork",
                "status.phase",
                "status.podIP",
                "status.podIPs",
                "status.nominatedNodeName",
            ],
            true,
        ),
        ("", "events") => (
            &[
                "involvedObject.kind",
                "involvedObject.namespace",
                "involvedObject.name",
                "involvedObject.uid",
                "involvedObject.apiVersion",
                "involvedObject.resourceVersion",
                "involvedObject.fieldPath",
                "reason",
                "reportingComponent",
                "source",
                "type",
            ],
            true,
        ),
        ("events.k8s.io", "events") => (
            &[
                "regarding.kind",
                "regarding.namespace",
                "regarding.name",
                "regarding.uid",
                "regarding.apiVersion",
                "regarding.resourceVersion",
                "regarding.fieldPath",
                "reason",
                "reportingController",
                "type",
            ],
            true,
        ),
        ("", "secrets") => (&["type"], true),
        ("", "namespaces") => (&["status.phase"], true),
        ("", "nodes") => (&["spec.unschedulable"], true),
        ("", "replicationcontrollers") | ("apps", "replicasets") => (&["status.replicas"], true),
        ("", "services") => (&["spec.clusterIP", "spec.type"], true),
        ("batch", "jobs") => (&["status.successful"], true),
        ("certificates.k8s.io", "certificatesigningrequests") => (&["spec.signerName"], true),
        _ => (&[], false),
    };
    if known.contains(&path) {
        return Ok(());
    }
    Err(Status::bad_request(if worded {
        format!("field label not supported: {path}")
    } else {
        format!("\"{path}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
    }))
}

fn options_refused(field: &str, why: &str) -> Status {
    Status::invalid("meta.k8s.io", "ListOptions", "", vec![Cause::forbidden(field, why)])
}

/// Refuses combinations of list options that have no meaning.
pub fn check_options(context: &Context, watching: bool) -> Result<()> {
    let query = &context.query;
    let (version, matching) = (query.text("resourceVersion"), query.text("resourceVersionMatch"));
    if watching {
        let initial = query.get("sendInitialEvents");
        if initial.is_some() && matching != "NotOlderThan" {
            return Err(if matching.is_empty() {
                options_refused("resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
            } else {
                Status::invalid(
                    "meta.k8s.io",
                    "ListOptions",
                    "",
                    vec![Cause::new(
                        "FieldValueNotSupported",
                        "resourceVersionMatch",
                        format!("Unsupported value: \"{matching}\": supported values: \"NotOlderThan\""),
                    )],
                )
            });
        }
        if initial.is_none() && !matching.is_empty() {
            return Err(options_refused(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            ));
        }
        return Ok(());
    }
    if query.get("sendInitialEvents").is_some() {
        return Err(options_refused("sendInitialEvents", "sendInitialEvents is forbidden for list"));
    }
    if matching.is_empty() {
        return Ok(());
    }
    if version.is_empty() {
        return Err(options_refused("resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided"));
    }
    if !query.text("continue").is_empty() {
        return Err(options_refused("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided"));
    }
    match matching {
        "NotOlderThan" => Ok(()),
        "Exact" if version == "0" => {
            Err(options_refused("resourceVersionMatch", "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""))
        }
        "Exact" => Ok(()),
        other => Err(Status::invalid(
            "meta.k8s.io",
            "ListOptions",
            "",
            vec![Cause::new(
                "FieldValueNotSupported",
                "resourceVersionMatch",
                format!("Unsupported value: \"{other}\": supported values: \"Exact\", \"NotOlderThan\", \"\""),
            )],
        )),
    }
}

/// Where a list goes on.
struct Continue {
    /// The revision of the first page; none when the list goes on over what is there now.
    revision: Option<u64>,
    start: String,
}

impl Continue {
    fn parse(text: &str) -> Result<Option<Self>> {
        if text.is_empty() {
            return Ok(None);
        }
        let invalid = |why: &str| Status::bad_request(format!("invalid continue token: continue key is not valid: {why}"));
        let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| invalid("illegal base64 data at input byte 0"))?;
        let value: Value = serde_json::from_slice(&bytes).map_err(|e| invalid(&e.to_string()))?;
        if value["v"] != "meta.k8s.io/v1" {
            return Err(invalid("server does not recognize this encoded version"));
        }
        let revision = value["rv"].as_i64().filter(|rv| *rv != 0).ok_or_else(|| invalid("incorrect encoded start resourceVersion"))?;
        let start =
            value["start"].as_str().filter(|s| !s.is_empty()).ok_or_else(|| invalid("encoded start key empty (version meta.k8s.io/v1)"))?;
        Ok(Some(Self { revision: u64::try_from(revision).ok(), start: start.trim_end_matches('\0').to_owned() }))
    }

    fn print(revision: i64, key: &str) -> String {
        URL_SAFE_NO_PAD.encode(json!({"v": "meta.k8s.io/v1", "rv": revision, "start": format!("{key}\0")}).to_string())
    }
}

const EXPIRED: &str = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";

/// One page of matching objects.
pub struct Page {
    pub revision: u64,
    pub items: Vec<Arc<Record>>,
    pub next: String,
    /// How many follow; only known without selectors.
    pub remaining: Option<usize>,
}

pub fn page(context: &Context) -> Result<Page> {
    check_options(context, false)?;
    let (query, store, resource) = (&context.query, &context.api.store, &context.resource);
    let filter = Filter::of(context)?;
    let limit: usize = match query.text("limit") {
        "" => 0,
        text => text
            .parse::<i64>()
            .map_err(|_| Status::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax")))
            .map(|n| usize::try_from(n).unwrap_or(0))?,
    };
    let version = query.text("resourceVersion");
    let going_on = Continue::parse(query.text("continue"))?;
    if going_on.is_some() && !matches!(version, "" | "0") {
        return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
    }
    let asked = check_revision(context, version)?;
    let exact = query.text("resourceVersionMatch") == "Exact" || (limit > 0 && query.text("resourceVersionMatch").is_empty());
    let at = match &going_on {
        Some(from) => from.revision,
        None => asked.filter(|_| exact),
    };
    let too_old = |_: TooOld| match &going_on {
        Some(from) => {
            let mut status = Status::expired(EXPIRED);
            status.continue_token = Continue::print(-1, &from.start);
            status
        }
        None => Status::expired("The resourceVersion for the provided list is too old."),
    };
    let mut start = going_on.as_ref().map(|from| from.start.clone());
    let mut items = Vec::new();
    let mut revision = None;
    // Selectors make pages of unknown cost: read on until the page is full.
    let chunk = if limit == 0 { usize::MAX - 1 } else { limit.clamp(100, 10_000) };
    let (mut next, mut remaining) = (String::new(), None);
    'pages: loop {
        // Every page of one answer sees the same revision.
        let seen = store.list(&resource.table, at.or(revision), &filter.prefix, start.as_deref(), chunk).map_err(too_old)?;
        let revision = *revision.get_or_insert(seen.revision);
        let more = seen.items.len() > chunk;
        let mut rest = seen.items.into_iter().take(chunk).peekable();
        while let Some(record) = rest.next() {
            start = Some(record.key.to_string());
            if filter.is_empty() || filter.matches(resource, &record) {
                let key = Arc::clone(&record.key);
                items.push(record);
                if limit > 0 && items.len() == limit {
                    if rest.peek().is_some() || more {
                        next = Continue::print(i64::try_from(revision).unwrap_or(i64::MAX), &key);
                        if filter.is_empty() {
                            let all = store.list(&resource.table, Some(revision), &filter.prefix, Some(&key), usize::MAX - 1);
                            remaining = all.ok().map(|page| page.items.len());
                        }
                    }
                    break 'pages;
                }
            }
        }
        if !more {
            break;
        }
    }
    Ok(Page { revision: revision.unwrap_or_else(|| store.revision()), items, next, remaining })
}

pub async fn list(context: &Context) -> Result<Reply> {
    shown(context, page(context)?)
}

/// A page in the wanted shape.
pub fn shown(context: &Context, page: Page) -> Result<Reply> {
    let (resource, accepted) = (&context.resource, context.accepted);
    let mut meta = json!({"resourceVersion": page.revision.to_string()});
    if resource.custom.is_some() && accepted.shape == Shape::Whole {
        // As unstructured lists have it, even at their end.
        meta["continue"] = Value::from("");
    }
    if !page.next.is_empty() {
        meta["continue"] = Value::from(page.next.as_str());
        if let Some(remaining) = page.remaining {
            meta["remainingItemCount"] = Value::from(remaining);
        }
    }
    match accepted.shape {
        Shape::Whole if accepted.encoding == Encoding::Json => {
            Ok(Reply::Parts { code: 200, content_type: "application/json", parts: chunks(resource, &page.items, &meta) })
        }
        Shape::Whole => {
            let items: Vec<Value> =
                page.items.iter().map(|r| serde_json::from_slice(&view::item(resource, r)).unwrap_or_default()).collect();
            let list = json!({"kind": resource.list_kind, "apiVersion": resource.api_version(), "metadata": meta, "items": items});
            view::encoded(accepted, 200, &list)
        }
        Shape::Metadata => Err(view::no_object(resource)),
        Shape::MetadataList => {
            let items: Vec<Value> =
                page.items.iter().map(|r| view::metadata_only(accepted.api_version, &view::value(resource, r))).collect();
            // Go writes an empty list of these as null.
            let items = if items.is_empty() { Value::Null } else { Value::Array(items) };
            let list = json!({"kind": "PartialObjectMetadataList", "apiVersion": accepted.api_version, "metadata": meta, "items": items});
            view::encoded(accepted, 200, &list)
        }
        Shape::Table => {
            let include = table::Include::of(context)?;
            let values: Vec<Value> = page.items.iter().map(|r| view::value(resource, r)).collect();
            let table = table::table(resource, &values.iter().collect::<Vec<_>>(), meta, include, accepted.api_version, true);
            view::encoded(accepted, 200, &table)
        }
    }
}

/// Parts of a list's answer are about so large.
const PART: usize = 64 * 1024;

/// The list in parts, each a copy of a few items: an answer never lies in memory twice.
fn chunks(resource: &Resource, items: &[Arc<Record>], meta: &Value) -> Vec<Bytes> {
    let mut out = Vec::new();
    let head = format!(
        "{{\"kind\":{},\"apiVersion\":{},\"metadata\":{meta},\"items\":[",
        Value::from(resource.list_kind.as_str()),
        Value::from(resource.api_version())
    );
    let mut part = Vec::with_capacity(PART.min(head.len() + items.iter().map(|r| r.bytes.len() + 1).sum::<usize>() + 2));
    part.extend_from_slice(head.as_bytes());
    for (at, record) in items.iter().enumerate() {
        if at > 0 {
            part.push(b',');
        }
        part.extend_from_slice(&view::item(resource, record));
        if part.len() >= PART {
            out.push(Bytes::from(std::mem::replace(&mut part, Vec::with_capacity(PART))));
        }
    }
    part.extend_from_slice(b"]}");
    out.push(Bytes::from(part));
    out
}
