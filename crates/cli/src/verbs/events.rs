//! `events`: the Kubernetes events of Flux objects.

use crate::{
    builtin,
    kinds::{self, Kind},
    objects,
    shell::{Context, Failure, Flags, Outcome, ages, flags, log, output, table},
};
use clap::{ArgMatches, Command};
use cluster::{Selection, WatchEvent};
use futures::{StreamExt as _, stream::select_all};
use jiff::Timestamp;
use serde_json::Value;

pub fn command() -> Command {
    flags::leaf("events", "Display Kubernetes events for Flux resources")
        .after_help(
            "  # Everything of a namespace\n  sluice events -n default\n\n  # One Kustomization and its source\n  sluice events --for Kustomization/apps\n\n  # Warnings anywhere, as they come\n  sluice events -A --types Warning --watch",
        )
        .arg(flags::switch("all-namespaces", "events of all namespaces").short('A'))
        .arg(flags::switch("watch", "go on printing events as they come").short('w'))
        .arg(flags::string("for", "events of a kind, or of one object: Kind[/name]"))
        .arg(flags::strings("types", "only these types: Normal, Warning"))
        .arg(flags::beyond(flags::string("output", "print as json or yaml").short('o')))
}

/// Kinds that have events of their own to tell.
fn recognised(kind: &str) -> Option<&'static Kind> {
    kinds::ALL.iter().copied().filter(|known| **known != kinds::EXTERNAL_ARTIFACT).find(|known| known.kind.eq_ignore_ascii_case(kind))
}

pub async fn run(context: &Context, _path: &[String], matches: &ArgMatches) -> Outcome {
    let types = matches.texts("types");
    for kind in &types {
        if !["normal", "warning"].contains(&kind.to_lowercase().as_str()) {
            return Err(Failure::new(format!("type '{kind}' not supported. Supported types are Normal, Warning")));
        }
    }
    let format = matches.text("output");
    if !matches!(format, "" | "json" | "yaml") {
        return Err(Failure::new(format!("--output must be json or yaml, not {format}")));
    }
    let everywhere = matches.is_set("all-namespaces");
    let namespace = if everywhere { String::new() } else { context.namespace.clone() };
    let mut selections = vec![Selection { namespace: namespace.clone(), ..Selection::default() }];
    let selector = matches.text("for");
    if !selector.is_empty() {
        let (kind, name) = selector.split_once('/').unwrap_or((selector, ""));
        let known = recognised(kind).ok_or_else(|| Failure::new(format!("'{kind}' is not a recognized Flux kind")))?;
        selections[0].fields = involved(known.kind, name);
        if !name.is_empty() {
            for related in related(context, known, name).await? {
                selections.push(Selection {
                    namespace: related.namespace,
                    fields: involved(&related.kind, &related.name),
                    ..Selection::default()
                });
            }
        }
    }
    let shows_namespace = namespace.is_empty() || selections.iter().any(|selection| selection.namespace != namespace);
    let admits = |event: &Value| {
        recognised(objects::text(event, &["involvedObject", "kind"])).is_some()
            && (types.is_empty() || types.iter().any(|kind| kind.eq_ignore_ascii_case(objects::text(event, &["type"]))))
    };
    if matches.is_set("watch") {
        return watch(context, selections, shows_namespace, admits).await;
    }
    let mut found = Vec::new();
    for selection in &selections {
        let events = context.list(&builtin::events(), selection).await;
        found.extend(events.map_err(|failure| failure.context("error getting events"))?);
    }
    found.retain(admits);
    found.sort_by_key(last_seen_at);
    if !format.is_empty() {
        let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": found});
        return output::print(&if format == "json" { output::json(&list)? } else { output::yaml(&list)? });
    }
    if found.is_empty() {
        log::failure(if everywhere {
            "No events found.".to_owned()
        } else {
            format!("No events found in {} namespace.", context.namespace)
        });
        return Ok(());
    }
    let now = Timestamp::now();
    let rows: Vec<Vec<String>> = found.iter().map(|event| row(event, shows_namespace, now)).collect();
    output::print(&table::render(&header(shows_namespace), &rows))
}

async fn watch(context: &Context, selections: Vec<Selection>, shows_namespace: bool, admits: impl Fn(&Value) -> bool) -> Outcome {
    let client = context.client().await?;
    let streams = selections.into_iter().map(|selection| cluster::watch(client.clone(), builtin::events(), selection).boxed());
    let mut events = select_all(streams);
    let mut heading = header(shows_namespace);
    while let Some(event) = events.next().await {
        let event = match event {
            WatchEvent::Listed(event) | WatchEvent::Applied(event) => event,
            WatchEvent::Failed(error) => {
                log::failure(format!("error watching events: {}", error.chain()));
                continue;
            }
            _ => continue,
        };
        let Ok(event) = serde_json::from_str::<Value>(event.get()) else { continue };
        if admits(&event) {
            output::print(&table::render(&heading, &[row(&event, shows_namespace, Timestamp::now())]))?;
            heading.clear();
        }
    }
    Ok(())
}

fn involved(kind: &str, name: &str) -> String {
    if name.is_empty() { format!("involvedObject.kind={kind}") } else { format!("involvedObject.kind={kind},involvedObject.name={name}") }
}

struct Related {
    kind: String,
    namespace: String,
    name: String,
}

/// The objects that an object works from, whose events explain its own.
async fn related(context: &Context, kind: &'static Kind, name: &str) -> Result<Vec<Related>, Failure> {
    let (path, fixed_kind, crosses): (&[&str], Option<&str>, bool) = match kind {
        k if *k == kinds::KUSTOMIZATION || *k == kinds::HELM_CHART => (&["spec", "sourceRef"], None, true),
        k if *k == kinds::HELM_RELEASE => (&["spec", "chart", "spec", "sourceRef"], None, true),
        k if *k == kinds::ALERT => (&["spec", "providerRef"], Some(kinds::PROVIDER.kind), false),
        k if *k == kinds::IMAGE_POLICY => (&["spec", "imageRepositoryRef"], Some(kinds::IMAGE_REPOSITORY.kind), true),
        _ => return Ok(Vec::new()),
    };
    let object = context.get(kind, &context.namespace, name).await?;
    let mut reference = objects::at(&object, path);
    if *kind == kinds::HELM_RELEASE && reference.is_null() {
        reference = objects::at(&object, &["spec", "chartRef"]);
    }
    if reference.is_null() {
        return Ok(Vec::new());
    }
    let namespace = if crosses { objects::reference_namespace(&object, reference) } else { &context.namespace };
    let mut found = vec![Related {
        kind: fixed_kind.unwrap_or_else(|| objects::text(reference, &["kind"])).to_owned(),
        namespace: namespace.to_owned(),
        name: objects::text(reference, &["name"]).to_owned(),
    }];
    if *kind == kinds::HELM_RELEASE {
        let chart = format!("{}-{name}", context.namespace);
        found.push(Related { kind: kinds::HELM_CHART.kind.to_owned(), namespace: namespace.to_owned(), name: chart });
    }
    Ok(found)
}

fn header(shows_namespace: bool) -> Vec<String> {
    let titles = ["Namespace", "Last seen", "Type", "Reason", "Object", "Message"];
    titles.iter().skip(usize::from(!shows_namespace)).map(|title| (*title).to_owned()).collect()
}

fn row(event: &Value, shows_namespace: bool, now: Timestamp) -> Vec<String> {
    let text = |path: &[&str]| objects::text(event, path).to_owned();
    let mut row: Vec<String> = Vec::with_capacity(6);
    row.extend(shows_namespace.then(|| text(&["metadata", "namespace"])));
    row.push(last_seen(event, now));
    row.extend([text(&["type"]), text(&["reason"])]);
    row.push(format!("{}/{}", text(&["involvedObject", "kind"]), text(&["involvedObject", "name"])));
    row.push(text(&["message"]));
    row
}

fn time(event: &Value, path: &[&str]) -> Option<Timestamp> {
    objects::text(event, path).parse().ok()
}

fn last_seen_at(event: &Value) -> Option<Timestamp> {
    match event.get("series") {
        Some(Value::Object(_)) => time(event, &["series", "lastObservedTime"]),
        _ => time(event, &["lastTimestamp"]).or_else(|| time(event, &["eventTime"])),
    }
}

fn last_seen(event: &Value, now: Timestamp) -> String {
    let since = |moment: Option<Timestamp>| moment.map_or_else(|| "<unknown>".to_owned(), |moment| ages::human(now.duration_since(moment)));
    let first = since(time(event, &["eventTime"]).or_else(|| time(event, &["firstTimestamp"])));
    let count = |path: &[&str]| objects::at(event, path).as_i64().unwrap_or(0);
    if event.get("series").is_some_and(Value::is_object) {
        return format!("{} (x{} over {first})", since(time(event, &["series", "lastObservedTime"])), count(&["series", "count"]));
    }
    match count(&["count"]) {
        many @ 2.. => format!("{} (x{many} over {first})", since(time(event, &["lastTimestamp"]))),
        _ => first,
    }
}
